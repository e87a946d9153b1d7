/* SPDX-License-Identifier: Apache-2.0 */
#include "store/log_write.h"

#include "base/limits.h"
#include "model/turn.h"
#include "store/chain.h"

/* Rows of a deleted session that one transaction removes. */
#define PURGE_ROWS 500

struct append_job {
	struct job job;
	struct store_append a; /* copies, behind the struct */
	struct event_row *rows;
	bool create;
	struct store_session_index index;
	uint64_t created_us;
	uint32_t first_seq;
};

struct session_job {
	struct job job;
	struct str id;
	uint32_t expect_seq;
	uint64_t now_us;
	uint64_t epoch;
};

static int
no_session(struct err *e, struct str id)
{
	return err_set(e, ERR_NOT_FOUND, "session %.*s does not exist", (int)(id.n < ID_MAX ? id.n : ID_MAX),
		id.n ? id.p : "");
}

/* ---- append: worker ---- */

static int
insert_event(
	struct db *db, uint64_t key, const struct event_row *row, const struct str record[2], struct err *e)
{
	AUTO(q) struct q q = q_start(db, SQL_EVENT_INSERT);

	q_u64(&q, key);
	q_u64(&q, row->seq);
	q_u64(&q, row->facts.type);
	q_str(&q, id_str(&row->id));
	q_blob(&q, record[0]);
	q_blob(&q, record[1]);
	q_str(&q, row->thread);
	q_str(&q, row->body);
	q_blob(&q, row->private_);
	return q_run(&q, e);
}

/* One more client event waits, or one less. */
static int
count_waiting(struct db *db, struct head *h, const struct event_row *row, struct err *e)
{
	enum event_type t = row->facts.type;

	if (t != EV_PROCESSED) {
		h->waiting += !event_processed_at_birth(t);
		return 0;
	}
	AUTO(q) struct q q = q_start(db, SQL_PROCESSED_INSERT);
	q_u64(&q, h->key);
	q_u64(&q, row->facts.ref);
	q_u64(&q, row->facts.at_us);
	int r = q_run(&q, e);
	if (r == 0 && h->waiting > 0 && sqlite3_changes(db->h) > 0)
		h->waiting--;
	return r;
}

static int
append_row(struct db *db, struct head *h, struct event_row *row, struct err *e)
{
	uint8_t facts[EVENT_FACTS_BYTES];

	row->seq = ++h->last_seq;
	event_facts_encode(&row->facts, facts);
	h->hash = chain_next(&h->hash, row, facts);
	struct str record[2] = {str_n(facts, sizeof(facts)), str_n(h->hash.b, HASH_BYTES)};
	int r = insert_event(db, h->key, row, record, e);
	return r < 0 ? r : count_waiting(db, h, row, e);
}

static int
set_snapshot(struct db *db, const struct head *h, struct str state, struct err *e)
{
	AUTO(q) struct q q = q_start(db, SQL_SNAPSHOT_SET);

	q_u64(&q, h->key);
	q_u64(&q, h->last_seq);
	q_blob(&q, state);
	return q_run(&q, e);
}

/* All changes of one append, made on a copy of the head that replaces it at the end. */
static int
append_rows(struct db *db, struct head *slot, struct append_job *aj, struct err *e)
{
	const struct store_append *a = &aj->a;
	struct head h = *slot;
	int r = 0;

	aj->first_seq = h.last_seq + 1;
	for (size_t i = 0; r == 0 && i < a->n_rows; i++)
		r = append_row(db, &h, &aj->rows[i], e);
	if (r == 0 && a->snapshot.n > 0)
		r = set_snapshot(db, &h, a->snapshot, e);
	if (r < 0)
		return r;
	if (a->status >= 0)
		h.status = (uint8_t)a->status;
	if (a->archived >= 0)
		h.archived = a->archived != 0;
	heads_change(slot, &h);
	return 0;
}

