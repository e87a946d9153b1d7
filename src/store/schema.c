/* SPDX-License-Identifier: Apache-2.0 */
#include "store/schema.h"

#include <stdio.h>

/*
 * events: append-ordered by rowid, the one index is (session, seq). hash chains the rows of a session; its
 * latest value is sessions.head. Derived from the log, kept in the same transaction, and rebuildable from it:
 * the other columns of sessions, snapshots, and processed (when a queued client event was processed, from its
 * own later row).
 *
 * sessions_created and its like hold the columns that lists filter by, so that a filter reads no table rows;
 * key is there by name because a list is ordered by (created_us, key).
 */
static const char step_1[] =
	"CREATE TABLE sessions("
	" key INTEGER PRIMARY KEY AUTOINCREMENT,"
	" id TEXT NOT NULL UNIQUE,"
	" created_us INTEGER NOT NULL,"
	" agent_id TEXT NOT NULL,"
	" agent_version INTEGER NOT NULL,"
	" environment_id TEXT NOT NULL,"
	" deployment_id TEXT NOT NULL,"
	" status INTEGER NOT NULL,"
	" archived INTEGER NOT NULL,"
	" waiting INTEGER NOT NULL,"
	" last_seq INTEGER NOT NULL,"
	" epoch INTEGER NOT NULL,"
	" head BLOB NOT NULL) STRICT;"
	"CREATE INDEX sessions_created ON sessions(created_us, key, archived, status);"
	"CREATE INDEX sessions_agent ON sessions(agent_id, created_us, key, archived, status, agent_version);"
	"CREATE INDEX sessions_environment ON sessions(environment_id);"
	"CREATE INDEX sessions_deployment ON sessions(deployment_id, created_us, key, archived, status)"
	" WHERE deployment_id <> '';"
	"CREATE INDEX sessions_open ON sessions(key) WHERE " SQL_OPEN ";"

	"CREATE TABLE events("
	" session INTEGER NOT NULL,"
	" seq INTEGER NOT NULL,"
	" type INTEGER NOT NULL,"
	" id TEXT NOT NULL,"
	" facts BLOB NOT NULL,"
	" hash BLOB NOT NULL,"
	" thread TEXT NOT NULL,"
	" body TEXT NOT NULL,"
	" private BLOB NOT NULL) STRICT;"
	"CREATE UNIQUE INDEX events_seq ON events(session, seq);"

	"CREATE TABLE processed("
	" session INTEGER NOT NULL,"
	" seq INTEGER NOT NULL,"
	" at_us INTEGER NOT NULL,"
	" PRIMARY KEY(session, seq)) STRICT, WITHOUT ROWID;"

	"CREATE TABLE snapshots("
	" session INTEGER PRIMARY KEY,"
	" seq INTEGER NOT NULL,"
	" state BLOB NOT NULL) STRICT;"

	"CREATE TABLE tombstones("
	" session INTEGER PRIMARY KEY,"
	" id TEXT NOT NULL UNIQUE,"
	" head BLOB NOT NULL,"
	" last_seq INTEGER NOT NULL,"
	" deleted_us INTEGER NOT NULL,"
	" purged INTEGER NOT NULL) STRICT;"
	"CREATE INDEX tombstones_unpurged ON tombstones(session) WHERE purged = 0;"

	"CREATE TABLE docs("
	" key INTEGER PRIMARY KEY AUTOINCREMENT,"
	" kind INTEGER NOT NULL,"
	" id TEXT NOT NULL,"
	" version INTEGER NOT NULL,"
	" created_us INTEGER NOT NULL,"
	" updated_us INTEGER NOT NULL,"
	" archived_us INTEGER NOT NULL,"
	" uniq TEXT NOT NULL,"
	" parent TEXT NOT NULL,"
	" body TEXT NOT NULL) STRICT;"
	"CREATE UNIQUE INDEX docs_id ON docs(kind, id);"
	"CREATE UNIQUE INDEX docs_live ON docs(kind, uniq) WHERE uniq <> '' AND archived_us = 0;"
	"CREATE INDEX docs_created ON docs(kind, created_us, key, archived_us);"
	"CREATE INDEX docs_parent ON docs(kind, parent, created_us, key, archived_us);"

	"CREATE TABLE doc_versions("
	" doc INTEGER NOT NULL,"
	" version INTEGER NOT NULL,"
	" updated_us INTEGER NOT NULL,"
	" archived_us INTEGER NOT NULL,"
	" uniq TEXT NOT NULL,"
	" parent TEXT NOT NULL,"
	" body TEXT NOT NULL) STRICT;"
	"CREATE UNIQUE INDEX doc_versions_version ON doc_versions(doc, version);";

const char *const schema_steps[] = {step_1};
const size_t schema_n_steps = ARRAY_LEN(schema_steps);

static int
run_step(struct db *db, const char *step, uint64_t version, struct err *e)
{
	char mark[96];

	snprintf(mark, sizeof(mark), "PRAGMA application_id = %d; PRAGMA user_version = %u",
		SCHEMA_APPLICATION, (unsigned)version);
	int r = db_run(db, SQL_BEGIN_WRITE, e);
	if (r == 0)
		r = db_exec(db, step, e);
	if (r == 0)
		r = db_exec(db, mark, e);
	if (r == 0)
		r = db_run(db, SQL_COMMIT, e);
	if (r < 0) {
		db_rollback(db);
		err_wrap(e, "schema step %u", (unsigned)version);
	}
	return r;
}

/* An empty file may become ours; one with content must say that it is. */
static int
check_owner(struct db *db, uint64_t version, struct err *e)
{
	uint64_t app = 0, objects = 0;
	int r = db_number(db, "PRAGMA application_id", &app, e);

	if (r == 0)
		r = db_number(db, "SELECT count(*) FROM sqlite_schema", &objects, e);
	if (r < 0)
		return r;
	if (app == SCHEMA_APPLICATION || (app == 0 && version == 0 && objects == 0))
		return 0;
	return err_set(e, ERR_CONFLICT, "store.db is not a Pinfold database: choose another data directory");
}

int
schema_check(struct db *db, size_t n, uint64_t *version, struct err *e)
{
	uint64_t v = 0;
	int r = db_number(db, "PRAGMA user_version", &v, e);

	if (r == 0)
		r = check_owner(db, v, e);
	if (r == 0 && v > n)
		r = err_set(e, ERR_CONFLICT,
			"the data was written by a newer Pinfold (schema %u, this one knows %u): start that "
			"one, "
			"or restore the backup from before the upgrade",
			(unsigned)v, (unsigned)n);
	if (r == 0)
		*version = v;
	return r;
}

int
schema_migrate(struct db *db, const char *const *steps, size_t n, struct err *e)
{
	uint64_t version = 0;
	int r = schema_check(db, n, &version, e);

	while (r == 0 && version < n) {
		r = run_step(db, steps[version], version + 1, e);
		version++;
	}
	return r;
}
