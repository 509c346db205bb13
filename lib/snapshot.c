/* SPDX-License-Identifier: MIT */
#include "snapshot.h"

#include <stdlib.h>

#include "json.h"
#include "value.h"

/* Their values are arrays however many there are: one for each test of a service. */
static const char *const always_arrays[] = { "port_response_time", "unix_socket_response_time" };

/*
 * The lines of one service by key: the n-th of them has ${line} as the n-th by key, and ${place} is where the n-th in
 * Monit's order stands by key.
 */
struct by_key {
	const struct px_monit_line *line;
	size_t place;
};

/* A label's byte as its key has it. */
static char
key_byte(char byte)
{
	if (byte == ' ')
		return '_';
	if (byte >= 'A' && byte <= 'Z')
		return (char)(byte - 'A' + 'a');
	return byte;
}

static int
compare_keys(struct px_slice a, struct px_slice b)
{
	size_t len = a.len < b.len ? a.len : b.len;

	for (size_t i = 0; i < len; i++) {
		int difference = (unsigned char)key_byte(a.ptr[i]) - (unsigned char)key_byte(b.ptr[i]);

		if (difference != 0)
			return difference;
	}
	return a.len < b.len ? -1 : a.len > b.len;
}

/* By key, and for one key in Monit's order. */
static int
compare_lines(const void *a, const void *b)
{
	const struct by_key *one = a;
	const struct by_key *other = b;
	int order = compare_keys(one->line->label, other->line->label);

	return order != 0 ? order : one->line < other->line ? -1 : one->line > other->line;
}

static void
sort_by_key(struct by_key *by_key, const struct px_monit_line *lines, size_t count)
{
	for (size_t i = 0; i < count; i++)
		by_key[i].line = &lines[i];
	qsort(by_key, count, sizeof(*by_key), compare_lines);
	for (size_t i = 0; i < count; i++)
		by_key[by_key[i].line - lines].place = i;
}

/* ${label} as its key, in ${scratch} until that is used again. */
static struct px_slice
to_key(struct px_buf *body, struct px_slice label, struct px_buf *scratch)
{
	px_buf_rewind(scratch, 0);
	for (size_t i = 0; i < label.len; i++)
		px_buf_add_byte(scratch, key_byte(label.ptr[i]));
	if (scratch->failed)
		body->failed = true;
	return (struct px_slice){ px_buf_text(scratch), scratch->len };
}

static bool
is_always_array(struct px_slice label)
{
	for (size_t i = 0; i < sizeof(always_arrays) / sizeof(always_arrays[0]); i++)
		if (compare_keys(label, px_slice(always_arrays[i])) == 0)
			return true;
	return false;
}

/* The value of the first line of a key, or an array of the values of all its lines: ${run} of them, from ${first} on. */
static void
write_run(struct px_buf *body, const struct by_key *first, size_t run, px_offset_fn *offset)
{
	bool array = run > 1 || is_always_array(first->line->label);

	if (array)
		px_json_open(body, NULL, '[');
	for (size_t i = 0; i < run && !body->failed; i++)
		px_value_write(body, first[i].line->label, first[i].line->value, offset);
	if (array)
		px_json_close(body, ']');
}

static void
write_values(struct px_buf *body, const struct px_monit_line *lines, size_t count, struct by_key *by_key,
    struct px_buf *scratch, px_offset_fn *offset)
{
	px_json_open(body, "values", '{');
	sort_by_key(by_key, lines, count);
	for (size_t i = 0; i < count && !body->failed; i++) {
		size_t place = by_key[i].place;
		size_t run = 1;

		if (place > 0 && compare_keys(by_key[place - 1].line->label, lines[i].label) == 0)
			continue;
		while (place + run < count && compare_keys(by_key[place + run].line->label, lines[i].label) == 0)
			run++;
		px_json_key(body, to_key(body, lines[i].label, scratch));
		write_run(body, by_key + place, run, offset);
	}
	px_json_close(body, '}');
}

struct failures {
	struct px_buf *body;
	bool any;
};

static void
write_failure(void *arg, struct px_slice part)
{
	struct failures *failures = arg;

	if (!failures->any)
		px_json_open(failures->body, "failures", '[');
	failures->any = true;
	px_json_slice(failures->body, NULL, part);
}

