/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Until LEASH_GO the leash is read with blocking calls of exactly one head and one payload, so that nothing
 * sent after LEASH_GO is swallowed before leash_attach hands the descriptor to a peer of io/rpc.
 */
#include "io/leash.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/frame.h"
#include "base/limits.h"
#include "io/calls.h"
#include "io/rpc.h"

#define EXIT_LEASH_LOST 75

struct leash {
	struct rpc_peer *peer;
	struct leash_ops ops;
	bool stopping;
};

/* ---- the start handshake ---- */

static void
take_fd(struct msghdr *m, int *fd)
{
	for (struct cmsghdr *h = CMSG_FIRSTHDR(m); h; h = CMSG_NXTHDR(m, h)) {
		if (h->cmsg_level != SOL_SOCKET || h->cmsg_type != SCM_RIGHTS ||
			h->cmsg_len != CMSG_LEN(sizeof(int)))
			continue;
		fd_close(*fd);
		memcpy(fd, CMSG_DATA(h), sizeof(int));
	}
}

/* Reads exactly `n` bytes; a descriptor on the way is put into *fd. */
static int
read_exact(char *to, size_t n, int *fd, struct err *e)
{
	size_t done = 0;

	while (done < n) {
		union {
			struct cmsghdr align;
			char space[CMSG_SPACE(sizeof(int))];
		} c;
		struct iovec iov = {to + done, n - done};
		struct msghdr m = {.msg_iov = &iov,
			.msg_iovlen = 1,
			.msg_control = &c,
			.msg_controllen = sizeof(c.space)};
		ssize_t r = recvmsg(LEASH_FD, &m, MSG_CMSG_CLOEXEC);

		if (r < 0 && errno == EINTR)
			continue;
		if (r < 0)
			return err_os(e, "read the leash");
		if (r == 0)
			return err_set(e, ERR_IO, "the leash ended during the start");
		take_fd(&m, fd);
		done += (size_t)r;
	}
	return 0;
}

/* One message; its bytes stay in `b`. *fd is the caller's to close. */
static int
read_message(struct buf *b, struct frame *f, int *fd, struct err *e)
{
	char *p = buf_reserve(b, FRAME_HEAD + LIM_FRAME_ROLE);
	size_t used;
	int r;

	if (!p)
		return buf_check(b, e);
	if ((r = read_exact(p, FRAME_HEAD, fd, e)) < 0)
		return r;
	r = frame_parse(str_n(p, FRAME_HEAD), LIM_FRAME_ROLE, f, &used, e);
	if (r == 0) {
		const unsigned char *u = (const unsigned char *)p;
		size_t n = (size_t)u[0] | (size_t)u[1] << 8 | (size_t)u[2] << 16 | (size_t)u[3] << 24;

		if ((r = read_exact(p + FRAME_HEAD, n, fd, e)) < 0)
			return r;
		r = frame_parse(str_n(p, FRAME_HEAD + n), LIM_FRAME_ROLE, f, &used, e);
	}
	if (r < 0)
		return err_wrap(e, "leash");
	if (((f->flags & FRAME_FD) != 0) != (*fd >= 0))
		return err_set(e, ERR_CORRUPT, "leash: message %u and its descriptor do not match", f->type);
	return 0;
}

static int
on_config(struct leash_start *s, struct frame_r *r, struct err *e)
{
	struct str text = frame_get_str(r);
	int rc = frame_done(r, e);

	if (rc < 0)
		return rc;
	if (s->config)
		return err_set(e, ERR_CORRUPT, "leash: a second configuration");
	if (json_parse(text, &s->config, e) < 0)
		return err_set(e, ERR_CORRUPT, "leash: the configuration is no JSON");
	return 0;
}

struct sockets {
	struct leash_fd *list;
	size_t *n;
	bool numbered;
};

