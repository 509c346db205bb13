/* SPDX-License-Identifier: MIT */
/* Bytes of a spool's file: integers, cells, records, the write-ahead log, pages that lie about themselves. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "spool_pages.h"

#define SIZE 512		/* of a page here */

static struct px_err err;

static const struct {
	const char *bytes;
	size_t len;
	size_t used;
	uint64_t value;
} varints[] = {
	{ "\x00", 1, 1, 0 },
	{ "\x7f", 1, 1, 127 },
	{ "\x81\x00", 2, 2, 128 },
	{ "\x81", 1, 0, 1 },
	{ "", 0, 0, 0 },
	{ "\xff\xff\xff\xff\xff\xff\xff\xff\xff", 9, 9, UINT64_MAX },
	{ "\xff\xff\xff\xff\xff\xff\xff\xff", 8, 0, (UINT64_C(1) << 56) - 1 },
	{ "\x80\x80\x80\x80\x80\x80\x80\x80\x01", 9, 9, 1 },
};

static void
test_varint(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(varints) / sizeof(varints[0]); i++) {
		uint64_t value = 0;
		size_t used = px_varint((const uint8_t *)varints[i].bytes, varints[i].len, &value);

		if (used != varints[i].used || value != varints[i].value)
			fail_msg("row %zu: %zu bytes, %llu", i, used, (unsigned long long)value);
	}
}

/* Records of two columns. */
static const struct {
	const char *row;
	const char *bytes;
	size_t len;		/* that are there */
	size_t payload;		/* that should be */
	const char *shape;
	bool is_one;
	int64_t second;
} records[] = {
	{ "null and integer", "\x03\x00\x01\xfe", 4, 4, "ni", true, -2 },
	{ "two bytes", "\x03\x00\x02\x01\x00", 5, 5, "ni", true, 256 },
	{ "the constant 1", "\x03\x00\x09", 3, 3, "ni", true, 1 },
	{ "null for an integer", "\x03\x00\x00", 3, 3, "nI", true, 0 },
	{ "null where none may be", "\x03\x00\x00", 3, 3, "ni", false, 0 },
	{ "text", "\x03\x00\x0f" "a", 4, 4, "nt", true, 0 },
	{ "text for bytes", "\x03\x00\x0f" "a", 4, 4, "nb", false, 0 },
	{ "bytes", "\x03\x00\x0e" "a", 4, 4, "nb", true, 0 },
	{ "a column more than there should be", "\x03\x00\x01\xfe", 4, 4, "n", false, 0 },
	{ "a column less", "\x02\x00", 2, 2, "ni", false, 0 },
	{ "no such type", "\x03\x00\x0a", 3, 3, "n*", false, 0 },
	{ "longer than its bytes", "\x03\x00\x02\x01", 4, 4, "ni", false, 0 },
	{ "shorter", "\x03\x00\x01\x01\x00", 5, 5, "ni", false, 0 },
	{ "a header beyond the end", "\x09\x00\x01", 3, 3, "ni", false, 0 },
	{ "a header of nothing", "\x00\x00\x01", 3, 3, "ni", false, 0 },
	{ "a header that ends within a type", "\x03\x00\x81\x00", 4, 4, "ni", false, 0 },
	{ "a length near the largest", "\x0b\x00\xff\xff\xff\xff\xff\xff\xff\xff\xff", 11, 11, "nt", false, 0 },
	{ "the rest is on other pages", "\x04\x00\x81\x0d", 4, 68, "nt", true, 0 },
	{ "16 bytes for an id", "\x03\x00\x2c", 3, 19, "nu", true, 0 },
	{ "15", "\x03\x00\x2a", 3, 18, "nu", false, 0 },
	{ "nothing", "", 0, 0, "n", false, 0 },
};

