/* SPDX-License-Identifier: Apache-2.0 */
#include "puppet/answer.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

enum {
	QUOTE_MAX = 300, /* characters of what was seen instead of what was expected */
	BYTES_PER_TOKEN = 4,
};

static struct str say(struct arena *a, const char *fmt, ...) PRINTF_FMT(2, 3);

static struct str
say(struct arena *a, const char *fmt, ...)
{
	char text[2 * QUOTE_MAX + 512];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	return arena_dup(a, str_z(text));
}

/* At most `max` bytes, not cutting a character in two. */
static struct str
clip(struct str s, size_t max)
{
	if (s.n <= max)
		return s;
	while (max > 0 && ((unsigned char)s.p[max] & 0xc0) == 0x80)
		max--;
	return str_sub(s, 0, max);
}

static void
put_block(struct answer *m, enum block_kind kind, struct str name, struct str text)
{
	if (m->n < ANSWER_BLOCKS_MAX)
		m->blocks[m->n++] = (struct block){kind, name, text};
}

/* The answer becomes nothing but this text, and the turn ends. */
static void
fail_script(struct answer *m, struct str text)
{
	m->n = 0;
	put_block(m, BLOCK_TEXT, STR_NULL, text);
	m->stop_reason = STR("end_turn");
}

/* ---- placeholders ---- */

/* Replaces {{i}} and {{last}}; `json`: the text stands inside a JSON string. */
static struct str
fill(const struct conversation *c, const struct played *p, struct str text, bool json, struct arena *a)
{
	struct str last = c->n_results ? c->results[0].text : STR("");
	AUTO(buf) struct buf b = {0};

	if (str_find_str(text, STR("{{")) == text.n)
		return text;
	buf_init(&b, 8 * SCRIPT_TEXT_MAX);
	while (text.n) {
		size_t at = str_find_str(text, STR("{{"));

		buf_put_str(&b, str_sub(text, 0, at));
		text = str_sub(text, at, text.n);
		if (str_starts(text, STR("{{i}}"))) {
			buf_put_u64(&b, p->i);
			text = str_sub(text, 5, text.n);
		} else if (str_starts(text, STR("{{last}}"))) {
			size_t quote = b.n;

			if (json) {
				/* Without the quotes around it, which the script has. */
				json_escape(&b, clip(last, SCRIPT_TEXT_MAX));
				if (!b.fail) {
					memmove(b.p + quote, b.p + quote + 1, b.n - quote - 2);
					b.n -= 2;
				}
			} else {
				buf_put_str(&b, clip(last, SCRIPT_TEXT_MAX));
			}
			text = str_sub(text, 8, text.n);
		} else if (text.n) {
			buf_put_str(&b, str_sub(text, 0, 2));
			text = str_sub(text, 2, text.n);
		}
	}
	return b.fail ? STR("") : arena_dup(a, buf_str(&b));
}

/* ---- expectations ---- */

static bool
holds(struct str text, struct str part)
{
	return !part.n || str_find_str(text, part) < text.n;
}

static bool
any_result(const struct conversation *c, const struct step *s, struct str part)
{
	for (size_t i = 0; i < c->n_results; i++) {
		if (s->a && s->a != i + 1)
			continue;
		if (s->kind == STEP_EXPECT_ERROR && !c->results[i].is_error)
			continue;
		if (holds(c->results[i].text, part))
			return true;
	}
	return false;
}

/* True when it was met; else the answer says what was seen. */
static bool
check(const struct conversation *c, const struct played *p, struct arena *a, struct answer *m)
{
	const struct step *s = p->step;
	struct str part = fill(c, p, s->text, false, a);
	bool found = any_result(c, s, part);
	size_t shown = s->a && s->a <= c->n_results ? s->a - 1 : 0;

	if (c->n_results == 0) {
		fail_script(
			m, say(a, PUPPET_FAILED "line %zu expects the result of a tool, but there is none.",
				   s->line));
		return false;
	}
	if (found == (s->kind != STEP_EXPECT_NOT))
		return true;
	struct str seen = clip(c->results[shown].text, QUOTE_MAX);

	part = clip(part, QUOTE_MAX);
	fail_script(
		m, say(a, PUPPET_FAILED "line %zu expects %s\"%.*s\" in the tool result, which was%s: %.*s",
			   s->line,
			   s->kind == STEP_EXPECT_NOT     ? "no "
			   : s->kind == STEP_EXPECT_ERROR ? "an error with "
							  : "",
			   STRF(part), c->results[shown].is_error ? " an error" : "", STRF(seen)));
	return false;
}

/* ---- steps ---- */

/* False when its input is none. */
static bool
put_call(const struct conversation *c, const struct played *p, struct arena *a, struct answer *m)
{
	struct str input = fill(c, p, p->step->text, true, a);
	AUTO(json) struct json_t *v = NULL;

	if (json_parse(input, &v, NULL) < 0 || json_kind(v) != JSON_OBJ) {
		fail_script(m, say(a, PUPPET_FAILED "line %zu: the input of %.*s is no JSON object.",
				       p->step->line, STRF(clip(p->step->name, 60))));
		return false;
	}
	put_block(m, BLOCK_TOOL_USE, p->step->name, input);
	m->stop_reason = STR("tool_use");
	return true;
}

