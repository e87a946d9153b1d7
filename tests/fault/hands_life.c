/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The life of sandboxes with a real runtime: cold, warm, existing and rebuilt claims, uploads, outputs,
 * fencing, restart of hands, limits, release. Each case is named on its own line.
 */
#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/guest_call.h"
#include "base/limits.h"
#include "hands/runsc.h"
#include "hands_kit.h"
#include "io/calls.h"

static void
ok(const char *name)
{
	printf("ok %s\n", name);
	fflush(stdout);
}

static void
expect_text(struct kit *k, const char *s, uint64_t g, const char *command, const char *want)
{
	struct kit_result r;

	kit_bash(k, s, g, command, &r);
	KIT_CHECK(r.failed == 0, "%s: %s: %s", command, r.step, r.message);
	KIT_CHECK(strstr(r.text, want) != NULL, "%s gave \"%.300s\", not \"%s\"", command, r.text, want);
	kit_result_done(&r);
}

static void
claim_ok(struct kit *k, const char *s, const struct kit_files *f, uint64_t how, struct kit_claim *c)
{
	kit_claim(k, s, f, c);
	KIT_CHECK(c->failed == 0, "claim of %s: %s: %s", s, c->step, c->message);
	KIT_CHECK(c->how == how, "claim of %s was %llu, not %llu", s, (unsigned long long)c->how,
		(unsigned long long)how);
}

static void
cold_then_existing(struct kit *k, struct kit_claim *c)
{
	struct kit_claim again;
	static const struct kit_file files[] = {
		{"file_1", "/mnt/session/uploads/data/a.txt", "alpha"},
		{"file_2", "/workspace/b.txt", "beta"},
		{"file_3", "/srv/c.txt", "gamma"},
	};

	claim_ok(k, "sesn_cold", &(struct kit_files){files, 3}, 2, c);
	KIT_CHECK(c->generation == 1, "the first generation is %llu", (unsigned long long)c->generation);
	expect_text(
		k, "sesn_cold", 1, "cat /mnt/session/uploads/data/a.txt b.txt /srv/c.txt", "alphabetagamma");
	ok("a cold claim puts files below uploads, the work directory and elsewhere");
	claim_ok(k, "sesn_cold", &(struct kit_files){files, 3}, 0, &again);
	KIT_CHECK(again.generation == 1, "the generation changed");
	ok("a second claim finds the sandbox");
	expect_text(k, "sesn_cold", 1, "echo x > /mnt/session/uploads/new || echo refused", "refused");
	ok("uploads are read-only inside");
	static const struct kit_file more[] = {
		{"file_1", "/mnt/session/uploads/data/a.txt", "alpha"},
		{"file_4", "/mnt/session/uploads/late.txt", "delta"},
		{"file_5", "/workspace/sub/e.txt", "epsilon"},
	};

	expect_text(k, "sesn_cold", 1, "ls /workspace/sub/e.txt /mnt/session/uploads/late.txt 2>&1",
		"No such file");
	claim_ok(k, "sesn_cold", &(struct kit_files){more, 3}, 0, &again);
	expect_text(k, "sesn_cold", 1, "cat /mnt/session/uploads/late.txt sub/e.txt", "deltaepsilon");
	ok("files that are added later appear in a running sandbox, also where their absence was seen "
	   "before");
}

static void
fencing(struct kit *k)
{
	struct kit_result r;

	kit_execute(k,
		&(struct kit_call){
			"sesn_cold", 7, "sevt_stale", "bash", "{\"command\":\"touch /workspace/stale\"}", 0},
		&r);
	KIT_CHECK(r.failed == ERR_FENCED, "a stale generation gave %llu", (unsigned long long)r.failed);
	expect_text(k, "sesn_cold", 1, "ls /workspace", "b.txt");
	kit_execute(
		k, &(struct kit_call){"sesn_nobody", 1, "sevt_x", "bash", "{\"command\":\"true\"}", 0}, &r);
	KIT_CHECK(r.failed == ERR_FENCED, "an unknown session gave %llu", (unsigned long long)r.failed);
	ok("a stale generation is fenced");
}

