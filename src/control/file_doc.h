/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Files as documents: uploads, the sessions' own copies of them, and what sessions put into their outputs
 * folder.
 */
#pragma once

#include "control/api.h"

struct file_doc {
	struct id id;
	struct str filename, mime_type;
	uint64_t size;
	bool downloadable;
	uint64_t expires_us; /* 0: never */
	struct str session;  /* scope, or empty */
	struct str path;     /* relative path below the outputs folder, or empty */
	uint64_t created_us;
};

/* Reads a stored document; the strings borrow from *body, which the caller frees. ERR_CORRUPT. */
int file_doc_read(const struct store_doc *d, struct json_t **body, struct file_doc *out, struct err *e);
/* Stores it. */
void file_doc_store(struct store *s, const struct file_doc *f, store_write_cb *cb, void *arg);
/* The API object. `beta`: with scope. */
void file_doc_render(const struct file_doc *f, bool beta, struct json_w *w);
bool file_doc_expired(const struct file_doc *f, uint64_t now_us);

/* The name that is kept of an uploaded file: its last path component, "unnamed" when empty. ERR_INVALID on
 * forbidden characters and lengths. */
int file_name_clean(struct arena *a, struct str name, struct str *out, struct err *e);
/* By the name's ending; "application/octet-stream" otherwise. */
const char *file_mime_type(struct str filename);
