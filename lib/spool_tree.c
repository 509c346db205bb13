/* SPDX-License-Identifier: MIT */
#include "spool_pages.h"

#define FILE_HEADER 100		/* before the first page's own */
#define LOCK_BYTE (INT64_C(1) << 30)
#define MISSING_MAX 64
#define FIRST_EVENT (INT64_C(1) << 48)	/* keys of events are behind it, see spool_db.h */

/* Kinds of pages (format, 1.6), of entries in the pointer map (1.8). */
#define INTERIOR_INDEX 0x02
#define INTERIOR_TABLE 0x05
#define LEAF_INDEX 0x0a
#define LEAF_TABLE 0x0d
#define MAP_FREE 2
#define MAP_LAST 5

/* Keys above the first and up to the second. */
struct range {
	int64_t above;
	int64_t upto;
};

/* A walk through a table's tree. */
struct walk {
	struct px_pages *pages;
	const char *shape;
	struct range keys;		/* that its rows may have */
	bool has_key;
	px_pages_each_fn *each;
	void *arg;
	int64_t rows;
	int64_t smallest[2];		/* key of a snapshot and of an event that was found; 0: none was */
	struct range missing[MISSING_MAX];
	size_t missing_count;
	uint32_t misplaced[MISSING_MAX];	/* leaves in the tree with keys that belong elsewhere alone */
	size_t misplaced_count;
	bool displaced;			/* pages may have changed places */
};

/* Whether a page that is damaged itself may be another one that came here: overflow, a free one, the pointer map. */
static bool
looks_like_another(const struct px_pages *pages, const uint8_t *page)
{
	bool is_even = true;

	for (size_t i = 1; i < pages->size && is_even; i++)
		is_even = page[i] == page[0];
	return !is_even && (px_big_endian(page, 4) <= pages->count || page[0] <= MAP_LAST || page[0] == LEAF_INDEX);
}

static void
miss(struct walk *walk, struct range range)
{
	if (walk->missing_count == MISSING_MAX) {
		walk->missing[0] = walk->keys;
		walk->missing_count = 1;
	} else {
		walk->missing[walk->missing_count++] = range;
	}
}

static bool
is_missing(const struct walk *walk, int64_t key)
{
	for (size_t i = 0; i < walk->missing_count; i++)
		if (key > walk->missing[i].above && key <= walk->missing[i].upto)
			return true;
	return false;
}

/* What a leaf has. */
struct yield {
	size_t cells;
	size_t rows;
	size_t others;		/* rows of another table */
	size_t in_place;	/* whose keys belong there */
};

static bool
is_of_another_table(const struct px_cell *cell)
{
	for (size_t i = 0; i < PX_TABLE_COUNT; i++) {
		struct px_row row;

		if (px_row_parse(cell->bytes, cell->local, cell->payload, px_tables[i].shape, &row))
			return true;
	}
	return false;
}

/* Reads the cells of a leaf; ${only_missing}: those rows alone whose keys are missing. */
static struct yield
read_leaf(struct walk *walk, uint32_t number, const uint8_t *page, struct range range, bool only_missing, bool tells)
{
	const struct px_pages *pages = walk->pages;
	size_t header = number == 1 ? FILE_HEADER : 0;
	size_t most = (pages->size - header - 8) / 2;
	struct yield yield = { .cells = px_big_endian(page + header + 3, 2) };

	for (size_t i = 0; i < yield.cells && i < most; i++) {
		struct px_row row = { .page = number, .at = px_big_endian(page + header + 8 + 2 * i, 2) };
		struct px_cell cell;

		if (row.at < header + 8 + 2 * (i + 1) || !px_cell_read(page, pages->size, row.at, walk->has_key, &cell))
			continue;
		if (!px_row_parse(cell.bytes, cell.local, cell.payload, walk->shape, &row)) {
			yield.others += is_of_another_table(&cell);
			continue;
		}
		if (walk->has_key && (cell.key <= walk->keys.above || cell.key > walk->keys.upto))
			continue;
		row.key = cell.key;
		yield.rows++;
		yield.in_place += !walk->has_key || (row.key > range.above && row.key <= range.upto);
		if (tells && (!only_missing || is_missing(walk, row.key))) {
			int64_t *smallest = &walk->smallest[row.key > FIRST_EVENT];

			if (*smallest == 0 || row.key < *smallest)
				*smallest = row.key;
			walk->rows++;
			walk->each(walk->arg, &row);
		}
	}
	return yield;
}

static void walk_page(struct walk *walk, uint32_t number, struct range range, size_t depth);

/* Where the ${i}th cell of an interior page begins; 0 where that is not within it. */
static size_t
interior_cell(const struct px_pages *pages, size_t header, const uint8_t *page, size_t i)
{
	size_t at = px_big_endian(page + header + 12 + 2 * i, 2);

	return at >= header + 12 + 2 * (i + 1) && at + 4 < pages->size ? at : 0;
}

