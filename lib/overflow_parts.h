/* SPDX-License-Identifier: MIT */
/* Private to the overflow folder's sources: its names, and how it is opened. Everything else includes overflow.h. */
#ifndef PX_OVERFLOW_PARTS_H
#define PX_OVERFLOW_PARTS_H

#include <dirent.h>

#include "overflow.h"

/* An event file is ID.json, or ID-SEQ.json; while it is written it is .tmp-ID. */
#define OVERFLOW_SUFFIX ".json"
#define OVERFLOW_TEMPORARY_PREFIX ".tmp-"
#define OVERFLOW_NAME_MAX 96		/* bytes */

/* Opens the folder itself, never what a link in its place stands for. -1 with errno. */
int overflow_open(const char *folder);

/* Opens a second descriptor of the folder ${fd}, to read it from its beginning; for closedir. NULL with errno. */
DIR *overflow_list(int fd);

#endif
