/* SPDX-License-Identifier: Apache-2.0 */
/* Writing heads, and taking targets apart. */
#include "io/http1.h"
#include "io/http1_chars.h"

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
	if (!method.n || !http1_all(method, C_UPPER) || !target.n || !http1_all(target, C_TARGET))
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

	if (!n.n || !http1_all(n, C_TOKEN) || !http1_all(value, C_VALUE) || str_trim(value).n != value.n)
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
	struct str path = STR_NULL;
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
