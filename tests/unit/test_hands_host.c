/* SPDX-License-Identifier: Apache-2.0 */
/* What hands builds on the host: cgroups, OCI plans, programs, jobs, image sources. */
#include "unit.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/json.h"
#include "base/limits.h"
#include "hands/beneath.h"
#include "hands/cgroup.h"
#include "hands/image.h"
#include "hands/job.h"
#include "hands/oci.h"
#include "hands/program.h"
#include "hands/runsc.h"
#include "hands/step.h"

/* ---- cgroups ---- */

static void
cgroup_mounts_of_every_kind_are_found(void **state)
{
	struct cgroup_mounts m;

	(void)state;
	cgroup_parse_mounts(
		STR("30 23 0:26 / /sys/fs/cgroup rw,nosuid shared:9 - cgroup2 cgroup2 rw,nsdelegate\n"), &m);
	assert_string_equal(m.v2, "/sys/fs/cgroup");
	assert_string_equal(m.v1[CGROUP_MEMORY], "");
	cgroup_parse_mounts(STR("31 30 0:27 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n"
				"32 30 0:28 / /sys/fs/cgroup/cpu,cpuacct rw shared:1 master:2 - cgroup "
				"cgroup rw,cpu,cpuacct\n"
				"33 30 0:29 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n"
				"34 30 0:30 / /sys/fs/cgroup/pids rw - cgroup cgroup rw,pids\n"),
		&m);
	assert_string_equal(m.v1[CGROUP_MEMORY], "/sys/fs/cgroup/memory");
	assert_string_equal(m.v1[CGROUP_CPU], "/sys/fs/cgroup/cpu,cpuacct");
	assert_string_equal(m.v1[CGROUP_PIDS], "/sys/fs/cgroup/pids");
	assert_string_equal(m.v2, "/sys/fs/cgroup/unified");
	cgroup_parse_mounts(STR("garbage\n\n1 2 3\n35 1 0:1 / /with\\040space rw - cgroup cgroup rw,memory\n "
				"- cgroup x memory"),
		&m);
	assert_string_equal(m.v1[CGROUP_MEMORY], "");
	cgroup_parse_mounts(STR("36 1 0:1 / /a rw - cgroup cgroup rw,memoryx,xpids"), &m);
	assert_string_equal(m.v1[CGROUP_MEMORY], "");
	assert_string_equal(m.v1[CGROUP_PIDS], "");
}

static bool
keep_none(void *arg, const char *name)
{
	(void)arg;
	(void)name;
	return false;
}

static void
a_cgroup_limits_holds_and_kills(void **state)
{
	struct limits l = {.memory = 64 * MIB, .pids = 64, .cpu_milli = 500};
	struct cgroup_host h;
	struct err e = {0};
	char parent[64];
	int fds[CGROUP_CTLS], status = 0;

	(void)state;
	snprintf(parent, sizeof(parent), "pinfold-test-%d", (int)getpid());
	cgroup_host_find(&h, parent);
	if (!h.dir[CGROUP_PIDS][0] || !h.dir[CGROUP_MEMORY][0]) {
		printf("skipped: cgroups cannot be written here (%s)\n", h.note);
		skip();
	}
	assert_int_equal(cgroup_create(&h, "one", &l, &e), 0);
	int n = cgroup_open_entries(&h, "one", fds, &e);

	assert_true(n > 0);
	struct program p = {.argv = (const char *const[]){"sleep", "60", NULL},
		.out = -1,
		.err = -1,
		.entries = fds,
		.n_entries = n};
	int pid = fork();

	if (pid == 0) {
		program_run(&p, &status, &e);
		_exit(status == SIGKILL ? 0 : 1);
	}
	for (int i = 0; i < 500 && cgroup_kill(&h, "one") == 0; i++)
		usleep(10000);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
	while (n > 0)
		close(fds[--n]);
	assert_int_equal(cgroup_oom_kills(&h, "one"), 0);
	cgroup_sweep(&h, keep_none, NULL);
	assert_int_equal(cgroup_remove(&h, "one", &e), 0);
	cgroup_host_release(&h);
	assert_true(access(h.dir[CGROUP_PIDS], F_OK) < 0);
}

