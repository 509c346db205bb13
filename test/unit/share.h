/* SPDX-License-Identifier: MIT */
/*
 * Where everything is slow, as under valgrind, a long test does one part of what it otherwise does: of PX_TEST_SHARE in the
 * environment as many parts, else 1.
 */
#ifndef SHARE_H
#define SHARE_H

#include <stdlib.h>

static inline size_t
number_in_environment(const char *name, size_t otherwise)
{
	const char *text = getenv(name);

	return text != NULL ? strtoul(text, NULL, 10) : otherwise;
}

static inline size_t
parts(void)
{
	return number_in_environment("PX_TEST_SHARE", 1);
}

#endif
