/* SPDX-License-Identifier: Apache-2.0 */
/* The model's context: what a request holds after each kind of turn. */
#include "model_talk.h"

#define MESSAGE(t) "{\"type\":\"user.message\",\"content\":[{\"type\":\"text\",\"text\":\"" t "\"}]}"
#define USER(t)    "{\"role\":\"user\",\"content\":[{\"type\":\"text\",\"text\":\"" t "\"}]}"
#define SAID(t)    "{\"role\":\"assistant\",\"content\":[{\"type\":\"text\",\"text\":\"" t "\"}]}"

/* The request as a tree, the cache mark of the last block checked and taken out again. */
static struct json_t *
request(const struct sim *m, struct buf *b)
{
	struct err e = {0};
	struct json_t *v = NULL;
	struct transcript_opts o = {.model = STR("m-1"), .max_tokens = 4096};
	buf_clear(b);
	if (transcript_render(m->context, &m->s, &o, b, &e) < 0 || json_parse(buf_str(b), &v, &e) < 0)
		fail_msg("%s", e.msg);
	return v;
}

static void
check_messages(const struct sim *m, const char *want)
{
	static const char mark[] = ",\"cache_control\":{\"type\":\"ephemeral\"}";
	AUTO(buf) struct buf b, got;
	buf_init(&b, LIM_MODEL_REQUEST);
	buf_init(&got, LIM_MODEL_REQUEST);
	struct json_t *v = request(m, &b);
	json_dump(&got, json_get(v, "messages"));
	json_free(v);
	size_t at = str_find_str(buf_str(&got), str_z(mark));
	if (at < got.n) {
		memmove(got.p + at, got.p + at + sizeof(mark) - 1, got.n - at - (sizeof(mark) - 1));
		got.n -= sizeof(mark) - 1;
	}
	buf_put_c(&got, 0);
	assert_string_equal(got.p, want);
}

static void
open_request(struct sim *m, const char *events)
{
	sim_ok(m, events);
	assert_int_equal(sim_advance(m).kind, ACT_CONTINUE_REQUEST);
}

static void
conversation(void **state)
{
	(void)state;
	struct sim m;
	sim_init(&m);
	open_request(&m, "[" MESSAGE("one") "]");
	check_messages(&m, "[" USER("one") "]");
	SIM_ANSWER(&m, REC_TEXT("0", "first"), REC_END("end_turn"));
	sim_advance(&m);
	open_request(&m, "[" MESSAGE("two") "," MESSAGE("three") "]");
	check_messages(&m, "[" USER("one") "," SAID("first") ",{\"role\":\"user\",\"content\":[{\"type\":"
							     "\"text\",\"text\":\"two\"},{\"type\":"
							     "\"text\",\"text\":\"three\"}]}]");
	sim_done(&m);
}

/* A queued message is not seen before it is processed. */
static void
queued(void **state)
{
	(void)state;
	struct sim m;
	sim_init(&m);
	open_request(&m, "[" MESSAGE("one") "]");
	sim_ok(&m, "[" MESSAGE("two") "]");
	check_messages(&m, "[" USER("one") "]");
	SIM_ANSWER(&m, REC_TEXT("0", "first"), REC_END("end_turn"));
	sim_advance(&m);
	check_messages(&m, "[" USER("one") "," SAID("first") "," USER("two") "]");
	sim_done(&m);
}

/* Results come first in the user's turn, in the order they came, under the model's own ids; then the rest. */
static void
tools(void **state)
{
	(void)state;
	struct sim m;
	sim_init(&m);
	open_request(&m, "[" MESSAGE("go") "]");
	SIM_ANSWER(&m, REC_TEXT("0", "ok"), REC_TOOL("1", "toolu_a", "bash", "{\\\"command\\\":\\\"x\\\"}"),
		REC_TOOL("2", "toolu_b", "read", "{}"), REC_END("tool_use"));
	sim_ok(&m, "[" MESSAGE("also") "]");
	sim_advance(&m); /* takes the message while the tools run */
	sim_result(&m, 1, "B", true);
	sim_result(&m, 0, "A", false);
	assert_int_equal(sim_advance(&m).kind, ACT_CONTINUE_REQUEST);
	check_messages(&m,
		"[" USER("go") ",{\"role\":\"assistant\",\"content\":[{\"type\":\"text\",\"text\":\"ok\"},{"
			       "\"type\":\"tool_use\","
			       "\"id\":\"toolu_a\",\"name\":\"bash\",\"input\":{\"command\":\"x\"}},{"
			       "\"type\":\"tool_use\",\"id\":"
			       "\"toolu_b\",\"name\":\"read\",\"input\":{}}]},{\"role\":\"user\",\"content\":"
			       "[{\"type\":"
			       "\"tool_result\",\"tool_use_id\":\"toolu_b\",\"content\":[{\"type\":\"text\","
			       "\"text\":\"B\"}],"
			       "\"is_error\":true},{\"type\":\"tool_result\",\"tool_use_id\":\"toolu_a\","
			       "\"content\":[{\"type\":"
			       "\"text\",\"text\":\"A\"}]},{\"type\":\"text\",\"text\":\"also\"}]}]");
	sim_done(&m);
}

