/* SPDX-License-Identifier: Apache-2.0 */
/* Rows for what happened outside: the model answered or failed, a tool answered, a client sent something. */
#include "base/limits.h"
#include "model/agent.h"
#include "model/planner.h"
#include "model/response.h"

#define RETRY_FIRST_US 1000000ull
#define RETRY_MAX_US   30000000ull
#define RETRY_WISH_US  60000000ull

/* ---- a response ---- */

/* A tool use that gets its error result in the same batch. */
struct refused_use {
	struct turn_tool tool;
	const char *text;
};

struct answer {
	struct planner *pl;
	const struct model_response *r;
	struct json_t *agent; /* parsed when the first tool use comes */
	struct refused_use refused[LIM_MODEL_TOOL_USES];
	size_t n_refused, n_uses;
};

/* Text blocks in a row are one message; its id is theirs. Returns the index after the last one used. */
static size_t
answer_message(struct answer *a, size_t i)
{
	struct planner *pl = a->pl;
	const struct model_block *first = &a->r->blocks[i];
	size_t end = i, bytes = 0;
	while (end < a->r->n_blocks && a->r->blocks[end].kind == BLOCK_TEXT &&
		str_eq(id_str(&a->r->blocks[end].event_id), id_str(&first->event_id)))
		bytes += a->r->blocks[end++].text.n;
	struct event_row *row = bytes > 0 ? planner_row(pl, EV_AGENT_MESSAGE, &first->event_id) : NULL;
	if (row == NULL)
		return end;
	jw_key(&pl->w, "content");
	jw_arr(&pl->w);
	for (; i < end; i++) {
		if (a->r->blocks[i].text.n == 0)
			continue;
		jw_obj(&pl->w);
		jw_kz(&pl->w, "type", "text");
		jw_kstr(&pl->w, "text", buf_str(&a->r->blocks[i].text));
		jw_obj_end(&pl->w);
	}
	jw_arr_end(&pl->w);
	planner_row_end(pl, row);
	return end;
}

/* Clients see that the model thought; the block itself goes back to the model, verbatim, from the private
 * part. */
static void
answer_thinking(struct answer *a, const struct model_block *b)
{
	struct planner *pl = a->pl;
	AUTO(buf) struct buf block;
	buf_init(&block, 2 * LIM_MODEL_RESPONSE);
	struct event_row *row = planner_row(pl, EV_AGENT_THINKING, &b->event_id);
	if (row == NULL)
		return;
	struct json_w w = json_w(&block);
	jw_obj(&w);
	if (b->kind == BLOCK_THINKING) {
		jw_kz(&w, "type", "thinking");
		jw_kstr(&w, "thinking", b->text.n > 0 ? buf_str(&b->text) : STR(""));
		jw_kstr(&w, "signature", b->signature.n > 0 ? buf_str(&b->signature) : STR(""));
	} else {
		jw_kz(&w, "type", "redacted_thinking");
		jw_kstr(&w, "data", b->signature.n > 0 ? buf_str(&b->signature) : STR(""));
	}
	jw_obj_end(&w);
	pl->rc = buf_check(&block, pl->e);
	row->private_ = arena_dup(pl->p->arena, buf_str(&block));
	if (pl->rc == 0)
		planner_row_end(pl, row);
}

/* What becomes of a tool use. */
struct judged {
	enum event_type type;
	enum permission permission;
	const char *evaluation; /* JSON, or NULL: absent */
	const char *error;      /* result at once, or NULL */
	struct json_t *input;   /* owned; NULL: not an object */
};

static void
judge_policy(const struct agent_verdict *v, struct judged *j)
{
	static const struct {
		enum permission permission;
		const char *evaluation;
	} by_policy[] = {
		{PERM_ALLOW, "{\"type\":\"always_allow\"}"},
		{PERM_ASK, "{\"type\":\"always_ask\"}"},
		/* no judge yet: nobody knows, so the client is asked */
		{PERM_ASK, "{\"type\":\"auto\",\"evaluated_permission\":{\"type\":\"ask\",\"reason_code\":"
			   "\"indeterminate\"}}"},
	};
	j->permission = by_policy[v->policy].permission;
	j->evaluation = by_policy[v->policy].evaluation;
}

