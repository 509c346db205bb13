/* SPDX-License-Identifier: MIT */
/*
 * A small spool, made by the real code, broken in every way: each page zeroed, filled with junk, swapped with the next,
 * each length, each byte. Whatever it is, nothing crashes or hangs, and what is not hurt itself is carried over. Bytes are a
 * sample, one of so many; PX_TEST_BYTES=1 in the environment tries all of them, PX_TEST_SEED a sample once more. With a
 * small share of the time pages are a sample, too.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "share.h"
#include "spool.h"
#include "spool_folder.h"

#define PAGE 2048
#define FRAME (PAGE + 24)
#define LOG_HEADER 32
#define WIDE ((struct px_spool_limits){ 100000, INT64_C(1) << 28 })
#define ITEMS_MAX 128
#define FILE_MAX (1 << 20)
#define HANG_S 60

static struct px_err err;

static const struct px_spool_birth birth = { .id = "11111111-1111-4111-8111-111111111111", .device_id = { "device", 6 } };
static const struct px_spool_birth second = { .id = "22222222-2222-4222-8222-222222222222", .device_id = { "device", 6 } };
static const struct px_now now = { .wall_ms = 1795359347000 };	/* 2026-11-22T14:55:47Z */

#define OK(call) \
	do { \
		if ((call) == -1) \
			fail_msg("%s: %s", #call, err.text); \
	} while (0)

/* Goes on, so that one run tells all. */
static int complaints;

#define COMPLAIN(...) \
	do { \
		if (complaints++ < 40) \
			print_error(__VA_ARGS__); \
	} while (0)

struct bytes {
	uint8_t data[FILE_MAX];
	size_t len;
};

/* What is there before it is broken: the spool's file, its log, and its items. */
struct whole {
	struct bytes file;
	struct bytes log;
	size_t log_end;			/* of its own frames: behind it is what was left over when it began anew */
	struct {
		char id[PX_ID_MAX];
		uint8_t id_bytes[16];
		enum px_kind kind;
		int64_t time_ms;
		bool quarantined;
		int64_t attempts;
		uint64_t hash;		/* of topic and body */
	} items[ITEMS_MAX];
	size_t count;
	int64_t recorded;
	int64_t acknowledged;
};

static struct whole whole;
static struct bytes broken[2];		/* file, log */

static void
read_bytes(const char *name, struct bytes *out)
{
	int fd = open(name, O_RDONLY | O_CLOEXEC);
	ssize_t got = fd != -1 ? read(fd, out->data, sizeof(out->data)) : 0;

	assert_true(got >= 0 && got < FILE_MAX);
	out->len = (size_t)got;
	if (fd != -1)
		(void)close(fd);
}

static void
write_bytes(const char *name, const struct bytes *from)
{
	int fd = open(name, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

	assert_int_not_equal(fd, -1);
	assert_int_equal(write(fd, from->data, from->len), from->len);
	assert_int_equal(close(fd), 0);
}

static uint64_t
hash_of(uint64_t hash, struct px_slice bytes)
{
	for (size_t i = 0; i < bytes.len; i++)
		hash = (hash ^ (uint8_t)bytes.ptr[i]) * UINT64_C(1099511628211);
	return hash;
}

/* Every page that an item's body is on has its number in it, so that what a page has can be told from its bytes. */
static void
put_item(struct px_spool *spool, unsigned number, size_t bytes)
{
	struct px_item item = { .kind = number % 10 == 0 ? PX_SNAPSHOT : PX_EVENT, .time_ms = 1000 + number };
	char *body = malloc(bytes + 16);
	size_t len = 1;

	assert_non_null(body);
	body[0] = '{';
	while (len + 8 < bytes)
		len += (size_t)snprintf(body + len, 16, "<%05u>", number);
	body[len++] = '}';
	item.topic = px_slice("cpu");
	item.body = (struct px_slice){ body, len };
	(void)snprintf(item.id, sizeof(item.id), "%08x-cafe-7000-8000-%012x", number, number);
	OK(px_spool_put(spool, &item, &WIDE, NULL, &err));
	free(body);
}

static bool
remember(void *arg, const struct px_spool_item *found)
{
	size_t i = whole.count++;
	size_t at = 0;

	(void)arg;
	assert_true(i < ITEMS_MAX);
	memcpy(whole.items[i].id, found->item.id, PX_ID_MAX);
	for (size_t byte = 0; byte < 16; byte++, at += 2) {
		unsigned value;

		at += found->item.id[at] == '-';
		assert_int_equal(sscanf(found->item.id + at, "%2x", &value), 1);
		whole.items[i].id_bytes[byte] = (uint8_t)value;
	}
	whole.items[i].kind = found->item.kind;
	whole.items[i].time_ms = found->item.time_ms;
	whole.items[i].quarantined = found->quarantined;
	whole.items[i].attempts = found->attempts;
	whole.items[i].hash = hash_of(hash_of(7, found->item.topic), found->item.body);
	return true;
}

/* Puts items, the first of them ${number}, until the log has begun anew, and ${more} then; returns the next one's number. */
static unsigned
put_until_log_is_anew(unsigned number, unsigned more)
{
	static struct bytes log;
	uint8_t salts[8];
	bool is_anew = false;

	read_bytes(beside("-wal"), &log);
	memcpy(salts, log.data + 16, sizeof(salts));
	for (; more > 0; more -= is_anew) {
		struct px_spool *spool = NULL;

		OK(px_spool_open(&spool, path, PX_SPOOL_RECORD, 1000, &err));
		put_item(spool, number++, 400);
		px_spool_close(spool);
		read_bytes(beside("-wal"), &log);
		assert_int_not_equal(log.len, 0);
		is_anew = memcmp(salts, log.data + 16, sizeof(salts)) != 0;
	}
	return number;
}

static size_t
end_of_own_frames(const struct bytes *log)
{
	size_t at = LOG_HEADER;

	while (at + FRAME <= log->len && memcmp(log->data + 16, log->data + at + 8, 8) == 0)
		at += FRAME;
	return at;
}

/*
 * ${count} items, the oldest of them delivered so that pages are free, two quarantined; ${in_log} more of them
 * are in the log alone, or ${in_log_anew} in one that has begun anew in its place.
 */
static void
make_whole(unsigned count, unsigned in_log, unsigned in_log_anew)
{
	struct px_batch_entry tried[] = { { .seq = count - 3, .kind = PX_EVENT } };
	struct px_settled settled[ITEMS_MAX];
	struct px_spool_facts facts;
	struct px_spool *spool = NULL;
	unsigned delivered = count / 3;

	memset(&whole, 0, sizeof(whole));
	OK(px_spool_create(path, &birth, &err));
	OK(px_spool_open(&spool, path, PX_SPOOL_FLUSH, 1000, &err));
	for (unsigned i = 1; i <= count; i++)
		put_item(spool, i, i % 7 == 0 ? 5000 : 100 + 13 * i);
	for (unsigned i = 1; i <= delivered; i++)
		settled[i - 1] = (struct px_settled){ i, i % 10 == 0 ? PX_SNAPSHOT : PX_EVENT, NULL };
	settled[delivered] = (struct px_settled){ count - 1, PX_EVENT, "no such topic" };
	settled[delivered + 1] = (struct px_settled){ count - 2, PX_EVENT, "no such device" };
	OK(px_spool_settle(spool, settled, delivered + 2, 5, false, &err));
	OK(px_spool_count_attempt(spool, tried, 1, &err));
	px_spool_tidy(spool, &WIDE);
	for (unsigned i = count + 1; i <= count + in_log; i++)
		put_item(spool, i, i % 5 == 0 ? 3000 : 400);
	count += in_log;
	if (in_log_anew > 0) {
		px_spool_close(spool);
		count = put_until_log_is_anew(count + 1, in_log_anew) - 1;
		OK(px_spool_open(&spool, path, PX_SPOOL_LOOK, 1000, &err));
	}
	OK(px_spool_each(spool, remember, NULL, &err));
	OK(px_spool_facts(spool, &facts, &err));
	px_spool_close(spool);
	whole.recorded = facts.recorded;
	whole.acknowledged = facts.acknowledged;
	assert_int_equal(whole.count, count - delivered);
	read_bytes(path, &whole.file);
	read_bytes(beside("-wal"), &whole.log);
	assert_int_equal(whole.file.len % PAGE, 0);
	assert_true(in_log > 0 ? whole.log.len > LOG_HEADER : whole.log.len == 0);
	whole.log_end = end_of_own_frames(&whole.log);
	assert_true((whole.log_end < whole.log.len) == (in_log_anew > 0));
	assert_true(in_log == 0 || whole.log_end > LOG_HEADER);
}

/* ---- What is hurt */

static bool
has(const uint8_t *bytes, size_t len, const void *what, size_t what_len)
{
	return memmem(bytes, len, what, what_len) != NULL;
}

static uint32_t
page_of_frame(const struct bytes *log, size_t at)
{
	return (uint32_t)log->data[at] << 24 | (uint32_t)log->data[at + 1] << 16 | (uint32_t)log->data[at + 2] << 8 |
	    log->data[at + 3];
}

/* Whether a later frame than that at ${after} has ${page}. */
static bool
is_newer_in_log(uint32_t page, size_t after)
{
	for (size_t at = after == 0 ? LOG_HEADER : after + FRAME; at + FRAME <= whole.log_end; at += FRAME)
		if (page_of_frame(&whole.log, at) == page)
			return true;
	return false;
}

/* Whether what the bytes ${what} are part of, in the page at ${at} of file or log, differs in the broken one. */
static bool
is_hurt_at(size_t which, size_t at, const void *what, size_t len)
{
	const struct bytes *from = which == 0 ? &whole.file : &whole.log;
	size_t size = which == 0 ? PAGE : FRAME;

	return has(from->data + at, size, what, len) &&
	    (broken[which].len < at + size || memcmp(from->data + at, broken[which].data + at, size) != 0);
}

static bool
is_hurt(const void *what, size_t len)
{
	for (size_t at = 0; at < whole.file.len; at += PAGE)
		if (!is_newer_in_log((uint32_t)(at / PAGE) + 1, 0) && is_hurt_at(0, at, what, len))
			return true;
	for (size_t at = LOG_HEADER; at + FRAME <= whole.log_end; at += FRAME)
		if (!is_newer_in_log(page_of_frame(&whole.log, at), at) && is_hurt_at(1, at, what, len))
			return true;
	return false;
}

static bool
item_is_hurt(size_t i)
{
	char number[16];

	(void)snprintf(number, sizeof(number), "<%05u>", (unsigned)(whole.items[i].time_ms - 1000));
	return is_hurt(whole.items[i].id_bytes, 16) || is_hurt(number, strlen(number));
}

/* Whether the oldest event or snapshot is. */
static bool
first_leaf_is_hurt(void)
{
	bool met[2] = { false, false };

	for (size_t i = 0; i < whole.count; i++) {
		if (!met[whole.items[i].kind] && item_is_hurt(i))
			return true;
		met[whole.items[i].kind] = true;
	}
	return false;
}

/* ---- What has to be there afterwards */

struct checked {
	const char *label;
	size_t at;
	int64_t seq;
	int64_t quarantined;
	bool seen[ITEMS_MAX];
	int strange;
	int changed;
};

static bool
check_item(void *arg, const struct px_spool_item *found)
{
	struct checked *checked = arg;
	uint64_t hash = hash_of(hash_of(7, found->item.topic), found->item.body);

	if (found->item.seq != ++checked->seq)
		COMPLAIN("%s %zu: seq %" PRId64 " where %" PRId64 " is next\n", checked->label, checked->at, found->item.seq,
		    checked->seq);
	checked->quarantined += found->quarantined;
	for (size_t i = 0; i < whole.count; i++) {
		if (strcmp(whole.items[i].id, found->item.id) != 0)
			continue;
		if (checked->seen[i])
			COMPLAIN("%s %zu: %s is there twice\n", checked->label, checked->at, found->item.id);
		checked->seen[i] = true;
		if (whole.items[i].kind == found->item.kind && whole.items[i].time_ms == found->item.time_ms &&
		    whole.items[i].hash == hash &&
		    ((whole.items[i].quarantined == found->quarantined && whole.items[i].attempts == found->attempts) ||
		    is_hurt("no such topic", 13)))
			return true;
		if (!item_is_hurt(i))
			COMPLAIN("%s %zu: %s is not as it was\n", checked->label, checked->at, found->item.id);
		checked->changed++;
		return true;
	}
	checked->strange++;
	return true;
}

static void
check_renewed(struct checked *checked, int64_t carried)
{
	struct px_spool_facts facts;
	struct px_spool *spool = NULL;
	int hurt = 0;

	OK(px_spool_open(&spool, path, PX_SPOOL_FLUSH, 1000, &err));
	OK(px_spool_each(spool, check_item, checked, &err));
	OK(px_spool_check(spool, &err));
	OK(px_spool_facts(spool, &facts, &err));
	px_spool_close(spool);
	assert_int_equal(checked->seq, carried);
	assert_int_equal(facts.recorded, carried);
	assert_int_equal(facts.quarantined, checked->quarantined);
	for (size_t i = 0; i < whole.count; i++) {
		bool is = item_is_hurt(i);

		hurt += is;
		if (!checked->seen[i] && !is)
			COMPLAIN("%s %zu: %s is lost\n", checked->label, checked->at, whole.items[i].id);
	}
	/*
	 * An id may be hurt, too. What was delivered does not come back, unless the tree's first leaf is hurt: there its keys
	 * look right.
	 */
	if (checked->strange > hurt && !first_leaf_is_hurt())
		COMPLAIN("%s %zu: %d items that were not there\n", checked->label, checked->at, checked->strange);
	if (!is_hurt(birth.id, strlen(birth.id)))
		assert_string_equal(facts.replaces_id, birth.id);
	if (!is_hurt(birth.id, strlen(birth.id)) && strcmp(checked->label, "byte") != 0 && facts.replaces_recorded < carried)
		COMPLAIN("%s %zu: replaces %" PRId64 " items\n", checked->label, checked->at, facts.replaces_recorded);
}

/* The next start of each program on what is in ${broken}. */
static void
endure(const char *label, size_t at)
{
	struct checked checked = { .label = label, .at = at };
	struct px_spool *spool = NULL;
	static struct bytes kept;
	struct px_item item = { .kind = PX_EVENT, .id = "99999999-cafe-7000-8000-000000000001", .time_ms = 5 };
	char aside[PATH_MAX];
	int64_t carried = -1;

	(void)alarm(HANG_S);
	write_bytes(path, &broken[0]);
	write_bytes(beside("-wal"), &broken[1]);
	if (px_spool_open(&spool, path, PX_SPOOL_FLUSH, 100, &err) == 0) {
		if (px_spool_check(spool, &err) == -1 && err.code != PX_CORRUPT)
			COMPLAIN("%s %zu: %s\n", label, at, err.text);
		px_spool_close(spool);
	} else if (err.code != PX_CORRUPT && strstr(err.text, "newer px-status") == NULL) {
		/* SQLite's words for a version that is damaged must not hinder its renewal. */
		COMPLAIN("%s %zu: code %d, %s\n", label, at, (int)err.code, err.text);
	}
	OK(px_spool_renew(path, &second, &now, aside, sizeof(aside), &carried, &err));
	assert_string_equal(aside + strlen(path), ".broken-20261122T145547Z");
	read_bytes(aside, &kept);
	if (broken[1].len == 0 && (kept.len != broken[0].len || memcmp(kept.data, broken[0].data, kept.len) != 0))
		COMPLAIN("%s %zu: the old file was changed\n", label, at);
	check_renewed(&checked, carried);

	OK(px_spool_open(&spool, path, PX_SPOOL_RECORD, 100, &err));
	item.body = px_slice("{}");
	OK(px_spool_put(spool, &item, &WIDE, NULL, &err));
	assert_int_equal(item.seq, carried + 1);
	px_spool_close(spool);
	assert_int_equal(unlink(aside), 0);
	(void)snprintf(aside + strlen(path), sizeof(aside) - strlen(path), ".broken-20261122T145547Z-wal");
	(void)unlink(aside);
	(void)alarm(0);
}

static void
mend(void)
{
	broken[0] = whole.file;
	broken[1] = whole.log;
}

/* ---- Ways to break it */

static size_t
step_of_bytes(void)
{
	return number_in_environment("PX_TEST_BYTES", 997 * parts());
}

static size_t
step_of_pages(void)
{
	return 1 + parts() / 5;
}

static void
fill_junk(uint8_t *bytes, size_t len)
{
	for (size_t i = 0; i < len; i++)
		bytes[i] = (uint8_t)rand();
}

/* Each page of the file, or each frame of the log, in each way. */
static void
break_pages(size_t which)
{
	const struct bytes *from = which == 0 ? &whole.file : &whole.log;
	size_t size = which == 0 ? PAGE : FRAME;

	for (size_t at = which == 0 ? 0 : LOG_HEADER; at + size <= from->len; at += size * step_of_pages()) {
		size_t number = at / size + (which == 0 ? 1 : 0);

		mend();
		memset(broken[which].data + at, 0, size);
		endure("zeroed page", number);
		mend();
		fill_junk(broken[which].data + at, size);
		endure("junk page", number);
		if (which == 1 || at + 2 * size > from->len)
			continue;
		mend();
		memcpy(broken[which].data + at, from->data + at + size, size);
		memcpy(broken[which].data + at + size, from->data + at, size);
		endure("swapped page", number);
	}
}

static void
break_lengths(size_t which)
{
	size_t len = which == 0 ? whole.file.len : whole.log.len;
	size_t size = which == 0 ? PAGE : FRAME;

	for (size_t cut = 0; cut < len; cut++) {
		size_t beyond = (cut + 2) % size;

		if ((beyond > 4 || (cut + 2) / size % step_of_pages() != 0) && cut % (509 * parts()) != 0)
			continue;
		mend();
		broken[which].len = cut;
		endure(which == 0 ? "length" : "length of the log", cut);
	}
}

static void
break_bytes(size_t which, size_t step)
{
	static const uint8_t patterns[] = { 0x00, 0xff, 0x80 };
	const struct bytes *from = which == 0 ? &whole.file : &whole.log;

	for (size_t i = (size_t)rand() % step; i < 3 * from->len; i += 1 + (step > 1 ? (size_t)rand() % (2 * step) : 0)) {
		uint8_t pattern = patterns[i % 3];
		uint8_t *byte = &broken[which].data[i / 3];

		mend();
		*byte = pattern == 0x80 ? (uint8_t)(*byte ^ pattern) : pattern;
		if (*byte != from->data[i / 3])
			endure("byte", i / 3);
	}
}

static int
set_up(void **state)
{
	unsigned seed = (unsigned)number_in_environment("PX_TEST_SEED", (size_t)time(NULL));

	print_message("# seed %u\n", seed);
	srand(seed);
	return make_spool_folder_in_memory(state);
}

static int
tear_down(void **state)
{
	complaints = 0;
	return remove_spool_folder(state);
}

static void
test_file(void **state)
{
	(void)state;
	make_whole(60, 0, 0);
	break_pages(0);
	break_lengths(0);
	break_bytes(0, step_of_bytes());
	assert_int_equal(complaints, 0);
}

static void
test_log(void **state)
{
	(void)state;
	make_whole(30, 14, 0);
	break_pages(1);
	break_lengths(1);
	break_bytes(1, step_of_bytes());
	assert_int_equal(complaints, 0);
}

/* Where the frames of the last commit begin. */
static size_t
last_commit(void)
{
	size_t at = whole.log_end - FRAME;

	while (at > LOG_HEADER && memcmp(whole.log.data + at - FRAME + 4, "\0\0\0\0", 4) == 0)
		at -= FRAME;
	return at;
}

/* The power failed before the last commit was synced: of its frames one is not there, and of each other only the start. */
static void
test_log_torn_in_its_last_commit(void **state)
{
	struct checked checked = { .label = "torn" };
	struct px_spool *spool = NULL;
	char aside[PATH_MAX];
	int64_t carried;
	size_t first;

	(void)state;
	make_whole(30, 4, 4);
	first = last_commit();
	assert_true(first > LOG_HEADER && first + FRAME < whole.log_end);
	mend();
	memset(broken[1].data + first, 0x5a, FRAME);
	for (size_t at = first + FRAME; at < whole.log_end; at += FRAME)
		memset(broken[1].data + at + FRAME - PAGE + 64, 0, PAGE - 64);
	write_bytes(path, &broken[0]);
	write_bytes(beside("-wal"), &broken[1]);
	OK(px_spool_renew(path, &second, &now, aside, sizeof(aside), &carried, &err));
	OK(px_spool_open(&spool, path, PX_SPOOL_LOOK, 1000, &err));
	OK(px_spool_each(spool, check_item, &checked, &err));
	px_spool_close(spool);
	for (size_t i = 0; i + 1 < whole.count; i++)
		if (!checked.seen[i])
			COMPLAIN("%s is lost\n", whole.items[i].id);
	assert_int_equal(checked.changed, 0);
	assert_int_equal(complaints, 0);
}

static void
test_file_below_a_log(void **state)
{
	(void)state;
	make_whole(30, 14, 0);
	break_pages(0);
	break_bytes(0, 2 * step_of_bytes());
	assert_int_equal(complaints, 0);
}

static void
test_log_begun_anew(void **state)
{
	(void)state;
	make_whole(30, 4, 5);
	break_pages(1);
	break_bytes(1, 2 * step_of_bytes());
	assert_int_equal(complaints, 0);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_file, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_log, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_log_begun_anew, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_log_torn_in_its_last_commit, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_file_below_a_log, set_up, tear_down),
	};

	return cmocka_run_group_tests_name("spool_broken", tests, NULL, NULL);
}
