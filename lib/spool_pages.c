/* SPDX-License-Identifier: MIT */
#include <stdlib.h>
#include <string.h>

#include "spool_pages.h"

#define PAGE_SIZE 2048		/* that spools are made with, see spool_db.h */
#define PAGES_MAX (INT64_C(1) << 31)
#define NEW_PAGE_MAX (INT64_C(1) << 20)		/* that a log may add to a file */
#define EXTENTS_STEP 64

const struct px_table_facts px_tables[PX_TABLE_COUNT] = {
	[PX_TABLE_COUNTERS] = { "counters", 3, "niiiiiiiu", 1, 1, true },
	[PX_TABLE_ITEM] = { "item", 4, "IuiTb", 1, (INT64_C(1) << 49) - 1, true },
	[PX_TABLE_MARK] = { "mark", 5, "niIT", 1, (INT64_C(1) << 49) - 1, true },
	[PX_TABLE_SPOOL] = { "spool", 8, "nt****************", 1, 1, true },
	[PX_TABLE_TAKEN] = { "taken", 11, "t", 0, 0, false },
};

uint8_t *
px_pages_buffer(const struct px_pages *pages, size_t number)
{
	return pages->buffers + number * pages->size;
}

/* The extent that ends behind ${number} first; NULL: none does. */
static const struct px_extent *
extent_from(const struct px_pages *pages, uint32_t number)
{
	size_t from = 0;
	size_t to = pages->extent_count;

	while (from < to) {
		size_t middle = from + (to - from) / 2;

		if (pages->extents[middle].end <= number)
			from = middle + 1;
		else
			to = middle;
	}
	return from < pages->extent_count ? &pages->extents[from] : NULL;
}

uint32_t
px_pages_next(const struct px_pages *pages, uint32_t number)
{
	const struct px_extent *extent = number < UINT32_MAX ? extent_from(pages, number + 1) : NULL;

	if (extent == NULL)
		return 0;
	return extent->first > number ? extent->first : number + 1;
}

bool
px_pages_has_mark(const struct px_pages *pages, uint32_t number, uint8_t marks)
{
	const struct px_extent *extent = extent_from(pages, number);

	return extent != NULL && number >= extent->first && (pages->marks[extent->index + (number - extent->first)] & marks) != 0;
}

void
px_pages_mark(struct px_pages *pages, uint32_t number, uint8_t marks)
{
	const struct px_extent *extent = extent_from(pages, number);

	if (extent != NULL && number >= extent->first)
		pages->marks[extent->index + (number - extent->first)] |= marks;
}

void
px_pages_unmark(struct px_pages *pages, uint8_t marks)
{
	for (size_t i = 0; i < pages->held; i++)
		pages->marks[i] &= (uint8_t)~marks;
}

static int
compare_pages(const void *a, const void *b)
{
	const struct px_wal_frame *left = a;
	const struct px_wal_frame *right = b;

	return left->page < right->page ? -1 : left->page > right->page;
}

bool
px_pages_read(const struct px_pages *pages, uint32_t number, uint8_t *out)
{
	const struct px_wal_frame wanted = { .page = number };
	const struct px_wal_frame *frame = NULL;

	if (number == 0 || number > pages->count)
		return false;
	if (pages->newest_count > 0)
		frame = bsearch(&wanted, pages->newest, pages->newest_count, sizeof(wanted), compare_pages);
	if (frame != NULL)
		return pages->log_bytes.read(pages->log_bytes.arg, frame->at, out, pages->size) == pages->size;
	return pages->file.read(pages->file.arg, (int64_t)(number - 1) * (int64_t)pages->size, out, pages->size) == pages->size;
}

/* Appends what is on the overflow pages from ${number} on. */
static bool
read_chain(struct px_pages *pages, uint32_t number, size_t left, struct px_buf *payload)
{
	uint8_t *page = px_pages_buffer(pages, PX_BUFFER_CHAIN);

	while (left > 0) {
		size_t part = left < pages->size - 4 ? left : pages->size - 4;

		if (pages->chain_pages-- <= 0 || !px_pages_read(pages, number, page))
			return false;
		px_buf_add(payload, page + 4, part);
		left -= part;
		number = px_big_endian(page, 4);
	}
	return number == 0;
}

bool
px_pages_whole_row(struct px_pages *pages, enum px_table table, uint32_t number, size_t at, struct px_buf *payload,
    struct px_row *row)
{
	const uint8_t *page = px_pages_buffer(pages, 0);
	struct px_cell cell;

	*row = (struct px_row){ .page = number, .at = at };
	px_buf_rewind(payload, 0);
	if (!px_pages_read(pages, number, px_pages_buffer(pages, 0)) ||
	    !px_cell_read(page, pages->size, at, px_tables[table].has_key, &cell))
		return false;
	row->key = cell.key;
	px_buf_add(payload, cell.bytes, cell.local);
	if (cell.local < cell.payload && !read_chain(pages, cell.overflow, cell.payload - cell.local, payload))
		return false;
	if (payload->failed && cell.payload <= payload->max)
		pages->no_memory = true;
	return !payload->failed &&
	    px_row_parse((const uint8_t *)px_buf_text(payload), payload->len, payload->len, px_tables[table].shape, row);
}

