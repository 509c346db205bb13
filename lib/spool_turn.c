/* SPDX-License-Identifier: MIT */
/*
 * Recorders take turns. SQLite lets who finds a spool locked ask again after a pause: of eight that record without pause
 * some would ask for a tenth of a second, and for most of that time nobody would write. In a queue each goes on the moment
 * the one before it ends, and is alone when it does.
 */
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/file.h>
#include <sys/time.h>
#include <unistd.h>

#include "spool_db.h"

#define US_PER_MS 1000
#define MS_PER_S 1000
#define AGAIN_MS 50	/* where the first signal came before the wait began */

static void
interrupt(int number)
{
	(void)number;
}

static struct timeval
to_timeval(int64_t ms)
{
	return (struct timeval){ ms / MS_PER_S, ms % MS_PER_S * US_PER_MS };
}

/* The caller's own alarm, ${before}, goes on as if nothing had been. */
static void
restore_timer(struct itimerval *before, int64_t waited_ms)
{
	int64_t left_ms = (int64_t)before->it_value.tv_sec * MS_PER_S + before->it_value.tv_usec / US_PER_MS - waited_ms;

	if (timerisset(&before->it_value))
		before->it_value = to_timeval(left_ms > 1 ? left_ms : 1);
	(void)setitimer(ITIMER_REAL, before, NULL);
}

void
px_turn_take(struct px_spool *spool)
{
	struct sigaction action = { .sa_handler = interrupt };
	struct sigaction action_before;
	struct itimerval timer = { to_timeval(AGAIN_MS), to_timeval(spool->wait_ms) };
	struct itimerval timer_before;
	char log_path[PATH_MAX];
	struct px_err ignored;
	int64_t began_ms;

	/* SQLite locks the spool's file, never its log: closing a descriptor of that does no harm. */
	if (px_db_side_path(spool->path, "-wal", log_path, &ignored) == 0)
		spool->turn_fd = open(log_path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
	if (spool->turn_fd == -1 || flock(spool->turn_fd, LOCK_EX | LOCK_NB) == 0 || spool->wait_ms <= 0)
		return;
	began_ms = px_db_monotonic_ms();
	(void)sigemptyset(&action.sa_mask);
	(void)setitimer(ITIMER_REAL, &(struct itimerval){ .it_value = { 0, 0 } }, &timer_before);
	(void)sigaction(SIGALRM, &action, &action_before);
	(void)setitimer(ITIMER_REAL, &timer, NULL);
	(void)flock(spool->turn_fd, LOCK_EX);	/* or it is in vain: then SQLite's locks alone decide */
	(void)setitimer(ITIMER_REAL, &(struct itimerval){ .it_value = { 0, 0 } }, NULL);
	(void)sigaction(SIGALRM, &action_before, NULL);
	restore_timer(&timer_before, px_db_monotonic_ms() - began_ms);
}

void
px_turn_end(struct px_spool *spool)
{
	if (spool->turn_fd != -1)
		(void)close(spool->turn_fd);
	spool->turn_fd = -1;
}
