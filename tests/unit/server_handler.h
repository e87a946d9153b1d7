/* SPDX-License-Identifier: Apache-2.0 */
/* The handler behind test_server.c and test_server_life.c, and what both expect of an answer. */
#pragma once

#include "server_kit.h"

#define GET(path)  "GET " path " HTTP/1.1\r\nHost: x\r\n\r\n"
#define MAX_BODY   (1 * MIB)
#define HELLO      "{\"hello\":1}"
#define FILE_BYTES (8 * MIB)

/* ---- the handler ---- */

static inline void
on_gone(void *arg, struct server_req *r)
{
	struct kit *k = arg;

	k->gones++;
	assert_true(server_req_gone(r));
}

static inline int
on_piece(void *arg, struct server_req *r, struct str piece, struct err *e)
{
	struct kit *k = arg;

	if (!piece.p) {
		k->piece_fails++;
		k->piece_error = *e;
		return 0;
	}
	k->pieces++;
	buf_put_str(&k->body, piece);
	if (k->pause_pieces) {
		server_req_pause_body(r, true);
		k->paused = r;
	}
	if (str_find_str(buf_str(&k->body), STR("poison")) < k->body.n)
		return err_code(e, ERR_CONFLICT, "poisoned", "poison");
	return 0;
}

static inline void
on_head(void *owner, struct server_req *r)
{
	struct kit *k = owner;
	struct err e;

	k->heads++;
	if (str_eqz(server_req_path(r), "/upload"))
		server_req_stream_body(r, 4 * MIB, on_piece, k);
	if (str_eqz(server_req_path(r), "/watched"))
		server_req_on_gone(r, on_gone, k);
	if (str_eqz(server_req_path(r), "/deny")) {
		err_set(&e, ERR_UNAUTHENTICATED, "who are you");
		server_reply_error(r, &e);
	}
}

static inline void
reply_rest(struct kit *k, struct server_req *r, struct str path)
{
	struct err e;

	if (str_eqz(path, "/conflict")) {
		err_set(&e, ERR_CONFLICT, "twice");
		server_reply_error(r, &e);
	} else if (str_eqz(path, "/none")) {
		server_reply_json(r, 204, STR_NULL);
	} else if (str_eqz(path, "/header")) {
		server_req_add_header(r, "x-mine", STR("a b"));
		server_reply_json(r, 200, STR(HELLO));
	} else if (str_eqz(path, "/inject")) {
		server_req_add_header(r, "x-mine", STR("a\r\nx-other: b"));
		server_reply_json(r, 200, STR(HELLO));
	} else if (str_eqz(path, "/bytes")) {
		server_reply_bytes(r, 200, "text/plain", rc_bytes_new(buf_str(&k->body)));
	} else if (str_eqz(path, "/file") || str_eqz(path, "/short")) {
		server_reply_file(r, 200, "application/octet-stream", fcntl(k->file, F_DUPFD_CLOEXEC, 3),
			str_eqz(path, "/file") ? FILE_BYTES : FILE_BYTES + 1);
	} else {
		err_set(&e, ERR_NOT_FOUND, "nothing here");
		server_reply_error(r, &e);
	}
}

static inline void
on_request(void *owner, struct server_req *r)
{
	struct kit *k = owner;
	struct str path = server_req_path(r);

	k->requests++;
	assert_false(server_req_gone(r));
	if (str_eqz(path, "/hello")) {
		server_reply_json(r, 200, STR(HELLO));
	} else if (str_eqz(path, "/echo")) {
		server_reply_json(r, 200, server_req_body(r));
	} else if (str_eqz(path, "/large")) {
		server_reply_json(r, 200, buf_str(&k->body));
	} else if (str_eqz(path, "/held")) {
		k->held = r;
		server_req_on_gone(r, on_gone, k);
	} else if (str_eqz(path, "/upload")) {
		server_reply_json(r, 201, STR("{}"));
	} else {
		reply_rest(k, r, path);
	}
}

static const struct server_ops ops = {.on_head = on_head, .on_request = on_request};
static const struct server_limits patient = {.max_body = MAX_BODY};

static inline int
setup(void **state)
{
	struct kit *k = calloc(1, sizeof(*k));

	assert_non_null(k);
	kit_open(k, &ops, &patient);
	*state = k;
	return 0;
}

static inline int
setup_hasty(void **state)
{
	static const struct server_limits hasty = {
		.max_body = MAX_BODY, .head_ms = 250, .body_ms = 250, .idle_ms = 250, .write_ms = 250};
	struct kit *k = calloc(1, sizeof(*k));

	assert_non_null(k);
	kit_open(k, &ops, &hasty);
	*state = k;
	return 0;
}

static inline int
setup_narrow(void **state)
{
	static const struct server_limits narrow = {
		.max_conns = 2, .max_body = MAX_BODY, .max_bodies = MAX_BODY};
	struct kit *k = calloc(1, sizeof(*k));

	assert_non_null(k);
	kit_open(k, &ops, &narrow);
	*state = k;
	return 0;
}

static inline int
teardown(void **state)
{
	struct kit *k = *state;

	kit_close(k);
	free(k);
	return 0;
}

/* Sends and expects that answer. */
static inline void
expect(struct kit *k, int fd, struct str request, int status, const char *body)
{
	AUTO(reply) struct reply r = {0};

	put(k, fd, request);
	get_reply(k, fd, &r, false);
	if (r.status != status || (body && !str_eqz(r.body, body)))
		fail_msg("%d %.*s", r.status, STRF(r.body));
}

/* Sends, expects that error, and the end of the connection. */
static inline void
expect_refusal(struct kit *k, struct str request, int status, const char *part)
{
	AUTO(reply) struct reply r = {0};
	int fd = client(k);

	put(k, fd, request);
	get_reply(k, fd, &r, false);
	if (r.status != status || str_find_str(r.body, str_z(part)) == r.body.n)
		fail_msg("%d %.*s", r.status, STRF(r.body));
	assert_true(str_eqz(reply_header(&r, "connection"), "close"));
	wait_close(k, fd);
	assert_int_equal(k->in.n, 0);
	close(fd);
}

static inline void
put_post(struct kit *k, int fd, const char *path, size_t length)
{
	char head[128];
	int n = snprintf(head, sizeof(head), "POST %s HTTP/1.1\r\nHost: x\r\nContent-Length: %zu\r\n\r\n",
		path, length);

	put(k, fd, str_n(head, (size_t)n));
}

static inline char *
pattern(size_t n)
{
	char *p = malloc(n + 1);

	assert_non_null(p);
	for (size_t i = 0; i < n; i++)
		p[i] = (char)('a' + i % 23);
	return p;
}
