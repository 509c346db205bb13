/* SPDX-License-Identifier: MIT */
/* What a spool remembers beside its items: timers, how runs went, whose it is. */
#include <inttypes.h>
#include <string.h>

#include "spool_db.h"

struct timer_change {
	enum px_spool_timer which;
	const struct px_timer *timer;
};

static int
set_timer(struct px_spool *spool, void *arg, struct px_err *err)
{
	const struct timer_change *change = arg;
	const struct px_timer *timer = change->timer;

	if (!timer->is_set)
		return px_db_run(spool, err, "DELETE FROM timer WHERE which = ?1", "i", (int64_t)change->which);
	return px_db_run(spool, err, "INSERT OR REPLACE INTO timer (which, wall_ms, boot_ms, boot_id, length_ms) VALUES (?1, "
	    "?2, ?3, ?4, ?5)", "iiiti", (int64_t)change->which, timer->began.wall_ms, timer->began.boot_ms,
	    timer->began.boot_id,
	    timer->length_ms);
}

int
px_spool_set_timer(struct px_spool *spool, enum px_spool_timer which, const struct px_timer *timer, struct px_err *err)
{
	struct timer_change change = { which, timer };

	return px_db_write(spool, true, set_timer, &change, NULL, err);
}

int
px_spool_get_timer(struct px_spool *spool, enum px_spool_timer which, struct px_timer *out, struct px_err *err)
{
	sqlite3_stmt *row;
	int rc;

	*out = (struct px_timer){ .is_set = false };
	spool->deadline_ms = px_db_monotonic_ms() + spool->wait_ms;
	if (px_db_query(spool, &row, err, "SELECT wall_ms, boot_ms, boot_id, length_ms FROM timer WHERE which = ?1", "i",
	    (int64_t)which) == -1)
		return -1;
	rc = px_db_step(spool, row, err);
	if (rc != 1)
		return rc;
	out->is_set = true;
	out->began.wall_ms = sqlite3_column_int64(row, 0);
	out->began.boot_ms = sqlite3_column_int64(row, 1);
	px_db_copy_text(out->began.boot_id, sizeof(out->began.boot_id), row, 2);
	out->length_ms = sqlite3_column_int64(row, 3);
	px_db_done(row);
	return 0;
}

struct run_end {
	const struct px_spool_run *run;
	const struct px_spool_history *state;
};

static int
add_run(struct px_spool *spool, void *arg, struct px_err *err)
{
	const struct run_end *end = arg;
	const struct px_spool_run *run = end->run;
	const struct px_spool_history *state = end->state;

	if (px_db_run(spool, err, "INSERT INTO run (time_ms, acknowledged, exit_status, reason) VALUES (?1, ?2, ?3, ?4)", "iiit",
	    run->time_ms, run->acknowledged, (int64_t)run->exit_status, run->reason) == -1 ||
	    px_db_run(spool, err, "DELETE FROM run WHERE number <= (SELECT max(number) FROM run) - ?1", "i",
	    (int64_t)PX_RUNS_KEPT) == -1 ||
	    px_db_run(spool, err, "UPDATE spool SET failed_runs = ?1, batch_limit = ?2, stuck_seq = ?3, stuck_runs = ?4, "
	    "stuck_limit = ?5 WHERE one = 1", "iiiii", state->failed_runs, state->batch_limit, state->stuck_seq, state->stuck_runs,
	    state->stuck_limit) == -1)
		return -1;
	if ((run->exit_status == 0 || run->acknowledged > 0) &&
	    px_db_run(spool, err, "UPDATE spool SET last_success_ms = ?1 WHERE one = 1", "i", run->time_ms) == -1)
		return -1;
	if (run->exit_status == 0)
		return 0;
	return px_db_run(spool, err, "UPDATE spool SET last_failure_ms = ?1, last_failure_reason = ?2 WHERE one = 1", "it",
	    run->time_ms, run->reason);
}

int
px_spool_add_run(struct px_spool *spool, const struct px_spool_run *run, const struct px_spool_history *state,
    struct px_err *err)
{
	struct run_end end = { run, state };

	return px_db_write(spool, true, add_run, &end, NULL, err);
}

int
px_spool_history(struct px_spool *spool, struct px_spool_history *out, struct px_err *err)
{
	sqlite3_stmt *row;
	int rc;

	memset(out, 0, sizeof(*out));
	spool->deadline_ms = px_db_monotonic_ms() + spool->wait_ms;
	if (px_db_query(spool, &row, err, "SELECT failed_runs, batch_limit, stuck_seq, stuck_runs, last_success_ms, "
	    "last_failure_ms, last_failure_reason, stuck_limit FROM spool WHERE one = 1", "") == -1)
		return -1;
	rc = px_db_step(spool, row, err);
	if (rc == 0)
		return px_db_malformed(spool, "the row of the last runs", err);
	if (rc == -1)
		return -1;
	out->failed_runs = sqlite3_column_int64(row, 0);
	out->batch_limit = sqlite3_column_int64(row, 1);
	out->stuck_seq = sqlite3_column_int64(row, 2);
	out->stuck_runs = sqlite3_column_int64(row, 3);
	out->last_success_ms = sqlite3_column_int64(row, 4);
	out->last_failure_ms = sqlite3_column_int64(row, 5);
	px_db_copy_text(out->last_failure_reason, sizeof(out->last_failure_reason), row, 6);
	out->stuck_limit = sqlite3_column_int64(row, 7);
	px_db_done(row);
	return 0;
}

