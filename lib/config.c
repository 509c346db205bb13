/* SPDX-License-Identifier: MIT */
/* Reading the file: by inih, and strictly. */
#include "config.h"

#include <ini.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "config_parts.h"

#define LINE_MAX_BYTES 1023
#define NAME_SHOWN 40
#define FILE_SHOWN_MIN ((size_t)64)	/* of the file's name and the line */
#define LINE_SHOWN_MAX ((size_t)12)

/* Of a name in the file, fit to be shown. */
#define SHOWN_MAX (CONFIG_ESCAPED_MAX * NAME_SHOWN + sizeof("..."))
#define UNKNOWN "?"

/* A configuration on its way through inih, which gets the names only and of these UNKNOWN for those that we don't have. */
struct reading {
	struct px_config *config;
	struct px_problems *problems;
	struct px_err *err;
	char name[PX_CONFIG_TEXT_MAX];		/* the file's, fit to be shown */
	struct px_slice rest;
	int line;				/* the one that inih has now */
	struct px_slice section;		/* as the file has it; "" before the first */
	struct px_slice key;			/* the same of that line's key */
	struct px_slice value;			/* of that line */
	const char *refused;			/* why that value does not count; NULL: it does */
	struct px_slice last_key;
	size_t mistakes;
	bool is_hidden;				/* something could not be read: any key may have been in it */
	bool given[PX_CONFIG_KEYS_MAX];
	bool taken[PX_CONFIG_KEYS_MAX];
};

/* Writes the file's name, of a long one the end, and the line. */
static void
tell_where(const struct reading *reading, int line, char *out, size_t size)
{
	const char *name = reading->name;
	size_t len = strlen(name);
	bool is_long = len + LINE_SHOWN_MAX >= size;

	if (is_long)
		name += len + LINE_SHOWN_MAX + 4 - size;
	while (is_long && ((unsigned char)*name & 0xc0) == 0x80)	/* from the middle of a character */
		name++;
	if (line > 0)
		(void)snprintf(out, size, "%s%s:%d", is_long ? "..." : "", name, line);
	else
		(void)snprintf(out, size, "%s%s", is_long ? "..." : "", name);
}

/* Where there is no room for all of it, it is the name that is shortened. */
static PX_PRINTF(3, 4) void
mistake(struct reading *reading, int line, const char *format, ...)
{
	char what[PX_ERR_MAX];
	char where[PX_PROBLEM_MAX];
	va_list args;
	size_t len;

	va_start(args, format);
	(void)vsnprintf(what, sizeof(what), format, args);
	va_end(args);
	len = strlen(what) + strlen(": ");
	tell_where(reading, line, where, len + FILE_SHOWN_MIN < sizeof(where) ? sizeof(where) - len : FILE_SHOWN_MIN);
	if (reading->mistakes++ == 0)
		(void)px_err_set(reading->err, PX_CONFIG, "%s: %s", where, what);
	px_problems_add(reading->problems, "%s: %s", where, what);
}

static const char *
show_name(char out[SHOWN_MAX], struct px_slice name)
{
	return px_config_show(out, SHOWN_MAX, name, NAME_SHOWN);
}

/* Why what stands in ${line} does not count, NULL when it does: inih itself would cut or join it silently. */
static const char *
refuse_line(struct px_slice line)
{
	if (line.len > LINE_MAX_BYTES)
		return "the line is longer than 1023 bytes";
	if (memchr(line.ptr, '\0', line.len) != NULL)
		return "a NUL byte in the line";
	if (px_config_is_space(line.ptr[0]))
		return "the line is indented";
	for (size_t i = 1; i < line.len; i++)
		if (line.ptr[i] == ';' && px_config_is_space(line.ptr[i - 1]))
			return "' ;' in the line: a comment needs a line of its own";
	return NULL;
}

/* The section of ours that is called ${name}, else UNKNOWN; the key likewise. */
static const char *
section_name(struct px_slice name)
{
	for (size_t i = 0; i < px_config_key_count; i++)
		if (px_slice_is(name, px_config_keys[i].section))
			return px_config_keys[i].section;
	return UNKNOWN;
}

