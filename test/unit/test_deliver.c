/* SPDX-License-Identifier: MIT */
/* Delivery over a real spool, with an upstream that answers by rule. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <zlib.h>

#include "deliver.h"
#include "spool.h"

#define ITEMS_MAX 600
#define LIMITS ((struct px_spool_limits){ 100000, 256 << 20 })

/* Upstream: what it takes, and how often it was asked. */
struct upstream {
	int status_of_bad;		/* for a batch that holds a bad item */
	int status_of_all;		/* for every batch, also an empty one; 0: by its items */
	int status_of_gzip;		/* for every compressed body; 0: none */
	int status_above;		/* for a batch of more than ${largest} items */
	size_t largest;
	int denials;			/* so many 401 first */
	bool breaks_on_empty;		/* an empty batch can't be posted at all */
	bool times_out;			/* a bad item means no answer in time */
	uint32_t whims;			/* not 0: the state of its whims, each reply is one */
	int fails_after;		/* from this post on 429; 0: never */
	int64_t post_ms;		/* how long a post takes; 0: 10 ms */
	int64_t retry_after_ms;		/* of a reply that is no 2xx; 0: it asks for nothing */
	const char *type;
	const char *body;		/* of every reply, but of an empty batch's */
	bool body_cut;

	bool bad[ITEMS_MAX + 1];	/* by seq */
	int held[ITEMS_MAX + 1];	/* how often upstream acknowledged it */
	int posts;
	int empty_posts;
	int renewals;
	bool compresses;
	struct px_upstream reached;	/* by a run */
	struct px_now now;
};

static struct upstream *the_upstream;

static size_t
each_seq(struct px_slice body, void (*each)(struct upstream *upstream, int64_t seq), struct upstream *upstream)
{
	const char *at = body.ptr;
	size_t count = 0;

	while ((at = strstr(at, "\"seq\":")) != NULL) {
		int64_t seq = 0;

		at += strlen("\"seq\":");
		assert_int_equal(sscanf(at, "%" SCNd64, &seq), 1);
		each(upstream, seq);
		count++;
	}
	return count;
}

static bool found_bad;

static void
look_for_bad(struct upstream *upstream, int64_t seq)
{
	found_bad = found_bad || upstream->bad[seq];
}

static void
hold(struct upstream *upstream, int64_t seq)
{
	upstream->held[seq]++;
}

static uint32_t
draw(struct upstream *upstream, uint32_t below)
{
	upstream->whims ^= upstream->whims << 13;
	upstream->whims ^= upstream->whims >> 17;
	upstream->whims ^= upstream->whims << 5;
	return upstream->whims % below;
}

/* Anything at all; but it refuses what is bad, and never names a good item. */
static void
have_a_whim(struct upstream *upstream, size_t count, struct px_reply *reply)
{
	static const int statuses[] = { 200, 200, 200, 200, 200, 200, 204, 302, 401, 404, 408, 413, 415, 429, 500, 503, 0, 0 };

	reply->status = statuses[draw(upstream, sizeof(statuses) / sizeof(statuses[0]))];
	if (reply->status == 413 && (count == 1 || draw(upstream, 2) == 0))
		reply->status = 503;
	if (reply->status == 0) {
		reply->timed_out = draw(upstream, 2) == 0;
		(void)snprintf(reply->error, sizeof(reply->error), "a whim");
	}
	if (reply->status / 100 == 2 && found_bad)
		reply->status = draw(upstream, 2) == 0 ? 400 : 422;
	else if (reply->status == 200 && draw(upstream, 4) == 0) {
		(void)snprintf(reply->type, sizeof(reply->type), "text/html");
		px_buf_add_text(&reply->body, "<html>");
		reply->status = 203;
	}
}

