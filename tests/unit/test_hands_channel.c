/* SPDX-License-Identifier: Apache-2.0 */
/* Who may speak as the guest, and what. */
#include "unit.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/frame.h"
#include "base/guest_call.h"
#include "base/limits.h"
#include "base/log.h"
#include "hands/channel.h"

struct fixture {
	struct loop *loop;
	struct channel *c;
	char dir[40];
	unsigned up, down, bad, results, outputs;
	char text[64];
};

static void
on_up(void *o)
{
	((struct fixture *)o)->up++;
}

static void
on_down(void *o)
{
	((struct fixture *)o)->down++;
}

static void
on_bad(void *o, const struct err *why)
{
	(void)why;
	((struct fixture *)o)->bad++;
}

static int
on_result(void *o, const struct guest_result *r, struct err *e)
{
	struct fixture *f = o;

	if (!str_eqz(r->exec_id, "sevt_1"))
		return err_set(e, ERR_CORRUPT, "not asked for");
	f->results++;
	str_copy_z(r->text, f->text, sizeof(f->text));
	return 0;
}

static int
on_output(void *o, struct str id, struct str piece, struct err *e)
{
	(void)id, (void)piece, (void)e;
	((struct fixture *)o)->outputs++;
	return 0;
}

static void
open_channel(struct fixture *f, const char *key)
{
	struct err e = {0};
	struct channel_opts o = {.loop = f->loop,
		.dir = f->dir,
		.name = "sbx",
		.key = key,
		.tool_procs = 1,
		.tool_memory = 2,
		.tool_file = 3,
		.ops = {f, on_up, on_down, on_result, on_output, on_bad}};

	assert_int_equal(channel_new(&f->c, &o, &e), 0);
}

static int
set_up(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));
	struct err e = {0};

	log_setup("test", LOG_ERROR, 2);
	snprintf(f->dir, sizeof(f->dir), "/tmp/pinfold-channel-XXXXXX");
	assert_non_null(mkdtemp(f->dir));
	assert_int_equal(loop_new(&f->loop, &e), 0);
	open_channel(f, "");
	*state = f;
	return 0;
}

static int
tear_down(void **state)
{
	struct fixture *f = *state;
	char path[80];

	channel_free(f->c);
	loop_free(f->loop);
	snprintf(path, sizeof(path), "%s/hands.sock", f->dir);
	unlink(path);
	assert_int_equal(rmdir(f->dir), 0);
	free(f);
	return 0;
}

static int
dial(const struct fixture *f)
{
	struct sockaddr_un a = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	snprintf(a.sun_path, sizeof(a.sun_path), "%s/hands.sock", f->dir);
	assert_int_equal(connect(fd, (struct sockaddr *)&a, sizeof(a)), 0);
	return fd;
}

static void
hello(int fd, const char *key)
{
	struct buf b;

	buf_init(&b, 4096);
	struct frame_w w = frame_begin(&b, GC_HELLO, 0);

	frame_u64(&w, GUEST_PROTOCOL);
	frame_str(&w, str_z(key));
	frame_u64(&w, 1);
	frame_u64(&w, 2);
	frame_end(&w, 0);
	assert_int_equal(write(fd, b.p, b.n), b.n);
	buf_done(&b);
}

static void
result(int fd, const char *id, struct str text, const char *offload)
{
	struct buf b;

	buf_init(&b, LIM_FRAME_GUEST + 4096);
	struct frame_w w = frame_begin(&b, GC_RESULT, 1);

	frame_str(&w, str_z(id));
	frame_u64(&w, GUEST_OK);
	frame_u64(&w, 0);
	frame_str(&w, text);
	frame_str(&w, str_z(offload));
	frame_u64(&w, text.n);
	frame_u64(&w, 9);
	frame_end(&w, 0);
	assert_int_equal(write(fd, b.p, b.n), b.n);
	buf_done(&b);
}

static bool
readable(int fd)
{
	struct pollfd p = {.fd = fd, .events = POLLIN};

	return poll(&p, 1, 0) > 0;
}

/* Lets the loop run until the other side has something to read, or *counter changed. */
static void
until(struct fixture *f, int fd, const unsigned *counter, unsigned value)
{
	for (int i = 0; i < 100000; i++) {
		loop_step(f->loop);
		if ((fd >= 0 && readable(fd)) || (counter && *counter == value))
			return;
		if (i > 1000)
			poll(NULL, 0, 1);
	}
	fail_msg("nothing happened");
}

/* The WELCOME's key, or "" when the connection was closed. */
static void
welcome(struct fixture *f, int fd, char key[CHANNEL_KEY])
{
	char in[512];
	struct frame fr;
	size_t used;
	struct err e = {0};

	key[0] = '\0';
	until(f, fd, NULL, 0);
	ssize_t n = read(fd, in, sizeof(in));

	if (n <= 0)
		return;
	assert_int_equal(frame_parse(str_n(in, (size_t)n), 4096, &fr, &used, &e), 1);
	assert_int_equal(fr.type, GC_WELCOME);
	struct frame_r r = frame_r(fr.payload);

	assert_true(str_copy_z(frame_get_str(&r), key, CHANNEL_KEY));
	assert_int_equal(frame_get_u64(&r), 1);
	assert_int_equal(frame_get_u64(&r), 2);
	assert_int_equal(frame_get_u64(&r), 3);
	assert_int_equal(frame_done(&r, &e), 0);
}

