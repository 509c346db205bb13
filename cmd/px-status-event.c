/* SPDX-License-Identifier: MIT */
/* Records one event, and is gone. See px-status-event(8). */
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sysexits.h>
#include <unistd.h>

#include "cli.h"
#include "event.h"
#include "log.h"
#include "record.h"
#include "sys.h"

#define SPOOL_WAIT_MS 2500	/* for each of opening and inserting */
#define HARD_LIMIT_S 9		/* then the event goes to syslog, whatever hangs */

extern char **environ;

static const struct cli_option options[] = {
	{ 'c', "config", "FILE", "configuration [" PX_CONFIG_DEFAULT_FILE "]", 'c' },
	{ 's', "spool", "FILE", "the spool, instead of the configured one", 's' },
	{ 'm', "message", "TEXT", "free text for a person", 'm' },
	{ 'n', "dry-run", NULL, "print the event document, store nothing", 'n' },
	{ 'h', "help", NULL, "print this help", 'h' },
	{ 'V', "version", NULL, "print the version", 'V' },
};

static const struct cli cli = {
	.name = "px-status-event",
	.synopsis = "[options] [TOPIC] [KEY=VALUE ...]",
	.about = "Records one event in the spool; Monit calls it by exec.\n",
	.options = options,
	.option_count = sizeof(options) / sizeof(options[0]),
	.more = "The environment variable PX_STATUS_CONFIG names another configuration.\nSee px-status-event(8).\n",
};

/* What the command line asks for. */
struct request {
	const char *config_file;
	const char *spool;
	bool dry_run;
	bool help;
	bool version;
	struct px_event *event;
	struct px_err *err;
	int rc;			/* -1: no memory */
};

/* The document that is on its way, for the alarm's handler; none as long as it is not whole. */
static struct {
	char id[PX_ID_MAX];
	struct px_slice document;
} in_flight;

