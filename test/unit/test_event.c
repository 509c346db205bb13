/* SPDX-License-Identifier: MIT */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "event.h"

#define COUNT_OF(array) (sizeof(array) / sizeof((array)[0]))
#define BODY_MAX (PX_EVENT_MAX - PX_ITEM_JOIN_MAX)
#define HEAD "{\"time\":\"2026-11-22T14:55:47.123Z\",\"boot_id\":\"b\",\"uptime_ms\":5,"
#define ARGUMENTS_MAX 12

static const struct px_now made = { .wall_ms = INT64_C(1795359347123), .boot_ms = 5, .boot_id = "b" };

static void
write_body(struct px_event *event, struct px_buf *body)
{
	struct px_err err = { 0 };

	if (px_event_write(event, &made, body, &err) == -1)
		fail_msg("%s", err.text);
}

static void
take_all(struct px_event *event, const char *const *env, const char *const *operands)
{
	struct px_err err = { 0 };
	char *copy[ARGUMENTS_MAX + 1] = { NULL };

	for (size_t i = 0; env[i] != NULL; i++)
		copy[i] = strdup(env[i]);
	assert_int_equal(px_event_take_env(event, copy, &err), 0);
	for (size_t i = 0; i < ARGUMENTS_MAX; i++)
		free(copy[i]);
	for (size_t i = 0; operands[i] != NULL; i++)
		assert_int_equal(px_event_take_operand(event, operands[i], &err), 0);
}

/* The fixture tells what each text means; where it tells two things, px-status(7) says which counts. */
static void
every_event_text_of_monit_has_its_meaning(void **state)
{
	const char *folder = getenv("PX_FIXTURES");
	char path[4096];
	char line[512];
	size_t rows = 0;
	FILE *file;

	(void)state;
	(void)snprintf(path, sizeof(path), "%s/events.tsv", folder != NULL ? folder : "test/fixtures");
	file = fopen(path, "re");
	if (file == NULL)
		fail_msg("cannot open '%s'", path);
	while (fgets(line, sizeof(line), file) != NULL) {
		struct px_event_meaning meaning;
		char *rest = line;
		const char *text = strsep(&rest, "\t");
		const char *category = strsep(&rest, "\t");
		const char *wanted = strsep(&rest, "\t\n");

		if (strcmp(text, "monit_event_text") == 0 || strcmp(category, "null") == 0)
			continue;
		if (strcmp(category, "nonexist") == 0 && strncmp(text, "Existence ", 10) == 0)
			category = "exist";
		if (strcmp(category, "action") == 0 || strcmp(category, "program_context") == 0)
			wanted = "unknown";
		px_event_meaning(px_slice(text), &meaning);
		if (meaning.text == NULL || strcmp(meaning.text, text) != 0)
			fail_msg("'%s' is not in the table", text);
		if (strcmp(meaning.category, category) != 0 || strcmp(meaning.state, wanted) != 0)
			fail_msg("'%s' is %s, %s", text, meaning.category, meaning.state);
		rows++;
	}
	assert_int_equal(fclose(file), 0);
	assert_int_equal(rows, 283);
}

static void
other_event_texts_have_the_state_of_their_last_words(void **state)
{
	static const struct {
		const char *text;
		const char *wanted;
	} rows[] = {
		{ "Fan speed failed", "failed" },
		{ "Fan speed matched", "failed" },
		{ "Fan speed matched limit", "failed" },
		{ "Fan speed exceeded", "failed" },
		{ "Fan errors detected", "failed" },
		{ "Fan error", "failed" },
		{ "Fan down", "failed" },
		{ "Fan succeeded", "succeeded" },
		{ "Fan ok", "succeeded" },
		{ "Fan up", "succeeded" },
		{ "Fan recovery", "succeeded" },
		{ "Fan not changed", "not_changed" },
		{ "Fan doesn't match", "not_changed" },
		{ "Fan changed", "changed" },
		{ "Fan match", "changed" },
		{ "Fan", "unknown" },
		{ "Fan countdown", "unknown" },
		{ "Fan unchanged", "unknown" },
		{ "failed Fan", "unknown" },
		{ "size failed", "failed" },
		{ "Size failed ", "unknown" },
		{ "Size faile", "unknown" },
		{ "", "unknown" },
	};

	(void)state;
	for (size_t i = 0; i < COUNT_OF(rows); i++) {
		struct px_event_meaning meaning;

		px_event_meaning(px_slice(rows[i].text), &meaning);
		if (meaning.text != NULL || strcmp(meaning.category, "unknown") != 0 || strcmp(meaning.state, rows[i].wanted) != 0)
			fail_msg("'%s' is %s, %s", rows[i].text, meaning.category, meaning.state);
	}
}

