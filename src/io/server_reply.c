/* SPDX-License-Identifier: Apache-2.0 */
/* Answers. */
#include <errno.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/uio.h>

#include "base/json.h"
#include "base/limits.h"
#include "io/conn.h"

#define FILE_ROUND (1 * MIB) /* of a file per callback, so that one download cannot starve the others */

void
answer_init(struct answer *a)
{
	*a = (struct answer){.fd = -1};
	buf_init(&a->head, LIM_HTTP_HEAD + 1024);
}

void
answer_clear(struct answer *a)
{
	buf_clear(&a->head);
	a->head_off = 0;
	a->rest = STR_NULL;
	a->owner = rc_bytes_unref(a->owner);
	fd_close(MOVE_FD(a->fd));
	a->fd_off = 0;
	a->fd_left = 0;
}

/* ---- writing ---- */

static void
sent(struct answer *a, size_t n)
{
	size_t head = a->head.n - a->head_off;

	if (n < head) {
		a->head_off += n;
		return;
	}
	a->head_off += head;
	a->rest = str_sub(a->rest, n - head, a->rest.n);
}

/* >0: progress, 0: the socket is full, <0: broken. */
static ssize_t
send_memory(struct conn *c, struct answer *a)
{
	struct iovec iov[2] = {
		{a->head.p + a->head_off, a->head.n - a->head_off},
	};
	struct msghdr m = {.msg_iov = iov, .msg_iovlen = 2};
	ssize_t n;

	/* iovec knows no const; sendmsg does not write. */
	memcpy(&iov[1].iov_base, &a->rest.p, sizeof(a->rest.p));
	iov[1].iov_len = a->rest.n;
	do
		n = sendmsg(c->fd, &m, MSG_NOSIGNAL | MSG_DONTWAIT | (a->fd_left ? MSG_MORE : 0));
	while (n < 0 && errno == EINTR);
	if (n > 0)
		sent(a, (size_t)n);
	return n < 0 && errno == EAGAIN ? 0 : n;
}

static ssize_t
send_file(struct conn *c, struct answer *a)
{
	size_t piece = a->fd_left < FILE_ROUND ? (size_t)a->fd_left : FILE_ROUND;
	ssize_t n;

	do
		n = sendfile(c->fd, a->fd, &a->fd_off, piece);
	while (n < 0 && errno == EINTR);
	if (n > 0)
		a->fd_left -= (uint64_t)n;
	if (n == 0)
		return -1; /* the file is shorter than announced: all that is left is to cut the answer */
	return n < 0 && errno == EAGAIN ? 0 : n;
}

/* A body that was only lent must outlive the call now. */
static bool
keep_rest(struct answer *a)
{
	if (!a->rest.n || a->owner)
		return true;
	a->owner = rc_bytes_new(a->rest);
	if (!a->owner)
		return false;
	a->rest = str_n(a->owner->p, a->owner->n);
	return true;
}

/* The answer is out: the next request, or the end. */
static void
conn_answered(struct conn *c)
{
	struct server_req *r = c->req;
	bool unread = r->in.n > r->in_at;

	if (!r->close) {
		req_reset(r);
		c->state = unread ? CONN_HEAD : CONN_IDLE;
		conn_clock(c, unread ? CLOCK_HEAD : CLOCK_IDLE);
		conn_want(c, LOOP_READ);
		if (!unread)
			req_free(r);
		else if (!c->pumping)
			loop_task_post(c->s->l, &r->task);
		return;
	}
	if (c->half || (r->handed && !unread)) {
		conn_close(c);
		return;
	}
	/* Closing with unread bytes would reset the connection, and the client might never see the answer. */
	shutdown(c->fd, SHUT_WR);
	req_free(r);
	c->state = CONN_LINGER;
	conn_clock(c, CLOCK_LINGER);
	conn_want(c, LOOP_READ);
}

void
conn_write(struct conn *c)
{
	struct answer *a = &c->req->out;
	uint64_t round = 0;
	ssize_t n = 1;

	while (n > 0 && round < FILE_ROUND) {
		if (a->head_off < a->head.n || a->rest.n) {
			n = send_memory(c, a);
		} else if (a->fd_left) {
			n = send_file(c, a);
			round += (uint64_t)n;
		} else {
			conn_answered(c);
			return;
		}
	}
	if (n < 0 || !keep_rest(a)) {
		conn_close(c);
		return;
	}
	conn_clock(c, CLOCK_WRITE);
	conn_want(c, LOOP_WRITE);
}

