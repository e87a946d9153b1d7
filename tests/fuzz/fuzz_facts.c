/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Records of facts, 64 bytes each, as a damaged log would give them. Those that decode are folded as the rows
 * of one session: whatever the turn machine takes must keep its invariants, and it must always know what to
 * do next.
 */
#include "fuzz.h"

#include "base/limits.h"
#include "model/turn.h"

static void
check_facts(const struct event_facts *f)
{
	struct event_facts again;
	uint8_t a[EVENT_FACTS_BYTES], b[EVENT_FACTS_BYTES];
	event_facts_encode(f, a);
	ASSERT(event_facts_decode(str_n(a, sizeof(a)), &again, NULL) == 0);
	event_facts_encode(&again, b);
	ASSERT(memcmp(a, b, sizeof(a)) == 0);
}

static void
check_turn(const struct turn *t)
{
	struct turn copy;
	struct turn_action a = turn_next(t, t->retry_at_us);
	ASSERT(a.kind != ACT_WAIT_UNTIL);
	ASSERT(t->status != TURN_TERMINATED || a.kind == ACT_NONE);
	ASSERT(a.kind != ACT_REQUEST_MODEL || (t->request_seq == 0 && t->n_tools == 0));
	ASSERT(a.kind != ACT_RUN_TOOLS || (t->request_seq == 0 && t->n_tools > 0));
	ASSERT(a.kind != ACT_GO_IDLE || (a.stop == STOP_REQUIRES_ACTION) == (t->n_tools > 0));
	ASSERT(t->n_tools <= LIM_MODEL_TOOL_USES && t->n_queued <= LIM_QUEUED_EVENTS);
	ASSERT(turn_copy(&copy, t, NULL) == 0);
	ASSERT(turn_next(&copy, t->retry_at_us).kind == a.kind && turn_busy(&copy) == turn_busy(t));
	turn_done(&copy);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct turn t;
	turn_init(&t);
	for (size_t at = 0; at + EVENT_FACTS_BYTES <= size; at += EVENT_FACTS_BYTES) {
		struct event_row row = {.seq = t.last_seq + 1};
		if (event_facts_decode(str_n(data + at, EVENT_FACTS_BYTES), &row.facts, NULL) < 0)
			continue;
		check_facts(&row.facts);
		/* small numbers make references that hit */
		row.facts.ref = row.facts.ref % (t.last_seq + 1);
		row.id.z[0] = (char)('a' + row.seq % 26);
		if (turn_fold(&t, &row, NULL) < 0)
			break;
		check_turn(&t);
	}
	turn_done(&t);
	return 0;
}
