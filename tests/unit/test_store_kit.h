/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the tests of the store share: a store in a fresh directory, driven by a real loop. Calls are started,
 * kit_wait runs the loop until all have called back. Included by one test program each.
 */
#pragma once

#include "unit.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/limits.h"
#include "io/loop.h"
#include "model/turn.h"
#include "store/chain.h"
#include "store/db.h"
#include "store/store.h"

struct kit {
	struct loop *loop;
	struct store *store;
	char dir[64];
	unsigned pending;
	/* on_commit and on_deleted, in order: "sesn_a:1-3 sesn_b:1-1 sesn_a:deleted " */
	struct buf told;
	struct err failed; /* on_failed */
};

/* What one call answered. */
struct got {
	struct kit *kit;
	unsigned calls;
	enum err_kind kind; /* ERR_NONE: success */
	struct err err;
	uint64_t number; /* first_seq, version, epoch */
	unsigned order;  /* among all answers of the program */
	struct buf text; /* rendered rows */
	size_t n;
	bool before, after; /* more rows on that side */
	struct str keep[2];
};

static unsigned kit_order;

static inline void
kit_told(void *owner, struct str id, const struct event_row *rows, size_t n)
{
	struct kit *k = owner;

	buf_printf(&k->told, "%.*s:%u-%u ", STRF(id), rows[0].seq, rows[n - 1].seq);
	for (size_t i = 1; i < n; i++)
		assert_int_equal(rows[i].seq, rows[0].seq + i);
}

static inline void
kit_deleted(void *owner, struct str id)
{
	struct kit *k = owner;

	buf_printf(&k->told, "%.*s:deleted ", STRF(id));
}

static inline void
kit_failed(void *owner, const struct err *err)
{
	struct kit *k = owner;

	assert_int_equal(k->failed.kind, ERR_NONE);
	k->failed = *err;
}

static inline int
kit_try_open(struct kit *k, struct err *e)
{
	struct store_opts o = {.dir = k->dir,
		.owner = k,
		.on_commit = kit_told,
		.on_deleted = kit_deleted,
		.on_failed = kit_failed};

	return store_open(&k->store, k->loop, &o, e);
}

static inline void
kit_open(struct kit *k)
{
	struct err e = {0};

	if (kit_try_open(k, &e) < 0)
		fail_msg("store_open: %s", e.msg);
}

static inline void
kit_close(struct kit *k)
{
	store_close(k->store);
	k->store = NULL;
}

static inline void
kit_reopen(struct kit *k)
{
	kit_close(k);
	kit_open(k);
}

static inline int
kit_remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	(void)st;
	(void)type;
	(void)ftw;
	return remove(path);
}

static inline void
kit_remove(const char *dir)
{
	nftw(dir, kit_remove_one, 8, FTW_DEPTH | FTW_PHYS);
}

static inline void
kit_new(struct kit *k)
{
	struct err e = {0};

	*k = (struct kit){0};
	snprintf(k->dir, sizeof(k->dir), "/tmp/pinfold-store-XXXXXX");
	assert_non_null(mkdtemp(k->dir));
	buf_init(&k->told, 1 << 20);
	assert_int_equal(loop_new(&k->loop, &e), 0);
}

static inline int
kit_setup(void **state)
{
	struct kit *k = calloc(1, sizeof(*k));

	assert_non_null(k);
	kit_new(k);
	kit_open(k);
	*state = k;
	return 0;
}

static inline int
kit_teardown(void **state)
{
	struct kit *k = *state;

	if (k->store)
		store_close(k->store);
	loop_free(k->loop);
	buf_done(&k->told);
	kit_remove(k->dir);
	free(k);
	return 0;
}

/* A test with a fresh store. */
#define KIT_TEST(f) cmocka_unit_test_setup_teardown(f, kit_setup, kit_teardown)

/* Runs the loop until every call that was started has answered. */
static inline void
kit_wait(struct kit *k)
{
	while (k->pending > 0)
		loop_run(k->loop);
}

/* ---- answers ---- */

static inline void
got_start(struct got *g, struct kit *k)
{
	*g = (struct got){.kit = k};
	buf_init(&g->text, 1 << 26);
	k->pending++;
}

