/* SPDX-License-Identifier: MIT */
/*
 * Whose a path is, name by name. Each event walks one, so what is on its way stands in buffers as long as it is: in arrays
 * for the longest path there is, the stack would grow by pages that the system has to make first.
 */
#include "sys.h"

#include <errno.h>
#include <grp.h>
#include <limits.h>
#include <pwd.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define LINKS_MAX 40		/* as the kernel's own bound, see path_resolution(7) */
#define NO_GROUP 65534		/* the kernel's overflow gid: of nobody */

/* A path on its way. */
struct walk {
	struct px_buf done;	/* has no links left in it, but perhaps its last name; "" is the root */
	struct px_buf rest;	/* is still to be walked, from ${at} on */
	size_t at;
	size_t folder_len;	/* of ${done}, before its last name */
	int links;
};

static const char *
here(const struct walk *walk)
{
	return walk->done.len > 0 ? px_buf_text(&walk->done) : "/";
}

static int
start_walk(struct walk *walk, const char *path, struct px_err *err)
{
	char *folder;

	*walk = (struct walk){ .done = PX_BUF(PATH_MAX - 1), .rest = PX_BUF((size_t)2 * PATH_MAX) };
	if (path[0] != '/') {
		folder = px_buf_reserve(&walk->rest, PATH_MAX);
		if (folder == NULL || getcwd(folder, PATH_MAX) == NULL)
			return px_err_set_errno(err, PX_CONFIG, folder == NULL ? ENOMEM : errno, "cannot tell where '%s' is", path);
		px_buf_used(&walk->rest, strlen(folder));
		px_buf_add_byte(&walk->rest, '/');
	}
	px_buf_add_text(&walk->rest, path);
	if (walk->rest.failed)
		return px_err_set(err, PX_CONFIG, "a path is longer than %zu bytes, or there is no memory for it", walk->rest.max);
	return 0;
}

static void
end_walk(struct walk *walk)
{
	px_buf_clear(&walk->done);
	px_buf_clear(&walk->rest);
}

/* Takes the next name off ${rest}; an empty one at the end. */
static struct px_slice
next_name(struct walk *walk)
{
	const char *rest = px_buf_text(&walk->rest) + walk->at;
	size_t skip = strspn(rest, "/");
	size_t len = strcspn(rest + skip, "/");

	walk->at += skip + len;
	return (struct px_slice){ rest + skip, len };
}

static void
go_up(struct walk *walk)
{
	const char *slash = memrchr(px_buf_text(&walk->done), '/', walk->done.len);

	if (slash != NULL)
		px_buf_rewind(&walk->done, (size_t)(slash - px_buf_text(&walk->done)));
}

/* One name on: 1 with what is there, not behind it where it is a link; 0 at the end; -1 with errno. */
static int
step(struct walk *walk, struct stat *st)
{
	struct px_slice name = next_name(walk);

	if (name.len == 0)
		return 0;
	walk->folder_len = walk->done.len;
	if (px_slice_is(name, "..")) {
		go_up(walk);
	} else if (!px_slice_is(name, ".")) {
		px_buf_add_byte(&walk->done, '/');
		px_buf_add(&walk->done, name.ptr, name.len);
	}
	if (walk->done.failed) {
		errno = walk->done.len + name.len >= walk->done.max ? ENAMETOOLONG : ENOMEM;
		return -1;
	}
	return lstat(here(walk), st) == -1 ? -1 : 1;
}

/* Where the last name is a link: what it says comes before the rest. */
static int
follow_link(struct walk *walk, struct px_err *err)
{
	struct px_buf rest = PX_BUF(walk->rest.max);
	char *target = px_buf_reserve(&rest, PATH_MAX);
	ssize_t len = target != NULL ? readlink(here(walk), target, PATH_MAX - 1) : -1;

	if (len == -1) {
		(void)px_err_set_errno(err, PX_CONFIG, target == NULL ? ENOMEM : errno, "cannot read the link '%s'", here(walk));
		goto failed;
	}
	px_buf_used(&rest, (size_t)len);
	px_buf_add_text(&rest, px_buf_text(&walk->rest) + walk->at);
	if (++walk->links > LINKS_MAX || rest.failed) {
		(void)px_err_set_errno(err, PX_CONFIG, ELOOP, "cannot follow the link '%s'", here(walk));
		goto failed;
	}
	px_buf_rewind(&walk->done, px_buf_text(&rest)[0] == '/' ? 0 : walk->folder_len);
	px_buf_clear(&walk->rest);
	walk->rest = rest;
	walk->at = 0;
	return 0;
failed:
	px_buf_clear(&rest);
	return -1;
}

/*
 * Root's or ${owner}'s, and no one else may write: a link can't be written, and in a sticky folder nobody touches what
 * is root's.
 */
static int
check_owner_only(const char *path, const struct stat *st, uid_t owner, struct px_err *err)
{
	bool sticky_folder = S_ISDIR(st->st_mode) && (st->st_mode & S_ISVTX) != 0;

	if (st->st_uid != 0 && st->st_uid != owner)
		return px_err_set(err, PX_CONFIG, "'%s' is not root's: its owner is uid %ju", path, (uintmax_t)st->st_uid);
	if (!S_ISLNK(st->st_mode) && !sticky_folder && (st->st_mode & (S_IWGRP | S_IWOTH)) != 0)
		return px_err_set(err, PX_CONFIG, "'%s' can be written by others than %s: its mode is %04o", path,
		    owner == 0 ? "root" : "its owner", (unsigned)st->st_mode & 07777);
	return 0;
}

