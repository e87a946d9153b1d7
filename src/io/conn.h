/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Inside of the HTTP server: what server.c (connections and their clocks), server_read.c (requests),
 * server_reply.c (answers) and server_stream.c (event streams) share. Nobody else includes it.
 *
 *            first byte         blank line        last byte          answer given
 *   CONN_IDLE ------> CONN_HEAD ------> CONN_BODY ------> CONN_WAIT ------> CONN_WRITE --> CONN_IDLE
 *        ^                                                    |                 |
 *        |                                     stream_open -> CONN_STREAM       +-- must close -->
 * CONN_LINGER
 *
 * An idle connection has no request object; a stream has none either. Request objects are pooled by the
 * server.
 */
#pragma once

#include <sys/types.h>

#include "base/id.h"
#include "io/server.h"

enum conn_state {
	CONN_IDLE, /* between requests */
	CONN_HEAD, /* part of a head was read */
	CONN_BODY,
	CONN_WAIT,  /* with the handler */
	CONN_WRITE, /* the answer waits for the socket */
	CONN_STREAM,
	CONN_LINGER, /* everything is sent; reads and forgets so that the client gets to see it */
};

/* The clocks: one list of connections each, ordered by deadline because all in a list wait equally long. */
enum conn_clock { CLOCK_NONE, CLOCK_IDLE, CLOCK_HEAD, CLOCK_BODY, CLOCK_WRITE, CLOCK_LINGER, CLOCK_COUNT };

struct conn_link {
	struct conn_link *prev, *next;
};

struct conn;

/* Shared bytes waiting on a stream; a ring, allocated while something waits. */
struct server_stream {
	struct rc_bytes **q;
	uint32_t head, n, cap;
	uint32_t off;   /* bytes of the first record, framing included, that were sent */
	uint32_t round; /* of the server, in which something was sent directly */
	bool raw;       /* HTTP/1.0: no chunks */
	bool closing;   /* ends when the queue is empty */
	bool dead;      /* on_end is due */
	bool listed;    /* in server.dirty */
	bool blocked;
	size_t queued;
	void (*on_end)(void *arg, struct server_stream *s);
	void *arg;
	struct conn *next_dirty;
};

struct conn {
	struct conn_link link; /* in its clock's list */
	struct server *s;
	struct loop_io *io;
	int fd;
	uint8_t state; /* enum conn_state */
	uint8_t clock; /* enum conn_clock */
	bool freed;
	bool half;    /* the client will send no more */
	bool pumping; /* conn_pump is on the stack and goes on by itself */
	unsigned held;
	uint64_t deadline_us;
	struct server_req *req;
	struct server_stream st; /* with CONN_STREAM */
};

/* What is left of an answer. */
struct answer {
	struct buf head;
	size_t head_off;
	struct str rest;        /* of the body */
	struct rc_bytes *owner; /* of `rest`; NULL: it is only valid during the call */
	int fd;
	off_t fd_off;
	uint64_t fd_left;
};

struct server_req {
	struct server *s;      /* NULL after server_free */
	struct conn *c;        /* NULL when the client is gone */
	struct conn_link link; /* in server.live or .pool */
	struct loop_task task; /* goes on reading after an answer or pause from outside the read callback */

	struct buf in;
	size_t in_at;   /* first byte not yet consumed */
	size_t scanned; /* bytes behind in_at that hold no end of a head */
	size_t tried;   /* bytes behind in_at at the last parse */

	struct arena *arena;
	struct str method, path;
	struct http_header *headers;
	size_t n_headers;
	struct http_query *pairs;
	size_t n_pairs;
	struct http_body_reader reader;
	struct buf body_buf;
	struct str body;
	uint64_t body_seen, body_max;
	size_t body_counted; /* of server.body_bytes */
	int (*on_piece)(void *arg, struct server_req *r, struct str piece, struct err *e);
	void *on_piece_arg;

