/* SPDX-License-Identifier: MIT */
/*
 * Private to the spool's sources: reads a spool's file without SQLite, page by page, so that what is whole in a broken one
 * is found where SQLite gives up. Bytes in, rows out: no I/O of its own, and every byte may be hostile.
 * https://sqlite.org/fileformat2.html, called "format" below.
 */
#ifndef PX_SPOOL_PAGES_H
#define PX_SPOOL_PAGES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "buf.h"

/* Reads up to ${len} bytes at ${offset}; returns how many were there. */
typedef size_t px_bytes_fn(void *arg, int64_t offset, void *out, size_t len);

/* Finds the first bytes at ${from} or behind it that are no hole, and where they end. False where there are none. */
typedef bool px_data_fn(void *arg, int64_t *from, int64_t *to);

struct px_bytes {
	px_bytes_fn *read;
	px_data_fn *find;	/* NULL: there are no holes */
	void *arg;
	int64_t len;
};

/* ---- spool_wal.c: the write-ahead log (format, 4). */

struct px_wal_frame {
	uint32_t page;
	int64_t at;		/* of the page, in the log; 0: this frame is damaged */
	bool is_doubtful;	/* it may be damaged: what was before it counts, too */
};

struct px_wal {
	struct px_wal_frame *frames;	/* owned; in their order, the last commit's at the end */
	size_t count;
	bool is_damaged;		/* SQLite would stop before the last commit, without a word */
};

/*
 * Reads a log of pages of ${page_size} bytes. A frame is whole when its checksum follows from the one that stands in the
 * frame before, so that one behind a damaged frame is whole, too; where nothing is left of the frame before, that can't be
 * told: it is doubtful. What is behind the last commit never happened. -1 only for want of memory. px_wal_clear frees; an
 * empty one is fine.
 */
int px_wal_read(struct px_wal *log, const struct px_bytes *bytes, size_t page_size, struct px_err *err) PX_MUST_CHECK;
void px_wal_clear(struct px_wal *log);

/*
 * Whether a log whose frames before the one at ${at} are whole is so to its end: this one is, too, or is left over from
 * before the log began anew, and behind it is nothing but such. False where that takes px_wal_read to tell. ${frame} is room
 * for one.
 */
bool px_wal_ends_at(const struct px_bytes *bytes, int64_t at, uint8_t *frame, size_t page_size);

/*
 * The header of a log that begins anew in its place, out of the one that it had: with other salts, of which ${salt} is
 * one, so that what is behind it is left over. False when that one is not whole.
 */
#define PX_WAL_HEADER 32
bool px_wal_begin_anew(uint8_t header[PX_WAL_HEADER], uint32_t salt);

/* ---- spool_row.c: the cells of a page and what they hold (format, 1.6 and 2.1). */

#define PX_ROW_COLUMNS 18

/* As stored; ${bytes} is NULL where it is beyond what was read. */
struct px_column {
	uint64_t type;
	const uint8_t *bytes;
	size_t len;
};

struct px_row {
	int64_t key;		/* of a table without one: 0 */
	uint32_t page;		/* where it begins */
	size_t at;
	struct px_column columns[PX_ROW_COLUMNS];
	size_t count;
};

/* A cell of a leaf. */
struct px_cell {
	int64_t key;
	size_t payload;		/* bytes, all of it */
	size_t local;		/* so many of them are in the page, at ${bytes} */
	const uint8_t *bytes;
	uint32_t overflow;	/* the page of the others; 0: there are none */
};

/* The parts of a page of ${size} bytes (format, 1.6). False where they are not within it. */
bool px_cell_read(const uint8_t *page, size_t size, size_t at, bool has_key, struct px_cell *out);

/* A variable-length integer (format, 1.6): how many bytes it has, 0 when it does not end before ${len}. */
size_t px_varint(const uint8_t *bytes, size_t len, uint64_t *out);
uint32_t px_big_endian(const uint8_t *bytes, size_t count);

/*
 * The columns of a record (format, 2.1) of ${payload} bytes, the first ${len} of them at ${bytes}, when they are as
 * ${shape} says, a letter a column: n null, i integer, I integer or null, t text, T text or null, u 16 bytes, b bytes,
 * * anything.
 */
bool px_row_parse(const uint8_t *bytes, size_t len, size_t payload, const char *shape, struct px_row *row);

/* 0 where it is no integer. */
int64_t px_column_integer(const struct px_column *column);
bool px_column_is_null(const struct px_column *column);

/* ---- spool_pages.c: pages, and spool_tree.c: their trees. */

/* Tables of a spool that can be read. */
enum px_table { PX_TABLE_COUNTERS, PX_TABLE_ITEM, PX_TABLE_MARK, PX_TABLE_SPOOL, PX_TABLE_TAKEN, PX_TABLE_COUNT };

/* The page at which each begins in every spool of this version, and what its rows look like: see spool_schema.c. */
struct px_table_facts {
	const char *name;
	uint32_t root;
	const char *shape;		/* as for px_row_parse */
	int64_t first_key;
	int64_t last_key;
	bool has_key;
};

