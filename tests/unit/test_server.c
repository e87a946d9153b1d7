/* SPDX-License-Identifier: Apache-2.0 */
#include <malloc.h>
#include <sys/resource.h>

#include "base/id.h"
#include "server_handler.h"

/* ---- plain requests ---- */

static void
requests_are_answered_on_one_connection(void **state)
{
	struct kit *k = *state;
	AUTO(reply) struct reply a = {0};
	AUTO(reply) struct reply b = {0};
	int fd = client(k);

	put(k, fd, STR(GET("/hello")));
	get_reply(k, fd, &a, false);
	assert_int_equal(a.status, 200);
	assert_true(str_eqz(a.body, HELLO));
	assert_true(str_eqz(reply_header(&a, "content-type"), "application/json"));
	assert_null(reply_header(&a, "connection").p);
	assert_true(id_valid(reply_header(&a, "request-id"), "req"));
	put(k, fd, STR(GET("/hello")));
	get_reply(k, fd, &b, false);
	assert_false(str_eq(reply_header(&a, "request-id"), reply_header(&b, "request-id")));
	assert_int_equal(server_conns(k->s), 1);
	close(fd);
	while (server_conns(k->s))
		loop_step(k->l);
}

static void
request_ids_are_unique(void **state)
{
	struct kit *k = *state;
	static char seen[1000][ID_MAX];
	int fd = client(k);

	for (int i = 0; i < 1000; i++) {
		AUTO(reply) struct reply r = {0};

		put(k, fd, STR(GET("/hello")));
		get_reply(k, fd, &r, false);
		assert_true(id_valid(reply_header(&r, "request-id"), "req"));
		assert_true(str_copy_z(reply_header(&r, "request-id"), seen[i], ID_MAX));
		for (int j = 0; j < i; j++)
			assert_string_not_equal(seen[i], seen[j]);
	}
	close(fd);
}

static void
head_is_get_without_its_body(void **state)
{
	struct kit *k = *state;
	AUTO(reply) struct reply r = {0};
	int fd = client(k);

	put(k, fd, STR("HEAD /hello HTTP/1.1\r\nHost: x\r\n\r\n"));
	get_reply(k, fd, &r, true);
	assert_int_equal(r.status, 200);
	assert_true(str_eqz(reply_header(&r, "content-length"), "11"));
	expect(k, fd, STR(GET("/hello")), 200, HELLO);
	close(fd);
}

static void
errors_have_their_status_and_text(void **state)
{
	struct kit *k = *state;
	AUTO(reply) struct reply r = {0};
	int fd = client(k);

	expect(k, fd, STR(GET("/nowhere")), 404, NULL);
	put(k, fd, STR(GET("/conflict")));
	get_reply(k, fd, &r, false);
	assert_int_equal(r.status, 409);
	assert_true(str_eqz(reply_header(&r, "x-should-retry"), "false"));
	assert_true(str_find_str(r.body, reply_header(&r, "request-id")) < r.body.n);
	expect(k, fd, STR(GET("/none")), 204, "");
	close(fd);
}

static void
headers_are_added_but_not_injected(void **state)
{
	struct kit *k = *state;
	AUTO(reply) struct reply r = {0};
	int fd = client(k);

	put(k, fd, STR(GET("/header")));
	get_reply(k, fd, &r, false);
	assert_true(str_eqz(reply_header(&r, "x-mine"), "a b"));
	put(k, fd, STR(GET("/inject")));
	wait_close(k, fd);
	assert_int_equal(k->in.n, 0);
	close(fd);
}

static void
pipelined_requests_are_answered_in_order(void **state)
{
	struct kit *k = *state;
	int fd = client(k);

	put(k, fd,
		STR(GET("/hello") "POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc" GET(
			"/held") GET("/hello") GET("/none")));
	expect(k, fd, STR(""), 200, HELLO);
	expect(k, fd, STR(""), 200, "abc");
	while (!k->held)
		loop_step(k->l);
	turn(k, 5);
	assert_int_equal(k->requests, 3);
	server_reply_json(MOVE(k->held), 200, STR("{\"held\":1}"));
	assert_int_equal(k->requests, 3); /* the next one is not begun inside the reply */
	expect(k, fd, STR(""), 200, "{\"held\":1}");
	expect(k, fd, STR(""), 200, HELLO);
	expect(k, fd, STR(""), 204, "");
	close(fd);
}

