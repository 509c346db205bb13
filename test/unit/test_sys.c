/* SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <fcntl.h>
#include <grp.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "sys.h"

#define COUNT(rows) (sizeof(rows) / sizeof((rows)[0]))
#define BOOT_ID "/proc/sys/kernel/random/boot_id"
#define NOBODY 65534
#define SOMEBODY 54321		/* in no /etc/passwd */

static char folder[64];

/* The path of ${name} in the test's folder; lasts for a few calls. */
static const char *
in_folder(const char *name)
{
	static char paths[4][PATH_MAX];
	static size_t next;
	char *path = paths[next++ % COUNT(paths)];

	(void)snprintf(path, PATH_MAX, "%s/%s", folder, name);
	return path;
}

static void
write_file(const char *path, const char *text, mode_t mode)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

	assert_true(fd >= 0);
	assert_int_equal(write(fd, text, strlen(text)), (ssize_t)strlen(text));
	assert_int_equal(fchmod(fd, mode), 0);
	assert_int_equal(close(fd), 0);
}

static int64_t
now_ms(void)
{
	struct timespec at;

	(void)clock_gettime(CLOCK_MONOTONIC, &at);
	return (int64_t)at.tv_sec * PX_MS_PER_S + at.tv_nsec / 1000000;
}

/* Runs ${body} in a child, which exits with the line that failed, or 0. */
#define CHECK(condition)           \
	do {                       \
		if (!(condition))  \
			return __LINE__ % 256; \
	} while (0)

static void
in_a_child(const char *name, int (*body)(void))
{
	pid_t pid = fork();
	int status = -1;

	assert_true(pid >= 0);
	if (pid == 0)
		_exit(body());
	assert_int_equal(waitpid(pid, &status, 0), pid);
	if (status != 0)
		fail_msg("%s: the child ended with %#x, exit status %d (the line, modulo 256)", name, (unsigned)status,
		    WEXITSTATUS(status));
}

static int
close_and_fix_streams(void)
{
	struct px_err err;
	struct stat null;
	struct stat st;

	CHECK(stat("/dev/null", &null) == 0);
	(void)close(STDIN_FILENO);
	(void)close(STDERR_FILENO);
	CHECK(px_sys_fix_streams(&err) == 0);
	CHECK(fstat(STDIN_FILENO, &st) == 0 && st.st_rdev == null.st_rdev);
	CHECK(fstat(STDERR_FILENO, &st) == 0 && st.st_rdev == null.st_rdev);
	CHECK(fcntl(STDERR_FILENO, F_GETFD) == 0);	/* inherited */
	CHECK(open("/dev/null", O_RDONLY | O_CLOEXEC) > STDERR_FILENO);
	return 0;
}

static void
closed_streams_are_opened(void **state)
{
	(void)state;
	in_a_child("streams", close_and_fix_streams);
}

static int
disturb_and_fix_signals(void)
{
	static const int defaults[] = { SIGHUP, SIGALRM, SIGCHLD, SIGTERM };
	struct sigaction action;
	sigset_t set;

	(void)sigfillset(&set);
	(void)sigprocmask(SIG_SETMASK, &set, NULL);
	for (size_t i = 0; i < COUNT(defaults); i++)
		(void)signal(defaults[i], SIG_IGN);
	(void)umask(0);
	px_sys_fix_signals();
	(void)sigprocmask(SIG_SETMASK, NULL, &set);
	for (size_t i = 0; i < COUNT(defaults); i++) {
		CHECK(sigaction(defaults[i], NULL, &action) == 0 && action.sa_handler == SIG_DFL);
		CHECK(sigismember(&set, defaults[i]) == 0);
	}
	CHECK(sigaction(SIGPIPE, NULL, &action) == 0 && action.sa_handler == SIG_IGN);
	CHECK(sigaction(SIGXFSZ, NULL, &action) == 0 && action.sa_handler == SIG_IGN);
	CHECK(umask(0) == 077);
	return 0;
}

