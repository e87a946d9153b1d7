/* SPDX-License-Identifier: Apache-2.0 */
/* Reading a snapshot: what the model is offered and what policy says about a call. */
#include "model/agent.h"

/* Texts of our own; members as the SDK's toolset declares them (contract §11.3). */
static const struct {
	const char *name;
	const char *description;
	const char *schema;
} builtins[TOOL_COUNT] = {
	[TOOL_BASH] = {"bash",
		"Runs a command in one persistent bash shell: working directory, variables and background "
		"jobs stay "
		"from call to call. Standard input is empty; standard error joins the output. Of long output "
		"only the "
		"end is kept. `timeout_ms` limits the call (120000 unless given, at most 600000); a call "
		"that runs into "
		"it loses the shell. `restart` begins with a fresh shell.",
		"{\"type\":\"object\",\"properties\":{\"command\":{\"type\":\"string\"},\"restart\":{"
		"\"type\":"
		"\"boolean\"},\"timeout_ms\":{\"type\":\"integer\"}}}"},
	[TOOL_READ] = {"read",
		"Reads a text file. `view_range` is [first line, last line], counted from 1; a last line of "
		"-1 means to "
		"the end. Use it for files over 256 KiB.",
		"{\"type\":\"object\",\"properties\":{\"file_path\":{\"type\":\"string\"},\"view_range\":{"
		"\"type\":"
		"\"array\",\"items\":{\"type\":\"integer\"}}},\"required\":[\"file_path\"]}"},
	[TOOL_WRITE] = {"write",
		"Writes a whole file, making missing directories and replacing what was there.",
		"{\"type\":\"object\",\"properties\":{\"file_path\":{\"type\":\"string\"},\"content\":{"
		"\"type\":"
		"\"string\"}},\"required\":[\"file_path\",\"content\"]}"},
	[TOOL_EDIT] = {"edit",
		"Replaces a piece of text in a file. `old_string` must occur exactly once, unless "
		"`replace_all` is set.",
		"{\"type\":\"object\",\"properties\":{\"file_path\":{\"type\":\"string\"},\"old_string\":{"
		"\"type\":"
		"\"string\"},\"new_string\":{\"type\":\"string\"},\"replace_all\":{\"type\":\"boolean\"}},"
		"\"required\":["
		"\"file_path\",\"old_string\",\"new_string\"]}"},
	[TOOL_GLOB] = {"glob",
		"Finds regular files by a relative pattern such as src/**/*.c, below `path` or the working "
		"directory; "
		"the newest 200 first.",
		"{\"type\":\"object\",\"properties\":{\"pattern\":{\"type\":\"string\"},\"path\":{\"type\":"
		"\"string\"}},"
		"\"required\":[\"pattern\"]}"},
	[TOOL_GREP] = {"grep",
		"Searches files for a regular expression, below `path` or the working directory; answers "
		"file:line:text.",
		"{\"type\":\"object\",\"properties\":{\"pattern\":{\"type\":\"string\"},\"path\":{\"type\":"
		"\"string\"}},"
		"\"required\":[\"pattern\"]}"},
	[TOOL_WEB_FETCH] = {"web_fetch", NULL, NULL},
	[TOOL_WEB_SEARCH] = {"web_search", NULL, NULL},
};

const char *
agent_tool_name(enum agent_tool t)
{
	return t < TOOL_COUNT ? builtins[t].name : "";
}

int
agent_tool_of(struct str name)
{
	for (int i = 0; i < TOOL_COUNT; i++) {
		if (str_eqz(name, builtins[i].name))
			return i;
	}
	return -1;
}

static int
policy_of(const struct json_t *config)
{
	struct str type = json_get_str(json_get(config, "permission_policy"), "type");
	if (str_eqz(type, "always_ask"))
		return 1;
	return str_eqz(type, "auto") ? 2 : 0;
}

/* The entry of that name in `configs`, else `default_config`. */
static const struct json_t *
config_of(const struct json_t *toolset, struct str name)
{
	const struct json_t *configs = json_get(toolset, "configs");
	for (size_t i = 0; i < json_len(configs); i++) {
		if (str_eq(json_get_str(json_at(configs, i), "name"), name))
			return json_at(configs, i);
	}
	return json_get(toolset, "default_config");
}

static void
judge_builtin(const struct json_t *toolset, struct str name, int tool, struct agent_verdict *v)
{
	const struct json_t *config = config_of(toolset, name);
	v->builtin = true;
	v->tool = (enum agent_tool)tool;
	v->policy = policy_of(config);
	/* without a schema there is nobody who could run it */
	v->enabled = builtins[tool].schema != NULL && json_bool(json_get(config, "enabled"), false);
}

struct agent_verdict
agent_judge(const struct json_t *snapshot, struct str tool_name)
{
	struct agent_verdict v = {0};
	int builtin = agent_tool_of(tool_name);
	const struct json_t *tools = json_get(snapshot, "tools");
	for (size_t i = 0; i < json_len(tools); i++) {
		const struct json_t *t = json_at(tools, i);
		struct str type = json_get_str(t, "type");
		if (builtin >= 0 && str_eqz(type, "agent_toolset_20260401")) {
			judge_builtin(t, tool_name, builtin, &v);
			return v;
		}
		if (str_eqz(type, "custom") && str_eq(json_get_str(t, "name"), tool_name)) {
			v.custom = v.enabled = true;
			return v;
		}
	}
	return v;
}

static void
write_custom(const struct json_t *t, struct json_w *w)
{
	jw_obj(w);
	jw_kstr(w, "name", json_get_str(t, "name"));
	jw_kstr(w, "description", json_get_str(t, "description"));
	jw_kvalue(w, "input_schema", json_get(t, "input_schema"));
	jw_obj_end(w);
}

static void
write_builtins(const struct json_t *toolset, struct json_w *w)
{
	for (int i = 0; i < TOOL_COUNT; i++) {
		struct agent_verdict v = {0};
		judge_builtin(toolset, str_z(builtins[i].name), i, &v);
		if (!v.enabled)
			continue;
		jw_obj(w);
		jw_kz(w, "name", builtins[i].name);
		jw_kz(w, "description", builtins[i].description);
		jw_kraw(w, "input_schema", str_z(builtins[i].schema));
		jw_obj_end(w);
	}
}

void
agent_model_tools(const struct json_t *snapshot, struct json_w *w)
{
	const struct json_t *tools = json_get(snapshot, "tools");
	jw_arr(w);
	for (size_t i = 0; i < json_len(tools); i++) {
		const struct json_t *t = json_at(tools, i);
		if (str_eqz(json_get_str(t, "type"), "custom"))
			write_custom(t, w);
		else if (str_eqz(json_get_str(t, "type"), "agent_toolset_20260401"))
			write_builtins(t, w);
	}
	jw_arr_end(w);
}
