/* SPDX-License-Identifier: Apache-2.0 */
/* Agents: what is taken, how it is normalised, the path and text of each refusal, updates, snapshots and
 * verdicts. */
#include "unit.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/limits.h"
#include "model/agent.h"
#include "model/domain.h"
#include "model/metadata.h"

static struct json_t *
tree(const char *json)
{
	struct json_t *v = NULL;
	struct err e = {0};
	if (json_parse(str_z(json), &v, &e) < 0)
		fail_msg("%s: %s", json, e.msg);
	return v;
}

static struct json_t *
tree_of(const struct buf *b)
{
	struct json_t *v = NULL;
	struct err e = {0};
	if (json_parse(buf_str(b), &v, &e) < 0)
		fail_msg("%.*s: %s", STRF(buf_str(b)), e.msg);
	return v;
}

static int
create(const char *json, struct json_t **out, struct err *e)
{
	AUTO(json) struct json_t *v = tree(json);
	AUTO(buf) struct buf b;
	buf_init(&b, LIM_HTTP_BODY);
	struct json_at root = json_root(v);
	*e = (struct err){0};
	int r = agent_parse_create(NULL, &root, &b, e);
	if (r == 0 && out != NULL)
		*out = tree_of(&b);
	return r;
}

static struct json_t *
created(const char *json)
{
	struct json_t *v = NULL;
	struct err e;
	if (create(json, &v, &e) < 0)
		fail_msg("%s: %s", json, e.msg);
	return v;
}

static struct json_t *
updated(const struct json_t *current, const char *json)
{
	AUTO(json) struct json_t *v = tree(json);
	AUTO(buf) struct buf b;
	struct err e = {0};
	uint64_t version = 0;
	buf_init(&b, LIM_HTTP_BODY);
	struct json_at root = json_root(v);
	if (agent_parse_update(NULL, &root, current, &b, &version, &e) < 0)
		fail_msg("%s: %s", json, e.msg);
	return tree_of(&b);
}

#define assert_json(v, want)                               \
	do {                                               \
		struct json_t *tree_ = tree(want);         \
		AUTO(buf) struct buf text_;                \
		buf_init(&text_, 1 * MIB);                 \
		json_dump(&text_, v);                      \
		if (!json_equal(v, tree_))                 \
			assert_str(buf_str(&text_), want); \
		json_free(tree_);                          \
	} while (0)

/* ---- normalising ---- */

static void
smallest(void **state)
{
	(void)state;
	struct json_t *v = created("{\"name\":\"A\",\"model\":\"m\"}");
	assert_json(v, "{\"name\":\"A\",\"description\":null,\"model\":{\"id\":\"m\",\"effort\":{\"type\":"
		       "\"high\"},\"speed\":\"standard\"},"
		       "\"system\":null,\"tools\":[],\"mcp_servers\":[],\"skills\":[],\"multiagent\":null,"
		       "\"execution_identity\":{\"type\":"
		       "\"service_account\"},\"metadata\":{}}");
	json_free(v);
}

