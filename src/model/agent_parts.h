/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The parts of an agent's configuration: each function checks one member of the caller's document and writes
 * it normalised. ERR_INVALID naming the path; what was written before a failure is worthless. For this folder
 * only.
 */
#pragma once

#include "base/json.h"

/* `model`: string or object -> object. `keep` (may be NULL): the present model, whose effort stays when the
 * id stays and none is given. */
int agent_part_model(const struct json_at *at, const struct json_t *keep, struct json_w *w, struct err *e);
/* `mcp_servers`, `skills`: null is []. */
int agent_part_mcp_servers(const struct json_at *at, struct json_w *w, struct err *e);
int agent_part_skills(const struct json_at *at, struct json_w *w, struct err *e);
/* `execution_identity`: null is the service account. */
int agent_part_identity(const struct json_at *at, struct json_w *w, struct err *e);
/* `tools`: null is []. */
int agent_part_tools(const struct json_at *at, struct json_w *w, struct err *e);
/* One built-in toolset; one set of web settings of a `configs` entry (`search`: web_search). */
int agent_part_toolset(const struct json_at *at, struct json_w *w, struct err *e);
int agent_part_web(const struct json_at *config, bool search, struct json_w *w, struct err *e);
/* `multiagent`; `keep` (may be NULL): the present one, into which a multiagent_20261001 merges. */
int agent_part_multiagent(
	const struct json_at *at, const struct json_t *keep, struct json_w *w, struct err *e);

/* The members `enabled` and `permission_policy`, from `config`, else from `dflt` (a written default_config),
 * else true and `policy`. */
int agent_part_policy(const struct json_at *config, const struct json_t *dflt, const char *policy,
	struct json_w *w, struct err *e);

/* Writes `default_config` of a toolset, resolved, and gives it as a tree (caller frees) for the entries that
 * inherit. */
int agent_part_defaults(const struct json_at *toolset, const char *policy, struct json_w *w,
	struct json_t **out, struct err *e);

/* What concerns several members of a whole, normalised configuration: servers and toolsets, skills and read,
 * names. */
int agent_check(const struct json_t *config, struct err *e);

/* Fails when element `i` of the array `at` has the same string `key` as one before it. */
int agent_unique(const struct json_at *at, size_t i, const char *key, struct err *e);