#define KEY64 "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_."

/* An environment and operands, what becomes of them behind the head, and how many mistakes there are. */
static const struct {
	const char *env[ARGUMENTS_MAX];
	const char *operands[ARGUMENTS_MAX];
	const char *rest;
	size_t mistakes;
} documents[] = {
	{ { NULL }, { NULL }, "\"topic\":\"unspecified\"}", 0 },
	{ { NULL }, { "cpu", NULL }, "\"topic\":\"cpu\"}", 0 },
	{ { "PATH=/bin", "SECRET=x", "MONIT_SECRET=x", "XMONIT_EVENT=x", "MONIT_EVENTS=x", "MONIT_EVENT", NULL }, { NULL },
	    "\"topic\":\"unspecified\"}", 0 },
	{ { "MONIT_SERVICE=vm", NULL }, { NULL }, "\"topic\":\"vm\",\"monit\":{\"service\":\"vm\"}}", 0 },
	{ { "MONIT_SERVICE=vm", "MONIT_SERVICE=other", NULL }, { "cpu", NULL },
	    "\"topic\":\"cpu\",\"monit\":{\"service\":\"vm\"}}", 0 },
	{ { "MONIT_EVENT=", "MONIT_SERVICE=", "MONIT_PROCESS_PID=", "MONIT_PROCESS_CPU_PERCENT=", NULL }, { NULL },
	    "\"topic\":\"unspecified\"}", 0 },
	{ { "MONIT_EVENT=No Event", "MONIT_HOST=h", NULL }, { NULL }, "\"topic\":\"unspecified\",\"monit\":{\"host\":\"h\"}}", 0 },
	{ { "MONIT_EVENT=Started", NULL }, { NULL },
	    "\"topic\":\"unspecified\",\"monit\":{\"event\":\"Started\",\"category\":\"program_context\",\"state\":\"unknown\"}}", 0 },
	{ { "MONIT_EVENT=Fan failed", NULL }, { NULL },
	    "\"topic\":\"unspecified\",\"monit\":{\"event\":\"Fan failed\",\"category\":\"unknown\",\"state\":\"failed\"}}", 0 },
	{ { "MONIT_EVENT=Resource limit matched", "MONIT_SERVICE=vm", "MONIT_HOST=vm", "MONIT_DATE=Sun, 22 Nov 2026 14:55:47",
	    "MONIT_DESCRIPTION=cpu usage of 99.7% matches resource limit [cpu usage > 80.0%]", "MONIT_PROCESS_PID=1",
	    "MONIT_PROCESS_MEMORY=31644", "MONIT_PROCESS_CHILDREN=26", "MONIT_PROCESS_CPU_PERCENT=0.1", "MONIT_PROGRAM_STATUS=3",
	    NULL }, { "cpu", "KEY=VALUE", NULL },
	    ("\"topic\":\"cpu\",\"params\":{\"KEY\":\"VALUE\"},"
	    "\"monit\":{\"service\":\"vm\",\"event\":\"Resource limit matched\",\"category\":\"resource\",\"state\":\"failed\","
	    "\"description\":\"cpu usage of 99.7% matches resource limit [cpu usage > 80.0%]\",\"host\":\"vm\","
	    "\"date\":\"Sun, 22 Nov 2026 14:55:47\"},"
	    "\"measurement\":{\"name\":\"cpu usage\",\"value\":99.7,\"unit\":\"%\",\"operator\":\">\",\"limit\":80},"
	    "\"process\":{\"pid\":1,\"memory_kb\":31644,\"children\":26,\"cpu_percent\":0.1},\"program\":{\"status\":3}}"), 0 },
	{ { "MONIT_DESCRIPTION=threads check succeeded [current threads = 3]", NULL }, { "t", NULL },
	    ("\"topic\":\"t\",\"monit\":{\"description\":\"threads check succeeded [current threads = 3]\"},"
	    "\"measurement\":{\"name\":\"current threads\",\"value\":3}}"), 0 },

	/* Numbers: Monit's unknown is absent, what is no number is told */
	{ { "MONIT_PROCESS_PID=-1", "MONIT_PROCESS_MEMORY=0", "MONIT_PROCESS_CHILDREN=-1", "MONIT_PROCESS_CPU_PERCENT=-1.0",
	    "MONIT_PROGRAM_STATUS=-1", NULL }, { "t", NULL }, "\"topic\":\"t\",\"process\":{\"memory_kb\":0}}", 0 },
	{ { "MONIT_PROCESS_CPU_PERCENT=-1", NULL }, { "t", NULL }, "\"topic\":\"t\"}", 0 },
	{ { "MONIT_PROCESS_CPU_PERCENT=0.0", NULL }, { "t", NULL }, "\"topic\":\"t\",\"process\":{\"cpu_percent\":0}}", 0 },
	{ { "MONIT_PROCESS_PID=12x", NULL }, { "t", NULL },
	    "\"topic\":\"t\",\"problems\":[\"MONIT_PROCESS_PID is not a number: '12x'\"]}", 0 },
	{ { "MONIT_PROCESS_MEMORY=-5", "MONIT_PROCESS_CHILDREN=1.5", "MONIT_PROCESS_CPU_PERCENT=nan",
	    "MONIT_PROGRAM_STATUS=99999999999999999999", NULL }, { "t", NULL },
	    ("\"topic\":\"t\",\"problems\":[\"MONIT_PROCESS_MEMORY is not a number: '-5'\","
	    "\"MONIT_PROCESS_CHILDREN is not a number: '1.5'\",\"MONIT_PROCESS_CPU_PERCENT is not a number: 'nan'\","
	    "\"MONIT_PROGRAM_STATUS is not a number: '99999999999999999999'\"]}"), 0 },
	{ { "MONIT_PROCESS_PID=\x1b[31m\xff", NULL }, { "t", NULL },
	    "\"topic\":\"t\",\"problems\":[\"MONIT_PROCESS_PID is not a number: '\\\\x1b[31m\xef\xbf\xbd'\"]}", 0 },

	/* Operands */
	{ { NULL }, { "a=", "b=1=2", "c= x ", (KEY64 "="), NULL },
	    ("\"topic\":\"unspecified\",\"params\":{\"a\":\"\",\"b\":\"1=2\",\"c\":\" x \",\"" KEY64 "\":\"\"}}"), 0 },
	{ { NULL }, { "b=1", "a=2", "b=3", "c=4", "b=5", "a=6", "t", NULL },
	    ("\"topic\":\"t\",\"params\":{\"b\":\"5\",\"a\":\"6\",\"c\":\"4\"},"
	    "\"problems\":[\"params.a was given 2 times, the last one counts\","
	    "\"params.b was given 3 times, the last one counts\"]}"), 0 },
	{ { NULL }, { "=x", NULL }, ("\"topic\":\"unspecified\","
	    "\"problems\":[\"the key is not 1 to 64 of A-Z a-z 0-9 _ . -: '=x'\"]}"), 1 },
	{ { NULL }, { (KEY64 "x=1"), "a b=1", "\xc3\xa9=1", "\n=1", NULL }, ("\"topic\":\"unspecified\","
	    "\"problems\":[\"the key is not 1 to 64 of A-Z a-z 0-9 _ . -: '" KEY64 "x=1'\","
	    "\"the key is not 1 to 64 of A-Z a-z 0-9 _ . -: 'a b=1'\","
	    "\"the key is not 1 to 64 of A-Z a-z 0-9 _ . -: '\xc3\xa9=1'\","
	    "\"the key is not 1 to 64 of A-Z a-z 0-9 _ . -: '\\\\x0a=1'\"]}"), 4 },
	{ { NULL }, { "", "cpu", "mem", "", NULL }, ("\"topic\":\"cpu\","
	    "\"problems\":[\"the topic is empty: ''\",\"a second topic: 'mem'\",\"the topic is empty: ''\"]}"), 3 },

	/* What is no UTF-8 becomes U+FFFD and is no problem; JSON escapes control characters */
	{ { "MONIT_DESCRIPTION=\x1b[31m\x01\xff\xc3\xa9\n<b>&amp;\"]]>", NULL }, { "a\x7f\"\\", "k=\xe2\x82", NULL },
	    ("\"topic\":\"a\\u007f\\\"\\\\\",\"params\":{\"k\":\"\xef\xbf\xbd\"},\"monit\":{\"description\":"
	    "\"\\u001b[31m\\u0001\xef\xbf\xbd\xc3\xa9\\n<b>&amp;\\\"]]>\"}}"), 0 },
};

