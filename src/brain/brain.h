/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The brain: live sessions and the loop that drives them. It shares a process with `control`, which sees only
 * this header.
 *
 * A live session is the fold of its log in memory, its subscribers, and, while there is something to do, its
 * run (brain/turn_run). Sessions are loaded on demand and evicted when idle and unwatched (a small cache
 * remains). The brain learns of every committed row through brain_on_commit, folds it, hands it to the
 * subscribers (encoded once) and asks turn_next what to do.
 *
 * All on the loop's thread. Callbacks may be called before the function returns when the session is in
 * memory.
 */
#pragma once

#include "base/buf.h"
#include "io/loop.h"
#include "model/client_event.h"
#include "model/plan.h"
#include "model/session.h"
#include "store/store.h"

struct brain;

struct brain_model {
	struct str pattern;  /* "claude-*": a trailing star matches any rest */
	struct str provider; /* name known to gate */
};

struct brain_opts {
	struct store *store;
	const struct brain_model *models; /* first match wins; borrowed for the brain's life */
	size_t n_models;
	uint64_t max_tokens; /* per request */
	struct str image;    /* sandbox image name, "" default */
	uint64_t sandbox_memory, sandbox_pids, sandbox_disk, sandbox_cpu_milli; /* 0: hands' defaults */
	void *owner;
	/* An output file of a session was stored: control registers its document. `blob` is finished. */
	void (*on_output_file)(
		void *owner, struct str session_id, struct str path, struct id file_id, uint64_t size);
};

/* A brain without sessions. ERR_NO_MEMORY. */
int brain_new(struct brain **out, struct loop *l, const struct brain_opts *o, struct err *e);
/* Starts nothing any more. The store still has callbacks to make, into the brain too: stop the brain, close
 * the store, free the brain. NULL is fine. */
void brain_stop(struct brain *b);
/* Drops everything in memory; what runs is found again by brain_recover. NULL is fine. */
void brain_free(struct brain *b);

/* The store's callbacks (store_opts) lead here. */
void brain_on_commit(struct brain *b, struct str session_id, const struct event_row *rows, size_t n);
void brain_on_deleted(struct brain *b, struct str session_id);

/* A connection to gate or hands (takes fd); replaces the former one: what was in flight on it is failed and
 * retried as turn_next says. */
void brain_set_peer(struct brain *b, const char *role, int fd);
/* Whether there is a connection to both gate and hands. */
bool brain_linked(const struct brain *b);

/* Wakes every unfinished session after a start (store_sessions_unfinished). */
void brain_recover(struct brain *b);

/* True when a model of that name can be served. */
bool brain_model_known(const struct brain *b, struct str model);

/* ---- sessions ---- */

/* The current fold; borrowed during the callback. NOT_FOUND. */
typedef void brain_session_cb(void *arg, const struct err *err, const struct session_state *s);
void brain_session_get(struct brain *b, struct str id, brain_session_cb *cb, void *arg);
/* The fold if it is in memory, else NULL; borrowed until the next callback. */
const struct session_state *brain_session_peek(struct brain *b, struct str id);

/* Appends on behalf of a client. `make` is called with the current state, checks it and adds rows to the plan
 * (its arena lives until the callback); it may be called again when another append came between. Its error is
 * passed to cb. On success cb gets the first seq and the rows. */
struct brain_change {
	int (*make)(void *arg, const struct session_state *s, struct plan *p, struct err *e);
	void (*done)(void *arg, const struct err *err, const struct plan *p, uint32_t first_seq,
		const struct session_state *s);
	void *arg;
	bool archive; /* the rows archive the session */
};
/* Runs a change; `done` is called once, with the plan that was appended (n_rows 0: there was nothing to
 * change). */
void brain_session_change(struct brain *b, struct str id, const struct brain_change *c);

/* What a new session begins with; all borrowed. */
struct brain_create {
	const struct session_new *n;
	const struct store_session_index *ix;
	const struct client_event *initial; /* already checked */
	size_t n_initial;
};
/* Creates a session from its CREATED row and the rows of its initial events, then wakes it. */
void brain_session_create(struct brain *b, const struct brain_create *c, brain_session_cb *cb, void *arg);

/* Deletes: refuses busy sessions (INVALID), releases the sandbox with its workspace, deletes the log, tells
 * subscribers. */
void brain_session_delete(struct brain *b, struct str id, store_done_cb *cb, void *arg);

/* ---- subscribers ---- */

enum { BRAIN_PREVIEW_MESSAGE = 1, BRAIN_PREVIEW_THINKING = 2 };

struct brain_sub;
struct brain_sub_opts {
	unsigned previews;
	void *arg;
	/* One SSE record, shared. `droppable`: a preview. */
	void (*on_record)(void *arg, struct rc_bytes *record, bool droppable);
	/* The session is gone or terminated: close the stream. The sub is already detached. */
	void (*on_end)(void *arg);
};
/* Attaches to events appended from now on. The session must exist (checked: cb of brain_session_get first).
 * Costs <= 128 bytes and keeps the session's registry entry, not its fold. ERR_NO_MEMORY. */
int brain_subscribe(struct brain *b, struct str session_id, const struct brain_sub_opts *o,
	struct brain_sub **out, struct err *e);
void brain_unsubscribe(struct brain_sub *s);

/* Operator's figures as JSON members into w: sandboxes, runs, peers, hands' status. */
void brain_status(const struct brain *b, struct json_w *w);
