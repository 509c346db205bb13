/* SPDX-License-Identifier: MIT */
/* The least that a recorder of any kind must do: appends 300 bytes to a file and waits until they are on disk. */
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define RECORD_SIZE 300

int
main(int argc, char *argv[])
{
	char record[RECORD_SIZE];
	int fd = -1;
	int rc = 1;

	if (argc != 2)
		return 64;
	memset(record, 'x', sizeof(record) - 1);
	record[sizeof(record) - 1] = '\n';
	fd = open(argv[1], O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600);
	if (fd == -1)
		goto out;
	if (write(fd, record, sizeof(record)) != (ssize_t)sizeof(record) || fdatasync(fd) == -1)
		goto out;
	rc = 0;
out:
	if (rc != 0)
		perror(argv[1]);
	if (fd != -1)
		(void)close(fd);
	return rc;
}
