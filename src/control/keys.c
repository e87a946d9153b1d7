/* SPDX-License-Identifier: Apache-2.0 */
#include "control/keys.h"

#include "base/clock.h"
#include "base/secret.h"
#include "control/auth.h"

#define KEY_NAME_MAX 255

void
key_store(struct store *s, const struct key_record *rec, store_write_cb *cb, void *arg)
{
	AUTO(buf) struct buf b;
	buf_init(&b, 8 * KIB);
	char hex[HASH_HEX];
	struct json_w w = json_w(&b);
	jw_obj(&w);
	jw_kstr(&w, "name", rec->name);
	jw_kbool(&w, "admin", rec->admin);
	jw_obj_end(&w);
	struct store_doc d = {.kind = DOC_KEY,
		.id = id_str(&rec->id),
		.created_us = clock_wall_us(),
		.unique = str_z(hash_hex(&rec->hash, hex)),
		.body = buf_str(&b)};
	d.updated_us = d.created_us;
	store_doc_create(s, &d, cb, arg);
}

static bool
hash_from_hex(struct str hex, struct hash *out)
{
	if (hex.n != HASH_BYTES * 2)
		return false;
	for (size_t i = 0; i < HASH_BYTES; i++) {
		uint64_t v;
		if (!str_to_hex64(str_sub(hex, i * 2, 2), &v))
			return false;
		out->b[i] = (uint8_t)v;
	}
	return true;
}

int
key_read(const struct store_doc *d, struct json_t **body, struct key_record *rec, struct err *e)
{
	int r = json_parse(d->body, body, e);
	if (r < 0)
		return r;
	*rec = (struct key_record){.id = id_from(d->id),
		.name = json_get_str(*body, "name"),
		.admin = json_bool(json_get(*body, "admin"), false)};
	if (!hash_from_hex(d->unique, &rec->hash))
		return err_set(e, ERR_CORRUPT, "key %.*s has no hash", STRF(d->id));
	return 0;
}

static void
key_json(struct json_w *w, const struct key_record *rec, uint64_t created_us)
{
	jw_kz(w, "type", "api_key");
	jw_kz(w, "id", rec->id.z);
	jw_kstr(w, "name", rec->name);
	jw_kbool(w, "admin", rec->admin);
	jw_ktime(w, "created_at", created_us);
}

/* ---- create ---- */

struct key_create {
	struct call *k;
	struct key_record rec;
	struct secret *made;
};

static void
put_key(struct str bytes, void *arg)
{
	jw_kstr(arg, "key", bytes);
}

/* The one answer that carries a key; it cannot be read again. */
static void
on_key_created(void *arg, const struct err *err, uint32_t seq)
{
	(void)seq;
	struct key_create *kc = arg;
	struct call *k = kc->k;
	struct err e = {0};
	if (err == NULL && auth_add(k->c->auth, &kc->rec.hash, id_str(&kc->rec.id), kc->rec.admin, &e) < 0)
		err = &e;
	if (err != NULL) {
		secret_free(kc->made);
		call_fail(k, err);
		return;
	}
	struct json_w w = call_json(k);
	jw_obj(&w);
	key_json(&w, &kc->rec, clock_wall_us());
	secret_use(kc->made, put_key, &w);
	jw_obj_end(&w);
	secret_free(kc->made);
	call_reply(k);
}

void
keys_create(struct call *k)
{
	static const char *const members[] = {"name", "admin", NULL};
	struct err e = {0};
	const struct json_t *body = call_body(k);
	if (body == NULL)
		return;
	struct json_at root = json_root(body);
	struct json_at name = json_member(&root, "name");
	struct json_at admin = json_member(&root, "admin");
	struct key_create *kc = arena_alloc(k->a, sizeof(*kc));
	int r = kc != NULL ? json_closed(&root, members, &e) : err_set(&e, ERR_NO_MEMORY, "out of memory");
	if (r == 0)
		r = json_want_str(&name, 1, KEY_NAME_MAX, &kc->rec.name, &e);
	if (r == 0 && json_set(&admin))
		r = json_want_bool(&admin, &kc->rec.admin, &e);
	if (r == 0 && (kc->made = secret_random(KEY_PREFIX)) == NULL)
		r = err_set(&e, ERR_NO_MEMORY, "out of memory");
	if (r < 0) {
		call_fail(k, &e);
		return;
	}
	kc->k = k;
	kc->rec.id = id_new("apikey", clock_wall_us());
	kc->rec.hash = secret_hash(kc->made);
	key_store(k->c->store, &kc->rec, on_key_created, kc);
}

/* ---- list, revoke ---- */

/* One that cannot be read cannot be used either: it is left out. */
static int
put_key_doc(const struct call *k, const struct store_doc *d, struct json_w *w, struct err *e)
{
	(void)k, (void)e;
	struct key_record rec;
	AUTO(json) struct json_t *v = NULL;
	if (key_read(d, &v, &rec, NULL) < 0)
		return 0;
	jw_obj(w);
	key_json(w, &rec, d->created_us);
	jw_obj_end(w);
	return 0;
}

void
keys_list(struct call *k)
{
	struct err e = {0};
	struct doc_list *l = arena_alloc(k->a, sizeof(*l));
	if (l == NULL) {
		err_set(&e, ERR_NO_MEMORY, "out of memory");
		call_fail(k, &e);
		return;
	}
	l->q.kind = DOC_KEY;
	l->put = put_key_doc;
	if (call_limit(k, 100, 1000, &l->q.limit, &e) < 0 || page_parse(k, PAGE_KEYS, &l->at, &e) < 0)
		call_fail(k, &e);
	else
		doc_list_reply(k, l);
}

static void
on_key_revoked(void *arg, const struct err *err, uint32_t seq)
{
	(void)seq;
	struct call *k = arg;
	if (err != NULL) {
		call_fail_missing(k, err, "Key");
		return;
	}
	auth_remove(k->c->auth, k->params[0]);
	call_reply_deleted(k, k->params[0], "api_key_deleted");
}

void
keys_revoke(struct call *k)
{
	struct err e = {0};
	if (str_eq(k->params[0], id_str(&k->key))) {
		err_set(&e, ERR_INVALID, "A key cannot revoke itself; use another admin key.");
		call_fail(k, &e);
		return;
	}
	store_doc_delete(k->c->store, DOC_KEY, k->params[0], false, on_key_revoked, k);
}
