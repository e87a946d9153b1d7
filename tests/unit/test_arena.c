/* SPDX-License-Identifier: Apache-2.0 */
#include "unit.h"

#include "alloc_fail.h"
#include "base/arena.h"

#if defined(__SANITIZE_ADDRESS__)
#define HAVE_ASAN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define HAVE_ASAN 1
#endif
#endif
#ifdef HAVE_ASAN
#include <sanitizer/asan_interface.h>
#endif

static bool
all_zero(const char *p, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (p[i])
			return false;
	return true;
}

/* Pieces are zeroed, aligned, apart from each other, and stay as they were written. */
static void
test_pieces(void **state)
{
	AUTO(arena) struct arena *a = arena_new(1 << 20);
	unsigned char *pieces[400];

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(pieces); i++) {
		pieces[i] = arena_alloc(a, i);
		assert_non_null(pieces[i]);
		assert_int_equal((uintptr_t)pieces[i] % 16, 0);
		assert_true(all_zero((char *)pieces[i], i));
		memset(pieces[i], (int)(i & 0xff), i);
	}
	for (size_t i = 0; i < ARRAY_LEN(pieces); i++)
		for (size_t k = 0; k < i; k++)
			assert_int_equal(pieces[i][k], i & 0xff);
	assert_int_equal(arena_check(a, NULL), 0);
	assert_true(arena_used(a) >= 399 * 400 / 2);
}

static void
test_limit_is_sticky_until_reset(void **state)
{
	AUTO(arena) struct arena *a = arena_new(1024);
	struct err e = {0};

	(void)state;
	assert_non_null(arena_alloc(a, 1000));
	assert_null(arena_alloc(a, 100));
	assert_true(arena_failed(a));
	assert_err(arena_check(a, &e), e, ERR_TOO_LARGE);
	/* Smaller ones still work: the flag is what counts. */
	assert_non_null(arena_alloc(a, 8));
	assert_true(arena_failed(a));
	arena_reset(a);
	assert_false(arena_failed(a));
	assert_int_equal(arena_used(a), 0);
	char *p = arena_alloc(a, 1024);
	assert_non_null(p);
	assert_true(all_zero(p, 1024));
	assert_null(arena_alloc(a, 1));
}

static void
test_overflow_counts_as_limit(void **state)
{
	AUTO(arena) struct arena *a = arena_new(SIZE_MAX);

	(void)state;
	assert_null(arena_alloc_n(a, SIZE_MAX / 2, 3));
	assert_int_equal(arena_check(a, NULL), -ERR_TOO_LARGE);
	arena_reset(a);
	assert_null(arena_alloc(a, SIZE_MAX - 5));
	assert_int_equal(arena_check(a, NULL), -ERR_TOO_LARGE);
	arena_reset(a);
	assert_null(arena_dup_z(a, str_n("", SIZE_MAX)));
	assert_true(arena_failed(a));
}

static void
test_copies(void **state)
{
	AUTO(arena) struct arena *a = arena_new(4096);
	AUTO(arena) struct arena *tiny = arena_new(8);

	(void)state;
	struct str s = arena_dup(a, STR("slice"));
	assert_str(s, "slice");
	assert_int_equal(s.p[5], '\0');
	assert_non_null(arena_dup(a, STR_NULL).p);
	assert_string_equal(arena_dup_z(a, STR("z")), "z");
	assert_string_equal(arena_printf(a, "%s-%d", "n", 12), "n-12");
	uint32_t *numbers = arena_alloc_n(a, 5, sizeof(*numbers));
	assert_int_equal(numbers[4], 0);
	assert_null(arena_dup(tiny, STR("longer than eight")).p);
	assert_null(arena_printf(tiny, "%100d", 1));
	assert_true(arena_failed(tiny));
}

static void
test_many_blocks_and_reset(void **state)
{
	AUTO(arena) struct arena *a = arena_new(8 << 20);

	(void)state;
	for (int round = 0; round < 3; round++) {
		for (int i = 0; i < 1000; i++)
			assert_non_null(arena_alloc(a, 1000));
		assert_non_null(arena_alloc(a, 3 << 20));
		arena_reset(a);
	}
	arena_free(NULL);
}

static void
test_no_memory(void **state)
{
	struct err e = {0};

	(void)state;
	alloc_fail_at(1);
	assert_null(arena_new(100));
	assert_true(alloc_fail_stop());
	AUTO(arena) struct arena *a = arena_new(1 << 20);
	alloc_fail_at(1);
	assert_null(arena_alloc(a, 10));
	assert_true(alloc_fail_stop());
	assert_err(arena_check(a, &e), e, ERR_NO_MEMORY);
	arena_reset(a);
	assert_non_null(arena_alloc(a, 10));
	alloc_fail_at(1);
	assert_null(arena_alloc(a, 100000));
	assert_true(alloc_fail_stop());
	assert_int_equal(arena_check(a, NULL), -ERR_NO_MEMORY);
}

#ifdef HAVE_ASAN
static void
test_fences(void **state)
{
	AUTO(arena) struct arena *a = arena_new(1 << 20);
	char *p = arena_alloc(a, 24), *q = arena_alloc(a, 1);

	(void)state;
	assert_false(__asan_address_is_poisoned(p + 23));
	assert_true(__asan_address_is_poisoned(p + 24));
	assert_true(__asan_address_is_poisoned(q - 1));
	assert_true(__asan_address_is_poisoned(q + 1));
	arena_reset(a);
	assert_true(__asan_address_is_poisoned(p));
}
#endif

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_pieces),
		cmocka_unit_test(test_limit_is_sticky_until_reset),
		cmocka_unit_test(test_overflow_counts_as_limit),
		cmocka_unit_test(test_copies),
		cmocka_unit_test(test_many_blocks_and_reset),
		cmocka_unit_test(test_no_memory),
#ifdef HAVE_ASAN
		cmocka_unit_test(test_fences),
#endif
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
