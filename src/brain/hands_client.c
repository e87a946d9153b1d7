/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One `box` per session with a sandbox or calls. Its states:
 *
 *   NONE --claim--> CLAIMING --HANDS_CLAIMED--> READY --HANDS_GONE / connection lost--> NONE
 *                      |  ^ HANDS_WANT: files are sent
 *                      +--HANDS_FAILED: every waiting call ends as NOT_RUN --> NONE
 *
 * A call: WAITING (for READY) -> SENT -> done. When the connection is lost a SENT call becomes WAITING with
 * `collect` set.
 */
#include "brain/hands_client.h"

#include <stdlib.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/guest_call.h"
#include "base/log.h"
#include "brain/box_files.h"
#include "io/calls.h"

#define STATUS_MAX (16 * KIB)
/* How long calls wait for hands to come back before they are answered with an error. */
#define PATIENCE_MS 30000

static const char lost_text[] =
	"The sandbox was lost while this tool ran, so it is unknown whether and how far it ran. "
	"The workspace was kept; check its state before you run the command again.";

enum box_state { BOX_NONE, BOX_CLAIMING, BOX_READY };

struct hands_call {
	struct hands_client *hands;
	struct box *box;
	struct hands_call *next, **link;
	uint64_t id;
	bool sent;
	bool cancelled;
	struct id exec_id;
	struct str tool, input; /* owned */
	struct hands_call_opts o;
};

struct box {
	struct hands_client *hands;
	struct box *next;
	struct id session;
	enum box_state state;
	uint64_t generation;
	uint64_t claim_id;
	struct hands_call *calls;
	unsigned holds;           /* loops over its calls that are under way: keeps it */
	struct box_files files;   /* as of the newest call */
	struct hash claimed_hash; /* of the files that the present sandbox was claimed with */
};

/* Asked for while there was no connection. */
struct box_release {
	struct box_release *next;
	struct id session;
	bool destroy;
};

struct hands_client {
	struct loop *loop;
	struct hands_opts o;
	struct rpc_peer *peer;
	struct box *boxes;
	struct box_release *releases;
	uint64_t next_id;
	struct buf status;
	struct loop_timer *patience; /* runs while there is no connection */
	uint64_t away_us;            /* since when hands said nothing that shows it works; 0: it did */
};

/* ---- boxes ---- */

static struct box *
box_find(struct hands_client *h, struct str session)
{
	struct box *b = h->boxes;
	while (b != NULL && !str_eq(id_str(&b->session), session))
		b = b->next;
	return b;
}

static void
box_free(struct box *b)
{
	struct box **at = &b->hands->boxes;
	while (*at != b)
		at = &(*at)->next;
	*at = b->next;
	box_files_done(&b->files);
	free(b);
}

/* A box without a sandbox and without calls has nothing to remember. */
static void
box_settle(struct box *b)
{
	if (b->state == BOX_NONE && b->calls == NULL && b->holds == 0)
		box_free(b);
}

static bool
dup_str(struct str s, struct str *out)
{
	char *p = malloc(s.n + 1);
	if (p == NULL)
		return false;
	if (s.n > 0)
		memcpy(p, s.p, s.n);
	p[s.n] = '\0';
	*out = str_n(p, s.n);
	return true;
}

/* The session's files as they are now. When they differ from what the present sandbox was claimed with, it is
 * claimed again, which brings the new ones. */
static int
box_set_files(struct box *b, const struct session_state *s, struct err *e)
{
	int r = box_files_set(&b->files, s, e);
	if (r == 0 && b->state == BOX_READY && !hash_equal(&b->files.hash, &b->claimed_hash))
		b->state = BOX_NONE;
	return r;
}

/* ---- calls ---- */

static void
call_free(struct hands_call *c)
{
	*c->link = c->next;
	if (c->next != NULL)
		c->next->link = c->link;
	free((void *)(uintptr_t)c->tool.p);
	free((void *)(uintptr_t)c->input.p);
	free(c);
}

static void
call_done(struct hands_call *c, const struct hands_result *r)
{
	void (*on_done)(void *, const struct hands_result *) = c->o.on_done;
	void *arg = c->o.arg;
	call_free(c);
	on_done(arg, r);
}

