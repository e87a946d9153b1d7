/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A call's life:   new -> waiting (for a child's slot) -> running -> done -> (acknowledged) gone
 *                                                                      \-> spilled -> gone
 * Waiters are the protocol call ids that asked for the result; the result is sent to each, and kept.
 */
#include "guest/calls.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/guest_call.h"
#include "base/json.h"
#include "base/limits.h"
#include "guest/results.h"
#include "guest/search.h"
#include "guest/text.h"

#define WAITERS_MAX 4
#define JOB_MS      60000

enum tool { TOOL_BASH, TOOL_READ, TOOL_WRITE, TOOL_EDIT, TOOL_GLOB, TOOL_GREP, TOOL_RG, TOOL_UNKNOWN };

struct call {
	struct calls *cs;
	struct call *next;
	struct result res; /* res.id is set from the start, the rest when done */
	bool done, cancelled;
	bool waiting; /* for a child's slot */
	enum tool tool;
	uint64_t waiters[WAITERS_MAX];
	size_t n_waiters;
	struct json_t *input; /* owned; NULL when done */
	uint64_t timeout_ms;  /* of hands; 0: the tool's default */
	uint64_t started_us;
	struct bash_call bash;
	struct job *job;       /* NULL while waiting for a slot */
	struct search *search; /* owned */
	char program[LIM_PATH];
};

struct calls {
	struct calls_opts o;
	struct call *first, **last; /* in order of arrival */
	size_t running, kept;
	struct spill *spill;
};

/* ---- finding, keeping, forgetting ---- */

static struct call *
find(const struct calls *cs, struct str id)
{
	for (struct call *c = cs->first; c; c = c->next)
		if (str_eqz(id, c->res.id))
			return c;
	return NULL;
}

static void
forget(struct calls *cs, struct call *c)
{
	for (struct call **at = &cs->first; *at; at = &(*at)->next) {
		if (*at != c)
			continue;
		*at = c->next;
		if (cs->last == &c->next)
			cs->last = at;
		break;
	}
	result_done(&c->res);
	json_free(c->input);
	free(c->search);
	free(c);
}

/* Moves the oldest results to disk when memory holds too many. */
static void
spill_oldest(struct calls *cs)
{
	struct call *c = cs->first;

	while (c && cs->kept > LIM_GUEST_RESULTS) {
		struct call *next = c->next;
		if (c->done) {
			spill_put(cs->spill, &c->res);
			cs->kept--;
			forget(cs, c);
		}
		c = next;
	}
}

static void
send_result(struct calls *cs, const struct result *res, uint64_t call)
{
	struct buf *out = cs->o.out(cs->o.owner);

	if (out)
		result_encode(res, call, out);
}

static void
send_state(struct calls *cs, struct str id, enum guest_status status, uint64_t call)
{
	struct result res = {.status = status};

	if (str_copy_z(id, res.id, sizeof(res.id)))
		send_result(cs, &res, call);
}

/* ---- the end of a call ---- */

static void start_waiting(struct calls *cs);

/* The result is known: keeps it and tells everybody who asked. */
static void
settle(struct call *c, struct reply *r)
{
	struct calls *cs = c->cs;
	struct buf valid;

	buf_init(&valid, 3 * REPLY_MAX);
	text_put_valid(&valid, buf_str(&r->text));
	c->res.status = c->cancelled ? GUEST_CANCELLED : GUEST_OK;
	c->res.is_error = r->is_error;
	c->res.run_us = clock_mono_us() - c->started_us;
	if (r->text.fail || valid.fail ||
		result_set_text(&c->res, buf_str(&valid), &cs->o.files, cs->o.offload_dir) < 0)
		result_set_trouble(&c->res, "guest: out of memory");
	buf_done(&valid);
	c->done = true;
	json_free(c->input);
	c->input = NULL;
	free(c->search);
	c->search = NULL;
	cs->running--;
	cs->kept++;
	for (size_t i = 0; i < c->n_waiters; i++)
		send_result(cs, &c->res, c->waiters[i]);
	c->n_waiters = 0;
	cs->o.flush(cs->o.owner);
	spill_oldest(cs);
}

