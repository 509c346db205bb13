/* SPDX-License-Identifier: MIT */
#include "check.h"

#include <errno.h>
#include <grp.h>
#include <inttypes.h>
#include <limits.h>
#include <pwd.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "cli.h"
#include "control.h"
#include "deliver.h"
#include "link.h"
#include "monit.h"
#include "overflow.h"
#include "report.h"
#include "sys.h"

#define SPOOL_WAIT_MS 10000
#define STATUS_MAX (8 << 20)
#define NAME_SHOWN 64
#define LITTLE_ROOM (1 << 20)	/* bytes: what the smallest spool may take */

struct checking {
	const char *config_file;
	const char *spool_file;
	struct px_config config;
	struct px_device device;
	struct link link;
	bool has_link;
	char control_file[PATH_MAX];	/* Monit's; "" without one */
	bool has_folder;		/* of the spool, to look into */
	struct px_spool *spool;
	struct report report;
};

static const char *
advice_for_configuration(const struct checking *checking)
{
	const char *file = cli_config_file(checking->config_file);

	if (access(file != NULL ? file : PX_CONFIG_DEFAULT_FILE, R_OK) == -1 && errno == EACCES)
		return "start this as root, or as a user who may read it";
	return "px-status.conf(5) has every section and key";
}

/* -1 when nothing further can be told. */
static int
check_configuration(struct checking *checking)
{
	struct px_problems problems = { .count = 0 };
	char host_name[256];
	struct px_err err;
	bool path_is_valid;

	px_config_init(&checking->config);
	if (px_config_read(&checking->config, cli_config_file(checking->config_file), &problems, &path_is_valid, &err) == -1) {
		report_failed(&checking->report, "configuration", &err, advice_for_configuration(checking));
		for (size_t i = 1; i < problems.count; i++)
			report_line("failed", "configuration", problems.text[i]);
		if (problems.more > 0)
			report_line("failed", "configuration", "there are more, for which there is no room here");
		return -1;
	}
	report_ok("configuration", "%s", checking->config.file[0] != '\0' ? checking->config.file : "defaults, no file is there");
	if (checking->spool_file != NULL && cli_set_spool(&checking->config, checking->spool_file, &err) == -1) {
		report_failed(&checking->report, "spool", &err, "");
		return -1;
	}
	px_sys_host_name(host_name, sizeof(host_name));
	if (px_config_device(&checking->config, host_name, &checking->device, &err) == -1) {
		report_failed(&checking->report, "device", &err, "");
		return -1;
	}
	report_ok("device", "id %s (%s)", checking->device.id, checking->device.id_origin);
	return 0;
}

static void
name_user(uid_t uid, char name[NAME_SHOWN])
{
	const struct passwd *user = getpwuid(uid);

	(void)snprintf(name, NAME_SHOWN, "uid %ju", (uintmax_t)uid);
	if (user != NULL)
		(void)snprintf(name, NAME_SHOWN, "%s", user->pw_name);
}

/* No failure: a flush that root starts reads it before it takes the identity of the ${owner} of the spool's folder. */
static void
warn_of_file(const char *file, const struct stat *owner)
{
	const struct passwd *user = getpwuid(owner->st_uid);
	const struct group *group = getgrgid(user != NULL ? user->pw_gid : owner->st_gid);
	char name[NAME_SHOWN];
	char advice[PX_ERR_MAX];

	name_user(owner->st_uid, name);
	(void)snprintf(advice, sizeof(advice), "where a unit runs it as %s: chgrp %s FILE && chmod g+r FILE, and let it "
	    "through the folders on the way", name, group != NULL ? group->gr_name : "GROUP");
	report_warning("files", advice, "%s, who owns the spool's folder, cannot read '%s': only a flush that root starts "
	    "can", name, file);
}

/* Root reads everything. The units start the flush as who owns the spool's folder. How many files that user can't read. */
static size_t
warn_of_unreadable(const struct checking *checking)
{
	const struct link *link = &checking->link;
	const char *files[LINK_FILES_MAX + 1];
	char folder[PATH_MAX];
	size_t warned = 0;
	size_t count = 0;
	struct stat st;
	struct px_err ignored;
	bool may;

	if (geteuid() != 0 || px_sys_folder_of(checking->config.spool.path, folder, sizeof(folder), &ignored) == -1 ||
	    stat(folder, &st) == -1 || st.st_uid == 0)
		return 0;
	if (checking->config.file[0] != '\0')
		files[count++] = checking->config.file;
	for (size_t i = 0; i < link->file_count; i++)
		files[count++] = link->files[i];
	for (size_t i = 0; i < count; i++)
		if (px_sys_may_read(st.st_uid, st.st_gid, files[i], &may, &ignored) == 0 && !may) {
			warn_of_file(files[i], &st);
			warned++;
		}
	return warned;
}

