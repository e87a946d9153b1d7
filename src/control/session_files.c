/* SPDX-License-Identifier: Apache-2.0 */
#include "control/session_files.h"

#include <stdlib.h>

#include "base/clock.h"
#include "base/guest_call.h"
#include "base/log.h"
#include "control/file_doc.h"

/* ---- mount paths ---- */

static bool
segment_ok(struct str seg)
{
	if (seg.n == 0 || seg.n > 255 || str_eqz(seg, ".") || str_eqz(seg, ".."))
		return false;
	for (size_t i = 0; i < seg.n; i++) {
		if ((unsigned char)seg.p[i] < 0x20 || seg.p[i] == 0x7f)
			return false;
	}
	return true;
}

int
session_file_path(
	struct arena *a, const struct json_at *at, struct str file_id, struct str *out, struct err *e)
{
	if (!json_set(at)) {
		*out = str_z(arena_printf(a, GUEST_UPLOADS "/%.*s", STRF(file_id)));
		return arena_check(a, e);
	}
	struct str path;
	int r = json_want_str(at, 1, LIM_MOUNT_PATH, &path, e);
	if (r < 0)
		return r;
	struct str rest = path.p[0] == '/' ? str_sub(path, 1, path.n) : path;
	for (struct str left = rest; left.p != NULL;) {
		if (!segment_ok(str_next(&left, '/')))
			return json_fail(at, e, "Input should be a path without empty, '.' or '..' segments");
	}
	bool kept = str_starts(path, STR(GUEST_UPLOADS "/")) || str_starts(path, STR(GUEST_WORKDIR "/"));
	*out = str_z(arena_printf(a, "%s/%.*s", kept ? "" : GUEST_UPLOADS, STRF(rest)));
	/* In bytes: all paths of a session must fit into one claim. */
	if (out->n > LIM_MOUNT_PATH)
		return json_fail(at, e, "Input should be a path of at most %d bytes", LIM_MOUNT_PATH);
	return arena_check(a, e);
}

/* ---- copying ---- */

static int
fail_at(const struct session_files *f, struct err *e, const char *what)
{
	struct str id = f->files[f->at].source;
	if (f->single)
		return err_set(e, ERR_INVALID, "file_id: %s: %.*s", what, STRF(id));
	return err_set(e, ERR_INVALID, "resources.%zu.file_id: %s: %.*s", f->at, what, STRF(id));
}

static void copy_next(struct session_files *f);

static void
copy_failed(struct session_files *f, const struct err *err)
{
	session_files_undo(f);
	f->done(f->k, err);
}

static void
on_copy_stored(void *arg, const struct err *err, uint32_t seq)
{
	(void)seq;
	struct session_files *f = arg;
	f->at++;
	if (err != NULL)
		copy_failed(f, err);
	else
		copy_next(f);
}

static int
copy_make(struct session_files *f, const struct store_doc *d, struct file_doc *copy, struct json_t **v,
	struct err *e)
{
	struct session_file *file = &f->files[f->at];
	struct file_doc src;
	int r = file_doc_read(d, v, &src, e);
	if (r < 0)
		return r;
	uint64_t now = clock_wall_us();
	if (file_doc_expired(&src, now))
		return fail_at(f, e, "File has expired");
	*copy = src;
	copy->id = id_new("file", now);
	copy->downloadable = false;
	copy->expires_us = 0;
	copy->session = id_str(&f->session);
	copy->path = STR_NULL;
	copy->created_us = now;
	file->made = (struct session_resource){.id = id_new("sesrsc", now),
		.file_id = copy->id,
		.mount_path = file->mount_path,
		.size = src.size};
	struct buf b;
	buf_init(&b, 16 * KIB);
	struct json_w w = json_w(&b);
	session_resource_json(&file->made, now, &w);
	file->made.json = arena_dup(f->k->a, buf_str(&b));
	buf_done(&b);
	r = arena_check(f->k->a, e);
	return r < 0 ? r : store_blob_link(f->k->c->store, d->id, id_str(&copy->id), e);
}

