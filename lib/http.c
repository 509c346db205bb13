/* SPDX-License-Identifier: MIT */
#include "http_parts.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

struct number_option {
	CURLoption option;
	long value;
};

struct text_option {
	CURLoption option;
	const char *value;	/* NULL: curl's default goes away */
};

struct pem_option {
	CURLoption option;
	const struct px_buf *value;	/* NULL: not set */
};

/* curl takes 0 for "no limit"; no wait of ours is without one. */
static long
to_timeout(int64_t ms)
{
	return ms < 1 ? 1 : ms > INT_MAX ? INT_MAX : (long)ms;
}

/* Lines come one at a time, whole. curl is content with headers that break off. */
static size_t
take_header(char *bytes, size_t size, size_t count, void *arg)
{
	struct http_exchange *exchange = arg;
	struct px_slice line = { bytes, size * count };

	if (line.len > strlen("HTTP/") && memcmp(line.ptr, "HTTP/", strlen("HTTP/")) == 0)
		exchange->headers_ended = false;
	if (px_slice_trim(line).len == 0)
		exchange->headers_ended = true;
	exchange->header_bytes += line.len;
	return exchange->header_bytes <= HTTP_HEADERS_MAX ? line.len : 0;
}

/* What is more than the body may have ends the transfer. */
static size_t
take_body(char *bytes, size_t size, size_t count, void *arg)
{
	struct http_exchange *exchange = arg;
	size_t len = size * count;
	size_t room = exchange->body->max - exchange->body->len;

	exchange->body_cut = len > room;
	px_buf_add(exchange->body, bytes, len < room ? len : room);
	return exchange->body_cut || exchange->body->failed ? 0 : len;
}

static CURLcode
set_numbers(CURL *curl, const struct px_http_options *options)
{
	const struct number_option numbers[] = {
		{ CURLOPT_NOSIGNAL, 1 },
		{ CURLOPT_QUICK_EXIT, 1 },	/* a resolver that never answers is not waited for */
		{ CURLOPT_TIMEOUT_MS, to_timeout(options->timeout_ms) },
		{ CURLOPT_CONNECTTIMEOUT_MS, to_timeout(options->connect_timeout_ms) },
		{ CURLOPT_HTTP_VERSION, CURL_HTTP_VERSION_1_1 },
		{ CURLOPT_HTTP09_ALLOWED, 0 },
		{ CURLOPT_FOLLOWLOCATION, 0 },
		{ CURLOPT_NETRC, CURL_NETRC_IGNORED },
		{ CURLOPT_HEADEROPT, CURLHEADER_SEPARATE },
		{ CURLOPT_SSLVERSION, CURL_SSLVERSION_TLSv1_2 },
		{ CURLOPT_SSL_VERIFYPEER, 1 },
		{ CURLOPT_SSL_VERIFYHOST, 2 },
		{ CURLOPT_PROXY_SSLVERSION, CURL_SSLVERSION_TLSv1_2 },
		{ CURLOPT_PROXY_SSL_VERIFYPEER, 1 },
		{ CURLOPT_PROXY_SSL_VERIFYHOST, 2 },
		{ CURLOPT_HTTPAUTH, options->user != NULL ? (long)CURLAUTH_BASIC : (long)CURLAUTH_NONE },
		{ CURLOPT_PROXYAUTH, (long)CURLAUTH_BASIC },
	};
	CURLcode code = CURLE_OK;

	for (size_t i = 0; i < COUNT(numbers) && code == CURLE_OK; i++)
		code = http_curl.easy_setopt(curl, numbers[i].option, numbers[i].value);
	return code;
}

static CURLcode
set_texts(CURL *curl, const struct px_http_options *options)
{
	const struct text_option texts[] = {
		{ CURLOPT_URL, options->url },
		{ CURLOPT_PROTOCOLS_STR, options->allow_plain_http ? "http,https" : "https" },
		{ CURLOPT_USERAGENT, options->user_agent },
		/* "" keeps curl from looking at the environment. */
		{ CURLOPT_PROXY, options->proxy != NULL ? options->proxy : "" },
		{ CURLOPT_NOPROXY, "" },
		{ CURLOPT_PROXYUSERNAME, options->proxy_user },
		{ CURLOPT_PROXYPASSWORD, options->proxy_password },
		{ CURLOPT_USERNAME, options->user },
		{ CURLOPT_PASSWORD, options->user != NULL ? options->password : NULL },
		{ CURLOPT_PINNEDPUBLICKEY, options->pinned_public_key },
		{ CURLOPT_UNIX_SOCKET_PATH, options->unix_socket },
		/* Without one OpenSSL asks the terminal for the passphrase of an encrypted key. */
		{ CURLOPT_KEYPASSWD, "" },
	};
	/* Our own CA replaces the system's store, of which curl would still search the folder. */
	const CURLoption system_store[] = { CURLOPT_CAINFO, CURLOPT_CAPATH, CURLOPT_PROXY_CAINFO, CURLOPT_PROXY_CAPATH };
	CURLcode code = CURLE_OK;

	for (size_t i = 0; i < COUNT(texts) && code == CURLE_OK; i++)
		code = http_curl.easy_setopt(curl, texts[i].option, texts[i].value);
	for (size_t i = 0; i < COUNT(system_store) && code == CURLE_OK && options->ca != NULL; i++)
		code = http_curl.easy_setopt(curl, system_store[i], NULL);
	return code;
}

