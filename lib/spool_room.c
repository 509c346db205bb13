/* SPDX-License-Identifier: MIT */
#include "spool_make.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#define MAX_BYTES_MIN (INT64_C(1) << 20)
#define RESERVE_MAX (INT64_C(400) << 10)
#define LOG_MAX (INT64_C(12) << 20)		/* of the write-ahead log: room for three of the largest snapshots */
#define CHECKPOINT_FRAMES 48		/* each recorder reads the whole log first: few, but not a checkpoint for each */
#define KEPT_FRAMES 60		/* and few are left over in it, since each recorder looks for its own among them */
#define FLUSH_FRAMES 512		/* for a flush: while it is there recorders find the log's index ready */
#define SHARED_MEMORY_PER_FRAMES 4096		/* -shm has a block of 32 KiB for each so many frames */
#define SHARED_MEMORY_BLOCK (INT64_C(32) << 10)

#define ITEM_PAGES 8		/* that an insert may need beside the document's own: leaves, their parents, pointer maps */
#define SLACK_FRAMES 20		/* that making room may need */
#define OVERFLOW_PAYLOAD (SPOOL_PAGE - 4)
#define BLOCK 512		/* of st_blocks */
#define EVICTIONS_MAX 5000	/* in one transaction, after bounds were lowered: no recorder may take long */
#define KEPT_FREE_PAGES 32	/* not worth shrinking for */
#define SHRINK_PAGES 64	/* at a time: all of them are in memory */

/*
 * max_bytes holds for the sum of four files: the reserve, -shm, the write-ahead log and the database. An item is in the
 * log and in the database at the same time.
 */
struct spool_bounds
px_room_bounds(int64_t max_bytes)
{
	struct spool_bounds bounds;
	int64_t left = max_bytes > MAX_BYTES_MIN ? max_bytes : MAX_BYTES_MIN;
	int64_t log;

	bounds.reserve_bytes = left / 8 < RESERVE_MAX ? left / 8 / SPOOL_PAGE * SPOOL_PAGE : RESERVE_MAX;
	left -= bounds.reserve_bytes;
	log = left / 8 * 3 < LOG_MAX ? left / 8 * 3 : LOG_MAX;
	bounds.max_frames = log / SPOOL_FRAME - 1;
	left -= (bounds.max_frames + 1) * SPOOL_FRAME;
	left -= (bounds.max_frames / SHARED_MEMORY_PER_FRAMES + 1) * SHARED_MEMORY_BLOCK;
	bounds.max_pages = left / SPOOL_PAGE;
	bounds.checkpoint_frames = bounds.max_frames / 3 < CHECKPOINT_FRAMES ? bounds.max_frames / 3 : CHECKPOINT_FRAMES;
	return bounds;
}

static int64_t
file_bytes(const char *path, const char *suffix)
{
	char name[PATH_MAX];
	struct stat status;
	struct px_err ignored;

	if (px_db_side_path(path, suffix, name, &ignored) == -1 || lstat(name, &status) == -1 || !S_ISREG(status.st_mode))
		return 0;
	return status.st_size;
}

/*
 * A checkpoint costs three syncs, and all that was read of the file is forgotten: a flush that settles batch after batch
 * has one for many of them, where the bound leaves recorders plenty beside it. It leaves an empty log behind.
 *
 * Not on a disk that is full, or was when the reserve was to be made again: there a log that grows would take the room that
 * the file needs for what is in the log.
 */
void
px_room_set_bounds(struct px_spool *spool, int64_t max_bytes)
{
	struct spool_bounds *bounds = &spool->bounds;
	int64_t frames;

	*bounds = px_room_bounds(max_bytes);
	frames = bounds->max_frames / 8 < FLUSH_FRAMES ? bounds->max_frames / 8 : FLUSH_FRAMES;
	if (spool->use != PX_SPOOL_FLUSH)
		return;
	if (file_bytes(spool->path, SPOOL_RESERVE_SUFFIX) < bounds->reserve_bytes)
		bounds->checkpoint_frames = 0;
	else if (frames > bounds->checkpoint_frames)
		bounds->checkpoint_frames = frames;
}

