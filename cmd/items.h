/* SPDX-License-Identifier: MIT */
/* The commands of px-status that are about items: list, show, export, retry, drop. */
#ifndef ITEMS_H
#define ITEMS_H

#include "request.h"

/* Commands: what they print goes to stdout. -1 with what is wrong. */
int items_list(struct request *request, struct px_err *err) PX_MUST_CHECK;
int items_show(struct request *request, struct px_err *err) PX_MUST_CHECK;
int items_export(struct request *request, struct px_err *err) PX_MUST_CHECK;
int items_retry(struct request *request, struct px_err *err) PX_MUST_CHECK;
int items_drop(struct request *request, struct px_err *err) PX_MUST_CHECK;

/* Writes ${line} to stdout and empties it. -1 when it could not be written or made. */
int items_print_line(struct px_buf *line);

#endif
