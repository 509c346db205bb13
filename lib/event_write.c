/* SPDX-License-Identifier: MIT */
#include <stdlib.h>
#include <string.h>

#include "event.h"
#include "json.h"

#define COUNT_OF(array) (sizeof(array) / sizeof((array)[0]))
#define BODY_MAX (PX_EVENT_MAX - PX_ITEM_JOIN_MAX)
#define LEAST_LEVEL 256		/* where parameters are left out, other values keep so much */
#define CUT_TEXT " was cut to "
#define CUT_UNIT " bytes"

static const struct text {
	const char *field;
	size_t offset;
} texts[] = {
	{ "topic", offsetof(struct px_event, topic) },
	{ "message", offsetof(struct px_event, message) },
	{ "monit.service", offsetof(struct px_event, service) },
	{ "monit.event", offsetof(struct px_event, event) },
	{ "monit.description", offsetof(struct px_event, description) },
	{ "monit.host", offsetof(struct px_event, host) },
	{ "monit.date", offsetof(struct px_event, date) },
};

/* A value that may be cut. */
struct value {
	const char *group;	/* "params." or "" */
	const char *name;
	char *text;
	size_t len;
	size_t json_len;	/* bytes of it inside quotes */
	size_t overhead;	/* what goes when it is left out: a parameter's key and signs */
	size_t times;		/* that it stands in the document: a service may be the topic too */
	bool cut;
};

/* The document before its values are cut: ${params} are the last of ${values}. */
struct draft {
	struct px_event *event;
	const struct px_now *made;
	bool has_measurement;
	struct px_measurement measurement;
	struct px_event_meaning meaning;
	struct value *values;	/* owned */
	size_t count;
	size_t first_param;
	size_t bare_len;	/* of the document without values and parameters */
	size_t left_out;
};

static size_t
json_byte_len(unsigned char byte)
{
	if (byte == '"' || byte == '\\' || (byte != '\0' && strchr("\b\f\n\r\t", byte) != NULL))
		return 2;
	return byte < ' ' || byte == 0x7f ? 6 : 1;
}

static size_t
json_len(const char *text, size_t len)
{
	size_t sum = 0;

	for (size_t i = 0; i < len; i++)
		sum += json_byte_len((unsigned char)text[i]);
	return sum;
}

static size_t
digits(size_t number)
{
	size_t count = 1;

	for (; number >= 10; number /= 10)
		count++;
	return count;
}

/* Bytes that telling of a cut to ${len} bytes takes, quotes and comma included. */
static size_t
cut_text_len(const struct value *value, size_t len)
{
	return strlen(value->group) + strlen(value->name) + strlen(CUT_TEXT) + digits(len) + strlen(CUT_UNIT) + strlen("\"\",");
}

/* Bytes of the value in the document when it has at most ${level} bytes. */
static size_t
value_len(const struct value *value, size_t level)
{
	size_t len;

	if (value->len <= level)
		return value->overhead + value->times * value->json_len;
	len = px_text_cut(value->text, value->len, level);
	return value->overhead + value->times * json_len(value->text, len) + cut_text_len(value, len);
}

static size_t
document_len(const struct draft *draft, size_t level)
{
	size_t sum = draft->bare_len;

	for (size_t i = 0; i < draft->count; i++)
		sum += value_len(&draft->values[i], level);
	return sum;
}

static void
write_monit(struct px_buf *body, const struct draft *draft)
{
	const struct px_event *event = draft->event;
	const struct {
		const char *key;
		const char *text;
	} members[] = {
		{ "service", event->service },
		{ "event", event->event },
		{ "category", event->event != NULL ? draft->meaning.category : NULL },
		{ "state", event->event != NULL ? draft->meaning.state : NULL },
		{ "description", event->description },
		{ "host", event->host },
		{ "date", event->date },
	};
	bool open = false;

	for (size_t i = 0; i < COUNT_OF(members); i++) {
		if (members[i].text == NULL)
			continue;
		if (!open)
			px_json_open(body, "monit", '{');
		open = true;
		px_json_text(body, members[i].key, members[i].text);
	}
	if (open)
		px_json_close(body, '}');
}

static void
write_measurement(struct px_buf *body, const struct px_measurement *measurement)
{
	px_json_open(body, "measurement", '{');
	px_json_text(body, "name", measurement->name);
	px_json_double(body, "value", measurement->value);
	if (measurement->unit != NULL)
		px_json_text(body, "unit", measurement->unit);
	if (measurement->operator != NULL) {
		px_json_text(body, "operator", measurement->operator);
		px_json_double(body, "limit", measurement->limit);
	}
	px_json_close(body, '}');
}