	bool head_only;
	bool http10;
	bool close; /* the connection ends with this request */
	bool expect;
	bool has_id;
	bool handed; /* on_request was called */
	bool answered;
	bool doomed; /* the server answers it itself: what the handler still says does not count */
	bool gone, gone_told;
	bool paused;
	void *data;
	void (*on_gone)(void *arg, struct server_req *r);
	void *on_gone_arg;

	struct id id;
	struct buf extra; /* added headers */
	struct answer out;
};

#define REQ_POOL 32

struct server {
	struct loop *l;
	int listen_fd;
	int spare_fd; /* closed for a moment to refuse a connection when descriptors ran out */
	struct loop_io *listen_io;
	struct loop_timer *tick;
	uint64_t tick_ms;
	bool ticking;
	bool accept_paused;
	struct server_ops ops;
	struct server_limits lim;
	uint64_t clock_us[CLOCK_COUNT];
	struct conn_link clocks[CLOCK_COUNT];
	size_t n_conns;
	size_t body_bytes;     /* collected for all requests in progress */
	struct conn_link live; /* requests in progress */
	struct conn_link pool;
	size_t n_pool;
	struct id id; /* of the last request */
	unsigned ids_left;
	uint64_t date_s;
	char date[32];
	uint32_t round;
	struct conn *dirty; /* streams to be flushed or buried at the end of the round */
	struct rc_bytes *last_chunk;
	struct loop_task flush;
	char sink[16 * 1024]; /* what is read to be forgotten */
};

/* ---- server.c ---- */

/* Puts the connection under that clock, from now on. */
void conn_clock(struct conn *c, enum conn_clock clock);
/* Closes; tells the request's or stream's owner. The memory stays until the outermost conn_release. */
void conn_close(struct conn *c);
void conn_hold(struct conn *c);
void conn_release(struct conn *c);
/* Which events the state waits for. */
void conn_want(struct conn *c, unsigned events);

/* A request object bound to `c`; NULL when out of memory. */
struct server_req *req_new(struct conn *c);
/* Ready for the next request; what was read beyond this one is kept. */
void req_reset(struct server_req *r);
/* Back to the pool. */
void req_free(struct server_req *r);
/* Gives the request its id when it has none. */
void req_id(struct server_req *r);
/* The client is gone: unbinds from the connection, tells the handler, releases what nobody will answer. */
void req_lost(struct server_req *r);
/* "Date" value of now. */
struct str server_date(struct server *s);

/* ---- server_read.c ---- */

/* Readable. */
void conn_read(struct conn *c);
/* The client closed or shut down its side while the handler has the request. */
void conn_gone(struct conn *c);
/* Works on what was read until more is needed or the handler has it. */
void conn_pump(struct conn *c);
/* Answers `e` in the server's own name. The caller returns to the loop. */
void conn_refuse(struct conn *c, const struct err *e);
/* Tells the handler that nobody waits for its answer: through on_piece or on_gone, whichever is due. */
void req_tell(struct server_req *r, const struct err *why);
/* The body fails with *e: tells the handler, then conn_refuse. */
void conn_body_failed(struct conn *c, const struct err *e);

/* ---- server_reply.c ---- */

/* Writes what it can of the answer, then goes on with the connection. */
void conn_write(struct conn *c);
/* Marks the request as answered. NULL when nobody is there to get it; the request is gone then. */
struct conn *reply_begin(struct server_req *r);
/* Begins r->out.head: up to, not including, its length and blank line. */
void reply_head(struct server_req *r, int status, const char *content_type);
/* Completes the head and sends r->out. */
void reply_send(struct server_req *r, int status, uint64_t length);
void answer_init(struct answer *a);
/* Drops what was not sent; keeps the memory of the head. */
void answer_clear(struct answer *a);
/* The text of an error answer. */
void error_text(struct server *s, struct buf *out, const struct err *e, struct str request_id);

/* ---- server_stream.c ---- */

/* The socket has bytes or the end for a connection whose input no longer matters (CONN_STREAM, CONN_LINGER).
 */
void conn_sink(struct conn *c);
void stream_write(struct conn *c);
/* Once per round: flushes and buries. */
void stream_flush_all(void *server);
/* Frees the queue, calls on_end. */
void stream_end(struct conn *c);