int64_t
px_spool_bytes(const char *path)
{
	static const char *const suffixes[] = { "", "-wal", "-shm", SPOOL_RESERVE_SUFFIX };
	int64_t bytes = 0;

	for (size_t i = 0; i < sizeof(suffixes) / sizeof(suffixes[0]); i++)
		bytes += file_bytes(path, suffixes[i]);
	return bytes;
}

int64_t
px_room_held(const struct spool_counters *counters)
{
	const int64_t gone[] = { counters->acknowledged, counters->dropped, counters->lost_events, counters->lost_snapshots };
	int64_t held = counters->recorded < SPOOL_SEQ_MASK ? counters->recorded : -1;

	for (size_t i = 0; i < sizeof(gone) / sizeof(gone[0]); i++) {
		if (gone[i] < 0 || gone[i] > held)
			return -1;
		held -= gone[i];
	}
	return counters->quarantined >= 0 && counters->quarantined <= held ? held : -1;
}

struct spool_counters
px_room_counters_of(sqlite3_stmt *row)
{
	return (struct spool_counters){
		.recorded = sqlite3_column_int64(row, 0),
		.acknowledged = sqlite3_column_int64(row, 1),
		.quarantined = sqlite3_column_int64(row, 2),
		.dropped = sqlite3_column_int64(row, 3),
		.lost_events = sqlite3_column_int64(row, 4),
		.lost_snapshots = sqlite3_column_int64(row, 5),
		.max_bytes = sqlite3_column_int64(row, 6),
	};
}

int
px_room_load(struct px_spool *spool, struct spool_counters *out, struct px_err *err)
{
	sqlite3_stmt *row;
	int rc;

	if (px_db_query(spool, &row, err, "SELECT " SPOOL_COUNTERS " FROM counters WHERE one = 1", "") == -1)
		return -1;
	rc = px_db_step(spool, row, err);
	if (rc == 0)
		return px_db_malformed(spool, "the row of counters", err);
	if (rc == -1)
		return -1;
	*out = px_room_counters_of(row);
	px_db_done(row);
	if (px_room_held(out) == -1)
		return px_db_malformed(spool, "the row of counters", err);
	return 0;
}

int
px_room_store(struct px_spool *spool, const struct spool_counters *counters, struct px_err *err)
{
	return px_db_run(spool, err, "UPDATE counters SET recorded = ?1, acknowledged = ?2, quarantined = ?3, dropped = ?4, "
	    "lost_events = ?5, lost_snapshots = ?6, max_bytes = ?7 WHERE one = 1", "iiiiiii", counters->recorded,
	    counters->acknowledged, counters->quarantined, counters->dropped, counters->lost_events, counters->lost_snapshots,
	    counters->max_bytes);
}

/* Pages that a document of ${bytes} needs at most. */
static int64_t
pages_for(int64_t bytes)
{
	return bytes == 0 ? 0 : (bytes + OVERFLOW_PAYLOAD - 1) / OVERFLOW_PAYLOAD + ITEM_PAGES;
}

/* Whether ${pages} more fit. Far below the bound the files' sizes tell, without a look inside. */
static int
pages_fit(struct px_spool *spool, int64_t pages, bool *fits, struct px_err *err)
{
	int64_t bound = spool->bounds.max_pages;
	int64_t files = file_bytes(spool->path, "") / SPOOL_PAGE + file_bytes(spool->path, "-wal") / SPOOL_PAGE;
	int64_t all;
	int64_t unused;

	*fits = files + pages <= bound;
	if (*fits)
		return 0;
	if (px_db_number(spool, 0, &all, err, "PRAGMA page_count", "") == -1 ||
	    px_db_number(spool, 0, &unused, err, "PRAGMA freelist_count", "") == -1)
		return -1;
	*fits = all - unused + pages <= bound;
	/* Before anything is pushed out: where a damaged header says how many they are, none would be enough. */
	return *fits ? 0 : px_source_check_header(spool, err);
}

