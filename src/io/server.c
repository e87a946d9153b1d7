/* SPDX-License-Identifier: Apache-2.0 */
/* Connections: accepting, clocks, closing; and the pool of request objects. */
#include "io/server.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/limits.h"
#include "io/conn.h"

enum {
	ACCEPT_ROUND = 64, /* connections per callback */
	TICK_MIN_MS = 10,
	TICK_MAX_MS = 1000,
	LINGER_MS = 10000,
	POOL_KEEP = 16 * 1024, /* larger buffers are not kept in the pool */
	IDS_AT_ONCE = 256,
};

/* ---- lists ---- */

static void
link_init(struct conn_link *head)
{
	head->prev = head->next = head;
}

static void
link_add(struct conn_link *head, struct conn_link *x)
{
	x->prev = head->prev;
	x->next = head;
	x->prev->next = x;
	head->prev = x;
}

static void
link_del(struct conn_link *x)
{
	x->prev->next = x->next;
	x->next->prev = x->prev;
}

static struct conn *
conn_of(struct conn_link *x)
{
	return CONTAINER_OF(x, struct conn, link);
}

static struct server_req *
req_of(struct conn_link *x)
{
	return CONTAINER_OF(x, struct server_req, link);
}

/* ---- request objects ---- */

static void
req_destroy(struct server_req *r)
{
	buf_done(&r->in);
	buf_done(&r->body_buf);
	buf_done(&r->extra);
	answer_clear(&r->out);
	buf_done(&r->out.head);
	arena_free(r->arena);
	free(r);
}

static void
on_req_task(void *arg)
{
	struct server_req *r = arg;

	if (r->c)
		conn_pump(r->c);
}

static struct server_req *
req_make(const struct server *s)
{
	struct server_req *r = calloc(1, sizeof(*r));

	if (!r)
		return NULL;
	r->arena = arena_new(LIM_REQ_ARENA);
	if (!r->arena) {
		free(r);
		return NULL;
	}
	r->task = (struct loop_task){.fn = on_req_task, .arg = r};
	buf_init(&r->in, LIM_HTTP_HEAD + 2 * LIM_CHUNK);
	buf_init(&r->body_buf, s->lim.max_body);
	buf_init(&r->extra, LIM_HTTP_HEAD);
	answer_init(&r->out);
	return r;
}

struct server_req *
req_new(struct conn *c)
{
	struct server *s = c->s;
	struct server_req *r;

	if (s->n_pool) {
		r = req_of(s->pool.prev);
		link_del(&r->link);
		s->n_pool--;
	} else {
		r = req_make(s);
		if (!r)
			return NULL;
	}
	link_add(&s->live, &r->link);
	r->s = s;
	r->c = c;
	c->req = r;
	return r;
}

static void
shrink(struct buf *b)
{
	if (b->cap > POOL_KEEP)
		buf_done(b);
}

void
req_reset(struct server_req *r)
{
	buf_drop(&r->in, r->in_at);
	buf_done(&r->body_buf);
	r->s->body_bytes -= r->body_counted;
	r->body_counted = 0;
	buf_clear(&r->extra);
	answer_clear(&r->out);
	shrink(&r->out.head);
	arena_reset(r->arena);
	r->in_at = r->scanned = r->tried = 0;
	r->method = r->path = r->body = STR_NULL;
	r->headers = NULL;
	r->pairs = NULL;
	r->n_headers = r->n_pairs = 0;
	r->body_seen = r->body_max = 0;
	r->on_piece = NULL;
	r->on_gone = NULL;
	r->data = r->on_piece_arg = r->on_gone_arg = NULL;
	r->head_only = r->http10 = r->close = r->expect = r->has_id = r->handed = false;
	r->answered = r->doomed = r->gone = r->gone_told = r->paused = false;
}

void
req_free(struct server_req *r)
{
	struct server *s = r->s;

	if (r->c)
		r->c->req = NULL;
	r->c = NULL;
	if (s) {
		loop_task_cancel(s->l, &r->task);
		link_del(&r->link);
	}
	if (s)
		req_reset(r);
	if (!s || s->n_pool >= REQ_POOL) {
		req_destroy(r);
		return;
	}
	buf_clear(&r->in);
	shrink(&r->in);
	link_add(&s->pool, &r->link);
	s->n_pool++;
}

