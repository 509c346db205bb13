/* SPDX-License-Identifier: MIT */
/* Every key of the configuration: what it is, what it may be, and how it is read and printed. */
#include "config_parts.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define SOCKET_PATH_MAX 107	/* unix(7): sun_path and its NUL */
#define VALUE_SHOWN 40

#define S INT64_C(1000)
#define DAY (86400 * S)
#define KIB INT64_C(1024)

/* In the order of the enums of config.h. */
static const char *const sources[] = { "auto", "command", "socket", "http", NULL };
static const char *const auths[] = { "none", "bearer", "basic", NULL };
static const char *const compressions[] = { "gzip", "none", NULL };

#define AT(member) offsetof(struct px_config, member)

const struct config_key px_config_keys[] = {
	{ "device", "id", TYPE_TEXT, AT(device.id), "", 0, 0, NULL },
	{ "device", "name", TYPE_TEXT, AT(device.name), "", 0, 0, NULL },
	{ "device", "identity_file", TYPE_FILE, AT(device.identity_file), "", 0, 0, NULL },

	{ "spool", "path", TYPE_FILE, AT(spool.path), PX_CONFIG_DEFAULT_SPOOL, 0, 0, NULL },
	{ "spool", "max_items", TYPE_NUMBER, AT(spool.max_items), "100000", 1, 10000000, NULL },
	{ "spool", "max_bytes", TYPE_SIZE, AT(spool.max_bytes), "256M", KIB * KIB, KIB * KIB * KIB * KIB, NULL },

	{ "snapshot", "enabled", TYPE_YES_NO, AT(snapshot.enabled), "yes", 0, 0, NULL },
	{ "snapshot", "interval", TYPE_DURATION, AT(snapshot.interval_ms), "5m", S, 30 * DAY, NULL },
	{ "snapshot", "source", TYPE_CHOICE, AT(snapshot.source), "auto", 0, 0, sources },
	{ "snapshot", "command", TYPE_COMMAND, AT(snapshot.command), "monit -B status", 0, 0, NULL },
	{ "snapshot", "socket", TYPE_FILE, AT(snapshot.socket), "/run/monit.sock", 0, SOCKET_PATH_MAX, NULL },
	{ "snapshot", "url", TYPE_URL, AT(snapshot.url), "http://127.0.0.1:2812", 0, 0, NULL },
	{ "snapshot", "user", TYPE_TEXT, AT(snapshot.user), "", 0, 0, NULL },
	{ "snapshot", "password_file", TYPE_FILE, AT(snapshot.password_file), "", 0, 0, NULL },
	{ "snapshot", "timeout", TYPE_DURATION, AT(snapshot.timeout_ms), "10s", S, 30 * DAY, NULL },

	{ "upstream", "url", TYPE_URL, AT(upstream.url), "", 0, 0, NULL },
	{ "upstream", "path", TYPE_URL_PATH, AT(upstream.path), "/api/v1/devices/stats", 0, 0, NULL },
	{ "upstream", "auth", TYPE_CHOICE, AT(upstream.auth), "none", 0, 0, auths },
	{ "upstream", "token_file", TYPE_FILE, AT(upstream.token_file), "", 0, 0, NULL },
	{ "upstream", "token_command", TYPE_COMMAND, AT(upstream.token_command), "", 0, 0, NULL },
	{ "upstream", "user", TYPE_TEXT, AT(upstream.user), "", 0, 0, NULL },
	{ "upstream", "password_file", TYPE_FILE, AT(upstream.password_file), "", 0, 0, NULL },
	{ "upstream", "ca_file", TYPE_FILE, AT(upstream.ca_file), "", 0, 0, NULL },
	{ "upstream", "client_cert", TYPE_FILE, AT(upstream.client_cert), "", 0, 0, NULL },
	{ "upstream", "client_key", TYPE_FILE, AT(upstream.client_key), "", 0, 0, NULL },
	{ "upstream", "pinned_public_key", TYPE_PINS, AT(upstream.pinned_public_key), "", 0, 0, NULL },
	{ "upstream", "proxy", TYPE_PROXY, AT(upstream.proxy), "", 0, 0, NULL },
	{ "upstream", "proxy_user", TYPE_TEXT, AT(upstream.proxy_user), "", 0, 0, NULL },
	{ "upstream", "proxy_password_file", TYPE_FILE, AT(upstream.proxy_password_file), "", 0, 0, NULL },
	{ "upstream", "timeout", TYPE_DURATION, AT(upstream.timeout_ms), "30s", S, 30 * DAY, NULL },
	{ "upstream", "connect_timeout", TYPE_DURATION, AT(upstream.connect_timeout_ms), "10s", S, 30 * DAY, NULL },
	{ "upstream", "compression", TYPE_CHOICE, AT(upstream.compression), "gzip", 0, 0, compressions },
	{ "upstream", "allow_http", TYPE_YES_NO, AT(upstream.allow_http), "no", 0, 0, NULL },

	{ "batch", "max_items", TYPE_NUMBER, AT(batch.max_items), "500", 1, 10000, NULL },
	{ "batch", "max_bytes", TYPE_SIZE, AT(batch.max_bytes), "1M", 128 * KIB, 64 * KIB * KIB, NULL },

	{ "retry", "initial", TYPE_DURATION, AT(retry.initial_ms), "30s", S, 30 * DAY, NULL },
	{ "retry", "max", TYPE_DURATION, AT(retry.max_ms), "1h", S, 30 * DAY, NULL },

	{ "schedule", "splay", TYPE_DURATION, AT(schedule.splay_ms), "30s", 0, 30 * DAY, NULL },
};

