/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "spool_make.h"

#define WAIT_MS 5000
#define ASIDE_TRIES 100

struct renewal {
	struct px_spool old;
	struct px_spool copy;		/* of the old one, mended; used only when that is unreadable */
	struct px_spool *from;		/* the one of the two that is read; NULL: neither can be */
	struct px_spool fresh;
	int64_t carried;
};

/*
 * Opens what is left of the old spool, alone: recorders that come now wait, and find that it was replaced. With
 * writable_schema SQLite goes on where a file is shorter than it says. Where it has a table of items, it is what is read.
 * -1 only when others don't let go of it.
 */
static int
open_source(struct renewal *renewal, struct px_spool *source, struct px_err *err)
{
	struct px_err why;
	sqlite3_stmt *row;
	int result;

	source->use = PX_SPOOL_LOOK;
	source->wait_ms = WAIT_MS;
	if (px_db_open_file(source, &why) == -1)
		return 0;
	(void)sqlite3_db_config(source->db, SQLITE_DBCONFIG_DEFENSIVE, 0, (int *)NULL);
	result = sqlite3_exec(source->db, "PRAGMA locking_mode=EXCLUSIVE; PRAGMA writable_schema=ON; BEGIN IMMEDIATE; COMMIT", NULL,
	    NULL, NULL);
	if ((result & 0xff) == SQLITE_BUSY)
		return px_db_fail(source, result, "renew", err);
	if (px_db_query(source, &row, &why, "SELECT key, id, time_ms, topic, body FROM item LIMIT 1", "") == 0)
		renewal->from = source;
	return 0;
}

