/* SPDX-License-Identifier: Apache-2.0 */
/* The turn machine in the sequences of the contract (§9.7), and what clients may send when. */
#include "model_talk.h"

#define MESSAGE   "{\"type\":\"user.message\",\"content\":[{\"type\":\"text\",\"text\":\"Hi\"}]}"
#define INTERRUPT "{\"type\":\"user.interrupt\"}"

#define START                      \
	"session.status_running\n" \
	"session.thread_status_running\n"
#define IDLE(stop)                               \
	"session.thread_status_idle(" stop ")\n" \
	"session.usage\n"                        \
	"session.status_idle(" stop ")\n"

static int
setup(void **state)
{
	struct sim *m = malloc(sizeof(*m));
	sim_init(m);
	*state = m;
	return 0;
}

static int
teardown(void **state)
{
	sim_done(*state);
	free(*state);
	return 0;
}

static void
confirm(struct sim *m, uint32_t tool, const char *result)
{
	char json[512];
	snprintf(json, sizeof(json),
		"[{\"type\":\"user.tool_confirmation\",\"tool_use_id\":\"%s\",\"result\":\"%s\"}]",
		m->s.turn.tools[tool].id.z, result);
	sim_ok(m, json);
}

static void
custom_result(struct sim *m, uint32_t tool)
{
	char json[512];
	snprintf(json, sizeof(json),
		"[{\"type\":\"user.custom_tool_result\",\"custom_tool_use_id\":\"%s\",\"content\":[{\"type\":"
		"\"text\",\"text\":"
		"\"sun\"}]}]",
		m->s.turn.tools[tool].id.z);
	sim_ok(m, json);
}

/* Until the first model request of a turn is open. */
static void
open_request(struct sim *m)
{
	sim_ok(m, "[" MESSAGE "]");
	assert_int_equal(sim_advance(m).kind, ACT_CONTINUE_REQUEST);
}

/* A plain turn. */
static void
sequence_a(void **state)
{
	struct sim *m = *state;
	assert_string_equal(session_status(&m->s), "idle");
	sim_ok(m, "[" MESSAGE "]");
	assert_string_equal(session_status(&m->s), "running"); /* before anything ran */
	assert_int_equal(sim_advance(m).kind, ACT_CONTINUE_REQUEST);
	SIM_SAY(m);
	assert_string_equal(session_status(&m->s), "running");
	assert_int_equal(sim_advance(m).kind, ACT_NONE);
	assert_string_equal(session_status(&m->s), "idle");
	assert_trace(m, 1,
		"user.message\n" START "+user.message\n"
		"span.model_request_start\nagent.message\nspan.model_request_end\n" IDLE("end_turn"));
}

/* A built-in tool that is always allowed. */
static void
sequence_b(void **state)
{
	struct sim *m = *state;
	open_request(m);
	size_t from = m->n;
	SIM_ANSWER(m, REC_TOOL("0", "toolu_1", "bash", "{\\\"command\\\":\\\"ls\\\"}"), REC_END("tool_use"));
	assert_int_equal(sim_advance(m).kind, ACT_RUN_TOOLS);
	sim_result(m, 0, "", false);
	assert_int_equal(sim_advance(m).kind, ACT_CONTINUE_REQUEST);
	SIM_SAY(m);
	sim_advance(m);
	assert_trace(m, from,
		"agent.tool_use\nspan.model_request_end\nagent.tool_result\n"
		"span.model_request_start\nagent.message\nspan.model_request_end\n" IDLE("end_turn"));
}

/* always_ask, allowed. */
static void
sequence_c(void **state)
{
	struct sim *m = *state;
	open_request(m);
	size_t from = m->n;
	SIM_ANSWER(m, REC_TOOL("0", "toolu_1", "write", "{}"), REC_END("tool_use"));
	assert_int_equal(sim_advance(m).kind, ACT_NONE);
	assert_string_equal(session_status(&m->s), "idle");
	confirm(m, 0, "allow");
	assert_string_equal(session_status(&m->s), "running");
	assert_int_equal(sim_advance(m).kind, ACT_RUN_TOOLS);
	sim_result(m, 0, "wrote", false);
	sim_advance(m);
	assert_trace(m, from,
		"agent.tool_use\nspan.model_request_end\n" IDLE(
			"requires_action") "user.tool_confirmation\n" START
					   "+user.tool_confirmation\nagent.tool_result\nspan.model_request_"
					   "start\n");
}

