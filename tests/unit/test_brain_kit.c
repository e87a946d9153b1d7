/* SPDX-License-Identifier: Apache-2.0 */
#include "test_brain_kit.h"

#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "io/calls.h"
#include "model_talk.h"

#define PATIENCE_MS 10000

static void
noted(struct kit *k)
{
	loop_stop(k->loop);
}

/* ---- the store's side ---- */

static void
on_commit(void *owner, struct str session, const struct event_row *rows, size_t n)
{
	struct kit *k = owner;
	bool ours = str_eq(session, id_str(&k->session)) || rows[0].facts.type == EV_CREATED;
	for (size_t i = 0; ours && i < n; i++) {
		enum event_type t = (enum event_type)rows[i].facts.type;
		assert_true(rows[i].seq < ARRAY_LEN(k->types));
		k->types[rows[i].seq] = t;
		if (t == EV_PROCESSED)
			buf_printf(&k->log, "+%s\n", event_name(k->types[rows[i].facts.ref]));
		else
			buf_printf(&k->log, "%s\n", event_name(t));
	}
	brain_on_commit(k->brain, session, rows, n);
	noted(k);
}

static void
on_deleted(void *owner, struct str session)
{
	struct kit *k = owner;
	brain_on_deleted(k->brain, session);
	noted(k);
}

static void
on_output(void *owner, struct str session, struct str path, struct id file, uint64_t size)
{
	(void)session, (void)path, (void)file, (void)size;
	noted(owner);
}

static void
open_all(struct kit *k)
{
	static const struct brain_model models[] = {{.pattern = STR("m-*"), .provider = STR("test")}};
	struct err e = {0};
	struct store_opts so = {.dir = k->dir, .owner = k, .on_commit = on_commit, .on_deleted = on_deleted};
	if (store_open(&k->store, k->loop, &so, &e) < 0)
		fail_msg("store_open: %s", e.msg);
	struct brain_opts bo = {.store = k->store,
		.models = models,
		.n_models = ARRAY_LEN(models),
		.max_tokens = 1000,
		.owner = k,
		.on_output_file = on_output};
	if (brain_new(&k->brain, k->loop, &bo, &e) < 0)
		fail_msg("brain_new: %s", e.msg);
}

static void
close_all(struct kit *k)
{
	brain_stop(k->brain);
	store_close(k->store);
	brain_free(k->brain);
}

void
kit_restart(struct kit *k)
{
	close_all(k);
	kit_drop_gate(k);
	kit_drop_hands(k);
	open_all(k);
}

/* ---- the gate's side ---- */

static int
gate_begin(void *owner, struct rpc_peer *p, struct rpc_msg *m, struct err *e)
{
	(void)p, (void)e;
	struct kit *k = owner;
	assert_true(k->n_requests < KIT_CALLS);
	buf_clear(&k->body);
	k->requests[k->n_requests] = m->f.call;
	return 0;
}

/* The request counts once its body is whole: the pieces are no longer than a chunk each. */
static int
gate_body(void *owner, struct rpc_peer *p, struct rpc_msg *m, struct err *e)
{
	(void)p, (void)e;
	struct kit *k = owner;
	struct frame_r r = frame_r(m->f.payload);
	buf_put_str(&k->body, frame_get_str(&r));
	if (str_ends(buf_str(&k->body), STR("]}"))) {
		k->n_requests++;
		noted(k);
	}
	return 0;
}

static int
gate_cancel(void *owner, struct rpc_peer *p, struct rpc_msg *m, struct err *e)
{
	(void)p, (void)m, (void)e;
	struct kit *k = owner;
	k->n_cancelled++;
	noted(k);
	return 0;
}

static const struct rpc_permit gate_permits[] = {
	{.type = GATE_MODEL_BEGIN, .max = KIB, .on = gate_begin},
	{.type = GATE_MODEL_BODY, .max = LIM_CHUNK + KIB, .on = gate_body},
	{.type = GATE_MODEL_CANCEL, .max = 0, .on = gate_cancel},
};

/* ---- the hands' side ---- */

static int
hands_claim(void *owner, struct rpc_peer *p, struct rpc_msg *m, struct err *e)
{
	(void)p, (void)e;
	struct kit *k = owner;
	assert_true(k->n_claims < KIT_CALLS);
	k->claims[k->n_claims++] = m->f.call;
	noted(k);
	return 0;
}

