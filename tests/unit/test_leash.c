/* SPDX-License-Identifier: Apache-2.0 */
/* The role runs in a forked child, where the leash is descriptor LEASH_FD; the test plays supervise. */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/frame.h"
#include "base/limits.h"
#include "io/calls.h"
#include "io/leash.h"

struct role {
	pid_t pid;
	int fd; /* supervise's end */
};

/* Starts a child whose exit status is that of main(). */
static struct role
start(int (*role_main)(void))
{
	struct role r = {.fd = -1};
	int sv[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sv), 0);
	r.pid = fork();
	assert_true(r.pid >= 0);
	if (r.pid == 0) {
		close(sv[0]);
		if (dup2(sv[1], LEASH_FD) < 0)
			_exit(99);
		if (sv[1] != LEASH_FD)
			close(sv[1]);
		alarm(20);
		_exit(role_main());
	}
	close(sv[1]);
	r.fd = sv[0];
	return r;
}

static void
send_bytes(int fd, struct str s, int pass)
{
	union {
		struct cmsghdr align;
		char space[CMSG_SPACE(sizeof(int))];
	} c = {0};
	char *copy = malloc(s.n ? s.n : 1);
	struct iovec iov = {copy, s.n};
	struct msghdr m = {.msg_iov = &iov, .msg_iovlen = 1};

	assert_non_null(copy);
	memcpy(copy, s.p, s.n);
	if (pass >= 0) {
		m.msg_control = &c;
		m.msg_controllen = sizeof(c.space);
		struct cmsghdr *h = CMSG_FIRSTHDR(&m);

		*h = (struct cmsghdr){CMSG_LEN(sizeof(int)), SOL_SOCKET, SCM_RIGHTS};
		memcpy(CMSG_DATA(h), &pass, sizeof(int));
	}
	assert_int_equal(sendmsg(fd, &m, MSG_NOSIGNAL), (ssize_t)s.n);
	free(copy);
}

static void
send_msg(const struct role *r, uint16_t type, const char *text, const uint64_t *number, int pass)
{
	AUTO(buf) struct buf b;

	buf_init(&b, LIM_FRAME_ROLE + 64);
	struct frame_w w = frame_begin(&b, type, 0);

	if (text)
		frame_str(&w, str_z(text));
	if (number)
		frame_u64(&w, *number);
	frame_end(&w, pass >= 0 ? FRAME_FD : 0);
	send_bytes(r->fd, buf_str(&b), pass);
}

static int
memfd_with(struct str s)
{
	int fd = memfd_create("secret", MFD_CLOEXEC | MFD_ALLOW_SEALING);

	assert_true(fd >= 0);
	assert_int_equal(write(fd, s.p, s.n), (ssize_t)s.n);
	assert_int_equal(fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL), 0);
	return fd;
}

static void
send_and_close(const struct role *r, uint16_t type, const char *text, const uint64_t *number, int pass)
{
	send_msg(r, type, text, number, pass);
	close(pass);
}

/* Reads one message of the role: its type, the text goes into `text`. */
static uint16_t
receive(const struct role *r, char *text, size_t cap, uint64_t *number)
{
	char in[8192];
	size_t used = 0;
	struct frame f;
	struct err e;

	assert_int_equal(recv(r->fd, in, FRAME_HEAD, MSG_WAITALL), FRAME_HEAD);
	size_t n = (unsigned char)in[0] | (size_t)(unsigned char)in[1] << 8;

	assert_true(n <= sizeof(in) - FRAME_HEAD);
	assert_int_equal(recv(r->fd, in + FRAME_HEAD, n, MSG_WAITALL), n);
	assert_int_equal(frame_parse(str_n(in, FRAME_HEAD + n), LIM_FRAME_ROLE, &f, &used, &e), 1);
	struct frame_r fr = frame_r(f.payload);

	if (number)
		*number = frame_get_u64(&fr);
	assert_true(str_copy_z(frame_get_str(&fr), text, cap));
	assert_int_equal(frame_done(&fr, &e), 0);
	return f.type;
}

static int
exit_code(const struct role *r)
{
	int status = 0;

	assert_int_equal(waitpid(r->pid, &status, 0), r->pid);
	assert_true(WIFEXITED(status));
	return WEXITSTATUS(status);
}

/* ---- roles ---- */

