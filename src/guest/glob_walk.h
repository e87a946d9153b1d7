/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Applies a glob to a tree, in the order of the reference's Node: depth first, the last subdirectory first,
 * entries by name.
 * `**` does not follow links and does not enter directories whose name begins with a dot; `.git` and
 * `node_modules` are never entered. Runs in a child; memory is released by its end.
 */
#pragma once

#include "guest/glob.h"

/* What was found. `path` is relative to the root. */
struct glob_hit {
	struct str path;
	bool file;     /* a regular file */
	bool via_link; /* a directory on the way was reached through a link */
};

/* Calls `fn` for each match until it returns false. ERR_NO_MEMORY, or 0. */
int glob_walk(const struct glob *g, const char *root, bool (*fn)(void *arg, const struct glob_hit *hit),
	void *arg, struct err *e);
