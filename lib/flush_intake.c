/* SPDX-License-Identifier: MIT */
/* What a flush takes into the spool: overflow, and what recorders put into the default place. */
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "flush_parts.h"
#include "log.h"
#include "overflow.h"
#include "payload.h"
#include "sys.h"

static enum px_overflow_fate
take_in_file(void *arg, const struct px_overflow_file *file, bool *stop)
{
	struct flush_run *run = arg;
	struct px_buf topic = PX_BUF(PX_TOPIC_MAX);
	struct px_buf body = PX_BUF(PX_EVENT_MAX + 1024);
	enum px_overflow_fate fate = PX_OVERFLOW_BROKEN;
	struct px_item item = { .kind = PX_EVENT };
	struct px_err err;

	if (px_payload_event(file->document, &item, &topic, &body, &err) == -1) {
		if (err.code == PX_BUG)
			fate = PX_OVERFLOW_KEEP;
		px_log(PX_ERROR, fate == PX_OVERFLOW_KEEP ? "overflow file '%s' waits for another run: %s" :
		    "overflow file '%s' is no event and is set aside: %s", file->name, err.text);
	} else if (px_spool_take_in(run->spool, &item, file->name, file->perhaps_seq, &run->limits, &err) == -1) {
		px_log(PX_WARNING, "overflow waits: %s", err.text);
		run->overflow_waits = true;
		fate = PX_OVERFLOW_KEEP;
		*stop = true;
	} else {
		fate = PX_OVERFLOW_REMOVE;
	}
	px_buf_clear(&topic);
	px_buf_clear(&body);
	return fate;
}

static void
forget_file(void *arg, const char *name)
{
	struct flush_run *run = arg;
	struct px_err err;

	if (px_spool_forget_taken(run->spool, name, &err) == -1)
		px_log(PX_WARNING, "%s", err.text);
}

static void
take_in_overflow(struct flush_run *run, const char *spool_path)
{
	char folder[PATH_MAX];
	struct px_err err;

	if (px_overflow_folder(spool_path, folder, sizeof(folder), &err) == -1 ||
	    px_overflow_each(folder, take_in_file, forget_file, run, &err) == -1)
		px_log(PX_WARNING, "%s", err.text);
}

/* Moves one item of the fallback spool into this one; there it counts as acknowledged by us. */
struct moving {
	struct px_item *item;
	struct px_buf body;
	struct px_buf topic;
};

static bool
copy_first(void *arg, const struct px_spool_item *found)
{
	struct moving *moving = arg;

	px_buf_add(&moving->body, found->item.body.ptr, found->item.body.len);
	px_buf_add(&moving->topic, found->item.topic.ptr, found->item.topic.len);
	*moving->item = found->item;
	return false;
}

static int
move_first(struct flush_run *run, struct px_spool *from, bool *moved, struct px_err *err)
{
	struct px_item item = { .kind = PX_EVENT };
	struct moving moving = { &item, PX_BUF(PX_SNAPSHOT_MAX), PX_BUF(PX_TOPIC_MAX) };
	char name[PX_ID_MAX + 8];
	struct px_settled settled;
	int rc = -1;

	*moved = false;
	if (px_spool_each_pending(from, INT64_MAX, copy_first, &moving, err) == -1)
		goto out;
	if (item.id[0] == '\0') {
		rc = 0;
		goto out;
	}
	if (px_buf_check(&moving.body, "an item", err) == -1 || px_buf_check(&moving.topic, "a topic", err) == -1)
		goto out;
	settled = (struct px_settled){ item.seq, item.kind, NULL };
	item.body = (struct px_slice){ px_buf_text(&moving.body), moving.body.len };
	item.topic = (struct px_slice){ px_buf_text(&moving.topic), moving.topic.len };
	(void)snprintf(name, sizeof(name), "moved-%s", item.id);
	if (px_spool_take_in(run->spool, &item, name, 0, &run->limits, err) == -1 ||
	    px_spool_settle(from, &settled, 1, run->began.wall_ms, false, err) == -1 ||
	    px_spool_forget_taken(run->spool, name, err) == -1)
		goto out;
	*moved = true;
	rc = 0;
out:
	px_buf_clear(&moving.body);
	px_buf_clear(&moving.topic);
	return rc;
}

/* As any flush opens its spool, but that it makes none. */
static int
open_fallback(const struct px_flush_job *job, struct px_spool **from, struct px_err *err)
{
	const char *path = job->fallback_spool;

	flush_sweep(path);
	if (px_spool_open(from, path, PX_SPOOL_FLUSH, job->store.wait_ms, err) == 0)
		return 0;
	if (err->code != PX_CORRUPT || flush_renew(job, path, err->text, err) == -1)
		return -1;
	return px_spool_open(from, path, PX_SPOOL_FLUSH, job->store.wait_ms, err);
}

static int
move_all(struct flush_run *run, int64_t *count, struct px_err *err)
{
	struct px_spool *from = NULL;
	bool moved = true;
	int rc;

	rc = open_fallback(run->job, &from, err);
	while (rc == 0 && moved) {
		rc = move_first(run, from, &moved, err);
		*count += moved;
	}
	if (*count > 0)
		px_spool_tidy(from, &run->limits);
	px_spool_close(from);
	return rc;
}

/*
 * Recorders that could read no valid path put their events into the default place: they belong here too. Where another
 * flush is at work on them, they are its own to send.
 */
static void
take_in_fallback(struct flush_run *run)
{
	const char *path = run->job->fallback_spool;
	char lock_path[PATH_MAX];
	struct stat status;
	struct px_err err;
	int64_t count = 0;
	int lock;
	int rc;

	if (path == NULL || strcmp(path, run->job->store.spool_path) == 0)
		return;
	take_in_overflow(run, path);
	if (lstat(path, &status) == -1)
		return;
	(void)snprintf(lock_path, sizeof(lock_path), "%s-lock", path);
	lock = px_sys_lock(lock_path, 0, &err);
	if (lock == -1 && err.code == PX_LATER)
		return;
	rc = lock == -1 ? -1 : move_all(run, &count, &err);
	if (lock != -1)
		px_sys_unlock(lock);
	if (rc == -1 && err.code != PX_ABSENT)
		px_log(PX_WARNING, "events in the default place wait there: %s", err.text);
	if (count > 0)
		px_log(PX_NOTICE, "took in %" PRId64 " %s from the default place '%s'", count,
		    px_text_plural(count, "item", "items"), path);
}

void
flush_take_in(struct flush_run *run)
{
	take_in_overflow(run, run->job->store.spool_path);
	take_in_fallback(run);
}
