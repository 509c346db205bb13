/* SPDX-License-Identifier: MIT */
/*
 * The spool: a SQLite file that holds items until upstream has them. Every change of an item and of the counters is one
 * transaction, on disk when the call returns 0. Knows no network, no clock, no configuration; all of that are arguments.
 */
#ifndef PX_SPOOL_H
#define PX_SPOOL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "batch.h"
#include "item.h"
#include "verdict.h"

struct px_spool;

enum px_spool_use {
	PX_SPOOL_RECORD,	/* insert and leave: as little work as can be */
	PX_SPOOL_FLUSH,		/* whole maintenance: checkpoint, shrinking, the reserve */
	PX_SPOOL_LOOK		/* read, and change single items for a person */
};

struct px_spool_limits {
	int64_t max_items;
	int64_t max_bytes;	/* on disk, SQLite's own files and the reserve included */
};

/* What a spool is told at birth. */
struct px_spool_birth {
	char id[PX_ID_MAX];			/* UUIDv4 */
	struct px_slice device_id;		/* the device it is made on; empty when it can't be told */
	struct px_slice machine_hash;
	int64_t max_bytes;			/* the bound that is in force, for its reserve; 0: the first flush makes that */
};

/*
 * Opens ${path}, waiting for others at most ${wait_ms} in any later call. Never creates it and never waits for a FIFO.
 * -1 with PX_ABSENT: no such file; PX_CORRUPT: not a database, damaged, or without our tables; PX_STORAGE: no
 * permission, a folder, made by a newer px-status, somebody else's database. An older spool is migrated.
 */
int px_spool_open(struct px_spool **out, const char *path, enum px_spool_use use, int64_t wait_ms, struct px_err *err)
    PX_MUST_CHECK;

/*
 * Makes ${path}, mode 0600, whole or not at all (a finished file is linked into its place), in a folder that must exist.
 * That another process made it meanwhile is success. -1 with PX_STORAGE.
 */
int px_spool_create(const char *path, const struct px_spool_birth *birth, struct px_err *err) PX_MUST_CHECK;

/*
 * For a flush, under its lock, before it opens ${path}: removes what a renewal that was killed left beside it, and puts away
 * a rollback journal, which is never a spool's own but which other programs would apply to it. ${journal} (PATH_MAX bytes)
 * is that one's new name, "" when there was none.
 */
void px_spool_sweep(const char *path, char *journal, size_t size);

/* Closes; NULL is fine. */
void px_spool_close(struct px_spool *spool);

/*
 * Inserts ${item}, sets its seq, makes room by ${limits} first: snapshots, then events, quarantined ones first in each,
 * oldest first; what goes is counted lost. A snapshot never pushes out an event: without room for it it is recorded and
 * counted lost itself (then this returns 0 and ${kept}, which may be NULL, is false). On 0 it is on disk.
 * On -1 it is "perhaps" there: ${item}->seq is what it would have, or 0 when it can't be there.
 */
int px_spool_put(struct px_spool *spool, struct px_item *item, const struct px_spool_limits *limits, bool *kept,
    struct px_err *err) PX_MUST_CHECK;

/*
 * As px_spool_put, for an overflow file called ${name}: in the same transaction the name is noted, so that taking it in
 * again after a crash does nothing. When the row with seq ${perhaps_seq} (0: none) has the same id, the item is there
 * already and only the name is noted; so it is with any row of that id in a spool that replaces another. There the note
 * alone proves nothing: what is not among the rows comes in, perhaps once more. On a full disk the reserve may go for it
 * where nothing else is pending.
 * px_spool_forget_taken, after the file is gone for good, removes the note.
 */
int px_spool_take_in(struct px_spool *spool, struct px_item *item, const char *name, int64_t perhaps_seq,
    const struct px_spool_limits *limits, struct px_err *err) PX_MUST_CHECK;
int px_spool_forget_taken(struct px_spool *spool, const char *name, struct px_err *err) PX_MUST_CHECK;

/* The counters and marks, one consistent view. */
int px_spool_facts(struct px_spool *spool, struct px_spool_facts *out, struct px_err *err) PX_MUST_CHECK;

