/* SPDX-License-Identifier: Apache-2.0 */
/* Lists: sessions in both directions, documents, versions. */
#include "test_store_kit.h"

/* ---- sessions ---- */

struct page {
	struct got got;
	struct store_session_row rows[LIM_PAGE_MAX];
};

static void
on_sessions(void *arg, const struct err *err, const struct store_session_row *rows, size_t n, bool before,
	bool after)
{
	struct page *p = arg;

	p->got.n = n;
	p->got.before = before;
	p->got.after = after;
	for (size_t i = 0; i < n; i++) {
		p->rows[i] = rows[i];
		buf_printf(&p->got.text, "%s", rows[i].id.z + 5);
		if (rows[i].snapshot.n > 0)
			buf_printf(&p->got.text, "(%.*s@%u/%u)", STRF(rows[i].snapshot), rows[i].snapshot_seq,
				rows[i].last_seq);
		buf_put_c(&p->got.text, ' ');
	}
	got_one(&p->got, err);
}

static struct page *
list(struct kit *k, const struct store_session_query *q)
{
	struct page *p = calloc(1, sizeof(*p));

	got_start(&p->got, k);
	store_sessions(k->store, q, on_sessions, p);
	got_expect(k, &p->got, ERR_NONE);
	return p;
}

static void
page_free(struct page *p)
{
	got_end(&p->got);
	free(p);
}

static void
list_expect(struct kit *k, const struct store_session_query *q, const char *want)
{
	struct page *p = list(k, q);

	assert_str(buf_str(&p->got.text), want);
	page_free(p);
}

static void
create_as(struct kit *k, const char *id, uint64_t created_us, const struct store_session_index *ix)
{
	assert_int_equal(do_create_as(k, id, created_us, ix), ERR_NONE);
}

static void
set_status(struct kit *k, const char *id, int status, int archived)
{
	struct event_row r = row_of(EV_SESSION_STATUS_RUNNING, "{}");
	struct store_append a = append_of(id, &r, 1);

	a.status = status;
	a.archived = archived;
	assert_int_equal(do_append(k, &a, NULL), ERR_NONE);
}

static void
test_session_filters(void **state)
{
	struct kit *k = *state;
	struct store_session_index a = {.agent_id = STR("agent_a"), .agent_version = 1}, a2 = a,
				   b = {.agent_id = STR("agent_b"),
					   .agent_version = 1,
					   .deployment_id = STR("depl_1")};

	a2.agent_version = 2;
	create_as(k, "sesn_1", 100, &a);
	create_as(k, "sesn_2", 200, &a2);
	create_as(k, "sesn_3", 300, &b);
	create_as(k, "sesn_4", 400, &a);
	set_status(k, "sesn_2", TURN_RUNNING, -1);
	set_status(k, "sesn_3", TURN_TERMINATED, 1);

	list_expect(k, &(struct store_session_query){0}, "4 2 1 ");
	list_expect(k, &(struct store_session_query){.ascending = true}, "1 2 4 ");
	list_expect(k, &(struct store_session_query){.include_archived = true}, "4 3 2 1 ");
	list_expect(k, &(struct store_session_query){.agent_id = STR("agent_a")}, "4 2 1 ");
	list_expect(k, &(struct store_session_query){.agent_id = STR("agent_a"), .agent_version = 2}, "2 ");
	list_expect(k, &(struct store_session_query){.agent_id = STR("agent_c")}, "");
	list_expect(k,
		&(struct store_session_query){.deployment_id = STR("depl_1"), .include_archived = true},
		"3 ");
	list_expect(k,
		&(struct store_session_query){
			.agent_id = STR("agent_b"), .deployment_id = STR("depl_1"), .include_archived = true},
		"3 ");
	list_expect(k, &(struct store_session_query){.statuses = 1u << TURN_RUNNING}, "2 ");
	list_expect(k,
		&(struct store_session_query){
			.statuses = 1u << TURN_RUNNING | 1u << TURN_TERMINATED, .include_archived = true},
		"3 2 ");
	list_expect(k, &(struct store_session_query){.statuses = 1u << TURN_IDLE, .ascending = true}, "1 4 ");
	list_expect(k, &(struct store_session_query){.created_gt = 100, .created_lt = 400}, "2 ");
	list_expect(k, &(struct store_session_query){.created_gte = 100, .created_lte = 400}, "4 2 1 ");
}

