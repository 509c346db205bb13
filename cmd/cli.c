/* SPDX-License-Identifier: MIT */
#include "cli.h"

#include <errno.h>
#include <getopt.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "log.h"
#include "sys.h"

#define OPTIONS_MAX 24

static void
report_mistake(const struct cli_takers *takers, void *arg, const char *before, const char *text, const char *after)
{
	struct px_buf shown = PX_BUF(1024);
	struct px_buf escaped = PX_BUF(512);

	px_text_escape(&escaped, text, px_text_cut(text, strlen(text), 100));
	px_buf_printf(&shown, "%s '%s'%s", before, px_buf_text(&escaped), after);
	takers->mistake(arg, px_buf_text(&shown));
	px_buf_clear(&escaped);
	px_buf_clear(&shown);
}

/* The options as getopt_long(3) wants them; operands are to come in their order ("-"), mistakes as '?' and ':'. */
static void
fill_getopt(const struct cli *cli, char letters[2 * OPTIONS_MAX + 3], struct option longs[OPTIONS_MAX + 1])
{
	size_t at = 0;

	letters[at++] = '-';
	letters[at++] = ':';
	for (size_t i = 0; i < cli->option_count; i++) {
		const struct cli_option *option = &cli->options[i];

		longs[i] = (struct option){ option->name, option->argument != NULL, NULL, option->id };
		if (option->letter == '\0')
			continue;
		letters[at++] = option->letter;
		if (option->argument != NULL)
			letters[at++] = ':';
	}
	letters[at] = '\0';
}

static bool
is_known(const struct cli *cli, int id)
{
	for (size_t i = 0; i < cli->option_count; i++)
		if (cli->options[i].id == id)
			return true;
	return false;
}

void
cli_parse(const struct cli *cli, int argc, char *argv[], const struct cli_takers *takers, void *arg)
{
	char letters[2 * OPTIONS_MAX + 3];
	struct option longs[OPTIONS_MAX + 1] = { { 0 } };
	char letter[3] = "-?";
	int id;

	fill_getopt(cli, letters, longs);
	opterr = 0;
	while ((id = getopt_long(argc, argv, letters, longs, NULL)) != -1) {
		const char *word = argv[optind - 1];
		bool is_long = strncmp(word, "--", 2) == 0;

		letter[1] = (char)optopt;
		if (id == 1)
			takers->operand(arg, optarg);
		else if (id == ':')
			report_mistake(takers, arg, "option", is_long ? word : letter, " needs an argument");
		else if (id == '?' && is_known(cli, optopt))
			report_mistake(takers, arg, "option", word, " takes no argument");
		else if (id == '?')
			report_mistake(takers, arg, "unknown option", optopt == 0 ? word : letter, "");
		else
			takers->option(arg, id, optarg);
	}
	for (; optind < argc; optind++)
		takers->operand(arg, argv[optind]);
}

int
cli_finish_stdout(void)
{
	bool failed = ferror(stdout) != 0;

	if (fflush(stdout) == 0 && !failed)
		return 0;
	px_log(PX_ERROR, "cannot write to standard output: %s", strerror(errno));
	return px_err_exit_status(PX_STORAGE);
}

int
cli_help(const struct cli *cli)
{
	printf("Usage: %s %s\n%s\n", cli->name, cli->synopsis, cli->about);
	for (size_t i = 0; i < cli->option_count; i++) {
		const struct cli_option *option = &cli->options[i];
		char left[64];

		(void)snprintf(left, sizeof(left), "--%s%s%s", option->name, option->argument != NULL ? " " : "",
		    option->argument != NULL ? option->argument : "");
		if (option->letter != '\0')
			printf("  -%c, %-22s %s\n", option->letter, left, option->help);
		else
			printf("      %-22s %s\n", left, option->help);
	}
	if (cli->more != NULL)
		printf("\n%s", cli->more);
	return cli_finish_stdout();
}

int
cli_version(const struct cli *cli)
{
	printf("%s %s\n", cli->name, PX_VERSION);
	return cli_finish_stdout();
}

int
cli_fail(const struct px_err *err)
{
	px_log(PX_ERROR, "%s", err->text);
	return px_err_exit_status(err->code);
}

const char *
cli_config_file(const char *option)
{
	const char *named = getenv("PX_STATUS_CONFIG");

	if (option != NULL)
		return option;
	return named != NULL && named[0] != '\0' ? named : NULL;
}

int
cli_read_config(struct px_config *config, const char *file, const char *spool, struct px_err *err)
{
	struct px_problems problems = { .count = 0 };
	bool path_is_valid;

	px_config_init(config);
	if (px_config_read(config, file, PX_CONFIG_ALL, &problems, &path_is_valid, err) == -1) {
		/* The first is the error, which the caller logs. */
		for (size_t i = 1; i < problems.count; i++)
			px_log(PX_ERROR, "%s", problems.text[i]);
		return -1;
	}
	if (spool != NULL && strlen(spool) >= sizeof(config->spool.path))
		return px_err_set(err, PX_USAGE, "the spool's path is longer than %zu bytes", sizeof(config->spool.path) - 1);
	if (spool != NULL)
		(void)snprintf(config->spool.path, sizeof(config->spool.path), "%s", spool);
	return 0;
}

int
cli_become_spool_owner(const char *spool_path, bool *changed, struct px_err *err)
{
	char folder[PATH_MAX];

	if (px_sys_folder_of(spool_path, folder, sizeof(folder), err) == -1)
		return -1;
	return px_sys_become_owner(folder, changed, err);
}

int
cli_birth(void *config, struct px_spool_birth *birth, struct px_err *err)
{
	static struct px_device device;
	char host_name[256];
	struct px_err unknown;

	px_sys_host_name(host_name, sizeof(host_name));
	if (px_config_device(config, host_name, &device, &unknown) == -1)
		device.id[0] = '\0';	/* a spool is made all the same; the flush tells it later */
	birth->device_id = px_slice(device.id);
	birth->machine_hash = px_slice(device.machine_hash);
	return px_sys_id_v4(birth->id, err);
}
