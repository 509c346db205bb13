/* SPDX-License-Identifier: MIT */
/* The watch over an exchange, see http_parts.h. */
#include <errno.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include "http_parts.h"

#define SOCKETS_MAX 16	/* curl tries two addresses at once, and keeps a few connections */
#define SLACK_MS 1000	/* curl's own time-out comes first */
#define AGAIN_MS 500	/* for sockets that were opened since */

static volatile sig_atomic_t sockets[SOCKETS_MAX];	/* 1 more than the number; 0: free */
static volatile sig_atomic_t time_is_up;
static struct sigaction action_before;

static void
end_sockets(int number)
{
	int saved = errno;

	(void)number;
	time_is_up = 1;
	for (size_t i = 0; i < SOCKETS_MAX; i++)
		if (sockets[i] > 0)
			(void)shutdown((int)sockets[i] - 1, SHUT_RDWR);
	errno = saved;
}

static void
set_timer(int64_t first_ms, int64_t again_ms)
{
	const struct itimerval timer = {
		.it_interval = { again_ms / PX_MS_PER_S, again_ms % PX_MS_PER_S * 1000 },
		.it_value = { first_ms / PX_MS_PER_S, first_ms % PX_MS_PER_S * 1000 },
	};

	(void)setitimer(ITIMER_REAL, &timer, NULL);
}

void
http_watch_start(int64_t timeout_ms)
{
	struct sigaction action = { .sa_handler = end_sockets, .sa_flags = SA_RESTART };

	time_is_up = 0;
	(void)sigemptyset(&action.sa_mask);
	(void)sigaction(SIGALRM, &action, &action_before);
	set_timer(timeout_ms + SLACK_MS, AGAIN_MS);
}

bool
http_watch_stop(void)
{
	set_timer(0, 0);
	(void)sigaction(SIGALRM, &action_before, NULL);
	return time_is_up != 0;
}

static void
replace_first(sig_atomic_t what, sig_atomic_t by)
{
	for (size_t i = 0; i < SOCKETS_MAX; i++)
		if (sockets[i] == what) {
			sockets[i] = by;
			return;
		}
}

curl_socket_t
http_watch_open(void *arg, curlsocktype purpose, struct curl_sockaddr *address)
{
	int fd = socket(address->family, address->socktype | SOCK_CLOEXEC, address->protocol);

	(void)arg;
	(void)purpose;
	if (fd != -1)
		replace_first(0, fd + 1);
	return fd;
}

int
http_watch_close(void *arg, curl_socket_t fd)
{
	(void)arg;
	replace_first(fd + 1, 0);
	return close(fd);
}
