/* SPDX-License-Identifier: MIT */
/* The helper: a process that keeps its identity, and runs commands for one that gave its own away. */
#include "proc_parts.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define HELPER_GRACE_MS 2000
#define HELPER_OUTPUT_MAX (64 << 20)

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
		int64_t wait_ms = until_ms - px_proc_monotonic_ms();
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
		else if (px_proc_run_for(commands[request.index], fd, request.timeout_ms, &out, &reply.err) == 0)
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

/*
 * The helper's side of px_helper_start. The socket becomes the only descriptor beside the standard streams. Its end is the
 * sign that the other process is gone, however it went: a signal would kill the helper before it has killed what it runs.
 */
static void
become_helper(int ends[2], const struct px_command *const *commands, size_t count)
{
	int kept = STDERR_FILENO + 1;

	(void)prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
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
	int ends[2];

	if (helper == NULL)
		return px_err_set(err, PX_BUG, "no memory");
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) == -1) {
		free(helper);
		return px_err_set_errno(err, PX_BUG, errno, "cannot start the helper");
	}
	helper->pid = fork();
	if (helper->pid == 0)
		become_helper(ends, commands, count);
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

	if (__builtin_add_overflow(px_proc_monotonic_ms() + HELPER_GRACE_MS, timeout_ms, &until_ms))
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
	px_proc_close(&helper->fd);
	px_buf_rewind(out, out->len);
	return px_err_set(err, PX_LATER, "the helper that runs commands does not answer");
}

void
px_helper_stop(struct px_helper *helper)
{
	const struct timespec step = { 0, 1000000 };
	int64_t until_ms = px_proc_monotonic_ms() + PROC_REAP_MS + HELPER_GRACE_MS;

	if (helper == NULL)
		return;
	/* This is its sign to end; a signal may not be allowed any more. */
	px_proc_close(&helper->fd);
	while (waitpid(helper->pid, NULL, WNOHANG) == 0 && px_proc_monotonic_ms() < until_ms)
		(void)nanosleep(&step, NULL);
	free(helper);
}
