/* SPDX-License-Identifier: Apache-2.0 */
#include "unit.h"

static void
test_compare(void **state)
{
	(void)state;
	assert_true(str_eq(STR_NULL, STR("")));
	assert_false(str_eq(STR("a"), STR("b")));
	assert_true(str_eq_nocase(STR("Content-LENGTH"), STR("content-length")));
	assert_false(str_eq_nocase(STR("a"), STR("ab")));
	/* '[' and '{' differ by the case bit but are no letters. */
	assert_false(str_eq_nocase(STR("["), STR("{")));
	assert_true(str_cmp(STR("a"), STR("b")) < 0);
	assert_true(str_cmp(STR("a"), STR("aa")) < 0);
	assert_true(str_cmp(STR("\xff"), STR("a")) > 0);
	assert_int_equal(str_cmp(STR("x"), STR("x")), 0);
	assert_int_equal(str_cmp(STR_NULL, STR("")), 0);
	assert_true(str_cmp(STR("x"), STR_NULL) > 0);
}

static void
test_find(void **state)
{
	(void)state;
	assert_true(str_starts(STR("abc"), STR("ab")));
	assert_true(str_starts(STR_NULL, STR("")));
	assert_false(str_starts(STR("a"), STR("ab")));
	assert_true(str_ends(STR("abc"), STR("bc")));
	assert_true(str_ends(STR_NULL, STR_NULL));
	assert_false(str_ends(STR("c"), STR("bc")));
	assert_int_equal(str_find(STR("a:b"), ':'), 1);
	assert_int_equal(str_find(STR("ab"), ':'), 2);
	assert_int_equal(str_find(STR_NULL, ':'), 0);
	assert_int_equal(str_find_str(STR("xxabab"), STR("ab")), 2);
	assert_int_equal(str_find_str(STR("xx"), STR("abc")), 2);
	assert_int_equal(str_find_str(STR("xx"), STR("")), 0);
}

static void
test_cut(void **state)
{
	struct str s = STR("a,,b");

	(void)state;
	assert_str(str_sub(STR("hello"), 1, 3), "ell");
	assert_str(str_sub(STR("hello"), 9, 3), "");
	assert_str(str_sub(STR("hello"), 3, SIZE_MAX), "lo");
	assert_null(str_sub(STR_NULL, 1, 1).p);
	assert_str(str_trim(STR(" \t a b \t")), "a b");
	assert_str(str_trim(STR(" \t ")), "");
	assert_str(str_next(&s, ','), "a");
	assert_str(str_next(&s, ','), "");
	assert_non_null(s.p);
	assert_str(str_next(&s, ','), "b");
	assert_null(s.p);
	/* A separator at the end: one more, empty part. */
	s = STR("a,");
	str_next(&s, ',');
	assert_non_null(s.p);
	assert_str(str_next(&s, ','), "");
	assert_null(s.p);
}

static void
test_u64(void **state)
{
	uint64_t v = 5;

	(void)state;
	assert_true(str_to_u64(STR("18446744073709551615"), &v));
	assert_true(v == UINT64_MAX);
	assert_true(str_to_u64(STR("007"), &v));
	assert_int_equal(v, 7);
	static const char *const bad[] = {"", "18446744073709551616", "99999999999999999999", "-1", "+1",
		" 1", "1 ", "0x1", "1.0", "\xb2"};
	for (size_t i = 0; i < ARRAY_LEN(bad); i++)
		assert_false(str_to_u64(str_z(bad[i]), &v));
	assert_false(str_to_u64(str_n("1\0", 2), &v));
	assert_int_equal(v, 7);
}

static void
test_i64(void **state)
{
	int64_t v = 5;

	(void)state;
	assert_true(str_to_i64(STR("-9223372036854775808"), &v));
	assert_true(v == INT64_MIN);
	assert_true(str_to_i64(STR("9223372036854775807"), &v));
	assert_true(v == INT64_MAX);
	assert_true(str_to_i64(STR("-0"), &v));
	assert_int_equal(v, 0);
	static const char *const bad[] = {
		"", "-", "--1", "9223372036854775808", "-9223372036854775809", "-18446744073709551615"};
	for (size_t i = 0; i < ARRAY_LEN(bad); i++)
		assert_false(str_to_i64(str_z(bad[i]), &v));
	assert_int_equal(v, 0);
}

