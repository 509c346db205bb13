/* SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "config.h"

#define COUNT(rows) (sizeof(rows) / sizeof((rows)[0]))
#define PIN "sha256//AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="

static char folder[64];
static char file[96];
static char identity_file[96];

static struct px_config config;
static struct px_problems problems;
static struct px_err err;
static bool path_is_valid;

static void
write_file(const char *path, const void *bytes, size_t len)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

	assert_true(fd >= 0);
	assert_int_equal(write(fd, bytes, len), (ssize_t)len);
	assert_int_equal(close(fd), 0);
}

static int
read_bytes(const void *bytes, size_t len)
{
	write_file(file, bytes, len);
	memset(&problems, 0, sizeof(problems));
	memset(&err, 0, sizeof(err));
	px_config_init(&config);
	return px_config_read(&config, file, &problems, &path_is_valid, &err);
}

static int
read_text(const char *text)
{
	return read_bytes(text, strlen(text));
}

/* What px_config_each tells of one key. */
struct wanted {
	const char *section;
	const char *key;
	char value[PX_CONFIG_TEXT_MAX];
	int line;
	size_t found;
};

static void
look(void *arg, const char *section, const char *key, const char *value, int line)
{
	struct wanted *wanted = arg;

	if (strcmp(section, wanted->section) != 0 || strcmp(key, wanted->key) != 0)
		return;
	(void)snprintf(wanted->value, sizeof(wanted->value), "%s", value);
	wanted->line = line;
	wanted->found++;
}

static struct wanted
value_of(const char *section, const char *key)
{
	struct wanted wanted = { .section = section, .key = key };

	px_config_each(&config, look, &wanted);
	if (wanted.found != 1)
		fail_msg("[%s] %s is told %zu times", section, key, wanted.found);
	return wanted;
}

/* A key, its default, and another value as the file may have it and as px_config_each writes it. */
static const struct {
	const char *section;
	const char *key;
	const char *preset;
	const char *value;
	const char *told;
} keys[] = {
	{ "device", "id", "", "d-1", "d-1" },
	{ "device", "name", "", "Pump im Käfig", "Pump im Käfig" },
	{ "device", "identity_file", "", "/x/y.yml", "/x/y.yml" },
	{ "spool", "path", "/var/lib/px-status/spool.db", "/x/s.db", "/x/s.db" },
	{ "spool", "max_items", "100000", "10000000", "10000000" },
	{ "spool", "max_bytes", "256M", "1048576", "1M" },
	{ "snapshot", "enabled", "yes", "off", "no" },
	{ "snapshot", "interval", "5m", "3600s", "1h" },
	{ "snapshot", "source", "auto", "http", "http" },
	{ "snapshot", "command", "monit -B status", "/x/monit 'a b' status", "/x/monit 'a b' status" },
	{ "snapshot", "socket", "/run/monit.sock", "/x/m.sock", "/x/m.sock" },
	{ "snapshot", "url", "http://127.0.0.1:2812", "http://localhost:1", "http://localhost:1" },
	{ "snapshot", "user", "", "u", "u" },
	{ "snapshot", "password_file", "", "/x/p", "/x/p" },
	{ "snapshot", "timeout", "10s", "90s", "90s" },
	{ "upstream", "url", "", "https://h.example", "https://h.example" },
	{ "upstream", "path", "/api/v1/devices/stats", "/", "/" },
	{ "upstream", "auth", "none", "none", "none" },
	{ "upstream", "token_file", "", "/x/t", "/x/t" },
	{ "upstream", "token_command", "", "token --now", "token --now" },
	{ "upstream", "user", "", "u", "u" },
	{ "upstream", "password_file", "", "/x/p", "/x/p" },
	{ "upstream", "ca_file", "", "/x/ca", "/x/ca" },
	{ "upstream", "client_cert", "", "/x/c", "/x/c" },
	{ "upstream", "client_key", "", "/x/k", "/x/k" },
	{ "upstream", "pinned_public_key", "", PIN ";" PIN, PIN ";" PIN },
	{ "upstream", "proxy", "", "socks5h://h:1", "socks5h://h:1" },
	{ "upstream", "proxy_user", "", "u", "u" },
	{ "upstream", "proxy_password_file", "", "/x/p", "/x/p" },
	{ "upstream", "timeout", "30s", "2d", "2d" },
	{ "upstream", "connect_timeout", "10s", "24h", "1d" },
	{ "upstream", "compression", "gzip", "none", "none" },
	{ "upstream", "allow_http", "no", "1", "yes" },
	{ "batch", "max_items", "500", "1", "1" },
	{ "batch", "max_bytes", "1M", "128k", "128k" },
	{ "retry", "initial", "30s", "2s", "2s" },
	{ "retry", "max", "1h", "2h", "2h" },
	{ "schedule", "splay", "30s", "0s", "0s" },
};

