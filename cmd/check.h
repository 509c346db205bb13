/* SPDX-License-Identifier: MIT */
/* `px-status-flush --check`: one line for each thing that a flush needs, with what to do about what fails. */
#ifndef CHECK_H
#define CHECK_H

#include "err.h"

/*
 * Tests configuration, files, spool, overflow, Monit and upstream (with an empty batch) and prints a line each to stdout.
 * ${config_file} and ${spool} as on the command line, NULL where not given. Changes and creates nothing. Returns the exit
 * status of the first line that failed, 0 when none did.
 */
int check_everything(const char *config_file, const char *spool);

#endif
