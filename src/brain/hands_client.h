/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Tool calls through hands. Claims a sandbox for the session on its first call (and again whenever the former
 * one ended), sends the files it wants, executes, and reports each call exactly once. It never repeats a call
 * that may have run: after a lost connection it asks for the result instead.
 */
#pragma once

#include "base/json.h"
#include "io/loop.h"
#include "io/rpc.h"
#include "model/session.h"
#include "store/store.h"

struct hands_client;
struct hands_call;

struct hands_opts {
	struct store *store;
	struct str image;
	uint64_t memory, pids, disk, cpu_milli;
	void *owner;
	/* A sandbox was claimed ("existing", "warm", "cold", "rebuilt") or ended (reason). For the operator's
	 * view. */
	void (*on_sandbox)(
		void *owner, struct str session_id, struct str what, uint64_t generation, uint64_t us);
	/* An output file: `fd` is taken. */
	void (*on_output)(void *owner, struct str session_id, struct str path, uint64_t size, int fd);
};

/* NULL when out of memory. */
struct hands_client *hands_client_new(struct loop *l, const struct hands_opts *o);
void hands_client_free(struct hands_client *h);
/* Uses this connection from now on (takes fd). Calls in flight are collected on it. */
void hands_client_set_peer(struct hands_client *h, int fd);
bool hands_client_connected(const struct hands_client *h);

enum hands_outcome {
	HANDS_DONE,      /* the tool ran; text and is_error are its own */
	HANDS_CANCELLED, /* stopped by hands_call_cancel */
	HANDS_LOST,      /* unknown whether and how far it ran: text says so */
	HANDS_NOT_RUN,   /* certainly did not run: text names the step that failed */
};

struct hands_result {
	enum hands_outcome outcome;
	bool is_error;
	struct str text; /* borrowed during the callback */
	uint64_t run_us;
};

struct hands_call_opts {
	const struct session_state *session; /* borrowed during the call to hands_execute */
	struct str exec_id;
	struct str tool;
	struct str input; /* JSON */
	bool collect;     /* it may have been sent before: ask for its result, never run it */
	void *arg;
	/* Once; the call is freed afterwards. */
	void (*on_done)(void *arg, const struct hands_result *r);
};

/* ERR_NO_MEMORY. */
int hands_execute(
	struct hands_client *h, const struct hands_call_opts *o, struct hands_call **out, struct err *e);
/* Asks guest to stop it; on_done follows. */
void hands_call_cancel(struct hands_call *c);
/* Forgets the call without on_done. NULL is fine. */
void hands_call_drop(struct hands_call *c);
/* The result is durable: guest may forget it. */
void hands_ack(struct hands_client *h, struct str session_id, struct str exec_id);

/* Ends the session's sandbox; `destroy` also deletes its workspace. Without a connection it is done on the
 * next one. */
void hands_client_release(struct hands_client *h, struct str session_id, bool destroy);

/* JSON that hands reported about itself, or "null". */
struct str hands_client_status(const struct hands_client *h);
