/* SPDX-License-Identifier: Apache-2.0 */
#include "unit.h"

#include "alloc_fail.h"
#include "base/json.h"
#include "base/limits.h"

/* Parses what must parse. */
static struct json_t *
parse(const char *text)
{
	struct err e = {0};
	struct json_t *v = NULL;

	if (json_parse(str_z(text), &v, &e) < 0)
		fail_msg("%s: %s", text, e.msg);
	return v;
}

static void
test_kinds_and_values(void **state)
{
	AUTO(json)
	struct json_t *v = parse("{\"s\":\"a\\u00fc\",\"i\":-9223372036854775808,\"r\":1.5,\"t\":true,\"n\":"
				 "null,\"a\":[1,2,3],\"o\":{}}");

	(void)state;
	assert_int_equal(json_kind(v), JSON_OBJ);
	assert_int_equal(json_len(v), 7);
	assert_str(json_get_str(v, "s"), "a\xc3\xbc");
	assert_true(json_get_int(v, "i", 0) == INT64_MIN);
	assert_true(json_real(json_get(v, "r"), 0) == 1.5);
	assert_true(json_bool(json_get(v, "t"), false));
	assert_int_equal(json_kind(json_get(v, "n")), JSON_NULL);
	assert_non_null(json_get(v, "n"));
	assert_int_equal(json_kind(json_get(v, "a")), JSON_ARR);
	assert_int_equal(json_len(json_get(v, "a")), 3);
	assert_int_equal(json_int(json_at(json_get(v, "a"), 2), 0), 3);
	assert_null(json_at(json_get(v, "a"), 3));
	assert_int_equal(json_len(json_get(v, "o")), 0);
	assert_int_equal(json_kind(json_nothing()), JSON_NULL);
}

/* Every accessor bears every kind, and NULL. */
static void
test_defaults(void **state)
{
	AUTO(json) struct json_t *v = parse("[null,true,1,1.5,\"s\",[],{}]");

	(void)state;
	for (size_t i = 0; i < 8; i++) {
		const struct json_t *x = json_at(v, i);
		assert_null(json_get(x, "k"));
		assert_null(json_at(x, 0));
		assert_null(json_iter(x));
		assert_int_equal(json_len(x), 0);
		assert_str(json_str(x, STR("d")), i == 4 ? "s" : "d");
		assert_int_equal(json_int(x, 9), i == 2 ? 1 : 9);
		assert_true(json_real(x, 9) == (i == 2 ? 1 : i == 3 ? 1.5 : 9));
		assert_int_equal(json_bool(x, false), i == 1);
	}
	assert_null(json_get_str(v, "k").p);
	assert_int_equal(json_get_int(NULL, "k", 4), 4);
	json_free(NULL);
}

static void
test_order_is_kept(void **state)
{
	AUTO(json) struct json_t *v = parse("{\"z\":1,\"a\":2,\"m\":3,\"\":4}");
	static const char *const want[] = {"z", "a", "m", ""};
	size_t i = 0;

	(void)state;
	for (void *it = json_iter(v); it; it = json_next(v, it), i++) {
		assert_str(json_iter_key(it), want[i]);
		assert_int_equal(json_int(json_iter_value(it), 0), i + 1);
	}
	assert_int_equal(i, 4);
}

static void
test_scalars_at_the_top(void **state)
{
	static const char *const good[] = {"null", "true", " 1 ", "\"x\"", "-0.0", "1e3", "\t[]\n"};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(good); i++)
		json_free(parse(good[i]));
}