/* ---- making answers ---- */

void
reply_head(struct server_req *r, int status, const char *content_type)
{
	struct buf *b = &r->out.head;

	req_id(r);
	http_put_status(b, status);
	if (content_type)
		http_put_header(b, "content-type", str_z(content_type));
	http_put_header(b, "request-id", id_str(&r->id));
	http_put_header(b, "date", server_date(r->s));
	if (r->extra.fail)
		b->fail = r->extra.fail;
	buf_put_str(b, buf_str(&r->extra));
	if (r->close)
		http_put_header(b, "connection", STR("close"));
}

struct conn *
reply_begin(struct server_req *r)
{
	struct conn *c = r->c;

	if (r->doomed)
		return NULL;
	ASSERT(!r->answered);
	r->answered = true;
	if (!c) {
		req_free(r);
		return NULL;
	}
	if (c->state == CONN_BODY && !r->reader.done) {
		/* Answered before its body was read: step over what is here, do not wait for more. */
		uint64_t left = r->reader.left;

		if (r->reader.kind == HTTP_BODY_LENGTH && left <= r->in.n - r->in_at)
			r->in_at += (size_t)left;
		else
			r->close = true;
	}
	return c;
}

/* Completes the head and sends what r->out holds. */
void
reply_send(struct server_req *r, int status, uint64_t length)
{
	struct conn *c = r->c;
	struct answer *a = &r->out;

	if (status != 204)
		http_put_header_u64(&a->head, "content-length", length);
	http_put_end(&a->head);
	if (a->head.fail) {
		conn_close(c); /* a header that must not be sent, or no memory */
		return;
	}
	if (r->head_only) {
		a->rest = STR_NULL;
		a->fd_left = 0;
	}
	c->state = CONN_WRITE;
	conn_write(c);
}

void
server_req_add_header(struct server_req *r, const char *name, struct str value)
{
	http_put_header(&r->extra, name, value);
}

void
server_reply_json(struct server_req *r, int status, struct str body)
{
	if (!reply_begin(r))
		return;
	reply_head(r, status, status == 204 ? NULL : "application/json");
	r->out.rest = body;
	reply_send(r, status, body.n);
}

void
server_reply_bytes(struct server_req *r, int status, const char *content_type, struct rc_bytes *body)
{
	if (!reply_begin(r)) {
		rc_bytes_unref(body);
		return;
	}
	reply_head(r, status, content_type);
	r->out.owner = body;
	r->out.rest = str_n(body->p, body->n);
	reply_send(r, status, body->n);
}

void
server_reply_file(struct server_req *r, int status, const char *content_type, int fd, uint64_t length)
{
	if (!reply_begin(r)) {
		fd_close(fd);
		return;
	}
	reply_head(r, status, content_type);
	r->out.fd = fd;
	r->out.fd_left = length;
	reply_send(r, status, length);
}

void
error_text(struct server *s, struct buf *out, const struct err *e, struct str request_id)
{
	if (s->ops.error_body) {
		s->ops.error_body(s->ops.owner, out, e, request_id);
		return;
	}
	struct json_w w = json_w(out);

	jw_obj(&w);
	jw_kz(&w, "type", "error");
	jw_key(&w, "error");
	jw_obj(&w);
	jw_kz(&w, "type", err_api_type(e->kind));
	jw_kz(&w, "message", e->msg);
	jw_obj_end(&w);
	jw_kstr(&w, "request_id", request_id);
	jw_obj_end(&w);
}

void
server_reply_error(struct server_req *r, const struct err *e)
{
	AUTO(buf) struct buf b;

	buf_init(&b, LIM_HTTP_HEAD);
	if (r->c) {
		req_id(r);
		error_text(r->s, &b, e, id_str(&r->id));
		if (e->kind == ERR_CONFLICT)
			server_req_add_header(r, "x-should-retry", STR("false"));
	}
	server_reply_json(r, err_http_status(e->kind), buf_str(&b));
}
