/* SPDX-License-Identifier: MIT */
#include "report.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "screen.h"

#define TEXT_MAX (2 * PX_ERR_MAX)

void
report_line(const char *verdict, const char *what, const char *text)
{
	enum screen_style style = strcmp(verdict, "ok") == 0 ? SCREEN_GOOD : strcmp(verdict, "failed") == 0 ? SCREEN_BAD : SCREEN_PLAIN;

	/* Not wrapped: some of it is there to be copied. */
	printf("%s%-7s%s %-14s ", screen_style(style), verdict, screen_style_end(style), what);
	screen_print(text);
}

void
report_more(const char *text)
{
	report_line("", "", text);
}

void
report_ok(const char *what, const char *format, ...)
{
	char text[TEXT_MAX];
	va_list args;

	va_start(args, format);
	(void)vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	report_line("ok", what, text);
}

void
report_warning(const char *what, const char *advice, const char *format, ...)
{
	char text[TEXT_MAX];
	va_list args;

	va_start(args, format);
	(void)vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	report_line("warning", what, text);
	report_more(advice);
}

void
report_failed(struct report *report, const char *what, const struct px_err *err, const char *advice)
{
	report_line("failed", what, err->text);
	if (advice[0] != '\0')
		report_more(advice);
	if (report->status == 0)
		report->status = px_err_exit_status(err->code);
}
