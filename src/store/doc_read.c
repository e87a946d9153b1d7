/* SPDX-License-Identifier: Apache-2.0 */
/* Reading API objects: store_doc_get, store_doc_find, store_docs. */
#include "base/limits.h"
#include "store/job.h"

/* Rows in one answer. */
#define DOCS_MAX 10000
#define IDS_MAX  100

struct get_job {
	struct job job;
	enum doc_kind kind;
	struct str text; /* id or unique key */
	bool by_unique;
	uint32_t version;
	struct store_doc d;
};

struct docs_job {
	struct job job;
	struct store_doc_query q;
	struct str *ids;
	struct store_doc_row *rows;
	size_t n, cap, bytes;
	bool more;
};

/* The columns SQL_DOC_COLUMNS, copied. */
static void
take_doc(struct q *q, struct arena *mem, struct store_doc *d)
{
	*d = (struct store_doc){.kind = (enum doc_kind)q_col_u64(q, 1),
		.id = arena_dup(mem, q_col_str(q, 2)),
		.version = (uint32_t)q_col_u64(q, 3),
		.created_us = q_col_u64(q, 4),
		.updated_us = q_col_u64(q, 5),
		.archived_us = q_col_u64(q, 6),
		.unique = arena_dup(mem, q_col_str(q, 7)),
		.parent = arena_dup(mem, q_col_str(q, 8)),
		.body = arena_dup(mem, q_col_str(q, 9))};
}

static int
check_answer(const struct q *q, const struct arena *mem, struct err *e)
{
	int r = q_check(q, e);

	return r < 0 ? r : arena_check(mem, e);
}

/* ---- one document ---- */

/* 1: found, in gj->d. */
static int
get_current(struct get_job *gj, struct db *db, struct err *e)
{
	AUTO(q) struct q q = q_start(db, gj->by_unique ? SQL_DOC_FIND : SQL_DOC_GET);

	q_u64(&q, gj->kind);
	q_str(&q, gj->text);
	int r = q_step(&q, e);
	if (r <= 0)
		return r;
	take_doc(&q, gj->job.mem, &gj->d);
	r = check_answer(&q, gj->job.mem, e);
	return r < 0 ? r : 1;
}

static int
get_version(struct get_job *gj, struct db *db, struct err *e)
{
	AUTO(q) struct q q = q_start(db, SQL_DOC_GET_VERSION);

	q_u64(&q, gj->kind);
	q_str(&q, gj->text);
	q_u64(&q, gj->version);
	int r = q_step(&q, e);
	if (r <= 0)
		return r;
	take_doc(&q, gj->job.mem, &gj->d);
	r = check_answer(&q, gj->job.mem, e);
	return r < 0 ? r : 1;
}

static int
get_run(struct job *j, struct worker *w, struct err *e)
{
	struct get_job *gj = CONTAINER_OF(j, struct get_job, job);

	j->mem = arena_new(STORE_ANSWER_BYTES);
	if (!j->mem)
		return err_set(e, ERR_NO_MEMORY, "out of memory");
	int r = db_run(&w->db, SQL_BEGIN_READ, e);
	if (r == 0)
		r = get_current(gj, &w->db, e);
	if (r == 1 && gj->version && gj->version != gj->d.version)
		r = get_version(gj, &w->db, e);
	db_rollback(&w->db);
	if (r < 0)
		return r;
	if (r == 0)
		return err_set(e, ERR_NOT_FOUND, "no such document");
	return 0;
}

static void
get_deliver(struct job *j)
{
	j->cb.doc(j->arg, j->failed ? &j->err : NULL,
		j->failed ? NULL : &CONTAINER_OF(j, struct get_job, job)->d);
}

static const struct job_ops get_ops = {.lane = LANE_READ, .run = get_run, .deliver = get_deliver};

