/* SPDX-License-Identifier: MIT */
#include "log.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "buf.h"
#include "text.h"

#define FACILITY_DAEMON (3 << 3)
#define SYSLOG_SOCKET "/dev/log"
#define LINE_MAX_BYTES 2048
#define EVENT_LINE_MAX 1024
#define ESCAPE_LEN strlen("\\u0080")

static const char *log_name = "px-status";
static enum px_log_target log_target = PX_LOG_STDERR;
static enum px_level log_level = PX_NOTICE;

void
px_log_open(const char *name, enum px_log_target target, enum px_level level)
{
	log_name = name;
	log_target = target;
	log_level = level;
}

bool
px_log_stderr_is_journal(const char *journal_stream)
{
	uintmax_t device;
	uintmax_t inode;
	struct stat st;

	if (journal_stream == NULL || sscanf(journal_stream, "%ju:%ju", &device, &inode) != 2)
		return false;
	return fstat(STDERR_FILENO, &st) == 0 && st.st_dev == device && st.st_ino == inode;
}

/* A socket that never waits, or -1. */
static int
connect_syslog(int type)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX, .sun_path = SYSLOG_SOCKET };
	int fd = socket(AF_UNIX, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	int saved;

	if (fd == -1 || connect(fd, (const struct sockaddr *)&address, sizeof(address)) == 0)
		return fd;
	saved = errno;
	(void)close(fd);
	errno = saved;
	return -1;
}

/* Like syslog(3): a datagram socket, or on EPROTOTYPE a stream where a NUL ends each message. */
static int
open_syslog(size_t *terminator)
{
	int fd = connect_syslog(SOCK_DGRAM);

	*terminator = 0;
	if (fd == -1 && errno == EPROTOTYPE) {
		fd = connect_syslog(SOCK_STREAM);
		*terminator = 1;
	}
	return fd;
}

/* "<30>Nov 22 14:55:47 " as syslog(3) writes it. Not safe in a signal handler. */
static void
add_syslog_head(struct px_buf *out, enum px_level level)
{
	static const char months[12][4] = { "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec" };
	char local[PX_RFC3339_MAX];
	int64_t month = 1;

	px_text_time_local(local, (int64_t)time(NULL) * PX_MS_PER_S);
	if (px_text_to_int64((struct px_slice){ local + 5, 2 }, 1, 12, &month) == -1)
		month = 1;
	px_buf_printf(out, "<%d>%s %c%c %s %s[%d]: ", FACILITY_DAEMON | (int)level, months[month - 1],
	    local[8] == '0' ? ' ' : local[8], local[9], local + 11, log_name, (int)getpid());
}

static void
send_to_syslog(enum px_level level, const struct px_buf *text)
{
	struct px_buf line = PX_BUF(LINE_MAX_BYTES + 128);
	size_t terminator;
	int fd = open_syslog(&terminator);

	if (fd == -1)
		return;
	add_syslog_head(&line, level);
	px_buf_add(&line, px_buf_text(text), text->len);
	if (!line.failed)
		(void)send(fd, px_buf_text(&line), line.len + terminator, MSG_DONTWAIT | MSG_NOSIGNAL);
	px_buf_clear(&line);
	(void)close(fd);
}

static void
write_to_stderr(enum px_level level, const struct px_buf *text)
{
	struct px_buf line = PX_BUF(LINE_MAX_BYTES + 128);

	if (px_log_stderr_is_journal(getenv("JOURNAL_STREAM")))
		px_buf_printf(&line, "<%d>", (int)level);
	else
		px_buf_printf(&line, "%s: ", log_name);
	px_buf_add(&line, px_buf_text(text), text->len);
	px_buf_add_byte(&line, '\n');
	/* One write, so that lines of several processes don't mix; nobody is left to hear that it failed. */
	if (!line.failed && write(STDERR_FILENO, px_buf_text(&line), line.len) == -1)
		errno = 0;
	px_buf_clear(&line);
}

void
px_log(enum px_level level, const char *format, ...)
{
	char said[LINE_MAX_BYTES / 4];
	struct px_buf text = PX_BUF(LINE_MAX_BYTES);
	int saved = errno;
	va_list args;

	if (level > log_level)
		return;
	va_start(args, format);
	(void)vsnprintf(said, sizeof(said), format, args);
	va_end(args);
	px_text_escape(&text, said, strlen(said));
	if (log_target == PX_LOG_SYSLOG)
		send_to_syslog(level, &text);
	else
		write_to_stderr(level, &text);
	px_buf_clear(&text);
	errno = saved;
}

