/* SPDX-License-Identifier: Apache-2.0 */
#include "test_store_kit.h"

static const char *const sess = "sesn_a";

static void
test_create_append_load(void **state)
{
	struct kit *k = *state;
	struct event_row rows[3];
	struct got g;
	uint64_t seq;

	do_create(k, sess);
	assert_told(k, "sesn_a:1-1 ");
	rows[0] = row_of(EV_USER_MESSAGE, "{\"type\":\"user.message\"}");
	rows[1] = row_of(EV_SESSION_UPDATED, "{\"type\":\"session.updated\"}");
	rows[2] = row_of(EV_AGENT_MESSAGE, "{\"type\":\"agent.message\"}");
	rows[2].thread = STR("sthr_1");
	rows[2].private_ = STR("secret");
	struct store_append a = append_of(sess, rows, 3);
	assert_int_equal(do_append(k, &a, &seq), ERR_NONE);
	assert_int_equal(seq, 2);
	assert_told(k, "sesn_a:2-4 ");

	/* Bodies only where the fold reads them, private parts never. */
	do_load(k, sess, true, &g);
	AUTO(buf) struct buf want = {0};
	buf_init(&want, 1 << 16);
	buf_printf(&want, "1 pinfold.session_created sevt_000001 at=1000 ref=0 [] {%s} <>\n",
		"{\"type\":\"pinfold.session_created\"}");
	buf_printf(&want, "2 user.message %s at=%llu ref=0 [] {} <>\n", rows[0].id.z,
		(unsigned long long)rows[0].facts.at_us);
	buf_printf(&want, "3 session.updated %s at=%llu ref=0 [] {%s} <>\n", rows[1].id.z,
		(unsigned long long)rows[1].facts.at_us, "{\"type\":\"session.updated\"}");
	buf_printf(&want, "4 agent.message %s at=%llu ref=0 [sthr_1] {} <>\n", rows[2].id.z,
		(unsigned long long)rows[2].facts.at_us);
	buf_put_c(&want, '\0');
	assert_str(buf_str(&g.text), want.p);
	got_end(&g);
	assert_int_equal(kit_verify(k), 4);
}

static void
test_unknown_session_is_not_found(void **state)
{
	struct kit *k = *state;
	struct event_row r = row_of(EV_USER_MESSAGE, "{}");
	struct store_append a = append_of("sesn_none", &r, 1);
	struct store_read rd = {.session_id = STR("sesn_none")};
	struct got g;

	assert_int_equal(do_append(k, &a, NULL), ERR_NOT_FOUND);
	do_load(k, "sesn_none", true, &g);
	assert_int_equal(g.kind, ERR_NOT_FOUND);
	got_end(&g);
	got_start(&g, k);
	store_events(k->store, &rd, on_events, &g);
	got_expect(k, &g, ERR_NOT_FOUND);
	got_end(&g);
	got_start(&g, k);
	store_lease(k->store, STR("sesn_none"), on_lease, &g);
	got_expect(k, &g, ERR_NOT_FOUND);
	got_end(&g);
	got_start(&g, k);
	store_session_delete(k->store, STR("sesn_none"), 0, 1, on_write, &g);
	got_expect(k, &g, ERR_NOT_FOUND);
	got_end(&g);
	assert_told(k, "");
}

static void
test_ids_are_taken_once(void **state)
{
	struct kit *k = *state;
	struct store_session_index ix = {.agent_id = STR("agent_1")};
	char long_id[ID_MAX + 1];

	do_create(k, sess);
	assert_int_equal(do_create_as(k, sess, 2, &ix), ERR_CONFLICT);
	memset(long_id, 'x', sizeof(long_id) - 1);
	long_id[ID_MAX] = '\0';
	assert_int_equal(do_create_as(k, long_id, 2, &ix), ERR_INVALID);
	assert_int_equal(do_create_as(k, "", 2, &ix), ERR_INVALID);
	assert_int_equal(kit_number(k, "SELECT count(*) FROM sessions"), 1);
	assert_told(k, "sesn_a:1-1 ");
}

