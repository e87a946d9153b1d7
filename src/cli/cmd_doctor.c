/* SPDX-License-Identifier: Apache-2.0 */
/*
 * doctor: tries what the server will need on this host and says what to do about what is missing. It starts a
 * real sandbox and mounts a real disk, in a mount namespace and a directory of its own, and leaves nothing
 * behind.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/landlock.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <sys/utsname.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/limits.h"
#include "cli/api.h"
#include "cli/cmd.h"
#include "cli/serve.h"
#include "hands/beneath.h"
#include "hands/probe.h"
#include "hands/program.h"

#define SCRATCH     "/var/tmp/pinfold-doctor-XXXXXX"
#define VERSION_MS  10000
#define SPACE_LEAST GIB
#define SPACE_GOOD  (5 * GIB)
#define NETWORK     "Sandboxes have no network: loopback only, until the egress gate is built."

enum state { OK, WARN, FAIL };

struct doctor_opts {
	struct api_opts api;
	const char *config;
};

struct doctor {
	struct doctor_opts o;
	struct buf json;
	struct json_w w;
	bool colour;
	const char *advice; /* what to do about the next finding; NULL: nothing */
	unsigned failed;
	struct serve serve;
	struct hands_env env;
	char scratch[sizeof(SCRATCH)]; /* "": none */
};

/* ---- findings ---- */

static void finding(struct doctor *d, enum state s, const char *name, const char *fmt, ...) PRINTF_FMT(4, 5);

/* One line, and d->advice. */
static void
finding(struct doctor *d, enum state s, const char *name, const char *fmt, ...)
{
	static const char *const words[] = {"ok", "warn", "fail"};
	static const char *const colours[] = {"\033[32m", "\033[33m", "\033[31m"};
	const char *advice = MOVE(d->advice);
	char text[1024];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	d->failed += s == FAIL;
	if (d->o.api.json) {
		jw_obj(&d->w);
		jw_kz(&d->w, "name", name);
		jw_kz(&d->w, "state", words[s]);
		jw_kz(&d->w, "text", text);
		jw_kz(&d->w, "advice", advice);
		jw_obj_end(&d->w);
		return;
	}
	printf("%s%-4s%s  %-8s  %s\n", d->colour ? colours[s] : "", words[s], d->colour ? "\033[0m" : "",
		name, text);
	if (advice)
		printf("%16s%s\n", "", advice);
	fflush(stdout);
}

/* ---- the host ---- */

static void
check_root(struct doctor *d)
{
	if (geteuid() == 0) {
		finding(d, OK, "root", "running as root");
	} else {
		d->advice = "Run it as root: sudo pinfold doctor";
		finding(d, FAIL, "root",
			"not root: the server and sandboxes need root, and half of these checks");
	}
}

static bool
has_overlay(void)
{
	char *text = NULL;
	size_t n = 0;

	text = beneath_read(AT_FDCWD, "/proc/filesystems", 64 * KIB, &n, NULL);
	if (!text)
		return false;
	bool found = str_find_str(str_n(text, n), STR("\toverlay\n")) < n;

	free(text);
	return found;
}

static void
check_kernel(struct doctor *d)
{
	struct utsname u = {0};
	struct open_how_probe {
		uint64_t flags, mode, resolve;
	} how = {.flags = O_RDONLY | O_DIRECTORY | O_CLOEXEC};
	long landlock = syscall(SYS_landlock_create_ruleset, NULL, 0, LANDLOCK_CREATE_RULESET_VERSION);
	AUTO(fd) int fd = (int)syscall(SYS_openat2, AT_FDCWD, "/", &how, sizeof(how));

	uname(&u);
	if (fd < 0) {
		d->advice = "Use Linux 5.10 or newer.";
		finding(d, FAIL, "kernel", "Linux %s has no openat2", u.release);
	} else if (!has_overlay()) {
		d->advice = "Load it: modprobe overlay";
		finding(d, WARN, "kernel", "Linux %s, overlay is not there (yet)", u.release);
	} else if (landlock < 1) {
		d->advice = "Use Linux 5.13 or newer with Landlock, or boot with lsm=landlock,...";
		finding(d, WARN, "kernel",
			"Linux %s without Landlock: roles are confined by uid, namespaces and seccomp only",
			u.release);
	} else {
		finding(d, OK, "kernel", "Linux %s, overlay, Landlock version %ld", u.release, landlock);
	}
}

