/* SPDX-License-Identifier: MIT */
#include "config.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <ini.h>
#include <inttypes.h>
#include <netinet/in.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "text.h"

#define FILE_MAX (1 << 20)
#define LINE_MAX_BYTES 1023
#define ESCAPED_MAX ((size_t)4)	/* bytes that one becomes at most when it is escaped */
#define NAME_SHOWN 40
#define VALUE_SHOWN 40
#define SOCKET_PATH_MAX 107	/* unix(7): sun_path and its NUL */

#define IDENTITY_FILE "/etc/px-device-identity/device.yml"
#define MACHINE_ID_FILE "/etc/machine-id"

#define S INT64_C(1000)
#define DAY (86400 * S)
#define KIB INT64_C(1024)

enum type {
	TYPE_TEXT,
	TYPE_FILE,		/* an absolute path */
	TYPE_COMMAND,
	TYPE_URL,
	TYPE_URL_PATH,
	TYPE_PROXY,
	TYPE_PINS,
	TYPE_NUMBER,
	TYPE_SIZE,
	TYPE_DURATION,
	TYPE_YES_NO,
	TYPE_CHOICE
};

/* In the order of the enums of config.h. */
static const char *const sources[] = { "auto", "command", "socket", "http", NULL };
static const char *const auths[] = { "none", "bearer", "basic", NULL };
static const char *const compressions[] = { "gzip", "none", NULL };

/* ${min} and ${max} are for numbers, in bytes or milliseconds; ${max} of a text is its length, 0: as long as a line. */
struct key {
	const char *section;
	const char *name;
	enum type type;
	size_t offset;
	const char *preset;
	int64_t min;
	int64_t max;
	const char *const *choices;
};

#define AT(member) offsetof(struct px_config, member)

static const struct key keys[] = {
	{ "device", "id", TYPE_TEXT, AT(device.id), "", 0, 0, NULL },
	{ "device", "name", TYPE_TEXT, AT(device.name), "", 0, 0, NULL },
	{ "device", "identity_file", TYPE_FILE, AT(device.identity_file), "", 0, 0, NULL },

	{ "spool", "path", TYPE_FILE, AT(spool.path), PX_CONFIG_DEFAULT_SPOOL, 0, 0, NULL },
	{ "spool", "max_items", TYPE_NUMBER, AT(spool.max_items), "100000", 1, 10000000, NULL },
	{ "spool", "max_bytes", TYPE_SIZE, AT(spool.max_bytes), "256M", KIB * KIB, KIB * KIB * KIB * KIB, NULL },

	{ "snapshot", "enabled", TYPE_YES_NO, AT(snapshot.enabled), "yes", 0, 0, NULL },
	{ "snapshot", "interval", TYPE_DURATION, AT(snapshot.interval_ms), "5m", S, 30 * DAY, NULL },
	{ "snapshot", "source", TYPE_CHOICE, AT(snapshot.source), "auto", 0, 0, sources },
	{ "snapshot", "command", TYPE_COMMAND, AT(snapshot.command), "monit -B status", 0, 0, NULL },
	{ "snapshot", "socket", TYPE_FILE, AT(snapshot.socket), "/run/monit.sock", 0, SOCKET_PATH_MAX, NULL },
	{ "snapshot", "url", TYPE_URL, AT(snapshot.url), "http://127.0.0.1:2812", 0, 0, NULL },
	{ "snapshot", "user", TYPE_TEXT, AT(snapshot.user), "", 0, 0, NULL },
	{ "snapshot", "password_file", TYPE_FILE, AT(snapshot.password_file), "", 0, 0, NULL },
	{ "snapshot", "timeout", TYPE_DURATION, AT(snapshot.timeout_ms), "10s", S, 30 * DAY, NULL },

	{ "upstream", "url", TYPE_URL, AT(upstream.url), "", 0, 0, NULL },
	{ "upstream", "path", TYPE_URL_PATH, AT(upstream.path), "/api/v1/devices/stats", 0, 0, NULL },
	{ "upstream", "auth", TYPE_CHOICE, AT(upstream.auth), "none", 0, 0, auths },
	{ "upstream", "token_file", TYPE_FILE, AT(upstream.token_file), "", 0, 0, NULL },
	{ "upstream", "token_command", TYPE_COMMAND, AT(upstream.token_command), "", 0, 0, NULL },
	{ "upstream", "user", TYPE_TEXT, AT(upstream.user), "", 0, 0, NULL },
	{ "upstream", "password_file", TYPE_FILE, AT(upstream.password_file), "", 0, 0, NULL },
	{ "upstream", "ca_file", TYPE_FILE, AT(upstream.ca_file), "", 0, 0, NULL },
	{ "upstream", "client_cert", TYPE_FILE, AT(upstream.client_cert), "", 0, 0, NULL },
	{ "upstream", "client_key", TYPE_FILE, AT(upstream.client_key), "", 0, 0, NULL },
	{ "upstream", "pinned_public_key", TYPE_PINS, AT(upstream.pinned_public_key), "", 0, 0, NULL },
	{ "upstream", "proxy", TYPE_PROXY, AT(upstream.proxy), "", 0, 0, NULL },
	{ "upstream", "proxy_user", TYPE_TEXT, AT(upstream.proxy_user), "", 0, 0, NULL },
	{ "upstream", "proxy_password_file", TYPE_FILE, AT(upstream.proxy_password_file), "", 0, 0, NULL },
	{ "upstream", "timeout", TYPE_DURATION, AT(upstream.timeout_ms), "30s", S, 30 * DAY, NULL },
	{ "upstream", "connect_timeout", TYPE_DURATION, AT(upstream.connect_timeout_ms), "10s", S, 30 * DAY, NULL },
	{ "upstream", "compression", TYPE_CHOICE, AT(upstream.compression), "gzip", 0, 0, compressions },
	{ "upstream", "allow_http", TYPE_YES_NO, AT(upstream.allow_http), "no", 0, 0, NULL },

	{ "batch", "max_items", TYPE_NUMBER, AT(batch.max_items), "500", 1, 10000, NULL },
	{ "batch", "max_bytes", TYPE_SIZE, AT(batch.max_bytes), "1M", 128 * KIB, 64 * KIB * KIB, NULL },

	{ "retry", "initial", TYPE_DURATION, AT(retry.initial_ms), "30s", S, 30 * DAY, NULL },
	{ "retry", "max", TYPE_DURATION, AT(retry.max_ms), "1h", S, 30 * DAY, NULL },

	{ "schedule", "splay", TYPE_DURATION, AT(schedule.splay_ms), "30s", 0, 30 * DAY, NULL },
};

