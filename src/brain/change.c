/* SPDX-License-Identifier: Apache-2.0 */
#include "brain/state.h"

#include <stdlib.h>

#include "base/clock.h"
#include "base/log.h"
#include "brain/hands_client.h"

/* How often a client's append is made again because another one came between. */
#define CHANGE_TRIES 64
#define PLAN_ARENA   (LIM_EVENT_BODY + LIM_MODEL_RESPONSE + 4 * MIB)

struct plan *
plan_new(void)
{
	struct plan *p = malloc(sizeof(*p));
	if (p == NULL)
		return NULL;
	p->n_rows = 0;
	p->then = (struct turn_action){0};
	p->arena = arena_new(PLAN_ARENA);
	if (p->arena == NULL) {
		free(p);
		return NULL;
	}
	return p;
}

void
plan_free(struct plan *p)
{
	if (p == NULL)
		return;
	arena_free(p->arena);
	free(p);
}

/* The state after the rows, encoded, when the session comes to rest there: lists and loads then need no fold.
 */
static void
snapshot_after(const struct session_state *s, const struct plan *p, struct buf *out, int *status)
{
	AUTO(buf) struct buf enc;
	buf_init(&enc, LIM_EVENT_BODY);
	struct session_state copy;
	session_state_init(&copy);
	struct err e = {0};
	int r = 0;
	if (s->turn.last_seq > 0) {
		session_encode(s, &enc);
		r = buf_check(&enc, &e);
		r = r == 0 ? session_decode(buf_str(&enc), &copy, &e) : r;
	}
	uint32_t seq = s->turn.last_seq;
	for (size_t i = 0; r == 0 && i < p->n_rows; i++) {
		struct event_row row = p->rows[i];
		row.seq = ++seq;
		r = session_fold(&copy, &row, &e);
	}
	if (r == 0) {
		*status = turn_busy(&copy.turn) && copy.turn.status == TURN_IDLE ? TURN_RUNNING
										 : copy.turn.status;
		if (!turn_busy(&copy.turn))
			session_encode(&copy, out);
	}
	session_state_done(&copy);
}

static bool
comes_to_rest(const struct plan *p)
{
	for (size_t i = 0; i < p->n_rows; i++) {
		enum event_type t = (enum event_type)p->rows[i].facts.type;
		if (t == EV_SESSION_STATUS_IDLE || t == EV_SESSION_STATUS_TERMINATED || event_body_folds(t))
			return true;
	}
	return false;
}

/* ---- changes: rows made from the current state, appended only if it still is the current one ---- */

struct change {
	struct brain *brain;
	struct live *live;
	struct id id;
	struct brain_change c;
	struct plan *plan;
	uint64_t epoch; /* the run's lease; 0: a client's change */
	unsigned tries;
};

static void change_prepare(struct change *ch);

static void
change_end(struct change *ch, const struct err *err, uint32_t first_seq)
{
	struct live *l = ch->live;
	ch->c.done(ch->c.arg, err, ch->plan, first_seq, l != NULL ? l->state : NULL);
	plan_free(ch->plan);
	free(ch);
	if (l != NULL) {
		l->pins--;
		live_settle(l);
	}
}

static void
on_change_written(void *arg, const struct err *err, uint32_t first_seq)
{
	struct change *ch = arg;
	if (err != NULL && err->kind == ERR_AGAIN && ++ch->tries < CHANGE_TRIES && ch->live->state != NULL)
		change_prepare(ch);
	else
		change_end(ch, err, first_seq);
}

static void
change_write(struct change *ch)
{
	AUTO(buf) struct buf snap;
	buf_init(&snap, LIM_EVENT_BODY);
	const struct session_state *s = ch->live->state;
	struct store_append a = {.session_id = id_str(&ch->id),
		.rows = ch->plan->rows,
		.n_rows = ch->plan->n_rows,
		.epoch = ch->epoch,
		.expect_seq = s->turn.last_seq,
		.status = TURN_RUNNING,
		.archived = ch->c.archive ? 1 : -1};
	if (comes_to_rest(ch->plan))
		snapshot_after(s, ch->plan, &snap, &a.status);
	if (buf_check(&snap, NULL) == 0)
		a.snapshot = buf_str(&snap);
	store_append(ch->brain->o.store, &a, on_change_written, ch);
}

static void
change_attempt(struct change *ch)
{
	struct err e = {0};
	plan_free(ch->plan);
	ch->plan = plan_new();
	int r = ch->plan != NULL ? 0 : err_set(&e, ERR_NO_MEMORY, "out of memory");
	if (r == 0)
		r = ch->c.make(ch->c.arg, ch->live->state, ch->plan, &e);
	if (r == 0)
		r = arena_check(ch->plan->arena, &e);
	if (r < 0 || ch->plan->n_rows == 0) {
		change_end(ch, r < 0 ? &e : NULL, 0);
		return;
	}
	change_write(ch);
}

static void
on_change_context(void *arg, const struct err *err)
{
	struct change *ch = arg;
	if (err != NULL)
		change_end(ch, err, 0);
	else
		change_attempt(ch);
}

/* The rows may say that a queued event was processed: subscribers are then shown its body, which must be at
 * hand when the commit is told. */
static void
change_prepare(struct change *ch)
{
	if (live_kept_complete(ch->live))
		change_attempt(ch);
	else
		live_load_context(ch->live, on_change_context, ch);
}

static void
on_change_state(void *arg, const struct err *err, const struct session_state *s)
{
	struct change *ch = arg;
	if (err != NULL || s == NULL) {
		change_end(ch, err, 0);
		return;
	}
	ch->live = live_find(ch->brain, id_str(&ch->id));
	ch->live->pins++;
	change_prepare(ch);
}

