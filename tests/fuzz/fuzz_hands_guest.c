/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a hostile guest, or a tool that dials in its place, can send to hands. The first byte chooses: an even
 * one sends the rest as it is, an odd one says a proper HELLO before. Whatever comes through to the owner
 * must keep its promises; the channel must survive, and a second dial without the key must not become the
 * guest.
 */
#include "fuzz.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/frame.h"
#include "base/guest_call.h"
#include "base/limits.h"
#include "base/log.h"
#include "hands/channel.h"

struct owner {
	unsigned up, down, bad, results;
};

static void
on_up(void *arg)
{
	((struct owner *)arg)->up++;
}

static void
on_down(void *arg)
{
	((struct owner *)arg)->down++;
}

static void
on_bad(void *arg, const struct err *why)
{
	struct owner *o = arg;

	ASSERT(why->kind != ERR_NONE && o->bad == 0);
	o->bad++;
}

static int
on_result(void *arg, const struct guest_result *r, struct err *e)
{
	struct owner *o = arg;

	ASSERT(o->up == 1 && o->bad == 0);
	ASSERT(r->status <= GUEST_RUNNING && r->exec_id.n > 0 && r->exec_id.n < 64);
	ASSERT(str_is_utf8(r->text) && str_utf8_len(r->text) <= LIM_RESULT_OFFLOAD);
	ASSERT(r->offload.n == 0 || str_starts(r->offload, STR(GUEST_OFFLOAD_DIR "/")));
	o->results++;
	return str_eqz(r->exec_id, "sevt_known") ? 0 : err_set(e, ERR_CORRUPT, "not asked for");
}

static int
on_output(void *arg, struct str exec_id, struct str piece, struct err *e)
{
	(void)arg;
	ASSERT(piece.n <= LIM_CHUNK + KIB);
	return str_eqz(exec_id, "sevt_known") ? 0 : err_set(e, ERR_CORRUPT, "not asked for");
}

static int
dial(const char *dir)
{
	struct sockaddr_un a = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	snprintf(a.sun_path, sizeof(a.sun_path), "%s/hands.sock", dir);
	ASSERT(fd >= 0 && connect(fd, (struct sockaddr *)&a, sizeof(a)) == 0);
	return fd;
}

static void
say_hello(int fd)
{
	AUTO(buf) struct buf b;

	buf_init(&b, 4096);
	struct frame_w w = frame_begin(&b, GC_HELLO, 0);

	frame_u64(&w, GUEST_PROTOCOL);
	frame_str(&w, STR(""));
	frame_u64(&w, 1);
	frame_u64(&w, 1);
	frame_end(&w, 0);
	ASSERT(write(fd, b.p, b.n) == (ssize_t)b.n);
}

/* Sends all of it, letting the loop read meanwhile. */
static void
pump(struct loop *l, int fd, const uint8_t *data, size_t size)
{
	size_t at = 0;

	for (int idle = 0; idle < 4;) {
		ssize_t n = at < size ? send(fd, data + at, size - at, MSG_NOSIGNAL | MSG_DONTWAIT) : 0;

		at = n < 0 ? (at < size && idle < 3 ? at : size) : at + (size_t)n;
		idle = n > 0 ? 0 : idle + 1;
		loop_step(l);
	}
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const uint8_t nothing[1];
	char dir[] = "/tmp/pinfold-fuzz-XXXXXX", path[64];
	struct loop *l = NULL;
	struct channel *c = NULL;
	struct owner o = {0};

	log_setup("fuzz", LOG_ERROR, 2);
	if (size == 0)
		return 0;
	ASSERT(mkdtemp(dir) && loop_new(&l, NULL) == 0);
	struct channel_opts opts = {
		.loop = l,
		.dir = dir,
		.name = "sbx_fuzz",
		.key = "",
		.ops = {&o, on_up, on_down, on_result, on_output, on_bad},
	};

	ASSERT(channel_new(&c, &opts, NULL) == 0);
	int fd = dial(dir);

	if (data[0] & 1) {
		say_hello(fd);
		pump(l, fd, nothing, 0);
		ASSERT(o.up == 1 && channel_is_up(c));
	}
	pump(l, fd, data + 1, size - 1);
	if (o.up && o.bad == 0) {
		int other = dial(dir);

		say_hello(other);
		pump(l, other, nothing, 0);
		ASSERT(o.up == 1);
		close(other);
	}
	close(fd);
	pump(l, -1, nothing, 0);
	channel_free(c);
	loop_free(l);
	snprintf(path, sizeof(path), "%s/hands.sock", dir);
	unlink(path);
	rmdir(dir);
	return 0;
}
