/* SPDX-License-Identifier: Apache-2.0 */
#include "model/plan.h"

#include "base/limits.h"
#include "model/planner.h"

#define TEXT_INTERRUPTED "Tool execution was interrupted before completion. Please retry."

/* ---- interrupt ---- */

/* A confirmation of a tool that the interrupt answered would have nothing to confirm later. */
static bool
goes_with_interrupt(const struct turn_queued *q)
{
	return q->type == EV_USER_INTERRUPT || q->type == EV_USER_TOOL_CONFIRMATION;
}

/* Processes them all but one interrupt, which goes last: until then the turn machine says interrupt again. */
static void
process_interrupts(struct planner *pl)
{
	const struct turn *t = &pl->s.turn;
	uint32_t last = 0, i = 0;
	for (uint32_t k = 0; k < t->n_queued; k++)
		last = t->queued[k].type == EV_USER_INTERRUPT ? t->queued[k].seq : last;
	while (pl->rc == 0 && i < t->n_queued) {
		if (!goes_with_interrupt(&t->queued[i]) || t->queued[i].seq == last) {
			i++;
			continue;
		}
		if (planner_room(pl) <= PLANNER_ROOM)
			return;
		planner_processed(pl, t->queued[i].seq);
	}
	planner_processed(pl, last);
}

static void
interrupt_rows(struct planner *pl)
{
	const struct turn *t = &pl->s.turn;
	bool anything = t->status != TURN_IDLE || t->stop == STOP_REQUIRES_ACTION;
	if (t->request_seq != 0)
		planner_request_end(pl, MODEL_END_INTERRUPTED, NULL);
	while (pl->rc == 0 && t->n_tools > 0) {
		struct turn_tool tool = t->tools[0];
		tool.deny = STR_NULL;
		planner_tool_result(pl, &tool, STR(TEXT_INTERRUPTED), true);
	}
	process_interrupts(pl);
	if (pl->rc == 0 && anything && turn_next(t, pl->now).kind != ACT_INTERRUPT)
		planner_idle(pl, STOP_END_TURN, NULL);
}

int
plan_interrupt(struct plan *p, const struct session_state *s, uint64_t now_us, struct err *e)
{
	struct planner pl;
	planner_init(&pl, p, s, now_us, e);
	if (pl.rc == 0 && turn_next(&pl.s.turn, now_us).kind == ACT_INTERRUPT)
		interrupt_rows(&pl);
	return planner_done(&pl);
}

/* ---- advance ---- */

static void
take_queued(struct planner *pl)
{
	while (pl->rc == 0 && planner_room(pl) > PLANNER_ROOM && pl->s.turn.n_queued > 0)
		planner_processed(pl, pl->s.turn.queued[0].seq);
}

/* Carries out one action that only appends. False: this one needs the outside. */
static bool
advance_one(struct planner *pl, const struct turn_action *a)
{
	switch (a->kind) {
	case ACT_NONE:
	case ACT_CONTINUE_REQUEST:
	case ACT_RUN_TOOLS:
	case ACT_WAIT_UNTIL:
		return false;
	case ACT_START_TURN:
	case ACT_RESUME:
		planner_plain(pl, EV_SESSION_STATUS_RUNNING);
		planner_thread(pl, EV_THREAD_STATUS_RUNNING);
		return true;
	case ACT_TAKE_QUEUED:
		take_queued(pl);
		return true;
	case ACT_REQUEST_MODEL:
		planner_plain(pl, EV_SPAN_MODEL_REQUEST_START);
		return true;
	case ACT_DENY_TOOLS:
		planner_deny_tools(pl);
		return true;
	case ACT_GO_IDLE:
		planner_idle(pl, a->stop, NULL);
		return true;
	case ACT_INTERRUPT:
		if (pl->s.turn.status == TURN_RUNNING) /* something may be in flight */
			return false;
		interrupt_rows(pl);
		return true;
	}
	return false;
}

static void
advance(struct planner *pl)
{
	struct turn_action a = turn_next(&pl->s.turn, pl->now);
	while (pl->rc == 0 && planner_room(pl) > PLANNER_ROOM && advance_one(pl, &a))
		a = turn_next(&pl->s.turn, pl->now);
	pl->p->then = a;
}

int
plan_advance(struct plan *p, const struct session_state *s, uint64_t now_us, struct err *e)
{
	struct planner pl;
	planner_init(&pl, p, s, now_us, e);
	if (pl.rc == 0)
		advance(&pl);
	return planner_done(&pl);
}

int
plan_extend(struct plan *p, const struct session_state *s, uint64_t now_us, struct err *e)
{
	return plan_advance(p, s, now_us, e);
}
