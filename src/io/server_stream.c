/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Event streams. A record that is sent to an empty queue leaves at once, once a round; what follows in the
 * same round is gathered and leaves when the round's callbacks are done. Records are shared; their chunk
 * framing is made while writing.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/uio.h>

#include "base/limits.h"
#include "io/conn.h"

enum {
	WRITE_RECORDS = 64,
	RING_FIRST = 4,
	SINK_READS = 4, /* per callback */
};

/* Chunk size line of one record. */
struct framing {
	char text[12];
	size_t n;
};

static struct conn *
conn_of(struct server_stream *st)
{
	return CONTAINER_OF(st, struct conn, st);
}

static struct rc_bytes *
record(const struct server_stream *st, uint32_t i)
{
	return st->q[(st->head + i) % st->cap];
}

/* The framing of a record; none on raw streams and for the chunk that is its own framing. */
static struct framing
framing_of(const struct server_stream *st, const struct rc_bytes *b, const struct rc_bytes *last_chunk)
{
	static const char hex[] = "0123456789abcdef";
	struct framing f = {0};
	size_t v = b->n;
	char digits[8];
	size_t k = 0;

	if (st->raw || b == last_chunk)
		return f;
	do {
		digits[k++] = hex[v & 15];
		v >>= 4;
	} while (v && k < sizeof(digits));
	while (k)
		f.text[f.n++] = digits[--k];
	f.text[f.n++] = '\r';
	f.text[f.n++] = '\n';
	return f;
}

static void
ring_free(struct server_stream *st)
{
	for (uint32_t i = 0; i < st->n; i++)
		rc_bytes_unref(record(st, i));
	free(st->q);
	st->q = NULL;
	st->cap = st->n = st->head = st->off = 0;
	st->queued = 0;
}

static bool
ring_put(struct server_stream *st, struct rc_bytes *b)
{
	if (st->n == st->cap) {
		uint32_t cap = st->cap ? st->cap * 2 : RING_FIRST;
		struct rc_bytes **q = malloc(cap * sizeof(struct rc_bytes *));

		if (!q)
			return false;
		for (uint32_t i = 0; i < st->n; i++)
			q[i] = record(st, i);
		free(st->q);
		st->q = q;
		st->cap = cap;
		st->head = 0;
	}
	st->q[(st->head + st->n) % st->cap] = rc_bytes_ref(b);
	st->n++;
	st->queued += b->n;
	return true;
}

/* Adds [p, p+n) without its first *skip bytes. */
static size_t
add_part(struct iovec *iov, const char *p, size_t n, size_t *skip)
{
	size_t cut = *skip < n ? *skip : n;

	*skip -= cut;
	p += cut;
	if (cut == n)
		return 0;
	/* iovec knows no const; sendmsg does not write. */
	memcpy(&iov->iov_base, &p, sizeof(p));
	iov->iov_len = n - cut;
	return 1;
}

static ssize_t
write_some(struct conn *c)
{
	const struct server_stream *st = &c->st;
	struct framing f[WRITE_RECORDS];
	struct iovec iov[3 * WRITE_RECORDS];
	struct msghdr m = {.msg_iov = iov};
	size_t skip = st->off;
	ssize_t n;

	for (uint32_t i = 0; i < st->n && i < WRITE_RECORDS; i++) {
		const struct rc_bytes *b = record(st, i);

		f[i] = framing_of(st, b, c->s->last_chunk);
		m.msg_iovlen += add_part(iov + m.msg_iovlen, f[i].text, f[i].n, &skip);
		m.msg_iovlen += add_part(iov + m.msg_iovlen, b->p, b->n, &skip);
		m.msg_iovlen += add_part(iov + m.msg_iovlen, "\r\n", f[i].n ? 2 : 0, &skip);
	}
	do
		n = sendmsg(c->fd, &m, MSG_NOSIGNAL | MSG_DONTWAIT);
	while (n < 0 && errno == EINTR);
	return n;
}

static void
sent(struct conn *c, size_t n)
{
	struct server_stream *st = &c->st;

	n += st->off;
	while (st->n) {
		struct rc_bytes *b = record(st, 0);
		struct framing f = framing_of(st, b, c->s->last_chunk);
		size_t whole = f.n ? f.n + b->n + 2 : b->n;

		if (n < whole)
			break;
		n -= whole;
		st->queued -= b->n;
		rc_bytes_unref(b);
		st->head = (st->head + 1) % st->cap;
		st->n--;
	}
	st->off = (uint32_t)n;
}

static void
list_dirty(struct conn *c)
{
	struct server *s = c->s;

	if (c->st.listed)
		return;
	c->st.listed = true;
	conn_hold(c);
	c->st.next_dirty = s->dirty;
	s->dirty = c;
	loop_task_post(s->l, &s->flush);
}

