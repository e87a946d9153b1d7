/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Server-sent events: encoding one record, and an incremental decoder (used on the model's response, hostile
 * input).
 */
#pragma once

#include "base/buf.h"

/* Appends "id: ID\nevent: NAME\ndata: JSON\n\n"; the id line is left out when `id` is empty, the event line
 * when `name` is. `id` and `name` must hold no line breaks; `json` with line breaks becomes several data
 * lines. */
void sse_put(struct buf *b, struct str id, struct str name, struct str json);

struct sse_event {
	struct str name; /* empty when the record had no event field */
	struct str data; /* joined with \n */
};

/* Incremental decoder. Zero-initialise through sse_init; sse_done frees. */
struct sse_reader {
	struct buf line;
	struct buf name;
	struct buf data;
	bool has_data;
	bool cr;    /* the last byte was CR */
	bool begun; /* past the place of a byte order mark */
};

/* `max` bounds a line and a record's data. */
void sse_init(struct sse_reader *r, size_t max);
void sse_done(struct sse_reader *r);
/* Feeds bytes; on(arg, event) for each complete record with data (slices valid during the call); <0 from `on`
 * stops and is returned. ERR_TOO_LARGE. */
int sse_feed(struct sse_reader *r, struct str in,
	int (*on)(void *arg, const struct sse_event *ev, struct err *e), void *arg, struct err *e);