static void
toolset_is_resolved(void **state)
{
	(void)state;
	struct json_t *v = created("{\"name\":\"A\",\"model\":{\"id\":\"m\",\"effort\":{\"type\":\"max\"},"
				   "\"inference_geo\":\"us\"},\"tools\":[{\"type\":"
				   "\"agent_toolset_20260401\",\"default_config\":{\"permission_policy\":{"
				   "\"type\":\"always_ask\"}},\"configs\":[{"
				   "\"name\":\"bash\",\"enabled\":false},{\"name\":\"web_fetch\",\"url_"
				   "sources\":{\"user_input\":\"all\"}}]}]}");
	assert_json(json_get(v, "tools"), "[{\"type\":\"agent_toolset_20260401\",\"default_config\":{"
					  "\"enabled\":true,\"permission_policy\":{\"type\":"
					  "\"always_ask\"}},\"configs\":[{\"name\":\"bash\",\"type\":"
					  "\"bash\",\"enabled\":false,\"permission_policy\":{"
					  "\"type\":\"always_ask\"}},{\"name\":\"web_fetch\",\"type\":\"web_"
					  "fetch\",\"enabled\":true,\"permission_policy\":{"
					  "\"type\":\"always_ask\"},\"url_sources\":{\"user_input\":{"
					  "\"type\":\"all\"},\"client_tool_results\":null,"
					  "\"server_tool_results\":null}}]}]");
	assert_json(json_get(v, "model"), "{\"id\":\"m\",\"effort\":{\"type\":\"max\"},\"speed\":"
					  "\"standard\",\"inference_geo\":\"us\"}");
	json_free(v);
	v = created("{\"name\":\"A\",\"model\":\"m\",\"mcp_servers\":[{\"type\":\"url\",\"name\":\"s\","
		    "\"url\":\"https://s.example\"}],"
		    "\"tools\":[{\"type\":\"mcp_toolset\",\"mcp_server_name\":\"s\",\"configs\":[{\"name\":"
		    "\"t\",\"enabled\":false}]},{"
		    "\"type\":\"agent_toolset_20260401\"}]}");
	assert_json(json_get(v, "tools"), "[{\"type\":\"mcp_toolset\",\"mcp_server_name\":\"s\",\"default_"
					  "config\":{\"enabled\":true,\"permission_policy\":{"
					  "\"type\":\"always_ask\"}},\"configs\":[{\"name\":\"t\","
					  "\"enabled\":false,\"permission_policy\":{\"type\":"
					  "\"always_ask\"}}]},{\"type\":\"agent_toolset_20260401\",\"default_"
					  "config\":{\"enabled\":true,\"permission_policy\":"
					  "{\"type\":\"always_allow\"}},\"configs\":[]}]");
	json_free(v);
}

static void
multiagent(void **state)
{
	(void)state;
	struct json_t *v = created("{\"name\":\"A\",\"model\":\"m\",\"multiagent\":{\"type\":\"multiagent_"
				   "20261001\",\"workflows\":null,\"subagents\":{"
				   "\"type\":\"disabled\"}}}");
	assert_json(json_get(v, "multiagent"), "{\"type\":\"multiagent_20261001\",\"advisor\":{\"type\":"
					       "\"disabled\"},\"subagents\":{\"type\":\"disabled\"},"
					       "\"workflows\":{\"type\":\"enabled\",\"inline_agents\":{"
					       "\"type\":\"enabled\"},\"predefined_agents\":[]}}");
	struct json_t *u = updated(v, "{\"multiagent\":{\"type\":\"multiagent_20261001\",\"workflows\":{"
				      "\"type\":\"enabled\",\"predefined_agents\":["
				      "\"agent_1\"]}}}");
	assert_json(json_get(u, "multiagent"), "{\"type\":\"multiagent_20261001\",\"advisor\":{\"type\":"
					       "\"disabled\"},\"subagents\":{\"type\":\"disabled\"},"
					       "\"workflows\":{\"type\":\"enabled\",\"inline_agents\":{"
					       "\"type\":\"enabled\"},\"predefined_agents\":[{\"type\":"
					       "\"agent\",\"id\":\"agent_1\",\"version\":0}]}}");
	struct json_t *c = updated(u, "{\"multiagent\":{\"type\":\"coordinator\",\"agents\":[{\"type\":"
				      "\"advisor\",\"model\":\"m\"},{\"type\":\"self\"}]}}");
	assert_json(json_get(c, "multiagent"), "{\"type\":\"coordinator\",\"agents\":[{\"type\":\"self\"},{"
					       "\"type\":\"advisor\",\"model\":\"m\"}]}");
	AUTO(buf) struct buf b;
	buf_init(&b, 1 * MIB);
	struct agent_meta meta = {.id = STR("agent_9"), .version = 4, .created_us = 1, .updated_us = 1};
	struct json_w w = json_w(&b);
	agent_render(&meta, c, &w);
	struct json_t *r = tree_of(&b);
	assert_json(json_get(r, "multiagent"), "{\"type\":\"coordinator\",\"agents\":[{\"type\":\"agent\","
					       "\"id\":\"agent_9\",\"version\":4},{\"type\":\"advisor\","
					       "\"model\":\"m\"}]}");
	json_free(r);
	json_free(c);
	json_free(u);
	json_free(v);
}

