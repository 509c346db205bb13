/* SPDX-License-Identifier: MIT */
/* What a reply settles: items that upstream holds leave the spool, those that it refuses go into quarantine. */
#include <stdlib.h>
#include <string.h>

#include "deliver_parts.h"
#include "log.h"

#define UNKNOWN_LOGGED_MAX 10	/* ids of a reply that are not of its batch: a log is not for upstream to fill */

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
	const struct px_batch_entry **by_id;
	size_t unknown = 0;

	if (answer->rejected_count == 0)
		return 0;
	by_id = calloc(batch->count + 1, sizeof(struct px_batch_entry *));
	if (by_id == NULL)
		return px_err_set(err, PX_BUG, "no memory for a batch of %zu %s", batch->count,
		    px_text_plural((int64_t)batch->count, "item", "items"));
	for (size_t i = 0; i < batch->count; i++)
		by_id[i] = &batch->entries[i];
	qsort(by_id, batch->count, sizeof(struct px_batch_entry *), compare_entries);
	for (size_t i = 0; i < answer->rejected_count; i++) {
		const struct px_rejection *rejection = &answer->rejected[i];
		const struct px_batch_entry **entry =
		    bsearch(rejection->id, by_id, batch->count, sizeof(struct px_batch_entry *), compare_id);

		if (entry == NULL && unknown++ < UNKNOWN_LOGGED_MAX)
			px_log(PX_WARNING, "upstream rejects '%s', which is not in the batch: ignored", rejection->id);
		else if (entry != NULL)
			settled[*entry - batch->entries].reason = rejection->reason;
	}
	free(by_id);
	if (unknown > UNKNOWN_LOGGED_MAX)
		px_log(PX_WARNING, "upstream rejects %zu more that are not in the batch: ignored", unknown - UNKNOWN_LOGGED_MAX);
	return 0;
}

int
deliver_quarantine_refused(struct deliver_run *run, struct px_err *err)
{
	struct px_settled settled[DELIVER_REFUSED_MAX];
	size_t count = run->refused_count;

	if (count == 0)
		return 0;
	for (size_t i = 0; i < count; i++) {
		const struct deliver_refused *refused = &run->refused[i];

		settled[i] = (struct px_settled){ refused->entry.seq, refused->entry.kind, refused->reason };
		px_log(PX_WARNING, "%s %s is quarantined: %s", px_kind_name(refused->entry.kind), refused->entry.id, refused->reason);
	}
	if (px_spool_settle(run->job->spool, settled, count, run->head.now.wall_ms, false, err) == -1)
		return -1;
	run->refused_count = 0;
	run->out->quarantined += (int64_t)count;
	return 0;
}

int
deliver_settle(struct deliver_run *run, const struct px_answer *answer, struct px_err *err)
{
	const struct px_batch *batch = &run->batch;
	struct px_settled *settled = calloc(batch->count + 1, sizeof(*settled));
	int64_t rejected = 0;
	int rc = -1;

	if (settled == NULL)
		return px_err_set(err, PX_BUG, "no memory for a batch of %zu %s", batch->count,
		    px_text_plural((int64_t)batch->count, "item", "items"));
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
