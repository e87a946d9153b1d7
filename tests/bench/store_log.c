/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Figures of the session log, each beside a reference measured in the same run on the same disk:
 *
 *   store_log DIR [SECONDS]       DIR: a folder to work in (the disk that is measured); default 2 seconds a
 * figure
 *
 * Appends: 64 sessions, each with one append of one row under way at a time. The reference is SQLite alone: a
 * rowid table with one (session, seq) index, no hashing, no threads, the same bytes in batches of the same
 * size, the same flushes.
 */
#include <errno.h>
#include <ftw.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "io/loop.h"
#include "store/db.h"
#include "store/store.h"

enum { SESSIONS = 64, BODY = 480 };

/* Makes every flush take longer, for both sides. */
static atomic_int sync_delay_us;

__attribute__((visibility("default"))) int fdatasync(int fd);
__attribute__((visibility("default"))) int
fdatasync(int fd)
{
	struct timespec t = {.tv_nsec = atomic_load(&sync_delay_us) * 1000L};

	if (t.tv_nsec)
		nanosleep(&t, NULL);
	return (int)syscall(SYS_fdatasync, fd);
}

static struct event_row
bench_row(void)
{
	static char body[BODY + 1];
	struct event_row r = {.facts = {.type = EV_AGENT_MESSAGE}, .body = {body, BODY}};

	if (!body[0])
		memset(body, 'x', BODY);
	r.id = id_new("sevt", clock_wall_us());
	r.facts.at_us = clock_wall_us();
	return r;
}

static void
die(const char *what, const struct err *e)
{
	fprintf(stderr, "store_log: %s: %s\n", what, e ? e->msg : strerror(errno));
	exit(1);
}

static void
report(const char *name, double value, double ref, double goal)
{
	double ratio = ref > 0 ? value / ref : 0;

	printf("bench %s value=%.0f ref=%.0f ratio=%.2f goal=%.2f %s\n", name, value, ref, ratio, goal,
		ratio >= goal ? "ok" : "short");
	fflush(stdout);
}

/* Milliseconds, less is better. */
static void
report_ms(const char *name, double ms, double goal)
{
	printf("bench %s value=%.2f ref=%.2f ratio=%.2f goal=1.00 %s\n", name, ms, goal, ms / goal,
		ms <= goal ? "ok" : "short");
	fflush(stdout);
}

/* ---- our side ---- */

struct run {
	struct loop *loop;
	struct store *store;
	char dir[512];
	uint64_t end_us, done;
	unsigned pending;
};

struct driver {
	struct run *run;
	char id[32];
};

static int
remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	(void)st;
	(void)type;
	(void)ftw;
	return remove(path);
}

/* A folder that does not exist. */
static void
fresh(const char *path)
{
	nftw(path, remove_one, 8, FTW_DEPTH | FTW_PHYS);
}

static void
open_run(struct run *r, const char *dir, const char *name)
{
	struct err e;

	*r = (struct run){0};
	snprintf(r->dir, sizeof(r->dir), "%s/%s", dir, name);
	fresh(r->dir);
	if (loop_new(&r->loop, &e) < 0)
		die("loop", &e);
	struct store_opts o = {.dir = r->dir};
	if (store_open(&r->store, r->loop, &o, &e) < 0)
		die("open", &e);
}

static void
close_run(struct run *r)
{
	store_close(r->store);
	loop_free(r->loop);
}

static void next_append(struct driver *d);

static void
settle(struct run *r)
{
	if (--r->pending == 0)
		loop_stop(r->loop);
}

static void
on_appended(void *arg, const struct err *err, uint32_t first_seq)
{
	struct driver *d = arg;

	(void)first_seq;
	if (err)
		die("append", err);
	d->run->done++;
	if (clock_mono_us() < d->run->end_us)
		next_append(d);
	else
		settle(d->run);
}

