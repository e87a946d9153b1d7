/* SPDX-License-Identifier: Apache-2.0 */
/*
 * libcurl tells which sockets and which timer it wants (on_socket, on_timer_wish); the loop tells what
 * happened (drive); then finished calls are collected. Nothing calls into libcurl from inside its own
 * callbacks: what they want is done from the loop.
 */
#include "gate/uplink.h"

#include <curl/curl.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/limits.h"
#include "gate/wipe_alloc.h"
#include "io/http1.h"

enum {
	IDLE_CONNECTIONS = 64,
	IDLE_CONNECTION_S = 50,
	SWEEP_MS = 1000,
	HEADER_VALUE_MAX = 1024,
};

struct uplink_call {
	struct uplink *u;
	struct uplink_call *prev, *next;
	CURL *easy;
	struct curl_slist *headers;
	void *data;
	uint64_t asked_us, began_us, first_us;
	uint64_t moved_us; /* when bytes moved last */
	uint64_t idle_ms, total_ms;
	curl_off_t uploaded;
	size_t received;
	struct buf head;
	bool has_head, paused, overflow;
	struct err broken; /* the response is not what it should be */
	char trouble[CURL_ERROR_SIZE];
};

struct uplink {
	struct loop *l;
	struct uplink_opts o;
	CURLM *multi;
	struct uplink_call *calls;
	struct loop_timer *timer, *sweep;
	uint64_t sweep_ms;    /* 0: the sweep does not run */
	struct loop_task now; /* the timer is due at once */
};

/* ---- the end of a call ---- */

static void
call_free(struct uplink_call *c)
{
	struct uplink *u = c->u;

	if (c->prev)
		c->prev->next = c->next;
	else if (u->calls == c)
		u->calls = c->next;
	if (c->next)
		c->next->prev = c->prev;
	if (c->easy) {
		curl_multi_remove_handle(u->multi, c->easy);
		curl_easy_cleanup(c->easy);
	}
	curl_slist_free_all(c->headers);
	buf_done(&c->head);
	free(c);
	if (!u->calls) {
		loop_timer_stop(u->sweep);
		u->sweep_ms = 0;
	}
}

static void
finish(struct uplink_call *c, enum gate_outcome outcome, const char *text)
{
	struct uplink *u = c->u;
	void *data = c->data;
	curl_off_t left = 0;
	struct uplink_end end = {
		.outcome = outcome,
		.text = str_z(text),
		.first_us = c->first_us ? c->first_us - c->asked_us : 0,
	};

	curl_easy_getinfo(c->easy, CURLINFO_PRETRANSFER_TIME_T, &left);
	if (left > 0)
		end.sent_us = c->began_us - c->asked_us + (uint64_t)left;
	call_free(c);
	u->o.on_end(u->o.owner, data, &end);
}

/* A timeout of libcurl's can only be the one of connecting: silence later is ours to notice. */
static bool
is_connect_trouble(CURLcode code)
{
	static const CURLcode codes[] = {CURLE_COULDNT_RESOLVE_PROXY, CURLE_COULDNT_RESOLVE_HOST,
		CURLE_COULDNT_CONNECT, CURLE_OPERATION_TIMEDOUT, CURLE_SSL_CONNECT_ERROR,
		CURLE_PEER_FAILED_VERIFICATION, CURLE_SSL_CACERT_BADFILE, CURLE_SSL_CERTPROBLEM,
		CURLE_SSL_CIPHER, CURLE_SSL_ISSUER_ERROR, CURLE_SSL_INVALIDCERTSTATUS, CURLE_PROXY,
		CURLE_URL_MALFORMAT, CURLE_INTERFACE_FAILED};

	for (size_t i = 0; i < ARRAY_LEN(codes); i++)
		if (codes[i] == code)
			return true;
	return false;
}

