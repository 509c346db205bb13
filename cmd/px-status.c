/* SPDX-License-Identifier: MIT */
/* Looks after the spool. See px-status(8). */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "cli.h"
#include "items.h"
#include "log.h"
#include "request.h"
#include "screen.h"
#include "stats.h"
#include "sys.h"

#define SPOOL_WAIT_MS 10000

enum option_id { OPTION_JSON = 256, OPTION_PROMETHEUS, OPTION_STATE, OPTION_MAX_AGE, OPTION_ALL };

static const struct cli_option options[] = {
	{ 'c', "config", "FILE", "configuration [" PX_CONFIG_DEFAULT_FILE "]", 'c' },
	{ 's', "spool", "FILE", "the spool, instead of the configured one", 's' },
	{ 0, "json", NULL, "list, stats: as JSON", OPTION_JSON },
	{ 0, "prometheus", NULL, "stats: for a textfile collector", OPTION_PROMETHEUS },
	{ 0, "state", "pending|quarantined", "list: only these", OPTION_STATE },
	{ 0, "max-age", "TIME", "health: how old a pending item may be [1h]", OPTION_MAX_AGE },
	{ 0, "all", NULL, "retry: every quarantined item", OPTION_ALL },
	{ 'h', "help", NULL, "print this help", 'h' },
	{ 'V', "version", NULL, "print the version", 'V' },
};

static void
take_mistake(void *arg, const char *text)
{
	struct request *request = arg;

	request->mistakes++;
	px_log(PX_ERROR, "%s", text);
}

static void
note_given(struct request *request, char letter)
{
	size_t len = strlen(request->given);

	if (len < sizeof(request->given) - 1 && strchr(request->given, letter) == NULL)
		request->given[len] = letter;
}

static void
take_option(void *arg, int id, const char *value)
{
	struct request *request = arg;

	switch (id) {
	case 'c':
		request->config_file = value;
		break;
	case 's':
		request->spool_file = value;
		break;
	case OPTION_JSON:
		request->json = true;
		note_given(request, 'j');
		break;
	case OPTION_PROMETHEUS:
		request->prometheus = true;
		note_given(request, 'p');
		break;
	case OPTION_ALL:
		request->all = true;
		note_given(request, 'a');
		break;
	case OPTION_STATE:
		request->state = value;
		note_given(request, 's');
		if (strcmp(value, "pending") != 0 && strcmp(value, "quarantined") != 0)
			take_mistake(request, "--state is pending or quarantined");
		break;
	case OPTION_MAX_AGE:
		note_given(request, 'm');
		if (px_text_to_duration_ms(px_slice(value), &request->max_age_ms) == -1)
			take_mistake(request, "--max-age is a time such as 30m or 1h");
		break;
	case 'h':
		request->help = true;
		break;
	default:
		request->version = true;
		break;
	}
}

static void
take_operand(void *arg, const char *text)
{
	struct request *request = arg;

	if (request->command == NULL)
		request->command = text;
	else if (request->operand_count < REQUEST_OPERANDS_MAX)
		request->operands[request->operand_count++] = text;
	else
		take_mistake(request, "too many operands");
}

static int
run_stats(struct request *request, struct px_err *err)
{
	static struct stats stats;

	if (stats_read(&stats, request->config.spool.path, request->spool, err) == -1)
		return -1;
	if (request->json) {
		stats_write_json(&stats, &request->line);
		(void)items_print_line(&request->line);
	} else if (request->prometheus) {
		stats_print_prometheus(&stats);
	} else {
		return stats_print(&stats, request->spool, err);
	}
	return 0;
}

#define NO_URL "no URL to send to yet: set [upstream] url, or enrol the device"

/* Whether the device knows where to send to, as far as that can be told. */
static bool
has_url(const struct request *request)
{
	static struct px_device device;
	char host_name[256];
	struct px_err unknown;

	px_sys_host_name(host_name, sizeof(host_name));
	return px_config_device(&request->config, host_name, &device, &unknown) == -1 || device.url[0] != '\0';
}

