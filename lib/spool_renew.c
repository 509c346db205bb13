/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "spool_make.h"

#define WAIT_MS 5000
#define ASIDE_TRIES 100
#define ASIDE_INFIX ".broken-"
#define SUFFIX_MAX 64

struct renewal {
	struct px_spool old;
	struct px_spool fresh;
	char aside[PATH_MAX];		/* the second name of the old one; "": it has none yet */
	int64_t carried;
	bool log_is_sound;
};

/*
 * Opens the old spool, alone where that can be: recorders that come now wait, and find that it was replaced. -1 only when
 * it can't be opened, whatever is in it, or others don't let go of it.
 */
static int
open_old(struct px_spool *old, struct px_err *err)
{
	int result;

	old->use = PX_SPOOL_LOOK;
	old->wait_ms = WAIT_MS;
	if (px_db_open_file(old, err) == -1)
		return -1;
	result = sqlite3_exec(old->db, "PRAGMA locking_mode=EXCLUSIVE; BEGIN IMMEDIATE; COMMIT", NULL, NULL, NULL);
	return (result & 0xff) == SQLITE_BUSY ? px_db_fail(old, result, "renew", err) : 0;
}

/* A second name of the same file. */
struct second_name {
	struct stat of;
	char name[NAME_MAX + 1];
};

static void
compare_file(void *arg, int folder, const char *name)
{
	struct second_name *second = arg;
	struct stat status;

	if (fstatat(folder, name, &status, AT_SYMLINK_NOFOLLOW) == 0 && status.st_ino == second->of.st_ino &&
	    status.st_dev == second->of.st_dev)
		(void)snprintf(second->name, sizeof(second->name), "%s", name);
}

/* A renewal that was killed may have set the spool aside already, and put its log away. */
static void
find_aside(struct renewal *renewal)
{
	struct second_name second = { .name = "" };
	const char *path = renewal->old.path;

	if (lstat(path, &second.of) == -1 || second.of.st_nlink < 2)
		return;
	px_make_each_beside(path, ASIDE_INFIX, compare_file, &second);
	if (second.name[0] != '\0')
		(void)snprintf(renewal->aside, sizeof(renewal->aside), "%.*s/%s", (int)(strrchr(path, '/') - path), path, second.name);
}

/* The log of the old one: beside it, else beside its second name. */
static int
find_log(const struct renewal *renewal, char *log, struct px_err *err)
{
	struct stat status;

	if (px_db_side_path(renewal->old.path, "-wal", log, err) == -1)
		return -1;
	if (renewal->aside[0] == '\0' || (lstat(log, &status) == 0 && status.st_size > 0))
		return 0;
	return px_db_side_path(renewal->aside, "-wal", log, err);
}

/* ${failed}: not all could be read, for another reason than that it is damaged. */
static int
salvage(struct renewal *renewal, const struct px_spool_birth *birth, bool *failed, struct px_err *err)
{
	struct px_source source;
	char log[PATH_MAX];
	int rc;

	if (px_make_begin(&renewal->fresh, renewal->old.path, SPOOL_RENEW_INFIX, birth, err) == -1 ||
	    find_log(renewal, log, err) == -1)
		return -1;
	px_source_open(&source, &renewal->old, log);
	rc = px_salvage(&source, &renewal->fresh, &renewal->carried, &renewal->log_is_sound, err);
	/* A disk that reads nothing any more is at fault itself: another run may find it well again. */
	if (rc == 0 && source.failed && (renewal->carried == 0 || !px_source_is_readable(&source)))
		rc = px_err_set_errno(err, PX_STORAGE, EIO, "cannot read spool '%s'", renewal->old.name);
	*failed = source.failed;
	px_source_close(&source);
	return rc;
}

/* What can't be read for once may be read the next time; what can't be read then either is lost. */
static int
build_fresh(struct renewal *renewal, const struct px_spool_birth *birth, struct px_err *err)
{
	bool failed = false;
	int rc = salvage(renewal, birth, &failed, err);

	if (failed) {
		px_make_abandon(&renewal->fresh);
		rc = salvage(renewal, birth, &failed, err);
	}
	return rc == -1 ? -1 : px_make_end(&renewal->fresh, err);
}

/* ".broken-20261122T145547Z", or with "-2" and so on behind it. */
static void
name_aside(const struct px_now *now, int number, char out[SUFFIX_MAX])
{
	char time[PX_RFC3339_MAX];
	char compact[PX_RFC3339_MAX];
	size_t len = 0;

	px_text_time_s(time, now->wall_ms / PX_MS_PER_S);
	for (const char *at = time; *at != '\0'; at++)
		if (*at != '-' && *at != ':')
			compact[len++] = *at;
	compact[len] = '\0';
	if (number == 1)
		(void)snprintf(out, SUFFIX_MAX, ASIDE_INFIX "%s", compact);
	else
		(void)snprintf(out, SUFFIX_MAX, ASIDE_INFIX "%s-%d", compact, number);
}