static void
once(struct kit *k)
{
	static const char input[] = "{\"command\":\"echo run >> /workspace/runs; wc -l < /workspace/runs\"}";
	struct kit_result a, b;

	kit_execute(k, &(struct kit_call){"sesn_cold", 1, "sevt_once", "bash", input, 0}, &a);
	kit_execute(k, &(struct kit_call){"sesn_cold", 1, "sevt_once", "bash", input, 0}, &b);
	KIT_CHECK(a.text && b.text && strcmp(a.text, b.text) == 0, "two results: %s and %s", a.text, b.text);
	kit_result_done(&a);
	kit_result_done(&b);
	kit_ack(k, "sesn_cold", "sevt_once");
	expect_text(k, "sesn_cold", 1, "cat /workspace/runs | wc -l", "1");
	ok("a repeated execution id does not run again");
}

static void
outputs(struct kit *k)
{
	char text[16] = "";

	expect_text(k, "sesn_cold", 1,
		"mkdir -p /mnt/session/outputs/d; printf hello > /mnt/session/outputs/d/o.txt; "
		"ln -s /etc/passwd /mnt/session/outputs/link; mkfifo /mnt/session/outputs/pipe; echo done",
		"done");
	struct kit_msg *m = kit_wait_output(k, 10000);

	KIT_CHECK(m != NULL, "no output file");
	struct frame_r r = frame_r(m->payload);

	KIT_CHECK(str_eqz(frame_get_str(&r), "sesn_cold"), "session");
	struct str path = frame_get_str(&r);

	KIT_CHECK(str_eqz(path, "d/o.txt"), "path %.*s", STRF(path));
	KIT_CHECK(frame_get_u64(&r) == 5, "size");
	KIT_CHECK(pread(m->fd, text, sizeof(text), 0) == 5 && memcmp(text, "hello", 5) == 0, "content %s",
		text);
	KIT_CHECK((fcntl(m->fd, F_GETFL) & O_ACCMODE) == O_RDONLY, "the descriptor is writable");
	kit_msg_free(m);
	m = kit_wait_output(k, 5000);
	KIT_CHECK(m == NULL, "a link, a pipe or an unchanged file was reported");
	ok("outputs are reported once, links and pipes never");
}

static void
warm(struct kit *k)
{
	struct kit_claim c;
	static const struct kit_file f[] = {
		{"file_w", "/mnt/session/uploads/w.txt", "warm"}, {"file_v", "/workspace/v.txt", "work"}};

	kit_wait_warm(k);
	claim_ok(k, "sesn_warm", &(struct kit_files){f, 2}, 1, &c);
	expect_text(k, "sesn_warm", c.generation,
		"cat /mnt/session/uploads/w.txt /workspace/v.txt; ls -la / | head -3", "warmwork");
	ok("a warm claim puts files in place");
	expect_text(k, "sesn_warm", c.generation, "ls /workspace/b.txt /mnt/session/uploads/data 2>&1",
		"No such file");
	ok("sessions do not see each other's files");
}

static void
idle_and_rebuild(struct kit *k)
{
	struct kit_claim c;

	expect_text(k, "sesn_warm", 1,
		"echo kept > /workspace/kept; echo kept > /root/kept; echo kept > /tmp/kept; echo y", "y");
	struct kit_msg *m = kit_wait_gone(k, "sesn_warm", 30000);

	KIT_CHECK(m != NULL, "no sandbox was reaped");
	kit_msg_free(m);
	claim_ok(k, "sesn_warm", NULL, 3, &c);
	KIT_CHECK(c.generation == 2, "generation %llu", (unsigned long long)c.generation);
	expect_text(k, "sesn_warm", 2, "cat /workspace/kept /root/kept /tmp/kept | tr '\\n' ' '",
		"kept kept kept");
	ok("an idle sandbox is reaped and rebuilt on its workspace");
	struct kit_result r;

	kit_execute(
		k, &(struct kit_call){"sesn_warm", 1, "sevt_old", "bash", "{\"command\":\"true\"}", 0}, &r);
	KIT_CHECK(r.failed == ERR_FENCED, "the old handle reached the new sandbox");
	ok("a handle to the former sandbox is fenced");
}

