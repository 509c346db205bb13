/* SPDX-License-Identifier: MIT */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "text.h"

#define COUNT_OF(array) (sizeof(array) / sizeof((array)[0]))
#define FFFD "\xef\xbf\xbd"

static void
slices_compare_and_trim(void **state)
{
	struct px_slice trimmed;

	(void)state;
	assert_true(px_slice_is(px_slice("abc"), "abc"));
	assert_false(px_slice_is(px_slice("abc"), "ab"));
	assert_false(px_slice_is(px_slice("ab"), "abc"));
	assert_false(px_slice_is(px_slice("ABC"), "abc"));
	assert_true(px_slice_is_nocase(px_slice("aBC"), "Abc"));
	assert_false(px_slice_is_nocase(px_slice("\xc3\x89"), "\xc3\xa9"));
	assert_true(px_slice_begins_with(px_slice("abc"), "ab"));
	assert_true(px_slice_begins_with(px_slice("abc"), "abc"));
	assert_false(px_slice_begins_with(px_slice("abc"), "bc"));
	assert_false(px_slice_begins_with((struct px_slice){ "abc", 2 }, "abc"));
	assert_true(px_slice_ends_with(px_slice("abc"), "bc"));
	assert_true(px_slice_ends_with(px_slice("abc"), ""));
	assert_false(px_slice_ends_with(px_slice("abc"), "ab"));
	assert_false(px_slice_ends_with(px_slice_behind(px_slice("abc"), 1), "abc"));
	assert_true(px_slice_is(px_slice_behind(px_slice("abc"), 2), "c"));
	assert_true(px_slice_is(px_slice_behind(px_slice("abc"), 3), ""));
	trimmed = px_slice_trim(px_slice("\r\n \t a b\v\t \r\n"));
	assert_true(px_slice_is(trimmed, "a b\v"));
	assert_int_equal(px_slice_trim(px_slice(" \t\r\n")).len, 0);
	assert_int_equal(px_slice_trim(px_slice("")).len, 0);
}

/* The rows up to the blank one are tables 3-8 to 3-11 of the Unicode Standard, version 15, section 3.9. */
static void
each_maximal_part_that_is_no_character_becomes_one_replacement(void **state)
{
	static const struct {
		const char *bytes;
		const char *clean;
	} rows[] = {
		{ "\xc0\xaf\xe0\x80\xbf\xf0\x81\x82\x41", FFFD FFFD FFFD FFFD FFFD FFFD FFFD FFFD "\x41" },
		{ "\xed\xa0\x80\xed\xbf\xbf\xed\xaf\x41", FFFD FFFD FFFD FFFD FFFD FFFD FFFD FFFD "\x41" },
		{ "\xf4\x91\x92\x93\xff\x41\x80\xbf\x42", FFFD FFFD FFFD FFFD FFFD "\x41" FFFD FFFD "\x42" },
		{ "\xe1\x80\xe2\xf0\x91\x92\xf1\xbf\x41", FFFD FFFD FFFD FFFD "\x41" },

		{ "", "" },
		{ "plain\n\x01\x7f", "plain\n\x01\x7f" },
		{ "\xc2\x80\xdf\xbf\xe0\xa0\x80\xed\x9f\xbf\xee\x80\x80\xef\xbf\xbf",
		    "\xc2\x80\xdf\xbf\xe0\xa0\x80\xed\x9f\xbf\xee\x80\x80\xef\xbf\xbf" },
		{ "\xf0\x90\x80\x80\xf4\x8f\xbf\xbf", "\xf0\x90\x80\x80\xf4\x8f\xbf\xbf" },
		{ "\x80", FFFD },
		{ "\xfe\xff", FFFD FFFD },
		{ "a\xc3", "a" FFFD },
		{ "a\xe2\x82", "a" FFFD },
		{ "a\xf0\x9f\x98", "a" FFFD },
		{ "\xf0\x8f\xbf\xbf", FFFD FFFD FFFD FFFD },
		{ "\xf5\x80\x80\x80", FFFD FFFD FFFD FFFD },
		{ "\xc1\xbf", FFFD FFFD },
		{ FFFD, FFFD },
	};

	(void)state;
	for (size_t i = 0; i < COUNT_OF(rows); i++) {
		struct px_buf out = PX_BUF(100);

		px_text_clean(&out, rows[i].bytes, strlen(rows[i].bytes));
		if (strcmp(px_buf_text(&out), rows[i].clean) != 0)
			fail_msg("row %zu: %s", i, px_buf_text(&out));
		px_buf_clear(&out);
	}
}

