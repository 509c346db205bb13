/* SPDX-License-Identifier: MIT */
/*
 * One alert, from the arguments and the environment that Monit gives its exec program (monit(1), "Environment",
 * 5.2.5 to 6.1) to a finished JSON document. Pure. It never refuses: what is wrong is told as a mistake, and the rest of
 * the event stands.
 */
#ifndef PX_EVENT_H
#define PX_EVENT_H

#include <stdbool.h>

#include "err.h"
#include "item.h"
#include "measure.h"

#define PX_VALUE_MAX 4096	/* bytes of one value, cleaned */

struct px_param {
	char *key;	/* owned */
	char *value;	/* owned */
};

/* Texts are owned, valid UTF-8, and NULL where they were not given. */
struct px_event {
	char *topic;
	char *message;
	struct px_param *params;	/* owned; in the order in which their keys first came */
	size_t param_count;

	bool under_monit;		/* MONIT_EVENT is in the environment, even empty */
	char *service;
	char *event;			/* Monit's text; NULL for "No Event" and for an empty one */
	char *description;
	char *host;
	char *date;
	int64_t pid;			/* -1: not given, here and below */
	int64_t memory_kb;
	int64_t children;
	double cpu_percent;
	int64_t program_status;

	struct px_problems problems;	/* but for cuts */
	struct px_problems cuts;	/* each is told, however many problems there are besides */
	size_t mistakes;		/* how many of the problems a person at a terminal is to be refused for */
};

/* What an event text means. */
struct px_event_meaning {
	const char *text;
	const char *category;
	const char *state;	/* "failed", "succeeded", "changed", "not_changed", "unknown" */
};

/*
 * The meaning of Monit's event text: by table (event.c of Monit 5.2.5 to 6.1), else category "unknown" and the state by
 * its last words where they tell. ${out}->text is static or NULL, the others are static.
 */
void px_event_meaning(struct px_slice text, struct px_event_meaning *out);

/* Makes ${event} empty; px_event_clear frees what it owns and makes it empty again. */
void px_event_init(struct px_event *event);
void px_event_clear(struct px_event *event);

/*
 * Takes every MONIT_ variable that Monit sets from ${env} (NULL at its end), nothing else of it. Values are cleaned and
 * cut; a number that is none is a problem. -1 only for want of memory.
 */
int px_event_take_env(struct px_event *event, char *const env[], struct px_err *err) PX_MUST_CHECK;

/* Takes one operand: TOPIC or KEY=VALUE. A malformed one is a mistake. -1 only for want of memory. */
int px_event_take_operand(struct px_event *event, const char *operand, struct px_err *err) PX_MUST_CHECK;

/* Takes the text of --message; a later one replaces it. -1 only for want of memory. */
int px_event_take_message(struct px_event *event, const char *text, struct px_err *err) PX_MUST_CHECK;

/* Adds a mistake that somebody else found: an option, the configuration. */
void px_event_mistake(struct px_event *event, const char *text);

/* The topic in force: the operand, else the service, else "unspecified". */
const char *px_event_topic(const struct px_event *event);

/*
 * Writes the body (see item.h) of the event made at ${made} into ${body}. Where the document would be over PX_EVENT_MAX
 * bytes the longest values of ${event} are cut first, each with a problem that names it. -1 only for want of memory.
 */
int px_event_write(struct px_event *event, const struct px_now *made, struct px_buf *body, struct px_err *err) PX_MUST_CHECK;

/*
 * What there is to say of an event where no memory is left to make it: a small document, some texts of it in plain ASCII and
 * cut at 200 bytes. ${topic} may be NULL. Returns its length. Allocates nothing.
 */
#define PX_EVENT_BARE_MAX 2048
size_t px_event_bare(char out[PX_EVENT_BARE_MAX], const char *id, int64_t wall_ms, const char *topic, char *const env[]);

#endif