static void
documents_are_as_the_page_shows_them(void **state)
{
	(void)state;
	for (size_t i = 0; i < COUNT_OF(documents); i++) {
		struct px_event event;
		struct px_buf body = PX_BUF(BODY_MAX);

		px_event_init(&event);
		take_all(&event, documents[i].env, documents[i].operands);
		write_body(&event, &body);
		if (strncmp(px_buf_text(&body), HEAD, strlen(HEAD)) != 0 ||
		    strcmp(px_buf_text(&body) + strlen(HEAD), documents[i].rest) != 0)
			fail_msg("row %zu: %s", i, px_buf_text(&body));
		if (event.mistakes != documents[i].mistakes)
			fail_msg("row %zu: %zu mistakes", i, event.mistakes);
		px_buf_clear(&body);
		px_event_clear(&event);
	}
}

static void
monit_event_in_the_environment_tells_monit(void **state)
{
	static const struct {
		const char *entry;
		bool under_monit;
	} rows[] = {
		{ "MONIT_EVENT=Size failed", true },
		{ "MONIT_EVENT=", true },
		{ "MONIT_EVENT=No Event", true },
		{ "MONIT_EVENT", false },
		{ "MONIT_EVEN=x", false },
		{ "MONIT_EVENTS=x", false },
		{ "MONIT_SERVICE=x", false },
	};

	(void)state;
	for (size_t i = 0; i < COUNT_OF(rows); i++) {
		struct px_event event;

		px_event_init(&event);
		take_all(&event, (const char *const[]){ rows[i].entry, NULL }, (const char *const[]){ NULL });
		if (event.under_monit != rows[i].under_monit)
			fail_msg("'%s'", rows[i].entry);
		px_event_clear(&event);
	}
}

