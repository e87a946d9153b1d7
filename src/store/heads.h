/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The writer's view of session rows: a small cache of key, last seq, chain head, lease epoch and status, so
 * that a batch of appends reads and updates each session row once. Changes are written back by heads_flush
 * before a commit, or when a slot is needed by another session. After a rollback: heads_clear. Used by the
 * writer thread only. Inside src/store only.
 */
#pragma once

#include "base/hash.h"
#include "base/id.h"
#include "store/db.h"

#define HEADS_SLOTS 256

struct head {
	struct id id; /* "": free slot */
	uint64_t key;
	uint64_t epoch;
	uint32_t last_seq;
	uint8_t status;    /* enum turn_status */
	uint8_t archived;  /* 0, 1 */
	uint32_t waiting;  /* client events not yet processed */
	struct hash hash;  /* of row last_seq */
	bool dirty;        /* last_seq, epoch, hash */
	bool dirty_status; /* status, archived, waiting */
};

struct heads {
	struct head slot[HEADS_SLOTS];
};

/* 1: *out points to the session's slot, valid until the next heads_ call; 0: no such session; <0: failed. */
int heads_get(struct heads *h, struct db *db, struct str id, struct head **out, struct err *e);
/* The slot for a session that was just inserted, overwritten with `value`. */
int heads_put(struct heads *h, struct db *db, const struct head *value, struct head **out, struct err *e);
/* Takes over a changed value, noting what must be written. */
void heads_change(struct head *slot, const struct head *value);
/* Forgets one session (deleted). */
void heads_drop(struct head *slot);
/* Writes changes back, inside the transaction. */
int heads_flush(struct heads *h, struct db *db, struct err *e);
void heads_clear(struct heads *h);
