/* SPDX-License-Identifier: MIT */
/* Looks after the spool. See px-status(8). */
#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "cli.h"
#include "json.h"
#include "log.h"
#include "overflow.h"
#include "stats.h"
#include "sys.h"

#define SPOOL_WAIT_MS 10000
#define OPERANDS_MAX 1024
#define LINE_MAX_BYTES (PX_SNAPSHOT_MAX + (64 << 10))

enum option_id { OPTION_JSON = 256, OPTION_PROMETHEUS, OPTION_STATE, OPTION_MAX_AGE, OPTION_ALL };

static const struct cli_option options[] = {
	{ 'c', "config", "FILE", "configuration [" PX_CONFIG_DEFAULT_FILE "]", 'c' },
	{ 's', "spool", "FILE", "the spool, instead of the configured one", 's' },
	{ 0, "json", NULL, "list, stats: as JSON", OPTION_JSON },
	{ 0, "prometheus", NULL, "stats: for a textfile collector", OPTION_PROMETHEUS },
	{ 0, "state", "STATE", "list: pending or quarantined items only", OPTION_STATE },
	{ 0, "max-age", "TIME", "health: how old a pending item may be [1h]", OPTION_MAX_AGE },
	{ 0, "all", NULL, "retry: every quarantined item", OPTION_ALL },
	{ 'h', "help", NULL, "print this help", 'h' },
	{ 'V', "version", NULL, "print the version", 'V' },
};

static const struct cli cli = {
	.name = "px-status",
	.synopsis = "[options] COMMAND [ID ...]",
	.about = "Looks after the spool.\n",
	.options = options,
	.option_count = sizeof(options) / sizeof(options[0]),
	.more = "Commands:\n"
		"  list           the items in order of seq\n"
		"  show ID        one item whole\n"
		"  stats          counters, sizes, ages and the last runs\n"
		"  health         one line, and whether all is well by the exit status\n"
		"  export         every item as JSON lines\n"
		"  retry ID ...   quarantined items back to pending\n"
		"  drop ID ...    remove items for good\n"
		"  config         every setting in force and where it came from\n"
		"An ID is an item's id, a unique start of one, or its seq. See px-status(8).\n",
};

/* What the command line asks for. */
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
	const char *operands[OPERANDS_MAX];
	size_t operand_count;
	char given[16];		/* letters of the command options that were given, see struct command */
	size_t mistakes;

	struct px_config config;
	struct px_spool *spool;	/* NULL: does not exist yet */
	struct px_buf line;
	int status;		/* of a command that did its work and has bad news */
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
	else if (request->operand_count < OPERANDS_MAX)
		request->operands[request->operand_count++] = text;
	else
		take_mistake(request, "too many operands");
}

static const char *
state_name(const struct px_spool_item *found)
{
	return found->quarantined ? "quarantined" : "pending";
}

/* Writes one line of JSON to stdout and empties ${line}. */
static int
print_line(struct px_buf *line)
{
	int rc = line->failed || fwrite(px_buf_text(line), 1, line->len, stdout) != line->len ? -1 : 0;

	px_buf_rewind(line, 0);
	return rc;
}

static void
write_item_json(struct px_buf *out, const struct px_spool_item *found)
{
	char time[PX_RFC3339_MAX];

	px_text_time_ms(time, found->item.time_ms);
	px_json_open(out, NULL, '{');
	px_json_text(out, "id", found->item.id);
	px_json_int(out, "seq", found->item.seq);
	px_json_text(out, "kind", px_kind_name(found->item.kind));
	px_json_text(out, "state", state_name(found));
	px_json_text(out, "time", time);
	if (found->item.kind == PX_EVENT)
		px_json_slice(out, "topic", found->item.topic);
	else
		px_json_null(out, "topic");
	px_json_int(out, "attempts", found->attempts);
	px_json_text(out, "reason", found->reason);
	px_json_close(out, '}');
	px_buf_add_byte(out, '\n');
}

static void
write_item_row(struct px_buf *out, const struct px_spool_item *found)
{
	char time[PX_RFC3339_MAX];

	px_text_time_local(time, found->item.time_ms);
	px_buf_printf(out, "%6" PRId64 "  %-36s  %-8s  %-11s  %-19s  %8" PRId64 "  ", found->item.seq, found->item.id,
	    px_kind_name(found->item.kind), state_name(found), time, found->attempts);
	px_text_escape(out, found->item.topic.ptr, found->item.topic.len);
	if (found->reason != NULL) {
		px_buf_add_text(out, "  ");
		px_text_escape(out, found->reason, strlen(found->reason));
	}
	px_buf_add_byte(out, '\n');
}

static bool
list_item(void *arg, const struct px_spool_item *found)
{
	struct request *request = arg;

	if (request->state != NULL && strcmp(request->state, state_name(found)) != 0)
		return true;
	if (request->json)
		write_item_json(&request->line, found);
	else
		write_item_row(&request->line, found);
	return print_line(&request->line) == 0;
}

