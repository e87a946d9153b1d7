/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One SQLite connection and its prepared statements, used by one thread at a time. Maps SQLite's results to
 * error kinds in one place. Inside src/store only.
 *
 *   AUTO(q) struct q q = q_start(db, SQL_SESSION_FIND);
 *   q_str(&q, id);
 *   int r = q_step(&q, e);        1: a row, 0: none, <0: failed
 *   if (r == 1)
 *           key = q_col_u64(&q, 0);
 */
#pragma once

#include <sqlite3.h>

#include "base/err.h"
#include "base/str.h"
#include "store/sql.h"

struct db {
	sqlite3 *h;
	sqlite3_stmt *st[SQL_COUNT];
	int wal_pages; /* size of the write-ahead log after this connection's latest commit */
};

/* Opens an existing file (the caller created it with the right mode). A reader refuses to change data. Sets
 * everything but the journal mode. ERR_IO, ERR_CORRUPT (not a database), ERR_NO_MEMORY. */
int db_open(struct db *db, const char *path, bool reader, struct err *e);
/* Finalizes and closes; tolerates a zeroed struct. `checkpoint` false: leaves the write-ahead log as it is.
 */
void db_close(struct db *db, bool checkpoint);

/* Runs one or more statements without results. Setup only. */
int db_exec(struct db *db, const char *sql, struct err *e);
/* The first column of the first row as a number. Setup only. */
int db_number(struct db *db, const char *sql, uint64_t *out, struct err *e);

/* Runs a prepared statement without parameters (BEGIN_WRITE, COMMIT, ...). */
int db_run(struct db *db, enum sql which, struct err *e);
/* Ends a transaction, whatever state it is in. Never fails: a rollback that cannot be done was done by
 * SQLite. */
void db_rollback(struct db *db);
/* Rows changed since the connection was opened. */
uint64_t db_changes(struct db *db);
/* Copies finished pages of the write-ahead log into the file; makes both durable. A reader in the way is no
 * error. */
int db_checkpoint(struct db *db, struct err *e);
/* The same for all of it, and empties the log. For the start, when nobody else writes. */
int db_checkpoint_all(struct db *db, struct err *e);

/* The error of SQLite's result code `rc`. ERR_IO has os = errno (ENOSPC for a full disk), ERR_CORRUPT tells
 * what to do, ERR_UNAVAILABLE is a lock held by another program. */
int db_fail(struct db *db, int rc, struct err *e);
/* True when after this error nothing more may be written: the disk failed or the file is damaged. A full disk
 * is not. */
bool db_fatal(const struct err *e);

/* A running statement. Parameters and columns go left to right; failures are sticky and reported by q_step.
 */
struct q {
	struct db *db;
	sqlite3_stmt *st;
	int at; /* last bound parameter */
	int rc;
	bool owned; /* finalized at the end, else reset and kept */
};

/* Starts a kept statement / one prepared from `sql` for this use. Failures show in q_step. */
struct q q_start(struct db *db, enum sql which);
struct q q_start_text(struct db *db, const char *sql);
/* Bind the next parameter; bytes are borrowed until the statement ends. An empty slice is an empty value, not
 * NULL. */
void q_u64(struct q *q, uint64_t v);
void q_str(struct q *q, struct str s);
void q_blob(struct q *q, struct str s);
/* 1: a row is there, 0: no more rows, <0: failed. */
int q_step(struct q *q, struct err *e);
/* For statements without rows: 0 or <0. */
int q_run(struct q *q, struct err *e);
/* Columns of the present row, from 0. Slices are borrowed until the next step; when memory ran out while
 * fetching, the slice is empty and q_check and the next q_step fail. */
uint64_t q_col_u64(struct q *q, int i);
struct str q_col_str(struct q *q, int i);
/* 0, or the sticky failure: after the last column of the last row. */
int q_check(const struct q *q, struct err *e);
void q_end(struct q *q);

DEFINE_AUTO_DONE(q, struct q, q_end);
