/* SPDX-License-Identifier: Apache-2.0 */
#include "unit.h"

#include <stdio.h>

#include "base/json.h"

static struct json_t *
parse(const char *text)
{
	struct json_t *v = NULL;

	assert_int_equal(json_parse(str_z(text), &v, NULL), 0);
	return v;
}

static void
test_paths(void **state)
{
	AUTO(json) struct json_t *v = parse("{\"tools\":[{\"configs\":[{},{\"name\":3}]}]}");
	struct json_at root = json_root(v);
	struct json_at tools = json_member(&root, "tools"), first = json_element(&tools, 0);
	struct json_at configs = json_member(&first, "configs"), second = json_element(&configs, 1);
	struct json_at name = json_member(&second, "name"), gone = json_element(&configs, 7);
	struct err e = {0};
	struct str s = STR("kept");

	(void)state;
	assert_err(json_want_str(&name, 0, 9, &s, &e), e, ERR_INVALID);
	assert_string_equal(e.msg, "tools.0.configs.1.name: Input should be a valid string");
	assert_str(s, "kept");
	assert_false(gone.present);
	assert_non_null(gone.v);
	assert_err(json_want_obj(&gone, &e), e, ERR_INVALID);
	assert_string_equal(e.msg, "tools.0.configs.7: Field required");
	assert_err(json_fail(&root, &e, "no %d", 1), e, ERR_INVALID);
	assert_string_equal(e.msg, "no 1");
	assert_err(json_fail_code(&tools, &e, "too_odd", "odd"), e, ERR_INVALID);
	assert_string_equal(e.msg, "tools: odd");
	assert_string_equal(e.code, "too_odd");
}

/* Members of things that are not objects, and positions below absent ones, are absent. */
static void
test_absent(void **state)
{
	AUTO(json) struct json_t *v = parse("{\"a\":1,\"n\":null}");
	struct json_at root = json_root(v), a = json_member(&root, "a"), n = json_member(&root, "n");
	struct json_at b = json_member(&a, "b"), c = json_element(&b, 0), nothing = json_root(NULL);

	(void)state;
	assert_true(json_set(&a));
	assert_true(n.present);
	assert_false(json_set(&n));
	assert_false(json_set(&b));
	assert_false(json_set(&c));
	assert_false(nothing.present);
}

static void
test_closed(void **state)
{
	AUTO(json) struct json_t *v = parse("{\"a\":1,\"b\":2,\"l\":[{\"zz\":1}]}");
	static const char *const all[] = {"b", "a", "l", NULL}, *const some[] = {"a", "l", NULL};
	struct json_at root = json_root(v), list = json_member(&root, "l"), first = json_element(&list, 0);
	struct err e = {0};

	(void)state;
	assert_int_equal(json_closed(&root, all, &e), 0);
	assert_err(json_closed(&root, some, &e), e, ERR_INVALID);
	assert_string_equal(e.msg, "b: Extra inputs are not permitted");
	assert_err(json_closed(&first, all, &e), e, ERR_INVALID);
	assert_string_equal(e.msg, "l.0.zz: Extra inputs are not permitted");
	assert_err(json_closed(&list, all, &e), e, ERR_INVALID);
	assert_string_equal(e.msg, "l: Input should be a valid object");
}

static void
test_str_bounds(void **state)
{
	/* 5 code points in 12 bytes */
	AUTO(json)
	struct json_t *v = parse("{\"s\":\"a\xc3\xbc\xe2\x82\xac\xf0\x9f\x8e\x89\xc3\x9f\",\"e\":\"\"}");
	struct json_at root = json_root(v), s = json_member(&root, "s"), empty = json_member(&root, "e");
	struct str out;
	struct err e = {0};

	(void)state;
	assert_int_equal(json_want_str(&s, 5, 5, &out, &e), 0);
	assert_int_equal(out.n, 12);
	assert_err(json_want_str(&s, 0, 4, &out, &e), e, ERR_INVALID);
	assert_string_equal(e.msg, "s: String should have at most 4 characters");
	assert_err(json_want_str(&s, 0, 1, &out, &e), e, ERR_INVALID);
	assert_string_equal(e.msg, "s: String should have at most 1 character");
	assert_err(json_want_str(&s, 6, 9, &out, &e), e, ERR_INVALID);
	assert_string_equal(e.msg, "s: String should have at least 6 characters");
	assert_err(json_want_str(&empty, 1, 9, &out, &e), e, ERR_INVALID);
	assert_string_equal(e.msg, "e: String should have at least 1 character");
	assert_int_equal(json_want_str(&empty, 0, 0, &out, &e), 0);
}

