/* SPDX-License-Identifier: MIT */
#include "proc.h"

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
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "text.h"

#define ARGS_MAX 64
#define STDERR_SHOWN 400
#define SHOWN_MAX 2400		/* the same escaped, at most */
#define LOOK_MS 50		/* how often is looked whether a program ended that left its pipes to a child */
#define LOOK_CLOSED_MS 2	/* the same, when all its pipes are closed */
#define REAP_MS 1000		/* how long what was killed may take to be gone */
#define HELPER_GRACE_MS 2000
#define HELPER_OUTPUT_MAX (64 << 20)

extern char **environ;

static int64_t
monotonic_ms(void)
{
	struct timespec at = { 0, 0 };

	(void)clock_gettime(CLOCK_MONOTONIC, &at);
	return (int64_t)at.tv_sec * PX_MS_PER_S + at.tv_nsec / 1000000;
}

static void
close_fd(int *fd)
{
	if (*fd != -1)
		(void)close(*fd);
	*fd = -1;
}

/* Takes the next word off ${at} into ${word}. 1 with a word, 0 at the end, -1 when a quote is not closed. */
static int
next_word(const char **at, struct px_buf *word)
{
	const char *in = *at + strspn(*at, " \t");
	char quote = '\0';

	px_buf_rewind(word, 0);
	*at = in;
	if (*in == '\0')
		return 0;
	for (; *in != '\0' && (quote != '\0' || (*in != ' ' && *in != '\t')); in++) {
		if (quote == '\0' && (*in == '\'' || *in == '"'))
			quote = *in;
		else if (quote == *in)
			quote = '\0';
		else
			px_buf_add_byte(word, *in);
	}
	*at = in;
	return quote == '\0' ? 1 : -1;
}

/* 0 when ${path} is a file that may be executed, else -1 with errno. */
static int
check_program(const char *path)
{
	struct stat st;

	if (stat(path, &st) == -1)
		return -1;
	if (!S_ISREG(st.st_mode)) {
		errno = EACCES;
		return -1;
	}
	return faccessat(AT_FDCWD, path, X_OK, AT_EACCESS);
}

/* Returns the absolute path of ${program}, owned by the caller; NULL with ${err}. */
static char *
find_program(const char *program, struct px_err *err)
{
	static const char *const folders[] = { "/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin" };
	char path[PATH_MAX];
	char *found = NULL;

	if (strchr(program, '/') != NULL) {
		if (program[0] != '/')
			(void)px_err_set(err, PX_CONFIG, "the program '%s' is not an absolute path", program);
		else if (check_program(program) == -1)
			(void)px_err_set_errno(err, PX_ABSENT, errno, "cannot run '%s'", program);
		else if ((found = strdup(program)) == NULL)
			(void)px_err_set(err, PX_CONFIG, "no memory");
		return found;
	}
	for (size_t i = 0; program[0] != '\0' && i < sizeof(folders) / sizeof(folders[0]); i++) {
		int len = snprintf(path, sizeof(path), "%s/%s", folders[i], program);

		if (len < 0 || (size_t)len >= sizeof(path) || check_program(path) == -1)
			continue;
		found = strdup(path);
		if (found == NULL)
			(void)px_err_set(err, PX_CONFIG, "no memory");
		return found;
	}
	(void)px_err_set(err, PX_ABSENT, "cannot find the program '%s' in the system folders", program);
	return NULL;
}

int
px_command_parse(struct px_command *out, const char *text, struct px_err *err)
{
	const char *at = text;
	struct px_buf word = PX_BUF(strlen(text) + 1);
	size_t count = 0;
	int more;
	int rc = -1;

	out->argv = calloc(ARGS_MAX + 1, sizeof(out->argv[0]));
	if (out->argv == NULL)
		return px_err_set(err, PX_CONFIG, "no memory");
	while ((more = next_word(&at, &word)) == 1) {
		if (count == ARGS_MAX) {
			(void)px_err_set(err, PX_CONFIG, "a command of more than %d words", ARGS_MAX);
			goto out;
		}
		out->argv[count] = count == 0 ? find_program(px_buf_text(&word), err) : strdup(px_buf_text(&word));
		if (out->argv[count] == NULL && count > 0)
			(void)px_err_set(err, PX_CONFIG, "no memory");
		if (out->argv[count++] == NULL)
			goto out;
	}
	if (more == -1)
		(void)px_err_set(err, PX_CONFIG, "a quote in the command is not closed");
	else if (count == 0)
		(void)px_err_set(err, PX_CONFIG, "the command is empty");
	else
		rc = 0;
out:
	px_buf_clear(&word);
	if (rc == -1)
		px_command_clear(out);
	return rc;
}

