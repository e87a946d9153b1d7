/* SPDX-License-Identifier: Apache-2.0 */
#include "hands/claim.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/frame.h"
#include "base/limits.h"
#include "base/log.h"
#include "hands/job.h"
#include "hands/place.h"
#include "hands/role.h"
#include "hands/workspace.h"

#define CLAIM_TRIES 3

/* ---- the message ---- */

void
claim_free(struct claim *c)
{
	if (!c)
		return;
	for (size_t i = 0; i < c->n_files; i++) {
		free(c->files[i].path);
		fd_close(c->files[i].fd);
	}
	free(c->files);
	free(c->root_files);
	free(c);
}

static int
parse_name(struct frame_r *r, char dst[HANDS_NAME_MAX], const char *what, struct err *e)
{
	struct str s = frame_get_str_max(r, HANDS_NAME_MAX - 1);

	if (s.n && !hands_name_ok(s))
		return err_set(e, ERR_INVALID, "%s: not a plain name", what);
	str_copy_z(s, dst, HANDS_NAME_MAX);
	return 0;
}

static int
parse_file(struct frame_r *r, struct claim_file *f, struct err *e)
{
	struct str id = frame_get_str_max(r, ID_MAX - 1);
	struct str path = frame_get_str_max(r, LIM_PATH);
	struct str relative;
	enum place_where where;

	f->size = frame_get_u64(r);
	f->fd = -1;
	if (r->bad)
		return err_set(e, ERR_CORRUPT, "claim: malformed file");
	f->id = id_from(id);
	int rc = place_route(path, &where, &relative, e);

	if (rc < 0)
		return rc;
	f->path = malloc(path.n + 1);
	if (!f->path)
		return err_set(e, ERR_NO_MEMORY, "claim");
	str_copy_z(path, f->path, path.n + 1);
	return 0;
}

static int
parse_files(struct claim *c, struct frame_r *r, struct err *e)
{
	uint64_t n = frame_get_u64(r);
	int rc = 0;

	if (n > LIM_RESOURCES)
		return err_set(e, ERR_INVALID, "over %d files", LIM_RESOURCES);
	c->files = calloc(n + 1, sizeof(*c->files));
	if (!c->files)
		return err_set(e, ERR_NO_MEMORY, "claim");
	for (uint64_t i = 0; rc == 0 && i < n; i++) {
		c->n_files = i + 1;
		rc = parse_file(r, &c->files[i], e);
	}
	return rc;
}

int
claim_parse(struct claim **out, struct frame_r *r, uint64_t call, const struct hands_env *env, struct err *e)
{
	struct claim *c = calloc(1, sizeof(*c));
	struct limits l;

	if (!c)
		return err_set(e, ERR_NO_MEMORY, "claim");
	c->call = call;
	c->since_us = clock_mono_us();
	int rc = parse_name(r, c->key.image, "image", e);

	if (rc == 0)
		rc = parse_name(r, c->key.layer, "environment layer", e);
	l.memory = frame_get_u64(r);
	l.pids = frame_get_u64(r);
	l.disk = frame_get_u64(r);
	l.cpu_milli = frame_get_u64(r);
	c->key.limits = env_limits(env, &l);
	if (rc == 0)
		rc = parse_files(c, r, e);
	if (rc == 0)
		rc = frame_done(r, e);
	if (rc < 0) {
		claim_free(c);
		return rc;
	}
	*out = c;
	return 0;
}

/* ---- answers ---- */

static void
pop(struct session *s)
{
	struct claim *c = s->claims;

	s->claims = c->next;
	claim_free(c);
	if (s->sb)
		sandbox_set_busy(s->sb, s->claims || execs_running(&s->execs));
}

static void
fail(struct session *s, enum hands_step step, const struct err *why)
{
	relay_failed(s->h->control, s->claims->call, step, why, s->sb ? s->sb->generation : 0);
	pop(s);
}

void
claim_fail_all(struct session *s, enum hands_step step, const struct err *why)
{
	while (s->claims)
		fail(s, step, why);
}

static bool
is_root_file(const struct claim_file *f)
{
	struct str relative;
	enum place_where where = PLACE_ROOT;

	place_route(str_z(f->path), &where, &relative, NULL);
	return where == PLACE_ROOT;
}

