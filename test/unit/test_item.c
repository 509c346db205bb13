/* SPDX-License-Identifier: MIT */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "item.h"

#define COUNT_OF(array) (sizeof(array) / sizeof((array)[0]))

static void
ids_of_version_7_have_time_version_and_variant(void **state)
{
	static const struct {
		int64_t wall_ms;
		uint8_t random;
		const char *id;
	} rows[] = {
		/* The example of RFC 9562, appendix A.6, has this time. */
		{ INT64_C(0x017f22e279b0), 0x00, "017f22e2-79b0-7000-8000-000000000000" },
		{ INT64_C(0x017f22e279b0), 0xff, "017f22e2-79b0-7fff-bfff-ffffffffffff" },
		{ INT64_C(0x017f22e279b0), 0x5a, "017f22e2-79b0-7a5a-9a5a-5a5a5a5a5a5a" },
		{ 0, 0x00, "00000000-0000-7000-8000-000000000000" },
		{ -1, 0x00, "00000000-0000-7000-8000-000000000000" },
		{ (INT64_C(1) << 48) - 1, 0x00, "ffffffff-ffff-7000-8000-000000000000" },
	};

	(void)state;
	for (size_t i = 0; i < COUNT_OF(rows); i++) {
		uint8_t random[10];
		char id[PX_ID_MAX];

		memset(random, rows[i].random, sizeof(random));
		px_id_v7(id, rows[i].wall_ms, random);
		assert_string_equal(id, rows[i].id);
		assert_true(px_id_is_valid(px_slice(id)));
	}
}

static void
ids_of_version_7_use_each_random_byte_and_sort_by_time(void **state)
{
	char before[PX_ID_MAX];
	uint8_t zero[10] = { 0 };

	(void)state;
	px_id_v7(before, 1000, zero);
	for (size_t i = 0; i < sizeof(zero); i++) {
		uint8_t random[10] = { 0 };
		char id[PX_ID_MAX];

		random[i] = 0x01;
		px_id_v7(id, 1000, random);
		assert_string_not_equal(id, before);
		px_id_v7(id, 1001, zero);
		assert_true(strcmp(id, before) > 0);
	}
}

static void
ids_of_version_4_have_version_and_variant(void **state)
{
	uint8_t random[16];
	char id[PX_ID_MAX];

	(void)state;
	memset(random, 0xff, sizeof(random));
	px_id_v4(id, random);
	assert_string_equal(id, "ffffffff-ffff-4fff-bfff-ffffffffffff");
	for (size_t i = 0; i < sizeof(random); i++)
		random[i] = (uint8_t)(i * 0x11);
	px_id_v4(id, random);
	assert_string_equal(id, "00112233-4455-4677-8899-aabbccddeeff");
}

static void
only_uuids_as_we_write_them_are_valid(void **state)
{
	static const struct {
		const char *text;
		bool valid;
	} rows[] = {
		{ "017f22e2-79b0-7000-8000-000000000000", true },
		{ "", false },
		{ "017f22e2-79b0-7000-8000-00000000000", false },
		{ "017f22e2-79b0-7000-8000-0000000000000", false },
		{ "017F22E2-79b0-7000-8000-000000000000", false },
		{ "017f22e2079b0-7000-8000-000000000000", false },
		{ "017f22e-279b0-7000-8000-000000000000", false },
		{ "017f22e2-79b0-7000-8000-00000000000g", false },
		{ "{17f22e2-79b0-7000-8000-00000000000}", false },
		{ "017f22e2-79b0-7000-8000-00000000000/", false },
	};

	(void)state;
	for (size_t i = 0; i < COUNT_OF(rows); i++)
		if (px_id_is_valid(px_slice(rows[i].text)) != rows[i].valid)
			fail_msg("'%s'", rows[i].text);
}

static void
documents_begin_with_id_seq_and_time(void **state)
{
	static const struct {
		int64_t seq;
		const char *boot_id;
		const char *document;
	} rows[] = {
		{ 17, "b", "{\"id\":\"017f22e2-79b0-7000-8000-000000000000\",\"seq\":17,\"time\":\"2026-11-22T14:55:47.123Z\","
		    "\"boot_id\":\"b\",\"uptime_ms\":5,\"x\":1}" },
		{ 0, "b", "{\"id\":\"017f22e2-79b0-7000-8000-000000000000\",\"time\":\"2026-11-22T14:55:47.123Z\","
		    "\"boot_id\":\"b\",\"uptime_ms\":5,\"x\":1}" },
		{ INT64_MAX, "", "{\"id\":\"017f22e2-79b0-7000-8000-000000000000\",\"seq\":9223372036854775807,"
		    "\"time\":\"2026-11-22T14:55:47.123Z\",\"uptime_ms\":5,\"x\":1}" },
	};

	(void)state;
	for (size_t i = 0; i < COUNT_OF(rows); i++) {
		struct px_now made = { .wall_ms = INT64_C(1795359347123), .boot_ms = 5 };
		struct px_item item = { .id = "017f22e2-79b0-7000-8000-000000000000", .seq = rows[i].seq };
		struct px_buf body = PX_BUF(1000);
		struct px_buf out = PX_BUF(1000);

		memcpy(made.boot_id, rows[i].boot_id, strlen(rows[i].boot_id));
		px_item_begin(&body, &made);
		px_buf_add_text(&body, ",\"x\":1}");
		item.body = (struct px_slice){ body.data, body.len };
		px_item_join(&out, &item);
		assert_string_equal(px_buf_text(&out), rows[i].document);
		assert_true(out.len - body.len <= PX_ITEM_JOIN_MAX);
		px_buf_clear(&body);
		px_buf_clear(&out);
	}
}

static void
kinds_have_names(void **state)
{
	(void)state;
	assert_string_equal(px_kind_name(PX_EVENT), "event");
	assert_string_equal(px_kind_name(PX_SNAPSHOT), "snapshot");
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(ids_of_version_7_have_time_version_and_variant),
		cmocka_unit_test(ids_of_version_7_use_each_random_byte_and_sort_by_time),
		cmocka_unit_test(ids_of_version_4_have_version_and_variant),
		cmocka_unit_test(only_uuids_as_we_write_them_are_valid),
		cmocka_unit_test(documents_begin_with_id_seq_and_time),
		cmocka_unit_test(kinds_have_names),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
