/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Invariants:
 *  1. A descriptor is attached to the first byte of its frame: a segment with a descriptor always begins a
 * sendmsg of its own. The kernel ends a recvmsg after the piece that carried descriptors, so each read brings
 * at most one, and its frame begins inside the bytes of that read (struct taken_fd keeps that range).
 *  2. Nothing is buffered for a frame before its head passed the permit table.
 *  3. on_close runs once, never from inside rpc_send; after it (or rpc_peer_free) no callback runs.
 *  4. `held` > 0 while a callback may be on the stack: the memory is released by the outermost one.
 */
#include "io/rpc.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include "base/limits.h"

enum {
	SEG_JOIN = 16 * 1024,   /* smaller sends are copied behind each other, larger ones are handed over */
	READ_PIECE = 4096,      /* read size when nothing is known; also what an idle peer may keep */
	READ_AHEAD = 64 * 1024, /* bytes read beyond the frame being awaited */
	READ_ROUND = 1024 * 1024, /* bytes per callback, so that one peer cannot starve the others */
	IOV_MAX_SEND = 64,
	FDS_WAITING = 32, /* descriptors read ahead of their frames */
	FDS_RECV = 4,
};

#define QUEUE_DEFAULT (64 * MIB)

struct seg {
	struct seg *next;
	struct buf b;
	size_t off;
	int fd;
};

struct taken_fd {
	int fd;
	uint64_t from, to; /* stream offsets of the read that brought it */
};

struct rpc_peer {
	struct loop *l;
	struct loop_io *io;
	int fd;
	const struct rpc_permit *permits;
	size_t n_permits;
	void *owner;
	void (*on_close)(void *owner, struct rpc_peer *p, const struct err *why);
	void (*on_room)(void *owner, struct rpc_peer *p);
	const char *name;
	uint32_t state;
	unsigned held;
	bool freed;
	bool closed;   /* broken or ended; on_close ran or will run from `task` */
	bool reported; /* on_close ran */
	bool paused;
	bool resuming; /* no longer paused, but what a pause held back was not handed over yet */
	bool deaf;     /* the peer reads no more: sends are dropped until its end is read */
	bool sent;     /* something was written in this round: later sends wait for `task` */
	bool blocked;  /* the socket is full: wait for LOOP_WRITE */
	bool over;     /* the queue passed the half; on_room is due */
	struct err why;
	struct loop_task task;

	struct buf in;
	uint64_t in_at; /* stream offset of in.p[0] */
	struct taken_fd fds[FDS_WAITING];
	size_t n_fds;

	struct seg *first, *last;
	size_t queued;
	size_t max_queue;
};

/* ---- life ---- */

static void
seg_free(struct seg *s)
{
	buf_done(&s->b);
	fd_close(s->fd);
	free(s);
}

static void
queue_drop(struct rpc_peer *p)
{
	while (p->first) {
		struct seg *s = p->first;

		p->first = s->next;
		seg_free(s);
	}
	p->last = NULL;
	p->queued = 0;
}

/* Gives back everything but the object itself. */
static void
release(struct rpc_peer *p)
{
	loop_io_free(MOVE(p->io));
	fd_close(MOVE_FD(p->fd));
	queue_drop(p);
	for (size_t i = 0; i < p->n_fds; i++)
		fd_close(p->fds[i].fd);
	p->n_fds = 0;
}

static void
hold(struct rpc_peer *p)
{
	p->held++;
}

static void
unhold(struct rpc_peer *p)
{
	if (--p->held || !p->freed)
		return;
	buf_done(&p->in);
	free(p);
}

/* Marks the peer as gone; `task` tells the owner. */
static void
fail(struct rpc_peer *p, const struct err *why)
{
	if (p->closed || p->freed)
		return;
	p->closed = true;
	p->why = *why;
	release(p);
	loop_task_post(p->l, &p->task);
}

/* Tells the owner, when it is due. The caller holds the peer. */
static void
report(struct rpc_peer *p)
{
	if (!p->closed || p->reported || p->freed)
		return;
	p->reported = true;
	loop_task_cancel(p->l, &p->task);
	p->on_close(p->owner, p, &p->why);
}

