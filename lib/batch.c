/* SPDX-License-Identifier: MIT */
#include "batch.h"

#include <stdlib.h>
#include <string.h>

#include "json.h"

#define FIRST_CAPACITY 64

static void
write_facts(struct px_buf *out, const struct px_spool_facts *facts)
{
	char time[PX_RFC3339_MAX];

	px_json_open(out, "spool", '{');
	px_json_text(out, "id", facts->id);
	px_json_int(out, "recorded", facts->recorded);
	px_json_int(out, "acknowledged", facts->acknowledged);
	px_json_int(out, "pending", facts->pending);
	px_json_int(out, "quarantined", facts->quarantined);
	px_json_int(out, "dropped", facts->dropped);
	px_json_open(out, "lost", '{');
	px_json_int(out, "events", facts->lost_events);
	px_json_int(out, "snapshots", facts->lost_snapshots);
	px_json_close(out, '}');
	if (facts->last_quarantined_id[0] != '\0') {
		px_text_time_ms(time, facts->last_quarantined_ms);
		px_json_open(out, "last_quarantined", '{');
		px_json_text(out, "id", facts->last_quarantined_id);
		px_json_text(out, "reason", facts->last_quarantined_reason);
		px_json_text(out, "time", time);
		px_json_close(out, '}');
	}
	if (facts->replaces_id[0] != '\0') {
		px_json_open(out, "replaces", '{');
		px_json_text(out, "id", facts->replaces_id);
		px_json_int(out, "recorded", facts->replaces_recorded);
		px_json_int(out, "acknowledged", facts->replaces_acknowledged);
		px_json_close(out, '}');
	}
	px_json_close(out, '}');
}

static void
write_head(struct px_buf *out, const struct px_batch_head *head)
{
	char time[PX_RFC3339_MAX];

	px_text_time_ms(time, head->now.wall_ms);
	px_json_open(out, NULL, '{');
	px_json_int(out, "version", 1);
	px_json_text(out, "sent_at", time);
	if (head->now.boot_id[0] != '\0')
		px_json_text(out, "boot_id", head->now.boot_id);
	px_json_int(out, "uptime_ms", head->now.boot_ms);
	px_json_open(out, "device", '{');
	px_json_slice(out, "id", head->device_id);
	px_json_slice(out, "name", head->device_name);
	px_json_close(out, '}');
	write_facts(out, &head->spool);
	px_json_open(out, "events", '[');
}

static const char between_arrays[] = "],\"stats\":[";
static const char after_arrays[] = "]}";

static void
take(struct px_batch *batch, const void *bytes, size_t len)
{
	batch->take(batch->take_arg, bytes, len);
	batch->len += len;
}

void
px_batch_init(struct px_batch *batch, size_t max_items, size_t max_bytes, px_batch_take_fn *take_fn, void *arg)
{
	*batch = (struct px_batch){
		.max_items = max_items,
		.max_bytes = max_bytes,
		.take = take_fn,
		.take_arg = arg,
		.part = PX_BUF(SIZE_MAX / 4),
	};
}

int
px_batch_begin(struct px_batch *batch, const struct px_batch_head *head, struct px_err *err)
{
	batch->count = 0;
	batch->len = 0;
	batch->array_count = 0;
	batch->has_snapshots = false;
	px_buf_rewind(&batch->part, 0);
	write_head(&batch->part, head);
	if (px_buf_check(&batch->part, "a batch", err) == -1)
		return -1;
	take(batch, batch->part.data, batch->part.len);
	return 0;
}

/* Whether a document of ${len} bytes and a comma have room. */
static bool
fits(const struct px_batch *batch, size_t len)
{
	size_t used = batch->len + sizeof(between_arrays) - 1 + sizeof(after_arrays) - 1;

	return batch->count < batch->max_items && used < batch->max_bytes && len + 1 <= batch->max_bytes - used;
}

static void
begin_snapshots(struct px_batch *batch)
{
	take(batch, between_arrays, sizeof(between_arrays) - 1);
	batch->has_snapshots = true;
	batch->array_count = 0;
}

static int
make_room_for_entry(struct px_batch *batch)
{
	size_t capacity = batch->capacity > 0 ? batch->capacity * 2 : FIRST_CAPACITY;
	struct px_batch_entry *entries;

	if (batch->count < batch->capacity)
		return 0;
	entries = reallocarray(batch->entries, capacity, sizeof(*entries));
	if (entries == NULL)
		return -1;
	batch->entries = entries;
	batch->capacity = capacity;
	return 0;
}

int
px_batch_add(struct px_batch *batch, const struct px_item *item, bool *added, struct px_err *err)
{
	struct px_batch_entry *entry;

	*added = false;
	if (batch->count > 0 && !fits(batch, item->body.len + PX_ITEM_JOIN_MAX))
		return 0;
	if (batch->has_snapshots && item->kind == PX_EVENT)
		return 0;
	if (make_room_for_entry(batch) == -1)
		return px_err_set(err, PX_BUG, "no memory for a batch of %zu %s", batch->count + 1,
		    px_text_plural((int64_t)batch->count + 1, "item", "items"));
	if (!batch->has_snapshots && item->kind == PX_SNAPSHOT)
		begin_snapshots(batch);
	px_buf_rewind(&batch->part, 0);
	if (batch->array_count++ > 0)
		px_buf_add_byte(&batch->part, ',');
	px_item_join_head(&batch->part, item);
	if (px_buf_check(&batch->part, "a batch", err) == -1)
		return -1;
	take(batch, batch->part.data, batch->part.len);
	take(batch, item->body.ptr + 1, item->body.len - 1);
	entry = &batch->entries[batch->count++];
	*entry = (struct px_batch_entry){ .seq = item->seq, .kind = item->kind };
	memcpy(entry->id, item->id, sizeof(entry->id));
	*added = true;
	return 0;
}

bool
px_batch_is_full(const struct px_batch *batch)
{
	return batch->count > 0 && !fits(batch, PX_ITEM_JOIN_MAX);
}

void
px_batch_end(struct px_batch *batch)
{
	if (!batch->has_snapshots)
		begin_snapshots(batch);
	take(batch, after_arrays, sizeof(after_arrays) - 1);
}

void
px_batch_clear(struct px_batch *batch)
{
	px_buf_clear(&batch->part);
	free(batch->entries);
	batch->entries = NULL;
	batch->count = 0;
	batch->capacity = 0;
}
