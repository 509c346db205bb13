/* SPDX-License-Identifier: MIT */
#include "payload.h"

#include <cjson/cJSON.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "batch.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))
#define DEPTH_MAX 64
#define DIGITS "0123456789"

static bool
is_one_of(const char *bytes, struct px_slice text, size_t at)
{
	return at < text.len && text.ptr[at] != '\0' && strchr(bytes, text.ptr[at]) != NULL;
}

/* Whether what stands outside of strings at ${at} begins a number such as 01, or ends one such as "1.". */
static bool
spoils_number(struct px_slice text, size_t at)
{
	if (text.ptr[at] == '.')
		return !is_one_of(DIGITS, text, at + 1);
	if (text.ptr[at] != '0' || !is_one_of(DIGITS, text, at + 1))
		return false;
	if (at >= 2 && text.ptr[at - 1] == '-')
		return !is_one_of("eE", text, at - 2);
	return at == 0 || !is_one_of(DIGITS ".eE+", text, at - 1);
}

/*
 * Whether cJSON may see ${text}: not nested past DEPTH_MAX, and neither control characters nor numbers that RFC 8259 has
 * not (cJSON takes the first inside strings, and between values for blanks). Brackets that don't pair are cJSON's to find.
 */
static bool
is_tame(struct px_slice text)
{
	bool in_string = false;
	int depth = 0;

	for (size_t i = 0; i < text.len; i++) {
		char byte = text.ptr[i];

		if ((unsigned char)byte < ' ' && (in_string || (byte != '\t' && byte != '\r' && byte != '\n')))
			return false;
		if (byte == '"') {
			in_string = !in_string;
		} else if (in_string) {
			/* What is escaped neither ends the string nor escapes what follows; a control character is none. */
			if (byte == '\\' && i + 1 < text.len && (unsigned char)text.ptr[i + 1] >= ' ')
				i++;
		} else if (byte == '[' || byte == '{') {
			if (++depth > DEPTH_MAX)
				return false;
		} else if (byte == ']' || byte == '}') {
			depth--;
		} else if (spoils_number(text, i)) {
			return false;
		}
	}
	return true;
}

/* cJSON does not tell a document that is none from one that there is no memory for. */
static bool out_of_memory;

static void *
allocate(size_t size)
{
	void *memory = malloc(size);

	out_of_memory = out_of_memory || memory == NULL;
	return memory;
}

/* The one JSON document that ${text} is, to be freed by cJSON_Delete; NULL when it is not one. */
static cJSON *
parse(struct px_slice text)
{
	cJSON_Hooks hooks = { .malloc_fn = allocate, .free_fn = free };
	const char *end = NULL;
	cJSON *document;

	out_of_memory = false;
	if (text.len == 0 || !is_tame(text))
		return NULL;
	cJSON_InitHooks(&hooks);
	document = cJSON_ParseWithLengthOpts(text.ptr, text.len, &end, 0);
	if (document == NULL)
		return NULL;
	if (px_slice_trim((struct px_slice){ end, (size_t)(text.ptr + text.len - end) }).len > 0) {
		cJSON_Delete(document);
		return NULL;
	}
	return document;
}

/*
 * Finds the member ${name} of ${object}: NULL in ${out} when it has none. -1 when it has more than one, which each reader
 * takes differently (RFC 8259, section 4).
 */
static int
find_member(const cJSON *object, const char *name, cJSON **out)
{
	*out = NULL;
	if (!cJSON_IsObject(object))
		return 0;
	for (cJSON *member = object->child; member != NULL; member = member->next) {
		if (strcmp(member->string, name) != 0)
			continue;
		if (*out != NULL)
			return -1;
		*out = member;
	}
	return 0;
}

/* The member ${name} when it is there once and is a string, else NULL. */
static const char *
find_text(const cJSON *object, const char *name)
{
	cJSON *member;

	if (find_member(object, name, &member) == -1 || member == NULL || !cJSON_IsString(member))
		return NULL;
	return member->valuestring;
}

