/* SPDX-License-Identifier: MIT */
#include "report.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "text.h"

#define TEXT_MAX (2 * PX_ERR_MAX)

void
report_line(const char *verdict, const char *what, const char *text)
{
	struct px_buf shown = PX_BUF(8 * TEXT_MAX);

	px_text_escape(&shown, text, strlen(text));
	printf("%-7s %-14s %s\n", verdict, what, px_buf_text(&shown));
	px_buf_clear(&shown);
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
report_failed(struct report *report, const char *what, const struct px_err *err, const char *advice)
{
	report_line("failed", what, err->text);
	if (advice[0] != '\0')
		report_more(advice);
	if (report->status == 0)
		report->status = px_err_exit_status(err->code);
}
