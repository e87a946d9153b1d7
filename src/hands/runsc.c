/* SPDX-License-Identifier: Apache-2.0 */
#include "hands/runsc.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"

enum { ARGS_MAX = 24, OPT_MAX = HANDS_PATH + 32 };

static char *const clean_env[] = {(char *)(uintptr_t) "PATH=/usr/sbin:/usr/bin:/sbin:/bin", NULL};

static void
dir_close(DIR *d)
{
	closedir(d);
}
DEFINE_AUTO(dir, DIR *, dir_close, NULL);

struct argv {
	char text[ARGS_MAX][OPT_MAX];
	char *p[ARGS_MAX + 1];
	int n;
};

static void PRINTF_FMT(2, 3) arg(struct argv *a, const char *fmt, ...)
{
	va_list ap;

	ASSERT(a->n < ARGS_MAX);
	va_start(ap, fmt);
	int n = vsnprintf(a->text[a->n], OPT_MAX, fmt, ap);
	va_end(ap);
	ASSERT(n >= 0 && n < OPT_MAX);
	a->p[a->n] = a->text[a->n];
	a->p[++a->n] = NULL;
}

static void
global_args(struct argv *a, const struct runsc *r)
{
	arg(a, "%s", r->path);
	arg(a, "--root=%s", r->root);
	arg(a, "--platform=%s", r->platform);
	arg(a, "--network=none");
	arg(a, "--host-uds=open");
	arg(a, "--ignore-cgroups");
	/* Newer versions would put an overlay of their own over the root, and the workspace would stay empty.
	 */
	arg(a, "--overlay2=none");
	arg(a, "--file-access=exclusive");
	arg(a, "--file-access-mounts=shared");
	if (r->log)
		arg(a, "--log=%s", r->log);
	if (r->pod_init_config && r->pod_init_config[0])
		arg(a, "--pod-init-config=%s", r->pod_init_config);
}

NORETURN static void
run_child(const struct argv *a, const struct runsc_run *run)
{
	/* Enter the cgroups first: everything that runsc starts is born inside. */
	for (int i = 0; i < run->n_entries; i++)
		if (write(run->entries[i], "0", 1) != 1)
			_exit(126);
	int null = open("/dev/null", O_RDWR | O_CLOEXEC);

	if (null < 0 || dup2(null, 0) < 0 || dup2(run->out >= 0 ? run->out : null, 1) < 0 ||
		dup2(run->err >= 0 ? run->err : null, 2) < 0)
		_exit(126);
	prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
	signal(SIGPIPE, SIG_DFL);
	execve(a->p[0], a->p, clean_env);
	_exit(127);
}

/* Waits for the child; kills it when the time is over. */
static int
wait_child(int pid, uint64_t timeout_ms, int *status, struct err *e)
{
	AUTO(fd) int fd = (int)syscall(SYS_pidfd_open, pid, 0);
	struct pollfd p = {.fd = fd, .events = POLLIN};
	uint64_t end = clock_mono_us() + timeout_ms * 1000;
	bool late = false;
	int r = 0;

	while (fd >= 0 && r == 0 && !late) {
		uint64_t now = clock_mono_us();

		late = now >= end;
		r = late ? 0 : poll(&p, 1, (int)((end - now) / 1000) + 1);
		if (r < 0 && errno == EINTR)
			r = 0;
	}
	if (late)
		kill(pid, SIGKILL);
	while (waitpid(pid, status, 0) < 0)
		if (errno != EINTR)
			return err_os(e, "wait for runsc");
	return late ? err_set(e, ERR_TIMEOUT, "runsc did not answer within %llu ms",
			      (unsigned long long)timeout_ms)
		    : 0;
}

int
runsc_run(const struct runsc *r, const struct runsc_run *run, int *status, struct err *e)
{
	struct argv a = {.n = 0};

	global_args(&a, r);
	arg(&a, "run");
	arg(&a, "--bundle=%s", run->bundle);
	if (run->pid_file) {
		arg(&a, "--detach");
		arg(&a, "--pid-file=%s", run->pid_file);
	}
	arg(&a, "%s", run->id);
	int pid = fork();

	if (pid < 0)
		return err_os(e, "fork");
	if (pid == 0)
		run_child(&a, run);
	int rc = wait_child(pid, run->timeout_ms, status, e);

	if (rc < 0)
		return rc;
	if (WIFEXITED(*status) && WEXITSTATUS(*status) == 127)
		return err_set(e, ERR_UNAVAILABLE, "%s cannot be executed", r->path);
	if (WIFEXITED(*status) && WEXITSTATUS(*status) == 126)
		return err_set(e, ERR_UNAVAILABLE, "runsc could not enter its cgroup");
	if (run->pid_file && *status != 0)
		return err_set(e, ERR_UNAVAILABLE, "runsc ended with status %d",
			WIFEXITED(*status) ? WEXITSTATUS(*status) : 128 + WTERMSIG(*status));
	return 0;
}

uint64_t
process_start_time(int pid)
{
	char path[64], text[1024];
	uint64_t v = 0;

	snprintf(path, sizeof(path), "/proc/%d/stat", pid);
	AUTO(fd) int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t n = fd < 0 ? -1 : read(fd, text, sizeof(text));

	if (n <= 0)
		return 0;
	/* The name in parentheses may hold anything: count fields behind the last ')'. */
	struct str s = str_n(text, (size_t)n);
	size_t close = s.n;

	while (close > 0 && s.p[close - 1] != ')')
		close--;
	s = str_sub(s, close + 1, s.n);
	struct str state = str_next(&s, ' ');

	if (str_eqz(state, "Z") || str_eqz(state, "X"))
		return 0;
	for (int i = 0; i < 18; i++)
		(void)str_next(&s, ' ');
	str_to_u64(str_next(&s, ' '), &v);
	return v;
}

static bool
names_root(const char *pid, struct str option)
{
	char path[300], text[4096];

	snprintf(path, sizeof(path), "/proc/%s/cmdline", pid);
	AUTO(fd) int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t n = fd < 0 ? -1 : read(fd, text, sizeof(text));
	struct str s = str_n(text, n > 0 ? (size_t)n : 0);

	while (s.n > 0)
		if (str_eq(str_next(&s, '\0'), option))
			return true;
	return false;
}

int
runsc_kill_leftovers(const char *root)
{
	char option[OPT_MAX];
	AUTO(dir) DIR *d = opendir("/proc");
	int n = 0;

	snprintf(option, sizeof(option), "--root=%s", root);
	for (struct dirent *de = d ? readdir(d) : NULL; de; de = readdir(d)) {
		uint64_t pid = 0;

		if (!str_to_u64(str_z(de->d_name), &pid) || pid <= 1 || (int)pid == getpid())
			continue;
		if (names_root(de->d_name, str_z(option)) && kill((int)pid, SIGKILL) == 0)
			n++;
	}
	return n;
}