#define KEYS (sizeof(keys) / sizeof(keys[0]))
_Static_assert(KEYS <= PX_CONFIG_KEYS_MAX, "px_config.line_of has no room for every key");

/* A number with the largest of its units that leaves it whole. */
struct unit {
	const char *name;
	int64_t factor;
};

static const struct unit size_units[] = {
	{ "T", KIB * KIB * KIB * KIB }, { "G", KIB * KIB * KIB }, { "M", KIB * KIB }, { "k", KIB }, { "", 1 },
};
static const struct unit duration_units[] = { { "d", DAY }, { "h", 3600 * S }, { "m", 60 * S }, { "s", S } };

static void
print_units(char *out, size_t size, const struct unit *units, int64_t value)
{
	bool is_size = units == size_units;
	size_t last = (is_size ? sizeof(size_units) : sizeof(duration_units)) / sizeof(units[0]) - 1;
	size_t i = 0;

	while (i < last && (value == 0 || value % units[i].factor != 0))
		i++;
	(void)snprintf(out, size, "%" PRId64 "%s", value / units[i].factor, units[i].name);
}

/* ${key}'s value as the file would have it, in ${out} or in ${config} itself. */
static const char *
print_value(const struct px_config *config, const struct key *key, char *out, size_t size)
{
	const char *at = (const char *)config + key->offset;
	int64_t number;
	int choice;
	bool yes;

	switch (key->type) {
	case TYPE_TEXT:
	case TYPE_FILE:
	case TYPE_COMMAND:
	case TYPE_URL:
	case TYPE_URL_PATH:
	case TYPE_PROXY:
	case TYPE_PINS:
		return at;
	case TYPE_YES_NO:
		memcpy(&yes, at, sizeof(yes));
		return yes ? "yes" : "no";
	case TYPE_CHOICE:
		memcpy(&choice, at, sizeof(choice));
		return key->choices[choice];
	case TYPE_NUMBER:
		memcpy(&number, at, sizeof(number));
		(void)snprintf(out, size, "%" PRId64, number);
		break;
	case TYPE_SIZE:
	case TYPE_DURATION:
		memcpy(&number, at, sizeof(number));
		print_units(out, size, key->type == TYPE_SIZE ? size_units : duration_units, number);
		break;
	}
	return out;
}

/* The start of ${text} for a message, on one line. */
static const char *
show(char *out, size_t size, struct px_slice text, size_t max)
{
	struct px_buf shown = PX_BUF(ESCAPED_MAX * FILE_MAX);
	bool cut = text.len > max;

	px_text_escape(&shown, text.ptr, cut ? px_text_cut(text.ptr, text.len, max) : text.len);
	(void)snprintf(out, size, "%s%s", px_buf_text(&shown), cut ? "..." : "");
	px_buf_clear(&shown);
	return out;
}

/* Valid UTF-8 without control characters: then there is nothing to escape in it. */
static bool
is_plain(struct px_slice text)
{
	struct px_buf escaped = PX_BUF(ESCAPED_MAX * FILE_MAX);
	bool plain;

	px_text_escape(&escaped, text.ptr, text.len);
	plain = !escaped.failed && escaped.len == text.len && memcmp(px_buf_text(&escaped), text.ptr, text.len) == 0;
	px_buf_clear(&escaped);
	return plain;
}

static bool
begins_with(struct px_slice text, const char *start)
{
	return text.len >= strlen(start) && memcmp(text.ptr, start, strlen(start)) == 0;
}

static struct px_slice
skip(struct px_slice text, size_t len)
{
	return (struct px_slice){ text.ptr + len, text.len - len };
}

/* A URL taken apart (RFC 3986, section 3), which points into it. */
struct url {
	struct px_slice scheme;
	struct px_slice host;		/* without the brackets of an IPv6 address */
	struct px_slice rest;		/* behind the authority */
	bool is_ipv6;
};

static bool
is_one_of(char byte, const char *others)
{
	return (byte >= '0' && byte <= '9') || (byte >= 'A' && byte <= 'Z') || (byte >= 'a' && byte <= 'z') ||
	    (byte != '\0' && strchr(others, byte) != NULL);
}

static bool
is_host(const struct url *url)
{
	char address[INET6_ADDRSTRLEN];
	struct in6_addr parsed;

	if (url->is_ipv6) {
		if (url->host.len >= sizeof(address))
			return false;
		memcpy(address, url->host.ptr, url->host.len);
		address[url->host.len] = '\0';
		return inet_pton(AF_INET6, address, &parsed) == 1;
	}
	for (size_t i = 0; i < url->host.len; i++)
		if (!is_one_of(url->host.ptr[i], "-._"))
			return false;
	return url->host.len > 0;
}

