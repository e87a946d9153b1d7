/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Environments: checking create and update bodies (contract §5) and their stored, normalised JSON {name,
 * description, config, metadata, scope?}.
 */
#pragma once

#include "base/arena.h"
#include "base/json.h"

/* ERR_INVALID naming the path. */
int environment_parse_create(struct arena *a, const struct json_at *body, struct buf *out, struct err *e);
int environment_parse_update(struct arena *a, const struct json_at *body, const struct json_t *current,
	struct buf *out, struct err *e);

struct environment_meta {
	struct str id;
	uint64_t created_us, updated_us, archived_us;
};
/* Writes the API object. */
void environment_render(const struct environment_meta *m, const struct json_t *config, struct json_w *w);

/* Whether an agent's snapshot may run under this config (contract §6.2): under limited networking its MCP
 * servers' hosts and its web tools' allowed domains must be reachable. ERR_INVALID. */
int environment_check_agent(const struct json_t *config, const struct json_t *snapshot, struct err *e);