static void
want(struct rpc_peer *p)
{
	if (p->io)
		loop_io_want(
			p->io, (p->paused || p->resuming ? 0 : LOOP_READ) | (p->blocked ? LOOP_WRITE : 0));
}

/* ---- writing ---- */

/* Gathers what one sendmsg can take: up to the next segment that carries a descriptor. */
static size_t
gather(const struct rpc_peer *p, struct iovec *iov, size_t room)
{
	size_t n = 0;

	for (const struct seg *s = p->first; s && n < room; s = s->next) {
		if (s->fd >= 0 && n)
			break;
		iov[n++] = (struct iovec){s->b.p + s->off, s->b.n - s->off};
	}
	return n;
}

static void
sent(struct rpc_peer *p, size_t n)
{
	p->queued -= n;
	fd_close(MOVE_FD(p->first->fd));
	while (n) {
		struct seg *s = p->first;
		size_t part = s->b.n - s->off;

		if (n < part) {
			s->off += n;
			return;
		}
		n -= part;
		p->first = s->next;
		if (!p->first)
			p->last = NULL;
		seg_free(s);
	}
}

static ssize_t
send_some(int fd, struct iovec *iov, size_t n_iov, int pass_fd)
{
	union {
		struct cmsghdr align;
		char space[CMSG_SPACE(sizeof(int))];
	} c = {0};
	struct msghdr m = {.msg_iov = iov, .msg_iovlen = n_iov};
	ssize_t r;

	if (pass_fd >= 0) {
		m.msg_control = &c;
		m.msg_controllen = sizeof(c.space);
		struct cmsghdr *h = CMSG_FIRSTHDR(&m);

		*h = (struct cmsghdr){
			.cmsg_len = CMSG_LEN(sizeof(int)), .cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS};
		memcpy(CMSG_DATA(h), &pass_fd, sizeof(int));
	}
	do
		r = sendmsg(fd, &m, MSG_NOSIGNAL | MSG_DONTWAIT);
	while (r < 0 && errno == EINTR);
	return r;
}

static void
write_failed(struct rpc_peer *p)
{
	struct err e = {0};
	int os = errno;

	err_os(&e, "write to %s", p->name);
	if (os != EPIPE && os != ECONNRESET) {
		fail(p, &e);
		return;
	}
	/* The peer is going away, but what it sent before is still to be read: its end decides. */
	p->why = e;
	p->deaf = true;
	queue_drop(p);
}

/* Writes until the queue is empty or the socket full. */
static void
flush(struct rpc_peer *p)
{
	while (p->first) {
		struct iovec iov[IOV_MAX_SEND];
		size_t n = gather(p, iov, IOV_MAX_SEND);
		ssize_t r = send_some(p->fd, iov, n, p->first->fd);

		if (r >= 0) {
			p->blocked = false;
			sent(p, (size_t)r);
			continue;
		}
		if (errno == EAGAIN) {
			p->blocked = true;
			break;
		}
		write_failed(p);
	}
	if (!p->first)
		p->blocked = false;
	want(p);
}

static void
tell_room(struct rpc_peer *p)
{
	if (!p->over || p->queued >= p->max_queue / 4)
		return;
	p->over = false;
	if (p->on_room && !p->freed && !p->closed)
		p->on_room(p->owner, p);
}

/* Appends the content of `b`; small pieces share a segment, large ones move in whole. */
static int
enqueue(struct rpc_peer *p, struct buf *b, int fd)
{
	struct seg *s = p->last;
	size_t n = b->n;

	if (s && fd < 0 && s->b.n + n <= SEG_JOIN) {
		buf_put(&s->b, b->p, n);
		if (s->b.fail)
			return -1;
		p->queued += n;
		return 0;
	}
	s = calloc(1, sizeof(*s));
	if (!s) {
		fd_close(fd);
		return -1;
	}
	s->fd = fd;
	if (n >= SEG_JOIN / 4) {
		s->b = *b;
		buf_init(b, s->b.max);
	} else {
		buf_init(&s->b, SEG_JOIN);
		buf_put(&s->b, b->p, n);
		if (s->b.fail) {
			seg_free(s);
			return -1;
		}
	}
	*(p->last ? &p->last->next : &p->first) = s;
	p->last = s;
	p->queued += n;
	return 0;
}

