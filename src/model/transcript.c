/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Three buffers of comma-separated JSON: the finished messages, and the blocks of the message that is still
 * growing. Of a user message, tool results come before everything else, in whatever order the rows came; so
 * they are collected apart. A message is finished when one of the other role begins.
 */
#include "model/transcript.h"

#include <stdlib.h>

#include "base/limits.h"
#include "model/agent.h"
#include "model/own.h"

#define FILES_NAMED_MAX 100

/* A queued client event: its blocks wait until it is processed. */
struct waiting {
	struct waiting *next;
	uint32_t seq;
	struct str blocks; /* owned */
};

/* An unanswered tool use. */
struct use {
	uint32_t seq;
	struct str model_id; /* owned */
};

struct transcript {
	uint32_t seq;
	bool too_large;
	struct buf done;      /* messages */
	struct buf assistant; /* blocks */
	struct buf results;   /* blocks of the user message: tool results */
	struct buf rest;      /* ... and all others */
	struct waiting *waiting;
	struct use uses[LIM_MODEL_TOOL_USES];
	size_t n_uses;
};

struct transcript *
transcript_new(void)
{
	struct transcript *t = calloc(1, sizeof(*t));
	if (t == NULL)
		return NULL;
	buf_init(&t->done, LIM_MODEL_REQUEST);
	buf_init(&t->assistant, LIM_MODEL_REQUEST);
	buf_init(&t->results, LIM_MODEL_REQUEST);
	buf_init(&t->rest, LIM_MODEL_REQUEST);
	return t;
}

void
transcript_free(struct transcript *t)
{
	if (t == NULL)
		return;
	while (t->waiting != NULL) {
		struct waiting *w = t->waiting;
		t->waiting = w->next;
		own_free(&w->blocks);
		free(w);
	}
	for (size_t i = 0; i < t->n_uses; i++)
		own_free(&t->uses[i].model_id);
	buf_done(&t->done);
	buf_done(&t->assistant);
	buf_done(&t->results);
	buf_done(&t->rest);
	free(t);
}

uint32_t
transcript_seq(const struct transcript *t)
{
	return t->seq;
}

size_t
transcript_bytes(const struct transcript *t)
{
	size_t n = sizeof(*t) + t->done.cap + t->assistant.cap + t->results.cap + t->rest.cap;
	for (const struct waiting *w = t->waiting; w != NULL; w = w->next)
		n += sizeof(*w) + w->blocks.n;
	return n;
}

/* ---- messages ---- */

static void
put_part(struct buf *b, struct str part)
{
	if (part.n == 0)
		return;
	if (b->n > 0 && b->p[b->n - 1] == '}')
		buf_put_c(b, ',');
	buf_put_str(b, part);
}

static void
put_message(struct buf *b, const char *role, struct str first, struct str second)
{
	if (first.n + second.n == 0)
		return;
	if (b->n > 0 && b->p[b->n - 1] == '}')
		buf_put_c(b, ',');
	buf_put_z(b, "{\"role\":\"");
	buf_put_z(b, role);
	buf_put_z(b, "\",\"content\":[");
	put_part(b, first);
	put_part(b, second);
	buf_put_z(b, "]}");
}

static void
finish_user(struct transcript *t)
{
	put_message(&t->done, "user", buf_str(&t->results), buf_str(&t->rest));
	buf_clear(&t->results);
	buf_clear(&t->rest);
}

static void
finish_assistant(struct transcript *t)
{
	put_message(&t->done, "assistant", buf_str(&t->assistant), STR_NULL);
	buf_clear(&t->assistant);
}

static void
add_assistant(struct transcript *t, struct str block)
{
	if (block.n == 0)
		return;
	finish_user(t);
	put_part(&t->assistant, block);
}

static void
add_result(struct transcript *t, struct str block)
{
	finish_assistant(t);
	put_part(&t->results, block);
}

static void
add_user(struct transcript *t, struct str blocks)
{
	if (blocks.n == 0)
		return;
	finish_assistant(t);
	put_part(&t->rest, blocks);
}

/* ---- content blocks ---- */

static bool
is_blank(struct str s)
{
	for (size_t i = 0; i < s.n; i++) {
		if (memchr(" \t\r\n", s.p[i], 4) == NULL)
			return false;
	}
	return true;
}

static void
write_text(struct json_w *w, struct str text)
{
	jw_obj(w);
	jw_kz(w, "type", "text");
	jw_kstr(w, "text", text);
	jw_obj_end(w);
}

/* What went wrong in a part went wrong in the whole. */
static void
pass_failure(const struct buf *part, struct buf *whole)
{
	if (whole->fail == ERR_NONE)
		whole->fail = part->fail;
}