int
px_sys_only_owner_writes(const char *path, uid_t owner, struct px_err *err)
{
	struct walk walk;
	struct stat st;
	int rc = -1;

	if (start_walk(&walk, path, err) == -1)
		goto out;
	/* Each folder is known to be theirs alone before a name in it is looked at: nobody can change what was seen. */
	for (int more = lstat("/", &st) == -1 ? -1 : 1; more != 0; more = step(&walk, &st)) {
		if (more == -1) {
			(void)px_err_set_errno(err, PX_CONFIG, errno, "cannot stat '%s'", here(&walk));
			goto out;
		}
		if (check_owner_only(here(&walk), &st, owner, err) == -1)
			goto out;
		if (S_ISLNK(st.st_mode) && follow_link(&walk, err) == -1)
			goto out;
	}
	rc = 0;
out:
	end_walk(&walk);
	return rc;
}

int
px_sys_only_root_writes(const char *path, struct px_err *err)
{
	return px_sys_only_owner_writes(path, 0, err);
}

/* The group of ${uid} in /etc/passwd itself: asking NSS could wait for a network. */
static gid_t
group_of(uid_t uid)
{
	gid_t gid = NO_GROUP;
	FILE *file = fopen("/etc/passwd", "re");
	const struct passwd *entry;

	if (file == NULL)
		return gid;
	while ((entry = fgetpwent(file)) != NULL)
		if (entry->pw_uid == uid && entry->pw_gid != 0) {
			gid = entry->pw_gid;
			break;
		}
	(void)fclose(file);
	return gid;
}

static int
become(uid_t uid, gid_t gid, struct px_err *err)
{
	uid_t uids[3];
	gid_t gids[3];

	if (setgroups(0, NULL) == -1 || setresgid(gid, gid, gid) == -1 || setresuid(uid, uid, uid) == -1)
		return px_err_set_errno(err, PX_BUG, errno, "cannot become uid %ju, gid %ju", (uintmax_t)uid, (uintmax_t)gid);
	if (getresuid(&uids[0], &uids[1], &uids[2]) == -1 || getresgid(&gids[0], &gids[1], &gids[2]) == -1)
		return px_err_set_errno(err, PX_BUG, errno, "cannot tell who runs");
	for (int i = 0; i < 3; i++)
		if (uids[i] != uid || gids[i] != gid)
			return px_err_set(err, PX_BUG, "uid or gid is still another one");
	if (setresuid((uid_t)-1, 0, (uid_t)-1) == 0 || setresgid((gid_t)-1, 0, (gid_t)-1) == 0)
		return px_err_set(err, PX_BUG, "root could still be had again");
	return 0;
}

/* Links on the way that are not root's. Of several people's, one is somebody else's, whoever owns the folder. */
struct their_links {
	struct px_buf last;
	uid_t owner;		/* 0: several */
};

static void
note_link(struct their_links *theirs, const char *link, uid_t owner)
{
	if (owner == 0)
		return;
	theirs->owner = theirs->last.len == 0 || theirs->owner == owner ? owner : 0;
	px_buf_rewind(&theirs->last, 0);
	px_buf_add_text(&theirs->last, link);
}

/*
 * Looks at the folder once, name by name. A link on the way must be root's or the folder's owner's: somebody else's would
 * lead us to a place of his choice, with the rights of who owns that.
 */
static int
look_at_folder(const char *folder, struct stat *st, struct px_err *err)
{
	struct their_links theirs = { .last = PX_BUF(PATH_MAX) };
	struct walk walk;
	int rc = -1;

	if (start_walk(&walk, folder, err) == -1)
		goto out;
	for (int more = lstat("/", st) == -1 ? -1 : 1; more != 0; more = step(&walk, st)) {
		if (more == -1) {
			(void)px_err_set_errno(err, PX_STORAGE, errno, "cannot use the folder '%s'", folder);
			goto out;
		}
		if (!S_ISLNK(st->st_mode))
			continue;
		note_link(&theirs, here(&walk), st->st_uid);
		if (follow_link(&walk, err) == -1)
			goto out;
	}
	if (!S_ISDIR(st->st_mode))
		(void)px_err_set_errno(err, PX_STORAGE, ENOTDIR, "cannot use the folder '%s'", folder);
	else if (theirs.last.failed || (theirs.last.len > 0 && (theirs.owner == 0 || theirs.owner != st->st_uid)))
		(void)px_err_set(err, PX_STORAGE, "cannot use the folder '%s': the link '%s' on its way is neither root's nor the "
		    "folder's owner's", folder, px_buf_text(&theirs.last));
	else
		rc = 0;
out:
	if (rc == -1)
		err->code = PX_STORAGE;
	px_buf_clear(&theirs.last);
	end_walk(&walk);
	return rc;
}

int
px_sys_become_owner(const char *folder, bool *changed, struct px_err *err)
{
	struct stat st;

	*changed = false;
	if (geteuid() != 0)
		return 0;
	if (look_at_folder(folder, &st, err) == -1)
		return -1;
	if (st.st_uid == 0)
		return 0;
	if (become(st.st_uid, st.st_gid != 0 ? st.st_gid : group_of(st.st_uid), err) == -1)
		return -1;
	*changed = true;
	return 0;
}
