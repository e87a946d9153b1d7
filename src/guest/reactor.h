/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The guest's event loop: poll(2), a few timers, nothing else. Watches and timers are embedded in their
 * owners; a callback may add and remove any of them, its own included. System calls are dear under ptrace, so
 * there is one poll a round and no other.
 */
#pragma once

#include "base/attr.h"

#define REACTOR_FDS 64

struct watch {
	int fd;
	short events; /* POLLIN, POLLOUT; may be changed at any time */
	void (*fn)(struct watch *w, short revents);
	bool on; /* the reactor's */
};

struct timer {
	uint64_t due_us; /* monotonic */
	void (*fn)(struct timer *t);
	struct timer *next; /* the reactor's */
	bool on;
};

struct reactor;

/* NULL: out of memory. */
struct reactor *reactor_new(void);
/* Everything must be off. NULL is fine. */
void reactor_free(struct reactor *r);

/* False when REACTOR_FDS watches are on already. Adding twice does nothing. */
bool reactor_watch(struct reactor *r, struct watch *w);
void reactor_unwatch(struct reactor *r, struct watch *w);

/* Fires once at t->due_us; setting a timer that is on changes its time. */
void reactor_timer(struct reactor *r, struct timer *t, uint64_t due_us);
void reactor_untimer(struct reactor *r, struct timer *t);

/* One round: waits for at most `max_ms` (-1: for ever) and calls what is ready. */
void reactor_turn(struct reactor *r, int max_ms);

/* The descriptors being watched, for a child to close; fills at most `max`, returns how many. */
size_t reactor_fds(const struct reactor *r, int *fds, size_t max);
