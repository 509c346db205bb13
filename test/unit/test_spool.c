/* SPDX-License-Identifier: MIT */
/* What a spool promises about items and counters, in one process. Making, renewing and storms: test_spool_*.c. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "spool.h"
#include "spool_folder.h"

#define MIB (INT64_C(1) << 20)
#define WIDE ((struct px_spool_limits){ 100000, 256 * MIB })

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

static struct px_spool *spool;
static struct px_err err;

static const struct px_spool_birth birth = { .id = "11111111-1111-4111-8111-111111111111", .device_id = { "device", 6 },
	.machine_hash = { "0123456789abcdef", 16 } };

#define OK(call) \
	do { \
		if ((call) == -1) \
			fail_msg("%s: %s", #call, err.text); \
	} while (0)

static void
open_spool(enum px_spool_use use)
{
	px_spool_close(spool);
	spool = NULL;
	OK(px_spool_open(&spool, path, use, 1000, &err));
}

static int
set_up(void **state)
{
	if (make_spool_folder(state) != 0)
		return -1;
	spool = NULL;
	OK(px_spool_create(path, &birth, &err));
	open_spool(PX_SPOOL_FLUSH);
	return 0;
}

static int
tear_down(void **state)
{
	px_spool_close(spool);
	spool = NULL;
	return remove_spool_folder(state);
}

static struct px_item
make_item(enum px_kind kind, unsigned number)
{
	struct px_item item = { .kind = kind, .time_ms = 1000 + number, .topic = px_slice("cpu"), .body = px_slice("{\"a\":1}") };

	(void)snprintf(item.id, sizeof(item.id), "%08x-0000-7000-8000-%012x", number, number);
	return item;
}

static int64_t
put(enum px_kind kind, unsigned number, struct px_spool_limits limits, bool *kept)
{
	struct px_item item = make_item(kind, number);

	OK(px_spool_put(spool, &item, &limits, kept, &err));
	return item.seq;
}

static void
expect_counters(const char *row, int64_t recorded, int64_t acknowledged, int64_t pending, int64_t quarantined,
    int64_t dropped,
    int64_t lost_events, int64_t lost_snapshots)
{
	struct px_spool_facts facts;
	char found[256];
	char wanted[256];

	OK(px_spool_facts(spool, &facts, &err));
	(void)snprintf(found, sizeof(found),
	    "%s: %" PRId64 " = %" PRId64 "+%" PRId64 "+%" PRId64 "+%" PRId64 "+%" PRId64 "+%" PRId64,
	    row, facts.recorded, facts.acknowledged, facts.pending, facts.quarantined, facts.dropped, facts.lost_events,
	    facts.lost_snapshots);
	(void)snprintf(wanted, sizeof(wanted),
	    "%s: %" PRId64 " = %" PRId64 "+%" PRId64 "+%" PRId64 "+%" PRId64 "+%" PRId64 "+%" PRId64,
	    row, recorded, acknowledged, pending, quarantined, dropped, lost_events, lost_snapshots);
	assert_string_equal(found, wanted);
	assert_int_equal(facts.recorded, facts.acknowledged + facts.pending + facts.quarantined + facts.dropped +
	    facts.lost_events + facts.lost_snapshots);
}

/* Items as text: "e1 s2 q:e3 d:e4". */
static bool
write_item(void *arg, const struct px_spool_item *found)
{
	char *out = arg;
	size_t len = strlen(out);

	assert_int_equal(found->quarantined, found->reason != NULL);
	(void)snprintf(out + len, 512 - len, "%s%s%s%c%" PRId64, len > 0 ? " " : "", found->quarantined ? "q:" : "",
	    found->deferred ? "d:" : "", found->item.kind == PX_EVENT ? 'e' : 's', found->item.seq);
	return true;
}

static const char *
all(void)
{
	static char text[512];

	text[0] = '\0';
	OK(px_spool_each(spool, write_item, text, &err));
	return text;
}

static const char *
pending(int64_t last_snapshot)
{
	static char text[512];
	char at_once[512] = "";

	text[0] = '\0';
	OK(px_spool_each_pending(spool, last_snapshot, write_item, text, &err));
	OK(px_spool_read_pending(spool, INT64_MAX, last_snapshot, write_item, at_once, &err));
	assert_string_equal(text, at_once);
	return text;
}

