/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The puppet as the confined role it is, spoken to over HTTP: pace, faults and errors as a client sees them.
 * Needs root for the confinement.
 */
#include "unit.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/frame.h"
#include "base/json.h"
#include "base/limits.h"
#include "io/calls.h"
#include "puppet/puppet.h"

struct stage {
	pid_t puppet;
	int leash;
	struct sockaddr_in at;
};

static struct stage stage;

static void
send_frame(uint16_t type, struct str text, int fd)
{
	AUTO(buf) struct buf b = {0};
	union {
		struct cmsghdr align;
		char space[CMSG_SPACE(sizeof(int))];
	} c = {0};

	buf_init(&b, 4096);
	struct frame_w w = frame_begin(&b, type, 0);
	if (text.p)
		frame_str(&w, text);
	frame_end(&w, fd >= 0 ? FRAME_FD : 0);
	struct iovec iov = {b.p, b.n};
	struct msghdr m = {.msg_iov = &iov, .msg_iovlen = 1};
	if (fd >= 0) {
		m.msg_control = &c;
		m.msg_controllen = sizeof(c.space);
		c.align = (struct cmsghdr){
			.cmsg_len = CMSG_LEN(sizeof(int)), .cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS};
		memcpy(CMSG_DATA(&c.align), &fd, sizeof(fd));
	}
	assert_int_equal(sendmsg(stage.leash, &m, MSG_NOSIGNAL), b.n);
}

