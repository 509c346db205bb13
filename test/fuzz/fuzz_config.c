/* SPDX-License-Identifier: MIT */
/* A configuration file and an identity file of any content: libFuzzer. */
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "config.h"
#include "text.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
check_value(void *arg, const char *section, const char *key, const char *value, int line)
{
	struct px_buf clean = PX_BUF(4 * PX_CONFIG_TEXT_MAX);

	(void)arg;
	(void)section;
	(void)key;
	px_text_escape(&clean, value, strlen(value));
	if (strcmp(px_buf_text(&clean), value) != 0 || line < 0)
		abort();
	px_buf_clear(&clean);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct px_config config;
	static struct px_device device;
	struct px_problems problems = { .count = 0 };
	struct px_err err = { .code = PX_OK };
	bool path_is_valid;
	char path[64];
	int fd = memfd_create("px-status.conf", MFD_CLOEXEC);

	if (fd == -1 || write(fd, data, size) != (ssize_t)size)
		abort();
	(void)snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	px_config_init(&config);
	if ((px_config_read(&config, path, &problems, &path_is_valid, &err) == -1) != (problems.count > 0))
		abort();
	if (config.spool.path[0] != '/' || config.snapshot.interval_ms < 1000 ||
	    config.schedule.splay_ms > INT64_C(30) * 86400 * 1000)
		abort();
	px_config_each(&config, check_value, NULL);

	config.device.identity_file = path;
	if (px_config_device(&config, "host", &device, &err) == 0 && device.id[0] == '\0')
		abort();
	(void)close(fd);
	return 0;
}