extern const struct px_table_facts px_tables[PX_TABLE_COUNT];

/* Pages that hold anything, those of a hole do not; the first one, and the one behind the last. */
struct px_extent {
	uint32_t first;
	uint32_t end;
	size_t index;		/* of the first one's marks */
};

struct px_pages {
	struct px_bytes file;
	struct px_bytes log_bytes;
	struct px_wal log;
	size_t size;			/* of a page */
	uint32_t count;			/* the last page that holds anything, the log's included */
	struct px_wal_frame *newest;	/* owned; by page: the newest version of each that is in the log */
	size_t newest_count;
	bool has_doubtful;		/* the log has frames that are */
	struct px_extent *extents;	/* owned; in their order */
	size_t extent_count;
	size_t held;			/* pages in them */
	uint8_t *marks;			/* owned; of those */
	uint8_t *buffers;		/* owned; a page for each level of a tree, and some more */
	uint32_t map_page;		/* the pointer map page that is held */
	int64_t chain_pages;		/* that may still be read: chains that end nowhere must not take for ever */
	uint32_t roots[PX_TABLE_COUNT];
	bool has_tables;		/* the schema tells them all */
	bool no_memory;			/* there was none for a row that is there */
};

/*
 * ${log} NULL: the file alone; PX_FRAMES_CERTAIN: and what of the log is certain. -1 only for want of memory. px_pages_close
 * frees; it takes one that is all zero.
 */
enum px_frames { PX_FRAMES_ALL, PX_FRAMES_CERTAIN };
int px_pages_open(struct px_pages *pages, const struct px_bytes *file, const struct px_bytes *log, enum px_frames frames,
    struct px_err *err) PX_MUST_CHECK;
void px_pages_close(struct px_pages *pages);

/* Marks of a page. */
#define PX_PAGE_SEEN 1		/* in the tree that is walked */
#define PX_PAGE_LISTED 2	/* in the list of free pages */
#define PX_PAGE_TORN 4		/* the log has a version of it that is damaged; outlives a walk */

/* A page in a hole has no mark and gets none. */
bool px_pages_has_mark(const struct px_pages *pages, uint32_t number, uint8_t marks);
void px_pages_mark(struct px_pages *pages, uint32_t number, uint8_t marks);
void px_pages_unmark(struct px_pages *pages, uint8_t marks);

/* The first page behind ${number} that is in no hole; 0: there is none. */
uint32_t px_pages_next(const struct px_pages *pages, uint32_t number);

/* The buffers: one for each level of a tree (five hold a terabyte), and these. */
#define PX_DEPTH_MAX 12
#define PX_BUFFER_CHAIN PX_DEPTH_MAX
#define PX_BUFFER_MAP (PX_DEPTH_MAX + 1)
#define PX_BUFFERS (PX_DEPTH_MAX + 2)

uint8_t *px_pages_buffer(const struct px_pages *pages, size_t number);

/* Reads the newest version of a page. False where there is none. */
bool px_pages_read(const struct px_pages *pages, uint32_t number, uint8_t *out);

/* Columns whose bytes are on other pages have NULL there. Lasts until it returns. */
typedef void px_pages_each_fn(void *arg, const struct px_row *row);

/*
 * Calls ${each}, which reads no row itself, for every row of ${table}; in a torn tree a row may come twice.
 *
 * A tree that is whole is believed: a page that it does not lead to is no part of it. Where a page of the tree can't be
 * read, or fewer than ${at_least} rows were found, every other page is looked at, too, and rows whose keys belong where
 * something is missing are taken. Not so from pages that are free: those hold what was delivered and removed. The pointer
 * map (format, 1.8) says which are free; where its entry makes no sense, the list of free pages (format, 1.5) does. Where
 * neither can be read, a page is taken, since a repetition has the same id and a loss is one. Free pages are looked at
 * last, where a page of the tree holds what belongs elsewhere, so that pages may have changed places, and ${at_least}
 * (0: not known) rows were not found before.
 */
void px_pages_each(struct px_pages *pages, enum px_table table, int64_t at_least, px_pages_each_fn *each, void *arg);

/* The tree at ${root} alone, of any table. */
void px_tree_walk(struct px_pages *pages, const struct px_table_facts *table, uint32_t root, px_pages_each_fn *each,
    void *arg);

/* Whether the log has a damaged version of ${page}, so that an older one stands for it. */
bool px_pages_is_torn(const struct px_pages *pages, uint32_t page);

/* ${file}, which has no log, learns which pages are torn in the log of ${whole}. */
void px_pages_share_torn(struct px_pages *file, const struct px_pages *whole);

/*
 * Reads the row at ${at} of ${page} again and whole, by way of its overflow pages (format, 1.6): ${row}'s bytes are in
 * ${payload}. False when that can't be done.
 */
bool px_pages_whole_row(struct px_pages *pages, enum px_table table, uint32_t page, size_t at, struct px_buf *payload,
    struct px_row *row);

#endif