/* Killed instances leave their cgroups; the next start of any instance removes them, and spares those in use.
 */
static void
abandoned_cgroups_are_removed(void **state)
{
	struct limits l = {.memory = 64 * MIB, .pids = 64};
	struct cgroup_host dead, live, next;
	struct err e = {0};

	(void)state;
	cgroup_host_find(&dead, "pinfold-test-dead");
	cgroup_host_find(&live, "pinfold-test-live");
	if (!dead.dir[CGROUP_PIDS][0])
		skip();
	assert_int_equal(cgroup_create(&dead, "one", &l, &e), 0);
	for (int c = 0; c < CGROUP_CTLS; c++)
		fd_close(dead.lock[c]);
	cgroup_host_find(&next, "pinfold-test-next");
	assert_true(access(dead.dir[CGROUP_PIDS], F_OK) < 0);
	assert_int_equal(access(live.dir[CGROUP_PIDS], F_OK), 0);
	cgroup_host_release(&live);
	cgroup_host_release(&next);
}

/* ---- OCI ---- */

static const char *const args[] = {"/bin/true", NULL};

static void
a_plan_becomes_a_configuration(void **state)
{
	struct oci_plan p = {
		.rootfs = "/r",
		.hostname = "h",
		.args = args,
		.cwd = "/",
		.mounts = {{"/a", "/workspace", false, 0}, {"/b", "/up", true, 0},
			{NULL, "/mem", false, 4096}},
		.n_mounts = 3,
	};
	AUTO(json) struct json_t *v = NULL;
	struct err e = {0};
	struct buf b;

	(void)state;
	buf_init(&b, 65536);
	assert_int_equal(oci_plan_check(&p, &e), 0);
	oci_plan_write(&p, &b);
	assert_int_equal(json_parse(buf_str(&b), &v, &e), 0);
	buf_done(&b);
	const struct json_t *process = json_get(v, "process"), *mounts = json_get(v, "mounts");

	assert_true(json_bool(json_get(process, "noNewPrivileges"), false));
	const struct json_t *caps = json_get(json_get(process, "capabilities"), "bounding");

	for (size_t i = 0; i < json_len(caps); i++) {
		struct str c = json_str(json_at(caps, i), STR_NULL);

		assert_false(str_eqz(c, "CAP_SYS_ADMIN") || str_eqz(c, "CAP_SYS_PTRACE") ||
			     str_eqz(c, "CAP_MKNOD") || str_eqz(c, "CAP_NET_RAW"));
	}
	const struct json_t *up = json_at(mounts, json_len(mounts) - 2),
			    *mem = json_at(mounts, json_len(mounts) - 1);

	assert_str(json_get_str(up, "destination"), "/up");
	assert_str(json_str(json_at(json_get(up, "options"), 3), STR_NULL), "ro");
	assert_str(json_get_str(mem, "type"), "tmpfs");
	assert_str(json_str(json_at(json_get(mem, "options"), 2), STR_NULL), "size=4096");
}

static void
a_plan_that_is_wrong_is_refused(void **state)
{
	struct oci_plan good = {.rootfs = "/r",
		.hostname = "h",
		.args = args,
		.cwd = "/",
		.n_mounts = 1,
		.mounts = {{"/a", "/b", false, 0}}};
	static const char *const none[] = {NULL}, *const relative[] = {"true", NULL},
				 *const env[] = {"NOVALUE", NULL};
	struct oci_plan p;
	struct err e = {0};

	(void)state;
#define WRONG(change)                                               \
	do {                                                        \
		p = good;                                           \
		change;                                             \
		assert_err(oci_plan_check(&p, &e), e, ERR_INVALID); \
	} while (0)
	WRONG(p.rootfs = "r");
	WRONG(p.rootfs = "/r/../x");
	WRONG(p.cwd = "");
	WRONG(p.args = none);
	WRONG(p.args = relative);
	WRONG(p.hostname = "");
	WRONG(p.env = env);
	WRONG(p.mounts[0].destination = "/");
	WRONG(p.mounts[0].destination = "/b//c");
	WRONG(p.mounts[0].source = "a");
	WRONG(p.mounts[0].source = NULL);
	WRONG((p.mounts[1] = p.mounts[0], p.n_mounts = 2));
	WRONG(p.n_mounts = OCI_MOUNTS_MAX + 1);
#undef WRONG
}

