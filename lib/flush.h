/* SPDX-License-Identifier: MIT */
/*
 * One flush, in order: take in overflow, take a snapshot when one is due, deliver while due, remember how it went. Knows
 * no curl and no Monit: it is given functions that post and that ask.
 */
#ifndef PX_FLUSH_H
#define PX_FLUSH_H

#include <stdbool.h>

#include "config.h"
#include "deliver.h"
#include "record.h"
#include "world.h"

struct px_flush_job {
	const struct px_config *config;
	const struct px_device *device;
	const struct px_world *world;
	px_offset_fn *offset;			/* the device's time zone */
	const struct px_upstream *upstream;	/* NULL: no URL yet */
	/* Asks Monit for its status; -1 with why it can't. */
	int (*ask)(void *arg, struct px_buf *text, struct px_err *err);
	void *ask_arg;
	struct px_record_job store;		/* where the spool is and how it is made */
	const char *fallback_spool;		/* where recorders without a valid path put events; NULL: nowhere else */
	bool now;				/* whatever interval and back-off say */
	bool takes_snapshot;
	void (*progress)(void *arg, int64_t settled, int64_t left);
	void *progress_arg;
};

/* What a run did. */
struct px_flush_result {
	int64_t acknowledged;
	int64_t quarantined;
	bool is_told;	/* the error was told already, or is told at other times: say nothing */
};

/*
 * Does one run, whose caller holds the flush lock and has the identity of the spool folder's owner. Returns 0 when all
 * went well or nothing was due, else -1 with what stopped the run.
 */
int px_flush(const struct px_flush_job *job, struct px_flush_result *result, struct px_err *err) PX_MUST_CHECK;

/*
 * Remembers a run that ended before it could begin, so that px-status tells of it; the back-off stays as it is. -1 when
 * the spool can't be written.
 */
int px_flush_note_failure(const struct px_flush_job *job, const struct px_err *why, struct px_err *err) PX_MUST_CHECK;

/*
 * How long a scheduled run is to wait before it takes the lock: 0, or its device's share of the splay when it is about to
 * post and no event waits.
 */
int64_t px_flush_splay_ms(const struct px_flush_job *job);

/* Calls ${each} with the bodies that a run would post now. Changes and creates nothing. */
int px_flush_dry(const struct px_flush_job *job, void (*each)(void *arg, struct px_slice body), void *arg,
    struct px_err *err)
    PX_MUST_CHECK;

#endif