static void
next_append(struct driver *d)
{
	struct event_row row = bench_row();
	struct store_append a = {
		.session_id = str_z(d->id), .rows = &row, .n_rows = 1, .status = -1, .archived = -1};

	store_append(d->run->store, &a, on_appended, d);
}

static void
on_made(void *arg, const struct err *err, uint32_t first_seq)
{
	(void)first_seq;
	if (err)
		die("create", err);
	settle(arg);
}

/* Appends per second, and the rows that shared a commit. */
static double
ours(const char *dir, double seconds, double *batch)
{
	struct run r;
	struct driver d[SESSIONS];
	struct store_stats before, after;

	open_run(&r, dir, "ours");
	for (int i = 0; i < SESSIONS; i++) {
		struct event_row row = bench_row();
		d[i].run = &r;
		snprintf(d[i].id, sizeof(d[i].id), "sesn_%d", i);
		struct store_append a = {.session_id = str_z(d[i].id), .rows = &row, .n_rows = 1};
		struct store_session_index ix = {.agent_id = STR("agent_1")};
		r.pending++;
		store_session_create(r.store, &a, &ix, 1, on_made, &r);
	}
	loop_run(r.loop);
	store_stats(r.store, &before);
	uint64_t start = clock_mono_us();
	r.end_us = start + (uint64_t)(seconds * 1e6);
	for (int i = 0; i < SESSIONS; i++) {
		r.pending++;
		next_append(&d[i]);
	}
	loop_run(r.loop);
	double took = (double)(clock_mono_us() - start) / 1e6;
	store_stats(r.store, &after);
	*batch = (double)r.done / (double)(after.commits - before.commits);
	close_run(&r);
	return (double)r.done / took;
}

/* ---- SQLite alone ---- */

static double
plain(const char *dir, double seconds, unsigned batch)
{
	char path[600];
	sqlite3 *h;
	sqlite3_stmt *insert, *begin, *commit;

	snprintf(path, sizeof(path), "%s/plain", dir);
	fresh(path);
	if (mkdir(path, 0700) < 0)
		die(path, NULL);
	snprintf(path, sizeof(path), "%s/plain/p.db", dir);
	if (sqlite3_open(path, &h) != SQLITE_OK ||
		sqlite3_exec(h,
			"PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA cache_size = -2000;"
			"CREATE TABLE events(session INTEGER, seq INTEGER, type INTEGER, id TEXT, facts "
			"BLOB, hash BLOB,"
			" thread TEXT, body TEXT, private BLOB);"
			"CREATE UNIQUE INDEX i ON events(session, seq)",
			NULL, NULL, NULL) != SQLITE_OK)
		die("plain", NULL);
	sqlite3_prepare_v2(h, "INSERT INTO events VALUES(?, ?, ?, ?, ?, ?, '', ?, x'')", -1, &insert, NULL);
	sqlite3_prepare_v2(h, "BEGIN IMMEDIATE", -1, &begin, NULL);
	sqlite3_prepare_v2(h, "COMMIT", -1, &commit, NULL);
	uint64_t start = clock_mono_us(), end = start + (uint64_t)(seconds * 1e6), n = 0;
	char zeros[EVENT_FACTS_BYTES] = {0};
	while (clock_mono_us() < end) {
		sqlite3_step(begin);
		sqlite3_reset(begin);
		for (unsigned i = 0; i < batch; i++, n++) {
			struct event_row row = bench_row();
			sqlite3_bind_int64(insert, 1, (sqlite3_int64)(n % SESSIONS));
			sqlite3_bind_int64(insert, 2, (sqlite3_int64)(n / SESSIONS));
			sqlite3_bind_int(insert, 3, row.facts.type);
			sqlite3_bind_text(insert, 4, row.id.z, -1, SQLITE_STATIC);
			sqlite3_bind_blob(insert, 5, zeros, EVENT_FACTS_BYTES, SQLITE_STATIC);
			sqlite3_bind_blob(insert, 6, zeros, HASH_BYTES, SQLITE_STATIC);
			sqlite3_bind_text(insert, 7, row.body.p, (int)row.body.n, SQLITE_STATIC);
			if (sqlite3_step(insert) != SQLITE_DONE)
				die(sqlite3_errmsg(h), NULL);
			sqlite3_reset(insert);
		}
		if (sqlite3_step(commit) != SQLITE_DONE)
			die(sqlite3_errmsg(h), NULL);
		sqlite3_reset(commit);
	}
	double took = (double)(clock_mono_us() - start) / 1e6;
	sqlite3_finalize(insert);
	sqlite3_finalize(begin);
	sqlite3_finalize(commit);
	sqlite3_close(h);
	return (double)n / took;
}

