/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "io/http1.h"

static const struct http_limits lim = {LIM_HTTP_LINE, LIM_HTTP_HEAD, LIM_HTTP_HEADERS};

enum verdict { OK, MORE, BAD, BIG };

static enum verdict
verdict_of(int r)
{
	return r == 1 ? OK : r == 0 ? MORE : r == -ERR_INVALID ? BAD : r == -ERR_HEADERS_TOO_LARGE ? BIG : 99;
}

struct head_case {
	const char *name;
	struct str in;
	enum verdict want;
};

#define C(name, text, want)           \
	{                             \
		name, STR(text), want \
	}
#define G "GET / HTTP/1.1\r\nHost: x\r\n"
#define P "POST / HTTP/1.1\r\nHost: x\r\n"

static const struct head_case requests[] = {
	C("plain", G "\r\n", OK),
	C("nothing", "", MORE),
	C("half a method", "GE", MORE),
	C("half a head", G, MORE),
	C("half a line end", G "\r", MORE),
	C("body follows", P "Content-Length: 3\r\n\r\nabc", OK),
	C("chunked", P "Transfer-Encoding: chunked\r\n\r\n", OK),
	C("HTTP/1.0 without host", "GET / HTTP/1.0\r\n\r\n", OK),
	C("empty value", G "X:\r\n\r\n", OK),
	C("tabs around a value", G "X: \t a\tb \t\r\n\r\n", OK),
	C("colon in a value", G "X: a:b\r\n\r\n", OK),
	C("every token character", G "!#$%&'*+-.^_`|~09azAZ: 1\r\n\r\n", OK),
	C("asterisk target", "OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n", OK),
	C("authority for CONNECT", "CONNECT x:443 HTTP/1.1\r\nHost: x\r\n\r\n", OK),
	C("path for CONNECT", "CONNECT / HTTP/1.1\r\nHost: x\r\n\r\n", BAD),
	C("asterisk for GET", "GET * HTTP/1.1\r\nHost: x\r\n\r\n", BAD),
	C("authority for GET", "GET x:443 HTTP/1.1\r\nHost: x\r\n\r\n", BAD),
	C("other scheme", "GET ftp://x/ HTTP/1.1\r\nHost: x\r\n\r\n", BAD),
	C("absolute target without host", "GET http:///a HTTP/1.1\r\nHost: x\r\n\r\n", BAD),
	C("absolute target with user", "GET http://a@x/ HTTP/1.1\r\nHost: x\r\n\r\n", BAD),
	C("absolute target with query", "GET https://x?a HTTP/1.1\r\nHost: x\r\n\r\n", OK),
	C("absolute target", "GET http://x/ HTTP/1.1\r\nHost: x\r\n\r\n", OK),
	C("expect", P "Expect: 100-continue\r\nContent-Length: 1\r\n\r\n", OK),
	C("host with port", "GET / HTTP/1.1\r\nHost: a-b.example:8400\r\n\r\n", OK),
	C("host with address literal", "GET / HTTP/1.1\r\nHost: [::1]:80\r\n\r\n", OK),
	C("longest length", P "Content-Length: 9223372036854775807\r\n\r\n", OK),

	/* smuggling */
	C("length and chunked", P "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n", BAD),
	C("chunked and length", P "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n", BAD),
	C("two lengths", P "Content-Length: 5\r\nContent-Length: 6\r\n\r\n", BAD),
	C("two equal lengths", P "Content-Length: 5\r\nContent-Length: 5\r\n\r\n", BAD),
	C("list of lengths", P "Content-Length: 5, 5\r\n\r\n", BAD),
	C("plus length", P "Content-Length: +5\r\n\r\n", BAD),
	C("minus length", P "Content-Length: -5\r\n\r\n", BAD),
	C("hex length", P "Content-Length: 0x5\r\n\r\n", BAD),
	C("fraction length", P "Content-Length: 5.0\r\n\r\n", BAD),
	C("blank in length", P "Content-Length: 1 1\r\n\r\n", BAD),
	C("length with tab", P "Content-Length:\t5\r\n\r\n", BAD),
	C("length with blanks", P "Content-Length:  5\r\n\r\n", BAD),
	C("length with blank behind", P "Content-Length: 5 \r\n\r\n", BAD),
	C("length without blank", P "Content-Length:5\r\n\r\n", OK),
	C("te with blank behind", P "Transfer-Encoding: chunked \r\n\r\n", BAD),
	C("te with tab", P "Transfer-Encoding:\tchunked\r\n\r\n", BAD),
	C("empty length", P "Content-Length:\r\n\r\n", BAD),
	C("underscore length", P "Content-Length: 1_0\r\n\r\n", BAD),
	C("length over int64", P "Content-Length: 9223372036854775808\r\n\r\n", BAD),
	C("length over uint64", P "Content-Length: 18446744073709551617\r\n\r\n", BAD),
	C("twenty digits", P "Content-Length: 00000000000000000005\r\n\r\n", BAD),
	C("te identity", P "Transfer-Encoding: identity\r\n\r\n", BAD),
	C("te gzip, chunked", P "Transfer-Encoding: gzip, chunked\r\n\r\n", BAD),
	C("te chunked, chunked", P "Transfer-Encoding: chunked, chunked\r\n\r\n", BAD),
	C("te twice", P "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n", BAD),
	C("te chunked and identity", P "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n",
		BAD),
	C("te xchunked", P "Transfer-Encoding: xchunked\r\n\r\n", BAD),
	C("te chunked with parameter", P "Transfer-Encoding: chunked;a=b\r\n\r\n", BAD),
	C("te with vertical tab",
		P "Transfer-Encoding: \x0b"
		  "chunked\r\n\r\n",
		BAD),
	C("te in capitals", P "Transfer-Encoding: CHUNKED\r\n\r\n", BAD),
	C("te quoted", P "Transfer-Encoding: \"chunked\"\r\n\r\n", BAD),
	C("te empty", P "Transfer-Encoding:\r\n\r\n", BAD),
	C("te in HTTP/1.0", "POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n", BAD),
	C("te name with blank", P "Transfer-Encoding : chunked\r\n\r\n", BAD),
	C("te name with tab", P "Transfer-Encoding\t: chunked\r\n\r\n", BAD),
	C("te folded", P "Transfer-Encoding:\r\n chunked\r\n\r\n", BAD),
	C("length name with blank", P "Content-Length : 5\r\n\r\n", BAD),
	C("hidden behind a bare line feed", P "X: a\nContent-Length: 5\r\n\r\n", BAD),
	C("hidden behind a bare return", P "X: a\rContent-Length: 5\r\n\r\n", BAD),
	C("hidden behind NUL", P "X: a\0b\r\n\r\n", BAD),

	/* line ends */
	C("bare line feeds", "GET / HTTP/1.1\nHost: x\n\n", BAD),
	C("bare line feed after the request line", "GET / HTTP/1.1\nHost: x\r\n\r\n", BAD),
	C("bare line feed at the end", G "\n", BAD),
	C("return, return, line feed", G "X: a\r\r\n\r\n", BAD),
	C("bare return in a value", G "X: a\rb\r\n\r\n", BAD),
	C("leading line end", "\r\n" G "\r\n", BAD),
	C("leading line feed", "\n" G "\r\n", BAD),
	C("leading blank", " " G "\r\n", BAD),

	/* header lines */
	C("folded value", G "X: a\r\n b\r\n\r\n", BAD),
	C("folded with tab", G "X: a\r\n\tb\r\n\r\n", BAD),
	C("first header indented", "GET / HTTP/1.1\r\n Host: x\r\n\r\n", BAD),
	C("blank before colon", G "X : a\r\n\r\n", BAD),
	C("blank in a name", G "X Y: a\r\n\r\n", BAD),
	C("no colon", G "X\r\n\r\n", BAD),
	C("no name", G ": a\r\n\r\n", BAD),
	C("parenthesis in a name", G "X(: a\r\n\r\n", BAD),
	C("high byte in a name", G "X\xc3\xa4: a\r\n\r\n", BAD),
	C("high byte in a value", G "X: \xc3\xa4\r\n\r\n", BAD),
	C("control in a value", G "X: a\x01\r\n\r\n", BAD),
	C("DEL in a value", G "X: a\x7f\r\n\r\n", BAD),
	C("NUL in a name", G "X\0: a\r\n\r\n", BAD),

	/* request lines */
	C("no version", "GET /\r\nHost: x\r\n\r\n", BAD),
	C("HTTP/2.0", "GET / HTTP/2.0\r\nHost: x\r\n\r\n", BAD),
	C("HTTP/1.2", "GET / HTTP/1.2\r\nHost: x\r\n\r\n", BAD),
	C("HTTP/1.10", "GET / HTTP/1.10\r\nHost: x\r\n\r\n", BAD),
	C("small http", "GET / http/1.1\r\nHost: x\r\n\r\n", BAD),
	C("two blanks before the target", "GET  / HTTP/1.1\r\nHost: x\r\n\r\n", BAD),
	C("two blanks after the target", "GET /  HTTP/1.1\r\nHost: x\r\n\r\n", BAD),
	C("tab after the method", "GET\t/ HTTP/1.1\r\nHost: x\r\n\r\n", BAD),
	C("blank in the target", "GET /a b HTTP/1.1\r\nHost: x\r\n\r\n", BAD),
	C("blank at the end of the line", "GET / HTTP/1.1 \r\nHost: x\r\n\r\n", BAD),
	C("fragment", "GET /a#b HTTP/1.1\r\nHost: x\r\n\r\n", BAD),
	C("high byte in the target", "GET /\xff HTTP/1.1\r\nHost: x\r\n\r\n", BAD),
	C("control in the target", "GET /\x01 HTTP/1.1\r\nHost: x\r\n\r\n", BAD),
	C("NUL in the target", "GET /\0 HTTP/1.1\r\nHost: x\r\n\r\n", BAD),
	C("small method", "get / HTTP/1.1\r\nHost: x\r\n\r\n", BAD),
	C("separator in the method", "G(T / HTTP/1.1\r\nHost: x\r\n\r\n", BAD),
	C("endless method", "ABCDEFGHIJKLMNOPQRSTUVWXYZABCDEFGHI / HTTP/1.1\r\nHost: x\r\n\r\n", BAD),
	C("TLS greeting", "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", BAD),
	C("response", "HTTP/1.1 200 OK\r\n\r\n", BAD),

	/* host, expect */
	C("no host", "GET / HTTP/1.1\r\n\r\n", BAD),
	C("two hosts", G "Host: x\r\n\r\n", BAD),
	C("empty host", "GET / HTTP/1.1\r\nHost:\r\n\r\n", BAD),
	C("host with path", "GET / HTTP/1.1\r\nHost: x/y\r\n\r\n", BAD),
	C("host with user", "GET / HTTP/1.1\r\nHost: a@b\r\n\r\n", BAD),
	C("host list", "GET / HTTP/1.1\r\nHost: a,b\r\n\r\n", BAD),
	C("host with blank", "GET / HTTP/1.1\r\nHost: a b\r\n\r\n", BAD),
	C("unknown expectation", P "Expect: 200-ok\r\n\r\n", BAD),
};

