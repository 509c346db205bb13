/* SPDX-License-Identifier: MIT */
#include "sys.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/prctl.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define NS_PER_MS 1000000
#define LOCK_STEP_MS 20

#define BOOT_ID_FILE "/proc/sys/kernel/random/boot_id"

int
px_sys_fix_streams(struct px_err *err)
{
	for (int stream = STDIN_FILENO; stream <= STDERR_FILENO; stream++) {
		int fd;

		if (fcntl(stream, F_GETFD) != -1 || errno != EBADF)
			continue;
		/* The lowest free number is this one; it is to be inherited, so no O_CLOEXEC. */
		fd = open("/dev/null", O_RDWR);
		/* Nor can a folder be read or written as a file. */
		if (fd == -1)
			fd = open("/", O_RDONLY | O_DIRECTORY);
		if (fd == -1)
			return px_err_set_errno(err, PX_BUG, errno, "cannot open '/'");
	}
	return 0;
}

void
px_sys_fix_signals(void)
{
	static const int defaults[] = { SIGHUP, SIGALRM, SIGCHLD, SIGTERM };
	sigset_t set;

	(void)signal(SIGPIPE, SIG_IGN);
	(void)signal(SIGXFSZ, SIG_IGN);
	(void)sigemptyset(&set);
	for (size_t i = 0; i < sizeof(defaults) / sizeof(defaults[0]); i++) {
		(void)signal(defaults[i], SIG_DFL);
		(void)sigaddset(&set, defaults[i]);
	}
	(void)sigprocmask(SIG_UNBLOCK, &set, NULL);
	(void)umask(077);
}

void
px_sys_forbid_dumps(void)
{
	const struct rlimit none = { 0, 0 };

	(void)setrlimit(RLIMIT_CORE, &none);
	(void)prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
}

static int64_t
clock_ms(clockid_t clock)
{
	struct timespec at = { 0, 0 };

	(void)clock_gettime(clock, &at);
	return (int64_t)at.tv_sec * PX_MS_PER_S + at.tv_nsec / NS_PER_MS;
}

/* Read once: it stays as it is while anything runs, and a flush asks for the time with each batch. */
static void
read_boot_id(char out[PX_ID_MAX])
{
	static char known[PX_ID_MAX];
	struct px_buf content = PX_BUF(64);
	struct px_err err;
	struct px_slice id = { "", 0 };

	if (known[0] == '\0' && px_sys_read_file(BOOT_ID_FILE, PX_FILE_ANY, &content, &err) == 0)
		id = px_slice_trim((struct px_slice){ px_buf_text(&content), content.len });
	if (px_id_is_valid(id))
		memcpy(known, id.ptr, id.len);
	memcpy(out, known, sizeof(known));
	px_buf_clear(&content);
}

void
px_sys_now(struct px_now *now)
{
	now->wall_ms = clock_ms(CLOCK_REALTIME);
	now->boot_ms = clock_ms(CLOCK_BOOTTIME);
	read_boot_id(now->boot_id);
}

/* Reads up to ${len} bytes, through signals. The count, 0 at the end, -1 with errno. */
static ssize_t
read_some(int fd, void *out, size_t len)
{
	ssize_t count;

	do
		count = read(fd, out, len);
	while (count == -1 && errno == EINTR);
	return count;
}

static int
read_urandom(unsigned char *out, size_t len, struct px_err *err)
{
	int fd = open("/dev/urandom", O_RDONLY | O_CLOEXEC);
	size_t done = 0;

	if (fd == -1)
		return px_err_set_errno(err, PX_BUG, errno, "cannot open '/dev/urandom'");
	while (done < len) {
		ssize_t count = read_some(fd, out + done, len - done);

		if (count <= 0)
			break;
		done += (size_t)count;
	}
	(void)close(fd);
	return done == len ? 0 : px_err_set(err, PX_BUG, "cannot read '/dev/urandom'");
}

int
px_sys_random(void *out, size_t len, struct px_err *err)
{
	unsigned char *bytes = out;
	size_t done = 0;

	while (done < len) {
		/* Early at boot getrandom would wait for the kernel's pool: /dev/urandom never does. */
		ssize_t count = getrandom(bytes + done, len - done, GRND_NONBLOCK);

		if (count > 0)
			done += (size_t)count;
		else if (count == 0 || errno != EINTR)
			return read_urandom(bytes + done, len - done, err);
	}
	return 0;
}

int
px_sys_id_v7(char out[PX_ID_MAX], int64_t wall_ms, struct px_err *err)
{
	uint8_t random[10];

	if (px_sys_random(random, sizeof(random), err) == -1)
		return -1;
	px_id_v7(out, wall_ms, random);
	return 0;
}

int
px_sys_id_v4(char out[PX_ID_MAX], struct px_err *err)
{
	uint8_t random[16];

	if (px_sys_random(random, sizeof(random), err) == -1)
		return -1;
	px_id_v4(out, random);
	return 0;
}

