/* SPDX-License-Identifier: MIT */
#include "spool_db.h"

#include <stdio.h>
#include <string.h>

/*
 * An insert must touch few pages, for each is a page more to write and sync. So the documents stand in one table in the
 * order of their keys: snapshots (their seq) before events (2^48 + seq). New ones go to the end of their part, the oldest
 * of a kind has the smallest key, and all that is ever asked for is a range. There is no index that an insert must keep.
 *
 * An item never changes once it is there. What happens to it (attempts, quarantine, deferring) stands beside it in
 * "mark", which most items have no row in, so that counting an attempt doesn't write a document again. "counters" is a
 * table of its own because each insert changes it. How many are pending is what is left of recorded when all others are
 * taken off. The spool's id stands there once more: so each piece of the write-ahead log tells whose it is.
 *
 * SQLite parses all of this whenever a spool is opened, and a recorder opens it for a single insert: so columns have
 * names and neither types nor constraints. Names say what they hold: times in ms and other numbers are integers, an id
 * and a body are blobs, all others are text.
 */
static const struct {
	const char *name;
	const char *sql;
} schema[] = {
	{ "counters", "CREATE TABLE counters(one INTEGER PRIMARY KEY,recorded,acknowledged,quarantined,dropped,lost_events,"
	    "lost_snapshots,max_bytes,spool_id)" },
	{ "item", "CREATE TABLE item(key INTEGER PRIMARY KEY,id,time_ms,topic,body)" },
	{ "mark", "CREATE TABLE mark(key INTEGER PRIMARY KEY,attempts,deferred,reason)" },
	{ "mark_quarantined", "CREATE INDEX mark_quarantined ON mark(key) WHERE reason IS NOT NULL" },
	{ "mark_deferred", "CREATE INDEX mark_deferred ON mark(deferred) WHERE deferred IS NOT NULL" },
	{ "spool", "CREATE TABLE spool(one INTEGER PRIMARY KEY,id,device_id,machine_hash,last_quarantined_id,"
	    "last_quarantined_reason,last_quarantined_ms,replaces_id,replaces_recorded,replaces_acknowledged,failed_runs,"
	    "batch_limit,stuck_seq,stuck_runs,stuck_limit,last_success_ms,last_failure_ms,last_failure_reason)" },
	{ "timer", "CREATE TABLE timer(which INTEGER PRIMARY KEY,wall_ms,boot_ms,boot_id,length_ms)" },
	{ "run", "CREATE TABLE run(number INTEGER PRIMARY KEY,time_ms,acknowledged,exit_status,reason)" },
	{ "taken", "CREATE TABLE taken(name TEXT PRIMARY KEY) WITHOUT ROWID" },
};

#define SCHEMA_COUNT (sizeof(schema) / sizeof(schema[0]))

/* A row for each version before this one: there was none, and C has no empty array. */
static const struct spool_step steps[] = {
	{ 0, NULL },
};

static int
run_sql(struct px_spool *spool, const char *sql, struct px_err *err)
{
	int result = sqlite3_exec(spool->db, sql, NULL, NULL, NULL);

	return result == SQLITE_OK ? 0 : px_db_fail(spool, result, "write", err);
}

int
px_db_make_schema(struct px_spool *spool, const struct px_spool_birth *birth, struct px_err *err)
{
	uint8_t id[16];

	_Static_assert(SPOOL_VERSION == 1 && SPOOL_APPLICATION_ID == 1886942068, "the numbers below");

	if (px_row_id_bytes(birth->id, id, err) == -1 ||
	    run_sql(spool, "PRAGMA application_id=1886942068; PRAGMA user_version=1", err) == -1)
		return -1;
	for (size_t i = 0; i < SCHEMA_COUNT; i++)
		if (run_sql(spool, schema[i].sql, err) == -1)
			return -1;
	if (px_db_run(spool, err, "INSERT INTO counters VALUES (1, 0, 0, 0, 0, 0, 0, 0, ?1)", "b", id, (int64_t)sizeof(id)) == -1)
		return -1;
	return px_db_run(spool, err, "INSERT INTO spool (one, id, device_id, machine_hash, failed_runs, batch_limit, "
	    "stuck_seq, stuck_runs, stuck_limit, last_success_ms, last_failure_ms) VALUES (1, ?1, ?2, ?3, 0, 0, 0, 0, 0, 0, 0)",
	    "tss", birth->id, &birth->device_id, &birth->machine_hash);
}

