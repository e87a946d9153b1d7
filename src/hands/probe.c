/* SPDX-License-Identifier: Apache-2.0 */
#include "hands/probe.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/utsname.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/limits.h"
#include "base/log.h"
#include "hands/beneath.h"
#include "hands/oci.h"
#include "hands/runsc.h"
#include "hands/workspace.h"

#define KEPT_MAX     4096
#define CLEAR_MS     20
#define CLEAR_ROUNDS 250
#define QUIRK_EXIT   42
#define FAST_MS      5000 /* kvm hangs on some hosts instead of failing */

static const struct candidate {
	const char *name;
	uint64_t timeout_ms;
} candidates[] = {
	{"kvm", FAST_MS},
	{"systrap", LIM_SANDBOX_START_MS},
	{"ptrace", LIM_SANDBOX_START_MS},
};

/* ---- the kept answer ---- */

/* What the answer depends on. */
static void
make_key(const struct hands_env *env, char *dst, size_t cap)
{
	struct utsname u = {0};
	struct stat st = {0};

	uname(&u);
	if (stat(env->cfg.runsc, &st) < 0)
		st.st_size = -1;
	snprintf(dst, cap, "%s %s %lld %lld %s", env->cfg.platform, env->cfg.runsc, (long long)st.st_size,
		(long long)st.st_mtime, u.release);
}

