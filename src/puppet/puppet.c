/* SPDX-License-Identifier: Apache-2.0 */
#include "puppet/puppet.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/limits.h"
#include "base/log.h"
#include "io/confine.h"
#include "io/leash.h"
#include "io/server.h"
#include "puppet/answer.h"
#include "puppet/player.h"

enum { CONNS_MAX = 8192 };

/* A stream that a client believes in only until it reads it. */
#define GARBAGE                                                                            \
	"event: message_start\ndata: {\"type\":\"message_start\",\"message\":{\"id\":\n\n" \
	"event: content_block_delta\ndata: \x01\x02\xff\xfe}}]]\n\n<html><body>502 Bad "   \
	"Gateway</body></html>\n\n"

struct puppet {
	struct loop *l;
	struct leash *leash;
	struct server *server;
};

/* ---- errors ---- */

static const char *
error_type(int status)
{
	switch (status) {
	case 400:
		return "invalid_request_error";
	case 401:
		return "authentication_error";
	case 402:
		return "billing_error";
	case 403:
		return "permission_error";
	case 404:
		return "not_found_error";
	case 413:
		return "request_too_large";
	case 429:
		return "rate_limit_error";
	case 504:
		return "timeout_error";
	case 529:
		return "overloaded_error";
	}
	return status < 500 ? "invalid_request_error" : "api_error";
}

static void
put_error(struct buf *out, const char *type, struct str message, struct str request_id)
{
	struct json_w w = json_w(out);

	jw_obj(&w);
	jw_kz(&w, "type", "error");
	jw_key(&w, "error");
	jw_obj(&w);
	jw_kz(&w, "type", type);
	jw_kstr(&w, "message", message);
	jw_obj_end(&w);
	jw_kstr(&w, "request_id", request_id);
	jw_obj_end(&w);
}

static void
error_body(void *owner, struct buf *out, const struct err *e, struct str request_id)
{
	(void)owner;
	put_error(out, err_api_type(e->kind), str_z(e->msg), request_id);
}

/* The error that the script asks for. */
static void
reply_fault(struct server_req *r, const struct answer *m)
{
	AUTO(buf) struct buf b = {0};
	char ms[24];

	buf_init(&b, 4096);
	if (m->has_retry_after) {
		snprintf(ms, sizeof(ms), "%llu", (unsigned long long)m->retry_after_ms);
		server_req_add_header(r, "retry-after-ms", str_z(ms));
		snprintf(ms, sizeof(ms), "%llu", (unsigned long long)(m->retry_after_ms + 999) / 1000);
		server_req_add_header(r, "retry-after", str_z(ms));
	}
	put_error(&b, error_type(m->status),
		m->status == 529 ? STR("Overloaded") : STR("The script asked for this error"),
		server_req_id(r));
	server_reply_json(r, m->status, buf_str(&b));
}

/* ---- messages ---- */

static void
reply_garbage(struct server_req *r)
{
	struct rc_bytes *b = rc_bytes_new(STR(GARBAGE));
	struct err e;

	if (!b) {
		err_set(&e, ERR_NO_MEMORY, "answer");
		server_reply_error(r, &e);
		return;
	}
	server_reply_bytes(r, 200, "text/event-stream; charset=utf-8", b);
}

static int
reply_stream(struct puppet *p, struct server_req *r, const struct answer *m, struct err *e)
{
	AUTO(events) struct events ev = {0};
	int rc;

	events_init(&ev);
	rc = answer_stream(m, &ev, e);
	if (rc == 0 && m->fail.n) {
		if (m->events < ev.n) {
			ev.n = m->events;
			ev.bytes.n = ev.n ? ev.ends[ev.n - 1] : 0;
		}
		rc = events_put_error(&ev, m->fail, e);
	}
	if (rc == 0)
		player_start(p->l, r, m, &ev);
	return rc;
}

static int
reply_message(struct server_req *r, const struct answer *m, struct err *e)
{
	AUTO(buf) struct buf b = {0};
	int rc;

	buf_init(&b, ANSWER_BYTES_MAX);
	answer_message(m, &b);
	rc = buf_check(&b, e);
	if (rc == 0)
		server_reply_json(r, 200, buf_str(&b));
	return rc;
}

static uint64_t
attempt_of(const struct server_req *r)
{
	uint64_t n = 0;

	return str_to_u64(server_req_header(r, "x-stainless-retry-count"), &n) ? n : 0;
}

