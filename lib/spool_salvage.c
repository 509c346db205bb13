/* SPDX-License-Identifier: MIT */
/* Everything readable of a broken spool, row by row. What can't be read is stepped over. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "spool_make.h"

#define ROW_MAX (8 << 20)
#define COLUMN_TEXT_MAX 4096

/* A row that was found. */
struct place {
	int64_t key;
	uint32_t page;
	uint32_t at;
};

struct places {
	struct place *places;	/* owned */
	size_t count;
	size_t capacity;
	bool failed;		/* no memory */
};

/*
 * A spool as its pages show it. Where the log is not the file's, or damaged, there are two: with the log, and as the
 * file was before it.
 */
struct view {
	struct px_pages pages;
	struct px_identity identity;
	struct places items;
	struct places marks;
	bool only_torn;		/* of the file: what an undamaged log has is newer */
};

#define VIEWS 3

struct salvage {
	struct px_spool *fresh;
	struct view views[VIEWS];
	size_t view_count;
	struct view *primary;		/* that says who it was */
	struct px_buf row;
	struct px_buf mark;
	struct spool_counters counters;	/* of the fresh one */
};

static void
add_place(struct places *places, const struct px_row *row)
{
	if (places->count == places->capacity) {
		size_t capacity = places->capacity * 2 + 1024;
		struct place *larger = reallocarray(places->places, capacity, sizeof(*larger));

		if (larger == NULL) {
			places->failed = true;
			return;
		}
		places->places = larger;
		places->capacity = capacity;
	}
	places->places[places->count++] = (struct place){ row->key, row->page, (uint32_t)row->at };
}

static void
take_item(void *arg, const struct px_row *row)
{
	struct view *view = arg;

	if (row->key != SPOOL_EVENT_KEYS && (!view->only_torn || px_pages_is_torn(&view->pages, row->page)))
		add_place(&view->items, row);
}

static void
take_mark(void *arg, const struct px_row *row)
{
	struct view *view = arg;

	add_place(&view->marks, row);
}

static int
compare_key(const void *a, const void *b)
{
	const struct place *left = a;
	const struct place *right = b;

	return left->key < right->key ? -1 : left->key > right->key;
}

static int
compare_seq(const void *a, const void *b)
{
	const struct place *left = a;
	const struct place *right = b;
	int64_t difference = (left->key & SPOOL_SEQ_MASK) - (right->key & SPOOL_SEQ_MASK);

	if (difference == 0)
		return compare_key(a, b);
	return difference < 0 ? -1 : 1;
}

static int
find_rows(struct view *view, struct px_err *err)
{
	const struct spool_counters *counters = &view->identity.counters;
	int64_t held = view->identity.has_counters ? px_room_held(counters) : -1;

	px_pages_each(&view->pages, PX_TABLE_ITEM, held > 0 ? held : 0, take_item, view);
	px_pages_each(&view->pages, PX_TABLE_MARK, held > 0 ? counters->quarantined : 0, take_mark, view);
	if (view->items.failed || view->marks.failed)
		return px_err_set(err, PX_STORAGE, "no memory for the keys of %zu %s", view->items.count,
		    px_text_plural((int64_t)view->items.count, "item", "items"));
	if (view->items.count > 0)
		qsort(view->items.places, view->items.count, sizeof(struct place), compare_seq);
	if (view->marks.count > 0)
		qsort(view->marks.places, view->marks.count, sizeof(struct place), compare_key);
	return 0;
}

static int
open_view(struct salvage *salvage, struct view **out, const struct px_source *source, const struct px_bytes *log,
    enum px_frames frames, struct px_err *err)
{
	struct view *view = &salvage->views[salvage->view_count++];

	*out = view;
	if (px_pages_open(&view->pages, &source->file, log, frames, err) == -1)
		return -1;
	px_source_identify(&view->pages, &view->identity);
	return 0;
}

/*
 * Opens what there is to read, the view that is believed most first. A frame behind damage may be of a commit that the power
 * failed in: what it has counts as well as what was there before.
 */
static int
open_views(struct salvage *salvage, const struct px_source *source, struct px_err *err)
{
	struct view *certain;
	struct view *file;

	if (open_view(salvage, &certain, source, &source->log, PX_FRAMES_CERTAIN, err) == -1)
		return -1;
	salvage->primary = certain;
	if (certain->pages.has_doubtful &&
	    open_view(salvage, &salvage->primary, source, &source->log, PX_FRAMES_ALL, err) == -1)
		return -1;
	if (certain->pages.log.count > 0) {
		if (open_view(salvage, &file, source, NULL, PX_FRAMES_ALL, err) == -1)
			return -1;
		if (!px_source_log_is_of(&file->identity, &salvage->primary->identity)) {
			salvage->primary = file;
		} else if (certain->pages.log.is_damaged) {
			px_pages_share_torn(&file->pages, &certain->pages);
			file->only_torn = true;
		} else {
			salvage->view_count--;
		}
	}
	for (size_t i = 0; i < salvage->view_count; i++)
		if (find_rows(&salvage->views[i], err) == -1)
			return -1;
	return 0;
}

