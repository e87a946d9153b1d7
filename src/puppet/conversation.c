/* SPDX-License-Identifier: Apache-2.0 */
#include "puppet/conversation.h"

#include "base/limits.h"

/* ---- blocks ---- */

static bool
is_type(const struct json_t *block, const char *type)
{
	return str_eqz(json_get_str(block, "type"), type);
}

/* Text of a string or of the text blocks of a list, joined by newlines; a slice where there is only one. */
static struct str
text_of(const struct json_t *content, struct arena *a)
{
	struct str all = STR_NULL;

	if (json_kind(content) == JSON_STR)
		return json_str(content, STR_NULL);
	for (size_t i = 0; i < json_len(content); i++) {
		const struct json_t *b = json_at(content, i);
		struct str t = json_get_str(b, "text");

		if (!is_type(b, "text") || !t.p)
			continue;
		if (!all.n) {
			all = t;
			continue;
		}
		char *joined = arena_alloc(a, all.n + t.n + 2);

		if (!joined)
			return all;
		memcpy(joined, all.p, all.n);
		joined[all.n] = '\n';
		memcpy(joined + all.n + 1, t.p, t.n);
		all = str_n(joined, all.n + 1 + t.n);
	}
	return all;
}

/* Looks for the last line "#puppet"; *script is what follows it. */
static bool
find_marker(struct str text, struct str *script)
{
	bool found = false;

	while (text.p) {
		struct str line = str_trim(str_next(&text, '\n'));

		if (line.n && line.p[line.n - 1] == '\r')
			line.n--;
		if (!str_eqz(line, "#puppet"))
			continue;
		*script = text.p ? text : STR("");
		found = true;
	}
	return found;
}

/* The last text of `content` (string or blocks, never tool results) with a script: user messages that no
 * answer came between arrive as one. */
static bool
find_script(const struct json_t *content, struct str *script)
{
	if (json_kind(content) == JSON_STR)
		return find_marker(json_str(content, STR_NULL), script);
	bool found = false;
	for (size_t i = 0; i < json_len(content); i++) {
		const struct json_t *b = json_at(content, i);

		if (is_type(b, "text") && find_marker(json_get_str(b, "text"), script))
			found = true;
	}
	return found;
}

static bool
has_block(const struct json_t *content, const char *type, const char *key, struct str value)
{
	for (size_t i = 0; i < json_len(content); i++) {
		const struct json_t *b = json_at(content, i);

		if (is_type(b, type) && str_eq(json_get_str(b, key), value))
			return true;
	}
	return false;
}

/* ---- the checks of the real server that a client could trip over ---- */

/* Every tool_use of an assistant message is answered in the next one. */
static int
check_uses(const struct json_at *messages, size_t i, struct err *e)
{
	const struct json_t *content = json_get(json_at(messages->v, i), "content");
	const struct json_t *next = json_get(json_at(messages->v, i + 1), "content");

	for (size_t k = 0; json_kind(content) == JSON_ARR && k < json_len(content); k++) {
		const struct json_t *b = json_at(content, k);
		struct str id = json_get_str(b, "id");
		struct json_at at = json_element(messages, i);

		if (is_type(b, "tool_use") && !has_block(next, "tool_result", "tool_use_id", id))
			return json_fail(&at, e,
				"`tool_use` ids were found without `tool_result` blocks immediately after: "
				"%.*s",
				STRF(str_sub(id, 0, 60)));
	}
	return 0;
}

/* Every tool_result answers a tool_use of the message before. */
static int
check_results(const struct json_at *messages, size_t i, struct err *e)
{
	const struct json_t *content = json_get(json_at(messages->v, i), "content");
	const struct json_t *before = i ? json_get(json_at(messages->v, i - 1), "content") : NULL;

	for (size_t k = 0; json_kind(content) == JSON_ARR && k < json_len(content); k++) {
		const struct json_t *b = json_at(content, k);
		struct str id = json_get_str(b, "tool_use_id");
		struct json_at at = json_element(messages, i);

		if (is_type(b, "tool_result") && !has_block(before, "tool_use", "id", id))
			return json_fail(&at, e,
				"unexpected `tool_use_id` found in `tool_result` blocks: %.*s",
				STRF(str_sub(id, 0, 60)));
	}
	return 0;
}

