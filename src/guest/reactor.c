/* SPDX-License-Identifier: Apache-2.0 */
#include "guest/reactor.h"

#include <limits.h>
#include <poll.h>
#include <stdlib.h>

#include "base/clock.h"

struct reactor {
	struct watch *w[REACTOR_FDS]; /* borrowed */
	size_t n;
	struct timer *timers; /* borrowed, in no order: they are few */
};

struct reactor *
reactor_new(void)
{
	return calloc(1, sizeof(struct reactor));
}

void
reactor_free(struct reactor *r)
{
	free(r);
}

bool
reactor_watch(struct reactor *r, struct watch *w)
{
	if (w->on)
		return true;
	if (r->n == REACTOR_FDS)
		return false;
	r->w[r->n++] = w;
	w->on = true;
	return true;
}

void
reactor_unwatch(struct reactor *r, struct watch *w)
{
	if (!w->on)
		return;
	w->on = false;
	for (size_t i = 0; i < r->n; i++) {
		if (r->w[i] == w) {
			r->w[i] = r->w[--r->n];
			return;
		}
	}
}

void
reactor_timer(struct reactor *r, struct timer *t, uint64_t due_us)
{
	t->due_us = due_us;
	if (t->on)
		return;
	t->on = true;
	t->next = r->timers;
	r->timers = t;
}

void
reactor_untimer(struct reactor *r, struct timer *t)
{
	if (!t->on)
		return;
	t->on = false;
	for (struct timer **at = &r->timers; *at; at = &(*at)->next) {
		if (*at == t) {
			*at = t->next;
			return;
		}
	}
}

/* Milliseconds until the first timer, rounded up, at most `max_ms` (-1: no limit). */
static int
patience(const struct reactor *r, int max_ms)
{
	uint64_t first = UINT64_MAX;

	for (const struct timer *t = r->timers; t; t = t->next)
		first = t->due_us < first ? t->due_us : first;
	if (first == UINT64_MAX)
		return max_ms;
	uint64_t now = clock_mono_us();
	uint64_t ms = first <= now ? 0 : (first - now + 999) / 1000;
	if (ms > INT_MAX)
		ms = INT_MAX;
	return max_ms >= 0 && (uint64_t)max_ms < ms ? max_ms : (int)ms;
}

/* Fires timers that were due when the round began, one search per timer because a callback may change the
 * list. */
static void
fire_timers(struct reactor *r)
{
	if (!r->timers)
		return;
	uint64_t now = clock_mono_us();
	for (struct timer *t = r->timers; t;) {
		if (t->due_us > now) {
			t = t->next;
			continue;
		}
		reactor_untimer(r, t);
		t->fn(t);
		t = r->timers;
	}
}

void
reactor_turn(struct reactor *r, int max_ms)
{
	struct pollfd p[REACTOR_FDS];
	struct watch *w[REACTOR_FDS];
	size_t n = r->n;

	for (size_t i = 0; i < n; i++) {
		w[i] = r->w[i];
		p[i] = (struct pollfd){.fd = w[i]->fd, .events = w[i]->events};
	}
	int ready = poll(p, n, patience(r, max_ms));
	for (size_t i = 0; i < n && ready > 0; i++) {
		if (!p[i].revents)
			continue;
		ready--;
		/* A callback before may have removed it; its memory may be gone, so look in the list first.
		 */
		for (size_t k = 0; k < r->n; k++) {
			if (r->w[k] == w[i] && w[i]->fd == p[i].fd) {
				w[i]->fn(w[i], p[i].revents);
				break;
			}
		}
	}
	fire_timers(r);
}

size_t
reactor_fds(const struct reactor *r, int *fds, size_t max)
{
	size_t n = 0;

	for (size_t i = 0; i < r->n && n < max; i++)
		fds[n++] = r->w[i]->fd;
	return n;
}
