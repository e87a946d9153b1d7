/* SPDX-License-Identifier: Apache-2.0 */
/* The writing half: text straight into a buf. Needs no jansson; trees are read through the facade. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/json.h"

#define REAL_MAX 40

/* ---- strings ---- */

#define REPEAT(byte) (UINT64_C(0x0101010101010101) * (byte))

/* Nonzero when one of 8 bytes is zero. */
static uint64_t
has_zero(uint64_t w)
{
	return (w - REPEAT(0x01)) & ~w & REPEAT(0x80);
}

/* True when none of the 8 bytes is a control, a quote, a backslash or beyond ASCII. */
static bool
plain8(const char *p)
{
	uint64_t w;

	memcpy(&w, p, 8);
	uint64_t control = (w - REPEAT(0x20)) & ~w & REPEAT(0x80);
	return ((w & REPEAT(0x80)) | control | has_zero(w ^ REPEAT('"')) | has_zero(w ^ REPEAT('\\'))) == 0;
}

/* How many bytes at the start of `s` may stand in a JSON string as they are. */
static size_t
plain_run(struct str s)
{
	size_t i = 0;

	while (i < s.n) {
		if (s.n - i >= 8 && plain8(s.p + i)) {
			i += 8;
			continue;
		}
		unsigned char c = (unsigned char)s.p[i];
		if (c < 0x20 || c == '"' || c == '\\')
			break;
		size_t step = c < 0x80 ? 1 : str_utf8_seq(str_sub(s, i, 4));
		if (step == 0)
			break;
		i += step;
	}
	return i;
}

static void
put_escaped(struct buf *b, unsigned char c)
{
	static const char shorts[0x20] = {
		['\b'] = 'b', ['\t'] = 't', ['\n'] = 'n', ['\f'] = 'f', ['\r'] = 'r'};
	static const char digits[] = "0123456789abcdef";
	char two[] = {'\\', (char)c};
	char six[] = {'\\', 'u', '0', '0', digits[c >> 4], digits[c & 15]};

	if (c < 0x20 && !shorts[c]) {
		buf_put(b, six, sizeof(six));
		return;
	}
	if (c < 0x20)
		two[1] = shorts[c];
	buf_put(b, two, sizeof(two));
}

void
json_escape(struct buf *b, struct str s)
{
	buf_put_c(b, '"');
	while (s.n && !b->fail) {
		size_t n = plain_run(s);
		buf_put(b, s.p, n);
		s = str_sub(s, n, s.n);
		if (s.n == 0)
			break;
		unsigned char c = (unsigned char)s.p[0];
		/* What json_parse refuses must never be written: it could not be read back. */
		if (c >= 0x80 || c == 0)
			buf_put(b, "\xef\xbf\xbd", 3);
		else
			put_escaped(b, c);
		s = str_sub(s, 1, s.n);
	}
	buf_put_c(b, '"');
}

/* ---- numbers ---- */

static void
put_int(struct buf *b, int64_t v)
{
	if (v < 0)
		buf_put_c(b, '-');
	buf_put_u64(b, v < 0 ? 0 - (uint64_t)v : (uint64_t)v);
}

/* The shortest text that reads back as the same number; it stays a real ("1.0") when read again. */
static void
put_real(struct buf *b, double v)
{
	char z[REAL_MAX];

	if (!isfinite(v)) {
		buf_put_z(b, "null");
		return;
	}
	for (int digits = 15; digits <= 17; digits++) {
		snprintf(z, sizeof(z), "%.*g", digits, v);
		if (strtod(z, NULL) == v)
			break;
	}
	buf_put_z(b, z);
	if (!strpbrk(z, ".e"))
		buf_put_z(b, ".0");
}

/* ---- the writer ---- */

struct json_w
json_w(struct buf *b)
{
	return (struct json_w){.b = b};
}

/* The comma before a value, or nothing after a key. */
static void
before_value(struct json_w *w)
{
	if (w->after_key) {
		w->after_key = false;
		return;
	}
	if (w->depth == 0)
		return;
	if (!w->first[w->depth - 1])
		buf_put_c(w->b, ',');
	w->first[w->depth - 1] = false;
}

static void
open_level(struct json_w *w, char c)
{
	before_value(w);
	ASSERT(w->depth < JSON_W_DEPTH);
	w->first[w->depth++] = true;
	buf_put_c(w->b, c);
}

static void
close_level(struct json_w *w, char c)
{
	ASSERT(w->depth > 0 && !w->after_key);
	w->depth--;
	buf_put_c(w->b, c);
}