static void
a_later_message_replaces_and_an_empty_one_removes(void **state)
{
	struct px_event event;
	struct px_buf body = PX_BUF(BODY_MAX);
	struct px_err err = { 0 };

	(void)state;
	px_event_init(&event);
	assert_int_equal(px_event_take_message(&event, "one", &err), 0);
	assert_int_equal(px_event_take_message(&event, "two", &err), 0);
	write_body(&event, &body);
	assert_string_equal(px_buf_text(&body), HEAD "\"topic\":\"unspecified\",\"message\":\"two\"}");
	px_buf_rewind(&body, 0);
	assert_int_equal(px_event_take_message(&event, "", &err), 0);
	write_body(&event, &body);
	assert_string_equal(px_buf_text(&body), HEAD "\"topic\":\"unspecified\"}");
	px_buf_clear(&body);
	px_event_clear(&event);
}

static void
mistakes_of_others_are_shown_clean_and_counted(void **state)
{
	static const struct {
		int more;
		const char *told;
	} rows[] = { { 1, "and 1 more problem" }, { 3, "and 3 more problems" } };

	(void)state;
	for (size_t row = 0; row < COUNT_OF(rows); row++) {
		struct px_event event;
		struct px_buf body = PX_BUF(BODY_MAX);
		char expected[1000];

		px_event_init(&event);
		px_event_mistake(&event, "unknown option '\x1b\xff'");
		for (int i = 1; i < PX_PROBLEMS_MAX + rows[row].more; i++)
			px_event_mistake(&event, "x");
		assert_int_equal(event.mistakes, PX_PROBLEMS_MAX + rows[row].more);
		write_body(&event, &body);
		(void)snprintf(expected, sizeof(expected), "%s\"%s\"]}", HEAD "\"topic\":\"unspecified\",\"problems\":"
		    "[\"unknown option '\\\\x1b\xef\xbf\xbd'\","
		    "\"x\",\"x\",\"x\",\"x\",\"x\",\"x\",\"x\",\"x\",\"x\",\"x\",\"x\",\"x\",\"x\",\"x\","
		    "\"x\",", rows[row].told);
		assert_string_equal(px_buf_text(&body), expected);
		px_buf_clear(&body);
		px_event_clear(&event);
	}
}

/* ${count} times ${unit}, behind ${start}. */
static char *
repeat(const char *start, const char *unit, size_t count)
{
	struct px_buf text = PX_BUF(SIZE_MAX / 2);

	px_buf_add_text(&text, start);
	for (size_t i = 0; i < count; i++)
		px_buf_add_text(&text, unit);
	assert_false(text.failed);
	return text.data;
}

