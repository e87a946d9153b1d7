/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The guest: process 1 of a sandbox. It sets itself apart from the tools, dials hands and serves calls until
 * the sandbox ends; nothing that it reads makes it exit. Started as any other process than 1 it is a test
 * subject: it takes its paths from the command line and dies with its parent.
 *
 *   pinfold-guest --socket PATH --workdir DIR [--allow DIR]... [--readonly DIR]... [--results DIR] [--offload
 * DIR]
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/guest_call.h"
#include "guest/calls.h"
#include "guest/channel.h"

#define EXIT_USAGE   64
#define EXIT_STARTUP 70

struct guest {
	bool isolate;
	uint64_t started_us;
	const char *socket, *results, *offload;
	struct roots roots;
	struct reactor *reactor;
	struct jobs *jobs;
	struct bash *bash;
	struct calls *calls;
	struct channel *channel;
	struct watch children; /* signalfd of SIGCHLD */
};

/* ---- where things are ---- */

/* Inside a sandbox. The socket's directory is the working directory of the process: it is reached without its
 * path, which tools could put something else under. */
static void
use_sandbox(struct guest *g)
{
	g->isolate = true;
	g->socket = "hands.sock";
	g->results = "results";
	g->offload = GUEST_OFFLOAD_DIR;
	g->roots = (struct roots){
		.workdir = GUEST_WORKDIR,
		.allowed = {GUEST_UPLOADS, GUEST_OUTPUTS, GUEST_OFFLOAD_DIR, "/mnt/memory",
			"/workspace/skills"},
		.readonly = {GUEST_UPLOADS},
	};
}

static bool
add_root(const char **list, const char *path)
{
	for (size_t i = 0; i < ROOTS_MAX; i++) {
		if (!list[i]) {
			list[i] = path;
			return true;
		}
	}
	return false;
}

static bool
use_option(struct guest *g, const char *name, const char *value)
{
	if (strcmp(name, "--socket") == 0)
		g->socket = value;
	else if (strcmp(name, "--workdir") == 0)
		g->roots.workdir = value;
	else if (strcmp(name, "--results") == 0)
		g->results = value;
	else if (strcmp(name, "--offload") == 0)
		g->offload = value;
	else if (strcmp(name, "--allow") == 0)
		return add_root(g->roots.allowed, value);
	else if (strcmp(name, "--readonly") == 0)
		return add_root(g->roots.readonly, value);
	else
		return false;
	return true;
}

/* Outside a sandbox. */
static bool
use_arguments(struct guest *g, int argc, char **argv)
{
	bool ok = argc % 2 == 1;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	for (int i = 1; ok && i + 1 < argc; i += 2)
		ok = use_option(g, argv[i], argv[i + 1]);
	if (!g->results)
		g->results = "/nonexistent";
	if (!g->offload)
		g->offload = g->roots.workdir;
	return ok && g->socket && g->roots.workdir;
}

/* ---- start ---- */

static int
say(const char *step)
{
	dprintf(2, "guest: %s: %m\n", step);
	return -1;
}

/* Makes a directory the guest's own, so that tools cannot plant or change anything in it. On a read-only
 * mount nobody can. */
static bool
own(const char *path, mode_t mode)
{
	return (chown(path, GUEST_UID, GUEST_UID) == 0 && chmod(path, mode) == 0) || errno == EROFS ||
	       errno == ENOENT;
}

/* Takes what is the guest's, then leaves root. */
static int
enter_sandbox(void)
{
	struct err e = {0};

	if (chdir("/run/pinfold") < 0)
		return say("enter /run/pinfold");
	if (!own(".", 0711) || !own("results", 0700))
		return say("own /run/pinfold");
	if (spawn_become_guest(&e) < 0) {
		dprintf(2, "guest: %s\n", e.msg);
		return -1;
	}
	return 0;
}

/* Every signal that can be ignored is; children get the defaults back. */
static int
set_signals(struct guest *g)
{
	sigset_t set;

	for (int i = 1; i < NSIG; i++)
		if (i != SIGCHLD)
			signal(i, SIG_IGN);
	sigemptyset(&set);
	sigaddset(&set, SIGCHLD);
	if (sigprocmask(SIG_SETMASK, &set, NULL) < 0)
		return say("block signals");
	g->children.fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	return g->children.fd < 0 ? say("signalfd") : 0;
}

