/* SPDX-License-Identifier: Apache-2.0 */
/* The API objects of a session. Member names and order of presence follow the SDK's types; there are no
 * others. */
#include "model/session.h"

static double
seconds(uint64_t us)
{
	return (double)us / 1e6;
}

static uint64_t
active_us(const struct session_state *s, uint64_t now_us)
{
	uint64_t open =
		s->running_since_us != 0 && now_us > s->running_since_us ? now_us - s->running_since_us : 0;
	return s->active_us + open;
}

static uint64_t
duration_us(const struct session_state *s, uint64_t now_us)
{
	uint64_t end = s->turn.status == TURN_TERMINATED ? s->updated_us : now_us;
	return end > s->created_us ? end - s->created_us : 0;
}

static void
key_seconds(struct json_w *w, const char *key, uint64_t us)
{
	jw_key(w, key);
	jw_real(w, seconds(us));
}

/* No list_cost: absent means that costs are not tracked; a number would claim that they are. Cache writes are
 * counted as five-minute ones, the only kind that the brain asks for. */
static void
write_usage(const struct session_state *s, uint64_t now_us, struct json_w *w)
{
	jw_obj(w);
	jw_kint(w, "input_tokens", (int64_t)s->usage.input);
	jw_kint(w, "output_tokens", (int64_t)s->usage.output);
	jw_kint(w, "cache_read_input_tokens", (int64_t)s->usage.cache_read);
	jw_key(w, "cache_creation");
	jw_obj(w);
	jw_kint(w, "ephemeral_5m_input_tokens", (int64_t)s->usage.cache_creation);
	jw_kint(w, "ephemeral_1h_input_tokens", 0);
	jw_obj_end(w);
	jw_key(w, "server_tool_use");
	jw_obj(w);
	jw_kint(w, "web_search_requests", (int64_t)s->usage.web_searches);
	jw_kint(w, "web_fetch_requests", 0);
	jw_obj_end(w);
	key_seconds(w, "active_seconds", active_us(s, now_us));
	jw_obj_end(w);
}

void
session_render_usage(const struct session_state *s, uint64_t now_us, struct json_w *w)
{
	jw_key(w, "usage");
	write_usage(s, now_us, w);
	jw_knull(w, "budget");
}

void
session_render(const struct session_state *s, uint64_t now_us, struct json_w *w)
{
	jw_obj(w);
	jw_kz(w, "type", "session");
	jw_kstr(w, "id", id_str(&s->id));
	jw_kz(w, "status", session_status(s));
	jw_kstr(w, "title", s->title);
	jw_kraw(w, "agent", s->agent);
	jw_kstr(w, "environment_id", id_str(&s->environment_id));
	jw_key(w, "resources");
	jw_arr(w);
	for (size_t i = 0; i < s->n_resources; i++)
		jw_raw(w, s->resources[i].json);
	jw_arr_end(w);
	jw_kraw(w, "vault_ids", s->vault_ids);
	jw_knull(w, "budget");
	jw_kraw(w, "metadata", s->metadata);
	jw_key(w, "usage");
	write_usage(s, now_us, w);
	jw_key(w, "stats");
	jw_obj(w);
	key_seconds(w, "duration_seconds", duration_us(s, now_us));
	key_seconds(w, "active_seconds", active_us(s, now_us));
	jw_obj_end(w);
	jw_key(w, "outcome_evaluations");
	jw_arr(w);
	jw_arr_end(w);
	jw_ktime(w, "created_at", s->created_us);
	jw_ktime(w, "updated_at", s->updated_us);
	jw_ktime(w, "archived_at", s->archived_us);
	jw_obj_end(w);
}

/* A thread's agent is the session's without its roster. */
static void
write_thread_agent(const struct session_state *s, struct json_w *w)
{
	AUTO(json) struct json_t *v = NULL;
	jw_obj(w);
	if (json_parse(s->agent, &v, NULL) < 0) {
		w->b->fail = w->b->fail != ERR_NONE ? w->b->fail
						    : ERR_NO_MEMORY; /* our own text: nothing else can fail */
	} else {
		for (void *it = json_iter(v); it != NULL; it = json_next(v, it)) {
			if (str_eqz(json_iter_key(it), "multiagent"))
				continue;
			jw_key_str(w, json_iter_key(it));
			jw_value(w, json_iter_value(it));
		}
	}
	jw_obj_end(w);
}

void
session_render_thread(const struct session_state *s, uint64_t now_us, struct json_w *w)
{
	jw_obj(w);
	jw_kz(w, "type", "session_thread");
	jw_kstr(w, "id", id_str(&s->thread_id));
	jw_kstr(w, "session_id", id_str(&s->id));
	jw_knull(w, "parent_thread_id");
	jw_kz(w, "status", session_status(s));
	jw_key(w, "agent");
	write_thread_agent(s, w);
	jw_knull(w, "workflow_run_id");
	jw_key(w, "stats");
	if (s->started) {
		jw_obj(w);
		key_seconds(w, "active_seconds", active_us(s, now_us));
		key_seconds(w, "duration_seconds", duration_us(s, now_us));
		key_seconds(w, "startup_seconds", 0);
		jw_obj_end(w);
	} else {
		jw_null(w);
	}
	jw_key(w, "usage");
	if (s->idled)
		write_usage(s, now_us, w);
	else
		jw_null(w);
	jw_ktime(w, "created_at", s->created_us);
	jw_ktime(w, "updated_at", s->updated_us);
	jw_ktime(w, "archived_at", s->archived_us);
	jw_obj_end(w);
}
