/* SPDX-License-Identifier: Apache-2.0 */
/* One component of a pattern as a regular expression. */
#include "base/buf.h"
#include "guest/glob.h"

#define NESTING_MAX 8
#define NO_DOT      "(?!\\.)"
#define ANY         "[^/]"

enum item_kind { ITEM_TEXT, ITEM_ANY, ITEM_STAR, ITEM_CLASS, ITEM_GROUP };

/* A pattern is a list of items; a group has a list of such lists. */
struct item {
	enum item_kind kind;
	char group;      /* ? * + @ ! */
	struct str text; /* the literal, or the class as a regular expression */
	struct branch *alts;
	struct item *next;
};

struct branch {
	struct item *first;
	struct branch *next;
};

struct parser {
	struct arena *a;
	struct str s;
	size_t at;
	unsigned depth;
	bool no_groups; /* an opened group had no end: the rest is plain */
	bool magic;
};

/* ---- classes ---- */

static const struct {
	const char *name, *inside;
	bool negative; /* `inside` is what does not belong */
} posix[] = {
	{"[:alnum:]", "\\p{L}\\p{Nl}\\p{Nd}", false},
	{"[:alpha:]", "\\p{L}\\p{Nl}", false},
	{"[:ascii:]", "\\x00-\\x7f", false},
	{"[:blank:]", "\\p{Zs}\\t", false},
	{"[:cntrl:]", "\\p{Cc}", false},
	{"[:digit:]", "\\p{Nd}", false},
	{"[:graph:]", "\\p{Z}\\p{C}", true},
	{"[:lower:]", "\\p{Ll}", false},
	{"[:print:]", "\\p{C}", true},
	{"[:punct:]", "\\p{P}", false},
	{"[:space:]", "\\p{Z}\\t\\r\\n\\v\\f", false},
	{"[:upper:]", "\\p{Lu}", false},
	{"[:word:]", "\\p{L}\\p{Nl}\\p{Nd}\\p{Pc}", false},
	{"[:xdigit:]", "A-Fa-f0-9", false},
};

/* Length in bytes of the character at `at`. */
static size_t
char_at(struct str s, size_t at)
{
	size_t n = str_utf8_seq(str_sub(s, at, 4));

	return n ? n : 1;
}

static void
put_class_char(struct buf *b, struct str c)
{
	if (c.n == 1 && strchr("[]\\-^", c.p[0]))
		buf_put_c(b, '\\');
	buf_put_str(b, c);
}

struct class
{
	struct buf in, out;
	size_t members, end; /* `end`: offset behind the closing bracket */
	struct str only;     /* the one character, when there is but one */
};

/* A posix name at `at`: its length, or 0. */
static size_t
class_posix(struct class *c, struct str s, size_t at)
{
	for (size_t i = 0; i < ARRAY_LEN(posix); i++) {
		if (!str_starts(str_sub(s, at, s.n), str_z(posix[i].name)))
			continue;
		buf_put_z(posix[i].negative ? &c->out : &c->in, posix[i].inside);
		c->members += 2;
		return strlen(posix[i].name);
	}
	return 0;
}

/* One member or range at `at`; the offset behind it. */
static size_t
class_member(struct class *c, struct str s, size_t at)
{
	size_t n = char_at(s, at), to = at + n + 1;
	struct str a = str_sub(s, at, n);

	bool range = at + n + 1 < s.n && s.p[at + n] == '-' && s.p[at + n + 1] != ']';
	if (!range) {
		put_class_char(&c->in, a);
		c->only = a;
		c->members++;
		return at + n;
	}
	struct str b = str_sub(s, to, char_at(s, to));
	int order = str_cmp(a, b);
	if (order <= 0) { /* a range that goes down has no members */
		put_class_char(&c->in, a);
		if (order < 0) {
			buf_put_c(&c->in, '-');
			put_class_char(&c->in, b);
			c->members++;
		}
		c->only = a;
		c->members++;
	}
	return to + b.n;
}

/* Parses from the bracket at p->at. False: it has no end and stands for itself. */
static bool
class_parse(struct parser *p, struct class *c, bool *negate)
{
	struct str s = p->s;
	size_t i = p->at + 1;

	*negate = i < s.n && (s.p[i] == '!' || s.p[i] == '^');
	i += *negate;
	for (size_t first = i; i < s.n;) {
		if (s.p[i] == ']' && i > first) {
			c->end = i + 1;
			return true;
		}
		size_t n = s.p[i] == '[' ? class_posix(c, s, i) : 0;
		i = n ? i + n : class_member(c, s, i);
	}
	return false;
}

