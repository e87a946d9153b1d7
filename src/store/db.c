/* SPDX-License-Identifier: Apache-2.0 */
#include "store/db.h"

#include <errno.h>
#include <stdio.h>

/* Waiting for another program's lock (a backup, sqlite3 on the command line). */
#define DB_BUSY_MS 5000
/* Largest value in a row: a body plus a private part, with room to spare. */
#define DB_VALUE_MAX (128 * 1024 * 1024)

static const char *const sql_text[SQL_COUNT] = {
#define X(name, text) [SQL_##name] = text,
	SQL_STATEMENTS(X)
#undef X
};

/* ---- errors ---- */

static int
fail_io(struct db *db, int rc, struct err *e)
{
	int os = db->h ? sqlite3_system_errno(db->h) : 0;
	bool flush = rc == SQLITE_IOERR_FSYNC || rc == SQLITE_IOERR_DIR_FSYNC;

	if ((rc & 0xff) == SQLITE_FULL || (!flush && (os == ENOSPC || os == EDQUOT)))
		return err_set_at(
			e, ERR_IO, ENOSPC, ERR_WHERE, "the disk is full: nothing of this was written");
	/* A failed flush is fatal whatever its reason: see db_fatal. */
	return err_set_at(e, ERR_IO, flush || os == 0 ? EIO : os, ERR_WHERE, "database: %s (%s)",
		sqlite3_errstr(rc), strerror(os ? os : EIO));
}

static int
fail_corrupt(int rc, struct err *e)
{
	return err_set(e, ERR_CORRUPT,
		"the database is damaged (%s): stop, copy store.db and store.db-wal away, then restore a "
		"backup "
		"or try `sqlite3 store.db .recover`",
		sqlite3_errstr(rc));
}

int
db_fail(struct db *db, int rc, struct err *e)
{
	switch (rc & 0xff) {
	case SQLITE_NOMEM:
		return err_set(e, ERR_NO_MEMORY, "out of memory in the database");
	case SQLITE_IOERR:
		if (rc == SQLITE_IOERR_NOMEM)
			return err_set(e, ERR_NO_MEMORY, "out of memory in the database");
		return fail_io(db, rc, e);
	case SQLITE_FULL:
	case SQLITE_CANTOPEN:
	case SQLITE_READONLY:
	case SQLITE_PERM:
		return fail_io(db, rc, e);
	case SQLITE_CORRUPT:
	case SQLITE_NOTADB:
		return fail_corrupt(rc, e);
	case SQLITE_BUSY:
	case SQLITE_LOCKED:
		return err_set(e, ERR_UNAVAILABLE, "another program keeps the database locked");
	case SQLITE_CONSTRAINT:
		return err_set(e, ERR_CONFLICT, "database: %s", sqlite3_errmsg(db->h));
	case SQLITE_TOOBIG:
		return err_set(e, ERR_TOO_LARGE, "value too large for the database");
	}
	return err_set(e, ERR_INTERNAL, "database: %s", db->h ? sqlite3_errmsg(db->h) : sqlite3_errstr(rc));
}

bool
db_fatal(const struct err *e)
{
	if (e->kind == ERR_CORRUPT)
		return true;
	return e->kind == ERR_IO && e->os != ENOSPC;
}

/* ---- connections ---- */

static int
on_wal(void *arg, sqlite3 *h, const char *name, int pages)
{
	struct db *db = arg;

	(void)h;
	(void)name;
	db->wal_pages = pages;
	return SQLITE_OK;
}

static void
harden(sqlite3 *h)
{
	sqlite3_extended_result_codes(h, 1);
	sqlite3_busy_timeout(h, DB_BUSY_MS);
	sqlite3_db_config(h, SQLITE_DBCONFIG_DEFENSIVE, 1, NULL);
	sqlite3_db_config(h, SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0, NULL);
	sqlite3_db_config(h, SQLITE_DBCONFIG_ENABLE_TRIGGER, 0, NULL);
	sqlite3_db_config(h, SQLITE_DBCONFIG_ENABLE_VIEW, 0, NULL);
	sqlite3_db_config(h, SQLITE_DBCONFIG_DQS_DML, 0, NULL);
	sqlite3_db_config(h, SQLITE_DBCONFIG_DQS_DDL, 0, NULL);
	sqlite3_limit(h, SQLITE_LIMIT_LENGTH, DB_VALUE_MAX);
	sqlite3_limit(h, SQLITE_LIMIT_ATTACHED, 0);
}

/* Checkpoints are ours (store.c): SQLite's own would run before a commit is acknowledged. */
static const char setup[] = "PRAGMA cache_size = -2000;"
			    "PRAGMA mmap_size = 0;"
			    "PRAGMA temp_store = MEMORY;"
			    "PRAGMA cell_size_check = ON;"
			    "PRAGMA synchronous = FULL;"
			    "PRAGMA journal_size_limit = 67108864;";

static int
prepare(struct db *db, enum sql which, struct err *e)
{
	AUTO(q) struct q q = q_start(db, which);

	return q_check(&q, e);
}