static void
every_key_has_its_default(void **state)
{
	(void)state;
	px_config_init(&config);
	for (size_t i = 0; i < COUNT(keys); i++) {
		struct wanted wanted = value_of(keys[i].section, keys[i].key);

		if (strcmp(wanted.value, keys[i].preset) != 0 || wanted.line != 0)
			fail_msg("[%s] %s is '%s'", keys[i].section, keys[i].key, wanted.value);
	}
	assert_int_equal(config.snapshot.interval_ms, 300000);
	assert_int_equal(config.spool.max_bytes, 256 << 20);
}

static void
count_keys(void *arg, const char *section, const char *key, const char *value, int line)
{
	size_t *count = arg;

	(void)section, (void)key, (void)value, (void)line;
	++*count;
}

static void
there_is_no_other_key(void **state)
{
	size_t count = 0;

	(void)state;
	px_config_each(&config, count_keys, &count);
	assert_int_equal(count, COUNT(keys));
}

static void
every_key_can_be_set(void **state)
{
	(void)state;
	for (size_t i = 0; i < COUNT(keys); i++) {
		char text[512];
		struct wanted wanted;

		(void)snprintf(text, sizeof(text), "# a comment\n\n[%s]\n%s = %s\n", keys[i].section, keys[i].key, keys[i].value);
		(void)read_text(text);	/* some are of no use alone */
		wanted = value_of(keys[i].section, keys[i].key);
		if (strcmp(wanted.value, keys[i].told) != 0 || wanted.line != 4)
			fail_msg("%s became '%s', line %d", text, wanted.value, wanted.line);
	}
}

/* Valid files, whole ones. */
static const char *const valid[] = {
	"",
	"\n\n",
	"; a comment ; with more\n# another ; one\n[spool]\n",
	"\xef\xbb\xbf[spool]\npath = /x\n",
	"[spool]\r\npath = /x\r\n\r\n",
	"[spool]\npath=/x",
	"[spool]\npath = /x\n \t\n[spool]\nmax_items = 1",
	"[device]\nid =\nname =\n",
	"[device]\nid = a;b # c\n",
	"[spool]\nmax_bytes = 1T\nmax_items = 1\n",
	"[batch]\nmax_bytes = 64M\n",
	"[snapshot]\ninterval = 30d\ntimeout = 1s\n[schedule]\nsplay = 30d\n",
	"[snapshot]\ninterval = 1s\n",
	"[retry]\nmax = 1s\n",
	"[retry]\ninitial = 1h\n",
	"[upstream]\nauth = bearer\ntoken_file = /t\n",
	"[upstream]\nauth = bearer\ntoken_command = t\n",
	"[upstream]\nauth = basic\nuser = u\npassword_file = /p\n",
	"[upstream]\nclient_cert = /c\nclient_key = /k\n",
	"[upstream]\nclient_cert = /both\n",
	"[upstream]\npath = api\n",
	"[upstream]\nproxy = http://p:3128/\nproxy_user = u\nproxy_password_file = /p\n",
	"[upstream]\nurl = http://h.example\nallow_http = yes\n",
	"[upstream]\nurl = http://127.1.2.3:8080/x\n",
};

static void
valid_files_are_read(void **state)
{
	(void)state;
	for (size_t i = 0; i < COUNT(valid); i++) {
		if (read_text(valid[i]) == -1 || problems.count != 0 || !path_is_valid)
			fail_msg("%s: %s", valid[i], err.text);
		if (strcmp(config.file, file) != 0)
			fail_msg("%s: the file is '%s'", valid[i], config.file);
	}
}

