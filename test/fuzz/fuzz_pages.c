/* SPDX-License-Identifier: MIT */
/* A spool's file and its log, as they may be after anything. The first two bytes tell how long the log at the end is. */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "spool_pages.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len);

#define ROWS_MAX 4096

struct input {
	const uint8_t *bytes;
	size_t len;
};

struct rows {
	struct px_row rows[ROWS_MAX];
	size_t count;
};

static struct rows rows;

static void
expect(bool holds)
{
	if (!holds)
		abort();
}

static size_t
read_input(void *arg, int64_t offset, void *out, size_t len)
{
	const struct input *input = arg;
	size_t left = offset < 0 || (size_t)offset > input->len ? 0 : input->len - (size_t)offset;
	size_t part = left < len ? left : len;

	if (part > 0)
		memcpy(out, input->bytes + offset, part);
	return part;
}

static void
take_row(void *arg, const struct px_row *row)
{
	struct rows *all = arg;

	for (size_t i = 0; i < row->count; i++)
		if (row->columns[i].bytes != NULL && row->columns[i].len > 0)
			expect((row->columns[i].bytes[0] | row->columns[i].bytes[row->columns[i].len - 1]) >= 0);
	if (all->count < ROWS_MAX)
		all->rows[all->count++] = *row;
}

static void
read_tables(struct px_pages *pages)
{
	struct px_buf payload = PX_BUF(8 << 20);

	for (enum px_table table = 0; table < PX_TABLE_COUNT; table++) {
		rows.count = 0;
		px_pages_each(pages, table, 3, take_row, &rows);
		for (size_t i = 0; i < rows.count; i++) {
			struct px_row row;

			if (!px_pages_whole_row(pages, table, rows.rows[i].page, rows.rows[i].at, &payload, &row))
				continue;
			expect(row.count == rows.rows[i].count && row.key == rows.rows[i].key);
			for (size_t column = 0; column < row.count; column++)
				expect(row.columns[column].bytes != NULL && row.columns[column].type == rows.rows[i].columns[column].type);
		}
	}
	px_buf_clear(&payload);
}

int
LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
	struct px_pages pages = { .count = 0 };
	struct px_err err;
	struct input file;
	struct input log;
	struct px_bytes file_bytes = { .read = read_input, .arg = &file };
	struct px_bytes log_bytes = { .read = read_input, .arg = &log };

	if (len < 2)
		return 0;
	log.len = (size_t)px_big_endian(bytes, 2);
	if (log.len > len - 2)
		log.len = len - 2;
	file.bytes = bytes + 2;
	file.len = len - 2 - log.len;
	log.bytes = file.bytes + file.len;
	file_bytes.len = (int64_t)file.len;
	log_bytes.len = (int64_t)log.len;
	for (int with_log = 0; with_log < 3; with_log++) {
		expect(px_pages_open(&pages, &file_bytes, with_log > 0 ? &log_bytes : NULL,
		    with_log == 1 ? PX_FRAMES_CERTAIN : PX_FRAMES_ALL, &err) == 0);
		read_tables(&pages);
		px_pages_close(&pages);
	}
	return 0;
}