static void
values_are_cut_at_4096_bytes_of_cleaned_text(void **state)
{
	static const struct {
		const char *unit;
		size_t count;
		size_t len;
		const char *problem;
	} rows[] = {
		{ "x", 4096, 4096, NULL },
		{ "x", 4097, 4096, "was cut from 4097 to 4096 bytes" },
		{ "x", 131072, 4096, "was cut from 131072 to 4096 bytes" },
		{ "\xe2\x82\xac", 1365, 4095, NULL },
		{ "\xe2\x82\xac", 1366, 4095, "was cut from 4098 to 4095 bytes" },
		{ "\xff", 1365, 4095, NULL },
		{ "\xff", 1366, 4095, "was cut from 4098 to 4095 bytes" },
		{ "\xf0\x9f\x98\x80", 1025, 4096, "was cut from 4100 to 4096 bytes" },
	};

	(void)state;
	for (size_t i = 0; i < COUNT_OF(rows); i++) {
		static const char *const starts[] = { "", "k.1=", "MONIT_DESCRIPTION=", "MONIT_HOST=" };
		static const char *const names[] = { "topic", "params.k.1", "monit.description", "monit.host" };

		for (size_t start = 0; start < COUNT_OF(starts); start++) {
			struct px_event event;
			char *text = repeat(starts[start], rows[i].unit, rows[i].count);
			bool is_env = starts[start][0] == 'M';
			const char *value;
			char problem[100] = "";

			px_event_init(&event);
			take_all(&event, (const char *const[]){ is_env ? text : NULL, NULL },
			    (const char *const[]){ is_env ? NULL : text, NULL });
			value = start == 0 ? event.topic : start == 1 ? event.params[0].value : start == 2 ? event.description :
			    event.host;
			if (strlen(value) != rows[i].len)
				fail_msg("row %zu: %s has %zu bytes", i, names[start], strlen(value));
			if (rows[i].problem != NULL)
				(void)snprintf(problem, sizeof(problem), "%s %s", names[start], rows[i].problem);
			assert_int_equal(event.cuts.count, rows[i].problem != NULL);
			assert_string_equal(event.cuts.text[0], problem);
			assert_int_equal(event.mistakes, 0);
			px_event_clear(&event);
			free(text);
		}
	}
}

static void
each_cut_is_told_beside_many_mistakes(void **state)
{
	char *message = repeat("", "x", 4097);
	char *param = repeat("k=", "x", 5000);
	struct px_event event;
	struct px_buf body = PX_BUF(BODY_MAX);
	struct px_err err = { 0 };

	(void)state;
	px_event_init(&event);
	for (int i = 0; i < PX_PROBLEMS_MAX + 2; i++)
		px_event_mistake(&event, "x");
	assert_int_equal(px_event_take_message(&event, message, &err), 0);
	assert_int_equal(px_event_take_operand(&event, param, &err), 0);
	write_body(&event, &body);
	assert_non_null(strstr(px_buf_text(&body), ",\"x\",\"message was cut from 4097 to 4096 bytes\","
	    "\"params.k was cut from 5000 to 4096 bytes\",\"and 2 more problems\"]"));
	px_buf_clear(&body);
	px_event_clear(&event);
	free(message);
	free(param);
}

/* A description that was cut could end inside its number. */
static void
a_cut_description_has_no_measurement(void **state)
{
	static const struct {
		size_t path_len;
		bool measured;
	} rows[] = { { 3000, true }, { 4064, true }, { 4065, false }, { 4068, false }, { 4069, false }, { 5000, false } };

	(void)state;
	for (size_t i = 0; i < COUNT_OF(rows); i++) {
		struct px_event event;
		struct px_buf body = PX_BUF(BODY_MAX);
		char *start = repeat("MONIT_DESCRIPTION=size for /", "x", rows[i].path_len);
		char *text = repeat(start, " changed to 214345", 1);

		px_event_init(&event);
		take_all(&event, (const char *const[]){ text, NULL }, (const char *const[]){ NULL });
		write_body(&event, &body);
		if ((strstr(px_buf_text(&body), "\"measurement\":{\"name\":\"size\",\"value\":214345}") != NULL) != rows[i].measured)
			fail_msg("a path of %zu bytes: %s", rows[i].path_len, px_buf_text(&body) + 4000);
		px_buf_clear(&body);
		px_event_clear(&event);
		free(start);
		free(text);
	}
}

static bool
is_whole_object(const struct px_buf *body)
{
	const char *text = px_buf_text(body);
	int depth = 0;
	bool quoted = false;

	for (size_t i = 0; i < body->len; i++) {
		if (quoted) {
			if (text[i] == '\\')
				i++;
			else if (text[i] == '"')
				quoted = false;
			else if ((unsigned char)text[i] < ' ')
				return false;
		} else if (text[i] == '"') {
			quoted = true;
		} else if (text[i] == '{' || text[i] == '[') {
			depth++;
		} else if ((text[i] == '}' || text[i] == ']') && --depth == 0) {
			return i + 1 == body->len;
		}
	}
	return false;
}

