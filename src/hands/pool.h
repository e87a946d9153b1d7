/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Warm sandboxes: started ahead, on workspaces of their own, for the key that was claimed last (the
 * configured defaults at first). Refilled one at a time and only while the machine is not busy, or after
 * waiting long enough.
 */
#pragma once

#include "hands/sandbox.h"

struct hands;
struct pool;

/* NULL when out of memory. Nothing is started before pool_fill. */
struct pool *pool_new(struct hands *h);
/* Releases the objects; what runs goes on. */
void pool_free(struct pool *p);
/* A READY sandbox with its guest connected and of this key, no longer the pool's; NULL: none. Remembers the
 * key for refilling. */
struct sandbox *pool_take(struct pool *p, const struct sandbox_key *key);
/* Takes over one that an earlier hands had warm. */
void pool_adopt(struct pool *p, struct sandbox *s);
/* The callbacks with which the pool owns a sandbox. */
struct sandbox_ops pool_sandbox_ops(struct pool *p);
/* Starts what is missing, soon. */
void pool_fill(struct pool *p);
/* Ends all; pool_empty tells when they are gone. */
void pool_stop(struct pool *p);
bool pool_empty(const struct pool *p);
/* True when this sandbox is the pool's. */
bool pool_has(const struct pool *p, const char *sandbox);
/* Warm and ready now. */
unsigned pool_ready(const struct pool *p);
