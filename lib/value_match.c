/* SPDX-License-Identifier: MIT */
#include "value_parts.h"

#include <stdio.h>
#include <string.h>

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))
#define BLANKS_MAX 2	/* where a form has one, some versions have none or two */
#define WORD_MAX 48	/* bytes of a protocol's name, or of a type's */
#define TAIL_MAX 320	/* bytes; more than any pattern takes behind a {text}, so that its end is sought there only */
#define SHARES_MAX 16	/* of the processor's time in one value */

static size_t
span(struct px_slice text, size_t from, const char *bytes)
{
	size_t i = from;

	while (i < text.len && text.ptr[i] != '\0' && strchr(bytes, text.ptr[i]) != NULL)
		i++;
	return i - from;
}

size_t
px_value_blanks(struct px_slice text)
{
	size_t count = span(text, 0, " ");

	return count < BLANKS_MAX ? count : BLANKS_MAX;
}

#define DIGITS "0123456789"
#define LOWER "abcdefghijklmnopqrstuvwxyz"
#define UPPER "ABCDEFGHIJKLMNOPQRSTUVWXYZ"

/* Each reads what it stands for from the start of ${text} into ${out} and returns the length, 0 when it is not there. */
typedef size_t read_fn(struct px_slice text, struct value_capture *out);

static size_t
read_number(struct px_slice text, struct value_capture *out)
{
	size_t whole = text.len > 0 && text.ptr[0] == '-' ? 1 : 0;
	struct px_slice number = text;
	size_t fraction;

	whole += span(text, whole, DIGITS);
	fraction = whole < text.len && text.ptr[whole] == '.' ? span(text, whole + 1, DIGITS) : 0;
	number.len = fraction > 0 ? whole + 1 + fraction : whole;
	if (px_text_to_double(number, &out->real) == -1)
		return 0;
	out->type = VALUE_REAL;
	if (fraction == 0 && px_text_to_int64(number, INT64_MIN, INT64_MAX, &out->integer) == 0)
		out->type = VALUE_INTEGER;
	return number.len;
}

static size_t
read_count(struct px_slice text, struct value_capture *out)
{
	size_t len = read_number(text, out);

	return len > 0 && out->type == VALUE_INTEGER && text.ptr[0] != '-' ? len : 0;
}

/* To the nearest whole number; halves away from zero. Where 64 bits do not hold it, a double has no fraction any more. */
static void
round_to_whole(struct value_capture *out)
{
	double magnitude = out->real < 0 ? -out->real : out->real;
	int64_t whole;

	out->type = VALUE_WHOLE;
	if (magnitude >= 9e18)
		return;
	whole = (int64_t)magnitude;
	if (magnitude - (double)whole >= 0.5)
		whole++;
	out->integer = out->real < 0 ? -whole : whole;
	out->type = VALUE_INTEGER;
}

static size_t
read_size(struct px_slice text, struct value_capture *out)
{
	static const char *const units[] = { "B", "kB", "MB", "GB", "TB", "PB", "EB", "ZB" };
	size_t len = read_number(text, out);
	double factor = 1;

	if (len == 0)
		return 0;
	len += px_value_blanks(px_slice_behind(text, len));
	for (size_t i = 0; i < COUNT(units); i++, factor *= 1024) {
		struct px_slice unit = px_slice_behind(text, len);

		if (unit.len < strlen(units[i]) || memcmp(unit.ptr, units[i], strlen(units[i])) != 0)
			continue;
		out->real *= factor;
		round_to_whole(out);
		return len + strlen(units[i]);
	}
	return 0;
}

/* Milliseconds, from those or from seconds. */
static size_t
read_time(struct px_slice text, struct value_capture *out)
{
	size_t len = read_number(text, out);
	struct px_slice unit;
	char thousandfold[32];

	if (len == 0)
		return 0;
	len += px_value_blanks(px_slice_behind(text, len));
	unit = px_slice_behind(text, len);
	if (unit.len >= 2 && memcmp(unit.ptr, "ms", 2) == 0)
		return len + 2;
	if (unit.len == 0 || unit.ptr[0] != 's')
		return 0;
	out->real *= 1000;
	out->integer *= 1000;
	/* 1.001 s are 1001 ms, not 1000.9999999999999: a double holds 15 digits as they were written. */
	(void)snprintf(thousandfold, sizeof(thousandfold), "%.15g", out->real);
	if (out->type == VALUE_REAL && px_text_to_double(px_slice(thousandfold), &out->real) == -1)
		return 0;
	return len + 1;
}

