/* SPDX-License-Identifier: Apache-2.0 */
#include "unit.h"

#include <stdio.h>
#include <time.h>

#include "base/clock.h"

static void
test_clocks_run(void **state)
{
	uint64_t before = clock_mono_us();

	(void)state;
	assert_true(clock_mono_us() >= before);
	assert_in_range(clock_wall_us() / 1000000, (uint64_t)time(NULL) - 2, (uint64_t)time(NULL) + 2);
}

static void
test_fake(void **state)
{
	(void)state;
	clock_fake(5, 1700000000000000u);
	assert_int_equal(clock_mono_us(), 5);
	assert_true(clock_wall_us() == 1700000000000000u);
	clock_fake(0, 0);
	assert_true(clock_mono_us() > 5);
}

/* Against libc, noon of each day up to the year 9999. */
static void
test_format_and_parse_all_days(void **state)
{
	(void)state;
	for (uint64_t day = 0; day < 2932897; day += day < 40000 ? 1 : 13) {
		char got[TIME_TEXT_MAX], want[64];
		time_t t = (time_t)(day * 86400 + 43261);
		struct tm tm;
		uint64_t us = (uint64_t)t * 1000000 + 7, back = 0;

		gmtime_r(&t, &tm);
		size_t n = strftime(want, sizeof(want), "%Y-%m-%dT%H:%M:%S", &tm);
		snprintf(want + n, sizeof(want) - n, ".000007Z");
		if (strcmp(time_format(us, got), want) != 0)
			fail_msg("got %s, want %s", got, want);
		if (time_parse(str_z(got), &back, NULL) != 0 || back != us)
			fail_msg("%s did not come back", got);
	}
}

static void
test_format_bounds(void **state)
{
	char text[TIME_TEXT_MAX];

	(void)state;
	assert_string_equal(time_format(0, text), "1970-01-01T00:00:00.000000Z");
	assert_string_equal(time_format(253402300799999999u, text), "9999-12-31T23:59:59.999999Z");
	assert_true(strlen(time_format(UINT64_MAX, text)) < TIME_TEXT_MAX);
}

static void
test_parse_forms(void **state)
{
	static const struct {
		const char *text;
		uint64_t us;
	} good[] = {
		{"1970-01-01T00:00:00Z", 0},
		{"1970-01-01t00:00:01z", 1000000},
		{"2024-02-29T12:00:00.5Z", 1709208000500000},
		{"2024-02-29T12:00:00.123456789Z", 1709208000123456},
		{"2024-02-29T12:00:00+02:00", 1709200800000000},
		{"2024-02-29T12:00:00.000001-05:30", 1709227800000001},
		{"2024-02-29T12:00:00-00:00", 1709208000000000},
		{"2016-12-31T23:59:60Z", 1483228800000000},
		{"1969-12-31T23:00:00-01:00", 0},
		{"2000-02-29T00:00:00Z", 951782400000000},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(good); i++) {
		uint64_t us = 1;
		assert_int_equal(time_parse(str_z(good[i].text), &us, NULL), 0);
		if (us != good[i].us)
			fail_msg("%s: %llu", good[i].text, (unsigned long long)us);
	}
}

static void
test_parse_refuses(void **state)
{
	static const char *const bad[] = {"", "2024", "2024-02-29", "2023-02-29T00:00:00Z",
		"1900-02-29T00:00:00Z", "2024-13-01T00:00:00Z", "2024-00-01T00:00:00Z",
		"2024-01-00T00:00:00Z", "2024-04-31T00:00:00Z", "2024-01-01T24:00:00Z",
		"2024-01-01T00:60:00Z", "2024-01-01T00:00:61Z", "2024-01-01T00:00:00", "2024-01-01 00:00:00Z",
		"2024-01-01T00:00:00.Z", "2024-01-01T00:00:00.1234567890Z", "2024-01-01T00:00:00ZZ",
		"2024-01-01T00:00:00+0200", "2024-01-01T00:00:00+24:00", "2024-01-01T00:00:00+02:60",
		"2024-01-01T00:00:00+2:00", "+024-01-01T00:00:00Z", " 2024-01-01T00:00:00Z",
		"2024-1-01T00:00:00Z", "20240101T000000Z", "1969-12-31T23:59:59Z",
		"1970-01-01T00:00:00+00:01", "9999-12-31T23:59:59-00:01", "0000-01-01T00:00:00Z",
		"2024-01-01T00:00:00,5Z", "2024-01-01T00:00:-1Z"};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		struct err e = {0};
		uint64_t us = 77;
		if (time_parse(str_z(bad[i]), &us, &e) != -ERR_INVALID || us != 77 || e.kind != ERR_INVALID)
			fail_msg("accepted: %s", bad[i]);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_clocks_run),
		cmocka_unit_test(test_fake),
		cmocka_unit_test(test_format_and_parse_all_days),
		cmocka_unit_test(test_format_bounds),
		cmocka_unit_test(test_parse_forms),
		cmocka_unit_test(test_parse_refuses),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