/* Each has one mistake: its line and what is said behind it. */
static const struct {
	const char *text;
	int line;
	const char *said;
} mistakes[] = {
	{ "path = /x\n", 1, "path: before the first section" },
	{ "[spool]\nbogus = 1\n", 2, "[spool] bogus: unknown key" },
	{ "[spool]\nPath = /x\n", 2, "[spool] Path: unknown key" },
	{ "[retry]\npath = /x\n", 2, "[retry] path: unknown key" },
	{ "[spool]\nb\x01g\xff = 1\n", 2, "[spool] b\\x01g\xef\xbf\xbd: unknown key" },
	{ "[spool]\n?=1\n", 2, "[spool] ?: unknown key" },
	{ "[bogus]\n", 1, "[bogus]: unknown section" },
	{ "[?]\n", 1, "[?]: unknown section" },
	{ "[spool\n", 1, "[spool: not of the form [section]" },
	{ "[spool] x\n", 1, "[spool] x: not of the form [section]" },
	{ "[ spool ]\n", 1, "[ spool ]: unknown section" },
	{ "[]\n", 1, "[]: unknown section" },
	{ " [spool]\n", 1, "[spool]: the line is indented" },
	{ "[spool]\nnothing here\n", 2, "neither [section] nor key = value" },
	{ "[spool]\n= 1\n", 2, "neither [section] nor key = value" },
	{ "[spool]\n  # x\n", 2, "the line is indented" },
	{ "[spool]\n path = /x\n", 2, "[spool] path: the line is indented" },
	{ "[spool]\n\tpath = /x\n", 2, "[spool] path: the line is indented" },
	{ "[spool]\n\fpath = /x\n", 2, "[spool] path: the line is indented" },
	{ "[snapshot]\ncommand = monit\n  -B status\n", 3, "[snapshot] command: the line is indented" },
	{ "[snapshot]\ncommand = monit\n  --x=y\n", 3, "[snapshot] --x: the line is indented" },
	{ "[spool]\npath = /x ; y\n", 2, "[spool] path: ' ;' in the line: a comment needs a line of its own" },
	{ "[spool]\npath = /x\t;y\n", 2, "[spool] path: ' ;' in the line: a comment needs a line of its own" },
	{ "[spool]\npath = ;y\n", 2, "[spool] path: ' ;' in the line: a comment needs a line of its own" },
	{ "[spool]\npath = /x\nmax_items = 1\npath = /y\n", 4, "[spool] path: given twice" },
	{ "[spool]\npath = x\n", 2, "[spool] path: not the absolute path of a file" },
	{ "[spool]\npath = /x/\n", 2, "[spool] path: not the absolute path of a file" },
	{ "[spool]\npath =\n", 2, "[spool] path: no value" },
	{ "[spool]\npath = /\xff\n", 2, "[spool] path: not UTF-8, or a control character in it" },
	{ "[spool]\npath = /a\x01\n", 2, "[spool] path: not UTF-8, or a control character in it" },
	{ "[spool]\npath = /a\rb\n", 2, "[spool] path: not UTF-8, or a control character in it" },
	{ "[spool]\nmax_items = 0\n", 2, "[spool] max_items: '0' is not a number from 1 to 10000000" },
	{ "[spool]\nmax_items = 10000001\n", 2, "[spool] max_items: '10000001' is not a number from 1 to 10000000" },
	{ "[spool]\nmax_items = -1\n", 2, "[spool] max_items: '-1' is not a number from 1 to 10000000" },
	{ "[spool]\nmax_items = 1k\n", 2, "[spool] max_items: '1k' is not a number from 1 to 10000000" },
	{ "[spool]\nmax_items =\n", 2, "[spool] max_items: '' is not a number from 1 to 10000000" },
	{ "[spool]\nmax_bytes = 1023k\n", 2, "[spool] max_bytes: '1023k' is not a size from 1M to 1T" },
	{ "[spool]\nmax_bytes = 1025G\n", 2, "[spool] max_bytes: '1025G' is not a size from 1M to 1T" },
	{ "[spool]\nmax_bytes = 99999999999999999999\n", 2,
	    "[spool] max_bytes: '99999999999999999999' is not a size from 1M to 1T" },
	{ "[batch]\nmax_items = 10001\n", 2, "[batch] max_items: '10001' is not a number from 1 to 10000" },
	{ "[batch]\nmax_bytes = 127k\n", 2, "[batch] max_bytes: '127k' is not a size from 128k to 64M" },
	{ "[batch]\nmax_bytes = 65M\n", 2, "[batch] max_bytes: '65M' is not a size from 128k to 64M" },
	{ "[snapshot]\ninterval = 0s\n", 2, "[snapshot] interval: '0s' is not a duration from 1s to 30d" },
	{ "[snapshot]\ninterval = 31d\n", 2, "[snapshot] interval: '31d' is not a duration from 1s to 30d" },
	{ "[snapshot]\ninterval = 5\n", 2, "[snapshot] interval: '5' is not a duration from 1s to 30d" },
	{ "[snapshot]\ninterval = \x1b[2J\n", 2, "[snapshot] interval: '\\x1b[2J' is not a duration from 1s to 30d" },
	{ "[snapshot]\nenabled = maybe\n", 2, "[snapshot] enabled: 'maybe' is neither yes nor no" },
	{ "[snapshot]\nsource = file\n", 2, "[snapshot] source: 'file' is not one of auto, command, socket, http" },
	{ "[snapshot]\nurl = http://10.0.0.1:2812\n", 2, "[snapshot] url: http:// is refused, since the host is not loopback "
	    "and allow_http is not yes" },
	{ "[upstream]\nauth = digest\n", 2, "[upstream] auth: 'digest' is not one of none, bearer, basic" },
	{ "[upstream]\nurl = https://u:hunter2@h\n", 2, "[upstream] url: a URL may not contain user or password (or any '@')" },
	{ "[upstream]\nurl = http://h.example\n", 2, "[upstream] url: http:// is refused, since the host is not loopback and "
	    "allow_http is not yes" },
	{ "[upstream]\npath = a b\n", 2, "[upstream] path: a character that no URL's path may have" },
	{ "[snapshot]\ncommand = monit 'status\n", 2, "[snapshot] command: a quote is not closed" },
	{ "[upstream]\npath = /a b\n", 2, "[upstream] path: a character that no URL's path may have" },
	{ "[upstream]\nproxy = http://u:hunter2@h\n", 2,
	    "[upstream] proxy: a URL may not contain user or password (or any '@')" },
	{ "[upstream]\nproxy = ftp://h\n", 2,
	    "[upstream] proxy: the URL of a proxy begins with http://, https:// or socks5h://" },
	{ "[upstream]\nproxy = http://h/x\n", 2, "[upstream] proxy: nothing may follow host and port of a proxy" },
	{ "[upstream]\npinned_public_key = sha256//AAAA\n", 2,
	    "[upstream] pinned_public_key: not of the form sha256//BASE64[;sha256//BASE64...]" },
	{ "[upstream]\npinned_public_key = " PIN ";\n", 2,
	    "[upstream] pinned_public_key: not of the form sha256//BASE64[;sha256//BASE64...]" },
	{ "[upstream]\nauth = bearer\n", 2, "[upstream] auth: bearer needs token_file or token_command" },
	{ "[upstream]\nauth = bearer\ntoken_file = /t\ntoken_command = t\n", 4,
	    "[upstream] token_command: token_file is given too, and only one can count" },
	{ "[upstream]\nauth = basic\npassword_file = /p\n", 2, "[upstream] auth: basic needs user" },
	{ "[upstream]\nauth = basic\nuser = u\n", 2, "[upstream] auth: basic needs password_file" },
	{ "[upstream]\nauth = basic\nuser = u\npassword_file = p\n", 4,
	    "[upstream] password_file: not the absolute path of a file" },
	{ "[retry]\nmax = 1m\ninitial = 61s\n", 3, "[retry] initial: it is longer than [retry] max, 1m" },
	{ "[retry]\ninitial = 2h\n", 2, "[retry] initial: it is longer than [retry] max, 1h" },
	{ "[schedule]\nsplay = 6m\n", 2, "[schedule] splay: it is longer than [snapshot] interval, 5m" },
};