static int
hands_execute(void *owner, struct rpc_peer *p, struct rpc_msg *m, struct err *e)
{
	(void)p, (void)e;
	struct kit *k = owner;
	struct frame_r r = frame_r(m->f.payload);
	assert_true(k->n_execs < KIT_CALLS);
	struct kit_exec *x = &k->execs[k->n_execs++];
	(void)frame_get_str(&r);
	(void)frame_get_u64(&r);
	x->call = m->f.call;
	assert_true(str_copy_z(frame_get_str(&r), x->id, sizeof(x->id)));
	assert_true(str_copy_z(frame_get_str(&r), x->tool, sizeof(x->tool)));
	assert_true(str_copy_z(frame_get_str(&r), x->input, sizeof(x->input)));
	noted(k);
	return 0;
}

static int
hands_collect(void *owner, struct rpc_peer *p, struct rpc_msg *m, struct err *e)
{
	(void)p, (void)e;
	struct kit *k = owner;
	struct frame_r r = frame_r(m->f.payload);
	assert_true(k->n_collects < KIT_CALLS);
	struct kit_exec *x = &k->collects[k->n_collects++];
	(void)frame_get_str(&r);
	x->call = m->f.call;
	assert_true(str_copy_z(frame_get_str(&r), x->id, sizeof(x->id)));
	noted(k);
	return 0;
}

static int
hands_count(void *owner, struct rpc_peer *p, struct rpc_msg *m, struct err *e)
{
	(void)p, (void)e;
	struct kit *k = owner;
	k->n_cancels += m->f.type == HANDS_CANCEL;
	k->n_acks += m->f.type == HANDS_ACK;
	k->n_releases += m->f.type == HANDS_RELEASE;
	noted(k);
	return 0;
}

static const struct rpc_permit hands_permits[] = {
	{.type = HANDS_CLAIM, .max = LIM_FRAME_CLAIM, .on = hands_claim},
	{.type = HANDS_EXECUTE, .max = LIM_FRAME_ROLE, .on = hands_execute},
	{.type = HANDS_COLLECT, .max = KIB, .on = hands_collect},
	{.type = HANDS_CANCEL, .max = KIB, .on = hands_count},
	{.type = HANDS_ACK, .max = KIB, .on = hands_count},
	{.type = HANDS_RELEASE, .max = KIB, .on = hands_count},
};

/* ---- connections ---- */

static void
on_close(void *owner, struct rpc_peer *p, const struct err *why)
{
	(void)why;
	struct kit *k = owner;
	k->n_closed++;
	if (k->gate == p)
		k->gate = NULL;
	if (k->hands == p)
		k->hands = NULL;
	rpc_peer_free(p);
	noted(k);
}

static void
connect_role(
	struct kit *k, const char *role, const struct rpc_permit *permits, size_t n, struct rpc_peer **out)
{
	int fds[2];
	struct err e = {0};
	struct rpc_opts o = {
		.name = "control", .permits = permits, .n_permits = n, .owner = k, .on_close = on_close};
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
	rpc_peer_free(MOVE(*out));
	assert_int_equal(rpc_peer_new(out, k->loop, fds[0], &o, &e), 0);
	brain_set_peer(k->brain, role, fds[1]);
}

void
kit_connect_gate(struct kit *k)
{
	connect_role(k, "gate", gate_permits, ARRAY_LEN(gate_permits), &k->gate);
}

void
kit_connect_hands(struct kit *k)
{
	connect_role(k, "hands", hands_permits, ARRAY_LEN(hands_permits), &k->hands);
}

void
kit_drop_gate(struct kit *k)
{
	rpc_peer_free(MOVE(k->gate));
}

void
kit_drop_hands(struct kit *k)
{
	rpc_peer_free(MOVE(k->hands));
}

/* ---- life ---- */

static void
on_watchdog(void *arg)
{
	struct kit *k = arg;
	fail_msg("nothing happened any more; the log so far:\n%.*s", STRF(buf_str(&k->log)));
}

void
kit_round(struct kit *k, const char *what)
{
	(void)what;
	loop_timer_start(k->watchdog, PATIENCE_MS, 0);
	loop_run(k->loop);
	loop_timer_stop(k->watchdog);
}

int
kit_setup(void **state)
{
	struct err e = {0};
	struct kit *k = calloc(1, sizeof(*k));
	assert_non_null(k);
	snprintf(k->dir, sizeof(k->dir), "/tmp/pinfold-brain-XXXXXX");
	assert_non_null(mkdtemp(k->dir));
	buf_init(&k->log, 1 * MIB);
	buf_init(&k->body, LIM_MODEL_REQUEST);
	assert_int_equal(loop_new(&k->loop, &e), 0);
	k->watchdog = loop_timer_new(k->loop, on_watchdog, k);
	open_all(k);
	kit_connect_gate(k);
	kit_connect_hands(k);
	k->session = kit_create(k);
	*state = k;
	return 0;
}

