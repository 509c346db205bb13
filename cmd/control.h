/* SPDX-License-Identifier: MIT */
/*
 * Monit's control files, as `px-status-flush --check` looks at them: who may write what Monit does not check itself, and
 * whether the rules in them can do what they are there for. Reads, never changes, and is bounded in files and sizes.
 */
#ifndef CONTROL_H
#define CONTROL_H

#include <stdbool.h>
#include <stddef.h>

#include "report.h"

/* The path of the control file that ${command} ([snapshot] command) names with -c, else of the one that Monit would find. */
bool control_find(const char *command, char *path, size_t size);

/*
 * Reports on the control file that control_find finds for ${command}, and on all that it includes. Where there is none,
 * or this process may not read it, a line says so and nothing failed.
 */
void control_check(struct report *report, const char *command);

/* The rules of share/monitrc.d/cpu, a line each and NULL at the end: put there by the Makefile. */
extern const char *const control_cpu_rules[];

#endif