static void
mistakes_are_told_with_file_line_and_key(void **state)
{
	(void)state;
	for (size_t i = 0; i < COUNT(mistakes); i++) {
		char said[PX_ERR_MAX];

		(void)snprintf(said, sizeof(said), "%s:%d: %s", file, mistakes[i].line, mistakes[i].said);
		if (read_text(mistakes[i].text) == 0)
			fail_msg("not refused: %s", mistakes[i].text);
		assert_int_equal(err.code, PX_CONFIG);
		if (strcmp(err.text, said) != 0)
			fail_msg("%s: %s\n   instead of %s", mistakes[i].text, err.text, said);
		if (problems.count != 1 || strncmp(problems.text[0], said, PX_PROBLEM_MAX - 4) != 0)
			fail_msg("%s: %zu problems, the first is %s", mistakes[i].text, problems.count, problems.text[0]);
	}
}

/* A problem has no room for a long file's name, but for its end, the line and the key. */
static void
mistakes_in_a_file_with_a_long_name_are_told_whole(void **state)
{
	static const char end[] = "/././px-status.conf:2: [retry] max: '1x' is not a duration from 1s to 30d";
	char path[PX_CONFIG_TEXT_MAX];
	size_t len = (size_t)snprintf(path, sizeof(path), "%s", folder);

	(void)state;
	write_file(file, "[retry]\nmax = 1x\n", 17);
	while (len < sizeof(path) - 40)
		len += (size_t)snprintf(path + len, sizeof(path) - len, "/.");
	(void)snprintf(path + len, sizeof(path) - len, "/px-status.conf");
	memset(&problems, 0, sizeof(problems));
	px_config_init(&config);
	assert_int_equal(px_config_read(&config, path, &problems, &path_is_valid, &err), -1);
	assert_int_equal(problems.count, 1);
	assert_string_equal(problems.text[0], err.text);
	assert_memory_equal(err.text, "...", 3);
	if (strstr(err.text, end) == NULL || strlen(err.text) < PX_PROBLEM_MAX - 16)
		fail_msg("%s", err.text);
}

