/* SPDX-License-Identifier: MIT */
/*
 * Bytes that grow up to a limit told at birth. A failed addition (the limit, or no memory) leaves what was there, marks
 * the buffer and makes all later additions do nothing: check once, at the end.
 */
#ifndef PX_BUF_H
#define PX_BUF_H

#include <stdbool.h>
#include <stddef.h>

#include "err.h"

struct px_buf {
	char *data;	/* owned; NUL behind the last byte; NULL while nothing was ever added */
	size_t len;
	size_t cap;
	size_t max;
	bool failed;
};

/* An empty buffer that will hold at most ${max_bytes}. Allocates nothing. */
#define PX_BUF(max_bytes) ((struct px_buf){ .max = (max_bytes) })

void px_buf_add(struct px_buf *buf, const void *bytes, size_t len);
void px_buf_add_text(struct px_buf *buf, const char *text);
void px_buf_add_byte(struct px_buf *buf, char byte);
void px_buf_printf(struct px_buf *buf, const char *format, ...) PX_PRINTF(2, 3);

/* Returns ${buf}'s bytes as a C string, "" where there are none. Lasts until the next change. */
const char *px_buf_text(const struct px_buf *buf);

/* Returns room for ${len} more bytes behind the last one, or NULL and marks the buffer; px_buf_used tells what was used. */
char *px_buf_reserve(struct px_buf *buf, size_t len);
void px_buf_used(struct px_buf *buf, size_t len);

/* Back to ${len} bytes and to no failure, keeping the memory. */
void px_buf_rewind(struct px_buf *buf, size_t len);

/* 0, or -1 with PX_BUG when an addition failed; ${what} names the content. */
int px_buf_check(const struct px_buf *buf, const char *what, struct px_err *err) PX_MUST_CHECK;

/* Frees the memory; an empty buffer is fine. The limit stays. */
void px_buf_clear(struct px_buf *buf);

/* Overwrites the bytes, then frees them: for secrets. */
void px_buf_wipe(struct px_buf *buf);

#endif
