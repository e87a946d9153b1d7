/* SPDX-License-Identifier: Apache-2.0 */
/* Two peers on one loop, or a peer and a raw socket where the other side misbehaves. */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/limits.h"
#include "io/rpc.h"

enum { M_TEXT = 1, M_FD = 2, M_LATE = 3, M_BIG = 4, M_FREE = 5, M_FAIL = 6, M_PAUSE = 7, M_EMPTY = 8 };

#define GOT 512

struct side {
	struct loop *l;
	struct rpc_peer *p;
	unsigned n; /* messages */
	uint64_t calls[GOT];
	char first[GOT]; /* first byte of the text, or of what the descriptor holds */
	uint64_t bytes;
	unsigned closes, rooms;
	struct err why;
	unsigned stop_at;
	bool free_in_close;
};

static void
count(struct side *s, const struct rpc_msg *m, char c)
{
	assert_true(s->n < GOT);
	s->calls[s->n] = m->f.call;
	s->first[s->n++] = c;
	if (s->n == s->stop_at)
		loop_stop(s->l);
}

static int
on_text(void *owner, struct rpc_peer *p, struct rpc_msg *m, struct err *e)
{
	struct side *s = owner;
	struct frame_r r = frame_r(m->f.payload);
	struct str text = frame_get_str(&r);

	assert_ptr_equal(p, s->p);
	assert_int_equal(m->fd, -1);
	if (frame_done(&r, e) < 0)
		return -ERR_CORRUPT;
	s->bytes += text.n;
	count(s, m, text.n ? text.p[0] : '-');
	return 0;
}

static int
on_fd(void *owner, struct rpc_peer *p, struct rpc_msg *m, struct err *e)
{
	struct side *s = owner;
	char c = '?';

	(void)p;
	(void)e;
	assert_true(m->fd >= 0);
	assert_true((fcntl(m->fd, F_GETFD) & FD_CLOEXEC) != 0);
	assert_int_equal(pread(m->fd, &c, 1, 0), 1);
	if (m->f.call % 2)
		close(MOVE_FD(m->fd)); /* taken; else rpc closes it */
	count(s, m, c);
	return 0;
}

static int
on_empty(void *owner, struct rpc_peer *p, struct rpc_msg *m, struct err *e)
{
	(void)p;
	(void)e;
	count(owner, m, '0');
	return 0;
}

static int
on_free(void *owner, struct rpc_peer *p, struct rpc_msg *m, struct err *e)
{
	struct side *s = owner;

	(void)e;
	rpc_peer_free(p);
	s->p = NULL;
	count(s, m, 'f');
	return 0;
}

static int
on_fail(void *owner, struct rpc_peer *p, struct rpc_msg *m, struct err *e)
{
	(void)p;
	count(owner, m, 'x');
	return err_set(e, ERR_FORBIDDEN, "no");
}

static int
on_pause(void *owner, struct rpc_peer *p, struct rpc_msg *m, struct err *e)
{
	(void)e;
	rpc_peer_pause(p, true);
	count(owner, m, 'p');
	return 0;
}

static const struct rpc_permit permits[] = {
	{.type = M_TEXT, .max = 1000, .on = on_text},
	{.type = M_FD, .max = 100, .with_fd = true, .on = on_fd},
	{.type = M_LATE, .max = 100, .states = 2, .on = on_text},
	{.type = M_BIG, .max = LIM_FRAME_ROLE, .on = on_text},
	{.type = M_FREE, .max = 0, .on = on_free},
	{.type = M_FAIL, .max = 0, .on = on_fail},
	{.type = M_PAUSE, .max = 0, .on = on_pause},
	{.type = M_EMPTY, .max = 0, .on = on_empty},
};

static void
on_close(void *owner, struct rpc_peer *p, const struct err *why)
{
	struct side *s = owner;

	assert_ptr_equal(p, s->p);
	s->closes++;
	s->why = *why;
	if (s->free_in_close) {
		rpc_peer_free(p);
		s->p = NULL;
	}
	loop_stop(s->l);
}

static void
on_room(void *owner, struct rpc_peer *p)
{
	struct side *s = owner;

	(void)p;
	s->rooms++;
	loop_stop(s->l);
}

struct pair {
	struct loop *l;
	struct side a, b;
	int raw; /* instead of b */
};