static size_t
count_of(const char *text, const char *part)
{
	size_t count = 0;

	for (const char *at = strstr(text, part); at != NULL; at = strstr(at + 1, part))
		count++;
	return count;
}

static void
take_params(struct px_event *event, size_t count, const char *unit, size_t times)
{
	char *value = repeat("", unit, times);

	for (size_t i = 0; i < count; i++) {
		struct px_buf operand = PX_BUF(SIZE_MAX / 2);
		struct px_err err = { 0 };

		px_buf_printf(&operand, "k%zu=%s", i, value != NULL ? value : "");
		assert_int_equal(px_event_take_operand(event, px_buf_text(&operand), &err), 0);
		px_buf_clear(&operand);
	}
	free(value);
}

/* Documents that are too large: how many parameters stay, and how many texts tell of cuts. */
static void
large_documents_fit_with_their_longest_values_cut(void **state)
{
	static const struct {
		const char *unit;
		size_t times;
		size_t count;
		size_t kept;		/* 0: some */
		size_t cuts;		/* told when the document was written */
		size_t least_len;	/* of the document: what is free may not be wasted */
	} rows[] = {
		{ "x", 4096, 15, 15, 0, 61000 },
		{ "x", 4096, 16, 16, 16, 65300 },
		{ "x", 4096, 20, 20, 20, 65300 },
		{ "\x01", 4096, 4, 4, 4, 65300 },
		{ "\"", 4096, 40, 40, 40, 65200 },
		{ "\xf0\x9f\x98\x80", 1024, 30, 30, 30, 65000 },
		{ "x", 1000, 100, 100, 100, 65000 },
		{ "x", 100, 1000, 1000, 1001, 60000 },	/* the description is longer than what is left of each */
		{ "x", 4096, 300, 300, 300, 65000 },
		{ "x", 8, 10000, 0, 0, 65300 },
		{ "", 0, 10000, 0, 0, 65300 },
		{ "x", 300, 2000, 0, 0, 64000 },
	};

	(void)state;
	for (size_t i = 0; i < COUNT_OF(rows); i++) {
		struct px_event event;
		struct px_buf body = PX_BUF(BODY_MAX);

		px_event_init(&event);
		take_all(&event, (const char *const[]){ "MONIT_DESCRIPTION=threads check succeeded [current threads = 3]",
		    "MONIT_SERVICE=vm", NULL }, (const char *const[]){ NULL });
		take_params(&event, rows[i].count, rows[i].unit, rows[i].times);
		write_body(&event, &body);
		if (body.len > BODY_MAX || body.len < rows[i].least_len || !is_whole_object(&body))
			fail_msg("row %zu: %zu bytes: %.200s", i, body.len, px_buf_text(&body));
		if (rows[i].kept > 0 ? event.param_count != rows[i].kept : event.param_count < 100)
			fail_msg("row %zu: %zu parameters", i, event.param_count);
		if (rows[i].kept > 0 && count_of(px_buf_text(&body), " was cut to ") != rows[i].cuts)
			fail_msg("row %zu: %zu cuts", i, count_of(px_buf_text(&body), " was cut to "));
		if ((event.param_count < rows[i].count) != (strstr(px_buf_text(&body), "parameters were left out") != NULL))
			fail_msg("row %zu: %s", i, px_buf_text(&body) + body.len - 200);
		if ((strstr(px_buf_text(&body), "threads check succeeded [current threads = 3]") == NULL) !=
		    (rows[i].cuts > rows[i].count))
			fail_msg("row %zu: the short description", i);
		if (strstr(px_buf_text(&body), "\"measurement\":{") == NULL)
			fail_msg("row %zu: the measurement of what was cut", i);
		px_buf_clear(&body);
		px_event_clear(&event);
	}
}

static void
only_the_longest_values_are_cut(void **state)
{
	struct px_event event;
	struct px_buf body = PX_BUF(BODY_MAX);
	struct px_err err = { 0 };
	char *message = repeat("", "m", 3000);
	char *topic = repeat("", "t", 4096);

	(void)state;
	px_event_init(&event);
	assert_int_equal(px_event_take_message(&event, message, &err), 0);
	assert_int_equal(px_event_take_operand(&event, topic, &err), 0);
	take_params(&event, 16, "x", 4096);
	write_body(&event, &body);
	assert_int_equal(strlen(event.message), 3000);
	assert_true(strlen(event.topic) < 3700 && strlen(event.topic) > 3500);
	for (size_t i = 0; i < 16; i++)
		assert_int_equal(strlen(event.params[i].value), strlen(event.topic));
	assert_int_equal(count_of(px_buf_text(&body), "params.k"), 16);
	assert_int_equal(count_of(px_buf_text(&body), "\"topic was cut to "), 1);
	assert_int_equal(count_of(px_buf_text(&body), "\"message was cut"), 0);
	px_buf_clear(&body);
	px_event_clear(&event);
	free(message);
	free(topic);
}

