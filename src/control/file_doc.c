/* SPDX-License-Identifier: Apache-2.0 */
#include "control/file_doc.h"

int
file_doc_read(const struct store_doc *d, struct json_t **body, struct file_doc *out, struct err *e)
{
	int r = json_parse(d->body, body, e);
	if (r < 0)
		return r;
	const struct json_t *v = *body;
	*out = (struct file_doc){.id = id_from(d->id),
		.filename = json_get_str(v, "filename"),
		.mime_type = json_get_str(v, "mime_type"),
		.size = (uint64_t)json_get_int(v, "size", 0),
		.downloadable = json_bool(json_get(v, "downloadable"), false),
		.expires_us = (uint64_t)json_get_int(v, "expires_us", 0),
		.session = d->parent,
		.path = json_get_str(v, "path"),
		.created_us = d->created_us};
	return 0;
}

void
file_doc_store(struct store *s, const struct file_doc *f, store_write_cb *cb, void *arg)
{
	AUTO(buf) struct buf b;
	buf_init(&b, 64 * KIB);
	struct json_w w = json_w(&b);
	jw_obj(&w);
	jw_kstr(&w, "filename", f->filename);
	jw_kstr(&w, "mime_type", f->mime_type);
	jw_kint(&w, "size", (int64_t)f->size);
	jw_kbool(&w, "downloadable", f->downloadable);
	jw_kint(&w, "expires_us", (int64_t)f->expires_us);
	jw_kstr(&w, "path", f->path);
	jw_obj_end(&w);
	struct store_doc d = {.kind = DOC_FILE,
		.id = id_str(&f->id),
		.version = 1,
		.created_us = f->created_us,
		.updated_us = f->created_us,
		.parent = f->session,
		.body = buf_str(&b)};
	store_doc_create(s, &d, cb, arg);
}

bool
file_doc_expired(const struct file_doc *f, uint64_t now_us)
{
	return f->expires_us != 0 && f->expires_us <= now_us;
}

void
file_doc_render(const struct file_doc *f, bool beta, struct json_w *w)
{
	jw_obj(w);
	jw_kz(w, "type", "file");
	jw_kz(w, "id", f->id.z);
	jw_kstr(w, "filename", f->filename);
	jw_kstr(w, "mime_type", f->mime_type);
	jw_kint(w, "size_bytes", (int64_t)f->size);
	jw_ktime(w, "created_at", f->created_us);
	jw_kbool(w, "downloadable", f->downloadable);
	jw_ktime(w, "expires_at", f->expires_us);
	if (beta && f->session.n > 0) {
		jw_key(w, "scope");
		jw_obj(w);
		jw_kz(w, "type", "session");
		jw_kstr(w, "id", f->session);
		jw_obj_end(w);
	} else if (beta) {
		jw_knull(w, "scope");
	}
	jw_obj_end(w);
}

int
file_name_clean(struct arena *a, struct str name, struct str *out, struct err *e)
{
	for (size_t i = 0; i < name.n; i++) {
		if (name.p[i] == '/' || name.p[i] == '\\') {
			name = str_sub(name, i + 1, name.n);
			i = (size_t)-1;
		}
	}
	if (name.n == 0)
		name = STR("unnamed");
	if (!str_is_utf8(name) || str_utf8_len(name) > LIM_FILE_NAME)
		return err_set(e, ERR_INVALID, "file: the name must be UTF-8 of at most %d characters",
			LIM_FILE_NAME);
	for (size_t i = 0; i < name.n; i++) {
		unsigned char c = (unsigned char)name.p[i];
		if (c < 0x20 || c == 0x7f || strchr("<>:\"|?*", c) != NULL)
			return err_set(e, ERR_INVALID, "file: the name contains a forbidden character");
	}
	*out = arena_dup(a, name);
	return arena_check(a, e);
}

const char *
file_mime_type(struct str filename)
{
	static const struct {
		const char *ending, *type;
	} table[] = {
		{".txt", "text/plain"},
		{".md", "text/markdown"},
		{".csv", "text/csv"},
		{".html", "text/html"},
		{".json", "application/json"},
		{".xml", "application/xml"},
		{".pdf", "application/pdf"},
		{".png", "image/png"},
		{".jpg", "image/jpeg"},
		{".jpeg", "image/jpeg"},
		{".gif", "image/gif"},
		{".webp", "image/webp"},
		{".zip", "application/zip"},
		{".gz", "application/gzip"},
		{".tar", "application/x-tar"},
		{".xz", "application/x-xz"},
	};
	for (size_t i = 0; i < ARRAY_LEN(table); i++) {
		struct str ending = str_z(table[i].ending);
		if (filename.n > ending.n &&
			str_eq_nocase(str_sub(filename, filename.n - ending.n, ending.n), ending))
			return table[i].type;
	}
	return "application/octet-stream";
}
