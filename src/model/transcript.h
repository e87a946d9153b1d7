/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The model's context as a fold: rows -> the `messages` array of the Messages API. Incremental: rows are
 * added once, in seq order; rendering a request copies the finished part. User messages appear when
 * processed; tool results follow their uses; thinking blocks go back as they came.
 */
#pragma once

#include "base/buf.h"
#include "base/json.h"
#include "model/attachment.h"
#include "model/session.h"

struct transcript;

/* Empty. NULL when out of memory. */
struct transcript *transcript_new(void);
void transcript_free(struct transcript *t);
DEFINE_AUTO(transcript, struct transcript *, transcript_free, NULL);

/* Adds a row (any type; those without a place in the context are skipped). ERR_CORRUPT, ERR_NO_MEMORY. A
 * conversation over LIM_MODEL_REQUEST is not kept any longer; transcript_render then says so. */
int transcript_add(struct transcript *t, const struct event_row *row, struct err *e);
/* Seq of the last row added. */
uint32_t transcript_seq(const struct transcript *t);
/* Memory that it holds, roughly. */
size_t transcript_bytes(const struct transcript *t);

struct transcript_opts {
	struct str model;
	uint64_t max_tokens;
	struct attachment_source files; /* of content blocks that name files */
};
/* The complete request body (ERR_TOO_LARGE when the conversation has outgrown it): model, max_tokens, system
 * (the agent's system prompt and our notes on workspace, uploads and outputs), tools, messages, stream. */
int transcript_render(const struct transcript *t, const struct session_state *s,
	const struct transcript_opts *o, struct buf *out, struct err *e);
