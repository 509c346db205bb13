/* SPDX-License-Identifier: MIT */
#include <stdlib.h>
#include <string.h>

#include "spool_pages.h"

#define GAP_MAX (INT64_C(64) << 20)	/* bytes: a log of ours is never so long, so nothing of it follows */
#define LEN_MAX (INT64_C(256) << 20)	/* nor is it longer with gaps: one that somebody made must not take for ever */
#define FRAME_HEADER 24
#define MAGIC 0x377f0682U	/* and one more where checksums are of big-endian words */
#define VERSION 3007000U
#define FRAMES_STEP 64
#define RESTARTS_MAX 256	/* of a log, whose leftovers may still be behind its end */

/* The checksum so far. */
struct sums {
	uint32_t first;
	uint32_t second;
	bool big_endian;
};

static uint32_t
word(const uint8_t *bytes, bool big_endian)
{
	if (big_endian)
		return px_big_endian(bytes, 4);
	return (uint32_t)bytes[0] | (uint32_t)bytes[1] << 8 | (uint32_t)bytes[2] << 16 | (uint32_t)bytes[3] << 24;
}

static void
add_up(struct sums *sums, const uint8_t *bytes, size_t len)
{
	for (size_t i = 0; i + 8 <= len; i += 8) {
		sums->first += word(bytes + i, sums->big_endian) + sums->second;
		sums->second += word(bytes + i + 4, sums->big_endian) + sums->first;
	}
}

static bool
is_sum(const struct sums *sums, const uint8_t *stored)
{
	return sums->first == px_big_endian(stored, 4) && sums->second == px_big_endian(stored + 4, 4);
}

#define OURS_IS_BIG_ENDIAN (__BYTE_ORDER__ == __ORDER_BIG_ENDIAN__)

static bool
words_are_big_endian(const uint8_t *header)
{
	return (px_big_endian(header, 4) & 1) != 0;
}

static bool
header_is_whole(const uint8_t *header, size_t page_size)
{
	struct sums sums = { 0, 0, words_are_big_endian(header) };

	add_up(&sums, header, 24);
	return (px_big_endian(header, 4) | 1) == (MAGIC | 1) && px_big_endian(header + 4, 4) == VERSION &&
	    px_big_endian(header + 8, 4) == page_size && is_sum(&sums, header + 24);
}

static bool
is_zero(const uint8_t *bytes, size_t len)
{
	for (size_t i = 0; i < len; i++)
		if (bytes[i] != 0)
			return false;
	return true;
}

static int
add_frame(struct px_wal *log, uint32_t page, int64_t at, struct px_err *err)
{
	if (log->count % FRAMES_STEP == 0) {
		struct px_wal_frame *larger = reallocarray(log->frames, log->count + FRAMES_STEP, sizeof(*larger));

		if (larger == NULL)
			return px_err_set(err, PX_STORAGE, "no memory for a log of %zu frames", log->count);
		log->frames = larger;
	}
	log->frames[log->count++] = (struct px_wal_frame){ .page = page, .at = at };
	return 0;
}

/* Between two frames: what the next checksum may follow from. */
struct chain {
	uint8_t salts[8];
	uint8_t stored[8];		/* in the last frame, or in the header */
	struct sums computed;		/* of it, where its own checksum alone is damaged */
	size_t last;			/* that frame, in the list; SIZE_MAX: none */
	int64_t last_at;
	bool is_lost;			/* all that is known of it: the next one can't be checked */
};

/*
 * Whether a frame is whole. One that follows from what its predecessor should have stored proves that one, too. Behind one
 * that is lost, or whose page and checksum may both be damaged, as by junk where they meet, nothing can be told:
 * ${doubtful}.
 */
