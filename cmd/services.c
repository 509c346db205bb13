/* SPDX-License-Identifier: MIT */
#include "services.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

void
services_add(struct services *services, const struct px_monitrc_fact *fact, const char *file)
{
	struct service *service = &services->all[services->count];

	if (services->count == SERVICES_MAX)
		return;
	*service = (struct service){ strndup(fact->text.ptr, fact->text.len), file, fact->line, fact->in_system };
	if (service->name != NULL)
		services->count++;
}

const struct service *
services_of(const struct services *services, const char *file)
{
	for (size_t i = 0; i < services->count; i++)
		if (services->all[i].file == file)
			return &services->all[i];
	return NULL;
}

/* The one before ${at} that has its name; NULL: none. */
static const struct service *
namesake(const struct services *services, size_t at)
{
	for (size_t i = 0; i < at; i++)
		if (strcasecmp(services->all[i].name, services->all[at].name) == 0)
			return &services->all[i];
	return NULL;
}

void
services_each_conflict(const struct services *services, void (*each)(void *arg, const struct service *first,
    const struct service *second), void *arg)
{
	const char *told[2] = { NULL, NULL };

	for (size_t i = 0; i < services->count; i++) {
		const struct service *second = &services->all[i];
		const struct service *first = namesake(services, i);

		if (first == NULL || (first->is_system && second->is_system))
			continue;
		/* What a file has in common with another stands there in a row. */
		if (first->file != told[0] || second->file != told[1])
			each(arg, first, second);
		told[0] = first->file;
		told[1] = second->file;
	}
}

void
services_clear(struct services *services)
{
	for (size_t i = 0; i < services->count; i++)
		free(services->all[i].name);
	services->count = 0;
}