static void
side_open(struct side *s, struct loop *l, int fd, size_t max_queue)
{
	struct rpc_opts o = {.name = "peer",
		.permits = permits,
		.n_permits = ARRAY_LEN(permits),
		.max_queue = max_queue,
		.owner = s,
		.on_close = on_close,
		.on_room = on_room};
	struct err e;

	s->l = l;
	assert_int_equal(rpc_peer_new(&s->p, l, fd, &o, &e), 0);
}

static struct pair *
open_pair(bool raw, size_t max_queue)
{
	struct pair *x = calloc(1, sizeof(*x));
	struct err e;
	int sv[2];

	assert_non_null(x);
	assert_int_equal(loop_new(&x->l, &e), 0);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sv), 0);
	side_open(&x->a, x->l, sv[0], max_queue);
	x->raw = -1;
	if (raw)
		x->raw = sv[1];
	else
		side_open(&x->b, x->l, sv[1], max_queue);
	return x;
}

static int
setup(void **state)
{
	*state = open_pair(false, 0);
	return 0;
}

static int
setup_raw(void **state)
{
	*state = open_pair(true, 0);
	return 0;
}

static int
setup_narrow(void **state)
{
	*state = open_pair(true, 1 * MIB);
	return 0;
}

static int
teardown(void **state)
{
	struct pair *x = *state;

	rpc_peer_free(x->a.p);
	rpc_peer_free(x->b.p);
	fd_close(x->raw);
	loop_free(x->l);
	free(x);
	return 0;
}

static void
put(struct buf *b, uint16_t type, uint64_t call, struct str text)
{
	struct frame_w w = frame_begin(b, type, call);

	if (text.p)
		frame_str(&w, text);
	frame_end(&w, type == M_FD ? FRAME_FD : 0);
}

static void
send_text(struct side *s, uint64_t call, struct str text)
{
	AUTO(buf) struct buf b;

	buf_init(&b, LIM_FRAME_ROLE + 64);
	put(&b, M_TEXT, call, text);
	rpc_send(s->p, &b);
	assert_int_equal(b.n, 0);
}

static void
send_type(struct side *s, uint16_t type)
{
	AUTO(buf) struct buf b;

	buf_init(&b, 64);
	put(&b, type, 0, STR_NULL);
	rpc_send(s->p, &b);
}

static int
file_with(char c)
{
	int fd = memfd_create("test", MFD_CLOEXEC);

	assert_true(fd >= 0);
	assert_int_equal(write(fd, &c, 1), 1);
	return fd;
}

static void
send_fd(struct side *s, uint64_t call, char c)
{
	AUTO(buf) struct buf b;

	buf_init(&b, 1024);
	put(&b, M_FD, call, STR("with"));
	rpc_send_fd(s->p, &b, file_with(c));
}

static void
run(struct pair *x, struct side *s, unsigned until)
{
	s->stop_at = until;
	if (s->n < until)
		loop_run(x->l);
	assert_int_equal(s->n, until);
}

static void
run_to_close(struct pair *x, struct side *s)
{
	while (!s->closes)
		loop_run(x->l);
	assert_int_equal(s->closes, 1);
}

/* ---- good behaviour ---- */

static void
frames_arrive_in_order_both_ways(void **state)
{
	struct pair *x = *state;

	send_text(&x->a, 1, STR("one"));
	send_text(&x->a, 2, STR("two"));
	send_text(&x->b, 7, STR("seven"));
	run(x, &x->b, 2);
	run(x, &x->a, 1);
	assert_int_equal(x->b.calls[0], 1);
	assert_int_equal(x->b.calls[1], 2);
	assert_memory_equal(x->b.first, "ot", 2);
	assert_int_equal(x->a.calls[0], 7);
}

static void
a_small_frame_leaves_at_once(void **state)
{
	struct pair *x = *state;
	char back[64];

	send_text(&x->a, 1, STR("now"));
	/* No loop round has passed. */
	assert_true(recv(x->raw, back, sizeof(back), MSG_DONTWAIT) > FRAME_HEAD);
	send_text(&x->a, 2, STR("later"));
	assert_int_equal(recv(x->raw, back, sizeof(back), MSG_DONTWAIT), -1);
	loop_step(x->l);
	assert_true(recv(x->raw, back, sizeof(back), MSG_DONTWAIT) > FRAME_HEAD);
}