/* Its bytes are put in when a request is made. */
static void
write_file(struct json_w *w, const struct json_t *block)
{
	AUTO(buf) struct buf b;
	buf_init(&b, LIM_EVENT_BODY);
	attachment_mark(&b, block);
	jw_raw(w, buf_str(&b));
	pass_failure(&b, w->b);
}

/* The API refuses text blocks without visible text. */
static void
write_block(struct json_w *w, const struct json_t *block)
{
	bool text = str_eqz(json_get_str(block, "type"), "text");
	if (text && is_blank(json_get_str(block, "text")))
		write_text(w, STR("(blank)"));
	else if (attachment_is(block))
		write_file(w, block);
	else
		jw_value(w, block);
}

/* Writes an event's content as comma-separated blocks. */
static void
write_content(struct buf *b, const struct json_t *content)
{
	for (size_t i = 0; i < json_len(content); i++) {
		struct json_w w = json_w(b);
		if (i > 0)
			buf_put_c(b, ',');
		write_block(&w, json_at(content, i));
	}
}

/* ---- rows ---- */

typedef int add_fn(struct transcript *t, const struct event_row *row, const struct json_t *v, struct buf *b,
	struct err *e);

static int
add_waiting(struct transcript *t, const struct event_row *row, const struct json_t *v, struct buf *b,
	struct err *e)
{
	if (row->facts.type == EV_SYSTEM_MESSAGE) {
		AUTO(buf) struct buf text;
		buf_init(&text, LIM_EVENT_BODY);
		const struct json_t *content = json_get(v, "content");
		buf_put_z(&text, "<system_message>");
		for (size_t i = 0; i < json_len(content); i++) {
			buf_put_c(&text, '\n');
			buf_put_str(&text, json_get_str(json_at(content, i), "text"));
		}
		buf_put_z(&text, "\n</system_message>");
		struct json_w w = json_w(b);
		write_text(&w, buf_str(&text));
		pass_failure(&text, b);
	} else {
		write_content(b, json_get(v, "content"));
	}
	struct waiting *n = calloc(1, sizeof(*n)), **end = &t->waiting;
	if (n == NULL || own_set(&n->blocks, buf_str(b), e) < 0) {
		free(n);
		return err_set(e, ERR_NO_MEMORY, "out of memory");
	}
	n->seq = row->seq;
	while (*end != NULL)
		end = &(*end)->next;
	*end = n;
	return 0;
}

static int
add_processed(struct transcript *t, const struct event_row *row)
{
	struct waiting **at = &t->waiting;
	while (*at != NULL && (*at)->seq != row->facts.ref)
		at = &(*at)->next;
	struct waiting *w = *at;
	if (w == NULL) /* an interrupt or a confirmation */
		return 0;
	*at = w->next;
	add_user(t, w->blocks);
	own_free(&w->blocks);
	free(w);
	return 0;
}

static int
add_message(struct transcript *t, const struct event_row *row, const struct json_t *v, struct buf *b,
	struct err *e)
{
	(void)row;
	(void)e;
	const struct json_t *content = json_get(v, "content");
	for (size_t i = 0; i < json_len(content); i++) {
		struct str text = json_get_str(json_at(content, i), "text");
		if (is_blank(text))
			continue;
		buf_clear(b);
		struct json_w w = json_w(b);
		write_text(&w, text);
		add_assistant(t, buf_str(b));
	}
	return 0;
}

static int
add_tool_use(struct transcript *t, const struct event_row *row, const struct json_t *v, struct buf *b,
	struct err *e)
{
	if (t->n_uses == LIM_MODEL_TOOL_USES)
		return err_set(e, ERR_CORRUPT, "log row %u: too many open tool uses", row->seq);
	struct use *u = &t->uses[t->n_uses];
	*u = (struct use){.seq = row->seq};
	int r = own_set(&u->model_id, row->private_.n > 0 ? row->private_ : id_str(&row->id), e);
	if (r < 0)
		return r;
	t->n_uses++;
	struct json_w w = json_w(b);
	jw_obj(&w);
	jw_kz(&w, "type", "tool_use");
	jw_kstr(&w, "id", u->model_id);
	jw_kstr(&w, "name", json_get_str(v, "name"));
	jw_kvalue(&w, "input", json_get(v, "input"));
	jw_obj_end(&w);
	add_assistant(t, buf_str(b));
	return 0;
}

static void
use_drop(struct transcript *t, size_t i)
{
	own_free(&t->uses[i].model_id);
	memmove(&t->uses[i], &t->uses[i + 1], (t->n_uses - i - 1) * sizeof(t->uses[0]));
	t->n_uses--;
}