/* What was compressed. */
static struct px_slice
gunzip(struct px_slice body)
{
	static char plain[1 << 20];
	z_stream stream = { .next_in = (z_const Bytef *)(uintptr_t)body.ptr, .avail_in = (uInt)body.len,
		.next_out = (Bytef *)plain, .avail_out = sizeof(plain) - 1 };

	assert_int_equal(inflateInit2(&stream, 15 + 16), Z_OK);
	assert_int_equal(inflate(&stream, Z_FINISH), Z_STREAM_END);
	assert_int_equal(stream.avail_in, 0);
	(void)inflateEnd(&stream);
	plain[stream.total_out] = '\0';
	return (struct px_slice){ plain, stream.total_out };
}

static int
post(void *arg, struct px_slice body, bool is_gzip, struct px_reply *reply, struct px_err *err)
{
	struct upstream *upstream = arg;
	size_t count;

	if (is_gzip)
		body = gunzip(body);
	assert_true(!is_gzip || upstream->compresses);

	upstream->posts++;
	upstream->now.boot_ms += upstream->post_ms > 0 ? upstream->post_ms : 10;
	found_bad = false;
	count = each_seq(body, look_for_bad, upstream);
	upstream->empty_posts += count == 0;
	if (count == 0 && upstream->breaks_on_empty)
		return px_err_set(err, PX_CONFIG, "no way to post");
	reply->retry_after_ms = -1;
	reply->status = 200;
	if (upstream->whims != 0) {
		have_a_whim(upstream, count, reply);
	} else if (upstream->denials > 0) {
		upstream->denials--;
		reply->status = 401;
	} else if (upstream->fails_after != 0 && upstream->posts >= upstream->fails_after) {
		reply->status = 429;
	} else if (upstream->status_of_gzip != 0 && is_gzip) {
		reply->status = upstream->status_of_gzip;
	} else if (upstream->status_of_all != 0) {
		reply->status = upstream->status_of_all;
	} else if (upstream->largest > 0 && count > upstream->largest) {
		reply->status = upstream->status_above;
	} else if (found_bad && upstream->times_out) {
		reply->status = 0;
		reply->timed_out = true;
		(void)snprintf(reply->error, sizeof(reply->error), "timed out");
	} else if (found_bad) {
		reply->status = upstream->status_of_bad;
	}
	if (reply->status == 200 || reply->status == 204)
		(void)each_seq(body, hold, upstream);
	else if (upstream->retry_after_ms > 0 && reply->status == upstream->status_of_bad)
		reply->retry_after_ms = upstream->retry_after_ms;
	reply->body_cut = upstream->body_cut;
	if (upstream->body != NULL && count > 0) {
		(void)snprintf(reply->type, sizeof(reply->type), "%s", upstream->type);
		px_buf_add_text(&reply->body, upstream->body);
	}
	return 0;
}

static int
renew_token(void *arg, struct px_err *err)
{
	struct upstream *upstream = arg;

	(void)err;
	upstream->reached.renew_token = NULL;
	upstream->renewals++;
	return 0;
}

static void
read_clock(struct px_now *now)
{
	*now = the_upstream->now;
}

/* A spool with ${count} events. */
struct bench {
	char folder[64];
	char path[96];
	struct px_spool *spool;
	struct upstream upstream;
	struct px_spool_history state;
	struct px_delivery out;
	bool plain;
	struct px_err err;
};

static void
bench_open(struct bench *bench, int count)
{
	struct px_spool_birth birth = { .id = "3f0d8a5e-5d3c-4c55-9d5e-3a6a3c2b1a00", .device_id = px_slice("d"),
		.machine_hash = px_slice("m") };

	memset(bench, 0, sizeof(*bench));
	the_upstream = &bench->upstream;
	bench->upstream.now = (struct px_now){ .wall_ms = 1767225600000, .boot_ms = 1000 };
	bench->upstream.status_of_bad = 400;
	/* In memory: hundreds of items would else wait for the disk. */
	(void)snprintf(bench->folder, sizeof(bench->folder), "%s/test_deliver.XXXXXX", access("/dev/shm", W_OK) == 0 ?
	    "/dev/shm" : "/tmp");
	assert_non_null(mkdtemp(bench->folder));
	(void)snprintf(bench->path, sizeof(bench->path), "%s/spool.db", bench->folder);
	assert_int_equal(px_spool_create(bench->path, &birth, &bench->err), 0);
	assert_int_equal(px_spool_open(&bench->spool, bench->path, PX_SPOOL_FLUSH, 1000, &bench->err), 0);
	for (int i = 1; i <= count; i++) {
		struct px_item item = { .kind = PX_EVENT, .time_ms = 1767225600000 + i, .topic = px_slice("t"),
			.body = px_slice("{\"time\":\"2026-01-01T00:00:00.000Z\"}") };

		(void)snprintf(item.id, sizeof(item.id), "019b7760-0000-7000-8000-%012d", i);
		assert_int_equal(px_spool_put(bench->spool, &item, &LIMITS, NULL, &bench->err), 0);
	}
}

