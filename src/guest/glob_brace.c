/* SPDX-License-Identifier: Apache-2.0 */
/* Brace expansion: {a,b}, {1..9..2}, {a..e}, nested; a brace without its partner stands for itself. */
#include "base/buf.h"
#include "guest/glob.h"

#define NUMBER_MAX 15 /* digits of a sequence's ends */

struct words {
	struct arena *a;
	struct str *v;
	size_t n, cap;
};

static void expand(struct words *out, struct str s, bool top);

static void
push(struct words *w, struct str s)
{
	if (w->n == GLOB_SETS_MAX)
		return;
	if (w->n == w->cap) {
		size_t cap = w->cap ? 2 * w->cap : 8;
		struct str *v = arena_alloc_n(w->a, cap, sizeof(*v));
		if (!v)
			return;
		if (w->n)
			memcpy(v, w->v, w->n * sizeof(*v));
		w->v = v;
		w->cap = cap;
	}
	w->v[w->n++] = s;
}

static struct str
join3(struct arena *a, struct str x, struct str y, struct str z)
{
	char *p = arena_alloc(a, x.n + y.n + z.n);

	if (!p)
		return STR_NULL;
	if (x.n)
		memcpy(p, x.p, x.n);
	if (y.n)
		memcpy(p + x.n, y.p, y.n);
	if (z.n)
		memcpy(p + x.n + y.n, z.p, z.n);
	return (struct str){p, x.n + y.n + z.n};
}

/* The first brace that has a partner. */
struct pair {
	struct str pre, body, post;
};

static bool
balanced(struct str s, struct pair *out)
{
	/* From the right: the depth to the right of each brace would need a table; braces are few, so search.
	 */
	for (size_t i = 0; i < s.n; i++) {
		size_t depth = 0;
		if (s.p[i] != '{')
			continue;
		for (size_t k = i; k < s.n; k++) {
			depth += s.p[k] == '{';
			if (s.p[k] != '}' || --depth > 0)
				continue;
			out->pre = str_sub(s, 0, i);
			out->body = str_sub(s, i + 1, k - i - 1);
			out->post = str_sub(s, k + 1, s.n);
			return true;
		}
	}
	return false;
}

/* ---- sequences ---- */

struct sequence {
	int64_t from, to, step;
	bool letters;
	size_t width; /* padded with zeros to this; 0: not */
};

static bool
padded(struct str s)
{
	size_t sign = s.n && s.p[0] == '-';

	return s.n > sign + 1 && s.p[sign] == '0';
}

static bool
is_letter(struct str s)
{
	return s.n == 1 && ((s.p[0] >= 'a' && s.p[0] <= 'z') || (s.p[0] >= 'A' && s.p[0] <= 'Z'));
}

static bool
cut_dots(struct str *s, struct str *word)
{
	size_t at = str_find_str(*s, STR(".."));

	if (at == s->n)
		return false;
	*word = str_sub(*s, 0, at);
	*s = str_sub(*s, at + 2, s->n);
	return true;
}

/* The two or three words between the dots. */
static bool
sequence_words(struct str body, struct str *from, struct str *to, struct str *step)
{
	*step = STR("1");
	if (!cut_dots(&body, from))
		return false;
	if (cut_dots(&body, to))
		*step = body;
	else
		*to = body;
	return from->n <= NUMBER_MAX && to->n <= NUMBER_MAX && step->n <= NUMBER_MAX;
}

static bool
sequence(struct str body, struct sequence *q)
{
	struct str from, to, step;

	if (!sequence_words(body, &from, &to, &step) || !str_to_i64(step, &q->step))
		return false;
	q->width = 0;
	q->letters = is_letter(from) && is_letter(to);
	if (q->letters) {
		q->from = from.p[0];
		q->to = to.p[0];
	} else if (!str_to_i64(from, &q->from) || !str_to_i64(to, &q->to)) {
		return false;
	} else if (padded(from) || padded(to) || padded(step)) {
		q->width = from.n > to.n ? from.n : to.n;
	}
	if (q->step == 0)
		q->step = 1;
	q->step = q->step < 0 ? -q->step : q->step;
	return true;
}

