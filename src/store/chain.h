/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The hash chain of a session's log: hash of row n = BLAKE2b(hash of row n-1, seq, id, facts, thread, body,
 * private), each as a length-prefixed field. The chain begins with the session's id, so that rows cannot be
 * moved between sessions. Pure. Inside src/store only (and its tests).
 */
#pragma once

#include "base/hash.h"
#include "model/event.h"

/* The value before the first row. */
struct hash chain_start(struct str session_id);

/* The value after `row` (its seq assigned). `facts` is the encoded record. */
struct hash chain_next(
	const struct hash *prev, const struct event_row *row, const uint8_t facts[EVENT_FACTS_BYTES]);