static int
check_message(const struct json_at *messages, size_t i, struct err *e)
{
	static const char *const roles[] = {"user", "assistant", NULL};
	struct json_at at = json_element(messages, i);
	struct json_at role = json_member(&at, "role");
	struct json_at content = json_member(&at, "content");
	int r = 0;
	int rc = json_want_obj(&at, e);

	if (rc == 0)
		rc = json_want_enum(&role, roles, &r, e);
	if (rc < 0)
		return rc;
	if (json_kind(content.v) != JSON_STR && json_kind(content.v) != JSON_ARR)
		return json_fail(&content, e,
			content.present ? "Input should be a string or an array" : "Field required");
	bool last = i + 1 == json_len(messages->v);
	bool empty = json_kind(content.v) == JSON_STR ? json_str(content.v, STR_NULL).n == 0
						      : json_len(content.v) == 0;

	if (empty && !(r == 1 && last))
		return json_fail(&at, e, "all messages must have non-empty content");
	return r == 1 ? check_uses(messages, i, e) : check_results(messages, i, e);
}

static int
check_request(const struct json_at *root, struct err *e)
{
	struct json_at model = json_member(root, "model"), max = json_member(root, "max_tokens");
	struct json_at messages = json_member(root, "messages"), stream = json_member(root, "stream");
	struct str name;
	int64_t tokens;
	size_t n = 0;
	bool on;
	int rc = json_want_obj(root, e);

	if (rc == 0)
		rc = json_want_str(&model, 1, 256, &name, e);
	if (rc == 0)
		rc = json_want_int(&max, 1, INT32_MAX, &tokens, e);
	if (rc == 0 && json_set(&stream))
		rc = json_want_bool(&stream, &on, e);
	if (rc == 0)
		rc = json_want_arr(&messages, 100000, &n, e);
	if (rc == 0 && n == 0)
		rc = json_fail(&messages, e, "at least one message is required");
	for (size_t i = 0; rc == 0 && i < n; i++)
		rc = check_message(&messages, i, e);
	return rc;
}

/* ---- reading ---- */

static bool
is_user(const struct json_t *message)
{
	return str_eqz(json_get_str(message, "role"), "user");
}

static bool
has_text(const struct json_t *message)
{
	const struct json_t *content = json_get(message, "content");
	bool found = json_kind(content) == JSON_STR;

	for (size_t i = 0; !found && i < json_len(content); i++)
		found = is_type(json_at(content, i), "text");
	return found;
}

/* The index of the newest user message with a text, or n. */
static size_t
newest_text(const struct json_t *messages, size_t n)
{
	for (size_t i = n; i-- > 0;)
		if (is_user(json_at(messages, i)) && has_text(json_at(messages, i)))
			return i;
	return n;
}

/* Sets the script and returns the index of the message it belongs to: the one it stands in, or, for a script
 * in the system prompt, the newest with a text, so that it is played anew for each. */
static size_t
locate(const struct json_t *request, const struct json_t *messages, struct conversation *c)
{
	size_t n = json_len(messages);

	for (size_t i = n; i-- > 0;)
		if (is_user(json_at(messages, i)) &&
			find_script(json_get(json_at(messages, i), "content"), &c->script)) {
			c->has_script = true;
			return i;
		}
	c->has_script = find_script(json_get(request, "system"), &c->script);
	return newest_text(messages, n);
}

static void
count_turns(const struct json_t *messages, size_t from, struct arena *a, struct conversation *c)
{
	for (size_t i = from; i < json_len(messages); i++) {
		const struct json_t *m = json_at(messages, i);

		if (is_user(m))
			continue;
		c->position++;
		if (str_starts(text_of(json_get(m, "content"), a), STR(PUPPET_FAILED)))
			c->failed = true;
	}
}

static void
take_results(const struct json_t *messages, struct arena *a, struct conversation *c)
{
	const struct json_t *last = json_at(messages, json_len(messages) - 1);
	const struct json_t *content = json_get(last, "content");

	for (size_t i = 0; json_kind(content) == JSON_ARR && i < json_len(content); i++) {
		const struct json_t *b = json_at(content, i);

		if (!is_type(b, "tool_result") || c->n_results == CONVERSATION_RESULTS_MAX)
			continue;
		c->results[c->n_results++] = (struct tool_result){
			.text = text_of(json_get(b, "content"), a),
			.is_error = json_bool(json_get(b, "is_error"), false),
		};
	}
}

int
conversation_read(const struct json_t *request, struct arena *a, struct conversation *c, struct err *e)
{
	struct json_at root = json_root(request);
	int rc = check_request(&root, e);

	if (rc < 0)
		return rc;
	const struct json_t *messages = json_get(request, "messages");
	size_t n = json_len(messages);

	*c = (struct conversation){
		.model = json_get_str(request, "model"),
		.stream = json_bool(json_get(request, "stream"), false),
	};
	size_t from = locate(request, messages, c);
	size_t newest = newest_text(messages, n);

	if (newest < n)
		c->last_text = text_of(json_get(json_at(messages, newest), "content"), a);
	c->text_is_script = c->has_script && from == newest;
	count_turns(messages, from < n ? from : 0, a, c);
	take_results(messages, a, c);
	return arena_check(a, e);
}
