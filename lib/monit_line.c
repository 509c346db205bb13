/* SPDX-License-Identifier: MIT */
#include "monit_parts.h"

#include <string.h>

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))
#define MERGED_STATUS "  status  "

static const char *const types[] = {
	"System", "Process", "File", "Fifo", "Directory", "Filesystem", "Remote Host", "Network", "Program",
};

static struct px_slice
skip_blanks(struct px_slice text)
{
	while (text.len > 0 && text.ptr[0] == ' ')
		text = px_slice_behind(text, 1);
	return text;
}

/* "[Nd ][Nh ]Nm" in seconds; -1 when it is not that. */
static int64_t
read_uptime(struct px_slice text)
{
	static const struct {
		char unit;
		int64_t seconds;
	} units[] = { { 'd', 86400 }, { 'h', 3600 }, { 'm', 60 } };
	int64_t total = 0;

	text = px_slice_trim(text);
	for (size_t i = 0; i < COUNT(units); i++) {
		const char *end = memchr(text.ptr, units[i].unit, text.len);
		struct px_slice number = { text.ptr, end != NULL ? (size_t)(end - text.ptr) : 0 };
		int64_t count;

		if (end == NULL && units[i].unit != 'm')
			continue;
		if (px_text_to_int64(number, 0, INT32_MAX, &count) == -1)
			return -1;
		total += count * units[i].seconds;
		text = px_slice_trim(px_slice_behind(text, number.len + 1));
	}
	return text.len == 0 ? total : -1;
}

bool
px_monit_read_header(struct px_monit_status *out, struct px_slice line)
{
	static const char *const starts[] = { "The Monit daemon ", "Monit " };
	struct px_slice version = { line.ptr, 0 };
	size_t i = 0;

	while (i < COUNT(starts) && !px_slice_begins_with(line, starts[i]))
		i++;
	if (i == COUNT(starts))
		return false;
	line = px_slice_behind(line, strlen(starts[i]));
	if (line.len > 0 && line.ptr[0] >= '0' && line.ptr[0] <= '9') {
		const char *blank = memchr(line.ptr, ' ', line.len);

		if (blank == NULL)
			return false;
		version = (struct px_slice){ line.ptr, (size_t)(blank - line.ptr) };
		line = skip_blanks(px_slice_behind(line, version.len));
	}
	if (!px_slice_begins_with(line, "uptime:"))
		return false;
	out->version = version;
	out->uptime_s = read_uptime(px_slice_behind(line, strlen("uptime:")));
	out->has_header = true;
	return true;
}

static bool
is_letter(char byte)
{
	return (byte >= 'A' && byte <= 'Z') || (byte >= 'a' && byte <= 'z');
}

bool
px_monit_is_known_type(struct px_slice type)
{
	for (size_t i = 0; i < COUNT(types); i++)
		if (px_slice_is(type, types[i]))
			return true;
	return false;
}

bool
px_monit_read_service_line(struct px_slice line, struct px_monit_service *service)
{
	struct px_slice type = { line.ptr, 0 };
	struct px_slice name;

	if (line.len == 0 || line.ptr[0] < 'A' || line.ptr[0] > 'Z')
		return false;
	while (type.len < line.len && (is_letter(line.ptr[type.len]) || line.ptr[type.len] == ' '))
		type.len++;
	name = px_slice_trim(px_slice_behind(line, type.len));
	if (name.ptr != line.ptr + type.len || name.len < 2 || name.ptr[0] != '\'' || !px_slice_ends_with(name, "'"))
		return false;
	type.len--;
	if (line.ptr[type.len] != ' ' || line.ptr[type.len - 1] == ' ')
		return false;
	*service = (struct px_monit_service){ .type = type, .name = { name.ptr + 1, name.len - 2 } };
	return true;
}

bool
px_monit_read_merged_line(struct px_slice line, struct px_monit_service *service, struct px_slice *status)
{
	static const char before_name[] = " '";
	const char *name = memmem(line.ptr, line.len, before_name, sizeof(before_name) - 1);
	struct px_slice type = { line.ptr, name != NULL ? (size_t)(name - line.ptr) : 0 };
	struct px_slice rest;
	const char *at;

	if (!px_monit_is_known_type(type))
		return false;
	rest = px_slice_behind(line, type.len + sizeof(before_name) - 1);
	at = memmem(rest.ptr, rest.len, MERGED_STATUS, sizeof(MERGED_STATUS) - 1);
	if (at == NULL)
		return false;
	*service = (struct px_monit_service){ .type = type, .name = { rest.ptr, (size_t)(at - rest.ptr) } };
	*status = px_slice_behind(rest, service->name.len);
	return true;
}
