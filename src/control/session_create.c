/* SPDX-License-Identifier: Apache-2.0 */
/*
 * POST /v1/sessions: shape -> agent -> environment -> files of initial events -> own copies of file resources
 * -> the log's first rows -> answer.
 */
#include "base/clock.h"
#include "control/session_files.h"
#include "model/agent.h"
#include "model/environment.h"
#include "model/metadata.h"

struct session_create {
	struct json_at root, agent_at, resources_at;
	struct str agent_id, environment_id;
	uint64_t agent_version;
	bool overrides;
	struct session_new n;
	struct store_session_index ix;
	struct client_event initial[LIM_INITIAL_EVENTS];
	size_t n_initial;
	struct session_files files;
	struct str *named_files; /* of initial events */
	size_t n_named;
};

static void
reply_session(struct call *k, const struct session_state *s)
{
	struct json_w w = call_json(k);
	session_render(s, clock_wall_us(), &w);
	call_reply(k);
}

/* ---- shape ---- */

static int
parse_agent_ref(struct session_create *sc, struct err *e)
{
	static const char *const plain[] = {"type", "id", "version", NULL};
	static const char *const types[] = {"agent", "agent_with_overrides", NULL};
	static const char *const full[] = {
		"type", "id", "version", "model", "system", "tools", "mcp_servers", "skills", NULL};
	sc->agent_at = json_member(&sc->root, "agent");
	if (json_kind(sc->agent_at.v) == JSON_STR || !sc->agent_at.present)
		return json_want_str(&sc->agent_at, 1, LIM_ID, &sc->agent_id, e);
	struct json_at type = json_member(&sc->agent_at, "type");
	struct json_at id = json_member(&sc->agent_at, "id");
	struct json_at version = json_member(&sc->agent_at, "version");
	int which = 0;
	int r = json_want_obj(&sc->agent_at, e);
	r = r == 0 ? json_want_enum(&type, types, &which, e) : r;
	r = r == 0 ? json_closed(&sc->agent_at, which == 1 ? full : plain, e) : r;
	r = r == 0 ? json_want_str(&id, 1, LIM_ID, &sc->agent_id, e) : r;
	int64_t v = 0;
	if (r == 0 && json_set(&version))
		r = json_want_int(&version, 1, UINT32_MAX, &v, e);
	sc->agent_version = (uint64_t)v;
	sc->overrides = which == 1;
	return r;
}

static int
parse_metadata(struct call *k, struct session_create *sc, struct err *e)
{
	AUTO(buf) struct buf b;
	buf_init(&b, 64 * KIB);
	struct json_w w = json_w(&b);
	struct json_at at = json_member(&sc->root, "metadata");
	int r = metadata_parse(&at, &w, e);
	sc->n.metadata = arena_dup(k->a, buf_str(&b));
	return r;
}

static int
parse_unavailable(struct session_create *sc, struct err *e)
{
	struct json_at vaults = json_member(&sc->root, "vault_ids");
	struct json_at budget = json_member(&sc->root, "budget");
	size_t n = 0;
	int r = json_set(&vaults) ? json_want_arr(&vaults, 50, &n, e) : 0;
	if (r == 0 && n > 0)
		r = json_fail(&vaults, e, "Vault not found: this server keeps no vaults yet");
	if (r == 0 && json_set(&budget))
		r = json_fail_code(&budget, e, "model_not_budgetable",
			"the agent's model has no list price on this server");
	sc->n.vault_ids = STR("[]");
	return r;
}

static int
parse_resource(struct call *k, const struct json_at *at, struct session_file *f, struct err *e)
{
	static const char *const members[] = {"type", "file_id", "mount_path", NULL};
	static const char *const types[] = {"file", "github_repository", "memory_store", NULL};
	struct json_at type = json_member(at, "type");
	struct json_at id = json_member(at, "file_id");
	struct json_at path = json_member(at, "mount_path");
	int which = 0;
	int r = json_want_obj(at, e);
	r = r == 0 ? json_want_enum(&type, types, &which, e) : r;
	if (r == 0 && which != 0)
		return json_fail(&type, e, "%s resources are not available on this server yet", types[which]);
	r = r == 0 ? json_closed(at, members, e) : r;
	r = r == 0 ? json_want_str(&id, 1, LIM_ID, &f->source, e) : r;
	return r == 0 ? session_file_path(k->a, &path, f->source, &f->mount_path, e) : r;
}

