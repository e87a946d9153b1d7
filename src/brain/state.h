/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The brain's own structs, shared by its files only. Ownership:
 *
 *   brain -> lives (hash table) -> state (the fold), context, kept bodies, subs, run
 *   brain -> gate (model_client), hands (hands_client)
 *
 * A live entry exists while anything needs it: subscribers, waiting callbacks, a run, or the cache of
 * recently used sessions. Its state may be absent (subscribers of a session that nobody touched).
 */
#pragma once

#include "brain/brain.h"
#include "model/transcript.h"

struct gate_client;
struct hands_client;
struct run;

/* A body that a later step needs again: queued client events (second delivery) and open tool uses (name and
 * input). */
struct live_kept {
	struct live_kept *next;
	uint32_t seq;
	enum event_type type;
	struct rc_bytes *body;
};

struct live_waiter {
	struct live_waiter *next;
	brain_session_cb *cb;
	void *arg;
};

struct brain_sub {
	struct live *live;
	struct brain_sub *next, **link;
	uint64_t since_request; /* live->requests when it was attached: previews of later requests only */
	struct brain_sub_opts o;
};

struct live {
	struct brain *brain;
	struct live *hash_next;
	struct live *lru_prev, *lru_next; /* in the cache list while idle and loaded */
	bool in_lru;
	struct id id;
	bool loading;
	bool deleting;
	unsigned pins;               /* changes and runs that hold on to it */
	struct session_state *state; /* NULL: not loaded */
	struct transcript *context;  /* NULL: not loaded, or dropped while idle */
	struct live_kept *kept;
	struct live_waiter *waiters;
	struct brain_sub *subs;
	struct run *run;
	uint64_t requests; /* model requests seen starting in this process */
	uint64_t epoch;    /* lease, 0: none taken yet */
	struct id opened;  /* the span.model_request_start that this process committed last */
	uint32_t n_unsure; /* tool uses that a former process may have sent to hands */
	uint32_t unsure[LIM_MODEL_TOOL_USES];
};

struct brain {
	struct loop *loop;
	struct brain_opts o;
	struct live **table;
	size_t table_cap, n_lives;
	struct live lru; /* list head: lru_next is the most recently used */
	size_t n_lru;
	struct gate_client *gate;
	struct hands_client *hands;
	size_t n_runs;
	struct output *outputs; /* being copied into the store */
	bool stopping;
};

/* ---- live.c ---- */

/* The entry of that id, made when absent (NULL: out of memory). */
struct live *live_entry(struct brain *b, struct str id);
/* The entry if there is one. */
struct live *live_find(struct brain *b, struct str id);
/* Frees the entry when nothing needs it; otherwise moves an idle one into the cache. Call after dropping a
 * pin, a sub or a run. */
void live_settle(struct live *l);
/* Frees every entry, whatever holds it. For brain_free. */
void live_free_all(struct brain *b);
/* The kept body of a row, or NULL. */
struct live_kept *live_kept_find(const struct live *l, uint32_t seq);
/* True when the bodies of all queued events of a loaded session are at hand: else live_load_context. */
bool live_kept_complete(const struct live *l);
/* Reads the whole log into l->context and l->kept, then calls cb. */
void live_load_context(struct live *l, void (*cb)(void *arg, const struct err *err), void *arg);
/* Drops the context of an idle session when it is large. */
void live_trim(struct live *l);

/* ---- subs.c ---- */

/* Hands a committed row to the subscribers. For PROCESSED rows the kept body of the event it names. */
void subs_deliver(struct live *l, const struct event_row *row);
/* Sends a preview record to those who asked and were there when the request began. */
void subs_preview_start(struct live *l, enum event_type type, const struct id *event_id);
void subs_preview_text(struct live *l, const struct id *event_id, unsigned index, struct str delta);
/* Ends every subscription. `deleted`: sends session.deleted first. */
void subs_end(struct live *l, bool deleted);

/* ---- change.c ---- */

/* brain_session_change under the run's lease: how the brain itself appends. */
void live_change(struct live *l, const struct brain_change *c);
/* A plan with an arena; freed with plan_free. NULL when out of memory. */
struct plan *plan_new(void);
void plan_free(struct plan *p);
DEFINE_AUTO(plan, struct plan *, plan_free, NULL);

/* ---- turn_run.c ---- */

/* Looks at what the fold says is to be done and does it, unless the session is idle or its run is busy. */
void run_drive(struct live *l);
/* Frees the run and cancels what it has in flight. */
void run_free(struct run *r);

/* ---- outputs.c ---- */

/* hands' report of an output file: copies it into the store, then tells the owner. Takes fd. */
void outputs_take(void *owner, struct str session_id, struct str path, uint64_t size, int fd);
/* Gives up the copies under way. */
void outputs_abort(struct brain *b);