static void
the_last_request_closes(void **state)
{
	struct kit *k = *state;
	int fd = client(k);

	expect(k, fd, STR("GET /hello HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"), 200, HELLO);
	wait_close(k, fd);
	close(fd);
	fd = client(k);
	expect(k, fd, STR("GET /hello HTTP/1.0\r\n\r\n"), 200, HELLO);
	wait_close(k, fd);
	close(fd);
}

static void
a_request_may_come_byte_by_byte(void **state)
{
	static const struct str whole =
		STR("POST /echo?a=b HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhello"
		    "POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
		    "3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n");
	struct kit *k = *state;
	int fd = client(k);

	for (size_t i = 0; i < whole.n; i++) {
		put(k, fd, str_sub(whole, i, 1));
		turn(k, 2);
	}
	expect(k, fd, STR(""), 200, "hello");
	expect(k, fd, STR(""), 200, "abcde");
	close(fd);
}

/* ---- bodies ---- */

static void
a_body_may_be_as_long_as_allowed(void **state)
{
	struct kit *k = *state;
	AUTO(reply) struct reply r = {0};
	char *text = pattern(MAX_BODY);
	int fd = client(k);

	put_post(k, fd, "/echo", MAX_BODY);
	put(k, fd, str_n(text, MAX_BODY));
	get_reply(k, fd, &r, false);
	assert_int_equal(r.status, 200);
	assert_true(str_eq(r.body, str_n(text, MAX_BODY)));
	expect(k, fd, STR(GET("/hello")), 200, HELLO);
	free(text);
	close(fd);
}

static void
a_body_over_the_limit_is_refused(void **state)
{
	struct kit *k = *state;
	char *text = pattern(MAX_BODY);
	int fd = client(k);
	AUTO(reply) struct reply r = {0};

	/* Announced: refused before a byte of it was read. */
	expect_refusal(k, STR("POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 1048577\r\n\r\n"), 413,
		"TOO_LARGE");
	/* A client that sends all of it before it reads still sees the answer. */
	put_post(k, fd, "/echo", 20 * MAX_BODY);
	for (int i = 0; i < 20; i++)
		put(k, fd, str_n(text, MAX_BODY));
	get_reply(k, fd, &r, false);
	assert_int_equal(r.status, 413);
	close(fd);
	/* Chunked: when it is too much. */
	fd = client(k);
	put(k, fd, STR("POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n100001\r\n"));
	put(k, fd, str_n(text, MAX_BODY));
	put(k, fd, STR("!"));
	expect(k, fd, STR(""), 413, NULL);
	assert_int_equal(k->requests, 0);
	free(text);
	close(fd);
}

static void
all_bodies_together_have_a_limit(void **state)
{
	struct kit *k = *state;
	AUTO(reply) struct reply r = {0};
	char *text = pattern(MAX_BODY);
	int a = client(k), b = client(k);

	put_post(k, a, "/echo", MAX_BODY);
	put(k, a, str_n(text, MAX_BODY - 1));
	turn(k, 50);
	put_post(k, b, "/echo", 100);
	put(k, b, str_n(text, 50));
	get_reply(k, b, &r, false);
	assert_int_equal(r.status, 529);
	wait_close(k, b);
	close(b);
	put(k, a, STR("!"));
	expect(k, a, STR(""), 200, NULL);
	/* There is room again. */
	b = client(k);
	put_post(k, b, "/echo", 100);
	put(k, b, str_n(text, 50));
	turn(k, 5);
	put(k, b, str_n(text, 50));
	expect(k, b, STR(""), 200, NULL);
	free(text);
	close(a);
	close(b);
}

static void
the_client_is_told_to_continue(void **state)
{
	struct kit *k = *state;
	int fd = client(k);

	expect(k, fd,
		STR("POST /echo HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n"),
		100, "");
	expect(k, fd, STR("ok"), 200, "ok");
	/* Not when the body is there already, and not when the answer is no. */
	expect(k, fd,
		STR("POST /echo HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\nok"),
		200, "ok");
	expect(k, fd,
		STR("POST /deny HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 9\r\n\r\n"),
		401, NULL);
	wait_close(k, fd);
	close(fd);
}

