/* SPDX-License-Identifier: MIT */
/* A spool under load: many processes, many operations by chance, and bounds that hold on disk at every moment. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "spool.h"
#include "spool_folder.h"

#define MIB (INT64_C(1) << 20)
#define WIDE ((struct px_spool_limits){ 100000, 256 * MIB })
#define PROCESSES 20
#define EVENTS_EACH 10
#define KNOWN_MAX 2000
#define BODY_MAX (256 << 10)

static char body[BODY_MAX];
static struct px_err err;

static const struct px_spool_birth birth = { .id = "11111111-1111-4111-8111-111111111111" };

#define OK(call) \
	do { \
		if ((call) == -1) \
			fail_msg("%s: %s", #call, err.text); \
	} while (0)

static int
set_up(void **state)
{
	if (make_spool_folder(state) != 0)
		return -1;
	OK(px_spool_create(path, &birth, &err));
	return 0;
}

static void
make_item(struct px_item *item, enum px_kind kind, unsigned number, size_t bytes)
{
	memset(body, ' ', bytes);
	body[0] = '{';
	body[bytes - 1] = '}';
	*item = (struct px_item){ .kind = kind, .time_ms = 1000 + number, .topic = px_slice("cpu"), .body = { body, bytes } };
	(void)snprintf(item->id, sizeof(item->id), "%08x-0000-7000-8000-%012x", number, number);
}

static off_t
size_of(const char *suffix)
{
	char name[256];
	struct stat status;

	(void)snprintf(name, sizeof(name), "%s%s", path, suffix);
	return lstat(name, &status) == 0 ? status.st_size : 0;
}

static void
record_some(unsigned process)
{
	for (unsigned i = 0; i < EVENTS_EACH; i++) {
		struct px_spool *spool = NULL;
		struct px_item item;

		make_item(&item, PX_EVENT, process * 1000 + i + 1, 600);
		if (px_spool_open(&spool, path, PX_SPOOL_RECORD, 9000, &err) == -1 ||
		    px_spool_put(spool, &item, &WIDE, NULL, &err) == -1) {
			(void)fprintf(stderr, "# %s\n", err.text);
			_exit(1);
		}
		px_spool_close(spool);
	}
	_exit(0);
}

/* Another process that has its turn for ${ms}. */
static pid_t
take_turn_elsewhere(long ms)
{
	const struct timespec duration = { ms / 1000, ms % 1000 * 1000000 };
	int ready[2];
	char byte;
	pid_t child;

	assert_int_equal(pipe(ready), 0);
	child = fork();
	assert_int_not_equal(child, -1);
	if (child == 0) {
		char log[256];
		int fd;

		(void)snprintf(log, sizeof(log), "%s-wal", path);
		fd = open(log, O_RDONLY);
		if (flock(fd, LOCK_EX) == -1 || write(ready[1], "", 1) != 1)
			_exit(1);
		(void)nanosleep(&duration, NULL);
		_exit(0);
	}
	assert_int_equal(read(ready[0], &byte, 1), 1);
	(void)close(ready[0]);
	(void)close(ready[1]);
	return child;
}

static int64_t
milliseconds(void)
{
	struct timespec now;

	assert_int_equal(clock_gettime(CLOCK_MONOTONIC, &now), 0);
	return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static const struct {
	const char *row;
	long held_ms;
	int64_t wait_ms;
	int64_t least_ms;
} turns[] = {
	{ "one that ends", 300, 20000, 250 },
	{ "one that does not end in time", 30000, 300, 300 },
	{ "one that nobody may wait for", 30000, 0, 0 },
};

static void
test_turns(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(turns) / sizeof(turns[0]); i++) {
		int64_t began = milliseconds();		/* the turn lasts from a moment after this on */
		pid_t child = take_turn_elsewhere(turns[i].held_ms);
		struct px_spool *spool = NULL;
		struct itimerval timer;
		struct px_item item;
		int64_t took;

		(void)alarm(60);
		OK(px_spool_open(&spool, path, PX_SPOOL_RECORD, turns[i].wait_ms, &err));
		took = milliseconds() - began;
		if (took < turns[i].least_ms || took > 15000)
			fail_msg("%s: %" PRId64 " ms", turns[i].row, took);
		assert_int_equal(getitimer(ITIMER_REAL, &timer), 0);
		assert_in_range(timer.it_value.tv_sec, 30, 60);		/* what the caller had set */
		assert_int_equal(timer.it_interval.tv_sec + timer.it_interval.tv_usec, 0);
		(void)alarm(0);
		make_item(&item, PX_EVENT, (unsigned)i + 1, 600);
		OK(px_spool_put(spool, &item, &WIDE, NULL, &err));
		px_spool_close(spool);
		assert_int_equal(kill(child, SIGKILL) == -1 && errno != ESRCH, 0);
		assert_int_equal(waitpid(child, NULL, 0), child);
		/* Who ended gave its turn back. */
		began = milliseconds();
		OK(px_spool_open(&spool, path, PX_SPOOL_RECORD, 20000, &err));
		px_spool_close(spool);
		assert_true(milliseconds() - began < 10000);
	}
}