static void
test_record(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(records) / sizeof(records[0]); i++) {
		uint8_t *bytes = malloc(records[i].len + 1);	/* so that a sanitizer sees a read beyond */
		struct px_row row;
		bool is_one;

		assert_non_null(bytes);
		memcpy(bytes, records[i].bytes, records[i].len);
		is_one = px_row_parse(bytes, records[i].len, records[i].payload, records[i].shape, &row);
		if (is_one != records[i].is_one)
			fail_msg("%s: %d", records[i].row, is_one);
		if (is_one && records[i].second != 0)
			assert_int_equal(px_column_integer(&row.columns[1]), records[i].second);
		free(bytes);
	}
}

static void
put(uint8_t *at, size_t count, uint32_t value)
{
	for (size_t i = 0; i < count; i++)
		at[i] = (uint8_t)(value >> (8 * (count - 1 - i)));
}

static void
test_cell(void **state)
{
	uint8_t page[SIZE] = { 0 };
	struct px_cell cell;

	(void)state;
	memcpy(page + 500, "\x03\x05" "abc", 5);
	assert_true(px_cell_read(page, SIZE, 500, true, &cell));
	assert_int_equal(cell.key, 5);
	assert_int_equal(cell.local, 3);
	assert_int_equal(cell.overflow, 0);
	assert_true(px_cell_read(page, SIZE, 507, true, &cell) == false);		/* a payload of nothing */
	memcpy(page + 507, "\x03\x05" "abc", 5);
	assert_true(px_cell_read(page, SIZE, 507, true, &cell));	/* up to the last byte */
	page[507] = 4;
	assert_false(px_cell_read(page, SIZE, 507, true, &cell));
	page[511] = 0x81;
	assert_false(px_cell_read(page, SIZE, 511, true, &cell));
	assert_false(px_cell_read(page, SIZE, SIZE, true, &cell));
	assert_false(px_cell_read(page, SIZE, SIZE_MAX, true, &cell));
	/*
	 * Of 900 bytes 39 + (900 - 39) % 508 stay, of 1,000 no more than 39 (format, 1.6); the number of a page is
	 * behind them.
	 */
	memcpy(page + 12, "\x87\x04\x07", 3);
	put(page + 15 + 392, 4, 9);
	assert_true(px_cell_read(page, SIZE, 12, true, &cell));
	assert_int_equal(cell.payload, 900);
	assert_int_equal(cell.local, 392);
	assert_int_equal(cell.overflow, 9);
	memcpy(page + 12, "\x87\x68\x07", 3);
	put(page + 15 + 39, 4, 8);
	assert_true(px_cell_read(page, SIZE, 12, true, &cell));
	assert_int_equal(cell.local, 39);
	assert_int_equal(cell.overflow, 8);
	memcpy(page + SIZE - 20, "\x87\x68\x07", 3);
	assert_false(px_cell_read(page, SIZE, SIZE - 20, true, &cell));
}

/* ---- Files */

struct image {
	uint8_t bytes[16 * SIZE];
	size_t len;
};

static size_t
read_image(void *arg, int64_t offset, void *out, size_t len)
{
	const struct image *image = arg;
	size_t left = (size_t)offset > image->len ? 0 : image->len - (size_t)offset;
	size_t part = left < len ? left : len;

	if (part > 0)
		memcpy(out, image->bytes + offset, part);
	return part;
}

/* A leaf of marks with the keys ${first} to ${last}. */
static void
put_leaf(struct image *image, uint32_t number, uint8_t first, uint8_t last)
{
	uint8_t *page = image->bytes + (size_t)(number - 1) * SIZE;
	size_t at = SIZE;

	memset(page, 0, SIZE);
	page[0] = 0x0d;
	put(page + 3, 2, (uint32_t)(last - first + 1));
	for (uint8_t key = first; key <= last; key++) {
		at -= 8;
		memcpy(page + at, "\x06\x00\x05\x00\x01\x00\x00\x03", 8);
		page[at + 1] = key;
		put(page + 8 + 2 * (size_t)(key - first), 2, (uint32_t)at);
	}
}

/*
 * Pages: 2 the pointer map, 5 the root of the marks over the leaves 6 (keys 1 to 4), 7 (5 to 8) and 8 (9 to 12); 9 is
 * free.
 */
