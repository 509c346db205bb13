/* SPDX-License-Identifier: MIT */
#include "proc_parts.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "text.h"

#define STDERR_SHOWN 400
#define SHOWN_MAX 2400		/* the same escaped, at most */
#define LOOK_MS 50		/* how often is looked whether a program ended that left its pipes to a child */
#define LOOK_CLOSED_MS 2	/* the same, when all its pipes are closed */

extern char **environ;

int64_t
px_proc_monotonic_ms(void)
{
	struct timespec at = { 0, 0 };

	(void)clock_gettime(CLOCK_MONOTONIC, &at);
	return (int64_t)at.tv_sec * PX_MS_PER_S + at.tv_nsec / 1000000;
}

void
px_proc_close(int *fd)
{
	if (*fd != -1)
		(void)close(*fd);
	*fd = -1;
}

/* A program that runs. A pipe is -1 once it is at its end. */
struct child {
	pid_t pid;
	int out;
	int err;
	int start;		/* closed by the exec, or an errno from before it */
	int start_errno;
	bool ended;
	siginfo_t end;
	char said[STDERR_SHOWN];
	size_t said_len;
};

/* Why a run was stopped. */
enum stop { RUNS_ON, DONE, TIMED_OUT, TOO_LARGE, CALLER_GONE, BROKEN };

/*
 * The new program's side, between fork and exec: only calls that are safe there. The ends of the pipes go above the
 * standard streams first, since with a stream of ours closed one of them may have its number.
 */
static void
become_program(const struct px_command *command, char *const *environment, pid_t parent, int out, int err, int start)
{
	int null = open("/dev/null", O_RDONLY | O_CLOEXEC);
	int streams[] = { null, out, err };
	sigset_t none;
	int failed;

	start = fcntl(start, F_DUPFD_CLOEXEC, STDERR_FILENO + 1);
	for (int i = 0; i < 3; i++)
		streams[i] = fcntl(streams[i], F_DUPFD_CLOEXEC, STDERR_FILENO + 1);
	for (int i = 0; i < 3; i++)
		if (dup2(streams[i], i) == -1)
			goto fail;
	(void)setpgid(0, 0);
	(void)prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
	if (getppid() != parent)
		_exit(127);
	for (int number = 1; number < NSIG; number++)
		(void)signal(number, SIG_DFL);
	(void)sigemptyset(&none);
	(void)sigprocmask(SIG_SETMASK, &none, NULL);
	/* What we were given without close-on-exec is not for it. */
	(void)close_range(STDERR_FILENO + 1, UINT_MAX, CLOSE_RANGE_CLOEXEC);
	(void)execve(command->argv[0], command->argv, environment);
fail:
	failed = errno;
	if (write(start, &failed, sizeof(failed)) == -1)
		_exit(126);
	_exit(127);
}

/*
 * This process's environment, whose strings it borrows, but with the system folders for PATH: what a program finds is not to
 * depend on whether cron, a timer or a person started the flush. NULL for want of memory.
 */
static char **
make_environment(void)
{
	static char path[] = "PATH=" PROC_FOLDERS;
	char **environment;
	size_t count = 0;
	size_t kept = 0;

	while (environ[count] != NULL)
		count++;
	environment = calloc(count + 2, sizeof(environment[0]));
	if (environment == NULL)
		return NULL;
	environment[kept++] = path;
	for (size_t i = 0; i < count; i++)
		if (strncmp(environ[i], path, strlen("PATH=")) != 0)
			environment[kept++] = environ[i];
	return environment;
}

/* On -1 with errno nothing is left open. */
static int
start_child(struct child *child, const struct px_command *command)
{
	int pipes[3][2] = { { -1, -1 }, { -1, -1 }, { -1, -1 } };
	char **environment = make_environment();
	pid_t parent = getpid();
	int failed;

	if (environment == NULL)
		return -1;
	for (int i = 0; i < 3; i++)
		if (pipe2(pipes[i], O_CLOEXEC) == -1)
			goto fail;
	child->pid = fork();
	if (child->pid == -1)
		goto fail;
	if (child->pid == 0)
		become_program(command, environment, parent, pipes[0][1], pipes[1][1], pipes[2][1]);
	free(environment);
	/* Both sides do it, so that neither has to wait for the other. */
	(void)setpgid(child->pid, child->pid);
	child->out = pipes[0][0];
	child->err = pipes[1][0];
	child->start = pipes[2][0];
	for (int i = 0; i < 3; i++) {
		px_proc_close(&pipes[i][1]);
		(void)fcntl(pipes[i][0], F_SETFL, O_NONBLOCK);
	}
	return 0;
fail:
	failed = errno;
	free(environment);
	for (int i = 0; i < 3; i++) {
		px_proc_close(&pipes[i][0]);
		px_proc_close(&pipes[i][1]);
	}
	errno = failed;
	return -1;
}