_Static_assert(sizeof(px_config_keys) / sizeof(px_config_keys[0]) <= PX_CONFIG_KEYS_MAX,
    "px_config.line_of has no room for every key");
const size_t px_config_key_count = sizeof(px_config_keys) / sizeof(px_config_keys[0]);

/* A number with the largest of its units that leaves it whole. */
struct unit {
	const char *name;
	int64_t factor;
};

static const struct unit size_units[] = {
	{ "T", KIB * KIB * KIB * KIB }, { "G", KIB * KIB * KIB }, { "M", KIB * KIB }, { "k", KIB }, { "", 1 },
};
static const struct unit duration_units[] = { { "d", DAY }, { "h", 3600 * S }, { "m", 60 * S }, { "s", S } };

static void
print_units(char *out, size_t size, const struct unit *units, int64_t value)
{
	bool is_size = units == size_units;
	size_t last = (is_size ? sizeof(size_units) : sizeof(duration_units)) / sizeof(units[0]) - 1;
	size_t i = 0;

	while (i < last && (value == 0 || value % units[i].factor != 0))
		i++;
	(void)snprintf(out, size, "%" PRId64 "%s", value / units[i].factor, units[i].name);
}

const char *
px_config_print(const struct px_config *config, const struct config_key *key, char *out, size_t size)
{
	const char *at = (const char *)config + key->offset;
	const char *text;
	int64_t number;
	int choice;
	bool yes;

	switch (key->type) {
	case TYPE_TEXT:
	case TYPE_FILE:
	case TYPE_COMMAND:
	case TYPE_URL:
	case TYPE_URL_PATH:
	case TYPE_PROXY:
	case TYPE_PINS:
		memcpy(&text, at, sizeof(text));
		return text;
	case TYPE_YES_NO:
		memcpy(&yes, at, sizeof(yes));
		return yes ? "yes" : "no";
	case TYPE_CHOICE:
		memcpy(&choice, at, sizeof(choice));
		return key->choices[choice];
	case TYPE_NUMBER:
		memcpy(&number, at, sizeof(number));
		(void)snprintf(out, size, "%" PRId64, number);
		break;
	case TYPE_SIZE:
	case TYPE_DURATION:
		memcpy(&number, at, sizeof(number));
		print_units(out, size, key->type == TYPE_SIZE ? size_units : duration_units, number);
		break;
	}
	return out;
}

size_t
px_config_find_key(const char *section, const char *name)
{
	size_t i = 0;

	while (i < px_config_key_count &&
	    (strcmp(px_config_keys[i].section, section) != 0 || strcmp(px_config_keys[i].name, name) != 0))
		i++;
	return i;
}

/* Quotes are closed; what they group is for whoever runs it. */
static int
check_command(struct px_slice text, struct px_err *err)
{
	char quote = '\0';

	for (size_t i = 0; i < text.len; i++)
		if (quote == '\0' && (text.ptr[i] == '\'' || text.ptr[i] == '"'))
			quote = text.ptr[i];
		else if (quote == text.ptr[i])
			quote = '\0';
	return quote == '\0' ? 0 : px_err_set(err, PX_CONFIG, "a quote is not closed");
}

static int
check_text(const struct config_key *key, struct px_slice value, struct px_err *err)
{
	if (value.len == 0 && key->preset[0] != '\0')
		return px_err_set(err, PX_CONFIG, "no value");
	if (!px_config_is_plain(value))
		return px_err_set(err, PX_CONFIG, "not UTF-8, or a control character in it");
	if (value.len >= PX_CONFIG_TEXT_MAX || (key->max != 0 && value.len > (size_t)key->max))
		return px_err_set(err, PX_CONFIG, "longer than %" PRId64 " bytes",
		    key->max != 0 ? key->max : (int64_t)PX_CONFIG_TEXT_MAX - 1);
	if (value.len == 0)
		return 0;
	switch (key->type) {
	case TYPE_FILE:
		return value.ptr[0] == '/' && value.ptr[value.len - 1] != '/' ? 0 :
		    px_err_set(err, PX_CONFIG, "not the absolute path of a file");
	case TYPE_URL:
		return px_config_check_url_slice(value, true, err);	/* allow_http may come later */
	case TYPE_URL_PATH:
		return px_config_check_url_path(value, err);
	case TYPE_PROXY:
		return px_config_check_proxy(value, err);
	case TYPE_PINS:
		return px_config_check_pins(value, err);
	case TYPE_COMMAND:
		return check_command(value, err);
	case TYPE_TEXT:
	case TYPE_NUMBER:
	case TYPE_SIZE:
	case TYPE_DURATION:
	case TYPE_YES_NO:
	case TYPE_CHOICE:
		break;
	}
	return 0;
}

