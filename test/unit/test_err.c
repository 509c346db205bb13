/* SPDX-License-Identifier: MIT */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "err.h"

#define COUNT_OF(array) (sizeof(array) / sizeof((array)[0]))

static void
errors_have_code_and_text(void **state)
{
	struct px_err err = { 0 };

	(void)state;
	assert_int_equal(px_err_set(&err, PX_CONFIG, "line %d of '%s'", 3, "/x"), -1);
	assert_int_equal(err.code, PX_CONFIG);
	assert_string_equal(err.text, "line 3 of '/x'");
	assert_int_equal(px_err_set_errno(&err, PX_STORAGE, EACCES, "cannot open '%s'", "/x"), -1);
	assert_int_equal(err.code, PX_STORAGE);
	assert_string_equal(err.text, "cannot open '/x': Permission denied");
	assert_int_equal(px_err_prefix(&err, "spool %d", 7), -1);
	assert_int_equal(err.code, PX_STORAGE);
	assert_string_equal(err.text, "spool 7: cannot open '/x': Permission denied");
}

/* Texts of each length around the limit, made of characters of three bytes, end with a whole one. */
static void
long_texts_are_cut_at_whole_characters(void **state)
{
	static const char euro[] = "\xe2\x82\xac";
	char text[PX_ERR_MAX * 2];

	(void)state;
	for (size_t shift = 0; shift < 3; shift++) {
		struct px_err err = { 0 };
		struct px_problems problems = { 0 };
		size_t len = shift;

		memset(text, 'x', shift);
		while (len + 4 < sizeof(text)) {
			memcpy(text + len, euro, 3);
			len += 3;
		}
		text[len] = '\0';
		(void)px_err_set(&err, PX_BUG, "%s", text);
		assert_int_equal((strlen(err.text) - shift) % 3, 0);
		assert_in_range(strlen(err.text), PX_ERR_MAX - 3, PX_ERR_MAX - 1);
		assert_memory_equal(err.text, text, strlen(err.text));
		(void)px_err_prefix(&err, "x");
		assert_in_range(strlen(err.text), PX_ERR_MAX - 3, PX_ERR_MAX - 1);
		px_problems_add(&problems, "%s", text);
		assert_int_equal((strlen(problems.text[0]) - shift) % 3, 0);
		assert_in_range(strlen(problems.text[0]), PX_PROBLEM_MAX - 3, PX_PROBLEM_MAX - 1);
	}
}

static void
codes_are_exit_statuses(void **state)
{
	static const struct {
		enum px_code code;
		int status;
	} rows[] = {
		{ PX_OK, 0 },
		{ PX_ABSENT, 1 },
		{ PX_USAGE, 64 },
		{ PX_BUG, 70 },
		{ PX_STORAGE, 74 },
		{ PX_CORRUPT, 74 },
		{ PX_LATER, 75 },
		{ PX_DENIED, 77 },
		{ PX_CONFIG, 78 },
	};

	(void)state;
	for (size_t i = 0; i < COUNT_OF(rows); i++)
		if (px_err_exit_status(rows[i].code) != rows[i].status)
			fail_msg("row %zu: %d", i, px_err_exit_status(rows[i].code));
}

static void
problems_are_kept_while_there_is_room_and_counted(void **state)
{
	struct px_problems problems = { 0 };

	(void)state;
	for (int i = 0; i < PX_PROBLEMS_MAX + 2; i++)
		px_problems_add(&problems, "problem %d", i);
	assert_int_equal(problems.count, PX_PROBLEMS_MAX);
	assert_int_equal(problems.more, 2);
	for (int i = 0; i < PX_PROBLEMS_MAX; i++) {
		char text[32];

		(void)snprintf(text, sizeof(text), "problem %d", i);
		assert_string_equal(problems.text[i], text);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(errors_have_code_and_text),
		cmocka_unit_test(long_texts_are_cut_at_whole_characters),
		cmocka_unit_test(codes_are_exit_statuses),
		cmocka_unit_test(problems_are_kept_while_there_is_room_and_counted),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
