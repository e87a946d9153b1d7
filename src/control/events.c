/* SPDX-License-Identifier: Apache-2.0 */
#include "control/events.h"

#include "base/clock.h"
#include "control/session_files.h"
#include "control/stream.h"

/* ---- send ---- */

struct events_send {
	struct call *k;
	struct client_event *ev;
	size_t n;
};

static int
make_rows(void *arg, const struct session_state *s, struct plan *p, struct err *e)
{
	struct events_send *es = arg;
	uint64_t now = clock_wall_us();
	int r = plan_client_events(p, s, es->ev, es->n, now, e);
	/* One commit both acknowledges the events and starts what they ask for. */
	return r < 0 ? r : plan_extend(p, s, now, e);
}

static void
on_sent(void *arg, const struct err *err, const struct plan *p, uint32_t first_seq,
	const struct session_state *s)
{
	(void)first_seq, (void)s;
	struct events_send *es = arg;
	struct call *k = es->k;
	if (err != NULL) {
		call_fail(k, err);
		return;
	}
	struct json_w w = call_json(k);
	jw_obj(&w);
	jw_key(&w, "data");
	jw_arr(&w);
	for (size_t i = 0; i < es->n && i < p->n_rows; i++) {
		const struct event_row *row = &p->rows[i];
		AUTO(buf) struct buf b;
		buf_init(&b, LIM_EVENT_BODY + KIB);
		bool born = event_processed_at_birth((enum event_type)row->facts.type);
		event_render(&b, row->body, born ? row->facts.at_us : 0);
		jw_raw(&w, buf_str(&b));
	}
	jw_arr_end(&w);
	jw_obj_end(&w);
	call_reply(k);
}

static void
on_files_exist(struct call *k, const struct err *err)
{
	struct events_send *es = k->state;
	if (err != NULL) {
		call_fail(k, err);
		return;
	}
	struct brain_change c = {.make = make_rows, .done = on_sent, .arg = es};
	brain_session_change(k->c->brain, k->params[0], &c);
}

static int
parse_events(struct call *k, struct events_send *es, const struct json_t *body, struct err *e)
{
	static const char *const members[] = {"events", NULL};
	struct json_at root = json_root(body);
	struct json_at list = json_member(&root, "events");
	uint64_t now = clock_wall_us();
	int r = json_closed(&root, members, e);
	r = r == 0 ? json_want_arr(&list, LIM_SEND_EVENTS, &es->n, e) : r;
	if (r == 0 && es->n == 0)
		r = json_fail(&list, e, "List should have at least 1 item");
	es->ev = arena_alloc_n(k->a, es->n + 1, sizeof(*es->ev));
	if (r == 0 && es->ev == NULL)
		return arena_check(k->a, e);
	for (size_t i = 0; r == 0 && i < es->n; i++) {
		struct json_at at = json_element(&list, i);
		r = client_event_parse(k->a, &at, false, now, &es->ev[i], e);
	}
	return r == 0 ? arena_check(k->a, e) : r;
}

static struct str *
named_files(struct call *k, const struct events_send *es, size_t *n)
{
	*n = 0;
	for (size_t i = 0; i < es->n; i++)
		*n += es->ev[i].n_files;
	struct str *ids = arena_alloc_n(k->a, *n + 1, sizeof(*ids));
	size_t at = 0;
	for (size_t i = 0; ids != NULL && i < es->n; i++) {
		for (size_t j = 0; j < es->ev[i].n_files; j++)
			ids[at++] = es->ev[i].files[j];
	}
	return ids;
}

void
events_send(struct call *k)
{
	struct err e = {0};
	const struct json_t *body = call_body(k);
	if (body == NULL)
		return;
	struct events_send *es = arena_alloc(k->a, sizeof(*es));
	int r = es != NULL ? parse_events(k, es, body, &e) : err_set(&e, ERR_NO_MEMORY, "out of memory");
	size_t n = 0;
	struct str *ids = r == 0 ? named_files(k, es, &n) : NULL;
	if (r == 0 && ids == NULL)
		r = arena_check(k->a, &e);
	if (r < 0) {
		call_fail(k, &e);
		return;
	}
	es->k = k;
	k->state = es;
	session_files_exist(k, ids, n, on_files_exist);
}

/* ---- list ---- */

struct events_list {
	struct call *k;
	struct store_read q;
	struct page_cursor at;
};

