/* SPDX-License-Identifier: Apache-2.0 */
#include "hands/hands.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include "base/limits.h"
#include "base/log.h"
#include "hands/claim.h"
#include "hands/job.h"
#include "hands/probe.h"
#include "hands/recover.h"
#include "hands/role.h"
#include "io/confine.h"
#include "io/leash.h"

#define PROBE_JOB_MS 180000

_Static_assert(sizeof(struct probe_result) <= JOB_DATA, "the probe's result travels in a job's reply");

/* ---- the probe ---- */

static int
run_probe(void *arg, struct job_reply *reply, struct err *e)
{
	const struct hands *h = arg;
	struct probe_result p;

	(void)e;
	recover_remains(h);
	probe_run(&h->env, false, &p);
	memcpy(reply->data, &p, sizeof(p));
	return 0;
}

static void
advance_all(struct hands *h)
{
	struct session *next;

	for (struct session *s = h->sessions; s; s = next) {
		next = s->next;
		if (s->claims)
			claim_advance(s);
		session_settle(s);
	}
}

static void
on_probed(void *owner, const struct job_reply *reply)
{
	struct hands *h = owner;
	struct hands_env *v = &h->env;
	struct probe_result p;

	h->probe = NULL;
	memcpy(&p, reply->data, sizeof(p));
	if (reply->rc < 0) {
		p = (struct probe_result){0};
		snprintf(p.note, sizeof(p.note), "%s", reply->err.msg);
	}
	v->probed = true;
	v->stat_quirk = p.stat_quirk;
	v->disk_limited = p.disk_limited;
	snprintf(v->platform, sizeof(v->platform), "%s", p.platform);
	snprintf(v->probe_note, sizeof(v->probe_note), "%s", p.note);
	snprintf(v->disk_note, sizeof(v->disk_note), "%s", p.disk_note);
	log_info("hands.probed", LOG_Z("platform", v->platform), LOG_Z("tried", v->probe_note),
		LOG_INT("stat_quirk", v->stat_quirk), LOG_INT("disk_limited", v->disk_limited),
		LOG_Z("disk_note", v->disk_note), LOG_Z("cgroup_note", v->cg.note));
	status_send(h, false);
	pool_fill(h->pool);
	advance_all(h);
	hands_settle(h);
}

static int
start_probe(struct hands *h, struct err *e)
{
	struct job_opts o = {
		.loop = h->env.loop,
		.reaper = h->env.reaper,
		.name = "probe",
		.run = run_probe,
		.arg = h,
		.timeout_ms = PROBE_JOB_MS,
		.owner = h,
		.on_done = on_probed,
	};

	return job_start(&h->probe, &o, e);
}

/* ---- life ---- */

int
hands_new(struct hands **out, struct loop *l, const struct json_t *config, struct err *e)
{
	AUTO(hands) struct hands *h = calloc(1, sizeof(*h));

	if (!h)
		return err_set(e, ERR_NO_MEMORY, "hands");
	h->env.loop = l;
	int r = hands_config_parse(&h->env.cfg, config, e);

	if (r == 0)
		r = env_prepare(&h->env, e);
	if (r == 0)
		r = reaper_new(&h->env.reaper, l, e);
	if (r < 0)
		return r;
	cgroup_host_find(&h->env.cg, h->env.cfg.cgroup_parent);
	h->pool = pool_new(h);
	if (!h->pool)
		return err_set(e, ERR_NO_MEMORY, "pool");
	r = recover_live(h, e);
	if (r == 0)
		r = start_probe(h, e);
	if (r == 0)
		*out = MOVE(h);
	return r;
}

void
hands_free(struct hands *h)
{
	if (!h)
		return;
	job_free(h->probe);
	rpc_peer_free(h->control);
	while (h->sessions)
		session_free(h->sessions);
	pool_free(h->pool);
	reaper_free(h->env.reaper);
	free(h->status);
	free(h);
}

static void
drop_control(struct hands *h)
{
	struct session *next;

	rpc_peer_free(MOVE(h->control));
	for (struct session *s = h->sessions; s; s = next) {
		next = s->next;
		session_forget_callers(s);
		session_settle(s);
	}
}

