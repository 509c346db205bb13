/* SPDX-License-Identifier: MIT */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "monit.h"
#include "share.h"

#ifndef PX_FIXTURES
#define PX_FIXTURES "test/fixtures"
#endif

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))
#define MIB ((size_t)1 << 20)

/* Columns of Monit from 5.18 on, and before. */
#define INDENT "                               "
#define INDENT_OLD "                                    "
#define STATUS "  status                       "
#define STATUS_OLD "  status                            "
#define OUTPUT "  last output                  "
#define COLLECTED "  data collected               "

static void
read_fixture(struct px_buf *out, const char *name)
{
	char path[256];
	FILE *file;
	char *room;

	(void)snprintf(path, sizeof(path), "%s/status/%s", PX_FIXTURES, name);
	file = fopen(path, "re");
	if (file == NULL)
		fail_msg("cannot open '%s'", path);
	room = px_buf_reserve(out, MIB);
	assert_non_null(room);
	px_buf_used(out, fread(room, 1, MIB, file));
	(void)fclose(file);
}

static void
add_failure(void *arg, struct px_slice part)
{
	struct px_buf *out = arg;

	px_buf_add_byte(out, '/');
	px_buf_add(out, part.ptr, part.len);
}

/* What was read, a line for each service and each of its lines; control characters escaped. */
static void
describe(struct px_buf *out, const struct px_monit_status *status)
{
	for (size_t i = 0; i < status->service_count; i++) {
		const struct px_monit_service *service = &status->services[i];

		px_buf_printf(out, "%.*s '", (int)service->type.len, service->type.ptr);
		px_text_escape(out, service->name.ptr, service->name.len);
		px_buf_printf(out, "' %s: ", px_service_state_name(service->state));
		px_text_escape(out, service->status.ptr, service->status.len);
		px_buf_add_byte(out, '\n');
		for (size_t j = 0; j < service->line_count; j++) {
			const struct px_monit_line *line = &status->lines[service->first_line + j];

			px_text_escape(out, line->label.ptr, line->label.len);
			px_buf_add_byte(out, '=');
			px_text_escape(out, line->value.ptr, line->value.len);
			px_buf_add_byte(out, '\n');
		}
	}
}

static void
check_slice(const struct px_monit_status *status, struct px_slice slice)
{
	assert_true(slice.ptr >= status->text.data);
	assert_true(slice.ptr + slice.len <= status->text.data + status->text.len);
}

/* Every slice lies in the text, every line belongs to one service. */
static void
check_bounds(const struct px_monit_status *status)
{
	size_t lines = 0;

	for (size_t i = 0; i < status->service_count; i++) {
		check_slice(status, status->services[i].name);
		check_slice(status, status->services[i].status);
		check_slice(status, status->services[i].pending);
		assert_int_equal(status->services[i].first_line, lines);
		lines += status->services[i].line_count;
	}
	assert_int_equal(status->line_count, lines);
	for (size_t i = 0; i < lines; i++) {
		check_slice(status, status->lines[i].label);
		check_slice(status, status->lines[i].value);
	}
}

static int
parse(struct px_monit_status *status, const char *text, size_t len)
{
	struct px_err err = { .code = PX_OK };
	/* A copy of exactly these bytes, so that a sanitizer sees what is read behind them. */
	char *copy = malloc(len > 0 ? len : 1);
	int rc;

	assert_non_null(copy);
	if (len > 0)
		memcpy(copy, text, len);
	rc = px_monit_parse(status, copy, len, &err);
	free(copy);
	assert_int_equal(err.code, rc == 0 ? PX_OK : PX_LATER);
	check_bounds(status);
	return rc;
}