/* Counts the base-62 tail up by one. */
static void
next_id(struct id *id)
{
	char *p = id->z + strlen(id->z);

	for (;;) {
		p--;
		if (*p != 'z')
			break;
		*p = '0';
	}
	*p = *p == '9' ? 'A' : *p == 'Z' ? 'a' : (char)(*p + 1);
}

void
req_id(struct server_req *r)
{
	struct server *s = r->s;

	if (r->has_id)
		return;
	/* Unique is enough: asking the kernel for randomness would cost as much as the rest of a small
	 * request. */
	if (s->ids_left == 0) {
		s->id = id_new("req", clock_wall_us());
		s->ids_left = IDS_AT_ONCE;
	} else {
		next_id(&s->id);
	}
	s->ids_left--;
	r->id = s->id;
	r->has_id = true;
}

void
req_lost(struct server_req *r)
{
	bool handed = r->handed;
	struct err e = {0};

	r->c->req = NULL;
	r->c = NULL;
	r->gone = true;
	loop_task_cancel(r->s->l, &r->task);
	if (r->answered) {
		req_free(r);
		return;
	}
	err_set(&e, ERR_IO, "the client is gone");
	req_tell(r, &e);
	if (!handed)
		req_free(r);
}

struct str
server_date(struct server *s)
{
	time_t now = (time_t)(clock_wall_us() / 1000000);
	struct tm tm;

	if (!s->date[0] || s->date_s != (uint64_t)now) {
		gmtime_r(&now, &tm);
		strftime(s->date, sizeof(s->date), "%a, %d %b %Y %H:%M:%S GMT", &tm);
		s->date_s = (uint64_t)now;
	}
	return str_z(s->date);
}

/* ---- connections ---- */

void
conn_hold(struct conn *c)
{
	c->held++;
}

void
conn_release(struct conn *c)
{
	if (--c->held == 0 && c->freed)
		free(c);
}

void
conn_want(struct conn *c, unsigned events)
{
	if (c->io)
		loop_io_want(c->io, events);
}

void
conn_clock(struct conn *c, enum conn_clock clock)
{
	struct server *s = c->s;

	link_del(&c->link);
	link_add(&s->clocks[clock], &c->link);
	c->clock = clock;
	if (clock == CLOCK_NONE)
		return;
	c->deadline_us = loop_now_us(s->l) + s->clock_us[clock];
	if (!s->ticking) {
		s->ticking = true;
		loop_timer_start(s->tick, s->tick_ms, s->tick_ms);
	}
}

void
conn_close(struct conn *c)
{
	if (c->freed)
		return;
	c->freed = true;
	link_del(&c->link);
	c->s->n_conns--;
	loop_io_free(MOVE(c->io));
	fd_close(MOVE_FD(c->fd));
	conn_hold(c);
	if (c->state == CONN_STREAM)
		stream_end(c);
	if (c->req)
		req_lost(c->req);
	conn_release(c);
}

static void
on_conn(void *arg, unsigned events)
{
	struct conn *c = arg;

	conn_hold(c);
	if ((events & LOOP_WRITE) && c->state == CONN_WRITE)
		conn_write(c);
	else if ((events & LOOP_WRITE) && c->state == CONN_STREAM)
		stream_write(c);
	else if (events & LOOP_WRITE)
		conn_close(c); /* not asked for: the socket has an error */
	if (!c->freed && (events & LOOP_GONE) && c->state == CONN_WAIT)
		conn_gone(c);
	else if (!c->freed && (events & LOOP_READ))
		conn_read(c);
	conn_release(c);
}

static void
expired(struct conn *c, enum conn_clock clock)
{
	struct err e = {0};

	switch (clock) {
	case CLOCK_HEAD:
		err_set(&e, ERR_TIMEOUT, "the request's head took too long");
		conn_refuse(c, &e);
		return;
	case CLOCK_BODY:
		err_code(&e, ERR_INVALID, "request_body_timeout", "the request's body took too long");
		conn_body_failed(c, &e);
		return;
	case CLOCK_NONE:
	case CLOCK_IDLE:
	case CLOCK_WRITE:
	case CLOCK_LINGER:
	case CLOCK_COUNT:
		break;
	}
	conn_close(c);
}