/* on_end is due, but not from inside the caller's call. */
static void
kill_later(struct conn *c)
{
	c->st.dead = true;
	ring_free(&c->st);
	conn_want(c, 0);
	conn_clock(c, CLOCK_NONE);
	list_dirty(c);
}

/* Writes what the socket takes. */
static void
flush(struct conn *c)
{
	struct server_stream *st = &c->st;

	while (st->n && !st->dead) {
		ssize_t n = write_some(c);

		if (n > 0) {
			sent(c, (size_t)n);
			continue;
		}
		if (errno != EAGAIN) {
			kill_later(c);
			return;
		}
		/* Every time around there was progress before, or the stream has only now become blocked. */
		st->blocked = true;
		conn_clock(c, CLOCK_WRITE);
		conn_want(c, LOOP_READ | LOOP_WRITE);
		return;
	}
	if (st->dead)
		return;
	ring_free(st);
	if (st->closing) {
		kill_later(c);
	} else if (st->blocked) {
		st->blocked = false;
		conn_clock(c, CLOCK_NONE);
		conn_want(c, LOOP_READ);
	}
}

void
stream_write(struct conn *c)
{
	flush(c);
}

void
stream_flush_all(void *server)
{
	struct server *s = server;
	struct conn *c = s->dirty;

	s->dirty = NULL;
	s->round++;
	while (c) {
		struct conn *next = c->st.next_dirty;

		c->st.listed = false;
		if (!c->freed && !c->st.dead && !c->st.blocked)
			flush(c);
		if (!c->freed && c->st.dead) {
			/* flush may have listed it again: the next round finds it closed. */
			shutdown(c->fd, SHUT_WR);
			conn_close(c);
		}
		conn_release(c);
		c = next;
	}
}

void
stream_end(struct conn *c)
{
	ring_free(&c->st);
	c->st.dead = true;
	if (c->st.on_end)
		c->st.on_end(c->st.arg, &c->st);
}

void
conn_sink(struct conn *c)
{
	struct server *s = c->s;

	for (int i = 0; i < SINK_READS; i++) {
		ssize_t n = recv(c->fd, s->sink, sizeof(s->sink), MSG_DONTWAIT);

		if (n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR)) {
			conn_close(c);
			return;
		}
		if (n < (ssize_t)sizeof(s->sink))
			return;
	}
}

struct server_stream *
server_stream_open(struct server_req *r, void (*on_end)(void *arg, struct server_stream *s), void *arg)
{
	struct conn *c = reply_begin(r);
	struct buf *b = &r->out.head;
	ssize_t n;

	if (!c)
		return NULL;
	r->close = true;
	reply_head(r, 200, "text/event-stream");
	http_put_header(b, "cache-control", STR("no-cache"));
	if (!r->http10)
		http_put_header(b, "transfer-encoding", STR("chunked"));
	http_put_end(b);
	if (r->gone || b->fail) {
		conn_close(c);
		return NULL;
	}
	if (r->head_only) {
		c->state = CONN_WRITE;
		conn_write(c);
		return NULL;
	}
	do
		n = send(c->fd, b->p, b->n, MSG_NOSIGNAL | MSG_DONTWAIT);
	while (n < 0 && errno == EINTR);
	if (n != (ssize_t)b->n) {
		/* Not even the head fits: a client that reads none of its former answers. */
		conn_close(c);
		return NULL;
	}
	c->st = (struct server_stream){.raw = r->http10, .on_end = on_end, .arg = arg};
	req_free(r);
	c->state = CONN_STREAM;
	conn_clock(c, CLOCK_NONE);
	conn_want(c, LOOP_READ);
	return &c->st;
}

bool
server_stream_send(struct server_stream *st, struct rc_bytes *bytes, bool droppable)
{
	struct conn *c = conn_of(st);
	struct server *s = c->s;

	if (st->dead || st->closing || (droppable && st->queued > LIM_STREAM_QUEUE))
		return false;
	if (!bytes->n)
		return true; /* an empty chunk would end the stream */
	if (st->queued > LIM_STREAM_CLOSE || !ring_put(st, bytes)) {
		kill_later(c);
		return false;
	}
	if (st->blocked)
		return true;
	if (st->n == 1 && st->round != s->round) {
		st->round = s->round;
		loop_task_post(s->l, &s->flush);
		flush(c);
	} else {
		list_dirty(c);
	}
	return true;
}

void
server_stream_close(struct server_stream *st)
{
	struct conn *c = conn_of(st);

	if (st->dead || st->closing)
		return;
	st->closing = true;
	if (!st->raw && !ring_put(st, c->s->last_chunk)) {
		kill_later(c);
		return;
	}
	list_dirty(c);
}

void
server_stream_cut(struct server_stream *st)
{
	if (!st->dead)
		kill_later(conn_of(st));
}

size_t
server_stream_queued(const struct server_stream *st)
{
	return st->queued;
}
