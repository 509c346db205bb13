/* SPDX-License-Identifier: MIT */
/* How a recorder puts an event into the folder. */
#include "overflow_parts.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define LOCK_WAIT_MS 3000	/* for both locks of a recorder, of whose 10 s the spool may have taken 5 */
#define LOCK_STEP_MS 2
#define NS_PER_MS 1000000L

static int64_t
monotonic_ms(void)
{
	struct timespec now = { 0, 0 };

	(void)clock_gettime(CLOCK_MONOTONIC, &now);
	return (int64_t)now.tv_sec * 1000 + now.tv_nsec / NS_PER_MS;
}

/*
 * One recorder at a time looks whether there is room and takes it, so that many together stay within the bounds. Nobody
 * waits past ${until_ms}, though: the folder's owner could hold the lock for ever. False when it was in vain.
 */
static bool
lock_until(int fd, int64_t until_ms)
{
	const struct timespec pause = { 0, LOCK_STEP_MS * NS_PER_MS };
	int rc;

	while ((rc = flock(fd, LOCK_EX | LOCK_NB)) == -1 && (errno == EWOULDBLOCK || errno == EINTR) && monotonic_ms() < until_ms)
		(void)nanosleep(&pause, NULL);
	return rc == 0;
}

/*
 * Whether another file of ${bytes} fits. All but the two dot entries counts, so that what is set aside or half written
 * is bounded too. Who looks while others may do so fills half of it at most: all of them together stay within the bounds.
 */
static int
check_room(int fd, const char *folder, size_t bytes, bool others_look, struct px_err *err)
{
	const int max_files = others_look ? PX_OVERFLOW_MAX_FILES / 2 : PX_OVERFLOW_MAX_FILES;
	const int64_t max_bytes = others_look ? PX_OVERFLOW_MAX_BYTES / 2 : PX_OVERFLOW_MAX_BYTES;
	DIR *listing = overflow_list(fd);
	const struct dirent *entry;
	int64_t total = (int64_t)bytes;
	int files = 1 - 2;

	if (listing == NULL)
		return px_err_set_errno(err, PX_STORAGE, errno, "cannot read folder '%s'", folder);
	/* The names first: in a folder that is full of them there is no need to look at each file. */
	while (readdir(listing) != NULL && files <= max_files)
		files++;
	rewinddir(listing);
	while (files <= max_files && total <= max_bytes && (entry = readdir(listing)) != NULL) {
		struct stat status;

		if (fstatat(fd, entry->d_name, &status, AT_SYMLINK_NOFOLLOW) == 0 && S_ISREG(status.st_mode))
			total += status.st_size;
	}
	(void)closedir(listing);
	if (files <= max_files && total <= max_bytes)
		return 0;
	return px_err_set(err, PX_STORAGE, others_look ? "overflow folder '%s' is half full, and others hold its lock" :
	    "overflow folder '%s' is full", folder);
}

static int
write_whole(int fd, struct px_slice bytes)
{
	while (bytes.len > 0) {
		ssize_t written = write(fd, bytes.ptr, bytes.len);

		if (written == -1 && errno == EINTR)
			continue;
		if (written <= 0)
			return -1;
		bytes.ptr += written;
		bytes.len -= (size_t)written;
	}
	return 0;
}

/* A new file of that length; the descriptor, or -1. */
static int
make_file(int folder_fd, const char *name, size_t bytes)
{
	int fd = openat(folder_fd, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	int failure;

	if (fd == -1)
		return -1;
	if (fchmod(fd, 0600) == 0 && ftruncate(fd, (off_t)bytes) == 0)
		return fd;
	failure = errno;
	(void)close(fd);
	(void)unlinkat(folder_fd, name, 0);
	errno = failure;
	return -1;
}

/* Writes, syncs and closes it; none of that name is left when it fails. */
static int
write_file(int folder_fd, const char *name, int fd, struct px_slice bytes)
{
	int failure = 0;

	if (write_whole(fd, bytes) == -1 || fsync(fd) == -1)
		failure = errno;
	if (close(fd) == -1 && failure == 0)
		failure = errno;
	if (failure == 0)
		return 0;
	(void)unlinkat(folder_fd, name, 0);
	errno = failure;
	return -1;
}

/* Makes the folder and its name durable, unless it is there. */
static int
make_folder(const char *folder)
{
	char parent[PATH_MAX];
	const char *slash = strrchr(folder, '/');
	int before = slash == NULL ? 0 : slash == folder ? 1 : (int)(slash - folder);
	int fd;
	int rc = 0;

	if (mkdir(folder, 0700) == -1)
		return errno == EEXIST ? 0 : -1;
	(void)snprintf(parent, sizeof(parent), "%.*s", before, folder);
	fd = open(before > 0 ? parent : ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd == -1)
		return -1;
	if (fsync(fd) == -1)
		rc = -1;
	(void)close(fd);
	return rc;
}

static int
put_file(int fd, const char *folder, const char *name, const char *temporary, struct px_slice document, struct px_err *err)
{
	int64_t until_ms = monotonic_ms() + LOCK_WAIT_MS;
	bool is_locked = lock_until(fd, until_ms);
	int file = -1;
	int failure;
	int rc;

	rc = check_room(fd, folder, document.len, !is_locked, err);
	if (rc == 0)
		file = make_file(fd, temporary, document.len);
	(void)flock(fd, LOCK_UN);
	if (rc == -1)
		return -1;
	if (file == -1 || write_file(fd, temporary, file, document) == -1)
		return px_err_set_errno(err, PX_STORAGE, errno, "cannot write '%s/%s'", folder, temporary);
	/* Who counts meanwhile might see it under neither name. */
	(void)lock_until(fd, until_ms);
	rc = renameat(fd, temporary, fd, name);
	failure = errno;
	(void)flock(fd, LOCK_UN);
	errno = failure;
	if (rc == -1) {
		(void)px_err_set_errno(err, PX_STORAGE, errno, "cannot rename '%s/%s'", folder, temporary);
		(void)unlinkat(fd, temporary, 0);
		return -1;
	}
	if (fsync(fd) == -1) {
		(void)px_err_set_errno(err, PX_STORAGE, errno, "cannot sync folder '%s'", folder);
		(void)unlinkat(fd, name, 0);
		return -1;
	}
	return 0;
}

int
px_overflow_put(const char *folder, const char *id, int64_t perhaps_seq, struct px_slice document, struct px_err *err)
{
	char name[OVERFLOW_NAME_MAX];
	char temporary[OVERFLOW_NAME_MAX];
	int fd = -1;
	int rc;

	if (!px_id_is_valid(px_slice(id)))
		return px_err_set(err, PX_BUG, "'%s' is no event's id", id);
	if (perhaps_seq > 0)
		(void)snprintf(name, sizeof(name), "%s-%" PRId64 OVERFLOW_SUFFIX, id, perhaps_seq);
	else
		(void)snprintf(name, sizeof(name), "%s" OVERFLOW_SUFFIX, id);
	(void)snprintf(temporary, sizeof(temporary), OVERFLOW_TEMPORARY_PREFIX "%s", id);
	/* In the common case the folder is there; only its first user makes it. */
	fd = overflow_open(folder);
	if (fd == -1 && errno == ENOENT && make_folder(folder) == 0)
		fd = overflow_open(folder);
	if (fd == -1)
		return px_err_set_errno(err, PX_STORAGE, errno, "cannot open overflow folder '%s'", folder);
	rc = put_file(fd, folder, name, temporary, document, err);
	(void)close(fd);
	return rc;
}
