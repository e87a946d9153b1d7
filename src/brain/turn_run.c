/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Executes what turn_next names, one step at a time. Every step ends in an append; the commit folds it
 * (brain_on_commit) and run_drive looks again.
 *
 *   run_drive --append-only action--> plan_advance --commit--> run_drive
 *             --request-------------> gate --response/failure--> append --> run_drive
 *             --tools---------------> hands --results----------> append --> run_drive
 *             --interrupt-----------> cancel both, then append  --> run_drive
 *             --wait----------------> timer                     --> run_drive
 *             --nothing-------------> the run is freed
 */
#include "brain/run.h"

#include <stdlib.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"

/* After an append that failed for no reason of ours (disk, memory), look again. */
#define RUN_RETRY_MS 1000
/* How long an interrupted tool may take to stop. */
#define RUN_CANCEL_MS 5000

typedef int run_make(void *arg, const struct session_state *s, struct plan *p, struct err *e);

static void
response_drop(struct run *r)
{
	if (r->response.arena != NULL)
		response_done(&r->response);
	r->response = (struct model_response){0};
}

static void
run_destroy(struct run *r)
{
	response_drop(r);
	free(r);
}

void
run_free(struct run *r)
{
	if (r == NULL)
		return;
	r->live->brain->n_runs--;
	model_call_cancel(MOVE(r->call));
	run_tools_free(r);
	loop_timer_free(MOVE(r->timer));
	if (r->busy)
		r->dead = true;
	else
		run_destroy(r);
}

static void
on_timer(void *arg)
{
	struct run *r = arg;
	if (r->cancelling)
		run_tools_abandon(r);
	run_drive(r->live);
}

static struct run *
run_new(struct live *l)
{
	struct run *r = calloc(1, sizeof(*r));
	if (r == NULL)
		return NULL;
	r->live = l;
	r->timer = loop_timer_new(l->brain->loop, on_timer, r);
	if (r->timer == NULL) {
		free(r);
		return NULL;
	}
	l->brain->n_runs++;
	return r;
}

/* Ends the busy step. False when the run was given up meanwhile. */
static bool
run_unbusy(struct run *r)
{
	r->busy = false;
	if (!r->dead)
		return true;
	run_destroy(r);
	return false;
}

static void
run_retry_later(struct run *r)
{
	loop_timer_start(r->timer, RUN_RETRY_MS, 0);
}

/* ---- appending ---- */

/* Somebody else holds the session's lease now: what we know is stale. */
static void
run_fenced(struct run *r)
{
	struct live *l = r->live;
	log_warn("session.fenced", LOG_STR("session", id_str(&l->id)));
	l->run = NULL;
	l->epoch = 0;
	run_free(r);
}

static void
set_failure(struct run *r, enum model_end end, const char *error_type, const char *message)
{
	if (!str_copy_z(str_z(message), r->failure_text, sizeof(r->failure_text)))
		r->failure_text[0] = '\0';
	r->failure = (struct plan_failure){.end = end, .error_type = error_type, .message = r->failure_text};
	r->has_failure = true;
}

/* Trying again does not help: the rows themselves cannot be made. */
static bool
is_final(const struct err *err)
{
	return err->kind == ERR_TOO_LARGE || err->kind == ERR_INVALID || err->kind == ERR_CORRUPT;
}

/* Rows that cannot be made from a response or a result (over a limit, say) are replaced by rows that say so;
 * everything else is tried again when the store may have room or time. */
static void
run_append_failed(struct run *r, const struct err *err)
{
	bool final = is_final(err);
	bool replaced = run_tools_failed(r, final ? err->msg : NULL);
	if (final && r->response.arena != NULL) {
		response_drop(r);
		set_failure(r, MODEL_END_FATAL, "model_request_failed_error", err->msg);
		replaced = true;
	}
	if (replaced)
		run_drive(r->live);
	else
		run_retry_later(r);
}

static void
on_appended(void *arg, const struct err *err, const struct plan *p, uint32_t first_seq,
	const struct session_state *s)
{
	(void)p, (void)first_seq, (void)s;
	struct run *r = arg;
	if (!run_unbusy(r))
		return;
	if (err == NULL) {
		run_tools_appended(r);
		response_drop(r);
		r->has_failure = false;
		run_drive(r->live);
		return;
	}
	log_error("session.append", LOG_STR("session", id_str(&r->live->id)), LOG_ERR(err));
	if (err->kind == ERR_FENCED)
		run_fenced(r);
	else
		run_append_failed(r, err);
}

static void
run_append(struct run *r, run_make *make)
{
	r->busy = true;
	struct brain_change c = {.make = make, .done = on_appended, .arg = r};
	live_change(r->live, &c);
}