/* Never puts any of ${text} into ${err}: there may be a password in it. */
static int
split_url(struct url *url, struct px_slice text, struct px_err *err)
{
	const char *colons = memmem(text.ptr, text.len, "://", 3);
	struct px_slice authority;
	size_t len = 0;
	int64_t port;

	*url = (struct url){ .scheme = text, .host = text, .rest = text };
	if (colons == NULL || colons == text.ptr)
		return px_err_set(err, PX_CONFIG, "not a URL such as https://host");
	for (size_t i = 0; i < text.len; i++)
		if (text.ptr[i] <= ' ' || text.ptr[i] > '~' || text.ptr[i] == '\\')
			return px_err_set(err, PX_CONFIG, "a character that no URL may have");
	url->scheme = (struct px_slice){ text.ptr, (size_t)(colons - text.ptr) };
	authority = skip(text, url->scheme.len + strlen("://"));
	while (len < authority.len && strchr("/?#", authority.ptr[len]) == NULL)
		len++;
	url->rest = skip(authority, len);
	authority.len = len;
	/* A password with a slash in it would end the authority before its '@'. */
	if (memchr(authority.ptr, '@', authority.len) != NULL || memchr(url->rest.ptr, '@', url->rest.len) != NULL)
		return px_err_set(err, PX_CONFIG, "a URL may not contain user or password (or any '@')");
	url->is_ipv6 = authority.len > 0 && authority.ptr[0] == '[';
	url->host = url->is_ipv6 ? skip(authority, 1) : authority;
	for (len = 0; len < url->host.len && url->host.ptr[len] != (url->is_ipv6 ? ']' : ':'); len++)
		continue;
	if (url->is_ipv6 && len == url->host.len)
		return px_err_set(err, PX_CONFIG, "not a host name or address");
	authority = skip(url->host, len + (url->is_ipv6 ? 1 : 0));
	url->host.len = len;
	if (!is_host(url))
		return px_err_set(err, PX_CONFIG, "not a host name or address");
	if (authority.len > 0 && (authority.ptr[0] != ':' || px_text_to_int64(skip(authority, 1), 1, 65535, &port) == -1))
		return px_err_set(err, PX_CONFIG, "the port is not a number from 1 to 65535");
	return 0;
}

static bool
is_loopback(const struct url *url)
{
	char address[INET6_ADDRSTRLEN];
	struct in_addr v4;
	struct in6_addr v6;

	if (url->host.len >= sizeof(address))
		return false;
	memcpy(address, url->host.ptr, url->host.len);
	address[url->host.len] = '\0';
	if (url->is_ipv6)
		return inet_pton(AF_INET6, address, &v6) == 1 && IN6_IS_ADDR_LOOPBACK(&v6);
	if (inet_pton(AF_INET, address, &v4) == 1)
		return ntohl(v4.s_addr) >> 24 == IN_LOOPBACKNET;
	return strcasecmp(address, "localhost") == 0;
}

static int
check_url(struct px_slice text, bool allow_http, struct px_err *err)
{
	struct url url;

	if (split_url(&url, text, err) == -1)
		return -1;
	if (!px_slice_is(url.scheme, "https") && !px_slice_is(url.scheme, "http"))
		return px_err_set(err, PX_CONFIG, "neither an https:// nor an http:// URL");
	if (memchr(url.rest.ptr, '?', url.rest.len) != NULL || memchr(url.rest.ptr, '#', url.rest.len) != NULL)
		return px_err_set(err, PX_CONFIG, "a URL may not contain a query or a fragment");
	if (px_slice_is(url.scheme, "http") && !allow_http && !is_loopback(&url))
		return px_err_set(err, PX_CONFIG, "http:// is refused, since the host is not loopback and allow_http is not yes");
	return 0;
}

int
px_config_check_url(const char *url, bool allow_http, struct px_err *err)
{
	return check_url(px_slice(url), allow_http, err);
}

int
px_config_join_url(const char *url, const char *path, char *out, size_t size, struct px_err *err)
{
	size_t len = strlen(url);
	int wanted;

	while (len > 0 && url[len - 1] == '/')
		len--;
	wanted = snprintf(out, size, "%.*s/%s", (int)len, url, path + strspn(path, "/"));
	if (wanted < 0 || (size_t)wanted >= size)
		return px_err_set(err, PX_CONFIG, "URL and path are longer than %zu bytes", size - 1);
	return 0;
}

static int
check_url_path(struct px_slice text, struct px_err *err)
{
	for (size_t i = 0; i < text.len; i++)
		if (text.ptr[i] <= ' ' || text.ptr[i] > '~' || text.ptr[i] == '#' || text.ptr[i] == '\\')
			return px_err_set(err, PX_CONFIG, "a character that no URL's path may have");
	return 0;
}

static int
check_proxy(struct px_slice text, struct px_err *err)
{
	static const char *const schemes[] = { "http", "https", "socks5h" };
	struct url url;

	if (split_url(&url, text, err) == -1)
		return -1;
	if (url.rest.len > 1 || (url.rest.len == 1 && url.rest.ptr[0] != '/'))
		return px_err_set(err, PX_CONFIG, "nothing may follow host and port of a proxy");
	for (size_t i = 0; i < sizeof(schemes) / sizeof(schemes[0]); i++)
		if (px_slice_is(url.scheme, schemes[i]))
			return 0;
	return px_err_set(err, PX_CONFIG, "the URL of a proxy begins with http://, https:// or socks5h://");
}