static void
settle(int64_t seq, enum px_kind kind, const char *reason)
{
	struct px_settled settled = { seq, kind, reason };

	OK(px_spool_settle(spool, &settled, 1, 5000, false, &err));
}

/* Puts each letter of ${kinds} ('e', 's'; upper case: quarantined at once). */
static void
put_all(const char *kinds)
{
	for (unsigned i = 0; kinds[i] != '\0'; i++) {
		enum px_kind kind = kinds[i] == 'e' || kinds[i] == 'E' ? PX_EVENT : PX_SNAPSHOT;
		int64_t seq = put(kind, i + 1, WIDE, NULL);

		assert_int_equal(seq, i + 1);
		if (kinds[i] == 'E' || kinds[i] == 'S')
			settle(seq, kind, "no good");
	}
}

static void
test_order(void **state)
{
	char first_two[512] = "";

	(void)state;
	put_all("sesesEsS");
	OK(px_spool_read_pending(spool, 3, 1, write_item, first_two, &err));
	assert_string_equal(first_two, "e2 s1");
	assert_string_equal(all(), "s1 e2 s3 e4 s5 q:e6 s7 q:s8");
	assert_string_equal(pending(5), "e2 e4 s1 s3 s5");
	OK(px_spool_defer(spool, 2, &err));
	OK(px_spool_defer(spool, 1, &err));
	assert_string_equal(pending(INT64_MAX), "e4 s3 s5 s7 d:e2 d:s1");
	OK(px_spool_defer(spool, 2, &err));
	assert_string_equal(pending(INT64_MAX), "e4 s3 s5 s7 d:s1 d:e2");
	OK(px_spool_defer(spool, 99, &err));
	OK(px_spool_retry(spool, 6, NULL, &err));
	assert_string_equal(pending(0), "e4 e6 d:e2");
	expect_counters("order", 8, 0, 7, 1, 0, 0, 0);
}

/* What is acknowledged leaves in ranges; whatever stands between, and came or went meanwhile, is not touched. */
static void
test_ranges(void **state)
{
	static const struct px_settled settled[] = {
		{ 2, PX_EVENT, NULL }, { 3, PX_EVENT, NULL }, { 5, PX_EVENT, NULL }, { 7, PX_EVENT, NULL }, { 8, PX_EVENT, "bad" },
		{ 9, PX_EVENT, NULL }, { 11, PX_EVENT, NULL }, { 12, PX_SNAPSHOT, NULL }, { 13, PX_SNAPSHOT, NULL },
	};

	(void)state;
	put_all("seeEeseeeseesss");
	assert_string_equal(pending(13), "e2 e3 e5 e7 e8 e9 e11 e12 s1 s6 s10 s13");
	OK(px_spool_retry(spool, 4, NULL, &err));
	OK(px_spool_drop(spool, 3, &err));
	settle(9, PX_EVENT, "meanwhile");
	OK(px_spool_defer(spool, 11, &err));
	OK(px_spool_settle(spool, settled, COUNT(settled), 6000, false, &err));
	assert_string_equal(all(), "s1 e4 s6 q:e8 s10 e12 s14 s15");
	expect_counters("ranges", 15, 6, 7, 1, 1, 0, 0);
}

static bool
check_whole_item(void *arg, const struct px_spool_item *found)
{
	struct px_item wanted = make_item(PX_EVENT, 1);

	*(bool *)arg = true;
	assert_string_equal(found->item.id, wanted.id);
	assert_int_equal(found->item.time_ms, wanted.time_ms);
	assert_true(px_slice_is(found->item.topic, "cpu"));
	assert_true(px_slice_is(found->item.body, "{\"a\":1}"));
	assert_int_equal(found->attempts, 3);
	assert_string_equal(found->reason, "no good");
	return true;
}

static void
test_whole_item(void **state)
{
	struct px_batch_entry entry = { .seq = 1, .kind = PX_EVENT };
	bool called = false;

	(void)state;
	put_all("e");
	OK(px_spool_count_attempt(spool, &entry, 1, &err));
	OK(px_spool_count_attempt(spool, &entry, 1, &err));
	entry.seq = 7;
	OK(px_spool_count_attempt(spool, &entry, 1, &err));
	settle(1, PX_EVENT, "no good");
	OK(px_spool_show(spool, 1, check_whole_item, &called, &err));
	assert_true(called);
	assert_int_equal(px_spool_show(spool, 2, check_whole_item, &called, &err), -1);
	assert_int_equal(err.code, PX_ABSENT);
}

