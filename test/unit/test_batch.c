/* SPDX-License-Identifier: MIT */
/* The batch: its document byte by byte, and what fits into it. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "batch.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

static struct px_batch_head
a_head(void)
{
	return (struct px_batch_head){
		.now = { .wall_ms = 1795359347123, .boot_ms = 1080123, .boot_id = "0b5e0ac2-7a3b-4a53-9d4e-5f0e0c1d2e3f" },
		.device_id = px_slice("dev \"1\""),
		.device_name = px_slice("vm"),
		.spool = { .id = "3f0d8a5e-5d3c-4c55-9d5e-3a6a3c2b1a00", .recorded = 18, .acknowledged = 12, .pending = 3,
		    .quarantined = 1, .dropped = 1, .lost_events = 1, .lost_snapshots = 0 },
	};
}

#define ITEM_BODY "{\"time\":\"2026-11-22T14:55:47.123Z\",\"topic\":\"cpu\"}"

static struct px_item
an_item(enum px_kind kind, int64_t seq)
{
	struct px_item item = { .kind = kind, .seq = seq, .body = px_slice(ITEM_BODY) };

	(void)snprintf(item.id, sizeof(item.id), "019b7760-0000-7000-8000-%012d", (int)(seq % 1000));
	return item;
}

#define EVENT_1 "{\"id\":\"019b7760-0000-7000-8000-000000000001\",\"seq\":1,\"time\":\"2026-11-22T14:55:47.123Z\",\"topic\":\"cpu\"}"
#define EVENT_3 "{\"id\":\"019b7760-0000-7000-8000-000000000003\",\"seq\":3,\"time\":\"2026-11-22T14:55:47.123Z\",\"topic\":\"cpu\"}"
#define STAT_2 "{\"id\":\"019b7760-0000-7000-8000-000000000002\",\"seq\":2,\"time\":\"2026-11-22T14:55:47.123Z\",\"topic\":\"cpu\"}"

#define HEAD_BOOT "\"boot_id\":\"0b5e0ac2-7a3b-4a53-9d4e-5f0e0c1d2e3f\","
#define HEAD_START "{\"version\":1,\"sent_at\":\"2026-11-22T14:55:47.123Z\","
#define HEAD_DEVICE "\"uptime_ms\":1080123,\"device\":{\"id\":\"dev \\\"1\\\"\",\"name\":\"vm\"},"
#define HEAD_SPOOL "\"spool\":{\"id\":\"3f0d8a5e-5d3c-4c55-9d5e-3a6a3c2b1a00\",\"recorded\":18,\"acknowledged\":12,\"pending\":3," \
	"\"quarantined\":1,\"dropped\":1,\"lost\":{\"events\":1,\"snapshots\":0}"
#define HEAD_LAST ",\"last_quarantined\":{\"id\":\"019b7760-0000-7000-8000-000000000009\",\"reason\":\"no \\\"topic\\\"\"," \
	"\"time\":\"2026-01-01T00:00:00.000Z\"}"
#define HEAD_REPLACES ",\"replaces\":{\"id\":\"11111111-5d3c-4c55-9d5e-3a6a3c2b1a00\",\"recorded\":40,\"acknowledged\":39}"

static void
take(void *out, const void *bytes, size_t len)
{
	px_buf_add(out, bytes, len);
}

static void
writes_the_document(void **state)
{
	static const struct {
		const char *name;
		bool boot_id;
		bool last_quarantined;
		bool replaces;
		bool items;
		const char *document;
	} rows[] = {
		{ "empty", true, false, false, false, HEAD_START HEAD_BOOT HEAD_DEVICE HEAD_SPOOL "},\"events\":[],\"stats\":[]}" },
		{ "no boot id", false, false, false, false, HEAD_START HEAD_DEVICE HEAD_SPOOL "},\"events\":[],\"stats\":[]}" },
		{ "last quarantined", true, true, false, false,
		    HEAD_START HEAD_BOOT HEAD_DEVICE HEAD_SPOOL HEAD_LAST "},\"events\":[],\"stats\":[]}" },
		{ "replaces", true, false, true, false,
		    HEAD_START HEAD_BOOT HEAD_DEVICE HEAD_SPOOL HEAD_REPLACES "},\"events\":[],\"stats\":[]}" },
		{ "all", true, true, true, true, HEAD_START HEAD_BOOT HEAD_DEVICE HEAD_SPOOL HEAD_LAST HEAD_REPLACES
		    "},\"events\":[" EVENT_1 "," EVENT_3 "],\"stats\":[" STAT_2 "]}" },
	};

	(void)state;
	for (size_t i = 0; i < COUNT(rows); i++) {
		struct px_batch_head head = a_head();
		struct px_buf out = PX_BUF(1 << 20);
		struct px_batch batch;
		struct px_err err;

		if (!rows[i].boot_id)
			head.now.boot_id[0] = '\0';
		if (rows[i].last_quarantined) {
			(void)snprintf(head.spool.last_quarantined_id, PX_ID_MAX, "019b7760-0000-7000-8000-000000000009");
			(void)snprintf(head.spool.last_quarantined_reason, PX_REASON_MAX, "no \"topic\"");
			head.spool.last_quarantined_ms = 1767225600000;
		}
		if (rows[i].replaces) {
			(void)snprintf(head.spool.replaces_id, PX_ID_MAX, "11111111-5d3c-4c55-9d5e-3a6a3c2b1a00");
			head.spool.replaces_recorded = 40;
			head.spool.replaces_acknowledged = 39;
		}
		px_batch_init(&batch, 10, 1 << 20, take, &out);
		assert_int_equal(px_batch_begin(&batch, &head, &err), 0);
		for (size_t at = 0; rows[i].items && at < 3; at++) {
			static const int64_t seqs[] = { 1, 3, 2 };
			struct px_item item = an_item(at == 2 ? PX_SNAPSHOT : PX_EVENT, seqs[at]);
			bool added = false;

			assert_int_equal(px_batch_add(&batch, &item, &added, &err), 0);
			assert_true(added);
			assert_int_equal(batch.entries[at].seq, seqs[at]);
			assert_int_equal(batch.entries[at].kind, item.kind);
			assert_string_equal(batch.entries[at].id, item.id);
		}
		px_batch_end(&batch);
		assert_int_equal(batch.len, out.len);
		if (strcmp(px_buf_text(&out), rows[i].document) != 0)
			fail_msg("%s: %s", rows[i].name, px_buf_text(&out));
		px_buf_clear(&out);
		px_batch_clear(&batch);
	}
}

/* The whole JSON stays within the bound, and near it. */
static void
stays_within_its_bytes(void **state)
{
	static const size_t item_bytes[] = { 40, 41, 100, 1000, 4000, 65000 };

	(void)state;
	for (size_t i = 0; i < COUNT(item_bytes); i++) {
		char *body = malloc(item_bytes[i]);
		struct px_item item = an_item(PX_EVENT, 1);
		struct px_batch_head head = a_head();
		struct px_buf out = PX_BUF(1 << 20);
		struct px_batch batch;
		struct px_err err;
		bool added;

		assert_non_null(body);
		memset(body, ' ', item_bytes[i]);
		body[0] = '{';
		body[item_bytes[i] - 1] = '}';
		item.body = (struct px_slice){ body, item_bytes[i] };
		px_batch_init(&batch, 10000, 128 << 10, take, &out);
		assert_int_equal(px_batch_begin(&batch, &head, &err), 0);
		for (item.seq = INT64_MAX - 5000; ; item.seq++) {
			item.kind = batch.len > 64 << 10 ? PX_SNAPSHOT : PX_EVENT;
			assert_int_equal(px_batch_add(&batch, &item, &added, &err), 0);
			if (!added)
				break;
		}
		px_batch_end(&batch);
		if (out.len > 128 << 10 || out.len + item_bytes[i] + PX_ITEM_JOIN_MAX + 100 < 128 << 10)
			fail_msg("items of %zu bytes: %zu of them are a batch of %zu bytes", item_bytes[i], batch.count, out.len);
		px_buf_clear(&out);
		px_batch_clear(&batch);
		free(body);
	}
}

