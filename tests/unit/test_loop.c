/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/clock.h"
#include "io/loop.h"

/* What callbacks did, as letters in order. */
struct trace {
	struct loop *l;
	char log[64];
	size_t n;
	size_t stop_at; /* stops the loop when that many letters are there */
	struct loop_timer *timer;
	struct loop_io *io;
	struct loop_task task;
	int fd;
	int status;
	unsigned events;
};

static void
note(struct trace *t, char c)
{
	assert_true(t->n < sizeof(t->log) - 1);
	t->log[t->n++] = c;
	t->log[t->n] = '\0';
	if (t->n == t->stop_at)
		loop_stop(t->l);
}

static int
setup(void **state)
{
	struct trace *t = calloc(1, sizeof(*t));
	struct err e;

	assert_non_null(t);
	assert_int_equal(loop_new(&t->l, &e), 0);
	t->fd = -1;
	*state = t;
	return 0;
}

static int
teardown(void **state)
{
	struct trace *t = *state;

	loop_free(t->l);
	free(t);
	return 0;
}

static void
on_timer(void *arg)
{
	note(arg, 't');
}

static void
on_deferred(void *arg)
{
	note(arg, 'd');
}

static void
on_deferred_again(void *arg)
{
	struct trace *t = arg;

	note(t, 'D');
	loop_defer(t->l, on_deferred, t);
}

static void
timer_fires_once_and_again(void **state)
{
	struct trace *t = *state;
	struct loop_timer *a = loop_timer_new(t->l, on_timer, t);

	t->stop_at = 1;
	loop_timer_start(a, 1, 0);
	loop_run(t->l);
	assert_string_equal(t->log, "t");
	assert_false(loop_step(t->l));
	t->stop_at = 4;
	loop_timer_start(a, 1, 1);
	loop_run(t->l);
	assert_string_equal(t->log, "tttt");
	loop_timer_stop(a);
	assert_false(loop_step(t->l));
	loop_timer_free(a);
}

static void
free_own_timer(void *arg)
{
	struct trace *t = arg;

	note(t, 't');
	loop_timer_free(MOVE(t->timer));
}

static void
timer_may_be_freed_in_its_callback(void **state)
{
	struct trace *t = *state;

	t->timer = loop_timer_new(t->l, free_own_timer, t);
	t->stop_at = 1;
	loop_timer_start(t->timer, 1, 1);
	loop_run(t->l);
	assert_false(loop_step(t->l));
	assert_string_equal(t->log, "t");
}

static void
deferred_calls_run_before_the_loop_blocks(void **state)
{
	struct trace *t = *state;

	t->stop_at = 3;
	loop_defer(t->l, on_deferred_again, t);
	loop_defer(t->l, on_deferred, t);
	loop_run(t->l); /* nothing else would wake it */
	assert_string_equal(t->log, "Ddd");
}

static void
defer_from_timer(void *arg)
{
	struct trace *t = arg;

	note(t, 't');
	loop_defer(t->l, on_deferred, t);
}

static void
deferring_from_a_timer(void **state)
{
	struct trace *t = *state;
	struct loop_timer *a = loop_timer_new(t->l, defer_from_timer, t);

	t->stop_at = 2;
	loop_timer_start(a, 0, 0);
	loop_run(t->l);
	assert_string_equal(t->log, "td");
	loop_timer_free(a);
}

static void
on_task(void *arg)
{
	struct trace *t = arg;

	note(t, 'k');
	if (t->n < 3)
		loop_task_post(t->l, &t->task);
}

static void
tasks_post_themselves_and_are_cancelled(void **state)
{
	struct trace *t = *state;

	t->task = (struct loop_task){.fn = on_task, .arg = t};
	loop_task_post(t->l, &t->task);
	loop_task_post(t->l, &t->task); /* once is enough */
	loop_step(t->l);
	while (loop_step(t->l))
		;
	assert_string_equal(t->log, "kkk");
	loop_task_post(t->l, &t->task);
	loop_task_cancel(t->l, &t->task);
	loop_task_cancel(t->l, &t->task);
	loop_step(t->l);
	assert_string_equal(t->log, "kkk");
}

