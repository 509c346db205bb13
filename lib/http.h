/* SPDX-License-Identifier: MIT */
/*
 * HTTP by libcurl: posts batches upstream, and asks Monit's own HTTP interface. TLS is verified, redirects are not followed,
 * environment and .netrc are ignored, every wait ends. Knows no spool and no configuration file.
 */
#ifndef PX_HTTP_H
#define PX_HTTP_H

#include <stdbool.h>
#include <stdint.h>

#include "buf.h"
#include "verdict.h"

/* Everything is somebody else's and lives as long as the handle; NULL where it is not set. */
struct px_http_options {
	const char *url;		/* whole */
	const char *user_agent;
	int64_t timeout_ms;		/* of a whole exchange */
	int64_t connect_timeout_ms;
	bool allow_plain_http;		/* else https only */

	const char *user;		/* with ${password}: basic authentication */
	const char *password;

	const struct px_buf *ca;	/* PEM bytes, read before root was given away; NULL: the system's store */
	const struct px_buf *client_cert;
	const struct px_buf *client_key;
	const char *pinned_public_key;	/* as CURLOPT_PINNEDPUBLICKEY */

	const char *proxy;
	const char *proxy_user;
	const char *proxy_password;

	const char *unix_socket;	/* for Monit's `set httpd unixsocket` */
};

struct px_http;

/* -1 with PX_CONFIG when an option is refused (a certificate that can't be read shows at the first exchange). */
int px_http_open(struct px_http **out, const struct px_http_options *options, struct px_err *err) PX_MUST_CHECK;
void px_http_close(struct px_http *http);

/* Sends "Authorization: Bearer ${token}" from now on; copied. NULL: no more. */
int px_http_set_token(struct px_http *http, const char *token, struct px_err *err) PX_MUST_CHECK;

/*
 * Posts ${body} as application/json, told to be compressed where it ${is_gzip}. Whatever comes back is in ${reply},
 * status 0 when nothing whole did; the caller frees its body. -1 with PX_CONFIG when certificate, key or CA file are of
 * no use, PX_BUG for want of memory.
 */
int px_http_post(struct px_http *http, struct px_slice body, bool is_gzip, struct px_reply *reply, struct px_err *err)
    PX_MUST_CHECK;

/*
 * Gets the URL, appending at most ${out}'s limit. -1 with what was asked and why: PX_ABSENT when it could not be
 * connected to, PX_DENIED for status 401 and 403, else PX_LATER (time-out, another status than 200, half an answer,
 * more than the limit).
 */
int px_http_get(struct px_http *http, struct px_buf *out, struct px_err *err) PX_MUST_CHECK;

#endif
