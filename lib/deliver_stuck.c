/* SPDX-License-Identifier: MIT */
/* Items on which upstream fails, as far as that can be told from batches. */
#include "deliver_parts.h"
#include "log.h"

#define STUCK_RUNS 3		/* runs in a row that failed on the same first item */

void
deliver_stuck_forget(struct deliver_run *run)
{
	run->state->stuck_seq = 0;
	run->state->stuck_runs = 0;
	run->state->stuck_limit = 0;
	run->stuck_left = 0;
}

int
deliver_stuck_failed(struct deliver_run *run, struct px_err *err)
{
	struct px_spool_history *state = run->state;
	const struct px_batch_entry *first = &run->batch.entries[0];

	if (state->stuck_seq != first->seq) {
		deliver_stuck_forget(run);
		state->stuck_seq = first->seq;
	}
	if (state->stuck_runs >= STUCK_RUNS && run->batch.count == 1) {
		px_log(PX_WARNING, "%s %s goes behind all others: upstream fails on it", px_kind_name(first->kind), first->id);
		deliver_stuck_forget(run);
		return px_spool_defer(run->job->spool, first->seq, err);
	}
	if (++state->stuck_runs >= STUCK_RUNS)
		state->stuck_limit = run->batch.count > 1 ? (int64_t)run->batch.count / 2 : 1;
	return 0;
}

void
deliver_stuck_went_well(struct deliver_run *run)
{
	/* The batch that failed had twice as many, or one more. */
	size_t suspects = 2 * (size_t)run->state->stuck_limit + 1;
	size_t count = run->batch.count;

	if (run->batch.entries[0].seq != run->state->stuck_seq)
		return;
	if (run->stuck_left > 0)
		suspects = run->stuck_left;
	deliver_stuck_forget(run);
	run->stuck_left = suspects > count && suspects > 1 ? suspects - count : 0;
}

size_t
deliver_stuck_limit(struct deliver_run *run, int64_t seq, size_t limit)
{
	struct px_spool_history *state = run->state;

	if (run->stuck_left > 0 && state->stuck_seq == 0) {
		state->stuck_seq = seq;
		state->stuck_runs = STUCK_RUNS;
		state->stuck_limit = (int64_t)(run->stuck_left + 1) / 2;
	}
	if (state->stuck_limit > 0 && seq == state->stuck_seq && (size_t)state->stuck_limit < limit)
		return (size_t)state->stuck_limit;
	return limit;
}