static void
deferred_calls_of_a_freed_loop_are_dropped(void **state)
{
	struct trace *t = *state;

	loop_defer(t->l, on_deferred, t);
	t->task = (struct loop_task){.fn = on_task, .arg = t};
	loop_task_post(t->l, &t->task);
	/* teardown frees the loop; the leak checker judges */
}

static void
stop_before_run(void **state)
{
	struct trace *t = *state;

	loop_stop(t->l);
	loop_run(t->l);
}

static void
on_readable(void *arg, unsigned events)
{
	struct trace *t = arg;
	char c;

	t->events |= events;
	if ((events & LOOP_READ) && read(t->fd, &c, 1) == 1)
		note(t, c);
	else if (events & LOOP_READ)
		loop_io_want(t->io, 0);
	if (events & LOOP_WRITE) {
		note(t, 'w');
		loop_io_want(t->io, LOOP_READ);
	}
	if (events & LOOP_GONE) {
		note(t, 'g');
		loop_io_want(t->io, 0);
	}
}

static void
descriptors_are_watched_as_wanted(void **state)
{
	struct trace *t = *state;
	int sv[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sv), 0);
	t->fd = sv[0];
	t->io = loop_io_new(t->l, sv[0], on_readable, t);
	assert_int_equal(write(sv[1], "ab", 2), 2);
	loop_step(t->l);
	assert_int_equal(t->n, 0); /* paused from the start */
	loop_io_want(t->io, LOOP_READ);
	t->stop_at = 2;
	loop_run(t->l);
	assert_string_equal(t->log, "ab"); /* level triggered: one byte was read each time */
	loop_io_want(t->io, LOOP_READ | LOOP_WRITE);
	t->stop_at = 3;
	loop_run(t->l);
	assert_string_equal(t->log, "abw");
	loop_io_want(t->io, LOOP_GONE);
	assert_int_equal(write(sv[1], "c", 1), 1);
	loop_step(t->l);
	assert_string_equal(t->log, "abw");
	close(sv[1]);
	t->stop_at = 4;
	loop_run(t->l);
	assert_string_equal(t->log, "abwg");
	loop_io_free(t->io);
	close(sv[0]);
}

static void
free_own_io(void *arg, unsigned events)
{
	struct trace *t = arg;

	note(t, 'f');
	t->events = events;
	loop_io_free(MOVE(t->io));
	close(t->fd);
}

static void
an_error_shows_as_both_and_the_source_may_be_freed(void **state)
{
	struct trace *t = *state;
	struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t n = sizeof(a);
	int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	/* A port where nobody listens: the connection attempt fails on the loop. */
	assert_int_equal(bind(listener, (struct sockaddr *)&a, n), 0);
	assert_int_equal(getsockname(listener, (struct sockaddr *)&a, &n), 0);
	close(listener);
	t->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	t->io = loop_io_new(t->l, t->fd, free_own_io, t);
	if (connect(t->fd, (struct sockaddr *)&a, n) < 0)
		assert_int_equal(errno, EINPROGRESS);
	loop_io_want(t->io, LOOP_READ);
	t->stop_at = 1;
	loop_run(t->l);
	assert_true((t->events & LOOP_READ) != 0);
	assert_false(loop_step(t->l));
}

static void
a_plain_file_cannot_be_watched(void **state)
{
	struct trace *t = *state;
	int fd = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);

	assert_true(fd >= 0);
	assert_null(loop_io_new(t->l, fd, on_readable, t));
	assert_int_equal(errno, EPERM);
	close(fd);
}

static void
on_wake(void *arg)
{
	note(arg, 'W');
}

static void *
waker(void *arg)
{
	for (int i = 0; i < 1000; i++)
		loop_wake_send(arg);
	return NULL;
}

