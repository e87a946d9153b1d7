/* SPDX-License-Identifier: Apache-2.0 */
#include "model/turn.h"

#include <stdlib.h>

#include "base/json.h"
#include "model/own.h"

/* ---- life cycle ---- */

void
turn_init(struct turn *t)
{
	*t = (struct turn){.status = TURN_IDLE};
}

static void
tool_drop(struct turn *t, uint32_t i)
{
	own_free(&t->tools[i].deny);
	memmove(&t->tools[i], &t->tools[i + 1], (t->n_tools - i - 1) * sizeof(t->tools[0]));
	t->n_tools--;
}

void
turn_done(struct turn *t)
{
	while (t->n_tools > 0)
		tool_drop(t, t->n_tools - 1);
	free(t->tools);
	free(t->queued);
	turn_init(t);
}

/* Makes room for one more element in an array that doubles. */
static int
grow(void **array, uint32_t n, uint32_t *cap, size_t size, struct err *e)
{
	if (n < *cap)
		return 0;
	uint32_t want = *cap == 0 ? 4 : *cap * 2;
	void *p = realloc(*array, want * size);
	if (p == NULL)
		return err_set(e, ERR_NO_MEMORY, "out of memory");
	*array = p;
	*cap = want;
	return 0;
}

int
turn_tool_push(struct turn *t, const struct turn_tool *tool, struct err *e)
{
	struct turn_tool own = *tool;
	void *p = t->tools;
	own.deny = STR_NULL;
	int r = grow(&p, t->n_tools, &t->cap_tools, sizeof(own), e);
	t->tools = p;
	if (r == 0)
		r = own_set(&own.deny, tool->deny, e);
	if (r == 0)
		t->tools[t->n_tools++] = own;
	return r;
}

int
turn_queue_push(struct turn *t, const struct turn_queued *q, struct err *e)
{
	void *p = t->queued;
	int r = grow(&p, t->n_queued, &t->cap_queued, sizeof(*q), e);
	t->queued = p;
	if (r == 0)
		t->queued[t->n_queued++] = *q;
	return r;
}

int
turn_copy(struct turn *to, const struct turn *from, struct err *e)
{
	struct turn t = *from;
	int r = 0;
	t.tools = NULL;
	t.queued = NULL;
	t.n_tools = t.cap_tools = t.n_queued = t.cap_queued = 0;
	for (uint32_t i = 0; r == 0 && i < from->n_tools; i++)
		r = turn_tool_push(&t, &from->tools[i], e);
	for (uint32_t i = 0; r == 0 && i < from->n_queued; i++)
		r = turn_queue_push(&t, &from->queued[i], e);
	if (r < 0)
		turn_done(&t);
	else
		*to = t;
	return r;
}

/* ---- questions ---- */

const struct turn_tool *
turn_tool_by_id(const struct turn *t, struct str id)
{
	for (uint32_t i = 0; i < t->n_tools; i++) {
		if (str_eq(id_str(&t->tools[i].id), id))
			return &t->tools[i];
	}
	return NULL;
}

const struct turn_tool *
turn_tool_by_seq(const struct turn *t, uint32_t seq)
{
	for (uint32_t i = 0; i < t->n_tools; i++) {
		if (t->tools[i].seq == seq)
			return &t->tools[i];
	}
	return NULL;
}

bool
turn_tool_runnable(const struct turn_tool *tool)
{
	return tool->kind != TURN_TOOL_CUSTOM &&
	       (tool->permission == PERM_ALLOW ||
		       (tool->permission == PERM_ASK && tool->verdict == PERM_ALLOW));
}

bool
turn_tool_denied(const struct turn_tool *tool)
{
	return tool->kind != TURN_TOOL_CUSTOM &&
	       (tool->permission == PERM_DENY || tool->verdict == PERM_DENY);
}

bool
turn_tool_waits(const struct turn_tool *tool)
{
	return tool->kind == TURN_TOOL_CUSTOM || (tool->permission == PERM_ASK && tool->verdict == PERM_NONE);
}

static bool
queue_has(const struct turn *t, enum event_type type)
{
	for (uint32_t i = 0; i < t->n_queued; i++) {
		if (t->queued[i].type == type)
			return true;
	}
	return false;
}

static bool
queue_confirms(const struct turn *t, uint32_t tool_seq)
{
	for (uint32_t i = 0; i < t->n_queued; i++) {
		if (t->queued[i].type == EV_USER_TOOL_CONFIRMATION && t->queued[i].ref == tool_seq)
			return true;
	}
	return false;
}

