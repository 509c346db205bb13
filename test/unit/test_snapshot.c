/* SPDX-License-Identifier: MIT */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <dirent.h>
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "share.h"
#include "snapshot.h"

#ifndef PX_FIXTURES
#define PX_FIXTURES "test/fixtures"
#endif

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))
#define MIB ((size_t)1 << 20)

#define BEGIN "{\"time\":\"2026-11-22T14:55:47.123Z\"," \
    "\"boot_id\":\"5f1c3a52-5a4f-4d4e-9b7c-0d3c5f6a7b8c\",\"uptime_ms\":1080123"
#define STATUS "  status                       "
#define SUMMARY_OF_ONE_OK "{\"total\":1,\"ok\":1,\"failed\":0,\"unmonitored\":0,\"initializing\":0,\"waiting\":0}"

static const struct px_now made = {
	.wall_ms = INT64_C(1795359347123),
	.boot_ms = 1080123,
	.boot_id = "5f1c3a52-5a4f-4d4e-9b7c-0d3c5f6a7b8c",
};

static int
utc(int64_t utc_s)
{
	(void)utc_s;
	return 0;
}

static void
read_file(struct px_buf *out, const char *name)
{
	char path[512];
	FILE *file;
	char *room;

	(void)snprintf(path, sizeof(path), "%s/status/%s", PX_FIXTURES, name);
	file = fopen(path, "re");
	if (file == NULL)
		fail_msg("cannot open '%s'", path);
	room = px_buf_reserve(out, MIB);
	assert_non_null(room);
	px_buf_used(out, fread(room, 1, MIB, file));
	(void)fclose(file);
}

/* The snapshot of ${text}; ${out} stays empty where Monit said no status. */
static void
snapshot(struct px_buf *out, const char *text, size_t len)
{
	struct px_monit_status status;
	struct px_err err;

	if (px_monit_parse(&status, text, len, &err) == 0)
		assert_int_equal(px_snapshot_write(out, &made, &status, utc, &err), 0);
	px_monit_clear(&status);
}

