/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the resource files of control share: the role's state, one request (`call`), the route table, paging
 * and replies.
 *
 * A handler gets a call whose key and beta header were checked. It answers exactly once, now or from a store
 * or brain callback: call_reply, call_fail or a stream. Everything in a call lives in the request's arena and
 * is gone after the answer.
 */
#pragma once

#include "base/json.h"
#include "brain/brain.h"
#include "io/server.h"
#include "store/store.h"

#define BETA_AGENTS "managed-agents-2026-04-01"

struct api_model {
	struct str id, display_name;
	int64_t max_input_tokens, max_tokens; /* 0: unknown */
};

struct control {
	struct loop *loop;
	struct store *store;
	struct brain *brain;
	struct server *server;
	struct auth *auth;
	struct streams *streams;
	struct json_t *config;
	struct str data_dir;
	struct api_model *models;
	size_t n_models;
	struct brain_model *patterns;
	size_t n_patterns;
	uint64_t started_us;
};

#define CALL_PARAMS 3

struct call {
	struct control *c;
	struct server_req *r;
	struct arena *a;
	const struct route *route;
	struct str params[CALL_PARAMS]; /* path parameters, in order */
	struct id key;                  /* id of the API key used */
	bool admin;
	struct json_t *body; /* parsed by call_body; freed at the end of the call */
	struct buf out;      /* the answer under construction */
	void *state;         /* the handler's own, in the arena */
};

struct route {
	const char *method;
	const char *path; /* "/v1/sessions/{}/events": {} is a parameter */
	const char *beta; /* required anthropic-beta value, or NULL */
	void (*handle)(struct call *k);
	/* Optional: called when the head is there, to take the body in pieces. */
	void (*head)(struct call *k);
	bool admin;
};

/* ---- routes.c ---- */

/* The handlers of the server. */
void routes_on_head(void *owner, struct server_req *r);
void routes_on_request(void *owner, struct server_req *r);
/* The API's error JSON. */
void routes_error_body(void *owner, struct buf *out, const struct err *e, struct str request_id);

/* ---- call.c ---- */

/* The parsed JSON body (an empty one is {}); answers 400 and returns NULL when it is no JSON object. */
const struct json_t *call_body(struct call *k);
/* A writer on k->out. */
struct json_w call_json(struct call *k);
/* Sends k->out as 200, or an error when it overflowed. Ends the call. */
void call_reply(struct call *k);
/* Sends an error. Ends the call. */
void call_fail(struct call *k, const struct err *e);
/* Frees what is not in the arena, before the call's request is handed over to a stream or file reply. */
void call_release(struct call *k);
/* call_fail with NOT_FOUND "<what> not found: <id>". */
void call_not_found(struct call *k, const char *what, struct str id);
/* call_fail; NOT_FOUND names the object of the path: "<what> not found: <first parameter>". */
void call_fail_missing(struct call *k, const struct err *e, const char *what);
/* Answers {"id": …, "type": …}: what was deleted. Ends the call. */
void call_reply_deleted(struct call *k, struct str id, const char *type);
/* The value of a query parameter (first one), or STR_NULL. `name[]` also matches `name`. */
struct str call_query(const struct call *k, const char *name);
/* Value number `i` of a repeated parameter; false past the end. */
bool call_query_all(const struct call *k, const char *name, size_t i, struct str *value);
/* Fails on query parameters not in `allowed` (NULL-terminated, without []); "beta" is always allowed.
 * ERR_INVALID */
int call_query_closed(const struct call *k, const char *const allowed[], struct err *e);
/* limit with default and maximum; ERR_INVALID. */
int call_limit(const struct call *k, size_t dflt, size_t max, size_t *out, struct err *e);
/* true/false parameter; absent leaves *out. ERR_INVALID. */
int call_query_bool(const struct call *k, const char *name, bool *out, struct err *e);
/* RFC 3339 parameter; absent leaves *out. ERR_INVALID. */
int call_query_time(const struct call *k, const char *name, uint64_t *out, struct err *e);
/* True when the anthropic-beta header names `value`. */
bool call_has_beta(const struct call *k, const char *value);

