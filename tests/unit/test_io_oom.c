/* SPDX-License-Identifier: Apache-2.0 */
/* Every single allocation of the server and of role calls fails once: nothing breaks, nothing leaks, and the
 * next one is served. */
#include "alloc_fail.h"
#include "server_kit.h"

#include "io/rpc.h"

#define MOST 2000 /* allocations of one scenario; more would mean that it never ends */

/* ---- server ---- */

static void
on_end(void *arg, struct server_stream *s)
{
	struct kit *k = arg;

	assert_ptr_equal(k->streams[0], s);
	k->n_streams = 0;
	k->ends++;
}

static void
on_request(void *owner, struct server_req *r)
{
	struct kit *k = owner;
	struct str path = server_req_path(r);

	k->requests++;
	if (str_eqz(path, "/stream") && k->n_streams == 0) {
		k->streams[0] = server_stream_open(r, on_end, k);
		k->n_streams = k->streams[0] != NULL;
		return;
	}
	server_req_add_header(r, "x-mine", STR("value"));
	server_reply_json(r, 200, server_req_body(r).n ? server_req_body(r) : STR("{}"));
}

static void
send_records(struct kit *k)
{
	static char zeros[4096];
	struct rc_bytes *b = rc_bytes_new(str_n(zeros, sizeof(zeros)));

	for (int i = 0; b && i < 500 && k->n_streams; i++)
		server_stream_send(k->streams[0], b, false);
	rc_bytes_unref(b);
}

/* Three connections: small requests, a body in chunks, a stream that fills its queue. */
static void
serve(struct kit *k)
{
	static const char *const requests[] = {
		"GET /a?b=c&d=e HTTP/1.1\r\nHost: x\r\n\r\nGET /b HTTP/1.1\r\nHost: x\r\n\r\nHEAD",
		"POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n",
		"GET /stream HTTP/1.1\r\nHost: x\r\n\r\n"};
	char sink[65536];
	int fds[3];

	for (size_t i = 0; i < ARRAY_LEN(requests); i++) {
		fds[i] = client(k);
		if (send(fds[i], requests[i], strlen(requests[i]), MSG_NOSIGNAL) < 0)
			assert_int_equal(errno, EPIPE);
		turn(k, 6);
	}
	if (send(fds[1], "0\r\n\r\n", 5, MSG_NOSIGNAL) < 0)
		assert_true(errno == EPIPE || errno == ECONNRESET);
	send_records(k);
	turn(k, 3);
	while (recv(fds[2], sink, sizeof(sink), MSG_DONTWAIT) > 0)
		turn(k, 1);
	for (size_t i = 0; i < ARRAY_LEN(fds); i++)
		close(fds[i]);
	turn(k, 6);
}

static void
the_server_survives(void **state)
{
	static const struct server_ops ops = {.on_request = on_request};
	static const struct server_limits lim = {0};
	struct kit k;
	unsigned n = 1;

	(void)state;
	kit_open(&k, &ops, &lim);
	for (; n < MOST; n++) {
		AUTO(reply) struct reply r = {0};

		alloc_fail_at(n);
		serve(&k);
		if (!alloc_fail_stop())
			break;
		while (server_conns(k.s))
			loop_step(k.l);
		assert_int_equal(k.n_streams, 0);
		int fd = client(&k);

		put(&k, fd, STR("GET / HTTP/1.1\r\nHost: x\r\n\r\n"));
		get_reply(&k, fd, &r, false);
		assert_int_equal(r.status, 200);
		close(fd);
	}
	print_message("%u allocations\n", n - 1);
	assert_true(n > 10 && n < MOST);
	kit_close(&k);
}

static void
making_a_server_fails_cleanly(void **state)
{
	static const struct server_ops ops = {.on_request = on_request};
	static const struct server_limits lim = {0};
	struct loop *l;
	struct err e;
	bool failed = true;

	(void)state;
	assert_int_equal(loop_new(&l, &e), 0);
	for (unsigned n = 1; failed; n++) {
		struct server *s = NULL;
		int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

		assert_int_equal(listen(fd, 1), 0);
		alloc_fail_at(n);
		int r = server_new(&s, l, fd, &ops, &lim, &e);

		failed = alloc_fail_stop();
		assert_int_equal(r, failed ? -ERR_NO_MEMORY : 0);
		server_free(s);
		assert_int_equal(fcntl(fd, F_GETFD), -1); /* taken either way */
	}
	loop_free(l);
}

/* ---- role calls ---- */

struct end {
	struct rpc_peer *p;
	unsigned n, closes;
	enum err_kind why;
};

static int
on_message(void *owner, struct rpc_peer *p, struct rpc_msg *m, struct err *e)
{
	struct end *x = owner;

	(void)p;
	(void)m;
	(void)e;
	x->n++;
	return 0;
}

static void
on_close(void *owner, struct rpc_peer *p, const struct err *why)
{
	struct end *x = owner;

	x->closes++;
	x->why = why->kind;
	rpc_peer_free(p);
	x->p = NULL;
}

static const struct rpc_permit permits[] = {
	{.type = 1, .max = 100000, .on = on_message},
	{.type = 2, .max = 100, .with_fd = true, .on = on_message},
};

static void
send_frame(struct end *x, uint16_t type, size_t n)
{
	static char zeros[100000];
	AUTO(buf) struct buf b;

	if (!x->p)
		return;
	buf_init(&b, 200000);
	struct frame_w w = frame_begin(&b, type, 0);

	frame_str(&w, str_n(zeros, n));
	frame_end(&w, type == 2 ? FRAME_FD : 0);
	if (type == 2)
		rpc_send_fd(x->p, &b, fcntl(0, F_DUPFD_CLOEXEC, 3));
	else
		rpc_send(x->p, &b);
}

/* Six frames from a to b, more than the socket takes at once. */
static void
talk(struct loop *l, struct end *a, struct end *b)
{
	send_frame(a, 1, 10);
	send_frame(a, 1, 90000);
	send_frame(a, 2, 10);
	send_frame(a, 1, 90000);
	send_frame(a, 1, 10);
	send_frame(a, 1, 10);
	for (int i = 0; i < 20; i++)
		loop_step(l);
	(void)b;
}

static void
open_end(struct end *x, struct loop *l, int fd)
{
	struct rpc_opts o = {.name = "end",
		.permits = permits,
		.n_permits = ARRAY_LEN(permits),
		.owner = x,
		.on_close = on_close};
	struct err e;

	*x = (struct end){0};
	assert_int_equal(rpc_peer_new(&x->p, l, fd, &o, &e), 0);
}

static void
role_calls_survive(void **state)
{
	struct loop *l;
	struct err e;
	bool failed = true;
	unsigned n = 1;

	(void)state;
	assert_int_equal(loop_new(&l, &e), 0);
	for (; failed && n < MOST; n++) {
		struct end a, b;
		int sv[2];

		assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sv), 0);
		open_end(&a, l, sv[0]);
		open_end(&b, l, sv[1]);
		alloc_fail_at(n);
		talk(l, &a, &b);
		failed = alloc_fail_stop();
		if (!failed)
			assert_int_equal(b.n, 6);
		else
			assert_true(b.n < 6 && a.closes + b.closes > 0);
		assert_true(a.closes <= 1 && b.closes <= 1);
		rpc_peer_free(a.p);
		rpc_peer_free(b.p);
	}
	print_message("%u allocations\n", n - 2);
	assert_true(n > 5 && n < MOST);
	loop_free(l);
}

int
main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_server_survives),
		cmocka_unit_test(making_a_server_fails_cleanly),
		cmocka_unit_test(role_calls_survive),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
