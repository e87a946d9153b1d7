/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What hands knows of a session: its generation and files (durable, in
 * <data_dir>/sessions/<id>/session.json), its sandbox, its tool calls and its claims. In memory only while
 * one of the last three exists: an idle session costs a directory.
 *
 * Generations: a number per sandbox of the session, growing, on disk before the sandbox is handed out, so
 * that a call which was meant for an earlier sandbox is refused (ERR_FENCED).
 */
#pragma once

#include "hands/execs.h"
#include "hands/outputs.h"
#include "hands/sandbox.h"

struct hands;
struct claim;

struct session_file {
	struct id id;
	char *path; /* owned */
};

struct release_call {
	struct release_call *next;
	uint64_t call;
	bool destroy;
};

struct session {
	struct session *next;
	struct hands *h;
	struct id id;
	uint64_t generation;
	struct session_file *files; /* that are in the workspace */
	size_t n_files;
	struct sandbox *sb; /* owned; NULL: none */
	struct execs execs;
	struct claim *claims;          /* owned FIFO; the first is being worked on */
	struct release_call *releases; /* owned; answered when the sandbox is gone */
	struct job *job;               /* placing files, or removing the workspace */
	struct outputs *outputs;
	struct loop_timer *tick;
	struct loop_task scan_task;
};

/* In memory, or NULL. */
struct session *session_find(const struct hands *h, struct str id);
/* Finds it, or reads what is on disk of it. NULL: out of memory, or the id cannot be a directory's name. */
struct session *session_get(struct hands *h, struct str id, struct err *e);
/* Makes the session's directory and writes generation and files, synced. */
int session_save(const struct session *s, struct err *e);
/* Frees it when nothing keeps it in memory. True when it was freed. */
bool session_settle(struct session *s);
/* Releases the object; a sandbox goes on running. */
void session_free(struct session *s);

/* The files that are in the workspace, by id and mount path. */
bool session_has_file(const struct session *s, struct str id, struct str path);
int session_add_file(struct session *s, struct str id, struct str path, struct err *e);

/* The callbacks with which a session owns a sandbox. */
struct sandbox_ops session_sandbox_ops(struct session *s);
/* After a sandbox became the session's and is READY: starts the ticks. */
void session_attached(struct session *s);

/* From control. Each answers by itself. */
void session_execute(struct session *s, uint64_t generation, const struct exec_call *c);
void session_collect(struct session *s, struct str exec_id, uint64_t call);
void session_cancel(struct session *s, uint64_t generation, struct str exec_id);
void session_ack(struct session *s, struct str exec_id);
void session_release(struct session *s, uint64_t call, bool destroy);

/* With the sandbox gone and no job under way: removes the workspace when a release asked for it, then
 * answers. */
void session_release_now(struct session *s);

/* Control is gone: nobody waits any more, results stay. */
void session_forget_callers(struct session *s);