static void
check_files(struct checking *checking)
{
	bool posts = checking->device.url[0] != '\0';
	struct px_err err;

	checking->has_link = true;
	if (link_open(&checking->link, &checking->config, &checking->device, posts, checking->config.snapshot.enabled,
	    &err) == -1) {
		report_failed(&checking->report, "files", &err, "px-status.conf(5) tells how each file has to be; a secret "
		    "is root's or that of who starts this, and closed to others: chmod o= FILE");
		checking->has_link = false;
		link_close(&checking->link);
		return;
	}
	if (warn_of_unreadable(checking) == 0)
		report_ok("files", "secrets, certificates and commands are as they should be");
}

/* How many warnings there were. */
static size_t
warn_of_folder(const char *folder, const struct stat *found)
{
	struct statvfs room;
	size_t warned = 0;

	if ((found->st_mode & S_IWOTH) != 0) {
		report_warning("spool folder", "chmod o-w FOLDER", "everybody may write in %s, and take the spool away", folder);
		warned++;
	}
	if (statvfs(folder, &room) == 0 &&
	    (room.f_bavail < LITTLE_ROOM / room.f_frsize || (room.f_files > 0 && room.f_favail == 0))) {
		report_warning("spool folder", "make room there; what is spooled is delivered all the same",
		    "the file system of %s is full, with %ju KiB and %ju inodes left: an event that finds no room is in "
		    "syslog only", folder,
		    (uintmax_t)room.f_bavail * room.f_frsize / 1024, (uintmax_t)room.f_favail);
		warned++;
	}
	return warned;
}

static const char *
advice_for_folder(int error)
{
	if (error == ENOENT)
		return "make it: install -d -m 700 -o px-status -g px-status FOLDER";
	if (error == EROFS)
		return "see why its file system is read-only, most often after errors of the disk, and mount it for writing";
	return "start this as root, which takes the identity of the folder's owner, or give it to the user who runs "
	    "px-status-flush";
}

static void
check_folder(struct checking *checking)
{
	const char *path = checking->config.spool.path;
	char folder[PATH_MAX];
	struct stat st;
	struct px_err err;
	bool changed;

	if (px_sys_folder_of(path, folder, sizeof(folder), &err) == -1 || px_sys_become_owner(folder, &changed, &err) == -1) {
		report_failed(&checking->report, "spool folder", &err, advice_for_folder(ENOENT));
		return;
	}
	checking->has_folder = access(folder, X_OK) == 0;
	if (stat(folder, &st) == -1 || access(folder, R_OK | W_OK | X_OK) == -1) {
		int error = errno;

		(void)px_err_set_errno(&err, PX_STORAGE, error, "cannot write in the folder '%s' as uid %ju", folder,
		    (uintmax_t)geteuid());
		report_failed(&checking->report, "spool folder", &err, advice_for_folder(error));
		return;
	}
	if (warn_of_folder(folder, &st) > 0)
		return;
	if (st.st_uid == 0)
		report_ok("spool folder", "%s is root's: everything runs as root; better give it to the user px-status, as "
		    "whom the units run", folder);
	else
		report_ok("spool folder", "%s, used as uid %ju", folder, (uintmax_t)geteuid());
}

static void
check_spool(struct checking *checking)
{
	const char *path = checking->config.spool.path;
	struct px_spool_facts facts;
	struct px_err err;

	if (px_spool_open(&checking->spool, path, PX_SPOOL_LOOK, SPOOL_WAIT_MS, &err) == -1) {
		if (err.code == PX_ABSENT)
			report_ok("spool", "%s is not made yet; the first event or flush makes it", path);
		else
			report_failed(&checking->report, "spool", &err, err.code == PX_CORRUPT ? CLI_CORRUPT_ADVICE : "");
		return;
	}
	if (px_spool_check(checking->spool, &err) == -1 || px_spool_facts(checking->spool, &facts, &err) == -1) {
		report_failed(&checking->report, "spool", &err, err.code == PX_CORRUPT ? CLI_CORRUPT_ADVICE : "");
		return;
	}
	report_ok("spool", "%s is whole: %" PRId64 " pending, %" PRId64 " quarantined", path, facts.pending, facts.quarantined);
}

static void
check_overflow(const struct checking *checking)
{
	char folder[PATH_MAX];
	struct px_err err;
	int64_t count;

	if (px_overflow_folder(checking->config.spool.path, folder, sizeof(folder), &err) == -1)
		return;
	count = px_overflow_count(folder);
	if (count == 0)
		report_ok("overflow", "empty");
	else
		report_ok("overflow", "%" PRId64 " %s in %s; the next flush takes %s in", count,
		    px_text_plural(count, "event waits", "events wait"),
		    folder, px_text_plural(count, "it", "them"));
}

