/* SPDX-License-Identifier: Apache-2.0 */
#include "control/api.h"

#include "base/clock.h"

static const struct json_t *
empty_object(struct call *k)
{
	struct err e = {0};
	return json_parse(STR("{}"), &k->body, &e) == 0 ? k->body : NULL;
}

const struct json_t *
call_body(struct call *k)
{
	struct err e = {0};
	struct str text = server_req_body(k->r);
	if (k->body != NULL)
		return k->body;
	const struct json_t *v = text.n == 0 ? empty_object(k) : NULL;
	if (text.n > 0 && json_parse_foreign(text, &k->body, &e) == 0)
		v = k->body;
	if (v == NULL && e.kind == ERR_NONE)
		err_set(&e, ERR_NO_MEMORY, "out of memory");
	if (v != NULL && json_kind(v) != JSON_OBJ) {
		err_set(&e, ERR_INVALID, "The request body must be a JSON object.");
		v = NULL;
	}
	if (v == NULL)
		call_fail(k, &e);
	return v;
}

struct json_w
call_json(struct call *k)
{
	buf_clear(&k->out);
	return json_w(&k->out);
}

void
call_release(struct call *k)
{
	json_free(MOVE(k->body));
	buf_done(&k->out);
}

void
call_reply(struct call *k)
{
	struct err e = {0};
	if (buf_check(&k->out, &e) < 0 || arena_check(k->a, &e) < 0) {
		call_fail(k, &e);
		return;
	}
	struct buf out = k->out;
	k->out = (struct buf){0};
	call_release(k);
	server_reply_json(k->r, 200, buf_str(&out));
	buf_done(&out);
}

void
call_fail(struct call *k, const struct err *e)
{
	struct err copy = *e;
	call_release(k);
	server_reply_error(k->r, &copy);
}

void
call_not_found(struct call *k, const char *what, struct str id)
{
	struct err e = {0};
	err_set(&e, ERR_NOT_FOUND, "%s not found: %.*s", what, STRF(str_sub(id, 0, LIM_ID)));
	call_fail(k, &e);
}

void
call_fail_missing(struct call *k, const struct err *e, const char *what)
{
	if (e->kind == ERR_NOT_FOUND)
		call_not_found(k, what, k->params[0]);
	else
		call_fail(k, e);
}

void
call_reply_deleted(struct call *k, struct str id, const char *type)
{
	struct json_w w = call_json(k);
	jw_obj(&w);
	jw_kstr(&w, "id", id);
	jw_kz(&w, "type", type);
	jw_obj_end(&w);
	call_reply(k);
}

/* ---- query parameters ---- */

static bool
name_matches(struct str key, const char *name)
{
	if (str_ends(key, STR("[]")))
		key.n -= 2;
	return str_eqz(key, name);
}

bool
call_query_all(const struct call *k, const char *name, size_t i, struct str *value)
{
	struct str key;
	for (size_t n = 0; server_req_query(k->r, n, &key, value); n++) {
		if (name_matches(key, name) && i-- == 0)
			return true;
	}
	return false;
}

struct str
call_query(const struct call *k, const char *name)
{
	struct str value;
	return call_query_all(k, name, 0, &value) ? value : STR_NULL;
}

int
call_query_closed(const struct call *k, const char *const allowed[], struct err *e)
{
	struct str key, value;
	for (size_t n = 0; server_req_query(k->r, n, &key, &value); n++) {
		bool known = str_eqz(key, "beta");
		for (size_t i = 0; allowed[i] != NULL && !known; i++)
			known = name_matches(key, allowed[i]);
		if (!known)
			return err_set(e, ERR_INVALID, "%.*s: Extra inputs are not permitted",
				STRF(str_sub(key, 0, 64)));
	}
	return 0;
}

int
call_limit(const struct call *k, size_t dflt, size_t max, size_t *out, struct err *e)
{
	struct str s = call_query(k, "limit");
	uint64_t v = dflt;
	if (s.p != NULL && (!str_to_u64(s, &v) || v < 1 || v > max))
		return err_set(e, ERR_INVALID, "limit: Input should be an integer from 1 to %zu", max);
	*out = (size_t)v;
	return 0;
}

int
call_query_bool(const struct call *k, const char *name, bool *out, struct err *e)
{
	struct str s = call_query(k, name);
	if (s.p == NULL)
		return 0;
	bool yes = str_eqz(s, "true");
	if (!yes && !str_eqz(s, "false"))
		return err_set(e, ERR_INVALID, "%s: Input should be true or false", name);
	*out = yes;
	return 0;
}

int
call_query_time(const struct call *k, const char *name, uint64_t *out, struct err *e)
{
	struct str s = call_query(k, name);
	if (s.p == NULL)
		return 0;
	uint64_t v;
	if (time_parse(s, &v, NULL) < 0)
		return err_set(e, ERR_INVALID, "%s: Input should be an RFC 3339 timestamp", name);
	*out = v;
	return 0;
}

bool
call_has_beta(const struct call *k, const char *value)
{
	struct str list = server_req_header(k->r, "anthropic-beta");
	while (list.p != NULL) {
		if (str_eqz(str_trim(str_next(&list, ',')), value))
			return true;
	}
	return false;
}
