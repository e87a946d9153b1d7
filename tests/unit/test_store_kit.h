/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the tests of the store share: a store in a fresh directory, driven by a real loop. Calls are started,
 * kit_wait runs the loop until all have called back. Every helper fails the test when something unexpected
 * happens.
 */
#pragma once

#include "unit.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/limits.h"
#include "io/loop.h"
#include "model/turn.h"
#include "store/db.h"
#include "store/store.h"

struct kit {
	struct loop *loop;
	struct store *store; /* NULL while closed */
	char dir[64];
	unsigned pending;
	/* on_commit and on_deleted, in order: "sesn_a:1-3 sesn_b:1-1 sesn_a:deleted " */
	struct buf told;
	struct err failed; /* on_failed */
};

/* What one call answered. */
struct got {
	struct kit *kit;
	unsigned calls;
	enum err_kind kind; /* ERR_NONE: success */
	struct err err;
	uint64_t number; /* first_seq, version, epoch */
	unsigned order;  /* among all answers of the program */
	struct buf text; /* rendered rows */
	size_t n;
	bool before, after; /* more rows on that side */
};

/* ---- life ---- */

/* A directory and a loop, no store yet. */
void kit_new(struct kit *k);
void kit_done(struct kit *k);

/* Opens and closes the store. */
int kit_try_open(struct kit *k, struct err *e);
void kit_open(struct kit *k);
void kit_close(struct kit *k);
void kit_reopen(struct kit *k);

/* A test with a fresh store; a test with a directory only. */
#define KIT_TEST(f) cmocka_unit_test_setup_teardown(f, kit_setup, kit_teardown)
#define DIR_TEST(f) cmocka_unit_test_setup_teardown(f, kit_setup_dir, kit_teardown)
int kit_setup(void **state);
int kit_setup_dir(void **state);
int kit_teardown(void **state);

/* Runs the loop until every call that was started has answered. */
void kit_wait(struct kit *k);

/* ---- answers ---- */

/* Before a call / when its answer is not needed any more. */
void got_start(struct got *g, struct kit *k);
void got_end(struct got *g);
/* What every callback does: notes the error and ends kit_wait after the last. */
void got_one(struct got *g, const struct err *err);
/* Waits, then compares. */
void got_expect(struct kit *k, struct got *g, enum err_kind want);

/* Callbacks whose arg is a struct got. Rows become lines "SEQ TYPE ID at=… ref=… [THREAD] {BODY} <PRIVATE>",
 * events "SEQ@PROCESSED ", ids "ID ". */
void on_write(void *arg, const struct err *err, uint32_t first_seq);
void on_done(void *arg, const struct err *err);
void on_lease(void *arg, const struct err *err, uint64_t epoch);
void on_load(void *arg, const struct err *err, struct str snapshot, const struct event_row *rows, size_t n);
void on_events(void *arg, const struct err *err, const struct store_event *ev, size_t n, bool more);
void on_ids(void *arg, const struct err *err, const struct id *ids, size_t n);

/* ---- rows and sessions ---- */

/* A row with a new id and time. */
struct event_row row_of(enum event_type type, const char *body);
/* An append that keeps status and snapshot. */
struct store_append append_of(const char *id, const struct event_row *rows, size_t n);
/* Appends and waits. */
enum err_kind do_append(struct kit *k, const struct store_append *a, uint64_t *first_seq);
/* One more row of that type; must succeed. */
void do_row(struct kit *k, const char *id, enum event_type type, const char *body);
void do_row_at(struct kit *k, const char *id, enum event_type type, uint64_t at_us, uint32_t ref);
/* A session with its first row; the second form must succeed. */
enum err_kind do_create_as(
	struct kit *k, const char *id, uint64_t created_us, const struct store_session_index *ix);
void do_create(struct kit *k, const char *id);
/* What a load gives, as text; the caller frees with got_end. */
void do_load(struct kit *k, const char *id, bool use_snapshot, struct got *g);
/* Compares what on_commit and on_deleted told, and forgets it. */
void assert_told(struct kit *k, const char *want);

/* ---- the file itself ---- */

/* A connection of the test's own to the closed or open store's file. */
void kit_db(const struct kit *k, struct db *db);
uint64_t kit_number(const struct kit *k, const char *sql);
/* Walks the chain of every session: rows contiguous from 1 to last_seq, every hash right, the head equal to
 * the last. Gives the number of rows. */
size_t kit_verify(const struct kit *k);