/* Hashes of 32 bytes, in base64 (RFC 4648, section 4): 43 characters and '='. */
static int
check_pins(struct px_slice text, struct px_err *err)
{
	const size_t digits = 43;
	const size_t pin = strlen("sha256//") + digits + 1;
	bool valid = true;

	while (valid) {
		valid = text.len >= pin && begins_with(text, "sha256//") && text.ptr[pin - 1] == '=';
		for (size_t i = strlen("sha256//"); valid && i < pin - 1; i++)
			valid = is_one_of(text.ptr[i], "+/");
		if (valid && text.len == pin)
			return 0;
		valid = valid && text.ptr[pin] == ';';
		if (valid)
			text = skip(text, pin + 1);
	}
	return px_err_set(err, PX_CONFIG, "not of the form sha256//BASE64[;sha256//BASE64...]");
}

/* Quotes are closed; what they group is for whoever runs it. */
static int
check_command(struct px_slice text, struct px_err *err)
{
	char quote = '\0';

	for (size_t i = 0; i < text.len; i++)
		if (quote == '\0' && (text.ptr[i] == '\'' || text.ptr[i] == '"'))
			quote = text.ptr[i];
		else if (quote == text.ptr[i])
			quote = '\0';
	return quote == '\0' ? 0 : px_err_set(err, PX_CONFIG, "a quote is not closed");
}

static int
check_text(const struct key *key, struct px_slice value, struct px_err *err)
{
	if (value.len == 0 && key->preset[0] != '\0')
		return px_err_set(err, PX_CONFIG, "no value");
	if (!is_plain(value))
		return px_err_set(err, PX_CONFIG, "not UTF-8, or a control character in it");
	if (value.len >= PX_CONFIG_TEXT_MAX || (key->max != 0 && value.len > (size_t)key->max))
		return px_err_set(err, PX_CONFIG, "longer than %" PRId64 " bytes",
		    key->max != 0 ? key->max : (int64_t)PX_CONFIG_TEXT_MAX - 1);
	if (value.len == 0)
		return 0;
	switch (key->type) {
	case TYPE_FILE:
		return value.ptr[0] == '/' && value.ptr[value.len - 1] != '/' ? 0 :
		    px_err_set(err, PX_CONFIG, "not the absolute path of a file");
	case TYPE_URL:
		return check_url(value, true, err);	/* allow_http may come later */
	case TYPE_URL_PATH:
		return check_url_path(value, err);
	case TYPE_PROXY:
		return check_proxy(value, err);
	case TYPE_PINS:
		return check_pins(value, err);
	case TYPE_COMMAND:
		return check_command(value, err);
	case TYPE_TEXT:
	case TYPE_NUMBER:
	case TYPE_SIZE:
	case TYPE_DURATION:
	case TYPE_YES_NO:
	case TYPE_CHOICE:
		break;
	}
	return 0;
}

static int
refuse_choice(const struct key *key, const char *shown, struct px_err *err)
{
	struct px_buf choices = PX_BUF(PX_ERR_MAX);

	for (size_t i = 0; key->choices[i] != NULL; i++)
		px_buf_printf(&choices, "%s%s", i > 0 ? ", " : "", key->choices[i]);
	(void)px_err_set(err, PX_CONFIG, "'%s' is not one of %s", shown, px_buf_text(&choices));
	px_buf_clear(&choices);
	return -1;
}

static int
refuse_number(const struct key *key, const char *shown, struct px_err *err)
{
	const struct unit *units = key->type == TYPE_SIZE ? size_units : duration_units;
	char min[32];
	char max[32];

	if (key->type == TYPE_NUMBER)
		return px_err_set(err, PX_CONFIG, "'%s' is not a number from %" PRId64 " to %" PRId64, shown, key->min, key->max);
	print_units(min, sizeof(min), units, key->min);
	print_units(max, sizeof(max), units, key->max);
	return px_err_set(err, PX_CONFIG, "'%s' is not a %s from %s to %s", shown, key->type == TYPE_SIZE ? "size" : "duration",
	    min, max);
}

/* Sets ${key} in ${config}, or leaves it and says why not; only what can't be a secret is shown. */
static int
set_value(struct px_config *config, const struct key *key, struct px_slice value, struct px_err *err)
{
	char *at = (char *)config + key->offset;
	char shown[ESCAPED_MAX * VALUE_SHOWN + sizeof("...")];
	int64_t number = 0;
	int rc = -1;
	int choice;
	bool yes;

	switch (key->type) {
	case TYPE_TEXT:
	case TYPE_FILE:
	case TYPE_COMMAND:
	case TYPE_URL:
	case TYPE_URL_PATH:
	case TYPE_PROXY:
	case TYPE_PINS:
		if (check_text(key, value, err) == -1)
			return -1;
		memcpy(at, value.ptr, value.len);
		at[value.len] = '\0';
		return 0;
	case TYPE_YES_NO:
		if (px_text_to_bool(value, &yes) == -1)
			return px_err_set(err, PX_CONFIG, "'%s' is neither yes nor no", show(shown, sizeof(shown), value, VALUE_SHOWN));
		memcpy(at, &yes, sizeof(yes));
		return 0;
	case TYPE_CHOICE:
		for (choice = 0; key->choices[choice] != NULL && !px_slice_is(value, key->choices[choice]); choice++)
			continue;
		if (key->choices[choice] == NULL)
			return refuse_choice(key, show(shown, sizeof(shown), value, VALUE_SHOWN), err);
		memcpy(at, &choice, sizeof(choice));
		return 0;
	case TYPE_NUMBER:
		rc = px_text_to_int64(value, key->min, key->max, &number);
		break;
	case TYPE_SIZE:
		rc = px_text_to_bytes(value, &number);
		break;
	case TYPE_DURATION:
		rc = px_text_to_duration_ms(value, &number);
		break;
	}
	if (rc == -1 || number < key->min || number > key->max)
		return refuse_number(key, show(shown, sizeof(shown), value, VALUE_SHOWN), err);
	memcpy(at, &number, sizeof(number));
	return 0;
}