static const struct {
	const char *text;
	const char *version;	/* NULL: no header */
	int64_t uptime_s;
} headers[] = {
	{ "The Monit daemon 5.7 uptime: 0m \n", "5.7", 0 },
	{ "The Monit daemon 5.2.5 uptime: 3d 4h 5m \n", "5.2.5", 273900 },
	{ "Monit uptime: 16h 0m\n", "", 57600 },
	{ "Monit 5.33.0 uptime: 3m\n", "5.33.0", 180 },
	{ "Monit 5.33.0 uptime: 3m", "5.33.0", 180 },
	{ "Monit 5.33.0 uptime: 3m\r\n", "5.33.0", 180 },
	{ "Monit 6.1.0-dev uptime: 1d 0h 0m\n", "6.1.0-dev", 86400 },
	{ "\x1b[1mMonit 5.33.0 uptime: 3m\x1b[0m\n", "5.33.0", 180 },
	{ "Monit 5.33.0  uptime:  3m \n", "5.33.0", 180 },
	{ "\xef\xbb\xbfMonit 5.33.0 uptime: 3m\n", "5.33.0", 180 },
	{ "Monit 5.33.0 uptime: 3d 5m\n", "5.33.0", 259500 },
	{ "Monit 5.33.0 uptime: 3 m\n", "5.33.0", -1 },
	{ "Monit 5.33.0 uptime: -3m\n", "5.33.0", -1 },
	{ "Monit 5.33.0 uptime: \n", "5.33.0", -1 },
	{ "Monit 5.33.0 uptime: 3m 2h\n", "5.33.0", -1 },
	{ "Monit 5.33.0 uptime: 99999999999d 0h 0m\n", "5.33.0", -1 },
	{ "/etc/monit/monitrc:5: warning: x\n New Monit id: 12\nMonit 5.33.0 uptime: 3m\n", "5.33.0", 180 },
	{ "Monit 5.33.0 uptime: 3m\nMonit 5.34.0 uptime: 4m\n", "5.33.0", 180 },
	{ " Monit 5.33.0 uptime: 3m\n", NULL, -1 },
	{ "Monit 5.33.0 upti", NULL, -1 },
	{ "Monit 5.33.0", NULL, -1 },
	{ "Monit: the monit daemon is not running\n", NULL, -1 },
	{ "", NULL, -1 },
	{ "\n\n", NULL, -1 },
};

static void
test_headers(void **state)
{
	(void)state;
	for (size_t i = 0; i < COUNT(headers); i++) {
		struct px_monit_status status;
		int rc = parse(&status, headers[i].text, strlen(headers[i].text));

		if (rc != (headers[i].version != NULL ? 0 : -1) || status.has_header != (headers[i].version != NULL))
			fail_msg("'%s': %s", headers[i].text, rc == 0 ? "read" : "refused");
		if (headers[i].version != NULL && !px_slice_is(status.version, headers[i].version))
			fail_msg("'%s': version %.*s", headers[i].text, (int)status.version.len, status.version.ptr);
		if (status.uptime_s != headers[i].uptime_s)
			fail_msg("'%s': uptime %lld", headers[i].text, (long long)status.uptime_s);
		px_monit_clear(&status);
	}
}

/* A service's status line and what it means. */
static const struct {
	const char *status;
	const char *state;
	const char *pending;
	const char *failures;
} states[] = {
	{ "OK", "ok", "", "/OK" },
	{ "ok", "ok", "", "/ok" },
	{ "Running", "ok", "", "/Running" },
	{ "running", "ok", "", "/running" },
	{ "Accessible", "ok", "", "/Accessible" },
	{ "Online with all services", "ok", "", "/Online with all services" },
	{ "online with all services", "ok", "", "/online with all services" },
	{ "Status ok", "ok", "", "/Status ok" },
	{ "UP", "ok", "", "/UP" },
	{ "OK - restart pending", "ok", "restart", "/OK" },
	{ "running - stop pending", "ok", "stop", "/running" },
	{ "Not monitored", "unmonitored", "", "/Not monitored" },
	{ "not monitored - start pending", "unmonitored", "start", "/not monitored" },
	{ "Not monitored - monitor pending", "unmonitored", "monitor", "/Not monitored" },
	{ "Initializing", "initializing", "", "/Initializing" },
	{ "initializing", "initializing", "", "/initializing" },
	{ "Waiting", "waiting", "", "/Waiting" },
	{ "Does not exist", "failed", "", "/Does not exist" },
	{ "Resource limit matched", "failed", "", "/Resource limit matched" },
	{ "Connection failed | Resource limit matched", "failed", "", "/Connection failed/Resource limit matched" },
	{ "Size failed | UID failed - restart pending", "failed", "restart", "/Size failed/UID failed" },
	{ "OK | Size failed", "failed", "", "/OK/Size failed" },
	{ "OKAY", "failed", "", "/OKAY" },
	{ "OK pending", "failed", "", "/OK pending" },
	{ "OK - a b pending", "failed", "", "/OK - a b pending" },
	{ "a|b", "failed", "", "/a|b" },
	{ "a |  | b", "failed", "", "/a/b" },
	{ "", "failed", "", "" },
};

