/* SPDX-License-Identifier: MIT */
/*
 * Private to delivery's sources: one run, what a reply settles, and the two kinds of suspicion against an item: upstream
 * refuses it, or fails on it. Everything else includes deliver.h.
 */
#ifndef PX_DELIVER_PARTS_H
#define PX_DELIVER_PARTS_H

#include "deliver.h"
#include "pack.h"
#include "payload.h"

#define DELIVER_REFUSED_MAX 16	/* refused alone with nothing acknowledged: the fault is not the items' */

/* An item that was refused when it stood alone, and why. */
struct deliver_refused {
	struct px_batch_entry entry;
	char reason[PX_REASON_MAX];
};

/* One run. */
struct deliver_run {
	const struct px_delivery_job *job;
	struct px_spool_history *state;
	struct px_delivery *out;

	struct px_batch batch;
	struct px_pack pack;		/* the body, made as the batch is */
	struct px_batch_head head;	/* of the last batch */

	size_t suspects;		/* the first so many pending items are known to hold one that upstream refuses */
	size_t stuck_left;		/* the first so many are what is left of a batch on which upstream failed */
	bool blames_items;		/* an empty batch was acknowledged after a refusal */
	bool blames_nothing;		/* too many were refused alone */
	bool plain;			/* bodies go out uncompressed */
	struct deliver_refused refused[DELIVER_REFUSED_MAX];	/* not yet in quarantine */
	size_t refused_count;
};

/* A reply to one batch and what it means. */
struct deliver_reply {
	struct px_reply reply;
	struct px_answer answer;
	struct px_verdict verdict;
};

/* Begins a batch, and its body with it, with the counters of this moment. */
int deliver_begin_batch(struct deliver_run *run, struct px_batch *batch, struct px_err *err) PX_MUST_CHECK;

/*
 * Ends and posts the ${batch} that was begun; ${out} is what came back and what it means, empty at first, cleared by
 * the caller in every case. -1 when no reply of any kind could help.
 */
int deliver_post(struct deliver_run *run, struct px_batch *batch, struct deliver_reply *out, struct px_err *err)
    PX_MUST_CHECK;
void deliver_reply_clear(struct deliver_reply *reply);

/* Fetches new credentials, where that is still to be done. Returns whether there are some. */
bool deliver_renew_token(struct deliver_run *run);

/* Whether bodies go out compressed; and not from here on, for a day when ${for_good}, else as a trial. */
bool deliver_compresses(const struct deliver_run *run);
void deliver_go_plain(struct deliver_run *run, bool for_good);

/* Counts one more attempt for each of ${count} items. */
void deliver_count_attempt(const struct deliver_run *run, const struct px_batch_entry *entries, size_t count);

/* Sets ${err} to what a run ends with by ${verdict}; always -1. */
int deliver_stop(const struct px_verdict *verdict, struct px_err *err);

/* Upstream holds the batch, but for what ${answer} names as rejected. */
int deliver_settle(struct deliver_run *run, const struct px_answer *answer, struct px_err *err) PX_MUST_CHECK;

/* Puts those that were refused alone into quarantine. */
int deliver_quarantine_refused(struct deliver_run *run, struct px_err *err) PX_MUST_CHECK;

/*
 * Before the first item of a run is blamed: is it the items at all? Posts an empty batch, with a new token and
 * uncompressed where that may help. 0 when it was acknowledged, -1 with what the run ends with.
 */
int deliver_try_empty(struct deliver_run *run, struct px_err *err) PX_MUST_CHECK;

/* The batch was refused for something in it: 400, 413, 422. -1 with what the run ends with. */
int deliver_take_refusal(struct deliver_run *run, const struct deliver_reply *reply, struct px_err *err) PX_MUST_CHECK;
bool deliver_is_refused(const struct deliver_run *run, int64_t seq);

/*
 * No item keeps others waiting. A batch on whose first item upstream failed in several runs, with 5xx or a time-out, is
 * halved in the next ones; what is left of it once a half went well is as suspect as it was. An item on which upstream
 * fails alone goes behind all others.
 */
int deliver_stuck_failed(struct deliver_run *run, struct px_err *err) PX_MUST_CHECK;
void deliver_stuck_went_well(struct deliver_run *run);
void deliver_stuck_forget(struct deliver_run *run);

/*
 * How many items a batch that begins with item ${seq} may have for that: at most ${limit}, which is what it may have
 * else.
 */
size_t deliver_stuck_limit(struct deliver_run *run, int64_t seq, size_t limit);

#endif