static void
write_process(struct px_buf *body, const struct px_event *event)
{
	if (event->pid != -1 || event->memory_kb != -1 || event->children != -1 || event->cpu_percent >= 0) {
		px_json_open(body, "process", '{');
		if (event->pid != -1)
			px_json_int(body, "pid", event->pid);
		if (event->memory_kb != -1)
			px_json_int(body, "memory_kb", event->memory_kb);
		if (event->children != -1)
			px_json_int(body, "children", event->children);
		if (event->cpu_percent >= 0)
			px_json_double(body, "cpu_percent", event->cpu_percent);
		px_json_close(body, '}');
	}
	if (event->program_status != -1) {
		px_json_open(body, "program", '{');
		px_json_int(body, "status", event->program_status);
		px_json_close(body, '}');
	}
}

static void
write_problem(struct px_buf *body, struct px_buf *text)
{
	px_json_slice(body, NULL, (struct px_slice){ px_buf_text(text), text->len });
	px_buf_rewind(text, 0);
}

static void
write_problems(struct px_buf *body, const struct draft *draft)
{
	const struct px_problems *problems = &draft->event->problems;
	const struct px_problems *cuts = &draft->event->cuts;
	size_t more = problems->more + cuts->more;
	struct px_buf text = PX_BUF(PX_PROBLEM_MAX);

	px_json_open(body, "problems", '[');
	for (size_t i = 0; i < problems->count; i++)
		px_json_text(body, NULL, problems->text[i]);
	for (size_t i = 0; i < cuts->count; i++)
		px_json_text(body, NULL, cuts->text[i]);
	for (size_t i = 0; i < draft->count; i++) {
		const struct value *value = &draft->values[i];

		if (!value->cut)
			continue;
		px_buf_printf(&text, "%s%s" CUT_TEXT "%zu" CUT_UNIT, value->group, value->name, value->len);
		write_problem(body, &text);
	}
	if (draft->left_out > 0) {
		px_buf_printf(&text, "the last %zu %s left out, there was no room for %s", draft->left_out,
		    px_text_plural((int64_t)draft->left_out, "parameter was", "parameters were"),
		    px_text_plural((int64_t)draft->left_out, "it", "them"));
		write_problem(body, &text);
	}
	if (more > 0) {
		px_buf_printf(&text, "and %zu more %s", more, px_text_plural((int64_t)more, "problem", "problems"));
		write_problem(body, &text);
	}
	px_json_close(body, ']');
	if (text.failed)
		body->failed = true;
	px_buf_clear(&text);
}

static bool
has_problems(const struct draft *draft)
{
	if (draft->event->problems.count > 0 || draft->event->cuts.count > 0 || draft->left_out > 0)
		return true;
	for (size_t i = 0; i < draft->count; i++)
		if (draft->values[i].cut)
			return true;
	return false;
}

static void
write_document(struct px_buf *body, const struct draft *draft)
{
	const struct px_event *event = draft->event;

	px_item_begin(body, draft->made);
	px_json_text(body, "topic", px_event_topic(event));
	if (event->message != NULL)
		px_json_text(body, "message", event->message);
	if (event->param_count > 0) {
		px_json_open(body, "params", '{');
		for (size_t i = 0; i < event->param_count; i++)
			px_json_text(body, event->params[i].key, event->params[i].value);
		px_json_close(body, '}');
	}
	write_monit(body, draft);
	if (draft->has_measurement)
		write_measurement(body, &draft->measurement);
	write_process(body, event);
	if (has_problems(draft))
		write_problems(body, draft);
	px_json_close(body, '}');
}

static void
add_value(struct draft *draft, const char *group, const char *name, char *text, size_t overhead, size_t times)
{
	size_t len = strlen(text);

	draft->values[draft->count++] = (struct value){ group, name, text, len, json_len(text, len), overhead, times, false };
}

static char *
event_text(const struct px_event *event, const struct text *text)
{
	char *out;

	memcpy(&out, (const char *)event + text->offset, sizeof(out));
	return out;
}

/* The document's length without its values: that of the whole less theirs. */
static int
measure_bare(struct draft *draft, struct px_err *err)
{
	struct px_buf whole = PX_BUF(SIZE_MAX / 2);
	size_t values = 0;
	int rc;

	write_document(&whole, draft);
	/* Signs around the problems, should there be none yet, and the one that tells of parameters left out. */
	px_buf_add_text(&whole, ",\"problems\":[]");
	px_buf_printf(&whole, "the last %zu parameters were left out, there was no room for them\"\",", draft->count);
	for (size_t i = 0; i < draft->count; i++)
		values += value_len(&draft->values[i], SIZE_MAX);
	rc = px_buf_check(&whole, "the event", err);
	draft->bare_len = whole.len - values;
	px_buf_clear(&whole);
	return rc;
}

