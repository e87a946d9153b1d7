/* SPDX-License-Identifier: Apache-2.0 */
#include "hands/runsc.h"

#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "hands/program.h"

enum { ARGS_MAX = 24, OPT_MAX = HANDS_PATH + 32 };

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
	struct program p = {
		.argv = (const char *const *)a.p,
		.out = run->out,
		.err = run->err,
		.entries = run->entries,
		.n_entries = run->n_entries,
		.timeout_ms = run->timeout_ms,
	};
	int rc = program_run(&p, status, e);

	if (rc < 0)
		return rc;
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
runsc_signal_leftovers(const char *root, int sig)
{
	char option[OPT_MAX];
	AUTO(dir) DIR *d = opendir("/proc");
	int n = 0;

	snprintf(option, sizeof(option), "--root=%s", root);
	for (struct dirent *de = d ? readdir(d) : NULL; de; de = readdir(d)) {
		uint64_t pid = 0;

		if (!str_to_u64(str_z(de->d_name), &pid) || pid <= 1 || (int)pid == getpid())
			continue;
		if (names_root(de->d_name, str_z(option)) && kill((int)pid, sig) == 0)
			n++;
	}
	return n;
}
