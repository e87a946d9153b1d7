/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Making rows, for plan.c and plan_outside.c only. A planner folds every row it makes over its own copy of
 * the figures (turn and numbers), so that each row is made from the state that the rows before it lead to.
 * Rows know their seq before the store assigns it, because batches are appended only where they were planned.
 */
#pragma once

#include "model/plan.h"

struct planner {
	struct plan *p;
	struct session_state s; /* owns its turn; strings are borrowed */
	uint64_t now;
	struct buf body;
	struct json_w w;
	struct err *e;
	int rc; /* sticky; after a failure every call does nothing */
};

/* Rows kept free for what one step may add at its end: idle rows and the error before them. */
#define PLANNER_ROOM 8

/* Begins after the rows that `p` has already. */
void planner_init(
	struct planner *pl, struct plan *p, const struct session_state *s, uint64_t now_us, struct err *e);
/* Frees and returns rc. */
int planner_done(struct planner *pl);
size_t planner_room(const struct planner *pl);

/* One row: planner_row opens its body and gives it an id (`id` unless NULL), members are written to pl->w,
 * planner_row_end folds it. NULL after a failure. */
struct event_row *planner_row(struct planner *pl, enum event_type type, const struct id *id);
void planner_row_end(struct planner *pl, struct event_row *row);
/* A finished row of the caller's making. */
void planner_add(struct planner *pl, const struct event_row *row);

/* Whole rows. planner_plain has no members, planner_thread names the primary thread. */
void planner_plain(struct planner *pl, enum event_type type);
void planner_thread(struct planner *pl, enum event_type type);
void planner_processed(struct planner *pl, uint32_t seq);
void planner_error(struct planner *pl, const char *type, const char *message, enum retry_status retry,
	uint64_t until_us);
/* `tool` must not lie in pl->s.turn: the row closes it there. */
void planner_tool_result(struct planner *pl, const struct turn_tool *tool, struct str text, bool is_error);
/* Error results for the tools that policy or the client denied, as many as there is room for. */
void planner_deny_tools(struct planner *pl);

struct planner_refusal {
	struct str category, explanation;
};
/* The rows that end a turn; `why` (may be NULL) with STOP_REFUSAL. */
void planner_idle(struct planner *pl, enum stop_reason stop, const struct planner_refusal *why);

/* span.model_request_end of the open request; `r` gives the usage, or NULL. */
struct model_response;
void planner_request_end(struct planner *pl, enum model_end end, const struct model_response *r);
