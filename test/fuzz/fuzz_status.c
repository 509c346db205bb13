/* SPDX-License-Identifier: MIT */
/* libFuzzer: any bytes as Monit's status, read and written as a snapshot. Corpus: test/fixtures/status. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "snapshot.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int
two_hours_east(int64_t utc_s)
{
	(void)utc_s;
	return 7200;
}

static void
require(bool holds)
{
	if (!holds)
		abort();
}

/* A value's text is at most six bytes a byte of the input, a typed value less than a hundred for its line. */
static size_t
size_limit(const struct px_monit_status *status)
{
	return 1024 + 6 * status->text.len + 128 * (status->service_count + status->line_count);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const struct px_now made = { .wall_ms = 1, .boot_ms = 2 };
	struct px_monit_status status;
	struct px_buf body = PX_BUF(PX_SNAPSHOT_MAX - PX_ITEM_JOIN_MAX);
	struct px_err err = { .code = PX_OK };
	int rc = px_monit_parse(&status, (const char *)data, size, &err);

	require(rc == 0 ? status.has_header || status.service_count > 0 : err.code == PX_LATER);
	require(status.text.len <= 3 * size);
	if (rc == 0 && px_snapshot_write(&body, &made, &status, two_hours_east, &err) == 0) {
		require(body.len <= size_limit(&status));
		require(body.data[0] == '{' && body.data[body.len - 1] == '}');
		require(strlen(body.data) == body.len);
	} else {
		require(err.code == PX_LATER && body.len == 0);
		require(px_snapshot_write_unreachable(&body, &made, err.text, &err) == 0);
	}
	px_buf_clear(&body);
	px_monit_clear(&status);
	return 0;
}
