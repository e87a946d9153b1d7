/* SPDX-License-Identifier: Apache-2.0 */
/* The role over a socket pair, on hosts where sandboxes cannot start: every refusal is an answer that names
 * its step. */
#include "unit.h"

#include <dirent.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/frame.h"
#include "base/guest_call.h"
#include "base/limits.h"
#include "base/log.h"
#include "hands/beneath.h"
#include "hands/hands.h"
#include "io/calls.h"

struct fixture {
	struct loop *loop;
	struct hands *hands;
	char dir[40];
	int fd;
	struct buf in;
};

static void
put(const char *dir, const char *name, const char *text, mode_t mode)
{
	char path[128];

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

	assert_true(fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text));
	assert_int_equal(fchmod(fd, mode), 0);
	close(fd);
}

/* `runsc`: the script that stands for the runtime; NULL: none. */
static void
start(struct fixture *f, const char *runsc, const char *extra)
{
	AUTO(json) struct json_t *v = NULL;
	char config[1024];
	int p[2];
	struct err e = {0};

	log_setup("test", LOG_ERROR, getenv("LOG") ? 2 : open("/dev/null", O_WRONLY | O_CLOEXEC));
	*f = (struct fixture){.fd = -1};
	buf_init(&f->in, 4 * LIM_FRAME_ROLE);
	snprintf(f->dir, sizeof(f->dir), "/tmp/pinfold-role-XXXXXX");
	assert_non_null(mkdtemp(f->dir));
	put(f->dir, "guest", "not really", 0755);
	if (runsc)
		put(f->dir, "runsc", runsc, 0755);
	snprintf(config, sizeof(config),
		"{\"data_dir\":\"%s/data\",\"run_dir\":\"%s/run\",\"guest_binary\":\"%s/"
		"guest\",\"runsc\":\"%s/runsc\","
		"\"pool_size\":0%s}",
		f->dir, f->dir, f->dir, f->dir, extra);
	assert_int_equal(json_parse(str_z(config), &v, &e), 0);
	assert_int_equal(loop_new(&f->loop, &e), 0);
	if (hands_new(&f->hands, f->loop, v, &e) < 0)
		fail_msg("%s", e.msg);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, p), 0);
	assert_int_equal(hands_set_control(f->hands, p[1], &e), 0);
	f->fd = p[0];
}

static void
on_stopped(void *arg)
{
	loop_stop(arg);
}

static void
stop_later(void *arg)
{
	struct fixture *f = arg;

	hands_stop(f->hands, on_stopped, f->loop);
}

static void
stop(struct fixture *f)
{
	struct err e = {0};

	loop_defer(f->loop, stop_later, f);
	loop_run(f->loop);
	hands_free(f->hands);
	loop_free(f->loop);
	buf_done(&f->in);
	close(f->fd);
	if (beneath_remove(AT_FDCWD, f->dir, &e) < 0)
		fail_msg("%s", e.msg);
}

static void
send_frame(struct fixture *f, struct buf *b)
{
	assert_int_equal(write(f->fd, b->p, b->n), b->n);
	buf_clear(b);
}

/* The next message but HANDS_STATUS; type 0 when hands closed the connection. */
static struct frame
next_message(struct fixture *f, size_t *used)
{
	struct frame fr = {0};
	struct err e = {0};

	for (int i = 0; i < 30000; i++) {
		int r = frame_parse(buf_str(&f->in), LIM_FRAME_ROLE, &fr, used, &e);

		assert_true(r >= 0);
		if (r > 0 && fr.type != HANDS_STATUS)
			return fr;
		if (r > 0) {
			buf_drop(&f->in, *used);
			continue;
		}
		loop_step(f->loop);
		struct pollfd p = {.fd = f->fd, .events = POLLIN};

		if (poll(&p, 1, 1) <= 0)
			continue;
		char *to = buf_reserve(&f->in, 4096);
		ssize_t n = read(f->fd, to, 4096);

		if (n <= 0)
			return (struct frame){0};
		f->in.n += (size_t)n;
	}
	fail_msg("no message");
	return fr;
}

