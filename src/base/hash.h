/* SPDX-License-Identifier: Apache-2.0 */
/*
 * BLAKE2b with 32-byte output (RFC 7693), unkeyed or keyed; constant-time comparison; lower-case hex.
 */
#pragma once

#include "base/err.h"
#include "base/str.h"

#define HASH_BYTES 32
#define HASH_HEX   (HASH_BYTES * 2 + 1)

struct hash {
	uint8_t b[HASH_BYTES];
};

struct hash_ctx {
	uint64_t h[8];
	uint64_t t[2];
	uint8_t block[128];
	size_t n;
};

/* Streaming. A key of at most 64 bytes may be given ({NULL,0} for none). */
void hash_init(struct hash_ctx *c, struct str key);
void hash_add(struct hash_ctx *c, struct str s);
/* Adds an 8-byte little-endian length, then the bytes: fields can never run into each other. */
void hash_add_field(struct hash_ctx *c, struct str s);
struct hash hash_end(struct hash_ctx *c);

/* One shot. */
struct hash hash_of(struct str s);

/* Constant time. */
bool hash_equal(const struct hash *a, const struct hash *b);

/* 64 lower-case hex digits and NUL into dst; returns dst. */
char *hash_hex(const struct hash *h, char dst[HASH_HEX]);
