/* SPDX-License-Identifier: Apache-2.0 */
#include "puppet/script.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/buf.h"
#include "base/json.h"

#define ALWAYS UINT64_MAX

/* ---- parsing ---- */

struct parser {
	struct str rest;
	struct arena *a;
	struct step *steps;
	size_t n, cap;
	size_t line; /* of what was read last */
	size_t open[SCRIPT_LOOPS_MAX];
	size_t n_open;
	struct err *e;
};

static int fail(const struct parser *p, const char *fmt, ...) PRINTF_FMT(2, 3);

static int
fail(const struct parser *p, const char *fmt, ...)
{
	char text[160];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	return err_set(p->e, ERR_INVALID, "line %zu: %s", p->line, text);
}

static bool
read_line(struct parser *p, struct str *out)
{
	if (!p->rest.p)
		return false;
	*out = str_next(&p->rest, '\n');
	if (out->n && out->p[out->n - 1] == '\r')
		out->n--;
	p->line++;
	return true;
}

/* Cuts the next word off. */
static struct str
word(struct str *s)
{
	*s = str_trim(*s);
	size_t n = 0;

	while (n < s->n && s->p[n] != ' ' && s->p[n] != '\t')
		n++;
	struct str w = str_sub(*s, 0, n);

	*s = str_trim(str_sub(*s, n, s->n));
	return w;
}

/* The lines up to the one that is `tag`, joined by newlines; the last one without. */
static int
heredoc(struct parser *p, struct str tag, struct str *out)
{
	const char *from = p->rest.p;
	size_t start = p->line;
	struct str line;

	if (!tag.n)
		return fail(p, "<< needs a word");
	while (read_line(p, &line)) {
		if (!str_eq(str_trim(line), tag))
			continue;
		size_t n = (size_t)(line.p - from);

		*out = str_n(from, n ? n - 1 : 0);
		return 0;
	}
	p->line = start;
	return fail(p, "there is no line %.*s below", STRF(str_sub(tag, 0, 40)));
}

/* A JSON string in quotes. */
static int
quoted(struct parser *p, struct str text, struct str *out)
{
	AUTO(json) struct json_t *v = NULL;
	AUTO(buf) struct buf wrapped = {0};
	struct err why = {0};

	/* Only documents whose root is an array or object are JSON to every parser. */
	buf_init(&wrapped, SCRIPT_TEXT_MAX + 16);
	buf_put_c(&wrapped, '[');
	buf_put_str(&wrapped, text);
	buf_put_c(&wrapped, ']');
	if (json_parse(buf_str(&wrapped), &v, &why) < 0 || json_len(v) != 1 ||
		json_kind(json_at(v, 0)) != JSON_STR)
		return fail(p, "the text in quotes is not a JSON string");
	*out = arena_dup(p->a, json_str(json_at(v, 0), STR_NULL));
	return 0;
}

/* Text of a step: the rest of the line as it is, a JSON string, or a heredoc. */
static int
text_arg(struct parser *p, struct str rest, struct str *out)
{
	rest = str_trim(rest);
	if (str_starts(rest, STR("<<")))
		return heredoc(p, str_trim(str_sub(rest, 2, rest.n)), out);
	if (str_starts(rest, STR("\"")))
		return quoted(p, rest, out);
	*out = rest;
	return 0;
}

static int
number(struct parser *p, struct str w, const char *what, uint64_t *out)
{
	return str_to_u64(w, out) ? 0 : fail(p, "%s must be a number", what);
}

/* An optional number; "always" is the largest one. */
static int
attempts(struct parser *p, struct str *rest, uint64_t *out)
{
	struct str w = word(rest);

	*out = 1;
	if (!w.n)
		return 0;
	if (str_eqz(w, "always")) {
		*out = ALWAYS;
		return 0;
	}
	return number(p, w, "the number of attempts", out);
}

/* ---- one function a shape of arguments ---- */

static int
take_text(struct parser *p, struct str rest, struct step *s)
{
	int rc = text_arg(p, rest, &s->text);

	return rc == 0 && !s->text.n ? fail(p, "there is no text") : rc;
}