static void
on_source(void *arg, const struct err *err, const struct store_doc *d)
{
	struct session_files *f = arg;
	struct err e = {0};
	struct file_doc copy;
	AUTO(json) struct json_t *v = NULL;
	if (err != NULL && err->kind == ERR_NOT_FOUND) {
		fail_at(f, &e, "File not found");
		err = &e;
	} else if (err == NULL && copy_make(f, d, &copy, &v, &e) < 0) {
		err = &e;
	}
	if (err != NULL)
		copy_failed(f, err);
	else
		file_doc_store(f->k->c->store, &copy, on_copy_stored, f);
}

static void
copy_next(struct session_files *f)
{
	if (f->at == f->n)
		f->done(f->k, NULL);
	else
		store_doc_get(f->k->c->store, DOC_FILE, f->files[f->at].source, 0, on_source, f);
}

void
session_files_copy(struct session_files *f)
{
	f->at = 0;
	copy_next(f);
}

/* ---- removing ---- */

static void
on_purged(void *arg, const struct err *err, uint32_t seq)
{
	(void)arg, (void)seq;
	if (err != NULL && err->kind != ERR_NOT_FOUND)
		log_error("file.remove", LOG_ERR(err));
}

static void
remove_file(struct control *c, struct str id)
{
	store_blob_remove(c->store, id);
	store_doc_delete(c->store, DOC_FILE, id, false, on_purged, c);
}

void
session_files_undo(struct session_files *f)
{
	for (size_t i = 0; i < f->n; i++) {
		if (f->files[i].made.file_id.z[0] != '\0')
			remove_file(f->k->c, id_str(&f->files[i].made.file_id));
	}
}

static void
on_purge_list(void *arg, const struct err *err, const struct store_doc_row *rows, size_t n, bool more)
{
	struct control *c = arg;
	if (err != NULL)
		log_error("file.purge", LOG_ERR(err));
	/* Removed documents leave the list: when there are more, the next page begins at the start again. The
	 * deletes are queued before the list is asked for, but read and write do not wait for each other, so
	 * a page may still show some of them; removing twice is fine. */
	for (size_t i = 0; err == NULL && i < n; i++)
		remove_file(c, rows[i].doc.id);
	if (err == NULL && more && n > 0)
		session_files_purge(c, rows[0].doc.parent);
}

void
session_files_purge(struct control *c, struct str session)
{
	struct store_doc_query q = {.kind = DOC_FILE,
		.include_archived = true,
		.parent = session,
		.has_parent = true,
		.limit = LIM_OUTPUT_FILES + 2 * LIM_RESOURCES};
	store_docs(c->store, &q, on_purge_list, c);
}

/* ---- existence ---- */

struct exist_check {
	struct call *k;
	const struct str *ids;
	size_t n, at;
	void (*done)(struct call *k, const struct err *err);
};

static void exist_next(struct exist_check *x);

static void
on_exists(void *arg, const struct err *err, const struct store_doc *d)
{
	(void)d;
	struct exist_check *x = arg;
	struct err e = {0};
	if (err != NULL && err->kind == ERR_NOT_FOUND) {
		err_set(&e, ERR_INVALID, "file_id: File not found: %.*s", STRF(x->ids[x->at]));
		err = &e;
	}
	x->at++;
	if (err != NULL)
		x->done(x->k, err);
	else
		exist_next(x);
}

static void
exist_next(struct exist_check *x)
{
	if (x->at == x->n)
		x->done(x->k, NULL);
	else
		store_doc_get(x->k->c->store, DOC_FILE, x->ids[x->at], 0, on_exists, x);
}

void
session_files_exist(
	struct call *k, const struct str *ids, size_t n, void (*done)(struct call *k, const struct err *err))
{
	struct err e = {0};
	struct exist_check *x = n > 0 ? arena_alloc(k->a, sizeof(*x)) : NULL;
	if (n == 0) {
		done(k, NULL);
		return;
	}
	if (x == NULL) {
		err_set(&e, ERR_NO_MEMORY, "out of memory");
		done(k, &e);
		return;
	}
	*x = (struct exist_check){.k = k, .ids = ids, .n = n, .done = done};
	exist_next(x);
}
