/* SPDX-License-Identifier: MIT */
/* `px-status stats` in its three forms: for a person, as JSON, and for Prometheus' textfile collector. */
#ifndef STATS_H
#define STATS_H

#include "spool.h"

/* Everything there is to tell of a spool at one time. */
struct stats {
	struct px_now now;
	const char *path;
	bool exists;
	struct px_spool_facts facts;
	struct px_spool_history history;
	struct px_timer retry;
	int64_t oldest_pending_ms;	/* 0: none */
	int64_t overflow;
	int64_t bytes;
	struct px_spool_run runs[PX_RUNS_KEPT];	/* the newest first */
	size_t run_count;
};

/* Reads all of it; ${spool} is NULL for a spool that does not exist yet. -1 with the spool's error. */
int stats_read(struct stats *stats, const char *path, struct px_spool *spool, struct px_err *err) PX_MUST_CHECK;

/* When the next try is due; 0 when nothing holds it back. */
int64_t stats_next_try_ms(const struct stats *stats);

/* The age of the oldest pending item, by a clock that may have jumped; never negative. */
int64_t stats_oldest_pending_s(const struct stats *stats);

/* Each prints to stdout; the first looks at the items of ${spool} once more. -1 with the spool's error. */
int stats_print(const struct stats *stats, struct px_spool *spool, struct px_err *err) PX_MUST_CHECK;
void stats_print_prometheus(const struct stats *stats);

/* Appends one line of JSON and its '\n'. */
void stats_write_json(const struct stats *stats, struct px_buf *out);

#endif
