/* SPDX-License-Identifier: Apache-2.0 */
#include "hands/channel.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/frame.h"
#include "base/guest_call.h"
#include "base/hash.h"
#include "base/id.h"
#include "base/limits.h"
#include "base/log.h"
#include "io/rpc.h"

#define DIALS_MAX       4    /* connections that have not said HELLO */
#define DIAL_MS         5000 /* time for HELLO */
#define TROUBLES_LOGGED 20
#define GUEST_QUEUE     (16 * MIB)

enum { DIALED = 1, GUEST = 2 };

struct dial {
	struct channel *c;
	struct dial *next;
	struct rpc_peer *peer;
	struct loop_timer *timer;
};

struct channel {
	struct channel_opts o;
	struct id name;
	char key[CHANNEL_KEY];
	int fd;
	struct loop_io *io;
	struct dial *dials;
	struct dial *guest; /* one of the dials, or NULL */
	unsigned n_dials;
	unsigned refused, troubles;
	bool bad;
};

/* ---- connections ---- */

static void
dial_free(struct dial *d)
{
	struct channel *c = d->c;

	for (struct dial **at = &c->dials; *at; at = &(*at)->next) {
		if (*at != d)
			continue;
		*at = d->next;
		break;
	}
	if (c->guest == d)
		c->guest = NULL;
	c->n_dials--;
	loop_timer_free(d->timer);
	rpc_peer_free(d->peer);
	free(d);
}

static void
go_bad(struct channel *c, const struct err *why)
{
	if (c->bad)
		return;
	c->bad = true;
	loop_io_want(c->io, 0);
	c->o.ops.on_bad(c->o.ops.owner, why);
}

static void
on_close(void *owner, struct rpc_peer *p, const struct err *why)
{
	struct dial *d = owner;
	struct channel *c = d->c;
	bool was_guest = c->guest == d;
	struct err copy = *why;

	(void)p;
	dial_free(d);
	if (!was_guest)
		return;
	/* An end between two frames is a lost connection; anything the parser refused is a broken protocol.
	 */
	if (copy.kind == ERR_CORRUPT || copy.kind == ERR_TOO_LARGE || copy.kind == ERR_FORBIDDEN)
		go_bad(c, &copy);
	else
		c->o.ops.on_down(c->o.ops.owner);
}

static bool
key_matches(const struct channel *c, struct str shown)
{
	struct hash a = hash_of(str_z(c->key)), b = hash_of(shown);

	return c->key[0] && hash_equal(&a, &b);
}

static void
make_key(struct channel *c)
{
	uint8_t raw[HASH_BYTES];
	struct hash h;

	random_bytes(raw, sizeof(raw));
	memcpy(h.b, raw, sizeof(raw));
	hash_hex(&h, c->key);
}

static void
send_welcome(struct channel *c)
{
	AUTO(buf) struct buf b;

	buf_init(&b, KIB);
	struct frame_w w = frame_begin(&b, GC_WELCOME, 0);

	frame_str(&w, str_z(c->key));
	frame_u64(&w, c->o.tool_procs);
	frame_u64(&w, c->o.tool_memory);
	frame_u64(&w, c->o.tool_file);
	frame_end(&w, 0);
	rpc_send(c->guest->peer, &b);
}

static int
on_hello(void *owner, struct rpc_peer *p, struct rpc_msg *m, struct err *e)
{
	struct dial *d = owner;
	struct channel *c = d->c;
	struct frame_r r = frame_r(m->f.payload);
	uint64_t protocol = frame_get_u64(&r);
	struct str key = frame_get_str_max(&r, CHANNEL_KEY);

	frame_get_u64(&r);
	frame_get_u64(&r);
	int rc = frame_done(&r, e);

	if (rc < 0)
		return rc;
	if (protocol != GUEST_PROTOCOL)
		return err_set(e, ERR_INVALID, "guest speaks protocol %llu", (unsigned long long)protocol);
	bool first = !c->key[0] && key.n == 0;

	if (!first && !key_matches(c, key)) {
		if (c->refused++ < TROUBLES_LOGGED)
			log_warn("guest.refused", LOG_Z("sandbox", c->name.z));
		return err_set(e, ERR_UNAUTHENTICATED, "wrong resume key");
	}
	if (first)
		make_key(c);
	if (c->guest)
		dial_free(c->guest);
	c->guest = d;
	rpc_peer_set_state(p, GUEST);
	loop_timer_stop(d->timer);
	send_welcome(c);
	c->o.ops.on_up(c->o.ops.owner);
	return 0;
}