static inline void
got_end(struct got *g)
{
	buf_done(&g->text);
}

static inline void
got_one(struct got *g, const struct err *err)
{
	g->calls++;
	g->order = ++kit_order;
	if (err) {
		g->kind = err->kind;
		g->err = *err;
		assert_int_not_equal(err->kind, ERR_NONE);
	}
	if (--g->kit->pending == 0)
		loop_stop(g->kit->loop);
}

static inline void
on_write(void *arg, const struct err *err, uint32_t first_seq)
{
	struct got *g = arg;

	g->number = first_seq;
	got_one(g, err);
}

static inline void
on_done(void *arg, const struct err *err)
{
	got_one(arg, err);
}

static inline void
on_lease(void *arg, const struct err *err, uint64_t epoch)
{
	struct got *g = arg;

	g->number = epoch;
	got_one(g, err);
}

static inline void
put_row(struct buf *b, const struct event_row *r)
{
	buf_printf(b, "%u %s %s at=%llu ref=%u [%.*s] {%.*s} <%.*s>\n", r->seq, event_name(r->facts.type),
		r->id.z, (unsigned long long)r->facts.at_us, r->facts.ref, STRF(r->thread), STRF(r->body),
		STRF(r->private_));
}

static inline void
on_load(void *arg, const struct err *err, struct str snapshot, const struct event_row *rows, size_t n)
{
	struct got *g = arg;

	g->n = n;
	if (snapshot.n > 0)
		buf_printf(&g->text, "snapshot %.*s\n", STRF(snapshot));
	for (size_t i = 0; i < n; i++)
		put_row(&g->text, &rows[i]);
	got_one(g, err);
}

static inline void
on_events(void *arg, const struct err *err, const struct store_event *ev, size_t n, bool more)
{
	struct got *g = arg;

	g->n = n;
	g->after = more;
	for (size_t i = 0; i < n; i++)
		buf_printf(&g->text, "%u@%llu ", ev[i].row.seq, (unsigned long long)ev[i].processed_us);
	got_one(g, err);
}

static inline void
on_ids(void *arg, const struct err *err, const struct id *ids, size_t n)
{
	struct got *g = arg;

	g->n = n;
	for (size_t i = 0; i < n; i++)
		buf_printf(&g->text, "%s ", ids[i].z);
	got_one(g, err);
}

static inline void
got_expect(struct kit *k, struct got *g, enum err_kind want)
{
	kit_wait(k);
	assert_int_equal(g->calls, 1);
	if (g->kind != want)
		fail_msg("got %s (%s), want %s", g->kind ? err_kind_name(g->kind) : "success", g->err.msg,
			want ? err_kind_name(want) : "success");
}

/* ---- rows and sessions ---- */

static inline struct event_row
row_of(enum event_type type, const char *body)
{
	static unsigned n;
	struct event_row r = {.facts = {.type = (uint8_t)type, .at_us = 1000 + n}, .body = str_z(body)};

	snprintf(r.id.z, sizeof(r.id.z), "sevt_%06u", ++n);
	return r;
}

static inline struct store_append
append_of(const char *id, const struct event_row *rows, size_t n)
{
	return (struct store_append){
		.session_id = str_z(id), .rows = rows, .n_rows = n, .status = -1, .archived = -1};
}

static inline enum err_kind
do_append(struct kit *k, const struct store_append *a, uint64_t *first_seq)
{
	struct got g;

	got_start(&g, k);
	store_append(k->store, a, on_write, &g);
	kit_wait(k);
	assert_int_equal(g.calls, 1);
	if (first_seq)
		*first_seq = g.number;
	got_end(&g);
	return g.kind;
}

/* One more row of that type; must succeed. */
static inline void
do_row(struct kit *k, const char *id, enum event_type type, const char *body)
{
	struct event_row r = row_of(type, body);
	struct store_append a = append_of(id, &r, 1);

	assert_int_equal(do_append(k, &a, NULL), ERR_NONE);
}