static void
class_regex(const struct class *c, bool negate, struct buf *b)
{
	if (c->in.n && c->out.n)
		buf_put_z(b, "(?:");
	if (c->in.n)
		buf_printf(b, "[%s%.*s]", negate ? "^" : "", (int)c->in.n, c->in.p);
	if (c->in.n && c->out.n)
		buf_put_c(b, '|');
	if (c->out.n)
		buf_printf(b, "[%s%.*s]", negate ? "" : "^", (int)c->out.n, c->out.p);
	if (c->in.n && c->out.n)
		buf_put_c(b, ')');
	if (!c->in.n && !c->out.n)
		buf_put_z(b, "(?!)");
}

/* ---- parsing ---- */

static struct item *
item_new(struct parser *p, enum item_kind kind, struct str text)
{
	struct item *it = arena_alloc(p->a, sizeof(*it));

	if (it) {
		it->kind = kind;
		it->text = text;
	}
	return it;
}

static struct item *
parse_class(struct parser *p)
{
	struct class c = {0};
	struct item *it = NULL;
	AUTO(buf) struct buf regex = {0};
	bool negate;

	buf_init(&regex, 16384);
	buf_init(&c.in, 16384);
	buf_init(&c.out, 16384);
	if (class_parse(p, &c, &negate)) {
		p->at = c.end;
		if (c.members == 1 && !negate && c.out.n == 0) {
			it = item_new(p, ITEM_TEXT, c.only);
		} else {
			class_regex(&c, negate, &regex);
			it = item_new(p, ITEM_CLASS, arena_dup(p->a, buf_str(&regex)));
			p->magic = true;
		}
	} else {
		it = item_new(p, ITEM_TEXT, str_sub(p->s, p->at++, 1));
	}
	buf_done(&c.in);
	buf_done(&c.out);
	return it;
}

static struct item *parse_list(struct parser *p, bool grouped);

/* A group from its opening parenthesis, or NULL when it never closes: then the parser is back where it was.
 */
static struct item *
parse_group(struct parser *p, char type)
{
	struct item *it = item_new(p, ITEM_GROUP, STR(""));
	size_t begin = p->at;
	bool magic = p->magic;
	char end = '|';

	if (!it)
		return NULL;
	it->group = type;
	p->depth++;
	for (struct branch **last = &it->alts; end == '|'; last = &(*last)->next) {
		p->at++; /* the parenthesis, or the bar */
		*last = arena_alloc(p->a, sizeof(**last));
		if (!*last)
			break;
		(*last)->first = parse_list(p, true);
		end = p->at < p->s.n ? p->s.p[p->at] : 0;
	}
	p->depth--;
	if (end == ')' && !p->no_groups) {
		p->at++;
		p->magic = true;
		return it;
	}
	p->at = begin;
	p->magic = magic;
	p->no_groups = true;
	return NULL;
}

/* True when a group may begin at `at`, which holds its type. */
static bool
opens_group(const struct parser *p, size_t at)
{
	return at + 1 < p->s.n && p->s.p[at + 1] == '(' && strchr("?*+@!", p->s.p[at]) && !p->no_groups &&
	       p->depth < NESTING_MAX;
}

/* A star, with the stars that follow it, or a question mark. */
static struct item *
parse_wild(struct parser *p)
{
	bool star = p->s.p[p->at++] == '*';

	p->magic = true;
	while (star && p->at < p->s.n && p->s.p[p->at] == '*' && !opens_group(p, p->at))
		p->at++;
	return item_new(p, star ? ITEM_STAR : ITEM_ANY, STR(""));
}

static struct item *
parse_item(struct parser *p)
{
	char c = p->s.p[p->at];

	if (opens_group(p, p->at)) {
		p->at++;
		struct item *group = parse_group(p, c);
		if (group || arena_failed(p->a))
			return group;
		p->at--;
	}
	if (c == '[')
		return parse_class(p);
	if (c == '*' || c == '?')
		return parse_wild(p);
	return item_new(p, ITEM_TEXT, str_sub(p->s, p->at++, 1));
}

