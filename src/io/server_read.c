/* SPDX-License-Identifier: Apache-2.0 */
/* Requests: from bytes to the handler. */
#include <errno.h>
#include <sys/socket.h>

#include "base/limits.h"
#include "io/conn.h"

enum {
	READ_HEAD = 4096,
	READ_BODY = LIM_CHUNK,
};

static const struct http_limits head_limits = {LIM_HTTP_LINE, LIM_HTTP_HEAD, LIM_HTTP_HEADERS};

static struct str
unread(const struct server_req *r)
{
	return str_n(r->in.p + r->in_at, r->in.n - r->in_at);
}

/* ---- failures ---- */

void
conn_refuse(struct conn *c, const struct err *e)
{
	struct server_req *r = c->req;

	if (!r) {
		conn_close(c);
		return;
	}
	r->close = true;
	r->paused = false;
	server_reply_error(r, e);
}

void
req_tell(struct server_req *r, const struct err *why)
{
	struct err e = *why;

	if (!r->handed)
		r->doomed = true;
	if (!r->handed && r->on_piece) {
		r->on_piece(r->on_piece_arg, r, STR_NULL, &e);
	} else if (r->on_gone && !r->gone_told) {
		r->gone_told = true;
		r->on_gone(r->on_gone_arg, r); /* may answer, which releases a request that was handed over */
	}
}

void
conn_body_failed(struct conn *c, const struct err *e)
{
	struct server_req *r = c->req;

	req_tell(r, e);
	r->doomed = false;
	conn_refuse(c, e);
}

/* ---- heads ---- */

/*
 * Parsing starts at the front each time, so a head that drips in must not be parsed for every drop: only when
 * its end or a forbidden line end is in sight, when it doubled, or when it is too long.
 */
static bool
worth_parsing(struct server_req *r)
{
	struct str s = unread(r);
	size_t from = r->scanned > 3 ? r->scanned - 3 : 0;
	struct str fresh = str_sub(s, from, s.n);
	bool end = memmem(fresh.p, fresh.n, "\n\r\n", 3) || memmem(fresh.p, fresh.n, "\n\n", 2);

	r->scanned = s.n;
	if (!end && r->tried && s.n < 2 * r->tried && s.n <= LIM_HTTP_HEAD)
		return false;
	r->tried = s.n;
	return true;
}

static struct str
moved(struct str s, const char *from, const char *to)
{
	return s.p ? str_n(to + (s.p - from), s.n) : s;
}

/* Keeps what the handler may ask for. `stays`: the bytes of the head will not move until the answer. */
static int
keep_head(struct server_req *r, const struct http_head *h, struct str bytes, bool stays, struct err *e)
{
	const char *to = bytes.p;

	r->headers = arena_alloc_n(r->arena, h->n_headers ? h->n_headers : 1, sizeof(r->headers[0]));
	if (!stays)
		to = arena_dup(r->arena, bytes).p;
	if (arena_check(r->arena, e) < 0)
		return -(int)e->kind;
	req_id(r);
	r->method = moved(h->method, bytes.p, to);
	for (size_t i = 0; i < h->n_headers; i++)
		r->headers[i] = (struct http_header){
			moved(h->headers[i].name, bytes.p, to), moved(h->headers[i].value, bytes.p, to)};
	r->n_headers = h->n_headers;
	if (str_eqz(r->method, "HEAD")) {
		r->head_only = true;
		r->method = STR("GET");
	}
	return 0;
}

static int
keep_target(struct server_req *r, struct str target, struct err *e)
{
	struct http_target t = {0};
	size_t room = 1;
	char *scratch;

	for (size_t i = 0; i < target.n; i++)
		room += target.p[i] == '&';
	t.n_pairs = room < LIM_QUERY_PAIRS ? room : LIM_QUERY_PAIRS;
	if (str_find(target, '?') == target.n)
		t.n_pairs = 0;
	t.pairs = arena_alloc_n(r->arena, t.n_pairs, sizeof(t.pairs[0]));
	scratch = arena_alloc(r->arena, target.n);
	if (arena_check(r->arena, e) < 0)
		return -(int)e->kind;
	int rc = http_parse_target(target, scratch, &t, e);

	if (rc < 0)
		return rc;
	r->path = t.path;
	r->pairs = t.pairs;
	r->n_pairs = t.n_pairs;
	return 0;
}

static void
send_continue(struct conn *c)
{
	static const struct str line = STR("HTTP/1.1 100 Continue\r\n\r\n");

	if (send(c->fd, line.p, line.n, MSG_NOSIGNAL | MSG_DONTWAIT) != (ssize_t)line.n)
		conn_close(c);
}

