/* SPDX-License-Identifier: Apache-2.0 */
#include "base/clock.h"
#include "control/api.h"
#include "model/environment.h"

static bool
environment_json(struct json_w *w, const struct store_doc *d, struct err *e)
{
	AUTO(json) struct json_t *config = NULL;
	if (json_parse(d->body, &config, e) < 0) {
		err_set(e, ERR_CORRUPT, "the stored environment %.*s is not readable", STRF(d->id));
		return false;
	}
	struct environment_meta m = {.id = d->id,
		.created_us = d->created_us,
		.updated_us = d->updated_us,
		.archived_us = d->archived_us};
	environment_render(&m, config, w);
	return true;
}

static void
reply_environment(struct call *k, const struct store_doc *d)
{
	struct err e = {0};
	struct json_w w = call_json(k);
	if (environment_json(&w, d, &e))
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

static void
on_listed(void *arg, const struct err *err, const struct store_doc_row *rows, size_t n, bool more)
{
	struct call *k = arg;
	struct err e = {0};
	struct page_cursor next = {.kind = PAGE_ENVIRONMENTS};
	if (err != NULL) {
		call_fail(k, err);
		return;
	}
	struct json_w w = call_json(k);
	jw_obj(&w);
	jw_key(&w, "data");
	jw_arr(&w);
	for (size_t i = 0; i < n; i++) {
		if (!environment_json(&w, &rows[i].doc, &e)) {
			call_fail(k, &e);
			return;
		}
		next.us = rows[i].doc.created_us;
		next.key = rows[i].key;
	}
	jw_arr_end(&w);
	page_next(&w, more, &next);
	jw_obj_end(&w);
	call_reply(k);
}

void
environments_list(struct call *k)
{
	struct err e = {0};
	struct store_doc_query q = {.kind = DOC_ENVIRONMENT};
	struct page_cursor at;
	int r = call_limit(k, 20, 100, &q.limit, &e);
	r = r == 0 ? page_parse(k, PAGE_ENVIRONMENTS, &at, &e) : r;
	r = r == 0 ? call_query_bool(k, "include_archived", &q.include_archived, &e) : r;
	if (r < 0) {
		call_fail(k, &e);
		return;
	}
	q.has_cursor = at.set;
	q.cursor_us = at.us;
	q.cursor_key = at.key;
	store_docs(k->c->store, &q, on_listed, k);
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
	if (err != NULL) {
		environment_failed(k, err);
		return;
	}
	struct json_w w = call_json(k);
	jw_obj(&w);
	jw_kstr(&w, "id", k->params[0]);
	jw_kz(&w, "type", "environment_deleted");
	jw_obj_end(&w);
	call_reply(k);
}

void
environments_delete(struct call *k)
{
	store_doc_delete(k->c->store, DOC_ENVIRONMENT, k->params[0], true, on_removed, k);
}
