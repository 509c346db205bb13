/* SPDX-License-Identifier: MIT */
/* Takes in overflow, takes a snapshot when one is due, posts what the spool holds. See px-status-flush(8). */
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "check.h"
#include "cli.h"
#include "flush.h"
#include "link.h"
#include "log.h"
#include "screen.h"
#include "sys.h"

#define SPOOL_WAIT_MS 10000
#define LOCK_WAIT_MS 30000	/* of --now, for another flush */
#define SPLAY_LOOK_MS 500	/* how soon an event ends the splay */

static const struct cli_option options[] = {
	{ 'c', "config", "FILE", "configuration [" PX_CONFIG_DEFAULT_FILE "]", 'c' },
	{ 's', "spool", "FILE", "the spool, instead of the configured one", 's' },
	{ 0, "now", NULL, "take a snapshot and post now, due or not", 'N' },
	{ 0, "no-snapshot", NULL, "only post what is spooled", 'S' },
	{ 'n', "dry-run", NULL, "print what would be posted, change nothing", 'n' },
	{ 0, "check", NULL, "test all that a flush needs, a line each", 'C' },
	{ 'q', "quiet", NULL, "say less on stderr", 'q' },
	{ 'v', "verbose", NULL, "say more on stderr", 'v' },
	{ 'h', "help", NULL, "print this help", 'h' },
	{ 'V', "version", NULL, "print the version", 'V' },
};

static const struct cli cli = {
	.name = "px-status-flush",
	.synopsis = "[options]",
	.about = "Posts what the spool holds, and a snapshot of Monit's status when one is due.\nMade for cron or a timer.\n",
	.options = options,
	.option_count = sizeof(options) / sizeof(options[0]),
	.more = "The environment variable PX_STATUS_CONFIG names another configuration.\nSee px-status-flush(8).\n",
};

/* What the command line asks for. */
struct request {
	const char *config_file;
	const char *spool;
	bool now;
	bool no_snapshot;
	bool dry_run;
	bool check;
	bool quiet;
	bool verbose;
	bool help;
	bool version;
	size_t mistakes;
};

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
	case 'N':
		request->now = true;
		break;
	case 'S':
		request->no_snapshot = true;
		break;
	case 'n':
		request->dry_run = true;
		break;
	case 'C':
		request->check = true;
		break;
	case 'q':
		request->quiet = true;
		break;
	case 'v':
		request->verbose = true;
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
take_mistake(void *arg, const char *text)
{
	struct request *request = arg;

	request->mistakes++;
	px_log(PX_ERROR, "%s", text);
}

static void
take_operand(void *arg, const char *text)
{
	(void)text;
	take_mistake(arg, "takes no operands");
}

/* A person, or somebody who asked, reads stderr; what runs unattended tells syslog, so that cron mails nothing. */
static bool
is_watched(const struct request *request)
{
	return request->now || request->dry_run || request->verbose || isatty(STDERR_FILENO) ||
	    px_log_stderr_is_journal(getenv("JOURNAL_STREAM"));
}

static void
open_log(const struct request *request)
{
	enum px_level level = request->verbose ? PX_DEBUG : request->quiet ? PX_ERROR : PX_NOTICE;

	px_log_open(cli.name, is_watched(request) ? PX_LOG_STDERR : PX_LOG_SYSLOG, level);
}

/* Progress of a long flush, on a terminal: one line that is written over. */
struct progress {
	struct px_now began;
	int64_t last_ms;
	bool shown;
};

static void
show_progress(void *arg, int64_t settled, int64_t left)
{
	struct progress *progress = arg;
	char left_text[SCREEN_DURATION_MAX];
	struct px_now now;
	int64_t elapsed_ms;
	int64_t per_s;

	px_sys_now(&now);
	elapsed_ms = now.boot_ms - progress->began.boot_ms;
	/* Where the first that could be told is the end, nobody has waited for more. */
	if (elapsed_ms < 1000 || now.boot_ms - progress->last_ms < 200 || (left == 0 && !progress->shown))
		return;
	per_s = settled * 1000 / elapsed_ms;
	screen_duration(left_text, per_s > 0 ? left / per_s : 0);
	/* The cursor goes back to the beginning, so that a message comes in the place of this line, not behind it. */
	fprintf(stderr, "\r%" PRId64 " of %" PRId64 " sent, %" PRId64 "/s, %s left   \r", settled, settled + left, per_s,
	    left_text);
	progress->last_ms = now.boot_ms;
	progress->shown = true;
}

