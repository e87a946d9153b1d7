/* SPDX-License-Identifier: Apache-2.0 */
/* Opening and closing the store, and its threads. The work is in the other files: job.h has the picture. */
#include "store/store.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "store/blob.h"
#include "store/job.h"
#include "store/schema.h"

#define STACK_BYTES (256 * 1024)
/* After a crash a file up to this size is checked whole; a larger one page by page, as it is read. */
#define CHECK_BYTES (32 * 1024 * 1024)

/* ---- threads ---- */

static void
file_checkpoint(struct worker *w)
{
	/* What fails here fails again when the writer finishes the checkpoint, and is handled there. */
	db_checkpoint(&w->db, NULL);
	atomic_store(&w->store->checkpoint, CHECKPOINT_COPIED);
}

void *
worker_main(void *arg)
{
	struct worker *w = arg;

	for (;;) {
		struct job *j = lane_take(w, false);
		if (!j && w->lane == LANE_FILE && atomic_load(&w->store->checkpoint) == CHECKPOINT_ASKED)
			file_checkpoint(w);
		else if (!j)
			return NULL;
		if (!j)
			continue;
		j->failed = j->ops->run(j, w, &j->err) < 0;
		jobs_publish(w->store, j, 0);
	}
}

/* Signals belong to the loop's thread. */
static int
start_thread(struct worker *w, struct err *e)
{
	pthread_attr_t attr;
	sigset_t all, old;

	pthread_attr_init(&attr);
	pthread_attr_setstacksize(&attr, STACK_BYTES);
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	int rc = pthread_create(&w->thread, &attr, w->lane == LANE_WRITE ? writer_main : worker_main, w);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	pthread_attr_destroy(&attr);
	w->started = rc == 0;
	errno = rc;
	return rc == 0 ? 0 : err_os(e, "start a store thread");
}

static void
stop_threads(struct store *s)
{
	pthread_mutex_lock(&s->lock);
	s->stop = true;
	for (size_t i = 0; i < LANE_COUNT; i++)
		pthread_cond_broadcast(&s->lanes[i].some);
	pthread_mutex_unlock(&s->lock);
	for (size_t i = 0; i < STORE_WORKERS; i++) {
		if (s->workers[i].started)
			pthread_join(s->workers[i].thread, NULL);
		s->workers[i].started = false;
	}
}

/* ---- files ---- */

