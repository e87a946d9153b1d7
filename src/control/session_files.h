/* SPDX-License-Identifier: Apache-2.0 */
/*
 * File resources of a session: the session gets its own copy of an uploaded file under a new id; its content
 * is shared with the upload (a hard link), so that a copy costs nothing and outlives the upload.
 */
#pragma once

#include "control/api.h"

/* The path inside the sandbox of a file resource: below the uploads folder unless it names /workspace or that
 * folder itself. ERR_INVALID. */
int session_file_path(
	struct arena *a, const struct json_at *at, struct str file_id, struct str *out, struct err *e);

struct session_file {
	struct str source;     /* file id asked for */
	struct str mount_path; /* resolved */
	struct session_resource made;
};

/* Copies `n` files for the session, one after another; `done` gets the first failure. Names the resource by
 * index in the error. On failure the copies made are removed. */
struct session_files {
	struct call *k;
	struct id session;
	struct session_file *files;
	size_t n, at;
	bool single; /* the error path is "file_id" rather than "resources.N.file_id" */
	void (*done)(struct call *k, const struct err *err);
};
/* Starts; `f` must live until `done`. */
void session_files_copy(struct session_files *f);
/* Removes the copies made so far. */
void session_files_undo(struct session_files *f);

/* Checks that all `n` file ids exist (they may be mounted or shown to the model); `done` gets the first
 * failure. The array lives in the call's arena. */
void session_files_exist(
	struct call *k, const struct str *ids, size_t n, void (*done)(struct call *k, const struct err *err));

/* Removes all copies and outputs of a session that was deleted. */
void session_files_purge(struct control *c, struct str session);
