/* SPDX-License-Identifier: MIT */
#include "text.h"

#include <ctype.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <time.h>

#define S_PER_DAY 86400
#define REPLACEMENT "\xef\xbf\xbd"

struct px_slice
px_slice(const char *text)
{
	return (struct px_slice){ text, strlen(text) };
}

bool
px_slice_is(struct px_slice slice, const char *text)
{
	return slice.len == strlen(text) && memcmp(slice.ptr, text, slice.len) == 0;
}

bool
px_slice_is_nocase(struct px_slice slice, const char *text)
{
	return slice.len == strlen(text) && strncasecmp(slice.ptr, text, slice.len) == 0;
}

bool
px_slice_begins_with(struct px_slice slice, const char *start)
{
	size_t len = strlen(start);

	return slice.len >= len && memcmp(slice.ptr, start, len) == 0;
}

bool
px_slice_ends_with(struct px_slice slice, const char *end)
{
	size_t len = strlen(end);

	return slice.len >= len && memcmp(slice.ptr + slice.len - len, end, len) == 0;
}

struct px_slice
px_slice_behind(struct px_slice slice, size_t count)
{
	return (struct px_slice){ slice.ptr + count, slice.len - count };
}

static bool
is_blank(char byte)
{
	return byte == ' ' || byte == '\t' || byte == '\r' || byte == '\n';
}

struct px_slice
px_slice_trim(struct px_slice slice)
{
	while (slice.len > 0 && is_blank(slice.ptr[0])) {
		slice.ptr++;
		slice.len--;
	}
	while (slice.len > 0 && is_blank(slice.ptr[slice.len - 1]))
		slice.len--;
	return slice;
}

/* What may follow a lead byte (Unicode 15, table 3-7): how many bytes, and the range of the first of them. */
static const struct {
	unsigned char lead_first;
	unsigned char lead_last;
	unsigned char following;
	unsigned char first;
	unsigned char last;
} utf8_rows[] = {
	{ 0x00, 0x7f, 0, 0x00, 0x00 },
	{ 0xc2, 0xdf, 1, 0x80, 0xbf },
	{ 0xe0, 0xe0, 2, 0xa0, 0xbf },
	{ 0xe1, 0xec, 2, 0x80, 0xbf },
	{ 0xed, 0xed, 2, 0x80, 0x9f },
	{ 0xee, 0xef, 2, 0x80, 0xbf },
	{ 0xf0, 0xf0, 3, 0x90, 0xbf },
	{ 0xf1, 0xf3, 3, 0x80, 0xbf },
	{ 0xf4, 0xf4, 3, 0x80, 0x8f },
};

/* Length of the character, or of the maximal ill-formed part, that ${bytes} begin with; ${whole} tells which it is. */
static size_t
next_character(const unsigned char *bytes, size_t len, bool *whole)
{
	size_t row = 0;
	size_t i;

	*whole = false;
	while (row < sizeof(utf8_rows) / sizeof(utf8_rows[0]) &&
	    (bytes[0] < utf8_rows[row].lead_first || bytes[0] > utf8_rows[row].lead_last))
		row++;
	if (row == sizeof(utf8_rows) / sizeof(utf8_rows[0]))
		return 1;
	for (i = 1; i <= utf8_rows[row].following; i++) {
		unsigned char first = i == 1 ? utf8_rows[row].first : 0x80;
		unsigned char last = i == 1 ? utf8_rows[row].last : 0xbf;

		if (i == len || bytes[i] < first || bytes[i] > last)
			return i;
	}
	*whole = true;
	return i;
}

void
px_text_clean(struct px_buf *out, const char *bytes, size_t len)
{
	const unsigned char *in = (const unsigned char *)bytes;
	size_t done = 0;
	size_t i = 0;

	while (i < len) {
		bool whole;
		size_t part = next_character(in + i, len - i, &whole);

		if (!whole) {
			px_buf_add(out, bytes + done, i - done);
			px_buf_add_text(out, REPLACEMENT);
			done = i + part;
		}
		i += part;
	}
	px_buf_add(out, bytes + done, len - done);
}

