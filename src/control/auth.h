/* SPDX-License-Identifier: Apache-2.0 */
/*
 * API keys. Stored only as hashes (store documents of kind DOC_KEY); the live ones are kept in memory, so
 * that a check is one hash and one lookup, and a revoked key is refused from the next request on.
 */
#pragma once

#include "control/api.h"

struct auth;

/* Loads the keys, makes the first admin key when there is none and writes it 0600 to <data_dir>/admin.key;
 * then calls cb. `first` is true when one was made. */
int auth_start(
	struct control *c, void (*cb)(struct control *c, const struct err *err, bool first), struct err *e);
void auth_free(struct auth *a);

/* Fills k->key and k->admin from `Authorization: Bearer` or `x-api-key`. ERR_UNAUTHENTICATED; both headers
 * with different keys are refused. */
int auth_check(struct call *k, struct err *e);

/* After the store has it: makes a key valid / invalid at once. ERR_OVERLOADED when there are too many keys,
 * ERR_NO_MEMORY. */
int auth_add(struct auth *a, const struct hash *h, struct str id, bool admin, struct err *e);
void auth_remove(struct auth *a, struct str id);
