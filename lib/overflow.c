/* SPDX-License-Identifier: MIT */
#include "overflow.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "log.h"

#define TEMPORARY_PREFIX ".tmp-"
#define SUFFIX ".json"
#define NAME_MAX_BYTES 96	/* of an event file: id, seq, suffix */
#define FILE_MAX (PX_EVENT_MAX + 4096)
#define STALE_S 3600
#define SEQ_DIGITS_MAX 15
#define BROKEN_TRIES 100
#define LOCK_WAIT_MS 3000	/* for both locks of a recorder, of whose 10 s the spool may have taken 5 */
#define LOCK_STEP_MS 2
#define NS_PER_MS 1000000L

int
px_overflow_folder(const char *spool_path, char *out, size_t size, struct px_err *err)
{
	const char *slash = strrchr(spool_path, '/');
	int before = slash != NULL ? (int)(slash + 1 - spool_path) : 0;
	int len = snprintf(out, size, "%.*soverflow", before, spool_path);

	if (len < 0 || (size_t)len >= size)
		return px_err_set(err, PX_CONFIG, "the spool's path is too long for an overflow folder beside it");
	return 0;
}

/* Opens the folder itself, never what a link in its place stands for. */
static int
open_folder(const char *folder)
{
	return open(folder, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
}

/* Reads an event file's name, ID.json or ID-SEQ.json. */
static bool
read_name(const char *name, char id[PX_ID_MAX], int64_t *perhaps_seq)
{
	size_t len = strlen(name);
	const char *end = name + len - strlen(SUFFIX);

	*perhaps_seq = 0;
	if (len < PX_ID_MAX - 1 + strlen(SUFFIX) || len >= NAME_MAX_BYTES || strcmp(end, SUFFIX) != 0)
		return false;
	memcpy(id, name, PX_ID_MAX - 1);
	id[PX_ID_MAX - 1] = '\0';
	name += PX_ID_MAX - 1;
	if (!px_id_is_valid(px_slice(id)))
		return false;
	if (name == end)
		return true;
	return name[0] == '-' && end - name <= SEQ_DIGITS_MAX + 1 &&
	    px_text_to_int64((struct px_slice){ name + 1, (size_t)(end - name - 1) }, 1, INT64_MAX, perhaps_seq) == 0;
}

/* A list of names, owned. */
struct names {
	char (*list)[NAME_MAX_BYTES];
	size_t count;
	size_t capacity;
};

static int
add_name(struct names *names, const char *name)
{
	if (names->count == names->capacity) {
		size_t capacity = names->capacity * 2 + 64;
		char (*larger)[NAME_MAX_BYTES] = reallocarray(names->list, capacity, sizeof(*larger));

		if (larger == NULL)
			return -1;
		names->list = larger;
		names->capacity = capacity;
	}
	memcpy(names->list[names->count++], name, strlen(name) + 1);	/* read_name took it: it is short enough */
	return 0;
}

/* Opens a second descriptor of the folder ${fd} to read it from its beginning. */
static DIR *
open_listing(int fd)
{
	int copy = openat(fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *listing = copy != -1 ? fdopendir(copy) : NULL;

	if (listing == NULL && copy != -1)
		(void)close(copy);
	return listing;
}

static bool
is_temporary(const char *name)
{
	return strncmp(name, TEMPORARY_PREFIX, strlen(TEMPORARY_PREFIX)) == 0;
}

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
	DIR *listing = open_listing(fd);
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
	char name[NAME_MAX_BYTES];
	char temporary[NAME_MAX_BYTES];
	int fd = -1;
	int rc;

	if (!px_id_is_valid(px_slice(id)))
		return px_err_set(err, PX_BUG, "'%s' is no event's id", id);
	if (perhaps_seq > 0)
		(void)snprintf(name, sizeof(name), "%s-%" PRId64 SUFFIX, id, perhaps_seq);
	else
		(void)snprintf(name, sizeof(name), "%s" SUFFIX, id);
	(void)snprintf(temporary, sizeof(temporary), TEMPORARY_PREFIX "%s", id);
	/* In the common case the folder is there; only its first user makes it. */
	fd = open_folder(folder);
	if (fd == -1 && errno == ENOENT && make_folder(folder) == 0)
		fd = open_folder(folder);
	if (fd == -1)
		return px_err_set_errno(err, PX_STORAGE, errno, "cannot open overflow folder '%s'", folder);
	rc = put_file(fd, folder, name, temporary, document, err);
	(void)close(fd);
	return rc;
}

static int
compare_names(const void *a, const void *b)
{
	return strcmp(a, b);
}

/* Lists the event files by id, which begins with the time; removes what dead recorders left. */
static int
list_files(int fd, struct names *names)
{
	DIR *listing = open_listing(fd);
	time_t stale = time(NULL) - STALE_S;
	const struct dirent *entry;
	int64_t perhaps_seq;
	char id[PX_ID_MAX];
	struct stat status;
	int rc = 0;

	if (listing == NULL)
		return -1;
	while (rc == 0 && (errno = 0, entry = readdir(listing)) != NULL) {
		if (is_temporary(entry->d_name)) {
			if (fstatat(fd, entry->d_name, &status, AT_SYMLINK_NOFOLLOW) == 0 && status.st_mtime < stale)
				(void)unlinkat(fd, entry->d_name, 0);
		} else if (read_name(entry->d_name, id, &perhaps_seq)) {
			rc = add_name(names, entry->d_name);
		}
	}
	if (rc == 0 && errno != 0)
		rc = -1;
	(void)closedir(listing);
	if (names->count > 0)
		qsort(names->list, names->count, sizeof(*names->list), compare_names);
	return rc;
}

enum reading { READ_WHOLE, READ_BROKEN, READ_GONE, READ_FAILED };

static enum reading
read_open_file(int fd, struct px_buf *out)
{
	struct stat status;
	ssize_t got = 1;

	if (fstat(fd, &status) == -1)
		return READ_FAILED;
	/* Another name of the file could be one that is not ours to read, or that changes under us. */
	if (!S_ISREG(status.st_mode) || status.st_nlink != 1 || status.st_size > FILE_MAX)
		return READ_BROKEN;
	while (got > 0) {
		char *room = px_buf_reserve(out, PX_EVENT_MAX / 4);

		if (room == NULL)	/* it grew under us, or there is no memory */
			return out->len + PX_EVENT_MAX / 4 > out->max ? READ_BROKEN : READ_FAILED;
		got = read(fd, room, PX_EVENT_MAX / 4);
		if (got == -1 && errno == EINTR)
			got = 1;
		else if (got > 0)
			px_buf_used(out, (size_t)got);
	}
	return got == -1 ? READ_FAILED : READ_WHOLE;
}

/* Reads the file as far as it is one of ours; never waits for a FIFO, never follows a link. */
static enum reading
read_file(int folder_fd, const char *name, struct px_buf *out)
{
	int fd = openat(folder_fd, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC | O_NOCTTY);
	enum reading result;

	if (fd == -1)
		return errno == ENOENT ? READ_GONE : errno == ELOOP || errno == ENXIO ? READ_BROKEN : READ_FAILED;
	result = read_open_file(fd, out);
	(void)close(fd);
	return result;
}

/* Renames to NAME.bad, or NAME.2.bad and so on: nothing that was set aside is overwritten. */
static void
set_aside(int fd, const char *name)
{
	char bad[NAME_MAX_BYTES + 16];
	struct stat status;

	(void)snprintf(bad, sizeof(bad), "%s.bad", name);
	for (int i = 2; i < BROKEN_TRIES && fstatat(fd, bad, &status, AT_SYMLINK_NOFOLLOW) == 0; i++)
		(void)snprintf(bad, sizeof(bad), "%s.%d.bad", name, i);
	(void)renameat(fd, name, fd, bad);
}

struct walk {
	int fd;
	px_overflow_fn *each;
	void (*removed)(void *arg, const char *name);
	void *arg;
	struct px_buf document;
};

/* Shows one file to the caller and does what it says. -1 when the removal is not for good. */
static int
visit(struct walk *walk, const char *name, bool *stop)
{
	struct px_overflow_file file = { .name = name };
	enum px_overflow_fate fate = PX_OVERFLOW_BROKEN;

	px_buf_rewind(&walk->document, 0);
	switch (read_file(walk->fd, name, &walk->document)) {
	case READ_GONE:
		return 0;
	case READ_FAILED:
		px_log(PX_WARNING, "cannot read overflow file '%s': it waits", name);
		return 0;
	case READ_BROKEN:
		px_log(PX_ERROR, "overflow file '%s' is no file of a recorder's and is set aside", name);
		break;
	case READ_WHOLE:
		(void)read_name(name, file.id, &file.perhaps_seq);
		file.document = (struct px_slice){ px_buf_text(&walk->document), walk->document.len };
		fate = walk->each(walk->arg, &file, stop);
		break;
	}
	if (fate == PX_OVERFLOW_KEEP)
		return 0;
	if (fate == PX_OVERFLOW_BROKEN) {
		set_aside(walk->fd, name);
		return 0;
	}
	if (unlinkat(walk->fd, name, 0) == -1 && errno != ENOENT)
		return -1;
	if (fsync(walk->fd) == -1)
		return -1;
	if (walk->removed != NULL)
		walk->removed(walk->arg, name);
	return 0;
}

int
px_overflow_each(const char *folder, px_overflow_fn *each, void (*removed)(void *arg, const char *name), void *arg,
    struct px_err *err)
{
	struct walk walk = { .fd = open_folder(folder), .each = each, .removed = removed, .arg = arg,
		.document = PX_BUF(FILE_MAX + PX_EVENT_MAX / 4) };
	struct names names = { .count = 0 };
	bool stop = false;
	int rc = -1;

	if (walk.fd == -1)
		return errno == ENOENT ? 0 : px_err_set_errno(err, PX_STORAGE, errno, "cannot open overflow folder '%s'", folder);
	if (list_files(walk.fd, &names) == -1) {
		(void)px_err_set_errno(err, PX_STORAGE, errno, "cannot read overflow folder '%s'", folder);
		goto out;
	}
	for (size_t i = 0; i < names.count && !stop; i++)
		if (visit(&walk, names.list[i], &stop) == -1) {
			(void)px_err_set_errno(err, PX_STORAGE, errno, "cannot remove '%s/%s'", folder, names.list[i]);
			goto out;
		}
	rc = 0;
out:
	px_buf_clear(&walk.document);
	free(names.list);
	(void)close(walk.fd);
	return rc;
}

int64_t
px_overflow_count(const char *folder)
{
	int fd = open_folder(folder);
	DIR *listing = fd != -1 ? fdopendir(fd) : NULL;
	const struct dirent *entry;
	int64_t perhaps_seq;
	char id[PX_ID_MAX];
	int64_t count = 0;

	if (listing == NULL) {
		if (fd != -1)
			(void)close(fd);
		return 0;
	}
	while ((entry = readdir(listing)) != NULL)
		count += read_name(entry->d_name, id, &perhaps_seq);
	(void)closedir(listing);
	return count;
}