static int
run_list(struct request *request, struct px_err *err)
{
	if (!request->json)
		printf("%6s  %-36s  %-8s  %-11s  %-19s  %8s  %s\n", "seq", "id", "kind", "state", "time", "attempts",
		    "topic and reason");
	return request->spool != NULL ? px_spool_each(request->spool, list_item, request, err) : 0;
}

static bool
show_item(void *arg, const struct px_spool_item *found)
{
	struct request *request = arg;

	px_item_join(&request->line, &found->item);
	px_buf_add_byte(&request->line, '\n');
	return print_line(&request->line) == 0;
}

/* The seq of every operand, before anything is changed. */
static int
find_operands(const struct request *request, int64_t seqs[OPERANDS_MAX], struct px_err *err)
{
	for (size_t i = 0; i < request->operand_count; i++) {
		if (request->spool == NULL)
			return px_err_set(err, PX_ABSENT, "no item '%s': there is no spool yet", request->operands[i]);
		if (px_spool_find(request->spool, request->operands[i], &seqs[i], err) == -1)
			return -1;
		for (size_t j = 0; j < i; j++)
			if (seqs[j] == seqs[i])
				return px_err_set(err, PX_USAGE, "'%s' and '%s' are the same item", request->operands[j],
				    request->operands[i]);
	}
	return 0;
}

static int
run_show(struct request *request, struct px_err *err)
{
	int64_t seqs[OPERANDS_MAX];

	if (find_operands(request, seqs, err) == -1)
		return -1;
	return px_spool_show(request->spool, seqs[0], show_item, request, err);
}

static int
run_stats(struct request *request, struct px_err *err)
{
	static struct stats stats;

	if (stats_read(&stats, request->config.spool.path, request->spool, err) == -1)
		return -1;
	if (request->json) {
		stats_write_json(&stats, &request->line);
		(void)print_line(&request->line);
	} else if (request->prometheus) {
		stats_print_prometheus(&stats);
	} else {
		stats_print(&stats);
	}
	return 0;
}

/* For a Monit `check program`: the line is what Monit shows. */
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
		printf("not well: %s\n", stats.runs[0].reason);
	} else if (stats.facts.quarantined > 0) {
		printf("not well: %" PRId64 " items are quarantined, see px-status list --state quarantined\n",
		    stats.facts.quarantined);
	} else if (age_ms > request->max_age_ms) {
		printf("not well: %" PRId64 " items are pending, the oldest for %" PRId64 " s\n", stats.facts.pending,
		    age_ms / PX_MS_PER_S);
	} else {
		printf("well: %" PRId64 " items pending, %" PRId64 " acknowledged\n", stats.facts.pending, stats.facts.acknowledged);
		request->status = 0;
	}
	return 0;
}

static bool
export_item(void *arg, const struct px_spool_item *found)
{
	struct request *request = arg;
	struct px_buf document = PX_BUF(LINE_MAX_BYTES);
	int rc;

	px_item_join(&document, &found->item);
	px_json_open(&request->line, NULL, '{');
	px_json_text(&request->line, "kind", px_kind_name(found->item.kind));
	px_json_text(&request->line, "state", state_name(found));
	px_json_text(&request->line, "reason", found->reason);
	px_json_raw(&request->line, "item", px_buf_text(&document), document.len);
	px_json_close(&request->line, '}');
	px_buf_add_byte(&request->line, '\n');
	rc = document.failed ? -1 : print_line(&request->line);
	px_buf_clear(&document);
	return rc == 0;
}

static int
run_export(struct request *request, struct px_err *err)
{
	return request->spool != NULL ? px_spool_each(request->spool, export_item, request, err) : 0;
}

struct quarantined {
	int64_t *seqs;
	size_t count;
	size_t capacity;
};

static bool
collect_quarantined(void *arg, const struct px_spool_item *found)
{
	struct quarantined *all = arg;

	if (found->quarantined) {
		if (all->count == all->capacity) {
			size_t capacity = all->capacity > 0 ? 2 * all->capacity : 64;
			int64_t *seqs = realloc(all->seqs, capacity * sizeof(*seqs));

			if (seqs == NULL)
				return false;
			all->seqs = seqs;
			all->capacity = capacity;
		}
		all->seqs[all->count++] = found->item.seq;
	}
	return true;
}

static int
retry_all(struct request *request, struct px_err *err)
{
	struct quarantined all = { .count = 0 };
	int rc = -1;

	if (request->spool == NULL)
		return 0;
	if (px_spool_each(request->spool, collect_quarantined, &all, err) == -1)
		goto out;
	for (size_t i = 0; i < all.count; i++)
		if (px_spool_retry(request->spool, all.seqs[i], err) == -1)
			goto out;
	printf("%zu items are pending again\n", all.count);
	rc = 0;
out:
	free(all.seqs);
	return rc;
}