static struct hands_call *
call_find(struct hands_client *h, uint64_t id)
{
	for (struct box *b = h->boxes; b != NULL; b = b->next) {
		for (struct hands_call *c = b->calls; c != NULL; c = c->next) {
			if (c->id == id)
				return c;
		}
	}
	return NULL;
}

static void
send_collect(struct hands_call *c)
{
	AUTO(buf) struct buf m;
	buf_init(&m, KIB);
	struct frame_w w = frame_begin(&m, HANDS_COLLECT, c->id);
	frame_str(&w, id_str(&c->box->session));
	frame_str(&w, id_str(&c->exec_id));
	frame_end(&w, 0);
	c->sent = true;
	rpc_send(c->hands->peer, &m);
}

static void
send_execute(struct hands_call *c)
{
	AUTO(buf) struct buf m;
	buf_init(&m, FRAME_HEAD + LIM_FRAME_ROLE);
	struct frame_w w = frame_begin(&m, HANDS_EXECUTE, c->id);
	frame_str(&w, id_str(&c->box->session));
	frame_u64(&w, c->box->generation);
	frame_str(&w, id_str(&c->exec_id));
	frame_str(&w, c->tool);
	frame_str(&w, c->input);
	frame_u64(&w, 0);
	frame_end(&w, 0);
	c->sent = true;
	rpc_send(c->hands->peer, &m);
}

static void
send_cancel(struct hands_call *c)
{
	AUTO(buf) struct buf m;
	buf_init(&m, KIB);
	struct frame_w w = frame_begin(&m, HANDS_CANCEL, 0);
	frame_str(&w, id_str(&c->box->session));
	frame_u64(&w, c->box->generation);
	frame_str(&w, id_str(&c->exec_id));
	frame_end(&w, 0);
	rpc_send(c->hands->peer, &m);
}

static void
send_claim(struct box *b)
{
	struct hands_client *h = b->hands;
	AUTO(buf) struct buf m;
	buf_init(&m, FRAME_HEAD + LIM_FRAME_CLAIM);
	b->claim_id = ++h->next_id;
	struct frame_w w = frame_begin(&m, HANDS_CLAIM, b->claim_id);
	frame_str(&w, id_str(&b->session));
	frame_str(&w, h->o.image);
	frame_str(&w, STR(""));
	frame_u64(&w, h->o.memory);
	frame_u64(&w, h->o.pids);
	frame_u64(&w, h->o.disk);
	frame_u64(&w, h->o.cpu_milli);
	box_files_put(&b->files, &w);
	frame_end(&w, 0);
	b->state = BOX_CLAIMING;
	b->claimed_hash = b->files.hash;
	rpc_send(h->peer, &m);
}

/* Moves the box on: claims when calls wait, sends them when it is ready. Collecting needs no claim. */
static void
box_advance(struct box *b)
{
	if (b->hands->peer == NULL)
		return;
	bool wants_box = false;
	for (struct hands_call *c = b->calls; c != NULL; c = c->next) {
		if (c->sent)
			continue;
		if (c->o.collect)
			send_collect(c);
		else if (b->state == BOX_READY)
			send_execute(c);
		else
			wants_box = true;
	}
	if (wants_box && b->state == BOX_NONE)
		send_claim(b);
}

/* Ends all calls that wait: those that were never sent certainly did not run. */
static void
box_fail_waiting(struct box *b, struct str text)
{
	struct hands_result not_run = {.outcome = HANDS_NOT_RUN, .is_error = true, .text = text};
	struct hands_result lost = {.outcome = HANDS_LOST, .is_error = true, .text = str_z(lost_text)};
	struct hands_call *c = b->calls;
	b->holds++;
	while (c != NULL) {
		bool waiting = !c->sent;
		if (waiting)
			call_done(c, c->o.collect ? &lost : &not_run);
		c = waiting ? b->calls : c->next;
	}
	b->holds--;
}

/* ---- messages from hands ---- */

static struct box *
box_of_claim(struct hands_client *h, uint64_t id)
{
	struct box *b = h->boxes;
	while (b != NULL && !(b->state == BOX_CLAIMING && b->claim_id == id))
		b = b->next;
	return b;
}