static int
remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	(void)st, (void)type, (void)ftw;
	return remove(path);
}

int
kit_teardown(void **state)
{
	struct kit *k = *state;
	close_all(k);
	kit_drop_gate(k);
	kit_drop_hands(k);
	loop_timer_free(k->watchdog);
	loop_free(k->loop);
	buf_done(&k->log);
	buf_done(&k->body);
	nftw(k->dir, remove_one, 8, FTW_DEPTH | FTW_PHYS);
	free(k);
	return 0;
}

/* ---- clients ---- */

static void
on_session(void *arg, const struct err *err, const struct session_state *s)
{
	struct kit *k = arg;
	if (err != NULL)
		fail_msg("create: %s", err->msg);
	assert_non_null(s);
	k->n_answers++;
	noted(k);
}

struct id
kit_create(struct kit *k)
{
	uint64_t now = clock_wall_us();
	struct session_new n = {.id = id_new("sesn", now),
		.thread_id = id_new("sthr", now),
		.environment_id = id_new("env", now),
		.agent = STR(SIM_AGENT),
		.environment = STR("{\"type\":\"cloud\"}"),
		.title = STR_NULL,
		.metadata = STR("{}"),
		.vault_ids = STR("[]")};
	struct store_session_index ix = {.agent_id = STR("agent_01A"),
		.agent_version = 1,
		.environment_id = id_str(&n.environment_id)};
	struct brain_create c = {.n = &n, .ix = &ix};
	size_t had = k->n_answers;
	brain_session_create(k->brain, &c, on_session, k);
	kit_until(k, k->n_answers > had);
	return n.id;
}

struct sending {
	struct kit *k;
	struct arena *arena;
	struct json_t *json;
	struct client_event ev[16];
	size_t n;
};

static int
make_events(void *arg, const struct session_state *s, struct plan *p, struct err *e)
{
	struct sending *x = arg;
	uint64_t now = clock_wall_us();
	int r = plan_client_events(p, s, x->ev, x->n, now, e);
	return r < 0 ? r : plan_extend(p, s, now, e);
}

static void
on_sent(void *arg, const struct err *err, const struct plan *p, uint32_t first_seq,
	const struct session_state *s)
{
	(void)p, (void)first_seq, (void)s;
	struct sending *x = arg;
	struct kit *k = x->k;
	k->kind = err != NULL ? err->kind : ERR_NONE;
	if (err != NULL)
		k->err = *err;
	arena_free(x->arena);
	json_free(x->json);
	free(x);
	k->n_answers++;
	noted(k);
}

void
kit_send(struct kit *k, struct id session, const char *events)
{
	struct err e = {0};
	struct sending *x = calloc(1, sizeof(*x));
	assert_non_null(x);
	x->k = k;
	x->arena = arena_new(4 * MIB);
	assert_int_equal(json_parse(str_z(events), &x->json, &e), 0);
	struct json_at root = json_root(x->json);
	x->n = json_len(x->json);
	assert_true(x->n <= ARRAY_LEN(x->ev));
	for (size_t i = 0; i < x->n; i++) {
		struct json_at at = json_element(&root, i);
		if (client_event_parse(x->arena, &at, false, clock_wall_us(), &x->ev[i], &e) < 0)
			fail_msg("%s", e.msg);
	}
	struct brain_change c = {.make = make_events, .done = on_sent, .arg = x};
	brain_session_change(k->brain, id_str(&session), &c);
}

static void
send_wait(struct kit *k, const char *events)
{
	size_t had = k->n_answers;
	kit_send(k, k->session, events);
	kit_until(k, k->n_answers > had);
	if (k->kind != ERR_NONE)
		fail_msg("send: %s", k->err.msg);
}

void
kit_say(struct kit *k, const char *text)
{
	char events[512];
	snprintf(events, sizeof(events),
		"[{\"type\":\"user.message\",\"content\":[{\"type\":\"text\",\"text\":\"%s\"}]}]", text);
	send_wait(k, events);
}

void
kit_interrupt(struct kit *k)
{
	send_wait(k, "[{\"type\":\"user.interrupt\"}]");
}

const struct session_state *
kit_state(struct kit *k)
{
	return brain_session_peek(k->brain, id_str(&k->session));
}

bool
kit_idle(struct kit *k)
{
	const struct session_state *s = kit_state(k);
	return s != NULL && !turn_busy(&s->turn);
}

size_t
kit_count(const struct kit *k, enum event_type type)
{
	size_t n = 0;
	for (struct str rest = buf_str(&k->log); rest.p != NULL && rest.n > 0;)
		n += str_eqz(str_next(&rest, '\n'), event_name(type));
	return n;
}