static void
make_image(struct image *image)
{
	uint8_t *root = image->bytes + 4 * SIZE;
	static const uint8_t kinds[] = { 1, 1, 1, 5, 5, 5, 2 };

	memset(image, 0, sizeof(*image));
	image->len = 9 * SIZE;
	put(image->bytes + 16, 2, SIZE);
	for (size_t i = 0; i < sizeof(kinds); i++)
		image->bytes[SIZE + 5 * i] = kinds[i];
	root[0] = 0x05;
	put(root + 3, 2, 2);
	put(root + 8, 4, 8);
	put(root + 12, 2, 500);
	put(root + 14, 2, 490);
	memcpy(root + 500, "\0\0\0\x06\x04", 5);
	memcpy(root + 490, "\0\0\0\x07\x08", 5);
	put_leaf(image, 6, 1, 4);
	put_leaf(image, 7, 5, 8);
	put_leaf(image, 8, 9, 12);
	put_leaf(image, 9, 5, 7);
}

static void
nothing(struct image *image)
{
	(void)image;
}

static void
zero_root(struct image *image)
{
	memset(image->bytes + 4 * SIZE, 0, SIZE);
}

static void
zero_leaf(struct image *image)
{
	memset(image->bytes + 6 * SIZE, 0, SIZE);
}

static void
swap_leaves(struct image *image)
{
	put_leaf(image, 6, 5, 8);
	put_leaf(image, 7, 1, 4);
}

static void
swap_with_free(struct image *image)
{
	put_leaf(image, 9, 9, 12);
	put_leaf(image, 8, 5, 7);
}

static void
root_is_its_own_child(struct image *image)
{
	put(image->bytes + 4 * SIZE + 8, 4, 5);
}

static void
child_beyond_the_end(struct image *image)
{
	put(image->bytes + 4 * SIZE + 8, 4, 70000);
}

static void
flip_key(struct image *image)
{
	image->bytes[4 * SIZE + 504] = 0xff;
}

/* Its first cell is taken to be where another page and another key are, which is in order. */
static void
move_cell(struct image *image)
{
	put(image->bytes + 4 * SIZE + 12, 2, 400);
	memcpy(image->bytes + 4 * SIZE + 400, "vvvv\x03", 5);
}

static void
flip_kind(struct image *image)
{
	image->bytes[6 * SIZE] = 0x8d;
}

static void
too_many_cells(struct image *image)
{
	put(image->bytes + 6 * SIZE + 3, 2, 65535);
}

/* As when the root has changed places with that of an empty table. */
static void
empty_root(struct image *image)
{
	put_leaf(image, 5, 1, 0);
}

static void
no_pointer_map(struct image *image)
{
	memset(image->bytes + SIZE, 0, SIZE);
	zero_leaf(image);
}

/* What the list of free pages still tells. */
static void
no_pointer_map_but_list(struct image *image)
{
	no_pointer_map(image);
	put(image->bytes + 32, 4, 10);
	put(image->bytes + 36, 4, 2);
	image->len = 10 * SIZE;
	put(image->bytes + 9 * SIZE + 4, 4, 1);
	put(image->bytes + 9 * SIZE + 8, 4, 9);
}

static void
cut(struct image *image)
{
	image->len = 7 * SIZE + 100;
}

