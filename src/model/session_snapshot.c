/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The snapshot codec: one frame of base/frame whose type is the version. A snapshot is a cache; any doubt
 * about it is ERR_CORRUPT and the log is folded from its start.
 */
#include <stdlib.h>

#include "base/frame.h"
#include "base/limits.h"
#include "model/own.h"
#include "model/session.h"

#define SNAPSHOT_VERSION 1

/* A string that may be null: a flag, then its bytes. */
static void
put_opt(struct frame_w *w, struct str s)
{
	frame_u64(w, s.p != NULL);
	frame_str(w, s);
}

static void
put_turn(struct frame_w *w, const struct turn *t)
{
	frame_u64(w, t->status);
	frame_u64(w, t->last_seq);
	frame_u64(w, t->request_seq);
	frame_str(w, id_str(&t->request_id));
	frame_u64(w, (uint64_t)t->wants_model | (uint64_t)t->refused_round << 1 | (uint64_t)t->restate << 2);
	frame_u64(w, t->stop);
	frame_u64(w, t->pending_stop);
	frame_u64(w, t->rounds);
	frame_u64(w, t->tries);
	frame_u64(w, t->retry_at_us);
	frame_u64(w, t->n_tools);
	for (uint32_t i = 0; i < t->n_tools; i++) {
		const struct turn_tool *tool = &t->tools[i];
		frame_u64(w, tool->seq);
		frame_u64(w, (uint64_t)tool->kind | (uint64_t)tool->permission << 8 |
				     (uint64_t)tool->verdict << 16);
		frame_str(w, id_str(&tool->id));
		put_opt(w, tool->deny);
	}
	frame_u64(w, t->n_queued);
	for (uint32_t i = 0; i < t->n_queued; i++) {
		const struct turn_queued *q = &t->queued[i];
		frame_u64(w, q->seq);
		frame_u64(w, (uint64_t)q->ref << 16 | (uint64_t)q->type << 8 | q->permission);
	}
}

void
session_encode(const struct session_state *s, struct buf *out)
{
	struct frame_w w = frame_begin(out, SNAPSHOT_VERSION, 0);
	frame_str(&w, id_str(&s->id));
	frame_str(&w, id_str(&s->thread_id));
	frame_str(&w, id_str(&s->environment_id));
	frame_u64(&w, s->created_us);
	frame_u64(&w, s->updated_us);
	frame_u64(&w, s->archived_us);
	frame_u64(&w, s->agent_version);
	const struct str strings[] = {s->agent, s->environment, s->title, s->metadata, s->vault_ids,
		s->agent_id, s->agent_name, s->agent_model};
	for (size_t i = 0; i < ARRAY_LEN(strings); i++)
		put_opt(&w, strings[i]);
	frame_u64(&w, s->usage.input);
	frame_u64(&w, s->usage.output);
	frame_u64(&w, s->usage.cache_read);
	frame_u64(&w, s->usage.cache_creation);
	frame_u64(&w, s->usage.web_searches);
	frame_u64(&w, s->active_us);
	frame_u64(&w, s->running_since_us);
	frame_u64(&w, (uint64_t)s->started | (uint64_t)s->idled << 1);
	frame_u64(&w, s->n_resources);
	for (size_t i = 0; i < s->n_resources; i++) {
		const struct session_resource *r = &s->resources[i];
		frame_str(&w, id_str(&r->id));
		frame_str(&w, id_str(&r->file_id));
		frame_u64(&w, r->size);
		put_opt(&w, r->json);
		put_opt(&w, r->mount_path);
	}
	put_turn(&w, &s->turn);
	frame_end(&w, 0);
}

/* ---- decoding ---- */

struct reader {
	struct frame_r f;
	bool bad;
	bool no_memory;
};

static uint64_t
get_max(struct reader *r, uint64_t max)
{
	uint64_t v = frame_get_u64(&r->f);
	if (v <= max)
		return v;
	r->bad = true;
	return 0;
}

static struct id
get_id(struct reader *r)
{
	return id_from(frame_get_str_max(&r->f, ID_MAX - 1));
}

static void
get_opt(struct reader *r, struct str *to)
{
	bool set = get_max(r, 1) == 1;
	struct str s = frame_get_str(&r->f);
	if (set && own_set(to, s.p != NULL ? s : STR(""), NULL) < 0)
		r->no_memory = true;
}

static void
get_tool(struct reader *r, struct turn *t)
{
	struct turn_tool tool = {.seq = (uint32_t)get_max(r, UINT32_MAX)};
	uint64_t bits = get_max(r, 0xffffff);
	tool.kind = (uint8_t)bits;
	tool.permission = (uint8_t)(bits >> 8);
	tool.verdict = (uint8_t)(bits >> 16);
	tool.id = get_id(r);
	if (tool.kind > TURN_TOOL_CUSTOM || tool.permission > PERM_DENY || tool.verdict > PERM_DENY)
		r->bad = true;
	get_opt(r, &tool.deny);
	if (turn_tool_push(t, &tool, NULL) < 0)
		r->no_memory = true;
	own_free(&tool.deny);
}

