/* SPDX-License-Identifier: Apache-2.0 */
#include "supervise/supervise.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "io/confine.h"
#include "supervise/prepare.h"
#include "supervise/roster.h"

/* Signals that the outer process waits for; blocked before the clone so that none is lost. */
static void
outer_signals(sigset_t *set)
{
	sigemptyset(set);
	sigaddset(set, SIGTERM);
	sigaddset(set, SIGINT);
	sigaddset(set, SIGHUP);
	sigaddset(set, SIGCHLD);
}

/* True when the outer process died before PR_SET_PDEATHSIG was in force. */
static bool
outer_is_gone(int outer)
{
	struct pollfd p = {.fd = outer, .events = POLLIN};

	return poll(&p, 1, 0) != 0;
}

/* ---- the inner process ---- */

static int
enter(const struct prepared *p, int outer, struct err *e)
{
	if (prctl(PR_SET_PDEATHSIG, SIGKILL) < 0)
		return err_os(e, "parent-death signal");
	if (outer_is_gone(outer))
		return err_set(e, ERR_UNAVAILABLE, "the outer process is gone");
	/* Out of the terminal's foreground group: ctrl-C reaches the outer process, which forwards it once.
	 */
	if (setsid() < 0)
		return err_os(e, "new session");
	static const struct confine_opts o = {.profile = CONFINE_SUPERVISE};
	int rc = prepare_mounts(p, e);

	return rc < 0 ? rc : confine(&o, e);
}

NORETURN static void
inner_main(const struct supervise_opts *o, struct prepared *p, int outer)
{
	struct err e = {0};
	sigset_t none;

	signal(SIGPIPE, SIG_IGN);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	if (enter(p, outer, &e) < 0) {
		dprintf(2, "pinfold: %s\n", e.msg);
		_exit(err_exit_code(e.kind));
	}
	log_setup("supervise", o->level, 2);
	int code = roster_run(o, p, outer);

	prepare_done(p);
	_exit(code);
}

/* ---- the outer process ---- */

/* Forwards signals until the inner process ends. */
static int
wait_inner(pid_t inner, const sigset_t *set)
{
	for (;;) {
		int status;
		int sig = sigwaitinfo(set, NULL);

		if (sig == SIGTERM || sig == SIGINT || sig == SIGHUP)
			kill(inner, SIGTERM);
		if (waitpid(inner, &status, WNOHANG) != inner)
			continue;
		if (WIFEXITED(status))
			return WEXITSTATUS(status);
		dprintf(2, "pinfold: the supervisor was killed by signal %d\n", WTERMSIG(status));
		return 128 + WTERMSIG(status);
	}
}

static int
check_root(struct err *e)
{
	if (geteuid() == 0)
		return 0;
	return err_set(e, ERR_FORBIDDEN,
		"pinfold serve must be started as root: it gives every role a uid of its own and makes "
		"sandboxes");
}

int
supervise_run(const struct supervise_opts *o, int *exit_code, struct err *e)
{
	struct prepared p;
	sigset_t set;
	int outer[2];
	int rc = check_root(e);

	if (rc == 0)
		rc = prepare(o, &p, e);
	if (rc < 0)
		return rc;
	rc = confine_basic(e);
	if (rc == 0 && pipe2(outer, O_CLOEXEC) < 0)
		rc = err_os(e, "pipe");
	if (rc < 0) {
		prepare_done(&p);
		return rc;
	}
	outer_signals(&set);
	sigprocmask(SIG_BLOCK, &set, NULL);
	fflush(NULL);
	long inner = syscall(SYS_clone, CLONE_NEWPID | CLONE_NEWNS | SIGCHLD, NULL, NULL, NULL, NULL);

	if (inner == 0) {
		close(outer[1]);
		inner_main(o, &p, outer[0]);
	}
	rc = inner < 0 ? err_os(e, "new process and mount namespace") : 0;
	/* Only the lock stays with the outer process. */
	close(outer[0]);
	fd_close(MOVE_FD(p.api));
	fd_close(MOVE_FD(p.puppet));
	if (rc == 0)
		*exit_code = wait_inner((pid_t)inner, &set);
	prepare_unpublish(&p);
	prepare_done(&p);
	close(outer[1]);
	return rc;
}
