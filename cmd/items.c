/* SPDX-License-Identifier: MIT */
#include "items.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "json.h"
#include "screen.h"

static const char *
state_name(const struct px_spool_item *found)
{
	return found->quarantined ? "quarantined" : "pending";
}

int
items_print_line(struct px_buf *line)
{
	int rc = line->failed || fwrite(px_buf_text(line), 1, line->len, stdout) != line->len ? -1 : 0;

	px_buf_rewind(line, 0);
	return rc;
}

static void
write_item_json(struct px_buf *out, const struct px_spool_item *found)
{
	char time[PX_RFC3339_MAX];

	px_text_time_ms(time, found->item.time_ms);
	px_json_open(out, NULL, '{');
	px_json_text(out, "id", found->item.id);
	px_json_int(out, "seq", found->item.seq);
	px_json_text(out, "kind", px_kind_name(found->item.kind));
	px_json_text(out, "state", state_name(found));
	px_json_text(out, "time", time);
	if (found->item.kind == PX_EVENT)
		px_json_slice(out, "topic", found->item.topic);
	else
		px_json_null(out, "topic");
	px_json_int(out, "attempts", found->attempts);
	px_json_text(out, "reason", found->reason);
	px_json_close(out, '}');
	px_buf_add_byte(out, '\n');
}

/* Where a line has not room for all an item's id is left out: its seq names it as well. */
#define WIDE_ENOUGH 120
#define SEQ_WIDTH 6

static bool
shows_ids(void)
{
	size_t width = screen_width();

	return width == 0 || width >= WIDE_ENOUGH;
}

static int
print_item_row(struct px_buf *line, const struct px_spool_item *found)
{
	enum screen_style style = found->quarantined ? SCREEN_BAD : SCREEN_PLAIN;
	char time[PX_RFC3339_MAX];
	int column;

	px_text_time_local(time, found->item.time_ms);
	column = printf("%*" PRId64 "  ", SEQ_WIDTH, found->item.seq);
	if (shows_ids())
		column += printf("%-36s  ", found->item.id);
	column += printf("%-8s  ", px_kind_name(found->item.kind));
	printf("%s", screen_style(style));
	column += printf("%-11s", state_name(found));
	printf("%s", screen_style_end(style));
	column += printf("  %-19s  %8" PRId64 "  ", time, found->attempts);
	px_buf_add(line, found->item.topic.ptr, found->item.topic.len);
	if (found->reason != NULL && screen_width() == 0) {
		px_buf_add_text(line, "  ");
		px_buf_add_text(line, found->reason);
	}
	if (line->failed)
		return -1;
	screen_print_cut((size_t)column, px_buf_text(line));
	if (found->reason != NULL && screen_width() > 0) {
		printf("%*s", SEQ_WIDTH + 2, "");
		screen_print_wrapped(SEQ_WIDTH + 2, found->reason);
	}
	px_buf_rewind(line, 0);
	return ferror(stdout) != 0 ? -1 : 0;
}

static bool
list_item(void *arg, const struct px_spool_item *found)
{
	struct request *request = arg;

	if (request->state != NULL && strcmp(request->state, state_name(found)) != 0)
		return true;
	if (!request->json)
		return print_item_row(&request->line, found) == 0;
	write_item_json(&request->line, found);
	return items_print_line(&request->line) == 0;
}

static void
print_list_heading(void)
{
	printf("%s%*s  ", screen_style(SCREEN_HEADING), SEQ_WIDTH, "seq");
	if (shows_ids())
		printf("%-36s  ", "id");
	printf("%-8s  %-11s  %-19s  %8s  %s%s\n", "kind", "state", "time", "attempts", "topic and reason",
	    screen_style_end(SCREEN_HEADING));
}

int
items_list(struct request *request, struct px_err *err)
{
	if (!request->json)
		print_list_heading();
	return request->spool != NULL ? px_spool_each(request->spool, list_item, request, err) : 0;
}

static bool
show_item(void *arg, const struct px_spool_item *found)
{
	struct request *request = arg;

	px_item_join(&request->line, &found->item);
	px_buf_add_byte(&request->line, '\n');
	return items_print_line(&request->line) == 0;
}

/* The seq of every operand, before anything is changed. */
static int
find_operands(const struct request *request, int64_t seqs[REQUEST_OPERANDS_MAX], struct px_err *err)
{
	for (size_t i = 0; i < request->operand_count; i++) {
		if (request->spool == NULL)
			return px_err_set(err, PX_ABSENT, "no item '%s': there is no spool yet", request->operands[i]);
		if (px_spool_find(request->spool, request->operands[i], &seqs[i], err) == -1)
			return -1;
		for (size_t j = 0; j < i; j++)
			if (seqs[j] == seqs[i])
				return px_err_set(err, PX_USAGE, "'%s' and '%s' are the same item", request->operands[j],
				    request->operands[i]);
	}
	return 0;
}

