/* SPDX-License-Identifier: Apache-2.0 */
#include "hands/recover.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/log.h"
#include "hands/beneath.h"
#include "hands/workspace.h"

static void
dir_close(DIR *d)
{
	closedir(d);
}
DEFINE_AUTO(dir, DIR *, dir_close, NULL);

static bool
is_live(const struct hands *h, const char *sandbox)
{
	for (const struct session *s = h->sessions; s; s = s->next)
		if (s->sb && strcmp(s->sb->id.z, sandbox) == 0)
			return true;
	return pool_has(h->pool, sandbox);
}

/* A claim that was cut between its second and third step (claim.c, take_warm): does the third. */
static void
finish_move(const struct hands *h, const struct sandbox *sb)
{
	static const char *const names[] = {"disk.ext4", "tree"};
	char pool[HANDS_PATH], from[HANDS_PATH], to[HANDS_PATH];

	env_pool_dir(&h->env, sb->id.z, pool);
	for (size_t i = 0; i < ARRAY_LEN(names); i++) {
		hands_path(from, "%s/%s", pool, names[i]);
		hands_path(to, "%s/%s", sb->workspace, names[i]);
		if (access(from, F_OK) == 0 && rename(from, to) < 0)
			log_warn("recover.move", LOG_Z("from", from), LOG_Z("to", to));
	}
}

static int
take_over(struct hands *h, const char *id, struct err *e)
{
	struct sandbox_ops ops = pool_sandbox_ops(h->pool);
	struct sandbox *sb = NULL;

	if (sandbox_adopt(&sb, &h->env, id, &ops) == 0)
		return 0;
	log_info("sandbox.adopted", LOG_Z("sandbox", id), LOG_Z("session", sb->session.z));
	if (!sb->session.z[0]) {
		pool_adopt(h->pool, sb);
		return 0;
	}
	struct session *s = session_get(h, id_str(&sb->session), e);

	if (!s || s->sb) {
		/* Two of one session cannot be: the older one is ended with the remains. */
		sandbox_free(sb);
		return s ? 0 : -(int)e->kind;
	}
	finish_move(h, sb);
	sandbox_own(sb, session_sandbox_ops(s));
	s->sb = sb;
	session_attached(s);
	return 0;
}

int
recover_live(struct hands *h, struct err *e)
{
	char path[HANDS_PATH];
	AUTO(dir) DIR *d = opendir(hands_path(path, "%s/sb", h->env.cfg.run_dir));
	int r = 0;

	if (!d)
		return err_os(e, "list %s", path);
	for (struct dirent *de = readdir(d); r == 0 && de; de = readdir(d))
		if (hands_name_ok(str_z(de->d_name)))
			r = take_over(h, de->d_name, e);
	return r;
}

/* ---- remains ---- */

static void
remove_sandboxes(const struct hands *h)
{
	char path[HANDS_PATH];
	AUTO(dir) DIR *d = opendir(hands_path(path, "%s/sb", h->env.cfg.run_dir));

	for (struct dirent *de = d ? readdir(d) : NULL; de; de = readdir(d)) {
		struct launch_stop stop = {.env = &h->env, .id = de->d_name};
		struct err e = {0};
		struct launch_hits hits;

		if (!hands_name_ok(str_z(de->d_name)) || is_live(h, de->d_name))
			continue;
		if (launch_stop(&stop, &hits, &e) < 0)
			log_error("recover.remove", LOG_Z("sandbox", de->d_name), LOG_ERR(&e));
	}
}

static void
remove_pool_workspaces(const struct hands *h)
{
	char path[HANDS_PATH];
	AUTO(dir) DIR *d = opendir(hands_path(path, "%s/pool", h->env.cfg.data_dir));

	for (struct dirent *de = d ? readdir(d) : NULL; de; de = readdir(d)) {
		struct err e = {0};

		if (!hands_name_ok(str_z(de->d_name)) || is_live(h, de->d_name))
			continue;
		if (beneath_remove(dirfd(d), de->d_name, &e) < 0)
			log_error("recover.remove", LOG_Z("workspace", de->d_name), LOG_ERR(&e));
	}
}

static bool
keep_cgroup(void *arg, const char *name)
{
	return is_live(arg, name);
}

void
recover_remains(const struct hands *h)
{
	remove_sandboxes(h);
	remove_pool_workspaces(h);
	cgroup_sweep(&h->env.cg, keep_cgroup, (void *)(uintptr_t)h);
}