/* ---- programs and jobs ---- */

static void
count_line(void *arg, struct str line)
{
	struct buf *b = arg;

	buf_put_str(b, line);
	buf_put_c(b, '|');
}

static void
programs_are_run_and_read(void **state)
{
	struct buf b;
	struct err e = {0};
	int status = -1;
	struct program p = {
		.argv = (const char *const[]){"sh", "-c", "echo one; echo two >&2; printf three; exit 3",
			NULL},
		.out = -1,
		.err = -1,
		.timeout_ms = 10000,
		.line = count_line,
		.arg = &b,
	};

	(void)state;
	buf_init(&b, 4096);
	assert_int_equal(program_run(&p, &status, &e), 0);
	assert_int_equal(WEXITSTATUS(status), 3);
	assert_str(buf_str(&b), "one|two|three|");
	assert_err(program_must(&p, &e), e, ERR_UNAVAILABLE);
	buf_done(&b);
	p = (struct program){.argv = (const char *const[]){"/no/such/program", NULL}, .out = -1, .err = -1};
	assert_err(program_run(&p, &status, &e), e, ERR_UNAVAILABLE);
	p = (struct program){
		.argv = (const char *const[]){"sleep", "30", NULL}, .out = -1, .err = -1, .timeout_ms = 50};
	uint64_t t = clock_mono_us();

	assert_err(program_run(&p, &status, &e), e, ERR_TIMEOUT);
	assert_true(clock_mono_us() - t < 10000000);
}

static void
a_process_is_known_by_its_start(void **state)
{
	(void)state;
	assert_true(process_start_time(getpid()) > 0);
	assert_int_equal(process_start_time(0x7ffffff0), 0);
	int pid = fork();

	if (pid == 0)
		_exit(0);
	siginfo_t si;

	assert_int_equal(waitid(P_PID, (id_t)pid, &si, WEXITED | WNOWAIT), 0);
	assert_int_equal(process_start_time(pid), 0); /* a zombie is dead */
	assert_int_equal(waitpid(pid, NULL, 0), pid);
}

struct job_test {
	struct loop *loop;
	struct reaper *reaper;
	struct job *job;
	struct job_reply reply;
	bool done;
};

static int
job_ok(void *arg, struct job_reply *reply, struct err *e)
{
	(void)arg;
	(void)e;
	reply->step = 3;
	memcpy(reply->data, "data", 5);
	return 0;
}

static int
job_fails(void *arg, struct job_reply *reply, struct err *e)
{
	(void)arg;
	reply->step = 4;
	return err_set(e, ERR_CONFLICT, "no %d", 7);
}

static int
job_hangs(void *arg, struct job_reply *reply, struct err *e)
{
	(void)arg;
	(void)e;
	reply->step = 5;
	while (pause() < 0)
		;
	return 0;
}

static int
job_crashes(void *arg, struct job_reply *reply, struct err *e)
{
	(void)arg;
	(void)reply;
	(void)e;
	_exit(9);
}

/* Leaves a process behind, which comes back to us as the nearest reaper. */
static int
job_orphans(void *arg, struct job_reply *reply, struct err *e)
{
	(void)arg;
	(void)e;
	int pid = fork();

	if (pid == 0)
		_exit(0);
	memcpy(reply->data, &pid, sizeof(pid));
	return 0;
}

