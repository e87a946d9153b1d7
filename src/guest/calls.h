/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The calls of hands: runs each tool call at most once, answers duplicates from memory, keeps results until
 * they are acknowledged, moves long texts to a file. The only module that knows both the protocol and the
 * tools.
 */
#pragma once

#include "base/frame.h"
#include "guest/bash.h"
#include "guest/files.h"

#define CALLS_RUNNING_MAX 64   /* running and waiting; more are answered with an error */
#define CALLS_SPILLED_MAX 1024 /* results kept on disk; beyond it the oldest is forgotten */

struct calls;

struct calls_opts {
	struct files files;
	struct bash *bash;
	struct jobs *jobs;
	const char *results_dir; /* where results go that do not fit in memory; a directory only the guest may
				    enter */
	const char *offload_dir; /* where long texts go, for the tools to read */
	/* The buffer for frames or NULL, and "it is full": see channel.h. */
	struct buf *(*out)(void *owner);
	void (*flush)(void *owner);
	void *owner;
};

/* NULL: out of memory. */
struct calls *calls_new(const struct calls_opts *o);
void calls_free(struct calls *cs);

/* One frame from hands. False: it breaks the protocol. */
bool calls_frame(struct calls *cs, const struct frame *f);

/* The connection is gone: nobody waits under the old call ids any more. */
void calls_lost(struct calls *cs);
