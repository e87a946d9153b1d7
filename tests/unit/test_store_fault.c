/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The store when the disk, the memory or the process fails. The system calls that SQLite and the store make
 * are taken over here: the program's own definitions come before libc's.
 */
#include "test_store_kit.h"

#include <signal.h>
#include <stdatomic.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#define EXPORT __attribute__((visibility("default")))
/* In place of an errno: the process dies here. */
#define DIE (-1)

struct fault {
	atomic_int left;  /* calls until it happens; 0: off */
	atomic_int error; /* errno, or DIE */
	atomic_bool for_ever;
	atomic_int calls;
};

/* on_memory: SQLite's own; on_malloc: that of everything linked statically (ld's --wrap, see meson.build). */
static struct fault on_sync, on_pwrite, on_memory, on_malloc;

static void
fault_at(struct fault *f, int n, int error)
{
	atomic_store(&f->error, error);
	atomic_store(&f->for_ever, false);
	atomic_store(&f->left, n);
}

/* True when it happened. */
static bool
fault_off(struct fault *f)
{
	return atomic_exchange(&f->left, 0) == 0;
}

static bool
fault_now(struct fault *f)
{
	atomic_fetch_add(&f->calls, 1);
	int left = atomic_load(&f->left);
	if (left == 0)
		return false;
	if (left == 1 && atomic_load(&f->for_ever))
		return true;
	if (atomic_fetch_sub(&f->left, 1) != 1)
		return false;
	if (atomic_load(&f->error) == DIE)
		kill(getpid(), SIGKILL);
	return true;
}

EXPORT int fdatasync(int fd);
EXPORT int
fdatasync(int fd)
{
	if (fault_now(&on_sync)) {
		errno = atomic_load(&on_sync.error);
		return -1;
	}
	return (int)syscall(SYS_fdatasync, fd);
}

EXPORT int fsync(int fd);
EXPORT int
fsync(int fd)
{
	if (fault_now(&on_sync)) {
		errno = atomic_load(&on_sync.error);
		return -1;
	}
	return (int)syscall(SYS_fsync, fd);
}

EXPORT ssize_t pwrite64(int fd, const void *p, size_t n, off64_t at);
EXPORT ssize_t
pwrite64(int fd, const void *p, size_t n, off64_t at)
{
	if (fault_now(&on_pwrite)) {
		errno = atomic_load(&on_pwrite.error);
		return -1;
	}
	return syscall(SYS_pwrite64, fd, p, n, at);
}

void *__real_malloc(size_t n);
void *__real_calloc(size_t count, size_t size);
void *__real_realloc(void *p, size_t n);
void *__wrap_malloc(size_t n);
void *__wrap_calloc(size_t count, size_t size);
void *__wrap_realloc(void *p, size_t n);

void *
__wrap_malloc(size_t n)
{
	return fault_now(&on_malloc) ? NULL : __real_malloc(n);
}

void *
__wrap_calloc(size_t count, size_t size)
{
	return fault_now(&on_malloc) ? NULL : __real_calloc(count, size);
}

void *
__wrap_realloc(void *p, size_t n)
{
	return fault_now(&on_malloc) ? NULL : __real_realloc(p, n);
}

/* ---- the disk ---- */

static void
append_expect(struct kit *k, const char *id, enum err_kind want)
{
	struct event_row r = row_of(EV_AGENT_MESSAGE, "{\"type\":\"agent.message\"}");
	struct store_append a = append_of(id, &r, 1);

	assert_int_equal(do_append(k, &a, NULL), want);
}

/* After a failed flush nobody knows what is on the disk: nothing of the batch is acknowledged, nothing more
 * is written, what was acknowledged before is still read; a restart finds out. */