static size_t
take_text(struct px_slice text, size_t len, struct value_capture *out)
{
	out->type = VALUE_TEXT;
	out->text = (struct px_slice){ text.ptr, len };
	return len;
}

static size_t
read_letters(struct px_slice text, struct value_capture *out)
{
	return take_text(text, span(text, 0, LOWER), out);
}

/* One or two digits, a leading zero among them. */
static size_t
read_digits(struct px_slice text, struct value_capture *out)
{
	size_t len = span(text, 0, DIGITS);

	text.len = len < 2 ? len : 2;
	out->type = VALUE_INTEGER;
	return px_text_to_int64(text, 0, 99, &out->integer) == 0 ? text.len : 0;
}

static size_t
read_digit(struct px_slice text, struct value_capture *out)
{
	if (text.len > 1)
		text.len = 1;
	return read_digits(text, out);
}

static size_t
read_pair(struct px_slice text, struct value_capture *out)
{
	return read_digits(text, out) == 2 ? 2 : 0;
}

static size_t
read_year(struct px_slice text, struct value_capture *out)
{
	if (span(text, 0, DIGITS) < 4)
		return 0;
	text.len = 4;
	out->type = VALUE_INTEGER;
	return px_text_to_int64(text, 0, 9999, &out->integer) == 0 ? text.len : 0;
}

/* The place, from 1, of the name of three letters in ${names}. */
static size_t
read_name(struct px_slice text, const char *names, struct value_capture *out)
{
	out->type = VALUE_INTEGER;
	for (size_t i = 0; names[i] != '\0' && text.len >= 3; i += 3)
		if (memcmp(text.ptr, names + i, 3) == 0) {
			out->integer = (int64_t)(i / 3 + 1);
			return 3;
		}
	return 0;
}

static size_t
read_weekday(struct px_slice text, struct value_capture *out)
{
	return read_name(text, "MonTueWedThuFriSatSun", out);
}

static size_t
read_month(struct px_slice text, struct value_capture *out)
{
	return read_name(text, "JanFebMarAprMayJunJulAugSepOctNovDec", out);
}

static size_t
read_algorithm(struct px_slice text, struct value_capture *out)
{
	size_t len = span(text, 0, UPPER DIGITS "-");
	bool known = px_slice_is((struct px_slice){ text.ptr, len }, "MD5") || (len > 3 && memcmp(text.ptr, "SHA", 3) == 0);

	return known ? take_text(text, len, out) : 0;
}

/* Shares of the processor's time, by Monit's names up to 5.26 and from 5.27 on. */
static const struct {
	const char *said;
	const char *name;
} shares[] = {
	{ "us", "user" },
	{ "usr", "user" },
	{ "sy", "system" },
	{ "sys", "system" },
	{ "wa", "iowait" },
};

size_t
px_value_read_share(struct px_slice text, struct value_capture *out, char key[VALUE_SHARE_KEY_MAX])
{
	size_t len = read_number(text, out);
	struct px_slice name;

	if (len == 0 || len >= text.len || text.ptr[len] != '%')
		return 0;
	name = px_slice_behind(text, len + 1);
	name.len = span(name, 0, LOWER);
	if (name.len == 0 || name.len > VALUE_SHARE_NAME_MAX)
		return 0;
	len += 1 + name.len;
	for (size_t i = 0; i < COUNT(shares); i++)
		if (px_slice_is(name, shares[i].said))
			name = px_slice(shares[i].name);
	(void)snprintf(key, VALUE_SHARE_KEY_MAX, "%.*s_percent", (int)name.len, name.ptr);
	return len;
}

/* All shares there are, each name once; they are read again when they are written. */
static size_t
read_shares(struct px_slice text, struct value_capture *out)
{
	char keys[SHARES_MAX][VALUE_SHARE_KEY_MAX];
	size_t count = 0;
	size_t len = 0;

	while (count < SHARES_MAX) {
		size_t start = len + (count > 0 ? px_value_blanks(px_slice_behind(text, len)) : 0);
		size_t more = px_value_read_share(px_slice_behind(text, start), out, keys[count]);

		if (more == 0)
			break;
		for (size_t i = 0; i < count; i++)
			if (strcmp(keys[i], keys[count]) == 0)
				return 0;
		len = start + more;
		count++;
	}
	return take_text(text, len, out);
}

