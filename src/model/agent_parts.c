/* SPDX-License-Identifier: Apache-2.0 */
#include "model/agent_parts.h"

#include "base/limits.h"
#include "model/agent.h"

#define URL_MAX      2048
#define NAME_MAX_    255
#define ARN_MAX      2048
#define SKILL_ID_MAX 64

int
agent_unique(const struct json_at *at, size_t i, const char *key, struct err *e)
{
	struct str name = json_get_str(json_at(at->v, i), key);
	for (size_t k = 0; k < i; k++) {
		if (!str_eq(json_get_str(json_at(at->v, k), key), name))
			continue;
		struct json_at here = json_element(at, i), member = json_member(&here, key);
		return json_fail(&member, e, "'%.*s' is given twice", STRF(str_sub(name, 0, 64)));
	}
	return 0;
}

/* ---- model ---- */

static const char *const efforts[] = {"low", "medium", "high", "xhigh", "max", NULL};

static int
want_effort(const struct json_at *at, int *out, struct err *e)
{
	static const char *const allowed[] = {"type", NULL};
	if (json_kind(at->v) == JSON_STR)
		return json_want_enum(at, efforts, out, e);
	struct json_at type = json_member(at, "type");
	int r = json_closed(at, allowed, e);
	return r < 0 ? r : json_want_enum(&type, efforts, out, e);
}

struct model_opts {
	struct str id, geo, effort;
	int speed;
};

static int
read_model(const struct json_at *at, struct model_opts *m, struct err *e)
{
	static const char *const allowed[] = {"id", "effort", "speed", "inference_geo", NULL};
	static const char *const speeds[] = {"standard", "fast", NULL};
	struct json_at id = json_member(at, "id"), effort = json_member(at, "effort"),
		       speed = json_member(at, "speed"), geo = json_member(at, "inference_geo");
	int level = 0, r = json_closed(at, allowed, e);
	if (r == 0)
		r = json_want_str(&id, 1, LIM_AGENT_NAME, &m->id, e);
	if (r == 0 && json_set(&effort)) {
		r = want_effort(&effort, &level, e);
		m->effort = str_z(efforts[level]);
	}
	if (r == 0 && json_set(&speed))
		r = json_want_enum(&speed, speeds, &m->speed, e);
	if (r == 0 && json_set(&geo))
		r = json_want_str(&geo, 1, 64, &m->geo, e);
	return r;
}

int
agent_part_model(const struct json_at *at, const struct json_t *keep, struct json_w *w, struct err *e)
{
	struct model_opts m = {0};
	bool bare = json_kind(at->v) == JSON_STR;
	int r = bare ? json_want_str(at, 1, LIM_AGENT_NAME, &m.id, e) : read_model(at, &m, e);
	if (r < 0)
		return r;
	if (m.effort.n == 0 && str_eq(json_get_str(keep, "id"), m.id))
		m.effort = json_get_str(json_get(keep, "effort"), "type");
	if (m.effort.n == 0)
		m.effort = STR("high");
	jw_obj(w);
	jw_kstr(w, "id", m.id);
	jw_key(w, "effort");
	jw_obj(w);
	jw_kstr(w, "type", m.effort);
	jw_obj_end(w);
	jw_kz(w, "speed", m.speed == 1 ? "fast" : "standard");
	if (m.geo.n > 0)
		jw_kstr(w, "inference_geo", m.geo);
	jw_obj_end(w);
	return 0;
}

/* ---- servers, skills, identity ---- */

static int
write_server(const struct json_at *at, struct json_w *w, struct err *e)
{
	static const char *const allowed[] = {"type", "name", "url", NULL};
	static const char *const types[] = {"url", NULL};
	struct json_at type = json_member(at, "type"), name = json_member(at, "name"),
		       url = json_member(at, "url");
	struct str n, u;
	int kind, r = json_closed(at, allowed, e);
	if (r == 0)
		r = json_want_enum(&type, types, &kind, e);
	if (r == 0)
		r = json_want_str(&name, 1, NAME_MAX_, &n, e);
	if (r == 0)
		r = json_want_str(&url, 1, URL_MAX, &u, e);
	if (r < 0)
		return r;
	if (!str_starts(u, STR("https://")) && !str_starts(u, STR("http://")))
		return json_fail(&url, e, "Input should be an http or https URL");
	jw_obj(w);
	jw_kz(w, "type", "url");
	jw_kstr(w, "name", n);
	jw_kstr(w, "url", u);
	jw_obj_end(w);
	return 0;
}

int
agent_part_mcp_servers(const struct json_at *at, struct json_w *w, struct err *e)
{
	size_t n = 0;
	int r = json_set(at) ? json_want_arr(at, LIM_AGENT_MCP, &n, e) : 0;
	jw_arr(w);
	for (size_t i = 0; r == 0 && i < n; i++) {
		struct json_at server = json_element(at, i);
		r = write_server(&server, w, e);
		if (r == 0)
			r = agent_unique(at, i, "name", e);
	}
	jw_arr_end(w);
	return r;
}

