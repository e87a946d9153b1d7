/* SPDX-License-Identifier: Apache-2.0 */
#include "brain/state.h"

#include <stdlib.h>

#include "base/log.h"

/* Loaded idle sessions kept for the next request; more are evicted, least recently used first. */
#define LIVE_CACHE 128
/* Contexts of idle sessions larger than this are dropped and read again when needed. */
#define LIVE_CONTEXT_KEEP (64 * KIB)

static uint64_t
id_hash(struct str id)
{
	uint64_t h = 1469598103934665603ull;
	for (size_t i = 0; i < id.n; i++)
		h = (h ^ (uint8_t)id.p[i]) * 1099511628211ull;
	return h;
}

struct live *
live_find(struct brain *b, struct str id)
{
	if (b->table_cap == 0)
		return NULL;
	struct live *l = b->table[id_hash(id) & (b->table_cap - 1)];
	while (l != NULL && !str_eq(id_str(&l->id), id))
		l = l->hash_next;
	return l;
}

static bool
table_grow(struct brain *b)
{
	size_t cap = b->table_cap ? b->table_cap * 2 : 64;
	struct live **t = calloc(cap, sizeof(*t));
	if (t == NULL)
		return b->table_cap != 0;
	for (size_t i = 0; i < b->table_cap; i++) {
		while (b->table[i] != NULL) {
			struct live *l = b->table[i];
			b->table[i] = l->hash_next;
			struct live **slot = &t[id_hash(id_str(&l->id)) & (cap - 1)];
			l->hash_next = *slot;
			*slot = l;
		}
	}
	free(b->table);
	b->table = t;
	b->table_cap = cap;
	return true;
}

struct live *
live_entry(struct brain *b, struct str id)
{
	struct live *l = live_find(b, id);
	if (l != NULL)
		return l;
	if (b->n_lives >= b->table_cap && !table_grow(b))
		return NULL;
	l = calloc(1, sizeof(*l));
	if (l == NULL)
		return NULL;
	l->brain = b;
	l->id = id_from(id);
	struct live **slot = &b->table[id_hash(id) & (b->table_cap - 1)];
	l->hash_next = *slot;
	*slot = l;
	b->n_lives++;
	return l;
}

static void
lru_remove(struct live *l)
{
	if (!l->in_lru)
		return;
	l->lru_prev->lru_next = l->lru_next;
	l->lru_next->lru_prev = l->lru_prev;
	l->in_lru = false;
	l->brain->n_lru--;
}

static void
lru_add(struct live *l)
{
	struct live *head = &l->brain->lru;
	l->lru_next = head->lru_next;
	l->lru_prev = head;
	head->lru_next->lru_prev = l;
	head->lru_next = l;
	l->in_lru = true;
	l->brain->n_lru++;
}

/* It was used just now. */
static void
lru_touch(struct live *l)
{
	if (!l->in_lru)
		return;
	lru_remove(l);
	lru_add(l);
}

static void
state_free(struct session_state *s)
{
	if (s == NULL)
		return;
	session_state_done(s);
	free(s);
}

static void
kept_free(struct live_kept *k)
{
	rc_bytes_unref(k->body);
	free(k);
}

static void
live_unload(struct live *l)
{
	state_free(MOVE(l->state));
	transcript_free(MOVE(l->context));
	while (l->kept != NULL) {
		struct live_kept *k = l->kept;
		l->kept = k->next;
		kept_free(k);
	}
}

static void
live_free(struct live *l)
{
	struct brain *b = l->brain;
	struct live **slot = &b->table[id_hash(id_str(&l->id)) & (b->table_cap - 1)];
	while (*slot != l)
		slot = &(*slot)->hash_next;
	*slot = l->hash_next;
	b->n_lives--;
	lru_remove(l);
	live_unload(l);
	free(l);
}

void
live_free_all(struct brain *b)
{
	for (size_t i = 0; i < b->table_cap; i++) {
		while (b->table[i] != NULL) {
			struct live *l = b->table[i];
			l->pins++; /* the last unsubscribing must not free it under us */
			run_free(MOVE(l->run));
			while (l->subs != NULL)
				brain_unsubscribe(l->subs);
			live_free(l);
		}
	}
	free(b->table);
	b->table = NULL;
	b->table_cap = 0;
}