void
jw_obj(struct json_w *w)
{
	open_level(w, '{');
}

void
jw_obj_end(struct json_w *w)
{
	close_level(w, '}');
}

void
jw_arr(struct json_w *w)
{
	open_level(w, '[');
}

void
jw_arr_end(struct json_w *w)
{
	close_level(w, ']');
}

void
jw_key(struct json_w *w, const char *key)
{
	jw_key_str(w, str_z(key));
}

void
jw_key_str(struct json_w *w, struct str key)
{
	ASSERT(w->depth > 0 && !w->after_key);
	before_value(w);
	json_escape(w->b, key);
	buf_put_c(w->b, ':');
	w->after_key = true;
}

void
jw_str(struct json_w *w, struct str s)
{
	if (!s.p) {
		jw_null(w);
		return;
	}
	before_value(w);
	json_escape(w->b, s);
}

void
jw_z(struct json_w *w, const char *z)
{
	jw_str(w, str_z(z));
}

void
jw_int(struct json_w *w, int64_t v)
{
	before_value(w);
	put_int(w->b, v);
}

void
jw_real(struct json_w *w, double v)
{
	before_value(w);
	put_real(w->b, v);
}

void
jw_bool(struct json_w *w, bool v)
{
	before_value(w);
	buf_put_str(w->b, v ? STR("true") : STR("false"));
}

void
jw_null(struct json_w *w)
{
	before_value(w);
	buf_put_str(w->b, STR("null"));
}

void
jw_raw(struct json_w *w, struct str json)
{
	before_value(w);
	buf_put_str(w->b, json);
}

void
jw_value(struct json_w *w, const struct json_t *v)
{
	before_value(w);
	json_dump(w->b, v);
}

void
jw_kstr(struct json_w *w, const char *key, struct str s)
{
	jw_key(w, key);
	jw_str(w, s);
}

void
jw_kz(struct json_w *w, const char *key, const char *z)
{
	jw_key(w, key);
	jw_z(w, z);
}

void
jw_kint(struct json_w *w, const char *key, int64_t v)
{
	jw_key(w, key);
	jw_int(w, v);
}

void
jw_kbool(struct json_w *w, const char *key, bool v)
{
	jw_key(w, key);
	jw_bool(w, v);
}

void
jw_knull(struct json_w *w, const char *key)
{
	jw_key(w, key);
	jw_null(w);
}

void
jw_kraw(struct json_w *w, const char *key, struct str json)
{
	jw_key(w, key);
	jw_raw(w, json);
}

void
jw_kvalue(struct json_w *w, const char *key, const struct json_t *v)
{
	jw_key(w, key);
	jw_value(w, v);
}

void
jw_ktime(struct json_w *w, const char *key, uint64_t wall_us)
{
	char text[TIME_TEXT_MAX];

	jw_kz(w, key, wall_us ? time_format(wall_us, text) : NULL);
}

/* ---- trees ---- */

static void
dump_object(struct buf *b, const struct json_t *v)
{
	char glue = '{';

	for (void *it = json_iter(v); it; it = json_next(v, it), glue = ',') {
		buf_put_c(b, glue);
		json_escape(b, json_iter_key(it));
		buf_put_c(b, ':');
		json_dump(b, json_iter_value(it));
	}
	buf_put_str(b, glue == '{' ? STR("{}") : STR("}"));
}

static void
dump_array(struct buf *b, const struct json_t *v)
{
	size_t n = json_len(v);

	buf_put_c(b, '[');
	for (size_t i = 0; i < n; i++) {
		if (i)
			buf_put_c(b, ',');
		json_dump(b, json_at(v, i));
	}
	buf_put_c(b, ']');
}

/* Recursion is bounded by LIM_JSON_DEPTH, which the parser enforced. */
void
json_dump(struct buf *b, const struct json_t *v)
{
	switch (json_kind(v)) {
	case JSON_NULL:
		buf_put_str(b, STR("null"));
		return;
	case JSON_BOOL:
		buf_put_str(b, json_bool(v, false) ? STR("true") : STR("false"));
		return;
	case JSON_INT:
		put_int(b, json_int(v, 0));
		return;
	case JSON_REAL:
		put_real(b, json_real(v, 0));
		return;
	case JSON_STR:
		json_escape(b, json_str(v, STR_NULL));
		return;
	case JSON_ARR:
		dump_array(b, v);
		return;
	case JSON_OBJ:
		dump_object(b, v);
		return;
	}
	UNREACHABLE();
}
