/* SPDX-License-Identifier: MIT */
#include "cli.h"

#include <errno.h>
#include <getopt.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "sys.h"

#define OPTIONS_MAX 24

/* What one word of the command line asks for, not handed out before the whole word is read. */
struct word {
	int place;
	bool refused;
	size_t count;
	struct {
		int id;
		const char *value;
	} options[OPTIONS_MAX];
};

/* A command line that is being read. */
struct reading {
	const struct cli_takers *takers;
	void *arg;
	bool has_mistake;		/* in an option */
	struct word word;
};

static void
report_mistake(struct reading *reading, const char *before, const char *text, const char *after)
{
	struct px_buf shown = PX_BUF(1024);
	struct px_buf escaped = PX_BUF(512);

	px_text_escape(&escaped, text, px_text_cut(text, strlen(text), 100));
	px_buf_printf(&shown, "%s '%s'%s", before, px_buf_text(&escaped), after);
	reading->has_mistake = true;
	reading->takers->mistake(reading->arg, px_buf_text(&shown));
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

/* --help and --version behind a mistake are not handed out: as in other programs what comes first counts. */
static void
finish_word(struct reading *reading, int next_place)
{
	const struct word *word = &reading->word;

	for (size_t i = 0; i < word->count; i++)
		if (!reading->has_mistake || (word->options[i].id != 'h' && word->options[i].id != 'V'))
			reading->takers->option(reading->arg, word->options[i].id, word->options[i].value);
	reading->word = (struct word){ .place = next_place };
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
	struct reading reading = { .takers = takers, .arg = arg };
	struct word *word = &reading.word;
	char letter[3] = "-?";
	int place;
	int id;

	fill_getopt(cli, letters, longs);
	opterr = 0;
	for (place = optind; (id = getopt_long(argc, argv, letters, longs, NULL)) != -1; place = optind) {
		const char *text = argv[place];
		bool is_long = strncmp(text, "--", 2) == 0;

		if (place != word->place)
			finish_word(&reading, place);
		letter[1] = (char)optopt;
		if (id == 1) {
			takers->operand(arg, optarg);
		} else if (id == ':') {
			report_mistake(&reading, "option", is_long ? text : letter, " needs an argument");
		} else if (id == '?' && is_known(cli, optopt)) {
			report_mistake(&reading, "option", text, " takes no argument");
		} else if (id == '?' && !word->refused) {
			/* "-verbose" is no "-v -e -r ...": where one letter is unknown the whole word is. */
			report_mistake(&reading, "unknown option", text, "");
			word->refused = true;
			word->count = 0;
		} else if (word->refused && optarg != NULL && place + 1 < argc && optarg == argv[place + 1]) {
			takers->operand(arg, optarg);
		} else if (!word->refused && id != '?' && word->count < OPTIONS_MAX) {
			word->options[word->count].id = id;
			word->options[word->count++].value = optarg;
		}
	}
	finish_word(&reading, 0);
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
			printf("  -%c, %-27s %s\n", option->letter, left, option->help);
		else
			printf("      %-27s %s\n", left, option->help);
	}
	printf("\n");
	if (cli->print_commands != NULL)
		cli->print_commands();
	if (cli->more != NULL)
		printf("%s", cli->more);
	return cli_finish_stdout();
}

int
cli_version(const struct cli *cli)
{
	printf("%s %s\n", cli->name, PX_VERSION);
	return cli_finish_stdout();
}

int
cli_refuse(const struct cli *cli)
{
	px_log(PX_ERROR, "nothing is done; see %s --help", cli->name);
	return px_err_exit_status(PX_USAGE);
}

int
cli_fail(const struct px_err *err)
{
	static const enum px_code checked[] = { PX_STORAGE, PX_LATER, PX_DENIED, PX_CONFIG };

	px_log(PX_ERROR, "%s", err->text);
	for (size_t i = 0; i < sizeof(checked) / sizeof(checked[0]); i++)
		if (err->code == checked[i] && isatty(STDERR_FILENO))
			px_log(PX_NOTICE, "what to do: px-status-flush --check, with the same -c and -s, tests each part and tells");
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

void
cli_log_problems(const struct px_problems *problems, enum px_level level)
{
	for (size_t i = 0; i < problems->count; i++)
		px_log(level, "%s", problems->text[i]);
	if (problems->more > 0)
		px_log(level, "and %zu more %s", problems->more, px_text_plural((int64_t)problems->more, "problem", "problems"));
}

int
cli_read_config(struct px_config *config, const char *file, const char *spool, struct px_err *err)
{
	struct px_problems problems = { .count = 0 };
	bool path_is_valid;

	px_config_init(config);
	if (px_config_read(config, file, &problems, &path_is_valid, err) == -1) {
		/* The last is the error, which the caller logs. */
		problems.count--;
		cli_log_problems(&problems, PX_ERROR);
		return px_err_set(err, PX_CONFIG, "%s", problems.text[problems.count]);
	}
	return spool != NULL ? cli_set_spool(config, spool, err) : 0;
}

int
cli_set_spool(struct px_config *config, const char *path, struct px_err *err)
{
	size_t len = strlen(path);

	if (len == 0 || path[len - 1] == '/' || len >= PX_CONFIG_TEXT_MAX)
		return px_err_set(err, PX_USAGE, "--spool names no file");
	config->spool.path = path;
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
cli_become_spool_owner_to_look(const char *spool_path, struct px_err *err)
{
	char folder[PATH_MAX];
	struct stat st;
	bool changed;

	if (px_sys_folder_of(spool_path, folder, sizeof(folder), err) == -1)
		return -1;
	if (stat(folder, &st) == -1 && errno == ENOENT)
		return 0;
	return px_sys_become_owner(folder, &changed, err);
}

int
cli_birth(const struct px_config *config, struct px_spool_birth *birth, struct px_err *err)
{
	static struct px_device device;
	char host_name[256];
	struct px_err unknown;

	px_sys_host_name(host_name, sizeof(host_name));
	if (px_config_device(config, host_name, &device, &unknown) == -1)
		device.id[0] = '\0';	/* a spool is made all the same; the flush tells it later */
	*birth = (struct px_spool_birth){ .id = "" };
	birth->device_id = px_slice(device.id);
	birth->machine_hash = px_slice(device.machine_hash);
	return px_sys_id_v4(birth->id, err);
}