static void
test_states(void **state)
{
	(void)state;
	for (size_t i = 0; i < COUNT(states); i++) {
		struct px_monit_status status;
		struct px_buf text = PX_BUF(MIB);
		struct px_buf failures = PX_BUF(MIB);

		px_buf_printf(&text, "System 'vm'\n" STATUS "%s\n" COLLECTED "-\n\n", states[i].status);
		assert_int_equal(parse(&status, text.data, text.len), 0);
		px_monit_failures(&status.services[0], add_failure, &failures);
		if (strcmp(px_service_state_name(status.services[0].state), states[i].state) != 0)
			fail_msg("'%s': %s", states[i].status, px_service_state_name(status.services[0].state));
		if (!px_slice_is(status.services[0].status, states[i].status))
			fail_msg("'%s': not whole", states[i].status);
		if (!px_slice_is(status.services[0].pending, states[i].pending))
			fail_msg("'%s': pending", states[i].status);
		if (strcmp(px_buf_text(&failures), states[i].failures) != 0)
			fail_msg("'%s': failures %s", states[i].status, px_buf_text(&failures));
		px_buf_clear(&text);
		px_buf_clear(&failures);
		px_monit_clear(&status);
	}
}

static const struct {
	const char *name;
	const char *text;
	const char *said;	/* by describe() */
} layouts[] = {
	{ "all types", "System 'a'\nProcess 'b'\nFile 'c'\nFifo 'd'\nDirectory 'e'\nFilesystem 'f'\nRemote Host 'g'\nNetwork 'h'\n"
	    "Program 'i'\nDevice 'j'\n",
	    "System 'a' failed: \nProcess 'b' failed: \nFile 'c' failed: \nFifo 'd' failed: \nDirectory 'e' failed: \n"
	    "Filesystem 'f' failed: \nRemote Host 'g' failed: \nNetwork 'h' failed: \nProgram 'i' failed: \n" },
	{ "names", "File 'it's: \"odd\" \xe2\x80\x94 \xc3\xa9'\n"
	    "File 'a b'\nFile ''\nFile '''\nFile 'x\n File 'y'\nFile  'z'\nFile\n",
	    "File 'it's: \"odd\" \xe2\x80\x94 \xc3\xa9' failed: \nFile 'a b' failed: \nFile '' failed: \nFile ''' failed: \n" },
	{ "columns from 5.18 on", "System 'vm'\n" STATUS "OK\n  space free for non superuser 1 GB\n" COLLECTED "now\n\n",
	    "System 'vm' ok: OK\nspace free for non superuser=1 GB\ndata collected=now\n" },
	{ "columns up to 5.17", "System 'vm'\n" STATUS_OLD "OK\n  blocks free for non superuser     1 [2 B]\n"
	    "  last output                       a\n" INDENT_OLD "b\n" INDENT_OLD "  c\n\n",
	    "System 'vm' ok: OK\nblocks free for non superuser=1 [2 B]\nlast output=a\\x0ab\\x0a  c\n" },
	{ "columns of both", "System 'vm'\n" STATUS "OK\n  uptime                       3m\n\nProgram 'p'\n" STATUS_OLD "OK\n"
	    "  last output                       a\n" INDENT_OLD "  b\n\nFile 'f'\n  status\n  uid                               0\n"
	    "\nFile 'g'\n" STATUS "OK\n" "  uid                          0\n",
	    "System 'vm' ok: OK\nuptime=3m\nProgram 'p' ok: OK\nlast output=a\\x0a  b\nFile 'f' failed: \nuid=0\nFile 'g' ok: OK\n"
	    "uid=0\n" },
	{ "a label longer than its column", "System 'vm'\n" STATUS "OK\n  a label of more than the column 1 GB\n",
	    "System 'vm' ok: OK\na label of more than the column=1 GB\n" },
	{ "columns of nobody", "System 'vm'\n  status   OK\n  load average  1\n  cpu      2 3\n",
	    "System 'vm' ok: OK\nload average=1\ncpu=2 3\n" },
	{ "empty values", "System 'vm'\n" STATUS "OK\n  uptime                       \n  boot time\n" COLLECTED "now\n",
	    "System 'vm' ok: OK\nuptime=\nboot time=\ndata collected=now\n" },
	{ "blanks of a value stay", "System 'vm'\n" STATUS "OK \n" OUTPUT "  a \n", "System 'vm' ok: OK\nlast output=  a \n" },
	{ "ends of lines", "System 'vm'\r\n" STATUS "OK\r\n" OUTPUT "a\rb\tc\r\r\n" INDENT "d\r\n\r\nFile 'x'\r\n",
	    "System 'vm' ok: OK\nlast output=a\\x0db\\x09c\\x0ad\nFile 'x' failed: \n" },
	{ "cut in a label", "System 'vm'\n" STATUS "OK\n  data coll", "System 'vm' ok: OK\ndata coll=\n" },
	{ "cut in a value", "System 'vm'\n" STATUS "OK\n" COLLECTED "Sun, 2", "System 'vm' ok: OK\ndata collected=Sun, 2\n" },
	{ "cut behind the name", "System 'vm'", "System 'vm' failed: \n" },
	{ "repeated labels", "Process 'p'\n" STATUS "OK\n  port response time           1 ms\n  port response time           -\n",
	    "Process 'p' ok: OK\nport response time=1 ms\nport response time=-\n" },
	{ "a second status", "Process 'p'\n" STATUS "OK\n" STATUS "Size failed\n" INDENT "x\n  pid                          1\n",
	    "Process 'p' ok: OK\npid=1\n" },
	{ "a service without a status", "Process 'p'\n" COLLECTED "now\n\n", "Process 'p' failed: \ndata collected=now\n" },
	{ "lines before the first service", "warning\n" STATUS "OK\n" INDENT "x\n\nSystem 'vm'\n" STATUS "OK\n",
	    "System 'vm' ok: OK\n" },
	{ "a continuation before any line", "System 'vm'\n" INDENT "x\n" STATUS "OK\n", "System 'vm' ok: OK\n" },
	{ "noise between lines", "System 'vm'\n" STATUS "OK\nsudo: noise\n" COLLECTED "now\nnoise\n\nnoise\nNoise 'n'\nmore\n",
	    "System 'vm' ok: OK\ndata collected=now\n" },
	{ "indents of nobody", "System 'vm'\n" STATUS "OK\n one\n   three                       3\n" INDENT "x\n" COLLECTED "now\n",
	    "System 'vm' ok: OK\none=\nthree=3\\x0ax\ndata collected=now\n" },
	{ "types of nobody", "Device 'a'\n\nPod 'b'\n" STATUS "OK\n  uid                          0\n\nVirtual Machine 'it's'\n"
	    STATUS "Size failed\n\nFile 'c'\n" STATUS "OK\n\nPod 'd'\n\n" STATUS "x\n",
	    "Pod 'b' ok: OK\nuid=0\nVirtual Machine 'it's' failed: Size failed\nFile 'c' ok: OK\n" },
	{ "a byte order mark", "\xef\xbb\xbfSystem 'vm'\n" STATUS "OK\n" OUTPUT "\xef\xbb\xbf" "a\n",
	    "System 'vm' ok: OK\nlast output=\xef\xbb\xbf" "a\n" },
	{ "names that Monit's command cut at a line-drawing character",
	    "File 'a'\n" STATUS "OK\n  uid                          0\n\n"
	    "Program 'multi " STATUS "Size failed\n" OUTPUT "tree:\n" INDENT INDENT " vbar\n" INDENT COLLECTED "now\n\n"
	    "File '" STATUS "OK - stop pending\n  uid                          1\n\nRemote Host 'it's " STATUS_OLD "OK\n"
	    "  uid                               2\n\nFile 'noise is no status\n  uid                               3\n"
	    "Pod 'x" STATUS "OK\nFile 'b'\n" STATUS "OK\n",
	    "File 'a' ok: OK\nuid=0\nProgram 'multi ' failed: Size failed\nlast output=tree:\\x0a" INDENT " vbar\\x0a" COLLECTED "now\n"
	    "File '' ok: OK - stop pending\nuid=1\nRemote Host 'it's ' ok: OK\nuid=2\nuid=3\nFile 'b' ok: OK\n" },
	{ "output that looks like a name that was cut",
	    "Program 'p'\n" STATUS "OK\n" OUTPUT "a\nFile 'x" STATUS "OK\n" COLLECTED "now\n",
	    "Program 'p' ok: OK\nlast output=a\\x0aFile 'x" STATUS "OK\ndata collected=now\n" },
	{ "a header among services", "System 'vm'\n" STATUS "OK\n\nMonit 5.33.0 uptime: 3m\n", "System 'vm' ok: OK\n" },

	{ "output that looks like Monit's",
	    "Program 'p'\n" STATUS "OK\n" OUTPUT "Process 'spoofed'\n" INDENT STATUS "Size failed\n" INDENT "Process 'spoofed'\n"
	    INDENT "\n" INDENT "Monit 5.33.0 uptime: 3m\n" INDENT COLLECTED "never\n" COLLECTED "now\n\nFile 'f'\n" STATUS "OK\n",
	    "Program 'p' ok: OK\nlast output=Process 'spoofed'\\x0a" STATUS "Size failed\\x0aProcess 'spoofed'\\x0a\\x0a"
	    "Monit 5.33.0 uptime: 3m\\x0a" COLLECTED "never\ndata collected=now\nFile 'f' ok: OK\n" },
	{ "blank lines of output", "Program 'p'\n" STATUS "OK\n" OUTPUT "\n" INDENT "a\n" INDENT "\n" INDENT "\n" INDENT " b\n"
	    COLLECTED "now\n",
	    "Program 'p' ok: OK\nlast output=\\x0aa\\x0a\\x0a\\x0a b\ndata collected=now\n" },
	{ "blank lines whose blanks are gone", "Program 'p'\n" STATUS "OK\n" OUTPUT "a\n\n \n" INDENT "b\n\n" COLLECTED "now\n\n\n",
	    "Program 'p' ok: OK\nlast output=a\\x0a\\x0a\\x0ab\ndata collected=now\n" },
	{ "output without its indent", "Program 'p'\n" STATUS "OK\n" OUTPUT "a\nb\n   c\n" COLLECTED "now\n",
	    "Program 'p' ok: OK\nlast output=a\\x0ab\\x0a   c\ndata collected=now\n" },
	{ "line separators that are none", "Program 'p'\n" STATUS "OK\n" OUTPUT "a\x0b\x0c\xc2\x85\xe2\x80\xa8Process 'x'\n",
	    "Program 'p' ok: OK\nlast output=a\\x0b\\x0c\\u0085\\u2028Process 'x'\n" },
	{ "bytes that are not UTF-8", "Program 'p\xff'\n" STATUS "OK\n" OUTPUT "\xff\xfe a\xe2\x82\n" INDENT "\xc3\n",
	    "Program 'p\xef\xbf\xbd' ok: OK\nlast output=\xef\xbf\xbd\xef\xbf\xbd a\xef\xbf\xbd\\x0a\xef\xbf\xbd\n" },

	{ "colours", "\x1b[1;36mSystem 'vm'\x1b[0m\n" STATUS "\x1b[0;92mOK\x1b[0m\n" OUTPUT "\x1b[0;91ma\n" INDENT
	    "b \x1b[38;5;1mred\x1b(B\x1b[m\x1b[0m\n" COLLECTED "\x1b[0;39mnow\x1b[0m\n",
	    "System 'vm' ok: OK\nlast output=a\\x0ab red\ndata collected=now\n" },
	{ "a colour that is cut", "Program 'p'\n" STATUS "OK\n" OUTPUT "a\x1b[0;3\n" INDENT "b\x1b[\n" INDENT "c\x1b\n" INDENT
	    "d\x1b[\x1b[0m31me\n" COLLECTED "now\x1b[0",
	    "Program 'p' ok: OK\nlast output=a\\x0ab\\x0ac\\x0ad31me\ndata collected=now\n" },
	{ "escapes that are no colours", "Program 'p'\n" STATUS "OK\n" OUTPUT "a\x1b]0;t\x07 \x1b[\x01 \x1b[\xc3\xa9\n",
	    "Program 'p' ok: OK\nlast output=a\\x1b]0;t\\x07 \\x1b[\\x01 \\x1b[\xc3\xa9\n" },
	{ "colours within colours", "Program 'p'\n" STATUS "OK\n" OUTPUT "\x1b\x1b[0m[31ma\n",
	    "Program 'p' ok: OK\nlast output=[31ma\n" },
};