/* The order of pushing out: snapshots, then events, quarantined ones first in each, oldest first. */
static int
find_victim(struct px_spool *spool, enum px_kind for_kind, bool has_quarantined, int64_t *key, struct px_err *err)
{
	const int64_t starts[] = { 0, SPOOL_EVENT_KEYS };
	size_t kinds = for_kind == PX_EVENT ? 2 : 1;

	*key = 0;
	for (size_t i = 0; i < kinds && *key == 0; i++) {
		int64_t last = starts[i] + SPOOL_SEQ_MASK;

		if (has_quarantined && px_db_number(spool, 0, key, err, "SELECT key FROM mark WHERE reason IS NOT NULL AND "
		    "key > ?1 AND key <= ?2 ORDER BY key LIMIT 1", "ii", starts[i], last) == -1)
			return -1;
		if (*key == 0 && px_db_number(spool, 0, key, err, "SELECT key FROM item WHERE key > ?1 AND key <= ?2 ORDER BY key "
		    "LIMIT 1", "ii", starts[i], last) == -1)
			return -1;
	}
	return 0;
}

static int
push_out(struct px_spool *spool, int64_t key, struct spool_counters *counters, struct px_err *err)
{
	bool was_there;
	bool was_quarantined;

	if (px_row_remove(spool, key, &was_there, &was_quarantined, err) == -1)
		return -1;
	if (!was_there)		/* a mark of no item: some other program's doing */
		return px_db_malformed(spool, "a mark", err);
	counters->quarantined -= was_quarantined;
	if (key > SPOOL_EVENT_KEYS)
		counters->lost_events++;
	else
		counters->lost_snapshots++;
	return 0;
}

int
px_room_make(struct px_spool *spool, enum px_kind for_kind, const struct px_spool_limits *limits, int64_t bytes,
    struct spool_counters *counters, bool *fits, struct px_err *err)
{
	int64_t more = bytes > 0 ? 1 : 0;

	*fits = false;
	for (int evictions = 0; ; evictions++) {
		int64_t key;

		if (px_room_held(counters) + more <= limits->max_items && pages_fit(spool, pages_for(bytes), fits, err) == -1)
			return -1;
		if (*fits)
			return 0;
		if (evictions == EVICTIONS_MAX) {
			*fits = true;
			return 0;
		}
		if (find_victim(spool, for_kind, counters->quarantined > 0, &key, err) == -1)
			return -1;
		if (key == 0)
			return 0;
		if (push_out(spool, key, counters, err) == -1)
			return -1;
	}
}

void
px_room_checkpoint(struct px_spool *spool, bool waits)
{
	int64_t deadline_ms = spool->deadline_ms;
	struct px_err ignored;
	int result;

	/* A log of another file would spoil this one for good. */
	if (!spool->log_is_ours && px_source_check_log(spool, true, &ignored) == -1)
		return;
	if (!waits)
		spool->deadline_ms = 0;
	px_db_keep_log(waits ? 0 : KEPT_FRAMES * SPOOL_FRAME);
	result = sqlite3_wal_checkpoint_v2(spool->db, NULL, SQLITE_CHECKPOINT_TRUNCATE, NULL, NULL);
	if ((result & 0xff) == SQLITE_FULL && spool->use != PX_SPOOL_RECORD && px_room_give_up_reserve(spool))
		result = sqlite3_wal_checkpoint_v2(spool->db, NULL, SQLITE_CHECKPOINT_TRUNCATE, NULL, NULL);
	if (result == SQLITE_OK)
		spool->log_frames = 0;
	spool->deadline_ms = deadline_ms;
}

bool
px_room_is_too_large(const struct px_spool *spool, int64_t bytes)
{
	return pages_for(bytes) + SLACK_FRAMES > spool->bounds.max_frames || pages_for(bytes) > spool->bounds.max_pages;
}

bool
px_room_log_has_room(const struct px_spool *spool, int64_t bytes)
{
	return file_bytes(spool->path, "-wal") / SPOOL_FRAME <= spool->bounds.max_frames - pages_for(bytes) - SLACK_FRAMES;
}

bool
px_room_log_is_long(const struct px_spool *spool)
{
	return file_bytes(spool->path, "-wal") / SPOOL_FRAME > spool->bounds.checkpoint_frames;
}