static const struct head_case responses[] = {
	C("plain", "HTTP/1.1 200 OK\r\n\r\n", OK),
	C("no reason", "HTTP/1.1 200 \r\n\r\n", OK),
	C("long reason", "HTTP/1.1 404 Not Found at all\r\n\r\n", OK),
	C("HTTP/1.0", "HTTP/1.0 200 OK\r\n\r\n", OK),
	C("high byte in a value", "HTTP/1.1 200 OK\r\nX: \xc3\xa4\r\n\r\n", OK),
	C("no content with length 0", "HTTP/1.1 204 No Content\r\nContent-Length: 0\r\n\r\n", OK),
	C("half", "HTTP/1.1 2", MORE),
	C("no blank after the status", "HTTP/1.1 200\r\n\r\n", BAD),
	C("two digits", "HTTP/1.1 20 OK\r\n\r\n", BAD),
	C("four digits", "HTTP/1.1 2000 OK\r\n\r\n", BAD),
	C("status 099", "HTTP/1.1 099 OK\r\n\r\n", BAD),
	C("status 600", "HTTP/1.1 600 OK\r\n\r\n", BAD),
	C("status with sign", "HTTP/1.1 +20 OK\r\n\r\n", BAD),
	C("control in the reason", "HTTP/1.1 200 O\x01K\r\n\r\n", BAD),
	C("HTTP/2", "HTTP/2 200 OK\r\n\r\n", BAD),
	C("bare line feeds", "HTTP/1.1 200 OK\n\n", BAD),
	C("folded", "HTTP/1.1 200 OK\r\nX: a\r\n b\r\n\r\n", BAD),
	C("length and chunked", "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
		BAD),
	C("two lengths", "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\n", BAD),
	C("chunked no content", "HTTP/1.1 204 No Content\r\nTransfer-Encoding: chunked\r\n\r\n", BAD),
	C("no content with a length", "HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\n", BAD),
	C("chunked continue", "HTTP/1.1 100 Continue\r\nTransfer-Encoding: chunked\r\n\r\n", BAD),
};