static int
on_socket(const struct sockets *to, struct frame_r *r, int *fd, struct err *e)
{
	struct leash_fd x = {.fd = *fd};
	struct str name = frame_get_str(r);

	if (to->numbered)
		x.number = frame_get_u64(r);
	int rc = frame_done(r, e);

	if (rc < 0)
		return rc;
	if (!name.n || !str_copy_z(name, x.name, sizeof(x.name)) || *fd < 0)
		return err_set(e, ERR_CORRUPT, "leash: a socket without a name or descriptor");
	if (*to->n == LEASH_PEERS_MAX)
		return err_set(e, ERR_CORRUPT, "leash: more than %d sockets", LEASH_PEERS_MAX);
	MOVE_FD(*fd);
	to->list[(*to->n)++] = x;
	return 0;
}

/* The content of a memfd. */
static int
read_secret(int fd, struct secret **out, struct err *e)
{
	char text[LIM_SECRET];
	struct stat st;
	ssize_t n;

	if (fstat(fd, &st) < 0)
		return err_os(e, "leash: secret");
	if (st.st_size > (off_t)sizeof(text))
		return err_set(e, ERR_CORRUPT, "leash: a secret is over %d bytes", LIM_SECRET);
	n = pread(fd, text, sizeof(text), 0);
	if (n < 0)
		return err_os(e, "leash: secret");
	*out = secret_new(str_n(text, (size_t)n));
	secret_wipe(text, sizeof(text));
	return *out ? 0 : err_set(e, ERR_NO_MEMORY, "leash: secret");
}

static int
on_secret(struct leash_start *s, struct frame_r *r, int fd, struct err *e)
{
	struct leash_secret *x = &s->secrets[s->n_secrets];
	struct str name = frame_get_str(r);
	int rc = frame_done(r, e);

	if (rc < 0)
		return rc;
	if (s->n_secrets == LEASH_SECRETS_MAX)
		return err_set(e, ERR_CORRUPT, "leash: more than %d secrets", LEASH_SECRETS_MAX);
	if (!name.n || !str_copy_z(name, x->name, sizeof(x->name)) || fd < 0)
		return err_set(e, ERR_CORRUPT, "leash: a secret without a name or descriptor");
	if ((rc = read_secret(fd, &x->value, e)) < 0)
		return rc;
	s->n_secrets++;
	return 0;
}

/* 1: started, 0: go on. */
static int
on_start_message(struct leash_start *s, const struct frame *f, int *fd, struct err *e)
{
	struct frame_r r = frame_r(f->payload);

	switch (f->type) {
	case LEASH_CONFIG:
		return on_config(s, &r, e);
	case LEASH_LISTEN:
		return on_socket(&(struct sockets){s->listens, &s->n_listens, false}, &r, fd, e);
	case LEASH_PEER:
		return on_socket(&(struct sockets){s->peers, &s->n_peers, true}, &r, fd, e);
	case LEASH_SECRET:
		return on_secret(s, &r, *fd, e);
	case LEASH_GO:
		if (!s->config)
			return err_set(e, ERR_CORRUPT, "leash: started without a configuration");
		return 1;
	default:
		return err_set(e, ERR_CORRUPT, "leash: message %u before the start", f->type);
	}
}

int
leash_start(struct leash_start *out, struct err *e)
{
	AUTO(buf) struct buf b;
	struct leash_start *s = out;
	int r = 0;

	*s = (struct leash_start){0};
	buf_init(&b, FRAME_HEAD + LIM_FRAME_ROLE);
	if (fcntl(LEASH_FD, F_SETFD, FD_CLOEXEC) < 0)
		r = err_os(e, "no leash: roles are started by pinfold serve");
	while (r == 0) {
		AUTO(fd) int fd = -1;
		struct frame f = {0};

		buf_clear(&b);
		r = read_message(&b, &f, &fd, e);
		if (r == 0)
			r = on_start_message(s, &f, &fd, e);
	}
	if (r > 0)
		return 0;
	leash_start_done(s);
	return r;
}

static void
fds_done(struct leash_fd *list, size_t n)
{
	for (size_t i = 0; i < n; i++)
		fd_close(MOVE_FD(list[i].fd));
}

