/* SPDX-License-Identifier: Apache-2.0 */
/* Scripts, conversations and answers of the puppet, from request text to bytes. */
#include "unit.h"

#include "base/arena.h"
#include "base/json.h"
#include "base/limits.h"
#include "io/sse.h"
#include "puppet/answer.h"
#include "puppet/conversation.h"
#include "puppet/script.h"

/* One request played: everything lives in the arena. */
struct played_request {
	struct arena *a;
	struct json_t *request;
	struct conversation c;
	struct answer m;
	struct err e;
	int rc;
};

static void
play_text(struct played_request *p, struct str text, uint64_t attempt)
{
	memset(p, 0, sizeof(*p));
	p->a = arena_new(LIM_REQ_ARENA);
	p->rc = json_parse(text, &p->request, &p->e);
	assert_int_equal(p->rc, 0);
	p->rc = conversation_read(p->request, p->a, &p->c, &p->e);
	p->c.attempt = attempt;
	p->c.request_bytes = text.n;
	if (p->rc == 0)
		p->rc = answer_make(&p->c, p->a, &p->m, &p->e);
}

static void
play_done(struct played_request *p)
{
	json_free(p->request);
	arena_free(p->a);
}

static void
put_user(struct json_w *w, struct str text)
{
	jw_obj(w);
	jw_kz(w, "role", "user");
	jw_kstr(w, "content", text);
	jw_obj_end(w);
}

/* An assistant turn with one tool call and its result. */
static void
put_round(struct json_w *w, const char *result, bool is_error)
{
	jw_raw(w, STR("{\"role\":\"assistant\",\"content\":[{\"type\":\"tool_use\",\"id\":\"t1\",\"name\":"
		      "\"bash\",\"input\":{}}]}"));
	jw_obj(w);
	jw_kz(w, "role", "user");
	jw_key(w, "content");
	jw_arr(w);
	jw_obj(w);
	jw_kz(w, "type", "tool_result");
	jw_kz(w, "tool_use_id", "t1");
	jw_kbool(w, "is_error", is_error);
	jw_kz(w, "content", result);
	jw_obj_end(w);
	jw_arr_end(w);
	jw_obj_end(w);
}

struct scene {
	const char *script;
	size_t rounds;      /* tool rounds after the script */
	const char *result; /* of each */
	bool is_error;
	uint64_t attempt;
};

static void
play(struct played_request *p, const struct scene *s)
{
	AUTO(buf) struct buf b;

	buf_init(&b, 16 * MIB);
	struct json_w w = json_w(&b);
	jw_obj(&w);
	jw_kz(&w, "model", "puppet");
	jw_kint(&w, "max_tokens", 100);
	jw_key(&w, "messages");
	jw_arr(&w);
	put_user(&w, str_z(s->script));
	for (size_t i = 0; i < s->rounds; i++)
		put_round(&w, s->result ? s->result : "fine", s->is_error);
	jw_arr_end(&w);
	jw_obj_end(&w);
	play_text(p, buf_str(&b), s->attempt);
}

/* "T:text|H:thinking|C:name input|stop" */
static const char *
summary(struct played_request *p)
{
	AUTO(buf) struct buf b;
	static const char *const kinds[] = {"T:", "H:", "C:"};

	if (p->rc < 0)
		return p->e.msg;
	buf_init(&b, MIB);
	for (size_t i = 0; i < p->m.n; i++) {
		const struct block *x = &p->m.blocks[i];
		buf_put_z(&b, kinds[x->kind]);
		buf_put_str(&b, x->name);
		buf_put_z(&b, x->name.n ? " " : "");
		buf_put_str(&b, x->text);
		buf_put_c(&b, '|');
	}
	buf_put_str(&b, p->m.stop_reason);
	return arena_dup_z(p->a, buf_str(&b));
}

static void
expect(const struct scene *s, const char *what)
{
	struct played_request p;

	play(&p, s);
	assert_string_equal(summary(&p), what);
	play_done(&p);
}

