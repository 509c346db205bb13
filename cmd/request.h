/* SPDX-License-Identifier: MIT */
/* What the command line of px-status asks for, and what its commands work with. */
#ifndef REQUEST_H
#define REQUEST_H

#include <stdbool.h>

#include "buf.h"
#include "config.h"
#include "spool.h"

#define REQUEST_OPERANDS_MAX 1024
#define REQUEST_LINE_MAX (PX_SNAPSHOT_MAX + (64 << 10))

struct request {
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
	const char *operands[REQUEST_OPERANDS_MAX];
	size_t operand_count;
	char given[16];		/* letters of the command options that were given, see struct command */
	size_t mistakes;

	struct px_config config;
	struct px_spool *spool;	/* NULL: does not exist yet */
	struct px_buf line;
	int status;		/* of a command that did its work and has bad news */
};

#endif
