/* SPDX-License-Identifier: MIT */
/*
 * An item: one event or one snapshot, finished JSON from the moment it is made. Its id, its seq, the moment it was made,
 * and how its document is put together. Pure.
 */
#ifndef PX_ITEM_H
#define PX_ITEM_H

#include <stdint.h>

#include "buf.h"
#include "text.h"

#define PX_ID_MAX 37			/* a UUID as text (RFC 9562, section 4) and its NUL */
#define PX_TOPIC_MAX 4097		/* a value's limit and its NUL */
#define PX_EVENT_MAX 65536		/* bytes of an event document, id and seq included */
#define PX_SNAPSHOT_MAX (4 << 20)	/* bytes of a snapshot document, id and seq included */

enum px_kind { PX_EVENT, PX_SNAPSHOT };

/* A moment on both clocks. */
struct px_now {
	int64_t wall_ms;		/* CLOCK_REALTIME */
	int64_t boot_ms;		/* CLOCK_BOOTTIME */
	char boot_id[PX_ID_MAX];	/* /proc/sys/kernel/random/boot_id, see random(4); "" where there is none */
};

/*
 * ${body} is the document without its id and seq: a JSON object that begins with its "time". Somebody else owns ${body}
 * and ${topic}.
 */
struct px_item {
	char id[PX_ID_MAX];
	int64_t seq;			/* 0 while it has none */
	enum px_kind kind;
	int64_t time_ms;
	struct px_slice topic;		/* of an event */
	struct px_slice body;
};

/* "event" or "snapshot". */
const char *px_kind_name(enum px_kind kind);

/* A UUIDv7 (RFC 9562, section 5.7) of the time ${wall_ms} and ten random bytes. */
void px_id_v7(char out[PX_ID_MAX], int64_t wall_ms, const uint8_t random[10]);

/* A UUIDv4 (RFC 9562, section 5.4) of sixteen random bytes. */
void px_id_v4(char out[PX_ID_MAX], const uint8_t random[16]);

/* Whether ${text} is a UUID as these functions write them: lower case, hyphens in their places. */
bool px_id_is_valid(struct px_slice text);

/* Opens a document's body: '{' and its "time", "boot_id" and "uptime_ms". Members may follow, then '}'. */
void px_item_begin(struct px_buf *body, const struct px_now *made);

/* Appends the whole document: id, seq (left out when 0) and the members of ${item}'s body. */
void px_item_join(struct px_buf *out, const struct px_item *item);

/* Appends what of that comes before the bytes of the body, which stand in for all of it but its first. */
void px_item_join_head(struct px_buf *out, const struct px_item *item);

/* Bytes that px_item_join adds to a body at most. */
#define PX_ITEM_JOIN_MAX 80

#endif