/* Gives the old spool and its log their second names. They stay in their places until the new one takes these. */
static int
set_aside(struct renewal *renewal, const struct px_now *now, struct px_err *err)
{
	const char *path = renewal->old.path;
	char log[2][PATH_MAX];
	struct stat status;

	for (int number = 1; renewal->aside[0] == '\0'; number++) {
		char suffix[SUFFIX_MAX];
		char aside[PATH_MAX];

		if (number == ASIDE_TRIES)
			return px_err_set(err, PX_STORAGE, "cannot set spool '%s' aside: too many are there", path);
		name_aside(now, number, suffix);
		if (px_db_side_path(path, suffix, aside, err) == -1)
			return -1;
		if (link(path, aside) == 0)
			memcpy(renewal->aside, aside, sizeof(aside));
		else if (errno != EEXIST)
			return px_err_set_errno(err, PX_STORAGE, errno, "cannot set spool '%s' aside", path);
	}
	if (px_db_side_path(path, "-wal", log[0], err) == -1 || px_db_side_path(renewal->aside, "-wal", log[1], err) == -1)
		return -1;
	if (lstat(log[0], &status) == 0 && status.st_size > 0 && link(log[0], log[1]) == -1 && errno != EEXIST)
		return px_err_set_errno(err, PX_STORAGE, errno, "cannot set spool '%s' aside", path);
	return px_make_sync_folder(path, err);
}

/*
 * The log of the old one must be gone when the new one takes its place, else it would be applied to that. Where it is
 * not empty it has its second name by now, by which find_log finds it when all ends here.
 */
static int
take_place(const char *from, const char *path, struct px_err *err)
{
	static const char *const suffixes[] = { "-wal", "-shm", SPOOL_DAMAGED_SUFFIX };
	char name[PATH_MAX];

	for (size_t i = 0; i < sizeof(suffixes) / sizeof(suffixes[0]); i++) {
		if (px_db_side_path(path, suffixes[i], name, err) == -1)
			return -1;
		if (unlink(name) == -1 && errno != ENOENT)
			return px_err_set_errno(err, PX_STORAGE, errno, "cannot remove '%s'", name);
	}
	if (rename(from, path) == -1)
		return px_err_set_errno(err, PX_STORAGE, errno, "cannot renew spool '%s'", path);
	return px_make_sync_folder(path, err);
}

static void
remove_name(void *arg, int folder, const char *name)
{
	(void)arg;
	(void)unlinkat(folder, name, 0);
}

void
px_spool_sweep(const char *path, char *journal, size_t size)
{
	char real[PATH_MAX];
	char name[2][PATH_MAX];
	struct stat status;
	struct px_err ignored;

	journal[0] = '\0';
	if (px_db_real_path(path, real, &ignored) == -1 || px_db_side_path(real, "-journal", name[0], &ignored) == -1 ||
	    px_db_side_path(real, "-journal-orphan", name[1], &ignored) == -1)
		return;
	px_make_each_beside(real, SPOOL_RENEW_INFIX, remove_name, NULL);
	if (lstat(name[0], &status) == 0 && S_ISREG(status.st_mode) && status.st_size > 0 && rename(name[0], name[1]) == 0)
		(void)snprintf(journal, size, "%s", name[1]);
}

int
px_spool_renew(const char *path, const struct px_spool_birth *birth, const struct px_now *now, char *aside, size_t size,
    int64_t *carried, struct px_err *err)
{
	struct renewal *renewal = calloc(1, sizeof(*renewal));
	struct px_spool *old;
	int rc = -1;

	*carried = 0;
	if (renewal == NULL)
		return px_err_set(err, PX_STORAGE, "no memory for a spool");
	old = &renewal->old;
	(void)snprintf(old->name, sizeof(old->name), "%s", path);
	if (px_db_real_path(path, old->path, err) == -1)
		goto out;
	(void)px_room_give_up_reserve(old);
	if (open_old(old, err) == -1)
		goto out;
	find_aside(renewal);
	if (build_fresh(renewal, birth, err) == -1)
		goto out;
	/* The old one is kept as it is where its log would spoil it. */
	old->log_is_ours = renewal->log_is_sound;
	if (old->log_is_ours)
		px_room_checkpoint(old, true);
	if (set_aside(renewal, now, err) == -1 || take_place(renewal->fresh.path, old->path, err) == -1)
		goto out;
	(void)snprintf(aside, size, "%s%s", path, renewal->aside + strlen(old->path));
	*carried = renewal->carried;
	rc = 0;
out:
	px_db_disconnect(old);
	px_make_abandon(&renewal->fresh);
	free(renewal);
	return rc;
}
