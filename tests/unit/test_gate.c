/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The gate as a role of its own, confined as in real life, between this test (as supervise and control) and a
 * provider that behaves as the path of its URL says. Needs root for the confinement.
 */
#include "unit.h"

#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/frame.h"
#include "base/json.h"
#include "base/limits.h"
#include "gate/gate.h"
#include "gate_provider.h"
#include "io/calls.h"
#include "io/loop.h"
#include "io/rpc.h"

#define KEY "sk-test-0123456789"

/* ---- the test as supervise and control ---- */

struct call {
	bool head, done;
	int status;
	char content_type[64], retry[24], request_id[64];
	struct buf data;
	uint64_t outcome, sent_us, first_us;
	char text[256];
};

struct fixture {
	pid_t gate;
	struct loop *l;
	struct rpc_peer *leash, *control;
	bool ready, providers, leash_closed, control_closed;
	struct call calls[512];
	size_t done;
};

static struct fixture f;

static struct call *
call_of(const struct rpc_msg *m)
{
	assert_in_range(m->f.call, 1, ARRAY_LEN(f.calls) - 1);
	return &f.calls[m->f.call];
}

static int
on_head(void *owner, struct rpc_peer *p, struct rpc_msg *m, struct err *e)
{
	struct frame_r r = frame_r(m->f.payload);
	struct call *c = call_of(m);

	(void)owner, (void)p;
	assert_false(c->head || c->done);
	c->head = true;
	c->status = (int)frame_get_u64(&r);
	str_copy_z(frame_get_str(&r), c->content_type, sizeof(c->content_type));
	str_copy_z(frame_get_str(&r), c->retry, sizeof(c->retry));
	str_copy_z(frame_get_str(&r), c->request_id, sizeof(c->request_id));
	return frame_done(&r, e);
}

static int
on_data(void *owner, struct rpc_peer *p, struct rpc_msg *m, struct err *e)
{
	struct frame_r r = frame_r(m->f.payload);
	struct call *c = call_of(m);

	(void)owner, (void)p;
	assert_true(c->head && !c->done);
	buf_put_str(&c->data, frame_get_str(&r));
	return frame_done(&r, e);
}

static int
on_done(void *owner, struct rpc_peer *p, struct rpc_msg *m, struct err *e)
{
	struct frame_r r = frame_r(m->f.payload);
	struct call *c = call_of(m);

	(void)owner, (void)p;
	assert_false(c->done);
	c->done = true;
	c->outcome = frame_get_u64(&r);
	str_copy_z(frame_get_str(&r), c->text, sizeof(c->text));
	c->sent_us = frame_get_u64(&r);
	c->first_us = frame_get_u64(&r);
	f.done++;
	assert_null(strstr(c->text, KEY));
	return frame_done(&r, e);
}

static int
on_providers(void *owner, struct rpc_peer *p, struct rpc_msg *m, struct err *e)
{
	struct frame_r r = frame_r(m->f.payload);
	struct str text = frame_get_str(&r);

	(void)owner, (void)p;
	assert_true(str_starts(text, STR("[{\"name\":\"ok\",\"reachable\":null}")));
	f.providers = true;
	return frame_done(&r, e);
}

static const struct rpc_permit control_permits[] = {
	{.type = GATE_MODEL_HEAD, .max = 4096, .on = on_head},
	{.type = GATE_MODEL_DATA, .max = LIM_FRAME_ROLE, .on = on_data},
	{.type = GATE_MODEL_DONE, .max = 4096, .on = on_done},
	{.type = GATE_PROVIDERS, .max = LIM_FRAME_ROLE, .on = on_providers},
};

static int
on_ready(void *owner, struct rpc_peer *p, struct rpc_msg *m, struct err *e)
{
	(void)owner, (void)p, (void)m, (void)e;
	f.ready = true;
	return 0;
}

static int
on_failed(void *owner, struct rpc_peer *p, struct rpc_msg *m, struct err *e)
{
	(void)owner, (void)p;
	return err_set(e, ERR_CORRUPT, "the gate failed: %.*s", STRF(m->f.payload));
}

static const struct rpc_permit leash_permits[] = {
	{.type = LEASH_READY, .max = 4096, .on = on_ready},
	{.type = LEASH_FAILED, .max = 4096, .on = on_failed},
};

