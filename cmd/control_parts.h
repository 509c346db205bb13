/* SPDX-License-Identifier: MIT */
/* Inside of control only: what its files and the rules in them have in common. */
#ifndef CONTROL_PARTS_H
#define CONTROL_PARTS_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "control.h"
#include "err.h"
#include "monitrc.h"
#include "services.h"

#define CONTROL_FILES_MAX 1025		/* Monit takes 1,024 included ones */
#define CONTROL_FILE_MAX_BYTES (4 << 20)
#define CONTROL_NAME_SHOWN 64
#define CONTROL_SYSTEMS_MAX 8

struct control_file {
	char *path;		/* owned */
	char *other_path;	/* owned; by which it is included once more; NULL: it is not */
	dev_t device;
	ino_t inode;
};

/* A `check system`. */
struct control_system {
	char name[CONTROL_NAME_SHOWN];
	char at[PX_ERR_MAX / 4];	/* FILE:LINE */
	bool is_ours;			/* runs px-status-event */
};

struct control {
	struct report *report;
	uid_t owner;			/* of the main control file: who runs Monit */
	struct control_file files[CONTROL_FILES_MAX];
	size_t file_count;
	const char *file;		/* the one being read */
	size_t failed;
	size_t unread;
	struct control_system systems[CONTROL_SYSTEMS_MAX];
	size_t system_count;
	struct services services;
	struct px_buf told;		/* what failed: one folder does for each file in it, one program for each rule */
};

/* Reports ${err} and ${advice} under ${what}, and counts it: of what was told already it only counts. */
void control_fail(struct control *control, const char *what, const struct px_err *err, const char *advice);

/* control_rules.c: ${fact} is of ${file} of ${control}. A `check system`, to be told of at the end. */
void control_note_system(struct control *control, const struct px_monitrc_fact *fact);

/* Fails when a program of px-status can't be run: each word is looked at, since a program may be run by a shell. */
void control_check_command(struct control *control, const struct px_monitrc_fact *fact);

/* A name that is not there is no mistake to Monit. Whose services are not ours is not our business. */
void control_check_interface(struct control *control, const struct px_monitrc_fact *fact);

/* When all files were read: services of one name; and what is there beside the snippet's `check system`. */
void control_report_conflicts(struct control *control);
void control_report_systems(struct control *control);

#endif
