/* SPDX-License-Identifier: MIT */
#include "spool_pages.h"

#define PAYLOAD_MAX (8 << 20)	/* as for SQLite, SPOOL_LENGTH_MAX of spool_db.h */

uint32_t
px_big_endian(const uint8_t *bytes, size_t count)
{
	uint32_t value = 0;

	for (size_t i = 0; i < count; i++)
		value = value << 8 | bytes[i];
	return value;
}

size_t
px_varint(const uint8_t *bytes, size_t len, uint64_t *out)
{
	*out = 0;
	for (size_t i = 0; i < len && i < 9; i++) {
		if (i == 8) {
			*out = *out << 8 | bytes[i];
			return 9;
		}
		*out = *out << 7 | (bytes[i] & 0x7f);
		if ((bytes[i] & 0x80) == 0)
			return i + 1;
	}
	return 0;
}

/* How much of a payload stays in a leaf (format, 1.6, "the amount of payload that spills"). */
static size_t
local_part(size_t payload, size_t size, bool has_key)
{
	size_t most = has_key ? size - 35 : (size - 12) * 64 / 255 - 23;
	size_t least = (size - 12) * 32 / 255 - 23;
	size_t part;

	if (payload <= most)
		return payload;
	part = least + (payload - least) % (size - 4);
	return part <= most ? part : least;
}

bool
px_cell_read(const uint8_t *page, size_t size, size_t at, bool has_key, struct px_cell *out)
{
	uint64_t payload;
	uint64_t key = 0;
	size_t used;

	*out = (struct px_cell){ .key = 0 };
	if (at >= size || (used = px_varint(page + at, size - at, &payload)) == 0 || payload < 1 || payload > PAYLOAD_MAX)
		return false;
	at += used;
	if (has_key) {
		if ((used = px_varint(page + at, size - at, &key)) == 0 || key > INT64_MAX)
			return false;
		at += used;
	}
	out->key = (int64_t)key;
	out->payload = (size_t)payload;
	out->local = local_part(out->payload, size, has_key);
	out->bytes = page + at;
	if (size - at < out->local + (out->local < out->payload ? 4 : 0))
		return false;
	if (out->local < out->payload)
		out->overflow = px_big_endian(page + at + out->local, 4);
	return true;
}

/* The bytes that a value of this serial type has (format, 2.1); -1: no such type. */
static int64_t
length_of(uint64_t type)
{
	static const int8_t lengths[] = { 0, 1, 2, 3, 4, 6, 8, 8, 0, 0, -1, -1 };

	if (type < sizeof(lengths))
		return lengths[type];
	return type > 2 * (uint64_t)PAYLOAD_MAX + 13 ? -1 : (int64_t)(type - 12) / 2;
}

static bool
has_shape(uint64_t type, char shape)
{
	bool is_integer = (type >= 1 && type <= 6) || type == 8 || type == 9;
	bool is_text = type >= 13 && type % 2 == 1;

	switch (shape) {
	case 'n':
		return type == 0;
	case 'i':
		return is_integer;
	case 'I':
		return is_integer || type == 0;
	case 't':
		return is_text;
	case 'T':
		return is_text || type == 0;
	case 'u':
		return type == 12 + 2 * 16;
	case 'b':
		return type >= 12 && type % 2 == 0;
	default:
		return true;
	}
}

bool
px_row_parse(const uint8_t *bytes, size_t len, size_t payload, const char *shape, struct px_row *row)
{
	uint64_t header;
	size_t at = px_varint(bytes, len, &header);
	size_t value;

	row->count = 0;
	if (at == 0 || header < at || header > len || header > payload)
		return false;
	value = (size_t)header;
	while (at < header) {
		struct px_column *column = &row->columns[row->count];
		char letter = shape[row->count];
		size_t used;
		int64_t length;

		if (letter == '\0' || row->count == PX_ROW_COLUMNS ||
		    (used = px_varint(bytes + at, (size_t)header - at, &column->type)) == 0 ||
		    (length = length_of(column->type)) == -1 || !has_shape(column->type, letter) || (size_t)length > payload - value)
			return false;
		at += used;
		column->len = (size_t)length;
		column->bytes = value + column->len <= len ? bytes + value : NULL;
		value += column->len;
		row->count++;
	}
	return shape[row->count] == '\0' && value == payload;
}

int64_t
px_column_integer(const struct px_column *column)
{
	uint64_t value;

	if (column->type == 9)
		return 1;
	if (column->type < 1 || column->type > 6 || column->bytes == NULL)
		return 0;
	value = (column->bytes[0] & 0x80) != 0 ? UINT64_MAX : 0;
	for (size_t i = 0; i < column->len; i++)
		value = value << 8 | column->bytes[i];
	return (int64_t)value;
}

bool
px_column_is_null(const struct px_column *column)
{
	return column->type == 0;
}
