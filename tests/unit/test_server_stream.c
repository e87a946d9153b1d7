/* SPDX-License-Identifier: Apache-2.0 */
/* Event streams. */
#include "server_kit.h"

#include <malloc.h>

#define GET(path) "GET " path " HTTP/1.1\r\nHost: x\r\n\r\n"

static void
on_end(void *arg, struct server_stream *s)
{
	struct kit *k = arg;

	for (unsigned i = 0; i < k->n_streams; i++)
		if (k->streams[i] == s) {
			k->streams[i] = k->streams[--k->n_streams];
			k->ends++;
			return;
		}
	fail_msg("on_end of a stream that is not open");
}

/* When one stream ends, the others are told and closed: from inside on_end. */
static void
on_end_closes_all(void *arg, struct server_stream *s)
{
	struct kit *k = arg;
	struct rc_bytes *b = rc_bytes_new(STR("one left"));

	on_end(arg, s);
	for (unsigned i = 0; i < k->n_streams; i++) {
		server_stream_send(k->streams[i], b, false);
		server_stream_close(k->streams[i]);
	}
	rc_bytes_unref(b);
}

static void
on_request(void *owner, struct server_req *r)
{
	struct kit *k = owner;
	bool all = str_eqz(server_req_path(r), "/all");

	k->requests++;
	if (str_eqz(server_req_path(r), "/held")) {
		k->held = r;
		return;
	}
	server_req_add_header(r, "x-mine", STR("yes"));
	struct server_stream *s = server_stream_open(r, all ? on_end_closes_all : on_end, k);

	if (s) {
		assert_true(k->n_streams < ARRAY_LEN(k->streams));
		k->streams[k->n_streams++] = s;
	}
}

static const struct server_ops ops = {.on_request = on_request};

static struct kit *
open_with(const struct server_limits *lim)
{
	struct kit *k = calloc(1, sizeof(*k));

	assert_non_null(k);
	kit_open(k, &ops, lim);
	return k;
}

static int
setup(void **state)
{
	static const struct server_limits lim = {0};

	*state = open_with(&lim);
	return 0;
}

static int
setup_hasty(void **state)
{
	static const struct server_limits lim = {
		.idle_ms = 250, .head_ms = 250, .body_ms = 250, .write_ms = 250};

	*state = open_with(&lim);
	return 0;
}

static int
teardown(void **state)
{
	struct kit *k = *state;

	kit_close(k);
	free(k);
	return 0;
}

/* Opens a stream and waits for its head, which is taken off k->in. */
static int
open_stream(struct kit *k, const char *request)
{
	unsigned before = k->n_streams;
	int fd = client(k);

	put(k, fd, str_z(request));
	while (k->n_streams == before || str_find_str(buf_str(&k->in), STR("\r\n\r\n")) == k->in.n) {
		loop_step(k->l);
		take(k, fd);
	}
	assert_true(str_starts(buf_str(&k->in), STR("HTTP/1.1 200 OK\r\n")));
	assert_true(str_find_str(buf_str(&k->in), STR("x-mine: yes\r\n")) < k->in.n);
	assert_true(str_find_str(buf_str(&k->in), STR("content-type: text/event-stream\r\n")) < k->in.n);
	buf_drop(&k->in, str_find_str(buf_str(&k->in), STR("\r\n\r\n")) + 4);
	return fd;
}

static bool
send_text(struct server_stream *s, struct str text, bool droppable)
{
	struct rc_bytes *b = rc_bytes_new(text);
	bool sent = server_stream_send(s, b, droppable);

	rc_bytes_unref(b);
	return sent;
}

/* Waits for exactly these bytes. */
static void
expect_bytes(struct kit *k, int fd, const char *want)
{
	uint64_t end = clock_mono_us() + PATIENCE_US;

	while (k->in.n < strlen(want) && clock_mono_us() < end) {
		loop_step(k->l);
		take(k, fd);
	}
	if (!str_eqz(buf_str(&k->in), want))
		fail_msg("%.*s", STRF(buf_str(&k->in)));
	buf_clear(&k->in);
}