/* The head is complete and kept: asks the handler, then gets ready for the body. */
static void
begin_body(struct conn *c, struct server_req *r)
{
	struct server *s = c->s;
	struct err e = {0};

	c->state = CONN_BODY;
	conn_clock(c, CLOCK_BODY);
	if (s->ops.on_head)
		s->ops.on_head(s->ops.owner, r);
	if (c->freed || c->state != CONN_BODY)
		return; /* answered */
	uint64_t max = r->on_piece ? r->body_max : s->lim.max_body;

	if (r->reader.kind == HTTP_BODY_LENGTH && r->reader.left > max) {
		err_set(&e, ERR_TOO_LARGE, "the request's body is over %llu bytes", (unsigned long long)max);
		conn_body_failed(c, &e);
		return;
	}
	if (r->expect && !r->reader.done && !unread(r).n)
		send_continue(c);
}

/* True when there is more to do. */
static bool
pump_head(struct conn *c)
{
	struct server_req *r = c->req;
	struct str in = unread(r);
	struct http_head h;
	struct err e = {0};
	size_t used = 0;

	if (!in.n)
		return false;
	if (c->state == CONN_IDLE) {
		c->state = CONN_HEAD;
		conn_clock(c, CLOCK_HEAD);
	}
	if (!worth_parsing(r))
		return false;
	int rc = http_parse_request(in, &head_limits, &h, &used, &e);

	if (rc == 0)
		return false;
	if (rc > 0) {
		bool stays =
			h.body == HTTP_BODY_NONE || (h.body == HTTP_BODY_LENGTH && h.length <= in.n - used);

		r->in_at += used;
		r->close = !h.keep_alive;
		r->http10 = h.http10;
		r->expect = h.expect_continue;
		http_body_init(&r->reader, &h);
		rc = keep_head(r, &h, str_sub(in, 0, used), stays, &e);
		if (rc == 0)
			rc = keep_target(r, h.target, &e);
	}
	if (rc < 0) {
		conn_refuse(c, &e);
		return false;
	}
	begin_body(c, r);
	return true;
}

/* ---- bodies ---- */

static int
take_piece(struct server_req *r, struct str piece, struct err *e)
{
	if (!piece.n)
		return 0;
	r->body_seen += piece.n;
	if (r->on_piece) {
		if (r->body_seen <= r->body_max)
			return r->on_piece(r->on_piece_arg, r, piece, e);
		err_set(e, ERR_TOO_LARGE, "the request's body is over %llu bytes",
			(unsigned long long)r->body_max);
		r->on_piece(r->on_piece_arg, r, STR_NULL, e);
		return -ERR_TOO_LARGE;
	}
	/* A body that came whole with its head is lent from the input. */
	if (r->reader.done && r->reader.kind == HTTP_BODY_LENGTH && !r->body_buf.n) {
		r->body = piece;
		return 0;
	}
	if (piece.n > r->s->lim.max_bodies - r->s->body_bytes)
		return err_set(e, ERR_OVERLOADED, "too many requests with large bodies; try again");
	r->s->body_bytes += piece.n;
	r->body_counted += piece.n;
	buf_put_str(&r->body_buf, piece);
	if (r->body_buf.fail == ERR_TOO_LARGE)
		return err_set(e, ERR_TOO_LARGE, "the request's body is over %zu bytes", r->body_buf.max);
	return buf_check(&r->body_buf, e);
}

static void
hand_over(struct conn *c, struct server_req *r)
{
	struct server *s = c->s;

	if (!r->body.p)
		r->body = buf_str(&r->body_buf);
	r->handed = true;
	c->state = CONN_WAIT;
	conn_clock(c, CLOCK_NONE);
	s->ops.on_request(s->ops.owner, r);
}

/* True when there is more to do. */
static bool
pump_body(struct conn *c)
{
	struct server_req *r = c->req;
	struct err e = {0};

	while (!r->reader.done && !r->paused && unread(r).n) {
		size_t used = 0;
		struct str piece;

		if (http_body_feed(&r->reader, unread(r), &used, &piece, &e) < 0) {
			conn_body_failed(c, &e);
			return false;
		}
		r->in_at += used;
		int rc = take_piece(r, piece, &e);

		if (c->freed || c->req != r || c->state != CONN_BODY)
			return !c->freed; /* answered while the body came in */
		if (rc < 0) {
			conn_refuse(c, &e);
			return false;
		}
	}
	if (r->reader.done && !r->paused) {
		hand_over(c, r);
		return true;
	}
	if (!unread(r).n) {
		buf_clear(&r->in);
		r->in_at = 0;
	}
	return false;
}

void
conn_pump(struct conn *c)
{
	bool more = true;

	if (c->pumping)
		return;
	conn_hold(c);
	c->pumping = true;
	while (more && !c->freed && c->req) {
		if (c->state == CONN_IDLE || c->state == CONN_HEAD)
			more = pump_head(c);
		else if (c->state == CONN_BODY)
			more = pump_body(c);
		else
			more = false;
	}
	c->pumping = false;
	conn_release(c);
}

