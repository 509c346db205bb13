/* SPDX-License-Identifier: MIT */
/*
 * The text of one of Monit's control files, for the few facts that --check looks at. No parser of Monit's language: words,
 * quoted strings and comments, and which word follows which (monit(1), THE MONIT CONTROL FILE).
 */
#ifndef PX_MONITRC_H
#define PX_MONITRC_H

#include <stdbool.h>

#include "text.h"

enum px_monitrc_kind {
	PX_MONITRC_INCLUDE,	/* include TEXT: a pattern as glob(7) */
	PX_MONITRC_SERVICE,	/* check TYPE TEXT */
	PX_MONITRC_INTERFACE,	/* check network SERVICE with interface TEXT */
	PX_MONITRC_COMMAND	/* exec "TEXT", or the path of a check program: with its arguments */
};

/* Slices are of the text that was read, without quotes. */
struct px_monitrc_fact {
	enum px_monitrc_kind kind;
	struct px_slice text;
	struct px_slice service;	/* whose block it stands in, or begins; empty before the first */
	bool in_system;			/* that block is a check system */
	size_t line;			/* from 1, where ${text} begins */
};

/* Calls ${each} for every fact in the order of ${text}, which may be any bytes. */
typedef void px_monitrc_fn(void *arg, const struct px_monitrc_fact *fact);
void px_monitrc_read(struct px_slice text, px_monitrc_fn *each, void *arg);

#endif
