/* SPDX-License-Identifier: MIT */
#include "control.h"

#include <errno.h>
#include <fcntl.h>
#include <glob.h>
#include <limits.h>
#include <net/if.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "monitrc.h"
#include "proc.h"
#include "services.h"
#include "sys.h"

#ifndef PX_PREFIX
#define PX_PREFIX "/usr"
#endif

#define SNIPPET PX_PREFIX "/share/px-status/monitrc.d/cpu"
#define FILES "monit files"
#define RULES "monit rules"
#define FILES_MAX 1025		/* Monit takes 1,024 included ones */
#define FILE_MAX_BYTES (4 << 20)
#define TOLD_MAX (1 << 20)
#define NAME_SHOWN 64
#define SYSTEMS_MAX 8
#define WILDCARDS "*?["

struct file {
	char *path;		/* owned */
	char *other_path;	/* owned; by which it is included once more; NULL: it is not */
	dev_t device;
	ino_t inode;
};

/* A `check system`. */
struct system {
	char name[NAME_SHOWN];
	char at[PX_ERR_MAX / 4];	/* FILE:LINE */
	bool is_ours;			/* runs px-status-event */
};

struct control {
	struct report *report;
	uid_t owner;			/* of the main control file: who runs Monit */
	struct file files[FILES_MAX];
	size_t file_count;
	const char *file;		/* the one being read */
	size_t failed;
	size_t unread;
	struct system systems[SYSTEMS_MAX];
	size_t system_count;
	struct services services;
	struct px_buf told;		/* what failed: one folder does for each file in it, one program for each rule */
};

static void
fail(struct control *control, const char *what, const struct px_err *err, const char *advice)
{
	control->failed++;
	if (strstr(px_buf_text(&control->told), err->text) != NULL)
		return;
	px_buf_add_text(&control->told, err->text);
	px_buf_add_byte(&control->told, '\n');
	report_failed(control->report, what, err, advice);
}

/* The value of -c or --conf in ${command}; false when there is none that fits. */
static bool
named_file(const char *command, char *out, size_t size)
{
	static const char long_name[] = "--conf";
	struct px_buf word = PX_BUF(strlen(command) + 1);
	const char *value = NULL;
	bool found = false;
	bool is_next = false;

	while (!found && px_command_next_word(&command, &word) == 1) {
		const char *text = px_buf_text(&word);

		if (is_next)
			value = text;
		else if (strncmp(text, long_name, strlen(long_name)) == 0 && text[strlen(long_name)] == '=')
			value = text + strlen(long_name) + 1;
		else if (text[0] == '-' && text[1] != '-' && text[1 + strspn(text + 1, "BItv")] == 'c')
			value = text + 2 + strspn(text + 1, "BItv");
		is_next = strcmp(text, long_name) == 0 || (value != NULL && value[0] == '\0' && !is_next);
		if (value != NULL && value[0] != '\0')
			found = (size_t)snprintf(out, size, "%s", value) < size;
	}
	px_buf_clear(&word);
	return found;
}

/* Where Monit looks, its own order: upstream's and Debian's. False when there is nothing. */
static bool
found_file(char *out, size_t size)
{
	static const char *const places[] = { "/etc/monitrc", "/etc/monit/monitrc", "/usr/local/etc/monitrc" };
	const struct passwd *user = getpwuid(geteuid());
	struct stat st;

	if (user != NULL && (size_t)snprintf(out, size, "%s/.monitrc", user->pw_dir) < size && stat(out, &st) == 0)
		return true;
	for (size_t i = 0; i < sizeof(places) / sizeof(places[0]); i++) {
		(void)snprintf(out, size, "%s", places[i]);
		if (stat(out, &st) == 0 || errno == EACCES)
			return true;
	}
	return false;
}

