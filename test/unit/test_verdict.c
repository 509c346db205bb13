/* SPDX-License-Identifier: MIT */
/* What replies mean, back-off, timers across boots and broken clocks, Retry-After and HTTP dates. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "verdict.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))
#define S 1000
#define DAY_MS INT64_C(86400000)
#define WALL_1970 INT64_C(5000)
#define WALL_2026 INT64_C(1795359347000)
#define WALL_2049 INT64_C(2500000000000)

static void
gives_its_verdict(void **state)
{
	static const struct {
		int status;
		enum px_body body;
		bool body_cut;
		enum px_action action;
		enum px_code code;
		bool honours_retry_after;
		const char *reason;
	} rows[] = {
		{ 200, PX_BODY_EMPTY, false, PX_ACKNOWLEDGE, PX_OK, false, "upstream answered 200 OK" },
		{ 200, PX_BODY_JSON, false, PX_ACKNOWLEDGE, PX_OK, false, "upstream answered 200 OK" },
		{ 202, PX_BODY_OTHER, false, PX_ACKNOWLEDGE, PX_OK, false, "upstream answered 202 Accepted" },
		{ 299, PX_BODY_OTHER, true, PX_ACKNOWLEDGE, PX_OK, false, "upstream answered 299" },
		{ 204, PX_BODY_HTML, false, PX_ACKNOWLEDGE, PX_OK, false, "upstream answered 204 No Content" },
		{ 205, PX_BODY_HTML, false, PX_ACKNOWLEDGE, PX_OK, false, "upstream answered 205 Reset Content" },
		{ 205, PX_BODY_NOT_JSON, true, PX_ACKNOWLEDGE, PX_OK, false, "upstream answered 205 Reset Content" },
		{ 200, PX_BODY_NOT_JSON, false, PX_KEEP, PX_LATER, false,
		    "upstream answered 200 OK with JSON that is not to be read: a captive portal or a broken proxy?" },
		{ 200, PX_BODY_HTML, false, PX_KEEP, PX_LATER, false,
		    "upstream answered 200 OK with HTML: a captive portal or a broken proxy?" },
		{ 200, PX_BODY_HTML, true, PX_KEEP, PX_LATER, false,
		    "upstream answered 200 OK with HTML: a captive portal or a broken proxy?" },
		{ 200, PX_BODY_JSON, true, PX_KEEP, PX_LATER, false, "upstream answered 200 OK with more than 1 MiB of JSON" },
		{ 201, PX_BODY_NOT_JSON, true, PX_KEEP, PX_LATER, false, "upstream answered 201 Created with more than 1 MiB of JSON" },
		{ 300, PX_BODY_EMPTY, false, PX_KEEP, PX_CONFIG, false,
		    "upstream answered 300 Multiple Choices: redirects are not followed, is the URL right?" },
		{ 302, PX_BODY_HTML, false, PX_KEEP, PX_CONFIG, false,
		    "upstream answered 302 Found: redirects are not followed, is the URL right?" },
		{ 399, PX_BODY_EMPTY, false, PX_KEEP, PX_CONFIG, false,
		    "upstream answered 399: redirects are not followed, is the URL right?" },
		{ 400, PX_BODY_JSON, false, PX_SPLIT, PX_CONFIG, false, "upstream answered 400 Bad Request" },
		{ 401, PX_BODY_HTML, false, PX_NEW_TOKEN, PX_DENIED, false, "upstream refuses our credentials (401 Unauthorized)" },
		{ 402, PX_BODY_EMPTY, false, PX_KEEP, PX_CONFIG, false, "upstream answered 402 Payment Required: is the URL right?" },
		{ 403, PX_BODY_EMPTY, false, PX_NEW_TOKEN, PX_DENIED, false, "upstream refuses our credentials (403 Forbidden)" },
		{ 404, PX_BODY_HTML, false, PX_KEEP, PX_CONFIG, false, "upstream answered 404 Not Found: is the URL right?" },
		{ 405, PX_BODY_EMPTY, false, PX_KEEP, PX_CONFIG, false, "upstream answered 405 Method Not Allowed: is the URL right?" },
		{ 407, PX_BODY_EMPTY, false, PX_KEEP, PX_CONFIG, false,
		    "the proxy refuses our credentials (407 Proxy Authentication Required)" },
		{ 408, PX_BODY_EMPTY, false, PX_KEEP, PX_LATER, false, "upstream answered 408 Request Timeout" },
		{ 409, PX_BODY_EMPTY, false, PX_KEEP, PX_LATER, false, "upstream answered 409 Conflict" },
		{ 410, PX_BODY_EMPTY, false, PX_KEEP, PX_CONFIG, false, "upstream answered 410 Gone: is the URL right?" },
		{ 411, PX_BODY_EMPTY, false, PX_KEEP, PX_CONFIG, false, "upstream answered 411 Length Required: is the URL right?" },
		{ 413, PX_BODY_EMPTY, false, PX_SPLIT, PX_CONFIG, true, "upstream answered 413 Content Too Large" },
		{ 415, PX_BODY_EMPTY, false, PX_SEND_PLAIN, PX_CONFIG, false, "upstream answered 415 Unsupported Media Type" },
		{ 418, PX_BODY_EMPTY, false, PX_KEEP, PX_CONFIG, false, "upstream answered 418: is the URL right?" },
		{ 422, PX_BODY_EMPTY, false, PX_SPLIT, PX_CONFIG, false, "upstream answered 422 Unprocessable Content" },
		{ 423, PX_BODY_EMPTY, false, PX_KEEP, PX_CONFIG, false, "upstream answered 423 Locked: is the URL right?" },
		{ 425, PX_BODY_EMPTY, false, PX_KEEP, PX_LATER, false, "upstream answered 425 Too Early" },
		{ 426, PX_BODY_EMPTY, false, PX_KEEP, PX_CONFIG, false, "upstream answered 426 Upgrade Required: is the URL right?" },
		{ 429, PX_BODY_EMPTY, false, PX_KEEP, PX_LATER, true, "upstream answered 429 Too Many Requests" },
		{ 499, PX_BODY_EMPTY, false, PX_KEEP, PX_CONFIG, false, "upstream answered 499: is the URL right?" },
		{ 500, PX_BODY_HTML, true, PX_KEEP, PX_LATER, true, "upstream answered 500 Internal Server Error" },
		{ 503, PX_BODY_EMPTY, false, PX_KEEP, PX_LATER, true, "upstream answered 503 Service Unavailable" },
		{ 599, PX_BODY_EMPTY, false, PX_KEEP, PX_LATER, true, "upstream answered 599" },
		{ 101, PX_BODY_EMPTY, false, PX_KEEP, PX_LATER, false, "upstream answered 101, which is no final status" },
		{ 600, PX_BODY_EMPTY, false, PX_KEEP, PX_LATER, false, "upstream answered 600, which is no final status" },
		{ -7, PX_BODY_EMPTY, false, PX_KEEP, PX_LATER, false, "upstream answered -7, which is no final status" },
		{ 0, PX_BODY_EMPTY, false, PX_KEEP, PX_LATER, false, "no whole reply from upstream: connection %s reset" },
	};

	(void)state;
	for (size_t i = 0; i < COUNT(rows); i++) {
		struct px_reply reply = { .status = rows[i].status, .body_cut = rows[i].body_cut, .error = "connection %s reset" };
		struct px_verdict verdict;

		px_verdict(&reply, rows[i].body, &verdict);
		if (verdict.action != rows[i].action || verdict.code != rows[i].code ||
		    verdict.honours_retry_after != rows[i].honours_retry_after || strcmp(verdict.reason, rows[i].reason) != 0)
			fail_msg("row %zu, status %d: action %d, code %d, Retry-After %d, '%s'", i, rows[i].status, (int)verdict.action,
			    (int)verdict.code, verdict.honours_retry_after, verdict.reason);
	}
}

static void
draws_the_backoff(void **state)
{
	static const struct {
		int64_t steps;
		int64_t initial_ms;
		int64_t max_ms;
		int64_t cap_ms;
	} rows[] = {
		{ 0, 30 * S, 3600 * S, 30 * S },
		{ 1, 30 * S, 3600 * S, 30 * S },
		{ 2, 30 * S, 3600 * S, 60 * S },
		{ 7, 30 * S, 3600 * S, 1920 * S },
		{ 8, 30 * S, 3600 * S, 3600 * S },
		{ 9, 30 * S, 3600 * S, 3600 * S },
		{ INT64_MAX, 1 * S, 30 * DAY_MS, 30 * DAY_MS },
		{ 3, 60 * S, 60 * S, 60 * S },
		{ 3, 60 * S, 10 * S, 10 * S },
		{ 5000, 1, INT64_MAX, INT64_MAX },
		{ 3, 0, 10 * S, 0 },
	};

	(void)state;
	for (size_t i = 0; i < COUNT(rows); i++) {
		uint64_t cap = (uint64_t)rows[i].cap_ms;
		int64_t least = px_backoff_ms(rows[i].steps, rows[i].initial_ms, rows[i].max_ms, 0);
		int64_t most = px_backoff_ms(rows[i].steps, rows[i].initial_ms, rows[i].max_ms, cap);
		int64_t again = px_backoff_ms(rows[i].steps, rows[i].initial_ms, rows[i].max_ms, cap + 1);
		int64_t any = px_backoff_ms(rows[i].steps, rows[i].initial_ms, rows[i].max_ms, UINT64_MAX);

		if (least != 0 || most != rows[i].cap_ms || again != 0 || any < 0 || any > rows[i].cap_ms)
			fail_msg("row %zu: from %" PRId64 " to %" PRId64 ", then %" PRId64 ", some %" PRId64, i, least, most, again, any);
	}
}

/* Jitter is drawn after the cap: half of all draws at the cap wait less than half of it. */
static void
spreads_the_backoff_evenly(void **state)
{
	uint64_t random = 88172645463325252U;
	int below = 0;

	(void)state;
	for (int i = 0; i < 2000; i++) {
		random ^= random << 13;
		random ^= random >> 7;
		random ^= random << 17;
		below += px_backoff_ms(20, 30 * S, 3600 * S, random) < 1800 * S;
	}
	assert_in_range(below, 900, 1100);
}

