/* SPDX-License-Identifier: MIT */
#include "value.h"

#include <stdio.h>
#include <string.h>

#include "json.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))
#define BLANKS_MAX 2	/* where a form has one, some versions have none or two */
#define CAPTURES_MAX 12
#define WORD_MAX 48	/* bytes of a protocol's name, or of a type's */
#define TAIL_MAX 320	/* bytes; more than any pattern takes behind a {text}, so that its end is sought there only */
#define WHOLE_MAX 48	/* bytes; 15 digits of ZB are 37 */
#define SHARES_MAX 16	/* of the processor's time in one value */
#define SHARE_NAME_MAX 32
#define FIRST_S INT64_C(-62167219200)	/* 0000-01-01T00:00:00Z */
#define LAST_S INT64_C(253402300799)	/* 9999-12-31T23:59:59Z */

/* Their values are strings whatever they look like. */
static const char *const always_strings[] = {
	"last_output", "permission", "security_attribute", "content_match", "filesystem_type", "filesystem_flags",
};

/* What becomes of a form's captures. */
enum shape { AS_NULL, AS_VALUE, AS_ARRAY, AS_OBJECT, AS_SECONDS, AS_TIME, AS_SHARES };

/*
 * The forms of px-status(7), first match wins. In a pattern a blank stands for none, one or two; {KIND KEY} captures what
 * KIND reads under KEY; <...> may be absent; everything else stands for itself.
 */
static const struct form {
	enum shape shape;
	const char *pattern;
} forms[] = {
	{ AS_NULL, "-" },
	{ AS_NULL, "N/A< for this link type>" },
	{ AS_VALUE, "{number}" },
	{ AS_OBJECT, "{number percent}%" },
	{ AS_OBJECT, "{size bytes}" },
	{ AS_OBJECT, "{size bytes_per_second}/s< [{size total_bytes} total]>" },
	{ AS_OBJECT, "{size bytes_per_second}/s ({number saturation_percent}% link saturation)" },
	{ AS_OBJECT, "{number megabits_per_second} Mb/s {letters duplex}-duplex" },
	{ AS_OBJECT, "{number per_second} reads/s [{number total} reads total]" },
	{ AS_OBJECT, "{number per_second} writes/s [{number total} writes total]" },
	{ AS_OBJECT, "{number per_second} per second" },
	{ AS_OBJECT, "{size bytes} [{number percent}%]" },
	{ AS_OBJECT, "{number percent}% [{size bytes}]" },
	{ AS_OBJECT, "{number value} [{number percent}%< of {number limit} limit>]" },
	{ AS_OBJECT, "{size bytes} (of which {number reserved_percent}% is reserved for root user)" },
	{ AS_ARRAY, "[{number}] [{number}] [{number}]" },
	{ AS_SHARES, "{shares}" },
	{ AS_SECONDS, "<{count days}d ><{count hours}h >{count minutes}m" },
	{ AS_TIME, "{weekday}, {digits day} {month month} {year year} {digits hour}:{digits minute}:{digits second}" },
	{ AS_TIME, "{weekday} {month month} {digits day} {digits hour}:{digits minute}:{digits second} {year year}" },
	{ AS_OBJECT, "{time milliseconds}" },
	{ AS_OBJECT, "{time milliseconds} to {text target} type {word type}"
	    "< using TLS{true tls} (certificate valid for {number certificate_days} days)> protocol {word protocol}" },
	{ AS_OBJECT, "FAILED{true failed} to {text target} type {word type}< using TLS{true tls}> protocol {word protocol}" },
	{ AS_OBJECT, "{time milliseconds}< to {text target}> [{word protocol}< via {word type}>]" },
	{ AS_OBJECT, "{time milliseconds}/operation"
	    " (of which read {time read_milliseconds}, write {time write_milliseconds})" },
	{ AS_OBJECT, "{time milliseconds}/operation"
	    " (of which queue {time queue_milliseconds}, active {time active_milliseconds})" },
	{ AS_OBJECT, "{hash hash} ({algorithm algorithm})" },
	{ AS_OBJECT, "{number errors} errors" },
	{ AS_OBJECT, "{size bytes_per_second}/s [{number packets_per_second} packets/s] [{number errors} errors]" },
	{ AS_OBJECT, "{number value} [{size bytes}]< [{number percent}%]>" },
	{ AS_OBJECT, "{size bytes_per_second}/s [{size total_bytes} total],"
	    " {number per_second} reads/s [{number total} reads total]" },
	{ AS_OBJECT, "{size bytes_per_second}/s [{size total_bytes} total],"
	    " {number per_second} writes/s [{number total} writes total]" },
};

