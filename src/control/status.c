/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What operators read: the server's own figures, and the history of a session's sandboxes.
 */
#include "base/clock.h"
#include "control/api.h"

void
status_get(struct call *k)
{
	const struct control *c = k->c;
	struct store_stats st;
	store_stats(c->store, &st);
	struct json_w w = call_json(k);
	jw_obj(&w);
	jw_kz(&w, "type", "pinfold_status");
	jw_kz(&w, "version", PINFOLD_VERSION);
	jw_ktime(&w, "started_at", c->started_us);
	jw_kint(&w, "connections", (int64_t)server_conns(c->server));
	jw_kint(&w, "store_commits", (int64_t)st.commits);
	jw_kint(&w, "store_rows", (int64_t)st.rows);
	jw_kz(&w, "network", "Sandboxes have no network: loopback only, until the egress gate is built.");
	brain_status(c->brain, &w);
	jw_obj_end(&w);
	call_reply(k);
}

static void
on_rows(void *arg, const struct err *err, const struct store_event *ev, size_t n, bool more)
{
	struct call *k = arg;
	if (err != NULL) {
		call_fail(k, err);
		return;
	}
	struct json_w w = call_json(k);
	jw_obj(&w);
	jw_key(&w, "data");
	jw_arr(&w);
	for (size_t i = 0; i < n; i++) {
		AUTO(json) struct json_t *v = NULL;
		if (json_parse(ev[i].row.body, &v, NULL) < 0)
			continue;
		jw_obj(&w);
		jw_kz(&w, "type", "pinfold_sandbox");
		jw_kstr(&w, "what", json_get_str(v, "what"));
		jw_kint(&w, "generation", json_get_int(v, "generation", 0));
		jw_kint(&w, "start_us", json_get_int(v, "start_us", 0));
		jw_ktime(&w, "at", ev[i].row.facts.at_us);
		jw_obj_end(&w);
	}
	jw_arr_end(&w);
	jw_kbool(&w, "has_more", more);
	jw_obj_end(&w);
	call_reply(k);
}

static void
on_session(void *arg, const struct err *err, const struct session_state *s)
{
	struct call *k = arg;
	if (err != NULL) {
		call_fail(k, err);
		return;
	}
	struct store_read q = {.session_id = id_str(&s->id), .internal = true, .types = 1ull << EV_SANDBOX};
	store_events(k->c->store, &q, on_rows, k);
}

void
sandboxes_list(struct call *k)
{
	brain_session_get(k->c->brain, k->params[0], on_session, k);
}
