/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reading session logs: store_session_load, store_events, store_sessions_unfinished.
 *
 * A load is exact: what its callback gets is what on_commit has told about the session up to that moment, no
 * row more or less. It begins its transaction between two commits, so that it knows which was the last one it
 * sees; when another commit of that session was announced before the load is delivered, it is run again.
 */
#include <stdlib.h>

#include "base/limits.h"
#include "model/turn.h"
#include "store/log_write.h"

/* A session that changes under every load is not loaded for ever. */
#define LOAD_TRIES 16

struct load_job {
	struct job job;
	struct load_job *prev, *next; /* store->loads */
	struct str id;
	bool use_snapshot;
	uint64_t seen;  /* latest commit that this load sees */
	uint64_t moved; /* latest announced commit of the session; loop's thread only */
	unsigned tries;
	struct str snapshot;
	struct event_row *rows;
	size_t n;
};

struct events_job {
	struct job job;
	struct store_read q;
	struct store_event *ev;
	size_t n, cap, bytes;
	bool more;
};

struct ids_job {
	struct job job;
	struct buf ids;
};

/* ---- shared by the readers ---- */

struct session_ref {
	uint64_t key;
	uint32_t last_seq;
};

static int
find_session(struct db *db, struct str id, struct session_ref *out, struct err *e)
{
	AUTO(q) struct q q = q_start(db, SQL_SESSION_FIND);

	q_str(&q, id);
	int r = q_step(&q, e);
	if (r < 0)
		return r;
	if (r == 0)
		return err_set(e, ERR_NOT_FOUND, "session %.*s does not exist",
			(int)(id.n < ID_MAX ? id.n : ID_MAX), id.n ? id.p : "");
	out->key = q_col_u64(&q, 0);
	out->last_seq = (uint32_t)q_col_u64(&q, 1);
	return 0;
}

/* The columns seq, type, id, facts, thread of a row, copied. */
static int
take_row(struct q *q, struct arena *mem, struct event_row *row, struct err *e)
{
	*row = (struct event_row){.seq = (uint32_t)q_col_u64(q, 0), .id = id_from(q_col_str(q, 2))};
	if (event_facts_decode(q_col_str(q, 3), &row->facts, e) < 0)
		return err_wrap(e, "row %u", row->seq);
	row->thread = arena_dup(mem, q_col_str(q, 4));
	return 0;
}

/* Ends the answer's memory and the statement with one check. */
static int
check_answer(const struct q *q, const struct arena *mem, struct err *e)
{
	int r = q_check(q, e);

	return r < 0 ? r : arena_check(mem, e);
}

static int
new_answer(struct job *j, struct err *e)
{
	j->mem = arena_new(STORE_ANSWER_BYTES);
	return j->mem ? 0 : err_set(e, ERR_NO_MEMORY, "out of memory");
}

/* ---- load ---- */

static int
load_snapshot(struct load_job *lj, struct db *db, uint64_t key, uint32_t *seq, struct err *e)
{
	AUTO(q) struct q q = q_start(db, SQL_SNAPSHOT_GET);

	q_u64(&q, key);
	int r = q_step(&q, e);
	if (r <= 0)
		return r;
	*seq = (uint32_t)q_col_u64(&q, 0);
	lj->snapshot = arena_dup(lj->job.mem, q_col_str(&q, 1));
	return check_answer(&q, lj->job.mem, e);
}

static int
load_rows(struct load_job *lj, struct db *db, const struct session_ref *s, uint32_t after, struct err *e)
{
	AUTO(q) struct q q = q_start(db, SQL_EVENTS_LOAD);
	struct arena *mem = lj->job.mem;
	size_t want = s->last_seq - after;
	int r;

	lj->rows = arena_alloc_n(mem, want, sizeof(*lj->rows));
	if (!lj->rows)
		return arena_check(mem, e);
	q_u64(&q, s->key);
	q_u64(&q, after);
	while ((r = q_step(&q, e)) == 1) {
		struct event_row *row = &lj->rows[lj->n];
		if (lj->n == want || q_col_u64(&q, 0) != after + lj->n + 1)
			break;
		r = take_row(&q, mem, row, e);
		if (r < 0)
			return r;
		if (event_body_folds(row->facts.type))
			row->body = arena_dup(mem, q_col_str(&q, 5));
		lj->n++;
	}
	if (r < 0)
		return r;
	if (r == 1 || lj->n != want)
		return err_set(
			e, ERR_CORRUPT, "session %.*s: row %zu is missing", STRF(lj->id), after + lj->n + 1);
	return check_answer(&q, mem, e);
}

/* A transaction sees nothing before its first read: with the commit lock held, it sees exactly what is
 * published. */
static int
begin_between_commits(struct load_job *lj, struct worker *w, struct session_ref *s, struct err *e)
{
	struct store *st = w->store;

	pthread_mutex_lock(&st->commit_lock);
	pthread_mutex_lock(&st->lock);
	lj->seen = st->published;
	pthread_mutex_unlock(&st->lock);
	int r = db_run(&w->db, SQL_BEGIN_READ, e);
	if (r == 0)
		r = find_session(&w->db, lj->id, s, e);
	pthread_mutex_unlock(&st->commit_lock);
	return r;
}