/* A command that root ran has answered; where a unit starts the flush it would not. */
static void
report_monit(const struct checking *checking, const struct px_monit_status *status)
{
	char answer[PX_ERR_MAX];
	char name[NAME_SHOWN];

	(void)snprintf(answer, sizeof(answer), "version %.*s, %zu %s", (int)status->version.len, status->version.ptr,
	    status->service_count, px_text_plural((int64_t)status->service_count, "service", "services"));
	if (!checking->link.monit_by_command || checking->link.helper == NULL || checking->control_file[0] == '\0' ||
	    access(checking->control_file, R_OK) == 0) {
		report_ok("monit", "%s", answer);
		return;
	}
	name_user(geteuid(), name);
	report_warning("monit", "where a unit runs it, let Monit open a socket: " PX_PREFIX "/share/px-status/monitrc.d/httpd",
	    "%s, by command; %s, who owns the spool's folder, cannot read '%s': only a flush that root starts can ask so",
	    answer, name,
	    checking->control_file);
}

static void
check_monit(struct checking *checking)
{
	struct px_buf text = PX_BUF(STATUS_MAX);
	struct px_monit_status status = { .uptime_s = -1 };
	struct px_err err;

	if (!checking->config.snapshot.enabled) {
		report_ok("monit", "is not asked: [snapshot] enabled is no");
		return;
	}
	if (link_ask_monit(&checking->link, &text, &err) == -1 ||
	    px_monit_parse(&status, px_buf_text(&text), text.len, &err) == -1)
		report_failed(&checking->report, "monit", &err, "is Monit running, with 'set httpd' in its control file? See "
		    "[snapshot] in px-status.conf(5)");
	else
		report_monit(checking, &status);
	px_monit_clear(&status);
	px_buf_clear(&text);
}

static const char *
advice_for(enum px_code code)
{
	switch (code) {
	case PX_DENIED:
		return "look at [upstream] auth and at the token or password that it names";
	case PX_CONFIG:
		return "look at [upstream] url, path and certificates";
	case PX_LATER:
		return "look at the network, the proxy, [upstream] ca_file where TLS fails, and upstream itself; nothing is lost "
		    "meanwhile";
	case PX_OK:
	case PX_ABSENT:
	case PX_USAGE:
	case PX_BUG:
	case PX_STORAGE:
	case PX_CORRUPT:
		break;
	}
	return "";
}

static void
check_upstream(struct checking *checking)
{
	static const struct px_world world = { px_sys_now, px_sys_random };
	struct px_delivery_job job = {
		.spool = checking->spool,
		.world = &world,
		.upstream = &checking->link.upstream,
		.device_id = px_slice(checking->device.id),
		.device_name = px_slice(checking->device.name),
		.max_items = 1,
		.max_bytes = (size_t)checking->config.batch.max_bytes,
	};
	struct px_err err;

	if (checking->device.url[0] == '\0') {
		(void)px_err_set(&err, PX_CONFIG, "no URL to send to yet");
		report_failed(&checking->report, "upstream", &err, "set [upstream] url, or enrol the device");
		return;
	}
	if (px_deliver_probe(&job, &err) == -1) {
		(void)px_err_prefix(&err, "%s (%s)", checking->device.url, checking->device.url_origin);
		report_failed(&checking->report, "upstream", &err, advice_for(err.code));
	} else {
		report_ok("upstream", "%s (%s) acknowledged an empty batch", checking->device.url, checking->device.url_origin);
	}
}

int
check_everything(const char *config_file, const char *spool)
{
	static struct checking checking;

	checking = (struct checking){ .config_file = config_file, .spool_file = spool };
	px_sys_forbid_dumps();
	if (check_configuration(&checking) == -1)
		return checking.report.status;
	check_files(&checking);
	/* As who starts this: Monit's control files are root's to read. */
	if (!control_find(checking.config.snapshot.command, checking.control_file, sizeof(checking.control_file)))
		checking.control_file[0] = '\0';
	control_check(&checking.report, checking.config.snapshot.command);
	check_folder(&checking);
	if (checking.has_folder) {
		check_spool(&checking);
		check_overflow(&checking);
	} else {
		report_line("failed", "spool", "not tried: see 'spool folder' above");
		report_line("failed", "overflow", "not tried: see 'spool folder' above");
	}
	if (checking.has_link) {
		check_monit(&checking);
		check_upstream(&checking);
		link_close(&checking.link);
	} else {
		report_line("failed", "monit", "not tried: see 'files' above");
		report_line("failed", "upstream", "not tried: see 'files' above");
	}
	px_spool_close(checking.spool);
	return checking.report.status;
}
