/* SPDX-License-Identifier: Apache-2.0 */
/* The bodies of planned rows, member by member, and what happens when memory or room ends. */
#include "alloc_fail.h"
#include "model_talk.h"

#define MESSAGE "[{\"type\":\"user.message\",\"content\":[{\"type\":\"text\",\"text\":\"Hi\"}]}]"

/* The body with the ids of this run replaced by names, so that it can be compared whole. */
static char *
named(const struct sim *m, const struct event_row *row)
{
	const struct {
		struct str id;
		const char *name;
	} ids[] = {
		{id_str(&row->id), "SELF"},
		{id_str(&m->s.thread_id), "THREAD"},
		{row->facts.ref > 0 ? id_str(&m->log[row->facts.ref - 1].id) : STR_NULL, "REF"},
	};
	struct buf b;
	buf_init(&b, 1 * MIB);
	for (struct str rest = row->body; rest.n > 0;) {
		size_t k = 0;
		while (k < ARRAY_LEN(ids) && (ids[k].id.n == 0 || !str_starts(rest, ids[k].id)))
			k++;
		if (k < ARRAY_LEN(ids))
			buf_put_z(&b, ids[k].name);
		else
			buf_put_c(&b, rest.p[0]);
		rest = str_sub(rest, k < ARRAY_LEN(ids) ? ids[k].id.n : 1, rest.n);
	}
	buf_put_c(&b, 0);
	return b.p;
}

#define assert_body(m, row, want)                \
	do {                                     \
		char *got_ = named(m, row);      \
		assert_string_equal(got_, want); \
		free(got_);                      \
	} while (0)

static void
open_request(struct sim *m)
{
	sim_init(m);
	sim_ok(m, MESSAGE);
	assert_int_equal(sim_advance(m).kind, ACT_CONTINUE_REQUEST);
}

static void
plain_bodies(void **state)
{
	(void)state;
	struct sim m;
	open_request(&m);
	SIM_ANSWER(&m, REC_TEXT("0", "A"), REC_TEXT("1", "B"), REC_END("end_turn"));
	sim_advance(&m);
	assert_body(&m, sim_last(&m, EV_USER_MESSAGE),
		"{\"type\":\"user.message\",\"id\":\"SELF\",\"content\":[{\"type\":\"text\",\"text\":\"Hi\"}]"
		"}");
	assert_body(&m, sim_last(&m, EV_SESSION_STATUS_RUNNING),
		"{\"type\":\"session.status_running\",\"id\":\"SELF\"}");
	assert_body(&m, sim_last(&m, EV_THREAD_STATUS_RUNNING),
		"{\"type\":\"session.thread_status_running\",\"id\":\"SELF\",\"session_thread_id\":"
		"\"THREAD\",\"agent_name\":"
		"\"Tester\"}");
	assert_body(&m, sim_last(&m, EV_SPAN_MODEL_REQUEST_START),
		"{\"type\":\"span.model_request_start\",\"id\":\"SELF\"}");
	assert_body(&m, sim_last(&m, EV_AGENT_MESSAGE),
		"{\"type\":\"agent.message\",\"id\":\"SELF\",\"content\":[{\"type\":\"text\",\"text\":\"A\"},"
		"{\"type\":\"text\","
		"\"text\":\"B\"}]}");
	assert_body(&m, sim_last(&m, EV_SPAN_MODEL_REQUEST_END),
		"{\"type\":\"span.model_request_end\",\"id\":\"SELF\",\"model_request_start_id\":\"REF\","
		"\"is_error\":false,"
		"\"model_usage\":{\"input_tokens\":10,\"output_tokens\":5,\"cache_creation_input_tokens\":0,"
		"\"cache_read_input_tokens\":0}}");
	assert_body(&m, sim_last(&m, EV_THREAD_STATUS_IDLE),
		"{\"type\":\"session.thread_status_idle\",\"id\":\"SELF\",\"session_thread_id\":\"THREAD\","
		"\"agent_name\":"
		"\"Tester\",\"stop_reason\":{\"type\":\"end_turn\"},\"stop_details\":null}");
	assert_body(&m, sim_last(&m, EV_SESSION_STATUS_IDLE),
		"{\"type\":\"session.status_idle\",\"id\":\"SELF\",\"stop_reason\":{\"type\":\"end_turn\"},"
		"\"stop_details\":null}");
	const struct event_row *usage = sim_last(&m, EV_SESSION_USAGE);
	assert_true(str_find_str(usage->body, STR("\"usage\":{\"input_tokens\":10,\"output_tokens\":5,")) <
		    usage->body.n);
	assert_true(str_ends(usage->body, STR("\"budget\":null}")));
	sim_done(&m);
}