typedef int parse_fn(struct str, const struct http_limits *, struct http_head *, size_t *, struct err *);

static void
run_cases(const struct head_case *cases, size_t n, parse_fn *parse)
{
	static struct http_head h;
	int wrong = 0;

	for (size_t i = 0; i < n; i++) {
		const struct head_case *c = &cases[i];
		/* On the heap and exact, so that a sanitizer sees every byte that is read beyond. */
		char *copy = malloc(c->in.n ? c->in.n : 1);
		struct err e = {0};
		size_t used = 0;

		memcpy(copy, c->in.p, c->in.n);
		enum verdict v = verdict_of(parse(str_n(copy, c->in.n), &lim, &h, &used, &e));

		if (v != c->want || (v >= BAD) != (e.msg[0] != '\0')) {
			print_error("%s: %d, expected %d: %s\n", c->name, (int)v, (int)c->want, e.msg);
			wrong++;
		}
		for (size_t k = 0; v == OK && k < used; k++)
			assert_int_equal(parse(str_n(copy, k), &lim, &h, &used, &e), 0);
		free(copy);
	}
	assert_int_equal(wrong, 0);
}

static void
requests_are_judged(void **state)
{
	(void)state;
	run_cases(requests, ARRAY_LEN(requests), http_parse_request);
}

