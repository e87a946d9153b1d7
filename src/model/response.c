/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Records come in the order  message_start (content_block_start delta* stop)* message_delta message_stop,
 * blocks one after the other with indexes counted from 0. Anything else is refused. After an `error` record
 * the rest is ignored.
 */
#include "model/response.h"

#include <stdlib.h>

#include "base/clock.h"
#include "base/limits.h"

#define RESPONSE_ARENA (1 * MIB) /* short strings: tool ids, names, errors, the refusal's text */
#define LIM_TOKENS     UINT32_MAX

static int
bad(struct err *e, const char *what)
{
	return err_set(e, ERR_CORRUPT, "the model's answer is malformed: %s", what);
}

int
response_init(struct model_response *r, struct err *e)
{
	struct arena *a = arena_new(RESPONSE_ARENA);
	if (a == NULL)
		return err_set(e, ERR_NO_MEMORY, "out of memory");
	*r = (struct model_response){.arena = a};
	return 0;
}

void
response_done(struct model_response *r)
{
	for (size_t i = 0; i < r->n_blocks; i++) {
		buf_done(&r->blocks[i].text);
		buf_done(&r->blocks[i].signature);
	}
	free(r->blocks);
	arena_free(r->arena);
	*r = (struct model_response){0};
}

/* A short string that outlives the record. */
static int
keep(struct model_response *r, struct str s, struct str *to, struct err *e)
{
	struct str own = arena_dup(r->arena, s);
	if (arena_failed(r->arena))
		return arena_check(r->arena, e);
	*to = own;
	return 0;
}

/* ---- usage ---- */

static void
take_count(const struct json_t *usage, const char *key, uint64_t *to)
{
	int64_t v = json_get_int(usage, key, -1);
	if (v >= 0)
		*to = (uint64_t)v > LIM_TOKENS ? LIM_TOKENS : (uint64_t)v;
}

/* Counts are cumulative: the last ones win. */
static void
take_usage(struct model_response *r, const struct json_t *usage)
{
	take_count(usage, "input_tokens", &r->input_tokens);
	take_count(usage, "output_tokens", &r->output_tokens);
	take_count(usage, "cache_read_input_tokens", &r->cache_read_tokens);
	take_count(usage, "cache_creation_input_tokens", &r->cache_creation_tokens);
}

/* ---- blocks ---- */

static struct model_block *
open_block(struct model_response *r)
{
	return r->n_blocks > 0 && r->blocks[r->n_blocks - 1].open ? &r->blocks[r->n_blocks - 1] : NULL;
}

static struct model_block *
block_push(struct model_response *r, enum block_kind kind, struct err *e)
{
	if (r->n_blocks == r->cap_blocks) {
		size_t cap = r->cap_blocks == 0 ? 8 : r->cap_blocks * 2;
		struct model_block *p = realloc(r->blocks, cap * sizeof(*p));
		if (p == NULL) {
			err_set(e, ERR_NO_MEMORY, "out of memory");
			return NULL;
		}
		r->blocks = p;
		r->cap_blocks = cap;
	}
	struct model_block *b = &r->blocks[r->n_blocks++];
	*b = (struct model_block){.kind = kind, .open = true};
	buf_init(&b->text, LIM_MODEL_RESPONSE);
	buf_init(&b->signature, LIM_MODEL_RESPONSE);
	return b;
}

static int
append(struct model_response *r, struct buf *to, struct str s, struct err *e)
{
	r->total += s.n;
	if (r->total > LIM_MODEL_RESPONSE)
		return bad(e, "it is too long");
	buf_put_str(to, s);
	return buf_check(to, e);
}

static bool
same_event(const struct model_block *a, const struct model_block *b)
{
	return a->kind == BLOCK_TEXT && b->kind == BLOCK_TEXT;
}

/* Text blocks in a row make one message: they share its id. */
static void
name_event(struct model_response *r)
{
	struct model_block *b = &r->blocks[r->n_blocks - 1];
	const struct model_block *before = r->n_blocks > 1 ? b - 1 : NULL;
	if (before != NULL && same_event(before, b)) {
		b->event_id = before->event_id;
		b->told = before->told;
		b->index = before->index + (before->text.n > 0);
	} else {
		b->event_id = id_new("sevt", clock_wall_us());
	}
}

static void
tell_start(struct model_block *b, enum event_type type, const struct response_hooks *h)
{
	if (!b->told && h->on_start != NULL)
		h->on_start(h->arg, type, &b->event_id);
	b->told = true;
}