static void
expect_failed(struct fixture *f, uint64_t call, uint64_t kind, const char *step)
{
	size_t used = 0;
	struct frame fr = next_message(f, &used);
	struct frame_r r = frame_r(fr.payload);
	uint64_t got = frame_get_u64(&r);
	struct str s = frame_get_str(&r), message = frame_get_str(&r);

	assert_int_equal(fr.type, HANDS_FAILED);
	assert_int_equal(fr.call, call);
	if (!str_eqz(s, step) || got != kind)
		fail_msg("step %.*s, kind %d: %.*s", STRF(s), (int)got, STRF(message));
	assert_true(message.n > 0);
	buf_drop(&f->in, used);
}

static void
claim(struct fixture *f, uint64_t call, const char *session, const char *image, const char *path)
{
	struct buf b;

	buf_init(&b, 65536);
	struct frame_w w = frame_begin(&b, HANDS_CLAIM, call);

	frame_str(&w, str_z(session));
	frame_str(&w, str_z(image));
	frame_str(&w, STR(""));
	for (int i = 0; i < 4; i++)
		frame_u64(&w, 0);
	frame_u64(&w, path ? 1 : 0);
	if (path) {
		frame_str(&w, STR("file_1"));
		frame_str(&w, str_z(path));
		frame_u64(&w, 1);
	}
	frame_end(&w, 0);
	send_frame(f, &b);
	buf_done(&b);
}

static void
a_host_without_a_runtime_says_so(void **state)
{
	struct fixture f;

	(void)state;
	start(&f, NULL, "");
	claim(&f, 1, "sesn_a", "", NULL);
	expect_failed(&f, 1, ERR_UNAVAILABLE, "platform");
	stop(&f);
	/* One that starts nothing. */
	start(&f, "#!/bin/sh\nexit 1\n", "");
	claim(&f, 1, "sesn_a", "", NULL);
	expect_failed(&f, 1, ERR_UNAVAILABLE, "platform");
	stop(&f);
}

static unsigned
entries(const char *dir, const char *name)
{
	char path[256];
	unsigned n = 0;

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	DIR *d = opendir(path);

	assert_non_null(d);
	for (struct dirent *de = readdir(d); de; de = readdir(d))
		n += de->d_name[0] != '.';
	closedir(d);
	return n;
}

/* peers A6: a sandbox that does not start says at which step. */
static void
a_start_that_fails_names_the_step(void **state)
{
	/* Answers the probe, but refuses to start anything detached. */
	static const char refuses[] = "#!/bin/sh\nfor a; do [ \"$a\" = --detach ] && { echo 'no such thing' "
				      ">&2; exit 1; }; done\nexit 0\n";
	struct fixture f;
	struct err e = {0};
	char path[256];

	(void)state;
	start(&f, refuses, "");
	claim(&f, 1, "sesn_a", "", NULL);
	expect_failed(&f, 1, ERR_NOT_FOUND, "image");
	claim(&f, 2, "sesn_a", "other", NULL);
	expect_failed(&f, 2, ERR_NOT_FOUND, "image");
	if (geteuid() != 0) {
		printf("skipped: the steps behind mounting need root\n");
		stop(&f);
		return;
	}
	snprintf(path, sizeof(path), "%s/data/images/default/usr", f.dir);
	assert_int_equal(beneath_make_dir(path, 0755, &e), 0);
	claim(&f, 3, "sesn_a", "", NULL);
	expect_failed(&f, 3, ERR_UNAVAILABLE, "runsc");
	/* What the failed start made is gone, the workspace is kept. */
	assert_int_equal(entries(f.dir, "run/sb"), 0);
	assert_true(entries(f.dir, "data/sessions/sesn_a") > 0);
	stop(&f);
}

