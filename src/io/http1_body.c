/* SPDX-License-Identifier: Apache-2.0 */
/* Bodies. */
#include "io/http1.h"
#include "io/http1_chars.h"

/*
 *  SIZE -> (EXT.. ->) SIZE_LF -> DATA -> DATA_CR -> DATA_LF -> SIZE
 *                      |  (size 0)
 *                      +-> LINE -> (NAME -> VALUE -> LINE_LF -> LINE ...) END_LF -> done
 */
enum chunk_state {
	SIZE,
	EXT, /* behind ';' */
	EXT_NAME,
	EXT_EQUAL, /* behind '=' */
	EXT_TOKEN,
	EXT_QUOTED,
	EXT_CLOSED, /* behind the second quote */
	SIZE_LF,
	DATA,
	DATA_CR,
	DATA_LF,
	LINE,
	NAME,
	VALUE,
	LINE_LF,
	END_LF,
};

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

	if (http1_is(c, C_HEX)) {
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

/*
 * At most one extension, name or name=token or name="text", no escapes: all that every parser reads alike.
 * Where the others stop to agree, smuggling begins.
 */
static bool
on_ext_byte(struct http_body_reader *r, char c)
{
	bool token = http1_is(c, C_TOKEN);

	switch ((enum chunk_state)r->state) {
	case EXT:
		r->state = EXT_NAME;
		return token;
	case EXT_NAME:
		r->state = c == '\r' ? SIZE_LF : c == '=' ? EXT_EQUAL : EXT_NAME;
		return token || c == '\r' || c == '=';
	case EXT_EQUAL:
		r->state = c == '"' ? EXT_QUOTED : EXT_TOKEN;
		return token || c == '"';
	case EXT_TOKEN:
		r->state = c == '\r' ? SIZE_LF : EXT_TOKEN;
		return token || c == '\r';
	case EXT_QUOTED:
		r->state = c == '"' ? EXT_CLOSED : EXT_QUOTED;
		return http1_is(c, C_VALUE) && c != '\\';
	case EXT_CLOSED:
		r->state = SIZE_LF;
		return c == '\r';
	case SIZE:
	case SIZE_LF:
	case DATA:
	case DATA_CR:
	case DATA_LF:
	case LINE:
	case NAME:
	case VALUE:
	case LINE_LF:
	case END_LF:
		break;
	}
	UNREACHABLE();
}

static int
on_ext(struct http_body_reader *r, char c, struct err *e)
{
	if (++r->ext > LIM_HTTP_CHUNK_EXT)
		return err_set(e, ERR_INVALID, "the extension of a chunk is too long");
	return on_ext_byte(r, c) ? 0 : err_set(e, ERR_INVALID, "malformed extension of a chunk");
}

/* Names that would change the framing. Trailers are dropped, but others may believe them. */
static const struct str framing_names[] = {
	{"content-length", 14},
	{"transfer-encoding", 17},
};

/* The next byte of a trailer's name: `left` has a bit for each framing name it still may be, `digits` is its
 * place. */
static void
match_name(struct http_body_reader *r, char c)
{
	for (size_t i = 0; i < ARRAY_LEN(framing_names); i++) {
		struct str at = str_sub(framing_names[i], r->digits, 1);

		if (!str_eq_nocase(at, str_n(&c, 1)))
			r->left &= ~(1ull << i);
	}
	r->digits++;
}

static bool
is_framing_name(const struct http_body_reader *r)
{
	for (size_t i = 0; i < ARRAY_LEN(framing_names); i++)
		if ((r->left >> i & 1) && framing_names[i].n == r->digits)
			return true;
	return false;
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
		ok = c == '\r' || http1_is(c, C_TOKEN);
		r->left = (1ull << ARRAY_LEN(framing_names)) - 1;
		r->digits = 0;
		match_name(r, c);
		break;
	case NAME:
		ok = c == ':' ? !is_framing_name(r) : http1_is(c, C_TOKEN);
		if (c == ':')
			r->state = VALUE;
		else
			match_name(r, c);
		break;
	case VALUE:
		if (c == '\r')
			r->state = LINE_LF;
		ok = c == '\r' || http1_is(c, C_VALUE | C_HIGH);
		break;
	case SIZE:
	case EXT:
	case EXT_NAME:
	case EXT_EQUAL:
	case EXT_TOKEN:
	case EXT_QUOTED:
	case EXT_CLOSED:
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
	case EXT_NAME:
	case EXT_EQUAL:
	case EXT_TOKEN:
	case EXT_QUOTED:
	case EXT_CLOSED:
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
	case EXT_NAME:
	case EXT_EQUAL:
	case EXT_TOKEN:
	case EXT_QUOTED:
	case EXT_CLOSED:
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
