/* SPDX-License-Identifier: Apache-2.0 */
#include "brain/model_client.h"

#include <stdlib.h>

#include "base/clock.h"
#include "base/log.h"
#include "io/calls.h"
#include "io/sse.h"

#define ERROR_BODY_MAX (64 * KIB)

struct model_call {
	struct gate_client *gate;
	struct model_call *next, **link;
	uint64_t id;
	struct model_call_opts o;
	struct model_response response;
	struct sse_reader sse;
	struct buf error_body;
	int status;    /* HTTP status, 0 before the head */
	bool streamed; /* the body is an event stream */
	uint64_t retry_after_us;
	struct err broken; /* the response broke its own format */
};

struct gate_client {
	struct loop *loop;
	struct rpc_peer *peer;
	struct model_call *calls;
	uint64_t next_id;
};

static void
call_free(struct model_call *c)
{
	*c->link = c->next;
	if (c->next != NULL)
		c->next->link = c->link;
	response_done(&c->response);
	sse_done(&c->sse);
	buf_done(&c->error_body);
	free(c);
}

static void
call_fail(struct model_call *c, const struct plan_failure *f)
{
	c->o.on_done(c->o.arg, NULL, f);
	call_free(c);
}

static struct model_call *
call_find(struct gate_client *g, uint64_t id)
{
	struct model_call *c = g->calls;
	while (c != NULL && c->id != id)
		c = c->next;
	return c;
}

/* ---- what a failed answer means ---- */

struct status_rule {
	int status;
	enum model_end end;
	const char *error_type;
};

/* Anything not listed: 4xx is fatal, the rest may be retried. */
static const struct status_rule status_rules[] = {
	{402, MODEL_END_FATAL, "billing_error"},
	{408, MODEL_END_ERROR, "model_request_failed_error"},
	{409, MODEL_END_ERROR, "model_request_failed_error"},
	{429, MODEL_END_ERROR, "model_rate_limited_error"},
	{529, MODEL_END_ERROR, "model_overloaded_error"},
};

static void
failure_of_status(int status, struct plan_failure *f)
{
	f->end = status >= 400 && status < 500 ? MODEL_END_FATAL : MODEL_END_ERROR;
	f->error_type = "model_request_failed_error";
	for (size_t i = 0; i < ARRAY_LEN(status_rules); i++) {
		if (status_rules[i].status == status) {
			f->end = status_rules[i].end;
			f->error_type = status_rules[i].error_type;
		}
	}
}

/* An error record inside a stream names its type instead of a status. */
static int
status_of_error_type(struct str type)
{
	if (str_eqz(type, "overloaded_error"))
		return 529;
	if (str_eqz(type, "rate_limit_error"))
		return 429;
	if (str_eqz(type, "billing_error"))
		return 402;
	return str_eqz(type, "invalid_request_error") ? 400 : 500;
}

/* "HTTP 529: Overloaded" from the error body, if it is one of the API's. */
static void
error_text(const struct model_call *c, char *out, size_t cap)
{
	AUTO(json) struct json_t *v = NULL;
	struct str msg = STR_NULL;
	if (json_parse(buf_str(&c->error_body), &v, NULL) == 0)
		msg = json_get_str(json_get(v, "error"), "message");
	struct buf b;
	buf_init(&b, cap - 1);
	buf_printf(&b, "The model answered HTTP %d", c->status);
	if (msg.n > 0)
		buf_printf(&b, ": %.*s", (int)(msg.n > 500 ? 500 : msg.n), msg.p);
	if (buf_check(&b, NULL) < 0 || !str_copy_z(buf_str(&b), out, cap))
		(void)str_copy_z(STR("The model answered with an error"), out, cap);
	buf_done(&b);
}

static void
call_end_http_error(struct model_call *c)
{
	char text[640];
	struct plan_failure f = {.message = text, .retry_after_us = c->retry_after_us};
	failure_of_status(c->status, &f);
	error_text(c, text, sizeof(text));
	call_fail(c, &f);
}

