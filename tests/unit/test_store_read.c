/* SPDX-License-Identifier: Apache-2.0 */
/* Reading session logs: loads and pages of events. */
#include "test_store_kit.h"

static const char *const sess = "sesn_a";

static void
test_snapshot_plus_tail_equals_full_load(void **state)
{
	struct kit *k = *state;
	struct event_row r;
	struct got full, tail;

	do_create(k, sess);
	for (int i = 0; i < 20; i++)
		do_row(k, sess, EV_AGENT_MESSAGE, "{}");
	r = row_of(EV_SESSION_UPDATED, "{\"n\":1}");
	struct store_append a = append_of(sess, &r, 1);
	a.snapshot = STR("state at 22");
	assert_int_equal(do_append(k, &a, NULL), ERR_NONE);
	do_row(k, sess, EV_SESSION_UPDATED, "{\"n\":2}");
	do_row(k, sess, EV_AGENT_MESSAGE, "{}");

	do_load(k, sess, false, &full);
	do_load(k, sess, true, &tail);
	assert_int_equal(full.n, 24);
	assert_int_equal(tail.n, 2);
	struct str rest = buf_str(&tail.text);
	assert_str(str_next(&rest, '\n'), "snapshot state at 22");
	assert_true(str_ends(buf_str(&full.text), rest));
	assert_true(str_starts(rest, STR("23 ")));
	got_end(&full);
	got_end(&tail);

	/* A newer one replaces it; one of the very last row leaves no tail. */
	a.snapshot = STR("state at 25");
	assert_int_equal(do_append(k, &a, NULL), ERR_NONE);
	kit_reopen(k);
	do_load(k, sess, true, &tail);
	assert_str(buf_str(&tail.text), "snapshot state at 25\n");
	got_end(&tail);
}

/* ---- reading events ---- */

static void
read_expect(struct kit *k, const struct store_read *rd, const char *want, bool more)
{
	struct got g;

	got_start(&g, k);
	store_events(k->store, rd, on_events, &g);
	got_expect(k, &g, ERR_NONE);
	assert_str(buf_str(&g.text), want);
	assert_int_equal(g.after, more);
	got_end(&g);
}

/* 1 created, 2 message, 3 message, 4 processed(2), 5 agent, 6 tool result (client, processed on receipt), 7
 * processed(3), 8 message (never processed) */
static void
make_log(struct kit *k)
{
	do_create(k, sess);
	do_row_at(k, sess, EV_USER_MESSAGE, 10, 0);
	do_row_at(k, sess, EV_USER_MESSAGE, 20, 0);
	do_row_at(k, sess, EV_PROCESSED, 30, 2);
	do_row_at(k, sess, EV_AGENT_MESSAGE, 40, 0);
	do_row_at(k, sess, EV_USER_CUSTOM_TOOL_RESULT, 50, 0);
	do_row_at(k, sess, EV_PROCESSED, 60, 3);
	do_row_at(k, sess, EV_USER_MESSAGE, 70, 0);
}

static void
test_events_carry_their_processed_time(void **state)
{
	struct kit *k = *state;
	struct store_read rd = {.session_id = str_z(sess)};

	make_log(k);
	read_expect(k, &rd, "2@30 3@60 5@40 6@50 8@0 ", false);
	rd.descending = true;
	read_expect(k, &rd, "8@0 6@50 5@40 3@60 2@30 ", false);
	rd = (struct store_read){.session_id = str_z(sess), .at_gte = 40, .at_lte = 60};
	read_expect(k, &rd, "3@60 5@40 6@50 ", false);
	rd = (struct store_read){.session_id = str_z(sess), .at_gt = 40, .at_lt = 60};
	read_expect(k, &rd, "6@50 ", false);
	rd = (struct store_read){.session_id = str_z(sess), .at_lte = 1000000};
	read_expect(k, &rd, "2@30 3@60 5@40 6@50 ", false);
	/* The same after a restart: nothing of it lives in memory only. */
	kit_reopen(k);
	rd = (struct store_read){.session_id = str_z(sess), .at_lt = 41};
	read_expect(k, &rd, "2@30 5@40 ", false);
}

