/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Object ids: prefix, underscore, "01", then 22 base-62 characters: 9 of milliseconds since 1970 and 13
 * random. Byte order is time order. Secrets (API keys) have 32 random bytes and are made by secret_random.
 */
#pragma once

#include "base/err.h"
#include "base/str.h"

#define ID_MAX 64 /* with NUL */

struct id {
	char z[ID_MAX];
};

/* A new id such as "sesn_01...". `prefix` is a literal without underscore. Uses getrandom; aborts when the
 * kernel has no randomness. */
struct id id_new(const char *prefix, uint64_t wall_us);

/* True when `s` looks like an id with this prefix: "prefix_" + 1..100 characters of [0-9A-Za-z]. */
bool id_valid(struct str s, const char *prefix);

/* Copies a slice; an over-long one gives "". */
struct id id_from(struct str s);

/* The id as a slice. The pointer form is borrowed from *id. */
static inline struct str
id_str(const struct id *id)
{
	return str_z(id->z);
}

/* Fills `n` bytes from the kernel; aborts on failure. */
void random_bytes(void *p, size_t n);

/* Writes `n` characters of [0-9A-Za-z], uniform and from the kernel, without NUL; aborts on failure. */
void random_base62(char *dst, size_t n);
