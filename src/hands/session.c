/* SPDX-License-Identifier: Apache-2.0 */
#include "hands/session.h"

#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/guest_call.h"
#include "base/limits.h"
#include "base/log.h"
#include "hands/beneath.h"
#include "hands/claim.h"
#include "hands/job.h"
#include "hands/role.h"

#define TICK_MS    2000
#define OUTPUTS_MS 100 /* between scans while files wait to be told */
#define OUTPUTS_N  64  /* files told in one scan */
#define RECORD_MAX (4 * MIB)
#define REMOVE_MS  600000

/* ---- the record on disk ---- */

int
session_add_file(struct session *s, struct str id, struct str path, struct err *e)
{
	struct session_file *p = realloc(s->files, (s->n_files + 1) * sizeof(*p));
	char *copy = malloc(path.n + 1);

	if (p)
		s->files = p;
	if (!p || !copy || !str_copy_z(path, copy, path.n + 1)) {
		free(copy);
		return err_set(e, ERR_NO_MEMORY, "file of a session");
	}
	s->files[s->n_files++] = (struct session_file){id_from(id), copy};
	return 0;
}

bool
session_has_file(const struct session *s, struct str id, struct str path)
{
	for (size_t i = 0; i < s->n_files; i++)
		if (str_eq(id_str(&s->files[i].id), id) && str_eqz(path, s->files[i].path))
			return true;
	return false;
}

