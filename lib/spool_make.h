/* SPDX-License-Identifier: MIT */
/* Private to the spool's sources: building a spool's file before anybody knows it, and reading one that is broken. */
#ifndef PX_SPOOL_MAKE_H
#define PX_SPOOL_MAKE_H

#include "spool_db.h"
#include "spool_pages.h"

/* Behind the spool's name, before the new one's id. A flush may remove the second at once: it alone renews. */
#define SPOOL_NEW_INFIX "-new-"
#define SPOOL_RENEW_INFIX "-renew-"

/*
 * Begins a spool beside ${path} (absolute) in ${fresh}, which is all zero, with a transaction open for what is to be in
 * it. px_make_end finishes, closes and syncs it, under the name ${fresh}->path. px_make_abandon removes it, at any point.
 */
int px_make_begin(struct px_spool *fresh, const char *path, const char *infix, const struct px_spool_birth *birth,
    struct px_err *err) PX_MUST_CHECK;
int px_make_end(struct px_spool *fresh, struct px_err *err) PX_MUST_CHECK;
void px_make_abandon(struct px_spool *fresh);

/* Syncs the folder of ${path}. */
int px_make_sync_folder(const char *path, struct px_err *err) PX_MUST_CHECK;

/* Calls ${each} for every name in the folder of ${path} (absolute) that begins with its own and ${infix}. */
typedef void px_make_each_fn(void *arg, int folder, const char *name);
void px_make_each_beside(const char *path, const char *infix, px_make_each_fn *each, void *arg);

/* spool_source.c: the bytes of a spool that is open, and of a log. It stays where it is while it is open. */
struct px_source {
	struct px_spool *spool;
	sqlite3_file *sqlite_file;
	int log_fd;		/* owned; -1: none */
	struct px_bytes file;
	struct px_bytes log;
	bool failed;		/* something of file or log could not be read, though it is there */
	uint8_t *start;		/* owned; of the log: what it has before it is emptied. NULL: not read yet */
	size_t start_len;
};

/* What can't be opened is empty. ${spool} stays open as long. */
void px_source_open(struct px_source *source, struct px_spool *spool, const char *log_path);
void px_source_close(struct px_source *source);

/* Whether the disk reads the file's first byte. */
bool px_source_is_readable(struct px_source *source);

/* Who a spool says it is. */
struct px_identity {
	char id[PX_ID_MAX];		/* "" where it can't be read */
	char id_of_counters[PX_ID_MAX];	/* the same, as it stands in the piece of the log that was written last */
	uint32_t page;			/* where its row is; 0: nowhere */
	size_t at;
	bool has_tables;
	bool has_counters;
	struct spool_counters counters;
};

void px_source_identify(struct px_pages *pages, struct px_identity *identity);

/*
 * Whether a log belongs to a file: with it the spool has the same tables and id, and counters that have not gone back. A
 * log that SQLite finds in its place is applied, whatever it is from.
 */
bool px_source_log_is_of(const struct px_identity *file, const struct px_identity *log);

/*
 * -1 with PX_CORRUPT when the log of ${spool} is damaged before its last commit, which SQLite does not tell, or
 * (${deeply}) does not belong to its file; then the damage is noted, too.
 */
int px_source_check_log(struct px_spool *spool, bool deeply, struct px_err *err) PX_MUST_CHECK;

/*
 * -1 with PX_CORRUPT when the header of ${spool}'s file is that of a spool but for what no spool has there: SQLite calls
 * it read-only, too new or the like, which it is not.
 */
int px_source_check_header(struct px_spool *spool, struct px_err *err) PX_MUST_CHECK;

/*
 * Copies into ${fresh}, inside its transaction, what can be read of ${source}: items with new seqs in the old order, marks,
 * names of overflow files taken in, and what it replaces. ${carried} counts the items; ${log_is_sound}: the log may be
 * applied to the file. -1 only when ${fresh} fails.
 */
int px_salvage(const struct px_source *source, struct px_spool *fresh, int64_t *carried, bool *log_is_sound,
    struct px_err *err) PX_MUST_CHECK;

#endif