static void
judge_use(struct answer *a, const struct model_block *b, struct judged *j)
{
	struct agent_verdict v = agent_judge(a->agent, b->name);
	*j = (struct judged){.type = EV_AGENT_TOOL_USE, .permission = PERM_DENY};
	if (b->text.n > 0 && json_parse_foreign(buf_str(&b->text), &j->input, NULL) == -ERR_NO_MEMORY)
		a->pl->rc = err_set(a->pl->e, ERR_NO_MEMORY, "out of memory");
	if (json_kind(j->input) != JSON_OBJ) {
		json_free(j->input);
		j->input = NULL;
	}
	if (!v.builtin && !v.custom && !v.mcp)
		j->error = arena_printf(a->pl->p->arena, "There is no tool named %.*s.", STRF(b->name));
	else if (!v.enabled)
		j->error = arena_printf(
			a->pl->p->arena, "Permission to use %.*s has been denied.", STRF(b->name));
	else if (b->text.n > LIM_TOOL_INPUT)
		j->error = "The tool was not run: its input is too large.";
	else if (b->text.n > 0 && j->input == NULL)
		j->error =
			"The tool was not run: its input is not a valid JSON object, or nested too deeply.";
	else if (v.custom) {
		j->type = EV_AGENT_CUSTOM_TOOL_USE;
		j->permission = PERM_NONE;
	} else
		judge_policy(&v, j);
}

static const char *
permission_name(enum permission p)
{
	if (p == PERM_ALLOW)
		return "allow";
	return p == PERM_ASK ? "ask" : "deny";
}

static void
answer_tool(struct answer *a, const struct model_block *b)
{
	struct planner *pl = a->pl;
	struct judged j;
	if (a->agent == NULL && pl->rc == 0)
		pl->rc = json_parse(pl->s.agent, &a->agent, pl->e);
	if (pl->rc < 0)
		return;
	judge_use(a, b, &j);
	struct event_row *row = planner_row(pl, j.type, &b->event_id);
	if (row != NULL) {
		row->facts.permission = (uint8_t)j.permission;
		row->private_ = arena_dup(pl->p->arena, b->tool_id);
		jw_kstr(&pl->w, "name", b->name);
		jw_key(&pl->w, "input");
		if (j.input != NULL)
			jw_value(&pl->w, j.input);
		else
			jw_raw(&pl->w, STR("{}"));
		if (j.permission != PERM_NONE)
			jw_kz(&pl->w, "evaluated_permission", permission_name(j.permission));
		if (j.evaluation != NULL)
			jw_kraw(&pl->w, "evaluation", str_z(j.evaluation));
		planner_row_end(pl, row);
	}
	json_free(j.input);
	const struct turn_tool *tool = turn_tool_by_id(&pl->s.turn, id_str(&b->event_id));
	if (pl->rc == 0 && tool != NULL && j.error != NULL && a->n_refused < LIM_MODEL_TOOL_USES)
		a->refused[a->n_refused++] = (struct refused_use){.tool = *tool, .text = j.error};
	a->n_uses++;
}

/* A refused response keeps what the client saw of it, but no tool runs on its account. */
static void
answer_blocks(struct answer *a)
{
	const struct model_response *r = a->r;
	for (size_t i = 0; i < r->n_blocks && a->pl->rc == 0;) {
		const struct model_block *b = &r->blocks[i];
		if (b->kind == BLOCK_TEXT) {
			i = answer_message(a, i);
			continue;
		}
		if (b->kind != BLOCK_TOOL_USE)
			answer_thinking(a, b);
		else if (r->end != MODEL_END_REFUSAL)
			answer_tool(a, b);
		i++;
	}
}