static void
tool_bodies(void **state)
{
	(void)state;
	struct sim m;
	open_request(&m);
	size_t at = m.n;
	SIM_ANSWER(&m, REC_TOOL("0", "t0", "bash", "{\\\"command\\\":\\\"ls\\\"}"),
		REC_TOOL("1", "t1", "write", ""), REC_TOOL("2", "t2", "edit", "{}"),
		REC_TOOL("3", "t3", "weather", "{}"), REC_END("tool_use"));
	assert_body(&m, &m.log[at],
		"{\"type\":\"agent.tool_use\",\"id\":\"SELF\",\"name\":\"bash\",\"input\":{\"command\":"
		"\"ls\"},"
		"\"evaluated_permission\":\"allow\",\"evaluation\":{\"type\":\"always_allow\"}}");
	assert_str(m.log[at].private_, "t0");
	assert_body(&m, &m.log[at + 1],
		"{\"type\":\"agent.tool_use\",\"id\":\"SELF\",\"name\":\"write\",\"input\":{},\"evaluated_"
		"permission\":\"ask\","
		"\"evaluation\":{\"type\":\"always_ask\"}}");
	assert_body(&m, &m.log[at + 2],
		"{\"type\":\"agent.tool_use\",\"id\":\"SELF\",\"name\":\"edit\",\"input\":{},\"evaluated_"
		"permission\":\"ask\","
		"\"evaluation\":{\"type\":\"auto\",\"evaluated_permission\":{\"type\":\"ask\",\"reason_"
		"code\":\"indeterminate\"}}}");
	assert_body(&m, &m.log[at + 3],
		"{\"type\":\"agent.custom_tool_use\",\"id\":\"SELF\",\"name\":\"weather\",\"input\":{}}");
	sim_result(&m, 0, "", false);
	assert_body(&m, sim_last(&m, EV_AGENT_TOOL_RESULT),
		"{\"type\":\"agent.tool_result\",\"id\":\"SELF\",\"tool_use_id\":\"REF\",\"content\":[{"
		"\"type\":\"text\",\"text\":"
		"\"(no output)\"}],\"is_error\":false}");
	sim_done(&m);
}

static void
failure_bodies(void **state)
{
	(void)state;
	struct sim m;
	open_request(&m);
	sim_fail(&m, MODEL_END_ERROR, "model_overloaded_error", 0);
	assert_body(&m, sim_last(&m, EV_SESSION_ERROR),
		"{\"type\":\"session.error\",\"id\":\"SELF\",\"error\":{\"type\":\"model_overloaded_error\","
		"\"message\":\"no\","
		"\"retry_status\":{\"type\":\"retrying\"}}}");
	const struct event_row *end = sim_last(&m, EV_SPAN_MODEL_REQUEST_END);
	assert_true(str_find_str(end->body, STR("\"is_error\":true")) < end->body.n);
	sim_done(&m);
}