static int
add_tool_result(struct transcript *t, const struct event_row *row, const struct json_t *v, struct buf *b,
	struct err *e)
{
	size_t i = 0;
	while (i < t->n_uses && t->uses[i].seq != row->facts.ref)
		i++;
	if (i == t->n_uses)
		return err_set(e, ERR_CORRUPT, "log row %u answers a tool use that is not open", row->seq);
	const struct json_t *content = json_get(v, "content");
	struct json_w w = json_w(b);
	jw_obj(&w);
	jw_kz(&w, "type", "tool_result");
	jw_kstr(&w, "tool_use_id", t->uses[i].model_id);
	if (json_len(content) > 0) {
		jw_key(&w, "content");
		jw_arr(&w);
		for (size_t k = 0; k < json_len(content); k++)
			write_block(&w, json_at(content, k));
		jw_arr_end(&w);
	}
	if (row->facts.is_error)
		jw_kbool(&w, "is_error", true);
	jw_obj_end(&w);
	use_drop(t, i);
	add_result(t, buf_str(b));
	return 0;
}

/* Unsigned thinking cannot be given back: the API refuses it, and other servers have no use for it. */
static int
add_thinking(struct transcript *t, const struct event_row *row)
{
	if (!str_ends(row->private_, STR("\"signature\":\"\"}")))
		add_assistant(t, row->private_);
	return 0;
}

static add_fn *const adders[EV_COUNT] = {
	[EV_USER_MESSAGE] = add_waiting,
	[EV_SYSTEM_MESSAGE] = add_waiting,
	[EV_USER_CUSTOM_TOOL_RESULT] = add_tool_result,
	[EV_USER_TOOL_RESULT] = add_tool_result,
	[EV_AGENT_MESSAGE] = add_message,
	[EV_AGENT_TOOL_USE] = add_tool_use,
	[EV_AGENT_MCP_TOOL_USE] = add_tool_use,
	[EV_AGENT_CUSTOM_TOOL_USE] = add_tool_use,
	[EV_AGENT_TOOL_RESULT] = add_tool_result,
	[EV_AGENT_MCP_TOOL_RESULT] = add_tool_result,
};

static int
add_parsed(struct transcript *t, const struct event_row *row, struct err *e)
{
	AUTO(json) struct json_t *v = NULL;
	AUTO(buf) struct buf b;
	buf_init(&b, LIM_MODEL_REQUEST);
	int r = json_parse(row->body, &v, e);
	if (r == -ERR_NO_MEMORY)
		return r;
	if (r < 0)
		return err_set(e, ERR_CORRUPT, "log row %u (%s) has no valid body", row->seq,
			event_name((enum event_type)row->facts.type));
	r = adders[row->facts.type](t, row, v, &b, e);
	if (b.fail == ERR_TOO_LARGE)
		t->too_large = true;
	return r < 0 || b.fail == ERR_TOO_LARGE ? r : buf_check(&b, e);
}

static int
check_buffers(struct transcript *t, struct err *e)
{
	const struct buf *all[] = {&t->done, &t->assistant, &t->results, &t->rest};
	for (size_t i = 0; i < ARRAY_LEN(all); i++) {
		if (all[i]->fail == ERR_TOO_LARGE)
			t->too_large = true;
		else if (buf_check(all[i], e) < 0)
			return -ERR_NO_MEMORY;
	}
	return 0;
}

int
transcript_add(struct transcript *t, const struct event_row *row, struct err *e)
{
	int r = 0;
	if (row->seq <= t->seq || row->facts.type >= EV_COUNT)
		return err_set(e, ERR_CORRUPT, "log row %u comes after row %u", row->seq, t->seq);
	if (row->thread.n > 0 || t->too_large) {
		t->seq = row->seq;
		return 0;
	}
	if (row->facts.type == EV_PROCESSED)
		r = add_processed(t, row);
	else if (row->facts.type == EV_AGENT_THINKING)
		r = add_thinking(t, row);
	else if (adders[row->facts.type] != NULL)
		r = add_parsed(t, row, e);
	if (r == 0)
		r = check_buffers(t, e);
	if (r == 0)
		t->seq = row->seq;
	return r;
}

/* ---- the request ---- */