static void
an_answer_in_on_head_keeps_the_connection_if_it_can(void **state)
{
	struct kit *k = *state;
	int fd = client(k);

	expect(k, fd, STR(GET("/deny")), 401, NULL);
	expect(k, fd, STR("POST /deny HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc"), 401, NULL);
	expect(k, fd, STR(GET("/hello")), 200, HELLO);
	assert_int_equal(k->requests, 1);
	close(fd);
	expect_refusal(
		k, STR("POST /deny HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\na"), 401, "who are you");
}

/* ---- bad requests ---- */

static void
bad_requests_are_refused(void **state)
{
	static const struct {
		struct str in;
		int status;
		const char *part;
	} cases[] = {
		{STR("GET / HTTP/1.1\r\n\r\n"), 400, "Host"},
		{STR("GET / HTTP/2.0\r\nHost: x\r\n\r\n"), 400, "HTTP/1.1"},
		{STR("get / HTTP/1.1\r\nHost: x\r\n\r\n"), 400, "INVALID"},
		{STR("GET / HTTP/1.1\nHost: x\n\n"), 400, "INVALID"},
		{STR("GET http://x/ HTTP/1.1\r\nHost: x\r\n\r\n"), 400, "path"},
		{STR("OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n"), 400, "path"},
		{STR("CONNECT x:1 HTTP/1.1\r\nHost: x\r\n\r\n"), 400, "path"},
		{STR("GET /a/../b HTTP/1.1\r\nHost: x\r\n\r\n"), 400, "dot"},
		{STR("GET /%00 HTTP/1.1\r\nHost: x\r\n\r\n"), 400, "INVALID"},
		{STR("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nTransfer-Encoding: "
		     "chunked\r\n\r\n0\r\n\r\n"),
			400, "INVALID"},
		{STR("POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n"), 400,
			"chunk"},
		{STR("\x16\x03\x01\x02"), 400, "INVALID"},
	};
	struct kit *k = *state;

	for (size_t i = 0; i < ARRAY_LEN(cases); i++)
		expect_refusal(k, cases[i].in, cases[i].status, cases[i].part);
	assert_int_equal(k->requests, 0);
}

static void
heads_over_the_limits_are_refused(void **state)
{
	struct kit *k = *state;
	AUTO(buf) struct buf b;

	buf_init(&b, 1 * MIB);
	buf_put_z(&b, "GET /");
	for (int i = 0; i < 20000; i++)
		buf_put_c(&b, 'a');
	expect_refusal(k, buf_str(&b), 431, "line");
	buf_clear(&b);
	buf_put_z(&b, "GET / HTTP/1.1\r\nHost: x\r\n");
	for (int i = 0; i < 101; i++)
		buf_put_z(&b, "X: y\r\n");
	buf_put_z(&b, "\r\n");
	expect_refusal(k, buf_str(&b), 431, "headers");
	buf_clear(&b);
	buf_put_z(&b, "GET / HTTP/1.1\r\nHost: x\r\n");
	for (int i = 0; i < 50; i++)
		buf_printf(&b, "X: %01000d\r\n", 1);
	expect_refusal(k, buf_str(&b), 431, "HEADERS_TOO_LARGE");
}

static void
half_sent_requests_are_refused(void **state)
{
	static const char *const halves[] = {"GET / HT", "GET / HTTP/1.1\r\nHost: x\r\n",
		"POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nab",
		"POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab"};
	struct kit *k = *state;

	for (size_t i = 0; i < ARRAY_LEN(halves); i++) {
		int fd = client(k);

		put(k, fd, str_z(halves[i]));
		shutdown(fd, SHUT_WR);
		expect(k, fd, STR(""), 400, NULL);
		wait_close(k, fd);
		close(fd);
	}
	assert_int_equal(k->requests, 0);
}

