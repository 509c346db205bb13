/* SPDX-License-Identifier: MIT */
#include "screen.h"

#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "err.h"
#include "text.h"

#define ESCAPED_MAX (64 << 10)
#define NARROWEST 80	/* what stands in columns needs as many */

static bool
has_colours(void)
{
	const char *no_color = getenv("NO_COLOR");
	const char *term = getenv("TERM");

	return (no_color == NULL || no_color[0] == '\0') && term != NULL && term[0] != '\0' && strcmp(term, "dumb") != 0 &&
	    isatty(STDOUT_FILENO);
}

const char *
screen_style(enum screen_style style)
{
	static const char *const styles[] = {
		[SCREEN_PLAIN] = "", [SCREEN_GOOD] = "\033[32m", [SCREEN_BAD] = "\033[31m", [SCREEN_HEADING] = "\033[1m",
	};

	return has_colours() ? styles[style] : "";
}

const char *
screen_style_end(enum screen_style style)
{
	return style != SCREEN_PLAIN && has_colours() ? "\033[0m" : "";
}

size_t
screen_width(void)
{
	struct winsize size = { .ws_col = 0 };

	if (!isatty(STDOUT_FILENO))
		return 0;
	if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == -1 || size.ws_col == 0)
		return 80;
	return size.ws_col < NARROWEST ? NARROWEST : size.ws_col;
}

/* Bytes of ${text} that are not wider than ${columns}. What takes three bytes or more may be two columns wide. */
static size_t
fitting(const char *text, size_t len, size_t columns)
{
	size_t at = 0;

	while (at < len) {
		size_t next = at + 1;

		while (next < len && ((unsigned char)text[next] & 0xc0) == 0x80)
			next++;
		if (columns < (next - at > 2 ? 2u : 1u))
			break;
		columns -= next - at > 2 ? 2 : 1;
		at = next;
	}
	return at;
}

void
screen_print(const char *text)
{
	struct px_buf shown = PX_BUF(ESCAPED_MAX);

	px_text_escape(&shown, text, strlen(text));
	printf("%s\n", px_buf_text(&shown));
	px_buf_clear(&shown);
}

void
screen_print_cut(size_t column, const char *text)
{
	struct px_buf shown = PX_BUF(ESCAPED_MAX);
	size_t width = screen_width();
	size_t room = width > column ? width - column : 0;

	px_text_escape(&shown, text, strlen(text));
	if (width == 0 || fitting(px_buf_text(&shown), shown.len, room) == shown.len)
		printf("%s\n", px_buf_text(&shown));
	else
		printf("%.*s%.*s\n", (int)fitting(px_buf_text(&shown), shown.len, room > 3 ? room - 3 : 0), px_buf_text(&shown),
		    (int)(room > 3 ? 3 : room), "...");
	px_buf_clear(&shown);
}

/* Bytes of the next line of at most ${columns}, up to the last blank where there is one. */
static size_t
next_line(const char *text, size_t len, size_t columns)
{
	size_t fits = fitting(text, len, columns);
	size_t line = fits;

	if (fits == len)
		return len;
	while (line > 0 && text[line] != ' ')
		line--;
	return line > 0 ? line : fits;
}

void
screen_print_wrapped(size_t column, const char *text)
{
	struct px_buf shown = PX_BUF(ESCAPED_MAX);
	size_t width = screen_width();
	const char *rest;
	size_t left;

	px_text_escape(&shown, text, strlen(text));
	rest = px_buf_text(&shown);
	left = shown.len;
	while (width > column + 1 && fitting(rest, left, width - column) < left) {
		size_t line = next_line(rest, left, width - column);

		printf("%.*s\n%*s", (int)line, rest, (int)column, "");
		line += rest[line] == ' ' ? 1 : 0;
		rest += line;
		left -= line;
	}
	printf("%s\n", rest);
	px_buf_clear(&shown);
}

void
screen_duration(char out[SCREEN_DURATION_MAX], int64_t s)
{
	int64_t days = s / 86400;
	int64_t hours = s / 3600 % 24;
	int64_t minutes = s / 60 % 60;

	if (days > 0)
		(void)snprintf(out, SCREEN_DURATION_MAX, "%" PRId64 "d %" PRId64 "h", days, hours);
	else if (hours > 0)
		(void)snprintf(out, SCREEN_DURATION_MAX, "%" PRId64 "h %" PRId64 "m", hours, minutes);
	else if (minutes > 0)
		(void)snprintf(out, SCREEN_DURATION_MAX, "%" PRId64 "m %" PRId64 "s", minutes, s % 60);
	else
		(void)snprintf(out, SCREEN_DURATION_MAX, "%" PRId64 "s", s);
}
