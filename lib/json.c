/* SPDX-License-Identifier: MIT */
#include "json.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

/* What was written last tells whether a comma is due: behind an opening bracket, a colon or a line's end none is. */
static void
add_comma(struct px_buf *out)
{
	char last = out->len > 0 ? out->data[out->len - 1] : '\n';

	if (strchr("{[:\n", last) == NULL)
		px_buf_add_byte(out, ',');
}

static void
add_string(struct px_buf *out, struct px_slice value)
{
	static const char escapes[] = "\b\f\n\r\t\"\\";
	static const char letters[] = "bfnrt\"\\";
	size_t done = 0;

	px_buf_add_byte(out, '"');
	for (size_t i = 0; i < value.len; i++) {
		unsigned char byte = (unsigned char)value.ptr[i];
		const char *known;

		if (byte >= ' ' && byte != 0x7f && byte != '"' && byte != '\\')
			continue;
		known = byte != '\0' ? strchr(escapes, byte) : NULL;
		px_buf_add(out, value.ptr + done, i - done);
		if (known != NULL)
			px_buf_printf(out, "\\%c", letters[known - escapes]);
		else
			px_buf_printf(out, "\\u%04x", byte);
		done = i + 1;
	}
	px_buf_add(out, value.ptr + done, value.len - done);
	px_buf_add_byte(out, '"');
}

static void
begin(struct px_buf *out, const char *key)
{
	if (key != NULL)
		px_json_key(out, px_slice(key));
	else
		add_comma(out);
}

void
px_json_key(struct px_buf *out, struct px_slice key)
{
	add_comma(out);
	add_string(out, key);
	px_buf_add_byte(out, ':');
}

void
px_json_open(struct px_buf *out, const char *key, char bracket)
{
	begin(out, key);
	px_buf_add_byte(out, bracket);
}

void
px_json_close(struct px_buf *out, char bracket)
{
	px_buf_add_byte(out, bracket);
}

void
px_json_null(struct px_buf *out, const char *key)
{
	px_json_raw(out, key, "null", 4);
}

void
px_json_bool(struct px_buf *out, const char *key, bool value)
{
	px_json_raw(out, key, value ? "true" : "false", value ? 4 : 5);
}

void
px_json_int(struct px_buf *out, const char *key, int64_t value)
{
	begin(out, key);
	px_buf_printf(out, "%" PRId64, value);
}

void
px_json_double(struct px_buf *out, const char *key, double value)
{
	char text[32];

	if (!isfinite(value)) {
		px_json_null(out, key);
		return;
	}
	for (int digits = 15; digits <= 17; digits++) {
		double again;

		(void)snprintf(text, sizeof(text), "%.*g", digits, value);
		if (sscanf(text, "%lf", &again) == 1 && again >= value && again <= value)
			break;
	}
	px_json_raw(out, key, text, strlen(text));
}

void
px_json_text(struct px_buf *out, const char *key, const char *value)
{
	if (value == NULL)
		px_json_null(out, key);
	else
		px_json_slice(out, key, px_slice(value));
}

void
px_json_slice(struct px_buf *out, const char *key, struct px_slice value)
{
	begin(out, key);
	add_string(out, value);
}

void
px_json_raw(struct px_buf *out, const char *key, const char *value, size_t len)
{
	begin(out, key);
	px_buf_add(out, value, len);
}