static void
succeed(struct session *s)
{
	struct claim *c = s->claims;
	struct err e = {0};
	bool changed = false;
	int r = 0;

	for (size_t i = 0; r == 0 && i < c->n_files; i++) {
		if (!c->files[i].missing)
			continue;
		r = session_add_file(s, id_str(&c->files[i].id), str_z(c->files[i].path), &e);
		changed = true;
	}
	if (r == 0 && changed)
		r = session_save(s, &e);
	if (r < 0) {
		fail(s, STEP_WORKSPACE, &e);
		return;
	}
	relay_claimed(s->h->control, c->call, s->sb->generation, c->how, clock_mono_us() - c->since_us);
	log_info("sandbox.claimed", LOG_Z("session", s->id.z), LOG_Z("sandbox", s->sb->id.z),
		LOG_INT("generation", s->sb->generation), LOG_INT("how", c->how),
		LOG_INT("us", clock_mono_us() - c->since_us));
	pop(s);
}

/* ---- NEW ---- */

/* Starts a sandbox on the session's own workspace, with the files that must be there before. */
static int
start(struct session *s, struct claim *c, struct err *e)
{
	char dir[HANDS_PATH];
	struct str relative;
	enum place_where where;

	free(c->root_files);
	c->n_root_files = 0;
	c->root_files = calloc(c->n_files + 1, sizeof(*c->root_files));
	if (!c->root_files)
		return err_set(e, ERR_NO_MEMORY, "claim");
	for (size_t i = 0; i < c->n_files; i++) {
		const struct claim_file *f = &c->files[i];

		if (!f->missing || !is_root_file(f) ||
			place_route(str_z(f->path), &where, &relative, NULL) < 0)
			continue;
		c->root_files[c->n_root_files++] = (struct launch_file){relative, f->size, f->fd};
	}
	struct sandbox_start o = {
		.env = &s->h->env,
		.key = &c->key,
		.session = id_str(&s->id),
		.generation = s->generation + 1,
		.workspace = env_session_dir(&s->h->env, s->id.z, dir),
		.files = c->root_files,
		.n_files = c->n_root_files,
		.ops = session_sandbox_ops(s),
	};

	s->generation++;
	int r = session_save(s, e);

	return r < 0 ? r : sandbox_start(&s->sb, &o, e);
}

/* Moves the workspace's file or tree from the pool to the session. */
static int
move_workspace(const char *from, const char *to, struct err *e)
{
	static const char *const names[] = {"disk.ext4", "tree"};
	char a[HANDS_PATH], b[HANDS_PATH];

	for (size_t i = 0; i < ARRAY_LEN(names); i++) {
		hands_path(a, "%s/%s", from, names[i]);
		hands_path(b, "%s/%s", to, names[i]);
		if (access(a, F_OK) == 0 && rename(a, b) < 0)
			return err_os(e, "move the workspace to %s", b);
	}
	rmdir(from);
	return 0;
}

/*
 * The order matters for whoever finds this half done: first the session's generation, then the sandbox's
 * state (which says that the workspace is the session's), the move last. Recovery moves it when it finds the
 * second without the third.
 */
static int
take_warm(struct session *s, struct sandbox *sb, struct err *e)
{
	char from[HANDS_PATH], to[HANDS_PATH];

	hands_path(from, "%s", sb->workspace);
	env_session_dir(&s->h->env, s->id.z, to);
	s->generation++;
	s->sb = sb;
	struct sandbox_tenancy t = {id_str(&s->id), s->generation, to, session_sandbox_ops(s)};
	int saved = session_save(s, e);
	int r = sandbox_bind(sb, &t, saved == 0 ? e : NULL);

	r = saved < 0 ? saved : r;
	if (r == 0)
		r = move_workspace(from, to, e);
	if (r == 0)
		session_attached(s);
	return r;
}

/* Which files are not in the workspace; true when one of them has to be there before the start. */
static bool
find_missing(const struct session *s, struct claim *c)
{
	bool root = false;

	for (size_t i = 0; i < c->n_files; i++) {
		struct claim_file *f = &c->files[i];

		f->missing = !session_has_file(s, id_str(&f->id), str_z(f->path));
		root = root || (f->missing && is_root_file(f));
	}
	return root;
}

