/* SPDX-License-Identifier: MIT */
#include "deliver_parts.h"
#include "log.h"

struct filling {
	struct deliver_run *run;
	struct px_err *err;
	int rc;
};

static bool
add_to_batch(void *arg, const struct px_spool_item *found)
{
	struct filling *filling = arg;
	struct deliver_run *run = filling->run;
	struct px_batch *batch = &run->batch;
	bool added = false;

	if (deliver_is_refused(run, found->item.seq))
		return true;
	if (batch->count == 0)
		batch->max_items = deliver_stuck_limit(run, found->item.seq, batch->max_items);
	/* Upstream may fail on it again: alone, it takes no other with it. */
	if (found->deferred && batch->count > 0)
		return false;
	if (px_batch_add(batch, &found->item, &added, filling->err) == -1) {
		filling->rc = -1;
		return false;
	}
	return added && !found->deferred && !px_batch_is_full(batch);
}

static int
read_head(const struct px_delivery_job *job, struct px_batch_head *head, struct px_err *err)
{
	job->world->now(&head->now);
	head->device_id = job->device_id;
	head->device_name = job->device_name;
	if (job->spool == NULL) {
		/* The nil UUID, RFC 9562, 5.9. */
		head->spool = (struct px_spool_facts){ .id = "00000000-0000-0000-0000-000000000000" };
		return 0;
	}
	return px_spool_facts(job->spool, &head->spool, err);
}

/* How many items the next batch may have. */
static size_t
batch_limit(const struct deliver_run *run)
{
	size_t limit = run->job->max_items;

	if (run->state->batch_limit > 0 && (size_t)run->state->batch_limit < limit)
		limit = (size_t)run->state->batch_limit;
	if (run->suspects > 0 && (run->suspects + 1) / 2 < limit)
		limit = (run->suspects + 1) / 2;
	return limit;
}

int
deliver_begin_batch(struct deliver_run *run, struct px_batch *batch, struct px_err *err)
{
	if (read_head(run->job, &run->head, err) == -1 || px_pack_begin(&run->pack, deliver_compresses(run), err) == -1)
		return -1;
	return px_batch_begin(batch, &run->head, err);
}

/* Its counters are read first, so that it can be compressed as it grows: what was recorded since is not of this batch. */
static int
fill_batch(struct deliver_run *run, struct px_err *err)
{
	struct filling filling = { run, err, 0 };

	run->batch.max_items = batch_limit(run);
	if (deliver_begin_batch(run, &run->batch, err) == -1 || px_spool_read_pending(run->job->spool, run->head.spool.recorded,
	    run->job->last_snapshot, add_to_batch, &filling, err) == -1)
		return -1;
	return filling.rc;
}

/* The ids stay: an item that upstream names has to be known again. */
static void
hide_secrets(const struct px_upstream *upstream, struct px_answer *answer)
{
	if (upstream->hide == NULL)
		return;
	upstream->hide(upstream->arg, answer->problem);
	for (size_t i = 0; i < answer->rejected_count; i++)
		upstream->hide(upstream->arg, answer->rejected[i].reason);
}

int
deliver_post(struct deliver_run *run, struct px_batch *batch, struct deliver_reply *out, struct px_err *err)
{
	const struct px_upstream *upstream = run->job->upstream;
	struct px_reply *reply = &out->reply;
	struct px_slice body;

	*out = (struct deliver_reply){ .reply = { .body = PX_BUF(PX_REPLY_MAX) }, .verdict = { .action = PX_KEEP } };
	px_batch_end(batch);
	if (px_pack_end(&run->pack, &body, err) == -1)
		return -1;
	run->out->posted = true;
	if (upstream->post(upstream->arg, body, run->pack.is_compressed, reply, err) == -1)
		return -1;
	if (px_payload_answer(reply, &out->answer, err) == -1)
		return -1;
	hide_secrets(upstream, &out->answer);
	px_verdict(reply, out->answer.body, &out->verdict);
	if (out->verdict.honours_retry_after && reply->retry_after_ms > run->out->retry_after_ms)
		run->out->retry_after_ms = reply->retry_after_ms;
	px_log(PX_INFO, "posted %zu %s in %zu bytes: %s", batch->count,
	    px_text_plural((int64_t)batch->count, "item", "items"), batch->len, out->verdict.reason);
	return 0;
}

void
deliver_reply_clear(struct deliver_reply *reply)
{
	px_answer_clear(&reply->answer);
	px_buf_clear(&reply->reply.body);
}