static bool
frame_is_whole(struct px_wal *log, struct chain *chain, const uint8_t *frame, size_t page_size, bool *doubtful)
{
	struct px_wal_frame *last = chain->last != SIZE_MAX ? &log->frames[chain->last] : NULL;
	struct sums sums = chain->computed;
	struct sums before = chain->computed;

	sums.first = px_big_endian(chain->stored, 4);
	sums.second = px_big_endian(chain->stored + 4, 4);
	add_up(&sums, frame, 8);
	add_up(&sums, frame + FRAME_HEADER, page_size);
	chain->computed = sums;
	*doubtful = false;
	if (is_sum(&sums, frame + 16))
		return true;
	if (chain->is_lost) {
		*doubtful = true;
		return true;
	}
	if (last == NULL || (last->at != 0 && !last->is_doubtful))
		return false;
	add_up(&before, frame, 8);
	add_up(&before, frame + FRAME_HEADER, page_size);
	*doubtful = !is_sum(&before, frame + 16);
	if (*doubtful)
		return true;
	*last = (struct px_wal_frame){ .page = last->page, .at = chain->last_at };
	return true;
}

/* Whether the one behind ${before}, a frame's header, is of the same log and follows from it. */
static bool
follows(const uint8_t *before, const uint8_t *frame, size_t page_size, bool big_endian)
{
	struct sums sums = { px_big_endian(before + 16, 4), px_big_endian(before + 20, 4), big_endian };

	if (memcmp(before + 8, frame + 8, 8) != 0)
		return false;
	add_up(&sums, frame, 8);
	add_up(&sums, frame + FRAME_HEADER, page_size);
	return is_sum(&sums, frame + 16);
}

/*
 * The salts of a log whose header is damaged, and perhaps the first frame with it: those of the header where another frame
 * has them, too, else those of the first two frames that fit each other. What is left over from before the log began anew
 * fits as well. Its first salt is smaller (format, 4.1), so where the first frame's is a little larger, that is believed.
 */
static void
find_salts(const struct px_bytes *bytes, const uint8_t header[PX_WAL_HEADER], size_t page_size, uint8_t *frame,
    uint8_t salts[8])
{
	const int64_t size = (int64_t)(FRAME_HEADER + page_size);
	uint8_t before[FRAME_HEADER] = { 0 };
	bool found = false;

	for (int64_t at = PX_WAL_HEADER; at < GAP_MAX && bytes->read(bytes->arg, at, frame, (size_t)size) == (size_t)size;
	    at += size) {
		bool fits = at > PX_WAL_HEADER && !found && follows(before, frame, page_size, OURS_IS_BIG_ENDIAN);

		if (at > PX_WAL_HEADER && memcmp(header + 16, frame + 8, 8) == 0) {
			memcpy(salts, frame + 8, 8);
			return;
		}
		if (at == PX_WAL_HEADER || (fits && px_big_endian(salts, 4) - px_big_endian(frame + 8, 4) - 1 >= RESTARTS_MAX))
			memcpy(salts, frame + 8, 8);
		found = found || fits;
		memcpy(before, frame, sizeof(before));
	}
}

/* The frames behind ${header}, in which salts and the first checksum are. */
static int
read_frames(struct px_wal *log, const struct px_bytes *bytes, const uint8_t header[PX_WAL_HEADER], bool whole,
    size_t page_size,
    uint8_t *frame, struct px_err *err)
{
	struct chain chain = { .last = SIZE_MAX, .is_lost = !whole };
	size_t size = FRAME_HEADER + page_size;
	int64_t last_of_ours = 0;
	size_t committed = 0;
	bool gap = !whole;

	memcpy(chain.salts, header + 16, sizeof(chain.salts));
	if (!whole)
		find_salts(bytes, header, page_size, frame, chain.salts);
	memcpy(chain.stored, header + 24, sizeof(chain.stored));
	chain.computed.big_endian = whole ? words_are_big_endian(header) : OURS_IS_BIG_ENDIAN;
	for (int64_t at = PX_WAL_HEADER; at < LEN_MAX && bytes->read(bytes->arg, at, frame, size) == size; at += (int64_t)size) {
		uint32_t page = px_big_endian(frame, 4);
		bool is_doubtful;
		bool is_whole;

		if (memcmp(chain.salts, frame + 8, sizeof(chain.salts)) != 0) {
			gap = true;
			chain.is_lost = true;
			if (at - last_of_ours > GAP_MAX)
				break;
			continue;
		}
		last_of_ours = at;
		is_whole = frame_is_whole(log, &chain, frame, page_size, &is_doubtful) && page != 0;
		gap = gap || !is_whole;
		if (add_frame(log, page, is_whole ? at + FRAME_HEADER : 0, err) == -1)
			return -1;
		log->frames[log->count - 1].is_doubtful = is_doubtful;
		if (px_big_endian(frame + 4, 4) != 0) {		/* a commit, if perhaps a damaged one */
			committed = log->count;
			log->is_damaged = gap;
		}
		memcpy(chain.stored, frame + 16, sizeof(chain.stored));
		chain.last = log->count - 1;
		chain.last_at = at + FRAME_HEADER;
		chain.is_lost = false;
	}
	log->count = committed;
	return 0;
}

