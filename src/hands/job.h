/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Work that would block the loop (mounting, copying, starting runsc, removing trees) runs in a forked child,
 * which shares nothing with the parent but a pipe for its reply. The role has no threads, so after the fork
 * any code may run. The child leads its own process group, dies with the parent, and is killed with its group
 * when the time is over.
 */
#pragma once

#include "hands/reaper.h"

#define JOB_DATA 1024

/* What the child says. `err` is plain data with static strings, valid in the parent because both are one
 * program. */
struct job_reply {
	int rc;        /* 0 or -kind */
	unsigned step; /* meaning is the job's own; valid even when the child was killed */
	struct err err;
	unsigned char data[JOB_DATA];
};

struct job;

struct job_opts {
	struct loop *loop;
	struct reaper *reaper;
	const char *name; /* static; for errors */
	/* In the child. May fill `reply->step` and `reply->data`; the result and the error are filled in by
	 * the caller. */
	int (*run)(void *arg, struct job_reply *reply, struct err *e);
	void *arg;
	uint64_t timeout_ms; /* 0: none */
	void *owner;
	/* In the parent, once. The job is freed afterwards. A killed or crashed child gives ERR_TIMEOUT or
	 * ERR_INTERNAL. */
	void (*on_done)(void *owner, const struct job_reply *reply);
};

/* Starts the child. `*out` is valid until on_done (which never runs before this returns). ERR_IO,
 * ERR_NO_MEMORY. */
int job_start(struct job **out, const struct job_opts *o, struct err *e);
/* Kills the child's process group; on_done follows with ERR_TIMEOUT. */
void job_kill(struct job *j);
/* Kills and forgets it: no on_done. NULL is fine. */
void job_free(struct job *j);
