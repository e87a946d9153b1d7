/* SPDX-License-Identifier: Apache-2.0 */
#include "model/planner.h"

#include "base/limits.h"
#include "model/response.h"

static int
planner_fold(struct planner *pl, const struct event_row *row)
{
	struct event_row numbered = *row;
	numbered.seq = pl->s.turn.last_seq + 1;
	if (pl->rc == 0)
		pl->rc = session_fold_figures(&pl->s, &numbered, pl->e);
	return pl->rc;
}

/* Begins after the rows that `p` has already. */
void
planner_init(
	struct planner *pl, struct plan *p, const struct session_state *s, uint64_t now_us, struct err *e)
{
	*pl = (struct planner){.p = p, .s = *s, .now = now_us, .e = e};
	turn_init(&pl->s.turn);
	buf_init(&pl->body, LIM_EVENT_BODY);
	pl->rc = turn_copy(&pl->s.turn, &s->turn, e);
	for (size_t i = 0; i < p->n_rows && pl->rc == 0; i++)
		planner_fold(pl, &p->rows[i]);
}

int
planner_done(struct planner *pl)
{
	turn_done(&pl->s.turn);
	buf_done(&pl->body);
	return pl->rc;
}

size_t
planner_room(const struct planner *pl)
{
	return PLAN_ROWS_MAX - pl->p->n_rows;
}

/* ---- one row: row_begin, members into pl->w, row_end ---- */

/* NULL after a failure. */
static struct event_row *
planner_row_new(struct planner *pl, enum event_type type)
{
	if (pl->rc == 0 && planner_room(pl) == 0)
		pl->rc = err_set(pl->e, ERR_TOO_LARGE, "a batch of more than %d rows", PLAN_ROWS_MAX);
	if (pl->rc < 0)
		return NULL;
	struct event_row *row = &pl->p->rows[pl->p->n_rows];
	*row = (struct event_row){.id = id_new("sevt", pl->now)};
	row->facts.type = (uint8_t)type;
	row->facts.at_us = pl->now;
	return row;
}

static void
planner_row_finish(struct planner *pl, struct event_row *row)
{
	if (planner_fold(pl, row) == 0)
		pl->p->n_rows++;
}

void
planner_add(struct planner *pl, const struct event_row *row)
{
	struct event_row *to = planner_row_new(pl, (enum event_type)row->facts.type);
	if (to == NULL)
		return;
	*to = *row;
	planner_row_finish(pl, to);
}

/* `id` replaces the new one when it is not NULL. */
struct event_row *
planner_row(struct planner *pl, enum event_type type, const struct id *id)
{
	struct event_row *row = planner_row_new(pl, type);
	buf_clear(&pl->body);
	pl->w = json_w(&pl->body);
	if (row == NULL)
		return NULL;
	if (id != NULL)
		row->id = *id;
	jw_obj(&pl->w);
	jw_kz(&pl->w, "type", event_name(type));
	jw_kstr(&pl->w, "id", id_str(&row->id));
	return row;
}

void
planner_row_end(struct planner *pl, struct event_row *row)
{
	jw_obj_end(&pl->w);
	pl->rc = buf_check(&pl->body, pl->e);
	row->body = arena_dup(pl->p->arena, buf_str(&pl->body));
	if (pl->rc == 0)
		pl->rc = arena_check(pl->p->arena, pl->e);
	planner_row_finish(pl, row);
}

/* A row without members of its own. */
void
planner_plain(struct planner *pl, enum event_type type)
{
	struct event_row *row = planner_row(pl, type, NULL);
	if (row != NULL)
		planner_row_end(pl, row);
}

static void
key_type(struct planner *pl, const char *key, const char *type)
{
	jw_key(&pl->w, key);
	jw_obj(&pl->w);
	jw_kz(&pl->w, "type", type);
	jw_obj_end(&pl->w);
}

static void
thread_members(struct planner *pl)
{
	jw_kstr(&pl->w, "session_thread_id", id_str(&pl->s.thread_id));
	jw_kstr(&pl->w, "agent_name", pl->s.agent_name.p != NULL ? pl->s.agent_name : STR(""));
}

void
planner_thread(struct planner *pl, enum event_type type)
{
	struct event_row *row = planner_row(pl, type, NULL);
	if (row == NULL)
		return;
	thread_members(pl);
	planner_row_end(pl, row);
}