static void
test_turns(void **state)
{
	static const char script[] =
		"Please.\n#puppet\n# a remark\n\nthink hmm, \"so\"\nsay Let me look.\n"
		"call bash {\"command\":\"ls\"}\nexpect fine\nsay Done.\n---\nsay And more.\n#end\nsay never";
	static const char *const turns[] = {
		"H:hmm, \"so\"|T:Let me look.|C:bash {\"command\":\"ls\"}|tool_use",
		"T:Done.|end_turn",
		"T:And more.|end_turn",
		"T:The script is over.|end_turn",
		"T:The script is over.|end_turn",
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(turns); i++)
		expect(&(struct scene){.script = script, .rounds = i}, turns[i]);
}

static void
test_calls(void **state)
{
	(void)state;
	expect(&(struct scene){.script = "#puppet\ncall a\n& call b {}\n& bash echo \"x\"\ncall c"},
		"C:a {}|C:b {}|C:bash {\"command\":\"echo \\\"x\\\"\"}|tool_use");
	expect(&(struct scene){.script = "#puppet\ncall a\n& call b {}\ncall c", .rounds = 1},
		"C:c {}|tool_use");
	expect(&(struct scene){.script = "#puppet\ncall w <<X\n{\"a\":\n\n1}\n  X  \nsay y"},
		"C:w {\"a\":\n\n1}|tool_use");
	expect(&(struct scene){.script = "#puppet\r\nsay one\r\nbash <<E\r\na\r\nE\r\n"},
		"T:one|C:bash {\"command\":\"a\\r\"}|tool_use");
	expect(&(struct scene){.script = "#puppet\ncall a\n---\nsay b", .rounds = 1}, "T:b|end_turn");
}

static void
test_texts(void **state)
{
	(void)state;
	expect(&(struct scene){.script = "#puppet\nsay \"a\\nb \\u00e4\""}, "T:a\nb \xc3\xa4|end_turn");
	expect(&(struct scene){.script = "#puppet\nsay <<END\n one\n\ntwo\nEND"}, "T: one\n\ntwo|end_turn");
	expect(&(struct scene){.script = "#puppet\nsay <<END\nEND\n"},
		"T:puppet: line 2: there is no text|end_turn");
	expect(&(struct scene){.script = "#puppet\nsay a {{last}} b {{i}} {{x}}", .rounds = 1, .result = "R"},
		"T:The script is over.|end_turn");
	expect(&(struct scene){.script = "#puppet\ncall a\nsay a {{last}} b {{i}} {{x}} {{",
		       .rounds = 1,
		       .result = "R\""},
		"T:a R\" b 0 {{x}} {{|end_turn");
	expect(&(struct scene){.script = "#puppet\ncall a\ncall b {\"x\":\"{{last}}\"}",
		       .rounds = 1,
		       .result = "R\"\n"},
		"C:b {\"x\":\"R\\\"\\n\"}|tool_use");
}

static void
test_loops(void **state)
{
	static const char script[] =
		"#puppet\nrepeat 3\nrepeat 2\nbash echo {{i}}\nend\nend\nrepeat 0\nsay never\nend\nsay done";

	(void)state;
	for (size_t i = 0; i < 6; i++)
		expect(&(struct scene){.script = script, .rounds = i},
			i % 2 ? "C:bash {\"command\":\"echo 2\"}|tool_use"
			      : "C:bash {\"command\":\"echo 1\"}|tool_use");
	expect(&(struct scene){.script = script, .rounds = 6}, "T:done|end_turn");
	expect(&(struct scene){.script = "#puppet\nrepeat 3\n& call a {\"n\":{{i}}}\nend\nsay x"},
		"C:a {\"n\":1}|C:a {\"n\":2}|C:a {\"n\":3}|tool_use");
	expect(&(struct scene){.script = "#puppet\nrepeat 100000\nrepeat 100000\nend\nend\nsay x"},
		"T:puppet: the script has more than 200000 steps with its loops|end_turn");
	expect(&(struct scene){.script = "#puppet\nrepeat 1000\nbash true\nend\nsay x", .rounds = 1000},
		"T:x|end_turn");
}

