/* SPDX-License-Identifier: MIT */
/* Everything readable of a broken spool, row by row. What can't be read is stepped over. */
#include <stdlib.h>
#include <string.h>

#include "spool_make.h"

#define ROUNDS_MAX 10000	/* damaged places that are stepped over */
#define SHORT_JUMPS 20000

/* The keys that could be read. */
struct keys {
	int64_t *keys;		/* owned */
	size_t count;
	size_t capacity;
	bool failed;		/* no memory */
};

struct salvage {
	struct px_spool *from;
	struct px_spool *fresh;
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
carry_mark(struct salvage *salvage, int64_t old_key, int64_t key, struct px_err *err)
{
	struct px_err ignored;
	sqlite3_stmt *row;
	int rc = 0;

	if (px_db_query(salvage->from, &row, &ignored, "SELECT attempts, deferred, reason FROM mark WHERE key = ?1", "i",
	    old_key) == -1 || px_db_step(salvage->from, row, &ignored) != 1)
		return 0;
	rc = px_db_run(salvage->fresh, err, "INSERT INTO mark (key, attempts, deferred, reason) VALUES (?1, ?2, nullif(?3, 0), ?4)",
	    "iiit", key, sqlite3_column_int64(row, 0), sqlite3_column_int64(row, 1), (const char *)sqlite3_column_text(row, 2));
	salvage->counters.quarantined += sqlite3_column_type(row, 2) != SQLITE_NULL;
	px_db_done(row);
	return rc;
}

static int
carry_item(struct salvage *salvage, int64_t old_key, struct px_err *err)
{
	struct px_spool_item found;
	struct px_err ignored;
	sqlite3_stmt *row;
	uint8_t id[16];
	int rc = -1;

	if (px_db_query(salvage->from, &row, &ignored, "SELECT key, id, time_ms, topic, body, 0, NULL, NULL FROM item WHERE key = ?1",
	    "i", old_key) == -1 || px_db_step(salvage->from, row, &ignored) != 1)
		return 0;
	if (px_row_read(salvage->from, row, 0, &found, &ignored) == -1 || px_row_id_bytes(found.item.id, id, &ignored) == -1) {
		rc = 0;
		goto out;
	}
	if (px_db_run(salvage->fresh, err, "INSERT OR IGNORE INTO seen (id) VALUES (?1)", "b", id, (int64_t)sizeof(id)) == -1)
		goto out;
	if (sqlite3_changes(salvage->fresh->db) == 0) {
		rc = 0;
		goto out;
	}
	found.item.seq = ++salvage->counters.recorded;
	if (px_row_insert(salvage->fresh, &found.item, err) == -1)
		goto out;
	rc = carry_mark(salvage, old_key, px_row_key(found.item.kind, found.item.seq), err);
out:
	px_db_done(row);
	return rc;
}

static int
carry_items(struct salvage *salvage, struct px_err *err)
{
	struct keys *keys = &salvage->keys;

	collect_keys(salvage->from, keys, 0, SPOOL_EVENT_KEYS);
	collect_keys(salvage->from, keys, SPOOL_EVENT_KEYS, SPOOL_EVENT_KEYS + SPOOL_SEQ_MASK);
	if (keys->failed)
		return px_err_set(err, PX_STORAGE, "no memory for the keys of %zu items", keys->count);
	if (keys->count > 0)
		qsort(keys->keys, keys->count, sizeof(*keys->keys), compare_seq);
	if (px_db_run(salvage->fresh, err, "CREATE TEMP TABLE seen (id BLOB PRIMARY KEY) WITHOUT ROWID", "") == -1)
		return -1;
	for (size_t i = 0; i < keys->count; i++)
		if ((i == 0 || keys->keys[i] != keys->keys[i - 1]) && carry_item(salvage, keys->keys[i], err) == -1)
			return -1;
	return 0;
}

/* Overflow files that the old one took in and that are not removed yet. */
static int
carry_taken(struct salvage *salvage, struct px_err *err)
{
	struct px_err ignored;
	sqlite3_stmt *row;
	int rc = 0;

	if (px_db_query(salvage->from, &row, &ignored, "SELECT name FROM taken", "") == -1)
		return 0;
	while (rc == 0 && px_db_step(salvage->from, row, &ignored) == 1)
		if (sqlite3_column_type(row, 0) == SQLITE_TEXT)
			rc = px_db_run(salvage->fresh, err, "INSERT OR IGNORE INTO taken (name) VALUES (?1)", "t",
			    (const char *)sqlite3_column_text(row, 0));
	px_db_done(row);
	return rc;
}

static int
carry_quarantine(struct salvage *salvage, struct px_err *err)
{
	struct px_err ignored;
	sqlite3_stmt *row;
	int rc;

	if (salvage->counters.quarantined == 0 || px_db_query(salvage->from, &row, &ignored, "SELECT last_quarantined_id, "
	    "last_quarantined_reason, last_quarantined_ms FROM spool WHERE one = 1", "") == -1 ||
	    px_db_step(salvage->from, row, &ignored) != 1)
		return 0;
	rc = px_db_run(salvage->fresh, err, "UPDATE spool SET last_quarantined_id = ?1, last_quarantined_reason = ?2, "
	    "last_quarantined_ms = ?3 WHERE one = 1", "tti", (const char *)sqlite3_column_text(row, 0),
	    (const char *)sqlite3_column_text(row, 1), sqlite3_column_int64(row, 2));
	px_db_done(row);
	return rc;
}

/* What this spool replaces, as far as it can be read. */
static int
carry_identity(struct salvage *salvage, struct px_err *err)
{
	struct spool_counters counters = { .recorded = 0 };
	char id[PX_ID_MAX] = "";
	struct px_err ignored;
	sqlite3_stmt *row;

	if (px_db_query(salvage->from, &row, &ignored, "SELECT id FROM spool WHERE one = 1", "") == 0 &&
	    px_db_step(salvage->from, row, &ignored) == 1) {
		const char *text = (const char *)sqlite3_column_text(row, 0);

		if (text != NULL && px_id_is_valid(px_slice(text)))
			memcpy(id, text, sizeof(id));
		px_db_done(row);
	}
	if (id[0] == '\0')
		return 0;
	if (px_room_load(salvage->from, &counters, &ignored) == -1 && salvage->keys.count > 0)
		counters.recorded = salvage->keys.keys[salvage->keys.count - 1] & SPOOL_SEQ_MASK;
	return px_db_run(salvage->fresh, err, "UPDATE spool SET replaces_id = ?1, replaces_recorded = ?2, replaces_acknowledged = ?3 "
	    "WHERE one = 1", "tii", id, counters.recorded, counters.acknowledged);
}

int
px_salvage(struct px_spool *from, struct px_spool *fresh, int64_t *carried, struct px_err *err)
{
	struct salvage salvage = { .from = from, .fresh = fresh };
	int rc = -1;

	if (carry_items(&salvage, err) == -1 || carry_taken(&salvage, err) == -1 || carry_quarantine(&salvage, err) == -1 ||
	    carry_identity(&salvage, err) == -1 || px_room_store(fresh, &salvage.counters, err) == -1)
		goto out;
	*carried = salvage.counters.recorded;
	rc = 0;
out:
	free(salvage.keys.keys);
	return rc;
}