static int
load(struct session *s, struct err *e)
{
	AUTO(json) struct json_t *v = NULL;
	char path[HANDS_PATH], *text = NULL;
	size_t n = 0;
	AUTO(fd)
	int dir = open(env_session_dir(&s->h->env, s->id.z, path), O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (dir >= 0)
		text = beneath_read(dir, "session.json", RECORD_MAX, &n, NULL);
	if (!text)
		return 0;
	int r = json_parse(str_n(text, n), &v, NULL);

	free(text);
	if (r < 0) {
		/* A torn record (power loss): the clock gives a generation that no earlier sandbox had. */
		s->generation = clock_wall_us() / 1000000;
		return 0;
	}
	s->generation = (uint64_t)json_get_int(v, "generation", 0);
	const struct json_t *files = json_get(v, "files");

	r = 0;
	for (size_t i = 0; r == 0 && i < json_len(files); i++) {
		const struct json_t *f = json_at(files, i);

		r = session_add_file(s, json_get_str(f, "id"), json_get_str(f, "path"), e);
	}
	return r;
}

int
session_save(const struct session *s, struct err *e)
{
	AUTO(buf) struct buf b = {0};
	char path[HANDS_PATH];
	int r = beneath_make_dir(env_session_dir(&s->h->env, s->id.z, path), 0700, e);
	AUTO(fd) int dir = r == 0 ? open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -1;

	if (r == 0 && dir < 0)
		r = err_os(e, "open %s", path);
	if (r < 0)
		return r;
	buf_init(&b, RECORD_MAX);
	struct json_w w = json_w(&b);

	jw_obj(&w);
	jw_kint(&w, "generation", (int64_t)s->generation);
	jw_key(&w, "files");
	jw_arr(&w);
	for (size_t i = 0; i < s->n_files; i++) {
		jw_obj(&w);
		jw_kz(&w, "id", s->files[i].id.z);
		jw_kz(&w, "path", s->files[i].path);
		jw_obj_end(&w);
	}
	jw_arr_end(&w);
	jw_obj_end(&w);
	r = buf_check(&b, e);
	return r < 0 ? r : beneath_write(dir, "session.json", buf_str(&b), e);
}

/* ---- life ---- */

struct session *
session_find(const struct hands *h, struct str id)
{
	for (struct session *s = h->sessions; s; s = s->next)
		if (str_eq(id_str(&s->id), id))
			return s;
	return NULL;
}

static void on_overdue(void *owner, struct exec *x);
static void on_tick(void *arg);
static void on_scan_task(void *arg);

struct session *
session_get(struct hands *h, struct str id, struct err *e)
{
	struct session *s = session_find(h, id);

	if (s)
		return s;
	if (!hands_name_ok(id)) {
		err_set(e, ERR_INVALID, "not a session id");
		return NULL;
	}
	s = calloc(1, sizeof(*s));
	if (!s) {
		err_set(e, ERR_NO_MEMORY, "session");
		return NULL;
	}
	s->h = h;
	s->id = id_from(id);
	s->scan_task = (struct loop_task){.fn = on_scan_task, .arg = s};
	execs_init(&s->execs, h->env.loop, s, on_overdue);
	s->next = h->sessions;
	h->sessions = s;
	if (load(s, e) == 0)
		return s;
	session_free(s);
	return NULL;
}

void
session_free(struct session *s)
{
	for (struct session **at = &s->h->sessions; *at; at = &(*at)->next) {
		if (*at != s)
			continue;
		*at = s->next;
		break;
	}
	while (s->claims) {
		struct claim *c = s->claims;

		s->claims = c->next;
		claim_free(c);
	}
	while (s->releases) {
		struct release_call *r = s->releases;

		s->releases = r->next;
		free(r);
	}
	for (size_t i = 0; i < s->n_files; i++)
		free(s->files[i].path);
	free(s->files);
	execs_done(&s->execs);
	job_free(s->job);
	outputs_free(s->outputs);
	loop_timer_free(s->tick);
	loop_task_cancel(s->h->env.loop, &s->scan_task);
	sandbox_free(s->sb);
	free(s);
}

bool
session_settle(struct session *s)
{
	if (s->sb || s->claims || s->releases || s->job || s->execs.list)
		return false;
	session_free(s);
	return true;
}

static void
update_busy(struct session *s)
{
	if (s->sb)
		sandbox_set_busy(s->sb, s->claims || execs_running(&s->execs));
}

/* ---- outputs ---- */

static void
on_output_file(void *arg, const struct outputs_file *f, int fd)
{
	const struct session *s = arg;

	relay_output_file(s->h->control, id_str(&s->id), f, fd);
}

/* `settled` right after a tool ended, when its files are finished; what grows later is told when it stops
 * growing. */
static void
scan_outputs(struct session *s, bool settled)
{
	const struct outputs_sink to = {on_output_file, s};
	char path[HANDS_PATH];
	struct err e = {0};

	/* Without a control nobody would take the files: they are new until somebody does. */
	if (!s->sb || s->sb->phase == SANDBOX_STARTING || !s->outputs || !s->h->control)
		return;
	hands_path(path, "%s/sb/%s/ws/session/outputs", s->h->env.cfg.run_dir, s->sb->id.z);
	/* The sandbox may remove the directory, or put a link in its place: then there are no outputs. */
	int r = outputs_scan(s->outputs, path, settled, &to, &e);

	if (r == -ERR_NO_MEMORY)
		log_warn("outputs.scan", LOG_Z("session", s->id.z), LOG_ERR(&e));
	if (r == 1 && s->tick)
		loop_timer_start(s->tick, OUTPUTS_MS, TICK_MS);
}

static void
on_scan_task(void *arg)
{
	struct session *s = arg;

	scan_outputs(s, !execs_running(&s->execs));
}

static void
on_tick(void *arg)
{
	struct session *s = arg;

	if (!s->sb)
		return;
	scan_outputs(s, false);
	sandbox_check_memory(s->sb);
}

void
session_attached(struct session *s)
{
	char path[HANDS_PATH];

	if (!s->outputs) {
		s->outputs = outputs_new(env_session_dir(&s->h->env, s->id.z, path));
		if (s->outputs)
			outputs_pace(s->outputs, OUTPUTS_N);
	}
	if (!s->tick)
		s->tick = loop_timer_new(s->h->env.loop, on_tick, s);
	if (s->tick)
		loop_timer_start(s->tick, TICK_MS, TICK_MS);
	update_busy(s);
}

/* ---- the sandbox's events ---- */

static void
on_ready(void *owner, struct sandbox *sb)
{
	struct session *s = owner;

	log_info("sandbox.ready", LOG_Z("session", s->id.z), LOG_Z("sandbox", sb->id.z),
		LOG_INT("generation", sb->generation), LOG_INT("workspace_us", sb->launch.workspace_us),
		LOG_INT("mount_us", sb->launch.mount_us), LOG_INT("runsc_us", sb->launch.runsc_us));
	session_attached(s);
	claim_advance(s);
}

static void
on_up(void *owner, struct sandbox *sb)
{
	struct session *s = owner;

	for (struct exec *x = s->execs.list; x; x = x->next)
		if (!x->done)
			exec_send(x, sb);
}

static void
end_error(const struct sandbox_end *end, struct err *why)
{
	static const struct {
		const char *reason;
		enum err_kind kind;
		const char *text;
	} texts[] = {
		{"memory", ERR_UNAVAILABLE, "the sandbox reached its memory limit and was ended"},
		{"processes", ERR_UNAVAILABLE,
			"the sandbox reached its limit of processes and threads and was ended"},
		{"wall", ERR_TIMEOUT, "the time limit was over and the sandbox was ended"},
		{"exited", ERR_UNAVAILABLE, "the sandbox ended by itself"},
		{"lost", ERR_UNAVAILABLE, "the connection to the sandbox was lost and it was ended"},
		{"idle", ERR_UNAVAILABLE, "the sandbox was ended because it was idle"},
	};

	err_set(why, ERR_UNAVAILABLE, "the sandbox was stopped");
	for (size_t i = 0; i < ARRAY_LEN(texts); i++)
		if (strcmp(end->reason, texts[i].reason) == 0)
			err_set(why, texts[i].kind, "%s", texts[i].text);
}

/* Answers every open call; finished results stay. */
static void
fail_execs(struct session *s, uint64_t generation, const struct sandbox_end *end)
{
	struct exec *next;
	struct err why = {0};

	end_error(end, &why);
	for (struct exec *x = s->execs.list; x; x = next) {
		next = x->next;
		if (x->done)
			continue;
		if (x->call)
			relay_failed(s->h->control, x->call, STEP_GONE, &why, generation);
		execs_remove(&s->execs, x);
	}
}

static int
run_remove(void *arg, struct job_reply *reply, struct err *e)
{
	const struct session *s = arg;
	char path[HANDS_PATH];

	(void)reply;
	return beneath_remove(AT_FDCWD, env_session_dir(&s->h->env, s->id.z, path), e);
}

static void
answer_releases(struct session *s)
{
	while (s->releases) {
		struct release_call *r = s->releases;

		s->releases = r->next;
		relay_released(s->h->control, r->call);
		free(r);
	}
}

static void
on_removed(void *owner, const struct job_reply *reply)
{
	struct session *s = owner;
	struct hands *h = s->h;

	s->job = NULL;
	if (reply->rc < 0)
		log_error("session.remove", LOG_Z("session", s->id.z), LOG_ERR(&reply->err));
	answer_releases(s);
	/* What was remembered of the workspace went with it. */
	for (size_t i = 0; i < s->n_files; i++)
		free(s->files[i].path);
	s->n_files = 0;
	outputs_free(MOVE(s->outputs));
	if (s->claims)
		claim_advance(s);
	else
		session_settle(s);
	hands_settle(h);
}

void
session_release_now(struct session *s)
{
	bool destroy = false;
	struct err e = {0};
	struct job_opts o = {
		.loop = s->h->env.loop,
		.reaper = s->h->env.reaper,
		.name = "removal of a workspace",
		.run = run_remove,
		.arg = s,
		.timeout_ms = REMOVE_MS,
		.owner = s,
		.on_done = on_removed,
	};

	for (const struct release_call *r = s->releases; r; r = r->next)
		destroy = destroy || r->destroy;
	if (destroy) {
		execs_done(&s->execs);
		if (job_start(&s->job, &o, &e) == 0)
			return;
		log_error("session.remove", LOG_Z("session", s->id.z), LOG_ERR(&e));
	}
	answer_releases(s);
}

static void
on_end(void *owner, struct sandbox *sb, const struct sandbox_end *end)
{
	struct session *s = owner;
	struct hands *h = s->h;

	s->sb = NULL;
	if (s->tick)
		loop_timer_stop(s->tick);
	if (end->started) {
		log_info("sandbox.gone", LOG_Z("session", s->id.z), LOG_Z("sandbox", sb->id.z),
			LOG_INT("generation", sb->generation), LOG_Z("reason", end->reason),
			LOG_INT("exit", end->exit_known ? end->exit_status : -1));
		fail_execs(s, sb->generation, end);
		if (h->control)
			relay_gone(h->control, id_str(&s->id), sb->generation, end);
	} else {
		log_error("sandbox.failed", LOG_Z("session", s->id.z),
			LOG_Z("step", hands_step_name(end->step)), LOG_ERR(&end->err));
	}
	claim_sandbox_ended(s, end);
	sandbox_free(sb);
	if (s->releases && !s->job)
		session_release_now(s);
	if (s->claims)
		claim_advance(s);
	else
		session_settle(s);
	hands_settle(h);
}

/* An answer to COLLECT, which only calls without a frame of their own ask. */
static int
take_unknown(struct session *s, struct exec *x, struct str exec_id, struct err *e)
{
	if (x->frame.n)
		return err_set(e, ERR_CORRUPT, "guest denies a tool call that it was given");
	if (x->call)
		relay_unknown(s->h->control, x->call, exec_id);
	execs_remove(&s->execs, x);
	return 0;
}

static int
on_result(void *owner, const struct guest_result *r, struct err *e)
{
	struct session *s = owner;
	struct exec *x = execs_find(&s->execs, r->exec_id);
	int rc = 0;

	if (!x && s->sb && sandbox_knows_exec(s->sb, r->exec_id))
		rc = execs_add_collect(&s->execs, r->exec_id, 0, &x, e);
	if (rc < 0)
		return rc;
	if (!x && execs_was_acknowledged(&s->execs, r->exec_id))
		return 0;
	if (!x)
		return err_set(e, ERR_CORRUPT, "guest sent a result that nobody asked for");
	if (x->done || r->status == GUEST_RUNNING)
		return 0;
	if (r->status == GUEST_UNKNOWN)
		return take_unknown(s, x, r->exec_id, e);
	rc = exec_finish(x, r, e);
	if (rc < 0)
		return rc;
	if (x->call && s->h->control)
		relay_result(s->h->control, x->call, &x->result);
	x->call = 0;
	update_busy(s);
	loop_task_post(s->h->env.loop, &s->scan_task);
	return 0;
}

static int
on_output(void *owner, struct str exec_id, struct str piece, struct err *e)
{
	struct session *s = owner;
	const struct exec *x = execs_find(&s->execs, exec_id);

	if (!x && !(s->sb && sandbox_knows_exec(s->sb, exec_id)) &&
		!execs_was_acknowledged(&s->execs, exec_id))
		return err_set(e, ERR_CORRUPT, "guest sent output of a tool that nobody started");
	if (x && x->call)
		relay_output(s->h->control, x->call, exec_id, piece);
	return 0;
}

struct sandbox_ops
session_sandbox_ops(struct session *s)
{
	return (struct sandbox_ops){
		.owner = s,
		.on_ready = on_ready,
		.on_end = on_end,
		.on_up = on_up,
		.on_result = on_result,
		.on_output = on_output,
	};
}

static void
on_overdue(void *owner, struct exec *x)
{
	struct session *s = owner;

	log_warn("tool.overdue", LOG_Z("session", s->id.z), LOG_Z("exec", x->id.z));
	if (s->sb)
		sandbox_stop(s->sb, "wall");
}

/* ---- from control ---- */

void
session_execute(struct session *s, uint64_t generation, const struct exec_call *c)
{
	struct err e = {0};
	struct exec *x = execs_find(&s->execs, c->id);
	uint64_t current = s->sb && s->sb->phase == SANDBOX_READY ? s->sb->generation : 0;
	int r = 0;

	if (x) {
		x->call = c->call;
		if (x->done)
			relay_result(s->h->control, c->call, &x->result);
		return;
	}
	if (!current || current != generation)
		r = err_set(&e, ERR_FENCED, "generation %llu is not the current one (%llu)",
			(unsigned long long)generation, (unsigned long long)current);
	if (r == 0)
		r = execs_add(&s->execs, c, &x, &e);
	if (r < 0) {
		relay_failed(s->h->control, c->call, STEP_EXECUTE, &e, current);
		return;
	}
	sandbox_note_exec(s->sb, c->id);
	if (sandbox_is_up(s->sb))
		exec_send(x, s->sb);
	update_busy(s);
}

void
session_collect(struct session *s, struct str exec_id, uint64_t call)
{
	struct exec *x = execs_find(&s->execs, exec_id);

	if (x) {
		x->call = call;
		if (x->done)
			relay_result(s->h->control, call, &x->result);
		return;
	}
	if (!s->sb || s->sb->phase != SANDBOX_READY ||
		execs_add_collect(&s->execs, exec_id, call, &x, NULL) < 0) {
		relay_unknown(s->h->control, call, exec_id);
		return;
	}
	if (sandbox_is_up(s->sb))
		exec_send(x, s->sb);
	update_busy(s);
}

void
session_cancel(struct session *s, uint64_t generation, struct str exec_id)
{
	struct exec *x = execs_find(&s->execs, exec_id);

	if (!x || x->done || x->cancelled || !s->sb || s->sb->generation != generation)
		return;
	x->cancelled = true;
	if (sandbox_is_up(s->sb))
		exec_tell(s->sb, GC_CANCEL, exec_id);
}

void
session_ack(struct session *s, struct str exec_id)
{
	struct exec *x = execs_find(&s->execs, exec_id);

	if (!x || !x->done)
		return;
	execs_acknowledge(&s->execs, x);
	if (s->sb && sandbox_is_up(s->sb))
		exec_tell(s->sb, GC_ACK, exec_id);
	if (s->sb && !s->execs.list)
		sandbox_note_exec(s->sb, STR_NULL);
}

void
session_release(struct session *s, uint64_t call, bool destroy)
{
	struct release_call *r = calloc(1, sizeof(*r));
	struct err e = {0};

	if (!r) {
		relay_released(s->h->control, call);
		return;
	}
	*r = (struct release_call){s->releases, call, destroy};
	s->releases = r;
	err_set(&e, ERR_UNAVAILABLE, "the session was released");
	claim_fail_all(s, STEP_GONE, &e);
	if (s->sb)
		sandbox_stop(s->sb, "stopped");
	else if (!s->job)
		session_release_now(s);
}

void
session_forget_callers(struct session *s)
{
	struct err e = {0};

	for (struct exec *x = s->execs.list; x; x = x->next)
		x->call = 0;
	err_set(&e, ERR_UNAVAILABLE, "control went away");
	claim_fail_all(s, STEP_GONE, &e);
}