static void
test_expectations(void **state)
{
	static const struct {
		const char *step, *result;
		bool is_error;
		const char *what;
	} rows[] = {
		{"expect fine", "it is fine", false, "T:ok|end_turn"},
		{"expect \"fine\"", "it is fine", false, "T:ok|end_turn"},
		{"expect 1 \"fine\"", "it is fine", false, "T:ok|end_turn"},
		{"expect 2 \"fine\"", "it is fine", false,
			"T:puppet: line 2 expects \"fine\" in the tool result, which was: it is "
			"fine|end_turn"},
		{"expect 7 dwarfs", "7 dwarfs", false, "T:ok|end_turn"},
		{"expect good", "bad", false,
			"T:puppet: line 2 expects \"good\" in the tool result, which was: bad|end_turn"},
		{"expect-not bad", "good", false, "T:ok|end_turn"},
		{"expect-not bad", "bad", true,
			"T:puppet: line 2 expects no \"bad\" in the tool result, which was an error: "
			"bad|end_turn"},
		{"expect-error", "no such file", true, "T:ok|end_turn"},
		{"expect-error such", "no such file", true, "T:ok|end_turn"},
		{"expect-error such", "no such file", false,
			"T:puppet: line 2 expects an error with \"such\" in the tool result, which was: no "
			"such file|end_turn"},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		AUTO(buf) struct buf b;
		buf_init(&b, 1000);
		buf_printf(&b, "#puppet\ncall x\n%s\nsay ok", rows[i].step);
		buf_put_c(&b, 0);
		expect(&(struct scene){.script = b.p,
			       .rounds = 1,
			       .result = rows[i].result,
			       .is_error = rows[i].is_error},
			rows[i].what);
	}
	expect(&(struct scene){.script = "#puppet\nexpect a\nsay b"},
		"T:puppet: line 1 expects the result of a tool, but there is none.|end_turn");
}

static void
test_mistakes(void **state)
{
	static const char *const rows[][2] = {
		{"sy hello", "line 1: there is no step \"sy\""},
		{"\n\nsay", "line 3: there is no text"},
		{"say \"open", "line 1: the text in quotes is not a JSON string"},
		{"say <<X\nabc", "line 1: there is no line X below"},
		{"say <<", "line 1: << needs a word"},
		{"call", "line 1: call needs the name of a tool"},
		{"call a [1]", "line 1: the input must be a JSON object"},
		{"& say a", "line 1: only a call can be joined with &"},
		{"repeat 2\nsay a", "line 1: repeat without end"},
		{"end", "line 1: end without repeat"},
		{"repeat x\nend", "line 1: the number of times must be a number"},
		{"error 200", "line 1: the status must be 400 to 599"},
		{"stop now", "line 1: there is no stop reason \"now\""},
		{"delay 999999999", "line 1: the time is over 600000 ms"},
		{"bash", "line 1: bash needs a command"},
		{"call x {\"a\":{{i}} ", "line 1: the input of x is no JSON object."},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		AUTO(buf) struct buf script, what;
		buf_init(&script, 1000);
		buf_init(&what, 1000);
		buf_printf(&script, "#puppet\n%s", rows[i][0]);
		buf_put_c(&script, 0);
		buf_printf(&what, "T:puppet: %s|end_turn", rows[i][1]);
		buf_put_c(&what, 0);
		expect(&(struct scene){.script = script.p}, what.p);
	}
}

