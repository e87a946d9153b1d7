/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a session puts into its outputs folder becomes a downloadable file of that session. A path that
 * changes is registered anew and its former file removed, so that a listing shows each path once.
 */
#include <stdlib.h>

#include "base/clock.h"
#include "base/log.h"
#include "control/file_doc.h"

struct output_reg {
	struct control *c;
	struct file_doc doc; /* strings owned below */
	struct id session, old;
	struct buf text;
};

static void
reg_end(struct output_reg *o, const struct err *err)
{
	/* A content without its document would never be removed. */
	if (err != NULL) {
		log_error("output.register", LOG_STR("session", id_str(&o->session)), LOG_ERR(err));
		store_blob_remove(o->c->store, id_str(&o->doc.id));
	}
	buf_done(&o->text);
	free(o);
}

static void
on_old_removed(void *arg, const struct err *err, uint32_t seq)
{
	(void)seq;
	struct output_reg *o = arg;
	if (err == NULL)
		store_blob_remove(o->c->store, id_str(&o->old));
	reg_end(o, NULL);
}

static void
on_stored(void *arg, const struct err *err, uint32_t seq)
{
	(void)seq;
	struct output_reg *o = arg;
	if (err != NULL || o->old.z[0] == '\0')
		reg_end(o, err);
	else
		store_doc_delete(o->c->store, DOC_FILE, id_str(&o->old), false, on_old_removed, o);
}

static void
on_siblings(void *arg, const struct err *err, const struct store_doc_row *rows, size_t n, bool more)
{
	struct output_reg *o = arg;
	struct err e = {0};
	uint64_t bytes = o->doc.size;
	size_t others = 0;
	if (err != NULL) {
		reg_end(o, err);
		return;
	}
	for (size_t i = 0; i < n; i++) {
		struct file_doc f;
		AUTO(json) struct json_t *v = NULL;
		if (file_doc_read(&rows[i].doc, &v, &f, NULL) < 0 || !f.downloadable)
			continue;
		if (str_eq(f.path, o->doc.path)) {
			o->old = f.id;
			continue;
		}
		others++;
		bytes += f.size;
	}
	/* What a sandbox deletes stays registered: without this it could write and delete until the disk is
	 * full. */
	if (more || others >= LIM_OUTPUT_FILES || bytes > LIM_OUTPUT_BYTES) {
		store_blob_remove(o->c->store, id_str(&o->doc.id));
		err_set(&e, ERR_TOO_LARGE,
			"the session has as many output files, or bytes in them, as it may");
		reg_end(o, &e);
		return;
	}
	file_doc_store(o->c->store, &o->doc, on_stored, o);
}

/* Of a session that was deleted meanwhile nobody would purge it. */
static void
on_session(void *arg, const struct err *err, const struct session_state *s)
{
	(void)s;
	struct output_reg *o = arg;
	if (err != NULL) {
		reg_end(o, err);
		return;
	}
	struct store_doc_query q = {.kind = DOC_FILE,
		.parent = id_str(&o->session),
		.has_parent = true,
		.limit = LIM_OUTPUT_FILES + 2 * LIM_RESOURCES};
	store_docs(o->c->store, &q, on_siblings, o);
}

static struct str
last_component(struct str path)
{
	for (size_t i = path.n; i > 0; i--) {
		if (path.p[i - 1] == '/')
			return str_sub(path, i, path.n);
	}
	return path;
}

void
files_register_output(void *owner, struct str session_id, struct str path, struct id file_id, uint64_t size)
{
	struct output_reg *o = calloc(1, sizeof(*o));
	if (o == NULL) {
		log_error("output.register", LOG_STR("session", session_id), LOG_Z("error", "out of memory"));
		return;
	}
	o->c = owner;
	o->session = id_from(session_id);
	buf_init(&o->text, LIM_PATH);
	buf_put_str(&o->text, path);
	o->doc = (struct file_doc){.id = file_id,
		.path = buf_str(&o->text),
		.size = size,
		.downloadable = true,
		.session = id_str(&o->session),
		.created_us = clock_wall_us()};
	o->doc.filename = last_component(o->doc.path);
	o->doc.mime_type = str_z(file_mime_type(o->doc.filename));
	brain_session_get(o->c->brain, session_id, on_session, o);
}