static CURLcode
set_pems(CURL *curl, const struct px_http_options *options)
{
	const struct pem_option pems[] = {
		{ CURLOPT_CAINFO_BLOB, options->ca },
		{ CURLOPT_PROXY_CAINFO_BLOB, options->ca },
		{ CURLOPT_SSLCERT_BLOB, options->client_cert },
		/* A file may hold both. */
		{ CURLOPT_SSLKEY_BLOB, options->client_key != NULL ? options->client_key : options->client_cert },
	};
	CURLcode code = CURLE_OK;

	for (size_t i = 0; i < COUNT(pems) && code == CURLE_OK; i++) {
		struct curl_blob blob = { .flags = CURL_BLOB_NOCOPY };

		if (pems[i].value == NULL)
			continue;
		blob.data = pems[i].value->data;
		blob.len = pems[i].value->len;
		code = http_curl.easy_setopt(curl, pems[i].option, &blob);
	}
	return code;
}

static CURLcode
set_callbacks(CURL *curl, char *error)
{
	CURLcode code = http_curl.easy_setopt(curl, CURLOPT_ERRORBUFFER, error);

	if (code == CURLE_OK)
		code = http_curl.easy_setopt(curl, CURLOPT_OPENSOCKETFUNCTION, http_watch_open);
	if (code == CURLE_OK)
		code = http_curl.easy_setopt(curl, CURLOPT_CLOSESOCKETFUNCTION, http_watch_close);
	if (code == CURLE_OK)
		code = http_curl.easy_setopt(curl, CURLOPT_HEADERFUNCTION, take_header);
	if (code == CURLE_OK)
		code = http_curl.easy_setopt(curl, CURLOPT_WRITEFUNCTION, take_body);
	return code;
}

/* Adds ${line}. NULL, the list freed, for want of memory. */
static struct curl_slist *
add_line(struct curl_slist *list, const char *line)
{
	struct curl_slist *longer = http_curl.slist_append(list, line);

	if (longer == NULL)
		http_curl.slist_free_all(list);
	return longer;
}

/* The headers of a request; an empty Expect, so that no server is waited for before the body is sent. */
static struct curl_slist *
make_headers(bool gzip)
{
	struct curl_slist *list = add_line(NULL, "Content-Type: application/json");

	if (list != NULL)
		list = add_line(list, "Expect:");
	if (list != NULL && gzip)
		list = add_line(list, "Content-Encoding: gzip");
	return list;
}

static int
check_options(const struct px_http_options *options, struct px_err *err)
{
	bool is_https = strncasecmp(options->url, "https://", strlen("https://")) == 0;
	bool is_http = strncasecmp(options->url, "http://", strlen("http://")) == 0;

	if (!is_https && !(is_http && options->allow_plain_http))
		return px_err_set(err, PX_CONFIG, "'%s' is not an https:// URL", options->url);
	/* curl would take anything else for the name of a file. */
	if (options->pinned_public_key != NULL && strncmp(options->pinned_public_key, "sha256//", strlen("sha256//")) != 0)
		return px_err_set(err, PX_CONFIG, "a pinned public key does not begin with 'sha256//'");
	return 0;
}

int
px_http_open(struct px_http **out, const struct px_http_options *options, struct px_err *err)
{
	struct px_http *http = NULL;
	CURLcode code;

	*out = NULL;
	if (check_options(options, err) == -1)
		return -1;
	if (http_curl_load(err) == -1)
		return -1;
	if (http_curl.global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK)
		return px_err_set(err, PX_BUG, "cannot start libcurl");
	http_curl_give_back();
	http = calloc(1, sizeof(*http));
	if (http == NULL) {
		http_curl.global_cleanup();
		return px_err_set(err, PX_BUG, "no memory for an HTTP handle");
	}
	http->options = *options;
	http->curl = http_curl.easy_init();
	http->plain_headers = make_headers(false);
	http->gzip_headers = make_headers(true);
	if (http->curl == NULL || http->plain_headers == NULL || http->gzip_headers == NULL) {
		(void)px_err_set(err, PX_BUG, "no memory for an HTTP handle");
		goto failed;
	}
	code = set_callbacks(http->curl, http->error);
	if (code == CURLE_OK)
		code = set_numbers(http->curl, options);
	if (code == CURLE_OK)
		code = set_texts(http->curl, options);
	if (code == CURLE_OK)
		code = set_pems(http->curl, options);
	if (code != CURLE_OK) {
		(void)px_err_set(err, PX_CONFIG, "libcurl refuses a setting: %s", http_curl.easy_strerror(code));
		goto failed;
	}
	*out = http;
	return 0;
failed:
	px_http_close(http);
	return -1;
}