/* A message is announced with its first character: an empty one never becomes an event. */
static int
add_text(struct model_response *r, struct model_block *b, struct str s, const struct response_hooks *h,
	struct err *e)
{
	int rc = append(r, &b->text, s, e);
	if (rc < 0 || b->kind != BLOCK_TEXT || s.n == 0)
		return rc;
	tell_start(b, EV_AGENT_MESSAGE, h);
	if (h->on_text != NULL)
		h->on_text(h->arg, &b->event_id, b->index, s);
	return 0;
}

/* Some servers send a whole input with the start of the block instead of as deltas. */
static int
start_tool(struct model_response *r, struct model_block *b, const struct json_t *v, struct err *e)
{
	size_t uses = 0;
	for (size_t i = 0; i < r->n_blocks; i++)
		uses += r->blocks[i].kind == BLOCK_TOOL_USE;
	if (uses > LIM_MODEL_TOOL_USES)
		return bad(e, "too many tool uses");
	struct str id = json_get_str(v, "id"), name = json_get_str(v, "name");
	if (id.n == 0 || id.n > LIM_ID || name.n == 0 || name.n > LIM_TOOL_NAME)
		return bad(e, "a tool use without a usable id and name");
	int rc = keep(r, id, &b->tool_id, e);
	if (rc == 0)
		rc = keep(r, name, &b->name, e);
	const struct json_t *input = json_get(v, "input");
	if (rc == 0 && json_len(input) > 0) {
		json_dump(&b->text, input);
		r->total += b->text.n;
		rc = r->total > LIM_MODEL_RESPONSE ? bad(e, "it is too long") : buf_check(&b->text, e);
	}
	return rc;
}

static int
kind_of(struct str type)
{
	static const char *const names[] = {"text", "thinking", "redacted_thinking", "tool_use"};
	for (size_t i = 0; i < ARRAY_LEN(names); i++) {
		if (str_eqz(type, names[i]))
			return (int)i;
	}
	return -1;
}

static int
on_block_start(
	struct model_response *r, const struct json_t *v, const struct response_hooks *h, struct err *e)
{
	const struct json_t *block = json_get(v, "content_block");
	int kind = kind_of(json_get_str(block, "type"));
	if (open_block(r) != NULL || r->skipping || json_get_int(v, "index", -1) != (int64_t)r->n_seen)
		return bad(e, "content blocks out of order");
	if (++r->n_seen > LIM_MODEL_BLOCKS)
		return bad(e, "too many content blocks");
	if (kind < 0) {
		r->skipping = true;
		return 0;
	}
	struct model_block *b = block_push(r, (enum block_kind)kind, e);
	if (b == NULL)
		return -ERR_NO_MEMORY;
	name_event(r);
	switch (b->kind) {
	case BLOCK_TEXT:
		return add_text(r, b, json_get_str(block, "text"), h, e);
	case BLOCK_THINKING:
		tell_start(b, EV_AGENT_THINKING, h);
		return append(r, &b->text, json_get_str(block, "thinking"), e);
	case BLOCK_REDACTED_THINKING:
		tell_start(b, EV_AGENT_THINKING, h);
		return append(r, &b->signature, json_get_str(block, "data"), e);
	case BLOCK_TOOL_USE:
		return start_tool(r, b, block, e);
	}
	return 0;
}

static int
on_block_delta(
	struct model_response *r, const struct json_t *v, const struct response_hooks *h, struct err *e)
{
	const struct json_t *d = json_get(v, "delta");
	struct str type = json_get_str(d, "type");
	if (json_get_int(v, "index", -1) != (int64_t)r->n_seen - 1)
		return bad(e, "a delta for a block that is not open");
	if (r->skipping)
		return 0;
	struct model_block *b = open_block(r);
	if (b == NULL)
		return bad(e, "a delta for a block that is not open");
	if (str_eqz(type, "text_delta") && b->kind == BLOCK_TEXT)
		return add_text(r, b, json_get_str(d, "text"), h, e);
	if (str_eqz(type, "thinking_delta") && b->kind == BLOCK_THINKING)
		return add_text(r, b, json_get_str(d, "thinking"), h, e);
	if (str_eqz(type, "input_json_delta") && b->kind == BLOCK_TOOL_USE)
		return append(r, &b->text, json_get_str(d, "partial_json"), e);
	if (str_eqz(type, "signature_delta") && b->kind == BLOCK_THINKING)
		return append(r, &b->signature, json_get_str(d, "signature"), e);
	return 0; /* citations and kinds of later days */
}

