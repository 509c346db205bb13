/* SPDX-License-Identifier: MIT */
#include "record.h"

#include <limits.h>
#include <stdio.h>

#include "log.h"
#include "overflow.h"
#include "sys.h"

int
px_record_open_spool(const struct px_record_job *job, enum px_spool_use use, struct px_spool **out, struct px_err *err)
{
	struct px_spool_birth birth;

	if (px_spool_open(out, job->spool_path, use, job->wait_ms, err) == 0)
		return 0;
	if (err->code != PX_ABSENT)
		return -1;
	if (job->birth(job->birth_arg, &birth, err) == -1)
		return -1;
	birth.max_bytes = job->limits.max_bytes;
	if (px_spool_create(job->spool_path, &birth, err) == -1)
		return -1;
	return px_spool_open(out, job->spool_path, use, job->wait_ms, err);
}

static int
put_in_spool(const struct px_record_job *job, struct px_item *item, struct px_err *err)
{
	struct px_spool *spool = NULL;
	int rc = -1;

	if (px_record_open_spool(job, PX_SPOOL_RECORD, &spool, err) == -1)
		goto out;
	if (px_spool_put(spool, item, &job->limits, NULL, err) == -1)
		goto out;
	rc = 0;
out:
	px_spool_close(spool);
	return rc;
}

static int
put_in_overflow(const struct px_record_job *job, const struct px_item *item, struct px_slice document, struct px_err *err)
{
	char folder[PATH_MAX];

	if (px_overflow_folder(job->spool_path, folder, sizeof(folder), err) == -1)
		return -1;
	return px_overflow_put(folder, item->id, item->seq, document, err);
}

/* After the event, so that who sees the mark finds it. */
static void
leave_mark(const struct px_record_job *job)
{
	char path[PATH_MAX];

	if (snprintf(path, sizeof(path), "%s" PX_RECORD_MARK_SUFFIX, job->spool_path) < (int)sizeof(path))
		px_sys_mark(path);
}

int
px_record(const struct px_record_job *job, struct px_item *item, struct px_slice document, enum px_stored *where,
    struct px_err *err)
{
	item->seq = 0;
	*where = PX_STORED_IN_SPOOL;
	if (put_in_spool(job, item, err) == 0) {
		leave_mark(job);
		return 0;
	}

	*where = PX_STORED_IN_OVERFLOW;
	px_log(PX_ERROR, "%s", err->text);
	if (put_in_overflow(job, item, document, err) == 0) {
		leave_mark(job);
		px_log(PX_WARNING, "event %s waits in the overflow folder beside '%s'; the next flush that can open the spool takes it in",
		    item->id, job->spool_path);
		return 0;
	}

	*where = PX_STORED_IN_SYSLOG;
	px_log(PX_ERROR, "%s", err->text);
	if (px_log_event(item->id, document.ptr, document.len) == -1)
		return px_err_set(err, PX_STORAGE, "event %s is lost: neither spool nor overflow nor syslog took it", item->id);
	return px_err_set(err, PX_STORAGE, "event %s is in syslog only", item->id);
}