int
plan_response(struct plan *p, const struct session_state *s, const struct model_response *r, uint64_t now_us,
	struct err *e)
{
	struct planner pl;
	planner_init(&pl, p, s, now_us, e);
	struct answer *a = arena_alloc(p->arena, sizeof(*a));
	if (a == NULL && pl.rc == 0)
		pl.rc = arena_check(p->arena, e);
	if (pl.rc < 0)
		return planner_done(&pl);
	a->pl = &pl;
	a->r = r;
	answer_blocks(a);
	/* a response cut by max_tokens may hold whole tool uses: they count, whatever the stop reason says */
	enum model_end end = a->n_uses > 0 ? MODEL_END_TOOLS : r->end;
	if (end == MODEL_END_TOOLS && a->n_uses == 0)
		end = MODEL_END_TURN;
	planner_request_end(&pl, end, r);
	for (size_t i = 0; i < a->n_refused && pl.rc == 0; i++)
		planner_tool_result(&pl, &a->refused[i].tool, str_z(a->refused[i].text), true);
	if (end == MODEL_END_REFUSAL)
		planner_idle(&pl, STOP_REFUSAL,
			&(struct planner_refusal){r->refusal_category, r->refusal_explanation});
	json_free(a->agent);
	return planner_done(&pl);
}

/* ---- a failure ---- */

static uint64_t
retry_delay(uint32_t tries, uint64_t wish_us)
{
	uint64_t delay = RETRY_FIRST_US;
	for (uint32_t i = 1; i < tries && delay < RETRY_MAX_US; i++)
		delay *= 2;
	if (delay > RETRY_MAX_US)
		delay = RETRY_MAX_US;
	if (wish_us > RETRY_WISH_US)
		wish_us = RETRY_WISH_US;
	return wish_us > delay ? wish_us : delay;
}

static void
failure_rows(struct planner *pl, const struct plan_failure *f)
{
	const char *type = f->error_type != NULL ? f->error_type : "unknown_error";
	const char *message =
		f->message != NULL && f->message[0] != 0 ? f->message : "The model request failed.";
	planner_request_end(pl, f->end, NULL);
	if (f->end != MODEL_END_ERROR && f->end != MODEL_END_FATAL)
		return;
	if (f->end == MODEL_END_FATAL || pl->s.turn.tries >= LIM_MODEL_TRIES) {
		planner_error(pl, type, message, RETRY_EXHAUSTED, 0);
		return;
	}
	uint64_t until = pl->now + retry_delay(pl->s.turn.tries, f->retry_after_us);
	planner_error(pl, type, message, RETRY_RETRYING, until);
	planner_thread(pl, EV_THREAD_STATUS_RESCHEDULED);
	planner_plain(pl, EV_SESSION_STATUS_RESCHEDULED);
}

int
plan_failure(struct plan *p, const struct session_state *s, const struct plan_failure *f, uint64_t now_us,
	struct err *e)
{
	struct planner pl;
	planner_init(&pl, p, s, now_us, e);
	if (pl.rc == 0)
		failure_rows(&pl, f);
	return planner_done(&pl);
}

/* ---- a tool's result ---- */

int
plan_tool_result(struct plan *p, const struct session_state *s, const struct turn_tool *tool, struct str text,
	bool is_error, uint64_t now_us, struct err *e)
{
	struct planner pl;
	planner_init(&pl, p, s, now_us, e);
	struct turn_tool own = *tool;
	planner_tool_result(&pl, &own, text, is_error);
	return planner_done(&pl);
}

/* ---- a client's events ---- */

static bool
may_precede_system(enum event_type t)
{
	return t == EV_USER_MESSAGE || t == EV_USER_TOOL_RESULT || t == EV_USER_CUSTOM_TOOL_RESULT;
}

