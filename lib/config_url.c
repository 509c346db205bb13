/* SPDX-License-Identifier: MIT */
/* URLs (RFC 3986): which ones may be configured. */
#include "config_parts.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

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
	authority = px_slice_behind(text, url->scheme.len + strlen("://"));
	while (len < authority.len && strchr("/?#", authority.ptr[len]) == NULL)
		len++;
	url->rest = px_slice_behind(authority, len);
	authority.len = len;
	/* A password with a slash in it would end the authority before its '@'. */
	if (memchr(authority.ptr, '@', authority.len) != NULL || memchr(url->rest.ptr, '@', url->rest.len) != NULL)
		return px_err_set(err, PX_CONFIG, "a URL may not contain user or password (or any '@')");
	url->is_ipv6 = authority.len > 0 && authority.ptr[0] == '[';
	url->host = url->is_ipv6 ? px_slice_behind(authority, 1) : authority;
	for (len = 0; len < url->host.len && url->host.ptr[len] != (url->is_ipv6 ? ']' : ':'); len++)
		continue;
	if (url->is_ipv6 && len == url->host.len)
		return px_err_set(err, PX_CONFIG, "not a host name or address");
	authority = px_slice_behind(url->host, len + (url->is_ipv6 ? 1 : 0));
	url->host.len = len;
	if (!is_host(url))
		return px_err_set(err, PX_CONFIG, "not a host name or address");
	if (authority.len > 0 &&
	    (authority.ptr[0] != ':' || px_text_to_int64(px_slice_behind(authority, 1), 1, 65535, &port) == -1))
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

int
px_config_check_url_slice(struct px_slice text, bool allow_http, struct px_err *err)
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
	return px_config_check_url_slice(px_slice(url), allow_http, err);
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

int
px_config_check_url_path(struct px_slice text, struct px_err *err)
{
	for (size_t i = 0; i < text.len; i++)
		if (text.ptr[i] <= ' ' || text.ptr[i] > '~' || text.ptr[i] == '#' || text.ptr[i] == '\\')
			return px_err_set(err, PX_CONFIG, "a character that no URL's path may have");
	return 0;
}

int
px_config_check_proxy(struct px_slice text, struct px_err *err)
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
int
px_config_check_pins(struct px_slice text, struct px_err *err)
{
	const size_t digits = 43;
	const size_t pin = strlen("sha256//") + digits + 1;
	bool valid = true;

	while (valid) {
		valid = text.len >= pin && px_slice_begins_with(text, "sha256//") && text.ptr[pin - 1] == '=';
		for (size_t i = strlen("sha256//"); valid && i < pin - 1; i++)
			valid = is_one_of(text.ptr[i], "+/");
		if (valid && text.len == pin)
			return 0;
		valid = valid && text.ptr[pin] == ';';
		if (valid)
			text = px_slice_behind(text, pin + 1);
	}
	return px_err_set(err, PX_CONFIG, "not of the form sha256//BASE64[;sha256//BASE64...]");
}
