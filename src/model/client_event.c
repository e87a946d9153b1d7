/* SPDX-License-Identifier: Apache-2.0 */
#include "model/client_event.h"

#include "base/limits.h"

#define DENY_MESSAGE_MAX 10000
#define DESCRIPTION_MAX  262144
#define RUBRIC_MAX       262144
#define SYSTEM_ITEMS_MAX 1000
#define URL_MAX_CHARS    8192

/* What a content array may hold. */
enum { ALLOW_MEDIA = 1, ALLOW_SEARCH = 2 };

struct parse {
	struct arena *a;
	struct client_event *out;
	size_t cap_files;
	struct err *e;
};

/* ---- content blocks ---- */

static int
add_file(struct parse *p, struct str id)
{
	struct client_event *c = p->out;
	if (c->n_files == p->cap_files) {
		size_t cap = p->cap_files == 0 ? 8 : p->cap_files * 2;
		struct str *all = arena_alloc_n(p->a, cap, sizeof(*all));
		if (all == NULL)
			return arena_check(p->a, p->e);
		if (c->n_files > 0)
			memcpy(all, c->files, c->n_files * sizeof(*all));
		c->files = all;
		p->cap_files = cap;
	}
	c->files[c->n_files++] = arena_dup(p->a, id);
	return arena_check(p->a, p->e);
}

