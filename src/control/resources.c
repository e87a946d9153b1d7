/* SPDX-License-Identifier: Apache-2.0 */
#include "base/clock.h"
#include "control/session_files.h"

static void
on_list(void *arg, const struct err *err, const struct session_state *s)
{
	struct call *k = arg;
	struct err e = {0};
	struct page_cursor at;
	size_t limit = 0;
	if (err != NULL) {
		call_fail(k, err);
		return;
	}
	if (call_limit(k, LIM_PAGE_MAX, LIM_PAGE_MAX, &limit, &e) < 0 ||
		page_parse(k, PAGE_RESOURCES, &at, &e) < 0) {
		call_fail(k, &e);
		return;
	}
	size_t from = at.set && at.key < s->n_resources ? (size_t)at.key : 0;
	size_t to = s->n_resources - from > limit ? from + limit : s->n_resources;
	struct page_cursor next = {.kind = PAGE_RESOURCES, .key = to};
	struct json_w w = call_json(k);
	jw_obj(&w);
	jw_key(&w, "data");
	jw_arr(&w);
	for (size_t i = from; i < to; i++)
		jw_raw(&w, s->resources[i].json);
	jw_arr_end(&w);
	page_next(&w, to < s->n_resources, &next);
	jw_obj_end(&w);
	call_reply(k);
}

void
resources_list(struct call *k)
{
	brain_session_get(k->c->brain, k->params[0], on_list, k);
}

static void
on_get(void *arg, const struct err *err, const struct session_state *s)
{
	struct call *k = arg;
	const struct session_resource *r = err == NULL ? session_resource_by_id(s, k->params[1]) : NULL;
	if (err != NULL) {
		call_fail(k, err);
		return;
	}
	if (r == NULL) {
		call_not_found(k, "Session resource", k->params[1]);
		return;
	}
	struct json_w w = call_json(k);
	jw_raw(&w, r->json);
	call_reply(k);
}

void
resources_get(struct call *k)
{
	brain_session_get(k->c->brain, k->params[0], on_get, k);
}

static void
on_update(void *arg, const struct err *err, const struct session_state *s)
{
	struct call *k = arg;
	struct err e = {0};
	if (err == NULL && session_resource_by_id(s, k->params[1]) == NULL) {
		call_not_found(k, "Session resource", k->params[1]);
		return;
	}
	err_set(&e, ERR_INVALID, "authorization_token: only GitHub repository resources have a token");
	call_fail(k, err != NULL ? err : &e);
}

void
resources_update(struct call *k)
{
	brain_session_get(k->c->brain, k->params[0], on_update, k);
}

/* ---- add ---- */

struct resource_add {
	struct call *k;
	struct session_file file;
	struct session_files files;
};

static int
make_add(void *arg, const struct session_state *s, struct plan *p, struct err *e)
{
	struct resource_add *ra = arg;
	if (s->turn.status == TURN_TERMINATED)
		return err_set(e, ERR_INVALID, "Session %s is archived and cannot be changed.", s->id.z);
	if (s->n_resources >= LIM_RESOURCES)
		return err_set(e, ERR_INVALID, "A session can have at most %d resources.", LIM_RESOURCES);
	for (size_t i = 0; i < s->n_resources; i++) {
		if (str_eq(s->resources[i].mount_path, ra->file.mount_path))
			return err_set(e, ERR_INVALID, "mount_path: used by resource %s already",
				s->resources[i].id.z);
	}
	session_resource_added_row(&ra->file.made, p->arena, clock_wall_us(), &p->rows[p->n_rows++]);
	return 0;
}

static void
on_added(void *arg, const struct err *err, const struct plan *p, uint32_t seq, const struct session_state *s)
{
	(void)p, (void)seq, (void)s;
	struct resource_add *ra = arg;
	if (err != NULL) {
		session_files_undo(&ra->files);
		call_fail(ra->k, err);
		return;
	}
	struct json_w w = call_json(ra->k);
	jw_raw(&w, ra->file.made.json);
	call_reply(ra->k);
}

static void
on_copied(struct call *k, const struct err *err)
{
	struct resource_add *ra = k->state;
	if (err != NULL) {
		call_fail(k, err);
		return;
	}
	struct brain_change c = {.make = make_add, .done = on_added, .arg = ra};
	brain_session_change(k->c->brain, k->params[0], &c);
}

static void
on_add_session(void *arg, const struct err *err, const struct session_state *s)
{
	struct call *k = arg;
	struct resource_add *ra = k->state;
	if (err != NULL) {
		call_fail(k, err);
		return;
	}
	ra->files = (struct session_files){
		.k = k, .session = s->id, .files = &ra->file, .n = 1, .single = true, .done = on_copied};
	session_files_copy(&ra->files);
}

void
resources_add(struct call *k)
{
	static const char *const members[] = {"type", "file_id", "mount_path", NULL};
	static const char *const types[] = {"file", NULL};
	struct err e = {0};
	const struct json_t *body = call_body(k);
	if (body == NULL)
		return;
	struct resource_add *ra = arena_alloc(k->a, sizeof(*ra));
	struct json_at root = json_root(body);
	struct json_at type = json_member(&root, "type");
	struct json_at id = json_member(&root, "file_id");
	struct json_at path = json_member(&root, "mount_path");
	int which = 0;
	int r = ra != NULL ? json_closed(&root, members, &e) : err_set(&e, ERR_NO_MEMORY, "out of memory");
	r = r == 0 ? json_want_enum(&type, types, &which, &e) : r;
	r = r == 0 ? json_want_str(&id, 1, LIM_ID, &ra->file.source, &e) : r;
	r = r == 0 ? session_file_path(k->a, &path, ra->file.source, &ra->file.mount_path, &e) : r;
	if (r < 0) {
		call_fail(k, &e);
		return;
	}
	ra->k = k;
	k->state = ra;
	brain_session_get(k->c->brain, k->params[0], on_add_session, k);
}

/* ---- delete ---- */

static int
make_remove(void *arg, const struct session_state *s, struct plan *p, struct err *e)
{
	struct call *k = arg;
	if (s->turn.status == TURN_TERMINATED)
		return err_set(e, ERR_INVALID, "Session %s is archived and cannot be changed.", s->id.z);
	if (session_resource_by_id(s, k->params[1]) == NULL)
		return err_set(e, ERR_NOT_FOUND, "Session resource not found: %.*s", STRF(k->params[1]));
	session_resource_removed_row(k->params[1], p->arena, clock_wall_us(), &p->rows[p->n_rows++]);
	return 0;
}

static void
on_removed(
	void *arg, const struct err *err, const struct plan *p, uint32_t seq, const struct session_state *s)
{
	(void)p, (void)seq, (void)s;
	struct call *k = arg;
	if (err != NULL)
		call_fail(k, err);
	else
		call_reply_deleted(k, k->params[1], "session_resource_deleted");
}

void
resources_delete(struct call *k)
{
	struct brain_change c = {.make = make_remove, .done = on_removed, .arg = k};
	brain_session_change(k->c->brain, k->params[0], &c);
}
