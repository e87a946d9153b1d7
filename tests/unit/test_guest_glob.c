/* SPDX-License-Identifier: Apache-2.0 */
#include "unit.h"

#include "base/buf.h"
#include "guest/glob.h"
#include "guest/regex.h"

static void
check_braces(const char *pattern, const char *want)
{
	AUTO(arena) struct arena *a = arena_new(1 << 24);
	AUTO(buf) struct buf b;
	size_t n = 0;

	buf_init(&b, 10000);
	struct str *v = glob_braces(str_z(pattern), a, &n);
	for (size_t i = 0; i < n; i++) {
		buf_put_z(&b, i ? "|" : "");
		buf_put_str(&b, v[i]);
	}
	assert_str(buf_str(&b), want);
}

static void
test_braces(void **state)
{
	(void)state;
	check_braces("a", "a");
	check_braces("{a,b}c", "ac|bc");
	check_braces("x{a,{b,c}}y", "xay|xby|xcy");
	check_braces("{1..3}", "1|2|3");
	check_braces("{3..1}", "3|2|1");
	check_braces("{01..10..4}", "01|05|09");
	check_braces("{-1..1}", "-1|0|1");
	check_braces("{a..e..2}", "a|c|e");
	check_braces("{a}", "{a}");
	check_braces("{a", "{a");
	check_braces("a}", "a}");
	check_braces("{a}/{b,c}", "{a}/b|{a}/c");
	check_braces("{{a,b}}", "{a}|{b}");
	check_braces("${a,b}", "${a,b}");
	check_braces("{,a}b", "b|ab");
	check_braces("{a,b}{c,d}", "ac|ad|bc|bd");
	check_braces("{0..1..0}", "0|1");
}

/* What multiplies is cut at a ceiling, soon. */
static void
test_brace_ceiling(void **state)
{
	AUTO(arena) struct arena *a = arena_new(1 << 26);
	size_t n = 0;

	(void)state;
	(void)glob_braces(
		STR("{a,b}{a,b}{a,b}{a,b}{a,b}{a,b}{a,b}{a,b}{a,b}{a,b}{a,b}{a,b}{a,b}{a,b}{a,b}{a,b}"), a,
		&n);
	assert_int_equal(n, GLOB_SETS_MAX);
	(void)glob_braces(STR("{1..999999999999999}"), a, &n);
	assert_int_equal(n, GLOB_SETS_MAX);
}

static bool
part_matches(const char *part, const char *name)
{
	AUTO(glob) struct glob *g = NULL;

	assert_int_equal(glob_new(str_z(part), &g, NULL), 0);
	return g->n && g->sets[0].n == 1 && glob_part_test(&g->sets[0].parts[0], str_z(name));
}

static void
test_parts(void **state)
{
	static const struct {
		const char *part, *yes[4], *no[4];
	} rows[] = {
		{"*", {"a", "a.b", "\xc3\xa9"}, {".a", ""}},
		{"*.c", {"a.c", "b.x.c"}, {".c", "a.cc", "a"}},
		{"?", {"a", "\xc3\xa9"}, {"ab", ".", ""}},
		{".*", {".a", ".ab"}, {"a"}},
		{"[abc]x", {"ax", "cx"}, {"dx", "x"}},
		{"[!a]", {"b"}, {"a", "."}},
		{"[a-c]", {"b"}, {"d", "-"}},
		{"[]a]", {"]", "a"}, {"b"}},
		{"[a-]", {"a", "-"}, {"b"}},
		{"[[:digit:]]", {"5"}, {"a", ":"}},
		{"[", {"["}, {"a"}},
		{"a+b", {"a+b"}, {"aab"}},
		{"@(a|b)", {"a", "b"}, {"ab", ""}},
		{"?(a)b", {"b", "ab"}, {"aab"}},
		{"+(a|b)", {"a", "abab"}, {"", "c"}},
		{"*(a)b", {"b", "aab"}, {"a"}},
		{"!(a)", {"b", "aa"}, {"a", ".x"}},
		{"!(a).c", {"b.c", "aa.c"}, {"a.c"}},
		{"!(a|b)*", {"c", "cb", "a"}, {".c", "ab"}},
		{"@(.x|y)", {".x", "y"}, {"x"}},
		{"a(b", {"a(b"}, {"ab"}},
		{"+(a", {"+(a"}, {"a"}},
		{"[z-a]", {NULL}, {"z", "a", "-"}},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		for (size_t k = 0; k < 4 && rows[i].yes[k]; k++)
			if (!part_matches(rows[i].part, rows[i].yes[k]))
				fail_msg("%s does not match %s", rows[i].part, rows[i].yes[k]);
		for (size_t k = 0; k < 4 && rows[i].no[k]; k++)
			if (part_matches(rows[i].part, rows[i].no[k]))
				fail_msg("%s matches %s", rows[i].part, rows[i].no[k]);
	}
}