static const struct timer_row {
	const char *name;
	struct px_now began;
	int64_t length_ms;
	struct px_now now;
	int64_t left_ms;
	bool adopted;
} timer_rows[] = {
	{ "same boot, half way", { WALL_2026, 1000, "a" }, 60 * S, { WALL_2026 + 30 * S, 31 * S, "a" }, 30 * S, false },
	{ "same boot, just over", { WALL_2026, 1000, "a" }, 60 * S, { WALL_2026 + 60 * S, 61 * S, "a" }, 0, false },
	{ "same boot, one to go", { WALL_2026, 1000, "a" }, 60 * S, { WALL_2026, 61 * S - 1, "a" }, 1, false },
	{ "same boot, the clock stepped to 2049", { WALL_2026, 1000, "a" }, 60 * S, { WALL_2049, 11 * S, "a" }, 50 * S, false },
	{ "same boot, the clock stepped to 1970", { WALL_2026, 1000, "a" }, 60 * S, { WALL_1970, 11 * S, "a" }, 50 * S, false },
	{ "same boot, boot time behind (damaged, or another time namespace)", { WALL_2026, 90 * S, "a" }, 60 * S,
	    { WALL_2026, 1 * S, "a" }, 60 * S, true },
	{ "other boot, by the wall", { WALL_2026, 900 * S, "a" }, 60 * S, { WALL_2026 + 20 * S, 5 * S, "b" }, 40 * S, true },
	{ "other boot, over by the wall", { WALL_2026, 1 * S, "a" }, 60 * S, { WALL_2026 + 90 * S, 5 * S, "b" }, 0, true },
	{ "other boot, its clock at 1970", { WALL_2026, 1 * S, "a" }, 60 * S, { WALL_1970, 5 * S, "b" }, 60 * S, true },
	{ "other boot, its clock at 2049", { WALL_2026, 1 * S, "a" }, 60 * S, { WALL_2049, 5 * S, "b" }, 0, true },
	{ "began in 2049, now 2026", { WALL_2049, 1 * S, "a" }, DAY_MS, { WALL_2026, 5 * S, "b" }, DAY_MS, true },
	{ "no boot id now", { WALL_2026, 1 * S, "a" }, 60 * S, { WALL_2026 + 10 * S, 500 * S, "" }, 50 * S, true },
	{ "no boot id ever", { WALL_2026, 1 * S, "" }, 60 * S, { WALL_2026 + 10 * S, 500 * S, "" }, 50 * S, true },
	{ "no length", { WALL_2026, 1 * S, "a" }, 0, { WALL_2026, 1 * S, "a" }, 0, false },
	{ "length below nothing (damaged)", { WALL_2026, 1 * S, "a" }, -60 * S, { WALL_2026, 1 * S, "b" }, 0, true },
	{ "moments too far apart", { INT64_MIN, INT64_MIN, "a" }, 60 * S, { INT64_MAX, INT64_MAX, "b" }, 0, true },
	{ "moments too far apart, backwards", { INT64_MAX, INT64_MAX, "a" }, 60 * S, { -2, -2, "b" }, 60 * S, true },
};

