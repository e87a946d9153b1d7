/* SPDX-License-Identifier: Apache-2.0 */
#include "base/clock.h"
#include "control/session_files.h"
#include "model/agent.h"
#include "model/metadata.h"

/* ---- get ---- */

static void
on_got(void *arg, const struct err *err, const struct session_state *s)
{
	struct call *k = arg;
	if (err != NULL) {
		call_fail(k, err);
		return;
	}
	struct json_w w = call_json(k);
	session_render(s, clock_wall_us(), &w);
	call_reply(k);
}

void
sessions_get(struct call *k)
{
	brain_session_get(k->c->brain, k->params[0], on_got, k);
}

/* ---- update ---- */

struct session_update {
	struct call *k;
	struct json_at root, title, metadata, agent;
};

static int
change_title(struct session_update *u, const struct session_state *s, struct session_change *c, struct err *e)
{
	struct str title = STR_NULL;
	if (!u->title.present)
		return 0;
	int r = json_set(&u->title) ? json_want_str(&u->title, 1, LIM_TITLE, &title, e) : 0;
	bool same = (title.p == NULL) == (s->title.p == NULL) && str_eq(title, s->title);
	c->has_title = r == 0 && !same;
	c->title = title;
	return r;
}

static int
change_metadata(
	struct session_update *u, const struct session_state *s, struct session_change *c, struct err *e)
{
	if (!json_set(&u->metadata))
		return 0;
	AUTO(json) struct json_t *current = NULL;
	AUTO(json) struct json_t *after = NULL;
	AUTO(buf) struct buf b;
	buf_init(&b, 64 * KIB);
	struct json_w w = json_w(&b);
	int r = json_parse(s->metadata, &current, e);
	r = r == 0 ? metadata_patch(&u->metadata, current, false, &w, e) : r;
	r = r == 0 ? json_parse(buf_str(&b), &after, e) : r;
	c->has_metadata = r == 0 && !json_equal(current, after);
	c->metadata = arena_dup(u->k->a, buf_str(&b));
	return r;
}

static int
change_agent(struct session_update *u, const struct session_state *s, struct session_change *c, struct err *e)
{
	if (!json_set(&u->agent))
		return 0;
	if (turn_busy(&s->turn))
		return json_fail(
			&u->agent, e, "the session is running; its agent can be changed while it is idle");
	AUTO(json) struct json_t *current = NULL;
	AUTO(json) struct json_t *after = NULL;
	AUTO(buf) struct buf b;
	buf_init(&b, LIM_HTTP_BODY);
	int r = json_parse(s->agent, &current, e);
	r = r == 0 ? agent_snapshot_update(u->k->a, current, &u->agent, &b, e) : r;
	r = r == 0 ? json_parse(buf_str(&b), &after, e) : r;
	c->has_agent = r == 0 && !json_equal(current, after);
	c->agent = arena_dup(u->k->a, buf_str(&b));
	return r;
}

static int
make_update(void *arg, const struct session_state *s, struct plan *p, struct err *e)
{
	struct session_update *u = arg;
	struct session_change c = {0};
	if (s->turn.status == TURN_TERMINATED)
		return err_set(e, ERR_INVALID, "Session %s is archived and cannot be changed.", s->id.z);
	int r = change_title(u, s, &c, e);
	r = r == 0 ? change_metadata(u, s, &c, e) : r;
	r = r == 0 ? change_agent(u, s, &c, e) : r;
	if (r == 0 && (c.has_title || c.has_metadata || c.has_agent))
		session_updated_row(&c, p->arena, clock_wall_us(), &p->rows[p->n_rows++]);
	return r;
}

static void
on_changed(
	void *arg, const struct err *err, const struct plan *p, uint32_t seq, const struct session_state *s)
{
	(void)p, (void)seq;
	struct session_update *u = arg;
	on_got(u->k, err, s);
}