static void
on_job(void *owner, const struct job_reply *reply)
{
	struct job_test *t = owner;

	t->reply = *reply;
	t->done = true;
	loop_stop(t->loop);
}

static void
run_job(struct job_test *t, int (*run)(void *, struct job_reply *, struct err *), uint64_t timeout_ms)
{
	struct job_opts o = {.loop = t->loop,
		.reaper = t->reaper,
		.name = "job",
		.run = run,
		.timeout_ms = timeout_ms,
		.owner = t,
		.on_done = on_job};
	struct err e = {0};

	t->done = false;
	assert_int_equal(job_start(&t->job, &o, &e), 0);
	loop_run(t->loop);
	assert_true(t->done);
}

static void
jobs_answer_fail_hang_and_crash(void **state)
{
	struct job_test t = {0};
	struct err e = {0};
	int pid = 0;

	(void)state;
	assert_int_equal(loop_new(&t.loop, &e), 0);
	assert_int_equal(reaper_new(&t.reaper, t.loop, &e), 0);
	run_job(&t, job_ok, 5000);
	assert_int_equal(t.reply.rc, 0);
	assert_int_equal(t.reply.step, 3);
	assert_string_equal((char *)t.reply.data, "data");
	run_job(&t, job_fails, 0);
	assert_int_equal(t.reply.rc, -ERR_CONFLICT);
	assert_string_equal(t.reply.err.msg, "no 7");
	run_job(&t, job_hangs, 50);
	assert_int_equal(t.reply.rc, -ERR_TIMEOUT);
	assert_int_equal(t.reply.step, 5);
	run_job(&t, job_crashes, 5000);
	assert_int_equal(t.reply.rc, -ERR_INTERNAL);
	run_job(&t, job_orphans, 5000);
	memcpy(&pid, t.reply.data, sizeof(pid));
	while (kill(pid, 0) == 0)
		loop_step(t.loop);
	assert_int_equal(errno, ESRCH);
	reaper_free(t.reaper);
	loop_free(t.loop);
}

/* ---- images ---- */

static void
host_sources_are_picked(void **state)
{
	struct buf b;

	(void)state;
	buf_init(&b, 65536);
	assert_int_equal(
		image_pick_sources(
			STR("# comment\n"
			    "deb http://m/debian bookworm main contrib\n"
			    "deb-src http://m/debian bookworm main\n"
			    "deb [arch=amd64 signed-by=/k.gpg] http://m/sec bookworm-security main # x\n"
			    "deb http://m/debian trixie main\n"
			    "deb http://node/ nodistro main\n"
			    "deb http://m/debian bookworm contrib\n"
			    "deb\n\ndeb [x\n"),
			false, "bookworm", &b),
		2);
	assert_str(buf_str(&b), "deb http://m/debian bookworm main\ndeb [signed-by=/k.gpg] http://m/sec "
				"bookworm-security main\n");
	buf_clear(&b);
	assert_int_equal(
		image_pick_sources(
			STR("Types: deb deb-src\n# c\nURIs: http://m/debian\nSuites: bookworm "
			    "bookworm-updates\n"
			    "Components: main\nSigned-By: /usr/share/k.gpg\n\n"
			    "Enabled: no\nTypes: deb\nURIs: http://off\nSuites: bookworm\nComponents: "
			    "main\n\n"
			    "types: deb\nuris: http://two http://three\nsuites: bookworm\ncomponents: main\n"
			    "Signed-By:\n -----BEGIN\n"),
			true, "bookworm", &b),
		4);
	assert_str(buf_str(&b), "deb [signed-by=/usr/share/k.gpg] http://m/debian bookworm main\n"
				"deb [signed-by=/usr/share/k.gpg] http://m/debian bookworm-updates main\n"
				"deb http://two bookworm main\ndeb http://three bookworm main\n");
	buf_done(&b);
}