static void
test_failed_flush_ends_writing(void **state)
{
	struct kit *k = *state;
	struct got g;

	do_create(k, "sesn_a");
	append_expect(k, "sesn_a", ERR_NONE);
	buf_clear(&k->told);
	fault_at(&on_sync, 1, EIO);
	append_expect(k, "sesn_a", ERR_IO);
	fault_off(&on_sync);
	assert_int_equal(k->failed.kind, ERR_UNAVAILABLE);
	assert_int_equal(k->failed.os, EIO);
	append_expect(k, "sesn_a", ERR_UNAVAILABLE);
	assert_told(k, "");
	do_load(k, "sesn_a", true, &g);
	assert_int_equal(g.kind, ERR_NONE);
	assert_int_equal(g.n, 2);
	got_end(&g);
	kit_reopen(k);
	/* The old log is not appended to: part of it may never have reached the disk. */
	char wal[128];
	struct stat st;
	snprintf(wal, sizeof(wal), "%s/store.db-wal", k->dir);
	assert_int_equal(stat(wal, &st), 0);
	assert_int_equal(st.st_size, 0);
	/* The row whose flush failed may have come through: it was not promised, and is not half there. */
	size_t rows = kit_verify(k);
	assert_true(rows == 2 || rows == 3);
	append_expect(k, "sesn_a", ERR_NONE);
	assert_int_equal(kit_verify(k), rows + 1);
}

/* The same for a flush at any point of a run that fills the write-ahead log several times. */
static void
test_any_failed_flush_loses_nothing(void **state)
{
	enum { APPENDS = 60, BODY = 100000 };
	struct kit *k = *state;
	char *body = calloc(1, BODY + 1);
	int syncs = 1;

	memset(body, 'x', BODY);
	do_create(k, "sesn_a");
	for (int n = 1; n <= syncs; n += 7) {
		struct event_row r = row_of(EV_AGENT_MESSAGE, body);
		struct store_append a = append_of("sesn_a", &r, 1);
		uint64_t last = kit_verify(k), seq;
		bool failed = false;
		int before = atomic_load(&on_sync.calls);

		memset(&k->failed, 0, sizeof(k->failed));
		fault_at(&on_sync, n, EIO);
		for (int i = 0; i < APPENDS; i++) {
			enum err_kind kind = do_append(k, &a, &seq);
			assert_true(kind == ERR_NONE || kind == ERR_IO || kind == ERR_UNAVAILABLE);
			assert_false(failed && kind == ERR_NONE);
			failed |= kind != ERR_NONE;
			if (kind == ERR_NONE)
				last = seq;
		}
		syncs = atomic_load(&on_sync.calls) - before;
		fault_off(&on_sync);
		kit_reopen(k);
		size_t rows = kit_verify(k);
		assert_true(rows >= last && rows <= last + 1);
	}
	free(body);
}

/* Some file systems find out only then that there is no room; what they dropped is dropped all the same. */
static void
test_full_disk_at_a_flush_ends_writing(void **state)
{
	struct kit *k = *state;

	do_create(k, "sesn_a");
	fault_at(&on_sync, 1, ENOSPC);
	append_expect(k, "sesn_a", ERR_IO);
	append_expect(k, "sesn_a", ERR_UNAVAILABLE);
	kit_reopen(k);
	append_expect(k, "sesn_a", ERR_NONE);
	kit_verify(k);
}

static void
test_failed_write_ends_writing(void **state)
{
	struct kit *k = *state;

	do_create(k, "sesn_a");
	fault_at(&on_pwrite, 1, EIO);
	append_expect(k, "sesn_a", ERR_IO);
	fault_off(&on_pwrite);
	append_expect(k, "sesn_a", ERR_UNAVAILABLE);
	assert_int_equal(k->failed.kind, ERR_UNAVAILABLE);
	kit_reopen(k);
	assert_int_equal(kit_verify(k), 1);
	append_expect(k, "sesn_a", ERR_NONE);
}