static void
finish_with_code(struct uplink_call *c, CURLcode code)
{
	char text[256];

	if (c->overflow) {
		snprintf(text, sizeof(text), "the response is over %zu bytes", c->u->o.max_response);
		finish(c, GATE_REFUSED, text);
	} else if (c->broken.kind) {
		snprintf(text, sizeof(text), "%s", c->broken.msg);
		finish(c, GATE_CUT, text);
	} else if (code == CURLE_OK) {
		finish(c, GATE_COMPLETE, "");
	} else {
		snprintf(text, sizeof(text), "%s", *c->trouble ? c->trouble : curl_easy_strerror(code));
		finish(c, !c->has_head && is_connect_trouble(code) ? GATE_UNREACHABLE : GATE_CUT, text);
	}
}

static void
collect(struct uplink *u)
{
	CURLMsg *m;
	int left;

	while ((m = curl_multi_info_read(u->multi, &left))) {
		struct uplink_call *c = NULL;

		if (m->msg != CURLMSG_DONE)
			continue;
		CURLcode code = m->data.result;

		curl_easy_getinfo(m->easy_handle, CURLINFO_PRIVATE, &c);
		if (c)
			finish_with_code(c, code);
	}
}

/* ---- the loop's side ---- */

static void
drive(struct uplink *u, curl_socket_t fd, int mask)
{
	int running;

	curl_multi_socket_action(u->multi, fd, mask, &running);
	collect(u);
}

struct watch {
	struct uplink *u;
	curl_socket_t fd;
	struct loop_io *io;
};

static void
on_ready(void *arg, unsigned events)
{
	struct watch *w = arg;
	int mask = (events & LOOP_READ ? CURL_CSELECT_IN : 0) | (events & LOOP_WRITE ? CURL_CSELECT_OUT : 0);

	drive(w->u, w->fd, mask); /* may free w */
}

static int
on_socket(CURL *easy, curl_socket_t fd, int what, void *arg, void *of_socket)
{
	struct uplink *u = arg;
	struct watch *w = of_socket;

	(void)easy;
	if (what == CURL_POLL_REMOVE) {
		if (w)
			loop_io_free(w->io);
		free(w);
		return 0;
	}
	if (!w) {
		w = calloc(1, sizeof(*w));
		if (w) {
			*w = (struct watch){.u = u, .fd = fd};
			w->io = loop_io_new(u->l, fd, on_ready, w);
		}
		if (!w || !w->io) {
			free(w);
			return -1;
		}
		curl_multi_assign(u->multi, fd, w);
	}
	loop_io_want(w->io, (what & CURL_POLL_IN ? LOOP_READ : 0) | (what & CURL_POLL_OUT ? LOOP_WRITE : 0));
	return 0;
}

static void
on_due(void *arg)
{
	drive(arg, CURL_SOCKET_TIMEOUT, 0);
}

static int
on_timer_wish(CURLM *multi, long ms, void *arg)
{
	struct uplink *u = arg;

	(void)multi;
	loop_timer_stop(u->timer);
	loop_task_cancel(u->l, &u->now);
	if (ms == 0)
		loop_task_post(u->l, &u->now);
	else if (ms > 0)
		loop_timer_start(u->timer, (uint64_t)ms, 0);
	return 0;
}

/* Whether silence of the provider is to be blamed: not while libcurl still connects, which has a limit of its
 * own, or we read nothing. */
static bool
is_waiting(struct uplink_call *c)
{
	curl_off_t up = 0, began = 0;

	curl_easy_getinfo(c->easy, CURLINFO_PRETRANSFER_TIME_T, &began);
	curl_easy_getinfo(c->easy, CURLINFO_SIZE_UPLOAD_T, &up);
	bool moving = up != c->uploaded;

	c->uploaded = up;
	return began > 0 && !moving && !c->paused;
}

/* A provider that sends bytes for ever, comments or pings say, is not silent: the whole has a limit too. */
static void
check_time(struct uplink_call *c, uint64_t now)
{
	char text[80];

	if (!is_waiting(c))
		c->moved_us = now;
	if (now - c->began_us >= c->total_ms * 1000)
		snprintf(text, sizeof(text), "not complete after %llu ms", (unsigned long long)c->total_ms);
	else if (now - c->moved_us >= c->idle_ms * 1000)
		snprintf(text, sizeof(text), "no byte for %llu ms", (unsigned long long)c->idle_ms);
	else
		return;
	finish(c, GATE_TIMEOUT, text);
}