/* Whether the file system has that much left, as far as it tells; a quota it may not know. */
static bool
has_free(int fd, int64_t bytes)
{
	struct statvfs found;

	return fstatvfs(fd, &found) == -1 || found.f_blocks == 0 || (int64_t)(found.f_bavail * found.f_frsize) >= bytes;
}

/* The file gets its blocks, and stays as long as it is: SQLite would take it for one of more pages. */
static int
hold_blocks(struct px_spool *spool, int64_t to, int64_t left, struct px_err *err)
{
	int fd = px_db_data_fd(spool);
	struct stat status;
	int64_t has;

	if (fd == -1 || fstat(fd, &status) == -1)
		return 0;
	has = (int64_t)status.st_blocks * BLOCK > status.st_size ? (int64_t)status.st_blocks * BLOCK : status.st_size;
	if (to <= has)
		return 0;
	if (!has_free(fd, to - has + left))
		errno = ENOSPC;
	else if (fallocate(fd, FALLOC_FL_KEEP_SIZE, status.st_size, (off_t)(to - status.st_size)) == 0 ||
	    (errno != ENOSPC && errno != EDQUOT && errno != EFBIG))
		return 0;
	spool->no_space = true;
	return px_err_set_errno(err, PX_STORAGE, errno, "cannot write spool '%s'", spool->name);
}

/*
 * A log whose pages find no room in the file stays as it is, and nothing can be removed any more: that would have to be
 * written to it. So they have their place before they are in it; for a few there is the reserve, of which removing needs a
 * part.
 */
int
px_room_hold(struct px_spool *spool, int64_t bytes, int64_t left, struct px_err *err)
{
	int64_t more = pages_for(bytes);
	int64_t reserve = file_bytes(spool->path, SPOOL_RESERVE_SUFFIX);
	int64_t log = file_bytes(spool->path, "-wal") / SPOOL_FRAME;
	int64_t pages;

	if ((log + more) * SPOOL_PAGE <= reserve / 2)
		return 0;
	if (px_db_number(spool, 0, &pages, err, "PRAGMA page_count", "") == -1)
		return -1;
	if (pages * SPOOL_PAGE - file_bytes(spool->path, "") <= reserve / 2)
		return 0;
	return hold_blocks(spool, pages * SPOOL_PAGE, more * SPOOL_FRAME + left, err);
}

int
px_room_prepare(struct px_spool *spool, int64_t bytes, struct px_err *err)
{
	if (px_room_log_has_room(spool, bytes))
		return 0;
	spool->deadline_ms = px_db_monotonic_ms() + spool->wait_ms;
	px_room_checkpoint(spool, true);
	if (px_room_log_has_room(spool, bytes))
		return 0;
	return px_err_set(err, PX_STORAGE, "cannot write spool '%s': its write-ahead log is as long as max_bytes allows, "
	    "and can't be emptied while another program reads it", spool->name);
}

/* Half of what is free at most: items need room too. 0 where the file system does not tell. */
static int64_t
half_of_free(int fd)
{
	struct statvfs found;

	return fstatvfs(fd, &found) == 0 ? (int64_t)(found.f_bavail * found.f_frsize / 2) : 0;
}

/*
 * On a disk, or under a quota, that has not that much left it is smaller, and a later flush makes it larger. What is there
 * is kept: on a full disk it could not be had again.
 */
void
px_room_make_reserve(const char *path, int64_t max_bytes)
{
	int64_t wanted = px_room_bounds(max_bytes).reserve_bytes;
	int64_t have = file_bytes(path, SPOOL_RESERVE_SUFFIX);
	int64_t bytes;
	char name[PATH_MAX];
	struct px_err ignored;
	int fd;

	if (have == wanted || px_db_side_path(path, SPOOL_RESERVE_SUFFIX, name, &ignored) == -1)
		return;
	if (have > wanted) {
		(void)unlink(name);
		have = 0;
	}
	if (px_spool_bytes(path) - have + wanted > max_bytes)
		return;
	fd = open(name, O_WRONLY | O_CREAT | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC, 0600);
	if (fd == -1)
		return;
	bytes = have + half_of_free(fd);
	for (bytes = bytes < wanted ? bytes : wanted; bytes / SPOOL_PAGE * SPOOL_PAGE > have; bytes /= 2)
		if (posix_fallocate(fd, 0, (off_t)(bytes / SPOOL_PAGE * SPOOL_PAGE)) == 0)
			break;
	if (file_bytes(path, SPOOL_RESERVE_SUFFIX) == 0)
		(void)unlink(name);
	(void)close(fd);
}