static void
test_expect_seq_moved_is_again(void **state)
{
	struct kit *k = *state;
	struct event_row r = row_of(EV_AGENT_MESSAGE, "{}");
	struct store_append a = append_of(sess, &r, 1);
	struct got g[2];

	do_create(k, sess);
	a.expect_seq = 2;
	assert_int_equal(do_append(k, &a, NULL), ERR_AGAIN);
	a.expect_seq = 1;
	assert_int_equal(do_append(k, &a, NULL), ERR_NONE);
	/* Two in one commit: the second sees the first. */
	a.expect_seq = 2;
	for (int i = 0; i < 2; i++) {
		got_start(&g[i], k);
		store_append(k->store, &a, on_write, &g[i]);
	}
	kit_wait(k);
	assert_int_equal(g[0].kind, ERR_NONE);
	assert_int_equal(g[0].number, 3);
	assert_int_equal(g[1].kind, ERR_AGAIN);
	got_end(&g[0]);
	got_end(&g[1]);
	assert_int_equal(kit_verify(k), 3);
}

static uint64_t
take_lease(struct kit *k, const char *id)
{
	struct got g;

	got_start(&g, k);
	store_lease(k->store, str_z(id), on_lease, &g);
	got_expect(k, &g, ERR_NONE);
	got_end(&g);
	return g.number;
}

static void
test_stale_epoch_is_fenced(void **state)
{
	struct kit *k = *state;
	struct event_row r = row_of(EV_AGENT_MESSAGE, "{}");
	struct store_append a = append_of(sess, &r, 1);

	do_create(k, sess);
	a.epoch = 1;
	assert_int_equal(do_append(k, &a, NULL), ERR_FENCED);
	uint64_t first = take_lease(k, sess);
	a.epoch = first;
	assert_int_equal(do_append(k, &a, NULL), ERR_NONE);
	uint64_t second = take_lease(k, sess);
	assert_true(second > first);
	assert_int_equal(do_append(k, &a, NULL), ERR_FENCED);
	a.epoch = second;
	assert_int_equal(do_append(k, &a, NULL), ERR_NONE);
	/* A client's append needs no lease. */
	a.epoch = 0;
	assert_int_equal(do_append(k, &a, NULL), ERR_NONE);
	/* Epochs survive a restart. */
	kit_reopen(k);
	assert_true(take_lease(k, sess) > second);
	a.epoch = second;
	assert_int_equal(do_append(k, &a, NULL), ERR_FENCED);
	assert_int_equal(kit_verify(k), 4);
}

static void
test_one_refused_append_does_not_spoil_the_batch(void **state)
{
	struct kit *k = *state;
	struct event_row r = row_of(EV_AGENT_MESSAGE, "{}");
	struct got g[90];

	do_create(k, sess);
	for (unsigned i = 0; i < ARRAY_LEN(g); i++) {
		struct store_append a = append_of(i % 3 == 1 ? "sesn_none" : sess, &r, 1);
		a.epoch = i % 3 == 2 ? 77 : 0;
		got_start(&g[i], k);
		store_append(k->store, &a, on_write, &g[i]);
	}
	kit_wait(k);
	for (unsigned i = 0; i < ARRAY_LEN(g); i++) {
		static const enum err_kind want[] = {ERR_NONE, ERR_NOT_FOUND, ERR_FENCED};
		assert_int_equal(g[i].calls, 1);
		assert_int_equal(g[i].kind, want[i % 3]);
		if (i % 3 == 0)
			assert_int_equal(g[i].number, 2 + i / 3);
		if (i > 0)
			assert_true(g[i].order > g[i - 1].order);
		got_end(&g[i]);
	}
	assert_int_equal(kit_verify(k), 31);
}

