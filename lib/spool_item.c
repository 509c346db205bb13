/* SPDX-License-Identifier: MIT */
#include "spool_db.h"

int64_t
px_row_key(enum px_kind kind, int64_t seq)
{
	return kind == PX_EVENT ? SPOOL_EVENT_KEYS + seq : seq;
}

static int
digit_value(char digit)
{
	return digit <= '9' ? digit - '0' : digit - 'a' + 10;
}

int
px_row_id_bytes(const char *id, uint8_t out[16], struct px_err *err)
{
	size_t at = 0;

	if (!px_id_is_valid(px_slice(id)))
		return px_err_set(err, PX_BUG, "'%s' is no item's id", id);
	for (size_t i = 0; i < 16; i++) {
		if (id[at] == '-')
			at++;
		out[i] = (uint8_t)(digit_value(id[at]) << 4 | digit_value(id[at + 1]));
		at += 2;
	}
	return 0;
}

void
px_row_id_text(const uint8_t bytes[16], char out[PX_ID_MAX])
{
	static const char digits[] = "0123456789abcdef";
	size_t at = 0;

	for (size_t i = 0; i < 16; i++) {
		if (i == 4 || i == 6 || i == 8 || i == 10)
			out[at++] = '-';
		out[at++] = digits[bytes[i] >> 4];
		out[at++] = digits[bytes[i] & 0x0f];
	}
	out[at] = '\0';
}

static struct px_slice
column(sqlite3_stmt *row, int at)
{
	const void *bytes = sqlite3_column_blob(row, at);

	return (struct px_slice){ bytes != NULL ? bytes : "", bytes != NULL ? (size_t)sqlite3_column_bytes(row, at) : 0 };
}

bool
px_row_is_sound(const struct px_item *item)
{
	return item->topic.len < PX_TOPIC_MAX && item->body.len >= 2 && item->body.len <= PX_SNAPSHOT_MAX &&
	    item->body.ptr[0] == '{' && item->body.ptr[item->body.len - 1] == '}';
}

/* Sets kind, seq and id, and checks what was read. */
static int
finish_read(struct px_spool *spool, sqlite3_stmt *row, int64_t key, struct px_slice id, struct px_item *item,
    struct px_err *err)
{
	if (sqlite3_errcode(sqlite3_db_handle(row)) == SQLITE_NOMEM)
		return px_db_fail(spool, SQLITE_NOMEM, "read", err);
	item->kind = key > SPOOL_EVENT_KEYS ? PX_EVENT : PX_SNAPSHOT;
	item->seq = key & SPOOL_SEQ_MASK;
	if (id.len != 16 || !px_row_is_sound(item))
		return px_db_malformed(spool, "an item", err);
	px_row_id_text((const uint8_t *)id.ptr, item->id);
	return 0;
}

int
px_row_read_bare(struct px_spool *spool, sqlite3_stmt *row, struct px_spool_item *out, struct px_err *err)
{
	*out = (struct px_spool_item){ .quarantined = false };
	out->item.body = column(row, 2);
	return finish_read(spool, row, sqlite3_column_int64(row, 0), column(row, 1), &out->item, err);
}

int
px_row_read(struct px_spool *spool, sqlite3_stmt *row, int first, struct px_spool_item *out, struct px_err *err)
{
	struct px_slice id = column(row, first + 1);
	struct px_item *item = &out->item;

	*out = (struct px_spool_item){ .quarantined = false };
	item->time_ms = sqlite3_column_int64(row, first + 2);
	item->topic = column(row, first + 3);
	item->body = column(row, first + 4);
	out->attempts = sqlite3_column_int64(row, first + 5);
	out->deferred = sqlite3_column_type(row, first + 6) != SQLITE_NULL;
	out->reason = (const char *)sqlite3_column_text(row, first + 7);
	out->quarantined = out->reason != NULL;
	return finish_read(spool, row, sqlite3_column_int64(row, first), id, item, err);
}

int
px_row_find(struct px_spool *spool, int64_t seq, int64_t *key, struct px_err *err)
{
	*key = 0;
	if (seq <= 0 || seq > SPOOL_SEQ_MASK)
		return 0;
	return px_db_number(spool, 0, key, err, "SELECT key FROM item WHERE key IN (?1, ?2)", "ii", px_row_key(PX_EVENT, seq),
	    px_row_key(PX_SNAPSHOT, seq));
}

int
px_row_remove(struct px_spool *spool, int64_t key, bool *was_there, bool *was_quarantined, struct px_err *err)
{
	int64_t quarantined;

	*was_there = false;
	*was_quarantined = false;
	if (px_db_run(spool, err, "DELETE FROM item WHERE key = ?1", "i", key) == -1)
		return -1;
	if (sqlite3_changes(spool->db) == 0)
		return 0;
	if (px_db_number(spool, 0, &quarantined, err, "SELECT reason IS NOT NULL FROM mark WHERE key = ?1", "i", key) == -1 ||
	    px_db_run(spool, err, "DELETE FROM mark WHERE key = ?1", "i", key) == -1)
		return -1;
	*was_there = true;
	*was_quarantined = quarantined != 0;
	return 0;
}

int
px_row_insert(struct px_spool *spool, const struct px_item *item, struct px_err *err)
{
	const struct px_slice *topic = item->kind == PX_EVENT && item->topic.ptr != NULL ? &item->topic : NULL;
	const struct px_slice none = { NULL, 0 };
	uint8_t id[16];

	if (px_row_id_bytes(item->id, id, err) == -1)
		return -1;
	if (px_db_run(spool, err, "INSERT INTO item (key, id, time_ms, topic, body) VALUES (?1, ?2, ?3, ?4, ?5)", "ibisb",
	    px_row_key(item->kind, item->seq), id, (int64_t)sizeof(id), item->time_ms, topic != NULL ? topic : &none,
	    item->body.ptr, (int64_t)item->body.len) == -1)
		return -1;
	/*
	 * In a damaged schema "key" may be a column like any other, and nobody would find the item by it. Where it is
	 * what the row's own would have been, a renewal takes the item.
	 */
	if (sqlite3_last_insert_rowid(spool->db) != px_row_key(item->kind, item->seq))
		return px_db_malformed(spool, "the table of items", err);
	return 0;
}