static void
print_body(void *arg, struct px_slice body)
{
	(void)arg;
	(void)fwrite(body.ptr, 1, body.len, stdout);
	(void)putchar('\n');
}

/* A px_birth_fn: who this device is was read before root was given away. */
static int
give_birth(void *arg, struct px_spool_birth *birth, struct px_err *err)
{
	const struct px_device *device = arg;

	*birth = (struct px_spool_birth){ .device_id = px_slice(device->id) };
	birth->machine_hash = px_slice(device->machine_hash);
	return px_sys_id_v4(birth->id, err);
}

static int
take_lock(const struct request *request, const char *spool_path, int *lock, struct px_err *err)
{
	char path[PX_CONFIG_TEXT_MAX + 8];

	(void)snprintf(path, sizeof(path), "%s-lock", spool_path);
	*lock = px_sys_lock(path, request->now ? LOCK_WAIT_MS : 0, err);
	return *lock == -1 ? -1 : 0;
}

static void
say_what_was_done(const struct request *request, const struct px_flush_result *result)
{
	if (result->acknowledged > 0 || result->quarantined > 0 || request->now)
		px_log(request->now && isatty(STDERR_FILENO) ? PX_NOTICE : PX_INFO, "%" PRId64 " %s acknowledged, %" PRId64
		    " quarantined", result->acknowledged, px_text_plural(result->acknowledged, "item", "items"), result->quarantined);
}

/* An alert does not wait: one that comes meanwhile ends it, and so does another flush that leaves nothing to send. */
static void
wait_for_share_of_splay(const struct px_flush_job *job)
{
	int64_t left_ms = px_flush_splay_ms(job);

	while (left_ms > 0) {
		int64_t step_ms = left_ms < SPLAY_LOOK_MS ? left_ms : SPLAY_LOOK_MS;

		px_sys_sleep_ms(step_ms);
		left_ms = px_flush_splay_ms(job) > 0 ? left_ms - step_ms : 0;
	}
}

/* The run itself, under the lock. */
static int
flush(const struct request *request, struct px_flush_job *job, struct px_err *err)
{
	struct px_flush_result result = { .is_told = false };
	static struct progress progress;
	int lock = -1;
	int rc;

	if (!request->now && !request->no_snapshot && !isatty(STDERR_FILENO))
		wait_for_share_of_splay(job);
	if (take_lock(request, job->store.spool_path, &lock, err) == -1) {
		if (err->code == PX_LATER && !request->now) {
			px_log(PX_INFO, "another flush is at work");
			return 0;
		}
		return cli_fail(err);
	}
	px_sys_now(&progress.began);
	if (isatty(STDERR_FILENO) && !request->quiet) {
		job->progress = show_progress;
		job->progress_arg = &progress;
	}
	rc = px_flush(job, &result, err);
	px_sys_unlock(lock);
	if (progress.shown)
		fputc('\n', stderr);
	say_what_was_done(request, &result);
	if (rc == 0)
		return 0;
	if (err->code == PX_CONFIG)
		px_log_open(cli.name, PX_LOG_STDERR, request->quiet ? PX_ERROR : PX_NOTICE);
	if (!result.is_told || request->now || request->verbose || isatty(STDERR_FILENO))
		return cli_fail(err);
	return px_err_exit_status(err->code);
}

static int
dry_run(const struct px_flush_job *job, struct px_err *err)
{
	if (px_flush_dry(job, print_body, NULL, err) == -1)
		return cli_fail(err);
	return cli_finish_stdout();
}

