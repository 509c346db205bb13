/* SPDX-License-Identifier: MIT */
/* Replies, tokens and overflow documents that somebody else wrote, well and badly. */
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
#include "payload.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))
#define JSON "application/json"
#define PROBLEM "application/problem+json"
#define ID "019b7760-0000-7000-8000-00000000000a"
#define TEXT(text) (text), sizeof(text) - 1

static void
reads_answers(void **state)
{
	static const struct {
		const char *type;
		const char *text;
		size_t len;
		enum px_body body;
		size_t rejected;
		const char *id;		/* of the first that is rejected */
		const char *reason;
		const char *problem;
	} rows[] = {
		{ JSON, TEXT(""), PX_BODY_EMPTY, 0, NULL, NULL, "" },
		{ "text/html", TEXT(""), PX_BODY_EMPTY, 0, NULL, NULL, "" },
		{ "text/html", TEXT("<html>"), PX_BODY_HTML, 0, NULL, NULL, "" },
		{ "application/xhtml+xml", TEXT("<html/>"), PX_BODY_HTML, 0, NULL, NULL, "" },
		{ "", TEXT("<html>"), PX_BODY_OTHER, 0, NULL, NULL, "" },
		{ "application/octet-stream", TEXT("{"), PX_BODY_OTHER, 0, NULL, NULL, "" },
		{ "application/jsonp", TEXT("{"), PX_BODY_OTHER, 0, NULL, NULL, "" },
		{ "+json", TEXT("{"), PX_BODY_OTHER, 0, NULL, NULL, "" },

		/* One JSON document of any kind. */
		{ JSON, TEXT("{}"), PX_BODY_JSON, 0, NULL, NULL, "" },
		{ JSON, TEXT(" [1, 2.5e3, \"x\", null, true]\r\n\t"), PX_BODY_JSON, 0, NULL, NULL, "" },
		{ JSON, TEXT("[0, -0, -0.5e-07, 0.01, 1e05, 1E+00, 100]"), PX_BODY_JSON, 0, NULL, NULL, "" },
		{ JSON, TEXT("{\"01\":\"1.\"}"), PX_BODY_JSON, 0, NULL, NULL, "" },
		{ JSON, TEXT("\"ok\""), PX_BODY_JSON, 0, NULL, NULL, "" },
		{ JSON, TEXT("1"), PX_BODY_JSON, 0, NULL, NULL, "" },
		{ JSON, TEXT("null"), PX_BODY_JSON, 0, NULL, NULL, "" },
		{ JSON, TEXT("\xef\xbb\xbf{}"), PX_BODY_JSON, 0, NULL, NULL, "" },
		{ "text/json", TEXT("{}"), PX_BODY_JSON, 0, NULL, NULL, "" },
		{ "application/vnd.px+json", TEXT("{}"), PX_BODY_JSON, 0, NULL, NULL, "" },
		{ JSON, TEXT("{\"a\":\"]}\\\"[{\\\\\",\"rejected\":[]}"), PX_BODY_JSON, 0, NULL, NULL, "" },
		{ JSON, TEXT("[\"rejected\"]"), PX_BODY_JSON, 0, NULL, NULL, "" },
		{ JSON, TEXT("{\"Rejected\":1}"), PX_BODY_JSON, 0, NULL, NULL, "" },
		{ JSON, TEXT("{\"more\":{\"rejected\":1}}"), PX_BODY_JSON, 0, NULL, NULL, "" },

		/* Not one JSON document. */
		{ JSON, TEXT(" "), PX_BODY_NOT_JSON, 0, NULL, NULL, "" },
		{ JSON, TEXT("ok"), PX_BODY_NOT_JSON, 0, NULL, NULL, "" },
		{ JSON, TEXT("<html>"), PX_BODY_NOT_JSON, 0, NULL, NULL, "" },
		{ JSON, TEXT("{"), PX_BODY_NOT_JSON, 0, NULL, NULL, "" },
		{ JSON, TEXT("{\"rejected\":["), PX_BODY_NOT_JSON, 0, NULL, NULL, "" },
		{ JSON, TEXT("{}{}"), PX_BODY_NOT_JSON, 0, NULL, NULL, "" },
		{ JSON, TEXT("{} x"), PX_BODY_NOT_JSON, 0, NULL, NULL, "" },
		{ JSON, TEXT("{}\0"), PX_BODY_NOT_JSON, 0, NULL, NULL, "" },
		{ JSON, TEXT("{}\0{}"), PX_BODY_NOT_JSON, 0, NULL, NULL, "" },
		{ JSON, TEXT("{\"a\":\"\0\"}"), PX_BODY_NOT_JSON, 0, NULL, NULL, "" },
		{ JSON, TEXT("{\"a\":\"line\nline\"}"), PX_BODY_NOT_JSON, 0, NULL, NULL, "" },
		{ JSON, TEXT("{\"a\":\"\\\n\"}"), PX_BODY_NOT_JSON, 0, NULL, NULL, "" },
		{ JSON, TEXT("{\x01}"), PX_BODY_NOT_JSON, 0, NULL, NULL, "" },
		{ JSON, TEXT("{\"a\":\"\\"), PX_BODY_NOT_JSON, 0, NULL, NULL, "" },
		{ JSON, TEXT("[1,]"), PX_BODY_NOT_JSON, 0, NULL, NULL, "" },
		{ JSON, TEXT("01"), PX_BODY_NOT_JSON, 0, NULL, NULL, "" },
		{ JSON, TEXT("-01"), PX_BODY_NOT_JSON, 0, NULL, NULL, "" },
		{ JSON, TEXT("{\"a\":01}"), PX_BODY_NOT_JSON, 0, NULL, NULL, "" },
		{ JSON, TEXT("{\"a\":-00}"), PX_BODY_NOT_JSON, 0, NULL, NULL, "" },
		{ JSON, TEXT("{\"a\":1.}"), PX_BODY_NOT_JSON, 0, NULL, NULL, "" },
		{ JSON, TEXT("{\"a\":1.e5}"), PX_BODY_NOT_JSON, 0, NULL, NULL, "" },
		{ JSON, TEXT("\x1f\x8b\x08\0"), PX_BODY_NOT_JSON, 0, NULL, NULL, "" },

		/* Rejected items. */
		{ JSON, TEXT("{\"rejected\":[{\"id\":\"" ID "\",\"reason\":\"no topic\"}]}"), PX_BODY_JSON, 1, ID, "no topic", "" },
		{ JSON, TEXT("{\"ok\":1,\"rejected\":[{\"x\":0,\"reason\":\"r\",\"id\":\"" ID "\"},{\"id\":\"b\",\"reason\":\"s\"}]}"),
		    PX_BODY_JSON, 2, ID, "r", "" },
		{ JSON, TEXT("{\"rejected\":[{\"id\":\"019B7760-0000-7000-8000-00000000000A\",\"reason\":\"r\"}]}"), PX_BODY_JSON, 1, ID,
		    "r", "" },
		{ JSON, TEXT("{\"rejected\":[{\"id\":\"17\",\"reason\":\"r\"}]}"), PX_BODY_JSON, 1, "17", "r", "" },
		{ JSON, TEXT("{\"rejected\":[{\"id\":\"\",\"reason\":\"r\"}]}"), PX_BODY_JSON, 1, "", "r", "" },
		{ JSON, TEXT("{\"rejected\":[{\"id\":\"" ID "0\",\"reason\":\"r\"}]}"), PX_BODY_JSON, 1, ID "0", "r", "" },
		{ JSON, TEXT("{\"rejected\":[{\"id\":\"" ID "\",\"reason\":\" \"}]}"), PX_BODY_JSON, 1, ID, "no reason given", "" },
		{ JSON, TEXT("{\"rejected\":[{\"id\":\"" ID "\",\"reason\":\"\xff\xc3\xa9\"}]}"), PX_BODY_JSON, 1, ID,
		    "\xef\xbf\xbd\xc3\xa9", "" },

		/* "rejected" that is not as it should be. */
		{ JSON, TEXT("{\"rejected\":null}"), PX_BODY_NOT_JSON, 0, NULL, NULL, "" },
		{ JSON, TEXT("{\"rejected\":\"" ID "\"}"), PX_BODY_NOT_JSON, 0, NULL, NULL, "" },
		{ JSON, TEXT("{\"rejected\":{\"id\":\"" ID "\",\"reason\":\"r\"}}"), PX_BODY_NOT_JSON, 0, NULL, NULL, "" },
		{ JSON, TEXT("{\"rejected\":[\"" ID "\"]}"), PX_BODY_NOT_JSON, 0, NULL, NULL, "" },
		{ JSON, TEXT("{\"rejected\":[{}]}"), PX_BODY_NOT_JSON, 0, NULL, NULL, "" },
		{ JSON, TEXT("{\"rejected\":[{\"id\":\"" ID "\"}]}"), PX_BODY_NOT_JSON, 0, NULL, NULL, "" },
		{ JSON, TEXT("{\"rejected\":[{\"id\":17,\"reason\":\"r\"}]}"), PX_BODY_NOT_JSON, 0, NULL, NULL, "" },
		{ JSON, TEXT("{\"rejected\":[{\"id\":\"" ID "\",\"reason\":null}]}"), PX_BODY_NOT_JSON, 0, NULL, NULL, "" },
		{ JSON, TEXT("{\"rejected\":[{\"id\":\"" ID "\",\"reason\":\"r\"},1]}"), PX_BODY_NOT_JSON, 0, NULL, NULL, "" },
		{ JSON, TEXT("{\"rejected\":[],\"rejected\":[{\"id\":\"" ID "\",\"reason\":\"r\"}]}"), PX_BODY_NOT_JSON, 0, NULL, NULL,
		    "" },

		/* What is told about a refusal. */
		{ PROBLEM, TEXT("{\"title\":\"Bad item\",\"detail\":\"seq 7 has no topic\",\"status\":422}"), PX_BODY_JSON, 0, NULL, NULL,
		    "Bad item: seq 7 has no topic" },
		{ PROBLEM, TEXT("{\"title\":\"Bad item\"}"), PX_BODY_JSON, 0, NULL, NULL, "Bad item" },
		{ PROBLEM, TEXT("{\"detail\":\"no topic\",\"title\":7}"), PX_BODY_JSON, 0, NULL, NULL, "no topic" },
		{ PROBLEM, TEXT("{\"type\":\"about:blank\"}"), PX_BODY_JSON, 0, NULL, NULL, "" },
		{ PROBLEM, TEXT("{\"title\":\"Bad"), PX_BODY_NOT_JSON, 0, NULL, NULL, "" },
		{ PROBLEM, TEXT("[]"), PX_BODY_JSON, 0, NULL, NULL, "" },
		{ JSON, TEXT("{\"title\":\"Bad item\"}"), PX_BODY_JSON, 0, NULL, NULL, "" },
		{ "text/plain", TEXT(" bad item \xff\r\nmore"), PX_BODY_OTHER, 0, NULL, NULL, "bad item \xef\xbf\xbd" },
		{ "text/plain", TEXT("bad\0item"), PX_BODY_OTHER, 0, NULL, NULL, "bad" },
	};

	(void)state;
	for (size_t i = 0; i < COUNT(rows); i++) {
		struct px_reply reply = { .status = 200, .body = PX_BUF(PX_REPLY_MAX) };
		struct px_answer answer;
		struct px_err err;

		(void)snprintf(reply.type, sizeof(reply.type), "%s", rows[i].type);
		px_buf_add(&reply.body, rows[i].text, rows[i].len);
		assert_int_equal(px_payload_answer(&reply, &answer, &err), 0);
		if (answer.body != rows[i].body || answer.rejected_count != rows[i].rejected ||
		    strcmp(answer.problem, rows[i].problem) != 0)
			fail_msg("row %zu, '%s': body %d, %zu rejected, '%s'", i, rows[i].text, (int)answer.body, answer.rejected_count,
			    answer.problem);
		if (rows[i].rejected > 0 &&
		    (strcmp(answer.rejected[0].id, rows[i].id) != 0 || strcmp(answer.rejected[0].reason, rows[i].reason) != 0))
			fail_msg("row %zu, '%s': '%s' for '%s'", i, rows[i].text, answer.rejected[0].id, answer.rejected[0].reason);
		px_answer_clear(&answer);
		px_answer_clear(&answer);
		px_buf_clear(&reply.body);
	}
}

