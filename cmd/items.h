/* SPDX-License-Identifier: MIT */
/* The commands of px-status that are about items: list, show, export, retry, drop. */
#ifndef ITEMS_H
#define ITEMS_H

#include <stdbool.h>

#include "buf.h"
#include "config.h"
#include "spool.h"

#define STATUS_OPERANDS_MAX 1024
#define STATUS_LINE_MAX (PX_SNAPSHOT_MAX + (64 << 10))

/* What the command line asks for. */
struct status_request {
	const char *config_file;
	const char *spool_file;
	bool json;
	bool prometheus;
	bool all;
	const char *state;
	int64_t max_age_ms;
	bool help;
	bool version;
	const char *command;
	const char *operands[STATUS_OPERANDS_MAX];
	size_t operand_count;
	char given[16];		/* letters of the command options that were given, see struct command */
	size_t mistakes;

	struct px_config config;
	struct px_spool *spool;	/* NULL: does not exist yet */
	struct px_buf line;
	int status;		/* of a command that did its work and has bad news */
};

/* Commands: what they print goes to stdout. -1 with what is wrong. */
int items_list(struct status_request *request, struct px_err *err) PX_MUST_CHECK;
int items_show(struct status_request *request, struct px_err *err) PX_MUST_CHECK;
int items_export(struct status_request *request, struct px_err *err) PX_MUST_CHECK;
int items_retry(struct status_request *request, struct px_err *err) PX_MUST_CHECK;
int items_drop(struct status_request *request, struct px_err *err) PX_MUST_CHECK;

/* Writes ${line} to stdout and empties it. -1 when it could not be written or made. */
int items_print_line(struct px_buf *line);

#endif
