/* SPDX-License-Identifier: MIT */
/*
 * Text from outside: made valid UTF-8, cut at whole characters, read as numbers and times; and the only place that calls
 * the C library's number and calendar functions. Reads no clock; only px_text_local_offset_s knows the time zone.
 */
#ifndef PX_TEXT_H
#define PX_TEXT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "buf.h"

#define PX_MS_PER_S 1000
#define PX_RFC3339_MAX 32

/* Bytes that somebody else owns; not terminated. */
struct px_slice {
	const char *ptr;
	size_t len;
};

/* Seconds east of UTC that were in force at ${utc_s}: the time zone as an argument. */
typedef int px_offset_fn(int64_t utc_s);

/* A date and time of day without a zone. */
struct px_civil {
	int year;
	int month;	/* 1 to 12 */
	int day;	/* 1 to 31 */
	int hour;
	int minute;
	int second;
};

struct px_slice px_slice(const char *text);
bool px_slice_is(struct px_slice slice, const char *text);
bool px_slice_is_nocase(struct px_slice slice, const char *text);	/* ASCII only */
bool px_slice_begins_with(struct px_slice slice, const char *start);
bool px_slice_ends_with(struct px_slice slice, const char *end);
struct px_slice px_slice_behind(struct px_slice slice, size_t count);	/* without its first ${count} bytes, which it has */
struct px_slice px_slice_trim(struct px_slice slice);			/* blanks, tabs, CR and LF off both ends */

/*
 * Appends ${len} bytes to ${out} as valid UTF-8: each maximal part of an ill-formed sequence becomes one U+FFFD
 * (Unicode 15, section 3.9, "U+FFFD Substitution of Maximal Subparts"). Control characters stay as they are.
 */
void px_text_clean(struct px_buf *out, const char *bytes, size_t len);

/*
 * Appends ${len} bytes, made valid UTF-8, with each control character (C0, DEL, C1, and U+2028, U+2029) as \xNN or
 * \uNNNN and a backslash as it is: what may be shown in a log line.
 */
void px_text_escape(struct px_buf *out, const char *bytes, size_t len);

/* Overwrites ${secret} with '*' wherever it stands in ${text}. */
void px_text_hide(char *text, struct px_slice secret);

/* Length of the longest start of the valid UTF-8 ${text} that has at most ${max} bytes and ends with a whole character. */
size_t px_text_cut(const char *text, size_t len, size_t max);

/* A whole decimal number from ${min} to ${max}, an optional '-' in front, nothing else. 0 or -1. */
int px_text_to_int64(struct px_slice text, int64_t min, int64_t max, int64_t *out) PX_MUST_CHECK;

/* A number as -?(0|[1-9][0-9]{0,14})(\.[0-9]+)? and nothing else. 0 or -1. */
int px_text_to_double(struct px_slice text, double *out) PX_MUST_CHECK;

/* "30s", "5m", "1h", "2d" in milliseconds; "512k", "64M", "1G", "1T" and plain numbers in bytes; yes/no words. 0 or -1. */
int px_text_to_duration_ms(struct px_slice text, int64_t *out) PX_MUST_CHECK;
int px_text_to_bytes(struct px_slice text, int64_t *out) PX_MUST_CHECK;
int px_text_to_bool(struct px_slice text, bool *out) PX_MUST_CHECK;

/* ${ms} since 1970 as "2026-11-22T14:55:47.123Z" (RFC 3339); ..._s without the fraction. Outside 0..9999: clamped. */
void px_text_time_ms(char out[PX_RFC3339_MAX], int64_t ms);
void px_text_time_s(char out[PX_RFC3339_MAX], int64_t s);

/* The reverse, for times that px_text_time_ms wrote. 0 or -1. */
int px_text_from_time_ms(struct px_slice text, int64_t *ms) PX_MUST_CHECK;

/* ${ms} in local time as "2026-11-22 15:55:47", for people. */
void px_text_time_local(char out[PX_RFC3339_MAX], int64_t ms);

/* Seconds since 1970 of ${civil} taken as UTC. 0, or -1 when there is no such day or time (a 60th second is one). */
int px_text_civil_to_utc_s(const struct px_civil *civil, int64_t *utc_s) PX_MUST_CHECK;

/*
 * Seconds since 1970 of ${civil} in the zone ${offset}: of a time that exists twice the earlier one, of a time that
 * does not exist the one by the offset before the gap (as PEP 495 with fold=0). 0, or -1 as above.
 */
int px_text_local_to_utc_s(const struct px_civil *civil, px_offset_fn *offset, int64_t *utc_s) PX_MUST_CHECK;

/* ${one} for 1, else ${more}: words behind a number that a person reads. */
const char *px_text_plural(int64_t count, const char *one, const char *more);

/* The device's time zone, tzset(3). */
int px_text_local_offset_s(int64_t utc_s);

#endif
