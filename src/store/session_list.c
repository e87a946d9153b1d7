/* SPDX-License-Identifier: Apache-2.0 */
/*
 * store_sessions: pages over all sessions, ordered by (created_us, key), both ways from a position. The
 * statement is built from the filters that are set; the index is named, so that no plan depends on
 * statistics.
 */
#include "base/limits.h"
#include "store/job.h"

struct list_job {
	struct job job;
	struct store_session_query q;
	struct store_session_row *rows;
	size_t n;
	bool before, after;
};

/* How the statement differs from the plain one. */
struct list_shape {
	bool up;        /* ascending in (created_us, key) */
	bool inclusive; /* the row at the cursor too */
	bool probe;     /* only whether there is one */
};

static const char *
index_for(const struct store_session_query *q)
{
	if (q->agent_id.n)
		return "sessions_agent";
	return q->deployment_id.n ? "sessions_deployment" : "sessions_created";
}

static void
put_where(struct buf *b, const struct store_session_query *q)
{
	buf_put_z(b, " WHERE 1");
	if (q->agent_id.n)
		buf_put_z(b, " AND s.agent_id = ?");
	if (q->agent_id.n && q->agent_version)
		buf_put_z(b, " AND s.agent_version = ?");
	if (q->deployment_id.n)
		buf_put_z(b, " AND s.deployment_id = ? AND s.deployment_id <> ''");
	if (!q->include_archived)
		buf_put_z(b, " AND s.archived = 0");
	if (q->statuses)
		buf_put_z(b, " AND (1 << s.status) & ?");
	if (q->created_gt)
		buf_put_z(b, " AND s.created_us > ?");
	if (q->created_gte)
		buf_put_z(b, " AND s.created_us >= ?");
	if (q->created_lt)
		buf_put_z(b, " AND s.created_us < ?");
	if (q->created_lte)
		buf_put_z(b, " AND s.created_us <= ?");
}

static void
put_sql(struct buf *b, const struct store_session_query *q, struct list_shape shape)
{
	const char *side = shape.up ? ">" : "<", *order = shape.up ? "ASC" : "DESC";

	if (shape.probe)
		buf_printf(b, "SELECT 1 FROM sessions s INDEXED BY %s", index_for(q));
	else
		buf_printf(b,
			"SELECT s.id, s.created_us, s.key, s.last_seq, p.seq, p.state"
			" FROM sessions s INDEXED BY %s LEFT JOIN snapshots p ON p.session = s.key",
			index_for(q));
	put_where(b, q);
	if (q->has_cursor)
		buf_printf(b, " AND (s.created_us, s.key) %s%s (?, ?)", side, shape.inclusive ? "=" : "");
	buf_printf(b, " ORDER BY s.created_us %s, s.key %s LIMIT ?", order, order);
	buf_put_c(b, '\0');
}

static void
bind_query(struct q *st, const struct store_session_query *q)
{
	if (q->agent_id.n)
		q_str(st, q->agent_id);
	if (q->agent_id.n && q->agent_version)
		q_u64(st, q->agent_version);
	if (q->deployment_id.n)
		q_str(st, q->deployment_id);
	if (q->statuses)
		q_u64(st, q->statuses);
	if (q->created_gt)
		q_u64(st, q->created_gt);
	if (q->created_gte)
		q_u64(st, q->created_gte);
	if (q->created_lt)
		q_u64(st, q->created_lt);
	if (q->created_lte)
		q_u64(st, q->created_lte);
	if (q->has_cursor) {
		q_u64(st, q->cursor_us);
		q_u64(st, q->cursor_key);
	}
}

/* Prepares into *st, which the caller ends. `text` lives as long as *st. */
static int
start(struct q *st, struct buf *text, struct db *db, const struct list_job *lj, struct list_shape shape)
{
	put_sql(text, &lj->q, shape);
	int r = buf_check(text, NULL);

	if (r < 0)
		return r;
	*st = q_start_text(db, text->p);
	bind_query(st, &lj->q);
	return 0;
}