/* A JSON body that was not read whole is none, be its start one. */
static void
refuses_cut_json(void **state)
{
	struct px_reply reply = { .status = 200, .type = JSON, .body = PX_BUF(PX_REPLY_MAX), .body_cut = true };
	struct px_answer answer;
	struct px_err err;

	(void)state;
	px_buf_add_text(&reply.body, "{}   ");
	assert_int_equal(px_payload_answer(&reply, &answer, &err), 0);
	assert_int_equal(answer.body, PX_BODY_NOT_JSON);
	px_answer_clear(&answer);
	px_buf_clear(&reply.body);
}

static void
bounds_the_depth(void **state)
{
	static const struct {
		int depth;
		enum px_body body;
	} rows[] = {
		{ 1, PX_BODY_JSON },
		{ 64, PX_BODY_JSON },
		{ 65, PX_BODY_NOT_JSON },
		{ 500000, PX_BODY_NOT_JSON },
	};

	(void)state;
	for (size_t i = 0; i < COUNT(rows); i++) {
		struct px_reply reply = { .status = 200, .type = JSON, .body = PX_BUF(PX_REPLY_MAX) };
		struct px_answer answer;
		struct px_err err;

		for (int depth = 0; depth < rows[i].depth; depth++)
			px_buf_add_byte(&reply.body, '[');
		for (int depth = 0; depth < rows[i].depth; depth++)
			px_buf_add_byte(&reply.body, ']');
		assert_int_equal(px_payload_answer(&reply, &answer, &err), 0);
		if (answer.body != rows[i].body)
			fail_msg("depth %d: body %d", rows[i].depth, (int)answer.body);
		px_answer_clear(&answer);
		px_buf_clear(&reply.body);
	}
}