static void
test_session_rows_carry_their_snapshot(void **state)
{
	struct kit *k = *state;
	struct event_row r = row_of(EV_AGENT_MESSAGE, "{}");
	struct store_append a = append_of("sesn_1", &r, 1);
	struct store_session_index ix = {.agent_id = STR("agent_a")};

	create_as(k, "sesn_1", 100, &ix);
	create_as(k, "sesn_2", 200, &ix);
	a.snapshot = STR("old");
	assert_int_equal(do_append(k, &a, NULL), ERR_NONE);
	a.snapshot = STR_NULL;
	assert_int_equal(do_append(k, &a, NULL), ERR_NONE);
	list_expect(k, &(struct store_session_query){0}, "2 1(old@2/3) ");
}

enum { MANY = 137 };

/* Rows in list order after walking pages from one end to the other, or back. */
static void
walk(struct kit *k, struct store_session_query q, bool back, char seen[MANY * 2][ID_MAX], size_t *n)
{
	bool more = true;

	*n = 0;
	for (int guard = 0; more; guard++) {
		struct page *p = list(k, &q);
		assert_true(guard < MANY);
		assert_true(p->got.n > 0 && p->got.n <= q.limit);
		if (back) {
			/* Prepend. */
			memmove(seen + p->got.n, seen, *n * sizeof(seen[0]));
			for (size_t i = 0; i < p->got.n; i++)
				memcpy(seen[i], p->rows[i].id.z, ID_MAX);
			q.cursor_us = p->rows[0].created_us;
			q.cursor_key = p->rows[0].key;
			more = p->got.before;
			assert_true(p->got.after);
		} else {
			for (size_t i = 0; i < p->got.n; i++)
				memcpy(seen[*n + i], p->rows[i].id.z, ID_MAX);
			q.cursor_us = p->rows[p->got.n - 1].created_us;
			q.cursor_key = p->rows[p->got.n - 1].key;
			more = p->got.after;
			assert_int_equal(p->got.before, q.has_cursor);
		}
		q.has_cursor = true;
		*n += p->got.n;
		page_free(p);
	}
}

/* Equal timestamps are the hard case: pages must neither repeat nor lose a row, in either order, in either
 * direction. */
static void
test_session_pages_both_ways(void **state)
{
	struct kit *k = *state;
	struct store_session_index ix = {.agent_id = STR("agent_a")};
	static char down[MANY * 2][ID_MAX], up[MANY * 2][ID_MAX], back[MANY * 2][ID_MAX];
	size_t n, m;
	char id[32];

	for (int i = 0; i < MANY; i++) {
		snprintf(id, sizeof(id), "sesn_%03d", i);
		create_as(k, id, i < 120 ? 500 : 400 + (uint64_t)i, &ix);
	}
	for (size_t limit = 1; limit <= 150; limit = limit * 3 + 1) {
		struct store_session_query q = {.limit = limit};
		walk(k, q, false, down, &n);
		assert_int_equal(n, MANY);
		q.ascending = true;
		walk(k, q, false, up, &m);
		assert_int_equal(m, MANY);
		for (size_t i = 0; i < n; i++)
			assert_string_equal(down[i], up[n - 1 - i]);
		/* From the last row of the descending list backwards: all but that row. */
		struct page *p = list(k, &(struct store_session_query){.limit = MANY});
		assert_int_equal(p->got.n, MANY);
		assert_false(p->got.after);
		q = (struct store_session_query){.limit = limit,
			.has_cursor = true,
			.backwards = true,
			.cursor_us = p->rows[MANY - 1].created_us,
			.cursor_key = p->rows[MANY - 1].key};
		page_free(p);
		walk(k, q, true, back, &m);
		assert_int_equal(m, MANY - 1);
		for (size_t i = 0; i < m; i++)
			assert_string_equal(back[i], down[i]);
	}
}