void
live_trim(struct live *l)
{
	if (l->context != NULL && transcript_bytes(l->context) > LIVE_CONTEXT_KEEP)
		transcript_free(MOVE(l->context));
}

/* Somebody works with the entry: it is neither freed nor evicted. */
static bool
live_held(const struct live *l)
{
	return l->pins > 0 || l->run != NULL || l->loading || l->waiters != NULL;
}

/* Least recently used entries leave; those that still have subscribers lose only their fold. One that is in
 * use again since it came to rest only leaves the list: it comes back when it is settled. */
static void
cache_shrink(struct brain *b)
{
	while (b->n_lru > LIVE_CACHE) {
		struct live *l = b->lru.lru_prev;
		lru_remove(l);
		if (live_held(l))
			continue;
		live_unload(l);
		if (l->subs == NULL)
			live_free(l);
	}
}

void
live_settle(struct live *l)
{
	if (live_held(l))
		return;
	if (l->state == NULL) {
		if (l->subs == NULL)
			live_free(l);
		return;
	}
	lru_remove(l);
	lru_add(l);
	cache_shrink(l->brain);
}

struct live_kept *
live_kept_find(const struct live *l, uint32_t seq)
{
	struct live_kept *k = l->kept;
	while (k != NULL && k->seq != seq)
		k = k->next;
	return k;
}

static bool
is_kept_type(enum event_type t)
{
	return event_class(t) == EVENT_CLIENT_QUEUED || t == EV_AGENT_TOOL_USE || t == EV_AGENT_MCP_TOOL_USE;
}

static int
kept_add(struct live *l, const struct event_row *row, struct err *e)
{
	struct live_kept *k = calloc(1, sizeof(*k));
	if (k == NULL)
		return err_set(e, ERR_NO_MEMORY, "out of memory");
	k->seq = row->seq;
	k->type = (enum event_type)row->facts.type;
	k->body = rc_bytes_new(row->body);
	if (k->body == NULL) {
		free(k);
		return err_set(e, ERR_NO_MEMORY, "out of memory");
	}
	k->next = l->kept;
	l->kept = k;
	return 0;
}

static void
kept_drop(struct live *l, uint32_t seq)
{
	for (struct live_kept **at = &l->kept; *at != NULL; at = &(*at)->next) {
		if ((*at)->seq == seq) {
			struct live_kept *k = *at;
			*at = k->next;
			kept_free(k);
			return;
		}
	}
}

/* Keeps what later steps need of a row and forgets what it settles. */
static int
kept_update(struct live *l, const struct event_row *row, struct err *e)
{
	enum event_type t = (enum event_type)row->facts.type;
	if (is_kept_type(t))
		return kept_add(l, row, e);
	if (t == EV_PROCESSED || t == EV_AGENT_TOOL_RESULT || t == EV_AGENT_MCP_TOOL_RESULT)
		kept_drop(l, row->facts.ref);
	return 0;
}

bool
live_kept_complete(const struct live *l)
{
	const struct turn *t = &l->state->turn;
	for (size_t i = 0; i < t->n_queued; i++) {
		if (live_kept_find(l, t->queued[i].seq) == NULL)
			return false;
	}
	return true;
}

/* A state that cannot be folded on is thrown away; brain_on_commit has the log loaded anew. */
static void
live_broken(struct live *l, const struct err *e)
{
	log_error("session.fold", LOG_STR("session", id_str(&l->id)), LOG_ERR(e));
	run_free(MOVE(l->run));
	live_unload(l);
}

static void
on_reloaded(void *arg, const struct err *err, const struct session_state *s)
{
	(void)arg, (void)s;
	if (err != NULL && err->kind != ERR_NOT_FOUND)
		log_error("session.reload", LOG_ERR(err));
}

static int
live_fold_row(struct live *l, const struct event_row *row, struct err *e)
{
	if (session_fold(l->state, row, e) < 0)
		return err_wrap(e, "row %u", row->seq);
	return l->context != NULL ? transcript_add(l->context, row, e) : 0;
}

/* One row for the fold and the subscribers. False when the fold broke on it. */
static bool
live_take_row(struct live *l, const struct event_row *row)
{
	struct err e = {0};
	bool whole = l->state == NULL || live_fold_row(l, row, &e) == 0;
	/* Every commit is this process's own: whoever finds this span open later knows whose request it is.
	 */
	if (row->facts.type == EV_SPAN_MODEL_REQUEST_START) {
		l->requests++;
		l->opened = row->id;
	}
	subs_deliver(l, row);
	whole = whole && (l->state == NULL || kept_update(l, row, &e) == 0);
	if (!whole)
		live_broken(l, &e);
	return whole;
}

