/* SPDX-License-Identifier: MIT */
/*
 * Rows of a spool as somebody else may have written them. The input is a list of values, each with the table, row and
 * column that it goes to; then everything that is done with a spool is done. It may be found malformed; it never comes to
 * harm, and what is told of an item keeps its bounds.
 */
#include <fcntl.h>
#include <limits.h>
#include <sqlite3.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "log.h"
#include "spool.h"

#define ROWS 3

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len);

static const char *const columns[] = {
	"UPDATE item SET id = ?1 WHERE key = ?2", "UPDATE item SET time_ms = ?1 WHERE key = ?2",
	"UPDATE item SET topic = ?1 WHERE key = ?2", "UPDATE item SET body = ?1 WHERE key = ?2",
	"UPDATE OR IGNORE item SET key = ?1 WHERE key = ?2", "DELETE FROM item WHERE key = ?2 AND ?1 IS NOT NULL",
	"INSERT OR REPLACE INTO mark VALUES (?2, ?1, NULL, NULL)", "INSERT OR REPLACE INTO mark VALUES (?2, 1, ?1, NULL)",
	"INSERT OR REPLACE INTO mark VALUES (?2, 1, NULL, ?1)", "INSERT OR REPLACE INTO mark VALUES (?1, 1, NULL, 'why')",
	"UPDATE counters SET recorded = ?1", "UPDATE counters SET acknowledged = ?1", "UPDATE counters SET quarantined = ?1",
	"UPDATE counters SET dropped = ?1", "UPDATE counters SET lost_events = ?1", "UPDATE counters SET max_bytes = ?1",
	"UPDATE spool SET id = ?1", "UPDATE spool SET device_id = ?1", "UPDATE spool SET last_quarantined_id = ?1",
	"UPDATE spool SET last_quarantined_reason = ?1", "UPDATE spool SET replaces_id = ?1", "UPDATE spool SET failed_runs = ?1",
	"UPDATE spool SET batch_limit = ?1", "UPDATE spool SET stuck_seq = ?1", "UPDATE spool SET stuck_runs = ?1",
	"UPDATE spool SET last_failure_reason = ?1", "INSERT OR REPLACE INTO timer VALUES (0, ?1, 1, '', 1)",
	"INSERT OR REPLACE INTO timer VALUES (1, 1, ?1, '', 1)", "INSERT OR REPLACE INTO timer VALUES (0, 1, 1, ?1, 1)",
	"INSERT OR REPLACE INTO timer VALUES (2, 1, 1, '', ?1)", "INSERT INTO run VALUES (NULL, ?1, 1, 1, NULL)",
	"INSERT INTO run VALUES (NULL, 1, 1, ?1, NULL)", "INSERT INTO run VALUES (NULL, 1, 1, 1, ?1)",
	"INSERT OR IGNORE INTO taken VALUES (?1)",
};

static char folder[64];
static char path[128];
static const int64_t keys[ROWS] = { 1, (INT64_C(1) << 48) + 2, (INT64_C(1) << 48) + 3 };
static const char *const suffixes[] = { "", "-wal", "-shm", "-reserve", "-damaged", "-journal" };
static const struct px_spool_birth birth = { .id = "11111111-1111-4111-8111-111111111111" };
static const struct px_spool_limits limits = { 100, 4 << 20 };

static void
expect(bool holds)
{
	if (!holds)
		abort();
}

static void
remove_files(void)
{
	char name[PATH_MAX];

	for (size_t i = 0; i < sizeof(suffixes) / sizeof(suffixes[0]); i++) {
		(void)snprintf(name, sizeof(name), "%s%s", path, suffixes[i]);
		(void)unlink(name);
	}
}

static void
remove_folder(void)
{
	remove_files();
	(void)rmdir(folder);
}