struct capture {
	struct px_slice key;
	enum { INTEGER, REAL, WHOLE, TEXT, YES } type;	/* WHOLE: a real number without a fraction, past 64 bits */
	int64_t integer;
	double real;
	struct px_slice text;
};

struct captures {
	struct capture each[CAPTURES_MAX];
	size_t count;
};

static size_t
span(struct px_slice text, size_t from, const char *bytes)
{
	size_t i = from;

	while (i < text.len && text.ptr[i] != '\0' && strchr(bytes, text.ptr[i]) != NULL)
		i++;
	return i - from;
}

static size_t
blanks(struct px_slice text)
{
	size_t count = span(text, 0, " ");

	return count < BLANKS_MAX ? count : BLANKS_MAX;
}

#define DIGITS "0123456789"
#define LOWER "abcdefghijklmnopqrstuvwxyz"
#define UPPER "ABCDEFGHIJKLMNOPQRSTUVWXYZ"

/* Each reads what it stands for from the start of ${text} into ${out} and returns the length, 0 when it is not there. */
typedef size_t read_fn(struct px_slice text, struct capture *out);

static size_t
read_number(struct px_slice text, struct capture *out)
{
	size_t whole = text.len > 0 && text.ptr[0] == '-' ? 1 : 0;
	struct px_slice number = text;
	size_t fraction;

	whole += span(text, whole, DIGITS);
	fraction = whole < text.len && text.ptr[whole] == '.' ? span(text, whole + 1, DIGITS) : 0;
	number.len = fraction > 0 ? whole + 1 + fraction : whole;
	if (px_text_to_double(number, &out->real) == -1)
		return 0;
	out->type = REAL;
	if (fraction == 0 && px_text_to_int64(number, INT64_MIN, INT64_MAX, &out->integer) == 0)
		out->type = INTEGER;
	return number.len;
}

static size_t
read_count(struct px_slice text, struct capture *out)
{
	size_t len = read_number(text, out);

	return len > 0 && out->type == INTEGER && text.ptr[0] != '-' ? len : 0;
}

/* To the nearest whole number; halves away from zero. Where 64 bits do not hold it, a double has no fraction any more. */
static void
round_to_whole(struct capture *out)
{
	double magnitude = out->real < 0 ? -out->real : out->real;
	int64_t whole;

	out->type = WHOLE;
	if (magnitude >= 9e18)
		return;
	whole = (int64_t)magnitude;
	if (magnitude - (double)whole >= 0.5)
		whole++;
	out->integer = out->real < 0 ? -whole : whole;
	out->type = INTEGER;
}

