/* SPDX-License-Identifier: MIT */
/* What happens to items that are in a spool: acknowledged, quarantined, tried, deferred, dropped, tried again. */
#include <stdio.h>
#include <string.h>

#include "spool_db.h"
#include "text.h"

/* How much may be settled in one transaction, with the log within its bound. */
#define ACKNOWLEDGED_PER_FRAME 2	/* of the log at its longest: each takes a fifth of one or less */
#define REJECTED_MAX 64		/* their reasons make the file longer, too, before room is made */
#define MARK_BYTES 32		/* that a mark without a reason takes at most */

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
settle_acknowledged(struct px_spool *spool, void *arg, struct px_err *err)
{
	const struct settling *settling = arg;
	struct spool_counters counters;

	if (px_room_load(spool, &counters, err) == -1)
		return -1;
	for (size_t i = 0, run; i < settling->count; i += run) {
		run = 1;
		if (settling->settled[i].reason != NULL)
			continue;
		run = count_run(&settling->settled[i], settling->count - i);
		if (acknowledge(spool, &settling->settled[i], run, &counters, err) == -1)
			return -1;
	}
	if (settling->told_replaces &&
	    px_db_run(spool, err, "UPDATE spool SET replaces_id = NULL WHERE one = 1", "") == -1)
		return -1;
	return px_room_store(spool, &counters, err);
}

/* Their reasons need room of their own, but not the last there is: of that what leaves needs some. */
static int
settle_rejected(struct px_spool *spool, void *arg, struct px_err *err)
{
	const struct settling *settling = arg;
	struct px_spool_limits limits = { .max_items = INT64_MAX };
	struct spool_counters counters;
	bool fits;

	if (px_room_load(spool, &counters, err) == -1)
		return -1;
	for (size_t i = 0; i < settling->count; i++) {
		const struct px_settled *one = &settling->settled[i];

		if (one->reason != NULL && quarantine(spool, px_row_key(one->kind, one->seq), one->reason, settling->wall_ms,
		    &counters, err) == -1)
			return -1;
	}
	limits.max_bytes = counters.max_bytes;
	if (counters.max_bytes > 0 && px_room_make(spool, PX_EVENT, &limits, 0, &counters, &fits, err) == -1)
		return -1;
	if (px_room_store(spool, &counters, err) == -1)
		return -1;
	return px_room_hold(spool, REJECTED_MAX * PX_REASON_MAX, spool->bounds.reserve_bytes / 4, err);
}

/* In one transaction; where the disk is so full that there is no room for that, half after half. */
static int
settle_part(struct px_spool *spool, px_db_work_fn *work, struct settling settling, struct px_err *err)
{
	size_t count = settling.count;

	if (px_db_write(spool, true, work, &settling, NULL, err) == 0)
		return 0;
	if (!spool->no_space || count < 2)
		return -1;
	settling.count = count / 2;
	if (settle_part(spool, work, settling, err) == -1)
		return -1;
	settling.settled += count / 2;
	settling.count = count - count / 2;
	return settle_part(spool, work, settling, err);
}

/* How many items from ${settled} on have no more reasons among them than may go into one transaction. */
static size_t
count_few_rejected(const struct px_settled *settled, size_t count, size_t *rejected)
{
	size_t i;

	*rejected = 0;
	for (i = 0; i < count && *rejected < REJECTED_MAX; i++)
		*rejected += settled[i].reason != NULL;
	return i;
}

int
px_spool_settle(struct px_spool *spool, const struct px_settled *settled, size_t count, int64_t wall_ms, bool told_replaces,
    struct px_err *err)
{
	const size_t most = (size_t)spool->bounds.max_frames * ACKNOWLEDGED_PER_FRAME;
	struct settling settling = { settled, 0, wall_ms, told_replaces };
	size_t rejected = 0;

	for (size_t i = 0; i < count; i++)
		rejected += settled[i].reason != NULL;
	/* What leaves goes first and makes room for the reasons of what stays. */
	for (size_t at = 0; (at < count && rejected < count) || (at == 0 && told_replaces); at += most) {
		settling = (struct settling){ settled + at, count - at < most ? count - at : most, wall_ms, told_replaces && at == 0 };
		if (settle_part(spool, settle_acknowledged, settling, err) == -1)
			return -1;
	}
	settling.settled = settled;
	for (; settling.settled < settled + count; settling.settled += settling.count) {
		settling.count = count_few_rejected(settling.settled, (size_t)(settled + count - settling.settled), &rejected);
		if (rejected > 0 && settle_part(spool, settle_rejected, settling, err) == -1)
			return -1;
	}
	return 0;
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
	return px_room_hold(spool, (int64_t)attempts->count * MARK_BYTES, spool->bounds.reserve_bytes / 4, err);
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
	    "mark WHERE deferred IS NOT NULL ON CONFLICT (key) DO UPDATE SET deferred = excluded.deferred WHERE reason IS "
	    "NULL", "i",
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

struct retrying {
	int64_t seq;
	bool was_quarantined;
};

static int
retry(struct px_spool *spool, void *arg, struct px_err *err)
{
	struct retrying *retrying = arg;
	struct spool_counters counters;
	int64_t key;

	if (px_row_find(spool, retrying->seq, &key, err) == -1)
		return -1;
	if (key == 0)
		return absent(spool, retrying->seq, err);
	if (px_room_load(spool, &counters, err) == -1 ||
	    px_db_run(spool, err, "UPDATE mark SET reason = NULL WHERE key = ?1 AND reason IS NOT NULL", "i", key) == -1)
		return -1;
	retrying->was_quarantined = sqlite3_changes(spool->db) > 0;
	counters.quarantined -= retrying->was_quarantined;
	return px_room_store(spool, &counters, err);
}

int
px_spool_retry(struct px_spool *spool, int64_t seq, bool *was_quarantined, struct px_err *err)
{
	struct retrying retrying = { .seq = seq };
	int rc = px_db_write(spool, true, retry, &retrying, NULL, err);

	if (was_quarantined != NULL)
		*was_quarantined = rc == 0 && retrying.was_quarantined;
	return rc;
}