static int
refuse_choice(const struct config_key *key, const char *shown, struct px_err *err)
{
	struct px_buf choices = PX_BUF(PX_ERR_MAX);

	for (size_t i = 0; key->choices[i] != NULL; i++)
		px_buf_printf(&choices, "%s%s", i > 0 ? ", " : "", key->choices[i]);
	(void)px_err_set(err, PX_CONFIG, "'%s' is not one of %s", shown, px_buf_text(&choices));
	px_buf_clear(&choices);
	return -1;
}

static int
refuse_number(const struct config_key *key, const char *shown, struct px_err *err)
{
	const struct unit *units = key->type == TYPE_SIZE ? size_units : duration_units;
	char min[32];
	char max[32];

	if (key->type == TYPE_NUMBER)
		return px_err_set(err, PX_CONFIG, "'%s' is not a number from %" PRId64 " to %" PRId64, shown, key->min, key->max);
	print_units(min, sizeof(min), units, key->min);
	print_units(max, sizeof(max), units, key->max);
	return px_err_set(err, PX_CONFIG, "'%s' is not a %s from %s to %s", shown, key->type == TYPE_SIZE ? "size" : "duration",
	    min, max);
}

static void
set_text(struct px_config *config, const struct config_key *key, const char *text)
{
	memcpy((char *)config + key->offset, &text, sizeof(text));
}

static bool
is_text(const struct config_key *key)
{
	return key->type < TYPE_NUMBER;
}

/* Of each key one text is kept at most: there is room. */
static void
keep_text(struct px_config *config, const struct config_key *key, struct px_slice value)
{
	char *text = config->texts + config->texts_len;

	memcpy(text, value.ptr, value.len);
	text[value.len] = '\0';
	config->texts_len += value.len + 1;
	set_text(config, key, text);
}

int
px_config_set(struct px_config *config, const struct config_key *key, struct px_slice value, struct px_err *err)
{
	char *at = (char *)config + key->offset;
	char shown[CONFIG_ESCAPED_MAX * VALUE_SHOWN + sizeof("...")];
	int64_t number = 0;
	int rc = -1;
	int choice;
	bool yes;

	switch (key->type) {
	case TYPE_TEXT:
	case TYPE_FILE:
	case TYPE_COMMAND:
	case TYPE_URL:
	case TYPE_URL_PATH:
	case TYPE_PROXY:
	case TYPE_PINS:
		if (check_text(key, value, err) == -1)
			return -1;
		keep_text(config, key, value);
		return 0;
	case TYPE_YES_NO:
		if (px_text_to_bool(value, &yes) == -1)
			return px_err_set(err, PX_CONFIG, "'%s' is neither yes nor no", px_config_show(shown, sizeof(shown), value, VALUE_SHOWN));
		memcpy(at, &yes, sizeof(yes));
		return 0;
	case TYPE_CHOICE:
		for (choice = 0; key->choices[choice] != NULL && !px_slice_is(value, key->choices[choice]); choice++)
			continue;
		if (key->choices[choice] == NULL)
			return refuse_choice(key, px_config_show(shown, sizeof(shown), value, VALUE_SHOWN), err);
		memcpy(at, &choice, sizeof(choice));
		return 0;
	case TYPE_NUMBER:
		rc = px_text_to_int64(value, key->min, key->max, &number);
		break;
	case TYPE_SIZE:
		rc = px_text_to_bytes(value, &number);
		break;
	case TYPE_DURATION:
		rc = px_text_to_duration_ms(value, &number);
		break;
	}
	if (rc == -1 || number < key->min || number > key->max)
		return refuse_number(key, px_config_show(shown, sizeof(shown), value, VALUE_SHOWN), err);
	memcpy(at, &number, sizeof(number));
	return 0;
}

void
px_config_init(struct px_config *config)
{
	struct px_err err;

	memset(config, 0, offsetof(struct px_config, texts));
	for (size_t i = 0; i < px_config_key_count; i++)
		if (is_text(&px_config_keys[i]))
			set_text(config, &px_config_keys[i], px_config_keys[i].preset);
		else if (px_config_set(config, &px_config_keys[i], px_slice(px_config_keys[i].preset), &err) == -1)
			continue;	/* never: a test reads every preset back */
	config->file = "";
}

void
px_config_each(const struct px_config *config, px_config_each_fn *each, void *arg)
{
	char out[32];

	for (size_t i = 0; i < px_config_key_count; i++)
		each(arg, px_config_keys[i].section, px_config_keys[i].name,
		    px_config_print(config, &px_config_keys[i], out, sizeof(out)), config->line_of[i]);
}
