/* SPDX-License-Identifier: Apache-2.0 */
#include "model/agent.h"

#include "base/limits.h"
#include "model/agent_parts.h"
#include "model/metadata.h"

/* ---- the members of a configuration: each writes its value, from the body or the present configuration ----
 */

/* `current` is NULL when creating. */
typedef int member_fn(
	const struct json_at *at, const struct json_t *current, struct json_w *w, struct err *e);

/* An optional text: null and "" clear. */
static int
clearable(const struct json_at *at, size_t max, struct json_w *w, struct err *e)
{
	struct str s = STR_NULL;
	int r = json_set(at) ? json_want_str(at, 0, max, &s, e) : 0;
	jw_str(w, s.n > 0 ? s : STR_NULL);
	return r;
}

static int
member_name(const struct json_at *at, const struct json_t *current, struct json_w *w, struct err *e)
{
	struct str s = STR_NULL;
	(void)current;
	int r = json_want_str(at, 1, LIM_AGENT_NAME, &s, e);
	jw_str(w, s);
	return r;
}

static int
member_description(const struct json_at *at, const struct json_t *current, struct json_w *w, struct err *e)
{
	(void)current;
	return clearable(at, LIM_AGENT_DESC, w, e);
}

static int
member_system(const struct json_at *at, const struct json_t *current, struct json_w *w, struct err *e)
{
	(void)current;
	return clearable(at, LIM_AGENT_SYSTEM, w, e);
}

static int
member_tools(const struct json_at *at, const struct json_t *current, struct json_w *w, struct err *e)
{
	(void)current;
	return agent_part_tools(at, w, e);
}

static int
member_servers(const struct json_at *at, const struct json_t *current, struct json_w *w, struct err *e)
{
	(void)current;
	return agent_part_mcp_servers(at, w, e);
}

static int
member_skills(const struct json_at *at, const struct json_t *current, struct json_w *w, struct err *e)
{
	(void)current;
	return agent_part_skills(at, w, e);
}

static int
member_identity(const struct json_at *at, const struct json_t *current, struct json_w *w, struct err *e)
{
	(void)current;
	return agent_part_identity(at, w, e);
}

static int
member_metadata(const struct json_at *at, const struct json_t *current, struct json_w *w, struct err *e)
{
	return current == NULL ? metadata_parse(at, w, e) : metadata_patch(at, current, false, w, e);
}

static const struct {
	const char *name;
	member_fn *write;
	bool required;
} members[] = {
	{"name", member_name, true},
	{"description", member_description, false},
	{"model", agent_part_model, true},
	{"system", member_system, false},
	{"tools", member_tools, false},
	{"mcp_servers", member_servers, false},
	{"skills", member_skills, false},
	{"multiagent", agent_part_multiagent, false},
	{"execution_identity", member_identity, false},
	{"metadata", member_metadata, false},
};

/* Writes the configuration; a member that is absent is kept, or gets its default when there is nothing to
 * keep. */
static int
write_config(const struct json_at *body, const struct json_t *current, struct buf *out, struct err *e)
{
	struct json_w w = json_w(out);
	jw_obj(&w);
	for (size_t i = 0; i < ARRAY_LEN(members); i++) {
		struct json_at at = json_member(body, members[i].name);
		const struct json_t *now = json_get(current, members[i].name);
		if (!at.present && members[i].required && now == NULL)
			return json_fail(&at, e, "Field required");
		jw_key(&w, members[i].name);
		if (!at.present && now != NULL) {
			jw_value(&w, now);
			continue;
		}
		int r = members[i].write(&at, now, &w, e);
		if (r < 0)
			return r;
	}
	jw_obj_end(&w);
	return buf_check(out, e);
}

static int
check_config(struct str config, struct err *e)
{
	AUTO(json) struct json_t *v = NULL;
	int r = json_parse(config, &v, e);
	return r < 0 ? r : agent_check(v, e);
}

