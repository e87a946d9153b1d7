/* SPDX-License-Identifier: Apache-2.0 */
#include "unit.h"

#include <stdio.h>

#include "base/limits.h"
#include "model/response.h"

#define START                                                                                        \
	"{\"type\":\"message_start\",\"message\":{\"usage\":{\"input_tokens\":7,\"cache_read_input_" \
	"tokens\":2}}}"
#define STOP "{\"type\":\"message_stop\"}"
#define END(why)                                                                                            \
	"{\"type\":\"message_delta\",\"delta\":{\"stop_reason\":\"" why "\"},\"usage\":{\"output_tokens\":" \
	"9}}"
#define BLOCK(i, b)  "{\"type\":\"content_block_start\",\"index\":" i ",\"content_block\":" b "}"
#define DELTA(i, d)  "{\"type\":\"content_block_delta\",\"index\":" i ",\"delta\":" d "}"
#define BLOCK_END(i) "{\"type\":\"content_block_stop\",\"index\":" i "}"
#define TEXT         "{\"type\":\"text\",\"text\":\"\"}"
#define SAY(t)       "{\"type\":\"text_delta\",\"text\":\"" t "\"}"

/* ---- recording previews ---- */

struct previews {
	struct buf b;
	struct id ids[16];
	size_t n;
};

static void
on_start(void *arg, enum event_type type, const struct id *id)
{
	struct previews *p = arg;
	for (size_t i = 0; i < p->n; i++)
		assert_string_not_equal(p->ids[i].z, id->z);
	p->ids[p->n++] = *id;
	buf_printf(&p->b, "<%s>", event_name(type));
}

static void
on_text(void *arg, const struct id *id, unsigned index, struct str delta)
{
	struct previews *p = arg;
	assert_string_equal(p->ids[p->n - 1].z, id->z);
	buf_printf(&p->b, "%u:%.*s;", index, STRF(delta));
}

static int
feed_all(struct model_response *r, struct previews *p, const char *const *records, struct err *e)
{
	struct response_hooks h = {.arg = p, .on_start = on_start, .on_text = on_text};
	for (; *records != NULL; records++) {
		int rc = response_feed(r, str_z(*records), p != NULL ? &h : NULL, e);
		if (rc < 0)
			return rc;
	}
	return response_finish(r, e);
}

#define FEED(r, p, e, ...) feed_all(r, p, (const char *const[]){__VA_ARGS__, NULL}, e)

static void
whole_answer(void **state)
{
	(void)state;
	struct model_response r;
	struct err e = {0};
	struct previews p = {.n = 0};
	buf_init(&p.b, 4096);
	assert_int_equal(response_init(&r, &e), 0);
	int rc = FEED(&r, &p, &e, START, "{\"type\":\"ping\"}",
		BLOCK("0", "{\"type\":\"thinking\",\"thinking\":\"\"}"),
		DELTA("0", "{\"type\":\"thinking_delta\",\"thinking\":\"hm\"}"),
		DELTA("0", "{\"type\":\"signature_delta\",\"signature\":\"sig\"}"), BLOCK_END("0"),
		BLOCK("1", TEXT), DELTA("1", SAY("Hel")), DELTA("1", SAY("lo")), BLOCK_END("1"),
		BLOCK("2", TEXT), BLOCK_END("2"), BLOCK("3", TEXT), DELTA("3", SAY("again")), BLOCK_END("3"),
		BLOCK("4", "{\"type\":\"tool_use\",\"id\":\"toolu\",\"name\":\"bash\",\"input\":{}}"),
		DELTA("4", "{\"type\":\"input_json_delta\",\"partial_json\":\"{\\\"a\\\"\"}"),
		DELTA("4", "{\"type\":\"input_json_delta\",\"partial_json\":\":1}\"}"), BLOCK_END("4"),
		END("tool_use"), STOP);
	if (rc < 0)
		fail_msg("%s", e.msg);
	assert_int_equal(r.n_blocks, 5);
	assert_str(buf_str(&r.blocks[0].text), "hm");
	assert_str(buf_str(&r.blocks[0].signature), "sig");
	assert_str(buf_str(&r.blocks[1].text), "Hello");
	assert_string_equal(r.blocks[1].event_id.z, r.blocks[3].event_id.z);
	assert_str(buf_str(&r.blocks[4].text), "{\"a\":1}");
	assert_str(r.blocks[4].tool_id, "toolu");
	assert_str(r.blocks[4].name, "bash");
	assert_int_equal(r.end, MODEL_END_TOOLS);
	assert_int_equal(r.input_tokens, 7);
	assert_int_equal(r.output_tokens, 9);
	assert_int_equal(r.cache_read_tokens, 2);
	/* an empty text block takes no index */
	assert_str(buf_str(&p.b), "<agent.thinking><agent.message>0:Hel;0:lo;1:again;");
	buf_done(&p.b);
	response_done(&r);
}