static void
check_secret(struct str bytes, void *arg)
{
	*(bool *)arg = str_eqz(bytes, "sk-test");
}

static bool
has_socket(const struct leash_fd *x, const char *name, uint64_t number, char content)
{
	char c = 0;

	return strcmp(x->name, name) == 0 && x->number == number &&
	       (fcntl(x->fd, F_GETFD) & FD_CLOEXEC) != 0 && pread(x->fd, &c, 1, 0) == 1 && c == content;
}

/* 0 when the start brought exactly what the first test sends. */
static int
role_that_checks(void)
{
	static struct leash_start s;
	struct err e = {0};
	bool ok;

	if (leash_start(&s, &e) < 0)
		return leash_failed(&e);
	ok = s.n_listens == 1 && s.n_peers == 2 && s.n_secrets == 1 &&
	     has_socket(&s.listens[0], "api", 0, 'l') && has_socket(&s.peers[0], "gate", 4, 'g') &&
	     has_socket(&s.peers[1], "hands", 5, 'h') && strcmp(s.secrets[0].name, "anthropic") == 0 &&
	     str_eqz(json_get_str(s.config, "data_dir"), "/data") &&
	     (fcntl(LEASH_FD, F_GETFD) & FD_CLOEXEC) != 0;
	if (ok) {
		ok = false;
		secret_use(s.secrets[0].value, check_secret, &ok);
	}
	leash_start_done(&s);
	return ok ? 0 : 1;
}

struct served {
	struct loop *l;
	struct leash *leash;
	char peer[64];
	uint64_t number;
};

static void
on_peer(void *owner, const char *role, uint64_t number, int fd)
{
	struct served *s = owner;
	char note[128];
	char c = 0;

	if (pread(fd, &c, 1, 0) != 1)
		c = '?';
	close(fd);
	snprintf(note, sizeof(note), "%s %d %c", role, (int)number, c);
	leash_ready(s->leash, str_z(note));
}

static void
on_stop(void *owner)
{
	struct served *s = owner;

	loop_stop(s->l);
}

static int
serve(bool with_stop)
{
	static struct leash_start start;
	struct served s = {0};
	struct leash_ops ops = {.owner = &s, .on_peer = on_peer, .on_stop = with_stop ? on_stop : NULL};
	struct err e = {0};

	if (leash_start(&start, &e) < 0 || loop_new(&s.l, &e) < 0 ||
		leash_attach(&s.leash, s.l, &ops, &e) < 0)
		return leash_failed(&e);
	leash_start_done(&start);
	leash_ready(s.leash, STR("at your service"));
	loop_run(s.l);
	leash_free(s.leash);
	loop_free(s.l);
	return 21;
}

static int
role_that_serves(void)
{
	return serve(true);
}

static int
role_without_stop(void)
{
	return serve(false);
}

/* ---- tests ---- */

static void
begin(const struct role *r)
{
	send_msg(r, LEASH_CONFIG, "{}", NULL, -1);
	send_msg(r, LEASH_GO, NULL, NULL, -1);
}

static void
the_start_hands_everything_over(void **state)
{
	struct role r = start(role_that_checks);

	(void)state;
	send_msg(&r, LEASH_CONFIG, "{\"data_dir\":\"/data\"}", NULL, -1);
	send_and_close(&r, LEASH_LISTEN, "api", NULL, memfd_with(STR("l")));
	send_and_close(&r, LEASH_PEER, "gate", &(uint64_t){4}, memfd_with(STR("g")));
	send_and_close(&r, LEASH_PEER, "hands", &(uint64_t){5}, memfd_with(STR("h")));
	send_and_close(&r, LEASH_SECRET, "anthropic", NULL, memfd_with(STR("sk-test")));
	send_msg(&r, LEASH_GO, NULL, NULL, -1);
	assert_int_equal(exit_code(&r), 0);
	close(r.fd);
}

static void
a_role_serves_meets_peers_and_stops(void **state)
{
	struct role r = start(role_that_serves);
	char text[128];

	(void)state;
	begin(&r);
	/* Sent before the role is on its loop: must not be lost. */
	send_and_close(&r, LEASH_PEER, "gate", &(uint64_t){9}, memfd_with(STR("G")));
	assert_int_equal(receive(&r, text, sizeof(text), NULL), LEASH_READY);
	assert_string_equal(text, "at your service");
	assert_int_equal(receive(&r, text, sizeof(text), NULL), LEASH_READY);
	assert_string_equal(text, "gate 9 G");
	send_msg(&r, LEASH_STOP, NULL, NULL, -1);
	assert_int_equal(exit_code(&r), 21);
	close(r.fd);
}