static void
write_state(struct px_buf *body, const struct px_monit_service *service, struct px_buf *scratch)
{
	struct failures failures = { .body = body };

	px_json_slice(body, "type", to_key(body, service->type, scratch));
	px_json_slice(body, "name", service->name);
	px_json_text(body, "state", px_service_state_name(service->state));
	px_json_slice(body, "status", service->status);
	if (service->pending.len > 0)
		px_json_slice(body, "pending", service->pending);
	if (service->state != PX_SERVICE_FAILED)
		return;
	px_monit_failures(service, write_failure, &failures);
	if (failures.any)
		px_json_close(body, ']');
}

static void
write_monit(struct px_buf *body, const struct px_monit_status *status)
{
	px_json_open(body, "monit", '{');
	px_json_bool(body, "reachable", true);
	if (status->version.len > 0)
		px_json_slice(body, "version", status->version);
	if (status->uptime_s >= 0) {
		px_json_open(body, "uptime", '{');
		px_json_int(body, "seconds", status->uptime_s);
		px_json_close(body, '}');
	}
	px_json_close(body, '}');
}

static void
write_summary(struct px_buf *body, const struct px_monit_status *status)
{
	int64_t counts[PX_SERVICE_STATES] = { 0 };

	for (size_t i = 0; i < status->service_count; i++)
		counts[status->services[i].state]++;
	px_json_open(body, "summary", '{');
	px_json_int(body, "total", (int64_t)status->service_count);
	for (int state = 0; state < PX_SERVICE_STATES; state++)
		px_json_int(body, px_service_state_name((enum px_service_state)state), counts[state]);
	px_json_close(body, '}');
}

static size_t
most_lines(const struct px_monit_status *status)
{
	size_t most = 0;

	for (size_t i = 0; i < status->service_count; i++)
		if (status->services[i].line_count > most)
			most = status->services[i].line_count;
	return most;
}

int
px_snapshot_write(struct px_buf *body, const struct px_now *made, const struct px_monit_status *status, px_offset_fn *offset,
    struct px_err *err)
{
	struct px_buf scratch = PX_BUF(status->text.len);
	size_t most = most_lines(status) + 1;
	struct by_key *by_key = calloc(most, sizeof(*by_key));
	int rc = -1;

	if (by_key == NULL) {
		(void)px_err_set(err, PX_BUG, "no memory for a snapshot");
		goto out;
	}
	px_item_begin(body, made);
	write_monit(body, status);
	write_summary(body, status);
	px_json_open(body, "services", '[');
	for (size_t i = 0; i < status->service_count && !body->failed; i++) {
		const struct px_monit_service *service = &status->services[i];

		px_json_open(body, NULL, '{');
		write_state(body, service, &scratch);
		if (service->line_count > 0)
			write_values(body, status->lines + service->first_line, service->line_count, by_key, &scratch, offset);
		else
			px_json_raw(body, "values", "{}", 2);
		px_json_close(body, '}');
	}
	px_json_close(body, ']');
	px_json_close(body, '}');
	if (body->failed) {
		(void)px_err_set(err, PX_LATER, "the status of Monit is too large: its document has more than %zu bytes", body->max);
		px_buf_rewind(body, 0);
		goto out;
	}
	rc = 0;
out:
	free(by_key);
	px_buf_clear(&scratch);
	return rc;
}

int
px_snapshot_write_unreachable(struct px_buf *body, const struct px_now *made, const char *reason, struct px_err *err)
{
	struct px_slice text = px_slice(reason);
	struct px_buf clean = PX_BUF(3 * text.len);

	px_text_clean(&clean, text.ptr, text.len);
	px_item_begin(body, made);
	px_json_open(body, "monit", '{');
	px_json_bool(body, "reachable", false);
	px_json_slice(body, "error", (struct px_slice){ px_buf_text(&clean), clean.len });
	px_json_close(body, '}');
	px_json_close(body, '}');
	if (clean.failed)
		body->failed = true;
	px_buf_clear(&clean);
	return px_buf_check(body, "a snapshot", err);
}