/* What the recorder gets for [spool] path, and whether it may trust it. */
static const struct {
	const char *text;
	const char *path;
	bool is_valid;
} paths[] = {
	{ "", "/var/lib/px-status/spool.db", true },
	{ "[upstream]\ntimeout = x\n", "/var/lib/px-status/spool.db", true },
	{ "[upstream]\ntimeout = x\n[spool]\npath = /x\n", "/x", true },
	{ "[spool]\npath = /x\n[upstream]\ntimeout = x\n", "/x", true },
	{ "garbage\n[spool]\npath = /x\nmax_items = 0\n", "/x", true },
	{ "[spool]\npath = /x\npath = /y\n", "/x", true },
	{ "[spool]\npath = x\npath = /y\n", "/y", true },
	{ " [spool]\npath = /x\n", "/x", true },
	{ "[spool]\npath = x\n", "/var/lib/px-status/spool.db", false },
	{ "[spool]\n path = /x\n", "/var/lib/px-status/spool.db", false },
	{ "[spool]\npath = /x ; y\n", "/var/lib/px-status/spool.db", false },
	{ "[spol]\npath = /x\n", "/var/lib/px-status/spool.db", false },
	{ "[spool\npath = /x\n", "/var/lib/px-status/spool.db", false },
	{ "[device]\n[spool\npath = /x\n", "/var/lib/px-status/spool.db", false },
	{ "[spool]\npth = /x\n", "/var/lib/px-status/spool.db", false },
};

static void
what_could_be_read_stands(void **state)
{
	(void)state;
	for (size_t i = 0; i < COUNT(paths); i++) {
		int rc = read_text(paths[i].text);

		assert_int_equal(rc, paths[i].text[0] == '\0' ? 0 : -1);
		if (strcmp(config.spool.path, paths[i].path) != 0 || path_is_valid != paths[i].is_valid)
			fail_msg("%s: path is '%s', valid %d", paths[i].text, config.spool.path, path_is_valid);
	}
}

static void
lines_may_have_1023_bytes(void **state)
{
	char text[1200] = "[device]\nid = ";
	size_t start = strlen("[device]\n");

	(void)state;
	for (size_t len = 190; len <= 1030; len++) {
		int rc;

		memset(text + start + strlen("id = "), 'x', len - strlen("id = "));
		(void)snprintf(text + start + len, sizeof(text) - start - len, "\n[spool]\npath = /x\n");
		rc = read_text(text);
		if (rc != (len <= 1023 ? 0 : -1) || strlen(config.device.id) != (len <= 1023 ? len - strlen("id = ") : 0))
			fail_msg("a line of %zu bytes: %d, %s", len, rc, err.text);
		if (len > 1023)
			assert_non_null(strstr(err.text, ":2: [device] id: the line is longer than 1023 bytes"));
		assert_string_equal(config.spool.path, "/x");
	}
}

static void
long_comments_and_names_are_refused_and_harm_nothing(void **state)
{
	static const char *const starts[] = { "# ", "; ", " ", "[", "x", "=" };
	char text[4200];

	(void)state;
	for (size_t i = 0; i < COUNT(starts); i++) {
		memset(text, starts[i][0] == ' ' ? ' ' : 'y', 2000);
		memcpy(text, starts[i], strlen(starts[i]));
		(void)snprintf(text + 2000, sizeof(text) - 2000, "\n[spool]\npath = /x\n");
		if (read_text(text) == 0 || problems.count != 1 ||
		    strstr(err.text, ":1: ") == NULL || strstr(err.text, "longer than 1023 bytes") == NULL)
			fail_msg("'%s...': %zu, %s", starts[i], problems.count, err.text);
		assert_string_equal(config.spool.path, "/x");
	}
}

