/* SPDX-License-Identifier: MIT */
#include "verdict.h"

#include <stdio.h>
#include <string.h>

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))
#define DAY_MS (INT64_C(86400) * PX_MS_PER_S)

/* The phrases of RFC 9110, section 15, and of the registry "HTTP Status Codes". */
static const struct {
	int status;
	const char *phrase;
} phrases[] = {
	{ 200, "OK" },
	{ 201, "Created" },
	{ 202, "Accepted" },
	{ 204, "No Content" },
	{ 205, "Reset Content" },
	{ 300, "Multiple Choices" },
	{ 301, "Moved Permanently" },
	{ 302, "Found" },
	{ 303, "See Other" },
	{ 304, "Not Modified" },
	{ 307, "Temporary Redirect" },
	{ 308, "Permanent Redirect" },
	{ 400, "Bad Request" },
	{ 401, "Unauthorized" },
	{ 402, "Payment Required" },
	{ 403, "Forbidden" },
	{ 404, "Not Found" },
	{ 405, "Method Not Allowed" },
	{ 406, "Not Acceptable" },
	{ 407, "Proxy Authentication Required" },
	{ 408, "Request Timeout" },
	{ 409, "Conflict" },
	{ 410, "Gone" },
	{ 411, "Length Required" },
	{ 412, "Precondition Failed" },
	{ 413, "Content Too Large" },
	{ 414, "URI Too Long" },
	{ 415, "Unsupported Media Type" },
	{ 417, "Expectation Failed" },
	{ 421, "Misdirected Request" },
	{ 422, "Unprocessable Content" },
	{ 423, "Locked" },
	{ 425, "Too Early" },
	{ 426, "Upgrade Required" },
	{ 428, "Precondition Required" },
	{ 429, "Too Many Requests" },
	{ 431, "Request Header Fields Too Large" },
	{ 451, "Unavailable For Legal Reasons" },
	{ 500, "Internal Server Error" },
	{ 501, "Not Implemented" },
	{ 502, "Bad Gateway" },
	{ 503, "Service Unavailable" },
	{ 504, "Gateway Timeout" },
	{ 505, "HTTP Version Not Supported" },
	{ 507, "Insufficient Storage" },
	{ 511, "Network Authentication Required" },
};

/* What a status means; the first row that matches wins. "%s" of the reason is "STATUS PHRASE". */
static const struct rule {
	int first;
	int last;
	enum px_action action;
	enum px_code code;
	bool honours_retry_after;
	const char *reason;
} rules[] = {
	{ 200, 299, PX_ACKNOWLEDGE, PX_OK, false, "upstream answered %s" },
	{ 300, 399, PX_KEEP, PX_CONFIG, false, "upstream answered %s: redirects are not followed, is the URL right?" },
	{ 400, 400, PX_SPLIT, PX_CONFIG, false, "upstream answered %s" },
	{ 401, 401, PX_NEW_TOKEN, PX_DENIED, false, "upstream refuses our credentials (%s)" },
	{ 403, 403, PX_NEW_TOKEN, PX_DENIED, false, "upstream refuses our credentials (%s)" },
	{ 407, 407, PX_KEEP, PX_CONFIG, false, "the proxy refuses our credentials (%s)" },
	{ 408, 409, PX_KEEP, PX_LATER, false, "upstream answered %s" },
	{ 413, 413, PX_SPLIT, PX_CONFIG, true, "upstream answered %s" },
	{ 415, 415, PX_SEND_PLAIN, PX_CONFIG, false, "upstream answered %s" },
	{ 422, 422, PX_SPLIT, PX_CONFIG, false, "upstream answered %s" },
	{ 425, 425, PX_KEEP, PX_LATER, false, "upstream answered %s" },
	{ 429, 429, PX_KEEP, PX_LATER, true, "upstream answered %s" },
	{ 400, 499, PX_KEEP, PX_CONFIG, false, "upstream answered %s: is the URL right?" },
	{ 500, 599, PX_KEEP, PX_LATER, true, "upstream answered %s" },
};

/* 2xx whose body tells that it is not upstream's. */
static const struct {
	enum px_body body;
	bool body_cut;
	const char *reason;
} imposters[] = {
	{ PX_BODY_JSON, true, "upstream answered %s with more than 1 MiB of JSON" },
	{ PX_BODY_NOT_JSON, true, "upstream answered %s with more than 1 MiB of JSON" },
	{ PX_BODY_NOT_JSON, false, "upstream answered %s with JSON that is not to be read: a captive portal or a broken proxy?" },
	{ PX_BODY_HTML, true, "upstream answered %s with HTML: a captive portal or a broken proxy?" },
	{ PX_BODY_HTML, false, "upstream answered %s with HTML: a captive portal or a broken proxy?" },
};