/* always_ask, denied: no execution, the model goes on. */
static void
sequence_c_denied(void **state)
{
	struct sim *m = *state;
	char json[512];
	open_request(m);
	SIM_ANSWER(m, REC_TOOL("0", "toolu_1", "write", "{}"), REC_END("tool_use"));
	sim_advance(m);
	size_t from = m->n;
	snprintf(json, sizeof(json),
		"[{\"type\":\"user.tool_confirmation\",\"tool_use_id\":\"%s\",\"result\":\"deny\",\"deny_"
		"message\":\"not /etc\"}]",
		m->s.turn.tools[0].id.z);
	sim_ok(m, json);
	assert_int_equal(sim_advance(m).kind, ACT_CONTINUE_REQUEST);
	assert_trace(m, from,
		"user.tool_confirmation\n" START
		"+user.tool_confirmation\nagent.tool_result\nspan.model_request_start\n");
	const struct event_row *row = sim_last(m, EV_AGENT_TOOL_RESULT);
	assert_true(row->facts.is_error);
	assert_true(str_find_str(row->body, STR("not /etc")) < row->body.n);
}

/* A custom tool. */
static void
sequence_d(void **state)
{
	struct sim *m = *state;
	open_request(m);
	size_t from = m->n;
	SIM_ANSWER(m, REC_TOOL("0", "toolu_1", "weather", "{}"), REC_END("tool_use"));
	assert_int_equal(sim_advance(m).kind, ACT_NONE);
	custom_result(m, 0);
	assert_int_equal(sim_advance(m).kind, ACT_CONTINUE_REQUEST);
	assert_trace(m, from,
		"agent.custom_tool_use\nspan.model_request_end\n" IDLE(
			"requires_action") "user.custom_tool_result\n" START "span.model_request_start\n");
}

/* A custom tool's result may come before the idle: then there is none. */
static void
sequence_d_early(void **state)
{
	struct sim *m = *state;
	open_request(m);
	size_t from = m->n;
	SIM_ANSWER(m, REC_TOOL("0", "toolu_1", "weather", "{}"), REC_TOOL("1", "toolu_2", "bash", "{}"),
		REC_END("tool_use"));
	assert_int_equal(sim_advance(m).kind, ACT_RUN_TOOLS);
	custom_result(m, 0);
	assert_int_equal(sim_advance(m).kind, ACT_RUN_TOOLS);
	sim_result(m, 0, "x", false);
	assert_int_equal(sim_advance(m).kind, ACT_CONTINUE_REQUEST);
	assert_trace(m, from,
		"agent.custom_tool_use\nagent.tool_use\nspan.model_request_end\nuser.custom_tool_result\n"
		"agent.tool_result\nspan.model_request_start\n");
}

/* Two asks, resolved one at a time: the idle is said again with the rest. */
static void
sequence_e(void **state)
{
	struct sim *m = *state;
	open_request(m);
	SIM_ANSWER(m, REC_TOOL("0", "toolu_1", "write", "{}"), REC_TOOL("1", "toolu_2", "edit", "{}"),
		REC_END("tool_use"));
	assert_int_equal(sim_advance(m).kind, ACT_NONE);
	size_t from = m->n;
	struct id first = m->s.turn.tools[0].id, second = m->s.turn.tools[1].id;
	const struct event_row *idle = sim_last(m, EV_SESSION_STATUS_IDLE);
	assert_true(str_find_str(idle->body, id_str(&first)) < idle->body.n);
	assert_true(str_find_str(idle->body, id_str(&second)) < idle->body.n);
	confirm(m, 1, "allow");
	assert_int_equal(sim_advance(m).kind, ACT_NONE);
	idle = sim_last(m, EV_SESSION_STATUS_IDLE);
	assert_true(str_find_str(idle->body, id_str(&first)) < idle->body.n);
	assert_true(str_find_str(idle->body, id_str(&second)) == idle->body.n);
	confirm(m, 0, "deny");
	assert_int_equal(sim_advance(m).kind, ACT_RUN_TOOLS);
	assert_trace(m, from,
		"user.tool_confirmation\n+user.tool_confirmation\nsession.usage\nsession.status_idle("
		"requires_action)\n"
		"user.tool_confirmation\n" START "+user.tool_confirmation\nagent.tool_result\n");
}

