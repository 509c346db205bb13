/* SPDX-License-Identifier: MIT */
/* What came back from an exchange. */
#include <stdio.h>
#include <string.h>

#include "http_parts.h"

#define CENTURY_S INT64_C(2524608000)	/* 2050: dates with two-digit years are of this century, whatever our clock says */

long
http_info(const struct px_http *http, CURLINFO which)
{
	long value = 0;

	return http_curl.easy_getinfo(http->curl, which, &value) == CURLE_OK ? value : 0;
}

/* Whether the connection stood, the proxy's and TLS included, so that time ran out on the exchange itself. */
static bool
was_connected(const struct px_http *http)
{
	curl_off_t since = 0;

	return http_curl.easy_getinfo(http->curl, CURLINFO_PRETRANSFER_TIME_T, &since) == CURLE_OK && since > 0;
}

void
http_tell_failure(const struct px_http *http, CURLcode code, const struct http_exchange *exchange, char *out, size_t size)
{
	struct px_buf clean = PX_BUF((size_t)4 * CURL_ERROR_SIZE);
	const char *text = http->error[0] != '\0' ? http->error : http_curl.easy_strerror(code);
	long status = http_info(http, CURLINFO_RESPONSE_CODE);

	if (exchange->time_is_up)
		text = "timed out, while there was always something to read";
	else if (exchange->header_bytes > HTTP_HEADERS_MAX)
		text = "its headers have more than 256 KiB";
	else if (code == CURLE_OUT_OF_MEMORY)
		text = "a line of its headers is too long, or there is no memory";
	/* A server that refuses a body before it has read it often cuts its own answer off: what it meant still helps. */
	else if (exchange->headers_ended && status >= 200)
		px_buf_printf(&clean, "status %ld, and then: ", status);
	px_text_clean(&clean, text, strlen(text));
	(void)snprintf(out, size, "%.*s", (int)px_text_cut(px_buf_text(&clean), clean.len, size - 1), px_buf_text(&clean));
	px_buf_clear(&clean);
}

/* The last of the final reply's own headers ${name}, not those of 1xx, a proxy or a trailer; NULL without. */
static const char *
find_header(const struct px_http *http, const char *name)
{
	struct curl_header *header;

	if (http_curl.easy_header(http->curl, name, 0, CURLH_HEADER, -1, &header) != CURLHE_OK)
		return NULL;
	if (header->amount > 1 &&
	    http_curl.easy_header(http->curl, name, header->amount - 1, CURLH_HEADER, -1, &header) != CURLHE_OK)
		return NULL;
	return header->value;
}

/*
 * Whether each Content-Length is the same number. curl reads on to the end where one is too large for it, and takes the
 * last of several: a reply that breaks off would look whole.
 */
static bool
lengths_agree(const struct px_http *http)
{
	struct curl_header *header;
	int64_t first = -1;
	size_t amount = 1;

	for (size_t i = 0; i < amount; i++) {
		int64_t length;

		if (http_curl.easy_header(http->curl, "Content-Length", i, CURLH_HEADER, -1, &header) != CURLHE_OK)
			return i == 0;
		if (px_text_to_int64(px_slice_trim(px_slice(header->value)), 0, INT64_MAX, &length) == -1 ||
		    (first != -1 && length != first))
			return false;
		first = length;
		amount = header->amount;
	}
	return true;
}

/* Whether a reply that takes what was sent came before all of it was: nobody holds what he has not seen. */
static bool
is_hasty(const struct px_http *http, const struct http_exchange *exchange)
{
	long status = http_info(http, CURLINFO_RESPONSE_CODE);
	curl_off_t sent = 0;

	if (status < 200 || status > 299 || http_curl.easy_getinfo(http->curl, CURLINFO_SIZE_UPLOAD_T, &sent) != CURLE_OK)
		return false;
	return (size_t)sent < exchange->sent_len;
}

static void
read_headers(const struct px_http *http, struct px_reply *reply)
{
	const char *type = find_header(http, "Content-Type");
	const char *retry_after = find_header(http, "Retry-After");
	const char *date = find_header(http, "Date");
	int64_t date_s = -1;

	if (type != NULL) {
		struct px_slice media = px_slice_trim((struct px_slice){ type, strcspn(type, ";") });
		size_t len = media.len < sizeof(reply->type) ? media.len : sizeof(reply->type) - 1;

		(void)snprintf(reply->type, sizeof(reply->type), "%.*s", (int)len, media.ptr);
		for (char *byte = reply->type; *byte != '\0'; byte++)
			*byte = (char)(*byte >= 'A' && *byte <= 'Z' ? *byte - 'A' + 'a' : *byte);
	}
	if (date != NULL && px_http_date(px_slice(date), CENTURY_S, &date_s) == -1)
		date_s = -1;
	if (retry_after != NULL)
		reply->retry_after_ms = px_retry_after_ms(px_slice(retry_after), date_s);
}

int
http_read_reply(const struct px_http *http, CURLcode code, const struct http_exchange *exchange, struct px_reply *reply,
    struct px_err *err)
{
	/* A connection that the watch ended may look as if upstream had. */
	bool is_whole = !exchange->time_is_up && (code == CURLE_OK || (code == CURLE_WRITE_ERROR && exchange->body_cut));

	if (is_whole && (!lengths_agree(http) || is_hasty(http, exchange))) {
		(void)snprintf(reply->error, sizeof(reply->error), "%s", lengths_agree(http) ?
		    "it answers before all is sent" : "its Content-Length is none, or there are two");
		px_buf_rewind(exchange->body, 0);
		return 0;
	}
	if (is_whole) {
		reply->status = (int)http_info(http, CURLINFO_RESPONSE_CODE);
		reply->body_cut = exchange->body_cut;
		read_headers(http, reply);
		return 0;
	}
	if (exchange->body->failed)
		return px_err_set(err, PX_BUG, "no memory for an exchange with upstream");
	http_tell_failure(http, code, exchange, reply->error, sizeof(reply->error));
	px_buf_rewind(exchange->body, 0);
	if (code == CURLE_SSL_CERTPROBLEM || code == CURLE_SSL_CACERT_BADFILE || code == CURLE_URL_MALFORMAT)
		return px_err_set(err, PX_CONFIG, "cannot reach upstream: %s", reply->error);
	/* A tunnel that the proxy denies us is the proxy's reply; other refusals of it are as no connection. */
	if (http_info(http, CURLINFO_HTTP_CONNECTCODE) == 407)
		reply->status = 407;
	reply->timed_out = (code == CURLE_OPERATION_TIMEDOUT || exchange->time_is_up) && was_connected(http);
	return 0;
}
