/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Life of a role:
 *
 *                spawn                READY
 *     ROLE_DOWN --------> ROLE_STARTING -----> ROLE_SERVING
 *        ^  backoff timer      | time limit, FAILED     |
 *        |                     v                        v     (the process died and was reaped)
 *        +---------------- ROLE_ENDING <----------------+
 *            leash read to its end
 *
 * Stopping: STOP to control; when it is gone STOP to the others; when they are gone, or the grace time is
 * over and all were killed, the loop ends. The namespace ends with this process, so nothing can be left
 * behind.
 */
#include "supervise/roster.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/frame.h"
#include "base/limits.h"
#include "io/calls.h"
#include "io/loop.h"
#include "io/rpc.h"
#include "supervise/link.h"
#include "supervise/spawn.h"

enum {
	BACKOFF_MIN_MS = 50,
	BACKOFF_MAX_MS = 5000,
	STEADY_US = 10000000, /* a role that served this long starts over with the least backoff */
	GRACE_MS = 10000,
	ENDING_MS = 500, /* for the leash of a dead role, should somebody else hold its other end */
	NOTE_MAX = 4096,
};

struct role_def {
	const char *name;
	uint64_t ready_ms; /* from the start to READY */
	unsigned uid_plus; /* to uid_base; ROOT: stays root */
	bool vital;        /* when its first start fails, so does the server's */
	bool secrets;
};

#define ROOT ~0u

enum { HANDS, GATE, PUPPET, CONTROL };

static const struct role_def defs[SUPERVISE_ROLES] = {
	[HANDS] = {"hands", 60000, ROOT, false, false},
	[GATE] = {"gate", 15000, 1, true, true},
	[PUPPET] = {"puppet", 15000, 2, true, false},
	[CONTROL] = {"control", 120000, 0, true, false},
};

enum role_state { ROLE_OFF, ROLE_DOWN, ROLE_STARTING, ROLE_SERVING, ROLE_ENDING };

struct role {
	const struct role_def *def;
	struct roster *in;
	enum role_state state;
	pid_t pid; /* 0: none */
	struct rpc_peer *leash;
	struct loop_timer *timer; /* backoff, or the limit of the start */
	uint64_t started_us;
	uint64_t backoff_ms;
	unsigned starts;
	bool served;       /* at least once */
	int status;        /* waitpid's, of the last one */
	struct err failed; /* what it said last with FAILED */
};

enum phase { PHASE_RUN, PHASE_STOP_CONTROL, PHASE_STOP_REST, PHASE_KILL };

struct roster {
	const struct supervise_opts *o;
	const struct prepared *at;
	struct loop *loop;
	struct role roles[SUPERVISE_ROLES];
	struct link links[LINKS];
	struct loop_signal *on_term, *on_int, *on_chld;
	struct loop_io *outer;
	struct loop_timer *grace;
	enum phase phase;
	int exit_code;
};

/* ---- telling the operator ---- */

static void
say(const struct roster *s, const char *what, struct str text)
{
	if (!s->o->json_log && text.n)
		dprintf(1, "%-12s %.*s\n", what, STRF(text));
}

static const char *
level_name(enum log_level level)
{
	static const char *const names[] = {"debug", "info", "warn", "error"};

	return names[level];
}

static void
published(struct roster *s)
{
	struct err e;

	if (prepare_publish(s->at, &e) < 0)
		log_error("serve.publish", LOG_ERR(&e));
	if (s->o->json_log) {
		log_info("serve.listening", LOG_Z("url", s->at->listen_url), LOG_Z("data", s->at->data_dir));
		return;
	}
	dprintf(1, "listening on %s\n%s", s->at->listen_url, s->o->greeting);
}

/* ---- stopping ---- */

static void
kill_all(struct roster *s)
{
	s->phase = PHASE_KILL;
	for (size_t i = 0; i < SUPERVISE_ROLES; i++)
		if (s->roles[i].pid)
			kill(s->roles[i].pid, SIGKILL);
}

