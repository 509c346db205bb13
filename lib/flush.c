/* SPDX-License-Identifier: MIT */
#include "flush.h"

#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>

#include "log.h"
#include "overflow.h"
#include "payload.h"
#include "snapshot.h"

#define RUN_LIMIT_MS (10 * 60 * 1000)
#define STATUS_MAX (8 << 20)				/* bytes of Monit's answer */
#define NO_URL_SNAPSHOT_MS ((int64_t)3600 * 1000)	/* without a URL snapshots are rare */
#define COUNTED_MAX 10000				/* pending items that are counted at the end of a run */
#define DAY_MS ((int64_t)86400 * 1000)
#define SNAPSHOT_SLACK_MS 5000				/* so that a timer's jitter doesn't skip every other one */

/* One run. */
struct run {
	const struct px_flush_job *job;
	struct px_spool *spool;
	struct px_spool_limits limits;
	struct px_now began;
	struct px_spool_history state;
	struct px_delivery delivery;
};

static int
timer_left(const struct run *run, enum px_spool_timer which, int64_t *left_ms, struct px_err *err)
{
	struct px_timer timer;

	if (px_spool_get_timer(run->spool, which, &timer, err) == -1)
		return -1;
	*left_ms = px_timer_left_ms(&timer, &run->began);
	if (px_timer_adopt(&timer, &run->began))
		return px_spool_set_timer(run->spool, which, &timer, err);
	return 0;
}

static int
start_timer(const struct run *run, enum px_spool_timer which, int64_t length_ms, struct px_err *err)
{
	struct px_timer timer = { .is_set = length_ms > 0, .length_ms = length_ms };

	run->job->world->now(&timer.began);
	return px_spool_set_timer(run->spool, which, &timer, err);
}

static int
renew_spool(const struct px_flush_job *job, const char *why, struct px_err *err)
{
	struct px_spool_birth birth;
	struct px_now now;
	char aside[PATH_MAX];
	char reason[PX_ERR_MAX];
	int64_t carried;

	/* It may be the text of ${err}, which is written anew below. */
	(void)snprintf(reason, sizeof(reason), "%s", why);
	if (job->store.birth(job->store.birth_arg, &birth, err) == -1)
		return -1;
	job->world->now(&now);
	if (px_spool_renew(job->store.spool_path, &birth, &now, aside, sizeof(aside), &carried, err) == -1)
		return -1;
	px_log(PX_ERROR, "%s: set aside as '%s'; %" PRId64 " items were readable and are in the new spool %s; the old file is yours to "
	    "look at and to remove", reason, aside, carried, birth.id);
	return 0;
}

/* Opens the spool, or makes it, and looks whose it is. */
static int
open_and_identify(struct run *run, bool *is_ours, struct px_err *err)
{
	const struct px_device *device = run->job->device;

	*is_ours = false;
	if (px_record_open_spool(&run->job->store, PX_SPOOL_FLUSH, &run->spool, err) == -1)
		return -1;
	return px_spool_is_of(run->spool, px_slice(device->id), px_slice(device->machine_hash), is_ours, err);
}

/* Opens the spool; makes it, or makes it anew where it is broken or another device's. */
static int
open_spool(struct run *run, struct px_err *err)
{
	const struct px_flush_job *job = run->job;
	char journal[PATH_MAX];
	bool is_ours;
	int rc;

	px_spool_clear(job->store.spool_path, journal, sizeof(journal));
	if (journal[0] != '\0')
		px_log(PX_WARNING, "a journal that is not the spool's lay beside it: put away as '%s'; it is yours to look at and to remove",
		    journal);
	rc = open_and_identify(run, &is_ours, err);
	if (rc == 0 && is_ours)
		return 0;
	if (rc == -1 && err->code != PX_CORRUPT)
		return -1;
	px_spool_close(run->spool);
	run->spool = NULL;
	if (renew_spool(job, rc == -1 ? err->text : "the spool was made on another device", err) == -1)
		return -1;
	return px_spool_open(&run->spool, job->store.spool_path, PX_SPOOL_FLUSH, job->store.wait_ms, err);
}