static int
insert_session(struct db *db, const struct append_job *aj, struct head *h, struct err *e)
{
	AUTO(q) struct q q = q_start(db, SQL_SESSION_INSERT);

	q_str(&q, aj->a.session_id);
	q_u64(&q, aj->created_us);
	q_str(&q, aj->index.agent_id);
	q_u64(&q, aj->index.agent_version);
	q_str(&q, aj->index.environment_id);
	q_str(&q, aj->index.deployment_id);
	q_u64(&q, h->status);
	q_u64(&q, h->archived);
	q_blob(&q, str_n(h->hash.b, HASH_BYTES));
	int r = q_run(&q, e);
	if (r == 0)
		h->key = (uint64_t)sqlite3_last_insert_rowid(db->h);
	return r;
}

/* The id of a deleted session stays taken: its tombstone proves what was there. */
static int
check_new_id(struct worker *w, struct str id, struct err *e)
{
	struct head *h;
	int r = heads_get(&w->store->writer->heads, &w->db, id, &h, e);

	if (r == 0) {
		AUTO(q) struct q q = q_start(&w->db, SQL_TOMBSTONE_FIND);
		q_str(&q, id);
		r = q_step(&q, e);
	}
	return r > 0 ? err_set(e, ERR_CONFLICT, "session %.*s exists already", STRF(id)) : r;
}

static int
create_run(struct append_job *aj, struct worker *w, struct err *e)
{
	struct str id = aj->a.session_id;
	struct head h = {.id = id_from(id), .hash = chain_start(id)}, *slot;
	int r = check_new_id(w, id, e);

	if (r < 0)
		return r;
	h.status = aj->a.status >= 0 ? (uint8_t)aj->a.status : TURN_IDLE;
	h.archived = aj->a.archived > 0;
	r = insert_session(&w->db, aj, &h, e);
	if (r == 0)
		r = heads_put(&w->store->writer->heads, &w->db, &h, &slot, e);
	return r < 0 ? r : append_rows(&w->db, slot, aj, e);
}

static int
append_run(struct job *j, struct worker *w, struct err *e)
{
	struct append_job *aj = CONTAINER_OF(j, struct append_job, job);
	const struct store_append *a = &aj->a;
	struct head *h;

	if (aj->create)
		return create_run(aj, w, e);
	int r = heads_get(&w->store->writer->heads, &w->db, a->session_id, &h, e);
	if (r < 0)
		return r;
	if (r == 0)
		return no_session(e, a->session_id);
	if (a->epoch && a->epoch != h->epoch)
		return err_set(e, ERR_FENCED,
			"session %.*s is driven by another brain (lease %llu, not %llu)", STRF(a->session_id),
			(unsigned long long)h->epoch, (unsigned long long)a->epoch);
	if (a->expect_seq && a->expect_seq != h->last_seq)
		return err_set(e, ERR_AGAIN, "session %.*s moved from %u to %u", STRF(a->session_id),
			a->expect_seq, h->last_seq);
	if (a->n_rows > UINT32_MAX - 1 - h->last_seq)
		return err_set(e, ERR_TOO_LARGE, "session %.*s is full", STRF(a->session_id));
	return append_rows(&w->db, h, aj, e);
}

/* ---- append: loop ---- */

static void
append_announce(struct job *j)
{
	struct append_job *aj = CONTAINER_OF(j, struct append_job, job);
	struct store *s = j->store;

	if (aj->a.n_rows == 0)
		return;
	s->stats.appends++;
	s->stats.rows += aj->a.n_rows;
	log_moved(s, aj->a.session_id, j->commit);
	if (s->o.on_commit)
		s->o.on_commit(s->o.owner, aj->a.session_id, aj->rows, aj->a.n_rows);
}

static void
append_deliver(struct job *j)
{
	if (j->failed)
		j->cb.write(j->arg, &j->err, 0);
	else
		j->cb.write(j->arg, NULL, CONTAINER_OF(j, struct append_job, job)->first_seq);
}

static const struct job_ops append_ops = {
	.lane = LANE_WRITE,
	.run = append_run,
	.announce = append_announce,
	.deliver = append_deliver,
};

