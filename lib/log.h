/* SPDX-License-Identifier: MIT */
/*
 * One line a fact, to stderr, the journal or syslog. Control characters from outside are escaped. Sending to syslog never
 * waits: a message that the socket won't take at once is lost. Nothing here exits.
 */
#ifndef PX_LOG_H
#define PX_LOG_H

#include <stdbool.h>
#include <stddef.h>

#include "err.h"

enum px_level { PX_ERROR = 3, PX_WARNING = 4, PX_NOTICE = 5, PX_INFO = 6, PX_DEBUG = 7 };	/* RFC 5424, 6.2.1 */

enum px_log_target {
	PX_LOG_STDERR,	/* with "<N>" in front of each line when stderr is the journal */
	PX_LOG_SYSLOG	/* /dev/log, facility daemon (RFC 3164 as syslog(3) writes it) */
};

/* What is less urgent than ${level} is dropped. ${name} must outlive all logging. Until called: stderr, PX_NOTICE. */
void px_log_open(const char *name, enum px_log_target target, enum px_level level);

void px_log(enum px_level level, const char *format, ...) PX_PRINTF(2, 3);

/* Whether stderr is the journal: JOURNAL_STREAM names its device and inode (systemd.exec(5)). */
bool px_log_stderr_is_journal(const char *journal_stream);

/*
 * Sends ${text}, JSON, to syslog in lines of at most 1 KiB, "event ${id} ${part}/${parts} ${text}", whatever the target.
 * Control characters beyond ASCII become JSON's escapes. Makes no allocation and is safe in a signal handler. Returns 0
 * when every line was taken, else -1.
 */
int px_log_event(const char *id, const char *text, size_t len) PX_MUST_CHECK;

#endif