void
sessions_update(struct call *k)
{
	static const char *const members[] = {"title", "metadata", "agent", "budget", "vault_ids", NULL};
	struct err e = {0};
	const struct json_t *body = call_body(k);
	if (body == NULL)
		return;
	struct session_update *u = arena_alloc(k->a, sizeof(*u));
	int r = u != NULL ? 0 : err_set(&e, ERR_NO_MEMORY, "out of memory");
	if (r == 0) {
		u->k = k;
		u->root = json_root(body);
		u->title = json_member(&u->root, "title");
		u->metadata = json_member(&u->root, "metadata");
		u->agent = json_member(&u->root, "agent");
		struct json_at vaults = json_member(&u->root, "vault_ids");
		struct json_at budget = json_member(&u->root, "budget");
		r = json_closed(&u->root, members, &e);
		if (r == 0 && json_set(&vaults))
			r = json_fail(
				&vaults, &e, "vault_ids cannot be changed after the session was created");
		if (r == 0 && json_set(&budget))
			r = json_fail_code(&budget, &e, "budget_create_only",
				"a budget can only be set when the session is created");
	}
	if (r < 0) {
		call_fail(k, &e);
		return;
	}
	struct brain_change c = {.make = make_update, .done = on_changed, .arg = u};
	brain_session_change(k->c->brain, k->params[0], &c);
}

/* ---- archive, delete ---- */

static int
make_archive(void *arg, const struct session_state *s, struct plan *p, struct err *e)
{
	(void)arg;
	if (s->turn.status == TURN_TERMINATED)
		return 0;
	return plan_archive(p, s, clock_wall_us(), e);
}

static void
on_archived(
	void *arg, const struct err *err, const struct plan *p, uint32_t seq, const struct session_state *s)
{
	(void)p, (void)seq;
	on_got(arg, err, s);
}

void
sessions_archive(struct call *k)
{
	struct brain_change c = {.make = make_archive, .done = on_archived, .arg = k, .archive = true};
	brain_session_change(k->c->brain, k->params[0], &c);
}

static void
on_deleted(void *arg, const struct err *err)
{
	struct call *k = arg;
	if (err != NULL) {
		call_fail(k, err);
		return;
	}
	session_files_purge(k->c, k->params[0]);
	call_reply_deleted(k, k->params[0], "session_deleted");
}

void
sessions_delete(struct call *k)
{
	brain_session_delete(k->c->brain, k->params[0], on_deleted, k);
}

/* ---- list ---- */

#define LIST_MAX 100

/* Each row is rendered as soon as its state is at hand: from memory, from a snapshot that is as new as the
 * log, else after loading. The answer is put together when all are there. */
struct session_list {
	struct call *k;
	struct store_session_query q;
	struct arena *texts; /* of the rows: they may be larger than a request's own arena */
	struct list_row {
		struct id id;
		struct str json; /* p == NULL: not rendered (yet) */
	} rows[LIST_MAX];
	size_t n, at;
	struct page_cursor first, last;
	bool before, after;
};

static void list_next(struct session_list *l);

static void
list_end(struct session_list *l, const struct err *err)
{
	struct call *k = l->k;
	arena_free(MOVE(l->texts));
	if (err != NULL)
		call_fail(k, err);
	else
		call_reply(k);
}

static int
render_row(struct session_list *l, struct list_row *row, const struct session_state *s, struct err *e)
{
	AUTO(buf) struct buf b;
	buf_init(&b, LIM_EVENT_BODY);
	struct json_w w = json_w(&b);
	session_render(s, clock_wall_us(), &w);
	int r = buf_check(&b, e);
	row->json = arena_dup(l->texts, buf_str(&b));
	return r < 0 ? r : arena_check(l->texts, e);
}