static void
signals_and_umask_are_known(void **state)
{
	(void)state;
	in_a_child("signals", disturb_and_fix_signals);
}

static int
forbid_dumps(void)
{
	struct rlimit limit;

	px_sys_forbid_dumps();
	CHECK(getrlimit(RLIMIT_CORE, &limit) == 0 && limit.rlim_cur == 0 && limit.rlim_max == 0);
	CHECK(prctl(PR_GET_DUMPABLE, 0, 0, 0, 0) == 0);
	return 0;
}

static void
dumps_are_forbidden(void **state)
{
	(void)state;
	in_a_child("dumps", forbid_dumps);
}

/* How often this process has read from anything; always the same where the kernel does not count. */
static long long
count_reads(void)
{
	static const char key[] = "syscr: ";
	char text[512] = "";
	int fd = open("/proc/self/io", O_RDONLY | O_CLOEXEC);
	const char *found = fd >= 0 && read(fd, text, sizeof(text) - 1) > 0 ? strstr(text, key) : NULL;

	if (fd >= 0)
		(void)close(fd);
	return found != NULL ? strtoll(found + strlen(key), NULL, 10) : 0;
}

/* Without a descriptor to be had the first reading fails. */
static int
ask_for_the_boot(void)
{
	struct rlimit many;
	struct rlimit none;
	struct px_now now;
	char first[PX_ID_MAX];
	long long reads;

	CHECK(getrlimit(RLIMIT_NOFILE, &many) == 0);
	none = (struct rlimit){ 0, many.rlim_max };
	CHECK(setrlimit(RLIMIT_NOFILE, &none) == 0);
	px_sys_now(&now);
	CHECK(now.boot_id[0] == '\0');
	CHECK(setrlimit(RLIMIT_NOFILE, &many) == 0);
	px_sys_now(&now);
	CHECK(px_id_is_valid(px_slice(now.boot_id)));
	memcpy(first, now.boot_id, sizeof(first));
	reads = count_reads();
	for (int i = 0; i < 100; i++)
		px_sys_now(&now);
	CHECK(count_reads() - reads < 100);
	CHECK(setrlimit(RLIMIT_NOFILE, &none) == 0);
	px_sys_now(&now);
	CHECK(strcmp(now.boot_id, first) == 0);
	return 0;
}

/* Before all others that ask for the time: what they read a child has too. */
static void
the_boot_is_read_once_it_can_be_and_then_kept(void **state)
{
	(void)state;
	if (access(BOOT_ID, R_OK) == 0)
		in_a_child("boot", ask_for_the_boot);
}

static void
both_clocks_and_the_boot_are_told(void **state)
{
	struct px_now first;
	struct px_now second;

	(void)state;
	px_sys_now(&first);
	px_sys_sleep_ms(30);
	px_sys_now(&second);
	assert_true(first.wall_ms > INT64_C(1500000000000));
	assert_true(second.boot_ms - first.boot_ms >= 30);
	assert_true(second.boot_ms - first.boot_ms < 5000);
	assert_string_equal(first.boot_id, second.boot_id);
	if (access(BOOT_ID, R_OK) == 0)
		assert_true(px_id_is_valid(px_slice(first.boot_id)));
}

static void
ids_are_valid_and_never_the_same(void **state)
{
	char ids[100][PX_ID_MAX];
	struct px_err err;

	(void)state;
	for (size_t i = 0; i < COUNT(ids); i++) {
		if (i % 2 == 0)
			assert_int_equal(px_sys_id_v7(ids[i], INT64_C(1763823347123), &err), 0);
		else
			assert_int_equal(px_sys_id_v4(ids[i], &err), 0);
		assert_true(px_id_is_valid(px_slice(ids[i])));
		assert_int_equal(ids[i][14], i % 2 == 0 ? '7' : '4');
		for (size_t other = 0; other < i; other++)
			assert_string_not_equal(ids[i], ids[other]);
	}
	assert_memory_equal(ids[0], ids[2], 14);	/* the same time */
}