static int
send_file(struct hands_client *h, uint64_t claim, struct str file_id, struct err *e)
{
	AUTO(fd) int fd = -1;
	uint64_t size = 0;
	if (store_blob_open(h->o.store, file_id, &fd, &size, e) < 0)
		return err_wrap(e, "file %.*s", STRF(file_id));
	AUTO(buf) struct buf m;
	buf_init(&m, KIB);
	struct frame_w w = frame_begin(&m, HANDS_FILE, claim);
	frame_str(&w, file_id);
	frame_u64(&w, size);
	frame_end(&w, FRAME_FD);
	rpc_send_fd(h->peer, &m, MOVE_FD(fd));
	return 0;
}

static int
on_want(void *owner, struct rpc_peer *p, struct rpc_msg *m, struct err *e)
{
	(void)p;
	struct hands_client *h = owner;
	struct box *b = box_of_claim(h, m->f.call);
	struct frame_r r = frame_r(m->f.payload);
	uint64_t n = frame_get_u64(&r);
	struct err fe = {0};
	for (uint64_t i = 0; i < n && !r.bad; i++) {
		struct str id = frame_get_str_max(&r, ID_MAX);
		if (b == NULL || r.bad || !box_files_owed(&b->files, id, b->claim_id))
			continue;
		if (send_file(h, m->f.call, id, &fe) < 0) {
			log_error("claim.file", LOG_STR("session", id_str(&b->session)), LOG_ERR(&fe));
			b->state = BOX_NONE;
			box_fail_waiting(b, str_z(fe.msg));
			box_settle(b);
			return 0;
		}
	}
	return frame_done(&r, e);
}

static const char *const claim_how[] = {"existing", "warm", "cold", "rebuilt"};

static int
on_claimed(void *owner, struct rpc_peer *p, struct rpc_msg *m, struct err *e)
{
	(void)p;
	struct hands_client *h = owner;
	struct frame_r r = frame_r(m->f.payload);
	uint64_t generation = frame_get_u64(&r);
	uint64_t how = frame_get_u64(&r);
	uint64_t us = frame_get_u64(&r);
	if (frame_done(&r, e) < 0)
		return err_wrap(e, "claimed");
	struct box *b = box_of_claim(h, m->f.call);
	if (b == NULL)
		return 0;
	/* Files may have come since it was claimed. */
	b->state = hash_equal(&b->files.hash, &b->claimed_hash) ? BOX_READY : BOX_NONE;
	b->generation = generation;
	struct str what = str_z(claim_how[how < ARRAY_LEN(claim_how) ? how : 0]);
	h->o.on_sandbox(h->o.owner, id_str(&b->session), what, generation, us);
	box_advance(b);
	box_settle(b);
	return 0;
}

static void
call_failed(struct hands_call *c, uint64_t kind, struct str step, struct str message)
{
	struct box *b = c->box;
	if (kind == ERR_FENCED && !c->o.collect) {
		/* An older generation was addressed: nothing ran. Claim the present one, once for all calls.
		 */
		c->sent = false;
		if (b->state == BOX_READY)
			b->state = BOX_NONE;
		box_advance(b);
		return;
	}
	char text[600];
	struct buf t;
	buf_init(&t, sizeof(text) - 1);
	buf_printf(&t, "%s (%.*s: %.*s)", lost_text, (int)(step.n > 60 ? 60 : step.n), step.n ? step.p : "",
		(int)(message.n > 200 ? 200 : message.n), message.n ? message.p : "");
	struct hands_result r = {.outcome = HANDS_LOST, .is_error = true, .text = buf_str(&t)};
	call_done(c, &r);
	buf_done(&t);
	box_settle(b);
}

static int
on_failed(void *owner, struct rpc_peer *p, struct rpc_msg *m, struct err *e)
{
	(void)p;
	struct hands_client *h = owner;
	struct frame_r r = frame_r(m->f.payload);
	uint64_t kind = frame_get_u64(&r);
	struct str step = frame_get_str(&r);
	struct str message = frame_get_str(&r);
	(void)frame_get_u64(&r);
	if (frame_done(&r, e) < 0)
		return err_wrap(e, "failed");
	struct hands_call *c = call_find(h, m->f.call);
	if (c != NULL) {
		call_failed(c, kind, step, message);
		return 0;
	}
	struct box *b = box_of_claim(h, m->f.call);
	if (b == NULL)
		return 0;
	log_error("sandbox.start", LOG_STR("session", id_str(&b->session)), LOG_STR("step", step),
		LOG_STR("why", message));
	AUTO(buf) struct buf text;
	buf_init(&text, 4 * KIB);
	buf_printf(&text, "The sandbox could not be started (step %.*s): %.*s", STRF(step),
		(int)(message.n > KIB ? KIB : message.n), message.n ? message.p : "");
	b->state = BOX_NONE;
	box_fail_waiting(b, buf_str(&text));
	box_settle(b);
	return 0;
}