static void
bench_close(struct bench *bench)
{
	char command[128];

	px_spool_close(bench->spool);
	(void)snprintf(command, sizeof(command), "rm -r '%s'", bench->folder);
	assert_int_equal(system(command), 0);
}

static int
bench_run(struct bench *bench, size_t max_items)
{
	struct px_world world = { .now = read_clock };
	struct px_delivery_job job = {
		.spool = bench->spool,
		.world = &world,
		.upstream = &bench->upstream.reached,
		.device_id = px_slice("device"),
		.device_name = px_slice("name"),
		.plain = bench->plain,
		.max_items = max_items,
		.max_bytes = 1 << 20,
		.last_snapshot = INT64_MAX,
		.run_limit_ms = 600000,
	};

	bench->upstream.reached = (struct px_upstream){ post, renew_token, &bench->upstream, bench->upstream.compresses, NULL };
	bench->upstream.posts = 0;
	bench->upstream.empty_posts = 0;
	return px_deliver(&job, &bench->state, &bench->out, &bench->err);
}

static struct px_spool_facts
bench_facts(struct bench *bench)
{
	struct px_spool_facts facts;

	assert_int_equal(px_spool_facts(bench->spool, &facts, &bench->err), 0);
	assert_int_equal(facts.recorded,
	    facts.acknowledged + facts.pending + facts.quarantined + facts.dropped + facts.lost_events +
	    facts.lost_snapshots);
	return facts;
}

/* Whatever upstream says to everything: nothing leaves the spool, and the run ends with the status of the reply. */
static void
keeps_everything(void **state)
{
	static const struct {
		int status;
		const char *type;
		const char *body;
		enum px_code code;
		int posts;
	} rows[] = {
		{ 200, "text/html", "<html>log in</html>", PX_LATER, 1 },
		{ 200, "application/json", "{\"rejected\":", PX_LATER, 1 },
		{ 200, "application/json", "{\"rejected\":1}", PX_LATER, 1 },
		{ 301, NULL, NULL, PX_CONFIG, 1 },
		{ 400, NULL, NULL, PX_CONFIG, 2 },	/* the batch and an empty one */
		{ 401, NULL, NULL, PX_DENIED, 2 },	/* once more with a new token */
		{ 403, NULL, NULL, PX_DENIED, 2 },
		{ 404, NULL, NULL, PX_CONFIG, 1 },
		{ 407, NULL, NULL, PX_CONFIG, 1 },
		{ 408, NULL, NULL, PX_LATER, 1 },
		{ 409, NULL, NULL, PX_LATER, 1 },
		{ 413, NULL, NULL, PX_CONFIG, 2 },
		{ 415, NULL, NULL, PX_CONFIG, 1 },
		{ 418, NULL, NULL, PX_CONFIG, 1 },
		{ 422, NULL, NULL, PX_CONFIG, 2 },
		{ 429, NULL, NULL, PX_LATER, 1 },
		{ 500, NULL, NULL, PX_LATER, 1 },
		{ 503, NULL, NULL, PX_LATER, 1 },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct bench bench;

		bench_open(&bench, 3);
		bench.upstream.status_of_all = rows[i].status;
		bench.upstream.type = rows[i].type;
		bench.upstream.body = rows[i].body;
		assert_int_equal(bench_run(&bench, 500), -1);
		if (bench.err.code != rows[i].code || bench.upstream.posts != rows[i].posts)
			fail_msg("row %zu, status %d: code %d after %d posts (%s)", i, rows[i].status, (int)bench.err.code,
			    bench.upstream.posts, bench.err.text);
		assert_int_equal(bench_facts(&bench).pending, 3);
		bench_close(&bench);
	}
}