static void
random_bytes_fill_everything(void **state)
{
	unsigned char bytes[5000] = { 0 };
	unsigned seen[256] = { 0 };
	struct px_err err;

	(void)state;
	assert_int_equal(px_sys_random(bytes, sizeof(bytes), &err), 0);
	for (size_t i = 0; i < sizeof(bytes); i++)
		seen[bytes[i]]++;
	for (size_t i = 0; i < COUNT(seen); i++)
		assert_true(seen[i] < 100);
	assert_int_equal(px_sys_random(bytes, 0, &err), 0);
}

static void
the_host_has_a_name(void **state)
{
	char name[256];
	char short_name[3];
	char own[256] = "";

	(void)state;
	(void)gethostname(own, sizeof(own) - 1);
	px_sys_host_name(name, sizeof(name));
	assert_string_equal(name, own[0] != '\0' ? own : "localhost");
	px_sys_host_name(short_name, sizeof(short_name));
	assert_true(strlen(short_name) <= 2);
	assert_memory_equal(name, short_name, strlen(short_name));
}

/* Files, and what reading them says behind "'PATH' "; NULL: read. The owner counts for root only. */
static const struct {
	const char *name;
	enum px_file_trust trust;
	mode_t mode;
	uid_t owner;
	const char *said;
} files[] = {
	{ "any", PX_FILE_ANY, 0666, 0, NULL },
	{ "others_file", PX_FILE_ANY, 0600, NOBODY, NULL },
	{ "secret", PX_FILE_SECRET, 0600, 0, NULL },
	{ "group_reads", PX_FILE_SECRET, 0640, 0, NULL },
	{ "group_writes", PX_FILE_SECRET, 0660, 0, NULL },
	{ "others_read", PX_FILE_SECRET, 0604, 0, "is a secret, but others may access it: its mode is 0604" },
	{ "others_write", PX_FILE_SECRET, 0602, 0, "is a secret, but others may access it: its mode is 0602" },
	{ "others_run", PX_FILE_SECRET, 0601, 0, "is a secret, but others may access it: its mode is 0601" },
	{ "others_secret", PX_FILE_SECRET, 0600, NOBODY, "is a secret, but its owner, uid 65534, is neither root nor who runs" },
};

static void
secrets_are_kept_from_others(void **state)
{
	(void)state;
	if (geteuid() != 0)
		print_message("# not root: files of other owners are not tried\n");
	for (size_t i = 0; i < COUNT(files); i++) {
		const char *path = in_folder(files[i].name);
		struct px_buf out = PX_BUF(100);
		struct px_err err = { .text = "" };
		char said[PX_ERR_MAX];
		int rc;

		if (files[i].owner != 0 && geteuid() != 0)
			continue;
		write_file(path, "text\n", files[i].mode);
		if (files[i].owner != 0)
			assert_int_equal(chown(path, files[i].owner, (gid_t)-1), 0);
		px_buf_add_text(&out, "so ");
		rc = px_sys_read_file(path, files[i].trust, &out, &err);
		(void)snprintf(said, sizeof(said), "'%s' %s", path, files[i].said != NULL ? files[i].said : "");
		if (rc != (files[i].said == NULL ? 0 : -1) || strcmp(px_buf_text(&out), rc == 0 ? "so text\n" : "so ") != 0)
			fail_msg("%s: %d, %s, '%s'", files[i].name, rc, err.text, px_buf_text(&out));
		if (rc == -1 && (err.code != PX_CONFIG || strcmp(err.text, said) != 0))
			fail_msg("%s: %s", files[i].name, err.text);
		px_buf_clear(&out);
		assert_int_equal(unlink(path), 0);
	}
}