static void
test_many_appends_share_commits(void **state)
{
	enum { SESSIONS = 64, APPENDS = 2000 };
	struct kit *k = *state;
	struct event_row r = row_of(EV_AGENT_MESSAGE, "{\"type\":\"agent.message\"}");
	struct got *g = calloc(APPENDS, sizeof(*g));
	struct store_stats st;
	char id[32];

	for (int i = 0; i < SESSIONS; i++) {
		snprintf(id, sizeof(id), "sesn_%d", i);
		do_create(k, id);
	}
	buf_clear(&k->told);
	for (int i = 0; i < APPENDS; i++) {
		snprintf(id, sizeof(id), "sesn_%d", i % SESSIONS);
		struct store_append a = append_of(id, &r, 1);
		got_start(&g[i], k);
		store_append(k->store, &a, on_write, &g[i]);
	}
	kit_wait(k);
	for (int i = 0; i < APPENDS; i++) {
		assert_int_equal(g[i].kind, ERR_NONE);
		assert_int_equal(g[i].number, 2 + i / SESSIONS);
		got_end(&g[i]);
	}
	free(g);
	store_stats(k->store, &st);
	assert_int_equal(st.appends, SESSIONS + APPENDS);
	assert_int_equal(st.rows, SESSIONS + APPENDS);
	assert_int_equal(st.queue_depth, 0);
	assert_true(st.commits < SESSIONS + APPENDS / 4);
	assert_int_equal(kit_verify(k), SESSIONS + APPENDS);
}

/* More sessions in one commit than the writer remembers. */
static void
test_more_sessions_than_slots(void **state)
{
	enum { SESSIONS = 700 };
	struct kit *k = *state;
	struct event_row r[2] = {row_of(EV_CREATED, "{}"), row_of(EV_USER_MESSAGE, "{}")};
	struct store_session_index ix = {.agent_id = STR("agent_1")};
	struct got *g = calloc(3 * SESSIONS, sizeof(*g));
	char id[32];

	for (int i = 0; i < 3 * SESSIONS; i++) {
		snprintf(id, sizeof(id), "sesn_%d", i % SESSIONS);
		struct store_append a = append_of(id, r, 2);
		got_start(&g[i], k);
		if (i < SESSIONS)
			store_session_create(k->store, &a, &ix, 1, on_write, &g[i]);
		else
			store_append(k->store, &a, on_write, &g[i]);
	}
	kit_wait(k);
	for (int i = 0; i < 3 * SESSIONS; i++) {
		assert_int_equal(g[i].kind, ERR_NONE);
		assert_int_equal(g[i].number, 1 + 2 * (i / SESSIONS));
		got_end(&g[i]);
	}
	free(g);
	assert_int_equal(kit_verify(k), 6 * SESSIONS);
	assert_int_equal(kit_number(k, "SELECT sum(waiting) FROM sessions"), 3 * SESSIONS);
}

/* ---- unfinished ---- */

static void
unfinished_expect(struct kit *k, const char *want)
{
	struct got g;

	got_start(&g, k);
	store_sessions_unfinished(k->store, on_ids, &g);
	got_expect(k, &g, ERR_NONE);
	assert_str(buf_str(&g.text), want);
	got_end(&g);
}

static void
set_status(struct kit *k, const char *id, int status)
{
	struct event_row r = row_of(EV_SESSION_STATUS_RUNNING, "{}");
	struct store_append a = append_of(id, &r, 1);

	a.status = status;
	assert_int_equal(do_append(k, &a, NULL), ERR_NONE);
}

static void
test_unfinished_sessions(void **state)
{
	struct kit *k = *state;
	struct event_row r = row_of(EV_PROCESSED, "");
	struct store_append a = append_of("sesn_b", &r, 1);

	unfinished_expect(k, "");
	do_create(k, "sesn_a");
	do_create(k, "sesn_b");
	do_create(k, "sesn_c");
	unfinished_expect(k, "");
	set_status(k, "sesn_c", TURN_RUNNING);
	do_row(k, "sesn_b", EV_USER_MESSAGE, "{}");
	unfinished_expect(k, "sesn_b sesn_c ");
	set_status(k, "sesn_a", TURN_RESCHEDULING);
	unfinished_expect(k, "sesn_a sesn_b sesn_c ");
	kit_reopen(k);
	unfinished_expect(k, "sesn_a sesn_b sesn_c ");
	r.facts.ref = 2;
	assert_int_equal(do_append(k, &a, NULL), ERR_NONE);
	set_status(k, "sesn_a", TURN_IDLE);
	unfinished_expect(k, "sesn_c ");
	set_status(k, "sesn_c", TURN_TERMINATED);
	do_row(k, "sesn_c", EV_USER_MESSAGE, "{}");
	unfinished_expect(k, "");
}