static void
test_faults(void **state)
{
	struct played_request p;

	(void)state;
	play(&p, &(struct scene){.script = "#puppet\nerror 529 2\nretry-after 50\nsay ok", .attempt = 1});
	assert_int_equal(p.m.status, 529);
	assert_true(p.m.has_retry_after && p.m.retry_after_ms == 50);
	play_done(&p);
	play(&p, &(struct scene){.script = "#puppet\nerror 529 2\nsay ok", .attempt = 2});
	assert_int_equal(p.m.status, 0);
	assert_string_equal(summary(&p), "T:ok|end_turn");
	play_done(&p);
	play(&p, &(struct scene){.script = "#puppet\nerror 500 always\nsay ok", .attempt = 99});
	assert_int_equal(p.m.status, 500);
	play_done(&p);
	play(&p, &(struct scene){.script = "#puppet\ncut 3\ndelay 5\nstall 70 always\ntokens 11 22\nstop "
					   "max_tokens\nsay ok"});
	assert_true(p.m.cut && p.m.events == 3 && p.m.delay_ms == 5 && p.m.stall_ms == 70);
	assert_true(p.m.input_tokens == 11 && p.m.output_tokens == 22);
	assert_string_equal(summary(&p), "T:ok|max_tokens");
	play_done(&p);
	play(&p, &(struct scene){.script = "#puppet\nfail overloaded_error 2\nsay ok"});
	assert_str(p.m.fail, "overloaded_error");
	play_done(&p);
	play(&p, &(struct scene){.script = "#puppet\ngarbage\nsay ok"});
	assert_true(p.m.garbage);
	play_done(&p);
}

/* Which script counts, and from where its turns are counted. */
static void
test_where(void **state)
{
	static const char *const rows[][2] = {
		/* the newest message with a script wins over older ones and over the system prompt */
		{"\"system\":\"#puppet\\nsay "
		 "S\",\"messages\":[{\"role\":\"user\",\"content\":\"#puppet\\nsay 1\"},"
		 "{\"role\":\"assistant\",\"content\":\"1\"},{\"role\":\"user\",\"content\":\"#puppet\\nsay "
		 "2\"}]",
			"T:2|end_turn"},
		/* it goes on over later messages without one */
		{"\"messages\":[{\"role\":\"user\",\"content\":\"#puppet\\nsay 1\\n---\\nsay 2\"},"
		 "{\"role\":\"assistant\",\"content\":\"1\"},{\"role\":\"user\",\"content\":\"go on\"}]",
			"T:2|end_turn"},
		{"\"messages\":[{\"role\":\"user\",\"content\":\"#puppet\\nsay 1\"},"
		 "{\"role\":\"assistant\",\"content\":\"1\"},{\"role\":\"user\",\"content\":\"go on\"}]",
			"T:Hello! I am the puppet, a scripted model. You said: go on|end_turn"},
		/* one in the system prompt is played anew for each message */
		{"\"system\":[{\"type\":\"text\",\"text\":\"Be kind.\\n#puppet\\nsay S\\n---\\nsay "
		 "S2\"}],\"messages\":["
		 "{\"role\":\"user\",\"content\":\"a\"},{\"role\":\"assistant\",\"content\":\"S\"},"
		 "{\"role\":\"user\",\"content\":\"b\"}]",
			"T:S|end_turn"},
		/* what a tool prints is no script */
		{"\"messages\":[{\"role\":\"user\",\"content\":\"hi\"},{\"role\":\"assistant\",\"content\":[{"
		 "\"type\":\"tool_use\","
		 "\"id\":\"t\",\"name\":\"x\",\"input\":{}}]},{\"role\":\"user\",\"content\":[{\"type\":"
		 "\"tool_result\","
		 "\"tool_use_id\":\"t\",\"content\":\"#puppet\\nsay evil\"}]}]",
			"T:Hello! I am the puppet, a scripted model. You said: hi|end_turn"},
		/* a script that failed is over */
		{"\"messages\":[{\"role\":\"user\",\"content\":\"#puppet\\nexpect x\\n---\\nsay 2\"},"
		 "{\"role\":\"assistant\",\"content\":\"puppet: line 1 "
		 "expects\"},{\"role\":\"user\",\"content\":\"and?\"}]",
			"T:The script failed before; start another one with a line #puppet.|end_turn"},
		/* several text blocks */
		{"\"messages\":[{\"role\":\"user\",\"content\":[{\"type\":\"text\",\"text\":\"a\"},{\"type\":"
		 "\"text\","
		 "\"text\":\"x\\n  #puppet  \\nsay b\"}]}]",
			"T:b|end_turn"},
		{"\"messages\":[{\"role\":\"user\",\"content\":[{\"type\":\"text\",\"text\":\"a\"},{\"type\":"
		 "\"text\","
		 "\"text\":\"b\"}]}]",
			"T:Hello! I am the puppet, a scripted model. You said: a\nb|end_turn"},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct played_request p;
		AUTO(buf) struct buf b;
		buf_init(&b, 4096);
		buf_printf(&b, "{\"model\":\"puppet\",\"max_tokens\":9,%s}", rows[i][0]);
		play_text(&p, buf_str(&b), 0);
		assert_string_equal(summary(&p), rows[i][1]);
		play_done(&p);
	}
}

