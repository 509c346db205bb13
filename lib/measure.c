/* SPDX-License-Identifier: MIT */
#include "measure.h"

#include <string.h>

#define COUNT_OF(array) (sizeof(array) / sizeof((array)[0]))
#define CURRENT "current "		/* before the words of a recovery */
#define WHOLE_MAX 9007199254740992.0	/* 2^53: up to here a double holds every whole number */

/* What stands behind a number, and what one of it is in the unit that we write. */
static const struct unit {
	const char *text;
	const char *unit;
	double factor;
} units[] = {
	{ "%", "%", 1 },
	{ "B", "B", 1 },
	{ "kB", "B", 0x1p10 },
	{ "MB", "B", 0x1p20 },
	{ "GB", "B", 0x1p30 },
	{ "TB", "B", 0x1p40 },
	{ "PB", "B", 0x1p50 },
	{ "EB", "B", 0x1p60 },
	{ "ZB", "B", 0x1p70 },
	{ "B/s", "B/s", 1 },
	{ "kB/s", "B/s", 0x1p10 },
	{ "MB/s", "B/s", 0x1p20 },
	{ "GB/s", "B/s", 0x1p30 },
	{ "TB/s", "B/s", 0x1p40 },
	{ "PB/s", "B/s", 0x1p50 },
	{ "EB/s", "B/s", 0x1p60 },
	{ "ZB/s", "B/s", 0x1p70 },
	{ "Mb/s", "B/s", 125000 },
	{ "ms", "ms", 1 },
	{ "s", "ms", 1000 },
	{ "m", "ms", 60e3 },
	{ "h", "ms", 3600e3 },
	{ "d", "ms", 86400e3 },
	{ "y", "ms", 365 * 86400e3 },
	{ "seconds", "ms", 1000 },
	{ "days", "ms", 86400e3 },
	{ "ms/operation", "ms", 1 },
	{ "s/operation", "ms", 1000 },
	{ "m/operation", "ms", 60e3 },
	{ "ms/operations", "ms", 1 },
	{ "operations/s", NULL, 1 },
	{ "blocks", NULL, 1 },
};

static const char *const operators[] = { ">=", "<=", "!=", ">", "<", "=" };

/*
 * What Monit tests in the same two sentences: before the number of a failure, before its limit, at the start of a
 * recovery and before its number. NULL: as the first.
 */
