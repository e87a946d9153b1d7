/* SPDX-License-Identifier: Apache-2.0 */
/* The built-in toolset and the settings of its web tools (contract §11.1). */
#include "base/limits.h"
#include "model/agent.h"
#include "model/agent_parts.h"
#include "model/domain.h"

#define DOMAINS_MAX      64
#define DOMAIN_MAX       255
#define SOURCE_TOOLS_MAX 128
#define PLACE_MAX        255

/* ---- domain lists ---- */

static int
check_domain(const struct json_at *list, size_t i, enum domain_kind kind, struct err *e)
{
	struct json_at at = json_element(list, i);
	struct str s;
	int r = json_want_str(&at, 1, DOMAIN_MAX, &s, e);
	if (r < 0)
		return r;
	const char *why = domain_refusal(s, kind);
	if (why != NULL)
		return json_fail(&at, e, "%s", why);
	for (size_t k = 0; k < i; k++) {
		if (domain_equal(json_str(json_at(list->v, k), STR_NULL), s))
			return json_fail(&at, e, "'%.*s' is given twice", STRF(str_sub(s, 0, 64)));
	}
	return 0;
}

static int
write_domains(const struct json_at *config, const char *key, bool search, struct json_w *w, struct err *e)
{
	struct json_at at = json_member(config, key);
	size_t n = 0;
	if (!json_set(&at))
		return 0;
	int r = json_want_arr(&at, DOMAINS_MAX, &n, e);
	if (r == 0 && n == 0)
		r = json_fail(
			&at, e, "Empty list of domains is ambiguous. Provide at least one domain or null.");
	for (size_t i = 0; r == 0 && i < n; i++)
		r = check_domain(&at, i, search ? DOMAIN_WEB_SEARCH : DOMAIN_WEB_FETCH, e);
	if (r == 0)
		jw_kvalue(w, key, at.v);
	return r;
}

/* ---- web_search: user_location ---- */

static int
check_place(const struct json_at *up, const char *key, struct err *e)
{
	struct json_at at = json_member(up, key);
	struct str s;
	return json_set(&at) ? json_want_str(&at, 1, PLACE_MAX, &s, e) : 0;
}

static int
check_country(const struct json_at *up, struct err *e)
{
	struct json_at at = json_member(up, "country");
	struct str s;
	int r = json_set(&at) ? json_want_str(&at, 1, PLACE_MAX, &s, e) : 0;
	if (r < 0 || !json_set(&at))
		return r;
	if (s.n != 2 || s.p[0] < 'A' || s.p[0] > 'Z' || s.p[1] < 'A' || s.p[1] > 'Z')
		return json_fail(&at, e, "not a country the search provider supports");
	return 0;
}

static int
write_location(const struct json_at *config, struct json_w *w, struct err *e)
{
	static const char *const allowed[] = {"type", "city", "region", "country", "timezone", NULL};
	static const char *const types[] = {"approximate", NULL};
	struct json_at at = json_member(config, "user_location"), type = json_member(&at, "type");
	int kind, r = 0;
	if (!json_set(&at))
		return 0;
	r = json_closed(&at, allowed, e);
	if (r == 0)
		r = json_want_enum(&type, types, &kind, e);
	if (r == 0)
		r = check_place(&at, "city", e);
	if (r == 0)
		r = check_place(&at, "region", e);
	if (r == 0)
		r = check_place(&at, "timezone", e);
	if (r == 0)
		r = check_country(&at, e);
	if (r == 0)
		jw_kvalue(w, "user_location", at.v);
	return r;
}

/* ---- web_fetch: url_sources ---- */

static const char *const source_types[] = {"all", "none", "only", "except", NULL};
enum { SOURCE_ALL, SOURCE_NONE, SOURCE_ONLY, SOURCE_EXCEPT };

static int
write_source_tools(const struct json_at *at, bool server, struct json_w *w, struct err *e)
{
	static const char *const allowed[] = {"type", "name", NULL};
	static const char *const types[] = {"tool_reference", NULL};
	static const char *const web[] = {"web_search", "web_fetch", NULL};
	size_t n = 0;
	int kind, r = json_want_arr(at, SOURCE_TOOLS_MAX, &n, e);
	if (r == 0 && n == 0)
		r = json_fail(at, e, "List should have at least 1 item");
	for (size_t i = 0; r == 0 && i < n; i++) {
		struct json_at ref = json_element(at, i), type = json_member(&ref, "type"),
			       name = json_member(&ref, "name");
		struct str s;
		r = json_closed(&ref, allowed, e);
		if (r == 0)
			r = json_want_enum(&type, types, &kind, e);
		if (r == 0)
			r = json_want_str(&name, 1, LIM_TOOL_NAME, &s, e);
		if (r == 0 && server)
			r = json_want_enum(&name, web, &kind, e);
		if (r == 0)
			r = agent_unique(at, i, "name", e);
	}
	if (r == 0)
		jw_kvalue(w, "tools", at->v);
	return r;
}