void
px_config_init(struct px_config *config)
{
	struct px_err err;

	memset(config, 0, sizeof(*config));
	for (size_t i = 0; i < KEYS; i++)
		if (keys[i].preset[0] != '\0')
			(void)set_value(config, &keys[i], px_slice(keys[i].preset), &err);
}

void
px_config_each(const struct px_config *config, px_config_each_fn *each, void *arg)
{
	char out[32];

	for (size_t i = 0; i < KEYS; i++)
		each(arg, keys[i].section, keys[i].name, print_value(config, &keys[i], out, sizeof(out)), config->line_of[i]);
}

static bool
is_null_device(const struct stat *st)
{
	return S_ISCHR(st->st_mode) && st->st_rdev == makedev(1, 3);
}

/* A regular file, or /dev/null, of at most FILE_MAX bytes, without ever waiting. -1 with PX_ABSENT when there is none, else PX_CONFIG. */
static int
read_file(const char *path, struct px_buf *out, struct px_err *err)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	int error_number = errno;
	char shown[PX_ERR_MAX];
	char chunk[4096];
	struct stat st;
	ssize_t count;
	int rc = -1;

	(void)show(shown, sizeof(shown), px_slice(path), sizeof(shown) / 4);
	if (fd == -1)
		return px_err_set_errno(err, error_number == ENOENT ? PX_ABSENT : PX_CONFIG, error_number, "cannot open '%s'", shown);
	if (fstat(fd, &st) == -1 || (!S_ISREG(st.st_mode) && !is_null_device(&st))) {
		(void)px_err_set(err, PX_CONFIG, "cannot read '%s': not a regular file", shown);
		goto out;
	}
	while ((count = read(fd, chunk, sizeof(chunk))) > 0 || (count == -1 && errno == EINTR))
		px_buf_add(out, chunk, count > 0 ? (size_t)count : 0);
	if (count == -1)
		(void)px_err_set_errno(err, PX_CONFIG, errno, "cannot read '%s'", shown);
	else if (out->failed)
		(void)px_err_set(err, PX_CONFIG, "cannot read '%s': more than %d bytes", shown, FILE_MAX);
	else
		rc = 0;
out:
	(void)close(fd);
	return rc;
}

/* The next line off ${rest}, without its end (LF or CR LF). */
static bool
next_line(struct px_slice *rest, struct px_slice *line)
{
	const char *end;

	if (rest->len == 0)
		return false;
	end = memchr(rest->ptr, '\n', rest->len);
	*line = (struct px_slice){ rest->ptr, end != NULL ? (size_t)(end - rest->ptr) : rest->len };
	*rest = skip(*rest, line->len + (end != NULL ? 1 : 0));
	if (line->len > 0 && line->ptr[line->len - 1] == '\r')
		line->len--;
	return true;
}

static void
skip_byte_order_mark(struct px_slice *text)
{
	if (begins_with(*text, "\xef\xbb\xbf"))
		*text = skip(*text, 3);
}

#define SHOWN_MAX (ESCAPED_MAX * NAME_SHOWN + sizeof("..."))
#define UNKNOWN "?"

/* A configuration on its way through inih, which gets the names only and of these UNKNOWN for those that we don't have. */
struct reading {
	struct px_config *config;
	struct px_problems *problems;
	struct px_err *err;
	char name[PX_CONFIG_TEXT_MAX];		/* the file's, fit to be shown */
	struct px_slice rest;
	int line;				/* the one that inih has now */
	char section[SHOWN_MAX];		/* as the file has it, fit to be shown; "" before the first */
	char key[SHOWN_MAX];			/* the same of that line's key */
	struct px_slice value;			/* of that line */
	const char *refused;			/* why that value does not count; NULL: it does */
	struct px_slice last_key;
	size_t mistakes;
	bool is_hidden;				/* something could not be read: any key may have been in it */
	bool given[PX_CONFIG_KEYS_MAX];
	bool taken[PX_CONFIG_KEYS_MAX];
};

static void mistake(struct reading *reading, int line, const char *format, ...) PX_PRINTF(3, 4);

static void
mistake(struct reading *reading, int line, const char *format, ...)
{
	char what[PX_ERR_MAX];
	char where[sizeof(reading->name) + 16];
	va_list args;

	va_start(args, format);
	(void)vsnprintf(what, sizeof(what), format, args);
	va_end(args);
	if (line > 0)
		(void)snprintf(where, sizeof(where), "%s:%d", reading->name, line);
	else
		(void)snprintf(where, sizeof(where), "%s", reading->name);
	if (reading->mistakes++ == 0)
		(void)px_err_set(reading->err, PX_CONFIG, "%s: %s", where, what);
	px_problems_add(reading->problems, "%s: %s", where, what);
}

static bool
is_space(char byte)
{
	return byte == ' ' || (byte >= '\t' && byte <= '\r');	/* isspace(3), by which inih goes */
}

static struct px_slice
trim(struct px_slice text)
{
	while (text.len > 0 && is_space(text.ptr[0]))
		text = skip(text, 1);
	while (text.len > 0 && is_space(text.ptr[text.len - 1]))
		text.len--;
	return text;
}

/* Why what stands in ${line} does not count, NULL when it does: inih itself would cut or join it silently. */
static const char *
refuse_line(struct px_slice line)
{
	if (line.len > LINE_MAX_BYTES)
		return "the line is longer than 1023 bytes";
	if (memchr(line.ptr, '\0', line.len) != NULL)
		return "a NUL byte in the line";
	if (is_space(line.ptr[0]))
		return "the line is indented";
	for (size_t i = 1; i < line.len; i++)
		if (line.ptr[i] == ';' && is_space(line.ptr[i - 1]))
			return "' ;' in the line: a comment needs a line of its own";
	return NULL;
}

