/* SPDX-License-Identifier: MIT */
#include "spool.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "spool_make.h"

#define OPEN_TRIES 3
#define PAGES_MAX INT64_C(0xfffffffe)	/* https://sqlite.org/limits.html, 14 */
#define QUARANTINED_BYTES (256 << 10)
#define EMPTY_MAX 1		/* SQLite takes a file of one byte for an empty one, too (os_unix.c, unixFileSize) */

/* Only a regular file of its own may be opened: a FIFO or a device could make a recorder wait for ever. */
static int
check_kind(const char *path, const char *name, struct px_err *err)
{
	struct stat status;

	if (lstat(path, &status) == -1)
		return px_err_set_errno(err, errno == ENOENT ? PX_ABSENT : PX_STORAGE, errno, "cannot open spool '%s'", name);
	if (S_ISREG(status.st_mode) && status.st_size <= EMPTY_MAX)
		return px_err_set(err, PX_CORRUPT, "cannot open spool '%s': there is nothing in it", name);
	/* SQLite would count its pages wrongly. */
	if (S_ISREG(status.st_mode) && status.st_size / SPOOL_PAGE > PAGES_MAX)
		return px_err_set(err, PX_CORRUPT, "cannot open spool '%s': it is longer than any spool", name);
	if (S_ISREG(status.st_mode))
		return 0;
	return px_err_set(err, PX_STORAGE, "cannot open spool '%s': %s; move it away, and the next event or flush makes a "
	    "spool", name, S_ISDIR(status.st_mode) ? strerror(EISDIR) : S_ISLNK(status.st_mode) ? "it is a symbolic link" :
	    "it is no regular file");
}

/* Nor may what SQLite opens beside it. */
static int
check_side_files(const char *path, const char *name, struct px_err *err)
{
	static const char *const suffixes[] = { "-journal", "-wal", "-shm" };
	char side[PATH_MAX];
	struct stat status;

	for (size_t i = 0; i < sizeof(suffixes) / sizeof(suffixes[0]); i++) {
		if (px_db_side_path(path, suffixes[i], side, err) == -1)
			return -1;
		if (lstat(side, &status) == 0 && !S_ISREG(status.st_mode))
			return px_err_set(err, PX_STORAGE, "cannot open spool '%s': its '%s' is no regular file; move that away", name,
			    suffixes[i]);
	}
	return 0;
}

/*
 * Damage where nothing leads for days would first be met by a person. So a flush looks into each table and index, but for
 * those of the items and counters, which it reads anyway.
 */
static int
look_into_tables(struct px_spool *spool, struct px_err *err)
{
	return px_db_run(spool, err, "SELECT 1 FROM (SELECT key FROM mark ORDER BY key LIMIT 1) UNION ALL "
	    "SELECT 1 FROM (SELECT key FROM mark WHERE reason IS NOT NULL ORDER BY key LIMIT 1) UNION ALL "
	    "SELECT 1 FROM (SELECT deferred FROM mark WHERE deferred IS NOT NULL ORDER BY deferred LIMIT 1) UNION ALL "
	    "SELECT wall_ms + boot_ms + length(boot_id) + length_ms FROM timer UNION ALL "
	    "SELECT time_ms + acknowledged + exit_status + length(reason) FROM run UNION ALL "
	    "SELECT 1 FROM (SELECT name FROM taken ORDER BY name LIMIT 1) UNION ALL SELECT length(id) FROM spool", "");
}

/* Nor does a flush send quarantined items, which a person will ask for: it reads them, as far as that takes no time. */
static int
look_into_quarantined(struct px_spool *spool, struct px_err *err)
{
	struct px_spool_item item;
	sqlite3_stmt *row;
	size_t bytes = 0;
	int rc;

	if (px_db_query(spool, &row, err, "SELECT m.key, i.id, i.time_ms, i.topic, i.body, m.attempts, m.deferred, m.reason "
	    "FROM mark m LEFT JOIN item i ON i.key = m.key WHERE m.reason IS NOT NULL ORDER BY m.key", "") == -1)
		return -1;
	while ((rc = px_db_step(spool, row, err)) == 1 && bytes < QUARANTINED_BYTES) {
		if (px_row_read(spool, row, 0, &item, err) == -1) {
			rc = -1;
			break;
		}
		bytes += item.item.body.len;
	}
	if (rc != 0)
		px_db_done(row);
	return rc == -1 ? -1 : 0;
}

/* What a flush does beyond opening. */
static int
begin_flush(struct px_spool *spool, struct px_err *err)
{
	struct spool_counters counters;

	if (px_make_is_damaged(spool->path))
		return px_err_set(err, PX_CORRUPT, "cannot use spool '%s': it was found damaged", spool->name);
	if (px_room_load(spool, &counters, err) == -1 || look_into_tables(spool, err) == -1 ||
	    look_into_quarantined(spool, err) == -1)
		return -1;
	px_room_set_bounds(spool, counters.max_bytes > 0 ? counters.max_bytes : INT64_MAX);
	/* KiB; a transaction that changes more takes more, and nothing goes to the log before its end. */
	(void)sqlite3_exec(spool->db, "PRAGMA cache_spill=OFF; PRAGMA cache_size=-256", NULL, NULL, NULL);
	px_make_remove_stale(spool->path);
	return px_make_sync_folder(spool->path, err);
}