/* Reads what is there now. The count; 0 at the end, then the pipe is closed; -1 when there is nothing yet. */
static ssize_t
read_now(int *fd, char *bytes, size_t size)
{
	ssize_t count;

	do
		count = read(*fd, bytes, size);
	while (count == -1 && errno == EINTR);
	if (count == -1 && errno == EAGAIN)
		return -1;
	if (count <= 0)
		px_proc_close(fd);
	return count > 0 ? count : 0;
}

/* Takes what the pipes hold, until ${until_ms}: a program that never stops writing is not to keep us here. */
static enum stop
drain(struct child *child, struct px_buf *out, int64_t until_ms)
{
	char chunk[16384];
	enum stop stop = RUNS_ON;
	ssize_t count;

	if (child->start != -1 && read_now(&child->start, chunk, sizeof(int)) == (ssize_t)sizeof(int))
		memcpy(&child->start_errno, chunk, sizeof(int));
	/* Only its start is kept, the rest is read so that nobody waits for it. */
	if (child->err != -1 && (count = read_now(&child->err, chunk, sizeof(chunk))) > 0) {
		size_t room = sizeof(child->said) - child->said_len;
		size_t kept = (size_t)count < room ? (size_t)count : room;

		memcpy(child->said + child->said_len, chunk, kept);
		child->said_len += kept;
	}
	while (child->out != -1 && (count = read_now(&child->out, chunk, sizeof(chunk))) > 0) {
		bool fits = (size_t)count <= out->max - out->len;

		px_buf_add(out, chunk, (size_t)count);
		if (out->failed)
			stop = fits ? BROKEN : TOO_LARGE;
		else if (px_proc_monotonic_ms() >= until_ms)
			stop = TIMED_OUT;
		if (stop != RUNS_ON)
			break;
	}
	explicit_bzero(chunk, sizeof(chunk));	/* it may have been a token */
	return stop;
}

/* Tells the end of ${child} without reaping it, so that its number stays its own until the group was killed. */
static void
look_for_end(struct child *child)
{
	siginfo_t info = { 0 };

	if (child->ended)
		return;
	if (waitid(P_PID, (id_t)child->pid, &info, WEXITED | WNOHANG | WNOWAIT) == -1)
		child->ended = errno == ECHILD;
	else if (info.si_pid == child->pid)
		child->ended = true;
	child->end = info;
}

/* Waits until there is something to do; ${watched} is the other end of who asked for the run, or -1. */
static enum stop
wait_for_child(const struct child *child, int watched, int64_t until_ms)
{
	struct pollfd fds[] = {
		{ .fd = child->out, .events = POLLIN },
		{ .fd = child->err, .events = POLLIN },
		{ .fd = child->start, .events = POLLIN },
		{ .fd = watched, .events = POLLRDHUP },
	};
	bool all_closed = child->out == -1 && child->err == -1 && child->start == -1;
	int64_t wait_ms = until_ms - px_proc_monotonic_ms();
	int64_t most_ms = all_closed ? LOOK_CLOSED_MS : LOOK_MS;

	if (wait_ms <= 0)
		return TIMED_OUT;
	(void)poll(fds, sizeof(fds) / sizeof(fds[0]), (int)(wait_ms < most_ms ? wait_ms : most_ms));
	return fds[3].revents != 0 ? CALLER_GONE : RUNS_ON;
}

/* Follows ${child} until it ended and all that it wrote is read, or it has to be stopped. */
static enum stop
follow(struct child *child, struct px_buf *out, int watched, int64_t until_ms)
{
	enum stop stop;

	for (;;) {
		/* Looked at before reading: then what it wrote to its end is read too. */
		look_for_end(child);
		stop = drain(child, out, until_ms);
		if (stop != RUNS_ON)
			return stop;
		if (child->ended)
			return DONE;
		stop = wait_for_child(child, watched, until_ms);
		if (stop != RUNS_ON)
			return stop;
	}
}

