/* SPDX-License-Identifier: Apache-2.0 */
#include "hands/sandbox.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/limits.h"
#include "base/log.h"
#include "hands/beneath.h"
#include "hands/job.h"
#include "hands/runsc.h"
#include "hands/words.h"

#define REDIAL_MS    10000 /* for the guest to dial again before the sandbox counts as lost */
#define START_JOB_MS (LIM_SANDBOX_START_MS + 5000)
#define STOP_JOB_MS  120000
#define STATE_MAX    8192
#define EXECS_MAX    65536

struct sandbox_private {
	const struct hands_env *env;
	struct sandbox_ops ops;
	struct channel *channel;
	struct words *words;
	struct job *job;
	struct loop_child *child;
	struct loop_timer *timer; /* STARTING: the start. READY: the guest's return */
	struct loop_timer *idle;
	struct loop_timer *wall;
	struct launch_file *files; /* borrowed */
	size_t n_files;
	int words_fd;  /* write end, until the start job has it */
	bool launched; /* the start job succeeded */
	bool busy;
	struct loop_task stop_task;
	struct sandbox_end end;
	char *known_execs; /* read at adoption */
	size_t n_known_execs;
	int execs_fd;
};

/* ---- the state file ---- */

static void
put_state(const struct sandbox *s, struct buf *b)
{
	struct json_w w = json_w(b);

	jw_obj(&w);
	jw_kz(&w, "phase", s->phase == SANDBOX_READY ? "ready" : "starting");
	jw_kz(&w, "session", s->session.z);
	jw_kint(&w, "generation", (int64_t)s->generation);
	jw_kz(&w, "workspace", s->workspace);
	jw_kz(&w, "image", s->key.image);
	jw_kz(&w, "layer", s->key.layer);
	jw_kint(&w, "memory", (int64_t)s->key.limits.memory);
	jw_kint(&w, "pids", (int64_t)s->key.limits.pids);
	jw_kint(&w, "disk", (int64_t)s->key.limits.disk);
	jw_kint(&w, "cpu_milli", (int64_t)s->key.limits.cpu_milli);
	jw_kint(&w, "pid", s->launch.pid);
	jw_kint(&w, "pid_start", (int64_t)s->launch.pid_start);
	jw_kz(&w, "resume_key", s->priv->channel ? channel_key(s->priv->channel) : "");
	jw_obj_end(&w);
}

