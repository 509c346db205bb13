/* SPDX-License-Identifier: MIT */
/* Reads JSON that somebody else wrote, with cJSON: replies, tokens, overflow files. Depth and size are bounded. */
#ifndef PX_PAYLOAD_H
#define PX_PAYLOAD_H

#include <stdint.h>

#include "item.h"
#include "verdict.h"

struct px_rejection {
	char id[2 * PX_ID_MAX];		/* a UUID in lower case, else what upstream gave, cut */
	char *reason;			/* owned, cleaned, cut to PX_REASON_MAX - 1 */
};

/* What a reply's body says. */
struct px_answer {
	enum px_body body;
	struct px_rejection *rejected;	/* owned; only with PX_BODY_JSON */
	size_t rejected_count;
	char problem[PX_ERR_MAX];	/* title and detail of application/problem+json (RFC 9457), or the start of a text; "" */
};

/*
 * Reads ${reply}'s body by its type (application/json, text/json and anything +json are JSON types). ${out} was not in use.
 * -1 only for want of memory.
 */
int px_payload_answer(const struct px_reply *reply, struct px_answer *out, struct px_err *err) PX_MUST_CHECK;
void px_answer_clear(struct px_answer *answer);

/*
 * The token in what a token command printed: the text itself, trimmed, or "access_token" of a JSON object, which must not be
 * over by its "expires_at" at ${now_s}. -1 with PX_DENIED when there is none, it holds blanks or control characters, or is
 * expired. The text of the error never shows the token.
 */
int px_payload_token(struct px_slice printed, int64_t now_s, struct px_buf *token, struct px_err *err) PX_MUST_CHECK;

/*
 * The item in an event document without seq, as overflow files and dry runs have it: id, time and topic are read, ${body}
 * is made of the rest, unchanged bytes. ${item}'s slices point into ${body} and ${topic}. -1 with PX_STORAGE and what is
 * wrong with it, or with PX_BUG for want of memory, which says nothing about it.
 */
int px_payload_event(struct px_slice document, struct px_item *item, struct px_buf *topic, struct px_buf *body,
    struct px_err *err) PX_MUST_CHECK;

#endif