static void
test_events_filters_and_pages(void **state)
{
	struct kit *k = *state;
	struct store_read rd = {.session_id = str_z(sess), .limit = 2};

	make_log(k);
	read_expect(k, &rd, "2@30 3@60 ", true);
	rd.after_seq = 3;
	read_expect(k, &rd, "5@40 6@50 ", true);
	rd.after_seq = 6;
	read_expect(k, &rd, "8@0 ", false);
	rd = (struct store_read){.session_id = str_z(sess), .limit = 2, .descending = true};
	read_expect(k, &rd, "8@0 6@50 ", true);
	rd.before_seq = 6;
	read_expect(k, &rd, "5@40 3@60 ", true);
	rd.before_seq = 3;
	read_expect(k, &rd, "2@30 ", false);
	rd = (struct store_read){.session_id = str_z(sess), .after_seq = 2, .before_seq = 6};
	read_expect(k, &rd, "3@60 5@40 ", false);
	rd = (struct store_read){.session_id = str_z(sess), .types = 1ull << EV_USER_MESSAGE, .limit = 3};
	read_expect(k, &rd, "2@30 3@60 8@0 ", false);
	rd = (struct store_read){.session_id = str_z(sess), .after_seq = 1, .internal = true, .limit = 3};
	read_expect(k, &rd, "2@30 3@60 4@30 ", true);
	/* Internal types are not listed even when asked for by type. */
	rd = (struct store_read){.session_id = str_z(sess), .types = 1ull << EV_PROCESSED};
	read_expect(k, &rd, "", false);
}

static void
on_private(void *arg, const struct err *err, const struct store_event *ev, size_t n, bool more)
{
	struct got *g = arg;

	(void)more;
	g->n = n;
	for (size_t i = 0; i < n; i++)
		buf_put_str(&g->text, ev[i].row.private_);
	got_one(g, err);
}

static void
test_private_parts_only_when_asked(void **state)
{
	struct kit *k = *state;
	struct event_row r = row_of(EV_AGENT_THINKING, "{\"a\":1}");
	struct store_append a = append_of(sess, &r, 1);
	struct store_read rd = {.session_id = str_z(sess)};
	struct got g;
	static const char bytes[] = "\0\1\2secret";

	do_create(k, sess);
	r.private_ = str_n(bytes, sizeof(bytes) - 1);
	assert_int_equal(do_append(k, &a, NULL), ERR_NONE);
	for (int with = 0; with < 2; with++) {
		got_start(&g, k);
		rd.with_private = with;
		store_events(k->store, &rd, on_private, &g);
		got_expect(k, &g, ERR_NONE);
		assert_int_equal(g.n, 1);
		if (with)
			assert_true(str_eq(buf_str(&g.text), str_n(bytes, sizeof(bytes) - 1)));
		else
			assert_int_equal(g.text.n, 0);
		got_end(&g);
	}
}

/* A page of large bodies ends before it fills the memory, and says so. */
static void
test_large_bodies_end_a_page_early(void **state)
{
	struct kit *k = *state;
	size_t size = 12 * MIB;
	char *body = malloc(size);
	struct store_read rd = {.session_id = str_z(sess)};
	struct got g;

	do_create(k, sess);
	memset(body, 'x', size);
	for (int i = 0; i < 5; i++) {
		struct event_row r = row_of(EV_AGENT_MESSAGE, "");
		struct store_append a = append_of(sess, &r, 1);
		r.body = str_n(body, size);
		assert_int_equal(do_append(k, &a, NULL), ERR_NONE);
	}
	free(body);
	for (int round = 0; round < 2; round++) {
		got_start(&g, k);
		store_events(k->store, &rd, on_events, &g);
		got_expect(k, &g, ERR_NONE);
		assert_int_equal(g.n, round == 0 ? 3 : 2);
		assert_int_equal(g.after, round == 0);
		rd.after_seq = 4;
		got_end(&g);
	}
	struct event_row r = row_of(EV_AGENT_MESSAGE, "");
	struct store_append a = append_of(sess, &r, 1);
	body = calloc(1, LIM_EVENT_BODY + 1);
	r.body = str_n(body, LIM_EVENT_BODY + 1);
	assert_int_equal(do_append(k, &a, NULL), ERR_TOO_LARGE);
	free(body);
	assert_int_equal(kit_verify(k), 6);
}