/* ---- refusals ---- */

#define BODY(rest)   "{\"name\":\"A\",\"model\":\"m\"," rest "}"
#define TOOLS(list)  BODY("\"tools\":[" list "]")
#define CONFIG(rest) TOOLS("{\"type\":\"agent_toolset_20260401\",\"configs\":[{" rest "}]}")
#define FETCH(rest)  CONFIG("\"name\":\"web_fetch\"," rest)
#define SEARCH(rest) CONFIG("\"name\":\"web_search\"," rest)
#define IP           "IP addresses are not supported; provide a plain hostname like \"example.com\""

static const struct {
	const char *json, *message;
} refusals[] = {
	{"[]", "Input should be a valid object"},
	{"{\"model\":\"m\"}", "name: Field required"},
	{"{\"name\":\"\",\"model\":\"m\"}", "name: String should have at least 1 character"},
	{"{\"name\":\"A\"}", "model: Field required"},
	{"{\"name\":\"A\",\"model\":{}}", "model.id: Field required"},
	{"{\"name\":\"A\",\"model\":{\"id\":\"m\",\"effort\":\"tiny\"}}",
		"model.effort: Input should be 'low', 'medium', 'high', 'xhigh' or 'max'"},
	{"{\"name\":\"A\",\"model\":{\"id\":\"m\",\"speed\":\"slow\"}}",
		"model.speed: Input should be 'standard' or 'fast'"},
	{BODY("\"version\":1"), "version: Extra inputs are not permitted"},
	{BODY("\"metadata\":{\"a\":1}"), "metadata: the value of a must be a string"},
	{BODY("\"execution_identity\":{\"type\":\"aws_role\"}"),
		"execution_identity.role_arn: Field required"},
	{BODY("\"skills\":[{\"type\":\"custom\",\"skill_id\":\"s\"}]"),
		"skills: skills need the read tool of agent_toolset_20260401 to be enabled"},
	{BODY("\"mcp_servers\":[{\"type\":\"url\",\"name\":\"s\",\"url\":\"https://s\"}]"),
		"mcp_servers.0: no mcp_toolset in tools references the server 's'"},
	{BODY("\"mcp_servers\":[{\"type\":\"url\",\"name\":\"s\",\"url\":\"https://"
	      "s\"},{\"type\":\"url\",\"name\":\"s\",\"url\":"
	      "\"https://s\"}]"),
		"mcp_servers.1.name: 's' is given twice"},
	{BODY("\"mcp_servers\":[{\"type\":\"url\",\"name\":\"s\",\"url\":\"ftp://s\"}]"),
		"mcp_servers.0.url: Input should be an http or https URL"},
	{TOOLS("{\"type\":\"mcp_toolset\",\"mcp_server_name\":\"s\"}"),
		"tools.0.mcp_server_name: mcp_servers declares no server 's'"},
	{TOOLS("{\"type\":\"x\"}"),
		"tools.0.type: Input should be 'agent_toolset_20260401', 'mcp_toolset' or 'custom'"},
	{TOOLS("{\"type\":\"agent_toolset_20260401\"},{\"type\":\"agent_toolset_20260401\"}"),
		"tools.1: only one agent_toolset_20260401 is allowed"},
	{TOOLS("{\"type\":\"custom\",\"name\":\"a "
	       "b\",\"description\":\"d\",\"input_schema\":{\"type\":\"object\"}}"),
		"tools.0.name: only letters, digits, underscores and hyphens are allowed"},
	{TOOLS("{\"type\":\"custom\",\"name\":\"a\",\"description\":\"d\",\"input_schema\":{\"type\":"
	       "\"array\"}}"),
		"tools.0.input_schema.type: Input should be 'object'"},
	{TOOLS("{\"type\":\"custom\",\"name\":\"a\",\"description\":\"d\",\"input_schema\":{\"type\":"
	       "\"object\"}},{\"type\":\"custom\","
	       "\"name\":\"a\",\"description\":\"d\",\"input_schema\":{\"type\":\"object\"}}"),
		"tools.1.name: 'a' is given twice"},
	{TOOLS("{\"type\":\"agent_toolset_20260401\"},{\"type\":\"custom\",\"name\":\"bash\",\"description\":"
	       "\"d\",\"input_schema\":{"
	       "\"type\":\"object\"}}"),
		"tools.1.name: a built-in tool has this name"},
	{BODY("\"multiagent\":{\"type\":\"multiagent_20261001\"},\"tools\":[{\"type\":\"custom\",\"name\":"
	      "\"ant__x\",\"description\":"
	      "\"d\",\"input_schema\":{\"type\":\"object\"}}]"),
		"tools.0.name: names that begin with ant__ are reserved while workflows are enabled"},
	{BODY("\"multiagent\":{\"type\":\"coordinator\",\"agents\":[]}"),
		"multiagent.agents: List should have at least 1 item"},
	{BODY("\"multiagent\":{\"type\":\"coordinator\",\"agents\":[\"a\",{\"type\":\"agent\",\"id\":\"a\"}]"
	      "}"),
		"multiagent.agents.1: the roster names this entry twice"},
	{BODY("\"multiagent\":{\"type\":\"multiagent_20261001\",\"subagents\":{\"type\":\"enabled\",\"inline_"
	      "agents\":{\"type\":"
	      "\"disabled\"}}}"),
		"multiagent.subagents: with inline agents disabled, predefined_agents must not be empty"},
	{CONFIG("\"name\":\"bash\",\"type\":\"read\""),
		"tools.0.configs.0.type: Input should be 'bash', as the name"},
	{CONFIG("\"name\":\"bash\",\"allowed_domains\":[\"a.com\"]"),
		"tools.0.configs.0.allowed_domains: Extra inputs are not permitted"},
	{CONFIG("\"name\":\"bash\"},{\"name\":\"bash\""), "tools.0.configs.1.name: 'bash' is given twice"},
	{FETCH("\"allowed_domains\":[\"a.com\"],\"blocked_domains\":[\"b.com\"]"),
		"tools.0.configs.0: Only one of allowed_domains or blocked_domains may be set."},
	{FETCH("\"allowed_domains\":[]"), "tools.0.configs.0.allowed_domains: Empty list of domains is "
					  "ambiguous. Provide at least one domain or null."},
	{FETCH("\"allowed_domains\":[\"1.2.3.4\"]"), "tools.0.configs.0.allowed_domains.0: " IP},
	{FETCH("\"allowed_domains\":[\"a.com\",\"A.com/\"]"),
		"tools.0.configs.0.allowed_domains.1: 'A.com/' is given twice"},
	{FETCH("\"max_content_tokens\":0"),
		"tools.0.configs.0.max_content_tokens: Input should be greater than or equal to 1"},
	{FETCH("\"url_sources\":{\"user_input\":\"none\",\"client_tool_results\":\"none\",\"server_tool_"
	       "results\":\"none\"}"),
		"tools.0.configs.0.url_sources: at least one source must not be 'none'"},
	{FETCH("\"url_sources\":{\"user_input\":{\"type\":\"only\",\"tools\":[]}}"),
		"tools.0.configs.0.url_sources.user_input.type: Input should be 'all' or 'none'"},
	{FETCH("\"url_sources\":{\"client_tool_results\":{\"type\":\"only\",\"tools\":[{\"type\":\"tool_"
	       "reference\",\"name\":\"x\"}]}}"),
		"tools.0.configs.0.url_sources.client_tool_results.tools.0.name: 'x' is not a custom tool of "
		"this agent"},
	{FETCH("\"url_sources\":{\"server_tool_results\":{\"type\":\"except\",\"tools\":[{\"type\":\"tool_"
	       "reference\",\"name\":\"bash\"}]}}"),
		"tools.0.configs.0.url_sources.server_tool_results.tools.0.name: Input should be "
		"'web_search' or 'web_fetch'"},
	{SEARCH("\"user_location\":{\"type\":\"approximate\",\"country\":\"de\"}"),
		"tools.0.configs.0.user_location.country: not a country the search provider supports"},
};