static const struct quantity {
	const char *name;
	const char *limit;
	const char *recovery;
	const char *current;
} quantities[] = {
	{ "cpu usage", NULL, NULL, NULL },
	{ "total cpu usage", "cpu usage", NULL, "cpu usage" },
	{ "cpu user usage", NULL, NULL, NULL },
	{ "cpu system usage", NULL, NULL, NULL },
	{ "cpu wait usage", NULL, NULL, NULL },
	{ "cpu I/O wait", NULL, NULL, NULL },
	{ "cpu nice usage", NULL, NULL, NULL },
	{ "cpu hardware IRQ usage", NULL, NULL, NULL },
	{ "cpu software IRQ usage", NULL, NULL, NULL },
	{ "cpu steal usage", NULL, NULL, NULL },
	{ "cpu guest usage", NULL, NULL, NULL },
	{ "cpu guest nice usage", NULL, NULL, NULL },
	{ "mem usage", NULL, NULL, NULL },
	{ "mem amount", NULL, NULL, NULL },
	{ "total mem amount", NULL, NULL, NULL },
	{ "swap usage", NULL, NULL, NULL },
	{ "swap amount", NULL, NULL, NULL },
	{ "loadavg (1min)", NULL, NULL, NULL },
	{ "loadavg (5min)", NULL, NULL, NULL },
	{ "loadavg (15min)", NULL, NULL, NULL },
	{ "loadavg(1min)", NULL, NULL, NULL },
	{ "loadavg(5min)", NULL, NULL, NULL },
	{ "loadavg(15min)", NULL, NULL, NULL },
	{ "loadavg per core (1min)", NULL, NULL, NULL },
	{ "loadavg per core (5min)", NULL, NULL, NULL },
	{ "loadavg per core (15min)", NULL, NULL, NULL },
	{ "threads count", "threads", "threads", "threads" },
	{ "threads", NULL, NULL, NULL },
	{ "children count", "children", "children", "children" },
	{ "children", NULL, NULL, NULL },
	{ "filedescriptors usage", "filedescriptors", NULL, "filedescriptors usage" },
	{ "filedescriptors usage", "filedescriptors", "filedescriptors", "filedescriptors usage" },
	{ "total filedescriptors usage", "filedescriptors", NULL, "filedescriptors usage" },
	{ "read rate", "read", NULL, "read" },
	{ "write rate", "write", NULL, "write" },
	{ "physical read activity", "read", NULL, "read" },
	{ "physical write activity", "write", NULL, "write" },
	{ "inode usage", NULL, NULL, NULL },
	{ "inode free", NULL, NULL, NULL },
	{ "space usage", NULL, NULL, NULL },
	{ "space free", NULL, NULL, NULL },
	{ "service time", NULL, NULL, NULL },
	{ "link saturation", "saturation", NULL, "saturation" },
	{ "link upload saturation", "saturation", NULL, "upload saturation" },
	{ "link download saturation", "saturation", NULL, "download saturation" },
	{ "upload", "upload rate", NULL, "upload rate" },
	{ "total upload", "upload rate", NULL, "upload rate" },
	{ "download", "download rate", NULL, "download rate" },
	{ "total download", "download rate", NULL, "download rate" },
	{ "upload packets", NULL, NULL, NULL },
	{ "total upload packets", "upload packets", NULL, "upload packets" },
	{ "download packets", NULL, NULL, NULL },
	{ "total download packets", "download packets", NULL, "download packets" },
	{ "size", NULL, NULL, NULL },
	{ "hardlink", NULL, NULL, NULL },
	{ "uptime", NULL, NULL, NULL },
};

/*
 * The sentences. A blank is one or more; "{...}" may be missing; "*" is text of others, up to the last place where what
 * follows it stands; "@" is the number, "?" the operator, "#" the limit; "~" is "=" or nothing, with or without blanks;
 * N, L, R and C are the words of a quantity, in the order of its columns.
 */
static const char *const quantity_forms[] = {
	"N {of }@ matches {resource }limit [L?#]",
	"N {of }@ matches limit [L?# in last *]",
};

static const char *const recovery_forms[] = {
	"R {check }{test }succeeded [current C~@]",
	"R check succeeded [current C~@ in last *]",
};

/* Sentences that only one test has, and the words before their number. */
static const struct single {
	const char *name;
	const char *form;
} singles[] = {
	{ "response time", "response time @ doesn't match limit [time?#]" },
	{ "response time", "response time @ succeeded [time?#]" },
	{ "response time", "ping test succeeded [response time @]" },
	{ "certificate expiry", "certificate expiry in @ matches check limit [valid?#]" },
	{ "valid", "certificate valid days test succeeded [valid for @]" },
	{ "current size", "size test failed for * -- current size is @" },
	{ "current size", "size has not changed [current size~@]" },
	{ "size", "size for * changed to @" },
	{ "current hardlink", "hardlink test failed for * -- current hardlink is @" },
	{ "current hardlink", "hardlink has not changed [current hardlink~@]" },
	{ "hardlink", "hardlink for * changed to @" },
	{ "current uptime", "uptime test failed for * -- current uptime is @" },
	{ "link speed", "link speed changed to @" },
	{ "current speed", "link speed has not changed since last cycle [current speed~@]" },
	/* Nothing stands before these numbers: the words behind them. */
	{ "upload errors", "@ upload errors detected" },
	{ "download errors", "@ download errors detected" },
};

static size_t
count_blanks(struct px_slice text)
{
	size_t count = 0;

	while (count < text.len && text.ptr[count] == ' ')
		count++;
	return count;
}

static void
skip(struct px_slice *text, size_t count)
{
	text->ptr += count;
	text->len -= count;
}

