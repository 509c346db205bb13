/* SPDX-License-Identifier: MIT */
/* A flush's snapshot of what Monit says. */
#include "flush_parts.h"
#include "log.h"
#include "snapshot.h"

#define STATUS_MAX (8 << 20)				/* bytes of Monit's answer */
#define NO_URL_SNAPSHOT_MS ((int64_t)3600 * 1000)	/* without a URL snapshots are rare */
#define SNAPSHOT_SLACK_MS 5000				/* so that a timer's jitter doesn't skip every other one */

/* Writes the snapshot's body, whatever Monit says or does not say. */
static int
write_snapshot(struct flush_run *run, const struct px_now *made, struct px_buf *body, struct px_err *err)
{
	struct px_buf text = PX_BUF(STATUS_MAX);
	struct px_monit_status status = { .uptime_s = -1 };
	int rc = -1;

	if (run->job->ask(run->job->ask_arg, &text, err) == 0 && px_monit_parse(&status, px_buf_text(&text), text.len, err) == 0)
		rc = px_snapshot_write(body, made, &status, run->job->offset, err);
	if (rc == -1) {
		px_log(PX_WARNING, "a snapshot without services: %s", err->text);
		px_buf_rewind(body, 0);
		rc = px_snapshot_write_unreachable(body, made, err->text, err);
	}
	px_monit_clear(&status);
	px_buf_clear(&text);
	return rc;
}

static int
take_snapshot(struct flush_run *run, struct px_err *err)
{
	struct px_buf body = PX_BUF(PX_SNAPSHOT_MAX - PX_ITEM_JOIN_MAX);
	struct px_item item = { .kind = PX_SNAPSHOT };
	struct px_now made;
	uint8_t random[10];
	bool kept;
	int rc = -1;

	if (run->job->world->random(random, sizeof(random), err) == -1)
		goto out;
	run->job->world->now(&made);
	px_id_v7(item.id, made.wall_ms, random);
	item.time_ms = made.wall_ms;
	if (write_snapshot(run, &made, &body, err) == -1)
		goto out;
	item.body = (struct px_slice){ px_buf_text(&body), body.len };
	if (px_spool_put(run->spool, &item, &run->limits, &kept, err) == -1)
		goto out;
	if (!kept)
		px_log(PX_WARNING, "no room for a snapshot beside the events: it is counted lost");
	rc = 0;
out:
	px_buf_clear(&body);
	return rc;
}

static int64_t
snapshot_interval_ms(const struct px_flush_job *job)
{
	int64_t interval_ms = job->config->snapshot.interval_ms;

	return job->upstream == NULL && interval_ms < NO_URL_SNAPSHOT_MS ? NO_URL_SNAPSHOT_MS : interval_ms;
}

bool
flush_snapshot_is_due(const struct px_flush_job *job, const struct px_timer *last, const struct px_now *now)
{
	int64_t slack_ms = snapshot_interval_ms(job) / 20;
	struct px_timer timer = *last;

	if (slack_ms > SNAPSHOT_SLACK_MS)
		slack_ms = SNAPSHOT_SLACK_MS;
	/* Then the interval is a bound: no two in an hour. */
	if (job->upstream == NULL)
		slack_ms = 0;
	/* An interval that was made shorter meanwhile counts at once. */
	if (timer.length_ms > snapshot_interval_ms(job))
		timer.length_ms = snapshot_interval_ms(job);
	return px_timer_left_ms(&timer, now) <= slack_ms;
}

int
flush_snapshot_when_due(struct flush_run *run, struct px_err *err)
{
	const struct px_flush_job *job = run->job;
	struct px_timer timer;
	int64_t left_ms;

	if (!job->config->snapshot.enabled || !job->takes_snapshot)
		return 0;
	if (flush_timer_left(run, PX_TIMER_SNAPSHOT, &left_ms, err) == -1 ||
	    px_spool_get_timer(run->spool, PX_TIMER_SNAPSHOT, &timer, err) == -1)
		return -1;
	if (!flush_snapshot_is_due(job, &timer, &run->began) && !(job->now && job->upstream != NULL))
		return 0;
	if (take_snapshot(run, err) == -1)
		return -1;
	return flush_start_timer(run, PX_TIMER_SNAPSHOT, snapshot_interval_ms(job), err);
}
