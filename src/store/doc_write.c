/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Writing API objects: store_doc_create, store_doc_update, store_doc_delete. Each checks everything before it
 * changes anything.
 */
#include "base/limits.h"
#include "store/job.h"

enum doc_verb { DOC_DO_CREATE, DOC_DO_UPDATE, DOC_DO_DELETE };

struct doc_job {
	struct job job;
	enum doc_verb verb;
	struct store_doc d; /* strings behind the struct */
	uint32_t expect_version;
	bool keep_history;
	bool unless_referenced;
	uint32_t version; /* answer */
};

struct doc_ref {
	uint64_t key;
	uint32_t version;
};

/* 1: found. */
static int
find_doc(struct db *db, const struct store_doc *d, struct doc_ref *out, struct err *e)
{
	AUTO(q) struct q q = q_start(db, SQL_DOC_GET);

	q_u64(&q, d->kind);
	q_str(&q, d->id);
	int r = q_step(&q, e);
	if (r == 1)
		*out = (struct doc_ref){.key = q_col_u64(&q, 0), .version = (uint32_t)q_col_u64(&q, 3)};
	return r;
}

/* CONFLICT when a live document other than `self` (0: none) has this unique key. */
static int
check_unique(struct db *db, const struct store_doc *d, uint64_t self, struct err *e)
{
	if (d->unique.n == 0 || d->archived_us)
		return 0;
	AUTO(q) struct q q = q_start(db, SQL_DOC_FIND);
	q_u64(&q, d->kind);
	q_str(&q, d->unique);
	int r = q_step(&q, e);
	if (r == 1 && q_col_u64(&q, 0) != self)
		return err_set(e, ERR_CONFLICT, "there is one with the same unique key");
	return r < 0 ? r : 0;
}

static int
create(struct doc_job *dj, struct db *db, struct err *e)
{
	const struct store_doc *d = &dj->d;
	struct doc_ref ref;
	int r = find_doc(db, d, &ref, e);

	if (r == 1)
		r = err_set(e, ERR_CONFLICT, "%.*s exists already", STRF(d->id));
	if (r == 0)
		r = check_unique(db, d, 0, e);
	if (r < 0)
		return r;
	AUTO(q) struct q q = q_start(db, SQL_DOC_INSERT);
	q_u64(&q, d->kind);
	q_str(&q, d->id);
	q_u64(&q, 1);
	q_u64(&q, d->created_us);
	q_u64(&q, d->updated_us);
	q_u64(&q, d->archived_us);
	q_str(&q, d->unique);
	q_str(&q, d->parent);
	q_str(&q, d->body);
	dj->version = 1;
	return q_run(&q, e);
}

static int
run_with_key(struct db *db, enum sql which, uint64_t key, struct err *e)
{
	AUTO(q) struct q q = q_start(db, which);

	q_u64(&q, key);
	return q_run(&q, e);
}

static int
set_doc(struct db *db, const struct store_doc *d, struct doc_ref ref, struct err *e)
{
	AUTO(q) struct q q = q_start(db, SQL_DOC_SET);

	q_u64(&q, ref.version);
	q_u64(&q, d->updated_us);
	q_u64(&q, d->archived_us);
	q_str(&q, d->unique);
	q_str(&q, d->parent);
	q_str(&q, d->body);
	q_u64(&q, ref.key);
	return q_run(&q, e);
}

static int
find_present(struct db *db, const struct store_doc *d, struct doc_ref *ref, struct err *e)
{
	int r = find_doc(db, d, ref, e);

	if (r == 0)
		return err_set(e, ERR_NOT_FOUND, "%.*s does not exist", STRF(d->id));
	return r < 0 ? r : 0;
}

static int
update(struct doc_job *dj, struct db *db, struct err *e)
{
	struct doc_ref ref;
	int r = find_present(db, &dj->d, &ref, e);

	if (r == 0 && dj->expect_version && dj->expect_version != ref.version)
		r = err_set(e, ERR_CONFLICT, "%.*s is at version %u, not %u", STRF(dj->d.id), ref.version,
			dj->expect_version);
	if (r == 0)
		r = check_unique(db, &dj->d, ref.key, e);
	if (r == 0 && dj->keep_history) {
		r = run_with_key(db, SQL_DOC_KEEP, ref.key, e);
		ref.version++;
	}
	dj->version = ref.version;
	return r < 0 ? r : set_doc(db, &dj->d, ref, e);
}

