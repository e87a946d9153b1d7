/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The bytes of an answer, event by event as the real API sends them.
 */
#include <stdlib.h>

#include "base/clock.h"
#include "base/hash.h"
#include "base/id.h"
#include "base/json.h"
#include "puppet/answer.h"

enum {
	PIECE = 16,       /* bytes of a delta, about */
	PIECES_MAX = 512, /* of one block; longer blocks have longer deltas */
};

void
events_init(struct events *ev)
{
	*ev = (struct events){0};
	buf_init(&ev->bytes, ANSWER_BYTES_MAX);
}

void
events_done(struct events *ev)
{
	buf_done(&ev->bytes);
	free(ev->ends);
	*ev = (struct events){0};
}

struct str
events_get(const struct events *ev, size_t i)
{
	size_t from = i ? ev->ends[i - 1] : 0;

	return str_n(ev->bytes.p + from, ev->ends[i] - from);
}

bool
events_is_delta(const struct events *ev, size_t i)
{
	return str_starts(events_get(ev, i), STR("event: content_block_delta\n"));
}

/* ---- one event: begin, JSON, end ---- */

static struct json_w
event_begin(struct events *ev, const char *name)
{
	struct buf *b = &ev->bytes;

	buf_put_z(b, "event: ");
	buf_put_z(b, name);
	buf_put_z(b, "\ndata: ");
	struct json_w w = json_w(b);

	jw_obj(&w);
	jw_kz(&w, "type", name);
	return w;
}

static void
event_end(struct events *ev, struct json_w *w)
{
	jw_obj_end(w);
	buf_put_z(&ev->bytes, "\n\n");
	if (ev->n == ev->cap) {
		size_t cap = ev->cap ? ev->cap * 2 : 32;
		size_t *more = realloc(ev->ends, cap * sizeof(*more));

		if (!more) {
			ev->bytes.fail = ERR_NO_MEMORY;
			return;
		}
		ev->ends = more;
		ev->cap = cap;
	}
	ev->ends[ev->n++] = ev->bytes.n;
}

/* ---- members that messages and events share ---- */

static void
put_usage(struct json_w *w, int64_t input, int64_t output)
{
	jw_key(w, "usage");
	jw_obj(w);
	jw_kint(w, "input_tokens", input);
	jw_kint(w, "cache_creation_input_tokens", 0);
	jw_kint(w, "cache_read_input_tokens", 0);
	jw_kint(w, "output_tokens", output);
	jw_kz(w, "service_tier", "standard");
	jw_obj_end(w);
}

static void
put_message_head(struct json_w *w, const struct answer *m)
{
	struct id id = id_new("msg", clock_wall_us());

	jw_kstr(w, "id", id_str(&id));
	jw_kz(w, "type", "message");
	jw_kz(w, "role", "assistant");
	jw_kstr(w, "model", m->model);
}

static void
put_tool_head(struct json_w *w, const struct block *b)
{
	struct id id = id_new("toolu", clock_wall_us());

	jw_kz(w, "type", "tool_use");
	jw_kstr(w, "id", id_str(&id));
	jw_kstr(w, "name", b->name);
}

/* Opaque to everybody, as a real one. */
static void
put_signature(struct json_w *w, struct str thinking)
{
	char hex[HASH_HEX];
	struct hash h = hash_of(thinking);

	jw_kz(w, "signature", hash_hex(&h, hex));
}

/* ---- stream ---- */

static void
message_start(struct events *ev, const struct answer *m)
{
	struct json_w w = event_begin(ev, "message_start");

	jw_key(&w, "message");
	jw_obj(&w);
	put_message_head(&w, m);
	jw_key(&w, "content");
	jw_arr(&w);
	jw_arr_end(&w);
	jw_knull(&w, "stop_reason");
	jw_knull(&w, "stop_sequence");
	put_usage(&w, m->input_tokens, 1);
	jw_obj_end(&w);
	event_end(ev, &w);
}

static void
block_start(struct events *ev, size_t index, const struct block *b)
{
	struct json_w w = event_begin(ev, "content_block_start");

	jw_kint(&w, "index", (int64_t)index);
	jw_key(&w, "content_block");
	jw_obj(&w);
	if (b->kind == BLOCK_TOOL_USE) {
		put_tool_head(&w, b);
		jw_kraw(&w, "input", STR("{}"));
	} else if (b->kind == BLOCK_THINKING) {
		jw_kz(&w, "type", "thinking");
		jw_kz(&w, "thinking", "");
		jw_kz(&w, "signature", "");
	} else {
		jw_kz(&w, "type", "text");
		jw_kz(&w, "text", "");
	}
	jw_obj_end(&w);
	event_end(ev, &w);
}

static void
ping(struct events *ev)
{
	struct json_w w = event_begin(ev, "ping");

	event_end(ev, &w);
}

