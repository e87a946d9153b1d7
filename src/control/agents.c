/* SPDX-License-Identifier: Apache-2.0 */
#include "base/clock.h"
#include "control/api.h"
#include "model/agent.h"

/* Writes the API object of a stored agent. ERR_CORRUPT. */
static int
put_agent(const struct call *k, const struct store_doc *d, struct json_w *w, struct err *e)
{
	(void)k;
	AUTO(json) struct json_t *config = NULL;
	if (json_parse(d->body, &config, e) < 0)
		return err_set(e, ERR_CORRUPT, "the stored agent %.*s is not readable", STRF(d->id));
	struct agent_meta m = {.id = d->id,
		.version = d->version,
		.created_us = d->created_us,
		.updated_us = d->updated_us,
		.archived_us = d->archived_us};
	agent_render(&m, config, w);
	return 0;
}

static void
reply_agent(struct call *k, const struct store_doc *d)
{
	struct err e = {0};
	struct json_w w = call_json(k);
	if (put_agent(k, d, &w, &e) == 0)
		call_reply(k);
	else
		call_fail(k, &e);
}

/* ---- create ---- */

static void
on_created(void *arg, const struct err *err, uint32_t seq)
{
	(void)seq;
	struct call *k = arg;
	if (err != NULL)
		call_fail(k, err);
	else
		reply_agent(k, k->state);
}

/* A document in the call's arena whose body is a copy of `config`. */
static struct store_doc *
agent_doc(struct call *k, struct str id, const struct buf *config)
{
	struct store_doc *d = arena_alloc(k->a, sizeof(*d));
	if (d == NULL)
		return NULL;
	*d = (struct store_doc){
		.kind = DOC_AGENT, .id = arena_dup(k->a, id), .body = arena_dup(k->a, buf_str(config))};
	return arena_failed(k->a) ? NULL : d;
}

void
agents_create(struct call *k)
{
	struct err e = {0};
	const struct json_t *body = call_body(k);
	if (body == NULL)
		return;
	AUTO(buf) struct buf config;
	buf_init(&config, LIM_HTTP_BODY);
	struct json_at root = json_root(body);
	int r = agent_parse_create(k->a, &root, &config, &e);
	r = r == 0 ? buf_check(&config, &e) : r;
	struct id id = id_new("agent", clock_wall_us());
	struct store_doc *d = r == 0 ? agent_doc(k, id_str(&id), &config) : NULL;
	if (r == 0 && d == NULL)
		err_set(&e, ERR_NO_MEMORY, "out of memory");
	if (d == NULL) {
		call_fail(k, &e);
		return;
	}
	d->version = 1;
	d->created_us = d->updated_us = clock_wall_us();
	k->state = d;
	store_doc_create(k->c->store, d, on_created, k);
}

/* ---- get ---- */

static void
on_got(void *arg, const struct err *err, const struct store_doc *d)
{
	struct call *k = arg;
	if (err != NULL)
		call_fail_missing(k, err, "Agent");
	else
		reply_agent(k, d);
}

void
agents_get(struct call *k)
{
	struct err e = {0};
	uint64_t version = 0;
	struct str s = call_query(k, "version");
	if (s.p != NULL && (!str_to_u64(s, &version) || version < 1 || version > UINT32_MAX)) {
		err_set(&e, ERR_INVALID, "version: Input should be an integer of at least 1");
		call_fail(k, &e);
		return;
	}
	store_doc_get(k->c->store, DOC_AGENT, k->params[0], (uint32_t)version, on_got, k);
}

/* ---- list, versions ---- */

static void
list(struct call *k, const struct store_doc_query *q, uint8_t kind)
{
	struct err e = {0};
	struct doc_list *l = arena_alloc(k->a, sizeof(*l));
	if (l == NULL) {
		err_set(&e, ERR_NO_MEMORY, "out of memory");
		call_fail(k, &e);
		return;
	}
	l->q = *q;
	l->put = put_agent;
	int r = call_limit(k, 20, 100, &l->q.limit, &e);
	r = r == 0 ? page_parse(k, kind, &l->at, &e) : r;
	r = r == 0 ? call_query_bool(k, "include_archived", &l->q.include_archived, &e) : r;
	r = r == 0 ? call_query_time(k, "created_at[gte]", &l->q.created_gte, &e) : r;
	r = r == 0 ? call_query_time(k, "created_at[lte]", &l->q.created_lte, &e) : r;
	if (r < 0)
		call_fail(k, &e);
	else
		doc_list_reply(k, l);
}