static void
secrets_are_hidden(void **state)
{
	static const struct {
		const char *text;
		const char *secret;
		const char *shown;
	} rows[] = {
		{ "", "a", "" },
		{ "text", "", "text" },
		{ "key", "key", "***" },
		{ "a key, the keykey", "key", "a ***, the ******" },
		{ "aaa", "aa", "**a" },
		{ "ke", "key", "ke" },
	};

	(void)state;
	for (size_t i = 0; i < COUNT_OF(rows); i++) {
		char text[32];

		(void)snprintf(text, sizeof(text), "%s", rows[i].text);
		px_text_hide(text, px_slice(rows[i].secret));
		assert_string_equal(text, rows[i].shown);
	}
}

static void
a_nul_is_a_character(void **state)
{
	struct px_buf out = PX_BUF(100);

	(void)state;
	px_text_clean(&out, "a\0b", 3);
	assert_int_equal(out.len, 3);
	assert_memory_equal(out.data, "a\0b", 3);
	px_buf_rewind(&out, 0);
	px_text_escape(&out, "a\0b", 3);
	assert_string_equal(px_buf_text(&out), "a\\x00b");
	px_buf_clear(&out);
}

static void
control_characters_are_escaped(void **state)
{
	static const struct {
		const char *bytes;
		const char *shown;
	} rows[] = {
		{ "plain \\ text", "plain \\ text" },
		{ "\x1b[31mred\n\r\t\x7f", "\\x1b[31mred\\x0a\\x0d\\x09\\x7f" },
		{ "\xc2\x80\xc2\x9b\xc2\x9f\xc2\xa0", "\\u0080\\u009b\\u009f\xc2\xa0" },
		{ "\xe2\x80\xa7\xe2\x80\xa8\xe2\x80\xa9\xe2\x80\xaa", "\xe2\x80\xa7\\u2028\\u2029\xe2\x80\xaa" },
		{ "\xff\xc3\xa9\xe2\x82", FFFD "\xc3\xa9" FFFD },
		{ "", "" },
	};

	(void)state;
	for (size_t i = 0; i < COUNT_OF(rows); i++) {
		struct px_buf out = PX_BUF(100);

		px_text_escape(&out, rows[i].bytes, strlen(rows[i].bytes));
		if (strcmp(px_buf_text(&out), rows[i].shown) != 0)
			fail_msg("row %zu: %s", i, px_buf_text(&out));
		px_buf_clear(&out);
	}
}

static void
texts_are_cut_between_characters(void **state)
{
	/* Lengths at which a character of this text ends, and so the cuts of every length between. */
	static const char text[] = "a\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80z";
	static const size_t cuts[] = { 0, 1, 1, 3, 3, 3, 6, 6, 6, 6, 10, 11, 11, 11 };

	(void)state;
	for (size_t max = 0; max < COUNT_OF(cuts); max++)
		if (px_text_cut(text, sizeof(text) - 1, max) != cuts[max])
			fail_msg("at most %zu: %zu", max, px_text_cut(text, sizeof(text) - 1, max));
	assert_int_equal(px_text_cut(text, sizeof(text) - 1, SIZE_MAX), 11);
	assert_int_equal(px_text_cut("", 0, 5), 0);
	/* What ends in the midst of a character is cut before it: snprintf(3) leaves such texts. */
	for (size_t len = 0; len <= sizeof(text) - 1; len++)
		assert_int_equal(px_text_cut(text, len, len), cuts[len]);
}