static void
tells_what_is_left_of_a_timer(void **state)
{
	(void)state;
	for (size_t i = 0; i < COUNT(timer_rows); i++) {
		const struct timer_row *row = &timer_rows[i];
		struct px_timer timer = { true, row->began, row->length_ms };
		int64_t left = px_timer_left_ms(&timer, &row->now);
		bool adopted;

		if (left != row->left_ms)
			fail_msg("%s: left %" PRId64, row->name, left);
		adopted = px_timer_adopt(&timer, &row->now);
		if (adopted != row->adopted || px_timer_left_ms(&timer, &row->now) != row->left_ms)
			fail_msg("%s: adopted %d, left %" PRId64, row->name, adopted, px_timer_left_ms(&timer, &row->now));
		timer.is_set = false;
		assert_int_equal(px_timer_left_ms(&timer, &row->now), 0);
		assert_false(px_timer_adopt(&timer, &row->now));
	}
}

/* A device whose clock stands at 1970 after each boot: once adopted, boot time ends the wait. */
static void
ends_an_adopted_timer(void **state)
{
	struct px_timer timer = { true, { WALL_2026, 1000, "a" }, 60 * S };
	struct px_now now = { WALL_1970, 2000, "b" };

	(void)state;
	assert_true(px_timer_adopt(&timer, &now));
	assert_false(px_timer_adopt(&timer, &now));
	now.boot_ms += 60 * S;
	assert_int_equal(px_timer_left_ms(&timer, &now), 0);
}