static void
on_close(void *owner, struct rpc_peer *p, const struct err *why)
{
	bool *closed = owner;

	(void)p, (void)why;
	*closed = true;
}

static struct rpc_peer *
peer(int fd, const struct rpc_permit *permits, size_t n, bool *closed)
{
	struct rpc_opts o = {
		.name = "gate", .permits = permits, .n_permits = n, .owner = closed, .on_close = on_close};
	struct rpc_peer *p = NULL;
	struct err e;

	assert_int_equal(rpc_peer_new(&p, f.l, fd, &o, &e), 0);
	return p;
}

/* Turns the loop until the flag is set; an alarm ends a test that hangs. */
static void
run_until(const bool *flag)
{
	while (!*flag) {
		assert_false(f.leash_closed);
		if (!loop_step(f.l))
			break;
		usleep(200);
	}
}

static void
run_until_done(size_t n)
{
	while (f.done < n) {
		assert_false(f.leash_closed || f.control_closed);
		loop_step(f.l);
		usleep(200);
	}
}

static void
send_frame(struct rpc_peer *p, uint16_t type, struct str text, int fd)
{
	AUTO(buf) struct buf b = {0};

	buf_init(&b, LIM_FRAME_ROLE);
	struct frame_w w = frame_begin(&b, type, 0);
	if (text.p)
		frame_str(&w, text);
	if (type == LEASH_PEER)
		frame_u64(&w, 1);
	frame_end(&w, fd >= 0 ? FRAME_FD : 0);
	if (fd >= 0)
		rpc_send_fd(p, &b, fd);
	else
		rpc_send(p, &b);
}

static void
put_slice(struct buf *b)
{
	struct json_w w = json_w(b);
	char url[128];

	jw_obj(&w);
	jw_kint(&w, "uid", 64801);
	jw_kint(&w, "gid", 64801);
	jw_kint(&w, "idle_ms", 400);
	jw_kint(&w, "connect_ms", 300);
	jw_key(&w, "providers");
	jw_arr(&w);
	for (size_t i = 0; i < ARRAY_LEN(behaviours); i++) {
		snprintf(url, sizeof(url), "http://127.0.0.1:%u/%s", provider_port, behaviours[i].name);
		jw_obj(&w);
		jw_kz(&w, "name", behaviours[i].name);
		jw_kz(&w, "url", url);
		jw_kz(&w, "auth", i % 2 ? "bearer" : "x-api-key");
		jw_kz(&w, "secret", behaviours[i].name);
		jw_obj_end(&w);
	}
	jw_raw(&w, STR("{\"name\":\"away\",\"url\":\"http://127.0.0.1:1\",\"auth\":\"none\"}"));
	jw_raw(&w, STR("{\"name\":\"nokey\",\"url\":\"http://"
		       "127.0.0.1:1\",\"auth\":\"bearer\",\"key_from\":\"THE_KEY\"}"));
	snprintf(url, sizeof(url), "https://127.0.0.1:%u", provider_port);
	jw_obj(&w);
	jw_kz(&w, "name", "tls");
	jw_kz(&w, "url", url);
	jw_kz(&w, "auth", "none");
	jw_obj_end(&w);
	jw_raw(&w, STR("{\"name\":\"noname\",\"url\":\"http://nothing.invalid\",\"auth\":\"none\"}"));
	jw_arr_end(&w);
	jw_obj_end(&w);
}

static int
secret_fd(void)
{
	int fd = memfd_create("k", MFD_CLOEXEC);

	assert_true(fd >= 0 && write(fd, KEY, strlen(KEY)) == (ssize_t)strlen(KEY));
	return fd;
}

NORETURN static void
be_gate(int leash)
{
	if (dup2(leash, LEASH_FD) < 0)
		_exit(99);
	close_range(LEASH_FD + 1, ~0u, 0);
	_exit(gate_main());
}

static void
send_start(void)
{
	AUTO(buf) struct buf b = {0};
	int pair[2];

	buf_init(&b, LIM_FRAME_ROLE);
	put_slice(&b);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
	send_frame(f.leash, LEASH_CONFIG, buf_str(&b), -1);
	send_frame(f.leash, LEASH_PEER, STR("control"), pair[1]);
	for (size_t i = 0; i < ARRAY_LEN(behaviours); i++)
		send_frame(f.leash, LEASH_SECRET, str_z(behaviours[i].name), secret_fd());
	send_frame(f.leash, LEASH_GO, STR_NULL, -1);
	f.control = peer(pair[0], control_permits, ARRAY_LEN(control_permits), &f.control_closed);
}

