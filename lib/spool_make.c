/* SPDX-License-Identifier: MIT */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "spool_make.h"

#define STALE_S 3600
#define VERSION_OFFSET 18
#define LOCK_TRIES 500
#define LOCK_PAUSE_NS 2000000

bool
px_make_is_damaged(const char *path)
{
	char name[PATH_MAX];
	struct px_err ignored;
	struct stat status;

	return px_db_side_path(path, SPOOL_DAMAGED_SUFFIX, name, &ignored) == 0 && lstat(name, &status) == 0;
}

/* Opens the folder of ${path}, which is absolute. */
static int
open_folder(const char *path, struct px_err *err)
{
	size_t len = (size_t)(strrchr(path, '/') - path);
	char folder[PATH_MAX];
	int fd;

	(void)snprintf(folder, sizeof(folder), "%.*s", len > 0 ? (int)len : 1, path);
	fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd == -1)
		(void)px_err_set_errno(err, PX_STORAGE, errno, "cannot open folder '%s'", folder);
	return fd;
}

int
px_make_sync_folder(const char *path, struct px_err *err)
{
	int fd = open_folder(path, err);
	int rc = 0;

	if (fd == -1)
		return -1;
	if (fsync(fd) == -1)
		rc = px_err_set_errno(err, PX_STORAGE, errno, "cannot sync the folder of '%s'", path);
	(void)close(fd);
	return rc;
}

void
px_make_each_beside(const char *path, const char *infix, px_make_each_fn *each, void *arg)
{
	struct px_err ignored;
	int fd = open_folder(path, &ignored);
	DIR *folder = fd != -1 ? fdopendir(fd) : NULL;
	const char *name = strrchr(path, '/') + 1;
	size_t len = strlen(name);
	const struct dirent *entry;

	if (folder == NULL) {
		if (fd != -1)
			(void)close(fd);
		return;
	}
	while ((entry = readdir(folder)) != NULL)
		if (strncmp(entry->d_name, name, len) == 0 && strncmp(entry->d_name + len, infix, strlen(infix)) == 0)
			each(arg, fd, entry->d_name);
	(void)closedir(folder);
}

static void
remove_old(void *arg, int folder, const char *name)
{
	struct stat status;

	(void)arg;
	if (fstatat(folder, name, &status, AT_SYMLINK_NOFOLLOW) == 0 && status.st_mtime < time(NULL) - STALE_S)
		(void)unlinkat(folder, name, 0);
}

void
px_make_remove_stale(const char *path)
{
	px_make_each_beside(path, SPOOL_NEW_INFIX, remove_old, NULL);
}

/* An empty file of the spool's own, whatever the umask. */
static int
make_file(const char *path, struct px_err *err)
{
	int fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	int rc = 0;

	if (fd == -1)
		return px_err_set_errno(err, PX_STORAGE, errno, "cannot create spool '%s'", path);
	if (fchmod(fd, 0600) == -1)
		rc = px_err_set_errno(err, PX_STORAGE, errno, "cannot create spool '%s'", path);
	(void)close(fd);
	return rc;
}

int
px_make_begin(struct px_spool *fresh, const char *path, const char *infix, const struct px_spool_birth *birth,
    struct px_err *err)
{
	char suffix[PX_ID_MAX + sizeof(SPOOL_RENEW_INFIX)];
	int result;

	_Static_assert(SPOOL_PAGE == 2048, "the number below");
	(void)snprintf(suffix, sizeof(suffix), "%s%s", infix, birth->id);
	if (px_db_side_path(path, suffix, fresh->path, err) == -1)
		return -1;
	(void)snprintf(fresh->name, sizeof(fresh->name), "%s", path);
	fresh->bounds = px_room_bounds(INT64_MAX);
	if (make_file(fresh->path, err) == -1 || px_db_open_file(fresh, err) == -1 || px_db_connect(fresh, err) == -1)
		return -1;
	/* Nobody knows the file yet: it is synced once, when it is whole. */
	result = sqlite3_exec(fresh->db, "PRAGMA locking_mode=EXCLUSIVE; PRAGMA journal_mode=MEMORY; PRAGMA synchronous=OFF; "
	    "PRAGMA page_size=2048; PRAGMA auto_vacuum=INCREMENTAL; BEGIN", NULL, NULL, NULL);
	if (result != SQLITE_OK)
		return px_db_fail(fresh, result, "create", err);
	return px_db_make_schema(fresh, birth, err);
}

/*
 * Makes the file one with a write-ahead log and syncs it. SQLite's own way, "PRAGMA journal_mode=WAL", would write a journal
 * and sync four times for these two bytes (https://sqlite.org/fileformat2.html, 1.3.3, "File format version numbers").
 */
static int
finish_file(const char *path, struct px_err *err)
{
	static const unsigned char write_and_read_version[] = { 2, 2 };
	int fd = open(path, O_WRONLY | O_NOFOLLOW | O_CLOEXEC);
	int rc = 0;

	if (fd == -1)
		return px_err_set_errno(err, PX_STORAGE, errno, "cannot open '%s'", path);
	if (pwrite(fd, write_and_read_version, sizeof(write_and_read_version), VERSION_OFFSET) !=
	    (ssize_t)sizeof(write_and_read_version) || fsync(fd) == -1)
		rc = px_err_set_errno(err, PX_STORAGE, errno, "cannot write '%s'", path);
	(void)close(fd);
	return rc;
}