static enum hands_outcome
outcome_of(uint64_t status)
{
	if (status == GUEST_OK)
		return HANDS_DONE;
	return status == GUEST_CANCELLED ? HANDS_CANCELLED : HANDS_LOST;
}

static int
on_result(void *owner, struct rpc_peer *p, struct rpc_msg *m, struct err *e)
{
	(void)p;
	struct frame_r r = frame_r(m->f.payload);
	struct str exec_id = frame_get_str(&r);
	uint64_t status = frame_get_u64(&r);
	uint64_t is_error = frame_get_u64(&r);
	struct hands_result res = {.is_error = is_error != 0};
	res.text = frame_get_str(&r);
	(void)frame_get_str(&r); /* where the whole text was put: guest's preview names it too */
	(void)frame_get_u64(&r);
	res.run_us = frame_get_u64(&r);
	if (frame_done(&r, e) < 0)
		return err_wrap(e, "result");
	struct hands_call *c = call_find(owner, m->f.call);
	if (c == NULL || !str_eq(id_str(&c->exec_id), exec_id) || status == GUEST_RUNNING)
		return 0;
	struct box *b = c->box;
	res.outcome = outcome_of(status);
	if (res.outcome == HANDS_LOST) {
		res.text = str_z(lost_text);
		res.is_error = true;
	}
	call_done(c, &res);
	box_settle(b);
	return 0;
}

static int
on_output(void *owner, struct rpc_peer *p, struct rpc_msg *m, struct err *e)
{
	(void)owner, (void)p;
	struct frame_r r = frame_r(m->f.payload);
	(void)frame_get_str(&r);
	(void)frame_get_str(&r);
	return frame_done(&r, e);
}

static int
on_gone(void *owner, struct rpc_peer *p, struct rpc_msg *m, struct err *e)
{
	(void)p;
	struct hands_client *h = owner;
	struct frame_r r = frame_r(m->f.payload);
	struct str session = frame_get_str(&r);
	uint64_t generation = frame_get_u64(&r);
	struct str reason = frame_get_str(&r);
	(void)frame_get_u64(&r);
	(void)frame_get_u64(&r);
	if (frame_done(&r, e) < 0)
		return err_wrap(e, "gone");
	struct box *b = box_find(h, session);
	if (b == NULL || b->state != BOX_READY || b->generation != generation)
		return 0;
	b->state = BOX_NONE;
	h->o.on_sandbox(h->o.owner, session, reason, generation, 0);
	box_advance(b);
	box_settle(b);
	return 0;
}

static int
on_released(void *owner, struct rpc_peer *p, struct rpc_msg *m, struct err *e)
{
	(void)owner, (void)p;
	struct frame_r r = frame_r(m->f.payload);
	return frame_done(&r, e);
}

static int
on_output_file(void *owner, struct rpc_peer *p, struct rpc_msg *m, struct err *e)
{
	(void)p;
	struct hands_client *h = owner;
	struct frame_r r = frame_r(m->f.payload);
	struct str session = frame_get_str_max(&r, ID_MAX - 1);
	struct str path = frame_get_str_max(&r, LIM_PATH);
	uint64_t size = frame_get_u64(&r);
	(void)frame_get_u64(&r);
	if (frame_done(&r, e) < 0)
		return err_wrap(e, "output file");
	h->o.on_output(h->o.owner, session, path, size, MOVE_FD(m->fd));
	return 0;
}

static int
on_status(void *owner, struct rpc_peer *p, struct rpc_msg *m, struct err *e)
{
	(void)p;
	struct hands_client *h = owner;
	struct frame_r r = frame_r(m->f.payload);
	struct str json = frame_get_str_max(&r, STATUS_MAX);
	AUTO(json) struct json_t *v = NULL;
	if (frame_done(&r, e) < 0 || json_parse(json, &v, e) < 0)
		return err_wrap(e, "status");
	buf_clear(&h->status);
	json_dump(&h->status, v);
	h->away_us = 0;
	return 0;
}

