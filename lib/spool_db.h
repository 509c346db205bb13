/* SPDX-License-Identifier: MIT */
/*
 * Private to the spool's sources: the connection to its file, and statements, transactions and errors on it. Everything
 * else includes spool.h.
 *
 * A spool file may have been made by anybody who may write to its folder. It is opened without following links, its
 * triggers and views are off, and its tables must be the very ones that px_db_make_schema makes.
 */
#ifndef PX_SPOOL_DB_H
#define PX_SPOOL_DB_H

#include <limits.h>
#include <sqlite3.h>

#include "spool.h"

#define SPOOL_VERSION 1
#define SPOOL_APPLICATION_ID 0x70787374		/* "pxst" */
#define SPOOL_PAGE 2048		/* small, since each insert writes two and the next recorder reads them; the schema fits in one */
#define SPOOL_FRAME (SPOOL_PAGE + 24)		/* a page in the write-ahead log: https://sqlite.org/fileformat2.html, 4.1 */
#define SPOOL_STATEMENTS_MAX 64
#define SPOOL_LENGTH_MAX (8 << 20)	/* bytes of a row or a statement: a snapshot and plenty */

/* An item's key: its seq, events behind all snapshots, so that what is pushed out first has the smallest key. */
#define SPOOL_EVENT_KEYS (INT64_C(1) << 48)
#define SPOOL_SEQ_MASK (SPOOL_EVENT_KEYS - 1)

/* What max_bytes means for each of the files that it covers. */
struct spool_bounds {
	int64_t max_pages;		/* of the database */
	int64_t max_frames;		/* of the write-ahead log */
	int64_t checkpoint_frames;	/* it is emptied when it has more */
	int64_t reserve_bytes;
};

struct spool_statement {
	const char *sql;
	sqlite3_stmt *prepared;
};

struct px_spool {
	sqlite3 *db;
	struct spool_statement statements[SPOOL_STATEMENTS_MAX];
	enum px_spool_use use;
	int64_t wait_ms;
	int64_t deadline_ms;		/* of the call that is running, CLOCK_MONOTONIC */
	uint64_t jitter;
	int64_t log_frames;		/* in the write-ahead log after the last commit of ours */
	struct spool_bounds bounds;
	int turn_fd;			/* owned; of the write-ahead log, locked while it is a recorder's turn; -1: none */
	int data_fd;			/* owned, when ${has_data_fd}; see px_db_data_fd */
	bool has_data_fd;
	bool is_open;
	bool log_is_whole;		/* the write-ahead log was looked at */
	bool log_is_ours;		/* and belongs to this file */
	bool alone;			/* nobody else may have it open: then the log's index needs no shared memory */
	bool was_busy;			/* what failed last, failed because others have it open */
	bool is_writing;		/* a writing transaction is open or being opened */
	bool no_space;			/* what failed last, failed for want of space */
	bool no_memory;			/* and for want of memory, as SQLite has it */
	char path[PATH_MAX];		/* its folder without symbolic links */
	char name[PATH_MAX];		/* as the caller calls it */
};

/* The item counters as they stand in the file. */
struct spool_counters {
	int64_t recorded;
	int64_t acknowledged;
	int64_t quarantined;
	int64_t dropped;
	int64_t lost_events;
	int64_t lost_snapshots;
	int64_t max_bytes;		/* the bound that was in force last; 0: not known yet */
};

/* ${name} with its folder's symbolic links followed; ${path} with ${suffix}. Both write PATH_MAX bytes at most. */
int px_db_real_path(const char *name, char *path, struct px_err *err) PX_MUST_CHECK;
int px_db_side_path(const char *path, const char *suffix, char *out, struct px_err *err) PX_MUST_CHECK;

/* Open ${spool}->path, which exists: px_db_open_file reads nothing of it yet, px_db_connect, which comes after it, does. */
int px_db_open_file(struct px_spool *spool, struct px_err *err) PX_MUST_CHECK;
int px_db_connect(struct px_spool *spool, struct px_err *err) PX_MUST_CHECK;
void px_db_disconnect(struct px_spool *spool);
int64_t px_db_monotonic_ms(void);

/*
 * A descriptor of the file beside SQLite's own, which it does not give away; to write too, where that may be had. It is
 * closed after SQLite's: closing any drops the locks that SQLite has on the file (fcntl(2), "Advisory record locking").
 * -1: there is none.
 */
int px_db_data_fd(struct px_spool *spool);

/*
 * A statement ready to step, prepared once per connection and SQL text (which must be a literal). ${types} tells what
 * follows: 'i' int64_t, 't' const char *, 's' const struct px_slice * (text), 'b' pointer and int64_t (blob), 'n' nothing
 * (null). NULL text is null.
 */