static size_t
read_size(struct px_slice text, struct capture *out)
{
	static const char *const units[] = { "B", "kB", "MB", "GB", "TB", "PB", "EB", "ZB" };
	size_t len = read_number(text, out);
	double factor = 1;

	if (len == 0)
		return 0;
	len += blanks(px_slice_behind(text, len));
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
read_time(struct px_slice text, struct capture *out)
{
	size_t len = read_number(text, out);
	struct px_slice unit;
	char thousandfold[32];

	if (len == 0)
		return 0;
	len += blanks(px_slice_behind(text, len));
	unit = px_slice_behind(text, len);
	if (unit.len >= 2 && memcmp(unit.ptr, "ms", 2) == 0)
		return len + 2;
	if (unit.len == 0 || unit.ptr[0] != 's')
		return 0;
	out->real *= 1000;
	out->integer *= 1000;
	/* 1.001 s are 1001 ms, not 1000.9999999999999: a double holds 15 digits as they were written. */
	(void)snprintf(thousandfold, sizeof(thousandfold), "%.15g", out->real);
	if (out->type == REAL && px_text_to_double(px_slice(thousandfold), &out->real) == -1)
		return 0;
	return len + 1;
}

static size_t
take_text(struct px_slice text, size_t len, struct capture *out)
{
	out->type = TEXT;
	out->text = (struct px_slice){ text.ptr, len };
	return len;
}

static size_t
read_letters(struct px_slice text, struct capture *out)
{
	return take_text(text, span(text, 0, LOWER), out);
}

/* One or two digits, a leading zero among them. */
static size_t
read_digits(struct px_slice text, struct capture *out)
{
	size_t len = span(text, 0, DIGITS);

	text.len = len < 2 ? len : 2;
	out->type = INTEGER;
	return px_text_to_int64(text, 0, 99, &out->integer) == 0 ? text.len : 0;
}

static size_t
read_year(struct px_slice text, struct capture *out)
{
	if (span(text, 0, DIGITS) < 4)
		return 0;
	text.len = 4;
	out->type = INTEGER;
	return px_text_to_int64(text, 0, 9999, &out->integer) == 0 ? text.len : 0;
}

/* The place, from 1, of the name of three letters in ${names}. */
static size_t
read_name(struct px_slice text, const char *names, struct capture *out)
{
	out->type = INTEGER;
	for (size_t i = 0; names[i] != '\0' && text.len >= 3; i += 3)
		if (memcmp(text.ptr, names + i, 3) == 0) {
			out->integer = (int64_t)(i / 3 + 1);
			return 3;
		}
	return 0;
}

static size_t
read_weekday(struct px_slice text, struct capture *out)
{
	return read_name(text, "MonTueWedThuFriSatSun", out);
}

static size_t
read_month(struct px_slice text, struct capture *out)
{
	return read_name(text, "JanFebMarAprMayJunJulAugSepOctNovDec", out);
}

static size_t
read_algorithm(struct px_slice text, struct capture *out)
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

/* One "6.2%us" from the start of ${text}, its key ending in "_percent" put into ${key}. */
static size_t
read_share(struct px_slice text, struct capture *out, char key[SHARE_NAME_MAX + sizeof("_percent")])
{
	size_t len = read_number(text, out);
	struct px_slice name;

	if (len == 0 || len >= text.len || text.ptr[len] != '%')
		return 0;
	name = px_slice_behind(text, len + 1);
	name.len = span(name, 0, LOWER);
	if (name.len == 0 || name.len > SHARE_NAME_MAX)
		return 0;
	len += 1 + name.len;
	for (size_t i = 0; i < COUNT(shares); i++)
		if (px_slice_is(name, shares[i].said))
			name = px_slice(shares[i].name);
	(void)snprintf(key, SHARE_NAME_MAX + sizeof("_percent"), "%.*s_percent", (int)name.len, name.ptr);
	return len;
}

/* All shares there are, each name once; they are read again when they are written. */
static size_t
read_shares(struct px_slice text, struct capture *out)
{
	char keys[SHARES_MAX][SHARE_NAME_MAX + sizeof("_percent")];
	size_t count = 0;
	size_t len = 0;

	while (count < SHARES_MAX) {
		size_t start = len + (count > 0 ? blanks(px_slice_behind(text, len)) : 0);
		size_t more = read_share(px_slice_behind(text, start), out, keys[count]);

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
read_hash(struct px_slice text, struct capture *out)
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
	{ "year", read_year },
	{ "month", read_month },
	{ "weekday", read_weekday },
	{ "hash", read_hash },
	{ "algorithm", read_algorithm },
	{ "shares", read_shares },
};

static bool match(const char *pattern, struct px_slice text, struct captures *captures);

/*
 * Captures the longest start of ${text}, ${min} to ${max} bytes and no blank at an end of it, behind which the rest of the
 * pattern fits.
 */
static bool
match_longest(const char *pattern, struct px_slice text, size_t min, size_t max, struct captures *captures)
{
	size_t count = captures->count;
	struct capture *capture = &captures->each[count - 1];

	for (size_t len = max; len >= min; len--) {
		captures->count = count;
		(void)take_text(text, len, capture);
		if (text.ptr[0] != ' ' && text.ptr[len - 1] != ' ' && match(pattern, px_slice_behind(text, len), captures))
			return true;
	}
	return false;
}

/* ${pattern} is behind a '{'. */
static bool
match_capture(const char *pattern, struct px_slice text, struct captures *captures)
{
	const char *end = strchr(pattern, '}');
	struct px_slice kind = { pattern, 0 };
	struct capture *capture = &captures->each[captures->count];
	size_t len = 0;
	size_t i = 0;

	while (pattern[kind.len] != ' ' && pattern[kind.len] != '}')
		kind.len++;
	if (captures->count == CAPTURES_MAX)
		return false;
	*capture = (struct capture){ .type = YES };
	if (pattern[kind.len] == ' ')
		capture->key = (struct px_slice){ pattern + kind.len + 1, (size_t)(end - pattern) - kind.len - 1 };
	captures->count++;
	if (px_slice_is(kind, "true"))
		return match(end + 1, text, captures);
	if (px_slice_is(kind, "text"))
		return match_longest(end + 1, text, text.len > TAIL_MAX ? text.len - TAIL_MAX : 1, text.len, captures);
	if (px_slice_is(kind, "word"))
		return match_longest(end + 1, text, 1, word_length(text, WORD_MAX), captures);
	while (i < COUNT(readers) && !px_slice_is(kind, readers[i].kind))
		i++;
	if (i < COUNT(readers))
		len = readers[i].read(text, capture);
	return len > 0 && match(end + 1, px_slice_behind(text, len), captures);
}

static bool
match(const char *pattern, struct px_slice text, struct captures *captures)
{
	size_t count = captures->count;

	for (; *pattern != '\0'; pattern++) {
		if (*pattern == '{')
			return match_capture(pattern + 1, text, captures);
		if (*pattern == '<') {
			if (match(pattern + 1, text, captures))
				return true;
			captures->count = count;
			pattern = strchr(pattern, '>');
		} else if (*pattern == ' ')
			text = px_slice_behind(text, blanks(text));
		else if (*pattern != '>') {
			if (text.len == 0 || text.ptr[0] != *pattern)
				return false;
			text = px_slice_behind(text, 1);
		}
	}
	return text.len == 0;
}

static int64_t
captured_integer(const struct captures *captures, const char *key)
{
	for (size_t i = 0; i < captures->count; i++)
		if (px_slice_is(captures->each[i].key, key))
			return captures->each[i].integer;
	return 0;
}

static void
write_whole(struct px_buf *out, double value)
{
	char text[WHOLE_MAX];

	px_json_raw(out, NULL, text, (size_t)snprintf(text, sizeof(text), "%.0f", value));
}

static void
write_capture(struct px_buf *out, const struct capture *capture)
{
	if (capture->key.len > 0)
		px_json_key(out, capture->key);
	switch (capture->type) {
	case INTEGER:
		px_json_int(out, NULL, capture->integer);
		break;
	case REAL:
		px_json_double(out, NULL, capture->real);
		break;
	case WHOLE:
		write_whole(out, capture->real);
		break;
	case TEXT:
		px_json_slice(out, NULL, capture->text);
		break;
	case YES:
		px_json_bool(out, NULL, true);
		break;
	}
}

static void
write_captures(struct px_buf *out, const struct captures *captures, char opening, char closing)
{
	px_json_open(out, NULL, opening);
	for (size_t i = 0; i < captures->count; i++)
		write_capture(out, &captures->each[i]);
	px_json_close(out, closing);
}

static void
write_shares(struct px_buf *out, struct px_slice text)
{
	char key[SHARE_NAME_MAX + sizeof("_percent")];
	struct capture share;
	size_t len;

	px_json_open(out, NULL, '{');
	while ((len = read_share(text, &share, key)) > 0) {
		share.key = px_slice(key);
		write_capture(out, &share);
		text = px_slice_behind(text, len);
		text = px_slice_behind(text, blanks(text));
	}
	px_json_close(out, '}');
}

/* false when it is longer than can be told. */
static bool
write_seconds(struct px_buf *out, const struct captures *captures)
{
	int64_t days = captured_integer(captures, "days");
	int64_t hours = captured_integer(captures, "hours");
	int64_t minutes = captured_integer(captures, "minutes");
	int64_t seconds;

	if (__builtin_mul_overflow(days, 86400, &seconds) || __builtin_add_overflow(seconds, hours * 3600, &seconds) ||
	    __builtin_add_overflow(seconds, minutes * 60, &seconds))
		return false;
	px_json_open(out, NULL, '{');
	px_json_int(out, "seconds", seconds);
	px_json_close(out, '}');
	return true;
}

/* false when there is no such day or time, or RFC 3339 can't say it in UTC. */
static bool
write_time(struct px_buf *out, const struct captures *captures, px_offset_fn *offset)
{
	struct px_civil civil = {
		.year = (int)captured_integer(captures, "year"),
		.month = (int)captured_integer(captures, "month"),
		.day = (int)captured_integer(captures, "day"),
		.hour = (int)captured_integer(captures, "hour"),
		.minute = (int)captured_integer(captures, "minute"),
		.second = (int)captured_integer(captures, "second"),
	};
	char text[PX_RFC3339_MAX];
	int64_t utc_s;

	if (px_text_local_to_utc_s(&civil, offset, &utc_s) == -1 || utc_s < FIRST_S || utc_s > LAST_S)
		return false;
	px_text_time_s(text, utc_s);
	px_json_text(out, NULL, text);
	return true;
}

/* false when the captures of the form mean nothing. */
static bool
write_form(struct px_buf *out, enum shape shape, const struct captures *captures, px_offset_fn *offset)
{
	switch (shape) {
	case AS_NULL:
		px_json_null(out, NULL);
		return true;
	case AS_VALUE:
		write_capture(out, &captures->each[0]);
		return true;
	case AS_ARRAY:
		write_captures(out, captures, '[', ']');
		return true;
	case AS_OBJECT:
		write_captures(out, captures, '{', '}');
		return true;
	case AS_SECONDS:
		return write_seconds(out, captures);
	case AS_TIME:
		return write_time(out, captures, offset);
	case AS_SHARES:
		write_shares(out, captures->each[0].text);
		return true;
	}
	return false;
}

static bool
is_always_string(struct px_slice label)
{
	for (size_t i = 0; i < COUNT(always_strings); i++) {
		const char *key = always_strings[i];
		size_t at = 0;

		while (at < label.len && key[at] != '\0' &&
		    (key[at] == '_' ? label.ptr[at] == ' ' || label.ptr[at] == '_' : (label.ptr[at] | 0x20) == key[at]))
			at++;
		if (at == label.len && key[at] == '\0')
			return true;
	}
	return false;
}

void
px_value_write(struct px_buf *out, struct px_slice label, struct px_slice text, px_offset_fn *offset)
{
	bool is_string = is_always_string(label);
	bool typed = !is_string && text.len > 0 && memchr(text.ptr, '\n', text.len) == NULL;
	struct captures captures = { .count = 0 };
	struct px_slice form = text;

	if (is_string && px_slice_is(text, "-")) {
		px_json_null(out, NULL);
		return;
	}
	/* Blanks may follow a whole value. */
	while (form.len > 0 && form.ptr[form.len - 1] == ' ')
		form.len--;
	for (size_t i = 0; typed && i < COUNT(forms); i++) {
		captures.count = 0;
		if (match(forms[i].pattern, form, &captures) && write_form(out, forms[i].shape, &captures, offset))
			return;
	}
	px_json_slice(out, NULL, text);
}