/* Interrupt while the model is generating, with a message behind it. */
static void
sequence_f(void **state)
{
	struct sim *m = *state;
	open_request(m);
	size_t from = m->n;
	sim_ok(m, "[" INTERRUPT "," MESSAGE "]");
	assert_int_equal(sim_next(m), ACT_INTERRUPT);
	assert_int_equal(sim_advance(m).kind, ACT_INTERRUPT); /* somebody has to stop the request first */
	sim_interrupt(m);
	assert_int_equal(sim_next(m), ACT_CONTINUE_REQUEST);
	assert_trace(m, from,
		"user.interrupt\nuser.message\nspan.model_request_end\n+user.interrupt\n" IDLE("end_turn")
			START "+user.message\nspan.model_request_start\n");
}

/* Interrupt with tools open: each gets the documented error result, and no model request follows. */
static void
sequence_f_tools(void **state)
{
	struct sim *m = *state;
	open_request(m);
	SIM_ANSWER(m, REC_TOOL("0", "toolu_1", "bash", "{}"), REC_TOOL("1", "toolu_2", "weather", "{}"),
		REC_END("tool_use"));
	assert_int_equal(sim_advance(m).kind, ACT_RUN_TOOLS);
	size_t from = m->n;
	sim_ok(m, "[" INTERRUPT "]");
	sim_interrupt(m);
	assert_trace(m, from,
		"user.interrupt\nagent.tool_result\nagent.tool_result\n+user.interrupt\n" IDLE("end_turn"));
	const struct event_row *row = sim_last(m, EV_AGENT_TOOL_RESULT);
	assert_true(str_find_str(row->body,
			    STR("Tool execution was interrupted before completion. Please retry.")) <
		    row->body.n);
	assert_true(row->facts.is_error);
}

/* Interrupt while waiting for the client; a queued confirmation goes with it. */
static void
interrupt_requires_action(void **state)
{
	struct sim *m = *state;
	open_request(m);
	SIM_ANSWER(m, REC_TOOL("0", "toolu_1", "write", "{}"), REC_TOOL("1", "toolu_2", "edit", "{}"),
		REC_END("tool_use"));
	sim_advance(m);
	size_t from = m->n;
	confirm(m, 0, "allow");
	sim_ok(m, "[" INTERRUPT "," MESSAGE "]"); /* the message is fine behind the interrupt */
	assert_int_equal(sim_advance(m).kind, ACT_CONTINUE_REQUEST);
	assert_trace(m, from,
		"user.tool_confirmation\nuser.interrupt\nuser.message\nagent.tool_result\nagent.tool_result\n"
		"+user.tool_confirmation\n+user.interrupt\n" IDLE("end_turn") START
		"+user.message\nspan.model_request_start\n");
}

static void
interrupt_idle(void **state)
{
	struct sim *m = *state;
	sim_ok(m, "[" INTERRUPT "]");
	assert_int_equal(sim_advance(m).kind, ACT_NONE);
	assert_trace(m, 1, "user.interrupt\n+user.interrupt\n");
	assert_string_equal(session_status(&m->s), "idle");
}

/* A transient failure, then success. */
static void
sequence_g(void **state)
{
	struct sim *m = *state;
	open_request(m);
	size_t from = m->n;
	sim_fail(m, MODEL_END_ERROR, "model_overloaded_error", 0);
	assert_string_equal(session_status(&m->s), "rescheduling");
	struct turn_action a = sim_advance(m);
	assert_int_equal(a.kind, ACT_WAIT_UNTIL);
	assert_in_range(a.at_us - m->now, 900000, 1000000);
	m->now = a.at_us;
	assert_int_equal(sim_advance(m).kind, ACT_CONTINUE_REQUEST);
	SIM_SAY(m);
	sim_advance(m);
	assert_trace(m, from,
		"span.model_request_end\nsession.error(retrying)\nsession.thread_status_rescheduled\n"
		"session.status_rescheduled\n" START
		"span.model_request_start\nagent.message\nspan.model_request_end\n" IDLE("end_turn"));
}

/* All tries fail: each waits longer, a wish of the model is honoured up to a minute; then exhausted, and what
 * is queued is flushed. */