/* Size of the job with all it copies; SIZE_MAX when that overflows. */
static size_t
append_size(const struct store_append *a, const struct store_session_index *ix)
{
	size_t n = sizeof(struct append_job), rows;

	if (__builtin_mul_overflow(a->n_rows, sizeof(struct event_row), &rows) ||
		__builtin_add_overflow(n, rows, &n))
		return SIZE_MAX;
	for (size_t i = 0; i < a->n_rows; i++) {
		pack_add(&n, a->rows[i].thread);
		pack_add(&n, a->rows[i].body);
		pack_add(&n, a->rows[i].private_);
	}
	pack_add(&n, a->session_id);
	pack_add(&n, a->snapshot);
	if (ix) {
		pack_add(&n, ix->agent_id);
		pack_add(&n, ix->environment_id);
		pack_add(&n, ix->deployment_id);
	}
	return n;
}

static char *
append_fill(struct append_job *aj, const struct store_append *a)
{
	char *at = (char *)(aj + 1) + a->n_rows * sizeof(struct event_row);

	aj->rows = (struct event_row *)(void *)(aj + 1);
	for (size_t i = 0; i < a->n_rows; i++) {
		aj->rows[i] = a->rows[i];
		aj->rows[i].thread = pack_str(&at, a->rows[i].thread);
		aj->rows[i].body = pack_str(&at, a->rows[i].body);
		aj->rows[i].private_ = pack_str(&at, a->rows[i].private_);
	}
	aj->a = *a;
	aj->a.rows = aj->rows;
	aj->a.session_id = pack_str(&at, a->session_id);
	aj->a.snapshot = pack_str(&at, a->snapshot);
	return at;
}

static int
check_rows(const struct store_append *a, struct err *e)
{
	for (size_t i = 0; i < a->n_rows; i++) {
		const struct event_row *row = &a->rows[i];
		if (row->body.n > LIM_EVENT_BODY || row->private_.n > LIM_EVENT_BODY)
			return err_set(e, ERR_TOO_LARGE, "event over %llu bytes", LIM_EVENT_BODY);
	}
	return 0;
}

static void
submit_append(struct append_job *aj)
{
	struct err err;

	if (check_rows(&aj->a, &err) < 0)
		job_refuse(&aj->job, &err);
	else
		job_submit(&aj->job);
}

void
store_append(struct store *s, const struct store_append *a, store_write_cb *cb, void *arg)
{
	struct append_job *aj =
		job_new(s, &append_ops, append_size(a, NULL), (union job_cb){.write = cb}, arg);

	if (!aj)
		return;
	append_fill(aj, a);
	submit_append(aj);
}

void
store_session_create(struct store *s, const struct store_append *first, const struct store_session_index *ix,
	uint64_t created_us, store_write_cb *cb, void *arg)
{
	struct append_job *aj =
		job_new(s, &append_ops, append_size(first, ix), (union job_cb){.write = cb}, arg);
	struct err err;

	if (!aj)
		return;
	char *at = append_fill(aj, first);
	aj->create = true;
	aj->created_us = created_us;
	aj->index = *ix;
	aj->index.agent_id = pack_str(&at, ix->agent_id);
	aj->index.environment_id = pack_str(&at, ix->environment_id);
	aj->index.deployment_id = pack_str(&at, ix->deployment_id);
	if (first->session_id.n == 0 || first->session_id.n >= ID_MAX) {
		err_set(&err, ERR_INVALID, "session id of %zu bytes", first->session_id.n);
		job_refuse(&aj->job, &err);
		return;
	}
	submit_append(aj);
}

/* ---- lease ---- */

static int
lease_run(struct job *j, struct worker *w, struct err *e)
{
	struct session_job *sj = CONTAINER_OF(j, struct session_job, job);
	struct head *slot, h;
	int r = heads_get(&w->store->writer->heads, &w->db, sj->id, &slot, e);

	if (r <= 0)
		return r < 0 ? r : no_session(e, sj->id);
	h = *slot;
	sj->epoch = ++h.epoch;
	heads_change(slot, &h);
	return 0;
}

static void
lease_deliver(struct job *j)
{
	if (j->failed)
		j->cb.lease(j->arg, &j->err, 0);
	else
		j->cb.lease(j->arg, NULL, CONTAINER_OF(j, struct session_job, job)->epoch);
}

static const struct job_ops lease_ops = {.lane = LANE_WRITE, .run = lease_run, .deliver = lease_deliver};

