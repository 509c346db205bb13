/* SPDX-License-Identifier: MIT */
#include "spool_make.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "text.h"

#define MS_PER_S 1000
#define NS_PER_MS 1000000
#define JITTER_NS UINT64_C(4000000)

int64_t
px_db_monotonic_ms(void)
{
	struct timespec now = { 0, 0 };

	(void)clock_gettime(CLOCK_MONOTONIC, &now);
	return (int64_t)now.tv_sec * MS_PER_S + now.tv_nsec / NS_PER_MS;
}

int
px_db_real_path(const char *name, char *path, struct px_err *err)
{
	const char *slash = strrchr(name, '/');
	const char *file = slash != NULL ? slash + 1 : name;
	char folder[PATH_MAX];
	char real[PATH_MAX];
	size_t len;

	if (file[0] == '\0' || strlen(name) >= PATH_MAX - strlen("-") - PX_ID_MAX - 8)
		return px_err_set(err, PX_STORAGE, "cannot open spool '%s': not a usable file name", name);
	len = slash != NULL ? (size_t)(slash - name) : 0;
	(void)snprintf(folder, sizeof(folder), "%.*s", (int)len, name);
	if (realpath(slash == NULL ? "." : len == 0 ? "/" : folder, real) == NULL)
		return px_err_set_errno(err, errno == ENOENT ? PX_ABSENT : PX_STORAGE, errno, "cannot open spool '%s'", name);
	len = (size_t)snprintf(path, PATH_MAX, "%s/%s", strcmp(real, "/") == 0 ? "" : real, file);
	if (len >= PATH_MAX - PX_ID_MAX - 8)
		return px_err_set(err, PX_STORAGE, "cannot open spool '%s': the name is too long", name);
	return 0;
}

int
px_db_side_path(const char *path, const char *suffix, char *out, struct px_err *err)
{
	int len = snprintf(out, PATH_MAX, "%s%s", path, suffix);

	if (len < 0 || len >= PATH_MAX)
		return px_err_set(err, PX_STORAGE, "cannot name a file beside '%s': too long", path);
	return 0;
}

