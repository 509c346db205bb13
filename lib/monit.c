/* SPDX-License-Identifier: MIT */
#include "monit_parts.h"

#include <stdlib.h>
#include <string.h>

#define ESC '\x1b'
#define BYTE_ORDER_MARK "\xef\xbb\xbf"
#define LABEL_COLUMN 2		/* a line of a service is indented by so many blanks */
#define STATUS_LINE_LEN (sizeof("  status") - 1)
#define QUOTE_MAX 120		/* bytes of an unknown text in an error */
#define FIRST_CAPACITY 16

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

/* Whose value the next indented line continues. */
enum open_value { NOTHING, STATUS, LINE };

struct reader {
	struct px_monit_status *out;
	size_t service_capacity;
	size_t line_capacity;
	size_t value_column;		/* 0 while no line has told it */
	enum open_value open;
	size_t blank_lines;		/* since the last line that was none */
	struct px_monit_service maybe;	/* of a type that is not known, a service once its status follows; else without a type */
};

/*
 * The length of the terminal sequence that ${text} begins with: CSI (ECMA-48, 5.4) and, as "tput sgr0" ends colours,
 * a character set. One that its line's end or another sequence cuts off counts too. No line's end is ever part of one.
 */
static size_t
sequence_length(const char *text, size_t len)
{
	size_t i = 2;

	if (len == 1 || text[1] == ESC || text[1] == '\n')
		return 1;
	if (text[1] == '(' || text[1] == ')')
		return len > 2 && text[2] >= '0' && text[2] <= '~' ? 3 : 0;
	if (text[1] != '[')
		return 0;
	while (i < len && text[i] >= ' ' && text[i] <= '?')
		i++;
	if (i == len || text[i] == '\n' || text[i] == '\r' || text[i] == ESC)
		return i;
	return text[i] >= '@' && text[i] <= '~' ? i + 1 : 0;
}

static void
remove_colours(struct px_buf *text)
{
	size_t from = 0;
	size_t to = 0;

	while (from < text->len) {
		const char *escape = memchr(text->data + from, ESC, text->len - from);
		size_t plain = escape != NULL ? (size_t)(escape - text->data) - from : text->len - from;
		size_t sequence = escape != NULL ? sequence_length(escape, text->len - from - plain) : 0;

		if (escape != NULL && sequence == 0)
			plain++;
		memmove(text->data + to, text->data + from, plain);
		to += plain;
		from += plain + sequence;
	}
	px_buf_rewind(text, to);
}

static size_t
count_blanks(struct px_slice text, size_t from)
{
	size_t i = from;

	while (i < text.len && text.ptr[i] == ' ')
		i++;
	return i - from;
}

/* Room for one more of ${count} elements of ${size} bytes: the array, moved perhaps, or NULL. */
static void *
grow(void *array, size_t count, size_t *capacity, size_t size)
{
	size_t wanted = *capacity == 0 ? FIRST_CAPACITY : *capacity + *capacity / 2;

	if (count < *capacity)
		return array;
	array = wanted > SIZE_MAX / size ? NULL : realloc(array, wanted * size);
	if (array != NULL)
		*capacity = wanted;
	return array;
}

static int
add_service(struct reader *reader, struct px_monit_service service)
{
	struct px_monit_status *out = reader->out;
	struct px_monit_service *services = grow(out->services, out->service_count, &reader->service_capacity, sizeof(*services));

	if (services == NULL)
		return -1;
	out->services = services;
	service.status = px_slice_behind(service.name, service.name.len);
	service.first_line = out->line_count;
	out->services[out->service_count++] = service;
	reader->open = NOTHING;
	return 0;
}

/*
 * Where the label that begins at ${start} ends and its value begins. While the column of values is not known, the first line
 * that has both tells it. A label as long as the column allows has one blank behind it; a still longer one pushes its value
 * to the right.
 */
static void
split_line(struct reader *reader, struct px_slice line, size_t start, struct px_monit_line *out)
{
	size_t column = reader->value_column;
	size_t end = start;
	size_t value;

	while (end < line.len) {
		bool blank = line.ptr[end] == ' ';

		if (blank && (end + 1 >= line.len || line.ptr[end + 1] == ' ' || (column > 0 && end + 1 >= column)))
			break;
		end++;
	}
	value = end + count_blanks(line, end);
	if (column == 0 && value < line.len)
		reader->value_column = column = value;
	if (end < column && value > column)
		value = column;
	out->label = (struct px_slice){ line.ptr + start, end - start };
	out->value = px_slice_behind(line, value < line.len ? value : line.len);
}

static bool
is_status_line(struct px_slice line)
{
	struct px_slice label = line;

	if (label.len > STATUS_LINE_LEN && label.ptr[STATUS_LINE_LEN] == ' ')
		label.len = STATUS_LINE_LEN;
	return px_slice_is_nocase(label, "  status");
}

static int
add_line(struct reader *reader, struct px_slice line, size_t start)
{
	struct px_monit_status *out = reader->out;
	struct px_monit_service *service = &out->services[out->service_count - 1];
	struct px_monit_line *lines;
	struct px_monit_line one;
	size_t column = reader->value_column;

	/*
	 * Each service tells it anew, so that texts of two versions may follow each other; a status never begins with a
	 * blank.
	 */
	if (service->status.len == 0 && is_status_line(line))
		reader->value_column = 0;
	split_line(reader, line, start, &one);
	if (reader->value_column == 0)
		reader->value_column = column;
	if (px_slice_is_nocase(one.label, "status")) {
		bool first = service->status.len == 0;

		if (first)
			service->status = one.value;
		reader->open = first ? STATUS : NOTHING;
		return 0;
	}
	lines = grow(out->lines, out->line_count, &reader->line_capacity, sizeof(*lines));
	if (lines == NULL)
		return -1;
	out->lines = lines;
	out->lines[out->line_count++] = one;
	service->line_count++;
	reader->open = LINE;
	return 0;
}

