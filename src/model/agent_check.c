/* SPDX-License-Identifier: Apache-2.0 */
/* What concerns several members of a configuration at once. The walker starts at the normalised
 * configuration, whose paths are the caller's. */
#include "base/limits.h"
#include "model/agent.h"
#include "model/agent_parts.h"

static bool
is_type(const struct json_t *tool, const char *type)
{
	return str_eqz(json_get_str(tool, "type"), type);
}

/* ---- tools: numbers and names ---- */

static int
check_names(const struct json_at *tools, size_t i, struct err *e)
{
	struct json_at at = json_element(tools, i), name = json_member(&at, "name");
	struct str s = json_get_str(at.v, "name"), server = json_get_str(at.v, "mcp_server_name");
	bool toolset = is_type(at.v, "agent_toolset_20260401");
	for (size_t k = 0; k < i; k++) {
		const struct json_t *other = json_at(tools->v, k);
		if (!str_eq(json_get_str(other, "type"), json_get_str(at.v, "type")))
			continue;
		if (toolset)
			return json_fail(&at, e, "only one agent_toolset_20260401 is allowed");
		if (s.n > 0 && str_eq(json_get_str(other, "name"), s))
			return json_fail(&name, e, "'%.*s' is given twice", STRF(str_sub(s, 0, 64)));
		if (server.n > 0 && str_eq(json_get_str(other, "mcp_server_name"), server))
			return json_fail(&at, e, "the MCP server '%.*s' has two toolsets",
				STRF(str_sub(server, 0, 64)));
	}
	return 0;
}

static bool
has_toolset(const struct json_t *tools)
{
	for (size_t i = 0; i < json_len(tools); i++) {
		if (is_type(json_at(tools, i), "agent_toolset_20260401"))
			return true;
	}
	return false;
}

static int
check_tools(const struct json_at *tools, struct err *e)
{
	size_t count = 0;
	for (size_t i = 0; i < json_len(tools->v); i++) {
		struct json_at at = json_element(tools, i), name = json_member(&at, "name");
		int r = check_names(tools, i, e);
		if (r < 0)
			return r;
		if (is_type(at.v, "custom") && has_toolset(tools->v) &&
			agent_tool_of(json_get_str(at.v, "name")) >= 0)
			return json_fail(&name, e, "a built-in tool has this name");
		if (is_type(at.v, "agent_toolset_20260401"))
			count += TOOL_COUNT;
		else
			count += is_type(at.v, "custom") ? 1 : json_len(json_get(at.v, "configs"));
	}
	if (count > LIM_AGENT_TOOLS)
		return json_fail(tools, e, "at most %d tools over all toolsets are allowed", LIM_AGENT_TOOLS);
	return 0;
}

/* ---- MCP servers and toolsets ---- */

static bool
names_server(const struct json_t *list, const char *key, struct str name)
{
	for (size_t i = 0; i < json_len(list); i++) {
		if (str_eq(json_get_str(json_at(list, i), key), name))
			return true;
	}
	return false;
}

static int
check_servers(const struct json_at *tools, const struct json_at *servers, struct err *e)
{
	for (size_t i = 0; i < json_len(tools->v); i++) {
		struct json_at at = json_element(tools, i), name = json_member(&at, "mcp_server_name");
		struct str s = json_str(name.v, STR_NULL);
		if (s.n > 0 && !names_server(servers->v, "name", s))
			return json_fail(
				&name, e, "mcp_servers declares no server '%.*s'", STRF(str_sub(s, 0, 64)));
	}
	for (size_t i = 0; i < json_len(servers->v); i++) {
		struct json_at at = json_element(servers, i);
		struct str s = json_get_str(at.v, "name");
		if (!names_server(tools->v, "mcp_server_name", s))
			return json_fail(&at, e, "no mcp_toolset in tools references the server '%.*s'",
				STRF(str_sub(s, 0, 64)));
	}
	return 0;
}

/* ---- url_sources name custom tools of the same array ---- */

static bool
has_custom(const struct json_t *tools, struct str name)
{
	for (size_t i = 0; i < json_len(tools); i++) {
		if (is_type(json_at(tools, i), "custom") &&
			str_eq(json_get_str(json_at(tools, i), "name"), name))
			return true;
	}
	return false;
}

static int
check_source_names(const struct json_at *tools, const struct json_at *config, struct err *e)
{
	struct json_at sources = json_member(config, "url_sources"),
		       client = json_member(&sources, "client_tool_results"),
		       list = json_member(&client, "tools");
	for (size_t i = 0; i < json_len(list.v); i++) {
		struct json_at ref = json_element(&list, i), name = json_member(&ref, "name");
		struct str s = json_str(name.v, STR_NULL);
		if (!has_custom(tools->v, s))
			return json_fail(&name, e, "'%.*s' is not a custom tool of this agent",
				STRF(str_sub(s, 0, 64)));
	}
	return 0;
}

static int
check_sources(const struct json_at *tools, struct err *e)
{
	for (size_t i = 0; i < json_len(tools->v); i++) {
		struct json_at tool = json_element(tools, i), configs = json_member(&tool, "configs");
		for (size_t k = 0; k < json_len(configs.v); k++) {
			struct json_at config = json_element(&configs, k);
			int r = check_source_names(tools, &config, e);
			if (r < 0)
				return r;
		}
	}
	return 0;
}

/* ---- the rest ---- */

static int
check_skills(const struct json_t *config, const struct json_at *skills, struct err *e)
{
	if (json_len(skills->v) > 0 && !agent_judge(config, STR("read")).enabled)
		return json_fail(
			skills, e, "skills need the read tool of agent_toolset_20260401 to be enabled");
	return 0;
}

static int
check_reserved(const struct json_t *config, const struct json_at *tools, struct err *e)
{
	const struct json_t *workflows = json_get(json_get(config, "multiagent"), "workflows");
	if (!str_eqz(json_get_str(workflows, "type"), "enabled"))
		return 0;
	for (size_t i = 0; i < json_len(tools->v); i++) {
		struct json_at at = json_element(tools, i), name = json_member(&at, "name");
		if (str_starts(json_str(name.v, STR("")), STR("ant__")))
			return json_fail(&name, e,
				"names that begin with ant__ are reserved while workflows are enabled");
	}
	return 0;
}

int
agent_check(const struct json_t *config, struct err *e)
{
	struct json_at root = json_root(config), tools = json_member(&root, "tools"),
		       servers = json_member(&root, "mcp_servers"), skills = json_member(&root, "skills");
	int r = check_tools(&tools, e);
	if (r == 0)
		r = check_servers(&tools, &servers, e);
	if (r == 0)
		r = check_sources(&tools, e);
	if (r == 0)
		r = check_skills(config, &skills, e);
	return r < 0 ? r : check_reserved(config, &tools, e);
}
