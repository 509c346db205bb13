/* SPDX-License-Identifier: MIT */
/*
 * Loaded by LD_PRELOAD into the programs under test: what goes to the system's log goes to the socket that PX_TEST_SYSLOG
 * names instead, and the process's peak of resident memory is appended to the file that PX_TEST_PEAK names.
 *
 * Clocks: PX_TEST_WALL_S and PX_TEST_BOOT_S are added to CLOCK_REALTIME and CLOCK_BOOTTIME, as if so much time had passed;
 * PX_TEST_BOOT_ID names a file in the place of the kernel's boot_id, as if it were another boot. PX_TEST_LATER names a file
 * that has a byte for each second by which CLOCK_BOOTTIME went on, so that a test lets time pass under a program. Each
 * sleep until a moment, if PX_TEST_SLEEPS names a file, is noted there in milliseconds and not slept: all clocks go on
 * at once. So they do for each short pause when PX_TEST_PAUSES is set.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <time.h>
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

static void
append_line(const char *path, const char *line)
{
	int fd = open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0666);

	if (fd != -1 && write(fd, line, strlen(line)) == -1)
		(void)fprintf(stderr, "cannot write '%s'\n", path);
	if (fd != -1)
		(void)close(fd);
}

static long long skipped_ms;

static void
add_ms(struct timespec *at, long long ms)
{
	at->tv_sec += ms / 1000;
	at->tv_nsec += ms % 1000 * 1000000;
	if (at->tv_nsec >= 1000000000) {
		at->tv_nsec -= 1000000000;
		at->tv_sec++;
	}
}

static long long
later_ms(void)
{
	const char *path = getenv("PX_TEST_LATER");
	struct stat st;

	return path != NULL && stat(path, &st) == 0 ? (long long)st.st_size * 1000 : 0;
}

/* By the system call: sanitizers ask for the time before dlsym(3) works. */
int
clock_gettime(clockid_t clock, struct timespec *at)
{
	const char *shift = clock == CLOCK_REALTIME ? getenv("PX_TEST_WALL_S") : clock == CLOCK_BOOTTIME ?
	    getenv("PX_TEST_BOOT_S") : NULL;
	long rc = syscall(SYS_clock_gettime, clock, at);

	if (rc == 0 && shift != NULL)
		at->tv_sec += strtoll(shift, NULL, 10);
	if (rc == 0)
		add_ms(at, skipped_ms + (clock == CLOCK_BOOTTIME ? later_ms() : 0));
	return (int)rc;
}

int
clock_nanosleep(clockid_t clock, int flags, const struct timespec *at, struct timespec *left)
{
	const char *path = getenv("PX_TEST_SLEEPS");
	struct timespec now;
	long long ms;
	char line[32];

	if (path == NULL || flags != TIMER_ABSTIME)
		return syscall(SYS_clock_nanosleep, clock, flags, at, left) == -1 ? errno : 0;
	(void)clock_gettime(clock, &now);
	ms = (long long)(at->tv_sec - now.tv_sec) * 1000 + (at->tv_nsec - now.tv_nsec) / 1000000;
	(void)snprintf(line, sizeof(line), "%lld\n", ms);
	append_line(path, line);
	skipped_ms += ms > 0 ? ms : 0;
	return 0;
}

int
nanosleep(const struct timespec *pause, struct timespec *left)
{
	if (getenv("PX_TEST_PAUSES") == NULL)
		return (int)syscall(SYS_nanosleep, pause, left);
	skipped_ms += (long long)pause->tv_sec * 1000 + pause->tv_nsec / 1000000 + 1;
	return 0;
}

int
open(const char *path, int flags, ...)
{
	const char *instead = strcmp(path, "/proc/sys/kernel/random/boot_id") == 0 ? getenv("PX_TEST_BOOT_ID") : NULL;
	mode_t mode = 0;
	va_list args;

	va_start(args, flags);
	if ((flags & O_CREAT) != 0 || (flags & O_TMPFILE) == O_TMPFILE)
		mode = va_arg(args, mode_t);
	va_end(args);
	return (int)syscall(SYS_openat, AT_FDCWD, instead != NULL ? instead : path, flags, mode);
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
		if (strncmp(line, "VmHWM:", 6) == 0)
			append_line(path, line + 6);
	}
	(void)fclose(status);
}