static int
open_listener(void)
{
	socklen_t n = sizeof(stage.at);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	stage.at = (struct sockaddr_in){.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
	assert_true(fd >= 0 && bind(fd, (struct sockaddr *)&stage.at, n) == 0 && listen(fd, 64) == 0);
	assert_int_equal(getsockname(fd, (struct sockaddr *)&stage.at, &n), 0);
	return fd;
}

static int
setup(void **state)
{
	int pair[2];
	char ready[FRAME_HEAD];

	(void)state;
	if (geteuid() != 0)
		return 0;
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
	stage.leash = pair[0];
	stage.puppet = fork();
	if (stage.puppet == 0) {
		if (dup2(pair[1], LEASH_FD) < 0)
			_exit(99);
		close_range(LEASH_FD + 1, ~0u, 0);
		_exit(puppet_main());
	}
	close(pair[1]);
	int listener = open_listener();
	send_frame(LEASH_CONFIG, STR("{\"uid\":64802,\"gid\":64802}"), -1);
	send_frame(LEASH_LISTEN, STR("api"), listener);
	send_frame(LEASH_GO, STR_NULL, -1);
	close(listener);
	assert_int_equal(recv(stage.leash, ready, sizeof(ready), MSG_WAITALL), sizeof(ready));
	assert_int_equal((unsigned char)ready[4], LEASH_READY);
	return 0;
}

static int
teardown(void **state)
{
	int status = -1;

	(void)state;
	if (geteuid() != 0)
		return 0;
	send_frame(LEASH_STOP, STR_NULL, -1);
	assert_int_equal(waitpid(stage.puppet, &status, 0), stage.puppet);
	assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
	close(stage.leash);
	return 0;
}

static int
dial(void)
{
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	assert_true(fd >= 0 && connect(fd, (struct sockaddr *)&stage.at, sizeof(stage.at)) == 0);
	return fd;
}

/* What came back, and when. */
struct answer_seen {
	char text[65536];
	size_t n;
	uint64_t first_us, all_us;
};

static void
put_request(struct buf *b, const char *script, const char *headers)
{
	AUTO(buf) struct buf body = {0};

	buf_init(&body, 65536);
	struct json_w w = json_w(&body);
	jw_obj(&w);
	jw_kz(&w, "model", "puppet");
	jw_kint(&w, "max_tokens", 10);
	jw_kbool(&w, "stream", true);
	jw_key(&w, "messages");
	jw_arr(&w);
	jw_obj(&w);
	jw_kz(&w, "role", "user");
	jw_kz(&w, "content", script);
	jw_obj_end(&w);
	jw_arr_end(&w);
	jw_obj_end(&w);
	buf_printf(b,
		"POST /v1/messages HTTP/1.1\r\nhost: x\r\ncontent-type: "
		"application/json\r\n%scontent-length: %zu\r\n\r\n",
		headers, body.n);
	buf_put_str(b, buf_str(&body));
}

/* Sends `request` and reads until the other side closes or `end` was read. */
static void
exchange(struct answer_seen *a, int fd, struct str request, const char *end)
{
	uint64_t start = clock_mono_us();

	a->n = 0;
	a->first_us = 0;
	a->text[0] = 0;
	assert_int_equal(send(fd, request.p, request.n, MSG_NOSIGNAL), request.n);
	while (!end || !strstr(a->text, end)) {
		ssize_t n = recv(fd, a->text + a->n, sizeof(a->text) - 1 - a->n, 0);
		if (n <= 0)
			break;
		a->n += (size_t)n;
		a->text[a->n] = 0;
		a->first_us = a->first_us ? a->first_us : clock_mono_us() - start;
	}
	a->all_us = clock_mono_us() - start;
}

static void
play(struct answer_seen *a, const char *script, const char *headers, const char *end)
{
	AUTO(buf) struct buf b = {0};

	if (geteuid() != 0) {
		print_message("needs root: the puppet is confined like in real life\n");
		skip();
	}
	buf_init(&b, 65536);
	put_request(&b, script, headers);
	AUTO(fd) int fd = dial();
	exchange(a, fd, buf_str(&b), end);
}

static size_t
count(const struct answer_seen *a, const char *what)
{
	size_t n = 0;

	for (const char *p = a->text; (p = strstr(p, what)); p++)
		n++;
	return n;
}

static void
assert_has(const struct answer_seen *a, const char *what)
{
	if (!strstr(a->text, what))
		fail_msg("no \"%s\" in %s", what, a->text);
}

#define LAST "event: message_stop\ndata: {\"type\":\"message_stop\"}\n\n"

static void
test_stream(void **state)
{
	static struct answer_seen a;
	AUTO(buf) struct buf b = {0};

	(void)state;
	play(&a, "hello", "", LAST);
	assert_has(&a, "HTTP/1.1 200 OK\r\n");
	assert_has(&a, "content-type: text/event-stream; charset=utf-8\r\n");
	assert_has(&a, "request-id: req_");
	assert_true(count(&a, "\"text_delta\"") > 2);
	/* one connection carries many */
	buf_init(&b, 65536);
	put_request(&b, "hello", "");
	AUTO(fd) int fd = dial();
	for (int i = 0; i < 5; i++)
		exchange(&a, fd, buf_str(&b), LAST);
	assert_int_equal(count(&a, LAST), 1);
}

static void
test_pace(void **state)
{
	static struct answer_seen a;

	(void)state;
	play(&a, "#puppet\ndelay 20\nsay one two three four five six seven", "", "0\r\n\r\n");
	size_t deltas = count(&a, "event: content_block_delta");
	assert_true(deltas >= 2 && a.all_us >= deltas * 20000 && a.first_us < 15000 + a.all_us / 2);
	assert_has(&a, LAST);
	play(&a, "#puppet\nstall 60\nsay x", "", "0\r\n\r\n");
	assert_true(a.all_us >= 60000);
	assert_has(&a, LAST);
	/* only the first attempt stalls */
	play(&a, "#puppet\nstall 5000 1\nsay x", "x-stainless-retry-count: 1\r\n", LAST);
	assert_true(a.all_us < 4000000);
}

static void
test_breaks(void **state)
{
	static struct answer_seen a;

	(void)state;
	play(&a, "#puppet\ncut 3\nsay x", "", NULL);
	assert_int_equal(count(&a, "event: "), 3);
	assert_null(strstr(a.text, "\r\n0\r\n\r\n")); /* not the end that HTTP knows */
	play(&a, "#puppet\ncut 0\nsay x", "", NULL);
	assert_int_equal(count(&a, "event: "), 0);
	play(&a, "#puppet\ncut 3\nsay x", "x-stainless-retry-count: 1\r\n", LAST);
	assert_has(&a, LAST);
	play(&a, "#puppet\nfail overloaded_error 2\nsay x", "", "\"Overloaded\"}}\n\n");
	assert_int_equal(count(&a, "event: "), 3);
	assert_has(&a, "event: error\ndata: {\"type\":\"error\",\"error\":{\"type\":\"overloaded_error\"");
	play(&a, "#puppet\ngarbage\nsay x", "", "502 Bad Gateway");
	assert_has(&a, "HTTP/1.1 200 OK\r\n");
}

static void
test_errors(void **state)
{
	static const struct {
		const char *step, *status, *type;
	} rows[] = {
		{"error 400", "HTTP/1.1 400 ", "invalid_request_error"},
		{"error 401", "HTTP/1.1 401 ", "authentication_error"},
		{"error 413", "HTTP/1.1 413 ", "request_too_large"},
		{"error 429", "HTTP/1.1 429 ", "rate_limit_error"},
		{"error 500", "HTTP/1.1 500 ", "api_error"},
		{"error 529", "HTTP/1.1 529 ", "overloaded_error"},
	};
	static struct answer_seen a;

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		char script[128];
		snprintf(script, sizeof(script), "#puppet\n%s\nretry-after 1500\nsay x", rows[i].step);
		play(&a, script, "", "\"}");
		assert_has(&a, rows[i].status);
		assert_has(&a, rows[i].type);
		assert_has(&a, "retry-after: 2\r\n");
		assert_has(&a, "retry-after-ms: 1500\r\n");
		assert_has(&a, "\"request_id\":\"req_");
	}
}

