/* SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "proc.h"

#define COUNT(rows) (sizeof(rows) / sizeof((rows)[0]))
#define WORDS_MAX 4
#define NOBODY 65534
#define MOST_MS 10000

static int64_t
now_ms(void)
{
	struct timespec at;

	(void)clock_gettime(CLOCK_MONOTONIC, &at);
	return (int64_t)at.tv_sec * 1000 + at.tv_nsec / 1000000;
}

static const struct {
	const char *text;
	const char *words[WORDS_MAX];	/* behind the program; none at all: refused */
	const char *refused;
	enum px_code code;
} commands[] = {
	{ "/bin/sh", { NULL }, NULL, PX_OK },
	{ " \t/bin/sh\t -c  x ", { "-c", "x", NULL }, NULL, PX_OK },
	{ "/bin/sh 'a b' \"c 'd'\"", { "a b", "c 'd'", NULL }, NULL, PX_OK },
	{ "/bin/sh a'b c'\"d\"e", { "ab cde", NULL }, NULL, PX_OK },
	{ "/bin/sh '' \"\"", { "", "", NULL }, NULL, PX_OK },
	{ "'/bin/sh' $HOME *", { "$HOME", "*", NULL }, NULL, PX_OK },
	{ "/bin/sh a\\ b", { "a\\", "b", NULL }, NULL, PX_OK },
	{ "/bin/sh '\\'", { "\\", NULL }, NULL, PX_OK },
	{ "", { NULL }, "the command is empty", PX_CONFIG },
	{ " \t ", { NULL }, "the command is empty", PX_CONFIG },
	{ "''", { NULL }, "cannot find the program '' in the system folders", PX_ABSENT },
	{ "/bin/sh 'a", { NULL }, "a quote in the command is not closed", PX_CONFIG },
	{ "/bin/sh \"a'", { NULL }, "a quote in the command is not closed", PX_CONFIG },
	{ "bin/sh", { NULL }, "the program 'bin/sh' is not an absolute path", PX_CONFIG },
	{ "./sh", { NULL }, "the program './sh' is not an absolute path", PX_CONFIG },
	{ "px-no-such-program x", { NULL }, "cannot find the program 'px-no-such-program' in the system folders", PX_ABSENT },
	{ "/nonexistent/x", { NULL }, "cannot run '/nonexistent/x': No such file or directory", PX_ABSENT },
	{ "/etc/passwd", { NULL }, "cannot run '/etc/passwd': Permission denied", PX_ABSENT },
	{ "/etc", { NULL }, "cannot run '/etc': Permission denied", PX_ABSENT },
};

static void
commands_are_taken_apart(void **state)
{
	(void)state;
	for (size_t i = 0; i < COUNT(commands); i++) {
		struct px_command command = { NULL };
		struct px_err err = { .code = PX_OK };
		int rc = px_command_parse(&command, commands[i].text, &err);

		if (commands[i].refused != NULL) {
			if (rc == 0 || err.code != commands[i].code || strcmp(err.text, commands[i].refused) != 0)
				fail_msg("%s: %d, %s", commands[i].text, rc, err.text);
			assert_null(command.argv);
			continue;
		}
		if (rc == -1)
			fail_msg("%s: %s", commands[i].text, err.text);
		assert_string_equal(command.argv[0], "/bin/sh");
		for (size_t word = 0; word < WORDS_MAX; word++) {
			const char *wanted = commands[i].words[word];
			const char *got = command.argv[word + 1];

			if ((wanted == NULL) != (got == NULL) || (wanted != NULL && strcmp(wanted, got) != 0))
				fail_msg("%s: word %zu is '%s'", commands[i].text, word + 1, got != NULL ? got : "(none)");
			if (wanted == NULL)
				break;
		}
		px_command_clear(&command);
	}
}

/* NULL: none. What setenv(3) keeps for itself, valgrind takes for lost. */
static void
set_path(const char *path)
{
	static char entry[256];

	assert_int_equal(unsetenv("PATH"), 0);
	(void)snprintf(entry, sizeof(entry), "PATH=%s", path != NULL ? path : "");
	if (path != NULL)
		assert_int_equal(putenv(entry), 0);
}