/* What is written behind the moment it was made. */
static const struct {
	const char *name;
	const char *text;
	const char *json;
} documents[] = {
	{ "a header alone", "Monit 5.33.0 uptime: 2h 14m\n",
	    ",\"monit\":{\"reachable\":true,\"version\":\"5.33.0\",\"uptime\":{\"seconds\":8040}},"
	    "\"summary\":{\"total\":0,\"ok\":0,\"failed\":0,\"unmonitored\":0,\"initializing\":0,\"waiting\":0},\"services\":[]}" },
	{ "a header without a version", "Monit uptime: 1m\n",
	    ",\"monit\":{\"reachable\":true,\"uptime\":{\"seconds\":60}},\"summary\":{\"total\":0,\"ok\":0,\"failed\":0,"
	    "\"unmonitored\":0,\"initializing\":0,\"waiting\":0},\"services\":[]}" },
	{ "a service without lines", "File 'a \"b\"'\n" STATUS "OK\n",
	    ",\"monit\":{\"reachable\":true},\"summary\":" SUMMARY_OF_ONE_OK ",\"services\":[{\"type\":\"file\","
	    "\"name\":\"a \\\"b\\\"\",\"state\":\"ok\",\"status\":\"OK\",\"values\":{}}]}" },
	{ "one of each state",
	    "File 'a'\n" STATUS "OK - restart pending\n\nFile 'b'\n" STATUS "Size failed | UID failed - stop pending\n\nFile 'c'\n"
	    STATUS "Not monitored\n\nFile 'd'\n" STATUS "Initializing\n\nFile 'e'\n" STATUS "Waiting\n\n",
	    ",\"monit\":{\"reachable\":true},\"summary\":{\"total\":5,\"ok\":1,\"failed\":1,\"unmonitored\":1,\"initializing\":1,"
	    "\"waiting\":1},\"services\":["
	    "{\"type\":\"file\",\"name\":\"a\",\"state\":\"ok\",\"status\":\"OK - restart pending\",\"pending\":\"restart\","
	    "\"values\":{}},"
	    "{\"type\":\"file\",\"name\":\"b\",\"state\":\"failed\",\"status\":\"Size failed | UID failed - stop pending\","
	    "\"pending\":\"stop\",\"failures\":[\"Size failed\",\"UID failed\"],\"values\":{}},"
	    "{\"type\":\"file\",\"name\":\"c\",\"state\":\"unmonitored\",\"status\":\"Not monitored\",\"values\":{}},"
	    "{\"type\":\"file\",\"name\":\"d\",\"state\":\"initializing\",\"status\":\"Initializing\",\"values\":{}},"
	    "{\"type\":\"file\",\"name\":\"e\",\"state\":\"waiting\",\"status\":\"Waiting\",\"values\":{}}]}" },
	{ "a service without a status", "File 'a'\n  uid                          0\n",
	    ",\"monit\":{\"reachable\":true},\"summary\":{\"total\":1,\"ok\":0,\"failed\":1,\"unmonitored\":0,\"initializing\":0,"
	    "\"waiting\":0},\"services\":[{\"type\":\"file\",\"name\":\"a\",\"state\":\"failed\",\"status\":\"\","
	    "\"values\":{\"uid\":0}}]}" },
	{ "keys",
	    "Process 'p'\n" STATUS "OK\n  Effective UID                0\n  \xc3\x89t\xc3\xa9-x.y                    1\n",
	    ",\"monit\":{\"reachable\":true},\"summary\":" SUMMARY_OF_ONE_OK ",\"services\":[{\"type\":\"process\",\"name\":\"p\","
	    "\"state\":\"ok\",\"status\":\"OK\",\"values\":{\"effective_uid\":0,\"\xc3\x89t\xc3\xa9-x.y\":1}}]}" },
	{ "repeated labels, in order, at the place of the first",
	    "Process 'p'\n" STATUS "OK\n  b                            3\n  a                            2\n"
	    "  b                            1\n  A                            -\n  b                            x\n"
	    "  c                            4\n",
	    ",\"monit\":{\"reachable\":true},\"summary\":" SUMMARY_OF_ONE_OK ",\"services\":[{\"type\":\"process\",\"name\":\"p\","
	    "\"state\":\"ok\",\"status\":\"OK\",\"values\":{\"b\":[3,1,\"x\"],\"a\":[2,null],\"c\":4}}]}" },
	{ "labels that are arrays always",
	    "Process 'p'\n" STATUS "OK\n  port response time           -\n  unix socket response time    0.5 ms\n"
	    "  ping response time           0.5 ms\n",
	    ",\"monit\":{\"reachable\":true},\"summary\":" SUMMARY_OF_ONE_OK ",\"services\":[{\"type\":\"process\",\"name\":\"p\","
	    "\"state\":\"ok\",\"status\":\"OK\",\"values\":{\"port_response_time\":[null],"
	    "\"unix_socket_response_time\":[{\"milliseconds\":0.5}],\"ping_response_time\":{\"milliseconds\":0.5}}}]}" },
};

static void
test_documents(void **state)
{
	(void)state;
	for (size_t i = 0; i < COUNT(documents); i++) {
		struct px_buf out = PX_BUF(MIB);
		const char *rest;

		snapshot(&out, documents[i].text, strlen(documents[i].text));
		rest = strncmp(px_buf_text(&out), BEGIN, strlen(BEGIN)) == 0 ? out.data + strlen(BEGIN) : px_buf_text(&out);
		if (strcmp(rest, documents[i].json) != 0)
			fail_msg("%s:\n%s\nnot\n%s", documents[i].name, rest, documents[i].json);
		px_buf_clear(&out);
	}
}

/* Without the line's ends and the indents that a fixture has for its reader: outside of strings none is JSON's own. */
static void
fold(struct px_buf *out, const struct px_buf *json)
{
	bool in_string = false;

	for (size_t i = 0; i < json->len; i++) {
		char byte = json->data[i];

		if (in_string && byte == '\\') {
			px_buf_add_byte(out, byte);
			byte = json->data[++i];
		} else if (byte == '"')
			in_string = !in_string;
		else if (!in_string && strchr(" \t\n", byte) != NULL)
			continue;
		px_buf_add_byte(out, byte);
	}
}

