/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A provider for the tests of the gate: plain HTTP on loopback, a thread for each connection, behaving as the
 * first part of the request's path says.
 */
#pragma once

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/limits.h"
#include "unit.h"

static int provider_fd;
static unsigned provider_port;
static atomic_int connections, requests;
static atomic_int closed_by_gate;
static pthread_mutex_t last_lock = PTHREAD_MUTEX_INITIALIZER;
static char last_head[8192];

static void
say(int fd, const char *text)
{
	(void)!send(fd, text, strlen(text), MSG_NOSIGNAL);
}

/* Reads one request; false at the end of the connection. */
static bool
read_request(int fd, char *path, size_t cap)
{
	char in[65536];
	size_t n = 0;
	uint64_t body = 0;
	char *end = NULL;

	while (!end) {
		ssize_t r = recv(fd, in + n, sizeof(in) - 1 - n, 0);
		if (r <= 0)
			return false;
		n += (size_t)r;
		in[n] = 0;
		end = strstr(in, "\r\n\r\n");
	}
	size_t head = (size_t)(end - in) + 4;
	const char *length = strcasestr(in, "content-length: ");
	if (length)
		assert_true(str_to_u64(str_n(length + 16, strcspn(length + 16, "\r")), &body));
	for (size_t left = head + body > n ? head + body - n : 0; left;) {
		char skip[65536];
		ssize_t r = recv(fd, skip, left < sizeof(skip) ? left : sizeof(skip), 0);
		if (r <= 0)
			return false;
		left -= (size_t)r;
	}
	pthread_mutex_lock(&last_lock);
	snprintf(last_head, sizeof(last_head), "%.*s", (int)head, in);
	pthread_mutex_unlock(&last_lock);
	requests++;
	snprintf(path, cap, "%.*s", (int)strcspn(in + 6, " "), in + 6);
	path[strcspn(path, "/")] = 0;
	return true;
}

static void
wait_close(int fd)
{
	char c;

	while (recv(fd, &c, 1, 0) > 0)
		;
	closed_by_gate++;
}

#define EVENTS "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nrequest-id: req_9\r\n"

static void
say_big(int fd)
{
	static char piece[65536];
	char size[32];

	memset(piece, 'x', sizeof(piece));
	say(fd, EVENTS "transfer-encoding: chunked\r\n\r\n");
	snprintf(size, sizeof(size), "%zx\r\n", sizeof(piece));
	for (size_t sent = 0; sent < LIM_MODEL_RESPONSE + 4 * sizeof(piece); sent += sizeof(piece)) {
		if (send(fd, size, strlen(size), MSG_NOSIGNAL) < 0 ||
			send(fd, piece, sizeof(piece), MSG_NOSIGNAL) < 0 ||
			send(fd, "\r\n", 2, MSG_NOSIGNAL) < 0)
			return;
	}
	say(fd, "0\r\n\r\n");
}

/* What a provider does after a request. */
static const struct behaviour {
	const char *name;
	const char *text;
	bool waits; /* then for the gate to close */
	bool keeps; /* the connection open for another request */
} behaviours[] = {
	{"ok", EVENTS "transfer-encoding: chunked\r\n\r\n5\r\nhello\r\n6\r\n world\r\n0\r\n\r\n",
		.keeps = true},
	{"cut", EVENTS "transfer-encoding: chunked\r\n\r\n5\r\nhello\r\n"},
	{"short", EVENTS "content-length: 100\r\n\r\nhello"},
	{"none", ""},
	{"garbage", "\x16\x03\x01 this is no HTTP\r\n\r\n"},
	{"badhead", "HTTP/1.1 200 OK\r\ncontent-type : x\r\ncontent-length: 2\r\n\r\nhi"},
	{"twolengths", "HTTP/1.1 200 OK\r\ncontent-length: 2\r\ntransfer-encoding: "
		       "chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n"},
	{"429", "HTTP/1.1 429 Too Many\r\nretry-after: 2\r\ncontent-length: 4\r\n\r\nslow"},
	{"529", "HTTP/1.1 529 Overloaded\r\nretry-after-ms: 35\r\ncontent-length: 0\r\n\r\n"},
	{"redirect", "HTTP/1.1 302 Found\r\nlocation: /ok/v1/messages\r\ncontent-length: 0\r\n\r\n",
		.keeps = true},
	{"early", "HTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\n" EVENTS "content-length: 2\r\n\r\nhi",
		.keeps = true},
	{"big", NULL},
	{"stall", EVENTS "transfer-encoding: chunked\r\n\r\n5\r\nhello\r\n", .waits = true},
	{"hang", "", .waits = true},
	{"echo", "HTTP/1.1 401 No\r\ntransfer-encoding: chunked\r\n\r\n12\r\nbad key sk-test-01\r\n"
		 "1f\r\n23456789 and sk-test-0123456789\r\n0\r\n\r\n"},
};

/* True when the connection may carry another request. */
static bool
behave(int fd, const char *how)
{
	for (size_t i = 0; i < ARRAY_LEN(behaviours); i++) {
		const struct behaviour *b = &behaviours[i];
		if (strcmp(b->name, how) != 0)
			continue;
		if (b->text)
			say(fd, b->text);
		else
			say_big(fd);
		if (b->waits)
			wait_close(fd);
		return b->keeps;
	}
	return false;
}

static void *
serve_connection(void *arg)
{
	int fd = (int)(intptr_t)arg, one = 1;
	char path[256];

	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	connections++;
	while (read_request(fd, path, sizeof(path)) && behave(fd, path))
		;
	close(fd);
	return NULL;
}

static void *
serve_all(void *arg)
{
	(void)arg;
	for (;;) {
		int fd = accept4(provider_fd, NULL, NULL, SOCK_CLOEXEC);
		pthread_t t;

		if (fd < 0)
			return NULL;
		if (pthread_create(&t, NULL, serve_connection, (void *)(intptr_t)fd) == 0)
			pthread_detach(t);
		else
			close(fd);
	}
}

static void
open_provider(void)
{
	struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
	socklen_t n = sizeof(a);

	provider_fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_true(provider_fd >= 0 && bind(provider_fd, (struct sockaddr *)&a, n) == 0);
	assert_true(
		listen(provider_fd, 1024) == 0 && getsockname(provider_fd, (struct sockaddr *)&a, &n) == 0);
	provider_port = ntohs(a.sin_port);
}
