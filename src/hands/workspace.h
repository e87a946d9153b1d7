/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A workspace: everything that one session wrote, in one directory of its own. With loop devices it is one
 * sparse file, disk.ext4, whose size is the session's disk limit; without, a plain directory `tree`,
 * unlimited. Mounted, it shows:
 *
 *   upper/ work/     the writable side of the overlay over the image
 *   workspace/       GUEST_WORKDIR
 *   session/         /mnt/session with outputs/ and tool_results/
 *   uploads/         GUEST_UPLOADS, read-only inside
 *
 * All functions block; they run in jobs. Mounts appear in the caller's mount namespace.
 */
#pragma once

#include "hands/config.h"

/* True when a file system in a file can be mounted here: tries it, with the template of `disk` bytes, at a
 * directory below `scratch`. */
bool workspace_can_limit(const char *templates_dir, const char *scratch, uint64_t disk, struct err *e);

/* Inside: the library that is preloaded where runsc has the statx quirk. */
#define WORKSPACE_PRELOAD "/run/pinfold/compat.so"

struct workspace_opts {
	const char *templates_dir;
	uint64_t disk; /* bytes */
	bool limited;  /* as a file of that size; else a plain directory */
	bool preload;  /* with WORKSPACE_PRELOAD in its /etc/ld.so.preload */
};

/* Makes the directory `dir` with an empty workspace, which is there as a whole or not at all. ERR_IO,
 * ERR_UNAVAILABLE. */
int workspace_create(const struct workspace_opts *o, const char *dir, struct err *e);

/* True when there is a workspace at `dir`. */
bool workspace_exists(const char *dir);

/* Mounts the workspace of `dir` at the directory `at` (made when missing). */
int workspace_mount(const char *dir, const char *at, struct err *e);

/* Overlays the image (below an optional layer, NULL: none) with the upper of the workspace mounted at `at`;
 * the result is at `rootfs` (made when missing). */
int workspace_overlay(
	const char *at, const char *image, const char *layer, const char *rootfs, struct err *e);

/* Unmounts what is at `path`, lazily when it is busy. 0 when nothing is mounted there. */
int workspace_unmount(const char *path, struct err *e);
