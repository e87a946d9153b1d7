/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The store: session logs and API objects, durable before acknowledged. This header hides the engine (SQLite
 * in the data directory now; PostgreSQL later).
 *
 * All calls are asynchronous: they are made on the loop's thread, copy what they are given, and call back
 * once on the loop's thread, with an error or a result that is valid during the callback only. The order of
 * callbacks of writes is the order of commits. One writer thread collects writes for as long as the commit in
 * progress takes, then commits them together (group commit); readers have their own connections and see
 * committed data only.
 *
 * on_commit (store_opts) is called before the callbacks of the writes in a commit, for every appended batch,
 * in commit order: it is how folds, streams and brains learn of rows.
 *
 * Error kinds: NOT_FOUND, CONFLICT (unique key, stale version), AGAIN (expect_seq moved), FENCED (stale
 * epoch), INVALID (cursor), TOO_LARGE, IO (a full disk has os = ENOSPC; nothing of the call was written, try
 * later), CORRUPT, UNAVAILABLE (closing; or after on_failed), OVERLOADED (256 MiB of calls wait), NO_MEMORY.
 */
#pragma once

#include "base/err.h"
#include "base/hash.h"
#include "base/id.h"
#include "io/loop.h"
#include "model/event.h"

struct store;

struct store_opts {
	const char *dir; /* created 0700 when missing */
	void *owner;
	/* Rows with their assigned seq, of one session, in order. */
	void (*on_commit)(void *owner, struct str session_id, const struct event_row *rows, size_t n);
	/* A session was deleted. */
	void (*on_deleted)(void *owner, struct str session_id);
	/* May be NULL. Called once when the disk failed under a write (not: is full) or the file is damaged.
	 * Every write from then on is refused with this error, reads go on. What is on the disk can only be
	 * known by reading it again: end the process and let it be started anew. */
	void (*on_failed)(void *owner, const struct err *err);
};

/* Opens, migrates the schema, starts the threads. Blocking; before the loop runs. ERR_IO, ERR_CORRUPT (with
 * advice), ERR_CONFLICT when locked by another process. */
int store_open(struct store **out, struct loop *l, const struct store_opts *o, struct err *e);
/* Finishes queued writes, joins threads, makes the outstanding callbacks (reads that wait: UNAVAILABLE),
 * on_commit included. Not from inside a callback. Blobs that are still being written must be finished or
 * aborted before. */
void store_close(struct store *s);

/* ---- session logs ---- */

/* Listing attributes kept beside the log in the same transaction (an index for filters, derivable from the
 * log). */
struct store_session_index {
	struct str agent_id;
	uint32_t agent_version;
	struct str environment_id;
	struct str deployment_id;
};

/* result of writes: err NULL on success; first_seq = seq of the first appended row (documents: the version)
 */
typedef void store_write_cb(void *arg, const struct err *err, uint32_t first_seq);

struct store_append {
	struct str session_id;
	const struct event_row *rows;
	size_t n_rows;
	uint64_t epoch;      /* lease epoch of the brain, or 0: a client's append */
	uint32_t expect_seq; /* nonzero: refuse with AGAIN unless the session's last seq is this */
	int status;          /* enum turn_status after these rows, for the statuses[] filter; -1: keep */
	int archived;        /* 1: sets archived; -1: keep */
	struct str snapshot; /* encoded session_state valid after the LAST of these rows; empty: keep the old
				one */
};

/* Creates the session and appends its first rows. CONFLICT when the id exists. `created_us` orders the list.
 */
void store_session_create(struct store *s, const struct store_append *first,
	const struct store_session_index *ix, uint64_t created_us, store_write_cb *cb, void *arg);
void store_append(struct store *s, const struct store_append *a, store_write_cb *cb, void *arg);
/* Deletes the log and index row, leaves a tombstone (id, head hash, count, time). Calls on_deleted. */
void store_session_delete(
	struct store *s, struct str id, uint32_t expect_seq, uint64_t now_us, store_write_cb *cb, void *arg);

