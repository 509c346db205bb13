/* SPDX-License-Identifier: MIT */
#include "buf.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define FIRST_CAP 256

char *
px_buf_reserve(struct px_buf *buf, size_t len)
{
	size_t cap = buf->cap ? buf->cap : FIRST_CAP;
	char *data;

	if (buf->failed || len > buf->max - buf->len) {
		buf->failed = true;
		return NULL;
	}
	if (buf->len + len < buf->cap)
		return buf->data + buf->len;
	while (cap <= buf->len + len)
		cap += cap / 2;
	data = realloc(buf->data, cap);
	if (data == NULL) {
		buf->failed = true;
		return NULL;
	}
	buf->data = data;
	buf->cap = cap;
	buf->data[buf->len] = '\0';
	return buf->data + buf->len;
}

void
px_buf_used(struct px_buf *buf, size_t len)
{
	if (buf->data == NULL)
		return;
	buf->len += len;
	buf->data[buf->len] = '\0';
}

void
px_buf_add(struct px_buf *buf, const void *bytes, size_t len)
{
	char *room;

	if (len == 0)
		return;
	room = px_buf_reserve(buf, len);
	if (room == NULL)
		return;
	memcpy(room, bytes, len);
	px_buf_used(buf, len);
}

void
px_buf_add_text(struct px_buf *buf, const char *text)
{
	px_buf_add(buf, text, strlen(text));
}

void
px_buf_add_byte(struct px_buf *buf, char byte)
{
	px_buf_add(buf, &byte, 1);
}

void
px_buf_printf(struct px_buf *buf, const char *format, ...)
{
	va_list args;
	va_list again;
	char *room;
	int len;

	va_start(args, format);
	va_copy(again, args);
	len = vsnprintf(NULL, 0, format, args);
	if (len < 0)
		buf->failed = true;
	room = len > 0 ? px_buf_reserve(buf, (size_t)len) : NULL;
	if (room != NULL) {
		(void)vsnprintf(room, (size_t)len + 1, format, again);
		px_buf_used(buf, (size_t)len);
	}
	va_end(again);
	va_end(args);
}

const char *
px_buf_text(const struct px_buf *buf)
{
	return buf->data != NULL ? buf->data : "";
}

void
px_buf_rewind(struct px_buf *buf, size_t len)
{
	buf->failed = false;
	if (buf->data == NULL)
		return;
	buf->len = len;
	buf->data[len] = '\0';
}

int
px_buf_check(const struct px_buf *buf, const char *what, struct px_err *err)
{
	if (buf->failed)
		return px_err_set(err, PX_BUG, "no room for %s: more than %zu bytes, or no memory", what, buf->max);
	return 0;
}

void
px_buf_clear(struct px_buf *buf)
{
	free(buf->data);
	*buf = PX_BUF(buf->max);
}

void
px_buf_wipe(struct px_buf *buf)
{
	if (buf->data != NULL)
		explicit_bzero(buf->data, buf->cap);
	px_buf_clear(buf);
}