static void
test_session_pages_with_filters(void **state)
{
	struct kit *k = *state;
	struct store_session_index a = {.agent_id = STR("agent_a")}, b = {.agent_id = STR("agent_b")};
	static char seen[MANY * 2][ID_MAX];
	char id[32];
	size_t n;

	for (int i = 0; i < MANY; i++) {
		snprintf(id, sizeof(id), "sesn_%03d", i);
		create_as(k, id, 7, i % 3 == 0 ? &a : &b);
		if (i % 2 == 0)
			set_status(k, id, TURN_TERMINATED, 1);
	}
	walk(k, (struct store_session_query){.agent_id = STR("agent_a"), .limit = 4}, false, seen, &n);
	assert_int_equal(n, 23);
	for (size_t i = 0; i < n; i++) {
		snprintf(id, sizeof(id), "sesn_%03d", (int)(135 - 6 * i));
		assert_string_equal(seen[i], id);
	}
}

/* An empty page past the end still knows that there is something before it. */
static void
test_session_page_past_the_end(void **state)
{
	struct kit *k = *state;
	struct store_session_index ix = {.agent_id = STR("agent_a")};

	create_as(k, "sesn_1", 100, &ix);
	struct page *p = list(k, &(struct store_session_query){.has_cursor = true, .cursor_us = 50});
	assert_int_equal(p->got.n, 0);
	assert_true(p->got.before);
	assert_false(p->got.after);
	page_free(p);
}

/* ---- documents ---- */

static void
on_doc(void *arg, const struct err *err, const struct store_doc *d)
{
	struct got *g = arg;

	if (d)
		buf_printf(&g->text, "%d %.*s v%u %llu/%llu/%llu u=%.*s p=%.*s %.*s", d->kind, STRF(d->id),
			d->version, (unsigned long long)d->created_us, (unsigned long long)d->updated_us,
			(unsigned long long)d->archived_us, STRF(d->unique), STRF(d->parent), STRF(d->body));
	got_one(g, err);
}

static struct store_doc
doc_of(enum doc_kind kind, const char *id, uint64_t us, const char *unique)
{
	return (struct store_doc){.kind = kind,
		.id = str_z(id),
		.version = 1,
		.created_us = us,
		.updated_us = us,
		.unique = str_z(unique),
		.body = STR("{\"n\":1}")};
}

static enum err_kind
do_doc_create(struct kit *k, const struct store_doc *d)
{
	struct got g;

	got_start(&g, k);
	store_doc_create(k->store, d, on_write, &g);
	kit_wait(k);
	if (g.kind == ERR_NONE)
		assert_int_equal(g.number, 1);
	got_end(&g);
	return g.kind;
}

static enum err_kind
do_doc_update(struct kit *k, const struct store_doc *d, uint32_t expect, bool keep, uint64_t *version)
{
	struct got g;

	got_start(&g, k);
	store_doc_update(k->store, d, expect, keep, on_write, &g);
	kit_wait(k);
	if (version)
		*version = g.number;
	got_end(&g);
	return g.kind;
}

static enum err_kind
do_doc_delete(struct kit *k, enum doc_kind kind, const char *id, bool unless_referenced)
{
	struct got g;

	got_start(&g, k);
	store_doc_delete(k->store, kind, str_z(id), unless_referenced, on_write, &g);
	kit_wait(k);
	got_end(&g);
	return g.kind;
}

/* `want` NULL: not found. */
static void
doc_expect(struct kit *k, enum doc_kind kind, const char *id, uint32_t version, const char *want)
{
	struct got g;

	got_start(&g, k);
	store_doc_get(k->store, kind, str_z(id), version, on_doc, &g);
	got_expect(k, &g, want ? ERR_NONE : ERR_NOT_FOUND);
	assert_str(buf_str(&g.text), want ? want : "");
	got_end(&g);
}

static void
find_expect(struct kit *k, enum doc_kind kind, const char *unique, const char *want)
{
	struct got g;

	got_start(&g, k);
	store_doc_find(k->store, kind, str_z(unique), on_doc, &g);
	got_expect(k, &g, want ? ERR_NONE : ERR_NOT_FOUND);
	assert_str(buf_str(&g.text), want ? want : "");
	got_end(&g);
}

