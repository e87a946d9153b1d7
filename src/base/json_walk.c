/* SPDX-License-Identifier: Apache-2.0 */
/* The input walker: typed reads that know where they are in the caller's document. */
#include <stdarg.h>
#include <stdio.h>

#include "base/json.h"

#define PATH_MAX_BYTES 120 /* of ERR_MSG_MAX: the rest is for the message */
#define KEY_MAX_BYTES  64  /* of one member name, which the caller may have made up */

struct json_at
json_root(const struct json_t *v)
{
	return (struct json_at){.v = v ? v : json_nothing(), .present = v != NULL};
}

struct json_at
json_member(const struct json_at *up, const char *key)
{
	const struct json_t *v = json_get(up->v, key);

	return (struct json_at){.up = up, .key = key, .v = v ? v : json_nothing(), .present = v != NULL};
}

struct json_at
json_element(const struct json_at *up, size_t i)
{
	const struct json_t *v = json_at(up->v, i);

	return (struct json_at){.up = up, .index = i, .v = v ? v : json_nothing(), .present = v != NULL};
}

/* The path grows from its end, because positions know only their parents. */
struct path {
	char z[PATH_MAX_BYTES];
	size_t at;
};

static bool
prepend(struct path *p, struct str s)
{
	if (s.n > p->at)
		return false;
	p->at -= s.n;
	memcpy(p->z + p->at, s.p, s.n);
	return true;
}

/* At most KEY_MAX_BYTES of a member name, never half a character. */
static struct str
short_key(const char *key)
{
	struct str s = str_z(key);

	if (s.n <= KEY_MAX_BYTES)
		return s;
	size_t n = KEY_MAX_BYTES;
	while (n && ((unsigned char)key[n] & 0xc0) == 0x80)
		n--;
	return str_sub(s, 0, n);
}

/* One segment and the dot before it; false when there is no room (4 bytes stay free for the mark). */
static bool
prepend_segment(struct path *p, const struct json_at *at, bool dot)
{
	char digits[24];
	struct str name;

	if (at->key) {
		name = short_key(at->key);
	} else {
		int n = snprintf(digits, sizeof(digits), "%zu", at->index);
		name = str_n(digits, (size_t)n);
	}
	if (name.n + dot + 4 > p->at)
		return false;
	return (!dot || prepend(p, STR("."))) && prepend(p, name);
}

/* The path with ": " behind it, "" for the root; the start of a long one is cut. */
static const char *
path_of(const struct json_at *at, struct path *p)
{
	p->at = sizeof(p->z);
	prepend(p, str_n("", 1));
	if (!at->up)
		return p->z + p->at;
	prepend(p, STR(": "));
	for (bool dot = false; at->up; at = at->up, dot = true) {
		if (prepend_segment(p, at, dot))
			continue;
		prepend(p, STR("...."));
		break;
	}
	return p->z + p->at;
}

PRINTF_FMT(4, 0)
static int
fail_v(const struct json_at *at, struct err *e, const char *code, const char *fmt, va_list ap)
{
	struct path path;
	/* Longer than an err holds, so that a cut happens there, where it is made between characters. */
	char msg[ERR_MSG_MAX + 8];

	if (vsnprintf(msg, sizeof(msg), fmt, ap) < 0)
		msg[0] = '\0';
	return err_code(e, ERR_INVALID, code, "%s%s", path_of(at, &path), msg);
}

int
json_fail(const struct json_at *at, struct err *e, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	int r = fail_v(at, e, NULL, fmt, ap);
	va_end(ap);
	return r;
}

int
json_fail_code(const struct json_at *at, struct err *e, const char *code, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	int r = fail_v(at, e, code, fmt, ap);
	va_end(ap);
	return r;
}

static bool
is_one_of(struct str s, const char *const names[])
{
	for (; *names; names++)
		if (str_eqz(s, *names))
			return true;
	return false;
}