/* A service that is the topic too stands twice in the document. */
static void
the_service_as_topic_is_counted_twice(void **state)
{
	struct px_event event;
	struct px_buf body = PX_BUF(BODY_MAX);
	char *service = repeat("MONIT_SERVICE=", "\x01", 4096);
	char *description = repeat("MONIT_DESCRIPTION=", "\x01", 4096);

	(void)state;
	px_event_init(&event);
	take_all(&event, (const char *const[]){ service, description, NULL }, (const char *const[]){ NULL });
	write_body(&event, &body);
	assert_in_range(body.len, 65000, BODY_MAX);
	assert_int_equal(strlen(event.service), strlen(event.description));
	assert_int_equal(count_of(px_buf_text(&body), "monit.service was cut to "), 1);
	assert_int_equal(count_of(px_buf_text(&body), "topic was cut to "), 0);
	px_buf_clear(&body);
	px_event_clear(&event);
	free(service);
	free(description);
}

/* Whatever each value holds, and all problems full of what JSON escapes, the document fits. */
static void
the_largest_document_without_parameters_fits(void **state)
{
	static const char *const units[] = { "\x01", "\"", "x", "\xff" };

	(void)state;
	for (size_t i = 0; i < COUNT_OF(units); i++) {
		static const char *const starts[] = { "MONIT_SERVICE=", "MONIT_EVENT=", "MONIT_DESCRIPTION=", "MONIT_HOST=",
			"MONIT_DATE=", "MONIT_PROCESS_PID=" };
		struct px_event event;
		struct px_buf body = PX_BUF(BODY_MAX);
		char *env[COUNT_OF(starts) + 1] = { NULL };
		struct px_err err = { 0 };
		char *message = repeat("", units[i], 5000);

		px_event_init(&event);
		for (size_t start = 0; start < COUNT_OF(starts); start++)
			env[start] = repeat(starts[start], units[i], 5000);
		assert_int_equal(px_event_take_env(&event, env, &err), 0);
		assert_int_equal(px_event_take_message(&event, message, &err), 0);
		for (int times = 0; times < 20; times++)
			px_event_mistake(&event, message);
		write_body(&event, &body);
		if (body.len > BODY_MAX || !is_whole_object(&body))
			fail_msg("row %zu: %zu bytes", i, body.len);
		px_buf_clear(&body);
		px_event_clear(&event);
		for (size_t start = 0; start < COUNT_OF(starts); start++)
			free(env[start]);
		free(message);
	}
}

static void
a_hundred_thousand_operands_take_no_seconds(void **state)
{
	static const size_t keys[] = { 1, 7, 100000 };

	(void)state;
	for (size_t i = 0; i < COUNT_OF(keys); i++) {
		struct px_event event;
		struct px_buf body = PX_BUF(BODY_MAX);
		struct px_err err = { 0 };
		clock_t begin = clock();

		px_event_init(&event);
		for (size_t operand = 0; operand < 100000; operand++) {
			char text[64];

			(void)snprintf(text, sizeof(text), "key%zu=%zu", operand % keys[i], operand);
			assert_int_equal(px_event_take_operand(&event, text, &err), 0);
		}
		write_body(&event, &body);
		assert_true(body.len <= BODY_MAX);
		assert_true(is_whole_object(&body));
		if (keys[i] <= 7) {
			char last[64];

			(void)snprintf(last, sizeof(last), "\"key%zu\":\"99999\"", (size_t)99999 % keys[i]);
			assert_int_equal(event.param_count, keys[i]);
			assert_non_null(strstr(px_buf_text(&body), last));
			assert_int_equal(event.problems.count, keys[i]);
		}
		if (clock() - begin > 10 * CLOCKS_PER_SEC)
			fail_msg("%zu keys: %ld s", keys[i], (long)((clock() - begin) / CLOCKS_PER_SEC));
		px_buf_clear(&body);
		px_event_clear(&event);
	}
}

static void
writing_again_writes_the_same(void **state)
{
	struct px_event event;
	struct px_buf first = PX_BUF(BODY_MAX);
	struct px_buf second = PX_BUF(BODY_MAX);

	(void)state;
	px_event_init(&event);
	take_all(&event, (const char *const[]){ "MONIT_EVENT=Size failed", NULL },
	    (const char *const[]){ "t", "a=1", "a=2", NULL });
	write_body(&event, &first);
	write_body(&event, &second);
	assert_string_equal(px_buf_text(&first), px_buf_text(&second));
	px_buf_clear(&first);
	px_buf_clear(&second);
	px_event_clear(&event);
	px_event_clear(&event);
}