static void
splays_by_device(void **state)
{
	int below = 0;

	(void)state;
	assert_int_equal(px_splay_ms(px_slice("device-1"), 0), 0);
	assert_int_equal(px_splay_ms(px_slice("device-1"), 1), 0);
	assert_int_equal(px_splay_ms(px_slice("a"), INT64_MAX), 0xaf63dc4c8601ec8cU % (uint64_t)INT64_MAX);	/* FNV-1a's own vector */
	assert_int_equal(px_splay_ms(px_slice("device-1"), 30 * S), px_splay_ms(px_slice("device-1"), 30 * S));
	for (int i = 0; i < 1000; i++) {
		char id[32];
		int64_t splay;

		(void)snprintf(id, sizeof(id), "device-%d", i);
		splay = px_splay_ms(px_slice(id), 30 * S);
		assert_in_range(splay, 0, 30 * S - 1);
		below += splay < 15 * S;
	}
	assert_in_range(below, 400, 600);
}

#define NOV_6 INT64_C(784111777)	/* 1994-11-06 08:49:37 */

static void
reads_retry_after(void **state)
{
	static const struct {
		const char *value;
		int64_t date_s;
		int64_t wait_ms;
	} rows[] = {
		{ "120", -1, 120 * S },
		{ " 120\t", -1, 120 * S },
		{ "0", -1, 1 * S },
		{ "1", -1, 1 * S },
		{ "007", -1, 7 * S },
		{ "86400", -1, DAY_MS },
		{ "86401", -1, DAY_MS },
		{ "99999999999999999999999999", -1, DAY_MS },
		{ "", -1, -1 },
		{ "-5", -1, -1 },
		{ "+5", -1, -1 },
		{ "1.5", -1, -1 },
		{ "5s", -1, -1 },
		{ "0x10", -1, -1 },
		{ "soon", NOV_6, -1 },
		{ "Sun, 06 Nov 1994 08:49:37 GMT", -1, -1 },
		{ "Sun, 06 Nov 1994 08:49:37 GMT", NOV_6 - 90, 90 * S },
		{ "Sunday, 06-Nov-94 08:49:37 GMT", NOV_6 - 90, 90 * S },
		{ "Sun Nov  6 08:49:37 1994", NOV_6 - 90, 90 * S },
		{ "Sun, 06 Nov 1994 08:49:37 GMT", NOV_6, 1 * S },
		{ "Sun, 06 Nov 1994 08:49:37 GMT", NOV_6 + 1000, 1 * S },
		{ "Sun, 06 Nov 1994 08:49:37 GMT", NOV_6 - 100000, DAY_MS },
		{ "Fri, 31 Dec 9999 23:59:59 GMT", INT64_MIN, DAY_MS },
	};

	(void)state;
	for (size_t i = 0; i < COUNT(rows); i++) {
		int64_t wait = px_retry_after_ms(px_slice(rows[i].value), rows[i].date_s);

		if (wait != rows[i].wait_ms)
			fail_msg("row %zu, '%s': %" PRId64, i, rows[i].value, wait);
	}
}

