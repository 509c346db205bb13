/* SPDX-License-Identifier: MIT */
/* The items of a spool: one after another, or the one that is asked for. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "spool_db.h"
#include "text.h"

/* Read in one transaction, before their callbacks run. */
#define HELD_ITEMS 64
#define HELD_BYTES (1 << 20)
#define HELD_TEXT_MAX (3 * (PX_TOPIC_MAX + PX_REASON_MAX) + 1)	/* U+FFFD is three bytes */

#define ITEM_COLUMNS "i.key, i.id, i.time_ms, i.topic, i.body, coalesce(m.attempts, 0), m.deferred, m.reason"

/* A range of items in the order of its first column, the position. */
struct source {
	const char *sql;	/* ?1: behind this position, ?2: up to this one, ?3: see there */
	int64_t after;
	int64_t upto;
	bool is_bare;		/* it has what px_row_read_bare reads, and no other column */
	sqlite3_stmt *rows;
	bool has_row;
};

/* Items that were read, with their bytes. */
struct held {
	struct px_spool_item items[HELD_ITEMS];
	char *bytes[HELD_ITEMS];	/* owned */
	size_t count;
	size_t total;
};

struct walk {
	struct source sources[3];
	size_t source_count;
	bool by_seq;		/* merge the sources by seq; otherwise one after the other */
	int64_t last_snapshot;
	struct held held;
};

/* A byte of topic and reason may have been flipped on the disk: from here on they are UTF-8. The body is what it is. */
static int
hold(struct held *held, const struct px_spool_item *item, struct px_err *err)
{
	struct px_spool_item *to = &held->items[held->count];
	struct px_buf bytes = PX_BUF(item->item.body.len + HELD_TEXT_MAX);
	size_t body_len = item->item.body.len;
	size_t topic_len;

	px_buf_add(&bytes, item->item.body.ptr, body_len);
	px_text_clean(&bytes, item->item.topic.ptr, item->item.topic.len);
	topic_len = bytes.len - body_len;
	if (item->reason != NULL)
		px_text_clean(&bytes, item->reason, strnlen(item->reason, PX_REASON_MAX));
	px_buf_add_byte(&bytes, '\0');
	if (bytes.failed) {
		px_buf_clear(&bytes);
		return px_err_set(err, PX_STORAGE, "no memory for an item of %zu bytes", body_len);
	}
	*to = *item;
	to->item.body.ptr = bytes.data;
	to->item.topic = (struct px_slice){ bytes.data + body_len, topic_len };
	to->reason = item->reason != NULL ? bytes.data + body_len + topic_len : NULL;
	held->bytes[held->count++] = bytes.data;
	held->total += body_len;
	return 0;
}

static void
let_go(struct held *held)
{
	for (size_t i = 0; i < held->count; i++)
		free(held->bytes[i]);
	held->count = 0;
	held->total = 0;
}

static int
step(struct px_spool *spool, struct source *source, struct px_err *err)
{
	int rc = px_db_step(spool, source->rows, err);

	source->has_row = rc == 1;
	return rc == -1 ? -1 : 0;
}

static int64_t
seq_of_row(const struct source *source)
{
	return sqlite3_column_int64(source->rows, 1) & SPOOL_SEQ_MASK;
}

/* The source whose row is next; NULL when all are at their ends. */
static struct source *
next_source(struct walk *walk)
{
	struct source *next = NULL;

	for (size_t i = 0; i < walk->source_count; i++) {
		struct source *source = &walk->sources[i];

		if (source->has_row && (next == NULL || (walk->by_seq && seq_of_row(source) < seq_of_row(next))))
			next = source;
	}
	return next;
}

static int
open_sources(struct px_spool *spool, struct walk *walk, struct px_err *err)
{
	for (size_t i = 0; i < walk->source_count; i++) {
		struct source *source = &walk->sources[i];

		if (px_db_query(spool, &source->rows, err, source->sql, "iii", source->after, source->upto, walk->last_snapshot) == -1 ||
		    step(spool, source, err) == -1)
			return -1;
	}
	return 0;
}

static void
close_sources(struct px_spool *spool, struct walk *walk)
{
	for (size_t i = 0; i < walk->source_count; i++)
		if (walk->sources[i].rows != NULL)
			px_db_done(walk->sources[i].rows);
	px_db_end_read(spool);
}

/* Moves on from the row that was read. In a torn tree the same rows could come for ever. */
static int
pass_by(struct px_spool *spool, struct source *source, struct px_err *err)
{
	int64_t position = sqlite3_column_int64(source->rows, 0);

	if (position <= source->after)
		return px_db_malformed(spool, "the order of items", err);
	source->after = position;
	return step(spool, source, err);
}

static int
read_row(struct px_spool *spool, const struct source *source, struct px_spool_item *out, struct px_err *err)
{
	if (source->is_bare)
		return px_row_read_bare(spool, source->rows, out, err);
	return px_row_read(spool, source->rows, 1, out, err);
}