static void
descriptors_reach_their_own_frames(void **state)
{
	struct pair *x = *state;
	static const char want[] = "aTbcdTe";

	/* All are queued in one round, so that they are gathered and read together. */
	send_fd(&x->a, 0, 'a');
	send_text(&x->a, 1, STR("T"));
	send_fd(&x->a, 2, 'b');
	send_fd(&x->a, 3, 'c');
	send_fd(&x->a, 4, 'd');
	send_text(&x->a, 5, STR("T"));
	send_fd(&x->a, 6, 'e');
	run(x, &x->b, 7);
	assert_memory_equal(x->b.first, want, 7);
	for (unsigned i = 0; i < 7; i++)
		assert_int_equal(x->b.calls[i], i);
}

static int
open_fds(void)
{
	int n = 0;

	for (int fd = 0; fd < 1024; fd++)
		n += fcntl(fd, F_GETFD) >= 0;
	return n;
}

static void
many_descriptors_none_lost_none_leaked(void **state)
{
	struct pair *x = *state;
	int before = open_fds();

	for (unsigned i = 0; i < 300; i++) {
		send_fd(&x->a, i, (char)('a' + i % 26));
		if (i % 3 == 0)
			send_text(&x->a, 1000 + i, STR("-"));
	}
	run(x, &x->b, 400);
	for (unsigned i = 0, k = 0; i < 400; i++)
		if (x->b.calls[i] < 1000) {
			assert_int_equal(x->b.calls[i], k);
			assert_int_equal(x->b.first[i], 'a' + (int)(k++ % 26));
		}
	assert_int_equal(open_fds(), before);
}

static void
big_frames_pass(void **state)
{
	struct pair *x = *state;
	size_t n = LIM_FRAME_ROLE - 4;
	char *text = malloc(n);

	assert_non_null(text);
	memset(text, 'B', n);
	for (uint64_t i = 0; i < 20; i++) {
		AUTO(buf) struct buf b;

		buf_init(&b, LIM_FRAME_ROLE + 64);
		put(&b, M_BIG, i, str_n(text, n));
		rpc_send(x->a.p, &b);
		send_text(&x->a, 100 + i, STR("small"));
	}
	run(x, &x->b, 40);
	for (uint64_t i = 0; i < 20; i++) {
		assert_int_equal(x->b.calls[2 * i], i);
		assert_int_equal(x->b.calls[2 * i + 1], 100 + i);
	}
	assert_int_equal(x->b.bytes, 20 * (n + 5));
	free(text);
}

static void
several_frames_in_one_buffer(void **state)
{
	struct pair *x = *state;
	AUTO(buf) struct buf b;

	buf_init(&b, 4096);
	for (uint64_t i = 0; i < 10; i++)
		put(&b, M_TEXT, i, STR("x"));
	rpc_send(x->a.p, &b);
	run(x, &x->b, 10);
}

static void
frames_split_at_every_byte(void **state)
{
	struct pair *x = *state;
	AUTO(buf) struct buf b;

	buf_init(&b, 4096);
	for (uint64_t i = 0; i < 3; i++)
		put(&b, M_TEXT, i, STR("abc"));
	for (size_t i = 0; i < b.n; i++) {
		assert_int_equal(send(x->raw, b.p + i, 1, 0), 1);
		loop_step(x->l);
	}
	assert_int_equal(x->a.n, 3);
	assert_int_equal(x->a.closes, 0);
}

static void
a_clean_end_has_no_error(void **state)
{
	struct pair *x = *state;

	send_text(&x->b, 1, STR("last words"));
	rpc_peer_free(MOVE(x->b.p));
	run_to_close(x, &x->a);
	assert_int_equal(x->a.n, 1);
	assert_int_equal(x->a.why.kind, ERR_NONE);
}

static void
last_words_are_heard_by_a_peer_that_writes(void **state)
{
	struct pair *x = *state;

	send_text(&x->b, 1, STR("last words"));
	rpc_peer_free(MOVE(x->b.p));
	/* Writing fails now, but what came before must not be lost. */
	send_text(&x->a, 1, STR("are you there?"));
	assert_int_equal(x->a.closes, 0);
	run_to_close(x, &x->a);
	assert_int_equal(x->a.n, 1);
	assert_int_equal(x->a.why.kind, ERR_IO);
}