static struct get_job *
get_job_new(struct store *s, enum doc_kind kind, struct str text, store_doc_cb *cb, void *arg)
{
	size_t n = sizeof(struct get_job);

	pack_add(&n, text);
	struct get_job *gj = job_new(s, &get_ops, n, (union job_cb){.doc = cb}, arg);
	if (!gj)
		return NULL;
	char *at = (char *)(gj + 1);
	gj->kind = kind;
	gj->text = pack_str(&at, text);
	return gj;
}

void
store_doc_get(
	struct store *s, enum doc_kind kind, struct str id, uint32_t version, store_doc_cb *cb, void *arg)
{
	struct get_job *gj = get_job_new(s, kind, id, cb, arg);

	if (!gj)
		return;
	gj->version = version;
	job_submit(&gj->job);
}

void
store_doc_find(struct store *s, enum doc_kind kind, struct str unique, store_doc_cb *cb, void *arg)
{
	struct get_job *gj = get_job_new(s, kind, unique, cb, arg);

	if (!gj)
		return;
	gj->by_unique = true;
	job_submit(&gj->job);
}

/* ---- lists ---- */

static bool
docs_full(const struct docs_job *dj)
{
	return dj->n == dj->cap || dj->bytes > STORE_PAGE_BYTES;
}

/* Copies rows until the page is full; `key_column` gives the cursor key. */
static int
take_docs(struct docs_job *dj, struct q *q, int key_column, struct err *e)
{
	int r;

	while ((r = q_step(q, e)) == 1) {
		dj->more = docs_full(dj);
		if (dj->more)
			break;
		struct store_doc_row *row = &dj->rows[dj->n++];
		take_doc(q, dj->job.mem, &row->doc);
		row->key = q_col_u64(q, key_column);
		dj->bytes += row->doc.body.n;
	}
	return r < 0 ? r : check_answer(q, dj->job.mem, e);
}

static void
put_list_sql(struct buf *b, const struct docs_job *dj)
{
	const struct store_doc_query *q = &dj->q;
	/* By id there are few rows: found through the unique index, then sorted. */
	const char *index = q->ids ? "docs_id" : q->has_parent ? "docs_parent" : "docs_created";

	buf_printf(b, "SELECT " SQL_DOC_COLUMNS " FROM docs INDEXED BY %s WHERE kind = ?", index);
	if (q->has_parent)
		buf_put_z(b, " AND parent = ?");
	if (!q->include_archived)
		buf_put_z(b, " AND archived_us = 0");
	if (q->created_gte)
		buf_put_z(b, " AND created_us >= ?");
	if (q->created_lte)
		buf_put_z(b, " AND created_us <= ?");
	if (q->has_cursor)
		buf_put_z(b, " AND (created_us, key) < (?, ?)");
	if (q->ids) {
		buf_put_z(b, " AND id IN (''");
		for (size_t i = 0; i < q->n_ids; i++)
			buf_put_z(b, ", ?");
		buf_put_c(b, ')');
	}
	buf_put_z(b, " ORDER BY created_us DESC, key DESC LIMIT ?");
	buf_put_c(b, '\0');
}

static int
list_docs(struct docs_job *dj, struct db *db, struct err *e)
{
	const struct store_doc_query *q = &dj->q;
	AUTO(buf) struct buf sql = {0};

	buf_init(&sql, 4096);
	put_list_sql(&sql, dj);
	int r = buf_check(&sql, e);
	if (r < 0)
		return r;
	AUTO(q) struct q st = q_start_text(db, sql.p);
	q_u64(&st, q->kind);
	if (q->has_parent)
		q_str(&st, q->parent);
	if (q->created_gte)
		q_u64(&st, q->created_gte);
	if (q->created_lte)
		q_u64(&st, q->created_lte);
	if (q->has_cursor) {
		q_u64(&st, q->cursor_us);
		q_u64(&st, q->cursor_key);
	}
	for (size_t i = 0; q->ids && i < q->n_ids; i++)
		q_str(&st, q->ids[i]);
	q_u64(&st, dj->cap + 1);
	return take_docs(dj, &st, 0, e);
}

