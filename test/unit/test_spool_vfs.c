/* SPDX-License-Identifier: MIT */
/*
 * What a flush has the system do as it settles batch after batch, what becomes of a batch whose writing fails, and what who
 * is killed as it writes leaves behind.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "spool_db.h"
#include "spool_folder.h"

#define EVENTS 2000
#define BATCH 100
#define BODY 300
#define MISSING 1000		/* bytes; less than a page */

static const struct px_spool_limits limits = { 100000, 256 << 20 };
/* With a reserve: without one the log is kept short. */
static const struct px_spool_birth birth = { .id = "00000000-0000-4000-8000-000000000001", .max_bytes = INT64_C(64) << 20 };

/* ---- A file layer below px-status's that counts, and fails when it is told to. */

static struct calls {
	int writes;
	int syncs;
} calls;

static bool is_full;
static int killed_at;		/* of that write the end is missing; 0: none */
static sqlite3_vfs *system_vfs;
static sqlite3_vfs counting_vfs;
static const sqlite3_io_methods *system_methods;
static sqlite3_io_methods counting_methods;

static int
count_write(sqlite3_file *file, const void *bytes, int len, sqlite3_int64 at)
{
	if (++calls.writes == killed_at) {
		(void)system_methods->xWrite(file, bytes, len > MISSING ? len - MISSING : 0, at);
		(void)raise(SIGSTOP);	/* and is killed */
	}
	return is_full ? SQLITE_FULL : system_methods->xWrite(file, bytes, len, at);
}

static int
count_sync(sqlite3_file *file, int flags)
{
	calls.syncs++;
	return system_methods->xSync(file, flags);
}

static int
open_counted(sqlite3_vfs *vfs, const char *name, sqlite3_file *file, int flags, int *given)
{
	int result = system_vfs->xOpen(system_vfs, name, file, flags, given);

	(void)vfs;
	if (result != SQLITE_OK || (flags & SQLITE_OPEN_WAL) == 0)
		return result;
	if (system_methods == NULL) {
		system_methods = file->pMethods;
		counting_methods = *system_methods;
		counting_methods.xWrite = count_write;
		counting_methods.xSync = count_sync;
	}
	file->pMethods = &counting_methods;
	return result;
}

static int
set_up_all(void **state)
{
	(void)state;
	system_vfs = sqlite3_vfs_find(NULL);
	counting_vfs = *system_vfs;
	counting_vfs.zName = "counting";
	counting_vfs.pNext = NULL;
	counting_vfs.xOpen = open_counted;
	return sqlite3_vfs_register(&counting_vfs, 1) == SQLITE_OK ? 0 : -1;
}

/* ---- A spool with events in it. */

static void
put_events(struct px_spool *spool, unsigned count)
{
	static unsigned last;
	const unsigned end = last + count;

	while (last < end) {
		unsigned i = ++last;
		char body[BODY + 1];
		struct px_item item = { .kind = PX_EVENT, .time_ms = i, .topic = px_slice("cpu") };
		struct px_err err;

		(void)snprintf(body, sizeof(body), "{\"a\":\"%0*u\"}", BODY - (int)strlen("{\"a\":\"\"}"), i);
		item.body = px_slice(body);
		(void)snprintf(item.id, sizeof(item.id), "%08x-0000-7000-8000-%012x", i, i);
		if (px_spool_put(spool, &item, &limits, NULL, &err) == -1)
			fail_msg("%s", err.text);
	}
}

static int
set_up(void **state)
{
	struct px_spool *spool;
	struct px_err err;

	if (make_spool_folder(state) != 0)
		return -1;
	if (px_spool_create(path, &birth, &err) == -1 || px_spool_open(&spool, path, PX_SPOOL_FLUSH, 1000, &err) == -1)
		return -1;
	*state = spool;
	return 0;
}

static int
tear_down(void **state)
{
	px_spool_close(*state);
	return remove_spool_folder(state);
}

static int
settle(struct px_spool *spool, int64_t first, struct px_err *err)
{
	struct px_settled settled[BATCH];

	for (int i = 0; i < BATCH; i++)
		settled[i] = (struct px_settled){ first + i, PX_EVENT, NULL };
	return px_spool_settle(spool, settled, BATCH, 1, false, err);
}

