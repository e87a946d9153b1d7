/* SPDX-License-Identifier: Apache-2.0 */
/* Events as text: nothing that an agent or a tool says reaches the terminal as a command. */
#include "unit.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/limits.h"
#include "cli/show.h"

/* What is printed between the two. */
struct printed {
	int memory, stdout_was;
	struct buf text;
};

static void
capture(struct printed *p)
{
	fflush(stdout);
	p->memory = memfd_create("stdout", MFD_CLOEXEC);
	p->stdout_was = fcntl(STDOUT_FILENO, F_DUPFD_CLOEXEC, 3);
	assert_true(p->memory >= 0 && p->stdout_was >= 0);
	assert_int_equal(dup2(p->memory, STDOUT_FILENO), STDOUT_FILENO);
}

static void
release(struct printed *p)
{
	fflush(stdout);
	assert_int_equal(dup2(p->stdout_was, STDOUT_FILENO), STDOUT_FILENO);
	buf_init(&p->text, 1 * MIB);
	ssize_t n = pread(p->memory, buf_reserve(&p->text, 64 * KIB), 64 * KIB, 0);
	assert_true(n >= 0);
	p->text.n = (size_t)n;
	close(p->memory);
	close(p->stdout_was);
}

#define assert_printed(want, ...)                    \
	do {                                         \
		struct printed p_;                   \
		capture(&p_);                        \
		__VA_ARGS__;                         \
		release(&p_);                        \
		assert_str(buf_str(&p_.text), want); \
		buf_done(&p_.text);                  \
	} while (0)

static void
event(struct show *s, const char *json)
{
	struct json_t *v = NULL;
	struct err e = {0};
	if (json_parse(str_z(json), &v, &e) < 0)
		fail_msg("%s: %s", json, e.msg);
	show_event(s, v);
	json_free(v);
}

static void
escapes_controls(void **state)
{
	(void)state;
	assert_printed("> a\\x1b[2Jb\\x07\\x0d\n", show_text(STR("a\033[2Jb\a\r"), "> ", 5));
	assert_printed("a b\\x7f\n", show_text(STR("a\tb\x7f"), "", 5));
	assert_printed("\\x00x\n", show_text(str_n("\0x", 2), "", 5));
	/* U+009B is a control sequence's beginning, as a character and as a byte */
	assert_printed("\\u009b31m\n", show_text(STR("\xc2\x9b"
						     "31m"),
					       "", 5));
	assert_printed("\\x9b31m\n", show_text(STR("\x9b"
						   "31m"),
					     "", 5));
	assert_printed("\\xc2\n", show_text(STR("\xc2"), "", 5));
	assert_printed("\\xff\\xfe\\xc0\\x80\n", show_text(STR("\xff\xfe\xc0\x80"), "", 5));
}

static void
keeps_text(void **state)
{
	(void)state;
	assert_printed("Grüße, 世界 🙂\n", show_text(STR("Grüße, 世界 🙂"), "", 5));
	/* what turns the direction of writing hides what a command does */
	assert_printed("rm \\u202e x\\u2066\n", show_text(STR("rm \u202e x\u2066"), "", 5));
}

static void
cuts_lines(void **state)
{
	(void)state;
	assert_printed("|a\n|b\n|… 2 more lines\n", show_text(STR("a\nb\nc\nd\n\n"), "|", 2));
	/* 159 bytes and a character of two: it does not fit whole */
	struct buf b, want;
	buf_init(&b, KIB);
	buf_init(&want, KIB);
	for (int i = 0; i < 159; i++)
		buf_put_c(&b, 'x');
	buf_put_str(&want, buf_str(&b));
	buf_put_z(&want, " …\n");
	buf_put_z(&b, "ä and more");
	buf_put_c(&want, '\0');
	assert_printed(want.p, show_text(buf_str(&b), "", 1));
	buf_done(&b);
	buf_done(&want);
}

static void
shows_a_turn(void **state)
{
	(void)state;
	struct show s;
	show_init(&s, false);
	s.colour = false;
	assert_printed(
		"you\n  Hi\n",
		event(&s, "{\"type\":\"user.message\",\"content\":[{\"type\":\"text\",\"text\":\"Hi\"}]}");
		event(&s,
			"{\"type\":\"user.message\",\"processed_at\":\"2026-01-01T00:00:00Z\",\"content\":[{"
			"\"type\":\"text\",\"text\":\"Hi\"}]}"));
	assert_printed(
		"bash      ls …\n          │ a\\x1bb\n          └ ok bash 1.50 s\n",
		event(&s,
			"{\"type\":\"agent.tool_use\",\"id\":\"t1\",\"name\":\"bash\",\"input\":{\"command\":"
			"\"ls\\nrm\"},\"processed_at\":\"2026-01-01T00:00:00Z\"}");
		event(&s, "{\"type\":\"agent.tool_result\",\"tool_use_id\":\"t1\",\"content\":[{\"type\":"
			  "\"text\","
			  "\"text\":\"a\\u001bb\"}],\"processed_at\":\"2026-01-01T00:00:01.5Z\"}"));
	assert_false(show_finished(&s));
	assert_printed("error     \\x1b[1m (\\x1b): \\u0085\n",
		event(&s, "{\"type\":\"session.error\",\"error\":{\"type\":\"\\u001b[1m\",\"message\":"
			  "\"\\u0085\","
			  "\"retry_status\":{\"type\":\"\\u001b\"}}}"));
	assert_printed("x\\x1b\n", event(&s, "{\"type\":\"x\\u001b\"}"));
	assert_printed("idle      end_turn\n",
		event(&s, "{\"type\":\"session.status_idle\",\"stop_reason\":{\"type\":\"end_turn\"}}"));
	assert_true(show_finished(&s));
	assert_int_equal(s.tool_calls, 1);
	assert_int_equal(s.n_tools, 0);
	assert_int_equal(s.events, 7);
}

static void
waits_for_confirmations(void **state)
{
	(void)state;
	struct show s;
	show_init(&s, false);
	s.colour = false;
	assert_printed("idle      requires_action\n",
		event(&s,
			"{\"type\":\"session.status_idle\",\"stop_reason\":{\"type\":\"requires_action\"}}"));
	assert_false(show_finished(&s));
	assert_printed("idle      unknown\n",
		event(&s, "{\"type\":\"session.status_idle\",\"stop_reason\":{\"type\":\"\\u001b\"}}"));
	assert_printed("session.deleted\n", event(&s, "{\"type\":\"session.deleted\"}"));
	assert_true(show_finished(&s));
}

/* Programs read JSON lines: there the text stays as it is, escaped by JSON. */
static void
prints_json(void **state)
{
	(void)state;
	struct show s;
	show_init(&s, true);
	assert_printed(
		"{\"type\":\"agent.message\",\"content\":[{\"type\":\"text\",\"text\":\"\\u001b\"}]}\n",
		event(&s, "{\"type\":\"agent.message\",\"content\":[{\"type\":\"text\",\"text\":\"\\u001b\"}]"
			  "}"));
	assert_int_equal(s.messages, 1);
	assert_printed("", event(&s, "{\"type\":\"event_delta\"}"));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(escapes_controls),
		cmocka_unit_test(keeps_text),
		cmocka_unit_test(cuts_lines),
		cmocka_unit_test(shows_a_turn),
		cmocka_unit_test(waits_for_confirmations),
		cmocka_unit_test(prints_json),
	};
	return cmocka_run_group_tests_name("show", tests, NULL, NULL);
}
