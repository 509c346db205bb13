/* SPDX-License-Identifier: MIT */
/*
 * A batch: the envelope with device, spool and counters, and items joined as bytes, written as they come, so that nobody
 * has to hold it whole. Pure. The order of filling is the caller's; what fits is decided here.
 */
#ifndef PX_BATCH_H
#define PX_BATCH_H

#include <stdbool.h>
#include <stddef.h>

#include "item.h"

#define PX_REASON_MAX 512

/* The counters and marks of a spool, see "What the spool promises" in px-status(7). */
struct px_spool_facts {
	char id[PX_ID_MAX];
	int64_t recorded;	/* = acknowledged + pending + quarantined + dropped + lost_events + lost_snapshots */
	int64_t acknowledged;
	int64_t pending;
	int64_t quarantined;
	int64_t dropped;
	int64_t lost_events;
	int64_t lost_snapshots;

	char last_quarantined_id[PX_ID_MAX];	/* "" when there is none */
	char last_quarantined_reason[PX_REASON_MAX];
	int64_t last_quarantined_ms;

	char replaces_id[PX_ID_MAX];		/* "" when there is none, or upstream knows of it */
	int64_t replaces_recorded;
	int64_t replaces_acknowledged;
};

struct px_batch_head {
	struct px_now now;
	struct px_slice device_id;	/* valid UTF-8 */
	struct px_slice device_name;
	struct px_spool_facts spool;
};

struct px_batch_entry {
	int64_t seq;
	enum px_kind kind;
	char id[PX_ID_MAX];
};

/* Takes the next bytes of a document. */
typedef void px_batch_take_fn(void *arg, const void *bytes, size_t len);

struct px_batch {
	size_t max_items;
	size_t max_bytes;			/* of the whole JSON */
	px_batch_take_fn *take;
	void *take_arg;
	struct px_buf part;			/* owned: what goes before and after the items */
	struct px_batch_entry *entries;		/* owned; in the order of adding */
	size_t count;
	size_t capacity;
	size_t len;				/* of the document so far */
	size_t array_count;			/* items in the array that is open */
	bool has_snapshots;			/* that array is the second */
};

/* A batch whose documents go to ${take}, none begun yet. Frees nothing: see px_batch_clear. */
void px_batch_init(struct px_batch *batch, size_t max_items, size_t max_bytes, px_batch_take_fn *take, void *arg);

/* Begins a document with the envelope, whatever became of the one before. -1 only for want of memory. */
int px_batch_begin(struct px_batch *batch, const struct px_batch_head *head, struct px_err *err) PX_MUST_CHECK;

/*
 * Adds ${item} when it fits, or when it is the first: an item that does not fit beside the envelope goes alone. No event
 * fits behind a snapshot. Sets ${added}. -1 only for want of memory.
 */
int px_batch_add(struct px_batch *batch, const struct px_item *item, bool *added, struct px_err *err) PX_MUST_CHECK;

/* Whether nothing more may be added, whatever its size. */
bool px_batch_is_full(const struct px_batch *batch);

/* Ends the document; its entries stay until the next one begins. */
void px_batch_end(struct px_batch *batch);

void px_batch_clear(struct px_batch *batch);

#endif
