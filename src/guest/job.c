/* SPDX-License-Identifier: Apache-2.0 */
#include "guest/job.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/limits.h"

#define PIECE     (32 * KIB)
#define ERR_MAX   (16 * KIB) /* of a program's stderr */
#define DRAIN_MAX (4 * MIB)  /* read at most after the child's end */

/* One of a job's pipes. */
struct tap {
	struct watch w; /* first: callbacks get it */
	struct job *job;
	struct buf b;
};

struct job {
	struct jobs *js;
	int pid; /* 0: the slot is free */
	bool program, timed_out, cut;
	struct tap out, err;
	struct timer timer;
	uint64_t limit_ms;
	job_ended *ended; /* NULL after job_cancel */
	void *owner;
};

struct jobs {
	struct reactor *r;
	bool isolate;
	struct spawn_limits limits;
	struct job slots[JOBS_MAX];
};

/* ---- the child's side ---- */

static void
send_all(int fd, const char *p, size_t n)
{
	while (n) {
		ssize_t put = write(fd, p, n);
		if (put < 0 && errno == EINTR)
			continue;
		if (put < 0)
			_exit(1); /* nobody listens any more */
		p += put;
		n -= (size_t)put;
	}
}

void
job_flush(struct job_out *o)
{
	if (!o->started)
		send_all(o->fd, "t", 1);
	o->started = true;
	send_all(o->fd, o->b.p, o->b.n);
	buf_clear(&o->b);
}

void
job_put(struct job_out *o, struct str s)
{
	buf_put_str(&o->b, s);
	if (o->b.n >= PIECE)
		job_flush(o);
}

void
job_fail(struct job_out *o, struct str text)
{
	ASSERT(!o->started);
	send_all(o->fd, "e", 1);
	o->started = true;
	buf_clear(&o->b);
	buf_put_str(&o->b, text);
}

/* Closes what the guest has open, so that a helper can neither speak for it nor keep its connections alive.
 */
static void
close_inherited(const struct jobs *js, int keep)
{
	int fds[REACTOR_FDS];
	size_t n = reactor_fds(js->r, fds, ARRAY_LEN(fds));

	for (size_t i = 0; i < n; i++)
		if (fds[i] != keep)
			close(fds[i]);
}

NORETURN static void
run_child(struct jobs *js, const struct job_spec *spec, int fd)
{
	struct job_out out = {.fd = fd};
	sigset_t none;

	sigemptyset(&none);
	signal(SIGPIPE, SIG_IGN);
	sigprocmask(SIG_SETMASK, &none, NULL);
	close_inherited(js, fd);
	spawn_become_helper(js->isolate);
	buf_init(&out.b, REPLY_MAX);
	spec->work(spec->arg, &out);
	job_flush(&out);
	_exit(0);
}

/* ---- the guest's side ---- */

struct jobs *
jobs_new(struct reactor *r, bool isolate)
{
	struct jobs *js = calloc(1, sizeof(*js));

	if (js) {
		js->r = r;
		js->isolate = isolate;
	}
	return js;
}

void
jobs_limits(struct jobs *js, const struct spawn_limits *limits)
{
	js->limits = *limits;
}

static void
close_tap(struct tap *t)
{
	reactor_unwatch(t->job->js->r, &t->w);
	fd_close(t->w.fd);
	t->w.fd = -1;
}

static void
release(struct job *j)
{
	close_tap(&j->out);
	close_tap(&j->err);
	reactor_untimer(j->js->r, &j->timer);
	buf_done(&j->out.b);
	buf_done(&j->err.b);
	j->pid = 0;
}

void
jobs_free(struct jobs *js)
{
	if (!js)
		return;
	for (size_t i = 0; i < JOBS_MAX; i++) {
		if (js->slots[i].pid) {
			job_cancel(&js->slots[i]);
			release(&js->slots[i]);
		}
	}
	free(js);
}

bool
jobs_room(const struct jobs *js)
{
	for (size_t i = 0; i < JOBS_MAX; i++)
		if (js->slots[i].pid == 0)
			return true;
	return false;
}

static void
stop(struct job *j)
{
	kill(j->program ? -j->pid : j->pid, SIGKILL);
}

