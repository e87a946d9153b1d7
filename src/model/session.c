/* SPDX-License-Identifier: Apache-2.0 */
#include "model/session.h"

#include <stdlib.h>

#include "base/arena.h"
#include "base/limits.h"
#include "model/own.h"

/* facts.ref2 of session.updated: the metadata became empty, which its body cannot say (contract: absent
 * then). */
#define UPDATED_METADATA_EMPTY 1u

/* ---- life cycle ---- */

void
session_state_init(struct session_state *s)
{
	*s = (struct session_state){0};
	turn_init(&s->turn);
}

static void
resource_done(struct session_resource *r)
{
	own_free(&r->json);
	own_free(&r->mount_path);
}

void
session_state_done(struct session_state *s)
{
	for (size_t i = 0; i < s->n_resources; i++)
		resource_done(&s->resources[i]);
	free(s->resources);
	own_free(&s->agent);
	own_free(&s->environment);
	own_free(&s->title);
	own_free(&s->metadata);
	own_free(&s->vault_ids);
	own_free(&s->agent_id);
	own_free(&s->agent_name);
	own_free(&s->agent_model);
	turn_done(&s->turn);
	session_state_init(s);
}

/* ---- fold: plain numbers ---- */

static uint32_t
add_tokens(uint64_t *total, uint32_t n)
{
	*total += n;
	return n;
}

static void
stop_running(struct session_state *s, uint64_t at_us)
{
	if (s->running_since_us != 0 && at_us > s->running_since_us)
		s->active_us += at_us - s->running_since_us;
	s->running_since_us = 0;
}

static void
fold_status(struct session_state *s, const struct event_facts *f)
{
	if (f->type == EV_SESSION_STATUS_RUNNING) {
		s->running_since_us = f->at_us;
		s->started = true;
	} else if (f->type == EV_SESSION_STATUS_IDLE || f->type == EV_SESSION_STATUS_RESCHEDULED ||
		   f->type == EV_SESSION_STATUS_TERMINATED) {
		stop_running(s, f->at_us);
		s->started = true;
		s->idled = s->idled || f->type == EV_SESSION_STATUS_IDLE;
	}
}

int
session_fold_figures(struct session_state *s, const struct event_row *row, struct err *e)
{
	const struct event_facts *f = &row->facts;
	int r = turn_fold(&s->turn, row, e);
	if (r < 0)
		return r;
	if (f->type != EV_SANDBOX && f->at_us > s->updated_us)
		s->updated_us = f->at_us;
	if (f->type == EV_SPAN_MODEL_REQUEST_END) {
		add_tokens(&s->usage.input, f->input_tokens);
		add_tokens(&s->usage.output, f->output_tokens);
		add_tokens(&s->usage.cache_read, f->cache_read_tokens);
		add_tokens(&s->usage.cache_creation, f->cache_creation_tokens);
		add_tokens(&s->usage.web_searches, f->web_searches);
	} else if (f->type == EV_ARCHIVED) {
		s->archived_us = f->at_us;
	}
	fold_status(s, f);
	return 0;
}

/* ---- fold: bodies ---- */

static int
corrupt(const char *what, struct err *e)
{
	return err_set(e, ERR_CORRUPT, "a stored session row lacks a valid %s", what);
}

/* Owns the compact text of a member; a missing one is corrupt. */
static int
own_json(struct str *to, const struct json_t *v, const char *what, struct err *e)
{
	AUTO(buf) struct buf b;
	buf_init(&b, LIM_EVENT_BODY);
	if (v == NULL)
		return corrupt(what, e);
	json_dump(&b, v);
	int r = buf_check(&b, e);
	return r < 0 ? r : own_set(to, buf_str(&b), e);
}

static int
set_agent(struct session_state *s, const struct json_t *agent, struct err *e)
{
	if (json_kind(agent) != JSON_OBJ)
		return corrupt("agent", e);
	s->agent_version = (uint32_t)json_get_int(agent, "version", 0);
	int r = own_json(&s->agent, agent, "agent", e);
	if (r == 0)
		r = own_set(&s->agent_id, json_get_str(agent, "id"), e);
	if (r == 0)
		r = own_set(&s->agent_name, json_get_str(agent, "name"), e);
	if (r == 0)
		r = own_set(&s->agent_model, json_get_str(json_get(agent, "model"), "id"), e);
	return r;
}

static int
set_title(struct session_state *s, const struct json_t *title, struct err *e)
{
	return own_set(&s->title, json_kind(title) == JSON_STR ? json_str(title, STR_NULL) : STR_NULL, e);
}