int
deliver_stop(const struct px_verdict *verdict, struct px_err *err)
{
	return px_err_set(err, verdict->code == PX_OK ? PX_BUG : verdict->code, "%s", verdict->reason);
}

void
deliver_go_plain(struct deliver_run *run, bool for_good)
{
	run->plain = true;
	if (for_good)
		run->out->went_plain = true;
}

bool
deliver_compresses(const struct deliver_run *run)
{
	return !run->plain && run->job->upstream->compresses;
}

bool
deliver_renew_token(struct deliver_run *run)
{
	const struct px_upstream *upstream = run->job->upstream;
	struct px_err err;

	if (upstream->renew_token == NULL)
		return false;
	if (upstream->renew_token(upstream->arg, &err) == 0)
		return true;
	px_log(PX_WARNING, "no new token: %s", err.text);
	return false;
}

void
deliver_count_attempt(const struct deliver_run *run, const struct px_batch_entry *entries, size_t count)
{
	struct px_err err;

	if (px_spool_count_attempt(run->job->spool, entries, count, &err) == -1)
		px_log(PX_WARNING, "%s", err.text);
}

/* A batch as large as was allowed went well: a quarter more next time. */
static void
grow_batches(struct deliver_run *run)
{
	struct px_spool_history *state = run->state;

	if (state->batch_limit > 0 && run->batch.count >= (size_t)state->batch_limit)
		state->batch_limit += state->batch_limit / 4 + 1;
	if ((size_t)state->batch_limit >= run->job->max_items)
		state->batch_limit = 0;
}

static int
take_acknowledgement(struct deliver_run *run, const struct px_answer *answer, struct px_err *err)
{
	size_t count = run->batch.count;

	if (deliver_settle(run, answer, err) == -1)
		return -1;
	run->out->retry_after_ms = -1;
	deliver_stuck_went_well(run);
	grow_batches(run);
	run->suspects = run->suspects > count ? run->suspects - count : 0;
	if (run->job->progress != NULL)
		run->job->progress(run->job->progress_arg, run->out->acknowledged + run->out->quarantined,
		    run->head.spool.pending - (int64_t)count);
	return deliver_quarantine_refused(run, err);
}

/* The run ends with this reply. A batch that took too long, or whose answer was too long, is halved for the next runs. */
static int
take_failure(struct deliver_run *run, const struct deliver_reply *reply, struct px_err *err)
{
	const struct px_reply *got = &reply->reply;
	bool answer_is_long = got->body_cut && got->status < 300 && reply->answer.body == PX_BODY_NOT_JSON;

	deliver_count_attempt(run, run->batch.entries, run->batch.count);
	if ((got->status >= 500 && got->status <= 599) || got->timed_out) {
		if (deliver_stuck_failed(run, err) == -1)
			return -1;
	} else {
		deliver_stuck_forget(run);
	}
	if ((got->timed_out || answer_is_long) && run->batch.count > 1)
		run->state->batch_limit = (int64_t)run->batch.count / 2;
	return deliver_stop(&reply->verdict, err);
}

static int
deal_with_reply(struct deliver_run *run, const struct deliver_reply *reply, struct px_err *err)
{
	switch (reply->verdict.action) {
	case PX_ACKNOWLEDGE:
		return take_acknowledgement(run, &reply->answer, err);
	case PX_SPLIT:
		return deliver_take_refusal(run, reply, err);
	case PX_SEND_PLAIN:
		if (!deliver_compresses(run))
			break;
		deliver_go_plain(run, true);
		return 0;
	case PX_NEW_TOKEN:
		if (!deliver_renew_token(run))
			break;
		return 0;
	case PX_KEEP:
		break;
	}
	return take_failure(run, reply, err);
}

static int
deliver_batch(struct deliver_run *run, struct px_err *err)
{
	struct deliver_reply reply;
	int rc;

	rc = deliver_post(run, &run->batch, &reply, err);
	if (rc == 0)
		rc = deal_with_reply(run, &reply, err);
	deliver_reply_clear(&reply);
	return rc;
}

static void
run_init(struct deliver_run *run, const struct px_delivery_job *job, struct px_spool_history *state, struct px_delivery *out)
{
	*out = (struct px_delivery){ .retry_after_ms = -1 };
	*run = (struct deliver_run){ .job = job, .state = state, .out = out, .plain = job->plain };
	/* One item alone may be larger than a batch is to be. */
	run->pack = px_pack((job->max_bytes > PX_SNAPSHOT_MAX ? job->max_bytes : PX_SNAPSHOT_MAX) + (64 << 10));
	px_batch_init(&run->batch, job->max_items, job->max_bytes, px_pack_add, &run->pack);
}