/* The bound is kept to the byte, whatever it is. */
static void
stays_within_its_bytes_to_the_last(void **state)
{
	struct px_item item = an_item(PX_EVENT, INT64_MAX);
	struct px_batch_head head = a_head();
	struct px_buf out = PX_BUF(1 << 20);
	struct px_batch batch;
	struct px_err err;

	(void)state;
	px_batch_init(&batch, 10, 0, take, &out);
	for (batch.max_bytes = 500; batch.max_bytes < 1500; batch.max_bytes++) {
		bool added;

		px_buf_rewind(&out, 0);
		assert_int_equal(px_batch_begin(&batch, &head, &err), 0);
		do {
			assert_int_equal(px_batch_add(&batch, &item, &added, &err), 0);
		} while (added);
		px_batch_end(&batch);
		if (batch.count > 1 && out.len > batch.max_bytes)
			fail_msg("%zu items in %zu bytes, not %zu", batch.count, out.len, batch.max_bytes);
		if (batch.count < batch.max_items && out.len + 2 * sizeof(EVENT_1) < batch.max_bytes)
			fail_msg("only %zu items in %zu bytes, of %zu", batch.count, out.len, batch.max_bytes);
	}
	px_buf_clear(&out);
	px_batch_clear(&batch);
}

/* They are written as they come, and events stand first. */
static void
takes_no_event_behind_a_snapshot(void **state)
{
	struct px_item snapshot = an_item(PX_SNAPSHOT, 1);
	struct px_item event = an_item(PX_EVENT, 2);
	struct px_batch_head head = a_head();
	struct px_buf out = PX_BUF(1 << 20);
	struct px_batch batch;
	struct px_err err;
	bool added;

	(void)state;
	px_batch_init(&batch, 10, 1 << 20, take, &out);
	assert_int_equal(px_batch_begin(&batch, &head, &err), 0);
	assert_int_equal(px_batch_add(&batch, &snapshot, &added, &err), 0);
	assert_true(added);
	assert_int_equal(px_batch_add(&batch, &event, &added, &err), 0);
	assert_false(added);
	assert_int_equal(batch.count, 1);
	px_buf_clear(&out);
	px_batch_clear(&batch);
}

