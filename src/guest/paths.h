/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where the file tools may go. A path is resolved before it is checked: component by component from the root
 * directory, links read and expanded by us, never followed by the kernel; what comes out is a directory
 * descriptor and the name below it, and the tools work with these two, so that a link planted later is not
 * followed either.
 */
#pragma once

#include <sys/stat.h>

#include "base/limits.h"
#include "guest/reply.h"

#define ROOTS_MAX 8

/* Absolute paths, borrowed; NULL-terminated lists. */
struct roots {
	const char *workdir;
	const char *allowed[ROOTS_MAX + 1];  /* besides workdir */
	const char *readonly[ROOTS_MAX + 1]; /* a part of those: write and edit refuse */
};

struct place {
	int dir;             /* O_PATH descriptor of the deepest existing directory above the path; owned */
	char real[LIM_PATH]; /* the canonical absolute path */
	const char *name; /* in `real`: what is below `dir`. "" for "/", several components when parents are
			     missing */
	bool exists;      /* `name` is one component and exists */
	struct stat st;   /* of it, when it exists */
};

/* A place that holds nothing; place_done may be called on it. */
void place_init(struct place *p);
void place_done(struct place *p);
DEFINE_AUTO_DONE(place, struct place, place_done);

/* Joins and collapses ".", ".." and empty components as text. `base` is absolute, `p` relative to it or
 * absolute. False when the result is LIM_PATH or longer. *escaped (may be NULL): ".." left `base`. */
bool path_join(const char *base, struct str p, char out[LIM_PATH], bool *escaped);

/* True when `path` is `root` or below it; both absolute and canonical. */
bool path_within(const char *root, const char *path);

/* Canonicalises an absolute, collapsed path. Components that do not exist are kept literally. 0 or an errno
 * (ELOOP after LIM_PATH_LINKS links, ENAMETOOLONG, ...). */
int path_walk(const char *abs, struct place *out);

/* Canonical text of a directory such as the working directory; as given when it cannot be resolved. */
void path_canonical(const char *abs, char out[LIM_PATH]);

/* Resolves what a tool was given and confines it to the roots. -1 with the contract's error text in `r`. */
int place_find(const struct roots *roots, struct str given, struct place *out, struct reply *r);

/* The read-only root (as configured) that holds the canonical path, or NULL. */
const char *place_readonly(const struct roots *roots, const struct place *p);