static bool
is_text(sqlite3_stmt *row, int column, const char *text)
{
	const char *found = (const char *)sqlite3_column_text(row, column);

	return found != NULL && strcmp(found, text) == 0;
}

/* Counts the tables that are ours, all that is there, and indexes that others made: they are computed with each change. */
static int
look_at_tables(struct px_spool *spool, size_t *ours, size_t *all, size_t *foreign_indexes, struct px_err *err)
{
	sqlite3_stmt *row;
	int rc;

	*ours = 0;
	*all = 0;
	*foreign_indexes = 0;
	if (px_db_query(spool, &row, err, "SELECT name, sql, type FROM sqlite_master", "") == -1)
		return -1;
	while ((rc = px_db_step(spool, row, err)) == 1) {
		bool is_ours = false;

		for (size_t i = 0; i < SCHEMA_COUNT; i++)
			is_ours |= is_text(row, 0, schema[i].name) && is_text(row, 1, schema[i].sql);
		++*all;
		*ours += is_ours;
		*foreign_indexes += !is_ours && is_text(row, 2, "index");
	}
	return rc;
}

struct migration {
	const struct spool_step *steps;
	size_t count;
	int64_t to;
};

static int
migrate_by_steps(struct px_spool *spool, void *arg, struct px_err *err)
{
	const struct migration *migration = arg;
	char sql[64];
	int64_t version;

	if (px_db_number(spool, 0, &version, err, "PRAGMA user_version", "") == -1)
		return -1;
	for (size_t i = 0; i < migration->count; i++) {
		if (migration->steps[i].sql == NULL || migration->steps[i].from != version)
			continue;
		if (run_sql(spool, migration->steps[i].sql, err) == -1)
			return -1;
		version++;
	}
	if (version != migration->to)
		return px_err_set(err, PX_CORRUPT, "cannot open spool '%s': no spool has version %d", spool->name, (int)version);
	(void)snprintf(sql, sizeof(sql), "PRAGMA user_version=%d", (int)version);
	return run_sql(spool, sql, err);
}

int
px_db_migrate(struct px_spool *spool, const struct spool_step *all, size_t count, int64_t to, struct px_err *err)
{
	struct migration migration = { all, count, to };

	return px_db_write(spool, true, migrate_by_steps, &migration, NULL, err);
}

int
px_db_check_schema(struct px_spool *spool, struct px_err *err)
{
	int64_t application;
	int64_t version;
	size_t ours;
	size_t all;
	size_t foreign_indexes;

	if (px_db_number(spool, 0, &version, err, "PRAGMA user_version", "") == -1)
		return -1;
	/* An insert finds out by itself what is not there; a flush looks closely. */
	if (version == SPOOL_VERSION && spool->use == PX_SPOOL_RECORD)
		return 0;
	if (look_at_tables(spool, &ours, &all, &foreign_indexes, err) == -1)
		return -1;
	if (version == SPOOL_VERSION && ours == SCHEMA_COUNT && foreign_indexes > 0)
		return px_err_set(err, PX_CORRUPT, "cannot use spool '%s': somebody made an index in it", spool->name);
	if (version == SPOOL_VERSION && ours == SCHEMA_COUNT)
		return 0;
	if (px_db_number(spool, 0, &application, err, "PRAGMA application_id", "") == -1)
		return -1;
	if (application != SPOOL_APPLICATION_ID && ours != SCHEMA_COUNT && all > 0)
		return px_err_set(err, PX_STORAGE, "cannot open spool '%s': it is another program's database; move it away, "
		    "or name another [spool] path", spool->name);
	if (application == SPOOL_APPLICATION_ID && version > SPOOL_VERSION)
		return px_err_set(err, PX_STORAGE, "cannot open spool '%s': it was made by a newer px-status (version %d, this one "
		    "knows %d); install that one, or move the file away", spool->name, (int)version, SPOOL_VERSION);
	if (application == SPOOL_APPLICATION_ID && version > 0 && version < SPOOL_VERSION)
		return px_db_migrate(spool, steps, sizeof(steps) / sizeof(steps[0]), SPOOL_VERSION, err);
	return px_err_set(err, PX_CORRUPT, "cannot open spool '%s': it is no spool, or not a whole one", spool->name);
}
