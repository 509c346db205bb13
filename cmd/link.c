/* SPDX-License-Identifier: MIT */
#include "link.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "log.h"
#include "payload.h"
#include "sys.h"

#define SECRET_MAX 65536
#define PEM_MAX (4 << 20)
#define TOKEN_TIMEOUT_MS 30000
#define WAIT_LIMIT_MS (10 * 60 * 1000)	/* no run is to last longer, whatever the time-out says */
#define MONIT_STATUS_PATH "/_status?format=text"

static int post(void *arg, struct px_slice body, bool is_gzip, struct px_reply *reply, struct px_err *err);
static int renew_token(void *arg, struct px_err *err);
static void hide(void *arg, char *text);

static int64_t
at_most(int64_t timeout_ms, int64_t limit_ms)
{
	return timeout_ms < limit_ms ? timeout_ms : limit_ms;
}

static const char *
or_null(const char *text)
{
	return text[0] != '\0' ? text : NULL;
}

/* Reads ${path}, when there is one, for the key ${key}. */
static int
read_named(struct link *link, const char *key, const char *path, enum px_file_trust trust, struct px_buf *out,
    struct px_err *err)
{
	if (path[0] == '\0')
		return 0;
	if (px_sys_read_file(path, trust, out, err) == -1) {
		err->code = PX_CONFIG;
		return px_err_prefix(err, "%s", key);
	}
	link->files[link->file_count++] = path;
	/* Nothing of ours may stand for nothing: an empty CA file would mean the system's. */
	if (out->len == 0)
		return px_err_set(err, PX_CONFIG, "%s: '%s' is empty", key, path);
	return 0;
}

/* A password is the first line of its file, without a NUL, behind which it would be cut. */
static int
read_password(struct link *link, const char *key, const char *path, struct px_buf *out, struct px_err *err)
{
	const char *end;

	if (path[0] == '\0')
		return 0;
	if (read_named(link, key, path, PX_FILE_SECRET, out, err) == -1)
		return -1;
	end = strpbrk(px_buf_text(out), "\r\n");
	if (end != NULL)
		px_buf_rewind(out, (size_t)(end - out->data));
	if (out->len == 0)
		return px_err_set(err, PX_CONFIG, "%s: '%s' is empty", key, path);
	if (strlen(px_buf_text(out)) != out->len)
		return px_err_set(err, PX_CONFIG, "%s: '%s' is no text", key, path);
	return 0;
}

static int
read_files(struct link *link, bool posts, bool asks, struct px_err *err)
{
	const struct px_config *config = link->config;
	bool holds_key = config->upstream.client_key[0] == '\0';	/* certificate and key in one file */

	if (asks && read_password(link, "[snapshot] password_file", config->snapshot.password_file, &link->monit_password,
	    err) == -1)
		return -1;
	if ((posts || (asks && config->snapshot.source == PX_SOURCE_HTTP)) &&
	    read_named(link, "[upstream] ca_file", config->upstream.ca_file, PX_FILE_ANY, &link->ca, err) == -1)
		return -1;
	if (!posts)
		return 0;
	if (read_named(link, "[upstream] client_cert", config->upstream.client_cert, holds_key ? PX_FILE_SECRET : PX_FILE_ANY,
	    &link->client_cert, err) == -1 ||
	    read_named(link, "[upstream] client_key", config->upstream.client_key, PX_FILE_SECRET, &link->client_key, err) == -1 ||
	    read_password(link, "[upstream] proxy_password_file", config->upstream.proxy_password_file,
	    &link->proxy_password, err) == -1)
		return -1;
	if (config->upstream.auth == PX_AUTH_BASIC)
		return read_password(link, "[upstream] password_file", config->upstream.password_file, &link->password, err);
	if (config->upstream.auth == PX_AUTH_BEARER)
		return read_named(link, "[upstream] token_file", config->upstream.token_file, PX_FILE_SECRET, &link->token, err);
	return 0;
}

/* A program that isn't there is Monit's trouble, not the configuration's: the snapshot tells it. */
static int
parse_commands(struct link *link, bool posts, bool asks, struct px_err *err)
{
	const struct px_config *config = link->config;
	bool by_command = config->snapshot.source == PX_SOURCE_COMMAND || config->snapshot.source == PX_SOURCE_AUTO;

	if (asks && by_command && px_command_parse(&link->commands[LINK_MONIT], config->snapshot.command, err) == -1) {
		if (err->code != PX_ABSENT)
			return px_err_prefix(err, "[snapshot] command");
		(void)snprintf(link->missing, sizeof(link->missing), "%s", err->text);
	}
	if (posts && config->upstream.auth == PX_AUTH_BEARER && config->upstream.token_command[0] != '\0' &&
	    px_command_parse(&link->commands[LINK_TOKEN], config->upstream.token_command, err) == -1) {
		err->code = PX_CONFIG;
		return px_err_prefix(err, "[upstream] token_command");
	}
	return 0;
}

