/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A model request on its way: BEGIN makes a call, BODY pieces fill it, the last one starts the uplink; HEAD
 * and DATA go back as they come; DONE is always the last message of a call, and the call is forgotten.
 */
#include "gate/gate.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/frame.h"
#include "base/limits.h"
#include "base/log.h"
#include "gate/provider.h"
#include "gate/uplink.h"
#include "io/calls.h"
#include "io/confine.h"
#include "io/leash.h"
#include "io/rpc.h"

enum {
	CALLS_MAX = 1024,
	BETA_MAX = 1024,
	ERROR_MAX = 64 * 1024, /* kept of an error's body */
	CONNECT_MS = 15000,
};

/* Bodies that wait or travel, over all calls. */
#define BODIES_MAX (512 * MIB)

struct model_call {
	struct model_call *prev, *next;
	struct gate *g;
	uint64_t id;
	const struct provider *provider;
	struct buf body;
	uint64_t length; /* of the whole body */
	uint64_t retries;
	char beta[BETA_MAX + 1];
	struct uplink_call *up; /* NULL until the body is complete */
	int status;             /* of the response; 0: no head yet */
	struct buf error;       /* body of a response other than 200, until it is complete */
	bool cancelled;
};

struct gate {
	struct loop *l;
	struct leash *leash;
	struct rpc_peer *control; /* NULL: away */
	struct uplink *uplink;
	struct providers providers;
	struct model_call *calls;
	size_t n_calls;
	uint64_t bodies; /* bytes announced by all calls */
};

/* ---- calls ---- */

static struct model_call *
call_find(struct gate *g, uint64_t id)
{
	struct model_call *c = g->calls;

	while (c && c->id != id)
		c = c->next;
	return c;
}

static struct model_call *
call_add(struct gate *g, uint64_t id, uint64_t length)
{
	struct model_call *c = calloc(1, sizeof(*c));

	if (!c)
		return NULL;
	c->g = g;
	c->id = id;
	c->length = length;
	buf_init(&c->body, length);
	c->next = g->calls;
	if (c->next)
		c->next->prev = c;
	g->calls = c;
	g->n_calls++;
	g->bodies += length;
	return c;
}

static void
call_free(struct model_call *c)
{
	struct gate *g = c->g;

	if (c->prev)
		c->prev->next = c->next;
	else
		g->calls = c->next;
	if (c->next)
		c->next->prev = c->prev;
	g->n_calls--;
	g->bodies -= c->length;
	buf_done(&c->body);
	secret_wipe(c->error.p, c->error.cap);
	buf_done(&c->error);
	free(c);
}

/* ---- to control ---- */

static void
send_done(struct gate *g, uint64_t id, const struct uplink_end *end)
{
	AUTO(buf) struct buf b = {0};

	if (!g->control)
		return;
	buf_init(&b, LIM_FRAME_ROLE);
	struct frame_w w = frame_begin(&b, GATE_MODEL_DONE, id);

	frame_u64(&w, end->outcome);
	frame_str(&w, end->text);
	frame_u64(&w, end->sent_us);
	frame_u64(&w, end->first_us);
	frame_end(&w, 0);
	rpc_send(g->control, &b);
}

static void
refuse(struct gate *g, uint64_t id, const struct err *why)
{
	struct uplink_end end = {.outcome = GATE_REFUSED, .text = str_z(why->msg)};

	log_warn("gate.refused", LOG_STR("reason", end.text));
	send_done(g, id, &end);
}

static void
send_providers(struct gate *g)
{
	AUTO(buf) struct buf b = {0}, text = {0};

	buf_init(&b, LIM_FRAME_ROLE);
	buf_init(&text, 64 * KIB);
	struct json_w j = json_w(&text);

	jw_arr(&j);
	for (size_t i = 0; i < g->providers.n; i++) {
		jw_obj(&j);
		jw_kz(&j, "name", g->providers.list[i].name);
		jw_knull(&j, "reachable");
		jw_obj_end(&j);
	}
	jw_arr_end(&j);
	struct frame_w w = frame_begin(&b, GATE_PROVIDERS, 0);

	frame_str(&w, buf_str(&text));
	frame_end(&w, 0);
	rpc_send(g->control, &b);
}