static void
call_end_stream(struct model_call *c, uint64_t outcome, struct str text)
{
	struct err e = c->broken;
	char msg[640];
	struct plan_failure f = {
		.end = MODEL_END_ERROR, .error_type = "model_request_failed_error", .message = msg};
	/* Over a limit: the next answer would be no shorter. */
	if (outcome == GATE_REFUSED)
		f.end = MODEL_END_FATAL;
	if (c->response.error_type.n > 0) {
		failure_of_status(status_of_error_type(c->response.error_type), &f);
		if (!str_copy_z(str_sub(c->response.error_message, 0, 600), msg, sizeof(msg)))
			(void)str_copy_z(STR("The model reported an error"), msg, sizeof(msg));
	} else if (e.kind != ERR_NONE ||
		   (outcome == GATE_COMPLETE && response_finish(&c->response, &e) < 0)) {
		(void)str_copy_z(str_z(e.msg), msg, sizeof(msg));
	} else if (outcome == GATE_COMPLETE || c->response.stopped) {
		c->o.on_done(c->o.arg, &c->response, NULL);
		call_free(c);
		return;
	} else if (!str_copy_z(str_sub(text, 0, 600), msg, sizeof(msg)) || msg[0] == '\0') {
		(void)str_copy_z(STR("The model's answer was cut off"), msg, sizeof(msg));
	}
	call_fail(c, &f);
}

static void
call_end_unanswered(struct model_call *c, uint64_t outcome, struct str text)
{
	char msg[640];
	if (text.n == 0 || !str_copy_z(str_sub(text, 0, 600), msg, sizeof(msg)))
		(void)str_copy_z(STR("The model could not be reached"), msg, sizeof(msg));
	struct plan_failure f = {.end = outcome == GATE_REFUSED ? MODEL_END_FATAL : MODEL_END_ERROR,
		.error_type = "model_request_failed_error",
		.message = msg};
	call_fail(c, &f);
}

/* ---- messages from gate ---- */

static int
on_head(void *owner, struct rpc_peer *p, struct rpc_msg *m, struct err *e)
{
	(void)p;
	struct frame_r r = frame_r(m->f.payload);
	uint64_t status = frame_get_u64(&r);
	struct str type = frame_get_str(&r);
	struct str retry_ms = frame_get_str(&r);
	struct str request_id = frame_get_str(&r);
	if (frame_done(&r, e) < 0)
		return err_wrap(e, "model head");
	struct model_call *c = call_find(owner, m->f.call);
	if (c == NULL)
		return 0;
	uint64_t ms = 0;
	c->status = (int)(status > 999 ? 999 : status);
	c->streamed = c->status == 200 && str_starts(type, STR("text/event-stream"));
	if (str_to_u64(retry_ms, &ms) && ms < 3600000)
		c->retry_after_us = ms * 1000;
	log_debug("model.head", LOG_INT("status", status), LOG_STR("provider_request", request_id));
	return 0;
}

static int
on_record(void *arg, const struct sse_event *ev, struct err *e)
{
	struct model_call *c = arg;
	return response_feed(&c->response, ev->data, &c->o.hooks, e);
}

static int
on_data(void *owner, struct rpc_peer *p, struct rpc_msg *m, struct err *e)
{
	(void)p;
	struct frame_r r = frame_r(m->f.payload);
	struct str piece = frame_get_str(&r);
	if (frame_done(&r, e) < 0)
		return err_wrap(e, "model data");
	struct model_call *c = call_find(owner, m->f.call);
	if (c == NULL || c->broken.kind != ERR_NONE)
		return 0;
	if (c->streamed)
		(void)sse_feed(&c->sse, piece, on_record, c, &c->broken);
	else
		buf_put_str(&c->error_body, piece);
	return 0;
}

static int
on_done(void *owner, struct rpc_peer *p, struct rpc_msg *m, struct err *e)
{
	(void)p;
	struct frame_r r = frame_r(m->f.payload);
	uint64_t outcome = frame_get_u64(&r);
	struct str text = frame_get_str(&r);
	uint64_t sent_us = frame_get_u64(&r);
	uint64_t first_us = frame_get_u64(&r);
	if (frame_done(&r, e) < 0)
		return err_wrap(e, "model done");
	struct model_call *c = call_find(owner, m->f.call);
	if (c == NULL)
		return 0;
	log_debug("model.done", LOG_INT("outcome", outcome), LOG_INT("sent_us", sent_us),
		LOG_INT("first_us", first_us));
	if (c->status == 0)
		call_end_unanswered(c, outcome, text);
	else if (c->streamed)
		call_end_stream(c, outcome, text);
	else if (c->status != 200)
		call_end_http_error(c);
	else
		call_end_unanswered(c, GATE_CUT, STR("The model's answer is not an event stream"));
	return 0;
}

static int
on_providers(void *owner, struct rpc_peer *p, struct rpc_msg *m, struct err *e)
{
	(void)owner, (void)p;
	struct frame_r r = frame_r(m->f.payload);
	(void)frame_get_str(&r);
	return frame_done(&r, e);
}