static const char *
key_name(struct px_slice name)
{
	for (size_t i = 0; i < px_config_key_count; i++)
		if (px_slice_is(name, px_config_keys[i].name))
			return px_config_keys[i].name;
	return UNKNOWN;
}

/* Writes the header ${text} for inih. A broken one ends the section before it all the same. */
static void
write_header(struct reading *reading, struct px_slice text, char *out, size_t size)
{
	const char *end = memchr(text.ptr, ']', text.len);
	struct px_slice name = px_slice_behind(text, 1);
	char shown[SHOWN_MAX];
	const char *known;

	if (end == text.ptr + text.len - 1)
		name.len--;
	known = end == text.ptr + text.len - 1 ? section_name(name) : UNKNOWN;
	reading->section = name;
	if (reading->refused != NULL)
		mistake(reading, reading->line, "[%s]: %s", show_name(shown, name), reading->refused);
	else if (end != text.ptr + text.len - 1)
		mistake(reading, reading->line, "[%s: not of the form [section]", show_name(shown, name));
	else if (strcmp(known, UNKNOWN) == 0)
		mistake(reading, reading->line, "[%s]: unknown section", show_name(shown, name));
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
	key = px_config_trim(key);
	if (key.len > 0 && len < text.len) {
		reading->value = px_config_trim(px_slice_behind(text, len + 1));
		reading->last_key = key;
	} else if (reading->refused != NULL && reading->last_key.len > 0) {
		key = reading->last_key;	/* what was meant to go on with it */
	} else {
		mistake(reading, reading->line, "%s", reading->refused != NULL ? reading->refused : "neither [section] nor key = value");
		reading->is_hidden = true;
		return false;
	}
	reading->key = key;
	(void)snprintf(out, size, "%s=\n", key_name(key));
	return true;
}