/* Whether the keys of an interior page say what is where: a cell that leads to no page is no cell. */
static bool
keys_are_in_order(const struct px_pages *pages, size_t header, const uint8_t *page, size_t cells, struct range range)
{
	int64_t last = range.above;

	for (size_t i = 0; i < cells; i++) {
		size_t at = interior_cell(pages, header, page, i);
		uint32_t child = at != 0 ? px_big_endian(page + at, 4) : 0;
		uint64_t key;

		if (child == 0 || child > pages->count || px_varint(page + at + 4, pages->size - at - 4, &key) == 0 || key > INT64_MAX ||
		    (int64_t)key <= last || (int64_t)key > range.upto)
			return false;
		last = (int64_t)key;
	}
	return true;
}

/* False where it may be something else. */
static bool
walk_interior(struct walk *walk, uint32_t number, const uint8_t *page, struct range range, size_t depth)
{
	const struct px_pages *pages = walk->pages;
	size_t header = number == 1 ? FILE_HEADER : 0;
	size_t cells = px_big_endian(page + header + 3, 2);
	struct range part = range;
	bool in_order;

	if (cells > (pages->size - header - 12) / 2)
		return false;
	in_order = walk->has_key && keys_are_in_order(pages, header, page, cells, range);
	if (walk->has_key && !in_order) {
		if (read_leaf(walk, number, page, range, false, false).in_place > 0)
			return false;
		miss(walk, range);
	}
	for (size_t i = 0; i < cells; i++) {
		size_t at = interior_cell(pages, header, page, i);
		uint64_t key;

		if (at == 0)
			continue;
		if (in_order && px_varint(page + at + 4, pages->size - at - 4, &key) > 0)
			part.upto = (int64_t)key;
		walk_page(walk, px_big_endian(page + at, 4), part, depth + 1);
		if (in_order)
			part.above = part.upto;
	}
	part.upto = range.upto;
	walk_page(walk, px_big_endian(page + header + 8, 4), part, depth + 1);
	return true;
}

static void
walk_leaf(struct walk *walk, uint32_t number, const uint8_t *page, struct range range, size_t depth)
{
	struct yield yield = read_leaf(walk, number, page, range, false, false);

	if (yield.rows < yield.cells || (yield.cells == 0 && depth > 0) || yield.in_place < yield.rows)
		miss(walk, range);
	if (yield.in_place == 0 && yield.rows + yield.others > 0)
		walk->displaced = true;
	if (yield.in_place == 0 && yield.rows > 0 && walk->misplaced_count < MISSING_MAX)
		walk->misplaced[walk->misplaced_count++] = number;
	else
		(void)read_leaf(walk, number, page, range, false, true);
}

static void
walk_page(struct walk *walk, uint32_t number, struct range range, size_t depth)
{
	struct px_pages *pages = walk->pages;
	uint8_t *page = px_pages_buffer(pages, depth);
	struct yield yield;
	uint8_t kind;

	if (depth == PX_DEPTH_MAX || number == 0 || number > pages->count || px_pages_has_mark(pages, number, PX_PAGE_SEEN) ||
	    !px_pages_read(pages, number, page)) {
		miss(walk, range);
		return;
	}
	px_pages_mark(pages, number, PX_PAGE_SEEN);
	kind = page[number == 1 ? FILE_HEADER : 0];
	if (kind == (walk->has_key ? INTERIOR_TABLE : INTERIOR_INDEX) && walk_interior(walk, number, page, range, depth))
		return;
	/* Perhaps it is the kind alone that is damaged. */
	yield = read_leaf(walk, number, page, range, false, false);
	if (kind == (walk->has_key ? LEAF_TABLE : LEAF_INDEX) || (yield.in_place > 0 && yield.rows == yield.cells)) {
		walk_leaf(walk, number, page, range, depth);
		return;
	}
	walk->displaced = walk->displaced || looks_like_another(pages, page);
	miss(walk, range);
}

/* The pointer map page that has the entry of ${number} (format, 1.8); ${number} itself where it is one. */
static uint32_t
map_page_of(const struct px_pages *pages, uint32_t number)
{
	uint32_t each = (uint32_t)pages->size / 5 + 1;
	uint32_t map = (number - 2) / each * each + 2;

	return map == (uint32_t)(LOCK_BYTE / (int64_t)pages->size) + 1 ? map + 1 : map;
}

static bool
is_free(struct px_pages *pages, uint32_t number)
{
	uint32_t map = map_page_of(pages, number);
	size_t at = 5 * (size_t)(number - map - 1);
	const uint8_t *page = px_pages_buffer(pages, PX_BUFFER_MAP);
	uint8_t kind;

	if (pages->map_page != map && px_pages_read(pages, map, px_pages_buffer(pages, PX_BUFFER_MAP)))
		pages->map_page = map;
	/* An older version of it calls what came into use since free. */
	kind = pages->map_page == map && !px_pages_is_torn(pages, map) && number > map && at + 5 <= pages->size ? page[at] : 0;
	if (kind == 0 || kind > MAP_LAST)
		return px_pages_has_mark(pages, number, PX_PAGE_LISTED);
	return kind == MAP_FREE;
}