static void
delivers_all_in_batches(void **state)
{
	struct bench bench;

	(void)state;
	bench_open(&bench, 25);
	assert_int_equal(bench_run(&bench, 10), 0);
	assert_int_equal(bench.upstream.posts, 3);
	assert_int_equal(bench_facts(&bench).acknowledged, 25);
	for (int seq = 1; seq <= 25; seq++)
		assert_int_equal(bench.upstream.held[seq], 1);
	bench_close(&bench);
}

/* k bad items among n: about k * log2(n) extra requests and one empty batch; all others arrive once. */
static void
finds_bad_items_by_halving(void **state)
{
	static const struct {
		int items;
		int bad[4];
		int most_posts;
	} rows[] = {
		{ 1, { 1 }, 2 },		/* itself and the empty one */
		{ 2, { 2 }, 5 },
		{ 512, { 1 }, 1 + 1 + 9 + 1 },
		{ 512, { 512 }, 1 + 1 + 2 * 9 + 1 },
		{ 512, { 257 }, 1 + 1 + 2 * 9 + 1 },
		{ 512, { 3, 200, 400 }, 1 + 3 * (2 * 9 + 2) },
		{ 512, { 255, 256, 257, 258 }, 1 + 4 * (2 * 9 + 2) },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct bench bench;
		int bad = 0;

		bench_open(&bench, rows[i].items);
		for (; bad < 4 && rows[i].bad[bad] != 0; bad++)
			bench.upstream.bad[rows[i].bad[bad]] = true;
		assert_int_equal(bench_run(&bench, 512), 0);
		if (bench.upstream.posts > rows[i].most_posts || bench.upstream.empty_posts != 1)
			fail_msg("row %zu: %d posts, %d of them empty", i, bench.upstream.posts, bench.upstream.empty_posts);
		assert_int_equal(bench_facts(&bench).quarantined, bad);
		assert_int_equal(bench_facts(&bench).acknowledged, rows[i].items - bad);
		for (int seq = 1; seq <= rows[i].items; seq++)
			assert_int_equal(bench.upstream.held[seq], bench.upstream.bad[seq] ? 0 : 1);
		bench_close(&bench);
	}
}

/* Each of 16 refused alone and nothing taken: the fault is not theirs. */
static void
blames_no_item_when_all_are_refused(void **state)
{
	struct bench bench;

	(void)state;
	bench_open(&bench, 40);
	memset(bench.upstream.bad, true, sizeof(bench.upstream.bad));
	assert_int_equal(bench_run(&bench, 500), -1);
	assert_int_equal(bench.err.code, PX_LATER);
	assert_int_equal(bench_facts(&bench).pending, 40);
	assert_int_equal(bench_facts(&bench).quarantined, 0);
	bench_close(&bench);

	/* The 16th is fine: 15 are at fault. */
	bench_open(&bench, 16);
	memset(bench.upstream.bad, true, sizeof(bench.upstream.bad));
	bench.upstream.bad[16] = false;
	assert_int_equal(bench_run(&bench, 500), 0);
	assert_int_equal(bench_facts(&bench).quarantined, 15);
	assert_int_equal(bench_facts(&bench).acknowledged, 1);
	bench_close(&bench);
}

