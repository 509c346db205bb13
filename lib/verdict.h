/* SPDX-License-Identifier: MIT */
/*
 * What a reply means and how long to wait after it: tables, first match wins. Pure: clocks and random numbers are
 * arguments.
 */
#ifndef PX_VERDICT_H
#define PX_VERDICT_H

#include <stdbool.h>
#include <stdint.h>

#include "buf.h"
#include "item.h"

#define PX_REPLY_MAX (1 << 20)	/* bytes of a reply's body that are read */

/* What came back for one batch. */
struct px_reply {
	int status;			/* RFC 9110; 0 when no whole reply came */
	char type[128];			/* media type, lower case, without parameters; "" when there is none */
	struct px_buf body;		/* owned; up to PX_REPLY_MAX bytes */
	bool body_cut;			/* there was more */
	bool timed_out;			/* no whole reply because time ran out once upstream was connected */
	int64_t retry_after_ms;		/* what Retry-After asks for, RFC 9110, 10.2.3; -1 when absent or unreadable */
	char error[256];		/* why ${status} is 0 */
};

/* What a body is, found by its reader. */
enum px_body {
	PX_BODY_EMPTY,
	PX_BODY_JSON,		/* of a JSON type and one JSON document whose "rejected", if any, is as it should be */
	PX_BODY_NOT_JSON,	/* of a JSON type and not that */
	PX_BODY_HTML,		/* text/html or application/xhtml+xml */
	PX_BODY_OTHER
};

enum px_action {
	PX_ACKNOWLEDGE,		/* upstream holds the batch, but what it names as rejected */
	PX_SPLIT,		/* an item may be at fault: 400, 413, 422 */
	PX_SEND_PLAIN,		/* 415 to a compressed body */
	PX_NEW_TOKEN,		/* 401, 403 */
	PX_KEEP			/* everything is kept */
};

struct px_verdict {
	enum px_action action;
	enum px_code code;	/* what a run ends with that can do no better: PX_OK, PX_LATER, PX_DENIED, PX_CONFIG */
	bool honours_retry_after;
	char reason[PX_ERR_MAX];	/* one line for a person */
};

/* The verdict on ${reply}, whose body is ${body}. */
void px_verdict(const struct px_reply *reply, enum px_body body, struct px_verdict *out);

/*
 * The wait after ${steps} runs without success (1 or more): full jitter, drawn with ${random} from 0 to the doubled and
 * capped back-off ("Exponential Backoff And Jitter", AWS Architecture Blog, 2015).
 */
int64_t px_backoff_ms(int64_t steps, int64_t initial_ms, int64_t max_ms, uint64_t random);

/* A length of time that began at a moment; it outlives processes and boots. */
struct px_timer {
	bool is_set;
	struct px_now began;
	int64_t length_ms;
};

/*
 * How much of ${timer} is left: by CLOCK_BOOTTIME in the boot in which it began, in another by the wall clock; never more
 * than its length, whatever the clocks say. 0 when it is not set.
 */
int64_t px_timer_left_ms(const struct px_timer *timer, const struct px_now *now);

/*
 * Makes a timer of another boot, or one that began later than now is, one of this moment with what is left, so that a clock
 * that stands still or went back can't hold it for ever. Returns whether it changed.
 */
bool px_timer_adopt(struct px_timer *timer, const struct px_now *now);

/* Milliseconds from 0 to below ${splay_ms}, the same for a device each time (FNV-1a of its id). */
int64_t px_splay_ms(struct px_slice device_id, int64_t splay_ms);

/* A Retry-After value: seconds, or an HTTP date measured against the reply's ${date_s} (-1: none, then unreadable).
 * From 1 second to a day, in milliseconds; -1 when unreadable. RFC 9110, 10.2.3 and 5.6.7. */
int64_t px_retry_after_ms(struct px_slice value, int64_t date_s);

/* An HTTP date (RFC 9110, 5.6.7, all three forms; ${now_s} places two-digit years) in seconds since 1970. 0 or -1. */
int px_http_date(struct px_slice text, int64_t now_s, int64_t *out) PX_MUST_CHECK;

#endif