int
px_wal_read(struct px_wal *log, const struct px_bytes *bytes, size_t page_size, struct px_err *err)
{
	uint8_t header[PX_WAL_HEADER];
	uint8_t *frame;
	bool whole;
	int rc;

	*log = (struct px_wal){ .count = 0 };
	/* One that is shorter or zero was just begun when the power failed. */
	if (bytes->len < (int64_t)(PX_WAL_HEADER + FRAME_HEADER + page_size) ||
	    bytes->read(bytes->arg, 0, header, PX_WAL_HEADER) != PX_WAL_HEADER || is_zero(header, PX_WAL_HEADER))
		return 0;
	frame = malloc(FRAME_HEADER + page_size);
	if (frame == NULL)
		return px_err_set(err, PX_STORAGE, "no memory for a log");
	whole = header_is_whole(header, page_size);
	log->is_damaged = !whole;
	rc = read_frames(log, bytes, header, whole, page_size, frame, err);
	free(frame);
	if (rc == -1)
		px_wal_clear(log);
	return rc;
}

static void
put_word(uint8_t *bytes, uint32_t value)
{
	for (size_t i = 0; i < 4; i++)
		bytes[i] = (uint8_t)(value >> (24 - 8 * i));
}

bool
px_wal_begin_anew(uint8_t header[PX_WAL_HEADER], uint32_t salt)
{
	struct sums sums = { 0, 0, words_are_big_endian(header) };

	if (!header_is_whole(header, px_big_endian(header + 8, 4)))
		return false;
	put_word(header + 12, px_big_endian(header + 12, 4) + 1);
	put_word(header + 16, px_big_endian(header + 16, 4) + 1);
	put_word(header + 20, salt);
	add_up(&sums, header, 24);
	put_word(header + 24, sums.first);
	put_word(header + 28, sums.second);
	return true;
}

bool
px_wal_ends_at(const struct px_bytes *bytes, int64_t at, uint8_t *frame, size_t page_size)
{
	const int64_t size = (int64_t)(FRAME_HEADER + page_size);
	const int64_t last = at == PX_WAL_HEADER ? 8 : at - size;	/* where the checksum before it is in, as in a frame's header */
	const int64_t end = at + GAP_MAX;
	uint8_t header[PX_WAL_HEADER];
	uint8_t before[FRAME_HEADER];
	struct sums sums;

	if (bytes->read(bytes->arg, 0, header, sizeof(header)) != sizeof(header) ||
	    bytes->read(bytes->arg, last, before, sizeof(before)) != sizeof(before))
		return false;
	if (bytes->read(bytes->arg, at, frame, (size_t)size) == (size_t)size && memcmp(frame + 8, header + 16, 8) == 0) {
		sums = (struct sums){ px_big_endian(before + 16, 4), px_big_endian(before + 20, 4), words_are_big_endian(header) };
		add_up(&sums, frame, 8);
		add_up(&sums, frame + FRAME_HEADER, page_size);
		if (!is_sum(&sums, frame + 16))
			return false;
	}
	for (at += size; at < end && bytes->read(bytes->arg, at, before, sizeof(before)) == sizeof(before); at += size)
		if (memcmp(before + 8, header + 16, 8) == 0)
			return false;
	return true;
}

void
px_wal_clear(struct px_wal *log)
{
	free(log->frames);
	*log = (struct px_wal){ .count = 0 };
}
