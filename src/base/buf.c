/* SPDX-License-Identifier: Apache-2.0 */
#include "base/buf.h"

#include <stdio.h>
#include <stdlib.h>

#define FIRST_CAP 256

void
buf_init(struct buf *b, size_t max_bytes)
{
	*b = (struct buf){.max = max_bytes};
}

void
buf_done(struct buf *b)
{
	free(b->p);
	*b = (struct buf){.max = b->max};
}

void
buf_clear(struct buf *b)
{
	b->n = 0;
	b->fail = ERR_NONE;
}

/* Makes room for `n` more bytes of content and `spare` bytes that do not count against the ceiling. */
static bool
grow(struct buf *b, size_t n, size_t spare)
{
	size_t need, cap;

	if (b->fail)
		return false;
	if (n > b->max - b->n || __builtin_add_overflow(b->n + n, spare, &need)) {
		b->fail = ERR_TOO_LARGE;
		return false;
	}
	if (need <= b->cap)
		return true;
	if (__builtin_mul_overflow(b->cap, 2, &cap) || cap > b->max)
		cap = b->max;
	if (cap < FIRST_CAP && b->max >= FIRST_CAP)
		cap = FIRST_CAP;
	if (cap < need)
		cap = need;
	char *p = realloc(b->p, cap);
	if (!p) {
		b->fail = ERR_NO_MEMORY;
		return false;
	}
	b->p = p;
	b->cap = cap;
	return true;
}

void
buf_put(struct buf *b, const void *p, size_t n)
{
	if (n == 0 || !grow(b, n, 0))
		return;
	memcpy(b->p + b->n, p, n);
	b->n += n;
}

void
buf_put_str(struct buf *b, struct str s)
{
	buf_put(b, s.p, s.n);
}

void
buf_put_z(struct buf *b, const char *z)
{
	buf_put(b, z, strlen(z));
}

void
buf_put_c(struct buf *b, char c)
{
	if (grow(b, 1, 0))
		b->p[b->n++] = c;
}

void
buf_put_u64(struct buf *b, uint64_t v)
{
	char digits[20];
	size_t at = sizeof(digits);

	do {
		digits[--at] = (char)('0' + v % 10);
		v /= 10;
	} while (v);
	buf_put(b, digits + at, sizeof(digits) - at);
}

void
buf_printf(struct buf *b, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	buf_vprintf(b, fmt, ap);
	va_end(ap);
}

void
buf_vprintf(struct buf *b, const char *fmt, va_list ap)
{
	va_list again;
	size_t room = b->cap - b->n;

	if (b->fail)
		return;
	va_copy(again, ap);
	int n = vsnprintf(room ? b->p + b->n : NULL, room, fmt, ap);
	ASSERT(n >= 0);
	if ((size_t)n < room && (size_t)n <= b->max - b->n) {
		b->n += (size_t)n;
	} else if (grow(b, (size_t)n, 1)) {
		vsnprintf(b->p + b->n, (size_t)n + 1, fmt, again);
		b->n += (size_t)n;
	}
	va_end(again);
}

void *
buf_reserve(struct buf *b, size_t n)
{
	/* n == 0 must still give a pointer. */
	return grow(b, n, n == 0) ? b->p + b->n : NULL;
}

void
buf_drop(struct buf *b, size_t n)
{
	ASSERT(n <= b->n);
	b->n -= n;
	if (b->n && n)
		memmove(b->p, b->p + n, b->n);
}

int
buf_check(const struct buf *b, struct err *e)
{
	if (b->fail == ERR_NONE)
		return 0;
	if (b->fail == ERR_NO_MEMORY)
		return err_set(e, ERR_NO_MEMORY, "out of memory");
	return err_set(e, b->fail, "over %zu bytes", b->max);
}

struct rc_bytes *
rc_bytes_new(struct str s)
{
	size_t size;

	if (__builtin_add_overflow(sizeof(struct rc_bytes), s.n, &size))
		return NULL;
	struct rc_bytes *r = malloc(size);
	if (!r)
		return NULL;
	r->refs = 1;
	r->n = s.n;
	if (s.n)
		memcpy(r->p, s.p, s.n);
	return r;
}

struct rc_bytes *
rc_bytes_ref(struct rc_bytes *r)
{
	ASSERT(r->refs > 0 && r->refs < UINT32_MAX);
	r->refs++;
	return r;
}

struct rc_bytes *
rc_bytes_unref(struct rc_bytes *r)
{
	if (!r)
		return NULL;
	ASSERT(r->refs > 0);
	if (--r->refs == 0)
		free(r);
	return NULL;
}