static void
quarantines_what_upstream_rejects(void **state)
{
	struct bench bench;

	(void)state;
	bench_open(&bench, 3);
	bench.upstream.type = "application/json";
	bench.upstream.body = "{\"rejected\":[{\"id\":\"019b7760-0000-7000-8000-000000000002\",\"reason\":\"no such topic\"},"
	    "{\"id\":\"019b7760-0000-7000-8000-000000000099\",\"reason\":\"not ours\"}]}";
	assert_int_equal(bench_run(&bench, 500), 0);
	assert_int_equal(bench_facts(&bench).acknowledged, 2);
	assert_int_equal(bench_facts(&bench).quarantined, 1);
	assert_string_equal(bench_facts(&bench).last_quarantined_reason, "no such topic");
	bench_close(&bench);
}

static void
sends_plain_after_415(void **state)
{
	struct bench bench;

	(void)state;
	bench_open(&bench, 3);
	bench.upstream.compresses = true;
	bench.upstream.status_of_gzip = 415;
	assert_int_equal(bench_run(&bench, 500), 0);
	assert_true(bench.out.went_plain);
	assert_int_equal(bench.upstream.posts, 2);
	assert_int_equal(bench_facts(&bench).acknowledged, 3);
	bench_close(&bench);

	/* A server that answers 400 to a body that it can't read: the empty batch tells. */
	bench_open(&bench, 3);
	bench.upstream.compresses = true;
	bench.upstream.status_of_gzip = 400;
	assert_int_equal(bench_run(&bench, 500), 0);
	assert_true(bench.out.went_plain);
	assert_int_equal(bench_facts(&bench).acknowledged, 3);
	assert_int_equal(bench_facts(&bench).quarantined, 0);
	bench_close(&bench);

	/* An earlier run found it out. */
	bench_open(&bench, 3);
	bench.upstream.compresses = true;
	bench.upstream.status_of_gzip = 415;
	bench.plain = true;
	assert_int_equal(bench_run(&bench, 500), 0);
	assert_int_equal(bench.upstream.posts, 1);
	assert_false(bench.out.went_plain);
	bench_close(&bench);
}

/* Refused compressed and uncompressed: it was not the compression, the next run compresses again. */
static void
stays_compressed_when_plain_does_not_help(void **state)
{
	struct bench bench;

	(void)state;
	bench_open(&bench, 3);
	bench.upstream.compresses = true;
	bench.upstream.status_of_all = 400;
	assert_int_equal(bench_run(&bench, 500), -1);
	assert_int_equal(bench.err.code, PX_CONFIG);
	assert_int_equal(bench.upstream.posts, 3);
	assert_false(bench.out.went_plain);
	assert_int_equal(bench_facts(&bench).pending, 3);
	bench_close(&bench);
}

/* The batch is too large, and then the empty one is refused too, or nothing can be posted any more. */
static void
keeps_all_when_the_empty_batch_does_not_help(void **state)
{
	struct bench bench;

	(void)state;
	for (int breaks = 0; breaks <= 1; breaks++) {
		bench_open(&bench, 8);
		bench.upstream.status_of_all = 413;
		bench.upstream.breaks_on_empty = breaks;
		assert_int_equal(bench_run(&bench, 500), -1);
		assert_int_equal(bench.err.code, PX_CONFIG);
		assert_int_equal(bench.state.batch_limit, 4);
		assert_int_equal(bench_facts(&bench).pending, 8);
		bench_close(&bench);
	}
}

static void
renews_a_token_once(void **state)
{
	struct bench bench;

	(void)state;
	bench_open(&bench, 3);
	bench.upstream.denials = 1;
	assert_int_equal(bench_run(&bench, 500), 0);
	assert_int_equal(bench.upstream.renewals, 1);
	bench_close(&bench);

	bench_open(&bench, 3);
	bench.upstream.denials = 2;
	assert_int_equal(bench_run(&bench, 500), -1);
	assert_int_equal(bench.err.code, PX_DENIED);
	assert_int_equal(bench.upstream.renewals, 1);
	assert_int_equal(bench_facts(&bench).pending, 3);
	bench_close(&bench);
}