static void
a_peer_may_be_freed_in_its_handler(void **state)
{
	struct pair *x = *state;

	send_type(&x->a, M_FREE);
	send_text(&x->a, 1, STR("never seen"));
	run(x, &x->b, 1);
	assert_null(x->b.p);
	run_to_close(x, &x->a);
}

static void
a_peer_may_be_freed_in_on_close(void **state)
{
	struct pair *x = *state;

	x->a.free_in_close = true;
	rpc_peer_free(MOVE(x->b.p));
	run_to_close(x, &x->a);
	assert_null(x->a.p);
}

static void
a_paused_peer_keeps_its_messages(void **state)
{
	struct pair *x = *state;

	send_type(&x->a, M_PAUSE);
	for (uint64_t i = 0; i < 50; i++)
		send_text(&x->a, i, STR("t"));
	run(x, &x->b, 1);
	for (int i = 0; i < 10; i++)
		loop_step(x->l);
	assert_int_equal(x->b.n, 1);
	rpc_peer_pause(x->b.p, false);
	assert_int_equal(x->b.n, 1); /* not from inside the call */
	run(x, &x->b, 51);
}

static void
states_open_and_close_messages(void **state)
{
	struct pair *x = *state;
	AUTO(buf) struct buf b;

	buf_init(&b, 4096);
	rpc_peer_set_state(x->b.p, 2);
	put(&b, M_LATE, 1, STR("x"));
	rpc_send(x->a.p, &b);
	run(x, &x->b, 1);
	rpc_peer_set_state(x->b.p, 4);
	put(&b, M_LATE, 2, STR("x"));
	rpc_send(x->a.p, &b);
	run_to_close(x, &x->b);
	assert_int_equal(x->b.n, 1);
	assert_int_equal(x->b.why.kind, ERR_CORRUPT);
}

static void
credentials_are_the_kernels(void **state)
{
	struct pair *x = *state;
	unsigned uid = 77;
	int pid = 0;
	struct err e;

	assert_int_equal(rpc_peer_cred(x->a.p, &pid, &uid, &e), 0);
	assert_int_equal(pid, getpid());
	assert_int_equal(uid, getuid());
}

/* ---- full queues ---- */

static void
a_reader_that_stalls_fills_the_queue_and_makes_room_again(void **state)
{
	struct pair *x = *state;
	char piece[900];
	char sink[65536];

	memset(piece, 'p', sizeof(piece));
	while (!rpc_peer_full(x->a.p)) {
		send_text(&x->a, 0, str_n(piece, sizeof(piece)));
		loop_step(x->l);
	}
	assert_int_equal(x->a.rooms, 0);
	assert_int_equal(x->a.closes, 0);
	while (!x->a.rooms) {
		assert_true(recv(x->raw, sink, sizeof(sink), 0) > 0);
		loop_step(x->l);
	}
	assert_false(rpc_peer_full(x->a.p));
	assert_int_equal(x->a.rooms, 1);
}

static void
a_queue_over_its_ceiling_drops_the_peer(void **state)
{
	struct pair *x = *state;
	char piece[900];

	memset(piece, 'p', sizeof(piece));
	for (unsigned i = 0; i < 4000; i++)
		send_text(&x->a, 0, str_n(piece, sizeof(piece)));
	assert_int_equal(x->a.closes, 0); /* never from inside rpc_send */
	run_to_close(x, &x->a);
	assert_int_equal(x->a.why.kind, ERR_TOO_LARGE);
	send_text(&x->a, 0, STR("into the void"));
}

static void
a_failed_buffer_drops_the_peer(void **state)
{
	struct pair *x = *state;
	AUTO(buf) struct buf b;

	buf_init(&b, 20);
	put(&b, M_TEXT, 1, STR("does not fit in there"));
	rpc_send(x->a.p, &b);
	run_to_close(x, &x->a);
	assert_int_equal(x->a.why.kind, ERR_TOO_LARGE);
}

/* ---- bad peers ---- */

