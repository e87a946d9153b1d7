/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The writer thread: takes everything that was queued while the last commit was on its way to the disk, runs
 * it in one transaction, commits, publishes.
 *
 * One refused job must not spoil the others. Jobs check before they change anything, so a refusal leaves
 * nothing to undo. A job that fails after it changed something (no memory, value too large) costs a rollback,
 * and the batch is run again without it. What fails the disk fails the whole batch. A full disk is passing;
 * after any other failed write or flush the state of the file in the page cache is unknown, so nothing is
 * written any more until the next start has read what is really on the disk.
 */
#include <errno.h>

#include "store/job.h"
#include "store/log_write.h"

/* Pages of 4 KiB in the write-ahead log at which it is copied into the file: by the file thread, beside the
 * commits; by the writer itself when the file thread is far behind. */
#define CHECKPOINT_PAGES      1000
#define CHECKPOINT_PAGES_LATE 8000

static void
fail_all(struct job *batch, const struct err *err)
{
	for (struct job *j = batch; j; j = j->next) {
		if (!j->failed)
			j->err = *err;
		j->failed = true;
	}
}

static void
stop_writing(struct worker *w, const struct err *err)
{
	struct store *s = w->store;

	if (s->writer->failed || !db_fatal(err))
		return;
	s->writer->failed = true;
	s->writer->purging = false;
	pthread_mutex_lock(&s->lock);
	err_set_at(&s->write_failed, err->kind == ERR_CORRUPT ? ERR_CORRUPT : ERR_UNAVAILABLE, err->os,
		err->where, "nothing more is written before a restart: %s", err->msg);
	pthread_mutex_unlock(&s->lock);
	loop_wake_send(s->wake);
}

static void
undo(struct worker *w)
{
	db_rollback(&w->db);
	heads_clear(&w->store->writer->heads);
}

/* 1: all that was not refused is in the transaction. 0: undone, run again without the job just failed. <0:
 * undone, the whole batch fails. */
static int
run_batch(struct worker *w, struct job *batch, struct err *e)
{
	int r = db_run(&w->db, SQL_BEGIN_WRITE, e);

	if (r < 0)
		return r;
	for (struct job *j = batch; j; j = j->next) {
		uint64_t before = db_changes(&w->db);
		if (j->failed || j->ops->run(j, w, &j->err) == 0)
			continue;
		j->failed = true;
		bool whole = !sqlite3_get_autocommit(w->db.h) && db_changes(&w->db) == before;
		if (whole && j->err.kind != ERR_IO && j->err.kind != ERR_CORRUPT)
			continue;
		undo(w);
		if (j->err.kind != ERR_IO && j->err.kind != ERR_CORRUPT)
			return 0;
		*e = j->err;
		return -(int)e->kind;
	}
	r = heads_flush(&w->store->writer->heads, &w->db, e);
	if (r < 0)
		undo(w);
	return r < 0 ? r : 1;
}

/* A commit that fails is undone: its jobs were not acknowledged. */
static int
commit(struct worker *w, struct err *e)
{
	int r = db_run(&w->db, SQL_COMMIT, e);

	if (r < 0)
		undo(w);
	return r;
}

static void
write_batch(struct worker *w, struct job *batch)
{
	struct store *s = w->store;
	struct writer *wr = s->writer;
	struct err err = {0};
	int r = 0;

	if (wr->failed) {
		fail_all(batch, &s->write_failed);
		jobs_publish(s, batch, ++wr->commits);
		return;
	}
	while (r == 0)
		r = run_batch(w, batch, &err);
	pthread_mutex_lock(&s->commit_lock);
	if (r > 0)
		r = commit(w, &err);
	if (r < 0) {
		stop_writing(w, &err);
		fail_all(batch, &err);
	}
	jobs_publish(s, batch, ++wr->commits);
	pthread_mutex_unlock(&s->commit_lock);
}

static void
ask_checkpoint(struct store *s)
{
	pthread_mutex_lock(&s->lock);
	atomic_store(&s->checkpoint, CHECKPOINT_ASKED);
	pthread_cond_signal(&s->lanes[LANE_FILE].some);
	pthread_mutex_unlock(&s->lock);
}

/* The file thread copies most of the log while commits go on; only with nobody writing can the rest be
 * finished, which lets the next commit start the log over. */
static void
checkpoint(struct worker *w)
{
	struct store *s = w->store;
	struct writer *wr = s->writer;
	int pages = w->db.wal_pages, state = atomic_load(&s->checkpoint);
	struct err err;

	if (pages < wr->checkpoint_at - CHECKPOINT_PAGES || wr->checkpoint_at == 0)
		wr->checkpoint_at = CHECKPOINT_PAGES;
	if (state == CHECKPOINT_IDLE && pages >= wr->checkpoint_at)
		ask_checkpoint(s);
	if (state != CHECKPOINT_COPIED && pages < wr->checkpoint_at + CHECKPOINT_PAGES_LATE)
		return;
	if (db_checkpoint(&w->db, &err) < 0)
		stop_writing(w, &err);
	wr->checkpoint_at = pages + CHECKPOINT_PAGES;
	if (state == CHECKPOINT_COPIED)
		atomic_store(&s->checkpoint, CHECKPOINT_IDLE);
}

/* Deleted sessions lose their rows piece by piece, between the commits of others. */
static void
purge(struct worker *w)
{
	struct writer *wr = w->store->writer;
	struct err err;
	int r = db_run(&w->db, SQL_BEGIN_WRITE, &err);

	if (r == 0)
		r = log_purge(&w->db, &err);
	int committed = r < 0 ? r : db_run(&w->db, SQL_COMMIT, &err);
	if (r == 0)
		wr->purging = false;
	if (committed == 0)
		return;
	db_rollback(&w->db);
	stop_writing(w, &err);
	/* Whatever it was, the next start goes on. */
	wr->purging = false;
}

/* Takes all; while there is something to purge, only what is there already. */
static struct job *
next_batch(struct worker *w)
{
	struct store *s = w->store;

	if (!s->writer->purging)
		return lane_take(w, true);
	pthread_mutex_lock(&s->lock);
	bool some = s->lanes[LANE_WRITE].head != NULL;
	bool stop = s->stop;
	pthread_mutex_unlock(&s->lock);
	if (stop)
		s->writer->purging = false;
	return some || stop ? lane_take(w, true) : NULL;
}

void *
writer_main(void *arg)
{
	struct worker *w = arg;
	struct writer *wr = w->store->writer;

	for (;;) {
		struct job *batch = next_batch(w);
		if (batch)
			write_batch(w, batch);
		else if (!wr->purging)
			return NULL;
		if (wr->purging && !wr->failed)
			purge(w);
		if (!wr->failed)
			checkpoint(w);
	}
}