/* Commands stay root's: only what root alone can change may run. */
static int
start_helper(struct link *link, struct px_err *err)
{
	const struct px_command *commands[LINK_COMMANDS] = { &link->commands[LINK_MONIT], &link->commands[LINK_TOKEN] };
	bool any = false;

	for (size_t i = 0; i < LINK_COMMANDS; i++) {
		if (commands[i]->argv == NULL)
			continue;
		if (px_sys_only_root_writes(commands[i]->argv[0], err) == -1)
			return px_err_prefix(err, "a command is not run as root");
		any = true;
	}
	if (!any)
		return 0;
	if (link->config->file[0] != '\0' && px_sys_only_root_writes(link->config->file, err) == -1)
		return px_err_prefix(err, "a command is not run as root");
	return px_helper_start(&link->helper, commands, LINK_COMMANDS, err);
}

int
link_open(struct link *link, const struct px_config *config, const struct px_device *device, bool posts, bool asks,
    struct px_err *err)
{
	*link = (struct link){
		.config = config,
		.ca = PX_BUF(PEM_MAX),
		.client_cert = PX_BUF(PEM_MAX),
		.client_key = PX_BUF(PEM_MAX),
		.token = PX_BUF(SECRET_MAX),
		.password = PX_BUF(SECRET_MAX),
		.proxy_password = PX_BUF(SECRET_MAX),
		.monit_password = PX_BUF(SECRET_MAX),
		.sent_token = PX_BUF(SECRET_MAX),
		.upstream = { .post = post, .arg = link, .hide = hide,
		    .compresses = config->upstream.compression == PX_COMPRESSION_GZIP },
	};
	if (read_files(link, posts, asks, err) == -1 || parse_commands(link, posts, asks, err) == -1)
		return -1;
	if (link->commands[LINK_TOKEN].argv != NULL)
		link->upstream.renew_token = renew_token;
	if (posts && px_config_join_url(device->url, config->upstream.path, link->url, sizeof(link->url), err) == -1)
		return -1;
	return geteuid() == 0 ? start_helper(link, err) : 0;
}

void
link_close(struct link *link)
{
	px_http_close(link->http);
	link->http = NULL;
	px_helper_stop(link->helper);
	link->helper = NULL;
	px_buf_clear(&link->ca);
	px_buf_clear(&link->client_cert);
	px_buf_wipe(&link->client_key);
	px_buf_wipe(&link->token);
	px_buf_wipe(&link->password);
	px_buf_wipe(&link->proxy_password);
	px_buf_wipe(&link->monit_password);
	px_buf_wipe(&link->sent_token);
	for (size_t i = 0; i < LINK_COMMANDS; i++)
		px_command_clear(&link->commands[i]);
}

static int
run_command(struct link *link, enum link_command which, int64_t timeout_ms, struct px_buf *out, struct px_err *err)
{
	if (link->helper != NULL)
		return px_helper_run(link->helper, (size_t)which, timeout_ms, out, err);
	return px_proc_run(&link->commands[which], timeout_ms, out, err);
}

/* The token in force: from its file, or printed by its command, once a run and once more when upstream refused it. */
static int
set_token(struct link *link, struct px_err *err)
{
	struct px_buf printed = PX_BUF(SECRET_MAX);
	struct px_buf token = PX_BUF(SECRET_MAX);
	struct px_now now;
	int rc = -1;

	if (link->commands[LINK_TOKEN].argv != NULL) {
		if (run_command(link, LINK_TOKEN, TOKEN_TIMEOUT_MS, &printed, err) == -1) {
			(void)px_err_prefix(err, "no token");
			goto out;
		}
	} else {
		px_buf_add(&printed, px_buf_text(&link->token), link->token.len);
	}
	px_sys_now(&now);
	if (px_payload_token((struct px_slice){ px_buf_text(&printed), printed.len }, now.wall_ms / PX_MS_PER_S, &token, err) == -1)
		goto out;
	if (px_http_set_token(link->http, px_buf_text(&token), err) == -1)
		goto out;
	px_buf_wipe(&link->sent_token);
	link->sent_token = token;
	token = PX_BUF(SECRET_MAX);
	rc = 0;
out:
	px_buf_wipe(&printed);
	px_buf_wipe(&token);
	return rc;
}

static int
open_http(struct link *link, struct px_err *err)
{
	const struct px_config *config = link->config;
	struct px_http_options options = {
		.url = link->url,
		.user_agent = "px-status/" PX_VERSION,
		.timeout_ms = at_most(config->upstream.timeout_ms, WAIT_LIMIT_MS),
		.connect_timeout_ms = config->upstream.connect_timeout_ms,
		.allow_plain_http = strncmp(link->url, "http://", strlen("http://")) == 0,	/* checked by config */
		.ca = link->ca.len > 0 ? &link->ca : NULL,
		.client_cert = link->client_cert.len > 0 ? &link->client_cert : NULL,
		.client_key = link->client_key.len > 0 ? &link->client_key : NULL,
		.pinned_public_key = or_null(config->upstream.pinned_public_key),
		.proxy = or_null(config->upstream.proxy),
		.proxy_user = or_null(config->upstream.proxy_user),
		.proxy_password = or_null(px_buf_text(&link->proxy_password)),
	};

	if (config->upstream.auth == PX_AUTH_BASIC) {
		options.user = config->upstream.user;
		options.password = px_buf_text(&link->password);
	}
	return px_http_open(&link->http, &options, err);
}