void
px_http_close(struct px_http *http)
{
	if (http == NULL)
		return;
	http_curl.easy_cleanup(http->curl);
	http_curl.slist_free_all(http->plain_headers);
	http_curl.slist_free_all(http->gzip_headers);
	free(http);
	http_curl.global_cleanup();
	http_curl_give_back();
}

int
px_http_set_token(struct px_http *http, const char *token, struct px_err *err)
{
	long without = http->options.user != NULL ? (long)CURLAUTH_BASIC : (long)CURLAUTH_NONE;
	CURLcode code = http_curl.easy_setopt(http->curl, CURLOPT_XOAUTH2_BEARER, token);

	if (code == CURLE_OK)
		code = http_curl.easy_setopt(http->curl, CURLOPT_HTTPAUTH, token != NULL ? (long)CURLAUTH_BEARER : without);
	if (code != CURLE_OK)
		return px_err_set(err, PX_BUG, "cannot set a token: %s", http_curl.easy_strerror(code));
	return 0;
}

/* One exchange, whose connection is kept for the next. */
static CURLcode
perform(struct px_http *http, struct http_exchange *exchange)
{
	CURLcode code = http_curl.easy_setopt(http->curl, CURLOPT_HEADERDATA, exchange);

	http->error[0] = '\0';
	if (code == CURLE_OK)
		code = http_curl.easy_setopt(http->curl, CURLOPT_WRITEDATA, exchange);
	if (code == CURLE_OK) {
		http_watch_start(to_timeout(http->options.timeout_ms));
		code = http_curl.easy_perform(http->curl);
		exchange->time_is_up = http_watch_stop();
	}
	return code == CURLE_OK && !exchange->headers_ended ? CURLE_WEIRD_SERVER_REPLY : code;
}

int
px_http_post(struct px_http *http, struct px_slice body, bool is_gzip, struct px_reply *reply, struct px_err *err)
{
	struct http_exchange exchange = { .body = &reply->body, .sent_len = body.len };
	CURLcode code;

	px_buf_rewind(&reply->body, 0);
	reply->body.max = PX_REPLY_MAX;
	*reply = (struct px_reply){ .body = reply->body, .retry_after_ms = -1 };
	code = http_curl.easy_setopt(http->curl, CURLOPT_HTTPHEADER, is_gzip ? http->gzip_headers : http->plain_headers);
	if (code == CURLE_OK)
		code = http_curl.easy_setopt(http->curl, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)body.len);
	if (code == CURLE_OK)
		code = http_curl.easy_setopt(http->curl, CURLOPT_POSTFIELDS, body.ptr);
	if (code == CURLE_OK)
		code = perform(http, &exchange);
	return http_read_reply(http, code, &exchange, reply, err);
}

/* Why nothing was reached: curl names a host and a port even where a socket was meant, and keeps the system's word back. */
static int
tell_no_connection(const struct px_http *http, const char *from, const char *said, struct px_err *err)
{
	const char *path = http->options.unix_socket;
	long number = http_info(http, CURLINFO_OS_ERRNO);
	struct stat st;

	if (path != NULL && stat(path, &st) == 0 && !S_ISSOCK(st.st_mode))
		return px_err_set(err, PX_ABSENT, "cannot connect to '%s': it is not a socket", from);
	if (number != 0)
		return px_err_set_errno(err, PX_ABSENT, (int)number, "cannot connect to '%s'", from);
	/* Of a socket whose queue is full curl knows nothing to say. */
	return px_err_set(err, PX_ABSENT, "cannot connect to '%s': %s", from, path != NULL ? "it takes no connection now" : said);
}

int
px_http_get(struct px_http *http, struct px_buf *out, struct px_err *err)
{
	const char *from = http->options.unix_socket != NULL ? http->options.unix_socket : http->options.url;
	size_t len_before = out->len;
	struct http_exchange exchange = { .body = out };
	char why[256];
	long status;
	CURLcode code = http_curl.easy_setopt(http->curl, CURLOPT_HTTPGET, 1L);

	if (code == CURLE_OK)
		code = http_curl.easy_setopt(http->curl, CURLOPT_HTTPHEADER, NULL);
	if (code == CURLE_OK)
		code = perform(http, &exchange);
	status = http_info(http, CURLINFO_RESPONSE_CODE);
	if (code == CURLE_OK && status == 200)
		return 0;
	px_buf_rewind(out, len_before);
	http_tell_failure(http, code, &exchange, why, sizeof(why));
	if (code == CURLE_COULDNT_CONNECT)
		return tell_no_connection(http, from, why, err);
	if (exchange.body_cut)
		(void)snprintf(why, sizeof(why), "more than %zu bytes", out->max - len_before);
	else if (code == CURLE_OK)
		(void)snprintf(why, sizeof(why), "it answered with status %ld", status);
	else if (code == CURLE_UNSUPPORTED_PROTOCOL || code == CURLE_WEIRD_SERVER_REPLY)
		(void)snprintf(why, sizeof(why), exchange.header_bytes == 0 ? "it does not answer in HTTP" : "its headers break off");
	return px_err_set(err, code == CURLE_OK && (status == 401 || status == 403) ? PX_DENIED : PX_LATER, "cannot read '%s': %s",
	    from, why);
}
