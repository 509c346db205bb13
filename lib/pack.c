/* SPDX-License-Identifier: MIT */
#include "pack.h"

#include <limits.h>
#include <stdlib.h>
#include <zlib.h>

#define STEP ((size_t)16 << 10)		/* that the body has room for more by */
#define WINDOW_BITS (15 + 16)		/* zlib.h, deflateInit2: the largest window, a gzip header */
#define MEMORY_LEVEL 8		/* zlib's own default: more takes more memory and saves nothing, less takes time */

/*
 * zlib.h, deflateTune: takes the first match that it finds, and remembers all places, those within a match too. Items are
 * much like each other, so that what is found at once is nearly as long as what a search would find: events are a tenth and
 * snapshots a third larger than by zlib's default, in 0.6 of its time. Level 1 saves little more, and does not remember:
 * they would be a quarter larger, and snapshots near three times as large. So would snapshots be with a smaller window.
 */
#define LEVEL 3
#define GOOD_LENGTH 4
#define REMEMBERED_LENGTH 258
#define NICE_LENGTH 64
#define CHAIN_LENGTH 16

struct px_pack
px_pack(size_t max)
{
	/* What does not compress grows by some bytes in each 16 KiB. */
	return (struct px_pack){ .body = PX_BUF(max + max / 1000 + 2 * STEP) };
}

static int
make_stream(struct px_pack *pack)
{
	pack->stream = calloc(1, sizeof(*pack->stream));
	if (pack->stream == NULL)
		return -1;
	if (deflateInit2(pack->stream, LEVEL, Z_DEFLATED, WINDOW_BITS, MEMORY_LEVEL, Z_DEFAULT_STRATEGY) == Z_OK)
		return 0;
	free(pack->stream);
	pack->stream = NULL;
	return -1;
}

static int
start_stream(struct px_pack *pack)
{
	if (pack->stream == NULL && make_stream(pack) == -1)
		return -1;
	/* A reset goes back to what the level says. */
	if (deflateReset(pack->stream) != Z_OK)
		return -1;
	return deflateTune(pack->stream, GOOD_LENGTH, REMEMBERED_LENGTH, NICE_LENGTH, CHAIN_LENGTH) == Z_OK ? 0 : -1;
}

int
px_pack_begin(struct px_pack *pack, bool compresses, struct px_err *err)
{
	px_buf_rewind(&pack->body, 0);
	pack->failed = false;
	pack->is_compressed = compresses;
	if (compresses && start_stream(pack) == -1)
		return px_err_set(err, PX_BUG, "no memory to compress a body");
	return 0;
}

/* Compresses what the stream was given, to the end of the body when ${how} says so. */
static void
run_stream(struct px_pack *pack, int how)
{
	int code = Z_OK;

	do {
		pack->stream->next_out = (Bytef *)px_buf_reserve(&pack->body, STEP);
		pack->stream->avail_out = STEP;
		if (pack->stream->next_out == NULL)
			break;
		code = deflate(pack->stream, how);
		px_buf_used(&pack->body, STEP - pack->stream->avail_out);
	} while (code == Z_OK && (how == Z_FINISH || pack->stream->avail_out == 0));
	/* Z_BUF_ERROR: all of it was taken before, and this call had nothing to do. */
	if (how == Z_FINISH ? code != Z_STREAM_END : code != Z_OK && code != Z_BUF_ERROR)
		pack->failed = true;
}

void
px_pack_add(void *arg, const void *bytes, size_t len)
{
	struct px_pack *pack = arg;

	if (!pack->is_compressed) {
		px_buf_add(&pack->body, bytes, len);
		return;
	}
	pack->failed = pack->failed || len > UINT_MAX;
	if (pack->failed || len == 0)
		return;
	pack->stream->next_in = (z_const Bytef *)(uintptr_t)bytes;
	pack->stream->avail_in = (uInt)len;
	run_stream(pack, Z_NO_FLUSH);
}

int
px_pack_end(struct px_pack *pack, struct px_slice *body, struct px_err *err)
{
	if (pack->is_compressed && !pack->failed)
		run_stream(pack, Z_FINISH);
	if (px_buf_check(&pack->body, "a body", err) == -1)
		return -1;
	if (pack->failed)
		return px_err_set(err, PX_BUG, "cannot compress a body");
	*body = (struct px_slice){ px_buf_text(&pack->body), pack->body.len };
	return 0;
}

void
px_pack_clear(struct px_pack *pack)
{
	px_buf_clear(&pack->body);
	if (pack->stream != NULL)
		(void)deflateEnd(pack->stream);
	free(pack->stream);
	pack->stream = NULL;
}