static void
test_bad_requests(void **state)
{
	static const char *const rows[][2] = {
		{"[]", "Input should be an object"},
		{"{\"max_tokens\":1,\"messages\":[]}", "model: Field required"},
		{"{\"model\":\"p\",\"messages\":[]}", "max_tokens: Field required"},
		{"{\"model\":\"p\",\"max_tokens\":1}", "messages: Field required"},
		{"{\"model\":\"p\",\"max_tokens\":1,\"messages\":[]}",
			"messages: at least one message is required"},
		{"{\"model\":\"p\",\"max_tokens\":1,\"messages\":[{\"role\":\"user\"}]}",
			"messages.0.content: Field required"},
		{"{\"model\":\"p\",\"max_tokens\":1,\"messages\":[{\"role\":\"user\",\"content\":\"\"}]}",
			"messages.0: all messages must have non-empty content"},
		{"{\"model\":\"p\",\"max_tokens\":1,\"messages\":[{\"role\":\"user\",\"content\":\"a\"},{"
		 "\"role\":\"assistant\","
		 "\"content\":[{\"type\":\"tool_use\",\"id\":\"t9\"}]},{\"role\":\"user\",\"content\":\"b\"}]"
		 "}",
			"messages.1: `tool_use` ids were found without `tool_result` blocks immediately "
			"after: t9"},
		{"{\"model\":\"p\",\"max_tokens\":1,\"messages\":[{\"role\":\"user\",\"content\":[{\"type\":"
		 "\"tool_result\","
		 "\"tool_use_id\":\"t9\",\"content\":\"b\"}]}]}",
			"messages.0: unexpected `tool_use_id` found in `tool_result` blocks: t9"},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct played_request p;
		play_text(&p, str_z(rows[i][0]), 0);
		assert_int_equal(p.rc, -ERR_INVALID);
		if (i > 0) /* the root's own wording is the walker's */
			assert_string_equal(p.e.msg, rows[i][1]);
		play_done(&p);
	}
}

/* ---- streams ---- */

struct folded {
	struct buf names; /* "message_start content_block_start …" */
	struct buf text;  /* of all deltas */
	size_t longest;
};

static int
fold_event(void *arg, const struct sse_event *ev, struct err *e)
{
	static const char *const keys[] = {"text", "thinking", "partial_json"};
	struct folded *f = arg;
	AUTO(json) struct json_t *v = NULL;

	assert_int_equal(json_parse(ev->data, &v, e), 0);
	assert_true(str_eq(json_get_str(v, "type"), ev->name));
	if (!str_eqz(ev->name, "content_block_delta")) {
		buf_put_str(&f->names, ev->name);
		buf_put_c(&f->names, ' ');
		return 0;
	}
	const struct json_t *delta = json_get(v, "delta");
	for (size_t i = 0; i < ARRAY_LEN(keys); i++) {
		struct str piece = json_get_str(delta, keys[i]);
		assert_true(str_is_utf8(piece));
		buf_put_str(&f->text, piece);
		f->longest = piece.n > f->longest ? piece.n : f->longest;
	}
	return 0;
}