static void
refused(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(refusals); i++) {
		struct err e;
		assert_err(create(refusals[i].json, NULL, &e), e, ERR_INVALID);
		/* long paths are shortened at their start */
		const char *got = e.msg, *want = refusals[i].message;
		if (strncmp(got, "....", 4) == 0) {
			got += 4;
			want += strlen(want) > strlen(got) ? strlen(want) - strlen(got) : 0;
		}
		assert_string_equal(got, want);
	}
}

static void
tool_count(void **state)
{
	(void)state;
	AUTO(buf) struct buf b;
	struct err e;
	buf_init(&b, 1 * MIB);
	buf_put_z(&b, "{\"name\":\"A\",\"model\":\"m\",\"tools\":[{\"type\":\"agent_toolset_20260401\"}");
	for (int i = 0; i < 249; i++)
		buf_printf(&b,
			",{\"type\":\"custom\",\"name\":\"t%d\",\"description\":\"d\",\"input_schema\":{"
			"\"type\":\"object\"}}",
			i);
	buf_put_z(&b, "]}");
	buf_put_c(&b, 0);
	assert_err(create(b.p, NULL, &e), e, ERR_INVALID);
	assert_string_equal(e.msg, "tools: at most 256 tools over all toolsets are allowed");
}

/* ---- updates ---- */