static void
claims_that_make_no_sense_are_refused(void **state)
{
	struct fixture f;

	(void)state;
	start(&f, NULL, "");
	claim(&f, 1, "../../etc", "", NULL);
	expect_failed(&f, 1, ERR_INVALID, "workspace");
	claim(&f, 2, "sesn_a", "../image", NULL);
	expect_failed(&f, 2, ERR_INVALID, "workspace");
	claim(&f, 3, "sesn_a", "", "/workspace/../etc/passwd");
	expect_failed(&f, 3, ERR_INVALID, "workspace");
	claim(&f, 4, "sesn_a", "", "/run/pinfold/hands.sock");
	expect_failed(&f, 4, ERR_INVALID, "workspace");
	stop(&f);
}

struct ids {
	uint16_t type;
	uint64_t call;
	const uint64_t *number; /* NULL: the message has none */
	const char *exec_id;    /* the same */
};

/* A message about sesn_a. */
static void
ids(struct fixture *f, const struct ids *m)
{
	struct buf b;

	buf_init(&b, 4096);
	struct frame_w w = frame_begin(&b, m->type, m->call);

	frame_str(&w, STR("sesn_a"));
	if (m->number)
		frame_u64(&w, *m->number);
	if (m->exec_id)
		frame_str(&w, str_z(m->exec_id));
	frame_end(&w, 0);
	send_frame(f, &b);
	buf_done(&b);
}

static void
calls_without_a_sandbox_are_answered(void **state)
{
	struct fixture f;
	struct buf b;
	size_t used = 0;
	uint64_t destroy = 1;

	(void)state;
	start(&f, NULL, "");
	buf_init(&b, 4096);
	struct frame_w w = frame_begin(&b, HANDS_EXECUTE, 5);

	frame_str(&w, STR("sesn_a"));
	frame_u64(&w, 1);
	frame_str(&w, STR("sevt_1"));
	frame_str(&w, STR("bash"));
	frame_str(&w, STR("{}"));
	frame_u64(&w, 0);
	frame_end(&w, 0);
	send_frame(&f, &b);
	expect_failed(&f, 5, ERR_FENCED, "execute");
	ids(&f, &(struct ids){HANDS_COLLECT, 6, NULL, "sevt_1"});
	struct frame fr = next_message(&f, &used);
	struct frame_r r = frame_r(fr.payload);

	assert_int_equal(fr.type, HANDS_RESULT);
	assert_int_equal(fr.call, 6);
	assert_str(frame_get_str(&r), "sevt_1");
	assert_int_equal(frame_get_u64(&r), GUEST_UNKNOWN);
	buf_drop(&f.in, used);
	ids(&f, &(struct ids){HANDS_ACK, 0, NULL, "sevt_1"});
	ids(&f, &(struct ids){HANDS_CANCEL, 0, &destroy, "sevt_1"});
	ids(&f, &(struct ids){HANDS_RELEASE, 7, &destroy, NULL});
	fr = next_message(&f, &used);
	assert_int_equal(fr.type, HANDS_RELEASED);
	assert_int_equal(fr.call, 7);
	buf_drop(&f.in, used);
	buf_done(&b);
	stop(&f);
}

static void
a_malformed_message_drops_the_connection(void **state)
{
	struct fixture f;
	size_t used = 0;
	int p[2];
	struct err e = {0};

	(void)state;
	start(&f, NULL, "");
	ids(&f, &(struct ids){HANDS_COLLECT, 6, NULL, NULL});
	assert_int_equal(next_message(&f, &used).type, 0);
	/* Another control is welcome. */
	close(f.fd);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, p), 0);
	assert_int_equal(hands_set_control(f.hands, p[1], &e), 0);
	f.fd = p[0];
	buf_clear(&f.in);
	claim(&f, 1, "sesn_a", "", NULL);
	expect_failed(&f, 1, ERR_UNAVAILABLE, "platform");
	stop(&f);
}

int
main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_host_without_a_runtime_says_so),
		cmocka_unit_test(a_start_that_fails_names_the_step),
		cmocka_unit_test(claims_that_make_no_sense_are_refused),
		cmocka_unit_test(calls_without_a_sandbox_are_answered),
		cmocka_unit_test(a_malformed_message_drops_the_connection),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
