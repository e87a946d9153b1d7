/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Secrets: own pages with guards on both sides, locked in memory, left out of core dumps, zeroed when freed.
 * There is no accessor that gives a string to print; bytes leave only by the named functions below.
 */
#pragma once

#include "base/err.h"
#include "base/hash.h"
#include "base/str.h"

struct secret;

/* A secret holding a copy of `s` (at most LIM_SECRET bytes); the caller wipes its own copy with secret_wipe.
 * NULL when out of memory or too long. */
struct secret *secret_new(struct str s);
void secret_free(struct secret *s);
DEFINE_AUTO(secret, struct secret *, secret_free, NULL);

/* A new random secret: `prefix` then 43 base-62 characters. */
struct secret *secret_random(const char *prefix);

/* Number of bytes. */
size_t secret_len(const struct secret *s);

/* Keyed-less BLAKE2b of the bytes: what is stored in place of an API key. */
struct hash secret_hash(const struct secret *s);

/* Constant-time comparison. */
bool secret_equal(const struct secret *a, const struct secret *b);

/* Runs `use` with the bytes, which must not be kept: for the one header or frame that carries the secret. */
void secret_use(const struct secret *s, void (*use)(struct str bytes, void *arg), void *arg);

/* Writes the bytes and a newline to `fd`; ERR_IO. */
int secret_expose_to(const struct secret *s, int fd, struct err *e);

/* Zeroes memory in a way the compiler keeps. */
void secret_wipe(void *p, size_t n);