/*
 * What goes when there is room for ${max_items} and ${kind} comes: snapshots, then events, quarantined first, oldest
 * first.
 */
static const struct {
	const char *row;
	const char *there;
	int64_t max_items;
	char kind;
	const char *left;
	bool kept;
} evictions[] = {
	{ "room", "es", 3, 'e', "e1 s2 e3", true },
	{ "snapshot before event", "ese", 3, 'e', "e1 e3 e4", true },
	{ "quarantined snapshot before older pending one", "sSe", 3, 'e', "s1 e3 e4", true },
	{ "pending snapshot before quarantined event", "Ees", 3, 'e', "q:e1 e2 e4", true },
	{ "quarantined event before older event", "eEe", 3, 'e', "e1 e3 e4", true },
	{ "oldest event last", "eee", 3, 'e', "e2 e3 e4", true },
	{ "oldest quarantined first", "EEE", 3, 'e', "q:e2 q:e3 e4", true },
	{ "snapshot pushes snapshot", "ess", 3, 's', "e1 s3 s4", true },
	{ "snapshot pushes quarantined snapshot first", "esS", 3, 's', "e1 s2 s4", true },
	{ "snapshot pushes no event", "eee", 3, 's', "e1 e2 e3", false },
	{ "snapshot pushes no quarantined event", "EEE", 3, 's', "q:e1 q:e2 q:e3", false },
	{ "limit lowered", "seseses", 2, 'e', "e6 e8", true },
	{ "limit lowered below the events", "seseses", 2, 's', "s1 e2 s3 e4 s5 e6 s7", false },
	{ "one item", "e", 1, 'e', "e2", true },
};

static void
test_evictions(void **state)
{
	for (size_t i = 0; i < sizeof(evictions) / sizeof(evictions[0]); i++) {
		struct px_spool_limits limits = { evictions[i].max_items, 256 * MIB };
		struct px_spool_facts facts;
		bool kept = false;
		size_t count = strlen(evictions[i].there);

		put_all(evictions[i].there);
		assert_int_equal(put(evictions[i].kind == 'e' ? PX_EVENT : PX_SNAPSHOT, 50, limits, &kept), count + 1);
		if (strcmp(all(), evictions[i].left) != 0 || kept != evictions[i].kept)
			fail_msg("%s: left '%s', kept %d", evictions[i].row, all(), kept);
		OK(px_spool_facts(spool, &facts, &err));
		if (facts.recorded != facts.pending + facts.quarantined + facts.lost_events + facts.lost_snapshots)
			fail_msg("%s: counters do not add up", evictions[i].row);
		assert_int_equal(tear_down(state), 0);
		assert_int_equal(set_up(state), 0);
	}
}

static void
test_settle(void **state)
{
	struct px_settled settled[] = {
		{ 1, PX_EVENT, NULL },
		{ 2, PX_SNAPSHOT, "too \xc3\xa4 old" },
		{ 3, PX_EVENT, NULL },
		{ 9, PX_EVENT, NULL },
		{ 10, PX_EVENT, "is not there" },
		{ 4, PX_SNAPSHOT, NULL },	/* an event has that seq */
	};
	struct px_spool_facts facts;
	char long_reason[2000];

	(void)state;
	put_all("esee");
	OK(px_spool_settle(spool, settled, sizeof(settled) / sizeof(settled[0]), 777, false, &err));
	assert_string_equal(all(), "q:s2 e4");
	expect_counters("settle", 4, 2, 1, 1, 0, 0, 0);
	OK(px_spool_facts(spool, &facts, &err));
	assert_string_equal(facts.last_quarantined_id, make_item(PX_SNAPSHOT, 2).id);
	assert_string_equal(facts.last_quarantined_reason, "too \xc3\xa4 old");
	assert_int_equal(facts.last_quarantined_ms, 777);

	OK(px_spool_settle(spool, settled, 3, 778, false, &err));
	expect_counters("the same again", 4, 2, 1, 1, 0, 0, 0);
	memset(long_reason, 'x', sizeof(long_reason) - 1);
	long_reason[sizeof(long_reason) - 1] = '\0';
	settle(4, PX_EVENT, long_reason);
	OK(px_spool_facts(spool, &facts, &err));
	assert_int_equal(strlen(facts.last_quarantined_reason), PX_REASON_MAX - 1);
	settle(4, PX_EVENT, NULL);
	expect_counters("quarantined, then acknowledged", 4, 3, 0, 1, 0, 0, 0);
}