/* ---- reading ---- */

static void
ended(struct conn *c)
{
	struct err e = {0};

	c->half = true;
	conn_want(c, 0);
	err_set(&e, ERR_INVALID, "the request ended early");
	if (c->state == CONN_IDLE)
		conn_close(c);
	else if (c->state == CONN_HEAD)
		conn_refuse(c, &e);
	else
		conn_body_failed(c, &e);
}

static void
read_request(struct conn *c)
{
	struct server_req *r = c->req ? c->req : req_new(c);
	size_t size = READ_HEAD;
	char *to = NULL;
	ssize_t n;

	if (c->state == CONN_BODY && (r->reader.kind != HTTP_BODY_LENGTH || r->reader.left > READ_HEAD))
		size = READ_BODY;
	if (r)
		to = buf_reserve(&r->in, size);
	if (!to) {
		conn_close(c);
		return;
	}
	do
		n = recv(c->fd, to, size, MSG_DONTWAIT);
	while (n < 0 && errno == EINTR);
	if (n > 0) {
		r->in.n += (size_t)n;
		if (c->state == CONN_BODY)
			conn_clock(c, CLOCK_BODY);
		conn_pump(c);
		return;
	}
	if (n < 0 && errno != EAGAIN)
		conn_close(c);
	else if (n == 0)
		ended(c);
	else if (c->state == CONN_IDLE)
		req_free(r);
}

void
conn_gone(struct conn *c)
{
	struct server_req *r = c->req;
	struct err e = {0};

	err_set(&e, ERR_IO, "the client is gone");
	conn_want(c, 0);
	r->gone = true;
	req_tell(r, &e);
}

/* While the handler has the request nothing is read; only the client's end matters. */
static void
watch_for_end(struct conn *c)
{
	char byte;
	ssize_t n = recv(c->fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT);

	if (n > 0)
		conn_want(c, LOOP_GONE); /* the next request is here already: reading cannot show the end */
	else if (n == 0)
		conn_gone(c);
	else if (errno != EAGAIN && errno != EINTR)
		conn_close(c);
}

void
conn_read(struct conn *c)
{
	switch ((enum conn_state)c->state) {
	case CONN_IDLE:
	case CONN_HEAD:
	case CONN_BODY:
		read_request(c);
		break;
	case CONN_WAIT:
		watch_for_end(c);
		break;
	case CONN_WRITE:
		break; /* writing will show it */
	case CONN_STREAM:
	case CONN_LINGER:
		conn_sink(c);
		break;
	}
}

/* ---- what the handler asks for ---- */

struct str
server_req_method(const struct server_req *r)
{
	return r->method;
}

struct str
server_req_path(const struct server_req *r)
{
	return r->path;
}

struct str
server_req_body(const struct server_req *r)
{
	return r->body;
}

struct str
server_req_header(const struct server_req *r, const char *name)
{
	struct str want = str_z(name);

	for (size_t i = 0; i < r->n_headers; i++)
		if (str_eq_nocase(r->headers[i].name, want))
			return r->headers[i].value;
	return STR_NULL;
}

bool
server_req_query(const struct server_req *r, size_t i, struct str *key, struct str *value)
{
	if (i >= r->n_pairs)
		return false;
	*key = r->pairs[i].key;
	*value = r->pairs[i].value;
	return true;
}

struct str
server_req_id(const struct server_req *r)
{
	return id_str(&r->id);
}

struct arena *
server_req_arena(struct server_req *r)
{
	return r->arena;
}

void
server_req_set_data(struct server_req *r, void *data)
{
	r->data = data;
}

void *
server_req_data(const struct server_req *r)
{
	return r->data;
}

void
server_req_on_gone(struct server_req *r, void (*fn)(void *arg, struct server_req *r), void *arg)
{
	r->on_gone = fn;
	r->on_gone_arg = arg;
	if (fn && r->gone && !r->gone_told) {
		r->gone_told = true;
		fn(arg, r);
	}
}

bool
server_req_gone(const struct server_req *r)
{
	return r->gone;
}

void
server_req_stream_body(struct server_req *r, uint64_t max,
	int (*fn)(void *arg, struct server_req *r, struct str piece, struct err *e), void *arg)
{
	r->body_max = max;
	r->on_piece = fn;
	r->on_piece_arg = arg;
}

void
server_req_pause_body(struct server_req *r, bool paused)
{
	if (r->paused == paused || !r->c || r->c->state != CONN_BODY)
		return;
	r->paused = paused;
	conn_want(r->c, paused ? 0 : LOOP_READ);
	conn_clock(r->c, paused ? CLOCK_NONE : CLOCK_BODY);
	if (!paused)
		loop_task_post(r->s->l, &r->task);
}
