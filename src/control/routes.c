/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The route table and the way of a request through it: path -> route -> API key -> beta header -> handler.
 */
#include "control/api.h"

#include "control/auth.h"

#define BETA BETA_AGENTS

static const struct route routes[] = {
	{"POST", "/v1/agents", BETA, agents_create, NULL, false},
	{"GET", "/v1/agents", BETA, agents_list, NULL, false},
	{"GET", "/v1/agents/{}", BETA, agents_get, NULL, false},
	{"POST", "/v1/agents/{}", BETA, agents_update, NULL, false},
	{"POST", "/v1/agents/{}/archive", BETA, agents_archive, NULL, false},
	{"GET", "/v1/agents/{}/versions", BETA, agents_versions, NULL, false},
	{"POST", "/v1/environments", BETA, environments_create, NULL, false},
	{"GET", "/v1/environments", BETA, environments_list, NULL, false},
	{"GET", "/v1/environments/{}", BETA, environments_get, NULL, false},
	{"POST", "/v1/environments/{}", BETA, environments_update, NULL, false},
	{"DELETE", "/v1/environments/{}", BETA, environments_delete, NULL, false},
	{"POST", "/v1/environments/{}/archive", BETA, environments_archive, NULL, false},
	{"POST", "/v1/sessions", BETA, sessions_create, NULL, false},
	{"GET", "/v1/sessions", BETA, sessions_list, NULL, false},
	{"GET", "/v1/sessions/{}", BETA, sessions_get, NULL, false},
	{"POST", "/v1/sessions/{}", BETA, sessions_update, NULL, false},
	{"DELETE", "/v1/sessions/{}", BETA, sessions_delete, NULL, false},
	{"POST", "/v1/sessions/{}/archive", BETA, sessions_archive, NULL, false},
	{"POST", "/v1/sessions/{}/events", BETA, events_send, NULL, false},
	{"GET", "/v1/sessions/{}/events", BETA, events_list, NULL, false},
	{"GET", "/v1/sessions/{}/events/stream", BETA, events_stream, NULL, false},
	{"GET", "/v1/sessions/{}/threads", BETA, threads_list, NULL, false},
	{"GET", "/v1/sessions/{}/threads/{}", BETA, threads_get, NULL, false},
	{"POST", "/v1/sessions/{}/threads/{}/archive", BETA, threads_archive, NULL, false},
	{"GET", "/v1/sessions/{}/threads/{}/events", BETA, threads_events, NULL, false},
	{"GET", "/v1/sessions/{}/threads/{}/stream", BETA, threads_stream, NULL, false},
	{"GET", "/v1/sessions/{}/resources", BETA, resources_list, NULL, false},
	{"POST", "/v1/sessions/{}/resources", BETA, resources_add, NULL, false},
	{"GET", "/v1/sessions/{}/resources/{}", BETA, resources_get, NULL, false},
	{"POST", "/v1/sessions/{}/resources/{}", BETA, resources_update, NULL, false},
	{"DELETE", "/v1/sessions/{}/resources/{}", BETA, resources_delete, NULL, false},
	{"POST", "/v1/files", NULL, files_upload, files_upload_head, false},
	{"GET", "/v1/files", NULL, files_list, NULL, false},
	{"GET", "/v1/files/{}", NULL, files_get, NULL, false},
	{"GET", "/v1/files/{}/content", NULL, files_content, NULL, false},
	{"DELETE", "/v1/files/{}", NULL, files_delete, NULL, false},
	{"GET", "/v1/models", NULL, models_list, NULL, false},
	{"GET", "/v1/models/{}", NULL, models_get, NULL, false},
	{"POST", "/v1/pinfold/keys", NULL, keys_create, NULL, true},
	{"GET", "/v1/pinfold/keys", NULL, keys_list, NULL, true},
	{"DELETE", "/v1/pinfold/keys/{}", NULL, keys_revoke, NULL, true},
	{"GET", "/v1/pinfold/status", NULL, status_get, NULL, true},
	{"GET", "/v1/pinfold/sessions/{}/sandboxes", NULL, sandboxes_list, NULL, false},
};

/* ---- matching ---- */

