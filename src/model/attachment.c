/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A marked block is  {\x01 BLOCK \x02}  where BLOCK is its JSON. The braces make it look like any other block
 * to who puts commas and appends members; control characters are never raw in JSON.
 */
#include "model/attachment.h"

#include "base/limits.h"

#define MARK_BEGIN '\x01'
#define MARK_END   '\x02'
/* Around the bytes: the members of `source`. */
#define SOURCE_ROOM 512

bool
attachment_is(const struct json_t *block)
{
	return str_eqz(json_get_str(json_get(block, "source"), "type"), "file");
}

void
attachment_mark(struct buf *b, const struct json_t *block)
{
	buf_put_c(b, '{');
	buf_put_c(b, MARK_BEGIN);
	json_dump(b, block);
	buf_put_c(b, MARK_END);
	buf_put_c(b, '}');
}

/* ---- what the bytes are ---- */

static const char *
image_type(struct str s)
{
	if (str_starts(s, STR("\x89PNG\r\n\x1a\n")))
		return "image/png";
	if (str_starts(s, STR("\xff\xd8\xff")))
		return "image/jpeg";
	if (str_starts(s, STR("GIF87a")) || str_starts(s, STR("GIF89a")))
		return "image/gif";
	if (str_starts(s, STR("RIFF")) && str_eqz(str_sub(s, 8, 4), "WEBP"))
		return "image/webp";
	return NULL;
}

/* NULL: nothing that a block of this type may hold. */
static const char *
media_type(struct str block_type, struct str bytes)
{
	if (str_eqz(block_type, "image"))
		return image_type(bytes);
	if (!str_eqz(block_type, "document"))
		return NULL;
	if (str_starts(bytes, STR("%PDF-")))
		return "application/pdf";
	bool text = bytes.n > 0 && memchr(bytes.p, 0, bytes.n) == NULL && str_is_utf8(bytes);
	return text ? "text/plain" : NULL;
}

/* ---- writing ---- */

static void
put_base64(struct buf *b, struct str s)
{
	static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
	size_t n = (s.n + 2) / 3 * 4;
	char *to = buf_reserve(b, n);
	if (to == NULL)
		return;
	for (size_t i = 0; i < s.n; i += 3) {
		uint32_t v = 0;
		for (size_t k = 0; k < 3; k++)
			v = v << 8 | (i + k < s.n ? (unsigned char)s.p[i + k] : 0);
		*to++ = digits[v >> 18];
		*to++ = digits[v >> 12 & 63];
		*to++ = i + 1 < s.n ? digits[v >> 6 & 63] : '=';
		*to++ = i + 2 < s.n ? digits[v & 63] : '=';
	}
	b->n += n;
}

static void
put_source(struct json_w *w, const char *type, struct str bytes)
{
	bool text = str_eqz(STR("text/plain"), type);
	jw_key(w, "source");
	jw_obj(w);
	jw_kz(w, "type", text ? "text" : "base64");
	jw_kz(w, "media_type", type);
	if (text) {
		jw_kstr(w, "data", bytes);
	} else {
		/* Written past the writer, which would look at every byte for something to escape. */
		jw_kraw(w, "data", STR("\""));
		put_base64(w->b, bytes);
		buf_put_c(w->b, '"');
	}
	jw_obj_end(w);
}

static void
put_shown(struct buf *b, const struct json_t *block, const char *type, struct str bytes)
{
	struct json_w w = json_w(b);
	jw_obj(&w);
	for (void *it = json_iter(block); it != NULL; it = json_next(block, it)) {
		struct str key = json_iter_key(it);
		if (str_eqz(key, "source")) {
			put_source(&w, type, bytes);
			continue;
		}
		jw_key_str(&w, key);
		jw_value(&w, json_iter_value(it));
	}
	jw_obj_end(&w);
}

static void
put_named(struct buf *b, struct str type, struct str file_id)
{
	AUTO(buf) struct buf text;
	buf_init(&text, KIB);
	buf_printf(&text, "[An attached %.*s, %.*s, cannot be shown in this conversation.]",
		STRF(str_sub(type, 0, 64)), STRF(str_sub(file_id, 0, LIM_ID)));
	struct json_w w = json_w(b);
	jw_obj(&w);
	jw_kz(&w, "type", "text");
	jw_kstr(&w, "text", buf_str(&text));
	jw_obj_end(&w);
}

/* Room for `room` bytes of JSON, of which base64 takes four for each three. */
static int
put_block(struct str json, const struct attachment_source *src, size_t room, struct buf *out, struct err *e)
{
	AUTO(json) struct json_t *block = NULL;
	AUTO(buf) struct buf bytes;
	AUTO(buf) struct buf shown;
	buf_init(&bytes, room > SOURCE_ROOM ? (room - SOURCE_ROOM) / 4 * 3 : 0);
	buf_init(&shown, room);
	int r = json_parse(json, &block, e);
	if (r < 0)
		return r;
	struct str type = json_get_str(block, "type");
	struct str id = json_get_str(json_get(block, "source"), "file_id");
	const char *media = NULL;
	if (src->read != NULL && src->read(src->arg, id, &bytes, NULL) == 0)
		media = media_type(type, buf_str(&bytes));
	if (media != NULL)
		put_shown(&shown, block, media, buf_str(&bytes));
	/* Escapes may have made a text longer than the room that its bytes fitted into. */
	if (media != NULL && buf_check(&shown, NULL) == 0)
		buf_put_str(out, buf_str(&shown));
	else
		put_named(out, type, id);
	return 0;
}

int
attachment_expand(
	struct str in, const struct attachment_source *src, size_t max, struct buf *out, struct err *e)
{
	while (in.n > 0) {
		size_t at = str_find(in, MARK_BEGIN);
		if (at == in.n) {
			buf_put_str(out, in);
			break;
		}
		size_t end = str_find(in, MARK_END);
		if (at == 0 || end <= at || end + 1 >= in.n)
			return err_set(e, ERR_CORRUPT, "the conversation has a broken mark");
		buf_put_str(out, str_sub(in, 0, at - 1)); /* without the brace */
		struct str block = str_sub(in, at + 1, end - at - 1);
		in = str_sub(in, end + 1, in.n);
		size_t taken = out->n + in.n;
		int r = put_block(block, src, max > taken ? max - taken : 0, out, e);
		if (r < 0)
			return r;
		/* Members that were appended behind the mark, then the brace. */
		if (out->n > 0 && in.p[0] == ',')
			out->n--;
		else
			in = str_sub(in, 1, in.n);
	}
	return buf_check(out, e);
}
