/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The inside of the store: jobs, the threads that run them, and the way back to the loop. Inside src/store
 * only.
 *
 *   store_x() --job--> lane WRITE | READ | FILE --worker: ops->run--> done list --loop: announce, deliver-->
 * callback
 *
 * Invariants:
 * 1. A job belongs to the loop's thread, then to one worker, then to the loop's thread again; it is freed
 * there after its callback. Only what struct store marks as locked is shared.
 * 2. The jobs of one commit are on the done list together and in order, and reach it before the next commit
 * begins.
 * 3. Every job that was accepted is delivered exactly once.
 */
#pragma once

#include <pthread.h>
#include <stdatomic.h>

#include "base/arena.h"
#include "io/loop.h"
#include "store/db.h"
#include "store/heads.h"
#include "store/store.h"

/* Ceilings on one answer held in memory: of a page (it ends early and says that there is more) and of
 * everything. */
#define STORE_PAGE_BYTES   (32 * 1024 * 1024)
#define STORE_ANSWER_BYTES (1024 * 1024 * 1024)
/* Bytes of calls that wait for their answer; more are refused. A single larger one is let through when
 * nothing waits. */
#define STORE_QUEUE_BYTES (256 * 1024 * 1024)

enum lane_kind { LANE_WRITE, LANE_READ, LANE_FILE, LANE_COUNT };

/* The caller's callback; which member is a matter of the job's ops. */
union job_cb {
	store_write_cb *write;
	store_lease_cb *lease;
	store_load_cb *load;
	store_ids_cb *ids;
	store_events_cb *events;
	store_sessions_cb *sessions;
	store_doc_cb *doc;
	store_docs_cb *docs;
	store_done_cb *done;
};

struct job;
struct worker;

struct job_ops {
	enum lane_kind lane;
	/* Worker. Of writes: refuses before it changes anything, or is run again after a rollback (see
	 * writer.c). */
	int (*run)(struct job *j, struct worker *w, struct err *e);
	/* Loop, writes only, may be NULL: tells the owner what was committed, before any callback of the
	 * commit. */
	void (*announce)(struct job *j);
	/* Loop: calls back. With j->failed only the members of struct job may be looked at. */
	void (*deliver)(struct job *j);
	/* Loop, may be NULL: releases what the job holds beside its memory and `mem`. Not called for bare
	 * jobs. */
	void (*done)(struct job *j);
};

struct job {
	struct job *next;
	struct store *store;
	const struct job_ops *ops;
	union job_cb cb;
	void *arg;
	size_t size;       /* of the job with all that was copied into it */
	struct arena *mem; /* the answer; made by the worker */
	uint64_t commit;   /* number of the commit that holds it; 0: none */
	bool failed;
	bool bare;  /* there is no more of it than struct job */
	bool again; /* set by deliver: run it once more instead of freeing it */
	struct err err;
};

struct lane {
	struct job *head, **tail;
	pthread_cond_t some;
};

struct worker {
	struct store *store;
	enum lane_kind lane;
	struct db db;
	pthread_t thread;
	bool started;
};

/* What only the writer thread touches. */
struct writer {
	struct heads heads;
	uint64_t commits;
	uint64_t changes; /* db_changes at the last commit */
	bool purging;     /* deleted sessions still have rows */
	bool failed;      /* the disk failed: nothing is written any more */
	struct err why;
	int checkpoint_at; /* pages in the write-ahead log at which it is copied into the file */
};

#define STORE_READERS 2
#define STORE_WORKERS (2 + STORE_READERS)
#define STORE_SPARES  8

/* Copying the write-ahead log into the file: asked of the file thread by the writer, and reported back to it.
 */
enum checkpoint_state { CHECKPOINT_IDLE, CHECKPOINT_ASKED, CHECKPOINT_COPIED };

struct load_job;

struct store {
	struct loop *loop;
	struct store_opts o;
	struct loop_wake *wake;
	struct loop_task task; /* delivers what was refused on the loop's thread */
	int dir_fd, lock_fd, files_fd, temp_fd;
	uint64_t n_temp; /* makes temporary names differ */

	pthread_mutex_t lock;
	/* locked: */
	struct lane lanes[LANE_COUNT];
	struct job *done_head, **done_tail;
	bool stop;
	uint64_t published;      /* number of the latest commit on the done list */
	struct err write_failed; /* set once: why nothing is written any more */
	/* end of locked */

	/* Held by the writer from the start of a commit until its jobs are on the done list, and by a reader
	 * that must know exactly which commits it sees, while it begins its transaction. Taken before `lock`.
	 */
	pthread_mutex_t commit_lock;
	atomic_int checkpoint; /* enum checkpoint_state */

	struct worker workers[STORE_WORKERS]; /* 0: writer, then readers, the last one: files */
	struct writer *writer;

	/* loop's thread: */
	struct load_job *loads; /* in progress */
	struct job spare[STORE_SPARES];
	struct store_stats stats;
	size_t queued_bytes; /* of all jobs there are */
	bool closing;
	bool reported; /* write_failed was told to the owner */
};

/* A zeroed job of `size` bytes, to be filled and submitted. NULL when it was refused at once (closing, out of
 * memory): then the callback will come by itself and there is nothing left to do. */
void *job_new(struct store *s, const struct job_ops *ops, size_t size, union job_cb cb, void *arg);
/* Hands it to the workers. */
void job_submit(struct job *j);
/* Answers it with an error, through the loop as all others. */
void job_refuse(struct job *j, const struct err *err);

/* job_new sizes: adds to `*n`; saturates. And the copies: takes the bytes from *at, which follows the job's
 * struct. */
void pack_add(size_t *n, struct str s);
struct str pack_str(char **at, struct str s);

/* Workers: takes the first job of the lane, or all of them; waits while there is none. NULL when the store
 * closes and the lane is empty. The file lane also returns NULL when a checkpoint is asked for. */
struct job *lane_take(struct worker *w, bool all);
/* Puts a list of jobs on the done list at once and wakes the loop; `commit` 0: not a commit. */
void jobs_publish(struct store *s, struct job *first, uint64_t commit);
/* Loop: runs the callbacks of everything that is done. */
void jobs_deliver(void *store);
/* Loop: answers what waits in a lane with UNAVAILABLE. */
void lane_refuse(struct store *s, enum lane_kind lane);

/* The threads (store.c, writer.c). */
void *worker_main(void *arg);
void *writer_main(void *arg);