/* A bit for each key that is found. */
static const struct {
	const char *row;
	void (*damage)(struct image *image);
	int64_t at_least;
	unsigned keys;
} trees[] = {
	{ "whole", nothing, 12, 0x1ffe },
	{ "the root zeroed", zero_root, 12, 0x1ffe },
	{ "the root zeroed, and nobody knows how many there are", zero_root, 0, 0x1ffe },
	{ "a leaf zeroed: what is free stays so", zero_leaf, 12, 0x1e1e },
	{ "an empty root", empty_root, 12, 0x1ffe },
	{ "leaves swapped", swap_leaves, 12, 0x1ffe },
	{ "a leaf swapped with a free page", swap_with_free, 12, 0x1ffe },
	{ "a loop", root_is_its_own_child, 12, 0x1ffe },
	{ "a child beyond the end", child_beyond_the_end, 12, 0x1ffe },
	{ "a key", flip_key, 12, 0x1ffe },
	{ "a cell that leads to no page", move_cell, 12, 0x1ffe },
	{ "the kind of a leaf", flip_kind, 12, 0x1ffe },
	{ "the number of cells", too_many_cells, 12, 0x1ffe },
	{ "without pointer map: rather too much", no_pointer_map, 12, 0x1efe },
	{ "without pointer map, but with the list", no_pointer_map_but_list, 12, 0x1e1e },
	{ "truncated", cut, 12, 0x01fe },
	{ "counters that expect more", nothing, 100, 0x1ffe },
};

static void
take_key(void *arg, const struct px_row *row)
{
	*(unsigned *)arg |= 1U << row->key;
}

/* Without counters the size of its pages is not believed: here it is told again. */
static void
put_counters(struct image *image)
{
	image->bytes[2 * SIZE] = 0x0d;
	put(image->bytes + 2 * SIZE + 3, 2, 1);
	put(image->bytes + 2 * SIZE + 8, 2, 480);
	memcpy(image->bytes + 2 * SIZE + 480, "\x1a\x01\x0a\0\x08\x08\x08\x08\x08\x08\x08\x2c", 12);
}

static void
test_tree(void **state)
{
	static struct image image;
	const struct px_bytes bytes = { .read = read_image, .arg = &image };

	(void)state;
	for (size_t i = 0; i < sizeof(trees) / sizeof(trees[0]); i++) {
		struct px_pages pages;
		struct px_bytes file = bytes;
		unsigned keys = 0;

		make_image(&image);
		trees[i].damage(&image);
		file.len = (int64_t)image.len;
		pages = (struct px_pages){ .count = 0 };
		put_counters(&image);
		assert_int_equal(px_pages_open(&pages, &file, NULL, PX_FRAMES_ALL, &err), 0);
		assert_int_equal(pages.size, SIZE);
		px_pages_each(&pages, PX_TABLE_MARK, trees[i].at_least, take_key, &keys);
		if (keys != trees[i].keys)
			fail_msg("%s: %#x", trees[i].row, keys);
		px_pages_close(&pages);
	}
}

/* The last page of the image is the FARth of a file with a hole before it, and one behind it. */
#define FAR 0x4000000

static int holes_read;

static size_t
read_far(void *arg, int64_t offset, void *out, size_t len)
{
	struct image *image = arg;
	int64_t far = (int64_t)(FAR - 1) * SIZE;

	if (offset >= far && offset < far + SIZE)
		return read_image(image, offset - far + 9 * SIZE, out, len);
	if (offset >= 0 && offset < 9 * SIZE)
		return read_image(image, offset, out, len);
	holes_read++;
	memset(out, 0, len);
	return len;
}

static bool
find_far(void *arg, int64_t *from, int64_t *to)
{
	int64_t far = (int64_t)(FAR - 1) * SIZE;

	(void)arg;
	if (*from >= far + SIZE)
		return false;
	*to = *from < 9 * SIZE ? 9 * SIZE : far + SIZE;
	*from = *from < 9 * SIZE ? *from : *from < far ? far : *from;
	return true;
}

/* Only what is there is looked at, and takes memory. */
static void
test_holes(void **state)
{
	static struct image image;
	const struct px_bytes bytes = { .read = read_far, .find = find_far, .arg = &image, .len = INT64_MAX };

	(void)state;
	for (int damaged = 0; damaged < 2; damaged++) {
		struct px_pages pages = { .count = 0 };
		unsigned keys = 0;

		make_image(&image);
		put_counters(&image);
		image.len = 10 * SIZE;
		put_leaf(&image, 10, 9, 12);
		put_leaf(&image, 8, 9, 8);
		put(image.bytes + 4 * SIZE + 8, 4, FAR);
		if (damaged == 1)
			zero_root(&image);
		assert_int_equal(px_pages_open(&pages, &bytes, NULL, PX_FRAMES_ALL, &err), 0);
		assert_int_equal(pages.count, FAR);
		assert_int_equal(pages.held, 10);
		px_pages_each(&pages, PX_TABLE_MARK, 12, take_key, &keys);
		assert_int_equal(keys, 0x1ffe);
		px_pages_close(&pages);
	}
	assert_in_range(holes_read, 0, 10);	/* where a page in it is asked for, as one of the pointer map */
}

