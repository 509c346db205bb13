/* SPDX-License-Identifier: MIT */
/* The bytes of a spool's file and its write-ahead log, and whether these two belong together. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "spool_make.h"

#define READ_TRIES 3		/* of what a disk fails to read */
#define START_MAX (120 << 10)	/* more than a log has before it is emptied */
#define PACKED_MAX 64		/* a file system that compresses does so to a part that is not smaller */
#define BLOCK 512		/* of st_blocks */
#define SLACK (1 << 20)
#define CHECK_TRIES 3
#define CHECK_PAUSE_NS 5000000

/*
 * By SQLite's own descriptor: closing one of ours would drop the locks that SQLite has on the file (fcntl(2), "Advisory
 * record locking").
 */
static size_t
read_file(void *arg, int64_t offset, void *out, size_t len)
{
	struct px_source *source = arg;
	int64_t left = source->file.len - offset;
	size_t part = left < 0 ? 0 : left < (int64_t)len ? (size_t)left : len;

	if (part == 0)
		return 0;
	if (source->sqlite_file->pMethods->xRead(source->sqlite_file, out, (int)part, offset) == SQLITE_OK)
		return part;
	source->failed = true;
	return 0;
}

/* Where nothing can be told of holes there are none. */
static bool
find_data(void *arg, int64_t *from, int64_t *to)
{
	const struct px_source *source = arg;
	off_t data = *from;
	off_t hole = -1;
	int fd;

	if (*from >= source->file.len)
		return false;
	fd = px_db_data_fd(source->spool);
	if (fd != -1) {
		data = lseek(fd, *from, SEEK_DATA);
		if (data == -1 && errno == ENXIO)
			return false;
		hole = data == -1 ? -1 : lseek(fd, data, SEEK_HOLE);
	}
	*from = data == -1 ? *from : data;
	*to = hole == -1 ? source->file.len : hole;
	return true;
}

static size_t
read_descriptor(int fd, int64_t offset, uint8_t *out, size_t len, bool *failed)
{
	size_t done = 0;
	int tries = 0;

	while (done < len) {
		ssize_t got = pread(fd, out + done, len - done, offset + (int64_t)done);

		if (got == 0)
			break;
		if (got == -1 && errno != EINTR && ++tries == READ_TRIES) {
			*failed = true;
			break;
		}
		done += got > 0 ? (size_t)got : 0;
	}
	return done;
}

/* A log is read from its start to its end, and as a rule it is short: each recorder does so. */
static size_t
read_log(void *arg, int64_t offset, void *out, size_t len)
{
	struct px_source *source = arg;
	size_t start_len = source->log.len < START_MAX ? (size_t)source->log.len : START_MAX;

	if (source->start == NULL && (source->start = malloc(start_len)) != NULL)
		source->start_len = read_descriptor(source->log_fd, 0, source->start, start_len, &source->failed);
	if (source->start != NULL && offset + (int64_t)len <= (int64_t)source->start_len) {
		memcpy(out, source->start + offset, len);
		return len;
	}
	return read_descriptor(source->log_fd, offset, out, len, &source->failed);
}

