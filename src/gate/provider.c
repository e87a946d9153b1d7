/* SPDX-License-Identifier: Apache-2.0 */
#include "gate/provider.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/buf.h"
#include "base/limits.h"

/* The secret of that name leaves the leash's list. */
static struct secret *
take_secret(struct leash_start *s, struct str name)
{
	for (size_t i = 0; i < s->n_secrets; i++)
		if (str_eqz(name, s->secrets[i].name))
			return MOVE(s->secrets[i].value);
	return NULL;
}

static int
read_auth(const struct json_at *at, enum provider_auth *out, struct err *e)
{
	static const char *const names[] = {"none", "x-api-key", "bearer", NULL};
	int i = 0;
	int rc = json_want_enum(at, names, &i, e);

	if (rc < 0)
		return rc;
	*out = (enum provider_auth)i;
	return 0;
}

/* An absent member gives "". */
static int
read_text(const struct json_at *at, const char *key, char *dst, size_t cap, struct err *e)
{
	struct json_at m = json_member(at, key);
	struct str s = STR("");

	if (json_set(&m)) {
		int rc = json_want_str(&m, 0, cap - 1, &s, e);
		if (rc < 0)
			return rc;
	}
	return str_copy_z(s, dst, cap) ? 0 : json_fail(&m, e, "is too long");
}

static int
read_provider(const struct json_at *at, struct leash_start *s, struct provider *p, struct err *e)
{
	struct json_at auth = json_member(at, "auth");
	char url[PROVIDER_URL_MAX - 16], secret[LEASH_NAME_MAX];
	int rc = read_text(at, "name", p->name, sizeof(p->name), e);

	if (rc == 0)
		rc = read_text(at, "url", url, sizeof(url), e);
	if (rc == 0)
		rc = read_text(at, "proxy", p->proxy, sizeof(p->proxy), e);
	if (rc == 0)
		rc = read_text(at, "key_from", p->key_from, sizeof(p->key_from), e);
	if (rc == 0)
		rc = read_text(at, "secret", secret, sizeof(secret), e);
	if (rc == 0)
		rc = read_auth(&auth, &p->auth, e);
	if (rc < 0)
		return rc;
	if (!*p->name || !*url)
		return json_fail(at, e, "needs a name and a URL");
	snprintf(p->url, sizeof(p->url), "%s/v1/messages", url);
	p->idle_ms = (uint64_t)json_get_int(at->v, "idle_ms", 0);
	p->total_ms = (uint64_t)json_get_int(at->v, "total_ms", 0);
	if (*secret)
		p->key = take_secret(s, str_z(secret));
	return 0;
}

int
providers_init(struct providers *p, struct leash_start *s, struct err *e)
{
	struct json_at root = json_root(s->config);
	struct json_at list = json_member(&root, "providers");
	size_t n = 0;
	int rc = json_want_arr(&list, PROVIDERS_MAX, &n, e);

	*p = (struct providers){0};
	if (rc < 0)
		return rc;
	p->list = calloc(n ? n : 1, sizeof(*p->list));
	if (!p->list)
		return err_set(e, ERR_NO_MEMORY, "providers");
	for (size_t i = 0; rc == 0 && i < n; i++) {
		struct json_at at = json_element(&list, i);

		rc = read_provider(&at, s, &p->list[p->n++], e);
	}
	if (rc < 0)
		providers_done(p);
	return rc;
}

void
providers_done(struct providers *p)
{
	for (size_t i = 0; i < p->n; i++)
		secret_free(p->list[i].key);
	free(p->list);
	*p = (struct providers){0};
}

const struct provider *
providers_find(const struct providers *p, struct str name)
{
	for (size_t i = 0; i < p->n; i++)
		if (str_eqz(name, p->list[i].name))
			return &p->list[i];
	return NULL;
}

int
provider_ready(const struct provider *p, struct err *e)
{
	if (p->auth == PROVIDER_NO_AUTH || p->key)
		return 0;
	if (*p->key_from)
		return err_set(e, ERR_UNAVAILABLE,
			"provider %s has no key: set %.100s and start the server again", p->name,
			p->key_from);
	return err_set(e, ERR_UNAVAILABLE, "provider %s has no key", p->name);
}

static void
put_bytes(struct str bytes, void *arg)
{
	buf_put_str(arg, bytes);
}

int
provider_with_key(
	const struct provider *p, void (*use)(const char *line, void *arg), void *arg, struct err *e)
{
	const char *prefix = p->auth == PROVIDER_BEARER ? "authorization: Bearer " : "x-api-key: ";
	AUTO(buf) struct buf line = {0};

	if (p->auth == PROVIDER_NO_AUTH || !p->key)
		return 0;
	buf_init(&line, LIM_SECRET + 64);
	/* All room at once: a growing buffer would leave copies behind. */
	if (!buf_reserve(&line, strlen(prefix) + secret_len(p->key) + 1))
		return buf_check(&line, e);
	buf_put_z(&line, prefix);
	secret_use(p->key, put_bytes, &line);
	buf_put_c(&line, 0);
	int rc = buf_check(&line, e);

	if (rc == 0)
		use(line.p, arg);
	secret_wipe(line.p, line.cap);
	return rc;
}

static void
put_stars(struct str key, void *arg)
{
	struct str *text = arg;

	for (size_t at; key.n && (at = str_find_str(*text, key)) < text->n;
		*text = str_sub(*text, at, text->n))
		memset((char *)(uintptr_t)text->p + at, '*', key.n);
}

void
provider_redact(const struct provider *p, char *text, size_t n)
{
	struct str s = str_n(text, n);

	if (p->key)
		secret_use(p->key, put_stars, &s);
}