static void
on_events(void *arg, const struct err *err, const struct store_event *ev, size_t n, bool more)
{
	struct events_list *l = arg;
	struct call *k = l->k;
	if (err != NULL) {
		call_fail(k, err);
		return;
	}
	struct page_cursor next = {.kind = PAGE_EVENTS, .ascending = !l->q.descending};
	struct json_w w = call_json(k);
	jw_obj(&w);
	jw_key(&w, "data");
	jw_arr(&w);
	for (size_t i = 0; i < n; i++) {
		const struct event_row *row = &ev[i].row;
		AUTO(buf) struct buf b;
		buf_init(&b, LIM_EVENT_BODY + KIB);
		event_render(&b, row->body, ev[i].processed_us);
		jw_raw(&w, buf_str(&b));
		next.key = row->seq;
	}
	jw_arr_end(&w);
	page_next(&w, more, &next);
	jw_obj_end(&w);
	call_reply(k);
}

static int
list_types(struct call *k, struct store_read *q, struct err *e)
{
	struct str v;
	for (size_t i = 0; call_query_all(k, "types", i, &v); i++) {
		enum event_type t = event_type_of(v);
		/* Names of the contract that this server never emits match nothing. */
		bool known = t != EV_NONE && event_listed(t);
		bool named = str_starts(v, STR("user.")) || str_starts(v, STR("agent.")) ||
			     str_starts(v, STR("session.")) || str_starts(v, STR("span.")) ||
			     str_starts(v, STR("workflow_run.")) || str_starts(v, STR("system."));
		if (!known && !named)
			return err_set(e, ERR_INVALID, "types.%zu: not an event type: %.*s", i,
				STRF(str_sub(v, 0, 64)));
		q->types |= known ? 1ull << t : 1ull << 63;
	}
	return 0;
}

static int
list_filters(struct call *k, struct store_read *q, struct err *e)
{
	struct str order = call_query(k, "order");
	if (order.p != NULL && !str_eqz(order, "asc") && !str_eqz(order, "desc"))
		return err_set(e, ERR_INVALID, "order: Input should be 'asc' or 'desc'");
	q->descending = str_eqz(order, "desc");
	int r = list_types(k, q, e);
	r = r == 0 ? call_query_time(k, "created_at[gt]", &q->at_gt, e) : r;
	r = r == 0 ? call_query_time(k, "created_at[gte]", &q->at_gte, e) : r;
	r = r == 0 ? call_query_time(k, "created_at[lt]", &q->at_lt, e) : r;
	return r == 0 ? call_query_time(k, "created_at[lte]", &q->at_lte, e) : r;
}

static int
list_cursor(struct call *k, struct events_list *l, struct err *e)
{
	int r = page_parse(k, PAGE_EVENTS, &l->at, e);
	if (r < 0 || !l->at.set)
		return r;
	if (l->at.ascending == l->q.descending || l->at.key > UINT32_MAX)
		return err_set(e, ERR_INVALID, "page: this cursor belongs to another order");
	if (l->q.descending)
		l->q.before_seq = (uint32_t)l->at.key;
	else
		l->q.after_seq = (uint32_t)l->at.key;
	return 0;
}

void
events_page(struct call *k, struct str session_id, bool filters)
{
	static const char *const all[] = {"types", "order", "created_at[gt]", "created_at[gte]",
		"created_at[lt]", "created_at[lte]", "limit", "page", NULL};
	static const char *const few[] = {"limit", "page", NULL};
	struct err e = {0};
	struct events_list *l = arena_alloc(k->a, sizeof(*l));
	int r = l != NULL ? call_query_closed(k, filters ? all : few, &e)
			  : err_set(&e, ERR_NO_MEMORY, "out of memory");
	r = r == 0 ? call_limit(k, LIM_PAGE_MAX, LIM_PAGE_MAX, &l->q.limit, &e) : r;
	r = r == 0 && filters ? list_filters(k, &l->q, &e) : r;
	r = r == 0 ? list_cursor(k, l, &e) : r;
	if (r < 0) {
		call_fail(k, &e);
		return;
	}
	l->k = k;
	l->q.session_id = session_id;
	store_events(k->c->store, &l->q, on_events, l);
}

static void
on_list_session(void *arg, const struct err *err, const struct session_state *s)
{
	struct call *k = arg;
	if (err != NULL)
		call_fail(k, err);
	else
		events_page(k, arena_dup(k->a, id_str(&s->id)), true);
}

void
events_list(struct call *k)
{
	brain_session_get(k->c->brain, k->params[0], on_list_session, k);
}

/* ---- stream ---- */

static void
on_stream_session(void *arg, const struct err *err, const struct session_state *s)
{
	if (err != NULL)
		call_fail(arg, err);
	else
		stream_open(arg, s);
}

void
events_stream(struct call *k)
{
	brain_session_get(k->c->brain, k->params[0], on_stream_session, k);
}