int
agent_parse_create(struct arena *a, const struct json_at *body, struct buf *out, struct err *e)
{
	static const char *const allowed[] = {"name", "description", "model", "system", "tools",
		"mcp_servers", "skills", "multiagent", "execution_identity", "metadata", NULL};
	(void)a;
	size_t from = out->n;
	int r = json_closed(body, allowed, e);
	if (r == 0)
		r = write_config(body, NULL, out, e);
	return r < 0 ? r : check_config(str_sub(buf_str(out), from, out->n), e);
}

int
agent_parse_update(struct arena *a, const struct json_at *body, const struct json_t *current, struct buf *out,
	uint64_t *version_given, struct err *e)
{
	static const char *const allowed[] = {"version", "name", "description", "model", "system", "tools",
		"mcp_servers", "skills", "multiagent", "execution_identity", "metadata", NULL};
	(void)a;
	struct json_at version = json_member(body, "version");
	size_t from = out->n;
	int64_t v = 0;
	int r = json_closed(body, allowed, e);
	if (r == 0 && json_set(&version))
		r = json_want_int(&version, 1, UINT32_MAX, &v, e);
	if (r < 0)
		return r;
	*version_given = (uint64_t)v;
	r = write_config(body, current, out, e);
	return r < 0 ? r : check_config(str_sub(buf_str(out), from, out->n), e);
}

/* ---- rendering ---- */

/* A roster as clients see it: "self" is this agent, and everything has a version. */
static void
write_refs(const struct agent_meta *m, const struct json_t *list, struct json_w *w)
{
	jw_arr(w);
	for (size_t i = 0; i < json_len(list); i++) {
		const struct json_t *v = json_at(list, i);
		bool self = str_eqz(json_get_str(v, "type"), "self");
		if (str_eqz(json_get_str(v, "type"), "advisor")) {
			jw_value(w, v);
			continue;
		}
		int64_t version = self ? m->version : json_get_int(v, "version", 1);
		jw_obj(w);
		jw_kz(w, "type", "agent");
		jw_kstr(w, "id", self ? m->id : json_get_str(v, "id"));
		jw_kint(w, "version", version > 0 ? version : 1);
		jw_obj_end(w);
	}
	jw_arr_end(w);
}

/* Copies a tree of objects; `agents` and `predefined_agents` in it are rosters. `m` NULL: they become empty.
 */
static void
write_multiagent(const struct agent_meta *m, const struct json_t *v, struct json_w *w)
{
	if (json_kind(v) != JSON_OBJ) {
		jw_value(w, v);
		return;
	}
	jw_obj(w);
	for (void *it = json_iter(v); it != NULL; it = json_next(v, it)) {
		struct str key = json_iter_key(it);
		jw_key_str(w, key);
		if (!str_eqz(key, "agents") && !str_eqz(key, "predefined_agents"))
			write_multiagent(m, json_iter_value(it), w);
		else
			write_refs(m, m != NULL ? json_iter_value(it) : NULL, w);
	}
	jw_obj_end(w);
}

static void
write_member(const struct json_t *config, const char *key, struct json_w *w)
{
	const struct json_t *v = json_get(config, key);
	jw_key(w, key);
	if (v != NULL)
		jw_value(w, v);
	else
		jw_null(w);
}

void
agent_render(const struct agent_meta *m, const struct json_t *config, struct json_w *w)
{
	jw_obj(w);
	jw_kz(w, "type", "agent");
	jw_kstr(w, "id", m->id);
	jw_kint(w, "version", m->version);
	for (size_t i = 0; i < ARRAY_LEN(members); i++) {
		if (!str_eqz(str_z(members[i].name), "multiagent")) {
			write_member(config, members[i].name, w);
			continue;
		}
		jw_key(w, "multiagent");
		write_multiagent(m, json_get(config, "multiagent"), w);
	}
	jw_ktime(w, "created_at", m->created_us);
	jw_ktime(w, "updated_at", m->updated_us);
	jw_ktime(w, "archived_at", m->archived_us);
	jw_obj_end(w);
}

/* ---- snapshots ---- */

