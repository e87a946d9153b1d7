/* SPDX-License-Identifier: Apache-2.0 */
/* What the test's model and tools say in a simulated session (model_sim.h), and how its log is read. */
#pragma once

#include "model_sim.h"

/* An answer from the model: records as they stream, one string each, ended by NULL. */
static inline void
sim_answer(struct sim *m, const char *const *records)
{
	struct model_response r;
	struct plan *p = sim_plan_new();
	assert_int_equal(response_init(&r, &m->e), 0);
	for (; *records != NULL; records++) {
		if (response_feed(&r, str_z(*records), NULL, &m->e) < 0)
			fail_msg("%s: %s", *records, m->e.msg);
	}
	if (response_finish(&r, &m->e) < 0 || plan_response(p, &m->s, &r, m->now, &m->e) < 0)
		fail_msg("%s", m->e.msg);
	sim_append(m, p, sim_next(m), false);
	response_done(&r);
	sim_plan_free(p);
}

#define REC_START \
	"{\"type\":\"message_start\",\"message\":{\"usage\":{\"input_tokens\":10,\"output_tokens\":1}}}"
#define REC_STOP "{\"type\":\"message_stop\"}"
#define REC_END(r) \
	"{\"type\":\"message_delta\",\"delta\":{\"stop_reason\":\"" r "\"},\"usage\":{\"output_tokens\":5}}"
#define REC_TEXT(i, t)                                                      \
	"{\"type\":\"content_block_start\",\"index\":" i                    \
	",\"content_block\":{\"type\":\"text\",\"text\":\"\"}}",            \
		"{\"type\":\"content_block_delta\",\"index\":" i            \
		",\"delta\":{\"type\":\"text_delta\",\"text\":\"" t "\"}}", \
		"{\"type\":\"content_block_stop\",\"index\":" i "}"
#define REC_TOOL(i, id, name, input)                                                                        \
	"{\"type\":\"content_block_start\",\"index\":" i                                                    \
	",\"content_block\":{\"type\":\"tool_use\",\"id\":\"" id "\",\"name\":\"" name "\",\"input\":{}}}", \
		"{\"type\":\"content_block_delta\",\"index\":" i                                            \
		",\"delta\":{\"type\":\"input_json_delta\",\"partial_json\":\"" input "\"}}",               \
		"{\"type\":\"content_block_stop\",\"index\":" i "}"

#define SIM_ANSWER(m, ...) sim_answer(m, (const char *const[]){REC_START, __VA_ARGS__, REC_STOP, NULL})
#define SIM_SAY(m)         SIM_ANSWER(m, REC_TEXT("0", "Hello."), REC_END("end_turn"))

static inline void
sim_fail(struct sim *m, enum model_end end, const char *type, uint64_t retry_after_us)
{
	struct plan *p = sim_plan_new();
	struct plan_failure f = {
		.end = end, .error_type = type, .message = "no", .retry_after_us = retry_after_us};
	assert_int_equal(plan_failure(p, &m->s, &f, m->now, &m->e), 0);
	sim_append(m, p, sim_next(m), false);
	sim_plan_free(p);
}

/* Answers the open tool number `i`. */
static inline void
sim_result(struct sim *m, uint32_t i, const char *text, bool is_error)
{
	struct plan *p = sim_plan_new();
	assert_true(i < m->s.turn.n_tools);
	assert_int_equal(
		plan_tool_result(p, &m->s, &m->s.turn.tools[i], str_z(text), is_error, m->now, &m->e), 0);
	sim_append(m, p, sim_next(m), false);
	sim_plan_free(p);
}

static inline void
sim_interrupt(struct sim *m)
{
	struct plan *p = sim_plan_new();
	assert_int_equal(plan_interrupt(p, &m->s, m->now, &m->e), 0);
	assert_int_equal(plan_extend(p, &m->s, m->now, &m->e), 0);
	sim_append(m, p, sim_next(m), false);
	sim_plan_free(p);
}

static inline const struct event_row *
sim_last(const struct sim *m, enum event_type type)
{
	for (size_t i = m->n; i-- > 0;) {
		if (m->log[i].facts.type == type)
			return &m->log[i];
	}
	fail_msg("no %s in the log", event_name(type));
	return NULL;
}

/* The log from row index `from` as names, one a line: "+name" for the PROCESSED row of an event, and the stop
 * reason of idle rows. */
static inline char *
sim_trace(const struct sim *m, size_t from)
{
	static const char *const stops[] = {
		"", "end_turn", "requires_action", "retries_exhausted", "budget_reached", "refusal"};
	static const char *const retries[] = {"", "retrying", "exhausted", "terminal"};
	struct buf b;
	buf_init(&b, 1 * MIB);
	for (size_t i = from; i < m->n; i++) {
		const struct event_facts *f = &m->log[i].facts;
		if (f->type == EV_PROCESSED)
			buf_printf(&b, "+%s", event_name((enum event_type)m->log[f->ref - 1].facts.type));
		else
			buf_put_z(&b, event_name((enum event_type)f->type));
		if (f->stop != STOP_NONE)
			buf_printf(&b, "(%s)", stops[f->stop]);
		if (f->retry != RETRY_NONE)
			buf_printf(&b, "(%s)", retries[f->retry]);
		buf_put_c(&b, '\n');
	}
	buf_put_c(&b, 0);
	char *z = strdup(b.p);
	buf_done(&b);
	return z;
}

#define assert_trace(m, from, want)              \
	do {                                     \
		char *got_ = sim_trace(m, from); \
		assert_string_equal(got_, want); \
		free(got_);                      \
	} while (0)
