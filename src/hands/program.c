/* SPDX-License-Identifier: Apache-2.0 */
#include "hands/program.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"

enum { LINE_MAX_BYTES = 4096, STATUS_NO_CGROUP = 126, STATUS_NO_EXEC = 127 };

#define SYSTEM_PATH "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

static const char *const clean_env[] = {SYSTEM_PATH, NULL};

/* Becomes the first process of a new PID namespace; the process in between only waits for it. */
static bool
isolate(void)
{
	int status = 0;

	if (unshare(CLONE_NEWNS | CLONE_NEWPID) < 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0)
		return false;
	int pid = fork();

	if (pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
		return mount("proc", "/proc", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL) == 0;
	}
	while (pid > 0 && waitpid(pid, &status, 0) < 0)
		if (errno != EINTR)
			_exit(STATUS_NO_EXEC);
	_exit(pid < 0 ? STATUS_NO_EXEC : WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status));
}

NORETURN static void
child(const struct program *p, int out, int err)
{
	char *const *env = (char *const *)(uintptr_t)(p->env ? p->env : clean_env);
	char *const *argv = (char *const *)(uintptr_t)p->argv;
	int null = open("/dev/null", O_RDWR | O_CLOEXEC);

	/* Enter the cgroups first: everything the program starts is born inside. */
	for (int i = 0; i < p->n_entries; i++)
		if (write(p->entries[i], "0", 1) != 1)
			_exit(STATUS_NO_CGROUP);
	if (null < 0 || dup2(null, 0) < 0 || dup2(out >= 0 ? out : null, 1) < 0 ||
		dup2(err >= 0 ? err : null, 2) < 0)
		_exit(STATUS_NO_EXEC);
	prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
	if (p->isolated && !isolate())
		_exit(STATUS_NO_EXEC);
	signal(SIGPIPE, SIG_DFL);
	putenv((char *)(uintptr_t)SYSTEM_PATH);
	execvpe(argv[0], argv, env);
	_exit(STATUS_NO_EXEC);
}

/* ---- its words, line by line ---- */

struct lines {
	const struct program *p;
	char text[LINE_MAX_BYTES];
	size_t n;
};

static void
lines_flush(struct lines *l)
{
	if (l->n)
		l->p->line(l->p->arg, str_n(l->text, l->n));
	l->n = 0;
}

/* False at the end. */
static bool
lines_read(struct lines *l, int fd)
{
	char piece[4096];
	ssize_t n = read(fd, piece, sizeof(piece));

	if (n < 0 && (errno == EINTR || errno == EAGAIN))
		return true;
	for (ssize_t i = 0; i < n; i++) {
		if (piece[i] == '\n' || piece[i] == '\r' || l->n == sizeof(l->text))
			lines_flush(l);
		if (piece[i] != '\n' && piece[i] != '\r')
			l->text[l->n++] = piece[i];
	}
	return n > 0;
}

/* Waits until the program ended (pidfd) or the time is over; reads its words meanwhile. True: in time. */
static bool
watch(const struct program *p, int pidfd, int words)
{
	struct lines l = {.p = p};
	struct pollfd fds[2] = {{.fd = pidfd, .events = POLLIN}, {.fd = words, .events = POLLIN}};
	uint64_t end = clock_mono_us() + p->timeout_ms * 1000;

	for (;;) {
		uint64_t now = clock_mono_us();

		if (p->timeout_ms && now >= end)
			return false;
		if (poll(fds, 2, p->timeout_ms ? (int)((end - now) / 1000) + 1 : -1) < 0 && errno != EINTR)
			return false;
		if (fds[1].revents && !lines_read(&l, words))
			fds[1].fd = -1;
		if (fds[0].revents && fds[1].fd < 0)
			break;
		/* Somebody whom the program left behind may hold the pipe open for ever. */
		if (fds[0].revents && !fds[1].revents)
			break;
	}
	if (words >= 0)
		lines_flush(&l);
	return true;
}

/* What a status says about the program not having run at all. */
static int
check_started(const struct program *p, int status, struct err *e)
{
	if (!WIFEXITED(status))
		return 0;
	if (WEXITSTATUS(status) == STATUS_NO_EXEC)
		return err_set(e, ERR_UNAVAILABLE, "%s cannot be executed", p->argv[0]);
	if (WEXITSTATUS(status) == STATUS_NO_CGROUP && p->n_entries)
		return err_set(e, ERR_UNAVAILABLE, "%s could not enter its cgroup", p->argv[0]);
	return 0;
}

static int
wait_for(const struct program *p, int pid, int in, int *status, struct err *e)
{
	AUTO(fd) int pidfd = (int)syscall(SYS_pidfd_open, pid, 0);
	bool in_time = pidfd >= 0 && watch(p, pidfd, in);

	if (!in_time)
		kill(pid, SIGKILL);
	while (waitpid(pid, status, 0) < 0)
		if (errno != EINTR)
			return err_os(e, "wait for %s", p->argv[0]);
	if (!in_time)
		return err_set(e, ERR_TIMEOUT, "%s did not end within %llu ms", p->argv[0],
			(unsigned long long)p->timeout_ms);
	return check_started(p, *status, e);
}

int
program_run(const struct program *p, int *status, struct err *e)
{
	int words[2] = {-1, -1};

	if (p->line && pipe2(words, O_CLOEXEC) < 0)
		return err_os(e, "pipe");
	AUTO(fd) int in = words[0];
	int pid = fork();

	if (pid == 0)
		child(p, p->line ? words[1] : p->out, p->line ? words[1] : p->err);
	int os = errno;

	fd_close(words[1]);
	errno = os;
	return pid < 0 ? err_os(e, "fork") : wait_for(p, pid, in, status, e);
}

int
program_must(const struct program *p, struct err *e)
{
	int status = 0;
	int r = program_run(p, &status, e);

	if (r < 0 || status == 0)
		return r;
	if (WIFSIGNALED(status))
		return err_set(
			e, ERR_UNAVAILABLE, "%s was killed by signal %d", p->argv[0], WTERMSIG(status));
	return err_set(e, ERR_UNAVAILABLE, "%s ended with status %d", p->argv[0], WEXITSTATUS(status));
}
