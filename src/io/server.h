/* SPDX-License-Identifier: Apache-2.0 */
/*
 * HTTP/1.1 server on the loop: accepts on an inherited listening socket, parses strictly, hands requests to
 * one handler. Keep-alive and pipelining (answers in order; the next request is parsed when the former is
 * answered). An idle connection or stream holds no buffers (about 400 bytes); a request in progress holds an
 * arena of at most LIM_REQ_ARENA and its body.
 *
 * Body: by default collected whole up to `max_body` before on_request. A handler that wants it in pieces
 * (uploads) says so in on_head by calling server_req_stream_body.
 *
 * Life of a request: on_head -> (body) -> on_request -> exactly one of server_reply* or server_stream_open,
 * now or later. If the client goes away first, on_gone is called (if set with server_req_on_gone) and replies
 * become no-ops; the request object stays valid until its answer was given: whoever answers last releases it
 * by answering. A request that fails or loses its client before on_request is answered and released by the
 * server itself, unless on_head answered it; with a streamed body its `fn` is told, else on_gone is called.
 * A client that only shut down its writing half counts as gone, but is still sent the answer if one is given.
 *
 * HEAD is handed to the handler as GET; the answer goes out without its body. SIGPIPE is ignored in the
 * process from server_new on.
 */
#pragma once

#include "base/arena.h"
#include "base/buf.h"
#include "io/http1.h"
#include "io/loop.h"

struct server;
struct server_req;
struct server_stream;

struct server_ops {
	void *owner;
	/* Optional: the head is complete, the body not yet read. May answer at once (the body is then drained
	 * or the connection closed). */
	void (*on_head)(void *owner, struct server_req *r);
	/* Head and (collected) body are complete. */
	void (*on_request)(void *owner, struct server_req *r);
	/* Writes the body of an error answer of the server itself (malformed request, 408, 413, 431): JSON of
	 * the API. */
	void (*error_body)(void *owner, struct buf *out, const struct err *e, struct str request_id);
};

/* Zero takes the value of limits.h. */
struct server_limits {
	size_t max_body;
	size_t max_conns;
	size_t max_bodies; /* collected bodies of all requests in progress; more is answered ERR_OVERLOADED.
			    * Zero: eight times max_body */
	uint64_t head_ms, body_ms, idle_ms, write_ms;
};

/* Takes `listen_fd` (on failure too). ERR_IO, ERR_NO_MEMORY. */
int server_new(struct server **out, struct loop *l, int listen_fd, const struct server_ops *ops,
	const struct server_limits *lim, struct err *e);
/* Closes everything at once: on_gone and on_end are called for what was open; requests not yet answered stay
 * valid until they are. Not from inside a callback of the server. */
void server_free(struct server *s);
/* Open connections, for figures and tests. */
size_t server_conns(const struct server *s);

/* ---- reading a request; all slices live as long as the request ---- */

struct str server_req_method(const struct server_req *r); /* "GET" for HEAD too */
struct str server_req_path(const struct server_req *r);   /* percent-decoded, without query */
struct str server_req_body(const struct server_req *r);   /* empty while streaming */
/* First header of that name or STR_NULL. */
struct str server_req_header(const struct server_req *r, const char *name);
/* Query pair number i; false past the end. */
bool server_req_query(const struct server_req *r, size_t i, struct str *key, struct str *value);
/* "req_01...", unique. */
struct str server_req_id(const struct server_req *r);
/* For what lives as long as the request. */
struct arena *server_req_arena(struct server_req *r);
/* The handler's own pointer on the request. */
void server_req_set_data(struct server_req *r, void *data);
void *server_req_data(const struct server_req *r);
/* Called once if the client vanishes before the answer, at once when it has already. */
void server_req_on_gone(struct server_req *r, void (*fn)(void *arg, struct server_req *r), void *arg);
bool server_req_gone(const struct server_req *r);

/* In on_head only: deliver the body in pieces, at most `max` bytes in all. fn(arg, r, piece): <0 fails the
 * request with that error, which the server answers. on_request follows the last piece. When the body fails
 * in another way (too large, malformed, too slow, the client is gone) fn is called a last time with piece.p
 * == NULL and *e telling why; the server answers and releases the request. */
void server_req_stream_body(struct server_req *r, uint64_t max,
	int (*fn)(void *arg, struct server_req *r, struct str piece, struct err *e), void *arg);
/* Stops / resumes reading the body. While paused no timeout runs. */
void server_req_pause_body(struct server_req *r, bool paused);

/* ---- answering ---- */

/* Extra header of the answer; before the reply. Copies. */
void server_req_add_header(struct server_req *r, const char *name, struct str value);
/* application/json with this body (copied or sent at once). Ends the request. request-id is always sent. */
void server_reply_json(struct server_req *r, int status, struct str body);
/* Any content type, body shared. Takes one reference. Ends the request. */
void server_reply_bytes(struct server_req *r, int status, const char *content_type, struct rc_bytes *body);
/* Sends `length` bytes of `fd` (taken) from its start with back pressure. Ends the request. */
void server_reply_file(struct server_req *r, int status, const char *content_type, int fd, uint64_t length);
/* Error answer through ops.error_body; adds x-should-retry: false for ERR_CONFLICT. Ends the request. */
void server_reply_error(struct server_req *r, const struct err *e);

/* ---- event streams (SSE) ---- */

/* Sends the head (200, text/event-stream, headers added with server_req_add_header) at once and turns the
 * connection into a stream; the request ends, its arena is freed. `on_end` is called once when the client is
 * gone or the stream was closed for slowness, after which the stream pointer is dead; never from inside a
 * call of this header except server_free. NULL, without on_end: the client is gone already or asked with
 * HEAD. */
struct server_stream *server_stream_open(
	struct server_req *r, void (*on_end)(void *arg, struct server_stream *s), void *arg);
/* Queues shared bytes (a reference is taken). `droppable` (previews, pings) is skipped when more than
 * LIM_STREAM_QUEUE waits; over LIM_STREAM_CLOSE the connection is closed (on_end). Returns false when it was
 * not queued. */
bool server_stream_send(struct server_stream *s, struct rc_bytes *bytes, bool droppable);
/* Flushes what is queued, then ends the response as HTTP wants it and closes; on_end is called. */
void server_stream_close(struct server_stream *s);
/* Closes at once in the middle of the response, so that the client sees it cut; on_end is called. */
void server_stream_cut(struct server_stream *s);
size_t server_stream_queued(const struct server_stream *s);