/* The batch is too large for upstream: it shrinks, is remembered, and grows again. */
static void
shrinks_and_grows_batches(void **state)
{
	struct bench bench;

	(void)state;
	bench_open(&bench, 100);
	bench.upstream.largest = 30;
	bench.upstream.status_above = 413;
	assert_int_equal(bench_run(&bench, 100), 0);
	assert_int_equal(bench_facts(&bench).acknowledged, 100);
	assert_int_equal(bench_facts(&bench).quarantined, 0);
	assert_true(bench.state.batch_limit > 0);
	bench_close(&bench);

	bench_open(&bench, 600);
	bench.state.batch_limit = 4;
	assert_int_equal(bench_run(&bench, 50), 0);
	assert_int_equal(bench.state.batch_limit, 0);
	bench_close(&bench);
}

/* One item draws 500 or silence whenever it is in a batch: the others arrive, in a bounded number of runs. */
static void
no_item_keeps_others_waiting(void **state)
{
	(void)state;
	for (int silent = 0; silent < 2; silent++) {
		struct bench bench;
		int runs = 0;

		bench_open(&bench, 64);
		bench.upstream.bad[1] = true;
		bench.upstream.status_of_bad = 500;
		bench.upstream.times_out = silent == 1;
		while (runs < 20 && bench_facts(&bench).acknowledged < 63) {
			(void)bench_run(&bench, 64);
			runs++;
		}
		if (bench_facts(&bench).acknowledged != 63)
			fail_msg("after %d runs only %d items arrived", runs, (int)bench_facts(&bench).acknowledged);
		assert_int_equal(bench_facts(&bench).pending, 1);
		assert_int_equal(bench_facts(&bench).quarantined, 0);
		bench_close(&bench);
	}
}

static void
keeps_progress_before_a_failure(void **state)
{
	struct bench bench;

	(void)state;
	bench_open(&bench, 30);
	bench.upstream.bad[25] = true;
	bench.upstream.status_of_bad = 503;
	assert_int_equal(bench_run(&bench, 10), -1);
	assert_int_equal(bench.err.code, PX_LATER);
	assert_int_equal(bench.out.acknowledged, 20);
	assert_int_equal(bench_facts(&bench).pending, 10);
	bench_close(&bench);
}

/* An id is the same in capitals (RFC 9562, 4): a refusal is never taken for a yes. */
static void
knows_an_id_in_capitals(void **state)
{
	struct bench bench;

	(void)state;
	bench_open(&bench, 3);
	bench.upstream.type = "application/json";
	bench.upstream.body = "{\"rejected\":[{\"id\":\"019B7760-0000-7000-8000-000000000002\",\"reason\":\"no\"}]}";
	assert_int_equal(bench_run(&bench, 500), 0);
	assert_int_equal(bench_facts(&bench).acknowledged, 2);
	assert_int_equal(bench_facts(&bench).quarantined, 1);
	bench_close(&bench);
}

/* Found at fault, though the run then ends badly: in the next one it would keep the others waiting again. */
static void
keeps_what_it_found_at_fault(void **state)
{
	struct bench bench;

	(void)state;
	bench_open(&bench, 8);
	bench.upstream.bad[1] = true;
	bench.upstream.fails_after = 6;		/* the batch, an empty one, 4, 2 and 1 items */
	assert_int_equal(bench_run(&bench, 500), -1);
	assert_int_equal(bench.err.code, PX_LATER);
	assert_int_equal(bench_facts(&bench).quarantined, 1);
	assert_int_equal(bench_facts(&bench).pending, 7);
	assert_int_equal(bench.out.quarantined, 1);
	bench_close(&bench);
}

/* A batch that was taken, though each of its items was rejected, shows that upstream is well. */
static void
blames_items_after_a_batch_of_rejected_ones(void **state)
{
	struct bench bench;

	(void)state;
	bench_open(&bench, 20);
	bench.upstream.type = "application/json";
	bench.upstream.body = "{\"rejected\":[{\"id\":\"019b7760-0000-7000-8000-000000000001\",\"reason\":\"no\"}]}";
	for (int seq = 2; seq <= 20; seq++)
		bench.upstream.bad[seq] = true;
	assert_int_equal(bench_run(&bench, 1), 0);
	assert_int_equal(bench_facts(&bench).quarantined, 20);
	bench_close(&bench);
}