static void
test_refuses(void **state)
{
	static const char *const bad[] = {"", " ", "{", "[1,]", "{\"a\":1,}", "{a:1}", "'a'", "1 2", "{} x",
		"01", "+1", ".5", "1.", "NaN", "Infinity", "nul", "\"\x01\"", "\"\\x\"", "\"\\ud800\"",
		"\"\\udc00\\ud800\"", "\"\\u0000\"", "{\"a\\u0000b\":1}", "\"\xff\"", "\"\xc0\x80\"",
		"\"\xed\xa0\x80\"", "\"\xf4\x90\x80\x80\"", "9223372036854775808", "-9223372036854775809",
		"1e999", "{\"a\":1,\"a\":2}", "{\"a\":{\"b\":1,\"b\":1}}", "\"abc", "/* c */1",
		"\xef\xbb\xbf{}", "[1}", "{\"a\"}", "\"\t\""};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		struct err e = {0};
		struct json_t *v = (struct json_t *)&e;
		if (json_parse(str_z(bad[i]), &v, &e) != -ERR_INVALID || v != (struct json_t *)&e)
			fail_msg("accepted: %s", bad[i]);
		assert_non_null(strstr(e.msg, "line "));
	}
	assert_int_equal(json_parse(STR_NULL, NULL, NULL), -ERR_INVALID);
	/* jansson itself takes these. */
	assert_int_equal(json_parse(str_n("1\0", 2), NULL, NULL), -ERR_INVALID);
	assert_int_equal(json_parse(str_n("[1\0]", 4), NULL, NULL), -ERR_INVALID);
}

static void
test_error_names_the_place(void **state)
{
	struct json_t *v = NULL;
	struct err e = {0};

	(void)state;
	assert_err(json_parse(STR("{\n  \"a\": x\n}"), &v, &e), e, ERR_INVALID);
	assert_non_null(strstr(e.msg, "line 2"));
}

/* `n` levels of arrays or objects around a value. */
static struct str
nested(char *text, const char *open, char close, size_t n)
{
	size_t step = strlen(open);

	for (size_t i = 0; i < n; i++)
		memcpy(text + i * step, open, step);
	text[n * step] = '1';
	memset(text + n * step + 1, close, n);
	return str_n(text, n * step + 1 + n);
}

static void
test_depth(void **state)
{
	static char text[1 << 16];
	struct err e = {0};
	struct json_t *v = NULL;

	(void)state;
	assert_int_equal(json_parse(nested(text, "[", ']', LIM_JSON_DEPTH), &v, &e), 0);
	json_free(v);
	assert_int_equal(json_parse(nested(text, "{\"a\":", '}', LIM_JSON_DEPTH), &v, &e), 0);
	json_free(v);
	assert_err(json_parse(nested(text, "[", ']', LIM_JSON_DEPTH + 1), &v, &e), e, ERR_INVALID);
	assert_string_equal(e.msg, "invalid JSON at line 1 column 65: more than 64 levels");
	assert_err(json_parse(nested(text, "{\"a\":", '}', LIM_JSON_DEPTH + 1), &v, &e), e, ERR_INVALID);
	assert_err(json_parse(nested(text, "[", ']', 30000), &v, &e), e, ERR_INVALID);
	/* Brackets in strings and closed ones do not count. */
	AUTO(json)
	struct json_t *w =
		parse("[\"[[[[\\\"[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[\"]");
	assert_non_null(w);
}

static void
test_breadth_does_not_count_as_depth(void **state)
{
	char text[1000] = "[";

	(void)state;
	for (size_t i = 0; i < 200; i++)
		memcpy(text + 1 + i * 3, "[],", 3);
	memcpy(text + 600, "]", 2);
	AUTO(json) struct json_t *v = parse(text);
	assert_int_equal(json_len(v), 200);
}

/* A short text may not cost a lot of memory. */
static void
test_number_of_values(void **state)
{
	AUTO(buf) struct buf b;
	struct json_t *v = NULL;
	struct err e = {0};

	(void)state;
	buf_init(&b, 4 * LIM_JSON_VALUES);
	buf_put_c(&b, '[');
	for (size_t i = 2; i < LIM_JSON_VALUES - 1; i++)
		buf_put_z(&b, "1,");
	buf_put_z(&b, "\",,,[[{{\"]");
	assert_int_equal(json_parse(buf_str(&b), &v, &e), 0);
	assert_int_equal(json_len(v), LIM_JSON_VALUES - 2);
	json_free(v);
	b.n--;
	buf_put_z(&b, ",2]");
	assert_int_equal(json_parse(buf_str(&b), &v, &e), 0);
	json_free(v);
	b.n--;
	buf_put_z(&b, ",3]");
	assert_err(json_parse(buf_str(&b), &v, &e), e, ERR_INVALID);
	assert_true(str_ends(str_z(e.msg), STR("more than 500000 values")));
}