/* ---- what the guest may say ---- */

/* The place of an offloaded result: "" or a clean path below the directory for that. */
static bool
offload_ok(struct str s)
{
	static const struct str dir = {GUEST_OFFLOAD_DIR "/", sizeof(GUEST_OFFLOAD_DIR)};

	if (s.n == 0)
		return true;
	if (s.n > LIM_PATH || !str_is_utf8(s) || !str_starts(s, dir) || s.n == dir.n)
		return false;
	return str_find_str(s, STR("..")) == s.n && str_find(s, '\0') == s.n;
}

static int
on_result(void *owner, struct rpc_peer *p, struct rpc_msg *m, struct err *e)
{
	struct dial *d = owner;
	struct channel *c = d->c;
	struct frame_r r = frame_r(m->f.payload);
	struct guest_result g = {.exec_id = frame_get_str_max(&r, ID_MAX - 1)};

	(void)p;
	g.status = frame_get_u64(&r);
	uint64_t is_error = frame_get_u64(&r);

	g.text = frame_get_str(&r);
	g.offload = frame_get_str_max(&r, LIM_PATH);
	g.full_length = frame_get_u64(&r);
	g.run_us = frame_get_u64(&r);
	g.is_error = is_error != 0;
	int rc = frame_done(&r, e);

	if (rc < 0)
		return rc;
	if (g.exec_id.n == 0 || g.status > GUEST_RUNNING || is_error > 1)
		return err_set(e, ERR_CORRUPT, "guest sent a malformed result");
	if (!str_is_utf8(g.text) || str_utf8_len(g.text) > LIM_RESULT_OFFLOAD)
		return err_set(e, ERR_CORRUPT, "guest sent a result that is no UTF-8 or too long");
	if (!offload_ok(g.offload))
		return err_set(e, ERR_CORRUPT, "guest sent a strange path");
	return c->o.ops.on_result(c->o.ops.owner, &g, e);
}

static int
on_output(void *owner, struct rpc_peer *p, struct rpc_msg *m, struct err *e)
{
	const struct dial *d = owner;
	struct frame_r r = frame_r(m->f.payload);
	struct str exec_id = frame_get_str_max(&r, ID_MAX - 1);
	struct str piece = frame_get_str(&r);
	int rc = frame_done(&r, e);

	(void)p;
	return rc < 0 ? rc : d->c->o.ops.on_output(d->c->o.ops.owner, exec_id, piece, e);
}

static int
on_ping(void *owner, struct rpc_peer *p, struct rpc_msg *m, struct err *e)
{
	AUTO(buf) struct buf b;

	(void)owner;
	(void)e;
	buf_init(&b, KIB);
	struct frame_w w = frame_begin(&b, GC_PONG, m->f.call);

	frame_end(&w, 0);
	rpc_send(p, &b);
	return 0;
}

static int
on_pong(void *owner, struct rpc_peer *p, struct rpc_msg *m, struct err *e)
{
	(void)owner, (void)p, (void)m, (void)e;
	return 0;
}

static int
on_trouble(void *owner, struct rpc_peer *p, struct rpc_msg *m, struct err *e)
{
	const struct dial *d = owner;
	struct frame_r r = frame_r(m->f.payload);
	struct str step = frame_get_str(&r);
	struct str text = frame_get_str(&r);
	int rc = frame_done(&r, e);

	(void)p;
	if (rc < 0)
		return rc;
	if (d->c->troubles++ < TROUBLES_LOGGED)
		log_warn("guest.trouble", LOG_Z("sandbox", d->c->name.z),
			LOG_STR("step", str_sub(step, 0, 64)), LOG_STR("text", str_sub(text, 0, 500)));
	return 0;
}

