/* SPDX-License-Identifier: MIT */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <unistd.h>

#include "log.h"

#define COUNT_OF(array) (sizeof(array) / sizeof((array)[0]))
#define ID "01939f1e-0000-7000-8000-000000000000"

/* A folder for the test's own /dev/log; "" while there is none. */
static char folder[64];

/* Stands in for the C library's, so that what goes to /dev/log comes to the test. */
int
connect(int fd, __CONST_SOCKADDR_ARG address, socklen_t len)
{
	struct sockaddr_un own = { .sun_family = AF_UNIX };

	(void)address;
	(void)len;
	(void)snprintf(own.sun_path, sizeof(own.sun_path), "%s/log", folder);
	return (int)syscall(SYS_connect, fd, &own, (socklen_t)sizeof(own));
}

static int
make_folder(void **state)
{
	const char *temporary = getenv("TMPDIR");

	(void)state;
	(void)snprintf(folder, sizeof(folder), "%s/px-log-XXXXXX", temporary != NULL && strlen(temporary) < 40 ? temporary :
	    "/tmp");
	return mkdtemp(folder) != NULL ? 0 : -1;
}

static int
remove_folder(void **state)
{
	(void)state;
	return rmdir(folder);
}

static int
listen_to_log(int type)
{
	struct sockaddr_un own = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	(void)snprintf(own.sun_path, sizeof(own.sun_path), "%s/log", folder);
	assert_int_not_equal(fd, -1);
	assert_int_equal(bind(fd, (const struct sockaddr *)&own, sizeof(own)), 0);
	if (type == SOCK_STREAM)
		assert_int_equal(listen(fd, 1), 0);
	return fd;
}

static void
stop_listening(int fd)
{
	char path[100];

	assert_int_equal(close(fd), 0);
	(void)snprintf(path, sizeof(path), "%s/log", folder);
	assert_int_equal(unlink(path), 0);
}

/* The next message, or "". */
static const char *
next_message(int fd)
{
	static char message[4096];
	ssize_t len = recv(fd, message, sizeof(message) - 1, 0);

	message[len > 0 ? len : 0] = '\0';
	return message;
}

/* Logs ${text} with stderr in a file, and returns what came there. */
static const char *
logged_to_stderr(enum px_level level, const char *text)
{
	static char content[8192];
	char path[100];
	int saved = dup(STDERR_FILENO);
	ssize_t len;
	int fd;

	(void)snprintf(path, sizeof(path), "%s/stderr", folder);
	fd = open(path, O_CREAT | O_TRUNC | O_RDWR | O_CLOEXEC, 0600);
	assert_int_not_equal(fd, -1);
	assert_int_equal(dup2(fd, STDERR_FILENO), STDERR_FILENO);
	errno = EXDEV;
	px_log(level, "%s", text);
	assert_int_equal(errno, EXDEV);
	assert_int_equal(dup2(saved, STDERR_FILENO), STDERR_FILENO);
	len = pread(fd, content, sizeof(content) - 1, 0);
	content[len > 0 ? len : 0] = '\0';
	assert_int_equal(close(fd), 0);
	assert_int_equal(close(saved), 0);
	assert_int_equal(unlink(path), 0);
	return content;
}

static void
lines_to_stderr_have_a_name_and_no_control_characters(void **state)
{
	(void)state;
	px_log_open("px-status", PX_LOG_STDERR, PX_NOTICE);
	assert_string_equal(logged_to_stderr(PX_ERROR, "cannot open '/x'"), "px-status: cannot open '/x'\n");
	assert_string_equal(logged_to_stderr(PX_NOTICE, "a\nb\x1b[31m\xff"), "px-status: a\\x0ab\\x1b[31m\xef\xbf\xbd\n");
	assert_string_equal(logged_to_stderr(PX_INFO, "not urgent"), "");
	px_log_open("px-status", PX_LOG_STDERR, PX_DEBUG);
	assert_string_equal(logged_to_stderr(PX_DEBUG, "now"), "px-status: now\n");
}

static void
long_lines_are_cut_and_stay_lines(void **state)
{
	static const char bytes[] = { 'x', '\x01', '\xff' };

	(void)state;
	px_log_open("px-status", PX_LOG_STDERR, PX_NOTICE);
	for (size_t i = 0; i < sizeof(bytes); i++) {
		char text[5000];
		const char *line;

		memset(text, bytes[i], sizeof(text) - 1);
		text[sizeof(text) - 1] = '\0';
		line = logged_to_stderr(PX_ERROR, text);
		assert_in_range(strlen(line), 400, 2200);
		assert_ptr_equal(strchr(line, '\n'), line + strlen(line) - 1);
	}
}

