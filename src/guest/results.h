/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Finished results: their wire form, the preview of long ones, and the directory that takes those which do
 * not fit in memory. The directory is the guest's alone; its file names are the ids of calls.
 */
#pragma once

#include "base/guest_call.h"
#include "base/limits.h"
#include "guest/files.h"

struct result {
	char id[LIM_ID + 1];
	enum guest_status status;
	bool is_error;
	struct buf text;     /* the whole text, or the preview */
	char path[LIM_PATH]; /* of the whole text, when it is in a file */
	uint64_t chars;      /* of the whole text */
	uint64_t run_us;
};

/* True when `id` may name a call: 1..LIM_ID characters of [0-9A-Za-z_-]. */
bool result_id_ok(struct str id);

/* Frees the text; tolerates a zeroed result. */
void result_done(struct result *r);
DEFINE_AUTO_DONE(result, struct result, result_done);

/* Takes a copy of valid UTF-8 `text`. Over LIM_RESULT_OFFLOAD characters the text goes to `dir`/<id>.txt and
 * a preview stays; when the file cannot be written the preview says so. -1: out of memory. */
int result_set_text(struct result *r, struct str text, const struct files *f, const char *dir);

/* An error text of our own, which always fits. */
void result_set_trouble(struct result *r, const char *text);

/* Appends the GC_RESULT frame. Its length is at most LIM_FRAME_GUEST. */
void result_encode(const struct result *r, uint64_t call, struct buf *out);

/* ---- the directory ---- */

struct spill;

/* `max`: how many results are kept; more push out the oldest. NULL: out of memory. */
struct spill *spill_new(const char *dir, size_t max);
void spill_free(struct spill *s);

/* Stores a result; without room on disk it is kept in memory. */
void spill_put(struct spill *s, const struct result *r);

/* Loads into a zeroed result. False when unknown. */
bool spill_get(struct spill *s, struct str id, struct result *out);
void spill_drop(struct spill *s, struct str id);