/* The rows of one commit: folded, shown to the subscribers, then the brain looks what is next. */
void
brain_on_commit(struct brain *b, struct str session_id, const struct event_row *rows, size_t n)
{
	bool fresh = n > 0 && rows[0].facts.type == EV_CREATED;
	struct live *l = fresh ? live_entry(b, session_id) : live_find(b, session_id);
	if (l == NULL)
		return;
	if (fresh && l->state == NULL) {
		l->state = calloc(1, sizeof(*l->state));
		if (l->state != NULL)
			session_state_init(l->state);
		l->context = transcript_new();
	}
	l->pins++;
	bool whole = true;
	for (size_t i = 0; i < n; i++)
		whole = live_take_row(l, &rows[i]) && whole;
	if (l->state != NULL && l->state->turn.status == TURN_TERMINATED)
		subs_end(l, false);
	run_drive(l);
	if (!whole)
		brain_session_get(b, session_id, on_reloaded, l);
	l->pins--;
	live_settle(l);
}

void
brain_on_deleted(struct brain *b, struct str session_id)
{
	struct live *l = live_find(b, session_id);
	if (l == NULL)
		return;
	l->pins++;
	run_free(MOVE(l->run));
	subs_end(l, true);
	lru_remove(l);
	live_unload(l);
	l->pins--;
	live_settle(l);
}

/* ---- loading ---- */

static void
waiters_answer(struct live *l, const struct err *err)
{
	while (l->waiters != NULL) {
		struct live_waiter *w = l->waiters;
		l->waiters = w->next;
		w->cb(w->arg, err, err == NULL ? l->state : NULL);
		free(w);
	}
}

static int
state_build(struct live *l, struct str snapshot, const struct event_row *rows, size_t n, struct err *e)
{
	struct session_state *s = calloc(1, sizeof(*s));
	if (s == NULL)
		return err_set(e, ERR_NO_MEMORY, "out of memory");
	session_state_init(s);
	int r = snapshot.n > 0 ? session_decode(snapshot, s, e) : 0;
	for (size_t i = 0; r == 0 && i < n; i++)
		r = session_fold(s, &rows[i], e);
	if (r < 0) {
		state_free(s);
		return r;
	}
	l->state = s;
	return 0;
}

static int
session_not_found(struct str id, struct err *e)
{
	return err_set(e, ERR_NOT_FOUND, "Session not found: %.*s", STRF(str_sub(id, 0, ID_MAX)));
}

static void on_loaded(
	void *arg, const struct err *err, struct str snapshot, const struct event_row *rows, size_t n);

/* A snapshot of another version, or a damaged one, is only a cache: fold from the first row instead. */
static bool
load_again_without_snapshot(struct live *l, struct str snapshot)
{
	if (snapshot.n == 0)
		return false;
	store_session_load(l->brain->o.store, id_str(&l->id), false, on_loaded, l);
	return true;
}

/* Tools that a former process may have sent: their results are asked for, they are not run. In an idle
 * session nothing was in flight. */
static void
note_unsure(struct live *l)
{
	const struct turn *t = &l->state->turn;
	l->n_unsure = 0;
	for (size_t i = 0; t->status == TURN_RUNNING && i < t->n_tools; i++) {
		if (turn_tool_runnable(&t->tools[i]) && l->n_unsure < ARRAY_LEN(l->unsure))
			l->unsure[l->n_unsure++] = t->tools[i].seq;
	}
}

static void
on_loaded(void *arg, const struct err *err, struct str snapshot, const struct event_row *rows, size_t n)
{
	struct live *l = arg;
	struct err e = {0};
	if (err == NULL && state_build(l, snapshot, rows, n, &e) < 0) {
		if (load_again_without_snapshot(l, snapshot))
			return;
		err = &e;
	}
	if (err == NULL)
		note_unsure(l);
	if (err != NULL && err->kind == ERR_NOT_FOUND) {
		session_not_found(id_str(&l->id), &e);
		err = &e;
	}
	l->loading = false;
	l->pins++;
	waiters_answer(l, err);
	if (err == NULL)
		run_drive(l);
	l->pins--;
	live_settle(l);
}

