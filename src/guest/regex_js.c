/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The grammar of ECMAScript's regular expressions with its Annex B (no flags), as a recursive descent that
 * writes as it reads. Groups are numbered in order, so back references keep their numbers; names become
 * numbers.
 */
#include "guest/regex.h"

#include "base/limits.h"

#define NESTING_MAX 200
#define NAMES_MAX   100
#define REPEAT_MAX  65535 /* of PCRE2; a line has 2000 characters at most */

#define SPACES                                                                                            \
	"\\x{9}-\\x{d}\\x{20}\\x{a0}\\x{1680}\\x{2000}-\\x{200a}\\x{2028}\\x{2029}\\x{202f}\\x{205f}\\x{" \
	"3000}\\x{feff}"
#define NO_SPACES                                                                                           \
	"\\x{0}-\\x{8}\\x{e}-\\x{1f}\\x{21}-\\x{9f}\\x{a1}-\\x{167f}\\x{1681}-\\x{1fff}\\x{200b}-\\x{2027}" \
	"\\x{202a}-\\x{202e}\\x{2030}-\\x{205e}\\x{2060}-\\x{2fff}\\x{3001}-\\x{fefe}\\x{ff00}-\\x{10ffff}"

struct reader {
	struct str s;
	size_t at;
	struct buf *out;
	unsigned depth;
	unsigned groups;             /* capturing groups in the whole pattern */
	unsigned opened;             /* ... opened so far */
	struct str names[NAMES_MAX]; /* of groups, by number - 1; empty without a name */
	bool named;                  /* some group has a name */
	const char *wrong;
	const char *late; /* wrong too, but told only when nothing else is */
};

/* ---- reading ---- */

static bool
more(const struct reader *r)
{
	return !r->wrong && r->at < r->s.n;
}

static char
peek(const struct reader *r, size_t ahead)
{
	return r->at + ahead < r->s.n ? r->s.p[r->at + ahead] : 0;
}

static bool
eat(struct reader *r, const char *text)
{
	if (!str_starts(str_sub(r->s, r->at, r->s.n), str_z(text)))
		return false;
	r->at += strlen(text);
	return true;
}

static void
fail(struct reader *r, const char *wrong)
{
	if (!r->wrong)
		r->wrong = wrong;
}

static void
fail_late(struct reader *r, const char *wrong)
{
	if (!r->late)
		r->late = wrong;
}

static bool
is_digit(char c)
{
	return c >= '0' && c <= '9';
}

/* Exactly `n` hexadecimal digits behind `skip` bytes. */
static bool
hex(const struct reader *r, size_t skip, size_t n, uint64_t *v)
{
	struct str s = str_sub(r->s, r->at + skip, n);

	return s.n == n && str_to_hex64(s, v);
}

/* The code point at r->at, which moves behind it. */
static uint32_t
take_char(struct reader *r)
{
	unsigned char c = (unsigned char)r->s.p[r->at];
	size_t n = c < 0x80 ? 1 : c < 0xe0 ? 2 : c < 0xf0 ? 3 : 4;
	uint32_t v = n == 1 ? c : c & (0x7fu >> n);

	for (size_t i = 1; i < n; i++)
		v = v << 6 | ((unsigned char)peek(r, i) & 0x3f);
	r->at += n;
	return v;
}

/* ---- writing ---- */

