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
void http_tell_failure(const struct px_http *http, CURLcode code, const struct http_exchange *exchange, char *out, size_t size);

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
