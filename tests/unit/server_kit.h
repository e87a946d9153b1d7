/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A server and its raw clients on one loop, for test_server.c and test_server_stream.c. The clients' sockets
 * are not on the loop: a test writes bytes, turns the loop until what it waits for is there, and looks at the
 * bytes that came back.
 */
#pragma once

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/clock.h"
#include "base/limits.h"
#include "io/server.h"

#define PATIENCE_US (20 * 1000000ull)

struct kit {
	struct loop *l;
	struct server *s;
	struct sockaddr_in addr;
	struct buf in; /* what the client at hand received and was not yet looked at */

	unsigned heads, requests, gones, piece_fails;
	struct server_req *held;
	struct buf body;
	struct err piece_error;
	unsigned pieces;
	bool pause_pieces;
	struct server_req *paused;
	int file;
	struct server_stream *streams[64];
	unsigned n_streams, ends;
};

static inline void
kit_error_body(void *owner, struct buf *out, const struct err *e, struct str id)
{
	(void)owner;
	buf_printf(out, "{\"kind\":\"%s\",\"code\":\"%s\",\"message\":\"%s\",\"id\":\"%.*s\"}",
		err_kind_name(e->kind), e->code ? e->code : "", e->msg, STRF(id));
}

static inline void
kit_open(struct kit *k, const struct server_ops *ops, const struct server_limits *lim)
{
	socklen_t n = sizeof(k->addr);
	struct server_ops o = *ops;
	struct err e;

	*k = (struct kit){.file = -1};
	o.owner = k;
	if (!o.error_body)
		o.error_body = kit_error_body;
	buf_init(&k->in, 256 * MIB);
	buf_init(&k->body, 256 * MIB);
	k->addr = (struct sockaddr_in){.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	assert_int_equal(bind(fd, (struct sockaddr *)(void *)&k->addr, n), 0);
	assert_int_equal(listen(fd, 512), 0);
	assert_int_equal(getsockname(fd, (struct sockaddr *)(void *)&k->addr, &n), 0);
	assert_int_equal(loop_new(&k->l, &e), 0);
	assert_int_equal(server_new(&k->s, k->l, fd, &o, lim, &e), 0);
}

static inline void
kit_close(struct kit *k)
{
	server_free(k->s);
	loop_free(k->l);
	buf_done(&k->in);
	buf_done(&k->body);
	fd_close(k->file);
}

static inline int
client(struct kit *k)
{
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	assert_true(fd >= 0);
	assert_int_equal(connect(fd, (struct sockaddr *)(void *)&k->addr, sizeof(k->addr)), 0);
	return fd;
}

/* Reads what is there into k->in: >0, 0 at the end (or a reset), -1 when there is nothing now. */
static inline ssize_t
take(struct kit *k, int fd)
{
	char *to = buf_reserve(&k->in, 64 * KIB);
	ssize_t n = recv(fd, to, 64 * KIB, MSG_DONTWAIT);

	if (n > 0)
		k->in.n += (size_t)n;
	return n < 0 && errno != EAGAIN ? 0 : n;
}

/* Turns the loop until `done`, or fails the test. The client's bytes are read meanwhile (fd < 0: none). */
static inline void
turn_until(struct kit *k, int fd, bool (*done)(struct kit *k))
{
	uint64_t end = clock_mono_us() + PATIENCE_US;
	struct pollfd p = {.fd = fd, .events = POLLIN};

	while (!done(k)) {
		loop_step(k->l);
		if (fd < 0 || take(k, fd) < 0)
			poll(&p, fd >= 0, 1);
		if (clock_mono_us() > end)
			fail_msg("nothing happens; received: %.*s", STRF(buf_str(&k->in)));
	}
}

static inline void
turn(struct kit *k, int times)
{
	while (times--)
		loop_step(k->l);
}

/* Writes all of it, turning the loop while the socket is full. */
static inline void
put(struct kit *k, int fd, struct str s)
{
	while (s.n) {
		ssize_t n = send(fd, s.p, s.n, MSG_NOSIGNAL | MSG_DONTWAIT);

		if (n > 0)
			s = str_sub(s, (size_t)n, s.n);
		else
			assert_int_equal(errno, EAGAIN);
		loop_step(k->l);
	}
}

struct reply {
	int status;
	struct http_head h;
	struct str head, body; /* text, within storage */
	struct buf storage;
};

/* Cuts one response off k->in: 1 whole, 0 not yet there. `head_only`: it answers HEAD. */
static inline int
cut_reply(struct kit *k, struct reply *r, bool head_only, bool ended)
{
	static const struct http_limits lim = {LIM_HTTP_LINE, LIM_HTTP_HEAD, LIM_HTTP_HEADERS};
	struct http_body_reader b;
	struct str content;
	size_t head = 0, used = 0;
	struct err e;
	int rc = http_parse_response(buf_str(&k->in), &lim, &r->h, &head, &e);

	if (rc < 0)
		fail_msg("the server answers %s: %.*s", e.msg, STRF(buf_str(&k->in)));
	if (rc == 0)
		return 0;
	if (head_only)
		r->h.body = HTTP_BODY_NONE;
	http_body_init(&b, &r->h);
	size_t at = head;

	buf_clear(&r->storage);
	while (!b.done && at < k->in.n) {
		assert_int_equal(
			http_body_feed(&b, str_sub(buf_str(&k->in), at, k->in.n), &used, &content, &e), 0);
		buf_put_str(&r->storage, content);
		at += used;
	}
	if (!b.done && !(ended && r->h.body == HTTP_BODY_UNTIL_CLOSE))
		return 0;
	size_t body = r->storage.n;

	buf_put(&r->storage, k->in.p, head);
	r->status = r->h.status;
	r->body = str_n(r->storage.p, body);
	r->head = str_n(r->storage.p + body, head);
	buf_drop(&k->in, at);
	return 1;
}

#define reply_done(r) buf_done(&(r)->storage)
DEFINE_AUTO_DONE(reply, struct reply, reply_done);

/* Waits for one response. */
static inline void
get_reply(struct kit *k, int fd, struct reply *r, bool head_only)
{
	uint64_t end = clock_mono_us() + PATIENCE_US;
	struct pollfd p = {.fd = fd, .events = POLLIN};
	bool ended = false;

	buf_init(&r->storage, 256 * MIB);
	while (!cut_reply(k, r, head_only, ended)) {
		if (ended || clock_mono_us() > end)
			fail_msg("no answer%s: %.*s", ended ? " before the end" : "", STRF(buf_str(&k->in)));
		loop_step(k->l);
		ssize_t n = take(k, fd);

		ended = n == 0;
		if (n < 0)
			poll(&p, 1, 1);
	}
}

/* Waits until the server closes; what comes before stays in k->in. */
static inline void
wait_close(struct kit *k, int fd)
{
	uint64_t end = clock_mono_us() + PATIENCE_US;
	struct pollfd p = {.fd = fd, .events = POLLIN};
	ssize_t n;

	while ((n = take(k, fd)) != 0) {
		loop_step(k->l);
		if (n < 0)
			poll(&p, 1, 1);
		if (clock_mono_us() > end)
			fail_msg("the connection stays open");
	}
}

/* The value of a header of the reply as text. */
static inline struct str
reply_header(const struct reply *r, const char *name)
{
	struct str rest = r->head;

	while (rest.p) {
		struct str line = str_next(&rest, '\n');
		struct str key = str_next(&line, ':');

		if (str_eq_nocase(key, str_z(name)))
			return str_trim(str_sub(line, 0, line.n ? line.n - 1 : 0));
	}
	return STR_NULL;
}