static void
send_stop(struct role *r)
{
	AUTO(buf) struct buf b = {0};

	if (!r->pid)
		return;
	if (!r->leash) {
		kill(r->pid, SIGKILL);
		return;
	}
	buf_init(&b, FRAME_HEAD);
	struct frame_w w = frame_begin(&b, LEASH_STOP, 0);

	frame_end(&w, 0);
	rpc_send(r->leash, &b);
}

/* Moves the stop on when the roles of the present phase are gone. */
static void
stop_next(struct roster *s)
{
	bool any = false;

	if (s->phase == PHASE_STOP_CONTROL && !s->roles[CONTROL].pid) {
		s->phase = PHASE_STOP_REST;
		for (size_t i = 0; i < SUPERVISE_ROLES; i++)
			send_stop(&s->roles[i]);
	}
	for (size_t i = 0; i < SUPERVISE_ROLES; i++)
		any = any || s->roles[i].pid;
	if (!any)
		loop_stop(s->loop);
}

static void
on_grace(void *arg)
{
	struct roster *s = arg;

	log_warn("serve.stop", LOG_Z("note", "grace time is over: killing what is left"));
	kill_all(s);
}

static void
stop(struct roster *s)
{
	if (s->phase != PHASE_RUN) {
		kill_all(s);
		stop_next(s);
		return;
	}
	s->phase = PHASE_STOP_CONTROL;
	prepare_unpublish(s->at);
	for (size_t i = 0; i < SUPERVISE_ROLES; i++)
		loop_timer_stop(s->roles[i].timer);
	loop_timer_start(s->grace, GRACE_MS, 0);
	send_stop(&s->roles[CONTROL]);
	stop_next(s);
}

/* The server cannot work: everything ends with this code. */
static void
give_up(struct roster *s, int code)
{
	s->exit_code = code;
	prepare_unpublish(s->at);
	kill_all(s);
	stop_next(s);
}

/* ---- leash ---- */

static int
on_ready(void *owner, struct rpc_peer *p, struct rpc_msg *m, struct err *e)
{
	struct role *r = owner;
	struct frame_r in = frame_r(m->f.payload);
	struct str note = frame_get_str(&in);
	int rc = frame_done(&in, e);

	(void)p;
	if (rc < 0)
		return rc;
	if (r->state != ROLE_STARTING)
		return err_set(e, ERR_CORRUPT, "READY twice");
	loop_timer_stop(r->timer);
	r->state = ROLE_SERVING;
	r->failed = (struct err){0};
	log_info("role.ready", LOG_Z("name", r->def->name), LOG_INT("pid", r->pid),
		LOG_INT("start", r->starts), LOG_INT("us", clock_mono_us() - r->started_us),
		LOG_STR("note", note));
	if (!r->served && r == &r->in->roles[CONTROL])
		published(r->in);
	if (!r->served)
		say(r->in, r->def->name, note);
	r->served = true;
	return 0;
}

static int
on_failed(void *owner, struct rpc_peer *p, struct rpc_msg *m, struct err *e)
{
	struct role *r = owner;
	struct frame_r in = frame_r(m->f.payload);
	uint64_t kind = frame_get_u64(&in);
	struct str text = frame_get_str(&in);
	int rc = frame_done(&in, e);

	(void)p;
	if (rc < 0)
		return rc;
	if (kind == ERR_NONE || kind >= ERR_COUNT)
		kind = ERR_INTERNAL;
	struct err before = r->failed;

	r->failed = (struct err){.kind = (enum err_kind)kind};
	snprintf(r->failed.msg, sizeof(r->failed.msg), "%.*s", STRF(text));
	/* A role that fails in the same way again and again says so once. */
	if (strcmp(before.msg, r->failed.msg) != 0) {
		log_error("role.failed", LOG_Z("name", r->def->name), LOG_STR("message", text));
		say(r->in, r->def->name, text);
	}
	return 0;
}