static void
restart(struct kit *k)
{
	struct kit_claim c;
	struct kit_result r;
	struct buf b;

	claim_ok(k, "sesn_restart", NULL, 2, &c);
	expect_text(k, "sesn_restart", 1, "export KEEP=me; echo a", "a");
	kit_send_execute(k, &(struct kit_call){"sesn_restart", 1, "sevt_during", "bash",
				    "{\"command\":\"sleep 3; echo survived $KEEP\"}", 0});
	expect_text(k, "sesn_restart", 1, "true", ""); /* the order of messages: the other one was sent */
	kit_restart(k);
	buf_init(&b, 65536);
	kit_status(k, &b);
	buf_done(&b);
	uint64_t call = kit_send_collect(k, "sesn_restart", "sevt_during");

	kit_get_result(k, call, 20000, &r);
	KIT_CHECK(r.text && strstr(r.text, "survived me"), "after the restart: %s %s",
		r.text ? r.text : r.step, r.message);
	kit_result_done(&r);
	kit_ack(k, "sesn_restart", "sevt_during");
	claim_ok(k, "sesn_restart", NULL, 0, &c);
	KIT_CHECK(c.generation == 1, "generation %llu", (unsigned long long)c.generation);
	ok("a killed hands finds its sandbox again and collects what ran meanwhile");
}

static void
release(struct kit *k)
{
	struct kit_claim c;
	char path[600];

	claim_ok(k, "sesn_gone", NULL, 2, &c);
	expect_text(k, "sesn_gone", 1, "echo here > /workspace/f; echo y", "y");
	kit_release(k, "sesn_gone", false);
	claim_ok(k, "sesn_gone", NULL, 3, &c);
	expect_text(k, "sesn_gone", 2, "cat /workspace/f", "here");
	ok("a release keeps the workspace");
	kit_release(k, "sesn_gone", true);
	snprintf(path, sizeof(path), "%s/data/sessions/sesn_gone", k->dir);
	KIT_CHECK(access(path, F_OK) < 0, "%s still exists", path);
	ok("a destroyed session leaves nothing");
}

static void
crash(struct kit *k)
{
	struct kit_claim c;
	struct kit_result r;

	k->limits = (struct kit_limits){.memory = 256 * MIB, .disk = 256 * MIB};
	kit_claim(k, "sesn_oom", NULL, &c);
	KIT_CHECK(c.failed == 0, "%s %s", c.step, c.message);
	kit_bash(k, "sesn_oom", 1,
		"ulimit -v unlimited; ulimit -d unlimited; for i in 1 2 3 4 5 6; do "
		"(head -c 200000000 /dev/zero | tail -c 200000000 | sleep 20) & done; wait; echo survived",
		&r);
	if (r.failed) {
		KIT_CHECK(strcmp(r.step, "gone") == 0, "step %s: %s", r.step, r.message);
		struct kit_msg *m = kit_wait_gone(k, "sesn_oom", 10000);

		KIT_CHECK(m != NULL, "not gone");
		kit_msg_free(m);
		printf("# memory: %s\n", r.message);
	} else {
		printf("# memory: the tools' own limits held: %.80s\n", r.text);
	}
	kit_result_done(&r);
	ok("memory without end hits a limit");
	kit_claim(k, "sesn_oom", NULL, &c);
	KIT_CHECK(c.failed == 0, "%s %s", c.step, c.message);
	expect_text(k, "sesn_oom", c.generation,
		"for i in 1 2 3 4; do head -c 100000000 /dev/zero > /workspace/f$i || break; done; echo "
		"stopped",
		"No space left");
	expect_text(k, "sesn_oom", c.generation,
		"rm /workspace/f*; echo fine > /workspace/x; cat /workspace/x", "fine");
	ok("a full disk is the session's own");
	k->limits = (struct kit_limits){0};
}