static void
whole_numbers_are_read_whole(void **state)
{
	static const struct {
		const char *text;
		int64_t min;
		int64_t max;
		int rc;
		int64_t value;
	} rows[] = {
		{ "0", INT64_MIN, INT64_MAX, 0, 0 },
		{ "-0", INT64_MIN, INT64_MAX, 0, 0 },
		{ "007", INT64_MIN, INT64_MAX, 0, 7 },
		{ "9223372036854775807", INT64_MIN, INT64_MAX, 0, INT64_MAX },
		{ "-9223372036854775808", INT64_MIN, INT64_MAX, 0, INT64_MIN },
		{ "9223372036854775808", INT64_MIN, INT64_MAX, -1, 0 },
		{ "-9223372036854775809", INT64_MIN, INT64_MAX, -1, 0 },
		{ "99999999999999999999", INT64_MIN, INT64_MAX, -1, 0 },
		{ "5", 5, 5, 0, 5 },
		{ "4", 5, 9, -1, 0 },
		{ "10", 5, 9, -1, 0 },
		{ "", INT64_MIN, INT64_MAX, -1, 0 },
		{ "-", INT64_MIN, INT64_MAX, -1, 0 },
		{ "--1", INT64_MIN, INT64_MAX, -1, 0 },
		{ "+1", INT64_MIN, INT64_MAX, -1, 0 },
		{ " 1", INT64_MIN, INT64_MAX, -1, 0 },
		{ "1 ", INT64_MIN, INT64_MAX, -1, 0 },
		{ "1x", INT64_MIN, INT64_MAX, -1, 0 },
		{ "0x1", INT64_MIN, INT64_MAX, -1, 0 },
		{ "1.0", INT64_MIN, INT64_MAX, -1, 0 },
		{ "1/", INT64_MIN, INT64_MAX, -1, 0 },
		{ "1:", INT64_MIN, INT64_MAX, -1, 0 },
		{ "\xd9\xa1", INT64_MIN, INT64_MAX, -1, 0 },
	};

	(void)state;
	for (size_t i = 0; i < COUNT_OF(rows); i++) {
		int64_t value = 0;

		if (px_text_to_int64(px_slice(rows[i].text), rows[i].min, rows[i].max, &value) != rows[i].rc || value != rows[i].value)
			fail_msg("'%s': %lld", rows[i].text, (long long)value);
	}
}

static void
decimals_are_read_whole(void **state)
{
	static const struct {
		const char *text;
		int rc;
		double value;
	} rows[] = {
		{ "0", 0, 0 },
		{ "20", 0, 20 },
		{ "-0.5", 0, -0.5 },
		{ "99.7", 0, 99.7 },
		{ "123456789012345", 0, 123456789012345 },
		{ "123456789012345.5", 0, 123456789012345.5 },
		{ "1234567890123456", -1, 0 },
		{ "0.1000000000000000055511151231257827021181583404541015625", 0, 0.1 },
		{ "0.10000000000000000555111512312578270211815834045410156250000000000000000000000000000000001", 0, 0.1 },
		{ "", -1, 0 },
		{ "-", -1, 0 },
		{ ".5", -1, 0 },
		{ "5.", -1, 0 },
		{ "01", -1, 0 },
		{ "00", -1, 0 },
		{ "+1", -1, 0 },
		{ "1e5", -1, 0 },
		{ "1,5", -1, 0 },
		{ "1.5.5", -1, 0 },
		{ "0x1p3", -1, 0 },
		{ "nan", -1, 0 },
		{ "inf", -1, 0 },
		{ " 1", -1, 0 },
		{ "1 ", -1, 0 },
		{ "--1", -1, 0 },
	};

	(void)state;
	for (size_t i = 0; i < COUNT_OF(rows); i++) {
		double value = 0;

		if (px_text_to_double(px_slice(rows[i].text), &value) != rows[i].rc || fabs(value - rows[i].value) > 0)
			fail_msg("'%s': %.17g", rows[i].text, value);
	}
}

