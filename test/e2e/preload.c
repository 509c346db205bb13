/* SPDX-License-Identifier: MIT */
/*
 * Loaded by LD_PRELOAD into the programs under test: what goes to the system's log goes to the socket that PX_TEST_SYSLOG
 * names instead, and the process's peak of resident memory is appended to the file that PX_TEST_PEAK names.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

typedef int connect_fn(int fd, const struct sockaddr *address, socklen_t len);

/* By another name here, since glibc declares connect(2) with a type of its own. */
int redirected_connect(int fd, const struct sockaddr *address, socklen_t len) __asm__("connect");

int
redirected_connect(int fd, const struct sockaddr *address, socklen_t len)
{
	union { void *object; connect_fn *function; } next = { dlsym(RTLD_NEXT, "connect") };
	const struct sockaddr_un *asked = (const struct sockaddr_un *)(const void *)address;
	const char *instead = getenv("PX_TEST_SYSLOG");
	struct sockaddr_un changed = { .sun_family = AF_UNIX };

	if (instead == NULL || address->sa_family != AF_UNIX || strcmp(asked->sun_path, "/dev/log") != 0)
		return next.function(fd, address, len);
	(void)snprintf(changed.sun_path, sizeof(changed.sun_path), "%s", instead);
	return next.function(fd, (const struct sockaddr *)(const void *)&changed, sizeof(changed));
}

__attribute__((destructor)) static void
write_peak(void)
{
	const char *path = getenv("PX_TEST_PEAK");
	FILE *status = path != NULL ? fopen("/proc/self/status", "re") : NULL;
	char line[256];

	if (status == NULL)
		return;
	while (fgets(line, sizeof(line), status) != NULL) {
		if (strncmp(line, "VmHWM:", 6) == 0) {
			int fd = open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0666);

			if (fd != -1 && write(fd, line + 6, strlen(line + 6)) == -1)
				(void)fprintf(stderr, "cannot write '%s'\n", path);
			if (fd != -1)
				(void)close(fd);
		}
	}
	(void)fclose(status);
}
