/* SPDX-License-Identifier: MIT */
/* Making, refusing and renewing a spool's file. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <dirent.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <signal.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "share.h"
#include "spool.h"
#include "spool_folder.h"

#define MIB (INT64_C(1) << 20)
#define PAGE 2048	/* of the database, in bytes */
#define WIDE ((struct px_spool_limits){ 100000, 256 * MIB })

static struct px_err err;

static const struct px_spool_birth birth = { .id = "11111111-1111-4111-8111-111111111111", .device_id = { "device", 6 },
	.machine_hash = { "0123456789abcdef", 16 } };
static const struct px_spool_birth second = { .id = "22222222-2222-4222-8222-222222222222", .device_id = { "device2", 7 } };
static const struct px_now now = { .wall_ms = 1795359347000 };	/* 2026-11-22T14:55:47Z */

#define OK(call) \
	do { \
		if ((call) == -1) \
			fail_msg("%s: %s", #call, err.text); \
	} while (0)

static void
write_bytes(const char *name, const void *bytes, size_t len, off_t at)
{
	int fd = open(name, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);

	assert_int_not_equal(fd, -1);
	assert_int_equal(pwrite(fd, bytes, len, at), len);
	assert_int_equal(close(fd), 0);
}

static off_t
size_of(const char *name)
{
	struct stat status;

	return lstat(name, &status) == 0 ? status.st_size : -1;
}

/* Files of the folder whose names have ${part} in them. */
static int
count_files(const char *part)
{
	DIR *listing = opendir(folder);
	const struct dirent *entry;
	int count = 0;

	assert_non_null(listing);
	while ((entry = readdir(listing)) != NULL)
		count += entry->d_name[0] != '.' && strstr(entry->d_name, part) != NULL;
	(void)closedir(listing);
	return count;
}

static int
run_sql(const char *sql)
{
	sqlite3 *db;
	int rc;

	assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
	rc = sqlite3_exec(db, sql, NULL, NULL, NULL);
	(void)sqlite3_close(db);
	return rc;
}

static void
make_item(struct px_item *item, enum px_kind kind, unsigned number, struct px_slice body)
{
	*item = (struct px_item){ .kind = kind, .time_ms = 1000 + number, .topic = px_slice("cpu"), .body = body };
	(void)snprintf(item->id, sizeof(item->id), "%08x-0000-7000-8000-%012x", number, number);
}

/* Fills the spool with ${count} items, a snapshot every tenth, each with ${bytes}; the first three leave at once. */
static void
fill(unsigned count, size_t bytes)
{
	struct px_settled settled[] = { { 1, PX_EVENT, NULL }, { 2, PX_EVENT, NULL }, { 3, PX_EVENT, NULL },
	    { 4, PX_EVENT, "bad" } };
	struct px_spool *spool = NULL;
	char *body = malloc(bytes);
	struct px_item item;

	assert_non_null(body);
	memset(body, ' ', bytes);
	body[0] = '{';
	body[bytes - 1] = '}';
	OK(px_spool_open(&spool, path, PX_SPOOL_FLUSH, 1000, &err));
	for (unsigned i = 1; i <= count; i++) {
		make_item(&item, i % 10 == 0 ? PX_SNAPSHOT : PX_EVENT, i, (struct px_slice){ body, bytes });
		OK(px_spool_put(spool, &item, &WIDE, NULL, &err));
	}
	OK(px_spool_settle(spool, settled, 4, 5, false, &err));
	px_spool_close(spool);
	free(body);
}

static void
test_create(void **state)
{
	struct px_spool *spool = NULL;
	struct px_spool_facts facts;
	struct stat status;
	unsigned char header[100];
	mode_t mask;
	FILE *file;

	(void)state;
	assert_int_equal(px_spool_open(&spool, path, PX_SPOOL_RECORD, 100, &err), -1);
	assert_int_equal(err.code, PX_ABSENT);
	assert_null(spool);
	mask = umask(0777);
	OK(px_spool_create(path, &birth, &err));
	(void)umask(mask);
	assert_int_equal(stat(path, &status), 0);
	assert_int_equal(status.st_mode & 07777, 0600);
	assert_int_equal(status.st_nlink, 1);
	assert_int_equal(count_files(""), 2);		/* with its log */
	OK(px_spool_create(path, &second, &err));	/* another one was faster */
	assert_int_equal(count_files(""), 2);
	OK(px_spool_open(&spool, path, PX_SPOOL_LOOK, 100, &err));
	OK(px_spool_facts(spool, &facts, &err));
	assert_string_equal(facts.id, birth.id);
	assert_string_equal(facts.replaces_id, "");
	assert_int_equal(facts.recorded, 0);
	px_spool_close(spool);

	file = fopen(path, "r");
	assert_non_null(file);
	assert_int_equal(fread(header, 1, sizeof(header), file), sizeof(header));
	(void)fclose(file);
	assert_int_equal(header[18], 2);	/* a write-ahead log */
	assert_int_equal(header[67], 1);	/* incremental vacuum */
	assert_memory_equal(header + 68, "pxst", 4);
}

static void
test_create_nowhere(void **state)
{
	char name[300];

	(void)state;
	(void)snprintf(name, sizeof(name), "%s/absent/spool.db", folder);
	assert_int_equal(px_spool_create(name, &birth, &err), -1);
	assert_int_equal(err.code, PX_STORAGE);
	(void)snprintf(name, sizeof(name), "%s/", folder);
	assert_int_equal(px_spool_create(name, &birth, &err), -1);
	assert_int_equal(err.code, PX_STORAGE);
	assert_int_equal(count_files(""), 0);
}

/* A log that a removed spool left must not be applied to the new one. */
static void
test_orphan_log(void **state)
{
	struct px_spool *spool = NULL;
	struct px_spool_facts facts;

	(void)state;
	OK(px_spool_create(path, &birth, &err));
	fill(8, 300);
	assert_true(size_of(beside("-wal")) > 0);
	assert_int_equal(unlink(path), 0);
	OK(px_spool_create(path, &second, &err));
	OK(px_spool_open(&spool, path, PX_SPOOL_RECORD, 100, &err));
	OK(px_spool_facts(spool, &facts, &err));
	assert_string_equal(facts.id, second.id);
	assert_int_equal(facts.recorded, 0);
	px_spool_close(spool);
}

static void
make_folder(void)
{
	assert_int_equal(mkdir(path, 0700), 0);
}

static void
make_fifo(void)
{
	assert_int_equal(mkfifo(path, 0600), 0);
}

static void
make_link(void)
{
	char target[256];

	(void)snprintf(target, sizeof(target), "%s/real.db", folder);
	OK(px_spool_create(target, &birth, &err));
	assert_int_equal(symlink("real.db", path), 0);
}

static void
make_link_to_itself(void)
{
	assert_int_equal(symlink("spool.db", path), 0);
}

static void
make_empty(void)
{
	write_bytes(path, "", 0, 0);
}

static void
make_text(void)
{
	char text[5000];

	memset(text, 'x', sizeof(text));
	write_bytes(path, text, sizeof(text), 0);
}

static void
make_foreign(void)
{
	assert_int_equal(run_sql("CREATE TABLE t(x); INSERT INTO t VALUES (1); PRAGMA user_version=9"), SQLITE_OK);
}

static void
make_foreign_with_our_names(void)
{
	assert_int_equal(run_sql("CREATE TABLE item(key); CREATE TABLE counters(x); PRAGMA application_id=7"), SQLITE_OK);
}

static void
make_newer(void)
{
	OK(px_spool_create(path, &birth, &err));
	assert_int_equal(run_sql("PRAGMA user_version=7"), SQLITE_OK);
}

static void
make_without_table(void)
{
	OK(px_spool_create(path, &birth, &err));
	assert_int_equal(run_sql("DROP TABLE counters"), SQLITE_OK);
}

static void
make_view_for_table(void)
{
	OK(px_spool_create(path, &birth, &err));
	assert_int_equal(run_sql("DROP TABLE counters; CREATE VIEW counters AS SELECT 1 AS one"), SQLITE_OK);
}

static void
make_without_row(void)
{
	OK(px_spool_create(path, &birth, &err));
	assert_int_equal(run_sql("DELETE FROM counters"), SQLITE_OK);
}

static void
make_truncated(void)
{
	OK(px_spool_create(path, &birth, &err));
	assert_int_equal(truncate(path, 8192), 0);
}

static void
make_flipped_application(void)
{
	OK(px_spool_create(path, &birth, &err));
	assert_int_equal(run_sql("PRAGMA application_id=3"), SQLITE_OK);
}

/* What stands where the spool is to be, and how a flush and a recorder take it. PX_OK: as a spool. */
static const struct {
	const char *row;
	void (*make)(void);
	enum px_code opened;
	const char *says;
} hostile[] = {
	{ "folder", make_folder, PX_STORAGE, "Is a directory" },
	{ "FIFO", make_fifo, PX_STORAGE, "no regular file" },
	{ "symbolic link", make_link, PX_STORAGE, "symbolic link" },
	{ "link to itself", make_link_to_itself, PX_STORAGE, "symbolic link" },
	{ "empty file", make_empty, PX_CORRUPT, "nothing in it" },
	{ "text", make_text, PX_CORRUPT, "not a database" },
	{ "another database", make_foreign, PX_STORAGE, "another program" },
	{ "another database with names of ours", make_foreign_with_our_names, PX_STORAGE, "another program" },
	{ "newer", make_newer, PX_STORAGE, "newer px-status (version 7, this one knows 1)" },
	{ "a table less", make_without_table, PX_CORRUPT, "not a whole one" },
	{ "a view for a table", make_view_for_table, PX_CORRUPT, "not a whole one" },
	{ "no row of counters", make_without_row, PX_CORRUPT, "malformed" },
	{ "truncated", make_truncated, PX_CORRUPT, "malformed" },
	{ "ours whatever its application id", make_flipped_application, PX_OK, "" },
};

static void
test_hostile_files(void **state)
{
	for (size_t i = 0; i < sizeof(hostile) / sizeof(hostile[0]); i++) {
		struct px_spool *spool = NULL;
		int rc;

		hostile[i].make();
		err = (struct px_err){ .code = PX_OK };
		rc = px_spool_open(&spool, path, PX_SPOOL_FLUSH, 100, &err);
		if ((rc == 0) != (hostile[i].opened == PX_OK) || err.code != hostile[i].opened ||
		    strstr(err.text, hostile[i].says) == NULL)
			fail_msg("%s: %d, code %d, '%s'", hostile[i].row, rc, (int)err.code, err.text);
		px_spool_close(spool);
		rc = px_spool_open(&spool, path, PX_SPOOL_RECORD, 100, &err);
		if (rc == 0) {
			struct px_item item;

			make_item(&item, PX_EVENT, 1, px_slice("{}"));
			rc = px_spool_put(spool, &item, &WIDE, NULL, &err);
		}
		if ((rc == 0) != (hostile[i].opened == PX_OK) || (rc == -1 && err.code != hostile[i].opened))
			fail_msg("%s: a recorder gets %d, code %d, '%s'", hostile[i].row, rc, (int)err.code, err.text);
		px_spool_close(spool);
		assert_int_equal(renew_spool_folder(state), 0);
	}
}

static bool
count_item(void *arg, const struct px_spool_item *found)
{
	(void)found;
	++*(int *)arg;
	return true;
}

/* A trigger that somebody put into the file does not run. */
static void
test_trigger(void **state)
{
	struct px_spool *spool = NULL;
	struct px_item item;
	int count = 0;

	(void)state;
	OK(px_spool_create(path, &birth, &err));
	assert_int_equal(run_sql("CREATE TRIGGER bad AFTER INSERT ON item BEGIN DELETE FROM item; END"), SQLITE_OK);
	OK(px_spool_open(&spool, path, PX_SPOOL_RECORD, 100, &err));
	make_item(&item, PX_EVENT, 1, px_slice("{}"));
	OK(px_spool_put(spool, &item, &WIDE, NULL, &err));
	OK(px_spool_each(spool, count_item, &count, &err));
	assert_int_equal(count, 1);
	px_spool_close(spool);
}

/* Rows that no px-status writes. */
static const char *const malformed[] = {
	"INSERT INTO item VALUES (281474976710657, x'00', 1, 'cpu', x'7b7d')",
	"INSERT INTO item VALUES (281474976710657, zeroblob(16), 1, 'cpu', x'')",
	"INSERT INTO item VALUES (281474976710657, zeroblob(16), 1, 'cpu', 'text')",
	"INSERT INTO item VALUES (281474976710657, 1.5, 'x', 7, 9)",
	"INSERT INTO item VALUES (281474976710657, zeroblob(16), 1, zeroblob(5000), x'7b7d')",
	"INSERT INTO item VALUES (281474976710657, zeroblob(16), 1, '', '{' || zeroblob(5000000) || '}')",
};

static void
test_malformed_rows(void **state)
{
	for (size_t i = 0; i < sizeof(malformed) / sizeof(malformed[0]); i++) {
		struct px_spool *spool = NULL;
		int count = 0;

		OK(px_spool_create(path, &birth, &err));
		assert_int_equal(run_sql(malformed[i]), SQLITE_OK);
		OK(px_spool_open(&spool, path, PX_SPOOL_FLUSH, 100, &err));
		if (px_spool_each_pending(spool, 0, count_item, &count, &err) != -1 || err.code != PX_CORRUPT)
			fail_msg("%s: taken", malformed[i]);
		px_spool_close(spool);
		/* The next flush hears of it. */
		assert_int_equal(px_spool_open(&spool, path, PX_SPOOL_FLUSH, 100, &err), -1);
		assert_int_equal(err.code, PX_CORRUPT);
		assert_int_equal(renew_spool_folder(state), 0);
	}
}

static void
damage_nothing(void)
{
}

static void
damage_marker(void)
{
	write_bytes(beside("-damaged"), "", 0, 0);
}

static void
damage_leaf(void)
{
	char junk[PAGE];

	memset(junk, 0x5a, sizeof(junk));
	write_bytes(path, junk, sizeof(junk), size_of(path) / 2 / PAGE * PAGE);
}

static void
damage_three_leaves(void)
{
	char junk[PAGE];

	memset(junk, 0, sizeof(junk));
	for (int i = 1; i <= 3; i++)
		write_bytes(path, junk, sizeof(junk), size_of(path) / PAGE * i / 4 * PAGE);
}

static void
damage_tail(void)
{
	assert_int_equal(truncate(path, size_of(path) / 2), 0);
}

static void
damage_header(void)
{
	write_bytes(path, "xxxxxxxxxxxxxxxx", 16, 0);
}

static void
damage_first_page(void)
{
	char junk[PAGE];

	memset(junk, 0, sizeof(junk));
	write_bytes(path, junk, sizeof(junk), 0);
}

static void
damage_everything(void)
{
	make_text();
	assert_int_equal(truncate(path, 5000), 0);
}

/* How a spool of 400 items (397 are left) is hurt, and how many a new one has at least and at most. */
static const struct {
	const char *row;
	void (*damage)(void);
	int at_least;
	int at_most;
	bool knows_old;
} renewals[] = {
	{ "a clone: nothing is lost", damage_nothing, 397, 397, true },
	{ "found damaged by another", damage_marker, 397, 397, true },
	{ "a leaf", damage_leaf, 380, 396, true },
	{ "three leaves", damage_three_leaves, 340, 396, true },
	{ "truncated", damage_tail, 100, 300, true },
	{ "header", damage_header, 397, 397, true },
	{ "first page", damage_first_page, 397, 397, true },
	{ "everything", damage_everything, 0, 0, false },
};

/* Every item once, seq from 1 without gaps, ids in the old order, times and state as they were. */
struct renewed {
	const char *row;
	int64_t seq;
	int64_t number;
	int quarantined;
};

static bool
check_renewed(void *arg, const struct px_spool_item *found)
{
	struct renewed *renewed = arg;
	int64_t number = found->item.time_ms - 1000;

	if (found->item.seq != ++renewed->seq)
		fail_msg("%s: seq %" PRId64 " where %" PRId64 " is next", renewed->row, found->item.seq, renewed->seq);
	if (number <= renewed->number || (found->item.kind == PX_SNAPSHOT) != (number % 10 == 0))
		fail_msg("%s: item %" PRId64 " out of order", renewed->row, number);
	renewed->number = number;
	renewed->quarantined += found->quarantined;
	if (found->quarantined != (number == 4))
		fail_msg("%s: item %" PRId64 " has another state", renewed->row, number);
	return true;
}

static void
check_renewal(size_t i)
{
	struct renewed renewed = { .row = renewals[i].row };
	struct px_spool_facts facts;
	struct px_spool *spool = NULL;
	struct px_item item;
	char aside[PATH_MAX];
	int64_t carried = -1;
	int64_t seq;

	OK(px_spool_create(path, &birth, &err));
	fill(400, 600);
	OK(px_spool_open(&spool, path, PX_SPOOL_FLUSH, 100, &err));
	px_spool_tidy(spool, &WIDE);
	px_spool_close(spool);
	renewals[i].damage();
	OK(px_spool_renew(path, &second, &now, aside, sizeof(aside), &carried, &err));
	if (carried < renewals[i].at_least || carried > renewals[i].at_most)
		fail_msg("%s: %" PRId64 " items carried", renewals[i].row, carried);
	assert_string_equal(aside + strlen(path), ".broken-20261122T145547Z");
	assert_true(size_of(aside) > 0);
	assert_int_equal(count_files("-new-"), 0);
	assert_int_equal(count_files("-damaged"), 0);

	OK(px_spool_open(&spool, path, PX_SPOOL_FLUSH, 100, &err));
	OK(px_spool_each(spool, check_renewed, &renewed, &err));
	assert_int_equal(renewed.seq, carried);
	OK(px_spool_facts(spool, &facts, &err));
	assert_string_equal(facts.id, second.id);
	assert_int_equal(facts.recorded, carried);
	assert_int_equal(facts.quarantined, renewed.quarantined);
	assert_int_equal(facts.pending, carried - renewed.quarantined);
	assert_string_equal(facts.replaces_id, renewals[i].knows_old ? birth.id : "");
	assert_int_equal(facts.replaces_recorded, renewals[i].knows_old ? 400 : 0);
	assert_int_equal(facts.replaces_acknowledged, renewals[i].knows_old ? 3 : 0);
	make_item(&item, PX_EVENT, 1000, px_slice("{}"));
	OK(px_spool_put(spool, &item, &WIDE, NULL, &err));
	assert_int_equal(item.seq, carried + 1);
	seq = item.seq;
	OK(px_spool_settle(spool, &(struct px_settled){ seq, PX_EVENT, NULL }, 1, 6, true, &err));
	OK(px_spool_facts(spool, &facts, &err));
	assert_string_equal(facts.replaces_id, "");
	px_spool_close(spool);
}

static void
test_renew(void **state)
{
	for (size_t i = 0; i < sizeof(renewals) / sizeof(renewals[0]); i++) {
		check_renewal(i);
		assert_int_equal(renew_spool_folder(state), 0);
	}
}

/* A spool that was renewed twice, and what upstream had acknowledged of the one between. */
static const struct {
	const char *row;
	bool acknowledges_item;
	bool is_told;
	const char *replaces;
	int64_t recorded;
	int64_t acknowledged;
} renewed_twice[] = {
	{ "nothing: it knows the first", false, false, "11111111-1111-4111-8111-111111111111", 12, 3 },
	{ "an empty batch: it knows the second", false, true, "22222222-2222-4222-8222-222222222222", 9, 0 },
	{ "an item: it knows the second", true, true, "22222222-2222-4222-8222-222222222222", 9, 1 },
	{ "an item, of which the old counters alone tell: it knows the second", true, false,
	    "22222222-2222-4222-8222-222222222222", 9, 1 },
};

static void
check_renewed_twice(size_t i)
{
	const struct px_spool_birth third = { .id = "33333333-3333-4333-8333-333333333333", .device_id = { "device3", 7 } };
	const struct px_settled settled = { 2, PX_EVENT, NULL };
	struct px_spool_facts facts;
	struct px_spool *spool = NULL;
	char aside[PATH_MAX];
	int64_t carried;

	OK(px_spool_create(path, &birth, &err));
	fill(12, 300);
	OK(px_spool_renew(path, &second, &now, aside, sizeof(aside), &carried, &err));
	OK(px_spool_open(&spool, path, PX_SPOOL_FLUSH, 100, &err));
	OK(px_spool_settle(spool, &settled, renewed_twice[i].acknowledges_item ? 1 : 0, 5, renewed_twice[i].is_told, &err));
	px_spool_close(spool);
	OK(px_spool_renew(path, &third, &now, aside, sizeof(aside), &carried, &err));
	OK(px_spool_open(&spool, path, PX_SPOOL_LOOK, 100, &err));
	OK(px_spool_facts(spool, &facts, &err));
	px_spool_close(spool);
	if (strcmp(facts.replaces_id, renewed_twice[i].replaces) != 0 || facts.replaces_recorded != renewed_twice[i].recorded ||
	    facts.replaces_acknowledged != renewed_twice[i].acknowledged)
		fail_msg("%s: replaces %s, %" PRId64 " recorded, %" PRId64 " acknowledged", renewed_twice[i].row, facts.replaces_id,
		    facts.replaces_recorded, facts.replaces_acknowledged);
}

static void
test_renew_twice(void **state)
{
	for (size_t i = 0; i < sizeof(renewed_twice) / sizeof(renewed_twice[0]); i++) {
		check_renewed_twice(i);
		assert_int_equal(renew_spool_folder(state), 0);
	}
}

/* What is still in the log alone is carried, too, and overflow files stay taken that did come with their items. */
static void
test_renew_with_log(void **state)
{
	struct px_spool *spool = NULL;
	struct px_item item;
	char aside[PATH_MAX];
	int64_t carried = -1;
	int count = 0;

	(void)state;
	OK(px_spool_create(path, &birth, &err));
	fill(12, 300);
	assert_int_equal(run_sql("INSERT INTO taken (name) VALUES ('b.json')"), SQLITE_OK);
	OK(px_spool_open(&spool, path, PX_SPOOL_FLUSH, 100, &err));
	make_item(&item, PX_EVENT, 77, px_slice("{}"));
	OK(px_spool_take_in(spool, &item, "a.json", 0, &WIDE, &err));
	px_spool_close(spool);
	assert_true(size_of(beside("-wal")) > 0);
	OK(px_spool_renew(path, &second, &now, aside, sizeof(aside), &carried, &err));
	assert_int_equal(carried, 10);
	OK(px_spool_renew(path, &birth, &now, aside, sizeof(aside), &carried, &err));
	assert_int_equal(carried, 10);
	assert_int_equal(count_files(".broken-20261122T145547Z"), 2);
	OK(px_spool_open(&spool, path, PX_SPOOL_FLUSH, 100, &err));
	OK(px_spool_take_in(spool, &item, "a.json", 0, &WIDE, &err));
	OK(px_spool_each(spool, count_item, &count, &err));
	assert_int_equal(count, 10);
	make_item(&item, PX_EVENT, 78, px_slice("{}"));
	for (int i = 0; i < 2; i++) {
		count = 0;
		OK(px_spool_take_in(spool, &item, "b.json", 0, &WIDE, &err));
		OK(px_spool_each(spool, count_item, &count, &err));
		assert_int_equal(count, 11);
	}
	px_spool_close(spool);
}

/* Two copies of an item, as a torn tree may show them, become one. */
static void
test_renew_twins(void **state)
{
	char aside[PATH_MAX];
	int64_t carried = -1;

	(void)state;
	OK(px_spool_create(path, &birth, &err));
	fill(20, 300);
	assert_int_equal(run_sql("INSERT INTO item SELECT key + 1000, id, time_ms, topic, body FROM item; INSERT INTO item VALUES "
	    "(281474976715000, 'x', 1, 'cpu', x'7b7d')"), SQLITE_OK);
	OK(px_spool_renew(path, &second, &now, aside, sizeof(aside), &carried, &err));
	assert_int_equal(carried, 17);
}

/* A recorder that had the old file open must not write into what was set aside. */
static void
test_renew_under_a_recorder(void **state)
{
	struct px_spool *recorder = NULL;
	char aside[PATH_MAX];
	int64_t carried = -1;
	struct px_item item;
	pid_t child;
	int opened[2];
	char byte;

	(void)state;
	OK(px_spool_create(path, &birth, &err));
	fill(12, 300);
	assert_int_equal(pipe(opened), 0);
	child = fork();
	assert_int_not_equal(child, -1);
	if (child == 0) {
		/* It holds the file open, but nothing is going on in it. */
		if (px_spool_open(&recorder, path, PX_SPOOL_RECORD, 100, &err) == 0 && write(opened[1], "", 1) == 1)
			(void)pause();
		_exit(1);
	}
	(void)close(opened[1]);
	assert_int_equal(read(opened[0], &byte, 1), 1);
	(void)close(opened[0]);
	assert_int_equal(px_spool_renew(path, &second, &now, aside, sizeof(aside), &carried, &err), -1);
	assert_int_equal(err.code, PX_STORAGE);
	assert_int_equal(kill(child, SIGKILL), 0);
	assert_int_equal(waitpid(child, NULL, 0), child);

	OK(px_spool_open(&recorder, path, PX_SPOOL_RECORD, 100, &err));
	assert_int_equal(rename(path, beside(".moved")), 0);
	OK(px_spool_create(path, &second, &err));
	make_item(&item, PX_EVENT, 50, px_slice("{}"));
	assert_int_equal(px_spool_put(recorder, &item, &WIDE, NULL, &err), -1);
	assert_int_equal(err.code, PX_STORAGE);
	assert_int_equal(item.seq, 0);
	px_spool_close(recorder);
}

static void
test_stale_files(void **state)
{
	struct px_spool *spool = NULL;
	struct timespec old[2] = { { .tv_sec = time(NULL) - 7200 }, { .tv_sec = time(NULL) - 7200 } };

	(void)state;
	OK(px_spool_create(path, &birth, &err));
	write_bytes(beside("-new-young"), "x", 1, 0);
	write_bytes(beside("-new-old"), "x", 1, 0);
	assert_int_equal(utimensat(AT_FDCWD, beside("-new-old"), old, 0), 0);
	assert_int_equal(utimensat(AT_FDCWD, path, old, 0), 0);
	OK(px_spool_open(&spool, path, PX_SPOOL_FLUSH, 100, &err));
	px_spool_close(spool);
	assert_int_equal(count_files("-new-old"), 0);
	assert_int_equal(count_files("-new-young"), 1);
	assert_true(size_of(path) > 0);
}

/* Whatever single byte is changed, nothing crashes or hangs, and renewing always gives a spool that works. */
static void
test_flipped_bytes(void **state)
{
	unsigned seed = (unsigned)time(NULL);
	struct px_spool *spool = NULL;
	char aside[PATH_MAX];
	int64_t carried;

	(void)state;
	print_message("# seed %u\n", seed);
	srand(seed);
	for (int round = 0; round < 30; round += (int)(1 + parts() / 5)) {
		int count = 0;

		OK(px_spool_create(path, &birth, &err));
		fill(30, 200 + (size_t)round * 100);
		for (int flips = 0; flips < 1 + round / 2; flips++) {
			const char *name = round % 5 == 4 ? beside("-wal") : path;
			unsigned char byte = (unsigned char)rand();

			write_bytes(name, &byte, 1, rand() % size_of(name));
		}
		if (px_spool_open(&spool, path, PX_SPOOL_FLUSH, 100, &err) == 0) {
			if (px_spool_each(spool, count_item, &count, &err) == -1)
				assert_true(err.code == PX_CORRUPT || err.code == PX_STORAGE);
			px_spool_close(spool);
		}
		OK(px_spool_renew(path, &second, &now, aside, sizeof(aside), &carried, &err));
		count = 0;
		OK(px_spool_open(&spool, path, PX_SPOOL_FLUSH, 100, &err));
		OK(px_spool_each(spool, count_item, &count, &err));
		assert_int_equal(count, carried);
		px_spool_close(spool);
		assert_int_equal(renew_spool_folder(state), 0);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_create, make_spool_folder, remove_spool_folder),
		cmocka_unit_test_setup_teardown(test_create_nowhere, make_spool_folder, remove_spool_folder),
		cmocka_unit_test_setup_teardown(test_orphan_log, make_spool_folder, remove_spool_folder),
		cmocka_unit_test_setup_teardown(test_hostile_files, make_spool_folder, remove_spool_folder),
		cmocka_unit_test_setup_teardown(test_trigger, make_spool_folder, remove_spool_folder),
		cmocka_unit_test_setup_teardown(test_malformed_rows, make_spool_folder, remove_spool_folder),
		cmocka_unit_test_setup_teardown(test_renew, make_spool_folder, remove_spool_folder),
		cmocka_unit_test_setup_teardown(test_renew_twice, make_spool_folder, remove_spool_folder),
		cmocka_unit_test_setup_teardown(test_renew_with_log, make_spool_folder, remove_spool_folder),
		cmocka_unit_test_setup_teardown(test_renew_twins, make_spool_folder, remove_spool_folder),
		cmocka_unit_test_setup_teardown(test_renew_under_a_recorder, make_spool_folder, remove_spool_folder),
		cmocka_unit_test_setup_teardown(test_stale_files, make_spool_folder, remove_spool_folder),
		cmocka_unit_test_setup_teardown(test_flipped_bytes, make_spool_folder, remove_spool_folder),
	};

	return cmocka_run_group_tests_name("spool_make", tests, NULL, NULL);
}