static void
check_fixture(const char *text_name)
{
	struct px_buf text = PX_BUF(2 * MIB);
	struct px_buf json = PX_BUF(2 * MIB);
	struct px_buf expected = PX_BUF(2 * MIB);
	struct px_buf out = PX_BUF(2 * MIB);
	char json_name[256];
	size_t same = 0;

	(void)snprintf(json_name, sizeof(json_name), "%.*s.json", (int)(strlen(text_name) - strlen(".txt")), text_name);
	read_file(&text, text_name);
	read_file(&json, json_name);
	fold(&expected, &json);
	snapshot(&out, text.data, text.len);
	while (same < out.len && same < expected.len && out.data[same] == expected.data[same])
		same++;
	if (same < out.len || same < expected.len)
		fail_msg("%s: at byte %zu '%.100s', not '%.100s'", text_name, same, px_buf_text(&out) + same,
		    px_buf_text(&expected) + same);
	px_buf_clear(&text);
	px_buf_clear(&json);
	px_buf_clear(&expected);
	px_buf_clear(&out);
}

/* Every NAME.txt has its NAME.json. */
static void
test_fixtures(void **state)
{
	DIR *folder = opendir(PX_FIXTURES "/status");
	const struct dirent *entry;
	size_t count = 0;

	(void)state;
	assert_non_null(folder);
	while ((entry = readdir(folder)) != NULL) {
		size_t len = strlen(entry->d_name);

		if (len <= 4 || strcmp(entry->d_name + len - 4, ".txt") != 0)
			continue;
		check_fixture(entry->d_name);
		count++;
	}
	(void)closedir(folder);
	assert_true(count >= 8);
}

static void
test_unreachable(void **state)
{
	struct px_buf out = PX_BUF(MIB);
	struct px_err err;

	(void)state;
	assert_int_equal(px_snapshot_write_unreachable(&out, &made, "cannot run 'monit':\nno \"such\" file \xff", &err), 0);
	assert_string_equal(px_buf_text(&out), BEGIN ",\"monit\":{\"reachable\":false,"
	    "\"error\":\"cannot run 'monit':\\nno \\\"such\\\" file \xef\xbf\xbd\"}}");
	px_buf_clear(&out);
	assert_int_equal(px_snapshot_write_unreachable(&out, &made, "", &err), 0);
	assert_string_equal(px_buf_text(&out), BEGIN ",\"monit\":{\"reachable\":false,\"error\":\"\"}}");
	px_buf_clear(&out);
}

/* At every limit below its size a document is refused, and the buffer can take the one that says so. */
static void
test_too_large(void **state)
{
	static const char text[] = "Program 'p'\n" STATUS "a | b\n"
	    "  last output                  long\n  uid                          0\n";
	struct px_monit_status status;
	struct px_err err;
	struct px_buf whole = PX_BUF(MIB);

	(void)state;
	snapshot(&whole, text, sizeof(text) - 1);
	assert_int_equal(px_monit_parse(&status, text, sizeof(text) - 1, &err), 0);
	for (size_t max = 0; max < whole.len; max++) {
		struct px_buf out = PX_BUF(max);

		err.code = PX_OK;
		assert_int_equal(px_snapshot_write(&out, &made, &status, utc, &err), -1);
		assert_int_equal(err.code, PX_LATER);
		assert_false(out.failed);
		assert_int_equal(out.len, 0);
		if (max > 200)
			assert_int_equal(px_snapshot_write_unreachable(&out, &made, "too large", &err), 0);
		px_buf_clear(&out);
	}
	whole.max = whole.len;
	px_buf_rewind(&whole, 0);
	assert_int_equal(px_snapshot_write(&whole, &made, &status, utc, &err), 0);
	px_monit_clear(&status);
	px_buf_clear(&whole);
}

/* Every start of a real status makes a document that is closed. */
static void
test_every_start(void **state)
{
	struct px_buf text = PX_BUF(2 * MIB);
	struct px_buf out = PX_BUF(MIB);

	(void)state;
	read_file(&text, "5.7.txt");
	for (size_t len = 0; len <= text.len; len += parts()) {
		px_buf_rewind(&out, 0);
		snapshot(&out, text.data, len);
		if (out.len > 0)
			assert_int_equal(out.data[out.len - 1], '}');
	}
	px_buf_clear(&text);
	px_buf_clear(&out);
}

#define OUTPUT "  last output                  "
#define INDENT "                               "
#define DATE "\n  data collected               Sun, 22 Nov 2026 15:27:57\n"

