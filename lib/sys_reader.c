/* SPDX-License-Identifier: MIT */
#include "sys.h"

#include <errno.h>
#include <grp.h>
#include <pwd.h>
#include <sys/wait.h>
#include <unistd.h>

enum answer { MAY_READ, MAY_NOT_READ, UNKNOWN };

/* In a child, which gives root away for good. */
static enum answer
ask_as(uid_t uid, gid_t gid, const char *path)
{
	const struct passwd *user = getpwuid(uid);
	int rc = user != NULL ? initgroups(user->pw_name, user->pw_gid) : setgroups(0, NULL);

	if (user != NULL)
		gid = user->pw_gid;
	if (rc == -1 || setresgid(gid, gid, gid) == -1 || setresuid(uid, uid, uid) == -1)
		return UNKNOWN;
	return access(path, R_OK) == 0 ? MAY_READ : MAY_NOT_READ;
}

int
px_sys_may_read(uid_t uid, gid_t gid, const char *path, bool *may, struct px_err *err)
{
	pid_t child = fork();
	int status;

	if (child == -1)
		return px_err_set_errno(err, PX_BUG, errno, "cannot start a process");
	if (child == 0)
		_exit((int)ask_as(uid, gid, path));
	while (waitpid(child, &status, 0) == -1)
		if (errno != EINTR)
			return px_err_set_errno(err, PX_BUG, errno, "cannot wait for a process");
	if (!WIFEXITED(status) || WEXITSTATUS(status) == UNKNOWN)
		return px_err_set(err, PX_BUG, "cannot become uid %ju, gid %ju", (uintmax_t)uid, (uintmax_t)gid);
	*may = WEXITSTATUS(status) == MAY_READ;
	return 0;
}
