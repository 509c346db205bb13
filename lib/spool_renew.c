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
#define ROUNDS_MAX 10000	/* damaged places that are stepped over */
#define SHORT_JUMPS 20000
#define ASIDE_TRIES 100

/* The keys that could be read. */
struct keys {
	int64_t *keys;		/* owned */
	size_t count;
	size_t capacity;
	bool failed;		/* no memory */
};

struct renewal {
	struct px_spool old;
	struct px_spool copy;		/* of the old one, mended; used only when that is unreadable */
	struct px_spool *from;		/* the one of the two that is read; NULL: neither can be */
	struct px_spool fresh;
	struct keys keys;
	struct spool_counters counters;	/* of the fresh one */
};

static void
add_key(struct keys *keys, int64_t key)
{
	if (keys->count == keys->capacity) {
		size_t capacity = keys->capacity * 2 + 1024;
		int64_t *larger = reallocarray(keys->keys, capacity, sizeof(*larger));

		if (larger == NULL) {
			keys->failed = true;
			return;
		}
		keys->keys = larger;
		keys->capacity = capacity;
	}
	keys->keys[keys->count++] = key;
}

/* Adds keys above ${last} and up to ${end}, moving ${last}, until all are read (0) or there is damage (-1). */
static int
read_up(struct px_spool *old, struct keys *keys, int64_t *last, int64_t end)
{
	sqlite3_stmt *row;
	struct px_err ignored;
	int rc;

	if (px_db_query(old, &row, &ignored, "SELECT key FROM item WHERE key > ?1 AND key <= ?2 ORDER BY key", "ii", *last,
	    end) == -1)
		return -1;
	while ((rc = px_db_step(old, row, &ignored)) == 1) {
		*last = sqlite3_column_int64(row, 0);
		add_key(keys, *last);
	}
	return rc;
}

/* Adds keys up to ${first} and above ${last}, from above, until damage. */
static void
read_down(struct px_spool *old, struct keys *keys, int64_t first, int64_t last)
{
	sqlite3_stmt *row;
	struct px_err ignored;

	if (px_db_query(old, &row, &ignored, "SELECT key FROM item WHERE key <= ?1 AND key > ?2 ORDER BY key DESC", "ii", first,
	    last) == -1)
		return;
	while (px_db_step(old, row, &ignored) == 1)
		add_key(keys, sqlite3_column_int64(row, 0));
}

/*
 * Finds a readable key behind a damaged place, one key after the other, later by longer jumps. 0 when there is none. What
 * is between is added as far as it can be read from behind.
 */
static int64_t
jump_over(struct px_spool *old, struct keys *keys, int64_t last, int64_t end)
{
	struct px_err ignored;
	int64_t found = 0;

	for (int64_t jump = 1; jump <= end - last; jump += 1 + (jump > SHORT_JUMPS ? jump / 64 : 0)) {
		if (px_db_number(old, 0, &found, &ignored, "SELECT key FROM item WHERE key >= ?1 AND key <= ?2 ORDER BY key LIMIT 1",
		    "ii", last + jump, end) == -1)
			continue;
		if (found == 0)
			break;
		read_down(old, keys, found, last);
		return found;
	}
	read_down(old, keys, end, last);
	return 0;
}

/* Collects the keys above ${last} up to ${end}. */
static void
collect_keys(struct px_spool *old, struct keys *keys, int64_t last, int64_t end)
{
	for (int round = 0; round < ROUNDS_MAX && read_up(old, keys, &last, end) == -1; round++)
		if ((last = jump_over(old, keys, last, end)) == 0)
			break;
}

static int
compare_seq(const void *a, const void *b)
{
	const int64_t *left = a;
	const int64_t *right = b;
	int64_t difference = (*left & SPOOL_SEQ_MASK) - (*right & SPOOL_SEQ_MASK);

	if (difference == 0)
		difference = *left - *right;
	return difference < 0 ? -1 : difference > 0;
}

/* What is known of an item beside itself; nothing where it can't be read. */
static int
carry_mark(struct renewal *renewal, int64_t old_key, int64_t key, struct px_err *err)
{
	struct px_err ignored;
	sqlite3_stmt *row;
	int rc = 0;

	if (px_db_query(renewal->from, &row, &ignored, "SELECT attempts, deferred, reason FROM mark WHERE key = ?1", "i",
	    old_key) == -1 || px_db_step(renewal->from, row, &ignored) != 1)
		return 0;
	rc = px_db_run(&renewal->fresh, err, "INSERT INTO mark (key, attempts, deferred, reason) VALUES (?1, ?2, nullif(?3, 0), ?4)",
	    "iiit", key, sqlite3_column_int64(row, 0), sqlite3_column_int64(row, 1), (const char *)sqlite3_column_text(row, 2));
	renewal->counters.quarantined += sqlite3_column_type(row, 2) != SQLITE_NULL;
	px_db_done(row);
	return rc;
}