static void
sequence_g_exhausted(void **state)
{
	struct sim *m = *state;
	static const uint64_t waits[] = {1, 2, 10, 60};
	static const uint64_t wishes[] = {0, 0, 10, 600};
	open_request(m);
	for (int i = 0; i + 1 < LIM_MODEL_TRIES; i++) {
		uint64_t before = m->now;
		sim_fail(m, MODEL_END_ERROR, "model_overloaded_error", wishes[i] * 1000000);
		struct turn_action a = sim_advance(m);
		assert_int_equal(a.kind, ACT_WAIT_UNTIL);
		assert_int_equal(a.at_us - before, waits[i] * 1000000);
		m->now = a.at_us;
		assert_int_equal(sim_advance(m).kind, ACT_CONTINUE_REQUEST);
	}
	sim_ok(m, "[" MESSAGE "]");
	size_t from = m->n;
	sim_fail(m, MODEL_END_ERROR, "model_overloaded_error", 0);
	assert_int_equal(sim_advance(m).kind, ACT_NONE);
	assert_trace(m, from,
		"span.model_request_end\nsession.error(exhausted)\n+user.message\n" IDLE(
			"retries_exhausted"));
	assert_int_equal(m->s.turn.tries, 0);
}

static void
fatal_failure(void **state)
{
	struct sim *m = *state;
	open_request(m);
	size_t from = m->n;
	sim_fail(m, MODEL_END_FATAL, "billing_error", 0);
	sim_advance(m);
	assert_trace(m, from, "span.model_request_end\nsession.error(exhausted)\n" IDLE("retries_exhausted"));
}

/* A lost request is repeated without counting as a try. */
static void
lost_request(void **state)
{
	struct sim *m = *state;
	open_request(m);
	size_t from = m->n;
	for (int i = 0; i < 2 * LIM_MODEL_TRIES; i++) {
		sim_fail(m, MODEL_END_LOST, NULL, 0);
		assert_int_equal(m->s.turn.tries, 0);
		assert_int_equal(sim_advance(m).kind, ACT_CONTINUE_REQUEST);
	}
	assert_int_equal(m->n - from, 4 * LIM_MODEL_TRIES);
	assert_true(sim_last(m, EV_SPAN_MODEL_REQUEST_END)->facts.is_error);
}

static void
interrupt_rescheduling(void **state)
{
	struct sim *m = *state;
	open_request(m);
	sim_fail(m, MODEL_END_ERROR, "model_overloaded_error", 0);
	size_t from = m->n;
	sim_ok(m, "[" INTERRUPT "]");
	assert_int_equal(sim_advance(m).kind, ACT_NONE);
	assert_trace(m, from, "user.interrupt\n+user.interrupt\n" IDLE("end_turn"));
}

/* Messages that come while running are taken between two requests, without an idle. */
static void
queued_while_running(void **state)
{
	struct sim *m = *state;
	open_request(m);
	size_t from = m->n;
	sim_ok(m, "[" MESSAGE "]");
	assert_int_equal(sim_next(m), ACT_CONTINUE_REQUEST);
	SIM_SAY(m);
	assert_int_equal(sim_advance(m).kind, ACT_CONTINUE_REQUEST);
	assert_trace(m, from,
		"user.message\nagent.message\nspan.model_request_end\n+user.message\nspan.model_request_"
		"start\n");
}

/* ... and before waiting for the client. */
static void
queued_before_requires_action(void **state)
{
	struct sim *m = *state;
	open_request(m);
	size_t from = m->n;
	sim_ok(m, "[" MESSAGE "]");
	SIM_ANSWER(m, REC_TOOL("0", "toolu_1", "weather", "{}"), REC_END("tool_use"));
	assert_int_equal(sim_advance(m).kind, ACT_NONE);
	assert_trace(m, from,
		"user.message\nagent.custom_tool_use\nspan.model_request_end\n+user.message\n" IDLE(
			"requires_action"));
	custom_result(m, 0);
	assert_int_equal(sim_advance(m).kind, ACT_CONTINUE_REQUEST);
}

static void
refusal(void **state)
{
	struct sim *m = *state;
	open_request(m);
	sim_ok(m, "[" MESSAGE "]");
	size_t from = m->n;
	SIM_ANSWER(m, REC_TEXT("0", "I"),
		"{\"type\":\"message_delta\",\"delta\":{\"stop_reason\":\"refusal\",\"stop_details\":{"
		"\"type\":\"refusal\","
		"\"category\":\"cyber\",\"explanation\":\"no\"}},\"usage\":{}}");
	assert_int_equal(
		sim_advance(m).kind, ACT_CONTINUE_REQUEST); /* the queued message starts a turn of its own */
	assert_trace(m, from,
		"agent.message\nspan.model_request_end\n" IDLE("refusal") START
		"+user.message\nspan.model_request_start\n");
	const struct event_row *idle = sim_last(m, EV_SESSION_STATUS_IDLE);
	assert_true(str_find_str(idle->body, STR("\"stop_details\":{\"type\":\"refusal\",\"category\":"
						 "\"cyber\",\"explanation\":\"no\"}")) < idle->body.n);
}