static void
test_layouts(void **state)
{
	(void)state;
	for (size_t i = 0; i < COUNT(layouts); i++) {
		struct px_monit_status status;
		struct px_buf said = PX_BUF(MIB);

		assert_int_equal(parse(&status, layouts[i].text, strlen(layouts[i].text)), 0);
		describe(&said, &status);
		if (strcmp(px_buf_text(&said), layouts[i].said) != 0)
			fail_msg("%s:\n%s\nnot\n%s", layouts[i].name, px_buf_text(&said), layouts[i].said);
		px_buf_clear(&said);
		px_monit_clear(&status);
	}
}

static void
test_nul_bytes(void **state)
{
	static const char text[] = "Program 'p\0q'\n" STATUS "OK\n" OUTPUT "a\0b\n" INDENT "\0\n";
	struct px_monit_status status;

	(void)state;
	assert_int_equal(parse(&status, text, sizeof(text) - 1), 0);
	assert_int_equal(status.services[0].name.len, 3);
	assert_int_equal(status.lines[0].value.len, 5);
	assert_memory_equal(status.lines[0].value.ptr, "a\0b\n", 5);
	px_monit_clear(&status);
}

static const struct {
	const char *text;
	const char *error;
} refusals[] = {
	{ "", "no status from Monit: it said nothing" },
	{ " \n\t\n", "no status from Monit: it said nothing" },
	{ "\nMonit: the monit daemon is not running\nx\n",
	    "no status from Monit: it said 'Monit: the monit daemon is not running'" },
	{ "a\x07\xff\n", "no status from Monit: it said 'a\\x07\xef\xbf\xbd'" },
};