/* One item with all that is known of it; slices and pointers last until the callback returns. */
struct px_spool_item {
	struct px_item item;
	bool quarantined;
	int64_t attempts;		/* posts that ended a run, and those that put it into quarantine */
	const char *reason;		/* of the quarantine; NULL when pending */
	bool deferred;			/* behind all others: upstream fails on it */
};

/* Returns whether to go on. */
typedef bool px_spool_each_fn(void *arg, const struct px_spool_item *item);

/*
 * Pending items in the order of sending: events by seq, then snapshots with a seq up to ${last_snapshot} by seq, then what
 * was deferred. A few are read at a time and no transaction is open while ${each} runs: however slow it is, it keeps no
 * recorder's log from being emptied.
 */
int px_spool_each_pending(struct px_spool *spool, int64_t last_snapshot, px_spool_each_fn *each, void *arg,
    struct px_err *err) PX_MUST_CHECK;

/*
 * The same in one reading transaction and without a copy of each item, for an ${each} that waits for nothing and calls
 * nothing of the spool; events too are up to a seq only. Of an item that has no mark only what is sent is told: no time, no
 * topic.
 */
int px_spool_read_pending(struct px_spool *spool, int64_t last_event, int64_t last_snapshot, px_spool_each_fn *each,
    void *arg, struct px_err *err) PX_MUST_CHECK;

/* Every item, pending and quarantined, in order of seq; otherwise like px_spool_each_pending. */
int px_spool_each(struct px_spool *spool, px_spool_each_fn *each, void *arg, struct px_err *err) PX_MUST_CHECK;

/*
 * Finds the one item meant by ${name}: an id, a unique start of one, or a seq. Sets ${seq}. -1 with PX_ABSENT when there is
 * none, or more than one. px_spool_show then calls ${each} for the item.
 */
int px_spool_find(struct px_spool *spool, const char *name, int64_t *seq, struct px_err *err) PX_MUST_CHECK;
int px_spool_show(struct px_spool *spool, int64_t seq, px_spool_each_fn *each, void *arg, struct px_err *err) PX_MUST_CHECK;

/* What became of one item of a batch. */
struct px_settled {
	int64_t seq;
	enum px_kind kind;
	const char *reason;		/* not NULL: quarantined with this reason, else acknowledged */
};

/*
 * Acknowledged items leave, in one transaction with the counters where log and disk have room for that. Then rejected ones
 * go into quarantine with one more attempt, some at a time. An item that is no longer there (dropped, pushed out
 * meanwhile) changes nothing. ${told_replaces}: upstream has acknowledged a batch that said what this spool replaces.
 */
int px_spool_settle(struct px_spool *spool, const struct px_settled *settled, size_t count, int64_t wall_ms,
    bool told_replaces, struct px_err *err) PX_MUST_CHECK;

/*
 * Waits until the spool could be written, and writes nothing: for before a post, since what upstream acknowledges must be
 * settled. -1 as any write would fail.
 */
int px_spool_await(struct px_spool *spool, struct px_err *err) PX_MUST_CHECK;

/* One more attempt for each of ${count} items. */
int px_spool_count_attempt(struct px_spool *spool, const struct px_batch_entry *entries, size_t count, struct px_err *err)
    PX_MUST_CHECK;

/* The pending item goes behind all other pending items, its seq as it was. One that is gone changes nothing. */
int px_spool_defer(struct px_spool *spool, int64_t seq, struct px_err *err) PX_MUST_CHECK;

/*
 * For a person. drop: out of the spool and counted; retry: quarantined back to pending, and ${was_quarantined} (NULL is
 * fine) says whether it was. -1 with PX_ABSENT when it is not there.
 */
int px_spool_drop(struct px_spool *spool, int64_t seq, struct px_err *err) PX_MUST_CHECK;
int px_spool_retry(struct px_spool *spool, int64_t seq, bool *was_quarantined, struct px_err *err) PX_MUST_CHECK;

/* Lengths of time that outlive a process; see struct px_timer. */
enum px_spool_timer { PX_TIMER_RETRY, PX_TIMER_SNAPSHOT, PX_TIMER_PLAIN, PX_TIMER_NO_URL };
int px_spool_get_timer(struct px_spool *spool, enum px_spool_timer which, struct px_timer *out, struct px_err *err)
    PX_MUST_CHECK;
