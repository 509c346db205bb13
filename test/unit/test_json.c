/* SPDX-License-Identifier: MIT */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <float.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "json.h"

#define COUNT_OF(array) (sizeof(array) / sizeof((array)[0]))

static void
commas_and_colons_are_in_their_places(void **state)
{
	struct px_buf out = PX_BUF(1000);

	(void)state;
	px_json_open(&out, NULL, '{');
	px_json_open(&out, "empty", '{');
	px_json_close(&out, '}');
	px_json_open(&out, "list", '[');
	px_json_open(&out, NULL, '[');
	px_json_close(&out, ']');
	px_json_int(&out, NULL, 1);
	px_json_null(&out, NULL);
	px_json_text(&out, NULL, "[");
	px_json_text(&out, NULL, "{");
	px_json_open(&out, NULL, '{');
	px_json_bool(&out, "a", true);
	px_json_bool(&out, "b", false);
	px_json_close(&out, '}');
	px_json_close(&out, ']');
	px_json_text(&out, "text", NULL);
	px_json_key(&out, (struct px_slice){ "a\0b", 3 });
	px_json_double(&out, NULL, 0.5);
	px_json_raw(&out, "raw", "[1,2]xx", 5);
	px_json_slice(&out, "slice", (struct px_slice){ "abc", 2 });
	px_json_close(&out, '}');
	px_buf_add_byte(&out, '\n');
	px_json_open(&out, NULL, '[');
	px_json_close(&out, ']');
	assert_string_equal(px_buf_text(&out),
	    "{\"empty\":{},\"list\":[[],1,null,\"[\",\"{\",{\"a\":true,\"b\":false}],\"text\":null,"
	    "\"a\\u0000b\":0.5,\"raw\":[1,2],\"slice\":\"ab\"}\n[]");
	px_buf_clear(&out);
}

static void
every_byte_that_must_be_escaped_is(void **state)
{
	(void)state;
	for (int byte = 0; byte < 0x80; byte++) {
		struct px_buf out = PX_BUF(100);
		char text = (char)byte;
		char wanted[16];

		switch (byte) {
		case '\b':
			memcpy(wanted, "\"\\b\"", 5);
			break;
		case '\f':
			memcpy(wanted, "\"\\f\"", 5);
			break;
		case '\n':
			memcpy(wanted, "\"\\n\"", 5);
			break;
		case '\r':
			memcpy(wanted, "\"\\r\"", 5);
			break;
		case '\t':
			memcpy(wanted, "\"\\t\"", 5);
			break;
		case '"':
			memcpy(wanted, "\"\\\"\"", 5);
			break;
		case '\\':
			memcpy(wanted, "\"\\\\\"", 5);
			break;
		default:
			(void)snprintf(wanted, sizeof(wanted), byte < ' ' || byte == 0x7f ? "\"\\u%04x\"" : "\"%c\"", byte);
			break;
		}
		px_json_slice(&out, NULL, (struct px_slice){ &text, 1 });
		assert_string_equal(px_buf_text(&out), wanted);
		px_buf_clear(&out);
	}
}

static void
texts_keep_their_characters(void **state)
{
	static const struct {
		const char *text;
		const char *json;
	} rows[] = {
		{ "", "\"\"" },
		{ "a\nb\x01" "c", "\"a\\nb\\u0001c\"" },
		{ "\n", "\"\\n\"" },
		{ "\xc3\xa9\xf0\x9f\x98\x80", "\"\xc3\xa9\xf0\x9f\x98\x80\"" },
		{ "</script>", "\"</script>\"" },
		{ "\\u0041", "\"\\\\u0041\"" },
	};

	(void)state;
	for (size_t i = 0; i < COUNT_OF(rows); i++) {
		struct px_buf out = PX_BUF(100);

		px_json_text(&out, NULL, rows[i].text);
		assert_string_equal(px_buf_text(&out), rows[i].json);
		px_buf_clear(&out);
	}
}

static void
integers_stay_whole(void **state)
{
	struct px_buf out = PX_BUF(100);

	(void)state;
	px_json_open(&out, NULL, '[');
	px_json_int(&out, NULL, INT64_MAX);
	px_json_int(&out, NULL, INT64_MIN);
	px_json_int(&out, NULL, 9007199254740993);
	px_json_close(&out, ']');
	assert_string_equal(px_buf_text(&out), "[9223372036854775807,-9223372036854775808,9007199254740993]");
	px_buf_clear(&out);
}

static void
doubles_are_short_and_read_back(void **state)
{
	static const struct {
		double value;
		const char *json;
	} rows[] = {
		{ 0, "0" },
		{ 99.7, "99.7" },
		{ -0.5, "-0.5" },
		{ 0.1, "0.1" },
		{ 0.1 + 0.2, "0.30000000000000004" },
		{ 80, "80" },
		{ 1395864371, "1395864371" },
		{ 1e300, "1e+300" },
		{ 1.0 / 3, "0.3333333333333333" },
		{ NAN, "null" },
		{ INFINITY, "null" },
		{ -INFINITY, "null" },
	};
	static const double others[] = { DBL_MAX, DBL_MIN, DBL_EPSILON, 5e-324, 4503599627370497.5, 123456789012345680.0 };

	(void)state;
	for (size_t i = 0; i < COUNT_OF(rows); i++) {
		struct px_buf out = PX_BUF(100);

		px_json_double(&out, NULL, rows[i].value);
		assert_string_equal(px_buf_text(&out), rows[i].json);
		px_buf_clear(&out);
	}
	for (size_t i = 0; i < COUNT_OF(others); i++) {
		struct px_buf out = PX_BUF(100);
		double again;

		px_json_double(&out, NULL, others[i]);
		again = strtod(px_buf_text(&out), NULL);
		if (fabs(again - others[i]) > 0)
			fail_msg("%s", px_buf_text(&out));
		px_buf_clear(&out);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(commas_and_colons_are_in_their_places),
		cmocka_unit_test(every_byte_that_must_be_escaped_is),
		cmocka_unit_test(texts_keep_their_characters),
		cmocka_unit_test(integers_stay_whole),
		cmocka_unit_test(doubles_are_short_and_read_back),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
