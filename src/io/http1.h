/* SPDX-License-Identifier: Apache-2.0 */
/*
 * HTTP/1.1 over memory (RFC 9112), stricter than the RFC allows: CRLF only, no obs-fold, no white space
 * before the colon, token names, visible ASCII targets, one Content-Length of digits only, Transfer-Encoding
 * exactly "chunked" and never together with Content-Length, chunk sizes of hexadecimal digits only, at most
 * one plain extension, trailers parsed and dropped. Pure: no I/O, no allocation. Used by the API server, the
 * puppet, the CLI's tests and the gate, in both directions.
 */
#pragma once

#include "base/buf.h"
#include "base/err.h"
#include "base/limits.h"
#include "base/str.h"

struct http_header {
	struct str name; /* as sent; compare with str_eq_nocase */
	struct str value;
};

struct http_limits {
	size_t line;    /* first line */
	size_t head;    /* whole head */
	size_t headers; /* count, <= LIM_HTTP_HEADERS */
};

enum http_body { HTTP_BODY_NONE, HTTP_BODY_LENGTH, HTTP_BODY_CHUNKED, HTTP_BODY_UNTIL_CLOSE };

struct http_head {
	/* request */
	struct str method;
	struct str target; /* as sent: origin-form for the API */
	/* response */
	int status;
	struct str reason;
	/* both */
	bool http10; /* HTTP/1.0 */
	struct http_header headers[LIM_HTTP_HEADERS];
	size_t n_headers;
	enum http_body body;
	uint64_t length; /* with HTTP_BODY_LENGTH */
	bool keep_alive;
	bool expect_continue;
};

/* Parses a request / response head at the start of `in`. 1: *out filled (slices into `in`), *used = bytes of
 * the head with its blank line. 0: more bytes needed. <0: ERR_INVALID, ERR_HEADERS_TOO_LARGE. Unless 1 is
 * returned the content of *out is undefined (it is too large to be copied).
 * A request of HTTP/1.1 must have exactly one Host. The body of a response is judged by its status and
 * headers; who asked with HEAD knows better. */
int http_parse_request(
	struct str in, const struct http_limits *lim, struct http_head *out, size_t *used, struct err *e);
int http_parse_response(
	struct str in, const struct http_limits *lim, struct http_head *out, size_t *used, struct err *e);

/* The value of the first header of that name, or STR_NULL. */
struct str http_header_get(const struct http_head *h, const char *name);

/* Body decoder: feed bytes, get slices of content. */
struct http_body_reader {
	enum http_body kind;
	uint64_t left;
	unsigned state;
	unsigned digits;
	size_t ext;
	bool done;
};

/* Ready to read the body that the head announced. */
void http_body_init(struct http_body_reader *r, const struct http_head *h);
/* Takes from `in`: *used bytes were consumed and *out is a slice of content (maybe empty). Call again while
 * *used > 0 and not done. ERR_INVALID on broken chunking. */
int http_body_feed(struct http_body_reader *r, struct str in, size_t *used, struct str *out, struct err *e);

/* ---- serialising ---- */

/* Status line. `reason` is derived from the status. */
void http_put_status(struct buf *b, int status);
void http_put_request_line(struct buf *b, struct str method, struct str target);
/* One header. A name or value with bytes outside the grammar trips the buf's failure with ERR_INTERNAL (our
 * bug or an injection attempt). */
void http_put_header(struct buf *b, const char *name, struct str value);
void http_put_header_u64(struct buf *b, const char *name, uint64_t value);
void http_put_end(struct buf *b);

/* ---- targets ---- */

struct http_query {
	struct str key;   /* percent-decoded, brackets kept: "types[]" */
	struct str value; /* percent-decoded */
};

/* Splits an origin-form target into a percent-decoded path and its query pairs; decoded bytes are written
 * into `scratch` (as long as the target). In the query '+' is a blank, and empty pairs are skipped.
 * ERR_INVALID: bad escapes, control characters, '..' or '.' segments, encoded slashes and backslashes, more
 * pairs than there is room for, anything not beginning with '/'. */
struct http_target {
	struct str path;
	struct http_query *pairs;
	size_t n_pairs;
};
/* out->pairs and out->n_pairs hold the caller's array and its room on entry, the pairs found on return. */
int http_parse_target(struct str target, char *scratch, struct http_target *out, struct err *e);
