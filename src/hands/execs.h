/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The tool calls of one session: what runs, who waits for it, and the results that control has not
 * acknowledged. They outlive the sandbox. An execution id is used once: a second EXECUTE of a known id joins
 * or returns the result, and guest does the same, so a tool never runs twice.
 */
#pragma once

#include "hands/relay.h"

/* Time above a tool's own limit before its sandbox is ended: guest had its chance to stop it. */
#define EXEC_GRACE_MS 15000

/* A guest that reconnected may answer twice: the second answer of one that was acknowledged meanwhile is no
 * forgery. */
#define EXEC_ACKED 64

struct exec {
	struct exec *next;
	struct id id;
	uint64_t call;    /* control's call that waits; 0: none */
	struct buf frame; /* GC_EXECUTE, sent again when guest reconnects; empty: only GC_COLLECT is asked */
	bool done;
	bool cancelled;
	struct relay_result result; /* when done */
	struct loop_timer *timer;   /* NULL: only collected */
	struct execs *of;
};

struct execs {
	struct exec *list; /* oldest first */
	unsigned n;
	struct id acked[EXEC_ACKED]; /* ring of the latest that were acknowledged */
	unsigned n_acked;
	uint64_t next_call; /* towards guest */
	struct loop *loop;
	void *owner;
	void (*on_overdue)(void *owner, struct exec *x); /* its time and the grace are over */
};

/* In the owner's storage. */
void execs_init(
	struct execs *x, struct loop *l, void *owner, void (*on_overdue)(void *owner, struct exec *x));
void execs_done(struct execs *x);

/* NULL: not known. */
struct exec *execs_find(const struct execs *x, struct str id);
/* True when one has no result yet. */
bool execs_running(const struct execs *x);

struct exec_call {
	struct str id, tool, input;
	uint64_t timeout_ms; /* 0: the longest a tool may take */
	uint64_t call;
};
/* A new one; its GC_EXECUTE is in `frame`. ERR_RATE_LIMITED when LIM_GUEST_RESULTS run already,
 * ERR_NO_MEMORY, ERR_TOO_LARGE. */
int execs_add(struct execs *x, const struct exec_call *c, struct exec **out, struct err *e);
/* One whose result is only asked for. */
int execs_add_collect(struct execs *x, struct str id, uint64_t call, struct exec **out, struct err *e);
/* Remembers that the owner has its result, then removes it. */
void execs_acknowledge(struct execs *x, struct exec *e);
bool execs_was_acknowledged(const struct execs *x, struct str id);
void execs_remove(struct execs *x, struct exec *e);

/* Stores the result and stops the clock. */
int exec_finish(struct exec *x, const struct guest_result *r, struct err *e);

/* Sends it (or asks for it) to the guest of a sandbox that is up. */
void exec_send(struct exec *x, struct sandbox *s);
/* Small messages about an id: GC_CANCEL, GC_ACK. */
void exec_tell(struct sandbox *s, uint16_t type, struct str id);