static int
on_messages(struct puppet *p, struct server_req *r, struct err *e)
{
	struct str body = server_req_body(r);
	struct arena *a = server_req_arena(r);
	AUTO(json) struct json_t *request = NULL;
	struct conversation *c = arena_alloc(a, sizeof(*c));
	struct answer *m = arena_alloc(a, sizeof(*m));
	int rc = c && m ? json_parse(body, &request, e) : arena_check(a, e);

	if (rc == 0)
		rc = conversation_read(request, a, c, e);
	if (rc < 0)
		return rc;
	c->attempt = attempt_of(r);
	c->request_bytes = body.n;
	rc = answer_make(c, a, m, e);
	if (rc < 0)
		return rc;
	if (m->status) {
		reply_fault(r, m);
		return 0;
	}
	if (m->garbage) {
		reply_garbage(r);
		return 0;
	}
	return c->stream ? reply_stream(p, r, m, e) : reply_message(r, m, e);
}

static void
on_models(struct server_req *r)
{
	server_reply_json(r, 200,
		STR("{\"data\":[{\"type\":\"model\",\"id\":\"puppet\",\"display_name\":\"Puppet (scripted)\","
		    "\"created_at\":\"2026-01-01T00:00:00Z\"}],\"has_more\":false,\"first_id\":\"puppet\","
		    "\"last_id\":\"puppet\"}"));
}

static void
on_request(void *owner, struct server_req *r)
{
	struct puppet *p = owner;
	struct str method = server_req_method(r), path = server_req_path(r);
	struct err e = {0};
	int rc = 0;

	if (str_eqz(path, "/v1/messages") && str_eqz(method, "POST"))
		rc = on_messages(p, r, &e);
	else if (str_eqz(path, "/v1/models") && str_eqz(method, "GET"))
		on_models(r);
	else
		rc = err_set(&e, ERR_NOT_FOUND, "Not found");
	if (rc < 0)
		server_reply_error(r, &e);
}

/* ---- the role ---- */

static void
on_stop(void *owner)
{
	struct puppet *p = owner;

	loop_stop(p->l);
}

static int
take_listener(struct leash_start *s, struct err *e)
{
	if (s->n_listens != 1)
		return err_set(e, ERR_INVALID, "the puppet needs one listening socket");
	return MOVE_FD(s->listens[0].fd);
}

static int
puppet_init(struct puppet *p, struct leash_start *s, struct err *e)
{
	static const struct server_limits lim = {
		.max_body = LIM_MODEL_REQUEST,
		.max_conns = CONNS_MAX,
		.head_ms = LIM_HTTP_HEAD_MS,
		.body_ms = LIM_HTTP_BODY_MS,
		.idle_ms = LIM_HTTP_IDLE_MS,
		.write_ms = LIM_HTTP_WRITE_MS,
	};
	const struct server_ops so = {.owner = p, .on_request = on_request, .error_body = error_body};
	const struct leash_ops lo = {.owner = p, .on_stop = on_stop};
	int rc = loop_new(&p->l, e);
	int fd = rc < 0 ? rc : take_listener(s, e);

	if (fd < 0)
		return fd;
	rc = server_new(&p->server, p->l, fd, &so, &lim, e);
	return rc < 0 ? rc : leash_attach(&p->leash, p->l, &lo, e);
}

static int
start(struct puppet *p, struct leash_start *s, struct err *e)
{
	int rc = leash_start(s, e);

	if (rc < 0)
		return rc;
	struct confine_opts o = {
		.profile = CONFINE_PUPPET,
		.uid = (unsigned)json_get_int(s->config, "uid", 0),
		.gid = (unsigned)json_get_int(s->config, "gid", 0),
		.empty_netns = true,
	};

	rc = confine(&o, e);
	return rc < 0 ? rc : puppet_init(p, s, e);
}

int
puppet_main(void)
{
	struct leash_start s = {0};
	struct puppet p = {0};
	struct err e = {0};

	if (start(&p, &s, &e) < 0) {
		int code = leash_failed(&e);

		log_error("puppet.start", LOG_ERR(&e));
		leash_start_done(&s);
		return code;
	}
	leash_start_done(&s);
	leash_ready(p.leash, STR("the scripted model"));
	loop_run(p.l);
	server_free(p.server);
	leash_free(p.leash);
	loop_free(p.l);
	return 0;
}