static int
post(void *arg, struct px_slice body, bool is_gzip, struct px_reply *reply, struct px_err *err)
{
	struct link *link = arg;

	if (link->http == NULL && open_http(link, err) == -1)
		return -1;
	if (link->config->upstream.auth == PX_AUTH_BEARER && !link->has_token) {
		if (set_token(link, err) == -1)
			return -1;
		link->has_token = true;
	}
	if (px_http_post(link->http, body, is_gzip, reply, err) == 0)
		return 0;
	return err->code == PX_CONFIG ? px_err_prefix(err, "[upstream] ca_file, client_cert or client_key") : -1;
}

static int
renew_token(void *arg, struct px_err *err)
{
	struct link *link = arg;

	link->upstream.renew_token = NULL;
	return set_token(link, err);
}

static void
hide(void *arg, char *text)
{
	const struct link *link = arg;
	const struct px_buf *const secrets[] = { &link->sent_token, &link->password, &link->proxy_password };

	for (size_t i = 0; i < sizeof(secrets) / sizeof(secrets[0]); i++)
		px_text_hide(text, (struct px_slice){ px_buf_text(secrets[i]), secrets[i]->len });
}

static int
ask_by_http(const struct link *link, const char *url, const char *unix_socket, struct px_buf *text, struct px_err *err)
{
	const struct px_config *config = link->config;
	int64_t timeout_ms = at_most(config->snapshot.timeout_ms, WAIT_LIMIT_MS);
	char whole[2 * PX_CONFIG_TEXT_MAX];
	struct px_http_options options = {
		.url = whole,
		.user_agent = "px-status/" PX_VERSION,
		.timeout_ms = timeout_ms,
		.connect_timeout_ms = timeout_ms,
		.allow_plain_http = true,	/* checked by config */
		.ca = link->ca.len > 0 ? &link->ca : NULL,
		.unix_socket = unix_socket,
		.user = or_null(config->snapshot.user),
		.password = px_buf_text(&link->monit_password),
	};
	struct px_http *http = NULL;
	struct px_err said;
	int rc;

	if (px_config_join_url(url, MONIT_STATUS_PATH, whole, sizeof(whole), err) == -1)
		return -1;
	rc = px_http_open(&http, &options, err);
	if (rc == 0)
		rc = px_http_get(http, text, err);
	px_http_close(http);
	if (rc == 0 || err->code != PX_DENIED)
		return rc;
	said = *err;
	return px_err_set(err, PX_LATER, "%s; look at [snapshot] user and password_file", said.text);
}

static int
ask_by_socket(const struct link *link, struct px_buf *text, struct px_err *err)
{
	return ask_by_http(link, "http://localhost", link->config->snapshot.socket, text, err);
}

static int
ask_by_command(struct link *link, struct px_buf *text, struct px_err *err)
{
	if (link->commands[LINK_MONIT].argv == NULL)
		return px_err_set(err, PX_LATER, "%s", link->missing);
	if (run_command(link, LINK_MONIT, at_most(link->config->snapshot.timeout_ms, WAIT_LIMIT_MS), text, err) == -1)
		return -1;
	link->monit_by_command = true;
	return 0;
}

/* A socket that is not there, nobody's or not for us leaves the command; when that does no better both are told. */
static int
ask_by_either(struct link *link, struct px_buf *text, struct px_err *err)
{
	struct px_err by_socket;

	if (ask_by_socket(link, text, err) == 0)
		return 0;
	if (err->code != PX_ABSENT)
		return -1;
	by_socket = *err;
	return ask_by_command(link, text, err) == 0 ? 0 : px_err_prefix(err, "%s; and by command", by_socket.text);
}

static int
ask(struct link *link, struct px_buf *text, struct px_err *err)
{
	switch ((enum px_source)link->config->snapshot.source) {
	case PX_SOURCE_SOCKET:
		return ask_by_socket(link, text, err);
	case PX_SOURCE_HTTP:
		return ask_by_http(link, link->config->snapshot.url, NULL, text, err);
	case PX_SOURCE_COMMAND:
		return ask_by_command(link, text, err);
	case PX_SOURCE_AUTO:
		break;
	}
	return ask_by_either(link, text, err);
}

int
link_ask_monit(void *arg, struct px_buf *text, struct px_err *err)
{
	struct link *link = arg;

	if (ask(link, text, err) == 0)
		return 0;
	err->code = PX_LATER;	/* whatever it was, it is Monit's and passes */
	return -1;
}
