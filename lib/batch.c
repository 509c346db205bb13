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
write_items(struct px_buf *out, const char *key, const struct px_buf *items)
{
	px_json_open(out, key, '[');
	px_buf_add(out, items->data, items->len);
	px_json_close(out, ']');
}

static void
write_document(struct px_buf *out, const struct px_batch *batch, const struct px_batch_head *head)
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
	write_items(out, "events", &batch->events);
	write_items(out, "stats", &batch->stats);
	px_json_close(out, '}');
}

static void
fill(char *text, size_t size, char byte)
{
	memset(text, byte, size - 1);
	text[size - 1] = '\0';
}

/*
 * The bytes of the largest envelope that this device can send: counters grow and a last quarantined item comes between
 * here and the writing, so each number has all its digits and the reason is of bytes that JSON escapes at greatest length.
 */
static size_t
largest_head(const struct px_batch_head *head)
{
	const struct px_batch none = { .count = 0 };
	struct px_batch_head largest = *head;
	struct px_spool_facts *facts = &largest.spool;
	struct px_buf out = PX_BUF(SIZE_MAX / 4);
	size_t len;

	largest.now.boot_ms = INT64_MAX;
	facts->recorded = facts->acknowledged = facts->pending = facts->quarantined = facts->dropped = INT64_MAX;
	facts->lost_events = facts->lost_snapshots = INT64_MAX;
	facts->replaces_recorded = facts->replaces_acknowledged = INT64_MAX;
	fill(largest.now.boot_id, sizeof(largest.now.boot_id), 'x');
	fill(facts->id, sizeof(facts->id), 'x');
	fill(facts->last_quarantined_id, sizeof(facts->last_quarantined_id), 'x');
	fill(facts->last_quarantined_reason, sizeof(facts->last_quarantined_reason), '\x01');
	fill(facts->replaces_id, sizeof(facts->replaces_id), 'x');
	write_document(&out, &none, &largest);
	len = out.len;
	px_buf_clear(&out);
	return len;
}

void
px_batch_init(struct px_batch *batch, size_t max_items, size_t max_bytes, const struct px_batch_head *head)
{
	*batch = (struct px_batch){
		.max_items = max_items,
		.max_bytes = max_bytes,
		.events = PX_BUF(SIZE_MAX / 4),
		.stats = PX_BUF(SIZE_MAX / 4),
		.head_bytes = largest_head(head),
	};
}

static size_t
used_bytes(const struct px_batch *batch)
{
	return batch->head_bytes + batch->events.len + batch->stats.len;
}

/* Whether a document of ${len} bytes and a comma have room. */
static bool
fits(const struct px_batch *batch, size_t len)
{
	size_t used = used_bytes(batch);

	return batch->count < batch->max_items && used < batch->max_bytes && len + 1 <= batch->max_bytes - used;
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
	struct px_buf *items = item->kind == PX_EVENT ? &batch->events : &batch->stats;
	size_t len_before = items->len;
	struct px_batch_entry *entry;

	*added = false;
	if (batch->count > 0 && !fits(batch, item->body.len + PX_ITEM_JOIN_MAX))
		return 0;
	if (make_room_for_entry(batch) == -1)
		return px_err_set(err, PX_BUG, "no memory for a batch of %zu items", batch->count + 1);
	if (items->len > 0)
		px_buf_add_byte(items, ',');
	px_item_join(items, item);
	if (px_buf_check(items, "a batch", err) == -1) {
		px_buf_rewind(items, len_before);
		return -1;
	}
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

int
px_batch_write(const struct px_batch *batch, const struct px_batch_head *head, struct px_buf *out, struct px_err *err)
{
	write_document(out, batch, head);
	return px_buf_check(out, "a batch", err);
}

void
px_batch_empty(struct px_batch *batch)
{
	px_buf_rewind(&batch->events, 0);
	px_buf_rewind(&batch->stats, 0);
	batch->count = 0;
}

void
px_batch_clear(struct px_batch *batch)
{
	px_buf_clear(&batch->events);
	px_buf_clear(&batch->stats);
	free(batch->entries);
	batch->entries = NULL;
	batch->count = 0;
	batch->capacity = 0;
}
