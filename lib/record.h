/* SPDX-License-Identifier: MIT */
/* Stores one event where it survives power loss: the spool, else the overflow folder, else syslog. */
#ifndef PX_RECORD_H
#define PX_RECORD_H

#include "item.h"
#include "spool.h"

/*
 * Behind the spool's name: an empty file that says that an event was recorded since somebody took it away. It is for what
 * starts the flush; nothing here reads it, and no promise depends on it.
 */
#define PX_RECORD_MARK_SUFFIX "-recorded"

enum px_stored { PX_STORED_IN_SPOOL, PX_STORED_IN_OVERFLOW, PX_STORED_IN_SYSLOG };

/* Fills ${birth} for a spool that is to be made; what it points to lives as long as ${arg}. -1 with an error. */
typedef int px_birth_fn(void *arg, struct px_spool_birth *birth, struct px_err *err);

struct px_record_job {
	const char *spool_path;
	struct px_spool_limits limits;
	int64_t wait_ms;		/* for other recorders and the flush, at most */
	px_birth_fn *birth;		/* called only when there is no spool yet */
	void *birth_arg;
};

/*
 * Stores ${item}, an event with its document's body; ${document} is the whole of it without seq. The log says why it is
 * not in the spool. Where it is in the spool or in overflow, the mark is left that it was recorded. -1 with PX_STORAGE
 * when it is in syslog at most; ${where} is set in every case.
 */
int px_record(const struct px_record_job *job, struct px_item *item, struct px_slice document, enum px_stored *where,
    struct px_err *err) PX_MUST_CHECK;

/* Opens the spool of ${job} for ${use}, making it when there is none. -1 with the spool's error. */
int px_record_open_spool(const struct px_record_job *job, enum px_spool_use use, struct px_spool **out, struct px_err *err)
    PX_MUST_CHECK;

#endif