/* A surrogate alone cannot occur in a line: an empty class, which never matches. */
static void
put_char(struct reader *r, uint32_t c, bool in_class)
{
	if (c >= 0xd800 && c <= 0xdfff)
		buf_put_z(r->out, in_class ? "" : "(?!)");
	else if ((c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'))
		buf_put_c(r->out, (char)c);
	else
		buf_printf(r->out, "\\x{%x}", c);
}

/* ---- escapes ---- */

/* Up to three octal digits, at most 0377. */
static uint32_t
octal(struct reader *r)
{
	uint32_t v = 0;

	for (int i = 0;
		i < 3 && peek(r, 0) >= '0' && peek(r, 0) <= '7' && v * 8 + (uint32_t)(peek(r, 0) - '0') < 256;
		i++)
		v = v * 8 + (uint32_t)(r->s.p[r->at++] - '0');
	return v;
}

static uint32_t
unicode_escape(struct reader *r, uint64_t v)
{
	uint64_t low;

	r->at += 5;
	if (v >= 0xd800 && v <= 0xdbff && peek(r, 0) == '\\' && peek(r, 1) == 'u' && hex(r, 2, 4, &low) &&
		low >= 0xdc00 && low <= 0xdfff) {
		r->at += 6;
		return (uint32_t)(0x10000 + ((v - 0xd800) << 10) + (low - 0xdc00));
	}
	return (uint32_t)v;
}

/* \cX; without a letter the backslash stands for itself and the c is read next. */
static uint32_t
control_escape(struct reader *r, bool in_class)
{
	char l = peek(r, 1);
	bool letter = (l >= 'a' && l <= 'z') || (l >= 'A' && l <= 'Z');

	if (!letter && !(in_class && (is_digit(l) || l == '_')))
		return '\\';
	r->at += 2;
	return (uint32_t)l & 31;
}

/* An escape that stands for one character; r->at is behind the backslash. */
static uint32_t
char_escape(struct reader *r, bool in_class)
{
	static const char letters[] = "tnvfr", values[] = "\t\n\v\f\r";
	char c = peek(r, 0);
	const char *simple = c ? strchr(letters, c) : NULL;
	uint64_t v;

	if (simple) {
		r->at++;
		return (uint32_t)values[simple - letters];
	}
	if (c == 'c')
		return control_escape(r, in_class);
	if (c == 'x' && hex(r, 1, 2, &v)) {
		r->at += 3;
		return (uint32_t)v;
	}
	if (c == 'u' && hex(r, 1, 4, &v))
		return unicode_escape(r, v);
	return c >= '0' && c <= '7' ? octal(r) : take_char(r);
}

/* \d \D \s \S \w \W. False: another escape. */
static bool
class_escape(struct reader *r, bool in_class)
{
	char c = peek(r, 0);

	switch (c) {
	case 'd':
	case 'D':
	case 'w':
	case 'W':
		buf_printf(r->out, "\\%c", c);
		break;
	case 's':
		buf_put_z(r->out, in_class ? SPACES : "[" SPACES "]");
		break;
	case 'S':
		buf_put_z(r->out, in_class ? NO_SPACES : "[" NO_SPACES "]");
		break;
	default:
		return false;
	}
	r->at++;
	return true;
}

/* ---- classes ---- */

/* One member: *single tells that it is one character, *c. Sets of characters are written at once. */
static void
class_member(struct reader *r, bool *single, uint32_t *c)
{
	*single = true;
	if (!eat(r, "\\")) {
		*c = take_char(r);
		return;
	}
	if (r->at == r->s.n) {
		fail(r, "\\ at end of pattern");
		return;
	}
	if (r->named && peek(r, 0) == 'k') {
		fail(r, "Invalid escape");
		return;
	}
	if (class_escape(r, true)) {
		*single = false;
		return;
	}
	if (eat(r, "b"))
		*c = '\b';
	else
		*c = char_escape(r, true);
}

static void
class_range(struct reader *r)
{
	bool single, second_single;
	uint32_t a = 0, b = 0;

	class_member(r, &single, &a);
	if (peek(r, 0) != '-' || peek(r, 1) == ']' || r->at + 1 >= r->s.n || r->wrong) {
		if (single)
			put_char(r, a, true);
		return;
	}
	r->at++;
	class_member(r, &second_single, &b);
	if (single && second_single) {
		if (b < a)
			fail(r, "Range out of order in character class");
		put_char(r, a, true);
		buf_put_c(r->out, '-');
		put_char(r, b, true);
		return;
	}
	/* A set at either end: the dash is a character. */
	if (single)
		put_char(r, a, true);
	put_char(r, '-', true);
	if (second_single)
		put_char(r, b, true);
}

/* r->at is behind the bracket. */
static void class(struct reader *r)
{
	bool negate = eat(r, "^");
	size_t from = r->out->n;

	buf_put_z(r->out, negate ? "[^" : "[");
	size_t inside = r->out->n;
	while (more(r) && peek(r, 0) != ']')
		class_range(r);
	if (!eat(r, "]"))
		fail(r, "Unterminated character class");
	if (r->out->fail)
		return;
	if (r->out->n == inside) { /* nothing, or anything */
		r->out->n = from;
		buf_put_z(r->out, negate ? "[\\x{0}-\\x{10ffff}]" : "(?!)");
	} else {
		buf_put_c(r->out, ']');
	}
}

/* ---- atoms ---- */

static void alternatives(struct reader *r);

/* The number of a group by name, 0 when there is none. */
static unsigned
group_named(const struct reader *r, struct str name)
{
	for (unsigned i = 0; i < r->groups && i < NAMES_MAX; i++)
		if (name.n && str_eq(r->names[i], name))
			return i + 1;
	return 0;
}

/* A name and its ">" at r->at; empty when it is none. */
static struct str
group_name(struct str s)
{
	size_t n = str_find(s, '>');
	struct str name = str_sub(s, 0, n);

	if (n == s.n || n == 0 || is_digit(name.p[0]))
		return STR("");
	for (size_t i = 0; i < n; i++) {
		unsigned char c = (unsigned char)name.p[i];
		bool ok = c >= 0x80 || is_digit((char)c) || (c >= 'a' && c <= 'z') ||
			  (c >= 'A' && c <= 'Z') || c == '_' || c == '$';
		if (!ok)
			return STR("");
	}
	return name;
}

/* \1 .. or \k<name>. False: no reference. r->at is behind the backslash. */
static bool
back_reference(struct reader *r)
{
	unsigned number = 0;
	size_t n = 0;

	if (peek(r, 0) == 'k' && r->named) {
		r->at++;
		if (!eat(r, "<"))
			fail(r, "Invalid named reference");
		struct str name = group_name(str_sub(r->s, r->at, r->s.n));
		if (name.n == 0)
			fail(r, "Invalid capture group name");
		else if ((number = group_named(r, name)) == 0)
			fail_late(r, "Invalid named capture referenced");
		r->at += name.n + 1;
		buf_printf(r->out, "\\g{%u}", number);
		return true;
	}
	while (is_digit(peek(r, n)) && number <= r->groups)
		number = number * 10 + (unsigned)(peek(r, n++) - '0');
	if (n == 0 || peek(r, 0) == '0' || number > r->groups)
		return false;
	r->at += n;
	/* Inside its own group, or before it, a reference matches nothing: PCRE2 agrees with the option for
	 * unset groups. */
	buf_printf(r->out, "\\g{%u}", number);
	return true;
}

/* r->at is behind the backslash. Returns whether the atom may be repeated. */
static bool
escape(struct reader *r)
{
	if (r->at == r->s.n) {
		fail(r, "\\ at end of pattern");
		return false;
	}
	if (peek(r, 0) == 'b' || peek(r, 0) == 'B') {
		buf_printf(r->out, "\\%c", r->s.p[r->at++]);
		return false;
	}
	if (!class_escape(r, false) && !back_reference(r))
		put_char(r, char_escape(r, false), false);
	return true;
}

enum group_kind { GROUP_PLAIN, GROUP_AHEAD, GROUP_BEHIND };

/* The beginning of a group; r->at is behind the parenthesis. */
static enum group_kind
group_begin(struct reader *r)
{
	static const struct {
		const char *text;
		enum group_kind kind;
	} forms[] = {{"?:", GROUP_PLAIN}, {"?=", GROUP_AHEAD}, {"?!", GROUP_AHEAD}, {"?<=", GROUP_BEHIND},
		{"?<!", GROUP_BEHIND}};

	for (size_t i = 0; i < ARRAY_LEN(forms); i++) {
		if (eat(r, forms[i].text)) {
			buf_printf(r->out, "(%s", forms[i].text);
			return forms[i].kind;
		}
	}
	if (eat(r, "?<")) {
		struct str name = group_name(str_sub(r->s, r->at, r->s.n));
		if (name.n == 0)
			fail(r, "Invalid capture group name");
		r->at += name.n + 1;
	} else if (peek(r, 0) == '?') {
		fail(r, "Invalid group");
	}
	r->opened++;
	buf_put_c(r->out, '(');
	return GROUP_PLAIN;
}

static enum group_kind
group(struct reader *r)
{
	enum group_kind kind = group_begin(r);

	if (++r->depth > NESTING_MAX)
		fail(r, "Regular expression too large");
	if (!r->wrong)
		alternatives(r);
	r->depth--;
	if (!eat(r, ")"))
		fail(r, "Unterminated group");
	buf_put_c(r->out, ')');
	return kind;
}

/* ---- quantifiers ---- */

static uint64_t
number(const struct reader *r, size_t *at)
{
	uint64_t v = 0;

	for (; is_digit(peek(r, *at)); (*at)++)
		v = v > REPEAT_MAX * 10ull ? v : v * 10 + (uint64_t)(peek(r, *at) - '0');
	return v;
}

/* {n} {n,} {n,m} at r->at: its length, or 0 when the brace is a character. */
static size_t
braces(const struct reader *r, uint64_t *low, uint64_t *high)
{
	size_t at = 1;

	if (peek(r, 0) != '{' || !is_digit(peek(r, 1)))
		return 0;
	*low = *high = number(r, &at);
	if (peek(r, at) == ',') {
		at++;
		*high = is_digit(peek(r, at)) ? number(r, &at) : UINT64_MAX;
	}
	return peek(r, at) == '}' ? at + 1 : 0;
}

static uint64_t
least(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

/* A quantifier at r->at, if there is one. */
static bool
quantifier(struct reader *r)
{
	uint64_t low = 0, high = 0;
	size_t n = braces(r, &low, &high);
	char c = peek(r, 0);

	if (n && low > high)
		fail(r, "numbers out of order in {} quantifier");
	if (n) {
		buf_printf(r->out, "{%llu,", (unsigned long long)least(low, REPEAT_MAX));
		if (high != UINT64_MAX)
			buf_put_u64(r->out, least(high, REPEAT_MAX));
		buf_put_c(r->out, '}');
		r->at += n;
	} else if (c == '*' || c == '+' || c == '?') {
		buf_put_c(r->out, c);
		r->at++;
	} else {
		return false;
	}
	if (eat(r, "?"))
		buf_put_c(r->out, '?');
	return true;
}

/* ---- terms ---- */

/* What may not stand where nothing can be repeated. */
static bool
repeats_nothing(const struct reader *r)
{
	uint64_t low, high;
	char c = peek(r, 0);

	return c == '*' || c == '+' || c == '?' || braces(r, &low, &high);
}

static void
term(struct reader *r)
{
	bool repeatable = true;
	enum group_kind kind = GROUP_PLAIN;

	if (repeats_nothing(r)) {
		fail(r, "Nothing to repeat");
		return;
	}
	if (eat(r, "^") || eat(r, "$")) {
		buf_put_c(r->out, r->s.p[r->at - 1]);
		repeatable = false;
	} else if (eat(r, "(")) {
		kind = group(r);
	} else if (eat(r, "[")) {
		class(r);
	} else if (eat(r, ".")) {
		buf_put_z(r->out, "[^\\x{a}\\x{d}\\x{2028}\\x{2029}]");
	} else if (eat(r, "\\")) {
		repeatable = escape(r);
	} else {
		put_char(r, take_char(r), false);
	}
	if (r->wrong || !repeatable)
		return;
	if (kind == GROUP_BEHIND && repeats_nothing(r)) {
		fail(r, "Invalid quantifier");
		return;
	}
	quantifier(r);
}

static void
alternatives(struct reader *r)
{
	while (more(r) && peek(r, 0) != ')') {
		if (eat(r, "|"))
			buf_put_c(r->out, '|');
		else
			term(r);
	}
}

/* ---- names and numbers, before anything else ---- */

/* Skips a class so that parentheses in it are not counted. */
static size_t
skip_class(struct str s, size_t at)
{
	for (; at < s.n && s.p[at] != ']'; at++)
		at += s.p[at] == '\\';
	return at;
}

static void
count_groups(struct reader *r)
{
	struct str s = r->s;

	for (size_t i = 0; i < s.n; i++) {
		if (s.p[i] == '\\') {
			i++;
		} else if (s.p[i] == '[') {
			i = skip_class(s, i + 1);
		} else if (s.p[i] == '(') {
			struct str rest = str_sub(s, i + 1, s.n), name = STR("");
			bool named = str_starts(rest, STR("?<")) && rest.n > 2 && rest.p[2] != '=' &&
				     rest.p[2] != '!';
			if (!named && str_starts(rest, STR("?")))
				continue;
			if (named)
				name = group_name(str_sub(rest, 2, rest.n));
			r->named = r->named || named;
			if (name.n && group_named(r, name))
				fail_late(r, "Duplicate capture group name");
			if (r->groups < NAMES_MAX)
				r->names[r->groups] = name;
			r->groups++;
		}
	}
}

const char *
regex_translate(struct str pattern, struct buf *out)
{
	struct reader r = {.s = pattern, .out = out};

	count_groups(&r);
	alternatives(&r);
	if (!r.wrong && r.at < pattern.n)
		fail(&r, "Unmatched ')'");
	if (!r.wrong)
		r.wrong = r.late;
	if (!r.wrong && out->fail)
		r.wrong = "Regular expression too large";
	return r.wrong;
}
