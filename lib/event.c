/* SPDX-License-Identifier: MIT */
#include "event.h"

#include <stdlib.h>
#include <string.h>

#define COUNT_OF(array) (sizeof(array) / sizeof((array)[0]))
#define KEY_MAX 64

enum kind { TEXT, WHOLE, DECIMAL };

/* What Monit sets for its exec programs, and what it is called in the document. */
static const struct variable {
	const char *name;
	const char *field;
	enum kind kind;
	size_t offset;
} variables[] = {
	{ "MONIT_SERVICE", "monit.service", TEXT, offsetof(struct px_event, service) },
	{ "MONIT_EVENT", "monit.event", TEXT, offsetof(struct px_event, event) },
	{ "MONIT_DESCRIPTION", "monit.description", TEXT, offsetof(struct px_event, description) },
	{ "MONIT_HOST", "monit.host", TEXT, offsetof(struct px_event, host) },
	{ "MONIT_DATE", "monit.date", TEXT, offsetof(struct px_event, date) },
	{ "MONIT_PROCESS_PID", "process.pid", WHOLE, offsetof(struct px_event, pid) },
	{ "MONIT_PROCESS_MEMORY", "process.memory_kb", WHOLE, offsetof(struct px_event, memory_kb) },
	{ "MONIT_PROCESS_CHILDREN", "process.children", WHOLE, offsetof(struct px_event, children) },
	{ "MONIT_PROCESS_CPU_PERCENT", "process.cpu_percent", DECIMAL, offsetof(struct px_event, cpu_percent) },
	{ "MONIT_PROGRAM_STATUS", "program.status", WHOLE, offsetof(struct px_event, program_status) },
};

void
px_event_init(struct px_event *event)
{
	*event = (struct px_event){ .pid = -1, .memory_kb = -1, .children = -1, .cpu_percent = -1, .program_status = -1 };
}

void
px_event_clear(struct px_event *event)
{
	for (size_t i = 0; i < event->param_count; i++) {
		free(event->params[i].key);
		free(event->params[i].value);
	}
	free(event->params);
	free(event->topic);
	free(event->message);
	free(event->service);
	free(event->event);
	free(event->description);
	free(event->host);
	free(event->date);
	px_event_init(event);
}

/* Sets ${out} to what a person may be shown of ${bytes}; as much of it as a problem has room for. */
static void
show(char out[PX_PROBLEM_MAX], const char *bytes)
{
	struct px_buf shown = PX_BUF((size_t)4 * PX_PROBLEM_MAX);	/* a byte becomes \xNN at most */
	size_t len = strnlen(bytes, PX_PROBLEM_MAX);

	px_text_escape(&shown, bytes, len);
	len = px_text_cut(px_buf_text(&shown), shown.len, PX_PROBLEM_MAX - 1);
	memcpy(out, px_buf_text(&shown), len);
	out[len] = '\0';
	px_buf_clear(&shown);
}

void
px_event_mistake(struct px_event *event, const char *text)
{
	char shown[PX_PROBLEM_MAX];

	show(shown, text);
	px_problems_add(&event->problems, "%s", shown);
	event->mistakes++;
}

static int
no_memory(struct px_err *err)
{
	return px_err_set(err, PX_BUG, "no memory for the event");
}

/* A copy of ${bytes}, cleaned and cut; ${group} and ${name} tell the problem which it is. NULL for want of memory. */
static char *
take_value(struct px_event *event, const char *group, const char *name, const char *bytes)
{
	size_t len = strlen(bytes);
	struct px_buf clean = PX_BUF(3 * len + 1);
	char *value = NULL;
	size_t end;

	px_text_clean(&clean, bytes, len);
	if (clean.failed)
		goto out;
	end = px_text_cut(px_buf_text(&clean), clean.len, PX_VALUE_MAX);
	value = strndup(px_buf_text(&clean), end);
	if (value != NULL && end < clean.len)
		px_problems_add(&event->cuts, "%s%s was cut from %zu to %zu bytes", group, name, clean.len, end);
out:
	px_buf_clear(&clean);
	return value;
}

static bool
is_negative_one(struct px_slice text)
{
	return px_slice_is(text, "-1") || px_slice_is(text, "-1.0");
}

/* Sets the number of ${variable} to that of ${text}; Monit's unknown leaves it as it is, and so does what is no number. */
static void
take_number(struct px_event *event, const struct variable *variable, const char *text)
{
	struct px_slice number = px_slice(text);
	char *at = (char *)event + variable->offset;
	char shown[PX_PROBLEM_MAX];
	int64_t whole;
	double decimal;

	if (is_negative_one(number))
		return;
	if (variable->kind == WHOLE && px_text_to_int64(number, 0, INT64_MAX, &whole) == 0) {
		memcpy(at, &whole, sizeof(whole));
	} else if (variable->kind == DECIMAL && px_text_to_double(number, &decimal) == 0 && decimal >= 0) {
		memcpy(at, &decimal, sizeof(decimal));
	} else {
		show(shown, text);
		px_problems_add(&event->problems, "%s is not a number: '%s'", variable->name, shown);
	}
}