/* ---- delete ---- */

static void
delete_expect(struct kit *k, const char *id, uint32_t expect_seq, enum err_kind want)
{
	struct got g;

	got_start(&g, k);
	store_session_delete(k->store, str_z(id), expect_seq, 4711, on_write, &g);
	got_expect(k, &g, want);
	got_end(&g);
}

static void
test_delete_leaves_a_tombstone(void **state)
{
	struct kit *k = *state;
	struct store_session_index ix = {.agent_id = STR("agent_1")};
	struct got g;

	do_create(k, sess);
	do_create(k, "sesn_b");
	do_row_at(k, sess, EV_USER_MESSAGE, 10, 0);
	do_row_at(k, sess, EV_PROCESSED, 20, 2);
	buf_clear(&k->told);
	delete_expect(k, sess, 2, ERR_AGAIN);
	delete_expect(k, sess, 3, ERR_NONE);
	assert_told(k, "sesn_a:deleted ");
	delete_expect(k, sess, 0, ERR_NOT_FOUND);
	do_load(k, sess, true, &g);
	assert_int_equal(g.kind, ERR_NOT_FOUND);
	got_end(&g);
	/* The id stays taken. */
	assert_int_equal(do_create_as(k, sess, 9, &ix), ERR_CONFLICT);
	kit_close(k);
	assert_int_equal(kit_number(k, "SELECT count(*) FROM tombstones WHERE id = 'sesn_a' AND last_seq = 3"
				       " AND deleted_us = 4711 AND length(head) = 32"),
		1);
	assert_int_equal(kit_verify(k), 1);
}

/* Rows of large deleted sessions go piece by piece, over a restart too. */
static void
test_deleted_rows_are_purged(void **state)
{
	enum { ROWS = 3000 };
	struct kit *k = *state;
	struct event_row *rows = calloc(ROWS, sizeof(*rows));
	struct store_append a = append_of(sess, rows, ROWS);

	do_create(k, sess);
	do_create(k, "sesn_b");
	for (int i = 0; i < ROWS; i++)
		rows[i] = row_of(EV_AGENT_MESSAGE, "{}");
	assert_int_equal(do_append(k, &a, NULL), ERR_NONE);
	free(rows);
	delete_expect(k, sess, 0, ERR_NONE);
	kit_close(k);
	uint64_t left = kit_number(k, "SELECT count(*) FROM events WHERE session = 1");
	assert_true(left < ROWS);
	kit_open(k);
	for (int i = 0; left > 0; i++) {
		do_row(k, "sesn_b", EV_AGENT_MESSAGE, "{}");
		left = kit_number(k, "SELECT count(*) FROM events WHERE session = 1");
		assert_true(i < 1000);
	}
	do_row(k, "sesn_b", EV_AGENT_MESSAGE, "{}");
	kit_close(k);
	assert_int_equal(kit_number(k, "SELECT count(*) FROM tombstones WHERE purged = 1"), 1);
	assert_int_equal(kit_number(k, "SELECT count(*) FROM processed WHERE session = 1"), 0);
	kit_verify(k);
}

/* ---- order, closing ---- */

struct order_check {
	struct kit *k;
	struct got *g;
	size_t told_at_callback;
};

static void
on_order(void *arg, const struct err *err, uint32_t first_seq)
{
	struct order_check *c = arg;

	c->told_at_callback = c->k->told.n;
	on_write(c->g, err, first_seq);
}

