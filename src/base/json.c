/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The reading half: jansson behind the facade. Nothing else in the tree includes jansson.h.
 *
 * Names that both sides use are renamed while jansson's header is read; json.h gives ours other linker names.
 */
#define json_real  jansson_real
#define json_equal jansson_equal
#define JSON_NULL  JANSSON_NULL
#define JSON_REAL  JANSSON_REAL
#include <jansson.h>
#undef json_real
#undef json_equal
#undef JSON_NULL
#undef JSON_REAL

#include "base/json.h"

#include <stdlib.h>

#include "base/id.h"
#include "base/limits.h"

/*
 * jansson ignores some of its own failed allocations while it reads a token, which would yield a wrong value
 * without an error. So its allocator notes each failure of this thread and json_parse discards the result.
 */
static _Thread_local bool alloc_failed;

static void *
json_malloc(size_t n)
{
	void *p = malloc(n);

	if (!p)
		alloc_failed = true;
	return p;
}

/*
 * Before main, because both settings are global in jansson and must not change while threads run. The seed is
 * given because jansson would open /dev/urandom, which a confined role cannot, and then fall back to the
 * time.
 */
__attribute__((constructor)) static void
json_setup(void)
{
	size_t seed;

	random_bytes(&seed, sizeof(seed));
	json_set_alloc_funcs(json_malloc, free);
	json_object_seed(seed | 1);
}

/* jansson's accessors do not change the value but lack the const. */
static json_t *
plain(const struct json_t *v)
{
	return (json_t *)(uintptr_t)v;
}

/* Line and column (from 1) of byte `at`. */
static int
fail_at(struct str text, size_t at, const char *why, struct err *e)
{
	size_t line = 1, column = 1;

	for (size_t i = 0; i < at; i++) {
		column = text.p[i] == '\n' ? 1 : column + 1;
		line += text.p[i] == '\n';
	}
	return err_set(e, ERR_INVALID, "invalid JSON at line %zu column %zu: %s", line, column, why);
}

/* The index of the quote that ends the string beginning at `at`, or text.n. */
static size_t
skip_string(struct str text, size_t at)
{
	for (size_t i = at + 1; i < text.n; i++) {
		if (text.p[i] == '"')
			return i;
		if (text.p[i] == '\\')
			i++;
	}
	return text.n;
}

struct json_bounds {
	unsigned depth, values;
	const char *too_deep, *too_many;
};

#define BOUNDS(depth, values)                                                                                \
	{                                                                                                    \
		depth, values, "more than " ERR_STR(depth) " levels", "more than " ERR_STR(values) " values" \
	}

/*
 * What jansson must not see: nesting beyond the limit, because its parser recurses; NUL bytes, because it
 * takes one between two tokens for a blank; more values than the limit, because each costs up to 200 bytes of
 * memory, however short its text is.
 */
static int
check_text(struct str text, const struct json_bounds *max, struct err *e)
{
	unsigned depth = 0, values = 1;
	size_t nul = str_find(text, '\0');

	if (nul < text.n)
		return fail_at(text, nul, "NUL byte", e);
	for (size_t i = 0; i < text.n; i++) {
		char c = text.p[i];
		if (c == '"') {
			i = skip_string(text, i);
			continue;
		}
		values += c == ',' || c == '[' || c == '{';
		if (values > max->values)
			return fail_at(text, i, max->too_many, e);
		if ((c == '[' || c == '{') && ++depth > max->depth)
			return fail_at(text, i, max->too_deep, e);
		if ((c == ']' || c == '}') && depth)
			depth--;
	}
	return 0;
}

static int
parse(struct str text, const struct json_bounds *max, struct json_t **out, struct err *e)
{
	json_error_t why;
	int r = check_text(text, max, e);

	if (r < 0)
		return r;
	alloc_failed = false;
	json_t *v = json_loadb(text.p ? text.p : "", text.n, JSON_REJECT_DUPLICATES | JSON_DECODE_ANY, &why);
	if (alloc_failed) {
		json_decref(v);
		return err_set(e, ERR_NO_MEMORY, "out of memory while reading JSON");
	}
	if (!v)
		return err_set(e, ERR_INVALID, "invalid JSON at line %d column %d: %s", why.line, why.column,
			why.text);
	*out = v;
	return 0;
}

