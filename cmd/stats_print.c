/* SPDX-License-Identifier: MIT */
/* `px-status stats` for a person: at a glance, within the lines of a terminal, and without colour as well. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "screen.h"
#include "stats.h"

#define LABEL "%-16s "
#define VALUE_COLUMN 17	/* where what a label names begins */
#define BAR_MAX 40

static const struct {
	const char *label;
	int64_t below_ms;	/* 0: whatever is older than the class above */
} ages[] = {
	{ "under 5 minutes", (int64_t)5 * 60 * PX_MS_PER_S },
	{ "under 1 hour", (int64_t)3600 * PX_MS_PER_S },
	{ "under 1 day", (int64_t)24 * 3600 * PX_MS_PER_S },
	{ "1 day and more", 0 },
};

#define AGES (sizeof(ages) / sizeof(ages[0]))

static void
print_heading(const char *text)
{
	printf("\n%s%s%s\n", screen_style(SCREEN_HEADING), text, screen_style_end(SCREEN_HEADING));
}

static void
print_count(const char *label, int64_t count, enum screen_style style)
{
	if (count == 0)
		style = SCREEN_PLAIN;
	printf(LABEL "%s%12" PRId64 "%s\n", label, screen_style(style), count, screen_style_end(style));
}

static void
print_time(const char *label, int64_t ms, const char *none)
{
	char text[PX_RFC3339_MAX];

	px_text_time_local(text, ms);
	printf(LABEL "%s\n", label, ms > 0 ? text : none);
}

/* How many of ${counts}[i] are in the i-th class, and a bar to compare them by. */
static void
print_bars(const int64_t counts[AGES])
{
	char bar[BAR_MAX + 1];
	int64_t most = 1;

	memset(bar, '#', BAR_MAX);
	bar[BAR_MAX] = '\0';
	for (size_t i = 0; i < AGES; i++)
		most = counts[i] > most ? counts[i] : most;
	for (size_t i = 0; i < AGES; i++) {
		int len = (int)((double)counts[i] / (double)most * BAR_MAX);

		if (counts[i] == 0)
			printf(LABEL "%12d\n", ages[i].label, 0);
		else
			printf(LABEL "%12" PRId64 "  %.*s\n", ages[i].label, counts[i], len > 0 ? len : 1, bar);
	}
}

static int
print_ages(const struct stats *stats, struct px_spool *spool, struct px_err *err)
{
	int64_t counts[AGES] = { 0 };
	int64_t younger = 0;

	for (size_t i = 0; i < AGES; i++) {
		int64_t count = stats->facts.pending;

		if (ages[i].below_ms > 0 &&
		    px_spool_pending_since(spool, stats->now.wall_ms - ages[i].below_ms + 1, &count, err) == -1)
			return -1;
		/* Others may come and go between two looks. */
		counts[i] = count > younger ? count - younger : 0;
		younger = count > younger ? count : younger;
	}
	print_heading("pending by age");
	print_bars(counts);
	return 0;
}

/* Runs from ${first} on that ended alike, as many as make one line; on a terminal only, elsewhere each has its own. */
static size_t
alike(const struct stats *stats, size_t first)
{
	size_t last = first + 1;

	while (screen_width() > 0 && last < stats->run_count && stats->runs[last].exit_status == stats->runs[first].exit_status &&
	    strcmp(stats->runs[last].reason, stats->runs[first].reason) == 0)
		last++;
	return last - first;
}

/* Of what a file says, which may be anything. */
static int64_t
sum(int64_t one, int64_t other)
{
	return other < 0 ? one : one > INT64_MAX - other ? INT64_MAX : one + other;
}

static void
print_runs(const struct stats *stats)
{
	char heading[80];
	size_t count;

	(void)snprintf(heading, sizeof(heading), "%-19s  %4s  %6s  %12s  %s", "last runs", "runs", "status", "acknowledged",
	    "stopped by");
	print_heading(heading);
	for (size_t i = 0; i < stats->run_count; i += count) {
		const struct px_spool_run *run = &stats->runs[i];
		enum screen_style style = run->exit_status == 0 ? SCREEN_GOOD : SCREEN_BAD;
		int64_t acknowledged = 0;
		char text[PX_RFC3339_MAX];
		int column;

		count = alike(stats, i);
		for (size_t j = i; j < i + count; j++)
			acknowledged = sum(acknowledged, stats->runs[j].acknowledged);
		px_text_time_local(text, run->time_ms);
		column = printf("%-19s  %4zu  ", text, count);
		printf("%s", screen_style(style));
		column += printf("%6d", run->exit_status);
		printf("%s", screen_style_end(style));
		column += printf("  %12" PRId64 "  ", acknowledged);
		screen_print_cut((size_t)column, run->reason[0] != '\0' ? run->reason : "-");
	}
}

static void
print_counters(const struct stats *stats)
{
	const struct px_spool_facts *facts = &stats->facts;

	print_count("recorded", facts->recorded, SCREEN_PLAIN);
	print_count("acknowledged", facts->acknowledged, SCREEN_PLAIN);
	print_count("pending", facts->pending, SCREEN_PLAIN);
	print_count("quarantined", facts->quarantined, SCREEN_BAD);
	print_count("dropped", facts->dropped, SCREEN_BAD);
	print_count("lost events", facts->lost_events, SCREEN_BAD);
	print_count("lost snapshots", facts->lost_snapshots, SCREEN_BAD);
	print_count("overflow files", stats->overflow, SCREEN_BAD);
	print_count("bytes on disk", stats->bytes, SCREEN_PLAIN);
}

int
stats_print(const struct stats *stats, struct px_spool *spool, struct px_err *err)
{
	char oldest[SCREEN_DURATION_MAX];

	printf(LABEL, "spool");
	screen_print_wrapped(VALUE_COLUMN, stats->path);
	printf(LABEL "%s\n", "id", stats->exists ? stats->facts.id : "not made yet");
	print_counters(stats);
	if (stats->oldest_pending_ms > 0) {
		screen_duration(oldest, stats_oldest_pending_s(stats));
		printf(LABEL "%s old\n", "oldest pending", oldest);
	}
	print_time("next try", stats_next_try_ms(stats), "with the next flush");
	print_time("last success", stats->history.last_success_ms, "never");
	print_time("last failure", stats->history.last_failure_ms, "never");
	if (stats->history.last_failure_ms > 0) {
		printf(LABEL, "");
		screen_print_wrapped(VALUE_COLUMN, stats->history.last_failure_reason);
	}
	if (stats->facts.pending > 0 && print_ages(stats, spool, err) == -1)
		return -1;
	if (stats->run_count > 0)
		print_runs(stats);
	return 0;
}