int
db_open(struct db *db, const char *path, bool reader, struct err *e)
{
	*db = (struct db){0};
	int rc = sqlite3_open_v2(path, &db->h, SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX, NULL);

	if (rc != SQLITE_OK) {
		int r = db_fail(db, rc, e);

		db_close(db, true);
		err_wrap(e, "%s", path);
		return r;
	}
	harden(db->h);
	sqlite3_wal_hook(db->h, on_wal, db);
	int r = db_exec(db, setup, e);
	if (r == 0 && reader)
		r = db_exec(db, "PRAGMA query_only = ON", e);
	/* Undoing must not need memory. */
	if (r == 0)
		r = prepare(db, SQL_ROLLBACK, e);
	if (r < 0)
		db_close(db, true);
	return r;
}

void
db_close(struct db *db, bool checkpoint)
{
	if (!db->h)
		return;
	for (size_t i = 0; i < SQL_COUNT; i++)
		sqlite3_finalize(db->st[i]);
	if (!checkpoint)
		sqlite3_db_config(db->h, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, NULL);
	sqlite3_close(db->h);
	*db = (struct db){0};
}

int
db_exec(struct db *db, const char *sql, struct err *e)
{
	int rc = sqlite3_exec(db->h, sql, NULL, NULL, NULL);

	return rc == SQLITE_OK ? 0 : db_fail(db, rc, e);
}

int
db_number(struct db *db, const char *sql, uint64_t *out, struct err *e)
{
	AUTO(q) struct q q = q_start_text(db, sql);
	int r = q_step(&q, e);

	if (r == 1)
		*out = q_col_u64(&q, 0);
	else if (r == 0)
		r = err_set(e, ERR_INTERNAL, "database: no answer to %s", sql);
	return r < 0 ? r : 0;
}

int
db_run(struct db *db, enum sql which, struct err *e)
{
	AUTO(q) struct q q = q_start(db, which);

	return q_run(&q, e);
}

void
db_rollback(struct db *db)
{
	if (!sqlite3_get_autocommit(db->h))
		db_run(db, SQL_ROLLBACK, NULL);
}

uint64_t
db_changes(struct db *db)
{
	return (uint64_t)sqlite3_total_changes64(db->h);
}

static int
checkpoint(struct db *db, int mode, struct err *e)
{
	int rc = sqlite3_wal_checkpoint_v2(db->h, NULL, mode, NULL, NULL);

	if (rc == SQLITE_OK || (rc & 0xff) == SQLITE_BUSY || (rc & 0xff) == SQLITE_LOCKED)
		return 0;
	return db_fail(db, rc, e);
}

int
db_checkpoint(struct db *db, struct err *e)
{
	return checkpoint(db, SQLITE_CHECKPOINT_PASSIVE, e);
}

int
db_checkpoint_all(struct db *db, struct err *e)
{
	return checkpoint(db, SQLITE_CHECKPOINT_TRUNCATE, e);
}

/* ---- statements ---- */

struct q
q_start(struct db *db, enum sql which)
{
	struct q q = {.db = db};

	if (!db->st[which])
		q.rc = sqlite3_prepare_v3(
			db->h, sql_text[which], -1, SQLITE_PREPARE_PERSISTENT, &db->st[which], NULL);
	q.st = db->st[which];
	return q;
}

struct q
q_start_text(struct db *db, const char *sql)
{
	struct q q = {.db = db, .owned = true};

	q.rc = sqlite3_prepare_v2(db->h, sql, -1, &q.st, NULL);
	return q;
}

static void
bound(struct q *q, int rc)
{
	if (q->rc == SQLITE_OK)
		q->rc = rc;
}

void
q_u64(struct q *q, uint64_t v)
{
	if (q->rc == SQLITE_OK)
		bound(q, sqlite3_bind_int64(q->st, ++q->at, (sqlite3_int64)v));
}

void
q_str(struct q *q, struct str s)
{
	const char *p = s.n ? s.p : "";

	if (q->rc == SQLITE_OK)
		bound(q, sqlite3_bind_text64(q->st, ++q->at, p, s.n, SQLITE_STATIC, SQLITE_UTF8));
}

void
q_blob(struct q *q, struct str s)
{
	const char *p = s.n ? s.p : "";

	if (q->rc == SQLITE_OK)
		bound(q, sqlite3_bind_blob64(q->st, ++q->at, p, s.n, SQLITE_STATIC));
}

int
q_step(struct q *q, struct err *e)
{
	int rc = q->rc;

	if (rc == SQLITE_OK)
		rc = sqlite3_step(q->st);
	if (rc == SQLITE_ROW)
		return 1;
	if (rc == SQLITE_DONE)
		return 0;
	return db_fail(q->db, rc, e);
}

int
q_run(struct q *q, struct err *e)
{
	int r = q_step(q, e);

	ASSERT(r <= 0);
	return r;
}

uint64_t
q_col_u64(struct q *q, int i)
{
	return (uint64_t)sqlite3_column_int64(q->st, i);
}

struct str
q_col_str(struct q *q, int i)
{
	const void *p = sqlite3_column_blob(q->st, i);

	if (p)
		return str_n(p, (size_t)sqlite3_column_bytes(q->st, i));
	if (sqlite3_errcode(q->db->h) == SQLITE_NOMEM)
		bound(q, SQLITE_NOMEM);
	return STR_NULL;
}

int
q_check(const struct q *q, struct err *e)
{
	return q->rc == SQLITE_OK ? 0 : db_fail(q->db, q->rc, e);
}

void
q_end(struct q *q)
{
	if (q->owned)
		sqlite3_finalize(q->st);
	else if (q->st) {
		sqlite3_reset(q->st);
		sqlite3_clear_bindings(q->st);
	}
	q->st = NULL;
}