static void
updates(void **state)
{
	(void)state;
	struct json_t *v = created("{\"name\":\"A\",\"model\":{\"id\":\"m\",\"effort\":\"low\",\"inference_"
				   "geo\":\"us\"},\"system\":\"s\",\"description\":"
				   "\"d\",\"metadata\":{\"a\":\"1\",\"b\":\"2\"},\"tools\":[{\"type\":"
				   "\"agent_toolset_20260401\"}]}");
	struct json_t *u = updated(v, "{}");
	assert_true(json_equal(u, v));
	json_free(u);
	u = updated(v, "{\"version\":3,\"model\":\"m\",\"system\":\"\",\"description\":null,\"metadata\":{"
		       "\"a\":null,\"c\":\"3\"},\"tools\":null}");
	assert_json(u, "{\"name\":\"A\",\"description\":null,\"model\":{\"id\":\"m\",\"effort\":{\"type\":"
		       "\"low\"},\"speed\":\"standard\"},"
		       "\"system\":null,\"tools\":[],\"mcp_servers\":[],\"skills\":[],\"multiagent\":null,"
		       "\"execution_identity\":{\"type\":"
		       "\"service_account\"},\"metadata\":{\"b\":\"2\",\"c\":\"3\"}}");
	json_free(u);
	u = updated(v, "{\"model\":{\"id\":\"other\"}}"); /* another model: the effort starts over */
	assert_json(json_get(u, "model"),
		"{\"id\":\"other\",\"effort\":{\"type\":\"high\"},\"speed\":\"standard\"}");
	json_free(u);
	static const char *const bad[] = {"{\"name\":null}", "{\"model\":null}", "{\"version\":0}",
		"{\"x\":1}", "{\"skills\":[{\"type\":\"custom\",\"skill_id\":\"s\"}],\"tools\":[]}"};
	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		AUTO(json) struct json_t *body = tree(bad[i]);
		AUTO(buf) struct buf b;
		struct err e = {0};
		uint64_t version;
		buf_init(&b, 1 * MIB);
		struct json_at root = json_root(body);
		assert_err(agent_parse_update(NULL, &root, v, &b, &version, &e), e, ERR_INVALID);
	}
	json_free(v);
}