/* Copies ${text}, trimmed, valid UTF-8 and cut at a character's end, into ${out}. -1 for want of memory. */
static int
copy_clean(char *out, size_t size, struct px_slice text)
{
	struct px_slice trimmed = px_slice_trim(text);
	struct px_buf clean = PX_BUF(SIZE_MAX / 4);
	size_t len;
	int rc = -1;

	/* Cleaning makes nothing shorter: what lies further back is cut anyway. */
	px_text_clean(&clean, trimmed.ptr, trimmed.len < 2 * size ? trimmed.len : 2 * size);
	if (!clean.failed) {
		len = px_text_cut(px_buf_text(&clean), clean.len, size - 1);
		(void)snprintf(out, size, "%.*s", (int)len, px_buf_text(&clean));
		rc = 0;
	}
	px_buf_clear(&clean);
	return rc;
}

static enum px_body
body_by_type(const char *type)
{
	static const struct {
		const char *type;
		enum px_body body;
	} types[] = {
		{ "application/json", PX_BODY_JSON },
		{ "text/json", PX_BODY_JSON },
		{ "text/html", PX_BODY_HTML },
		{ "application/xhtml+xml", PX_BODY_HTML },
	};
	size_t len = strlen(type);
	size_t suffix = strlen("+json");

	for (size_t i = 0; i < COUNT(types); i++)
		if (strcmp(type, types[i].type) == 0)
			return types[i].body;
	return len > suffix && strcmp(type + len - suffix, "+json") == 0 ? PX_BODY_JSON : PX_BODY_OTHER;
}

/* A UUID in upper case is the same one (RFC 9562, section 4); what is none is kept for the log. */
static void
copy_id(char id[2 * PX_ID_MAX], const char *text)
{
	struct px_buf clean = PX_BUF(PX_REPLY_MAX * 3);
	size_t len = strlen(text);
	char lower[PX_ID_MAX];

	for (size_t i = 0; len == PX_ID_MAX - 1 && i < PX_ID_MAX; i++)
		lower[i] = (char)(text[i] >= 'A' && text[i] <= 'F' ? text[i] - 'A' + 'a' : text[i]);
	if (len == PX_ID_MAX - 1 && px_id_is_valid(px_slice(lower))) {
		memcpy(id, lower, PX_ID_MAX);
		return;
	}
	px_text_clean(&clean, text, len);
	len = px_text_cut(px_buf_text(&clean), clean.len, 2 * PX_ID_MAX - 1);
	memcpy(id, px_buf_text(&clean), len);
	id[len] = '\0';
	px_buf_clear(&clean);
}

static char *
copy_reason(const char *text)
{
	char reason[PX_REASON_MAX];

	if (copy_clean(reason, sizeof(reason), px_slice(text)) == -1)
		return NULL;
	return strdup(reason[0] != '\0' ? reason : "no reason given");
}

/* Reads "rejected" of ${document} into ${out}, whose body is PX_BODY_NOT_JSON where it is not as it should be. */
static int
read_rejected(const cJSON *document, struct px_answer *out)
{
	cJSON *rejected;
	size_t count = 0;

	if (find_member(document, "rejected", &rejected) == -1 || (rejected != NULL && !cJSON_IsArray(rejected))) {
		out->body = PX_BODY_NOT_JSON;
		return 0;
	}
	if (rejected == NULL || rejected->child == NULL)
		return 0;
	for (const cJSON *one = rejected->child; one != NULL; one = one->next) {
		if (find_text(one, "id") == NULL || find_text(one, "reason") == NULL) {
			out->body = PX_BODY_NOT_JSON;
			return 0;
		}
		count++;
	}
	out->rejected = calloc(count, sizeof(*out->rejected));
	if (out->rejected == NULL)
		return -1;
	for (const cJSON *one = rejected->child; one != NULL; one = one->next) {
		struct px_rejection *rejection = &out->rejected[out->rejected_count];

		copy_id(rejection->id, find_text(one, "id"));
		rejection->reason = copy_reason(find_text(one, "reason"));
		if (rejection->reason == NULL)
			return -1;
		out->rejected_count++;
	}
	return 0;
}

/* "title: detail" of a problem document, or what it has of them. */
static int
read_problem(const cJSON *document, struct px_answer *out)
{
	const char *title = find_text(document, "title");
	const char *detail = find_text(document, "detail");
	struct px_buf both = PX_BUF(PX_REPLY_MAX + 2);
	int rc;

	px_buf_add_text(&both, title != NULL ? title : "");
	px_buf_add_text(&both, title != NULL && detail != NULL ? ": " : "");
	px_buf_add_text(&both, detail != NULL ? detail : "");
	rc = both.failed ? -1 : copy_clean(out->problem, sizeof(out->problem), (struct px_slice){ px_buf_text(&both), both.len });
	px_buf_clear(&both);
	return rc;
}