static inline enum err_kind
do_create_as(struct kit *k, const char *id, uint64_t created_us, const struct store_session_index *ix)
{
	struct event_row r = row_of(EV_CREATED, "{\"type\":\"pinfold.session_created\"}");
	struct store_append a = append_of(id, &r, 1);
	struct got g;

	a.status = TURN_IDLE;
	got_start(&g, k);
	store_session_create(k->store, &a, ix, created_us, on_write, &g);
	kit_wait(k);
	assert_int_equal(g.calls, 1);
	if (g.kind == ERR_NONE)
		assert_int_equal(g.number, 1);
	got_end(&g);
	return g.kind;
}

static inline void
do_create(struct kit *k, const char *id)
{
	struct store_session_index ix = {
		.agent_id = STR("agent_1"), .agent_version = 1, .environment_id = STR("env_1")};

	assert_int_equal(do_create_as(k, id, 1, &ix), ERR_NONE);
}

/* What a load gives, as text; the caller frees with got_end. */
static inline void
do_load(struct kit *k, const char *id, bool use_snapshot, struct got *g)
{
	got_start(g, k);
	store_session_load(k->store, str_z(id), use_snapshot, on_load, g);
	kit_wait(k);
	assert_int_equal(g->calls, 1);
}

static inline void
assert_told(struct kit *k, const char *want)
{
	assert_str(buf_str(&k->told), want);
	buf_clear(&k->told);
}

/* ---- the file itself ---- */

/* A second connection to the closed or open store's file. */
static inline void
kit_db(const struct kit *k, struct db *db)
{
	char path[128];
	struct err e = {0};

	snprintf(path, sizeof(path), "%s/store.db", k->dir);
	if (db_open(db, path, false, &e) < 0)
		fail_msg("%s", e.msg);
}

static inline uint64_t
kit_number(const struct kit *k, const char *sql)
{
	struct db db;
	struct err e = {0};
	uint64_t n = 0;

	kit_db(k, &db);
	if (db_number(&db, sql, &n, &e) < 0)
		fail_msg("%s: %s", sql, e.msg);
	db_close(&db, true);
	return n;
}

/* Walks the chain of every session: rows contiguous from 1 to last_seq, every hash right, the head equal to
 * the last. Gives the number of rows. */
static inline size_t
kit_verify_session(struct db *db, struct str id, uint64_t key, uint64_t last, struct str head)
{
	AUTO(q) struct q q = q_start(db, SQL_EVENTS_VERIFY);
	struct hash h = chain_start(id);
	struct err e = {0};
	uint32_t seq = 0;

	q_u64(&q, key);
	q_u64(&q, 0);
	q_u64(&q, UINT32_MAX);
	while (q_step(&q, &e) == 1) {
		struct event_row r = {.seq = (uint32_t)q_col_u64(&q, 0),
			.id = id_from(q_col_str(&q, 1)),
			.thread = q_col_str(&q, 3),
			.body = q_col_str(&q, 4),
			.private_ = q_col_str(&q, 5)};
		struct str facts = q_col_str(&q, 2);
		assert_int_equal(r.seq, ++seq);
		assert_int_equal(facts.n, EVENT_FACTS_BYTES);
		h = chain_next(&h, &r, (const uint8_t *)facts.p);
		assert_true(str_eq(q_col_str(&q, 6), str_n(h.b, HASH_BYTES)));
	}
	assert_int_equal(seq, last);
	assert_true(str_eq(head, str_n(h.b, HASH_BYTES)));
	return seq;
}

static inline size_t
kit_verify(const struct kit *k)
{
	struct db db;
	struct err e = {0};
	size_t rows = 0;

	kit_db(k, &db);
	{
		AUTO(q)
		struct q q = q_start_text(&db, "SELECT id, key, last_seq, head FROM sessions ORDER BY key");
		while (q_step(&q, &e) == 1)
			rows += kit_verify_session(
				&db, q_col_str(&q, 0), q_col_u64(&q, 1), q_col_u64(&q, 2), q_col_str(&q, 3));
	}
	db_close(&db, true);
	assert_int_equal(
		kit_number(k, "SELECT count(*) FROM events WHERE session IN (SELECT key FROM sessions)"),
		rows);
	return rows;
}
