/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The files that a session's sandbox should have, as its claim names them.
 */
#pragma once

#include "base/frame.h"
#include "base/hash.h"
#include "model/session.h"

struct box_file {
	struct id id;
	struct str path; /* owned */
	uint64_t size;
	uint64_t sent; /* the claim it was sent for */
};

struct box_files {
	struct box_file *list;
	size_t n;
	struct hash hash; /* of ids and paths */
};

/* Empties the list. */
void box_files_done(struct box_files *f);
/* Takes over the session's files as they are now; what was there is freed. ERR_NO_MEMORY; ERR_TOO_LARGE when
 * a claim cannot hold them. */
int box_files_set(struct box_files *f, const struct session_state *s, struct err *e);
/* Writes number and files as HANDS_CLAIM has them. */
void box_files_put(const struct box_files *f, struct frame_w *w);
/* True once for each file and claim: asking again and again must not open descriptors without end. */
bool box_files_owed(struct box_files *f, struct str id, uint64_t claim);