static void
get_queued(struct reader *r, struct turn *t)
{
	struct turn_queued q = {.seq = (uint32_t)get_max(r, UINT32_MAX)};
	uint64_t bits = get_max(r, 0xffffffffffff);
	q.ref = (uint32_t)(bits >> 16);
	q.type = (uint8_t)(bits >> 8);
	q.permission = (uint8_t)bits;
	if (event_class((enum event_type)q.type) != EVENT_CLIENT_QUEUED || q.permission > PERM_DENY)
		r->bad = true;
	if (turn_queue_push(t, &q, NULL) < 0)
		r->no_memory = true;
}

static void
get_turn(struct reader *r, struct turn *t)
{
	t->status = (enum turn_status)get_max(r, TURN_TERMINATED);
	t->last_seq = (uint32_t)get_max(r, UINT32_MAX);
	t->request_seq = (uint32_t)get_max(r, UINT32_MAX);
	t->request_id = get_id(r);
	uint64_t bits = get_max(r, 7);
	t->wants_model = bits & 1;
	t->refused_round = (bits >> 1) & 1;
	t->restate = (bits >> 2) & 1;
	t->stop = (uint8_t)get_max(r, STOP_REFUSAL);
	t->pending_stop = (uint8_t)get_max(r, STOP_REFUSAL);
	t->rounds = (uint32_t)get_max(r, UINT32_MAX);
	t->tries = (uint32_t)get_max(r, UINT32_MAX);
	t->retry_at_us = frame_get_u64(&r->f);
	uint64_t tools = get_max(r, LIM_MODEL_TOOL_USES);
	for (uint64_t i = 0; i < tools && !r->f.bad; i++)
		get_tool(r, t);
	uint64_t queued = get_max(r, LIM_QUEUED_EVENTS);
	for (uint64_t i = 0; i < queued && !r->f.bad; i++)
		get_queued(r, t);
}

static void
get_resources(struct reader *r, struct session_state *s)
{
	size_t n = get_max(r, LIM_RESOURCES);
	s->resources = n > 0 ? calloc(n, sizeof(s->resources[0])) : NULL;
	if (n > 0 && s->resources == NULL) {
		r->no_memory = true;
		return;
	}
	for (size_t i = 0; i < n && !r->f.bad; i++) {
		struct session_resource *res = &s->resources[s->n_resources++];
		res->id = get_id(r);
		res->file_id = get_id(r);
		res->size = frame_get_u64(&r->f);
		get_opt(r, &res->json);
		get_opt(r, &res->mount_path);
	}
}

static void
get_session(struct reader *r, struct session_state *s)
{
	s->id = get_id(r);
	s->thread_id = get_id(r);
	s->environment_id = get_id(r);
	s->created_us = frame_get_u64(&r->f);
	s->updated_us = frame_get_u64(&r->f);
	s->archived_us = frame_get_u64(&r->f);
	s->agent_version = (uint32_t)get_max(r, UINT32_MAX);
	struct str *const strings[] = {&s->agent, &s->environment, &s->title, &s->metadata, &s->vault_ids,
		&s->agent_id, &s->agent_name, &s->agent_model};
	for (size_t i = 0; i < ARRAY_LEN(strings); i++)
		get_opt(r, strings[i]);
	s->usage.input = frame_get_u64(&r->f);
	s->usage.output = frame_get_u64(&r->f);
	s->usage.cache_read = frame_get_u64(&r->f);
	s->usage.cache_creation = frame_get_u64(&r->f);
	s->usage.web_searches = frame_get_u64(&r->f);
	s->active_us = frame_get_u64(&r->f);
	s->running_since_us = frame_get_u64(&r->f);
	uint64_t bits = get_max(r, 3);
	s->started = bits & 1;
	s->idled = (bits >> 1) & 1;
	get_resources(r, s);
	get_turn(r, &s->turn);
}

int
session_decode(struct str in, struct session_state *out, struct err *e)
{
	struct frame f;
	size_t used = 0;
	int r = frame_parse(in, LIM_EVENT_BODY, &f, &used, e);
	if (r < 0)
		return err_set(e, ERR_CORRUPT, "a session snapshot is damaged");
	if (r == 0 || used != in.n)
		return err_set(e, ERR_CORRUPT, "a session snapshot of %zu bytes is damaged", in.n);
	if (f.type != SNAPSHOT_VERSION || f.flags != 0)
		return err_set(
			e, ERR_CORRUPT, "a session snapshot of version %u, not %d", f.type, SNAPSHOT_VERSION);
	struct reader rd = {.f = frame_r(f.payload)};
	struct session_state s;
	session_state_init(&s);
	get_session(&rd, &s);
	r = frame_done(&rd.f, e);
	if (r == 0 && rd.no_memory)
		r = err_set(e, ERR_NO_MEMORY, "out of memory");
	if (r == 0 && (rd.bad || s.agent.p == NULL || s.turn.last_seq == 0))
		r = err_set(e, ERR_CORRUPT, "a session snapshot holds a value out of range");
	if (r < 0) {
		session_state_done(&s);
		return r;
	}
	s.snapshot_seq = s.turn.last_seq;
	*out = s;
	return 0;
}
