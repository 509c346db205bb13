/* SPDX-License-Identifier: MIT */
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>

#include "flush_parts.h"
#include "log.h"
#include "overflow.h"

#define RUN_LIMIT_MS (10 * 60 * 1000)
#define COUNTED_MAX 10000				/* pending items that are counted at the end of a run */
#define DAY_MS ((int64_t)86400 * 1000)

int
flush_timer_left(const struct flush_run *run, enum px_spool_timer which, int64_t *left_ms, struct px_err *err)
{
	struct px_timer timer;

	if (px_spool_get_timer(run->spool, which, &timer, err) == -1)
		return -1;
	*left_ms = px_timer_left_ms(&timer, &run->began);
	if (px_timer_adopt(&timer, &run->began))
		return px_spool_set_timer(run->spool, which, &timer, err);
	return 0;
}

int
flush_start_timer(const struct flush_run *run, enum px_spool_timer which, int64_t length_ms, struct px_err *err)
{
	struct px_timer timer = { .is_set = length_ms > 0, .length_ms = length_ms };

	run->job->world->now(&timer.began);
	return px_spool_set_timer(run->spool, which, &timer, err);
}

int
flush_renew(const struct px_flush_job *job, const char *path, const char *why, struct px_err *err)
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
	if (px_spool_renew(path, &birth, &now, aside, sizeof(aside), &carried, err) == -1)
		return -1;
	px_log(PX_ERROR, "%s: set aside as '%s'; %" PRId64 " %s in the new spool %s; the old file is yours to look at and to "
	    "remove", reason, aside, carried, px_text_plural(carried, "item was readable and is", "items were readable and are"),
	    birth.id);
	return 0;
}

void
flush_sweep(const char *path)
{
	char journal[PATH_MAX];

	px_spool_sweep(path, journal, sizeof(journal));
	if (journal[0] != '\0')
		px_log(PX_WARNING, "a rollback journal that is not the spool's lay beside it: put away as '%s'; it is yours to look "
		    "at and to remove", journal);
}

/* Opens the spool, or makes it, and looks whose it is. */
static int
open_and_identify(struct flush_run *run, bool *is_ours, struct px_err *err)
{
	const struct px_device *device = run->job->device;

	*is_ours = false;
	if (px_record_open_spool(&run->job->store, PX_SPOOL_FLUSH, &run->spool, err) == -1)
		return -1;
	return px_spool_is_of(run->spool, px_slice(device->id), px_slice(device->machine_hash), is_ours, err);
}

/* Opens the spool; makes it, or makes it anew where it is broken or another device's. */
static int
open_spool(struct flush_run *run, struct px_err *err)
{
	const struct px_flush_job *job = run->job;
	bool is_ours;
	int rc;

	flush_sweep(job->store.spool_path);
	rc = open_and_identify(run, &is_ours, err);
	if (rc == 0 && is_ours)
		return 0;
	if (rc == -1 && err->code != PX_CORRUPT)
		return -1;
	px_spool_close(run->spool);
	run->spool = NULL;
	if (flush_renew(job, job->store.spool_path, rc == -1 ? err->text : "the spool was made on another device", err) == -1)
		return -1;
	return px_spool_open(&run->spool, job->store.spool_path, PX_SPOOL_FLUSH, job->store.wait_ms, err);
}

/* No URL: said once a day. */
static int
refuse_without_url(struct flush_run *run, struct px_flush_result *result, struct px_err *err)
{
	int64_t left_ms;

	if (flush_timer_left(run, PX_TIMER_NO_URL, &left_ms, err) == -1)
		return -1;
	result->is_told = left_ms > 0 && !run->job->now;
	if (left_ms == 0 && flush_start_timer(run, PX_TIMER_NO_URL, DAY_MS, err) == -1)
		return -1;
	return px_err_set(err, PX_CONFIG, "no URL to send to yet: set [upstream] url, or enrol the device; events are kept");
}

/* What a run means for the next ones: the back-off, a step longer after each run without success. */
static int
remember(struct flush_run *run, int rc, const struct px_err *why, struct px_err *err)
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
	if (flush_start_timer(run, PX_TIMER_RETRY, wait_ms, err) == -1)
		return -1;
	if (run->delivery.went_plain) {
		if (flush_start_timer(run, PX_TIMER_PLAIN, DAY_MS, err) == -1)
			return -1;
		px_log(PX_NOTICE, "upstream does not take compressed bodies: they go out plain for a day");
	}
	return px_spool_add_run(run->spool, &entry, &run->state, err);
}

/* How much is left of the time that a run may take, however often it delivers. */
static int64_t
time_left_ms(const struct flush_run *run)
{
	struct px_now now;

	run->job->world->now(&now);
	return run->began.boot_ms + RUN_LIMIT_MS - now.boot_ms;
}

static int
deliver(struct flush_run *run, const struct px_spool_facts *facts, struct px_err *err)
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
		.run_limit_ms = time_left_ms(run),
		.progress = job->progress,
		.progress_arg = job->progress_arg,
	};
	struct px_err forgetting;
	int64_t plain_ms;
	int rc;

	if (px_spool_history(run->spool, &run->state, err) == -1 || flush_timer_left(run, PX_TIMER_PLAIN, &plain_ms, err) == -1)
		return -1;
	delivery.plain = plain_ms > 0;
	rc = px_deliver(&delivery, &run->state, &run->delivery, err);
	if (run->delivery.posted && remember(run, rc, err, &forgetting) == -1)
		px_log(PX_ERROR, "%s", forgetting.text);
	return rc;
}