void
leash_start_done(struct leash_start *s)
{
	json_free(MOVE(s->config));
	fds_done(s->listens, s->n_listens);
	fds_done(s->peers, s->n_peers);
	for (size_t i = 0; i < s->n_secrets; i++)
		secret_free(MOVE(s->secrets[i].value));
	s->n_listens = s->n_peers = s->n_secrets = 0;
}

int
leash_failed(const struct err *e)
{
	AUTO(buf) struct buf b;
	size_t off = 0;

	buf_init(&b, FRAME_HEAD + 4096);
	struct frame_w w = frame_begin(&b, LEASH_FAILED, 0);

	frame_u64(&w, (uint64_t)e->kind);
	frame_str(&w, str_z(e->msg));
	frame_end(&w, 0);
	while (!b.fail && off < b.n) {
		ssize_t r = send(LEASH_FD, b.p + off, b.n - off, MSG_NOSIGNAL);

		if (r < 0 && errno == EINTR)
			continue;
		if (r <= 0)
			break;
		off += (size_t)r;
	}
	return err_exit_code(e->kind);
}

/* ---- on the loop ---- */

static int
on_peer(void *owner, struct rpc_peer *p, struct rpc_msg *m, struct err *e)
{
	struct leash *l = owner;
	struct frame_r r = frame_r(m->f.payload);
	struct str name = frame_get_str(&r);
	uint64_t number = frame_get_u64(&r);
	char z[LEASH_NAME_MAX];
	int rc = frame_done(&r, e);

	(void)p;
	if (rc < 0)
		return rc;
	if (!str_copy_z(name, z, sizeof(z)))
		return err_set(e, ERR_CORRUPT, "leash: over-long role name");
	if (l->ops.on_peer)
		l->ops.on_peer(l->ops.owner, z, number, MOVE_FD(m->fd));
	return 0;
}

static int
on_stop(void *owner, struct rpc_peer *p, struct rpc_msg *m, struct err *e)
{
	struct leash *l = owner;

	(void)p;
	(void)m;
	(void)e;
	if (!l->ops.on_stop)
		_exit(0);
	if (!l->stopping) {
		l->stopping = true;
		l->ops.on_stop(l->ops.owner);
	}
	return 0;
}

/* Without its supervisor a role must not live on: not even to finish what it does. */
static void
on_close(void *owner, struct rpc_peer *p, const struct err *why)
{
	const struct leash *l = owner;

	(void)p;
	(void)why;
	_exit(l->stopping ? 0 : EXIT_LEASH_LOST);
}

static const struct rpc_permit permits[] = {
	{.type = LEASH_PEER, .max = 4096, .with_fd = true, .on = on_peer},
	{.type = LEASH_STOP, .max = 0, .on = on_stop},
};

int
leash_attach(struct leash **out, struct loop *loop, const struct leash_ops *ops, struct err *e)
{
	struct leash *l = calloc(1, sizeof(*l));
	struct rpc_opts o = {
		.name = "supervise",
		.permits = permits,
		.n_permits = ARRAY_LEN(permits),
		.max_queue = 1 * MIB,
		.owner = l,
		.on_close = on_close,
	};

	if (!l)
		return err_set(e, ERR_NO_MEMORY, "leash");
	l->ops = *ops;
	int r = rpc_peer_new(&l->peer, loop, LEASH_FD, &o, e);

	if (r < 0) {
		free(l);
		return r;
	}
	*out = l;
	return 0;
}

void
leash_free(struct leash *l)
{
	if (!l)
		return;
	rpc_peer_free(l->peer);
	free(l);
}

void
leash_ready(struct leash *l, struct str note)
{
	AUTO(buf) struct buf b;

	buf_init(&b, FRAME_HEAD + 4096);
	struct frame_w w = frame_begin(&b, LEASH_READY, 0);

	frame_str(&w, str_sub(note, 0, 2048));
	frame_end(&w, 0);
	rpc_send(l->peer, &b);
}