/* Reads what is there into the tap's buffer, which keeps no more than its ceiling. False at the end. */
static bool
fill(struct tap *t)
{
	char spill[PIECE];
	struct job *j = t->job;
	size_t room = t->b.max - t->b.n;
	char *to = room ? buf_reserve(&t->b, room < 2 * PIECE ? room : 2 * PIECE) : NULL;
	ssize_t got =
		read(t->w.fd, to ? to : spill, to ? (room < 2 * PIECE ? room : 2 * PIECE) : sizeof(spill));

	if (got < 0)
		return errno == EINTR;
	if (got == 0)
		errno = 0;
	if (got > 0 && to)
		t->b.n += (size_t)got;
	if (got > 0 && !to && t == &j->out && !j->cut) {
		j->cut = true;
		stop(j);
	}
	return got > 0;
}

static void
on_output(struct watch *w, short revents)
{
	struct tap *t = CONTAINER_OF(w, struct tap, w);

	(void)revents;
	if (!fill(t) && errno != EAGAIN)
		close_tap(t);
}

static void
on_deadline(struct timer *timer)
{
	struct job *j = CONTAINER_OF(timer, struct job, timer);

	j->timed_out = true;
	stop(j);
}

static struct job *
free_slot(struct jobs *js)
{
	for (size_t i = 0; i < JOBS_MAX; i++)
		if (js->slots[i].pid == 0)
			return &js->slots[i];
	return NULL;
}

static pid_t
launch(struct jobs *js, const struct job_spec *spec, int out, int err)
{
	if (!spec->argv) {
		pid_t pid = fork();
		if (pid == 0)
			run_child(js, spec, out);
		return pid;
	}
	struct spawn s = {
		.path = spec->argv[0],
		.argv = spec->argv,
		.cwd = "/",
		.in = -1,
		.out = out,
		.err = err,
		.isolate = js->isolate,
		.limits = js->limits,
	};
	return spawn_tool(&s);
}

static bool
open_tap(struct job *j, struct tap *t, size_t max, int *theirs)
{
	int fds[2];

	if (pipe2(fds, O_CLOEXEC) < 0)
		return false;
	fcntl(fds[0], F_SETFL, O_NONBLOCK);
	t->job = j;
	t->w = (struct watch){.fd = fds[0], .events = POLLIN, .fn = on_output};
	buf_init(&t->b, max);
	*theirs = fds[1];
	return reactor_watch(j->js->r, &t->w);
}

struct job *
job_start(struct jobs *js, const struct job_spec *spec)
{
	struct job *j = free_slot(js);
	AUTO(fd) int out = -1;
	AUTO(fd) int err = -1;

	if (!j)
		return NULL;
	*j = (struct job){.js = js, .program = spec->argv, .limit_ms = spec->limit_ms};
	j->out = j->err = (struct tap){.w.fd = -1, .job = j};
	j->timer.fn = on_deadline;
	j->ended = spec->ended;
	j->owner = spec->owner;
	bool ok = open_tap(j, &j->out, spec->max_bytes, &out);
	if (ok && spec->argv)
		ok = open_tap(j, &j->err, ERR_MAX, &err);
	pid_t pid = ok ? launch(js, spec, out, err) : -1;
	if (pid < 0) {
		release(j);
		return NULL;
	}
	j->pid = pid;
	reactor_timer(js->r, &j->timer, clock_mono_us() + spec->limit_ms * 1000);
	return j;
}

void
job_cancel(struct job *j)
{
	j->ended = NULL;
	stop(j);
}

/* Reads what the child left in the pipe. */
static void
drain(struct tap *t)
{
	size_t before = t->b.n;

	while (t->w.fd >= 0 && t->b.n - before < DRAIN_MAX && t->b.n < t->b.max)
		if (!fill(t))
			close_tap(t);
}

static void
finish(struct job *j, int status)
{
	struct str text = buf_str(&j->out.b);
	struct job_end end = {.timed_out = j->timed_out,
		.limit_ms = j->limit_ms,
		.cut = j->cut,
		.err = buf_str(&j->err.b),
		.status = status,
		.text = text};

	if (!j->program) {
		end.broken = text.n == 0 || (text.p[0] != 't' && text.p[0] != 'e') ||
			     (!j->timed_out && !j->cut && (!WIFEXITED(status) || WEXITSTATUS(status) != 0));
		end.is_error = text.n && text.p[0] == 'e';
		end.text = str_sub(text, 1, text.n);
	}
	if (j->ended)
		j->ended(j->owner, &end);
}

bool
jobs_reaped(struct jobs *js, int pid, int status)
{
	for (size_t i = 0; i < JOBS_MAX; i++) {
		struct job *j = &js->slots[i];
		if (j->pid != pid)
			continue;
		drain(&j->out);
		drain(&j->err);
		finish(j, status);
		release(j);
		return true;
	}
	return false;
}
