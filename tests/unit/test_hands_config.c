/* SPDX-License-Identifier: Apache-2.0 */
#include "unit.h"

#include "base/limits.h"
#include "hands/config.h"

static int
parse(const char *text, struct hands_config *c, struct err *e)
{
	AUTO(json) struct json_t *v = NULL;

	assert_int_equal(json_parse(str_z(text), &v, e), 0);
	return hands_config_parse(c, v, e);
}

#define REQUIRED "\"data_dir\":\"/d\",\"run_dir\":\"/r\",\"guest_binary\":\"/g\""

static void
defaults_are_filled_in(void **state)
{
	struct hands_config c;
	struct err e = {0};

	(void)state;
	assert_int_equal(parse("{" REQUIRED "}", &c, &e), 0);
	assert_string_equal(c.runsc, "/usr/bin/runsc");
	assert_string_equal(c.platform, "auto");
	assert_string_equal(c.image_dir, "/d/images/default");
	assert_string_equal(c.layers_dir, "/d/layers");
	assert_int_equal(c.pool_size, 1);
	assert_int_equal(c.limits.memory, LIM_SANDBOX_MEMORY);
	assert_int_equal(c.limits.cpu_milli, 0);
	assert_int_equal(c.wall_ms, LIM_SANDBOX_WALL_MS);
	assert_true(strncmp(c.cgroup_parent, "pinfold-", 8) == 0);
}

static void
values_are_taken(void **state)
{
	struct hands_config c;
	struct err e = {0};

	(void)state;
	assert_int_equal(
		parse("{" REQUIRED ",\"platform\":\"ptrace\",\"pool_size\":0,\"require_limits\":true,"
		      "\"limits\":{\"memory\":134217728,\"pids\":100,\"cpu_milli\":1500},\"later\":[1]}",
			&c, &e),
		0);
	assert_string_equal(c.platform, "ptrace");
	assert_int_equal(c.pool_size, 0);
	assert_true(c.require_limits);
	assert_int_equal(c.limits.memory, 128 * MIB);
	assert_int_equal(c.limits.pids, 100);
	assert_int_equal(c.limits.cpu_milli, 1500);
}

static void
bad_values_name_their_member(void **state)
{
	static const struct {
		const char *text, *member;
	} cases[] = {
		{"{\"data_dir\":\"/d\",\"run_dir\":\"/r\"}", "guest_binary"},
		{"{\"data_dir\":\"relative\",\"run_dir\":\"/r\",\"guest_binary\":\"/g\"}", "data_dir"},
		{"{\"data_dir\":\"/a,b\",\"run_dir\":\"/r\",\"guest_binary\":\"/g\"}", "data_dir"},
		{"{\"data_dir\":\"/a:b\",\"run_dir\":\"/r\",\"guest_binary\":\"/g\"}", "data_dir"},
		{"{" REQUIRED ",\"pool_size\":65}", "pool_size"},
		{"{" REQUIRED ",\"idle_ms\":\"soon\"}", "idle_ms"},
		{"{" REQUIRED ",\"limits\":{\"memory\":1}}", "limits.memory"},
		{"{" REQUIRED ",\"require_limits\":1}", "require_limits"},
		{"{" REQUIRED ",\"cgroup_parent\":\"../x\"}", "cgroup_parent"},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct hands_config c = {0};
		struct err e = {0};

		assert_err(parse(cases[i].text, &c, &e), e, ERR_INVALID);
		if (!strstr(e.msg, cases[i].member))
			fail_msg("%s: %s", cases[i].text, e.msg);
		assert_int_equal(c.data_dir[0], 0);
	}
}

static void
names_that_may_stand_in_a_path(void **state)
{
	(void)state;
	assert_true(hands_name_ok(STR("sesn_01AbC-x.y")));
	assert_false(hands_name_ok(STR("")));
	assert_false(hands_name_ok(STR(".")));
	assert_false(hands_name_ok(STR("..")));
	assert_false(hands_name_ok(STR(".hidden")));
	assert_false(hands_name_ok(STR("-rf")));
	assert_false(hands_name_ok(STR("a/b")));
	assert_false(hands_name_ok(STR("a\0b")));
	assert_false(hands_name_ok(STR("0123456789012345678901234567890123456789012345678901234567890123")));
}

int
main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(defaults_are_filled_in),
		cmocka_unit_test(values_are_taken),
		cmocka_unit_test(bad_values_name_their_member),
		cmocka_unit_test(names_that_may_stand_in_a_path),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
