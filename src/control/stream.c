/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Event streams: a subscription of the brain tied to a connection. The subscriber is attached in the same
 * step in which the head is sent, so that history + tail is complete. One timer pings all streams.
 */
#include "control/stream.h"

#include <stdlib.h>

#include "io/sse.h"

#define EVENT_DELTAS_MAX 100

struct stream {
	struct streams *all;
	struct stream *next, **link;
	struct server_stream *out;
	struct brain_sub *sub;
};

struct streams {
	struct control *c;
	struct stream *first;
	struct loop_timer *timer;
	struct rc_bytes *ping;
};

static void
on_ping(void *arg)
{
	struct streams *all = arg;
	struct stream *next;
	for (struct stream *s = all->first; s != NULL; s = next) {
		next = s->next;
		(void)server_stream_send(s->out, all->ping, true);
	}
}

int
streams_new(struct streams **out, struct control *c, struct err *e)
{
	struct streams *all = calloc(1, sizeof(*all));
	if (all == NULL)
		return err_set(e, ERR_NO_MEMORY, "out of memory");
	AUTO(buf) struct buf b;
	buf_init(&b, KIB);
	sse_put(&b, STR_NULL, STR("ping"), STR("{\"type\":\"ping\"}"));
	all->c = c;
	all->ping = rc_bytes_new(buf_str(&b));
	all->timer = loop_timer_new(c->loop, on_ping, all);
	if (all->ping == NULL || all->timer == NULL) {
		streams_free(all);
		return err_set(e, ERR_NO_MEMORY, "out of memory");
	}
	loop_timer_start(all->timer, LIM_PING_MS, LIM_PING_MS);
	*out = all;
	return 0;
}

void
streams_free(struct streams *all)
{
	if (all == NULL)
		return;
	loop_timer_free(all->timer);
	rc_bytes_unref(all->ping);
	free(all);
}

static void
stream_free(struct stream *s)
{
	*s->link = s->next;
	if (s->next != NULL)
		s->next->link = s->link;
	brain_unsubscribe(s->sub);
	free(s);
}

/* The client is gone, or was too slow. */
static void
on_client_end(void *arg, struct server_stream *out)
{
	(void)out;
	stream_free(arg);
}

static void
on_record(void *arg, struct rc_bytes *record, bool droppable)
{
	struct stream *s = arg;
	(void)server_stream_send(s->out, record, droppable);
}

/* The session ended: what is queued still goes out, then on_client_end frees the stream. */
static void
on_session_end(void *arg)
{
	struct stream *s = arg;
	s->sub = NULL;
	server_stream_close(s->out);
}

static int
parse_previews(struct call *k, unsigned *previews, struct err *e)
{
	struct str v;
	for (size_t i = 0; call_query_all(k, "event_deltas", i, &v); i++) {
		if (i >= EVENT_DELTAS_MAX)
			return err_set(e, ERR_INVALID, "event_deltas: at most %d values", EVENT_DELTAS_MAX);
		if (str_eqz(v, "agent.message"))
			*previews |= BRAIN_PREVIEW_MESSAGE;
		else if (str_eqz(v, "agent.thinking"))
			*previews |= BRAIN_PREVIEW_THINKING;
		else
			return err_set(e, ERR_INVALID,
				"event_deltas.%zu: Input should be 'agent.message' or 'agent.thinking'", i);
	}
	return 0;
}

static void
on_none(void *arg, struct server_stream *out)
{
	(void)arg, (void)out;
}

void
stream_open(struct call *k, const struct session_state *s)
{
	struct err e = {0};
	struct control *c = k->c;
	struct brain_sub_opts o = {.on_record = on_record, .on_end = on_session_end};
	if (parse_previews(k, &o.previews, &e) < 0) {
		call_fail(k, &e);
		return;
	}
	if (s->turn.status == TURN_TERMINATED) {
		call_release(k);
		struct server_stream *out = server_stream_open(k->r, on_none, NULL);
		if (out != NULL)
			server_stream_close(out);
		return;
	}
	struct stream *st = calloc(1, sizeof(*st));
	o.arg = st;
	int r = st != NULL ? brain_subscribe(c->brain, id_str(&s->id), &o, &st->sub, &e)
			   : err_set(&e, ERR_NO_MEMORY, "out of memory");
	if (r < 0) {
		free(st);
		call_fail(k, &e);
		return;
	}
	st->all = c->streams;
	st->next = c->streams->first;
	st->link = &c->streams->first;
	if (st->next != NULL)
		st->next->link = &st->next;
	c->streams->first = st;
	call_release(k);
	st->out = server_stream_open(k->r, on_client_end, st);
	if (st->out == NULL)
		stream_free(st);
}
