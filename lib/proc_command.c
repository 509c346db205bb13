/* SPDX-License-Identifier: MIT */
/* Command lines: taken apart, and their program found. */
#include "proc_parts.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define ARGS_MAX 64

int
px_command_next_word(const char **at, struct px_buf *word)
{
	const char *in = *at + strspn(*at, " \t");
	char quote = '\0';

	px_buf_rewind(word, 0);
	*at = in;
	if (*in == '\0')
		return 0;
	for (; *in != '\0' && (quote != '\0' || (*in != ' ' && *in != '\t')); in++) {
		if (quote == '\0' && (*in == '\'' || *in == '"'))
			quote = *in;
		else if (quote == *in)
			quote = '\0';
		else
			px_buf_add_byte(word, *in);
	}
	*at = in;
	return quote == '\0' ? 1 : -1;
}

/* 0 when ${path} is a file that may be executed, else -1 with errno. */
static int
check_program(const char *path)
{
	struct stat st;

	if (stat(path, &st) == -1)
		return -1;
	if (!S_ISREG(st.st_mode)) {
		errno = EACCES;
		return -1;
	}
	return faccessat(AT_FDCWD, path, X_OK, AT_EACCESS);
}

/* Returns the absolute path of ${program}, owned by the caller; NULL with ${err}. */
static char *
find_program(const char *program, struct px_err *err)
{
	const char *folder = PROC_FOLDERS;
	char path[PATH_MAX];
	char *found = NULL;
	size_t len;

	if (strchr(program, '/') != NULL) {
		if (program[0] != '/')
			(void)px_err_set(err, PX_CONFIG, "the program '%s' is not an absolute path", program);
		else if (check_program(program) == -1)
			(void)px_err_set_errno(err, PX_ABSENT, errno, "cannot run '%s'", program);
		else if ((found = strdup(program)) == NULL)
			(void)px_err_set(err, PX_CONFIG, "no memory");
		return found;
	}
	for (; program[0] != '\0' && folder[0] != '\0'; folder += len + (folder[len] == ':' ? 1 : 0)) {
		int wanted;

		len = strcspn(folder, ":");
		wanted = snprintf(path, sizeof(path), "%.*s/%s", (int)len, folder, program);
		if (wanted < 0 || (size_t)wanted >= sizeof(path) || check_program(path) == -1)
			continue;
		found = strdup(path);
		if (found == NULL)
			(void)px_err_set(err, PX_CONFIG, "no memory");
		return found;
	}
	(void)px_err_set(err, PX_ABSENT, "cannot find the program '%s' in the system folders", program);
	return NULL;
}

int
px_command_parse(struct px_command *out, const char *text, struct px_err *err)
{
	const char *at = text;
	struct px_buf word = PX_BUF(strlen(text) + 1);
	size_t count = 0;
	int more;
	int rc = -1;

	out->argv = calloc(ARGS_MAX + 1, sizeof(out->argv[0]));
	if (out->argv == NULL)
		return px_err_set(err, PX_CONFIG, "no memory");
	while ((more = px_command_next_word(&at, &word)) == 1) {
		if (count == ARGS_MAX) {
			(void)px_err_set(err, PX_CONFIG, "a command of more than %d words", ARGS_MAX);
			goto out;
		}
		out->argv[count] = count == 0 ? find_program(px_buf_text(&word), err) : strdup(px_buf_text(&word));
		if (out->argv[count] == NULL && count > 0)
			(void)px_err_set(err, PX_CONFIG, "no memory");
		if (out->argv[count++] == NULL)
			goto out;
	}
	if (more == -1)
		(void)px_err_set(err, PX_CONFIG, "a quote in the command is not closed");
	else if (count == 0)
		(void)px_err_set(err, PX_CONFIG, "the command is empty");
	else
		rc = 0;
out:
	px_buf_clear(&word);
	if (rc == -1)
		px_command_clear(out);
	return rc;
}

void
px_command_clear(struct px_command *command)
{
	for (size_t i = 0; command->argv != NULL && command->argv[i] != NULL; i++)
		free(command->argv[i]);
	free(command->argv);
	command->argv = NULL;
}