static unsigned
entries(const struct kit *k, const char *name)
{
	char path[600];
	unsigned n = 0;

	snprintf(path, sizeof(path), "%s/%s", k->dir, name);
	DIR *d = opendir(path);

	for (struct dirent *de = d ? readdir(d) : NULL; de; de = readdir(d))
		n += de->d_name[0] != '.';
	if (d)
		closedir(d);
	return n;
}

/* hands is killed in the middle of a start: what was begun is removed, the claim works with the next one. */
static void
killed_while_starting(struct kit *k)
{
	unsigned before = entries(k, "run/sb");
	struct kit_claim c;

	kit_send_claim(k, "sesn_torn", NULL);
	for (int i = 0; i < 5000 && entries(k, "run/sb") == before; i++)
		usleep(1000);
	kit_restart(k);
	kit_claim(k, "sesn_torn", NULL, &c);
	KIT_CHECK(c.failed == 0 && c.how >= 2, "%s %s", c.step, c.message);
	expect_text(k, "sesn_torn", c.generation, "echo fine", "fine");
	kit_release(k, "sesn_torn", true);
	KIT_CHECK(entries(k, "run/sb") <= before, "remains in run/sb");
	ok("a hands that is killed during a start leaves nothing");
}

/* Everything dies with supervise; the next start finds the workspaces and nothing else. */
static void
reboot(struct kit *k)
{
	struct kit_claim c;

	kit_wait_warm(k);
	claim_ok(k, "sesn_reboot", NULL, 1, &c);
	expect_text(k, "sesn_reboot", 1, "echo kept > /workspace/kept; sync; echo y", "y");
	kit_wait_warm(k);
	kit_reboot(k);
	claim_ok(k, "sesn_reboot", NULL, 3, &c);
	KIT_CHECK(c.generation == 2, "generation %llu", (unsigned long long)c.generation);
	expect_text(k, "sesn_reboot", 2, "cat /workspace/kept", "kept");
	KIT_CHECK(entries(k, "data/pool") <= 1, "workspaces of former warm sandboxes remain");
	KIT_CHECK(entries(k, "run/sb") <= 2, "directories of former sandboxes remain");
	kit_release(k, "sesn_reboot", true);
	ok("the death of all roles keeps the workspaces and leaves nothing else");
}

/* Sends a signal to the runtime's processes of the one sandbox there is. */
static void
signal_sandbox(const struct kit *k, const char *session, int sig)
{
	char dir[400], path[700];

	snprintf(dir, sizeof(dir), "%s/run/sb", k->dir);
	DIR *d = opendir(dir);
	unsigned found = 0;

	KIT_CHECK(d != NULL, "%s", dir);
	for (struct dirent *de = readdir(d); de; de = readdir(d)) {
		char text[4096] = "";

		snprintf(path, sizeof(path), "%s/%.200s/state.json", dir, de->d_name);
		int fd = open(path, O_RDONLY | O_CLOEXEC);
		ssize_t n = fd < 0 ? 0 : read(fd, text, sizeof(text) - 1);

		fd_close(fd);
		if (n <= 0 || !strstr(text, session))
			continue;
		snprintf(path, sizeof(path), "%s/%.200s/runsc", dir, de->d_name);
		found += (unsigned)runsc_signal_leftovers(path, sig);
	}
	closedir(d);
	KIT_CHECK(found > 0, "no process of %s", session);
}