static void
responses_are_judged(void **state)
{
	(void)state;
	run_cases(responses, ARRAY_LEN(responses), http_parse_response);
}

static void
a_request_is_taken_apart(void **state)
{
	static const struct str in = STR("POST /v1/sessions?a=b HTTP/1.1\r\nHost: api\r\nX-Api-Key:  k 1 \r\n"
					 "Content-Length: 4\r\nx-api-key: second\r\n\r\nbodyrest");
	struct http_head h;
	size_t used = 0;
	struct err e;

	(void)state;
	assert_int_equal(http_parse_request(in, &lim, &h, &used, &e), 1);
	assert_int_equal(used, in.n - 8);
	assert_true(str_eqz(h.method, "POST"));
	assert_true(str_eqz(h.target, "/v1/sessions?a=b"));
	assert_int_equal(h.n_headers, 4);
	assert_true(str_eqz(h.headers[1].name, "X-Api-Key"));
	assert_true(str_eqz(http_header_get(&h, "X-API-KEY"), "k 1"));
	assert_null(http_header_get(&h, "x-other").p);
	assert_int_equal(h.body, HTTP_BODY_LENGTH);
	assert_int_equal(h.length, 4);
	assert_true(h.keep_alive);
	assert_false(h.http10);
	assert_false(h.expect_continue);
}

static void
connections_are_kept_or_not(void **state)
{
	static const struct {
		struct str in;
		bool keep;
	} cases[] = {
		{STR(G "\r\n"), true},
		{STR(G "Connection: close\r\n\r\n"), false},
		{STR(G "Connection: foo, CLOSE\r\n\r\n"), false},
		{STR(G "Connection: keep-alive\r\n\r\n"), true},
		{STR(G "Connection: closed\r\n\r\n"), true},
		{STR(G "Connection: x\r\nConnection: close\r\n\r\n"), false},
		{STR("GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n"), false},
	};
	struct http_head h;
	size_t used;
	struct err e;

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		assert_int_equal(http_parse_request(cases[i].in, &lim, &h, &used, &e), 1);
		assert_int_equal(h.keep_alive, cases[i].keep);
	}
}

static void
response_bodies(void **state)
{
	static const struct {
		struct str in;
		enum http_body body;
		bool keep;
	} cases[] = {
		{STR("HTTP/1.1 200 OK\r\n\r\n"), HTTP_BODY_UNTIL_CLOSE, false},
		{STR("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"), HTTP_BODY_LENGTH, true},
		{STR("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"), HTTP_BODY_CHUNKED, true},
		{STR("HTTP/1.1 204 No Content\r\n\r\n"), HTTP_BODY_NONE, true},
		{STR("HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n"), HTTP_BODY_NONE, true},
		{STR("HTTP/1.1 100 Continue\r\n\r\n"), HTTP_BODY_NONE, true},
		{STR("HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 1\r\n\r\n"),
			HTTP_BODY_LENGTH, true},
	};
	struct http_head h;
	size_t used;
	struct err e;

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		assert_int_equal(http_parse_response(cases[i].in, &lim, &h, &used, &e), 1);
		assert_int_equal(h.body, cases[i].body);
		assert_int_equal(h.keep_alive, cases[i].keep);
	}
}