void
px_text_escape(struct px_buf *out, const char *bytes, size_t len)
{
	const unsigned char *in = (const unsigned char *)bytes;
	size_t i = 0;

	while (i < len) {
		bool whole;
		size_t part = next_character(in + i, len - i, &whole);

		if (!whole)
			px_buf_add_text(out, REPLACEMENT);
		else if (in[i] < ' ' || in[i] == 0x7f)
			px_buf_printf(out, "\\x%02x", in[i]);
		else if (in[i] == 0xc2 && in[i + 1] < 0xa0)
			px_buf_printf(out, "\\u%04x", in[i + 1]);
		else if (in[i] == 0xe2 && in[i + 1] == 0x80 && (in[i + 2] == 0xa8 || in[i + 2] == 0xa9))
			px_buf_printf(out, "\\u20%02x", in[i + 2] - 0x80);
		else
			px_buf_add(out, bytes + i, part);
		i += part;
	}
}

void
px_text_hide(char *text, struct px_slice secret)
{
	size_t len = strlen(text);
	char *at = text;

	if (secret.len == 0)
		return;
	while ((at = memmem(at, len - (size_t)(at - text), secret.ptr, secret.len)) != NULL) {
		memset(at, '*', secret.len);
		at += secret.len;
	}
}

size_t
px_text_cut(const char *text, size_t len, size_t max)
{
	size_t end = len < max ? len : max;

	if (end == len)
		max = end;
	/* Step back over a character's later bytes, then over its lead where the rest is missing. */
	while (end > 0 && ((unsigned char)text[end - 1] & 0xc0) == 0x80)
		end--;
	if (end > 0) {
		bool whole;
		size_t part = next_character((const unsigned char *)text + end - 1, max - (end - 1), &whole);

		end = whole ? end - 1 + part : end - 1;
	}
	return end;
}

int
px_text_to_int64(struct px_slice text, int64_t min, int64_t max, int64_t *out)
{
	bool negative = text.len > 0 && text.ptr[0] == '-';
	int64_t value = 0;

	if (text.len == (negative ? 1 : 0))
		return -1;
	for (size_t i = negative ? 1 : 0; i < text.len; i++) {
		int digit = text.ptr[i] - '0';

		if (digit < 0 || digit > 9 || __builtin_mul_overflow(value, 10, &value) ||
		    __builtin_add_overflow(value, negative ? -digit : digit, &value))
			return -1;
	}
	if (value < min || value > max)
		return -1;
	*out = value;
	return 0;
}

static size_t
count_digits(struct px_slice text, size_t from)
{
	size_t i = from;

	while (i < text.len && text.ptr[i] >= '0' && text.ptr[i] <= '9')
		i++;
	return i - from;
}

int
px_text_to_double(struct px_slice text, double *out)
{
	char number[64];
	size_t start = text.len > 0 && text.ptr[0] == '-' ? 1 : 0;
	size_t whole = count_digits(text, start);
	size_t end = start + whole;

	if (whole == 0 || whole > 15 || (whole > 1 && text.ptr[start] == '0'))
		return -1;
	if (end < text.len && text.ptr[end] == '.') {
		size_t fraction = count_digits(text, end + 1);

		if (fraction == 0)
			return -1;
		end += 1 + fraction;
	}
	if (end != text.len)
		return -1;
	/* Digits past the 40th can't change the double. */
	if (end > sizeof(number) - 1)
		end = sizeof(number) - 1;
	memcpy(number, text.ptr, end);
	number[end] = '\0';
	*out = strtod(number, NULL);
	return 0;
}

/* A whole number and one of ${units}, each unit's factor beside it. */
struct unit {
	const char *name;
	int64_t factor;
};

static int
to_units(struct px_slice text, const struct unit *units, size_t count, int64_t *out)
{
	size_t digits = count_digits(text, 0);
	struct px_slice unit = { text.ptr + digits, text.len - digits };
	int64_t number;

	if (digits == 0 || px_text_to_int64((struct px_slice){ text.ptr, digits }, 0, INT64_MAX, &number) == -1)
		return -1;
	for (size_t i = 0; i < count; i++)
		if (px_slice_is(unit, units[i].name))
			return __builtin_mul_overflow(number, units[i].factor, out) ? -1 : 0;
	return -1;
}