/* ---- loads among writes ---- */

struct watch {
	struct kit *k;
	uint32_t told; /* last row that on_commit told */
	unsigned loads, left;
	struct got got;
};

static void
watch_told(void *owner, struct str id, const struct event_row *rows, size_t n)
{
	struct watch *w = owner;

	(void)id;
	assert_int_equal(rows[0].seq, w->told + 1);
	w->told = rows[n - 1].seq;
}

static void
watch_written(void *arg, const struct err *err, uint32_t first_seq)
{
	(void)first_seq;
	got_one(&((struct watch *)arg)->got, err);
}

static void
watch_loaded(void *arg, const struct err *err, struct str snapshot, const struct event_row *rows, size_t n)
{
	struct watch *w = arg;

	(void)snapshot;
	(void)rows;
	if (!err || err->kind != ERR_AGAIN) {
		assert_null(err);
		assert_int_equal(n, w->told);
		w->loads++;
	}
	got_one(&w->got, NULL);
}

/* A load gives exactly what was told: no row less (it would be lost to the fold), no row more (it would come
 * twice). The log is long enough for several commits to happen while it is read. */
static void
test_loads_are_exact_while_others_write(void **state)
{
	enum { ROWS = 2000, ROUNDS = 60 };
	struct kit *k = *state;
	struct watch w = {.k = k};
	struct store_opts o = {.dir = k->dir, .owner = &w, .on_commit = watch_told};
	struct event_row *r = calloc(ROWS, sizeof(*r));
	struct store_append a = append_of(sess, r, ROWS);
	struct store_session_index ix = {.agent_id = STR("agent_1")};

	kit_close(k);
	assert_int_equal(store_open(&k->store, k->loop, &o, NULL), 0);
	for (int i = 0; i < ROWS; i++)
		r[i] = row_of(EV_AGENT_MESSAGE, "{}");
	w.got.kit = k;
	k->pending = 1;
	store_session_create(k->store, &a, &ix, 1, watch_written, &w);
	kit_wait(k);
	for (int round = 0; round < ROUNDS; round++) {
		a.n_rows = 1 + (size_t)round % 2;
		k->pending = 5;
		store_session_load(k->store, str_z(sess), true, watch_loaded, &w);
		store_append(k->store, &a, watch_written, &w);
		store_session_load(k->store, str_z(sess), true, watch_loaded, &w);
		store_append(k->store, &a, watch_written, &w);
		store_session_load(k->store, str_z(sess), true, watch_loaded, &w);
		kit_wait(k);
	}
	assert_true(w.loads > ROUNDS);
	free(r);
	kit_close(k);
}

/* Nothing in a database row is trusted blindly: a hole in the log is reported, not folded over. */
static void
test_missing_row_is_corrupt(void **state)
{
	struct kit *k = *state;
	struct db db;
	struct got g;
	struct err e = {0};

	do_create(k, sess);
	for (int i = 0; i < 5; i++)
		do_row(k, sess, EV_AGENT_MESSAGE, "{}");
	kit_close(k);
	kit_db(k, &db);
	assert_int_equal(db_exec(&db, "DELETE FROM events WHERE seq = 3", &e), 0);
	db_close(&db, true);
	kit_open(k);
	do_load(k, sess, true, &g);
	assert_int_equal(g.kind, ERR_CORRUPT);
	assert_true(strstr(g.err.msg, "row 3") != NULL);
	got_end(&g);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		KIT_TEST(test_snapshot_plus_tail_equals_full_load),
		KIT_TEST(test_events_carry_their_processed_time),
		KIT_TEST(test_events_filters_and_pages),
		KIT_TEST(test_private_parts_only_when_asked),
		KIT_TEST(test_large_bodies_end_a_page_early),
		KIT_TEST(test_loads_are_exact_while_others_write),
		KIT_TEST(test_missing_row_is_corrupt),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