static const struct rpc_permit leash_permits[] = {
	{.type = LEASH_READY, .max = NOTE_MAX, .on = on_ready},
	{.type = LEASH_FAILED, .max = NOTE_MAX, .on = on_failed},
};

static void
send_text(struct role *r, uint16_t type, struct str text)
{
	AUTO(buf) struct buf b = {0};

	buf_init(&b, FRAME_HEAD + LIM_FRAME_ROLE);
	struct frame_w w = frame_begin(&b, type, 0);

	if (type != LEASH_GO)
		frame_str(&w, text);
	frame_end(&w, 0);
	rpc_send(r->leash, &b);
}

/* Sends one descriptor with its name (and number, for a peer). Takes fd. */
static void
send_fd(struct role *r, uint16_t type, const char *name, uint64_t number, int fd)
{
	AUTO(buf) struct buf b = {0};

	buf_init(&b, FRAME_HEAD + 256);
	struct frame_w w = frame_begin(&b, type, 0);

	frame_str(&w, str_z(name));
	if (type == LEASH_PEER)
		frame_u64(&w, number);
	frame_end(&w, FRAME_FD);
	rpc_send_fd(r->leash, &b, fd);
}

static int
send_dup(struct role *r, uint16_t type, const char *name, int fd, struct err *e)
{
	int copy = fcntl(fd, F_DUPFD_CLOEXEC, 3);

	if (copy < 0)
		return err_os(e, "descriptor for %s", r->def->name);
	send_fd(r, type, name, 0, copy);
	return 0;
}

/* The role at that end of a link. */
static struct role *
role_at(struct roster *s, const struct link_end *end)
{
	for (size_t i = 0; i < SUPERVISE_ROLES; i++)
		if (strcmp(s->roles[i].def->name, end->role) == 0)
			return &s->roles[i];
	UNREACHABLE();
}

/* Connects the starting role with its neighbours. */
static int
send_peers(struct role *r, struct err *e)
{
	for (size_t i = 0; i < LINKS; i++) {
		struct link *k = &r->in->links[i];
		struct link_end *own = NULL, *other = link_other(k, r->def->name, &own);
		int mine = -1, theirs = -1;

		if (!other)
			continue;
		int rc = link_start(k, own, &mine, &theirs, e);

		if (rc < 0)
			return rc;
		send_fd(r, LEASH_PEER, other->role, k->number, mine);
		if (theirs < 0)
			continue;
		struct role *to = role_at(r->in, other);

		link_drop(other);
		if (to->leash)
			send_fd(to, LEASH_PEER, r->def->name, k->number, theirs);
		else
			other->kept = theirs;
	}
	return 0;
}

static int
send_slice(struct role *r, struct err *e)
{
	const struct roster *s = r->in;
	AUTO(buf) struct buf b = {0};
	unsigned uid = r->def->uid_plus == ROOT ? 0 : s->o->uid_base + r->def->uid_plus;
	struct supervise_place at = {
		.data_dir = s->at->data_dir,
		.control_dir = PREPARE_RUN "/control",
		.hands_dir = PREPARE_RUN "/hands",
		.run_dir = PREPARE_RUN "/run",
		.listen_url = s->at->listen_url,
		.puppet_url = s->at->puppet_url,
		.uid = uid,
		.gid = uid,
	};

	buf_init(&b, LIM_FRAME_ROLE);
	int rc = s->o->slice(s->o->arg, r->def->name, &at, &b, e);

	if (rc == 0)
		rc = buf_check(&b, e);
	if (rc == 0)
		send_text(r, LEASH_CONFIG, buf_str(&b));
	return rc;
}

