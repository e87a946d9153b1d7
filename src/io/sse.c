/* SPDX-License-Identifier: Apache-2.0 */
#include "io/sse.h"

/* Cuts the part before the first line break (CRLF, CR or LF) off *rest; false when there is none. */
static bool
cut_line(struct str *rest, struct str *line)
{
	const char *lf = rest->n ? memchr(rest->p, '\n', rest->n) : NULL;
	size_t n = lf ? (size_t)(lf - rest->p) : rest->n;
	const char *cr = n ? memchr(rest->p, '\r', n) : NULL;

	if (!lf && !cr)
		return false;
	*line = str_n(rest->p, cr ? (size_t)(cr - rest->p) : n);
	*rest = str_sub(*rest, line->n + 1, rest->n);
	return true;
}

void
sse_put(struct buf *b, struct str id, struct str name, struct str json)
{
	struct str line;

	if (id.n) {
		buf_put_str(b, STR("id: "));
		buf_put_str(b, id);
		buf_put_c(b, '\n');
	}
	if (name.n) {
		buf_put_str(b, STR("event: "));
		buf_put_str(b, name);
		buf_put_c(b, '\n');
	}
	while (cut_line(&json, &line)) {
		buf_put_str(b, STR("data: "));
		buf_put_str(b, line);
		buf_put_c(b, '\n');
	}
	buf_put_str(b, STR("data: "));
	buf_put_str(b, json);
	buf_put_str(b, STR("\n\n"));
}

void
sse_init(struct sse_reader *r, size_t max)
{
	*r = (struct sse_reader){0};
	buf_init(&r->line, max);
	buf_init(&r->name, max);
	buf_init(&r->data, max);
}

void
sse_done(struct sse_reader *r)
{
	buf_done(&r->line);
	buf_done(&r->name);
	buf_done(&r->data);
}

static void
on_field(struct sse_reader *r, struct str line)
{
	struct str value = line;
	struct str name = str_next(&value, ':');

	if (value.n && value.p[0] == ' ')
		value = str_sub(value, 1, value.n);
	if (str_eqz(name, "data")) {
		if (r->has_data)
			buf_put_c(&r->data, '\n');
		buf_put_str(&r->data, value);
		r->has_data = true;
	} else if (str_eqz(name, "event")) {
		buf_clear(&r->name);
		buf_put_str(&r->name, value);
	}
}

static int
on_line(struct sse_reader *r, struct str line,
	int (*on)(void *arg, const struct sse_event *ev, struct err *e), void *arg, struct err *e)
{
	struct sse_event ev = {.name = buf_str(&r->name), .data = buf_str(&r->data)};
	int rc = 0;

	if (line.n) {
		on_field(r, line);
		rc = buf_check(&r->data, e);
		return rc < 0 ? rc : buf_check(&r->name, e);
	}
	if (r->has_data)
		rc = on(arg, &ev, e);
	buf_clear(&r->name);
	buf_clear(&r->data);
	r->has_data = false;
	return rc;
}

/* Drops a byte order mark at the very start; a beginning of one that comes alone waits in `line`. */
static int
skip_mark(struct sse_reader *r, struct str *in, struct err *e)
{
	static const char mark[] = "\xef\xbb\xbf";

	while (!r->begun && in->n) {
		if (in->p[0] != mark[r->line.n]) {
			r->begun = true;
			break;
		}
		buf_put_c(&r->line, in->p[0]);
		*in = str_sub(*in, 1, in->n);
		if (r->line.n == sizeof(mark) - 1) {
			buf_clear(&r->line);
			r->begun = true;
		}
	}
	return buf_check(&r->line, e);
}

int
sse_feed(struct sse_reader *r, struct str in, int (*on)(void *arg, const struct sse_event *ev, struct err *e),
	void *arg, struct err *e)
{
	struct str line;
	int rc;

	rc = skip_mark(r, &in, e);
	if (rc < 0)
		return rc;
	while (in.n) {
		/* The LF of a CRLF whose CR ended the line already. */
		if (r->cr && in.p[0] == '\n')
			in = str_sub(in, 1, in.n);
		r->cr = false;
		struct str rest = in;

		if (!cut_line(&rest, &line)) {
			buf_put_str(&r->line, in);
			return buf_check(&r->line, e);
		}
		r->cr = in.p[line.n] == '\r';
		in = rest;
		if (r->line.n) {
			buf_put_str(&r->line, line);
			if ((rc = buf_check(&r->line, e)) < 0)
				return rc;
			line = buf_str(&r->line);
		}
		rc = on_line(r, line, on, arg, e);
		buf_clear(&r->line);
		if (rc < 0)
			return rc;
	}
	return 0;
}
