/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The HTTP parser must not only survive: what it says of a head may not depend on how the bytes arrive, and
 * what it accepted must mean the same to itself when it is written again.
 */
#include "fuzz.h"

#include <stdlib.h>
#include <string.h>

#include "io/http1.h"

#define SPLIT_MAX 1024 /* longer inputs are not split at every byte */

static const struct http_limits lim = {LIM_HTTP_LINE, LIM_HTTP_HEAD, LIM_HTTP_HEADERS};

typedef int parse_fn(struct str, const struct http_limits *, struct http_head *, size_t *, struct err *);

static void
same_heads(const struct http_head *a, const struct http_head *b)
{
	ASSERT(str_eq(a->method, b->method) && str_eq(a->target, b->target) && a->status == b->status);
	ASSERT(a->n_headers == b->n_headers && a->body == b->body && a->length == b->length);
	ASSERT(a->keep_alive == b->keep_alive && a->expect_continue == b->expect_continue);
	for (size_t i = 0; i < a->n_headers; i++)
		ASSERT(str_eq(a->headers[i].name, b->headers[i].name) &&
			str_eq(a->headers[i].value, b->headers[i].value));
}

/* Every prefix wants more or is refused; none is taken for a whole head. */
static void
split_head(struct str in, parse_fn *parse, const struct http_head *whole, int verdict, size_t head)
{
	static struct http_head h;
	size_t used = 0;

	for (size_t n = 0; n < in.n && in.n <= SPLIT_MAX; n++) {
		int r = parse(str_sub(in, 0, n), &lim, &h, &used, NULL);

		if (verdict == 1 && n < head)
			ASSERT(r == 0);
		else if (verdict == 1)
			ASSERT(r == 1 && used == head);
		else if (verdict == 0)
			ASSERT(r == 0);
		else
			ASSERT(r <= 0);
		if (r == 1)
			same_heads(whole, &h);
	}
}

static void
write_again(const struct http_head *h, parse_fn *parse, bool request)
{
	AUTO(buf) struct buf b;
	static struct http_head again;
	size_t used = 0;

	buf_init(&b, 4 * LIM_HTTP_HEAD);
	if (h->http10)
		return;
	if (request)
		http_put_request_line(&b, h->method, h->target);
	else
		http_put_status(&b, h->status);
	for (size_t i = 0; i < h->n_headers; i++) {
		char name[LIM_HTTP_HEAD + 1];

		ASSERT(str_copy_z(h->headers[i].name, name, sizeof(name)));
		http_put_header(&b, name, h->headers[i].value);
	}
	http_put_end(&b);
	if (b.fail && !request)
		return; /* bytes over 0x7f are read in responses, never written */
	ASSERT(!b.fail);
	int r = parse(buf_str(&b), &lim, &again, &used, NULL);

	if (r == -ERR_HEADERS_TOO_LARGE)
		return; /* blanks that were not there before */
	ASSERT(r == 1 && used == b.n);
	same_heads(h, &again);
}

/* The content of a body fed in pieces of `step` bytes. Gives the verdict and the bytes used. */
static int
read_body(const struct http_head *h, struct str in, size_t step, struct buf *out, size_t *used)
{
	struct http_body_reader r;
	size_t at = 0;

	http_body_init(&r, h);
	while (at < in.n && !r.done) {
		struct str piece;
		size_t n = 0;
		int rc = http_body_feed(&r, str_sub(in, at, step), &n, &piece, NULL);

		if (rc < 0)
			return rc;
		ASSERT(n > 0 && n <= step && piece.n <= n);
		buf_put_str(out, piece);
		at += n;
	}
	*used = at;
	return r.done;
}

static void
body(const struct http_head *h, struct str in)
{
	AUTO(buf) struct buf whole;
	AUTO(buf) struct buf split;
	size_t used_whole = 0, used_split = 0;

	buf_init(&whole, in.n + 1);
	buf_init(&split, in.n + 1);
	int a = read_body(h, in, in.n ? in.n : 1, &whole, &used_whole);
	int b = read_body(h, in, 1, &split, &used_split);

	ASSERT(a == b && !whole.fail && !split.fail);
	if (a >= 0)
		ASSERT(used_whole == used_split && str_eq(buf_str(&whole), buf_str(&split)));
}

static void
target(struct str in)
{
	struct http_query pairs[16];
	struct http_target t = {.pairs = pairs, .n_pairs = ARRAY_LEN(pairs)};
	char *scratch = malloc(in.n ? in.n : 1);

	ASSERT(scratch);
	if (http_parse_target(in, scratch, &t, NULL) == 0) {
		ASSERT(t.path.n > 0 && t.path.p[0] == '/' && t.n_pairs <= ARRAY_LEN(pairs));
		ASSERT(str_find(t.path, '\0') == t.path.n);
		ASSERT(str_find_str(t.path, STR("/../")) == t.path.n && !str_ends(t.path, STR("/..")));
	}
	free(scratch);
}

static void
head(struct str in, parse_fn *parse, bool request)
{
	static struct http_head h;
	size_t used = 0;
	int r = parse(in, &lim, &h, &used, NULL);

	split_head(in, parse, &h, r, used);
	if (r != 1)
		return;
	ASSERT(used > 0 && used <= in.n && memcmp(in.p + used - 4, "\r\n\r\n", 4) == 0);
	write_again(&h, parse, request);
	body(&h, str_sub(in, used, in.n));
	if (request)
		target(h.target);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const struct http_head chunked = {.body = HTTP_BODY_CHUNKED};
	struct str in = str_n(data, size);

	head(in, http_parse_request, true);
	head(in, http_parse_response, false);
	body(&chunked, in);
	target(in);
	return 0;
}