/* Reads the next few items in a transaction of its own. */
static int
read_few(struct px_spool *spool, struct walk *walk, struct px_err *err)
{
	struct held *held = &walk->held;
	struct px_spool_item item;
	struct source *source;
	int rc = -1;

	if (px_db_begin_read(spool, err) == -1)
		return -1;
	if (open_sources(spool, walk, err) == -1)
		goto out;
	while (held->count < HELD_ITEMS && held->total < HELD_BYTES && (source = next_source(walk)) != NULL) {
		if (read_row(spool, source, &item, err) == -1 || hold(held, &item, err) == -1 ||
		    pass_by(spool, source, err) == -1)
			goto out;
	}
	rc = 0;
out:
	close_sources(spool, walk);
	return rc;
}

/*
 * Where pages changed places, the walk finds items under keys that do not lead to them: whatever becomes of such an item, it
 * would come again for ever. Those before it leave, so that it is first at last.
 */
static int
check_key(struct px_spool *spool, const struct px_item *item, struct px_err *err)
{
	int64_t found;

	if (px_db_number(spool, 0, &found, err, "SELECT count(*) FROM item WHERE key = ?1", "i",
	    px_row_key(item->kind, item->seq)) == -1)
		return -1;
	return found == 1 ? 0 : px_db_malformed(spool, "the order of items", err);
}

/* Reads on in the transaction that is open, without a copy, and ends it. */
static int
read_all(struct px_spool *spool, struct walk *walk, px_spool_each_fn *each, void *arg, struct px_err *err)
{
	struct px_spool_item item;
	struct source *source;
	bool goes_on = true;
	bool is_first = true;
	int rc = -1;

	if (open_sources(spool, walk, err) == -1)
		goto out;
	while (goes_on && (source = next_source(walk)) != NULL) {
		if (read_row(spool, source, &item, err) == -1 || (is_first && check_key(spool, &item.item, err) == -1))
			goto out;
		is_first = false;
		goes_on = each(arg, &item);
		if (goes_on && pass_by(spool, source, err) == -1)
			goto out;
	}
	rc = 0;
out:
	close_sources(spool, walk);
	return rc;
}

static int
run_walk(struct px_spool *spool, struct walk *walk, px_spool_each_fn *each, void *arg, struct px_err *err)
{
	bool goes_on = true;
	size_t count;

	do {
		if (read_few(spool, walk, err) == -1) {
			let_go(&walk->held);
			return -1;
		}
		count = walk->held.count;
		for (size_t i = 0; i < count && goes_on; i++)
			goes_on = each(arg, &walk->held.items[i]);
		let_go(&walk->held);
	} while (count > 0 && goes_on);
	return 0;
}

#define RANGE_OF_ITEMS "SELECT i.key, " ITEM_COLUMNS " FROM item i LEFT JOIN mark m ON m.key = i.key WHERE i.key > ?1 AND " \
    "i.key <= ?2 AND ?3 IS NOT NULL"
#define RANGE_OF_PENDING RANGE_OF_ITEMS " AND m.reason IS NULL AND m.deferred IS NULL"

/* A statement for each source, for all of a walk are open at once. */
static const char events_sql[] = RANGE_OF_ITEMS " ORDER BY i.key";
static const char snapshots_sql[] = RANGE_OF_ITEMS " ORDER BY i.key ";
static const char pending_events_sql[] = RANGE_OF_PENDING " ORDER BY i.key";
static const char pending_snapshots_sql[] = RANGE_OF_PENDING " ORDER BY i.key ";

/* Without a look for the mark of each, and without what is not sent: each column is a good part of what a row costs. */
#define RANGE_OF_UNMARKED "SELECT key, id, body FROM item WHERE key > ?1 AND key <= ?2 AND ?3 IS NOT NULL"
static const char unmarked_events_sql[] = RANGE_OF_UNMARKED " ORDER BY key";
static const char unmarked_snapshots_sql[] = RANGE_OF_UNMARKED " ORDER BY key ";
static const char deferred_sql[] = "SELECT m.deferred, " ITEM_COLUMNS " FROM mark m CROSS JOIN item i ON i.key = m.key WHERE "
    "m.deferred IS NOT NULL AND m.deferred > ?1 AND m.deferred <= ?2 AND m.reason IS NULL AND (i.key <= ?3 OR i.key > "
    "281474976710656) ORDER BY m.deferred";

_Static_assert(SPOOL_EVENT_KEYS == INT64_C(281474976710656), "the number in the statements");

static struct walk
walk_of_pending(int64_t last_event, int64_t last_snapshot)
{
	int64_t upto = last_snapshot < SPOOL_SEQ_MASK ? last_snapshot : SPOOL_SEQ_MASK;
	int64_t upto_event = last_event < SPOOL_SEQ_MASK ? last_event : SPOOL_SEQ_MASK;

	return (struct walk){
		.sources = {
			{ .sql = pending_events_sql, .after = SPOOL_EVENT_KEYS, .upto = SPOOL_EVENT_KEYS + upto_event },
			{ .sql = pending_snapshots_sql, .upto = upto },
			{ .sql = deferred_sql, .upto = INT64_MAX },
		},
		.source_count = 3,
		.last_snapshot = upto,
	};
}