static void
test_log(void **state)
{
	static struct image image;
	const struct px_bytes bytes = { .read = read_image, .arg = &image, .len = sizeof(image.bytes) };
	struct px_wal log;

	(void)state;
	memset(&image, 0, sizeof(image));
	image.len = sizeof(image.bytes);
	assert_int_equal(px_wal_read(&log, &bytes, SIZE, &err), 0);
	assert_int_equal(log.count, 0);
	assert_false(log.is_damaged);		/* zeros: the power failed */
	memset(image.bytes, 0x5a, sizeof(image.bytes));
	assert_int_equal(px_wal_read(&log, &bytes, SIZE, &err), 0);
	assert_true(log.is_damaged);
	px_wal_clear(&log);
	image.len = 100;
	assert_int_equal(px_wal_read(&log, &(struct px_bytes){ .read = read_image, .arg = &image, .len = 100 }, SIZE, &err), 0);
	assert_int_equal(log.count, 0);
	assert_false(log.is_damaged);
}

/* A log of one-page commits (https://sqlite.org/fileformat2.html, 4), its checksums of little-endian words. */
struct logged {
	struct image image;
	uint32_t sums[2];
};

static void
sum_up(struct logged *logged, const uint8_t *bytes, size_t len)
{
	for (size_t i = 0; i < len; i += 8)
		for (size_t half = 0; half < 2; half++) {
			const uint8_t *word = bytes + i + 4 * half;

			logged->sums[half] += ((uint32_t)word[0] | (uint32_t)word[1] << 8 | (uint32_t)word[2] << 16 |
			    (uint32_t)word[3] << 24) + logged->sums[1 - half];
		}
}

static void
begin_log(struct logged *logged, unsigned salt)
{
	uint8_t *header = logged->image.bytes;

	put(header, 4, 0x377f0682);
	put(header + 4, 4, 3007000);
	put(header + 8, 4, SIZE);
	put(header + 16, 4, salt);
	logged->sums[0] = logged->sums[1] = 0;
	sum_up(logged, header, 24);
	put(header + 24, 4, logged->sums[0]);
	put(header + 28, 4, logged->sums[1]);
}

#define FRAME (24 + SIZE)

static uint8_t *
frame_at(struct logged *logged, size_t number)
{
	return logged->image.bytes + 32 + number * FRAME;
}

static void
put_frames(struct logged *logged, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		uint8_t *frame = frame_at(logged, i);

		put(frame, 4, 1 + (unsigned)i);
		put(frame + 4, 4, 9);
		memcpy(frame + 8, logged->image.bytes + 16, 8);
		memset(frame + 24, 0x40 + (int)i, SIZE);
		sum_up(logged, frame, 8);
		sum_up(logged, frame + 24, SIZE);
		put(frame + 16, 4, logged->sums[0]);
		put(frame + 20, 4, logged->sums[1]);
	}
}

static void
flip_in_last(struct logged *logged)
{
	frame_at(logged, 4)[100] ^= 1;
}

static void
flip_salt_of_third(struct logged *logged)
{
	frame_at(logged, 2)[9] ^= 1;
}

static void
flip_page_of_third(struct logged *logged)
{
	frame_at(logged, 2)[100] ^= 1;
}

static void
zero_all_but_last(struct logged *logged)
{
	memset(frame_at(logged, 2), 0, (size_t)2 * FRAME);
}