static int
send_start(struct role *r, struct err *e)
{
	const struct roster *s = r->in;
	int rc = send_slice(r, e);

	if (rc == 0 && r == &s->roles[CONTROL])
		rc = send_dup(r, LEASH_LISTEN, "api", s->at->api, e);
	if (rc == 0 && r == &s->roles[PUPPET])
		rc = send_dup(r, LEASH_LISTEN, "api", s->at->puppet, e);
	if (rc == 0)
		rc = send_peers(r, e);
	for (size_t i = 0; rc == 0 && r->def->secrets && i < s->o->n_secrets; i++)
		rc = send_dup(r, LEASH_SECRET, s->o->secrets[i].name, s->o->secrets[i].fd, e);
	if (rc == 0)
		send_text(r, LEASH_GO, STR_NULL);
	return rc;
}

/* ---- start, death, restart ---- */

static void
retry_later(struct role *r)
{
	r->state = ROLE_DOWN;
	loop_timer_start(r->timer, r->backoff_ms, 0);
	r->backoff_ms = r->backoff_ms * 2 > BACKOFF_MAX_MS ? BACKOFF_MAX_MS : r->backoff_ms * 2;
}

/* The role is dead and what it said last was read. */
static void
ended(struct role *r)
{
	struct roster *s = r->in;

	loop_timer_stop(r->timer);
	rpc_peer_free(MOVE(r->leash));
	r->state = ROLE_DOWN;
	if (s->phase != PHASE_RUN) {
		stop_next(s);
		return;
	}
	log_warn("role.died", LOG_Z("name", r->def->name),
		LOG_INT("exit", WIFEXITED(r->status) ? WEXITSTATUS(r->status) : -1),
		LOG_INT("signal", WIFSIGNALED(r->status) ? WTERMSIG(r->status) : 0),
		LOG_INT("start", r->starts));
	if (!r->served && r->def->vital && r->failed.kind) {
		dprintf(2, "pinfold: %s: %s\n", r->def->name, r->failed.msg);
		give_up(s, err_exit_code(r->failed.kind));
		return;
	}
	retry_later(r);
}

/* The process was reaped; its last words may still wait in the leash. */
static void
died(struct role *r, int status)
{
	struct link_end *own;

	r->pid = 0;
	r->status = status;
	for (size_t i = 0; i < LINKS; i++) {
		struct link_end *other = link_other(&r->in->links[i], r->def->name, &own);

		if (other)
			link_drop(other);
	}
	if (r->state == ROLE_SERVING && clock_mono_us() - r->started_us > STEADY_US)
		r->backoff_ms = BACKOFF_MIN_MS;
	r->state = ROLE_ENDING;
	if (r->leash)
		loop_timer_start(r->timer, ENDING_MS, 0);
	else
		ended(r);
}

static void
on_leash_close(void *owner, struct rpc_peer *p, const struct err *why)
{
	struct role *r = owner;

	/* A role that dies breaks its leash: that is told when it was reaped. */
	if (why->kind != ERR_NONE && why->os == 0 && r->in->phase == PHASE_RUN)
		log_error("role.leash", LOG_Z("name", r->def->name), LOG_ERR(why));
	rpc_peer_free(p);
	r->leash = NULL;
	if (r->state == ROLE_ENDING)
		ended(r);
	else if (r->pid && why->kind != ERR_NONE)
		kill(r->pid, SIGKILL);
	else if (r->pid && r->in->phase == PHASE_RUN)
		/* A clean end: it is about to exit by itself, with a code worth logging. */
		loop_timer_start(r->timer, ENDING_MS, 0);
}

static void
start(struct role *r)
{
	struct roster *s = r->in;
	struct spawn_opts so = {r->def->name, level_name(s->o->level), s->at->lock};
	struct rpc_opts ro = {
		.name = r->def->name,
		.permits = leash_permits,
		.n_permits = ARRAY_LEN(leash_permits),
		.owner = r,
		.on_close = on_leash_close,
	};
	struct err e = {0};
	int leash;

	r->starts++;
	r->started_us = clock_mono_us();
	int rc = spawn_role(&so, &r->pid, &leash, &e);

	if (rc == 0)
		rc = rpc_peer_new(&r->leash, s->loop, leash, &ro, &e);
	if (rc == 0)
		rc = send_start(r, &e);
	if (rc == 0) {
		r->state = ROLE_STARTING;
		loop_timer_start(r->timer, r->def->ready_ms, 0);
		return;
	}
	log_error("role.start", LOG_Z("name", r->def->name), LOG_ERR(&e));
	if (r->pid)
		kill(r->pid, SIGKILL); /* its death starts the next try */
	else
		retry_later(r);
}