/* Denied by configuration: the model is told at once. */
static void
disabled_and_unknown_tools(void **state)
{
	struct sim *m = *state;
	open_request(m);
	size_t from = m->n;
	SIM_ANSWER(m, REC_TOOL("0", "t1", "grep", "{}"), REC_TOOL("1", "t2", "nonsense", "{}"),
		REC_TOOL("2", "t3", "bash", "[1]"), REC_TOOL("3", "t4", "weather", "{"), REC_END("tool_use"));
	assert_int_equal(sim_advance(m).kind, ACT_CONTINUE_REQUEST);
	assert_trace(m, from,
		"agent.tool_use\nagent.tool_use\nagent.tool_use\nagent.tool_use\nspan.model_request_end\n"
		"agent.tool_result\nagent.tool_result\nagent.tool_result\nagent.tool_result\nspan.model_"
		"request_start\n");
	const struct event_row *use = &m->log[from], *result = &m->log[from + 5];
	assert_true(str_find_str(use->body, STR("\"evaluated_permission\":\"deny\"}")) < use->body.n);
	assert_true(
		str_find_str(result->body, STR("Permission to use grep has been denied.")) < result->body.n);
}

/* The limit of rounds ends the turn with an error; the next message starts afresh. */
static void
round_limit(void **state)
{
	struct sim *m = *state;
	open_request(m);
	for (int i = 0; i < LIM_TOOL_ROUNDS; i++) {
		SIM_ANSWER(m, REC_TOOL("0", "t1", "bash", "{}"), REC_END("tool_use"));
		sim_result(m, 0, "x", false);
		if (i + 1 < LIM_TOOL_ROUNDS)
			assert_int_equal(sim_advance(m).kind, ACT_CONTINUE_REQUEST);
	}
	size_t from = m->n;
	assert_int_equal(sim_advance(m).kind, ACT_NONE);
	assert_trace(m, from, "session.error(exhausted)\n" IDLE("retries_exhausted"));
	const struct event_row *error = sim_last(m, EV_SESSION_ERROR);
	assert_true(str_find_str(error->body, STR("tool_use_limit_reached_error")) < error->body.n);
	open_request(m);
	assert_int_equal(m->s.turn.rounds, 0);
}

/* Archive ends it; nothing follows. */
static void
sequence_k(void **state)
{
	struct sim *m = *state;
	struct plan *p = sim_plan_new();
	open_request(m);
	assert_err(plan_archive(p, &m->s, m->now, &m->e), m->e, ERR_INVALID);
	SIM_SAY(m);
	sim_advance(m);
	size_t from = m->n;
	assert_int_equal(plan_archive(p, &m->s, m->now, &m->e), 0);
	sim_append(m, p, ACT_NONE, false);
	assert_trace(
		m, from, "session.thread_status_terminated\nsession.status_terminated\npinfold.archived\n");
	assert_string_equal(session_status(&m->s), "terminated");
	assert_int_equal(sim_next(m), ACT_NONE);
	assert_false(turn_busy(&m->s.turn));
	assert_err(sim_send(m, "[" MESSAGE "]"), m->e, ERR_INVALID);
	p->n_rows = 0;
	assert_int_equal(plan_archive(p, &m->s, m->now, &m->e), 0);
	assert_int_equal(p->n_rows, 0);
	sim_plan_free(p);
}

/* One commit both acknowledges and starts. */
static void
one_batch_start(void **state)
{
	struct sim *m = *state;
	assert_int_equal(sim_send_at(m, "[" MESSAGE "]", true), 0);
	assert_int_equal(m->n_batches, 1);
	assert_trace(m, 1, "user.message\n" START "+user.message\nspan.model_request_start\n");
}