static int
setup(void **state)
{
	int pair[2];
	pthread_t t;
	struct err e;

	(void)state;
	if (geteuid() != 0)
		return 0;
	open_provider();
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
	f.gate = fork();
	if (f.gate == 0)
		be_gate(pair[1]);
	assert_true(f.gate > 0);
	close(pair[1]);
	assert_int_equal(pthread_create(&t, NULL, serve_all, NULL), 0);
	pthread_detach(t);
	assert_int_equal(loop_new(&f.l, &e), 0);
	f.leash = peer(pair[0], leash_permits, ARRAY_LEN(leash_permits), &f.leash_closed);
	send_start();
	run_until(&f.ready);
	run_until(&f.providers);
	return 0;
}

static int
teardown(void **state)
{
	int status = -1;

	(void)state;
	if (geteuid() != 0)
		return 0;
	send_frame(f.leash, LEASH_STOP, STR_NULL, -1);
	assert_int_equal(waitpid(f.gate, &status, 0), f.gate);
	assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
	rpc_peer_free(f.control);
	rpc_peer_free(f.leash);
	while (loop_step(f.l))
		usleep(200);
	loop_free(f.l);
	return 0;
}

static void
begin(uint64_t id, const char *provider, uint64_t length)
{
	AUTO(buf) struct buf b = {0};

	buf_init(&b, 4096);
	struct frame_w w = frame_begin(&b, GATE_MODEL_BEGIN, id);
	frame_str(&w, str_z(provider));
	frame_u64(&w, length);
	frame_u64(&w, 3);
	frame_str(&w, STR("beta-1,beta-2"));
	frame_end(&w, 0);
	rpc_send(f.control, &b);
}

static void
body(uint64_t id, struct str piece)
{
	AUTO(buf) struct buf b = {0};

	buf_init(&b, LIM_FRAME_ROLE);
	struct frame_w w = frame_begin(&b, GATE_MODEL_BODY, id);
	frame_str(&w, piece);
	frame_end(&w, 0);
	rpc_send(f.control, &b);
}

static void
cancel(uint64_t id)
{
	AUTO(buf) struct buf b = {0};

	buf_init(&b, 64);
	struct frame_w w = frame_begin(&b, GATE_MODEL_CANCEL, id);
	frame_end(&w, 0);
	rpc_send(f.control, &b);
}

static struct call *
start(uint64_t id, const char *provider)
{
	struct call *c = &f.calls[id];

	buf_done(&c->data);
	*c = (struct call){0};
	buf_init(&c->data, 64 * MIB);
	begin(id, provider, 4);
	body(id, STR("{}"));
	body(id, STR("\n\n"));
	return c;
}

static void
clear(void)
{
	for (size_t i = 0; i < ARRAY_LEN(f.calls); i++)
		buf_done(&f.calls[i].data);
	memset(f.calls, 0, sizeof(f.calls));
	f.done = 0;
}

static struct call *
call(const char *provider)
{
	if (geteuid() != 0) {
		print_message("needs root: the gate is confined like in real life\n");
		skip();
	}
	clear();
	struct call *c = start(1, provider);
	run_until_done(1);
	return c;
}

/* ---- tests ---- */

static void
test_request(void **state)
{
	static const char *const wanted[] = {"POST /ok/v1/messages HTTP/1.1\r\n",
		"\r\nx-api-key: " KEY "\r\n", "\r\nanthropic-version: 2023-06-01\r\n",
		"\r\ncontent-type: application/json\r\n", "\r\naccept: text/event-stream\r\n",
		"\r\nanthropic-beta: beta-1,beta-2\r\n", "\r\nx-stainless-retry-count: 3\r\n",
		"\r\nUser-Agent: pinfold/" PINFOLD_VERSION "\r\n", "\r\nContent-Length: 4\r\n"};

	(void)state;
	struct call *c = call("ok");
	assert_int_equal(c->outcome, GATE_COMPLETE);
	assert_int_equal(c->status, 200);
	assert_string_equal(c->content_type, "text/event-stream");
	assert_string_equal(c->request_id, "req_9");
	assert_string_equal(c->retry, "");
	assert_string_equal(c->text, "");
	assert_str(buf_str(&c->data), "hello world");
	assert_true(c->sent_us > 0 && c->first_us >= c->sent_us && c->first_us < 1000000);
	for (size_t i = 0; i < ARRAY_LEN(wanted); i++)
		if (!strstr(last_head, wanted[i]))
			fail_msg("no %s in %s", wanted[i], last_head);
	assert_null(strstr(last_head, "xpect:"));
	call("redirect"); /* an odd one: bearer */
	assert_non_null(strstr(last_head, "\r\nauthorization: Bearer " KEY "\r\n"));
	assert_null(strstr(last_head, "x-api-key"));
}