static int
connect_and_check(struct px_spool *spool, struct px_err *err)
{
	if (px_db_open_file(spool, err) == -1)
		return -1;
	/* A recorder finds out by itself that it can't insert; the others are to know why. */
	if (spool->use != PX_SPOOL_RECORD && (px_source_check_header(spool, err) == -1 ||
	    px_source_check_log(spool, true, err) == -1))
		return -1;
	if (px_db_connect(spool, err) == -1 || px_db_check_schema(spool, err) == -1)
		return -1;
	if (sqlite3_db_readonly(spool->db, "main") == 1 && spool->use != PX_SPOOL_LOOK)
		return px_db_fail(spool, SQLITE_READONLY, "write", err);
	return 0;
}

/*
 * Most recorders are alone. One that is saves making the shared memory of the log's index for its single insert; others
 * wait for it as they would for its transaction. One that is not alone shares, at the cost of a second try.
 */
static int
connect_recorder(struct px_spool *spool, struct px_err *err)
{
	int64_t wait_ms = spool->wait_ms;
	int rc;

	px_turn_take(spool);
	spool->alone = true;
	spool->wait_ms = 0;
	rc = connect_and_check(spool, err);
	spool->wait_ms = wait_ms;
	if (rc == 0 || !spool->was_busy)
		return rc;
	px_db_disconnect(spool);
	spool->alone = false;
	return connect_and_check(spool, err);
}

/*
 * A damaged row may say that it is longer than any memory, and SQLite asks for that. Where there is memory for the longest
 * row that we have, and it is so each time, it was not for want of it.
 */
static int
connect_again(struct px_spool *spool, struct px_err *err)
{
	int rc = -1;
	void *volatile longest;	/* or a compiler would not ask for it */

	for (int tries = 1; tries < OPEN_TRIES && rc == -1 && spool->no_memory; tries++) {
		px_db_disconnect(spool);
		rc = connect_and_check(spool, err);
	}
	if (rc == 0 || !spool->no_memory)
		return rc;
	longest = malloc(SPOOL_LENGTH_MAX);
	if (longest == NULL)
		return -1;
	free(longest);
	return px_db_malformed(spool, "a row of its tables", err);
}

int
px_spool_open(struct px_spool **out, const char *path, enum px_spool_use use, int64_t wait_ms, struct px_err *err)
{
	struct px_spool *spool = calloc(1, sizeof(*spool));
	int rc = -1;

	*out = NULL;
	if (spool == NULL)
		return px_err_set(err, PX_STORAGE, "no memory for a spool");
	spool->use = use;
	spool->turn_fd = -1;
	spool->wait_ms = wait_ms;
	px_room_set_bounds(spool, INT64_MAX);
	if (px_db_real_path(path, spool->path, err) == -1 || check_kind(spool->path, path, err) == -1 ||
	    check_side_files(spool->path, path, err) == -1)
		goto out;
	(void)snprintf(spool->name, sizeof(spool->name), "%s", path);
	rc = use == PX_SPOOL_RECORD ? connect_recorder(spool, err) : connect_and_check(spool, err);
	/* On a full disk even the log's index, -shm, may need the reserve. */
	if (rc == -1 && spool->no_space && use == PX_SPOOL_FLUSH && px_room_give_up_reserve(spool)) {
		px_db_disconnect(spool);
		rc = connect_and_check(spool, err);
	}
	/* Who only looks can do without that index, for a moment in which others wait. */
	if (rc == -1 && spool->no_space && use == PX_SPOOL_LOOK) {
		px_db_disconnect(spool);
		spool->alone = true;
		rc = connect_and_check(spool, err);
	}
	if (rc == -1 && spool->no_memory && use == PX_SPOOL_FLUSH)
		rc = connect_again(spool, err);
	if (rc == -1)
		goto out;
	spool->is_open = true;
	rc = use == PX_SPOOL_FLUSH ? begin_flush(spool, err) : 0;
out:
	if (rc == 0)
		*out = spool;
	else
		px_spool_close(spool);
	return rc;
}

void
px_spool_close(struct px_spool *spool)
{
	if (spool == NULL)
		return;
	px_db_disconnect(spool);
	px_turn_end(spool);
	free(spool);
}

static int
write_nothing(struct px_spool *spool, void *arg, struct px_err *err)
{
	(void)spool;
	(void)arg;
	(void)err;
	return 0;
}

int
px_spool_await(struct px_spool *spool, struct px_err *err)
{
	return px_db_write(spool, true, write_nothing, NULL, NULL, err);
}