int
px_db_data_fd(struct px_spool *spool)
{
	if (!spool->has_data_fd) {
		spool->data_fd = open(spool->path, O_RDWR | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
		if (spool->data_fd == -1)
			spool->data_fd = open(spool->path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
		spool->has_data_fd = spool->data_fd != -1;
	}
	return spool->data_fd;
}

/* Whether the name stands for another file by now than the one that is open. */
static bool
has_moved(struct px_spool *spool)
{
	int moved = 0;

	return sqlite3_file_control(spool->db, "main", SQLITE_FCNTL_HAS_MOVED, &moved) == SQLITE_OK && moved != 0;
}

void
px_db_note_damage(struct px_spool *spool)
{
	char name[PATH_MAX];
	struct px_err ignored;
	int fd;

	if (!spool->is_open || spool->use == PX_SPOOL_LOOK || has_moved(spool) ||
	    px_db_side_path(spool->path, SPOOL_DAMAGED_SUFFIX, name, &ignored) == -1)
		return;
	fd = open(name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (fd != -1)
		(void)close(fd);
}

/* Why a file beside the spool could not be made. Where the folder may be written no inode is left. */
static int
why_not_made(const struct px_spool *spool)
{
	char folder[PATH_MAX];

	(void)snprintf(folder, sizeof(folder), "%.*s/", (int)(strrchr(spool->path, '/') - spool->path), spool->path);
	return access(folder, W_OK) == -1 ? errno : ENOSPC;
}

/*
 * What the system said; 0 where it is not at fault. On a read-only file system SQLite goes on to what it can't do for that
 * reason, and tells of this.
 */
static int
system_error(const struct px_spool *spool, int kind)
{
	int error_number = spool->db != NULL && (kind == SQLITE_IOERR || kind == SQLITE_CANTOPEN) ?
	    sqlite3_system_errno(spool->db) : 0;

	if ((error_number == ENOENT || error_number == EBADF) && access(spool->path, W_OK) == -1)
		error_number = errno;
	/* The log's index could not be made, which SQLite tells by what it tried last. */
	if (kind == SQLITE_CANTOPEN && error_number == ENOENT && access(spool->path, F_OK) == 0)
		error_number = why_not_made(spool);
	return error_number;
}

int
px_db_fail(struct px_spool *spool, int result, const char *verb, struct px_err *err)
{
	int kind = result & 0xff;
	int error_number = system_error(spool, kind);
	bool is_full = px_db_was_full() && kind == SQLITE_FULL;
	/*
	 * Nothing of ours is as long as SPOOL_LENGTH_MAX: what says so is not what was written. Nor has a spool more
	 * pages than SQLite can count, so where it is full the disk is.
	 */
	bool damaged = kind == SQLITE_CORRUPT || kind == SQLITE_NOTADB || kind == SQLITE_TOOBIG ||
	    (kind == SQLITE_FULL && !is_full);

	spool->was_busy = kind == SQLITE_BUSY;
	spool->no_memory = kind == SQLITE_NOMEM;
	spool->no_space = is_full || result == SQLITE_IOERR_SHMSIZE || error_number == ENOSPC || error_number == EDQUOT;
	if (damaged)
		px_db_note_damage(spool);
	/* A database that others replaced under us looks damaged and is not. */
	if (damaged && spool->is_open && has_moved(spool))
		return px_err_set(err, PX_STORAGE, "cannot %s spool '%s': it was replaced meanwhile", verb, spool->name);
	if (error_number == EACCES)
		return px_err_set(err, PX_STORAGE, "cannot %s spool '%s': %s; look at owner and mode of the file and its folder", verb,
		    spool->name, strerror(EACCES));
	if (error_number != 0)
		return px_err_set_errno(err, PX_STORAGE, error_number, "cannot %s spool '%s'", verb, spool->name);
	return px_err_set(err, damaged ? PX_CORRUPT : PX_STORAGE, "cannot %s spool '%s': %s", verb, spool->name,
	    sqlite3_errstr(result));
}

int
px_db_malformed(struct px_spool *spool, const char *what, struct px_err *err)
{
	px_db_note_damage(spool);
	return px_err_set(err, PX_CORRUPT, "cannot read spool '%s': %s is malformed", spool->name, what);
}

static uint64_t
draw(struct px_spool *spool)
{
	/* xorshift64 (G. Marsaglia, 2003): good enough to keep waiting processes apart. */
	spool->jitter ^= spool->jitter << 13;
	spool->jitter ^= spool->jitter >> 7;
	spool->jitter ^= spool->jitter << 17;
	return spool->jitter;
}

/* SQLite's own handler sleeps up to 100 ms at a time: with many recorders some would wait for a second. */
static int
wait_for_others(void *arg, int times)
{
	struct px_spool *spool = arg;
	struct timespec pause = { 0, NS_PER_MS + (long)(draw(spool) % JITTER_NS) };

	(void)times;
	if (px_db_monotonic_ms() >= spool->deadline_ms)
		return 0;
	(void)nanosleep(&pause, NULL);
	return 1;
}

static int
count_frames(void *arg, sqlite3 *db, const char *schema, int frames)
{
	struct px_spool *spool = arg;

	(void)db;
	(void)schema;
	spool->log_frames = frames;
	return SQLITE_OK;
}

static void
harden(sqlite3 *db)
{
	static const struct {
		int option;
		int value;
	} options[] = {
		{ SQLITE_DBCONFIG_DEFENSIVE, 1 },
		{ SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0 },
		{ SQLITE_DBCONFIG_ENABLE_TRIGGER, 0 },
		{ SQLITE_DBCONFIG_ENABLE_VIEW, 0 },
		{ SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1 },
	};
	sqlite3_int64 no_mapping = 0;

	for (size_t i = 0; i < sizeof(options) / sizeof(options[0]); i++)
		(void)sqlite3_db_config(db, options[i].option, options[i].value, (int *)NULL);
	(void)sqlite3_limit(db, SQLITE_LIMIT_LENGTH, SPOOL_LENGTH_MAX);
	(void)sqlite3_limit(db, SQLITE_LIMIT_ATTACHED, 0);
	(void)sqlite3_file_control(db, "main", SQLITE_FCNTL_MMAP_SIZE, &no_mapping);
}

int
px_db_open_file(struct px_spool *spool, struct px_err *err)
{
	int result = sqlite3_open_v2(spool->path, &spool->db,
	    SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOFOLLOW | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_PRIVATECACHE | SQLITE_OPEN_EXRESCODE,
	    px_db_vfs());

	if (result != SQLITE_OK)
		return px_db_fail(spool, result, "open", err);
	spool->jitter = ((uint64_t)getpid() << 32 ^ (uint64_t)(uintptr_t)spool ^ (uint64_t)px_db_monotonic_ms()) | 1;
	spool->deadline_ms = px_db_monotonic_ms() + spool->wait_ms;
	harden(spool->db);
	(void)sqlite3_busy_handler(spool->db, wait_for_others, spool);
	(void)sqlite3_wal_hook(spool->db, count_frames, spool);	/* instead of SQLite's own checkpoints */
	return 0;
}

int
px_db_connect(struct px_spool *spool, struct px_err *err)
{
	int result;

	/* https://sqlite.org/wal.html, 6: before the first access, "use of WAL without shared-memory". */
	if (spool->alone)
		(void)sqlite3_exec(spool->db, "PRAGMA locking_mode=EXCLUSIVE", NULL, NULL, NULL);
	/* secure_delete, on in Debian's SQLite, would write every page that becomes free. */
	result = sqlite3_exec(spool->db, "PRAGMA synchronous=FULL; PRAGMA secure_delete=OFF; PRAGMA cell_size_check=ON", NULL, NULL,
	    NULL);
	return result == SQLITE_OK ? 0 : px_db_fail(spool, result, "open", err);
}

void
px_db_disconnect(struct px_spool *spool)
{
	for (size_t i = 0; i < SPOOL_STATEMENTS_MAX; i++)
		(void)sqlite3_finalize(spool->statements[i].prepared);
	memset(spool->statements, 0, sizeof(spool->statements));
	(void)sqlite3_close(spool->db);
	spool->db = NULL;
	if (spool->has_data_fd)
		(void)close(spool->data_fd);
	spool->has_data_fd = false;
	spool->is_open = false;
}

static int
prepare(struct px_spool *spool, const char *sql, sqlite3_stmt **out, struct px_err *err)
{
	struct spool_statement *statement = spool->statements;
	int result;

	while (statement->sql != NULL && statement->sql != sql)
		if (++statement == spool->statements + SPOOL_STATEMENTS_MAX)
			return px_err_set(err, PX_BUG, "more than %d statements for spool '%s'", SPOOL_STATEMENTS_MAX, spool->name);
	if (statement->sql == NULL) {
		result = sqlite3_prepare_v3(spool->db, sql, -1, SQLITE_PREPARE_PERSISTENT, &statement->prepared, NULL);
		if (result != SQLITE_OK)
			/* Without the columns that are asked for, it is no spool. */
			return px_db_fail(spool, result == SQLITE_ERROR ? SQLITE_CORRUPT : result, "read", err);
		statement->sql = sql;
	}
	*out = statement->prepared;
	return 0;
}

/* The analyzer does not see that all callers have started ${args}. NOLINTBEGIN(clang-analyzer-valist.Uninitialized) */
static int
bind(sqlite3_stmt *statement, const char *types, va_list *args)
{
	int result = SQLITE_OK;

	for (int i = 0; types[i] != '\0' && result == SQLITE_OK; i++) {
		const struct px_slice *slice;
		const void *blob;

		switch (types[i]) {
		case 'i':
			result = sqlite3_bind_int64(statement, i + 1, va_arg(*args, int64_t));
			break;
		case 't':
			result = sqlite3_bind_text(statement, i + 1, va_arg(*args, const char *), -1, SQLITE_STATIC);
			break;
		case 's':
			slice = va_arg(*args, const struct px_slice *);
			result = sqlite3_bind_text64(statement, i + 1, slice->ptr, slice->len, SQLITE_STATIC, SQLITE_UTF8);
			break;
		case 'b':
			blob = va_arg(*args, const void *);
			result = sqlite3_bind_blob64(statement, i + 1, blob, (sqlite3_uint64)va_arg(*args, int64_t), SQLITE_STATIC);
			break;
		default:
			result = sqlite3_bind_null(statement, i + 1);
			break;
		}
	}
	return result;
}
/* NOLINTEND(clang-analyzer-valist.Uninitialized) */

static int
query(struct px_spool *spool, sqlite3_stmt **out, struct px_err *err, const char *sql, const char *types, va_list *args)
{
	int result;

	if (prepare(spool, sql, out, err) == -1)
		return -1;
	(void)sqlite3_reset(*out);
	result = bind(*out, types, args);
	return result == SQLITE_OK ? 0 : px_db_fail(spool, result, "use", err);
}

int
px_db_query(struct px_spool *spool, sqlite3_stmt **out, struct px_err *err, const char *sql, const char *types, ...)
{
	va_list args;
	int rc;

	va_start(args, types);
	rc = query(spool, out, err, sql, types, &args);
	va_end(args);
	return rc;
}

int
px_db_step(struct px_spool *spool, sqlite3_stmt *statement, struct px_err *err)
{
	int result = sqlite3_step(statement);
	bool reads = !spool->is_writing && sqlite3_stmt_readonly(statement) != 0;

	if (result == SQLITE_ROW)
		return 1;
	(void)sqlite3_reset(statement);
	if (result == SQLITE_DONE)
		return 0;
	return px_db_fail(spool, result, reads ? "read" : "write", err);
}

void
px_db_done(sqlite3_stmt *statement)
{
	(void)sqlite3_reset(statement);
	(void)sqlite3_clear_bindings(statement);
}

int
px_db_run(struct px_spool *spool, struct px_err *err, const char *sql, const char *types, ...)
{
	sqlite3_stmt *statement = NULL;
	va_list args;
	int rc;

	va_start(args, types);
	rc = query(spool, &statement, err, sql, types, &args);
	va_end(args);
	if (rc == -1)
		return -1;
	do
		rc = px_db_step(spool, statement, err);
	while (rc == 1);
	(void)sqlite3_clear_bindings(statement);
	return rc;
}

int
px_db_number(struct px_spool *spool, int64_t missing, int64_t *out, struct px_err *err, const char *sql, const char *types,
    ...)
{
	sqlite3_stmt *statement = NULL;
	va_list args;
	int rc;

	*out = missing;
	va_start(args, types);
	rc = query(spool, &statement, err, sql, types, &args);
	va_end(args);
	if (rc == -1)
		return -1;
	rc = px_db_step(spool, statement, err);
	if (rc == 1 && sqlite3_column_type(statement, 0) == SQLITE_INTEGER)
		*out = sqlite3_column_int64(statement, 0);
	if (rc == 1)
		px_db_done(statement);
	return rc == -1 ? -1 : 0;
}

void
px_db_clean_text(char *out, size_t size, struct px_slice text)
{
	struct px_buf clean = PX_BUF(3 * size);
	size_t len = strnlen(text.ptr, text.len < size ? text.len : size - 1);

	px_text_clean(&clean, text.ptr, len);
	len = px_text_cut(px_buf_text(&clean), clean.len, size - 1);
	(void)snprintf(out, size, "%.*s", (int)len, px_buf_text(&clean));
	px_buf_clear(&clean);
}

void
px_db_copy_text(char *out, size_t size, sqlite3_stmt *row, int column)
{
	const char *text = (const char *)sqlite3_column_text(row, column);

	px_db_clean_text(out, size, px_slice(text != NULL ? text : ""));
}

int
px_db_begin_read(struct px_spool *spool, struct px_err *err)
{
	spool->deadline_ms = px_db_monotonic_ms() + spool->wait_ms;
	return px_db_run(spool, err, "BEGIN", "");
}

void
px_db_end_read(struct px_spool *spool)
{
	struct px_err ignored;

	if (sqlite3_get_autocommit(spool->db) == 0 && px_db_run(spool, &ignored, "COMMIT", "") == -1)
		(void)sqlite3_exec(spool->db, "ROLLBACK", NULL, NULL, NULL);
}

/*
 * Whoever renews a spool holds it alone while it puts the new one in its place. A connection that waited for that holds
 * the old file: what it wrote there would never be sent.
 */
static int
begin_write(struct px_spool *spool, struct px_err *err)
{
	if (px_db_run(spool, err, "BEGIN IMMEDIATE", "") == -1)
		return -1;
	if (has_moved(spool))
		return px_err_set(err, PX_STORAGE, "cannot write spool '%s': it was replaced meanwhile", spool->name);
	/* What is behind a damaged place in the log would be written over. */
	return spool->log_is_whole ? 0 : px_source_check_log(spool, false, err);
}

static int
try_write(struct px_spool *spool, px_db_work_fn *work, void *arg, bool *perhaps, struct px_err *err)
{
	int rc;

	spool->is_writing = true;
	spool->no_space = false;
	*perhaps = false;
	if (begin_write(spool, err) == -1 || work(spool, arg, err) == -1)
		goto undo;
	*perhaps = true;
	px_db_gather(true);
	rc = px_db_run(spool, err, "COMMIT", "");
	px_db_gather(false);
	if (rc == -1)
		goto undo;
	spool->is_writing = false;
	return 0;
undo:
	spool->is_writing = false;
	if (sqlite3_get_autocommit(spool->db) == 0)
		(void)sqlite3_exec(spool->db, "ROLLBACK", NULL, NULL, NULL);
	return -1;
}

/* What is in the log already finds room where it belongs, in the file, and leaves its own; then there is the reserve. */
static int
write_on_full_disk(struct px_spool *spool, px_db_work_fn *work, void *arg, bool *perhaps, struct px_err *err)
{
	int rc;

	px_room_checkpoint(spool, true);
	rc = try_write(spool, work, arg, perhaps, err);
	if (rc == -1 && spool->no_space && px_room_give_up_reserve(spool))
		rc = try_write(spool, work, arg, perhaps, err);
	return rc;
}

int
px_db_write(struct px_spool *spool, bool may_spend_reserve, px_db_work_fn *work, void *arg, bool *perhaps,
    struct px_err *err)
{
	bool unused;
	int rc;

	if (perhaps == NULL)
		perhaps = &unused;
	spool->deadline_ms = px_db_monotonic_ms() + spool->wait_ms;
	/* Recorders look at the log's bound for each event; a flush has the time to wait for readers. */
	if (spool->use == PX_SPOOL_FLUSH && px_room_log_is_long(spool))
		px_room_checkpoint(spool, true);
	rc = try_write(spool, work, arg, perhaps, err);
	if (rc == -1 && spool->no_space && may_spend_reserve && spool->use != PX_SPOOL_RECORD)
		rc = write_on_full_disk(spool, work, arg, perhaps, err);
	if (rc == 0 && spool->log_frames > spool->bounds.checkpoint_frames)
		px_room_checkpoint(spool, false);
	return rc;
}
