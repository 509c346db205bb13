/* SPDX-License-Identifier: MIT */
/* 400, 413, 422: who is at fault? Asked by halves, once an empty batch has shown that it is the items. */
#include <stdio.h>
#include <string.h>

#include "deliver_parts.h"

bool
deliver_is_refused(const struct deliver_run *run, int64_t seq)
{
	for (size_t i = 0; i < run->refused_count; i++)
		if (run->refused[i].entry.seq == seq)
			return true;
	return false;
}

static int
post_empty(struct deliver_run *run, struct px_verdict *verdict, struct px_err *err)
{
	struct deliver_reply reply = { .verdict = { .action = PX_KEEP } };
	struct px_batch empty;
	int rc;

	px_batch_init(&empty, 1, run->job->max_bytes, px_pack_add, &run->pack);
	rc = deliver_begin_batch(run, &empty, err);
	if (rc == 0)
		rc = deliver_post(run, &empty, &reply, err);
	*verdict = reply.verdict;
	deliver_reply_clear(&reply);
	px_batch_clear(&empty);
	return rc;
}

int
deliver_try_empty(struct deliver_run *run, struct px_err *err)
{
	struct px_verdict verdict;
	bool on_trial = false;

	for (;;) {
		bool refused;

		if (post_empty(run, &verdict, err) == -1)
			return -1;
		if (verdict.action == PX_ACKNOWLEDGE)
			break;
		refused = verdict.action == PX_SPLIT || verdict.action == PX_SEND_PLAIN;
		if (refused && deliver_compresses(run)) {
			deliver_go_plain(run, verdict.action == PX_SEND_PLAIN);
			on_trial = verdict.action == PX_SPLIT;
		} else if (verdict.action != PX_NEW_TOKEN || !deliver_renew_token(run)) {
			/* It was not the compression. */
			if (on_trial)
				run->plain = false;
			(void)deliver_stop(&verdict, err);
			return refused ? px_err_prefix(err, "even an empty batch is refused") : -1;
		}
	}
	if (on_trial)
		deliver_go_plain(run, true);
	run->blames_items = true;
	return 0;
}

static void
shrink_batches(struct deliver_run *run)
{
	if (run->batch.count > 1)
		run->state->batch_limit = (int64_t)run->batch.count / 2;
}

static void
count_refused(const struct deliver_run *run)
{
	struct px_batch_entry entries[DELIVER_REFUSED_MAX];

	for (size_t i = 0; i < run->refused_count; i++)
		entries[i] = run->refused[i].entry;
	deliver_count_attempt(run, entries, run->refused_count);
}

/* The batch's one item was refused. Whether it is to blame shows when upstream takes another. */
static int
take_refused_item(struct deliver_run *run, const struct deliver_reply *reply, struct px_err *err)
{
	const char *reason = reply->answer.problem[0] != '\0' ? reply->answer.problem : reply->verdict.reason;
	struct deliver_refused *refused = &run->refused[run->refused_count++];

	refused->entry = run->batch.entries[0];
	(void)snprintf(refused->reason, sizeof(refused->reason), "%.*s",
	    (int)px_text_cut(reason, strlen(reason), sizeof(refused->reason) - 1), reason);
	run->suspects = 0;
	if (run->out->succeeded)
		return deliver_quarantine_refused(run, err);
	if (run->refused_count < DELIVER_REFUSED_MAX)
		return 0;
	run->blames_nothing = true;
	count_refused(run);
	return px_err_set(err, PX_LATER, "upstream refuses each of %d items alone and takes none: nothing is blamed, all is "
	    "kept (%s)", DELIVER_REFUSED_MAX, reply->verdict.reason);
}

int
deliver_take_refusal(struct deliver_run *run, const struct deliver_reply *reply, struct px_err *err)
{
	bool is_too_large = reply->reply.status == 413;
	bool was_plain = run->plain;

	if (!run->blames_items) {
		if (deliver_try_empty(run, err) == -1) {
			if (is_too_large)
				shrink_batches(run);
			deliver_count_attempt(run, run->batch.entries, run->batch.count);
			return -1;
		}
		/* It said what this spool replaces, too. */
		if (px_spool_settle(run->job->spool, NULL, 0, run->head.now.wall_ms, run->head.spool.replaces_id[0] != '\0', err) == -1)
			return -1;
	}
	if (run->plain != was_plain)
		return 0;	/* the same items again, now uncompressed */
	if (is_too_large)
		shrink_batches(run);
	if (run->batch.count == 1)
		return take_refused_item(run, reply, err);
	run->suspects = run->batch.count;
	return 0;
}
