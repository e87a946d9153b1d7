/* SPDX-License-Identifier: Apache-2.0 */
/* Requests whose client leaves, bodies in pieces, answers longer than the socket takes. */
#include <sys/mman.h>

#include "server_handler.h"

/* ---- clients that vanish ---- */

static bool
is_held(struct kit *k)
{
	return k->held != NULL;
}

static bool
was_gone(struct kit *k)
{
	return k->gones > 0;
}

static void
reset(int fd)
{
	struct linger hard = {1, 0};

	setsockopt(fd, SOL_SOCKET, SO_LINGER, &hard, sizeof(hard));
	close(fd);
}

static void
a_client_that_leaves_is_noticed(void **state)
{
	struct kit *k = *state;
	int fd = client(k);

	put(k, fd, STR(GET("/held")));
	turn_until(k, -1, is_held);
	reset(fd);
	turn_until(k, -1, was_gone);
	assert_int_equal(k->gones, 1);
	server_reply_json(MOVE(k->held), 200, STR(HELLO)); /* no-op that releases */
	assert_int_equal(server_conns(k->s), 0);
}

static void
a_client_that_leaves_behind_pipelined_requests_is_noticed(void **state)
{
	struct kit *k = *state;
	int fd = client(k);

	put(k, fd, STR(GET("/held")));
	turn_until(k, -1, is_held);
	put(k, fd, STR(GET("/hello")));
	turn(k, 5);
	assert_int_equal(k->gones, 0);
	close(fd);
	turn_until(k, -1, was_gone);
	server_reply_json(MOVE(k->held), 200, STR(HELLO));
	while (server_conns(k->s))
		loop_step(k->l);
	assert_int_equal(k->gones, 1);
}

static void
a_client_that_only_stops_sending_gets_its_answer(void **state)
{
	struct kit *k = *state;
	int fd = client(k);

	put(k, fd, STR(GET("/held")));
	shutdown(fd, SHUT_WR);
	turn_until(k, -1, was_gone);
	server_reply_json(MOVE(k->held), 200, STR(HELLO));
	expect(k, fd, STR(""), 200, HELLO);
	wait_close(k, fd);
	close(fd);
}

static void
a_client_that_leaves_within_its_body_is_noticed(void **state)
{
	struct kit *k = *state;
	int fd = client(k);

	put_post(k, fd, "/watched", 100);
	put(k, fd, STR("part"));
	turn(k, 5);
	reset(fd);
	while (server_conns(k->s))
		loop_step(k->l);
	assert_int_equal(k->gones, 1);
	assert_int_equal(k->requests, 0);
}

static void
requests_survive_their_server(void **state)
{
	struct kit *k = *state;
	int fd = client(k);

	put(k, fd, STR(GET("/held")));
	turn_until(k, -1, is_held);
	server_free(MOVE(k->s));
	assert_int_equal(k->gones, 1);
	server_reply_json(MOVE(k->held), 200, STR(HELLO));
	close(fd);
}

/* ---- bodies in pieces ---- */

static void
uploads_come_in_pieces(void **state)
{
	struct kit *k = *state;
	char *text = pattern(3 * MIB);
	int fd = client(k);

	put_post(k, fd, "/upload", 3 * MIB); /* over max_body, which does not count here */
	put(k, fd, str_n(text, 3 * MIB));
	expect(k, fd, STR(""), 201, "{}");
	assert_true(k->pieces > 10);
	assert_true(str_eq(buf_str(&k->body), str_n(text, 3 * MIB)));
	assert_int_equal(k->piece_fails, 0);
	free(text);
	close(fd);
}

static bool
is_paused(struct kit *k)
{
	return k->paused != NULL;
}

static void
uploads_can_be_paused(void **state)
{
	struct kit *k = *state;
	int fd = client(k);

	k->pause_pieces = true;
	put(k, fd,
		STR("POST /upload HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: "
		    "chunked\r\n\r\n1\r\na\r\n1\r\nb\r\n"));
	turn_until(k, -1, is_paused);
	turn(k, 10);
	assert_true(str_eqz(buf_str(&k->body), "a"));
	server_req_pause_body(MOVE(k->paused), false);
	assert_true(str_eqz(buf_str(&k->body), "a")); /* not from inside the call */
	turn_until(k, -1, is_paused);
	assert_true(str_eqz(buf_str(&k->body), "ab"));
	k->pause_pieces = false;
	server_req_pause_body(k->paused, false);
	expect(k, fd, STR("0\r\n\r\n"), 201, "{}");
	close(fd);
}