static int
read_json(const struct px_reply *reply, struct px_slice text, struct px_answer *out)
{
	cJSON *document = reply->body_cut ? NULL : parse(text);
	int rc = 0;

	if (document == NULL) {
		out->body = PX_BODY_NOT_JSON;
		return 0;
	}
	if (strcmp(reply->type, "application/problem+json") == 0)
		rc = read_problem(document, out);
	if (rc == 0)
		rc = read_rejected(document, out);
	cJSON_Delete(document);
	return rc;
}

int
px_payload_answer(const struct px_reply *reply, struct px_answer *out, struct px_err *err)
{
	struct px_slice text = { px_buf_text(&reply->body), reply->body.len };
	int rc = 0;

	*out = (struct px_answer){ .body = PX_BODY_EMPTY };
	if (text.len == 0)
		return 0;
	out->body = body_by_type(reply->type);
	if (out->body == PX_BODY_JSON)
		rc = read_json(reply, text, out);
	else if (strcmp(reply->type, "text/plain") == 0)
		rc = copy_clean(out->problem, sizeof(out->problem), (struct px_slice){ text.ptr, strcspn(text.ptr, "\r\n") });
	if (rc == -1) {
		px_answer_clear(out);
		return px_err_set(err, PX_BUG, "no memory for a reply of %zu bytes", text.len);
	}
	return 0;
}

void
px_answer_clear(struct px_answer *answer)
{
	for (size_t i = 0; i < answer->rejected_count; i++)
		free(answer->rejected[i].reason);
	free(answer->rejected);
	*answer = (struct px_answer){ .body = PX_BODY_EMPTY };
}

static int
check_token(struct px_slice token, struct px_err *err)
{
	if (token.len == 0)
		return px_err_set(err, PX_DENIED, "there is no token in what was given for one");
	for (size_t i = 0; i < token.len; i++)
		if (token.ptr[i] <= ' ' || token.ptr[i] > '~')
			return px_err_set(err, PX_DENIED, "the token holds a character that is not visible ASCII");
	return 0;
}

static int
read_token(const cJSON *document, int64_t now_s, struct px_buf *token, struct px_err *err)
{
	const char *text = find_text(document, "access_token");
	cJSON *expires_at;

	if (text == NULL)
		return px_err_set(err, PX_DENIED, "there is no access_token in the JSON that was given for a token");
	if (find_member(document, "expires_at", &expires_at) == -1)
		return px_err_set(err, PX_DENIED, "the token has more than one expires_at");
	if (expires_at != NULL && cJSON_IsNumber(expires_at) && expires_at->valuedouble <= (double)now_s)
		return px_err_set(err, PX_DENIED, "the token is expired");
	if (check_token(px_slice(text), err) == -1)
		return -1;
	px_buf_add_text(token, text);
	return px_buf_check(token, "a token", err);
}

/* Overwrites the strings of an object before their memory goes back. */
static void
wipe(cJSON *document)
{
	for (cJSON *member = document->child; member != NULL; member = member->next)
		if (cJSON_IsString(member))
			explicit_bzero(member->valuestring, strlen(member->valuestring));
}

int
px_payload_token(struct px_slice printed, int64_t now_s, struct px_buf *token, struct px_err *err)
{
	struct px_slice text = px_slice_trim(printed);
	cJSON *document;
	int rc;

	if (text.len == 0 || text.ptr[0] != '{') {
		if (check_token(text, err) == -1)
			return -1;
		px_buf_add(token, text.ptr, text.len);
		return px_buf_check(token, "a token", err);
	}
	document = parse(text);
	if (document == NULL)
		return px_err_set(err, PX_DENIED, "what was given for a token begins like JSON and is not one JSON document");
	rc = read_token(document, now_s, token, err);
	wipe(document);
	cJSON_Delete(document);
	return rc;
}

/*
 * The start of a document without seq, as px_item_join and px_item_begin write it; '.' stands for any byte. What follows
 * is the body's.
 */
static const char start_of_document[] =
    "{\"id\":\"....................................\",\"time\":\"........................\"";