/* A full disk passes: the batch is refused, and when there is room again everything goes on. */
static void
test_full_disk_passes(void **state)
{
	struct kit *k = *state;
	struct event_row r = row_of(EV_AGENT_MESSAGE, "{}");
	struct store_append a = append_of("sesn_a", &r, 1);
	struct got g[5];

	do_create(k, "sesn_a");
	for (int n = 1; n < 6; n++) {
		fault_at(&on_pwrite, n, ENOSPC);
		atomic_store(&on_pwrite.for_ever, true);
		for (size_t i = 0; i < ARRAY_LEN(g); i++) {
			got_start(&g[i], k);
			store_append(k->store, &a, on_write, &g[i]);
		}
		kit_wait(k);
		for (size_t i = 0; i < ARRAY_LEN(g); i++) {
			assert_true(g[i].kind == ERR_NONE || g[i].kind == ERR_IO);
			if (g[i].kind == ERR_IO)
				assert_int_equal(g[i].err.os, ENOSPC);
			got_end(&g[i]);
		}
		assert_int_equal(g[4].kind, ERR_IO);
		fault_off(&on_pwrite);
		append_expect(k, "sesn_a", ERR_NONE);
		kit_verify(k);
	}
	assert_int_equal(k->failed.kind, ERR_NONE);
	kit_reopen(k);
	append_expect(k, "sesn_a", ERR_NONE);
	kit_verify(k);
}

static void
test_blob_faults(void **state)
{
	struct kit *k = *state;
	struct store_blob *b = NULL;
	struct err e = {0};
	struct got g;
	uint64_t size;
	int fd;

	assert_int_equal(store_blob_new(k->store, STR("file_1"), &b, &e), 0);
	fault_at(&on_pwrite, 1, ENOSPC);
	assert_err(store_blob_write(b, STR("abc"), &e), e, ERR_IO);
	assert_int_equal(e.os, ENOSPC);
	assert_int_equal(store_blob_size(b), 0);
	assert_int_equal(store_blob_write(b, STR("abc"), &e), 0);
	for (int n = 1; n <= 3; n++) {
		if (n > 1) {
			assert_int_equal(store_blob_new(k->store, STR("file_1"), &b, &e), 0);
			assert_int_equal(store_blob_write(b, STR("abc"), &e), 0);
		}
		/* Of the content, of the new folder's parent, of the folder. */
		fault_at(&on_sync, n, EIO);
		got_start(&g, k);
		store_blob_finish(b, on_done, &g);
		got_expect(k, &g, n < 3 ? ERR_IO : ERR_NONE);
		got_end(&g);
		fault_off(&on_sync);
		bool there = store_blob_open(k->store, STR("file_1"), &fd, &size, &e) == 0;
		assert_int_equal(there, n == 3);
		if (there)
			close(fd);
	}
	assert_int_equal(k->failed.kind, ERR_NONE);
}

/* ---- the process ---- */

struct ack {
	uint32_t session, seq;
};

struct crash {
	struct kit *k;
	int out; /* pipe of acknowledged appends */
};

struct crash_call {
	struct crash *c;
	uint32_t session;
};

static void append_again(struct crash_call *call);

static void
on_crash_write(void *arg, const struct err *err, uint32_t first_seq)
{
	struct crash_call *call = arg;
	struct ack a = {call->session, first_seq};

	if (err || write(call->c->out, &a, sizeof(a)) != sizeof(a))
		_exit(3);
	append_again(call);
}

static void
append_again(struct crash_call *call)
{
	struct event_row r = row_of(EV_AGENT_MESSAGE, "{\"type\":\"agent.message\",\"text\":\"some text\"}");
	char id[32];

	snprintf(id, sizeof(id), "sesn_%u", call->session);
	struct store_append a = append_of(id, &r, 1);
	store_append(call->c->k->store, &a, on_crash_write, call);
}

enum { SESSIONS = 16, CALLS = 48 };

/* The child: appends to all sessions without end; every acknowledged append is reported through the pipe. */
static void
append_until_killed(struct kit *k, int out, int die_at_sync)
{
	static struct crash_call calls[CALLS];
	struct crash c = {.k = k, .out = out};

	kit_open(k);
	fault_at(&on_sync, die_at_sync, DIE);
	for (uint32_t i = 0; i < CALLS; i++) {
		calls[i] = (struct crash_call){&c, i % SESSIONS};
		append_again(&calls[i]);
	}
	for (;;)
		loop_run(k->loop);
}

/* Runs the child until `acks` appends were acknowledged (or it died by itself), kills it, and checks that
 * every acknowledged row is there. Gives the number of acks. */