int
json_parse(struct str text, struct json_t **out, struct err *e)
{
	static const struct json_bounds max = BOUNDS(LIM_JSON_DEPTH, LIM_JSON_VALUES);

	return parse(text, &max, out, e);
}

int
json_parse_foreign(struct str text, struct json_t **out, struct err *e)
{
	static const struct json_bounds max = BOUNDS(LIM_JSON_FOREIGN_DEPTH, LIM_JSON_FOREIGN_VALUES);

	return parse(text, &max, out, e);
}

void
json_free(struct json_t *v)
{
	json_decref(v);
}

enum json_kind
json_kind(const struct json_t *v)
{
	if (!v)
		return JSON_NULL;
	switch (json_typeof(v)) {
	case JSON_OBJECT:
		return JSON_OBJ;
	case JSON_ARRAY:
		return JSON_ARR;
	case JSON_STRING:
		return JSON_STR;
	case JSON_INTEGER:
		return JSON_INT;
	case JANSSON_REAL:
		return JSON_REAL;
	case JSON_TRUE:
	case JSON_FALSE:
		return JSON_BOOL;
	case JANSSON_NULL:
		return JSON_NULL;
	}
	UNREACHABLE();
}

const struct json_t *
json_nothing(void)
{
	return json_null();
}

const struct json_t *
json_get(const struct json_t *v, const char *key)
{
	return json_object_get(v, key);
}

const struct json_t *
json_at(const struct json_t *v, size_t i)
{
	return json_array_get(v, i);
}

size_t
json_len(const struct json_t *v)
{
	return json_kind(v) == JSON_OBJ ? json_object_size(v) : json_array_size(v);
}

struct str
json_str(const struct json_t *v, struct str dflt)
{
	if (json_kind(v) != JSON_STR)
		return dflt;
	return str_n(json_string_value(v), json_string_length(v));
}

int64_t
json_int(const struct json_t *v, int64_t dflt)
{
	return json_kind(v) == JSON_INT ? json_integer_value(v) : dflt;
}

double
json_real(const struct json_t *v, double dflt)
{
	enum json_kind kind = json_kind(v);

	return kind == JSON_REAL || kind == JSON_INT ? json_number_value(v) : dflt;
}

bool
json_bool(const struct json_t *v, bool dflt)
{
	return json_kind(v) == JSON_BOOL ? json_is_true(v) : dflt;
}

struct str
json_get_str(const struct json_t *v, const char *key)
{
	return json_str(json_get(v, key), STR_NULL);
}

int64_t
json_get_int(const struct json_t *v, const char *key, int64_t dflt)
{
	return json_int(json_get(v, key), dflt);
}

void *
json_iter(const struct json_t *v)
{
	return json_object_iter(plain(v));
}

void *
json_next(const struct json_t *v, void *it)
{
	return json_object_iter_next(plain(v), it);
}

struct str
json_iter_key(void *it)
{
	return str_z(json_object_iter_key(it));
}

const struct json_t *
json_iter_value(void *it)
{
	return json_object_iter_value(it);
}

static bool
objects_equal(const struct json_t *a, const struct json_t *b)
{
	if (json_len(a) != json_len(b))
		return false;
	for (void *it = json_iter(a); it; it = json_next(a, it)) {
		const struct json_t *other = json_object_get(b, json_object_iter_key(it));
		if (!other || !json_equal(json_iter_value(it), other))
			return false;
	}
	return true;
}

static bool
arrays_equal(const struct json_t *a, const struct json_t *b)
{
	size_t n = json_len(a);

	if (n != json_len(b))
		return false;
	for (size_t i = 0; i < n; i++)
		if (!json_equal(json_at(a, i), json_at(b, i)))
			return false;
	return true;
}

bool
json_equal(const struct json_t *a, const struct json_t *b)
{
	enum json_kind kind = json_kind(a);

	if (kind != json_kind(b))
		return false;
	switch (kind) {
	case JSON_NULL:
		return true;
	case JSON_BOOL:
		return json_bool(a, false) == json_bool(b, false);
	case JSON_INT:
		return json_int(a, 0) == json_int(b, 0);
	case JSON_REAL:
		return json_real_value(a) == json_real_value(b);
	case JSON_STR:
		return str_eq(json_str(a, STR_NULL), json_str(b, STR_NULL));
	case JSON_ARR:
		return arrays_equal(a, b);
	case JSON_OBJ:
		return objects_equal(a, b);
	}
	UNREACHABLE();
}
