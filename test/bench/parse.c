/* SPDX-License-Identifier: MIT */
/*
 * parse FILE RUNS: reads a status text so many times, each time from Monit's words to the document of a snapshot. Prints
 * the least seconds that it took.
 */
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "snapshot.h"

#define FILE_MAX ((size_t)64 << 20)

static double
now_s(void)
{
	struct timespec now = { 0, 0 };

	(void)clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
	return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

static int
utc_offset(int64_t utc_s)
{
	(void)utc_s;
	return 0;
}

static int
parse_once(const struct px_buf *text, double *took_s)
{
	const struct px_now made = { .wall_ms = 1795359347123 };
	struct px_monit_status status = { .has_header = false };
	struct px_buf body = PX_BUF(FILE_MAX);
	struct px_err err;
	double began_s = now_s();
	int rc = px_monit_parse(&status, text->data, text->len, &err);

	if (rc == 0)
		rc = px_snapshot_write(&body, &made, &status, utc_offset, &err);
	*took_s = now_s() - began_s;
	if (rc == -1)
		(void)fprintf(stderr, "parse: %s\n", err.text);
	px_buf_clear(&body);
	px_monit_clear(&status);
	return rc;
}

static int
read_file(const char *path, struct px_buf *text)
{
	FILE *file = fopen(path, "re");
	char bytes[65536];
	size_t count;

	if (file == NULL)
		return -1;
	while ((count = fread(bytes, 1, sizeof(bytes), file)) > 0)
		px_buf_add(text, bytes, count);
	(void)fclose(file);
	return text->failed || text->len == 0 ? -1 : 0;
}

int
main(int argc, char *argv[])
{
	struct px_buf text = PX_BUF(FILE_MAX);
	int64_t runs;
	double least_s = -1;
	int rc = 1;

	if (argc != 3 || px_text_to_int64(px_slice(argv[2]), 1, 1000000, &runs) == -1)
		return 64;
	if (read_file(argv[1], &text) == -1) {
		perror(argv[1]);
		goto out;
	}
	for (int64_t i = 0; i < runs; i++) {
		double took_s;

		if (parse_once(&text, &took_s) == -1)
			goto out;
		if (least_s < 0 || took_s < least_s)
			least_s = took_s;
	}
	(void)printf("%.9f\n", least_s);
	rc = 0;
out:
	px_buf_clear(&text);
	return rc;
}
