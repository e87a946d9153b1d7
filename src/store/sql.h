/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Every fixed statement of the store, in one place: each connection prepares the ones it uses once and keeps
 * them. Lists with filters are built where they are used (session_list.c, doc_list.c). Inside src/store only.
 */
#pragma once

#define SQL_DOC_COLUMNS "key, kind, id, version, created_us, updated_us, archived_us, uniq, parent, body"

/* What sessions_open indexes; a statement must repeat it literally for the index to be used. */
#define SQL_OPEN "(status IN (1, 2) OR (waiting > 0 AND status <> 3))"

#define SQL_STATEMENTS(X)                                                                                    \
	X(BEGIN_READ, "BEGIN")                                                                               \
	X(BEGIN_WRITE, "BEGIN IMMEDIATE")                                                                    \
	X(COMMIT, "COMMIT")                                                                                  \
	X(ROLLBACK, "ROLLBACK")                                                                              \
	/* the writer's view of a session */                                                                 \
	X(HEAD_GET,                                                                                          \
		"SELECT key, last_seq, epoch, status, archived, waiting, head FROM sessions WHERE id = ?")   \
	X(HEAD_SET, "UPDATE sessions SET last_seq = ?, epoch = ?, head = ? WHERE key = ?")                   \
	X(HEAD_SET_STATUS, "UPDATE sessions SET status = ?, archived = ?, waiting = ? WHERE key = ?")        \
	X(SESSION_INSERT, "INSERT INTO sessions(id, created_us, agent_id, agent_version, environment_id,"    \
			  " deployment_id, status, archived, waiting, last_seq, epoch, head)"                \
			  " VALUES(?, ?, ?, ?, ?, ?, ?, ?, 0, 0, 0, ?)")                                     \
	X(SESSION_DELETE, "DELETE FROM sessions WHERE key = ?")                                              \
	X(EVENT_INSERT, "INSERT INTO events(session, seq, type, id, facts, hash, thread, body, private)"     \
			" VALUES(?, ?, ?, ?, ?, ?, ?, ?, ?)")                                                \
	X(PROCESSED_INSERT, "INSERT OR IGNORE INTO processed(session, seq, at_us) VALUES(?, ?, ?)")          \
	X(SNAPSHOT_SET, "INSERT OR REPLACE INTO snapshots(session, seq, state) VALUES(?, ?, ?)")             \
	X(SNAPSHOT_DELETE, "DELETE FROM snapshots WHERE session = ?")                                        \
	X(TOMBSTONE_INSERT, "INSERT INTO tombstones(session, id, head, last_seq, deleted_us, purged)"        \
			    " VALUES(?, ?, ?, ?, ?, 0)")                                                     \
	X(TOMBSTONE_FIND, "SELECT 1 FROM tombstones WHERE id = ?")                                           \
	X(PURGE_NEXT, "SELECT session FROM tombstones WHERE purged = 0 LIMIT 1")                             \
	X(PURGE_EVENTS,                                                                                      \
		"DELETE FROM events WHERE rowid IN (SELECT rowid FROM events WHERE session = ? LIMIT ?)")    \
	X(PURGE_PROCESSED, "DELETE FROM processed WHERE session = ?")                                        \
	X(PURGE_DONE, "UPDATE tombstones SET purged = 1 WHERE session = ?")                                  \
	/* readers */                                                                                        \
	X(SESSION_FIND, "SELECT key, last_seq FROM sessions WHERE id = ?")                                   \
	X(SESSIONS_OPEN, "SELECT id FROM sessions WHERE " SQL_OPEN " ORDER BY key")                          \
	X(SNAPSHOT_GET, "SELECT seq, state FROM snapshots WHERE session = ?")                                \
	X(EVENTS_LOAD, "SELECT seq, type, id, facts, thread, body FROM events"                               \
		       " WHERE session = ? AND seq > ? ORDER BY seq")                                        \
	X(EVENTS_UP, "SELECT seq, type, id, facts, thread, body, private FROM events"                        \
		     " WHERE session = ? AND seq > ? AND seq < ? ORDER BY seq")                              \
	X(EVENTS_DOWN, "SELECT seq, type, id, facts, thread, body, private FROM events"                      \
		       " WHERE session = ? AND seq > ? AND seq < ? ORDER BY seq DESC")                       \
	X(EVENTS_VERIFY, "SELECT seq, id, facts, thread, body, private, hash FROM events"                    \
			 " WHERE session = ? AND seq > ? ORDER BY seq LIMIT ?")                              \
	X(PROCESSED_GET, "SELECT at_us FROM processed WHERE session = ? AND seq = ?")                        \
	/* documents */                                                                                      \
	X(DOC_GET, "SELECT " SQL_DOC_COLUMNS " FROM docs WHERE kind = ? AND id = ?")                         \
	X(DOC_FIND, "SELECT " SQL_DOC_COLUMNS " FROM docs"                                                   \
		    " WHERE kind = ? AND uniq = ? AND uniq <> '' AND archived_us = 0")                       \
	X(DOC_INSERT, "INSERT INTO docs(kind, id, version, created_us, updated_us, archived_us, uniq, "      \
		      "parent, body)"                                                                        \
		      " VALUES(?, ?, ?, ?, ?, ?, ?, ?, ?)")                                                  \
	X(DOC_SET, "UPDATE docs SET version = ?, updated_us = ?, archived_us = ?, uniq = ?, parent = ?, "    \
		   "body = ?"                                                                                \
		   " WHERE key = ?")                                                                         \
	X(DOC_DELETE, "DELETE FROM docs WHERE key = ?")                                                      \
	X(DOC_KEEP,                                                                                          \
		"INSERT INTO doc_versions(doc, version, updated_us, archived_us, uniq, parent, body)"        \
		" SELECT key, version, updated_us, archived_us, uniq, parent, body FROM docs WHERE key = ?") \
	X(DOC_DELETE_VERSIONS, "DELETE FROM doc_versions WHERE doc = ?")                                     \
	X(DOC_GET_VERSION,                                                                                   \
		"SELECT d.key, d.kind, d.id, v.version, d.created_us, v.updated_us, v.archived_us, v.uniq,"  \
		" v.parent, v.body FROM docs d JOIN doc_versions v ON v.doc = d.key"                         \
		" WHERE d.kind = ? AND d.id = ? AND v.version = ?")                                          \
	X(DOC_VERSIONS,                                                                                      \
		"SELECT d.key, d.kind, d.id, v.version, d.created_us, v.updated_us, v.archived_us, v.uniq,"  \
		" v.parent, v.body FROM docs d JOIN doc_versions v ON v.doc = d.key"                         \
		" WHERE d.kind = ? AND d.id = ? AND v.version < ? ORDER BY v.version DESC LIMIT ?")          \
	X(AGENT_USED, "SELECT 1 FROM sessions WHERE agent_id = ? LIMIT 1")                                   \
	X(ENVIRONMENT_USED, "SELECT 1 FROM sessions WHERE environment_id = ? LIMIT 1")

enum sql {
#define X(name, text) SQL_##name,
	SQL_STATEMENTS(X)
#undef X
		SQL_COUNT
};