static void
test_drop_and_retry(void **state)
{
	bool was_quarantined;

	(void)state;
	put_all("eEsS");
	OK(px_spool_drop(spool, 1, &err));
	OK(px_spool_drop(spool, 2, &err));
	expect_counters("dropped", 4, 0, 1, 1, 2, 0, 0);
	assert_int_equal(px_spool_drop(spool, 2, &err), -1);
	assert_int_equal(err.code, PX_ABSENT);
	OK(px_spool_retry(spool, 4, &was_quarantined, &err));
	assert_true(was_quarantined);
	OK(px_spool_retry(spool, 4, &was_quarantined, &err));
	assert_false(was_quarantined);
	expect_counters("retried", 4, 0, 2, 0, 2, 0, 0);
	assert_int_equal(px_spool_retry(spool, 1, &was_quarantined, &err), -1);
	assert_int_equal(err.code, PX_ABSENT);
	assert_int_equal(put(PX_EVENT, 9, WIDE, NULL), 5);
}

/* Ids of the items 1 to 4; what a person types, and the seq that is found (0: absent). */
static const char *const find_ids[] = { "0193aaaa-0000-7000-8000-000000000001", "0193aaab-0000-7000-8000-000000000002",
	"3a000000-0000-7000-8000-000000000003", "40000000-0000-7000-8000-000000000004" };
static const struct {
	const char *name;
	int64_t seq;
} finds[] = {
	{ "1", 1 }, { "3", 3 }, { "4", 4 }, { "5", 0 }, { "0193aaab-0000-7000-8000-000000000002", 2 }, { "0193aaaa", 1 },
	{ "0193aaa", 0 }, { "0193AAAA", 0 }, { "3a", 3 }, { "40", 4 }, { "", 0 }, { "x", 0 }, { "-1", 0 }, { "01", 0 },
	{ "0193aaab-0000-7000-8000-0000000000022", 0 }, { "99999999999999999999", 0 }, { "%", 0 },
};

static void
test_find(void **state)
{
	(void)state;
	for (unsigned i = 0; i < 4; i++) {
		struct px_item item = make_item(PX_EVENT, i + 1);

		memcpy(item.id, find_ids[i], sizeof(item.id));
		OK(px_spool_put(spool, &item, &WIDE, NULL, &err));
	}
	for (size_t i = 0; i < sizeof(finds) / sizeof(finds[0]); i++) {
		int64_t seq = 0;
		int rc = px_spool_find(spool, finds[i].name, &seq, &err);

		if ((rc == 0) != (finds[i].seq != 0) || (rc == 0 && seq != finds[i].seq) || (rc == -1 && err.code != PX_ABSENT))
			fail_msg("'%s': %d, seq %" PRId64, finds[i].name, rc, seq);
	}
}

static void
take_in(unsigned number, const char *name, int64_t perhaps_seq)
{
	struct px_item item = make_item(PX_EVENT, number);

	OK(px_spool_take_in(spool, &item, name, perhaps_seq, &WIDE, &err));
}

static void
test_take_in(void **state)
{
	(void)state;
	put_all("ee");
	take_in(7, "a.json", 0);
	assert_string_equal(all(), "e1 e2 e3");
	take_in(7, "a.json", 0);	/* the flush died before the file was gone */
	assert_string_equal(all(), "e1 e2 e3");
	open_spool(PX_SPOOL_FLUSH);
	take_in(7, "a.json", 0);
	assert_string_equal(all(), "e1 e2 e3");
	OK(px_spool_forget_taken(spool, "a.json", &err));
	take_in(8, "a.json", 0);
	assert_string_equal(all(), "e1 e2 e3 e4");
	take_in(2, "twin.json", 2);	/* its insert failed at the last sync, and is there */
	assert_string_equal(all(), "e1 e2 e3 e4");
	take_in(9, "other.json", 2);	/* another one has that seq by now */
	assert_string_equal(all(), "e1 e2 e3 e4 e5");
	take_in(10, "gone.json", 77);
	assert_string_equal(all(), "e1 e2 e3 e4 e5 e6");
	settle(6, PX_EVENT, NULL);
	take_in(10, "gone.json", 77);
	assert_string_equal(all(), "e1 e2 e3 e4 e5");
	expect_counters("take in", 6, 1, 5, 0, 0, 0, 0);
}