/* What was previewed keeps its id; thinking shows nothing but goes back whole. */
static void
preview_ids_and_thinking(void **state)
{
	(void)state;
	struct sim m;
	struct model_response r;
	struct plan *p = sim_plan_new();
	open_request(&m);
	assert_int_equal(response_init(&r, &m.e), 0);
	const char *records[] = {REC_START,
		"{\"type\":\"content_block_start\",\"index\":0,\"content_block\":{\"type\":\"thinking\","
		"\"thinking\":\"\"}}",
		"{\"type\":\"content_block_delta\",\"index\":0,\"delta\":{\"type\":\"thinking_delta\","
		"\"thinking\":\"hm\"}}",
		"{\"type\":\"content_block_delta\",\"index\":0,\"delta\":{\"type\":\"signature_delta\","
		"\"signature\":\"c2ln\"}}",
		"{\"type\":\"content_block_stop\",\"index\":0}",
		"{\"type\":\"content_block_start\",\"index\":1,\"content_block\":{\"type\":\"redacted_"
		"thinking\",\"data\":\"ZGF0YQ==\"}}",
		"{\"type\":\"content_block_stop\",\"index\":1}", REC_TEXT("2", "x"), REC_END("end_turn"),
		REC_STOP};
	for (size_t i = 0; i < ARRAY_LEN(records); i++)
		assert_int_equal(response_feed(&r, str_z(records[i]), NULL, &m.e), 0);
	assert_int_equal(plan_response(p, &m.s, &r, m.now, &m.e), 0);
	assert_int_equal(p->n_rows, 4);
	for (size_t i = 0; i < 3; i++)
		assert_string_equal(p->rows[i].id.z, r.blocks[i].event_id.z);
	assert_str(p->rows[0].private_, "{\"type\":\"thinking\",\"thinking\":\"hm\",\"signature\":\"c2ln\"}");
	assert_str(p->rows[1].private_, "{\"type\":\"redacted_thinking\",\"data\":\"ZGF0YQ==\"}");
	assert_body(&m, &p->rows[0], "{\"type\":\"agent.thinking\",\"id\":\"SELF\"}");
	response_done(&r);
	sim_plan_free(p);
	sim_done(&m);
}

/* max_tokens with a whole tool use: it runs. An empty answer ends the turn without a message. */
static void
odd_ends(void **state)
{
	(void)state;
	struct sim m;
	open_request(&m);
	SIM_ANSWER(&m, REC_TOOL("0", "t0", "bash", "{}"), REC_END("max_tokens"));
	assert_int_equal(sim_advance(&m).kind, ACT_RUN_TOOLS);
	sim_result(&m, 0, "x", false);
	sim_advance(&m);
	SIM_ANSWER(&m, REC_END("tool_use")); /* says tools, has none */
	assert_int_equal(sim_advance(&m).kind, ACT_NONE);
	assert_int_equal(m.s.turn.stop, STOP_END_TURN);
	sim_done(&m);
}

/* The largest response fits into one batch, with all its denials. */
static void
largest_response(void **state)
{
	(void)state;
	struct sim m;
	struct model_response r;
	struct plan *p = sim_plan_new();
	char rec[256];
	open_request(&m);
	assert_int_equal(response_init(&r, &m.e), 0);
	assert_int_equal(response_feed(&r, STR(REC_START), NULL, &m.e), 0);
	for (unsigned i = 0; i < LIM_MODEL_BLOCKS; i++) {
		bool tool = i >= LIM_MODEL_BLOCKS - LIM_MODEL_TOOL_USES;
		snprintf(rec, sizeof(rec),
			tool ? "{\"type\":\"content_block_start\",\"index\":%u,\"content_block\":{\"type\":"
			       "\"tool_use\",\"id\":\"t\","
			       "\"name\":\"none\"}}"
			     : "{\"type\":\"content_block_start\",\"index\":%u,\"content_block\":{\"type\":"
			       "\"thinking\",\"thinking\":"
			       "\"x\"}}",
			i);
		assert_int_equal(response_feed(&r, str_z(rec), NULL, &m.e), 0);
		snprintf(rec, sizeof(rec), "{\"type\":\"content_block_stop\",\"index\":%u}", i);
		assert_int_equal(response_feed(&r, str_z(rec), NULL, &m.e), 0);
	}
	assert_int_equal(response_feed(&r, STR(REC_END("tool_use")), NULL, &m.e), 0);
	assert_int_equal(plan_response(p, &m.s, &r, m.now, &m.e), 0);
	assert_int_equal(p->n_rows, LIM_MODEL_BLOCKS + 1 + LIM_MODEL_TOOL_USES);
	assert_int_equal(plan_extend(p, &m.s, m.now, &m.e), 0);
	assert_int_equal(p->then.kind, ACT_CONTINUE_REQUEST);
	sim_append(&m, p, ACT_CONTINUE_REQUEST, false);
	response_done(&r);
	sim_plan_free(p);
	sim_done(&m);
}