static int
on_block_stop(struct model_response *r, const struct json_t *v, struct err *e)
{
	struct model_block *b = open_block(r);
	if (json_get_int(v, "index", -1) != (int64_t)r->n_seen - 1 || (b == NULL && !r->skipping))
		return bad(e, "the end of a block that is not open");
	if (!r->skipping)
		b->open = false;
	r->skipping = false;
	return 0;
}

/* ---- the message ---- */

static const struct {
	const char *name;
	enum model_end end;
} ends[] = {
	{"end_turn", MODEL_END_TURN},
	{"stop_sequence", MODEL_END_TURN},
	{"pause_turn", MODEL_END_TURN},
	{"tool_use", MODEL_END_TOOLS},
	{"max_tokens", MODEL_END_MAX},
	{"model_context_window_exceeded", MODEL_END_MAX},
	{"refusal", MODEL_END_REFUSAL},
};

static int
on_message_delta(struct model_response *r, const struct json_t *v, struct err *e)
{
	const struct json_t *d = json_get(v, "delta");
	struct str reason = json_get_str(d, "stop_reason");
	take_usage(r, json_get(v, "usage"));
	if (reason.n == 0)
		return 0;
	r->end = MODEL_END_TURN;
	for (size_t i = 0; i < ARRAY_LEN(ends); i++) {
		if (str_eqz(reason, ends[i].name))
			r->end = ends[i].end;
	}
	const struct json_t *details = json_get(d, "stop_details");
	int rc = keep(r, json_get_str(details, "category"), &r->refusal_category, e);
	return rc < 0 ? rc : keep(r, json_get_str(details, "explanation"), &r->refusal_explanation, e);
}

static int
on_error(struct model_response *r, const struct json_t *v, struct err *e)
{
	const struct json_t *error = json_get(v, "error");
	struct str type = json_get_str(error, "type");
	int rc = keep(r, type.n > 0 ? str_sub(type, 0, LIM_ID) : STR("api_error"), &r->error_type, e);
	if (rc == 0)
		rc = keep(r, str_sub(json_get_str(error, "message"), 0, 4096), &r->error_message, e);
	return rc;
}

static int
on_message_start(struct model_response *r, const struct json_t *v, struct err *e)
{
	if (r->started)
		return bad(e, "message_start comes twice");
	r->started = true;
	take_usage(r, json_get(json_get(v, "message"), "usage"));
	return 0;
}

static int
on_record(struct model_response *r, const struct json_t *v, const struct response_hooks *h, struct err *e)
{
	struct str type = json_get_str(v, "type");
	if (str_eqz(type, "error"))
		return on_error(r, v, e);
	if (str_eqz(type, "message_start"))
		return on_message_start(r, v, e);
	if (!str_starts(type, STR("message_")) && !str_starts(type, STR("content_block_")))
		return 0; /* ping, and kinds of later days */
	if (!r->started || r->stopped)
		return bad(e, "records outside the message");
	if (str_eqz(type, "content_block_start"))
		return on_block_start(r, v, h, e);
	if (str_eqz(type, "content_block_delta"))
		return on_block_delta(r, v, h, e);
	if (str_eqz(type, "content_block_stop"))
		return on_block_stop(r, v, e);
	if (str_eqz(type, "message_delta"))
		return on_message_delta(r, v, e);
	if (str_eqz(type, "message_stop"))
		r->stopped = true;
	return 0;
}

int
response_feed(struct model_response *r, struct str data, const struct response_hooks *h, struct err *e)
{
	static const struct response_hooks none = {0};
	AUTO(json) struct json_t *v = NULL;
	if (r->error_type.n > 0)
		return 0;
	if (data.n > LIM_MODEL_RESPONSE)
		return bad(e, "a record is too long");
	int rc = json_parse(data, &v, NULL);
	if (rc == -ERR_NO_MEMORY)
		return err_set(e, ERR_NO_MEMORY, "out of memory");
	if (rc < 0 || json_kind(v) != JSON_OBJ)
		return bad(e, "a record is not a JSON object");
	return on_record(r, v, h != NULL ? h : &none, e);
}

int
response_finish(const struct model_response *r, struct err *e)
{
	if (r->error_type.n > 0)
		return err_set(e, ERR_CORRUPT, "the model reported an error: %.*s", STRF(r->error_type));
	if (!r->started || !r->stopped)
		return bad(e, "the stream ended before message_stop");
	if (r->skipping || (r->n_blocks > 0 && r->blocks[r->n_blocks - 1].open))
		return bad(e, "a content block was not finished");
	if (r->end == MODEL_END_NONE)
		return bad(e, "no stop_reason was given");
	return 0;
}