/* The wish of a 413 stands until a batch is taken, whatever stops the run. */
static void
remembers_the_retry_after(void **state)
{
	struct bench bench;

	(void)state;
	bench_open(&bench, 8);
	bench.upstream.bad[1] = true;
	bench.upstream.status_of_bad = 413;
	bench.upstream.retry_after_ms = 60000;
	bench.upstream.fails_after = 5;
	assert_int_equal(bench_run(&bench, 500), -1);
	assert_int_equal(bench.out.retry_after_ms, 60000);
	bench_close(&bench);

	bench_open(&bench, 8);
	bench.upstream.bad[8] = true;
	bench.upstream.status_of_bad = 413;
	bench.upstream.retry_after_ms = 60000;
	bench.upstream.fails_after = 4;
	assert_int_equal(bench_run(&bench, 500), -1);
	assert_int_equal(bench.out.acknowledged, 4);
	assert_int_equal(bench.out.retry_after_ms, -1);
	bench_close(&bench);
}

/* The item that draws 500 stands at any place: once its batch failed in three runs, each further run halves what is left. */
static void
isolates_an_item_in_few_runs(void **state)
{
	static const struct {
		int items;
		int bad;
		int most_runs;
	} rows[] = {
		{ 64, 1, 3 + 7 + 1 },		/* each half fails, then it alone, then the others go */
		{ 64, 64, 3 + 1 },		/* each half goes: one run */
		{ 64, 33, 3 + 6 },
		{ 64, 22, 3 + 6 },
		{ 500, 499, 3 + 3 },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct bench bench;
		int runs = 0;

		bench_open(&bench, rows[i].items);
		bench.upstream.bad[rows[i].bad] = true;
		bench.upstream.status_of_bad = 500;
		for (; runs < 30 && bench_facts(&bench).acknowledged < rows[i].items - 1; runs++)
			assert_int_equal(bench_run(&bench, 500), -1);
		if (runs > rows[i].most_runs)
			fail_msg("row %zu: %d runs", i, runs);
		assert_int_equal(bench_facts(&bench).pending, 1);
		bench_close(&bench);
	}
}

/* 5xx for everything, for days: nothing is lost, and all goes once upstream is back. */
static void
outlives_a_long_outage(void **state)
{
	struct bench bench;

	(void)state;
	bench_open(&bench, 100);
	bench.upstream.status_of_all = 503;
	for (int run = 0; run < 60; run++) {
		assert_int_equal(bench_run(&bench, 50), -1);
		assert_int_equal(bench.upstream.posts, 1);
	}
	assert_int_equal(bench_facts(&bench).pending, 100);
	bench.upstream.status_of_all = 0;
	assert_int_equal(bench_run(&bench, 50), 0);
	assert_int_equal(bench_facts(&bench).acknowledged, 100);
	for (int seq = 1; seq <= 100; seq++)
		assert_int_equal(bench.upstream.held[seq], 1);
	bench_close(&bench);
}

/*
 * More than 1 MiB: of JSON it is as a network failure and the next batch is half as large; HTML has nothing to do with
 * size.
 */
static void
halves_for_a_long_answer_of_json(void **state)
{
	struct bench bench;

	(void)state;
	bench_open(&bench, 8);
	bench.upstream.type = "application/json";
	bench.upstream.body = "{}";
	bench.upstream.body_cut = true;
	assert_int_equal(bench_run(&bench, 500), -1);
	assert_int_equal(bench.err.code, PX_LATER);
	assert_int_equal(bench.state.batch_limit, 4);
	bench.state.batch_limit = 0;
	bench.upstream.type = "text/html";
	assert_int_equal(bench_run(&bench, 500), -1);
	assert_int_equal(bench.state.batch_limit, 0);
	assert_int_equal(bench_facts(&bench).pending, 8);
	bench.upstream.type = "text/plain";
	assert_int_equal(bench_run(&bench, 500), 0);
	bench_close(&bench);
}