static bool
recall(const struct hands_env *env, const char *key, struct probe_result *out)
{
	AUTO(json) struct json_t *v = NULL;
	AUTO(fd) int dir = open(env->cfg.data_dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	char *text = NULL;
	size_t n = 0;

	if (dir >= 0)
		text = beneath_read(dir, "platform.json", KEPT_MAX, &n, NULL);
	if (!text)
		return false;
	int r = json_parse(str_n(text, n), &v, NULL);

	free(text);
	if (r < 0 || !str_eqz(json_get_str(v, "key"), key) || json_get_str(v, "platform").n == 0)
		return false;
	out->stat_quirk = json_bool(json_get(v, "stat_quirk"), false);
	return str_copy_z(json_get_str(v, "platform"), out->platform, sizeof(out->platform)) &&
	       str_copy_z(json_get_str(v, "note"), out->note, sizeof(out->note));
}

static void
keep(const struct hands_env *env, const char *key, const struct probe_result *p)
{
	AUTO(buf) struct buf b;
	AUTO(fd) int dir = open(env->cfg.data_dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	struct err e = {0};

	buf_init(&b, KEPT_MAX);
	struct json_w w = json_w(&b);

	jw_obj(&w);
	jw_kz(&w, "key", key);
	jw_kz(&w, "platform", p->platform);
	jw_kbool(&w, "stat_quirk", p->stat_quirk);
	jw_kz(&w, "note", p->note);
	jw_obj_end(&w);
	if (dir < 0 || beneath_write(dir, "platform.json", buf_str(&b), &e) < 0)
		log_warn("probe.keep", LOG_ERR(&e));
}

/* ---- trying ---- */

static int
write_bundle(const char *dir, struct err *e)
{
	AUTO(buf) struct buf b = {0};
	AUTO(fd) int fd = -1;
	struct oci_plan plan = {
		.rootfs = "/",
		.rootfs_read_only = true,
		.hostname = "probe",
		.args = (const char *const[]){"/bin/sh", "-c", "stat / >/dev/null || exit 42", NULL},
		.cwd = "/",
	};
	int r = beneath_make_dir(dir, 0700, e);

	if (r == 0)
		r = oci_plan_check(&plan, e);
	if (r < 0)
		return r;
	buf_init(&b, 64 * KIB);
	oci_plan_write(&plan, &b);
	fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return err_os(e, "open %s", dir);
	return beneath_write(fd, "config.json", buf_str(&b), e);
}

static void PRINTF_FMT(2, 3) add_note(struct probe_result *p, const char *fmt, ...)
{
	size_t n = strlen(p->note);
	va_list ap;

	if (n && n + 3 < sizeof(p->note)) {
		memcpy(p->note + n, "; ", 3);
		n += 2;
	}
	va_start(ap, fmt);
	vsnprintf(p->note + n, sizeof(p->note) - n, fmt, ap);
	va_end(ap);
}

/* The end of what runsc printed, without its time stamp. */
static void
last_words(const char *file, char *dst, size_t cap)
{
	size_t n = 0;
	char *text = beneath_read(AT_FDCWD, file, 64 * KIB, &n, NULL);

	dst[0] = '\0';
	if (!text)
		return;
	struct str s = str_trim(str_n(text, n));

	while (s.n > 0 && s.p[s.n - 1] == '\n')
		s.n--;
	while (str_find(s, '\n') < s.n)
		s = str_sub(s, str_find(s, '\n') + 1, s.n);
	snprintf(dst, cap, "%.*s", (int)(s.n > 100 ? 100 : s.n), s.n ? s.p : "");
	free(text);
}

/* Kills what an attempt left and waits for it: its socket's name and its memory are free for the next one
 * then. */
static void
clear_away(const char *root)
{
	for (int i = 0; i < CLEAR_ROUNDS && runsc_signal_leftovers(root, SIGKILL) > 0; i++)
		usleep(CLEAR_MS * 1000);
}

static bool
try_one(const struct hands_env *env, const char *dir, const struct candidate *c, struct probe_result *p)
{
	char root[HANDS_PATH], words[HANDS_PATH], tail[128];
	struct id id = id_new("probe", clock_wall_us());
	struct runsc r = {
		env->cfg.runsc, c->name, hands_path(root, "%s/runsc-%.20s", dir, c->name), NULL, NULL};
	struct runsc_run run = {.bundle = dir, .id = id.z, .out = -1, .timeout_ms = c->timeout_ms};
	struct err e = {0};
	int status = -1;
	AUTO(fd)
	int err = open(hands_path(words, "%s/words", dir),
		O_WRONLY | O_CREAT | O_TRUNC | O_APPEND | O_CLOEXEC, 0600);

	run.err = err;
	int rc = runsc_run(&r, &run, &status, &e);

	clear_away(root);
	last_words(words, tail, sizeof(tail));
	if (rc < 0)
		add_note(p, "%s: %.120s", c->name, e.msg);
	else if (status == 0 || (WIFEXITED(status) && WEXITSTATUS(status) == QUIRK_EXIT))
		add_note(p, "%s: works", c->name);
	else
		add_note(p, "%s: %s", c->name, tail[0] ? tail : "does not start");
	if (rc < 0 || (status != 0 && !(WIFEXITED(status) && WEXITSTATUS(status) == QUIRK_EXIT)))
		return false;
	snprintf(p->platform, sizeof(p->platform), "%s", c->name);
	p->stat_quirk = status != 0;
	return true;
}

static void
try_platforms(const struct hands_env *env, const char *dir, struct probe_result *p)
{
	struct candidate wished = {env->cfg.platform, LIM_SANDBOX_START_MS};
	struct err e = {0};

	if (write_bundle(dir, &e) < 0) {
		add_note(p, "%s", e.msg);
		return;
	}
	if (strcmp(env->cfg.platform, "auto") != 0) {
		try_one(env, dir, &wished, p);
		return;
	}
	for (size_t i = 0; i < ARRAY_LEN(candidates); i++)
		if (try_one(env, dir, &candidates[i], p))
			return;
}

void
probe_run(const struct hands_env *env, bool fresh, struct probe_result *out)
{
	char key[KEPT_MAX / 2], dir[HANDS_PATH], templates[HANDS_PATH];
	struct err e = {0};

	*out = (struct probe_result){0};
	hands_path(dir, "%s/probe", env->cfg.run_dir);
	hands_path(templates, "%s/templates", env->cfg.data_dir);
	make_key(env, key, sizeof(key));
	if (fresh || !recall(env, key, out)) {
		*out = (struct probe_result){0};
		try_platforms(env, dir, out);
		keep(env, key, out);
	}
	if (beneath_make_dir(dir, 0700, &e) == 0)
		out->disk_limited = workspace_can_limit(templates, dir, env->cfg.limits.disk, &e);
	if (!out->disk_limited)
		snprintf(out->disk_note, sizeof(out->disk_note), "%.190s", e.msg);
	beneath_remove(AT_FDCWD, dir, NULL);
}