static void
block_delta(struct events *ev, size_t index, enum block_kind kind, struct str piece)
{
	static const char *const types[] = {"text_delta", "thinking_delta", "input_json_delta"};
	static const char *const keys[] = {"text", "thinking", "partial_json"};
	struct json_w w = event_begin(ev, "content_block_delta");

	jw_kint(&w, "index", (int64_t)index);
	jw_key(&w, "delta");
	jw_obj(&w);
	jw_kz(&w, "type", types[kind]);
	jw_kstr(&w, keys[kind], piece);
	jw_obj_end(&w);
	event_end(ev, &w);
}

static void
signature_delta(struct events *ev, size_t index, const struct block *b)
{
	struct json_w w = event_begin(ev, "content_block_delta");

	jw_kint(&w, "index", (int64_t)index);
	jw_key(&w, "delta");
	jw_obj(&w);
	jw_kz(&w, "type", "signature_delta");
	put_signature(&w, b->text);
	jw_obj_end(&w);
	event_end(ev, &w);
}

/* Where the next piece ends: after a space if there is one, never inside a character. */
static size_t
piece_end(struct str s, size_t want)
{
	size_t n = want < s.n ? want : s.n;

	while (n < s.n && ((unsigned char)s.p[n] & 0xc0) == 0x80)
		n++;
	for (size_t i = n; n < s.n && i > want / 2; i--)
		if (s.p[i - 1] == ' ')
			return i;
	return n;
}

static void
put_block_events(struct events *ev, size_t index, const struct block *b)
{
	struct str rest = b->text;
	size_t want = rest.n / PIECES_MAX > PIECE ? rest.n / PIECES_MAX : PIECE;
	struct json_w w;

	block_start(ev, index, b);
	if (index == 0)
		ping(ev);
	if (b->kind == BLOCK_TOOL_USE)
		block_delta(ev, index, b->kind, STR(""));
	while (rest.n) {
		size_t n = piece_end(rest, want);

		block_delta(ev, index, b->kind, str_sub(rest, 0, n));
		rest = str_sub(rest, n, rest.n);
	}
	if (b->kind == BLOCK_THINKING)
		signature_delta(ev, index, b);
	w = event_begin(ev, "content_block_stop");
	jw_kint(&w, "index", (int64_t)index);
	event_end(ev, &w);
}

int
answer_stream(const struct answer *m, struct events *out, struct err *e)
{
	message_start(out, m);
	if (m->n == 0)
		ping(out);
	for (size_t i = 0; i < m->n; i++)
		put_block_events(out, i, &m->blocks[i]);
	struct json_w w = event_begin(out, "message_delta");

	jw_key(&w, "delta");
	jw_obj(&w);
	jw_kstr(&w, "stop_reason", m->stop_reason);
	jw_knull(&w, "stop_sequence");
	jw_obj_end(&w);
	jw_key(&w, "usage");
	jw_obj(&w);
	jw_kint(&w, "output_tokens", m->output_tokens);
	jw_obj_end(&w);
	event_end(out, &w);
	w = event_begin(out, "message_stop");
	event_end(out, &w);
	return buf_check(&out->bytes, e);
}

int
events_put_error(struct events *ev, struct str type, struct err *e)
{
	struct json_w w = event_begin(ev, "error");

	jw_key(&w, "error");
	jw_obj(&w);
	jw_kstr(&w, "type", type);
	jw_kz(&w, "message",
		str_eqz(type, "overloaded_error") ? "Overloaded" : "The script asked for this error");
	jw_obj_end(&w);
	event_end(ev, &w);
	return buf_check(&ev->bytes, e);
}

/* ---- one message ---- */

static void
put_block(struct json_w *w, const struct block *b)
{
	jw_obj(w);
	switch (b->kind) {
	case BLOCK_TEXT:
		jw_kz(w, "type", "text");
		jw_kstr(w, "text", b->text);
		break;
	case BLOCK_THINKING:
		jw_kz(w, "type", "thinking");
		jw_kstr(w, "thinking", b->text);
		put_signature(w, b->text);
		break;
	case BLOCK_TOOL_USE:
		put_tool_head(w, b);
		jw_kraw(w, "input", b->text);
		break;
	}
	jw_obj_end(w);
}

void
answer_message(const struct answer *m, struct buf *out)
{
	struct json_w w = json_w(out);

	jw_obj(&w);
	put_message_head(&w, m);
	jw_key(&w, "content");
	jw_arr(&w);
	for (size_t i = 0; i < m->n; i++)
		put_block(&w, &m->blocks[i]);
	jw_arr_end(&w);
	jw_kstr(&w, "stop_reason", m->stop_reason);
	jw_knull(&w, "stop_sequence");
	put_usage(&w, m->input_tokens, m->output_tokens);
	jw_obj_end(&w);
}
