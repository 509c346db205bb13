/* SPDX-License-Identifier: MIT */
/* Inside of proc only: what its parts have in common. */
#ifndef PX_PROC_PARTS_H
#define PX_PROC_PARTS_H

#include "proc.h"

/* Where programs are looked up, and the PATH that they get. */
#define PROC_FOLDERS "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

#define PROC_REAP_MS 1000	/* how long what was killed may take to be gone */

int64_t px_proc_monotonic_ms(void);

/* Closes ${fd} and makes it -1, which is fine too. */
void px_proc_close(int *fd);

/* px_proc_run, which ends too when the other end of the socket ${watched} is closed; -1: no such socket. */
int px_proc_run_for(const struct px_command *command, int watched, int64_t timeout_ms, struct px_buf *out,
    struct px_err *err)
    PX_MUST_CHECK;

#endif
