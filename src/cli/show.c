/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/show.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/limits.h"

#define LINE_MAX_CHARS 160
#define LABEL          "%-9s "

static const char *
colour(const struct show *s, const char *code)
{
	return s->colour ? code : "";
}

#define DIM   colour(s, "\033[2m")
#define BOLD  colour(s, "\033[1m")
#define GREEN colour(s, "\033[32m")
#define RED   colour(s, "\033[31m")
#define BLUE  colour(s, "\033[36m")
#define RESET colour(s, "\033[0m")

void
show_init(struct show *s, bool json)
{
	*s = (struct show){.json = json, .lines = 6};
	s->colour = !json && isatty(STDOUT_FILENO) == 1 && getenv("NO_COLOR") == NULL;
}

/* ---- text ---- */

static uint32_t
code_point(struct str seq)
{
	uint32_t c = (unsigned char)seq.p[0] & (0xffu >> (seq.n + 1));
	for (size_t i = 1; i < seq.n; i++)
		c = c << 6 | ((unsigned char)seq.p[i] & 0x3fu);
	return c;
}

/* Beyond ASCII: C1 controls, line separators, and what turns the direction of writing, so that a line shows
 * another order than it has. */
static bool
is_hidden(uint32_t c)
{
	return (c >= 0x80 && c < 0xa0) || c == 0x200e || c == 0x200f || (c >= 0x2028 && c <= 0x202e) ||
	       (c >= 0x2066 && c <= 0x2069);
}

/* What a terminal would act on becomes visible, and so does what is not UTF-8: a terminal that is not set to
 * UTF-8 acts on single bytes. */
static void
put_safe(struct str s)
{
	while (s.n > 0) {
		size_t n = str_utf8_seq(s);
		unsigned char c = (unsigned char)s.p[0];
		if (n == 1 && c == '\t')
			fputc(' ', stdout);
		else if (n == 0 || (n == 1 && (c < 0x20 || c == 0x7f)))
			printf("\\x%02x", c);
		else if (n > 1 && is_hidden(code_point(str_sub(s, 0, n))))
			printf("\\u%04x", (unsigned)code_point(str_sub(s, 0, n)));
		else
			fwrite(s.p, 1, n, stdout);
		s = str_sub(s, n > 0 ? n : 1, s.n);
	}
}

/* At most `max` bytes, not in the middle of a character. */
static struct str
head(struct str s, size_t max)
{
	if (s.n <= max)
		return s;
	while (max > 0 && ((unsigned char)s.p[max] & 0xc0) == 0x80)
		max--;
	return str_sub(s, 0, max);
}

/* One line, cut when it is long. */
static void
put_line(struct str line, bool cut)
{
	put_safe(head(line, LINE_MAX_CHARS));
	puts(cut || line.n > LINE_MAX_CHARS ? " …" : "");
}

void
show_text(struct str text, const char *prefix, size_t lines)
{
	size_t total = 0;
	while (text.n > 0 && text.p[text.n - 1] == '\n')
		text.n--;
	for (struct str rest = text; rest.p != NULL; (void)str_next(&rest, '\n'))
		total++;
	for (size_t i = 0; i < lines && text.p != NULL; i++) {
		struct str line = str_next(&text, '\n');
		fputs(prefix, stdout);
		put_line(line, false);
	}
	if (total > lines)
		printf("%s… %zu more lines\n", prefix, total - lines);
}

static struct str
first_text(const struct json_t *event)
{
	const struct json_t *content = json_get(event, "content");
	for (size_t i = 0; i < json_len(content); i++) {
		struct str t = json_get_str(json_at(content, i), "text");
		if (t.p != NULL)
			return t;
	}
	return STR("");
}

/* ---- kinds ---- */

/* The telling member of a tool's input, else the whole input as JSON. */
static void
show_input(const struct json_t *input)
{
	static const char *const telling[] = {"command", "file_path", "pattern", NULL};
	for (size_t i = 0; telling[i] != NULL; i++) {
		struct str v = json_get_str(input, telling[i]);
		if (v.p != NULL) {
			struct str line = str_next(&v, '\n');
			put_line(line, v.p != NULL);
			return;
		}
	}
	struct buf b;
	buf_init(&b, 64 * KIB);
	json_dump(&b, input);
	put_line(buf_str(&b), false);
	buf_done(&b);
}

static uint64_t
event_time(const struct json_t *event)
{
	uint64_t us = 0;
	struct str at = json_get_str(event, "processed_at");
	return at.p != NULL && time_parse(at, &us, NULL) == 0 ? us : 0;
}

static void
show_tool_use(struct show *s, const struct json_t *event)
{
	struct str name = json_get_str(event, "name");
	s->tool_calls++;
	if (s->n_tools < SHOW_TOOLS) {
		struct show_tool *t = &s->tools[s->n_tools++];
		*t = (struct show_tool){.id = id_from(json_get_str(event, "id")), .at_us = event_time(event)};
		(void)str_copy_z(head(name, sizeof(t->name) - 1), t->name, sizeof(t->name));
	}
	if (s->quiet)
		return;
	printf("%s", BLUE);
	put_safe(head(name, 40));
	printf("%*s%s", name.n < 10 ? (int)(10 - name.n) : 1, "", RESET);
	show_input(json_get(event, "input"));
}