static void
cuts_long_reasons_at_a_character(void **state)
{
	struct px_reply reply = { .status = 200, .type = JSON, .body = PX_BUF(PX_REPLY_MAX) };
	struct px_answer answer;
	struct px_err err;

	(void)state;
	px_buf_add_text(&reply.body, "{\"rejected\":[{\"id\":\"" ID "\",\"reason\":\"");
	for (int i = 0; i < 2000; i++)
		px_buf_add_text(&reply.body, "\xe2\x82\xac");
	px_buf_add_text(&reply.body, "\"}]}");
	assert_int_equal(px_payload_answer(&reply, &answer, &err), 0);
	assert_int_equal(answer.rejected_count, 1);
	assert_int_equal(strlen(answer.rejected[0].reason), (PX_REASON_MAX - 1) / 3 * 3);
	px_answer_clear(&answer);
	px_buf_clear(&reply.body);
}

#define NOW_S INT64_C(1795359347)

static void
reads_tokens(void **state)
{
	static const struct {
		const char *printed;
		const char *token;	/* NULL: there is none */
	} rows[] = {
		{ "abc.DEF-123~+/==", "abc.DEF-123~+/==" },
		{ " abc \r\n", "abc" },
		{ "{\"access_token\":\"abc\"}", "abc" },
		{ " {\"access_token\": \"abc\", \"expires_at\": 1795359348}\n", "abc" },
		{ "{\"access_token\":\"abc\",\"expires_at\":null,\"x\":[1]}", "abc" },
		{ "{\"access_token\":\"abc\",\"expires_at\":9e99}", "abc" },
		{ "", NULL },
		{ " \n", NULL },
		{ "abc def", NULL },
		{ "abc\ndef", NULL },
		{ "abc\rX-Other: 1", NULL },
		{ "abc\x01", NULL },
		{ "abc\x7f", NULL },
		{ "abc\xc3\xa9", NULL },
		{ "{", NULL },
		{ "{}", NULL },
		{ "{\"access_token\":\"abc\"} x", NULL },
		{ "{\"access_token\":17}", NULL },
		{ "{\"access_token\":\"\"}", NULL },
		{ "{\"access_token\":\"a b\"}", NULL },
		{ "{\"access_token\":\"a\\r\\nX-Other: 1\"}", NULL },
		{ "{\"access_token\":\"abc\",\"access_token\":\"def\"}", NULL },
		{ "{\"access_token\":\"abc\",\"expires_at\":1795359347}", NULL },
		{ "{\"access_token\":\"abc\",\"expires_at\":-1}", NULL },
		{ "{\"access_token\":\"abc\",\"expires_at\":0,\"expires_at\":9795359347}", NULL },
		{ "{\"token\":\"abc\"}", NULL },
	};

	(void)state;
	for (size_t i = 0; i < COUNT(rows); i++) {
		struct px_buf token = PX_BUF(1024);
		struct px_err err = { PX_OK, "" };
		int rc = px_payload_token(px_slice(rows[i].printed), NOW_S, &token, &err);
		const char *wanted = rows[i].token != NULL ? rows[i].token : "";

		if (rc != (rows[i].token != NULL ? 0 : -1) || strcmp(px_buf_text(&token), wanted) != 0)
			fail_msg("row %zu, '%s': %d, '%s'", i, rows[i].printed, rc, px_buf_text(&token));
		if (rc == -1 && (err.code != PX_DENIED || strstr(err.text, "abc") != NULL || strstr(err.text, "a b") != NULL))
			fail_msg("row %zu, '%s': code %d, '%s'", i, rows[i].printed, (int)err.code, err.text);
		px_buf_wipe(&token);
	}
}