/* ---- reading ---- */

static void
on_loaded(void *arg, const struct err *err, struct str snapshot, const struct event_row *rows, size_t n)
{
	(void)snapshot;
	(void)rows;
	if (err || n != 10000)
		die("load", err);
	settle(arg);
}

static void
on_page(void *arg, const struct err *err, const struct store_event *ev, size_t n, bool more)
{
	(void)ev;
	(void)more;
	if (err || n != 1000)
		die("list", err);
	settle(arg);
}

static int
by_value(const void *a, const void *b)
{
	double d = *(const double *)a - *(const double *)b;

	return d < 0 ? -1 : d > 0;
}

/* Median milliseconds of loading a log of 10,000 rows, and of a page of 1,000 events. */
static void
reading(const char *dir)
{
	enum { ROWS = 10000, TRIES = 21 };
	struct run r;
	struct event_row *rows = calloc(ROWS, sizeof(*rows));
	double load[TRIES], page[TRIES];

	open_run(&r, dir, "read");
	for (int i = 0; i < ROWS; i++)
		rows[i] = bench_row();
	struct store_append a = {.session_id = STR("sesn_1"), .rows = rows, .n_rows = ROWS};
	struct store_session_index ix = {.agent_id = STR("agent_1")};
	r.pending = 1;
	store_session_create(r.store, &a, &ix, 1, on_made, &r);
	loop_run(r.loop);
	free(rows);
	for (int i = 0; i < TRIES; i++) {
		uint64_t start = clock_mono_us();
		r.pending = 1;
		store_session_load(r.store, STR("sesn_1"), false, on_loaded, &r);
		loop_run(r.loop);
		load[i] = (double)(clock_mono_us() - start) / 1e3;
		struct store_read q = {.session_id = STR("sesn_1"), .after_seq = 4500, .limit = 1000};
		start = clock_mono_us();
		r.pending = 1;
		store_events(r.store, &q, on_page, &r);
		loop_run(r.loop);
		page[i] = (double)(clock_mono_us() - start) / 1e3;
	}
	close_run(&r);
	qsort(load, TRIES, sizeof(load[0]), by_value);
	qsort(page, TRIES, sizeof(page[0]), by_value);
	report_ms("log-load-10000", load[TRIES / 2], 20);
	report_ms("log-list-1000", page[TRIES / 2], 10);
}

int
main(int argc, char **argv)
{
	const char *dir = argc > 1 ? argv[1] : NULL;
	double seconds = 2, batch;
	uint64_t n = 2;

	if (!dir || (argc > 2 && !str_to_u64(str_z(argv[2]), &n))) {
		fprintf(stderr, "usage: store_log DIR [SECONDS]\n");
		return 64;
	}
	seconds = (double)n;
	double rate = ours(dir, seconds, &batch);
	unsigned rows = batch < 1 ? 1 : (unsigned)(batch + 0.5);
	printf("log-append: %.1f rows a commit\n", batch);
	report("log-append-64", rate, plain(dir, seconds, rows), 0.6);
	report("log-append-single", rate, plain(dir, seconds, 1), 3);
	atomic_store(&sync_delay_us, 5000);
	report("log-append-slow", ours(dir, seconds, &batch), plain(dir, seconds, 1), 20);
	atomic_store(&sync_delay_us, 0);
	reading(dir);
	return 0;
}
