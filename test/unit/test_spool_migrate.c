/* SPDX-License-Identifier: MIT */
/*
 * From one version of the spool to another, killed at each call that SQLite makes for a file, or refused there: what is left
 * is the old spool or the new one, whole. The steps here are the test's own, since the first version has none.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "spool_db.h"
#include "spool_folder.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))
#define EVENTS 3
#define NEWEST 3
#define LAYERS_MAX 4
#define MOST_CALLS 1000

static const struct px_spool_birth birth = { .id = "11111111-1111-4111-8111-111111111111", .max_bytes = 1 << 20 };

static const struct spool_step steps[] = {
	{ 1, "CREATE TABLE extra(key INTEGER PRIMARY KEY,topic); INSERT INTO extra SELECT key, topic FROM item" },
	{ 2, "ALTER TABLE mark ADD COLUMN note; UPDATE extra SET topic = topic || '!'" },
};

/* ---- SQLite's file layer, in which the ${fault_at}th call kills or fails. It is the default of a process of its own. */

static int fault_at;
static bool fault_kills;
static int calls;

static bool
fails(void)
{
	if (++calls != fault_at)
		return false;
	if (fault_kills)
		(void)raise(SIGKILL);
	return true;
}

static sqlite3_vfs *system_vfs;
static sqlite3_vfs faulty_vfs;
static struct layer {
	const sqlite3_io_methods *system;
	sqlite3_io_methods ours;
} layers[LAYERS_MAX];

static const sqlite3_io_methods *
system_of(const sqlite3_file *file)
{
	const struct layer *layer = layers;

	/* px-status has a copy of its own in front. Locking, which is not replaced, tells them apart. */
	while (layer->system != NULL && layer->system->xLock != file->pMethods->xLock)
		layer++;
	return layer->system;
}

static int
faulty_write(sqlite3_file *file, const void *bytes, int len, sqlite3_int64 at)
{
	return fails() ? SQLITE_FULL : system_of(file)->xWrite(file, bytes, len, at);
}

static int
faulty_truncate(sqlite3_file *file, sqlite3_int64 len)
{
	return fails() ? SQLITE_IOERR_TRUNCATE : system_of(file)->xTruncate(file, len);
}

static int
faulty_sync(sqlite3_file *file, int flags)
{
	return fails() ? SQLITE_IOERR_FSYNC : system_of(file)->xSync(file, flags);
}

static int
faulty_map(sqlite3_file *file, int number, int size, int extends, void volatile **out)
{
	return fails() ? SQLITE_IOERR_SHMMAP : system_of(file)->xShmMap(file, number, size, extends, out);
}

static int
faulty_open(sqlite3_vfs *vfs, const char *name, sqlite3_file *file, int flags, int *given)
{
	struct layer *layer = layers;
	int result;

	(void)vfs;
	file->pMethods = NULL;
	if (fails())
		return SQLITE_CANTOPEN;
	result = system_vfs->xOpen(system_vfs, name, file, flags, given);
	if (result != SQLITE_OK || file->pMethods == NULL)
		return result;
	while (layer->system != NULL && layer->system != file->pMethods)
		if (++layer == layers + LAYERS_MAX)
			abort();
	if (layer->system == NULL) {
		layer->system = file->pMethods;
		layer->ours = *layer->system;
		layer->ours.xWrite = faulty_write;
		layer->ours.xTruncate = faulty_truncate;
		layer->ours.xSync = faulty_sync;
		if (layer->ours.xShmMap != NULL)
			layer->ours.xShmMap = faulty_map;
	}
	file->pMethods = &layer->ours;
	return result;
}

static void
take_over(int at, bool kills)
{
	fault_at = at;
	fault_kills = kills;
	system_vfs = sqlite3_vfs_find(NULL);
	faulty_vfs = *system_vfs;
	faulty_vfs.zName = "faulty";
	faulty_vfs.pNext = NULL;
	faulty_vfs.xOpen = faulty_open;
	if (sqlite3_vfs_register(&faulty_vfs, 1) != SQLITE_OK)
		_exit(9);
}

/* ---- What a process of its own does; it ends with 0, or with 1 and what failed. */

static int
make_spool(struct px_err *err)
{
	const struct px_spool_limits limits = { 1000, 1 << 20 };
	struct px_spool *spool = NULL;
	int rc = px_spool_create(path, &birth, err);

	for (unsigned i = 1; i <= EVENTS && rc == 0; i++) {
		struct px_item item = { .kind = PX_EVENT, .time_ms = i, .topic = px_slice("cpu"), .body = px_slice("{\"a\":1}") };

		(void)snprintf(item.id, sizeof(item.id), "%08x-0000-7000-8000-%012x", i, i);
		rc = px_spool_open(&spool, path, PX_SPOOL_RECORD, 1000, err);
		if (rc == 0)
			rc = px_spool_put(spool, &item, &limits, NULL, err);
		px_spool_close(spool);
	}
	return rc;
}

