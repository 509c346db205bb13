/* SPDX-License-Identifier: MIT */
/* Who this device is and where it reports to. */
#include "config_parts.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#define IDENTITY_FILE "/etc/px-device-identity/device.yml"
#define MACHINE_ID_FILE "/etc/machine-id"

/* What an identity file says, "" where it does not. */
struct identity {
	char id[PX_CONFIG_TEXT_MAX];
	char host[PX_CONFIG_TEXT_MAX];
};

/* The value of a flat line, without its quotes; without them a '#' behind a blank begins a comment (YAML 1.2, 6.6). */
static struct px_slice
unquote(struct px_slice text)
{
	const char *end = NULL;

	if (text.len > 0 && (text.ptr[0] == '"' || text.ptr[0] == '\''))
		end = memchr(text.ptr + 1, text.ptr[0], text.len - 1);
	if (end != NULL)
		return (struct px_slice){ text.ptr + 1, (size_t)(end - text.ptr) - 1 };
	for (size_t i = 0; i < text.len; i++)
		if (text.ptr[i] == '#' && (i == 0 || px_config_is_space(text.ptr[i - 1])))
			return px_config_trim((struct px_slice){ text.ptr, i });
	return text;
}

/* Of a key that comes twice the first counts. */
static int
parse_identity(struct identity *identity, struct px_slice content, const char *path, struct px_err *err)
{
	struct px_slice line;

	px_config_skip_mark(&content);
	while (px_config_next_line(&content, &line)) {
		const char *colon = line.len > 0 ? memchr(line.ptr, ':', line.len) : NULL;
		struct px_slice key = line;
		struct px_slice value;
		char *to;

		if (colon == NULL)
			continue;
		key.len = (size_t)(colon - line.ptr);
		value = unquote(px_config_trim(px_slice_behind(line, key.len + 1)));
		while (key.len > 0 && px_config_is_space(key.ptr[key.len - 1]))
			key.len--;
		to = px_slice_is(key, "id") ? identity->id : px_slice_is(key, "host") ? identity->host : NULL;
		if (to == NULL || to[0] != '\0')
			continue;
		if (value.len >= PX_CONFIG_TEXT_MAX || !px_config_is_plain(value))
			return px_err_set(err, PX_CONFIG, "'%s': %.*s is too long, not UTF-8, or has a control character", path,
			    (int)key.len, key.ptr);
		memcpy(to, value.ptr, value.len);
	}
	return 0;
}

/* The identity file in force, its name in ${path}; that is "" when there is none. */
static int
read_identity(struct identity *identity, const struct px_config *config, const char **path, struct px_err *err)
{
	bool is_configured = config->device.identity_file[0] != '\0';
	struct px_buf content = PX_BUF(CONFIG_FILE_MAX);
	int rc;

	*path = is_configured ? config->device.identity_file : IDENTITY_FILE;
	rc = px_config_read_file(*path, &content, err);
	if (rc == 0) {
		rc = parse_identity(identity, (struct px_slice){ px_buf_text(&content), content.len }, *path, err);
	} else if (err->code == PX_ABSENT && !is_configured) {
		*path = "";
		rc = 0;
	} else {
		err->code = PX_CONFIG;
		(void)px_err_prefix(err, "[device] identity_file");
	}
	px_buf_clear(&content);
	return rc;
}

/* "" when there is none, or none yet: machine-id(5) has it "uninitialized" early in a first boot. */
static void
read_machine_id(char out[PX_CONFIG_TEXT_MAX])
{
	struct px_buf content = PX_BUF(CONFIG_FILE_MAX);
	struct px_slice id = { "", 0 };
	struct px_err err;

	if (px_config_read_file(MACHINE_ID_FILE, &content, &err) == 0)
		id = px_config_trim((struct px_slice){ px_buf_text(&content), content.len });
	if (id.len >= PX_CONFIG_TEXT_MAX || px_slice_is(id, "uninitialized") || !px_config_is_plain(id))
		id.len = 0;
	memcpy(out, id.ptr, id.len);
	out[id.len] = '\0';
	px_buf_clear(&content);
}

/* FNV-1a, 64 bits: not to hide anything, to tell one machine from another. */
static uint64_t
hash(const char *text)
{
	uint64_t value = UINT64_C(0xcbf29ce484222325);

	for (; *text != '\0'; text++)
		value = (value ^ (unsigned char)*text) * UINT64_C(0x100000001b3);
	return value;
}

/* Copies ${value}, and where it came from: ${path}, or that line of the configuration when ${line} is not 0. */
static void
take_fact(char out[PX_CONFIG_TEXT_MAX], const char *value, char origin[PX_CONFIG_ORIGIN_MAX], const char *path, int line)
{
	(void)snprintf(out, PX_CONFIG_TEXT_MAX, "%s", value);
	if (line > 0)
		(void)snprintf(origin, PX_CONFIG_ORIGIN_MAX, "%s:%d", path, line);
	else
		(void)snprintf(origin, PX_CONFIG_ORIGIN_MAX, "%s", path);
}

int
px_config_device(const struct px_config *config, const char *host_name, struct px_device *out, struct px_err *err)
{
	struct identity identity = { .id = "" };
	char machine_id[PX_CONFIG_TEXT_MAX];
	const char *identity_path = "";
	bool has_id = config->device.id[0] != '\0';
	bool has_url = config->upstream.url[0] != '\0';

	memset(out, 0, sizeof(*out));
	read_machine_id(machine_id);
	if (machine_id[0] != '\0')
		(void)snprintf(out->machine_hash, sizeof(out->machine_hash), "%016" PRIx64, hash(machine_id));
	(void)snprintf(out->name, sizeof(out->name), "%s", config->device.name[0] != '\0' ? config->device.name : host_name);
	if (has_id)
		take_fact(out->id, config->device.id, out->id_origin, config->file, config->line_of[px_config_find_key("device", "id")]);
	if (has_url)
		take_fact(out->url, config->upstream.url, out->url_origin, config->file,
		    config->line_of[px_config_find_key("upstream", "url")]);
	/* One that is named has to be there, whether it is needed or not. */
	if ((!has_id || !has_url || config->device.identity_file[0] != '\0') &&
	    read_identity(&identity, config, &identity_path, err) == -1)
		return -1;
	if (!has_id && identity.id[0] != '\0')
		take_fact(out->id, identity.id, out->id_origin, identity_path, 0);
	else if (!has_id && machine_id[0] != '\0')
		take_fact(out->id, machine_id, out->id_origin, MACHINE_ID_FILE, 0);
	if (out->id[0] == '\0')
		return px_err_set(err, PX_CONFIG, "this device has no id: neither [device] id, nor an identity file with one, nor '"
		    MACHINE_ID_FILE "'");
	if (has_url || identity.host[0] == '\0' || strcasecmp(identity.host, "NONE") == 0)
		return 0;
	if (px_config_check_url(identity.host, config->upstream.allow_http, err) == -1)
		return px_err_prefix(err, "'%s': host", identity_path);
	take_fact(out->url, identity.host, out->url_origin, identity_path, 0);
	return 0;
}