static void
take_option(void *arg, int id, const char *value)
{
	struct request *request = arg;

	switch (id) {
	case 'c':
		request->config_file = value;
		break;
	case 's':
		request->spool = value;
		break;
	case 'm':
		if (px_event_take_message(request->event, value, request->err) == -1)
			request->rc = -1;
		break;
	case 'n':
		request->dry_run = true;
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

	if (px_event_take_operand(request->event, text, request->err) == -1)
		request->rc = -1;
}

static void
take_mistake(void *arg, const char *text)
{
	struct request *request = arg;

	px_event_mistake(request->event, text);
}

static void
log_problems(const struct px_event *event, enum px_level level)
{
	cli_log_problems(&event->problems, level);
	cli_log_problems(&event->cuts, level);
}

/*
 * Reads the configuration. Under Monit a mistake in it is a problem of the event and nothing more; otherwise -1 with
 * PX_CONFIG, every mistake logged.
 */
static int
read_config(const struct request *request, struct px_config *config, struct px_err *err)
{
	struct px_event *event = request->event;
	const char *file = cli_config_file(request->config_file);
	struct px_problems problems = { .count = 0 };
	bool path_is_valid;

	if (!event->under_monit)
		return cli_read_config(config, file, request->spool, err);
	px_config_init(config);
	if (px_config_read(config, file, &problems, &path_is_valid, err) == -1) {
		for (size_t i = 0; i < problems.count; i++)
			px_event_mistake(event, problems.text[i]);
		event->problems.more += problems.more;
		if (!path_is_valid && request->spool == NULL)
			px_log(PX_ERROR, "no valid spool path: the event goes to '%s'", config->spool.path);
	}
	if (request->spool != NULL && cli_set_spool(config, request->spool, err) == -1)
		px_event_mistake(event, err->text);
	return 0;
}

/* Something hangs: the event goes to syslog, unless it is only shown. Only calls what is safe in a signal handler. */
static void
give_up(int signal_number)
{
	/* NOLINTNEXTLINE(bugprone-signal-handler): it is written to be safe here. */
	int logged = in_flight.document.len > 0 ? px_log_event(in_flight.id, in_flight.document.ptr, in_flight.document.len) : 0;

	(void)logged;	/* nothing more can be done either way */
	(void)signal_number;
	_exit(EX_IOERR);
}

/* The spool is not all that can hang: so can who reads standard error. */
static void
limit_time(void)
{
	(void)signal(SIGALRM, give_up);
	(void)alarm(HARD_LIMIT_S);
}

/* Whom a new spool belongs to is read as who we are at first: the identity file may be root's alone. */
struct birth_source {
	const struct px_config *config;
	bool is_known;
	struct px_spool_birth birth;
};

static int
give_birth(void *arg, struct px_spool_birth *birth, struct px_err *err)
{
	const struct birth_source *source = arg;

	if (!source->is_known)
		return cli_birth(source->config, birth, err);
	*birth = source->birth;
	return 0;
}

static void
know_birth(struct birth_source *source)
{
	struct px_err ignored;
	struct stat st;

	/* Only where a spool will be made: each event else would pay for it. */
	if (lstat(source->config->spool.path, &st) == -1)
		source->is_known = cli_birth(source->config, &source->birth, &ignored) == 0;
}

static int
store(const struct px_config *config, struct px_item *item, struct px_slice document, struct px_err *err)
{
	struct birth_source source = { .config = config };
	struct px_record_job job = {
		.spool_path = config->spool.path,
		.limits = { config->spool.max_items, config->spool.max_bytes },
		.wait_ms = SPOOL_WAIT_MS,
		.birth = give_birth,
		.birth_arg = &source,
	};
	enum px_stored where;
	bool changed;

	know_birth(&source);
	if (cli_become_spool_owner(config->spool.path, &changed, err) == -1) {
		px_log(PX_ERROR, "%s", err->text);
		if (px_log_event(item->id, document.ptr, document.len) == -1)
			return px_err_set(err, PX_STORAGE, "event %s is lost: neither spool nor syslog took it", item->id);
		return px_err_set(err, PX_STORAGE, "event %s is in syslog only", item->id);
	}
	return px_record(&job, item, document, &where, err);
}

static int
make_item(struct px_event *event, struct px_item *item, struct px_buf *body, struct px_err *err)
{
	struct px_now made;

	px_sys_now(&made);
	item->time_ms = made.wall_ms;
	if (px_sys_id_v7(item->id, made.wall_ms, err) == -1 || px_event_write(event, &made, body, err) == -1)
		return -1;
	item->topic = px_slice(px_event_topic(event));
	item->body = (struct px_slice){ px_buf_text(body), body->len };
	return 0;
}

static int
run(struct request *request, struct px_err *err)
{
	struct px_event *event = request->event;
	struct px_buf body = PX_BUF(PX_EVENT_MAX);
	struct px_buf document = PX_BUF(PX_EVENT_MAX + PX_ITEM_JOIN_MAX);
	struct px_item item = { .kind = PX_EVENT };
	static struct px_config config;
	int rc = -1;

	limit_time();
	if (!event->under_monit && event->mistakes > 0) {
		log_problems(event, PX_ERROR);
		(void)px_err_set(err, PX_USAGE, "nothing is stored; see px-status-event --help");
		goto out;
	}
	if (read_config(request, &config, err) == -1)
		goto out;
	if (make_item(event, &item, &body, err) == -1)
		goto out;
	px_item_join(&document, &item);
	if (px_buf_check(&document, "the event", err) == -1)
		goto out;
	if (!request->dry_run) {
		memcpy(in_flight.id, item.id, sizeof(in_flight.id));
		in_flight.document = (struct px_slice){ px_buf_text(&document), document.len };
	}
	log_problems(event, PX_WARNING);
	if (request->dry_run) {
		rc = puts(px_buf_text(&document)) >= 0 && fflush(stdout) == 0 ? 0 :
		    px_err_set(err, PX_STORAGE, "cannot write to standard output");
		goto out;
	}
	rc = store(&config, &item, in_flight.document, err);
out:
	px_buf_clear(&body);
	px_buf_clear(&document);
	return rc;
}

/* No memory to make the event: under Monit what can be said of it without goes to syslog, as when nothing can be written. */
static int
say_without_memory(const struct px_event *event, struct px_err *err)
{
	char document[PX_EVENT_BARE_MAX];
	char id[PX_ID_MAX];
	struct px_now made;
	size_t len;

	px_log(PX_ERROR, "%s", err->text);
	px_sys_now(&made);
	if (px_sys_id_v7(id, made.wall_ms, err) == -1)
		return -1;
	len = px_event_bare(document, id, made.wall_ms, event->topic, environ);
	if (px_log_event(id, document, len) == -1)
		return px_err_set(err, PX_STORAGE, "event %s is lost: there is no memory for it, and no syslog", id);
	return px_err_set(err, PX_STORAGE, "event %s is in syslog only, and not all of it", id);
}

int
main(int argc, char *argv[])
{
	static const struct cli_takers takers = { take_option, take_operand, take_mistake };
	struct px_event event;
	struct px_err err = { .code = PX_OK };
	struct request request = { .event = &event, .err = &err };
	int status = 0;

	px_log_open(cli.name, getenv("MONIT_EVENT") != NULL ? PX_LOG_SYSLOG : PX_LOG_STDERR, PX_NOTICE);
	px_event_init(&event);
	px_sys_fix_signals();
	if (px_sys_fix_streams(&err) == -1)
		return cli_fail(&err);
	if (px_event_take_env(&event, environ, &err) == -1)
		request.rc = -1;
	cli_parse(&cli, argc, argv, &takers, &request);
	if (request.dry_run)
		px_log_open(cli.name, PX_LOG_STDERR, PX_NOTICE);
	/* Under Monit a mistake must not turn an alert into a page of help. */
	if (event.under_monit && event.mistakes > 0)
		request.help = request.version = false;
	if (request.help) {
		status = cli_help(&cli);
	} else if (request.version) {
		status = cli_version(&cli);
	} else if (request.rc == -1 || run(&request, &err) == -1) {
		if (err.code == PX_BUG && getenv("MONIT_EVENT") != NULL && !request.dry_run)
			(void)say_without_memory(&event, &err);
		status = cli_fail(&err);
	}
	px_event_clear(&event);
	return status;
}
