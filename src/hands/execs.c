/* SPDX-License-Identifier: Apache-2.0 */
#include "hands/execs.h"

#include <stdlib.h>

#include "base/frame.h"
#include "base/guest_call.h"
#include "base/limits.h"

void
execs_init(struct execs *x, struct loop *l, void *owner, void (*on_overdue)(void *owner, struct exec *x))
{
	*x = (struct execs){.loop = l, .owner = owner, .on_overdue = on_overdue};
}

void
execs_remove(struct execs *x, struct exec *e)
{
	for (struct exec **at = &x->list; *at; at = &(*at)->next) {
		if (*at != e)
			continue;
		*at = e->next;
		x->n--;
		break;
	}
	loop_timer_free(e->timer);
	buf_done(&e->frame);
	relay_result_done(&e->result);
	free(e);
}

void
execs_acknowledge(struct execs *x, struct exec *e)
{
	x->acked[x->n_acked++ % EXEC_ACKED] = e->id;
	execs_remove(x, e);
}

bool
execs_was_acknowledged(const struct execs *x, struct str id)
{
	for (unsigned i = 0; i < EXEC_ACKED; i++)
		if (id.n > 0 && str_eq(id_str(&x->acked[i]), id))
			return true;
	return false;
}

void
execs_done(struct execs *x)
{
	while (x->list)
		execs_remove(x, x->list);
}

struct exec *
execs_find(const struct execs *x, struct str id)
{
	for (struct exec *e = x->list; e; e = e->next)
		if (str_eq(id_str(&e->id), id))
			return e;
	return NULL;
}

bool
execs_running(const struct execs *x)
{
	for (const struct exec *e = x->list; e; e = e->next)
		if (!e->done)
			return true;
	return false;
}

/* Room for one more: the oldest result that nobody fetched goes first. */
static int
make_room(struct execs *x, struct err *e)
{
	if (x->n < LIM_GUEST_RESULTS)
		return 0;
	for (struct exec *k = x->list; k; k = k->next) {
		if (!k->done)
			continue;
		execs_remove(x, k);
		return 0;
	}
	return err_set(e, ERR_RATE_LIMITED, "%d tools of this session run already", LIM_GUEST_RESULTS);
}

static void
on_timer(void *arg)
{
	struct exec *x = arg;

	x->of->on_overdue(x->of->owner, x);
}

static struct exec *
append(struct execs *x, struct str id, uint64_t call)
{
	struct exec *n = calloc(1, sizeof(*n));
	struct exec **at = &x->list;

	if (!n)
		return NULL;
	n->of = x;
	n->id = id_from(id);
	n->call = call;
	while (*at)
		at = &(*at)->next;
	*at = n;
	x->n++;
	return n;
}

static void
encode(struct exec *n, const struct exec_call *c, uint64_t call)
{
	buf_init(&n->frame, FRAME_HEAD + LIM_FRAME_GUEST);
	struct frame_w w = frame_begin(&n->frame, GC_EXECUTE, call);

	frame_str(&w, c->id);
	frame_str(&w, c->tool);
	frame_str(&w, c->input);
	frame_u64(&w, c->timeout_ms);
	frame_end(&w, 0);
}

int
execs_add(struct execs *x, const struct exec_call *c, struct exec **out, struct err *e)
{
	uint64_t limit = c->timeout_ms ? c->timeout_ms : LIM_BASH_MS_MAX;
	int r = make_room(x, e);

	if (r < 0)
		return r;
	struct exec *n = append(x, c->id, c->call);

	if (!n)
		return err_set(e, ERR_NO_MEMORY, "tool call");
	encode(n, c, ++x->next_call);
	n->timer = loop_timer_new(x->loop, on_timer, n);
	r = n->timer ? buf_check(&n->frame, e) : err_set(e, ERR_NO_MEMORY, "tool call");
	if (r < 0) {
		execs_remove(x, n);
		return r;
	}
	if (limit > LIM_SANDBOX_WALL_MS)
		limit = LIM_SANDBOX_WALL_MS;
	loop_timer_start(n->timer, limit + EXEC_GRACE_MS, 0);
	*out = n;
	return 0;
}

int
execs_add_collect(struct execs *x, struct str id, uint64_t call, struct exec **out, struct err *e)
{
	int r = make_room(x, e);
	struct exec *n = r == 0 ? append(x, id, call) : NULL;

	if (r < 0)
		return r;
	if (!n)
		return err_set(e, ERR_NO_MEMORY, "tool call");
	*out = n;
	return 0;
}

int
exec_finish(struct exec *x, const struct guest_result *r, struct err *e)
{
	int rc = relay_result_make(&x->result, r, e);

	if (rc < 0)
		return rc;
	x->done = true;
	buf_done(&x->frame);
	loop_timer_free(MOVE(x->timer));
	return 0;
}

void
exec_tell(struct sandbox *s, uint16_t type, struct str id)
{
	AUTO(buf) struct buf b;

	buf_init(&b, KIB);
	struct frame_w w = frame_begin(&b, type, 0);

	frame_str(&w, id);
	frame_end(&w, 0);
	sandbox_send(s, &b);
}

void
exec_send(struct exec *x, struct sandbox *s)
{
	AUTO(buf) struct buf b;

	buf_init(&b, FRAME_HEAD + LIM_FRAME_GUEST);
	if (x->frame.n) {
		/* A copy, because the guest may have to be told again. */
		buf_put_str(&b, buf_str(&x->frame));
	} else {
		struct frame_w w = frame_begin(&b, GC_COLLECT, ++x->of->next_call);

		frame_str(&w, id_str(&x->id));
		frame_end(&w, 0);
	}
	sandbox_send(s, &b);
	if (x->cancelled)
		exec_tell(s, GC_CANCEL, id_str(&x->id));
}