static void
test_stream(void **state)
{
	struct played_request p;
	AUTO(events) struct events ev;
	struct folded f = {0};
	struct sse_reader r;
	struct err e = {0};

	(void)state;
	play(&p,
		&(struct scene){
			.script =
				"#puppet\nthink Ü\nsay ÄÖÜäöüÄÖÜäöüÄÖÜäöüÄÖÜäöü and\ncall t {\"a\": \"b\"}"});
	events_init(&ev);
	assert_int_equal(answer_stream(&p.m, &ev, &e), 0);
	buf_init(&f.names, MIB);
	buf_init(&f.text, MIB);
	sse_init(&r, MIB);
	assert_int_equal(sse_feed(&r, buf_str(&ev.bytes), fold_event, &f, &e), 0);
	assert_str(buf_str(&f.names), "message_start content_block_start ping content_block_stop "
				      "content_block_start content_block_stop "
				      "content_block_start content_block_stop message_delta message_stop ");
	assert_str(buf_str(&f.text), "ÜÄÖÜäöüÄÖÜäöüÄÖÜäöüÄÖÜäöü and{\"a\": \"b\"}");
	assert_in_range(f.longest, 1, 24);
	/* the index of events fits the bytes */
	assert_int_equal(ev.ends[ev.n - 1], ev.bytes.n);
	assert_true(str_starts(events_get(&ev, 0), STR("event: message_start\n")));
	assert_false(events_is_delta(&ev, 0));
	assert_int_equal(events_put_error(&ev, STR("overloaded_error"), &e), 0);
	assert_true(str_starts(
		events_get(&ev, ev.n - 1), STR("event: error\ndata: {\"type\":\"error\",\"error\":{")));
	sse_done(&r);
	buf_done(&f.names);
	buf_done(&f.text);
	play_done(&p);
}

/* A long text has longer deltas instead of ever more events. */
static void
test_long_text(void **state)
{
	static char script[300 * 1024];
	struct played_request p;
	AUTO(events) struct events ev;

	(void)state;
	memset(script, 'x', 200 * 1024);
	memcpy(script, "#puppet\nsay ", 12);
	play(&p, &(struct scene){.script = script});
	events_init(&ev);
	assert_int_equal(answer_stream(&p.m, &ev, NULL), 0);
	assert_in_range(ev.n, 500, 600);
	play_done(&p);
}

static void
test_message(void **state)
{
	struct played_request p;
	AUTO(json) struct json_t *v = NULL;
	AUTO(buf) struct buf b;

	(void)state;
	play(&p, &(struct scene){.script = "#puppet\nthink h\nsay a\ncall t {\"x\":1}"});
	buf_init(&b, MIB);
	answer_message(&p.m, &b);
	assert_int_equal(json_parse(buf_str(&b), &v, NULL), 0);
	const struct json_t *content = json_get(v, "content");
	assert_int_equal(json_len(content), 3);
	assert_str(json_get_str(json_at(content, 1), "text"), "a");
	assert_int_equal(json_get_int(json_get(json_at(content, 2), "input"), "x", 0), 1);
	assert_str(json_get_str(v, "stop_reason"), "tool_use");
	assert_true(json_get_int(json_get(v, "usage"), "output_tokens", 0) > 0);
	play_done(&p);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_turns),
		cmocka_unit_test(test_calls),
		cmocka_unit_test(test_texts),
		cmocka_unit_test(test_loops),
		cmocka_unit_test(test_expectations),
		cmocka_unit_test(test_mistakes),
		cmocka_unit_test(test_faults),
		cmocka_unit_test(test_where),
		cmocka_unit_test(test_bad_requests),
		cmocka_unit_test(test_stream),
		cmocka_unit_test(test_long_text),
		cmocka_unit_test(test_message),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
