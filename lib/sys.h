/* SPDX-License-Identifier: MIT */
/* The operating system: clocks, random bytes, files, locks and identity. Knows nothing of spools and items. */
#ifndef PX_SYS_H
#define PX_SYS_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "buf.h"
#include "item.h"

/*
 * Opens /dev/null, or / where there is none, on each of the three standard streams that is closed, so that no file of ours
 * gets its number.
 */
int px_sys_fix_streams(struct px_err *err) PX_MUST_CHECK;

/* SIGPIPE and SIGXFSZ ignored, SIGHUP, SIGALRM, SIGCHLD and SIGTERM back to their defaults and unblocked; umask(077). */
void px_sys_fix_signals(void);

/* No core dump of this process can be read by anybody: RLIMIT_CORE 0 and PR_SET_DUMPABLE 0 (prctl(2)). */
void px_sys_forbid_dumps(void);

/* Both clocks and the boot id; boot_id is "" where /proc does not tell. Never fails. */
void px_sys_now(struct px_now *now);

/* Random bytes, getrandom(2). Without it (a very old kernel) /dev/urandom. -1 with PX_BUG. */
int px_sys_random(void *out, size_t len, struct px_err *err) PX_MUST_CHECK;

/* A new UUIDv7 for ${wall_ms}; a new UUIDv4. */
int px_sys_id_v7(char out[PX_ID_MAX], int64_t wall_ms, struct px_err *err) PX_MUST_CHECK;
int px_sys_id_v4(char out[PX_ID_MAX], struct px_err *err) PX_MUST_CHECK;

/* gethostname(2), cleaned; "localhost" where there is none. */
void px_sys_host_name(char *out, size_t size);

enum px_file_trust {
	PX_FILE_ANY,		/* any regular file */
	PX_FILE_SECRET		/* others have no permission on it, its owner is root or who runs (effective uid) */
};

/*
 * Reads a whole regular file of at most ${out}'s limit, without ever waiting for a FIFO or device. -1 with PX_CONFIG and
 * a text that names ${path} and why; with PX_ABSENT when there is no such file.
 */
int px_sys_read_file(const char *path, enum px_file_trust trust, struct px_buf *out, struct px_err *err) PX_MUST_CHECK;

/*
 * Whether only root can change ${path}: it and every folder above it is root's and neither group nor others may write
 * (a sticky folder counts as not writable). -1 with PX_CONFIG and the name of what is not so.
 */
int px_sys_only_root_writes(const char *path, struct px_err *err) PX_MUST_CHECK;

/* The same where files and folders may be ${owner}'s too. */
int px_sys_only_owner_writes(const char *path, uid_t owner, struct px_err *err) PX_MUST_CHECK;

/*
 * Run by root: takes the uid and gid of ${folder}'s owner and no other groups, for good (real, effective, saved). A
 * folder of root's, and anybody but root, changes nothing. The folder's group counts unless it is root's; then the
 * owner's from /etc/passwd. ${changed} tells. -1 with PX_STORAGE when ${folder} is not there, no folder, or behind a
 * link that is neither root's nor its owner's; PX_BUG when the change itself fails.
 */
int px_sys_become_owner(const char *folder, bool *changed, struct px_err *err) PX_MUST_CHECK;

/*
 * Run by root: whether the user ${uid} may read ${path}, with the groups that he has as in initgroups(3), or with
 * ${gid} alone where /etc/passwd and its like know no such user. Changes nothing here: a child asks. -1 with PX_BUG
 * when that can't be told.
 */
int px_sys_may_read(uid_t uid, gid_t gid, const char *path, bool *may, struct px_err *err) PX_MUST_CHECK;

/* The folder of ${path} as dirname(3) sees it, in ${out} of PATH_MAX bytes. -1 with PX_CONFIG when it is too long. */
int px_sys_folder_of(const char *path, char *out, size_t size, struct px_err *err) PX_MUST_CHECK;

/*
 * Takes the lock file ${path}, made 0600 when it is not there, waiting at most ${wait_ms}. Returns its descriptor, to be
 * given to px_sys_unlock; the kernel gives the lock back when the process ends. -1 with PX_LATER when another holds
 * it, PX_STORAGE when it can't be opened. flock(2).
 */
int px_sys_lock(const char *path, int64_t wait_ms, struct px_err *err) PX_MUST_CHECK;
void px_sys_unlock(int fd);

/* Makes the empty file ${path}, 0600, when nothing has that name; for a mark that may be missing. mknod(2). */
void px_sys_mark(const char *path);

/* Sleeps for ${ms}, through signals that are ignored. */
void px_sys_sleep_ms(int64_t ms);

#endif
