/* SPDX-License-Identifier: MIT */
/*
 * The least that a recorder takes whose file is SQLite's: inserts a row of 300 bytes and waits until it is on disk, with no
 * configuration, document, counters or bounds. It empties a long log, as a recorder does.
 */
#include <sqlite3.h>
#include <stdio.h>

#define LONG_LOG 48	/* frames */

static int
note_frames(void *frames, sqlite3 *db, const char *name, int count)
{
	(void)db;
	(void)name;
	*(int *)frames = count;
	return SQLITE_OK;
}

int
main(int argc, char *argv[])
{
	sqlite3 *db;
	int frames = 0;
	int rc;

	if (argc != 2)
		return 64;
	rc = sqlite3_open_v2(argv[1], &db, SQLITE_OPEN_READWRITE, NULL);
	if (rc != SQLITE_OK)
		goto out;
	(void)sqlite3_db_config(db, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, NULL);
	(void)sqlite3_wal_hook(db, note_frames, &frames);
	rc = sqlite3_exec(db, "PRAGMA locking_mode=EXCLUSIVE; PRAGMA synchronous=FULL; "
	    "INSERT INTO item VALUES (NULL, printf('%.300c', 'x'))", NULL, NULL, NULL);
	if (rc == SQLITE_OK && frames > LONG_LOG)
		rc = sqlite3_wal_checkpoint_v2(db, NULL, SQLITE_CHECKPOINT_TRUNCATE, NULL, NULL);
out:
	if (rc != SQLITE_OK)
		(void)fprintf(stderr, "%s: %s\n", argv[1], sqlite3_errmsg(db));
	(void)sqlite3_close(db);
	return rc == SQLITE_OK ? 0 : 1;
}
