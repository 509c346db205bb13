/* SPDX-License-Identifier: MIT */
#include "control_parts.h"

#include <errno.h>
#include <fcntl.h>
#include <net/if.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#ifndef PX_PREFIX
#define PX_PREFIX "/usr"
#endif

#define SNIPPET PX_PREFIX "/share/px-status/monitrc.d/cpu"
#define RULES "monit rules"

void
control_note_system(struct control *control, const struct px_monitrc_fact *fact)
{
	struct control_system *system = &control->systems[control->system_count];

	if (control->system_count == CONTROL_SYSTEMS_MAX)
		return;
	control->system_count++;
	(void)snprintf(system->name, sizeof(system->name), "%.*s",
	    (int)(fact->text.len < CONTROL_NAME_SHOWN ? fact->text.len : CONTROL_NAME_SHOWN), fact->text.ptr);
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
	control_fail(control, RULES, &err, advice);
}

void
control_check_command(struct control *control, const struct px_monitrc_fact *fact)
{
	static const char between[] = " \t\r\n'";
	struct px_buf command = PX_BUF(CONTROL_FILE_MAX_BYTES);
	char *words;
	char *word;

	px_buf_add(&command, fact->text.ptr, fact->text.len);
	words = command.data;
	while (!command.failed && words != NULL && (word = strsep(&words, between)) != NULL)
		check_program(control, fact, word);
	px_buf_clear(&command);
}

void
control_check_interface(struct control *control, const struct px_monitrc_fact *fact)
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
	    (int)(fact->text.len < CONTROL_NAME_SHOWN ? fact->text.len : CONTROL_NAME_SHOWN), fact->text.ptr);
	control_fail(control, RULES, &err, "name the one that 'ip route show default' has behind dev; Monit reports this one "
	    "as down");
}

static const char conflict_advice[] = "Monit does not start with two of one name: leave one, the copy that you changed, or "
    "the link";

static void
report_namesakes(void *arg, const struct service *first, const struct service *second)
{
	struct px_err err;

	(void)px_err_set(&err, PX_CONFIG, "the service '%.*s' is at %s:%zu, and at %s:%zu", CONTROL_NAME_SHOWN, second->name,
	    first->file, first->line, second->file, second->line);
	control_fail(arg, RULES, &err, conflict_advice);
}

void
control_report_conflicts(struct control *control)
{
	struct px_err err;

	services_each_conflict(&control->services, report_namesakes, control);
	for (size_t i = 0; i < control->file_count; i++) {
		const struct control_file *file = &control->files[i];
		const struct service *service = services_of(&control->services, file->path);

		if (file->other_path == NULL || service == NULL)
			continue;
		(void)px_err_set(&err, PX_CONFIG, "the service '%.*s' is at %s:%zu, and once more since that is included as '%s' too",
		    CONTROL_NAME_SHOWN, service->name, file->path, service->line, file->other_path);
		control_fail(control, RULES, &err, conflict_advice);
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
	const struct control_system *ours = NULL;
	const struct control_system *other = NULL;
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

void
control_report_systems(struct control *control)
{
	const struct control_system *first = &control->systems[0];

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
