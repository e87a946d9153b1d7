/* SPDX-License-Identifier: Apache-2.0 */
#include "guest/glob.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>
#include <stdlib.h>

#include "base/buf.h"
#include "base/hash.h"
#include "base/limits.h"

#define ARENA_MAX   (64 * MIB)
#define REGEX_MAX   (64 * KIB)
#define MATCH_STEPS 1000000

bool
glob_part_test(const struct glob_part *p, struct str name)
{
	if (p->kind == GLOB_STARSTAR)
		return true;
	if (p->kind == GLOB_LITERAL)
		return str_eq(p->text, name);
	if (!p->code)
		return false;
	pcre2_match_data *data = pcre2_match_data_create(1, NULL);
	pcre2_match_context *mc = pcre2_match_context_create(NULL);
	int r = -1;
	if (data && mc) {
		pcre2_set_match_limit(mc, MATCH_STEPS);
		r = pcre2_match(p->code, (PCRE2_SPTR)name.p, name.n, 0, 0, data, mc);
	}
	pcre2_match_data_free(data);
	pcre2_match_context_free(mc);
	return r >= 0;
}

static void
compile_part(struct glob *g, struct str text, struct glob_part *out)
{
	AUTO(buf) struct buf regex = {0};
	AUTO(buf) struct buf literal = {0};
	PCRE2_SIZE at;
	int error;

	buf_init(&regex, REGEX_MAX);
	buf_init(&literal, GLOB_PATTERN_MAX);
	out->kind = GLOB_LITERAL;
	if (str_eq(text, STR("**"))) {
		out->kind = GLOB_STARSTAR;
	} else if (!glob_regex(text, g->arena, &regex, &literal)) {
		out->text = arena_dup(g->arena, buf_str(&literal));
	} else {
		out->kind = GLOB_MATCH;
		if (!regex.fail)
			out->code = pcre2_compile((PCRE2_SPTR)regex.p, regex.n,
				PCRE2_UTF | PCRE2_MATCH_INVALID_UTF | PCRE2_ANCHORED | PCRE2_ENDANCHORED |
					PCRE2_DOLLAR_ENDONLY | PCRE2_DOTALL,
				&error, &at, NULL);
	}
}

/* Cuts the next component off; several slashes are one. `s->p` is NULL behind the last. */
static struct str
next_component(struct str *s)
{
	struct str c = str_next(s, '/');

	while (s->p && s->n && s->p[0] == '/')
		*s = str_sub(*s, 1, s->n);
	return c;
}

static bool
is_here(struct str c)
{
	return c.n == 0 || str_eq(c, STR("."));
}

/* The components of one alternative: no empty or "." ones in the middle, no ** behind **. */
static size_t
split(struct str s, struct str out[GLOB_PARTS_MAX + 2])
{
	size_t n = 0;

	while (s.p && n <= GLOB_PARTS_MAX) {
		struct str c = next_component(&s);
		bool middle = n > 0 && s.p;
		if (middle && is_here(c))
			continue;
		if (n && str_eq(c, STR("**")) && str_eq(out[n - 1], STR("**")))
			continue;
		out[n++] = c;
	}
	return n == 2 && str_eq(out[0], STR(".")) && is_here(out[1]) ? 1 : n;
}

/* Suffixes of all alternatives, numbered, in a hash table: the walk remembers which it has tried where. */
struct suffix {
	struct hash h;
	uint32_t number;
	bool used;
};

struct suffixes {
	struct suffix *slots;
	size_t mask; /* number of slots - 1; at least half of them stay free */
	uint32_t n;
};

static bool
suffixes_init(struct suffixes *sx, const struct str *alternatives, size_t n, struct arena *a)
{
	size_t parts = 1, slots = 16;

	for (size_t i = 0; i < n; i++) {
		parts++;
		for (size_t k = 0; k < alternatives[i].n; k++)
			parts += alternatives[i].p[k] == '/';
	}
	while (slots < 2 * parts)
		slots *= 2;
	sx->mask = slots - 1;
	sx->slots = arena_alloc_n(a, slots, sizeof(*sx->slots));
	return sx->slots != NULL;
}

static uint32_t
suffix_number(struct suffixes *sx, const struct str *parts, size_t n)
{
	struct hash_ctx c;
	size_t at;

	hash_init(&c, STR_NULL);
	for (size_t i = 0; i < n; i++)
		hash_add_field(&c, parts[i]);
	struct hash h = hash_end(&c);
	memcpy(&at, h.b, sizeof(at));
	for (at &= sx->mask; sx->slots[at].used; at = (at + 1) & sx->mask)
		if (hash_equal(&sx->slots[at].h, &h))
			return sx->slots[at].number;
	sx->slots[at] = (struct suffix){h, sx->n, true};
	return sx->n++;
}

static int
compile_set(struct glob *g, struct str alternative, struct suffixes *sx, struct err *e)
{
	struct str parts[GLOB_PARTS_MAX + 2];
	size_t n = split(alternative, parts);
	struct glob_set *set = &g->sets[g->n];

	if (n > GLOB_PARTS_MAX)
		return err_set(e, ERR_TOO_LARGE, "pattern has over %d components", GLOB_PARTS_MAX);
	set->parts = arena_alloc_n(g->arena, n, sizeof(*set->parts));
	if (!set->parts)
		return arena_check(g->arena, e);
	set->n = n;
	g->n++;
	for (size_t i = 0; i < n; i++) {
		compile_part(g, parts[i], &set->parts[i]);
		set->parts[i].suffix = suffix_number(sx, parts + i, n - i);
	}
	return 0;
}

static bool
said_before(const struct str *v, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (str_eq(v[i], v[n]))
			return true;
	return false;
}

static int
compile(struct glob *g, struct str pattern, struct err *e)
{
	struct suffixes sx = {0};
	struct str slashed = arena_dup(g->arena, pattern);
	char *p = arena_dup_z(g->arena, pattern);
	size_t n = 0;

	for (size_t i = 0; p && i < slashed.n; i++)
		p[i] = p[i] == '\\' ? '/' : p[i];
	struct str *alternatives = p ? glob_braces((struct str){p, slashed.n}, g->arena, &n) : NULL;
	g->sets = arena_alloc_n(g->arena, n, sizeof(*g->sets));
	(void)suffixes_init(&sx, alternatives, n, g->arena);
	int r = arena_check(g->arena, e);
	for (size_t i = 0; r == 0 && i < n; i++)
		if (alternatives[i].n && !said_before(alternatives, i))
			r = compile_set(g, alternatives[i], &sx, e);
	return r ? r : arena_check(g->arena, e);
}

int
glob_new(struct str pattern, struct glob **out, struct err *e)
{
	AUTO(glob) struct glob *g = calloc(1, sizeof(*g));

	if (pattern.n > GLOB_PATTERN_MAX)
		return err_set(e, ERR_TOO_LARGE, "pattern is too long");
	if (!g || !(g->arena = arena_new(ARENA_MAX)))
		return err_set(e, ERR_NO_MEMORY, "out of memory");
	int r = compile(g, pattern, e);
	if (r < 0)
		return r;
	*out = MOVE(g);
	return 0;
}

void
glob_free(struct glob *g)
{
	if (!g)
		return;
	for (size_t i = 0; i < g->n; i++)
		for (size_t k = 0; k < g->sets[i].n; k++)
			if (g->sets[i].parts[k].kind == GLOB_MATCH)
				pcre2_code_free(g->sets[i].parts[k].code);
	arena_free(g->arena);
	free(g);
}
