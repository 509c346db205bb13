/* SPDX-License-Identifier: MIT */
/* The folder itself, and how a flush takes its files out. */
#include "overflow_parts.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "log.h"

#define FILE_MAX (PX_EVENT_MAX + 4096)
#define STALE_S 3600
#define SEQ_DIGITS_MAX 15
#define BROKEN_TRIES 100

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

int
overflow_open(const char *folder)
{
	return open(folder, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
}

/* Reads an event file's name, ID.json or ID-SEQ.json. */
static bool
read_name(const char *name, char id[PX_ID_MAX], int64_t *perhaps_seq)
{
	size_t len = strlen(name);
	const char *end = name + len - strlen(OVERFLOW_SUFFIX);

	*perhaps_seq = 0;
	if (len < PX_ID_MAX - 1 + strlen(OVERFLOW_SUFFIX) || len >= OVERFLOW_NAME_MAX || strcmp(end, OVERFLOW_SUFFIX) != 0)
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
	char (*list)[OVERFLOW_NAME_MAX];
	size_t count;
	size_t capacity;
};

static int
add_name(struct names *names, const char *name)
{
	if (names->count == names->capacity) {
		size_t capacity = names->capacity * 2 + 64;
		char (*larger)[OVERFLOW_NAME_MAX] = reallocarray(names->list, capacity, sizeof(*larger));

		if (larger == NULL)
			return -1;
		names->list = larger;
		names->capacity = capacity;
	}
	memcpy(names->list[names->count++], name, strlen(name) + 1);	/* read_name took it: it is short enough */
	return 0;
}

DIR *
overflow_list(int fd)
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
	return strncmp(name, OVERFLOW_TEMPORARY_PREFIX, strlen(OVERFLOW_TEMPORARY_PREFIX)) == 0;
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
	DIR *listing = overflow_list(fd);
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
	char bad[OVERFLOW_NAME_MAX + 16];
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
	struct walk walk = { .fd = overflow_open(folder), .each = each, .removed = removed, .arg = arg,
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
	int fd = overflow_open(folder);
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
