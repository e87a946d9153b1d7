/* SPDX-License-Identifier: Apache-2.0 */
/* The calls of hands against the real tools, without a connection: frames in, frames out. */
#include "unit.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/guest_call.h"
#include "guest/calls.h"

struct world {
	char dir[64], results[80], offload[80];
	struct roots roots;
	struct reactor *r;
	struct jobs *jobs;
	struct bash *bash;
	struct calls *calls;
	struct buf out;
	bool away; /* nobody is connected */
	unsigned flushes;
};

struct answer {
	char id[64];
	uint64_t call, status, is_error, chars;
	struct str text, path; /* into w->out */
};

static struct buf *
out_of(void *owner)
{
	struct world *w = owner;

	return w->away ? NULL : &w->out;
}

static void
on_flush(void *owner)
{
	((struct world *)owner)->flushes++;
}

static int
setup(void **state)
{
	struct world *w = calloc(1, sizeof(*w));

	snprintf(w->dir, sizeof(w->dir), "/tmp/guest-calls-XXXXXX");
	assert_non_null(mkdtemp(w->dir));
	snprintf(w->results, sizeof(w->results), "%s/results", w->dir);
	snprintf(w->offload, sizeof(w->offload), "%s/offload", w->dir);
	w->roots.workdir = w->dir;
	buf_init(&w->out, 64 << 20);
	w->r = reactor_new();
	w->jobs = jobs_new(w->r, false);
	struct bash_opts b = {.reactor = w->r, .workdir = w->dir};
	w->bash = bash_new(&b);
	struct calls_opts c = {
		.files = {.roots = &w->roots},
		.bash = w->bash,
		.jobs = w->jobs,
		.results_dir = w->results,
		.offload_dir = w->offload,
		.out = out_of,
		.flush = on_flush,
		.owner = w,
	};
	w->calls = calls_new(&c);
	assert_non_null(w->calls);
	*state = w;
	return 0;
}

static void
reap(struct world *w)
{
	int pid, status;

	while ((pid = waitpid(-1, &status, WNOHANG)) > 0)
		if (!bash_reaped(w->bash, pid))
			jobs_reaped(w->jobs, pid, status);
}

static int
teardown(void **state)
{
	struct world *w = *state;
	char cmd[128];

	calls_free(w->calls);
	bash_free(w->bash);
	jobs_free(w->jobs);
	reactor_free(w->r);
	buf_done(&w->out);
	snprintf(cmd, sizeof(cmd), "%s", w->dir);
	pid_t pid = fork();
	if (pid == 0) {
		execl("/bin/rm", "rm", "-rf", "--", cmd, (char *)NULL);
		_exit(127);
	}
	while (waitpid(-1, NULL, 0) > 0)
		;
	free(w);
	return 0;
}

/* ---- sending and receiving ---- */

static bool
give(struct world *w, struct buf *b)
{
	struct frame f;
	size_t used;

	assert_int_equal(frame_parse(buf_str(b), LIM_FRAME_GUEST, &f, &used, NULL), 1);
	return calls_frame(w->calls, &f);
}

static void
execute(struct world *w, uint64_t call, const char *id, const char *tool, const char *input)
{
	AUTO(buf) struct buf b;

	buf_init(&b, LIM_FRAME_GUEST);
	struct frame_w fw = frame_begin(&b, GC_EXECUTE, call);
	frame_str(&fw, str_z(id));
	frame_str(&fw, str_z(tool));
	frame_str(&fw, str_z(input));
	frame_u64(&fw, 0);
	frame_end(&fw, 0);
	assert_true(give(w, &b));
}

static void
send_id(struct world *w, uint16_t type, uint64_t call, const char *id)
{
	AUTO(buf) struct buf b;

	buf_init(&b, LIM_FRAME_GUEST);
	struct frame_w fw = frame_begin(&b, type, call);
	frame_str(&fw, str_z(id));
	frame_end(&fw, 0);
	assert_true(give(w, &b));
}

/* The first GC_RESULT in `out` is taken from it. False: there is none. */
static bool
try_take(struct world *w, struct answer *a)
{
	struct frame f;
	size_t used, from = 0;

	while (frame_parse(str_sub(buf_str(&w->out), from, w->out.n), LIM_FRAME_GUEST, &f, &used, NULL) > 0) {
		from += used;
		if (f.type != GC_RESULT)
			continue;
		struct frame_r r = frame_r(f.payload);
		struct str id = frame_get_str(&r);
		a->call = f.call;
		a->status = frame_get_u64(&r);
		a->is_error = frame_get_u64(&r);
		a->text = frame_get_str(&r);
		a->path = frame_get_str(&r);
		a->chars = frame_get_u64(&r);
		frame_get_u64(&r);
		assert_int_equal(frame_done(&r, NULL), 0);
		assert_true(str_copy_z(id, a->id, sizeof(a->id)));
		/* What was taken stays in memory until the next take. */
		static char kept[1 << 20];
		memcpy(kept, w->out.p, from);
		a->text.p = a->text.n ? kept + (a->text.p - w->out.p) : "";
		a->path.p = a->path.n ? kept + (a->path.p - w->out.p) : "";
		buf_drop(&w->out, from);
		return true;
	}
	return false;
}