/* ---- from the uplink ---- */

static void
on_head(void *owner, void *data, const struct uplink_head *h)
{
	struct gate *g = owner;
	struct model_call *c = data;
	AUTO(buf) struct buf b = {0};
	char after[24] = "";

	c->status = h->status;
	if (!g->control || c->cancelled)
		return;
	if (h->has_retry_after)
		snprintf(after, sizeof(after), "%llu", (unsigned long long)h->retry_after_ms);
	buf_init(&b, LIM_FRAME_ROLE);
	struct frame_w w = frame_begin(&b, GATE_MODEL_HEAD, c->id);

	frame_u64(&w, (uint64_t)h->status);
	frame_str(&w, str_sub(h->content_type, 0, 256));
	frame_str(&w, str_z(after));
	frame_str(&w, str_sub(h->request_id, 0, 256));
	frame_end(&w, 0);
	rpc_send(g->control, &b);
}

static void
send_data(struct gate *g, const struct model_call *c, struct str piece)
{
	while (piece.n) {
		AUTO(buf) struct buf b = {0};
		struct str part = str_sub(piece, 0, LIM_CHUNK);

		buf_init(&b, LIM_FRAME_ROLE);
		struct frame_w w = frame_begin(&b, GATE_MODEL_DATA, c->id);

		frame_str(&w, part);
		frame_end(&w, 0);
		rpc_send(g->control, &b);
		piece = str_sub(piece, part.n, piece.n);
	}
}

/* Providers repeat a key that they refuse, and people read what they say: an error waits until it is whole,
 * to leave without the key. All room at once, as a growing buffer would leave copies behind. */
static void
keep_error(struct model_call *c, struct str piece)
{
	if (!c->error.p) {
		buf_init(&c->error, ERROR_MAX);
		(void)buf_reserve(&c->error, ERROR_MAX);
	}
	buf_put_str(&c->error, str_sub(piece, 0, ERROR_MAX - c->error.n));
}

static bool
on_data(void *owner, void *data, struct str piece)
{
	struct gate *g = owner;
	struct model_call *c = data;

	if (!g->control || c->cancelled)
		return true;
	if (c->status != 200) {
		keep_error(c, piece);
		return true;
	}
	if (rpc_peer_full(g->control))
		return false;
	send_data(g, c, piece);
	return true;
}

static void
on_end(void *owner, void *data, const struct uplink_end *end)
{
	struct gate *g = owner;
	struct model_call *c = data;

	if (end->outcome != GATE_COMPLETE && end->outcome != GATE_CANCELLED)
		log_warn("gate.model", LOG_Z("provider", c->provider->name), LOG_INT("outcome", end->outcome),
			LOG_STR("text", end->text));
	if (g->control && !c->cancelled && c->error.n) {
		provider_redact(c->provider, c->error.p, c->error.n);
		send_data(g, c, buf_str(&c->error));
	}
	send_done(g, c->id, end);
	call_free(c);
}

/* ---- from control ---- */

/* Why the request cannot be taken, if so. */
static int
check_begin(const struct gate *g, const struct provider *p, struct str name, uint64_t length, struct err *e)
{
	if (!p)
		return err_set(e, ERR_NOT_FOUND, "there is no provider %.60s",
			name.n < 60 ? name.p : "of that name");
	int rc = provider_ready(p, e);

	if (rc < 0)
		return rc;
	if (length == 0 || length > LIM_MODEL_REQUEST)
		return err_set(e, ERR_TOO_LARGE, "a request body of %llu bytes is refused: at most %llu",
			(unsigned long long)length, LIM_MODEL_REQUEST);
	if (g->n_calls >= CALLS_MAX || g->bodies + length > BODIES_MAX)
		return err_set(e, ERR_OVERLOADED, "the gate carries too much already");
	return 0;
}