/* [NUMBER] TEXT: a number counts only with quotes behind it, so that a text may begin with one. */
static int
take_expect(struct parser *p, struct str rest, struct step *s)
{
	struct str after = rest;
	struct str w = word(&after);
	uint64_t n;

	if (str_to_u64(w, &n) && (str_starts(after, STR("\"")) || str_starts(after, STR("<<")))) {
		s->a = n;
		rest = after;
	}
	int rc = text_arg(p, rest, &s->text);

	if (rc == 0 && !s->text.n && s->kind != STEP_EXPECT_ERROR)
		return fail(p, "there is no text to look for");
	return rc;
}

static int
check_input(struct parser *p, const struct step *s)
{
	AUTO(json) struct json_t *v = NULL;
	struct err why = {0};

	/* Placeholders may stand where JSON allows none. */
	if (str_find_str(s->text, STR("{{")) != s->text.n)
		return 0;
	if (json_parse(s->text, &v, &why) < 0)
		return fail(p, "the input is no JSON: %.100s", why.msg);
	return json_kind(v) == JSON_OBJ ? 0 : fail(p, "the input must be a JSON object");
}

static int
take_call(struct parser *p, struct str rest, struct step *s)
{
	s->name = word(&rest);
	if (!s->name.n)
		return fail(p, "call needs the name of a tool");
	s->text = STR("{}");
	if (!rest.n)
		return 0;
	/* A quoted text would be a JSON string, which is no input: taken as it is. */
	int rc = str_starts(rest, STR("<<")) ? text_arg(p, rest, &s->text) : 0;

	if (rc == 0 && !str_starts(rest, STR("<<")))
		s->text = rest;
	return rc < 0 ? rc : check_input(p, s);
}

/* "bash COMMAND" is short for call bash {"command": …}. */
static int
take_bash(struct parser *p, struct str rest, struct step *s)
{
	struct str command;
	AUTO(buf) struct buf b = {0};
	int rc = text_arg(p, rest, &command);

	if (rc < 0)
		return rc;
	if (!command.n)
		return fail(p, "bash needs a command");
	buf_init(&b, 2 * SCRIPT_TEXT_MAX);
	buf_put_z(&b, "{\"command\":");
	json_escape(&b, command);
	buf_put_c(&b, '}');
	if (b.fail)
		return fail(p, "the command is too long");
	s->name = STR("bash");
	s->text = arena_dup(p->a, buf_str(&b));
	return 0;
}

static int
take_error(struct parser *p, struct str rest, struct step *s)
{
	int rc = number(p, word(&rest), "the status", &s->a);

	if (rc == 0 && (s->a < 400 || s->a > 599))
		return fail(p, "the status must be 400 to 599");
	return rc < 0 ? rc : attempts(p, &rest, &s->b);
}

/* EVENTS [ATTEMPTS] */
static int
take_cut(struct parser *p, struct str rest, struct step *s)
{
	int rc = number(p, word(&rest), "the number of events", &s->a);

	return rc < 0 ? rc : attempts(p, &rest, &s->b);
}

/* TYPE EVENTS [ATTEMPTS] */
static int
take_fail(struct parser *p, struct str rest, struct step *s)
{
	s->name = word(&rest);
	if (!s->name.n)
		return fail(p, "fail needs an error type such as overloaded_error");
	return take_cut(p, rest, s);
}

static int
take_attempts(struct parser *p, struct str rest, struct step *s)
{
	return attempts(p, &rest, &s->b);
}

/* MS [ATTEMPTS], at most ten minutes. */
static int
take_ms(struct parser *p, struct str rest, struct step *s)
{
	int rc = number(p, word(&rest), "the time in ms", &s->a);

	if (rc == 0 && s->a > 600000)
		return fail(p, "the time is over 600000 ms");
	s->b = ALWAYS;
	return rc < 0 || !rest.n ? rc : attempts(p, &rest, &s->b);
}

static int
take_tokens(struct parser *p, struct str rest, struct step *s)
{
	int rc = number(p, word(&rest), "the input tokens", &s->a);

	if (rc == 0)
		rc = number(p, word(&rest), "the output tokens", &s->b);
	if (rc == 0 && (s->a > INT32_MAX || s->b > INT32_MAX))
		return fail(p, "too many tokens");
	return rc;
}

