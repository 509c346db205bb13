/* SPDX-License-Identifier: MIT */
/* The client against a server that answers by script: good replies, bad ones, and none. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <arpa/inet.h>
#include <netinet/in.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "http.h"
#include "share.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))
#define TEXT(text) (text), sizeof(text) - 1
#define REQUEST_MAX (4 << 20)
#define TIMEOUT_MS 10000
#define SHORT_TIMEOUT_MS (parts() > 1 ? 3000 : 1000)		/* long enough for the request to be sent */

/* What the server does once it has sent what it was told to. */
enum ending {
	STAY,		/* the connection stays open for another request */
	CLOSE,
	RESET,
	HANG,		/* nothing comes until the client goes */
	REPEAT,		/* the same bytes until the client goes */
	REPEAT_HEADER	/* one more header until the client goes */
};

struct script {
	const char *reply;	/* for each request */
	size_t len;
	enum ending ending;
	bool at_once;		/* without reading the request */
};

struct server {
	int listener;
	pthread_t thread;
	char url[128];
	struct script script;
	struct px_buf request;		/* the last one: headers and body */
	size_t body_at;
	int connections;
	int requests;
};

/* Where the body of the request begins; 0 while its headers are not there. */
static size_t
end_of_headers(const struct px_buf *request)
{
	const char *end = strstr(px_buf_text(request), "\r\n\r\n");

	return end != NULL ? (size_t)(end - request->data) + 4 : 0;
}

static size_t
content_length(const struct px_buf *request)
{
	const char *at = strstr(px_buf_text(request), "Content-Length: ");
	size_t length = 0;

	if (at != NULL && sscanf(at, "Content-Length: %zu", &length) != 1)
		length = 0;
	return length;
}

static bool
read_request(struct server *server, int fd)
{
	struct px_buf *request = &server->request;
	bool is_first = true;

	for (;;) {
		char bytes[16384];
		ssize_t got = read(fd, bytes, sizeof(bytes));

		if (got <= 0)
			return false;
		if (is_first)
			px_buf_rewind(request, 0);
		is_first = false;
		px_buf_add(request, bytes, (size_t)got);
		server->body_at = end_of_headers(request);
		if (server->body_at > 0 && request->len >= server->body_at + content_length(request))
			return true;
	}
}

static bool
send_all(int fd, const char *bytes, size_t len)
{
	while (len > 0) {
		ssize_t sent = send(fd, bytes, len, MSG_NOSIGNAL);

		if (sent <= 0)
			return false;
		bytes += sent;
		len -= (size_t)sent;
	}
	return true;
}

static void
wait_for_end(int fd)
{
	char bytes[4096];

	while (read(fd, bytes, sizeof(bytes)) > 0)
		;
}

static void
serve_connection(struct server *server, int fd)
{
	const struct script *script = &server->script;
	const struct linger reset = { .l_onoff = 1, .l_linger = 0 };
	bool stays = true;

	while (stays && (script->at_once || read_request(server, fd))) {
		server->requests++;
		stays = send_all(fd, script->reply, script->len) && script->ending == STAY;
	}
	while (script->ending == REPEAT && send_all(fd, script->reply, script->len))
		;
	while (script->ending == REPEAT_HEADER && send_all(fd, TEXT("X-More: 1\r\n")))
		;
	if (script->ending == HANG)
		wait_for_end(fd);
	if (script->ending == RESET)
		(void)setsockopt(fd, SOL_SOCKET, SO_LINGER, &reset, sizeof(reset));
}

static void *
serve(void *arg)
{
	struct server *server = arg;
	int fd;

	while ((fd = accept(server->listener, NULL, NULL)) != -1) {
		server->connections++;
		serve_connection(server, fd);
		(void)close(fd);
	}
	return NULL;
}