/* Signed thinking goes back as it came; unsigned is left out. */
static void
thinking(void **state)
{
	(void)state;
	struct sim m;
	sim_init(&m);
	open_request(&m, "[" MESSAGE("go") "]");
	SIM_ANSWER(&m,
		"{\"type\":\"content_block_start\",\"index\":0,\"content_block\":{\"type\":\"thinking\","
		"\"thinking\":\"a\","
		"\"signature\":\"\"}}",
		"{\"type\":\"content_block_delta\",\"index\":0,\"delta\":{\"type\":\"signature_delta\","
		"\"signature\":\"S\"}}",
		"{\"type\":\"content_block_stop\",\"index\":0}",
		"{\"type\":\"content_block_start\",\"index\":1,\"content_block\":{\"type\":\"thinking\","
		"\"thinking\":\"b\"}}",
		"{\"type\":\"content_block_stop\",\"index\":1}",
		"{\"type\":\"content_block_start\",\"index\":2,\"content_block\":{\"type\":\"redacted_"
		"thinking\",\"data\":\"D\"}}",
		"{\"type\":\"content_block_stop\",\"index\":2}", REC_TOOL("3", "t", "bash", "{}"),
		REC_END("tool_use"));
	sim_result(&m, 0, "x", false);
	check_messages(&m, "[" USER("go") ",{\"role\":\"assistant\",\"content\":[{\"type\":\"thinking\","
					  "\"thinking\":\"a\",\"signature\":"
					  "\"S\"},{\"type\":\"redacted_thinking\",\"data\":\"D\"},{\"type\":"
					  "\"tool_use\",\"id\":\"t\",\"name\":"
					  "\"bash\",\"input\":{}}]},{\"role\":\"user\",\"content\":[{"
					  "\"type\":\"tool_result\",\"tool_use_id\":"
					  "\"t\",\"content\":[{\"type\":\"text\",\"text\":\"x\"}]}]}]");
	sim_done(&m);
}

/* A failed or interrupted answer leaves nothing; interrupted tools leave their error results. */
static void
interrupted(void **state)
{
	(void)state;
	struct sim m;
	sim_init(&m);
	open_request(&m, "[" MESSAGE("one") "]");
	sim_fail(&m, MODEL_END_LOST, NULL, 0);
	sim_advance(&m);
	sim_ok(&m, "[{\"type\":\"user.interrupt\"}," MESSAGE("two") "]");
	sim_interrupt(&m);
	check_messages(&m, "[{\"role\":\"user\",\"content\":[{\"type\":\"text\",\"text\":\"one\"},{\"type\":"
			   "\"text\",\"text\":\"two\"}]}]");
	SIM_ANSWER(&m, REC_TOOL("0", "t", "weather", "{}"), REC_END("tool_use"));
	sim_advance(&m);
	sim_ok(&m, "[{\"type\":\"user.interrupt\"}," MESSAGE("three") "]");
	sim_advance(&m);
	AUTO(buf) struct buf b;
	buf_init(&b, LIM_MODEL_REQUEST);
	struct json_t *v = request(&m, &b);
	const struct json_t *last = json_at(json_get(v, "messages"), 2), *blocks = json_get(last, "content");
	assert_int_equal(json_len(blocks), 2);
	assert_str(json_get_str(json_at(blocks, 0), "tool_use_id"), "t");
	assert_true(json_bool(json_get(json_at(blocks, 0), "is_error"), false));
	assert_str(json_get_str(json_at(blocks, 1), "text"), "three");
	json_free(v);
	sim_done(&m);
}

static void
system_message_and_odd_blocks(void **state)
{
	(void)state;
	struct sim m;
	sim_init(&m);
	open_request(&m, "[{\"type\":\"user.message\",\"content\":[{\"type\":\"text\",\"text\":\" "
			 "\\n\"},{\"type\":\"image\",\"source\":{"
			 "\"type\":\"file\",\"file_id\":\"file_1\"}},{\"type\":\"image\",\"source\":{"
			 "\"type\":\"url\",\"url\":"
			 "\"https://"
			 "x.example\"}}]},{\"type\":\"system.message\",\"content\":[{\"type\":\"text\","
			 "\"text\":\"A\"},{\"type\":"
			 "\"text\",\"text\":\"B\"}]}]");
	check_messages(&m,
		"[{\"role\":\"user\",\"content\":[{\"type\":\"text\",\"text\":\"(blank)\"},{\"type\":"
		"\"text\",\"text\":\"[An "
		"attached image, file_1, cannot be shown in this "
		"conversation.]\"},{\"type\":\"image\",\"source\":{\"type\":\"url\","
		"\"url\":\"https://x.example\"}},{\"type\":\"text\",\"text\":\"<system_message>\\nA\\nB\\n</"
		"system_message>\"}]}]");
	sim_done(&m);
}

