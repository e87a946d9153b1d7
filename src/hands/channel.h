/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The host end of one sandbox's socket (base/guest_call.h): listens in the directory that is mounted at
 * /run/pinfold, decides which connection is the guest's, checks every frame, and hands over what is left.
 * Everything that comes in is hostile.
 *
 * States of a connection: DIALED (only GC_HELLO) -> GUEST. At most one is GUEST; a later HELLO with the right
 * resume key takes its place. The first HELLO of a channel without a key is the guest's own, because it comes
 * before any tool runs; it gets the key.
 */
#pragma once

#include "base/buf.h"
#include "io/loop.h"

#define CHANNEL_KEY 65 /* resume key with NUL */

struct channel;

struct guest_result {
	struct str exec_id; /* all borrowed during the callback */
	uint64_t status;    /* enum guest_status */
	bool is_error;
	struct str text;
	struct str offload;
	uint64_t full_length;
	uint64_t run_us;
};

struct channel_ops {
	void *owner;
	/* The guest is connected (first or again). */
	void (*on_up)(void *owner);
	/* Its connection ended; it may dial again. */
	void (*on_down)(void *owner);
	/* A negative result says that the guest must not have sent this: the channel goes bad. */
	int (*on_result)(void *owner, const struct guest_result *r, struct err *e);
	int (*on_output)(void *owner, struct str exec_id, struct str piece, struct err *e);
	/* The guest broke the protocol; nothing more is read. The sandbox is lost. */
	void (*on_bad)(void *owner, const struct err *why);
};

struct channel_opts {
	struct loop *loop;
	const char *dir;  /* where hands.sock is made; any socket of that name is replaced */
	const char *name; /* the sandbox, for the log; copied */
	const char *key;  /* resume key of an earlier hands, or "" */
	uint64_t tool_procs, tool_memory, tool_file;
	struct channel_ops ops;
};

/* Starts listening. ERR_IO, ERR_NO_MEMORY. */
int channel_new(struct channel **out, const struct channel_opts *o, struct err *e);
/* Safe inside its own callbacks. */
void channel_free(struct channel *c);
/* True while the guest is connected. */
bool channel_is_up(const struct channel *c);
/* The key the guest holds; "" before its first HELLO. Borrowed. */
const char *channel_key(const struct channel *c);
/* Sends the frames in `b` to the guest and clears it; only while it is up. */
void channel_send(struct channel *c, struct buf *b);