/* The section of ours that is called ${name}, else UNKNOWN; the key likewise. */
static const char *
section_name(struct px_slice name)
{
	for (size_t i = 0; i < KEYS; i++)
		if (px_slice_is(name, keys[i].section))
			return keys[i].section;
	return UNKNOWN;
}

static const char *
key_name(struct px_slice name)
{
	for (size_t i = 0; i < KEYS; i++)
		if (px_slice_is(name, keys[i].name))
			return keys[i].name;
	return UNKNOWN;
}

/* Writes the header ${text} for inih. A broken one ends the section before it all the same. */
static void
write_header(struct reading *reading, struct px_slice text, char *out, size_t size)
{
	const char *end = memchr(text.ptr, ']', text.len);
	struct px_slice name = skip(text, 1);
	const char *known;

	if (end == text.ptr + text.len - 1)
		name.len--;
	known = end == text.ptr + text.len - 1 ? section_name(name) : UNKNOWN;
	(void)show(reading->section, sizeof(reading->section), name, NAME_SHOWN);
	if (reading->refused != NULL)
		mistake(reading, reading->line, "[%s]: %s", reading->section, reading->refused);
	else if (end != text.ptr + text.len - 1)
		mistake(reading, reading->line, "[%s: not of the form [section]", reading->section);
	else if (strcmp(known, UNKNOWN) == 0)
		mistake(reading, reading->line, "[%s]: unknown section", reading->section);
	if (strcmp(known, UNKNOWN) == 0)
		reading->is_hidden = true;
	reading->last_key.len = 0;
	(void)snprintf(out, size, "[%s]\n", known);
}

/* Writes the key of ${text} for inih and keeps its value. False when ${text} has none, which is told. */
static bool
write_key(struct reading *reading, struct px_slice text, char *out, size_t size)
{
	struct px_slice key = text;
	size_t len = 0;

	while (len < text.len && text.ptr[len] != '=' && text.ptr[len] != ':')
		len++;
	key.len = len;
	key = trim(key);
	if (key.len > 0 && len < text.len) {
		reading->value = trim(skip(text, len + 1));
		reading->last_key = key;
	} else if (reading->refused != NULL && reading->last_key.len > 0) {
		key = reading->last_key;	/* what was meant to go on with it */
	} else {
		mistake(reading, reading->line, "%s", reading->refused != NULL ? reading->refused : "neither [section] nor key = value");
		reading->is_hidden = true;
		return false;
	}
	(void)show(reading->key, sizeof(reading->key), key, NAME_SHOWN);
	(void)snprintf(out, size, "%s=\n", key_name(key));
	return true;
}

/* An ini_reader: one line with something in it, as inih may have it. */
static char *
read_line(char *out, int size, void *arg)
{
	struct reading *reading = arg;
	struct px_slice line;

	while (next_line(&reading->rest, &line)) {
		struct px_slice text = trim(line);

		reading->line++;
		if (text.len == 0 && line.len <= LINE_MAX_BYTES)
			continue;
		reading->refused = refuse_line(line);
		if (text.len == 0 || text.ptr[0] == ';' || text.ptr[0] == '#') {
			/* A comment may have a ' ;' in it, and nothing else of the kind. */
			if (line.len > LINE_MAX_BYTES || is_space(line.ptr[0]))
				mistake(reading, reading->line, "%s", reading->refused);
		} else if (text.ptr[0] == '[') {
			write_header(reading, text, out, (size_t)size);
			return out;
		} else if (write_key(reading, text, out, (size_t)size)) {
			return out;
		}
	}
	return NULL;
}

static size_t
find_key(const char *section, const char *name)
{
	size_t i = 0;

	while (i < KEYS && (strcmp(keys[i].section, section) != 0 || strcmp(keys[i].name, name) != 0))
		i++;
	return i;
}

/* An ini_handler; 1: go on. */
static int
take_key(void *arg, const char *section, const char *name, const char *value)
{
	struct reading *reading = arg;
	size_t i = find_key(section, name);
	struct px_err err = { .code = PX_OK };
	const char *wrong = NULL;

	(void)value;	/* not the whole of it, see struct reading */
	if (section[0] == '\0')
		wrong = "before the first section";
	else if (strcmp(section, UNKNOWN) == 0)
		wrong = "in an unknown section";
	else if (i == KEYS)
		wrong = reading->refused != NULL ? reading->refused : "unknown key";
	if (wrong != NULL) {
		mistake(reading, reading->line, "%s%s%s%s: %s", section[0] != '\0' ? "[" : "", reading->section,
		    section[0] != '\0' ? "] " : "", reading->key, wrong);
		reading->is_hidden = true;
		return 1;
	}
	if (reading->refused != NULL)
		mistake(reading, reading->line, "[%s] %s: %s", section, name, reading->refused);
	else if (reading->given[i])
		mistake(reading, reading->line, "[%s] %s: given twice", section, name);
	/* Of a key that is given twice the first value that is valid counts. */
	if (reading->refused == NULL && !reading->taken[i]) {
		reading->taken[i] = set_value(reading->config, &keys[i], reading->value, &err) == 0;
		if (reading->taken[i])
			reading->config->line_of[i] = reading->line;
		else
			mistake(reading, reading->line, "[%s] %s: %s", section, name, err.text);
	}
	reading->given[i] = true;
	return 1;
}

/* Whether a text is set, or was tried to be. */
static bool
is_set(const struct reading *reading, const char *section, const char *name)
{
	size_t i = find_key(section, name);
	const char *at = (const char *)reading->config + keys[i].offset;

	return at[0] != '\0' || (reading->given[i] && !reading->taken[i]);
}