static int
open_dir(struct store *s, struct err *e)
{
	if (mkdir(s->o.dir, 0700) < 0 && errno != EEXIST)
		return err_os(e, "make data directory %s", s->o.dir);
	s->dir_fd = open(s->o.dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (s->dir_fd < 0)
		return err_os(e, "open data directory %s", s->o.dir);
	s->lock_fd = openat(s->dir_fd, "lock", O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (s->lock_fd < 0)
		return err_os(e, "open %s/lock", s->o.dir);
	if (flock(s->lock_fd, LOCK_EX | LOCK_NB) == 0)
		return 0;
	if (errno == EWOULDBLOCK)
		return err_set(e, ERR_CONFLICT,
			"data directory %s is in use by another process: stop it, or choose another with "
			"--data",
			s->o.dir);
	return err_os(e, "lock %s/lock", s->o.dir);
}

/* Size of a file in the data directory; 0 when there is none. */
static uint64_t
file_size(struct store *s, const char *name)
{
	struct stat st;

	return fstatat(s->dir_fd, name, &st, AT_SYMLINK_NOFOLLOW) == 0 ? (uint64_t)st.st_size : 0;
}

static int
quick_check(struct db *db, struct err *e)
{
	AUTO(q) struct q q = q_start_text(db, "PRAGMA quick_check(1)");
	int r = q_step(&q, e);

	if (r == 1 && !str_eqz(q_col_str(&q, 0), "ok"))
		r = db_fail(db, SQLITE_CORRUPT, e);
	return r < 0 ? r : 0;
}

/* SQLite says no by staying in another mode. */
static int
set_wal(struct db *db, struct err *e)
{
	AUTO(q) struct q q = q_start_text(db, "PRAGMA journal_mode = WAL");
	int r = q_step(&q, e);

	if (r == 1 && !str_eqz(q_col_str(&q, 0), "wal"))
		r = err_set(e, ERR_IO, "the file system of the data directory cannot hold a write-ahead log");
	return r < 0 ? r : 0;
}

/* The first connection: makes the file, recovers the write-ahead log of a crash, brings the schema up to
 * date. */
static int
open_first(struct store *s, struct db *db, const char *path, struct err *e)
{
	uint64_t size = file_size(s, "store.db"), wal = file_size(s, "store.db-wal");
	/* SQLite would make it readable by others; its helpers take over the mode of this one. */
	AUTO(fd) int fd = openat(s->dir_fd, "store.db", O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600);

	if (fd < 0)
		return err_os(e, "open %s", path);
	if (size == 0 && fsync(s->dir_fd) < 0)
		return err_os(e, "flush data directory");
	uint64_t version;
	int r = db_open(db, path, false, e);
	if (r == 0)
		r = schema_check(db, schema_n_steps, &version, e);
	if (r == 0)
		r = set_wal(db, e);
	if (r == 0 && wal > 0 && size + wal <= CHECK_BYTES)
		r = quick_check(db, e);
	/* What a crash, or a flush that failed, left in the log may be in the page cache and not on the disk:
	 * it is written again before anything is appended behind it. */
	if (r == 0 && wal > 0)
		r = db_checkpoint_all(db, e);
	if (r == 0)
		r = schema_migrate(db, schema_steps, schema_n_steps, e);
	return r;
}

static int
open_all(struct store *s, struct err *e)
{
	char path[4096];
	int n = snprintf(path, sizeof(path), "%s/store.db", s->o.dir);

	if (n < 0 || (size_t)n >= sizeof(path))
		return err_set(e, ERR_INVALID, "data directory path too long");
	int r = open_first(s, &s->workers[0].db, path, e);
	for (size_t i = 1; r == 0 && i < STORE_WORKERS; i++)
		r = db_open(&s->workers[i].db, path, true, e);
	return r;
}

/* ---- the store ---- */

static struct store *
store_new(struct loop *l, const struct store_opts *o)
{
	struct store *s = calloc(1, sizeof(*s));
	struct writer *wr = calloc(1, sizeof(*wr));

	if (!s || !wr) {
		free(s);
		free(wr);
		return NULL;
	}
	s->loop = l;
	s->o = *o;
	s->writer = wr;
	/* Rows of sessions deleted before the last stop are looked for once. */
	wr->purging = true;
	s->dir_fd = s->lock_fd = s->files_fd = s->temp_fd = -1;
	s->task = (struct loop_task){.fn = jobs_deliver, .arg = s};
	pthread_mutex_init(&s->lock, NULL);
	pthread_mutex_init(&s->commit_lock, NULL);
	for (size_t i = 0; i < LANE_COUNT; i++) {
		pthread_cond_init(&s->lanes[i].some, NULL);
		s->lanes[i].tail = &s->lanes[i].head;
	}
	s->done_tail = &s->done_head;
	for (size_t i = 0; i < STORE_WORKERS; i++) {
		s->workers[i].store = s;
		s->workers[i].lane = i == 0 ? LANE_WRITE : i == STORE_WORKERS - 1 ? LANE_FILE : LANE_READ;
	}
	return s;
}

static void
store_free(struct store *s)
{
	bool clean = !s->writer->failed;

	/* The writer's connection goes last: it empties the write-ahead log. */
	for (size_t i = STORE_WORKERS; i-- > 0;)
		db_close(&s->workers[i].db, clean);
	loop_task_cancel(s->loop, &s->task);
	loop_wake_free(s->wake);
	for (size_t i = 0; i < LANE_COUNT; i++)
		pthread_cond_destroy(&s->lanes[i].some);
	pthread_mutex_destroy(&s->commit_lock);
	pthread_mutex_destroy(&s->lock);
	fd_close(s->temp_fd);
	fd_close(s->files_fd);
	fd_close(s->lock_fd);
	fd_close(s->dir_fd);
	free(s->writer);
	free(s);
}

int
store_open(struct store **out, struct loop *l, const struct store_opts *o, struct err *e)
{
	/* Counting every allocation takes a lock that all threads share. Refused, harmlessly, when SQLite is
	 * in use already. */
	sqlite3_config(SQLITE_CONFIG_MEMSTATUS, 0);
	struct store *s = store_new(l, o);
	if (!s)
		return err_set(e, ERR_NO_MEMORY, "out of memory");
	int r = open_dir(s, e);
	if (r == 0)
		r = blobs_open(s, e);
	if (r == 0)
		r = open_all(s, e);
	if (r == 0) {
		s->wake = loop_wake_new(l, jobs_deliver, s);
		r = s->wake ? 0 : err_set(e, ERR_NO_MEMORY, "out of memory");
	}
	for (size_t i = 0; r == 0 && i < STORE_WORKERS; i++)
		r = start_thread(&s->workers[i], e);
	if (r < 0) {
		stop_threads(s);
		store_free(s);
		return r;
	}
	*out = s;
	return 0;
}

void
store_close(struct store *s)
{
	if (!s)
		return;
	s->closing = true;
	lane_refuse(s, LANE_READ);
	stop_threads(s);
	/* Callbacks may call again, and are then refused, with one more callback. */
	while (s->stats.queue_depth > 0)
		jobs_deliver(s);
	store_free(s);
}

void
store_stats(const struct store *s, struct store_stats *out)
{
	*out = s->stats;
}