static bool
check_gapless(void *arg, const struct px_spool_item *found)
{
	assert_int_equal(found->item.seq, ++*(int64_t *)arg);
	return true;
}

static void
test_processes(void **state)
{
	struct px_spool *spool = NULL;
	struct px_spool_facts facts;
	int64_t seq = 0;

	(void)state;
	for (unsigned i = 0; i < PROCESSES; i++) {
		pid_t child = fork();

		assert_int_not_equal(child, -1);
		if (child == 0)
			record_some(i);
	}
	for (unsigned i = 0; i < PROCESSES; i++) {
		int status = -1;

		assert_int_not_equal(wait(&status), -1);
		assert_int_equal(status, 0);
	}
	OK(px_spool_open(&spool, path, PX_SPOOL_LOOK, 1000, &err));
	OK(px_spool_each(spool, check_gapless, &seq, &err));
	assert_int_equal(seq, PROCESSES * EVENTS_EACH);
	OK(px_spool_facts(spool, &facts, &err));
	assert_int_equal(facts.recorded, seq);
	assert_int_equal(facts.pending, seq);
	px_spool_close(spool);
	assert_true(size_of("-wal") < 400 * 4120);
}

/* A recorder that is killed in the middle leaves a spool that others go on with. */
static void
test_killed_recorders(void **state)
{
	struct px_spool *spool = NULL;
	struct px_spool_facts facts;
	int64_t seq = 0;

	(void)state;
	for (int i = 0; i < 20; i++) {
		const struct timespec pause = { 0, 1000000L * (1 + i % 7) };
		pid_t child = fork();

		assert_int_not_equal(child, -1);
		if (child == 0)
			record_some((unsigned)i + 1);
		(void)nanosleep(&pause, NULL);
		(void)kill(child, SIGKILL);
		assert_int_equal(waitpid(child, NULL, 0), child);
	}
	OK(px_spool_open(&spool, path, PX_SPOOL_FLUSH, 1000, &err));
	OK(px_spool_each(spool, check_gapless, &seq, &err));
	OK(px_spool_facts(spool, &facts, &err));
	assert_int_equal(facts.recorded, seq);
	assert_int_equal(facts.pending, seq);
	px_spool_close(spool);
}

/* A reader that stops in the middle holds up no writer, and keeps the log from growing no longer than it reads. */
static bool
record_while_reading(void *arg, const struct px_spool_item *found)
{
	struct px_spool *spool = NULL;
	struct px_item item;

	(void)found;
	OK(px_spool_open(&spool, path, PX_SPOOL_RECORD, 0, &err));
	for (unsigned i = 0; i < 100; i++) {
		make_item(&item, PX_EVENT, 5000 + i, 600);
		OK(px_spool_put(spool, &item, &WIDE, NULL, &err));
	}
	px_spool_close(spool);
	*(bool *)arg = true;
	return false;
}

static void
test_slow_reader(void **state)
{
	struct px_spool *spool = NULL;
	struct px_item item;
	bool called = false;

	(void)state;
	OK(px_spool_open(&spool, path, PX_SPOOL_LOOK, 0, &err));
	make_item(&item, PX_EVENT, 1, 600);
	OK(px_spool_put(spool, &item, &WIDE, NULL, &err));
	OK(px_spool_each(spool, record_while_reading, &called, &err));
	assert_true(called);
	assert_true(size_of("-wal") <= 80 * 4120);
	px_spool_close(spool);
}

