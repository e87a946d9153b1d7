/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "io/sse.h"

static void
records_are_written(void **state)
{
	AUTO(buf) struct buf b;

	(void)state;
	buf_init(&b, 4096);
	sse_put(&b, STR("sevt_1"), STR("user.message"), STR("{\"a\":1}"));
	sse_put(&b, STR_NULL, STR("ping"), STR("{}"));
	sse_put(&b, STR_NULL, STR_NULL, STR("x"));
	sse_put(&b, STR_NULL, STR("n"), STR("{\n}"));
	assert_true(str_eqz(buf_str(&b), "id: sevt_1\nevent: user.message\ndata: {\"a\":1}\n\n"
					 "event: ping\ndata: {}\n\n"
					 "data: x\n\n"
					 "event: n\ndata: {\ndata: }\n\n"));
}

static int
on_event(void *arg, const struct sse_event *ev, struct err *e)
{
	struct buf *b = arg;

	if (str_eqz(ev->data, "stop"))
		return err_set(e, ERR_FORBIDDEN, "stop");
	buf_printf(b, "[%.*s|%.*s]", STRF(ev->name), STRF(ev->data));
	return 0;
}

struct case_ {
	struct str in;
	const char *want;
};

static const struct case_ cases[] = {
	{STR("data: a\n\n"), "[|a]"},
	{STR("event: n\ndata: a\n\n"), "[n|a]"},
	{STR("event: n\r\ndata: a\r\n\r\n"), "[n|a]"},
	{STR("event: n\rdata: a\r\r"), "[n|a]"},
	{STR("data: a\r\ndata: b\n\r\n"), "[|a\nb]"},
	{STR("data:a\n\n"), "[|a]"},
	{STR("data:  a\n\n"), "[| a]"},
	{STR("data\n\n"), "[|]"},
	{STR("data:\ndata:\n\n"), "[|\n]"},
	{STR(": comment\ndata: a\n\n"), "[|a]"},
	{STR("event: lost\n\ndata: a\n\n"), "[|a]"},
	{STR("id: 1\nretry: 5\ndata: a\nother: x\n\n"), "[|a]"},
	{STR("event: a\nevent: b\ndata: c\n\n"), "[b|c]"},
	{STR("event: a\nevent\ndata: c\n\n"), "[|c]"},
	{STR("data: a\n\ndata: b\n\n\n\n"), "[|a][|b]"},
	{STR("data: cut off"), ""},
	{STR("data: cut off\n"), ""},
	{STR("\xef\xbb\xbf"
	     "data: a\n\n"),
		"[|a]"},
	{STR("\xef\xbb\xbf\xef\xbb\xbf"
	     "data: a\n\n"),
		""},
	{STR("\xef\xbb"
	     "data: a\n\ndata: b\n\n"),
		"[|b]"},
	{STR("\n\ndata: a\n\n"), "[|a]"},
	{STR("Data: a\n\n"), ""},
	{STR("data : a\n\n"), ""},
	{STR("data: a:b: c\n\n"), "[|a:b: c]"},
};

static void
streams_are_read_in_any_pieces(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++)
		for (size_t step = 1; step <= cases[i].in.n; step++) {
			AUTO(buf) struct buf out;
			struct sse_reader r;
			struct err e;

			buf_init(&out, 4096);
			sse_init(&r, 1000);
			for (size_t at = 0; at < cases[i].in.n; at += step) {
				struct str piece = str_sub(cases[i].in, at, step);
				char *copy = malloc(piece.n);

				memcpy(copy, piece.p, piece.n);
				assert_int_equal(sse_feed(&r, str_n(copy, piece.n), on_event, &out, &e), 0);
				free(copy);
			}
			if (!str_eqz(buf_str(&out), cases[i].want))
				fail_msg("case %zu by %zu: %.*s, expected %s", i, step, STRF(buf_str(&out)),
					cases[i].want);
			sse_done(&r);
		}
}

static void
what_was_written_is_read(void **state)
{
	AUTO(buf) struct buf b;
	AUTO(buf) struct buf out;
	struct sse_reader r;
	struct err e;

	(void)state;
	buf_init(&b, 4096);
	buf_init(&out, 4096);
	sse_put(&b, STR("1"), STR("a"), STR("{\"x\":\n2}"));
	sse_put(&b, STR_NULL, STR("b"), STR(""));
	sse_init(&r, 1000);
	assert_int_equal(sse_feed(&r, buf_str(&b), on_event, &out, &e), 0);
	assert_true(str_eqz(buf_str(&out), "[a|{\"x\":\n2}][b|]"));
	sse_done(&r);
}

static int
feed_z(struct sse_reader *r, const char *z, struct err *e)
{
	AUTO(buf) struct buf out;

	buf_init(&out, 4096);
	return sse_feed(r, str_z(z), on_event, &out, e);
}

static void
records_have_a_ceiling(void **state)
{
	struct sse_reader r;
	struct err e;

	(void)state;
	sse_init(&r, 16);
	assert_int_equal(feed_z(&r, "data: 0123456789", &e), 0);
	assert_int_equal(feed_z(&r, "0123456789", &e), -ERR_TOO_LARGE);
	sse_done(&r);
	sse_init(&r, 16);
	assert_int_equal(feed_z(&r, "data: 01234567\ndata: 0123456\n", &e), 0);
	assert_int_equal(feed_z(&r, "data: 0\n", &e), -ERR_TOO_LARGE);
	sse_done(&r);
}

static void
the_reader_of_events_may_stop(void **state)
{
	struct sse_reader r;
	struct err e;

	(void)state;
	sse_init(&r, 100);
	assert_int_equal(feed_z(&r, "data: stop\n\ndata: a\n\n", &e), -ERR_FORBIDDEN);
	sse_done(&r);
}

int
main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(records_are_written),
		cmocka_unit_test(streams_are_read_in_any_pieces),
		cmocka_unit_test(what_was_written_is_read),
		cmocka_unit_test(records_have_a_ceiling),
		cmocka_unit_test(the_reader_of_events_may_stop),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
