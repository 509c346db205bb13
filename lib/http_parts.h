/* SPDX-License-Identifier: MIT */
/*
 * Private to HTTP's sources: the handle, what is made of what came back, and the watch over curl's time. Everything else
 * includes http.h.
 */
#ifndef PX_HTTP_PARTS_H
#define PX_HTTP_PARTS_H

#include <curl/curl.h>

#include "http.h"

#define HTTP_HEADERS_MAX ((size_t)256 << 10)	/* of one exchange, those of 1xx replies and of the proxy too */

/*
 * What of libcurl is called. It is not linked but loaded when the first exchange begins: it and the thirty libraries behind
 * it are most of what a program needs to start, and a flush that has nothing to send does without.
 */
#define HTTP_CURL_FUNCTIONS(each) each(global_init) each(global_cleanup) each(easy_init) each(easy_cleanup) \
	each(easy_setopt) each(easy_getinfo) each(easy_header) each(easy_perform) each(easy_strerror) each(slist_append) \
	each(slist_free_all)

struct http_curl {
#define MEMBER(name) __typeof__(&curl_##name) name;	/* NOLINT(bugprone-macro-parentheses): a name can have none */
	HTTP_CURL_FUNCTIONS(MEMBER)
#undef MEMBER
};

/* Filled by http_curl_load, which may be called again. -1 with PX_BUG. */
extern struct http_curl http_curl;
int http_curl_load(struct px_err *err) PX_MUST_CHECK;

/*
 * Gives back the memory in which code and constants of all libraries are; what is still needed comes back from their files
 * as it is used. To load, start and end libcurl and what is behind it touches far more of them than any exchange does: some
 * 5 of 12 MB, which would stay for as long as a flush lasts.
 */
void http_curl_give_back(void);

struct px_http {
	CURL *curl;
	struct curl_slist *plain_headers;
	struct curl_slist *gzip_headers;
	struct px_http_options options;
	char error[CURL_ERROR_SIZE];	/* curl's words on the last failure */
};

/* Where the bytes of one exchange go. */
struct http_exchange {
	struct px_buf *body;
	size_t sent_len;	/* of the request's body */
	bool body_cut;		/* there was more than ${body} holds */
	size_t header_bytes;
	bool headers_ended;	/* the last reply's, by an empty line */
	bool time_is_up;	/* the watch ended it */
};

/* The number that curl knows of the last exchange; 0 where it knows none. */
long http_info(const struct px_http *http, CURLINFO which);

/* What is known of the failure ${code}, for a person. */
void http_tell_failure(const struct px_http *http, CURLcode code, const struct http_exchange *exchange, char *out,
    size_t size);

/* What ${code} and the handle say came back. -1 when the fault is our own. */
int http_read_reply(const struct px_http *http, CURLcode code, const struct http_exchange *exchange, struct px_reply *reply,
    struct px_err *err) PX_MUST_CHECK;

/*
 * curl looks at its clock between calls of the TLS library, which reads on as long as there is something to skip: who sends
 * that without end is waited for without end. So a signal ends the sockets of an exchange that lasts longer than
 * ${timeout_ms} and some. One exchange at a time; SIGALRM is ours meanwhile. stop returns whether it came to that.
 */
void http_watch_start(int64_t timeout_ms);
bool http_watch_stop(void);

/* For curl: sockets that the watch knows. */
curl_socket_t http_watch_open(void *arg, curlsocktype purpose, struct curl_sockaddr *address);
int http_watch_close(void *arg, curl_socket_t fd);

#endif