static int
read_own_secret(void)
{
	struct px_buf out = PX_BUF(100);
	struct px_err err;

	CHECK(chmod(folder, 0711) == 0);
	write_file(in_folder("own"), "text", 0600);
	CHECK(chown(in_folder("own"), NOBODY, NOBODY) == 0);
	CHECK(setresuid(NOBODY, NOBODY, NOBODY) == 0);
	CHECK(px_sys_read_file(in_folder("own"), PX_FILE_SECRET, &out, &err) == 0);
	px_buf_clear(&out);
	return 0;
}

static void
a_secret_may_be_of_who_runs(void **state)
{
	(void)state;
	if (geteuid() != 0) {
		print_message("# not root: all secrets are of who runs\n");
		return;
	}
	in_a_child("own secret", read_own_secret);
	assert_int_equal(unlink(in_folder("own")), 0);
	assert_int_equal(chmod(folder, 0700), 0);
}

static void
only_regular_files_are_read(void **state)
{
	const char *fifo = in_folder("fifo");
	const char *const paths[] = { fifo, folder, "/dev/zero" };
	int64_t began = now_ms();
	struct px_buf out = PX_BUF(100);
	struct px_err err;

	(void)state;
	assert_int_equal(mkfifo(fifo, 0600), 0);
	for (size_t i = 0; i < COUNT(paths); i++) {
		assert_int_equal(px_sys_read_file(paths[i], PX_FILE_ANY, &out, &err), -1);
		assert_int_equal(err.code, PX_CONFIG);
		assert_non_null(strstr(err.text, "is not a regular file"));
	}
	assert_int_equal(px_sys_read_file("/nonexistent/x", PX_FILE_ANY, &out, &err), -1);
	assert_int_equal(err.code, PX_ABSENT);
	assert_string_equal(err.text, "cannot open '/nonexistent/x': No such file or directory");
	assert_int_equal(px_sys_read_file("/etc/passwd/x", PX_FILE_ANY, &out, &err), -1);
	assert_int_equal(err.code, PX_CONFIG);
	assert_int_equal(unlink(fifo), 0);
	assert_true(now_ms() - began < 10000);
}

static void
files_are_read_up_to_the_limit(void **state)
{
	static const size_t maxima[] = { 9, 10, 11 };
	const char *path = in_folder("ten");

	(void)state;
	write_file(path, "0123456789", 0600);
	for (size_t i = 0; i < COUNT(maxima); i++) {
		struct px_buf out = PX_BUF(maxima[i]);
		struct px_err err;
		int rc = px_sys_read_file(path, PX_FILE_ANY, &out, &err);

		if (rc != (maxima[i] < 10 ? -1 : 0) || out.len != (rc == 0 ? 10 : 0) || out.failed)
			fail_msg("of %zu: %d, %zu bytes", maxima[i], rc, out.len);
		if (rc == -1)
			assert_non_null(strstr(err.text, "/ten' is larger than 9 bytes"));
		px_buf_clear(&out);
	}
	assert_int_equal(unlink(path), 0);
}

static const struct {
	const char *path;
	const char *folder;
} folders[] = {
	{ "/a/b", "/a" }, { "/a/b/", "/a" }, { "/a//b", "/a" }, { "/a", "/" }, { "//a", "/" }, { "/", "/" }, { "a/b", "a" },
	{ "a", "." }, { "a/", "." }, { "", "." }, { "/a/b/c.db", "/a/b" },
};

static void
the_folder_of_a_path_is_told(void **state)
{
	char out[8];
	struct px_err err;

	(void)state;
	for (size_t i = 0; i < COUNT(folders); i++)
		if (px_sys_folder_of(folders[i].path, out, sizeof(out), &err) == -1 || strcmp(out, folders[i].folder) != 0)
			fail_msg("'%s': '%s'", folders[i].path, out);
	assert_int_equal(px_sys_folder_of("/1234567/x", out, sizeof(out), &err), -1);
	assert_int_equal(err.code, PX_CONFIG);
}

