/* SPDX-License-Identifier: MIT */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <dirent.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "overflow.h"

#define ID "0193aaaa-0000-7000-8000-00000000000"	/* and a digit */

static char base[64];
static char folder[128];
static struct px_err err;

#define OK(call) \
	do { \
		if ((call) == -1) \
			fail_msg("%s: %s", #call, err.text); \
	} while (0)

static int
set_up(void **state)
{
	(void)state;
	(void)snprintf(base, sizeof(base), "/tmp/px-overflow-XXXXXX");
	if (mkdtemp(base) == NULL)
		return -1;
	(void)snprintf(folder, sizeof(folder), "%s/overflow", base);
	return 0;
}

static int
tear_down(void **state)
{
	char command[128];

	(void)state;
	(void)snprintf(command, sizeof(command), "rm -rf '%s'", base);
	return system(command);
}

static const char *
inside(const char *name)
{
	static char path[400];

	(void)snprintf(path, sizeof(path), "%s/%s", folder, name);
	return path;
}

static bool
is_there(const char *name)
{
	struct stat status;

	return lstat(inside(name), &status) == 0;
}

static void
write_file(const char *name, const char *text)
{
	FILE *file = fopen(inside(name), "w");

	assert_non_null(file);
	assert_true(fputs(text, file) >= 0);
	assert_int_equal(fclose(file), 0);
}

static int
count_entries(void)
{
	DIR *listing = opendir(folder);
	const struct dirent *entry;
	int count = 0;

	if (listing == NULL)
		return -1;
	while ((entry = readdir(listing)) != NULL)
		count += strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0;
	(void)closedir(listing);
	return count;
}

/* A spool's path and its overflow folder; NULL: too long for 20 bytes. */
static const struct {
	const char *spool;
	const char *folder;
} folders[] = {
	{ "/var/spool.db", "/var/overflow" }, { "/spool.db", "/overflow" }, { "spool.db", "overflow" },
	{ "../x/y.db", "../x/overflow" }, { "/a23456789/b/s.db", NULL },
};

static void
test_folder(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(folders) / sizeof(folders[0]); i++) {
		char out[20];
		int rc = px_overflow_folder(folders[i].spool, out, sizeof(out), &err);

		if (folders[i].folder == NULL ? rc != -1 || err.code != PX_CONFIG : rc != 0 || strcmp(out, folders[i].folder) != 0)
			fail_msg("%s: %d", folders[i].spool, rc);
	}
}

/* A caller of px_overflow_each: what it saw, as "last digit of the id[-seq]=document ", and what it says. */
struct taker {
	char seen[1024];
	char removed[1024];
	enum px_overflow_fate fate;
	int stop_after;
};

static enum px_overflow_fate
take(void *arg, const struct px_overflow_file *file, bool *stop)
{
	struct taker *taker = arg;
	size_t len = strlen(taker->seen);

	(void)snprintf(taker->seen + len, sizeof(taker->seen) - len, "%c-%" PRId64 "=%.*s ", file->id[35], file->perhaps_seq,
	    file->document.len < 50 ? (int)file->document.len : 1, file->document.ptr);
	*stop = --taker->stop_after == 0;
	return taker->fate;
}

static void
note_removed(void *arg, const char *name)
{
	struct taker *taker = arg;
	size_t len = strlen(taker->removed);

	assert_false(is_there(name));
	(void)snprintf(taker->removed + len, sizeof(taker->removed) - len, "%s ", name);
}

static void
test_put_and_take(void **state)
{
	struct taker taker = { .fate = PX_OVERFLOW_KEEP };
	struct stat status;

	(void)state;
	OK(px_overflow_each(folder, take, note_removed, &taker, &err));
	assert_int_equal(px_overflow_count(folder), 0);
	assert_int_equal(count_entries(), -1);
	OK(px_overflow_put(folder, ID "2", 17, px_slice("{\"b\":2}"), &err));
	OK(px_overflow_put(folder, ID "1", 0, px_slice("{\"a\":1}"), &err));
	OK(px_overflow_put(folder, ID "3", 0, px_slice(""), &err));
	assert_int_equal(stat(folder, &status), 0);
	assert_int_equal(status.st_mode & 07777, 0700);
	assert_int_equal(stat(inside(ID "1.json"), &status), 0);
	assert_int_equal(status.st_mode & 07777, 0600);
	assert_true(is_there(ID "2-17.json"));
	assert_int_equal(count_entries(), 3);
	assert_int_equal(px_overflow_count(folder), 3);

	OK(px_overflow_each(folder, take, note_removed, &taker, &err));
	assert_string_equal(taker.seen, "1-0={\"a\":1} 2-17={\"b\":2} 3-0= ");
	assert_int_equal(count_entries(), 3);
	taker = (struct taker){ .fate = PX_OVERFLOW_REMOVE, .stop_after = 2 };
	OK(px_overflow_each(folder, take, note_removed, &taker, &err));
	assert_string_equal(taker.removed, ID "1.json " ID "2-17.json ");
	assert_int_equal(count_entries(), 1);
	taker = (struct taker){ .fate = PX_OVERFLOW_BROKEN };
	OK(px_overflow_each(folder, take, note_removed, &taker, &err));
	assert_string_equal(taker.removed, "");
	assert_true(is_there(ID "3.json.bad"));
	assert_int_equal(px_overflow_count(folder), 0);
	OK(px_overflow_put(folder, ID "3", 0, px_slice("{}"), &err));
	OK(px_overflow_each(folder, take, note_removed, &taker, &err));
	assert_true(is_there(ID "3.json.2.bad"));
}

