/* SPDX-License-Identifier: Apache-2.0 */
#include "unit.h"

#include "alloc_fail.h"
#include "base/buf.h"

static void
test_appends(void **state)
{
	AUTO(buf) struct buf b;

	(void)state;
	buf_init(&b, 1000);
	assert_int_equal(buf_check(&b, NULL), 0);
	buf_put_z(&b, "a");
	buf_put_c(&b, 'b');
	buf_put_str(&b, STR("cd"));
	buf_put(&b, NULL, 0);
	buf_put_str(&b, STR_NULL);
	buf_put_u64(&b, 0);
	buf_put_u64(&b, UINT64_MAX);
	buf_printf(&b, "<%d %s>", -5, "x");
	assert_str(buf_str(&b), "abcd018446744073709551615<-5 x>");
	assert_int_equal(buf_check(&b, NULL), 0);
}

/* The ceiling holds to the byte, whatever the way bytes come in. */
static void
test_ceiling(void **state)
{
	struct err e = {0};

	(void)state;
	for (size_t max = 0; max < 700; max += 7) {
		AUTO(buf) struct buf b;
		buf_init(&b, max);
		for (size_t i = 0; i < max; i++)
			buf_put_c(&b, 'x');
		assert_int_equal(buf_check(&b, NULL), 0);
		assert_int_equal(b.n, max);
		buf_put_c(&b, 'y');
		assert_err(buf_check(&b, &e), e, ERR_TOO_LARGE);
		assert_int_equal(b.n, max);
	}
}

static void
test_printf_at_the_ceiling(void **state)
{
	(void)state;
	for (int n = 0; n < 600; n++) {
		AUTO(buf) struct buf b;
		buf_init(&b, (size_t)n);
		buf_printf(&b, "%*s", n, "");
		assert_int_equal(buf_check(&b, NULL), 0);
		assert_int_equal(b.n, n);
		buf_printf(&b, "%s", "");
		assert_int_equal(buf_check(&b, NULL), 0);
		buf_printf(&b, "%c", 'z');
		assert_int_equal(buf_check(&b, NULL), -ERR_TOO_LARGE);
		assert_int_equal(b.n, n);
	}
}

static void
test_failure_is_sticky_until_clear(void **state)
{
	AUTO(buf) struct buf b;

	(void)state;
	buf_init(&b, 4);
	buf_put_z(&b, "abc");
	buf_put_z(&b, "de");
	buf_put_z(&b, "f");
	buf_printf(&b, "g");
	assert_null(buf_reserve(&b, 1));
	assert_str(buf_str(&b), "abc");
	buf_clear(&b);
	assert_int_equal(buf_check(&b, NULL), 0);
	buf_put_z(&b, "wxyz");
	assert_str(buf_str(&b), "wxyz");
}

static void
test_reserve_and_drop(void **state)
{
	AUTO(buf) struct buf b;

	(void)state;
	buf_init(&b, 1000);
	assert_non_null(buf_reserve(&b, 0));
	char *p = buf_reserve(&b, 600);
	memset(p, 'q', 600);
	b.n += 600;
	assert_null(buf_reserve(&b, 401));
	buf_clear(&b);
	buf_put_z(&b, "hello world");
	buf_drop(&b, 6);
	assert_str(buf_str(&b), "world");
	buf_drop(&b, 0);
	buf_drop(&b, 5);
	assert_int_equal(b.n, 0);
	assert_null(buf_reserve(&b, SIZE_MAX));
	struct buf zero = {0};
	buf_done(&zero);
}

/* Sums that wrap are a failure, not a small buffer. */
static void
test_no_wrap(void **state)
{
	struct buf b;

	(void)state;
	buf_init(&b, SIZE_MAX);
	buf_put_c(&b, 'a');
	assert_null(buf_reserve(&b, SIZE_MAX));
	assert_int_equal(buf_check(&b, NULL), -ERR_TOO_LARGE);
	buf_done(&b);
}

static void
test_no_memory(void **state)
{
	struct err e = {0};
	AUTO(buf) struct buf b;

	(void)state;
	buf_init(&b, 100000);
	alloc_fail_at(1);
	buf_put_z(&b, "x");
	assert_true(alloc_fail_stop());
	assert_err(buf_check(&b, &e), e, ERR_NO_MEMORY);
	buf_clear(&b);
	buf_put_z(&b, "kept");
	alloc_fail_at(1);
	buf_printf(&b, "%1000s", "");
	assert_true(alloc_fail_stop());
	assert_err(buf_check(&b, &e), e, ERR_NO_MEMORY);
	assert_str(buf_str(&b), "kept");
	alloc_fail_at(1);
	assert_null(rc_bytes_new(STR("x")));
	assert_true(alloc_fail_stop());
}

static void
test_rc_bytes(void **state)
{
	struct rc_bytes *r = rc_bytes_new(STR("event"));

	(void)state;
	assert_non_null(r);
	assert_str(str_n(r->p, r->n), "event");
	assert_ptr_equal(rc_bytes_ref(r), r);
	assert_null(rc_bytes_unref(r));
	assert_int_equal(r->refs, 1);
	assert_null(rc_bytes_unref(r));
	assert_null(rc_bytes_unref(NULL));
	assert_null(rc_bytes_new(str_n("", SIZE_MAX)));
	r = rc_bytes_new(STR_NULL);
	assert_int_equal(r->n, 0);
	rc_bytes_unref(r);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_appends),
		cmocka_unit_test(test_ceiling),
		cmocka_unit_test(test_printf_at_the_ceiling),
		cmocka_unit_test(test_failure_is_sticky_until_clear),
		cmocka_unit_test(test_reserve_and_drop),
		cmocka_unit_test(test_no_wrap),
		cmocka_unit_test(test_no_memory),
		cmocka_unit_test(test_rc_bytes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
