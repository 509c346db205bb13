/* SPDX-License-Identifier: MIT */
#include "control_parts.h"

#include <errno.h>
#include <fcntl.h>
#include <glob.h>
#include <limits.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "proc.h"
#include "sys.h"

#define FILES "monit files"
#define TOLD_MAX (1 << 20)
#define WILDCARDS "*?["

void
control_fail(struct control *control, const char *what, const struct px_err *err, const char *advice)
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
	struct control_file *file = &control->files[control->file_count];
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
	if (control->file_count == CONTROL_FILES_MAX) {
		(void)px_err_set(&err, PX_CONFIG, "more than %d included files: Monit takes no more", CONTROL_FILES_MAX - 1);
		control_fail(control, FILES, &err, "");
		return;
	}
	*file = (struct control_file){ strdup(path), NULL, st.st_dev, st.st_ino };
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
	control_fail(control, FILES, &err, "chown root and chmod go-w it: what stands in an included folder Monit does as root");
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
			control_note_system(control, fact);
		break;
	case PX_MONITRC_INTERFACE:
		control_check_interface(control, fact);
		break;
	case PX_MONITRC_COMMAND:
		control_check_command(control, fact);
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
	struct px_buf text = PX_BUF(CONTROL_FILE_MAX_BYTES);
	struct px_err err;

	control->file = path;
	if (px_sys_only_owner_writes(path, control->owner, &err) == -1)
		control_fail(control, FILES, &err, "chown root and chmod go-w it: Monit does what stands there, and looks at the "
		    "mode of its main file alone");
	if (may_not_read(path))
		control->unread++;
	else if (px_sys_read_file(path, PX_FILE_ANY, &text, &err) == -1)
		control_fail(control, FILES, &err, "take it away: Monit has to read it");
	else
		px_monitrc_read((struct px_slice){ px_buf_text(&text), text.len }, take_fact, control);
	px_buf_clear(&text);
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
		report_ok(FILES, "%zu of %zu may not be read, '%s' first of all: run --check as root to have them looked at",
		    control.unread,
		    control.file_count, path);
	else if (control.failed == 0)
		report_ok(FILES, "'%s' and the %zu that it includes: nobody else can write them", path, control.file_count - 1);
	control_report_conflicts(&control);
	if (control.unread == 0)
		control_report_systems(&control);
	for (size_t i = 0; i < control.file_count; i++) {
		free(control.files[i].path);
		free(control.files[i].other_path);
	}
	services_clear(&control.services);
	px_buf_clear(&control.told);
}