void
planner_processed(struct planner *pl, uint32_t seq)
{
	struct event_row *row = planner_row_new(pl, EV_PROCESSED);
	if (row == NULL)
		return;
	row->facts.ref = seq;
	planner_row_finish(pl, row);
}

static const char *
retry_name(enum retry_status r)
{
	switch (r) {
	case RETRY_NONE:
	case RETRY_EXHAUSTED:
		return "exhausted";
	case RETRY_RETRYING:
		return "retrying";
	case RETRY_TERMINAL:
		break;
	}
	return "terminal";
}

void
planner_error(
	struct planner *pl, const char *type, const char *message, enum retry_status retry, uint64_t until_us)
{
	struct event_row *row = planner_row(pl, EV_SESSION_ERROR, NULL);
	if (row == NULL)
		return;
	row->facts.retry = (uint8_t)retry;
	row->facts.until_us = until_us;
	jw_key(&pl->w, "error");
	jw_obj(&pl->w);
	jw_kz(&pl->w, "type", type);
	jw_kz(&pl->w, "message", message);
	key_type(pl, "retry_status", retry_name(retry));
	jw_obj_end(&pl->w);
	planner_row_end(pl, row);
}

/* ---- tool results ---- */

void
planner_tool_result(struct planner *pl, const struct turn_tool *tool, struct str text, bool is_error)
{
	bool mcp = tool->kind == TURN_TOOL_MCP;
	struct event_row *row = planner_row(pl, mcp ? EV_AGENT_MCP_TOOL_RESULT : EV_AGENT_TOOL_RESULT, NULL);
	if (row == NULL)
		return;
	row->facts.ref = tool->seq;
	row->facts.is_error = is_error;
	jw_kstr(&pl->w, mcp ? "mcp_tool_use_id" : "tool_use_id", id_str(&tool->id));
	jw_key(&pl->w, "content");
	jw_arr(&pl->w);
	jw_obj(&pl->w);
	jw_kz(&pl->w, "type", "text");
	jw_kstr(&pl->w, "text", text.n > 0 ? text : STR("(no output)"));
	jw_obj_end(&pl->w);
	jw_arr_end(&pl->w);
	jw_kbool(&pl->w, "is_error", is_error);
	planner_row_end(pl, row);
}

static void
deny_one(struct planner *pl, const struct turn_tool *tool)
{
	struct turn_tool t = *tool;
	if (t.permission == PERM_DENY) {
		planner_tool_result(pl, &t, STR("Permission to use this tool has been denied."), true);
		return;
	}
	const char *text = t.deny.n > 0 ? arena_printf(pl->p->arena,
						  "The user has denied this tool call; it was not executed. "
						  "Their message: %.*s",
						  STRF(t.deny))
					: "The user has denied this tool call; it was not executed.";
	planner_tool_result(pl, &t, str_z(text), true);
}

void
planner_deny_tools(struct planner *pl)
{
	uint32_t i = 0;
	while (pl->rc == 0 && planner_room(pl) > PLANNER_ROOM && i < pl->s.turn.n_tools) {
		if (turn_tool_denied(&pl->s.turn.tools[i]))
			deny_one(pl, &pl->s.turn.tools[i]); /* closes it: the next one moves up */
		else
			i++;
	}
}

/* ---- idle ---- */

static const char *
stop_name(enum stop_reason stop)
{
	switch (stop) {
	case STOP_NONE:
	case STOP_END_TURN:
		return "end_turn";
	case STOP_REQUIRES_ACTION:
		return "requires_action";
	case STOP_RETRIES_EXHAUSTED:
		return "retries_exhausted";
	case STOP_BUDGET_REACHED:
		return "budget_reached";
	case STOP_REFUSAL:
		break;
	}
	return "refusal";
}

/* A category that the contract does not know is null: clients validate the member. */
static struct str
known_category(struct str c)
{
	static const char *const known[] = {
		"cyber", "bio", "frontier_llm", "reasoning_extraction", "general_harms"};
	for (size_t i = 0; i < ARRAY_LEN(known); i++) {
		if (str_eqz(c, known[i]))
			return c;
	}
	return STR_NULL;
}