static void
test_hex(void **state)
{
	uint64_t v = 5;

	(void)state;
	assert_true(str_to_hex64(STR("fFfFfFfFfFfFfFfF"), &v));
	assert_true(v == UINT64_MAX);
	assert_true(str_to_hex64(STR("0a"), &v));
	assert_int_equal(v, 10);
	assert_false(str_to_hex64(STR(""), &v));
	assert_false(str_to_hex64(STR("00000000000000000"), &v));
	assert_false(str_to_hex64(STR("0x1"), &v));
	assert_false(str_to_hex64(STR("g"), &v));
}

/* Encodes any number as UTF-8 would, valid or not. */
static size_t
encode(uint32_t cp, char *p)
{
	if (cp < 0x80) {
		p[0] = (char)cp;
		return 1;
	}
	if (cp < 0x800) {
		p[0] = (char)(0xc0 | cp >> 6);
		p[1] = (char)(0x80 | (cp & 0x3f));
		return 2;
	}
	if (cp < 0x10000) {
		p[0] = (char)(0xe0 | cp >> 12);
		p[1] = (char)(0x80 | (cp >> 6 & 0x3f));
		p[2] = (char)(0x80 | (cp & 0x3f));
		return 3;
	}
	p[0] = (char)(0xf0 | cp >> 18);
	p[1] = (char)(0x80 | (cp >> 12 & 0x3f));
	p[2] = (char)(0x80 | (cp >> 6 & 0x3f));
	p[3] = (char)(0x80 | (cp & 0x3f));
	return 4;
}

/* Every code point, the surrogates and those beyond the last; and every one with its last byte missing. */
static void
test_utf8_all_code_points(void **state)
{
	(void)state;
	for (uint32_t cp = 0; cp < 0x120000; cp++) {
		char p[4];
		size_t n = encode(cp, p);
		bool valid = cp < 0xd800 || (cp > 0xdfff && cp <= 0x10ffff);
		if (str_is_utf8(str_n(p, n)) != valid || str_utf8_seq(str_n(p, n)) != (valid ? n : 0))
			fail_msg("U+%X judged wrongly", cp);
		if (n > 1 && str_is_utf8(str_n(p, n - 1)))
			fail_msg("cut U+%X accepted", cp);
	}
}

static void
test_utf8_texts(void **state)
{
	static const char *const bad[] = {"\x80", "a\xbf", "\xc0\x80", "\xc1\xbf", "\xe0\x80\x80",
		"\xe0\x9f\xbf", "\xf0\x80\x80\x80", "\xf0\x8f\xbf\xbf", "\xf5\x80\x80\x80", "\xff", "\xfe",
		"12345678\xc3", "1234567\xc3", "\xc3\xc3", "\xe2\x82"};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(bad); i++)
		assert_false(str_is_utf8(str_z(bad[i])));
	assert_true(str_is_utf8(STR_NULL));
	assert_true(str_is_utf8(
		STR("plain ascii over eight bytes, gr\xc3\xbc\xc3\x9f\x65, \xe2\x82\xac \xf0\x9f\x8e\x89")));
	assert_int_equal(str_utf8_len(STR("gr\xc3\xbc\xc3\x9f\x65 \xe2\x82\xac \xf0\x9f\x8e\x89")), 9);
	assert_int_equal(str_utf8_len(STR_NULL), 0);
	assert_int_equal(str_utf8_seq(STR_NULL), 0);
}

static void
test_copy_z(void **state)
{
	char dst[4] = "zzz";

	(void)state;
	assert_true(str_copy_z(STR("abc"), dst, sizeof(dst)));
	assert_string_equal(dst, "abc");
	assert_false(str_copy_z(STR("abcd"), dst, sizeof(dst)));
	assert_string_equal(dst, "");
	assert_false(str_copy_z(str_n("a\0b", 3), dst, sizeof(dst)));
	assert_true(str_copy_z(STR_NULL, dst, 1));
	assert_false(str_copy_z(STR("a"), dst, 0));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_compare),
		cmocka_unit_test(test_find),
		cmocka_unit_test(test_cut),
		cmocka_unit_test(test_u64),
		cmocka_unit_test(test_i64),
		cmocka_unit_test(test_hex),
		cmocka_unit_test(test_utf8_all_code_points),
		cmocka_unit_test(test_utf8_texts),
		cmocka_unit_test(test_copy_z),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
