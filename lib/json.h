/* SPDX-License-Identifier: MIT */
/*
 * Writes JSON (RFC 8259) into a buffer: members and elements one after another, commas put where they belong. Keeps no
 * tree, so a document costs its own bytes only, whole 64-bit integers stay whole and a NUL stays a character. Strings
 * are to be valid UTF-8 already. Reading JSON is payload.h's.
 */
#ifndef PX_JSON_H
#define PX_JSON_H

#include <stdbool.h>
#include <stdint.h>

#include "buf.h"
#include "text.h"

/* ${key} is the member's name inside an object, NULL inside an array or at the top. */
void px_json_open(struct px_buf *out, const char *key, char bracket);	/* '{' or '[' */
void px_json_close(struct px_buf *out, char bracket);			/* '}' or ']' */
void px_json_null(struct px_buf *out, const char *key);
void px_json_bool(struct px_buf *out, const char *key, bool value);
void px_json_int(struct px_buf *out, const char *key, int64_t value);
void px_json_double(struct px_buf *out, const char *key, double value);	/* shortest that reads back; null if not finite */
void px_json_text(struct px_buf *out, const char *key, const char *value);	/* null for NULL */
void px_json_slice(struct px_buf *out, const char *key, struct px_slice value);

/* A member whose name is not a C string of ours: write the name, then the value with a NULL key. */
void px_json_key(struct px_buf *out, struct px_slice key);

/* ${value} is finished JSON. */
void px_json_raw(struct px_buf *out, const char *key, const char *value, size_t len);

#endif
