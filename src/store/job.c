/* SPDX-License-Identifier: Apache-2.0 */
#include "store/job.h"

#include <stdlib.h>

void
pack_add(size_t *n, struct str s)
{
	if (__builtin_add_overflow(*n, s.n, n))
		*n = SIZE_MAX;
}

struct str
pack_str(char **at, struct str s)
{
	struct str copy = {*at, s.n};

	if (s.n > 0)
		memcpy(*at, s.p, s.n);
	*at += s.n;
	return copy;
}

/* ---- queues ---- */

static void
put_done(struct store *s, struct job *first, struct job *last)
{
	last->next = NULL;
	*s->done_tail = first;
	s->done_tail = &last->next;
}

void
jobs_publish(struct store *s, struct job *first, uint64_t commit)
{
	struct job *last = first;

	last->commit = commit;
	while (last->next) {
		last = last->next;
		last->commit = commit;
	}
	pthread_mutex_lock(&s->lock);
	put_done(s, first, last);
	if (commit)
		s->published = commit;
	pthread_mutex_unlock(&s->lock);
	loop_wake_send(s->wake);
}

struct job *
lane_take(struct worker *w, bool all)
{
	struct store *s = w->store;
	struct lane *l = &s->lanes[w->lane];

	pthread_mutex_lock(&s->lock);
	while (!l->head && !s->stop) {
		if (w->lane == LANE_FILE && atomic_load(&s->checkpoint) == CHECKPOINT_ASKED)
			break;
		pthread_cond_wait(&l->some, &s->lock);
	}
	struct job *j = l->head;
	if (j && !all) {
		l->head = j->next;
		j->next = NULL;
	} else {
		l->head = NULL;
	}
	if (!l->head)
		l->tail = &l->head;
	pthread_mutex_unlock(&s->lock);
	return j;
}

void
job_submit(struct job *j)
{
	struct store *s = j->store;
	struct lane *l = &s->lanes[j->ops->lane];

	s->stats.queue_depth++;
	j->next = NULL;
	pthread_mutex_lock(&s->lock);
	*l->tail = j;
	l->tail = &j->next;
	pthread_cond_signal(&l->some);
	pthread_mutex_unlock(&s->lock);
}

void
lane_refuse(struct store *s, enum lane_kind lane)
{
	struct lane *l = &s->lanes[lane];

	pthread_mutex_lock(&s->lock);
	struct job *j = l->head;
	l->head = NULL;
	l->tail = &l->head;
	pthread_mutex_unlock(&s->lock);
	if (!j)
		return;
	for (struct job *k = j; k; k = k->next) {
		k->failed = true;
		err_set(&k->err, ERR_UNAVAILABLE, "the store is closing");
	}
	jobs_publish(s, j, 0);
}

/* ---- making and refusing ---- */

static bool
is_spare(const struct job *j)
{
	return j >= j->store->spare && j < j->store->spare + STORE_SPARES;
}

/* A job that carries nothing but a refusal. */
static struct job *
bare_job(struct store *s)
{
	struct job *j = calloc(1, sizeof(*j));

	for (size_t i = 0; !j && i < STORE_SPARES; i++) {
		if (!s->spare[i].ops)
			j = &s->spare[i];
	}
	if (j)
		*j = (struct job){.store = s, .bare = true};
	return j;
}

void
job_refuse(struct job *j, const struct err *err)
{
	struct store *s = j->store;

	s->stats.queue_depth++;
	j->failed = true;
	j->err = *err;
	pthread_mutex_lock(&s->lock);
	put_done(s, j, j);
	pthread_mutex_unlock(&s->lock);
	loop_task_post(s->loop, &s->task);
}

/* The error of a call that is not taken on. */
static void
refusal(const struct store *s, bool room, struct err *err)
{
	if (s->closing)
		err_set(err, ERR_UNAVAILABLE, "the store is closing");
	else if (!room)
		err_set(err, ERR_OVERLOADED, "the store has %zu MiB of calls to answer first",
			s->queued_bytes >> 20);
	else
		err_set(err, ERR_NO_MEMORY, "out of memory");
}

void *
job_new(struct store *s, const struct job_ops *ops, size_t size, union job_cb cb, void *arg)
{
	size_t total;
	bool room = !__builtin_add_overflow(s->queued_bytes, size, &total) &&
		    (total <= STORE_QUEUE_BYTES || s->queued_bytes == 0);
	struct job *j = room && !s->closing ? calloc(1, size) : NULL;
	struct err err;

	if (j) {
		s->queued_bytes = total;
		*j = (struct job){.store = s, .ops = ops, .cb = cb, .arg = arg, .size = size};
		return j;
	}
	refusal(s, room, &err);
	j = bare_job(s);
	if (!j) {
		/* Memory is out and so are the spares: the one case in which a callback comes before the call
		 * returns. */
		struct job here = {.store = s,
			.ops = ops,
			.cb = cb,
			.arg = arg,
			.bare = true,
			.failed = true,
			.err = err};
		ops->deliver(&here);
		return NULL;
	}
	j->ops = ops;
	j->cb = cb;
	j->arg = arg;
	job_refuse(j, &err);
	return NULL;
}

/* ---- back on the loop ---- */

static void
job_free(struct job *j)
{
	if (!j->bare && j->ops->done)
		j->ops->done(j);
	arena_free(j->mem);
	j->store->queued_bytes -= j->size;
	if (is_spare(j))
		j->ops = NULL;
	else
		free(j);
}

static void
finish(struct job *j)
{
	j->store->stats.queue_depth--;
	j->again = false;
	j->ops->deliver(j);
	if (!j->again) {
		job_free(j);
		return;
	}
	arena_free(j->mem);
	j->mem = NULL;
	job_submit(j);
}

/* The jobs of one commit: first everybody learns what happened, then each caller that it was his. */
static struct job *
deliver_commit(struct store *s, struct job *first)
{
	struct job *end = first;
	bool any = false;

	for (; end && end->commit == first->commit; end = end->next) {
		any |= !end->failed;
		if (!end->failed && end->ops->announce)
			end->ops->announce(end);
	}
	s->stats.commits += any;
	while (first != end) {
		struct job *next = first->next;
		finish(first);
		first = next;
	}
	return end;
}

/* Once, after the callbacks of the commit that failed. */
static void
report_failure(struct store *s)
{
	pthread_mutex_lock(&s->lock);
	bool failed = s->write_failed.kind != ERR_NONE;
	pthread_mutex_unlock(&s->lock);
	if (!failed || s->reported)
		return;
	s->reported = true;
	if (s->o.on_failed)
		s->o.on_failed(s->o.owner, &s->write_failed);
}

void
jobs_deliver(void *store)
{
	struct store *s = store;

	pthread_mutex_lock(&s->lock);
	struct job *j = s->done_head;
	s->done_head = NULL;
	s->done_tail = &s->done_head;
	pthread_mutex_unlock(&s->lock);
	while (j) {
		struct job *next = j->next;
		if (j->commit)
			next = deliver_commit(s, j);
		else
			finish(j);
		j = next;
	}
	report_failure(s);
}
