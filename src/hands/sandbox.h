/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One sandbox, from its start to the removal of its last trace on the host.
 *
 *   STARTING --job done, guest connected--> READY --------------+
 *      | the job fails, or the time is over                     | sandbox_stop, its process ends, the guest
 * breaks the v                                                        v protocol or stays away STOPPING
 * <--------------------------------------------------+ | the stop job removed everything
 *      v
 *   on_end, then the owner frees it
 *
 * The owner is the pool first and a session later, or a session from the start. The state file makes a later
 * hands find it again.
 */
#pragma once

#include "hands/channel.h"
#include "hands/env.h"
#include "hands/launch.h"

enum sandbox_phase { SANDBOX_STARTING, SANDBOX_READY, SANDBOX_STOPPING };

/* What must be equal for a warm sandbox to fit a claim. */
struct sandbox_key {
	char image[HANDS_NAME_MAX], layer[HANDS_NAME_MAX];
	struct limits limits;
};

struct sandbox;

struct sandbox_end {
	bool started; /* it was READY once: it is gone. Else: the start failed at `step` */
	enum hands_step step;
	struct err err;     /* of a failed start */
	const char *reason; /* static: memory, processes, wall, exited, lost, idle, stopped */
	bool exit_known;    /* from waitpid */
	int exit_status;
};

struct sandbox_ops {
	void *owner;
	void (*on_ready)(void *owner, struct sandbox *s);
	/* Once. Nothing of it is left on the host; free it. */
	void (*on_end)(void *owner, struct sandbox *s, const struct sandbox_end *end);
	/* The guest dialed again: what was asked and not answered is to be sent again. NULL is fine. */
	void (*on_up)(void *owner, struct sandbox *s);
	/* As in channel_ops. NULL: the guest has nothing to say yet. */
	int (*on_result)(void *owner, const struct guest_result *r, struct err *e);
	int (*on_output)(void *owner, struct str exec_id, struct str piece, struct err *e);
};

/* Read by the owner; written here. */
struct sandbox {
	struct sandbox *next; /* the owner's list */
	struct id id;
	struct sandbox_key key;
	enum sandbox_phase phase;
	struct id session; /* "" while it is warm */
	uint64_t generation;
	char workspace[HANDS_PATH]; /* where the workspace's file is */
	uint64_t started_us;        /* monotonic */
	struct launch_result launch;
	struct sandbox_private *priv;
};

struct sandbox_start {
	const struct hands_env *env;
	const struct sandbox_key *key;
	struct str session; /* "" : for the pool */
	uint64_t generation;
	const char *workspace;     /* its directory; NULL: a new one in the pool */
	struct launch_file *files; /* borrowed until on_ready or on_end */
	size_t n_files;
	struct sandbox_ops ops;
};

/* Begins to start one. ERR_IO, ERR_NO_MEMORY: nothing was begun and on_end is not called. */
int sandbox_start(struct sandbox **out, const struct sandbox_start *o, struct err *e);

/* Takes over what an earlier hands left in the directory of `id`: 1 with *out READY (its guest has to dial
 * again in time), 0 when it is not alive or not complete: the caller removes its remains. */
int sandbox_adopt(
	struct sandbox **out, const struct hands_env *env, const char *id, const struct sandbox_ops *ops);

struct sandbox_tenancy {
	struct str session;
	uint64_t generation;
	const char *workspace;
	struct sandbox_ops ops;
};

/* Gives a READY sandbox to a session, whose workspace is at `workspace` from now on. */
int sandbox_bind(struct sandbox *s, const struct sandbox_tenancy *t, struct err *e);

/* Other callbacks from now on, for one that was adopted. */
void sandbox_own(struct sandbox *s, struct sandbox_ops ops);

/* Begins to end it; `reason` is static. A second call changes nothing. */
void sandbox_stop(struct sandbox *s, const char *reason);

/* Releases the object only; whatever runs goes on. NULL is fine. */
void sandbox_free(struct sandbox *s);

/* True when frames can be sent now. */
bool sandbox_is_up(const struct sandbox *s);
void sandbox_send(struct sandbox *s, struct buf *b);

/* Tells whether tools run: an idle sandbox ends after idle_ms. */
void sandbox_set_busy(struct sandbox *s, bool busy);

/* Ends it when the kernel killed for memory in it. */
void sandbox_check_memory(struct sandbox *s);

/* The ids of tools that were sent, kept for a later hands in the sandbox's directory: appended, or (STR_NULL)
 * all forgotten. */
void sandbox_note_exec(struct sandbox *s, struct str exec_id);
/* True when an earlier hands noted this id. */
bool sandbox_knows_exec(const struct sandbox *s, struct str exec_id);