/* Takes the ${len} bytes of ${words} off ${text}'s start; a blank stands for several. */
static bool
take(struct px_slice *text, const char *words, size_t len)
{
	struct px_slice rest = *text;

	for (size_t i = 0; i < len; i++) {
		if (rest.len == 0 || rest.ptr[0] != words[i])
			return false;
		skip(&rest, words[i] == ' ' ? count_blanks(rest) : 1);
	}
	*text = rest;
	return true;
}

static bool
is_digit_or_point(char byte)
{
	return (byte >= '0' && byte <= '9') || byte == '.';
}

static bool
is_unit_byte(char byte)
{
	return (byte >= 'a' && byte <= 'z') || (byte >= 'A' && byte <= 'Z') || byte == '/' || byte == '%';
}

/* Bytes are whole, and what Monit writes with at most three decimals of a second or more is a whole millisecond. */
static double
in_unit(double number, double factor)
{
	double value = number * factor;

	if (factor <= 1 || value > WHOLE_MAX || value < -WHOLE_MAX)
		return value;
	return (double)(int64_t)(value < 0 ? value - 0.5 : value + 0.5);
}

/* Takes a number and its unit; a word behind it that is no unit stays. */
static bool
take_number(struct px_slice *text, double *value, const char **unit)
{
	struct px_slice rest = *text;
	size_t len = rest.len > 0 && rest.ptr[0] == '-' ? 1 : 0;
	struct px_slice word;
	double number;

	while (len < rest.len && is_digit_or_point(rest.ptr[len]))
		len++;
	if (px_text_to_double((struct px_slice){ rest.ptr, len }, &number) == -1)
		return false;
	skip(&rest, len);
	*text = rest;
	*value = number;
	*unit = NULL;

	skip(&rest, count_blanks(rest));
	word = (struct px_slice){ rest.ptr, 0 };
	while (word.len < rest.len && is_unit_byte(word.ptr[word.len]))
		word.len++;
	for (size_t i = 0; i < COUNT_OF(units); i++) {
		if (!px_slice_is(word, units[i].text))
			continue;
		*value = in_unit(number, units[i].factor);
		*unit = units[i].unit;
		skip(&rest, word.len);
		*text = rest;
		break;
	}
	return true;
}

static bool
take_operator(struct px_slice *text, const char **operator)
{
	struct px_slice rest = *text;

	skip(&rest, count_blanks(rest));
	for (size_t i = 0; i < COUNT_OF(operators); i++) {
		if (!take(&rest, operators[i], strlen(operators[i])))
			continue;
		skip(&rest, count_blanks(rest));
		*text = rest;
		*operator = operators[i];
		return true;
	}
	return false;
}

static void
take_equals(struct px_slice *text)
{
	skip(text, count_blanks(*text));
	(void)take(text, "=", 1);
	skip(text, count_blanks(*text));
}

/* Skips to the last place in ${text} where the words of ${form} stand that follow. */
static bool
take_others(struct px_slice *text, const char *form)
{
	size_t len = strcspn(form, "@");

	for (size_t at = text->len; at > 0; at--) {
		struct px_slice rest = { text->ptr + at - 1, text->len - at + 1 };

		if (take(&rest, form, len)) {
			skip(text, at - 1);
			return true;
		}
	}
	return false;
}

static const char *
quantity_words(const struct quantity *quantity, char column)
{
	const char *words = column == 'L' ? quantity->limit : column == 'R' ? quantity->recovery :
	    column == 'C' ? quantity->current : quantity->name;

	return words != NULL ? words : quantity->name;
}

static bool
same_unit(const char *one, const char *other)
{
	return one == other || (one != NULL && other != NULL && strcmp(one, other) == 0);
}

/* Whether the whole of ${text} is ${form}; fills all of ${out} but its name. */
static bool
matches(struct px_slice text, const char *form, const struct quantity *quantity, struct px_measurement *out)
{
	const char *limit_unit = NULL;
	bool ok = true;

	out->operator = NULL;
	for (; ok && *form != '\0'; form++) {
		switch (*form) {
		case '@':
			ok = take_number(&text, &out->value, &out->unit);
			break;
		case '?':
			ok = take_operator(&text, &out->operator);
			break;
		case '#':
			ok = take_number(&text, &out->limit, &limit_unit) && same_unit(out->unit, limit_unit);
			break;
		case '~':
			take_equals(&text);
			break;
		case '*':
			ok = take_others(&text, form + 1);
			break;
		case '{':
			(void)take(&text, form + 1, strcspn(form + 1, "}"));
			form += strcspn(form, "}");
			break;
		case 'N':
		case 'L':
		case 'R':
		case 'C': {
			const char *words = quantity_words(quantity, *form);

			ok = take(&text, words, strlen(words));
			break;
		}
		default:
			ok = take(&text, form, 1);
			break;
		}
	}
	return ok && text.len == 0;
}