static void
test_recorders_checkpoint(void **state)
{
	off_t longest = 0;

	(void)state;
	for (unsigned i = 0; i < 200; i++) {
		struct px_spool *spool = NULL;
		struct px_item item;

		make_item(&item, PX_EVENT, i + 1, 600);
		OK(px_spool_open(&spool, path, PX_SPOOL_RECORD, 100, &err));
		OK(px_spool_put(spool, &item, &WIDE, NULL, &err));
		px_spool_close(spool);
		longest = size_of("-wal") > longest ? size_of("-wal") : longest;
	}
	assert_true(longest > 0);
	assert_true(longest <= 70 * 4120);
}

/* Storms into the smallest max_bytes: sizes of events, how many, and whether a flush comes by and what it does. */
static const struct {
	const char *row;
	size_t smallest;
	size_t largest;
	int count;
	int snapshot_every;
	int tidy_every;
	int reject_every;
} storms[] = {
	{ "small events", 200, 2900, 600, 0, 0, 0 },
	{ "largest events", 65000, 65400, 60, 0, 0, 0 },
	{ "mixed, with snapshots", 100, 65000, 150, 3, 0, 0 },
	{ "with flushes", 300, 20000, 200, 5, 20, 0 },
	{ "with flushes and quarantine", 900, 1500, 700, 50, 100, 300 },
};

struct rejections {
	struct px_settled settled[500];
	size_t count;
};

static bool
reject(void *arg, const struct px_spool_item *found)
{
	static char reason[PX_REASON_MAX];
	struct rejections *rejections = arg;

	memset(reason, 'r', sizeof(reason) - 1);
	rejections->settled[rejections->count++] = (struct px_settled){ found->item.seq, found->item.kind, reason };
	return rejections->count < 500;
}

static void
check_bytes(const char *row, int number, int64_t bound)
{
	if (px_spool_bytes(path) > bound)
		fail_msg("%s: %" PRId64 " bytes after %d (database %ld, log %ld)", row, px_spool_bytes(path), number, (long)size_of(""),
		    (long)size_of("-wal"));
}

static void
check_sum(const char *row, struct px_spool *spool)
{
	struct px_spool_facts facts;

	OK(px_spool_facts(spool, &facts, &err));
	if (facts.recorded != facts.acknowledged + facts.pending + facts.quarantined + facts.dropped + facts.lost_events +
	    facts.lost_snapshots || facts.pending < 0 || facts.quarantined < 0)
		fail_msg("%s: the counters do not add up", row);
}

static void
run_storm(size_t i)
{
	const struct px_spool_limits limits = { 100000, MIB };
	struct px_spool *spool = NULL;
	struct px_item item;

	for (int n = 1; n <= storms[i].count; n++) {
		size_t bytes = storms[i].smallest + (size_t)rand() % (storms[i].largest - storms[i].smallest);
		bool is_snapshot = storms[i].snapshot_every > 0 && n % storms[i].snapshot_every == 0;

		OK(px_spool_open(&spool, path, PX_SPOOL_RECORD, 100, &err));
		make_item(&item, is_snapshot ? PX_SNAPSHOT : PX_EVENT, (unsigned)n, is_snapshot ? 90000 + bytes : bytes);
		OK(px_spool_put(spool, &item, &limits, NULL, &err));
		assert_int_equal(item.seq, n);
		check_bytes(storms[i].row, n, limits.max_bytes);
		px_spool_close(spool);
		if (n % 10 != 0)
			continue;
		OK(px_spool_open(&spool, path, PX_SPOOL_FLUSH, 100, &err));
		check_sum(storms[i].row, spool);
		if (storms[i].reject_every > 0 && n % storms[i].reject_every == 0) {
			struct rejections rejections = { .count = 0 };

			OK(px_spool_each_pending(spool, n, reject, &rejections, &err));
			OK(px_spool_settle(spool, rejections.settled, rejections.count, 1, false, &err));
			check_sum(storms[i].row, spool);
			check_bytes(storms[i].row, -n, limits.max_bytes);
		}
		if (storms[i].tidy_every > 0 && n % storms[i].tidy_every == 0)
			px_spool_tidy(spool, &limits);
		check_bytes(storms[i].row, -n, limits.max_bytes);
		px_spool_close(spool);
	}
	/* The newest events are there, and a good part of what max_bytes allows is in use. */
	assert_true(size_of("") > 300 << 10);
}

