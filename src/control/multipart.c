/* SPDX-License-Identifier: Apache-2.0 */
#include "control/multipart.h"

#define BOUNDARY_MAX 70

/* The value of `name` in "a; name=value; …" or name="value" (backslash escapes are not used by any client and
 * refused). */
static int
parameter(struct str header, const char *name, struct str *out, struct err *e)
{
	(void)str_next(&header, ';');
	while (header.p != NULL) {
		size_t eq = str_find(header, '=');
		struct str key = str_trim(str_sub(header, 0, eq));
		struct str rest = str_sub(header, eq + 1, header.n);
		struct str value;
		if (rest.n > 0 && rest.p[0] == '"') {
			rest = str_sub(rest, 1, rest.n);
			size_t end = str_find(rest, '"');
			if (end == rest.n)
				return err_set(
					e, ERR_INVALID, "multipart: unclosed quote in a part's header");
			value = str_sub(rest, 0, end);
			rest = str_sub(rest, end + 1, rest.n);
			(void)str_next(&rest, ';');
		} else {
			value = str_trim(str_next(&rest, ';'));
		}
		if (str_eq_nocase(key, str_z(name))) {
			*out = value;
			return 0;
		}
		header = rest;
	}
	return 0;
}

int
multipart_init(struct multipart *m, struct str content_type, const struct multipart_ops *ops, struct err *e)
{
	struct str boundary = STR_NULL;
	struct str rest = content_type;
	*m = (struct multipart){.ops = *ops};
	buf_init(&m->carry, LIM_MULTIPART_HEAD + 2 * LIM_CHUNK + MIB);
	if (!str_eq_nocase(str_trim(str_next(&rest, ';')), STR("multipart/form-data")))
		return err_set(e, ERR_INVALID, "The request must be multipart/form-data.");
	int r = parameter(content_type, "boundary", &boundary, e);
	if (r < 0)
		return r;
	if (boundary.n == 0 || boundary.n > BOUNDARY_MAX)
		return err_set(
			e, ERR_INVALID, "multipart: the boundary must have 1 to %d characters", BOUNDARY_MAX);
	memcpy(m->delim, "\r\n--", 4);
	memcpy(m->delim + 4, boundary.p, boundary.n);
	m->n_delim = 4 + boundary.n;
	/* The first delimiter has no line break before it. */
	buf_put(&m->carry, "\r\n", 2);
	return 0;
}

void
multipart_done(struct multipart *m)
{
	buf_done(&m->carry);
}

static int
take_header(struct str line, struct multipart_part *part, struct err *e)
{
	size_t colon = str_find(line, ':');
	if (colon == line.n)
		return err_set(e, ERR_INVALID, "multipart: a part's header has no colon");
	struct str name = str_sub(line, 0, colon);
	struct str value = str_trim(str_sub(line, colon + 1, line.n));
	if (str_eq_nocase(name, STR("content-type")))
		part->content_type = value;
	if (!str_eq_nocase(name, STR("content-disposition")))
		return 0;
	int r = parameter(value, "name", &part->name, e);
	return r < 0 ? r : parameter(value, "filename", &part->filename, e);
}

/* 1: a step was made; 0: more bytes are needed. */
static int
step_head(struct multipart *m, struct err *e)
{
	struct str in = buf_str(&m->carry);
	/* The blank line may follow the delimiter's line break directly. */
	size_t end = str_find_str(in, STR("\r\n\r\n"));
	if (end == in.n)
		return in.n > LIM_MULTIPART_HEAD
			       ? err_set(e, ERR_INVALID, "multipart: a part's head is too long")
			       : 0;
	struct multipart_part part = {.name = STR_NULL};
	struct str head = str_sub(in, 0, end);
	while (head.p != NULL && head.n > 0) {
		size_t eol = str_find_str(head, STR("\r\n"));
		struct str line = str_sub(head, 0, eol);
		head = eol == head.n ? STR_NULL : str_sub(head, eol + 2, head.n);
		int r = line.n > 0 ? take_header(line, &part, e) : 0;
		if (r < 0)
			return r;
	}
	if (part.name.n == 0)
		return err_set(e, ERR_INVALID, "multipart: a part has no name");
	int r = m->ops.on_part(m->ops.arg, &part, e);
	if (r < 0)
		return r;
	/* The last CRLF stays: an empty part's delimiter begins with it. */
	buf_drop(&m->carry, end + 4);
	m->state = MULTIPART_DATA;
	return 1;
}

/* After a delimiter: another part, or the end. */
static int
step_delimiter(struct multipart *m, struct err *e)
{
	struct str in = buf_str(&m->carry);
	if (in.n < m->n_delim + 2)
		return 0;
	struct str tail = str_sub(in, m->n_delim, 2);
	if (str_eqz(tail, "--"))
		m->state = MULTIPART_DONE;
	else if (str_eqz(tail, "\r\n"))
		m->state = MULTIPART_HEAD;
	else
		return err_set(e, ERR_INVALID, "multipart: bytes after a delimiter");
	buf_drop(&m->carry, m->n_delim + (m->state == MULTIPART_DONE ? 2 : 0));
	return 1;
}

static int
step_data(struct multipart *m, struct err *e)
{
	struct str in = buf_str(&m->carry);
	struct str delim = str_n(m->delim, m->n_delim);
	size_t at = str_find_str(in, delim);
	if (at < in.n) {
		if (in.n < at + m->n_delim + 2)
			return 0;
		int r = at > 0 ? m->ops.on_data(m->ops.arg, str_sub(in, 0, at), e) : 0;
		r = r < 0 ? r : m->ops.on_end(m->ops.arg, e);
		buf_drop(&m->carry, at);
		return r < 0 ? r : step_delimiter(m, e);
	}
	/* A delimiter may have begun at the end. */
	size_t keep = m->n_delim - 1;
	if (in.n <= keep)
		return 0;
	int r = m->ops.on_data(m->ops.arg, str_sub(in, 0, in.n - keep), e);
	buf_drop(&m->carry, in.n - keep);
	return r;
}

static int
step(struct multipart *m, struct err *e)
{
	switch (m->state) {
	case MULTIPART_START:
		if (m->carry.n >= m->n_delim && memcmp(m->carry.p, m->delim, m->n_delim) != 0)
			return err_set(
				e, ERR_INVALID, "multipart: the body does not begin with its boundary");
		return step_delimiter(m, e);
	case MULTIPART_HEAD:
		return step_head(m, e);
	case MULTIPART_DATA:
		return step_data(m, e);
	case MULTIPART_DONE:
		buf_clear(&m->carry);
		return 0;
	}
	UNREACHABLE();
}

int
multipart_feed(struct multipart *m, struct str bytes, struct err *e)
{
	while (bytes.n > 0) {
		struct str piece = str_sub(bytes, 0, LIM_CHUNK);
		bytes = str_sub(bytes, piece.n, bytes.n);
		buf_put_str(&m->carry, piece);
		int r = buf_check(&m->carry, e);
		if (r < 0)
			return r;
		while ((r = step(m, e)) > 0)
			continue;
		if (r < 0)
			return r;
	}
	return 0;
}

int
multipart_finish(const struct multipart *m, struct err *e)
{
	if (m->state != MULTIPART_DONE)
		return err_set(e, ERR_INVALID, "multipart: the body ends before its closing boundary");
	return 0;
}