static int
ask_files(struct session *s, struct claim *c, struct err *e)
{
	struct id *ids = calloc(c->n_files + 1, sizeof(*ids));
	size_t n = 0;

	if (!ids)
		return err_set(e, ERR_NO_MEMORY, "claim");
	for (size_t i = 0; i < c->n_files; i++) {
		struct claim_file *f = &c->files[i];

		if (!f->missing || f->asked)
			continue;
		f->asked = true;
		ids[n++] = f->id;
	}
	if (n)
		relay_want(s->h->control, c->call, ids, n);
	free(ids);
	return 0;
}

static int
check_host(const struct hands_env *env, enum hands_step *step, struct err *e)
{
	*step = STEP_PLATFORM;
	if (!env->platform[0])
		return err_set(e, ERR_UNAVAILABLE, "runsc starts no sandbox here: %.150s", env->probe_note);
	if (!env->cfg.require_limits)
		return 0;
	*step = STEP_CGROUP;
	if (!env->cg.dir[CGROUP_MEMORY][0] || !env->cg.dir[CGROUP_PIDS][0])
		return err_set(e, ERR_UNAVAILABLE, "limits are required: %s", env->cg.note);
	*step = STEP_WORKSPACE;
	if (!env->disk_limited)
		return err_set(e, ERR_UNAVAILABLE, "limits are required: %s", env->disk_note);
	return 0;
}

/* What to do when the session has no sandbox: sets c->how. */
static int
get_sandbox(struct session *s, struct claim *c, bool root_files, enum hands_step *step, struct err *e)
{
	char dir[HANDS_PATH];
	struct sandbox *sb = NULL;

	*step = STEP_WORKSPACE;
	if (++c->tries > CLAIM_TRIES)
		return err_set(
			e, ERR_UNAVAILABLE, "the sandbox ended %d times while it was claimed", CLAIM_TRIES);
	c->how = workspace_exists(env_session_dir(&s->h->env, s->id.z, dir)) ? CLAIM_REBUILT : CLAIM_COLD;
	if (c->how == CLAIM_COLD && !root_files)
		sb = pool_take(s->h->pool, &c->key);
	if (sb) {
		c->how = CLAIM_WARM;
		return take_warm(s, sb, e);
	}
	*step = STEP_BUNDLE;
	return root_files ? 0 : start(s, c, e);
}

/* The root of a running sandbox is cached inside: it has to be started anew to see files that are put there.
 */
static int
restart_for_root_files(struct session *s, struct err *e)
{
	if (execs_running(&s->execs))
		return err_set(e, ERR_CONFLICT,
			"a file outside the work directory and the uploads cannot be added while tools run");
	sandbox_stop(s->sb, "stopped");
	return 0;
}

static void
fail_new(struct session *s, enum hands_step step, const struct err *why)
{
	/* A sandbox whose taking over failed half-way is of no use to anybody. */
	if (s->sb && s->claims->how == CLAIM_WARM && s->sb->phase == SANDBOX_READY)
		sandbox_stop(s->sb, "stopped");
	fail(s, step, why);
}

/* True when the claim moved on. */
static bool
do_new(struct session *s, struct claim *c)
{
	enum hands_step step = STEP_NONE;
	struct err e = {0};

	if (!s->h->env.probed || (s->sb && s->sb->phase != SANDBOX_READY))
		return false;
	bool root_files = find_missing(s, c);
	int r = check_host(&s->h->env, &step, &e);

	if (r == 0 && s->sb && root_files) {
		step = STEP_UPLOAD;
		r = restart_for_root_files(s, &e);
		if (r == 0)
			return false;
	} else if (r == 0 && s->sb) {
		c->how = c->tries ? c->how : CLAIM_EXISTING;
	} else if (r == 0) {
		r = get_sandbox(s, c, root_files, &step, &e);
	}
	if (r == 0)
		r = ask_files(s, c, &e);
	if (r < 0)
		fail_new(s, step, &e);
	else
		c->state = CLAIM_FILES;
	return true;
}