static void
durations_sizes_and_words_are_read(void **state)
{
	enum what { DURATION, BYTES, BOOL };
	static const struct {
		enum what what;
		int rc;
		const char *text;
		int64_t value;
	} rows[] = {
		{ DURATION, 0, "30s", 30000 },
		{ DURATION, 0, "5m", 300000 },
		{ DURATION, 0, "1h", 3600000 },
		{ DURATION, 0, "2d", 172800000 },
		{ DURATION, 0, "0s", 0 },
		{ DURATION, -1, "30", 0 },
		{ DURATION, -1, "s", 0 },
		{ DURATION, -1, "", 0 },
		{ DURATION, -1, "-5s", 0 },
		{ DURATION, -1, "5 s", 0 },
		{ DURATION, -1, "5S", 0 },
		{ DURATION, -1, "5ms", 0 },
		{ DURATION, -1, "1.5h", 0 },
		{ DURATION, -1, "1h30m", 0 },
		{ DURATION, 0, "9223372036854775s", INT64_C(9223372036854775000) },
		{ DURATION, -1, "9223372036854776s", 0 },
		{ DURATION, 0, "106751991167d", INT64_C(106751991167) * 86400000 },
		{ DURATION, -1, "106751991168d", 0 },
		{ DURATION, -1, "99999999999999999999d", 0 },
		{ BYTES, 0, "5", 5 },
		{ BYTES, 0, "512k", 524288 },
		{ BYTES, 0, "64M", 67108864 },
		{ BYTES, 0, "1G", 1073741824 },
		{ BYTES, 0, "1T", INT64_C(1099511627776) },
		{ BYTES, 0, "8388607T", INT64_C(8388607) << 40 },
		{ BYTES, -1, "8388608T", 0 },
		{ BYTES, -1, "1K", 0 },
		{ BYTES, -1, "1kB", 0 },
		{ BYTES, -1, "-1", 0 },
		{ BYTES, -1, "", 0 },
		{ BOOL, 0, "yes", 1 },
		{ BOOL, 0, "true", 1 },
		{ BOOL, 0, "on", 1 },
		{ BOOL, 0, "1", 1 },
		{ BOOL, 0, "no", 0 },
		{ BOOL, 0, "false", 0 },
		{ BOOL, 0, "off", 0 },
		{ BOOL, 0, "0", 0 },
		{ BOOL, -1, "Yes", 0 },
		{ BOOL, -1, "", 0 },
		{ BOOL, -1, "2", 0 },
		{ BOOL, -1, "ye", 0 },
	};

	(void)state;
	for (size_t i = 0; i < COUNT_OF(rows); i++) {
		struct px_slice text = px_slice(rows[i].text);
		int64_t value = 0;
		bool word = false;
		int rc = rows[i].what == DURATION ? px_text_to_duration_ms(text, &value) :
		    rows[i].what == BYTES ? px_text_to_bytes(text, &value) : px_text_to_bool(text, &word);

		if (rows[i].what == BOOL)
			value = word;
		if (rc != rows[i].rc || (rc == 0 && value != rows[i].value))
			fail_msg("'%s': %d, %lld", rows[i].text, rc, (long long)value);
	}
}