static void
parameters_may_be_added_after_writing(void **state)
{
	struct px_event event;
	struct px_err err = { 0 };

	(void)state;
	px_event_init(&event);
	for (int round = 0; round < 40; round++) {
		struct px_buf body = PX_BUF(BODY_MAX);
		char text[64];

		(void)snprintf(text, sizeof(text), "k%d=x", round % 9);
		assert_int_equal(px_event_take_operand(&event, text, &err), 0);
		assert_int_equal(px_event_take_operand(&event, text, &err), 0);
		write_body(&event, &body);
		assert_int_equal(event.param_count, round < 9 ? round + 1 : 9);
		px_buf_clear(&body);
	}
	px_event_clear(&event);
}

static void
a_full_buffer_is_an_error(void **state)
{
	struct px_event event;
	struct px_buf body = PX_BUF(20);
	struct px_err err = { 0 };

	(void)state;
	px_event_init(&event);
	assert_int_equal(px_event_write(&event, &made, &body, &err), -1);
	assert_int_equal(err.code, PX_BUG);
	px_buf_clear(&body);
	px_event_clear(&event);
}

static void
a_bare_event_is_small_and_plain(void **state)
{
	static char topic[] = "a \"topic\" \\ of \xc3\xa4 and \n";
	static char long_text[3000] = "MONIT_DESCRIPTION=";
	static char service[] = "MONIT_SERVICE=vm";
	static char other[] = "MONIT_EVENTS=no";
	char *const env[] = { other, service, long_text, NULL };
	char *const nothing[] = { NULL };
	char out[PX_EVENT_BARE_MAX];
	char expected[PX_EVENT_BARE_MAX];
	size_t len;

	(void)state;
	memset(long_text + strlen(long_text), '"', sizeof(long_text) - strlen(long_text) - 1);
	len = px_event_bare(out, "the-id", made.wall_ms, topic, env);
	(void)snprintf(expected, sizeof(expected), "{\"id\":\"the-id\",\"time\":\"2026-11-22T14:55:47.123Z\",\"topic\":"
	    "\"a \\\"topic\\\" \\\\ of ?? and ?\",\"monit\":{\"service\":\"vm\",\"description\":\"");
	for (int i = 0; i < 200; i++)
		(void)snprintf(expected + strlen(expected), sizeof(expected) - strlen(expected), "\\\"");
	(void)snprintf(expected + strlen(expected), sizeof(expected) - strlen(expected),
	    "\"},\"problems\":[\"no memory: this is not all of the event\"]}");
	assert_string_equal(out, expected);
	assert_int_equal(len, strlen(expected));

	(void)px_event_bare(out, "the-id", made.wall_ms, NULL, nothing);
	assert_string_equal(out, "{\"id\":\"the-id\",\"time\":\"2026-11-22T14:55:47.123Z\",\"topic\":\"unspecified\","
	    "\"problems\":[\"no memory: this is not all of the event\"]}");
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_event_text_of_monit_has_its_meaning),
		cmocka_unit_test(other_event_texts_have_the_state_of_their_last_words),
		cmocka_unit_test(documents_are_as_the_page_shows_them),
		cmocka_unit_test(monit_event_in_the_environment_tells_monit),
		cmocka_unit_test(a_later_message_replaces_and_an_empty_one_removes),
		cmocka_unit_test(mistakes_of_others_are_shown_clean_and_counted),
		cmocka_unit_test(values_are_cut_at_4096_bytes_of_cleaned_text),
		cmocka_unit_test(each_cut_is_told_beside_many_mistakes),
		cmocka_unit_test(a_cut_description_has_no_measurement),
		cmocka_unit_test(large_documents_fit_with_their_longest_values_cut),
		cmocka_unit_test(only_the_longest_values_are_cut),
		cmocka_unit_test(the_service_as_topic_is_counted_twice),
		cmocka_unit_test(the_largest_document_without_parameters_fits),
		cmocka_unit_test(a_hundred_thousand_operands_take_no_seconds),
		cmocka_unit_test(writing_again_writes_the_same),
		cmocka_unit_test(parameters_may_be_added_after_writing),
		cmocka_unit_test(a_full_buffer_is_an_error),
		cmocka_unit_test(a_bare_event_is_small_and_plain),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