/* `stored` is {"resource": API form, "size": n}. */
static int
add_resource(struct session_state *s, const struct json_t *stored, struct err *e)
{
	const struct json_t *api = json_get(stored, "resource");
	struct session_resource *all = realloc(s->resources, (s->n_resources + 1) * sizeof(*all));
	if (all == NULL)
		return err_set(e, ERR_NO_MEMORY, "out of memory");
	s->resources = all;
	struct session_resource *r = &all[s->n_resources++];
	*r = (struct session_resource){
		.id = id_from(json_get_str(api, "id")), .file_id = id_from(json_get_str(api, "file_id"))};
	int64_t size = json_get_int(stored, "size", 0);
	r->size = size > 0 ? (uint64_t)size : 0;
	int rc = own_json(&r->json, api, "resource", e);
	return rc < 0 ? rc : own_set(&r->mount_path, json_get_str(api, "mount_path"), e);
}

static int
fold_created(struct session_state *s, const struct event_row *row, const struct json_t *v, struct err *e)
{
	if (row->seq != 1)
		return corrupt("first row", e);
	s->id = id_from(json_get_str(v, "session_id"));
	s->thread_id = id_from(json_get_str(v, "thread_id"));
	s->environment_id = id_from(json_get_str(v, "environment_id"));
	s->created_us = row->facts.at_us;
	int r = set_agent(s, json_get(v, "agent"), e);
	if (r == 0)
		r = own_json(&s->environment, json_get(v, "environment"), "environment", e);
	if (r == 0)
		r = own_json(&s->metadata, json_get(v, "metadata"), "metadata", e);
	if (r == 0)
		r = own_json(&s->vault_ids, json_get(v, "vault_ids"), "vault_ids", e);
	if (r == 0)
		r = set_title(s, json_get(v, "title"), e);
	const struct json_t *list = json_get(v, "resources");
	for (size_t i = 0; r == 0 && i < json_len(list); i++)
		r = add_resource(s, json_at(list, i), e);
	return r;
}

static int
fold_updated(struct session_state *s, const struct event_row *row, const struct json_t *v, struct err *e)
{
	int r = 0;
	const struct json_t *title = json_get(v, "title"), *metadata = json_get(v, "metadata"),
			    *agent = json_get(v, "agent");
	if (title != NULL)
		r = set_title(s, title, e);
	if (r == 0 && metadata != NULL)
		r = own_json(&s->metadata, metadata, "metadata", e);
	else if (r == 0 && (row->facts.ref2 & UPDATED_METADATA_EMPTY) != 0)
		r = own_set(&s->metadata, STR("{}"), e);
	if (r == 0 && agent != NULL)
		r = set_agent(s, agent, e);
	return r;
}

static int
fold_removed(struct session_state *s, const struct json_t *v, struct err *e)
{
	const struct session_resource *found = session_resource_by_id(s, json_get_str(v, "resource_id"));
	if (found == NULL)
		return corrupt("resource to remove", e);
	size_t i = (size_t)(found - s->resources);
	resource_done(&s->resources[i]);
	memmove(&s->resources[i], &s->resources[i + 1], (s->n_resources - i - 1) * sizeof(s->resources[0]));
	s->n_resources--;
	return 0;
}

static int
fold_body(struct session_state *s, const struct event_row *row, struct err *e)
{
	AUTO(json) struct json_t *v = NULL;
	int r = json_parse(row->body, &v, e);
	if (r < 0)
		return r == -ERR_NO_MEMORY ? r : corrupt("body", e);
	if (row->facts.type == EV_CREATED)
		return fold_created(s, row, v, e);
	if (row->facts.type == EV_SESSION_UPDATED)
		return fold_updated(s, row, v, e);
	if (row->facts.type == EV_RESOURCE_ADDED)
		return add_resource(s, v, e);
	return fold_removed(s, v, e);
}

int
session_fold(struct session_state *s, const struct event_row *row, struct err *e)
{
	enum event_type type = (enum event_type)row->facts.type;
	if ((type == EV_CREATED) != (row->seq == 1))
		return err_set(e, ERR_CORRUPT, "log row %u (%s): a log begins with %s, once", row->seq,
			event_name(type), event_name(EV_CREATED));
	int r = session_fold_figures(s, row, e);
	if (r < 0)
		return r;
	if (type == EV_CREATED || type == EV_SESSION_UPDATED || type == EV_RESOURCE_ADDED ||
		type == EV_RESOURCE_REMOVED)
		r = fold_body(s, row, e);
	return r;
}

/* ---- reading ---- */