/* Some open tool waits for the client, and no queued confirmation answers it. */
static bool
client_owes(const struct turn *t)
{
	for (uint32_t i = 0; i < t->n_tools; i++) {
		if (turn_tool_waits(&t->tools[i]) && !queue_confirms(t, t->tools[i].seq))
			return true;
	}
	return false;
}

/* ---- next ---- */

static struct turn_action
act(enum turn_action_kind kind)
{
	return (struct turn_action){.kind = kind};
}

static struct turn_action
go_idle(enum stop_reason stop)
{
	return (struct turn_action){.kind = ACT_GO_IDLE, .stop = stop};
}

static struct turn_action
next_idle(const struct turn *t)
{
	if (t->n_tools > 0 && client_owes(t)) {
		if (t->n_queued > 0)
			return act(ACT_TAKE_QUEUED);
		return t->restate ? go_idle(STOP_REQUIRES_ACTION) : act(ACT_NONE);
	}
	if (t->n_tools > 0 || t->wants_model || t->pending_stop != STOP_NONE || queue_has(t, EV_USER_MESSAGE))
		return act(ACT_START_TURN);
	return act(t->n_queued > 0 ? ACT_TAKE_QUEUED : ACT_NONE);
}

static struct turn_action
next_tools(const struct turn *t)
{
	bool run = false;
	for (uint32_t i = 0; i < t->n_tools; i++) {
		if (turn_tool_denied(&t->tools[i]))
			return act(ACT_DENY_TOOLS);
		run = run || turn_tool_runnable(&t->tools[i]);
	}
	return run ? act(ACT_RUN_TOOLS) : go_idle(STOP_REQUIRES_ACTION);
}

static struct turn_action
next_running(const struct turn *t)
{
	if (t->request_seq != 0)
		return act(ACT_CONTINUE_REQUEST);
	/* a refusal is told before anything else is taken: what is queued starts a turn of its own */
	if (t->n_queued > 0 && t->pending_stop != STOP_REFUSAL)
		return act(ACT_TAKE_QUEUED);
	if (t->n_tools > 0)
		return next_tools(t);
	if (t->pending_stop != STOP_NONE)
		return go_idle((enum stop_reason)t->pending_stop);
	return t->wants_model ? act(ACT_REQUEST_MODEL) : go_idle(STOP_END_TURN);
}

struct turn_action
turn_next(const struct turn *t, uint64_t now_us)
{
	if (t->status == TURN_TERMINATED)
		return act(ACT_NONE);
	if (queue_has(t, EV_USER_INTERRUPT))
		return act(ACT_INTERRUPT);
	if (t->status == TURN_IDLE)
		return next_idle(t);
	if (t->status == TURN_RUNNING)
		return next_running(t);
	if (now_us < t->retry_at_us)
		return (struct turn_action){.kind = ACT_WAIT_UNTIL, .at_us = t->retry_at_us};
	return act(ACT_RESUME);
}

bool
turn_busy(const struct turn *t)
{
	if (t->status == TURN_IDLE)
		return turn_next(t, 0).kind != ACT_NONE;
	return t->status != TURN_TERMINATED;
}

/* ---- accepts ---- */

static int
accepts_confirmation(const struct turn *t, struct str id, uint32_t *ref, struct err *e)
{
	const struct turn_tool *tool = turn_tool_by_id(t, id);
	if (tool == NULL)
		return err_set(e, ERR_INVALID,
			"tool_use_id: no open tool use has the id %.*s; it does not exist or has been "
			"answered",
			STRF(str_sub(id, 0, 64)));
	if (tool->kind == TURN_TOOL_CUSTOM)
		return err_set(e, ERR_INVALID,
			"tool_use_id: %s is a custom tool use; answer it with user.custom_tool_result",
			tool->id.z);
	if (tool->permission != PERM_ASK)
		return err_set(e, ERR_INVALID,
			"tool_use_id: %s was %s by its permission policy and cannot be confirmed", tool->id.z,
			tool->permission == PERM_DENY ? "denied" : "allowed");
	if (tool->verdict != PERM_NONE || queue_confirms(t, tool->seq))
		return err_set(e, ERR_INVALID, "tool_use_id: %s has been confirmed already", tool->id.z);
	*ref = tool->seq;
	return 0;
}

static int
accepts_custom_result(const struct turn *t, struct str id, uint32_t *ref, struct err *e)
{
	const struct turn_tool *tool = turn_tool_by_id(t, id);
	if (tool == NULL)
		return err_set(e, ERR_INVALID,
			"custom_tool_use_id: no open custom tool use has the id %.*s; it does not exist or "
			"has been answered",
			STRF(str_sub(id, 0, 64)));
	if (tool->kind != TURN_TOOL_CUSTOM)
		return err_set(e, ERR_INVALID, "custom_tool_use_id: %s is not a custom tool use", tool->id.z);
	*ref = tool->seq;
	return 0;
}