static void
send_frames(struct rpc_peer *p, struct buf *b, int fd)
{
	struct err e = {0};

	if (p->closed || p->freed || p->deaf || (!b->n && !b->fail)) {
		fd_close(fd);
		return;
	}
	if (buf_check(b, &e) < 0) {
		fd_close(fd);
		err_wrap(&e, "frame for %s", p->name);
		fail(p, &e);
		return;
	}
	if (p->queued + b->n > p->max_queue) {
		fd_close(fd);
		err_set(&e, ERR_TOO_LARGE, "%s does not read: %zu bytes wait", p->name, p->queued);
		fail(p, &e);
		return;
	}
	if (enqueue(p, b, fd) < 0) {
		err_set(&e, ERR_NO_MEMORY, "queue of %s", p->name);
		fail(p, &e);
		return;
	}
	if (p->queued > p->max_queue / 2)
		p->over = true;
	/* The first send of a round leaves at once, the others together when the round's callbacks are done.
	 */
	if (!p->sent && !p->blocked)
		flush(p);
	p->sent = true;
	loop_task_post(p->l, &p->task);
}

void
rpc_send(struct rpc_peer *p, struct buf *b)
{
	send_frames(p, b, -1);
	buf_clear(b);
}

void
rpc_send_fd(struct rpc_peer *p, struct buf *b, int fd)
{
	send_frames(p, b, fd);
	buf_clear(b);
}

bool
rpc_peer_full(const struct rpc_peer *p)
{
	return p->queued > p->max_queue / 2;
}

/* ---- reading ---- */

static const struct rpc_permit *
permit_of(const struct rpc_peer *p, uint16_t type)
{
	for (size_t i = 0; i < p->n_permits; i++)
		if (p->permits[i].type == type)
			return &p->permits[i];
	return NULL;
}

static uint32_t
le32(const char *p)
{
	const unsigned char *u = (const unsigned char *)p;

	return (uint32_t)u[0] | (uint32_t)u[1] << 8 | (uint32_t)u[2] << 16 | (uint32_t)u[3] << 24;
}

/* Judges a frame's head before its payload is taken in: its permit, or NULL. */
static const struct rpc_permit *
check_head(const struct rpc_peer *p, const char *head, struct err *e)
{
	uint32_t length = le32(head);
	uint16_t type = (uint16_t)(le32(head + 4) & 0xffff);
	uint16_t flags = (uint16_t)(le32(head + 4) >> 16);
	const struct rpc_permit *pm = permit_of(p, type);

	if (!pm)
		err_set(e, ERR_CORRUPT, "%s sent unknown message %u", p->name, type);
	else if (pm->states && !(pm->states & p->state))
		err_set(e, ERR_CORRUPT, "%s sent message %u in the wrong state", p->name, type);
	else if (length > pm->max)
		err_set(e, ERR_TOO_LARGE, "%s sent %u bytes in message %u", p->name, length, type);
	else if (pm->with_fd != ((flags & FRAME_FD) != 0))
		err_set(e, ERR_CORRUPT, "%s sent message %u %s a descriptor", p->name, type,
			pm->with_fd ? "without" : "with");
	else
		return pm;
	return NULL;
}

/* Takes the descriptor that belongs to the frame at stream offset `at`. */
static int
take_fd(struct rpc_peer *p, uint64_t at)
{
	if (!p->n_fds || at < p->fds[0].from || at >= p->fds[0].to)
		return -1;
	int fd = p->fds[0].fd;

	p->n_fds--;
	memmove(p->fds, p->fds + 1, p->n_fds * sizeof(p->fds[0]));
	return fd;
}

