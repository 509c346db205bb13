/* SPDX-License-Identifier: MIT */
/*
 * libFuzzer: any bytes as Monit's status, read and written as a snapshot. What comes out is JSON that a library reads,
 * counts what it holds, invents no service and drops no line. Corpus: test/fixtures/status.
 */
#include <ctype.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include <cjson/cJSON.h>

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

static size_t
count_visible(struct px_slice text)
{
	size_t count = 0;

	for (size_t i = 0; i < text.len; i++)
		count += (unsigned char)text.ptr[i] > ' ' ? 1 : 0;
	return count;
}

static bool
starts_with(struct px_slice line, const char *start)
{
	return line.len >= strlen(start) && strncasecmp(line.ptr, start, strlen(start)) == 0;
}

/* What the input has, by rules that are simpler than the reader's: it has at least so much, and at most so many services. */
struct seen {
	size_t quoted;		/* lines without an indent that hold a quote */
	size_t visible;		/* bytes of the lines with an indent of two, behind the first process, but "status" */
};

static bool
is_process(struct px_slice line)
{
	struct px_slice shown = px_slice_trim(line);

	return line.len >= strlen("Process ''") && memcmp(line.ptr, "Process '", strlen("Process '")) == 0 &&
	    shown.ptr[shown.len - 1] == '\'' && shown.len >= strlen("Process ''");
}

static struct seen
look_at(struct px_slice text)
{
	struct seen seen = { 0, 0 };
	bool inside = false;

	while (text.len > 0) {
		const char *end = memchr(text.ptr, '\n', text.len);
		struct px_slice line = { text.ptr, end != NULL ? (size_t)(end - text.ptr) : text.len };
		size_t taken = end != NULL ? line.len + 1 : line.len;

		inside = inside || is_process(line);
		if (memchr(line.ptr, '\'', line.len) != NULL && line.ptr[0] != ' ')
			seen.quoted++;
		if (inside && starts_with(line, "  ") && line.len > 2 && line.ptr[2] != ' ' && !starts_with(line, "  status"))
			seen.visible += count_visible(line);
		text = (struct px_slice){ text.ptr + taken, text.len - taken };
	}
	return seen;
}

/* Where there are no colours to remove. */
static void
check_nothing_is_lost(const struct px_monit_status *status, const uint8_t *data, size_t size)
{
	struct px_buf clean = PX_BUF(3 * size + 1);
	size_t kept = 0;
	struct seen seen;

	px_text_clean(&clean, (const char *)data, size);
	seen = look_at((struct px_slice){ px_buf_text(&clean), clean.len });
	for (size_t i = 0; i < status->line_count; i++)
		kept += count_visible(status->lines[i].label) + count_visible(status->lines[i].value);
	require(status->service_count <= seen.quoted);
	require(kept >= seen.visible);
	px_buf_clear(&clean);
}

static bool
is_string(const cJSON *item, struct px_slice text)
{
	if (memchr(text.ptr, '\0', text.len) != NULL)
		return cJSON_IsString(item);
	return cJSON_IsString(item) && px_slice_is(text, item->valuestring);
}

static bool
is_time(const cJSON *item)
{
	const char *text = item->valuestring;

	return strlen(text) == strlen("2019-04-13T09:24:17Z") && text[10] == 'T' && text[19] == 'Z';
}

/* A value that is a string is Monit's own text, or a time. */
static void
check_values(const struct px_monit_status *status, const struct px_monit_service *service, const cJSON *values)
{
	for (size_t i = 0; i < service->line_count && i < 16; i++) {
		const struct px_monit_line *line = &status->lines[service->first_line + i];
		char key[64] = "";
		const cJSON *value;

		if (line->label.len >= sizeof(key))
			continue;
		for (size_t j = 0; j < line->label.len; j++)
			key[j] = (char)(line->label.ptr[j] == ' ' ? '_' : tolower((unsigned char)line->label.ptr[j]));
		value = cJSON_GetObjectItemCaseSensitive(values, key);
		require(value != NULL);
		require(!cJSON_IsString(value) || is_string(value, line->value) || is_time(value));
	}
	require((service->line_count == 0) == (cJSON_GetArraySize(values) == 0));
}

static void
check_document(const struct px_monit_status *status, const struct px_buf *body)
{
	static const char *const states[] = { "ok", "failed", "unmonitored", "initializing", "waiting" };
	cJSON *document = cJSON_ParseWithLengthOpts(body->data, body->len + 1, NULL, 1);
	const cJSON *summary = cJSON_GetObjectItemCaseSensitive(document, "summary");
	const cJSON *services = cJSON_GetObjectItemCaseSensitive(document, "services");
	struct px_buf clean = PX_BUF(3 * body->len);
	const cJSON *service;
	double total = 0;
	size_t i = 0;

	require(document != NULL);
	px_text_clean(&clean, body->data, body->len);
	require(clean.len == body->len && memcmp(clean.data, body->data, body->len) == 0);
	for (size_t state = 0; state < sizeof(states) / sizeof(states[0]); state++)
		total += cJSON_GetObjectItemCaseSensitive(summary, states[state])->valuedouble;
	require((size_t)total == status->service_count);
	require((size_t)cJSON_GetObjectItemCaseSensitive(summary, "total")->valuedouble == status->service_count);
	require((size_t)cJSON_GetArraySize(services) == status->service_count);
	cJSON_ArrayForEach(service, services) {
		const struct px_monit_service *one = &status->services[i++];

		require(is_string(cJSON_GetObjectItemCaseSensitive(service, "name"), one->name));
		require(is_string(cJSON_GetObjectItemCaseSensitive(service, "status"), one->status));
		/* The library ends a key at a NUL. */
		if (memchr(status->text.data, '\0', status->text.len) == NULL)
			check_values(status, one, cJSON_GetObjectItemCaseSensitive(service, "values"));
	}
	cJSON_Delete(document);
	px_buf_clear(&clean);
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
	if (rc == 0 && memchr(data, '\x1b', size) == NULL)
		check_nothing_is_lost(&status, data, size);
	if (rc == 0 && px_snapshot_write(&body, &made, &status, two_hours_east, &err) == 0) {
		require(body.len <= size_limit(&status));
		require(strlen(body.data) == body.len);
		check_document(&status, &body);
	} else {
		require(err.code == PX_LATER && body.len == 0);
		require(px_snapshot_write_unreachable(&body, &made, err.text, &err) == 0);
	}
	px_buf_clear(&body);
	px_monit_clear(&status);
	return 0;
}
