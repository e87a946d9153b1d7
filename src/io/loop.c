/* SPDX-License-Identifier: Apache-2.0 */
#include "io/loop.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>
#include <uv.h>

#include "base/clock.h"

#ifndef SYS_pidfd_open
#define SYS_pidfd_open 434
#endif

/* Lives outside struct loop because loop_now_us, which refreshes it, takes a const loop. */
struct round_time {
	uint64_t us;
	bool stale;
};

/*
 * Tasks run from the idle phase (posted by timers) and from the check phase (posted by descriptors'
 * callbacks). The idle handle is active exactly while the queue is not empty, which also keeps libuv from
 * blocking. The prepare handle runs right before the loop blocks and only marks the time as stale.
 */
struct loop {
	uv_loop_t uv;
	uv_prepare_t prepare;
	uv_check_t check;
	uv_idle_t idle;
	struct round_time *time;
	struct loop_task head; /* ring */
	struct loop_task mark; /* stands in the ring behind the tasks of the current run */
};

struct deferred {
	struct loop_task task;
	struct loop *l;
	void (*fn)(void *arg);
	void *arg;
};

static void
run_tasks(struct loop *l)
{
	/* Only what is queued now: a task that posts itself must not starve the descriptors. */
	struct loop_task *mark = &l->mark;

	mark->next = &l->head;
	mark->prev = l->head.prev;
	mark->prev->next = mark;
	l->head.prev = mark;
	while (l->head.next != mark) {
		struct loop_task *t = l->head.next;

		loop_task_cancel(l, t);
		t->fn(t->arg);
	}
	mark->prev->next = mark->next;
	mark->next->prev = mark->prev;
	if (l->head.next == &l->head)
		uv_idle_stop(&l->idle);
}

static void
on_prepare(uv_prepare_t *h)
{
	struct loop *l = h->data;

	l->time->stale = true;
}

static void
on_check(uv_check_t *h)
{
	run_tasks(h->data);
}

static void
on_idle(uv_idle_t *h)
{
	run_tasks(h->data);
}

int
loop_new(struct loop **out, struct err *e)
{
	struct loop *l = calloc(1, sizeof(*l));
	struct round_time *time = calloc(1, sizeof(*time));
	int r;

	if (!l || !time) {
		free(l);
		free(time);
		return err_set(e, ERR_NO_MEMORY, "event loop");
	}
	r = uv_loop_init(&l->uv);
	if (r < 0) {
		free(l);
		free(time);
		return err_set(e, ERR_IO, "event loop: %s", uv_strerror(r));
	}
	l->time = time;
	l->time->stale = true;
	l->head.prev = l->head.next = &l->head;
	uv_prepare_init(&l->uv, &l->prepare);
	uv_check_init(&l->uv, &l->check);
	uv_idle_init(&l->uv, &l->idle);
	l->prepare.data = l->check.data = l->idle.data = l;
	uv_prepare_start(&l->prepare, on_prepare);
	uv_check_start(&l->check, on_check);
	/* Housekeeping is not a reason to keep running. */
	uv_unref((uv_handle_t *)&l->prepare);
	uv_unref((uv_handle_t *)&l->check);
	*out = l;
	return 0;
}

static void
on_deferred(void *arg)
{
	struct deferred d = *(struct deferred *)arg;

	free(arg);
	d.fn(d.arg);
}

void
loop_free(struct loop *l)
{
	if (!l)
		return;
	while (l->head.next != &l->head) {
		struct loop_task *t = l->head.next;

		loop_task_cancel(l, t);
		if (t->fn == on_deferred)
			free(t->arg);
	}
	uv_close((uv_handle_t *)&l->prepare, NULL);
	uv_close((uv_handle_t *)&l->check, NULL);
	uv_close((uv_handle_t *)&l->idle, NULL);
	while (uv_run(&l->uv, UV_RUN_NOWAIT) != 0)
		;
	ASSERT(uv_loop_close(&l->uv) == 0); /* a source was not freed */
	free(l->time);
	free(l);
}