static size_t
word_length(struct px_slice text, size_t max)
{
	size_t len = 0;

	while (len < text.len && len < max && (text.ptr[len] == '\0' || strchr(" \t[]()", text.ptr[len]) == NULL))
		len++;
	return len;
}

static size_t
read_hash(struct px_slice text, struct value_capture *out)
{
	return take_text(text, word_length(text, text.len), out);
}

static const struct {
	const char *kind;
	read_fn *read;
} readers[] = {
	{ "number", read_number },
	{ "size", read_size },
	{ "time", read_time },
	{ "count", read_count },
	{ "letters", read_letters },
	{ "digits", read_digits },
	{ "digit", read_digit },
	{ "pair", read_pair },
	{ "year", read_year },
	{ "month", read_month },
	{ "weekday", read_weekday },
	{ "hash", read_hash },
	{ "algorithm", read_algorithm },
	{ "shares", read_shares },
};

/* Captures the first ${len} bytes of ${text}, when no blank is at an end of them and the rest of the pattern fits behind. */
static bool
match_start(const char *pattern, struct px_slice text, size_t len, size_t count, struct value_captures *captures)
{
	captures->count = count;
	(void)take_text(text, len, &captures->each[count - 1]);
	return text.ptr[0] != ' ' && text.ptr[len - 1] != ' ' && px_value_match(pattern, px_slice_behind(text, len), captures);
}

/* The longest one of ${min} to ${max} bytes: what is asked for may itself say what comes behind it. */
static bool
match_longest(const char *pattern, struct px_slice text, size_t min, size_t max, struct value_captures *captures)
{
	size_t count = captures->count;

	for (size_t len = max; len >= min; len--)
		if (match_start(pattern, text, len, count, captures))
			return true;
	return false;
}

/* The shortest one of up to ${max} bytes: with no blank behind it a word would take what follows. */
static bool
match_shortest(const char *pattern, struct px_slice text, size_t max, struct value_captures *captures)
{
	size_t count = captures->count;

	for (size_t len = 1; len <= max; len++)
		if (match_start(pattern, text, len, count, captures))
			return true;
	return false;
}

/* ${pattern} is behind a '{'. */
static bool
match_capture(const char *pattern, struct px_slice text, struct value_captures *captures)
{
	const char *end = strchr(pattern, '}');
	struct px_slice kind = { pattern, 0 };
	struct value_capture *capture = &captures->each[captures->count];
	size_t len = 0;
	size_t i = 0;

	while (pattern[kind.len] != ' ' && pattern[kind.len] != '}')
		kind.len++;
	if (captures->count == VALUE_CAPTURES_MAX)
		return false;
	*capture = (struct value_capture){ .type = VALUE_YES };
	if (pattern[kind.len] == ' ')
		capture->key = (struct px_slice){ pattern + kind.len + 1, (size_t)(end - pattern) - kind.len - 1 };
	captures->count++;
	if (px_slice_is(kind, "true"))
		return px_value_match(end + 1, text, captures);
	if (px_slice_is(kind, "text"))
		return match_longest(end + 1, text, text.len > TAIL_MAX ? text.len - TAIL_MAX : 1, text.len, captures);
	if (px_slice_is(kind, "word"))
		return match_shortest(end + 1, text, word_length(text, WORD_MAX), captures);
	while (i < COUNT(readers) && !px_slice_is(kind, readers[i].kind))
		i++;
	if (i < COUNT(readers))
		len = readers[i].read(text, capture);
	return len > 0 && px_value_match(end + 1, px_slice_behind(text, len), captures);
}

bool
px_value_match(const char *pattern, struct px_slice text, struct value_captures *captures)
{
	size_t count = captures->count;

	for (; *pattern != '\0'; pattern++) {
		if (*pattern == '{')
			return match_capture(pattern + 1, text, captures);
		if (*pattern == '<') {
			if (px_value_match(pattern + 1, text, captures))
				return true;
			captures->count = count;
			pattern = strchr(pattern, '>');
		} else if (*pattern == ' ')
			text = px_slice_behind(text, px_value_blanks(text));
		else if (*pattern != '>') {
			if (text.len == 0 || text.ptr[0] != *pattern)
				return false;
			text = px_slice_behind(text, 1);
		}
	}
	return text.len == 0;
}