static void
on_control_close(void *owner, struct rpc_peer *p, const struct err *why)
{
	struct hands *h = owner;

	(void)p;
	log_warn("control.gone", LOG_ERR(why));
	drop_control(h);
}

int
hands_set_control(struct hands *h, int fd, struct err *e)
{
	struct rpc_opts o = {
		.name = "control",
		.permits = control_permits,
		.n_permits = control_n_permits,
		.owner = h,
		.on_close = on_control_close,
	};

	drop_control(h);
	int r = rpc_peer_new(&h->control, h->env.loop, fd, &o, e);

	if (r < 0)
		return r;
	status_send(h, true);
	return 0;
}

void
hands_settle(struct hands *h)
{
	void (*done)(void *) = h->on_stopped;

	if (!h->stopping || !done || h->probe || !pool_empty(h->pool))
		return;
	for (const struct session *s = h->sessions; s; s = s->next)
		if (s->sb || s->job)
			return;
	h->on_stopped = NULL;
	cgroup_host_release(&h->env.cg);
	done(h->on_stopped_arg);
}

void
hands_stop(struct hands *h, void (*done)(void *arg), void *arg)
{
	h->stopping = true;
	h->on_stopped = done;
	h->on_stopped_arg = arg;
	pool_stop(h->pool);
	for (struct session *s = h->sessions; s; s = s->next)
		if (s->sb)
			sandbox_stop(s->sb, "stopped");
	if (h->probe)
		job_kill(h->probe);
	hands_settle(h);
}

/* ---- the role ---- */

struct role {
	struct loop *loop;
	struct hands *hands;
	struct leash *leash;
};

static void
on_peer(void *owner, const char *name, uint64_t number, int fd)
{
	struct role *r = owner;
	struct err e = {0};

	(void)number;
	if (strcmp(name, "control") != 0) {
		log_warn("hands.peer", LOG_Z("name", name));
		fd_close(fd);
		return;
	}
	if (hands_set_control(r->hands, fd, &e) < 0)
		log_error("hands.peer", LOG_ERR(&e));
}

static void
on_stopped(void *arg)
{
	struct role *r = arg;

	loop_stop(r->loop);
}

static void
on_stop(void *owner)
{
	struct role *r = owner;

	hands_stop(r->hands, on_stopped, r);
}

/* A claim holds a descriptor per file. */
static void
raise_open_files(void)
{
	struct rlimit l;

	if (getrlimit(RLIMIT_NOFILE, &l) == 0) {
		l.rlim_cur = l.rlim_max;
		setrlimit(RLIMIT_NOFILE, &l);
	}
}

static int
role_build(struct role *r, struct leash_start *st, struct err *e)
{
	struct confine_opts c = {.profile = CONFINE_HANDS, .empty_netns = true};
	struct leash_ops ops = {.owner = r, .on_peer = on_peer, .on_stop = on_stop};
	int rc = confine(&c, e);

	raise_open_files();
	umask(077);
	if (rc == 0)
		rc = loop_new(&r->loop, e);
	if (rc == 0)
		rc = hands_new(&r->hands, r->loop, st->config, e);
	for (size_t i = 0; rc == 0 && i < st->n_peers; i++)
		on_peer(r, st->peers[i].name, st->peers[i].number, MOVE_FD(st->peers[i].fd));
	if (rc == 0)
		rc = leash_attach(&r->leash, r->loop, &ops, e);
	return rc;
}

int
hands_main(void)
{
	struct leash_start st;
	struct role r = {0};
	struct err e = {0};

	log_setup("hands", LOG_INFO, 2);
	if (leash_start(&st, &e) < 0) {
		log_error("hands.start", LOG_ERR(&e));
		return err_exit_code(e.kind);
	}
	int rc = role_build(&r, &st, &e);

	leash_start_done(&st);
	if (rc < 0) {
		log_error("hands.start", LOG_ERR(&e));
		return leash_failed(&e);
	}
	leash_ready(r.leash, STR("sandboxes through runsc, without network"));
	loop_run(r.loop);
	hands_free(MOVE(r.hands));
	leash_free(MOVE(r.leash));
	loop_free(r.loop);
	return 0;
}