static void
the_journal_is_told_by_device_and_inode(void **state)
{
	struct stat st;
	char stream[64];

	(void)state;
	assert_int_equal(fstat(STDERR_FILENO, &st), 0);
	(void)snprintf(stream, sizeof(stream), "%ju:%ju", (uintmax_t)st.st_dev, (uintmax_t)st.st_ino);
	assert_true(px_log_stderr_is_journal(stream));
	(void)snprintf(stream, sizeof(stream), "%ju:%ju", (uintmax_t)st.st_dev, (uintmax_t)st.st_ino + 1);
	assert_false(px_log_stderr_is_journal(stream));
	(void)snprintf(stream, sizeof(stream), "%ju:%ju", (uintmax_t)st.st_dev + 1, (uintmax_t)st.st_ino);
	assert_false(px_log_stderr_is_journal(stream));
	assert_false(px_log_stderr_is_journal(NULL));
	assert_false(px_log_stderr_is_journal(""));
	assert_false(px_log_stderr_is_journal("8"));
	assert_false(px_log_stderr_is_journal("x:y"));
}

static void
lines_in_the_journal_begin_with_their_level(void **state)
{
	char path[100];
	char stream[64];
	char content[200] = "";
	int saved = dup(STDERR_FILENO);
	struct stat st;
	int fd;

	(void)state;
	(void)snprintf(path, sizeof(path), "%s/stderr", folder);
	fd = open(path, O_CREAT | O_TRUNC | O_RDWR | O_CLOEXEC, 0600);
	assert_int_equal(fstat(fd, &st), 0);
	(void)snprintf(stream, sizeof(stream), "%ju:%ju", (uintmax_t)st.st_dev, (uintmax_t)st.st_ino);
	assert_int_equal(setenv("JOURNAL_STREAM", stream, 1), 0);
	px_log_open("px-status", PX_LOG_STDERR, PX_NOTICE);
	assert_int_equal(dup2(fd, STDERR_FILENO), STDERR_FILENO);
	px_log(PX_WARNING, "%d", 7);
	assert_int_equal(dup2(saved, STDERR_FILENO), STDERR_FILENO);
	assert_int_equal(unsetenv("JOURNAL_STREAM"), 0);
	assert_int_not_equal(pread(fd, content, sizeof(content) - 1, 0), -1);
	assert_string_equal(content, "<4>7\n");
	assert_int_equal(close(fd), 0);
	assert_int_equal(close(saved), 0);
	assert_int_equal(unlink(path), 0);
}

static void
syslog_lines_have_the_form_of_syslog(void **state)
{
	int fd = listen_to_log(SOCK_DGRAM);
	char head[64];
	const char *message;

	(void)state;
	px_log_open("px-status-event", PX_LOG_SYSLOG, PX_NOTICE);
	px_log(PX_ERROR, "a\nb");
	px_log(PX_INFO, "not urgent");
	px_log_open("px-status", PX_LOG_STDERR, PX_NOTICE);
	message = next_message(fd);
	/* "<27>Nov 22 14:55:47 px-status-event[1]: ..." */
	assert_memory_equal(message, "<27>", 4);
	assert_int_equal(message[7], ' ');
	assert_int_equal(message[10], ' ');
	assert_int_equal(message[13], ':');
	assert_int_equal(message[16], ':');
	assert_int_not_equal(message[8], '0');
	(void)snprintf(head, sizeof(head), " px-status-event[%d]: a\\x0ab", (int)getpid());
	assert_string_equal(message + 19, head);
	assert_string_equal(next_message(fd), "");
	stop_listening(fd);
}

/* Sends ${text} and puts the pieces that came together again, which are ${said}. */
static void
send_and_join(const char *text, size_t parts, const char *said)
{
	int fd = listen_to_log(SOCK_DGRAM);
	char joined[8192] = "";
	size_t len = 0;

	assert_int_equal(px_log_event(ID, text, strlen(text)), 0);
	for (size_t part = 1; part <= parts; part++) {
		const char *message = next_message(fd);
		char head[128];
		size_t head_len;

		(void)snprintf(head, sizeof(head), "<27>px-status[%d]: event " ID " %zu/%zu ", (int)getpid(), part, parts);
		head_len = strlen(head);
		if (strncmp(message, head, head_len) != 0)
			fail_msg("'%.100s' is not '%s'", message, head);
		assert_true(strlen(message) <= 1024);
		/* No piece begins in the midst of a character. */
		assert_int_not_equal((unsigned char)message[head_len] & 0xc0, 0x80);
		len += (size_t)snprintf(joined + len, sizeof(joined) - len, "%s", message + head_len);
	}
	assert_string_equal(next_message(fd), "");
	assert_string_equal(joined, said);
	stop_listening(fd);
}