static void
head(void **state)
{
	(void)state;
	struct sim m;
	AUTO(buf) struct buf b;
	buf_init(&b, LIM_MODEL_REQUEST);
	sim_init(&m);
	open_request(&m, "[" MESSAGE("x") "]");
	struct json_t *v = request(&m, &b);
	assert_str(json_get_str(v, "model"), "m-1");
	assert_int_equal(json_get_int(v, "max_tokens", 0), 4096);
	assert_true(json_bool(json_get(v, "stream"), false));
	assert_null(json_get(v, "output_config"));
	struct str system = json_get_str(v, "system");
	assert_true(str_starts(system, STR("Be brief.\n\n")));
	assert_true(str_find_str(system, STR("/mnt/session/outputs")) < system.n);
	/* the disabled one and the web tools are not offered, the custom one is */
	assert_int_equal(json_len(json_get(v, "tools")), 6);
	assert_str(json_get_str(json_at(json_get(v, "tools"), 5), "name"), "weather");
	/* one mark, at the end of the conversation */
	const struct json_t *block = json_at(json_get(json_at(json_get(v, "messages"), 0), "content"), 0);
	assert_str(json_get_str(json_get(block, "cache_control"), "type"), "ephemeral");
	json_free(v);
	struct event_row row;
	struct session_change c = {.has_agent = true,
		.agent = STR("{\"type\":\"agent\",\"id\":\"a\",\"version\":1,\"name\":\"N\",\"system\":null,"
			     "\"model\":{\"id\":\"m\","
			     "\"effort\":{\"type\":\"low\"},\"inference_geo\":\"eu\"},\"tools\":[]}")};
	session_updated_row(&c, m.arena, m.now, &row);
	sim_row(&m, &row);
	v = request(&m, &b);
	assert_null(json_get(v, "system")); /* without tools there is no workspace to speak of */
	assert_null(json_get(v, "tools"));
	assert_str(json_get_str(json_get(v, "output_config"), "effort"), "low");
	assert_str(json_get_str(v, "inference_geo"), "eu");
	json_free(v);
	sim_done(&m);
}

/* Rows added once and in order; rendering twice gives the same bytes; a copy made by adding all rows gives
 * the same request. */
static void
incremental(void **state)
{
	(void)state;
	struct sim m;
	struct err e = {0};
	AUTO(buf) struct buf a, b;
	buf_init(&a, LIM_MODEL_REQUEST);
	buf_init(&b, LIM_MODEL_REQUEST);
	sim_init(&m);
	open_request(&m, "[" MESSAGE("x") "]");
	for (int i = 0; i < 20; i++) {
		SIM_ANSWER(&m, REC_TOOL("0", "t", "bash", "{}"), REC_END("tool_use"));
		sim_result(&m, 0, "out", false);
		sim_advance(&m);
		json_free(request(&m, &a));
		json_free(request(&m, &b));
		assert_true(str_eq(buf_str(&a), buf_str(&b)));
	}
	struct transcript *again = transcript_new();
	for (size_t i = 0; i < m.n; i++)
		assert_int_equal(transcript_add(again, &m.log[i], &e), 0);
	assert_int_equal(transcript_seq(again), m.n);
	assert_err(transcript_add(again, &m.log[m.n - 1], &e), e, ERR_CORRUPT);
	transcript_free(m.context);
	m.context = again;
	json_free(request(&m, &b));
	assert_true(str_eq(buf_str(&a), buf_str(&b)));
	assert_true(transcript_bytes(again) > 1000);
	sim_done(&m);
}

/* A conversation that has outgrown the limit says so when it is asked for, and holds on to nothing more. */
static void
outgrown(void **state)
{
	(void)state;
	struct sim m;
	struct err e = {0};
	AUTO(buf) struct buf b;
	AUTO(buf) struct buf out;
	struct transcript_opts o = {.model = STR("m"), .max_tokens = 1};
	buf_init(&b, LIM_EVENT_BODY);
	buf_init(&out, LIM_MODEL_REQUEST);
	sim_init(&m);
	buf_put_z(&b, "{\"type\":\"user.message\",\"id\":\"x\",\"content\":[{\"type\":\"text\",\"text\":\"");
	for (size_t i = 0; i < 12 * MIB; i++)
		buf_put_c(&b, 'x');
	buf_put_z(&b, "\"}]}");
	uint32_t seq = transcript_seq(m.context);
	for (int i = 0; i < 4; i++) {
		struct event_row row = {
			.seq = ++seq, .facts = {.type = EV_USER_MESSAGE}, .body = buf_str(&b)};
		assert_int_equal(transcript_add(m.context, &row, &e), 0);
		row = (struct event_row){.seq = seq + 1, .facts = {.type = EV_PROCESSED, .ref = seq}};
		seq++;
		assert_int_equal(transcript_add(m.context, &row, &e), 0);
	}
	assert_err(transcript_render(m.context, &m.s, &o, &out, &e), e, ERR_TOO_LARGE);
	sim_done(&m);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(conversation),
		cmocka_unit_test(queued),
		cmocka_unit_test(tools),
		cmocka_unit_test(thinking),
		cmocka_unit_test(interrupted),
		cmocka_unit_test(system_message_and_odd_blocks),
		cmocka_unit_test(head),
		cmocka_unit_test(incremental),
		cmocka_unit_test(outgrown),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