/* What begins an input, and what is repeated; before ${after} stands the number of the repetition. */
static const struct {
	const char *name;
	const char *start;
	const char *again;
	const char *after;
} floods[] = {
	{ "one label", "Process 'p'\n" STATUS "OK\n", "  port response time           -\n", NULL },
	{ "two labels by turns", "Process 'p'\n" STATUS "OK\n",
	    "  a                            1\n  b                            2\n", NULL },
	{ "labels", "Process 'p'\n" STATUS "OK\n", "  label ", "             1\n" },
	{ "the shortest lines", "Process 'p'\n" STATUS "OK\n", "  a\n", NULL },
	{ "services", "", "File 'f", "'\n" STATUS "OK\n  port response time           -\n\n" },
	{ "the shortest services", "", "File ''\n", NULL },
	{ "lines of output", "Program 'p'\n" STATUS "OK\n" OUTPUT "a\n", INDENT "a\n", NULL },
	{ "a line", "Program 'p'\n" STATUS "OK\n  a label                      ", "9", NULL },
	{ "failures", "Process 'p'\n" STATUS, "a | ", NULL },
	{ "targets", "Process 'p'\n" STATUS "OK\n",
	    "  port response time           FAILED to type type type type type type\n", NULL },
	{ "a target", "Process 'p'\n" STATUS "OK\n  port response time           FAILED to ", "typeprotocol", NULL },
	{ "a target of blanks", "Process 'p'\n" STATUS "OK\n  port response time           FAILED to x", " ", NULL },
};

/* Bytes of the heap that are in use; 0 where a sanitizer or valgrind has the heap. */
static size_t
held_bytes(void)
{
	struct mallinfo2 info = mallinfo2();

	return info.uordblks + info.hblkhd;
}

static const struct px_buf *document;
static size_t held_at_first_date;

/* Called while a date is written: whatever a document needs is held then. */
static int
utc_that_looks(int64_t utc_s)
{
	size_t held = held_bytes();

	if (held_at_first_date == 0 && held > document->cap)
		held_at_first_date = held - document->cap;
	return utc(utc_s);
}

static void
write_flood(struct px_buf *text, size_t i, size_t bytes)
{
	px_buf_add_text(text, floods[i].start);
	for (size_t number = 0; text->len < bytes; number++) {
		px_buf_add_text(text, floods[i].again);
		if (floods[i].after != NULL)
			px_buf_printf(text, "%zu%s", number, floods[i].after);
	}
	px_buf_add_text(text, DATE);
}

/* Of the processor's time, for reading and writing; the memory for it is checked on the way. */
static double
seconds_for(size_t i, size_t bytes)
{
	struct px_buf text = PX_BUF(bytes + 4096);
	struct px_buf out = PX_BUF(16 * bytes);
	struct px_monit_status status;
	struct px_err err;
	size_t held;
	clock_t began;
	double seconds;

	write_flood(&text, i, bytes);
	held = held_bytes();
	document = &out;
	held_at_first_date = 0;
	began = clock();
	assert_int_equal(px_monit_parse(&status, text.data, text.len, &err), 0);
	assert_int_equal(px_snapshot_write(&out, &made, &status, utc_that_looks, &err), 0);
	seconds = (double)(clock() - began) / CLOCKS_PER_SEC;
	if (held_at_first_date > held + PX_MONIT_MEMORY * text.len)
		fail_msg("%s: %zu bytes take %zu of memory", floods[i].name, text.len, held_at_first_date - held);
	px_monit_clear(&status);
	px_buf_clear(&text);
	px_buf_clear(&out);
	return seconds;
}

/*
 * Four times the input takes about four times as long; a square would be sixteen. What else the machine does may spoil a
 * measurement, but not all of them.
 */
static void
test_linear(void **state)
{
	const size_t largest = 4 * MIB / parts();

	(void)state;
	for (size_t i = 0; i < COUNT(floods); i++) {
		double small = 0;
		double large = 1;

		for (int tries = 0; tries < 5 && large > 8 * small + 0.05; tries++) {
			small = seconds_for(i, largest / 4);
			large = seconds_for(i, largest);
		}
		if (large > 8 * small + 0.05)
			fail_msg("%s: a quarter takes %.3f s, the whole %.3f s", floods[i].name, small, large);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_documents),
		cmocka_unit_test(test_fixtures),
		cmocka_unit_test(test_unreachable),
		cmocka_unit_test(test_too_large),
		cmocka_unit_test(test_every_start),
		cmocka_unit_test(test_linear),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