static void
stop_reasons(void **state)
{
	(void)state;
	static const struct {
		const char *record;
		enum model_end end;
	} cases[] = {
		{END("end_turn"), MODEL_END_TURN},
		{END("stop_sequence"), MODEL_END_TURN},
		{END("max_tokens"), MODEL_END_MAX},
		{END("model_context_window_exceeded"), MODEL_END_MAX},
		{END("refusal"), MODEL_END_REFUSAL},
		{END("tool_use"), MODEL_END_TOOLS},
		{END("something_new"), MODEL_END_TURN},
	};
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct model_response r;
		struct err e = {0};
		assert_int_equal(response_init(&r, &e), 0);
		assert_int_equal(FEED(&r, NULL, &e, START, cases[i].record, STOP), 0);
		assert_int_equal(r.end, cases[i].end);
		response_done(&r);
	}
}

/* Unknown records, blocks and deltas are passed over; their indexes count. */
static void
unknown_kinds(void **state)
{
	(void)state;
	struct model_response r;
	struct err e = {0};
	assert_int_equal(response_init(&r, &e), 0);
	assert_int_equal(FEED(&r, NULL, &e, "{\"type\":\"weather_report\"}", START,
				 BLOCK("0", "{\"type\":\"hologram\",\"text\":\"x\"}"),
				 DELTA("0", "{\"type\":\"spin\"}"), BLOCK_END("0"), BLOCK("1", TEXT),
				 DELTA("1", "{\"type\":\"citations_delta\"}"), DELTA("1", SAY("y")),
				 BLOCK_END("1"), END("end_turn"), STOP),
		0);
	assert_int_equal(r.n_blocks, 1);
	assert_str(buf_str(&r.blocks[0].text), "y");
	response_done(&r);
}

static void
error_record(void **state)
{
	(void)state;
	struct model_response r;
	struct err e = {0};
	assert_int_equal(response_init(&r, &e), 0);
	assert_err(FEED(&r, NULL, &e, START, BLOCK("0", TEXT),
			   "{\"type\":\"error\",\"error\":{\"type\":\"overloaded_error\",\"message\":"
			   "\"Overloaded\"}}",
			   "garbage"),
		e, ERR_CORRUPT);
	assert_str(r.error_type, "overloaded_error");
	assert_str(r.error_message, "Overloaded");
	response_done(&r);
}

static void
refused(const char *const *records, const char *want)
{
	struct model_response r;
	struct err e = {0};
	assert_int_equal(response_init(&r, &e), 0);
	assert_int_equal(feed_all(&r, NULL, records, &e), -ERR_CORRUPT);
	if (strstr(e.msg, want) == NULL)
		fail_msg("got \"%s\", want \"%s\"", e.msg, want);
	response_done(&r);
}

#define REFUSED(want, ...) refused((const char *const[]){__VA_ARGS__, NULL}, want)