/* One whole frame from the input, if there is one. 1: handled, 0: more bytes needed, <0: drop. */
static int
dispatch_one(struct rpc_peer *p, size_t *pos, struct err *e)
{
	struct str in = {p->in.p + *pos, p->in.n - *pos};
	uint64_t at = p->in_at + *pos;
	const struct rpc_permit *pm;
	struct rpc_msg m = {.fd = -1};
	size_t used;
	int r;

	/* A descriptor whose read holds no more frame beginnings was not announced by any. */
	if (p->n_fds && p->fds[0].to <= at)
		return err_set(e, ERR_CORRUPT, "%s sent an unexpected descriptor", p->name);
	if (in.n < FRAME_HEAD)
		return 0;
	pm = check_head(p, in.p, e);
	if (!pm)
		return -(int)e->kind;
	r = frame_parse(in, pm->max, &m.f, &used, e);
	if (r <= 0)
		return r;
	if (pm->with_fd && (m.fd = take_fd(p, at)) < 0)
		return err_set(e, ERR_CORRUPT, "%s announced a descriptor but sent none", p->name);
	*pos += used;
	r = pm->on(p->owner, p, &m, e);
	fd_close(m.fd);
	return r < 0 ? r : 1;
}

/* Hands over the whole frames in the input. The caller holds the peer. */
static void
dispatch(struct rpc_peer *p)
{
	struct err e = {0};
	size_t pos = 0;
	int r = 1;

	while (r > 0 && !p->paused && !p->closed && !p->freed)
		r = dispatch_one(p, &pos, &e);
	if (p->freed)
		return;
	buf_drop(&p->in, pos);
	p->in_at += pos;
	if (!p->in.n && p->in.cap > READ_PIECE) {
		size_t max = p->in.max;

		buf_done(&p->in);
		buf_init(&p->in, max);
	}
	if (r < 0)
		fail(p, &e);
}

/* How much to ask for: the rest of the frame that is under way, else one piece. Heads were checked by
 * dispatch. */
static size_t
read_size(const struct rpc_peer *p)
{
	size_t need = FRAME_HEAD;

	if (p->in.n >= FRAME_HEAD)
		need += le32(p->in.p);
	if (need <= p->in.n + READ_PIECE)
		return READ_PIECE;
	need -= p->in.n;
	return need < READ_AHEAD ? READ_AHEAD : need;
}

static int
keep_fds(struct rpc_peer *p, struct msghdr *m, size_t got, struct err *e)
{
	int found[FDS_RECV];
	size_t n = 0;
	bool bad = (m->msg_flags & MSG_CTRUNC) != 0;

	for (struct cmsghdr *h = CMSG_FIRSTHDR(m); h; h = CMSG_NXTHDR(m, h)) {
		if (h->cmsg_level != SOL_SOCKET || h->cmsg_type != SCM_RIGHTS)
			continue;
		size_t k = (h->cmsg_len - CMSG_LEN(0)) / sizeof(int);

		for (size_t i = 0; i < k && n < FDS_RECV; i++)
			memcpy(&found[n++], CMSG_DATA(h) + i * sizeof(int), sizeof(int));
	}
	if (!n && !bad)
		return 0;
	if (n == 1 && !bad && p->n_fds < FDS_WAITING) {
		uint64_t from = p->in_at + p->in.n;

		p->fds[p->n_fds++] = (struct taken_fd){found[0], from, from + got};
		return 0;
	}
	for (size_t i = 0; i < n; i++)
		fd_close(found[i]);
	return err_set(e, ERR_CORRUPT, "%s sent too many descriptors", p->name);
}

/* One read. >0: bytes, 0: nothing now, <0: the peer is over (p->why tells). */
static ssize_t
read_some(struct rpc_peer *p)
{
	union {
		struct cmsghdr align;
		char space[CMSG_SPACE(FDS_RECV * sizeof(int))];
	} c;
	struct err e = {0};
	size_t size = read_size(p);
	char *to = buf_reserve(&p->in, size);
	struct iovec iov = {to, size};
	struct msghdr m = {
		.msg_iov = &iov, .msg_iovlen = 1, .msg_control = &c, .msg_controllen = sizeof(c.space)};
	ssize_t r;

	if (!to) {
		buf_check(&p->in, &e);
		fail(p, &e);
		return -1;
	}
	do
		r = recvmsg(p->fd, &m, MSG_CMSG_CLOEXEC | MSG_DONTWAIT);
	while (r < 0 && errno == EINTR);
	if (r < 0 && errno == EAGAIN)
		return 0;
	if (r > 0 && keep_fds(p, &m, (size_t)r, &e) == 0) {
		p->in.n += (size_t)r;
		return r;
	}
	if (r < 0)
		err_os(&e, "read from %s", p->name);
	else if (r == 0 && p->in.n)
		err_set(&e, ERR_CORRUPT, "%s ended inside a message", p->name);
	else if (r == 0 && p->deaf)
		e = p->why;
	fail(p, &e);
	return -1;
}