#define START "{\"id\":\"" ID "\",\"time\":\"2026-11-22T14:55:47.123Z\""
#define REST "\"time\":\"2026-11-22T14:55:47.123Z\""

static void
reads_events(void **state)
{
	static const struct {
		const char *document;
		size_t len;
		const char *topic;	/* NULL: it is no event */
		const char *body;
	} rows[] = {
		{ TEXT(START ",\"topic\":\"cpu\"}"), "cpu", "{" REST ",\"topic\":\"cpu\"}" },
		{ TEXT(START ",\"topic\":\"cpu\"}\n"), "cpu", "{" REST ",\"topic\":\"cpu\"}" },
		{ TEXT(START ",\"uptime_ms\":9007199254740993, \"topic\":\"\\u00e9\\\"\",\"params\":{\"id\":\"1\",\"seq\":\"2\"}}"), "\xc3\xa9\"",
		    "{" REST ",\"uptime_ms\":9007199254740993, \"topic\":\"\\u00e9\\\"\",\"params\":{\"id\":\"1\",\"seq\":\"2\"}}" },
		{ TEXT(START ",\"topic\":\"\"}"), "", "{" REST ",\"topic\":\"\"}" },
		{ TEXT(""), NULL, NULL },
		{ TEXT("{}"), NULL, NULL },
		{ TEXT(START), NULL, NULL },
		{ TEXT(START "}"), NULL, NULL },
		{ TEXT(START ",\"topic\":\"cpu\""), NULL, NULL },
		{ TEXT(START ",\"topic\":\"cpu\"}}"), NULL, NULL },
		{ TEXT(START ",\"topic\":\"cpu\"}\0"), NULL, NULL },
		{ TEXT(START ",\"topic\":7}"), NULL, NULL },
		{ TEXT(START ",\"topic\":\"cpu\",\"topic\":\"vm\"}"), NULL, NULL },
		{ TEXT(START ",\"topic\":\"cpu\",\"id\":\"x\"}"), NULL, NULL },
		{ TEXT(START ",\"topic\":\"cpu\",\"\\u0069d\":\"x\"}"), NULL, NULL },
		{ TEXT(START ",\"topic\":\"cpu\",\"seq\":1}"), NULL, NULL },
		{ TEXT(START ",\"topic\":\"cpu\",\"time\":\"2026-11-22T14:55:47.123Z\"}"), NULL, NULL },
		{ TEXT(START ",\"topic\":\"cpu\xff\"}"), NULL, NULL },
		{ TEXT(START "0,\"topic\":\"cpu\"}"), NULL, NULL },
		{ TEXT("{\"id\":\"019B7760-0000-7000-8000-00000000000A\",\"time\":\"2026-11-22T14:55:47.123Z\",\"topic\":\"cpu\"}"), NULL, NULL },
		{ TEXT("{\"id\":\"019b7760-0000-7000-8000-00000000000\",\"time\":\"2026-11-22T14:55:47.123Z\",\"topic\":\"cpu\"}"), NULL, NULL },
		{ TEXT("{\"id\":\"" ID "\",\"time\":\"2026-13-22T14:55:47.123Z\",\"topic\":\"cpu\"}"), NULL, NULL },
		{ TEXT("{\"time\":\"2026-11-22T14:55:47.123Z\",\"id\":\"" ID "\",\"topic\":\"cpu\"}"), NULL, NULL },
	};

	(void)state;
	for (size_t i = 0; i < COUNT(rows); i++) {
		struct px_buf topic = PX_BUF(PX_TOPIC_MAX);
		struct px_buf body = PX_BUF(PX_EVENT_MAX);
		struct px_err err = { PX_OK, "" };
		struct px_item item;
		int rc = px_payload_event((struct px_slice){ rows[i].document, rows[i].len }, &item, &topic, &body, &err);

		if (rc != (rows[i].topic != NULL ? 0 : -1) || (rc == -1 && (err.code != PX_STORAGE || err.text[0] == '\0')))
			fail_msg("row %zu, '%s': %d, code %d, '%s'", i, rows[i].document, rc, (int)err.code, err.text);
		if (rc == 0) {
			assert_string_equal(item.id, ID);
			assert_int_equal(item.time_ms, INT64_C(1795359347123));
			assert_int_equal(item.kind, PX_EVENT);
			assert_int_equal(item.seq, 0);
			if (!px_slice_is(item.topic, rows[i].topic) || !px_slice_is(item.body, rows[i].body))
				fail_msg("row %zu, '%s': '%s', '%s'", i, rows[i].document, px_buf_text(&topic), px_buf_text(&body));
		}
		px_buf_clear(&topic);
		px_buf_clear(&body);
	}
}