static void
stop_members(struct planner *pl, enum stop_reason stop, const struct planner_refusal *why)
{
	jw_key(&pl->w, "stop_reason");
	jw_obj(&pl->w);
	jw_kz(&pl->w, "type", stop_name(stop));
	if (stop == STOP_REQUIRES_ACTION) {
		jw_key(&pl->w, "event_ids");
		jw_arr(&pl->w);
		for (uint32_t i = 0; i < pl->s.turn.n_tools; i++) {
			if (turn_tool_waits(&pl->s.turn.tools[i]))
				jw_str(&pl->w, id_str(&pl->s.turn.tools[i].id));
		}
		jw_arr_end(&pl->w);
	}
	jw_obj_end(&pl->w);
	jw_key(&pl->w, "stop_details");
	if (stop != STOP_REFUSAL) {
		jw_null(&pl->w);
		return;
	}
	jw_obj(&pl->w);
	jw_kz(&pl->w, "type", "refusal");
	jw_kstr(&pl->w, "category", known_category(why->category));
	jw_kstr(&pl->w, "explanation", why->explanation.n > 0 ? why->explanation : STR_NULL);
	jw_obj_end(&pl->w);
}

static void
row_idle(struct planner *pl, enum event_type type, enum stop_reason stop, const struct planner_refusal *why)
{
	struct event_row *row = planner_row(pl, type, NULL);
	if (row == NULL)
		return;
	row->facts.stop = (uint8_t)stop;
	if (type == EV_THREAD_STATUS_IDLE)
		thread_members(pl);
	stop_members(pl, stop, why);
	planner_row_end(pl, row);
}

/* session.usage is always right before session.status_idle. An idle that only says again what it waits for
 * has no thread row: the thread's state did not change. */
void
planner_idle(struct planner *pl, enum stop_reason stop, const struct planner_refusal *why)
{
	static const struct planner_refusal unknown = {0};
	why = why != NULL ? why : &unknown;
	if (pl->s.turn.refused_round)
		planner_error(pl, "tool_use_limit_reached_error",
			"The turn reached the limit of model requests with tool use. Send a message to start "
			"a new turn.",
			RETRY_EXHAUSTED, 0);
	if (pl->s.turn.status != TURN_IDLE || stop != STOP_REQUIRES_ACTION)
		row_idle(pl, EV_THREAD_STATUS_IDLE, stop, why);
	struct event_row *row = planner_row(pl, EV_SESSION_USAGE, NULL);
	if (row == NULL)
		return;
	session_render_usage(&pl->s, pl->now, &pl->w);
	planner_row_end(pl, row);
	row_idle(pl, EV_SESSION_STATUS_IDLE, stop, why);
}

/* ---- span end ---- */

void
planner_request_end(struct planner *pl, enum model_end end, const struct model_response *r)
{
	static const struct model_response none = {0};
	struct event_row *row = planner_row(pl, EV_SPAN_MODEL_REQUEST_END, NULL);
	if (row == NULL)
		return;
	r = r != NULL ? r : &none;
	row->facts.ref = pl->s.turn.request_seq;
	row->facts.end = (uint8_t)end;
	row->facts.is_error = end == MODEL_END_ERROR || end == MODEL_END_FATAL || end == MODEL_END_LOST;
	row->facts.input_tokens = (uint32_t)r->input_tokens;
	row->facts.output_tokens = (uint32_t)r->output_tokens;
	row->facts.cache_read_tokens = (uint32_t)r->cache_read_tokens;
	row->facts.cache_creation_tokens = (uint32_t)r->cache_creation_tokens;
	jw_kstr(&pl->w, "model_request_start_id", id_str(&pl->s.turn.request_id));
	if (end == MODEL_END_INTERRUPTED)
		jw_knull(&pl->w, "is_error");
	else
		jw_kbool(&pl->w, "is_error", row->facts.is_error);
	jw_key(&pl->w, "model_usage");
	jw_obj(&pl->w);
	jw_kint(&pl->w, "input_tokens", row->facts.input_tokens);
	jw_kint(&pl->w, "output_tokens", row->facts.output_tokens);
	jw_kint(&pl->w, "cache_creation_input_tokens", row->facts.cache_creation_tokens);
	jw_kint(&pl->w, "cache_read_input_tokens", row->facts.cache_read_tokens);
	jw_obj_end(&pl->w);
	planner_row_end(pl, row);
}
