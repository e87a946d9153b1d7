/* SPDX-License-Identifier: Apache-2.0 */
#include "control/api.h"

static void
model_json(struct json_w *w, const struct control *c, const struct api_model *m)
{
	jw_obj(w);
	jw_kz(w, "type", "model");
	jw_kstr(w, "id", m->id);
	jw_kstr(w, "display_name", m->display_name);
	jw_ktime(w, "created_at", c->started_us);
	jw_kz(w, "lifecycle", "active");
	jw_knull(w, "line");
	jw_knull(w, "capabilities");
	jw_knull(w, "allowed_fallback_models");
	jw_knull(w, "deprecated_at");
	jw_knull(w, "retires_at");
	if (m->max_input_tokens > 0)
		jw_kint(w, "max_input_tokens", m->max_input_tokens);
	else
		jw_knull(w, "max_input_tokens");
	if (m->max_tokens > 0)
		jw_kint(w, "max_tokens", m->max_tokens);
	else
		jw_knull(w, "max_tokens");
	jw_obj_end(w);
}

static size_t
model_index(const struct control *c, struct str id)
{
	size_t i = 0;
	while (i < c->n_models && !str_eq(c->models[i].id, id))
		i++;
	return i;
}

void
models_get(struct call *k)
{
	const struct control *c = k->c;
	size_t i = model_index(c, k->params[0]);
	if (i == c->n_models) {
		call_not_found(k, "Model", k->params[0]);
		return;
	}
	struct json_w w = call_json(k);
	model_json(&w, c, &c->models[i]);
	call_reply(k);
}

/* All configured models are active: any filter that leaves those out gives an empty page. */
static bool
wants_active(const struct call *k)
{
	struct str v;
	for (size_t i = 0; call_query_all(k, "lifecycle", i, &v); i++) {
		if (str_eqz(v, "active"))
			return true;
	}
	return call_query(k, "lifecycle").p == NULL;
}

void
models_list(struct call *k)
{
	struct err e = {0};
	const struct control *c = k->c;
	struct str after = call_query(k, "after_id");
	struct str before = call_query(k, "before_id");
	size_t limit = 0;
	if (call_limit(k, 20, 1000, &limit, &e) < 0) {
		call_fail(k, &e);
		return;
	}
	size_t all = wants_active(k) ? c->n_models : 0;
	size_t from = after.n > 0 ? model_index(c, after) + 1 : 0;
	size_t to = before.n > 0 ? model_index(c, before) : all;
	to = to > all ? all : to;
	from = from > to ? to : from;
	if (before.n > 0 && to - from > limit)
		from = to - limit;
	bool more = before.n > 0 ? from > 0 : to - from > limit;
	to = to - from > limit ? from + limit : to;
	struct json_w w = call_json(k);
	jw_obj(&w);
	jw_key(&w, "data");
	jw_arr(&w);
	for (size_t i = from; i < to; i++)
		model_json(&w, c, &c->models[i]);
	jw_arr_end(&w);
	jw_kbool(&w, "has_more", more);
	jw_kstr(&w, "first_id", to > from ? c->models[from].id : STR_NULL);
	jw_kstr(&w, "last_id", to > from ? c->models[to - 1].id : STR_NULL);
	jw_obj_end(&w);
	call_reply(k);
}