/* Takes (or renews) the session's lease: gives a new epoch higher than any before. */
typedef void store_lease_cb(void *arg, const struct err *err, uint64_t epoch);
void store_lease(struct store *s, struct str session_id, store_lease_cb *cb, void *arg);

/* The newest snapshot (empty when none) and all rows after it: facts always, body only for types with
 * event_body_folds, private never. Exact: the callback gets what on_commit has told up to that moment, so
 * that the next on_commit of the session continues it. AGAIN when the session changes under every attempt. */
typedef void store_load_cb(
	void *arg, const struct err *err, struct str snapshot, const struct event_row *rows, size_t n);
void store_session_load(struct store *s, struct str id, bool use_snapshot, store_load_cb *cb, void *arg);

/* Sessions whose status is not idle/terminated, or that have unprocessed client events: to be woken after a
 * start. */
typedef void store_ids_cb(void *arg, const struct err *err, const struct id *ids, size_t n);
void store_sessions_unfinished(struct store *s, store_ids_cb *cb, void *arg);

struct store_read {
	struct str session_id;
	uint32_t after_seq;  /* exclusive lower bound, in either order; 0: none */
	uint32_t before_seq; /* exclusive upper bound, in either order; 0: none */
	bool descending;
	bool with_private;
	bool internal;                         /* also rows that are not listed */
	uint64_t types;                        /* bit mask over enum event_type; 0: all */
	uint64_t at_gt, at_gte, at_lt, at_lte; /* bounds on processed_at (us); 0: none. Queued client events
						  have none and match no bound */
	size_t limit;                          /* rows; 0: LIM_PAGE_MAX */
};

/* Rows with bodies and the time they were processed (queued client events: of their PROCESSED row, 0: not
 * yet); the order is by seq. A page of many bytes ends early with `more` set. May hold rows that on_commit
 * has yet to tell. */
struct store_event {
	struct event_row row;
	uint64_t processed_us;
};
typedef void store_events_cb(
	void *arg, const struct err *err, const struct store_event *ev, size_t n, bool more);
/* A page of a session's rows; `more`: others match beyond it. NOT_FOUND. */
void store_events(struct store *s, const struct store_read *q, store_events_cb *cb, void *arg);

struct store_session_query {
	struct str agent_id;
	uint32_t agent_version;
	struct str deployment_id;
	unsigned statuses; /* bit mask over enum turn_status; 0: all */
	bool include_archived;
	uint64_t created_gt, created_gte, created_lt, created_lte;
	bool ascending;
	/* keyset cursor: position (created_us, internal key) exclusive; has_cursor false: from the start.
	 * backwards: the page before the position */
	bool has_cursor, backwards;
	uint64_t cursor_us, cursor_key;
	size_t limit;
};
struct store_session_row {
	struct id id;
	uint64_t created_us, key; /* its cursor position */
	struct str snapshot;      /* newest snapshot, may be older than the log */
	uint32_t snapshot_seq, last_seq;
};
/* Rows in list order even when backwards; `before` / `after`: there are more on that side. */
typedef void store_sessions_cb(void *arg, const struct err *err, const struct store_session_row *rows,
	size_t n, bool before, bool after);
/* At most LIM_PAGE_MAX rows (`limit` 0: that many). */
void store_sessions(struct store *s, const struct store_session_query *q, store_sessions_cb *cb, void *arg);

/* ---- API objects: one JSON document each, with versions where the kind has them ---- */

enum doc_kind { DOC_AGENT = 1, DOC_ENVIRONMENT = 2, DOC_FILE = 3, DOC_KEY = 4, DOC_SETTING = 5 };

struct store_doc {
	enum doc_kind kind;
	struct str id;
	uint32_t version; /* from 1 */
	uint64_t created_us, updated_us, archived_us;
	struct str unique; /* unique among live documents of the kind, or empty: environment name, key hash */
	struct str parent; /* files: scope session id, or empty */
	struct str body;   /* JSON */
};

