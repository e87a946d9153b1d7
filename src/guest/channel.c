/* SPDX-License-Identifier: Apache-2.0 */
/*
 *   away --connected--> greeting --WELCOME--> open
 *     ^                     |                   |
 *     +---- any failure ----+-------------------+   then again after 10 ms .. 1 s
 */
#include "guest/channel.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "base/clock.h"
#include "base/guest_call.h"
#include "base/limits.h"

#define RETRY_MIN_US 10000
#define RETRY_MAX_US 1000000
#define READ_SIZE    (64 * KIB)
#define OUT_MAX      (32 * MIB) /* a peer that takes nothing loses the connection, not the results */

enum channel_state { CHANNEL_AWAY, CHANNEL_GREETING, CHANNEL_OPEN };

struct channel {
	struct channel_opts o;
	enum channel_state state;
	struct watch w;
	struct timer retry;
	uint64_t pause_us;
	char key[CHANNEL_KEY + 1]; /* never leaves this memory but in HELLO */
	struct buf in, out;
	size_t sent; /* of out */
	char trouble_step[32], trouble[160];
};

static void dial(struct channel *ch);

static void
on_retry(struct timer *t)
{
	dial(CONTAINER_OF(t, struct channel, retry));
}

static void
drop(struct channel *ch)
{
	enum channel_state was = ch->state;

	reactor_unwatch(ch->o.reactor, &ch->w);
	fd_close(ch->w.fd);
	ch->w.fd = -1;
	ch->state = CHANNEL_AWAY;
	buf_clear(&ch->in);
	buf_clear(&ch->out);
	ch->sent = 0;
	reactor_timer(ch->o.reactor, &ch->retry, clock_mono_us() + ch->pause_us);
	ch->pause_us = ch->pause_us * 2 < RETRY_MAX_US ? ch->pause_us * 2 : RETRY_MAX_US;
	if (was == CHANNEL_OPEN)
		ch->o.lost(ch->o.owner);
}

/* Sends what the socket takes; the rest waits for POLLOUT. */
void
channel_flush(struct channel *ch)
{
	if (ch->state == CHANNEL_AWAY)
		return;
	if (ch->out.fail) {
		drop(ch);
		return;
	}
	while (ch->sent < ch->out.n) {
		ssize_t put = send(
			ch->w.fd, ch->out.p + ch->sent, ch->out.n - ch->sent, MSG_DONTWAIT | MSG_NOSIGNAL);
		if (put < 0 && errno == EINTR)
			continue;
		if (put < 0 && errno == EAGAIN) {
			ch->w.events = POLLIN | POLLOUT;
			return;
		}
		if (put < 0) {
			drop(ch);
			return;
		}
		ch->sent += (size_t)put;
	}
	ch->w.events = POLLIN;
	ch->sent = 0;
	buf_clear(&ch->out);
	if (ch->out.cap > MIB) { /* a rare large answer must not be kept for ever */
		buf_done(&ch->out);
		buf_init(&ch->out, OUT_MAX);
	}
}

struct buf *
channel_out(struct channel *ch)
{
	return ch->state == CHANNEL_OPEN ? &ch->out : NULL;
}

static void
send_trouble(struct channel *ch)
{
	if (ch->state != CHANNEL_OPEN || !ch->trouble_step[0])
		return;
	struct frame_w w = frame_begin(&ch->out, GC_TROUBLE, 0);
	frame_str(&w, str_z(ch->trouble_step));
	frame_str(&w, str_z(ch->trouble));
	frame_end(&w, 0);
	ch->trouble_step[0] = 0;
	channel_flush(ch);
}

void
channel_trouble(struct channel *ch, const char *step, const char *message)
{
	if (ch->trouble_step[0])
		return;
	snprintf(ch->trouble_step, sizeof(ch->trouble_step), "%s", step);
	snprintf(ch->trouble, sizeof(ch->trouble), "%s", message);
	send_trouble(ch);
}

/* ---- receiving ---- */