static int
exists(struct db *db, const struct list_job *lj, bool up, bool *out, struct err *e)
{
	AUTO(buf) struct buf text = {0};
	AUTO(q) struct q q = {0};

	buf_init(&text, 4096);
	int r = start(&q, &text, db, lj, (struct list_shape){.up = up, .inclusive = true, .probe = true});
	if (r < 0)
		return err_set(e, ERR_NO_MEMORY, "out of memory");
	q_u64(&q, 1);
	r = q_step(&q, e);
	*out = r == 1;
	return r < 0 ? r : 0;
}

static int
take_rows(struct list_job *lj, struct q *q, size_t limit, bool *more, struct err *e)
{
	struct arena *mem = lj->job.mem;
	size_t bytes = 0;
	int r;

	while ((r = q_step(q, e)) == 1) {
		*more = lj->n == limit || bytes > STORE_PAGE_BYTES;
		if (*more)
			break;
		struct store_session_row *row = &lj->rows[lj->n++];
		row->id = id_from(q_col_str(q, 0));
		row->created_us = q_col_u64(q, 1);
		row->key = q_col_u64(q, 2);
		row->last_seq = (uint32_t)q_col_u64(q, 3);
		row->snapshot_seq = (uint32_t)q_col_u64(q, 4);
		row->snapshot = arena_dup(mem, q_col_str(q, 5));
		bytes += row->snapshot.n;
	}
	if (r < 0)
		return r;
	r = q_check(q, e);
	return r < 0 ? r : arena_check(mem, e);
}

static void
reverse(struct store_session_row *rows, size_t n)
{
	for (size_t i = 0; i < n / 2; i++) {
		struct store_session_row t = rows[i];
		rows[i] = rows[n - 1 - i];
		rows[n - 1 - i] = t;
	}
}

static int
read_page(struct list_job *lj, struct db *db, struct err *e)
{
	const struct store_session_query *q = &lj->q;
	size_t limit = q->limit && q->limit < LIM_PAGE_MAX ? q->limit : LIM_PAGE_MAX;
	bool up = q->ascending != q->backwards, far = false, near = false;
	AUTO(buf) struct buf text = {0};
	AUTO(q) struct q st = {0};

	lj->rows = arena_alloc_n(lj->job.mem, limit, sizeof(*lj->rows));
	buf_init(&text, 4096);
	if (!lj->rows || start(&st, &text, db, lj, (struct list_shape){.up = up}) < 0)
		return err_set(e, ERR_NO_MEMORY, "out of memory");
	q_u64(&st, limit + 1);
	int r = take_rows(lj, &st, limit, &far, e);
	if (r == 0 && q->has_cursor)
		r = exists(db, lj, !up, &near, e);
	if (q->backwards)
		reverse(lj->rows, lj->n);
	lj->before = q->backwards ? far : near;
	lj->after = q->backwards ? near : far;
	return r;
}

static int
list_run(struct job *j, struct worker *w, struct err *e)
{
	j->mem = arena_new(STORE_ANSWER_BYTES);
	if (!j->mem)
		return err_set(e, ERR_NO_MEMORY, "out of memory");
	int r = db_run(&w->db, SQL_BEGIN_READ, e);
	if (r == 0)
		r = read_page(CONTAINER_OF(j, struct list_job, job), &w->db, e);
	db_rollback(&w->db);
	return r;
}

static void
list_deliver(struct job *j)
{
	struct list_job *lj = CONTAINER_OF(j, struct list_job, job);

	if (j->failed)
		j->cb.sessions(j->arg, &j->err, NULL, 0, false, false);
	else
		j->cb.sessions(j->arg, NULL, lj->rows, lj->n, lj->before, lj->after);
}

static const struct job_ops list_ops = {.lane = LANE_READ, .run = list_run, .deliver = list_deliver};

void
store_sessions(struct store *s, const struct store_session_query *q, store_sessions_cb *cb, void *arg)
{
	size_t n = sizeof(struct list_job);

	pack_add(&n, q->agent_id);
	pack_add(&n, q->deployment_id);
	struct list_job *lj = job_new(s, &list_ops, n, (union job_cb){.sessions = cb}, arg);
	if (!lj)
		return;
	char *at = (char *)(lj + 1);
	lj->q = *q;
	lj->q.agent_id = pack_str(&at, q->agent_id);
	lj->q.deployment_id = pack_str(&at, q->deployment_id);
	job_submit(&lj->job);
}