/* Writes ${format}, whose one "%s" is the reply's status and phrase, as the verdict's reason. */
static void
give_reason(struct px_verdict *out, const char *format, int status)
{
	const char *place = strstr(format, "%s");
	const char *phrase = "";

	for (size_t i = 0; i < COUNT(phrases); i++)
		if (phrases[i].status == status)
			phrase = phrases[i].phrase;
	(void)snprintf(out->reason, sizeof(out->reason), "%.*s%d%s%s%s", (int)(place - format), format, status,
	    phrase[0] != '\0' ? " " : "", phrase, place + strlen("%s"));
}

static const char *
reason_against_success(const struct px_reply *reply, enum px_body body)
{
	if (reply->status == 204 || reply->status == 205)
		return NULL;
	for (size_t i = 0; i < COUNT(imposters); i++)
		if (imposters[i].body == body && imposters[i].body_cut == reply->body_cut)
			return imposters[i].reason;
	return NULL;
}

void
px_verdict(const struct px_reply *reply, enum px_body body, struct px_verdict *out)
{
	*out = (struct px_verdict){ .action = PX_KEEP, .code = PX_LATER };
	if (reply->status == 0) {
		(void)snprintf(out->reason, sizeof(out->reason), "no whole reply from upstream: %s", reply->error);
		return;
	}
	for (size_t i = 0; i < COUNT(rules); i++) {
		const struct rule *rule = &rules[i];
		const char *against;

		if (reply->status < rule->first || reply->status > rule->last)
			continue;
		against = rule->action == PX_ACKNOWLEDGE ? reason_against_success(reply, body) : NULL;
		if (against == NULL) {
			out->action = rule->action;
			out->code = rule->code;
			out->honours_retry_after = rule->honours_retry_after;
		}
		give_reason(out, against != NULL ? against : rule->reason, reply->status);
		return;
	}
	give_reason(out, "upstream answered %s, which is no final status", reply->status);
}

int64_t
px_backoff_ms(int64_t steps, int64_t initial_ms, int64_t max_ms, uint64_t random)
{
	int64_t cap_ms = initial_ms < max_ms ? initial_ms : max_ms;

	if (cap_ms <= 0)
		return 0;
	while (steps-- > 1 && cap_ms < max_ms)
		cap_ms = cap_ms > max_ms / 2 ? max_ms : cap_ms * 2;
	return (int64_t)(random % ((uint64_t)cap_ms + 1));
}

/* From ${began} to ${now}; what no clock says, but a damaged spool might, stays in range. */
static int64_t
time_between(int64_t began, int64_t now)
{
	int64_t between;

	if (__builtin_sub_overflow(now, began, &between))
		return began < 0 ? INT64_MAX : INT64_MIN;
	return between;
}

static bool
is_same_boot(const struct px_now *a, const struct px_now *b)
{
	return a->boot_id[0] != '\0' && strcmp(a->boot_id, b->boot_id) == 0;
}

int64_t
px_timer_left_ms(const struct px_timer *timer, const struct px_now *now)
{
	int64_t elapsed;

	if (!timer->is_set || timer->length_ms <= 0)
		return 0;
	if (is_same_boot(&timer->began, now))
		elapsed = time_between(timer->began.boot_ms, now->boot_ms);
	else
		elapsed = time_between(timer->began.wall_ms, now->wall_ms);
	if (elapsed < 0)
		return timer->length_ms;
	return elapsed < timer->length_ms ? timer->length_ms - elapsed : 0;
}

bool
px_timer_adopt(struct px_timer *timer, const struct px_now *now)
{
	if (!timer->is_set || (is_same_boot(&timer->began, now) && timer->began.boot_ms <= now->boot_ms))
		return false;
	timer->length_ms = px_timer_left_ms(timer, now);
	timer->began = *now;
	return true;
}

int64_t
px_splay_ms(struct px_slice device_id, int64_t splay_ms)
{
	uint64_t hash = UINT64_C(0xcbf29ce484222325);

	if (splay_ms <= 0)
		return 0;
	for (size_t i = 0; i < device_id.len; i++)
		hash = (hash ^ (unsigned char)device_id.ptr[i]) * UINT64_C(0x100000001b3);
	return (int64_t)(hash % (uint64_t)splay_ms);
}

static bool
is_all_digits(struct px_slice text)
{
	for (size_t i = 0; i < text.len; i++)
		if (text.ptr[i] < '0' || text.ptr[i] > '9')
			return false;
	return text.len > 0;
}

