/* SPDX-License-Identifier: MIT */
#include "deliver.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "log.h"
#include "payload.h"

#define REFUSED_ALONE_MAX 16	/* refused alone with nothing acknowledged: the fault is not the items' */
#define STUCK_RUNS 3		/* runs in a row that failed on the same first item */

/* An item that was refused when it stood alone, and why. */
struct refused {
	struct px_batch_entry entry;
	char reason[PX_REASON_MAX];
};

/* One run. */
struct run {
	const struct px_delivery_job *job;
	struct px_spool_history *state;
	struct px_delivery *out;

	struct px_batch batch;
	struct px_buf body;
	struct px_batch_head head;	/* of the last post */

	size_t suspects;		/* the first so many pending items are known to hold one that upstream refuses */
	bool blames_items;		/* an empty batch was acknowledged after a refusal */
	bool plain;			/* bodies go out uncompressed */
	bool renewed_token;
	struct refused refused[REFUSED_ALONE_MAX];	/* not yet in quarantine */
	size_t refused_count;
};

/* What to do after a post was dealt with. */
enum next { GO_ON, STOP };

static bool
is_refused(const struct run *run, int64_t seq)
{
	for (size_t i = 0; i < run->refused_count; i++)
		if (run->refused[i].entry.seq == seq)
			return true;
	return false;
}

struct filling {
	struct run *run;
	struct px_err *err;
	int rc;
};