static void
test_doc_versions(void **state)
{
	struct kit *k = *state;
	struct store_doc d = doc_of(DOC_AGENT, "agent_1", 10, "");
	uint64_t version;

	doc_expect(k, DOC_AGENT, "agent_1", 0, NULL);
	assert_int_equal(do_doc_update(k, &d, 0, true, NULL), ERR_NOT_FOUND);
	assert_int_equal(do_doc_create(k, &d), ERR_NONE);
	assert_int_equal(do_doc_create(k, &d), ERR_CONFLICT);
	doc_expect(k, DOC_AGENT, "agent_1", 0, "1 agent_1 v1 10/10/0 u= p= {\"n\":1}");
	doc_expect(k, DOC_ENVIRONMENT, "agent_1", 0, NULL);

	d.created_us = 99; /* kept as it was */
	d.updated_us = 20;
	d.body = STR("{\"n\":2}");
	assert_int_equal(do_doc_update(k, &d, 2, true, NULL), ERR_CONFLICT);
	assert_int_equal(do_doc_update(k, &d, 1, true, &version), ERR_NONE);
	assert_int_equal(version, 2);
	d.updated_us = 30;
	d.archived_us = 30;
	assert_int_equal(do_doc_update(k, &d, 0, false, &version), ERR_NONE);
	assert_int_equal(version, 2);
	kit_reopen(k);
	doc_expect(k, DOC_AGENT, "agent_1", 0, "1 agent_1 v2 10/30/30 u= p= {\"n\":2}");
	doc_expect(k, DOC_AGENT, "agent_1", 2, "1 agent_1 v2 10/30/30 u= p= {\"n\":2}");
	doc_expect(k, DOC_AGENT, "agent_1", 1, "1 agent_1 v1 10/10/0 u= p= {\"n\":1}");
	doc_expect(k, DOC_AGENT, "agent_1", 3, NULL);
}

static void
test_doc_unique_keys(void **state)
{
	struct kit *k = *state;
	struct store_doc a = doc_of(DOC_ENVIRONMENT, "env_a", 1, "name"),
			 b = doc_of(DOC_ENVIRONMENT, "env_b", 2, "name"),
			 none = doc_of(DOC_ENVIRONMENT, "env_c", 3, ""),
			 none2 = doc_of(DOC_ENVIRONMENT, "env_d", 4, "");

	assert_int_equal(do_doc_create(k, &a), ERR_NONE);
	assert_int_equal(do_doc_create(k, &b), ERR_CONFLICT);
	/* Another kind is another name space; without a key there is no conflict. */
	b.kind = DOC_KEY;
	assert_int_equal(do_doc_create(k, &b), ERR_NONE);
	assert_int_equal(do_doc_create(k, &none), ERR_NONE);
	assert_int_equal(do_doc_create(k, &none2), ERR_NONE);
	find_expect(k, DOC_ENVIRONMENT, "", NULL);
	find_expect(k, DOC_ENVIRONMENT, "name", "2 env_a v1 1/1/0 u=name p= {\"n\":1}");
	/* Taking a used key by an update is a conflict; keeping one's own is not. */
	none.unique = STR("name");
	assert_int_equal(do_doc_update(k, &none, 0, false, NULL), ERR_CONFLICT);
	assert_int_equal(do_doc_update(k, &a, 0, false, NULL), ERR_NONE);
	/* Archiving frees it. */
	a.archived_us = 5;
	assert_int_equal(do_doc_update(k, &a, 0, false, NULL), ERR_NONE);
	find_expect(k, DOC_ENVIRONMENT, "name", NULL);
	assert_int_equal(do_doc_update(k, &none, 0, false, NULL), ERR_NONE);
	a.archived_us = 0;
	assert_int_equal(do_doc_update(k, &a, 0, false, NULL), ERR_CONFLICT);
}

/* Two conflicting creations in one commit: one wins, and the loser does not take the winner down. */
static void
test_doc_conflict_within_a_commit(void **state)
{
	struct kit *k = *state;
	struct got g[3];

	for (int i = 0; i < 3; i++) {
		char id[16];
		snprintf(id, sizeof(id), "env_%d", i);
		struct store_doc d = doc_of(DOC_ENVIRONMENT, id, 1, i < 2 ? "same" : "other");
		got_start(&g[i], k);
		store_doc_create(k->store, &d, on_write, &g[i]);
	}
	kit_wait(k);
	assert_int_equal(g[0].kind, ERR_NONE);
	assert_int_equal(g[1].kind, ERR_CONFLICT);
	assert_int_equal(g[2].kind, ERR_NONE);
	for (int i = 0; i < 3; i++)
		got_end(&g[i]);
	assert_int_equal(kit_number(k, "SELECT count(*) FROM docs"), 2);
}