/* As another process finds it. */
static int64_t
pending(void)
{
	struct px_spool *spool;
	struct px_spool_facts facts;
	struct px_err err;

	if (px_spool_open(&spool, path, PX_SPOOL_LOOK, 1000, &err) == -1 || px_spool_facts(spool, &facts, &err) == -1)
		fail_msg("%s", err.text);
	px_spool_close(spool);
	return facts.pending;
}

static bool
count_items(void *arg, const struct px_spool_item *item)
{
	(void)item;
	++*(int *)arg;
	return true;
}

static void
test_batch_after_batch(void **state)
{
	struct px_spool *spool = *state;
	const int batches = EVENTS / BATCH;
	struct px_err err;

	put_events(spool, EVENTS);
	calls = (struct calls){ 0 };
	for (int i = 0; i < batches; i++) {
		if (settle(spool, 1 + (int64_t)i * BATCH, &err) == -1)
			fail_msg("%s", err.text);
		assert_int_equal(pending(), EVENTS - (i + 1) * BATCH);
	}
	/* Each commit is two writes and one sync, and now and then the log is emptied. */
	assert_in_range(calls.writes, 2 * batches, 2 * batches + batches / 2);
	assert_in_range(calls.syncs, batches, 2 * batches);
}

static void
test_a_batch_that_is_not_written(void **state)
{
	struct px_spool *spool = *state;
	struct px_err err;
	int count = 0;

	put_events(spool, 2 * BATCH);
	is_full = true;
	assert_int_equal(settle(spool, 1, &err), -1);
	is_full = false;
	assert_int_equal(pending(), 2 * BATCH);
	assert_int_equal(px_spool_each(spool, count_items, &count, &err), 0);
	assert_int_equal(count, 2 * BATCH);

	assert_int_equal(settle(spool, 1, &err), 0);
	assert_int_equal(pending(), BATCH);
	assert_int_equal(px_spool_check_count(spool, &err), 0);
}

/* After some 25 the log is emptied and keeps its length, so that frames are written over what is left over in it. */
static int
record(int count)
{
	for (int i = 0; i < count; i++) {
		struct px_spool *spool;
		struct px_err err;

		if (px_spool_open(&spool, path, PX_SPOOL_RECORD, 1000, &err) == -1)
			fail_msg("%s", err.text);
		put_events(spool, 1);
		px_spool_close(spool);
	}
	return 0;
}

static int
set_up_empty(void **state)
{
	struct px_err err;

	return make_spool_folder_in_memory(state) == 0 ? px_spool_create(path, &birth, &err) : -1;
}

/* Nobody takes its log for a damaged one, for which a spool would be made anew. */
static void
test_killed_at_each_write(void **state)
{
	static const int befores[] = { 43, 40 };	/* the next one goes on in the log, or begins it anew */
	int recorded = 0;

	(void)state;
	for (size_t i = 0; i < sizeof(befores) / sizeof(befores[0]); i++) {
		int status = -1;
		int at = 0;

		while (status != 0) {
			struct px_spool *spool;
			struct px_spool_facts facts;
			struct px_err err;
			pid_t child;

			record(befores[i]);
			recorded += befores[i];
			at++;
			child = fork();
			assert_true(child >= 0);
			if (child == 0) {
				calls.writes = 0;
				killed_at = at;
				_exit(record(1));
			}
			assert_int_equal(waitpid(child, &status, WUNTRACED), child);
			assert_true(status == 0 || WIFSTOPPED(status));
			if (status != 0) {
				assert_int_equal(kill(child, SIGKILL), 0);
				assert_int_equal(waitpid(child, NULL, 0), child);
			}
			if (px_spool_open(&spool, path, PX_SPOOL_FLUSH, 1000, &err) == -1 || px_spool_facts(spool, &facts, &err) == -1)
				fail_msg("%d recorders and write %d: %s", befores[i], at, err.text);
			px_spool_close(spool);
			recorded += facts.recorded > recorded;
			assert_int_equal(facts.recorded, recorded);
			assert_int_equal(facts.pending, recorded);
		}
		assert_true(at > 2);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_batch_after_batch, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_a_batch_that_is_not_written, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_killed_at_each_write, set_up_empty, remove_spool_folder),
	};

	return cmocka_run_group_tests_name("spool_vfs", tests, set_up_all, NULL);
}