static void
on_sweep(void *arg)
{
	struct uplink *u = arg;
	uint64_t now = clock_mono_us();

	for (struct uplink_call *c = u->calls, *next; c; c = next) {
		next = c->next;
		check_time(c, now);
	}
}

/* Sweeps often enough for this call. */
static void
sweep_for(struct uplink *u, const struct uplink_call *c)
{
	uint64_t least = c->idle_ms < c->total_ms ? c->idle_ms : c->total_ms;
	uint64_t every = least < 4 * SWEEP_MS ? least / 4 + 1 : SWEEP_MS;

	if (u->sweep_ms && u->sweep_ms <= every)
		return;
	u->sweep_ms = every;
	loop_timer_start(u->sweep, every, every);
}

/* ---- the response ---- */

static bool
parse_retry_after(const struct http_head *h, uint64_t *ms)
{
	struct str exact = http_header_get(h, "retry-after-ms");
	struct str text = http_header_get(h, "retry-after");
	struct str whole = str_sub(text, 0, str_find(text, '.'));
	char z[64];
	uint64_t s;

	if (exact.p && str_to_u64(exact, ms))
		return true;
	if (!text.p)
		return false;
	if (str_to_u64(whole, &s) && s < UINT64_MAX / 1000) {
		*ms = s * 1000;
		return true;
	}
	time_t at = str_copy_z(text, z, sizeof(z)) ? curl_getdate(z, NULL) : -1;
	uint64_t now = clock_wall_us() / 1000000;

	if (at < 0)
		return false;
	*ms = (uint64_t)at > now ? ((uint64_t)at - now) * 1000 : 0;
	return true;
}

/* The head is complete: our own parser has the last word on it. */
static int
take_head(struct uplink_call *c)
{
	static const struct http_limits lim = {LIM_HTTP_LINE, LIM_HTTP_HEAD, LIM_HTTP_HEADERS};
	struct http_head *h = calloc(1, sizeof(*h));
	size_t used;
	int rc;

	if (!h)
		return err_set(&c->broken, ERR_NO_MEMORY, "response head");
	rc = http_parse_response(buf_str(&c->head), &lim, h, &used, &c->broken);
	if (rc == 0)
		rc = err_set(&c->broken, ERR_INVALID, "the response head is incomplete");
	else if (rc < 0)
		err_wrap(&c->broken, "the response head is refused");
	if (rc > 0 && h->status >= 200) {
		struct uplink_head out = {
			.status = h->status,
			.content_type = http_header_get(h, "content-type"),
			.request_id = http_header_get(h, "request-id"),
		};

		out.has_retry_after = parse_retry_after(h, &out.retry_after_ms);
		c->has_head = true;
		c->u->o.on_head(c->u->o.owner, c->data, &out);
	}
	free(h);
	return rc < 0 ? rc : 0;
}

static void
moved(struct uplink_call *c)
{
	c->moved_us = clock_mono_us();
	if (!c->first_us)
		c->first_us = c->moved_us;
}

static size_t
on_header(char *p, size_t one, size_t n, void *arg)
{
	struct uplink_call *c = arg;
	struct str line = str_n(p, one * n);

	moved(c);
	if (c->has_head)
		return line.n; /* trailers */
	if (str_starts(line, STR("HTTP/")))
		buf_clear(&c->head);
	buf_put_str(&c->head, line);
	if (c->head.fail) {
		err_set(&c->broken, ERR_TOO_LARGE, "the response head is over %u bytes",
			(unsigned)LIM_HTTP_HEAD);
		return 0;
	}
	if (str_eqz(line, "\r\n") && take_head(c) < 0)
		return 0;
	return line.n;
}

static size_t
on_body(char *p, size_t one, size_t n, void *arg)
{
	struct uplink_call *c = arg;
	struct str piece = str_n(p, one * n);

	moved(c);
	if (c->received + piece.n > c->u->o.max_response) {
		c->overflow = true;
		return 0;
	}
	if (!c->u->o.on_data(c->u->o.owner, c->data, piece)) {
		c->paused = true;
		return CURL_WRITEFUNC_PAUSE;
	}
	c->received += piece.n;
	return piece.n;
}

/* ---- the request ---- */