static int
load_in_transaction(struct load_job *lj, struct worker *w, struct err *e)
{
	struct session_ref s;
	uint32_t after = 0;
	int r = begin_between_commits(lj, w, &s, e);

	if (r == 0 && lj->use_snapshot)
		r = load_snapshot(lj, &w->db, s.key, &after, e);
	if (r == 0 && after > s.last_seq)
		r = err_set(
			e, ERR_CORRUPT, "session %.*s: snapshot of a row that does not exist", STRF(lj->id));
	return r < 0 ? r : load_rows(lj, &w->db, &s, after, e);
}

static int
load_run(struct job *j, struct worker *w, struct err *e)
{
	struct load_job *lj = CONTAINER_OF(j, struct load_job, job);
	int r = new_answer(j, e);

	lj->n = 0;
	lj->snapshot = STR_NULL;
	if (r == 0)
		r = load_in_transaction(lj, w, e);
	db_rollback(&w->db);
	return r;
}

void
log_moved(struct store *s, struct str session_id, uint64_t commit)
{
	for (struct load_job *lj = s->loads; lj; lj = lj->next) {
		if (str_eq(lj->id, session_id))
			lj->moved = commit;
	}
}

static void
load_deliver(struct job *j)
{
	struct load_job *lj = CONTAINER_OF(j, struct load_job, job);
	bool gone = j->failed && j->err.kind == ERR_NOT_FOUND;

	if (j->bare || (j->failed && !gone)) {
		j->cb.load(j->arg, &j->err, STR_NULL, NULL, 0);
		return;
	}
	if (lj->moved > lj->seen && !j->store->closing) {
		if (++lj->tries < LOAD_TRIES) {
			j->again = true;
			j->failed = false;
			return;
		}
		j->failed = true;
		err_set(&j->err, ERR_AGAIN, "session %.*s changes faster than it can be read", STRF(lj->id));
	}
	if (j->failed)
		j->cb.load(j->arg, &j->err, STR_NULL, NULL, 0);
	else
		j->cb.load(j->arg, NULL, lj->snapshot, lj->rows, lj->n);
}

static void
load_done(struct job *j)
{
	struct load_job *lj = CONTAINER_OF(j, struct load_job, job);

	if (lj->prev)
		lj->prev->next = lj->next;
	else
		j->store->loads = lj->next;
	if (lj->next)
		lj->next->prev = lj->prev;
}

static const struct job_ops load_ops = {
	.lane = LANE_READ, .run = load_run, .deliver = load_deliver, .done = load_done};

void
store_session_load(struct store *s, struct str id, bool use_snapshot, store_load_cb *cb, void *arg)
{
	size_t n = sizeof(struct load_job);

	pack_add(&n, id);
	struct load_job *lj = job_new(s, &load_ops, n, (union job_cb){.load = cb}, arg);
	if (!lj)
		return;
	char *at = (char *)(lj + 1);
	lj->id = pack_str(&at, id);
	lj->use_snapshot = use_snapshot;
	lj->next = s->loads;
	if (lj->next)
		lj->next->prev = lj;
	s->loads = lj;
	job_submit(&lj->job);
}

/* ---- pages of events ---- */

/* When the row was processed; 0: not yet. */
static int
processed_at(struct db *db, uint64_t key, const struct event_row *row, uint64_t *us, struct err *e)
{
	if (event_processed_at_birth(row->facts.type)) {
		*us = row->facts.at_us;
		return 0;
	}
	AUTO(q) struct q q = q_start(db, SQL_PROCESSED_GET);
	q_u64(&q, key);
	q_u64(&q, row->seq);
	int r = q_step(&q, e);
	*us = r == 1 ? q_col_u64(&q, 0) : 0;
	return r < 0 ? r : 0;
}

static bool
type_wanted(const struct store_read *q, uint64_t type)
{
	if (type >= EV_COUNT || (q->types && !(q->types >> type & 1)))
		return false;
	return q->internal || event_listed((enum event_type)type);
}

static bool
time_wanted(const struct store_read *q, uint64_t us)
{
	if (!q->at_gt && !q->at_gte && !q->at_lt && !q->at_lte)
		return true;
	return us && (!q->at_gt || us > q->at_gt) && us >= q->at_gte && (!q->at_lt || us < q->at_lt) &&
	       (!q->at_lte || us <= q->at_lte);
}

static bool
page_full(const struct events_job *ej)
{
	return ej->n == ej->cap || ej->bytes > STORE_PAGE_BYTES;
}

