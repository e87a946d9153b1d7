/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The turn machine of one thread: fold(events) -> state, next(state) -> action. Pure: no I/O, no clock, no
 * randomness. The brain executes actions and appends what happened; killing it anywhere loses nothing,
 * because another one folds the same rows and gets the same action.
 *
 *                   work queued                  wants model
 *        +------+  START_TURN   +---------+  REQUEST_MODEL   +-----------------+
 *   ---->| IDLE |-------------->| RUNNING |----------------->| RUNNING, request|--- text only:
 * GO_IDLE(end_turn)
 *        +------+<--------------|         |<-----------------|  open           |--- tools: RUN_TOOLS ->
 * results -> wants model ^      GO_IDLE      +---------+    span end      +-----------------+--- error:
 * RETRYING -> RESCHEDULING -> REQUEST_MODEL |  (end_turn, requires_action,           | |   retries_exhausted,
 * refusal)          +-- open asks / custom tools only: GO_IDLE(requires_action) TERMINATED: archive or fatal
 * error; nothing follows
 *
 * Invariants: (1) at most one open request; (2) tools are open only while no request is open; (3) wants_model
 * is false while tools are open; (4) an interrupt outranks everything; (5) TERMINATED is final; (6) an open
 * tool use is answered exactly once.
 */
#pragma once

#include "base/limits.h"
#include "model/event.h"

enum turn_status { TURN_IDLE, TURN_RUNNING, TURN_RESCHEDULING, TURN_TERMINATED };

enum turn_tool_kind { TURN_TOOL_BUILTIN, TURN_TOOL_MCP, TURN_TOOL_CUSTOM };

/* An unanswered tool use of the latest response. */
struct turn_tool {
	uint32_t seq;
	uint8_t kind;       /* enum turn_tool_kind */
	uint8_t permission; /* as evaluated */
	uint8_t verdict;    /* PERM_NONE, or the client's PERM_ALLOW / PERM_DENY, once processed */
	struct id id;
	struct str deny; /* the client's deny_message, owned; p == NULL: none */
};

/* A client event not yet processed. */
struct turn_queued {
	uint32_t seq;
	uint32_t ref; /* confirmation: seq of the tool use */
	uint8_t type;
	uint8_t permission;
};

struct turn {
	enum turn_status status;
	uint32_t last_seq;
	uint32_t request_seq; /* open span.model_request_start, or 0 */
	struct id request_id;
	bool wants_model;
	bool refused_round;   /* LIM_TOOL_ROUNDS reached */
	uint8_t stop;         /* last idle's reason */
	uint8_t pending_stop; /* why the next GO_IDLE happens, or STOP_NONE */
	uint32_t rounds;      /* model requests in this turn */
	uint32_t tries;       /* failed tries of the present request */
	uint64_t retry_at_us;
	bool restate; /* idle with requires_action, and what it waits for has changed since it said so */
	uint32_t n_tools, cap_tools;
	struct turn_tool *tools; /* owned; the open tools in the order of their events */
	uint32_t n_queued, cap_queued;
	struct turn_queued *queued; /* owned */
};

enum turn_action_kind {
	ACT_NONE,        /* nothing to do before a client or the clock acts */
	ACT_START_TURN,  /* idle -> running: append status_running, thread_status_running; TAKE_QUEUED follows
			  */
	ACT_TAKE_QUEUED, /* append PROCESSED of the queued client events, in order, while no model request is
			    open */
	ACT_REQUEST_MODEL,    /* append span.model_request_start, then make the request */
	ACT_CONTINUE_REQUEST, /* the span is open: its request is in flight; who finds none in flight appends
				 its end as LOST */
	ACT_RUN_TOOLS,        /* run (or collect) every open tool that is allowed and not being run */
	ACT_DENY_TOOLS,       /* append error results for open tools that were denied */
	ACT_WAIT_UNTIL, /* rescheduling: nothing before retry_at_us, then status_running and the request again
			 */
	ACT_RESUME,     /* rescheduling and the time has come: append status_running (+ thread), then
			   REQUEST_MODEL */
	ACT_GO_IDLE,    /* append thread_status_idle, session.usage, session.status_idle with `stop`; already
			   idle: what it waits for again */
	ACT_INTERRUPT,  /* stop what is in flight, answer open tools with the interruption text, PROCESSED of
			   the interrupt, idle */
};

struct turn_action {
	enum turn_action_kind kind;
	enum stop_reason stop; /* GO_IDLE */
	uint64_t at_us;        /* WAIT_UNTIL */
};

/* An idle, empty thread. */
void turn_init(struct turn *t);
void turn_done(struct turn *t);
/* Deep copy into an uninitialised `to`. ERR_NO_MEMORY. */
int turn_copy(struct turn *to, const struct turn *from, struct err *e);

/* Folds one row in (rows come in seq order, each once). ERR_CORRUPT when the row cannot follow the state: the
 * log is broken or our own bug. ERR_NO_MEMORY. */
int turn_fold(struct turn *t, const struct event_row *row, struct err *e);

/* What is to be done now. `now_us` decides only between WAIT_UNTIL and RESUME. */
struct turn_action turn_next(const struct turn *t, uint64_t now_us);

/* True while turn_next is not ACT_NONE, or the status is running or rescheduling: what GET shows as "running"
 * (queued work counts at once). A terminated thread is never busy. */
bool turn_busy(const struct turn *t);

/* Whether a client may append this event now; ERR_INVALID with the API's message, ERR_RATE_LIMITED when
 * LIM_QUEUED_EVENTS wait already. `ref_id`: tool_use_id of a confirmation or result, else empty; on success
 * *ref is the seq it names, or 0. Contract §9.2. For several events of one request use plan_client_events,
 * which judges each one after those before it. */
int turn_accepts(const struct turn *t, enum event_type type, struct str ref_id, uint32_t *ref, struct err *e);

/* The open tool of that event id or seq, or NULL. */
const struct turn_tool *turn_tool_by_id(const struct turn *t, struct str id);
const struct turn_tool *turn_tool_by_seq(const struct turn *t, uint32_t seq);
/* True when the tool may run now: built-in or MCP, allowed by policy or by the client. */
bool turn_tool_runnable(const struct turn_tool *tool);
/* True when policy or the client denied it: it gets an error result. */
bool turn_tool_denied(const struct turn_tool *tool);
/* True when the client must act first: a custom tool, or an ask without verdict. */
bool turn_tool_waits(const struct turn_tool *tool);

/* For the snapshot codec: append a copy. ERR_NO_MEMORY. */
int turn_tool_push(struct turn *t, const struct turn_tool *tool, struct err *e);
int turn_queue_push(struct turn *t, const struct turn_queued *q, struct err *e);