/* Inserts version 1. CONFLICT on id or unique key. */
void store_doc_create(struct store *s, const struct store_doc *d, store_write_cb *cb, void *arg);

/* Replaces the document when its version is `expect_version` (0: any): CONFLICT otherwise, NOT_FOUND when
 * absent. With keep_history the old version stays readable and version becomes +1; else version stays.
 * created_us is kept. */
void store_doc_update(struct store *s, const struct store_doc *d, uint32_t expect_version, bool keep_history,
	store_write_cb *cb, void *arg);

/* Deletes document and history. `unless_referenced`: CONFLICT while a session's index names it as agent or
 * environment. */
void store_doc_delete(struct store *s, enum doc_kind kind, struct str id, bool unless_referenced,
	store_write_cb *cb, void *arg);

typedef void store_doc_cb(void *arg, const struct err *err, const struct store_doc *d);
/* version 0: the newest. */
void store_doc_get(
	struct store *s, enum doc_kind kind, struct str id, uint32_t version, store_doc_cb *cb, void *arg);
/* By unique key, among live (not archived) documents. */
void store_doc_find(struct store *s, enum doc_kind kind, struct str unique, store_doc_cb *cb, void *arg);

struct store_doc_query {
	enum doc_kind kind;
	bool include_archived;
	uint64_t created_gte, created_lte;
	struct str parent; /* exact, when has_parent */
	bool has_parent;
	const struct str *ids; /* restrict to these (<= 100), or NULL */
	size_t n_ids;
	struct str versions_of; /* list the versions of this document, newest first, instead */
	bool has_cursor;
	uint64_t cursor_us, cursor_key; /* exclusive position: newest first */
	size_t limit;
};
struct store_doc_row {
	struct store_doc doc;
	uint64_t key; /* cursor position together with created_us (versions: version number) */
};
typedef void store_docs_cb(
	void *arg, const struct err *err, const struct store_doc_row *rows, size_t n, bool more);
/* A page of documents, newest first, at most 10,000 (`limit` 0: LIM_PAGE_MAX) and ending early when it grows
 * to many bytes. NOT_FOUND for versions_of; INVALID over 100 ids. */
void store_docs(struct store *s, const struct store_doc_query *q, store_docs_cb *cb, void *arg);

/* ---- blobs: file contents under <dir>/files ---- */

struct store_blob;
typedef void store_done_cb(void *arg, const struct err *err);

/* Starts writing the content of file `id` (a temporary file until it is finished). Blocking create, quick. */
int store_blob_new(struct store *s, struct str id, struct store_blob **out, struct err *e);
/* Appends; into the page cache. ERR_IO (ENOSPC is ERR_IO with os set). */
int store_blob_write(struct store_blob *b, struct str bytes, struct err *e);
/* Copies a whole descriptor (borrowed until the callback) into the blob on a helper thread, at most `max`
 * bytes. */
void store_blob_copy(struct store_blob *b, int fd, uint64_t max, store_done_cb *cb, void *arg);
uint64_t store_blob_size(const struct store_blob *b);
/* Makes it durable (fsync on a helper thread) under its final name; frees b. */
void store_blob_finish(struct store_blob *b, store_done_cb *cb, void *arg);
/* Throws it away; frees b. NULL is fine. During a copy: the copy's callback does not come any more. */
void store_blob_abort(struct store_blob *b);
/* Opens the content for reading. NOT_FOUND. */
int store_blob_open(struct store *s, struct str id, int *fd, uint64_t *size, struct err *e);
/* Gives the content of `from` a second name (a hard link); both live on their own. ERR_NOT_FOUND, ERR_IO. */
int store_blob_link(struct store *s, struct str from, struct str to, struct err *e);

/* Removes the content (missing is fine). */
void store_blob_remove(struct store *s, struct str id);

/* ---- figures for doctor and tests ---- */
struct store_stats {
	uint64_t commits, appends, rows;
	uint64_t queue_depth;
};
/* Counted on the loop's thread as callbacks are made; queue_depth: calls that were not answered yet. */
void store_stats(const struct store *s, struct store_stats *out);
