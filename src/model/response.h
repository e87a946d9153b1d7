/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The model's streamed answer (Messages API): from SSE records to content blocks. Pure: fed with the data of
 * each record, collects blocks, usage and the stop reason, and calls back for previews. Hostile input: every
 * member is checked, blocks, sizes and order are bounded.
 */
#pragma once

#include "base/arena.h"
#include "base/buf.h"
#include "base/id.h"
#include "base/json.h"
#include "model/event.h"

enum block_kind { BLOCK_TEXT, BLOCK_THINKING, BLOCK_REDACTED_THINKING, BLOCK_TOOL_USE };

struct model_block {
	enum block_kind kind;
	struct id event_id; /* of the agent.message / agent.thinking / agent.tool_use it becomes; text blocks
			       that follow each other share one */
	struct buf text;    /* text, thinking, or partial input JSON */
	struct buf signature; /* thinking; `data` of redacted thinking */
	struct str tool_id;   /* the model's own id */
	struct str name;
	unsigned index;  /* text: which text block of its event, empty ones not counted */
	bool open, told; /* told: the preview of its event has begun */
};

struct model_response {
	struct arena *arena;
	struct model_block *blocks;
	size_t n_blocks, cap_blocks;
	size_t n_seen; /* blocks started, unknown kinds included: the next index */
	bool skipping; /* the open block is of an unknown kind */
	bool started, stopped;
	enum model_end end; /* from stop_reason once known */
	struct str refusal_category, refusal_explanation;
	uint64_t input_tokens, output_tokens, cache_read_tokens, cache_creation_tokens;
	size_t total; /* bytes collected */
	/* an error record in the stream */
	struct str error_type, error_message;
};

/* Previews; any may be NULL. `index` counts text blocks within the event. */
struct response_hooks {
	void *arg;
	void (*on_start)(void *arg, enum event_type type, const struct id *event_id);
	void (*on_text)(void *arg, const struct id *event_id, unsigned index, struct str delta);
};

/* An empty collection in the caller's storage, and its end (a zeroed struct is fine). ERR_NO_MEMORY. */
int response_init(struct model_response *r, struct err *e);
void response_done(struct model_response *r);
/* One SSE record's data. ERR_CORRUPT with what was wrong (unknown record types are ignored, as the API
 * demands). */
int response_feed(struct model_response *r, struct str data, const struct response_hooks *h, struct err *e);
/* After the end of the stream: 0 when message_stop was seen and all is consistent, else ERR_CORRUPT. */
int response_finish(const struct model_response *r, struct err *e);