/* The rules of a system message among its neighbours (contract §9.2). */
static int
check_system(const struct session_state *s, const struct client_event *ev, size_t n, size_t i, struct err *e)
{
	if (ev[i].type != EV_SYSTEM_MESSAGE)
		return 0;
	if (i + 1 != n)
		return err_set(e, ERR_INVALID, "system.message must be the last event of the request");
	if (i > 0 && !may_precede_system(ev[i - 1].type))
		return err_set(e, ERR_INVALID,
			"system.message must directly follow user.message, user.tool_result or "
			"user.custom_tool_result");
	if (i == 0 && s->turn.status == TURN_IDLE && s->turn.n_tools > 0)
		return err_set(e, ERR_INVALID,
			"while the session waits with stop_reason requires_action, system.message must "
			"follow a tool result");
	return 0;
}

static int
check_thread(const struct session_state *s, const struct client_event *ev, struct err *e)
{
	if (ev->thread.n == 0 || str_eq(ev->thread, id_str(&s->thread_id)))
		return 0;
	return err_set(e, ERR_INVALID, "session_thread_id: the session has no thread %.*s",
		STRF(str_sub(ev->thread, 0, 64)));
}

/* "events.N.field: message" or "events.N: message". */
static int
at_event(size_t i, const struct err *inner, struct err *e)
{
	struct str msg = str_z(inner->msg);
	struct str head = str_sub(msg, 0, str_find(msg, ':'));
	bool field = str_ends(head, STR("_id"));
	if (inner->kind == ERR_CORRUPT || inner->kind == ERR_NO_MEMORY) {
		*e = *inner;
		return -(int)inner->kind;
	}
	return err_set_at(
		e, inner->kind, 0, inner->where, "events.%zu%s%s", i, field ? "." : ": ", inner->msg);
}

static int
client_row(struct planner *pl, const struct client_event *ev, size_t n, size_t i, struct err *e)
{
	struct event_row row;
	uint32_t ref = 0;
	int rc = check_thread(&pl->s, &ev[i], e);
	if (rc == 0)
		rc = check_system(&pl->s, ev, n, i, e);
	if (rc == 0)
		rc = turn_accepts(&pl->s.turn, ev[i].type, ev[i].ref_id, &ref, e);
	if (rc < 0)
		return rc;
	client_event_row(&ev[i], ref, pl->now, &row);
	planner_add(pl, &row);
	return pl->rc;
}

int
plan_client_events(struct plan *p, const struct session_state *s, const struct client_event *ev, size_t n,
	uint64_t now_us, struct err *e)
{
	struct planner pl;
	struct err inner = {0};
	size_t before = p->n_rows, i = 0;
	planner_init(&pl, p, s, now_us, &inner);
	while (pl.rc == 0 && i < n) {
		pl.rc = client_row(&pl, ev, n, i, &inner);
		i += pl.rc == 0;
	}
	if (pl.rc < 0) {
		struct err unwanted;
		p->n_rows = before;
		pl.rc = at_event(i, &inner, e != NULL ? e : &unwanted);
	}
	return planner_done(&pl);
}

/* ---- archive ---- */

int
plan_archive(struct plan *p, const struct session_state *s, uint64_t now_us, struct err *e)
{
	struct planner pl;
	if (s->archived_us != 0)
		return 0;
	if (turn_busy(&s->turn))
		return err_set(
			e, ERR_INVALID, "Session %s is running; interrupt it before archiving it.", s->id.z);
	planner_init(&pl, p, s, now_us, e);
	if (s->turn.status != TURN_TERMINATED) {
		planner_thread(&pl, EV_THREAD_STATUS_TERMINATED);
		planner_plain(&pl, EV_SESSION_STATUS_TERMINATED);
	}
	struct event_row row = {
		.id = id_new("sevt", now_us), .facts = {.type = EV_ARCHIVED, .at_us = now_us}};
	planner_add(&pl, &row);
	return planner_done(&pl);
}
