/* SPDX-License-Identifier: Apache-2.0 */
#include "puppet/player.h"

#include <stdlib.h>

#include "base/limits.h"

#define EVENT_STREAM "text/event-stream; charset=utf-8"

enum { ROOM_MS = 5 };

struct player {
	struct server_stream *stream;
	struct loop_timer *timer;
	struct events ev;
	size_t next;
	size_t end;   /* events that are sent */
	bool cut;     /* ... and then the connection breaks */
	bool stalled; /* the pause after the first event is over or not wanted */
	uint64_t delay_ms, stall_ms;
	bool waited; /* the delay before the next delta is over */
};

static void
player_free(struct player *p)
{
	loop_timer_free(p->timer);
	events_done(&p->ev);
	free(p);
}

static void
on_end(void *arg, struct server_stream *s)
{
	(void)s;
	player_free(arg);
}

/* The pause before the next event, in ms; 0: none. */
static uint64_t
pause_ms(struct player *p)
{
	if (p->next == 1 && !p->stalled) {
		p->stalled = true;
		return p->stall_ms;
	}
	if (server_stream_queued(p->stream) > LIM_STREAM_QUEUE)
		return ROOM_MS;
	if (p->delay_ms && !p->waited && p->next < p->end && events_is_delta(&p->ev, p->next)) {
		p->waited = true;
		return p->delay_ms;
	}
	return 0;
}

static void
finish(struct player *p)
{
	if (p->cut)
		server_stream_cut(p->stream);
	else
		server_stream_close(p->stream);
}

static void
step(void *arg)
{
	struct player *p = arg;

	while (p->next < p->end) {
		uint64_t ms = pause_ms(p);

		if (ms) {
			loop_timer_start(p->timer, ms, 0);
			return;
		}
		struct rc_bytes *b = rc_bytes_new(events_get(&p->ev, p->next));
		bool sent = b && server_stream_send(p->stream, b, false);

		rc_bytes_unref(b);
		p->next++;
		p->waited = false;
		if (!sent) {
			server_stream_cut(p->stream);
			return;
		}
	}
	/* What was sent leaves at the end of this round: breaking off waits for the next one. */
	if (p->cut && p->end) {
		p->end = p->next = 0;
		loop_timer_start(p->timer, 1, 0);
		return;
	}
	finish(p);
}

/* The whole stream in one answer: the connection is kept, and a core answers thousands a second. */
static void
send_whole(struct server_req *r, const struct events *ev)
{
	struct rc_bytes *b = rc_bytes_new(buf_str(&ev->bytes));
	struct err e;

	if (!b) {
		err_set(&e, ERR_NO_MEMORY, "answer");
		server_reply_error(r, &e);
		return;
	}
	server_req_add_header(r, "cache-control", STR("no-cache"));
	server_reply_bytes(r, 200, EVENT_STREAM, b);
}

static bool
needs_time(const struct answer *m)
{
	return m->cut || m->delay_ms || m->stall_ms;
}

void
player_start(struct loop *l, struct server_req *r, const struct answer *m, struct events *ev)
{
	struct player *p;
	struct err e;

	if (!needs_time(m)) {
		send_whole(r, ev);
		return;
	}
	p = calloc(1, sizeof(*p));
	if (p) {
		p->timer = loop_timer_new(l, step, p);
		events_init(&p->ev);
	}
	if (!p || !p->timer) {
		free(p);
		err_set(&e, ERR_NO_MEMORY, "answer");
		server_reply_error(r, &e);
		return;
	}
	struct events empty;

	events_init(&empty);
	p->ev = *ev;
	*ev = empty;
	p->cut = m->cut;
	p->end = m->cut && m->events < p->ev.n ? m->events : p->ev.n;
	p->delay_ms = m->delay_ms;
	p->stall_ms = m->stall_ms;
	p->stream = server_stream_open(r, on_end, p);
	if (!p->stream) {
		player_free(p);
		return;
	}
	step(p);
}
