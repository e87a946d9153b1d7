/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From actions to rows. plan_advance runs turn_next in a loop on a copy of the state: actions that only
 * append (start a turn, take queued events, open a request, deny, go idle, resume) become rows and are folded
 * in at once; it stops at the first action that needs the outside (a request to make, tools to run, a time to
 * wait for, an interrupt to carry out, nothing). One batch, one commit. Also the bodies of the rows that
 * report what happened outside.
 */
#pragma once

#include "base/arena.h"
#include "model/client_event.h"
#include "model/session.h"

#define PLAN_ROWS_MAX 768 /* more than the rows of the largest response and its denials */

struct plan {
	struct arena *arena; /* owns bodies */
	struct event_row rows[PLAN_ROWS_MAX];
	size_t n_rows;
	struct turn_action then; /* what to do when the rows are durable */
};

/* Fills `p` from the state; the state itself is not changed. `now_us` stamps the rows. When p->rows is nearly
 * full it stops early: `then` is an action that only appends, and the caller comes again when the rows are
 * durable. Rows name each other by seq, counted on from s->turn.last_seq: append them with expect_seq.
 * ERR_NO_MEMORY, ERR_TOO_LARGE. */
int plan_advance(struct plan *p, const struct session_state *s, uint64_t now_us, struct err *e);

/* Goes on from the state that `s` will have after the rows already in `p`: plan_advance in the same batch. */
int plan_extend(struct plan *p, const struct session_state *s, uint64_t now_us, struct err *e);

/* The events of one request, all or nothing: each is judged by turn_accepts after those before it, together
 * with the rules that concern several. Adds their rows; plan_extend may follow, so that one commit both
 * acknowledges and starts. Errors begin "events.N: ". */
int plan_client_events(struct plan *p, const struct session_state *s, const struct client_event *ev, size_t n,
	uint64_t now_us, struct err *e);

/* Rows that answer what happened outside. Each appends to `p` (whose arena is set) and fills body and facts;
 * the caller runs plan_advance after they are durable, or through plan_extend at once. */

/* A response of the model, as the stream parser collected it (see model/response.h). Adds agent.thinking,
 * agent.message, agent.tool_use … in the order of the blocks, then span.model_request_end. Ids of messages
 * and tool uses that were previewed are used as given. */
struct model_response;
int plan_response(struct plan *p, const struct session_state *s, const struct model_response *r,
	uint64_t now_us, struct err *e);

struct plan_failure {
	enum model_end end;     /* ERROR, FATAL, INTERRUPTED or LOST */
	const char *error_type; /* "model_overloaded_error" …; NULL: no session.error row */
	const char *message;
	uint64_t retry_after_us; /* the model's wish, or 0 */
};
/* A failed request: span end with is_error, then session.error (+ rescheduled events when it will be retried,
 * or exhausted). */
int plan_failure(struct plan *p, const struct session_state *s, const struct plan_failure *f, uint64_t now_us,
	struct err *e);

/* agent.tool_result. `text` is what the tool said ("(no output)" replaces an empty one). */
int plan_tool_result(struct plan *p, const struct session_state *s, const struct turn_tool *tool,
	struct str text, bool is_error, uint64_t now_us, struct err *e);

/* The interrupt: results for open tools, span end when one is open, PROCESSED of the interrupt(s), idle rows.
 */
int plan_interrupt(struct plan *p, const struct session_state *s, uint64_t now_us, struct err *e);

/* Goes on from the rows already in `p`: folds them into a copy and continues as plan_advance. */
int plan_extend(struct plan *p, const struct session_state *s, uint64_t now_us, struct err *e);

/* Archive: thread_status_terminated, status_terminated, ARCHIVED. The session must not be busy (checked:
 * ERR_INVALID). */
int plan_archive(struct plan *p, const struct session_state *s, uint64_t now_us, struct err *e);