/* The roots that the schema tells. */
struct roots {
	uint32_t roots[PX_TABLE_COUNT];
	uint32_t count;
};

static void
take_root(void *arg, const struct px_row *row)
{
	struct roots *roots = arg;
	const struct px_column *name = &row->columns[1];
	int64_t root = px_column_integer(&row->columns[3]);

	for (size_t i = 0; i < PX_TABLE_COUNT; i++)
		if (name->bytes != NULL && name->len == strlen(px_tables[i].name) &&
		    memcmp(name->bytes, px_tables[i].name, name->len) == 0 &&
		    root > 1 && root <= UINT32_MAX)
			roots->roots[i] = (uint32_t)root;
}

/*
 * Where the tables begin. The schema may be damaged, too: what it says is believed only where all of it is there and none
 * is where it always is, as after somebody's VACUUM into other pages.
 */
static void
find_roots(struct px_pages *pages)
{
	struct roots found = { .count = pages->count };
	static const struct px_table_facts schema = { "sqlite_master", 1, "tttiT", 1, INT64_MAX, true };
	size_t known = 0;
	size_t usual = 0;

	for (size_t i = 0; i < PX_TABLE_COUNT; i++)
		pages->roots[i] = px_tables[i].root;
	px_tree_walk(pages, &schema, 1, take_root, &found);
	for (size_t i = 0; i < PX_TABLE_COUNT; i++) {
		known += found.roots[i] > 1 && found.roots[i] <= pages->count;
		usual += found.roots[i] == px_tables[i].root;
	}
	pages->has_tables = known == PX_TABLE_COUNT;
	if (known == PX_TABLE_COUNT && usual < PX_TABLE_COUNT - 1)
		memcpy(pages->roots, found.roots, sizeof(pages->roots));
}

/* By page, and of one page the newest version last. */
static int
compare_frames(const void *a, const void *b)
{
	const struct px_wal_frame *left = a;
	const struct px_wal_frame *right = b;
	int order = compare_pages(a, b);

	return order != 0 ? order : left->at < right->at ? -1 : left->at > right->at;
}

/* The newest whole version of each page that is in the log, among those of ${frames}. */
static int
find_newest(struct px_pages *pages, enum px_frames frames, struct px_err *err)
{
	size_t count = 0;

	if (pages->log.count == 0)
		return 0;
	pages->newest = calloc(pages->log.count, sizeof(*pages->newest));
	if (pages->newest == NULL)
		return px_err_set(err, PX_STORAGE, "no memory for a log of %zu frames", pages->log.count);
	for (size_t i = 0; i < pages->log.count; i++) {
		const struct px_wal_frame *frame = &pages->log.frames[i];

		pages->has_doubtful = pages->has_doubtful || frame->is_doubtful;
		if (frame->at != 0 && frame->page <= pages->count && (frames == PX_FRAMES_ALL || !frame->is_doubtful))
			pages->newest[count++] = *frame;
	}
	qsort(pages->newest, count, sizeof(*pages->newest), compare_frames);
	for (size_t i = 0; i < count; i++) {
		pages->newest_count -= pages->newest_count > 0 && pages->newest[pages->newest_count - 1].page == pages->newest[i].page;
		pages->newest[pages->newest_count++] = pages->newest[i];
	}
	return 0;
}

static int
add_extent(struct px_pages *pages, uint32_t first, uint32_t end, struct px_err *err)
{
	if (pages->extent_count % EXTENTS_STEP == 0) {
		struct px_extent *larger = reallocarray(pages->extents, pages->extent_count + EXTENTS_STEP, sizeof(*larger));

		if (larger == NULL)
			return px_err_set(err, PX_STORAGE, "no memory for a file in %zu pieces", pages->extent_count);
		pages->extents = larger;
	}
	pages->extents[pages->extent_count++] = (struct px_extent){ .first = first, .end = end };
	return 0;
}

/* What the file has, without its holes. */
static int
add_file(struct px_pages *pages, struct px_err *err)
{
	const struct px_bytes *file = &pages->file;
	const int64_t size = (int64_t)pages->size;
	const int64_t most = file->len / size < PAGES_MAX ? file->len / size : PAGES_MAX;
	int64_t from = 0;
	int64_t to = file->len;

	while (file->find == NULL || file->find(file->arg, &from, &to)) {
		int64_t end = to / size + (to % size != 0);

		if (from / size >= most)
			return 0;
		if (add_extent(pages, (uint32_t)(from / size) + 1, (uint32_t)(end < most ? end : most) + 1, err) == -1)
			return -1;
		if (file->find == NULL)
			return 0;
		from = to;
	}
	return 0;
}