static void
test_refusals(void **state)
{
	(void)state;
	for (size_t i = 0; i < COUNT(refusals); i++) {
		struct px_monit_status status;
		struct px_err err = { .code = PX_OK };

		assert_int_equal(px_monit_parse(&status, refusals[i].text, strlen(refusals[i].text), &err), -1);
		assert_int_equal(err.code, PX_LATER);
		assert_string_equal(err.text, refusals[i].error);
		px_monit_clear(&status);
	}
}

/* Every start of a real status. */
static void
test_every_start(void **state)
{
	struct px_buf text = PX_BUF(2 * MIB);

	(void)state;
	read_fixture(&text, "5.7.txt");
	for (size_t len = 0; len <= text.len; len += parts()) {
		struct px_monit_status status;

		(void)parse(&status, text.data, len);
		px_monit_clear(&status);
	}
	px_buf_clear(&text);
}

/* A real status with colours and all, more and more of its bytes changed, then cut. */
static void
test_damage(void **state)
{
	struct px_buf text = PX_BUF(2 * MIB);
	uint32_t random = 1;

	(void)state;
	read_fixture(&text, "5.33.0-http-colours.txt");
	for (size_t i = 0; i < 2000 / parts(); i++) {
		struct px_monit_status status;

		for (int flips = 0; flips < 8; flips++) {
			random = random * 1664525 + 1013904223;
			text.data[(random >> 8) % text.len] = (char)(random >> 24);
		}
		(void)parse(&status, text.data, text.len - (random >> 8) % (text.len / 2));
		px_monit_clear(&status);
	}
	px_buf_clear(&text);
}