/* ---- the gate's answers ---- */

static void
send_frame(struct rpc_peer *p, struct buf *b, struct frame_w *w)
{
	frame_end(w, 0);
	assert_int_equal(buf_check(b, NULL), 0);
	rpc_send(p, b);
	buf_done(b);
}

static void
send_head(struct kit *k, size_t i, int status, const char *type)
{
	struct buf b;
	buf_init(&b, KIB);
	assert_true(i < k->n_requests);
	struct frame_w w = frame_begin(&b, GATE_MODEL_HEAD, k->requests[i]);
	frame_u64(&w, (uint64_t)status);
	frame_str(&w, str_z(type));
	frame_str(&w, STR(""));
	frame_str(&w, STR("req_1"));
	send_frame(k->gate, &b, &w);
}

static void
send_data(struct kit *k, size_t i, struct str bytes)
{
	struct buf b;
	buf_init(&b, LIM_CHUNK + KIB);
	struct frame_w w = frame_begin(&b, GATE_MODEL_DATA, k->requests[i]);
	frame_str(&w, bytes);
	send_frame(k->gate, &b, &w);
}

static void
send_done(struct kit *k, size_t i)
{
	struct buf b;
	buf_init(&b, KIB);
	struct frame_w w = frame_begin(&b, GATE_MODEL_DONE, k->requests[i]);
	frame_u64(&w, GATE_COMPLETE);
	frame_str(&w, STR(""));
	frame_u64(&w, 0);
	frame_u64(&w, 0);
	send_frame(k->gate, &b, &w);
}

void
kit_begin(struct kit *k, size_t i, const char *const *records)
{
	send_head(k, i, 200, "text/event-stream");
	for (; *records != NULL; records++) {
		struct buf b;
		buf_init(&b, LIM_CHUNK);
		buf_printf(&b, "data: %s\n\n", *records);
		send_data(k, i, buf_str(&b));
		buf_done(&b);
	}
}

void
kit_answer(struct kit *k, size_t i, const char *const *records)
{
	kit_begin(k, i, records);
	send_done(k, i);
}

void
kit_refuse(struct kit *k, size_t i, int status, const char *body)
{
	send_head(k, i, status, "application/json");
	send_data(k, i, str_z(body));
	send_done(k, i);
}

/* ---- the hands' answers ---- */

void
kit_claimed(struct kit *k, size_t i, uint64_t generation)
{
	struct buf b;
	buf_init(&b, KIB);
	assert_true(i < k->n_claims);
	struct frame_w w = frame_begin(&b, HANDS_CLAIMED, k->claims[i]);
	frame_u64(&w, generation);
	frame_u64(&w, 2);
	frame_u64(&w, 1000);
	send_frame(k->hands, &b, &w);
}

static void
send_failed(struct kit *k, uint64_t call, enum err_kind kind)
{
	struct buf b;
	buf_init(&b, KIB);
	struct frame_w w = frame_begin(&b, HANDS_FAILED, call);
	frame_u64(&w, kind);
	frame_str(&w, STR("start"));
	frame_str(&w, STR("no luck"));
	frame_u64(&w, 0);
	send_frame(k->hands, &b, &w);
}

void
kit_claim_failed(struct kit *k, size_t i)
{
	assert_true(i < k->n_claims);
	send_failed(k, k->claims[i], ERR_IO);
}

void
kit_exec_failed(struct kit *k, const struct kit_exec *x, enum err_kind kind)
{
	send_failed(k, x->call, kind);
}

void
kit_result(struct kit *k, const struct kit_exec *x, unsigned guest_status, const char *text)
{
	struct buf b;
	buf_init(&b, LIM_FRAME_ROLE);
	struct frame_w w = frame_begin(&b, HANDS_RESULT, x->call);
	frame_str(&w, str_z(x->id));
	frame_u64(&w, guest_status);
	frame_u64(&w, 0);
	frame_str(&w, str_z(text));
	frame_str(&w, STR(""));
	frame_u64(&w, strlen(text));
	frame_u64(&w, 10);
	send_frame(k->hands, &b, &w);
}

void
kit_gone(struct kit *k, struct id session, uint64_t generation)
{
	struct buf b;
	buf_init(&b, KIB);
	struct frame_w w = frame_begin(&b, HANDS_GONE, 0);
	frame_str(&w, id_str(&session));
	frame_u64(&w, generation);
	frame_str(&w, STR("lost"));
	frame_u64(&w, 0);
	frame_u64(&w, 0);
	send_frame(k->hands, &b, &w);
}
