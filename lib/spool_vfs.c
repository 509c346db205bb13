/* SPDX-License-Identifier: MIT */
/*
 * SQLite as this process uses it, and its own file layer, less one sync and all rollback journals. Each process that opens
 * the write-ahead log lets SQLite sync the folder with its first commit, in case it has just created the log: a recorder's
 * only commit, so every event would cost two syncs. Where the log holds a frame, its name and the spool's are on disk: who
 * began the log wrote its header, synced it, synced the folder, and only then wrote frames. A header alone proves nothing:
 * its writer may have been killed before it synced the folder.
 *
 * A spool never has a rollback journal. One that lies beside it is of another database, and SQLite would write its pages
 * over the spool's, whatever they are: here there is none to be seen. Nor can one be made, as where the header is damaged.
 * And a write-ahead log is ours to remove.
 *
 * A log that is emptied need not become shorter: with other salts in its header its frames are left over, and the next
 * ones are written over them. Where a file grows, a sync also waits for the file system to note that.
 *
 * SQLite writes a commit's frames one by one, head and page apart, and no frame is where the system's pages are: that takes
 * longer than all else that a flush has the system do. So they are gathered, and written by the sync that ends the commit,
 * before which nobody else is told of them.
 *
 * SQLite says that there is no space also where a damaged page leads to one beyond the largest number that a page may have.
 */
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#include "spool_db.h"
#include "spool_pages.h"

#define READ_TRIES 3
#define READ_PAUSE_NS 20000000
#define GATHERED_MAX ((size_t)32 * SPOOL_FRAME)		/* no frame is torn where a long commit is written in pieces */
#define FRAME_HEAD (SPOOL_FRAME - SPOOL_PAGE)

static sqlite3_vfs *system_vfs;
static sqlite3_vfs our_vfs;

/* Of SQLite's own files, and of those that it does not lock: logs. */
static struct layer {
	const sqlite3_io_methods *system;
	sqlite3_io_methods ours;
} layers[2];

/*
 * The log that was opened last, and how far it was read frame by frame, its header with the page. Only who makes its index
 * anew reads so, up to the first frame that is not whole ("The Checksum Algorithm", "Recovery": sqlite.org/walformat.html).
 */
static const sqlite3_file *newest_log;
static int64_t log_read_to;

static int64_t kept_bytes;	/* of a log that is emptied; 0: it is cut off */
static bool was_full;		/* a write failed for want of space, and nobody has asked yet */

/* What is still to be written of one log, without a gap. */
static struct {
	bool is_on;
	sqlite3_file *file;
	sqlite3_int64 at;
	size_t len;
	uint8_t bytes[GATHERED_MAX];
} gathered;

static const sqlite3_io_methods *
system_methods(const sqlite3_file *file)
{
	return layers[file->pMethods == &layers[1].ours].system;
}

static int
write_file(sqlite3_file *file, const void *bytes, int len, sqlite3_int64 offset)
{
	int result = system_methods(file)->xWrite(file, bytes, len, offset);

	was_full = was_full || result == SQLITE_FULL;
	return result;
}

bool
px_db_was_full(void)
{
	bool is_so = was_full;

	was_full = false;
	return is_so;
}

/*
 * What could not be written is not tried again: the commit that it is of has failed. The head of the last frame is zero
 * until all else is there: of who is killed a part may be written, and the head of a commit over what was left over in the
 * log looks as a commit does that was damaged later.
 */
static int
write_gathered(void)
{
	size_t len = gathered.len;
	bool ends_frame = len >= SPOOL_FRAME && (gathered.at + (sqlite3_int64)len - PX_WAL_HEADER) % SPOOL_FRAME == 0;
	size_t head_at = ends_frame ? len - SPOOL_FRAME : 0;
	uint8_t head[FRAME_HEAD];
	int result;

	gathered.len = 0;
	if (!ends_frame)
		return len == 0 ? SQLITE_OK : write_file(gathered.file, gathered.bytes, (int)len, gathered.at);
	memcpy(head, gathered.bytes + head_at, FRAME_HEAD);
	memset(gathered.bytes + head_at, 0, FRAME_HEAD);
	result = write_file(gathered.file, gathered.bytes, (int)len, gathered.at);
	return result == SQLITE_OK ? write_file(gathered.file, head, FRAME_HEAD, gathered.at + (sqlite3_int64)head_at) : result;
}