/* After 10 minutes of a clock that no one sets; what was done is done, and the next run goes on. */
static void
stops_when_its_time_is_over(void **state)
{
	struct bench bench;

	(void)state;
	bench_open(&bench, 30);
	bench.upstream.post_ms = 61000;
	assert_int_equal(bench_run(&bench, 1), 0);
	assert_int_equal(bench.upstream.posts, 10);
	assert_int_equal(bench_facts(&bench).pending, 20);
	assert_int_equal(bench_run(&bench, 1), 0);
	assert_int_equal(bench_facts(&bench).pending, 10);
	bench_close(&bench);
}

static bool
note_left(void *arg, const struct px_spool_item *found)
{
	bool *left = arg;

	left[found->item.seq] = true;
	return true;
}

/*
 * Whatever upstream does, run after run: what left is held, what is bad is held by nobody, no good item is blamed, and in
 * the end all of them have arrived.
 */
static void
keeps_its_promises_whatever_comes(void **state)
{
	(void)state;
	for (uint32_t seed = 1; seed <= 24; seed++) {
		enum { ITEMS = 24 };
		struct bench bench;
		int bad = 0;

		bench_open(&bench, ITEMS);
		bench.upstream.compresses = seed % 2 == 0;
		bench.upstream.whims = seed * 2654435761U;
		for (int seq = 1; seq <= ITEMS; seq++) {
			bench.upstream.bad[seq] = draw(&bench.upstream, 8) == 0;
			bad += bench.upstream.bad[seq];
		}
		for (int run = 0; run < 40; run++) {
			bool left[ITEMS + 1] = { false };

			(void)bench_run(&bench, 1 + draw(&bench.upstream, ITEMS));
			assert_int_equal(px_spool_each(bench.spool, note_left, left, &bench.err), 0);
			for (int seq = 1; seq <= ITEMS; seq++)
				if (!left[seq] && (bench.upstream.held[seq] == 0 || bench.upstream.bad[seq]))
					fail_msg("seed %u, run %d: item %d left, held %d times", seed, run, seq, bench.upstream.held[seq]);
			assert_true(bench_facts(&bench).quarantined <= bad);
		}
		bench.upstream.whims = 0;
		bench.upstream.status_of_bad = 422;
		(void)bench_run(&bench, ITEMS);
		assert_int_equal(bench_facts(&bench).acknowledged, ITEMS - bad);
		assert_int_equal(bench_facts(&bench).quarantined, bad);
		bench_close(&bench);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(keeps_everything),
		cmocka_unit_test(delivers_all_in_batches),
		cmocka_unit_test(finds_bad_items_by_halving),
		cmocka_unit_test(blames_no_item_when_all_are_refused),
		cmocka_unit_test(quarantines_what_upstream_rejects),
		cmocka_unit_test(sends_plain_after_415),
		cmocka_unit_test(stays_compressed_when_plain_does_not_help),
		cmocka_unit_test(keeps_all_when_the_empty_batch_does_not_help),
		cmocka_unit_test(renews_a_token_once),
		cmocka_unit_test(shrinks_and_grows_batches),
		cmocka_unit_test(no_item_keeps_others_waiting),
		cmocka_unit_test(keeps_progress_before_a_failure),
		cmocka_unit_test(knows_an_id_in_capitals),
		cmocka_unit_test(keeps_what_it_found_at_fault),
		cmocka_unit_test(blames_items_after_a_batch_of_rejected_ones),
		cmocka_unit_test(remembers_the_retry_after),
		cmocka_unit_test(isolates_an_item_in_few_runs),
		cmocka_unit_test(outlives_a_long_outage),
		cmocka_unit_test(stops_when_its_time_is_over),
		cmocka_unit_test(keeps_its_promises_whatever_comes),
		cmocka_unit_test(halves_for_a_long_answer_of_json),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