/* One of the three keys; `filter`: only and except are allowed. 1 when it is "none". */
static int
write_source(const struct json_at *sources, const char *key, bool filter, struct json_w *w, struct err *e)
{
	static const char *const two[] = {"all", "none", NULL};
	static const char *const plain[] = {"type", NULL};
	static const char *const with_tools[] = {"type", "tools", NULL};
	struct json_at at = json_member(sources, key), type = json_member(&at, "type"),
		       tools = json_member(&at, "tools");
	bool bare = json_kind(at.v) == JSON_STR;
	int kind, r;
	if (!json_set(&at)) {
		jw_knull(w, key);
		return 0;
	}
	r = bare ? json_want_enum(&at, two, &kind, e) : json_want_obj(&at, e);
	if (r == 0 && !bare)
		r = json_want_enum(&type, filter ? source_types : two, &kind, e);
	if (r == 0 && !bare)
		r = json_closed(&at, kind >= SOURCE_ONLY ? with_tools : plain, e);
	if (r < 0)
		return r;
	jw_key(w, key);
	jw_obj(w);
	jw_kz(w, "type", source_types[kind]);
	if (kind >= SOURCE_ONLY)
		r = write_source_tools(&tools, str_eqz(str_z(key), "server_tool_results"), w, e);
	jw_obj_end(w);
	return r < 0 ? r : kind == SOURCE_NONE;
}

static int
write_sources(const struct json_at *config, struct json_w *w, struct err *e)
{
	static const char *const allowed[] = {
		"user_input", "client_tool_results", "server_tool_results", NULL};
	struct json_at at = json_member(config, "url_sources");
	int none = 0;
	jw_key(w, "url_sources");
	if (!json_set(&at)) {
		jw_null(w);
		return 0;
	}
	int r = json_closed(&at, allowed, e);
	jw_obj(w);
	for (size_t i = 0; r >= 0 && i < 3; i++) {
		r = write_source(&at, allowed[i], i > 0, w, e);
		none += r > 0;
	}
	if (r >= 0)
		r = none == 3 ? json_fail(&at, e, "at least one source must not be 'none'") : 0;
	jw_obj_end(w);
	return r;
}

int
agent_part_web(const struct json_at *config, bool search, struct json_w *w, struct err *e)
{
	struct json_at allowed = json_member(config, "allowed_domains"),
		       blocked = json_member(config, "blocked_domains"),
		       tokens = json_member(config, "max_content_tokens");
	int64_t n;
	if (json_set(&allowed) && json_set(&blocked))
		return json_fail(config, e, "Only one of allowed_domains or blocked_domains may be set.");
	int r = write_domains(config, "allowed_domains", search, w, e);
	if (r == 0)
		r = write_domains(config, "blocked_domains", search, w, e);
	if (r == 0 && search)
		return write_location(config, w, e);
	if (r == 0 && json_set(&tokens)) {
		r = json_want_int(&tokens, 1, INT32_MAX, &n, e);
		jw_kvalue(w, "max_content_tokens", tokens.v);
	}
	return r < 0 ? r : write_sources(config, w, e);
}

/* ---- the toolset ---- */

static int
closed_config(const struct json_at *at, int tool, struct err *e)
{
	static const char *const plain[] = {"name", "type", "enabled", "permission_policy", NULL};
	static const char *const fetch[] = {"name", "type", "enabled", "permission_policy", "allowed_domains",
		"blocked_domains", "max_content_tokens", "url_sources", NULL};
	static const char *const search[] = {"name", "type", "enabled", "permission_policy",
		"allowed_domains", "blocked_domains", "user_location", NULL};
	if (tool == TOOL_WEB_FETCH)
		return json_closed(at, fetch, e);
	return json_closed(at, tool == TOOL_WEB_SEARCH ? search : plain, e);
}

static int
write_config(const struct json_at *at, const struct json_t *dflt, struct json_w *w, struct err *e)
{
	const char *names[TOOL_COUNT + 1] = {NULL};
	for (int i = 0; i < TOOL_COUNT; i++)
		names[i] = agent_tool_name((enum agent_tool)i);
	struct json_at name = json_member(at, "name"), type = json_member(at, "type");
	struct str s;
	int tool = 0, r = json_want_obj(at, e);
	if (r == 0)
		r = json_want_enum(&name, names, &tool, e);
	if (r == 0)
		r = closed_config(at, tool, e);
	if (r == 0 && json_set(&type)) {
		r = json_want_str(&type, 1, LIM_TOOL_NAME, &s, e);
		if (r == 0 && !str_eqz(s, names[tool]))
			r = json_fail(&type, e, "Input should be '%s', as the name", names[tool]);
	}
	if (r < 0)
		return r;
	jw_obj(w);
	jw_kz(w, "name", names[tool]);
	jw_kz(w, "type", names[tool]);
	r = agent_part_policy(at, dflt, "always_allow", w, e);
	if (r == 0 && (tool == TOOL_WEB_FETCH || tool == TOOL_WEB_SEARCH))
		r = agent_part_web(at, tool == TOOL_WEB_SEARCH, w, e);
	jw_obj_end(w);
	return r;
}

int
agent_part_toolset(const struct json_at *at, struct json_w *w, struct err *e)
{
	static const char *const allowed[] = {"type", "default_config", "configs", NULL};
	AUTO(json) struct json_t *dflt = NULL;
	struct json_at configs = json_member(at, "configs");
	size_t n = 0;
	int r = json_closed(at, allowed, e);
	if (r == 0 && json_set(&configs))
		r = json_want_arr(&configs, TOOL_COUNT, &n, e);
	if (r < 0)
		return r;
	jw_obj(w);
	jw_kz(w, "type", "agent_toolset_20260401");
	r = agent_part_defaults(at, "always_allow", w, &dflt, e);
	jw_key(w, "configs");
	jw_arr(w);
	for (size_t i = 0; r == 0 && i < n; i++) {
		struct json_at config = json_element(&configs, i);
		r = write_config(&config, dflt, w, e);
		if (r == 0)
			r = agent_unique(&configs, i, "name", e);
	}
	jw_arr_end(w);
	jw_obj_end(w);
	return r;
}