static void
programs_are_found_in_the_system_folders_only(void **state)
{
	struct px_command command;
	struct px_err err;

	(void)state;
	set_path("/nonexistent");
	assert_int_equal(px_command_parse(&command, "sh -c x", &err), 0);
	assert_int_equal(command.argv[0][0], '/');
	assert_string_equal(strrchr(command.argv[0], '/'), "/sh");
	px_command_clear(&command);
	set_path("/usr/bin:/bin");
}

static void
too_many_words_are_refused(void **state)
{
	char text[512] = "/bin/sh";
	struct px_command command;
	struct px_err err;

	(void)state;
	for (size_t i = 0; i < 64; i++)
		memcpy(text + strlen(text), " x", 3);
	assert_int_equal(px_command_parse(&command, text, &err), -1);
	assert_int_equal(err.code, PX_CONFIG);
}

#define STATUS_1 "'/bin/sh' ended with status 1"

/* A shell's script, and what comes of it, none after MOST_MS: nobody waits for what sleeps longer. */
static const struct {
	const char *script;
	int64_t timeout_ms;
	size_t max_bytes;
	const char *out;
	const char *said;
} runs[] = {
	{ "echo hello", 20000, 100, "hello\n", NULL },
	{ "true", 20000, 100, "", NULL },
	{ "cat; echo end", 20000, 100, "end\n", NULL },
	{ "printf 12345", 20000, 5, "12345", NULL },
	{ "echo lost >&2; echo kept", 20000, 100, "kept\n", NULL },
	{ "exec >&- 2>&-; sleep 0.2", 20000, 100, "", NULL },
	{ "i=0; while [ $i -lt 2000 ]; do echo 0123456789012345678901234567890123456789 >&2; i=$((i+1)); done", 20000, 100, "", NULL },
	{ "exit 1", 20000, 100, NULL, STATUS_1 },
	{ "echo out; exit 1", 20000, 100, NULL, STATUS_1 },
	{ "echo 'Monit: the monit daemon is not running' >&2; exit 1", 20000, 100, NULL,
	    STATUS_1 ": Monit: the monit daemon is not running" },
	{ "printf '\\n a\\n\\n\\tb  \\033[1m\\377 \\n' >&2; exit 1", 20000, 100, NULL,
	    STATUS_1 ": a b \\x1b[1m\xef\xbf\xbd" },
	{ "kill -9 $$", 20000, 100, NULL, "'/bin/sh' was killed by signal 9" },
	{ "sleep 30", 300, 100, NULL, "'/bin/sh' did not end within 300 ms" },
	{ "trap '' TERM HUP INT; echo why >&2; sleep 30; sleep 30", 2000, 100, NULL,
	    "'/bin/sh' did not end within 2 s: why" },
	{ "printf 123456", 20000, 5, NULL, "'/bin/sh' printed more than 5 bytes" },
	{ "while :; do echo yes; done", 20000, 1000000, NULL, "'/bin/sh' printed more than 1000000 bytes" },
	{ "echo first; sleep 30 & exit 0", 20000, 100, "first\n", NULL },
	{ "echo first; setsid sleep 20 & sleep 0.2; exit 0", 20000, 100, "first\n", NULL },
	{ "setsid sleep 20 & sleep 30", 500, 100, NULL, "'/bin/sh' did not end within 500 ms" },
};

static void
make_shell(struct px_command *command, const char *script)
{
	struct px_err err;

	assert_int_equal(px_command_parse(command, "/bin/sh -c x", &err), 0);
	free(command->argv[2]);
	command->argv[2] = strdup(script);
	assert_non_null(command->argv[2]);
}