const char *
session_status(const struct session_state *s)
{
	switch (s->turn.status) {
	case TURN_IDLE:
		return turn_busy(&s->turn) ? "running" : "idle";
	case TURN_RUNNING:
		return "running";
	case TURN_RESCHEDULING:
		return "rescheduling";
	case TURN_TERMINATED:
		break;
	}
	return "terminated";
}

const struct session_resource *
session_resource_by_id(const struct session_state *s, struct str id)
{
	for (size_t i = 0; i < s->n_resources; i++) {
		if (str_eq(id_str(&s->resources[i].id), id))
			return &s->resources[i];
	}
	return NULL;
}

/* ---- body builders ---- */

static void
write_resource(const struct session_resource *r, struct json_w *w)
{
	jw_obj(w);
	jw_kraw(w, "resource", r->json);
	jw_kint(w, "size", (int64_t)r->size);
	jw_obj_end(w);
}

void
session_created_body(const struct session_new *n, struct buf *b)
{
	struct json_w w = json_w(b);
	jw_obj(&w);
	jw_kz(&w, "type", event_name(EV_CREATED));
	jw_kstr(&w, "session_id", id_str(&n->id));
	jw_kstr(&w, "thread_id", id_str(&n->thread_id));
	jw_kstr(&w, "environment_id", id_str(&n->environment_id));
	jw_kstr(&w, "title", n->title);
	jw_kraw(&w, "agent", n->agent);
	jw_kraw(&w, "environment", n->environment);
	jw_kraw(&w, "metadata", n->metadata);
	jw_kraw(&w, "vault_ids", n->vault_ids);
	jw_key(&w, "resources");
	jw_arr(&w);
	for (size_t i = 0; i < n->n_resources; i++)
		write_resource(&n->resources[i], &w);
	jw_arr_end(&w);
	jw_obj_end(&w);
}

static void
row_finish(struct event_row *out, enum event_type type, struct buf *body, struct arena *a, uint64_t now_us)
{
	out->facts.type = (uint8_t)type;
	out->facts.at_us = now_us;
	if (buf_check(body, NULL) == 0)
		out->body = arena_dup(a, buf_str(body));
	else /* leaves the arena's sticky flag for the caller's check */
		arena_alloc_n(a, SIZE_MAX, 2);
}

void
session_updated_row(const struct session_change *c, struct arena *a, uint64_t now_us, struct event_row *out)
{
	AUTO(buf) struct buf b;
	buf_init(&b, LIM_EVENT_BODY);
	struct json_w w = json_w(&b);
	*out = (struct event_row){.id = id_new("sevt", now_us)};
	jw_obj(&w);
	jw_kz(&w, "type", event_name(EV_SESSION_UPDATED));
	jw_kstr(&w, "id", id_str(&out->id));
	if (c->has_title)
		jw_kstr(&w, "title", c->title);
	if (c->has_metadata && str_eqz(c->metadata, "{}"))
		out->facts.ref2 = UPDATED_METADATA_EMPTY;
	else if (c->has_metadata)
		jw_kraw(&w, "metadata", c->metadata);
	if (c->has_agent)
		jw_kraw(&w, "agent", c->agent);
	jw_obj_end(&w);
	row_finish(out, EV_SESSION_UPDATED, &b, a, now_us);
}

void
session_resource_added_row(
	const struct session_resource *r, struct arena *a, uint64_t now_us, struct event_row *out)
{
	AUTO(buf) struct buf b;
	buf_init(&b, LIM_EVENT_BODY);
	struct json_w w = json_w(&b);
	*out = (struct event_row){.id = id_new("sevt", now_us)};
	write_resource(r, &w);
	row_finish(out, EV_RESOURCE_ADDED, &b, a, now_us);
}

void
session_resource_removed_row(struct str resource_id, struct arena *a, uint64_t now_us, struct event_row *out)
{
	AUTO(buf) struct buf b;
	buf_init(&b, LIM_EVENT_BODY);
	struct json_w w = json_w(&b);
	*out = (struct event_row){.id = id_new("sevt", now_us)};
	jw_obj(&w);
	jw_kstr(&w, "resource_id", resource_id);
	jw_obj_end(&w);
	row_finish(out, EV_RESOURCE_REMOVED, &b, a, now_us);
}

void
session_resource_json(const struct session_resource *r, uint64_t created_us, struct json_w *w)
{
	jw_obj(w);
	jw_kz(w, "type", "file");
	jw_kstr(w, "id", id_str(&r->id));
	jw_kstr(w, "file_id", id_str(&r->file_id));
	jw_kstr(w, "mount_path", r->mount_path);
	jw_ktime(w, "created_at", created_us);
	jw_ktime(w, "updated_at", created_us);
	jw_obj_end(w);
}
