/* SPDX-License-Identifier: MIT */
/*
 * Loaded by LD_PRELOAD into the programs under test. What it does is told by the environment:
 *
 *	PX_FAULT_ALLOC=N	the N-th allocation fails; with N+ it and all that follow
 *	PX_FAULT_COUNT=FILE	the number of allocations is written there at the end, behind that before the spool was opened
 *	PX_FAULT_LOG=FILE	every call that changes or syncs a file or a folder is appended there, once it has been done
 *	PX_FAULT_KILL=N		killed before the N-th of these calls
 *	PX_FAULT_HASTE=N	sleeps are N times shorter, and the monotonic clock as much faster
 *
 * Built with PX_FAULT_NO_ALLOC it knows nothing of allocations.
 *
 * The calls go to the kernel directly, so whatever the C library has by that name is not needed to make them.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define LOG_FD 700		/* far from what the programs use */
#define LINE_MAX_BYTES (1 << 20)

static long fail_at;		/* 0: never */
static int fail_on;
static long allocations;
static long before_spool = -1;	/* allocations before the spool was first looked for */
static long changes;
static long kill_at;
static long haste;
static int has_log;
static int armed;

__attribute__((constructor)) static void
arm(void)
{
	const char *alloc = getenv("PX_FAULT_ALLOC");
	const char *log = getenv("PX_FAULT_LOG");
	const char *kill_text = getenv("PX_FAULT_KILL");
	const char *haste_text = getenv("PX_FAULT_HASTE");
	char *end = NULL;

	fail_at = alloc != NULL ? strtol(alloc, &end, 10) : 0;
	fail_on = end != NULL && *end == '+';
	kill_at = kill_text != NULL ? strtol(kill_text, NULL, 10) : 0;
	haste = haste_text != NULL ? strtol(haste_text, NULL, 10) : 0;
	if (log != NULL) {
		long fd = syscall(SYS_openat, AT_FDCWD, log, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0666);

		has_log = fd != -1 && syscall(SYS_dup3, fd, LOG_FD, O_CLOEXEC) == LOG_FD;
		(void)syscall(SYS_close, fd);
	}
	armed = 1;
}

__attribute__((destructor)) static void
write_count(void)
{
	const char *path = getenv("PX_FAULT_COUNT");
	char text[64];
	long fd = path != NULL ? syscall(SYS_openat, AT_FDCWD, path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0666) : -1;

	if (fd == -1)
		return;
	(void)syscall(SYS_write, fd, text, (size_t)snprintf(text, sizeof(text), "%ld %ld\n", before_spool, allocations));
	(void)syscall(SYS_close, fd);
}

/* ---- Allocation. glibc's own, by the names that it has for this. Sanitizers have one of their own. */

#ifndef PX_FAULT_NO_ALLOC

void *__libc_malloc(size_t size);
void *__libc_calloc(size_t count, size_t size);
void *__libc_realloc(void *old, size_t size);
void *__libc_memalign(size_t alignment, size_t size);

static int
fails(void)
{
	if (!armed)
		return 0;
	allocations++;
	if (fail_at == 0 || (fail_on ? allocations < fail_at : allocations != fail_at))
		return 0;
	errno = ENOMEM;
	return 1;
}

void *
malloc(size_t size)
{
	return fails() ? NULL : __libc_malloc(size);
}

void *
calloc(size_t count, size_t size)
{
	return fails() ? NULL : __libc_calloc(count, size);
}

void *
realloc(void *old, size_t size)
{
	return fails() ? NULL : __libc_realloc(old, size);
}

void *
reallocarray(void *old, size_t count, size_t size)
{
	size_t bytes;

	if (__builtin_mul_overflow(count, size, &bytes)) {
		errno = ENOMEM;
		return NULL;
	}
	return realloc(old, bytes);
}

void *
aligned_alloc(size_t alignment, size_t size)
{
	return fails() ? NULL : __libc_memalign(alignment, size);
}

void *
memalign(size_t alignment, size_t size)
{
	return aligned_alloc(alignment, size);
}

int
posix_memalign(void **out, size_t alignment, size_t size)
{
	void *found = aligned_alloc(alignment, size);

	if (found == NULL)
		return ENOMEM;
	*out = found;
	return 0;
}

#endif

/* ---- Haste. */

static long
hurried(const struct timespec *pause)
{
	struct timespec at = *pause;
	int64_t ns = ((int64_t)at.tv_sec * 1000000000 + at.tv_nsec) / haste;

	at.tv_sec = ns / 1000000000;
	at.tv_nsec = ns % 1000000000;
	return syscall(SYS_clock_nanosleep, CLOCK_MONOTONIC, 0, &at, NULL);
}

int
nanosleep(const struct timespec *pause, struct timespec *left)
{
	if (haste == 0)
		return (int)syscall(SYS_clock_nanosleep, CLOCK_REALTIME, 0, pause, left);
	return (int)hurried(pause);
}

/* SQLite's. */
int
usleep(useconds_t us)
{
	const struct timespec pause = { us / 1000000, (long)(us % 1000000) * 1000 };

	return nanosleep(&pause, NULL);
}