static int
waiter_add(struct live *l, brain_session_cb *cb, void *arg)
{
	struct live_waiter *w = calloc(1, sizeof(*w));
	if (w == NULL)
		return -ERR_NO_MEMORY;
	w->cb = cb;
	w->arg = arg;
	struct live_waiter **at = &l->waiters;
	while (*at != NULL)
		at = &(*at)->next;
	*at = w;
	return 0;
}

void
brain_session_get(struct brain *b, struct str id, brain_session_cb *cb, void *arg)
{
	struct err e = {0};
	bool valid = id_valid(id, "sesn");
	struct live *l = valid ? live_entry(b, id) : NULL;
	if (l != NULL && l->state != NULL) {
		lru_touch(l);
		cb(arg, NULL, l->state);
		return;
	}
	if (!valid)
		session_not_found(id, &e);
	else if (l == NULL || waiter_add(l, cb, arg) < 0)
		err_set(&e, ERR_NO_MEMORY, "out of memory");
	if (e.kind != ERR_NONE) {
		if (l != NULL)
			live_settle(l);
		cb(arg, &e, NULL);
		return;
	}
	if (l == NULL || l->loading)
		return;
	l->loading = true;
	store_session_load(b->o.store, id, true, on_loaded, l);
}

const struct session_state *
brain_session_peek(struct brain *b, struct str id)
{
	const struct live *l = live_find(b, id);
	return l != NULL ? l->state : NULL;
}

/* ---- the context: the whole log once, for the transcript and the kept bodies ---- */

struct context_load {
	struct live *live;
	struct transcript *context;
	void (*cb)(void *arg, const struct err *err);
	void *arg;
};

static void context_read(struct context_load *c);

/* The store may show rows that brain_on_commit has yet to tell. They are left to it: it folds each row once,
 * into the context too. */
static int
context_take(struct context_load *c, const struct store_event *ev, size_t n, struct err *e)
{
	struct live *l = c->live;
	for (size_t i = 0; i < n && ev[i].row.seq <= l->state->turn.last_seq; i++) {
		const struct event_row *row = &ev[i].row;
		if (transcript_add(c->context, row, e) < 0)
			return err_wrap(e, "context");
		if (live_kept_find(l, row->seq) == NULL && kept_update(l, row, e) < 0)
			return err_wrap(e, "context");
	}
	return 0;
}

static void
context_done(struct context_load *c, const struct err *err)
{
	struct live *l = c->live;
	if (err == NULL && l->context == NULL)
		l->context = MOVE(c->context);
	transcript_free(c->context);
	void (*cb)(void *, const struct err *) = c->cb;
	void *arg = c->arg;
	free(c);
	l->pins--;
	cb(arg, err);
}

static void
on_context_rows(void *arg, const struct err *err, const struct store_event *ev, size_t n, bool more)
{
	struct context_load *c = arg;
	struct err e = {0};
	(void)more;
	if (err == NULL && c->live->state == NULL)
		err_set(&e, ERR_AGAIN, "the session was unloaded meanwhile");
	else if (err == NULL)
		(void)context_take(c, ev, n, &e);
	if (e.kind != ERR_NONE)
		err = &e;
	/* Rows committed while we read were not added to the context: read on until it has caught up with the
	 * fold. */
	if (err == NULL && n > 0 && transcript_seq(c->context) < c->live->state->turn.last_seq)
		context_read(c);
	else
		context_done(c, err);
}

static void
context_read(struct context_load *c)
{
	struct store_read q = {.session_id = id_str(&c->live->id),
		.after_seq = transcript_seq(c->context),
		.with_private = true,
		.internal = true,
		.limit = 256};
	store_events(c->live->brain->o.store, &q, on_context_rows, c);
}

void
live_load_context(struct live *l, void (*cb)(void *arg, const struct err *err), void *arg)
{
	struct err e = {0};
	struct context_load *c = calloc(1, sizeof(*c));
	struct transcript *t = c != NULL ? transcript_new() : NULL;
	if (t == NULL) {
		free(c);
		err_set(&e, ERR_NO_MEMORY, "out of memory");
		cb(arg, &e);
		return;
	}
	*c = (struct context_load){.live = l, .context = t, .cb = cb, .arg = arg};
	l->pins++;
	context_read(c);
}
