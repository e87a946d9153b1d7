/* SPDX-License-Identifier: Apache-2.0 */
#include "test_store_kit.h"

#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "store/chain.h"

/* Counts the answers of the whole program: got.order. */
static unsigned kit_order;

static void
kit_told(void *owner, struct str id, const struct event_row *rows, size_t n)
{
	struct kit *k = owner;

	buf_printf(&k->told, "%.*s:%u-%u ", STRF(id), rows[0].seq, rows[n - 1].seq);
	for (size_t i = 1; i < n; i++)
		assert_int_equal(rows[i].seq, rows[0].seq + i);
}

static void
kit_deleted(void *owner, struct str id)
{
	struct kit *k = owner;

	buf_printf(&k->told, "%.*s:deleted ", STRF(id));
}

static void
kit_failed(void *owner, const struct err *err)
{
	struct kit *k = owner;

	assert_int_equal(k->failed.kind, ERR_NONE);
	k->failed = *err;
}

int
kit_try_open(struct kit *k, struct err *e)
{
	struct store_opts o = {.dir = k->dir,
		.owner = k,
		.on_commit = kit_told,
		.on_deleted = kit_deleted,
		.on_failed = kit_failed};

	return store_open(&k->store, k->loop, &o, e);
}

void
kit_open(struct kit *k)
{
	struct err e = {0};

	if (kit_try_open(k, &e) < 0)
		fail_msg("store_open: %s", e.msg);
}

void
kit_close(struct kit *k)
{
	store_close(k->store);
	k->store = NULL;
}

void
kit_reopen(struct kit *k)
{
	kit_close(k);
	kit_open(k);
}

static int
kit_remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	(void)st;
	(void)type;
	(void)ftw;
	return remove(path);
}

static void
kit_remove(const char *dir)
{
	nftw(dir, kit_remove_one, 8, FTW_DEPTH | FTW_PHYS);
}

void
kit_new(struct kit *k)
{
	struct err e = {0};

	*k = (struct kit){0};
	snprintf(k->dir, sizeof(k->dir), "/tmp/pinfold-store-XXXXXX");
	assert_non_null(mkdtemp(k->dir));
	buf_init(&k->told, 1 << 20);
	assert_int_equal(loop_new(&k->loop, &e), 0);
}

void
kit_done(struct kit *k)
{
	if (k->store)
		store_close(k->store);
	loop_free(k->loop);
	buf_done(&k->told);
	kit_remove(k->dir);
}

int
kit_setup_dir(void **state)
{
	struct kit *k = calloc(1, sizeof(*k));

	assert_non_null(k);
	kit_new(k);
	*state = k;
	return 0;
}

int
kit_setup(void **state)
{
	kit_setup_dir(state);
	kit_open(*state);
	return 0;
}

int
kit_teardown(void **state)
{
	kit_done(*state);
	free(*state);
	return 0;
}

void
kit_wait(struct kit *k)
{
	while (k->pending > 0)
		loop_run(k->loop);
}

void
got_start(struct got *g, struct kit *k)
{
	*g = (struct got){.kit = k};
	buf_init(&g->text, 1 << 26);
	k->pending++;
}

void
got_end(struct got *g)
{
	buf_done(&g->text);
}

void
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

void
on_write(void *arg, const struct err *err, uint32_t first_seq)
{
	struct got *g = arg;

	g->number = first_seq;
	got_one(g, err);
}

void
on_done(void *arg, const struct err *err)
{
	got_one(arg, err);
}

void
on_lease(void *arg, const struct err *err, uint64_t epoch)
{
	struct got *g = arg;

	g->number = epoch;
	got_one(g, err);
}

static void
put_row(struct buf *b, const struct event_row *r)
{
	buf_printf(b, "%u %s %s at=%llu ref=%u [%.*s] {%.*s} <%.*s>\n", r->seq, event_name(r->facts.type),
		r->id.z, (unsigned long long)r->facts.at_us, r->facts.ref, STRF(r->thread), STRF(r->body),
		STRF(r->private_));
}

void
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

void
on_events(void *arg, const struct err *err, const struct store_event *ev, size_t n, bool more)
{
	struct got *g = arg;

	g->n = n;
	g->after = more;
	for (size_t i = 0; i < n; i++)
		buf_printf(&g->text, "%u@%llu ", ev[i].row.seq, (unsigned long long)ev[i].processed_us);
	got_one(g, err);
}

void
on_ids(void *arg, const struct err *err, const struct id *ids, size_t n)
{
	struct got *g = arg;

	g->n = n;
	for (size_t i = 0; i < n; i++)
		buf_printf(&g->text, "%s ", ids[i].z);
	got_one(g, err);
}

void
got_expect(struct kit *k, struct got *g, enum err_kind want)
{
	kit_wait(k);
	assert_int_equal(g->calls, 1);
	if (g->kind != want)
		fail_msg("got %s (%s), want %s", g->kind ? err_kind_name(g->kind) : "success", g->err.msg,
			want ? err_kind_name(want) : "success");
}

struct event_row
row_of(enum event_type type, const char *body)
{
	static unsigned n;
	struct event_row r = {.facts = {.type = (uint8_t)type, .at_us = 1000 + n}, .body = str_z(body)};

	snprintf(r.id.z, sizeof(r.id.z), "sevt_%06u", ++n);
	return r;
}

struct store_append
append_of(const char *id, const struct event_row *rows, size_t n)
{
	return (struct store_append){
		.session_id = str_z(id), .rows = rows, .n_rows = n, .status = -1, .archived = -1};
}

enum err_kind
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

void
do_row(struct kit *k, const char *id, enum event_type type, const char *body)
{
	struct event_row r = row_of(type, body);
	struct store_append a = append_of(id, &r, 1);

	assert_int_equal(do_append(k, &a, NULL), ERR_NONE);
}

void
do_row_at(struct kit *k, const char *id, enum event_type type, uint64_t at_us, uint32_t ref)
{
	struct event_row r = row_of(type, "{}");
	struct store_append a = append_of(id, &r, 1);

	r.facts.at_us = at_us;
	r.facts.ref = ref;
	assert_int_equal(do_append(k, &a, NULL), ERR_NONE);
}

enum err_kind
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

void
do_create(struct kit *k, const char *id)
{
	struct store_session_index ix = {
		.agent_id = STR("agent_1"), .agent_version = 1, .environment_id = STR("env_1")};

	assert_int_equal(do_create_as(k, id, 1, &ix), ERR_NONE);
}

void
do_load(struct kit *k, const char *id, bool use_snapshot, struct got *g)
{
	got_start(g, k);
	store_session_load(k->store, str_z(id), use_snapshot, on_load, g);
	kit_wait(k);
	assert_int_equal(g->calls, 1);
}

void
assert_told(struct kit *k, const char *want)
{
	assert_str(buf_str(&k->told), want);
	buf_clear(&k->told);
}

void
kit_db(const struct kit *k, struct db *db)
{
	char path[128];
	struct err e = {0};

	snprintf(path, sizeof(path), "%s/store.db", k->dir);
	if (db_open(db, path, false, &e) < 0)
		fail_msg("%s", e.msg);
}

uint64_t
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

/* The rows of one session; the number of them. */
static size_t
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

size_t
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