/* The log began anew, and has two frames of its own before what is left over. */
static void
begin_anew(struct logged *logged)
{
	uint8_t *header = logged->image.bytes;

	assert_true(px_wal_begin_anew(header, 7));
	logged->sums[0] = px_big_endian(header + 24, 4);
	logged->sums[1] = px_big_endian(header + 28, 4);
	put_frames(logged, 2);
}

static void
begin_anew_and_stop(struct logged *logged)
{
	assert_true(px_wal_begin_anew(logged->image.bytes, 7));
}

static void
begin_anew_and_lose_the_first(struct logged *logged)
{
	begin_anew(logged);
	frame_at(logged, 0)[8] ^= 1;
}

static void
leave(struct logged *logged)
{
	(void)logged;
}

static void
cut_last(struct logged *logged)
{
	logged->image.len -= 1;
}

static void
cut_header(struct logged *logged)
{
	logged->image.len = 20;
}

/* ${stopped}: the frame at which one stops who reads as SQLite does; of five. */
static const struct {
	const char *row;
	void (*change)(struct logged *logged);
	size_t stopped;
	bool ends;
} log_ends[] = {
	{ "whole", leave, 4, true },
	{ "whole, and its last frame was read as one before", leave, 3, false },
	{ "cut in its last frame", cut_last, 4, true },
	{ "damaged in its last frame", flip_in_last, 4, false },
	{ "a damaged page, and frames behind it", flip_page_of_third, 2, false },
	{ "damaged salts, and frames behind them", flip_salt_of_third, 2, false },
	{ "zeros, and a frame behind them", zero_all_but_last, 2, false },
	{ "begun anew", begin_anew, 2, true },
	{ "begun anew, and nothing written yet", begin_anew_and_stop, 0, true },
	{ "begun anew, its first frame damaged", begin_anew_and_lose_the_first, 0, false },
	{ "no header", cut_header, 0, false },
};

static void
test_log_ends(void **state)
{
	static struct logged logged;
	const struct px_bytes bytes = { .read = read_image, .arg = &logged.image, .len = sizeof(logged.image.bytes) };
	uint8_t frame[FRAME];

	(void)state;
	for (size_t i = 0; i < sizeof(log_ends) / sizeof(log_ends[0]); i++) {
		struct px_wal log;

		memset(&logged, 0, sizeof(logged));
		logged.image.len = 32 + 5 * FRAME;
		begin_log(&logged, 1);
		put_frames(&logged, 5);
		log_ends[i].change(&logged);
		if (px_wal_ends_at(&bytes, (int64_t)(32 + log_ends[i].stopped * FRAME), frame, SIZE) != log_ends[i].ends)
			fail_msg("%s: %d", log_ends[i].row, !log_ends[i].ends);
		if (!log_ends[i].ends)
			continue;
		/* What is taken for whole without a full reading is so by one. */
		assert_int_equal(px_wal_read(&log, &bytes, SIZE, &err), 0);
		assert_false(log.is_damaged);
		px_wal_clear(&log);
	}
}

static void
test_log_begins_anew(void **state)
{
	static struct logged logged;
	uint8_t before[PX_WAL_HEADER];

	(void)state;
	begin_log(&logged, 1);
	for (size_t i = 0; i < PX_WAL_HEADER; i++) {
		memcpy(before, logged.image.bytes, sizeof(before));
		before[i] ^= 4;
		assert_false(px_wal_begin_anew(before, 7));
	}
	memcpy(before, logged.image.bytes, sizeof(before));
	for (int times = 0; times < 3; times++) {		/* the next header is as whole as this one */
		assert_true(px_wal_begin_anew(logged.image.bytes, 7));
		assert_memory_not_equal(logged.image.bytes + 16, before + 16, 4);
	}
	assert_int_equal(px_big_endian(logged.image.bytes + 12, 4), 3);
	assert_int_equal(px_big_endian(logged.image.bytes + 16, 4), 4);
	assert_int_equal(px_big_endian(logged.image.bytes + 20, 4), 7);
}

static void
junk_from_the_header_on(struct logged *logged)
{
	memset(logged->image.bytes + 3, 0xff, 500);
}