static bool
add_to_batch(void *arg, const struct px_spool_item *found)
{
	struct filling *filling = arg;
	struct px_batch *batch = &filling->run->batch;
	bool added = false;

	if (is_refused(filling->run, found->item.seq))
		return true;
	if (batch->count == 0 && found->item.seq == filling->run->state->stuck_seq &&
	    filling->run->state->stuck_limit > 0 && (size_t)filling->run->state->stuck_limit < batch->max_items)
		batch->max_items = (size_t)filling->run->state->stuck_limit;
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
batch_limit(const struct run *run)
{
	size_t limit = run->job->max_items;

	if (run->state->batch_limit > 0 && (size_t)run->state->batch_limit < limit)
		limit = (size_t)run->state->batch_limit;
	if (run->suspects > 0 && (run->suspects + 1) / 2 < limit)
		limit = (run->suspects + 1) / 2;
	return limit;
}

static int
fill_batch(struct run *run, struct px_err *err)
{
	struct filling filling = { run, err, 0 };

	px_batch_empty(&run->batch);
	run->batch.max_items = batch_limit(run);
	if (px_spool_each_pending(run->job->spool, run->job->last_snapshot, add_to_batch, &filling, err) == -1)
		return -1;
	return filling.rc;
}

/* Posts ${batch} and judges the reply. The caller clears ${answer} and ${reply}'s body. */
static int
post_batch(struct run *run, const struct px_batch *batch, struct px_reply *reply, struct px_answer *answer,
    struct px_verdict *verdict, struct px_err *err)
{
	if (read_head(run->job, &run->head, err) == -1)
		return -1;
	px_buf_rewind(&run->body, 0);
	if (px_batch_write(batch, &run->head, &run->body, err) == -1)
		return -1;
	run->out->posted = true;
	if (run->job->upstream->post(run->job->upstream->arg, (struct px_slice){ px_buf_text(&run->body), run->body.len }, reply,
	    err) == -1)
		return -1;
	if (px_payload_answer(reply, answer, err) == -1)
		return -1;
	px_verdict(reply, answer->body, verdict);
	run->out->retry_after_ms = verdict->honours_retry_after ? reply->retry_after_ms : -1;
	px_log(PX_INFO, "posted %zu items in %zu bytes: %s", batch->count, run->body.len, verdict->reason);
	return 0;
}

static int
compare_entries(const void *a, const void *b)
{
	const struct px_batch_entry *const *left = a;
	const struct px_batch_entry *const *right = b;

	return strcmp((*left)->id, (*right)->id);
}

static int
compare_id(const void *id, const void *entry)
{
	const struct px_batch_entry *const *right = entry;

	return strcmp(id, (*right)->id);
}

/* Notes upstream's reasons in ${settled}, which stands in the order of the batch's entries. */
static int
mark_rejected(const struct px_batch *batch, const struct px_answer *answer, struct px_settled *settled, struct px_err *err)
{
	const struct px_batch_entry **by_id = calloc(batch->count + 1, sizeof(struct px_batch_entry *));

	if (by_id == NULL)
		return px_err_set(err, PX_BUG, "no memory for a batch of %zu items", batch->count);
	for (size_t i = 0; i < batch->count; i++)
		by_id[i] = &batch->entries[i];
	qsort(by_id, batch->count, sizeof(struct px_batch_entry *), compare_entries);
	for (size_t i = 0; i < answer->rejected_count; i++) {
		const struct px_rejection *rejection = &answer->rejected[i];
		const struct px_batch_entry **entry =
		    bsearch(rejection->id, by_id, batch->count, sizeof(struct px_batch_entry *), compare_id);

		if (entry == NULL)
			px_log(PX_WARNING, "upstream rejects '%s', which is not in the batch: ignored", rejection->id);
		else
			settled[*entry - batch->entries].reason = rejection->reason;
	}
	free(by_id);
	return 0;
}

/* Puts those that were refused alone into quarantine. */
static int
quarantine_refused(struct run *run, struct px_err *err)
{
	struct px_settled settled[REFUSED_ALONE_MAX];
	size_t count = run->refused_count;

	if (count == 0)
		return 0;
	for (size_t i = 0; i < count; i++) {
		const struct refused *refused = &run->refused[i];

		settled[i] = (struct px_settled){ refused->entry.seq, refused->entry.kind, refused->reason };
		px_log(PX_WARNING, "%s %s is quarantined: %s", px_kind_name(refused->entry.kind), refused->entry.id, refused->reason);
	}
	if (px_spool_settle(run->job->spool, settled, count, run->head.now.wall_ms, false, err) == -1)
		return -1;
	run->refused_count = 0;
	run->out->quarantined += (int64_t)count;
	return 0;
}

/* Upstream holds the batch, but for what it named as rejected. */
static int
settle_batch(struct run *run, const struct px_answer *answer, struct px_err *err)
{
	const struct px_batch *batch = &run->batch;
	struct px_settled *settled = calloc(batch->count + 1, sizeof(*settled));
	int64_t rejected = 0;
	int rc = -1;

	if (settled == NULL)
		return px_err_set(err, PX_BUG, "no memory for a batch of %zu items", batch->count);
	for (size_t i = 0; i < batch->count; i++)
		settled[i] = (struct px_settled){ batch->entries[i].seq, batch->entries[i].kind, NULL };
	if (mark_rejected(batch, answer, settled, err) == -1)
		goto out;
	for (size_t i = 0; i < batch->count; i++) {
		if (settled[i].reason == NULL)
			continue;
		px_log(PX_WARNING, "%s %s is quarantined, upstream rejects it: %s", px_kind_name(batch->entries[i].kind),
		    batch->entries[i].id, settled[i].reason);
		rejected++;
	}
	if (px_spool_settle(run->job->spool, settled, batch->count, run->head.now.wall_ms, run->head.spool.replaces_id[0] != '\0',
	    err) == -1)
		goto out;
	run->out->succeeded = true;
	run->out->acknowledged += (int64_t)batch->count - rejected;
	run->out->quarantined += rejected;
	rc = 0;
out:
	free(settled);
	return rc;
}

static void
forget_stuck(struct px_spool_history *state)
{
	state->stuck_seq = 0;
	state->stuck_runs = 0;
	state->stuck_limit = 0;
}

static int
take_acknowledgement(struct run *run, const struct px_answer *answer, struct px_err *err)
{
	struct px_spool_history *state = run->state;
	size_t count = run->batch.count;

	if (settle_batch(run, answer, err) == -1)
		return -1;
	if (run->batch.entries[0].seq == state->stuck_seq)
		forget_stuck(state);
	/* A batch as large as was allowed went well: a quarter more next time. */
	if (state->batch_limit > 0 && count >= (size_t)state->batch_limit)
		state->batch_limit += state->batch_limit / 4 + 1;
	if ((size_t)state->batch_limit >= run->job->max_items)
		state->batch_limit = 0;
	run->suspects = run->suspects > count ? run->suspects - count : 0;
	if (run->job->progress != NULL)
		run->job->progress(run->job->progress_arg, run->out->acknowledged + run->out->quarantined,
		    run->head.spool.pending - (int64_t)count);
	return quarantine_refused(run, err);
}

static int
stop(const struct px_verdict *verdict, struct px_err *err)
{
	return px_err_set(err, verdict->code == PX_OK ? PX_BUG : verdict->code, "%s", verdict->reason);
}

/* Uncompressed from here on; for a day when ${for_good}, else as a trial. */
static void
go_plain(struct run *run, bool for_good)
{
	run->plain = true;
	run->job->upstream->set_compressing(run->job->upstream->arg, false);
	if (!for_good)
		return;
	run->out->went_plain = true;
	px_log(PX_NOTICE, "upstream does not take compressed bodies: they go out plain for a day");
}

static bool
is_compressing(const struct run *run)
{
	return !run->plain && run->job->upstream->compresses;
}

static bool
renew_token(struct run *run, struct px_err *err)
{
	const struct px_upstream *upstream = run->job->upstream;

	if (run->renewed_token || upstream->renew_token == NULL || upstream->renew_token(upstream->arg, err) == -1)
		return false;
	run->renewed_token = true;
	return true;
}

static int
post_empty_batch(struct run *run, struct px_verdict *verdict, struct px_err *err)
{
	struct px_batch empty;
	struct px_reply reply = { .body = PX_BUF(PX_REPLY_MAX) };
	struct px_answer answer = { .body = PX_BODY_EMPTY };
	int rc;

	px_batch_init(&empty, 1, run->job->max_bytes, &run->head);
	rc = post_batch(run, &empty, &reply, &answer, verdict, err);
	px_answer_clear(&answer);
	px_buf_clear(&reply.body);
	px_batch_clear(&empty);
	return rc;
}

/*
 * Before the first item of a run is blamed: is it the items at all? Posts an empty batch, with a new token and
 * uncompressed where that may help. 0 when it was acknowledged, -1 with what the run ends with.
 */
static int
try_empty_batch(struct run *run, struct px_verdict *verdict, struct px_err *err)
{
	bool on_trial = false;

	for (;;) {
		bool refused;

		if (post_empty_batch(run, verdict, err) == -1)
			return -1;
		if (verdict->action == PX_ACKNOWLEDGE)
			break;
		refused = verdict->action == PX_SPLIT || verdict->action == PX_SEND_PLAIN;
		if (refused && is_compressing(run)) {
			go_plain(run, verdict->action == PX_SEND_PLAIN);
			on_trial = verdict->action == PX_SPLIT;
		} else if (verdict->action != PX_NEW_TOKEN || !renew_token(run, err)) {
			/* It was not the compression. */
			if (on_trial)
				run->job->upstream->set_compressing(run->job->upstream->arg, true);
			(void)stop(verdict, err);
			return refused ? px_err_prefix(err, "even an empty batch is refused") : -1;
		}
	}
	if (on_trial)
		go_plain(run, true);
	run->blames_items = true;
	return 0;
}

static void
count_attempt(const struct run *run)
{
	struct px_err err;

	if (px_spool_count_attempt(run->job->spool, run->batch.entries, run->batch.count, &err) == -1)
		px_log(PX_WARNING, "%s", err.text);
}

/* The batch was refused for something in it: 400, 413, 422. */
static int
take_refusal(struct run *run, const struct px_reply *reply, const struct px_answer *answer, const struct px_verdict *verdict,
    struct px_err *err)
{
	struct refused *refused;
	const char *reason = answer->problem[0] != '\0' ? answer->problem : verdict->reason;
	bool was_plain = run->plain;
	struct px_verdict on_empty = { .action = PX_KEEP };	/* where not even a reply comes */

	if (!run->blames_items && try_empty_batch(run, &on_empty, err) == -1) {
		/* What is refused even when it is empty is not too large. */
		if (reply->status == 413 && run->batch.count > 1 && on_empty.action != PX_SPLIT)
			run->state->batch_limit = (int64_t)run->batch.count / 2;
		count_attempt(run);
		return -1;
	}
	if (run->plain != was_plain)
		return 0;	/* the same items again, now uncompressed */
	if (reply->status == 413 && run->batch.count > 1)
		run->state->batch_limit = (int64_t)run->batch.count / 2;
	if (run->batch.count > 1) {
		run->suspects = run->batch.count;
		return 0;
	}
	count_attempt(run);
	refused = &run->refused[run->refused_count++];
	refused->entry = run->batch.entries[0];
	(void)snprintf(refused->reason, sizeof(refused->reason), "%.*s",
	    (int)px_text_cut(reason, strlen(reason), sizeof(refused->reason) - 1), reason);
	run->suspects = 0;
	if (run->out->acknowledged > 0)
		return quarantine_refused(run, err);
	if (run->refused_count == REFUSED_ALONE_MAX)
		return px_err_set(err, PX_LATER, "upstream refuses each of %d items alone and takes none: nothing is blamed, all is "
		    "kept (%s)", REFUSED_ALONE_MAX, verdict->reason);
	return 0;
}

/*
 * No item keeps others waiting: one that stood first in a batch in several failed runs gets ever smaller batches, and
 * when it fails alone it goes behind all others.
 */
static int
suspect_first_item(struct run *run, struct px_err *err)
{
	struct px_spool_history *state = run->state;
	const struct px_batch_entry *first = &run->batch.entries[0];

	if (state->stuck_seq != first->seq) {
		forget_stuck(state);
		state->stuck_seq = first->seq;
	}
	if (state->stuck_runs >= STUCK_RUNS && run->batch.count == 1) {
		px_log(PX_WARNING, "%s %s goes behind all others: upstream fails on it", px_kind_name(first->kind), first->id);
		forget_stuck(state);
		return px_spool_defer(run->job->spool, first->seq, err);
	}
	if (++state->stuck_runs >= STUCK_RUNS)
		state->stuck_limit = run->batch.count > 1 ? (int64_t)run->batch.count / 2 : 1;
	return 0;
}

/* The run ends with this reply. A batch that took too long, or whose answer was too long, is halved for the next runs. */
static int
take_failure(struct run *run, const struct px_reply *reply, const struct px_verdict *verdict, struct px_err *err)
{
	const struct px_batch *batch = &run->batch;

	count_attempt(run);
	if ((reply->status >= 500 && reply->status <= 599) || reply->timed_out) {
		if (suspect_first_item(run, err) == -1)
			return -1;
	} else {
		forget_stuck(run->state);
	}
	if ((reply->timed_out || (reply->body_cut && reply->status < 300)) && batch->count > 1)
		run->state->batch_limit = (int64_t)batch->count / 2;
	return stop(verdict, err);
}

static int
deal_with_reply(struct run *run, const struct px_reply *reply, const struct px_answer *answer, const struct px_verdict *verdict,
    struct px_err *err)
{
	switch (verdict->action) {
	case PX_ACKNOWLEDGE:
		return take_acknowledgement(run, answer, err);
	case PX_SPLIT:
		return take_refusal(run, reply, answer, verdict, err);
	case PX_SEND_PLAIN:
		if (!is_compressing(run))
			return take_failure(run, reply, verdict, err);
		go_plain(run, true);
		return 0;
	case PX_NEW_TOKEN:
		return renew_token(run, err) ? 0 : take_failure(run, reply, verdict, err);
	case PX_KEEP:
		break;
	}
	return take_failure(run, reply, verdict, err);
}

static int
deliver_batch(struct run *run, struct px_err *err)
{
	struct px_reply reply = { .body = PX_BUF(PX_REPLY_MAX) };
	struct px_answer answer = { .body = PX_BODY_EMPTY };
	struct px_verdict verdict;
	int rc = -1;

	if (post_batch(run, &run->batch, &reply, &answer, &verdict, err) == -1)
		goto out;
	rc = deal_with_reply(run, &reply, &answer, &verdict, err);
out:
	px_answer_clear(&answer);
	px_buf_clear(&reply.body);
	return rc;
}

static void
run_init(struct run *run, const struct px_delivery_job *job, struct px_spool_history *state, struct px_delivery *out)
{
	*out = (struct px_delivery){ .retry_after_ms = -1 };
	*run = (struct run){ .job = job, .state = state, .out = out };
	/* One item alone may be larger than a batch is to be. */
	run->body = PX_BUF((job->max_bytes > PX_SNAPSHOT_MAX ? job->max_bytes : PX_SNAPSHOT_MAX) + (64 << 10));
}

int
px_deliver(const struct px_delivery_job *job, struct px_spool_history *state, struct px_delivery *out, struct px_err *err)
{
	struct run run;
	int64_t began_ms;
	int rc = -1;

	run_init(&run, job, state, out);
	if (read_head(job, &run.head, err) == -1)
		return -1;
	began_ms = run.head.now.boot_ms;
	px_batch_init(&run.batch, job->max_items, job->max_bytes, &run.head);
	do {
		if (fill_batch(&run, err) == -1)
			goto out;
		if (run.batch.count == 0) {
			/* All others are settled: what was refused alone is at fault itself, the empty batch was taken. */
			rc = quarantine_refused(&run, err);
			goto out;
		}
		if (deliver_batch(&run, err) == -1)
			goto out;
		job->world->now(&run.head.now);
	} while (run.head.now.boot_ms - began_ms < job->run_limit_ms);
	px_log(PX_NOTICE, "stopped after %d minutes; the next run goes on", (int)(job->run_limit_ms / 60000));
	rc = 0;
out:
	px_batch_clear(&run.batch);
	px_buf_clear(&run.body);
	return rc;
}

int
px_deliver_probe(const struct px_delivery_job *job, struct px_err *err)
{
	struct px_spool_history state = { .failed_runs = 0 };
	struct px_delivery out;
	struct px_verdict verdict;
	struct run run;
	int rc = -1;

	run_init(&run, job, &state, &out);
	if (read_head(job, &run.head, err) == 0)
		rc = try_empty_batch(&run, &verdict, err);
	px_buf_clear(&run.body);
	return rc;
}

struct dry_run {
	struct run run;
	void (*each)(void *arg, struct px_slice body);
	void *arg;
	struct px_err *err;
	int rc;
};

static int
show_batch(struct dry_run *dry)
{
	struct run *run = &dry->run;

	if (run->batch.count == 0)
		return 0;
	px_buf_rewind(&run->body, 0);
	if (px_batch_write(&run->batch, &run->head, &run->body, dry->err) == -1)
		return -1;
	dry->each(dry->arg, (struct px_slice){ px_buf_text(&run->body), run->body.len });
	px_batch_empty(&run->batch);
	return 0;
}

static bool
show_when_full(void *arg, const struct px_spool_item *found)
{
	struct dry_run *dry = arg;
	bool added = false;

	if (px_batch_add(&dry->run.batch, &found->item, &added, dry->err) == -1)
		dry->rc = -1;
	else if (!added && (show_batch(dry) == -1 || px_batch_add(&dry->run.batch, &found->item, &added, dry->err) == -1))
		dry->rc = -1;
	return dry->rc == 0;
}

int
px_deliver_dry(const struct px_delivery_job *job, void (*each)(void *arg, struct px_slice body), void *arg, struct px_err *err)
{
	struct dry_run dry = { .each = each, .arg = arg, .err = err };
	struct px_spool_history state = { .failed_runs = 0 };
	struct px_delivery out;
	int rc = -1;

	run_init(&dry.run, job, &state, &out);
	if (read_head(job, &dry.run.head, err) == -1)
		return -1;
	px_batch_init(&dry.run.batch, job->max_items, job->max_bytes, &dry.run.head);
	if (px_spool_each_pending(job->spool, job->last_snapshot, show_when_full, &dry, err) == -1 || dry.rc == -1)
		goto out;
	rc = show_batch(&dry);
out:
	px_batch_clear(&dry.run.batch);
	px_buf_clear(&dry.run.body);
	return rc;
}
