/* SPDX-License-Identifier: MIT */
/*
 * The command line: one table of options becomes getopt_long(3), --help and the completions. Mistakes are reported to
 * the program, which knows whether they cost anything. And what all programs do alike at start and end.
 */
#ifndef CLI_H
#define CLI_H

#include <stdbool.h>
#include <stddef.h>

#include "config.h"
#include "err.h"
#include "log.h"
#include "spool.h"

struct cli_option {
	char letter;		/* 0: only the long name */
	const char *name;
	const char *argument;	/* NULL: takes none; FILE, or words with '|' between, tell the completions what to offer */
	const char *help;	/* of px-status: behind the commands that take it and ": ", but where all do */
	int id;			/* what cli_parse hands out; the letter where there is one */
};

struct cli {
	const char *name;
	const char *synopsis;	/* behind the name */
	const char *about;	/* whole lines */
	const struct cli_option *options;
	size_t option_count;
	void (*print_commands)(void);	/* behind the options; NULL: has none */
	const char *more;		/* lines behind all that; NULL: none */
};

/*
 * Each option, operand and mistake in the order of the command line; everything behind "--" is an operand. --help and
 * --version behind a mistake are left out.
 */
struct cli_takers {
	void (*option)(void *arg, int id, const char *value);
	void (*operand)(void *arg, const char *text);
	void (*mistake)(void *arg, const char *text);
};

void cli_parse(const struct cli *cli, int argc, char *argv[], const struct cli_takers *takers, void *arg);

/* On stdout. Returns the exit status: 0, or 74 when stdout can't be written. */
int cli_help(const struct cli *cli);
int cli_version(const struct cli *cli);

/*
 * Behind the mistakes of the command line, which were logged: logs where the options are told, and returns the exit
 * status.
 */
int cli_refuse(const struct cli *cli);

/* Ends what was written to stdout. Returns 0, or 74 with a log line when it could not be written. */
int cli_finish_stdout(void);

/* Logs ${err}, on a terminal with what to do next where --check knows it, and returns its exit status. */
int cli_fail(const struct px_err *err);

/* The configuration file in force: ${option}, else PX_STATUS_CONFIG when it is set and not empty, else NULL. */
const char *cli_config_file(const char *option);

/* A line for each, and one for those that had no room. */
void cli_log_problems(const struct px_problems *problems, enum px_level level);

/*
 * Reads the whole configuration and logs every mistake as an error; ${spool}, when not NULL, replaces the spool's path.
 * -1 with PX_CONFIG when there was a mistake.
 */
int cli_read_config(struct px_config *config, const char *file, const char *spool, struct px_err *err) PX_MUST_CHECK;

/*
 * The spool of the command line, to which ${config} then refers, in place of the configured one. -1 with PX_USAGE when it
 * can't be a file's name.
 */
int cli_set_spool(struct px_config *config, const char *path, struct px_err *err) PX_MUST_CHECK;

/* Takes the identity of the owner of the folder of ${spool_path}. -1 with an error. */
int cli_become_spool_owner(const char *spool_path, bool *changed, struct px_err *err) PX_MUST_CHECK;

/* The same for who only looks: where there is no folder there is no spool, which is no error. */
int cli_become_spool_owner_to_look(const char *spool_path, struct px_err *err) PX_MUST_CHECK;

/* Fills ${birth} for this device, as far as it can be told who it is; what it points to lasts until the next call. */
int cli_birth(const struct px_config *config, struct px_spool_birth *birth, struct px_err *err) PX_MUST_CHECK;

/* What to do about a spool that is damaged. */
#define CLI_CORRUPT_ADVICE "the next flush sets the spool aside and saves what can be read; where it does not come " \
	"upon the damage, an empty file with the spool's name and '-damaged' behind it makes it do so"

#endif