/* ---- limits ---- */

/* A request whose head has `headers` headers of `value` bytes each and a target of `target` bytes. */
static enum verdict
sized(size_t target, size_t headers, size_t value, bool complete)
{
	AUTO(buf) struct buf b;
	static struct http_head h;
	size_t used;
	struct err e;

	buf_init(&b, 10 * MIB);
	buf_put_str(&b, STR("GET /"));
	for (size_t i = 1; i < target; i++)
		buf_put_c(&b, 'a');
	buf_put_str(&b, STR(" HTTP/1.1\r\nHost: x\r\n"));
	for (size_t i = 1; i < headers; i++) {
		buf_put_str(&b, STR("X: "));
		for (size_t k = 0; k < value; k++)
			buf_put_c(&b, 'v');
		buf_put_str(&b, STR("\r\n"));
	}
	if (complete)
		buf_put_str(&b, STR("\r\n"));
	return verdict_of(http_parse_request(buf_str(&b), &lim, &h, &used, &e));
}

static void
limits_are_kept(void **state)
{
	size_t line = LIM_HTTP_LINE - strlen("GET  HTTP/1.1\r");
	/* bytes of a head with two headers, without the second's value */
	size_t rest = strlen("GET / HTTP/1.1\r\nHost: x\r\nX: \r\n\r\n");

	(void)state;
	assert_int_equal(sized(line, 1, 0, true), OK);
	assert_int_equal(sized(line + 1, 1, 0, true), BIG);
	assert_int_equal(sized(10 * LIM_HTTP_LINE, 1, 0, false), BIG);
	assert_int_equal(sized(1, LIM_HTTP_HEADERS, 1, true), OK);
	assert_int_equal(sized(1, LIM_HTTP_HEADERS + 1, 1, true), BIG);
	assert_int_equal(sized(1, LIM_HTTP_HEADERS + 1, 1, false), BIG);
	assert_int_equal(sized(1, 2, LIM_HTTP_HEAD - rest, true), OK);
	assert_int_equal(sized(1, 2, LIM_HTTP_HEAD - rest + 1, true), BIG);
	assert_int_equal(sized(1, 5, 7000, true), OK);
	assert_int_equal(sized(1, 6, 7000, true), BIG);
	assert_int_equal(sized(1, 6, 7000, false), BIG);
	assert_int_equal(sized(1, 2, 3 * LIM_HTTP_HEAD, false), BIG);
}

/* ---- bodies ---- */

struct body_case {
	const char *name;
	struct str in;
	enum verdict want;
	const char *content; /* with OK and MORE */
	size_t rest;         /* bytes behind the body */
};