static size_t
crash_once(struct kit *k, size_t acks, int die_at_sync)
{
	uint32_t last[SESSIONS] = {0};
	struct ack a;
	size_t n = 0;
	int fds[2];

	assert_int_equal(pipe2(fds, O_CLOEXEC), 0);
	fflush(NULL);
	pid_t pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		close(fds[0]);
		append_until_killed(k, fds[1], die_at_sync);
	}
	close(fds[1]);
	while (read(fds[0], &a, sizeof(a)) == sizeof(a)) {
		assert_true(a.session < SESSIONS && a.seq > last[a.session]);
		last[a.session] = a.seq;
		if (++n == acks)
			kill(pid, SIGKILL);
	}
	close(fds[0]);
	int status;
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);

	kit_open(k);
	kit_verify(k);
	for (unsigned i = 0; i < SESSIONS; i++) {
		char sql[96];
		snprintf(sql, sizeof(sql), "SELECT last_seq FROM sessions WHERE id = 'sesn_%u'", i);
		assert_true(kit_number(k, sql) >= last[i]);
	}
	kit_close(k);
	return n;
}

static void
crash_sessions(struct kit *k)
{
	for (unsigned i = 0; i < SESSIONS; i++) {
		char id[32];
		snprintf(id, sizeof(id), "sesn_%u", i);
		do_create(k, id);
	}
	kit_close(k);
}

static void
test_kill_at_any_time_keeps_what_was_acknowledged(void **state)
{
	struct kit *k = *state;

	crash_sessions(k);
	for (size_t round = 0; round < 10; round++)
		assert_true(crash_once(k, 50 + 331 * round, 0) >= 50);
}

static void
test_kill_at_every_flush_keeps_what_was_acknowledged(void **state)
{
	struct kit *k = *state;

	crash_sessions(k);
	for (int n = 1; n <= 12; n++)
		crash_once(k, SIZE_MAX, n);
}

/* ---- memory ---- */

static sqlite3_mem_methods sqlite_memory;

static void *
sqlite_malloc(int n)
{
	return fault_now(&on_memory) ? NULL : sqlite_memory.xMalloc(n);
}

static void *
sqlite_realloc(void *p, int n)
{
	return fault_now(&on_memory) ? NULL : sqlite_memory.xRealloc(p, n);
}

struct memory_round {
	struct got write[3], doc, load, events, list, docs, ids, blob;
};

static void
on_list(void *arg, const struct err *err, const struct store_session_row *rows, size_t n, bool before,
	bool after)
{
	(void)rows;
	(void)n;
	(void)before;
	(void)after;
	got_one(arg, err);
}

static void
on_doc_list(void *arg, const struct err *err, const struct store_doc_row *rows, size_t n, bool more)
{
	(void)rows;
	(void)n;
	(void)more;
	got_one(arg, err);
}

static void
finish_blob(struct kit *k, const char *id, struct got *g)
{
	struct store_blob *b = NULL;
	struct err e = {0};

	if (store_blob_new(k->store, str_z(id), &b, &e) < 0) {
		assert_int_equal(e.kind, ERR_NO_MEMORY);
		got_one(g, &e);
	} else {
		store_blob_finish(b, on_done, g);
	}
}

/* One of each call, all at once. */
static void
one_of_each(struct kit *k, struct memory_round *m, unsigned n)
{
	struct event_row rows[2] = {row_of(EV_USER_MESSAGE, "{}"), row_of(EV_SESSION_UPDATED, "{}")};
	struct store_append a = append_of("sesn_a", rows, 2);
	char id[32];

	for (size_t i = 0; i < sizeof(*m) / sizeof(struct got); i++)
		got_start((struct got *)m + i, k);
	snprintf(id, sizeof(id), "agent_%u", n);
	struct store_doc d = {.kind = DOC_AGENT, .id = str_z(id), .body = STR("{}")};
	a.snapshot = STR("snapshot");
	a.status = n % 2 ? TURN_RUNNING : TURN_IDLE;
	for (size_t i = 0; i < ARRAY_LEN(m->write); i++) {
		store_append(k->store, &a, on_write, &m->write[i]);
		if (i == 1)
			store_doc_create(k->store, &d, on_write, &m->doc);
	}
	store_session_load(k->store, STR("sesn_a"), true, on_load, &m->load);
	store_events(k->store, &(struct store_read){.session_id = STR("sesn_a"), .after_seq = 1, .limit = 20},
		on_events, &m->events);
	store_sessions(k->store, &(struct store_session_query){.limit = 3}, on_list, &m->list);
	store_docs(
		k->store, &(struct store_doc_query){.kind = DOC_AGENT, .limit = 10}, on_doc_list, &m->docs);
	store_sessions_unfinished(k->store, on_ids, &m->ids);
	finish_blob(k, id, &m->blob);
	kit_wait(k);
}