static void
failed_uploads_are_told(void **state)
{
	struct kit *k = *state;
	int fd;

	expect_refusal(k, STR("POST /upload HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999\r\n\r\nabc"), 413,
		"TOO_LARGE");
	assert_int_equal(k->piece_error.kind, ERR_TOO_LARGE);
	expect_refusal(k,
		STR("POST /upload HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabcX\r\n"),
		400, "chunk");
	assert_int_equal(k->piece_error.kind, ERR_INVALID);
	fd = client(k);
	put_post(k, fd, "/upload", 10);
	put(k, fd, STR("abc"));
	turn(k, 5);
	reset(fd);
	while (server_conns(k->s))
		loop_step(k->l);
	assert_int_equal(k->piece_error.kind, ERR_IO);
	assert_int_equal(k->piece_fails, 3);
	/* The handler's own error is not told to it. */
	expect_refusal(k, STR("POST /upload HTTP/1.1\r\nHost: x\r\nContent-Length: 99\r\n\r\npoison"), 409,
		"poisoned");
	assert_int_equal(k->piece_fails, 3);
	assert_int_equal(k->requests, 0);
}

/* ---- long answers ---- */

static void
slow_readers_get_everything(void **state)
{
	static const char *const paths[] = {GET("/large"), GET("/bytes"), GET("/file")};
	struct kit *k = *state;
	char *text = pattern(FILE_BYTES);

	buf_put(&k->body, text, FILE_BYTES);
	k->file = memfd_create("file", MFD_CLOEXEC);
	assert_int_equal(write(k->file, text, FILE_BYTES), FILE_BYTES);
	for (size_t i = 0; i < ARRAY_LEN(paths); i++) {
		AUTO(reply) struct reply r = {0};
		int fd = client(k);

		put(k, fd, str_z(paths[i]));
		turn(k, 50); /* the socket is full now */
		get_reply(k, fd, &r, false);
		assert_int_equal(r.status, 200);
		assert_true(str_eq(r.body, str_n(text, FILE_BYTES)));
		expect(k, fd, STR(GET("/hello")), 200, HELLO);
		close(fd);
	}
	free(text);
}

static void
a_file_that_shrank_cuts_the_answer(void **state)
{
	struct kit *k = *state;
	int fd = client(k);

	k->file = memfd_create("file", MFD_CLOEXEC);
	assert_int_equal(ftruncate(k->file, FILE_BYTES), 0);
	put(k, fd, STR(GET("/short")));
	wait_close(k, fd);
	assert_true(k->in.n >= FILE_BYTES && k->in.n < FILE_BYTES + 1000);
	close(fd);
}

static bool
no_conns(struct kit *k)
{
	return server_conns(k->s) == 0;
}

static void
a_reader_that_stops_is_closed(void **state)
{
	struct kit *k = *state;
	char *text = pattern(FILE_BYTES);
	int fd = client(k);

	buf_put(&k->body, text, FILE_BYTES);
	put(k, fd, STR(GET("/bytes")));
	turn_until(k, -1, no_conns);
	free(text);
	close(fd);
}

int
main(void)
{
#define T(name)     cmocka_unit_test_setup_teardown(name, setup, teardown)
#define HASTY(name) cmocka_unit_test_setup_teardown(name, setup_hasty, teardown)
	static const struct CMUnitTest tests[] = {
		T(a_client_that_leaves_is_noticed),
		T(a_client_that_leaves_behind_pipelined_requests_is_noticed),
		T(a_client_that_only_stops_sending_gets_its_answer),
		T(a_client_that_leaves_within_its_body_is_noticed),
		T(requests_survive_their_server),
		T(uploads_come_in_pieces),
		T(uploads_can_be_paused),
		T(failed_uploads_are_told),
		T(slow_readers_get_everything),
		T(a_file_that_shrank_cuts_the_answer),
		HASTY(a_reader_that_stops_is_closed),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
