/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The tool bash: one persistent /bin/bash per session, calls one after the other.
 *
 * The shell reads its commands from a memory file that the guest appends to, so it takes each in one read
 * instead of one per byte, and waits between them in its builtin `read` on a pipe. It therefore parses,
 * numbers lines and fails exactly as a shell does that is fed through a pipe. docs/internals/guest.md has the
 * picture.
 */
#pragma once

#include "guest/reactor.h"
#include "guest/reply.h"
#include "guest/spawn.h"

struct bash;

/* One call; the caller's, must stay until `done`. */
struct bash_call {
	struct str command; /* borrowed */
	bool restart;
	int64_t timeout_ms; /* what the message names; below 1 expires at once */
	void (*done)(struct bash_call *c, struct reply *r);
	void (*output)(
		struct bash_call *c, struct str piece); /* may be NULL: pieces of output while it runs */
	struct bash_call *next;                         /* bash's own */
	uint64_t started_us;                            /* set when it leaves the queue; 0 before */
};

struct bash_opts {
	struct reactor *reactor;
	const char *workdir; /* borrowed */
	bool isolate;
};

/* NULL: out of memory. No process is started yet. */
struct bash *bash_new(const struct bash_opts *o);
void bash_free(struct bash *b);

/* The limits of shells started from now on. */
void bash_limits(struct bash *b, const struct spawn_limits *limits);

/* Starts the shell now, so that the first call need not wait for it. Does nothing when it runs. */
void bash_warm(struct bash *b);

/* Queues a call. Its done may be called before this returns. */
void bash_run(struct bash *b, struct bash_call *c);

/* Stops a call, running or queued; done is called with the text of an aborted call before this returns. */
void bash_cancel(struct bash *b, struct bash_call *c);

/* Tells that a child was reaped. True when it was the shell. */
bool bash_reaped(struct bash *b, int pid);