static void
runs_are_bounded_and_told(void **state)
{
	(void)state;
	for (size_t i = 0; i < COUNT(runs); i++) {
		struct px_buf out = PX_BUF(3 + runs[i].max_bytes);
		struct px_err err = { .code = PX_OK };
		struct px_command command;
		int64_t began = now_ms();
		int rc;

		make_shell(&command, runs[i].script);
		px_buf_add_text(&out, "so ");
		rc = px_proc_run(&command, runs[i].timeout_ms, &out, &err);
		if (now_ms() - began > MOST_MS)
			fail_msg("%s: took %d ms", runs[i].script, (int)(now_ms() - began));
		assert_false(out.failed);
		if (runs[i].said != NULL) {
			if (rc == 0 || err.code != PX_LATER || strcmp(err.text, runs[i].said) != 0)
				fail_msg("%s: %d, %s", runs[i].script, rc, err.text);
			assert_string_equal(px_buf_text(&out), "so ");
		} else if (rc == -1 || strcmp(px_buf_text(&out) + 3, runs[i].out) != 0) {
			fail_msg("%s: %s, '%s'", runs[i].script, err.text, px_buf_text(&out));
		}
		px_buf_clear(&out);
		px_command_clear(&command);
	}
}

static void
only_the_start_of_stderr_is_told(void **state)
{
	struct px_buf out = PX_BUF(100);
	struct px_command command;
	struct px_err err;

	(void)state;
	make_shell(&command, "printf '%0400d' 0 >&2; echo end >&2; exit 1");
	assert_int_equal(px_proc_run(&command, 5000, &out, &err), -1);
	assert_non_null(strstr(err.text, STATUS_1 ": 000"));
	assert_null(strstr(err.text, "end\n"));
	assert_int_equal(strlen(err.text), strlen(STATUS_1 ": ") + 400);
	px_command_clear(&command);
	px_buf_clear(&out);
}

static void
a_program_that_went_away_is_told(void **state)
{
	struct px_buf out = PX_BUF(100);
	struct px_command command;
	struct px_err err;

	(void)state;
	make_shell(&command, "x");
	free(command.argv[0]);
	command.argv[0] = strdup("/nonexistent/monit");
	assert_int_equal(px_proc_run(&command, 5000, &out, &err), -1);
	assert_int_equal(err.code, PX_LATER);
	assert_string_equal(err.text, "cannot run '/nonexistent/monit': No such file or directory");
	px_command_clear(&command);
	px_buf_clear(&out);
}

/* Whether the process whose number ${out} holds is gone, or will be soon. */
static bool
is_gone(const struct px_buf *out)
{
	char path[64];

	(void)snprintf(path, sizeof(path), "/proc/%.*s/stat", (int)strcspn(px_buf_text(out), "\n"), px_buf_text(out));
	for (int i = 0; i < 1000; i++) {
		char line[512] = "";
		FILE *file = fopen(path, "re");
		const char *state;

		if (file == NULL)
			return true;
		if (fgets(line, sizeof(line), file) == NULL)
			line[0] = '\0';
		(void)fclose(file);
		state = strrchr(line, ')');
		if (state == NULL || state[2] == 'Z')	/* a zombie that nobody has to reap here */
			return true;
		(void)usleep(10000);
	}
	return false;
}

static void
the_whole_group_is_killed(void **state)
{
	struct px_buf out = PX_BUF(100);
	struct px_command command;
	struct px_err err;

	(void)state;
	make_shell(&command, "sleep 30 & echo $!");
	assert_int_equal(px_proc_run(&command, 5000, &out, &err), 0);
	assert_true(is_gone(&out));
	px_command_clear(&command);
	px_buf_clear(&out);
}

static size_t
count_open(void)
{
	size_t count = 0;

	for (int fd = 0; fd < 256; fd++)
		if (fcntl(fd, F_GETFD) != -1)
			count++;
	return count;
}

