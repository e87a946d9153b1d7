/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Work in a child: glob, grep and long reads run there, so that a huge tree or a hostile regular expression
 * cannot hold up the guest. The child has a user id of its own, no capability but reading, resource limits,
 * and a pipe that only it and the guest can open; it is killed at its deadline, and what it wrote until then
 * is kept.
 */
#pragma once

#include "base/buf.h"
#include "guest/reactor.h"
#include "guest/reply.h"
#include "guest/spawn.h"

#define JOBS_MAX 4 /* at once; more wait */

/* The child's side of the pipe: first a byte that says whether text ('t') or an error ('e') follows. */
struct job_out {
	int fd;
	bool started;
	struct buf b;
};

/* Appends to the text, flushing in pieces. */
void job_put(struct job_out *o, struct str s);
/* Sends what is buffered. */
void job_flush(struct job_out *o);
/* Makes the outcome an error (only before any text went out). */
void job_fail(struct job_out *o, struct str text);

/* How a job ended, for its owner. `text` is borrowed. */
struct job_end {
	bool is_error;
	bool timed_out;
	uint64_t limit_ms; /* of the job */
	bool broken;       /* died or said nothing understandable */
	bool cut;          /* the output reached max_bytes */
	struct str text;
	struct str err; /* of a program: what it wrote to stderr */
	int status;     /* of a program: from waitpid */
};

struct job;
struct jobs;

typedef void job_work(void *arg, struct job_out *out);
typedef void job_ended(void *owner, const struct job_end *end);

struct job_spec {
	job_work *work; /* runs in the child; NULL when `argv` is set */
	void *arg;
	const char *const *argv; /* a program of the image instead, run as a tool; stdout is its text */
	uint64_t limit_ms;
	size_t max_bytes; /* more output than this ends the job (its text is cut there) */
	job_ended *ended;
	void *owner;
};

/* `isolate`: helpers and programs get their own identities (only when the guest has the privilege to).
 * `limits` of programs may be changed later through jobs_limits. NULL: out of memory. */
struct jobs *jobs_new(struct reactor *r, bool isolate);
void jobs_limits(struct jobs *js, const struct spawn_limits *limits);
void jobs_free(struct jobs *js);

/* Starts a job; NULL when no child could be made. `ended` is called later, once, unless job_cancel comes
 * first. */
struct job *job_start(struct jobs *js, const struct job_spec *spec);

/* True when another job may start now. */
bool jobs_room(const struct jobs *js);

/* Kills the child and forgets the job; `ended` is not called. */
void job_cancel(struct job *j);

/* Tells the jobs that a child was reaped. True when it was one of theirs. */
bool jobs_reaped(struct jobs *js, int pid, int status);