static void
times_are_written_as_rfc_3339(void **state)
{
	static const struct {
		int64_t ms;
		const char *text;
	} rows[] = {
		{ 0, "1970-01-01T00:00:00.000Z" },
		{ INT64_C(1795359347123), "2026-11-22T14:55:47.123Z" },
		{ -1, "1969-12-31T23:59:59.999Z" },
		{ -1000, "1969-12-31T23:59:59.000Z" },
		{ INT64_C(951782400000), "2000-02-29T00:00:00.000Z" },
		{ INT64_C(4107542400000), "2100-03-01T00:00:00.000Z" },
		{ INT64_C(-62167219200000), "0000-01-01T00:00:00.000Z" },
		{ INT64_C(253402300799999), "9999-12-31T23:59:59.999Z" },
	};
	char text[PX_RFC3339_MAX];

	(void)state;
	for (size_t i = 0; i < COUNT_OF(rows); i++) {
		int64_t ms = 0;

		px_text_time_ms(text, rows[i].ms);
		assert_string_equal(text, rows[i].text);
		assert_int_equal(px_text_from_time_ms(px_slice(text), &ms), 0);
		assert_int_equal(ms, rows[i].ms);
	}
	px_text_time_s(text, 1795359347);
	assert_string_equal(text, "2026-11-22T14:55:47Z");
}

static void
times_outside_four_digit_years_are_clamped(void **state)
{
	static const struct {
		int64_t ms;
		const char *start;
	} rows[] = {
		{ INT64_C(-62167219200001), "0000-01-01T00:00:00." },
		{ INT64_MIN, "0000-01-01T00:00:00." },
		{ INT64_C(253402300800000), "9999-12-31T23:59:59." },
		{ INT64_MAX, "9999-12-31T23:59:59." },
	};
	char text[PX_RFC3339_MAX];

	(void)state;
	for (size_t i = 0; i < COUNT_OF(rows); i++) {
		px_text_time_ms(text, rows[i].ms);
		if (strncmp(text, rows[i].start, strlen(rows[i].start)) != 0 || strlen(text) != 24)
			fail_msg("row %zu: %s", i, text);
	}
	px_text_time_s(text, INT64_MAX);
	assert_string_equal(text, "9999-12-31T23:59:59Z");
	px_text_time_s(text, INT64_MIN);
	assert_string_equal(text, "0000-01-01T00:00:00Z");
}

/* Every 12 days and a bit, through leap years and centuries. */
static void
times_read_back_from_year_0_to_9999(void **state)
{
	(void)state;
	for (int64_t ms = INT64_C(-62167219200000); ms <= INT64_C(253402300799999); ms += INT64_C(1039847123)) {
		char text[PX_RFC3339_MAX];
		int64_t again = 0;

		px_text_time_ms(text, ms);
		if (px_text_from_time_ms(px_slice(text), &again) == -1 || again != ms)
			fail_msg("%lld: %s: %lld", (long long)ms, text, (long long)again);
	}
}

static void
other_texts_are_no_times(void **state)
{
	static const char *const texts[] = {
		"",
		"2026-11-22T14:55:47Z",
		"2026-11-22T14:55:47.123",
		"2026-11-22T14:55:47.123z",
		"2026-11-22 14:55:47.123Z",
		"2026-11-22T14:55:47.1234Z",
		"2026-11-22T14:55:47,123Z",
		"2026-13-22T14:55:47.123Z",
		"2026-00-22T14:55:47.123Z",
		"2026-11-31T14:55:47.123Z",
		"2026-11-00T14:55:47.123Z",
		"2026-02-29T14:55:47.123Z",
		"2100-02-29T14:55:47.123Z",
		"2026-11-22T24:55:47.123Z",
		"2026-11-22T14:60:47.123Z",
		"2026-11-22T14:55:61.123Z",
		"-026-11-22T14:55:47.123Z",
		"2026-11-22T14:55:47.12 Z",
		"2026-11-22T14:55:47.123+",
	};

	(void)state;
	for (size_t i = 0; i < COUNT_OF(texts); i++) {
		int64_t ms;

		if (px_text_from_time_ms(px_slice(texts[i]), &ms) == 0)
			fail_msg("'%s'", texts[i]);
	}
}

