/* SPDX-License-Identifier: MIT */
/* A snapshot's document from what Monit said, or from the reason why it said nothing. Pure. */
#ifndef PX_SNAPSHOT_H
#define PX_SNAPSHOT_H

#include "item.h"
#include "monit.h"

/*
 * Writes the body (see item.h) of a snapshot taken at ${made} into ${body}, an empty buffer whose limit the caller chose
 * (PX_SNAPSHOT_MAX less PX_ITEM_JOIN_MAX). Labels become keys; labels that come more than once become arrays. Linear.
 * -1 with PX_LATER when it does not fit: write px_snapshot_write_unreachable with that error's text then.
 */
int px_snapshot_write(struct px_buf *body, const struct px_now *made, const struct px_monit_status *status,
    px_offset_fn *offset, struct px_err *err) PX_MUST_CHECK;

/* The same for a Monit that could not be asked; ${reason} is cleaned here. -1 only for want of memory. */
int px_snapshot_write_unreachable(struct px_buf *body, const struct px_now *made, const char *reason, struct px_err *err)
    PX_MUST_CHECK;

#endif