/* ---- page.c: opaque cursors ---- */

struct page_cursor {
	bool set;
	uint8_t kind; /* of list: a cursor of another list is refused */
	uint8_t ascending;
	uint8_t backwards;
	uint64_t us, key;
};
#define PAGE_TEXT_MAX 64
/* "page_…" */
void page_format(const struct page_cursor *c, char out[PAGE_TEXT_MAX]);
/* The member next_page: the cursor, or null when there is no more. */
void page_next(struct json_w *w, bool more, const struct page_cursor *at);
/* From its text (empty: not set). ERR_INVALID: no cursor, or one of another kind of list. */
int page_read(struct str text, uint8_t kind, struct page_cursor *out, struct err *e);
/* The same from the `page` parameter. */
int page_parse(const struct call *k, uint8_t kind, struct page_cursor *out, struct err *e);

enum {
	PAGE_AGENTS = 1,
	PAGE_VERSIONS,
	PAGE_ENVIRONMENTS,
	PAGE_SESSIONS,
	PAGE_FILES,
	PAGE_EVENTS,
	PAGE_KEYS,
	PAGE_RESOURCES
};

/* ---- doc_list.c: pages of documents ---- */

/* In the call's arena. The caller fills q and `at` (page_parse) and says how one document is written. */
struct doc_list {
	struct call *k;
	struct store_doc_query q;
	struct page_cursor at;
	/* Writes the document, or nothing. <0 fails the call. */
	int (*put)(const struct call *k, const struct store_doc *d, struct json_w *w, struct err *e);
	/* The members behind `data`; NULL: next_page. */
	void (*put_tail)(struct json_w *w, const struct store_doc_row *rows, size_t n, bool more);
};
/* Reads the page and answers. */
void doc_list_reply(struct call *k, struct doc_list *l);

/* ---- handlers, one file per resource ---- */

/* /v1/agents */
void agents_create(struct call *k);
void agents_list(struct call *k);
void agents_get(struct call *k);
void agents_update(struct call *k);
void agents_archive(struct call *k);
void agents_versions(struct call *k);

/* /v1/environments */
void environments_create(struct call *k);
void environments_list(struct call *k);
void environments_get(struct call *k);
void environments_update(struct call *k);
void environments_delete(struct call *k);
void environments_archive(struct call *k);

/* /v1/sessions */
void sessions_create(struct call *k);
void sessions_list(struct call *k);
void sessions_get(struct call *k);
void sessions_update(struct call *k);
void sessions_delete(struct call *k);
void sessions_archive(struct call *k);

/* /v1/sessions/{}/events */
void events_send(struct call *k);
void events_list(struct call *k);
void events_stream(struct call *k);

/* /v1/sessions/{}/threads */
void threads_list(struct call *k);
void threads_get(struct call *k);
void threads_archive(struct call *k);
void threads_events(struct call *k);
void threads_stream(struct call *k);

/* /v1/sessions/{}/resources */
void resources_list(struct call *k);
void resources_get(struct call *k);
void resources_add(struct call *k);
void resources_update(struct call *k);
void resources_delete(struct call *k);

/* /v1/files */
void files_upload_head(struct call *k);
void files_upload(struct call *k);
void files_list(struct call *k);
void files_get(struct call *k);
void files_content(struct call *k);
void files_delete(struct call *k);
/* Brain's report of an output file. */
void files_register_output(
	void *owner, struct str session_id, struct str path, struct id file_id, uint64_t size);

/* /v1/models */
void models_list(struct call *k);
void models_get(struct call *k);

/* /v1/pinfold/keys */
void keys_create(struct call *k);
void keys_list(struct call *k);
void keys_revoke(struct call *k);

/* /v1/pinfold: for operators */
void status_get(struct call *k);
void sandboxes_list(struct call *k);