static bool
path_match(const char *pattern, struct str path, struct str params[CALL_PARAMS])
{
	struct str pat = str_z(pattern);
	size_t n = 0;
	memset(params, 0, CALL_PARAMS * sizeof(params[0])); /* of a route that matched in part */
	while (pat.p != NULL && path.p != NULL) {
		struct str want = str_next(&pat, '/');
		struct str have = str_next(&path, '/');
		if (str_eqz(want, "{}")) {
			if (have.n == 0 || have.n > LIM_ID || n == CALL_PARAMS)
				return false;
			params[n++] = have;
		} else if (!str_eq(want, have)) {
			return false;
		}
	}
	return pat.p == NULL && path.p == NULL;
}

/* The route; `path_known` tells 404 from a wrong method (also 404 to clients, but named). */
static const struct route *
route_find(struct str method, struct str path, struct str params[CALL_PARAMS])
{
	if (str_eqz(method, "HEAD"))
		method = STR("GET");
	if (str_eqz(method, "PATCH"))
		method = STR("POST");
	for (size_t i = 0; i < ARRAY_LEN(routes); i++) {
		if (str_eqz(method, routes[i].method) && path_match(routes[i].path, path, params))
			return &routes[i];
	}
	return NULL;
}

/* ---- errors ---- */

void
routes_error_body(void *owner, struct buf *out, const struct err *e, struct str request_id)
{
	(void)owner;
	struct json_w w = json_w(out);
	jw_obj(&w);
	jw_kz(&w, "type", "error");
	jw_key(&w, "error");
	jw_obj(&w);
	jw_kz(&w, "type", err_api_type(e->kind));
	jw_kz(&w, "message", e->msg);
	if (e->code != NULL) {
		jw_key(&w, "details");
		jw_obj(&w);
		jw_kz(&w, "error_code", e->code);
		jw_kz(&w, "error_visibility", "user_facing");
		jw_obj_end(&w);
	}
	jw_obj_end(&w);
	jw_kstr(&w, "request_id", request_id);
	jw_obj_end(&w);
}

/* ---- dispatch ---- */

static struct call *
call_new(struct control *c, struct server_req *r)
{
	struct arena *a = server_req_arena(r);
	struct call *k = arena_alloc(a, sizeof(*k));
	if (k == NULL)
		return NULL;
	k->c = c;
	k->r = r;
	k->a = a;
	buf_init(&k->out, LIM_EVENT_BODY * 2);
	server_req_set_data(r, k);
	return k;
}

static void
refuse(struct server_req *r, enum err_kind kind, const char *msg)
{
	struct err e = {0};
	err_set(&e, kind, "%s", msg);
	struct call *k = server_req_data(r);
	if (k != NULL)
		call_fail(k, &e);
	else
		server_reply_error(r, &e);
}

/* Key and beta header are known to be right. */
static void
authorised(struct call *k)
{
	if (k->route->admin && !k->admin)
		refuse(k->r, ERR_FORBIDDEN, "This endpoint needs an admin key.");
	else
		k->route->handle(k);
}

static void
unknown_route(struct call *k)
{
	struct err e = {0};
	if (k->route == NULL)
		err_set(&e, ERR_NOT_FOUND, "Not found: %.*s %.*s", STRF(server_req_method(k->r)),
			STRF(str_sub(server_req_path(k->r), 0, 120)));
	else
		err_set(&e, ERR_NOT_FOUND, "Not found. This endpoint needs the header anthropic-beta: %s",
			k->route->beta);
	call_fail(k, &e);
}

/* The key is looked at before the body: who has none takes neither memory nor room among the large bodies. */
void
routes_on_head(void *owner, struct server_req *r)
{
	struct call *k = call_new(owner, r);
	if (k == NULL) {
		refuse(r, ERR_NO_MEMORY, "out of memory");
		return;
	}
	struct err e = {0};
	k->route = route_find(server_req_method(r), server_req_path(r), k->params);
	if (auth_check(k, &e) < 0)
		call_fail(k, &e);
	else if (k->route != NULL && k->route->head != NULL)
		k->route->head(k);
}

void
routes_on_request(void *owner, struct server_req *r)
{
	(void)owner;
	struct call *k = server_req_data(r);
	if (k->route == NULL || (k->route->beta != NULL && !call_has_beta(k, k->route->beta)))
		unknown_route(k);
	else
		authorised(k);
}