/* Inputs that repeat one thing: what begins them and what is repeated. */
static const struct {
	const char *name;
	const char *start;
	const char *again;
} floods[] = {
	{ "services", "", "System 'vm'\n" STATUS "OK\n\n" },
	{ "shortest services", "", "File ''\n" },
	{ "one label", "System 'vm'\n" STATUS "OK\n", "  port response time           -\n" },
	{ "shortest lines", "System 'vm'\n" STATUS "OK\n", "  a\n" },
	{ "output", "System 'vm'\n" STATUS "OK\n" OUTPUT, INDENT "a\n" },
	{ "blank output", "System 'vm'\n" STATUS "OK\n" OUTPUT "a\n", "\n" },
	{ "output by turns", "System 'vm'\n" STATUS "OK\n" OUTPUT "a\n", "\n" INDENT "a\n" },
	{ "one line", "System 'vm'\n" STATUS "OK\n" OUTPUT, "long " },
	{ "no line at all", "", " " },
	{ "unfinished escapes", "System 'vm'\n" STATUS "OK\n" OUTPUT, "\x1b[" },
	{ "escapes with parameters", "System 'vm'\n" STATUS "OK\n" OUTPUT "\x1b[", "0;" },
	{ "bytes that are not UTF-8", "System 'vm'\n" STATUS "OK\n" OUTPUT, "\xff" },
	{ "failures", "System 'vm'\n" STATUS, "a | " },
};