/* Appends the decimal digits of ${number}: snprintf(3) is not safe in a signal handler. */
static size_t
put_number(char *out, size_t number)
{
	char digits[24];
	size_t count = 0;

	do {
		digits[count++] = (char)('0' + number % 10);
		number /= 10;
	} while (number > 0);
	for (size_t i = 0; i < count; i++)
		out[i] = digits[count - 1 - i];
	return count;
}

static size_t
put_text(char *out, const char *text)
{
	size_t len = 0;

	while (text[len] != '\0') {
		out[len] = text[len];
		len++;
	}
	return len;
}

/*
 * Bytes of the control character or line separator that ${text} begins with, of those that JSON may leave as they are and a
 * terminal does not: U+0080 to U+009F, U+2028 and U+2029. 0: it begins with none.
 */
static size_t
control_len(const char *text, size_t len)
{
	const unsigned char *in = (const unsigned char *)text;

	if (len >= 2 && in[0] == 0xc2 && in[1] >= 0x80 && in[1] < 0xa0)
		return 2;
	return len >= 3 && in[0] == 0xe2 && in[1] == 0x80 && (in[2] == 0xa8 || in[2] == 0xa9) ? 3 : 0;
}

/* Length of the next piece of ${text}: whole characters where it is UTF-8, and never nothing. */
static size_t
next_piece(const char *text, size_t len, size_t room)
{
	size_t end = 0;
	size_t piece;

	for (size_t used = 0; end < len; ) {
		size_t control = control_len(text + end, len - end);

		used += control > 0 ? ESCAPE_LEN : 1;
		if (used > room)
			break;
		end += control > 0 ? control : 1;
	}
	piece = px_text_cut(text, len, end);
	return piece > 0 ? piece : end;
}

/*
 * Writes the piece; a control character as JSON may have it, too, and a blank at the end: journald takes off such (systemd
 * 252, journald-syslog.c).
 */
static size_t
put_piece(char *out, const char *text, size_t len)
{
	static const char digits[] = "0123456789abcdef";
	size_t used = 0;

	for (size_t at = 0; at < len; ) {
		size_t control = control_len(text + at, len - at);
		unsigned char last = (unsigned char)text[at + (control > 0 ? control - 1 : 0)];

		if (text[at] == ' ' && at + 1 == len) {
			used += put_text(out + used, "\\u0020");
			break;
		}
		if (control == 0) {
			out[used++] = text[at++];
			continue;
		}
		used += put_text(out + used, control == 2 ? "\\u00" : "\\u20");
		last = control == 2 ? last : (unsigned char)(last - 0x80);
		out[used++] = digits[last >> 4];
		out[used++] = digits[last & 15];
		at += control;
	}
	return used;
}

int
px_log_event(const char *id, const char *text, size_t len)
{
	/* The head below, with an id of 36 bytes and numbers of 7 digits, and what a blank at the end takes. */
	const size_t room = EVENT_LINE_MAX - 160 - ESCAPE_LEN;
	size_t parts = 0;
	size_t terminator;
	int rc = 0;
	int fd = open_syslog(&terminator);

	if (fd == -1)
		return -1;
	for (size_t at = 0; at < len || parts == 0; parts++)
		at += next_piece(text + at, len - at, room);
	for (size_t at = 0, part = 1; part <= parts; part++) {
		size_t piece = next_piece(text + at, len - at, room);
		char line[EVENT_LINE_MAX];
		size_t used = 0;

		used += put_text(line + used, "<27>");	/* daemon.err */
		used += put_text(line + used, log_name);
		used += put_text(line + used, "[");
		used += put_number(line + used, (size_t)getpid());
		used += put_text(line + used, "]: event ");
		used += put_text(line + used, id);
		used += put_text(line + used, " ");
		used += put_number(line + used, part);
		used += put_text(line + used, "/");
		used += put_number(line + used, parts);
		used += put_text(line + used, " ");
		used += put_piece(line + used, text + at, piece);
		line[used] = '\0';
		if (send(fd, line, used + terminator, MSG_DONTWAIT | MSG_NOSIGNAL) == -1)
			rc = -1;
		at += piece;
	}
	(void)close(fd);
	return rc;
}