static int
take_stop(struct parser *p, struct str rest, struct step *s)
{
	static const char *const reasons[] = {"end_turn", "max_tokens", "stop_sequence", "refusal",
		"pause_turn", "tool_use", "model_context_window_exceeded"};

	s->name = word(&rest);
	for (size_t i = 0; i < ARRAY_LEN(reasons); i++)
		if (str_eqz(s->name, reasons[i]))
			return 0;
	return fail(p, "there is no stop reason \"%.*s\"", STRF(str_sub(s->name, 0, 40)));
}

static int
take_repeat(struct parser *p, struct str rest, struct step *s)
{
	int rc = number(p, word(&rest), "the number of times", &s->a);

	if (rc < 0)
		return rc;
	if (s->a > SCRIPT_TIMES_MAX)
		return fail(p, "at most %d times", SCRIPT_TIMES_MAX);
	if (p->n_open == SCRIPT_LOOPS_MAX)
		return fail(p, "more than %d loops inside each other", SCRIPT_LOOPS_MAX);
	p->open[p->n_open++] = p->n;
	return 0;
}

static int
take_end(struct parser *p, struct str rest, struct step *s)
{
	(void)rest;
	if (!p->n_open)
		return fail(p, "end without repeat");
	s->mate = p->open[--p->n_open];
	p->steps[s->mate].mate = p->n;
	return 0;
}

static int
take_nothing(struct parser *p, struct str rest, struct step *s)
{
	(void)p;
	(void)rest;
	(void)s;
	return 0;
}

static const struct form {
	const char *name;
	enum step_kind kind;
	int (*take)(struct parser *p, struct str rest, struct step *s);
} forms[] = {
	{"say", STEP_SAY, take_text},
	{"think", STEP_THINK, take_text},
	{"call", STEP_CALL, take_call},
	{"bash", STEP_CALL, take_bash},
	{"---", STEP_BREAK, take_nothing},
	{"expect", STEP_EXPECT, take_expect},
	{"expect-not", STEP_EXPECT_NOT, take_expect},
	{"expect-error", STEP_EXPECT_ERROR, take_expect},
	{"error", STEP_ERROR, take_error},
	{"retry-after", STEP_RETRY_AFTER, take_ms},
	{"cut", STEP_CUT, take_cut},
	{"fail", STEP_FAIL, take_fail},
	{"garbage", STEP_GARBAGE, take_attempts},
	{"delay", STEP_DELAY, take_ms},
	{"stall", STEP_STALL, take_ms},
	{"tokens", STEP_TOKENS, take_tokens},
	{"stop", STEP_STOP, take_stop},
	{"repeat", STEP_REPEAT, take_repeat},
	{"end", STEP_END, take_end},
};

static struct step *
new_step(struct parser *p)
{
	if (p->n == p->cap) {
		size_t cap = p->cap ? p->cap * 2 : 16;
		struct step *more = arena_alloc_n(p->a, cap, sizeof(*more));

		if (!more)
			return NULL;
		if (p->n)
			memcpy(more, p->steps, p->n * sizeof(*more));
		p->steps = more;
		p->cap = cap;
	}
	return &p->steps[p->n];
}

static int
parse_step(struct parser *p, struct str line)
{
	bool joined = str_starts(line, STR("&"));
	struct str rest = joined ? str_sub(line, 1, line.n) : line;
	struct str name = word(&rest);
	struct step *s = new_step(p);

	if (!s)
		return arena_check(p->a, p->e);
	if (p->n >= SCRIPT_STEPS_MAX)
		return fail(p, "more than %d steps", SCRIPT_STEPS_MAX);
	*s = (struct step){.line = p->line, .joined = joined};
	for (size_t i = 0; i < ARRAY_LEN(forms); i++) {
		if (!str_eqz(name, forms[i].name))
			continue;
		s->kind = forms[i].kind;
		if (joined && s->kind != STEP_CALL)
			return fail(p, "only a call can be joined with &");
		int rc = forms[i].take(p, rest, s);

		p->n += rc == 0;
		return rc;
	}
	return fail(p, "there is no step \"%.*s\"", STRF(str_sub(name, 0, 40)));
}