static void
sleeps_are_as_long_as_told(void **state)
{
	int64_t began = now_ms();

	(void)state;
	px_sys_sleep_ms(-5);
	px_sys_sleep_ms(0);
	assert_true(now_ms() - began < 5000);
	began = now_ms();
	px_sys_sleep_ms(100);
	assert_true(now_ms() - began >= 99);
}

static void
one_has_the_lock(void **state)
{
	const char *path = in_folder("lock");
	struct px_err err = { .text = "" };
	int64_t began;
	int fd = px_sys_lock(path, 0, &err);
	struct stat st;

	(void)state;
	assert_true(fd >= 0);
	assert_int_equal(fcntl(fd, F_GETFD), FD_CLOEXEC);
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0600);
	assert_int_equal(px_sys_lock(path, 0, &err), -1);
	assert_int_equal(err.code, PX_LATER);
	began = now_ms();
	assert_int_equal(px_sys_lock(path, 200, &err), -1);
	assert_int_equal(err.code, PX_LATER);
	assert_true(now_ms() - began >= 199 && now_ms() - began < 10000);
	px_sys_unlock(fd);
	fd = px_sys_lock(path, 0, &err);
	assert_true(fd >= 0);
	px_sys_unlock(fd);
	px_sys_unlock(-1);
	assert_int_equal(unlink(path), 0);
}

static void
the_lock_is_given_on(void **state)
{
	const char *path = in_folder("lock");
	struct px_err err;
	int has[2];
	int may_end[2];
	char byte;
	pid_t pid;
	int fd;

	(void)state;
	assert_int_equal(pipe2(has, O_CLOEXEC), 0);
	assert_int_equal(pipe2(may_end, O_CLOEXEC), 0);
	pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		if (px_sys_lock(path, 0, &err) == -1 || write(has[1], "x", 1) != 1 || read(may_end[0], &byte, 1) != 1)
			_exit(1);
		px_sys_sleep_ms(200);
		_exit(0);
	}
	assert_int_equal(read(has[0], &byte, 1), 1);
	assert_int_equal(px_sys_lock(path, 0, &err), -1);
	assert_int_equal(write(may_end[1], "x", 1), 1);
	fd = px_sys_lock(path, 20000, &err);
	assert_true(fd >= 0);
	px_sys_unlock(fd);
	assert_int_equal(waitpid(pid, NULL, 0), pid);
	for (int end = 0; end < 2; end++) {
		(void)close(has[end]);
		(void)close(may_end[end]);
	}
	assert_int_equal(unlink(path), 0);
}

static void
a_lock_that_is_none_is_refused(void **state)
{
	const char *link = in_folder("link");
	const char *const paths[] = { "/nonexistent/lock", folder, link };
	struct px_err err;

	(void)state;
	assert_int_equal(symlink("target", link), 0);
	for (size_t i = 0; i < COUNT(paths); i++) {
		assert_int_equal(px_sys_lock(paths[i], 0, &err), -1);
		assert_int_equal(err.code, PX_STORAGE);
	}
	assert_int_equal(unlink(link), 0);
}

/*
 * Below a folder of root's in /, each row makes "d" (its mode and owner), in it "f" (likewise), and a link "l" to "d/f";
 * /tmp is sticky. NULL: only root can write it.
 */