static void
put_uploads(struct buf *b, const struct session_state *s)
{
	if (s->n_resources == 0)
		return;
	buf_put_z(b, "\nFiles that the user provided, read-only:");
	for (size_t i = 0; i < s->n_resources && i < FILES_NAMED_MAX; i++)
		buf_printf(b, "\n- %.*s (%llu bytes)", STRF(s->resources[i].mount_path),
			(unsigned long long)s->resources[i].size);
	if (s->n_resources > FILES_NAMED_MAX)
		buf_printf(
			b, "\n- and %zu more below /mnt/session/uploads", s->n_resources - FILES_NAMED_MAX);
}

static bool
has_sandbox_tools(const struct json_t *agent)
{
	for (int i = 0; i < TOOL_COUNT; i++) {
		if (agent_judge(agent, str_z(agent_tool_name((enum agent_tool)i))).enabled)
			return true;
	}
	return false;
}

/* The agent's own prompt first, word for word; then where it works, when it has tools that work there. */
static void
put_system(struct buf *b, const struct session_state *s, const struct json_t *agent)
{
	buf_put_str(b, json_get_str(agent, "system"));
	if (!has_sandbox_tools(agent))
		return;
	if (b->n > 0)
		buf_put_z(b, "\n\n");
	buf_put_z(b, "Your tools run in an isolated Linux sandbox without network access. The working "
		     "directory is /workspace; its "
		     "files stay for the whole session. Uploaded files are mounted at /mnt/session/uploads. "
		     "Put files that the user "
		     "should receive into /mnt/session/outputs.");
	put_uploads(b, s);
}

/* Where the conversation so far may be cached by the provider: the end of the last user message. `b` ends
 * with the last block. */
static void
mark_cache(struct buf *b)
{
	if (b->n == 0 || b->p[b->n - 1] != '}')
		return;
	b->n--;
	buf_put_z(b, ",\"cache_control\":{\"type\":\"ephemeral\"}}");
}

static void
put_messages(struct buf *b, const struct transcript *t)
{
	buf_put_z(b, ",\"messages\":[");
	buf_put_str(b, buf_str(&t->done));
	if (t->assistant.n > 0) {
		put_message(b, "assistant", buf_str(&t->assistant), STR_NULL);
	} else if (t->results.n + t->rest.n > 0) {
		put_message(b, "user", buf_str(&t->results), buf_str(&t->rest));
		b->n -= 2; /* "]}" */
		mark_cache(b);
		buf_put_z(b, "]}");
	}
	buf_put_z(b, "]}");
}

/* Effort is named only when it is not the default: servers that do not know the member then never see it. */
static void
write_model_options(struct json_w *w, const struct json_t *model)
{
	struct str effort = json_get_str(json_get(model, "effort"), "type");
	struct str geo = json_get_str(model, "inference_geo");
	if (effort.n > 0 && !str_eqz(effort, "high")) {
		jw_key(w, "output_config");
		jw_obj(w);
		jw_kstr(w, "effort", effort);
		jw_obj_end(w);
	}
	if (geo.n > 0)
		jw_kstr(w, "inference_geo", geo);
}

static void
write_tools(struct json_w *w, const struct json_t *agent)
{
	AUTO(buf) struct buf tools;
	buf_init(&tools, LIM_MODEL_REQUEST);
	struct json_w tw = json_w(&tools);
	agent_model_tools(agent, &tw);
	pass_failure(&tools, w->b);
	if (tools.n > 2)
		jw_kraw(w, "tools", buf_str(&tools));
}

int
transcript_render(const struct transcript *t, const struct session_state *s, const struct transcript_opts *o,
	struct buf *out, struct err *e)
{
	AUTO(json) struct json_t *agent = NULL;
	AUTO(buf) struct buf system;
	buf_init(&system, LIM_MODEL_REQUEST);
	if (t->too_large)
		return err_set(
			e, ERR_TOO_LARGE, "the conversation is over %llu MiB", LIM_MODEL_REQUEST / MIB);
	int r = json_parse(s->agent, &agent, e);
	if (r < 0)
		return r;
	put_system(&system, s, agent);
	r = buf_check(&system, e);
	if (r < 0)
		return r;
	struct json_w w = json_w(out);
	jw_obj(&w);
	jw_kstr(&w, "model", o->model);
	jw_kint(&w, "max_tokens", (int64_t)o->max_tokens);
	jw_kbool(&w, "stream", true);
	write_model_options(&w, json_get(agent, "model"));
	if (system.n > 0)
		jw_kstr(&w, "system", buf_str(&system));
	write_tools(&w, agent);
	AUTO(buf) struct buf messages;
	buf_init(&messages, LIM_MODEL_REQUEST);
	put_messages(&messages, t);
	r = buf_check(&messages, e);
	return r < 0 ? r : attachment_expand(buf_str(&messages), &o->files, LIM_MODEL_REQUEST, out, e);
}