static int
take_row(struct session_list *l, const struct store_session_row *row, struct err *e)
{
	struct list_row *mine = &l->rows[l->n++];
	mine->id = row->id;
	const struct session_state *live = brain_session_peek(l->k->c->brain, id_str(&row->id));
	if (live != NULL)
		return render_row(l, mine, live, e);
	if (row->snapshot.n == 0 || row->snapshot_seq != row->last_seq)
		return 0;
	struct session_state s;
	session_state_init(&s);
	/* A snapshot that cannot be read is no snapshot. */
	int r = session_decode(row->snapshot, &s, NULL) == 0 ? render_row(l, mine, &s, e) : 0;
	session_state_done(&s);
	return r;
}

static void
put_cursor(struct json_w *w, const char *key, bool there, const struct page_cursor *c)
{
	char text[PAGE_TEXT_MAX];
	page_format(c, text);
	jw_kz(w, key, there ? text : NULL);
}

static void
list_reply(struct session_list *l)
{
	struct json_w w = call_json(l->k);
	jw_obj(&w);
	jw_key(&w, "data");
	jw_arr(&w);
	for (size_t i = 0; i < l->n; i++) {
		if (l->rows[i].json.p != NULL)
			jw_raw(&w, l->rows[i].json);
	}
	jw_arr_end(&w);
	put_cursor(&w, "next_page", l->after && l->n > 0, &l->last);
	put_cursor(&w, "prev_page", l->before && l->n > 0, &l->first);
	jw_obj_end(&w);
	list_end(l, NULL);
}

/* One that was deleted meanwhile, or cannot be read, is left out. */
static void
on_row_loaded(void *arg, const struct err *err, const struct session_state *s)
{
	struct session_list *l = arg;
	struct err e = {0};
	if (err != NULL && err->kind != ERR_NOT_FOUND && err->kind != ERR_CORRUPT)
		e = *err;
	else if (err == NULL)
		(void)render_row(l, &l->rows[l->at], s, &e);
	l->at++;
	if (e.kind != ERR_NONE)
		list_end(l, &e);
	else
		list_next(l);
}

static void
list_next(struct session_list *l)
{
	while (l->at < l->n && l->rows[l->at].json.p != NULL)
		l->at++;
	if (l->at < l->n)
		brain_session_get(l->k->c->brain, id_str(&l->rows[l->at].id), on_row_loaded, l);
	else
		list_reply(l);
}

static struct page_cursor
row_cursor(const struct session_list *l, const struct store_session_row *row, bool back)
{
	return (struct page_cursor){.kind = PAGE_SESSIONS,
		.ascending = l->q.ascending,
		.backwards = back,
		.us = row->created_us,
		.key = row->key};
}

static void
on_list(void *arg, const struct err *err, const struct store_session_row *rows, size_t n, bool before,
	bool after)
{
	struct session_list *l = arg;
	struct err e = {0};
	for (size_t i = 0; err == NULL && i < n && i < LIST_MAX; i++) {
		if (take_row(l, &rows[i], &e) < 0)
			err = &e;
	}
	if (err != NULL) {
		list_end(l, err);
		return;
	}
	if (n > 0) {
		l->first = row_cursor(l, &rows[0], true);
		l->last = row_cursor(l, &rows[n - 1], false);
	}
	l->before = before;
	l->after = after;
	list_next(l);
}

static int
list_statuses(struct call *k, unsigned *mask, struct err *e)
{
	static const char *const names[] = {"idle", "running", "rescheduling", "terminated"};
	struct str v;
	for (size_t i = 0; call_query_all(k, "statuses", i, &v); i++) {
		size_t n = 0;
		while (n < ARRAY_LEN(names) && !str_eqz(v, names[n]))
			n++;
		if (n == ARRAY_LEN(names))
			return err_set(e, ERR_INVALID,
				"statuses.%zu: Input should be 'idle', 'running', 'rescheduling' or "
				"'terminated'",
				i);
		*mask |= 1u << n;
	}
	return 0;
}