/* Joins ${text} to the open value, in place: an indent and the ends of lines lie between them. */
static void
continue_value(struct reader *reader, struct px_slice text)
{
	struct px_monit_status *out = reader->out;
	struct px_slice *value;
	char *end;

	if (reader->open == NOTHING)
		return;
	value = reader->open == STATUS ? &out->services[out->service_count - 1].status : &out->lines[out->line_count - 1].value;
	end = out->text.data + (value->ptr - out->text.data) + value->len;
	memset(end, '\n', reader->blank_lines + 1);
	memmove(end + reader->blank_lines + 1, text.ptr, text.len);
	value->len += reader->blank_lines + 1 + text.len;
}

/* Output that is not indented though it should be still belongs to its program; elsewhere such a line is noise. */
static bool
is_stray_output(const struct reader *reader)
{
	return reader->open == LINE && reader->blank_lines == 0 &&
	    px_slice_is_nocase(reader->out->lines[reader->out->line_count - 1].label, "last output");
}

/*
 * Monit has no types but the known ones so far. A service of another is told from noise by its first line, which is its
 * status.
 */
static int
take_service(struct reader *reader, const struct px_monit_service *service)
{
	if (px_monit_is_known_type(service->type))
		return add_service(reader, *service);
	reader->maybe = *service;
	return 0;
}

static int
take_line(struct reader *reader, struct px_slice line)
{
	struct px_monit_service maybe = reader->maybe;
	struct px_monit_service service;
	struct px_slice status;
	size_t blanks;
	int rc = 0;

	while (line.len > 0 && line.ptr[line.len - 1] == '\r')
		line.len--;
	reader->maybe.type.len = 0;
	if (maybe.type.len > 0 && is_status_line(line) && add_service(reader, maybe) == -1)
		return -1;
	blanks = count_blanks(line, 0);
	if (!is_stray_output(reader) && px_monit_read_service_line(line, &service))
		rc = take_service(reader, &service);
	else if (!is_stray_output(reader) && px_monit_read_merged_line(line, &service, &status))
		rc = add_service(reader, service) == -1 ? -1 : add_line(reader, status, LABEL_COLUMN);
	else if (reader->out->service_count == 0)
		(void)(reader->out->has_header || px_monit_read_header(reader->out, line));
	else if (reader->value_column > 0 && blanks >= reader->value_column)
		continue_value(reader, px_slice_behind(line, reader->value_column));
	else if (blanks == line.len) {
		reader->blank_lines++;
		return 0;
	} else if (blanks == LABEL_COLUMN)
		rc = add_line(reader, line, blanks);
	else if (is_stray_output(reader))
		continue_value(reader, line);
	else if (blanks > 0 && reader->value_column > 0)
		rc = add_line(reader, line, blanks);
	reader->blank_lines = 0;
	return rc;
}

/* What is there instead of a status: its first line that is not blank. */
static int
refuse(const struct px_monit_status *out, struct px_err *err)
{
	struct px_slice said = px_slice_trim((struct px_slice){ px_buf_text(&out->text), out->text.len });
	struct px_buf quote = PX_BUF((size_t)QUOTE_MAX * 6);
	const char *end;

	if (said.len == 0)
		return px_err_set(err, PX_LATER, "no status from Monit: it said nothing");
	end = memchr(said.ptr, '\n', said.len);
	if (end != NULL)
		said.len = (size_t)(end - said.ptr);
	px_text_escape(&quote, said.ptr, px_text_cut(said.ptr, said.len, QUOTE_MAX));
	(void)px_err_set(err, PX_LATER, "no status from Monit: it said '%s'", px_buf_text(&quote));
	px_buf_clear(&quote);
	return -1;
}

int
px_monit_parse(struct px_monit_status *out, const char *text, size_t len, struct px_err *err)
{
	struct reader reader = { .out = out };
	size_t at = 0;

	/* A byte that is not UTF-8 becomes a character of three. */
	*out = (struct px_monit_status){ .uptime_s = -1, .text = PX_BUF(len <= SIZE_MAX / 4 ? 3 * len : len) };
	out->version = px_slice("");
	(void)px_buf_reserve(&out->text, len);
	if (len > 0)
		px_text_clean(&out->text, text, len);
	if (px_buf_check(&out->text, "what Monit said", err) == -1)
		return -1;
	remove_colours(&out->text);
	if (px_slice_begins_with((struct px_slice){ px_buf_text(&out->text), out->text.len }, BYTE_ORDER_MARK))
		at = sizeof(BYTE_ORDER_MARK) - 1;
	while (at < out->text.len) {
		struct px_slice line = { out->text.data + at, out->text.len - at };
		const char *end = memchr(line.ptr, '\n', line.len);

		if (end != NULL)
			line.len = (size_t)(end - line.ptr);
		at += line.len + 1;
		if (take_line(&reader, line) == -1)
			return px_err_set(err, PX_BUG, "no memory for the services of Monit");
	}
	for (size_t i = 0; i < out->service_count; i++)
		px_monit_judge(&out->services[i]);
	if (!out->has_header && out->service_count == 0)
		return refuse(out, err);
	return 0;
}

void
px_monit_clear(struct px_monit_status *status)
{
	px_buf_clear(&status->text);
	free(status->services);
	free(status->lines);
	*status = (struct px_monit_status){ .uptime_s = -1, .version = px_slice("") };
}