int
px_text_to_duration_ms(struct px_slice text, int64_t *out)
{
	static const struct unit units[] = {
		{ "s", 1000 },
		{ "m", INT64_C(60) * 1000 },
		{ "h", INT64_C(3600) * 1000 },
		{ "d", (int64_t)S_PER_DAY * 1000 },
	};

	return to_units(text, units, sizeof(units) / sizeof(units[0]), out);
}

int
px_text_to_bytes(struct px_slice text, int64_t *out)
{
	static const struct unit units[] = {
		{ "", 1 },
		{ "k", INT64_C(1) << 10 },
		{ "M", INT64_C(1) << 20 },
		{ "G", INT64_C(1) << 30 },
		{ "T", INT64_C(1) << 40 },
	};

	return to_units(text, units, sizeof(units) / sizeof(units[0]), out);
}

int
px_text_to_bool(struct px_slice text, bool *out)
{
	static const char *const words[][2] = { { "no", "yes" }, { "false", "true" }, { "off", "on" }, { "0", "1" } };

	for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++)
		for (int value = 0; value < 2; value++)
			if (px_slice_is(text, words[i][value])) {
				*out = value == 1;
				return 0;
			}
	return -1;
}

static int64_t
floor_divide(int64_t value, int64_t by)
{
	return value / by - (value % by < 0 ? 1 : 0);
}

/* Days since 1970 of a day of the proleptic Gregorian calendar; the months count from March so that leap days end a year. */
static int64_t
days_from_civil(int64_t year, int month, int day)
{
	int64_t from_march = (month + 9) % 12;
	int64_t y = month <= 2 ? year - 1 : year;
	int64_t day_of_year = (153 * from_march + 2) / 5 + day - 1;

	return y * 365 + floor_divide(y, 4) - floor_divide(y, 100) + floor_divide(y, 400) + day_of_year - 719468;
}

/* The reverse, and the time of day. gmtime_r(3) would read the time zone's file first. */
static struct px_civil
civil_from_utc_s(int64_t utc_s)
{
	int64_t days = floor_divide(utc_s, S_PER_DAY);
	int64_t second = utc_s - days * S_PER_DAY;
	int64_t since = days + 719468;				/* 0000-03-01, where a cycle of 400 years begins */
	int64_t cycle = floor_divide(since, 146097);
	int64_t day_of_cycle = since - cycle * 146097;
	int64_t year = (day_of_cycle - day_of_cycle / 1460 + day_of_cycle / 36524 - day_of_cycle / 146096) / 365;
	int64_t day_of_year = day_of_cycle - (365 * year + year / 4 - year / 100);
	int64_t from_march = (5 * day_of_year + 2) / 153;
	int64_t month = from_march < 10 ? from_march + 3 : from_march - 9;

	return (struct px_civil){
		.year = (int)(cycle * 400 + year + (month <= 2 ? 1 : 0)),
		.month = (int)month,
		.day = (int)(day_of_year - (153 * from_march + 2) / 5 + 1),
		.hour = (int)(second / 3600),
		.minute = (int)(second / 60 % 60),
		.second = (int)(second % 60),
	};
}

static int64_t
clamp_to_four_digit_years(int64_t s)
{
	const int64_t first = INT64_C(-62167219200);	/* 0000-01-01T00:00:00Z */
	const int64_t last = INT64_C(253402300799);	/* 9999-12-31T23:59:59Z */

	return s < first ? first : s > last ? last : s;
}

void
px_text_time_s(char out[PX_RFC3339_MAX], int64_t s)
{
	struct px_civil at = civil_from_utc_s(clamp_to_four_digit_years(s));

	(void)snprintf(out, PX_RFC3339_MAX, "%04u-%02u-%02uT%02u:%02u:%02uZ", (unsigned)at.year % 10000, (unsigned)at.month % 100,
	    (unsigned)at.day % 100, (unsigned)at.hour % 100, (unsigned)at.minute % 100, (unsigned)at.second % 100);
}