/*
 * For a Monit `check program`: the line is what Monit shows. What stopped the last try is no reason any more where
 * there is no URL now; without one nothing is tried.
 */
static int
run_health(struct request *request, struct px_err *err)
{
	static struct stats stats;
	int64_t age_ms;
	int last_status;

	if (stats_read(&stats, request->config.spool.path, request->spool, err) == -1)
		return -1;
	age_ms = stats.oldest_pending_ms > 0 ? stats.now.wall_ms - stats.oldest_pending_ms : 0;
	last_status = stats.run_count > 0 ? stats.runs[0].exit_status : 0;
	request->status = px_err_exit_status(PX_ABSENT);
	if (last_status == px_err_exit_status(PX_DENIED) || last_status == px_err_exit_status(PX_CONFIG)) {
		printf("not well: ");
		screen_print(has_url(request) ? stats.runs[0].reason : NO_URL);
	} else if (stats.facts.quarantined > 0) {
		printf("not well: %" PRId64 " %s quarantined, see px-status list --state quarantined\n",
		    stats.facts.quarantined, px_text_plural(stats.facts.quarantined, "item is", "items are"));
	} else if (age_ms > request->max_age_ms) {
		printf("not well: %" PRId64 " %s pending, the oldest for %" PRId64 " s%s\n", stats.facts.pending,
		    px_text_plural(stats.facts.pending, "item is", "items are"), age_ms / PX_MS_PER_S,
		    has_url(request) ? "" : "; " NO_URL);
	} else {
		printf("well: %" PRId64 " %s pending, %" PRId64 " acknowledged\n", stats.facts.pending,
		    px_text_plural(stats.facts.pending, "item", "items"), stats.facts.acknowledged);
		request->status = 0;
	}
	return 0;
}

static void
print_setting(void *arg, const char *section, const char *key, const char *value, int line)
{
	const struct request *request = arg;
	char name[64];

	(void)snprintf(name, sizeof(name), "[%s] %s", section, key);
	if (request->spool_file != NULL && strcmp(section, "spool") == 0 && strcmp(key, "path") == 0)
		printf("%-32s = %s    (--spool)\n", name, value);
	else if (line > 0)
		printf("%-32s = %s    (%s:%d)\n", name, value, request->config.file, line);
	else
		printf("%-32s = %s    (default)\n", name, value);
}

static int
run_config(struct request *request, struct px_err *err)
{
	struct px_device device;
	char host_name[256];

	px_config_each(&request->config, print_setting, request);
	px_sys_host_name(host_name, sizeof(host_name));
	if (px_config_device(&request->config, host_name, &device, err) == -1)
		return -1;
	printf("\n%-32s = %s    (%s)\n", "device id", device.id, device.id_origin);
	printf("%-32s = %s\n", "device name", device.name);
	if (device.url[0] != '\0')
		printf("%-32s = %s    (%s)\n", "upstream URL", device.url, device.url_origin);
	else
		printf("%-32s   none yet: nothing is sent\n", "upstream URL");
	return 0;
}

static const struct command {
	const char *name;
	const char *operands;	/* for --help */
	const char *help;
	int (*run)(struct request *request, struct px_err *err);
	const char *takes;	/* letters of options: j --json, p --prometheus, s --state, m --max-age, a --all */
	size_t min_operands;
	size_t max_operands;
	bool reads_spool;
} commands[] = {
	{ "list", "", "the items in order of seq", items_list, "js", 0, 0, true },
	{ "show", " ID", "one item whole", items_show, "", 1, 1, true },
	{ "stats", "", "counters, sizes, ages and the last runs", run_stats, "jp", 0, 0, true },
	{ "health", "", "one line, and whether all is well by the exit status", run_health, "m", 0, 0, true },
	{ "export", "", "every item as JSON lines", items_export, "", 0, 0, true },
	{ "retry", " ID ...", "quarantined items back to pending", items_retry, "a", 0, REQUEST_OPERANDS_MAX, true },
	{ "drop", " ID ...", "remove items for good", items_drop, "", 1, REQUEST_OPERANDS_MAX, true },
	{ "config", "", "every setting in force and where it came from", run_config, "", 0, 0, false },
};