static int
accepts_message(const struct turn *t, struct err *e)
{
	if (t->status == TURN_IDLE && t->n_tools > 0 && client_owes(t) && !queue_has(t, EV_USER_INTERRUPT))
		return err_set(e, ERR_INVALID,
			"the session is idle with stop_reason requires_action: answer the tool uses it "
			"names, or send "
			"user.interrupt, before another message");
	return 0;
}

static int
accepts_queued(const struct turn *t, enum event_type type, struct str ref_id, uint32_t *ref, struct err *e)
{
	if (t->n_queued >= LIM_QUEUED_EVENTS)
		return err_set(e, ERR_RATE_LIMITED, "%d events wait to be processed; try again later",
			LIM_QUEUED_EVENTS);
	if (type == EV_USER_TOOL_CONFIRMATION)
		return accepts_confirmation(t, ref_id, ref, e);
	return type == EV_USER_INTERRUPT ? 0 : accepts_message(t, e);
}

int
turn_accepts(const struct turn *t, enum event_type type, struct str ref_id, uint32_t *ref, struct err *e)
{
	*ref = 0;
	if (t->status == TURN_TERMINATED)
		return err_set(e, ERR_INVALID, "the session is terminated and accepts no more events");
	if (event_class(type) == EVENT_CLIENT_QUEUED)
		return accepts_queued(t, type, ref_id, ref, e);
	if (type == EV_USER_CUSTOM_TOOL_RESULT)
		return accepts_custom_result(t, ref_id, ref, e);
	if (type == EV_USER_TOOL_RESULT)
		return err_set(
			e, ERR_INVALID, "user.tool_result is accepted only on self_hosted environments");
	if (type == EV_USER_DEFINE_OUTCOME)
		return err_set(e, ERR_INVALID, "user.define_outcome is not supported yet");
	return err_set(e, ERR_INVALID, "events of type %s cannot be sent by clients", event_name(type));
}

/* ---- fold ---- */

typedef int fold_fn(struct turn *t, const struct event_row *row, struct err *e);

static int
broken(const struct turn *t, const struct event_row *row, const char *why, struct err *e)
{
	return err_set(e, ERR_CORRUPT, "log row %u (%s) cannot follow row %u: %s", row->seq,
		event_name((enum event_type)row->facts.type), t->last_seq, why);
}

static struct turn_tool *
tool_of(struct turn *t, uint32_t seq)
{
	for (uint32_t i = 0; i < t->n_tools; i++) {
		if (t->tools[i].seq == seq)
			return &t->tools[i];
	}
	return NULL;
}

/* The body of a denial may say why. It is needed again when the denial is carried out. */
static int
keep_deny_message(struct turn_tool *tool, struct str body, struct err *e)
{
	AUTO(json) struct json_t *v = NULL;
	if (body.n == 0)
		return 0;
	int r = json_parse(body, &v, e);
	if (r < 0)
		return r == -ERR_NO_MEMORY ? r
					   : err_set(e, ERR_CORRUPT, "a tool confirmation has no valid body");
	struct str text = json_get_str(v, "deny_message");
	if (tool->deny.p != NULL || text.n == 0)
		return 0;
	return own_set(&tool->deny, text, e);
}

static int
fold_queued(struct turn *t, const struct event_row *row, struct err *e)
{
	struct turn_queued q = {.seq = row->seq,
		.ref = row->facts.ref,
		.type = row->facts.type,
		.permission = row->facts.permission};
	if (t->n_queued >= LIM_QUEUED_EVENTS)
		return broken(t, row, "too many queued events", e);
	if (q.type == EV_USER_TOOL_CONFIRMATION) {
		struct turn_tool *tool = tool_of(t, q.ref);
		if (tool == NULL || tool->kind == TURN_TOOL_CUSTOM || tool->permission != PERM_ASK ||
			tool->verdict != PERM_NONE || queue_confirms(t, q.ref))
			return broken(t, row, "nothing waits for this confirmation", e);
		if (q.permission != PERM_ALLOW && q.permission != PERM_DENY)
			return broken(t, row, "no verdict", e);
		int r = q.permission == PERM_DENY ? keep_deny_message(tool, row->body, e) : 0;
		if (r < 0)
			return r;
	}
	return turn_queue_push(t, &q, e);
}

static void
process_message(struct turn *t)
{
	if (t->pending_stop == STOP_END_TURN)
		t->pending_stop = STOP_NONE;
	if (t->pending_stop == STOP_NONE && t->n_tools == 0)
		t->wants_model = true;
}

