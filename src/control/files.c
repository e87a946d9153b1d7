/* SPDX-License-Identifier: Apache-2.0 */
#include "base/clock.h"
#include "base/log.h"
#include "control/file_doc.h"
#include "control/multipart.h"

#define BETA_FILES_LEGACY "files-api-2025-04-14"
#define EXPIRES_MIN_S     3600
#define EXPIRES_MAX_S     7776000

/* ---- upload ---- */

struct upload {
	struct call *k;
	struct multipart form;
	struct store_blob *blob;
	struct file_doc doc;
	enum { FIELD_OTHER, FIELD_FILE, FIELD_EXPIRES } field;
	struct buf expires;
	bool has_file;
	uint64_t size;
};

static void
upload_abort(struct upload *u)
{
	store_blob_abort(MOVE(u->blob));
	multipart_done(&u->form);
	buf_done(&u->expires);
}

static int
on_part(void *arg, const struct multipart_part *part, struct err *e)
{
	struct upload *u = arg;
	u->field = FIELD_OTHER;
	if (str_eqz(part->name, "expires_in_seconds"))
		u->field = FIELD_EXPIRES;
	if (!str_eqz(part->name, "file"))
		return 0;
	if (u->has_file)
		return err_set(e, ERR_INVALID, "file: one file only");
	u->field = FIELD_FILE;
	u->has_file = true;
	int r = file_name_clean(u->k->a, part->filename, &u->doc.filename, e);
	if (r < 0)
		return r;
	bool typed =
		part->content_type.n > 0 && part->content_type.n <= 255 && str_is_utf8(part->content_type);
	u->doc.mime_type =
		typed ? arena_dup(u->k->a, part->content_type) : str_z(file_mime_type(u->doc.filename));
	return store_blob_new(u->k->c->store, id_str(&u->doc.id), &u->blob, e);
}

static int
on_data(void *arg, struct str piece, struct err *e)
{
	struct upload *u = arg;
	if (u->field == FIELD_EXPIRES) {
		buf_put_str(&u->expires, piece);
		return buf_check(&u->expires, e);
	}
	if (u->field != FIELD_FILE)
		return 0;
	u->size += piece.n;
	if (u->size > LIM_FILE_BYTES)
		return err_set(e, ERR_TOO_LARGE, "file: over %llu bytes", LIM_FILE_BYTES);
	return store_blob_write(u->blob, piece, e);
}

static int
on_part_end(void *arg, struct err *e)
{
	(void)arg, (void)e;
	return 0;
}

/* piece.p == NULL: the upload failed for a reason of the connection; the server answers and releases the
 * request. */
static int
on_piece(void *arg, struct server_req *r, struct str piece, struct err *e)
{
	(void)r;
	struct upload *u = arg;
	int rc = piece.p != NULL ? multipart_feed(&u->form, piece, e) : -ERR_INVALID;
	if (rc < 0) {
		upload_abort(u);
		call_release(u->k);
	}
	return rc;
}

void
files_upload_head(struct call *k)
{
	static const struct multipart_ops ops = {
		.on_part = on_part, .on_data = on_data, .on_end = on_part_end};
	struct err e = {0};
	struct upload *u = arena_alloc(k->a, sizeof(*u));
	if (u == NULL) {
		err_set(&e, ERR_NO_MEMORY, "out of memory");
		call_fail(k, &e);
		return;
	}
	struct multipart_ops mine = ops;
	mine.arg = u;
	u->k = k;
	u->doc.created_us = clock_wall_us();
	u->doc.id = id_new("file", u->doc.created_us);
	buf_init(&u->expires, 32);
	if (multipart_init(&u->form, server_req_header(k->r, "content-type"), &mine, &e) < 0) {
		upload_abort(u);
		call_fail(k, &e);
		return;
	}
	k->state = u;
	server_req_stream_body(k->r, LIM_FILE_BYTES + MIB, on_piece, u);
}