static void
make_folder(void)
{
	if (folder[0] != '\0')
		return;
	px_log_open("fuzz_spool", PX_LOG_STDERR, PX_ERROR - 1);
	(void)snprintf(folder, sizeof(folder), "%s/px-fuzz-XXXXXX", access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp");
	expect(mkdtemp(folder) != NULL && atexit(remove_folder) == 0);
	(void)snprintf(path, sizeof(path), "%s/spool.db", folder);
}

/* The spool that every input begins with, made once. */
static struct {
	char bytes[65536];
	size_t len;
} first;

static void
put_first(void)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

	expect(fd != -1 && write(fd, first.bytes, first.len) == (ssize_t)first.len && close(fd) == 0);
}

static void
make_first(void)
{
	struct px_spool *spool = NULL;
	struct px_err err;
	ssize_t got = 0;
	int fd;

	expect(px_spool_create(path, &birth, &err) == 0);
	expect(px_spool_open(&spool, path, PX_SPOOL_RECORD, 1000, &err) == 0);
	for (int i = 0; i < ROWS; i++) {
		struct px_item item = { .kind = i == 0 ? PX_SNAPSHOT : PX_EVENT, .time_ms = 1000 + i, .topic = px_slice("cpu"),
			.body = px_slice("\"time\":\"2026-11-22T14:55:47.123Z\"}") };

		(void)snprintf(item.id, sizeof(item.id), "01939f1e-0000-7000-8000-%012x", (unsigned)i);
		expect(px_spool_put(spool, &item, &limits, NULL, &err) == 0);
	}
	px_spool_close(spool);
	expect(px_spool_open(&spool, path, PX_SPOOL_FLUSH, 1000, &err) == 0);
	px_spool_tidy(spool, &limits);		/* empties the log: all of it stands in the file */
	px_spool_close(spool);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	expect(fd != -1 && (got = read(fd, first.bytes, sizeof(first.bytes))) > 0 && close(fd) == 0);
	first.len = (size_t)got;
}

/* A value as SQLite may hold one; how many bytes of the input it took. */
static size_t
bind_value(sqlite3_stmt *statement, unsigned type, const uint8_t *bytes, size_t len)
{
	size_t taken = len < 8 ? len : 8;
	int64_t number = 0;
	size_t length;

	memcpy(&number, bytes, taken);
	switch (type % 5) {
	case 0:
		(void)sqlite3_bind_int64(statement, 1, number);
		return taken;
	case 1:
		(void)sqlite3_bind_int64(statement, 1, number % 5);
		return len > 0;
	case 2:
		(void)sqlite3_bind_double(statement, 1, (double)number / 3);
		return taken;
	default:
		length = len > 0 ? bytes[0] : 0;
		length = length < len ? length : len;
		if (type % 5 == 3)
			(void)sqlite3_bind_text64(statement, 1, (const char *)bytes, length, SQLITE_TRANSIENT, SQLITE_UTF8);
		else
			(void)sqlite3_bind_blob64(statement, 1, bytes, length, SQLITE_TRANSIENT);
		return length;
	}
}

static void
write_rows(const uint8_t *bytes, size_t len)
{
	sqlite3 *db = NULL;

	expect(sqlite3_open(path, &db) == SQLITE_OK);
	(void)sqlite3_exec(db, "PRAGMA synchronous=OFF; BEGIN", NULL, NULL, NULL);
	while (len >= 2) {
		sqlite3_stmt *statement = NULL;
		size_t taken;

		expect(sqlite3_prepare_v2(db, columns[bytes[0] % (sizeof(columns) / sizeof(columns[0]))], -1, &statement,
		    NULL) == SQLITE_OK);
		taken = bind_value(statement, bytes[1] / ROWS, bytes + 2, len - 2);
		(void)sqlite3_bind_int64(statement, 2, keys[bytes[1] % ROWS]);
		(void)sqlite3_step(statement);
		(void)sqlite3_finalize(statement);
		bytes += 2 + taken;
		len -= 2 + taken;
	}
	(void)sqlite3_exec(db, "COMMIT", NULL, NULL, NULL);
	(void)sqlite3_close(db);
}

