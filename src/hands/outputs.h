/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Finds new and changed files below a session's outputs directory, whose content the sandbox controls while
 * it is read: directories and files are opened beneath a descriptor without following links, only regular
 * files count, and files, depth and entries are bounded. What was reported is kept with the session, so that
 * a later sandbox or hands does not report it again.
 */
#pragma once

#include "base/err.h"
#include "base/str.h"

struct outputs;

struct outputs_file {
	struct str path; /* relative to the outputs directory, UTF-8; borrowed */
	uint64_t size;
	uint64_t mtime_us;
};

/* Loads what was reported before from `dir`/outputs.json (kept there as well). NULL when out of memory. */
struct outputs *outputs_new(const char *dir);
void outputs_free(struct outputs *o);

/* At most so many files are told in one scan from now on (0: all, as at first): each costs the receiver
 * descriptors until it has copied it. */
void outputs_pace(struct outputs *o, size_t files);

/* Who is told; takes the read-only descriptor. */
struct outputs_sink {
	void (*on_file)(void *arg, const struct outputs_file *f, int fd);
	void *arg;
};

/*
 * One scan of the directory `path`. Tells `to` about each regular
 * file that is new or differs from what was reported. Unless `settled` a file must look the same in two scans
 * in a row first: it may be written still. 1 when the pace held files back. ERR_NOT_FOUND when there is no
 * such directory; other failures skip the entry.
 */
int outputs_scan(
	struct outputs *o, const char *path, bool settled, const struct outputs_sink *to, struct err *e);