static const struct rpc_permit hands_permits[] = {
	{.type = HANDS_WANT, .max = LIM_CHUNK * 2, .on = on_want},
	{.type = HANDS_CLAIMED, .max = KIB, .on = on_claimed},
	{.type = HANDS_FAILED, .max = 8 * KIB, .on = on_failed},
	{.type = HANDS_OUTPUT, .max = LIM_FRAME_ROLE, .on = on_output},
	{.type = HANDS_RESULT, .max = LIM_FRAME_ROLE, .on = on_result},
	{.type = HANDS_GONE, .max = KIB, .on = on_gone},
	{.type = HANDS_RELEASED, .max = KIB, .on = on_released},
	{.type = HANDS_OUTPUT_FILE, .max = 8 * KIB, .with_fd = true, .on = on_output_file},
	{.type = HANDS_STATUS, .max = STATUS_MAX + KIB, .on = on_status},
};

/* ---- the connection ---- */

/* What was sent may have run: its result is asked for on the next connection. What was not sent simply waits.
 */
static void
connection_lost(struct hands_client *h)
{
	for (struct box *b = h->boxes; b != NULL; b = b->next) {
		b->state = BOX_NONE;
		for (struct hands_call *c = b->calls; c != NULL; c = c->next) {
			c->o.collect = c->o.collect || c->sent;
			c->sent = false;
		}
	}
}

/* Hands did not come back in time: better an error the model can act on than a session that waits for ever.
 */
static void
on_patience(void *arg)
{
	struct hands_client *h = arg;
	struct box *b = h->boxes;
	while (b != NULL) {
		struct box *next = b->next;
		b->state = BOX_NONE;
		box_fail_waiting(b, STR("The sandbox service is not available; this tool did not run."));
		box_settle(b);
		b = next;
	}
	loop_timer_start(h->patience, PATIENCE_MS, 0);
}

/* Counts from the first loss: a hands that starts and dies again and again is as good as none. */
static void
lose_patience(struct hands_client *h)
{
	uint64_t now = clock_mono_us();
	if (h->away_us == 0)
		h->away_us = now;
	uint64_t gone_ms = (now - h->away_us) / 1000;
	loop_timer_start(h->patience, gone_ms < PATIENCE_MS ? PATIENCE_MS - gone_ms : 1, 0);
}

static void
on_hands_close(void *owner, struct rpc_peer *p, const struct err *why)
{
	struct hands_client *h = owner;
	log_warn("hands.lost", LOG_ERR(why));
	if (h->peer == p)
		h->peer = NULL;
	rpc_peer_free(p);
	connection_lost(h);
	lose_patience(h);
}

struct hands_client *
hands_client_new(struct loop *l, const struct hands_opts *o)
{
	struct hands_client *h = calloc(1, sizeof(*h));
	if (h == NULL)
		return NULL;
	h->loop = l;
	h->o = *o;
	buf_init(&h->status, STATUS_MAX * 2);
	h->patience = loop_timer_new(l, on_patience, h);
	if (h->patience == NULL) {
		free(h);
		return NULL;
	}
	lose_patience(h);
	return h;
}

void
hands_client_free(struct hands_client *h)
{
	if (h == NULL)
		return;
	while (h->boxes != NULL) {
		while (h->boxes->calls != NULL)
			call_free(h->boxes->calls);
		box_free(h->boxes);
	}
	while (h->releases != NULL) {
		struct box_release *r = h->releases;
		h->releases = r->next;
		free(r);
	}
	rpc_peer_free(h->peer);
	loop_timer_free(h->patience);
	buf_done(&h->status);
	free(h);
}

static void
send_release(struct hands_client *h, struct str session, bool destroy)
{
	AUTO(buf) struct buf m;
	buf_init(&m, KIB);
	struct frame_w w = frame_begin(&m, HANDS_RELEASE, ++h->next_id);
	frame_str(&w, session);
	frame_u64(&w, destroy ? 1 : 0);
	frame_end(&w, 0);
	rpc_send(h->peer, &m);
}

