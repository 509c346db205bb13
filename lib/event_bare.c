/* SPDX-License-Identifier: MIT */
#include <string.h>

#include "event.h"

#define VALUE_BYTES 200

/* Text that ends where it is full. */
struct line {
	char *text;
	size_t len;
	size_t size;
};

static void
add(struct line *line, const char *text)
{
	size_t len = strlen(text);

	if (len > line->size - 1 - line->len)
		len = line->size - 1 - line->len;
	memcpy(line->text + line->len, text, len);
	line->len += len;
	line->text[line->len] = '\0';
}

/* What is not plain ASCII becomes '?': cleaning it needs memory. */
static void
add_member(struct line *line, const char *before, const char *name, const char *value)
{
	char shown[2 * VALUE_BYTES + 1];
	size_t len = 0;

	for (const char *at = value; *at != '\0' && at - value < VALUE_BYTES; at++) {
		if (*at == '"' || *at == '\\')
			shown[len++] = '\\';
		shown[len++] = *at >= ' ' && *at <= '~' ? *at : '?';
	}
	shown[len] = '\0';
	add(line, before);
	add(line, "\"");
	add(line, name);
	add(line, "\":\"");
	add(line, shown);
	add(line, "\"");
}

/* NULL where it is not there, or empty. */
static const char *
value_of(char *const env[], const char *name)
{
	size_t len = strlen(name);

	for (; *env != NULL; env++)
		if (strncmp(*env, name, len) == 0 && (*env)[len] == '=' && (*env)[len + 1] != '\0')
			return *env + len + 1;
	return NULL;
}

size_t
px_event_bare(char out[PX_EVENT_BARE_MAX], const char *id, int64_t wall_ms, const char *topic, char *const env[])
{
	struct line line = { .text = out, .size = PX_EVENT_BARE_MAX };
	static const struct {
		const char *name;
		const char *variable;
	} members[] = {
		{ "service", "MONIT_SERVICE" },
		{ "event", "MONIT_EVENT" },
		{ "description", "MONIT_DESCRIPTION" },
	};
	const char *service = value_of(env, "MONIT_SERVICE");
	const char *before = "\"monit\":{";
	char time[PX_RFC3339_MAX];

	px_text_time_ms(time, wall_ms);
	add_member(&line, "{", "id", id);
	add_member(&line, ",", "time", time);
	add_member(&line, ",", "topic", topic != NULL ? topic : service != NULL ? service : "unspecified");
	add(&line, ",");
	for (size_t i = 0; i < sizeof(members) / sizeof(members[0]); i++) {
		const char *value = value_of(env, members[i].variable);

		if (value == NULL)
			continue;
		add_member(&line, before, members[i].name, value);
		before = ",";
	}
	add(&line, before[0] == ',' ? "}," : "");
	add(&line, "\"problems\":[\"no memory: this is not all of the event\"]}");
	return line.len;
}