static void
on_tick(void *arg)
{
	struct server *s = arg;
	uint64_t now = loop_now_us(s->l);
	bool busy = s->accept_paused;

	if (s->accept_paused) {
		s->accept_paused = false;
		loop_io_want(s->listen_io, LOOP_READ);
	}
	for (int k = CLOCK_NONE + 1; k < CLOCK_COUNT; k++) {
		struct conn_link *head = &s->clocks[k];

		while (head->next != head && conn_of(head->next)->deadline_us <= now) {
			struct conn *c = conn_of(head->next);

			conn_hold(c);
			conn_clock(c, CLOCK_NONE);
			expired(c, (enum conn_clock)k);
			conn_release(c);
		}
		busy = busy || head->next != head;
	}
	if (!busy) {
		s->ticking = false;
		loop_timer_stop(s->tick);
	}
}

static void
conn_new(struct server *s, int fd)
{
	struct conn *c = calloc(1, sizeof(*c));

	if (c)
		c->io = loop_io_new(s->l, fd, on_conn, c);
	if (!c || !c->io) {
		free(c);
		fd_close(fd);
		return;
	}
	c->s = s;
	c->fd = fd;
	link_init(&c->link);
	s->n_conns++;
	conn_clock(c, CLOCK_IDLE);
	conn_want(c, LOOP_READ);
}

/* Tells why and closes: no connection object, one write. */
static void
turn_away(struct server *s, int fd)
{
	AUTO(buf) struct buf body;
	AUTO(buf) struct buf b;
	struct err e = {0};
	struct id id = id_new("req", clock_wall_us());

	buf_init(&body, 4096);
	buf_init(&b, 8192);
	err_set(&e, ERR_UNAVAILABLE, "too many connections");
	error_text(s, &body, &e, id_str(&id));
	http_put_status(&b, err_http_status(e.kind));
	http_put_header(&b, "content-type", STR("application/json"));
	http_put_header(&b, "request-id", id_str(&id));
	http_put_header(&b, "connection", STR("close"));
	http_put_header_u64(&b, "content-length", body.n);
	http_put_end(&b);
	buf_put_str(&b, buf_str(&body));
	if (!b.fail && send(fd, b.p, b.n, MSG_NOSIGNAL | MSG_DONTWAIT) > 0)
		shutdown(fd, SHUT_WR);
	fd_close(fd);
}

/* Descriptors ran out: frees the spare one to get the connection off the queue. False when that did not help.
 */
