/* SPDX-License-Identifier: Apache-2.0 */
/* Heads. */
#include "io/http1.h"

#include <limits.h>

#include "io/http1_chars.h"

#define SYM   (C_TOKEN | C_VALUE | C_TARGET)
#define PUNCT (C_VALUE | C_TARGET)
#define ALPHA (C_TOKEN | C_VALUE | C_TARGET | C_HOST)

const uint8_t http1_classes[256] = {
	['\t'] = C_VALUE,
	[' '] = C_VALUE,
	['!'] = SYM,
	['"'] = PUNCT,
	['#'] = C_TOKEN | C_VALUE,
	['$'] = SYM,
	['%'] = SYM,
	['&'] = SYM,
	['\''] = SYM,
	['('] = PUNCT,
	[')'] = PUNCT,
	['*'] = SYM,
	['+'] = SYM,
	[','] = PUNCT,
	['-'] = ALPHA,
	['.'] = ALPHA,
	['/'] = PUNCT,
	['0' ... '9'] = ALPHA | C_HEX,
	[':'] = PUNCT | C_HOST,
	[';'] = PUNCT,
	['<'] = PUNCT,
	['='] = PUNCT,
	['>'] = PUNCT,
	['?'] = PUNCT,
	['@'] = PUNCT,
	['A' ... 'F'] = ALPHA | C_HEX | C_UPPER,
	['G' ... 'Z'] = ALPHA | C_UPPER,
	['['] = PUNCT | C_HOST,
	['\\'] = PUNCT,
	[']'] = PUNCT | C_HOST,
	['^'] = SYM,
	['_'] = ALPHA,
	['`'] = SYM,
	['a' ... 'f'] = ALPHA | C_HEX,
	['g' ... 'z'] = ALPHA,
	['{'] = PUNCT,
	['|'] = SYM,
	['}'] = PUNCT,
	['~'] = SYM,
	[0x80 ... 0xff] = C_HIGH,
};

/*
 * Cuts the next line off *rest, without its CRLF. 1: done, 0: more bytes needed, <0: a line break other than
 * CRLF, or over `max` bytes.
 */
static int
next_line(struct str *rest, size_t max, struct str *line, struct err *e)
{
	const char *lf = rest->n ? memchr(rest->p, '\n', rest->n) : NULL;
	size_t n = lf ? (size_t)(lf - rest->p) : rest->n;
	const char *cr = n ? memchr(rest->p, '\r', n) : NULL;

	if (cr && cr + 1 != rest->p + n)
		return err_set(e, ERR_INVALID, "a carriage return without a line feed");
	if (lf && !cr)
		return err_set(e, ERR_INVALID, "a line feed without a carriage return");
	if (n > max)
		return err_set(e, ERR_HEADERS_TOO_LARGE, "a line of the head is over %zu bytes", max);
	if (!lf)
		return 0;
	*line = str_n(rest->p, n - 1);
	rest->p += n + 1;
	rest->n -= n + 1;
	return 1;
}

static int
check_version(struct str v, struct http_head *h, struct err *e)
{
	if (!str_eqz(v, "HTTP/1.1") && !str_eqz(v, "HTTP/1.0"))
		return err_set(e, ERR_INVALID, "the protocol version must be HTTP/1.1");
	h->http10 = v.p[7] == '0';
	return 0;
}

/* Origin-form, absolute-form of the web's schemes, "*" for OPTIONS, an authority for CONNECT. */
static bool
is_target(struct str method, struct str t)
{
	if (!t.n || !http1_all(t, C_TARGET))
		return false;
	if (str_eqz(method, "CONNECT"))
		return http1_all(t, C_HOST);
	if (t.p[0] == '/')
		return true;
	if (str_eqz(t, "*"))
		return str_eqz(method, "OPTIONS");
	size_t scheme = str_starts(t, STR("http://")) ? 7 : str_starts(t, STR("https://")) ? 8 : t.n;
	struct str rest = str_sub(t, scheme, t.n);
	size_t host = http1_run(rest, C_HOST);

	return host > 0 && (host == rest.n || rest.p[host] == '/' || rest.p[host] == '?');
}

static int
request_line(struct str line, struct http_head *h, struct err *e)
{
	struct str rest = line;

	h->method = str_next(&rest, ' ');
	h->target = str_next(&rest, ' ');
	if (!h->method.n || h->method.n > 32 || !http1_all(h->method, C_UPPER))
		return err_set(e, ERR_INVALID, "malformed request method");
	if (!is_target(h->method, h->target))
		return err_set(e, ERR_INVALID, "malformed request target");
	return check_version(rest, h, e);
}

