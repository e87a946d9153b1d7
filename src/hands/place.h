/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Puts a file that control passed by descriptor where the sandbox will see it. The sandbox may run meanwhile:
 * what is below the uploads and the work directory is a shared mount, whose new files it notices; any other
 * place is part of the cached root and can only be filled before the sandbox starts.
 */
#pragma once

#include "base/err.h"
#include "base/str.h"

enum place_where {
	PLACE_UPLOADS, /* below GUEST_UPLOADS: read-only inside */
	PLACE_WORK,    /* below GUEST_WORKDIR */
	PLACE_ROOT,    /* anywhere else: only before the start */
};

/* Checks a mount path (absolute, clean, UTF-8, a file name at the end, at most LIM_PATH bytes, not below what
 * the sandbox owns otherwise) and tells the place and the path relative to it (borrowed). ERR_INVALID. */
int place_route(struct str path, enum place_where *where, struct str *relative, struct err *e);

struct place_what {
	enum place_where where;
	struct str relative; /* borrowed */
	int fd;              /* regular file; its position does not matter */
	uint64_t size;
};

/* Copies exactly `size` bytes of `fd` to `relative` below the directory `root`, making directories as needed;
 * the file appears whole, by rename. ERR_INVALID when the descriptor holds less, ERR_FORBIDDEN when a link is
 * in the way, ERR_IO. */
int place_file(int root, const struct place_what *w, struct err *e);
