/* SPDX-License-Identifier: MIT */
/*
 * A reply: body by type, Retry-After and HTTP dates. The first two bytes choose status and type, the rest is the text; of a
 * second byte of 128 and more, the text's first line is the type.
 */
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "batch.h"
#include "payload.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len);

static void
expect(bool holds)
{
	if (!holds)
		abort();
}

static void
expect_clean(const char *text, size_t max)
{
	size_t len = strlen(text);
	struct px_buf clean = PX_BUF(3 * len);

	px_text_clean(&clean, text, len);
	expect(len < max && clean.len == len && strcmp(px_buf_text(&clean), text) == 0);
	px_buf_clear(&clean);
}

static void
read_times(struct px_slice text)
{
	int64_t utc_s;
	int64_t wait_ms = px_retry_after_ms(text, INT64_C(1795359347));

	expect(wait_ms == -1 || (wait_ms >= 1000 && wait_ms <= INT64_C(86400000)));
	wait_ms = px_retry_after_ms(text, -1);
	expect(wait_ms == -1 || (wait_ms >= 1000 && wait_ms <= INT64_C(86400000)));
	if (px_http_date(text, INT64_C(1795359347), &utc_s) == 0)
		expect(utc_s >= INT64_C(-62167219200) && utc_s <= INT64_C(253402300800));
}

static void
read_answer(const struct px_reply *reply)
{
	struct px_answer answer;
	struct px_verdict verdict;
	struct px_err err;

	expect(px_payload_answer(reply, &answer, &err) == 0);
	expect(answer.rejected_count == 0 || answer.body == PX_BODY_JSON);
	expect_clean(answer.problem, sizeof(answer.problem));
	for (size_t i = 0; i < answer.rejected_count; i++) {
		expect_clean(answer.rejected[i].reason, PX_REASON_MAX);
		expect_clean(answer.rejected[i].id, sizeof(answer.rejected[i].id));
	}
	px_verdict(reply, answer.body, &verdict);
	expect_clean(verdict.reason, sizeof(verdict.reason));
	expect((verdict.action == PX_ACKNOWLEDGE) == (verdict.code == PX_OK));
	expect(verdict.action != PX_ACKNOWLEDGE || reply->status / 100 == 2);
	px_answer_clear(&answer);
}

int
LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
	static const int statuses[] = { 200, 204, 205, 302, 400, 401, 404, 413, 415, 422, 429, 503 };
	static const char *const types[] = { "application/json", "application/problem+json", "text/html", "text/plain", "" };
	struct px_reply reply = { .retry_after_ms = -1, .body = PX_BUF(PX_REPLY_MAX) };

	if (len < 2)
		return 0;
	reply.status = statuses[bytes[0] % (sizeof(statuses) / sizeof(statuses[0]))];
	(void)snprintf(reply.type, sizeof(reply.type), "%s", types[bytes[1] % (sizeof(types) / sizeof(types[0]))]);
	if (bytes[1] >= 128) {
		const uint8_t *end = memchr(bytes + 2, '\n', len - 2);
		size_t line = end != NULL ? (size_t)(end - (bytes + 2)) : 0;

		(void)snprintf(reply.type, sizeof(reply.type), "%.*s", (int)line, (const char *)bytes + 2);
	}
	px_buf_add(&reply.body, bytes + 2, len - 2);
	read_answer(&reply);
	read_times((struct px_slice){ (const char *)bytes + 2, len - 2 });
	px_buf_clear(&reply.body);
	return 0;
}