void
loop_run(struct loop *l)
{
	/* With a referenced handle uv_run ends by loop_stop only. */
	uv_ref((uv_handle_t *)&l->prepare);
	uv_run(&l->uv, UV_RUN_DEFAULT);
	uv_unref((uv_handle_t *)&l->prepare);
}

bool
loop_step(struct loop *l)
{
	return uv_run(&l->uv, UV_RUN_NOWAIT) != 0;
}

void
loop_stop(struct loop *l)
{
	uv_stop(&l->uv);
}

uint64_t
loop_now_us(const struct loop *l)
{
	if (l->time->stale) {
		l->time->us = clock_mono_us();
		l->time->stale = false;
	}
	return l->time->us;
}

void
loop_task_post(struct loop *l, struct loop_task *t)
{
	if (t->queued)
		return;
	if (l->head.next == &l->head)
		uv_idle_start(&l->idle, on_idle);
	t->queued = true;
	t->next = &l->head;
	t->prev = l->head.prev;
	t->prev->next = t;
	l->head.prev = t;
}

void
loop_task_cancel(struct loop *l, struct loop_task *t)
{
	(void)l;
	if (!t->queued)
		return;
	t->queued = false;
	t->prev->next = t->next;
	t->next->prev = t->prev;
}

void
loop_defer(struct loop *l, void (*fn)(void *arg), void *arg)
{
	struct deferred *d = calloc(1, sizeof(*d));

	ASSERT(d);
	d->fn = fn;
	d->arg = arg;
	d->task.fn = on_deferred;
	d->task.arg = d;
	loop_task_post(l, &d->task);
}

/* ---- timers ---- */

struct loop_timer {
	uv_timer_t h; /* first: the close callback frees the handle's address */
	void (*fn)(void *arg);
	void *arg;
};

static void
on_closed(uv_handle_t *h)
{
	free(h);
}

static void
on_timer(uv_timer_t *h)
{
	struct loop_timer *t = CONTAINER_OF(h, struct loop_timer, h);

	t->fn(t->arg);
}

struct loop_timer *
loop_timer_new(struct loop *l, void (*fn)(void *arg), void *arg)
{
	struct loop_timer *t = calloc(1, sizeof(*t));

	if (!t)
		return NULL;
	t->fn = fn;
	t->arg = arg;
	uv_timer_init(&l->uv, &t->h);
	return t;
}

void
loop_timer_free(struct loop_timer *t)
{
	if (t)
		uv_close((uv_handle_t *)&t->h, on_closed);
}

void
loop_timer_start(struct loop_timer *t, uint64_t ms, uint64_t repeat_ms)
{
	/* libuv counts from the start of the round, which may be long ago in a process that is still being
	 * set up. */
	uv_update_time(t->h.loop);
	uv_timer_start(&t->h, on_timer, ms, repeat_ms);
}

void
loop_timer_stop(struct loop_timer *t)
{
	uv_timer_stop(&t->h);
}

/* ---- descriptors ---- */

struct loop_io {
	uv_poll_t h; /* first */
	void (*fn)(void *arg, unsigned events);
	void *arg;
	uint8_t want;
	bool freed;
};

_Static_assert((int)LOOP_READ == (int)UV_READABLE && (int)LOOP_WRITE == (int)UV_WRITABLE &&
		       (int)LOOP_GONE == (int)UV_DISCONNECT,
	"same bits");

static void
on_poll(uv_poll_t *h, int status, int events)
{
	struct loop_io *io = CONTAINER_OF(h, struct loop_io, h);

	if (status == 0) {
		io->fn(io->arg, (unsigned)events & io->want);
		return;
	}
	/* libuv stopped watching; being level triggered is our promise, so start again unless the owner
	 * decided otherwise. */
	io->fn(io->arg, LOOP_READ | LOOP_WRITE);
	if (!io->freed && io->want)
		uv_poll_start(&io->h, io->want, on_poll);
}

struct loop_io *
loop_io_new(struct loop *l, int fd, void (*fn)(void *arg, unsigned events), void *arg)
{
	struct loop_io *io = calloc(1, sizeof(*io));
	int r;

	if (!io)
		return NULL;
	io->fn = fn;
	io->arg = arg;
	r = uv_poll_init(&l->uv, &io->h, fd);
	if (r < 0) {
		free(io);
		errno = -r;
		return NULL;
	}
	return io;
}