void
px_source_open(struct px_source *source, struct px_spool *spool, const char *log_path)
{
	struct stat status;
	sqlite3_int64 len = 0;

	source->spool = spool;
	source->sqlite_file = NULL;
	source->start = NULL;
	source->start_len = 0;
	source->failed = false;
	source->file = (struct px_bytes){ .read = read_file, .find = find_data, .arg = source };
	source->log = (struct px_bytes){ .read = read_log, .arg = source };
	if (spool->db != NULL && sqlite3_file_control(spool->db, "main", SQLITE_FCNTL_FILE_POINTER, &source->sqlite_file) ==
	    SQLITE_OK && source->sqlite_file != NULL && source->sqlite_file->pMethods != NULL &&
	    source->sqlite_file->pMethods->xFileSize(source->sqlite_file, &len) == SQLITE_OK)
		source->file.len = len;
	else
		source->failed = true;
	source->log_fd = open(log_path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	if (source->log_fd == -1)
		source->failed = source->failed || errno != ENOENT;
	else if (fstat(source->log_fd, &status) == -1)
		source->failed = true;
	else if (S_ISREG(status.st_mode))
		source->log.len = status.st_size;
}

bool
px_source_is_readable(struct px_source *source)
{
	uint8_t byte;

	return read_file(source, 0, &byte, sizeof(byte)) == sizeof(byte);
}

void
px_source_close(struct px_source *source)
{
	if (source->log_fd != -1)
		(void)close(source->log_fd);
	source->log_fd = -1;
	free(source->start);
	source->start = NULL;
}

static void
take_counters(void *arg, const struct px_row *row)
{
	struct px_identity *identity = arg;
	const struct px_column *columns = row->columns;

	identity->counters = (struct spool_counters){
		.recorded = px_column_integer(&columns[1]),
		.acknowledged = px_column_integer(&columns[2]),
		.quarantined = px_column_integer(&columns[3]),
		.dropped = px_column_integer(&columns[4]),
		.lost_events = px_column_integer(&columns[5]),
		.lost_snapshots = px_column_integer(&columns[6]),
	};
	if (columns[8].bytes != NULL)
		px_row_id_text(columns[8].bytes, identity->id_of_counters);
	identity->has_counters = identity->counters.recorded >= 0 && identity->counters.recorded < SPOOL_SEQ_MASK;
}

static void
take_id(void *arg, const struct px_row *row)
{
	struct px_identity *identity = arg;
	const struct px_column *id = &row->columns[1];

	if (id->bytes == NULL || !px_id_is_valid((struct px_slice){ (const char *)id->bytes, id->len }))
		return;
	(void)snprintf(identity->id, sizeof(identity->id), "%.*s", (int)id->len, (const char *)id->bytes);
	identity->page = row->page;
	identity->at = row->at;
}

void
px_source_identify(struct px_pages *pages, struct px_identity *identity)
{
	*identity = (struct px_identity){ .has_counters = false };
	px_pages_each(pages, PX_TABLE_COUNTERS, 1, take_counters, identity);
	px_pages_each(pages, PX_TABLE_SPOOL, 1, take_id, identity);
	identity->has_tables = pages->has_tables;
	if (identity->id[0] == '\0')
		memcpy(identity->id, identity->id_of_counters, sizeof(identity->id));
}

static bool
differ(const char *id, const char *other)
{
	return id[0] != '\0' && other[0] != '\0' && strcmp(id, other) != 0;
}

bool
px_source_log_is_of(const struct px_identity *file, const struct px_identity *log)
{
	if ((file->has_tables && !log->has_tables) || differ(file->id, log->id) ||
	    differ(file->id_of_counters, log->id_of_counters))
		return false;
	return !file->has_counters || !log->has_counters || (file->counters.recorded <= log->counters.recorded &&
	    file->counters.acknowledged <= log->counters.acknowledged);
}

/* ${deeply}: whether it is of this very file, too. */
static int
look_at_log(struct px_spool *spool, bool deeply, const char *log_path, struct px_err *err)
{
	struct px_source source;
	struct px_pages whole = { .count = 0 };
	struct px_pages file = { .count = 0 };
	struct px_identity identities[2];
	struct px_wal log = { .count = 0 };
	int rc = -1;

	px_source_open(&source, spool, log_path);
	if (!deeply) {
		if (px_wal_read(&log, &source.log, SPOOL_PAGE, err) == -1)
			goto out;
		rc = log.is_damaged ? px_err_set(err, PX_CORRUPT, "cannot use spool '%s': its write-ahead log is damaged",
		    spool->name) : 0;
		goto out;
	}
	/* What is in the file was in the log before, so the file is read first. */
	if (px_pages_open(&file, &source.file, NULL, PX_FRAMES_ALL, err) == -1)
		goto out;
	px_source_identify(&file, &identities[0]);
	if (px_pages_open(&whole, &source.file, &source.log, PX_FRAMES_ALL, err) == -1)
		goto out;
	px_source_identify(&whole, &identities[1]);
	if (whole.log.is_damaged)
		(void)px_err_set(err, PX_CORRUPT, "cannot use spool '%s': its write-ahead log is damaged", spool->name);
	else if (!px_source_log_is_of(&identities[0], &identities[1]))
		(void)px_err_set(err, PX_CORRUPT, "cannot use spool '%s': its write-ahead log is of another spool, or of an "
		    "older state of this one", spool->name);
	else
		rc = 0;
out:
	px_wal_clear(&log);
	px_pages_close(&whole);
	px_pages_close(&file);
	px_source_close(&source);
	return rc;
}

/* What each spool has in its header (https://sqlite.org/fileformat2.html, 1.3), but for its numbers of pages and changes. */
static const struct {
	size_t at;
	size_t len;
	uint8_t bytes[16];
} header_fields[] = {
	{ 0, 16, "SQLite format 3" },
	{ 16, 2, { SPOOL_PAGE >> 8, 0 } },
	{ 18, 2, { 2, 2 } },		/* a write-ahead log */
	{ 20, 4, { 0, 64, 32, 32 } },
	{ 44, 4, { 0, 0, 0, 4 } },	/* format of the schema */
	{ 56, 4, { 0, 0, 0, 1 } },	/* UTF-8 */
	{ 64, 4, { 0, 0, 0, 1 } },	/* incremental vacuum */
};

/*
 * Whether the number of pages in a header can be true. SQLite takes the file's size for it where the header was not written
 * by it last, which one of ours always is (format, 1.3.8), and believes it where the file is as long, be it a hole.
 */
static bool
has_pages(const struct px_spool *spool, const uint8_t header[100])
{
	struct stat status;

	if (px_big_endian(header + 24, 4) != px_big_endian(header + 92, 4))
		return false;
	return lstat(spool->path, &status) == -1 || status.st_blocks == 0 ||
	    (int64_t)px_big_endian(header + 28, 4) * SPOOL_PAGE / PACKED_MAX <= (int64_t)status.st_blocks * BLOCK + SLACK;
}

static bool
header_is_whole(const struct px_spool *spool, const uint8_t header[100])
{
	for (size_t i = 0; i < sizeof(header_fields) / sizeof(header_fields[0]); i++)
		if (memcmp(header + header_fields[i].at, header_fields[i].bytes, header_fields[i].len) != 0)
			return false;
	return has_pages(spool, header);
}

int
px_source_check_header(struct px_spool *spool, struct px_err *err)
{
	const struct timespec pause = { 0, CHECK_PAUSE_NS };
	struct px_source source;
	uint8_t header[100];
	bool is_whole = false;

	px_source_open(&source, spool, "");
	/* It may be written meanwhile. */
	for (int tries = 0; tries < CHECK_TRIES && !is_whole; tries++) {
		if (tries > 0)
			(void)nanosleep(&pause, NULL);
		is_whole = source.file.read(source.file.arg, 0, header, sizeof(header)) != sizeof(header) ||
		    px_big_endian(header + 60, 4) != SPOOL_VERSION || px_big_endian(header + 68, 4) != SPOOL_APPLICATION_ID ||
		    header_is_whole(spool, header);
	}
	px_source_close(&source);
	if (is_whole)
		return 0;
	px_db_note_damage(spool);
	return px_err_set(err, PX_CORRUPT, "cannot open spool '%s': its header is damaged", spool->name);
}

static size_t
read_unkept(void *arg, int64_t offset, void *out, size_t len)
{
	struct px_source *source = arg;

	return read_descriptor(source->log_fd, offset, out, len, &source->failed);
}

/*
 * SQLite read the log when it opened it, and stops at a damaged frame without a word: only what is behind is still to
 * be seen.
 */
static bool
was_read_whole(struct px_spool *spool)
{
	int64_t read_to = px_db_log_read_to(spool);
	struct px_source source = { .log_fd = spool->turn_fd };
	const struct px_bytes log = { .read = read_unkept, .arg = &source };
	uint8_t frame[SPOOL_FRAME];

	return read_to > 0 && source.log_fd != -1 && px_wal_ends_at(&log, read_to - SPOOL_FRAME, frame, SPOOL_PAGE) &&
	    !source.failed;
}

int
px_source_check_log(struct px_spool *spool, bool deeply, struct px_err *err)
{
	const struct timespec pause = { 0, CHECK_PAUSE_NS };
	char log_path[PATH_MAX];
	struct stat status;
	int rc = 0;

	if (px_db_side_path(spool->path, "-wal", log_path, err) == -1)
		return -1;
	if (lstat(log_path, &status) == -1 || status.st_size == 0 || (!deeply && was_read_whole(spool)))
		goto good;
	for (int tries = 0; tries < CHECK_TRIES; tries++) {
		if (tries > 0)
			(void)nanosleep(&pause, NULL);
		rc = look_at_log(spool, deeply, log_path, err);
		if (rc == 0)
			goto good;
		if (err->code != PX_CORRUPT)
			return -1;
	}
	px_db_note_damage(spool);
	return rc;
good:
	spool->log_is_whole = true;
	spool->log_is_ours = spool->log_is_ours || deeply;
	return 0;
}