static const struct body_case chunked[] = {
	{"empty", STR("0\r\n\r\n"), OK, "", 0},
	{"one", STR("5\r\nhello\r\n0\r\n\r\n"), OK, "hello", 0},
	{"two", STR("5\r\nhello\r\n6\r\n world\r\n0\r\n\r\n"), OK, "hello world", 0},
	{"capital hexadecimal", STR("A\r\n0123456789\r\n0\r\n\r\n"), OK, "0123456789", 0},
	{"leading zeros", STR("0005\r\nhello\r\n000\r\n\r\n"), OK, "hello", 0},
	{"extension", STR("5;a=b\r\nhello\r\n0;c\r\n\r\n"), OK, "hello", 0},
	{"two extensions", STR("5;a=b;c\r\nhello\r\n0\r\n\r\n"), BAD, NULL, 0},
	{"empty extension", STR("5;\r\nhello\r\n0\r\n\r\n"), BAD, NULL, 0},
	{"extension without a value", STR("5;a=\r\nhello\r\n0\r\n\r\n"), BAD, NULL, 0},
	{"extension without a name", STR("5;=b\r\nhello\r\n0\r\n\r\n"), BAD, NULL, 0},
	{"extension with a blank", STR("5; a\r\nhello\r\n0\r\n\r\n"), BAD, NULL, 0},
	{"escape in an extension", STR("5;a=\"b\\\"\"\r\nhello\r\n0\r\n\r\n"), BAD, NULL, 0},
	{"open quote", STR("5;a=\"b\r\nhello\r\n0\r\n\r\n"), BAD, NULL, 0},
	{"text behind a quote", STR("5;a=\"b\"c\r\nhello\r\n0\r\n\r\n"), BAD, NULL, 0},
	{"quoted extension", STR("5;a=\"b c\"\r\nhello\r\n0\r\n\r\n"), OK, "hello", 0},
	{"trailers", STR("0\r\nX: y\r\nZ:\r\n\r\n"), OK, "", 0},
	{"next request", STR("1\r\na\r\n0\r\n\r\nGET /"), OK, "a", 5},
	{"half a size", STR("5"), MORE, "", 0},
	{"half a chunk", STR("5\r\nhel"), MORE, "hel", 0},
	{"half a line end", STR("5\r\nhello\r"), MORE, "hello", 0},
	{"half an end", STR("0\r\n\r"), MORE, "", 0},
	{"nothing for a size", STR("\r\n"), BAD, NULL, 0},
	{"0x", STR("0x5\r\nhello\r\n0\r\n\r\n"), BAD, NULL, 0},
	{"plus", STR("+5\r\nhello\r\n"), BAD, NULL, 0},
	{"minus", STR("-5\r\nhello\r\n"), BAD, NULL, 0},
	{"blank before", STR(" 5\r\nhello\r\n"), BAD, NULL, 0},
	{"blank behind", STR("5 \r\nhello\r\n"), BAD, NULL, 0},
	{"underscore", STR("1_0\r\n"), BAD, NULL, 0},
	{"no hexadecimal", STR("g\r\n"), BAD, NULL, 0},
	{"overflow", STR("FFFFFFFFFFFFFFFFF\r\n"), BAD, NULL, 0},
	{"overflow to five", STR("10000000000000005\r\nhello\r\n"), BAD, NULL, 0},
	{"sixteen digits", STR("0000000000000005\r\nhello\r\n"), BAD, NULL, 0},
	{"bare line feed after the size", STR("5\nhello\r\n"), BAD, NULL, 0},
	{"bare return after the size", STR("5\rhello\r\n"), BAD, NULL, 0},
	{"bare line feed after the chunk", STR("5\r\nhello\n"), BAD, NULL, 0},
	{"chunk longer than its size", STR("4\r\nhello\r\n"), BAD, NULL, 0},
	{"bare line feed in an extension", STR("5;a\nb\r\nhello\r\n"), BAD, NULL, 0},
	{"control in an extension", STR("5;\x01\r\nhello\r\n"), BAD, NULL, 0},
	{"bare line feed at the end", STR("0\r\n\n"), BAD, NULL, 0},
	{"trailer without a name", STR("0\r\n: x\r\n\r\n"), BAD, NULL, 0},
	{"trailer with blank", STR("0\r\nA B: x\r\n\r\n"), BAD, NULL, 0},
	{"trailer without colon", STR("0\r\nAB\r\n\r\n"), BAD, NULL, 0},
	{"length in a trailer", STR("0\r\nContent-Length: 1\r\n\r\n"), BAD, NULL, 0},
	{"coding in a trailer", STR("0\r\nA: b\r\ntransfer-ENCODING:\r\n\r\n"), BAD, NULL, 0},
	{"names like it", STR("0\r\nContent-Lengt: 1\r\nContent-Length2: 1\r\nC: 1\r\n\r\n"), OK, "", 0},
	{"folded trailer", STR("0\r\nA: x\r\n y\r\n\r\n"), BAD, NULL, 0},
	{"bare line feed in a trailer", STR("0\r\nA: x\ny: z\r\n\r\n"), BAD, NULL, 0},
	{"NUL in a trailer", STR("0\r\nA: \0\r\n\r\n"), BAD, NULL, 0},
};

/* Feeds in pieces of `step` bytes. */
static enum verdict
decode(struct http_body_reader *r, struct str in, size_t step, struct buf *out, size_t *rest)
{
	size_t pos = 0;
	struct err e;

	while (pos < in.n && !r->done) {
		size_t n = in.n - pos < step ? in.n - pos : step;
		char *piece = malloc(n);
		size_t at = 0;

		memcpy(piece, in.p + pos, n);
		while (at < n && !r->done) {
			struct str content;
			size_t used = 0;
			int rc = http_body_feed(r, str_n(piece + at, n - at), &used, &content, &e);

			if (rc < 0) {
				free(piece);
				return verdict_of(rc);
			}
			buf_put_str(out, content);
			if (!used)
				break;
			at += used;
		}
		free(piece);
		pos += at;
	}
	*rest = in.n - pos;
	return r->done ? OK : MORE;
}