static int
make_advance(void *arg, const struct session_state *s, struct plan *p, struct err *e)
{
	(void)arg;
	return plan_advance(p, s, clock_wall_us(), e);
}

static int
make_response(void *arg, const struct session_state *s, struct plan *p, struct err *e)
{
	struct run *r = arg;
	uint64_t now = clock_wall_us();
	int rc = plan_response(p, s, &r->response, now, e);
	return rc < 0 ? rc : plan_extend(p, s, now, e);
}

static int
make_failure(void *arg, const struct session_state *s, struct plan *p, struct err *e)
{
	struct run *r = arg;
	uint64_t now = clock_wall_us();
	int rc = plan_failure(p, s, &r->failure, now, e);
	return rc < 0 ? rc : plan_extend(p, s, now, e);
}

static int
make_results(void *arg, const struct session_state *s, struct plan *p, struct err *e)
{
	struct run *r = arg;
	uint64_t now = clock_wall_us();
	int rc = run_tools_rows(r, s, p, now, e);
	return rc < 0 ? rc : plan_extend(p, s, now, e);
}

static int
make_interrupt(void *arg, const struct session_state *s, struct plan *p, struct err *e)
{
	(void)arg;
	uint64_t now = clock_wall_us();
	int rc = plan_interrupt(p, s, now, e);
	return rc < 0 ? rc : plan_extend(p, s, now, e);
}

/* ---- model requests ---- */

static void
on_model_done(void *arg, struct model_response *resp, const struct plan_failure *f)
{
	struct run *r = arg;
	r->call = NULL;
	if (resp != NULL) {
		r->response = *resp;
		*resp = (struct model_response){0};
	} else {
		set_failure(r, f->end, f->error_type, f->message);
		r->failure.retry_after_us = f->retry_after_us;
	}
	run_drive(r->live);
}

static void
on_preview_start(void *arg, enum event_type type, const struct id *event_id)
{
	subs_preview_start(arg, type, event_id);
}

static void
on_preview_text(void *arg, const struct id *event_id, unsigned index, struct str delta)
{
	subs_preview_text(arg, event_id, index, delta);
}

static const struct brain_model *
model_find(const struct brain *b, struct str name)
{
	for (size_t i = 0; i < b->o.n_models; i++) {
		struct str p = b->o.models[i].pattern;
		bool open_end = str_ends(p, STR("*"));
		if (open_end ? str_starts(name, str_sub(p, 0, p.n - 1)) : str_eq(name, p))
			return &b->o.models[i];
	}
	return NULL;
}

bool
brain_model_known(const struct brain *b, struct str model)
{
	return model_find(b, model) != NULL;
}

/* From the page cache mostly: at most what fits into one request. */
static int
read_file(void *arg, struct str file_id, struct buf *out, struct err *e)
{
	AUTO(fd) int fd = -1;
	uint64_t size = 0;
	int r = store_blob_open(arg, file_id, &fd, &size, e);
	char *p = r == 0 ? buf_reserve(out, size) : NULL;
	if (r < 0 || p == NULL)
		return r < 0 ? r : buf_check(out, e);
	while (out->n < size) {
		ssize_t n = read(fd, p + out->n, size - out->n);
		if (n <= 0)
			return n < 0 ? err_os(e, "read a file") : err_set(e, ERR_IO, "a file is cut");
		out->n += (size_t)n;
	}
	return 0;
}

static int
request_start(struct run *r, struct err *e)
{
	struct live *l = r->live;
	struct str model = l->state->agent_model;
	const struct brain_model *m = model_find(l->brain, model);
	if (m == NULL)
		return err_set(
			e, ERR_INVALID, "no provider serves the model %.*s", STRF(str_sub(model, 0, 100)));
	AUTO(buf) struct buf body;
	buf_init(&body, LIM_MODEL_REQUEST);
	struct transcript_opts to = {.model = model,
		.max_tokens = l->brain->o.max_tokens,
		.files = {.arg = l->brain->o.store, .read = read_file}};
	int rc = transcript_render(l->context, l->state, &to, &body, e);
	if (rc < 0)
		return rc;
	struct model_call_opts o = {.provider = m->provider,
		.body = buf_str(&body),
		.retry_count = l->state->turn.tries,
		.hooks = {.arg = l, .on_start = on_preview_start, .on_text = on_preview_text},
		.arg = r,
		.on_done = on_model_done};
	return model_call_start(l->brain->gate, &o, &r->call, e);
}

/* The same request may go through later. */
static bool
is_passing(const struct err *e)
{
	return e->kind == ERR_UNAVAILABLE || e->kind == ERR_NO_MEMORY;
}