static int
copy_bytes(const char *from, const char *to, struct px_err *err)
{
	static char block[1 << 16];
	int in = open(from, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	int out = in != -1 ? open(to, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600) : -1;
	ssize_t got = -1;

	while (out != -1 && (got = read(in, block, sizeof(block))) > 0)
		if (write(out, block, (size_t)got) != got) {
			got = -1;
			break;
		}
	if (got != 0)
		(void)px_err_set_errno(err, PX_STORAGE, errno, "cannot copy '%s'", from);
	if (in != -1)
		(void)close(in);
	if (out != -1)
		(void)close(out);
	return got == 0 ? 0 : -1;
}

static void
put_32_bits(unsigned char *at, uint32_t value)
{
	for (int i = 0; i < 4; i++)
		at[i] = (unsigned char)(value >> (24 - 8 * i));
}

/*
 * Gives the copy ${path} the first page of a new spool. Its tables begin at the same pages in every spool of this version;
 * only the number of pages is the file's own, and what is free is forgotten (https://sqlite.org/fileformat2.html, 1.3).
 */
static int
replace_first_page(const char *path, const char *fresh, struct px_err *err)
{
	unsigned char page[SPOOL_PAGE];
	int from = open(fresh, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
	int to = open(path, O_WRONLY | O_NOFOLLOW | O_CLOEXEC);
	struct stat status;
	int rc = -1;

	if (from == -1 || to == -1 || pread(from, page, sizeof(page), 0) != (ssize_t)sizeof(page) || fstat(to, &status) == -1)
		goto out;
	page[18] = page[19] = 2;	/* write-ahead log */
	put_32_bits(page + 28, (uint32_t)(status.st_size / SPOOL_PAGE));
	put_32_bits(page + 32, 0);
	put_32_bits(page + 36, 0);
	if (status.st_size >= (off_t)2 * SPOOL_PAGE && pwrite(to, page, sizeof(page), 0) == (ssize_t)sizeof(page))
		rc = 0;
out:
	if (from != -1)
		(void)close(from);
	if (to != -1)
		(void)close(to);
	return rc == 0 ? 0 : px_err_set(err, PX_STORAGE, "cannot mend a copy of '%s'", path);
}

/*
 * Where not even the tables can be found, the first page is gone: what is behind it is read from a copy with a new one.
 * That this may fail, too, is no error.
 */
static void
open_mended_copy(struct renewal *renewal)
{
	struct px_spool *copy = &renewal->copy;
	char log[2][PATH_MAX];
	struct px_err ignored;

	if (px_db_side_path(renewal->fresh.path, "-copy", copy->path, &ignored) == -1 ||
	    px_db_side_path(renewal->old.path, "-wal", log[0], &ignored) == -1 ||
	    px_db_side_path(copy->path, "-wal", log[1], &ignored) == -1)
		return;
	memcpy(copy->name, renewal->old.name, sizeof(copy->name));
	/* The fresh one's first page has to be in its file. */
	if (sqlite3_exec(renewal->fresh.db, "COMMIT; BEGIN", NULL, NULL, NULL) != SQLITE_OK ||
	    copy_bytes(renewal->old.path, copy->path, &ignored) == -1 ||
	    replace_first_page(copy->path, renewal->fresh.path, &ignored) == -1)
		return;
	if (copy_bytes(log[0], log[1], &ignored) == -1)
		(void)unlink(log[1]);
	if (open_source(renewal, copy, &ignored) == -1)
		renewal->from = NULL;
}

static int
build_fresh(struct renewal *renewal, const char *path, const struct px_spool_birth *birth, struct px_err *err)
{
	if (px_make_begin(&renewal->fresh, path, birth, err) == -1)
		return -1;
	if (renewal->from == NULL)
		open_mended_copy(renewal);
	if (renewal->from != NULL && px_salvage(renewal->from, &renewal->fresh, &renewal->carried, err) == -1)
		return -1;
	return px_make_end(&renewal->fresh, err);
}

/* "path.broken-20261122T145547Z", or with "-2" and so on behind it. */
static void
name_aside(const char *path, const struct px_now *now, int number, char *out, size_t size)
{
	char time[PX_RFC3339_MAX];
	char compact[PX_RFC3339_MAX];
	size_t len = 0;

	px_text_time_s(time, now->wall_ms / PX_MS_PER_S);
	for (const char *at = time; *at != '\0'; at++)
		if (*at != '-' && *at != ':')
			compact[len++] = *at;
	compact[len] = '\0';
	if (number == 1)
		(void)snprintf(out, size, "%s.broken-%s", path, compact);
	else
		(void)snprintf(out, size, "%s.broken-%s-%d", path, compact, number);
}

/* Gives the old spool its second name. It stays in its place until the new one takes that. */
static int
set_aside(const char *path, const struct px_now *now, int *number, struct px_err *err)
{
	char aside[PATH_MAX];
	char log[2][PATH_MAX];
	struct stat status;

	for (*number = 1; *number < ASIDE_TRIES; ++*number) {
		name_aside(path, now, *number, aside, sizeof(aside));
		if (link(path, aside) == 0)
			break;
		if (errno != EEXIST)
			return px_err_set_errno(err, PX_STORAGE, errno, "cannot set spool '%s' aside", path);
	}
	if (*number == ASIDE_TRIES)
		return px_err_set(err, PX_STORAGE, "cannot set spool '%s' aside: too many are there", path);
	if (px_db_side_path(path, "-wal", log[0], err) == -1 || px_db_side_path(aside, "-wal", log[1], err) == -1)
		return -1;
	if (lstat(log[0], &status) == 0 && status.st_size > 0 && link(log[0], log[1]) == -1)
		return px_err_set_errno(err, PX_STORAGE, errno, "cannot set spool '%s' aside", path);
	return px_make_sync_folder(path, err);
}

/*
 * The journal of the old one must be gone when the new one takes its place, else it would be applied to that. It is empty
 * by now unless the old one is too broken for that, so that nothing is lost when all ends here.
 */
static int
take_place(const char *from, const char *path, struct px_err *err)
{
	static const char *const suffixes[] = { "-wal", "-shm", SPOOL_DAMAGED_SUFFIX };
	char name[PATH_MAX];

	for (size_t i = 0; i < sizeof(suffixes) / sizeof(suffixes[0]); i++) {
		if (px_db_side_path(path, suffixes[i], name, err) == -1)
			return -1;
		if (unlink(name) == -1 && errno != ENOENT)
			return px_err_set_errno(err, PX_STORAGE, errno, "cannot remove '%s'", name);
	}
	if (rename(from, path) == -1)
		return px_err_set_errno(err, PX_STORAGE, errno, "cannot renew spool '%s'", path);
	return px_make_sync_folder(path, err);
}

int
px_spool_renew(const char *path, const struct px_spool_birth *birth, const struct px_now *now, char *aside, size_t size,
    int64_t *carried, struct px_err *err)
{
	struct renewal *renewal = calloc(1, sizeof(*renewal));
	int number = 1;
	int rc = -1;

	*carried = 0;
	if (renewal == NULL)
		return px_err_set(err, PX_STORAGE, "no memory for a spool");
	(void)snprintf(renewal->old.name, sizeof(renewal->old.name), "%s", path);
	if (px_db_real_path(path, renewal->old.path, err) == -1)
		goto out;
	(void)px_room_give_up_reserve(&renewal->old);
	if (open_source(renewal, &renewal->old, err) == -1 || build_fresh(renewal, renewal->old.path, birth, err) == -1)
		goto out;
	if (renewal->old.db != NULL)
		px_room_checkpoint(&renewal->old, true);
	if (set_aside(renewal->old.path, now, &number, err) == -1 ||
	    take_place(renewal->fresh.path, renewal->old.path, err) == -1)
		goto out;
	name_aside(path, now, number, aside, size);
	*carried = renewal->carried;
	rc = 0;
out:
	px_db_disconnect(&renewal->old);
	px_make_abandon(&renewal->copy);
	px_make_abandon(&renewal->fresh);
	free(renewal);
	return rc;
}