static void
slow_requests_are_refused(void **state)
{
	struct kit *k = *state;
	int idle = client(k);

	expect_refusal(k, STR("GET / HTTP/1.1\r\nHo"), 408, "TIMEOUT");
	expect_refusal(k, STR("POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nab"), 400,
		"request_body_timeout");
	/* Idle connections just end. */
	wait_close(k, idle);
	assert_int_equal(k->in.n, 0);
	close(idle);
}

/* ---- many connections ---- */

static void
connections_over_the_limit_are_told(void **state)
{
	struct kit *k = *state;
	AUTO(reply) struct reply r = {0};
	int a = client(k), b = client(k), c = client(k);

	while (server_conns(k->s) < 2)
		loop_step(k->l);
	get_reply(k, c, &r, false);
	assert_int_equal(r.status, 503);
	wait_close(k, c);
	expect(k, a, STR(GET("/hello")), 200, HELLO);
	expect(k, b, STR(GET("/hello")), 200, HELLO);
	close(a);
	close(b);
	close(c);
}

static void
running_out_of_descriptors_is_survived(void **state)
{
	struct kit *k = *state;
	struct rlimit before, none;
	AUTO(reply) struct reply r = {0};
	int a = client(k), b = client(k);

	expect(k, a, STR(GET("/hello")), 200, HELLO);
	expect(k, b, STR(GET("/hello")), 200, HELLO);
	getrlimit(RLIMIT_NOFILE, &before);
	int c = client(k);

	none = (struct rlimit){(rlim_t)c + 1, before.rlim_max};
	setrlimit(RLIMIT_NOFILE, &none);
	get_reply(k, c, &r, false);
	setrlimit(RLIMIT_NOFILE, &before);
	assert_int_equal(r.status, 503);
	wait_close(k, c);
	expect(k, a, STR(GET("/hello")), 200, HELLO);
	close(a);
	close(b);
	close(c);
}

static void
idle_connections_cost_little(void **state)
{
	struct kit *k = *state;
	int fds[400];
	struct mallinfo2 before, after;

#if defined(__SANITIZE_ADDRESS__)
	print_message("skipped: the sanitizer's allocator tells nothing about memory\n");
	skip();
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
	print_message("skipped: the sanitizer's allocator tells nothing about memory\n");
	skip();
#endif
#endif
	fds[0] = client(k);
	expect(k, fds[0], STR(GET("/hello")), 200, HELLO);
	before = mallinfo2();
	for (size_t i = 1; i < ARRAY_LEN(fds); i++) {
		fds[i] = client(k);
		expect(k, fds[i], STR(GET("/hello")), 200, HELLO);
	}
	after = mallinfo2();
	size_t each = (after.uordblks - before.uordblks) / (ARRAY_LEN(fds) - 1);

	print_message("%zu bytes an idle connection\n", each);
	assert_true(each <= 512);
	for (size_t i = 0; i < ARRAY_LEN(fds); i++)
		close(fds[i]);
}

int
main(void)
{
#define T(name)      cmocka_unit_test_setup_teardown(name, setup, teardown)
#define HASTY(name)  cmocka_unit_test_setup_teardown(name, setup_hasty, teardown)
#define NARROW(name) cmocka_unit_test_setup_teardown(name, setup_narrow, teardown)
	static const struct CMUnitTest tests[] = {
		T(requests_are_answered_on_one_connection),
		T(request_ids_are_unique),
		T(head_is_get_without_its_body),
		T(errors_have_their_status_and_text),
		T(headers_are_added_but_not_injected),
		T(pipelined_requests_are_answered_in_order),
		T(the_last_request_closes),
		T(a_request_may_come_byte_by_byte),
		T(a_body_may_be_as_long_as_allowed),
		T(a_body_over_the_limit_is_refused),
		NARROW(all_bodies_together_have_a_limit),
		T(the_client_is_told_to_continue),
		T(an_answer_in_on_head_keeps_the_connection_if_it_can),
		T(bad_requests_are_refused),
		T(heads_over_the_limits_are_refused),
		T(half_sent_requests_are_refused),
		HASTY(slow_requests_are_refused),
		NARROW(connections_over_the_limit_are_told),
		T(running_out_of_descriptors_is_survived),
		T(idle_connections_cost_little),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
