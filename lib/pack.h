/* SPDX-License-Identifier: MIT */
/*
 * A body as it goes over the wire, made as its bytes come: compressed (RFC 1952) by zlib, or as they are. What is compressed
 * is never held whole. Knows nothing of what the bytes mean.
 */
#ifndef PX_PACK_H
#define PX_PACK_H

#include "buf.h"
#include "text.h"

struct px_pack {
	struct px_buf body;		/* owned: what was packed */
	struct z_stream_s *stream;	/* owned, kept for the next body; NULL: none yet */
	bool is_compressed;
	bool failed;
};

/* Nothing yet, for bodies of at most ${max} bytes before they are compressed. */
struct px_pack px_pack(size_t max);

/* Begins a body, whatever became of the one before. -1 for want of memory. */
int px_pack_begin(struct px_pack *pack, bool compresses, struct px_err *err) PX_MUST_CHECK;

/* For as many bytes as there are. What fails is told at the end. */
void px_pack_add(void *pack, const void *bytes, size_t len);

/* The body, which lasts until the next begin. -1 when there was no room for it. */
int px_pack_end(struct px_pack *pack, struct px_slice *body, struct px_err *err) PX_MUST_CHECK;

void px_pack_clear(struct px_pack *pack);

#endif