/* Read once, whatever names it goes by: this ends circles too. */
static void
add_file(struct control *control, const char *path)
{
	struct file *file = &control->files[control->file_count];
	struct px_err err;
	struct stat st;

	if (stat(path, &st) == -1 || S_ISDIR(st.st_mode))
		return;
	for (size_t i = 0; i < control->file_count; i++)
		if (control->files[i].device == st.st_dev && control->files[i].inode == st.st_ino) {
			if (control->files[i].other_path == NULL)
				control->files[i].other_path = strdup(path);
			return;
		}
	if (control->file_count == FILES_MAX) {
		(void)px_err_set(&err, PX_CONFIG, "more than %d included files: Monit takes no more", FILES_MAX - 1);
		fail(control, FILES, &err, "");
		return;
	}
	*file = (struct file){ strdup(path), NULL, st.st_dev, st.st_ino };
	if (file->path != NULL)
		control->file_count++;
}

/* What goes into a folder that is searched by a pattern becomes Monit's, so that even a sticky one must not be open. */
static void
check_folder_of(struct control *control, const char *pattern)
{
	char folder[PATH_MAX];
	struct px_err err;
	struct stat st;
	char *slash;

	if (strpbrk(pattern, WILDCARDS) == NULL || (size_t)snprintf(folder, sizeof(folder), "%s", pattern) >= sizeof(folder))
		return;
	folder[strcspn(folder, WILDCARDS)] = '\0';
	slash = strrchr(folder, '/');
	if (slash == NULL)
		return;
	slash[slash == folder ? 1 : 0] = '\0';
	if (stat(folder, &st) == -1)
		return;
	if (px_sys_only_owner_writes(folder, control->owner, &err) == 0) {
		if ((st.st_mode & (S_IWGRP | S_IWOTH)) == 0)
			return;
		(void)px_err_set(&err, PX_CONFIG, "'%s' can be written by others than its owner: its mode is %04o", folder,
		    (unsigned)st.st_mode & 07777);
	}
	fail(control, FILES, &err, "chown root and chmod go-w it: what stands in an included folder Monit does as root");
}

/* As Monit does: sorted, without names that begin with a dot or end with a tilde, without folders. */
static void
include(struct control *control, struct px_slice text)
{
	char pattern[PATH_MAX];
	glob_t found = { .gl_pathc = 0 };

	/* A relative name counts from the folder in which Monit was started, which init makes the root folder. */
	if (text.len == 0 || (size_t)snprintf(pattern, sizeof(pattern), "%s%.*s", text.ptr[0] == '/' ? "" : "/", (int)text.len,
	    text.ptr) >= sizeof(pattern))
		return;
	check_folder_of(control, pattern);
	if (glob(pattern, 0, NULL, &found) == 0)
		for (size_t i = 0; i < found.gl_pathc; i++)
			if (found.gl_pathv[i][strlen(found.gl_pathv[i]) - 1] != '~')
				add_file(control, found.gl_pathv[i]);
	globfree(&found);
}

static void
note_system(struct control *control, const struct px_monitrc_fact *fact)
{
	struct system *system = &control->systems[control->system_count];

	if (control->system_count == SYSTEMS_MAX)
		return;
	control->system_count++;
	(void)snprintf(system->name, sizeof(system->name), "%.*s", (int)(fact->text.len < NAME_SHOWN ? fact->text.len : NAME_SHOWN),
	    fact->text.ptr);
	(void)snprintf(system->at, sizeof(system->at), "%s:%zu", control->file, fact->line);
	system->is_ours = false;
}

/* Whether it is the absolute path of a program of px-status, or of one that it brings for Monit. */
static bool
is_of_px_status(const char *program)
{
	static const char *const names[] = { "px-status", "px-status-event", "px-status-flush" };
	const char *slash = strrchr(program, '/');

	if (program[0] != '/')
		return false;
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		if (strcmp(slash + 1, names[i]) == 0)
			return true;
	return strstr(program, "/px-status/checks/") != NULL;
}