static void
test_doc_delete(void **state)
{
	struct kit *k = *state;
	struct store_doc agent = doc_of(DOC_AGENT, "agent_1", 1, ""),
			 env = doc_of(DOC_ENVIRONMENT, "env_1", 1, "e");

	assert_int_equal(do_doc_create(k, &agent), ERR_NONE);
	assert_int_equal(do_doc_update(k, &agent, 0, true, NULL), ERR_NONE);
	assert_int_equal(do_doc_create(k, &env), ERR_NONE);
	do_create(k, "sesn_a");
	assert_int_equal(do_doc_delete(k, DOC_AGENT, "agent_1", true), ERR_CONFLICT);
	assert_int_equal(do_doc_delete(k, DOC_ENVIRONMENT, "env_1", true), ERR_CONFLICT);
	assert_int_equal(do_doc_delete(k, DOC_AGENT, "agent_1", false), ERR_NONE);
	assert_int_equal(do_doc_delete(k, DOC_AGENT, "agent_1", false), ERR_NOT_FOUND);
	doc_expect(k, DOC_AGENT, "agent_1", 0, NULL);
	doc_expect(k, DOC_AGENT, "agent_1", 1, NULL);
	assert_int_equal(kit_number(k, "SELECT count(*) FROM doc_versions"), 0);

	struct got g;
	got_start(&g, k);
	store_session_delete(k->store, STR("sesn_a"), 0, 1, on_write, &g);
	got_expect(k, &g, ERR_NONE);
	got_end(&g);
	assert_int_equal(do_doc_delete(k, DOC_ENVIRONMENT, "env_1", true), ERR_NONE);
}

struct doc_page {
	struct got got;
	uint64_t us, key; /* of the last row */
};

static void
on_docs(void *arg, const struct err *err, const struct store_doc_row *rows, size_t n, bool more)
{
	struct doc_page *p = arg;

	p->got.n = n;
	p->got.after = more;
	for (size_t i = 0; i < n; i++) {
		buf_printf(&p->got.text, "%.*s.%u ", STRF(rows[i].doc.id), rows[i].doc.version);
		p->us = rows[i].doc.created_us;
		p->key = rows[i].key;
	}
	got_one(&p->got, err);
}

static void
docs_expect(struct kit *k, struct store_doc_query q, const char *want)
{
	AUTO(buf) struct buf all = {0};
	bool more = true;

	buf_init(&all, 1 << 20);
	for (int guard = 0; more; guard++) {
		struct doc_page p = {0};
		assert_true(guard < 200);
		got_start(&p.got, k);
		store_docs(k->store, &q, on_docs, &p);
		got_expect(k, &p.got, ERR_NONE);
		buf_put_str(&all, buf_str(&p.got.text));
		q.has_cursor = true;
		q.cursor_us = p.us;
		q.cursor_key = p.key;
		more = p.got.after;
		got_end(&p.got);
	}
	assert_str(buf_str(&all), want);
}