static void
process_confirmation(struct turn *t, const struct turn_queued *q)
{
	struct turn_tool *tool = tool_of(t, q->ref);
	if (tool == NULL) /* answered by an interrupt meanwhile */
		return;
	tool->verdict = q->permission;
	t->restate = t->status == TURN_IDLE;
}

static int
fold_processed(struct turn *t, const struct event_row *row, struct err *e)
{
	uint32_t i = 0;
	while (i < t->n_queued && t->queued[i].seq != row->facts.ref)
		i++;
	if (i == t->n_queued)
		return broken(t, row, "the event it names is not queued", e);
	if (t->request_seq != 0)
		return broken(t, row, "a model request is open", e);
	struct turn_queued q = t->queued[i];
	if (q.type == EV_USER_MESSAGE && t->status != TURN_RUNNING)
		return broken(t, row, "a message is processed while not running", e);
	memmove(&t->queued[i], &t->queued[i + 1], (t->n_queued - i - 1) * sizeof(q));
	t->n_queued--;
	if (q.type == EV_USER_MESSAGE)
		process_message(t);
	else if (q.type == EV_USER_TOOL_CONFIRMATION)
		process_confirmation(t, &q);
	return 0;
}

static int
fold_tool_use(struct turn *t, const struct event_row *row, struct err *e)
{
	if (t->request_seq == 0)
		return broken(t, row, "no model request is open", e);
	if (t->n_tools >= LIM_MODEL_TOOL_USES)
		return broken(t, row, "too many tool uses", e);
	struct turn_tool tool = {.seq = row->seq, .permission = row->facts.permission, .id = row->id};
	tool.kind = TURN_TOOL_BUILTIN;
	if (row->facts.type == EV_AGENT_MCP_TOOL_USE)
		tool.kind = TURN_TOOL_MCP;
	else if (row->facts.type == EV_AGENT_CUSTOM_TOOL_USE)
		tool.kind = TURN_TOOL_CUSTOM;
	if ((tool.kind == TURN_TOOL_CUSTOM) != (tool.permission == PERM_NONE))
		return broken(t, row, "its permission does not fit its kind", e);
	return turn_tool_push(t, &tool, e);
}

static int
fold_tool_result(struct turn *t, const struct event_row *row, struct err *e)
{
	struct turn_tool *tool = tool_of(t, row->facts.ref);
	if (tool == NULL || t->request_seq != 0)
		return broken(t, row, "the tool use it answers is not open", e);
	if (row->facts.type == EV_USER_CUSTOM_TOOL_RESULT && tool->kind != TURN_TOOL_CUSTOM)
		return broken(t, row, "it answers a tool that is not custom", e);
	tool_drop(t, (uint32_t)(tool - t->tools));
	t->restate = t->n_tools > 0 && t->status == TURN_IDLE;
	if (t->n_tools > 0 || t->pending_stop != STOP_NONE)
		return 0;
	if (t->rounds >= LIM_TOOL_ROUNDS) {
		t->refused_round = true;
		t->pending_stop = STOP_RETRIES_EXHAUSTED;
	} else {
		t->wants_model = true;
	}
	return 0;
}

static int
fold_request_start(struct turn *t, const struct event_row *row, struct err *e)
{
	if (t->status != TURN_RUNNING || t->request_seq != 0 || t->n_tools > 0 || !t->wants_model)
		return broken(t, row, "no model request is due", e);
	t->request_seq = row->seq;
	t->request_id = row->id;
	t->wants_model = false;
	return 0;
}

static int
fold_request_end(struct turn *t, const struct event_row *row, struct err *e)
{
	enum model_end end = (enum model_end)row->facts.end;
	if (t->request_seq == 0 || row->facts.ref != t->request_seq)
		return broken(t, row, "it does not end the open request", e);
	if ((end == MODEL_END_TOOLS) != (t->n_tools > 0))
		return broken(t, row, "its end does not fit the tool uses of the response", e);
	t->request_seq = 0;
	t->request_id = (struct id){{0}};
	switch (end) {
	case MODEL_END_NONE:
		return broken(t, row, "no end is given", e);
	case MODEL_END_TURN:
	case MODEL_END_MAX:
	case MODEL_END_INTERRUPTED:
		t->pending_stop = STOP_END_TURN;
		t->tries = 0;
		break;
	case MODEL_END_REFUSAL:
		t->pending_stop = STOP_REFUSAL;
		t->tries = 0;
		break;
	case MODEL_END_TOOLS:
		t->rounds++;
		t->tries = 0;
		break;
	case MODEL_END_ERROR:
		t->tries++;
		t->wants_model = true;
		break;
	case MODEL_END_FATAL:
		t->pending_stop = STOP_RETRIES_EXHAUSTED;
		break;
	case MODEL_END_LOST:
		t->wants_model = true;
		break;
	}
	return 0;
}

