/* SPDX-License-Identifier: Apache-2.0 */
#include <stdlib.h>
#include <unistd.h>

#include "base/limits.h"
#include "hands/role.h"

#define STATUS_MAX (8 * KIB)

static const char network_sentence[] =
	"A sandbox has no network at all: only a loopback interface and the socket to its own hands.";

static void
put_limit(struct json_w *w, const char *key, uint64_t value, bool in_force, const char *why)
{
	jw_key(w, key);
	jw_obj(w);
	jw_kint(w, "default", (int64_t)value);
	jw_kbool(w, "in_force", in_force);
	if (!in_force && why[0])
		jw_kz(w, "why", why);
	jw_obj_end(w);
}

static void
put_limits(struct json_w *w, const struct hands_env *v)
{
	const struct limits *l = &v->cfg.limits;

	jw_key(w, "limits");
	jw_obj(w);
	put_limit(w, "memory", l->memory, v->cg.dir[CGROUP_MEMORY][0], v->cg.note);
	put_limit(w, "pids", l->pids, v->cg.dir[CGROUP_PIDS][0], v->cg.note);
	put_limit(w, "cpu_milli", l->cpu_milli, v->cg.dir[CGROUP_CPU][0], v->cg.note);
	put_limit(w, "disk", l->disk, v->disk_limited, v->disk_note);
	jw_kint(w, "wall_ms", (int64_t)v->cfg.wall_ms);
	jw_kint(w, "idle_ms", (int64_t)v->cfg.idle_ms);
	jw_kbool(w, "required", v->cfg.require_limits);
	jw_obj_end(w);
}

static void
put_status(struct json_w *w, const struct hands *h)
{
	char image[HANDS_PATH];
	struct err e = {0};

	jw_obj(w);
	jw_kz(w, "state", h->env.probed ? (h->env.platform[0] ? "ready" : "unusable") : "probing");
	jw_kz(w, "platform", h->env.platform[0] ? h->env.platform : NULL);
	jw_kz(w, "platforms_tried", h->env.probe_note);
	jw_kbool(w, "stat_quirk", h->env.stat_quirk);
	jw_kz(w, "runsc", h->env.cfg.runsc);
	jw_kz(w, "network", network_sentence);
	jw_kbool(w, "pod_init_config", h->env.cfg.pod_init_config[0] != '\0');
	jw_key(w, "image");
	jw_obj(w);
	bool found = env_image(&h->env, "", image, &e) == 0;

	jw_kbool(w, "found", found);
	jw_kz(w, found ? "path" : "why", found ? image : e.msg);
	jw_obj_end(w);
	jw_key(w, "pool");
	jw_obj(w);
	jw_kint(w, "size", (int64_t)h->env.cfg.pool_size);
	jw_kint(w, "ready", pool_ready(h->pool));
	jw_obj_end(w);
	put_limits(w, &h->env);
	jw_obj_end(w);
}

void
status_send(struct hands *h, bool always)
{
	AUTO(buf) struct buf b;

	buf_init(&b, STATUS_MAX);
	struct json_w w = json_w(&b);

	put_status(&w, h);
	buf_put_c(&b, '\0');
	if (b.fail || !h->control)
		return;
	if (!always && h->status && strcmp(h->status, b.p) == 0)
		return;
	relay_status(h->control, str_z(b.p));
	free(h->status);
	h->status = malloc(b.n);
	if (h->status)
		memcpy(h->status, b.p, b.n);
}