static void
test_limits(void **state)
{
	static char pattern[GLOB_PATTERN_MAX + 2];
	struct glob *g = NULL;
	struct err e = {0};

	(void)state;
	memset(pattern, 'a', sizeof(pattern) - 1);
	assert_err(glob_new(str_z(pattern), &g, &e), e, ERR_TOO_LARGE);
	for (size_t i = 0; i < 140; i++)
		pattern[i] = i % 2 ? '/' : 'a';
	pattern[140] = 0;
	assert_err(glob_new(str_z(pattern), &g, &e), e, ERR_TOO_LARGE);
}

/* ---- regular expressions ---- */

static void
test_regex(void **state)
{
	static const struct {
		const char *pattern, *yes[3], *no[3];
	} rows[] = {
		{"a.c", {"abc", "xa c"}, {"ac"}},
		{"^$", {""}, {"a"}},
		{"[^]", {"a"}, {""}},
		{"[]", {NULL}, {"a", ""}},
		{"[[:alpha:]]", {":]", "a]"}, {"a"}},
		{"\\Qa\\E", {"QaE"}, {"a"}},
		{"(a)|b\\1", {"b", "a"}, {"c"}},
		{"\\2(a)(b)", {"ab", "2ab"}, {"a"}},
		{"\\8", {"8"}, {"7"}},
		{"\\101", {"A"}, {"1"}},
		{"(?<x>a)\\k<x>", {"aa"}, {"a"}},
		{"\\k<x>", {"k<x>"}, {"x"}},
		{"\\s", {"\xe2\x80\xa8", "\xef\xbb\xbf", " "}, {"a"}},
		{"[\\S]", {"a"}, {" ", "\xc2\xa0"}},
		{"\\w", {"a", "_"}, {"\xc3\xa9", "-"}},
		{"a{2}", {"aa"}, {"a"}},
		{"a{,2}", {"a{,2}"}, {"aa"}},
		{"\\ud83d\\ude00", {"\xf0\x9f\x98\x80"}, {"a"}},
		{"(?!b)\\w", {"a"}, {"b"}},
		{"a b", {"a b"}, {"ab"}},
		{"a#b", {"a#b"}, {"a"}},
		{"\\cJ|x", {"x"}, {"J"}},
	};
	const char *why;

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		AUTO(regex) struct regex *r = regex_new(str_z(rows[i].pattern), &why);
		if (!r)
			fail_msg("%s: %s", rows[i].pattern, why);
		for (size_t k = 0; k < 3 && rows[i].yes[k]; k++)
			if (!regex_test(r, str_z(rows[i].yes[k])))
				fail_msg("%s does not match %s", rows[i].pattern, rows[i].yes[k]);
		for (size_t k = 0; k < 3 && rows[i].no[k]; k++)
			if (regex_test(r, str_z(rows[i].no[k])))
				fail_msg("%s matches %s", rows[i].pattern, rows[i].no[k]);
	}
}

static void
test_regex_errors(void **state)
{
	static const struct {
		const char *pattern, *why;
	} rows[] = {
		{"(", "Unterminated group"},
		{")", "Unmatched ')'"},
		{"[a", "Unterminated character class"},
		{"a**", "Nothing to repeat"},
		{"a++", "Nothing to repeat"},
		{"{1}", "Nothing to repeat"},
		{"\\", "\\ at end of pattern"},
		{"[b-a]", "Range out of order in character class"},
		{"a{2,1}", "numbers out of order in {} quantifier"},
		{"(?i)a", "Invalid group"},
		{"(?<1>a)", "Invalid capture group name"},
		{"(?<a>x)(?<a>y)", "Duplicate capture group name"},
		{"(?<a>x)\\k<b>", "Invalid named capture referenced"},
	};
	const char *why;

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		assert_null(regex_new(str_z(rows[i].pattern), &why));
		assert_string_equal(why, rows[i].why);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_braces),
		cmocka_unit_test(test_brace_ceiling),
		cmocka_unit_test(test_parts),
		cmocka_unit_test(test_limits),
		cmocka_unit_test(test_regex),
		cmocka_unit_test(test_regex_errors),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
