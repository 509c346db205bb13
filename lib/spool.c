/* SPDX-License-Identifier: MIT */
#include "spool.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "spool_make.h"

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
	if (S_ISREG(status.st_mode))
		return 0;
	return px_err_set(err, PX_STORAGE, "cannot open spool '%s': %s; move it away, and the next event or flush makes a spool", name,
	    S_ISDIR(status.st_mode) ? strerror(EISDIR) : S_ISLNK(status.st_mode) ? "it is a symbolic link" : "it is no regular file");
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
	    "SELECT which FROM timer UNION ALL SELECT number FROM run UNION ALL "
	    "SELECT 1 FROM (SELECT name FROM taken ORDER BY name LIMIT 1) UNION ALL SELECT length(id) FROM spool", "");
}

/* What a flush does beyond opening. */
static int
begin_flush(struct px_spool *spool, struct px_err *err)
{
	struct spool_counters counters;

	if (px_make_is_damaged(spool->path))
		return px_err_set(err, PX_CORRUPT, "cannot use spool '%s': it was found damaged", spool->name);
	if (px_room_load(spool, &counters, err) == -1 || look_into_tables(spool, err) == -1)
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
	/* On a full disk even the journal's index, -shm, may need the reserve. */
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

/* An item on its way in. */
struct entry {
	struct px_item *item;
	const struct px_spool_limits *limits;
	const char *name;		/* of the overflow file that it comes from; NULL: from none */
	int64_t perhaps_seq;
	bool kept;
	bool log_is_full;		/* others have filled it since it was looked at */
};

/*
 * Makes room and inserts. Where a snapshot finds no room beside the events, what was pushed out for it is put back: it
 * would have been for nothing.
 */
static int
insert_with_room(struct px_spool *spool, struct entry *entry, struct spool_counters *counters, struct px_err *err)
{
	struct px_item *item = entry->item;
	int64_t bytes = (int64_t)(item->body.len + item->topic.len);
	struct spool_counters before = *counters;

	entry->kept = false;
	if (item->kind == PX_SNAPSHOT && px_db_run(spool, err, "SAVEPOINT room", "") == -1)
		return -1;
	if (!px_room_is_too_large(spool, bytes) &&
	    px_room_make(spool, item->kind, entry->limits, bytes, counters, &entry->kept, err) == -1)
		return -1;
	if (!entry->kept && item->kind == PX_EVENT)
		return px_err_set(err, PX_STORAGE, "cannot write spool '%s': no room for an event of %lld bytes", spool->name,
		    (long long)bytes);
	if (!entry->kept) {
		*counters = before;
		if (px_db_run(spool, err, "ROLLBACK TO room", "") == -1)
			return -1;
	}
	if (item->kind == PX_SNAPSHOT && px_db_run(spool, err, "RELEASE room", "") == -1)
		return -1;
	item->seq = ++counters->recorded;
	if (!entry->kept) {
		counters->lost_snapshots++;
		return 0;
	}
	return px_row_insert(spool, item, err);
}

static int
put(struct px_spool *spool, void *arg, struct px_err *err)
{
	struct entry *entry = arg;
	struct spool_counters counters;

	entry->log_is_full = !px_room_is_too_large(spool, (int64_t)entry->item->body.len) &&
	    !px_room_log_has_room(spool, (int64_t)entry->item->body.len);
	if (entry->log_is_full)
		return px_err_set(err, PX_STORAGE, "cannot write spool '%s': its journal is full", spool->name);

	if (px_room_load(spool, &counters, err) == -1 || insert_with_room(spool, entry, &counters, err) == -1)
		return -1;
	counters.max_bytes = entry->limits->max_bytes;
	return px_room_store(spool, &counters, err);
}

static int
try_put_entry(struct px_spool *spool, struct entry *entry, px_db_work_fn *work, struct px_err *err)
{
	bool perhaps = false;

	px_room_set_bounds(spool, entry->limits->max_bytes);
	entry->item->seq = 0;
	if (!px_room_is_too_large(spool, (int64_t)entry->item->body.len) &&
	    px_room_prepare(spool, (int64_t)entry->item->body.len, err) == -1)
		return -1;
	/* The reserve is for delivery and what follows it: a new item has to do without. */
	if (px_db_write(spool, false, work, entry, &perhaps, err) == 0)
		return 0;
	if (!perhaps)
		entry->item->seq = 0;
	return -1;
}

static int
put_entry(struct px_spool *spool, struct entry *entry, px_db_work_fn *work, struct px_err *err)
{
	int64_t until_ms = px_db_monotonic_ms() + spool->wait_ms;
	int rc;

	do
		rc = try_put_entry(spool, entry, work, err);
	while (rc == -1 && entry->log_is_full && px_db_monotonic_ms() < until_ms);
	return rc;
}

int
px_spool_put(struct px_spool *spool, struct px_item *item, const struct px_spool_limits *limits, bool *kept,
    struct px_err *err)
{
	struct entry entry = { .item = item, .limits = limits };

	if (put_entry(spool, &entry, put, err) == -1)
		return -1;
	if (kept != NULL)
		*kept = entry.kept;
	return 0;
}

/*
 * The key of the row that a failed insert may have left, when it is this very item; else 0. Where the spool took the place of
 * another since, the row may have another seq: until upstream knows of that, all rows are looked at.
 */
static int
find_twin(struct px_spool *spool, const struct entry *entry, int64_t *key, struct px_err *err)
{
	uint8_t id[16];
	int64_t is_renewed;

	*key = 0;
	if (entry->perhaps_seq <= 0 || entry->perhaps_seq > SPOOL_SEQ_MASK)
		return 0;
	if (px_row_id_bytes(entry->item->id, id, err) == -1 ||
	    px_db_number(spool, 0, key, err, "SELECT key FROM item WHERE key = ?1 AND id = ?2", "ib",
	    px_row_key(entry->item->kind, entry->perhaps_seq), id, (int64_t)sizeof(id)) == -1)
		return -1;
	if (*key != 0)
		return 0;
	if (px_db_number(spool, 0, &is_renewed, err, "SELECT replaces_id IS NOT NULL FROM spool WHERE one = 1", "") == -1)
		return -1;
	return is_renewed == 0 ? 0 : px_db_number(spool, 0, key, err, "SELECT key FROM item WHERE id = ?1", "b", id, (int64_t)sizeof(id));
}

static int
take_in(struct px_spool *spool, void *arg, struct px_err *err)
{
	struct entry *entry = arg;
	int64_t taken;
	int64_t key;

	if (px_db_number(spool, 0, &taken, err, "SELECT count(*) FROM taken WHERE name = ?1", "t", entry->name) == -1)
		return -1;
	if (taken > 0)
		return 0;
	if (px_db_run(spool, err, "INSERT INTO taken (name) VALUES (?1)", "t", entry->name) == -1 ||
	    find_twin(spool, entry, &key, err) == -1)
		return -1;
	if (key == 0)
		return put(spool, entry, err);
	entry->item->seq = key & SPOOL_SEQ_MASK;
	return 0;
}

int
px_spool_take_in(struct px_spool *spool, struct px_item *item, const char *name, int64_t perhaps_seq,
    const struct px_spool_limits *limits, struct px_err *err)
{
	struct entry entry = { .item = item, .limits = limits, .name = name, .perhaps_seq = perhaps_seq };

	return put_entry(spool, &entry, take_in, err);
}

static int
forget_taken(struct px_spool *spool, void *name, struct px_err *err)
{
	return px_db_run(spool, err, "DELETE FROM taken WHERE name = ?1", "t", (const char *)name);
}

/* For work whose argument is only read. */
union constant {
	const void *given;
	void *arg;
};

int
px_spool_forget_taken(struct px_spool *spool, const char *name, struct px_err *err)
{
	union constant constant = { .given = name };

	return px_db_write(spool, true, forget_taken, constant.arg, NULL, err);
}

struct settling {
	const struct px_settled *settled;
	size_t count;
	int64_t wall_ms;
	bool told_replaces;
};

static int
remember_quarantined(struct px_spool *spool, int64_t key, const char *reason, int64_t wall_ms, struct px_err *err)
{
	sqlite3_stmt *row;
	char id[PX_ID_MAX] = "";
	int rc;

	if (px_db_query(spool, &row, err, "SELECT id FROM item WHERE key = ?1", "i", key) == -1)
		return -1;
	rc = px_db_step(spool, row, err);
	if (rc == 1 && sqlite3_column_bytes(row, 0) == 16)
		px_row_id_text(sqlite3_column_blob(row, 0), id);
	if (rc == 1)
		px_db_done(row);
	if (rc == -1)
		return -1;
	return px_db_run(spool, err, "UPDATE spool SET last_quarantined_id = ?1, last_quarantined_reason = ?2, "
	    "last_quarantined_ms = ?3 WHERE one = 1", "tti", id, reason, wall_ms);
}

static int
quarantine(struct px_spool *spool, int64_t key, const char *whole_reason, int64_t wall_ms, struct spool_counters *counters,
    struct px_err *err)
{
	struct px_slice reason = { whole_reason, px_text_cut(whole_reason, strlen(whole_reason), PX_REASON_MAX - 1) };
	char kept[PX_REASON_MAX];
	int64_t is_there;
	int64_t was_quarantined;

	(void)snprintf(kept, sizeof(kept), "%.*s", (int)reason.len, reason.ptr);
	if (px_db_number(spool, 0, &is_there, err, "SELECT count(*) FROM item WHERE key = ?1", "i", key) == -1)
		return -1;
	if (is_there == 0)
		return 0;
	if (px_db_number(spool, 0, &was_quarantined, err, "SELECT reason IS NOT NULL FROM mark WHERE key = ?1", "i", key) == -1 ||
	    px_db_run(spool, err, "INSERT INTO mark (key, attempts, reason) VALUES (?1, 1, ?2) ON CONFLICT (key) DO UPDATE SET "
	    "attempts = attempts + 1, reason = excluded.reason, deferred = NULL", "it", key, kept) == -1)
		return -1;
	counters->quarantined += was_quarantined == 0;
	return remember_quarantined(spool, key, kept, wall_ms, err);
}

/*
 * Takes ${count} items of one kind out whose seqs follow each other: whole pages leave by one statement. Such a range holds
 * nothing else, whatever others did to it meanwhile, since no seq is given twice.
 */
static int
acknowledge(struct px_spool *spool, const struct px_settled *first, size_t count, struct spool_counters *counters,
    struct px_err *err)
{
	int64_t from = px_row_key(first->kind, first->seq);
	int64_t to = from + (int64_t)count - 1;
	int64_t marked;
	int64_t quarantined = 0;

	if (px_db_number(spool, 0, &marked, err, "SELECT count(*) FROM mark WHERE key BETWEEN ?1 AND ?2", "ii", from, to) == -1 ||
	    (marked > 0 && px_db_number(spool, 0, &quarantined, err, "SELECT count(*) FROM mark WHERE key BETWEEN ?1 AND ?2 AND "
	    "reason IS NOT NULL AND key IN (SELECT key FROM item)", "ii", from, to) == -1) ||
	    px_db_run(spool, err, "DELETE FROM item WHERE key BETWEEN ?1 AND ?2", "ii", from, to) == -1)
		return -1;
	counters->acknowledged += sqlite3_changes(spool->db);
	counters->quarantined -= quarantined;
	return marked == 0 ? 0 : px_db_run(spool, err, "DELETE FROM mark WHERE key BETWEEN ?1 AND ?2", "ii", from, to);
}

/* How many from ${settled} on are acknowledged with seqs that follow each other. */
static size_t
count_run(const struct px_settled *settled, size_t count)
{
	size_t run = 1;

	while (run < count && settled[run].reason == NULL && settled[run].kind == settled->kind &&
	    settled[run].seq == settled[run - 1].seq + 1)
		run++;
	return run;
}

static int
settle(struct px_spool *spool, void *arg, struct px_err *err)
{
	const struct settling *settling = arg;
	struct px_spool_limits limits = { .max_items = INT64_MAX };
	struct spool_counters counters;
	bool fits;

	if (px_room_load(spool, &counters, err) == -1)
		return -1;
	/* What leaves goes first and makes room for the reasons of what stays. */
	for (size_t i = 0, run; i < settling->count; i += run) {
		run = 1;
		if (settling->settled[i].reason != NULL)
			continue;
		run = count_run(&settling->settled[i], settling->count - i);
		if (acknowledge(spool, &settling->settled[i], run, &counters, err) == -1)
			return -1;
	}
	for (size_t i = 0; i < settling->count; i++) {
		const struct px_settled *one = &settling->settled[i];

		if (one->reason != NULL && quarantine(spool, px_row_key(one->kind, one->seq), one->reason, settling->wall_ms,
		    &counters, err) == -1)
			return -1;
	}
	if (settling->told_replaces &&
	    px_db_run(spool, err, "UPDATE spool SET replaces_id = NULL WHERE one = 1", "") == -1)
		return -1;
	limits.max_bytes = counters.max_bytes;
	if (counters.max_bytes > 0 && px_room_make(spool, PX_EVENT, &limits, 0, &counters, &fits, err) == -1)
		return -1;
	return px_room_store(spool, &counters, err);
}

int
px_spool_settle(struct px_spool *spool, const struct px_settled *settled, size_t count, int64_t wall_ms, bool told_replaces,
    struct px_err *err)
{
	struct settling settling = { settled, count, wall_ms, told_replaces };

	if (count == 0 && !told_replaces)
		return 0;
	return px_db_write(spool, true, settle, &settling, NULL, err);
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

struct attempts {
	const struct px_batch_entry *entries;
	size_t count;
};

static int
count_attempts(struct px_spool *spool, void *arg, struct px_err *err)
{
	const struct attempts *attempts = arg;

	for (size_t i = 0; i < attempts->count; i++)
		if (px_db_run(spool, err, "INSERT INTO mark (key, attempts) SELECT key, 1 FROM item WHERE key = ?1 ON CONFLICT (key) "
		    "DO UPDATE SET attempts = attempts + 1", "i", px_row_key(attempts->entries[i].kind, attempts->entries[i].seq)) == -1)
			return -1;
	return 0;
}

int
px_spool_count_attempt(struct px_spool *spool, const struct px_batch_entry *entries, size_t count, struct px_err *err)
{
	struct attempts attempts = { entries, count };

	return count == 0 ? 0 : px_db_write(spool, true, count_attempts, &attempts, NULL, err);
}

static int
absent(const struct px_spool *spool, int64_t seq, struct px_err *err)
{
	return px_err_set(err, PX_ABSENT, "no item %lld in spool '%s'", (long long)seq, spool->name);
}

static int
defer(struct px_spool *spool, void *seq, struct px_err *err)
{
	int64_t key;

	if (px_row_find(spool, *(int64_t *)seq, &key, err) == -1)
		return -1;
	if (key == 0)
		return 0;
	return px_db_run(spool, err, "INSERT INTO mark (key, attempts, deferred) SELECT ?1, 0, coalesce(max(deferred), 0) + 1 FROM "
	    "mark WHERE deferred IS NOT NULL ON CONFLICT (key) DO UPDATE SET deferred = excluded.deferred WHERE reason IS NULL", "i",
	    key);
}

int
px_spool_defer(struct px_spool *spool, int64_t seq, struct px_err *err)
{
	return px_db_write(spool, true, defer, &seq, NULL, err);
}

static int
drop(struct px_spool *spool, void *seq, struct px_err *err)
{
	struct spool_counters counters;
	bool was_there;
	bool was_quarantined;
	int64_t key;

	if (px_row_find(spool, *(int64_t *)seq, &key, err) == -1)
		return -1;
	if (key == 0)
		return absent(spool, *(int64_t *)seq, err);
	if (px_room_load(spool, &counters, err) == -1 || px_row_remove(spool, key, &was_there, &was_quarantined, err) == -1)
		return -1;
	counters.dropped++;
	counters.quarantined -= was_quarantined;
	return px_room_store(spool, &counters, err);
}

int
px_spool_drop(struct px_spool *spool, int64_t seq, struct px_err *err)
{
	return px_db_write(spool, true, drop, &seq, NULL, err);
}

static int
retry(struct px_spool *spool, void *seq, struct px_err *err)
{
	struct spool_counters counters;
	int64_t key;

	if (px_row_find(spool, *(int64_t *)seq, &key, err) == -1)
		return -1;
	if (key == 0)
		return absent(spool, *(int64_t *)seq, err);
	if (px_room_load(spool, &counters, err) == -1 ||
	    px_db_run(spool, err, "UPDATE mark SET reason = NULL WHERE key = ?1 AND reason IS NOT NULL", "i", key) == -1)
		return -1;
	counters.quarantined -= sqlite3_changes(spool->db);
	return px_room_store(spool, &counters, err);
}

int
px_spool_retry(struct px_spool *spool, int64_t seq, struct px_err *err)
{
	return px_db_write(spool, true, retry, &seq, NULL, err);
}