static void
send_raw(int fd, struct str bytes, const int *fds, size_t n_fds)
{
	union {
		struct cmsghdr align;
		char space[CMSG_SPACE(8 * sizeof(int))];
	} c = {0};
	char copy[256];
	struct iovec iov = {copy, bytes.n};
	struct msghdr m = {.msg_iov = &iov, .msg_iovlen = 1};

	assert_true(bytes.n <= sizeof(copy));
	memcpy(copy, bytes.p, bytes.n);
	if (n_fds) {
		m.msg_control = &c;
		m.msg_controllen = CMSG_SPACE(n_fds * sizeof(int));
		struct cmsghdr *h = CMSG_FIRSTHDR(&m);

		*h = (struct cmsghdr){CMSG_LEN(n_fds * sizeof(int)), SOL_SOCKET, SCM_RIGHTS};
		memcpy(CMSG_DATA(h), fds, n_fds * sizeof(int));
	}
	assert_int_equal(sendmsg(fd, &m, MSG_NOSIGNAL), (ssize_t)bytes.n);
}

static void
raw_frame(struct buf *b, uint32_t length, uint16_t type, uint16_t flags)
{
	char head[FRAME_HEAD] = {(char)length, (char)(length >> 8), (char)(length >> 16),
		(char)(length >> 24), (char)type, (char)(type >> 8), (char)flags, (char)(flags >> 8)};

	buf_put(b, head, sizeof(head));
}

/* Sends bytes and descriptors and expects to be dropped for it, with no descriptor left behind. */
static void
expect_drop(struct pair *x, struct buf *b, size_t n_fds, enum err_kind kind)
{
	int fds[8];
	int before;

	for (size_t i = 0; i < n_fds; i++)
		fds[i] = file_with('z');
	before = open_fds() - 1; /* the peer closes its own */
	send_raw(x->raw, buf_str(b), fds, n_fds);
	run_to_close(x, &x->a);
	assert_int_equal(x->a.why.kind, kind);
	assert_int_equal(x->a.n, 0);
	assert_int_equal(open_fds(), before);
	for (size_t i = 0; i < n_fds; i++)
		close(fds[i]);
}

#define DROPS(name, length, type, flags, n_fds, kind) \
	static void name(void **state)                \
	{                                             \
		AUTO(buf) struct buf b;               \
                                                      \
		buf_init(&b, 256);                    \
		raw_frame(&b, length, type, flags);   \
		expect_drop(*state, &b, n_fds, kind); \
	}

DROPS(unknown_message, 0, 999, 0, 0, ERR_CORRUPT)
DROPS(message_in_the_wrong_state, 0, M_LATE, 0, 0, ERR_CORRUPT)
DROPS(message_over_its_size, 1001, M_TEXT, 0, 0, ERR_TOO_LARGE)
DROPS(message_of_4_gib, 0xffffffff, M_BIG, 0, 0, ERR_TOO_LARGE)
DROPS(payload_where_none_is_allowed, 1, M_EMPTY, 0, 0, ERR_TOO_LARGE)
DROPS(unknown_flag, 0, M_EMPTY, 0x8000, 0, ERR_CORRUPT)
DROPS(announced_descriptor_that_is_missing, 0, M_FD, FRAME_FD, 0, ERR_CORRUPT)
DROPS(descriptor_flag_where_none_is_allowed, 0, M_EMPTY, FRAME_FD, 1, ERR_CORRUPT)
DROPS(missing_descriptor_flag, 0, M_FD, 0, 1, ERR_CORRUPT)
DROPS(two_descriptors, 0, M_FD, FRAME_FD, 2, ERR_CORRUPT)
DROPS(eight_descriptors, 0, M_FD, FRAME_FD, 8, ERR_CORRUPT)
DROPS(payload_that_is_no_field, 0, M_TEXT, 0, 0, ERR_CORRUPT)

/* The frame is harmless, the descriptor beside it is not announced. */
static void
stray_descriptor(void **state)
{
	struct pair *x = *state;
	AUTO(buf) struct buf b;
	int fd = file_with('s');
	int before = open_fds() - 1;

	buf_init(&b, 256);
	raw_frame(&b, 0, M_EMPTY, 0);
	send_raw(x->raw, buf_str(&b), &fd, 1);
	run_to_close(x, &x->a);
	assert_int_equal(x->a.why.kind, ERR_CORRUPT);
	assert_int_equal(x->a.n, 1);
	assert_int_equal(open_fds(), before);
	close(fd);
}