static bool
is_header_value(struct str s)
{
	for (size_t i = 0; i < s.n; i++)
		if (s.p[i] < ' ' || s.p[i] > '~')
			return false;
	return s.n <= HEADER_VALUE_MAX;
}

static int
add_header(struct uplink_call *c, const char *line, struct err *e)
{
	struct curl_slist *more = curl_slist_append(c->headers, line);

	if (!more)
		return err_set(e, ERR_NO_MEMORY, "request headers");
	c->headers = more;
	return 0;
}

static void
add_key(const char *line, void *arg)
{
	struct uplink_call *c = arg;

	if (add_header(c, line, NULL) < 0)
		err_set(&c->broken, ERR_NO_MEMORY, "request headers");
}

static int
put_headers(struct uplink_call *c, const struct uplink_request *r, struct err *e)
{
	static const char *const fixed[] = {"anthropic-version: 2023-06-01", "content-type: application/json",
		"accept: text/event-stream", "Expect:"};
	char line[HEADER_VALUE_MAX + 32];
	int rc = 0;

	if (!is_header_value(r->beta))
		return err_set(e, ERR_INVALID, "the anthropic-beta header holds what no header may");
	for (size_t i = 0; rc == 0 && i < ARRAY_LEN(fixed); i++)
		rc = add_header(c, fixed[i], e);
	snprintf(line, sizeof(line), "x-stainless-retry-count: %llu", (unsigned long long)r->retries);
	if (rc == 0)
		rc = add_header(c, line, e);
	snprintf(line, sizeof(line), "anthropic-beta: %.*s", STRF(r->beta));
	if (rc == 0 && r->beta.n)
		rc = add_header(c, line, e);
	if (rc == 0)
		rc = provider_with_key(r->provider, add_key, c, e);
	if (rc == 0 && c->broken.kind)
		rc = err_set(e, ERR_NO_MEMORY, "request headers");
	return rc;
}

/* False when libcurl has no memory. */
static bool
put_options(struct uplink_call *c, const struct uplink_request *r)
{
	CURL *x = c->easy;
	const struct uplink_opts *o = &c->u->o;
	CURLcode rc = 0;

	rc |= curl_easy_setopt(x, CURLOPT_URL, r->provider->url);
	rc |= curl_easy_setopt(x, CURLOPT_PROTOCOLS_STR, "http,https");
	rc |= curl_easy_setopt(x, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
	rc |= curl_easy_setopt(x, CURLOPT_SSLVERSION, (long)CURL_SSLVERSION_TLSv1_2);
	rc |= curl_easy_setopt(x, CURLOPT_PROXY, r->provider->proxy);
	rc |= curl_easy_setopt(x, CURLOPT_SUPPRESS_CONNECT_HEADERS, 1L);
	rc |= curl_easy_setopt(x, CURLOPT_NOSIGNAL, 1L);
	rc |= curl_easy_setopt(x, CURLOPT_CONNECTTIMEOUT_MS, (long)o->connect_ms);
	rc |= curl_easy_setopt(x, CURLOPT_MAXAGE_CONN, (long)IDLE_CONNECTION_S);
	rc |= curl_easy_setopt(x, CURLOPT_TCP_KEEPALIVE, 1L);
	rc |= curl_easy_setopt(x, CURLOPT_USERAGENT, "pinfold/" PINFOLD_VERSION);
	rc |= curl_easy_setopt(x, CURLOPT_HTTPHEADER, c->headers);
	rc |= curl_easy_setopt(x, CURLOPT_POST, 1L);
	rc |= curl_easy_setopt(x, CURLOPT_POSTFIELDS, r->body.p);
	rc |= curl_easy_setopt(x, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)r->body.n);
	rc |= curl_easy_setopt(x, CURLOPT_HEADERFUNCTION, on_header);
	rc |= curl_easy_setopt(x, CURLOPT_HEADERDATA, c);
	rc |= curl_easy_setopt(x, CURLOPT_WRITEFUNCTION, on_body);
	rc |= curl_easy_setopt(x, CURLOPT_WRITEDATA, c);
	rc |= curl_easy_setopt(x, CURLOPT_ERRORBUFFER, c->trouble);
	rc |= curl_easy_setopt(x, CURLOPT_PRIVATE, c);
	if (o->ca_file)
		rc |= curl_easy_setopt(x, CURLOPT_CAINFO, o->ca_file);
	return rc == CURLE_OK;
}