/* 2026 in Europe/Berlin: summer time from 29 March 01:00 to 25 October 01:00 UTC. */
static int
berlin_offset_s(int64_t utc_s)
{
	return utc_s >= 1774746000 && utc_s < 1792890000 ? 7200 : 3600;
}

/* A zone that moved west over midnight, and one that is constant. */
static int
westward_offset_s(int64_t utc_s)
{
	return utc_s >= 1780272000 ? -10 * 3600 : -9 * 3600;
}

static int
kathmandu_offset_s(int64_t utc_s)
{
	(void)utc_s;
	return 20700;
}

static void
local_times_become_utc(void **state)
{
	static const struct {
		px_offset_fn *offset;
		struct px_civil civil;
		const char *utc;
	} rows[] = {
		{ berlin_offset_s, { 2026, 1, 15, 12, 0, 0 }, "2026-01-15T11:00:00Z" },
		{ berlin_offset_s, { 2026, 7, 15, 12, 0, 0 }, "2026-07-15T10:00:00Z" },
		{ berlin_offset_s, { 2026, 3, 28, 23, 59, 59 }, "2026-03-28T22:59:59Z" },
		{ berlin_offset_s, { 2026, 3, 29, 1, 59, 59 }, "2026-03-29T00:59:59Z" },
		/* The gap: by the offset before it */
		{ berlin_offset_s, { 2026, 3, 29, 2, 0, 0 }, "2026-03-29T01:00:00Z" },
		{ berlin_offset_s, { 2026, 3, 29, 2, 30, 0 }, "2026-03-29T01:30:00Z" },
		{ berlin_offset_s, { 2026, 3, 29, 2, 59, 59 }, "2026-03-29T01:59:59Z" },
		{ berlin_offset_s, { 2026, 3, 29, 3, 0, 0 }, "2026-03-29T01:00:00Z" },
		{ berlin_offset_s, { 2026, 3, 30, 3, 0, 0 }, "2026-03-30T01:00:00Z" },
		/* Twice: the earlier one */
		{ berlin_offset_s, { 2026, 10, 25, 1, 59, 59 }, "2026-10-24T23:59:59Z" },
		{ berlin_offset_s, { 2026, 10, 25, 2, 0, 0 }, "2026-10-25T00:00:00Z" },
		{ berlin_offset_s, { 2026, 10, 25, 2, 30, 0 }, "2026-10-25T00:30:00Z" },
		{ berlin_offset_s, { 2026, 10, 25, 2, 59, 59 }, "2026-10-25T00:59:59Z" },
		{ berlin_offset_s, { 2026, 10, 25, 3, 0, 0 }, "2026-10-25T02:00:00Z" },
		{ berlin_offset_s, { 2026, 10, 24, 12, 0, 0 }, "2026-10-24T10:00:00Z" },
		{ berlin_offset_s, { 2026, 10, 26, 1, 0, 0 }, "2026-10-26T00:00:00Z" },
		/* 2026-06-01T00:00:00Z: 15:00 becomes 14:00 */
		{ westward_offset_s, { 2026, 5, 31, 13, 59, 59 }, "2026-05-31T22:59:59Z" },
		{ westward_offset_s, { 2026, 5, 31, 14, 30, 0 }, "2026-05-31T23:30:00Z" },
		{ westward_offset_s, { 2026, 5, 31, 15, 0, 0 }, "2026-06-01T01:00:00Z" },
		{ kathmandu_offset_s, { 2026, 1, 1, 0, 0, 0 }, "2025-12-31T18:15:00Z" },
		{ kathmandu_offset_s, { 2024, 2, 29, 23, 59, 60 }, "2024-02-29T18:15:00Z" },
	};

	(void)state;
	for (size_t i = 0; i < COUNT_OF(rows); i++) {
		char text[PX_RFC3339_MAX];
		int64_t utc_s;

		if (px_text_local_to_utc_s(&rows[i].civil, rows[i].offset, &utc_s) == -1)
			fail_msg("row %zu", i);
		px_text_time_s(text, utc_s);
		if (strcmp(text, rows[i].utc) != 0)
			fail_msg("row %zu: %s", i, text);
	}
}