static bool
look_at_item(void *arg, const struct px_spool_item *found)
{
	int *left = arg;

	expect(px_id_is_valid(px_slice(found->item.id)) && found->item.seq > 0);
	expect(found->item.kind == PX_EVENT || found->item.kind == PX_SNAPSHOT);
	expect(found->quarantined == (found->reason != NULL));
	return --*left > 0;
}

static void
look_at_run(void *arg, const struct px_spool_run *run)
{
	++*(int *)arg;
	expect(memchr(run->reason, '\0', sizeof(run->reason)) != NULL);
}

static void
look(struct px_spool *spool)
{
	struct px_spool_history history;
	struct px_spool_facts facts;
	struct px_timer timer;
	struct px_err err = { PX_OK, "" };
	int left = 50;
	int runs = 0;
	int64_t number;
	bool yes;

	if (px_spool_facts(spool, &facts, &err) == -1 || px_spool_each(spool, look_at_item, &left, &err) == -1 ||
	    px_spool_each_pending(spool, INT64_MAX, look_at_item, &left, &err) == -1 ||
	    px_spool_history(spool, &history, &err) == -1 || px_spool_each_run(spool, look_at_run, &runs, &err) == -1 ||
	    px_spool_get_timer(spool, PX_TIMER_RETRY, &timer, &err) == -1 ||
	    px_spool_get_timer(spool, PX_TIMER_PLAIN, &timer, &err) == -1 ||
	    px_spool_oldest_pending_ms(spool, &number, &err) == -1 ||
	    px_spool_pending_since(spool, 0, &number, &err) == -1 || px_spool_has_event(spool, &yes, &err) == -1 ||
	    px_spool_find(spool, "01939f1e-0000", &number, &err) == -1 ||
	    px_spool_is_of(spool, px_slice("x"), px_slice(""), &yes, &err) == -1)
		expect(err.code != PX_OK && err.text[0] != '\0');
	expect(runs <= PX_RUNS_KEPT + 200);
}

static void
change(struct px_spool *spool)
{
	const struct px_settled settled[] = { { 1, PX_SNAPSHOT, NULL }, { 2, PX_EVENT, "no good" }, { 3, PX_EVENT, NULL } };
	const struct px_spool_run run = { .time_ms = 1, .reason = "" };
	struct px_spool_history history = { .failed_runs = 0 };
	struct px_item item = { .kind = PX_EVENT, .id = "01939f1e-0000-7000-8000-00000000000f", .time_ms = 1,
	    .topic = px_slice("cpu"),
		.body = px_slice("\"time\":\"\"}") };
	struct px_err err = { PX_OK, "" };

	if (px_spool_defer(spool, 3, &err) == -1 || px_spool_settle(spool, settled, 2, 1, true, &err) == -1 ||
	    px_spool_retry(spool, 2, NULL, &err) == -1 || px_spool_drop(spool, 2, &err) == -1 ||
	    px_spool_put(spool, &item, &limits, NULL, &err) == -1 ||
	    px_spool_take_in(spool, &item, "name", 3, &limits, &err) == -1 || px_spool_add_run(spool, &run, &history, &err) == -1 ||
	    px_spool_settle(spool, settled, 3, 1, false, &err) == -1)
		expect(err.code != PX_OK && err.text[0] != '\0');
}

int
LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
	struct px_spool *spool = NULL;
	struct px_err err = { PX_OK, "" };

	make_folder();
	remove_files();
	if (first.len == 0) {
		make_first();
		remove_files();
	}
	put_first();
	write_rows(bytes, len);
	if (px_spool_open(&spool, path, PX_SPOOL_LOOK, 1000, &err) == 0)
		look(spool);
	px_spool_close(spool);
	if (px_spool_open(&spool, path, PX_SPOOL_FLUSH, 1000, &err) == 0)
		change(spool);
	px_spool_close(spool);
	return 0;
}