static int
run_retry(struct request *request, struct px_err *err)
{
	int64_t seqs[OPERANDS_MAX];

	if (request->all)
		return retry_all(request, err);
	if (find_operands(request, seqs, err) == -1)
		return -1;
	for (size_t i = 0; i < request->operand_count; i++) {
		if (px_spool_retry(request->spool, seqs[i], err) == -1)
			return -1;
		printf("item %" PRId64 " is pending again\n", seqs[i]);
	}
	return 0;
}

static bool
say_dropped(void *arg, const struct px_spool_item *found)
{
	struct request *request = arg;

	px_buf_printf(&request->line, "dropped %s %s, seq %" PRId64, px_kind_name(found->item.kind), found->item.id, found->item.seq);
	if (found->item.kind == PX_EVENT) {
		px_buf_add_text(&request->line, ", topic ");
		px_text_escape(&request->line, found->item.topic.ptr, found->item.topic.len);
	}
	px_buf_add_byte(&request->line, '\n');
	return false;
}

static int
run_drop(struct request *request, struct px_err *err)
{
	int64_t seqs[OPERANDS_MAX];

	if (find_operands(request, seqs, err) == -1)
		return -1;
	for (size_t i = 0; i < request->operand_count; i++) {
		if (px_spool_show(request->spool, seqs[i], say_dropped, request, err) == -1 ||
		    px_spool_drop(request->spool, seqs[i], err) == -1)
			return -1;
		(void)print_line(&request->line);
	}
	return 0;
}

static void
print_setting(void *arg, const char *section, const char *key, const char *value, int line)
{
	const struct px_config *config = arg;
	char name[64];

	(void)snprintf(name, sizeof(name), "[%s] %s", section, key);
	if (line > 0)
		printf("%-32s = %s    (%s:%d)\n", name, value, config->file, line);
	else
		printf("%-32s = %s    (default)\n", name, value);
}

static int
run_config(struct request *request, struct px_err *err)
{
	struct px_device device;
	char host_name[256];

	px_config_each(&request->config, print_setting, &request->config);
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
	int (*run)(struct request *request, struct px_err *err);
	const char *takes;	/* letters of options: j --json, p --prometheus, s --state, m --max-age, a --all */
	size_t min_operands;
	size_t max_operands;
	bool reads_spool;
} commands[] = {
	{ "list", run_list, "js", 0, 0, true },
	{ "show", run_show, "", 1, 1, true },
	{ "stats", run_stats, "jp", 0, 0, true },
	{ "health", run_health, "m", 0, 0, true },
	{ "export", run_export, "", 0, 0, true },
	{ "retry", run_retry, "a", 0, OPERANDS_MAX, true },
	{ "drop", run_drop, "", 1, OPERANDS_MAX, true },
	{ "config", run_config, "", 0, 0, false },
};

/* -1 with PX_USAGE when ${request} is not what ${command} takes. */
static int
check_request(const struct command *command, const struct request *request, struct px_err *err)
{
	if (strspn(request->given, command->takes) != strlen(request->given))
		return px_err_set(err, PX_USAGE, "'%s' does not take such an option; see px-status --help", command->name);
	if (request->json && request->prometheus)
		return px_err_set(err, PX_USAGE, "--json and --prometheus exclude each other");
	if (request->operand_count < command->min_operands || (command->run == run_retry && !request->all &&
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
	struct stat st;
	bool changed;

	if (lstat(path, &st) == -1 && errno == ENOENT) {
		char folder[PATH_MAX];

		if (px_sys_folder_of(path, folder, sizeof(folder), err) == -1)
			return -1;
		return stat(folder, &st) == 0 ? cli_become_spool_owner(path, &changed, err) : 0;
	}
	if (cli_become_spool_owner(path, &changed, err) == -1)
		return -1;
	if (px_spool_open(&request->spool, path, PX_SPOOL_LOOK, SPOOL_WAIT_MS, err) == -1 && err->code != PX_ABSENT)
		return -1;
	return 0;
}

static int
run(struct request *request, struct px_err *err)
{
	const struct command *command = NULL;

	for (size_t i = 0; i < sizeof(commands) / sizeof(commands[0]); i++)
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
	static struct request request = { .max_age_ms = (int64_t)3600 * PX_MS_PER_S, .line = { .max = LINE_MAX_BYTES } };
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
		return px_err_exit_status(PX_USAGE);
	status = run(&request, &err) == -1 ? cli_fail(&err) : cli_finish_stdout();
	if (err.code == PX_CORRUPT)
		px_log(PX_NOTICE, CLI_CORRUPT_ADVICE);
	if (status == 0)
		status = request.status;
	px_spool_close(request.spool);
	px_buf_clear(&request.line);
	return status;
}