#define COMMAND_COUNT (sizeof(commands) / sizeof(commands[0]))

static void
print_commands(void)
{
	printf("Commands:\n");
	for (size_t i = 0; i < COMMAND_COUNT; i++)
		printf("  %s%-*s %s\n", commands[i].name, (int)(14 - strlen(commands[i].name)), commands[i].operands, commands[i].help);
}

static const struct cli cli = {
	.name = "px-status",
	.synopsis = "[options] COMMAND [ID ...]",
	.about = "Looks after the spool.\n",
	.options = options,
	.option_count = sizeof(options) / sizeof(options[0]),
	.print_commands = print_commands,
	.more = "An ID is an item's id, a unique start of one, or its seq.\n"
	    "The environment variable PX_STATUS_CONFIG names another configuration.\nSee px-status(8).\n",
};

/* -1 with PX_USAGE when ${request} is not what ${command} takes. */
static int
check_request(const struct command *command, const struct request *request, struct px_err *err)
{
	if (strspn(request->given, command->takes) != strlen(request->given))
		return px_err_set(err, PX_USAGE, "'%s' does not take such an option; see px-status --help", command->name);
	if (request->json && request->prometheus)
		return px_err_set(err, PX_USAGE, "--json and --prometheus exclude each other");
	if (request->operand_count < command->min_operands || (command->run == items_retry && !request->all &&
	    request->operand_count == 0))
		return px_err_set(err, PX_USAGE, "'%s' needs an ID", command->name);
	if (request->operand_count > command->max_operands || (request->all && request->operand_count > 0))
		return px_err_set(err, PX_USAGE, "'%s' takes no '%s'", command->name, request->operands[0]);
	return 0;
}

/* Opens the spool as its folder's owner; one that does not exist yet is no error. */
static int
open_spool(struct request *request, struct px_err *err)
{
	const char *path = request->config.spool.path;

	if (cli_become_spool_owner_to_look(path, err) == -1)
		return -1;
	if (px_spool_open(&request->spool, path, PX_SPOOL_LOOK, SPOOL_WAIT_MS, err) == -1 && err->code != PX_ABSENT)
		return -1;
	return 0;
}

static int
run(struct request *request, struct px_err *err)
{
	const struct command *command = NULL;

	for (size_t i = 0; i < COMMAND_COUNT; i++)
		if (request->command != NULL && strcmp(request->command, commands[i].name) == 0)
			command = &commands[i];
	if (request->command == NULL)
		return px_err_set(err, PX_USAGE, "no command; see px-status --help");
	if (command == NULL)
		return px_err_set(err, PX_USAGE, "unknown command '%s'; see px-status --help", request->command);
	if (check_request(command, request, err) == -1)
		return -1;
	if (cli_read_config(&request->config, cli_config_file(request->config_file), request->spool_file, err) == -1)
		return -1;
	if (command->reads_spool && open_spool(request, err) == -1)
		return -1;
	return command->run(request, err);
}

int
main(int argc, char *argv[])
{
	static const struct cli_takers takers = { take_option, take_operand, take_mistake };
	static struct request request = { .max_age_ms = (int64_t)3600 * PX_MS_PER_S, .line = { .max = REQUEST_LINE_MAX } };
	struct px_err err = { .code = PX_OK };
	int status;

	px_log_open(cli.name, PX_LOG_STDERR, PX_NOTICE);
	px_sys_fix_signals();
	if (px_sys_fix_streams(&err) == -1)
		return cli_fail(&err);
	cli_parse(&cli, argc, argv, &takers, &request);
	if (request.help)
		return cli_help(&cli);
	if (request.version)
		return cli_version(&cli);
	if (request.mistakes > 0)
		return cli_refuse(&cli);
	status = run(&request, &err) == -1 ? cli_fail(&err) : cli_finish_stdout();
	if (err.code == PX_CORRUPT)
		px_log(PX_NOTICE, CLI_CORRUPT_ADVICE);
	if (status == 0)
		status = request.status;
	px_spool_close(request.spool);
	px_buf_clear(&request.line);
	return status;
}
