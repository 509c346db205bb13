/* SPDX-License-Identifier: MIT */
/*
 * The configuration: INI by inih, read strictly by one table of keys, types, ranges and defaults (px-status.conf(5)).
 * Reading goes on after a mistake, so that what could be read stands. No secret is kept here, only names of files.
 */
#ifndef PX_CONFIG_H
#define PX_CONFIG_H

#include <stdbool.h>
#include <stdint.h>

#include "buf.h"
#include "err.h"

/* Where the Makefile's SYSCONFDIR and LOCALSTATEDIR are. */
#ifndef PX_SYSCONFDIR
#define PX_SYSCONFDIR "/etc"
#endif
#ifndef PX_LOCALSTATEDIR
#define PX_LOCALSTATEDIR "/var"
#endif

#define PX_CONFIG_DEFAULT_FILE PX_SYSCONFDIR "/px-status/px-status.conf"
#define PX_CONFIG_DEFAULT_SPOOL PX_LOCALSTATEDIR "/lib/px-status/spool.db"
#define PX_CONFIG_TEXT_MAX 1024
#define PX_CONFIG_ORIGIN_MAX (PX_CONFIG_TEXT_MAX + 16)	/* with a line's number */

enum px_source { PX_SOURCE_AUTO, PX_SOURCE_COMMAND, PX_SOURCE_SOCKET, PX_SOURCE_HTTP };
enum px_auth { PX_AUTH_NONE, PX_AUTH_BEARER, PX_AUTH_BASIC };
enum px_compression { PX_COMPRESSION_GZIP, PX_COMPRESSION_NONE };

#define PX_CONFIG_KEYS_MAX 64

/* Texts are "" where nothing is set; they stand in the struct itself, which must stay where it is. */
struct px_config {
	struct {
		const char *id;
		const char *name;
		const char *identity_file;
	} device;
	struct {
		const char *path;
		int64_t max_items;
		int64_t max_bytes;
	} spool;
	struct {
		bool enabled;
		int64_t interval_ms;
		int source;			/* enum px_source */
		const char *command;
		const char *socket;
		const char *url;
		const char *user;
		const char *password_file;
		int64_t timeout_ms;
	} snapshot;
	struct {
		const char *url;
		const char *path;
		int auth;			/* enum px_auth */
		const char *token_file;
		const char *token_command;
		const char *user;
		const char *password_file;
		const char *ca_file;
		const char *client_cert;
		const char *client_key;
		const char *pinned_public_key;
		const char *proxy;
		const char *proxy_user;
		const char *proxy_password_file;
		int64_t timeout_ms;
		int64_t connect_timeout_ms;
		int compression;		/* enum px_compression */
		bool allow_http;
	} upstream;
	struct {
		int64_t max_items;
		int64_t max_bytes;
	} batch;
	struct {
		int64_t initial_ms;
		int64_t max_ms;
	} retry;
	struct {
		int64_t splay_ms;
	} schedule;

	const char *file;			/* the caller's: what was read; "" when the default one is not there */
	int line_of[PX_CONFIG_KEYS_MAX];	/* by key: its line in ${file}; 0: the default */

	/* What stands in the file, one text behind another. A recorder is quick because it touches little of this. */
	size_t texts_len;
	char texts[PX_CONFIG_KEYS_MAX * PX_CONFIG_TEXT_MAX];
};

/* Every key at its default. */
void px_config_init(struct px_config *config);

/*
 * Reads ${file}, or where it is NULL the default file, which may be absent. Each mistake is added to ${problems} as
 * "FILE:LINE: [section] key: what is wrong" (values only where they can't be secrets). Returns 0 when there was none,
 * else -1 with PX_CONFIG and the first of them. After -1 what could be read stands in ${config}, the rest at its default;
 * ${path_is_valid} tells whether the file, as far as it could be read, allows [spool] path to be trusted: false when the
 * file could not be read or names an invalid path.
 */
int px_config_read(struct px_config *config, const char *file, struct px_problems *problems, bool *path_is_valid,
    struct px_err *err) PX_MUST_CHECK;

/* Who this device is and where it reports to. Texts are valid UTF-8. */
struct px_device {
	char id[PX_CONFIG_TEXT_MAX];
	char name[PX_CONFIG_TEXT_MAX];
	char url[PX_CONFIG_TEXT_MAX];		/* "" while the device is not enrolled */
	char id_origin[PX_CONFIG_ORIGIN_MAX];	/* "FILE:LINE", the identity file's name, or "/etc/machine-id" */
	char url_origin[PX_CONFIG_ORIGIN_MAX];
	char machine_hash[17];			/* of /etc/machine-id (FNV-1a, 64 bits, hexadecimal); "" without one */
};

/*
 * Device id, name and URL as px-status.conf(5) says: configuration, else identity file (flat "key: value" lines, quotes
 * taken off; host "NONE" is none), else /etc/machine-id and ${host_name}. The URL is checked like a configured one.
 * -1 with PX_CONFIG when there is no id at all, the identity file can't be read, or its URL is not valid.
 */
int px_config_device(const struct px_config *config, const char *host_name, struct px_device *out, struct px_err *err)
    PX_MUST_CHECK;

/*
 * Checks a URL for [upstream] url: http or https, a host, no credentials, no query or fragment, http only for a loopback
 * host (localhost, 127.0.0.0/8, ::1) unless ${allow_http}. -1 with PX_CONFIG and what is wrong, without the URL.
 */
int px_config_check_url(const char *url, bool allow_http, struct px_err *err) PX_MUST_CHECK;

/* Joins ${url} and ${path} with one slash into ${out}. -1 with PX_CONFIG when it is too long. */
int px_config_join_url(const char *url, const char *path, char *out, size_t size, struct px_err *err) PX_MUST_CHECK;

/* Calls ${each} for every key, in the order of px-status.conf(5), its value as the file would have it. */
typedef void px_config_each_fn(void *arg, const char *section, const char *key, const char *value, int line);
void px_config_each(const struct px_config *config, px_config_each_fn *each, void *arg);

#endif