static void
server_listen(struct server *server, const struct sockaddr *address, socklen_t len, struct script script)
{
	server->script = script;
	server->request = PX_BUF(REQUEST_MAX);
	server->listener = socket(address->sa_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_true(server->listener != -1);
	assert_int_equal(bind(server->listener, address, len), 0);
	assert_int_equal(listen(server->listener, 8), 0);
	assert_int_equal(pthread_create(&server->thread, NULL, serve, server), 0);
}

static void
server_start(struct server *server, struct script script)
{
	struct sockaddr_in address = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t len = sizeof(address);

	*server = (struct server){ .listener = -1 };
	server_listen(server, (const struct sockaddr *)&address, len, script);
	assert_int_equal(getsockname(server->listener, (struct sockaddr *)&address, &len), 0);
	(void)snprintf(server->url, sizeof(server->url), "http://127.0.0.1:%d/api", ntohs(address.sin_port));
}

/* After the client has closed: what was received stays until server_clear. */
static void
server_stop(struct server *server)
{
	(void)shutdown(server->listener, SHUT_RDWR);
	assert_int_equal(pthread_join(server->thread, NULL), 0);
	(void)close(server->listener);
}

static void
server_clear(struct server *server)
{
	px_buf_clear(&server->request);
}

static struct px_http_options
options_for(const struct server *server)
{
	return (struct px_http_options){
		.url = server->url,
		.user_agent = "px-status/test",
		.timeout_ms = TIMEOUT_MS,
		.connect_timeout_ms = TIMEOUT_MS,
		.allow_plain_http = true,
	};
}

static struct px_http *
open_client(const struct px_http_options *options)
{
	struct px_http *http = NULL;
	struct px_err err;

	if (px_http_open(&http, options, &err) == -1)
		fail_msg("cannot open: %s", err.text);
	return http;
}

#define BODY "{\"version\":1}"

/* Posts BODY once. */
static int
post_once(const struct px_http_options *options, struct px_reply *reply, struct px_err *err)
{
	struct px_http *http = open_client(options);
	int rc;

	*reply = (struct px_reply){ .body = PX_BUF(PX_REPLY_MAX) };
	rc = px_http_post(http, px_slice(BODY), false, reply, err);
	px_http_close(http);
	return rc;
}

#define OK_EMPTY "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"

static const struct reply_row {
	const char *name;
	struct script script;
	int status;
	const char *type;
	const char *body;
	int64_t retry_after_ms;
	bool timed_out;
} reply_rows[] = {
	{ "empty", { TEXT(OK_EMPTY), STAY, false }, 200, "", "", -1, false },
	{ "length",
	    { TEXT("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n"
	    "Content-Type: Application/JSON ; charset=utf-8\r\n\r\n{}"), STAY, false },
	    200, "application/json", "{}", -1, false },
	{ "chunked",
	    { TEXT("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n"
	    "Content-Type: text/html\r\n\r\n2\r\n<h\r\n1\r\n>\r\n0\r\n\r\n"), STAY, false },
	    200, "text/html", "<h>", -1, false },
	{ "trailer",
	    { TEXT("HTTP/1.1 503 No\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\nRetry-After: 7\r\n"
	    "Content-Type: text/html\r\n\r\n"), STAY, false },
	    503, "", "x", -1, false },
	{ "until close", { TEXT("HTTP/1.0 200 OK\r\n\r\nhello"), CLOSE, false }, 200, "", "hello", -1, false },
	{ "204",
	    { TEXT("HTTP/1.1 204 No Content\r\nContent-Type: text/html\r\n\r\n"), STAY, false },
	    204, "text/html", "", -1, false },
	{ "1xx first",
	    { TEXT("HTTP/1.1 100 Continue\r\nRetry-After: 5\r\n\r\nHTTP/1.1 103 Early Hints\r\n"
	    "Content-Type: text/html\r\n\r\n" OK_EMPTY), STAY, false },
	    200, "", "", -1, false },
	{ "redirect",
	    { TEXT("HTTP/1.1 302 Found\r\nLocation: /else\r\nContent-Length: 0\r\n\r\n"), STAY, false },
	    302, "", "", -1, false },
	{ "bad redirect",
	    { TEXT("HTTP/1.1 301 Moved\r\nLocation: http://[/\r\nContent-Length: 0\r\n\r\n"), STAY, false },
	    301, "", "", -1, false },
	{ "401",
	    { TEXT("HTTP/1.1 401 No\r\nWWW-Authenticate: Basic realm=x\r\nContent-Length: 0\r\n\r\n"), STAY, false },
	    401, "", "", -1, false },
	{ "407 from a proxy in between",
	    { TEXT("HTTP/1.1 407 No\r\nContent-Length: 0\r\n\r\n"), STAY, false },
	    407, "", "", -1, false },
	{ "retry after seconds",
	    { TEXT("HTTP/1.1 429 Slow\r\nRetry-After: 120\r\nContent-Length: 0\r\n\r\n"), STAY, false },
	    429, "", "", 120000, false },
	{ "retry after a date",
	    { TEXT("HTTP/1.1 503 No\r\nDate: Sun, 06 Nov 1994 08:49:37 GMT\r\n"
	    "Retry-After: Sun, 06 Nov 1994 08:50:37 GMT\r\nContent-Length: 0\r\n\r\n"), STAY, false },
	    503, "", "", 60000, false },
	{ "retry after a date, two digits",
	    { TEXT("HTTP/1.1 503 No\r\nDate: Sunday, 22-Nov-26 08:49:37 GMT\r\n"
	    "Retry-After: Sun, 22 Nov 2026 08:50:37 GMT\r\nContent-Length: 0\r\n\r\n"), STAY, false },
	    503, "", "", 60000, false },
	{ "retry after a date, no Date",
	    { TEXT("HTTP/1.1 503 No\r\nRetry-After: Sun, 06 Nov 1994 08:50:37 GMT\r\n"
	    "Content-Length: 0\r\n\r\n"), STAY, false },
	    503, "", "", -1, false },
	{ "compressed against our wish",
	    { TEXT("HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Type: application/json\r\n"
	    "Content-Length: 4\r\n\r\n\x1f\x8b\x08\x08"), STAY, false },
	    200, "application/json", "\x1f\x8b\x08\x08", -1, false },
	{ "early answer",
	    { TEXT("HTTP/1.1 413 Large\r\nContent-Length: 0\r\n\r\n"), HANG, true },
	    413, "", "", -1, false },

	{ "no reply", { TEXT(""), CLOSE, false }, 0, "", "", -1, false },
	{ "reset", { TEXT(""), RESET, false }, 0, "", "", -1, false },
	{ "reset in the body",
	    { TEXT("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{}"), RESET, false },
	    0, "", "", -1, false },
	{ "short body",
	    { TEXT("HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 9\r\n\r\nshort"), CLOSE, false },
	    0, "", "", -1, false },
	{ "chunked without an end",
	    { TEXT("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n"), CLOSE, false },
	    0, "", "", -1, false },
	{ "bad chunk",
	    { TEXT("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n"), CLOSE, false },
	    0, "", "", -1, false },
	{ "headers without an end",
	    { TEXT("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n"), CLOSE, false },
	    0, "", "", -1, false },
	{ "1xx only", { TEXT("HTTP/1.1 100 Continue\r\n\r\n"), CLOSE, false }, 0, "", "", -1, false },
	{ "HTTP/0.9", { TEXT("<html>hello</html>"), CLOSE, false }, 0, "", "", -1, false },
	{ "another protocol", { TEXT("SSH-2.0-OpenSSH_9.2\r\n"), CLOSE, false }, 0, "", "", -1, false },
	{ "a version that does not exist",
	    { TEXT("HTTP/7.1 200 OK\r\nContent-Length: 0\r\n\r\n"), CLOSE, false },
	    0, "", "", -1, false },
	{ "a status that is none",
	    { TEXT("HTTP/1.1 OK\r\nContent-Length: 0\r\n\r\n"), CLOSE, false },
	    0, "", "", -1, false },
	{ "a length that is none", { TEXT("HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n{}"), CLOSE, false }, 0, "", "", -1, false },
	{ "1xx without an end", { TEXT("HTTP/1.1 100 Continue\r\n\r\n"), REPEAT, false }, 0, "", "", -1, false },
	{ "headers past all bounds", { TEXT("HTTP/1.1 200 OK\r\n"), REPEAT_HEADER, false }, 0, "", "", -1, false },
	{ "slow", { TEXT(""), HANG, false }, 0, "", "", -1, true },
	{ "slow body", { TEXT("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{}"), HANG, false }, 0, "", "", -1, true },
};

static void
reads_replies(void **state)
{
	(void)state;
	for (size_t i = 0; i < COUNT(reply_rows); i++) {
		const struct reply_row *row = &reply_rows[i];
		struct px_http_options options;
		struct server server;
		struct px_reply reply;
		struct px_err err = { PX_OK, "" };
		int rc;

		server_start(&server, row->script);
		options = options_for(&server);
		if (row->timed_out)
			options.timeout_ms = SHORT_TIMEOUT_MS;
		rc = post_once(&options, &reply, &err);
		server_stop(&server);
		if (rc == -1 || reply.status != row->status || strcmp(reply.type, row->type) != 0 ||
		    strcmp(px_buf_text(&reply.body), row->body) != 0 || reply.retry_after_ms != row->retry_after_ms ||
		    reply.timed_out != row->timed_out || reply.body_cut || (reply.error[0] != '\0') != (row->status == 0))
			fail_msg("%s: rc %d (%s), status %d (%s), type '%s', body '%s', Retry-After %d, timed out %d, cut %d", row->name, rc,
			    err.text, reply.status, reply.error, reply.type, px_buf_text(&reply.body), (int)reply.retry_after_ms,
			    reply.timed_out, reply.body_cut);
		if (row->script.ending >= REPEAT && strstr(reply.error, "256 KiB") == NULL)
			fail_msg("%s: ended by something else than our bound: %s", row->name, reply.error);
		px_buf_clear(&reply.body);
		server_clear(&server);
	}
}

/* It does not count, but a person should know it. */
static void
tells_the_status_of_a_reply_that_breaks_off(void **state)
{
	static const struct {
		const char *name;
		struct script script;
		const char *told;	/* NULL: nothing of a status */
	} rows[] = {
		{ "short", { TEXT("HTTP/1.1 413 Large\r\nContent-Length: 9\r\n\r\nshort"), CLOSE, false }, "status 413, and then: " },
		{ "reset", { TEXT("HTTP/1.0 407 No\r\n\r\n{}"), RESET, false }, "status 407, and then: " },
		{ "only 1xx", { TEXT("HTTP/1.1 100 Continue\r\n\r\n"), CLOSE, false }, NULL },
		{ "half a header", { TEXT("HTTP/1.1 413 Large\r\nContent-Le"), CLOSE, false }, NULL },
		{ "nothing", { TEXT(""), CLOSE, false }, NULL },
	};

	(void)state;
	for (size_t i = 0; i < COUNT(rows); i++) {
		struct px_http_options options;
		struct server server;
		struct px_reply reply;
		struct px_err err;

		server_start(&server, rows[i].script);
		options = options_for(&server);
		assert_int_equal(post_once(&options, &reply, &err), 0);
		server_stop(&server);
		if (reply.status != 0 || (rows[i].told != NULL ? strncmp(reply.error, rows[i].told, strlen(rows[i].told)) != 0 :
		    strstr(reply.error, "status") != NULL))
			fail_msg("%s: status %d, '%s'", rows[i].name, reply.status, reply.error);
		px_buf_clear(&reply.body);
		server_clear(&server);
	}
}

/* A body is read to PX_REPLY_MAX and not a byte further; the status counts all the same. */
static void
bounds_the_body(void **state)
{
	static const struct {
		size_t len;
		bool cut;
	} rows[] = {
		{ PX_REPLY_MAX, false },
		{ PX_REPLY_MAX + 1, true },
		{ 10 << 20, true },
	};

	(void)state;
	for (size_t i = 0; i < COUNT(rows); i++) {
		struct px_buf text = PX_BUF(11 << 20);
		struct server server;
		struct px_http_options options;
		struct px_reply reply;
		struct px_err err;

		px_buf_printf(&text, "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %zu\r\n\r\n", rows[i].len);
		memset(px_buf_reserve(&text, rows[i].len), ' ', rows[i].len);
		px_buf_used(&text, rows[i].len);
		server_start(&server, (struct script){ text.data, text.len, CLOSE, false });
		options = options_for(&server);
		assert_int_equal(post_once(&options, &reply, &err), 0);
		server_stop(&server);
		if (reply.status != 200 || reply.body_cut != rows[i].cut || reply.body.len != PX_REPLY_MAX ||
		    strcmp(reply.type, "application/json") != 0)
			fail_msg("%zu bytes: status %d, cut %d, %zu bytes read", rows[i].len, reply.status, reply.body_cut, reply.body.len);
		px_buf_clear(&reply.body);
		server_clear(&server);
		px_buf_clear(&text);
	}
}

/* The value of the header ${name} in the request, up to its line's end; NULL without. */
static const char *
header_of(const struct server *server, const char *name)
{
	static char value[512];
	char start[64];
	const char *at;

	(void)snprintf(start, sizeof(start), "\r\n%s: ", name);
	at = strstr(px_buf_text(&server->request), start);
	if (at == NULL || at >= server->request.data + server->body_at)
		return NULL;
	at += strlen(start);
	(void)snprintf(value, sizeof(value), "%.*s", (int)strcspn(at, "\r\n"), at);
	return value;
}

static void
expect_header(const struct server *server, const char *name, const char *wanted)
{
	const char *value = header_of(server, name);
	const char *is = value != NULL ? value : "(none)";
	const char *should_be = wanted != NULL ? wanted : "(none)";

	if (strcmp(is, should_be) != 0)
		fail_msg("%s is '%s', not '%s'", name, is, should_be);
}

static void
sends_its_request(void **state)
{
	static const struct {
		const char *name;
		bool gzip;
		const char *user;
		const char *password;
		const char *token;
		const char *authorization;
	} rows[] = {
		{ "plain", false, NULL, NULL, NULL, NULL },
		{ "gzip", true, NULL, NULL, NULL, NULL },
		{ "basic", false, "us", "p:w", NULL, "Basic dXM6cDp3" },
		{ "basic without a password", false, "us", "", NULL, "Basic dXM6" },
		{ "bearer", true, NULL, NULL, "abc.def", "Bearer abc.def" },
	};

	(void)state;
	for (size_t i = 0; i < COUNT(rows); i++) {
		struct px_reply reply = { .body = PX_BUF(PX_REPLY_MAX) };
		struct server server;
		struct px_http_options options;
		struct px_http *http;
		struct px_err err;

		server_start(&server, (struct script){ TEXT(OK_EMPTY), STAY, false });
		options = options_for(&server);
		options.user = rows[i].user;
		options.password = rows[i].password;
		http = open_client(&options);
		if (rows[i].token != NULL)
			assert_int_equal(px_http_set_token(http, rows[i].token, &err), 0);
		assert_int_equal(px_http_post(http, px_slice(BODY), rows[i].gzip, &reply, &err), 0);
		px_http_close(http);
		server_stop(&server);

		assert_int_equal(reply.status, 200);
		if (strncmp(px_buf_text(&server.request), TEXT("POST /api HTTP/1.1\r\n")) != 0)
			fail_msg("%s: %s", rows[i].name, px_buf_text(&server.request));
		expect_header(&server, "Content-Type", "application/json");
		expect_header(&server, "Content-Encoding", rows[i].gzip ? "gzip" : NULL);
		expect_header(&server, "User-Agent", "px-status/test");
		expect_header(&server, "Expect", NULL);
		expect_header(&server, "Transfer-Encoding", NULL);
		expect_header(&server, "Accept-Encoding", NULL);
		expect_header(&server, "Authorization", rows[i].authorization);
		if (strcmp(server.request.data + server.body_at, BODY) != 0)
			fail_msg("%s: body '%s'", rows[i].name, server.request.data + server.body_at);
		px_buf_clear(&reply.body);
		server_clear(&server);
	}
}

/* No 100 Continue is waited for, nothing is lost. */
static void
sends_large_bodies(void **state)
{
	struct px_buf body = PX_BUF(2 << 20);
	struct px_reply reply = { .body = PX_BUF(PX_REPLY_MAX) };
	struct server server;
	struct px_http_options options;
	struct px_http *http;
	struct px_err err;

	(void)state;
	while (body.len < body.max)
		px_buf_add_byte(&body, (char)(' ' + body.len % 95));
	server_start(&server, (struct script){ TEXT(OK_EMPTY), STAY, false });
	options = options_for(&server);
	http = open_client(&options);
	assert_int_equal(px_http_post(http, (struct px_slice){ body.data, body.len }, false, &reply, &err), 0);
	px_http_close(http);
	server_stop(&server);
	assert_int_equal(reply.status, 200);
	expect_header(&server, "Expect", NULL);
	assert_int_equal(server.request.len - server.body_at, body.len);
	assert_memory_equal(server.request.data + server.body_at, body.data, body.len);
	px_buf_clear(&reply.body);
	server_clear(&server);
	px_buf_clear(&body);
}

/* One connection for all batches; what one reply left in ${reply} is gone with the next. */
static void
keeps_the_connection(void **state)
{
	struct px_reply reply = { .body = PX_BUF(PX_REPLY_MAX) };
	struct server server;
	struct px_http_options options;
	struct px_http *http;
	struct px_err err;

	(void)state;
	server_start(&server, (struct script){ TEXT("HTTP/1.1 503 No\r\nRetry-After: 5\r\nContent-Length: 2\r\n\r\nno"),
	    STAY, false });
	options = options_for(&server);
	http = open_client(&options);
	for (int i = 0; i < 3; i++) {
		assert_int_equal(px_http_post(http, px_slice(BODY), false, &reply, &err), 0);
		assert_int_equal(reply.status, 503);
		assert_string_equal(px_buf_text(&reply.body), "no");
		assert_int_equal(reply.retry_after_ms, 5000);
	}
	px_http_close(http);
	server_stop(&server);
	assert_int_equal(server.connections, 1);
	assert_int_equal(server.requests, 3);
	px_buf_clear(&reply.body);
	server_clear(&server);
}

/* Nobody listens: neither a reply nor a time-out of an exchange. */
static void
tells_that_nobody_listens(void **state)
{
	struct sockaddr_in address = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t len = sizeof(address);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	struct px_http_options options = { .timeout_ms = TIMEOUT_MS, .connect_timeout_ms = TIMEOUT_MS, .allow_plain_http = true };
	struct px_reply reply;
	struct px_err err;
	char url[64];

	(void)state;
	/* Bound, so that nobody else takes the port, but not listening. */
	assert_int_equal(bind(fd, (const struct sockaddr *)&address, len), 0);
	assert_int_equal(getsockname(fd, (struct sockaddr *)&address, &len), 0);
	(void)snprintf(url, sizeof(url), "http://127.0.0.1:%d/", ntohs(address.sin_port));
	options.url = url;
	assert_int_equal(post_once(&options, &reply, &err), 0);
	assert_int_equal(reply.status, 0);
	assert_false(reply.timed_out);
	assert_non_null(strstr(reply.error, "127.0.0.1"));
	px_buf_clear(&reply.body);
	(void)close(fd);
}

/* Time that runs out before upstream has the request, here in the TLS handshake, is no time-out of an exchange. */
static void
tells_a_slow_connection_from_a_slow_exchange(void **state)
{
	struct server server;
	struct px_http_options options;
	struct px_reply reply;
	struct px_err err;
	char url[sizeof(server.url) + 8];

	(void)state;
	server_start(&server, (struct script){ TEXT(""), HANG, true });
	(void)snprintf(url, sizeof(url), "https%.*s", (int)sizeof(server.url), server.url + strlen("http"));
	options = options_for(&server);
	options.url = url;
	options.timeout_ms = SHORT_TIMEOUT_MS;
	assert_int_equal(post_once(&options, &reply, &err), 0);
	server_stop(&server);
	assert_int_equal(reply.status, 0);
	assert_false(reply.timed_out);
	px_buf_clear(&reply.body);
	server_clear(&server);
}

/* The environment names a proxy that does not exist; nobody asks it. */
static void
ignores_the_environment(void **state)
{
	static const char *const names[] = { "http_proxy", "HTTP_PROXY", "https_proxy", "all_proxy", "ALL_PROXY" };
	struct server server;
	struct px_http_options options;
	struct px_reply reply;
	struct px_err err;

	(void)state;
	for (size_t i = 0; i < COUNT(names); i++)
		assert_int_equal(setenv(names[i], "http://127.0.0.1:1/", 1), 0);
	server_start(&server, (struct script){ TEXT(OK_EMPTY), STAY, false });
	options = options_for(&server);
	assert_int_equal(post_once(&options, &reply, &err), 0);
	server_stop(&server);
	assert_int_equal(reply.status, 200);
	for (size_t i = 0; i < COUNT(names); i++)
		assert_int_equal(unsetenv(names[i]), 0);
	px_buf_clear(&reply.body);
	server_clear(&server);
}

/* The proxy gets its own credentials and, asked for a tunnel, neither our headers nor upstream's credentials. */
static void
asks_the_proxy(void **state)
{
	static const struct {
		const char *name;
		const char *url;
		struct script script;
		int status;
		const char *request;
		const char *authorization;
	} rows[] = {
		{ "plain", "http://upstream.example/api", { TEXT(OK_EMPTY), STAY, false }, 200,
		    "POST http://upstream.example/api HTTP/1.1\r\n", "Bearer abc" },
		{ "even with no_proxy", "http://no.example/api", { TEXT(OK_EMPTY), STAY, false }, 200,
		    "POST http://no.example/api HTTP/1.1\r\n", "Bearer abc" },
		{ "a tunnel without credentials for it", "https://upstream.example/api",
		    { TEXT("HTTP/1.1 407 No\r\nContent-Length: 0\r\n\r\n"), STAY, false }, 407,
		    "CONNECT upstream.example:443 HTTP/1.1\r\n", NULL },
		{ "a tunnel that is refused", "https://upstream.example/api",
		    { TEXT("HTTP/1.1 403 No\r\nContent-Length: 0\r\n\r\n"), STAY, false }, 0,
		    "CONNECT upstream.example:443 HTTP/1.1\r\n", NULL },
	};

	(void)state;
	assert_int_equal(setenv("no_proxy", "no.example", 1), 0);
	for (size_t i = 0; i < COUNT(rows); i++) {
		struct px_reply reply = { .body = PX_BUF(PX_REPLY_MAX) };
		struct server server;
		struct px_http_options options;
		struct px_http *http;
		struct px_err err;

		server_start(&server, rows[i].script);
		options = options_for(&server);
		options.url = rows[i].url;
		options.proxy = server.url;
		options.proxy_user = "pu";
		options.proxy_password = "pp";
		http = open_client(&options);
		assert_int_equal(px_http_set_token(http, "abc", &err), 0);
		assert_int_equal(px_http_post(http, px_slice(BODY), false, &reply, &err), 0);
		px_http_close(http);
		server_stop(&server);
		if (reply.status != rows[i].status ||
		    strncmp(px_buf_text(&server.request), rows[i].request, strlen(rows[i].request)) != 0)
			fail_msg("%s: status %d (%s), request %s", rows[i].name, reply.status, reply.error, px_buf_text(&server.request));
		expect_header(&server, "Proxy-Authorization", "Basic cHU6cHA=");
		expect_header(&server, "Authorization", rows[i].authorization);
		expect_header(&server, "Content-Type", rows[i].authorization != NULL ? "application/json" : NULL);
		px_buf_clear(&reply.body);
		server_clear(&server);
	}
	assert_int_equal(unsetenv("no_proxy"), 0);
}

static void
refuses_options(void **state)
{
	static const struct {
		const char *url;
		bool allow_plain_http;
		const char *pin;
		int rc;
	} rows[] = {
		{ "https://upstream.example/api", false, NULL, 0 },
		{ "HTTPS://upstream.example/api", false, "sha256//47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=", 0 },
		{ "http://127.0.0.1/", true, NULL, 0 },
		{ "http://127.0.0.1/", false, NULL, -1 },
		{ "ftp://127.0.0.1/", true, NULL, -1 },
		{ "file:///etc/passwd", true, NULL, -1 },
		{ "upstream.example", true, NULL, -1 },
		{ "", true, NULL, -1 },
		{ "https://upstream.example/api", false, "/etc/key.pem", -1 },
	};

	(void)state;
	for (size_t i = 0; i < COUNT(rows); i++) {
		struct px_http_options options = { .url = rows[i].url, .timeout_ms = TIMEOUT_MS, .connect_timeout_ms = TIMEOUT_MS,
			.allow_plain_http = rows[i].allow_plain_http, .pinned_public_key = rows[i].pin };
		struct px_http *http;
		struct px_err err = { PX_OK, "" };
		int rc = px_http_open(&http, &options, &err);

		if (rc != rows[i].rc || (rc == -1 && (err.code != PX_CONFIG || http != NULL)))
			fail_msg("row %zu, '%s': %d, %s", i, rows[i].url, rc, err.text);
		px_http_close(http);
	}
}

/* Certificate files without a certificate are the configuration's fault, whatever upstream says. */
static void
refuses_useless_certificates(void **state)
{
	char text[] = "this is no certificate\n";
	const struct px_buf pem = { .data = text, .len = sizeof(text) - 1, .cap = sizeof(text), .max = sizeof(text) };

	(void)state;
	for (int row = 0; row < 2; row++) {
		struct server server;
		struct px_http_options options;
		struct px_reply reply;
		struct px_err err = { PX_OK, "" };
		char url[sizeof(server.url) + 8];

		server_start(&server, (struct script){ TEXT(""), CLOSE, true });
		(void)snprintf(url, sizeof(url), "https%.*s", (int)sizeof(server.url), server.url + strlen("http"));
		options = options_for(&server);
		options.url = url;
		if (row == 0)
			options.ca = &pem;
		else
			options.client_cert = &pem;
		if (post_once(&options, &reply, &err) != -1 || err.code != PX_CONFIG)
			fail_msg("row %d: code %d, '%s', status %d (%s)", row, (int)err.code, err.text, reply.status, reply.error);
		server_stop(&server);
		px_buf_clear(&reply.body);
		server_clear(&server);
	}
}

static void
gets(void **state)
{
	static const struct {
		const char *name;
		struct script script;
		size_t max;
		const char *text;	/* NULL: it fails */
		const char *why;
		enum px_code code;
	} rows[] = {
		{ "ok", { TEXT("HTTP/1.0 200 OK\r\nContent-Type: text/plain\r\n\r\nMonit 5.33.0"), CLOSE, false }, 12,
		    "Monit 5.33.0", NULL, PX_OK },
		{ "too much", { TEXT("HTTP/1.0 200 OK\r\n\r\nMonit 5.33.0"), CLOSE, false }, 11, NULL, "more than 11 bytes", PX_LATER },
		{ "short", { TEXT("HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\nMonit"), CLOSE, false }, 100, NULL, "94 bytes", PX_LATER },
		{ "401", { TEXT("HTTP/1.0 401 Unauthorized\r\n\r\nno"), CLOSE, false }, 100, NULL, "status 401", PX_DENIED },
		{ "403", { TEXT("HTTP/1.0 403 Forbidden\r\n\r\nno"), CLOSE, false }, 100, NULL, "status 403", PX_DENIED },
		{ "half a 401", { TEXT("HTTP/1.0 401 No\r\nContent-Length: 9\r\n\r\n"), CLOSE, false }, 100, NULL, "9 bytes", PX_LATER },
		{ "204", { TEXT("HTTP/1.0 204 No Content\r\n\r\n"), CLOSE, false }, 100, NULL, "status 204", PX_LATER },
		{ "redirect", { TEXT("HTTP/1.0 302 Found\r\nLocation: /\r\n\r\n"), CLOSE, false }, 100, NULL, "status 302", PX_LATER },
		{ "nothing", { TEXT(""), CLOSE, false }, 100, NULL, "Empty reply", PX_LATER },
		{ "no HTTP", { TEXT("SSH-2.0-OpenSSH_9.2\r\n"), CLOSE, false }, 100, NULL, "does not answer in HTTP", PX_LATER },
		{ "half the headers", { TEXT("HTTP/1.0 200 OK\r\nServer: monit"), CLOSE, false }, 100, NULL,
		    "headers break off", PX_LATER },
		{ "endless headers", { TEXT("HTTP/1.0 200 OK\r\n"), REPEAT_HEADER, false }, 100, NULL, "more than 256 KiB", PX_LATER },
		{ "slow", { TEXT("HTTP/1.0 200 OK\r\n\r\nMonit"), HANG, false }, 100, NULL, "out", PX_LATER },
	};

	(void)state;
	for (size_t i = 0; i < COUNT(rows) * 2; i++) {
		size_t row = i / 2;
		struct px_buf out = PX_BUF(rows[row].max + 1);
		struct px_err err = { PX_OK, "" };
		struct server server = { .listener = -1 };
		struct sockaddr_un address = { .sun_family = AF_UNIX };
		char folder[] = "/tmp/test_http.XXXXXX";
		struct px_http_options options;
		struct px_http *http;
		int rc;

		assert_non_null(mkdtemp(folder));
		if (i % 2 == 0) {
			server_start(&server, rows[row].script);
		} else {
			(void)snprintf(address.sun_path, sizeof(address.sun_path), "%s/monit.sock", folder);
			server_listen(&server, (const struct sockaddr *)&address, sizeof(address), rows[row].script);
			(void)snprintf(server.url, sizeof(server.url), "http://localhost/_status?format=text");
		}
		options = options_for(&server);
		options.unix_socket = i % 2 == 1 ? address.sun_path : NULL;
		options.user = "monit";
		options.password = "m";
		if (strcmp(rows[row].name, "slow") == 0)
			options.timeout_ms = SHORT_TIMEOUT_MS;
		http = open_client(&options);
		px_buf_add_byte(&out, '>');
		rc = px_http_get(http, &out, &err);
		px_http_close(http);
		server_stop(&server);
		if (rc != (rows[row].text != NULL ? 0 : -1) || out.data[0] != '>' ||
		    strcmp(out.data + 1, rows[row].text != NULL ? rows[row].text : "") != 0)
			fail_msg("%s: %d, '%s', '%s'", rows[row].name, rc, px_buf_text(&out), err.text);
		if (rc == -1 && (err.code != rows[row].code || strstr(err.text, i % 2 == 0 ? server.url : address.sun_path) == NULL ||
		    (rows[row].why != NULL && strstr(err.text, rows[row].why) == NULL)))
			fail_msg("%s: code %d, '%s'", rows[row].name, (int)err.code, err.text);
		expect_header(&server, "Authorization", "Basic bW9uaXQ6bQ==");
		assert_memory_equal(px_buf_text(&server.request), "GET /", 5);
		if (i % 2 == 1)
			(void)unlink(address.sun_path);
		(void)rmdir(folder);
		px_buf_clear(&out);
		server_clear(&server);
	}
}

/* What can't be connected to is named with the system's own reason, a socket by its path. */
static void
gets_from_nobody(void **state)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	char folder[] = "/tmp/test_http.XXXXXX";
	struct px_http_options options = { .url = "http://localhost/", .timeout_ms = TIMEOUT_MS, .connect_timeout_ms = TIMEOUT_MS,
		.allow_plain_http = true, .unix_socket = address.sun_path };
	static const struct {
		int type;	/* of a socket that is bound and not listened at; 0: none, -1: a folder */
		const char *why;
	} rows[] = {
		{ 0, "No such file or directory" },
		{ SOCK_STREAM, "Connection refused" },
		{ SOCK_DGRAM, "Protocol wrong type for socket" },
		{ -1, "it is not a socket" },
	};

	(void)state;
	assert_non_null(mkdtemp(folder));
	for (size_t i = 0; i < COUNT(rows); i++) {
		struct px_http *http;
		struct px_buf out = PX_BUF(100);
		struct px_err err = { PX_OK, "" };
		char expected[256];
		int fd = -1;

		(void)snprintf(address.sun_path, sizeof(address.sun_path), "%s/%zu", folder, i);
		(void)snprintf(expected, sizeof(expected), "cannot connect to '%s': %s", address.sun_path, rows[i].why);
		if (rows[i].type > 0) {
			fd = socket(AF_UNIX, rows[i].type | SOCK_CLOEXEC, 0);
			assert_int_equal(bind(fd, (const struct sockaddr *)&address, sizeof(address)), 0);
		} else if (rows[i].type == -1) {
			assert_int_equal(mkdir(address.sun_path, 0700), 0);
		}
		http = open_client(&options);	/* which copies the path */
		if (px_http_get(http, &out, &err) != -1 || err.code != PX_ABSENT || strcmp(err.text, expected) != 0)
			fail_msg("row %zu: code %d, '%s'", i, (int)err.code, err.text);
		px_http_close(http);
		if (fd != -1)
			(void)close(fd);
		(void)remove(address.sun_path);
	}
	(void)rmdir(folder);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(reads_replies),
		cmocka_unit_test(tells_the_status_of_a_reply_that_breaks_off),
		cmocka_unit_test(bounds_the_body),
		cmocka_unit_test(sends_its_request),
		cmocka_unit_test(sends_large_bodies),
		cmocka_unit_test(keeps_the_connection),
		cmocka_unit_test(tells_that_nobody_listens),
		cmocka_unit_test(tells_a_slow_connection_from_a_slow_exchange),
		cmocka_unit_test(ignores_the_environment),
		cmocka_unit_test(asks_the_proxy),
		cmocka_unit_test(refuses_options),
		cmocka_unit_test(refuses_useless_certificates),
		cmocka_unit_test(gets),
		cmocka_unit_test(gets_from_nobody),
	};

	(void)signal(SIGPIPE, SIG_IGN);
	return cmocka_run_group_tests_name("http", tests, NULL, NULL);
}