static void
on_doc_stored(void *arg, const struct err *err, uint32_t seq)
{
	(void)seq;
	struct upload *u = arg;
	struct call *k = u->k;
	if (err != NULL) {
		store_blob_remove(k->c->store, id_str(&u->doc.id));
		call_fail(k, err);
		return;
	}
	struct json_w w = call_json(k);
	file_doc_render(&u->doc, call_has_beta(k, BETA_AGENTS), &w);
	call_reply(k);
}

static void
on_blob_stored(void *arg, const struct err *err)
{
	struct upload *u = arg;
	if (err != NULL)
		call_fail(u->k, err);
	else
		file_doc_store(u->k->c->store, &u->doc, on_doc_stored, u);
}

static int
upload_check(struct upload *u, struct err *e)
{
	uint64_t s = 0;
	int r = multipart_finish(&u->form, e);
	if (r < 0)
		return r;
	if (!u->has_file)
		return err_set(e, ERR_INVALID, "file: Field required");
	u->doc.size = u->size;
	if (u->expires.n == 0)
		return 0;
	if (!str_to_u64(buf_str(&u->expires), &s) || s < EXPIRES_MIN_S || s > EXPIRES_MAX_S)
		return err_set(e, ERR_INVALID, "expires_in_seconds: Input should be an integer from %d to %d",
			EXPIRES_MIN_S, EXPIRES_MAX_S);
	u->doc.expires_us = u->doc.created_us + s * 1000000;
	return 0;
}

/* The body was taken whole. */
void
files_upload(struct call *k)
{
	struct err e = {0};
	struct upload *u = k->state;
	if (upload_check(u, &e) < 0) {
		upload_abort(u);
		call_fail(k, &e);
		return;
	}
	struct store_blob *b = MOVE(u->blob);
	upload_abort(u);
	store_blob_finish(b, on_blob_stored, u);
}

/* ---- get, content, delete ---- */

static void
on_got(void *arg, const struct err *err, const struct store_doc *d)
{
	struct call *k = arg;
	struct err e = {0};
	struct file_doc f;
	AUTO(json) struct json_t *v = NULL;
	if (err == NULL && file_doc_read(d, &v, &f, &e) < 0)
		err = &e;
	if (err != NULL) {
		call_fail_missing(k, err, "File");
		return;
	}
	struct json_w w = call_json(k);
	file_doc_render(&f, call_has_beta(k, BETA_AGENTS), &w);
	call_reply(k);
}

void
files_get(struct call *k)
{
	store_doc_get(k->c->store, DOC_FILE, k->params[0], 0, on_got, k);
}

static int
content_open(struct call *k, const struct store_doc *d, int *fd, uint64_t *size, struct err *e)
{
	struct file_doc f;
	AUTO(json) struct json_t *v = NULL;
	int r = file_doc_read(d, &v, &f, e);
	if (r < 0)
		return r;
	if (file_doc_expired(&f, clock_wall_us()))
		return err_code(e, ERR_NOT_FOUND, "file_expired", "File %s has expired.", f.id.z);
	if (!f.downloadable)
		return err_code(e, ERR_INVALID, "file_not_downloadable",
			"File %s was uploaded and cannot be downloaded.", f.id.z);
	return store_blob_open(k->c->store, id_str(&f.id), fd, size, e);
}

static void
on_content(void *arg, const struct err *err, const struct store_doc *d)
{
	struct call *k = arg;
	struct err e = {0};
	int fd = -1;
	uint64_t size = 0;
	if (err == NULL && content_open(k, d, &fd, &size, &e) < 0) {
		call_fail(k, &e);
		return;
	}
	if (err != NULL) {
		call_fail_missing(k, err, "File");
		return;
	}
	call_release(k);
	server_reply_file(k->r, 200, "application/octet-stream", fd, size);
}

void
files_content(struct call *k)
{
	store_doc_get(k->c->store, DOC_FILE, k->params[0], 0, on_content, k);
}