int
clock_gettime(clockid_t clock, struct timespec *at)
{
	static struct timespec first;
	int rc = (int)syscall(SYS_clock_gettime, clock, at);

	if (rc == -1 || haste == 0 || clock != CLOCK_MONOTONIC)
		return rc;
	if (first.tv_sec == 0)
		first = *at;
	else {
		int64_t ns = ((int64_t)(at->tv_sec - first.tv_sec) * 1000000000 + at->tv_nsec - first.tv_nsec) * haste;

		at->tv_sec = first.tv_sec + ns / 1000000000 + 1;
		at->tv_nsec = ns % 1000000000;
	}
	return 0;
}

/* ---- The log of changes. */

static void
about_to_change(void)
{
	if (has_log && kill_at > 0 && ++changes == kill_at)
		(void)raise(SIGKILL);
}

__attribute__((format(printf, 1, 2))) static void
note(const char *format, ...)
{
	static char line[PATH_MAX * 3];
	int saved = errno;
	va_list args;
	int len;

	if (!has_log)
		return;
	va_start(args, format);
	len = vsnprintf(line, sizeof(line), format, args);
	va_end(args);
	if (len > 0)
		(void)syscall(SYS_write, LOG_FD, line, (size_t)len);
	errno = saved;
}

static unsigned long long
inode_of(int fd)
{
	struct stat status;

	return fstat(fd, &status) == 0 ? (unsigned long long)status.st_ino : 0;
}

/* The absolute name of ${path}, seen from the folder ${folder_fd}. */
static const char *
absolute(int folder_fd, const char *path, char out[PATH_MAX])
{
	char link[64] = "/proc/self/cwd";
	ssize_t len;

	if (path[0] == '/')
		return path;
	if (folder_fd != AT_FDCWD)
		(void)snprintf(link, sizeof(link), "/proc/self/fd/%d", folder_fd);
	len = readlink(link, out, PATH_MAX - 1);
	if (len == -1)
		return path;
	(void)snprintf(out + len, PATH_MAX - (size_t)len, "/%s", path);
	return out;
}

static int
open_file(int folder_fd, const char *path, int flags, mode_t mode)
{
	char name[PATH_MAX];
	struct stat status;
	int is_new = 0;
	int fd;

	if (before_spool == -1 && strstr(path, "/spool.db") != NULL)
		before_spool = allocations;
	if (has_log && (flags & (O_CREAT | O_TRUNC)) != 0) {
		is_new = (flags & O_CREAT) != 0 && fstatat(folder_fd, path, &status, 0) == -1;
		if (is_new || (flags & O_TRUNC) != 0)
			about_to_change();
	}
	fd = (int)syscall(SYS_openat, folder_fd, path, flags, mode);
	if (fd == -1 || !has_log)
		return fd;
	if (is_new)
		note("create\t%llu\t%s\n", inode_of(fd), absolute(folder_fd, path, name));
	else if ((flags & O_TRUNC) != 0)
		note("truncate\t%llu\t0\n", inode_of(fd));
	return fd;
}

#define OPEN_WITH_MODE(folder_fd) \
	va_list args; \
	mode_t mode; \
	va_start(args, flags); \
	mode = (flags & (O_CREAT | O_TMPFILE)) != 0 ? va_arg(args, mode_t) : 0; \
	va_end(args); \
	return open_file(folder_fd, path, flags, mode)

int open(const char *path, int flags, ...) { OPEN_WITH_MODE(AT_FDCWD); }
int open64(const char *path, int flags, ...) { OPEN_WITH_MODE(AT_FDCWD); }
int openat(int folder_fd, const char *path, int flags, ...) { OPEN_WITH_MODE(folder_fd); }
int openat64(int folder_fd, const char *path, int flags, ...) { OPEN_WITH_MODE(folder_fd); }
int __open_2(const char *path, int flags);
int __open64_2(const char *path, int flags);
int __openat_2(int folder_fd, const char *path, int flags);
int __openat64_2(int folder_fd, const char *path, int flags);
int __open_2(const char *path, int flags) { return open_file(AT_FDCWD, path, flags, 0); }
int __open64_2(const char *path, int flags) { return open_file(AT_FDCWD, path, flags, 0); }
int __openat_2(int folder_fd, const char *path, int flags) { return open_file(folder_fd, path, flags, 0); }
int __openat64_2(int folder_fd, const char *path, int flags) { return open_file(folder_fd, path, flags, 0); }
int creat(const char *path, mode_t mode) { return open_file(AT_FDCWD, path, O_CREAT | O_WRONLY | O_TRUNC, mode); }
int creat64(const char *path, mode_t mode) { return open_file(AT_FDCWD, path, O_CREAT | O_WRONLY | O_TRUNC, mode); }

