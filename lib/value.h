/* SPDX-License-Identifier: MIT */
/*
 * The typed value of one line of `monit status`, by a table of the forms that Monit prints. Pure. A text that fits no
 * form whole stays a string, exactly as Monit gave it.
 */
#ifndef PX_VALUE_H
#define PX_VALUE_H

#include "buf.h"
#include "text.h"

/*
 * Writes the value of ${text} under ${label} as JSON to ${out}, an element without a key. Local times are read in the
 * zone ${offset}.
 */
void px_value_write(struct px_buf *out, struct px_slice label, struct px_slice text, px_offset_fn *offset);

#endif