static void
test_max_bytes(void **state)
{
	for (size_t i = 0; i < sizeof(storms) / sizeof(storms[0]); i++) {
		run_storm(i);
		assert_int_equal(remove_spool_folder(state), 0);
		assert_int_equal(set_up(state), 0);
	}
}

static bool
acknowledge(void *arg, const struct px_spool_item *found)
{
	struct rejections *settled = arg;

	settled->settled[settled->count++] = (struct px_settled){ found->item.seq, found->item.kind, NULL };
	return settled->count < 500;
}

/* After a backlog is delivered the files are small again, and the reserve is there. */
static void
test_shrinking(void **state)
{
	struct px_spool *spool = NULL;
	struct px_item item;
	struct rejections settled;

	(void)state;
	OK(px_spool_open(&spool, path, PX_SPOOL_FLUSH, 1000, &err));
	for (unsigned i = 1; i <= 1000; i++) {
		make_item(&item, i % 20 == 0 ? PX_SNAPSHOT : PX_EVENT, i, i % 20 == 0 ? 50000 : 3000);
		OK(px_spool_put(spool, &item, &WIDE, NULL, &err));
	}
	assert_true(px_spool_bytes(path) > 5 * MIB);
	do {
		settled.count = 0;
		OK(px_spool_each_pending(spool, INT64_MAX, acknowledge, &settled, &err));
		OK(px_spool_settle(spool, settled.settled, settled.count, 1, false, &err));
	} while (settled.count > 0);
	px_spool_tidy(spool, &WIDE);
	px_spool_close(spool);
	assert_true(size_of("") < 300 << 10);
	assert_int_equal(size_of("-wal"), 0);
	assert_int_equal(size_of("-reserve"), 400 << 10);
	OK(px_spool_open(&spool, path, PX_SPOOL_FLUSH, 1000, &err));
	check_sum("shrunk", spool);
	px_spool_close(spool);
}

/* Bounds that were lowered hold after the next flush. */
static void
test_lowered_bounds(void **state)
{
	const struct px_spool_limits small = { 50, MIB };
	struct px_spool *spool = NULL;
	struct px_spool_facts facts;
	struct px_item item;

	(void)state;
	OK(px_spool_open(&spool, path, PX_SPOOL_FLUSH, 1000, &err));
	for (unsigned i = 1; i <= 300; i++) {
		make_item(&item, PX_EVENT, i, 20000);
		OK(px_spool_put(spool, &item, &WIDE, NULL, &err));
	}
	px_spool_tidy(spool, &WIDE);
	px_spool_tidy(spool, &small);
	OK(px_spool_facts(spool, &facts, &err));
	assert_true(facts.pending > 10 && facts.pending <= 50);
	assert_int_equal(facts.pending + facts.lost_events, 300);
	assert_true(px_spool_bytes(path) <= small.max_bytes);
	px_spool_close(spool);
}

/* What is known of each item outside of the spool, by seq. */
enum state_of_item { GONE, PENDING, QUARANTINED };
static struct {
	enum state_of_item state;
	enum px_kind kind;
} known[KNOWN_MAX + 1];
static int64_t acknowledged;
static int64_t dropped;
static int64_t lost;

static bool
check_known(void *arg, const struct px_spool_item *found)
{
	int64_t *count = arg;
	int64_t seq = found->item.seq;

	++*count;
	if (known[seq].state != (found->quarantined ? QUARANTINED : PENDING) || known[seq].kind != found->item.kind)
		fail_msg("item %" PRId64 " is in another state than known", seq);
	return true;
}

/* The order of pushing out, written down a second time: snapshots before events, quarantined before pending, oldest. */
static void
push_out_known(int64_t newest, int64_t max_items)
{
	int64_t events = 0;

	for (int64_t seq = 1; seq <= newest; seq++)
		events += known[seq].state != GONE && known[seq].kind == PX_EVENT;
	if (known[newest + 1].kind == PX_SNAPSHOT && events >= max_items)
		return;		/* there is no room for it, whatever goes */
	for (;;) {
		int64_t victim = 0;
		int best = 99;
		int64_t count = 0;

		for (int64_t seq = 1; seq <= newest; seq++) {
			int rank = (known[seq].kind == PX_EVENT ? 2 : 0) + (known[seq].state == PENDING ? 1 : 0);

			if (known[seq].state == GONE)
				continue;
			count++;
			if (rank < best) {
				best = rank;
				victim = seq;
			}
		}
		if (count < max_items || victim == 0)
			return;
		known[victim].state = GONE;
		lost++;
	}
}