static void
stays_within_its_items(void **state)
{
	struct px_batch_head head = a_head();
	struct px_buf out = PX_BUF(1 << 20);
	struct px_batch batch;
	struct px_err err;

	(void)state;
	px_batch_init(&batch, 500, 1 << 20, take, &out);
	for (int round = 0; round < 2; round++) {
		assert_int_equal(px_batch_begin(&batch, &head, &err), 0);
		assert_int_equal(batch.count, 0);
		for (int64_t seq = 1; seq <= 501; seq++) {
			struct px_item item = an_item(PX_EVENT, seq);
			bool added;

			assert_int_equal(px_batch_is_full(&batch), seq == 501);
			assert_int_equal(px_batch_add(&batch, &item, &added, &err), 0);
			assert_int_equal(added, seq <= 500);
		}
		assert_int_equal(batch.count, 500);
	}
	px_buf_clear(&out);
	px_batch_clear(&batch);
	px_batch_clear(&batch);
}

/* What does not fit beside the envelope goes alone, whatever its size; it never joins others. */
static void
sends_a_large_item_alone(void **state)
{
	size_t large = PX_SNAPSHOT_MAX - PX_ITEM_JOIN_MAX;
	char *body = malloc(large);
	struct px_item small = an_item(PX_EVENT, 1);
	struct px_item item = an_item(PX_SNAPSHOT, 2);
	struct px_batch_head head = a_head();
	struct px_buf out = PX_BUF(8 << 20);
	struct px_batch batch;
	struct px_err err;
	bool added;

	(void)state;
	assert_non_null(body);
	memset(body, ' ', large);
	item.body = (struct px_slice){ body, large };
	px_batch_init(&batch, 500, 128 << 10, take, &out);

	assert_int_equal(px_batch_begin(&batch, &head, &err), 0);
	assert_int_equal(px_batch_add(&batch, &small, &added, &err), 0);
	assert_true(added);
	assert_int_equal(px_batch_add(&batch, &item, &added, &err), 0);
	assert_false(added);
	assert_false(px_batch_is_full(&batch));

	assert_int_equal(px_batch_begin(&batch, &head, &err), 0);
	assert_int_equal(px_batch_add(&batch, &item, &added, &err), 0);
	assert_true(added);
	assert_true(px_batch_is_full(&batch));
	assert_int_equal(px_batch_add(&batch, &small, &added, &err), 0);
	assert_false(added);
	assert_int_equal(batch.count, 1);
	px_buf_clear(&out);
	px_batch_clear(&batch);
	free(body);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(writes_the_document),
		cmocka_unit_test(stays_within_its_bytes),
		cmocka_unit_test(stays_within_its_bytes_to_the_last),
		cmocka_unit_test(stays_within_its_items),
		cmocka_unit_test(sends_a_large_item_alone),
		cmocka_unit_test(takes_no_event_behind_a_snapshot),
	};

	return cmocka_run_group_tests_name("batch", tests, NULL, NULL);
}