static void
records_arrive_as_chunks(void **state)
{
	struct kit *k = *state;
	int fd = open_stream(k, GET("/"));

	assert_true(send_text(k->streams[0], STR("event: a\ndata: 1\n\n"), false));
	expect_bytes(k, fd, "12\r\nevent: a\ndata: 1\n\n\r\n");
	assert_true(send_text(k->streams[0], STR("x"), true));
	assert_true(send_text(k->streams[0], STR("yy"), true));
	assert_true(send_text(k->streams[0], STR(""), true)); /* must not end the stream */
	assert_true(send_text(k->streams[0], STR("zzz"), true));
	expect_bytes(k, fd, "1\r\nx\r\n2\r\nyy\r\n3\r\nzzz\r\n");
	assert_int_equal(server_stream_queued(k->streams[0]), 0);
	server_stream_close(k->streams[0]);
	assert_int_equal(k->ends, 0); /* not from inside the call */
	assert_false(send_text(k->streams[0], STR("late"), false));
	wait_close(k, fd);
	expect_bytes(k, fd, "0\r\n\r\n");
	assert_int_equal(k->ends, 1);
	close(fd);
}

static void
the_first_record_of_a_round_leaves_at_once(void **state)
{
	struct kit *k = *state;
	int fd = open_stream(k, GET("/"));

	loop_step(k->l);
	send_text(k->streams[0], STR("now"), false);
	assert_true(take(k, fd) > 0); /* the loop did not turn */
	send_text(k->streams[0], STR("then"), false);
	assert_true(take(k, fd) < 0);
	expect_bytes(k, fd, "3\r\nnow\r\n4\r\nthen\r\n");
	close(fd);
}

static void
old_clients_get_no_chunks(void **state)
{
	struct kit *k = *state;
	int fd = open_stream(k, "GET / HTTP/1.0\r\n\r\n");

	send_text(k->streams[0], STR("data: 1\n\n"), false);
	expect_bytes(k, fd, "data: 1\n\n");
	server_stream_close(k->streams[0]);
	wait_close(k, fd);
	assert_int_equal(k->in.n, 0);
	close(fd);
}

static void
head_gets_no_stream(void **state)
{
	struct kit *k = *state;
	AUTO(reply) struct reply r = {0};
	int fd = client(k);

	put(k, fd, STR("HEAD / HTTP/1.1\r\nHost: x\r\n\r\n"));
	get_reply(k, fd, &r, true);
	assert_int_equal(r.status, 200);
	wait_close(k, fd);
	assert_int_equal(k->n_streams, 0);
	close(fd);
}

static void
a_stream_may_open_later_or_not_at_all(void **state)
{
	struct kit *k = *state;
	int fd = client(k);

	put(k, fd, STR(GET("/held")));
	while (!k->held)
		loop_step(k->l);
	struct server_stream *s = server_stream_open(MOVE(k->held), on_end, k);

	assert_non_null(s);
	k->streams[k->n_streams++] = s;
	send_text(s, STR("x"), false);
	while (str_find_str(buf_str(&k->in), STR("1\r\nx\r\n")) == k->in.n)
		take(k, fd);
	close(fd);
	while (server_conns(k->s))
		loop_step(k->l);
	assert_int_equal(k->ends, 1);
	/* The client is gone before there is an answer. */
	fd = client(k);
	put(k, fd, STR(GET("/held")));
	while (!k->held)
		loop_step(k->l);
	shutdown(fd, SHUT_RDWR);
	while (!server_req_gone(k->held))
		loop_step(k->l);
	assert_null(server_stream_open(MOVE(k->held), on_end, k));
	assert_int_equal(k->ends, 1);
	close(fd);
}

