/* SPDX-License-Identifier: MIT */
/*
 * The measurement in a description that Monit wrote ("cpu usage of 99.7% matches resource limit [cpu usage > 80.0%]"):
 * by a table of the forms in Monit's validate.c and its kin, 5.2.5 to 6.1. Pure. What is measured may be new where the form
 * is Monit's and names it twice; a form that is not in the table has no measurement, and nothing is guessed.
 */
#ifndef PX_MEASURE_H
#define PX_MEASURE_H

#include <stdbool.h>

#include "text.h"

#define PX_MEASURE_NAME_MAX 128

struct px_measurement {
	char name[PX_MEASURE_NAME_MAX];	/* Monit's words before the number, without " of" */
	double value;			/* in ${unit}: bytes, bytes a second, milliseconds, per cent, or a count */
	const char *unit;		/* "B", "B/s", "ms", "%", or NULL for a count */
	const char *operator;		/* ">", "<", ">=", "<=", "=", "!=", or NULL where Monit names none */
	double limit;			/* in the same unit; only with an ${operator} */
};

/* Returns whether ${description} (valid UTF-8) has a measurement, and fills ${out} when it has. */
bool px_measure(struct px_slice description, struct px_measurement *out);

#endif