static void
test_outcomes(void **state)
{
	static const struct {
		const char *provider;
		enum gate_outcome outcome;
		int status;
		const char *data;
		const char *text; /* part */
	} rows[] = {
		{"cut", GATE_CUT, 200, "hello", ""},
		{"short", GATE_CUT, 200, "hello", ""},
		{"none", GATE_CUT, 0, "", "Empty reply"},
		{"garbage", GATE_CUT, 0, "", "HTTP/0.9"},
		{"badhead", GATE_CUT, 0, "", "the response head is refused"},
		{"twolengths", GATE_CUT, 0, "", "the response head is refused"},
		{"429", GATE_COMPLETE, 429, "slow", ""},
		{"529", GATE_COMPLETE, 529, "", ""},
		{"echo", GATE_COMPLETE, 401, "bad key ****************** and ******************", ""},
		{"redirect", GATE_COMPLETE, 302, "", ""},
		{"early", GATE_COMPLETE, 200, "hi", ""},
		{"stall", GATE_TIMEOUT, 200, "hello", "no byte for 400 ms"},
		{"hang", GATE_TIMEOUT, 0, "", "no byte for 400 ms"},
		{"away", GATE_UNREACHABLE, 0, "", "Failed to connect"},
		{"tls", GATE_UNREACHABLE, 0, "", ""},
		{"noname", GATE_UNREACHABLE, 0, "", "resolve"},
		{"nokey", GATE_REFUSED, 0, "", "set THE_KEY and start the server again"},
		{"unknown", GATE_REFUSED, 0, "", "there is no provider unknown"},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct call *c = call(rows[i].provider);
		if (c->outcome != rows[i].outcome || c->status != rows[i].status ||
			!strstr(c->text, rows[i].text))
			fail_msg("%s: outcome %u status %d text %s", rows[i].provider, (unsigned)c->outcome,
				c->status, c->text);
		assert_str(buf_str(&c->data), rows[i].data);
	}
	assert_string_equal(call("429")->retry, "2000");
	assert_string_equal(call("529")->retry, "35");
}

static void
test_too_big(void **state)
{
	(void)state;
	struct call *c = call("big");
	assert_int_equal(c->outcome, GATE_REFUSED);
	assert_true(c->data.n > LIM_MODEL_RESPONSE - 65536 && c->data.n <= LIM_MODEL_RESPONSE);
	assert_non_null(strstr(c->text, "the response is over"));
}

static void
test_reuse(void **state)
{
	(void)state;
	call("ok");
	int before = connections;
	for (int i = 0; i < 20; i++)
		assert_int_equal(call("ok")->outcome, GATE_COMPLETE);
	assert_int_equal(connections, before);
}

static void
test_cancel(void **state)
{
	(void)state;
	call("ok");
	clear();
	/* while it hangs, before its body is complete, and one that does not exist */
	int closed = closed_by_gate, before = requests;
	start(1, "hang");
	begin(2, "ok", 100);
	body(2, STR("abc"));
	while (requests == before)
		loop_step(f.l);
	cancel(1);
	cancel(2);
	cancel(3);
	run_until_done(2);
	assert_int_equal(f.calls[1].outcome, GATE_CANCELLED);
	assert_int_equal(f.calls[2].outcome, GATE_CANCELLED);
	while (closed_by_gate == closed)
		usleep(1000);
	/* pieces for a call that ended are no offence */
	body(2, STR("abc"));
	assert_int_equal(start(4, "ok")->done, false);
	run_until_done(3);
	assert_int_equal(f.calls[4].outcome, GATE_COMPLETE);
}

