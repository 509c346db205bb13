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
	enum screen_style style = strcmp(verdict, "ok") == 0 ? SCREEN_GOOD : strcmp(verdict, "failed") == 0 ? SCREEN_BAD :
	    SCREEN_PLAIN;

	/* Not wrapped: some of it is there to be copied. */
	printf("%s%-7s%s %-14s ", screen_style(style), verdict, screen_style_end(style), what);
	screen_print(text);
}

void
report_more(const char *text)
{
	report_line("", "", text);
}

static void PX_PRINTF(3, 0)
report_format(const char *verdict, const char *what, const char *format, va_list args)
{
	char text[TEXT_MAX];

	(void)vsnprintf(text, sizeof(text), format, args);
	report_line(verdict, what, text);
}

void
report_ok(const char *what, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	report_format("ok", what, format, args);
	va_end(args);
}

void
report_warning(const char *what, const char *advice, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	report_format("warning", what, format, args);
	va_end(args);
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