int
script_parse(struct str text, struct arena *a, struct script *out, struct err *e)
{
	struct parser p = {.rest = text, .a = a, .e = e};
	struct str line;

	if (text.n > SCRIPT_TEXT_MAX)
		return err_set(e, ERR_TOO_LARGE, "the script is over %d bytes", SCRIPT_TEXT_MAX);
	while (read_line(&p, &line)) {
		line = str_trim(line);
		if (str_eqz(line, "#end"))
			break;
		if (!line.n || line.p[0] == '#')
			continue;
		int rc = parse_step(&p, line);

		if (rc < 0)
			return rc;
	}
	if (p.n_open) {
		p.line = p.steps[p.open[p.n_open - 1]].line;
		return fail(&p, "repeat without end");
	}
	*out = (struct script){p.steps, p.n};
	return arena_check(a, e);
}

/* ---- walking ---- */

struct walk {
	const struct script *s;
	struct arena *a;
	size_t pc;
	struct loop_state {
		size_t at; /* of the REPEAT */
		uint64_t i;
	} loops[SCRIPT_LOOPS_MAX];
	size_t depth;
	size_t left; /* steps that may still be passed */
	struct played *steps;
	size_t n, cap;
	bool keep;       /* this is the response wanted */
	bool calls, any; /* the present response has calls, has anything */
};

/* The next step that is no loop bracket; NULL at the end. */
static const struct step *
next_step(struct walk *w)
{
	while (w->pc < w->s->n && w->left) {
		const struct step *s = &w->s->steps[w->pc];

		w->left--;
		if (s->kind == STEP_REPEAT) {
			if (s->a == 0) {
				w->pc = s->mate + 1;
				continue;
			}
			w->loops[w->depth++] = (struct loop_state){w->pc++, 1};
		} else if (s->kind == STEP_END) {
			struct loop_state *k = &w->loops[w->depth - 1];

			if (k->i++ < w->s->steps[k->at].a) {
				w->pc = k->at + 1;
			} else {
				w->depth--;
				w->pc++;
			}
		} else {
			return s;
		}
	}
	return NULL;
}

static int
keep_step(struct walk *w, const struct step *s, struct err *e)
{
	if (w->n == w->cap) {
		size_t cap = w->cap ? w->cap * 2 : 8;
		struct played *more = arena_alloc_n(w->a, cap, sizeof(*more));

		if (!more)
			return arena_check(w->a, e);
		if (w->n)
			memcpy(more, w->steps, w->n * sizeof(*more));
		w->steps = more;
		w->cap = cap;
	}
	w->steps[w->n++] = (struct played){s, w->depth ? w->loops[w->depth - 1].i : 0};
	return 0;
}

/* Passes one response, keeping its steps when w->keep. */
static int
pass_response(struct walk *w, struct err *e)
{
	const struct step *s;

	w->calls = w->any = false;
	while ((s = next_step(w))) {
		if (w->calls && !s->joined)
			break;
		w->pc++;
		if (s->kind == STEP_BREAK && w->any)
			break;
		if (s->kind == STEP_BREAK)
			continue;
		w->any = true;
		w->calls = s->kind == STEP_CALL;
		if (w->keep && keep_step(w, s, e) < 0)
			return -(int)e->kind;
	}
	if (!w->left)
		return err_set(e, ERR_TOO_LARGE, "the script has more than %d steps with its loops",
			SCRIPT_WALK_MAX);
	return 0;
}

int
script_response(const struct script *s, size_t position, struct arena *a, struct response *out, struct err *e)
{
	struct walk w = {.s = s, .a = a, .left = SCRIPT_WALK_MAX};
	struct err own;

	if (!e)
		e = &own;
	for (size_t i = 0; i <= position; i++) {
		w.keep = i == position;
		int rc = pass_response(&w, e);

		if (rc < 0)
			return rc;
		if (!w.any)
			break;
	}
	*out = (struct response){w.steps, w.n, !w.any};
	return 0;
}
