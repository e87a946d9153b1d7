/* SPDX-License-Identifier: Apache-2.0 */
#include "base/frame.h"

#include <endian.h>

static uint64_t
load(const char *p, size_t n)
{
	uint64_t v = 0;

	memcpy(&v, p, n);
	return le64toh(v);
}

static void
store(char *p, uint64_t v, size_t n)
{
	v = htole64(v);
	memcpy(p, &v, n);
}

int
frame_parse(struct str in, size_t max, struct frame *out, size_t *used, struct err *e)
{
	if (in.n < FRAME_HEAD)
		return 0;
	size_t n = load(in.p, 4);
	uint16_t flags = (uint16_t)load(in.p + 6, 2);
	if (flags & ~FRAME_FD)
		return err_set(e, ERR_CORRUPT, "frame with unknown flags 0x%x", flags);
	if (n > max)
		return err_set(e, ERR_TOO_LARGE, "frame of %zu bytes, at most %zu are allowed", n, max);
	if (in.n - FRAME_HEAD < n)
		return 0;
	*out = (struct frame){
		.type = (uint16_t)load(in.p + 4, 2),
		.flags = flags,
		.call = load(in.p + 8, 8),
		.payload = {in.p + FRAME_HEAD, n},
	};
	*used = FRAME_HEAD + n;
	return 1;
}

struct frame_w
frame_begin(struct buf *b, uint16_t type, uint64_t call)
{
	struct frame_w w = {.b = b, .head = b->n};
	char head[FRAME_HEAD] = {0};

	store(head + 4, type, 2);
	store(head + 8, call, 8);
	buf_put(b, head, sizeof(head));
	return w;
}

void
frame_u64(struct frame_w *w, uint64_t v)
{
	char le[8];

	store(le, v, 8);
	buf_put(w->b, le, 8);
}

void
frame_str(struct frame_w *w, struct str s)
{
	char le[4];

	if (s.n > UINT32_MAX) {
		w->b->fail = w->b->fail ? w->b->fail : ERR_TOO_LARGE;
		return;
	}
	store(le, s.n, 4);
	buf_put(w->b, le, 4);
	buf_put_str(w->b, s);
}

void
frame_end(struct frame_w *w, uint16_t flags)
{
	struct buf *b = w->b;

	ASSERT((flags & ~FRAME_FD) == 0);
	if (b->fail == ERR_NONE && b->n - w->head - FRAME_HEAD > UINT32_MAX)
		b->fail = ERR_TOO_LARGE;
	if (b->fail) {
		b->n = w->head;
		return;
	}
	store(b->p + w->head, b->n - w->head - FRAME_HEAD, 4);
	store(b->p + w->head + 6, flags, 2);
}

struct frame_r
frame_r(struct str payload)
{
	return (struct frame_r){.rest = payload};
}

/* The next `n` bytes; p == NULL after a failure. */
static struct str
take(struct frame_r *r, size_t n)
{
	if (r->bad || r->rest.n < n) {
		r->bad = true;
		r->rest = STR_NULL;
		return STR_NULL;
	}
	struct str s = {r->rest.p, n};
	r->rest = (struct str){r->rest.p + n, r->rest.n - n};
	return s;
}

uint64_t
frame_get_u64(struct frame_r *r)
{
	struct str s = take(r, 8);

	return s.p ? load(s.p, 8) : 0;
}

struct str
frame_get_str(struct frame_r *r)
{
	return frame_get_str_max(r, UINT32_MAX);
}

struct str
frame_get_str_max(struct frame_r *r, size_t max)
{
	struct str len = take(r, 4);
	size_t n = len.p ? load(len.p, 4) : 0;

	if (n > max)
		r->bad = true;
	struct str s = take(r, n);
	return s.p ? s : STR("");
}

int
frame_done(const struct frame_r *r, struct err *e)
{
	if (r->bad)
		return err_set(e, ERR_CORRUPT, "frame payload too short or a field too long");
	if (r->rest.n)
		return err_set(e, ERR_CORRUPT, "%zu bytes left over in a frame", r->rest.n);
	return 0;
}