static int
fold_error(struct turn *t, const struct event_row *row, struct err *e)
{
	(void)e;
	if (row->facts.retry == RETRY_RETRYING && row->facts.until_us != 0)
		t->retry_at_us = row->facts.until_us;
	if (row->facts.retry == RETRY_EXHAUSTED && t->status == TURN_RUNNING) {
		t->pending_stop = STOP_RETRIES_EXHAUSTED;
		t->wants_model = false;
	}
	return 0;
}

static int
fold_running(struct turn *t, const struct event_row *row, struct err *e)
{
	if (t->status != TURN_IDLE && t->status != TURN_RESCHEDULING)
		return broken(t, row, "it is running already", e);
	t->status = TURN_RUNNING;
	t->stop = STOP_NONE;
	t->restate = false;
	t->retry_at_us = 0;
	return 0;
}

static int
fold_rescheduled(struct turn *t, const struct event_row *row, struct err *e)
{
	if (t->status != TURN_RUNNING || t->request_seq != 0 || !t->wants_model)
		return broken(t, row, "there is nothing to try again", e);
	t->status = TURN_RESCHEDULING;
	return 0;
}

static int
fold_idle(struct turn *t, const struct event_row *row, struct err *e)
{
	bool waits = row->facts.stop == STOP_REQUIRES_ACTION;
	if (t->request_seq != 0)
		return broken(t, row, "a model request is open", e);
	if (row->facts.stop == STOP_NONE || waits != (t->n_tools > 0))
		return broken(t, row, "its stop reason does not fit the open tool uses", e);
	t->status = TURN_IDLE;
	t->stop = row->facts.stop;
	t->restate = false;
	if (waits)
		return 0;
	t->pending_stop = STOP_NONE;
	t->wants_model = false;
	t->refused_round = false;
	t->rounds = 0;
	t->tries = 0;
	t->retry_at_us = 0;
	return 0;
}

static int
fold_terminated(struct turn *t, const struct event_row *row, struct err *e)
{
	(void)row;
	(void)e;
	uint32_t last = t->last_seq;
	turn_done(t);
	t->last_seq = last;
	t->status = TURN_TERMINATED;
	return 0;
}

static fold_fn *const folds[EV_COUNT] = {
	[EV_USER_MESSAGE] = fold_queued,
	[EV_USER_INTERRUPT] = fold_queued,
	[EV_USER_TOOL_CONFIRMATION] = fold_queued,
	[EV_SYSTEM_MESSAGE] = fold_queued,
	[EV_PROCESSED] = fold_processed,
	[EV_USER_CUSTOM_TOOL_RESULT] = fold_tool_result,
	[EV_USER_TOOL_RESULT] = fold_tool_result,
	[EV_AGENT_TOOL_USE] = fold_tool_use,
	[EV_AGENT_MCP_TOOL_USE] = fold_tool_use,
	[EV_AGENT_CUSTOM_TOOL_USE] = fold_tool_use,
	[EV_AGENT_TOOL_RESULT] = fold_tool_result,
	[EV_AGENT_MCP_TOOL_RESULT] = fold_tool_result,
	[EV_SPAN_MODEL_REQUEST_START] = fold_request_start,
	[EV_SPAN_MODEL_REQUEST_END] = fold_request_end,
	[EV_SESSION_ERROR] = fold_error,
	[EV_SESSION_STATUS_RUNNING] = fold_running,
	[EV_SESSION_STATUS_RESCHEDULED] = fold_rescheduled,
	[EV_SESSION_STATUS_IDLE] = fold_idle,
	[EV_SESSION_STATUS_TERMINATED] = fold_terminated,
};

int
turn_fold(struct turn *t, const struct event_row *row, struct err *e)
{
	if (row->facts.type <= EV_NONE || row->facts.type >= EV_COUNT)
		return err_set(e, ERR_CORRUPT, "log row %u has no known type", row->seq);
	if (row->seq != t->last_seq + 1)
		return broken(t, row, "rows are missing or doubled", e);
	fold_fn *fold = row->thread.n == 0 ? folds[row->facts.type] : NULL;
	if (fold != NULL && t->status == TURN_TERMINATED)
		return broken(t, row, "the session is terminated", e);
	int r = fold != NULL ? fold(t, row, e) : 0;
	if (r == 0)
		t->last_seq = row->seq;
	return r;
}