static void
settle_error(struct call *c, const char *text)
{
	AUTO(reply) struct reply r = {0};

	reply_init(&r);
	reply_fail(&r, "%s", text);
	settle(c, &r);
}

/* ---- bash ---- */

static void
on_bash_done(struct bash_call *b, struct reply *r)
{
	struct call *c = CONTAINER_OF(b, struct call, bash);

	if (b->started_us)
		c->started_us = b->started_us;
	settle(c, r);
}

static void
on_bash_output(struct bash_call *b, struct str piece)
{
	struct call *c = CONTAINER_OF(b, struct call, bash);
	struct buf *out = c->cs->o.out(c->cs->o.owner);

	if (!out)
		return;
	struct frame_w w = frame_begin(out, GC_OUTPUT, 0);
	frame_str(&w, str_z(c->res.id));
	frame_str(&w, piece);
	frame_end(&w, 0);
	c->cs->o.flush(c->cs->o.owner);
}

/* What JavaScript takes for true. */
static bool
truthy(const struct json_t *v)
{
	switch (json_kind(v)) {
	case JSON_NULL:
		return false;
	case JSON_BOOL:
		return json_bool(v, false);
	case JSON_INT:
	case JSON_REAL:
		return json_real(v, 0) != 0;
	case JSON_STR:
		return json_str(v, STR("")).n > 0;
	case JSON_ARR:
	case JSON_OBJ:
		return true;
	}
	UNREACHABLE();
}

static void
run_bash(struct call *c)
{
	double ms = json_real(json_get(c->input, "timeout_ms"), LIM_BASH_MS);
	double most =
		c->timeout_ms && c->timeout_ms < LIM_BASH_MS_MAX ? (double)c->timeout_ms : LIM_BASH_MS_MAX;

	c->bash = (struct bash_call){
		.command = json_get_str(c->input, "command"),
		.restart = truthy(json_get(c->input, "restart")),
		.timeout_ms = (int64_t)(ms > most   ? most
					: ms < -1e9 ? -1e9
						    : ms),
		.done = on_bash_done,
		.output = on_bash_output,
	};
	bash_run(c->cs->o.bash, &c->bash);
}

/* ---- tools in a child ---- */

static void
on_job_end(void *owner, const struct job_end *end)
{
	AUTO(reply) struct reply r = {0};
	struct call *c = owner;
	struct calls *cs = c->cs;

	reply_init(&r);
	c->job = NULL;
	if (c->tool == TOOL_RG)
		grep_program_end(end, &r);
	else if (c->tool == TOOL_GREP)
		grep_end(end, &r);
	else if (c->tool == TOOL_GLOB)
		glob_end(end, &r);
	else if (end->timed_out || end->broken || end->cut)
		reply_fail(&r, "read: %s", end->timed_out ? "timed out" : "search of the lines failed");
	else {
		r.is_error = end->is_error;
		buf_put_str(&r.text, end->text);
	}
	settle(c, &r);
	start_waiting(cs);
}

static void
read_work(void *arg, struct job_out *out)
{
	struct call *c = arg;

	files_read_range(&c->cs->o.files, c->input, out);
}

static void
start_job(struct call *c)
{
	char pattern[LIM_PATH];
	const char *argv[] = {c->program, "--no-config", "-n", "--no-heading", "-e", pattern, "--",
		c->search ? c->search->shown : "", NULL};
	struct job_spec spec = {
		.work = c->tool == TOOL_READ   ? read_work
			: c->tool == TOOL_GLOB ? glob_work
					       : grep_work,
		.arg = c->tool == TOOL_READ ? (void *)c : (void *)c->search,
		.argv = c->tool == TOOL_RG ? argv : NULL,
		.limit_ms = c->timeout_ms && c->timeout_ms < JOB_MS ? c->timeout_ms : JOB_MS,
		.max_bytes = c->tool == TOOL_READ ? REPLY_MAX : SEARCH_OUT_MAX,
		.ended = on_job_end,
		.owner = c,
	};

	if (c->tool == TOOL_RG && !str_copy_z(c->search->pattern, pattern, sizeof(pattern))) {
		settle_error(c, "grep: the pattern is too long");
		return;
	}
	c->started_us = clock_mono_us();
	c->job = job_start(c->cs->o.jobs, &spec);
	if (!c->job)
		settle_error(c, "guest: no child process could be started");
}