static int
line_of(const struct reading *reading, const char *section, const char *name)
{
	return reading->config->line_of[find_key(section, name)];
}

static void
check_credentials(struct reading *reading)
{
	int line = line_of(reading, "upstream", "auth");
	bool has_file = is_set(reading, "upstream", "token_file");
	bool has_command = is_set(reading, "upstream", "token_command");

	if (reading->config->upstream.auth == PX_AUTH_BEARER && !has_file && !has_command)
		mistake(reading, line, "[upstream] auth: bearer needs token_file or token_command");
	if (reading->config->upstream.auth == PX_AUTH_BEARER && has_file && has_command)
		mistake(reading, line_of(reading, "upstream", "token_command"),
		    "[upstream] token_command: token_file is given too, and only one can count");
	if (reading->config->upstream.auth == PX_AUTH_BASIC && !is_set(reading, "upstream", "user"))
		mistake(reading, line, "[upstream] auth: basic needs user");
	if (reading->config->upstream.auth == PX_AUTH_BASIC && !is_set(reading, "upstream", "password_file"))
		mistake(reading, line, "[upstream] auth: basic needs password_file");
}

/* ${small} must not be more than ${large}; as a default it comes down to it. */
static void
check_order(struct reading *reading, size_t small, size_t large)
{
	char *at = (char *)reading->config + keys[small].offset;
	char out[32];
	int64_t value;
	int64_t limit;

	memcpy(&value, at, sizeof(value));
	memcpy(&limit, (const char *)reading->config + keys[large].offset, sizeof(limit));
	if (value <= limit)
		return;
	if (reading->taken[small])
		mistake(reading, reading->config->line_of[small], "[%s] %s: it is longer than [%s] %s, %s", keys[small].section,
		    keys[small].name, keys[large].section, keys[large].name,
		    print_value(reading->config, &keys[large], out, sizeof(out)));
	else
		memcpy(at, &limit, sizeof(limit));
}

static void
check_together(struct reading *reading)
{
	static const char *const sections[] = { "snapshot", "upstream" };
	const struct px_config *config = reading->config;
	const char *const urls[] = { config->snapshot.url, config->upstream.url };
	struct px_err err;

	for (size_t i = 0; i < sizeof(urls) / sizeof(urls[0]); i++)
		if (urls[i][0] != '\0' && px_config_check_url(urls[i], config->upstream.allow_http, &err) == -1)
			mistake(reading, line_of(reading, sections[i], "url"), "[%s] url: %s", sections[i], err.text);
	check_credentials(reading);
	check_order(reading, find_key("retry", "initial"), find_key("retry", "max"));
	check_order(reading, find_key("schedule", "splay"), find_key("snapshot", "interval"));
}

/* Reads ${file} into ${content} and tells its name in ${config}. 0 with an empty name when it may be absent and is. */
static int
load(struct px_config *config, const char *file, struct px_buf *content, struct px_err *err)
{
	const char *path = file != NULL ? file : PX_CONFIG_DEFAULT_FILE;

	config->file[0] = '\0';
	if (strlen(path) >= sizeof(config->file))
		return px_err_set(err, PX_CONFIG, "the configuration's path is longer than %zu bytes", sizeof(config->file) - 1);
	if (read_file(path, content, err) == 0)
		memcpy(config->file, path, strlen(path) + 1);
	else if (file != NULL || err->code != PX_ABSENT)
		return -1;
	return 0;
}

int
px_config_read(struct px_config *config, const char *file, enum px_config_scope scope, struct px_problems *problems,
    bool *path_is_valid, struct px_err *err)
{
	struct px_buf content = PX_BUF(FILE_MAX);
	struct reading reading = { .config = config, .problems = problems, .err = err };
	size_t spool_path = find_key("spool", "path");

	*path_is_valid = false;
	if (load(config, file, &content, err) == -1) {
		err->code = PX_CONFIG;
		px_problems_add(problems, "%s", err->text);
		px_buf_clear(&content);
		return -1;
	}
	(void)show(reading.name, sizeof(reading.name), px_slice(config->file), strlen(config->file));
	reading.rest = (struct px_slice){ px_buf_text(&content), content.len };
	skip_byte_order_mark(&reading.rest);
	if (ini_parse_stream(read_line, &reading, take_key, &reading) != 0)
		mistake(&reading, 0, "not to be read as INI");
	if (scope == PX_CONFIG_ALL)
		check_together(&reading);
	px_buf_clear(&content);
	*path_is_valid = reading.taken[spool_path] || !(reading.given[spool_path] || reading.is_hidden);
	return reading.mistakes == 0 ? 0 : -1;
}

/* What an identity file says, "" where it does not. */
struct identity {
	char id[PX_CONFIG_TEXT_MAX];
	char host[PX_CONFIG_TEXT_MAX];
};

/* The value of a flat line, without its quotes; without them a '#' behind a blank begins a comment (YAML 1.2, 6.6). */
static struct px_slice
unquote(struct px_slice text)
{
	const char *end = NULL;

	if (text.len > 0 && (text.ptr[0] == '"' || text.ptr[0] == '\''))
		end = memchr(text.ptr + 1, text.ptr[0], text.len - 1);
	if (end != NULL)
		return (struct px_slice){ text.ptr + 1, (size_t)(end - text.ptr) - 1 };
	for (size_t i = 0; i < text.len; i++)
		if (text.ptr[i] == '#' && (i == 0 || is_space(text.ptr[i - 1])))
			return trim((struct px_slice){ text.ptr, i });
	return text;
}