int
px_spool_each_run(struct px_spool *spool, px_spool_run_fn *each, void *arg, struct px_err *err)
{
	sqlite3_stmt *row;
	int rc;

	spool->deadline_ms = px_db_monotonic_ms() + spool->wait_ms;
	if (px_db_query(spool, &row, err, "SELECT time_ms, acknowledged, exit_status, reason FROM run ORDER BY number DESC "
	    "LIMIT ?1", "i", (int64_t)PX_RUNS_KEPT) == -1)
		return -1;
	while ((rc = px_db_step(spool, row, err)) == 1) {
		struct px_spool_run run = {
			.time_ms = sqlite3_column_int64(row, 0),
			.acknowledged = sqlite3_column_int64(row, 1),
			.exit_status = sqlite3_column_int(row, 2),
		};

		px_db_copy_text(run.reason, sizeof(run.reason), row, 3);
		each(arg, &run);
	}
	return rc;
}

int
px_spool_check(struct px_spool *spool, struct px_err *err)
{
	sqlite3_stmt *row;
	const char *said;
	int rc;

	spool->deadline_ms = px_db_monotonic_ms() + spool->wait_ms;
	if (px_db_query(spool, &row, err, "PRAGMA integrity_check(1)", "") == -1)
		return -1;
	rc = px_db_step(spool, row, err);
	if (rc == -1)
		return -1;
	said = rc == 1 ? (const char *)sqlite3_column_text(row, 0) : NULL;
	rc = said != NULL && strcmp(said, "ok") == 0 ? 0 :
	    px_err_set(err, PX_CORRUPT, "spool '%s' is damaged: %s", spool->name, said != NULL ? said :
	    "nothing can be told of it");
	px_db_done(row);
	return rc == -1 ? -1 : px_spool_check_count(spool, err);
}

int
px_spool_check_count(struct px_spool *spool, struct px_err *err)
{
	int64_t difference;
	bool fewer;

	spool->deadline_ms = px_db_monotonic_ms() + spool->wait_ms;
	/*
	 * A key that no item has hides it from all who walk through them. By a look at each: a range would trust the
	 * keys.
	 */
	if (px_db_number(spool, 0, &difference, err, "SELECT (SELECT count(*) FROM item WHERE +key BETWEEN 1 AND recorded OR "
	    "+key BETWEEN ?1 + 1 AND ?1 + recorded) - recorded + acknowledged + dropped + lost_events + lost_snapshots "
	    "FROM counters WHERE one = 1", "i", SPOOL_EVENT_KEYS) == -1)
		return -1;
	if (difference == 0)
		return 0;
	px_db_note_damage(spool);
	fewer = difference < 0;
	difference = fewer ? -difference : difference;
	return px_err_set(err, PX_CORRUPT, "spool '%s' is damaged: it has %" PRId64 " %s %s than its counters say", spool->name,
	    difference, px_text_plural(difference, "item", "items"), fewer ? "fewer" : "more");
}

struct owner {
	struct px_slice device_id;
	struct px_slice machine_hash;
};

static int
learn_owner(struct px_spool *spool, void *arg, struct px_err *err)
{
	const struct owner *owner = arg;

	return px_db_run(spool, err, "UPDATE spool SET device_id = ?1, machine_hash = ?2 WHERE one = 1", "ss", &owner->device_id,
	    &owner->machine_hash);
}

/* Compares what the spool has in ${column} with ${given}; what it does not have is to be learned. */
static bool
is_same(sqlite3_stmt *row, int column, struct px_slice given, bool *learns)
{
	const char *known = (const char *)sqlite3_column_text(row, column);

	if (known == NULL || known[0] == '\0') {
		*learns = *learns || given.len > 0;
		return true;
	}
	return given.len == 0 || px_slice_is(given, known);
}

int
px_spool_is_of(struct px_spool *spool, struct px_slice device_id, struct px_slice machine_hash, bool *out,
    struct px_err *err)
{
	struct owner owner = { device_id, machine_hash };
	bool learns = false;
	sqlite3_stmt *row;
	char kept[2][1024];
	int rc;

	*out = false;
	spool->deadline_ms = px_db_monotonic_ms() + spool->wait_ms;
	if (px_db_query(spool, &row, err, "SELECT device_id, machine_hash FROM spool WHERE one = 1", "") == -1)
		return -1;
	rc = px_db_step(spool, row, err);
	if (rc == 0)
		return px_db_malformed(spool, "the row of the device", err);
	if (rc == -1)
		return -1;
	*out = is_same(row, 0, device_id, &learns);
	*out = is_same(row, 1, machine_hash, &learns) && *out;
	/* What it knows stays, when the device can't tell it now. */
	for (int i = 0; i < 2; i++) {
		struct px_slice *slice = i == 0 ? &owner.device_id : &owner.machine_hash;
		const char *known = (const char *)sqlite3_column_text(row, i);

		if (known == NULL || known[0] == '\0' || strlen(known) >= sizeof(kept[i]))
			continue;
		memcpy(kept[i], known, strlen(known) + 1);
		*slice = px_slice(kept[i]);
	}
	px_db_done(row);
	return *out && learns ? px_db_write(spool, true, learn_owner, &owner, NULL, err) : 0;
}
