/* SPDX-License-Identifier: MIT */
#include "monit_parts.h"

#include <string.h>

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

/* What no row names is PX_SERVICE_FAILED. */
static const struct {
	const char *status;
	enum px_service_state state;
} states[] = {
	{ "OK", PX_SERVICE_OK },
	{ "Running", PX_SERVICE_OK },
	{ "Accessible", PX_SERVICE_OK },
	{ "Online with all services", PX_SERVICE_OK },
	{ "Status ok", PX_SERVICE_OK },
	{ "UP", PX_SERVICE_OK },
	{ "Not monitored", PX_SERVICE_UNMONITORED },
	{ "Initializing", PX_SERVICE_INITIALIZING },
	{ "Waiting", PX_SERVICE_WAITING },
};

const char *
px_service_state_name(enum px_service_state state)
{
	static const char *const names[PX_SERVICE_STATES] = { "ok", "failed", "unmonitored", "initializing", "waiting" };

	return names[state];
}

/* What is pending stands behind the status: "OK - restart pending". */
static struct px_slice
split_pending(struct px_slice status, struct px_slice *pending)
{
	static const char before[] = " - ";
	static const char after[] = " pending";
	struct px_slice rest = status;
	size_t word = 0;

	*pending = px_slice_behind(status, status.len);
	if (!px_slice_ends_with(status, after))
		return status;
	rest.len -= sizeof(after) - 1;
	while (word < rest.len && strchr(" \n|", rest.ptr[rest.len - word - 1]) == NULL)
		word++;
	rest.len -= word;
	if (word == 0 || !px_slice_ends_with(rest, before))
		return status;
	*pending = (struct px_slice){ rest.ptr + rest.len, word };
	rest.len -= sizeof(before) - 1;
	return rest;
}

void
px_monit_judge(struct px_monit_service *service)
{
	struct px_slice status;

	service->status = px_slice_trim(service->status);
	status = px_slice_trim(split_pending(service->status, &service->pending));
	service->state = PX_SERVICE_FAILED;
	for (size_t i = 0; i < COUNT(states); i++)
		if (px_slice_is_nocase(status, states[i].status))
			service->state = states[i].state;
}

/* The length of what stands before the first " | " of ${text}: all of it where there is none. */
static size_t
first_part(struct px_slice text)
{
	size_t at = 0;

	while (at < text.len) {
		const char *bar = memchr(text.ptr + at, '|', text.len - at);

		if (bar == NULL)
			break;
		at = (size_t)(bar - text.ptr) + 1;
		if (at > 1 && bar[-1] == ' ' && at < text.len && bar[1] == ' ')
			return at - 2;
	}
	return text.len;
}

void
px_monit_failures(const struct px_monit_service *service, void (*each)(void *arg, struct px_slice part), void *arg)
{
	struct px_slice pending;
	struct px_slice rest = split_pending(service->status, &pending);

	while (rest.len > 0) {
		struct px_slice part = { rest.ptr, first_part(rest) };

		rest = px_slice_behind(rest, part.len < rest.len ? part.len + strlen(" | ") : part.len);
		part = px_slice_trim(part);
		if (part.len > 0)
			each(arg, part);
	}
}
