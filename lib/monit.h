/* SPDX-License-Identifier: MIT */
/*
 * Reads what `monit status` prints, Monit 5.2.5 to 6.x: bytes in, services and their lines out. Pure, linear in its
 * input, at most PX_MONIT_MEMORY bytes of memory for each byte of it. What it does not know stays text; nothing that
 * stands in a service is dropped.
 */
#ifndef PX_MONIT_H
#define PX_MONIT_H

#include <stddef.h>
#include <stdint.h>

#include "buf.h"
#include "text.h"

enum px_service_state { PX_SERVICE_OK, PX_SERVICE_FAILED, PX_SERVICE_UNMONITORED, PX_SERVICE_INITIALIZING,
    PX_SERVICE_WAITING };
#define PX_SERVICE_STATES 5

/* Of the shortest services ("File ''") and the shortest lines ("  a") a byte costs most, and arrays grow by half. */
#define PX_MONIT_MEMORY 24

/* One "label value" of a service, lines of a longer value joined by '\n'. */
struct px_monit_line {
	struct px_slice label;
	struct px_slice value;
};

struct px_monit_service {
	struct px_slice type;		/* Monit's own words: "System", "Remote Host", ... */
	struct px_slice name;
	struct px_slice status;		/* Monit's whole text, pending part included */
	struct px_slice pending;	/* "restart" of "OK - restart pending"; empty when absent */
	enum px_service_state state;
	size_t first_line;		/* its lines but "status" in ${lines} of px_monit_status */
	size_t line_count;
};

/* All slices point into ${text}. */
struct px_monit_status {
	struct px_buf text;			/* owned: the input made valid UTF-8, colours removed */
	struct px_slice version;		/* "5.33.0"; empty when the header has none */
	int64_t uptime_s;			/* -1 when unknown */
	bool has_header;
	struct px_monit_service *services;	/* owned */
	size_t service_count;
	struct px_monit_line *lines;		/* owned */
	size_t line_count;
};

/*
 * Reads ${len} bytes of ${text}. Returns 0 when there is a header line or a service, else -1 with PX_LATER and what is
 * there instead; -1 with PX_BUG for want of memory. The caller clears ${out} in every case.
 */
int px_monit_parse(struct px_monit_status *out, const char *text, size_t len, struct px_err *err) PX_MUST_CHECK;

void px_monit_clear(struct px_monit_status *status);

/* "ok", "failed", "unmonitored", "initializing", "waiting". */
const char *px_service_state_name(enum px_service_state state);

/* Calls ${each} for every part of ${status} at " | ", without what is pending. */
void px_monit_failures(const struct px_monit_service *service, void (*each)(void *arg, struct px_slice part), void *arg);

#endif