static void
reads_http_dates(void **state)
{
	static const int64_t in_2026 = WALL_2026 / 1000;
	static const struct {
		const char *text;
		int64_t now_s;
		int rc;
		int64_t utc_s;
	} rows[] = {
		{ "Sun, 06 Nov 1994 08:49:37 GMT", 0, 0, NOV_6 },
		{ " Sun, 06 Nov 1994 08:49:37 GMT ", 0, 0, NOV_6 },
		{ "Sunday, 06-Nov-94 08:49:37 GMT", in_2026, 0, NOV_6 },
		{ "Sun Nov  6 08:49:37 1994", 0, 0, NOV_6 },
		{ "Wed Nov 16 08:49:37 1994", 0, 0, NOV_6 + 10 * 86400 },
		{ "Thu, 01 Jan 1970 00:00:00 GMT", 0, 0, 0 },
		{ "Tue, 29 Feb 2000 12:00:00 GMT", 0, 0, 951825600 },
		{ "Sat, 31 Dec 2016 23:59:60 GMT", 0, 0, 1483228800 },
		{ "Tuesday, 01-Jan-30 00:00:00 GMT", in_2026, 0, 1893456000 },	/* 2030 */
		{ "Wednesday, 01-Jan-76 00:00:00 GMT", in_2026, 0, 3345062400 },	/* 2076, 50 years ahead */
		{ "Saturday, 01-Jan-77 00:00:00 GMT", in_2026, 0, 220924800 },	/* 1977 */
		{ "Thursday, 01-Jan-70 00:00:00 GMT", 0, 0, 0 },
		{ "Sun, 06 nov 1994 08:49:37 GMT", 0, -1, 0 },
		{ "Sun, 6 Nov 1994 08:49:37 GMT", 0, -1, 0 },
		{ "Sun, 06 Nov 1994 08:49:37 CET", 0, -1, 0 },
		{ "Sun, 06 Nov 1994 08:49:37", 0, -1, 0 },
		{ "Sun, 06 Nov 1994 08:49:37 GMT+1", 0, -1, 0 },
		{ "Sun, 06 Nov 94 08:49:37 GMT", 0, -1, 0 },
		{ "Sunday, 06 Nov 1994 08:49:37 GMT", 0, -1, 0 },
		{ "Sun, 31 Feb 1994 08:49:37 GMT", 0, -1, 0 },
		{ "Sun, 00 Nov 1994 08:49:37 GMT", 0, -1, 0 },
		{ "Sun, 06 Nov 1994 24:00:00 GMT", 0, -1, 0 },
		{ "Sun, 06 Nov 1994 08:60:37 GMT", 0, -1, 0 },
		{ "Sun, 06 Nov 1994 08:49:6x GMT", 0, -1, 0 },
		{ "Sun Nov 06 08:49:37 1994 GMT", 0, -1, 0 },
		{ "Sun Nov", 0, -1, 0 },
		{ "1994-11-06T08:49:37Z", 0, -1, 0 },
		{ "784111777", 0, -1, 0 },
		{ "", 0, -1, 0 },
	};

	(void)state;
	for (size_t i = 0; i < COUNT(rows); i++) {
		int64_t utc_s = 0;
		int rc = px_http_date(px_slice(rows[i].text), rows[i].now_s, &utc_s);

		if (rc != rows[i].rc || (rc == 0 && utc_s != rows[i].utc_s))
			fail_msg("row %zu, '%s': %d, %" PRId64, i, rows[i].text, rc, utc_s);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(gives_its_verdict),
		cmocka_unit_test(draws_the_backoff),
		cmocka_unit_test(spreads_the_backoff_evenly),
		cmocka_unit_test(tells_what_is_left_of_a_timer),
		cmocka_unit_test(ends_an_adopted_timer),
		cmocka_unit_test(splays_by_device),
		cmocka_unit_test(reads_retry_after),
		cmocka_unit_test(reads_http_dates),
	};

	return cmocka_run_group_tests_name("verdict", tests, NULL, NULL);
}
