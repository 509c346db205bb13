/* SPDX-License-Identifier: MIT */
/* Private to the configuration's sources: its keys, the words of its files, and URLs. Everything else includes config.h. */
#ifndef PX_CONFIG_PARTS_H
#define PX_CONFIG_PARTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "config.h"
#include "text.h"

#define CONFIG_FILE_MAX (1 << 20)
#define CONFIG_ESCAPED_MAX ((size_t)4)	/* bytes that one becomes at most when it is escaped */

enum config_type {
	TYPE_TEXT,
	TYPE_FILE,		/* an absolute path */
	TYPE_COMMAND,
	TYPE_URL,
	TYPE_URL_PATH,
	TYPE_PROXY,
	TYPE_PINS,		/* the last of those that are kept as text */
	TYPE_NUMBER,
	TYPE_SIZE,
	TYPE_DURATION,
	TYPE_YES_NO,
	TYPE_CHOICE
};

/* ${min} and ${max} are for numbers, in bytes or milliseconds; ${max} of a text is its length, 0: as long as a line. */
struct config_key {
	const char *section;
	const char *name;
	enum config_type type;
	size_t offset;
	const char *preset;
	int64_t min;
	int64_t max;
	const char *const *choices;
};

/* config_keys.c: the table, in the order of px-status.conf(5). */
extern const struct config_key px_config_keys[];
extern const size_t px_config_key_count;

/* The place of a key in the table; px_config_key_count when there is none. */
size_t px_config_find_key(const char *section, const char *name);

/* Sets ${key} in ${config}, or leaves it and says why not; only what can't be a secret is shown. */
int px_config_set(struct px_config *config, const struct config_key *key, struct px_slice value, struct px_err *err)
    PX_MUST_CHECK;

/* ${key}'s value as the file would have it, in ${out} or in ${config} itself. */
const char *px_config_print(const struct px_config *config, const struct config_key *key, char *out, size_t size);

/* config_text.c: files and what stands in them. */
int px_config_read_file(const char *path, struct px_buf *out, struct px_err *err) PX_MUST_CHECK;
bool px_config_next_line(struct px_slice *rest, struct px_slice *line);
void px_config_skip_mark(struct px_slice *text);
bool px_config_is_space(char byte);
struct px_slice px_config_trim(struct px_slice text);

/* Valid UTF-8 without control characters. */
bool px_config_is_plain(struct px_slice text);

/* The start of ${text}, at most ${max} bytes of it, for a message, on one line. */
const char *px_config_show(char *out, size_t size, struct px_slice text, size_t max);

/* config_url.c: -1 with what is wrong, without the URL, in which there may be a password. */
int px_config_check_url_slice(struct px_slice text, bool allow_http, struct px_err *err) PX_MUST_CHECK;
int px_config_check_url_path(struct px_slice text, struct px_err *err) PX_MUST_CHECK;
int px_config_check_proxy(struct px_slice text, struct px_err *err) PX_MUST_CHECK;
int px_config_check_pins(struct px_slice text, struct px_err *err) PX_MUST_CHECK;

#endif