static void
chunked_bodies_are_judged(void **state)
{
	static const struct http_head h = {.body = HTTP_BODY_CHUNKED};
	int wrong = 0;

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(chunked); i++) {
		const struct body_case *c = &chunked[i];

		for (size_t step = 1; step <= c->in.n; step++) {
			AUTO(buf) struct buf out;
			struct http_body_reader r;
			size_t rest = 0;

			buf_init(&out, 4096);
			http_body_init(&r, &h);
			enum verdict v = decode(&r, c->in, step, &out, &rest);

			if (v == c->want &&
				(v >= BAD || (str_eqz(buf_str(&out), c->content) && rest == c->rest)))
				continue;
			print_error("%s by %zu: %d, expected %d\n", c->name, step, (int)v, (int)c->want);
			wrong++;
		}
	}
	assert_int_equal(wrong, 0);
}

static void
put_many(struct buf *b, const char *before, char c, size_t n, const char *after)
{
	buf_put_z(b, before);
	for (size_t i = 0; i < n; i++)
		buf_put_c(b, c);
	buf_put_z(b, after);
}

static enum verdict
long_part(const char *before, size_t n, const char *after)
{
	static const struct http_head h = {.body = HTTP_BODY_CHUNKED};
	AUTO(buf) struct buf in;
	AUTO(buf) struct buf out;
	struct http_body_reader r;
	size_t rest;

	buf_init(&in, 1 * MIB);
	buf_init(&out, 1 * MIB);
	put_many(&in, before, 'x', n, after);
	http_body_init(&r, &h);
	return decode(&r, buf_str(&in), 1000, &out, &rest);
}

static void
framing_has_limits(void **state)
{
	(void)state;
	assert_int_equal(long_part("1;", LIM_HTTP_CHUNK_EXT - 1, "\r\na\r\n0\r\n\r\n"), OK);
	assert_int_equal(long_part("1;", LIM_HTTP_CHUNK_EXT, "\r\na\r\n0\r\n\r\n"), BAD);
	assert_int_equal(long_part("0\r\nX: ", 4000, "\r\n\r\n"), OK);
	assert_int_equal(long_part("0\r\nX: ", LIM_HTTP_LINE, "\r\n\r\n"), BAD);
}

static void
bodies_with_a_length(void **state)
{
	static const struct http_head h = {.body = HTTP_BODY_LENGTH, .length = 5};
	static const struct http_head none = {.body = HTTP_BODY_LENGTH, .length = 0};
	static const struct http_head endless = {.body = HTTP_BODY_UNTIL_CLOSE};
	AUTO(buf) struct buf out;
	struct http_body_reader r;
	size_t rest = 0;

	(void)state;
	buf_init(&out, 100);
	http_body_init(&r, &h);
	assert_int_equal(decode(&r, STR("helloGET"), 3, &out, &rest), OK);
	assert_int_equal(rest, 3);
	assert_true(str_eqz(buf_str(&out), "hello"));
	http_body_init(&r, &none);
	assert_true(r.done);
	buf_clear(&out);
	http_body_init(&r, &endless);
	assert_int_equal(decode(&r, STR("anything"), 3, &out, &rest), MORE);
	assert_true(str_eqz(buf_str(&out), "anything"));
}

/* ---- writing ---- */

static void
heads_are_written(void **state)
{
	AUTO(buf) struct buf b;

	(void)state;
	buf_init(&b, 4096);
	http_put_status(&b, 413);
	http_put_header(&b, "x-a", STR("b c"));
	http_put_header_u64(&b, "content-length", UINT64_MAX);
	http_put_header_u64(&b, "n", 0);
	http_put_end(&b);
	http_put_request_line(&b, STR("GET"), STR("/v1"));
	assert_int_equal(b.fail, ERR_NONE);
	assert_true(str_eqz(buf_str(&b), "HTTP/1.1 413 Content Too Large\r\nx-a: b c\r\ncontent-length: "
					 "18446744073709551615\r\nn: 0\r\n\r\n"
					 "GET /v1 HTTP/1.1\r\n"));
}

