/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The tools read, write and edit. They run inside the guest's own process, because they touch only regular
 * files of bounded size; the one exception is a line range of a file over the size limit, which may mean
 * reading gigabytes and therefore is left to a child (job.h).
 */
#pragma once

#include "guest/job.h"
#include "guest/paths.h"

/* What the file tools work on. */
struct files {
	const struct roots *roots;
	bool give_away; /* new files and directories are given to root, because the guest itself is not root
			 */
};

/* Runs the tool on its input. read_tool returns true when the range must be read by files_read_range instead.
 */
bool read_tool(const struct files *f, const struct json_t *in, struct reply *r);
void write_tool(const struct files *f, const struct json_t *in, struct reply *r);
void edit_tool(const struct files *f, const struct json_t *in, struct reply *r);

/* The long way of read: runs in a child, writes text or error to `out`. */
void files_read_range(const struct files *f, const struct json_t *in, struct job_out *out);

/* Writes `text` to the absolute path, making parents, whatever the roots. 0 or an errno. */
int files_store(const struct files *f, const char *path, struct str text);

/* Writes `text` to `dir`/`name` by way of a temporary file, fsync and rename; an existing file keeps its
 * mode, a new one gets 0600. 0 or an errno. */
int files_replace(int dir, const char *name, struct str text, const struct stat *old, bool give_away);