static void
end_child(struct child *child)
{
	const struct timespec step = { 0, 1000000 };
	int64_t until_ms = px_proc_monotonic_ms() + PROC_REAP_MS;

	(void)kill(-child->pid, SIGKILL);
	(void)kill(child->pid, SIGKILL);
	px_proc_close(&child->out);
	px_proc_close(&child->err);
	px_proc_close(&child->start);
	/* What hangs inside the kernel can't be waited for. */
	while (waitpid(child->pid, NULL, WNOHANG) == 0 && px_proc_monotonic_ms() < until_ms)
		(void)nanosleep(&step, NULL);
}

/* Puts ": " and the start of stderr, on one line, behind what ${err} says. */
static void
add_said(const struct child *child, struct px_err *err)
{
	struct px_slice said = px_slice_trim((struct px_slice){ child->said, child->said_len });
	struct px_buf shown = PX_BUF(SHOWN_MAX);
	char before[PX_ERR_MAX];
	char line[STDERR_SHOWN];
	size_t len = 0;

	if (said.len == 0)
		return;
	for (size_t i = 0; i < said.len; i++) {
		bool blank = said.ptr[i] == '\n' || said.ptr[i] == '\r' || said.ptr[i] == '\t';
		const char byte = blank ? ' ' : said.ptr[i];

		if (byte != ' ' || len == 0 || line[len - 1] != ' ')
			line[len++] = byte;
	}
	/* A character that the limit cut in two is left out. */
	px_text_escape(&shown, line, child->said_len == STDERR_SHOWN ? px_text_cut(line, len, len) : len);
	memcpy(before, err->text, sizeof(before));
	(void)px_err_set(err, err->code, "%s: %s", before, px_buf_text(&shown));
	px_buf_clear(&shown);
}

/* 0 when ${child} did well, else -1 with why not. */
static int
judge(const struct child *child, const char *program, enum stop stop, int64_t timeout_ms, size_t max, struct px_err *err)
{
	switch (stop) {
	case TOO_LARGE:
		return px_err_set(err, PX_LATER, "'%s' printed more than %zu bytes", program, max);
	case BROKEN:
		return px_err_set(err, PX_LATER, "no memory for what '%s' printed", program);
	case CALLER_GONE:
		return px_err_set(err, PX_LATER, "'%s' was stopped", program);
	case TIMED_OUT:
		(void)px_err_set(err, PX_LATER, "'%s' did not end within %" PRId64 " %s", program,
		    timeout_ms % PX_MS_PER_S == 0 ? timeout_ms / PX_MS_PER_S : timeout_ms,
		    timeout_ms % PX_MS_PER_S == 0 ? "s" : "ms");
		break;
	case RUNS_ON:
	case DONE:
		if (child->start_errno != 0)
			return px_err_set_errno(err, PX_LATER, child->start_errno, "cannot run '%s'", program);
		if (child->end.si_pid != child->pid)
			return px_err_set(err, PX_LATER, "cannot tell how '%s' ended", program);
		if (child->end.si_code == CLD_EXITED && child->end.si_status == 0)
			return 0;
		(void)px_err_set(err, PX_LATER, "'%s' %s %d", program,
		    child->end.si_code == CLD_EXITED ? "ended with status" : "was killed by signal", child->end.si_status);
		break;
	}
	add_said(child, err);
	return -1;
}

int
px_proc_run_for(const struct px_command *command, int watched, int64_t timeout_ms, struct px_buf *out, struct px_err *err)
{
	struct child child = { .out = -1, .err = -1, .start = -1 };
	int64_t until_ms;
	size_t start = out->len;
	enum stop stop;
	int rc;

	if (__builtin_add_overflow(px_proc_monotonic_ms(), timeout_ms, &until_ms))
		until_ms = INT64_MAX;
	if (start_child(&child, command) == -1)
		return px_err_set_errno(err, PX_LATER, errno, "cannot run '%s'", command->argv[0]);
	stop = follow(&child, out, watched, until_ms);
	end_child(&child);
	rc = judge(&child, command->argv[0], stop, timeout_ms, out->max - start, err);
	if (rc == -1)
		px_buf_rewind(out, start);
	return rc;
}

int
px_proc_run(const struct px_command *command, int64_t timeout_ms, struct px_buf *out, struct px_err *err)
{
	return px_proc_run_for(command, -1, timeout_ms, out, err);
}