static int
become_spool_owner(const struct request *request, const char *spool_path, struct px_err *err)
{
	bool changed;

	if (request->dry_run)
		return cli_become_spool_owner_to_look(spool_path, err);
	return cli_become_spool_owner(spool_path, &changed, err);
}

/* Where it belongs to somebody else, what recorders put there is his flush's to take in. */
static bool
may_use_default_place(void)
{
	char folder[PATH_MAX];
	struct px_err ignored;

	return px_sys_folder_of(PX_CONFIG_DEFAULT_SPOOL, folder, sizeof(folder), &ignored) == 0 &&
	    access(folder, R_OK | W_OK | X_OK) == 0;
}

/* What stopped a run before the spool was needed: px-status health is to tell of it. */
static int
stop(const struct request *request, const struct px_flush_job *job, const struct px_err *why)
{
	struct px_err err;
	int lock = -1;

	if (!request->dry_run && (become_spool_owner(request, job->store.spool_path, &err) == -1 ||
	    take_lock(request, job->store.spool_path, &lock, &err) == -1 || px_flush_note_failure(job, why, &err) == -1))
		px_log(err.code == PX_LATER ? PX_INFO : PX_ERROR, "%s", err.text);	/* another run tells how it is */
	px_sys_unlock(lock);
	return cli_fail(why);
}

static int
run(const struct request *request, struct px_err *err)
{
	static const struct px_world world = { px_sys_now, px_sys_random };
	static struct px_config config;
	static struct px_device device;
	static struct link link;
	char host_name[256];
	struct px_flush_job job = { .config = &config, .device = &device, .world = &world, .offset = px_text_local_offset_s };
	int status;

	if (cli_read_config(&config, cli_config_file(request->config_file), request->spool, err) == -1)
		return cli_fail(err);
	px_sys_forbid_dumps();

	job.now = request->now;
	job.takes_snapshot = !request->no_snapshot;
	job.store = (struct px_record_job){ config.spool.path, { config.spool.max_items, config.spool.max_bytes }, SPOOL_WAIT_MS,
		give_birth, &device };
	px_sys_host_name(host_name, sizeof(host_name));
	if (px_config_device(&config, host_name, &device, err) == -1) {
		device.id[0] = '\0';	/* as a recorder makes a spool then */
		return stop(request, &job, err);
	}
	job.ask = link_ask_monit;
	job.ask_arg = &link;
	if (link_open(&link, &config, &device, !request->dry_run && device.url[0] != '\0',
	    !request->dry_run && config.snapshot.enabled && !request->no_snapshot, err) == -1) {
		status = stop(request, &job, err);
		goto out;
	}
	/* Configuration is for a person's eyes, whoever runs this; from here on it depends. */
	open_log(request);
	if (become_spool_owner(request, config.spool.path, err) == -1) {
		status = cli_fail(err);
		goto out;
	}
	if (request->spool == NULL && may_use_default_place())
		job.fallback_spool = PX_CONFIG_DEFAULT_SPOOL;
	job.upstream = device.url[0] != '\0' ? &link.upstream : NULL;
	status = request->dry_run ? dry_run(&job, err) : flush(request, &job, err);
out:
	link_close(&link);
	return status;
}

int
main(int argc, char *argv[])
{
	static const struct cli_takers takers = { take_option, take_operand, take_mistake };
	struct request request = { .mistakes = 0 };
	struct px_err err = { .code = PX_OK };

	px_log_open(cli.name, PX_LOG_STDERR, PX_NOTICE);
	px_sys_fix_signals();
	if (px_sys_fix_streams(&err) == -1)
		return cli_fail(&err);
	/* libcurl would write the keys of its TLS sessions to the file that it names. */
	(void)unsetenv("SSLKEYLOGFILE");
	cli_parse(&cli, argc, argv, &takers, &request);
	if (request.help)
		return cli_help(&cli);
	if (request.version)
		return cli_version(&cli);
	if (request.mistakes > 0)
		return cli_refuse(&cli);
	if (request.check) {
		int status = check_everything(request.config_file, request.spool);
		int written = cli_finish_stdout();

		return status != 0 ? status : written;
	}
	return run(&request, &err);
}