/* 1: taken or passed over, 0: it matches but the page is full. */
static int
take_event(struct events_job *ej, struct db *db, uint64_t key, struct q *q, struct err *e)
{
	struct arena *mem = ej->job.mem;
	struct store_event ev = {0};

	if (!type_wanted(&ej->q, q_col_u64(q, 1)))
		return 1;
	int r = take_row(q, mem, &ev.row, e);
	if (r == 0)
		r = processed_at(db, key, &ev.row, &ev.processed_us, e);
	if (r < 0)
		return r;
	if (!time_wanted(&ej->q, ev.processed_us))
		return 1;
	ej->more = page_full(ej);
	if (ej->more)
		return 0;
	ev.row.body = arena_dup(mem, q_col_str(q, 5));
	if (ej->q.with_private)
		ev.row.private_ = arena_dup(mem, q_col_str(q, 6));
	ej->bytes += ev.row.body.n + ev.row.private_.n;
	ej->ev[ej->n++] = ev;
	return 1;
}

static int
read_events(struct events_job *ej, struct db *db, struct err *e)
{
	const struct store_read *rd = &ej->q;
	struct session_ref s;
	int r = find_session(db, rd->session_id, &s, e);

	if (r < 0)
		return r;
	uint64_t high = rd->before_seq ? rd->before_seq : (uint64_t)s.last_seq + 1;
	ej->cap = rd->limit && rd->limit < LIM_PAGE_MAX ? rd->limit : LIM_PAGE_MAX;
	if (ej->cap > s.last_seq)
		ej->cap = s.last_seq;
	ej->ev = arena_alloc_n(ej->job.mem, ej->cap, sizeof(*ej->ev));
	if (!ej->ev)
		return arena_check(ej->job.mem, e);

	AUTO(q) struct q q = q_start(db, rd->descending ? SQL_EVENTS_DOWN : SQL_EVENTS_UP);
	q_u64(&q, s.key);
	q_u64(&q, rd->after_seq);
	q_u64(&q, high);
	while ((r = q_step(&q, e)) == 1) {
		r = take_event(ej, db, s.key, &q, e);
		if (r <= 0)
			break;
	}
	if (r < 0)
		return r;
	return check_answer(&q, ej->job.mem, e);
}

static int
events_run(struct job *j, struct worker *w, struct err *e)
{
	struct events_job *ej = CONTAINER_OF(j, struct events_job, job);
	int r = new_answer(j, e);

	if (r == 0)
		r = db_run(&w->db, SQL_BEGIN_READ, e);
	if (r == 0)
		r = read_events(ej, &w->db, e);
	db_rollback(&w->db);
	return r;
}

static void
events_deliver(struct job *j)
{
	struct events_job *ej = CONTAINER_OF(j, struct events_job, job);

	if (j->failed)
		j->cb.events(j->arg, &j->err, NULL, 0, false);
	else
		j->cb.events(j->arg, NULL, ej->ev, ej->n, ej->more);
}

static const struct job_ops events_ops = {.lane = LANE_READ, .run = events_run, .deliver = events_deliver};

void
store_events(struct store *s, const struct store_read *q, store_events_cb *cb, void *arg)
{
	size_t n = sizeof(struct events_job);

	pack_add(&n, q->session_id);
	struct events_job *ej = job_new(s, &events_ops, n, (union job_cb){.events = cb}, arg);
	if (!ej)
		return;
	char *at = (char *)(ej + 1);
	ej->q = *q;
	ej->q.session_id = pack_str(&at, q->session_id);
	job_submit(&ej->job);
}

/* ---- unfinished sessions ---- */

_Static_assert(TURN_RUNNING == 1 && TURN_RESCHEDULING == 2 && TURN_TERMINATED == 3, "SQL_OPEN names them");

static int
ids_run(struct job *j, struct worker *w, struct err *e)
{
	struct ids_job *ij = CONTAINER_OF(j, struct ids_job, job);
	AUTO(q) struct q q = q_start(&w->db, SQL_SESSIONS_OPEN);
	int r;

	buf_init(&ij->ids, STORE_ANSWER_BYTES);
	while ((r = q_step(&q, e)) == 1) {
		struct id id = id_from(q_col_str(&q, 0));
		buf_put(&ij->ids, &id, sizeof(id));
	}
	if (r == 0)
		r = q_check(&q, e);
	return r < 0 ? r : buf_check(&ij->ids, e);
}

static void
ids_deliver(struct job *j)
{
	struct ids_job *ij = CONTAINER_OF(j, struct ids_job, job);

	if (j->failed)
		j->cb.ids(j->arg, &j->err, NULL, 0);
	else
		j->cb.ids(j->arg, NULL, (const struct id *)(const void *)ij->ids.p,
			ij->ids.n / sizeof(struct id));
}

static void
ids_done(struct job *j)
{
	buf_done(&CONTAINER_OF(j, struct ids_job, job)->ids);
}

static const struct job_ops ids_ops = {
	.lane = LANE_READ, .run = ids_run, .deliver = ids_deliver, .done = ids_done};

void
store_sessions_unfinished(struct store *s, store_ids_cb *cb, void *arg)
{
	struct ids_job *ij = job_new(s, &ids_ops, sizeof(struct ids_job), (union job_cb){.ids = cb}, arg);

	if (ij)
		job_submit(&ij->job);
}