static int
write_log(sqlite3_file *file, const void *bytes, int count, sqlite3_int64 offset)
{
	size_t len = (size_t)count;
	int result = SQLITE_OK;

	if (gathered.len > 0 && (gathered.file != file || offset != gathered.at + (sqlite3_int64)gathered.len ||
	    len > GATHERED_MAX - gathered.len))
		result = write_gathered();
	if (result != SQLITE_OK)
		return result;
	if (!gathered.is_on || len > GATHERED_MAX)
		return write_file(file, bytes, count, offset);
	if (gathered.len == 0) {
		gathered.file = file;
		gathered.at = offset;
	}
	memcpy(gathered.bytes + gathered.len, bytes, len);
	gathered.len += len;
	return SQLITE_OK;
}

static int
sync_log(sqlite3_file *file, int flags)
{
	int result = write_gathered();

	return result == SQLITE_OK ? system_methods(file)->xSync(file, flags) : result;
}

void
px_db_gather(bool is_on)
{
	gathered.is_on = is_on;
	(void)write_gathered();
}

/*
 * SQLite calls a file damaged whose disk fails to read it (SQLITE_IOERR_CORRUPTFS). A spool is made anew for that, so it
 * has to be more than a bad moment.
 */
static int
read_file(sqlite3_file *file, void *out, int len, sqlite3_int64 offset)
{
	const struct timespec pause = { 0, READ_PAUSE_NS };
	const sqlite3_io_methods *system = system_methods(file);
	int result = write_gathered();

	if (result == SQLITE_OK)
		result = system->xRead(file, out, len, offset);

	for (int tries = 1; tries < READ_TRIES && result == SQLITE_IOERR_CORRUPTFS; tries++) {
		(void)nanosleep(&pause, NULL);
		result = system->xRead(file, out, len, offset);
	}
	if (file == newest_log && len == SPOOL_FRAME && result == SQLITE_OK)
		log_read_to = offset + len;
	return result;
}

/* False where it has to be cut off. */
static bool
begin_log_anew(sqlite3_file *file)
{
	const sqlite3_io_methods *system = system_methods(file);
	uint8_t header[PX_WAL_HEADER];
	sqlite3_int64 size = 0;
	uint32_t salt;

	if (system->xFileSize(file, &size) != SQLITE_OK || size > kept_bytes ||
	    system->xRead(file, header, sizeof(header), 0) != SQLITE_OK)
		return false;
	sqlite3_randomness(sizeof(salt), &salt);
	return px_wal_begin_anew(header, salt) && system->xWrite(file, header, sizeof(header), 0) == SQLITE_OK &&
	    system->xSync(file, SQLITE_SYNC_NORMAL | SQLITE_SYNC_DATAONLY) == SQLITE_OK;
}

/* Of the ways in which a log is made shorter, only that to nothing is one that empties it. */
static int
truncate_log(sqlite3_file *file, sqlite3_int64 to)
{
	int result = write_gathered();

	if (result != SQLITE_OK || (to == 0 && file == newest_log && kept_bytes > 0 && begin_log_anew(file)))
		return result;
	return system_methods(file)->xTruncate(file, to);
}

static void
take_over(sqlite3_file *file, struct layer *layer)
{
	if (layer->system == NULL) {
		layer->system = file->pMethods;
		layer->ours = *layer->system;
		layer->ours.xRead = read_file;
		layer->ours.xWrite = write_file;
	}
	if (layer == &layers[1]) {
		layer->ours.xWrite = write_log;
		layer->ours.xSync = sync_log;
		layer->ours.xTruncate = truncate_log;
	}
	if (file->pMethods == layer->system)
		file->pMethods = &layer->ours;
}

