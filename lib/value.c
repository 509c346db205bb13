/* SPDX-License-Identifier: MIT */
#include "value_parts.h"

#include <stdio.h>
#include <string.h>

#include "json.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))
#define WHOLE_MAX 48	/* bytes; 15 digits of ZB are 37 */
#define FIRST_S INT64_C(-62167219200)	/* 0000-01-01T00:00:00Z */
#define LAST_S INT64_C(253402300799)	/* 9999-12-31T23:59:59Z */

/* Their values are strings whatever they look like. */
static const char *const always_strings[] = {
	"last_output", "permission", "security_attribute", "content_match", "filesystem_type", "filesystem_flags",
};

/* What becomes of a form's captures. */
enum shape { AS_NULL, AS_VALUE, AS_ARRAY, AS_OBJECT, AS_SECONDS, AS_TIME, AS_SHARES };

/* The forms of px-status(7), first match wins. */
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
	/* Before the next one: "Apr 211:24:17" is the 2nd. */
	{ AS_TIME, "{weekday} {month month} {digit day} {pair hour}:{digits minute}:{digits second} {year year}" },
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

static int64_t
captured_integer(const struct value_captures *captures, const char *key)
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
write_capture(struct px_buf *out, const struct value_capture *capture)
{
	if (capture->key.len > 0)
		px_json_key(out, capture->key);
	switch (capture->type) {
	case VALUE_INTEGER:
		px_json_int(out, NULL, capture->integer);
		break;
	case VALUE_REAL:
		px_json_double(out, NULL, capture->real);
		break;
	case VALUE_WHOLE:
		write_whole(out, capture->real);
		break;
	case VALUE_TEXT:
		px_json_slice(out, NULL, capture->text);
		break;
	case VALUE_YES:
		px_json_bool(out, NULL, true);
		break;
	}
}

static void
write_captures(struct px_buf *out, const struct value_captures *captures, char opening, char closing)
{
	px_json_open(out, NULL, opening);
	for (size_t i = 0; i < captures->count; i++)
		write_capture(out, &captures->each[i]);
	px_json_close(out, closing);
}

static void
write_shares(struct px_buf *out, struct px_slice text)
{
	char key[VALUE_SHARE_KEY_MAX];
	struct value_capture share;
	size_t len;

	px_json_open(out, NULL, '{');
	while ((len = px_value_read_share(text, &share, key)) > 0) {
		share.key = px_slice(key);
		write_capture(out, &share);
		text = px_slice_behind(text, len);
		text = px_slice_behind(text, px_value_blanks(text));
	}
	px_json_close(out, '}');
}

/* false when it is longer than can be told. */
static bool
write_seconds(struct px_buf *out, const struct value_captures *captures)
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
write_time(struct px_buf *out, const struct value_captures *captures, px_offset_fn *offset)
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
write_form(struct px_buf *out, enum shape shape, const struct value_captures *captures, px_offset_fn *offset)
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
	struct value_captures captures = { .count = 0 };
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
		if (px_value_match(forms[i].pattern, form, &captures) && write_form(out, forms[i].shape, &captures, offset))
			return;
	}
	px_json_slice(out, NULL, text);
}