static void
test_ages(void **state)
{
	int64_t oldest = -1;
	bool has_event = true;
	int64_t count;

	(void)state;
	OK(px_spool_oldest_pending_ms(spool, &oldest, &err));
	assert_int_equal(oldest, 0);
	(void)put(PX_SNAPSHOT, 5, WIDE, NULL);
	OK(px_spool_has_event(spool, &has_event, &err));
	assert_false(has_event);
	(void)put(PX_EVENT, 7, WIDE, NULL);
	(void)put(PX_EVENT, 2, WIDE, NULL);	/* from overflow: older than its seq says */
	OK(px_spool_oldest_pending_ms(spool, &oldest, &err));
	assert_int_equal(oldest, 1002);
	settle(3, PX_EVENT, "bad");
	OK(px_spool_oldest_pending_ms(spool, &oldest, &err));
	assert_int_equal(oldest, 1005);
	OK(px_spool_pending_since(spool, 1005, &count, &err));
	assert_int_equal(count, 2);
	OK(px_spool_pending_since(spool, 1006, &count, &err));
	assert_int_equal(count, 1);
	OK(px_spool_has_event(spool, &has_event, &err));
	assert_true(has_event);
	settle(2, PX_EVENT, NULL);
	OK(px_spool_has_event(spool, &has_event, &err));
	assert_false(has_event);
}

static void
test_timers(void **state)
{
	struct px_timer timer = { .is_set = true, .began = { 1, 2, "33333333-3333-4333-8333-333333333333" }, .length_ms = 4 };
	struct px_timer found;

	(void)state;
	OK(px_spool_get_timer(spool, PX_TIMER_RETRY, &found, &err));
	assert_false(found.is_set);
	OK(px_spool_set_timer(spool, PX_TIMER_PLAIN, &timer, &err));
	timer.length_ms = 5;
	OK(px_spool_set_timer(spool, PX_TIMER_RETRY, &timer, &err));
	OK(px_spool_set_timer(spool, PX_TIMER_RETRY, &timer, &err));
	open_spool(PX_SPOOL_LOOK);
	OK(px_spool_get_timer(spool, PX_TIMER_RETRY, &found, &err));
	assert_true(found.is_set);
	assert_int_equal(found.began.wall_ms, 1);
	assert_int_equal(found.began.boot_ms, 2);
	assert_string_equal(found.began.boot_id, timer.began.boot_id);
	assert_int_equal(found.length_ms, 5);
	timer.is_set = false;
	OK(px_spool_set_timer(spool, PX_TIMER_RETRY, &timer, &err));
	OK(px_spool_get_timer(spool, PX_TIMER_RETRY, &found, &err));
	assert_false(found.is_set);
	OK(px_spool_get_timer(spool, PX_TIMER_PLAIN, &found, &err));
	assert_int_equal(found.length_ms, 4);
}

static void
check_run(void *arg, const struct px_spool_run *run)
{
	int64_t *next = arg;

	assert_int_equal(run->time_ms, (*next)--);
}

static void
test_runs(void **state)
{
	struct px_spool_history history = { .failed_runs = 3, .batch_limit = 17, .stuck_seq = 4, .stuck_runs = 2,
		.stuck_limit = 9 };
	struct px_spool_run run = { .acknowledged = 5 };
	int64_t next = 2 * PX_RUNS_KEPT;

	(void)state;
	for (run.time_ms = 1; run.time_ms <= next; run.time_ms++) {
		run.exit_status = run.time_ms >= next - 1 ? 75 : 0;
		run.acknowledged = run.time_ms == next ? 0 : 5;
		(void)snprintf(run.reason, sizeof(run.reason), "%s", run.exit_status == 0 ? "" : "no route");
		OK(px_spool_add_run(spool, &run, &history, &err));
	}
	OK(px_spool_each_run(spool, check_run, &next, &err));
	assert_int_equal(next, PX_RUNS_KEPT);
	OK(px_spool_history(spool, &history, &err));
	assert_int_equal(history.failed_runs, 3);
	assert_int_equal(history.batch_limit, 17);
	assert_int_equal(history.stuck_seq, 4);
	assert_int_equal(history.stuck_runs, 2);
	assert_int_equal(history.stuck_limit, 9);
	assert_int_equal(history.last_success_ms, 2 * PX_RUNS_KEPT - 1);	/* it failed in the end, after progress */
	assert_int_equal(history.last_failure_ms, 2 * PX_RUNS_KEPT);
	assert_string_equal(history.last_failure_reason, "no route");
}