/* Each answered once, with success or NO_MEMORY. Gives how many failed. */
static unsigned
check_round(struct memory_round *m)
{
	unsigned failed = 0;

	for (size_t i = 0; i < sizeof(*m) / sizeof(struct got); i++) {
		struct got *g = (struct got *)m + i;
		assert_int_equal(g->calls, 1);
		if (g->kind != ERR_NONE && g->kind != ERR_NO_MEMORY)
			fail_msg("call %zu: %s %s", i, err_kind_name(g->kind), g->err.msg);
		failed += g->kind != ERR_NONE;
		got_end(g);
	}
	return failed;
}

/* Every allocation of ours fails once in turn: one call suffers, the others do not. */
static void
test_every_allocation_fails_once(void **state)
{
	struct kit *k = *state;
	struct memory_round m;
	unsigned n = 1, fired = 0;

	do_create(k, "sesn_a");
	for (;; n++) {
		fault_at(&on_malloc, (int)n, ENOMEM);
		one_of_each(k, &m, n);
		bool any = fault_off(&on_malloc);
		unsigned failed = check_round(&m);
		if (!any)
			break;
		/* None when it was the test's own. */
		assert_true(failed <= 1);
		fired += failed;
	}
	assert_true(fired >= 10);
	kit_verify(k);
	append_expect(k, "sesn_a", ERR_NONE);
}

/* Memory is out for good: whoever calls is told so, each once, and afterwards all is well. */
static void
test_all_allocations_fail(void **state)
{
	struct kit *k = *state;
	struct event_row r = row_of(EV_AGENT_MESSAGE, "{}");
	struct store_append a = append_of("sesn_a", &r, 1);
	struct got g[20];

	do_create(k, "sesn_a");
	for (size_t i = 0; i < ARRAY_LEN(g); i++)
		got_start(&g[i], k);
	fault_at(&on_malloc, 1, ENOMEM);
	atomic_store(&on_malloc.for_ever, true);
	for (size_t i = 0; i < ARRAY_LEN(g); i++)
		store_append(k->store, &a, on_write, &g[i]);
	fault_off(&on_malloc);
	kit_wait(k);
	for (size_t i = 0; i < ARRAY_LEN(g); i++) {
		assert_int_equal(g[i].calls, 1);
		assert_int_equal(g[i].kind, ERR_NO_MEMORY);
		got_end(&g[i]);
	}
	append_expect(k, "sesn_a", ERR_NONE);
	assert_int_equal(kit_verify(k), 2);
}

/* What waits is bounded: the rest is refused at once, and taken again when the queue has drained. */
static void
test_queue_is_bounded(void **state)
{
	enum { BODY = 30 << 20, CALLS_OVER = 12 };
	struct kit *k = *state;
	char *body = calloc(1, BODY);
	struct event_row r = row_of(EV_AGENT_MESSAGE, "");
	struct store_append a = append_of("sesn_none", &r, 1);
	struct got g[CALLS_OVER];

	r.body = str_n(body, BODY);
	for (size_t i = 0; i < ARRAY_LEN(g); i++) {
		got_start(&g[i], k);
		store_append(k->store, &a, on_write, &g[i]);
	}
	kit_wait(k);
	for (size_t i = 0; i < ARRAY_LEN(g); i++) {
		assert_int_equal(g[i].calls, 1);
		assert_int_equal(g[i].kind, i < 8 ? ERR_NOT_FOUND : ERR_OVERLOADED);
		got_end(&g[i]);
	}
	assert_int_equal(do_append(k, &a, NULL), ERR_NOT_FOUND);
	free(body);
}