static int
migrate(struct px_err *err)
{
	struct px_spool *spool = NULL;
	int rc = px_spool_open(&spool, path, PX_SPOOL_FLUSH, 1000, err);

	if (rc == 0)
		rc = px_db_migrate(spool, steps, COUNT(steps), NEWEST, err);
	px_spool_close(spool);
	return rc;
}

/* Returns how it ended, as wait(2) has it. */
static int
in_a_process(int (*work)(struct px_err *err), int at, bool kills)
{
	pid_t child = fork();
	int status;

	assert_int_not_equal(child, -1);
	if (child == 0) {
		struct px_err err = { .code = PX_OK };

		if (at > 0)
			take_over(at, kills);
		if (work(&err) == -1)
			_exit(1);
		_exit(at > calls || at == 0 ? 0 : 2);		/* 2: in spite of the fault */
	}
	assert_int_equal(waitpid(child, &status, 0), child);
	return status;
}

/* ---- What must hold. */

static int
number(sqlite3 *db, const char *sql)
{
	sqlite3_stmt *row = NULL;
	int result;

	if (sqlite3_prepare_v2(db, sql, -1, &row, NULL) != SQLITE_OK || sqlite3_step(row) != SQLITE_ROW)
		fail_msg("%s: %s", sql, sqlite3_errmsg(db));
	result = sqlite3_column_int(row, 0);
	(void)sqlite3_finalize(row);
	return result;
}

/* Returns the version. */
static int
check(void)
{
	sqlite3 *db = NULL;
	int version;
	bool is_new;

	assert_int_equal(sqlite3_open_v2(path, &db, SQLITE_OPEN_READWRITE, NULL), SQLITE_OK);
	version = number(db, "PRAGMA user_version");
	is_new = version == NEWEST;
	assert_true(version == 1 || is_new);
	assert_int_equal(number(db, "SELECT integrity_check = 'ok' FROM pragma_integrity_check"), 1);
	assert_int_equal(number(db, "SELECT count(*) FROM item"), EVENTS);
	assert_int_equal(number(db, "SELECT recorded FROM counters"), EVENTS);
	assert_int_equal(number(db, "SELECT count(*) FROM sqlite_master WHERE name = 'extra'"), is_new);
	assert_int_equal(number(db, "SELECT count(*) FROM pragma_table_info('mark') WHERE name = 'note'"), is_new);
	if (is_new)
		assert_int_equal(number(db, "SELECT count(*) FROM extra WHERE topic = 'cpu!'"), EVENTS);
	assert_int_equal(sqlite3_close(db), SQLITE_OK);
	return version;
}

static void
try_all(bool kills)
{
	int at = 1;
	int status;

	do {
		assert_int_equal(renew_spool_folder(NULL), 0);
		assert_int_equal(in_a_process(make_spool, 0, false), 0);
		status = in_a_process(migrate, at, kills);
		if (kills && WIFSIGNALED(status) && WTERMSIG(status) != SIGKILL)
			fail_msg("at call %d it ended by signal %d", at, WTERMSIG(status));
		if (WIFEXITED(status) && WEXITSTATUS(status) != 1)
			assert_int_equal(check(), NEWEST);
		else if (check() != NEWEST)
			assert_int_equal(in_a_process(migrate, 0, false), 0);
		assert_int_equal(check(), NEWEST);
		at++;
	} while (!(WIFEXITED(status) && WEXITSTATUS(status) == 0) && at < MOST_CALLS);
	/* It came to the migration's own writing and syncing. */
	assert_in_range(at, 6, MOST_CALLS - 1);
}

static void
test_killed(void **state)
{
	(void)state;
	try_all(true);
}

static void
test_refused(void **state)
{
	(void)state;
	try_all(false);
}

static int
migrate_nowhere(struct px_err *err)
{
	struct px_spool *spool = NULL;
	int rc;

	if (px_spool_open(&spool, path, PX_SPOOL_FLUSH, 1000, err) == -1)
		return -1;
	rc = px_db_migrate(spool, steps, 1, NEWEST, err) == -1 && err->code == PX_CORRUPT ? 0 : -1;
	px_spool_close(spool);
	return rc;
}

/* A step is missing: nothing is done. */
static void
test_a_missing_step(void **state)
{
	(void)state;
	assert_int_equal(in_a_process(make_spool, 0, false), 0);
	assert_int_equal(in_a_process(migrate_nowhere, 0, false), 0);
	assert_int_equal(check(), 1);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_killed, make_spool_folder, remove_spool_folder),
		cmocka_unit_test_setup_teardown(test_refused, make_spool_folder, remove_spool_folder),
		cmocka_unit_test_setup_teardown(test_a_missing_step, make_spool_folder, remove_spool_folder),
	};

	return cmocka_run_group_tests_name("spool_migrate", tests, NULL, NULL);
}