int
items_show(struct request *request, struct px_err *err)
{
	int64_t seqs[REQUEST_OPERANDS_MAX];

	if (find_operands(request, seqs, err) == -1)
		return -1;
	return px_spool_show(request->spool, seqs[0], show_item, request, err);
}

static bool
export_item(void *arg, const struct px_spool_item *found)
{
	struct request *request = arg;
	struct px_buf document = PX_BUF(REQUEST_LINE_MAX);
	int rc;

	px_item_join(&document, &found->item);
	px_json_open(&request->line, NULL, '{');
	px_json_text(&request->line, "kind", px_kind_name(found->item.kind));
	px_json_text(&request->line, "state", state_name(found));
	px_json_text(&request->line, "reason", found->reason);
	px_json_raw(&request->line, "item", px_buf_text(&document), document.len);
	px_json_close(&request->line, '}');
	px_buf_add_byte(&request->line, '\n');
	rc = document.failed ? -1 : items_print_line(&request->line);
	px_buf_clear(&document);
	return rc == 0;
}

int
items_export(struct request *request, struct px_err *err)
{
	return request->spool != NULL ? px_spool_each(request->spool, export_item, request, err) : 0;
}

struct quarantined {
	int64_t *seqs;
	size_t count;
	size_t capacity;
};

static bool
collect_quarantined(void *arg, const struct px_spool_item *found)
{
	struct quarantined *all = arg;

	if (found->quarantined) {
		if (all->count == all->capacity) {
			size_t capacity = all->capacity > 0 ? 2 * all->capacity : 64;
			int64_t *seqs = realloc(all->seqs, capacity * sizeof(*seqs));

			if (seqs == NULL)
				return false;
			all->seqs = seqs;
			all->capacity = capacity;
		}
		all->seqs[all->count++] = found->item.seq;
	}
	return true;
}

static int
retry_all(struct request *request, struct px_err *err)
{
	struct quarantined all = { .count = 0 };
	bool was_quarantined;
	size_t count = 0;
	int rc = -1;

	if (request->spool == NULL)
		return 0;
	if (px_spool_each(request->spool, collect_quarantined, &all, err) == -1)
		goto out;
	for (size_t i = 0; i < all.count; i++) {
		if (px_spool_retry(request->spool, all.seqs[i], &was_quarantined, err) == -1)
			goto out;
		count += was_quarantined;
	}
	printf("%zu %s pending again\n", count, px_text_plural((int64_t)count, "item is", "items are"));
	rc = 0;
out:
	free(all.seqs);
	return rc;
}

int
items_retry(struct request *request, struct px_err *err)
{
	int64_t seqs[REQUEST_OPERANDS_MAX];
	bool was_quarantined;

	if (request->all)
		return retry_all(request, err);
	if (find_operands(request, seqs, err) == -1)
		return -1;
	for (size_t i = 0; i < request->operand_count; i++) {
		if (px_spool_retry(request->spool, seqs[i], &was_quarantined, err) == -1)
			return -1;
		printf(was_quarantined ? "item %" PRId64 " is pending again\n" : "item %" PRId64 " is pending already\n", seqs[i]);
	}
	return 0;
}

static bool
say_dropped(void *arg, const struct px_spool_item *found)
{
	struct request *request = arg;

	px_buf_printf(&request->line, "dropped %s %s, seq %" PRId64, px_kind_name(found->item.kind), found->item.id,
	    found->item.seq);
	if (found->item.kind == PX_EVENT) {
		px_buf_add_text(&request->line, ", topic ");
		px_text_escape(&request->line, found->item.topic.ptr, found->item.topic.len);
	}
	px_buf_add_byte(&request->line, '\n');
	return false;
}

int
items_drop(struct request *request, struct px_err *err)
{
	int64_t seqs[REQUEST_OPERANDS_MAX];

	if (find_operands(request, seqs, err) == -1)
		return -1;
	for (size_t i = 0; i < request->operand_count; i++) {
		if (px_spool_show(request->spool, seqs[i], say_dropped, request, err) == -1 ||
		    px_spool_drop(request->spool, seqs[i], err) == -1)
			return -1;
		(void)items_print_line(&request->line);
	}
	return 0;
}