static enum px_overflow_fate
take_in_file(void *arg, const struct px_overflow_file *file, bool *stop)
{
	struct run *run = arg;
	struct px_buf topic = PX_BUF(PX_TOPIC_MAX);
	struct px_buf body = PX_BUF(PX_EVENT_MAX + 1024);
	enum px_overflow_fate fate = PX_OVERFLOW_BROKEN;
	struct px_item item = { .kind = PX_EVENT };
	struct px_err err;

	if (px_payload_event(file->document, &item, &topic, &body, &err) == -1) {
		px_log(PX_ERROR, "overflow file '%s' is no event and is set aside: %s", file->name, err.text);
	} else if (px_spool_take_in(run->spool, &item, file->name, file->perhaps_seq, &run->limits, &err) == -1) {
		px_log(PX_WARNING, "overflow waits for another run: %s", err.text);
		fate = PX_OVERFLOW_KEEP;
		*stop = true;
	} else {
		fate = PX_OVERFLOW_REMOVE;
	}
	px_buf_clear(&topic);
	px_buf_clear(&body);
	return fate;
}

static void
forget_file(void *arg, const char *name)
{
	struct run *run = arg;
	struct px_err err;

	if (px_spool_forget_taken(run->spool, name, &err) == -1)
		px_log(PX_WARNING, "%s", err.text);
}

static void
take_in_overflow(struct run *run, const char *spool_path)
{
	char folder[PATH_MAX];
	struct px_err err;

	if (px_overflow_folder(spool_path, folder, sizeof(folder), &err) == -1 ||
	    px_overflow_each(folder, take_in_file, forget_file, run, &err) == -1)
		px_log(PX_WARNING, "%s", err.text);
}

/* Moves one item of the fallback spool into this one; there it counts as acknowledged by us. */
struct moving {
	struct run *run;
	struct px_item *item;
	struct px_buf body;
	struct px_buf topic;
};

static bool
copy_first(void *arg, const struct px_spool_item *found)
{
	struct moving *moving = arg;

	px_buf_add(&moving->body, found->item.body.ptr, found->item.body.len);
	px_buf_add(&moving->topic, found->item.topic.ptr, found->item.topic.len);
	*moving->item = found->item;
	return false;
}

static int
move_first(struct run *run, struct px_spool *from, bool *moved, struct px_err *err)
{
	struct px_item item = { .kind = PX_EVENT };
	struct moving moving = { run, &item, PX_BUF(PX_SNAPSHOT_MAX), PX_BUF(PX_TOPIC_MAX) };
	char name[PX_ID_MAX + 8];
	struct px_settled settled;
	int rc = -1;

	*moved = false;
	if (px_spool_each_pending(from, INT64_MAX, copy_first, &moving, err) == -1)
		goto out;
	if (item.id[0] == '\0') {
		rc = 0;
		goto out;
	}
	if (px_buf_check(&moving.body, "an item", err) == -1 || px_buf_check(&moving.topic, "a topic", err) == -1)
		goto out;
	settled = (struct px_settled){ item.seq, item.kind, NULL };
	item.body = (struct px_slice){ px_buf_text(&moving.body), moving.body.len };
	item.topic = (struct px_slice){ px_buf_text(&moving.topic), moving.topic.len };
	(void)snprintf(name, sizeof(name), "moved-%s", item.id);
	if (px_spool_take_in(run->spool, &item, name, 0, &run->limits, err) == -1 ||
	    px_spool_settle(from, &settled, 1, run->began.wall_ms, false, err) == -1 ||
	    px_spool_forget_taken(run->spool, name, err) == -1)
		goto out;
	*moved = true;
	rc = 0;
out:
	px_buf_clear(&moving.body);
	px_buf_clear(&moving.topic);
	return rc;
}