/* What a device says of itself, one after the other, and whether the spool (device "device") is its own. */
static const struct {
	const char *device_id;
	const char *machine_hash;
	bool is_own;
} owners[] = {
	{ "device", "0123456789abcdef", true }, { "", "", true }, { "device", "", true }, { "", "0123456789abcdef", true },
	{ "other", "0123456789abcdef", false }, { "device", "fedcba9876543210", false }, { "other", "", false },
};

static void
test_owner(void **state)
{
	struct px_spool_birth unknown = { .id = "22222222-2222-4222-8222-222222222222" };
	bool own = false;

	(void)state;
	for (size_t i = 0; i < sizeof(owners) / sizeof(owners[0]); i++) {
		OK(px_spool_is_of(spool, px_slice(owners[i].device_id), px_slice(owners[i].machine_hash), &own, &err));
		if (own != owners[i].is_own)
			fail_msg("'%s' '%s': %d", owners[i].device_id, owners[i].machine_hash, own);
	}
	(void)snprintf(path, sizeof(path), "%s/unknown.db", folder);
	OK(px_spool_create(path, &unknown, &err));
	open_spool(PX_SPOOL_FLUSH);
	OK(px_spool_is_of(spool, px_slice("first"), px_slice(""), &own, &err));
	assert_true(own);
	OK(px_spool_is_of(spool, px_slice("first"), px_slice("hash"), &own, &err));
	assert_true(own);
	OK(px_spool_is_of(spool, px_slice("second"), px_slice("hash"), &own, &err));
	assert_false(own);
	OK(px_spool_is_of(spool, px_slice(""), px_slice("other hash"), &own, &err));
	assert_false(own);
}

static bool
change_while_reading(void *arg, const struct px_spool_item *found)
{
	struct px_settled settled = { found->item.seq, found->item.kind, NULL };
	int *seen = arg;

	/* No transaction is open here: this very connection may write. */
	OK(px_spool_settle(spool, &settled, 1, 0, false, &err));
	return ++*seen < 150;
}

static void
test_walk_in_pieces(void **state)
{
	int seen = 0;

	(void)state;
	for (unsigned i = 0; i < 200; i++)
		(void)put(i % 3 == 0 ? PX_SNAPSHOT : PX_EVENT, i + 1, WIDE, NULL);
	OK(px_spool_each_pending(spool, INT64_MAX, change_while_reading, &seen, &err));
	assert_int_equal(seen, 150);
	expect_counters("150 of 200", 200, 150, 50, 0, 0, 0, 0);
	seen = 100;
	OK(px_spool_each(spool, change_while_reading, &seen, &err));
	expect_counters("all", 200, 200, 0, 0, 0, 0, 0);
}

/* No item of a size that max_bytes has no room for stops others: the event is refused, the snapshot counted lost. */
static void
test_too_large(void **state)
{
	struct px_spool_limits small = { 100, MIB };
	size_t size = 3 * MIB;
	char *body = malloc(size);
	struct px_item item = make_item(PX_SNAPSHOT, 9);
	bool kept = true;

	(void)state;
	assert_non_null(body);
	memset(body, ' ', size);
	body[0] = '{';
	body[size - 1] = '}';
	put_all("es");
	item.body = (struct px_slice){ body, size };
	OK(px_spool_put(spool, &item, &small, &kept, &err));
	assert_false(kept);
	assert_int_equal(item.seq, 3);
	assert_string_equal(all(), "e1 s2");
	expect_counters("large snapshot", 3, 0, 2, 0, 0, 0, 1);
	item.kind = PX_EVENT;
	assert_int_equal(px_spool_put(spool, &item, &small, &kept, &err), -1);
	assert_int_equal(err.code, PX_STORAGE);
	assert_int_equal(item.seq, 0);
	expect_counters("large event", 3, 0, 2, 0, 0, 0, 1);
	OK(px_spool_put(spool, &item, &WIDE, &kept, &err));
	assert_string_equal(all(), "e1 s2 e4");
	free(body);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_order, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_ranges, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_whole_item, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_evictions, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_settle, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_drop_and_retry, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_find, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_take_in, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_ages, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_timers, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_runs, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_owner, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_walk_in_pieces, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_too_large, set_up, tear_down),
	};

	return cmocka_run_group_tests_name("spool", tests, NULL, NULL);
}