void
px_command_clear(struct px_command *command)
{
	for (size_t i = 0; command->argv != NULL && command->argv[i] != NULL; i++)
		free(command->argv[i]);
	free(command->argv);
	command->argv = NULL;
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
become_program(const struct px_command *command, int out, int err, int start)
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
	for (int number = 1; number < NSIG; number++)
		(void)signal(number, SIG_DFL);
	(void)sigemptyset(&none);
	(void)sigprocmask(SIG_SETMASK, &none, NULL);
	/* What we were given without close-on-exec is not for it. */
	(void)close_range(STDERR_FILENO + 1, UINT_MAX, CLOSE_RANGE_CLOEXEC);
	(void)execve(command->argv[0], command->argv, environ);
fail:
	failed = errno;
	if (write(start, &failed, sizeof(failed)) == -1)
		_exit(126);
	_exit(127);
}

/* On -1 with errno nothing is left open. */
static int
start_child(struct child *child, const struct px_command *command)
{
	int pipes[3][2] = { { -1, -1 }, { -1, -1 }, { -1, -1 } };
	int failed;

	for (int i = 0; i < 3; i++)
		if (pipe2(pipes[i], O_CLOEXEC) == -1)
			goto fail;
	child->pid = fork();
	if (child->pid == -1)
		goto fail;
	if (child->pid == 0)
		become_program(command, pipes[0][1], pipes[1][1], pipes[2][1]);
	/* Both sides do it, so that neither has to wait for the other. */
	(void)setpgid(child->pid, child->pid);
	child->out = pipes[0][0];
	child->err = pipes[1][0];
	child->start = pipes[2][0];
	for (int i = 0; i < 3; i++) {
		close_fd(&pipes[i][1]);
		(void)fcntl(pipes[i][0], F_SETFL, O_NONBLOCK);
	}
	return 0;
fail:
	failed = errno;
	for (int i = 0; i < 3; i++) {
		close_fd(&pipes[i][0]);
		close_fd(&pipes[i][1]);
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
		close_fd(fd);
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
		else if (monotonic_ms() >= until_ms)
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
	int64_t wait_ms = until_ms - monotonic_ms();
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
	int64_t until_ms = monotonic_ms() + REAP_MS;

	(void)kill(-child->pid, SIGKILL);
	(void)kill(child->pid, SIGKILL);
	close_fd(&child->out);
	close_fd(&child->err);
	close_fd(&child->start);
	/* What hangs inside the kernel can't be waited for. */
	while (waitpid(child->pid, NULL, WNOHANG) == 0 && monotonic_ms() < until_ms)
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

/* px_proc_run, which ends too when the other end of the socket ${watched} is closed. */
static int
run(const struct px_command *command, int watched, int64_t timeout_ms, struct px_buf *out, struct px_err *err)
{
	struct child child = { .out = -1, .err = -1, .start = -1 };
	int64_t until_ms;
	size_t start = out->len;
	enum stop stop;
	int rc;

	if (__builtin_add_overflow(monotonic_ms(), timeout_ms, &until_ms))
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
	return run(command, -1, timeout_ms, out, err);
}

struct px_helper {
	pid_t pid;
	int fd;		/* -1 once something went wrong between the two: what comes next could not be told apart */
};

/* What goes over the socket, between two processes of the same program. */
struct request {
	uint64_t index;
	uint64_t max_bytes;
	int64_t timeout_ms;
};

struct reply {
	uint64_t len;		/* bytes of output that follow */
	struct px_err err;	/* PX_OK: it went well */
};

/* All of ${len} bytes, or -1. */
static int
send_all(int fd, const void *bytes, size_t len)
{
	const char *at = bytes;

	while (len > 0) {
		ssize_t count = send(fd, at, len, MSG_NOSIGNAL);

		if (count == -1 && errno == EINTR)
			continue;
		if (count <= 0)
			return -1;
		at += count;
		len -= (size_t)count;
	}
	return 0;
}

/* All of ${len} bytes before ${until_ms}, or -1. */
static int
receive_all(int fd, void *bytes, size_t len, int64_t until_ms)
{
	char *at = bytes;

	while (len > 0) {
		struct pollfd ready = { .fd = fd, .events = POLLIN };
		int64_t wait_ms = until_ms - monotonic_ms();
		ssize_t count;

		if (wait_ms <= 0)
			return -1;
		if (poll(&ready, 1, (int)(wait_ms < INT_MAX ? wait_ms : INT_MAX)) <= 0)
			continue;
		count = recv(fd, at, len, MSG_DONTWAIT);
		if (count == -1 && (errno == EINTR || errno == EAGAIN))
			continue;
		if (count <= 0)
			return -1;
		at += count;
		len -= (size_t)count;
	}
	return 0;
}

/* Serves until the other end is closed. The other process has less rights than this one: nothing of its is believed. */
static void
serve(int fd, const struct px_command *const *commands, size_t count)
{
	struct request request;

	while (receive_all(fd, &request, sizeof(request), INT64_MAX) == 0) {
		struct px_buf out = PX_BUF(request.max_bytes < HELPER_OUTPUT_MAX ? (size_t)request.max_bytes : HELPER_OUTPUT_MAX);
		struct reply reply;
		int sent;

		memset(&reply, 0, sizeof(reply));
		if (request.index >= count || commands[request.index]->argv == NULL)
			(void)px_err_set(&reply.err, PX_BUG, "the helper has no such command");
		else if (run(commands[request.index], fd, request.timeout_ms, &out, &reply.err) == 0)
			reply.err.code = PX_OK;
		reply.len = out.len;
		sent = send_all(fd, &reply, sizeof(reply));
		if (sent == 0)
			sent = send_all(fd, px_buf_text(&out), out.len);
		px_buf_wipe(&out);
		if (sent == -1)
			return;
	}
}

/* The helper's side of px_helper_start. The socket becomes the only descriptor beside the standard streams. */
static void
become_helper(int ends[2], pid_t parent, const struct px_command *const *commands, size_t count)
{
	int kept = STDERR_FILENO + 1;

	(void)prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
	(void)prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
	if (getppid() != parent)
		_exit(0);
	(void)close(ends[0]);
	if (ends[1] != kept && dup3(ends[1], kept, O_CLOEXEC) == -1)
		_exit(1);
	if (ends[1] < kept)
		(void)close(ends[1]);
	if (close_range((unsigned)kept + 1, UINT_MAX, 0) == -1)
		for (long other = kept + 1; other < sysconf(_SC_OPEN_MAX); other++)
			(void)close((int)other);
	serve(kept, commands, count);
	_exit(0);
}

int
px_helper_start(struct px_helper **out, const struct px_command *const *commands, size_t count, struct px_err *err)
{
	struct px_helper *helper = calloc(1, sizeof(*helper));
	pid_t parent = getpid();
	int ends[2];

	if (helper == NULL)
		return px_err_set(err, PX_BUG, "no memory");
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) == -1) {
		free(helper);
		return px_err_set_errno(err, PX_BUG, errno, "cannot start the helper");
	}
	helper->pid = fork();
	if (helper->pid == 0)
		become_helper(ends, parent, commands, count);
	(void)close(ends[1]);
	helper->fd = ends[0];
	if (helper->pid == -1) {
		(void)px_err_set_errno(err, PX_BUG, errno, "cannot start the helper");
		(void)close(ends[0]);
		free(helper);
		return -1;
	}
	*out = helper;
	return 0;
}