static void
zeros_from_the_header_on(struct logged *logged)
{
	memset(logged->image.bytes + 3, 0, 500);
}

static void
flip_order(struct logged *logged)
{
	logged->image.bytes[3] ^= 1;
}

/* One frame of its own, and the header that tells so lost. */
static void
begin_anew_and_lose_the_header(struct logged *logged)
{
	begin_log(logged, 2);
	put_frames(logged, 1);
	memset(logged->image.bytes, 0xff, 32);
}

/* From the end of the third frame's header on: its checksum and its page. */
static void
junk_where_header_and_page_meet(struct logged *logged)
{
	memset(frame_at(logged, 2) + 19, 0xff, 16);
}

static void
flip_page_and_next_checksum(struct logged *logged)
{
	frame_at(logged, 1)[100] ^= 1;
	frame_at(logged, 2)[18] ^= 1;
}

static void
flip_salts_and_next_checksum(struct logged *logged)
{
	frame_at(logged, 1)[9] ^= 1;
	frame_at(logged, 2)[18] ^= 1;
}

/* A bit for each page, from 1 to 5, that is whole, and that is doubtful. */
static const struct {
	const char *row;
	void (*change)(struct logged *logged);
	unsigned whole;
	unsigned doubtful;
	bool is_damaged;
} log_reads[] = {
	{ "whole", leave, 0x3e, 0, false },
	{ "begun anew", begin_anew, 0x06, 0, false },
	{ "a damaged page", flip_page_of_third, 0x36, 0, true },
	{ "damaged salts", flip_salt_of_third, 0x36, 0x10, true },
	{ "junk over the header and the first frame", junk_from_the_header_on, 0x3c, 0x04, true },
	{ "zeros over them", zeros_from_the_header_on, 0x3c, 0x04, true },
	{ "the order of bytes", flip_order, 0x3e, 0, true },
	{ "begun anew, and its header lost", begin_anew_and_lose_the_header, 0x02, 0x02, true },
	{ "junk over a checksum and its page", junk_where_header_and_page_meet, 0x36, 0x10, true },
	{ "salts, and the checksum of the next", flip_salts_and_next_checksum, 0x3a, 0x18, true },
	{ "a page, and the checksum of the next", flip_page_and_next_checksum, 0x3a, 0, true },
};

static void
test_log_reads(void **state)
{
	static struct logged logged;
	const struct px_bytes bytes = { .read = read_image, .arg = &logged.image, .len = sizeof(logged.image.bytes) };

	(void)state;
	for (size_t i = 0; i < sizeof(log_reads) / sizeof(log_reads[0]); i++) {
		struct px_wal log;
		unsigned whole = 0;
		unsigned doubtful = 0;

		memset(&logged, 0, sizeof(logged));
		logged.image.len = 32 + 5 * FRAME;
		begin_log(&logged, 1);
		put_frames(&logged, 5);
		log_reads[i].change(&logged);
		assert_int_equal(px_wal_read(&log, &bytes, SIZE, &err), 0);
		for (size_t at = 0; at < log.count; at++) {
			whole |= (unsigned)(log.frames[at].at != 0) << log.frames[at].page;
			doubtful |= (unsigned)log.frames[at].is_doubtful << log.frames[at].page;
		}
		if (whole != log_reads[i].whole || doubtful != log_reads[i].doubtful || log.is_damaged != log_reads[i].is_damaged)
			fail_msg("%s: %#x, %#x, %d", log_reads[i].row, whole, doubtful, log.is_damaged);
		px_wal_clear(&log);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_varint),
		cmocka_unit_test(test_record),
		cmocka_unit_test(test_cell),
		cmocka_unit_test(test_tree),
		cmocka_unit_test(test_holes),
		cmocka_unit_test(test_log),
		cmocka_unit_test(test_log_ends),
		cmocka_unit_test(test_log_begins_anew),
		cmocka_unit_test(test_log_reads),
	};

	return cmocka_run_group_tests_name("spool_pages", tests, NULL, NULL);
}