static struct answer
take(struct world *w)
{
	struct answer a = {0};
	uint64_t until = clock_mono_us() + 20000000;

	while (!try_take(w, &a)) {
		assert_true(clock_mono_us() < until);
		reactor_turn(w->r, 20);
		reap(w);
	}
	return a;
}

static void
assert_silence(struct world *w)
{
	struct answer a;

	assert_false(try_take(w, &a));
}

/* ---- tests ---- */

static void
test_runs_once(void **state)
{
	struct world *w = *state;

	execute(w, 1, "e1", "bash", "{\"command\":\"echo x >> ran; wc -l < ran\"}");
	execute(w, 2, "e1", "bash", "{\"command\":\"echo x >> ran; wc -l < ran\"}");
	struct answer a = take(w);
	assert_str(a.text, "1");
	assert_int_equal(a.call, 1);
	a = take(w);
	assert_str(a.text, "1");
	assert_int_equal(a.call, 2);
	execute(w, 3, "e1", "bash", "{\"command\":\"echo x >> ran; wc -l < ran\"}");
	a = take(w);
	assert_str(a.text, "1");
	assert_int_equal(a.call, 3);
	send_id(w, GC_ACK, 0, "e1");
	send_id(w, GC_COLLECT, 4, "e1");
	a = take(w);
	assert_int_equal(a.status, GUEST_UNKNOWN);
}

/* A result that finishes while nobody is connected waits to be collected. */
static void
test_survives_the_connection(void **state)
{
	struct world *w = *state;
	struct answer a;

	execute(w, 1, "e1", "bash", "{\"command\":\"sleep 0.1; echo done\"}");
	calls_lost(w->calls);
	w->away = true;
	for (unsigned i = 0; i < 200 && w->flushes == 0; i++)
		reactor_turn(w->r, 20);
	assert_int_equal(w->out.n, 0);
	w->away = false;
	send_id(w, GC_COLLECT, 9, "e1");
	a = take(w);
	assert_int_equal(a.call, 9);
	assert_int_equal(a.status, GUEST_OK);
	assert_str(a.text, "done");
}

static void
test_collect_while_running(void **state)
{
	struct world *w = *state;

	execute(w, 1, "e1", "bash", "{\"command\":\"sleep 0.2; echo done\"}");
	send_id(w, GC_COLLECT, 2, "e1");
	struct answer a = take(w);
	assert_int_equal(a.call, 2);
	assert_int_equal(a.status, GUEST_RUNNING);
	a = take(w);
	assert_int_equal(a.call, 1);
	assert_str(a.text, "done");
	a = take(w);
	assert_int_equal(a.call, 2);
	assert_str(a.text, "done");
}

static void
test_cancel(void **state)
{
	struct world *w = *state;

	execute(w, 1, "e1", "bash", "{\"command\":\"sleep 100\"}");
	execute(w, 2, "e2", "bash", "{\"command\":\"echo second\"}");
	execute(w, 3, "e3", "bash", "{\"command\":\"echo third\"}");
	send_id(w, GC_CANCEL, 0, "e2");
	struct answer a = take(w);
	assert_int_equal(a.call, 2);
	assert_int_equal(a.status, GUEST_CANCELLED);
	send_id(w, GC_CANCEL, 0, "e1");
	a = take(w);
	assert_int_equal(a.call, 1);
	assert_int_equal(a.status, GUEST_CANCELLED);
	assert_str(a.text, "bash: This operation was aborted");
	a = take(w);
	assert_str(a.text, "third");
	send_id(w, GC_CANCEL, 0, "e3"); /* too late, and of an id that was never there */
	send_id(w, GC_CANCEL, 0, "e4");
	assert_silence(w);
}

/* A tree of one file whose only line makes a regular expression explode. */
static void
put_trap(struct world *w)
{
	char path[80];

	snprintf(path, sizeof(path), "%s/trap", w->dir);
	assert_int_equal(
		files_store(&(struct files){.roots = &w->roots}, path,
			STR("aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa!\n")),
		0);
}

static void
test_cancel_search(void **state)
{
	struct world *w = *state;
	char id[8];

	put_trap(w);
	for (uint64_t i = 1; i <= 6; i++) { /* two of them wait for a child's slot */
		snprintf(id, sizeof(id), "e%d", (int)i);
		execute(w, i, id, "grep", "{\"pattern\":\"(a+)+\\\\1?$\"}");
	}
	reactor_turn(w->r, 10);
	assert_silence(w);
	for (uint64_t i = 6; i >= 1; i--) {
		snprintf(id, sizeof(id), "e%d", (int)i);
		send_id(w, GC_CANCEL, 0, id);
		struct answer a = take(w);
		assert_int_equal(a.call, i);
		assert_str(a.text, "grep: aborted");
	}
	while (!jobs_room(w->jobs)) {
		reactor_turn(w->r, 10);
		reap(w);
	}
	execute(w, 10, "e10", "grep", "{\"pattern\":\"aa!\"}");
	assert_true(take(w).text.n > 0);
}