static const char *
cgroup_kind(const struct cgroup_host *h)
{
	unsigned v2 = 0, v1 = 0;

	for (size_t i = 0; i < CGROUP_CTLS; i++) {
		v2 += h->dir[i][0] && h->v2[i];
		v1 += h->dir[i][0] && !h->v2[i];
	}
	return v1 && v2 ? "hybrid" : v2 ? "version 2" : v1 ? "version 1" : "none";
}

static void
check_cgroups(struct doctor *d)
{
	static const char *const names[] = {"memory", "pids", "cpu"};
	struct cgroup_host h = {0};
	char parent[48], found[48] = "", missing[48] = "";

	snprintf(parent, sizeof(parent), "pinfold-doctor-%d", (int)getpid());
	cgroup_host_find(&h, parent);
	for (size_t i = 0; i < CGROUP_CTLS; i++) {
		char *to = h.dir[i][0] ? found : missing;
		size_t n = strlen(to);

		snprintf(to + n, sizeof(found) - n, "%s%s", n ? " " : "", names[i]);
		if (h.dir[i][0])
			rmdir(h.dir[i]);
	}
	if (!missing[0])
		finding(d, OK, "cgroups", "%s; writable: %s", cgroup_kind(&h), found);
	else {
		d->advice = "Mount the controllers and make them writable (a container needs its own cgroup, "
			    "delegated).";
		finding(d, WARN, "cgroups", "%s; writable: %s; not limited: %s%s%s", cgroup_kind(&h),
			found[0] ? found : "none", missing, h.note[0] ? "; " : "", h.note);
	}
}

/* Before the first start the directory is not there: its nearest parent that is. */
static bool
space_at(const char *dir, struct statvfs *v)
{
	char path[LIM_PATH];
	char *slash = path;

	if (!str_copy_z(str_z(dir), path, sizeof(path)))
		return false;
	while (slash && statvfs(path, v) < 0) {
		slash = strrchr(path, '/');
		if (slash)
			*slash = '\0';
	}
	return slash || statvfs(dir[0] == '/' ? "/" : ".", v) == 0;
}

static void
check_space(struct doctor *d)
{
	struct statvfs v;

	if (!space_at(d->serve.config->data, &v))
		return;
	uint64_t left = (uint64_t)v.f_bavail * v.f_frsize;

	enum state s = left < SPACE_LEAST ? FAIL : left < SPACE_GOOD ? WARN : OK;

	if (s != OK)
		d->advice = "Make room, or choose another data directory: --data DIR";
	finding(d, s, "disk", "%.1f GiB free for %s", (double)left / (double)GIB, d->serve.config->data);
}

/* ---- sandboxes ---- */

static void
first_line(void *arg, struct str line)
{
	char *to = arg;

	if (!to[0])
		snprintf(to, 100, "%.*s", STRF(str_sub(line, 0, 99)));
}

static bool
check_runsc(struct doctor *d)
{
	char version[100] = "";
	struct err e = {0};
	struct program p = {.argv = (const char *const[]){d->serve.runsc, "--version", NULL},
		.out = -1,
		.err = -1,
		.line = first_line,
		.arg = version,
		.timeout_ms = VERSION_MS};

	if (program_must(&p, &e) < 0) {
		d->advice =
			"Install it (apt-get install runsc), or name it in the configuration: sandbox.runsc";
		finding(d, FAIL, "runsc", "%s: %s", d->serve.runsc, e.msg);
		return false;
	}
	finding(d, OK, "runsc", "%s, %s", d->serve.runsc, version);
	return true;
}