static bool
is_base64(struct str s)
{
	size_t n = s.n;
	while (n > 0 && s.n - n < 2 && s.p[n - 1] == '=')
		n--;
	for (size_t i = 0; i < n; i++) {
		char c = s.p[i];
		if (!((c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') ||
			    c == '+' || c == '/'))
			return false;
	}
	return n > 0 && s.n % 4 == 0;
}

static int
source_base64(struct parse *p, const struct json_at *at)
{
	static const char *const allowed[] = {"type", "media_type", "data", NULL};
	struct json_at media = json_member(at, "media_type"), data = json_member(at, "data");
	struct str s;
	int r = json_closed(at, allowed, p->e);
	if (r == 0)
		r = json_want_str(&media, 1, 128, &s, p->e);
	if (r == 0)
		r = json_want_str(&data, 1, LIM_EVENT_BODY, &s, p->e);
	if (r == 0 && !is_base64(s))
		r = json_fail(&data, p->e, "Input should be base64");
	return r;
}

static int
source_url(struct parse *p, const struct json_at *at)
{
	static const char *const allowed[] = {"type", "url", NULL};
	struct json_at url = json_member(at, "url");
	struct str s;
	int r = json_closed(at, allowed, p->e);
	if (r == 0)
		r = json_want_str(&url, 1, URL_MAX_CHARS, &s, p->e);
	if (r == 0 && !str_starts(s, STR("https://")) && !str_starts(s, STR("http://")))
		r = json_fail(&url, p->e, "Input should be an http or https URL");
	return r;
}

static int
source_file(struct parse *p, const struct json_at *at)
{
	static const char *const allowed[] = {"type", "file_id", NULL};
	struct json_at id = json_member(at, "file_id");
	struct str s;
	int r = json_closed(at, allowed, p->e);
	if (r == 0)
		r = json_want_str(&id, 1, LIM_ID, &s, p->e);
	return r < 0 ? r : add_file(p, s);
}

static int
source_text(struct parse *p, const struct json_at *at)
{
	static const char *const allowed[] = {"type", "media_type", "data", NULL};
	static const char *const plain[] = {"text/plain", NULL};
	struct json_at media = json_member(at, "media_type"), data = json_member(at, "data");
	struct str s;
	int kind, r = json_closed(at, allowed, p->e);
	if (r == 0)
		r = json_want_enum(&media, plain, &kind, p->e);
	if (r == 0)
		r = json_want_str(&data, 1, LIM_EVENT_BODY, &s, p->e);
	return r;
}

static int
parse_source(struct parse *p, const struct json_at *block, bool document)
{
	static const char *const kinds[] = {"base64", "url", "file", "text", NULL};
	struct json_at at = json_member(block, "source"), type = json_member(&at, "type");
	int kind, r = json_want_obj(&at, p->e);
	if (r == 0)
		r = json_want_enum(&type, kinds, &kind, p->e);
	if (r < 0)
		return r;
	if (kind == 3 && !document)
		return json_fail(&type, p->e, "Input should be 'base64', 'url' or 'file'");
	int (*const parse[])(struct parse *, const struct json_at *) = {
		source_base64, source_url, source_file, source_text};
	return parse[kind](p, &at);
}

static int
parse_text(struct parse *p, const struct json_at *at)
{
	static const char *const allowed[] = {"type", "text", NULL};
	struct json_at text = json_member(at, "text");
	struct str s;
	int r = json_closed(at, allowed, p->e);
	return r < 0 ? r : json_want_str(&text, 1, LIM_EVENT_BODY, &s, p->e);
}

static int
parse_image(struct parse *p, const struct json_at *at)
{
	static const char *const allowed[] = {"type", "source", NULL};
	int r = json_closed(at, allowed, p->e);
	return r < 0 ? r : parse_source(p, at, false);
}

static int
opt_str(struct parse *p, const struct json_at *up, const char *key, size_t max)
{
	struct json_at at = json_member(up, key);
	struct str s;
	return json_set(&at) ? json_want_str(&at, 0, max, &s, p->e) : 0;
}

static int
parse_document(struct parse *p, const struct json_at *at)
{
	static const char *const allowed[] = {"type", "source", "title", "context", NULL};
	int r = json_closed(at, allowed, p->e);
	if (r == 0)
		r = opt_str(p, at, "title", LIM_EVENT_BODY);
	if (r == 0)
		r = opt_str(p, at, "context", LIM_EVENT_BODY);
	return r < 0 ? r : parse_source(p, at, true);
}

static int
parse_search_content(struct parse *p, const struct json_at *at)
{
	static const char *const only_text[] = {"text", NULL};
	size_t n;
	int r = json_want_arr(at, LIM_CONTENT_BLOCKS, &n, p->e);
	for (size_t i = 0; r == 0 && i < n; i++) {
		struct json_at item = json_element(at, i), type = json_member(&item, "type");
		int kind;
		r = json_want_obj(&item, p->e);
		if (r == 0)
			r = json_want_enum(&type, only_text, &kind, p->e);
		if (r == 0)
			r = parse_text(p, &item);
	}
	return r;
}

static int
parse_search_result(struct parse *p, const struct json_at *at)
{
	static const char *const allowed[] = {"type", "source", "title", "content", "citations", NULL};
	static const char *const enabled_only[] = {"enabled", NULL};
	struct json_at source = json_member(at, "source"), title = json_member(at, "title"),
		       content = json_member(at, "content"), citations = json_member(at, "citations"),
		       enabled = json_member(&citations, "enabled");
	struct str s;
	bool b;
	int r = json_closed(at, allowed, p->e);
	if (r == 0)
		r = json_want_str(&source, 1, URL_MAX_CHARS, &s, p->e);
	if (r == 0)
		r = json_want_str(&title, 0, URL_MAX_CHARS, &s, p->e);
	if (r == 0)
		r = parse_search_content(p, &content);
	if (r == 0)
		r = json_closed(&citations, enabled_only, p->e);
	return r < 0 ? r : json_want_bool(&enabled, &b, p->e);
}

static int
parse_block(struct parse *p, const struct json_at *at, unsigned allow)
{
	static const char *const kinds[] = {"text", "image", "document", "search_result", "redacted", NULL};
	struct json_at type = json_member(at, "type");
	int kind, r = json_want_obj(at, p->e);
	if (r == 0)
		r = json_want_enum(&type, kinds, &kind, p->e);
	if (r < 0)
		return r;
	if (kind == 4)
		return json_fail(at, p->e, "redacted blocks cannot be sent");
	if (kind == 0)
		return parse_text(p, at);
	if (kind == 3 && (allow & ALLOW_SEARCH) != 0)
		return parse_search_result(p, at);
	if (kind == 3 || (allow & ALLOW_MEDIA) == 0)
		return json_fail(&type, p->e, "blocks of this type are not allowed here");
	return kind == 1 ? parse_image(p, at) : parse_document(p, at);
}

static int
parse_content(struct parse *p, const struct json_at *at, size_t min, size_t max, unsigned allow)
{
	size_t n;
	int r = json_want_arr(at, max, &n, p->e);
	if (r == 0 && n < min)
		r = json_fail(at, p->e, "at least one content block is required");
	for (size_t i = 0; r == 0 && i < n; i++) {
		struct json_at block = json_element(at, i);
		r = parse_block(p, &block, allow);
	}
	return r;
}

/* ---- events; each checks its members and leaves the type-independent body to write_body ---- */

typedef int parse_fn(struct parse *p, const struct json_at *at);

static int
parse_message(struct parse *p, const struct json_at *at)
{
	static const char *const allowed[] = {"type", "content", NULL};
	struct json_at content = json_member(at, "content");
	int r = json_closed(at, allowed, p->e);
	return r < 0 ? r : parse_content(p, &content, 1, LIM_CONTENT_BLOCKS, ALLOW_MEDIA);
}

static int
parse_system(struct parse *p, const struct json_at *at)
{
	static const char *const allowed[] = {"type", "content", NULL};
	struct json_at content = json_member(at, "content");
	int r = json_closed(at, allowed, p->e);
	return r < 0 ? r : parse_content(p, &content, 1, SYSTEM_ITEMS_MAX, 0);
}

static int
parse_interrupt(struct parse *p, const struct json_at *at)
{
	static const char *const allowed[] = {"type", "session_thread_id", NULL};
	struct json_at thread = json_member(at, "session_thread_id");
	int r = json_closed(at, allowed, p->e);
	if (r == 0 && json_set(&thread))
		r = json_want_str(&thread, 1, LIM_ID, &p->out->thread, p->e);
	return r;
}

static int
parse_confirmation(struct parse *p, const struct json_at *at)
{
	static const char *const allowed[] = {"type", "tool_use_id", "result", "deny_message", NULL};
	static const char *const results[] = {"allow", "deny", NULL};
	struct json_at id = json_member(at, "tool_use_id"), result = json_member(at, "result"),
		       why = json_member(at, "deny_message");
	int verdict = 0, r = json_closed(at, allowed, p->e);
	if (r == 0)
		r = json_want_str(&id, 1, LIM_ID, &p->out->ref_id, p->e);
	if (r == 0)
		r = json_want_enum(&result, results, &verdict, p->e);
	if (r < 0)
		return r;
	p->out->permission = verdict == 0 ? PERM_ALLOW : PERM_DENY;
	if (json_set(&why) && verdict == 0)
		return json_fail(&why, p->e, "deny_message is only allowed when result is 'deny'");
	return opt_str(p, at, "deny_message", DENY_MESSAGE_MAX);
}

static int
parse_result(struct parse *p, const struct json_at *at, const char *id_key)
{
	const char *const allowed[] = {"type", id_key, "content", "is_error", NULL};
	struct json_at id = json_member(at, id_key), content = json_member(at, "content"),
		       is_error = json_member(at, "is_error");
	int r = json_closed(at, allowed, p->e);
	if (r == 0)
		r = json_want_str(&id, 1, LIM_ID, &p->out->ref_id, p->e);
	if (r == 0 && content.present)
		r = parse_content(p, &content, 0, LIM_CONTENT_BLOCKS, ALLOW_MEDIA | ALLOW_SEARCH);
	if (r == 0 && json_set(&is_error))
		r = json_want_bool(&is_error, &p->out->is_error, p->e);
	return r;
}

static int
parse_custom_result(struct parse *p, const struct json_at *at)
{
	return parse_result(p, at, "custom_tool_use_id");
}

static int
parse_tool_result(struct parse *p, const struct json_at *at)
{
	return parse_result(p, at, "tool_use_id");
}

static int
parse_rubric(struct parse *p, const struct json_at *at)
{
	static const char *const kinds[] = {"text", "file", NULL};
	static const char *const text_only[] = {"type", "content", NULL};
	struct json_at type = json_member(at, "type"), content = json_member(at, "content");
	struct str s;
	int kind, r = json_want_obj(at, p->e);
	if (r == 0)
		r = json_want_enum(&type, kinds, &kind, p->e);
	if (r < 0)
		return r;
	if (kind == 1)
		return source_file(p, at);
	r = json_closed(at, text_only, p->e);
	return r < 0 ? r : json_want_str(&content, 1, RUBRIC_MAX, &s, p->e);
}

static int
parse_outcome(struct parse *p, const struct json_at *at)
{
	static const char *const allowed[] = {"type", "description", "rubric", "max_iterations", NULL};
	struct json_at description = json_member(at, "description"), rubric = json_member(at, "rubric"),
		       most = json_member(at, "max_iterations");
	struct str s;
	int64_t n;
	int r = json_closed(at, allowed, p->e);
	if (r == 0)
		r = json_want_str(&description, 1, DESCRIPTION_MAX, &s, p->e);
	if (r == 0 && json_set(&most))
		r = json_want_int(&most, 1, 20, &n, p->e);
	return r < 0 ? r : parse_rubric(p, &rubric);
}

static const struct {
	enum event_type type;
	parse_fn *parse;
} kinds[] = {
	{EV_USER_MESSAGE, parse_message},
	{EV_USER_INTERRUPT, parse_interrupt},
	{EV_USER_TOOL_CONFIRMATION, parse_confirmation},
	{EV_USER_CUSTOM_TOOL_RESULT, parse_custom_result},
	{EV_USER_TOOL_RESULT, parse_tool_result},
	{EV_USER_DEFINE_OUTCOME, parse_outcome},
	{EV_SYSTEM_MESSAGE, parse_system},
};

/* As sent, behind type and id. The primary thread is not named. */
static int
write_body(struct parse *p, const struct json_at *at)
{
	AUTO(buf) struct buf b;
	buf_init(&b, LIM_EVENT_BODY);
	struct json_w w = json_w(&b);
	jw_obj(&w);
	jw_kz(&w, "type", event_name(p->out->type));
	jw_kstr(&w, "id", id_str(&p->out->id));
	for (void *it = json_iter(at->v); it != NULL; it = json_next(at->v, it)) {
		struct str key = json_iter_key(it);
		if (str_eqz(key, "type") || str_eqz(key, "session_thread_id"))
			continue;
		jw_key_str(&w, key);
		jw_value(&w, json_iter_value(it));
	}
	jw_obj_end(&w);
	int r = buf_check(&b, p->e);
	if (r < 0)
		return r;
	p->out->body = arena_dup(p->a, buf_str(&b));
	p->out->ref_id = arena_dup(p->a, p->out->ref_id);
	p->out->thread = arena_dup(p->a, p->out->thread);
	return arena_check(p->a, p->e);
}

static int
find_kind(const struct json_at *at, bool initial, size_t *kind, struct err *e)
{
	struct json_at type = json_member(at, "type");
	struct str name;
	int r = json_want_obj(at, e);
	if (r == 0)
		r = json_want_str(&type, 1, LIM_ID, &name, e);
	if (r < 0)
		return r;
	for (size_t i = 0; i < ARRAY_LEN(kinds); i++) {
		bool allowed = !initial || kinds[i].type == EV_USER_MESSAGE ||
			       kinds[i].type == EV_USER_DEFINE_OUTCOME;
		if (!allowed || event_type_of(name) != kinds[i].type)
			continue;
		*kind = i;
		return 0;
	}
	return json_fail(&type, e, "events of type '%.*s' cannot be sent%s", STRF(str_sub(name, 0, 64)),
		initial ? " as initial events" : "");
}

int
client_event_parse(struct arena *a, const struct json_at *at, bool initial, uint64_t now_us,
	struct client_event *out, struct err *e)
{
	struct client_event c = {0};
	struct parse p = {.a = a, .out = &c, .e = e};
	size_t kind = 0;
	int r = find_kind(at, initial, &kind, e);
	if (r < 0)
		return r;
	c.type = kinds[kind].type;
	r = kinds[kind].parse(&p, at);
	if (r == 0 && initial && c.type == EV_USER_DEFINE_OUTCOME)
		r = json_fail(at, e, "user.define_outcome is not supported yet");
	if (r < 0)
		return r;
	c.id = id_new("sevt", now_us);
	r = write_body(&p, at);
	if (r == 0)
		*out = c;
	return r;
}

void
client_event_row(const struct client_event *c, uint32_t ref, uint64_t now_us, struct event_row *out)
{
	*out = (struct event_row){.id = c->id, .body = c->body};
	out->facts.type = (uint8_t)c->type;
	out->facts.permission = c->permission;
	out->facts.is_error = c->is_error;
	out->facts.ref = ref;
	out->facts.at_us = now_us;
}
