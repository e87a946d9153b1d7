/* SPDX-License-Identifier: Apache-2.0 */
#include "base/arena.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#if defined(__SANITIZE_ADDRESS__)
#define FENCED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define FENCED 1
#endif
#endif

#ifdef FENCED
#include <sanitizer/asan_interface.h>
#define FENCE_GAP     16
#define FENCE(p, n)   __asan_poison_memory_region((p), (n))
#define UNFENCE(p, n) __asan_unpoison_memory_region((p), (n))
#else
#define FENCE_GAP     0
#define FENCE(p, n)   ((void)(p), (void)(n))
#define UNFENCE(p, n) ((void)(p), (void)(n))
#endif

#define ALIGN       16
#define BLOCK_FIRST 4096u
#define BLOCK_MOST  (256u * 1024)

/*
 * Blocks form a list, newest first; only the newest is filled. Invariants:
 * 1. used <= max, and it counts what callers were given, rounded up to ALIGN;
 * 2. block->n is a multiple of ALIGN and bytes from n to cap are fenced;
 * 3. `first` is the last of the list and survives a reset.
 */
struct block {
	struct block *older;
	size_t cap;
	size_t n;
	_Alignas(ALIGN) char p[];
};

struct arena {
	struct block *top;
	struct block *first;
	size_t used;
	size_t max;
	enum err_kind fail;
};

struct arena *
arena_new(size_t max_bytes)
{
	struct arena *a = malloc(sizeof(*a));

	if (a)
		*a = (struct arena){.max = max_bytes};
	return a;
}

/* Frees blocks from the newest down to, not including, `last`. */
static void
drop_blocks(struct block *b, const struct block *last)
{
	while (b && b != last) {
		struct block *older = b->older;
		UNFENCE(b->p, b->cap);
		free(b);
		b = older;
	}
}

void
arena_free(struct arena *a)
{
	if (!a)
		return;
	drop_blocks(a->top, NULL);
	free(a);
}

void
arena_reset(struct arena *a)
{
	drop_blocks(a->top, a->first);
	a->top = a->first;
	if (a->first) {
		a->first->n = 0;
		FENCE(a->first->p, a->first->cap);
	}
	a->used = 0;
	a->fail = ERR_NONE;
}

/* A block with room for `size` bytes becomes the newest. */
static bool
add_block(struct arena *a, size_t size)
{
	size_t cap = a->top ? a->top->cap * 2 : BLOCK_FIRST - sizeof(struct block);

	if (cap > BLOCK_MOST)
		cap = BLOCK_MOST;
	if (cap < size)
		cap = size;
	struct block *b = malloc(sizeof(*b) + cap);
	if (!b)
		return false;
	*b = (struct block){.older = a->top, .cap = cap};
	FENCE(b->p, cap);
	a->top = b;
	if (!a->first)
		a->first = b;
	return true;
}

static void *
failed(struct arena *a, enum err_kind kind)
{
	if (a->fail == ERR_NONE)
		a->fail = kind;
	return NULL;
}

/* As arena_alloc, without the zeroes. */
static void *
take(struct arena *a, size_t n)
{
	/* The largest size that survives rounding and the block's head. */
	if (n > SIZE_MAX / 2)
		return failed(a, ERR_TOO_LARGE);
	size_t size = (n + ALIGN - 1) / ALIGN * ALIGN;
	size_t step = size + FENCE_GAP;
	if (size > a->max - a->used)
		return failed(a, ERR_TOO_LARGE);
	if ((!a->top || step > a->top->cap - a->top->n) && !add_block(a, step ? step : ALIGN))
		return failed(a, ERR_NO_MEMORY);
	void *p = a->top->p + a->top->n;
	a->top->n += step;
	a->used += size;
	UNFENCE(p, n);
	return p;
}

void *
arena_alloc(struct arena *a, size_t n)
{
	void *p = take(a, n);

	if (p && n)
		memset(p, 0, n);
	return p;
}

void *
arena_alloc_n(struct arena *a, size_t count, size_t size)
{
	size_t n;

	if (__builtin_mul_overflow(count, size, &n))
		return failed(a, ERR_TOO_LARGE);
	return arena_alloc(a, n);
}

char *
arena_dup_z(struct arena *a, struct str s)
{
	if (s.n == SIZE_MAX)
		return failed(a, ERR_TOO_LARGE);
	char *p = take(a, s.n + 1);
	if (!p)
		return NULL;
	if (s.n)
		memcpy(p, s.p, s.n);
	p[s.n] = '\0';
	return p;
}

struct str
arena_dup(struct arena *a, struct str s)
{
	char *p = arena_dup_z(a, s);

	return p ? (struct str){p, s.n} : STR_NULL;
}

char *
arena_printf(struct arena *a, const char *fmt, ...)
{
	va_list ap, again;

	va_start(ap, fmt);
	va_copy(again, ap);
	int n = vsnprintf(NULL, 0, fmt, ap);
	ASSERT(n >= 0);
	char *p = take(a, (size_t)n + 1);
	if (p)
		vsnprintf(p, (size_t)n + 1, fmt, again);
	va_end(again);
	va_end(ap);
	return p;
}

bool
arena_failed(const struct arena *a)
{
	return a->fail != ERR_NONE;
}

int
arena_check(const struct arena *a, struct err *e)
{
	if (a->fail == ERR_NONE)
		return 0;
	if (a->fail == ERR_NO_MEMORY)
		return err_set(e, ERR_NO_MEMORY, "out of memory");
	return err_set(e, a->fail, "request needs over %zu bytes", a->max);
}

size_t
arena_used(const struct arena *a)
{
	return a->used;
}