static void
nul_bytes_are_refused(void **state)
{
	static const char text[] = "[spool]\npath = /x\0y\nmax_items = 7\n[ba\0tch]\n[spool\0]\n[device]\nid = x\n";

	(void)state;
	assert_int_equal(read_bytes(text, sizeof(text) - 1), -1);
	assert_int_equal(problems.count, 3);
	assert_non_null(strstr(problems.text[0], ":2: [spool] path: a NUL byte in the line"));
	assert_non_null(strstr(problems.text[1], ":4: [ba\\x00tch]: a NUL byte"));
	assert_non_null(strstr(problems.text[2], ":5: [spool\\x00]: a NUL byte"));
	assert_int_equal(config.spool.max_items, 7);
	assert_string_equal(config.device.id, "x");
}

static void
no_secret_is_shown(void **state)
{
	(void)state;
	assert_int_equal(read_text("[upstream]\nurl = https://u:hunter2@h\nproxy = hunter2\ntoken_file = hunter2\n"
	    "pinned_public_key = hunter2\npath = hunter2\npassword = hunter2\nurl = https://x:hun/ter2@hunter2\n"
	    "user = hunter2 ;\nclient_key = hunter2\nhunter2\n"), -1);
	assert_true(problems.count >= 9);
	for (size_t i = 0; i < problems.count; i++)
		if (strstr(problems.text[i], "hunter2") != NULL || strstr(problems.text[i], "ter2") != NULL)
			fail_msg("%s", problems.text[i]);
}

static void
more_mistakes_than_fit_are_counted(void **state)
{
	char text[4096] = "[spool]\n";

	(void)state;
	for (size_t i = 0; i < 40; i++)
		(void)snprintf(text + strlen(text), sizeof(text) - strlen(text), "bogus%zu = 1\n", i);
	assert_int_equal(read_text(text), -1);
	assert_int_equal(problems.count, PX_PROBLEMS_MAX);
	assert_int_equal(problems.more, 40 - PX_PROBLEMS_MAX);
}

/* Files that are none. */
static void
unreadable_files_are_refused(void **state)
{
	static char too_long[PX_CONFIG_TEXT_MAX + 10];
	static char large[(1 << 20) + 1];
	char fifo[96];
	const char *const names[] = { "/nonexistent/px-status.conf", folder, fifo, "/dev/zero", too_long, file };

	(void)state;
	memset(too_long, 'x', sizeof(too_long) - 1);
	memset(large, '\n', sizeof(large));
	write_file(file, large, sizeof(large));
	(void)snprintf(fifo, sizeof(fifo), "%s/fifo", folder);
	assert_int_equal(mkfifo(fifo, 0600), 0);
	for (size_t i = 0; i < COUNT(names); i++) {
		memset(&problems, 0, sizeof(problems));
		px_config_init(&config);
		path_is_valid = true;
		if (px_config_read(&config, names[i], &problems, &path_is_valid, &err) == 0 || path_is_valid)
			fail_msg("'%s' is not refused", names[i]);
		assert_int_equal(err.code, PX_CONFIG);
		assert_int_equal(problems.count, 1);
		assert_string_equal(config.file, "");
		assert_string_equal(config.spool.path, "/var/lib/px-status/spool.db");
	}
	assert_int_equal(unlink(fifo), 0);
}

static void
the_default_file_may_be_absent(void **state)
{
	(void)state;
	if (access(PX_CONFIG_DEFAULT_FILE, F_OK) == 0) {
		print_message("# %s is there: not tried\n", PX_CONFIG_DEFAULT_FILE);
		return;
	}
	memset(&problems, 0, sizeof(problems));
	px_config_init(&config);
	assert_int_equal(px_config_read(&config, NULL, &problems, &path_is_valid, &err), 0);
	assert_true(path_is_valid);
	assert_string_equal(config.file, "");
}

static const struct {
	const char *url;
	bool allow_http;
	bool is_valid;
} urls[] = {
	{ "https://h", false, true },
	{ "https://h.example:8443/a/b/", false, true },
	{ "https://192.0.2.1", false, true },
	{ "https://[2001:db8::1]:443", false, true },
	{ "http://localhost", false, true },
	{ "http://LOCALHOST:80", false, true },
	{ "http://127.0.0.1", false, true },
	{ "http://127.255.0.9:1/x", false, true },
	{ "http://[::1]", false, true },
	{ "http://[::1]:8080/", false, true },
	{ "http://h", true, true },
	{ "http://h", false, false },
	{ "http://127.example.com", false, false },
	{ "http://localhost.example.com", false, false },
	{ "http://[::2]", false, false },
	{ "http://128.0.0.1", false, false },
	{ "", false, false },
	{ "h", false, false },
	{ "://h", false, false },
	{ "https://", false, false },
	{ "https:///x", false, false },
	{ "https://:443", false, false },
	{ "https://h:", false, false },
	{ "https://h:0", false, false },
	{ "https://h:65536", false, false },
	{ "https://h:1x", false, false },
	{ "https://[::1", false, false },
	{ "https://[::1]x", false, false },
	{ "https://[localhost]", false, false },
	{ "https://[]", false, false },
	{ "https://h%2e", false, false },
	{ "https://h h", false, false },
	{ "https://h\\x", false, false },
	{ "https://h\xc3\xa4", false, false },
	{ "https://u@h", false, false },
	{ "https://u:p@h", false, false },
	{ "http://localhost:1/2@h", true, false },
	{ "https://h?q", false, false },
	{ "https://h/x?q", false, false },
	{ "https://h#f", false, false },
	{ "https://h/x\n", false, false },
	{ "ftp://h", false, false },
	{ "file:///etc/passwd", true, false },
	{ "HTTPS://h", false, false },
};

