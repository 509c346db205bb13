/* SPDX-License-Identifier: MIT */
/* The lines that `px-status-flush --check` prints to stdout: a verdict, what was checked, and what is to be said of it. */
#ifndef REPORT_H
#define REPORT_H

#include "err.h"

struct report {
	int status;	/* exit status of the first line that failed; 0: none did */
};

/* A line of any verdict; ${text} is shown with control characters escaped. */
void report_line(const char *verdict, const char *what, const char *text);

/* One more line below, without a verdict of its own. */
void report_more(const char *text);

void report_ok(const char *what, const char *format, ...) PX_PRINTF(2, 3);

/* What works and may be trouble all the same; ${advice} is what to do. */
void report_warning(const char *what, const char *advice, const char *format, ...) PX_PRINTF(3, 4);

/* ${advice} is what to do, "" where the error says it. */
void report_failed(struct report *report, const char *what, const struct px_err *err, const char *advice);

#endif
