/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Role calls: frames (base/frame.h) over a Unix stream socket, with a permit table on the receiving side. A
 * frame whose type is not in the table, whose state bit is not set, that is longer than its entry allows, or
 * that carries a descriptor where none is expected, drops the peer. Writing never blocks: bytes queue up to a
 * ceiling, then the peer is dropped.
 */
#pragma once

#include "base/frame.h"
#include "io/loop.h"

struct rpc_peer;

struct rpc_msg {
	struct frame f;
	int fd; /* -1, or a descriptor owned by the handler (close it or MOVE_FD it) */
};

struct rpc_permit {
	uint16_t type;
	uint32_t states; /* bit set of rpc_peer_state values in which it is permitted; 0: all */
	uint32_t max;    /* payload bytes; 0: empty payload only */
	bool with_fd;    /* carries exactly one descriptor; without one the peer is dropped */
	/* <0 drops the peer with that error. */
	int (*on)(void *owner, struct rpc_peer *p, struct rpc_msg *m, struct err *e);
};

struct rpc_opts {
	const char *name;                 /* of the peer, for errors: static */
	const struct rpc_permit *permits; /* static table */
	size_t n_permits;
	size_t max_queue; /* bytes waiting to be written before the peer is dropped; 0: 64 MiB */
	void *owner;
	/* Once, when the peer is gone or was dropped; `why` is ERR_NONE's kind on a clean end. The owner
	 * frees the peer. */
	void (*on_close)(void *owner, struct rpc_peer *p, const struct err *why);
	/* Optional: the queue fell below a quarter of max_queue after rpc_peer_full said true. */
	void (*on_room)(void *owner, struct rpc_peer *p);
};

/* Takes `fd` (a connected Unix stream socket; closed on failure too) and starts reading. ERR_NO_MEMORY,
 * ERR_IO. */
int rpc_peer_new(struct rpc_peer **out, struct loop *l, int fd, const struct rpc_opts *o, struct err *e);
/* Closes without on_close, after one try to write what still waits. NULL is fine; safe inside its own
 * callbacks. */
void rpc_peer_free(struct rpc_peer *p);
DEFINE_AUTO(rpc_peer, struct rpc_peer *, rpc_peer_free, NULL);

/* The state bit used against rpc_permit.states; starts as 1. */
void rpc_peer_set_state(struct rpc_peer *p, uint32_t state_bit);

/* Queues the complete frames in `b` (as made by frame_begin/frame_end) and clears it. Errors close the peer
 * later through on_close; nothing to check here. */
void rpc_send(struct rpc_peer *p, struct buf *b);
/* The same for one frame that carries `fd` (FRAME_FD set by the caller); takes the descriptor. */
void rpc_send_fd(struct rpc_peer *p, struct buf *b, int fd);
/* True when more than half of max_queue waits: producers of bulk data pause until on_room. */
bool rpc_peer_full(const struct rpc_peer *p);
/* Stops / resumes handing over messages (back pressure). Effective after the current message; while paused
 * the peer's end is not seen. */
void rpc_peer_pause(struct rpc_peer *p, bool paused);
/* The peer process, as the kernel says: pid and uid at connect time. */
int rpc_peer_cred(const struct rpc_peer *p, int *pid, unsigned *uid, struct err *e);