int
px_spool_each_pending(struct px_spool *spool, int64_t last_snapshot, px_spool_each_fn *each, void *arg, struct px_err *err)
{
	struct walk walk = walk_of_pending(INT64_MAX, last_snapshot);

	return run_walk(spool, &walk, each, arg, err);
}

int
px_spool_read_pending(struct px_spool *spool, int64_t last_event, int64_t last_snapshot, px_spool_each_fn *each, void *arg,
    struct px_err *err)
{
	struct walk walk = walk_of_pending(last_event, last_snapshot);
	int64_t marks;

	if (px_db_begin_read(spool, err) == -1)
		return -1;
	if (px_db_number(spool, 0, &marks, err, "SELECT EXISTS (SELECT 1 FROM mark)", "") == -1) {
		px_db_end_read(spool);
		return -1;
	}
	/* As a rule no item has one. */
	if (marks == 0) {
		walk.sources[0].sql = unmarked_events_sql;
		walk.sources[1].sql = unmarked_snapshots_sql;
		walk.sources[0].is_bare = walk.sources[1].is_bare = true;
		walk.source_count = 2;
	}
	return read_all(spool, &walk, each, arg, err);
}

int
px_spool_each(struct px_spool *spool, px_spool_each_fn *each, void *arg, struct px_err *err)
{
	struct walk walk = {
		.sources = {
			{ .sql = events_sql, .after = SPOOL_EVENT_KEYS, .upto = SPOOL_EVENT_KEYS + SPOOL_SEQ_MASK },
			{ .sql = snapshots_sql, .upto = SPOOL_SEQ_MASK },
		},
		.source_count = 2,
		.by_seq = true,
	};

	return run_walk(spool, &walk, each, arg, err);
}

static int
absent(const char *name, const struct px_spool *spool, struct px_err *err)
{
	return px_err_set(err, PX_ABSENT, "no item '%s' in spool '%s'", name, spool->name);
}

/* Finds the items whose id begins with ${start}, by a look at each. */
static int
find_by_id(struct px_spool *spool, const char *start, int64_t *seq, struct px_err *err)
{
	size_t len = strlen(start);
	sqlite3_stmt *row;
	size_t count = 0;
	char id[PX_ID_MAX];
	int rc;

	if (len == 0 || len >= PX_ID_MAX)
		return absent(start, spool, err);
	if (px_db_query(spool, &row, err, "SELECT key, id FROM item", "") == -1)
		return -1;
	while (count < 2 && (rc = px_db_step(spool, row, err)) == 1) {
		if (sqlite3_column_bytes(row, 1) != 16)
			continue;
		px_row_id_text(sqlite3_column_blob(row, 1), id);
		if (strncmp(id, start, len) != 0)
			continue;
		*seq = sqlite3_column_int64(row, 0) & SPOOL_SEQ_MASK;
		count++;
	}
	px_db_done(row);
	if (count == 2)
		return px_err_set(err, PX_ABSENT, "more than one item begins with '%s' in spool '%s'", start, spool->name);
	if (rc == -1)
		return -1;
	return count == 1 ? 0 : absent(start, spool, err);
}

int
px_spool_find(struct px_spool *spool, const char *name, int64_t *seq, struct px_err *err)
{
	int64_t key = 0;
	int rc = 0;

	if (px_db_begin_read(spool, err) == -1)
		return -1;
	/* A number that is the seq of an item means that item, even where ids begin with the same digits. */
	if (name[0] != '0' && px_text_to_int64(px_slice(name), 1, SPOOL_SEQ_MASK, seq) == 0)
		rc = px_row_find(spool, *seq, &key, err);
	if (rc == 0 && key == 0)
		rc = find_by_id(spool, name, seq, err);
	px_db_end_read(spool);
	return rc;
}

int
px_spool_show(struct px_spool *spool, int64_t seq, px_spool_each_fn *each, void *arg, struct px_err *err)
{
	struct px_spool_item item;
	struct held held = { .count = 0 };
	sqlite3_stmt *row = NULL;
	int rc = -1;

	if (px_db_begin_read(spool, err) == -1)
		return -1;
	if (px_db_query(spool, &row, err, "SELECT " ITEM_COLUMNS " FROM item i LEFT JOIN mark m ON m.key = i.key WHERE i.key IN "
	    "(?1, ?2)", "ii", px_row_key(PX_EVENT, seq), px_row_key(PX_SNAPSHOT, seq)) == -1)
		goto out;
	switch (px_db_step(spool, row, err)) {
	case 0:
		(void)px_err_set(err, PX_ABSENT, "no item %" PRId64 " in spool '%s'", seq, spool->name);
		break;
	case 1:
		rc = px_row_read(spool, row, 0, &item, err) == 0 ? hold(&held, &item, err) : -1;
		break;
	default:
		break;
	}
	px_db_done(row);
out:
	px_db_end_read(spool);
	if (rc == 0)
		(void)each(arg, &held.items[0]);
	let_go(&held);
	return rc;
}