static int
carry_item(struct renewal *renewal, int64_t old_key, struct px_err *err)
{
	struct px_spool_item found;
	struct px_err ignored;
	sqlite3_stmt *row;
	uint8_t id[16];
	int rc = -1;

	if (px_db_query(renewal->from, &row, &ignored, "SELECT key, id, time_ms, topic, body, 0, NULL, NULL FROM item WHERE key = ?1",
	    "i", old_key) == -1 || px_db_step(renewal->from, row, &ignored) != 1)
		return 0;
	if (px_row_read(renewal->from, row, 0, &found, &ignored) == -1 || px_row_id_bytes(found.item.id, id, &ignored) == -1) {
		rc = 0;
		goto out;
	}
	if (px_db_run(&renewal->fresh, err, "INSERT OR IGNORE INTO seen (id) VALUES (?1)", "b", id, (int64_t)sizeof(id)) == -1)
		goto out;
	if (sqlite3_changes(renewal->fresh.db) == 0) {
		rc = 0;
		goto out;
	}
	found.item.seq = ++renewal->counters.recorded;
	if (px_row_insert(&renewal->fresh, &found.item, err) == -1)
		goto out;
	rc = carry_mark(renewal, old_key, px_row_key(found.item.kind, found.item.seq), err);
out:
	px_db_done(row);
	return rc;
}

static int
carry_items(struct renewal *renewal, struct px_err *err)
{
	struct keys *keys = &renewal->keys;

	collect_keys(renewal->from, keys, 0, SPOOL_EVENT_KEYS);
	collect_keys(renewal->from, keys, SPOOL_EVENT_KEYS, SPOOL_EVENT_KEYS + SPOOL_SEQ_MASK);
	if (keys->failed)
		return px_err_set(err, PX_STORAGE, "no memory for the keys of %zu items", keys->count);
	if (keys->count > 0)
		qsort(keys->keys, keys->count, sizeof(*keys->keys), compare_seq);
	if (px_db_run(&renewal->fresh, err, "CREATE TEMP TABLE seen (id BLOB PRIMARY KEY) WITHOUT ROWID", "") == -1)
		return -1;
	for (size_t i = 0; i < keys->count; i++)
		if ((i == 0 || keys->keys[i] != keys->keys[i - 1]) && carry_item(renewal, keys->keys[i], err) == -1)
			return -1;
	return 0;
}

/* Overflow files that the old one took in and that are not removed yet. */
static int
carry_taken(struct renewal *renewal, struct px_err *err)
{
	struct px_err ignored;
	sqlite3_stmt *row;
	int rc = 0;

	if (px_db_query(renewal->from, &row, &ignored, "SELECT name FROM taken", "") == -1)
		return 0;
	while (rc == 0 && px_db_step(renewal->from, row, &ignored) == 1)
		if (sqlite3_column_type(row, 0) == SQLITE_TEXT)
			rc = px_db_run(&renewal->fresh, err, "INSERT OR IGNORE INTO taken (name) VALUES (?1)", "t",
			    (const char *)sqlite3_column_text(row, 0));
	px_db_done(row);
	return rc;
}

static int
carry_quarantine(struct renewal *renewal, struct px_err *err)
{
	struct px_err ignored;
	sqlite3_stmt *row;
	int rc;

	if (renewal->counters.quarantined == 0 || px_db_query(renewal->from, &row, &ignored, "SELECT last_quarantined_id, "
	    "last_quarantined_reason, last_quarantined_ms FROM spool WHERE one = 1", "") == -1 ||
	    px_db_step(renewal->from, row, &ignored) != 1)
		return 0;
	rc = px_db_run(&renewal->fresh, err, "UPDATE spool SET last_quarantined_id = ?1, last_quarantined_reason = ?2, "
	    "last_quarantined_ms = ?3 WHERE one = 1", "tti", (const char *)sqlite3_column_text(row, 0),
	    (const char *)sqlite3_column_text(row, 1), sqlite3_column_int64(row, 2));
	px_db_done(row);
	return rc;
}

/* What this spool replaces, as far as it can be read. */
static int
carry_identity(struct renewal *renewal, struct px_err *err)
{
	struct spool_counters counters = { .recorded = 0 };
	char id[PX_ID_MAX] = "";
	struct px_err ignored;
	sqlite3_stmt *row;

	if (px_db_query(renewal->from, &row, &ignored, "SELECT id FROM spool WHERE one = 1", "") == 0 &&
	    px_db_step(renewal->from, row, &ignored) == 1) {
		const char *text = (const char *)sqlite3_column_text(row, 0);

		if (text != NULL && px_id_is_valid(px_slice(text)))
			memcpy(id, text, sizeof(id));
		px_db_done(row);
	}
	if (id[0] == '\0')
		return 0;
	if (px_room_load(renewal->from, &counters, &ignored) == -1 && renewal->keys.count > 0)
		counters.recorded = renewal->keys.keys[renewal->keys.count - 1] & SPOOL_SEQ_MASK;
	return px_db_run(&renewal->fresh, err, "UPDATE spool SET replaces_id = ?1, replaces_recorded = ?2, replaces_acknowledged = ?3 "
	    "WHERE one = 1", "tii", id, counters.recorded, counters.acknowledged);
}

static int
carry_over(struct renewal *renewal, struct px_err *err)
{
	if (renewal->from == NULL)
		return 0;
	if (carry_items(renewal, err) == -1 || carry_taken(renewal, err) == -1 || carry_quarantine(renewal, err) == -1 ||
	    carry_identity(renewal, err) == -1)
		return -1;
	return px_room_store(&renewal->fresh, &renewal->counters, err);
}

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
	if (status.st_size >= 2 * SPOOL_PAGE && pwrite(to, page, sizeof(page), 0) == (ssize_t)sizeof(page))
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
	if (carry_over(renewal, err) == -1)
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
	*carried = renewal->counters.recorded;
	rc = 0;
out:
	px_db_disconnect(&renewal->old);
	px_make_abandon(&renewal->copy);
	px_make_abandon(&renewal->fresh);
	free(renewal->keys.keys);
	free(renewal);
	return rc;
}