void
px_text_time_ms(char out[PX_RFC3339_MAX], int64_t ms)
{
	int64_t s = floor_divide(ms, PX_MS_PER_S);
	size_t end;

	px_text_time_s(out, s);
	end = strlen(out) - 1;
	(void)snprintf(out + end, PX_RFC3339_MAX - end, ".%03uZ", (unsigned)((ms % PX_MS_PER_S + PX_MS_PER_S) % PX_MS_PER_S));
}

void
px_text_time_local(char out[PX_RFC3339_MAX], int64_t ms)
{
	int64_t s = floor_divide(ms, PX_MS_PER_S);

	px_text_time_s(out, s + px_text_local_offset_s(s));
	out[strlen("2026-11-22")] = ' ';
	out[strlen("2026-11-22 15:55:47")] = '\0';
}

int
px_text_from_time_ms(struct px_slice text, int64_t *ms)
{
	static const char shape[] = "dddd-dd-ddTdd:dd:dd.dddZ";
	int64_t numbers[7] = { 0 };
	size_t number = 0;
	struct px_civil civil;
	int64_t utc_s;

	if (text.len != sizeof(shape) - 1)
		return -1;
	for (size_t i = 0; i < text.len; i++) {
		if (shape[i] != 'd') {
			if (text.ptr[i] != shape[i])
				return -1;
			number++;
		} else {
			if (!isdigit((unsigned char)text.ptr[i]))
				return -1;
			numbers[number] = numbers[number] * 10 + (text.ptr[i] - '0');
		}
	}
	civil = (struct px_civil){ (int)numbers[0], (int)numbers[1], (int)numbers[2], (int)numbers[3], (int)numbers[4],
		(int)numbers[5] };
	if (px_text_civil_to_utc_s(&civil, &utc_s) == -1)
		return -1;
	*ms = utc_s * PX_MS_PER_S + numbers[6];
	return 0;
}

static int
days_in_month(int year, int month)
{
	static const int days[] = { 31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31 };
	bool leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;

	return month == 2 && leap ? 29 : days[month - 1];
}

int
px_text_civil_to_utc_s(const struct px_civil *civil, int64_t *utc_s)
{
	if (civil->month < 1 || civil->month > 12 || civil->day < 1 || civil->day > days_in_month(civil->year, civil->month) ||
	    civil->hour < 0 || civil->hour > 23 || civil->minute < 0 || civil->minute > 59 || civil->second < 0 ||
	    civil->second > 60)
		return -1;
	*utc_s = days_from_civil(civil->year, civil->month, civil->day) * S_PER_DAY + (int64_t)civil->hour * 3600 +
	    (int64_t)civil->minute * 60 + civil->second;
	return 0;
}

int
px_text_local_to_utc_s(const struct px_civil *civil, px_offset_fn *offset, int64_t *utc_s)
{
	int64_t as_utc;
	int64_t by_offset_before;
	int64_t by_offset_after;

	if (px_text_civil_to_utc_s(civil, &as_utc) == -1)
		return -1;
	by_offset_before = as_utc - offset(as_utc - S_PER_DAY);
	by_offset_after = as_utc - offset(as_utc + S_PER_DAY);
	/*
	 * Where a change of offset lies between, a time that exists twice fits both (the one by the offset before is the
	 * earlier), one that exists once fits one, and one in the gap fits none.
	 */
	if (by_offset_before + offset(by_offset_before) != as_utc && by_offset_after + offset(by_offset_after) == as_utc)
		*utc_s = by_offset_after;
	else
		*utc_s = by_offset_before;
	return 0;
}

int
px_text_local_offset_s(int64_t utc_s)
{
	time_t at = (time_t)utc_s;
	struct tm tm;

	tzset();
	if (localtime_r(&at, &tm) == NULL)
		return 0;
	return (int)tm.tm_gmtoff;
}

const char *
px_text_plural(int64_t count, const char *one, const char *more)
{
	return count == 1 ? one : more;
}