static void
test_numbers_and_bools(void **state)
{
	AUTO(json) struct json_t *v = parse("{\"i\":5,\"r\":5.0,\"b\":true}");
	struct json_at root = json_root(v), i = json_member(&root, "i"), r = json_member(&root, "r");
	struct json_at b = json_member(&root, "b"), x = json_member(&root, "x");
	int64_t n = -1;
	bool flag = false;
	struct err e = {0};

	(void)state;
	assert_int_equal(json_want_int(&i, 5, 5, &n, &e), 0);
	assert_int_equal(n, 5);
	assert_err(json_want_int(&i, 6, 9, &n, &e), e, ERR_INVALID);
	assert_string_equal(e.msg, "i: Input should be greater than or equal to 6");
	assert_err(json_want_int(&i, -9, 4, &n, &e), e, ERR_INVALID);
	assert_string_equal(e.msg, "i: Input should be less than or equal to 4");
	assert_err(json_want_int(&r, 0, 9, &n, &e), e, ERR_INVALID);
	assert_string_equal(e.msg, "r: Input should be a valid integer");
	assert_err(json_want_int(&b, 0, 9, &n, &e), e, ERR_INVALID);
	assert_int_equal(json_want_bool(&b, &flag, &e), 0);
	assert_true(flag);
	assert_err(json_want_bool(&i, &flag, &e), e, ERR_INVALID);
	assert_string_equal(e.msg, "i: Input should be a valid boolean");
	assert_err(json_want_bool(&x, &flag, &e), e, ERR_INVALID);
	assert_string_equal(e.msg, "x: Field required");
}

static void
test_arrays(void **state)
{
	AUTO(json) struct json_t *v = parse("{\"a\":[1,2],\"o\":{}}");
	struct json_at root = json_root(v), a = json_member(&root, "a"), o = json_member(&root, "o");
	size_t n = 9;
	struct err e = {0};

	(void)state;
	assert_int_equal(json_want_arr(&a, 2, &n, &e), 0);
	assert_int_equal(n, 2);
	assert_err(json_want_arr(&a, 1, &n, &e), e, ERR_INVALID);
	assert_string_equal(e.msg, "a: List should have at most 1 item");
	assert_err(json_want_arr(&o, 1, &n, &e), e, ERR_INVALID);
	assert_string_equal(e.msg, "o: Input should be a valid array");
	assert_int_equal(json_want_obj(&o, &e), 0);
}

static void
test_enum(void **state)
{
	AUTO(json) struct json_t *v = parse("{\"t\":\"b\",\"u\":\"z\",\"i\":1}");
	static const char *const names[] = {"a", "b", "c", NULL}, *const two[] = {"a", "b", NULL},
				 *const one[] = {"a", NULL};
	struct json_at root = json_root(v), t = json_member(&root, "t"), u = json_member(&root, "u");
	struct json_at i = json_member(&root, "i"), x = json_member(&root, "x");
	int out = -1;
	struct err e = {0};

	(void)state;
	assert_int_equal(json_want_enum(&t, names, &out, &e), 0);
	assert_int_equal(out, 1);
	assert_err(json_want_enum(&u, names, &out, &e), e, ERR_INVALID);
	assert_string_equal(e.msg, "u: Input should be 'a', 'b' or 'c'");
	assert_err(json_want_enum(&u, two, &out, &e), e, ERR_INVALID);
	assert_string_equal(e.msg, "u: Input should be 'a' or 'b'");
	assert_err(json_want_enum(&i, one, &out, &e), e, ERR_INVALID);
	assert_string_equal(e.msg, "i: Input should be 'a'");
	assert_err(json_want_enum(&x, one, &out, &e), e, ERR_INVALID);
	assert_string_equal(e.msg, "x: Field required");
}

/* More names than a message holds. */
static void
test_long_enum(void **state)
{
	static const char name[] = "a_rather_long_name_of_a_choice";
	const char *names[41];
	struct json_at root = json_root(json_nothing());
	int out;
	struct err e = {0};

	(void)state;
	for (size_t i = 0; i < 40; i++)
		names[i] = name;
	names[40] = NULL;
	assert_err(json_want_enum(&root, names, &out, &e), e, ERR_INVALID);
	assert_int_equal(strlen(e.msg), ERR_MSG_MAX - 1);
}

/* Member names are the caller's: long, deep and not ASCII, the message stays whole and names the end of the
 * path. */
static void
test_long_paths(void **state)
{
	char key[400];
	struct json_at at[60];
	struct err e = {0};

	(void)state;
	for (size_t pad = 0; pad < 4; pad++) {
		memset(key, 'k', sizeof(key));
		for (size_t i = pad; i + 4 < sizeof(key); i += 4)
			memcpy(key + i, "\xf0\x9f\x8e\x89", 4);
		key[sizeof(key) - 1] = '\0';
		at[0] = json_root(json_nothing());
		for (size_t i = 1; i < ARRAY_LEN(at); i++)
			at[i] = i % 3 ? json_element(&at[i - 1], i) : json_member(&at[i - 1], key);
		for (size_t i = 1; i < ARRAY_LEN(at); i++) {
			assert_err(json_fail(&at[i], &e, "the end"), e, ERR_INVALID);
			assert_true(str_is_utf8(str_z(e.msg)));
			assert_true(str_ends(str_z(e.msg), STR(": the end")));
			assert_true(strlen(e.msg) < 140);
		}
		assert_true(str_starts(str_z(e.msg), STR("....")));
	}
	json_fail(&at[2], &e, "%s", key);
	assert_true(str_is_utf8(str_z(e.msg)));
	json_fail(&at[0], &e, "%s", key);
	assert_true(str_is_utf8(str_z(e.msg)));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_paths),
		cmocka_unit_test(test_absent),
		cmocka_unit_test(test_closed),
		cmocka_unit_test(test_str_bounds),
		cmocka_unit_test(test_numbers_and_bools),
		cmocka_unit_test(test_arrays),
		cmocka_unit_test(test_enum),
		cmocka_unit_test(test_long_enum),
		cmocka_unit_test(test_long_paths),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
