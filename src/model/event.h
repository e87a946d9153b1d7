/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Events: the rows of a session's log. A row is immutable. `body` is the JSON object that clients see,
 * without `processed_at`; `facts` is the small record that the fold reads; `private_` is what only the brain
 * needs (signed thinking blocks, the model's own tool ids). When a queued client event is processed, an
 * internal row (EV_PROCESSED) says so; the renderers splice the time in.
 *
 * Rows of types whose name begins "pinfold." are internal: hashed, folded, never listed or streamed.
 */
#pragma once

#include "base/buf.h"
#include "base/err.h"
#include "base/id.h"
#include "base/str.h"

/* who may append it; whether a client event waits in the queue until it is processed (QUEUED) or is processed
 * on receipt */
enum event_class { EVENT_CLIENT_QUEUED, EVENT_CLIENT_NOW, EVENT_SERVER, EVENT_INTERNAL };

/*	kind, wire name, class, the fold reads its body. Their numbers are stored: new kinds go to the end. */
#define EVENT_TYPES(X)                                                                            \
	X(USER_MESSAGE, "user.message", EVENT_CLIENT_QUEUED, false)                               \
	X(USER_INTERRUPT, "user.interrupt", EVENT_CLIENT_QUEUED, false)                           \
	X(USER_TOOL_CONFIRMATION, "user.tool_confirmation", EVENT_CLIENT_QUEUED, true)            \
	X(USER_CUSTOM_TOOL_RESULT, "user.custom_tool_result", EVENT_CLIENT_NOW, false)            \
	X(USER_TOOL_RESULT, "user.tool_result", EVENT_CLIENT_NOW, false)                          \
	X(USER_DEFINE_OUTCOME, "user.define_outcome", EVENT_CLIENT_NOW, false)                    \
	X(SYSTEM_MESSAGE, "system.message", EVENT_CLIENT_QUEUED, false)                           \
	X(AGENT_MESSAGE, "agent.message", EVENT_SERVER, false)                                    \
	X(AGENT_THINKING, "agent.thinking", EVENT_SERVER, false)                                  \
	X(AGENT_TOOL_USE, "agent.tool_use", EVENT_SERVER, false)                                  \
	X(AGENT_TOOL_RESULT, "agent.tool_result", EVENT_SERVER, false)                            \
	X(AGENT_MCP_TOOL_USE, "agent.mcp_tool_use", EVENT_SERVER, false)                          \
	X(AGENT_MCP_TOOL_RESULT, "agent.mcp_tool_result", EVENT_SERVER, false)                    \
	X(AGENT_CUSTOM_TOOL_USE, "agent.custom_tool_use", EVENT_SERVER, false)                    \
	X(SESSION_STATUS_RUNNING, "session.status_running", EVENT_SERVER, false)                  \
	X(SESSION_STATUS_IDLE, "session.status_idle", EVENT_SERVER, false)                        \
	X(SESSION_STATUS_RESCHEDULED, "session.status_rescheduled", EVENT_SERVER, false)          \
	X(SESSION_STATUS_TERMINATED, "session.status_terminated", EVENT_SERVER, false)            \
	X(SESSION_ERROR, "session.error", EVENT_SERVER, false)                                    \
	X(SESSION_UPDATED, "session.updated", EVENT_SERVER, true)                                 \
	X(SESSION_USAGE, "session.usage", EVENT_SERVER, false)                                    \
	X(THREAD_STATUS_RUNNING, "session.thread_status_running", EVENT_SERVER, false)            \
	X(THREAD_STATUS_IDLE, "session.thread_status_idle", EVENT_SERVER, false)                  \
	X(THREAD_STATUS_RESCHEDULED, "session.thread_status_rescheduled", EVENT_SERVER, false)    \
	X(THREAD_STATUS_TERMINATED, "session.thread_status_terminated", EVENT_SERVER, false)      \
	X(SPAN_MODEL_REQUEST_START, "span.model_request_start", EVENT_SERVER, false)              \
	X(SPAN_MODEL_REQUEST_END, "span.model_request_end", EVENT_SERVER, false)                  \
	X(CREATED, "pinfold.session_created", EVENT_INTERNAL, true) /* always seq 1 */            \
	X(PROCESSED, "pinfold.processed", EVENT_INTERNAL, false)    /* ref: the client event */   \
	X(RESOURCE_ADDED, "pinfold.resource_added", EVENT_INTERNAL, true)                         \
	X(RESOURCE_REMOVED, "pinfold.resource_removed", EVENT_INTERNAL, true)                     \
	X(SANDBOX, "pinfold.sandbox", EVENT_INTERNAL, false) /* started, lost: operator's view */ \
	X(ARCHIVED, "pinfold.archived", EVENT_INTERNAL, false)

enum event_type {
	EV_NONE = 0,
#define X(kind, name, class, body) EV_##kind,
	EVENT_TYPES(X)
#undef X
		EV_COUNT
};

/* Wire name (static), class and "the fold needs the body" of a type. event_type_of gives EV_NONE for unknown
 * names. */
const char *event_name(enum event_type t);
enum event_class event_class(enum event_type t);
bool event_body_folds(enum event_type t);
enum event_type event_type_of(struct str name);
/* True for what clients may list and stream. */
bool event_listed(enum event_type t);

enum permission { PERM_NONE, PERM_ALLOW, PERM_ASK, PERM_DENY };
enum stop_reason {
	STOP_NONE,
	STOP_END_TURN,
	STOP_REQUIRES_ACTION,
	STOP_RETRIES_EXHAUSTED,
	STOP_BUDGET_REACHED,
	STOP_REFUSAL
};
enum retry_status { RETRY_NONE, RETRY_RETRYING, RETRY_EXHAUSTED, RETRY_TERMINAL };

/* How a model request ended (facts of SPAN_MODEL_REQUEST_END). */
enum model_end {
	MODEL_END_NONE,
	MODEL_END_TURN,  /* the model is done */
	MODEL_END_TOOLS, /* it asked for tools */
	MODEL_END_MAX,   /* max_tokens reached: counts as done */
	MODEL_END_REFUSAL,
	MODEL_END_ERROR, /* failed; may be retried */
	MODEL_END_FATAL, /* failed; a retry cannot help */
	MODEL_END_INTERRUPTED,
	MODEL_END_LOST, /* the process that made it died; repeated without counting as a try */
};

/* The fixed record of the fold. Unused members are 0. `ref` is the seq of the event this one answers (tool
 * use of a result, start of a span end, client event of PROCESSED). Encoded little endian, EVENT_FACTS_BYTES,
 * with a version byte first. */
struct event_facts {
	uint8_t type;       /* enum event_type */
	uint8_t permission; /* tool uses: evaluated; confirmations: PERM_ALLOW / PERM_DENY */
	uint8_t stop;       /* idle events: enum stop_reason */
	uint8_t end;        /* span end: enum model_end */
	uint8_t retry;      /* session.error: enum retry_status */
	uint8_t is_error;
	uint32_t ref;
	uint32_t ref2;     /* spare for later kinds */
	uint64_t at_us;    /* processed_at; for queued client events: received */
	uint64_t until_us; /* session.error retrying: not before */
	uint32_t input_tokens, output_tokens, cache_read_tokens, cache_creation_tokens;
	uint32_t web_searches;
};

#define EVENT_FACTS_BYTES 64
/* Writes the record; unused bytes are 0. */
void event_facts_encode(const struct event_facts *f, uint8_t out[EVENT_FACTS_BYTES]);
/* ERR_CORRUPT. */
int event_facts_decode(struct str in, struct event_facts *out, struct err *e);

/* One row, all slices borrowed. `seq` is 0 until the store has assigned it. */
struct event_row {
	uint32_t seq;
	struct id id;
	struct event_facts facts;
	struct str thread; /* session_thread_id of a child, empty for the primary */
	struct str
		body; /* JSON object: {"type":…,"id":…, …} without processed_at; internal rows may be empty */
	struct str private_; /* may be empty */
};

/* The API form of a row: its body with "processed_at" spliced in (0: null). The body must be an object as
 * above. */
void event_render(struct buf *b, struct str body, uint64_t processed_us);

/* Whether a listed row shows its own at_us as processed_at (true) or waits for its PROCESSED row (queued
 * client events). */
bool event_processed_at_birth(enum event_type t);