static const struct rpc_permit permits[] = {
	{.type = GC_HELLO, .states = DIALED, .max = 256, .on = on_hello},
	{.type = GC_RESULT, .states = GUEST, .max = LIM_FRAME_GUEST, .on = on_result},
	{.type = GC_OUTPUT, .states = GUEST, .max = LIM_CHUNK + KIB, .on = on_output},
	{.type = GC_PING, .states = GUEST, .max = 0, .on = on_ping},
	{.type = GC_PONG, .states = GUEST, .max = 0, .on = on_pong},
	{.type = GC_TROUBLE, .states = GUEST, .max = 4 * KIB, .on = on_trouble},
};

/* ---- accepting ---- */

static void
on_dial_timeout(void *arg)
{
	dial_free(arg);
}

static void
take_dial(struct channel *c, int fd)
{
	struct dial *d = calloc(1, sizeof(*d));
	struct rpc_opts o = {
		.name = "guest",
		.permits = permits,
		.n_permits = ARRAY_LEN(permits),
		.max_queue = GUEST_QUEUE,
		.owner = d,
		.on_close = on_close,
	};

	if (!d) {
		fd_close(fd);
		return;
	}
	d->c = c;
	d->timer = loop_timer_new(c->o.loop, on_dial_timeout, d);
	if (!d->timer || rpc_peer_new(&d->peer, c->o.loop, fd, &o, NULL) < 0) {
		loop_timer_free(d->timer);
		free(d);
		return;
	}
	d->next = c->dials;
	c->dials = d;
	c->n_dials++;
	loop_timer_start(d->timer, DIAL_MS, 0);
}

static void
on_acceptable(void *arg, unsigned events)
{
	struct channel *c = arg;

	(void)events;
	int fd = accept4(c->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

	if (fd < 0)
		return;
	if (c->n_dials - (c->guest ? 1 : 0) >= DIALS_MAX) {
		fd_close(fd);
		return;
	}
	take_dial(c, fd);
}

/* The path through /proc fits sun_path whatever the directory is called. */
static int
listen_in(const char *dir, int *out, struct err *e)
{
	static const char name[] = "hands.sock";
	struct sockaddr_un a = {.sun_family = AF_UNIX};
	AUTO(fd) int at = open(dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
	AUTO(fd) int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	if (at < 0 || fd < 0)
		return err_os(e, "socket in %s", dir);
	snprintf(a.sun_path, sizeof(a.sun_path), "/proc/self/fd/%d/%s", at, name);
	unlinkat(at, name, 0);
	if (bind(fd, (struct sockaddr *)&a, sizeof(a)) < 0)
		return err_os(e, "bind in %s", dir);
	/* Whoever runs inside may dial: the resume key decides, not the file's mode. */
	if (fchmodat(at, name, 0666, 0) < 0 || listen(fd, 8) < 0)
		return err_os(e, "listen in %s", dir);
	*out = MOVE_FD(fd);
	return 0;
}

int
channel_new(struct channel **out, const struct channel_opts *o, struct err *e)
{
	struct channel *c = calloc(1, sizeof(*c));

	if (!c)
		return err_set(e, ERR_NO_MEMORY, "channel");
	c->o = *o;
	c->name = id_from(str_z(o->name));
	c->o.name = c->name.z;
	str_copy_z(str_z(o->key), c->key, sizeof(c->key));
	c->fd = -1;
	int r = listen_in(o->dir, &c->fd, e);

	if (r == 0) {
		c->io = loop_io_new(o->loop, c->fd, on_acceptable, c);
		if (!c->io)
			r = err_os(e, "watch a socket");
	}
	if (r < 0) {
		channel_free(c);
		return r;
	}
	c->o.dir = c->o.key = NULL;
	loop_io_want(c->io, LOOP_READ);
	*out = c;
	return 0;
}

void
channel_free(struct channel *c)
{
	if (!c)
		return;
	while (c->dials)
		dial_free(c->dials);
	loop_io_free(c->io);
	fd_close(c->fd);
	free(c);
}

bool
channel_is_up(const struct channel *c)
{
	return c->guest != NULL;
}

const char *
channel_key(const struct channel *c)
{
	return c->key;
}

void
channel_send(struct channel *c, struct buf *b)
{
	ASSERT(c->guest);
	rpc_send(c->guest->peer, b);
}