static void
put_sequence(struct words *out, const struct sequence *q)
{
	int64_t step = q->to < q->from ? -q->step : q->step;

	for (int64_t i = q->from; (step > 0 ? i <= q->to : i >= q->to) && out->n < GLOB_SETS_MAX; i += step) {
		char *z;
		if (q->letters)
			z = arena_printf(out->a, "%c", i == '\\' ? 0 : (char)i);
		else /* the sign counts in the width, as it does in the written numbers */
			z = arena_printf(out->a, "%0*lld", (int)q->width, (long long)i);
		push(out, str_z(z));
	}
}

/* ---- lists ---- */

/* The parts between commas that are not inside a balanced brace. */
static void
comma_parts(struct words *out, struct str s)
{
	struct pair m;
	struct str part = {s.p, 0};

	while (balanced(s, &m)) {
		for (size_t i = 0; i < m.pre.n; i++) {
			if (m.pre.p[i] == ',') {
				push(out, part);
				part = (struct str){m.pre.p + i + 1, 0};
				continue;
			}
			part.n++;
		}
		part.n += m.body.n + 2;
		s = m.post;
	}
	for (size_t i = 0; i < s.n; i++) {
		if (s.p[i] == ',') {
			push(out, part);
			part = (struct str){s.p + i + 1, 0};
			continue;
		}
		part.n++;
	}
	push(out, part);
}

/* True when a comma stands somewhere before a closing brace. */
static bool
more_lists(struct str s)
{
	size_t comma = str_find(s, ',');

	return comma < s.n && str_find(str_sub(s, comma, s.n), '}') < s.n - comma;
}

/* What the braces' inside stands for. */
static void
alternatives(struct words *out, struct str body)
{
	struct words parts = {.a = out->a}, inner = {.a = out->a};
	struct sequence q;

	if (sequence(body, &q)) {
		put_sequence(out, &q);
		return;
	}
	comma_parts(&parts, body);
	if (parts.n != 1) {
		for (size_t i = 0; i < parts.n; i++)
			expand(out, parts.v[i], false);
		return;
	}
	expand(&inner, parts.v[0], false); /* {{a,b}}: the outer brace stays */
	for (size_t i = 0; i < inner.n; i++)
		push(out, join3(out->a, STR("{"), inner.v[i], STR("}")));
}

static void
expand(struct words *out, struct str s, bool top)
{
	struct words post = {.a = out->a}, mid = {.a = out->a};
	struct sequence q;
	struct pair m;

	if (!balanced(s, &m)) {
		push(out, s);
		return;
	}
	bool dollar = str_ends(m.pre, STR("$")), is_sequence = sequence(m.body, &q);
	if (!dollar && !is_sequence && str_find(m.body, ',') == m.body.n) {
		if (!more_lists(m.post)) {
			push(out, s);
			return;
		}
		dollar = true; /* this brace stands for itself, a later one does not */
	}
	if (m.post.n)
		expand(&post, m.post, false);
	else
		push(&post, STR(""));
	if (dollar)
		push(&mid, join3(out->a, STR("{"), m.body, STR("}")));
	else
		alternatives(&mid, m.body);
	for (size_t j = 0; j < mid.n; j++) {
		for (size_t k = 0; k < post.n && out->n < GLOB_SETS_MAX && !arena_failed(out->a); k++) {
			struct str one = join3(out->a, m.pre, mid.v[j], post.v[k]);
			if (!top || is_sequence || one.n)
				push(out, one);
		}
	}
}

struct str *
glob_braces(struct str pattern, struct arena *a, size_t *n)
{
	struct words out = {.a = a};

	expand(&out, pattern, true);
	*n = out.n;
	return out.v;
}