static void
check_sandbox(struct doctor *d, bool runnable)
{
	struct probe_result p = {.platform = ""};

	if (!d->scratch[0] || !runnable) {
		finding(d, FAIL, "sandbox", "not tried: it needs root and runsc");
		return;
	}
	probe_run(&d->env, true, &p);
	if (!p.platform[0]) {
		d->advice = "In a container: allow ptrace, mount and user namespaces. Elsewhere: try a newer "
			    "runsc.";
		finding(d, FAIL, "sandbox", "none started: %s", p.note);
	} else {
		finding(d, OK, "sandbox", "one was started on platform %s (%s)", p.platform, p.note);
	}
	if (p.disk_limited) {
		finding(d, OK, "loop", "file systems in files can be mounted: disks are limited to %.0f GiB",
			(double)d->env.cfg.limits.disk / (double)GIB);
	} else {
		d->advice = "Give the host loop devices and mkfs.ext4 (e2fsprogs).";
		finding(d, WARN, "loop", "a session's disk cannot be limited: %s", p.disk_note);
	}
}

static void
check_image(struct doctor *d)
{
	char root[HANDS_PATH];
	struct err e = {0};

	if (env_image(&d->env, "", root, &e) < 0) {
		d->advice = "Build it: pinfold image build";
		finding(d, FAIL, "image", "no base image in %s", d->env.cfg.image_dir);
	} else {
		finding(d, OK, "image", "%s", root);
	}
}

static void
check_guest(struct doctor *d)
{
	struct stat st;

	if (stat(d->serve.guest, &st) == 0 && S_ISREG(st.st_mode) && access(d->serve.guest, X_OK) == 0) {
		finding(d, OK, "guest", "%s, %.1f MiB", d->serve.guest, (double)st.st_size / (double)MIB);
	} else {
		d->advice = "Build or install it (make; make install), or name it in the configuration: "
			    "sandbox.guest";
		finding(d, FAIL, "guest", "the program that runs inside sandboxes is not at %s",
			d->serve.guest);
	}
}

/* ---- a server ---- */

static void
check_server(struct doctor *d)
{
	AUTO(api) struct api *a = NULL;
	AUTO(json) struct json_t *v = NULL;
	struct api_opts o = d->o.api;
	struct err e = {0};

	if (!o.data && !getenv("PINFOLD_URL"))
		o.data = d->serve.config->data;
	int rc = api_open(&o, &a, &e);

	rc = rc == 0 ? api_call(a, "GET /v1/pinfold/status", STR_NULL, &v, &e) : rc;
	if (rc == -ERR_NOT_FOUND || rc == -ERR_UNAVAILABLE) {
		finding(d, OK, "server", "none answers here (pinfold serve starts one)");
	} else if (rc < 0)
		finding(d, WARN, "server", "%s", e.msg);
	else {
		const struct json_t *hands = json_get(v, "hands");
		bool on = json_bool(json_get(v, "hands_connected"), false) &&
			  json_bool(json_get(v, "gate_connected"), false);

		d->advice = on ? NULL : "Its log says which role failed and why.";
		finding(d, on ? OK : WARN, "server", "%.*s answers, version %.*s since %.*s, platform %.*s%s",
			STRF(api_url(a)), STRF(json_get_str(v, "version")),
			STRF(json_get_str(v, "started_at")),
			STRF(json_str(json_get(hands, "platform"), STR("unknown"))),
			on ? "" : "; a role is away");
	}
}

/* ---- together ---- */

