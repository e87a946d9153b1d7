/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The event loop of every role: libuv behind a few verbs. One loop per thread; all callbacks run on that
 * thread. Sources are opaque heap objects owned by whoever created them; *_free stops at once (no callback
 * afterwards) and releases the memory when libuv lets go. Freed sources may be freed from inside their own
 * callback.
 */
#pragma once

#include "base/err.h"

struct loop;
struct loop_timer;
struct loop_io;
struct loop_wake;
struct loop_child;
struct loop_signal;

/* ERR_NO_MEMORY, ERR_IO. */
int loop_new(struct loop **out, struct err *e);
/* Frees the loop after all its sources were freed by their owners. NULL is fine. */
void loop_free(struct loop *l);
/* Runs until loop_stop. */
void loop_run(struct loop *l);
/* Runs what is due without blocking; true while sources remain. For tests. */
bool loop_step(struct loop *l);
/* Makes loop_run return after the current callbacks. */
void loop_stop(struct loop *l);
/* Monotonic microseconds, read once per loop round. */
uint64_t loop_now_us(const struct loop *l);
/* Runs fn(arg) once, after the current callbacks, before the loop blocks again. Aborts when out of memory: on
 * request paths use loop_task_post. */
void loop_defer(struct loop *l, void (*fn)(void *arg), void *arg);

/* The same without an allocation: the task is embedded in its owner, who keeps it alive until it ran or was
 * cancelled. Initialise fn and arg, zero the rest. */
struct loop_task {
	void (*fn)(void *arg);
	void *arg;
	struct loop_task *prev, *next; /* private */
	bool queued;
};
/* Queues; nothing happens when it is queued already. May be called again from inside fn. */
void loop_task_post(struct loop *l, struct loop_task *t);
/* Takes it out of the queue; fine when not queued. */
void loop_task_cancel(struct loop *l, struct loop_task *t);

/* A stopped timer. NULL when out of memory. */
struct loop_timer *loop_timer_new(struct loop *l, void (*fn)(void *arg), void *arg);
void loop_timer_free(struct loop_timer *t);
/* (Re)arms: first after `ms`, then every `repeat_ms` (0: once). */
void loop_timer_start(struct loop_timer *t, uint64_t ms, uint64_t repeat_ms);
void loop_timer_stop(struct loop_timer *t);

/* LOOP_GONE: the other side closed or shut down its writing half; only delivered when asked for. */
enum { LOOP_READ = 1, LOOP_WRITE = 2, LOOP_GONE = 4 };

/* Watches a descriptor (borrowed; must outlive the source), made non-blocking. `fn` gets the ready events; an
 * error shows as LOOP_READ and LOOP_WRITE, a hang-up as what was wanted. Starts paused. NULL when out of
 * memory or the descriptor cannot be watched (errno). */
struct loop_io *loop_io_new(struct loop *l, int fd, void (*fn)(void *arg, unsigned events), void *arg);
void loop_io_free(struct loop_io *io);
/* Which events to wait for; 0 pauses. */
void loop_io_want(struct loop_io *io, unsigned events);

/* Wakes the loop from another thread; wakes coalesce. */
struct loop_wake *loop_wake_new(struct loop *l, void (*fn)(void *arg), void *arg);
void loop_wake_free(struct loop_wake *w);
/* Thread safe. */
void loop_wake_send(struct loop_wake *w);

/* Waits for a child through a pidfd and reaps it; `status` is waitpid's, or -1 when somebody else reaped it
 * (unknown). One callback, then the source stays idle. NULL when out of memory or there is no such process
 * (errno). */
struct loop_child *loop_child_new(struct loop *l, int pid, void (*fn)(void *arg, int status), void *arg);
void loop_child_free(struct loop_child *c);

/* Calls fn on the loop's thread for each `signum`. */
struct loop_signal *loop_signal_new(struct loop *l, int signum, void (*fn)(void *arg, int signum), void *arg);
void loop_signal_free(struct loop_signal *s);
