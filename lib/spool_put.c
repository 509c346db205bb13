/* SPDX-License-Identifier: MIT */
/* How an item comes into a spool: from a recorder or a flush, or from overflow, then once only. */
#include "spool_db.h"

/* An item on its way in. */
struct entry {
	struct px_item *item;
	const struct px_spool_limits *limits;
	const char *name;		/* of the overflow file that it comes from; NULL: from none */
	int64_t perhaps_seq;
	bool kept;
	bool log_is_full;		/* others have filled it since it was looked at */
	bool is_first;			/* nothing else is pending */
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
		return px_err_set(err, PX_STORAGE, "cannot write spool '%s': its write-ahead log is full", spool->name);

	if (px_room_load(spool, &counters, err) == -1)
		return -1;
	entry->is_first = px_room_held(&counters) == counters.quarantined;
	if (insert_with_room(spool, entry, &counters, err) == -1)
		return -1;
	counters.max_bytes = entry->limits->max_bytes;
	if (px_room_store(spool, &counters, err) == -1)
		return -1;
	return entry->kept ? px_room_hold(spool, (int64_t)entry->item->body.len, 0, err) : 0;
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
	/* Where nothing else is to be delivered, nothing will make room for what waits in overflow. */
	if (spool->no_space && entry->name != NULL && entry->is_first && px_db_write(spool, true, work, entry, &perhaps, err) == 0)
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

/* Whether this spool took the place of another, and upstream does not know that yet. */
static int
is_renewed(struct px_spool *spool, bool *renewed, struct px_err *err)
{
	int64_t replaces;

	if (px_db_number(spool, 0, &replaces, err, "SELECT replaces_id IS NOT NULL FROM spool WHERE one = 1", "") == -1)
		return -1;
	*renewed = replaces != 0;
	return 0;
}

/* The key of the row that is this very item; 0: there is none. Looks at all rows. */
static int
find_by_id(struct px_spool *spool, const struct entry *entry, int64_t *key, struct px_err *err)
{
	uint8_t id[16];

	if (px_row_id_bytes(entry->item->id, id, err) == -1)
		return -1;
	return px_db_number(spool, 0, key, err, "SELECT key FROM item WHERE id = ?1", "b", id, (int64_t)sizeof(id));
}

/*
 * The key of the row that a failed insert may have left, when it is this very item; else 0. Where the spool took the
 * place of another since, the row may have another seq.
 */
static int
find_twin(struct px_spool *spool, const struct entry *entry, int64_t *key, struct px_err *err)
{
	uint8_t id[16];
	bool renewed;

	*key = 0;
	if (entry->perhaps_seq <= 0 || entry->perhaps_seq > SPOOL_SEQ_MASK)
		return 0;
	if (px_row_id_bytes(entry->item->id, id, err) == -1 ||
	    px_db_number(spool, 0, key, err, "SELECT key FROM item WHERE key = ?1 AND id = ?2", "ib",
	    px_row_key(entry->item->kind, entry->perhaps_seq), id, (int64_t)sizeof(id)) == -1)
		return -1;
	if (*key != 0)
		return 0;
	if (is_renewed(spool, &renewed, err) == -1)
		return -1;
	return renewed ? find_by_id(spool, entry, key, err) : 0;
}

/*
 * Whether the file was taken in before. The note may be all that could be read of a commit that failed: in a spool that
 * took the place of another, only the item itself proves it.
 */
static int
is_taken(struct px_spool *spool, const struct entry *entry, bool *taken, struct px_err *err)
{
	bool renewed;
	int64_t found;

	if (px_db_number(spool, 0, &found, err, "SELECT count(*) FROM taken WHERE name = ?1", "t", entry->name) == -1)
		return -1;
	if (found > 0 && (is_renewed(spool, &renewed, err) == -1 ||
	    (renewed && find_by_id(spool, entry, &found, err) == -1)))
		return -1;
	*taken = found != 0;
	return 0;
}

static int
take_in(struct px_spool *spool, void *arg, struct px_err *err)
{
	struct entry *entry = arg;
	bool taken;
	int64_t key;

	if (is_taken(spool, entry, &taken, err) == -1)
		return -1;
	if (taken)
		return 0;
	if (px_db_run(spool, err, "INSERT OR IGNORE INTO taken (name) VALUES (?1)", "t", entry->name) == -1 ||
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
