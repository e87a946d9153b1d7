/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Growable byte buffer with a ceiling and a sticky failure flag, so that ten appends need one check.
 * Lives in the caller's storage. After a failure further appends are ignored and buf_check() tells why.
 * Also rc_bytes: an immutable, reference-counted blob (one event is encoded once and shared by all streams).
 */
#pragma once

#include <stdarg.h>

#include "base/err.h"
#include "base/str.h"

struct buf {
	char *p;
	size_t n;           /* bytes used */
	size_t cap;         /* bytes allocated */
	size_t max;         /* ceiling on n */
	enum err_kind fail; /* ERR_NONE, ERR_TOO_LARGE or ERR_NO_MEMORY */
};

/* Empty buffer, nothing allocated yet. `max_bytes` comes from limits.h. */
void buf_init(struct buf *b, size_t max_bytes);

/* Frees the bytes; the buffer may be initialised again. Tolerates a zeroed struct. */
void buf_done(struct buf *b);

/* Empty but keeps the memory; clears the failure. */
void buf_clear(struct buf *b);

/* Appends. Ignored after a failure. */
void buf_put(struct buf *b, const void *p, size_t n);
void buf_put_str(struct buf *b, struct str s);
void buf_put_z(struct buf *b, const char *z);
void buf_put_c(struct buf *b, char c);
void buf_put_u64(struct buf *b, uint64_t v); /* decimal */
void buf_printf(struct buf *b, const char *fmt, ...) PRINTF_FMT(2, 3);
void buf_vprintf(struct buf *b, const char *fmt, va_list ap) PRINTF_FMT(2, 0);

/* Room for `n` more bytes to be written at b->p + b->n by the caller, who then adds to b->n; NULL on
 * failure. */
void *buf_reserve(struct buf *b, size_t n);

/* Removes the first `n` (<= b->n) bytes, keeping the rest. */
void buf_drop(struct buf *b, size_t n);

/* The content, borrowed until the next append. */
static inline struct str
buf_str(const struct buf *b)
{
	return (struct str){b->p, b->n};
}

/* 0, or the sticky failure as an error. */
int buf_check(const struct buf *b, struct err *e);

DEFINE_AUTO_DONE(buf, struct buf, buf_done);

/* Immutable shared bytes. `refs` is not atomic: one blob belongs to one thread. */
struct rc_bytes {
	uint32_t refs;
	size_t n;
	char p[];
};

/* A copy of `s` with one reference; NULL when out of memory. */
struct rc_bytes *rc_bytes_new(struct str s);
struct rc_bytes *rc_bytes_ref(struct rc_bytes *r);

/* Drops one reference (NULL is fine). Always returns NULL. */
struct rc_bytes *rc_bytes_unref(struct rc_bytes *r);