int px_spool_set_timer(struct px_spool *spool, enum px_spool_timer which, const struct px_timer *timer, struct px_err *err)
    PX_MUST_CHECK;

/* How flushes went. */
struct px_spool_run {
	int64_t time_ms;	/* when it ended */
	int64_t acknowledged;	/* items */
	int exit_status;
	char reason[PX_ERR_MAX];	/* "" when all went well */
};

/* What a run leaves to the next ones. */
struct px_spool_history {
	int64_t failed_runs;		/* runs in a row without success: the back-off's steps */
	int64_t batch_limit;		/* items a batch may have for now; 0: as configured */
	int64_t stuck_seq;		/* the first item of the batch that upstream failed on last; 0: none */
	int64_t stuck_runs;		/* runs in a row that it did */
	int64_t stuck_limit;		/* items that a batch which begins with it may have; 0: as any other */
	int64_t last_success_ms;	/* 0: never, here and below */
	int64_t last_failure_ms;
	char last_failure_reason[PX_ERR_MAX];
};

#define PX_RUNS_KEPT 50

/*
 * Adds a run that tried upstream, or was kept from it (the newest PX_RUNS_KEPT are kept), and what it leaves to the
 * next ones: ${state}'s times and reason of success and failure are set from ${run}.
 */
int px_spool_add_run(struct px_spool *spool, const struct px_spool_run *run, const struct px_spool_history *state,
    struct px_err *err) PX_MUST_CHECK;
int px_spool_history(struct px_spool *spool, struct px_spool_history *out, struct px_err *err) PX_MUST_CHECK;

/* Calls ${each} for every run that is kept, the newest first. */
typedef void px_spool_run_fn(void *arg, const struct px_spool_run *run);
int px_spool_each_run(struct px_spool *spool, px_spool_run_fn *each, void *arg, struct px_err *err) PX_MUST_CHECK;

/* Oldest pending item's time; 0 when there is none. */
int px_spool_oldest_pending_ms(struct px_spool *spool, int64_t *out, struct px_err *err) PX_MUST_CHECK;

/* How many pending items are of ${from_ms} or later. */
int px_spool_pending_since(struct px_spool *spool, int64_t from_ms, int64_t *out, struct px_err *err) PX_MUST_CHECK;

/* Whether an event is pending. */
int px_spool_has_event(struct px_spool *spool, bool *out, struct px_err *err) PX_MUST_CHECK;

/* Looks at every page and at the counters. -1 with PX_CORRUPT and what was found first. SQLite, "PRAGMA integrity_check". */
int px_spool_check(struct px_spool *spool, struct px_err *err) PX_MUST_CHECK;

/* Whether there are as many items as the counters say, which takes a look at all their keys. -1 with PX_CORRUPT. */
int px_spool_check_count(struct px_spool *spool, struct px_err *err) PX_MUST_CHECK;

/* Bytes on disk of everything that belongs to ${path}. */
int64_t px_spool_bytes(const char *path);

/*
 * Gives room back, empties the write-ahead log and makes the reserve: a file that a flush gives up when the disk is full,
 * since deleting needs room in the log first. For the end of a flush; failing is not an error.
 */
void px_spool_tidy(struct px_spool *spool, const struct px_spool_limits *limits);

/*
 * Whether the spool was made on this device: neither its device id nor its machine's hash differs (an empty one on either
 * side never differs). Sets what the spool does not know yet.
 */
int px_spool_is_of(struct px_spool *spool, struct px_slice device_id, struct px_slice machine_hash, bool *out,
    struct px_err *err) PX_MUST_CHECK;

/*
 * Sets the broken or cloned ${path} aside under a dated name and makes a new one from ${birth}: everything readable goes
 * into it, seq from 1, id, time and state as they were, and it knows what it replaces. ${carried} counts the items,
 * ${aside} (PATH_MAX bytes) is the old file's new name. The caller holds the flush lock and has the spool closed.
 */
int px_spool_renew(const char *path, const struct px_spool_birth *birth, const struct px_now *now, char *aside, size_t size,
    int64_t *carried, struct px_err *err) PX_MUST_CHECK;

#endif