static void
run_clear(struct deliver_run *run)
{
	px_batch_clear(&run->batch);
	px_pack_clear(&run->pack);
}

/* Batch after batch. */
static int
deliver_all(struct deliver_run *run, struct px_err *err)
{
	const struct px_delivery_job *job = run->job;
	int64_t began_ms;

	job->world->now(&run->head.now);
	began_ms = run->head.now.boot_ms;
	do {
		if (read_head(job, &run->head, err) == -1)
			return -1;
		if (run->head.spool.pending == 0)
			return 0;
		if (px_spool_await(job->spool, err) == -1 || fill_batch(run, err) == -1)
			return -1;
		if (run->batch.count == 0)
			return 0;
		if (deliver_batch(run, err) == -1)
			return -1;
		job->world->now(&run->head.now);
	} while (run->head.now.boot_ms - began_ms < job->run_limit_ms);
	px_log(PX_NOTICE, "stopped, since the time of a run is over; the next one goes on");
	return 0;
}

/*
 * Those that were refused alone are at fault, whatever stopped the run, since the empty batch was taken: in the next one
 * they would keep the others waiting again.
 */
static int
end_refusals(struct deliver_run *run, int rc, struct px_err *err)
{
	struct px_err second;

	if (run->blames_nothing || (rc == -1 && (err->code == PX_STORAGE || err->code == PX_CORRUPT)))
		return rc;
	if (deliver_quarantine_refused(run, &second) == 0)
		return rc;
	if (rc == -1) {
		px_log(PX_ERROR, "%s", second.text);
		return -1;
	}
	*err = second;
	return -1;
}

int
px_deliver(const struct px_delivery_job *job, struct px_spool_history *state, struct px_delivery *out, struct px_err *err)
{
	struct deliver_run run;
	int rc;

	run_init(&run, job, state, out);
	rc = deliver_all(&run, err);
	rc = end_refusals(&run, rc, err);
	run_clear(&run);
	return rc;
}

int
px_deliver_probe(const struct px_delivery_job *job, struct px_err *err)
{
	struct px_spool_history state = { .failed_runs = 0 };
	struct px_delivery out;
	struct deliver_run run;
	int rc = -1;

	run_init(&run, job, &state, &out);
	if (read_head(job, &run.head, err) == 0)
		rc = deliver_try_empty(&run, err);
	run_clear(&run);
	return rc;
}

struct dry_run {
	struct deliver_run run;
	void (*each)(void *arg, struct px_slice body);
	void *arg;
	struct px_err *err;
	int rc;
};

static int
begin_shown_batch(struct dry_run *dry)
{
	struct deliver_run *run = &dry->run;

	return px_pack_begin(&run->pack, false, dry->err) == -1 ? -1 : px_batch_begin(&run->batch, &run->head, dry->err);
}

/* Shows the batch, unless it is empty, and begins the next. */
static int
show_batch(struct dry_run *dry)
{
	struct deliver_run *run = &dry->run;
	struct px_slice body;

	if (run->batch.count == 0)
		return 0;
	px_batch_end(&run->batch);
	if (px_pack_end(&run->pack, &body, dry->err) == -1)
		return -1;
	dry->each(dry->arg, body);
	return begin_shown_batch(dry);
}

static bool
show_when_full(void *arg, const struct px_spool_item *found)
{
	struct dry_run *dry = arg;
	bool added = false;

	/* It goes alone, as in add_to_batch. */
	if (found->deferred && show_batch(dry) == -1)
		dry->rc = -1;
	else if (px_batch_add(&dry->run.batch, &found->item, &added, dry->err) == -1)
		dry->rc = -1;
	else if (!added && (show_batch(dry) == -1 || px_batch_add(&dry->run.batch, &found->item, &added, dry->err) == -1))
		dry->rc = -1;
	return dry->rc == 0;
}

int
px_deliver_dry(const struct px_delivery_job *job, void (*each)(void *arg, struct px_slice body), void *arg,
    struct px_err *err)
{
	struct dry_run dry = { .each = each, .arg = arg, .err = err };
	struct px_spool_history state = { .failed_runs = 0 };
	struct px_delivery out;
	int rc = -1;

	run_init(&dry.run, job, &state, &out);
	if (read_head(job, &dry.run.head, err) == -1 || begin_shown_batch(&dry) == -1)
		goto out;
	if (px_spool_each_pending(job->spool, job->last_snapshot, show_when_full, &dry, err) == -1 || dry.rc == -1)
		goto out;
	rc = show_batch(&dry);
out:
	run_clear(&dry.run);
	return rc;
}