static void
apt_configuration_is_reduced(void **state)
{
	struct buf b;

	(void)state;
	buf_init(&b, 65536);
	image_pick_apt_config(STR("APT \"\";\nAcquire::http \"\";\nAcquire::http::Proxy \"http://p:3128\";\n"
				  "Acquire::Check-Valid-Until \"false\";\nDPkg::Post-Invoke:: \"rm -rf "
				  "/\";\nAcquire::Languages \"en\";\n"),
		&b);
	assert_str(buf_str(&b),
		"Acquire::http::Proxy \"http://p:3128\";\nAcquire::Check-Valid-Until \"false\";\n");
	buf_done(&b);
}

static void
collect_name(void *arg, const struct image_info *i)
{
	struct buf *b = arg;

	buf_printf(b, "%s ", i->name);
}

static void
images_are_listed(void **state)
{
	char dir[] = "/tmp/pinfold-images-XXXXXX", path[256];
	struct image_info i;
	struct err e = {0};
	struct buf b;

	(void)state;
	buf_init(&b, 4096);
	assert_non_null(mkdtemp(dir));
	assert_int_equal(image_list("/nonexistent/images", collect_name, &b, &e), 0);
	static const char *const made[] = {".mine-5/rootfs/usr", "oci/usr", "junk"};

	for (size_t k = 0; k < ARRAY_LEN(made); k++) {
		snprintf(path, sizeof(path), "%s/%s", dir, made[k]);
		assert_int_equal(beneath_make_dir(path, 0755, &e), 0);
	}
	snprintf(path, sizeof(path), "%s/mine", dir);
	assert_int_equal(symlink(".mine-5", path), 0);
	snprintf(path, sizeof(path), "%s/.mine-5/manifest.json", dir);
	FILE *f = fopen(path, "we");

	fputs("{\"suite\":\"bookworm\",\"hash\":\"ab\",\"created_us\":5,\"bytes\":7,\"package_count\":2}", f);
	fclose(f);
	assert_int_equal(image_list(dir, collect_name, &b, &e), 0);
	assert_true(str_find_str(buf_str(&b), STR("mine ")) < b.n &&
		    str_find_str(buf_str(&b), STR("oci ")) < b.n);
	assert_true(str_find_str(buf_str(&b), STR("junk")) == b.n);
	assert_int_equal(image_get(dir, "mine", &i, &e), 0);
	assert_string_equal(i.suite, "bookworm");
	assert_int_equal(i.packages, 2);
	assert_int_equal(image_get(dir, "oci", &i, &e), 0);
	assert_string_equal(i.suite, "");
	assert_err(image_get(dir, "../x", &i, &e), e, ERR_NOT_FOUND);
	assert_int_equal(image_remove(dir, "mine", &e), 0);
	assert_err(image_get(dir, "mine", &i, &e), e, ERR_NOT_FOUND);
	assert_int_equal(beneath_remove(AT_FDCWD, dir, &e), 0);
	buf_done(&b);
}

static void
every_step_has_a_word(void **state)
{
	(void)state;
	for (int i = 1; i < STEP_COUNT; i++)
		assert_true(hands_step_name((enum hands_step)i)[0] != '\0');
	assert_string_equal(hands_step_name(STEP_HELLO), "guest-hello");
}

int
main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(cgroup_mounts_of_every_kind_are_found),
		cmocka_unit_test(a_cgroup_limits_holds_and_kills),
		cmocka_unit_test(abandoned_cgroups_are_removed),
		cmocka_unit_test(a_plan_becomes_a_configuration),
		cmocka_unit_test(a_plan_that_is_wrong_is_refused),
		cmocka_unit_test(programs_are_run_and_read),
		cmocka_unit_test(a_process_is_known_by_its_start),
		cmocka_unit_test(jobs_answer_fail_hang_and_crash),
		cmocka_unit_test(host_sources_are_picked),
		cmocka_unit_test(apt_configuration_is_reduced),
		cmocka_unit_test(images_are_listed),
		cmocka_unit_test(every_step_has_a_word),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
