/* SPDX-License-Identifier: MIT */
/* What the counters of a spool say, whatever they are. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "spool_db.h"

static const struct {
	const char *row;
	struct spool_counters counters;
	int64_t held;
} held[] = {
	{ "new", { 0 }, 0 },
	{ "some of each", { .recorded = 20, .acknowledged = 5, .quarantined = 2, .dropped = 1, .lost_events = 3,
	    .lost_snapshots = 4 }, 7 },
	{ "all quarantined", { .recorded = 3, .quarantined = 3 }, 3 },
	{ "all gone", { .recorded = 3, .acknowledged = 1, .lost_events = 2 }, 0 },
	{ "the greatest", { .recorded = SPOOL_SEQ_MASK - 1, .acknowledged = SPOOL_SEQ_MASK - 1 }, 0 },
	{ "more than a seq can be", { .recorded = SPOOL_SEQ_MASK }, -1 },
	{ "more gone than came", { .recorded = 3, .acknowledged = 2, .lost_events = 2 }, -1 },
	{ "more quarantined than there are", { .recorded = 3, .acknowledged = 2, .quarantined = 2 }, -1 },
	{ "less than none", { .recorded = 3, .dropped = -1 }, -1 },
	{ "less than none recorded", { .recorded = INT64_MIN, .acknowledged = INT64_MAX }, -1 },
	{ "what would wrap around", { .recorded = 3, .acknowledged = INT64_MAX, .lost_snapshots = INT64_MAX }, -1 },
};

static void
test_held(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(held) / sizeof(held[0]); i++)
		if (px_room_held(&held[i].counters) != held[i].held)
			fail_msg("%s: %lld", held[i].row, (long long)px_room_held(&held[i].counters));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_held),
	};

	return cmocka_run_group_tests_name("spool_room", tests, NULL, NULL);
}