static void
a_client_that_leaves_ends_its_stream(void **state)
{
	struct kit *k = *state;
	int a = open_stream(k, GET("/")), b = open_stream(k, GET("/"));
	struct linger hard = {1, 0};

	close(a);
	while (!k->ends)
		loop_step(k->l);
	assert_int_equal(k->n_streams, 1);
	setsockopt(b, SOL_SOCKET, SO_LINGER, &hard, sizeof(hard));
	close(b);
	while (k->ends < 2)
		loop_step(k->l);
	assert_int_equal(server_conns(k->s), 0);
}

static void
what_a_client_says_on_a_stream_is_ignored(void **state)
{
	struct kit *k = *state;
	int fd = open_stream(k, GET("/"));
	char noise[4096];

	memset(noise, 'n', sizeof(noise));
	for (int i = 0; i < 100; i++)
		put(k, fd, str_n(noise, sizeof(noise)));
	send_text(k->streams[0], STR("x"), false);
	expect_bytes(k, fd, "1\r\nx\r\n");
	close(fd);
}

/* Fills the socket and the queue up to more than `bytes`. */
static void
fill(struct kit *k, size_t bytes)
{
	char *text = calloc(1, 64 * KIB);

	while (k->n_streams && server_stream_queued(k->streams[0]) <= bytes) {
		if (!send_text(k->streams[0], str_n(text, 64 * KIB), false))
			break;
		loop_step(k->l);
	}
	free(text);
}

static void
slow_readers_lose_previews_first(void **state)
{
	struct kit *k = *state;
	int fd = open_stream(k, GET("/"));
	struct http_head h = {.body = HTTP_BODY_CHUNKED};
	struct http_body_reader r;
	size_t at = 0, content = 0;

	fill(k, LIM_STREAM_QUEUE);
	size_t queued = server_stream_queued(k->streams[0]);

	assert_false(send_text(k->streams[0], STR("preview"), true));
	assert_int_equal(server_stream_queued(k->streams[0]), queued);
	assert_true(send_text(k->streams[0], STR("event"), false));
	assert_true(server_stream_queued(k->streams[0]) == queued + 5);
	server_stream_close(k->streams[0]);
	wait_close(k, fd);
	assert_int_equal(k->ends, 1);
	/* Everything that was queued arrives, in well-formed chunks. */
	http_body_init(&r, &h);
	while (!r.done) {
		struct str piece;
		size_t used;
		struct err e;

		assert_int_equal(
			http_body_feed(&r, str_sub(buf_str(&k->in), at, k->in.n), &used, &piece, &e), 0);
		assert_true(used > 0);
		content += piece.n;
		at += used;
	}
	assert_int_equal(at, k->in.n);
	assert_int_equal(content % (64 * KIB), 5);
	assert_true(content >= queued);
	close(fd);
}

static void
readers_that_stop_are_closed(void **state)
{
	struct kit *k = *state;
	int fd = open_stream(k, GET("/"));
	struct server_stream *s = k->streams[0];

	fill(k, LIM_STREAM_CLOSE);
	assert_int_equal(k->ends, 0);
	assert_false(send_text(s, STR("one more"), false));
	assert_int_equal(k->ends, 0); /* not from inside the call */
	assert_false(send_text(s, STR("another"), false));
	while (!k->ends)
		loop_step(k->l);
	assert_int_equal(k->ends, 1);
	assert_int_equal(server_conns(k->s), 0);
	close(fd);
}

static void
a_large_record_alone_is_no_slowness(void **state)
{
	struct kit *k = *state;
	int fd = open_stream(k, GET("/"));
	size_t n = 3 * LIM_STREAM_CLOSE;
	char *text = calloc(1, n);

	assert_true(send_text(k->streams[0], str_n(text, n), false));
	while (k->in.n < n)
		if (take(k, fd) < 0)
			loop_step(k->l);
	assert_int_equal(k->ends, 0);
	free(text);
	close(fd);
}