static void
the_first_hello_is_the_guests_and_later_ones_need_its_key(void **state)
{
	struct fixture *f = *state;
	char key[CHANNEL_KEY], other[CHANNEL_KEY];
	int guest = dial(f), fd;

	hello(guest, "");
	welcome(f, guest, key);
	assert_int_equal(strlen(key), CHANNEL_KEY - 1);
	assert_string_equal(channel_key(f->c), key);
	fd = dial(f);
	hello(fd, "");
	welcome(f, fd, other);
	assert_string_equal(other, "");
	close(fd);
	fd = dial(f);
	hello(fd, "0000000000000000000000000000000000000000000000000000000000000000");
	welcome(f, fd, other);
	assert_string_equal(other, "");
	close(fd);
	assert_int_equal(f->up, 1);
	assert_true(channel_is_up(f->c));
	/* The guest itself, after it lost the connection without hands noticing. */
	fd = dial(f);
	hello(fd, key);
	welcome(f, fd, other);
	assert_string_equal(other, key);
	assert_int_equal(f->up, 2);
	assert_int_equal(f->down, 0);
	until(f, guest, NULL, 0);
	assert_int_equal(read(guest, other, 1), 0);
	close(guest);
	close(fd);
	until(f, -1, &f->down, 1);
	assert_int_equal(f->bad, 0);
	assert_false(channel_is_up(f->c));
}

static void
a_restarted_hands_knows_its_guest_by_the_key(void **state)
{
	struct fixture *f = *state;
	char key[CHANNEL_KEY], other[CHANNEL_KEY];
	int fd = dial(f);

	hello(fd, "");
	welcome(f, fd, key);
	close(fd);
	channel_free(f->c);
	open_channel(f, key);
	fd = dial(f);
	hello(fd, "");
	welcome(f, fd, other);
	assert_string_equal(other, "");
	close(fd);
	fd = dial(f);
	hello(fd, key);
	welcome(f, fd, other);
	assert_string_equal(other, key);
	close(fd);
}

static void
results_are_checked(void **state)
{
	struct fixture *f = *state;
	char key[CHANNEL_KEY];
	int fd = dial(f);

	hello(fd, "");
	welcome(f, fd, key);
	result(fd, "sevt_1", STR("fine"), "");
	until(f, -1, &f->results, 1);
	assert_string_equal(f->text, "fine");
	result(fd, "sevt_1", STR("big"), GUEST_OFFLOAD_DIR "/sevt_1.txt");
	until(f, -1, &f->results, 2);
	assert_int_equal(f->bad, 0);
	close(fd);
}

static void
a_broken_promise_ends_the_sandbox(void **state)
{
	static const struct {
		const char *id, *text, *offload;
	} cases[] = {
		{"sevt_2", "not asked for", ""},
		{"", "no id", ""},
		{"sevt_1", "\xff", ""},
		{"sevt_1", "x", "/etc/passwd"},
		{"sevt_1", "x", GUEST_OFFLOAD_DIR "/../../etc/passwd"},
		{"sevt_1", "x", GUEST_OFFLOAD_DIR "/"},
	};
	struct fixture *f = *state;
	char key[CHANNEL_KEY];

	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		channel_free(f->c);
		open_channel(f, "");
		f->bad = 0;
		int fd = dial(f);

		hello(fd, "");
		welcome(f, fd, key);
		result(fd, cases[i].id, str_z(cases[i].text), cases[i].offload);
		until(f, -1, &f->bad, 1);
		assert_int_equal(f->results, 0);
		close(fd);
	}
}

static void
what_says_no_hello_is_dropped_and_does_no_harm(void **state)
{
	struct fixture *f = *state;
	char key[CHANNEL_KEY], c;
	int guest = dial(f), fds[12];

	hello(guest, "");
	welcome(f, guest, key);
	int fd = dial(f);

	result(fd, "sevt_1", STR("forged"), "");
	until(f, fd, NULL, 0);
	assert_true(read(fd, &c, 1) <= 0);
	close(fd);
	for (size_t i = 0; i < ARRAY_LEN(fds); i++) {
		fds[i] = dial(f);
		loop_step(f->loop);
	}
	/* Only a few may wait; the others are closed at once. */
	until(f, fds[11], NULL, 0);
	assert_int_equal(read(fds[11], &c, 1), 0);
	assert_false(readable(fds[0]));
	for (size_t i = 0; i < ARRAY_LEN(fds); i++)
		close(fds[i]);
	result(guest, "sevt_1", STR("real"), "");
	until(f, -1, &f->results, 1);
	assert_string_equal(f->text, "real");
	assert_int_equal(f->bad, 0);
	close(guest);
}

int
main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(
			the_first_hello_is_the_guests_and_later_ones_need_its_key, set_up, tear_down),
		cmocka_unit_test_setup_teardown(
			a_restarted_hands_knows_its_guest_by_the_key, set_up, tear_down),
		cmocka_unit_test_setup_teardown(results_are_checked, set_up, tear_down),
		cmocka_unit_test_setup_teardown(a_broken_promise_ends_the_sandbox, set_up, tear_down),
		cmocka_unit_test_setup_teardown(
			what_says_no_hello_is_dropped_and_does_no_harm, set_up, tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
