/* SPDX-License-Identifier: MIT */
/* Private to value's sources: what a pattern captures of a text. Everything else includes value.h. */
#ifndef PX_VALUE_PARTS_H
#define PX_VALUE_PARTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "value.h"

#define VALUE_CAPTURES_MAX 12
#define VALUE_SHARE_NAME_MAX 32
#define VALUE_SHARE_KEY_MAX (VALUE_SHARE_NAME_MAX + sizeof("_percent"))

enum value_type {
	VALUE_INTEGER,
	VALUE_REAL,
	VALUE_WHOLE,	/* a real number without a fraction, past 64 bits */
	VALUE_TEXT,
	VALUE_YES
};

/* ${key} points into the pattern, ${text} into the text. */
struct value_capture {
	struct px_slice key;
	enum value_type type;
	int64_t integer;
	double real;
	struct px_slice text;
};

struct value_captures {
	struct value_capture each[VALUE_CAPTURES_MAX];
	size_t count;
};

/*
 * Whether ${pattern} fits the whole of ${text}; what it captures is added to ${captures}. In a pattern a blank stands for
 * none, one or two; {KIND KEY} captures what KIND reads under KEY; <...> may be absent; everything else stands for itself.
 */
bool px_value_match(const char *pattern, struct px_slice text, struct value_captures *captures);

/* How many of the blanks that ${text} begins with one blank of a pattern stands for. */
size_t px_value_blanks(struct px_slice text);

/*
 * One "6.2%us" from the start of ${text}, its key ending in "_percent" put into ${key}. Returns its length, 0 when it is
 * not there.
 */
size_t px_value_read_share(struct px_slice text, struct value_capture *out, char key[VALUE_SHARE_KEY_MAX]);

#endif