static int
open_file(sqlite3_vfs *vfs, const char *name, sqlite3_file *file, int flags, int *given_flags)
{
	bool is_log = (flags & SQLITE_OPEN_WAL) != 0;
	struct stat status;
	int result;

	(void)vfs;
	if ((flags & SQLITE_OPEN_MAIN_JOURNAL) != 0) {
		file->pMethods = NULL;
		return SQLITE_CANTOPEN;
	}
	if (is_log && name != NULL && stat(name, &status) == 0 && status.st_size > PX_WAL_HEADER)
		flags &= ~SQLITE_OPEN_CREATE;
	result = system_vfs->xOpen(system_vfs, name, file, flags, given_flags);
	if (file->pMethods != NULL)
		take_over(file, &layers[is_log]);
	if (is_log && file->pMethods != NULL) {
		newest_log = file;
		log_read_to = 0;
	}
	return result;
}

static bool
ends_with(const char *name, const char *suffix)
{
	return name != NULL && px_slice_ends_with(px_slice(name), suffix);
}

/* Where a file has not one page left, SQLite removes its log, which may have all that was in it. */
static int
remove_file(sqlite3_vfs *vfs, const char *name, int syncs_folder)
{
	(void)vfs;
	return ends_with(name, "-wal") ? SQLITE_IOERR_DELETE : system_vfs->xDelete(system_vfs, name, syncs_folder);
}

static int
see_file(sqlite3_vfs *vfs, const char *name, int flags, int *is_so)
{
	(void)vfs;
	if (ends_with(name, "-journal")) {
		*is_so = 0;
		return SQLITE_OK;
	}
	return system_vfs->xAccess(system_vfs, name, flags, is_so);
}

/* The spool's name has no link in it any more (px_db_real_path), and the file itself is not opened through one. */
static int
take_name(sqlite3_vfs *vfs, const char *name, int size, char *out)
{
	(void)vfs;
	return snprintf(out, (size_t)size, "%s", name) < size ? SQLITE_OK : SQLITE_CANTOPEN;
}

/*
 * No thread of ours shares SQLite, nobody asks how much memory it has, and most connections live for one insert: locks,
 * accounts and memory taken in advance are work at the start of each recorder (SQLite, "Configuration Options").
 * Where SQLite runs already, it stays as it is.
 */
static void
configure(void)
{
	(void)sqlite3_config(SQLITE_CONFIG_SINGLETHREAD);
	(void)sqlite3_config(SQLITE_CONFIG_MEMSTATUS, 0);
	(void)sqlite3_config(SQLITE_CONFIG_PAGECACHE, (void *)NULL, 0, 0);
	(void)sqlite3_config(SQLITE_CONFIG_LOOKASIDE, 0, 0);
}

int64_t
px_db_log_read_to(struct px_spool *spool)
{
	sqlite3_file *log = NULL;

	return sqlite3_file_control(spool->db, "main", SQLITE_FCNTL_JOURNAL_POINTER, &log) == SQLITE_OK && log == newest_log ?
	    log_read_to : 0;
}

void
px_db_keep_log(int64_t bytes)
{
	kept_bytes = bytes;
}

const char *
px_db_vfs(void)
{
	if (system_vfs == NULL)
		configure();
	if (system_vfs == NULL && (system_vfs = sqlite3_vfs_find(NULL)) != NULL) {
		our_vfs = *system_vfs;
		our_vfs.zName = "px-status";
		our_vfs.pNext = NULL;
		our_vfs.xOpen = open_file;
		our_vfs.xAccess = see_file;
		our_vfs.xFullPathname = take_name;
		our_vfs.xDelete = remove_file;
		if (sqlite3_vfs_register(&our_vfs, 0) != SQLITE_OK)
			system_vfs = NULL;
	}
	return system_vfs != NULL ? our_vfs.zName : NULL;
}
