/* SPDX-License-Identifier: Apache-2.0 */
#include "io/http1.h"

#include <stdlib.h>

/* Classes of bytes. */
enum {
	C_TOKEN = 1,  /* tchar of RFC 9110 */
	C_VALUE = 2,  /* visible ASCII, blank, tab */
	C_TARGET = 4, /* visible ASCII but '#' */
	C_HOST = 8,   /* of a Host value: name or address literal, port */
	C_HEX = 16,
	C_UPPER = 32,
	C_HIGH = 64, /* 0x80.. */
};

#define SYM   (C_TOKEN | C_VALUE | C_TARGET)
#define PUNCT (C_VALUE | C_TARGET)
#define ALPHA (C_TOKEN | C_VALUE | C_TARGET | C_HOST)

static const uint8_t classes[256] = {
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

static bool
is(char c, unsigned class)
{
	return (classes[(unsigned char)c] & class) != 0;
}

/* Length of the run of bytes of that class at the start of `s`. */
static size_t
run(struct str s, unsigned class)
{
	size_t i = 0;

	while (i < s.n && is(s.p[i], class))
		i++;
	return i;
}

static bool
all(struct str s, unsigned class)
{
	return run(s, class) == s.n;
}

/* ---- heads ---- */

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

static int
request_line(struct str line, struct http_head *h, struct err *e)
{
	struct str rest = line;

	h->method = str_next(&rest, ' ');
	h->target = str_next(&rest, ' ');
	if (!h->method.n || h->method.n > 32 || !all(h->method, C_UPPER))
		return err_set(e, ERR_INVALID, "malformed request method");
	if (!h->target.n || !all(h->target, C_TARGET))
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
	if (!all(h->reason, C_VALUE | C_HIGH))
		return err_set(e, ERR_INVALID, "malformed status line");
	return 0;
}

static int
header_line(struct str line, unsigned value_class, struct http_header *out, struct err *e)
{
	size_t n = run(line, C_TOKEN);

	if (n == 0 || n == line.n || line.p[n] != ':')
		return err_set(e, ERR_INVALID, "malformed header name");
	out->name = str_sub(line, 0, n);
	out->value = str_trim(str_sub(line, n + 1, line.n));
	if (!all(out->value, value_class))
		return err_set(
			e, ERR_INVALID, "malformed value of header %.*s", n > 64 ? 64 : (int)n, line.p);
	return 0;
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
	unsigned hosts, lengths, codings;
	bool close, keep_alive;
};

static int
on_host(struct framing *f, struct str v, struct http_head *h, struct err *e)
{
	(void)h;
	if (f->request && (f->hosts++ || !v.n || !all(v, C_HOST)))
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
	if (f->lengths++ || v.n > 19 || !str_to_u64(v, &h->length) || h->length > INT64_MAX)
		return err_set(e, ERR_INVALID, "malformed or repeated Content-Length");
	return 0;
}

static int
on_coding(struct framing *f, struct str v, struct http_head *h, struct err *e)
{
	(void)h;
	if (f->codings++ || !str_eqz(v, "chunked"))
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

static int
finish_framing(const struct framing *f, struct http_head *h, struct err *e)
{
	bool request = f->request;

	if (f->codings && f->lengths)
		return err_set(e, ERR_INVALID, "Content-Length together with Transfer-Encoding");
	if (f->codings && h->http10)
		return err_set(e, ERR_INVALID, "Transfer-Encoding in HTTP/1.0");
	if (request && !h->http10 && !f->hosts)
		return err_set(e, ERR_INVALID, "no Host header");
	h->keep_alive = !f->close && (!h->http10 || (!request && f->keep_alive));
	h->expect_continue = h->expect_continue && !h->http10;
	h->body = f->codings ? HTTP_BODY_CHUNKED : f->lengths ? HTTP_BODY_LENGTH : HTTP_BODY_NONE;
	if (request)
		return 0;
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

		if ((r = header_line(line, value_class, x, e)) < 0 || (r = on_header(&f, x, h, e)) < 0)
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

static int
parse_head(struct str in, const struct http_limits *lim, bool request, struct http_head *out, size_t *used,
	struct err *e)
{
	struct str rest = in;
	struct str line;
	int r = next_line(&rest, lim->line, &line, e);

	/* No need to wait for the rest of what will never be a request, such as a TLS greeting. */
	if (r == 0 && request && in.n && !is(in.p[0], C_UPPER))
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

	if (n > lim->head)
		return err_set(e, ERR_HEADERS_TOO_LARGE, "the head is over %zu bytes", lim->head);
	*used = n;
	return r;
}

int
http_parse_request(
	struct str in, const struct http_limits *lim, struct http_head *out, size_t *used, struct err *e)
{
	return parse_head(in, lim, true, out, used, e);
}

int
http_parse_response(
	struct str in, const struct http_limits *lim, struct http_head *out, size_t *used, struct err *e)
{
	return parse_head(in, lim, false, out, used, e);
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

/* ---- bodies ---- */

/*
 *  SIZE -> (EXT ->) SIZE_LF -> DATA -> DATA_CR -> DATA_LF -> SIZE
 *                      |  (size 0)
 *                      +-> LINE -> (NAME -> VALUE -> LINE_LF -> LINE ...) END_LF -> done
 */
enum chunk_state { SIZE, EXT, SIZE_LF, DATA, DATA_CR, DATA_LF, LINE, NAME, VALUE, LINE_LF, END_LF };

enum {
	SIZE_DIGITS = 15, /* cannot overflow */
	TRAILER_MAX = LIM_HTTP_LINE,
};

void
http_body_init(struct http_body_reader *r, const struct http_head *h)
{
	*r = (struct http_body_reader){.kind = h->body, .state = SIZE};
	if (h->body == HTTP_BODY_LENGTH)
		r->left = h->length;
	r->done = h->body == HTTP_BODY_NONE || (h->body == HTTP_BODY_LENGTH && r->left == 0);
}

static int
on_size(struct http_body_reader *r, char c, struct err *e)
{
	uint64_t v = 0;

	if (is(c, C_HEX)) {
		if (++r->digits > SIZE_DIGITS)
			return err_set(e, ERR_INVALID, "the size of a chunk is too long");
		str_to_hex64(str_n(&c, 1), &v);
		r->left = r->left * 16 + v;
		return 0;
	}
	if (!r->digits || (c != '\r' && c != ';'))
		return err_set(e, ERR_INVALID, "malformed size of a chunk");
	r->state = c == ';' ? EXT : SIZE_LF;
	return 0;
}

static int
on_ext(struct http_body_reader *r, char c, struct err *e)
{
	if (++r->ext > LIM_HTTP_CHUNK_EXT)
		return err_set(e, ERR_INVALID, "the extension of a chunk is too long");
	if (c == '\r')
		r->state = SIZE_LF;
	else if (!is(c, C_VALUE))
		return err_set(e, ERR_INVALID, "malformed extension of a chunk");
	return 0;
}

static int
on_trailer(struct http_body_reader *r, char c, struct err *e)
{
	bool ok = true;

	if (++r->ext > TRAILER_MAX)
		return err_set(e, ERR_INVALID, "the trailer is too long");
	switch ((enum chunk_state)r->state) {
	case LINE:
		r->state = c == '\r' ? END_LF : NAME;
		ok = c == '\r' || is(c, C_TOKEN);
		break;
	case NAME:
		if (c == ':')
			r->state = VALUE;
		ok = c == ':' || is(c, C_TOKEN);
		break;
	case VALUE:
		if (c == '\r')
			r->state = LINE_LF;
		ok = c == '\r' || is(c, C_VALUE | C_HIGH);
		break;
	case SIZE:
	case EXT:
	case SIZE_LF:
	case DATA:
	case DATA_CR:
	case DATA_LF:
	case LINE_LF:
	case END_LF:
		UNREACHABLE();
	}
	return ok ? 0 : err_set(e, ERR_INVALID, "malformed trailer");
}

static void
after_line_feed(struct http_body_reader *r)
{
	switch ((enum chunk_state)r->state) {
	case SIZE_LF:
		r->state = r->left ? DATA : LINE;
		r->ext = 0;
		break;
	case DATA_LF:
		r->state = SIZE;
		r->digits = 0;
		break;
	case LINE_LF:
		r->state = LINE;
		break;
	case END_LF:
		r->done = true;
		break;
	case SIZE:
	case EXT:
	case DATA:
	case DATA_CR:
	case LINE:
	case NAME:
	case VALUE:
		UNREACHABLE();
	}
}

/* One byte of the framing. */
static int
on_framing(struct http_body_reader *r, char c, struct err *e)
{
	switch ((enum chunk_state)r->state) {
	case SIZE:
		return on_size(r, c, e);
	case EXT:
		return on_ext(r, c, e);
	case DATA_CR:
		if (c != '\r')
			return err_set(e, ERR_INVALID, "a chunk is longer than its size");
		r->state = DATA_LF;
		return 0;
	case SIZE_LF:
	case DATA_LF:
	case LINE_LF:
	case END_LF:
		if (c != '\n')
			return err_set(e, ERR_INVALID, "a carriage return without a line feed in the body");
		after_line_feed(r);
		return 0;
	case LINE:
	case NAME:
	case VALUE:
		return on_trailer(r, c, e);
	case DATA:
		break;
	}
	UNREACHABLE();
}

/* Content of at most `left` bytes. */
static size_t
content(struct http_body_reader *r, struct str in, struct str *out)
{
	*out = str_sub(in, 0, r->left < in.n ? (size_t)r->left : in.n);
	r->left -= out->n;
	return out->n;
}

int
http_body_feed(struct http_body_reader *r, struct str in, size_t *used, struct str *out, struct err *e)
{
	size_t i = 0;

	*out = STR_NULL;
	switch (r->kind) {
	case HTTP_BODY_NONE:
		break;
	case HTTP_BODY_UNTIL_CLOSE:
		*out = in;
		i = in.n;
		break;
	case HTTP_BODY_LENGTH:
		i = content(r, in, out);
		r->done = r->left == 0;
		break;
	case HTTP_BODY_CHUNKED:
		while (i < in.n && !r->done && r->state != DATA) {
			int rc = on_framing(r, in.p[i++], e);

			if (rc < 0)
				return rc;
		}
		if (r->state == DATA) {
			i += content(r, str_sub(in, i, in.n), out);
			if (!r->left)
				r->state = DATA_CR;
		}
		break;
	}
	*used = i;
	return 0;
}

/* ---- serialising ---- */

static const struct {
	int status;
	const char *reason;
} reasons[] = {
	{100, "Continue"},
	{200, "OK"},
	{201, "Created"},
	{202, "Accepted"},
	{204, "No Content"},
	{206, "Partial Content"},
	{301, "Moved Permanently"},
	{302, "Found"},
	{303, "See Other"},
	{304, "Not Modified"},
	{307, "Temporary Redirect"},
	{308, "Permanent Redirect"},
	{400, "Bad Request"},
	{401, "Unauthorized"},
	{403, "Forbidden"},
	{404, "Not Found"},
	{405, "Method Not Allowed"},
	{408, "Request Timeout"},
	{409, "Conflict"},
	{410, "Gone"},
	{413, "Content Too Large"},
	{415, "Unsupported Media Type"},
	{416, "Range Not Satisfiable"},
	{417, "Expectation Failed"},
	{422, "Unprocessable Content"},
	{429, "Too Many Requests"},
	{431, "Request Header Fields Too Large"},
	{500, "Internal Server Error"},
	{501, "Not Implemented"},
	{502, "Bad Gateway"},
	{503, "Service Unavailable"},
	{504, "Gateway Timeout"},
	{529, "Overloaded"},
};

static const char *
reason_of(int status)
{
	for (size_t i = 0; i < ARRAY_LEN(reasons); i++)
		if (reasons[i].status == status)
			return reasons[i].reason;
	return "Status";
}

void
http_put_status(struct buf *b, int status)
{
	ASSERT(status >= 100 && status <= 599);
	buf_put_str(b, STR("HTTP/1.1 "));
	buf_put_u64(b, (uint64_t)status);
	buf_put_c(b, ' ');
	buf_put_z(b, reason_of(status));
	buf_put_str(b, STR("\r\n"));
}

static void
trip(struct buf *b)
{
	if (b->fail == ERR_NONE)
		b->fail = ERR_INTERNAL;
}

void
http_put_request_line(struct buf *b, struct str method, struct str target)
{
	if (!method.n || !all(method, C_UPPER) || !target.n || !all(target, C_TARGET))
		trip(b);
	buf_put_str(b, method);
	buf_put_c(b, ' ');
	buf_put_str(b, target);
	buf_put_str(b, STR(" HTTP/1.1\r\n"));
}

void
http_put_header(struct buf *b, const char *name, struct str value)
{
	struct str n = str_z(name);

	if (!n.n || !all(n, C_TOKEN) || !all(value, C_VALUE) || str_trim(value).n != value.n)
		trip(b);
	buf_put_str(b, n);
	buf_put_str(b, STR(": "));
	buf_put_str(b, value);
	buf_put_str(b, STR("\r\n"));
}

void
http_put_header_u64(struct buf *b, const char *name, uint64_t value)
{
	char digits[20];
	size_t i = sizeof(digits);

	do {
		digits[--i] = (char)('0' + value % 10);
		value /= 10;
	} while (value);
	http_put_header(b, name, str_n(digits + i, sizeof(digits) - i));
}

void
http_put_end(struct buf *b)
{
	buf_put_str(b, STR("\r\n"));
}

/* ---- targets ---- */

struct decoder {
	char *to; /* where the next decoded byte goes */
	bool query;
};

static bool
is_control(char c)
{
	return (unsigned char)c < 0x20 || c == 0x7f;
}

/* Decodes `in` behind d->to. */
static int
decode(struct decoder *d, struct str in, struct str *out, struct err *e)
{
	char *start = d->to;

	for (size_t i = 0; i < in.n; i++) {
		char c = in.p[i];

		if (c == '%') {
			uint64_t v = 0;

			if (in.n - i < 3 || !str_to_hex64(str_sub(in, i + 1, 2), &v))
				return err_set(e, ERR_INVALID, "malformed escape in the request target");
			c = (char)v;
			i += 2;
			if (!d->query && (c == '/' || c == '\\'))
				return err_set(e, ERR_INVALID, "encoded slash in the request path");
		} else if (c == '+' && d->query) {
			c = ' ';
		}
		if (is_control(c) && (!d->query || c == '\0'))
			return err_set(e, ERR_INVALID, "control character in the request target");
		*d->to++ = c;
	}
	*out = str_n(start, (size_t)(d->to - start));
	return 0;
}

static int
check_path(struct str path, struct err *e)
{
	struct str rest = path;

	while (rest.p) {
		struct str segment = str_next(&rest, '/');

		if (str_eqz(segment, ".") || str_eqz(segment, ".."))
			return err_set(e, ERR_INVALID, "dot segment in the request path");
	}
	return 0;
}

static int
decode_pair(struct decoder *d, struct str item, struct http_query *out, struct err *e)
{
	struct str rest = item;
	struct str key = str_next(&rest, '=');
	int r = decode(d, key, &out->key, e);

	return r < 0 ? r : decode(d, rest, &out->value, e);
}

int
http_parse_target(struct str target, char *scratch, struct http_target *out, struct err *e)
{
	struct decoder d = {.to = scratch};
	struct str query = target;
	struct str raw = str_next(&query, '?');
	struct str path;
	size_t n = 0;
	int r;

	if (!raw.n || raw.p[0] != '/')
		return err_set(e, ERR_INVALID, "the request target must be a path");
	if ((r = decode(&d, raw, &path, e)) < 0 || (r = check_path(path, e)) < 0)
		return r;
	d.query = true;
	while (query.p) {
		struct str item = str_next(&query, '&');

		if (!item.n)
			continue;
		if (n == out->n_pairs)
			return err_set(e, ERR_INVALID, "more than %zu query parameters", n);
		if ((r = decode_pair(&d, item, &out->pairs[n++], e)) < 0)
			return r;
	}
	out->path = path;
	out->n_pairs = n;
	return 0;
}
