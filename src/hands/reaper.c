/* SPDX-License-Identifier: Apache-2.0 */
#include "hands/reaper.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/str.h"

struct reaper {
	struct loop_signal *sig;
	int *kept;
	size_t n, cap;
};

static bool
is_kept(const struct reaper *r, int pid)
{
	for (size_t i = 0; i < r->n; i++)
		if (r->kept[i] == pid)
			return true;
	return false;
}

/* The kernel's list of our children: waitid on "any" would show the same kept one again and again. */
static size_t
children(char *text, size_t cap)
{
	char path[64];

	snprintf(path, sizeof(path), "/proc/self/task/%d/children", (int)getpid());
	AUTO(fd) int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t n = fd < 0 ? -1 : read(fd, text, cap);

	return n > 0 ? (size_t)n : 0;
}

static void
on_sigchld(void *arg, int signum)
{
	struct reaper *r = arg;
	char text[16384];
	struct str list = str_n(text, children(text, sizeof(text)));

	(void)signum;
	while (list.n > 0) {
		uint64_t pid = 0;

		if (!str_to_u64(str_trim(str_next(&list, ' ')), &pid) || is_kept(r, (int)pid))
			continue;
		waitpid((int)pid, NULL, WNOHANG | __WALL);
	}
}

int
reaper_new(struct reaper **out, struct loop *l, struct err *e)
{
	struct reaper *r = calloc(1, sizeof(*r));

	if (!r)
		return err_set(e, ERR_NO_MEMORY, "reaper");
	r->sig = loop_signal_new(l, SIGCHLD, on_sigchld, r);
	if (!r->sig || prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) < 0) {
		int k = err_os(e, "child reaper");

		reaper_free(r);
		return k;
	}
	*out = r;
	return 0;
}

void
reaper_free(struct reaper *r)
{
	if (!r)
		return;
	loop_signal_free(r->sig);
	free(r->kept);
	free(r);
}

int
reaper_keep(struct reaper *r, int pid, struct err *e)
{
	if (r->n == r->cap) {
		size_t cap = r->cap ? r->cap * 2 : 16;
		int *p = realloc(r->kept, cap * sizeof(*p));

		if (!p)
			return err_set(e, ERR_NO_MEMORY, "reaper");
		r->kept = p;
		r->cap = cap;
	}
	r->kept[r->n++] = pid;
	return 0;
}

void
reaper_drop(struct reaper *r, int pid)
{
	for (size_t i = 0; i < r->n; i++) {
		if (r->kept[i] != pid)
			continue;
		r->kept[i] = r->kept[--r->n];
		return;
	}
}