void
loop_io_free(struct loop_io *io)
{
	if (!io)
		return;
	io->freed = true;
	uv_close((uv_handle_t *)&io->h, on_closed);
}

void
loop_io_want(struct loop_io *io, unsigned events)
{
	if (events == io->want)
		return;
	io->want = (uint8_t)events;
	if (events)
		uv_poll_start(&io->h, (int)events, on_poll);
	else
		uv_poll_stop(&io->h);
}

/* ---- wakes from other threads ---- */

struct loop_wake {
	uv_async_t h; /* first */
	void (*fn)(void *arg);
	void *arg;
};

static void
on_wake(uv_async_t *h)
{
	struct loop_wake *w = CONTAINER_OF(h, struct loop_wake, h);

	w->fn(w->arg);
}

struct loop_wake *
loop_wake_new(struct loop *l, void (*fn)(void *arg), void *arg)
{
	struct loop_wake *w = calloc(1, sizeof(*w));

	if (!w)
		return NULL;
	w->fn = fn;
	w->arg = arg;
	if (uv_async_init(&l->uv, &w->h, on_wake) < 0) {
		free(w);
		return NULL;
	}
	return w;
}

void
loop_wake_free(struct loop_wake *w)
{
	if (w)
		uv_close((uv_handle_t *)&w->h, on_closed);
}

void
loop_wake_send(struct loop_wake *w)
{
	uv_async_send(&w->h);
}

/* ---- children ---- */

struct loop_child {
	struct loop_io *io;
	int fd;
	int pid;
	void (*fn)(void *arg, int status);
	void *arg;
};

static void
child_unwatch(struct loop_child *c)
{
	loop_io_free(MOVE(c->io));
	fd_close(MOVE_FD(c->fd));
}

static void
on_child(void *arg, unsigned events)
{
	struct loop_child *c = arg;
	int status = -1;
	int r;

	(void)events;
	do
		r = waitpid(c->pid, &status, WNOHANG | __WALL);
	while (r < 0 && errno == EINTR);
	if (r == 0)
		return;
	if (r < 0)
		status = -1;
	child_unwatch(c);
	c->fn(c->arg, status);
}

struct loop_child *
loop_child_new(struct loop *l, int pid, void (*fn)(void *arg, int status), void *arg)
{
	struct loop_child *c = calloc(1, sizeof(*c));

	if (!c)
		return NULL;
	c->pid = pid;
	c->fn = fn;
	c->arg = arg;
	c->fd = (int)syscall(SYS_pidfd_open, pid, 0); /* close-on-exec by definition */
	if (c->fd >= 0)
		c->io = loop_io_new(l, c->fd, on_child, c);
	if (!c->io) {
		int os = errno;

		fd_close(c->fd);
		free(c);
		errno = os;
		return NULL;
	}
	loop_io_want(c->io, LOOP_READ);
	return c;
}

void
loop_child_free(struct loop_child *c)
{
	if (!c)
		return;
	child_unwatch(c);
	free(c);
}

/* ---- signals ---- */

struct loop_signal {
	uv_signal_t h; /* first */
	void (*fn)(void *arg, int signum);
	void *arg;
};

static void
on_signal(uv_signal_t *h, int signum)
{
	struct loop_signal *s = CONTAINER_OF(h, struct loop_signal, h);

	s->fn(s->arg, signum);
}

struct loop_signal *
loop_signal_new(struct loop *l, int signum, void (*fn)(void *arg, int signum), void *arg)
{
	struct loop_signal *s = calloc(1, sizeof(*s));

	if (!s)
		return NULL;
	s->fn = fn;
	s->arg = arg;
	uv_signal_init(&l->uv, &s->h);
	if (uv_signal_start(&s->h, on_signal, signum) < 0) {
		uv_close((uv_handle_t *)&s->h, on_closed);
		return NULL;
	}
	return s;
}

void
loop_signal_free(struct loop_signal *s)
{
	if (s)
		uv_close((uv_handle_t *)&s->h, on_closed);
}