static void
readers_without_progress_time_out(void **state)
{
	struct kit *k = *state;
	int idle = open_stream(k, GET("/"));
	int fd = open_stream(k, GET("/"));
	struct server_stream *first = k->streams[0];

	/* Only the stream with something queued. */
	k->streams[0] = k->streams[1];
	k->streams[1] = first;
	fill(k, 256 * KIB);
	while (!k->ends)
		loop_step(k->l);
	assert_int_equal(k->n_streams, 1);
	assert_ptr_equal(k->streams[0], first);
	assert_true(send_text(first, STR("x"), false));
	expect_bytes(k, idle, "1\r\nx\r\n");
	close(idle);
	close(fd);
}

static void
a_cut_stream_has_no_end(void **state)
{
	struct kit *k = *state;
	int fd = open_stream(k, GET("/"));

	send_text(k->streams[0], STR("half"), false);
	loop_step(k->l);
	server_stream_cut(k->streams[0]);
	assert_int_equal(k->ends, 0);
	wait_close(k, fd);
	expect_bytes(k, fd, "4\r\nhalf\r\n");
	assert_int_equal(k->ends, 1);
	close(fd);
}

static void
streams_may_end_each_other(void **state)
{
	struct kit *k = *state;
	int fds[10];

	for (size_t i = 0; i < ARRAY_LEN(fds); i++)
		fds[i] = open_stream(k, GET("/all"));
	close(fds[3]);
	while (k->ends < ARRAY_LEN(fds))
		loop_step(k->l);
	assert_int_equal(server_conns(k->s), 0);
	for (size_t i = 0; i < ARRAY_LEN(fds); i++)
		if (i != 3)
			close(fds[i]);
}

static void
one_record_reaches_many(void **state)
{
	struct kit *k = *state;
	struct rc_bytes *b = rc_bytes_new(STR("shared"));
	int fds[50];

	for (size_t i = 0; i < ARRAY_LEN(fds); i++)
		fds[i] = open_stream(k, GET("/"));
	for (size_t i = 0; i < ARRAY_LEN(fds); i++)
		assert_true(server_stream_send(k->streams[i], b, false));
	for (size_t i = 0; i < ARRAY_LEN(fds); i++) {
		expect_bytes(k, fds[i], "6\r\nshared\r\n");
		close(fds[i]);
	}
	assert_int_equal(b->refs, 1); /* no stream keeps what it sent */
	rc_bytes_unref(b);
}

static void
freeing_the_server_ends_all_streams(void **state)
{
	struct kit *k = *state;
	int fds[5];

	for (size_t i = 0; i < ARRAY_LEN(fds); i++)
		fds[i] = open_stream(k, GET("/all"));
	send_text(k->streams[0], STR("queued"), false);
	send_text(k->streams[0], STR("queued"), false);
	server_free(MOVE(k->s));
	assert_int_equal(k->ends, ARRAY_LEN(fds));
	for (size_t i = 0; i < ARRAY_LEN(fds); i++)
		close(fds[i]);
}

int
main(void)
{
#define T(name)     cmocka_unit_test_setup_teardown(name, setup, teardown)
#define HASTY(name) cmocka_unit_test_setup_teardown(name, setup_hasty, teardown)
	static const struct CMUnitTest tests[] = {
		T(records_arrive_as_chunks),
		T(the_first_record_of_a_round_leaves_at_once),
		T(old_clients_get_no_chunks),
		T(head_gets_no_stream),
		T(a_stream_may_open_later_or_not_at_all),
		T(a_client_that_leaves_ends_its_stream),
		T(what_a_client_says_on_a_stream_is_ignored),
		T(slow_readers_lose_previews_first),
		T(readers_that_stop_are_closed),
		T(a_large_record_alone_is_no_slowness),
		HASTY(readers_without_progress_time_out),
		T(a_cut_stream_has_no_end),
		T(streams_may_end_each_other),
		T(one_record_reaches_many),
		T(freeing_the_server_ends_all_streams),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