/* A program gets the three streams and nothing else, and a group of its own. */
static void
a_program_starts_clean(void **state)
{
	static const char script[] = "ls /proc/self/fd | tr '\\n' ' '; readlink /proc/$$/fd/0;"
	    " [ $$ = $(cut -d' ' -f5 /proc/$$/stat) ] && echo own group";
	struct px_buf out = PX_BUF(1000);
	struct px_command command;
	struct px_err err = { .text = "" };
	size_t open_before = count_open();
	int leaked = open("/dev/null", O_RDONLY);	/* without O_CLOEXEC */
	int rc;

	(void)state;
	make_shell(&command, script);
	rc = px_proc_run(&command, 5000, &out, &err);
	if (rc == -1 || strcmp(px_buf_text(&out), "0 1 2 3 /dev/null\nown group\n") != 0)
		fail_msg("%s%s", err.text, px_buf_text(&out));	/* 3 is what ls itself has open */
	(void)close(leaked);
	assert_int_equal(count_open(), open_before);
	px_command_clear(&command);
	px_buf_clear(&out);
}

/* Its environment is ours, but for a PATH that nobody chose. */
static void
a_program_gets_the_system_folders_as_path(void **state)
{
	static char other[] = "PX_TEST_OTHER=kept";
	static const char *const paths[] = { "/nonexistent", "", NULL };
	struct px_command command;
	struct px_err err;

	(void)state;
	assert_int_equal(putenv(other), 0);
	assert_int_equal(px_command_parse(&command, "env", &err), 0);
	for (size_t i = 0; i < COUNT(paths); i++) {
		struct px_buf out = PX_BUF(1 << 20);
		const char *path;

		set_path(paths[i]);
		if (px_proc_run(&command, 5000, &out, &err) == -1)
			fail_msg("%s", err.text);
		path = strstr(px_buf_text(&out), "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin\n");
		assert_ptr_equal(path, px_buf_text(&out));
		assert_null(strstr(path + 1, "\nPATH="));
		assert_non_null(strstr(path, "\nPX_TEST_OTHER=kept\n"));
		px_buf_clear(&out);
	}
	px_command_clear(&command);
	set_path("/usr/bin:/bin");
}

static void
a_program_starts_with_default_signals(void **state)
{
	struct px_buf out = PX_BUF(1000);
	struct px_command command;
	struct px_err err = { .text = "" };
	unsigned long long blocked = 1;
	unsigned long long ignored = 1;
	sigset_t set;
	int rc;

	(void)state;
	/* Not by a shell, which would do some of it. */
	assert_int_equal(px_command_parse(&command, "grep -E '^Sig(Ign|Blk)' /proc/self/status", &err), 0);
	(void)signal(SIGPIPE, SIG_IGN);
	(void)signal(SIGHUP, SIG_IGN);
	(void)sigemptyset(&set);
	(void)sigaddset(&set, SIGUSR1);
	(void)sigprocmask(SIG_BLOCK, &set, NULL);
	rc = px_proc_run(&command, 5000, &out, &err);
	(void)sigprocmask(SIG_UNBLOCK, &set, NULL);
	(void)signal(SIGPIPE, SIG_DFL);
	(void)signal(SIGHUP, SIG_DFL);
	/* Signals 32 and 33 are the C library's own, nptl(7): who started this test may have left them ignored. */
	if (rc == -1 || sscanf(px_buf_text(&out), "SigBlk:%llx SigIgn:%llx", &blocked, &ignored) != 2 || blocked != 0 ||
	    (ignored & ~0x180000000ULL) != 0)
		fail_msg("%s%s", err.text, px_buf_text(&out));
	px_command_clear(&command);
	px_buf_clear(&out);
}

/* Runs ${body} in a child of its own, which exits with 0 when all went well. */
static void
in_a_child(int (*body)(void))
{
	pid_t pid = fork();
	int status = -1;

	assert_true(pid >= 0);
	if (pid == 0)
		_exit(body());
	assert_int_equal(waitpid(pid, &status, 0), pid);
	if (!WIFEXITED(status) || WEXITSTATUS(status) != 0)
		fail_msg("the child ended with %#x", (unsigned)status);
}

static int
run_without_streams(void)
{
	struct px_buf out = PX_BUF(100);
	struct px_command command;
	struct px_err err;

	make_shell(&command, "echo said >&2; echo hello; exit 3");
	for (int fd = 0; fd < 3; fd++)
		(void)close(fd);
	if (px_proc_run(&command, 5000, &out, &err) != -1 || strcmp(err.text, "'/bin/sh' ended with status 3: said") != 0)
		return 1;
	px_command_clear(&command);
	px_buf_clear(&out);
	return 0;
}