static int
call_begin(struct uplink_call *c, const struct uplink_request *r, struct err *e)
{
	int rc = put_headers(c, r, e);

	if (rc < 0)
		return rc;
	c->easy = curl_easy_init();
	if (!c->easy || !put_options(c, r))
		return err_set(e, ERR_NO_MEMORY, "request");
	c->began_us = c->moved_us = clock_mono_us();
	if (curl_multi_add_handle(c->u->multi, c->easy) != CURLM_OK)
		return err_set(e, ERR_NO_MEMORY, "request");
	return 0;
}

int
uplink_start(struct uplink *u, const struct uplink_request *r, struct uplink_call **out, struct err *e)
{
	struct uplink_call *c = calloc(1, sizeof(*c));

	if (!c)
		return err_set(e, ERR_NO_MEMORY, "request");
	c->u = u;
	c->data = r->data;
	c->asked_us = r->asked_us;
	buf_init(&c->head, LIM_HTTP_HEAD);
	c->next = u->calls;
	if (c->next)
		c->next->prev = c;
	u->calls = c;
	c->idle_ms = r->provider->idle_ms ? r->provider->idle_ms : u->o.idle_ms;
	c->total_ms = r->provider->total_ms ? r->provider->total_ms : u->o.total_ms;
	sweep_for(u, c);
	int rc = call_begin(c, r, e);

	if (rc < 0)
		call_free(c);
	else
		*out = c;
	return rc;
}

void
uplink_cancel(struct uplink_call *c)
{
	finish(c, GATE_CANCELLED, "cancelled");
}

void
uplink_resume(struct uplink *u)
{
	for (struct uplink_call *c = u->calls; c; c = c->next) {
		if (!c->paused)
			continue;
		c->paused = false;
		/* Gives the refused piece again, from inside. */
		curl_easy_pause(c->easy, CURLPAUSE_CONT);
	}
	drive(u, CURL_SOCKET_TIMEOUT, 0);
}

/* ---- life ---- */

static bool
multi_setup(struct uplink *u)
{
	CURLMcode rc = 0;

	rc |= curl_multi_setopt(u->multi, CURLMOPT_SOCKETFUNCTION, on_socket);
	rc |= curl_multi_setopt(u->multi, CURLMOPT_SOCKETDATA, u);
	rc |= curl_multi_setopt(u->multi, CURLMOPT_TIMERFUNCTION, on_timer_wish);
	rc |= curl_multi_setopt(u->multi, CURLMOPT_TIMERDATA, u);
	rc |= curl_multi_setopt(u->multi, CURLMOPT_MAXCONNECTS, (long)IDLE_CONNECTIONS);
	rc |= curl_multi_setopt(u->multi, CURLMOPT_PIPELINING, (long)CURLPIPE_NOTHING);
	return rc == CURLM_OK;
}

int
uplink_new(struct uplink **out, struct loop *l, const struct uplink_opts *o, struct err *e)
{
	struct uplink *u = calloc(1, sizeof(*u));

	if (!u)
		return err_set(e, ERR_NO_MEMORY, "uplink");
	u->l = l;
	u->o = *o;
	u->now = (struct loop_task){.fn = on_due, .arg = u};
	u->timer = loop_timer_new(l, on_due, u);
	u->sweep = loop_timer_new(l, on_sweep, u);
	u->multi = wipe_alloc_install() == 0 ? curl_multi_init() : NULL;
	if (!u->timer || !u->sweep || !u->multi || !multi_setup(u)) {
		uplink_free(u);
		return err_set(e, ERR_NO_MEMORY, "uplink");
	}
	*out = u;
	return 0;
}

void
uplink_free(struct uplink *u)
{
	if (!u)
		return;
	while (u->calls)
		call_free(u->calls);
	if (u->multi)
		curl_multi_cleanup(u->multi);
	loop_task_cancel(u->l, &u->now);
	loop_timer_free(u->sweep);
	loop_timer_free(u->timer);
	free(u);
	curl_global_cleanup();
}