/* ---- snapshots ---- */

static int
snapshot(const struct json_t *config, const char *overrides, struct json_t **out, struct err *e)
{
	AUTO(json) struct json_t *o = overrides != NULL ? tree(overrides) : NULL;
	AUTO(buf) struct buf b;
	buf_init(&b, 1 * MIB);
	struct agent_meta m = {.id = STR("agent_1"), .version = 7};
	struct json_at at = json_root(o);
	*e = (struct err){0};
	int r = agent_snapshot(NULL, &m, config, overrides != NULL ? &at : NULL, &b, e);
	if (r == 0)
		*out = tree_of(&b);
	return r;
}

#define OVERRIDE(rest) "{\"type\":\"agent_with_overrides\",\"id\":\"agent_1\"," rest "}"

static void
snapshots(void **state)
{
	(void)state;
	struct err e;
	struct json_t *s = NULL;
	struct json_t *v = created("{\"name\":\"A\",\"model\":{\"id\":\"m\",\"effort\":\"low\"},\"system\":"
				   "\"s\",\"metadata\":{\"a\":\"1\"},\"tools\":[{"
				   "\"type\":\"agent_toolset_20260401\"}],\"skills\":[{\"type\":\"custom\","
				   "\"skill_id\":\"k\"}]}");
	assert_int_equal(snapshot(v, NULL, &s, &e), 0);
	assert_int_equal(json_len(s), 12);
	assert_str(json_get_str(s, "type"), "agent");
	assert_str(json_get_str(s, "id"), "agent_1");
	assert_int_equal(json_get_int(s, "version", 0), 7);
	assert_null(json_get(s, "metadata"));
	json_free(s);
	assert_int_equal(
		snapshot(v,
			OVERRIDE("\"model\":{\"id\":\"n\",\"effort\":\"max\"},\"system\":null,\"skills\":[]"),
			&s, &e),
		0);
	assert_json(
		json_get(s, "model"), "{\"id\":\"n\",\"effort\":{\"type\":\"high\"},\"speed\":\"standard\"}");
	assert_int_equal(json_kind(json_get(s, "system")), JSON_NULL);
	assert_int_equal(json_len(json_get(s, "skills")), 0);
	assert_int_equal(json_len(json_get(s, "tools")), 1);
	AUTO(json) struct json_t *change = tree("{\"tools\":[]}");
	AUTO(buf) struct buf b;
	buf_init(&b, 1 * MIB);
	struct json_at at = json_root(change);
	assert_int_equal(agent_snapshot_update(NULL, s, &at, &b, &e), 0);
	json_free(s);
	s = tree_of(&b);
	assert_int_equal(json_len(json_get(s, "tools")), 0);
	assert_int_equal(json_len(s), 12);
	assert_str(json_get_str(s, "id"), "agent_1");
	json_free(s);
	assert_err(snapshot(v, OVERRIDE("\"model\":null"), &s, &e), e, ERR_INVALID);
	assert_string_equal(e.code, "agent_model_required");
	assert_err(snapshot(v, OVERRIDE("\"tools\":[]"), &s, &e), e, ERR_INVALID);
	assert_err(snapshot(v, OVERRIDE("\"name\":\"x\""), &s, &e), e, ERR_INVALID);
	json_free(v);
}

/* ---- verdicts and the model's tools ---- */