static const struct {
	mode_t folder_mode;
	uid_t folder_owner;
	mode_t file_mode;
	uid_t file_owner;
	uid_t link_owner;
	const char *path;
	const char *culprit;
} walks[] = {
	{ 0755, 0, 0755, 0, 0, "d/f", NULL },
	{ 0755, 0, 0755, 0, 0, "d//./../d/f", NULL },
	{ 0755, 0, 0755, 0, 0, "l", NULL },
	{ 01777, 0, 0755, 0, 0, "d/f", NULL },
	{ 0755, 0, 0755, 0, 0, "d", NULL },
	{ 0755, 0, 0775, 0, 0, "d/f", "d/f" },
	{ 0755, 0, 0757, 0, 0, "d/f", "d/f" },
	{ 0755, 0, 01777, 0, 0, "d/f", "d/f" },
	{ 0755, 0, 0755, NOBODY, 0, "d/f", "d/f" },
	{ 0775, 0, 0755, 0, 0, "d/f", "d" },
	{ 0757, 0, 0755, 0, 0, "d/f", "d" },
	{ 0755, NOBODY, 0755, 0, 0, "d/f", "d" },
	{ 0755, NOBODY, 0755, 0, 0, "l", "d" },
	{ 0755, 0, 0757, 0, 0, "l", "d/f" },
	{ 0755, 0, 0755, 0, NOBODY, "l", "l" },
	{ 0755, 0, 0755, 0, 0, "d/none", "d/none" },
	{ 0755, 0, 0755, 0, 0, "d/f/x", "d/f/x" },
	{ 0755, 0, 0755, 0, 0, "loop", "loop" },
};

static void
only_root_can_write_what_is_run(void **state)
{
	(void)state;
	if (geteuid() != 0) {
		struct px_err err;

		print_message("# not root: our own folder is not root's\n");
		assert_int_equal(px_sys_only_root_writes(folder, &err), -1);
		assert_int_equal(err.code, PX_CONFIG);
		return;
	}
	for (size_t i = 0; i < COUNT(walks); i++) {
		struct px_err err = { .text = "" };
		char culprit[PATH_MAX];
		int rc;

		assert_int_equal(mkdir(in_folder("d"), 0755), 0);
		write_file(in_folder("d/f"), "x", walks[i].file_mode);
		assert_int_equal(chown(in_folder("d/f"), walks[i].file_owner, 0), 0);
		assert_int_equal(chmod(in_folder("d/f"), walks[i].file_mode), 0);
		assert_int_equal(chown(in_folder("d"), walks[i].folder_owner, 0), 0);
		assert_int_equal(chmod(in_folder("d"), walks[i].folder_mode), 0);
		assert_int_equal(symlink("d/f", in_folder("l")), 0);
		assert_int_equal(lchown(in_folder("l"), walks[i].link_owner, 0), 0);
		assert_int_equal(symlink("./loop", in_folder("loop")), 0);
		rc = px_sys_only_root_writes(in_folder(walks[i].path), &err);
		(void)snprintf(culprit, sizeof(culprit), "'%s'", in_folder(walks[i].culprit != NULL ? walks[i].culprit : ""));
		if (rc != (walks[i].culprit == NULL ? 0 : -1) || (rc == -1 && strstr(err.text, culprit) == NULL))
			fail_msg("row %zu, %s: %d, %s", i, walks[i].path, rc, err.text);
		if (rc == -1)
			assert_int_equal(err.code, PX_CONFIG);
		assert_int_equal(unlink(in_folder("loop")), 0);
		assert_int_equal(unlink(in_folder("l")), 0);
		assert_int_equal(unlink(in_folder("d/f")), 0);
		assert_int_equal(rmdir(in_folder("d")), 0);
	}
}

static int
walk_from_here(void)
{
	struct px_err err;

	CHECK(chdir(folder) == 0);
	CHECK(px_sys_only_root_writes("f", &err) == 0);
	CHECK(px_sys_only_root_writes("./f", &err) == 0);
	CHECK(px_sys_only_root_writes("abs", &err) == 0);
	CHECK(chmod(folder, 0777) == 0);
	CHECK(px_sys_only_root_writes("f", &err) == -1);
	return 0;
}