void
px_sys_host_name(char *out, size_t size)
{
	char raw[HOST_NAME_MAX + 1] = "";
	struct px_buf clean = PX_BUF(4 * sizeof(raw));
	size_t len;

	if (gethostname(raw, sizeof(raw) - 1) == -1 || raw[0] == '\0')
		memcpy(raw, "localhost", sizeof("localhost"));
	px_text_clean(&clean, raw, strlen(raw));
	len = px_text_cut(px_buf_text(&clean), clean.len, size - 1);
	memcpy(out, px_buf_text(&clean), len);
	out[len] = '\0';
	px_buf_clear(&clean);
}

static int
check_trust(const char *path, const struct stat *st, enum px_file_trust trust, struct px_err *err)
{
	if (!S_ISREG(st->st_mode))
		return px_err_set(err, PX_CONFIG, "'%s' is not a regular file", path);
	if (trust != PX_FILE_SECRET)
		return 0;
	if ((st->st_mode & S_IRWXO) != 0)
		return px_err_set(err, PX_CONFIG, "'%s' is a secret, but others may access it: its mode is %04o", path,
		    (unsigned)st->st_mode & 07777);
	if (st->st_uid != 0 && st->st_uid != geteuid())
		return px_err_set(err, PX_CONFIG, "'%s' is a secret, but its owner, uid %ju, is neither root nor who runs", path,
		    (uintmax_t)st->st_uid);
	return 0;
}

static int
read_to_end(int fd, const char *path, struct px_buf *out, struct px_err *err)
{
	char chunk[4096];
	size_t start = out->len;
	ssize_t count;
	int rc = 0;

	while ((count = read_some(fd, chunk, sizeof(chunk))) > 0 && !out->failed)
		px_buf_add(out, chunk, (size_t)count);
	if (count == -1)
		rc = px_err_set_errno(err, PX_CONFIG, errno, "cannot read '%s'", path);
	else if (out->failed)
		rc = px_err_set(err, PX_CONFIG, "'%s' is larger than %zu bytes", path, out->max - start);
	if (rc == -1)
		px_buf_rewind(out, start);
	explicit_bzero(chunk, sizeof(chunk));
	return rc;
}

int
px_sys_read_file(const char *path, enum px_file_trust trust, struct px_buf *out, struct px_err *err)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	struct stat st;
	int rc = -1;

	if (fd == -1)
		return px_err_set_errno(err, errno == ENOENT ? PX_ABSENT : PX_CONFIG, errno, "cannot open '%s'", path);
	if (fstat(fd, &st) == -1) {
		(void)px_err_set_errno(err, PX_CONFIG, errno, "cannot stat '%s'", path);
		goto out;
	}
	if (check_trust(path, &st, trust, err) == -1)
		goto out;
	/* Room for all of it at once: growing would leave parts of a secret in freed memory. */
	if (st.st_size > 0 && (uintmax_t)st.st_size <= out->max - out->len)
		(void)px_buf_reserve(out, (size_t)st.st_size);
	rc = read_to_end(fd, path, out, err);
out:
	(void)close(fd);
	return rc;
}

int
px_sys_folder_of(const char *path, char *out, size_t size, struct px_err *err)
{
	size_t len = strlen(path);

	while (len > 1 && path[len - 1] == '/')
		len--;
	while (len > 0 && path[len - 1] != '/')
		len--;
	while (len > 1 && path[len - 1] == '/')
		len--;
	if (len == 0) {
		path = ".";
		len = 1;
	}
	if (len >= size)
		return px_err_set(err, PX_CONFIG, "a path is longer than %zu bytes", size - 1);
	memcpy(out, path, len);
	out[len] = '\0';
	return 0;
}

/* 1 when the lock was taken, 0 while another holds it, -1 with errno. */
static int
try_lock(int fd)
{
	if (flock(fd, LOCK_EX | LOCK_NB) == 0)
		return 1;
	return errno == EWOULDBLOCK || errno == EINTR ? 0 : -1;
}

int
px_sys_lock(const char *path, int64_t wait_ms, struct px_err *err)
{
	int64_t until = clock_ms(CLOCK_MONOTONIC) + wait_ms;
	int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY, 0600);
	int locked;

	if (fd == -1)
		return px_err_set_errno(err, PX_STORAGE, errno, "cannot open '%s'", path);
	while ((locked = try_lock(fd)) == 0 && clock_ms(CLOCK_MONOTONIC) < until)
		px_sys_sleep_ms(LOCK_STEP_MS);
	if (locked == 1)
		return fd;
	if (locked == 0)
		(void)px_err_set(err, PX_LATER, "another process holds the lock '%s'", path);
	else
		(void)px_err_set_errno(err, PX_STORAGE, errno, "cannot lock '%s'", path);
	(void)close(fd);
	return -1;
}

void
px_sys_unlock(int fd)
{
	if (fd != -1)
		(void)close(fd);
}

/* The one system call that makes a file and opens nothing: each one counts for a recorder. */
void
px_sys_mark(const char *path)
{
	(void)mknod(path, S_IFREG | 0600, 0);
}

void
px_sys_sleep_ms(int64_t ms)
{
	int64_t until = clock_ms(CLOCK_MONOTONIC) + ms;
	struct timespec at = { (time_t)(until / PX_MS_PER_S), (long)(until % PX_MS_PER_S) * NS_PER_MS };

	while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &at, NULL) == EINTR)
		continue;
}