static void
events_go_to_syslog_in_pieces(void **state)
{
	static const struct {
		const char *unit;
		const char *said;
		size_t count;
		size_t parts;
	} rows[] = {
		{ "x", "x", 0, 1 },
		{ "x", "x", 1, 1 },
		{ "x", "x", 858, 1 },
		{ "x", "x", 859, 2 },
		{ "x", "x", 4000, 5 },
		{ "\xe2\x82\xac", "\xe2\x82\xac", 1000, 4 },
		{ "\xf0\x9f\x98\x80", "\xf0\x9f\x98\x80", 250, 2 },
		/* Control characters that JSON leaves as they are, and their neighbours. */
		{ "a\xc2\x9b", "a\\u009b", 250, 3 },
		{ "\xc2\x80", "\\u0080", 143, 1 },
		{ "\xe2\x80\xa8", "\\u2028", 144, 2 },
		{ "\xe2\x80\xa9\xe2\x80\xa7\xe2\x80\xaa", "\\u2029\xe2\x80\xa7\xe2\x80\xaa", 1, 1 },
		{ "\xc2\xa0", "\xc2\xa0", 429, 1 },
	};

	(void)state;
	px_log_open("px-status", PX_LOG_STDERR, PX_NOTICE);
	for (size_t i = 0; i < COUNT_OF(rows); i++) {
		char text[8192] = "";
		char said[8192] = "";
		size_t unit_len = strlen(rows[i].unit);
		size_t said_len = strlen(rows[i].said);

		for (size_t unit = 0; unit < rows[i].count; unit++) {
			memcpy(text + unit * unit_len, rows[i].unit, unit_len + 1);
			memcpy(said + unit * said_len, rows[i].said, said_len + 1);
		}
		send_and_join(text, rows[i].parts, said);
	}
}

/* A syslog may take it off. */
static void
a_blank_that_ends_a_piece_is_escaped(void **state)
{
	char text[900];
	char said[900];

	(void)state;
	memset(text, 'x', 857);
	(void)snprintf(text + 857, sizeof(text) - 857, " y z");
	memset(said, 'x', 857);
	(void)snprintf(said + 857, sizeof(said) - 857, "\\u0020y z");
	send_and_join(text, 2, said);
}

static void
a_stream_socket_gets_a_nul_behind_each_line(void **state)
{
	int fd = listen_to_log(SOCK_STREAM);
	char text[1001];
	char received[4096];
	ssize_t len;
	int accepted;

	(void)state;
	memset(text, 'x', sizeof(text) - 1);
	text[sizeof(text) - 1] = '\0';
	assert_int_equal(px_log_event(ID, text, strlen(text)), 0);
	accepted = accept4(fd, NULL, NULL, SOCK_CLOEXEC);
	assert_int_not_equal(accepted, -1);
	len = recv(accepted, received, sizeof(received), MSG_WAITALL);
	assert_in_range(len, 1000, sizeof(received) - 1);
	assert_int_equal(received[len - 1], '\0');
	assert_non_null(strstr(received, " 1/2 xxx"));
	assert_non_null(strstr(received + strlen(received) + 1, " 2/2 xxx"));
	assert_int_equal(strlen(received) + 1 + strlen(received + strlen(received) + 1) + 1, len);
	assert_int_equal(close(accepted), 0);
	stop_listening(fd);
}

static void
without_syslog_an_event_is_not_sent_and_a_line_is_lost(void **state)
{
	(void)state;
	assert_int_equal(px_log_event(ID, "x", 1), -1);
	px_log_open("px-status", PX_LOG_SYSLOG, PX_NOTICE);
	px_log(PX_ERROR, "x");
	px_log_open("px-status", PX_LOG_STDERR, PX_NOTICE);
}

/* Nobody reads: what the socket won't take is lost, and told, and nothing waits. */
static void
a_full_socket_is_not_waited_for(void **state)
{
	int fd = listen_to_log(SOCK_DGRAM);
	static char text[1 << 20];

	(void)state;
	memset(text, 'x', sizeof(text));
	assert_int_equal(px_log_event(ID, text, sizeof(text)), -1);
	stop_listening(fd);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(lines_to_stderr_have_a_name_and_no_control_characters),
		cmocka_unit_test(long_lines_are_cut_and_stay_lines),
		cmocka_unit_test(the_journal_is_told_by_device_and_inode),
		cmocka_unit_test(lines_in_the_journal_begin_with_their_level),
		cmocka_unit_test(syslog_lines_have_the_form_of_syslog),
		cmocka_unit_test(events_go_to_syslog_in_pieces),
		cmocka_unit_test(a_blank_that_ends_a_piece_is_escaped),
		cmocka_unit_test(a_stream_socket_gets_a_nul_behind_each_line),
		cmocka_unit_test(without_syslog_an_event_is_not_sent_and_a_line_is_lost),
		cmocka_unit_test(a_full_socket_is_not_waited_for),
	};

	return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