/* The variable that ${entry} of an environment sets, and its value. */
static const struct variable *
find_variable(const char *entry, const char **value)
{
	size_t len;

	/* Most of an environment is not Monit's. */
	if (strncmp(entry, "MONIT_", strlen("MONIT_")) != 0)
		return NULL;
	len = strcspn(entry, "=");
	for (size_t i = 0; entry[len] == '=' && i < COUNT_OF(variables); i++)
		if (px_slice_is((struct px_slice){ entry, len }, variables[i].name)) {
			*value = entry + len + 1;
			return &variables[i];
		}
	return NULL;
}

static int
take_variable(struct px_event *event, const struct variable *variable, const char *value, struct px_err *err)
{
	char *text;

	if (value[0] == '\0')
		return 0;
	if (variable->kind != TEXT) {
		take_number(event, variable, value);
		return 0;
	}
	if (variable->offset == offsetof(struct px_event, event) && strcmp(value, "No Event") == 0)
		return 0;
	text = take_value(event, "", variable->field, value);
	if (text == NULL)
		return no_memory(err);
	memcpy((char *)event + variable->offset, &text, sizeof(text));
	return 0;
}

int
px_event_take_env(struct px_event *event, char *const env[], struct px_err *err)
{
	bool seen[COUNT_OF(variables)] = { false };

	for (size_t i = 0; env[i] != NULL; i++) {
		const char *value = NULL;
		const struct variable *variable = find_variable(env[i], &value);

		/* Of a name that is there twice the first counts, as for getenv(3). */
		if (variable == NULL || seen[variable - variables])
			continue;
		seen[variable - variables] = true;
		if (strcmp(variable->name, "MONIT_EVENT") == 0)
			event->under_monit = true;
		if (take_variable(event, variable, value, err) == -1)
			return -1;
	}
	return 0;
}

static bool
is_key(struct px_slice text)
{
	for (size_t i = 0; i < text.len; i++) {
		char byte = text.ptr[i];
		bool letter = (byte >= 'A' && byte <= 'Z') || (byte >= 'a' && byte <= 'z');
		bool digit = byte >= '0' && byte <= '9';

		if (!letter && !digit && byte != '_' && byte != '.' && byte != '-')
			return false;
	}
	return text.len >= 1 && text.len <= KEY_MAX;
}

static void
mistake_in_operand(struct px_event *event, const char *what, const char *operand)
{
	char shown[PX_PROBLEM_MAX];

	show(shown, operand);
	px_problems_add(&event->problems, "%s: '%s'", what, shown);
	event->mistakes++;
}

/* The room is the next power of two, so that many parameters cost few moves. */
static int
make_room_for_param(struct px_event *event)
{
	size_t count = event->param_count;
	struct px_param *params;

	if ((count & (count - 1)) != 0)
		return 0;
	params = reallocarray(event->params, count > 0 ? count * 2 : 1, sizeof(*params));
	if (params == NULL)
		return -1;
	event->params = params;
	return 0;
}

static int
take_param(struct px_event *event, const char *operand, size_t key_len, struct px_err *err)
{
	struct px_param param = { NULL, NULL };

	if (!is_key((struct px_slice){ operand, key_len })) {
		mistake_in_operand(event, "the key is not 1 to 64 of A-Z a-z 0-9 _ . -", operand);
		return 0;
	}
	if (make_room_for_param(event) == -1)
		return no_memory(err);
	param.key = strndup(operand, key_len);
	if (param.key == NULL)
		return no_memory(err);
	param.value = take_value(event, "params.", param.key, operand + key_len + 1);
	if (param.value == NULL) {
		free(param.key);
		return no_memory(err);
	}
	event->params[event->param_count++] = param;
	return 0;
}

int
px_event_take_operand(struct px_event *event, const char *operand, struct px_err *err)
{
	size_t before_equals = strcspn(operand, "=");

	if (operand[before_equals] == '=')
		return take_param(event, operand, before_equals, err);
	if (operand[0] == '\0') {
		mistake_in_operand(event, "the topic is empty", operand);
		return 0;
	}
	if (event->topic != NULL) {
		mistake_in_operand(event, "a second topic", operand);
		return 0;
	}
	event->topic = take_value(event, "", "topic", operand);
	return event->topic != NULL ? 0 : no_memory(err);
}

int
px_event_take_message(struct px_event *event, const char *text, struct px_err *err)
{
	free(event->message);
	event->message = NULL;
	if (text[0] == '\0')
		return 0;
	event->message = take_value(event, "", "message", text);
	return event->message != NULL ? 0 : no_memory(err);
}

const char *
px_event_topic(const struct px_event *event)
{
	return event->topic != NULL ? event->topic : event->service != NULL ? event->service : "unspecified";
}