static int
compare_extents(const void *a, const void *b)
{
	const struct px_extent *left = a;
	const struct px_extent *right = b;

	return left->first < right->first ? -1 : left->first > right->first;
}

/* Where pages are that hold anything: whatever size a file says it has, there are no more than bytes on the disk. */
static int
find_extents(struct px_pages *pages, struct px_err *err)
{
	size_t count = 0;

	if (add_file(pages, err) == -1)
		return -1;
	for (size_t i = 0; i < pages->newest_count; i++)
		if (add_extent(pages, pages->newest[i].page, pages->newest[i].page + 1, err) == -1)
			return -1;
	if (pages->extent_count > 0)
		qsort(pages->extents, pages->extent_count, sizeof(*pages->extents), compare_extents);
	for (size_t i = 0; i < pages->extent_count; i++) {
		struct px_extent *last = &pages->extents[count > 0 ? count - 1 : 0];
		const struct px_extent *next = &pages->extents[i];

		if (count > 0 && next->first <= last->end)
			last->end = next->end > last->end ? next->end : last->end;
		else
			pages->extents[count++] = *next;
	}
	pages->extent_count = count;
	for (size_t i = 0; i < count; i++) {
		pages->extents[i].index = pages->held;
		pages->held += pages->extents[i].end - pages->extents[i].first;
	}
	pages->count = count > 0 ? pages->extents[count - 1].end - 1 : 0;
	return 0;
}

/* A size that the header tells is believed when it is one. */
static size_t
page_size_of(const struct px_bytes *file)
{
	uint8_t header[2];
	size_t size;

	if (file->read(file->arg, 16, header, sizeof(header)) != sizeof(header))
		return PAGE_SIZE;
	size = px_big_endian(header, 2);
	return size >= 512 && (size & (size - 1)) == 0 ? size : PAGE_SIZE;
}

static int
open_with_size(struct px_pages *pages, const struct px_bytes *file, const struct px_bytes *log, enum px_frames frames,
    size_t size,
    struct px_err *err)
{
	int64_t count = file->len / (int64_t)size;

	*pages = (struct px_pages){ .file = *file, .size = size };
	if (log != NULL) {
		pages->log_bytes = *log;
		if (px_wal_read(&pages->log, log, size, err) == -1)
			return -1;
		for (size_t i = 0; i < pages->log.count; i++)
			if (pages->log.frames[i].page > count && pages->log.frames[i].page <= NEW_PAGE_MAX)
				count = pages->log.frames[i].page;
	}
	pages->count = (uint32_t)(count < PAGES_MAX ? count : PAGES_MAX);
	if (find_newest(pages, frames, err) == -1 || find_extents(pages, err) == -1)
		return -1;
	pages->chain_pages = 16 * (int64_t)pages->held + 100000;
	pages->marks = calloc(pages->held + 1, 1);
	pages->buffers = calloc(PX_BUFFERS, pages->size);
	if (pages->marks == NULL || pages->buffers == NULL)
		return px_err_set(err, PX_STORAGE, "no memory for %zu pages", pages->held);
	for (size_t i = 0; i < pages->log.count; i++)
		if (pages->log.frames[i].at == 0 || pages->log.frames[i].is_doubtful)
			px_pages_mark(pages, pages->log.frames[i].page, PX_PAGE_TORN);
	find_roots(pages);
	return 0;
}

bool
px_pages_is_torn(const struct px_pages *pages, uint32_t page)
{
	return px_pages_has_mark(pages, page, PX_PAGE_TORN);
}

void
px_pages_share_torn(struct px_pages *file, const struct px_pages *whole)
{
	for (uint32_t number = px_pages_next(file, 0); number != 0; number = px_pages_next(file, number))
		if (px_pages_is_torn(whole, number))
			px_pages_mark(file, number, PX_PAGE_TORN);
}

static void
count_row(void *arg, const struct px_row *row)
{
	(void)row;
	++*(int64_t *)arg;
}

int
px_pages_open(struct px_pages *pages, const struct px_bytes *file, const struct px_bytes *log, enum px_frames frames,
    struct px_err *err)
{
	size_t size = page_size_of(file);
	int64_t found = 0;

	if (open_with_size(pages, file, log, frames, size, err) == -1)
		return -1;
	if (size == PAGE_SIZE)
		return 0;
	px_pages_each(pages, PX_TABLE_COUNTERS, 0, count_row, &found);
	if (found > 0)
		return 0;
	px_pages_close(pages);
	return open_with_size(pages, file, log, frames, PAGE_SIZE, err);
}

void
px_pages_close(struct px_pages *pages)
{
	px_wal_clear(&pages->log);
	free(pages->newest);
	free(pages->extents);
	free(pages->marks);
	free(pages->buffers);
	*pages = (struct px_pages){ .count = 0 };
}
