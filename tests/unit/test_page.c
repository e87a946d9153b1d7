/* SPDX-License-Identifier: Apache-2.0 */
/* Cursors: what goes out comes back, and nothing else is taken. */
#include "unit.h"

#include "control/api.h"

static void
come_back(void **state)
{
	(void)state;
	const struct page_cursor given[] = {
		{.kind = PAGE_AGENTS},
		{.kind = PAGE_SESSIONS, .ascending = 1, .us = 1700000000000000ull, .key = 42},
		{.kind = PAGE_SESSIONS, .backwards = 1, .us = UINT64_MAX, .key = UINT64_MAX},
		{.kind = PAGE_RESOURCES, .key = 999},
	};
	for (size_t i = 0; i < ARRAY_LEN(given); i++) {
		char text[PAGE_TEXT_MAX];
		struct page_cursor c;
		struct err e = {0};
		page_format(&given[i], text);
		assert_int_equal(page_read(str_z(text), given[i].kind, &c, &e), 0);
		assert_true(c.set);
		assert_int_equal(c.kind, given[i].kind);
		assert_int_equal(c.ascending, given[i].ascending);
		assert_int_equal(c.backwards, given[i].backwards);
		assert_true(c.us == given[i].us && c.key == given[i].key);
	}
}

static void
absent_is_unset(void **state)
{
	(void)state;
	struct page_cursor c;
	struct err e = {0};
	assert_int_equal(page_read(STR_NULL, PAGE_FILES, &c, &e), 0);
	assert_false(c.set);
	assert_int_equal(c.kind, PAGE_FILES);
}

/* Every single changed character but those of time and key makes it invalid. */
static void
foreign_is_refused(void **state)
{
	(void)state;
	char text[PAGE_TEXT_MAX];
	struct page_cursor c = {.kind = PAGE_AGENTS, .us = 1, .key = 2};
	struct err e = {0};
	page_format(&c, text);
	struct str s = str_z(text);
	assert_err(page_read(s, PAGE_SESSIONS, &c, &e), e, ERR_INVALID);
	for (size_t n = 1; n < s.n; n++)
		assert_err(page_read(str_sub(s, 0, n), PAGE_AGENTS, &c, &e), e, ERR_INVALID);
	for (size_t i = 0; i < s.n; i++) {
		char was = text[i];
		text[i] = 'x';
		assert_err(page_read(s, PAGE_AGENTS, &c, &e), e, ERR_INVALID);
		text[i] = was;
	}
	text[8] = '2'; /* neither ascending nor descending */
	assert_err(page_read(s, PAGE_AGENTS, &c, &e), e, ERR_INVALID);
	assert_err(page_read(STR("page_"), PAGE_AGENTS, &c, &e), e, ERR_INVALID);
	assert_false(c.set);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(come_back),
		cmocka_unit_test(absent_is_unset),
		cmocka_unit_test(foreign_is_refused),
	};
	return cmocka_run_group_tests_name("page", tests, NULL, NULL);
}
