/* SPDX-License-Identifier: MIT */
#include "err.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "text.h"

/* Formats into ${out} and, where that was too small, ends it at a whole character. */
static PX_PRINTF(3, 0) void
format_whole(char *out, size_t size, const char *format, va_list args)
{
	int wanted = vsnprintf(out, size, format, args);

	if (wanted < 0)
		out[0] = '\0';
	else if ((size_t)wanted >= size)
		out[px_text_cut(out, size - 1, size - 1)] = '\0';
}

int
px_err_set(struct px_err *err, enum px_code code, const char *format, ...)
{
	va_list args;

	err->code = code;
	va_start(args, format);
	format_whole(err->text, sizeof(err->text), format, args);
	va_end(args);
	return -1;
}

int
px_err_set_errno(struct px_err *err, enum px_code code, int error_number, const char *format, ...)
{
	char what[PX_ERR_MAX];
	va_list args;

	va_start(args, format);
	format_whole(what, sizeof(what), format, args);
	va_end(args);
	return px_err_set(err, code, "%s: %s", what, strerror(error_number));
}

int
px_err_prefix(struct px_err *err, const char *format, ...)
{
	char where[PX_ERR_MAX];
	char said[PX_ERR_MAX];
	va_list args;

	va_start(args, format);
	format_whole(where, sizeof(where), format, args);
	va_end(args);
	memcpy(said, err->text, sizeof(said));
	return px_err_set(err, err->code, "%s: %s", where, said);
}

int
px_err_exit_status(enum px_code code)
{
	switch (code) {
	case PX_OK:
		return 0;
	case PX_ABSENT:
		return 1;
	case PX_USAGE:
		return 64;
	case PX_STORAGE:
	case PX_CORRUPT:
		return 74;
	case PX_LATER:
		return 75;
	case PX_DENIED:
		return 77;
	case PX_CONFIG:
		return 78;
	case PX_BUG:
		break;
	}
	return 70;
}

void
px_problems_add(struct px_problems *problems, const char *format, ...)
{
	va_list args;

	if (problems->count == PX_PROBLEMS_MAX) {
		problems->more++;
		return;
	}
	va_start(args, format);
	format_whole(problems->text[problems->count++], PX_PROBLEM_MAX, format, args);
	va_end(args);
}