int
px_helper_run(struct px_helper *helper, size_t index, int64_t timeout_ms, struct px_buf *out, struct px_err *err)
{
	struct request request = { index, out->max - out->len, timeout_ms };
	struct reply reply;
	int64_t until_ms;
	char *room = NULL;

	if (__builtin_add_overflow(monotonic_ms() + HELPER_GRACE_MS, timeout_ms, &until_ms))
		until_ms = INT64_MAX;
	if (helper->fd == -1 || send_all(helper->fd, &request, sizeof(request)) == -1 ||
	    receive_all(helper->fd, &reply, sizeof(reply), until_ms) == -1 || reply.len > request.max_bytes)
		goto fail;
	if (reply.len > 0)
		room = px_buf_reserve(out, (size_t)reply.len);
	if (reply.len > 0 && (room == NULL || receive_all(helper->fd, room, (size_t)reply.len, until_ms) == -1))
		goto fail;
	px_buf_used(out, (size_t)reply.len);
	if (reply.err.code == PX_OK)
		return 0;
	*err = reply.err;
	return -1;
fail:
	close_fd(&helper->fd);
	px_buf_rewind(out, out->len);
	return px_err_set(err, PX_LATER, "the helper that runs commands does not answer");
}

void
px_helper_stop(struct px_helper *helper)
{
	const struct timespec step = { 0, 1000000 };
	int64_t until_ms = monotonic_ms() + REAP_MS + HELPER_GRACE_MS;

	if (helper == NULL)
		return;
	/* This is its sign to end; a signal may not be allowed any more. */
	close_fd(&helper->fd);
	while (waitpid(helper->pid, NULL, WNOHANG) == 0 && monotonic_ms() < until_ms)
		(void)nanosleep(&step, NULL);
	free(helper);
}