static void
apply_fault(const struct step *s, uint64_t attempt, struct answer *m)
{
	if (attempt >= s->b)
		return;
	if (s->kind == STEP_ERROR) {
		m->status = (int)s->a;
	} else if (s->kind == STEP_GARBAGE) {
		m->garbage = true;
	} else if (s->kind == STEP_STALL) {
		m->stall_ms = s->a;
	} else {
		m->cut = s->kind == STEP_CUT;
		m->fail = s->kind == STEP_FAIL ? s->name : STR("");
		m->events = s->a;
	}
}

/* What the other steps say about the message as a whole. */
static void
apply_setting(const struct step *s, struct answer *m)
{
	switch (s->kind) {
	case STEP_RETRY_AFTER:
		m->has_retry_after = true;
		m->retry_after_ms = s->a;
		return;
	case STEP_DELAY:
		m->delay_ms = s->a;
		return;
	case STEP_TOKENS:
		m->input_tokens = (int64_t)s->a;
		m->output_tokens = (int64_t)s->b;
		return;
	case STEP_STOP:
		m->stop_reason = s->name;
		return;
	case STEP_SAY:
	case STEP_THINK:
	case STEP_CALL:
	case STEP_EXPECT:
	case STEP_EXPECT_NOT:
	case STEP_EXPECT_ERROR:
	case STEP_ERROR:
	case STEP_CUT:
	case STEP_FAIL:
	case STEP_GARBAGE:
	case STEP_STALL:
	case STEP_BREAK:
	case STEP_REPEAT:
	case STEP_END:
		break;
	}
	UNREACHABLE();
}

/* False when the script ends here. */
static bool
apply(const struct conversation *c, const struct played *p, struct arena *a, struct answer *m)
{
	const struct step *s = p->step;

	if (s->kind == STEP_SAY)
		put_block(m, BLOCK_TEXT, STR_NULL, fill(c, p, s->text, false, a));
	else if (s->kind == STEP_THINK)
		put_block(m, BLOCK_THINKING, STR_NULL, fill(c, p, s->text, false, a));
	else if (s->kind == STEP_CALL)
		return put_call(c, p, a, m);
	else if (s->kind == STEP_EXPECT || s->kind == STEP_EXPECT_NOT || s->kind == STEP_EXPECT_ERROR)
		return check(c, p, a, m);
	else if (s->kind == STEP_ERROR || s->kind == STEP_CUT || s->kind == STEP_FAIL ||
		 s->kind == STEP_GARBAGE || s->kind == STEP_STALL)
		apply_fault(s, c->attempt, m);
	else
		apply_setting(s, m);
	return true;
}

/* ---- without a script ---- */

static void
chat(const struct conversation *c, struct arena *a, struct answer *m)
{
	struct str text = clip(str_trim(c->last_text), QUOTE_MAX);

	if (c->failed)
		fail_script(m, STR("The script failed before; start another one with a line #puppet."));
	else if (c->has_script && c->text_is_script)
		fail_script(m, STR("The script is over."));
	else if (!text.n)
		fail_script(m, STR("Hello! I am the puppet, a scripted model. Put a line #puppet and steps "
				   "below it into a "
				   "message, and I will play them."));
	else
		fail_script(
			m, say(a, "Hello! I am the puppet, a scripted model. You said: %.*s", STRF(text)));
}

static void
count_tokens(const struct conversation *c, struct answer *m)
{
	size_t bytes = 0;

	for (size_t i = 0; i < m->n; i++)
		bytes += m->blocks[i].text.n + m->blocks[i].name.n;
	if (m->input_tokens < 0)
		m->input_tokens = (int64_t)(c->request_bytes / BYTES_PER_TOKEN + 1);
	if (m->output_tokens < 0)
		m->output_tokens = (int64_t)(bytes / BYTES_PER_TOKEN + 1);
}

static int
play(const struct conversation *c, struct arena *a, struct answer *m, struct err *e)
{
	struct script script;
	struct response r = {0};
	struct err why = {0};
	int rc = script_parse(c->script, a, &script, &why);

	if (rc == 0)
		rc = script_response(&script, c->position, a, &r, &why);
	if (rc == -ERR_INVALID || rc == -ERR_TOO_LARGE) {
		fail_script(m, say(a, PUPPET_FAILED "%s", why.msg));
		return 0;
	}
	if (rc < 0) {
		*e = why;
		return rc;
	}
	if (r.over)
		chat(c, a, m);
	for (size_t i = 0; i < r.n; i++)
		if (!apply(c, &r.steps[i], a, m))
			break;
	return 0;
}

int
answer_make(const struct conversation *c, struct arena *a, struct answer *out, struct err *e)
{
	struct err own;
	int rc = 0;

	memset(out, 0, sizeof(*out));
	out->model = c->model;
	out->stop_reason = STR("end_turn");
	out->input_tokens = out->output_tokens = -1;
	if (c->has_script && !c->failed)
		rc = play(c, a, out, e ? e : &own);
	else
		chat(c, a, out);
	if (rc < 0)
		return rc;
	count_tokens(c, out);
	return arena_check(a, e);
}