static struct px_slice
slice_of(const struct px_column *column)
{
	return (struct px_slice){ column->bytes != NULL ? (const char *)column->bytes : "", column->len };
}

/* The text of a column, "" where it is none. */
static void
copy_text(char *out, size_t size, const struct px_column *column)
{
	out[0] = '\0';
	if (column->type >= 13 && column->type % 2 == 1)
		px_db_clean_text(out, size, slice_of(column));
}

/* What is known of an item beside itself; nothing where it can't be read. */
static int
carry_mark(struct salvage *salvage, struct view *view, int64_t old_key, int64_t key, struct px_err *err)
{
	const struct place wanted = { .key = old_key };
	char reason[COLUMN_TEXT_MAX];
	const struct place *place = NULL;
	struct px_row row;

	if (view->marks.count > 0)
		place = bsearch(&wanted, view->marks.places, view->marks.count, sizeof(wanted), compare_key);
	if (place == NULL || !px_pages_whole_row(&view->pages, PX_TABLE_MARK, place->page, place->at, &salvage->mark, &row))
		return 0;
	copy_text(reason, sizeof(reason), &row.columns[3]);
	salvage->counters.quarantined += !px_column_is_null(&row.columns[3]);
	return px_db_run(salvage->fresh, err,
	    "INSERT INTO mark (key, attempts, deferred, reason) VALUES (?1, ?2, nullif(?3, 0), ?4)",
	    "iiit", key, px_column_integer(&row.columns[1]), px_column_integer(&row.columns[2]),
	    px_column_is_null(&row.columns[3]) ? NULL : reason);
}

/* The item in a row; false where it is none. */
static bool
make_item(const struct px_row *row, struct px_item *item)
{
	*item = (struct px_item){ .kind = row->key > SPOOL_EVENT_KEYS ? PX_EVENT : PX_SNAPSHOT };
	item->time_ms = px_column_integer(&row->columns[2]);
	item->topic = slice_of(&row->columns[3]);
	item->body = slice_of(&row->columns[4]);
	if (px_column_is_null(&row->columns[3]))
		item->topic.ptr = NULL;
	px_row_id_text(row->columns[1].bytes, item->id);
	return px_row_is_sound(item);
}

static int
carry_item(struct salvage *salvage, struct view *view, const struct place *place, struct px_err *err)
{
	struct px_item item;
	struct px_row row;

	if (!px_pages_whole_row(&view->pages, PX_TABLE_ITEM, place->page, place->at, &salvage->row, &row) ||
	    !make_item(&row, &item))
		return 0;
	if (px_db_run(salvage->fresh, err, "INSERT OR IGNORE INTO seen (id) VALUES (?1)", "b", row.columns[1].bytes,
	    (int64_t)row.columns[1].len) == -1)
		return -1;
	if (sqlite3_changes(salvage->fresh->db) == 0)
		return 0;
	item.seq = ++salvage->counters.recorded;
	if (px_row_insert(salvage->fresh, &item, err) == -1)
		return -1;
	return carry_mark(salvage, view, place->key, px_row_key(item.kind, item.seq), err);
}

/* The items of all views in the order of their seqs. */
static int
carry_items(struct salvage *salvage, struct px_err *err)
{
	size_t at[VIEWS] = { 0 };

	if (px_db_run(salvage->fresh, err, "CREATE TEMP TABLE seen (id BLOB PRIMARY KEY) WITHOUT ROWID", "") == -1)
		return -1;
	for (;;) {
		size_t next = salvage->view_count;

		for (size_t i = 0; i < salvage->view_count; i++) {
			const struct places *items = &salvage->views[i].items;

			if (at[i] < items->count && (next == salvage->view_count ||
			    compare_seq(&items->places[at[i]], &salvage->views[next].items.places[at[next]]) < 0))
				next = i;
		}
		if (next == salvage->view_count)
			return 0;
		if (carry_item(salvage, &salvage->views[next], &salvage->views[next].items.places[at[next]++], err) == -1)
			return -1;
	}
}

/* Names of overflow files. */
struct names {
	struct px_spool *fresh;
	int rc;
	struct px_err *err;
};

static void
take_name(void *arg, const struct px_row *row)
{
	struct px_slice name = slice_of(&row->columns[0]);
	struct names *names = arg;

	if (names->rc == 0 && row->columns[0].bytes != NULL)
		names->rc = px_db_run(names->fresh, names->err, "INSERT OR IGNORE INTO taken (name) VALUES (?1)", "s", &name);
}