static int
parse_resources(struct call *k, struct session_create *sc, struct err *e)
{
	size_t n = 0;
	sc->resources_at = json_member(&sc->root, "resources");
	int r = json_set(&sc->resources_at) ? json_want_arr(&sc->resources_at, LIM_RESOURCES, &n, e) : 0;
	sc->files.files = arena_alloc_n(k->a, n + 1, sizeof(*sc->files.files));
	if (r == 0 && sc->files.files == NULL)
		return arena_check(k->a, e);
	for (size_t i = 0; r == 0 && i < n; i++) {
		struct json_at at = json_element(&sc->resources_at, i);
		r = parse_resource(k, &at, &sc->files.files[i], e);
		for (size_t j = 0; r == 0 && j < i; j++) {
			if (str_eq(sc->files.files[j].mount_path, sc->files.files[i].mount_path))
				r = json_fail(&at, e, "mount_path is used by resource %zu already", j);
		}
	}
	sc->files.n = n;
	return r;
}

static int
parse_initial(struct call *k, struct session_create *sc, struct err *e)
{
	size_t n = 0;
	struct json_at list = json_member(&sc->root, "initial_events");
	int r = json_set(&list) ? json_want_arr(&list, LIM_INITIAL_EVENTS, &n, e) : 0;
	uint64_t now = clock_wall_us();
	for (size_t i = 0; r == 0 && i < n; i++) {
		struct json_at at = json_element(&list, i);
		r = client_event_parse(k->a, &at, true, now, &sc->initial[i], e);
		if (r == 0)
			sc->n_named += sc->initial[i].n_files;
	}
	sc->n_initial = n;
	sc->named_files = arena_alloc_n(k->a, sc->n_named + 1, sizeof(struct str));
	if (r < 0 || sc->named_files == NULL)
		return r < 0 ? r : arena_check(k->a, e);
	size_t at = 0;
	for (size_t i = 0; i < n; i++) {
		for (size_t j = 0; j < sc->initial[i].n_files; j++)
			sc->named_files[at++] = sc->initial[i].files[j];
	}
	return 0;
}

static int
parse(struct call *k, struct session_create *sc, const struct json_t *body, struct err *e)
{
	static const char *const members[] = {"agent", "environment_id", "title", "metadata", "resources",
		"vault_ids", "budget", "initial_events", NULL};
	sc->root = json_root(body);
	struct json_at env = json_member(&sc->root, "environment_id");
	struct json_at title = json_member(&sc->root, "title");
	int r = json_closed(&sc->root, members, e);
	r = r == 0 ? parse_agent_ref(sc, e) : r;
	r = r == 0 ? json_want_str(&env, 1, LIM_ID, &sc->environment_id, e) : r;
	if (r == 0 && json_set(&title))
		r = json_want_str(&title, 0, LIM_TITLE, &sc->n.title, e);
	r = r == 0 ? parse_metadata(k, sc, e) : r;
	r = r == 0 ? parse_unavailable(sc, e) : r;
	r = r == 0 ? parse_resources(k, sc, e) : r;
	r = r == 0 ? parse_initial(k, sc, e) : r;
	return r == 0 ? arena_check(k->a, e) : r;
}

/* ---- the steps ---- */

static void
on_session(void *arg, const struct err *err, const struct session_state *s)
{
	struct call *k = arg;
	struct session_create *sc = k->state;
	if (err != NULL) {
		session_files_undo(&sc->files);
		call_fail(k, err);
		return;
	}
	reply_session(k, s);
}

static void
on_files_copied(struct call *k, const struct err *err)
{
	struct session_create *sc = k->state;
	struct err e = {0};
	if (err != NULL) {
		call_fail(k, err);
		return;
	}
	struct session_resource *res = arena_alloc_n(k->a, sc->files.n + 1, sizeof(*res));
	if (res == NULL) {
		arena_check(k->a, &e);
		session_files_undo(&sc->files);
		call_fail(k, &e);
		return;
	}
	for (size_t i = 0; i < sc->files.n; i++)
		res[i] = sc->files.files[i].made;
	sc->n.resources = res;
	sc->n.n_resources = sc->files.n;
	struct brain_create create = {
		.n = &sc->n, .ix = &sc->ix, .initial = sc->initial, .n_initial = sc->n_initial};
	brain_session_create(k->c->brain, &create, on_session, k);
}

static void
on_named_files(struct call *k, const struct err *err)
{
	struct session_create *sc = k->state;
	if (err != NULL) {
		call_fail(k, err);
		return;
	}
	sc->files.k = k;
	sc->files.session = sc->n.id;
	sc->files.done = on_files_copied;
	session_files_copy(&sc->files);
}