static int
make_draft(struct draft *draft, struct px_err *err)
{
	struct px_event *event = draft->event;

	draft->values = calloc(COUNT_OF(texts) + event->param_count, sizeof(*draft->values));
	if (draft->values == NULL)
		return px_err_set(err, PX_BUG, "no memory for the event");
	for (size_t i = 0; i < COUNT_OF(texts); i++) {
		char *text = event_text(event, &texts[i]);

		if (text != NULL)
			add_value(draft, "", texts[i].field, text, 0, text == px_event_topic(event) && text != event->topic ? 2 : 1);
	}
	draft->first_param = draft->count;
	for (size_t i = 0; i < event->param_count; i++)
		add_value(draft, "params.", event->params[i].key, event->params[i].value,
		    strlen(event->params[i].key) + strlen("\"\":\"\","), 1);
	if (event->event != NULL)
		px_event_meaning(px_slice(event->event), &draft->meaning);
	/* One that was cut may have lost the number's end. */
	if (event->description != NULL && strlen(event->description) + 4 <= PX_VALUE_MAX)
		draft->has_measurement = px_measure(px_slice(event->description), &draft->measurement);
	return measure_bare(draft, err);
}

/*
 * The greatest level at which the document fits when no value is longer, or 0 when there is none. The length does not
 * always fall with the level, since each cut is told: so a coarse walk down, then a finer search above its end.
 */
static size_t
find_level(const struct draft *draft)
{
	size_t above = PX_VALUE_MAX;
	size_t level = PX_VALUE_MAX;

	while (level > 0 && document_len(draft, level) > BODY_MAX) {
		above = level;
		level -= level / 16 + 1;
	}
	while (level > 0 && above - level > 1) {
		size_t between = level + (above - level) / 2;

		if (document_len(draft, between) > BODY_MAX)
			above = between;
		else
			level = between;
	}
	return level;
}

/* Leaves parameters out, the last first, until the rest fits at ${level}. */
static void
leave_out_params(struct draft *draft, size_t level)
{
	struct px_event *event = draft->event;
	size_t len = document_len(draft, level);

	while (draft->count > draft->first_param && len > BODY_MAX) {
		struct px_param *param = &event->params[--event->param_count];

		len -= value_len(&draft->values[--draft->count], level);
		draft->left_out++;
		free(param->key);
		free(param->value);
	}
}

static void
cut_values(struct draft *draft, size_t level)
{
	for (size_t i = 0; i < draft->count; i++) {
		struct value *value = &draft->values[i];

		if (value->len <= level)
			continue;
		value->len = px_text_cut(value->text, value->len, level);
		value->text[value->len] = '\0';
		value->cut = true;
	}
}

struct key {
	const char *text;
	size_t at;
};

static int
compare_keys(const void *left, const void *right)
{
	const struct key *one = left;
	const struct key *other = right;
	int order = strcmp(one->text, other->text);

	return order != 0 ? order : one->at < other->at ? -1 : one->at > other->at;
}

/* Gives the first of the params at ${keys}, which have one key, the value of the last, and the others no key. */
static void
join_params(struct px_event *event, const struct key *keys, size_t count)
{
	struct px_param *first = &event->params[keys[0].at];

	px_problems_add(&event->problems, "params.%s was given %zu times, the last one counts", first->key, count);
	for (size_t i = 1; i < count; i++) {
		struct px_param *param = &event->params[keys[i].at];

		free(first->value);
		first->value = param->value;
		free(param->key);
		*param = (struct px_param){ NULL, NULL };
	}
}

/* By a sorted index: a hundred thousand parameters are no reason to compare each with each. */
static int
join_repeated_params(struct px_event *event, struct px_err *err)
{
	struct key *keys = event->param_count > 1 ? calloc(event->param_count, sizeof(*keys)) : NULL;
	size_t kept = 0;

	if (event->param_count <= 1)
		return 0;
	if (keys == NULL)
		return px_err_set(err, PX_BUG, "no memory for the event");
	for (size_t i = 0; i < event->param_count; i++)
		keys[i] = (struct key){ event->params[i].key, i };
	qsort(keys, event->param_count, sizeof(*keys), compare_keys);
	for (size_t i = 0, same; i < event->param_count; i += same) {
		for (same = 1; i + same < event->param_count && strcmp(keys[i].text, keys[i + same].text) == 0; same++)
			;
		if (same > 1)
			join_params(event, keys + i, same);
	}
	free(keys);
	for (size_t i = 0; i < event->param_count; i++)
		if (event->params[i].key != NULL)
			event->params[kept++] = event->params[i];
	event->param_count = kept;
	return 0;
}

int
px_event_write(struct px_event *event, const struct px_now *made, struct px_buf *body, struct px_err *err)
{
	struct draft draft = { .event = event, .made = made };
	size_t level;
	int rc = -1;

	if (join_repeated_params(event, err) == -1 || make_draft(&draft, err) == -1)
		goto out;
	level = find_level(&draft);
	if (level == 0) {
		level = LEAST_LEVEL;
		leave_out_params(&draft, level);
	}
	cut_values(&draft, level);
	write_document(body, &draft);
	rc = px_buf_check(body, "the event", err);
out:
	free(draft.values);
	return rc;
}