static int
on_begin(void *owner, struct rpc_peer *peer, struct rpc_msg *m, struct err *e)
{
	struct gate *g = owner;
	struct frame_r r = frame_r(m->f.payload);
	struct str name = frame_get_str_max(&r, LEASH_NAME_MAX);
	uint64_t length = frame_get_u64(&r);
	uint64_t retries = frame_get_u64(&r);
	struct str beta = frame_get_str_max(&r, BETA_MAX);
	int rc = frame_done(&r, e);
	struct err why = {0};
	char z[LEASH_NAME_MAX];

	(void)peer;
	if (rc < 0)
		return rc;
	if (call_find(g, m->f.call))
		return err_set(e, ERR_CORRUPT, "a call number is used twice");
	if (!str_copy_z(name, z, sizeof(z)))
		z[0] = 0;
	const struct provider *p = providers_find(&g->providers, name);

	if (check_begin(g, p, str_z(z), length, &why) < 0) {
		refuse(g, m->f.call, &why);
		return 0;
	}
	struct model_call *c = call_add(g, m->f.call, length);

	if (!c || !str_copy_z(beta, c->beta, sizeof(c->beta))) {
		err_set(&why, c ? ERR_INVALID : ERR_NO_MEMORY, "the request's head is refused");
		if (c)
			call_free(c);
		refuse(g, m->f.call, &why);
		return 0;
	}
	c->provider = p;
	c->retries = retries;
	return 0;
}

static void
send_request(struct model_call *c)
{
	struct gate *g = c->g;
	uint64_t id = c->id;
	struct err why = {0};
	struct uplink_request r = {
		.provider = c->provider,
		.body = buf_str(&c->body),
		.beta = str_z(c->beta),
		.retries = c->retries,
		.asked_us = clock_mono_us(),
		.data = c,
	};

	if (buf_check(&c->body, &why) == 0 && uplink_start(g->uplink, &r, &c->up, &why) == 0)
		return;
	call_free(c);
	refuse(g, id, &why);
}

static int
on_body(void *owner, struct rpc_peer *peer, struct rpc_msg *m, struct err *e)
{
	struct gate *g = owner;
	struct frame_r r = frame_r(m->f.payload);
	struct str piece = frame_get_str_max(&r, LIM_CHUNK);
	struct model_call *c = call_find(g, m->f.call);
	int rc = frame_done(&r, e);

	(void)peer;
	if (rc < 0)
		return rc;
	/* Refused or ended while control was still sending. */
	if (!c)
		return 0;
	if (c->up || piece.n > c->length - c->body.n)
		return err_set(e, ERR_CORRUPT, "a request body is longer than announced");
	buf_put_str(&c->body, piece);
	if (c->body.n == c->length || c->body.fail)
		send_request(c);
	return 0;
}

static int
on_cancel(void *owner, struct rpc_peer *peer, struct rpc_msg *m, struct err *e)
{
	struct gate *g = owner;
	struct model_call *c = call_find(g, m->f.call);
	static const struct uplink_end end = {.outcome = GATE_CANCELLED, .text = {"cancelled", 9}};

	(void)peer;
	(void)e;
	if (!c)
		return 0;
	c->cancelled = true;
	if (c->up) {
		uplink_cancel(c->up);
		return 0;
	}
	send_done(g, c->id, &end);
	call_free(c);
	return 0;
}

static const struct rpc_permit permits[] = {
	{.type = GATE_MODEL_BEGIN, .max = 4096, .on = on_begin},
	{.type = GATE_MODEL_BODY, .max = LIM_CHUNK + 64, .on = on_body},
	{.type = GATE_MODEL_CANCEL, .max = 0, .on = on_cancel},
};

/* ---- peers ---- */

static void
cancel_all(struct gate *g)
{
	while (g->calls) {
		struct model_call *c = g->calls;

		c->cancelled = true;
		if (c->up)
			uplink_cancel(c->up);
		else
			call_free(c);
	}
}

static void
on_control_close(void *owner, struct rpc_peer *p, const struct err *why)
{
	struct gate *g = owner;

	if (why->kind != ERR_NONE)
		log_warn("gate.control", LOG_ERR(why));
	g->control = NULL;
	rpc_peer_free(p);
	cancel_all(g);
}

static void
on_room(void *owner, struct rpc_peer *p)
{
	struct gate *g = owner;

	(void)p;
	uplink_resume(g->uplink);
}

