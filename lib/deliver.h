/* SPDX-License-Identifier: MIT */
/*
 * Posts what the spool holds, batch after batch, and settles every item by upstream's word. Knows no curl: it is given a
 * function that posts. Each reply is acted on before the next batch is made; what was settled stays settled whatever
 * comes after.
 */
#ifndef PX_DELIVER_H
#define PX_DELIVER_H

#include <stdbool.h>
#include <stdint.h>

#include "spool.h"
#include "verdict.h"
#include "world.h"

/* How upstream is reached. */
struct px_upstream {
	/*
	 * Posts one body, compressed or not; whatever comes back is in ${reply}. -1 only when no reply of any kind
	 * could help.
	 */
	int (*post)(void *arg, struct px_slice body, bool is_gzip, struct px_reply *reply, struct px_err *err);
	/*
	 * Fetches new credentials, and sets itself to NULL: once is enough for a run, however often it delivers. Returns 0
	 * when there are other ones than before, -1 otherwise. NULL: there are none.
	 */
	int (*renew_token)(void *arg, struct px_err *err);
	void *arg;
	bool compresses;		/* bodies, unless it turns out that they are not taken so */
	/* Overwrites what upstream's ${text} has of our secrets, which it may have said back. NULL: there are none. */
	void (*hide)(void *arg, char *text);
};

struct px_delivery_job {
	struct px_spool *spool;
	const struct px_world *world;
	const struct px_upstream *upstream;
	struct px_slice device_id;
	struct px_slice device_name;
	bool plain;			/* upstream does not take compressed bodies, as an earlier run found out */
	size_t max_items;
	size_t max_bytes;
	int64_t last_snapshot;		/* seq up to which snapshots are posted */
	int64_t run_limit_ms;
	/* Called after each acknowledged batch with what is settled and what is left; NULL is fine. */
	void (*progress)(void *arg, int64_t settled, int64_t left);
	void *progress_arg;
};

struct px_delivery {
	bool posted;			/* upstream was tried */
	bool succeeded;			/* it took a batch that was not empty, though it may have rejected all of it */
	int64_t acknowledged;		/* items */
	int64_t quarantined;
	bool went_plain;		/* upstream does not take compressed bodies */
	int64_t retry_after_ms;		/* upstream's wish, -1: none */
};

/*
 * Delivers until nothing is left, something stops it, or ${run_limit_ms} are over, a batch at least. ${state} is the
 * spool's memory of earlier runs (batch size, an item that upstream fails on); it is changed and the caller stores it.
 * Returns 0, or -1 with what stopped it: PX_LATER, PX_DENIED, PX_CONFIG, PX_STORAGE, PX_BUG. ${out} is filled in every
 * case.
 */
int px_deliver(const struct px_delivery_job *job, struct px_spool_history *state, struct px_delivery *out,
    struct px_err *err)
    PX_MUST_CHECK;

/*
 * Posts one empty batch; nothing is settled. ${job}'s spool may be NULL: one that does not exist yet. 0 when upstream
 * acknowledged it, -1 with what it says instead.
 */
int px_deliver_probe(const struct px_delivery_job *job, struct px_err *err) PX_MUST_CHECK;

/* Calls ${each} with every body that a run would post now if all of them were acknowledged. Changes nothing. */
int px_deliver_dry(const struct px_delivery_job *job, void (*each)(void *arg, struct px_slice body), void *arg,
    struct px_err *err) PX_MUST_CHECK;

#endif