static int
take_environment(struct call *k, const struct store_doc *d, struct err *e)
{
	struct session_create *sc = k->state;
	AUTO(json) struct json_t *env = NULL;
	int r = json_parse(d->body, &env, e);
	if (r < 0)
		return r;
	if (d->archived_us != 0)
		return err_code(e, ERR_INVALID, "environment_archived",
			"environment_id: Environment %.*s is archived.", STRF(d->id));
	const struct json_t *config = json_get(env, "config");
	if (str_eqz(json_get_str(config, "type"), "self_hosted"))
		return err_set(e, ERR_INVALID,
			"environment_id: self-hosted environments cannot run sessions on this server yet");
	AUTO(json) struct json_t *agent = NULL;
	r = json_parse(sc->n.agent, &agent, e);
	r = r == 0 ? environment_check_agent(config, agent, e) : r;
	if (r < 0)
		return r;
	AUTO(buf) struct buf b;
	buf_init(&b, MIB);
	json_dump(&b, config);
	sc->n.environment = arena_dup(k->a, buf_str(&b));
	sc->n.environment_id = id_from(d->id);
	sc->ix.environment_id = id_str(&sc->n.environment_id);
	r = buf_check(&b, e);
	return r < 0 ? r : arena_check(k->a, e);
}

static void
on_environment(void *arg, const struct err *err, const struct store_doc *d)
{
	struct call *k = arg;
	struct session_create *sc = k->state;
	struct err e = {0};
	if (err != NULL && err->kind == ERR_NOT_FOUND)
		err_code(&e, ERR_NOT_FOUND, "environment_not_found", "Environment not found: %.*s",
			STRF(sc->environment_id));
	else if (err != NULL)
		e = *err;
	else if (take_environment(k, d, &e) == 0)
		e.kind = ERR_NONE;
	if (e.kind != ERR_NONE)
		call_fail(k, &e);
	else
		session_files_exist(k, sc->named_files, sc->n_named, on_named_files);
}

static int
take_agent(struct call *k, const struct store_doc *d, struct err *e)
{
	struct session_create *sc = k->state;
	AUTO(json) struct json_t *config = NULL;
	AUTO(buf) struct buf b;
	buf_init(&b, LIM_HTTP_BODY);
	int r = json_parse(d->body, &config, e);
	if (r < 0)
		return r;
	if (d->archived_us != 0)
		return err_set(e, ERR_INVALID, "agent: Agent %.*s is archived.", STRF(d->id));
	struct agent_meta m = {
		.id = d->id, .version = d->version, .created_us = d->created_us, .updated_us = d->updated_us};
	r = agent_snapshot(k->a, &m, config, sc->overrides ? &sc->agent_at : NULL, &b, e);
	r = r == 0 ? buf_check(&b, e) : r;
	sc->n.agent = arena_dup(k->a, buf_str(&b));
	sc->ix.agent_id = arena_dup(k->a, d->id);
	sc->ix.agent_version = d->version;
	return r < 0 ? r : arena_check(k->a, e);
}

static void
on_agent(void *arg, const struct err *err, const struct store_doc *d)
{
	struct call *k = arg;
	struct session_create *sc = k->state;
	struct err e = {0};
	if (err != NULL && err->kind == ERR_NOT_FOUND)
		err_set(&e, ERR_NOT_FOUND, "Agent not found: %.*s", STRF(sc->agent_id));
	else if (err != NULL)
		e = *err;
	else if (take_agent(k, d, &e) == 0)
		e.kind = ERR_NONE;
	if (e.kind != ERR_NONE)
		call_fail(k, &e);
	else
		store_doc_get(k->c->store, DOC_ENVIRONMENT, sc->environment_id, 0, on_environment, k);
}

void
sessions_create(struct call *k)
{
	struct err e = {0};
	const struct json_t *body = call_body(k);
	if (body == NULL)
		return;
	struct session_create *sc = arena_alloc(k->a, sizeof(*sc));
	int r = sc != NULL ? parse(k, sc, body, &e) : err_set(&e, ERR_NO_MEMORY, "out of memory");
	if (r < 0) {
		call_fail(k, &e);
		return;
	}
	uint64_t now = clock_wall_us();
	sc->n.id = id_new("sesn", now);
	sc->n.thread_id = id_new("sthr", now);
	k->state = sc;
	store_doc_get(k->c->store, DOC_AGENT, sc->agent_id, (uint32_t)sc->agent_version, on_agent, k);
}
