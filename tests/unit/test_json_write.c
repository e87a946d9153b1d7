/* SPDX-License-Identifier: Apache-2.0 */
#include "unit.h"

#include <float.h>
#include <math.h>

#include "base/json.h"

static void
test_writer(void **state)
{
	AUTO(buf) struct buf b;
	AUTO(json) struct json_t *v = NULL;

	(void)state;
	buf_init(&b, 10000);
	assert_int_equal(json_parse(STR(" { \"x\" : [ 1 , 2.50 , null ] } "), &v, NULL), 0);
	struct json_w w = json_w(&b);
	jw_obj(&w);
	jw_kstr(&w, "s", STR("v"));
	jw_kz(&w, "z", NULL);
	jw_kint(&w, "i", INT64_MIN);
	jw_kbool(&w, "b", false);
	jw_knull(&w, "n");
	jw_kraw(&w, "r", STR("[0]"));
	jw_kvalue(&w, "v", v);
	jw_ktime(&w, "t", 1700000000000001u);
	jw_ktime(&w, "t0", 0);
	jw_key(&w, "a");
	jw_arr(&w);
	jw_arr(&w);
	jw_arr_end(&w);
	jw_obj(&w);
	jw_obj_end(&w);
	jw_int(&w, 1);
	jw_bool(&w, true);
	jw_real(&w, 0.5);
	jw_value(&w, json_nothing());
	jw_arr_end(&w);
	jw_obj_end(&w);
	assert_str(buf_str(&b),
		"{\"s\":\"v\",\"z\":null,\"i\":-9223372036854775808,\"b\":false,\"n\":null,\"r\":[0],"
		"\"v\":{\"x\":[1,2.5,null]},\"t\":\"2023-11-14T22:13:20.000001Z\",\"t0\":null,"
		"\"a\":[[],{},1,true,0.5,null]}");
	assert_int_equal(w.depth, 0);
}

static void
assert_escaped(struct str in, const char *want)
{
	AUTO(buf) struct buf b;

	buf_init(&b, 10000);
	json_escape(&b, in);
	assert_str(buf_str(&b), want);
}

static void
test_escapes(void **state)
{
	(void)state;
	assert_escaped(STR_NULL, "\"\"");
	assert_escaped(STR("\"\\/"), "\"\\\"\\\\/\"");
	assert_escaped(STR("\b\t\n\f\r\x01\x1f\x7f"), "\"\\b\\t\\n\\f\\r\\u0001\\u001f\x7f\"");
	assert_escaped(str_n("a\0b", 3), "\"a\xef\xbf\xbd"
					 "b\"");
	assert_escaped(STR("\xe2\x80\xa8\xe2\x80\xa9\xf0\x9f\x8e\x89"),
		"\"\xe2\x80\xa8\xe2\x80\xa9\xf0\x9f\x8e\x89\"");
	assert_escaped(STR("a\xff"
			   "b"),
		"\"a\xef\xbf\xbd"
		"b\"");
	assert_escaped(STR("\xed\xa0\x80"), "\"\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\"");
	assert_escaped(STR("\xe2\x82"), "\"\xef\xbf\xbd\xef\xbf\xbd\"");
}

/* Any byte at any place among plain ones: the text reads back as it was, so no fast path skips one. */
static void
test_escape_every_byte_everywhere(void **state)
{
	char text[24];

	(void)state;
	for (unsigned c = 1; c < 0x80; c++) {
		for (size_t at = 0; at < sizeof(text); at++) {
			AUTO(buf) struct buf b;
			AUTO(json) struct json_t *v = NULL;
			memset(text, 'x', sizeof(text));
			text[at] = (char)c;
			buf_init(&b, 1000);
			json_escape(&b, str_n(text, sizeof(text)));
			assert_int_equal(json_parse(buf_str(&b), &v, NULL), 0);
			assert_true(str_eq(json_str(v, STR_NULL), str_n(text, sizeof(text))));
		}
	}
}

/* What the parser refuses is never written, whatever the text holds. */
static void
test_whatever_is_written_can_be_read(void **state)
{
	(void)state;
	for (unsigned c = 0; c < 0x100 * 0x100; c++) {
		AUTO(buf) struct buf b;
		AUTO(json) struct json_t *v = NULL;
		char text[] = {'x', (char)(c >> 8), (char)(c & 0xff), 'y'};
		buf_init(&b, 1000);
		json_escape(&b, str_n(text, sizeof(text)));
		assert_int_equal(json_parse(buf_str(&b), &v, NULL), 0);
	}
}

static void
assert_real(double v, const char *want)
{
	AUTO(buf) struct buf b;

	buf_init(&b, 100);
	struct json_w w = json_w(&b);
	jw_real(&w, v);
	assert_str(buf_str(&b), want);
}

static void
test_reals(void **state)
{
	(void)state;
	assert_real(0.1, "0.1");
	assert_real(1.0, "1.0");
	assert_real(-0.0, "-0.0");
	assert_real(1e300, "1e+300");
	assert_real(1.0 / 3, "0.3333333333333333");
	assert_real(0.1 + 0.2, "0.30000000000000004");
	assert_real(DBL_MAX, "1.7976931348623157e+308");
	assert_real(5e-324, "4.94065645841247e-324");
	assert_real(123456789012345680.0, "1.2345678901234568e+17");
	assert_real(NAN, "null");
	assert_real(-INFINITY, "null");
}

static void
test_dump_reads_back(void **state)
{
	static const char text[] =
		"{\"a\":[1,-2.5,1e+100,true,false,null,\"\\u0001\xc3\xbc\"],\"b\":{\"\":{}},\"c\":1.0}";
	AUTO(buf) struct buf b;
	AUTO(json) struct json_t *v = NULL;

	(void)state;
	buf_init(&b, 1000);
	assert_int_equal(json_parse(str_z(text), &v, NULL), 0);
	json_dump(&b, v);
	assert_str(buf_str(&b), text);
	json_dump(&b, NULL);
	assert_true(str_ends(buf_str(&b), STR("null")));
}

/* A full buffer is the buffer's sticky failure; the writer goes on without harm. */
static void
test_full_buffer(void **state)
{
	(void)state;
	for (size_t max = 0; max < 20; max++) {
		AUTO(buf) struct buf b;
		buf_init(&b, max);
		struct json_w w = json_w(&b);
		jw_obj(&w);
		jw_kstr(&w, "key", STR("a \"value\" and \xff"));
		jw_obj_end(&w);
		assert_int_equal(buf_check(&b, NULL), -ERR_TOO_LARGE);
		assert_true(b.n <= max);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_writer),
		cmocka_unit_test(test_escapes),
		cmocka_unit_test(test_escape_every_byte_everywhere),
		cmocka_unit_test(test_whatever_is_written_can_be_read),
		cmocka_unit_test(test_reals),
		cmocka_unit_test(test_dump_reads_back),
		cmocka_unit_test(test_full_buffer),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
