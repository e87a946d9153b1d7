/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Events as clients send them: shape checks (contract §9.2) and the stored body. State checks are
 * turn_accepts.
 */
#pragma once

#include "base/arena.h"
#include "base/json.h"
#include "model/event.h"

struct client_event {
	enum event_type type;
	struct str ref_id;  /* tool_use_id / custom_tool_use_id */
	struct str thread;  /* user.interrupt's session_thread_id, or empty */
	uint8_t permission; /* confirmation */
	bool is_error;
	struct id id;    /* new */
	struct str body; /* stored JSON, in the arena */
	size_t n_files;  /* file ids named by content blocks, for existence checks */
	struct str *files;
};

/* Checks one member of `events` (or initial_events when `initial`). ERR_INVALID naming the path. */
int client_event_parse(struct arena *a, const struct json_at *at, bool initial, uint64_t now_us,
	struct client_event *out, struct err *e);

/* The row for the log; `ref` from turn_accepts. */
void client_event_row(const struct client_event *c, uint32_t ref, uint64_t now_us, struct event_row *out);