int px_db_query(struct px_spool *spool, sqlite3_stmt **out, struct px_err *err, const char *sql, const char *types, ...)
    PX_MUST_CHECK;

/* 1 with a row, 0 without, -1 with an error. The statement is reset but after a row: then px_db_done is called for it. */
int px_db_step(struct px_spool *spool, sqlite3_stmt *statement, struct px_err *err) PX_MUST_CHECK;
void px_db_done(sqlite3_stmt *statement);

/* A statement without rows. */
int px_db_run(struct px_spool *spool, struct px_err *err, const char *sql, const char *types, ...) PX_MUST_CHECK;

/* A whole number, ${out}, of the first row's first column; ${missing} where there is no row or it is null. */
int px_db_number(struct px_spool *spool, int64_t missing, int64_t *out, struct px_err *err, const char *sql,
    const char *types, ...) PX_MUST_CHECK;

/* ${text} as valid UTF-8, cut to ${size}: a byte may have been flipped on the disk. */
void px_db_clean_text(char *out, size_t size, struct px_slice text);

/* The text of a column, the same way; "" where it is null. */
void px_db_copy_text(char *out, size_t size, sqlite3_stmt *row, int column);

/* A reading transaction; px_db_end_read never fails in a way that matters. */
int px_db_begin_read(struct px_spool *spool, struct px_err *err) PX_MUST_CHECK;
void px_db_end_read(struct px_spool *spool);

/*
 * Runs ${work} in a writing transaction. Where that fails for want of space, the reserve is given up when
 * ${may_spend_reserve} and it is no recorder, and it is tried once more. ${perhaps} (NULL is fine): it failed so late
 * that it may be done.
 */
typedef int px_db_work_fn(struct px_spool *spool, void *arg, struct px_err *err);
int px_db_write(struct px_spool *spool, bool may_spend_reserve, px_db_work_fn *work, void *arg, bool *perhaps,
    struct px_err *err) PX_MUST_CHECK;

/* Sets ${err} from an SQLite result, "cannot ${verb} spool 'NAME': why"; returns -1. The other: from what a row holds. */
int px_db_fail(struct px_spool *spool, int result, const char *verb, struct px_err *err);
int px_db_malformed(struct px_spool *spool, const char *what, struct px_err *err);

/* So that the next flush renews the spool, whoever found the damage. */
void px_db_note_damage(struct px_spool *spool);

/* A file beside the spool says that it was found damaged, so that the next flush renews it. */
#define SPOOL_DAMAGED_SUFFIX "-damaged"
#define SPOOL_RESERVE_SUFFIX "-reserve"

/* spool_make.c: whether somebody found the spool damaged; removing half-made ones that are older than an hour. */
bool px_make_is_damaged(const char *path);
void px_make_remove_stale(const char *path);

/* spool_vfs.c: the name of the file layer that spools are opened with; NULL, SQLite's own, for want of memory. */
const char *px_db_vfs(void);

/* Whether a write to a spool failed for want of space since this was asked last. */
bool px_db_was_full(void);
/* Whether what is written to logs is gathered until a sync: for a commit that ends with one. */
void px_db_gather(bool is_on);

/*
 * How far, in bytes, this connection read its write-ahead log to make an index of it: all frames before the last one that it
 * read are whole. 0 where another process had made the index.
 */
int64_t px_db_log_read_to(struct px_spool *spool);

/* A log of at most ${bytes} keeps its length when it is emptied from now on. Recorders look for frames in all of it. */
void px_db_keep_log(int64_t bytes);

/*
 * spool_turn.c: waits until the recorders that came before have ended, at most as long as ${spool} may wait for each of its
 * calls; who then has no turn goes on all the same. By flock(2) on the log. SIGALRM and ITIMER_REAL are ours meanwhile.
 */
void px_turn_take(struct px_spool *spool);
void px_turn_end(struct px_spool *spool);

/* spool_schema.c */
int px_db_make_schema(struct px_spool *spool, const struct px_spool_birth *birth, struct px_err *err) PX_MUST_CHECK;
int px_db_check_schema(struct px_spool *spool, struct px_err *err) PX_MUST_CHECK;

/* How a spool of version ${from} becomes one of the next. */
struct spool_step {
	int64_t from;
	const char *sql;
};

/* All steps from the version of ${spool} to ${to}, in one transaction. -1 with PX_CORRUPT when they do not lead there. */
int px_db_migrate(struct px_spool *spool, const struct spool_step *steps, size_t count, int64_t to, struct px_err *err)
    PX_MUST_CHECK;

