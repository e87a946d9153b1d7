/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Session threads. Every session has its primary thread; its events and stream are the session's own.
 */
#include "base/clock.h"
#include "control/events.h"
#include "control/stream.h"

static void
on_list(void *arg, const struct err *err, const struct session_state *s)
{
	struct call *k = arg;
	struct str v;
	if (err != NULL) {
		call_fail(k, err);
		return;
	}
	bool wanted = call_query(k, "statuses").p == NULL;
	for (size_t i = 0; call_query_all(k, "statuses", i, &v); i++)
		wanted = wanted || str_eqz(v, session_status(s));
	struct json_w w = call_json(k);
	jw_obj(&w);
	jw_key(&w, "data");
	jw_arr(&w);
	if (wanted)
		session_render_thread(s, clock_wall_us(), &w);
	jw_arr_end(&w);
	jw_knull(&w, "next_page");
	jw_obj_end(&w);
	call_reply(k);
}

void
threads_list(struct call *k)
{
	static const char *const allowed[] = {"statuses", "limit", "page", NULL};
	struct err e = {0};
	size_t limit;
	if (call_query_closed(k, allowed, &e) < 0 ||
		call_limit(k, LIM_PAGE_MAX, LIM_PAGE_MAX, &limit, &e) < 0)
		call_fail(k, &e);
	else
		brain_session_get(k->c->brain, k->params[0], on_list, k);
}

/* The session, if the thread named in the path is its primary one; else the call is answered. */
static bool
is_primary(struct call *k, const struct err *err, const struct session_state *s)
{
	if (err != NULL)
		call_fail(k, err);
	else if (!str_eq(k->params[1], id_str(&s->thread_id)))
		call_not_found(k, "Session thread", k->params[1]);
	else
		return true;
	return false;
}

static void
on_get(void *arg, const struct err *err, const struct session_state *s)
{
	struct call *k = arg;
	if (!is_primary(k, err, s))
		return;
	struct json_w w = call_json(k);
	session_render_thread(s, clock_wall_us(), &w);
	call_reply(k);
}

void
threads_get(struct call *k)
{
	brain_session_get(k->c->brain, k->params[0], on_get, k);
}

static void
on_archive(void *arg, const struct err *err, const struct session_state *s)
{
	struct call *k = arg;
	struct err e = {0};
	if (!is_primary(k, err, s))
		return;
	err_set(&e, ERR_INVALID, "The primary thread cannot be archived; archive the session instead.");
	call_fail(k, &e);
}

void
threads_archive(struct call *k)
{
	brain_session_get(k->c->brain, k->params[0], on_archive, k);
}

static void
on_events(void *arg, const struct err *err, const struct session_state *s)
{
	struct call *k = arg;
	if (is_primary(k, err, s))
		events_page(k, arena_dup(k->a, id_str(&s->id)), false);
}

void
threads_events(struct call *k)
{
	brain_session_get(k->c->brain, k->params[0], on_events, k);
}

static void
on_stream(void *arg, const struct err *err, const struct session_state *s)
{
	struct call *k = arg;
	if (is_primary(k, err, s))
		stream_open(k, s);
}

void
threads_stream(struct call *k)
{
	brain_session_get(k->c->brain, k->params[0], on_stream, k);
}