bool
px_room_give_up_reserve(struct px_spool *spool)
{
	char name[PATH_MAX];
	struct px_err ignored;

	spool->bounds.checkpoint_frames = 0;
	return px_db_side_path(spool->path, SPOOL_RESERVE_SUFFIX, name, &ignored) == 0 && unlink(name) == 0;
}

/* Gives back the end of the database, a piece at a time so that the log stays short and recorders wait for no more. */
static void
shrink_in_pieces(struct px_spool *spool)
{
	int64_t piece = spool->bounds.max_frames / 4 < SHRINK_PAGES ? spool->bounds.max_frames / 4 : SHRINK_PAGES;
	int64_t unused;
	int64_t before = INT64_MAX;
	struct px_err ignored;
	char sql[64];

	(void)snprintf(sql, sizeof(sql), "PRAGMA incremental_vacuum(%lld)", (long long)piece);
	while (px_db_number(spool, 0, &unused, &ignored, "PRAGMA freelist_count", "") == 0 && unused > KEPT_FREE_PAGES &&
	    unused < before) {
		before = unused;
		spool->deadline_ms = px_db_monotonic_ms() + spool->wait_ms;
		if (sqlite3_exec(spool->db, sql, NULL, NULL, NULL) != SQLITE_OK)
			return;
		if (spool->log_frames > spool->bounds.checkpoint_frames)
			px_room_checkpoint(spool, true);
		if (file_bytes(spool->path, "-wal") / SPOOL_FRAME > spool->bounds.max_frames / 2)
			return;
	}
}

/*
 * Nothing is promised of a file's length, so no piece waits for the disk. A power cut may undo the last ones, whole, since
 * checkpoints sync all the same.
 */
static void
shrink(struct px_spool *spool)
{
	(void)sqlite3_exec(spool->db, "PRAGMA synchronous=NORMAL", NULL, NULL, NULL);
	shrink_in_pieces(spool);
	(void)sqlite3_exec(spool->db, "PRAGMA synchronous=FULL", NULL, NULL, NULL);
}

/* What is past the bounds, after they were lowered; not all of it in one transaction. */
struct excess {
	const struct px_spool_limits *limits;
	int64_t pushed_out;
};

static int
push_out_excess(struct px_spool *spool, void *arg, struct px_err *err)
{
	struct excess *excess = arg;
	struct spool_counters counters = { .recorded = 0 };
	int64_t lost;
	bool fits;

	if (px_room_load(spool, &counters, err) == -1)
		return -1;
	lost = counters.lost_events + counters.lost_snapshots;
	if (px_room_make(spool, PX_EVENT, excess->limits, 0, &counters, &fits, err) == -1)
		return -1;
	excess->pushed_out = counters.lost_events + counters.lost_snapshots - lost;
	counters.max_bytes = excess->limits->max_bytes;
	return px_room_store(spool, &counters, err);
}

void
px_spool_tidy(struct px_spool *spool, const struct px_spool_limits *limits)
{
	struct excess excess = { .limits = limits };
	struct px_err ignored;

	if (spool == NULL)
		return;
	px_room_set_bounds(spool, limits->max_bytes);
	do
		excess.pushed_out = 0;
	while (px_db_write(spool, true, push_out_excess, &excess, NULL, &ignored) == 0 && excess.pushed_out > 0);
	shrink(spool);
	spool->deadline_ms = px_db_monotonic_ms() + spool->wait_ms;
	px_room_checkpoint(spool, true);
	px_room_make_reserve(spool->path, limits->max_bytes);
}