static void
test_doc_lists(void **state)
{
	struct kit *k = *state;
	struct str ids[] = {STR("file_2"), STR("file_5"), STR("file_9"), STR("file_0")};
	char id[16];

	for (int i = 0; i < 7; i++) {
		snprintf(id, sizeof(id), "file_%d", i);
		struct store_doc d = doc_of(DOC_FILE, id, i < 5 ? 100 : 200, "");
		d.parent = i % 2 ? STR("sesn_a") : STR_NULL;
		assert_int_equal(do_doc_create(k, &d), ERR_NONE);
		if (i == 3) {
			d.archived_us = 9;
			assert_int_equal(do_doc_update(k, &d, 0, false, NULL), ERR_NONE);
		}
	}
	struct store_doc other = doc_of(DOC_AGENT, "agent_1", 100, "");
	assert_int_equal(do_doc_create(k, &other), ERR_NONE);
	for (size_t limit = 1; limit < 9; limit++) {
		docs_expect(k, (struct store_doc_query){.kind = DOC_FILE, .limit = limit},
			"file_6.1 file_5.1 file_4.1 file_2.1 file_1.1 file_0.1 ");
		docs_expect(k,
			(struct store_doc_query){.kind = DOC_FILE, .limit = limit, .include_archived = true},
			"file_6.1 file_5.1 file_4.1 file_3.1 file_2.1 file_1.1 file_0.1 ");
		docs_expect(k,
			(struct store_doc_query){.kind = DOC_FILE,
				.limit = limit,
				.has_parent = true,
				.parent = STR("sesn_a")},
			"file_5.1 file_1.1 ");
		docs_expect(k, (struct store_doc_query){.kind = DOC_FILE, .limit = limit, .has_parent = true},
			"file_6.1 file_4.1 file_2.1 file_0.1 ");
		docs_expect(k,
			(struct store_doc_query){
				.kind = DOC_FILE, .limit = limit, .ids = ids, .n_ids = ARRAY_LEN(ids)},
			"file_5.1 file_2.1 file_0.1 ");
	}
	docs_expect(k, (struct store_doc_query){.kind = DOC_FILE, .created_gte = 150}, "file_6.1 file_5.1 ");
	docs_expect(k, (struct store_doc_query){.kind = DOC_FILE, .created_lte = 150, .limit = 2},
		"file_4.1 file_2.1 file_1.1 file_0.1 ");
	docs_expect(k, (struct store_doc_query){.kind = DOC_FILE, .ids = ids}, "");
	docs_expect(k, (struct store_doc_query){.kind = DOC_SETTING}, "");
}

static void
test_doc_version_lists(void **state)
{
	struct kit *k = *state;
	struct store_doc d = doc_of(DOC_AGENT, "agent_1", 1, "");
	struct doc_page p = {0};

	assert_int_equal(do_doc_create(k, &d), ERR_NONE);
	for (int i = 0; i < 4; i++)
		assert_int_equal(do_doc_update(k, &d, 0, true, NULL), ERR_NONE);
	for (size_t limit = 1; limit < 7; limit++)
		docs_expect(k,
			(struct store_doc_query){
				.kind = DOC_AGENT, .versions_of = STR("agent_1"), .limit = limit},
			"agent_1.5 agent_1.4 agent_1.3 agent_1.2 agent_1.1 ");
	got_start(&p.got, k);
	store_docs(k->store, &(struct store_doc_query){.kind = DOC_AGENT, .versions_of = STR("agent_2")},
		on_docs, &p);
	got_expect(k, &p.got, ERR_NOT_FOUND);
	got_end(&p.got);
}

static void
test_doc_limits(void **state)
{
	struct kit *k = *state;
	struct str ids[101];
	struct doc_page p = {0};
	struct store_doc d = doc_of(DOC_AGENT, "agent_1", 1, "");

	for (size_t i = 0; i < ARRAY_LEN(ids); i++)
		ids[i] = STR("file_1");
	got_start(&p.got, k);
	store_docs(
		k->store, &(struct store_doc_query){.kind = DOC_FILE, .ids = ids, .n_ids = 101}, on_docs, &p);
	got_expect(k, &p.got, ERR_INVALID);
	got_end(&p.got);
	char *body = calloc(1, LIM_HTTP_BODY + 1);
	d.body = str_n(body, LIM_HTTP_BODY + 1);
	assert_int_equal(do_doc_create(k, &d), ERR_TOO_LARGE);
	free(body);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		KIT_TEST(test_session_filters),
		KIT_TEST(test_session_rows_carry_their_snapshot),
		KIT_TEST(test_session_pages_both_ways),
		KIT_TEST(test_session_pages_with_filters),
		KIT_TEST(test_session_page_past_the_end),
		KIT_TEST(test_doc_versions),
		KIT_TEST(test_doc_unique_keys),
		KIT_TEST(test_doc_conflict_within_a_commit),
		KIT_TEST(test_doc_delete),
		KIT_TEST(test_doc_lists),
		KIT_TEST(test_doc_version_lists),
		KIT_TEST(test_doc_limits),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
