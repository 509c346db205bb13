/* SPDX-License-Identifier: MIT */
#include "item.h"

#include <string.h>

#include "json.h"

#define ID_BYTES 16

/* Where a UUID's text has hyphens (RFC 9562, section 4). */
static bool
is_hyphen_place(size_t at)
{
	return at == 8 || at == 13 || at == 18 || at == 23;
}

const char *
px_kind_name(enum px_kind kind)
{
	return kind == PX_EVENT ? "event" : "snapshot";
}

/* Writes ${bytes} as text, with version and variant put into their bits (RFC 9562, sections 4.1 and 4.2). */
static void
write_id(char out[PX_ID_MAX], uint8_t bytes[ID_BYTES], uint8_t version)
{
	static const char digits[] = "0123456789abcdef";
	size_t at = 0;

	bytes[6] = (uint8_t)(version << 4 | (bytes[6] & 0x0f));
	bytes[8] = (uint8_t)(0x80 | (bytes[8] & 0x3f));
	for (size_t i = 0; i < ID_BYTES; i++) {
		if (is_hyphen_place(at))
			out[at++] = '-';
		out[at++] = digits[bytes[i] >> 4];
		out[at++] = digits[bytes[i] & 0x0f];
	}
	out[at] = '\0';
}

void
px_id_v7(char out[PX_ID_MAX], int64_t wall_ms, const uint8_t random[10])
{
	uint64_t time_ms = wall_ms > 0 ? (uint64_t)wall_ms : 0;
	uint8_t bytes[ID_BYTES];

	for (int i = 0; i < 6; i++)
		bytes[i] = (uint8_t)(time_ms >> (40 - 8 * i));
	memcpy(bytes + 6, random, 10);
	write_id(out, bytes, 7);
}

void
px_id_v4(char out[PX_ID_MAX], const uint8_t random[16])
{
	uint8_t bytes[ID_BYTES];

	memcpy(bytes, random, ID_BYTES);
	write_id(out, bytes, 4);
}

bool
px_id_is_valid(struct px_slice text)
{
	if (text.len != PX_ID_MAX - 1)
		return false;
	for (size_t i = 0; i < text.len; i++) {
		char byte = text.ptr[i];
		bool digit = (byte >= '0' && byte <= '9') || (byte >= 'a' && byte <= 'f');

		if (is_hyphen_place(i) ? byte != '-' : !digit)
			return false;
	}
	return true;
}

void
px_item_begin(struct px_buf *body, const struct px_now *made)
{
	char time[PX_RFC3339_MAX];

	px_text_time_ms(time, made->wall_ms);
	px_json_open(body, NULL, '{');
	px_json_text(body, "time", time);
	if (made->boot_id[0] != '\0')
		px_json_text(body, "boot_id", made->boot_id);
	px_json_int(body, "uptime_ms", made->boot_ms);
}

/* Writes ${number}; a batch has thousands of them, and printf would cost more than all else that is done for an item. */
static size_t
write_number(char *out, int64_t number)
{
	char digits[20];
	size_t count = 0;
	size_t len = 0;

	for (uint64_t left = (uint64_t)number; left > 0; left /= 10)
		digits[count++] = (char)('0' + left % 10);
	while (count > 0)
		out[len++] = digits[--count];
	return len;
}

void
px_item_join_head(struct px_buf *out, const struct px_item *item)
{
	static const char id_key[] = "{\"id\":\"";
	static const char seq_key[] = ",\"seq\":";
	char head[PX_ITEM_JOIN_MAX];
	size_t len = sizeof(id_key) - 1;

	memcpy(head, id_key, len);
	memcpy(head + len, item->id, PX_ID_MAX - 1);
	len += PX_ID_MAX - 1;
	head[len++] = '"';
	if (item->seq > 0) {
		memcpy(head + len, seq_key, sizeof(seq_key) - 1);
		len += sizeof(seq_key) - 1;
		len += write_number(head + len, item->seq);
	}
	head[len++] = ',';
	px_buf_add(out, head, len);
}

void
px_item_join(struct px_buf *out, const struct px_item *item)
{
	px_item_join_head(out, item);
	px_buf_add(out, item->body.ptr + 1, item->body.len - 1);
}