static int
check_unreferenced(struct db *db, const struct store_doc *d, struct err *e)
{
	if (d->kind != DOC_AGENT && d->kind != DOC_ENVIRONMENT)
		return 0;
	AUTO(q) struct q q = q_start(db, d->kind == DOC_AGENT ? SQL_AGENT_USED : SQL_ENVIRONMENT_USED);
	q_str(&q, d->id);
	int r = q_step(&q, e);
	return r == 1 ? err_set(e, ERR_CONFLICT, "%.*s is used by a session", STRF(d->id)) : r;
}

static int delete (struct doc_job *dj, struct db *db, struct err *e)
{
	struct doc_ref ref;
	int r = find_present(db, &dj->d, &ref, e);

	if (r == 0 && dj->unless_referenced)
		r = check_unreferenced(db, &dj->d, e);
	if (r == 0)
		r = run_with_key(db, SQL_DOC_DELETE_VERSIONS, ref.key, e);
	if (r == 0)
		r = run_with_key(db, SQL_DOC_DELETE, ref.key, e);
	return r;
}

static int
doc_run(struct job *j, struct worker *w, struct err *e)
{
	struct doc_job *dj = CONTAINER_OF(j, struct doc_job, job);

	switch (dj->verb) {
	case DOC_DO_CREATE:
		return create(dj, &w->db, e);
	case DOC_DO_UPDATE:
		return update(dj, &w->db, e);
	case DOC_DO_DELETE:
		return delete (dj, &w->db, e);
	}
	UNREACHABLE();
}

static void
doc_deliver(struct job *j)
{
	if (j->failed)
		j->cb.write(j->arg, &j->err, 0);
	else
		j->cb.write(j->arg, NULL, CONTAINER_OF(j, struct doc_job, job)->version);
}

static const struct job_ops doc_ops = {.lane = LANE_WRITE, .run = doc_run, .deliver = doc_deliver};

static struct doc_job *
doc_job_new(struct store *s, enum doc_verb verb, const struct store_doc *d, store_write_cb *cb, void *arg)
{
	size_t n = sizeof(struct doc_job);

	pack_add(&n, d->id);
	pack_add(&n, d->unique);
	pack_add(&n, d->parent);
	pack_add(&n, d->body);
	struct doc_job *dj = job_new(s, &doc_ops, n, (union job_cb){.write = cb}, arg);
	if (!dj)
		return NULL;
	char *at = (char *)(dj + 1);
	dj->verb = verb;
	dj->d = *d;
	dj->d.id = pack_str(&at, d->id);
	dj->d.unique = pack_str(&at, d->unique);
	dj->d.parent = pack_str(&at, d->parent);
	dj->d.body = pack_str(&at, d->body);
	return dj;
}

static void
submit(struct doc_job *dj)
{
	struct err err;

	if (dj->d.body.n <= LIM_HTTP_BODY) {
		job_submit(&dj->job);
		return;
	}
	err_set(&err, ERR_TOO_LARGE, "document over %llu bytes", LIM_HTTP_BODY);
	job_refuse(&dj->job, &err);
}

void
store_doc_create(struct store *s, const struct store_doc *d, store_write_cb *cb, void *arg)
{
	struct doc_job *dj = doc_job_new(s, DOC_DO_CREATE, d, cb, arg);

	if (dj)
		submit(dj);
}

void
store_doc_update(struct store *s, const struct store_doc *d, uint32_t expect_version, bool keep_history,
	store_write_cb *cb, void *arg)
{
	struct doc_job *dj = doc_job_new(s, DOC_DO_UPDATE, d, cb, arg);

	if (!dj)
		return;
	dj->expect_version = expect_version;
	dj->keep_history = keep_history;
	submit(dj);
}

void
store_doc_delete(struct store *s, enum doc_kind kind, struct str id, bool unless_referenced,
	store_write_cb *cb, void *arg)
{
	struct store_doc d = {.kind = kind, .id = id};
	struct doc_job *dj = doc_job_new(s, DOC_DO_DELETE, &d, cb, arg);

	if (!dj)
		return;
	dj->unless_referenced = unless_referenced;
	submit(dj);
}