/* Items up to the end, or in a group up to | or ). */
static struct item *
parse_list(struct parser *p, bool grouped)
{
	struct item *first = NULL, **last = &first;

	while (p->at < p->s.n) {
		char c = p->s.p[p->at];
		if (grouped && (c == '|' || c == ')'))
			break;
		*last = parse_item(p);
		if (!*last)
			break;
		last = &(*last)->next;
	}
	return first;
}

/* ---- writing ---- */

/* What follows a list once it ends: needed behind !( ), which must not match up to the end. */
struct after {
	const struct item *rest;
	const struct after *up;
};

static void emit(struct buf *b, const struct item *it, bool start, const struct after *after);

static void
emit_alts(struct buf *b, const struct branch *alts, bool start, const struct after *after)
{
	for (const struct branch *br = alts; br; br = br->next) {
		emit(b, br->first, start, after);
		if (br->next)
			buf_put_c(b, '|');
	}
}

/* What follows a group that begins the name. The reference wants a lone star there to match something. */
static void
emit_tail(struct buf *b, bool start, const struct after *after)
{
	for (; after && !b->fail; after = after->up) {
		const struct item *it = after->rest;
		if (start && it && it->kind == ITEM_STAR && !it->next)
			buf_put_z(b, ANY "+?");
		else
			emit(b, it, false, after->up);
	}
}

static void
emit_not(struct buf *b, const struct item *it, bool start, const struct after *after)
{
	if (!it->alts->first && !it->alts->next) { /* !(): anything but nothing */
		buf_printf(b, "%s" ANY "+?", start ? NO_DOT : "");
		return;
	}
	buf_put_z(b, "(?:(?!(?:");
	emit_alts(b, it->alts, start, NULL);
	buf_put_c(b, ')');
	emit_tail(b, start, after);
	buf_printf(b, "$)%s" ANY "*?)", start ? NO_DOT : "");
}

static void
emit_group(struct buf *b, const struct item *it, bool start, const struct after *after)
{
	if (it->group == '!') {
		emit_not(b, it, start, after);
		return;
	}
	bool repeated = it->group == '*' || it->group == '+';
	buf_put_z(b, "(?:");
	if (repeated && start) { /* only the first round stands at the start */
		buf_put_z(b, "(?:");
		emit_alts(b, it->alts, true, after);
		buf_put_z(b, ")(?:");
		emit_alts(b, it->alts, false, after);
		buf_put_z(b, ")*?");
	} else {
		emit_alts(b, it->alts, start, after);
	}
	buf_put_c(b, ')');
	if (it->group == '?' || (it->group == '*' && start))
		buf_put_c(b, '?');
	else if (repeated && !start)
		buf_put_c(b, it->group);
}

static void
emit_text(struct buf *b, struct str text)
{
	for (size_t i = 0; i < text.n; i++) {
		if (strchr("-[]{}()*+?.,\\^$|#", text.p[i]))
			buf_put_c(b, '\\');
		buf_put_c(b, text.p[i]);
	}
}

static void
emit(struct buf *b, const struct item *it, bool start, const struct after *after)
{
	/* Behind a negation, which may match nothing, another group still stands at the start. */
	for (bool first = true; it && !b->fail; it = it->next, first = false) {
		struct after here = {it->next, after};
		const char *no_dot = start && first ? NO_DOT : "";
		switch (it->kind) {
		case ITEM_TEXT:
			emit_text(b, it->text);
			break;
		case ITEM_ANY:
			buf_printf(b, "%s" ANY, no_dot);
			break;
		case ITEM_STAR:
			buf_printf(b, "%s" ANY "*?", no_dot);
			break;
		case ITEM_CLASS:
			buf_printf(b, "%s%.*s", no_dot, STRF(it->text));
			break;
		case ITEM_GROUP:
			emit_group(b, it, start, &here);
			break;
		}
		start = start && it->kind == ITEM_GROUP && it->group == '!';
	}
}

bool
glob_regex(struct str part, struct arena *a, struct buf *regex, struct buf *literal)
{
	struct parser p = {.a = a, .s = part};
	struct item *list = parse_list(&p, false);

	if (!p.magic) {
		for (const struct item *it = list; it; it = it->next)
			buf_put_str(literal, it->text);
		return false;
	}
	if (list && list->kind == ITEM_STAR && !list->next)
		buf_put_z(regex, NO_DOT ANY "+");
	else
		emit(regex, list, true, NULL);
	return true;
}