/* Recorders that could read no valid path put their events into the default place: they belong here too. */
static void
take_in_fallback(struct run *run)
{
	const char *path = run->job->fallback_spool;
	struct px_spool *from = NULL;
	struct px_err err;
	bool moved = true;
	int64_t count = 0;

	if (path == NULL || strcmp(path, run->job->store.spool_path) == 0)
		return;
	take_in_overflow(run, path);
	if (px_spool_open(&from, path, PX_SPOOL_LOOK, run->job->store.wait_ms, &err) == -1) {
		if (err.code != PX_ABSENT)
			px_log(PX_WARNING, "events in the default place wait there: %s", err.text);
		return;
	}
	while (moved) {
		if (move_first(run, from, &moved, &err) == -1) {
			px_log(PX_WARNING, "events in the default place wait there: %s", err.text);
			break;
		}
		count += moved ? 1 : 0;
	}
	px_spool_close(from);
	if (count > 0)
		px_log(PX_NOTICE, "took in %" PRId64 " items from the default place '%s'", count, path);
}

/* Writes the snapshot's body, whatever Monit says or does not say. */
static int
write_snapshot(struct run *run, const struct px_now *made, struct px_buf *body, struct px_err *err)
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
take_snapshot(struct run *run, struct px_err *err)
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

static bool
snapshot_is_due(const struct px_flush_job *job, int64_t left_ms)
{
	int64_t slack_ms = snapshot_interval_ms(job) / 20;

	return left_ms <= (slack_ms < SNAPSHOT_SLACK_MS ? slack_ms : SNAPSHOT_SLACK_MS);
}

/* How much is left until the next snapshot: an interval that was made shorter meanwhile counts at once. */
static int64_t
snapshot_left_ms(const struct px_flush_job *job, struct px_timer timer, const struct px_now *now)
{
	if (timer.length_ms > snapshot_interval_ms(job))
		timer.length_ms = snapshot_interval_ms(job);
	return px_timer_left_ms(&timer, now);
}

static int
snapshot_when_due(struct run *run, struct px_err *err)
{
	const struct px_flush_job *job = run->job;
	struct px_timer timer;
	int64_t left_ms;

	if (!job->config->snapshot.enabled || !job->takes_snapshot)
		return 0;
	if (timer_left(run, PX_TIMER_SNAPSHOT, &left_ms, err) == -1 ||
	    px_spool_get_timer(run->spool, PX_TIMER_SNAPSHOT, &timer, err) == -1)
		return -1;
	left_ms = snapshot_left_ms(job, timer, &run->began);
	if (!snapshot_is_due(job, left_ms) && !(job->now && job->upstream != NULL))
		return 0;
	if (take_snapshot(run, err) == -1)
		return -1;
	return start_timer(run, PX_TIMER_SNAPSHOT, snapshot_interval_ms(job), err);
}

/* No URL: said once a day. */
static int
refuse_without_url(struct run *run, struct px_flush_result *result, struct px_err *err)
{
	int64_t left_ms;

	if (timer_left(run, PX_TIMER_NO_URL, &left_ms, err) == -1)
		return -1;
	result->is_told = left_ms > 0 && !run->job->now;
	if (left_ms == 0 && start_timer(run, PX_TIMER_NO_URL, DAY_MS, err) == -1)
		return -1;
	return px_err_set(err, PX_CONFIG, "no URL to send to yet: set [upstream] url, or enrol the device; events are kept");
}

/* What a run means for the next ones: the back-off, a step longer after each run without success. */
static int
remember(struct run *run, int rc, const struct px_err *why, struct px_err *err)
{
	const struct px_config *config = run->job->config;
	struct px_spool_run entry = { .acknowledged = run->delivery.acknowledged };
	int64_t wait_ms = 0;
	uint64_t random;
	struct px_now now;

	run->job->world->now(&now);
	entry.time_ms = now.wall_ms;
	if (rc == 0 || run->delivery.succeeded)
		run->state.failed_runs = 0;
	if (rc == -1) {
		run->state.failed_runs++;
		entry.exit_status = px_err_exit_status(why->code);
		memcpy(entry.reason, why->text, sizeof(entry.reason));
		if (run->job->world->random(&random, sizeof(random), err) == -1)
			return -1;
		wait_ms = px_backoff_ms(run->state.failed_runs, config->retry.initial_ms, config->retry.max_ms, random);
		if (run->delivery.retry_after_ms > wait_ms)
			wait_ms = run->delivery.retry_after_ms;
	}
	if (start_timer(run, PX_TIMER_RETRY, wait_ms, err) == -1)
		return -1;
	if (run->delivery.went_plain && start_timer(run, PX_TIMER_PLAIN, DAY_MS, err) == -1)
		return -1;
	return px_spool_add_run(run->spool, &entry, &run->state, err);
}

