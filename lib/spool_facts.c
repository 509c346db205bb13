/* SPDX-License-Identifier: MIT */
/* What a spool holds, in figures. */
#include <string.h>

#include "spool_db.h"
#include "text.h"

static void
copy_id(char out[PX_ID_MAX], sqlite3_stmt *row, int column)
{
	px_db_copy_text(out, PX_ID_MAX, row, column);
	if (!px_id_is_valid(px_slice(out)))
		out[0] = '\0';
}

int
px_spool_facts(struct px_spool *spool, struct px_spool_facts *out, struct px_err *err)
{
	struct spool_counters counters;
	sqlite3_stmt *row;
	int64_t held;
	int rc;

	memset(out, 0, sizeof(*out));
	spool->deadline_ms = px_db_monotonic_ms() + spool->wait_ms;
	if (px_db_query(spool, &row, err, "SELECT " SPOOL_COUNTERS ", id, last_quarantined_id, last_quarantined_reason, "
	    "last_quarantined_ms, replaces_id, replaces_recorded, replaces_acknowledged FROM counters, spool WHERE "
	    "counters.one = 1 AND spool.one = 1", "") == -1)
		return -1;
	rc = px_db_step(spool, row, err);
	if (rc == 0)
		return px_db_malformed(spool, "the row of counters", err);
	if (rc == -1)
		return -1;
	counters = px_room_counters_of(row);
	copy_id(out->id, row, SPOOL_COUNTERS_COUNT);
	copy_id(out->last_quarantined_id, row, SPOOL_COUNTERS_COUNT + 1);
	px_db_copy_text(out->last_quarantined_reason, sizeof(out->last_quarantined_reason), row, SPOOL_COUNTERS_COUNT + 2);
	out->last_quarantined_ms = sqlite3_column_int64(row, SPOOL_COUNTERS_COUNT + 3);
	copy_id(out->replaces_id, row, SPOOL_COUNTERS_COUNT + 4);
	out->replaces_recorded = sqlite3_column_int64(row, SPOOL_COUNTERS_COUNT + 5);
	out->replaces_acknowledged = sqlite3_column_int64(row, SPOOL_COUNTERS_COUNT + 6);
	px_db_done(row);
	held = px_room_held(&counters);
	if (!px_id_is_valid(px_slice(out->id)) || held == -1)
		return px_db_malformed(spool, "the row of counters", err);
	out->recorded = counters.recorded;
	out->acknowledged = counters.acknowledged;
	out->pending = held - counters.quarantined;
	out->quarantined = counters.quarantined;
	out->dropped = counters.dropped;
	out->lost_events = counters.lost_events;
	out->lost_snapshots = counters.lost_snapshots;
	return 0;
}

int
px_spool_oldest_pending_ms(struct px_spool *spool, int64_t *out, struct px_err *err)
{
	/* Not the first: what waited in overflow is older than its seq says. */
	spool->deadline_ms = px_db_monotonic_ms() + spool->wait_ms;
	return px_db_number(spool, 0, out, err, "SELECT min(i.time_ms) FROM item i LEFT JOIN mark m ON m.key = i.key WHERE "
	    "m.reason IS NULL", "");
}

int
px_spool_pending_since(struct px_spool *spool, int64_t from_ms, int64_t *out, struct px_err *err)
{
	spool->deadline_ms = px_db_monotonic_ms() + spool->wait_ms;
	return px_db_number(spool, 0, out, err, "SELECT count(*) FROM item i LEFT JOIN mark m ON m.key = i.key WHERE m.reason IS "
	    "NULL AND i.time_ms >= ?1", "i", from_ms);
}

int
px_spool_has_event(struct px_spool *spool, bool *out, struct px_err *err)
{
	int64_t key;

	*out = false;
	spool->deadline_ms = px_db_monotonic_ms() + spool->wait_ms;
	if (px_db_number(spool, 0, &key, err, "SELECT i.key FROM item i LEFT JOIN mark m ON m.key = i.key WHERE i.key > ?1 AND "
	    "m.reason IS NULL ORDER BY i.key LIMIT 1", "i", SPOOL_EVENT_KEYS) == -1)
		return -1;
	*out = key != 0;
	return 0;
}
