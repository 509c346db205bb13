/* SPDX-License-Identifier: MIT */
/*
 * What went wrong: a code that becomes an exit status, and one line for a person. Problems are what went wrong without
 * stopping anything. Nothing here allocates, prints or exits.
 */
#ifndef PX_ERR_H
#define PX_ERR_H

#include <stddef.h>

#define PX_ERR_MAX 512
#define PX_PROBLEMS_MAX 16
#define PX_PROBLEM_MAX 256

#define PX_PRINTF(format_at, args_at) __attribute__((format(printf, format_at, args_at)))
#define PX_MUST_CHECK __attribute__((warn_unused_result))

enum px_code {
	PX_OK,
	PX_ABSENT,	/* what was named is not there, or is not one thing */
	PX_USAGE,	/* options and operands */
	PX_BUG,		/* a bug here */
	PX_STORAGE,	/* the spool could not be read or written */
	PX_CORRUPT,	/* the spool is there and is not a whole spool */
	PX_LATER,	/* kept for later: upstream or the network */
	PX_DENIED,	/* upstream refuses our credentials */
	PX_CONFIG	/* configuration: file, URL, certificate or key files */
};

struct px_err {
	enum px_code code;
	char text[PX_ERR_MAX];
};

/* The first ${count} of ${text} are in use; ${more} counts those for which there was no room. */
struct px_problems {
	char text[PX_PROBLEMS_MAX][PX_PROBLEM_MAX];
	size_t count;
	size_t more;
};

/* Sets ${err} to ${code} and the text, cut at a character's end where it is too long. Always returns -1. */
int px_err_set(struct px_err *err, enum px_code code, const char *format, ...) PX_PRINTF(3, 4);

/* Like px_err_set, with ": " and strerror(3) of ${error_number} behind the text. Always returns -1. */
int px_err_set_errno(struct px_err *err, enum px_code code, int error_number, const char *format, ...) PX_PRINTF(4, 5);

/* Puts the text and ": " in front of what ${err} says. Always returns -1. */
int px_err_prefix(struct px_err *err, const char *format, ...) PX_PRINTF(2, 3);

/* The exit status for ${code}: sysexits.h where it has one, see EXIT STATUS in px-status(8). */
int px_err_exit_status(enum px_code code);

/* Adds a problem. The text is to be UTF-8 already; it is cut at a character's end. */
void px_problems_add(struct px_problems *problems, const char *format, ...) PX_PRINTF(2, 3);

#endif
