/* SPDX-License-Identifier: Apache-2.0 */
#include "brain/run.h"

#include <stdlib.h>

#include "base/log.h"

static void
tool_free(struct run_tool *t)
{
	hands_call_drop(t->call);
	free((void *)(uintptr_t)t->text.p);
	free(t);
}

static struct run_tool *
tool_find(const struct run *r, uint32_t seq)
{
	struct run_tool *t = r->tools;
	while (t != NULL && t->seq != seq)
		t = t->next;
	return t;
}

static void
tool_remove(struct run *r, struct run_tool *t)
{
	struct run_tool **at = &r->tools;
	while (*at != t)
		at = &(*at)->next;
	*at = t->next;
	tool_free(t);
}

static void
tool_finish(struct run_tool *t, struct str text, bool is_error)
{
	char *p = malloc(text.n + 1);
	if (p != NULL && text.n > 0)
		memcpy(p, text.p, text.n);
	t->text = p != NULL ? str_n(p, text.n) : STR_NULL;
	t->is_error = is_error || p == NULL;
	t->done = true;
}

/* A tool that we cancelled has no result of its own: the interrupt answers it. One that says so unasked is
 * answered like any other, else it would be started again. */
static void
on_tool_done(void *arg, const struct hands_result *res)
{
	struct run_tool *t = arg;
	struct run *r = t->run;
	t->call = NULL;
	log_debug("tool.done", LOG_STR("id", id_str(&t->id)), LOG_INT("outcome", res->outcome),
		LOG_INT("us", res->run_us));
	if (res->outcome == HANDS_CANCELLED && t->cancelling) {
		hands_ack(r->live->brain->hands, id_str(&r->live->id), id_str(&t->id));
		tool_remove(r, t);
	} else {
		t->acknowledge = res->outcome == HANDS_DONE || res->outcome == HANDS_CANCELLED;
		tool_finish(t, res->text, res->is_error || res->outcome == HANDS_CANCELLED);
	}
	run_drive(r->live);
}

static bool
was_unsure(const struct live *l, uint32_t seq)
{
	for (size_t i = 0; i < l->n_unsure; i++) {
		if (l->unsure[i] == seq)
			return true;
	}
	return false;
}

/* Name and input as the event has them. */
static int
tool_dispatch(struct run *r, struct run_tool *t, struct err *e)
{
	struct live *l = r->live;
	const struct live_kept *k = live_kept_find(l, t->seq);
	AUTO(json) struct json_t *v = NULL;
	if (k == NULL)
		return err_set(e, ERR_INTERNAL, "the call's event is not at hand");
	int rc = json_parse(str_n(k->body->p, k->body->n), &v, e);
	if (rc < 0)
		return rc;
	AUTO(buf) struct buf input;
	buf_init(&input, LIM_TOOL_INPUT);
	json_dump(&input, json_get(v, "input"));
	if (buf_check(&input, e) < 0)
		return err_wrap(e, "tool input");
	struct hands_call_opts o = {.session = l->state,
		.exec_id = id_str(&t->id),
		.tool = json_get_str(v, "name"),
		.input = buf_str(&input),
		.collect = was_unsure(l, t->seq),
		.arg = t,
		.on_done = on_tool_done};
	return hands_execute(l->brain->hands, &o, &t->call, e);
}

static void
tool_start(struct run *r, const struct turn_tool *open)
{
	struct run_tool *t = calloc(1, sizeof(*t));
	if (t == NULL)
		return;
	t->run = r;
	t->seq = open->seq;
	t->id = open->id;
	t->next = r->tools;
	r->tools = t;
	struct err e = {0};
	if (tool_dispatch(r, t, &e) < 0) {
		log_error("tool.start", LOG_STR("id", id_str(&t->id)), LOG_ERR(&e));
		tool_finish(t, str_z(e.msg), true);
	}
}

void
run_tools_start(struct run *r)
{
	const struct turn *turn = &r->live->state->turn;
	for (size_t i = 0; i < turn->n_tools; i++) {
		const struct turn_tool *open = &turn->tools[i];
		if (turn_tool_runnable(open) && tool_find(r, open->seq) == NULL)
			tool_start(r, open);
	}
}

bool
run_tools_ready(const struct run *r)
{
	for (const struct run_tool *t = r->tools; t != NULL; t = t->next) {
		if (t->done)
			return true;
	}
	return false;
}

bool
run_tools_in_flight(const struct run *r)
{
	for (const struct run_tool *t = r->tools; t != NULL; t = t->next) {
		if (!t->done)
			return true;
	}
	return false;
}

void
run_tools_cancel(struct run *r)
{
	struct run_tool *t = r->tools;
	while (t != NULL) {
		bool fresh = !t->done && !t->cancelling;
		if (fresh) {
			t->cancelling = true;
			hands_call_cancel(t->call);
		}
		t = fresh ? r->tools : t->next;
	}
}

void
run_tools_abandon(struct run *r)
{
	struct run_tool *t = r->tools;
	while (t != NULL) {
		struct run_tool *next = t->next;
		if (!t->done)
			tool_remove(r, t);
		t = next;
	}
}

int
run_tools_rows(struct run *r, const struct session_state *s, struct plan *p, uint64_t now_us, struct err *e)
{
	for (struct run_tool *t = r->tools; t != NULL; t = t->next) {
		const struct turn_tool *open = t->done ? turn_tool_by_seq(&s->turn, t->seq) : NULL;
		t->appending = t->done;
		if (open == NULL)
			continue;
		int rc = plan_tool_result(p, s, open, t->text, t->is_error, now_us, e);
		if (rc < 0)
			return rc;
	}
	return 0;
}

void
run_tools_appended(struct run *r)
{
	struct run_tool *t = r->tools;
	while (t != NULL) {
		struct run_tool *next = t->next;
		if (t->appending) {
			if (t->acknowledge)
				hands_ack(r->live->brain->hands, id_str(&r->live->id), id_str(&t->id));
			tool_remove(r, t);
		}
		t = next;
	}
}

bool
run_tools_failed(struct run *r, const char *why)
{
	bool any = false;
	for (struct run_tool *t = r->tools; t != NULL; t = t->next) {
		bool replace = why != NULL && t->appending && !t->replaced;
		t->appending = false;
		if (!replace)
			continue;
		free((void *)(uintptr_t)t->text.p);
		tool_finish(t, str_z(why), true);
		t->replaced = any = true;
	}
	return any;
}

void
run_tools_free(struct run *r)
{
	while (r->tools != NULL)
		tool_remove(r, r->tools);
}
