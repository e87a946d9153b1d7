/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Bump allocator with a hard limit: the "request" lifetime. Everything is freed at once; single pieces are
 * never freed. Reaching the limit or the system's memory end returns NULL and sets a sticky flag; it never
 * aborts. Under AddressSanitizer blocks are fenced with poisoned gaps. Not thread safe.
 */
#pragma once

#include "base/err.h"
#include "base/str.h"

struct arena;

/* An empty arena that will hand out at most `max_bytes`; nothing is reserved before the first allocation but
 * the object itself. NULL when out of memory. */
struct arena *arena_new(size_t max_bytes);

/* Frees the arena and all it handed out. NULL is fine. */
void arena_free(struct arena *a);

/* Forgets all allocations, keeps the first block. Clears the sticky flag. */
void arena_reset(struct arena *a);

/* `n` zeroed bytes aligned for any type; NULL when the limit is reached. n == 0 gives a valid pointer. */
void *arena_alloc(struct arena *a, size_t n);

/* `count` zeroed elements of `size`; overflow counts as the limit. */
void *arena_alloc_n(struct arena *a, size_t count, size_t size);

/* Copies; the result of arena_dup is a slice (NUL-terminated for convenience), arena_dup_z a C string. NULL
 * pointer (n == 0) on failure: check arena_failed(). */
struct str arena_dup(struct arena *a, struct str s);
char *arena_dup_z(struct arena *a, struct str s);

/* Formats into the arena; NULL on failure. */
char *arena_printf(struct arena *a, const char *fmt, ...) PRINTF_FMT(2, 3);

/* True when any allocation since the last reset failed. */
bool arena_failed(const struct arena *a);

/* 0, or ERR_TOO_LARGE / ERR_NO_MEMORY when any allocation failed: one check after a run of allocations. */
int arena_check(const struct arena *a, struct err *e);

/* Bytes handed out so far. */
size_t arena_used(const struct arena *a);

DEFINE_AUTO(arena, struct arena *, arena_free, NULL);
