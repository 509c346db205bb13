/* SPDX-License-Identifier: MIT */
/*
 * peak FILE PROGRAM [ARGUMENT...]: runs the program and writes the peak of its resident memory, in KiB, into FILE. A
 * small static program because a process inherits the peak of the one that it was forked from. Exits as the program did.
 */
#include <stdio.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

static int
write_peak(const char *path)
{
	struct rusage usage;
	FILE *file = fopen(path, "we");
	int rc = -1;

	if (file == NULL)
		return -1;
	if (getrusage(RUSAGE_CHILDREN, &usage) == 0 && fprintf(file, "%ld\n", usage.ru_maxrss) > 0)
		rc = 0;
	if (fclose(file) != 0)
		rc = -1;
	return rc;
}

int
main(int argc, char *argv[])
{
	int status = 0;
	pid_t child;

	if (argc < 3)
		return 64;
	child = fork();
	if (child == 0) {
		(void)execv(argv[2], argv + 2);
		perror(argv[2]);
		_exit(127);
	}
	if (child == -1 || waitpid(child, &status, 0) == -1 || write_peak(argv[1]) == -1) {
		perror("peak");
		return 1;
	}
	return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}