static void
verdicts(void **state)
{
	(void)state;
	struct json_t *v = created("{\"name\":\"A\",\"model\":\"m\",\"tools\":[{\"type\":\"custom\",\"name\":"
				   "\"weather\",\"description\":\"d\","
				   "\"input_schema\":{\"type\":\"object\"}},{\"type\":\"agent_toolset_"
				   "20260401\",\"default_config\":{\"permission_policy\":{"
				   "\"type\":\"auto\"}},\"configs\":[{\"name\":\"read\",\"permission_"
				   "policy\":{\"type\":\"always_allow\"}},{\"name\":"
				   "\"grep\",\"enabled\":false}]}]}");
	struct agent_verdict j = agent_judge(v, STR("bash"));
	assert_true(j.builtin && j.enabled && j.policy == 2 && j.tool == TOOL_BASH);
	j = agent_judge(v, STR("read"));
	assert_true(j.builtin && j.enabled && j.policy == 0 && j.tool == TOOL_READ);
	j = agent_judge(v, STR("grep"));
	assert_true(j.builtin && !j.enabled);
	j = agent_judge(v, STR("web_search")); /* configured, but nobody serves it */
	assert_true(j.builtin && !j.enabled);
	j = agent_judge(v, STR("weather"));
	assert_true(j.custom && j.enabled && !j.builtin);
	j = agent_judge(v, STR("other"));
	assert_false(j.custom || j.builtin || j.mcp);
	AUTO(buf) struct buf b;
	buf_init(&b, 1 * MIB);
	struct json_w w = json_w(&b);
	agent_model_tools(v, &w);
	struct json_t *t = tree_of(&b);
	assert_int_equal(json_len(t), 6);
	for (size_t i = 0; i < json_len(t); i++) {
		assert_true(json_get_str(json_at(t, i), "description").n > 0);
		assert_str(json_get_str(json_get(json_at(t, i), "input_schema"), "type"), "object");
	}
	json_free(t);
	json_free(v);
	assert_int_equal(agent_tool_of(STR("web_fetch")), TOOL_WEB_FETCH);
	assert_int_equal(agent_tool_of(STR("nope")), -1);
}

/* ---- domains ---- */

static const struct {
	const char *s;
	bool fetch, search, host;
} domain_cases[] = {
	{"example.com", true, true, true},
	{"Example.COM", true, true, true},
	{"a.b-c.example.org", true, true, true},
	{"example.com/", true, true, false},
	{"example.com/docs", false, true, false},
	{"example.com/a?b", false, false, false},
	{"example.com/a b", false, false, false},
	{"*.example.com", false, false, true},
	{"a.*.com", false, false, false},
	{"https://example.com", false, false, false},
	{"example.com:443", false, false, false},
	{"u@example.com", false, false, false},
	{"1.2.3.4", false, false, false},
	{"127.1", false, false, false},
	{"0x7f.1", false, false, false},
	{"0x7f000001", false, false, false},
	{"2130706433", false, false, false},
	{"[::1]", false, false, false},
	{"::1", false, false, false},
	{"localhost", false, false, true},
	{"x.localhost", false, false, true},
	{"printer.local", false, false, true},
	{"git.internal", false, false, true},
	{"a.localdomain", false, false, true},
	{"a.invalid", false, false, true},
	{"com", false, false, true},
	{"co.uk", false, false, true},
	{"bbc.co.uk", true, true, true},
	{"-a.com", false, false, false},
	{"a-.com", false, false, false},
	{"a..com", false, false, false},
	{"a.com.", false, false, false},
	{".a.com", false, false, false},
	{"", false, false, false},
	{"m\xc3\xbcller.de", false, false, false},
	{"xn--mller-kva.de", true, true, true},
};
static void
domains(void **state)
{
	(void)state;

	for (size_t i = 0; i < ARRAY_LEN(domain_cases); i++) {
		struct str s = str_z(domain_cases[i].s);
		if ((domain_refusal(s, DOMAIN_WEB_FETCH) == NULL) != domain_cases[i].fetch ||
			(domain_refusal(s, DOMAIN_WEB_SEARCH) == NULL) != domain_cases[i].search ||
			(domain_refusal(s, DOMAIN_HOST) == NULL) != domain_cases[i].host)
			fail_msg("%s", domain_cases[i].s);
	}
	assert_string_equal(domain_refusal(STR("127.1"), DOMAIN_WEB_FETCH), IP);
	assert_true(domain_equal(STR("A.com/"), STR("a.com")));
	assert_str(domain_host(STR("https://u:p@Host.example:8443/x?y")), "Host.example");
	assert_str(domain_host(STR("host.example/x")), "host.example");
	assert_true(domain_covers(STR("*.a.com"), STR("x.A.com")));
	assert_false(domain_covers(STR("*.a.com"), STR("a.com")));
	assert_false(domain_covers(STR("*.a.com"), STR("xa.com")));
	assert_false(domain_covers(STR("a.com"), STR("x.a.com")));
}

