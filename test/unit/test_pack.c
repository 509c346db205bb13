/* SPDX-License-Identifier: MIT */
/* Bodies as they go over the wire. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdlib.h>
#include <string.h>
#include <zlib.h>

#include "pack.h"
#include "share.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))
#define BODY_MAX ((size_t)2 << 20)

/* Text that compresses well, or badly. */
static void
make_text(struct px_buf *text, size_t len, bool is_random)
{
	uint32_t random = 1;

	px_buf_rewind(text, 0);
	for (size_t i = 0; i < len; i++) {
		random = random * 1664525 + 1013904223;
		px_buf_add_byte(text, (char)(' ' + (is_random ? random >> 24 : (uint32_t)i / 7) % 95));
	}
}

/* One stream, one member (RFC 1952), and nothing behind it. */
static void
gunzip(struct px_slice body, struct px_buf *out)
{
	z_stream stream = { .next_in = (z_const Bytef *)(uintptr_t)body.ptr, .avail_in = (uInt)body.len };

	px_buf_rewind(out, 0);
	stream.next_out = (Bytef *)px_buf_reserve(out, out->max);
	stream.avail_out = (uInt)out->max;
	assert_int_equal(inflateInit2(&stream, 15 + 16), Z_OK);
	assert_int_equal(inflate(&stream, Z_FINISH), Z_STREAM_END);
	assert_int_equal(stream.avail_in, 0);
	px_buf_used(out, out->max - stream.avail_out);
	(void)inflateEnd(&stream);
}

static void
packs_what_it_is_given(void **state)
{
	static const size_t lens[] = { 0, 1, 16383, 16384, 100000, BODY_MAX };
	static const size_t pieces[] = { 1, 70, 65536, BODY_MAX };
	struct px_pack pack = px_pack(BODY_MAX);
	struct px_buf text = PX_BUF(BODY_MAX);
	struct px_buf found = PX_BUF(BODY_MAX + 1);

	(void)state;
	for (size_t i = 0; i < COUNT(lens) * COUNT(pieces) * 4; i++) {
		size_t len = lens[i / COUNT(pieces) / 4];
		size_t piece = pieces[i / 4 % COUNT(pieces)];
		bool compresses = i % 2 == 0;
		struct px_slice body;
		struct px_err err;

		/* Where time is short the largest body does not come byte by byte. */
		if (len > BODY_MAX / parts() * piece)
			continue;
		make_text(&text, len, i / 2 % 2 == 0);
		assert_int_equal(px_pack_begin(&pack, compresses, &err), 0);
		for (size_t at = 0; at < len; at += piece)
			px_pack_add(&pack, text.data + at, len - at < piece ? len - at : piece);
		assert_int_equal(px_pack_end(&pack, &body, &err), 0);
		assert_int_equal(pack.is_compressed, compresses);
		if (compresses)
			gunzip(body, &found);
		else {
			px_buf_rewind(&found, 0);
			px_buf_add(&found, body.ptr, body.len);
		}
		if (found.len != len || memcmp(px_buf_text(&found), px_buf_text(&text), len) != 0)
			fail_msg("%zu bytes in pieces of %zu are not the same", len, piece);
	}
	px_pack_clear(&pack);
	px_pack_clear(&pack);
	px_buf_clear(&text);
	px_buf_clear(&found);
}

/* What is compressed is not held: a body of 2 MiB fits where there is room for a few kilobytes. */
static void
holds_no_more_than_it_sends(void **state)
{
	struct px_pack pack = px_pack(0);
	struct px_buf text = PX_BUF(BODY_MAX);
	struct px_slice body;
	struct px_err err;

	(void)state;
	make_text(&text, BODY_MAX, false);
	assert_int_equal(px_pack_begin(&pack, true, &err), 0);
	px_pack_add(&pack, text.data, text.len);
	assert_int_equal(px_pack_end(&pack, &body, &err), 0);
	assert_true(pack.body.cap < 64 << 10);

	/* Without compression, or where it does not help, there is no room. The next body does not know of it. */
	for (int compresses = 0; compresses < 2; compresses++) {
		make_text(&text, BODY_MAX, true);
		assert_int_equal(px_pack_begin(&pack, compresses == 1, &err), 0);
		px_pack_add(&pack, text.data, text.len);
		assert_int_equal(px_pack_end(&pack, &body, &err), -1);
		assert_int_equal(err.code, PX_BUG);
	}
	assert_int_equal(px_pack_begin(&pack, true, &err), 0);
	px_pack_add(&pack, "{}", 2);
	assert_int_equal(px_pack_end(&pack, &body, &err), 0);
	px_pack_clear(&pack);
	px_buf_clear(&text);
}

/* The text of one document after the other, each a little other than those before, ${near} of them apart. */
static void
make_documents(struct px_buf *text, int near)
{
	px_buf_rewind(text, 0);
	for (int i = 0; i < 600; i++)
		px_buf_printf(text, "{\"id\":\"%08x\",\"seq\":%d,\"topic\":\"topic of %d\",\"monit\":{\"service\":\"%08x\",\"state\":"
		    "\"failed\",\"description\":\"usage of %d.%d%% matches resource limit\"}},", (unsigned)i * 2654435761U, i, i % near,
		    (unsigned)(i % near) * 2246822519U, i * 37 % 97, i * 11 % 10);
}

/* Each body, not the first alone, is at most a seventh larger than zlib makes it by default. */
static void
stays_near_the_smallest(void **state)
{
	static const int nears[] = { 1, 12, 90 };
	struct px_pack pack = px_pack(BODY_MAX);
	struct px_buf text = PX_BUF(BODY_MAX);
	Bytef *smallest = malloc(BODY_MAX);

	(void)state;
	assert_non_null(smallest);
	for (size_t i = 0; i < COUNT(nears); i++) {
		uLongf len = BODY_MAX;
		struct px_slice body;
		struct px_err err;

		make_documents(&text, nears[i]);
		assert_int_equal(compress(smallest, &len, (const Bytef *)text.data, text.len), Z_OK);
		assert_int_equal(px_pack_begin(&pack, true, &err), 0);
		px_pack_add(&pack, text.data, text.len);
		assert_int_equal(px_pack_end(&pack, &body, &err), 0);
		if (body.len > len + len / 7)
			fail_msg("%d apart: %zu bytes, zlib alone has %lu", nears[i], body.len, (unsigned long)len);
	}
	px_pack_clear(&pack);
	px_buf_clear(&text);
	free(smallest);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(packs_what_it_is_given),
		cmocka_unit_test(holds_no_more_than_it_sends),
		cmocka_unit_test(stays_near_the_smallest),
	};

	return cmocka_run_group_tests_name("pack", tests, NULL, NULL);
}
