/* SPDX-License-Identifier: MIT */
#include "stats.h"

#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>

#include "json.h"
#include "overflow.h"
#include "sys.h"

static void
take_run(void *arg, const struct px_spool_run *run)
{
	struct stats *stats = arg;

	if (stats->run_count < PX_RUNS_KEPT)
		stats->runs[stats->run_count++] = *run;
}

int
stats_read(struct stats *stats, const char *path, struct px_spool *spool, struct px_err *err)
{
	char folder[PATH_MAX];

	*stats = (struct stats){ .path = path, .exists = spool != NULL };
	px_sys_now(&stats->now);
	if (px_overflow_folder(path, folder, sizeof(folder), err) == -1)
		return -1;
	stats->overflow = px_overflow_count(folder);
	if (spool == NULL)
		return 0;
	stats->bytes = px_spool_bytes(path);
	if (px_spool_facts(spool, &stats->facts, err) == -1 || px_spool_history(spool, &stats->history, err) == -1 ||
	    px_spool_get_timer(spool, PX_TIMER_RETRY, &stats->retry, err) == -1 ||
	    px_spool_oldest_pending_ms(spool, &stats->oldest_pending_ms, err) == -1)
		return -1;
	return px_spool_each_run(spool, take_run, stats, err);
}

int64_t
stats_next_try_ms(const struct stats *stats)
{
	int64_t left_ms = px_timer_left_ms(&stats->retry, &stats->now);

	return left_ms > 0 && stats->facts.pending > 0 ? stats->now.wall_ms + left_ms : 0;
}

int64_t
stats_oldest_pending_s(const struct stats *stats)
{
	int64_t age_ms = stats->now.wall_ms - stats->oldest_pending_ms;

	return age_ms > 0 ? age_ms / PX_MS_PER_S : 0;
}

static void
write_time(struct px_buf *out, const char *key, int64_t ms)
{
	char text[PX_RFC3339_MAX];

	px_text_time_ms(text, ms);
	px_json_text(out, key, ms > 0 ? text : NULL);
}

void
stats_write_json(const struct stats *stats, struct px_buf *out)
{
	const struct px_spool_facts *facts = &stats->facts;

	px_json_open(out, NULL, '{');
	px_json_text(out, "spool_id", stats->exists ? facts->id : NULL);
	px_json_int(out, "recorded", facts->recorded);
	px_json_int(out, "acknowledged", facts->acknowledged);
	px_json_int(out, "pending", facts->pending);
	px_json_int(out, "quarantined", facts->quarantined);
	px_json_int(out, "dropped", facts->dropped);
	px_json_open(out, "lost", '{');
	px_json_int(out, "events", facts->lost_events);
	px_json_int(out, "snapshots", facts->lost_snapshots);
	px_json_close(out, '}');
	px_json_int(out, "overflow", stats->overflow);
	if (stats->oldest_pending_ms > 0)
		px_json_int(out, "oldest_pending_seconds", stats_oldest_pending_s(stats));
	else
		px_json_null(out, "oldest_pending_seconds");
	px_json_int(out, "bytes", stats->bytes);
	write_time(out, "next_try", stats_next_try_ms(stats));
	write_time(out, "last_success", stats->history.last_success_ms);
	if (stats->history.last_failure_ms > 0) {
		px_json_open(out, "last_failure", '{');
		write_time(out, "time", stats->history.last_failure_ms);
		px_json_text(out, "reason", stats->history.last_failure_reason);
		px_json_close(out, '}');
	} else {
		px_json_null(out, "last_failure");
	}
	px_json_close(out, '}');
	px_buf_add_byte(out, '\n');
}

static void
print_metric(const char *name, const char *type, const char *help, int64_t value)
{
	printf("# HELP px_status_%s %s\n# TYPE px_status_%s %s\npx_status_%s %" PRId64 "\n", name, help, name, type, name, value);
}

void
stats_print_prometheus(const struct stats *stats)
{
	const struct px_spool_facts *facts = &stats->facts;

	print_metric("recorded_total", "counter", "Items that entered the spool.", facts->recorded);
	print_metric("acknowledged_total", "counter", "Items that upstream holds.", facts->acknowledged);
	print_metric("dropped_total", "counter", "Items that a person removed.", facts->dropped);
	print_metric("lost_events_total", "counter", "Events pushed out by the spool's bounds.", facts->lost_events);
	print_metric("lost_snapshots_total", "counter", "Snapshots pushed out by the spool's bounds.", facts->lost_snapshots);
	print_metric("pending", "gauge", "Items that wait for upstream.", facts->pending);
	print_metric("quarantined", "gauge", "Items that upstream refused.", facts->quarantined);
	print_metric("overflow_files", "gauge", "Events that wait to enter the spool.", stats->overflow);
	print_metric("spool_bytes", "gauge", "Bytes on disk of the spool.", stats->bytes);
	print_metric("oldest_pending_seconds", "gauge", "Age of the oldest pending item, 0 without one.",
	    stats->oldest_pending_ms > 0 ? stats_oldest_pending_s(stats) : 0);
	print_metric("last_success_timestamp_seconds", "gauge", "When upstream last acknowledged, 0 for never.",
	    stats->history.last_success_ms / PX_MS_PER_S);
	print_metric("last_failure_timestamp_seconds", "gauge", "When a run last failed, 0 for never.",
	    stats->history.last_failure_ms / PX_MS_PER_S);
}