static void
change_start(struct brain *b, struct str id, const struct brain_change *c, uint64_t epoch)
{
	struct err e = {0};
	struct change *ch = calloc(1, sizeof(*ch));
	if (ch == NULL) {
		err_set(&e, ERR_NO_MEMORY, "out of memory");
		c->done(c->arg, &e, NULL, 0, NULL);
		return;
	}
	*ch = (struct change){.brain = b, .id = id_from(id), .c = *c, .epoch = epoch};
	brain_session_get(b, id, on_change_state, ch);
}

void
brain_session_change(struct brain *b, struct str id, const struct brain_change *c)
{
	change_start(b, id, c, 0);
}

void
live_change(struct live *l, const struct brain_change *c)
{
	change_start(l->brain, id_str(&l->id), c, l->epoch);
}

/* ---- creating ---- */

struct create {
	struct brain *brain;
	struct id id;
	brain_session_cb *cb;
	void *arg;
};

static void
on_created(void *arg, const struct err *err, uint32_t first_seq)
{
	(void)first_seq;
	struct create *c = arg;
	if (err != NULL)
		c->cb(c->arg, err, NULL);
	else
		brain_session_get(c->brain, id_str(&c->id), c->cb, c->arg);
	free(c);
}

static int
create_rows(struct plan *p, const struct brain_create *c, struct err *e)
{
	uint64_t now = clock_wall_us();
	AUTO(buf) struct buf body;
	buf_init(&body, LIM_EVENT_BODY);
	session_created_body(c->n, &body);
	int r = buf_check(&body, e);
	if (r < 0)
		return r;
	p->rows[p->n_rows++] = (struct event_row){.id = id_new("sevt", now),
		.facts = {.type = EV_CREATED, .at_us = now},
		.body = arena_dup(p->arena, buf_str(&body))};
	for (size_t i = 0; i < c->n_initial; i++)
		client_event_row(&c->initial[i], 0, now, &p->rows[p->n_rows++]);
	return arena_check(p->arena, e);
}

void
brain_session_create(struct brain *b, const struct brain_create *c, brain_session_cb *cb, void *arg)
{
	struct err e = {0};
	AUTO(plan) struct plan *p = plan_new();
	struct create *op = p != NULL ? calloc(1, sizeof(*op)) : NULL;
	if (op == NULL)
		err_set(&e, ERR_NO_MEMORY, "out of memory");
	if (op == NULL || create_rows(p, c, &e) < 0) {
		free(op);
		cb(arg, &e, NULL);
		return;
	}
	*op = (struct create){.brain = b, .id = c->n->id, .cb = cb, .arg = arg};
	AUTO(buf) struct buf snap;
	buf_init(&snap, LIM_EVENT_BODY);
	struct session_state empty;
	session_state_init(&empty);
	int status = TURN_IDLE;
	snapshot_after(&empty, p, &snap, &status);
	session_state_done(&empty);
	struct store_append sa = {.session_id = id_str(&c->n->id),
		.rows = p->rows,
		.n_rows = p->n_rows,
		.status = status,
		.archived = -1,
		.snapshot = buf_check(&snap, NULL) == 0 ? buf_str(&snap) : STR_NULL};
	store_session_create(b->o.store, &sa, c->ix, p->rows[0].facts.at_us, on_created, op);
}

/* ---- deleting ---- */

struct delete_op {
	struct brain *brain;
	struct live *live;
	struct id id;
	store_done_cb *cb;
	void *arg;
	unsigned tries;
};

static void on_delete_state(void *arg, const struct err *err, const struct session_state *s);

/* What was appended although the session was being deleted waits for its run. */
static void
delete_release(struct delete_op *d)
{
	struct live *l = MOVE(d->live);
	if (l == NULL)
		return;
	l->deleting = false;
	run_drive(l);
	l->pins--;
	live_settle(l);
}

static void
delete_end(struct delete_op *d, const struct err *err)
{
	d->cb(d->arg, err);
	delete_release(d);
	free(d);
}

static void
on_deleted(void *arg, const struct err *err, uint32_t first_seq)
{
	(void)first_seq;
	struct delete_op *d = arg;
	if (err != NULL && err->kind == ERR_AGAIN && ++d->tries < CHANGE_TRIES) {
		delete_release(d);
		brain_session_get(d->brain, id_str(&d->id), on_delete_state, d);
		return;
	}
	if (err == NULL)
		hands_client_release(d->brain->hands, id_str(&d->id), true);
	delete_end(d, err);
}

static void
on_delete_state(void *arg, const struct err *err, const struct session_state *s)
{
	struct delete_op *d = arg;
	struct err e = {0};
	if (err == NULL && turn_busy(&s->turn)) {
		err_set(&e, ERR_INVALID, "Session %s is running; interrupt it before deleting it.", d->id.z);
		err = &e;
	}
	if (err != NULL) {
		delete_end(d, err);
		return;
	}
	d->live = live_find(d->brain, id_str(&d->id));
	d->live->pins++;
	d->live->deleting = true;
	store_session_delete(
		d->brain->o.store, id_str(&d->id), s->turn.last_seq, clock_wall_us(), on_deleted, d);
}

void
brain_session_delete(struct brain *b, struct str id, store_done_cb *cb, void *arg)
{
	struct err e = {0};
	struct delete_op *d = calloc(1, sizeof(*d));
	if (d == NULL) {
		err_set(&e, ERR_NO_MEMORY, "out of memory");
		cb(arg, &e);
		return;
	}
	*d = (struct delete_op){.brain = b, .id = id_from(id), .cb = cb, .arg = arg};
	brain_session_get(b, id, on_delete_state, d);
}