void
agents_list(struct call *k)
{
	struct store_doc_query q = {.kind = DOC_AGENT};
	list(k, &q, PAGE_AGENTS);
}

static void
on_versions_of(void *arg, const struct err *err, const struct store_doc *d)
{
	struct call *k = arg;
	if (err != NULL) {
		call_fail_missing(k, err, "Agent");
		return;
	}
	struct store_doc_query q = {.kind = DOC_AGENT, .versions_of = d->id};
	list(k, &q, PAGE_VERSIONS);
}

void
agents_versions(struct call *k)
{
	store_doc_get(k->c->store, DOC_AGENT, k->params[0], 0, on_versions_of, k);
}

/* ---- update ---- */

static void
on_updated(void *arg, const struct err *err, uint32_t version)
{
	(void)version;
	struct call *k = arg;
	if (err != NULL)
		call_fail_missing(k, err, "Agent");
	else
		reply_agent(k, k->state);
}

static int
updated_config(
	struct call *k, const struct json_t *body, const struct store_doc *d, struct buf *out, struct err *e)
{
	AUTO(json) struct json_t *current = NULL;
	uint64_t given = 0;
	struct json_at root = json_root(body);
	int r = json_parse(d->body, &current, e);
	r = r == 0 ? agent_parse_update(k->a, &root, current, out, &given, e) : r;
	if (r == 0 && given != 0 && given != d->version)
		r = err_set(e, ERR_CONFLICT, "version: the agent is at version %u, not %llu", d->version,
			(unsigned long long)given);
	if (r == 0 && d->archived_us != 0)
		r = err_set(e, ERR_INVALID, "Agent %.*s is archived and cannot be changed.", STRF(d->id));
	return r == 0 ? buf_check(out, e) : r;
}

static bool
same_config(struct str a, struct str b)
{
	AUTO(json) struct json_t *x = NULL;
	AUTO(json) struct json_t *y = NULL;
	return json_parse(a, &x, NULL) == 0 && json_parse(b, &y, NULL) == 0 && json_equal(x, y);
}

static void
on_current(void *arg, const struct err *err, const struct store_doc *d)
{
	struct call *k = arg;
	if (err != NULL) {
		call_fail_missing(k, err, "Agent");
		return;
	}
	struct err e = {0};
	const struct json_t *body = call_body(k);
	if (body == NULL)
		return;
	AUTO(buf) struct buf config;
	buf_init(&config, LIM_HTTP_BODY);
	int r = updated_config(k, body, d, &config, &e);
	if (r == 0 && same_config(buf_str(&config), d->body)) {
		reply_agent(k, d);
		return;
	}
	struct store_doc *n = r == 0 ? agent_doc(k, d->id, &config) : NULL;
	if (n == NULL) {
		if (r == 0)
			err_set(&e, ERR_NO_MEMORY, "out of memory");
		call_fail(k, &e);
		return;
	}
	n->version = d->version + 1;
	n->created_us = d->created_us;
	n->updated_us = clock_wall_us();
	k->state = n;
	store_doc_update(k->c->store, n, d->version, true, on_updated, k);
}

void
agents_update(struct call *k)
{
	store_doc_get(k->c->store, DOC_AGENT, k->params[0], 0, on_current, k);
}

/* ---- archive ---- */

static void
on_archive(void *arg, const struct err *err, const struct store_doc *d)
{
	struct call *k = arg;
	if (err != NULL) {
		call_fail_missing(k, err, "Agent");
		return;
	}
	if (d->archived_us != 0) {
		reply_agent(k, d);
		return;
	}
	struct err e = {0};
	struct store_doc *n = arena_alloc(k->a, sizeof(*n));
	if (n == NULL) {
		err_set(&e, ERR_NO_MEMORY, "out of memory");
		call_fail(k, &e);
		return;
	}
	*n = *d;
	n->id = arena_dup(k->a, d->id);
	n->body = arena_dup(k->a, d->body);
	n->archived_us = n->updated_us = clock_wall_us();
	k->state = n;
	store_doc_update(k->c->store, n, d->version, false, on_updated, k);
}

void
agents_archive(struct call *k)
{
	store_doc_get(k->c->store, DOC_AGENT, k->params[0], 0, on_archive, k);
}