/* Absent, or of another kind than the one wanted. */
static int
check_kind(const struct json_at *at, enum json_kind kind, const char *name, struct err *e)
{
	if (!at->present)
		return json_fail(at, e, "Field required");
	if (json_kind(at->v) != kind)
		return json_fail(at, e, "Input should be a valid %s", name);
	return 0;
}

int
json_closed(const struct json_at *at, const char *const allowed[], struct err *e)
{
	int r = json_want_obj(at, e);

	if (r < 0)
		return r;
	for (void *it = json_iter(at->v); it; it = json_next(at->v, it)) {
		struct str key = json_iter_key(it);
		if (is_one_of(key, allowed))
			continue;
		struct json_at extra = {.up = at, .key = key.p, .v = json_iter_value(it), .present = true};
		return json_fail(&extra, e, "Extra inputs are not permitted");
	}
	return 0;
}

static int
wrong_length(const struct json_at *at, const char *which, size_t bound, struct err *e)
{
	return json_fail(at, e, "String should have %s %zu character%s", which, bound, bound == 1 ? "" : "s");
}

int
json_want_str(const struct json_at *at, size_t min, size_t max, struct str *out, struct err *e)
{
	int r = check_kind(at, JSON_STR, "string", e);

	if (r < 0)
		return r;
	struct str s = json_str(at->v, STR_NULL);
	/* A code point has 1 to 4 bytes, so most strings need not be counted. */
	bool maybe_short = s.n<min * 4, maybe_long = s.n> max;
	size_t len = maybe_short || maybe_long ? str_utf8_len(s) : s.n;
	if (maybe_short && len < min)
		return wrong_length(at, "at least", min, e);
	if (maybe_long && len > max)
		return wrong_length(at, "at most", max, e);
	*out = s;
	return 0;
}

int
json_want_int(const struct json_at *at, int64_t min, int64_t max, int64_t *out, struct err *e)
{
	int r = check_kind(at, JSON_INT, "integer", e);

	if (r < 0)
		return r;
	int64_t v = json_int(at->v, 0);
	if (v < min)
		return json_fail(at, e, "Input should be greater than or equal to %lld", (long long)min);
	if (v > max)
		return json_fail(at, e, "Input should be less than or equal to %lld", (long long)max);
	*out = v;
	return 0;
}

int
json_want_bool(const struct json_at *at, bool *out, struct err *e)
{
	int r = check_kind(at, JSON_BOOL, "boolean", e);

	if (r < 0)
		return r;
	*out = json_bool(at->v, false);
	return 0;
}

int
json_want_obj(const struct json_at *at, struct err *e)
{
	return check_kind(at, JSON_OBJ, "object", e);
}

int
json_want_arr(const struct json_at *at, size_t max, size_t *len, struct err *e)
{
	int r = check_kind(at, JSON_ARR, "array", e);

	if (r < 0)
		return r;
	size_t n = json_len(at->v);
	if (n > max)
		return json_fail(at, e, "List should have at most %zu item%s", max, max == 1 ? "" : "s");
	*len = n;
	return 0;
}

/* "Input should be 'a', 'b' or 'c'" */
static int
fail_enum(const struct json_at *at, const char *const names[], struct err *e)
{
	char list[ERR_MSG_MAX] = "";
	size_t n = 0;

	for (size_t i = 0; names[i] && n < sizeof(list); i++) {
		const char *glue = i == 0 ? "" : names[i + 1] ? ", " : " or ";
		n += (size_t)snprintf(list + n, sizeof(list) - n, "%s'%s'", glue, names[i]);
	}
	return json_fail(at, e, "Input should be %s", list);
}

int
json_want_enum(const struct json_at *at, const char *const names[], int *out, struct err *e)
{
	if (!at->present)
		return json_fail(at, e, "Field required");
	for (int i = 0; json_kind(at->v) == JSON_STR && names[i]; i++) {
		if (str_eqz(json_str(at->v, STR_NULL), names[i])) {
			*out = i;
			return 0;
		}
	}
	return fail_enum(at, names, e);
}