/* spool_room.c: what max_bytes allows, and making room for it. */
struct spool_bounds px_room_bounds(int64_t max_bytes);
void px_room_set_bounds(struct px_spool *spool, int64_t max_bytes);

/* The counters of a row that begins with SPOOL_COUNTERS, whatever stands there. */
#define SPOOL_COUNTERS "recorded, acknowledged, quarantined, dropped, lost_events, lost_snapshots, max_bytes"
#define SPOOL_COUNTERS_COUNT 7
struct spool_counters px_room_counters_of(sqlite3_stmt *row);
int px_room_load(struct px_spool *spool, struct spool_counters *out, struct px_err *err) PX_MUST_CHECK;

/* How many items are there by ${counters}, which may be anything; -1 where they contradict each other. */
int64_t px_room_held(const struct spool_counters *counters);
int px_room_store(struct px_spool *spool, const struct spool_counters *counters, struct px_err *err) PX_MUST_CHECK;

/*
 * Pushes items out until one more of ${bytes} (0: none) fits ${limits}; ${for_kind} says whether events may go too.
 * ${fits} tells whether there is room now.
 */
int px_room_make(struct px_spool *spool, enum px_kind for_kind, const struct px_spool_limits *limits, int64_t bytes,
    struct spool_counters *counters, bool *fits, struct px_err *err) PX_MUST_CHECK;

/* Whether an item of ${bytes} fits not even alone. */
bool px_room_is_too_large(const struct px_spool *spool, int64_t bytes);

/* Empties the write-ahead log where a transaction for ${bytes} would make it too long. -1 when it stays too long. */
int px_room_prepare(struct px_spool *spool, int64_t bytes, struct px_err *err) PX_MUST_CHECK;

/*
 * Empties the write-ahead log. Failing is no error. With ${waits} it waits for readers, and the log's length is zero
 * then; without it may keep that of some more frames than it is emptied at.
 */
void px_room_checkpoint(struct px_spool *spool, bool waits);

/* Whether a transaction for ${bytes} keeps the log within its bound. Certain only for who holds the write lock. */
bool px_room_log_has_room(const struct px_spool *spool, int64_t bytes);

/*
 * At the end of a transaction that makes the file longer, by ${bytes} at most: sees to it that the log can be emptied after
 * it, whoever fills the disk until then. -1 with PX_STORAGE where there is no room for that, and for ${left} bytes more.
 */
int px_room_hold(struct px_spool *spool, int64_t bytes, int64_t left, struct px_err *err) PX_MUST_CHECK;

/* Whether it is past the length at which it is emptied, and others kept that from being done. */
bool px_room_log_is_long(const struct px_spool *spool);

/* Makes the reserve of the spool ${path} where it fits ${max_bytes} and is not there. Failing is no error. */
void px_room_make_reserve(const char *path, int64_t max_bytes);

/* Removes the reserve; returns whether there was one. The log is kept short from then on. */
bool px_room_give_up_reserve(struct px_spool *spool);

/* spool_item.c: what rows hold. */
int64_t px_row_key(enum px_kind kind, int64_t seq);
int px_row_id_bytes(const char *id, uint8_t out[16], struct px_err *err) PX_MUST_CHECK;
void px_row_id_text(const uint8_t bytes[16], char out[PX_ID_MAX]);

/*
 * Reads "key, id, time_ms, topic, body, attempts, deferred, reason" from column ${first} on; slices last until the next
 * step.
 */
int px_row_read(struct px_spool *spool, sqlite3_stmt *statement, int first, struct px_spool_item *out, struct px_err *err)
    PX_MUST_CHECK;

/* The same of "key, id, body": time and topic are not known then. */
int px_row_read_bare(struct px_spool *spool, sqlite3_stmt *statement, struct px_spool_item *out,
    struct px_err *err) PX_MUST_CHECK;

/* Whether topic and body are what an item may have. */
bool px_row_is_sound(const struct px_item *item);

/* Whether a row, whatever it holds, is there: 0 seq when neither an event nor a snapshot has it. */
int px_row_find(struct px_spool *spool, int64_t seq, int64_t *key, struct px_err *err) PX_MUST_CHECK;

/* Takes the item out of its tables; ${was_quarantined}. */
int px_row_remove(struct px_spool *spool, int64_t key, bool *was_there, bool *was_quarantined, struct px_err *err)
    PX_MUST_CHECK;
int px_row_insert(struct px_spool *spool, const struct px_item *item, struct px_err *err) PX_MUST_CHECK;

#endif
