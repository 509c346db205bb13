/* SPDX-License-Identifier: MIT */
/*
 * What a use case asks of the world around it, given by the program: clock and random bytes. Tests give their own.
 */
#ifndef PX_WORLD_H
#define PX_WORLD_H

#include <stddef.h>

#include "item.h"

struct px_world {
	void (*now)(struct px_now *now);
	int (*random)(void *out, size_t len, struct px_err *err);
};

#endif
