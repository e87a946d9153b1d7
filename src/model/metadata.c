/* SPDX-License-Identifier: Apache-2.0 */
#include "model/metadata.h"

#include "base/limits.h"

static int
check_key(const struct json_at *at, struct str key, struct err *e)
{
	size_t n = str_utf8_len(key);
	if (n < 1 || n > LIM_METADATA_KEY)
		return json_fail_code(
			at, e, "invalid_metadata", "keys must have 1 to %d characters", LIM_METADATA_KEY);
	return 0;
}

static int
check_value(const struct json_at *at, struct str key, const struct json_t *v, struct err *e)
{
	if (json_kind(v) != JSON_STR)
		return json_fail_code(at, e, "invalid_metadata", "the value of %.*s must be a string",
			STRF(str_sub(key, 0, LIM_METADATA_KEY)));
	if (str_utf8_len(json_str(v, STR_NULL)) > LIM_METADATA_VALUE)
		return json_fail_code(at, e, "invalid_metadata",
			"the value of %.*s is longer than %d characters",
			STRF(str_sub(key, 0, LIM_METADATA_KEY)), LIM_METADATA_VALUE);
	return 0;
}

static int
check_count(const struct json_at *at, size_t n, struct err *e)
{
	if (n > LIM_METADATA_PAIRS)
		return json_fail_code(
			at, e, "invalid_metadata", "at most %d pairs are allowed", LIM_METADATA_PAIRS);
	return 0;
}

int
metadata_parse(const struct json_at *at, struct json_w *w, struct err *e)
{
	if (!json_set(at)) {
		jw_raw(w, STR("{}"));
		return 0;
	}
	int r = json_want_obj(at, e);
	if (r == 0)
		r = check_count(at, json_len(at->v), e);
	for (void *it = json_iter(at->v); r == 0 && it != NULL; it = json_next(at->v, it)) {
		r = check_key(at, json_iter_key(it), e);
		if (r == 0)
			r = check_value(at, json_iter_key(it), json_iter_value(it), e);
	}
	if (r == 0)
		jw_value(w, at->v);
	return r;
}

static bool
deletes(const struct json_t *v, bool empty_deletes)
{
	return json_kind(v) == JSON_NULL ||
	       (empty_deletes && json_kind(v) == JSON_STR && json_str(v, STR_NULL).n == 0);
}

/* The member of that name in an object, by slice. */
static const struct json_t *
member(const struct json_t *obj, struct str key)
{
	for (void *it = json_iter(obj); it != NULL; it = json_next(obj, it)) {
		if (str_eq(json_iter_key(it), key))
			return json_iter_value(it);
	}
	return NULL;
}

static int
check_patch(const struct json_at *at, bool empty_deletes, struct err *e)
{
	int r = json_want_obj(at, e);
	for (void *it = json_iter(at->v); r == 0 && it != NULL; it = json_next(at->v, it)) {
		r = check_key(at, json_iter_key(it), e);
		if (r == 0 && !deletes(json_iter_value(it), empty_deletes))
			r = check_value(at, json_iter_key(it), json_iter_value(it), e);
	}
	return r;
}

static size_t
count_after(const struct json_t *patch, const struct json_t *current, bool empty_deletes)
{
	size_t n = json_len(current);
	for (void *it = json_iter(patch); it != NULL; it = json_next(patch, it)) {
		bool had = member(current, json_iter_key(it)) != NULL;
		bool has = !deletes(json_iter_value(it), empty_deletes);
		n = n + (has && !had) - (had && !has);
	}
	return n;
}

int
metadata_patch(const struct json_at *at, const struct json_t *current, bool empty_deletes, struct json_w *w,
	struct err *e)
{
	const struct json_t *patch = json_set(at) ? at->v : NULL;
	int r = patch != NULL ? check_patch(at, empty_deletes, e) : 0;
	if (r == 0)
		r = check_count(at, count_after(patch, current, empty_deletes), e);
	if (r < 0)
		return r;
	jw_obj(w);
	for (void *it = json_iter(current); it != NULL; it = json_next(current, it)) {
		if (member(patch, json_iter_key(it)) != NULL)
			continue;
		jw_key_str(w, json_iter_key(it));
		jw_value(w, json_iter_value(it));
	}
	for (void *it = patch != NULL ? json_iter(patch) : NULL; it != NULL; it = json_next(patch, it)) {
		if (deletes(json_iter_value(it), empty_deletes))
			continue;
		jw_key_str(w, json_iter_key(it));
		jw_value(w, json_iter_value(it));
	}
	jw_obj_end(w);
	return 0;
}
