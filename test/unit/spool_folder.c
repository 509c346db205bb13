/* SPDX-License-Identifier: MIT */
#include "spool_folder.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define MEMORY "/dev/shm"

char folder[64];
char path[128];

static int
make_folder_in(const char *parent)
{
	(void)snprintf(folder, sizeof(folder), "%s/px-spool-XXXXXX", parent);
	if (mkdtemp(folder) == NULL)
		return -1;
	(void)snprintf(path, sizeof(path), "%s/spool.db", folder);
	return 0;
}

int
make_spool_folder(void **state)
{
	(void)state;
	return make_folder_in("/tmp");
}

int
make_spool_folder_in_memory(void **state)
{
	(void)state;
	return make_folder_in(access(MEMORY, W_OK) == 0 ? MEMORY : "/tmp");
}

int
remove_spool_folder(void **state)
{
	char command[128];

	(void)state;
	(void)snprintf(command, sizeof(command), "rm -rf '%s'", folder);
	return system(command);
}

int
renew_spool_folder(void **state)
{
	int rc = remove_spool_folder(state);

	return rc == 0 ? make_spool_folder(state) : rc;
}

const char *
beside(const char *suffix)
{
	static char name[256];

	(void)snprintf(name, sizeof(name), "%s%s", path, suffix);
	return name;
}