static void
closed_streams_do_not_mix_up_pipes(void **state)
{
	(void)state;
	in_a_child(run_without_streams);
}

static struct px_command shells[3];
static const struct px_command *const shell_list[] = { &shells[0], &shells[1], &shells[2] };

static struct px_helper *
start_helper(const char *first, const char *second)
{
	struct px_helper *helper = NULL;
	struct px_err err;

	make_shell(&shells[0], first);
	make_shell(&shells[1], second);
	shells[2].argv = NULL;
	assert_int_equal(px_helper_start(&helper, shell_list, 3, &err), 0);
	return helper;
}

static void
stop_helper(struct px_helper *helper)
{
	px_helper_stop(helper);
	px_command_clear(&shells[0]);
	px_command_clear(&shells[1]);
}

static void
a_helper_runs_its_commands_again_and_again(void **state)
{
	struct px_helper *helper = start_helper("echo one", "printf '%0100000d' 0; echo why >&2; [ -e /nonexistent ]");
	struct px_buf out = PX_BUF(200000);
	struct px_err err;

	(void)state;
	for (int i = 0; i < 3; i++) {
		px_buf_rewind(&out, 0);
		assert_int_equal(px_helper_run(helper, 0, 5000, &out, &err), 0);
		assert_string_equal(px_buf_text(&out), "one\n");
		assert_int_equal(px_helper_run(helper, 1, 5000, &out, &err), -1);
		assert_int_equal(err.code, PX_LATER);
		assert_string_equal(err.text, STATUS_1 ": why");
		assert_string_equal(px_buf_text(&out), "one\n");
	}
	for (size_t index = 2; index < 5; index++) {
		assert_int_equal(px_helper_run(helper, index, 5000, &out, &err), -1);
		assert_int_equal(err.code, PX_BUG);
	}
	px_buf_clear(&out);
	stop_helper(helper);
	px_helper_stop(NULL);
}

static void
a_helper_keeps_time_and_size(void **state)
{
	struct px_helper *helper = start_helper("sleep 30", "printf '%0100000d' 0");
	struct px_buf out = PX_BUF(100000);
	int64_t began = now_ms();
	struct px_err err;

	(void)state;
	assert_int_equal(px_helper_run(helper, 0, 300, &out, &err), -1);
	assert_string_equal(err.text, "'/bin/sh' did not end within 300 ms");
	assert_true(now_ms() - began < MOST_MS);
	assert_int_equal(px_helper_run(helper, 1, 5000, &out, &err), 0);
	assert_int_equal(out.len, 100000);
	assert_int_equal(px_helper_run(helper, 1, 5000, &out, &err), -1);
	assert_string_equal(err.text, "'/bin/sh' printed more than 0 bytes");
	px_buf_clear(&out);
	stop_helper(helper);
}

static void
a_helper_that_is_gone_is_told(void **state)
{
	struct px_helper *helper = start_helper("kill -9 $PPID; sleep 30", "echo x");
	struct px_buf out = PX_BUF(100);
	int64_t began = now_ms();
	struct px_err err;

	(void)state;
	for (int i = 0; i < 2; i++) {
		assert_int_equal(px_helper_run(helper, (size_t)i, 20000, &out, &err), -1);
		assert_int_equal(err.code, PX_LATER);
		assert_string_equal(err.text, "the helper that runs commands does not answer");
	}
	assert_true(now_ms() - began < MOST_MS);
	px_buf_clear(&out);
	stop_helper(helper);
}