/* Sent with the second byte, the descriptor is not where it has to be. */
static void
descriptor_behind_the_first_byte(void **state)
{
	struct pair *x = *state;
	AUTO(buf) struct buf b;
	int fd = file_with('s');

	buf_init(&b, 256);
	raw_frame(&b, 0, M_FD, FRAME_FD);
	send_raw(x->raw, str_n(b.p, 1), NULL, 0);
	loop_step(x->l); /* reads the first byte alone */
	send_raw(x->raw, str_n(b.p + 1, b.n - 1), &fd, 1);
	run_to_close(x, &x->a);
	assert_int_equal(x->a.why.kind, ERR_CORRUPT);
	assert_int_equal(x->a.n, 0);
	close(fd);
}

static void
end_inside_a_message(void **state)
{
	struct pair *x = *state;
	AUTO(buf) struct buf b;

	buf_init(&b, 256);
	raw_frame(&b, 100, M_TEXT, 0);
	send_raw(x->raw, buf_str(&b), NULL, 0);
	close(MOVE_FD(x->raw));
	run_to_close(x, &x->a);
	assert_int_equal(x->a.why.kind, ERR_CORRUPT);
}

static void
a_handlers_error_drops_the_peer(void **state)
{
	struct pair *x = *state;

	send_type(&x->a, M_FAIL);
	send_text(&x->a, 1, STR("not seen"));
	run_to_close(x, &x->b);
	assert_int_equal(x->b.why.kind, ERR_FORBIDDEN);
	assert_int_equal(x->b.n, 1);
}

/* A length field alone must not make anybody allocate. */
static void
memory_follows_the_bytes(void **state)
{
	struct pair *x = *state;
	AUTO(buf) struct buf b;
	struct rusage before, after;

	buf_init(&b, 256);
	raw_frame(&b, LIM_FRAME_ROLE, M_BIG, 0);
	getrusage(RUSAGE_SELF, &before);
	send_raw(x->raw, buf_str(&b), NULL, 0);
	loop_step(x->l);
	loop_step(x->l);
	getrusage(RUSAGE_SELF, &after);
	assert_int_equal(x->a.closes, 0);
	assert_true(after.ru_maxrss - before.ru_maxrss < 512); /* KiB */
}

int
main(void)
{
#define T(name)      cmocka_unit_test_setup_teardown(name, setup, teardown)
#define RAW(name)    cmocka_unit_test_setup_teardown(name, setup_raw, teardown)
#define NARROW(name) cmocka_unit_test_setup_teardown(name, setup_narrow, teardown)
	static const struct CMUnitTest tests[] = {
		T(frames_arrive_in_order_both_ways),
		RAW(a_small_frame_leaves_at_once),
		T(descriptors_reach_their_own_frames),
		T(many_descriptors_none_lost_none_leaked),
		T(big_frames_pass),
		T(several_frames_in_one_buffer),
		RAW(frames_split_at_every_byte),
		T(a_clean_end_has_no_error),
		T(last_words_are_heard_by_a_peer_that_writes),
		T(a_peer_may_be_freed_in_its_handler),
		T(a_peer_may_be_freed_in_on_close),
		T(a_paused_peer_keeps_its_messages),
		T(states_open_and_close_messages),
		T(credentials_are_the_kernels),
		NARROW(a_reader_that_stalls_fills_the_queue_and_makes_room_again),
		NARROW(a_queue_over_its_ceiling_drops_the_peer),
		T(a_failed_buffer_drops_the_peer),
		RAW(unknown_message),
		RAW(message_in_the_wrong_state),
		RAW(message_over_its_size),
		RAW(message_of_4_gib),
		RAW(payload_where_none_is_allowed),
		RAW(unknown_flag),
		RAW(announced_descriptor_that_is_missing),
		RAW(descriptor_flag_where_none_is_allowed),
		RAW(missing_descriptor_flag),
		RAW(two_descriptors),
		RAW(eight_descriptors),
		RAW(payload_that_is_no_field),
		RAW(stray_descriptor),
		RAW(descriptor_behind_the_first_byte),
		RAW(end_inside_a_message),
		T(a_handlers_error_drops_the_peer),
		RAW(memory_follows_the_bytes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