static int
write_skill(const struct json_at *at, struct json_w *w, struct err *e)
{
	static const char *const allowed[] = {"type", "skill_id", "version", NULL};
	static const char *const types[] = {"anthropic", "custom", NULL};
	struct json_at type = json_member(at, "type"), id = json_member(at, "skill_id"),
		       version = json_member(at, "version");
	struct str s, v = STR("latest");
	int kind, r = json_closed(at, allowed, e);
	if (r == 0)
		r = json_want_enum(&type, types, &kind, e);
	if (r == 0)
		r = json_want_str(&id, 1, SKILL_ID_MAX, &s, e);
	if (r == 0 && json_set(&version))
		r = json_want_str(&version, 1, SKILL_ID_MAX, &v, e);
	if (r < 0)
		return r;
	jw_obj(w);
	jw_kz(w, "type", types[kind]);
	jw_kstr(w, "skill_id", s);
	jw_kstr(w, "version", v);
	jw_obj_end(w);
	return 0;
}

int
agent_part_skills(const struct json_at *at, struct json_w *w, struct err *e)
{
	size_t n = 0;
	int r = json_set(at) ? json_want_arr(at, LIM_AGENT_SKILLS, &n, e) : 0;
	jw_arr(w);
	for (size_t i = 0; r == 0 && i < n; i++) {
		struct json_at skill = json_element(at, i);
		r = write_skill(&skill, w, e);
		if (r == 0)
			r = agent_unique(at, i, "skill_id", e);
	}
	jw_arr_end(w);
	return r;
}

int
agent_part_identity(const struct json_at *at, struct json_w *w, struct err *e)
{
	static const char *const plain[] = {"type", NULL};
	static const char *const with_arn[] = {"type", "role_arn", NULL};
	static const char *const types[] = {"service_account", "aws_role", NULL};
	struct json_at type = json_member(at, "type"), arn = json_member(at, "role_arn");
	struct str s = STR_NULL;
	int kind = 0, r = 0;
	if (json_set(at)) {
		r = json_want_obj(at, e);
		if (r == 0)
			r = json_want_enum(&type, types, &kind, e);
		if (r == 0)
			r = json_closed(at, kind == 1 ? with_arn : plain, e);
		if (r == 0 && kind == 1)
			r = json_want_str(&arn, 1, ARN_MAX, &s, e);
	}
	jw_obj(w);
	jw_kz(w, "type", types[kind]);
	if (kind == 1)
		jw_kstr(w, "role_arn", s);
	jw_obj_end(w);
	return r;
}

/* ---- tools ---- */

int
agent_part_policy(const struct json_at *config, const struct json_t *dflt, const char *policy,
	struct json_w *w, struct err *e)
{
	static const char *const types[] = {"always_allow", "always_ask", "auto", NULL};
	static const char *const allowed[] = {"type", NULL};
	struct json_at enabled = json_member(config, "enabled"),
		       at = json_member(config, "permission_policy"), type = json_member(&at, "type");
	bool on = json_bool(json_get(dflt, "enabled"), true);
	struct str name = json_get_str(json_get(dflt, "permission_policy"), "type");
	int kind = 0, r = json_set(&enabled) ? json_want_bool(&enabled, &on, e) : 0;
	if (r == 0 && json_set(&at)) {
		r = json_closed(&at, allowed, e);
		if (r == 0)
			r = json_want_enum(&type, types, &kind, e);
		name = str_z(types[kind]);
	}
	jw_kbool(w, "enabled", on);
	jw_key(w, "permission_policy");
	jw_obj(w);
	jw_kstr(w, "type", name.n > 0 ? name : str_z(policy));
	jw_obj_end(w);
	return r;
}

