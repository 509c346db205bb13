/* SPDX-License-Identifier: MIT */
/* A temporary folder for one test after another, with a place for a spool in it. */
#ifndef SPOOL_FOLDER_H
#define SPOOL_FOLDER_H

extern char folder[64];
extern char path[128];		/* of the spool, which is not there yet */

/* Fixtures of cmocka, for which ${state} is nothing: 0, or another number when it could not be done. */
int make_spool_folder(void **state);
int make_spool_folder_in_memory(void **state);	/* where there is such: nothing is ever synced */
int remove_spool_folder(void **state);		/* and whatever is in it */

/* Another one in the place of the one there is, for the next row of a table. 0, or another number. */
int renew_spool_folder(void **state);

/* ${path} with ${suffix} behind it, until the next call. */
const char *beside(const char *suffix);

#endif