static int64_t
put_by_chance(struct px_spool *spool, int64_t newest, int64_t max_items)
{
	const struct px_spool_limits limits = { max_items, 256 * MIB };
	struct px_item item;
	bool kept = false;

	make_item(&item, rand() % 3 == 0 ? PX_SNAPSHOT : PX_EVENT, (unsigned)newest + 1, 100);
	known[newest + 1].kind = item.kind;
	push_out_known(newest, max_items);
	OK(px_spool_put(spool, &item, &limits, &kept, &err));
	assert_int_equal(item.seq, newest + 1);
	known[item.seq].state = kept ? PENDING : GONE;
	lost += !kept;
	return item.seq;
}

static void
change_by_chance(struct px_spool *spool, int64_t seq)
{
	int what = rand() % 4;
	int rc;

	if (what < 2) {
		struct px_settled settled = { seq, known[seq].kind, what == 0 ? NULL : "no good" };

		OK(px_spool_settle(spool, &settled, 1, seq, false, &err));
		if (known[seq].state != GONE)
			known[seq].state = what == 0 ? (acknowledged++, GONE) : QUARANTINED;
		return;
	}
	rc = what == 2 ? px_spool_drop(spool, seq, &err) : px_spool_retry(spool, seq, NULL, &err);
	assert_int_equal(rc, known[seq].state == GONE ? -1 : 0);
	if (rc == -1)
		return;
	known[seq].state = what == 2 ? GONE : PENDING;
	dropped += what == 2;
}

static void
test_random_history(void **state)
{
	unsigned seed = (unsigned)time(NULL);
	struct px_spool *spool = NULL;
	int64_t newest = 0;

	(void)state;
	print_message("# seed %u\n", seed);
	srand(seed);
	OK(px_spool_open(&spool, path, PX_SPOOL_FLUSH, 1000, &err));
	for (int step = 0; step < 500; step++) {
		struct px_spool_facts facts;
		int64_t count = 0;

		if (newest == 0 || rand() % 2 == 0)
			newest = put_by_chance(spool, newest, 5 + rand() % 30);
		else
			change_by_chance(spool, 1 + rand() % newest);
		check_sum("by chance", spool);
		OK(px_spool_facts(spool, &facts, &err));
		OK(px_spool_each(spool, check_known, &count, &err));
		assert_int_equal(facts.recorded, newest);
		assert_int_equal(facts.pending + facts.quarantined, count);
		assert_int_equal(facts.acknowledged, acknowledged);
		assert_int_equal(facts.dropped, dropped);
		assert_int_equal(facts.lost_events + facts.lost_snapshots, lost);
		if (step % 100 == 99) {
			px_spool_close(spool);
			OK(px_spool_open(&spool, path, PX_SPOOL_FLUSH, 1000, &err));
		}
	}
	px_spool_close(spool);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_processes, set_up, remove_spool_folder),
		cmocka_unit_test_setup_teardown(test_turns, set_up, remove_spool_folder),
		cmocka_unit_test_setup_teardown(test_killed_recorders, set_up, remove_spool_folder),
		cmocka_unit_test_setup_teardown(test_slow_reader, set_up, remove_spool_folder),
		cmocka_unit_test_setup_teardown(test_recorders_checkpoint, set_up, remove_spool_folder),
		cmocka_unit_test_setup_teardown(test_max_bytes, set_up, remove_spool_folder),
		cmocka_unit_test_setup_teardown(test_shrinking, set_up, remove_spool_folder),
		cmocka_unit_test_setup_teardown(test_lowered_bounds, set_up, remove_spool_folder),
		cmocka_unit_test_setup_teardown(test_random_history, set_up, remove_spool_folder),
	};

	return cmocka_run_group_tests_name("spool_storm", tests, NULL, NULL);
}
