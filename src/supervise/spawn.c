/* SPDX-License-Identifier: Apache-2.0 */
#include "supervise/spawn.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "io/calls.h"

/* Everything back to the default, also what the loop catches. */
static void
reset_signals(void)
{
	for (int i = 1; i < NSIG; i++)
		signal(i, SIG_DFL);
	sigset_t none;
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
}

NORETURN static void
become_role(const struct spawn_opts *o, int leash)
{
	char program[] = "pinfold", verb[] = "role", name[64], level[16];
	char *argv[] = {program, verb, name, level, NULL};
	char *envp[] = {NULL};

	snprintf(name, sizeof(name), "%s", o->role);
	snprintf(level, sizeof(level), "%s", o->level);
	reset_signals();
	/* supervise is PID 1 of its namespace: a parent that is already gone took this process with it. */
	if (prctl(PR_SET_PDEATHSIG, SIGKILL) < 0)
		_exit(71);
	/* Out of the way of 0..3 first: the sources may lie there. */
	int lock = fcntl(o->lock_fd, F_DUPFD, 16), end = fcntl(leash, F_DUPFD, 16);

	if (lock < 0 || end < 0 || dup2(lock, 0) < 0 || dup2(2, 1) < 0 || dup2(end, LEASH_FD) < 0 ||
		close_range(LEASH_FD + 1, ~0U, 0) < 0)
		_exit(71);
	execve("/proc/self/exe", argv, envp);
	_exit(71);
}

int
spawn_role(const struct spawn_opts *o, pid_t *pid, int *leash, struct err *e)
{
	int pair[2];
	sigset_t all, before;

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0)
		return err_os(e, "leash of %s", o->role);
	/* No handler of the loop may run in the child: it would write to the parent's pipes. */
	sigfillset(&all);
	sigprocmask(SIG_SETMASK, &all, &before);
	pid_t child = fork();

	if (child == 0)
		become_role(o, pair[1]);
	int rc = child < 0 ? err_os(e, "fork %s", o->role) : 0;

	sigprocmask(SIG_SETMASK, &before, NULL);
	fd_close(pair[1]);
	if (rc < 0) {
		fd_close(pair[0]);
		return rc;
	}
	*pid = child;
	*leash = pair[0];
	return 0;
}
