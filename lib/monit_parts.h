/* SPDX-License-Identifier: MIT */
/* Private to monit's sources: what a line says by itself, and what a status means. Everything else includes monit.h. */
#ifndef PX_MONIT_PARTS_H
#define PX_MONIT_PARTS_H

#include <stdbool.h>

#include "monit.h"

/*
 * Each returns whether ${line} is such a line, and fills ${out} or ${service}, slices of ${line}, only when it is.
 *
 * "The Monit daemon 5.7 uptime: 0m ", "Monit uptime: 16h 0m", "Monit 5.33.0 uptime: 3m".
 */
bool px_monit_read_header(struct px_monit_status *out, struct px_slice line);

/* Type 'name', where the name may hold the quote too and the type is words that begin with a capital. */
bool px_monit_read_service_line(struct px_slice line, struct px_monit_service *service);

/*
 * Monit's own command drops what stands from a line-drawing character (U+250C, U+2514, U+251C) to the start of the next
 * line. Of a name that holds one only a start is left, and what follows on the line is the service's ${status} line.
 */
bool px_monit_read_merged_line(struct px_slice line, struct px_monit_service *service, struct px_slice *status);

bool px_monit_is_known_type(struct px_slice type);

/* Sets ${state} and ${pending} of ${service} by its ${status}, off which it takes blanks at both ends. */
void px_monit_judge(struct px_monit_service *service);

#endif