static void
malformed(void **state)
{
	(void)state;
	REFUSED("not a JSON object", "{");
	REFUSED("not a JSON object", "[]");
	REFUSED("not a JSON object", START, "{\"type\":\"a\",\"type\":\"b\"}");
	REFUSED("outside the message", BLOCK("0", TEXT));
	REFUSED("outside the message", START, END("end_turn"), STOP, BLOCK("0", TEXT));
	REFUSED("comes twice", START, START);
	REFUSED("out of order", START, BLOCK("1", TEXT));
	REFUSED("out of order", START, BLOCK("0", TEXT), BLOCK("1", TEXT));
	REFUSED("not open", START, DELTA("0", SAY("x")));
	REFUSED("not open", START, BLOCK("0", TEXT), BLOCK_END("0"), DELTA("0", SAY("x")));
	REFUSED("not open", START, BLOCK("0", TEXT), DELTA("1", SAY("x")));
	REFUSED("not open", START, BLOCK_END("0"));
	REFUSED("not open", START, BLOCK("0", TEXT), BLOCK_END("0"), BLOCK_END("0"));
	REFUSED("usable id and name", START,
		BLOCK("0", "{\"type\":\"tool_use\",\"id\":\"\",\"name\":\"x\"}"));
	REFUSED("usable id and name", START, BLOCK("0", "{\"type\":\"tool_use\",\"id\":\"x\",\"name\":7}"));
	REFUSED("before message_stop", START, END("end_turn"));
	REFUSED("before message_stop", "{\"type\":\"ping\"}");
	REFUSED("not finished", START, BLOCK("0", TEXT), END("end_turn"), STOP);
	REFUSED("no stop_reason", START, STOP);
}

static void
too_many_blocks(void **state)
{
	(void)state;
	struct model_response r;
	struct err e = {0};
	char rec[200];
	int rc = 0;
	unsigned i;
	assert_int_equal(response_init(&r, &e), 0);
	assert_int_equal(response_feed(&r, STR(START), NULL, &e), 0);
	for (i = 0; rc == 0 && i < 2 * LIM_MODEL_BLOCKS; i++) {
		snprintf(rec, sizeof(rec),
			"{\"type\":\"content_block_start\",\"index\":%u,\"content_block\":{\"type\":\"zzz\"}"
			"}",
			i);
		rc = response_feed(&r, str_z(rec), NULL, &e);
		snprintf(rec, sizeof(rec), "{\"type\":\"content_block_stop\",\"index\":%u}", i);
		if (rc == 0)
			assert_int_equal(response_feed(&r, str_z(rec), NULL, &e), 0);
	}
	assert_int_equal(rc, -ERR_CORRUPT);
	assert_int_equal(i, LIM_MODEL_BLOCKS + 1);
	response_done(&r);
}

static void
too_long(void **state)
{
	(void)state;
	struct model_response r;
	struct err e = {0};
	AUTO(buf) struct buf b;
	buf_init(&b, 2 * MIB);
	buf_put_z(&b, "{\"type\":\"content_block_delta\",\"index\":0,\"delta\":{\"type\":\"text_delta\","
		      "\"text\":\"");
	for (size_t i = 0; i < MIB; i++)
		buf_put_c(&b, 'x');
	buf_put_z(&b, "\"}}");
	assert_int_equal(response_init(&r, &e), 0);
	assert_int_equal(response_feed(&r, STR(START), NULL, &e), 0);
	assert_int_equal(response_feed(&r, STR(BLOCK("0", TEXT)), NULL, &e), 0);
	unsigned n = 0;
	while (response_feed(&r, buf_str(&b), NULL, &e) == 0)
		n++;
	assert_int_equal(e.kind, ERR_CORRUPT);
	assert_int_equal(n, LIM_MODEL_RESPONSE / MIB);
	response_done(&r);
}

static void
refusal(void **state)
{
	(void)state;
	struct model_response r;
	struct err e = {0};
	assert_int_equal(response_init(&r, &e), 0);
	assert_int_equal(FEED(&r, NULL, &e, START,
				 "{\"type\":\"message_delta\",\"delta\":{\"stop_reason\":\"refusal\",\"stop_"
				 "details\":{\"type\":"
				 "\"refusal\",\"category\":\"bio\",\"explanation\":null}}}",
				 STOP),
		0);
	assert_str(r.refusal_category, "bio");
	assert_int_equal(r.refusal_explanation.n, 0);
	response_done(&r);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(whole_answer),
		cmocka_unit_test(stop_reasons),
		cmocka_unit_test(unknown_kinds),
		cmocka_unit_test(error_record),
		cmocka_unit_test(malformed),
		cmocka_unit_test(too_many_blocks),
		cmocka_unit_test(too_long),
		cmocka_unit_test(refusal),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
