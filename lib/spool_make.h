/* SPDX-License-Identifier: MIT */
/* Private to the spool's sources: building a spool's file before anybody knows it. */
#ifndef PX_SPOOL_MAKE_H
#define PX_SPOOL_MAKE_H

#include "spool_db.h"

/*
 * Begins a spool beside ${path} (absolute) in ${fresh}, which is all zero, with a transaction open for what is to be in
 * it. px_make_end finishes, closes and syncs it, under the name ${fresh}->path. px_make_abandon removes it, at any point.
 */
int px_make_begin(struct px_spool *fresh, const char *path, const struct px_spool_birth *birth, struct px_err *err)
    PX_MUST_CHECK;
int px_make_end(struct px_spool *fresh, struct px_err *err) PX_MUST_CHECK;
void px_make_abandon(struct px_spool *fresh);

/*
 * Copies into ${fresh}, inside its transaction, what can be read of ${from}: items with new seqs in the old order, marks,
 * names of overflow files taken in, and what it replaces. ${carried} counts the items. -1 only when ${fresh} fails.
 */
int px_salvage(struct px_spool *from, struct px_spool *fresh, int64_t *carried, struct px_err *err) PX_MUST_CHECK;

/* Syncs the folder of ${path}. */
int px_make_sync_folder(const char *path, struct px_err *err) PX_MUST_CHECK;

#endif