static void
send_releases(struct hands_client *h)
{
	while (h->releases != NULL) {
		struct box_release *r = h->releases;
		h->releases = r->next;
		send_release(h, id_str(&r->session), r->destroy);
		free(r);
	}
}

void
hands_client_set_peer(struct hands_client *h, int fd)
{
	if (h->peer != NULL)
		connection_lost(h);
	rpc_peer_free(MOVE(h->peer));
	struct rpc_opts o = {.name = "hands",
		.permits = hands_permits,
		.n_permits = ARRAY_LEN(hands_permits),
		.owner = h,
		.on_close = on_hands_close};
	struct err e = {0};
	if (rpc_peer_new(&h->peer, h->loop, fd, &o, &e) < 0) {
		log_error("hands.connect", LOG_ERR(&e));
		return;
	}
	loop_timer_stop(h->patience);
	send_releases(h);
	struct box *next;
	for (struct box *b = h->boxes; b != NULL; b = next) {
		next = b->next;
		box_advance(b);
		box_settle(b);
	}
}

bool
hands_client_connected(const struct hands_client *h)
{
	return h->peer != NULL;
}

struct str
hands_client_status(const struct hands_client *h)
{
	return h->status.n > 0 ? buf_str(&h->status) : STR("null");
}

/* ---- calls from the brain ---- */

static struct box *
box_make(struct hands_client *h, struct str session)
{
	struct box *b = box_find(h, session);
	if (b != NULL)
		return b;
	b = calloc(1, sizeof(*b));
	if (b == NULL)
		return NULL;
	b->hands = h;
	b->session = id_from(session);
	b->next = h->boxes;
	h->boxes = b;
	return b;
}

int
hands_execute(struct hands_client *h, const struct hands_call_opts *o, struct hands_call **out, struct err *e)
{
	struct box *b = box_make(h, id_str(&o->session->id));
	struct hands_call *c = b != NULL ? calloc(1, sizeof(*c)) : NULL;
	if (c == NULL)
		return err_set(e, ERR_NO_MEMORY, "out of memory");
	bool ok = dup_str(o->tool, &c->tool) && dup_str(o->input, &c->input);
	int r = ok ? box_set_files(b, o->session, e) : err_set(e, ERR_NO_MEMORY, "out of memory");
	if (r < 0) {
		free((void *)(uintptr_t)c->tool.p);
		free((void *)(uintptr_t)c->input.p);
		free(c);
		box_settle(b);
		return r;
	}
	c->hands = h;
	c->box = b;
	c->o = *o;
	c->o.session = NULL;
	c->exec_id = id_from(o->exec_id);
	c->id = ++h->next_id;
	struct hands_call **at = &b->calls;
	while (*at != NULL)
		at = &(*at)->next;
	c->link = at;
	*at = c;
	*out = c;
	box_advance(b);
	return 0;
}

void
hands_call_cancel(struct hands_call *c)
{
	c->cancelled = true;
	if (c->sent && c->hands->peer != NULL) {
		send_cancel(c);
		return;
	}
	if (!c->sent && !c->o.collect) {
		struct box *b = c->box;
		struct hands_result r = {.outcome = HANDS_CANCELLED, .is_error = true, .text = STR("")};
		call_done(c, &r);
		box_settle(b);
	}
}

void
hands_call_drop(struct hands_call *c)
{
	if (c == NULL)
		return;
	struct box *b = c->box;
	call_free(c);
	box_settle(b);
}

void
hands_ack(struct hands_client *h, struct str session_id, struct str exec_id)
{
	if (h->peer == NULL)
		return;
	AUTO(buf) struct buf m;
	buf_init(&m, KIB);
	struct frame_w w = frame_begin(&m, HANDS_ACK, 0);
	frame_str(&w, session_id);
	frame_str(&w, exec_id);
	frame_end(&w, 0);
	rpc_send(h->peer, &m);
}

void
hands_client_release(struct hands_client *h, struct str session_id, bool destroy)
{
	if (h->peer != NULL) {
		send_release(h, session_id, destroy);
		return;
	}
	struct box_release *r = calloc(1, sizeof(*r));
	if (r == NULL) {
		log_error("sandbox.release", LOG_STR("session", session_id), LOG_Z("error", "out of memory"));
		return;
	}
	*r = (struct box_release){.next = h->releases, .session = id_from(session_id), .destroy = destroy};
	h->releases = r;
}
