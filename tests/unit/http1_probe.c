/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Says what our HTTP parser makes of messages, for comparison with another parser
 * (tests/wire/llhttp.test.mjs). Reads records "Q" (request) or "S" (response), u32 little endian length,
 * bytes; writes one line of JSON each. Bytes are in hexadecimal.
 */
#include <stdio.h>
#include <stdlib.h>

#include "base/json.h"
#include "io/http1.h"

#define RECORD_MAX (1u << 20)

static const struct http_limits lim = {LIM_HTTP_LINE, LIM_HTTP_HEAD, LIM_HTTP_HEADERS};

static void
put_hex(struct json_w *w, const char *key, struct str s)
{
	static const char digits[] = "0123456789abcdef";
	AUTO(buf) struct buf b;

	buf_init(&b, 2 * RECORD_MAX);
	for (size_t i = 0; i < s.n; i++) {
		buf_put_c(&b, digits[(unsigned char)s.p[i] >> 4]);
		buf_put_c(&b, digits[s.p[i] & 15]);
	}
	if (key)
		jw_key(w, key);
	jw_str(w, b.n ? buf_str(&b) : STR(""));
}

static void
put_head(struct json_w *w, const struct http_head *h)
{
	put_hex(w, "method", h->method);
	put_hex(w, "target", h->target);
	jw_kint(w, "status", h->status);
	jw_kbool(w, "keep_alive", h->keep_alive);
	jw_kbool(w, "http10", h->http10);
	jw_kbool(w, "until_close", h->body == HTTP_BODY_UNTIL_CLOSE);
	jw_key(w, "headers");
	jw_arr(w);
	for (size_t i = 0; i < h->n_headers; i++) {
		put_hex(w, NULL, h->headers[i].name);
		put_hex(w, NULL, h->headers[i].value);
	}
	jw_arr_end(w);
}

/* "ok", "more" or "bad". */
static const char *
read_body(const struct http_head *h, struct str in, struct buf *out, size_t *used)
{
	struct http_body_reader r;

	http_body_init(&r, h);
	*used = 0;
	while (!r.done && *used < in.n) {
		struct str piece;
		size_t n = 0;

		if (http_body_feed(&r, str_sub(in, *used, in.n), &n, &piece, NULL) < 0)
			return "bad";
		buf_put_str(out, piece);
		*used += n;
	}
	return r.done ? "ok" : "more";
}

static void
judge(struct str in, bool request, struct buf *line)
{
	static struct http_head h;
	AUTO(buf) struct buf content;
	struct json_w w = json_w(line);
	const char *body = "more";
	struct err e = {0};
	size_t head = 0, used = 0;
	int r = (request ? http_parse_request : http_parse_response)(in, &lim, &h, &head, &e);

	buf_init(&content, RECORD_MAX);
	if (r == 1)
		body = read_body(&h, str_sub(in, head, in.n), &content, &used);
	jw_obj(&w);
	jw_kz(&w, "head", r == 1 ? "ok" : r == 0 ? "more" : "bad");
	jw_kz(&w, "body", body);
	jw_kz(&w, "error", r < 0 ? e.msg : "");
	jw_kint(&w, "used", (int64_t)(head + used));
	if (r == 1)
		put_head(&w, &h);
	put_hex(&w, "content", buf_str(&content));
	jw_obj_end(&w);
}

int
main(void)
{
	unsigned char head[5];

	while (fread(head, 1, sizeof(head), stdin) == sizeof(head)) {
		size_t n = head[1] | (size_t)head[2] << 8 | (size_t)head[3] << 16 | (size_t)head[4] << 24;
		AUTO(buf) struct buf line;
		char *in = n <= RECORD_MAX ? malloc(n ? n : 1) : NULL;

		if (!in || fread(in, 1, n, stdin) != n) {
			free(in);
			return 1;
		}
		buf_init(&line, 16 * RECORD_MAX);
		judge(str_n(in, n), head[0] == 'Q', &line);
		buf_put_c(&line, '\n');
		free(in);
		if (line.fail || fwrite(line.p, 1, line.n, stdout) != line.n)
			return 1;
	}
	return 0;
}