/* Of a key that comes twice the first counts. */
static int
parse_identity(struct identity *identity, struct px_slice content, const char *path, struct px_err *err)
{
	struct px_slice line;

	skip_byte_order_mark(&content);
	while (next_line(&content, &line)) {
		const char *colon = line.len > 0 ? memchr(line.ptr, ':', line.len) : NULL;
		struct px_slice key = line;
		struct px_slice value;
		char *to;

		if (colon == NULL)
			continue;
		key.len = (size_t)(colon - line.ptr);
		value = unquote(trim(skip(line, key.len + 1)));
		while (key.len > 0 && is_space(key.ptr[key.len - 1]))
			key.len--;
		to = px_slice_is(key, "id") ? identity->id : px_slice_is(key, "host") ? identity->host : NULL;
		if (to == NULL || to[0] != '\0')
			continue;
		if (value.len >= PX_CONFIG_TEXT_MAX || !is_plain(value))
			return px_err_set(err, PX_CONFIG, "'%s': %.*s is too long, not UTF-8, or has a control character", path,
			    (int)key.len, key.ptr);
		memcpy(to, value.ptr, value.len);
	}
	return 0;
}

/* The identity file in force, its name in ${path}; that is "" when there is none. */
static int
read_identity(struct identity *identity, const struct px_config *config, const char **path, struct px_err *err)
{
	bool is_configured = config->device.identity_file[0] != '\0';
	struct px_buf content = PX_BUF(FILE_MAX);
	int rc;

	*path = is_configured ? config->device.identity_file : IDENTITY_FILE;
	rc = read_file(*path, &content, err);
	if (rc == 0) {
		rc = parse_identity(identity, (struct px_slice){ px_buf_text(&content), content.len }, *path, err);
	} else if (err->code == PX_ABSENT && !is_configured) {
		*path = "";
		rc = 0;
	} else {
		err->code = PX_CONFIG;
		(void)px_err_prefix(err, "[device] identity_file");
	}
	px_buf_clear(&content);
	return rc;
}

/* "" when there is none, or none yet: machine-id(5) has it "uninitialized" early in a first boot. */
static void
read_machine_id(char out[PX_CONFIG_TEXT_MAX])
{
	struct px_buf content = PX_BUF(FILE_MAX);
	struct px_slice id = { "", 0 };
	struct px_err err;

	if (read_file(MACHINE_ID_FILE, &content, &err) == 0)
		id = trim((struct px_slice){ px_buf_text(&content), content.len });
	if (id.len >= PX_CONFIG_TEXT_MAX || px_slice_is(id, "uninitialized") || !is_plain(id))
		id.len = 0;
	memcpy(out, id.ptr, id.len);
	out[id.len] = '\0';
	px_buf_clear(&content);
}

/* FNV-1a, 64 bits: not to hide anything, to tell one machine from another. */
static uint64_t
hash(const char *text)
{
	uint64_t value = UINT64_C(0xcbf29ce484222325);

	for (; *text != '\0'; text++)
		value = (value ^ (unsigned char)*text) * UINT64_C(0x100000001b3);
	return value;
}

/* Copies ${value}, and where it came from: ${path}, or that line of the configuration when ${line} is not 0. */
static void
take_fact(char out[PX_CONFIG_TEXT_MAX], const char *value, char origin[PX_CONFIG_ORIGIN_MAX], const char *path, int line)
{
	(void)snprintf(out, PX_CONFIG_TEXT_MAX, "%s", value);
	if (line > 0)
		(void)snprintf(origin, PX_CONFIG_ORIGIN_MAX, "%s:%d", path, line);
	else
		(void)snprintf(origin, PX_CONFIG_ORIGIN_MAX, "%s", path);
}

int
px_config_device(const struct px_config *config, const char *host_name, struct px_device *out, struct px_err *err)
{
	struct identity identity = { .id = "" };
	char machine_id[PX_CONFIG_TEXT_MAX];
	const char *identity_path = "";
	bool has_id = config->device.id[0] != '\0';
	bool has_url = config->upstream.url[0] != '\0';

	memset(out, 0, sizeof(*out));
	read_machine_id(machine_id);
	if (machine_id[0] != '\0')
		(void)snprintf(out->machine_hash, sizeof(out->machine_hash), "%016" PRIx64, hash(machine_id));
	(void)snprintf(out->name, sizeof(out->name), "%s", config->device.name[0] != '\0' ? config->device.name : host_name);
	if (has_id)
		take_fact(out->id, config->device.id, out->id_origin, config->file, config->line_of[find_key("device", "id")]);
	if (has_url)
		take_fact(out->url, config->upstream.url, out->url_origin, config->file,
		    config->line_of[find_key("upstream", "url")]);
	/* One that is named has to be there, whether it is needed or not. */
	if ((!has_id || !has_url || config->device.identity_file[0] != '\0') &&
	    read_identity(&identity, config, &identity_path, err) == -1)
		return -1;
	if (!has_id && identity.id[0] != '\0')
		take_fact(out->id, identity.id, out->id_origin, identity_path, 0);
	else if (!has_id && machine_id[0] != '\0')
		take_fact(out->id, machine_id, out->id_origin, MACHINE_ID_FILE, 0);
	if (out->id[0] == '\0')
		return px_err_set(err, PX_CONFIG, "this device has no id: neither [device] id, nor an identity file with one, nor '"
		    MACHINE_ID_FILE "'");
	if (has_url || identity.host[0] == '\0' || strcasecmp(identity.host, "NONE") == 0)
		return 0;
	if (px_config_check_url(identity.host, config->upstream.allow_http, err) == -1)
		return px_err_prefix(err, "'%s': host", identity_path);
	take_fact(out->url, identity.host, out->url_origin, identity_path, 0);
	return 0;
}
