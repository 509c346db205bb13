/* SPDX-License-Identifier: MIT */
#include "monitrc.h"

#include <string.h>

#define BLANKS " \t\r\n\v\f"

struct token {
	struct px_slice text;
	bool is_quoted;
	size_t line;
};

struct reading {
	const char *at;
	const char *end;
	size_t line;
	struct px_slice type;		/* of the block, as in check TYPE SERVICE */
	struct px_slice service;
	px_monitrc_fn *each;
	void *arg;
};

static bool
is_blank(char byte)
{
	return byte != '\0' && strchr(BLANKS, byte) != NULL;
}

static void
step(struct reading *reading)
{
	if (*reading->at++ == '\n')
		reading->line++;
}

static void
skip_blanks_and_comments(struct reading *reading)
{
	while (reading->at < reading->end) {
		if (*reading->at == '#')
			while (reading->at < reading->end && *reading->at != '\n')
				step(reading);
		else if (is_blank(*reading->at))
			step(reading);
		else
			break;
	}
}

/* A quote that is not closed ends with the text. False at the end. */
static bool
next_token(struct reading *reading, struct token *token)
{
	char quote;

	skip_blanks_and_comments(reading);
	if (reading->at == reading->end)
		return false;
	token->line = reading->line;
	quote = *reading->at;
	token->is_quoted = quote == '"' || quote == '\'';
	if (token->is_quoted)
		step(reading);
	token->text.ptr = reading->at;
	while (reading->at < reading->end && (token->is_quoted ? *reading->at != quote : !is_blank(*reading->at) &&
	    *reading->at != '"' && *reading->at != '\''))
		step(reading);
	token->text.len = (size_t)(reading->at - token->text.ptr);
	if (token->is_quoted && reading->at < reading->end)
		step(reading);
	return true;
}

static bool
is_word(const struct token *token, const char *word)
{
	return !token->is_quoted && px_slice_is_nocase(token->text, word);
}

static void
tell(const struct reading *reading, enum px_monitrc_kind kind, const struct token *token)
{
	struct px_monitrc_fact fact = {
		.kind = kind,
		.text = token->text,
		.service = reading->service,
		.in_system = px_slice_is_nocase(reading->type, "system"),
		.line = token->line,
	};

	reading->each(reading->arg, &fact);
}

/* check TYPE SERVICE */
static void
begin_block(struct reading *reading)
{
	struct token type;
	struct token service;

	if (!next_token(reading, &type) || !next_token(reading, &service))
		return;
	reading->type = type.text;
	reading->service = service.text;
	tell(reading, PX_MONITRC_SERVICE, &service);
}

void
px_monitrc_read(struct px_slice text, px_monitrc_fn *each, void *arg)
{
	struct reading reading = { .at = text.ptr, .end = text.ptr + text.len, .line = 1, .each = each, .arg = arg };
	struct token token;
	struct token next;

	while (next_token(&reading, &token)) {
		bool is_exec = is_word(&token, "exec") || (is_word(&token, "path") && px_slice_is_nocase(reading.type, "program"));

		if (is_word(&token, "check"))
			begin_block(&reading);
		else if (is_word(&token, "include") && next_token(&reading, &next))
			tell(&reading, PX_MONITRC_INCLUDE, &next);
		else if (is_word(&token, "interface") && px_slice_is_nocase(reading.type, "network") && next_token(&reading, &next))
			tell(&reading, PX_MONITRC_INTERFACE, &next);
		else if (is_exec && next_token(&reading, &next))
			tell(&reading, PX_MONITRC_COMMAND, &next);
		else if (is_word(&token, "set"))
			reading.type = reading.service = (struct px_slice){ "", 0 };
	}
}