#define ID_AT (sizeof("{\"id\":\"") - 1)
#define BODY_AT (ID_AT + PX_ID_MAX - 1 + sizeof("\",") - 1)
#define TIME_AT (BODY_AT + sizeof("\"time\":\"") - 1)
#define TIME_LEN (sizeof("2026-11-22T14:55:47.123Z") - 1)

static int
take_start(struct px_slice document, struct px_item *item, struct px_err *err)
{
	if (document.len < sizeof(start_of_document))
		return px_err_set(err, PX_STORAGE, "%zu %s no event", document.len,
		    px_text_plural((int64_t)document.len, "byte is", "bytes are"));
	for (size_t i = 0; i < sizeof(start_of_document) - 1; i++)
		if (start_of_document[i] != '.' && start_of_document[i] != document.ptr[i])
			return px_err_set(err, PX_STORAGE, "it does not begin with an id and a time");
	if (!px_id_is_valid((struct px_slice){ document.ptr + ID_AT, PX_ID_MAX - 1 }))
		return px_err_set(err, PX_STORAGE, "its id is no UUID");
	if (px_text_from_time_ms((struct px_slice){ document.ptr + TIME_AT, TIME_LEN }, &item->time_ms) == -1)
		return px_err_set(err, PX_STORAGE, "its time is none");
	memcpy(item->id, document.ptr + ID_AT, PX_ID_MAX - 1);
	item->id[PX_ID_MAX - 1] = '\0';
	return 0;
}

/* Takes the topic, and sees to it that what makes an item is there as often as it should be. */
static int
take_members(const cJSON *event, struct px_buf *topic, struct px_err *err)
{
	static const struct {
		const char *name;
		bool wanted;
	} members[] = {
		{ "id", true },
		{ "seq", false },
		{ "time", true },
		{ "topic", true },
	};
	const char *text = find_text(event, "topic");

	for (size_t i = 0; i < COUNT(members); i++) {
		cJSON *member;

		if (find_member(event, members[i].name, &member) == -1 || (member != NULL) != members[i].wanted)
			return px_err_set(err, PX_STORAGE, "it has %s", members[i].wanted ? "no topic, or a member twice" :
			    "a seq");
	}
	if (text == NULL)
		return px_err_set(err, PX_STORAGE, "its topic is no text");
	px_buf_add_text(topic, text);
	if (topic->failed && strlen(text) <= topic->max)
		return px_err_set(err, PX_BUG, "no memory to read it");
	if (topic->failed)
		return px_err_set(err, PX_STORAGE, "its topic has more than %zu bytes", topic->max);
	return 0;
}

static bool
is_utf8(struct px_slice text)
{
	struct px_buf clean = PX_BUF(3 * text.len);
	bool same;

	px_text_clean(&clean, text.ptr, text.len);
	out_of_memory = clean.failed;		/* cleaned it is three times as long at most */
	same = !clean.failed && clean.len == text.len && memcmp(px_buf_text(&clean), text.ptr, text.len) == 0;
	px_buf_clear(&clean);
	return same;
}

int
px_payload_event(struct px_slice document, struct px_item *item, struct px_buf *topic, struct px_buf *body,
    struct px_err *err)
{
	struct px_slice text = px_slice_trim(document);
	cJSON *event = NULL;
	int rc = -1;

	*item = (struct px_item){ .kind = PX_EVENT };
	if (text.len > PX_EVENT_MAX)
		return px_err_set(err, PX_STORAGE, "it has more than %d bytes", PX_EVENT_MAX);
	if (take_start(text, item, err) == -1)
		return -1;
	event = is_utf8(text) ? parse(text) : NULL;
	if (event == NULL) {
		(void)px_err_set(err, out_of_memory ? PX_BUG : PX_STORAGE, out_of_memory ? "no memory to read it" :
		    "it is not one JSON document in UTF-8");
		goto out;
	}
	if (take_members(event, topic, err) == -1)
		goto out;
	px_buf_add_byte(body, '{');
	px_buf_add(body, text.ptr + BODY_AT, text.len - BODY_AT);
	if (body->failed) {
		/* By its length it fits. */
		(void)px_err_set(err, PX_BUG, "no memory to read it");
		goto out;
	}
	item->topic = (struct px_slice){ px_buf_text(topic), topic->len };
	item->body = (struct px_slice){ px_buf_text(body), body->len };
	rc = 0;
out:
	cJSON_Delete(event);
	return rc;
}
