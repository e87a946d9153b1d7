/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Agents: checking create and update bodies (contract §4, §10, §11.1, §20) and the normalised JSON that is
 * stored and returned.
 */
#pragma once

#include "base/arena.h"
#include "base/json.h"

/* A create body -> the configuration part of an agent object, normalised: name, description, model, system,
 * tools, mcp_servers, skills, multiagent, execution_identity, metadata. Written into `out` as one JSON
 * object. ERR_INVALID naming the path. */
int agent_parse_create(struct arena *a, const struct json_at *body, struct buf *out, struct err *e);

/* The same for an update of `current` (a configuration as written above). *version_given is 0 when the body
 * has none. */
int agent_parse_update(struct arena *a, const struct json_at *body, const struct json_t *current,
	struct buf *out, uint64_t *version_given, struct err *e);

struct agent_meta {
	struct str id;
	uint32_t version;
	uint64_t created_us, updated_us, archived_us;
};
/* Writes the API object: type, id, version, configuration, timestamps. */
void agent_render(const struct agent_meta *m, const struct json_t *config, struct json_w *w);

/* A session's resolved snapshot (no metadata, no timestamps), with the overrides of `agent_with_overrides`
 * applied (NULL: none). §6.2 */
int agent_snapshot(struct arena *a, const struct agent_meta *m, const struct json_t *config,
	const struct json_at *overrides, struct buf *out, struct err *e);

/* Session update {agent:{tools?,mcp_servers?}}: a new snapshot from the old one. */
int agent_snapshot_update(struct arena *a, const struct json_t *snapshot, const struct json_at *change,
	struct buf *out, struct err *e);

/* ---- reading a snapshot ---- */

enum agent_tool {
	TOOL_BASH,
	TOOL_READ,
	TOOL_WRITE,
	TOOL_EDIT,
	TOOL_GLOB,
	TOOL_GREP,
	TOOL_WEB_FETCH,
	TOOL_WEB_SEARCH,
	TOOL_COUNT
};
/* The static name of a built-in tool. */
const char *agent_tool_name(enum agent_tool t);
/* The enum agent_tool of a name, or -1. */
int agent_tool_of(struct str name);

struct agent_verdict {
	bool builtin, custom, mcp; /* kind; all false: no such tool */
	bool enabled;
	int policy;           /* 0 always_allow, 1 always_ask, 2 auto */
	enum agent_tool tool; /* with builtin */
};
/* What the policy of the snapshot says about a tool call by name. Web tools are never enabled while nobody
 * serves them. */
struct agent_verdict agent_judge(const struct json_t *snapshot, struct str tool_name);

/* The `tools` array of the Messages API: enabled built-ins with their schemas (never web tools while no gate
 * serves them) and custom tools. */
void agent_model_tools(const struct json_t *snapshot, struct json_w *w);
