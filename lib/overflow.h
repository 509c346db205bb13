/* SPDX-License-Identifier: MIT */
/*
 * The overflow folder beside the spool: events that could not enter it, a file each, written so that they survive power
 * loss. A recorder puts them there, a flush takes them out. Knows nothing of SQLite and JSON.
 */
#ifndef PX_OVERFLOW_H
#define PX_OVERFLOW_H

#include <stdbool.h>
#include <stdint.h>

#include "item.h"

#define PX_OVERFLOW_MAX_FILES 10000
#define PX_OVERFLOW_MAX_BYTES (64 << 20)

/* Writes "overflow" beside ${spool_path} into ${out}. -1 with PX_CONFIG when it is too long. */
int px_overflow_folder(const char *spool_path, char *out, size_t size, struct px_err *err) PX_MUST_CHECK;

/*
 * Puts ${document} (JSON of the event ${id}) into ${folder}, which is made 0700 when it is not there: written, synced,
 * renamed, folder synced. ${perhaps_seq} is what the spool may hold it under after a failure that left that open, else 0.
 * -1 with PX_STORAGE: the folder is full by PX_OVERFLOW_MAX_FILES or _BYTES (half of them, where its lock was not to be
 * had in 3 s), or can't be written; then no file of that name is left.
 */
int px_overflow_put(const char *folder, const char *id, int64_t perhaps_seq, struct px_slice document, struct px_err *err)
    PX_MUST_CHECK;

/* One file of the folder; ${document} is what stands in it. */
struct px_overflow_file {
	const char *name;
	char id[PX_ID_MAX];
	int64_t perhaps_seq;
	struct px_slice document;
};

/* What became of a file: kept for the next flush, to be removed, or set aside because it can never be taken in. */
enum px_overflow_fate { PX_OVERFLOW_KEEP, PX_OVERFLOW_REMOVE, PX_OVERFLOW_BROKEN };

/* Returns the file's fate; sets ${stop} to end the walk after it. */
typedef enum px_overflow_fate px_overflow_fn(void *arg, const struct px_overflow_file *file, bool *stop);

/*
 * Calls ${each} for every event file, oldest id first, then does what it said; a removed file is gone for good (folder
 * synced) when ${removed}, called next with its name, runs. Files left by recorders that died while writing are removed
 * after an hour. A file that is no regular file of its own, or too large for an event, is set aside as NAME.bad. No
 * folder is success. -1 with PX_STORAGE when it can't be read.
 */
int px_overflow_each(const char *folder, px_overflow_fn *each, void (*removed)(void *arg, const char *name), void *arg,
    struct px_err *err) PX_MUST_CHECK;

/* Number of event files that wait. 0 when there is no folder. */
int64_t px_overflow_count(const char *folder);

#endif