static void
on_timer(void *arg)
{
	struct role *r = arg;

	if (r->state == ROLE_DOWN) {
		start(r);
		return;
	}
	if (r->state == ROLE_ENDING) {
		ended(r);
		return;
	}
	log_error("role.slow", LOG_Z("name", r->def->name),
		LOG_INT("ms", (clock_mono_us() - r->started_us) / 1000));
	kill(r->pid, SIGKILL);
}

static void
on_child(void *arg, int signum)
{
	struct roster *s = arg;
	int status;
	pid_t pid;

	(void)signum;
	/* Not only ours: as PID 1 this process inherits every orphan of the namespace. */
	while ((pid = waitpid(-1, &status, WNOHANG)) > 0)
		for (size_t i = 0; i < SUPERVISE_ROLES; i++)
			if (s->roles[i].pid == pid)
				died(&s->roles[i], status);
}

static void
on_stop_signal(void *arg, int signum)
{
	(void)signum;
	stop(arg);
}

static void
on_outer(void *arg, unsigned events)
{
	(void)arg;
	(void)events;
	_exit(err_exit_code(ERR_UNAVAILABLE));
}

/* ---- the whole ---- */

static int
roster_init(struct roster *s, int outer, struct err *e)
{
	int rc = loop_new(&s->loop, e);

	if (rc < 0)
		return rc;
	links_init(s->links);
	s->on_term = loop_signal_new(s->loop, SIGTERM, on_stop_signal, s);
	s->on_int = loop_signal_new(s->loop, SIGINT, on_stop_signal, s);
	s->on_chld = loop_signal_new(s->loop, SIGCHLD, on_child, s);
	s->outer = loop_io_new(s->loop, outer, on_outer, s);
	s->grace = loop_timer_new(s->loop, on_grace, s);
	if (!s->on_term || !s->on_int || !s->on_chld || !s->outer || !s->grace)
		return err_set(e, ERR_NO_MEMORY, "supervise");
	loop_io_want(s->outer, LOOP_READ);
	for (size_t i = 0; i < SUPERVISE_ROLES; i++) {
		struct role *r = &s->roles[i];

		*r = (struct role){
			.def = &defs[i], .in = s, .state = ROLE_DOWN, .backoff_ms = BACKOFF_MIN_MS};
		r->timer = loop_timer_new(s->loop, on_timer, r);
		if (!r->timer)
			return err_set(e, ERR_NO_MEMORY, "supervise");
	}
	if (!s->o->puppet)
		s->roles[PUPPET].state = ROLE_OFF;
	return 0;
}

static void
roster_done(struct roster *s)
{
	for (size_t i = 0; i < SUPERVISE_ROLES; i++) {
		rpc_peer_free(MOVE(s->roles[i].leash));
		loop_timer_free(s->roles[i].timer);
	}
	links_done(s->links);
	loop_timer_free(s->grace);
	loop_io_free(s->outer);
	loop_signal_free(s->on_chld);
	loop_signal_free(s->on_int);
	loop_signal_free(s->on_term);
	loop_free(s->loop);
}

int
roster_run(const struct supervise_opts *o, const struct prepared *p, int outer)
{
	struct roster s = {.o = o, .at = p};
	struct err e = {0};

	if (roster_init(&s, outer, &e) < 0) {
		log_error("serve.start", LOG_ERR(&e));
		return err_exit_code(e.kind);
	}
	for (size_t i = 0; i < SUPERVISE_ROLES; i++)
		if (s.roles[i].state == ROLE_DOWN)
			start(&s.roles[i]);
	loop_run(s.loop);
	roster_done(&s);
	return s.exit_code;
}