static void
test_bad_id(void **state)
{
	(void)state;
	assert_int_equal(px_overflow_put(folder, "../../etc/passwd", 0, px_slice("{}"), &err), -1);
	assert_int_equal(err.code, PX_BUG);
	assert_int_equal(count_entries(), -1);
}

static void
plant_folder(void)
{
	assert_int_equal(mkdir(inside(ID "1.json"), 0700), 0);
}

static void
plant_fifo(void)
{
	assert_int_equal(mkfifo(inside(ID "1.json"), 0600), 0);
}

static void
plant_link(void)
{
	assert_int_equal(symlink("/etc/hostname", inside(ID "1.json")), 0);
}

static void
plant_dangling_link(void)
{
	assert_int_equal(symlink("nowhere", inside(ID "1.json")), 0);
}

static void
plant_hard_link(void)
{
	char other[128];

	write_file(ID "1.json", "{}");
	(void)snprintf(other, sizeof(other), "%s/other", base);
	assert_int_equal(link(inside(ID "1.json"), other), 0);
}

static void
plant_huge_file(void)
{
	write_file(ID "1.json", "{}");
	assert_int_equal(truncate(inside(ID "1.json"), (off_t)1 << 40), 0);
}

static void
plant_socket(void)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	assert_true(snprintf(address.sun_path, sizeof(address.sun_path), "%s", inside(ID "1.json")) <
	    (int)sizeof(address.sun_path));
	assert_int_equal(bind(fd, (const struct sockaddr *)&address, sizeof(address)), 0);
	(void)close(fd);
}

static void
plant_whole_file(void)
{
	write_file(ID "1.json", "{}");
}

/* What others may put into the folder under an event's name: all but a file of its own are set aside unread. */
static const struct {
	const char *row;
	void (*plant)(void);
	bool is_taken;
} planted[] = {
	{ "folder", plant_folder, false }, { "FIFO", plant_fifo, false }, { "symbolic link", plant_link, false },
	{ "dangling link", plant_dangling_link, false }, { "hard link", plant_hard_link, false },
	{ "huge file", plant_huge_file, false },
	{ "socket", plant_socket, false }, { "whole file", plant_whole_file, true },
};

static void
test_planted(void **state)
{
	for (size_t i = 0; i < sizeof(planted) / sizeof(planted[0]); i++) {
		struct taker taker = { .fate = PX_OVERFLOW_REMOVE };

		assert_int_equal(mkdir(folder, 0700), 0);
		planted[i].plant();
		OK(px_overflow_each(folder, take, note_removed, &taker, &err));
		if ((taker.seen[0] != '\0') != planted[i].is_taken || is_there(ID "1.json") ||
		    is_there(ID "1.json.bad") == planted[i].is_taken)
			fail_msg("%s: seen '%s'", planted[i].row, taker.seen);
		assert_int_equal(tear_down(state), 0);
		assert_int_equal(set_up(state), 0);
	}
}

/* Names that are no event's are left alone. */
static const char *const foreign_names[] = { "README", "x.json", ID "1.json.bad", ID "1", ID "1.jsonx", ID "1-.json",
    ID "1-x.json",
	ID "1-0.json", ID "1--1.json", ID "1-99999999999999999999.json", "0193AAAA-0000-7000-8000-000000000001.json" };

static void
test_foreign_names(void **state)
{
	struct taker taker = { .fate = PX_OVERFLOW_REMOVE };

	(void)state;
	assert_int_equal(mkdir(folder, 0700), 0);
	for (size_t i = 0; i < sizeof(foreign_names) / sizeof(foreign_names[0]); i++)
		write_file(foreign_names[i], "{}");
	OK(px_overflow_each(folder, take, note_removed, &taker, &err));
	assert_string_equal(taker.seen, "");
	assert_int_equal(px_overflow_count(folder), 0);
	for (size_t i = 0; i < sizeof(foreign_names) / sizeof(foreign_names[0]); i++)
		if (!is_there(foreign_names[i]))
			fail_msg("%s is gone", foreign_names[i]);
}