static void
check_program(struct control *control, const struct px_monitrc_fact *fact, const char *program)
{
	char advice[PX_ERR_MAX];
	struct px_err err;

	if (!is_of_px_status(program))
		return;
	if (fact->in_system && control->system_count > 0 && strcmp(strrchr(program, '/') + 1, "px-status-event") == 0)
		control->systems[control->system_count - 1].is_ours = true;
	if (faccessat(AT_FDCWD, program, X_OK, AT_EACCESS) == 0)
		return;
	(void)px_err_set_errno(&err, PX_CONFIG, errno, "Monit cannot run '%s'", program);
	(void)snprintf(advice, sizeof(advice), "%s:%zu names it; is the path right, and px-status installed?", control->file,
	    fact->line);
	fail(control, RULES, &err, advice);
}

/* Each word of it, since a program may be run by a shell. */
static void
check_command(struct control *control, const struct px_monitrc_fact *fact)
{
	static const char between[] = " \t\r\n'";
	struct px_buf command = PX_BUF(FILE_MAX_BYTES);
	char *words;
	char *word;

	px_buf_add(&command, fact->text.ptr, fact->text.len);
	words = command.data;
	while (!command.failed && words != NULL && (word = strsep(&words, between)) != NULL)
		check_program(control, fact, word);
	px_buf_clear(&command);
}

/* A name that is not there is no mistake to Monit. Whose services are not ours is not our business. */
static void
check_interface(struct control *control, const struct px_monitrc_fact *fact)
{
	char name[IF_NAMESIZE];
	struct px_err err;

	if (fact->service.len < 3 || strncmp(fact->service.ptr, "px_", 3) != 0 || fact->text.len == 0)
		return;
	if (fact->text.len < sizeof(name)) {
		(void)snprintf(name, sizeof(name), "%.*s", (int)fact->text.len, fact->text.ptr);
		if (if_nametoindex(name) != 0)
			return;
	}
	(void)px_err_set(&err, PX_CONFIG, "%s:%zu: there is no network interface '%.*s'", control->file, fact->line,
	    (int)(fact->text.len < NAME_SHOWN ? fact->text.len : NAME_SHOWN), fact->text.ptr);
	fail(control, RULES, &err, "name the one that 'ip route show default' has behind dev; Monit reports this one as down");
}

static void
take_fact(void *arg, const struct px_monitrc_fact *fact)
{
	struct control *control = arg;

	switch (fact->kind) {
	case PX_MONITRC_INCLUDE:
		include(control, fact->text);
		break;
	case PX_MONITRC_SERVICE:
		services_add(&control->services, fact, control->file);
		if (fact->in_system)
			note_system(control, fact);
		break;
	case PX_MONITRC_INTERFACE:
		check_interface(control, fact);
		break;
	case PX_MONITRC_COMMAND:
		check_command(control, fact);
		break;
	}
}

static bool
may_not_read(const char *path)
{
	return faccessat(AT_FDCWD, path, R_OK, AT_EACCESS) == -1 && errno == EACCES;
}

/* Files that it includes are added behind it. */
static void
look_at(struct control *control, const char *path)
{
	struct px_buf text = PX_BUF(FILE_MAX_BYTES);
	struct px_err err;

	control->file = path;
	if (px_sys_only_owner_writes(path, control->owner, &err) == -1)
		fail(control, FILES, &err, "chown root and chmod go-w it: Monit does what stands there, and looks at the mode of its "
		    "main file alone");
	if (may_not_read(path))
		control->unread++;
	else if (px_sys_read_file(path, PX_FILE_ANY, &text, &err) == -1)
		fail(control, FILES, &err, "take it away: Monit has to read it");
	else
		px_monitrc_read((struct px_slice){ px_buf_text(&text), text.len }, take_fact, control);
	px_buf_clear(&text);
}

static const char conflict_advice[] = "Monit does not start with two of one name: leave one, the copy that you changed, or the link";

static void
report_namesakes(void *arg, const struct service *first, const struct service *second)
{
	struct px_err err;

	(void)px_err_set(&err, PX_CONFIG, "the service '%.*s' is at %s:%zu, and at %s:%zu", NAME_SHOWN, second->name, first->file,
	    first->line, second->file, second->line);
	fail(arg, RULES, &err, conflict_advice);
}