/* ---- metadata ---- */

static int
patch(const char *current, const char *json, bool empty_deletes, struct json_t **out, struct err *e)
{
	AUTO(json) struct json_t *now = tree(current);
	AUTO(json) struct json_t *v = tree(json);
	AUTO(buf) struct buf b;
	buf_init(&b, 1 * MIB);
	struct json_w w = json_w(&b);
	struct json_at at = json_root(v);
	*e = (struct err){0};
	int r = metadata_patch(&at, now, empty_deletes, &w, e);
	if (r == 0)
		*out = tree_of(&b);
	return r;
}

static void
metadata(void **state)
{
	(void)state;
	struct json_t *v;
	struct err e;
	assert_int_equal(
		patch("{\"a\":\"1\",\"b\":\"2\"}", "{\"a\":null,\"b\":\"\",\"c\":\"3\"}", false, &v, &e), 0);
	assert_json(v, "{\"b\":\"\",\"c\":\"3\"}");
	json_free(v);
	assert_int_equal(
		patch("{\"a\":\"1\",\"b\":\"2\"}", "{\"a\":null,\"b\":\"\",\"c\":\"3\"}", true, &v, &e), 0);
	assert_json(v, "{\"c\":\"3\"}");
	json_free(v);
	assert_int_equal(patch("{\"a\":\"1\"}", "null", false, &v, &e), 0);
	assert_json(v, "{\"a\":\"1\"}");
	json_free(v);
	assert_err(patch("{}", "{\"\":\"1\"}", false, &v, &e), e, ERR_INVALID);
	assert_string_equal(e.code, "invalid_metadata");
	assert_err(patch("{}", "{\"a\":{}}", false, &v, &e), e, ERR_INVALID);
	assert_err(patch("{}", "[]", false, &v, &e), e, ERR_INVALID);
	const char *full = "{\"0\":\"\",\"1\":\"\",\"2\":\"\",\"3\":\"\",\"4\":\"\",\"5\":\"\",\"6\":\"\","
			   "\"7\":\"\",\"8\":\"\","
			   "\"9\":\"\",\"a\":\"\",\"b\":\"\",\"c\":\"\",\"d\":\"\",\"e\":\"\",\"f\":\"\"}";
	assert_err(patch(full, "{\"g\":\"\"}", false, &v, &e), e, ERR_INVALID);
	assert_int_equal(patch(full, "{\"g\":\"\",\"0\":null}", false, &v, &e), 0);
	assert_int_equal(json_len(v), 16);
	json_free(v);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(smallest),
		cmocka_unit_test(toolset_is_resolved),
		cmocka_unit_test(multiagent),
		cmocka_unit_test(refused),
		cmocka_unit_test(tool_count),
		cmocka_unit_test(updates),
		cmocka_unit_test(snapshots),
		cmocka_unit_test(verdicts),
		cmocka_unit_test(domains),
		cmocka_unit_test(metadata),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