/* ---- FILES and PLACING ---- */

static int
run_place(void *arg, struct job_reply *reply, struct err *e)
{
	const struct session *s = arg;
	const struct claim *c = s->claims;
	const char *run = s->h->env.cfg.run_dir;
	char path[HANDS_PATH];
	AUTO(fd)
	int uploads = open(hands_path(path, "%s/sb/%s/ws/uploads", run, s->sb->id.z),
		O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	AUTO(fd)
	int work = open(hands_path(path, "%s/sb/%s/ws/workspace", run, s->sb->id.z),
		O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	int r = uploads < 0 || work < 0 ? err_os(e, "open %s", path) : 0;

	reply->step = STEP_UPLOAD;
	for (size_t i = 0; r == 0 && i < c->n_files; i++) {
		const struct claim_file *f = &c->files[i];
		struct place_what what = {.fd = f->fd, .size = f->size};

		if (!f->missing)
			continue;
		r = place_route(str_z(f->path), &what.where, &what.relative, e);
		if (r == 0 && what.where != PLACE_ROOT)
			r = place_file(what.where == PLACE_UPLOADS ? uploads : work, &what, e);
		if (r < 0)
			err_wrap(e, "%.150s", f->path);
	}
	return r;
}

static void
on_placed(void *owner, const struct job_reply *reply)
{
	struct session *s = owner;
	struct claim *c = s->claims;

	s->job = NULL;
	if (c && c->state == CLAIM_PLACING) {
		if (!s->sb || s->sb->phase != SANDBOX_READY)
			c->state = CLAIM_NEW;
		else if (reply->rc < 0)
			fail(s, (enum hands_step)reply->step, &reply->err);
		else
			succeed(s);
	}
	/* A release that came meanwhile waited for this job. */
	if (s->releases && !s->sb)
		session_release_now(s);
	else if (s->claims)
		claim_advance(s);
	else
		session_settle(s);
}

static bool
do_files(struct session *s, struct claim *c)
{
	struct err e = {0};
	bool place = false;
	struct job_opts o = {
		.loop = s->h->env.loop,
		.reaper = s->h->env.reaper,
		.name = "copying files",
		.run = run_place,
		.arg = s,
		.owner = s,
		.on_done = on_placed,
	};

	for (size_t i = 0; i < c->n_files; i++) {
		if (c->files[i].missing && c->files[i].fd < 0)
			return false;
		place = place || (c->files[i].missing && !is_root_file(&c->files[i]));
	}
	if (!s->sb && start(s, c, &e) < 0) {
		fail(s, STEP_BUNDLE, &e);
		return true;
	}
	if (s->sb->phase != SANDBOX_READY)
		return false;
	if (!place) {
		succeed(s);
		return true;
	}
	c->state = CLAIM_PLACING;
	if (job_start(&s->job, &o, &e) < 0)
		fail(s, STEP_UPLOAD, &e);
	return true;
}

void
claim_advance(struct session *s)
{
	bool moved = true;

	while (moved && s->claims && !s->job && !s->releases) {
		struct claim *c = s->claims;

		switch (c->state) {
		case CLAIM_NEW:
			moved = do_new(s, c);
			break;
		case CLAIM_FILES:
			moved = do_files(s, c);
			break;
		case CLAIM_PLACING:
			moved = false;
			break;
		}
	}
}

void
claim_give_file(struct session *s, uint64_t call, struct str file_id, uint64_t size, int *fd)
{
	struct claim *c = s->claims;

	while (c && c->call != call)
		c = c->next;
	for (size_t i = 0; c && i < c->n_files; i++) {
		struct claim_file *f = &c->files[i];

		if (f->fd >= 0 || !f->asked || !str_eq(id_str(&f->id), file_id))
			continue;
		f->fd = MOVE_FD(*fd);
		f->size = size;
		break;
	}
	claim_advance(s);
}

void
claim_sandbox_ended(struct session *s, const struct sandbox_end *end)
{
	struct claim *c = s->claims;

	if (!c)
		return;
	if (!end->started)
		fail(s, end->step, &end->err);
	else if (c->state == CLAIM_FILES)
		c->state = CLAIM_NEW;
}