/* Tools can open what 0, 1 and 2 of process 1 refer to: it keeps nothing there. */
static void
leave_stdio(void)
{
	AUTO(fd) int fd = open("/dev/null", O_RDWR | O_CLOEXEC);

	for (int i = 0; fd > 2 && i < 3; i++)
		dup2(fd, i);
}

/* ---- wiring ---- */

static void
on_children(struct watch *w, short revents)
{
	struct guest *g = CONTAINER_OF(w, struct guest, children);
	struct signalfd_siginfo info[8];
	int status, pid;

	(void)revents;
	if (read(w->fd, info, sizeof(info)) < 0 && errno != EAGAIN)
		return;
	while ((pid = waitpid(-1, &status, WNOHANG)) > 0)
		if (!bash_reaped(g->bash, pid))
			jobs_reaped(g->jobs, pid, status);
}

static void
on_welcome(void *owner, uint64_t procs, uint64_t memory, uint64_t file)
{
	struct guest *g = owner;
	struct spawn_limits limits = {.procs = procs, .memory_bytes = memory, .file_bytes = file};

	bash_limits(g->bash, &limits);
	jobs_limits(g->jobs, &limits);
	if (g->isolate)
		bash_warm(g->bash);
}

static bool
on_frame(void *owner, const struct frame *f)
{
	return calls_frame(((struct guest *)owner)->calls, f);
}

static void
on_lost(void *owner)
{
	calls_lost(((struct guest *)owner)->calls);
}

static struct buf *
out_of(void *owner)
{
	struct guest *g = owner;

	return g->channel ? channel_out(g->channel) : NULL;
}

static void
flush(void *owner)
{
	struct guest *g = owner;

	if (g->channel)
		channel_flush(g->channel);
}

static bool
wire(struct guest *g)
{
	g->reactor = reactor_new();
	g->jobs = g->reactor ? jobs_new(g->reactor, g->isolate) : NULL;
	struct bash_opts b = {.reactor = g->reactor, .workdir = g->roots.workdir, .isolate = g->isolate};
	g->bash = g->jobs ? bash_new(&b) : NULL;
	struct calls_opts c = {
		.files = {.roots = &g->roots, .give_away = g->isolate},
		.bash = g->bash,
		.jobs = g->jobs,
		.results_dir = g->results,
		.offload_dir = g->offload,
		.out = out_of,
		.flush = flush,
		.owner = g,
	};
	g->calls = g->bash ? calls_new(&c) : NULL;
	g->children.events = POLLIN;
	g->children.fn = on_children;
	return g->calls && reactor_watch(g->reactor, &g->children);
}

static bool
dial(struct guest *g)
{
	struct channel_opts o = {
		.reactor = g->reactor,
		.socket = g->socket,
		.pid = (uint64_t)getpid(),
		.started_us = g->started_us,
		.welcome = on_welcome,
		.frame = on_frame,
		.lost = on_lost,
		.owner = g,
	};

	g->channel = channel_new(&o);
	return g->channel != NULL;
}

int
main(int argc, char **argv)
{
	struct guest g = {.started_us = clock_mono_us(), .children.fd = -1};

	umask(0);
	if (getpid() == 1) {
		use_sandbox(&g);
	} else if (!use_arguments(&g, argc, argv)) {
		dprintf(2, "usage: pinfold-guest --socket PATH --workdir DIR [--allow DIR]... [--readonly "
			   "DIR]... "
			   "[--results DIR] [--offload DIR]\n");
		return EXIT_USAGE;
	}
	if (set_signals(&g) < 0 || (g.isolate && enter_sandbox() < 0))
		return EXIT_STARTUP;
	if (!wire(&g) || !dial(&g)) {
		say("start");
		return EXIT_STARTUP;
	}
	if (g.isolate)
		leave_stdio();
	for (;;)
		reactor_turn(g.reactor, -1);
}
