/* SPDX-License-Identifier: MIT */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <string.h>

#include "buf.h"

static void
an_empty_buffer_is_an_empty_text(void **state)
{
	struct px_buf buf = PX_BUF(10);
	struct px_err err = { 0 };

	(void)state;
	assert_string_equal(px_buf_text(&buf), "");
	assert_null(buf.data);
	px_buf_add(&buf, NULL, 0);
	px_buf_add_text(&buf, "");
	px_buf_printf(&buf, "%s", "");
	px_buf_rewind(&buf, 0);
	assert_null(buf.data);
	assert_int_equal(px_buf_check(&buf, "x", &err), 0);
	px_buf_clear(&buf);
	px_buf_wipe(&buf);
}

static void
additions_stand_one_behind_the_other(void **state)
{
	struct px_buf buf = PX_BUF(1000);
	char *room;

	(void)state;
	px_buf_add_text(&buf, "one");
	px_buf_add_byte(&buf, ' ');
	px_buf_add(&buf, "two!", 3);
	px_buf_printf(&buf, " %d%s", 3, "!");
	room = px_buf_reserve(&buf, 5);
	assert_non_null(room);
	room[0] = 'a';
	room[1] = 'b';
	px_buf_used(&buf, 2);
	assert_string_equal(px_buf_text(&buf), "one two 3!ab");
	assert_int_equal(buf.len, 12);
	px_buf_add(&buf, "\0x", 2);
	assert_int_equal(buf.len, 14);
	assert_memory_equal(buf.data, "one two 3!ab\0x", 15);
	px_buf_clear(&buf);
	assert_null(buf.data);
	assert_int_equal(buf.len, 0);
	assert_int_equal(buf.max, 1000);
}

/* Each way to add, at one byte below, at and above the limit. */
static void
the_limit_holds_for_every_way_to_add(void **state)
{
	static const char text[] = "0123456789";

	(void)state;
	for (int way = 0; way < 4; way++)
		for (size_t len = 4; len <= 6; len++) {
			struct px_buf buf = PX_BUF(10);
			struct px_err err = { 0 };

			px_buf_add_text(&buf, "abcde");
			switch (way) {
			case 0:
				px_buf_add(&buf, text, len);
				break;
			case 1:
				px_buf_printf(&buf, "%.*s", (int)len, text);
				break;
			case 2:
				if (px_buf_reserve(&buf, len) != NULL)
					px_buf_used(&buf, len);
				break;
			default:
				for (size_t i = 0; i < len; i++)
					px_buf_add_byte(&buf, text[i]);
				break;
			}
			if (buf.failed != (len == 6))
				fail_msg("way %d: %zu bytes", way, len);
			assert_int_equal(px_buf_check(&buf, "the text", &err), len == 6 ? -1 : 0);
			assert_true(buf.len <= 10);
			if (len == 6) {
				assert_int_equal(err.code, PX_BUG);
				assert_non_null(strstr(err.text, "the text"));
			}
			px_buf_clear(&buf);
		}
}

static void
a_failed_addition_leaves_what_was_there_and_stops_later_ones(void **state)
{
	struct px_buf buf = PX_BUF(5);

	(void)state;
	px_buf_add_text(&buf, "abc");
	px_buf_add_text(&buf, "def");
	px_buf_add_text(&buf, "g");
	px_buf_printf(&buf, "%d", 1);
	px_buf_add_byte(&buf, 'h');
	assert_null(px_buf_reserve(&buf, 1));
	assert_string_equal(px_buf_text(&buf), "abc");
	assert_true(buf.failed);
	px_buf_rewind(&buf, 1);
	assert_false(buf.failed);
	px_buf_add_text(&buf, "xy");
	assert_string_equal(px_buf_text(&buf), "axy");
	px_buf_add_text(&buf, "too long");
	px_buf_clear(&buf);
	assert_false(buf.failed);
	px_buf_add_text(&buf, "12345");
	assert_string_equal(px_buf_text(&buf), "12345");
	px_buf_clear(&buf);
}

static void
buffers_grow_and_keep_their_bytes(void **state)
{
	struct px_buf buf = PX_BUF(100000);

	(void)state;
	for (size_t i = 0; i < 100000; i++)
		px_buf_add_byte(&buf, (char)('a' + i % 23));
	assert_false(buf.failed);
	assert_int_equal(buf.len, 100000);
	for (size_t i = 0; i < 100000; i++)
		assert_int_equal(buf.data[i], 'a' + i % 23);
	assert_int_equal(buf.data[buf.len], '\0');
	px_buf_add_byte(&buf, 'x');
	assert_true(buf.failed);
	px_buf_wipe(&buf);
	assert_null(buf.data);
	assert_int_equal(buf.max, 100000);
}

static void
sizes_that_would_wrap_around_are_refused(void **state)
{
	struct px_buf buf = PX_BUF(100);

	(void)state;
	px_buf_add_text(&buf, "abc");
	assert_null(px_buf_reserve(&buf, SIZE_MAX));
	assert_true(buf.failed);
	px_buf_rewind(&buf, 3);
	assert_null(px_buf_reserve(&buf, SIZE_MAX - 2));
	assert_string_equal(px_buf_text(&buf), "abc");
	px_buf_clear(&buf);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(an_empty_buffer_is_an_empty_text),
		cmocka_unit_test(additions_stand_one_behind_the_other),
		cmocka_unit_test(the_limit_holds_for_every_way_to_add),
		cmocka_unit_test(a_failed_addition_leaves_what_was_there_and_stops_later_ones),
		cmocka_unit_test(buffers_grow_and_keep_their_bytes),
		cmocka_unit_test(sizes_that_would_wrap_around_are_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