static void
urls_are_checked(void **state)
{
	(void)state;
	for (size_t i = 0; i < COUNT(urls); i++) {
		err.code = PX_OK;
		if ((px_config_check_url(urls[i].url, urls[i].allow_http, &err) == 0) != urls[i].is_valid)
			fail_msg("'%s', %d: %s", urls[i].url, urls[i].allow_http, err.text);
		if (!urls[i].is_valid)
			assert_int_equal(err.code, PX_CONFIG);
	}
}

static const struct {
	const char *url;
	const char *path;
	const char *whole;
} joins[] = {
	{ "https://h", "/a", "https://h/a" },
	{ "https://h/", "/a", "https://h/a" },
	{ "https://h//", "//a/b/", "https://h/a/b/" },
	{ "https://h/x", "a", "https://h/x/a" },
	{ "https://h", "/", "https://h/" },
	{ "https://h:1234567", "/a", NULL },
};

static void
one_slash_joins_url_and_path(void **state)
{
	char out[19];

	(void)state;
	for (size_t i = 0; i < COUNT(joins); i++) {
		int rc = px_config_join_url(joins[i].url, joins[i].path, out, sizeof(out), &err);

		if (rc != (joins[i].whole != NULL ? 0 : -1) || (rc == 0 && strcmp(out, joins[i].whole) != 0))
			fail_msg("%s and %s: %d, %s", joins[i].url, joins[i].path, rc, out);
	}
}

/* What an identity file makes of a device; NULL: refused. */
static const struct {
	const char *text;
	const char *id;
	const char *url;
} identities[] = {
	{ "id: dev-1\nhost: https://h.example\n", "dev-1", "https://h.example" },
	{ "id: \"dev 1\"\nhost: 'https://h.example:1/x'\n", "dev 1", "https://h.example:1/x" },
	{ "---\r\n# id: no\r\nid:dev-1\r\nhost: NONE\r\n", "dev-1", "" },
	{ "\xef\xbb\xbfid : dev-1 # the first\nid: dev-2\nother: x\n", "dev-1", "" },
	{ "id: 'a # b' # c\nhost: \"NONE\"\n", "a # b", "" },
	{ "id: a#b\nhost:\n", "a#b", "" },
	{ "nested:\n  id: x\n  host: https://x\nid: dev-1\n", "dev-1", "" },
	{ "id: \"dev\n", "\"dev", "" },
	{ "id: x\nhost: http://h.example\n", NULL, NULL },
	{ "id: x\nhost: https://u:p@h\n", NULL, NULL },
	{ "id: x\nhost: h.example\n", NULL, NULL },
	{ "id: \xff\n", NULL, NULL },
	{ "id: a\x01\n", NULL, NULL },
};

static void
the_identity_file_tells_id_and_url(void **state)
{
	(void)state;
	for (size_t i = 0; i < COUNT(identities); i++) {
		struct px_device device;
		int rc;

		px_config_init(&config);
		config.device.identity_file = identity_file;
		write_file(identity_file, identities[i].text, strlen(identities[i].text));
		rc = px_config_device(&config, "the-host", &device, &err);
		if (rc != (identities[i].id != NULL ? 0 : -1))
			fail_msg("%s: %d, %s", identities[i].text, rc, err.text);
		if (rc == -1)
			assert_int_equal(err.code, PX_CONFIG);
		if (rc == -1 || identities[i].id == NULL)
			continue;
		if (strcmp(device.id, identities[i].id) != 0 || strcmp(device.url, identities[i].url) != 0)
			fail_msg("%s: id '%s', url '%s'", identities[i].text, device.id, device.url);
		assert_string_equal(device.id_origin, identity_file);
		assert_string_equal(device.url_origin, device.url[0] != '\0' ? identity_file : "");
		assert_string_equal(device.name, "the-host");
	}
}

