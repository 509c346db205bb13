/* SPDX-License-Identifier: MIT */
/*
 * A file in the overflow folder: the first byte chooses its name (an event's, one with a seq, others), the next what the
 * flush says to it, the rest stands in it. Each event file is shown once, as it is, and then gone, kept or set aside.
 */
#include <fcntl.h>
#include <limits.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "log.h"
#include "overflow.h"
#include "payload.h"

#define ID "01939f1e-0000-7000-8000-000000000001"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len);

static const struct {
	const char *name;
	bool is_event;
	int64_t perhaps_seq;
} names[] = {
	{ ID ".json", true, 0 },
	{ ID "-17.json", true, 17 },
	{ ID "-0.json", false, 0 },
	{ ID "-99999999999999999999.json", false, 0 },
	{ ID ".json.bad", false, 0 },
	{ ".tmp-" ID, false, 0 },
	{ "x.json", false, 0 },
};

struct visit {
	const uint8_t *bytes;
	size_t len;
	int64_t perhaps_seq;
	enum px_overflow_fate fate;
	int shown;
	int removed;
};

static char folder[64];

static void
expect(bool holds)
{
	if (!holds)
		abort();
}

/* As a flush does. */
static void
read_event(struct px_slice document)
{
	struct px_buf topic = PX_BUF(PX_TOPIC_MAX);
	struct px_buf body = PX_BUF(PX_EVENT_MAX + 1024);
	struct px_item item = { .kind = PX_EVENT };
	struct px_err err = { PX_OK, "" };

	if (px_payload_event(document, &item, &topic, &body, &err) == 0)
		expect(px_id_is_valid(px_slice(item.id)) && item.body.len > 0);
	else
		expect(err.code != PX_OK && err.text[0] != '\0');
	px_buf_clear(&topic);
	px_buf_clear(&body);
}

static enum px_overflow_fate
show(void *arg, const struct px_overflow_file *file, bool *stop)
{
	struct visit *visit = arg;

	(void)stop;
	visit->shown++;
	expect(file->document.len == visit->len && memcmp(file->document.ptr, visit->bytes, visit->len) == 0);
	expect(file->perhaps_seq == visit->perhaps_seq && strcmp(file->id, ID) == 0);
	read_event(file->document);
	return visit->fate;
}

static void
count_removed(void *arg, const char *name)
{
	struct visit *visit = arg;

	(void)name;
	visit->removed++;
}

static bool
is_there(const char *name, const char *suffix)
{
	char path[PATH_MAX];
	struct stat status;

	(void)snprintf(path, sizeof(path), "%s/%s%s", folder, name, suffix);
	return lstat(path, &status) == 0;
}

static void
put(const char *name, const uint8_t *bytes, size_t len)
{
	char path[PATH_MAX];
	int fd;

	(void)snprintf(path, sizeof(path), "%s/%s", folder, name);
	fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	expect(fd != -1 && write(fd, bytes, len) == (ssize_t)len && close(fd) == 0);
}

static void
take_away(const char *name)
{
	static const char *const suffixes[] = { "", ".bad", ".2.bad" };
	char path[PATH_MAX];

	for (size_t i = 0; i < sizeof(suffixes) / sizeof(suffixes[0]); i++) {
		(void)snprintf(path, sizeof(path), "%s/%s%s", folder, name, suffixes[i]);
		(void)unlink(path);
	}
}

static void
remove_folder(void)
{
	(void)rmdir(folder);
}

static void
make_folder(void)
{
	if (folder[0] != '\0')
		return;
	px_log_open("fuzz_overflow", PX_LOG_STDERR, PX_ERROR - 1);
	(void)snprintf(folder, sizeof(folder), "%s/px-fuzz-XXXXXX", access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp");
	expect(mkdtemp(folder) != NULL && atexit(remove_folder) == 0);
}

int
LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
	struct visit visit = { .bytes = bytes + 2, .len = len - 2 };
	struct px_err err;
	size_t which;

	if (len < 2)
		return 0;
	make_folder();
	which = bytes[0] % (sizeof(names) / sizeof(names[0]));
	visit.fate = (enum px_overflow_fate)(bytes[1] % (PX_OVERFLOW_BROKEN + 1));
	visit.perhaps_seq = names[which].perhaps_seq;
	put(names[which].name, visit.bytes, visit.len);
	expect(px_overflow_count(folder) == names[which].is_event);
	expect(px_overflow_each(folder, show, count_removed, &visit, &err) == 0);
	if (!names[which].is_event) {
		expect(visit.shown == 0 && is_there(names[which].name, ""));
	} else if (visit.shown == 0) {		/* larger than any event */
		expect(visit.len > PX_EVENT_MAX && is_there(names[which].name, ".bad"));
	} else {
		expect(visit.shown == 1 && visit.removed == (visit.fate == PX_OVERFLOW_REMOVE));
		expect(is_there(names[which].name, "") == (visit.fate == PX_OVERFLOW_KEEP));
		expect(is_there(names[which].name, ".bad") == (visit.fate == PX_OVERFLOW_BROKEN));
	}
	take_away(names[which].name);
	return 0;
}