/* Every allocation inside SQLite fails once in turn, on whichever thread. */
static void
test_every_allocation_of_sqlite_fails_once(void **state)
{
	struct kit *k = *state;
	struct memory_round m;
	bool any = true;

	do_create(k, "sesn_a");
	for (unsigned n = 1; any; n++) {
		if (n % 16 == 1)
			kit_reopen(k); /* statements are prepared anew */
		fault_at(&on_memory, (int)n, ENOMEM);
		one_of_each(k, &m, 1000 + n);
		any = fault_off(&on_memory);
		check_round(&m);
		assert_int_equal(k->failed.kind, ERR_NONE);
		if (n % 64 == 0)
			kit_verify(k);
	}
	kit_verify(k);
	append_expect(k, "sesn_a", ERR_NONE);
}

static void
test_every_allocation_of_open_fails_once(void **state)
{
	struct kit *k = *state;
	struct err e;

	kit_close(k);
	for (unsigned n = 1;; n++) {
		fault_at(&on_malloc, (int)n, ENOMEM);
		int r = kit_try_open(k, &e);
		if (!fault_off(&on_malloc)) {
			assert_int_equal(r, 0);
			break;
		}
		/* Some are not needed to succeed. */
		assert_true(r == 0 || r == -ERR_NO_MEMORY || r == -ERR_IO);
		if (r == 0)
			kit_close(k);
	}
	do_create(k, "sesn_a");
	kit_close(k);
	for (unsigned n = 1;; n++) {
		fault_at(&on_memory, (int)n, ENOMEM);
		int r = kit_try_open(k, &e);
		bool any = fault_off(&on_memory);
		assert_true(r == 0 || r == -ERR_NO_MEMORY);
		if (!any)
			break;
		if (r == 0)
			kit_close(k);
	}
	assert_int_equal(kit_verify(k), 1);
}

/* ---- others ---- */

struct unlock {
	struct db db;
	struct kit *k;
};

static void
on_unlock(void *arg)
{
	struct unlock *u = arg;

	db_rollback(&u->db);
}

/* A program that locks the database for a moment (a backup, the command line) only delays a commit. */
static void
test_commit_waits_for_a_lock(void **state)
{
	struct kit *k = *state;
	struct event_row r = row_of(EV_AGENT_MESSAGE, "{}");
	struct store_append a = append_of("sesn_a", &r, 1);
	struct unlock u = {.k = k};
	struct got g;

	do_create(k, "sesn_a");
	kit_db(k, &u.db);
	assert_int_equal(db_run(&u.db, SQL_BEGIN_WRITE, NULL), 0);
	struct loop_timer *t = loop_timer_new(k->loop, on_unlock, &u);
	loop_timer_start(t, 60, 0);
	got_start(&g, k);
	store_append(k->store, &a, on_write, &g);
	got_expect(k, &g, ERR_NONE);
	got_end(&g);
	loop_timer_free(t);
	db_close(&u.db, true);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		KIT_TEST(test_failed_flush_ends_writing),
		KIT_TEST(test_any_failed_flush_loses_nothing),
		KIT_TEST(test_full_disk_at_a_flush_ends_writing),
		KIT_TEST(test_failed_write_ends_writing),
		KIT_TEST(test_full_disk_passes),
		KIT_TEST(test_blob_faults),
		KIT_TEST(test_kill_at_any_time_keeps_what_was_acknowledged),
		KIT_TEST(test_kill_at_every_flush_keeps_what_was_acknowledged),
		KIT_TEST(test_every_allocation_fails_once),
		KIT_TEST(test_all_allocations_fail),
		KIT_TEST(test_queue_is_bounded),
		KIT_TEST(test_every_allocation_of_sqlite_fails_once),
		KIT_TEST(test_every_allocation_of_open_fails_once),
		KIT_TEST(test_commit_waits_for_a_lock),
	};
	sqlite3_config(SQLITE_CONFIG_GETMALLOC, &sqlite_memory);
	sqlite3_mem_methods faulty = sqlite_memory;
	faulty.xMalloc = sqlite_malloc;
	faulty.xRealloc = sqlite_realloc;
	sqlite3_config(SQLITE_CONFIG_MALLOC, &faulty);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
