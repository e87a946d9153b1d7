/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A session as the fold of its log: the turn machine of its primary thread plus what GET /v1/sessions/{id}
 * shows. Loading = decode the newest snapshot, if any, and fold the rows after it; a snapshot is a cache that
 * may be dropped at any time. Everything is owned by the struct.
 */
#pragma once

#include "base/buf.h"
#include "base/json.h"
#include "model/turn.h"

struct session_resource {
	struct id id;
	struct str json;       /* API form, owned */
	struct id file_id;     /* session's own copy; type file */
	struct str mount_path; /* absolute inside the sandbox, owned; type file */
	uint64_t size;
};

struct session_state {
	struct id id;
	struct id thread_id; /* primary */
	uint64_t created_us, updated_us, archived_us;
	struct str agent; /* resolved snapshot, JSON, owned */
	struct id environment_id;
	struct str environment; /* config at creation, JSON, owned */
	struct str title;       /* p == NULL: null; owned */
	struct str metadata;    /* JSON object, owned */
	struct str vault_ids;   /* JSON array, owned */
	struct str agent_id;    /* slices of nothing else: owned */
	uint32_t agent_version;
	struct str agent_name;  /* members of the snapshot, owned */
	struct str agent_model; /* model id */
	size_t n_resources;
	struct session_resource *resources;
	struct turn turn;
	uint32_t snapshot_seq; /* last_seq at which it was decoded or encoded */
	struct {
		uint64_t input, output, cache_read, cache_creation, web_searches;
	} usage;
	uint64_t active_us;        /* closed running intervals */
	uint64_t running_since_us; /* 0 when not running */
	bool started;              /* the first status change happened (thread stats are null before) */
	bool idled;                /* the first idle happened (thread usage is null before) */
};

/* An empty state, and its end, after which it is empty again. */
void session_state_init(struct session_state *s);
void session_state_done(struct session_state *s);

/* Folds one row. ERR_CORRUPT, ERR_NO_MEMORY. After a failure the state is fit for session_state_done only. */
int session_fold(struct session_state *s, const struct event_row *row, struct err *e);
/* The part of it that touches only `turn` and plain numbers: for plans, which fold over a shallow copy whose
 * turn is a turn_copy. */
int session_fold_figures(struct session_state *s, const struct event_row *row, struct err *e);

/* Snapshot codec. Decoding checks a version; another version is ERR_CORRUPT (the caller then folds from the
 * start). */
void session_encode(const struct session_state *s, struct buf *out);
int session_decode(struct str in, struct session_state *out, struct err *e);

/* "idle" | "running" | "rescheduling" | "terminated". */
const char *session_status(const struct session_state *s);

/* The API objects. now_us closes a running interval for display. */
void session_render(const struct session_state *s, uint64_t now_us, struct json_w *w);
void session_render_thread(const struct session_state *s, uint64_t now_us, struct json_w *w);
/* `usage` and `stats` members alone, as in session.usage. */
void session_render_usage(const struct session_state *s, uint64_t now_us, struct json_w *w);

/* ---- creating and changing: body builders ---- */

/* What the API resolved for a new session; all borrowed. JSON members are complete values. */
struct session_new {
	struct id id, thread_id, environment_id;
	struct str agent;       /* resolved snapshot */
	struct str environment; /* config */
	struct str title;       /* p == NULL: null */
	struct str metadata, vault_ids;
	const struct session_resource *resources;
	size_t n_resources;
};
/* Appends the body of the CREATED row. */
void session_created_body(const struct session_new *n, struct buf *b);

/* What an update changed; members that stay are left out (has_x false). JSON members are complete values,
 * borrowed. */
struct session_change {
	bool has_title, has_metadata, has_agent;
	struct str title;    /* p == NULL: null */
	struct str metadata; /* the whole map after the update */
	struct str agent;    /* the whole snapshot */
};
/* The row of session.updated, its body in `a`. Check arena_check. */
struct arena;
void session_updated_row(
	const struct session_change *c, struct arena *a, uint64_t now_us, struct event_row *out);

/* The rows of a file resource that was added (its json is complete) or removed. */
void session_resource_added_row(
	const struct session_resource *r, struct arena *a, uint64_t now_us, struct event_row *out);
void session_resource_removed_row(
	struct str resource_id, struct arena *a, uint64_t now_us, struct event_row *out);
/* The resource of that id, or NULL. */
const struct session_resource *session_resource_by_id(const struct session_state *s, struct str id);
/* Writes the API form of a file resource. */
void session_resource_json(const struct session_resource *r, uint64_t created_us, struct json_w *w);