/* Starts the waiting calls that have room now. A call that fails at once may be freed by that, hence the
 * search anew. */
static void
start_waiting(struct calls *cs)
{
	struct call *c = cs->first;

	while (c && jobs_room(cs->o.jobs)) {
		if (!c->waiting) {
			c = c->next;
			continue;
		}
		c->waiting = false;
		start_job(c);
		c = cs->first;
	}
}

static void
wait_for_child(struct call *c)
{
	c->waiting = true;
	start_waiting(c->cs);
}

static void
run_search(struct call *c, struct reply *r)
{
	const struct roots *roots = c->cs->o.files.roots;

	c->search = calloc(1, sizeof(*c->search));
	if (!c->search) {
		reply_fail(r, "guest: out of memory");
		settle(c, r);
		return;
	}
	int bad = c->tool == TOOL_GLOB ? glob_check(roots, c->input, c->search, r)
				       : grep_check(roots, c->input, c->search, r);
	if (bad < 0) {
		settle(c, r);
		return;
	}
	if (c->tool == TOOL_GREP && grep_program(roots, c->program))
		c->tool = TOOL_RG;
	wait_for_child(c);
}

/* ---- starting ---- */

static enum tool
tool_of(struct str name)
{
	static const char *const names[] = {[TOOL_BASH] = "bash",
		[TOOL_READ] = "read",
		[TOOL_WRITE] = "write",
		[TOOL_EDIT] = "edit",
		[TOOL_GLOB] = "glob",
		[TOOL_GREP] = "grep"};

	for (size_t i = 0; i < ARRAY_LEN(names); i++)
		if (str_eqz(name, names[i]))
			return (enum tool)i;
	return TOOL_UNKNOWN;
}

static void
run(struct call *c)
{
	AUTO(reply) struct reply r = {0};
	const struct files *f = &c->cs->o.files;

	reply_init(&r);
	switch (c->tool) {
	case TOOL_BASH:
		run_bash(c);
		return;
	case TOOL_GLOB:
	case TOOL_GREP:
	case TOOL_RG:
		run_search(c, &r);
		return;
	case TOOL_READ:
		if (read_tool(f, c->input, &r)) {
			wait_for_child(c);
			return;
		}
		break;
	case TOOL_WRITE:
		write_tool(f, c->input, &r);
		break;
	case TOOL_EDIT:
		edit_tool(f, c->input, &r);
		break;
	case TOOL_UNKNOWN:
		reply_fail(&r, "guest: there is no such tool");
		break;
	}
	settle(c, &r);
}

static struct call *
add(struct calls *cs, struct str id, uint64_t waiter)
{
	struct call *c = calloc(1, sizeof(*c));

	if (!c)
		return NULL;
	c->cs = cs;
	(void)str_copy_z(id, c->res.id, sizeof(c->res.id));
	c->waiters[c->n_waiters++] = waiter;
	c->started_us = clock_mono_us();
	*cs->last = c;
	cs->last = &c->next;
	cs->running++;
	return c;
}

/* One more call id wants the result; the oldest gives way. */
static void
join(struct call *c, uint64_t waiter)
{
	if (c->n_waiters == WAITERS_MAX)
		memmove(c->waiters, c->waiters + 1, --c->n_waiters * sizeof(c->waiters[0]));
	c->waiters[c->n_waiters++] = waiter;
}

/* Answers from what is known. False: the id was never seen. */
static bool
answer_known(struct calls *cs, struct str id, uint64_t call, bool tell_running)
{
	AUTO(result) struct result res = {0};
	struct call *c = find(cs, id);

	if (c && c->done) {
		send_result(cs, &c->res, call);
	} else if (c) {
		if (tell_running)
			send_state(cs, id, GUEST_RUNNING, call);
		join(c, call);
	} else if (spill_get(cs->spill, id, &res)) {
		send_result(cs, &res, call);
	} else {
		return false;
	}
	cs->o.flush(cs->o.owner);
	return true;
}