/* Beyond LIM_GUEST_RESULTS the oldest go to disk and are still there. */
static void
test_spill(void **state)
{
	struct world *w = *state;
	char id[16];
	struct stat st;

	for (unsigned i = 0; i < LIM_GUEST_RESULTS + 10; i++) {
		snprintf(id, sizeof(id), "e%u", i);
		execute(w, i, id, "read", "{\"file_path\":\"nothing\"}");
		assert_int_equal(take(w).is_error, 1);
	}
	assert_int_equal(stat(w->results, &st), 0);
	assert_int_equal(st.st_mode & 0777, 0700);
	execute(w, 999, "e3", "read", "{\"file_path\":\"/\"}");
	struct answer a = take(w);
	assert_int_equal(a.call, 999);
	assert_str(a.text, "read: nothing: no such file or directory");
	send_id(w, GC_ACK, 0, "e3");
	send_id(w, GC_COLLECT, 1000, "e3");
	assert_int_equal(take(w).status, GUEST_UNKNOWN);
}

static void
test_offload(void **state)
{
	struct world *w = *state;
	struct stat st;
	char path[128];

	execute(w, 1, "long", "bash", "{\"command\":\"yes \\u00e9\\u00e9\\u00e9 | head -c 220000\"}");
	struct answer a = take(w);
	assert_true(a.chars > LIM_RESULT_OFFLOAD);
	assert_true(str_is_utf8(a.text));
	assert_true(str_utf8_len(a.text) < LIM_RESULT_PREVIEW + 300);
	assert_true(str_find_str(a.text, a.path) < a.text.n);
	assert_true(str_copy_z(a.path, path, sizeof(path)));
	assert_int_equal(stat(path, &st), 0);
	assert_true((uint64_t)st.st_size > a.chars);
}

static void
test_bad_calls(void **state)
{
	struct world *w = *state;
	AUTO(buf) struct buf b;

	execute(w, 1, "e1", "nothing", "{}");
	assert_str(take(w).text, "guest: there is no such tool");
	execute(w, 2, "e2", "read", "{");
	assert_str(take(w).text, "guest: the input is not valid JSON");
	execute(w, 3, "e3", "read", "[]");
	assert_str(take(w).text, "read: file_path is required");
	execute(w, 4, "e4", "read", "{\"file_path\":7}");
	assert_str(take(w).text, "read: file_path is required");

	buf_init(&b, 4096);
	struct frame_w fw = frame_begin(&b, GC_EXECUTE, 5);
	frame_str(&fw, STR("../e"));
	frame_str(&fw, STR("read"));
	frame_str(&fw, STR("{}"));
	frame_u64(&fw, 0);
	frame_end(&fw, 0);
	assert_false(give(w, &b));
	buf_clear(&b);
	fw = frame_begin(&b, GC_HELLO, 5);
	frame_end(&fw, 0);
	assert_false(give(w, &b));
}

/* More calls than may wait are answered, not queued. */
static void
test_too_many(void **state)
{
	struct world *w = *state;
	char id[16];
	unsigned refused = 0, ran = 0;

	execute(w, 0, "first", "bash", "{\"command\":\"sleep 0.2\"}");
	for (unsigned i = 1; i < CALLS_RUNNING_MAX + 5; i++) {
		snprintf(id, sizeof(id), "e%u", i);
		execute(w, i, id, "bash", "{\"command\":\":\"}");
	}
	for (unsigned i = 0; i < CALLS_RUNNING_MAX + 5; i++) {
		struct answer a = take(w);
		if (str_eq(a.text, STR("guest: too many tool calls at once")))
			refused++;
		else
			ran++;
	}
	assert_int_equal(refused, 5);
	assert_int_equal(ran, CALLS_RUNNING_MAX);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_runs_once, setup, teardown),
		cmocka_unit_test_setup_teardown(test_survives_the_connection, setup, teardown),
		cmocka_unit_test_setup_teardown(test_collect_while_running, setup, teardown),
		cmocka_unit_test_setup_teardown(test_cancel, setup, teardown),
		cmocka_unit_test_setup_teardown(test_cancel_search, setup, teardown),
		cmocka_unit_test_setup_teardown(test_spill, setup, teardown),
		cmocka_unit_test_setup_teardown(test_offload, setup, teardown),
		cmocka_unit_test_setup_teardown(test_bad_calls, setup, teardown),
		cmocka_unit_test_setup_teardown(test_too_many, setup, teardown),
	};

	signal(SIGPIPE, SIG_IGN);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