static int
deliver(struct run *run, const struct px_spool_facts *facts, struct px_err *err)
{
	const struct px_flush_job *job = run->job;
	struct px_delivery_job delivery = {
		.spool = run->spool,
		.world = job->world,
		.upstream = job->upstream,
		.device_id = px_slice(job->device->id),
		.device_name = px_slice(job->device->name),
		.max_items = (size_t)job->config->batch.max_items,
		.max_bytes = (size_t)job->config->batch.max_bytes,
		.last_snapshot = facts->recorded,
		.run_limit_ms = RUN_LIMIT_MS,
		.progress = job->progress,
		.progress_arg = job->progress_arg,
	};
	struct px_err forgetting;
	int64_t plain_ms;
	int rc;

	if (px_spool_history(run->spool, &run->state, err) == -1 || timer_left(run, PX_TIMER_PLAIN, &plain_ms, err) == -1)
		return -1;
	if (plain_ms > 0 && job->upstream->compresses)
		job->upstream->set_compressing(job->upstream->arg, false);
	rc = px_deliver(&delivery, &run->state, &run->delivery, err);
	if (run->delivery.posted && remember(run, rc, err, &forgetting) == -1)
		px_log(PX_ERROR, "%s", forgetting.text);
	return rc;
}

/* Posts what is there, unless there is nothing, nowhere to post it to, or a back-off is on. */
static int
deliver_when_due(struct run *run, struct px_flush_result *result, struct px_err *err)
{
	struct px_spool_facts facts;
	int64_t left_ms;
	int rc;

	if (run->job->upstream == NULL)
		return refuse_without_url(run, result, err);
	if (px_spool_facts(run->spool, &facts, err) == -1 || timer_left(run, PX_TIMER_RETRY, &left_ms, err) == -1)
		return -1;
	if (facts.pending == 0)
		return px_spool_check_count(run->spool, err);
	if (left_ms > 0 && !run->job->now) {
		result->is_told = true;
		return px_err_set(err, PX_LATER, "%" PRId64 " items wait for a back-off that ends in %" PRId64 " s", facts.pending,
		    (left_ms + 999) / 1000);
	}
	rc = deliver(run, &facts, err);
	result->acknowledged = run->delivery.acknowledged;
	result->quarantined = run->delivery.quarantined;
	if (rc == -1 || px_spool_facts(run->spool, &facts, err) == -1)
		return -1;
	/* What a damaged tree hides is not found by walking it; few are left now, so that counting them takes no time. */
	return facts.pending <= COUNTED_MAX ? px_spool_check_count(run->spool, err) : 0;
}

/* The run on an open spool. */
static int
work(struct run *run, struct px_flush_result *result, struct px_err *err)
{
	struct px_err snapshot_err;
	int snapshot_rc;
	int rc;

	take_in_overflow(run, run->job->store.spool_path);
	take_in_fallback(run);
	/* A snapshot that can't be stored keeps nothing from being sent. */
	snapshot_rc = snapshot_when_due(run, &snapshot_err);
	rc = deliver_when_due(run, result, err);
	if (snapshot_rc == -1) {
		px_log(PX_ERROR, "%s", snapshot_err.text);
		if (rc == 0) {
			*err = snapshot_err;
			result->is_told = true;
			rc = -1;
		}
	}
	return rc;
}

