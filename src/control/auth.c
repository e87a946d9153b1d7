/* SPDX-License-Identifier: Apache-2.0 */
#include "control/auth.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/hash.h"
#include "base/secret.h"
#include "control/keys.h"

#define AUTH_KEYS_MAX 10000
#define AUTH_SLOTS    1024

struct auth_key {
	struct auth_key *next;
	struct hash hash;
	struct id id;
	bool admin;
};

struct auth {
	struct auth_key *slots[AUTH_SLOTS];
	size_t n;
};

static struct auth_key **
slot_of(struct auth *a, const struct hash *h)
{
	return &a->slots[(h->b[0] | (unsigned)h->b[1] << 8) % AUTH_SLOTS];
}

int
auth_add(struct auth *a, const struct hash *h, struct str id, bool admin, struct err *e)
{
	if (a->n == AUTH_KEYS_MAX)
		return err_set(e, ERR_OVERLOADED, "there are %d keys already", AUTH_KEYS_MAX);
	struct auth_key *key = calloc(1, sizeof(*key));
	if (key == NULL)
		return err_set(e, ERR_NO_MEMORY, "out of memory");
	key->hash = *h;
	key->id = id_from(id);
	key->admin = admin;
	struct auth_key **slot = slot_of(a, h);
	key->next = *slot;
	*slot = key;
	a->n++;
	return 0;
}

void
auth_remove(struct auth *a, struct str id)
{
	for (size_t i = 0; i < AUTH_SLOTS; i++) {
		struct auth_key **at = &a->slots[i];
		while (*at != NULL) {
			struct auth_key *key = *at;
			if (!str_eq(id_str(&key->id), id)) {
				at = &key->next;
				continue;
			}
			*at = key->next;
			free(key);
			a->n--;
		}
	}
}

void
auth_free(struct auth *a)
{
	if (a == NULL)
		return;
	for (size_t i = 0; i < AUTH_SLOTS; i++) {
		while (a->slots[i] != NULL) {
			struct auth_key *key = a->slots[i];
			a->slots[i] = key->next;
			free(key);
		}
	}
	free(a);
}

static const struct auth_key *
key_find(struct auth *a, struct str presented)
{
	struct hash h = hash_of(presented);
	const struct auth_key *key = *slot_of(a, &h);
	while (key != NULL && !hash_equal(&key->hash, &h))
		key = key->next;
	return key;
}

/* The presented key; ERR_UNAUTHENTICATED when there is none, or two that differ. */
static int
presented_key(const struct call *k, struct str *out, struct err *e)
{
	struct str bearer = server_req_header(k->r, "authorization");
	struct str direct = server_req_header(k->r, "x-api-key");
	if (bearer.n > 7 && str_eq_nocase(str_sub(bearer, 0, 7), STR("bearer ")))
		bearer = str_trim(str_sub(bearer, 7, bearer.n));
	else
		bearer = STR_NULL;
	if (bearer.n > 0 && direct.n > 0 && !str_eq(bearer, direct))
		return err_set(e, ERR_UNAUTHENTICATED, "authorization and x-api-key carry different keys.");
	*out = bearer.n > 0 ? bearer : direct;
	if (out->n == 0)
		return err_set(e, ERR_UNAUTHENTICATED,
			"No API key: send it as 'Authorization: Bearer' or 'x-api-key'.");
	return 0;
}

int
auth_check(struct call *k, struct err *e)
{
	struct str presented;
	int r = presented_key(k, &presented, e);
	if (r < 0)
		return r;
	const struct auth_key *key = k->c->auth != NULL ? key_find(k->c->auth, presented) : NULL;
	if (key == NULL)
		return err_set(e, ERR_UNAUTHENTICATED, "Invalid API key.");
	k->key = key->id;
	k->admin = key->admin;
	return 0;
}

/* ---- start ---- */

struct auth_load {
	struct control *c;
	void (*cb)(struct control *c, const struct err *err, bool first);
	struct page_cursor at;
	struct secret *made;
};

static void load_more(struct auth_load *l);

static void
load_end(struct auth_load *l, const struct err *err)
{
	bool first = l->made != NULL;
	struct control *c = l->c;
	void (*cb)(struct control *, const struct err *, bool) = l->cb;
	secret_free(l->made);
	free(l);
	cb(c, err, first);
}

static int
write_admin_key(const struct control *c, const struct secret *s, struct err *e)
{
	char path[LIM_PATH];
	struct buf b;
	buf_init(&b, sizeof(path) - 1);
	buf_printf(&b, "%.*s/admin.key", STRF(c->data_dir));
	bool ok = buf_check(&b, NULL) == 0 && str_copy_z(buf_str(&b), path, sizeof(path));
	buf_done(&b);
	if (!ok)
		return err_set(e, ERR_INVALID, "the data directory's path is too long");
	AUTO(fd) int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd < 0)
		return err_os(e, "create %s", path);
	if (secret_expose_to(s, fd, e) < 0 || fsync(fd) < 0)
		return err_os(e, "write %s", path);
	return 0;
}

static void
on_admin_key(void *arg, const struct err *err, uint32_t seq)
{
	(void)seq;
	load_end(arg, err);
}

/* The file first: a key that the store has but nobody knows would lock everybody out, since the first key is
 * made only while there is none. One that only the file has is replaced at the next start. */
static void
make_admin_key(struct auth_load *l)
{
	struct err e = {0};
	l->made = secret_random(KEY_PREFIX);
	int r = l->made != NULL ? write_admin_key(l->c, l->made, &e)
				: err_set(&e, ERR_NO_MEMORY, "out of memory");
	struct key_record rec = {
		.id = id_new("apikey", clock_wall_us()), .name = STR("admin"), .admin = true};
	if (r == 0) {
		rec.hash = secret_hash(l->made);
		r = auth_add(l->c->auth, &rec.hash, id_str(&rec.id), true, &e);
	}
	if (r < 0)
		load_end(l, &e);
	else
		key_store(l->c->store, &rec, on_admin_key, l);
}

static void
on_keys(void *arg, const struct err *err, const struct store_doc_row *rows, size_t n, bool more)
{
	struct auth_load *l = arg;
	struct err e = {0};
	for (size_t i = 0; err == NULL && i < n; i++) {
		struct key_record rec;
		AUTO(json) struct json_t *v = NULL;
		if (key_read(&rows[i].doc, &v, &rec, NULL) == 0 &&
			auth_add(l->c->auth, &rec.hash, rows[i].doc.id, rec.admin, &e) < 0)
			err = &e;
		l->at = (struct page_cursor){.set = true, .us = rows[i].doc.created_us, .key = rows[i].key};
	}
	if (err == NULL && more)
		load_more(l);
	else if (err == NULL && l->c->auth->n == 0)
		make_admin_key(l);
	else
		load_end(l, err);
}

static void
load_more(struct auth_load *l)
{
	struct store_doc_query q = {.kind = DOC_KEY,
		.has_cursor = l->at.set,
		.cursor_us = l->at.us,
		.cursor_key = l->at.key,
		.limit = 500};
	store_docs(l->c->store, &q, on_keys, l);
}

int
auth_start(struct control *c, void (*cb)(struct control *c, const struct err *err, bool first), struct err *e)
{
	struct auth_load *l = calloc(1, sizeof(*l));
	c->auth = calloc(1, sizeof(*c->auth));
	if (l == NULL || c->auth == NULL) {
		free(l);
		return err_set(e, ERR_NO_MEMORY, "out of memory");
	}
	l->c = c;
	l->cb = cb;
	load_more(l);
	return 0;
}