/* system.message: alone it is noted without starting work. */
static void
system_message(void **state)
{
	struct sim *m = *state;
	const char *sys = "[{\"type\":\"system.message\",\"content\":[{\"type\":\"text\",\"text\":\"S\"}]}]";
	sim_ok(m, sys);
	assert_int_equal(sim_advance(m).kind, ACT_NONE);
	assert_trace(m, 1, "system.message\n+system.message\n");
	size_t from = m->n;
	sim_ok(m, "[" MESSAGE
		  ",{\"type\":\"system.message\",\"content\":[{\"type\":\"text\",\"text\":\"S\"}]}]");
	sim_advance(m);
	assert_trace(m, from,
		"user.message\nsystem.message\n" START
		"+user.message\n+system.message\nspan.model_request_start\n");
	assert_err(sim_send(m, "[{\"type\":\"system.message\",\"content\":[{\"type\":\"text\",\"text\":\"S\"}"
			       "]}," MESSAGE "]"),
		m->e, ERR_INVALID);
	assert_err(
		sim_send(m,
			"[" INTERRUPT
			",{\"type\":\"system.message\",\"content\":[{\"type\":\"text\",\"text\":\"S\"}]}]"),
		m->e, ERR_INVALID);
	SIM_ANSWER(m, REC_TOOL("0", "t1", "weather", "{}"), REC_END("tool_use"));
	sim_advance(m);
	assert_err(sim_send(m, sys), m->e, ERR_INVALID);
}

/* ---- refusals ---- */

static void
refuse(struct sim *m, const char *json, const char *want)
{
	size_t rows = m->n;
	m->e = (struct err){0};
	assert_int_equal(sim_send(m, json), -ERR_INVALID);
	assert_int_equal(m->n, rows);
	if (strstr(m->e.msg, want) == NULL)
		fail_msg("%s: got \"%s\", want \"%s\"", json, m->e.msg, want);
}

static const char *
with_id(char *dst, size_t cap, const char *fmt, const struct sim *m, uint32_t tool)
{
	const char *at = strchr(fmt, '@');
	snprintf(dst, cap, "%.*s%s%s", (int)(at - fmt), fmt, m->s.turn.tools[tool].id.z, at + 1);
	return dst;
}

#define CONFIRM "{\"type\":\"user.tool_confirmation\",\"tool_use_id\":\"@\",\"result\":\"allow\"}"
#define CUSTOM  "{\"type\":\"user.custom_tool_result\",\"custom_tool_use_id\":\"@\"}"

static void
refusals(void **state)
{
	struct sim *m = *state;
	char z[1024];
	refuse(m, "[{\"type\":\"user.tool_confirmation\",\"tool_use_id\":\"sevt_x\",\"result\":\"allow\"}]",
		"events.0.tool_use_id: no open tool use has the id sevt_x");
	refuse(m, "[{\"type\":\"user.custom_tool_result\",\"custom_tool_use_id\":\"sevt_x\"}]",
		"events.0.custom_tool_use_id: no open");
	refuse(m, "[{\"type\":\"user.tool_result\",\"tool_use_id\":\"sevt_x\"}]", "only on self_hosted");
	refuse(m,
		"[{\"type\":\"user.define_outcome\",\"description\":\"d\",\"rubric\":{\"type\":\"text\","
		"\"content\":\"c\"}}]",
		"not supported yet");
	refuse(m, "[{\"type\":\"user.interrupt\",\"session_thread_id\":\"sthr_x\"}]",
		"events.0.session_thread_id: the session has no thread");
	open_request(m);
	SIM_ANSWER(m, REC_TOOL("0", "t1", "bash", "{}"), REC_TOOL("1", "t2", "write", "{}"),
		REC_TOOL("2", "t3", "weather", "{}"), REC_END("tool_use"));
	refuse(m, with_id(z, sizeof(z), "[" CONFIRM "]", m, 0), "was allowed by its permission policy");
	refuse(m, with_id(z, sizeof(z), "[" CONFIRM "]", m, 2), "is a custom tool use");
	refuse(m, with_id(z, sizeof(z), "[" CUSTOM "]", m, 1), "is not a custom tool use");
	sim_result(m, 0, "x", false);
	sim_advance(m);
	refuse(m, "[" MESSAGE "]", "requires_action");
	/* all or nothing: the second one is wrong, the first one is not kept */
	refuse(m,
		with_id(z, sizeof(z),
			"[" CONFIRM ",{\"type\":\"user.custom_tool_result\",\"custom_tool_use_id\":\"x\"}]",
			m, 0),
		"events.1.custom_tool_use_id");
	sim_ok(m, with_id(z, sizeof(z), "[" CONFIRM "]", m, 0));
	refuse(m, with_id(z, sizeof(z), "[" CONFIRM "]", m, 0), "has been confirmed already");
}