int
px_flush(const struct px_flush_job *job, struct px_flush_result *result, struct px_err *err)
{
	struct run run = { .job = job, .limits = job->store.limits };
	struct px_flush_result before;
	int rc = -1;

	*result = (struct px_flush_result){ .is_told = false };
	job->world->now(&run.began);
	if (open_spool(&run, err) == -1)
		goto out;
	rc = work(&run, result, err);
	/* Damage deep in the file shows only now. */
	if (rc == -1 && err->code == PX_CORRUPT) {
		before = *result;
		px_spool_close(run.spool);
		run.spool = NULL;
		if (renew_spool(job, err->text, err) == -1 || open_spool(&run, err) == -1)
			goto out;
		run.delivery = (struct px_delivery){ .retry_after_ms = -1 };
		rc = work(&run, result, err);
		result->acknowledged += before.acknowledged;
		result->quarantined += before.quarantined;
	}
	px_spool_tidy(run.spool, &run.limits);
out:
	px_spool_close(run.spool);
	return rc;
}

int
px_flush_note_failure(const struct px_flush_job *job, const struct px_err *why, struct px_err *err)
{
	struct px_spool *spool = NULL;
	struct px_spool_history state;
	struct px_spool_run entry = { .exit_status = px_err_exit_status(why->code) };
	struct px_now now;
	int rc = -1;

	if (px_record_open_spool(&job->store, PX_SPOOL_FLUSH, &spool, err) == -1 || px_spool_history(spool, &state, err) == -1)
		goto out;
	job->world->now(&now);
	entry.time_ms = now.wall_ms;
	memcpy(entry.reason, why->text, sizeof(entry.reason));
	rc = px_spool_add_run(spool, &entry, &state, err);
out:
	px_spool_close(spool);
	return rc;
}

int64_t
px_flush_splay_ms(const struct px_flush_job *job)
{
	struct run run = { .job = job };
	int64_t splay_ms = px_splay_ms(px_slice(job->device->id), job->config->schedule.splay_ms);
	bool takes_snapshot = job->config->snapshot.enabled && job->takes_snapshot;
	struct px_spool_facts facts = { .pending = 0 };
	struct px_timer retry = { .is_set = false };
	struct px_timer snapshot = { .is_set = false };
	char folder[PATH_MAX];
	bool has_event = false;
	struct px_err err;

	if (job->upstream == NULL || splay_ms == 0)
		return 0;
	if (px_overflow_folder(job->store.spool_path, folder, sizeof(folder), &err) == 0 && px_overflow_count(folder) > 0)
		return 0;
	job->world->now(&run.began);
	if (px_spool_open(&run.spool, job->store.spool_path, PX_SPOOL_LOOK, job->store.wait_ms, &err) == -1)
		return err.code == PX_ABSENT && takes_snapshot ? splay_ms : 0;
	if (px_spool_has_event(run.spool, &has_event, &err) == -1 || px_spool_facts(run.spool, &facts, &err) == -1 ||
	    px_spool_get_timer(run.spool, PX_TIMER_RETRY, &retry, &err) == -1 ||
	    px_spool_get_timer(run.spool, PX_TIMER_SNAPSHOT, &snapshot, &err) == -1)
		has_event = true;	/* the run itself is to find out what is wrong */
	px_spool_close(run.spool);
	if (has_event || px_timer_left_ms(&retry, &run.began) > 0)
		return 0;
	if (takes_snapshot && snapshot_is_due(job, snapshot_left_ms(job, snapshot, &run.began)))
		return splay_ms;
	return facts.pending > 0 ? splay_ms : 0;
}

int
px_flush_dry(const struct px_flush_job *job, void (*each)(void *arg, struct px_slice body), void *arg, struct px_err *err)
{
	struct px_delivery_job delivery = {
		.world = job->world,
		.device_id = px_slice(job->device->id),
		.device_name = px_slice(job->device->name),
		.max_items = (size_t)job->config->batch.max_items,
		.max_bytes = (size_t)job->config->batch.max_bytes,
		.last_snapshot = INT64_MAX,
	};
	int rc;

	if (px_spool_open(&delivery.spool, job->store.spool_path, PX_SPOOL_LOOK, job->store.wait_ms, err) == -1)
		return err->code == PX_ABSENT ? 0 : -1;
	rc = px_deliver_dry(&delivery, each, arg, err);
	px_spool_close(delivery.spool);
	return rc;
}
