/* SPDX-License-Identifier: Apache-2.0 */
#include "unit.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

static void
test_set_fills_and_returns_kind(void **state)
{
	struct err e = {0};

	(void)state;
	assert_int_equal(err_set(&e, ERR_NOT_FOUND, "no %s %d", "agent", 7), -ERR_NOT_FOUND);
	assert_int_equal(e.kind, ERR_NOT_FOUND);
	assert_string_equal(e.msg, "no agent 7");
	assert_null(e.code);
	assert_int_equal(e.os, 0);
	assert_non_null(strstr(e.where, "test_err.c:"));
	assert_int_equal(err_set(NULL, ERR_CONFLICT, "x"), -ERR_CONFLICT);
}

static void
test_code(void **state)
{
	struct err e = {0};

	(void)state;
	assert_err(err_code(&e, ERR_INVALID, "environment_archived", "archived"), e, ERR_INVALID);
	assert_string_equal(e.code, "environment_archived");
	/* A later failure in the same object leaves nothing of the first. */
	assert_err(err_set(&e, ERR_IO, "y"), e, ERR_IO);
	assert_null(e.code);
}

static void
test_os_keeps_errno_and_appends_text(void **state)
{
	struct err e = {0};

	(void)state;
	errno = EACCES;
	assert_err(err_os(&e, "open %s", "/x"), e, ERR_IO);
	assert_int_equal(errno, EACCES);
	assert_int_equal(e.os, EACCES);
	assert_string_equal(e.msg, "open /x: Permission denied");
	errno = ENOMEM;
	assert_err(err_os(&e, "mmap"), e, ERR_NO_MEMORY);
	errno = 99999;
	assert_err(err_os(&e, "odd"), e, ERR_IO);
	assert_string_equal(e.msg, "odd: unknown error");
}

static void
test_wrap(void **state)
{
	struct err e = {0};

	(void)state;
	err_code(&e, ERR_CORRUPT, "c", "bad page");
	assert_err(err_wrap(&e, "store %d", 3), e, ERR_CORRUPT);
	assert_string_equal(e.msg, "store 3: bad page");
	assert_string_equal(e.code, "c");
	assert_int_equal(err_wrap(NULL, "x"), -ERR_INTERNAL);
}

static void
test_arguments_may_be_the_old_message(void **state)
{
	struct err e = {0};

	(void)state;
	err_set(&e, ERR_IO, "inner");
	err_set(&e, ERR_UNAVAILABLE, "outer(%s)", e.msg);
	assert_string_equal(e.msg, "outer(inner)");
	err_wrap(&e, "%s", e.msg);
	assert_string_equal(e.msg, "outer(inner): outer(inner)");
}

/* Whatever the offset, a cut never leaves half a character. */
static void
test_cut_is_between_characters(void **state)
{
	(void)state;
	for (int pad = 0; pad < 8; pad++) {
		struct err e = {0};
		char text[400];
		size_t n = (size_t)pad;

		memset(text, 'x', sizeof(text));
		for (; n + 4 < sizeof(text); n += 4)
			memcpy(text + n, "\xf0\x9f\x8e\x89", 4);
		err_set(&e, ERR_INVALID, "%.*s", (int)n, text);
		assert_true(str_is_utf8(str_z(e.msg)));
		assert_in_range(strlen(e.msg), ERR_MSG_MAX - 4, ERR_MSG_MAX - 1);
		err_wrap(&e, "wrapped");
		assert_true(str_is_utf8(str_z(e.msg)));
		errno = EACCES;
		err_os(&e, "%.*s", (int)n, text);
		assert_true(str_is_utf8(str_z(e.msg)));
	}
}

static void
test_table(void **state)
{
	(void)state;
	assert_int_equal(err_http_status(ERR_INVALID), 400);
	assert_int_equal(err_http_status(ERR_OVERLOADED), 529);
	assert_int_equal(err_exit_code(ERR_NOT_FOUND), 66);
	assert_string_equal(err_api_type(ERR_TOO_LARGE), "request_too_large");
	assert_string_equal(err_kind_name(ERR_NO_MEMORY), "NO_MEMORY");
	assert_int_equal(err_exit_code(ERR_NONE), 0);
	/* A number that came over a wire and is no kind. */
	assert_int_equal(err_http_status((enum err_kind)200), 500);
	for (int k = 1; k < ERR_COUNT; k++)
		assert_in_range(err_http_status((enum err_kind)k), 400, 599);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_set_fills_and_returns_kind),
		cmocka_unit_test(test_code),
		cmocka_unit_test(test_os_keeps_errno_and_appends_text),
		cmocka_unit_test(test_wrap),
		cmocka_unit_test(test_arguments_may_be_the_old_message),
		cmocka_unit_test(test_cut_is_between_characters),
		cmocka_unit_test(test_table),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