static bool
name_chars(struct str s)
{
	for (size_t i = 0; i < s.n; i++) {
		char c = s.p[i];
		if (!((c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') ||
			    c == '_' || c == '-'))
			return false;
	}
	return true;
}

static int
check_schema(const struct json_at *at, struct err *e)
{
	static const char *const types[] = {"object", NULL};
	struct json_at type = json_member(at, "type"), properties = json_member(at, "properties"),
		       required = json_member(at, "required");
	size_t n = 0;
	struct str s;
	int kind, r = json_want_obj(at, e);
	if (r == 0)
		r = json_want_enum(&type, types, &kind, e);
	if (r == 0 && json_set(&properties))
		r = json_want_obj(&properties, e);
	if (r == 0 && json_set(&required))
		r = json_want_arr(&required, SIZE_MAX, &n, e);
	for (size_t i = 0; r == 0 && i < n; i++) {
		struct json_at item = json_element(&required, i);
		r = json_want_str(&item, 0, LIM_TOOL_DESC, &s, e);
	}
	return r;
}

static int
write_custom(const struct json_at *at, struct json_w *w, struct err *e)
{
	static const char *const allowed[] = {"type", "name", "description", "input_schema", NULL};
	struct json_at name = json_member(at, "name"), text = json_member(at, "description"),
		       schema = json_member(at, "input_schema");
	struct str n, d;
	int r = json_closed(at, allowed, e);
	if (r == 0)
		r = json_want_str(&name, 1, LIM_TOOL_NAME, &n, e);
	if (r == 0 && !name_chars(n))
		r = json_fail(&name, e, "only letters, digits, underscores and hyphens are allowed");
	if (r == 0)
		r = json_want_str(&text, 1, LIM_TOOL_DESC, &d, e);
	if (r == 0)
		r = check_schema(&schema, e);
	if (r < 0)
		return r;
	jw_obj(w);
	jw_kz(w, "type", "custom");
	jw_kstr(w, "name", n);
	jw_kstr(w, "description", d);
	jw_kvalue(w, "input_schema", schema.v);
	jw_obj_end(w);
	return 0;
}

static int
write_mcp_configs(const struct json_at *at, const struct json_t *dflt, struct json_w *w, struct err *e)
{
	static const char *const allowed[] = {"name", "enabled", "permission_policy", NULL};
	size_t n = 0;
	int r = json_set(at) ? json_want_arr(at, LIM_AGENT_TOOLS, &n, e) : 0;
	jw_arr(w);
	for (size_t i = 0; r == 0 && i < n; i++) {
		struct json_at config = json_element(at, i), name = json_member(&config, "name");
		struct str s;
		r = json_closed(&config, allowed, e);
		if (r == 0)
			r = json_want_str(&name, 1, LIM_TOOL_NAME, &s, e);
		if (r == 0)
			r = agent_unique(at, i, "name", e);
		if (r < 0)
			break;
		jw_obj(w);
		jw_kstr(w, "name", s);
		r = agent_part_policy(&config, dflt, "always_ask", w, e);
		jw_obj_end(w);
	}
	jw_arr_end(w);
	return r;
}

int
agent_part_defaults(const struct json_at *toolset, const char *policy, struct json_w *w, struct json_t **out,
	struct err *e)
{
	static const char *const allowed[] = {"enabled", "permission_policy", NULL};
	struct json_at at = json_member(toolset, "default_config");
	AUTO(buf) struct buf b;
	buf_init(&b, 4096);
	struct json_w dw = json_w(&b);
	int r = json_set(&at) ? json_closed(&at, allowed, e) : 0;
	if (r < 0)
		return r;
	jw_obj(&dw);
	r = agent_part_policy(&at, NULL, policy, &dw, e);
	jw_obj_end(&dw);
	if (r == 0)
		r = buf_check(&b, e);
	if (r < 0)
		return r;
	jw_kraw(w, "default_config", buf_str(&b));
	return json_parse(buf_str(&b), out, e);
}

static int
write_mcp_toolset(const struct json_at *at, struct json_w *w, struct err *e)
{
	static const char *const allowed[] = {"type", "mcp_server_name", "default_config", "configs", NULL};
	AUTO(json) struct json_t *dflt = NULL;
	struct json_at name = json_member(at, "mcp_server_name"), configs = json_member(at, "configs");
	struct str s;
	int r = json_closed(at, allowed, e);
	if (r == 0)
		r = json_want_str(&name, 1, NAME_MAX_, &s, e);
	if (r < 0)
		return r;
	jw_obj(w);
	jw_kz(w, "type", "mcp_toolset");
	jw_kstr(w, "mcp_server_name", s);
	r = agent_part_defaults(at, "always_ask", w, &dflt, e);
	jw_key(w, "configs");
	if (r == 0)
		r = write_mcp_configs(&configs, dflt, w, e);
	else
		jw_null(w);
	jw_obj_end(w);
	return r;
}

int
agent_part_tools(const struct json_at *at, struct json_w *w, struct err *e)
{
	static const char *const types[] = {"agent_toolset_20260401", "mcp_toolset", "custom", NULL};
	static int (*const write[])(const struct json_at *, struct json_w *, struct err *) = {
		agent_part_toolset, write_mcp_toolset, write_custom};
	size_t n = 0;
	int r = json_set(at) ? json_want_arr(at, LIM_AGENT_TOOLS, &n, e) : 0;
	jw_arr(w);
	for (size_t i = 0; r == 0 && i < n; i++) {
		struct json_at tool = json_element(at, i), type = json_member(&tool, "type");
		int kind;
		r = json_want_obj(&tool, e);
		if (r == 0)
			r = json_want_enum(&type, types, &kind, e);
		if (r == 0)
			r = write[kind](&tool, w, e);
	}
	jw_arr_end(w);
	return r;
}