/* Overflow files that the old one took in and that are not removed yet. */
static int
carry_taken(struct salvage *salvage, struct px_err *err)
{
	struct names names = { salvage->fresh, 0, err };

	for (size_t i = 0; i < salvage->view_count; i++)
		px_pages_each(&salvage->views[i].pages, PX_TABLE_TAKEN, 0, take_name, &names);
	return names.rc;
}

/* The row that says who the old spool was; it lies in the salvage's buffer. */
static bool
find_identity(struct salvage *salvage, struct px_row *row)
{
	struct view *view = salvage->primary;

	return view->identity.page != 0 &&
	    px_pages_whole_row(&view->pages, PX_TABLE_SPOOL, view->identity.page, view->identity.at, &salvage->mark, row);
}

static int
carry_quarantine(struct salvage *salvage, struct px_err *err)
{
	char reason[COLUMN_TEXT_MAX];
	char id[PX_ID_MAX];
	struct px_row row;

	if (salvage->counters.quarantined == 0 || !find_identity(salvage, &row))
		return 0;
	copy_text(id, sizeof(id), &row.columns[4]);
	copy_text(reason, sizeof(reason), &row.columns[5]);
	if (!px_id_is_valid(px_slice(id)))
		return 0;
	return px_db_run(salvage->fresh, err, "UPDATE spool SET last_quarantined_id = ?1, last_quarantined_reason = ?2, "
	    "last_quarantined_ms = ?3 WHERE one = 1", "tti", id, reason, px_column_integer(&row.columns[6]));
}

/* The spool in whose place the old one came, where upstream acknowledged nothing of the old one. */
static bool
find_predecessor(struct salvage *salvage, char id[PX_ID_MAX], struct spool_counters *counters)
{
	struct px_row row;

	if (salvage->primary->identity.counters.acknowledged > 0 || !find_identity(salvage, &row))
		return false;
	copy_text(id, PX_ID_MAX, &row.columns[7]);
	*counters = (struct spool_counters){
		.recorded = px_column_integer(&row.columns[8]),
		.acknowledged = px_column_integer(&row.columns[9]),
	};
	return px_id_is_valid(px_slice(id)) && counters->acknowledged >= 0 && counters->acknowledged <= counters->recorded;
}

/*
 * What this spool replaces, as far as it can be read: the last one that upstream knows, whose numbers are still to be
 * accounted for.
 */
static int
carry_identity(struct salvage *salvage, struct px_err *err)
{
	const struct px_identity *identity = &salvage->primary->identity;
	const struct places *items = &salvage->primary->items;
	struct spool_counters counters;
	char id[PX_ID_MAX];

	if (identity->id[0] == '\0')
		return 0;
	if (!find_predecessor(salvage, id, &counters)) {
		memcpy(id, identity->id, sizeof(id));
		counters = identity->counters;
		if (!identity->has_counters) {
			counters = (struct spool_counters){ .recorded = 0 };
			if (items->count > 0)
				counters.recorded = items->places[items->count - 1].key & SPOOL_SEQ_MASK;
		}
	}
	return px_db_run(salvage->fresh, err, "UPDATE spool SET replaces_id = ?1, replaces_recorded = ?2, "
	    "replaces_acknowledged = ?3 WHERE one = 1", "tii", id, counters.recorded, counters.acknowledged);
}

int
px_salvage(const struct px_source *source, struct px_spool *fresh, int64_t *carried, bool *log_is_sound, struct px_err *err)
{
	struct salvage *salvage = calloc(1, sizeof(*salvage));
	int rc = -1;

	if (salvage == NULL)
		return px_err_set(err, PX_STORAGE, "no memory for a spool");
	salvage->fresh = fresh;
	salvage->row = PX_BUF(ROW_MAX);
	salvage->mark = PX_BUF(ROW_MAX);
	if (open_views(salvage, source, err) == -1 || carry_items(salvage, err) == -1 || carry_taken(salvage, err) == -1 ||
	    carry_quarantine(salvage, err) == -1 || carry_identity(salvage, err) == -1 ||
	    px_room_store(fresh, &salvage->counters, err) == -1)
		goto out;
	for (size_t i = 0; i < salvage->view_count; i++)
		if (salvage->views[i].pages.no_memory) {
			(void)px_err_set(err, PX_STORAGE, "no memory for an item of a broken spool");
			goto out;
		}
	*carried = salvage->counters.recorded;
	*log_is_sound = salvage->view_count == 1 && !salvage->views[0].pages.log.is_damaged;
	rc = 0;
out:
	for (size_t i = 0; i < VIEWS; i++) {
		px_pages_close(&salvage->views[i].pages);
		free(salvage->views[i].items.places);
		free(salvage->views[i].marks.places);
	}
	px_buf_clear(&salvage->row);
	px_buf_clear(&salvage->mark);
	free(salvage);
	return rc;
}