/* Confirming and answering everything that is open makes room for a message in the same request. */
static void
message_after_the_last_answer(void **state)
{
	struct sim *m = *state;
	char z[1024];
	open_request(m);
	SIM_ANSWER(m, REC_TOOL("0", "t1", "write", "{}"), REC_END("tool_use"));
	sim_advance(m);
	sim_ok(m, with_id(z, sizeof(z), "[" CONFIRM "," MESSAGE "]", m, 0));
	size_t from = m->n;
	assert_int_equal(sim_advance(m).kind, ACT_RUN_TOOLS);
	assert_trace(m, from, START "+user.tool_confirmation\n+user.message\n");
}

static void
queue_limit(void **state)
{
	struct sim *m = *state;
	open_request(m);
	for (int i = 0; i < LIM_QUEUED_EVENTS; i++)
		sim_ok(m, "[" MESSAGE "]");
	assert_err(sim_send(m, "[" MESSAGE "]"), m->e, ERR_RATE_LIMITED);
	SIM_SAY(m);
	while (sim_advance(m).kind != ACT_CONTINUE_REQUEST)
		;
	assert_int_equal(m->s.turn.n_queued, 0);
}

static void
interrupt_limit(void **state)
{
	struct sim *m = *state;
	open_request(m);
	SIM_ANSWER(m, REC_TOOL("0", "t1", "bash", "{}"), REC_END("tool_use"));
	for (int i = 0; i < LIM_QUEUED_EVENTS; i++)
		sim_ok(m, "[" INTERRUPT "]");
	size_t idles = 0;
	while (sim_next(m) == ACT_INTERRUPT)
		sim_interrupt(m);
	for (size_t i = 0; i < m->n; i++)
		idles += m->log[i].facts.type == EV_SESSION_STATUS_IDLE;
	assert_int_equal(idles, 1);
	assert_int_equal(m->s.turn.n_queued, 0);
	assert_int_equal(sim_next(m), ACT_NONE);
}

/* Rows that cannot follow are refused, whatever their source. */
static void
broken_logs(void **state)
{
	struct sim *m = *state;
	static const enum event_type never[] = {EV_SESSION_STATUS_RESCHEDULED, EV_SPAN_MODEL_REQUEST_START,
		EV_SPAN_MODEL_REQUEST_END, EV_AGENT_TOOL_USE, EV_AGENT_TOOL_RESULT, EV_PROCESSED,
		EV_USER_CUSTOM_TOOL_RESULT, EV_USER_TOOL_CONFIRMATION};
	for (size_t i = 0; i < ARRAY_LEN(never); i++) {
		struct event_row row = {
			.seq = 2, .facts = {.type = (uint8_t)never[i], .permission = PERM_ALLOW}};
		assert_err(turn_fold(&m->s.turn, &row, &m->e), m->e, ERR_CORRUPT);
	}
	struct event_row gap = {.seq = 3, .facts = {.type = EV_SANDBOX}};
	assert_err(turn_fold(&m->s.turn, &gap, &m->e), m->e, ERR_CORRUPT);
	gap.seq = 2;
	assert_int_equal(turn_fold(&m->s.turn, &gap, &m->e), 0);
	assert_err(turn_fold(&m->s.turn, &gap, &m->e), m->e, ERR_CORRUPT);
}

int
main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(sequence_a),
		T(sequence_b),
		T(sequence_c),
		T(sequence_c_denied),
		T(sequence_d),
		T(sequence_d_early),
		T(sequence_e),
		T(sequence_f),
		T(sequence_f_tools),
		T(interrupt_requires_action),
		T(interrupt_idle),
		T(sequence_g),
		T(sequence_g_exhausted),
		T(fatal_failure),
		T(lost_request),
		T(interrupt_rescheduling),
		T(queued_while_running),
		T(queued_before_requires_action),
		T(refusal),
		T(disabled_and_unknown_tools),
		T(round_limit),
		T(sequence_k),
		T(one_batch_start),
		T(system_message),
		T(refusals),
		T(message_after_the_last_answer),
		T(queue_limit),
		T(interrupt_limit),
		T(broken_logs),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