static void
set_control(struct gate *g, int fd)
{
	struct err e = {0};
	struct rpc_opts o = {
		.name = "control",
		.permits = permits,
		.n_permits = ARRAY_LEN(permits),
		.owner = g,
		.on_close = on_control_close,
		.on_room = on_room,
	};

	rpc_peer_free(MOVE(g->control));
	cancel_all(g);
	if (rpc_peer_new(&g->control, g->l, fd, &o, &e) < 0) {
		log_error("gate.control", LOG_ERR(&e));
		g->control = NULL;
		return;
	}
	send_providers(g);
}

static void
on_peer(void *owner, const char *role, uint64_t number, int fd)
{
	(void)number;
	if (strcmp(role, "control") == 0)
		set_control(owner, fd);
	else
		fd_close(fd);
}

static void
on_stop(void *owner)
{
	struct gate *g = owner;

	cancel_all(g);
	loop_stop(g->l);
}

/* ---- the role ---- */

/* The uid decides what can be read below /etc; as a whole because resolver configuration is replaced by
 * rename. */
static int
lock_down(const struct json_t *config, struct err *e)
{
	static const char *const ro[] = {"/etc", "/usr/lib", "/usr/share/ca-certificates",
		"/usr/local/share/ca-certificates", "/run/systemd/resolve", "/run/resolvconf", NULL};
	struct confine_opts o = {
		.profile = CONFINE_GATE,
		.uid = (unsigned)json_get_int(config, "uid", 0),
		.gid = (unsigned)json_get_int(config, "gid", 0),
		.ro = ro,
	};

	return confine(&o, e);
}

static int
gate_init(struct gate *g, struct leash_start *s, struct err *e)
{
	const struct leash_ops lo = {.owner = g, .on_peer = on_peer, .on_stop = on_stop};
	struct uplink_opts uo = {
		.owner = g,
		.idle_ms = (uint64_t)json_get_int(s->config, "idle_ms", LIM_MODEL_IDLE_MS),
		.total_ms = (uint64_t)json_get_int(s->config, "total_ms", LIM_MODEL_TOTAL_MS),
		.connect_ms = (uint64_t)json_get_int(s->config, "connect_ms", CONNECT_MS),
		.max_response = LIM_MODEL_RESPONSE,
		.on_head = on_head,
		.on_data = on_data,
		.on_end = on_end,
	};
	int rc = providers_init(&g->providers, s, e);

	if (rc == 0)
		rc = loop_new(&g->l, e);
	if (rc == 0)
		rc = uplink_new(&g->uplink, g->l, &uo, e);
	if (rc == 0)
		rc = leash_attach(&g->leash, g->l, &lo, e);
	return rc;
}

static void
gate_done(struct gate *g)
{
	rpc_peer_free(MOVE(g->control));
	cancel_all(g);
	uplink_free(g->uplink);
	leash_free(g->leash);
	providers_done(&g->providers);
	if (g->l)
		loop_free(g->l);
}

static void
say_ready(struct gate *g)
{
	char note[256];
	size_t keys = 0;

	for (size_t i = 0; i < g->providers.n; i++)
		keys += g->providers.list[i].key != NULL;
	snprintf(note, sizeof(note), "%zu providers, %zu with a key", g->providers.n, keys);
	leash_ready(g->leash, str_z(note));
}

static int
start(struct gate *g, struct leash_start *s, struct err *e)
{
	int rc = leash_start(s, e);

	if (rc == 0)
		rc = lock_down(s->config, e);
	return rc < 0 ? rc : gate_init(g, s, e);
}

int
gate_main(void)
{
	struct leash_start s = {0};
	struct gate g = {0};
	struct err e = {0};

	if (start(&g, &s, &e) < 0) {
		int code = leash_failed(&e);

		log_error("gate.start", LOG_ERR(&e));
		leash_start_done(&s);
		return code;
	}
	for (size_t i = 0; i < s.n_peers; i++)
		on_peer(&g, s.peers[i].name, s.peers[i].number, MOVE_FD(s.peers[i].fd));
	leash_start_done(&s);
	say_ready(&g);
	loop_run(g.l);
	gate_done(&g);
	return 0;
}
