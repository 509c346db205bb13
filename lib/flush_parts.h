/* SPDX-License-Identifier: MIT */
/* Private to the flush's sources: one run, what it takes in, and its snapshot. Everything else includes flush.h. */
#ifndef PX_FLUSH_PARTS_H
#define PX_FLUSH_PARTS_H

#include "flush.h"

/* One run. */
struct flush_run {
	const struct px_flush_job *job;
	struct px_spool *spool;
	struct px_spool_limits limits;
	struct px_now began;
	struct px_spool_history state;
	struct px_delivery delivery;
	bool overflow_waits;		/* there was no room for it */
};

/* How much is left of a timer of the spool; one of another boot becomes one of this. */
int flush_timer_left(const struct flush_run *run, enum px_spool_timer which, int64_t *left_ms,
    struct px_err *err) PX_MUST_CHECK;

/* Starts it now; one without length is not set. */
int flush_start_timer(const struct flush_run *run, enum px_spool_timer which, int64_t length_ms,
    struct px_err *err) PX_MUST_CHECK;

/* Puts a new spool into the place of that at ${path}, and logs ${why} and what came of it. Its lock is held. */
int flush_renew(const struct px_flush_job *job, const char *path, const char *why, struct px_err *err) PX_MUST_CHECK;

/* Sweeps away what lies beside the spool at ${path} and must not, and logs what it was. Its lock is held. */
void flush_sweep(const char *path);

/*
 * Takes in the overflow folder's files, and what recorders without a valid path put into the default place. What can't be
 * taken in now waits, and the log says so.
 */
void flush_take_in(struct flush_run *run);

/* Takes a snapshot when one is due, whatever Monit says or does not say. -1 when it could not be stored. */
int flush_snapshot_when_due(struct flush_run *run, struct px_err *err) PX_MUST_CHECK;

/* Whether the next snapshot is due, the last one's timer being ${last}. */
bool flush_snapshot_is_due(const struct px_flush_job *job, const struct px_timer *last, const struct px_now *now);

#endif