static void
test_folder_is_no_folder(void **state)
{
	struct taker taker = { .fate = PX_OVERFLOW_REMOVE };
	char real[128];

	(void)state;
	(void)snprintf(real, sizeof(real), "%s/real", base);
	assert_int_equal(mkdir(real, 0700), 0);
	assert_int_equal(symlink("real", folder), 0);
	assert_int_equal(px_overflow_put(folder, ID "1", 0, px_slice("{}"), &err), -1);
	assert_int_equal(err.code, PX_STORAGE);
	assert_int_equal(px_overflow_each(folder, take, note_removed, &taker, &err), -1);
	assert_int_equal(err.code, PX_STORAGE);
	assert_int_equal(rmdir(real), 0);	/* nothing is in it */
	assert_int_equal(unlink(folder), 0);
	assert_int_equal(mkfifo(folder, 0600), 0);
	assert_int_equal(px_overflow_put(folder, ID "1", 0, px_slice("{}"), &err), -1);
	assert_int_equal(err.code, PX_STORAGE);
	assert_int_equal(px_overflow_count(folder), 0);
}

static void
test_stale_files(void **state)
{
	struct timespec old[2] = { { .tv_sec = time(NULL) - 7200 }, { .tv_sec = time(NULL) - 7200 } };
	struct taker taker = { .fate = PX_OVERFLOW_KEEP };

	(void)state;
	assert_int_equal(mkdir(folder, 0700), 0);
	write_file(".tmp-" ID "1", "{");
	write_file(".tmp-" ID "2", "{");
	write_file(ID "3.json", "{}");
	assert_int_equal(utimensat(AT_FDCWD, inside(".tmp-" ID "2"), old, 0), 0);
	assert_int_equal(utimensat(AT_FDCWD, inside(ID "3.json"), old, 0), 0);
	OK(px_overflow_each(folder, take, note_removed, &taker, &err));
	assert_true(is_there(".tmp-" ID "1"));
	assert_false(is_there(".tmp-" ID "2"));
	assert_string_equal(taker.seen, "3-0={} ");
}

static void
make_sparse_file(const char *name, off_t bytes)
{
	write_file(name, "x");
	assert_int_equal(truncate(inside(name), bytes), 0);
}

static void
test_bounds(void **state)
{
	char name[64];

	(void)state;
	assert_int_equal(mkdir(folder, 0700), 0);
	make_sparse_file("large", PX_OVERFLOW_MAX_BYTES - 1);
	OK(px_overflow_put(folder, ID "1", 0, px_slice("x"), &err));
	assert_int_equal(px_overflow_put(folder, ID "2", 0, px_slice("x"), &err), -1);
	assert_int_equal(err.code, PX_STORAGE);
	assert_non_null(strstr(err.text, "full"));
	assert_int_equal(count_entries(), 2);
	assert_int_equal(unlink(inside("large")), 0);
	for (int i = 1; i < PX_OVERFLOW_MAX_FILES - 1; i++) {
		(void)snprintf(name, sizeof(name), "%d", i);
		write_file(name, "");
	}
	OK(px_overflow_put(folder, ID "3", 0, px_slice("x"), &err));
	assert_int_equal(px_overflow_put(folder, ID "4", 0, px_slice("x"), &err), -1);
	assert_int_equal(err.code, PX_STORAGE);
	assert_int_equal(count_entries(), PX_OVERFLOW_MAX_FILES);
}

/* Whoever else has the lock may be filling it at this moment, too. */
static void
test_bounds_under_the_lock_of_others(void **state)
{
	int lock;

	(void)state;
	assert_int_equal(mkdir(folder, 0700), 0);
	make_sparse_file("large", PX_OVERFLOW_MAX_BYTES / 2 - 1);
	lock = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	assert_int_equal(flock(lock, LOCK_EX), 0);
	OK(px_overflow_put(folder, ID "1", 0, px_slice("x"), &err));
	assert_int_equal(px_overflow_put(folder, ID "2", 0, px_slice("x"), &err), -1);
	assert_int_equal(err.code, PX_STORAGE);
	assert_non_null(strstr(err.text, "half full"));
	assert_int_equal(count_entries(), 2);
	assert_int_equal(close(lock), 0);
	OK(px_overflow_put(folder, ID "2", 0, px_slice("x"), &err));
}

/* The largest event there is comes back whole. */
static void
test_largest(void **state)
{
	struct taker taker = { .fate = PX_OVERFLOW_REMOVE };
	char *document = malloc(PX_EVENT_MAX);

	(void)state;
	assert_non_null(document);
	memset(document, 'x', PX_EVENT_MAX);
	OK(px_overflow_put(folder, ID "1", 0, (struct px_slice){ document, PX_EVENT_MAX }, &err));
	OK(px_overflow_each(folder, take, note_removed, &taker, &err));
	assert_string_equal(taker.seen, "1-0=x ");
	assert_int_equal(count_entries(), 0);
	free(document);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_folder, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_put_and_take, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_bad_id, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_planted, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_foreign_names, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_folder_is_no_folder, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_stale_files, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_bounds, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_bounds_under_the_lock_of_others, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_largest, set_up, tear_down),
	};

	return cmocka_run_group_tests_name("overflow", tests, NULL, NULL);
}