static double
seconds_for(size_t i, size_t bytes)
{
	struct px_buf text = PX_BUF(bytes + 4096);
	struct px_monit_status status;
	struct px_err err;
	clock_t began;
	double seconds;

	px_buf_add_text(&text, floods[i].start);
	while (text.len < bytes)
		px_buf_add_text(&text, floods[i].again);
	began = clock();
	if (px_monit_parse(&status, text.data, text.len, &err) == -1)
		assert_int_equal(err.code, PX_LATER);
	seconds = (double)(clock() - began) / CLOCKS_PER_SEC;
	assert_true(status.text.len <= 3 * text.len);
	px_monit_clear(&status);
	px_buf_clear(&text);
	return seconds;
}

/*
 * Four times the input takes about four times as long; a square would be sixteen. What else the machine does may spoil a
 * measurement, but not all of them.
 */
static void
test_linear_time(void **state)
{
	(void)state;
	for (size_t i = 0; i < COUNT(floods); i++) {
		double small = 0;
		double large = 1;

		for (int tries = 0; tries < 5 && large > 10 * small + 0.2; tries++) {
			small = seconds_for(i, MIB / parts());
			large = seconds_for(i, 4 * MIB / parts());
		}
		if (large > 10 * small + 0.2)
			fail_msg("%s: a quarter takes %.3f s, the whole %.3f s", floods[i].name, small, large);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_headers),
		cmocka_unit_test(test_states),
		cmocka_unit_test(test_layouts),
		cmocka_unit_test(test_nul_bytes),
		cmocka_unit_test(test_refusals),
		cmocka_unit_test(test_every_start),
		cmocka_unit_test(test_damage),
		cmocka_unit_test(test_linear_time),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