static void
a_helper_has_no_descriptor_of_ours(void **state)
{
	int leaked = open("/dev/null", O_RDONLY | O_CLOEXEC);
	int high = fcntl(leaked, F_DUPFD_CLOEXEC, 200);
	struct px_helper *helper = start_helper("ls -v /proc/$PPID/fd | tr '\\n' ' '", "true");
	struct px_buf out = PX_BUF(1000);
	struct px_err err = { .text = "" };
	char expected[64] = "";

	(void)state;
	/* 0 to 2, the socket, and the pipes of the run itself; valgrind has some of its own, all high. */
	if (px_helper_run(helper, 0, 5000, &out, &err) == -1 || strstr(px_buf_text(&out), " 200 ") != NULL ||
	    strncmp(px_buf_text(&out), "0 1 2 3 4 6 8", 7) != 0)
		(void)snprintf(expected, sizeof(expected), "%s", px_buf_text(&out));
	if (geteuid() == 0)
		assert_string_equal(expected, "");
	else
		print_message("# only root may look into the helper\n");
	(void)close(leaked);
	(void)close(high);
	px_buf_clear(&out);
	stop_helper(helper);
}

/* Becomes nobody with a helper behind it, and is killed while the helper has nothing to do, or is ${at_work}. */
static void
start_and_be_killed(const char *script, bool at_work, int tell)
{
	struct px_helper *helper = start_helper("echo $PPID; id -u", script);
	struct px_buf out = PX_BUF(100);
	struct px_err err;

	if (geteuid() == 0 && (setresgid(NOBODY, NOBODY, NOBODY) == -1 || setresuid(NOBODY, NOBODY, NOBODY) == -1))
		_exit(1);
	if (px_helper_run(helper, 0, 5000, &out, &err) == -1 || write(tell, out.data, out.len) == -1)
		_exit(1);
	if (at_work)
		(void)alarm(1);
	else
		(void)raise(SIGKILL);
	_exit(px_helper_run(helper, 1, 20000, &out, &err) == -1 ? 1 : 2);
}

static void
check_helper_ends(bool at_work)
{
	struct px_buf told = PX_BUF(100);
	char text[64];
	int ends[2];
	pid_t pid;
	ssize_t count;

	assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
	/* Whoever is left behind comes to us, so that nobody stays a zombie. */
	assert_int_equal(prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0), 0);
	pid = fork();
	assert_true(pid >= 0);
	if (pid == 0)
		start_and_be_killed("sleep 30", at_work, ends[1]);
	(void)close(ends[1]);
	while ((count = read(ends[0], text, sizeof(text))) > 0)
		px_buf_add(&told, text, (size_t)count);
	(void)close(ends[0]);
	assert_int_equal(waitpid(pid, NULL, 0), pid);
	if (told.len == 0)
		fail_msg("the helper did not answer");
	if (strtoul(strchr(told.data, '\n'), NULL, 10) != geteuid())
		fail_msg("the helper is someone else: %s", told.data);
	assert_true(is_gone(&told));
	(void)prctl(PR_SET_CHILD_SUBREAPER, 0, 0, 0, 0);
	px_buf_clear(&told);
}

static void
a_helper_keeps_its_identity_and_ends_with_its_parent(void **state)
{
	(void)state;
	if (geteuid() != 0)
		print_message("# not root: identity stays the same anyway\n");
	check_helper_ends(false);
	check_helper_ends(true);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(commands_are_taken_apart),
		cmocka_unit_test(programs_are_found_in_the_system_folders_only),
		cmocka_unit_test(too_many_words_are_refused),
		cmocka_unit_test(runs_are_bounded_and_told),
		cmocka_unit_test(only_the_start_of_stderr_is_told),
		cmocka_unit_test(a_program_that_went_away_is_told),
		cmocka_unit_test(the_whole_group_is_killed),
		cmocka_unit_test(a_program_starts_clean),
		cmocka_unit_test(a_program_gets_the_system_folders_as_path),
		cmocka_unit_test(a_program_starts_with_default_signals),
		cmocka_unit_test(closed_streams_do_not_mix_up_pipes),
		cmocka_unit_test(a_helper_runs_its_commands_again_and_again),
		cmocka_unit_test(a_helper_keeps_time_and_size),
		cmocka_unit_test(a_helper_that_is_gone_is_told),
		cmocka_unit_test(a_helper_has_no_descriptor_of_ours),
		cmocka_unit_test(a_helper_keeps_its_identity_and_ends_with_its_parent),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
