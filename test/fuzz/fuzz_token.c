/* SPDX-License-Identifier: MIT */
/* What a token command printed; and the same bytes as an overflow file's event. */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "payload.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len);

static void
expect(bool holds)
{
	if (!holds)
		abort();
}

static void
read_token(struct px_slice printed)
{
	struct px_buf token = PX_BUF(65536);
	struct px_err err = { PX_OK, "" };

	if (px_payload_token(printed, INT64_C(1795359347), &token, &err) == 0) {
		expect(token.len > 0);
		for (size_t i = 0; i < token.len; i++)
			expect(token.data[i] > ' ' && token.data[i] <= '~');
	} else {
		expect((err.code == PX_DENIED || err.code == PX_BUG) && err.text[0] != '\0');
	}
	px_buf_wipe(&token);
}

static void
read_event(struct px_slice document)
{
	struct px_buf topic = PX_BUF(PX_TOPIC_MAX);
	struct px_buf body = PX_BUF(PX_EVENT_MAX);
	struct px_item item;
	struct px_err err = { PX_OK, "" };

	if (px_payload_event(document, &item, &topic, &body, &err) == 0) {
		struct px_slice whole = px_slice_trim(document);
		struct px_buf again = PX_BUF(2 * PX_EVENT_MAX);

		/* Joined, an item is the bytes that it was read from. */
		px_item_join(&again, &item);
		expect(!again.failed && again.len == whole.len && memcmp(again.data, whole.ptr, whole.len) == 0);
		px_buf_clear(&again);
	} else {
		expect(err.code == PX_STORAGE && err.text[0] != '\0');
	}
	px_buf_clear(&topic);
	px_buf_clear(&body);
}

int
LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
	struct px_slice text = { (const char *)bytes, len };

	read_token(text);
	read_event(text);
	return 0;
}
