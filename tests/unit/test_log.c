/* SPDX-License-Identifier: Apache-2.0 */
#include "unit.h"

#include <errno.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/json.h"
#include "base/log.h"

/* One write is one packet here, so that a line in two writes would be seen. */
static int ends[2];
static char packet[20000];

static int
setup(void **state)
{
	(void)state;
	clock_fake(1, 1700000000123456u);
	return socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends);
}

static int
teardown(void **state)
{
	(void)state;
	log_setup("pinfold", LOG_INFO, STDERR_FILENO);
	clock_fake(0, 0);
	close(ends[0]);
	close(ends[1]);
	return 0;
}

/* The next line without its newline; STR_NULL when there is none. */
static struct str
next_line(void)
{
	ssize_t n = recv(ends[0], packet, sizeof(packet), MSG_DONTWAIT);

	if (n < 0)
		return STR_NULL;
	assert_true(n > 0 && packet[n - 1] == '\n');
	return str_n(packet, (size_t)n - 1);
}

static void
test_line(void **state)
{
	struct err e = {0};

	(void)state;
	log_setup("hands", LOG_INFO, ends[1]);
	log_info("sandbox.start", LOG_STR("session", STR("sesn_1")), LOG_INT("ms", -12), LOG_Z("none", NULL));
	assert_str(next_line(), "{\"ts\":\"2023-11-14T22:13:20.123456Z\",\"level\":\"info\",\"role\":"
				"\"hands\",\"event\":\"sandbox.start\","
				"\"session\":\"sesn_1\",\"ms\":-12,\"none\":null}");
	errno = EACCES;
	err_os_at(&e, "x.c:1", "open");
	e.code = "c";
	log_error("bad", LOG_ERR(&e), LOG_INT("min", INT64_MIN));
	assert_str(next_line(), "{\"ts\":\"2023-11-14T22:13:20.123456Z\",\"level\":\"error\",\"role\":"
				"\"hands\",\"event\":\"bad\","
				"\"error\":\"open: Permission "
				"denied\",\"error_kind\":\"IO\",\"error_code\":\"c\",\"errno\":13,"
				"\"where\":\"x.c:1\",\"min\":-9223372036854775808}");
}

static void
test_levels(void **state)
{
	(void)state;
	log_setup("r", LOG_WARN, ends[1]);
	log_debug("a");
	log_info("b");
	assert_null(next_line().p);
	log_warn("c");
	assert_non_null(next_line().p);
	log_setup("r", LOG_DEBUG, ends[1]);
	log_debug("d");
	assert_non_null(next_line().p);
}

/* No byte that could steer a terminal leaves as it is; the reader gets the text back. */
static void
test_escapes(void **state)
{
	static const char nasty[] =
		"\x1b[31m\"\\\n\r\t\x7f\xc2\x80\xc2\x9f\xe2\x80\xae\xe2\x80\xa8gr\xc3\xbc";
	AUTO(json) struct json_t *v = NULL;

	(void)state;
	log_setup("r", LOG_INFO, ends[1]);
	log_info("x", LOG_Z("v", nasty));
	struct str line = next_line();
	assert_int_equal(
		str_find_str(line, STR("\"v\":\"\\u001b[31m\\\"\\\\\\n\\u000d\\u0009\\u007f\\u0080\\u009f"
				       "\\u202e\\u2028gr\xc3\xbc\"}")) < line.n,
		1);
	assert_int_equal(json_parse(line, &v, NULL), 0);
	assert_str(json_get_str(v, "v"), nasty);
	log_info("x", LOG_STR("v", str_n("a\0\xff"
					 "b",
					   4)));
	line = next_line();
	assert_true(str_ends(line, STR("\"v\":\"a\\u0000\xef\xbf\xbd"
				       "b\"}")));
}

/* Of any length and with any kind of text a line is JSON and at most 8 KiB. */
static void
test_long_lines_are_cut(void **state)
{
	static const char *const units[] = {"x", "\"", "\n", "\xf0\x9f\x8e\x89", "\xff"};
	static char text[12000];

	(void)state;
	log_setup("r", LOG_INFO, ends[1]);
	for (size_t u = 0; u < ARRAY_LEN(units); u++) {
		size_t step = strlen(units[u]);
		for (size_t i = 0; i + step <= sizeof(text); i += step)
			memcpy(text + i, units[u], step);
		for (size_t n = 1300; n<sizeof(text); n += n> 7900 && n < 8200 ? 1 : 67) {
			AUTO(json) struct json_t *v = NULL;
			log_info("x", LOG_STR("v", str_n(text, n / step * step)), LOG_INT("after", 1));
			struct str line = next_line();
			assert_in_range(line.n, 1, 8191);
			assert_int_equal(json_parse(line, &v, NULL), 0);
			bool cut = json_bool(json_get(v, "cut"), false);
			assert_int_equal(json_get_int(v, "after", 0), cut ? 0 : 1);
			if (n > 8192)
				assert_true(cut);
		}
	}
}

static void
test_many_members_are_cut(void **state)
{
	char text[900];

	(void)state;
	log_setup("r", LOG_INFO, ends[1]);
	memset(text, 'y', sizeof(text));
	struct log_kv kv = LOG_STR("k", str_n(text, sizeof(text)));
	struct log_kv last = LOG_INT("last", 1);
	log_info("x", kv, last, kv, kv, kv, kv, kv, kv, kv, kv, kv, kv, last);
	struct str line = next_line();
	assert_in_range(line.n, 8000, 8191);
	assert_true(str_ends(line, STR(",\"cut\":true}")));
}

static void
test_keeps_errno_and_bears_a_closed_sink(void **state)
{
	(void)state;
	log_setup("r", LOG_INFO, -1);
	errno = ENOENT;
	log_info("x");
	assert_int_equal(errno, ENOENT);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_line),
		cmocka_unit_test(test_levels),
		cmocka_unit_test(test_escapes),
		cmocka_unit_test(test_long_lines_are_cut),
		cmocka_unit_test(test_many_members_are_cut),
		cmocka_unit_test(test_keeps_errno_and_bears_a_closed_sink),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
