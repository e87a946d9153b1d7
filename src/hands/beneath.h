/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Files below a directory whose content somebody else controls. Every path is resolved by the kernel with
 * openat2 and never by comparing strings: BENEATH refuses what would leave the directory and every symbolic
 * link; IN_ROOT follows links as a process whose root this directory is would. Both refuse magic links.
 */
#pragma once

#include <sys/types.h>

#include "base/err.h"
#include "base/str.h"

enum beneath_mode {
	BENEATH_STRICT,  /* no symbolic link, no other file system, nothing outside */
	BENEATH_IN_ROOT, /* links resolve with `dirfd` as the root */
};

/* openat2 of a relative path ("." is the directory itself); O_CLOEXEC is added. Returns the descriptor, or
 * -ERR_NOT_FOUND, -ERR_FORBIDDEN (leaves the directory or meets a link), -ERR_IO. */
int beneath_open(int dirfd, const char *path, int flags, enum beneath_mode mode, struct err *e);

/* Makes the missing directories of `path` (mode 0755) and returns a descriptor of the last one, or -kind. ""
 * opens `dirfd` again. */
int beneath_mkdirs(int dirfd, struct str path, enum beneath_mode mode, struct err *e);

/* Removes `name` in `dirfd` with all below it, whatever its depth; never follows a link, never crosses into
 * another file system. Success when it does not exist. */
int beneath_remove(int dirfd, const char *name, struct err *e);

/* Writes a whole file by a temporary name and rename; mode 0600. */
int beneath_write(int dirfd, const char *name, struct str content, struct err *e);

/* The content of a file of at most `max` bytes, with a NUL behind it, and its length in *n. malloc'ed: the
 * caller frees. NULL: ERR_NOT_FOUND, ERR_TOO_LARGE, ERR_IO, ERR_NO_MEMORY. */
char *beneath_read(int dirfd, const char *name, size_t max, size_t *n, struct err *e);

/* mkdir -p of an absolute path that only root controls. Mode applies to what is made. */
int beneath_make_dir(const char *path, mode_t mode, struct err *e);