static void
set_name(struct px_measurement *out, const char *before, const char *words)
{
	size_t before_len = strlen(before);
	size_t words_len = strlen(words);

	/* Those of the tables above a test keeps within the room. */
	if (before_len + words_len >= sizeof(out->name))
		words_len = 0;
	memcpy(out->name, before, before_len);
	memcpy(out->name + before_len, words, words_len);
	out->name[before_len + words_len] = '\0';
}

static bool
match_quantity(struct px_slice text, const struct quantity *quantity, struct px_measurement *out)
{
	for (size_t i = 0; i < COUNT_OF(quantity_forms); i++)
		if (matches(text, quantity_forms[i], quantity, out)) {
			set_name(out, "", quantity->name);
			return true;
		}
	for (size_t i = 0; i < COUNT_OF(recovery_forms); i++)
		if (matches(text, recovery_forms[i], quantity, out)) {
			set_name(out, CURRENT, quantity_words(quantity, 'C'));
			return true;
		}
	return false;
}

static bool
is_word_byte(char byte)
{
	return (byte >= 'a' && byte <= 'z') || (byte >= 'A' && byte <= 'Z') || (byte >= '0' && byte <= '9') ||
	    (byte != '\0' && strchr(" ()/_", byte) != NULL);
}

/* The words before the number of a failure or before "check succeeded" of a recovery, whatever they say; "" for none. */
static void
first_words(struct px_slice text, char out[PX_MEASURE_NAME_MAX])
{
	static const char *const behind[] = { " of ", " check succeeded [", " test succeeded [", " succeeded [" };
	size_t len = 0;
	bool ended = false;

	for (; len < text.len && len < PX_MEASURE_NAME_MAX - sizeof(CURRENT) && is_word_byte(text.ptr[len]); len++) {
		struct px_slice rest = px_slice_behind(text, len);

		if (rest.ptr[0] == ' ' && rest.len > 1)
			ended = rest.ptr[1] >= '0' && rest.ptr[1] <= '9';
		for (size_t i = 0; !ended && i < COUNT_OF(behind); i++)
			ended = px_slice_begins_with(rest, behind[i]);
		if (ended)
			break;
	}
	if (!ended)
		len = 0;
	memcpy(out, text.ptr, len);
	out[len] = '\0';
}

/* What the table does not have is believed where the whole sentence is Monit's and names the same words twice. */
static bool
match_unknown(struct px_slice text, struct px_measurement *out)
{
	char words[PX_MEASURE_NAME_MAX];
	const struct quantity quantity = { .name = words };

	first_words(text, words);
	return words[0] != '\0' && match_quantity(text, &quantity, out);
}

/* Monit 5.2.5 begins its recoveries with the service's name, "'vm' ", which then held no quote. */
static struct px_slice
without_service(struct px_slice text)
{
	const char *quote = text.len > 1 && text.ptr[0] == '\'' ? memchr(text.ptr + 1, '\'', text.len - 1) : NULL;

	if (quote == NULL)
		return text;
	skip(&text, (size_t)(quote - text.ptr) + 1);
	skip(&text, count_blanks(text));
	return text;
}

bool
px_measure(struct px_slice description, struct px_measurement *out)
{
	struct px_slice text = without_service(px_slice_trim(description));

	for (size_t i = 0; i < COUNT_OF(quantities); i++)
		if (match_quantity(text, &quantities[i], out))
			return true;
	for (size_t i = 0; i < COUNT_OF(singles); i++)
		if (matches(text, singles[i].form, NULL, out)) {
			set_name(out, "", singles[i].name);
			return true;
		}
	return match_unknown(text, out);
}