static bool
on_execute(struct calls *cs, const struct frame *f)
{
	struct frame_r r = frame_r(f->payload);
	struct str id = frame_get_str_max(&r, LIM_ID), tool = frame_get_str_max(&r, LIM_TOOL_NAME);
	struct str input = frame_get_str_max(&r, LIM_TOOL_INPUT);
	uint64_t timeout_ms = frame_get_u64(&r);

	if (frame_done(&r, NULL) < 0 || !result_id_ok(id))
		return false;
	if (answer_known(cs, id, f->call, false))
		return true;
	bool full = cs->running >= CALLS_RUNNING_MAX;
	struct call *c = add(cs, id, f->call);
	if (!c)
		return false; /* out of memory: hands asks again on the next connection */
	c->tool = tool_of(tool);
	c->timeout_ms = timeout_ms;
	if (full)
		settle_error(c, "guest: too many tool calls at once");
	else if (json_parse(input, &c->input, NULL) < 0)
		settle_error(c, "guest: the input is not valid JSON");
	else
		run(c);
	return true;
}

static void
cancel(struct call *c)
{
	c->cancelled = true;
	if (c->tool == TOOL_BASH) {
		bash_cancel(c->cs->o.bash, &c->bash);
		return;
	}
	if (c->job)
		job_cancel(c->job);
	c->job = NULL;
	c->waiting = false;
	settle_error(c, c->tool == TOOL_READ   ? "read: aborted"
			: c->tool == TOOL_GLOB ? "glob: aborted"
					       : "grep: aborted");
}

/* The messages that carry only an id. */
static bool
on_id(struct calls *cs, const struct frame *f)
{
	struct frame_r r = frame_r(f->payload);
	struct str id = frame_get_str_max(&r, LIM_ID);

	if (frame_done(&r, NULL) < 0 || !result_id_ok(id))
		return false;
	if (f->type == GC_COLLECT) {
		if (!answer_known(cs, id, f->call, true)) {
			send_state(cs, id, GUEST_UNKNOWN, f->call);
			cs->o.flush(cs->o.owner);
		}
		return true;
	}
	struct call *c = find(cs, id);
	if (f->type == GC_CANCEL) {
		if (c && !c->done)
			cancel(c);
		return true;
	}
	if (c && c->done) {
		cs->kept--;
		forget(cs, c);
	} else if (!c) {
		spill_drop(cs->spill, id);
	}
	return true;
}

bool
calls_frame(struct calls *cs, const struct frame *f)
{
	struct buf *out;

	switch (f->type) {
	case GC_EXECUTE:
		return on_execute(cs, f);
	case GC_CANCEL:
	case GC_COLLECT:
	case GC_ACK:
		return on_id(cs, f);
	case GC_PING:
		if (f->payload.n)
			return false;
		out = cs->o.out(cs->o.owner);
		if (out) {
			struct frame_w w = frame_begin(out, GC_PONG, f->call);
			frame_end(&w, 0);
			cs->o.flush(cs->o.owner);
		}
		return true;
	case GC_PONG:
		return f->payload.n == 0;
	default: /* not an enum: a number from outside */
		return false;
	}
}

void
calls_lost(struct calls *cs)
{
	for (struct call *c = cs->first; c; c = c->next)
		c->n_waiters = 0;
}

struct calls *
calls_new(const struct calls_opts *o)
{
	struct calls *cs = calloc(1, sizeof(*cs));

	if (!cs)
		return NULL;
	cs->o = *o;
	cs->last = &cs->first;
	cs->spill = spill_new(o->results_dir, CALLS_SPILLED_MAX);
	if (!cs->spill) {
		free(cs);
		return NULL;
	}
	return cs;
}

void
calls_free(struct calls *cs)
{
	if (!cs)
		return;
	while (cs->first)
		forget(cs, cs->first);
	spill_free(cs->spill);
	free(cs);
}
