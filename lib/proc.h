/* SPDX-License-Identifier: MIT */
/*
 * Runs a program within a time and a size, without a shell: stdin is /dev/null, stdout comes back, a start of stderr tells
 * why it failed. And runs the same from a helper that keeps root when this process gives it away.
 */
#ifndef PX_PROC_H
#define PX_PROC_H

#include <stdbool.h>
#include <stdint.h>

#include "buf.h"

/* A command line taken apart. */
struct px_command {
	char **argv;	/* owned, NULL at its end; argv[0] is the absolute path of the program */
};

/*
 * Splits ${text} at blanks and tabs; '...' and "..." group, nothing escapes, no variables, no globs. A program without
 * '/' is looked up in /usr/local/sbin, /usr/local/bin, /usr/sbin, /usr/bin, /sbin, /bin. -1 with PX_CONFIG: nothing in
 * it, a quote not closed, a path that is not absolute; with PX_ABSENT: no such program, or none that may be run.
 */
int px_command_parse(struct px_command *out, const char *text, struct px_err *err) PX_MUST_CHECK;
void px_command_clear(struct px_command *command);

/*
 * Takes the next word of a command line off ${at} into ${word}, by the same rules. 1, 0 at the end, -1: a quote not
 * closed.
 */
int px_command_next_word(const char **at, struct px_buf *word) PX_MUST_CHECK;

/*
 * Runs ${command} in a process group of its own and appends its stdout to ${out} (whose limit is the size limit).
 * -1 with PX_LATER and one line that says why (with the start of stderr where it gave one): could not start, exit status
 * not 0, a signal, not done after ${timeout_ms}, more output than the limit. Whatever happens, when this returns every
 * process of the group that is still there was sent SIGKILL and no pipe is left open. A program that ends while a
 * child of it keeps the pipe open does not delay past ${timeout_ms}. Its environment is that of this process, but PATH,
 * which is the system folders.
 */
int px_proc_run(const struct px_command *command, int64_t timeout_ms, struct px_buf *out, struct px_err *err) PX_MUST_CHECK;

/* A helper process that runs commands for this one with the identity that it was started with. */
struct px_helper;

/*
 * Forks the helper; it knows these ${count} commands and no others, and ends when this process does. What it was given
 * in memory beyond that (open descriptors but its own socket) is closed. -1 with PX_BUG.
 */
int px_helper_start(struct px_helper **out, const struct px_command *const *commands, size_t count, struct px_err *err)
    PX_MUST_CHECK;

/* px_proc_run in the helper, of its command number ${index}. Never waits longer than ${timeout_ms} and a little. */
int px_helper_run(struct px_helper *helper, size_t index, int64_t timeout_ms, struct px_buf *out, struct px_err *err)
    PX_MUST_CHECK;

/* Ends the helper and waits for it; NULL is fine. */
void px_helper_stop(struct px_helper *helper);

#endif