int64_t
px_retry_after_ms(struct px_slice value, int64_t date_s)
{
	const int64_t day_s = DAY_MS / PX_MS_PER_S;
	struct px_slice text = px_slice_trim(value);
	int64_t wait_s;

	if (is_all_digits(text)) {
		/* More digits than a number has are seconds all the same. */
		if (px_text_to_int64(text, 0, day_s, &wait_s) == -1)
			wait_s = day_s;
	} else {
		int64_t until_s;

		if (date_s == -1 || px_http_date(text, date_s, &until_s) == -1)
			return -1;
		wait_s = time_between(date_s, until_s);
	}
	return (wait_s < 1 ? 1 : wait_s > day_s ? day_s : wait_s) * PX_MS_PER_S;
}

/* The year that ends with ${two_digits} and is no more than 50 years after ${now_s} (RFC 9110, 5.6.7). */
static int
year_near(int two_digits, int64_t now_s)
{
	char now[PX_RFC3339_MAX];
	int64_t latest = 0;

	px_text_time_s(now, now_s);
	if (px_text_to_int64((struct px_slice){ now, strlen("1994") }, 0, 9999, &latest) == -1)
		return two_digits;
	latest += 50;
	return (int)(latest - (latest - two_digits) % 100);
}

static const char *const short_days[] = { "Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun" };
static const char *const long_days[] = { "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday" };
static const char *const months[] = { "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec" };

/* Takes one of ${names} off the front of ${text}: its place from 1 on, 0 when there is none. */
static int
take_name(struct px_slice *text, const char *const names[], size_t count)
{
	for (size_t i = 0; i < count; i++) {
		size_t len = strlen(names[i]);

		if (text->len >= len && memcmp(text->ptr, names[i], len) == 0) {
			text->ptr += len;
			text->len -= len;
			return (int)i + 1;
		}
	}
	return 0;
}

/* Takes ${digits} digits off the front of ${text}; -1 when they are not there. */
static int
take_number(struct px_slice *text, size_t digits)
{
	int64_t number;

	if (text->len < digits || !is_all_digits((struct px_slice){ text->ptr, digits }) ||
	    px_text_to_int64((struct px_slice){ text->ptr, digits }, 0, 9999, &number) == -1)
		return -1;
	text->ptr += digits;
	text->len -= digits;
	return (int)number;
}

/* Takes what ${field} of strptime(3) stands for off the front of ${text}. */
static bool
take_field(struct px_slice *text, char field, int64_t now_s, struct px_civil *civil)
{
	int year;

	switch (field) {
	case 'a':
		return take_name(text, short_days, COUNT(short_days)) > 0;
	case 'A':
		return take_name(text, long_days, COUNT(long_days)) > 0;
	case 'b':
		return (civil->month = take_name(text, months, COUNT(months))) > 0;
	case 'd':
		return (civil->day = take_number(text, 2)) > 0;
	case 'e':
		if (text->len == 0 || text->ptr[0] != ' ')
			return (civil->day = take_number(text, 2)) > 0;
		text->ptr++;
		text->len--;
		return (civil->day = take_number(text, 1)) > 0;
	case 'H':
		return (civil->hour = take_number(text, 2)) >= 0;
	case 'M':
		return (civil->minute = take_number(text, 2)) >= 0;
	case 'S':
		return (civil->second = take_number(text, 2)) >= 0;
	case 'Y':
		return (civil->year = take_number(text, 4)) >= 0;
	default:
		year = take_number(text, 2);
		civil->year = year_near(year, now_s);
		return year >= 0;
	}
}

int
px_http_date(struct px_slice text, int64_t now_s, int64_t *out)
{
	static const char *const forms[] = {
		"%a, %d %b %Y %H:%M:%S GMT",	/* IMF-fixdate */
		"%A, %d-%b-%y %H:%M:%S GMT",	/* RFC 850 */
		"%a %b %e %H:%M:%S %Y",		/* asctime */
	};

	for (size_t i = 0; i < COUNT(forms); i++) {
		struct px_slice left = px_slice_trim(text);
		struct px_civil civil = { .year = 0 };
		const char *form = forms[i];
		bool fits = true;

		for (; fits && *form != '\0'; form++) {
			if (*form == '%') {
				fits = take_field(&left, *++form, now_s, &civil);
			} else {
				fits = left.len > 0 && left.ptr[0] == *form;
				left = fits ? px_slice_behind(left, 1) : left;
			}
		}
		if (fits && left.len == 0)
			return px_text_civil_to_utc_s(&civil, out);
	}
	return -1;
}