int
px_make_end(struct px_spool *fresh, struct px_err *err)
{
	int result = sqlite3_exec(fresh->db, "COMMIT", NULL, NULL, NULL);

	if (result != SQLITE_OK)
		return px_db_fail(fresh, result, "create", err);
	px_db_disconnect(fresh);
	return finish_file(fresh->path, err);
}

void
px_make_abandon(struct px_spool *fresh)
{
	static const char *const suffixes[] = { "", "-wal", "-shm", "-journal" };
	char name[PATH_MAX];
	struct px_err ignored;

	px_db_disconnect(fresh);
	if (fresh->path[0] == '\0')
		return;
	for (size_t i = 0; i < sizeof(suffixes) / sizeof(suffixes[0]); i++)
		if (px_db_side_path(fresh->path, suffixes[i], name, &ignored) == 0)
			(void)unlink(name);
}

/* Puts the finished file into its place when there is none yet. */
static int
link_into_place(const char *from, const char *path, struct px_err *err)
{
	if (link(from, path) == 0 || errno == EEXIST)
		return 0;
	/* A file system without links. */
	if ((errno == EPERM || errno == EOPNOTSUPP || errno == ENOSYS) &&
	    (renameat2(AT_FDCWD, from, AT_FDCWD, path, RENAME_NOREPLACE) == 0 || errno == EEXIST))
		return 0;
	return px_err_set_errno(err, PX_STORAGE, errno, "cannot create spool '%s'", path);
}

/* A name that can't be looked up for another reason than that it is not there may well be there. */
static int
exists(const char *path, bool *there, struct px_err *err)
{
	struct stat status;

	*there = lstat(path, &status) == 0;
	if (!*there && errno != ENOENT)
		return px_err_set_errno(err, PX_STORAGE, errno, "cannot look for '%s'", path);
	return 0;
}

static int
lock_folder(int fd)
{
	const struct timespec pause = { 0, LOCK_PAUSE_NS };

	for (int i = 0; i < LOCK_TRIES; i++) {
		if (flock(fd, LOCK_EX | LOCK_NB) == 0)
			return 0;
		(void)nanosleep(&pause, NULL);
	}
	return -1;
}

/*
 * A log whose spool was removed would be applied to the new one: it is put away first. Two that make the spool at the
 * same time must not put away each other's, so this alone happens under a lock of the folder.
 */
static int
place_beside_orphan(const char *from, const char *path, const char *log, struct px_err *err)
{
	int fd = open_folder(path, err);
	char name[PATH_MAX];
	bool there;
	int rc = -1;

	if (fd == -1)
		return -1;
	if (lock_folder(fd) == -1) {
		(void)px_err_set(err, PX_STORAGE, "cannot create spool '%s': its folder is locked", path);
		goto out;
	}
	if (exists(path, &there, err) == -1)
		goto out;
	if (!there) {
		if (px_db_side_path(path, "-wal-orphan", name, err) == -1)
			goto out;
		if (rename(log, name) == -1 && errno != ENOENT) {
			(void)px_err_set_errno(err, PX_STORAGE, errno, "cannot put away '%s'", log);
			goto out;
		}
		if (px_db_side_path(path, "-shm", name, err) == 0)
			(void)unlink(name);
		/* Else the new spool might be on disk after a power cut, and the log beside it still. */
		if (px_make_sync_folder(path, err) == -1)
			goto out;
	}
	rc = link_into_place(from, path, err);
out:
	(void)close(fd);
	return rc;
}

/* An empty one, so that its name is on disk with the spool's own: see spool_vfs.c. SQLite would make it, too. */
static void
make_log(const char *path)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);

	if (fd == -1)
		return;
	(void)fchmod(fd, 0600);
	(void)close(fd);
}

int
px_spool_create(const char *path, const struct px_spool_birth *birth, struct px_err *err)
{
	struct px_spool *fresh = calloc(1, sizeof(*fresh));
	char real[PATH_MAX];
	char log[PATH_MAX];
	bool has_log;
	int rc = -1;

	if (fresh == NULL)
		return px_err_set(err, PX_STORAGE, "no memory for a spool");
	if (px_db_real_path(path, real, err) == -1) {
		err->code = PX_STORAGE;
		goto out;
	}
	if (px_db_side_path(real, "-wal", log, err) == -1 || px_make_begin(fresh, real, SPOOL_NEW_INFIX, birth, err) == -1 ||
	    px_make_end(fresh, err) == -1 || exists(log, &has_log, err) == -1)
		goto out;
	rc = has_log ? place_beside_orphan(fresh->path, real, log, err) : link_into_place(fresh->path, real, err);
	(void)unlink(fresh->path);
	if (rc == 0) {
		make_log(log);
		if (birth->max_bytes > 0)
			px_room_make_reserve(real, birth->max_bytes);
		rc = px_make_sync_folder(real, err);
	}
out:
	px_make_abandon(fresh);
	free(fresh);
	if (rc == -1 && err->code == PX_CORRUPT)
		err->code = PX_STORAGE;
	return rc;
}