static void
relative_paths_are_walked_from_the_root_too(void **state)
{
	(void)state;
	if (geteuid() != 0) {
		print_message("# not root: not tried\n");
		return;
	}
	write_file(in_folder("f"), "x", 0644);
	assert_int_equal(symlink(in_folder("f"), in_folder("abs")), 0);
	in_a_child("relative", walk_from_here);
	assert_int_equal(chmod(folder, 0700), 0);
	assert_int_equal(unlink(in_folder("f")), 0);
	assert_int_equal(unlink(in_folder("abs")), 0);
}

/* A spool folder's owner and group, and who one is after px_sys_become_owner. */
static const struct owner_row {
	uid_t owner;
	gid_t group;
	bool changed;
	uid_t uid;
	gid_t gid;
} owners[] = {
	{ 0, 0, false, 0, 0 },
	{ 0, 54322, false, 0, 0 },
	{ NOBODY, 54322, true, NOBODY, 54322 },
	{ NOBODY, 0, true, NOBODY, NOBODY },	/* the group from /etc/passwd */
	{ SOMEBODY, 54322, true, SOMEBODY, 54322 },
	{ SOMEBODY, 0, true, SOMEBODY, NOBODY },
};
static const struct owner_row *row;

static int
become_the_owner(void)
{
	struct px_err err;
	bool changed = !row->changed;
	uid_t uids[3];
	gid_t gids[3];

	CHECK(setgroups(2, (const gid_t[]){ 1, 0 }) == 0);
	CHECK(px_sys_become_owner(folder, &changed, &err) == 0);
	CHECK(changed == row->changed);
	CHECK(getresuid(&uids[0], &uids[1], &uids[2]) == 0 && getresgid(&gids[0], &gids[1], &gids[2]) == 0);
	for (int i = 0; i < 3; i++)
		CHECK(uids[i] == row->uid && gids[i] == row->gid);
	if (changed) {
		CHECK(getgroups(0, NULL) == 0);
		CHECK(setuid(0) == -1 && seteuid(0) == -1 && setgid(0) == -1);
		CHECK(px_sys_become_owner("/nonexistent", &changed, &err) == 0);	/* no root: nothing is done */
		CHECK(!changed);
	}
	return 0;
}

static void
root_becomes_the_owner_of_the_folder(void **state)
{
	struct px_err err;
	bool changed = true;

	(void)state;
	if (geteuid() != 0) {
		print_message("# not root: nothing changes\n");
		assert_int_equal(px_sys_become_owner(folder, &changed, &err), 0);
		assert_false(changed);
		return;
	}
	for (size_t i = 0; i < COUNT(owners); i++) {
		char name[32];

		row = &owners[i];
		(void)snprintf(name, sizeof(name), "row %zu", i);
		assert_int_equal(chown(folder, row->owner, row->group), 0);
		in_a_child(name, become_the_owner);
	}
	assert_int_equal(chown(folder, 0, 0), 0);
	write_file(in_folder("f"), "", 0600);
	for (int i = 0; i < 2; i++) {
		assert_int_equal(px_sys_become_owner(i == 0 ? "/nonexistent" : in_folder("f"), &changed, &err), -1);
		assert_int_equal(err.code, PX_STORAGE);
	}
	assert_int_equal(unlink(in_folder("f")), 0);
}

/* Two links on the way to a folder, whose they are, and the name in the message of the one that leads astray. */
static const struct link_row {
	uid_t first;
	uid_t second;
	uid_t owner;
	const char *astray;
} links[] = {
	{ 0, 0, 0, NULL },
	{ 0, 0, SOMEBODY, NULL },
	{ SOMEBODY, 0, SOMEBODY, NULL },
	{ SOMEBODY, SOMEBODY, SOMEBODY, NULL },
	{ SOMEBODY, 0, 0, "first" },
	{ 0, SOMEBODY, 0, "second" },
	{ 0, SOMEBODY, NOBODY, "second" },
	{ SOMEBODY, NOBODY, 0, "second" },
	{ SOMEBODY, NOBODY, SOMEBODY, "second" },
	{ SOMEBODY, NOBODY, NOBODY, "second" },
};
static const struct link_row *link_row;

