/* SPDX-License-Identifier: MIT */
/*
 * An event from any environment and operands: the bytes are texts with a NUL behind each; one that begins with '>' is an
 * operand, with '!' a message, with '?' a mistake of others, each other one an entry of the environment. The document must
 * fit and end, whatever they are.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "event.h"

#define TEXTS_MAX 4096

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
check(int ok)
{
	if (!ok)
		abort();
}

static void
take(struct px_event *event, const char *text, struct px_err *err)
{
	switch (text[0]) {
	case '>':
		check(px_event_take_operand(event, text + 1, err) == 0);
		break;
	case '!':
		check(px_event_take_message(event, text + 1, err) == 0);
		break;
	case '?':
		px_event_mistake(event, text + 1);
		break;
	default:
		break;
	}
}

static size_t
write_event(struct px_event *event, struct px_err *err)
{
	static const struct px_now made = { .wall_ms = INT64_MAX, .boot_ms = INT64_MIN, .boot_id = "b" };
	struct px_item item = { .id = "01939f1e-0000-7000-8000-000000000000", .seq = INT64_MAX };
	struct px_buf body = PX_BUF(PX_EVENT_MAX - PX_ITEM_JOIN_MAX);
	struct px_buf document = PX_BUF(PX_EVENT_MAX);
	struct px_buf clean = PX_BUF((size_t)3 * PX_EVENT_MAX);
	size_t len;

	check(px_event_write(event, &made, &body, err) == 0);
	item.body = (struct px_slice){ px_buf_text(&body), body.len };
	px_item_join(&document, &item);
	check(!document.failed && document.data[document.len - 1] == '}');
	px_text_clean(&clean, document.data, document.len);
	check(clean.len == document.len && memcmp(clean.data, document.data, clean.len) == 0);
	for (size_t i = 0; i < document.len; i++)
		check((unsigned char)document.data[i] >= ' ');
	len = document.len;
	px_buf_clear(&body);
	px_buf_clear(&document);
	px_buf_clear(&clean);
	return len;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *texts = calloc(size + 1, 1);
	char *env[TEXTS_MAX + 1];
	size_t count = 0;
	struct px_event event;
	struct px_err err = { 0 };

	check(texts != NULL);
	if (size > 0)
		memcpy(texts, data, size);
	px_event_init(&event);
	for (size_t at = 0; at < size && count < TEXTS_MAX; at += strlen(texts + at) + 1) {
		env[count++] = texts + at;
		take(&event, texts + at, &err);
	}
	env[count] = NULL;
	check(px_event_take_env(&event, env, &err) == 0);
	/* What was cut once fits without another cut. */
	check(write_event(&event, &err) >= write_event(&event, &err));
	px_event_clear(&event);
	free(texts);
	return 0;
}