/* What hands would be told, but for directories of our own. */
static int
make_env(struct doctor *d, struct err *e)
{
	AUTO(buf) struct buf b = {0};
	AUTO(json) struct json_t *v = NULL;
	char data[PATH_MAX];
	struct supervise_place at = {
		.hands_dir = "/run/pinfold", .run_dir = "/run/pinfold", .data_dir = data};

	if (!realpath(d->serve.config->data, data) &&
		!str_copy_z(str_z(d->serve.config->data), data, sizeof(data)))
		return err_set(e, ERR_INVALID, "the data directory's path is too long");
	buf_init(&b, MIB);
	int rc = serve_slice(&d->serve, "hands", &at, &b, e);

	rc = rc == 0 ? json_parse(buf_str(&b), &v, e) : rc;
	rc = rc == 0 ? hands_config_parse(&d->env.cfg, v, e) : rc;
	if (rc < 0 || geteuid() != 0)
		return rc;
	memcpy(d->scratch, SCRATCH, sizeof(SCRATCH));
	/* What is mounted here ends with this process. */
	if (!mkdtemp(d->scratch) || unshare(CLONE_NEWNS) < 0 ||
		mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0)
		return err_os(e, "a directory to try things in");
	memcpy(d->env.cfg.run_dir, d->scratch, sizeof(d->scratch));
	memcpy(d->env.cfg.data_dir, d->scratch, sizeof(d->scratch));
	char templates[HANDS_PATH];

	return beneath_make_dir(hands_path(templates, "%s/templates", d->scratch), 0700, e);
}

static int
examine(struct doctor *d, struct err *e)
{
	AUTO(config) struct config *c = NULL;
	int rc = serve_config(d->o.config, &c, e);

	if (rc < 0)
		return rc;
	if (d->o.api.data)
		c->data = d->o.api.data;
	d->serve.config = c;
	serve_find_guest(&d->serve);
	serve_find_runsc(&d->serve);
	rc = make_env(d, e);
	if (rc < 0)
		return rc;
	check_root(d);
	check_kernel(d);
	check_cgroups(d);
	check_space(d);
	check_sandbox(d, check_runsc(d));
	check_image(d);
	check_guest(d);
	finding(d, OK, "network", NETWORK);
	check_server(d);
	d->serve.config = NULL;
	return 0;
}

static int
run_doctor(const struct cmd *c, int argc, char **argv)
{
	struct err e = {0};
	struct doctor d = {.failed = 0};
	int rc = cmd_parse(c, &argc, argv, &d.o, &e);

	if (rc == CMD_DONE)
		return 0;
	d.colour = isatty(STDOUT_FILENO) == 1 && !getenv("NO_COLOR");
	buf_init(&d.json, MIB);
	d.w = json_w(&d.json);
	jw_obj(&d.w);
	jw_key(&d.w, "checks");
	jw_arr(&d.w);
	rc = rc == 0 ? examine(&d, &e) : rc;
	jw_arr_end(&d.w);
	jw_kbool(&d.w, "ok", rc == 0 && d.failed == 0);
	jw_obj_end(&d.w);
	if (rc == 0 && d.o.api.json)
		printf("%.*s\n", STRF(buf_str(&d.json)));
	buf_done(&d.json);
	if (d.scratch[0])
		beneath_remove(AT_FDCWD, d.scratch, NULL);
	if (rc < 0)
		return cmd_fail(c, &e);
	return d.failed ? err_exit_code(ERR_UNAVAILABLE) : 0;
}

static const struct cmd_opt doctor_options[] = {
	{"config", "FILE", "configuration of the server (default: as serve)",
		offsetof(struct doctor_opts, config)},
	API_OPTS(struct doctor_opts),
	{NULL, NULL, NULL, 0},
};

const struct cmd cmds_doctor[] = {
	{
		.name = "doctor",
		.args = "[--config FILE] [--data DIR] [--json]",
		.summary = "Check whether this host can run the server, and say what to do",
		.run = run_doctor,
		.opts = doctor_options,
		.help = "It starts a real sandbox. Exit code 0 when nothing failed.\n",
	},
	{.name = NULL},
};
