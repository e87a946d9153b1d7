/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Images and documents whose bytes are a file of ours. The transcript keeps such a block as it came, between
 * marks that no JSON text contains; when a request is rendered the bytes take the mark's place, so that they
 * are in memory only then. What they are is decided by looking at them, since a name's ending proves nothing.
 */
#pragma once

#include "base/buf.h"
#include "base/json.h"

/* True for a content block with a source of type file. */
bool attachment_is(const struct json_t *block);

/* Appends the marked block: one value, as far as commas are concerned. */
void attachment_mark(struct buf *b, const struct json_t *block);

struct attachment_source {
	void *arg;
	/* The content of a file into `out`, which is empty and has room for what the request can carry. Any
	 * error: the model is told that the file cannot be shown. NULL: so it is with all files. */
	int (*read)(void *arg, struct str file_id, struct buf *out, struct err *e);
};

/* Copies `in` to `out` with every marked block replaced: by the image (PNG, JPEG, GIF, WebP), the document
 * (PDF, UTF-8 text), or a sentence when the file cannot be read, is something else, or would take the request
 * over `max` bytes. ERR_NO_MEMORY, ERR_TOO_LARGE, ERR_CORRUPT. */
int attachment_expand(
	struct str in, const struct attachment_source *src, size_t max, struct buf *out, struct err *e);