static bool
welcome(struct channel *ch, const struct frame *f)
{
	struct frame_r r = frame_r(f->payload);
	struct str key = frame_get_str_max(&r, CHANNEL_KEY);
	uint64_t procs = frame_get_u64(&r), memory = frame_get_u64(&r), file = frame_get_u64(&r);

	if (f->type != GC_WELCOME || frame_done(&r, NULL) < 0 || key.n == 0 ||
		!str_copy_z(key, ch->key, sizeof(ch->key)))
		return false;
	ch->state = CHANNEL_OPEN;
	ch->pause_us = RETRY_MIN_US;
	ch->o.welcome(ch->o.owner, procs, memory, file);
	send_trouble(ch);
	return true;
}

/* Handles the whole frames in `in`. False: the peer broke the protocol. */
static bool
take_frames(struct channel *ch)
{
	size_t done = 0;
	bool ok = true;

	while (ok && ch->state != CHANNEL_AWAY) {
		struct frame f;
		size_t used;
		int r = frame_parse(
			str_sub(buf_str(&ch->in), done, ch->in.n), LIM_FRAME_GUEST, &f, &used, NULL);
		if (r == 0)
			break;
		ok = r > 0 && f.flags == 0;
		if (ok)
			ok = ch->state == CHANNEL_GREETING ? welcome(ch, &f) : ch->o.frame(ch->o.owner, &f);
		done += ok ? used : 0;
	}
	if (ch->state != CHANNEL_AWAY)
		buf_drop(&ch->in, done);
	return ok;
}

static void
on_socket(struct watch *w, short revents)
{
	struct channel *ch = CONTAINER_OF(w, struct channel, w);

	if (revents & POLLOUT)
		channel_flush(ch);
	if (ch->state == CHANNEL_AWAY || !(revents & (POLLIN | POLLHUP | POLLERR)))
		return;
	char *to = buf_reserve(&ch->in, READ_SIZE);
	ssize_t got = to ? recv(ch->w.fd, to, READ_SIZE, MSG_DONTWAIT) : -1;
	if (got < 0 && to && (errno == EINTR || errno == EAGAIN))
		return;
	if (got > 0)
		ch->in.n += (size_t)got;
	if (got <= 0 || !take_frames(ch)) {
		if (ch->state != CHANNEL_AWAY)
			drop(ch);
	}
}

/* ---- dialling ---- */

static int
connect_to(const char *path)
{
	struct sockaddr_un a = {.sun_family = AF_UNIX};
	AUTO(fd) int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	if (fd < 0 || !str_copy_z(str_z(path), a.sun_path, sizeof(a.sun_path)) ||
		connect(fd, (const struct sockaddr *)&a, sizeof(a)) < 0)
		return -1;
	return MOVE_FD(fd);
}

static void
dial(struct channel *ch)
{
	ch->w.fd = connect_to(ch->o.socket);
	ch->w.events = POLLIN;
	if (ch->w.fd < 0 || !reactor_watch(ch->o.reactor, &ch->w)) {
		drop(ch);
		return;
	}
	ch->state = CHANNEL_GREETING;
	struct frame_w w = frame_begin(&ch->out, GC_HELLO, 0);
	frame_u64(&w, GUEST_PROTOCOL);
	frame_str(&w, str_z(ch->key));
	frame_u64(&w, ch->o.pid);
	frame_u64(&w, ch->o.started_us);
	frame_end(&w, 0);
	channel_flush(ch);
}

struct channel *
channel_new(const struct channel_opts *o)
{
	struct channel *ch = calloc(1, sizeof(*ch));

	if (!ch)
		return NULL;
	ch->o = *o;
	ch->w = (struct watch){.fd = -1, .events = POLLIN, .fn = on_socket};
	ch->retry.fn = on_retry;
	ch->pause_us = RETRY_MIN_US;
	buf_init(&ch->in, LIM_FRAME_GUEST + FRAME_HEAD + READ_SIZE);
	buf_init(&ch->out, OUT_MAX);
	dial(ch);
	return ch;
}

void
channel_free(struct channel *ch)
{
	if (!ch)
		return;
	reactor_unwatch(ch->o.reactor, &ch->w);
	reactor_untimer(ch->o.reactor, &ch->retry);
	fd_close(ch->w.fd);
	buf_done(&ch->in);
	buf_done(&ch->out);
	free(ch);
}