/* An ini_reader: one line with something in it, as inih may have it. */
static char *
read_line(char *out, int size, void *arg)
{
	struct reading *reading = arg;
	struct px_slice line;

	while (px_config_next_line(&reading->rest, &line)) {
		struct px_slice text = px_config_trim(line);

		reading->line++;
		if (text.len == 0 && line.len <= LINE_MAX_BYTES)
			continue;
		reading->refused = refuse_line(line);
		if (text.len == 0 || text.ptr[0] == ';' || text.ptr[0] == '#') {
			/* A comment may have a ' ;' in it, and nothing else of the kind. */
			if (line.len > LINE_MAX_BYTES || px_config_is_space(line.ptr[0]))
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

/* An ini_handler; 1: go on. */
static int
take_key(void *arg, const char *section, const char *name, const char *value)
{
	struct reading *reading = arg;
	size_t i = px_config_find_key(section, name);
	struct px_err err = { .code = PX_OK };
	const char *wrong = NULL;
	char shown[2][SHOWN_MAX];

	(void)value;	/* not the whole of it, see struct reading */
	if (section[0] == '\0')
		wrong = "before the first section";
	else if (strcmp(section, UNKNOWN) == 0)
		wrong = "in an unknown section";
	else if (i == px_config_key_count)
		wrong = reading->refused != NULL ? reading->refused : "unknown key";
	if (wrong != NULL) {
		mistake(reading, reading->line, "%s%s%s%s: %s", section[0] != '\0' ? "[" : "", show_name(shown[0], reading->section),
		    section[0] != '\0' ? "] " : "", show_name(shown[1], reading->key), wrong);
		reading->is_hidden = true;
		return 1;
	}
	if (reading->refused != NULL)
		mistake(reading, reading->line, "[%s] %s: %s", section, name, reading->refused);
	else if (reading->given[i])
		mistake(reading, reading->line, "[%s] %s: given twice", section, name);
	/* Of a key that is given twice the first value that is valid counts. */
	if (reading->refused == NULL && !reading->taken[i]) {
		reading->taken[i] = px_config_set(reading->config, &px_config_keys[i], reading->value, &err) == 0;
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
	size_t i = px_config_find_key(section, name);
	char out[32];

	return px_config_print(reading->config, &px_config_keys[i], out, sizeof(out))[0] != '\0' ||
	    (reading->given[i] && !reading->taken[i]);
}

static int
line_of(const struct reading *reading, const char *section, const char *name)
{
	return reading->config->line_of[px_config_find_key(section, name)];
}

static void
check_bearer(struct reading *reading)
{
	bool has_file = is_set(reading, "upstream", "token_file");
	bool has_command = is_set(reading, "upstream", "token_command");

	if (!has_file && !has_command)
		mistake(reading, line_of(reading, "upstream", "auth"), "[upstream] auth: bearer needs token_file or token_command");
	if (has_file && has_command)
		mistake(reading, line_of(reading, "upstream", "token_command"),
		    "[upstream] token_command: token_file is given too, and only one can count");
}

static void
check_basic(struct reading *reading)
{
	static const char *const needed[] = { "user", "password_file" };

	for (size_t i = 0; i < sizeof(needed) / sizeof(needed[0]); i++)
		if (!is_set(reading, "upstream", needed[i]))
			mistake(reading, line_of(reading, "upstream", "auth"), "[upstream] auth: basic needs %s", needed[i]);
}

/* ${small} must not be more than ${large}; as a default it comes down to it. */
static void
check_order(struct reading *reading, size_t small, size_t large)
{
	char *at = (char *)reading->config + px_config_keys[small].offset;
	char out[32];
	int64_t value;
	int64_t limit;

	memcpy(&value, at, sizeof(value));
	memcpy(&limit, (const char *)reading->config + px_config_keys[large].offset, sizeof(limit));
	if (value <= limit)
		return;
	if (reading->taken[small])
		mistake(reading, reading->config->line_of[small], "[%s] %s: it is longer than [%s] %s, %s", px_config_keys[small].section,
		    px_config_keys[small].name, px_config_keys[large].section, px_config_keys[large].name,
		    px_config_print(reading->config, &px_config_keys[large], out, sizeof(out)));
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
	if (config->upstream.auth == PX_AUTH_BEARER)
		check_bearer(reading);
	if (config->upstream.auth == PX_AUTH_BASIC)
		check_basic(reading);
	check_order(reading, px_config_find_key("retry", "initial"), px_config_find_key("retry", "max"));
	check_order(reading, px_config_find_key("schedule", "splay"), px_config_find_key("snapshot", "interval"));
}

/* Reads ${file} into ${content} and tells its name in ${config}. 0 with an empty name when it may be absent and is. */
static int
load(struct px_config *config, const char *file, struct px_buf *content, struct px_err *err)
{
	const char *path = file != NULL ? file : PX_CONFIG_DEFAULT_FILE;

	config->file = "";
	if (strlen(path) >= PX_CONFIG_TEXT_MAX)
		return px_err_set(err, PX_CONFIG, "the configuration's path is longer than %d bytes", PX_CONFIG_TEXT_MAX - 1);
	if (px_config_read_file(path, content, err) == 0)
		config->file = path;
	else if (file != NULL || err->code != PX_ABSENT)
		return -1;
	return 0;
}

int
px_config_read(struct px_config *config, const char *file, struct px_problems *problems, bool *path_is_valid,
    struct px_err *err)
{
	struct px_buf content = PX_BUF(CONFIG_FILE_MAX);
	struct reading reading = { .config = config, .problems = problems, .err = err, .section = { "", 0 } };
	size_t spool_path = px_config_find_key("spool", "path");

	*path_is_valid = false;
	if (load(config, file, &content, err) == -1) {
		err->code = PX_CONFIG;
		px_problems_add(problems, "%s", err->text);
		px_buf_clear(&content);
		return -1;
	}
	(void)px_config_show(reading.name, sizeof(reading.name), px_slice(config->file), strlen(config->file));
	reading.rest = (struct px_slice){ px_buf_text(&content), content.len };
	px_config_skip_mark(&reading.rest);
	if (ini_parse_stream(read_line, &reading, take_key, &reading) != 0)
		mistake(&reading, 0, "not to be read as INI");
	check_together(&reading);
	px_buf_clear(&content);
	*path_is_valid = reading.taken[spool_path] || !(reading.given[spool_path] || reading.is_hidden);
	return reading.mistakes == 0 ? 0 : -1;
}
