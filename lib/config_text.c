/* SPDX-License-Identifier: MIT */
/* The files of a device's configuration, and what stands in their lines. */
#include "config_parts.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

const char *
px_config_show(char *out, size_t size, struct px_slice text, size_t max)
{
	struct px_buf shown = PX_BUF(CONFIG_ESCAPED_MAX * CONFIG_FILE_MAX);
	bool cut = text.len > max;

	px_text_escape(&shown, text.ptr, cut ? px_text_cut(text.ptr, text.len, max) : text.len);
	(void)snprintf(out, size, "%s%s", px_buf_text(&shown), cut ? "..." : "");
	px_buf_clear(&shown);
	return out;
}

/* Valid UTF-8 without control characters: then there is nothing to escape in it. */
bool
px_config_is_plain(struct px_slice text)
{
	struct px_buf escaped = PX_BUF(CONFIG_ESCAPED_MAX * CONFIG_FILE_MAX);
	bool plain;

	px_text_escape(&escaped, text.ptr, text.len);
	plain = !escaped.failed && escaped.len == text.len && memcmp(px_buf_text(&escaped), text.ptr, text.len) == 0;
	px_buf_clear(&escaped);
	return plain;
}

bool
px_config_is_space(char byte)
{
	return byte == ' ' || (byte >= '\t' && byte <= '\r');	/* isspace(3), by which inih goes */
}

struct px_slice
px_config_trim(struct px_slice text)
{
	while (text.len > 0 && px_config_is_space(text.ptr[0]))
		text = px_slice_behind(text, 1);
	while (text.len > 0 && px_config_is_space(text.ptr[text.len - 1]))
		text.len--;
	return text;
}

static bool
is_null_device(const struct stat *st)
{
	return S_ISCHR(st->st_mode) && st->st_rdev == makedev(1, 3);
}

/*
 * A regular file, or /dev/null, of at most CONFIG_FILE_MAX bytes, without ever waiting. -1 with PX_ABSENT when there is
 * none, else PX_CONFIG.
 */
int
px_config_read_file(const char *path, struct px_buf *out, struct px_err *err)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	int error_number = errno;
	char shown[PX_ERR_MAX];
	char chunk[4096];
	struct stat st;
	ssize_t count;
	int rc = -1;

	(void)px_config_show(shown, sizeof(shown), px_slice(path), sizeof(shown) / 4);
	if (fd == -1)
		return px_err_set_errno(err, error_number == ENOENT ? PX_ABSENT : PX_CONFIG, error_number, "cannot open '%s'", shown);
	if (fstat(fd, &st) == -1 || (!S_ISREG(st.st_mode) && !is_null_device(&st))) {
		(void)px_err_set(err, PX_CONFIG, "cannot read '%s': not a regular file", shown);
		goto out;
	}
	while ((count = read(fd, chunk, sizeof(chunk))) > 0 || (count == -1 && errno == EINTR))
		px_buf_add(out, chunk, count > 0 ? (size_t)count : 0);
	if (count == -1)
		(void)px_err_set_errno(err, PX_CONFIG, errno, "cannot read '%s'", shown);
	else if (out->failed)
		(void)px_err_set(err, PX_CONFIG, "cannot read '%s': more than %d bytes", shown, CONFIG_FILE_MAX);
	else
		rc = 0;
out:
	(void)close(fd);
	return rc;
}

/* The next line off ${rest}, without its end (LF or CR LF). */
bool
px_config_next_line(struct px_slice *rest, struct px_slice *line)
{
	const char *end;

	if (rest->len == 0)
		return false;
	end = memchr(rest->ptr, '\n', rest->len);
	*line = (struct px_slice){ rest->ptr, end != NULL ? (size_t)(end - rest->ptr) : rest->len };
	*rest = px_slice_behind(*rest, line->len + (end != NULL ? 1 : 0));
	if (line->len > 0 && line->ptr[line->len - 1] == '\r')
		line->len--;
	return true;
}

void
px_config_skip_mark(struct px_slice *text)
{
	if (px_slice_begins_with(*text, "\xef\xbb\xbf"))
		*text = px_slice_behind(*text, 3);
}