/* Everybody hears of a commit before any of its callers is answered. */
static void
test_on_commit_comes_before_callbacks(void **state)
{
	enum { N = 40 };
	struct kit *k = *state;
	struct event_row r = row_of(EV_AGENT_MESSAGE, "{}");
	struct got g[N];
	struct order_check c[N];

	do_create(k, sess);
	buf_clear(&k->told);
	for (int i = 0; i < N; i++) {
		struct store_append a = append_of(sess, &r, 1);
		got_start(&g[i], k);
		c[i] = (struct order_check){.k = k, .g = &g[i]};
		store_append(k->store, &a, on_order, &c[i]);
	}
	kit_wait(k);
	size_t at = 0;
	for (int i = 0; i < N; i++) {
		char part[32];
		snprintf(part, sizeof(part), "sesn_a:%d-%d ", i + 2, i + 2);
		at += strlen(part);
		assert_true(c[i].told_at_callback >= at);
		got_end(&g[i]);
	}
	assert_int_equal(k->told.n, at);
}

static void
test_close_finishes_queued_writes(void **state)
{
	enum { N = 300 };
	struct kit *k = *state;
	struct event_row r = row_of(EV_AGENT_MESSAGE, "{}");
	struct got g[N], read[4];

	do_create(k, sess);
	for (int i = 0; i < N; i++) {
		struct store_append a = append_of(sess, &r, 1);
		got_start(&g[i], k);
		store_append(k->store, &a, on_write, &g[i]);
	}
	for (int i = 0; i < 4; i++) {
		got_start(&read[i], k);
		store_session_load(k->store, str_z(sess), true, on_load, &read[i]);
	}
	kit_close(k);
	for (int i = 0; i < N; i++) {
		assert_int_equal(g[i].calls, 1);
		assert_int_equal(g[i].kind, ERR_NONE);
		got_end(&g[i]);
	}
	/* Reads may have been running already. */
	for (int i = 0; i < 4; i++) {
		assert_int_equal(read[i].calls, 1);
		assert_true(read[i].kind == ERR_NONE || read[i].kind == ERR_UNAVAILABLE);
		got_end(&read[i]);
	}
	assert_int_equal(kit_verify(k), N + 1);
	/* A clean stop leaves one file: the log was copied into it. */
	char path[128];
	snprintf(path, sizeof(path), "%s/store.db-wal", k->dir);
	assert_int_equal(access(path, F_OK), -1);
	kit_open(k);
	do_row(k, sess, EV_AGENT_MESSAGE, "{}");
}

struct late {
	struct kit *k;
	struct got first, second;
};

static void
on_first(void *arg, const struct err *err, uint32_t first_seq)
{
	struct late *c = arg;
	struct event_row r = row_of(EV_AGENT_MESSAGE, "{}");
	struct store_append a = append_of(sess, &r, 1);

	store_append(c->k->store, &a, on_write, &c->second);
	on_write(&c->first, err, first_seq);
}

static void
test_calls_from_callbacks_while_closing_are_refused(void **state)
{
	struct kit *k = *state;
	struct event_row r = row_of(EV_AGENT_MESSAGE, "{}");
	struct store_append a = append_of(sess, &r, 1);
	struct late c = {.k = k};

	do_create(k, sess);
	got_start(&c.first, k);
	got_start(&c.second, k);
	store_append(k->store, &a, on_first, &c);
	kit_close(k);
	assert_int_equal(c.first.kind, ERR_NONE);
	assert_int_equal(c.second.calls, 1);
	assert_int_equal(c.second.kind, ERR_UNAVAILABLE);
	got_end(&c.first);
	got_end(&c.second);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		KIT_TEST(test_create_append_load),
		KIT_TEST(test_unknown_session_is_not_found),
		KIT_TEST(test_ids_are_taken_once),
		KIT_TEST(test_expect_seq_moved_is_again),
		KIT_TEST(test_stale_epoch_is_fenced),
		KIT_TEST(test_one_refused_append_does_not_spoil_the_batch),
		KIT_TEST(test_many_appends_share_commits),
		KIT_TEST(test_more_sessions_than_slots),
		KIT_TEST(test_unfinished_sessions),
		KIT_TEST(test_delete_leaves_a_tombstone),
		KIT_TEST(test_deleted_rows_are_purged),
		KIT_TEST(test_on_commit_comes_before_callbacks),
		KIT_TEST(test_close_finishes_queued_writes),
		KIT_TEST(test_calls_from_callbacks_while_closing_are_refused),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