static const struct rpc_permit gate_permits[] = {
	{.type = GATE_MODEL_HEAD, .max = 8 * KIB, .on = on_head},
	{.type = GATE_MODEL_DATA, .max = LIM_CHUNK + KIB, .on = on_data},
	{.type = GATE_MODEL_DONE, .max = 8 * KIB, .on = on_done},
	{.type = GATE_PROVIDERS, .max = LIM_CHUNK, .on = on_providers},
};

/* ---- the connection ---- */

static void
fail_all(struct gate_client *g)
{
	struct plan_failure f = {.end = MODEL_END_ERROR,
		.error_type = "model_request_failed_error",
		.message = "The connection to the gate was lost"};
	while (g->calls != NULL)
		call_fail(g->calls, &f);
}

static void
on_gate_close(void *owner, struct rpc_peer *p, const struct err *why)
{
	struct gate_client *g = owner;
	log_warn("gate.lost", LOG_ERR(why));
	if (g->peer == p)
		g->peer = NULL;
	rpc_peer_free(p);
	fail_all(g);
}

struct gate_client *
gate_client_new(struct loop *l)
{
	struct gate_client *g = calloc(1, sizeof(*g));
	if (g != NULL)
		g->loop = l;
	return g;
}

void
gate_client_free(struct gate_client *g)
{
	if (g == NULL)
		return;
	while (g->calls != NULL)
		call_free(g->calls);
	rpc_peer_free(g->peer);
	free(g);
}

void
gate_client_set_peer(struct gate_client *g, int fd)
{
	rpc_peer_free(MOVE(g->peer));
	fail_all(g);
	struct rpc_opts o = {.name = "gate",
		.permits = gate_permits,
		.n_permits = ARRAY_LEN(gate_permits),
		.max_queue = 256 * MIB,
		.owner = g,
		.on_close = on_gate_close};
	struct err e = {0};
	if (rpc_peer_new(&g->peer, g->loop, fd, &o, &e) < 0)
		log_error("gate.connect", LOG_ERR(&e));
}

bool
gate_client_connected(const struct gate_client *g)
{
	return g->peer != NULL;
}

/* ---- calls ---- */

static void
send_request(struct model_call *c)
{
	AUTO(buf) struct buf b;
	buf_init(&b, LIM_MODEL_REQUEST + MIB);
	struct frame_w w = frame_begin(&b, GATE_MODEL_BEGIN, c->id);
	frame_str(&w, c->o.provider);
	frame_u64(&w, c->o.body.n);
	frame_u64(&w, c->o.retry_count);
	frame_str(&w, STR(""));
	frame_end(&w, 0);
	for (size_t at = 0; at < c->o.body.n; at += LIM_CHUNK) {
		w = frame_begin(&b, GATE_MODEL_BODY, c->id);
		frame_str(&w, str_sub(c->o.body, at, LIM_CHUNK));
		frame_end(&w, 0);
	}
	rpc_send(c->gate->peer, &b);
	c->o.body = STR_NULL;
}

int
model_call_start(
	struct gate_client *g, const struct model_call_opts *o, struct model_call **out, struct err *e)
{
	if (g->peer == NULL)
		return err_set(e, ERR_UNAVAILABLE, "the gate is restarting");
	/* Over its ceiling the queue would break the connection, and with it the requests of all sessions. */
	if (rpc_peer_full(g->peer))
		return err_set(e, ERR_UNAVAILABLE, "the gate carries too much already");
	struct model_call *c = calloc(1, sizeof(*c));
	if (c == NULL)
		return err_set(e, ERR_NO_MEMORY, "out of memory");
	int r = response_init(&c->response, e);
	if (r < 0) {
		free(c);
		return r;
	}
	c->gate = g;
	c->o = *o;
	c->id = ++g->next_id;
	sse_init(&c->sse, LIM_MODEL_RESPONSE);
	buf_init(&c->error_body, ERROR_BODY_MAX);
	c->next = g->calls;
	c->link = &g->calls;
	if (g->calls != NULL)
		g->calls->link = &c->next;
	g->calls = c;
	*out = c;
	send_request(c);
	return 0;
}

void
model_call_cancel(struct model_call *c)
{
	if (c == NULL)
		return;
	if (c->gate->peer != NULL) {
		AUTO(buf) struct buf b;
		buf_init(&b, KIB);
		struct frame_w w = frame_begin(&b, GATE_MODEL_CANCEL, c->id);
		frame_end(&w, 0);
		rpc_send(c->gate->peer, &b);
	}
	call_free(c);
}
