/* SPDX-License-Identifier: Apache-2.0 */
#include "unit.h"

#include "base/id.h"

static void
test_form(void **state)
{
	struct id id = id_new("sesn", 1700000000123456u);

	(void)state;
	assert_int_equal(strlen(id.z), 4 + 3 + 22);
	assert_true(str_starts(id_str(&id), STR("sesn_01")));
	assert_true(id_valid(id_str(&id), "sesn"));
	assert_false(id_valid(id_str(&id), "ses"));
	assert_false(id_valid(id_str(&id), "agent"));
}

/* Over the range of the clock, a later millisecond gives a greater id. */
static void
test_byte_order_is_time_order(void **state)
{
	struct id last = id_new("e", 0);

	(void)state;
	for (uint64_t us = 1000; us < UINT64_MAX / 3; us = us * 2 + 1000) {
		struct id next = id_new("e", us);
		assert_true(str_cmp(id_str(&last), id_str(&next)) < 0);
		struct id same = id_new("e", us + 999 - us % 1000);
		assert_memory_equal(next.z, same.z, 2 + 2 + 9);
		last = next;
	}
}

static void
test_valid(void **state)
{
	char long_id[120];

	(void)state;
	memset(long_id, 'x', sizeof(long_id));
	memcpy(long_id, "agent_", 6);
	assert_true(id_valid(str_n(long_id, 106), "agent"));
	assert_false(id_valid(str_n(long_id, 107), "agent"));
	assert_true(id_valid(STR("agent_1"), "agent"));
	static const char *const bad[] = {"", "agent", "agent_", "agentx1", "agent_a-b", "agent_a_b",
		"agent_a b", "agent_a/../b", "Agent_1", "agent_\xc3\xbc"};
	for (size_t i = 0; i < ARRAY_LEN(bad); i++)
		assert_false(id_valid(str_z(bad[i]), "agent"));
	assert_false(id_valid(str_n("agent_a\0b", 9), "agent"));
}

static void
test_from(void **state)
{
	char z[ID_MAX + 1];

	(void)state;
	assert_string_equal(id_from(STR("agent_1")).z, "agent_1");
	memset(z, 'a', sizeof(z));
	assert_string_equal(id_from(str_n(z, ID_MAX)).z, "");
	assert_int_equal(strlen(id_from(str_n(z, ID_MAX - 1)).z), ID_MAX - 1);
	assert_string_equal(id_from(STR_NULL).z, "");
}

/* 620,000 characters: each of the 62 about 10,000 times (six sigma is 595), so a bias of the alphabet shows.
 */
static void
test_base62_is_uniform(void **state)
{
	unsigned seen[256] = {0};
	char text[6200];

	(void)state;
	for (int round = 0; round < 100; round++) {
		random_base62(text, sizeof(text));
		for (size_t i = 0; i < sizeof(text); i++)
			seen[(unsigned char)text[i]]++;
	}
	unsigned used = 0;
	for (unsigned c = 0; c < 256; c++) {
		if (!seen[c])
			continue;
		used++;
		assert_in_range(seen[c], 9400, 10600);
	}
	assert_int_equal(used, 62);
}

static void
test_random_bytes(void **state)
{
	uint8_t a[600] = {0}, b[600] = {0};

	(void)state;
	random_bytes(a, sizeof(a));
	random_bytes(b, sizeof(b));
	assert_memory_not_equal(a, b, sizeof(a));
	assert_memory_not_equal(a + 568, (uint8_t[32]){0}, 32);
	random_bytes(a, 0);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_form),
		cmocka_unit_test(test_byte_order_is_time_order),
		cmocka_unit_test(test_valid),
		cmocka_unit_test(test_from),
		cmocka_unit_test(test_base62_is_uniform),
		cmocka_unit_test(test_random_bytes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
