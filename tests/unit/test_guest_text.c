/* SPDX-License-Identifier: Apache-2.0 */
#include "unit.h"

#include <stdlib.h>

#include "guest/tail.h"
#include "guest/text.h"

static void
check_valid(struct str in, const char *want)
{
	AUTO(buf) struct buf b;

	buf_init(&b, 1000);
	text_put_valid(&b, in);
	assert_str(buf_str(&b), want);
}

/* One replacement for each maximal subpart, as the Encoding standard says. */
static void
test_replacement(void **state)
{
	(void)state;
	check_valid(STR("plain \xc3\xa9 \xf0\x9f\x98\x80"), "plain \xc3\xa9 \xf0\x9f\x98\x80");
	check_valid(STR("a\xff"
			"b"),
		"a\xef\xbf\xbd"
		"b");
	check_valid(STR("\xe3\x81"), "\xef\xbf\xbd");
	check_valid(STR("\xe3\x81"
			"b"),
		"\xef\xbf\xbd"
		"b");
	check_valid(STR("\xf0\x9f\x98\x0a"), "\xef\xbf\xbd\n");
	check_valid(STR("\xed\xa0\x80"), "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd");
	check_valid(STR("\xc0\xaf"), "\xef\xbf\xbd\xef\xbf\xbd");
	check_valid(STR("\xf5\x80"), "\xef\xbf\xbd\xef\xbf\xbd");
	check_valid(STR("\xe0\x9f\x80"), "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd");
	check_valid(STR("\xf4\x90\x80\x80"), "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd");
	check_valid(STR(""), "");
}

static void
test_units(void **state)
{
	struct str s = STR("a\xc3\xa9\xf0\x9f\x98\x80z");
	bool split;

	(void)state;
	assert_int_equal(text_units(s), 5);
	assert_int_equal(text_at_unit(s, 0, &split), 0);
	assert_int_equal(text_at_unit(s, 2, &split), 3);
	assert_false(split);
	assert_int_equal(text_at_unit(s, 3, &split), 7);
	assert_true(split);
	assert_int_equal(text_at_unit(s, 4, &split), 7);
	assert_false(split);
	assert_int_equal(text_at_unit(s, 99, &split), s.n);
	assert_int_equal(text_at_char(s, 3), 7);
	assert_int_equal(text_at_char(s, 99), s.n);
}

static void
check_plain(const char *in, const char *want)
{
	AUTO(buf) struct buf b;

	buf_init(&b, 1000);
	text_put_plain(&b, str_z(in));
	assert_str(buf_str(&b), want);
}

static void
test_control_sequences(void **state)
{
	(void)state;
	check_plain("\x1b[1;31mred\x1b[0m \x1b[?25l\x1b[2 q.", "red .");
	check_plain("\x1b[ x\x1b]0;title\x07", "\x1b]0;title\x07");
	check_plain("\x1b[", "\x1b[");
	check_plain("\x1b[12", "\x1b[12");
	check_plain("\x1b[1\xc3\xa9", "\x1b[1\xc3\xa9");
	check_plain("\x1b\x1b[m", "\x1b");
	assert_str(text_chomp(STR("\na\n\n")), "\na");
	assert_str(text_chomp(STR("\n\n")), "");
}

/* ---- the end of a shell's output ---- */

#define MARK "abcdefghijklmnopqrstuvwx"

static bool
feed(struct tail *t, const char *p, size_t n, size_t *at, int *status)
{
	bool found = false;

	while (n && !found) {
		size_t room, part;
		char *to = tail_room(t, &room);
		part = n < room ? n : room;
		memcpy(to, p, part);
		found = tail_added(t, part, at, status);
		p += part;
		n -= part;
	}
	return found;
}

/* The marker is found wherever the reads cut it. */
static void
test_marker_in_pieces(void **state)
{
	static const char out[] = "some output\n" MARK "127.behind";
	struct tail t;

	(void)state;
	assert_true(tail_init(&t));
	for (size_t cut = 0; cut < strlen(out); cut++) {
		AUTO(buf) struct buf text;
		size_t at = 0;
		int status = -1;
		buf_init(&text, 1000);
		tail_begin(&t, MARK);
		bool found = feed(&t, out, cut, &at, &status);
		assert_int_equal(found, cut >= strlen("some output\n" MARK "127."));
		assert_true(found || feed(&t, out + cut, strlen(out) - cut, &at, &status));
		assert_int_equal(status, 127);
		tail_text(&t, at, 58, &text);
		assert_str(buf_str(&text), "some output");
	}
	tail_done(&t);
}

/* A trace line that shows the marker goes; what looks like a status but is none is not taken for one. */
static void
test_marker_in_a_trace(void **state)
{
	AUTO(buf) struct buf text;
	struct tail t;
	size_t at = 0;
	int status = -1;

	(void)state;
	buf_init(&text, 1000);
	assert_true(tail_init(&t));
	tail_begin(&t, MARK);
	assert_false(feed(&t, "out\n+ printf " MARK "%d. 0\nmore\n", 47, &at, &status));
	assert_true(feed(&t, MARK "0.", 26, &at, &status));
	tail_text(&t, at, 56, &text);
	assert_str(buf_str(&text), "out\nmore");
	assert_int_equal(status, 0);
	tail_done(&t);
}

/* Of much output the last 102400 characters are kept, the reference's own marker line counted in. */
static void
test_limit(void **state)
{
	enum { N = 5000000 };
	AUTO(buf) struct buf text;
	struct tail t;
	char *big = malloc(N);
	size_t at = 0;
	int status;

	(void)state;
	buf_init(&text, N);
	assert_non_null(big);
	memset(big, 'x', N);
	big[N - 1] = 'y';
	assert_true(tail_init(&t));
	tail_begin(&t, MARK);
	assert_false(feed(&t, big, N, &at, &status));
	assert_true(feed(&t, MARK "0.", 26, &at, &status));
	tail_text(&t, at, 56, &text);
	assert_true(str_starts(buf_str(&text), STR("[output truncated]\nxxxx")));
	assert_int_equal(text.n, strlen("[output truncated]\n") + 102400 - 56);
	assert_int_equal(text.p[text.n - 1], 'y');

	/* Exactly the limit is not cut. */
	buf_clear(&text);
	tail_begin(&t, MARK);
	assert_false(feed(&t, big, 102400 - 56, &at, &status));
	assert_true(feed(&t, MARK "0.", 26, &at, &status));
	tail_text(&t, at, 56, &text);
	assert_int_equal(text.n, 102400 - 56);
	tail_done(&t);
	free(big);
}

/* Between calls nothing is kept. */
static void
test_idle_output(void **state)
{
	struct tail t;
	size_t at;
	int status;

	(void)state;
	assert_true(tail_init(&t));
	tail_begin(&t, "");
	assert_false(feed(&t, "from the background", 19, &at, &status));
	assert_int_equal(t.n, 0);
	tail_begin(&t, MARK);
	assert_false(feed(&t, "abc", 3, &at, &status));
	assert_str(tail_news(&t, 2), "bc");
	assert_str(tail_news(&t, 2), "");
	tail_done(&t);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_replacement),
		cmocka_unit_test(test_units),
		cmocka_unit_test(test_control_sequences),
		cmocka_unit_test(test_marker_in_pieces),
		cmocka_unit_test(test_marker_in_a_trace),
		cmocka_unit_test(test_limit),
		cmocka_unit_test(test_idle_output),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
