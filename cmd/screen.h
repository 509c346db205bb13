/* SPDX-License-Identifier: MIT */
/*
 * Standard output as a person sees it: how wide it is, whether it has colours, and text that keeps within a line. Where it
 * is no terminal there are no colours, and lines are as long as what they say.
 */
#ifndef SCREEN_H
#define SCREEN_H

#include <stddef.h>
#include <stdint.h>

enum screen_style { SCREEN_PLAIN, SCREEN_GOOD, SCREEN_BAD, SCREEN_HEADING };

/*
 * What switches the terminal to ${style}, and back from it; "" for SCREEN_PLAIN, on one without colours (TERM is dumb
 * or not set), when NO_COLOR is set and not empty (https://no-color.org), and where stdout is no terminal.
 */
const char *screen_style(enum screen_style style);
const char *screen_style_end(enum screen_style style);

/* Columns of the terminal, 80 at least; 0: stdout is none. */
size_t screen_width(void);

/* Prints ${text} with control characters escaped, and a '\n', however long that is. */
void screen_print(const char *text);

/* The same, cut to what is left of a line behind ${column} columns. */
void screen_print_cut(size_t column, const char *text);

/* The same, but not cut: it goes on in further lines, each behind ${column} blanks. */
void screen_print_wrapped(size_t column, const char *text);

/* ${s} seconds as a person says them, with the two greatest units: "2h 34m". */
#define SCREEN_DURATION_MAX 40
void screen_duration(char out[SCREEN_DURATION_MAX], int64_t s);

#endif