static void
report_conflicts(struct control *control)
{
	struct px_err err;

	services_each_conflict(&control->services, report_namesakes, control);
	for (size_t i = 0; i < control->file_count; i++) {
		const struct file *file = &control->files[i];
		const struct service *service = services_of(&control->services, file->path);

		if (file->other_path == NULL || service == NULL)
			continue;
		(void)px_err_set(&err, PX_CONFIG, "the service '%.*s' is at %s:%zu, and once more since that is included as '%s' too",
		    NAME_SHOWN, service->name, file->path, service->line, file->other_path);
		fail(control, RULES, &err, conflict_advice);
	}
}

static void
print_rules(void)
{
	for (size_t i = 0; control_cpu_rules[i] != NULL; i++)
		report_more(control_cpu_rules[i]);
}

/* Two of them are never right: Monit refuses two of one name, and of two names one is that of every event. */
static void
report_two_systems(struct control *control)
{
	const struct system *ours = NULL;
	const struct system *other = NULL;
	char advice[PX_ERR_MAX];
	struct px_err err;

	for (size_t i = control->system_count; i-- > 0;)
		*(control->systems[i].is_ours ? &ours : &other) = &control->systems[i];
	(void)px_err_set(&err, PX_CONFIG, "more than one 'check system': '%s' at %s, '%s' at %s", control->systems[0].name,
	    control->systems[0].at, control->systems[1].name, control->systems[1].at);
	if (ours != NULL && other != NULL)
		(void)snprintf(advice, sizeof(advice), "take out the one at %s, and add these lines to the one at %s:", ours->at,
		    other->at);
	else
		(void)snprintf(advice, sizeof(advice), "leave one of them: its name is MONIT_HOST of every event");
	report_failed(control->report, RULES, &err, advice);
	if (ours != NULL && other != NULL)
		print_rules();
}

static void
report_systems(struct control *control)
{
	const struct system *first = &control->systems[0];

	if (control->system_count > 1) {
		report_two_systems(control);
	} else if (control->system_count == 0) {
		report_ok(RULES, "there is no 'check system': the snippet %s can be used as it is", SNIPPET);
	} else if (first->is_ours) {
		report_ok(RULES, "'check system' at %s runs px-status-event", first->at);
	} else {
		report_ok(RULES, "'check system' at %s is there already, so that %s can't be used; add these lines to it:", first->at,
		    SNIPPET);
		print_rules();
	}
}

bool
control_find(const char *command, char *path, size_t size)
{
	return named_file(command, path, size) || found_file(path, size);
}

void
control_check(struct report *report, const char *command)
{
	static struct control control;
	char path[PATH_MAX];
	struct stat st;

	control = (struct control){ .report = report, .told = PX_BUF(TOLD_MAX) };
	if (!control_find(command, path, sizeof(path))) {
		report_ok(FILES, "Monit has no control file here: none that [snapshot] command names, none where Monit looks");
		return;
	}
	if (stat(path, &st) == -1) {
		report_ok(FILES, "not looked at: there is no '%s', or it can be seen by root only", path);
		return;
	}
	control.owner = st.st_uid;
	add_file(&control, path);
	for (size_t i = 0; i < control.file_count; i++)
		look_at(&control, control.files[i].path);
	if (control.unread > 0)
		report_ok(FILES, "%zu of %zu may not be read, '%s' first of all: run --check as root to have them looked at", control.unread,
		    control.file_count, path);
	else if (control.failed == 0)
		report_ok(FILES, "'%s' and the %zu that it includes: nobody else can write them", path, control.file_count - 1);
	report_conflicts(&control);
	if (control.unread == 0)
		report_systems(&control);
	for (size_t i = 0; i < control.file_count; i++) {
		free(control.files[i].path);
		free(control.files[i].other_path);
	}
	services_clear(&control.services);
	px_buf_clear(&control.told);
}
