/* SPDX-License-Identifier: Apache-2.0 */
/*
 * JSON behind one facade. Reading: jansson trees with depth and size caps (only json.c includes jansson).
 * Writing: a streaming writer into a buf, no tree. Checking input: a walker that knows the path of every
 * member, so that an error names it ("tools.0.configs.1.name: ...").
 *
 * Strictness: UTF-8 only, no duplicate keys, no trailing bytes, no NUL, integers within int64.
 */
#pragma once

#include "base/arena.h"
#include "base/buf.h"
#include "base/err.h"
#include "base/str.h"

/* A linker name of our own for functions that jansson has too: both end up in one static binary. */
#define JSON_OWN_NAME(name) __asm__(name)

/* ---- reading ---- */

struct json_t; /* jansson's value; owned by whoever called json_parse, freed by json_free */

/* Parses exactly one value of at most LIM_JSON_DEPTH levels and LIM_JSON_VALUES values. ERR_INVALID with line
 * and column, ERR_NO_MEMORY. The caller has bounded the text. */
int json_parse(struct str text, struct json_t **out, struct err *e);
/* The same with the lower limits LIM_JSON_FOREIGN_*: for what others said and we put into documents of our
 * own, which json_parse must be able to read back. */
int json_parse_foreign(struct str text, struct json_t **out, struct err *e);
void json_free(struct json_t *v);
DEFINE_AUTO(json, struct json_t *, json_free, NULL);

enum json_kind { JSON_NULL, JSON_BOOL, JSON_INT, JSON_REAL, JSON_STR, JSON_ARR, JSON_OBJ };
enum json_kind json_kind(const struct json_t *v); /* NULL pointer gives JSON_NULL */

/* Members, borrowed. json_get: NULL when absent or `v` is no object. json_at: NULL when out of range. */
const struct json_t *json_get(const struct json_t *v, const char *key);
const struct json_t *json_at(const struct json_t *v, size_t i);
size_t json_len(const struct json_t *v); /* array elements or object members, else 0 */

/* Values with a default for "absent or other kind". Slices are borrowed from the tree. */
struct str json_str(const struct json_t *v, struct str dflt);
int64_t json_int(const struct json_t *v, int64_t dflt);
double json_real(const struct json_t *v, double dflt) JSON_OWN_NAME("pf_json_real"); /* integers too */
bool json_bool(const struct json_t *v, bool dflt);

/* Shorthands for json_x(json_get(v, key), dflt). */
struct str json_get_str(const struct json_t *v, const char *key);
int64_t json_get_int(const struct json_t *v, const char *key, int64_t dflt);

/* Iterates object members in insertion order: for (it = json_iter(v); it; it = json_next(v, it)). */
void *json_iter(const struct json_t *v);
void *json_next(const struct json_t *v, void *it);
struct str json_iter_key(void *it);
const struct json_t *json_iter_value(void *it);

/* A JSON null that lives for ever. */
const struct json_t *json_nothing(void);

/* Deep equality (object order ignored). */
bool json_equal(const struct json_t *a, const struct json_t *b) JSON_OWN_NAME("pf_json_equal");

/* ---- input walker ---- */

/*
 * Where a value stands in the caller's document. Lives on the stack, linked to its parent: errors print
 * "a.b.0: message". Root has an empty name.
 */
struct json_at {
	const struct json_at *up;
	const char *key; /* member name, or NULL for an array index */
	size_t index;
	const struct json_t *v; /* never NULL; JSON null when absent */
	bool present;
};

/* The root position of a parsed document. */
struct json_at json_root(const struct json_t *v);
/* Positions of a member / an element; `present` tells whether it exists. `up` must outlive the result. */
struct json_at json_member(const struct json_at *up, const char *key);
struct json_at json_element(const struct json_at *up, size_t i);

/* ERR_INVALID "path: message". */
int json_fail(const struct json_at *at, struct err *e, const char *fmt, ...) PRINTF_FMT(3, 4);
/* The same with an API error code. */
int json_fail_code(const struct json_at *at, struct err *e, const char *code, const char *fmt, ...)
	PRINTF_FMT(4, 5);

/* Fails on members of the object `at` that are not in `allowed` (NULL-terminated), and when `at` is no
 * object: "path.member: Extra inputs are not permitted". */
int json_closed(const struct json_at *at, const char *const allowed[], struct err *e);

/* Typed reads with bounds; a failure names the path. An absent value fails with "Field required", so ask
 * json_set (absent or null) or `present` first when the member is optional. `*out` is borrowed from the tree.
 * Lengths are Unicode code points. */
int json_want_str(const struct json_at *at, size_t min, size_t max, struct str *out, struct err *e);
int json_want_int(const struct json_at *at, int64_t min, int64_t max, int64_t *out, struct err *e);
int json_want_bool(const struct json_at *at, bool *out, struct err *e);
int json_want_obj(const struct json_at *at, struct err *e);
int json_want_arr(const struct json_at *at, size_t max, size_t *len, struct err *e);
/* One of `names` (NULL-terminated); gives the index. */
int json_want_enum(const struct json_at *at, const char *const names[], int *out, struct err *e);

/* True when the member exists and is not null. */
static inline bool
json_set(const struct json_at *at)
{
	return at->present && json_kind(at->v) != JSON_NULL;
}

/* ---- writing ---- */

/*
 * Streaming writer: commas and escaping are its business, nesting is checked by assertion. Failures are the
 * buf's sticky flag.
 */
#define JSON_W_DEPTH 32
struct json_w {
	struct buf *b;
	unsigned depth;
	bool first[JSON_W_DEPTH];
	bool after_key;
};

/* Starts writing into `b` (not owned). */
struct json_w json_w(struct buf *b);
void jw_obj(struct json_w *w);
void jw_obj_end(struct json_w *w);
void jw_arr(struct json_w *w);
void jw_arr_end(struct json_w *w);
void jw_key(struct json_w *w, const char *key);
void jw_key_str(struct json_w *w, struct str key);
void jw_str(struct json_w *w, struct str s); /* p == NULL writes null; invalid UTF-8 and NUL become U+FFFD */
void jw_z(struct json_w *w, const char *z);  /* NULL writes null */
void jw_int(struct json_w *w, int64_t v);
void jw_real(struct json_w *w, double v);
void jw_bool(struct json_w *w, bool v);
void jw_null(struct json_w *w);
void jw_raw(struct json_w *w, struct str json);          /* already valid JSON */
void jw_value(struct json_w *w, const struct json_t *v); /* a parsed tree, compact */
/* key + value in one. */
void jw_kstr(struct json_w *w, const char *key, struct str s);
void jw_kz(struct json_w *w, const char *key, const char *z);
void jw_kint(struct json_w *w, const char *key, int64_t v);
void jw_kbool(struct json_w *w, const char *key, bool v);
void jw_knull(struct json_w *w, const char *key);
void jw_kraw(struct json_w *w, const char *key, struct str json);
void jw_kvalue(struct json_w *w, const char *key, const struct json_t *v);
/* RFC 3339 UTC with microseconds; 0 writes null. */
void jw_ktime(struct json_w *w, const char *key, uint64_t wall_us);

/* Appends `s` as a JSON string with quotes. */
void json_escape(struct buf *b, struct str s);

/* Compact text of a tree, appended. */
void json_dump(struct buf *b, const struct json_t *v);