static void
bounds_the_event(void **state)
{
	static const struct {
		size_t topic;
		size_t more;
		int rc;
	} rows[] = {
		{ PX_TOPIC_MAX - 1, 0, 0 },
		{ PX_TOPIC_MAX + 1, 0, -1 },
		{ 1, PX_EVENT_MAX - 200, 0 },
		{ 1, PX_EVENT_MAX, -1 },
	};

	(void)state;
	for (size_t i = 0; i < COUNT(rows); i++) {
		struct px_buf document = PX_BUF(1 << 20);
		struct px_buf topic = PX_BUF(PX_TOPIC_MAX);
		struct px_buf body = PX_BUF(PX_EVENT_MAX);
		struct px_item item;
		struct px_err err;
		int rc;

		px_buf_add_text(&document, START ",\"topic\":\"");
		for (size_t j = 0; j < rows[i].topic; j++)
			px_buf_add_byte(&document, 't');
		px_buf_add_text(&document, "\",\"message\":\"");
		for (size_t j = 0; j < rows[i].more; j++)
			px_buf_add_byte(&document, 'm');
		px_buf_add_text(&document, "\"}");
		rc = px_payload_event((struct px_slice){ document.data, document.len }, &item, &topic, &body, &err);
		if (rc != rows[i].rc || (rc == -1 && err.code != PX_STORAGE))
			fail_msg("row %zu: %d", i, rc);
		px_buf_clear(&document);
		px_buf_clear(&topic);
		px_buf_clear(&body);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(reads_answers),
		cmocka_unit_test(refuses_cut_json),
		cmocka_unit_test(bounds_the_depth),
		cmocka_unit_test(cuts_long_reasons_at_a_character),
		cmocka_unit_test(reads_tokens),
		cmocka_unit_test(reads_events),
		cmocka_unit_test(bounds_the_event),
	};

	return cmocka_run_group_tests_name("payload", tests, NULL, NULL);
}