static void
drive_request(struct run *r)
{
	if (r->call != NULL)
		return;
	if (r->response.arena != NULL) {
		run_append(r, make_response);
		return;
	}
	struct err e = {0};
	/* A span that this process did not open belongs to one that died. */
	bool opened = str_eq(id_str(&r->live->opened), id_str(&r->live->state->turn.request_id));
	if (!r->has_failure && !opened)
		set_failure(r, MODEL_END_LOST, NULL, NULL);
	else if (!r->has_failure && request_start(r, &e) < 0)
		set_failure(r, is_passing(&e) ? MODEL_END_ERROR : MODEL_END_FATAL,
			"model_request_failed_error", e.msg);
	if (r->has_failure)
		run_append(r, make_failure);
}

/* ---- the other steps ---- */

static void
drive_tools(struct run *r)
{
	if (run_tools_ready(r)) {
		run_append(r, make_results);
		return;
	}
	run_tools_start(r);
	if (run_tools_ready(r) && !r->busy)
		run_append(r, make_results);
}

static void
drive_interrupt(struct run *r)
{
	model_call_cancel(MOVE(r->call));
	response_drop(r);
	r->has_failure = false;
	if (run_tools_ready(r)) {
		run_append(r, make_results);
		return;
	}
	if (!run_tools_in_flight(r)) {
		run_append(r, make_interrupt);
	} else if (!r->cancelling) {
		/* One grace time for all of them, whatever else comes meanwhile. */
		r->cancelling = true;
		loop_timer_start(r->timer, RUN_CANCEL_MS, 0);
		run_tools_cancel(r);
	}
}

static void
drive_wait(struct run *r, uint64_t at_us)
{
	uint64_t now = clock_wall_us();
	loop_timer_start(r->timer, at_us > now ? (at_us - now) / 1000 + 1 : 1, 0);
}

static void
on_context(void *arg, const struct err *err)
{
	struct run *r = arg;
	if (!run_unbusy(r))
		return;
	if (err != NULL) {
		log_error("session.context", LOG_STR("session", id_str(&r->live->id)), LOG_ERR(err));
		run_retry_later(r);
		return;
	}
	run_drive(r->live);
}

static void
on_lease(void *arg, const struct err *err, uint64_t epoch)
{
	struct run *r = arg;
	if (!run_unbusy(r))
		return;
	if (err != NULL) {
		log_error("session.lease", LOG_STR("session", id_str(&r->live->id)), LOG_ERR(err));
		run_retry_later(r);
		return;
	}
	r->live->epoch = epoch;
	run_drive(r->live);
}

/* A run acts only under a lease and with the whole conversation at hand. False: it will be driven again. */
static bool
run_prepared(struct run *r)
{
	struct live *l = r->live;
	if (l->epoch == 0) {
		r->busy = true;
		store_lease(l->brain->o.store, id_str(&l->id), on_lease, r);
		return false;
	}
	if (l->context == NULL) {
		r->busy = true;
		live_load_context(l, on_context, r);
		return false;
	}
	return true;
}

static void
run_act(struct run *r, const struct turn_action *a)
{
	switch (a->kind) {
	case ACT_START_TURN:
	case ACT_TAKE_QUEUED:
	case ACT_REQUEST_MODEL:
	case ACT_DENY_TOOLS:
	case ACT_RESUME:
	case ACT_GO_IDLE:
		run_append(r, make_advance);
		break;
	case ACT_CONTINUE_REQUEST:
		drive_request(r);
		break;
	case ACT_RUN_TOOLS:
		drive_tools(r);
		break;
	case ACT_WAIT_UNTIL:
		drive_wait(r, a->at_us);
		break;
	case ACT_INTERRUPT:
		drive_interrupt(r);
		break;
	case ACT_NONE:
		break;
	}
}

static void
run_end(struct live *l)
{
	run_free(MOVE(l->run));
	live_trim(l);
	live_settle(l);
}

void
run_drive(struct live *l)
{
	if (l->state == NULL || l->deleting || l->brain->stopping || (l->run != NULL && l->run->busy))
		return;
	struct turn_action a = turn_next(&l->state->turn, clock_wall_us());
	if (l->run != NULL && a.kind != ACT_INTERRUPT)
		l->run->cancelling = false;
	if (a.kind == ACT_NONE) {
		if (l->run != NULL)
			run_end(l);
		return;
	}
	if (l->run == NULL)
		l->run = run_new(l);
	if (l->run == NULL) {
		log_error("session.run", LOG_STR("session", id_str(&l->id)), LOG_Z("error", "out of memory"));
		return;
	}
	if (run_prepared(l->run))
		run_act(l->run, &a);
}