static int
list_order(struct call *k, struct store_session_query *q, struct err *e)
{
	struct str order = call_query(k, "order");
	struct page_cursor at;
	if (order.p != NULL && !str_eqz(order, "asc") && !str_eqz(order, "desc"))
		return err_set(e, ERR_INVALID, "order: Input should be 'asc' or 'desc'");
	q->ascending = str_eqz(order, "asc");
	int r = page_parse(k, PAGE_SESSIONS, &at, e);
	if (r < 0)
		return r;
	if (at.set && order.p == NULL)
		q->ascending = at.ascending;
	if (at.set && at.ascending != q->ascending)
		return err_set(e, ERR_INVALID, "page: this cursor belongs to another order");
	bool outside = at.set && ((q->created_gte != 0 && at.us < q->created_gte) ||
					 (q->created_lte != 0 && at.us > q->created_lte));
	if (outside)
		return err_set(e, ERR_INVALID, "page: the created_at bounds were moved past this cursor");
	q->has_cursor = at.set;
	q->backwards = at.backwards;
	q->cursor_us = at.us;
	q->cursor_key = at.key;
	return 0;
}

static int
list_agent(struct call *k, struct store_session_query *q, struct err *e)
{
	uint64_t version = 0;
	struct str v = call_query(k, "agent_version");
	q->agent_id = call_query(k, "agent_id");
	if (v.p != NULL && q->agent_id.n == 0)
		return err_set(e, ERR_INVALID, "agent_version: needs agent_id");
	if (v.p != NULL && (!str_to_u64(v, &version) || version < 1 || version > UINT32_MAX))
		return err_set(e, ERR_INVALID, "agent_version: Input should be an integer of at least 1");
	q->agent_version = (uint32_t)version;
	q->deployment_id = call_query(k, "deployment_id");
	return 0;
}

static int
list_parse(struct call *k, struct store_session_query *q, struct err *e)
{
	static const char *const allowed[] = {"agent_id", "agent_version", "deployment_id", "memory_store_id",
		"statuses", "include_archived", "created_at[gt]", "created_at[gte]", "created_at[lt]",
		"created_at[lte]", "order", "limit", "page", NULL};
	int r = call_query_closed(k, allowed, e);
	r = r == 0 ? call_limit(k, 20, LIST_MAX, &q->limit, e) : r;
	r = r == 0 ? call_query_bool(k, "include_archived", &q->include_archived, e) : r;
	r = r == 0 ? call_query_time(k, "created_at[gt]", &q->created_gt, e) : r;
	r = r == 0 ? call_query_time(k, "created_at[gte]", &q->created_gte, e) : r;
	r = r == 0 ? call_query_time(k, "created_at[lt]", &q->created_lt, e) : r;
	r = r == 0 ? call_query_time(k, "created_at[lte]", &q->created_lte, e) : r;
	r = r == 0 ? list_statuses(k, &q->statuses, e) : r;
	r = r == 0 ? list_agent(k, q, e) : r;
	return r == 0 ? list_order(k, q, e) : r;
}

/* No session has a memory store attached on this server yet. */
static void
reply_empty(struct call *k)
{
	struct json_w w = call_json(k);
	jw_raw(&w, STR("{\"data\":[],\"next_page\":null,\"prev_page\":null}"));
	call_reply(k);
}

void
sessions_list(struct call *k)
{
	struct err e = {0};
	struct session_list *l = arena_alloc(k->a, sizeof(*l));
	int r = l != NULL ? list_parse(k, &l->q, &e) : err_set(&e, ERR_NO_MEMORY, "out of memory");
	if (r < 0) {
		call_fail(k, &e);
		return;
	}
	if (call_query(k, "memory_store_id").n > 0) {
		reply_empty(k);
		return;
	}
	l->k = k;
	l->texts = arena_new(LIM_EVENT_BODY * 2);
	if (l->texts == NULL) {
		err_set(&e, ERR_NO_MEMORY, "out of memory");
		call_fail(k, &e);
		return;
	}
	store_sessions(k->c->store, &l->q, on_list, l);
}