static bool
turn_away_with_spare(struct server *s)
{
	fd_close(MOVE_FD(s->spare_fd));
	int fd = accept4(s->listen_fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

	if (fd >= 0)
		turn_away(s, fd);
	s->spare_fd = open("/", O_PATH | O_CLOEXEC);
	return fd >= 0;
}

static void
pause_accept(struct server *s)
{
	s->accept_paused = true;
	loop_io_want(s->listen_io, 0);
	if (!s->ticking) {
		s->ticking = true;
		loop_timer_start(s->tick, s->tick_ms, s->tick_ms);
	}
}

static void
on_listen(void *arg, unsigned events)
{
	struct server *s = arg;

	(void)events;
	for (int i = 0; i < ACCEPT_ROUND; i++) {
		int fd = accept4(s->listen_fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

		if (fd >= 0 && s->n_conns < s->lim.max_conns) {
			conn_new(s, fd);
			continue;
		}
		if (fd >= 0) {
			turn_away(s, fd);
			continue;
		}
		if (errno == EAGAIN)
			return;
		if (errno == EINTR || errno == ECONNABORTED || errno == EPROTO)
			continue;
		if ((errno == EMFILE || errno == ENFILE) && s->spare_fd >= 0 && turn_away_with_spare(s))
			continue;
		pause_accept(s);
		return;
	}
}

/* ---- the server ---- */

static uint64_t
or_default(uint64_t v, uint64_t dflt)
{
	return v ? v : dflt;
}

static void
set_limits(struct server *s, const struct server_limits *lim)
{
	uint64_t least;

	s->lim.max_body = or_default(lim->max_body, LIM_HTTP_BODY);
	s->lim.max_bodies = or_default(lim->max_bodies, 8 * s->lim.max_body);
	s->lim.max_conns = or_default(lim->max_conns, LIM_HTTP_CONNS);
	s->clock_us[CLOCK_HEAD] = or_default(lim->head_ms, LIM_HTTP_HEAD_MS) * 1000;
	s->clock_us[CLOCK_BODY] = or_default(lim->body_ms, LIM_HTTP_BODY_MS) * 1000;
	s->clock_us[CLOCK_IDLE] = or_default(lim->idle_ms, LIM_HTTP_IDLE_MS) * 1000;
	s->clock_us[CLOCK_WRITE] = or_default(lim->write_ms, LIM_HTTP_WRITE_MS) * 1000;
	s->clock_us[CLOCK_LINGER] = LINGER_MS * 1000;
	least = s->clock_us[CLOCK_LINGER];
	for (int k = CLOCK_IDLE; k < CLOCK_COUNT; k++)
		if (s->clock_us[k] < least)
			least = s->clock_us[k];
	/* Late by at most a quarter of the shortest. */
	s->tick_ms = least / 4000;
	if (s->tick_ms < TICK_MIN_MS)
		s->tick_ms = TICK_MIN_MS;
	if (s->tick_ms > TICK_MAX_MS)
		s->tick_ms = TICK_MAX_MS;
}

static int
server_watch(struct server *s, struct err *e)
{
	int on = 1;

	/* Accepted sockets inherit it. A Unix socket knows no such option. */
	setsockopt(s->listen_fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	s->spare_fd = open("/", O_PATH | O_CLOEXEC);
	s->tick = loop_timer_new(s->l, on_tick, s);
	s->last_chunk = rc_bytes_new(STR("0\r\n\r\n"));
	if (!s->tick || !s->last_chunk)
		return err_set(e, ERR_NO_MEMORY, "HTTP server");
	s->listen_io = loop_io_new(s->l, s->listen_fd, on_listen, s);
	if (!s->listen_io)
		return err_os(e, "watch the listening socket");
	loop_io_want(s->listen_io, LOOP_READ);
	return 0;
}

int
server_new(struct server **out, struct loop *l, int listen_fd, const struct server_ops *ops,
	const struct server_limits *lim, struct err *e)
{
	struct server *s = calloc(1, sizeof(*s));

	if (!s) {
		fd_close(listen_fd);
		return err_set(e, ERR_NO_MEMORY, "HTTP server");
	}
	s->l = l;
	s->listen_fd = listen_fd;
	s->spare_fd = -1;
	s->ops = *ops;
	s->round = 1;
	s->flush = (struct loop_task){.fn = stream_flush_all, .arg = s};
	for (int k = 0; k < CLOCK_COUNT; k++)
		link_init(&s->clocks[k]);
	link_init(&s->live);
	link_init(&s->pool);
	set_limits(s, lim);
	/* sendfile has no flag that keeps it from raising the signal. */
	signal(SIGPIPE, SIG_IGN);
	int r = server_watch(s, e);

	if (r < 0) {
		server_free(s);
		return r;
	}
	*out = s;
	return 0;
}

void
server_free(struct server *s)
{
	if (!s)
		return;
	for (int k = 0; k < CLOCK_COUNT; k++)
		while (s->clocks[k].next != &s->clocks[k])
			conn_close(conn_of(s->clocks[k].next));
	stream_flush_all(s);
	loop_task_cancel(s->l, &s->flush);
	while (s->live.next != &s->live) {
		struct server_req *r = req_of(s->live.next);

		link_del(&r->link);
		r->s = NULL;
	}
	while (s->pool.next != &s->pool) {
		struct server_req *r = req_of(s->pool.next);

		link_del(&r->link);
		req_destroy(r);
	}
	loop_io_free(s->listen_io);
	loop_timer_free(s->tick);
	fd_close(s->listen_fd);
	fd_close(s->spare_fd);
	rc_bytes_unref(s->last_chunk);
	free(s);
}

size_t
server_conns(const struct server *s)
{
	return s->n_conns;
}