/* Marks the pages in the list of free ones (format, 1.5): all of them, or none where it is not whole. */
static void
mark_listed(struct px_pages *pages)
{
	uint8_t *trunk = px_pages_buffer(pages, PX_BUFFER_CHAIN);
	uint32_t next;
	uint32_t left;

	if (!px_pages_read(pages, 1, trunk))
		return;
	next = px_big_endian(trunk + 32, 4);
	left = px_big_endian(trunk + 36, 4);
	while (next != 0 && left > 0 && !px_pages_has_mark(pages, next, PX_PAGE_LISTED) && px_pages_read(pages, next, trunk)) {
		uint32_t leaves = px_big_endian(trunk + 4, 4);

		px_pages_mark(pages, next, PX_PAGE_LISTED);
		left--;
		if (leaves > left || leaves > pages->size / 4 - 2)
			break;
		for (uint32_t i = 0; i < leaves; i++)
			px_pages_mark(pages, px_big_endian(trunk + 8 + 4 * (size_t)i, 4), PX_PAGE_LISTED);
		left -= leaves;
		next = px_big_endian(trunk, 4);
	}
	if (next != 0 || left != 0)
		px_pages_unmark(pages, PX_PAGE_LISTED);
}

/* Takes what is missing from the leaves that the tree does not lead to, free ones or others. */
static void
look_everywhere(struct walk *walk, bool at_free)
{
	struct px_pages *pages = walk->pages;
	uint8_t *page = px_pages_buffer(pages, 0);

	for (uint32_t number = px_pages_next(pages, 1); number != 0; number = px_pages_next(pages, number))
		if (!px_pages_has_mark(pages, number, PX_PAGE_SEEN) && px_pages_read(pages, number, page) && page[0] == LEAF_TABLE &&
		    is_free(pages, number) == at_free)
			(void)read_leaf(walk, number, page, walk->keys, true, true);
}

static void
read_misplaced(struct walk *walk, bool only_missing)
{
	uint8_t *page = px_pages_buffer(walk->pages, 0);

	for (size_t i = 0; i < walk->misplaced_count; i++)
		if (px_pages_read(walk->pages, walk->misplaced[i], page))
			(void)read_leaf(walk, walk->misplaced[i], page, walk->keys, only_missing, true);
}

/*
 * A tree that looks whole and has too few rows: a leaf of it is one that was delivered long ago and came there from the free
 * pages, or it is the counters that are damaged. What lies below all that was found was delivered in any case.
 */
static void
miss_between(struct walk *walk)
{
	walk->missing_count = 0;
	if (walk->smallest[0] != 0)
		miss(walk, (struct range){ walk->smallest[0], FIRST_EVENT });
	if (walk->smallest[1] != 0)
		miss(walk, (struct range){ walk->smallest[1], walk->keys.upto });
}

/* What the tree itself does not give, of ${at_least} rows. */
static void
take_missing(struct walk *walk, int64_t at_least)
{
	bool looks_whole = walk->missing_count == 0;

	if (looks_whole)
		miss(walk, walk->keys);
	mark_listed(walk->pages);
	read_misplaced(walk, true);
	look_everywhere(walk, false);
	if (looks_whole && walk->keys.upto > FIRST_EVENT)
		miss_between(walk);
	if ((looks_whole || walk->displaced) && (at_least <= 0 || walk->rows < at_least))
		look_everywhere(walk, true);
	/* Perhaps it was their keys that are damaged. */
	if (walk->rows < at_least)
		read_misplaced(walk, false);
}

static struct walk
walk_tree(struct px_pages *pages, const struct px_table_facts *table, uint32_t root, px_pages_each_fn *each, void *arg)
{
	struct walk walk = {
		.pages = pages,
		.shape = table->shape,
		.keys = { table->first_key - 1, table->last_key },
		.has_key = table->has_key,
		.each = each,
		.arg = arg,
	};

	px_pages_unmark(pages, PX_PAGE_SEEN | PX_PAGE_LISTED);
	pages->map_page = 0;
	/* What is damaged in the log may be a page of the tree, and the older one that stands for it leads to less. */
	if (pages->log.is_damaged)
		miss(&walk, walk.keys);
	walk_page(&walk, root, walk.keys, 0);
	return walk;
}

void
px_tree_walk(struct px_pages *pages, const struct px_table_facts *table, uint32_t root, px_pages_each_fn *each, void *arg)
{
	(void)walk_tree(pages, table, root, each, arg);
}

void
px_pages_each(struct px_pages *pages, enum px_table table, int64_t at_least, px_pages_each_fn *each, void *arg)
{
	struct walk walk = walk_tree(pages, &px_tables[table], pages->roots[table], each, arg);

	if (walk.has_key && (walk.missing_count > 0 || walk.rows < at_least))
		take_missing(&walk, at_least);
}
