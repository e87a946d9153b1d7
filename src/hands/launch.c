/* SPDX-License-Identifier: Apache-2.0 */
#include "hands/launch.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/guest_call.h"
#include "base/limits.h"
#include "hands/beneath.h"
#include "hands/oci.h"
#include "hands/place.h"
#include "hands/runsc.h"
#include "hands/workspace.h"

#define KILL_ROUND_MS  5
#define KILL_ROUNDS    1000
#define SESSION_INSIDE "/mnt/session"
#define RESULTS_BYTES  (64 * MIB)

/* ---- start ---- */

static int
start_workspace(const struct launch *l, const char *ws, struct err *e)
{
	char templates[HANDS_PATH];
	struct workspace_opts o = {
		.templates_dir = hands_path(templates, "%s/templates", l->env->cfg.data_dir),
		.disk = l->limits.disk,
		.limited = l->env->disk_limited,
		.preload = l->env->stat_quirk,
	};
	int r = workspace_exists(l->workspace) ? 0 : workspace_create(&o, l->workspace, e);

	return r < 0 ? r : workspace_mount(l->workspace, ws, e);
}

static int
place_files(const struct launch *l, const char *rootfs, struct err *e)
{
	AUTO(fd) int root = l->n_files ? open(rootfs, O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -1;
	int r = 0;

	if (l->n_files && root < 0)
		return err_os(e, "open %s", rootfs);
	for (size_t i = 0; r == 0 && i < l->n_files; i++) {
		const struct place_what what = {
			PLACE_ROOT, l->files[i].path, l->files[i].fd, l->files[i].size};

		r = place_file(root, &what, e);
		if (r < 0)
			err_wrap(e, "/%.*s", STRF(l->files[i].path));
	}
	return r;
}

static int
write_config(const char *dir, const struct oci_plan *plan, struct err *e)
{
	AUTO(buf) struct buf b = {0};
	int r = oci_plan_check(plan, e);

	if (r < 0)
		return r;
	buf_init(&b, 64 * KIB);
	oci_plan_write(plan, &b);
	if ((r = buf_check(&b, e)) < 0)
		return r;
	AUTO(fd) int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (fd < 0)
		return err_os(e, "open %s", dir);
	return beneath_write(fd, "config.json", buf_str(&b), e);
}

static int
write_bundle(const char *dir, struct err *e)
{
	char s[5][HANDS_PATH];
	/* Each mount from the host costs runsc some milliseconds, so outputs and tool results share one.
	 * Results are for the guest of this sandbox alone and end with it: memory. */
	struct oci_plan plan = {
		.rootfs = hands_path(s[0], "%s/rootfs", dir),
		.hostname = "sandbox",
		.args = (const char *const[]){GUEST_BINARY, NULL},
		.cwd = "/",
		.mounts =
			{
				{hands_path(s[1], "%s/ws/workspace", dir), GUEST_WORKDIR, false, 0},
				{hands_path(s[2], "%s/ws/session", dir), SESSION_INSIDE, false, 0},
				{hands_path(s[3], "%s/ws/uploads", dir), GUEST_UPLOADS, true, 0},
				{hands_path(s[4], "%s/pinfold", dir), "/run/pinfold", true, 0},
				{NULL, GUEST_RESULTS_DIR, false, RESULTS_BYTES},
			},
		.n_mounts = 5,
	};

	return write_config(dir, &plan, e);
}

static int
read_pid(const char *dir, struct launch_result *out, struct err *e)
{
	AUTO(fd) int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	size_t n = 0;
	uint64_t pid = 0;
	char *text = fd < 0 ? NULL : beneath_read(fd, "pid", 32, &n, e);
	int r = 0;

	if (!text)
		return err_set(e, ERR_UNAVAILABLE, "runsc wrote no pid");
	if (!str_to_u64(str_trim(str_n(text, n)), &pid) || pid < 2)
		r = err_set(e, ERR_UNAVAILABLE, "runsc wrote no pid");
	free(text);
	if (r < 0)
		return r;
	out->pid = (int)pid;
	out->pid_start = process_start_time((int)pid);
	return out->pid_start ? 0 : err_set(e, ERR_UNAVAILABLE, "the sandbox ended at once");
}

static int
start_runsc(const struct launch *l, const char *dir, struct launch_result *out, struct err *e)
{
	char root[HANDS_PATH], log[HANDS_PATH], pid[HANDS_PATH];
	int entries[CGROUP_CTLS];
	struct runsc r = {
		.path = l->env->cfg.runsc,
		.platform = l->env->platform,
		.root = hands_path(root, "%s/runsc", dir),
		.log = hands_path(log, "%s/runsc.log", dir),
		.pod_init_config = l->env->cfg.pod_init_config,
	};
	struct runsc_run run = {
		.bundle = dir,
		.id = l->id,
		.pid_file = hands_path(pid, "%s/pid", dir),
		.out = l->words,
		.err = l->words,
		.entries = entries,
		.timeout_ms = LIM_SANDBOX_START_MS,
	};
	int n = cgroup_open_entries(&l->env->cg, l->id, entries, e);
	int status = 0;

	if (n < 0)
		return n;
	run.n_entries = n;
	int rc = runsc_run(&r, &run, &status, e);

	while (n > 0)
		fd_close(entries[--n]);
	return rc < 0 ? rc : read_pid(dir, out, e);
}

static uint32_t
lap(uint64_t *since)
{
	uint64_t now = clock_mono_us(), d = now - *since;

	*since = now;
	return d > UINT32_MAX ? UINT32_MAX : (uint32_t)d;
}

int
launch_start(const struct launch *l, enum hands_step *step, struct launch_result *out, struct err *e)
{
	char dir[HANDS_PATH], ws[HANDS_PATH], rootfs[HANDS_PATH], image[HANDS_PATH], layer[HANDS_PATH];
	bool has_layer = false;
	uint64_t t = clock_mono_us();
	int r;

	env_sandbox_dir(l->env, l->id, dir);
	hands_path(ws, "%s/ws", dir);
	hands_path(rootfs, "%s/rootfs", dir);
	*step = STEP_IMAGE;
	r = env_image(l->env, l->image, image, e);
	if (r == 0)
		r = env_layer(l->env, l->layer, layer, &has_layer, e);
	if (r == 0) {
		*step = STEP_WORKSPACE;
		r = start_workspace(l, ws, e);
		out->workspace_us = lap(&t);
	}
	if (r == 0) {
		*step = STEP_MOUNT;
		r = workspace_overlay(ws, image, has_layer ? layer : NULL, rootfs, e);
	}
	if (r == 0) {
		*step = STEP_UPLOAD;
		r = place_files(l, rootfs, e);
	}
	if (r == 0) {
		*step = STEP_CGROUP;
		r = cgroup_create(&l->env->cg, l->id, &l->limits, e);
	}
	if (r == 0) {
		*step = STEP_BUNDLE;
		r = write_bundle(dir, e);
		out->mount_us = lap(&t);
	}
	if (r == 0) {
		*step = STEP_RUNSC;
		r = start_runsc(l, dir, out, e);
		out->runsc_us = lap(&t);
	}
	return r;
}

/* ---- stop ---- */

static bool
kill_round(const struct launch_stop *s, const char *root, bool by_name)
{
	int alive = cgroup_kill(&s->env->cg, s->id);

	if (s->pid > 1 && s->pid_start && process_start_time(s->pid) == s->pid_start) {
		kill(s->pid, SIGKILL);
		alive++;
	}
	if (by_name)
		alive += runsc_signal_leftovers(root, SIGKILL);
	return alive > 0;
}

static bool
has_cgroup(const struct cgroup_host *h)
{
	for (int c = 0; c < CGROUP_CTLS; c++)
		if (h->dir[c][0])
			return true;
	return false;
}

/* Kills until nothing is left. Without a cgroup the runtime's processes are found by their command line. */
static int
kill_all(const struct launch_stop *s, const char *root, struct err *e)
{
	bool by_name = !has_cgroup(&s->env->cg) || s->pid == 0;

	for (int i = 0; i < KILL_ROUNDS; i++) {
		if (!kill_round(s, root, by_name))
			return 0;
		usleep(KILL_ROUND_MS * 1000);
	}
	return err_set(e, ERR_TIMEOUT, "processes of sandbox %s do not die", s->id);
}

static int
remove_cgroup(const struct launch_stop *s, struct err *e)
{
	int r = -1;

	/* A killed process leaves its cgroup a moment after it died. */
	for (int i = 0; r < 0 && i < KILL_ROUNDS; i++) {
		r = cgroup_remove(&s->env->cg, s->id, e);
		if (r < 0)
			usleep(KILL_ROUND_MS * 1000);
	}
	return r;
}

/* Read before and after the killing: the kernel may be in the middle of it, and the count goes with the
 * cgroup. */
static void
note_limits(const struct launch_stop *s, struct launch_hits *hits)
{
	hits->memory = hits->memory || cgroup_oom_kills(&s->env->cg, s->id) > 0;
	hits->pids = hits->pids || cgroup_refused_forks(&s->env->cg, s->id) > 0;
}

int
launch_stop(const struct launch_stop *s, struct launch_hits *hits, struct err *e)
{
	char dir[HANDS_PATH], path[HANDS_PATH];

	env_sandbox_dir(s->env, s->id, dir);
	*hits = (struct launch_hits){0};
	note_limits(s, hits);
	int r = kill_all(s, hands_path(path, "%s/runsc", dir), e);

	if (r < 0)
		return r;
	note_limits(s, hits);
	r = workspace_unmount(hands_path(path, "%s/rootfs", dir), e);
	if (r == 0)
		r = workspace_unmount(hands_path(path, "%s/ws", dir), e);
	if (r < 0)
		return r;
	r = remove_cgroup(s, e);
	int removed = beneath_remove(AT_FDCWD, dir, r == 0 ? e : NULL);

	r = r < 0 ? r : removed;
	removed = s->remove ? beneath_remove(AT_FDCWD, s->remove, r == 0 ? e : NULL) : 0;
	r = r < 0 ? r : removed;
	return r;
}