/* ---- memory ends anywhere: an error comes back, nothing breaks, and the same call works later ---- */

struct attempt {
	struct sim *m;
	struct model_response *r;
};

static int
try_advance(struct attempt *a, struct plan *p, struct err *e)
{
	return plan_advance(p, &a->m->s, a->m->now, e);
}

static int
try_response(struct attempt *a, struct plan *p, struct err *e)
{
	return plan_response(p, &a->m->s, a->r, a->m->now, e);
}

static int
try_fold(struct attempt *a, struct plan *p, struct err *e)
{
	struct session_state s;
	int rc = 0;
	(void)p;
	session_state_init(&s);
	for (size_t i = 0; rc == 0 && i < a->m->n; i++)
		rc = session_fold(&s, &a->m->log[i], e);
	session_state_done(&s);
	return rc;
}

static int
try_snapshot(struct attempt *a, struct plan *p, struct err *e)
{
	struct session_state s;
	AUTO(buf) struct buf b;
	(void)p;
	buf_init(&b, 1 * MIB);
	session_encode(&a->m->s, &b);
	int rc = buf_check(&b, e);
	if (rc == 0)
		rc = session_decode(buf_str(&b), &s, e);
	if (rc == 0)
		session_state_done(&s);
	return rc;
}

static void
exhaust(struct attempt *a, int (*try)(struct attempt *, struct plan *, struct err *))
{
	for (unsigned n = 1;; n++) {
		struct err e = {0};
		struct plan *p = sim_plan_new();
		alloc_fail_at(n);
		int rc = try(a, p, &e);
		bool failed = alloc_fail_stop();
		sim_plan_free(p);
		if (!failed) {
			assert_int_equal(rc, 0);
			assert_true(n > 3);
			return;
		}
		assert_int_equal(rc, -ERR_NO_MEMORY);
	}
}

static void
out_of_memory(void **state)
{
	(void)state;
	struct sim m;
	struct model_response r;
	struct attempt a = {&m, &r};
	const char *records[] = {REC_START, REC_TEXT("0", "x"), REC_TOOL("1", "t", "bash", "{}"),
		REC_END("tool_use"), REC_STOP};
	sim_init(&m);
	sim_ok(&m, MESSAGE);
	exhaust(&a, try_advance);
	sim_advance(&m);
	assert_int_equal(response_init(&r, &m.e), 0);
	for (size_t i = 0; i < ARRAY_LEN(records); i++)
		assert_int_equal(response_feed(&r, str_z(records[i]), NULL, &m.e), 0);
	exhaust(&a, try_response);
	response_done(&r);
	SIM_ANSWER(&m, REC_TOOL("0", "t", "write", "{}"), REC_TOOL("1", "t", "weather", "{}"),
		REC_END("tool_use"));
	sim_advance(&m);
	char deny[300];
	snprintf(deny, sizeof(deny),
		"[{\"type\":\"user.tool_confirmation\",\"tool_use_id\":\"%s\",\"result\":\"deny\",\"deny_"
		"message\":\"no\"}]",
		m.s.turn.tools[0].id.z);
	sim_ok(&m, deny);
	exhaust(&a, try_fold);
	exhaust(&a, try_snapshot);
	sim_done(&m);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(plain_bodies),
		cmocka_unit_test(tool_bodies),
		cmocka_unit_test(failure_bodies),
		cmocka_unit_test(preview_ids_and_thinking),
		cmocka_unit_test(odd_ends),
		cmocka_unit_test(largest_response),
		cmocka_unit_test(out_of_memory),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