static struct session_job *
session_job_new(struct store *s, const struct job_ops *ops, struct str id, union job_cb cb, void *arg)
{
	size_t n = sizeof(struct session_job);

	pack_add(&n, id);
	struct session_job *sj = job_new(s, ops, n, cb, arg);
	if (sj) {
		char *at = (char *)(sj + 1);
		sj->id = pack_str(&at, id);
	}
	return sj;
}

void
store_lease(struct store *s, struct str session_id, store_lease_cb *cb, void *arg)
{
	struct session_job *sj = session_job_new(s, &lease_ops, session_id, (union job_cb){.lease = cb}, arg);

	if (sj)
		job_submit(&sj->job);
}

/* ---- delete ---- */

static int
bury(struct db *db, const struct head *h, uint64_t now_us, struct err *e)
{
	AUTO(q) struct q q = q_start(db, SQL_TOMBSTONE_INSERT);

	q_u64(&q, h->key);
	q_str(&q, id_str(&h->id));
	q_blob(&q, str_n(h->hash.b, HASH_BYTES));
	q_u64(&q, h->last_seq);
	q_u64(&q, now_us);
	return q_run(&q, e);
}

static int
run_with_key(struct db *db, enum sql which, uint64_t key, struct err *e)
{
	AUTO(q) struct q q = q_start(db, which);

	q_u64(&q, key);
	return q_run(&q, e);
}

/* The session is gone at once; its rows are removed in pieces by log_purge. */
static int
delete_run(struct job *j, struct worker *w, struct err *e)
{
	struct session_job *sj = CONTAINER_OF(j, struct session_job, job);
	struct head *h;
	int r = heads_get(&w->store->writer->heads, &w->db, sj->id, &h, e);

	if (r <= 0)
		return r < 0 ? r : no_session(e, sj->id);
	if (sj->expect_seq && sj->expect_seq != h->last_seq)
		return err_set(e, ERR_AGAIN, "session %.*s moved from %u to %u", STRF(sj->id), sj->expect_seq,
			h->last_seq);
	r = bury(&w->db, h, sj->now_us, e);
	if (r == 0)
		r = run_with_key(&w->db, SQL_SESSION_DELETE, h->key, e);
	if (r == 0)
		r = run_with_key(&w->db, SQL_SNAPSHOT_DELETE, h->key, e);
	if (r < 0)
		return r;
	heads_drop(h);
	w->store->writer->purging = true;
	return 0;
}

static void
delete_announce(struct job *j)
{
	struct store *s = j->store;
	struct str id = CONTAINER_OF(j, struct session_job, job)->id;

	log_moved(s, id, j->commit);
	if (s->o.on_deleted)
		s->o.on_deleted(s->o.owner, id);
}

static void
delete_deliver(struct job *j)
{
	j->cb.write(j->arg, j->failed ? &j->err : NULL, 0);
}

static const struct job_ops delete_ops = {
	.lane = LANE_WRITE, .run = delete_run, .announce = delete_announce, .deliver = delete_deliver};

void
store_session_delete(
	struct store *s, struct str id, uint32_t expect_seq, uint64_t now_us, store_write_cb *cb, void *arg)
{
	struct session_job *sj = session_job_new(s, &delete_ops, id, (union job_cb){.write = cb}, arg);

	if (!sj)
		return;
	sj->expect_seq = expect_seq;
	sj->now_us = now_us;
	job_submit(&sj->job);
}

int
log_purge(struct db *db, struct err *e)
{
	uint64_t key;
	{
		AUTO(q) struct q q = q_start(db, SQL_PURGE_NEXT);
		int r = q_step(&q, e);
		if (r <= 0)
			return r;
		key = q_col_u64(&q, 0);
	}
	{
		AUTO(q) struct q q = q_start(db, SQL_PURGE_EVENTS);
		q_u64(&q, key);
		q_u64(&q, PURGE_ROWS);
		int r = q_run(&q, e);
		if (r < 0)
			return r;
	}
	if (sqlite3_changes(db->h) == PURGE_ROWS)
		return 1;
	int r = run_with_key(db, SQL_PURGE_PROCESSED, key, e);
	if (r == 0)
		r = run_with_key(db, SQL_PURGE_DONE, key, e);
	return r < 0 ? r : 1;
}