static void
headers_cannot_be_injected(void **state)
{
	static const struct str values[] = {STR("a\r\nB: c"), STR("a\nb"), STR("a\rb"), STR("a\0b"),
		STR("\x01"), STR(" a"), STR("a "), STR("\x7f"), STR("\xc3\xa4")};
	static const char *const names[] = {"", "a b", "a:", "a\r\nb", "\xc3\xa4"};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(values); i++) {
		AUTO(buf) struct buf b;

		buf_init(&b, 4096);
		http_put_header(&b, "x", values[i]);
		assert_int_equal(b.fail, ERR_INTERNAL);
		buf_clear(&b);
		http_put_request_line(&b, STR("GET"), values[i]);
		assert_int_equal(b.fail, ERR_INTERNAL);
	}
	for (size_t i = 0; i < ARRAY_LEN(names); i++) {
		AUTO(buf) struct buf b;

		buf_init(&b, 4096);
		http_put_header(&b, names[i], STR("x"));
		assert_int_equal(b.fail, ERR_INTERNAL);
	}
}

/* ---- targets ---- */

struct target_case {
	struct str in;
	const char *want; /* path, then "|key=value" for each pair; NULL: refused */
};

static const struct target_case targets[] = {
	{STR("/"), "/"},
	{STR("/v1/sessions"), "/v1/sessions"},
	{STR("/a%20b"), "/a b"},
	{STR("/%c3%A4"), "/\xc3\xa4"},
	{STR("/a+b"), "/a+b"},
	{STR("/a?"), "/a"},
	{STR("/a?b"), "/a|b="},
	{STR("/a?b=c"), "/a|b=c"},
	{STR("/a?b=c=d"), "/a|b=c=d"},
	{STR("/a?b=c&b=d"), "/a|b=c|b=d"},
	{STR("/a?&&b=c&"), "/a|b=c"},
	{STR("/a?types[]=x&types%5B%5D=y"), "/a|types[]=x|types[]=y"},
	{STR("/a?q=a+b%2Bc"), "/a|q=a b+c"},
	{STR("/a?q=%2F../.."), "/a|q=/../.."},
	{STR("/a?q=?"), "/a|q=?"},
	{STR("/a//b"), "/a//b"},
	{STR("/...a/..b"), "/...a/..b"},
	{STR(""), NULL},
	{STR("*"), NULL},
	{STR("http://x/"), NULL},
	{STR("a"), NULL},
	{STR("?a=b"), NULL},
	{STR("/.."), NULL},
	{STR("/a/../b"), NULL},
	{STR("/a/./b"), NULL},
	{STR("/a/."), NULL},
	{STR("/%2e%2E/b"), NULL},
	{STR("/a%2fb"), NULL},
	{STR("/a%5Cb"), NULL},
	{STR("/a%00"), NULL},
	{STR("/a%0a"), NULL},
	{STR("/a%7f"), NULL},
	{STR("/a?b=%00"), NULL},
	{STR("/a%"), NULL},
	{STR("/a%1"), NULL},
	{STR("/a%gg"), NULL},
	{STR("/a%+1"), NULL},
	{STR("/a?b=%"), NULL},
	{STR("/a?1&2&3&4&5"), NULL},
};

static void
targets_are_taken_apart(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(targets); i++) {
		const struct target_case *c = &targets[i];
		struct http_query pairs[4];
		struct http_target t = {.pairs = pairs, .n_pairs = ARRAY_LEN(pairs)};
		AUTO(buf) struct buf text;
		char *scratch = malloc(c->in.n ? c->in.n : 1);
		struct err e;
		int r = http_parse_target(c->in, scratch, &t, &e);

		buf_init(&text, 4096);
		if (r == 0) {
			buf_put_str(&text, t.path);
			for (size_t k = 0; k < t.n_pairs; k++)
				buf_printf(&text, "|%.*s=%.*s", STRF(pairs[k].key), STRF(pairs[k].value));
		}
		if (c->want ? r < 0 || !str_eqz(buf_str(&text), c->want) : r != -ERR_INVALID)
			fail_msg("%.*s: %d %.*s", STRF(c->in), r, STRF(buf_str(&text)));
		free(scratch);
	}
}

int
main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(requests_are_judged),
		cmocka_unit_test(responses_are_judged),
		cmocka_unit_test(a_request_is_taken_apart),
		cmocka_unit_test(connections_are_kept_or_not),
		cmocka_unit_test(response_bodies),
		cmocka_unit_test(limits_are_kept),
		cmocka_unit_test(chunked_bodies_are_judged),
		cmocka_unit_test(framing_has_limits),
		cmocka_unit_test(bodies_with_a_length),
		cmocka_unit_test(heads_are_written),
		cmocka_unit_test(headers_cannot_be_injected),
		cmocka_unit_test(targets_are_taken_apart),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
