/* SPDX-License-Identifier: MIT */
/*
 * SQLite as this process uses it, and its own file layer, less one sync. Each process that opens the write-ahead log lets SQLite sync the folder with its
 * first commit, in case it has just created the log: a recorder's only commit, so every event would cost two syncs. Where
 * the log already holds something, its name is on disk: px_spool_create put it there, else who wrote first synced the folder
 * in the same commit, and each flush does so once more.
 */
#include <sys/stat.h>

#include "spool_db.h"

static sqlite3_vfs *system_vfs;
static sqlite3_vfs our_vfs;

static int
open_file(sqlite3_vfs *vfs, const char *name, sqlite3_file *file, int flags, int *given_flags)
{
	struct stat status;

	(void)vfs;
	if ((flags & SQLITE_OPEN_WAL) != 0 && name != NULL && stat(name, &status) == 0 && status.st_size > 0)
		flags &= ~SQLITE_OPEN_CREATE;
	return system_vfs->xOpen(system_vfs, name, file, flags, given_flags);
}

/*
 * No thread of ours shares SQLite, nobody asks how much memory it has, and most connections live for one insert: locks,
 * accounts and memory taken in advance are work at the start of each recorder (SQLite, "Configuration Options").
 * Where SQLite runs already, it stays as it is.
 */
static void
configure(void)
{
	(void)sqlite3_config(SQLITE_CONFIG_SINGLETHREAD);
	(void)sqlite3_config(SQLITE_CONFIG_MEMSTATUS, 0);
	(void)sqlite3_config(SQLITE_CONFIG_PAGECACHE, (void *)NULL, 0, 0);
	(void)sqlite3_config(SQLITE_CONFIG_LOOKASIDE, 0, 0);
}

const char *
px_db_vfs(void)
{
	if (system_vfs == NULL)
		configure();
	if (system_vfs == NULL && (system_vfs = sqlite3_vfs_find(NULL)) != NULL) {
		our_vfs = *system_vfs;
		our_vfs.zName = "px-status";
		our_vfs.pNext = NULL;
		our_vfs.xOpen = open_file;
		if (sqlite3_vfs_register(&our_vfs, 0) != SQLITE_OK)
			system_vfs = NULL;
	}
	return system_vfs != NULL ? our_vfs.zName : NULL;
}