static void
note_write(int fd, const void *data, size_t len, off_t at)
{
	static const char digits[] = "0123456789abcdef";
	static char line[LINE_MAX_BYTES];
	const unsigned char *bytes = data;
	int used = snprintf(line, sizeof(line), "write\t%llu\t%lld\t", inode_of(fd), (long long)at);

	for (size_t i = 0; i < len && used < LINE_MAX_BYTES - 3; i++) {
		line[used++] = digits[bytes[i] >> 4];
		line[used++] = digits[bytes[i] & 15];
	}
	line[used++] = '\n';
	(void)syscall(SYS_write, LOG_FD, line, (size_t)used);
}

static int
is_regular(int fd)
{
	struct stat status;

	return has_log && fstat(fd, &status) == 0 && S_ISREG(status.st_mode);
}

static ssize_t
write_at(int fd, const void *data, size_t len, off_t at)
{
	ssize_t written;

	if (!is_regular(fd))
		return syscall(SYS_pwrite64, fd, data, len, at);
	about_to_change();
	written = syscall(SYS_pwrite64, fd, data, len, at);
	if (written > 0)
		note_write(fd, data, (size_t)written, at);
	return written;
}

ssize_t pwrite(int fd, const void *data, size_t len, off_t at) { return write_at(fd, data, len, at); }
ssize_t pwrite64(int fd, const void *data, size_t len, off_t at) { return write_at(fd, data, len, at); }

ssize_t
write(int fd, const void *data, size_t len)
{
	ssize_t written;
	off_t at;

	if (!is_regular(fd))
		return syscall(SYS_write, fd, data, len);
	about_to_change();
	at = lseek(fd, 0, SEEK_CUR);
	written = syscall(SYS_write, fd, data, len);
	if (written > 0)
		note_write(fd, data, (size_t)written, at);
	return written;
}

static int
truncate_file(int fd, off_t size)
{
	int rc;

	about_to_change();
	rc = (int)syscall(SYS_ftruncate, fd, size);
	if (rc == 0)
		note("truncate\t%llu\t%lld\n", inode_of(fd), (long long)size);
	return rc;
}

int ftruncate(int fd, off_t size) { return truncate_file(fd, size); }
int ftruncate64(int fd, off_t size) { return truncate_file(fd, size); }

static int
allocate(int fd, off_t at, off_t len)
{
	about_to_change();
	if (syscall(SYS_fallocate, fd, 0, at, len) == -1)
		return errno;
	note("grow\t%llu\t%lld\n", inode_of(fd), (long long)(at + len));
	return 0;
}

int posix_fallocate(int fd, off_t at, off_t len) { return allocate(fd, at, len); }
int posix_fallocate64(int fd, off_t at, off_t len) { return allocate(fd, at, len); }

static int
sync_file(int fd)
{
	int rc;

	about_to_change();
	rc = (int)syscall(SYS_fsync, fd);
	if (rc == 0)
		note("sync\t%llu\n", inode_of(fd));
	return rc;
}

int fsync(int fd) { return sync_file(fd); }
int fdatasync(int fd) { return sync_file(fd); }

/* ---- Names. */

static int
change_two(const char *word, long number, int from_fd, const char *from, int to_fd, const char *to, unsigned flags)
{
	char names[2][PATH_MAX];
	int rc;

	about_to_change();
	rc = (int)syscall(number, from_fd, from, to_fd, to, flags);
	if (rc == 0 && has_log)
		note("%s\t%s\t%s\n", word, absolute(from_fd, from, names[0]), absolute(to_fd, to, names[1]));
	return rc;
}

int link(const char *from, const char *to) { return change_two("link", SYS_linkat, AT_FDCWD, from, AT_FDCWD, to, 0); }
int linkat(int from_fd, const char *from, int to_fd, const char *to, int flags)
{
	return change_two("link", SYS_linkat, from_fd, from, to_fd, to, (unsigned)flags);
}
int rename(const char *from, const char *to) { return change_two("rename", SYS_renameat2, AT_FDCWD, from, AT_FDCWD, to, 0); }
int renameat(int from_fd, const char *from, int to_fd, const char *to)
{
	return change_two("rename", SYS_renameat2, from_fd, from, to_fd, to, 0);
}
int renameat2(int from_fd, const char *from, int to_fd, const char *to, unsigned flags)
{
	return change_two("rename", SYS_renameat2, from_fd, from, to_fd, to, flags);
}

int
unlinkat(int folder_fd, const char *path, int flags)
{
	char name[PATH_MAX];
	int rc;

	about_to_change();
	rc = (int)syscall(SYS_unlinkat, folder_fd, path, flags);
	if (rc == 0 && has_log)
		note("unlink\t%s\n", absolute(folder_fd, path, name));
	return rc;
}

int unlink(const char *path) { return unlinkat(AT_FDCWD, path, 0); }
int rmdir(const char *path) { return unlinkat(AT_FDCWD, path, AT_REMOVEDIR); }

int
mkdir(const char *path, mode_t mode)
{
	char name[PATH_MAX];
	struct stat status;
	int rc;

	about_to_change();
	rc = (int)syscall(SYS_mkdirat, AT_FDCWD, path, mode);
	if (rc == 0 && has_log && stat(path, &status) == 0)
		note("folder\t%llu\t%s\n", (unsigned long long)status.st_ino, absolute(AT_FDCWD, path, name));
	return rc;
}