static int
status_line(struct str line, struct http_head *h, struct err *e)
{
	struct str rest = line;
	struct str version = str_next(&rest, ' ');
	uint64_t status = 0;

	if (check_version(version, h, e) < 0)
		return -ERR_INVALID;
	if (rest.n < 4 || rest.p[3] != ' ' || !str_to_u64(str_sub(rest, 0, 3), &status) || status < 100 ||
		status > 599)
		return err_set(e, ERR_INVALID, "malformed status line");
	h->status = (int)status;
	h->reason = str_sub(rest, 4, rest.n);
	if (!http1_all(h->reason, C_VALUE | C_HIGH))
		return err_set(e, ERR_INVALID, "malformed status line");
	return 0;
}

static int
header_line(struct str line, unsigned value_class, struct http_header *out, struct err *e)
{
	size_t n = http1_run(line, C_TOKEN);

	if (n == 0 || n == line.n || line.p[n] != ':')
		return err_set(e, ERR_INVALID, "malformed header name");
	out->name = str_sub(line, 0, n);
	out->value = str_trim(str_sub(line, n + 1, line.n));
	if (!http1_all(out->value, value_class))
		return err_set(
			e, ERR_INVALID, "malformed value of header %.*s", n > 64 ? 64 : (int)n, line.p);
	return 0;
}

/* True unless the line is "name:value" or "name: value". */
static bool
is_padded(struct str line, const struct http_header *x)
{
	size_t bare = x->name.n + 1 + x->value.n;

	return line.n != bare && (line.n != bare + 1 || line.p[x->name.n + 1] != ' ');
}

static bool
list_has(struct str list, const char *token)
{
	while (list.p) {
		struct str item = str_trim(str_next(&list, ','));

		if (str_eq_nocase(item, str_z(token)))
			return true;
	}
	return false;
}

/* What the headers that rule the connection said, seen one by one. */
struct framing {
	bool request;
	bool padded; /* more than one blank stands around the value at hand, or a tab, or one behind it */
	unsigned hosts, lengths, codings;
	bool close, keep_alive;
};

static int
on_host(struct framing *f, struct str v, struct http_head *h, struct err *e)
{
	(void)h;
	if (f->request && (f->hosts++ || !v.n || !http1_all(v, C_HOST)))
		return err_set(e, ERR_INVALID, "malformed or repeated Host");
	return 0;
}

static int
on_expect(struct framing *f, struct str v, struct http_head *h, struct err *e)
{
	if (f->request && !str_eq_nocase(v, STR("100-continue")))
		return err_set(e, ERR_INVALID, "unknown expectation");
	h->expect_continue = f->request;
	return 0;
}

static int
on_connection(struct framing *f, struct str v, struct http_head *h, struct err *e)
{
	(void)h;
	(void)e;
	f->close = f->close || list_has(v, "close");
	f->keep_alive = f->keep_alive || list_has(v, "keep-alive");
	return 0;
}

static int
on_length(struct framing *f, struct str v, struct http_head *h, struct err *e)
{
	/* Within int64, so that nothing which is added to it later overflows. */
	if (f->lengths++ || f->padded || v.n > 19 || !str_to_u64(v, &h->length) || h->length > INT64_MAX)
		return err_set(e, ERR_INVALID, "malformed or repeated Content-Length");
	return 0;
}

static int
on_coding(struct framing *f, struct str v, struct http_head *h, struct err *e)
{
	(void)h;
	if (f->codings++ || f->padded || !str_eqz(v, "chunked"))
		return err_set(e, ERR_INVALID, "Transfer-Encoding must be \"chunked\", once");
	return 0;
}

static const struct {
	struct str name;
	int (*on)(struct framing *f, struct str v, struct http_head *h, struct err *e);
} rulers[] = {
	{{"host", 4}, on_host},
	{{"expect", 6}, on_expect},
	{{"connection", 10}, on_connection},
	{{"content-length", 14}, on_length},
	{{"transfer-encoding", 17}, on_coding},
};

static int
on_header(struct framing *f, const struct http_header *x, struct http_head *h, struct err *e)
{
	for (size_t i = 0; i < ARRAY_LEN(rulers); i++)
		if (x->name.n == rulers[i].name.n && str_eq_nocase(x->name, rulers[i].name))
			return rulers[i].on(f, x->value, h, e);
	return 0;
}

