/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The end of what a shell prints: keeps the last TAIL_KEEP bytes whatever the volume, finds the marker behind
 * which the exit status stands, and makes the text that the contract asks for. Memory is bounded; a gigabyte
 * passes through at the speed of read().
 */
#pragma once

#include "base/buf.h"
#include "base/limits.h"
#include "base/str.h"

#define TAIL_MARK 24                           /* length of a marker */
#define TAIL_KEEP (3 * LIM_BASH_OUTPUT + 4096) /* a UTF-16 unit takes at most 3 bytes of input */
#define TAIL_READ (256 * KIB)                  /* room for one read */

struct tail {
	char *p;                  /* owned */
	size_t n;                 /* bytes held */
	size_t seen;              /* of those, searched for the marker already */
	size_t shown;             /* of those, given out by tail_news */
	bool dropped;             /* something was forgotten */
	char mark[TAIL_MARK + 1]; /* "" : none is expected */
};

/* Allocates; false when out of memory. */
bool tail_init(struct tail *t);
void tail_done(struct tail *t);

/* Forgets everything and expects `mark` (TAIL_MARK characters) from now on. */
void tail_begin(struct tail *t, const char *mark);

/* Room for *n bytes (at least TAIL_READ) to be written by the caller, who then calls tail_added. */
char *tail_room(struct tail *t, size_t *n);

/* `n` bytes were added. True when the marker and the status behind it are complete: then *at is where the
 * marker begins and *status what stood behind it. */
bool tail_added(struct tail *t, size_t n, size_t *at, int *status);

/* What came since the last call of this, at most the last `max` bytes; borrowed until the next tail_room. */
struct str tail_news(struct tail *t, size_t max);

/* The text of the first `at` bytes held: cut to the contract's limit, valid, plain, without line feeds at the
 * end. `over` is how many characters the limit counts besides the output. Appends to `out`. */
void tail_text(const struct tail *t, size_t at, size_t over, struct buf *out);