static void
the_configuration_comes_first(void **state)
{
	struct px_device device;
	char text[512];
	char origin[128];

	(void)state;
	write_file(identity_file, "id: x\nhost: not a URL\n", strlen("id: x\nhost: not a URL\n"));
	(void)snprintf(text, sizeof(text), "[device]\nid = d-1\nname = n\nidentity_file = %s\n[upstream]\nurl = https://u\n",
	    identity_file);
	assert_int_equal(read_text(text), 0);
	assert_int_equal(px_config_device(&config, "the-host", &device, &err), 0);
	assert_string_equal(device.id, "d-1");
	assert_string_equal(device.name, "n");
	assert_string_equal(device.url, "https://u");
	(void)snprintf(origin, sizeof(origin), "%s:2", file);
	assert_string_equal(device.id_origin, origin);
	(void)snprintf(origin, sizeof(origin), "%s:6", file);
	assert_string_equal(device.url_origin, origin);
}

static void
an_identity_file_that_is_named_must_be_there(void **state)
{
	struct px_device device;

	(void)state;
	assert_int_equal(read_text("[device]\nid = x\nidentity_file = /nonexistent/d.yml\n[upstream]\nurl = https://u\n"), 0);
	assert_int_equal(px_config_device(&config, "h", &device, &err), -1);
	assert_int_equal(err.code, PX_CONFIG);
	assert_string_equal(err.text,
	    "[device] identity_file: cannot open '/nonexistent/d.yml': No such file or directory");
}

static void
the_machine_id_comes_last(void **state)
{
	struct px_device device;
	char id[128] = "";
	FILE *stream = fopen("/etc/machine-id", "re");

	(void)state;
	if (stream == NULL || fgets(id, sizeof(id), stream) == NULL || id[0] == '\n') {
		print_message("# no /etc/machine-id: not tried\n");
	} else {
		write_file(identity_file, "host: NONE\n", strlen("host: NONE\n"));
		px_config_init(&config);
		config.device.identity_file = identity_file;
		id[strcspn(id, "\n")] = '\0';
		assert_int_equal(px_config_device(&config, "h", &device, &err), 0);
		assert_string_equal(device.id, id);
		assert_string_equal(device.id_origin, "/etc/machine-id");
		assert_int_equal(strlen(device.machine_hash), 16);
		assert_int_equal(strspn(device.machine_hash, "0123456789abcdef"), 16);
	}
	if (stream != NULL)
		(void)fclose(stream);
}

static int
make_folder(void **state)
{
	const char *tmp = getenv("TMPDIR");

	(void)state;
	(void)snprintf(folder, sizeof(folder), "%s/px-config-XXXXXX", tmp != NULL && strlen(tmp) < 32 ? tmp : "/tmp");
	if (mkdtemp(folder) == NULL)
		return -1;
	(void)snprintf(file, sizeof(file), "%s/px-status.conf", folder);
	(void)snprintf(identity_file, sizeof(identity_file), "%s/device.yml", folder);
	return 0;
}

static int
remove_folder(void **state)
{
	(void)state;
	(void)unlink(file);
	(void)unlink(identity_file);
	return rmdir(folder);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_key_has_its_default),
		cmocka_unit_test(there_is_no_other_key),
		cmocka_unit_test(every_key_can_be_set),
		cmocka_unit_test(valid_files_are_read),
		cmocka_unit_test(mistakes_are_told_with_file_line_and_key),
		cmocka_unit_test(mistakes_in_a_file_with_a_long_name_are_told_whole),
		cmocka_unit_test(what_could_be_read_stands),
		cmocka_unit_test(lines_may_have_1023_bytes),
		cmocka_unit_test(long_comments_and_names_are_refused_and_harm_nothing),
		cmocka_unit_test(nul_bytes_are_refused),
		cmocka_unit_test(no_secret_is_shown),
		cmocka_unit_test(more_mistakes_than_fit_are_counted),
		cmocka_unit_test(unreadable_files_are_refused),
		cmocka_unit_test(the_default_file_may_be_absent),
		cmocka_unit_test(urls_are_checked),
		cmocka_unit_test(one_slash_joins_url_and_path),
		cmocka_unit_test(the_identity_file_tells_id_and_url),
		cmocka_unit_test(the_configuration_comes_first),
		cmocka_unit_test(an_identity_file_that_is_named_must_be_there),
		cmocka_unit_test(the_machine_id_comes_last),
	};

	return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