/* The call that this result answers is no longer waiting. */
static struct show_tool
take_tool(struct show *s, struct str id)
{
	for (size_t i = 0; i < s->n_tools; i++) {
		if (!str_eq(id_str(&s->tools[i].id), id))
			continue;
		struct show_tool found = s->tools[i];
		s->tools[i] = s->tools[--s->n_tools];
		return found;
	}
	return (struct show_tool){.at_us = UINT64_MAX};
}

static void
show_tool_result(struct show *s, const struct json_t *event)
{
	bool failed = json_bool(json_get(event, "is_error"), false);
	struct show_tool t = take_tool(s, json_get_str(event, "tool_use_id"));
	uint64_t now_us = event_time(event);
	s->tool_errors += failed;
	if (s->quiet)
		return;
	printf("%s", DIM);
	show_text(first_text(event), "          │ ", s->lines);
	printf("          └ %s%s%s %s", failed ? RED : GREEN, failed ? "error" : "ok", RESET, DIM);
	put_safe(str_z(t.name));
	printf(" %.2f s%s\n", now_us > t.at_us ? (double)(now_us - t.at_us) / 1e6 : 0, RESET);
}

static void
show_idle(struct show *s, const struct json_t *event)
{
	static const struct {
		const char *name;
		struct str value;
	} reasons[] = {
		{"end_turn", STR("end_turn")},
		{"requires_action", STR("requires_action")},
		{"retries_exhausted", STR("retries_exhausted")},
		{"budget_reached", STR("budget_reached")},
		{"refusal", STR("refusal")},
	};
	struct str type = json_get_str(json_get(event, "stop_reason"), "type");
	s->stop = STR("unknown");
	for (size_t i = 0; i < ARRAY_LEN(reasons); i++) {
		if (str_eqz(type, reasons[i].name))
			s->stop = reasons[i].value;
	}
	if (!s->quiet)
		printf("%s" LABEL "%.*s%s\n", DIM, "idle", STRF(s->stop), RESET);
}

static void
show_span_end(struct show *s, const struct json_t *event)
{
	const struct json_t *u = json_get(event, "model_usage");
	s->model_requests++;
	s->input_tokens += (uint64_t)json_get_int(u, "input_tokens", 0);
	s->output_tokens += (uint64_t)json_get_int(u, "output_tokens", 0);
}

static void
show_message(struct show *s, const struct json_t *event)
{
	s->messages++;
	if (s->quiet)
		return;
	printf("%sagent%s\n", BOLD, RESET);
	show_text(first_text(event), "  ", 200);
}

static void
show_error(struct show *s, const struct json_t *event)
{
	const struct json_t *err = json_get(event, "error");
	struct str retry = json_get_str(json_get(err, "retry_status"), "type");
	if (s->quiet)
		return;
	printf("%s" LABEL "%s", RED, "error", RESET);
	put_safe(json_get_str(err, "type"));
	fputs(" (", stdout);
	put_safe(head(retry, 40));
	fputs("): ", stdout);
	put_safe(head(json_get_str(err, "message"), 500));
	puts("");
}

static void
show_other(struct show *s, const struct json_t *event, struct str type)
{
	struct str at = json_get_str(event, "processed_at");
	if (s->quiet || str_starts(type, STR("span.")) || str_starts(type, STR("session.thread_status")) ||
		str_eqz(type, "session.usage"))
		return;
	if (str_eqz(type, "user.message") && at.p == NULL)
		return;
	if (str_eqz(type, "user.message")) {
		printf("%syou%s\n", BOLD, RESET);
		show_text(first_text(event), "  ", 6);
		return;
	}
	fputs(DIM, stdout);
	put_safe(head(type, 60));
	puts(RESET);
}

static void
show_kind(struct show *s, const struct json_t *event, struct str type)
{
	if (str_eqz(type, "agent.message"))
		show_message(s, event);
	else if (str_eqz(type, "agent.tool_use") || str_eqz(type, "agent.custom_tool_use"))
		show_tool_use(s, event);
	else if (str_eqz(type, "agent.tool_result"))
		show_tool_result(s, event);
	else if (str_eqz(type, "session.status_idle"))
		show_idle(s, event);
	else if (str_eqz(type, "session.error"))
		show_error(s, event);
	else
		show_other(s, event, type);
}

void
show_event(struct show *s, const struct json_t *event)
{
	struct str type = json_get_str(event, "type");
	if (str_starts(type, STR("event_")))
		return;
	s->events++;
	s->stop = STR_NULL;
	if (str_eqz(type, "span.model_request_end"))
		show_span_end(s, event);
	if (s->json) {
		struct buf b;
		buf_init(&b, LIM_EVENT_BODY);
		json_dump(&b, event);
		printf("%.*s\n", STRF(buf_str(&b)));
		buf_done(&b);
		s->quiet = true;
		show_kind(s, event, type);
	} else {
		show_kind(s, event, type);
	}
	if (str_eqz(type, "session.status_terminated") || str_eqz(type, "session.deleted"))
		s->stop = STR("terminated");
	fflush(stdout);
}

bool
show_finished(const struct show *s)
{
	return s->stop.p != NULL && !str_eqz(s->stop, "requires_action");
}