/* What the body of a response is, beyond its headers. */
static int
finish_response(const struct framing *f, struct http_head *h, struct err *e)
{
	if (h->status < 200 || h->status == 204) {
		if (f->codings || h->length)
			return err_set(e, ERR_INVALID, "a body where the status forbids one");
		h->body = HTTP_BODY_NONE;
	} else if (h->status == 304) {
		h->body = HTTP_BODY_NONE;
	} else if (h->body == HTTP_BODY_NONE) {
		h->body = HTTP_BODY_UNTIL_CLOSE;
		h->keep_alive = false;
	}
	return 0;
}

static int
finish_framing(const struct framing *f, struct http_head *h, struct err *e)
{
	if (f->codings && f->lengths)
		return err_set(e, ERR_INVALID, "Content-Length together with Transfer-Encoding");
	if (f->codings && h->http10)
		return err_set(e, ERR_INVALID, "Transfer-Encoding in HTTP/1.0");
	if (f->request && !h->http10 && !f->hosts)
		return err_set(e, ERR_INVALID, "no Host header");
	h->body = f->codings ? HTTP_BODY_CHUNKED : f->lengths ? HTTP_BODY_LENGTH : HTTP_BODY_NONE;
	h->keep_alive = !f->close;
	if (h->http10) {
		h->expect_continue = false;
		h->keep_alive = !f->close && !f->request && f->keep_alive;
	}
	return f->request ? 0 : finish_response(f, h, e);
}

static int
parse_headers(
	struct str *rest, const struct http_limits *lim, bool request, struct http_head *h, struct err *e)
{
	unsigned value_class = request ? C_VALUE : C_VALUE | C_HIGH;
	struct framing f = {.request = request};

	for (;;) {
		struct str line;
		int r = next_line(rest, lim->head, &line, e);

		if (r <= 0)
			return r;
		if (!line.n)
			break;
		if (h->n_headers >= lim->headers || h->n_headers >= LIM_HTTP_HEADERS)
			return err_set(e, ERR_HEADERS_TOO_LARGE, "more than %zu headers", h->n_headers);
		struct http_header *x = &h->headers[h->n_headers++];

		if ((r = header_line(line, value_class, x, e)) < 0)
			return r;
		f.padded = is_padded(line, x);
		if ((r = on_header(&f, x, h, e)) < 0)
			return r;
	}
	int r = finish_framing(&f, h, e);

	return r < 0 ? r : 1;
}

static void
head_init(struct http_head *h)
{
	h->method = h->target = h->reason = STR_NULL;
	h->status = 0;
	h->http10 = false;
	h->n_headers = 0;
	h->body = HTTP_BODY_NONE;
	h->length = 0;
	h->keep_alive = h->expect_continue = false;
}

/* >0: the bytes of the head, 0: more are needed. */
static int
parse_head(struct str in, const struct http_limits *lim, bool request, struct http_head *out, struct err *e)
{
	struct str rest = in;
	struct str line;
	int r = next_line(&rest, lim->line, &line, e);

	/* No need to wait for the rest of what will never be a request, such as a TLS greeting. */
	if (r == 0 && request && in.n && !http1_is(in.p[0], C_UPPER))
		return err_set(e, ERR_INVALID, "malformed request method");
	if (r <= 0)
		return r;
	head_init(out);
	r = request ? request_line(line, out, e) : status_line(line, out, e);
	if (r == 0)
		r = parse_headers(&rest, lim, request, out, e);
	if (r < 0)
		return r;
	size_t n = r ? in.n - rest.n : in.n;

	if (n > lim->head || n > INT_MAX)
		return err_set(e, ERR_HEADERS_TOO_LARGE, "the head is over %zu bytes", lim->head);
	return r ? (int)n : 0;
}

int
http_parse_request(
	struct str in, const struct http_limits *lim, struct http_head *out, size_t *used, struct err *e)
{
	int n = parse_head(in, lim, true, out, e);

	if (n > 0)
		*used = (size_t)n;
	return n > 0 ? 1 : n;
}

int
http_parse_response(
	struct str in, const struct http_limits *lim, struct http_head *out, size_t *used, struct err *e)
{
	int n = parse_head(in, lim, false, out, e);

	if (n > 0)
		*used = (size_t)n;
	return n > 0 ? 1 : n;
}

struct str
http_header_get(const struct http_head *h, const char *name)
{
	struct str want = str_z(name);

	for (size_t i = 0; i < h->n_headers; i++)
		if (str_eq_nocase(h->headers[i].name, want))
			return h->headers[i].value;
	return STR_NULL;
}