static int
follow_links(void)
{
	static const char *const ways[] = { "first", "first/", "./first/.", "first/../d", "second/./../first" };
	struct px_err err = { .text = "" };
	bool changed;

	CHECK(chdir(folder) == 0);
	if (link_row->astray == NULL) {
		for (size_t i = 0; i + 1 < COUNT(ways); i++)
			CHECK(link_row->owner != 0 || (px_sys_become_owner(ways[i], &changed, &err) == 0 && !changed));
		CHECK(px_sys_become_owner(ways[COUNT(ways) - 1], &changed, &err) == 0);
		CHECK(changed == (link_row->owner != 0) && geteuid() == link_row->owner);
		return 0;
	}
	CHECK(px_sys_become_owner("first", &changed, &err) == -1 && !changed && geteuid() == 0);
	CHECK(err.code == PX_STORAGE && strstr(err.text, link_row->astray) != NULL);
	return 0;
}

static void
nobody_is_led_astray_by_a_link(void **state)
{
	(void)state;
	if (geteuid() != 0) {
		print_message("# not root: nobody is led anywhere\n");
		return;
	}
	assert_int_equal(mkdir(in_folder("d"), 0755), 0);
	assert_int_equal(symlink("second", in_folder("first")), 0);
	assert_int_equal(symlink(in_folder("d"), in_folder("second")), 0);
	for (size_t i = 0; i < COUNT(links); i++) {
		char name[32];

		link_row = &links[i];
		(void)snprintf(name, sizeof(name), "row %zu", i);
		assert_int_equal(lchown(in_folder("first"), link_row->first, 0), 0);
		assert_int_equal(lchown(in_folder("second"), link_row->second, 0), 0);
		assert_int_equal(chown(in_folder("d"), link_row->owner, 0), 0);
		in_a_child(name, follow_links);
	}
	assert_int_equal(unlink(in_folder("first")), 0);
	assert_int_equal(unlink(in_folder("second")), 0);
	assert_int_equal(rmdir(in_folder("d")), 0);
}

static int
make_folder(void **state)
{
	const char *tmp = getenv("TMPDIR");

	(void)state;
	(void)snprintf(folder, sizeof(folder), "%s/px-sys-XXXXXX", tmp != NULL && strlen(tmp) < 32 ? tmp : "/tmp");
	return mkdtemp(folder) != NULL ? 0 : -1;
}

static int
remove_folder(void **state)
{
	(void)state;
	return rmdir(folder);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(closed_streams_are_opened),
		cmocka_unit_test(signals_and_umask_are_known),
		cmocka_unit_test(dumps_are_forbidden),
		cmocka_unit_test(the_boot_is_read_once_it_can_be_and_then_kept),
		cmocka_unit_test(both_clocks_and_the_boot_are_told),
		cmocka_unit_test(ids_are_valid_and_never_the_same),
		cmocka_unit_test(random_bytes_fill_everything),
		cmocka_unit_test(the_host_has_a_name),
		cmocka_unit_test(secrets_are_kept_from_others),
		cmocka_unit_test(a_secret_may_be_of_who_runs),
		cmocka_unit_test(only_regular_files_are_read),
		cmocka_unit_test(files_are_read_up_to_the_limit),
		cmocka_unit_test(the_folder_of_a_path_is_told),
		cmocka_unit_test(sleeps_are_as_long_as_told),
		cmocka_unit_test(one_has_the_lock),
		cmocka_unit_test(the_lock_is_given_on),
		cmocka_unit_test(a_lock_that_is_none_is_refused),
		cmocka_unit_test(only_root_can_write_what_is_run),
		cmocka_unit_test(relative_paths_are_walked_from_the_root_too),
		cmocka_unit_test(root_becomes_the_owner_of_the_folder),
		cmocka_unit_test(nobody_is_led_astray_by_a_link),
	};

	return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