static void
stop_without_a_handler_exits(void **state)
{
	struct role r = start(role_without_stop);

	(void)state;
	begin(&r);
	send_msg(&r, LEASH_STOP, NULL, NULL, -1);
	assert_int_equal(exit_code(&r), 0);
	close(r.fd);
}

static void
the_end_of_the_leash_ends_the_role(void **state)
{
	struct role r = start(role_that_serves);
	char text[128];

	(void)state;
	begin(&r);
	assert_int_equal(receive(&r, text, sizeof(text), NULL), LEASH_READY);
	close(r.fd);
	assert_int_equal(exit_code(&r), 75);
}

static void
garbage_on_the_leash_ends_the_role(void **state)
{
	struct role r = start(role_that_serves);

	(void)state;
	begin(&r);
	send_msg(&r, LEASH_CONFIG, "{}", NULL, -1); /* not permitted any more */
	assert_int_equal(exit_code(&r), 75);
	close(r.fd);
}

/* A start that must fail: with LEASH_FAILED and that kind's exit code. */
static void
expect_failure(struct role *r, enum err_kind kind)
{
	uint64_t number = 0;
	char text[256];

	assert_int_equal(receive(r, text, sizeof(text), &number), LEASH_FAILED);
	assert_int_equal(number, kind);
	assert_true(text[0] != '\0');
	assert_int_equal(exit_code(r), err_exit_code(kind));
	close(r->fd);
}

static void
bad_starts_are_told(void **state)
{
	char large[LIM_SECRET + 2];
	char name[LEASH_NAME_MAX + 2];
	struct role r;

	(void)state;
	memset(large, 'x', sizeof(large));
	memset(name, 'n', sizeof(name) - 1);
	name[sizeof(name) - 1] = '\0';

	r = start(role_that_checks);
	send_msg(&r, LEASH_GO, NULL, NULL, -1); /* no configuration */
	expect_failure(&r, ERR_CORRUPT);
	r = start(role_that_checks);
	send_msg(&r, LEASH_CONFIG, "{", NULL, -1);
	expect_failure(&r, ERR_CORRUPT);
	r = start(role_that_checks);
	send_msg(&r, LEASH_CONFIG, "{}", NULL, -1);
	send_msg(&r, LEASH_CONFIG, "{}", NULL, -1);
	expect_failure(&r, ERR_CORRUPT);
	r = start(role_that_checks);
	send_msg(&r, LEASH_STOP, NULL, NULL, -1);
	expect_failure(&r, ERR_CORRUPT);
	r = start(role_that_checks);
	send_msg(&r, LEASH_LISTEN, "api", NULL, -1); /* no descriptor */
	expect_failure(&r, ERR_CORRUPT);
	r = start(role_that_checks);
	send_and_close(&r, LEASH_LISTEN, name, NULL, memfd_with(STR("x")));
	expect_failure(&r, ERR_CORRUPT);
	r = start(role_that_checks);
	send_and_close(&r, LEASH_SECRET, "k", NULL, memfd_with(str_n(large, sizeof(large))));
	expect_failure(&r, ERR_CORRUPT);
	r = start(role_that_checks);
	shutdown(r.fd, SHUT_WR);
	expect_failure(&r, ERR_IO);
}

static void
too_many_sockets(void **state)
{
	struct role r = start(role_that_checks);

	(void)state;
	for (uint64_t i = 0; i <= LEASH_PEERS_MAX; i++)
		send_and_close(&r, LEASH_PEER, "gate", &i, memfd_with(STR("x")));
	expect_failure(&r, ERR_CORRUPT);
}

int
main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_start_hands_everything_over),
		cmocka_unit_test(a_role_serves_meets_peers_and_stops),
		cmocka_unit_test(stop_without_a_handler_exits),
		cmocka_unit_test(the_end_of_the_leash_ends_the_role),
		cmocka_unit_test(garbage_on_the_leash_ends_the_role),
		cmocka_unit_test(bad_starts_are_told),
		cmocka_unit_test(too_many_sockets),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