/* Foreign documents keep their distance from what can be read back. */
static void
test_foreign_limits(void **state)
{
	static char text[1 << 16];
	AUTO(buf) struct buf b;
	struct err e = {0};
	struct json_t *v = NULL;

	(void)state;
	assert_int_equal(json_parse_foreign(nested(text, "[", ']', LIM_JSON_FOREIGN_DEPTH), &v, &e), 0);
	json_free(v);
	assert_err(json_parse_foreign(nested(text, "[", ']', LIM_JSON_FOREIGN_DEPTH + 1), &v, &e), e,
		ERR_INVALID);
	assert_string_equal(e.msg, "invalid JSON at line 1 column 49: more than 48 levels");
	buf_init(&b, 4 * LIM_JSON_VALUES);
	buf_put_c(&b, '[');
	for (size_t i = 0; i < LIM_JSON_FOREIGN_VALUES; i++)
		buf_put_z(&b, "1,");
	buf_put_z(&b, "1]");
	assert_err(json_parse_foreign(buf_str(&b), &v, &e), e, ERR_INVALID);
	assert_true(str_ends(str_z(e.msg), STR("more than 400000 values")));
	assert_int_equal(json_parse(buf_str(&b), &v, &e), 0);
	json_free(v);
}

static void
test_equal(void **state)
{
	static const char *const all[] = {"null", "true", "false", "0", "1", "0.0", "\"\"", "\"a\"", "[]",
		"[1]", "[1,2]", "[2,1]", "{}", "{\"a\":1}", "{\"a\":2}", "{\"b\":1}", "{\"a\":1,\"b\":[{}]}"};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(all) * ARRAY_LEN(all); i++) {
		AUTO(json) struct json_t *a = parse(all[i / ARRAY_LEN(all)]);
		AUTO(json) struct json_t *b = parse(all[i % ARRAY_LEN(all)]);
		assert_int_equal(json_equal(a, b), i / ARRAY_LEN(all) == i % ARRAY_LEN(all));
	}
	AUTO(json) struct json_t *a = parse("{\"x\":1,\"y\":{\"p\":[],\"q\":null}}");
	AUTO(json) struct json_t *b = parse("{\"y\":{\"q\":null,\"p\":[]},\"x\":1}");
	assert_true(json_equal(a, b));
	assert_true(json_equal(NULL, json_nothing()));
}

/* Each allocation of a parse fails once: the outcome is ERR_NO_MEMORY, never a wrong value, never a leak. */
static void
test_no_memory(void **state)
{
	struct str text = STR(
		"{\"a long member name, over any small buffer of the parser\":[1,2.5,\"a long string, over "
		"any small buffer, too\",{\"k\":null,\"l\":123456789012345678,\"m\":\"\\u00fc\"}],"
		"\"b\":1,\"c\":2,\"d\":3,\"e\":4,\"f\":5,\"g\":6,\"h\":7,\"i\":8,\"j\":9}");
	unsigned n;

	(void)state;
	for (n = 1; n < 1000; n++) {
		struct err e = {0};
		struct json_t *v = NULL;
		alloc_fail_at(n);
		int r = json_parse(text, &v, &e);
		if (!alloc_fail_stop()) {
			assert_int_equal(r, 0);
			json_free(v);
			break;
		}
		assert_int_equal(r, -ERR_NO_MEMORY);
		assert_int_equal(e.kind, ERR_NO_MEMORY);
		assert_null(v);
	}
	assert_in_range(n, 20, 999);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_kinds_and_values),
		cmocka_unit_test(test_defaults),
		cmocka_unit_test(test_order_is_kept),
		cmocka_unit_test(test_scalars_at_the_top),
		cmocka_unit_test(test_refuses),
		cmocka_unit_test(test_error_names_the_place),
		cmocka_unit_test(test_depth),
		cmocka_unit_test(test_breadth_does_not_count_as_depth),
		cmocka_unit_test(test_number_of_values),
		cmocka_unit_test(test_foreign_limits),
		cmocka_unit_test(test_equal),
		cmocka_unit_test(test_no_memory),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