/* Posts what is there, unless there is nothing, nowhere to post it to, or a back-off is on. */
static int
deliver_when_due(struct flush_run *run, struct px_flush_result *result, struct px_err *err)
{
	struct px_spool_facts facts;
	int64_t left_ms;
	int rc;

	if (run->job->upstream == NULL)
		return refuse_without_url(run, result, err);
	if (px_spool_facts(run->spool, &facts, err) == -1 || flush_timer_left(run, PX_TIMER_RETRY, &left_ms, err) == -1)
		return -1;
	if (facts.pending == 0)
		return px_spool_check_count(run->spool, err);
	if (left_ms > 0 && !run->job->now) {
		result->is_told = true;
		return px_err_set(err, PX_LATER, "%" PRId64 " %s for a back-off that ends in %" PRId64 " s", facts.pending,
		    px_text_plural(facts.pending, "item waits", "items wait"), (left_ms + 999) / 1000);
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
work(struct flush_run *run, struct px_flush_result *result, struct px_err *err)
{
	struct px_err snapshot_err;
	int snapshot_rc;
	int rc;

	flush_take_in(run);
	/* A snapshot that can't be stored keeps nothing from being sent. */
	snapshot_rc = flush_snapshot_when_due(run, &snapshot_err);
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

/* Overflow that found no room: what was delivered may have made some, again and again. */
static int
work_for_overflow(struct flush_run *run, struct px_flush_result *result, struct px_err *err)
{
	struct px_flush_result before = { .acknowledged = 0 };
	int rc = 0;

	while (rc == 0 && run->overflow_waits && result->acknowledged > before.acknowledged && time_left_ms(run) > 0) {
		before = *result;
		run->overflow_waits = false;
		run->delivery = (struct px_delivery){ .retry_after_ms = -1 };
		*result = (struct px_flush_result){ .is_told = false };
		flush_take_in(run);
		rc = deliver_when_due(run, result, err);
		result->acknowledged += before.acknowledged;
		result->quarantined += before.quarantined;
		px_spool_tidy(run->spool, &run->limits);
	}
	return rc;
}

int
px_flush(const struct px_flush_job *job, struct px_flush_result *result, struct px_err *err)
{
	struct flush_run run = { .job = job, .limits = job->store.limits };
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
		if (flush_renew(job, job->store.spool_path, err->text, err) == -1 || open_spool(&run, err) == -1)
			goto out;
		run.delivery = (struct px_delivery){ .retry_after_ms = -1 };
		rc = work(&run, result, err);
		result->acknowledged += before.acknowledged;
		result->quarantined += before.quarantined;
	}
	px_spool_tidy(run.spool, &run.limits);
	if (rc == 0 && run.overflow_waits)
		rc = work_for_overflow(&run, result, err);
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

static bool
overflow_waits(const char *spool_path)
{
	char folder[PATH_MAX];
	struct px_err ignored;

	return px_overflow_folder(spool_path, folder, sizeof(folder), &ignored) == 0 && px_overflow_count(folder) > 0;
}

/* Whether one is in the default place, which the run will take in. What is wrong there is for the run to find out. */
static bool
event_waits_in_fallback(const struct px_flush_job *job)
{
	struct px_spool *spool = NULL;
	struct px_err ignored;
	bool has_event;

	if (job->fallback_spool == NULL || strcmp(job->fallback_spool, job->store.spool_path) == 0)
		return false;
	if (overflow_waits(job->fallback_spool))
		return true;
	has_event = px_spool_open(&spool, job->fallback_spool, PX_SPOOL_LOOK, job->store.wait_ms, &ignored) == 0 &&
	    px_spool_has_event(spool, &has_event, &ignored) == 0 && has_event;
	px_spool_close(spool);
	return has_event;
}

int64_t
px_flush_splay_ms(const struct px_flush_job *job)
{
	struct flush_run run = { .job = job };
	int64_t splay_ms = px_splay_ms(px_slice(job->device->id), job->config->schedule.splay_ms);
	bool takes_snapshot = job->config->snapshot.enabled && job->takes_snapshot;
	struct px_spool_facts facts = { .pending = 0 };
	struct px_timer retry = { .is_set = false };
	struct px_timer snapshot = { .is_set = false };
	bool has_event = false;
	bool is_about_to_post;
	struct px_err err;

	if (job->upstream == NULL || splay_ms == 0)
		return 0;
	if (overflow_waits(job->store.spool_path))
		return 0;
	job->world->now(&run.began);
	if (px_spool_open(&run.spool, job->store.spool_path, PX_SPOOL_LOOK, job->store.wait_ms, &err) == -1)
		return err.code == PX_ABSENT && takes_snapshot && !event_waits_in_fallback(job) ? splay_ms : 0;
	if (px_spool_has_event(run.spool, &has_event, &err) == -1 || px_spool_facts(run.spool, &facts, &err) == -1 ||
	    px_spool_get_timer(run.spool, PX_TIMER_RETRY, &retry, &err) == -1 ||
	    px_spool_get_timer(run.spool, PX_TIMER_SNAPSHOT, &snapshot, &err) == -1)
		has_event = true;	/* the run itself is to find out what is wrong */
	px_spool_close(run.spool);
	if (has_event || px_timer_left_ms(&retry, &run.began) > 0)
		return 0;
	is_about_to_post = facts.pending > 0 || (takes_snapshot && flush_snapshot_is_due(job, &snapshot, &run.began));
	return is_about_to_post && !event_waits_in_fallback(job) ? splay_ms : 0;
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
