/* SPDX-License-Identifier: Apache-2.0 */
#include "base/clock.h"
#include "control/api.h"
#include "model/environment.h"

/* Writes the API object of a stored environment. ERR_CORRUPT. */
static int
put_environment(const struct call *k, const struct store_doc *d, struct json_w *w, struct err *e)
{
	(void)k;
	AUTO(json) struct json_t *config = NULL;
	if (json_parse(d->body, &config, e) < 0)
		return err_set(e, ERR_CORRUPT, "the stored environment %.*s is not readable", STRF(d->id));
	struct environment_meta m = {.id = d->id,
		.created_us = d->created_us,
		.updated_us = d->updated_us,
		.archived_us = d->archived_us};
	environment_render(&m, config, w);
	return 0;
}

static void
reply_environment(struct call *k, const struct store_doc *d)
{
	struct err e = {0};
	struct json_w w = call_json(k);
	if (put_environment(k, d, &w, &e) == 0)
		call_reply(k);
	else
		call_fail(k, &e);
}

static void
environment_failed(struct call *k, const struct err *err)
{
	struct err e = *err;
	if (err->kind == ERR_NOT_FOUND) {
		err_code(&e, ERR_NOT_FOUND, "environment_not_found", "Environment not found: %.*s",
			STRF(k->params[0]));
		err = &e;
	}
	call_fail(k, err);
}

static void
on_written(void *arg, const struct err *err, uint32_t seq)
{
	(void)seq;
	struct call *k = arg;
	struct err e = {0};
	if (err != NULL && err->kind == ERR_CONFLICT && k->params[0].n == 0) {
		err_set(&e, ERR_CONFLICT, "name: another environment has this name already");
		err = &e;
	}
	if (err != NULL)
		environment_failed(k, err);
	else
		reply_environment(k, k->state);
}

/* The unique key is the name. */
static struct store_doc *
environment_doc(struct call *k, struct str id, const struct buf *config)
{
	AUTO(json) struct json_t *v = NULL;
	struct store_doc *d = arena_alloc(k->a, sizeof(*d));
	if (d == NULL || json_parse(buf_str(config), &v, NULL) < 0)
		return NULL;
	*d = (struct store_doc){.kind = DOC_ENVIRONMENT,
		.id = arena_dup(k->a, id),
		.unique = arena_dup(k->a, json_get_str(v, "name")),
		.body = arena_dup(k->a, buf_str(config)),
		.version = 1,
		.updated_us = clock_wall_us()};
	return arena_failed(k->a) ? NULL : d;
}

void
environments_create(struct call *k)
{
	struct err e = {0};
	const struct json_t *body = call_body(k);
	if (body == NULL)
		return;
	AUTO(buf) struct buf config;
	buf_init(&config, LIM_HTTP_BODY);
	struct json_at root = json_root(body);
	int r = environment_parse_create(k->a, &root, &config, &e);
	r = r == 0 ? buf_check(&config, &e) : r;
	struct id id = id_new("env", clock_wall_us());
	struct store_doc *d = r == 0 ? environment_doc(k, id_str(&id), &config) : NULL;
	if (r == 0 && d == NULL)
		err_set(&e, ERR_NO_MEMORY, "out of memory");
	if (d == NULL) {
		call_fail(k, &e);
		return;
	}
	d->created_us = d->updated_us;
	k->state = d;
	store_doc_create(k->c->store, d, on_written, k);
}

static void
on_got(void *arg, const struct err *err, const struct store_doc *d)
{
	struct call *k = arg;
	if (err != NULL)
		environment_failed(k, err);
	else
		reply_environment(k, d);
}

void
environments_get(struct call *k)
{
	store_doc_get(k->c->store, DOC_ENVIRONMENT, k->params[0], 0, on_got, k);
}

void
environments_list(struct call *k)
{
	struct err e = {0};
	struct doc_list *l = arena_alloc(k->a, sizeof(*l));
	if (l == NULL) {
		err_set(&e, ERR_NO_MEMORY, "out of memory");
		call_fail(k, &e);
		return;
	}
	l->q.kind = DOC_ENVIRONMENT;
	l->put = put_environment;
	int r = call_limit(k, 20, 100, &l->q.limit, &e);
	r = r == 0 ? page_parse(k, PAGE_ENVIRONMENTS, &l->at, &e) : r;
	r = r == 0 ? call_query_bool(k, "include_archived", &l->q.include_archived, &e) : r;
	if (r < 0)
		call_fail(k, &e);
	else
		doc_list_reply(k, l);
}

/* ---- update, archive, delete ---- */

static void
write_environment(struct call *k, struct store_doc *n, const struct store_doc *d, struct err *e)
{
	if (n == NULL) {
		err_set(e, ERR_NO_MEMORY, "out of memory");
		call_fail(k, e);
		return;
	}
	n->created_us = d->created_us;
	k->state = n;
	store_doc_update(k->c->store, n, d->version, false, on_written, k);
}

static void
on_update(void *arg, const struct err *err, const struct store_doc *d)
{
	struct call *k = arg;
	if (err != NULL) {
		environment_failed(k, err);
		return;
	}
	struct err e = {0};
	const struct json_t *body = call_body(k);
	if (body == NULL)
		return;
	AUTO(json) struct json_t *current = NULL;
	AUTO(buf) struct buf config;
	buf_init(&config, LIM_HTTP_BODY);
	struct json_at root = json_root(body);
	int r = json_parse(d->body, &current, &e);
	if (r == 0 && d->archived_us != 0)
		r = err_code(&e, ERR_INVALID, "environment_archived",
			"Environment %.*s is archived and cannot be changed.", STRF(d->id));
	r = r == 0 ? environment_parse_update(k->a, &root, current, &config, &e) : r;
	r = r == 0 ? buf_check(&config, &e) : r;
	if (r < 0)
		call_fail(k, &e);
	else
		write_environment(k, environment_doc(k, d->id, &config), d, &e);
}

void
environments_update(struct call *k)
{
	store_doc_get(k->c->store, DOC_ENVIRONMENT, k->params[0], 0, on_update, k);
}

static void
on_archive(void *arg, const struct err *err, const struct store_doc *d)
{
	struct call *k = arg;
	struct err e = {0};
	if (err != NULL) {
		environment_failed(k, err);
		return;
	}
	if (d->archived_us != 0) {
		reply_environment(k, d);
		return;
	}
	AUTO(buf) struct buf config;
	buf_init(&config, LIM_HTTP_BODY);
	buf_put_str(&config, d->body);
	struct store_doc *n = environment_doc(k, d->id, &config);
	if (n != NULL)
		n->archived_us = n->updated_us;
	write_environment(k, n, d, &e);
}

void
environments_archive(struct call *k)
{
	store_doc_get(k->c->store, DOC_ENVIRONMENT, k->params[0], 0, on_archive, k);
}

static void
on_removed(void *arg, const struct err *err, uint32_t seq)
{
	(void)seq;
	struct call *k = arg;
	struct err e = {0};
	if (err != NULL && err->kind == ERR_CONFLICT) {
		err_set(&e, ERR_INVALID,
			"Environment %.*s is used by sessions; archive it, or delete those sessions first.",
			STRF(k->params[0]));
		err = &e;
	}
	if (err != NULL)
		environment_failed(k, err);
	else
		call_reply_deleted(k, k->params[0], "environment_deleted");
}

void
environments_delete(struct call *k)
{
	store_doc_delete(k->c->store, DOC_ENVIRONMENT, k->params[0], true, on_removed, k);
}