static void
days_that_are_none_are_refused(void **state)
{
	static const struct px_civil rows[] = {
		{ 2026, 0, 1, 0, 0, 0 },
		{ 2026, 13, 1, 0, 0, 0 },
		{ 2026, 1, 0, 0, 0, 0 },
		{ 2026, 1, 32, 0, 0, 0 },
		{ 2026, 4, 31, 0, 0, 0 },
		{ 2026, 2, 29, 0, 0, 0 },
		{ 1900, 2, 29, 0, 0, 0 },
		{ 2026, 1, 1, -1, 0, 0 },
		{ 2026, 1, 1, 24, 0, 0 },
		{ 2026, 1, 1, 0, -1, 0 },
		{ 2026, 1, 1, 0, 60, 0 },
		{ 2026, 1, 1, 0, 0, -1 },
		{ 2026, 1, 1, 0, 0, 61 },
	};

	(void)state;
	for (size_t i = 0; i < COUNT_OF(rows); i++) {
		int64_t utc_s;

		if (px_text_civil_to_utc_s(&rows[i], &utc_s) == 0 || px_text_local_to_utc_s(&rows[i], berlin_offset_s, &utc_s) == 0)
			fail_msg("row %zu", i);
	}
}

static void
the_time_zone_of_the_device_is_tz(void **state)
{
	static const struct {
		const char *zone;
		int64_t utc_s;
		int offset_s;
		const char *local;
	} rows[] = {
		{ "UTC0", 1795359347, 0, "2026-11-22 14:55:47" },
		{ "CET-1CEST,M3.5.0,M10.5.0/3", 1795359347, 3600, "2026-11-22 15:55:47" },
		{ "CET-1CEST,M3.5.0,M10.5.0/3", 1784116800, 7200, "2026-07-15 14:00:00" },
		{ "HST10", 1795359347, -36000, "2026-11-22 04:55:47" },
	};
	const char *before = getenv("TZ");
	char *saved = before != NULL ? strdup(before) : NULL;

	(void)state;
	for (size_t i = 0; i < COUNT_OF(rows); i++) {
		char local[PX_RFC3339_MAX];

		assert_int_equal(setenv("TZ", rows[i].zone, 1), 0);
		if (px_text_local_offset_s(rows[i].utc_s) != rows[i].offset_s)
			fail_msg("%s: %d", rows[i].zone, px_text_local_offset_s(rows[i].utc_s));
		px_text_time_local(local, rows[i].utc_s * PX_MS_PER_S + 999);
		assert_string_equal(local, rows[i].local);
	}
	if (saved != NULL)
		assert_int_equal(setenv("TZ", saved, 1), 0);
	else
		assert_int_equal(unsetenv("TZ"), 0);
	free(saved);
	tzset();
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(slices_compare_and_trim),
		cmocka_unit_test(each_maximal_part_that_is_no_character_becomes_one_replacement),
		cmocka_unit_test(secrets_are_hidden),
		cmocka_unit_test(a_nul_is_a_character),
		cmocka_unit_test(control_characters_are_escaped),
		cmocka_unit_test(texts_are_cut_between_characters),
		cmocka_unit_test(whole_numbers_are_read_whole),
		cmocka_unit_test(decimals_are_read_whole),
		cmocka_unit_test(durations_sizes_and_words_are_read),
		cmocka_unit_test(times_are_written_as_rfc_3339),
		cmocka_unit_test(times_outside_four_digit_years_are_clamped),
		cmocka_unit_test(times_read_back_from_year_0_to_9999),
		cmocka_unit_test(other_texts_are_no_times),
		cmocka_unit_test(local_times_become_utc),
		cmocka_unit_test(days_that_are_none_are_refused),
		cmocka_unit_test(the_time_zone_of_the_device_is_tz),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