static void
sandbox_dies(struct kit *k)
{
	static const struct kit_call sleeps = {"sesn_dies", 1, "sevt_dies", "bash",
		"{\"command\":\"echo a > /workspace/a; echo started; sleep 100\"}", 0};
	struct kit_claim c;
	struct kit_result r;

	claim_ok(k, "sesn_dies", NULL, 2, &c);
	uint64_t call = kit_send_execute(k, &sleeps);

	kit_wait_printed(k, call);
	signal_sandbox(k, "sesn_dies", SIGKILL);
	kit_get_result(k, call, 10000, &r);
	KIT_CHECK(r.failed == ERR_UNAVAILABLE && strcmp(r.step, "gone") == 0, "%s %s", r.step, r.message);
	struct kit_msg *m = kit_wait_gone(k, "sesn_dies", 10000);

	KIT_CHECK(m != NULL, "not gone");
	struct frame_r f = frame_r(m->payload);

	frame_get_str(&f);
	frame_get_u64(&f);
	KIT_CHECK(str_eqz(frame_get_str(&f), "exited"), "reason");
	KIT_CHECK(frame_get_u64(&f) == 1 && frame_get_u64(&f) == 128 + SIGKILL,
		"the exit status is known from waitpid");
	kit_msg_free(m);
	claim_ok(k, "sesn_dies", NULL, 3, &c);
	expect_text(k, "sesn_dies", 2, "cat /workspace/a", "a");
	kit_release(k, "sesn_dies", true);
	ok("a sandbox that dies fails its calls, says so, and is rebuilt");
}

/* peers C14: whatever happens inside, a call ends. */
static void
sandbox_hangs(struct kit *k)
{
	static const struct kit_call quick = {
		"sesn_hangs", 1, "sevt_hangs", "bash", "{\"command\":\"sleep 2\"}", 1000};
	struct kit_claim c;
	struct kit_result r;

	claim_ok(k, "sesn_hangs", NULL, 2, &c);
	expect_text(k, "sesn_hangs", 1, "echo b", "b");
	uint64_t call = kit_send_execute(k, &quick);

	signal_sandbox(k, "sesn_hangs", SIGSTOP);
	kit_get_result(k, call, 40000, &r);
	KIT_CHECK(r.failed == ERR_TIMEOUT && strcmp(r.step, "gone") == 0, "%s %s", r.step, r.message);
	struct kit_msg *m = kit_wait_gone(k, "sesn_hangs", 10000);

	KIT_CHECK(m != NULL, "not gone");
	kit_msg_free(m);
	kit_release(k, "sesn_hangs", true);
	ok("a sandbox that hangs is ended when its tool's time and the grace are over");
}

static void
cancel(struct kit *k)
{
	static const struct kit_call sleeps = {
		"sesn_cancel", 1, "sevt_cancel", "bash", "{\"command\":\"echo started; sleep 100\"}", 0};
	struct kit_claim c;
	struct kit_result r;

	claim_ok(k, "sesn_cancel", NULL, 2, &c);
	uint64_t call = kit_send_execute(k, &sleeps);

	kit_wait_printed(k, call);
	kit_cancel(k, "sesn_cancel", 9, "sevt_cancel"); /* another generation: must not reach it */
	kit_cancel(k, "sesn_cancel", 1, "sevt_cancel");
	kit_get_result(k, call, 20000, &r);
	KIT_CHECK(r.failed == 0 && r.status == GUEST_CANCELLED, "%s %s", r.step, r.message);
	kit_result_done(&r);
	kit_release(k, "sesn_cancel", true);
	ok("a call is cancelled");
}

int
main(void)
{
	struct kit k;
	struct kit_claim c;

	kit_start(&k, "life", ",\"idle_ms\":8000,\"pool_size\":0");
	cold_then_existing(&k, &c);
	fencing(&k);
	once(&k);
	outputs(&k);
	release(&k);
	restart(&k);
	killed_while_starting(&k);
	sandbox_dies(&k);
	sandbox_hangs(&k);
	cancel(&k);
	crash(&k);
	kit_stop(&k);
	kit_start(&k, "pool", ",\"idle_ms\":4000,\"pool_size\":1");
	reboot(&k);
	warm(&k);
	idle_and_rebuild(&k);
	kit_stop(&k);
	return 0;
}
