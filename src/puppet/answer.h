/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the puppet answers: from a conversation to a message with its faults and its pace, and from there to
 * bytes. Pure.
 */
#pragma once

#include "base/arena.h"
#include "base/buf.h"
#include "puppet/conversation.h"
#include "puppet/script.h"

#define ANSWER_BLOCKS_MAX 256
#define ANSWER_BYTES_MAX  (64ull * 1024 * 1024)

enum block_kind { BLOCK_TEXT, BLOCK_THINKING, BLOCK_TOOL_USE };

struct block {
	enum block_kind kind;
	struct str name; /* of the tool */
	struct str text; /* or the input as JSON */
};

struct answer {
	struct str model;
	struct block blocks[ANSWER_BLOCKS_MAX];
	size_t n;
	struct str stop_reason;
	int64_t input_tokens, output_tokens;
	/* faults; only those that this attempt meets are set */
	int status; /* not 0: this HTTP error instead of a message */
	bool has_retry_after;
	uint64_t retry_after_ms;
	bool cut;        /* after `events` events the connection breaks */
	struct str fail; /* not empty: after `events` events an error event of this type, then the end */
	size_t events;
	bool garbage; /* bytes that are no event stream */
	/* pace */
	uint64_t delay_ms; /* before each delta */
	uint64_t stall_ms; /* after the first event */
};

/* Script errors become a text of the model. ERR_TOO_LARGE, ERR_NO_MEMORY. */
int answer_make(const struct conversation *c, struct arena *a, struct answer *out, struct err *e);

/* A rendered stream: the events one after the other and where each ends. */
struct events {
	struct buf bytes;
	size_t *ends; /* owned */
	size_t n, cap;
};

/* Empty; and giving back what it holds, also of a zeroed one. */
void events_init(struct events *ev);
void events_done(struct events *ev);
DEFINE_AUTO_DONE(events, struct events, events_done);

/* The whole stream of events, faults not applied. ERR_TOO_LARGE, ERR_NO_MEMORY. */
int answer_stream(const struct answer *m, struct events *out, struct err *e);
/* One message as JSON. Failures stay in the buf. */
void answer_message(const struct answer *m, struct buf *out);

/* True when event number `i` is a delta of content: those wait for delay_ms. */
bool events_is_delta(const struct events *ev, size_t i);
/* The bytes of event number `i` (< ev->n), borrowed. */
struct str events_get(const struct events *ev, size_t i);
/* Appends an error event, as the API sends it in the middle of a stream. */
int events_put_error(struct events *ev, struct str type, struct err *e);
