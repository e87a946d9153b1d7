/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A session driven in memory, for the tests of model/: a log, its fold, and batches as the brain would append
 * them. The model and the tools are the test's; they speak through the same functions as the real ones
 * (streamed records, plan_*).
 */
#pragma once

#include <stdio.h>
#include <stdlib.h>

#include "base/limits.h"
#include "model/client_event.h"
#include "model/plan.h"
#include "model/response.h"
#include "model/transcript.h"
#include "unit.h"

#define SIM_AGENT                                                                                            \
	"{\"type\":\"agent\",\"id\":\"agent_01A\",\"version\":1,\"name\":\"Tester\",\"description\":null,"   \
	"\"model\":{\"id\":\"m-1\",\"effort\":{\"type\":\"high\"},\"speed\":\"standard\"},\"system\":\"Be "  \
	"brief.\","                                                                                          \
	"\"tools\":[{\"type\":\"agent_toolset_20260401\",\"default_config\":{\"enabled\":true,"              \
	"\"permission_policy\":{\"type\":\"always_allow\"}},\"configs\":["                                   \
	"{\"name\":\"write\",\"type\":\"write\",\"enabled\":true,\"permission_policy\":{\"type\":\"always_"  \
	"ask\"}},"                                                                                           \
	"{\"name\":\"edit\",\"type\":\"edit\",\"enabled\":true,\"permission_policy\":{\"type\":\"auto\"}},"  \
	"{\"name\":\"grep\",\"type\":\"grep\",\"enabled\":false,\"permission_policy\":{\"type\":\"always_"   \
	"allow\"}}]},"                                                                                       \
	"{\"type\":\"custom\",\"name\":\"weather\",\"description\":\"Weather.\",\"input_schema\":{\"type\":" \
	"\"object\"}}],"                                                                                     \
	"\"mcp_servers\":[],\"skills\":[],\"multiagent\":null,\"execution_identity\":{\"type\":\"service_"   \
	"account\"}}"

struct sim_batch {
	size_t first, n;              /* rows of the log */
	enum turn_action_kind before; /* what turn_next said */
	bool advance;                 /* made by plan_advance alone */
	uint64_t now;
};

struct sim {
	struct session_state s;
	struct arena *arena; /* the log's bytes */
	struct event_row *log;
	size_t n, cap;
	struct sim_batch *batches;
	size_t n_batches, cap_batches;
	struct transcript *context;
	uint64_t now;
	struct err e;
};

static inline struct plan *
sim_plan_new(void)
{
	struct plan *p = calloc(1, sizeof(*p));
	p->arena = arena_new(64 * MIB);
	return p;
}

static inline void
sim_plan_free(struct plan *p)
{
	arena_free(p->arena);
	free(p);
}

static inline struct str
sim_dup(struct sim *m, struct str s)
{
	return s.p != NULL ? arena_dup(m->arena, s) : STR_NULL;
}

/* One row into log, fold and context. */
static inline void
sim_row(struct sim *m, const struct event_row *row)
{
	if (m->n == m->cap) {
		m->cap = m->cap == 0 ? 64 : m->cap * 2;
		m->log = realloc(m->log, m->cap * sizeof(*m->log));
	}
	struct event_row *r = &m->log[m->n++];
	*r = *row;
	r->seq = (uint32_t)m->n;
	r->body = sim_dup(m, row->body);
	r->private_ = sim_dup(m, row->private_);
	r->thread = sim_dup(m, row->thread);
	if (session_fold(&m->s, r, &m->e) < 0)
		fail_msg("row %zu: %s", m->n, m->e.msg);
	if (transcript_add(m->context, r, &m->e) < 0)
		fail_msg("row %zu: %s", m->n, m->e.msg);
}

static inline void
sim_append(struct sim *m, const struct plan *p, enum turn_action_kind before, bool advance)
{
	if (p->n_rows == 0)
		return;
	if (m->n_batches == m->cap_batches) {
		m->cap_batches = m->cap_batches == 0 ? 64 : m->cap_batches * 2;
		m->batches = realloc(m->batches, m->cap_batches * sizeof(*m->batches));
	}
	m->batches[m->n_batches++] = (struct sim_batch){m->n, p->n_rows, before, advance, m->now};
	for (size_t i = 0; i < p->n_rows; i++)
		sim_row(m, &p->rows[i]);
	m->now += 1000;
}

static inline void
sim_init(struct sim *m)
{
	*m = (struct sim){.now = 1700000000000000ull};
	session_state_init(&m->s);
	m->arena = arena_new(256 * MIB);
	m->context = transcript_new();
	struct buf b;
	buf_init(&b, 1 * MIB);
	struct session_new n = {.id = id_new("sesn", m->now),
		.thread_id = id_new("sthr", m->now),
		.environment_id = id_new("env", m->now),
		.agent = STR(SIM_AGENT),
		.environment = STR("{\"type\":\"cloud\"}"),
		.title = STR_NULL,
		.metadata = STR("{}"),
		.vault_ids = STR("[]")};
	session_created_body(&n, &b);
	assert_int_equal(buf_check(&b, &m->e), 0);
	struct event_row row = {.id = id_new("sevt", m->now),
		.facts = {.type = EV_CREATED, .at_us = m->now},
		.body = buf_str(&b)};
	sim_row(m, &row);
	buf_done(&b);
}

static inline void
sim_done(struct sim *m)
{
	session_state_done(&m->s);
	transcript_free(m->context);
	arena_free(m->arena);
	free(m->log);
	free(m->batches);
}

/* A client's request: the `events` array. `start`: continue in the same batch, as the brain does. */
static inline int
sim_send_at(struct sim *m, const char *json, bool start)
{
	struct json_t *v = NULL;
	struct plan *p = sim_plan_new();
	struct client_event ev[16];
	if (json_parse(str_z(json), &v, &m->e) < 0)
		fail_msg("%s: %s", json, m->e.msg);
	struct json_at root = json_root(v);
	size_t n = json_len(v);
	int r = 0;
	assert_true(n <= 16);
	for (size_t i = 0; r == 0 && i < n; i++) {
		struct json_at at = json_element(&root, i);
		r = client_event_parse(p->arena, &at, false, m->now, &ev[i], &m->e);
	}
	if (r == 0)
		r = plan_client_events(p, &m->s, ev, n, m->now, &m->e);
	if (r == 0 && start)
		r = plan_extend(p, &m->s, m->now, &m->e);
	if (r == 0)
		sim_append(m, p, turn_next(&m->s.turn, m->now).kind, false);
	json_free(v);
	sim_plan_free(p);
	return r;
}

static inline int
sim_send(struct sim *m, const char *json)
{
	return sim_send_at(m, json, false);
}

static inline void
sim_ok(struct sim *m, const char *json)
{
	if (sim_send(m, json) < 0)
		fail_msg("%s was refused: %s", json, m->e.msg);
}

/* What there is to do now. */
static inline enum turn_action_kind
sim_next(const struct sim *m)
{
	return turn_next(&m->s.turn, m->now).kind;
}

/* plan_advance, appended. Gives what is to be done then. */
static inline struct turn_action
sim_advance(struct sim *m)
{
	struct plan *p = sim_plan_new();
	assert_int_equal(plan_advance(p, &m->s, m->now, &m->e), 0);
	struct turn_action then = p->then;
	sim_append(m, p, sim_next(m), true);
	sim_plan_free(p);
	return then;
}