static void
other_threads_wake_the_loop(void **state)
{
	struct trace *t = *state;
	struct loop_wake *w = loop_wake_new(t->l, on_wake, t);
	pthread_t th;

	t->stop_at = 1;
	assert_int_equal(pthread_create(&th, NULL, waker, w), 0);
	loop_run(t->l);
	pthread_join(th, NULL);
	assert_true(t->n >= 1);
	loop_wake_free(w);
}

static void
on_child(void *arg, int status)
{
	struct trace *t = arg;

	t->status = status;
	note(t, 'c');
}

static pid_t
child(int code)
{
	pid_t pid = fork();

	assert_true(pid >= 0);
	if (pid == 0) {
		if (code < 0)
			kill(getpid(), -code);
		_exit(code);
	}
	return pid;
}

static void
children_are_reaped_with_their_status(void **state)
{
	struct trace *t = *state;
	pid_t pid = child(42);
	struct loop_child *c = loop_child_new(t->l, pid, on_child, t);

	t->stop_at = 1;
	loop_run(t->l);
	assert_true(WIFEXITED(t->status));
	assert_int_equal(WEXITSTATUS(t->status), 42);
	assert_int_equal(waitpid(pid, NULL, WNOHANG), -1); /* gone already */
	loop_child_free(c);

	c = loop_child_new(t->l, child(-SIGKILL), on_child, t);
	t->stop_at = 2;
	loop_run(t->l);
	assert_true(WIFSIGNALED(t->status));
	assert_int_equal(WTERMSIG(t->status), SIGKILL);
	loop_child_free(c);
}

static void
a_child_reaped_elsewhere_is_unknown(void **state)
{
	struct trace *t = *state;
	pid_t pid = child(3);
	struct loop_child *c = loop_child_new(t->l, pid, on_child, t);

	assert_int_equal(waitpid(pid, NULL, 0), pid);
	t->stop_at = 1;
	loop_run(t->l);
	assert_int_equal(t->status, -1);
	loop_child_free(c);
	assert_null(loop_child_new(t->l, pid, on_child, t));
	assert_int_equal(errno, ESRCH);
}

static void
on_signal(void *arg, int signum)
{
	note(arg, signum == SIGUSR1 ? 'u' : '?');
}

static void
signals_arrive_on_the_loop(void **state)
{
	struct trace *t = *state;
	struct loop_signal *s = loop_signal_new(t->l, SIGUSR1, on_signal, t);

	assert_non_null(s);
	kill(getpid(), SIGUSR1);
	t->stop_at = 1;
	loop_run(t->l);
	assert_string_equal(t->log, "u");
	loop_signal_free(s);
	assert_null(loop_signal_new(t->l, SIGKILL, on_signal, t));
}

static void
read_time(void *arg)
{
	struct trace *t = arg;
	uint64_t a = loop_now_us(t->l);

	clock_fake(5000000, 1);
	assert_int_equal(loop_now_us(t->l), a); /* once a round */
	note(t, 'n');
}

static void
time_is_read_once_a_round(void **state)
{
	struct trace *t = *state;

	clock_fake(1000, 1);
	t->stop_at = 1;
	loop_defer(t->l, read_time, t);
	loop_run(t->l);
	loop_step(t->l);
	loop_step(t->l);
	assert_int_equal(loop_now_us(t->l), 5000000);
	clock_fake(0, 0);
}

int
main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	static const struct CMUnitTest tests[] = {
		T(timer_fires_once_and_again),
		T(timer_may_be_freed_in_its_callback),
		T(deferred_calls_run_before_the_loop_blocks),
		T(deferring_from_a_timer),
		T(tasks_post_themselves_and_are_cancelled),
		T(deferred_calls_of_a_freed_loop_are_dropped),
		T(stop_before_run),
		T(descriptors_are_watched_as_wanted),
		T(an_error_shows_as_both_and_the_source_may_be_freed),
		T(a_plain_file_cannot_be_watched),
		T(other_threads_wake_the_loop),
		T(children_are_reaped_with_their_status),
		T(a_child_reaped_elsewhere_is_unknown),
		T(signals_arrive_on_the_loop),
		T(time_is_read_once_a_round),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