static int
save(const struct sandbox *s, struct err *e)
{
	char dir[HANDS_PATH];
	AUTO(buf) struct buf b = {0};
	AUTO(fd)
	int fd = open(env_sandbox_dir(s->priv->env, s->id.z, dir), O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (fd < 0)
		return err_os(e, "open %s", dir);
	buf_init(&b, STATE_MAX);
	put_state(s, &b);
	int r = buf_check(&b, e);

	return r < 0 ? r : beneath_write(fd, "state.json", buf_str(&b), e);
}

/* ---- the end ---- */

void
sandbox_free(struct sandbox *s)
{
	struct sandbox_private *p = s ? s->priv : NULL;

	if (!s)
		return;
	if (p) {
		loop_task_cancel(p->env->loop, &p->stop_task);
		channel_free(p->channel);
		words_free(p->words);
		job_free(p->job);
		if (p->child)
			reaper_drop(p->env->reaper, s->launch.pid);
		loop_child_free(p->child);
		loop_timer_free(p->timer);
		loop_timer_free(p->idle);
		loop_timer_free(p->wall);
		fd_close(p->words_fd);
		fd_close(p->execs_fd);
		free(p->known_execs);
		free(p);
	}
	free(s);
}

static int
run_stop(void *arg, struct job_reply *reply, struct err *e)
{
	const struct sandbox *s = arg;
	struct launch_hits hits = {0};
	struct launch_stop stop = {
		.env = s->priv->env,
		.id = s->id.z,
		.pid = s->launch.pid,
		.pid_start = s->launch.pid_start,
		.remove = s->session.z[0] ? NULL : s->workspace,
	};
	int r = launch_stop(&stop, &hits, e);

	memcpy(reply->data, &hits, sizeof(hits));
	return r;
}

/* A sandbox that ended by itself ended for the limit that it met, if it met one. */
static const char *
better_reason(const char *reason, const struct launch_hits *hits)
{
	if (!reason || (strcmp(reason, "exited") != 0 && strcmp(reason, "lost") != 0))
		return reason;
	return hits->memory ? "memory" : hits->pids ? "processes" : reason;
}

static void
on_stopped(void *owner, const struct job_reply *reply)
{
	struct sandbox *s = owner;
	struct sandbox_private *p = s->priv;
	struct launch_hits hits;

	p->job = NULL;
	memcpy(&hits, reply->data, sizeof(hits));
	if (reply->rc < 0)
		log_error("sandbox.remains", LOG_Z("sandbox", s->id.z), LOG_ERR(&reply->err));
	p->end.reason = better_reason(p->end.reason, &hits);
	p->ops.on_end(p->ops.owner, s, &p->end);
}

/* After the present callbacks: the caller may be deep inside the channel. */
static void
begin_stop(struct sandbox *s)
{
	struct sandbox_private *p = s->priv;
	struct err e = {0};
	struct job_opts o = {
		.loop = p->env->loop,
		.reaper = p->env->reaper,
		.name = "stop of a sandbox",
		.run = run_stop,
		.arg = s,
		.timeout_ms = STOP_JOB_MS,
		.owner = s,
		.on_done = on_stopped,
	};

	s->phase = SANDBOX_STOPPING;
	loop_timer_stop(p->timer);
	loop_timer_stop(p->idle);
	loop_timer_stop(p->wall);
	if (job_start(&p->job, &o, &e) == 0)
		return;
	/* Without a process to do it in, do it here: the loop waits, but nothing is left behind. */
	struct job_reply reply = {0};

	log_error("sandbox.stop", LOG_Z("sandbox", s->id.z), LOG_ERR(&e));
	reply.rc = run_stop(s, &reply, &reply.err);
	on_stopped(s, &reply);
}

static void
begin_stop_later(void *arg)
{
	struct sandbox *s = arg;

	channel_free(MOVE(s->priv->channel));
	begin_stop(s);
}

/* The one way into STOPPING. */
static void
end_with(struct sandbox *s, const char *reason)
{
	struct sandbox_private *p = s->priv;

	if (s->phase == SANDBOX_STOPPING)
		return;
	p->end.started = s->phase == SANDBOX_READY;
	p->end.reason = reason;
	s->phase = SANDBOX_STOPPING;
	/* A start job that still runs is ended first; its on_done goes on. */
	if (p->job)
		job_kill(p->job);
	else
		loop_task_post(p->env->loop, &p->stop_task);
}

static void
fail_start(struct sandbox *s, enum hands_step step, const struct err *why)
{
	if (s->phase != SANDBOX_STARTING)
		return;
	s->priv->end.step = step;
	s->priv->end.err = *why;
	end_with(s, "failed");
}

void
sandbox_stop(struct sandbox *s, const char *reason)
{
	struct err e = {0};

	if (s->phase == SANDBOX_STARTING) {
		err_set(&e, ERR_UNAVAILABLE, "stopped while it started (%s)", reason);
		fail_start(s, STEP_RUNSC, &e);
		return;
	}
	end_with(s, reason);
}

/* ---- events of the running sandbox ---- */

static void
on_process_end(void *arg, int status)
{
	struct sandbox *s = arg;
	struct sandbox_private *p = s->priv;
	struct err e = {0};

	loop_child_free(MOVE(p->child));
	reaper_drop(p->env->reaper, s->launch.pid);
	if (s->phase == SANDBOX_STOPPING)
		return;
	if (status >= 0) {
		p->end.exit_known = true;
		p->end.exit_status = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
	}
	if (s->phase == SANDBOX_STARTING) {
		err_set(&e, ERR_UNAVAILABLE, "the sandbox ended before its guest connected: %s",
			p->words ? words_tail(p->words) : "");
		fail_start(s, STEP_HELLO, &e);
		return;
	}
	end_with(s, "exited");
}

static int
watch_process(struct sandbox *s, struct err *e)
{
	struct sandbox_private *p = s->priv;
	int r = reaper_keep(p->env->reaper, s->launch.pid, e);

	if (r < 0)
		return r;
	p->child = loop_child_new(p->env->loop, s->launch.pid, on_process_end, s);
	if (p->child)
		return 0;
	reaper_drop(p->env->reaper, s->launch.pid);
	return err_os(e, "watch the sandbox's process");
}

static void
become_ready(struct sandbox *s)
{
	struct sandbox_private *p = s->priv;
	struct err e = {0};

	s->phase = SANDBOX_READY;
	loop_timer_stop(p->timer);
	p->files = NULL;
	p->n_files = 0;
	if (save(s, &e) < 0) {
		s->phase = SANDBOX_STARTING;
		fail_start(s, STEP_BUNDLE, &e);
		return;
	}
	p->ops.on_ready(p->ops.owner, s);
}

static void
on_channel_up(void *owner)
{
	struct sandbox *s = owner;
	struct sandbox_private *p = s->priv;

	if (s->phase == SANDBOX_STARTING && p->launched)
		become_ready(s);
	else if (s->phase == SANDBOX_READY) {
		loop_timer_stop(p->timer);
		if (p->ops.on_up)
			p->ops.on_up(p->ops.owner, s);
	}
}

static void
on_channel_down(void *owner)
{
	struct sandbox *s = owner;

	if (s->phase == SANDBOX_READY)
		loop_timer_start(s->priv->timer, REDIAL_MS, 0);
}

static void
on_channel_bad(void *owner, const struct err *why)
{
	struct sandbox *s = owner;

	log_warn("guest.broke_protocol", LOG_Z("sandbox", s->id.z), LOG_Z("session", s->session.z),
		LOG_ERR(why));
	if (s->phase == SANDBOX_STARTING)
		fail_start(s, STEP_HELLO, why);
	else
		end_with(s, "lost");
}

static int
on_channel_result(void *owner, const struct guest_result *r, struct err *e)
{
	struct sandbox *s = owner;
	struct sandbox_private *p = s->priv;

	if (s->phase == SANDBOX_STOPPING)
		return 0;
	if (!p->ops.on_result)
		return err_set(e, ERR_CORRUPT, "guest sent a result that nobody asked for");
	return p->ops.on_result(p->ops.owner, r, e);
}

static int
on_channel_output(void *owner, struct str exec_id, struct str piece, struct err *e)
{
	struct sandbox *s = owner;
	struct sandbox_private *p = s->priv;

	if (s->phase == SANDBOX_STOPPING)
		return 0;
	if (!p->ops.on_output)
		return err_set(e, ERR_CORRUPT, "guest sent output that nobody asked for");
	return p->ops.on_output(p->ops.owner, exec_id, piece, e);
}

static int
open_channel(struct sandbox *s, const char *key, struct err *e)
{
	char dir[HANDS_PATH], pin[HANDS_PATH];
	struct channel_opts o = {
		.loop = s->priv->env->loop,
		.dir = hands_path(pin, "%s/pinfold", env_sandbox_dir(s->priv->env, s->id.z, dir)),
		.name = s->id.z,
		.key = key,
		.tool_procs = LIM_SANDBOX_PROCS,
		/* A tool that wants it all should fail by itself before the kernel ends the sandbox. */
		.tool_memory = s->key.limits.memory / 8 * 7,
		.tool_file = s->key.limits.disk < LIM_SANDBOX_FILE ? s->key.limits.disk : LIM_SANDBOX_FILE,
		.ops = {s, on_channel_up, on_channel_down, on_channel_result, on_channel_output,
			on_channel_bad},
	};

	return channel_new(&s->priv->channel, &o, e);
}

/* ---- timers ---- */

static void
on_timer(void *arg)
{
	struct sandbox *s = arg;
	struct err e = {0};

	if (s->phase == SANDBOX_READY) {
		end_with(s, "lost");
		return;
	}
	err_set(&e, ERR_TIMEOUT, "the guest did not connect within %d ms: %s", LIM_SANDBOX_START_MS,
		s->priv->words ? words_tail(s->priv->words) : "");
	fail_start(s, STEP_HELLO, &e);
}

static void
on_idle(void *arg)
{
	sandbox_stop(arg, "idle");
}

static void
on_wall(void *arg)
{
	sandbox_stop(arg, "wall");
}

void
sandbox_set_busy(struct sandbox *s, bool busy)
{
	struct sandbox_private *p = s->priv;

	p->busy = busy;
	if (busy)
		loop_timer_stop(p->idle);
	else if (s->phase == SANDBOX_READY)
		loop_timer_start(p->idle, p->env->cfg.idle_ms, 0);
}

void
sandbox_check_memory(struct sandbox *s)
{
	if (s->phase == SANDBOX_READY && cgroup_oom_kills(&s->priv->env->cg, s->id.z) > 0)
		end_with(s, "memory");
}

/* ---- start ---- */

static int
run_start(void *arg, struct job_reply *reply, struct err *e)
{
	struct sandbox *s = arg;
	struct sandbox_private *p = s->priv;
	struct launch_result result = {0};
	struct launch l = {
		.env = p->env,
		.id = s->id.z,
		.image = s->key.image,
		.layer = s->key.layer,
		.limits = s->key.limits,
		.workspace = s->workspace,
		.files = p->files,
		.n_files = p->n_files,
		.words = p->words_fd,
	};
	enum hands_step step = STEP_NONE;
	int r = launch_start(&l, &step, &result, e);

	reply->step = step;
	memcpy(reply->data, &result, sizeof(result));
	return r;
}

static void
on_started(void *owner, const struct job_reply *reply)
{
	struct sandbox *s = owner;
	struct sandbox_private *p = s->priv;
	struct err e = reply->err;

	p->job = NULL;
	fd_close(MOVE_FD(p->words_fd));
	if (reply->rc == 0)
		memcpy(&s->launch, reply->data, sizeof(s->launch));
	if (s->phase == SANDBOX_STOPPING) {
		begin_stop_later(s);
		return;
	}
	if (reply->rc < 0) {
		const char *tail = reply->step == STEP_RUNSC ? words_tail(p->words) : "";

		if (tail[0])
			err_wrap(&e, "%s", tail);
		fail_start(s, reply->step, &e);
		return;
	}
	p->launched = true;
	if (watch_process(s, &e) < 0)
		fail_start(s, STEP_RUNSC, &e);
	else if (channel_is_up(p->channel))
		become_ready(s);
}

static struct sandbox *
sandbox_alloc(const struct hands_env *env, const struct sandbox_ops *ops)
{
	struct sandbox *s = calloc(1, sizeof(*s));
	struct sandbox_private *p = calloc(1, sizeof(*p));

	if (!s || !p) {
		free(s);
		free(p);
		return NULL;
	}
	s->priv = p;
	p->env = env;
	p->ops = *ops;
	p->words_fd = p->execs_fd = -1;
	p->stop_task = (struct loop_task){.fn = begin_stop_later, .arg = s};
	p->timer = loop_timer_new(env->loop, on_timer, s);
	p->idle = loop_timer_new(env->loop, on_idle, s);
	p->wall = loop_timer_new(env->loop, on_wall, s);
	s->started_us = clock_mono_us();
	if (p->timer && p->idle && p->wall)
		return s;
	sandbox_free(s);
	return NULL;
}

/* The directory that will be /run/pinfold, with links to the programs (one copy serves all sandboxes). */
static int
make_dirs(const struct sandbox *s, struct err *e)
{
	static const char *const programs[] = {"guest", "compat.so"};
	char dir[HANDS_PATH], from[HANDS_PATH], to[HANDS_PATH];
	int r;

	env_sandbox_dir(s->priv->env, s->id.z, dir);
	r = beneath_make_dir(hands_path(to, "%s/pinfold/results", dir), 0755, e);
	for (size_t i = 0; r == 0 && i < ARRAY_LEN(programs); i++) {
		hands_path(from, "%s/bin/%s", s->priv->env->cfg.run_dir, programs[i]);
		hands_path(to, "%s/pinfold/%s", dir, programs[i]);
		if (link(from, to) < 0)
			r = err_os(e, "link %s", to);
	}
	if (r == 0 && (chmod(hands_path(to, "%s/pinfold", dir), 0755) < 0 || chmod(dir, 0700) < 0))
		r = err_os(e, "chmod %s", to);
	return r;
}

static int
begin_start(struct sandbox *s, struct err *e)
{
	struct sandbox_private *p = s->priv;
	struct job_opts o = {
		.loop = p->env->loop,
		.reaper = p->env->reaper,
		.name = "start of a sandbox",
		.run = run_start,
		.arg = s,
		.timeout_ms = START_JOB_MS,
		.owner = s,
		.on_done = on_started,
	};
	int r = make_dirs(s, e);

	if (r == 0)
		r = open_channel(s, "", e);
	if (r == 0)
		r = save(s, e);
	if (r == 0)
		r = words_new(&p->words, p->env->loop, s->id.z, &p->words_fd, e);
	if (r == 0)
		r = job_start(&p->job, &o, e);
	if (r == 0)
		loop_timer_start(p->timer, LIM_SANDBOX_START_MS, 0);
	return r;
}

int
sandbox_start(struct sandbox **out, const struct sandbox_start *o, struct err *e)
{
	struct sandbox *s = sandbox_alloc(o->env, &o->ops);
	char dir[HANDS_PATH];

	if (!s)
		return err_set(e, ERR_NO_MEMORY, "sandbox");
	s->id = id_new("sbx", clock_wall_us());
	s->key = *o->key;
	s->session = id_from(o->session);
	s->generation = o->generation;
	s->priv->files = o->files;
	s->priv->n_files = o->n_files;
	if (o->workspace)
		hands_path(s->workspace, "%s", o->workspace);
	else
		env_pool_dir(o->env, s->id.z, s->workspace);
	int r = begin_start(s, e);

	if (r < 0) {
		beneath_remove(AT_FDCWD, env_sandbox_dir(o->env, s->id.z, dir), NULL);
		sandbox_free(s);
		return r;
	}
	*out = s;
	return 0;
}

/* ---- later owners ---- */

static int
read_state(struct sandbox *s, int dir, char key[CHANNEL_KEY], struct err *e)
{
	AUTO(json) struct json_t *v = NULL;
	size_t n = 0;
	char *text = beneath_read(dir, "state.json", STATE_MAX, &n, e);
	int r = text ? json_parse(str_n(text, n), &v, e) : -(int)e->kind;

	free(text);
	if (r < 0)
		return r;
	struct limits *l = &s->key.limits;

	s->session = id_from(json_get_str(v, "session"));
	s->generation = (uint64_t)json_get_int(v, "generation", 0);
	l->memory = (uint64_t)json_get_int(v, "memory", 0);
	l->pids = (uint64_t)json_get_int(v, "pids", 0);
	l->disk = (uint64_t)json_get_int(v, "disk", 0);
	l->cpu_milli = (uint64_t)json_get_int(v, "cpu_milli", 0);
	s->launch.pid = (int)json_get_int(v, "pid", 0);
	s->launch.pid_start = (uint64_t)json_get_int(v, "pid_start", 0);
	bool ok = str_copy_z(json_get_str(v, "image"), s->key.image, sizeof(s->key.image)) &&
		  str_copy_z(json_get_str(v, "layer"), s->key.layer, sizeof(s->key.layer)) &&
		  str_copy_z(json_get_str(v, "workspace"), s->workspace, sizeof(s->workspace)) &&
		  str_copy_z(json_get_str(v, "resume_key"), key, CHANNEL_KEY) && key[0] &&
		  str_eqz(json_get_str(v, "phase"), "ready");

	return ok ? 0 : err_set(e, ERR_CORRUPT, "the state is not that of a ready sandbox");
}

int
sandbox_adopt(
	struct sandbox **out, const struct hands_env *env, const char *id, const struct sandbox_ops *ops)
{
	struct sandbox *s = sandbox_alloc(env, ops);
	char path[HANDS_PATH], key[CHANNEL_KEY];
	struct err e = {0};

	if (!s)
		return 0;
	s->id = id_from(str_z(id));
	AUTO(fd) int dir = open(env_sandbox_dir(env, id, path), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	int r = dir < 0 ? err_os(&e, "open %s", path) : read_state(s, dir, key, &e);

	if (r == 0 && (s->launch.pid < 2 || s->launch.pid_start != process_start_time(s->launch.pid)))
		r = err_set(&e, ERR_NOT_FOUND, "its process is gone");
	if (r == 0)
		r = open_channel(s, key, &e);
	if (r == 0)
		r = watch_process(s, &e);
	if (r < 0) {
		log_info("sandbox.stale", LOG_Z("sandbox", id), LOG_ERR(&e));
		sandbox_free(s);
		return 0;
	}
	s->phase = SANDBOX_READY;
	s->priv->launched = true;
	s->priv->known_execs = beneath_read(dir, "execs", EXECS_MAX, &s->priv->n_known_execs, NULL);
	loop_timer_start(s->priv->timer, REDIAL_MS, 0);
	loop_timer_start(s->priv->wall, env->cfg.wall_ms, 0);
	*out = s;
	return 1;
}

int
sandbox_bind(struct sandbox *s, const struct sandbox_tenancy *t, struct err *e)
{
	ASSERT(s->phase == SANDBOX_READY && !s->session.z[0]);
	s->session = id_from(t->session);
	s->generation = t->generation;
	hands_path(s->workspace, "%s", t->workspace);
	s->priv->ops = t->ops;
	loop_timer_start(s->priv->wall, s->priv->env->cfg.wall_ms, 0);
	return save(s, e);
}

void
sandbox_own(struct sandbox *s, struct sandbox_ops ops)
{
	s->priv->ops = ops;
}

bool
sandbox_is_up(const struct sandbox *s)
{
	return s->phase == SANDBOX_READY && s->priv->channel && channel_is_up(s->priv->channel);
}

void
sandbox_send(struct sandbox *s, struct buf *b)
{
	channel_send(s->priv->channel, b);
}

/* ---- ids of tools ---- */

void
sandbox_note_exec(struct sandbox *s, struct str exec_id)
{
	struct sandbox_private *p = s->priv;
	char path[HANDS_PATH], line[ID_MAX + 1];

	if (p->execs_fd < 0) {
		hands_path(path, "%s/sb/%s/execs", p->env->cfg.run_dir, s->id.z);
		p->execs_fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
	}
	if (exec_id.n == 0) {
		free(MOVE(p->known_execs));
		p->n_known_execs = 0;
		if (ftruncate(p->execs_fd, 0) < 0)
			log_debug("sandbox.execs", LOG_Z("sandbox", s->id.z));
		return;
	}
	int n = snprintf(line, sizeof(line), "%.*s\n", STRF(exec_id));

	/* Without the note a restarted hands would take the result for a forged one and end the sandbox:
	 * safe. */
	if (write(p->execs_fd, line, (size_t)n) != n)
		log_warn("sandbox.execs", LOG_Z("sandbox", s->id.z));
}

bool
sandbox_knows_exec(const struct sandbox *s, struct str exec_id)
{
	struct str list = str_n(s->priv->known_execs, s->priv->n_known_execs);

	while (list.n > 0)
		if (str_eq(str_next(&list, '\n'), exec_id))
			return true;
	return false;
}