static void
on_removed(void *arg, const struct err *err, uint32_t seq)
{
	(void)seq;
	struct call *k = arg;
	if (err != NULL) {
		call_fail_missing(k, err, "File");
		return;
	}
	store_blob_remove(k->c->store, k->params[0]);
	call_reply_deleted(k, k->params[0], "file_deleted");
}

void
files_delete(struct call *k)
{
	store_doc_delete(k->c->store, DOC_FILE, k->params[0], false, on_removed, k);
}

/* ---- list ---- */

struct file_list {
	struct doc_list list;
	struct str ids[100];
};

static void
page_legacy(struct json_w *w, const struct store_doc_row *rows, size_t n, bool more)
{
	jw_kbool(w, "has_more", more);
	jw_kstr(w, "first_id", n > 0 ? rows[0].doc.id : STR_NULL);
	jw_kstr(w, "last_id", n > 0 ? rows[n - 1].doc.id : STR_NULL);
}

static int
put_file(const struct call *k, const struct store_doc *d, struct json_w *w, struct err *e)
{
	(void)e;
	struct file_doc f;
	AUTO(json) struct json_t *v = NULL;
	if (file_doc_read(d, &v, &f, NULL) == 0)
		file_doc_render(&f, call_has_beta(k, BETA_AGENTS), w);
	return 0;
}

static int
list_ids(struct call *k, struct file_list *l, struct err *e)
{
	struct store_doc_query *q = &l->list.q;
	struct str v;
	for (size_t i = 0; call_query_all(k, "ids", i, &v); i++) {
		if (i >= ARRAY_LEN(l->ids))
			return err_set(e, ERR_INVALID, "ids: at most %zu", ARRAY_LEN(l->ids));
		l->ids[i] = v;
		q->n_ids = i + 1;
	}
	if (q->n_ids == 0)
		return 0;
	if (call_query(k, "page").p != NULL || call_query(k, "limit").p != NULL)
		return err_set(e, ERR_INVALID, "ids: cannot be combined with page or limit");
	q->ids = l->ids;
	q->limit = ARRAY_LEN(l->ids);
	return 0;
}

static int
list_scope(struct call *k, struct store_doc_query *q, struct err *e)
{
	q->parent = call_query(k, "scope_id");
	q->has_parent = q->parent.p != NULL;
	if (!q->has_parent)
		return 0;
	if (!call_has_beta(k, BETA_AGENTS))
		return err_set(e, ERR_INVALID, "scope_id: needs the header anthropic-beta: " BETA_AGENTS);
	if (!id_valid(q->parent, "sesn"))
		return err_set(e, ERR_INVALID, "scope_id: Input should be a session id");
	return 0;
}

void
files_list(struct call *k)
{
	static const char *const allowed[] = {
		"ids", "page", "limit", "scope_id", "after_id", "before_id", NULL};
	struct err e = {0};
	struct file_list *l = arena_alloc(k->a, sizeof(*l));
	if (l == NULL) {
		err_set(&e, ERR_NO_MEMORY, "out of memory");
		call_fail(k, &e);
		return;
	}
	l->list.q = (struct store_doc_query){.kind = DOC_FILE, .include_archived = true};
	l->list.put = put_file;
	l->list.put_tail = call_has_beta(k, BETA_FILES_LEGACY) ? page_legacy : NULL;
	int r = call_query_closed(k, allowed, &e);
	r = r == 0 ? call_limit(k, 20, 1000, &l->list.q.limit, &e) : r;
	r = r == 0 ? page_parse(k, PAGE_FILES, &l->list.at, &e) : r;
	r = r == 0 ? list_ids(k, l, &e) : r;
	r = r == 0 ? list_scope(k, &l->list.q, &e) : r;
	if (r < 0)
		call_fail(k, &e);
	else
		doc_list_reply(k, &l->list);
}