static void
test_many(void **state)
{
	enum { MANY = 300 };

	(void)state;
	call("ok");
	clear();
	for (uint64_t i = 1; i <= MANY; i++)
		start(i, i % 10 == 0 ? "529" : "ok");
	run_until_done(MANY);
	for (uint64_t i = 1; i <= MANY; i++) {
		assert_int_equal(f.calls[i].outcome, GATE_COMPLETE);
		assert_str(buf_str(&f.calls[i].data), i % 10 == 0 ? "" : "hello world");
	}
}

static void
test_large_body(void **state)
{
	static char piece[LIM_CHUNK];

	(void)state;
	call("ok");
	clear();
	memset(piece, ' ', sizeof(piece));
	buf_init(&f.calls[1].data, MIB);
	begin(1, "ok", LIM_MODEL_REQUEST);
	for (uint64_t n = 0; n < LIM_MODEL_REQUEST; n += sizeof(piece))
		body(1, str_n(piece, sizeof(piece)));
	run_until_done(1);
	assert_int_equal(f.calls[1].outcome, GATE_COMPLETE);
	assert_non_null(strstr(last_head, "\r\nContent-Length: 33554432\r\n"));
	begin(2, "ok", LIM_MODEL_REQUEST + 1);
	run_until_done(2);
	assert_int_equal(f.calls[2].outcome, GATE_REFUSED);
}

/* A control that breaks the rules is dropped; a new one is served, and the calls of the old one end. */
static void
test_new_control(void **state)
{
	int pair[2];

	(void)state;
	call("ok");
	clear();
	int closed = closed_by_gate, before = requests;
	start(1, "hang");
	while (requests == before)
		loop_step(f.l);
	begin(2, "ok", 2);
	body(2, STR("too long"));
	while (!f.control_closed) {
		loop_step(f.l);
		usleep(200);
	}
	while (closed_by_gate == closed)
		usleep(1000);
	rpc_peer_free(f.control);
	f.control_closed = f.providers = false;
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
	send_frame(f.leash, LEASH_PEER, STR("control"), pair[1]);
	f.control = peer(pair[0], control_permits, ARRAY_LEN(control_permits), &f.control_closed);
	run_until(&f.providers);
	assert_int_equal(call("ok")->outcome, GATE_COMPLETE);
}

/* How often the key stands in one mapping of the gate's memory. */
static size_t
count_keys(int mem, uint64_t from, uint64_t to)
{
	size_t n = 0, len = strlen(KEY);
	/* A sanitizer's shadow is huge and holds no bytes of the program. */
	if (to - from > GIB)
		return 0;
	char *text = malloc(to - from);

	assert_non_null(text);
	ssize_t got = pread(mem, text, to - from, (off_t)from);
	for (char *p = text; got > 0 && (p = memmem(p, (size_t)(text + got - p), KEY, len)); p += len)
		n++;
	free(text);
	return n;
}

/* After hundreds of requests the key stands in the secrets and nowhere else: what carried it was wiped. */
static void
test_no_key_left(void **state)
{
	char path[64], line[512];
	size_t n = 0;

	(void)state;
	call("ok");
	snprintf(path, sizeof(path), "/proc/%d/mem", (int)f.gate);
	AUTO(fd) int mem = open(path, O_RDONLY | O_CLOEXEC);
	snprintf(path, sizeof(path), "/proc/%d/maps", (int)f.gate);
	FILE *maps = fopen(path, "re");
	assert_true(mem >= 0 && maps);
	while (fgets(line, sizeof(line), maps)) {
		/* "from-to rw-p …" */
		struct str rest = str_z(line), at = str_next(&rest, ' '), from = str_next(&at, '-');
		uint64_t a = 0, b = 0;
		assert_true(str_to_hex64(from, &a) && str_to_hex64(at, &b));
		if (str_starts(rest, STR("r")) && !strchr(rest.p, '/')) /* not this program's own texts */
			n += count_keys(mem, a, b);
	}
	fclose(maps);
	assert_int_equal(n, ARRAY_LEN(behaviours));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_request),
		cmocka_unit_test(test_outcomes),
		cmocka_unit_test(test_too_big),
		cmocka_unit_test(test_reuse),
		cmocka_unit_test(test_cancel),
		cmocka_unit_test(test_many),
		cmocka_unit_test(test_large_body),
		cmocka_unit_test(test_new_control),
		cmocka_unit_test(test_no_key_left),
	};

	signal(SIGPIPE, SIG_IGN);
	alarm(100);
	return cmocka_run_group_tests(tests, setup, teardown);
}