/* The current version first, unless the cursor is past it, then the kept ones. */
static int
list_versions(struct docs_job *dj, struct db *db, struct err *e)
{
	uint64_t below = dj->q.has_cursor ? dj->q.cursor_key : UINT32_MAX;
	{
		AUTO(q) struct q q = q_start(db, SQL_DOC_GET);
		q_u64(&q, dj->q.kind);
		q_str(&q, dj->q.versions_of);
		int r = q_step(&q, e);
		if (r < 0)
			return r;
		if (r == 0)
			return err_set(e, ERR_NOT_FOUND, "%.*s does not exist",
				(int)(dj->q.versions_of.n < ID_MAX ? dj->q.versions_of.n : ID_MAX),
				dj->q.versions_of.p);
		if (q_col_u64(&q, 3) < below) {
			struct store_doc_row *row = &dj->rows[dj->n++];
			take_doc(&q, dj->job.mem, &row->doc);
			row->key = row->doc.version;
			r = q_check(&q, e);
		}
		if (r < 0)
			return r;
	}
	AUTO(q) struct q q = q_start(db, SQL_DOC_VERSIONS);
	q_u64(&q, dj->q.kind);
	q_str(&q, dj->q.versions_of);
	q_u64(&q, below);
	q_u64(&q, dj->cap + 1);
	return take_docs(dj, &q, 3, e);
}

static int
docs_run(struct job *j, struct worker *w, struct err *e)
{
	struct docs_job *dj = CONTAINER_OF(j, struct docs_job, job);
	size_t limit = dj->q.limit ? dj->q.limit : LIM_PAGE_MAX;

	dj->cap = limit < DOCS_MAX ? limit : DOCS_MAX;
	j->mem = arena_new(STORE_ANSWER_BYTES);
	if (!j->mem)
		return err_set(e, ERR_NO_MEMORY, "out of memory");
	dj->rows = arena_alloc_n(j->mem, dj->cap, sizeof(*dj->rows));
	if (!dj->rows)
		return arena_check(j->mem, e);
	int r = db_run(&w->db, SQL_BEGIN_READ, e);
	if (r == 0)
		r = dj->q.versions_of.n ? list_versions(dj, &w->db, e) : list_docs(dj, &w->db, e);
	db_rollback(&w->db);
	return r;
}

static void
docs_deliver(struct job *j)
{
	struct docs_job *dj = CONTAINER_OF(j, struct docs_job, job);

	if (j->failed)
		j->cb.docs(j->arg, &j->err, NULL, 0, false);
	else
		j->cb.docs(j->arg, NULL, dj->rows, dj->n, dj->more);
}

static const struct job_ops docs_ops = {.lane = LANE_READ, .run = docs_run, .deliver = docs_deliver};

void
store_docs(struct store *s, const struct store_doc_query *q, store_docs_cb *cb, void *arg)
{
	size_t n_ids = q->ids ? q->n_ids : 0, n = sizeof(struct docs_job);
	struct err err;

	n += (n_ids > IDS_MAX ? 0 : n_ids) * sizeof(struct str);
	pack_add(&n, q->parent);
	pack_add(&n, q->versions_of);
	for (size_t i = 0; i < n_ids && n_ids <= IDS_MAX; i++)
		pack_add(&n, q->ids[i]);
	struct docs_job *dj = job_new(s, &docs_ops, n, (union job_cb){.docs = cb}, arg);
	if (!dj)
		return;
	if (n_ids > IDS_MAX) {
		err_set(&err, ERR_INVALID, "more than %d ids", IDS_MAX);
		job_refuse(&dj->job, &err);
		return;
	}
	dj->ids = (struct str *)(void *)(dj + 1);
	char *at = (char *)(dj->ids + n_ids);
	dj->q = *q;
	dj->q.parent = pack_str(&at, q->parent);
	dj->q.versions_of = pack_str(&at, q->versions_of);
	for (size_t i = 0; i < n_ids; i++)
		dj->ids[i] = pack_str(&at, q->ids[i]);
	dj->q.ids = q->ids ? dj->ids : NULL;
	job_submit(&dj->job);
}
