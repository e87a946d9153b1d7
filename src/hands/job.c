/* SPDX-License-Identifier: Apache-2.0 */
#include "hands/job.h"

#include <signal.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

/* Shared with the child. */
struct job_page {
	struct job_reply reply;
	bool done;
};

struct job {
	struct job_opts o;
	struct loop_child *child;
	struct loop_timer *timer;
	int pid;
	struct job_page *page;
	bool killed;
};

NORETURN static void
child_main(const struct job_opts *o, int parent, struct job_page *page)
{
	sigset_t none;

	setpgid(0, 0);
	prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
	if (getppid() != parent)
		_exit(1);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	signal(SIGCHLD, SIG_DFL);
	umask(022); /* modes that must be narrower are given explicitly */
	page->reply.rc = o->run(o->arg, &page->reply, &page->reply.err);
	page->done = true;
	_exit(0);
}

static void
job_release(struct job *j)
{
	if (j->pid > 0)
		reaper_drop(j->o.reaper, j->pid);
	loop_child_free(j->child);
	loop_timer_free(j->timer);
	if (j->page)
		munmap(j->page, sizeof(*j->page));
	free(j);
}

static void
on_exit_status(void *arg, int status)
{
	struct job *j = arg;
	struct job_opts o = j->o;
	struct job_reply reply = j->page->reply;

	if (!j->page->done) {
		reply.err = (struct err){0};
		if (j->killed)
			reply.rc = err_set(&reply.err, ERR_TIMEOUT, "%s did not end in time", o.name);
		else
			reply.rc = err_set(&reply.err, ERR_INTERNAL, "%s ended without a result (status %d)",
				o.name, status);
	}
	job_release(j);
	o.on_done(o.owner, &reply);
}

void
job_kill(struct job *j)
{
	j->killed = true;
	kill(-j->pid, SIGKILL);
	kill(j->pid, SIGKILL);
}

static void
on_timeout(void *arg)
{
	job_kill(arg);
}

static int
job_fork(struct job *j, struct err *e)
{
	int parent = getpid();

	j->page = mmap(NULL, sizeof(*j->page), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (j->page == MAP_FAILED) {
		j->page = NULL;
		return err_os(e, "%s: shared page", j->o.name);
	}
	j->pid = fork();
	if (j->pid == 0)
		child_main(&j->o, parent, j->page);
	if (j->pid < 0)
		return err_os(e, "%s: fork", j->o.name);
	setpgid(j->pid, j->pid);
	return 0;
}

int
job_start(struct job **out, const struct job_opts *o, struct err *e)
{
	struct job *j = calloc(1, sizeof(*j));
	int r;

	if (!j)
		return err_set(e, ERR_NO_MEMORY, "%s", o->name);
	j->o = *o;
	j->timer = o->timeout_ms ? loop_timer_new(o->loop, on_timeout, j) : NULL;
	if (o->timeout_ms && !j->timer) {
		free(j);
		return err_set(e, ERR_NO_MEMORY, "%s", o->name);
	}
	r = job_fork(j, e);
	if (r == 0 && (r = reaper_keep(o->reaper, j->pid, e)) == 0) {
		j->child = loop_child_new(o->loop, j->pid, on_exit_status, j);
		if (!j->child)
			r = err_os(e, "%s: watch", o->name);
	}
	if (r < 0) {
		if (j->pid > 0)
			kill(j->pid, SIGKILL);
		job_release(j);
		return r;
	}
	if (j->timer)
		loop_timer_start(j->timer, o->timeout_ms, 0);
	*out = j;
	return 0;
}

void
job_free(struct job *j)
{
	if (!j)
		return;
	kill(-j->pid, SIGKILL);
	job_release(j);
}