static void
test_other_requests(void **state)
{
	static struct answer_seen a;
	static const char *const rows[][2] = {
		{"GET /v1/models HTTP/1.1\r\nhost: x\r\n\r\n", "\"id\":\"puppet\""},
		{"GET /v1/other HTTP/1.1\r\nhost: x\r\n\r\n", "HTTP/1.1 404 "},
		{"DELETE /v1/messages HTTP/1.1\r\nhost: x\r\n\r\n", "HTTP/1.1 404 "},
		{"POST /v1/messages HTTP/1.1\r\nhost: x\r\ncontent-length: 1\r\n\r\n{", "HTTP/1.1 400 "},
		{"POST /v1/messages HTTP/1.1\r\nhost: x\r\ncontent-length: 2\r\n\r\n{}",
			"model: Field required"},
		{"POST /v1/messages HTTP/1.1\r\nhost: x\r\ncontent-length: 99999999\r\n\r\n",
			"HTTP/1.1 413 "},
		{"nonsense\r\n\r\n", "HTTP/1.1 400 "},
	};

	(void)state;
	play(&a, "hello", "", LAST);
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		AUTO(fd) int fd = dial();
		exchange(&a, fd, str_z(rows[i][0]), rows[i][1]);
		assert_has(&a, rows[i][1]);
	}
}

/* A client that goes away in the middle takes nothing with it. */
static void
test_vanishing_clients(void **state)
{
	static struct answer_seen a;
	AUTO(buf) struct buf b = {0};

	(void)state;
	play(&a, "hello", "", LAST);
	buf_init(&b, 65536);
	put_request(&b, "#puppet\ndelay 10\nsay one two three four five six seven eight nine", "");
	for (int i = 0; i < 20; i++) {
		AUTO(fd) int fd = dial();
		exchange(&a, fd, buf_str(&b), "event: message_start");
	}
	play(&a, "hello", "", LAST);
	assert_has(&a, LAST);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_stream),
		cmocka_unit_test(test_pace),
		cmocka_unit_test(test_breaks),
		cmocka_unit_test(test_errors),
		cmocka_unit_test(test_other_requests),
		cmocka_unit_test(test_vanishing_clients),
	};

	signal(SIGPIPE, SIG_IGN);
	alarm(60);
	return cmocka_run_group_tests(tests, setup, teardown);
}
