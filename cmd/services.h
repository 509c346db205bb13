/* SPDX-License-Identifier: MIT */
/* The services that Monit's control files declare, to find those that have one name: Monit does not start with such. */
#ifndef SERVICES_H
#define SERVICES_H

#include <stdbool.h>
#include <stddef.h>

#include "monitrc.h"

#define SERVICES_MAX 4096	/* of more, the first are compared */

struct service {
	char *name;		/* owned */
	const char *file;	/* not owned */
	size_t line;
	bool is_system;
};

struct services {
	struct service all[SERVICES_MAX];
	size_t count;
};

/* ${fact} is one of PX_MONITRC_SERVICE, of ${file}, which must last as long as ${services}. */
void services_add(struct services *services, const struct px_monitrc_fact *fact, const char *file);

/* The first that ${file} declares; NULL: none. */
const struct service *services_of(const struct services *services, const char *file);

/*
 * Calls ${each} for two of one name, whatever the case of its letters, once for two files however many they have in common.
 * Two of `check system` are not told.
 */
void services_each_conflict(const struct services *services, void (*each)(void *arg, const struct service *first,
    const struct service *second), void *arg);

void services_clear(struct services *services);

#endif