/* A session holds whole agents where an agent holds references. There is no delegation yet, so nobody would
 * be asked: rosters are shown empty, and a coordinator, which cannot be empty, as null. */
static void
write_session_multiagent(const struct json_t *v, struct json_w *w)
{
	if (str_eqz(json_get_str(v, "type"), "coordinator"))
		jw_null(w);
	else
		write_multiagent(NULL, v, w);
}

static int
override_model(const struct json_at *at, struct json_w *w, struct err *e)
{
	AUTO(buf) struct buf b;
	AUTO(json) struct json_t *v = NULL;
	buf_init(&b, LIM_EVENT_BODY);
	if (!json_set(at))
		return json_fail_code(
			at, e, "agent_model_required", "the model of an agent cannot be cleared");
	struct json_w mw = json_w(&b);
	int r = agent_part_model(at, NULL, &mw, e);
	if (r == 0)
		r = json_parse(buf_str(&b), &v, e);
	if (r < 0)
		return r;
	jw_obj(w);
	for (void *it = json_iter(v); it != NULL; it = json_next(v, it)) {
		jw_key_str(w, json_iter_key(it));
		if (str_eqz(json_iter_key(it), "effort"))
			jw_raw(w, STR("{\"type\":\"high\"}")); /* an effort given here is ignored (contract
								  §6.2) */
		else
			jw_value(w, json_iter_value(it));
	}
	jw_obj_end(w);
	return 0;
}

/* One member of a snapshot: from `change` when it may be changed and is there. */
static int
snapshot_member(const char *name, const struct json_t *from, const struct json_at *change, struct json_w *w,
	struct err *e)
{
	struct json_at at = change != NULL ? json_member(change, name) : json_root(NULL);
	jw_key(w, name);
	if (at.present && str_eqz(str_z(name), "model"))
		return override_model(&at, w, e);
	for (size_t i = 0; at.present && i < ARRAY_LEN(members); i++) {
		if (str_eqz(str_z(name), members[i].name))
			return members[i].write(&at, NULL, w, e);
	}
	if (str_eqz(str_z(name), "multiagent"))
		write_session_multiagent(json_get(from, name), w);
	else
		jw_value(w, json_get(from, name));
	return 0;
}

/* `from` is a configuration, or a snapshot. */
static int
write_snapshot(const struct agent_meta *m, const struct json_t *from, const struct json_at *change,
	struct buf *out, struct err *e)
{
	size_t begin = out->n;
	struct json_w w = json_w(out);
	jw_obj(&w);
	jw_kz(&w, "type", "agent");
	jw_kstr(&w, "id", m->id);
	jw_kint(&w, "version", m->version);
	for (size_t i = 0; i < ARRAY_LEN(members); i++) {
		if (str_eqz(str_z(members[i].name), "metadata"))
			continue;
		int r = snapshot_member(members[i].name, from, change, &w, e);
		if (r < 0)
			return r;
	}
	jw_obj_end(&w);
	int r = buf_check(out, e);
	return r < 0 || change == NULL ? r : check_config(str_sub(buf_str(out), begin, out->n), e);
}

int
agent_snapshot(struct arena *a, const struct agent_meta *m, const struct json_t *config,
	const struct json_at *overrides, struct buf *out, struct err *e)
{
	static const char *const allowed[] = {
		"type", "id", "version", "model", "system", "tools", "mcp_servers", "skills", NULL};
	(void)a;
	int r = overrides != NULL ? json_closed(overrides, allowed, e) : 0;
	return r < 0 ? r : write_snapshot(m, config, overrides, out, e);
}

int
agent_snapshot_update(struct arena *a, const struct json_t *snapshot, const struct json_at *change,
	struct buf *out, struct err *e)
{
	static const char *const allowed[] = {"tools", "mcp_servers", NULL};
	(void)a;
	struct agent_meta m = {.id = json_get_str(snapshot, "id"),
		.version = (uint32_t)json_get_int(snapshot, "version", 1)};
	int r = json_closed(change, allowed, e);
	return r < 0 ? r : write_snapshot(&m, snapshot, change, out, e);
}