static void
on_io(void *arg, unsigned events)
{
	struct rpc_peer *p = arg;
	size_t round = 0;
	ssize_t r = 1;

	hold(p);
	if ((events & LOOP_WRITE) && p->first) {
		flush(p);
		tell_room(p);
	}
	if (!(events & LOOP_READ))
		r = 0;
	while (r > 0 && round < READ_ROUND && !p->paused && !p->closed && !p->freed) {
		size_t asked = read_size(p);

		r = read_some(p);
		if (r <= 0)
			break;
		round += (size_t)r;
		dispatch(p);
		/* A short read emptied the socket, or stopped behind a descriptor: the loop tells if there is
		 * more. */
		if ((size_t)r < asked)
			break;
	}
	report(p);
	unhold(p);
}

/* The end of the round: flush what waited, hand over what a pause held back, tell of a failure. */
static void
on_task(void *arg)
{
	struct rpc_peer *p = arg;

	hold(p);
	p->sent = false;
	if (!p->closed && p->first && !p->blocked)
		flush(p);
	tell_room(p);
	if (p->resuming && !p->freed && !p->closed) {
		p->resuming = false;
		dispatch(p);
		want(p);
	}
	report(p);
	unhold(p);
}

void
rpc_peer_pause(struct rpc_peer *p, bool paused)
{
	if (p->paused == paused || p->closed || p->freed)
		return;
	p->paused = paused;
	p->resuming = !paused;
	want(p);
	if (!paused)
		loop_task_post(p->l, &p->task);
}

static size_t
largest(const struct rpc_opts *o)
{
	size_t max = 0;

	for (size_t i = 0; i < o->n_permits; i++)
		if (o->permits[i].max > max)
			max = o->permits[i].max;
	return max;
}

int
rpc_peer_new(struct rpc_peer **out, struct loop *l, int fd, const struct rpc_opts *o, struct err *e)
{
	struct rpc_peer *p = calloc(1, sizeof(*p));

	if (!p) {
		fd_close(fd);
		return err_set(e, ERR_NO_MEMORY, "peer %s", o->name);
	}
	p->l = l;
	p->fd = fd;
	p->name = o->name;
	p->permits = o->permits;
	p->n_permits = o->n_permits;
	p->owner = o->owner;
	p->on_close = o->on_close;
	p->on_room = o->on_room;
	p->max_queue = o->max_queue ? o->max_queue : QUEUE_DEFAULT;
	p->state = 1;
	p->task = (struct loop_task){.fn = on_task, .arg = p};
	buf_init(&p->in, FRAME_HEAD + largest(o) + READ_PIECE + READ_AHEAD);
	if (fcntl(fd, F_SETFD, FD_CLOEXEC) == 0)
		p->io = loop_io_new(l, fd, on_io, p);
	if (!p->io) {
		int r = err_os(e, "watch %s", o->name);

		fd_close(fd);
		free(p);
		return r;
	}
	want(p);
	*out = p;
	return 0;
}

void
rpc_peer_free(struct rpc_peer *p)
{
	if (!p || p->freed)
		return;
	if (!p->closed && p->first)
		flush(p);
	loop_task_cancel(p->l, &p->task);
	p->freed = true;
	release(p);
	hold(p);
	unhold(p);
}

void
rpc_peer_set_state(struct rpc_peer *p, uint32_t state_bit)
{
	p->state = state_bit;
}

int
rpc_peer_cred(const struct rpc_peer *p, int *pid, unsigned *uid, struct err *e)
{
	struct ucred c;
	socklen_t n = sizeof(c);

	if (p->fd < 0 || getsockopt(p->fd, SOL_SOCKET, SO_PEERCRED, &c, &n) < 0)
		return err_os(e, "credentials of %s", p->name);
	*pid = c.pid;
	*uid = c.uid;
	return 0;
}
