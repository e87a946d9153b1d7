/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Starting one role: this very binary again as `pinfold role NAME LEVEL`, with an empty environment, no
 * descriptor but stdin (the data directory's lock), stdout and stderr (both the operator's stderr) and the
 * leash.
 */
#pragma once

#include <sys/types.h>

#include "base/err.h"

struct spawn_opts {
	const char *role;
	const char *level; /* least log level: "debug", "info", "warn", "error" */
	int lock_fd;       /* becomes descriptor 0 */
};

/* *leash is supervise's end (owned by the caller). The role dies with the calling thread. ERR_IO,
 * ERR_NO_MEMORY. */
int spawn_role(const struct spawn_opts *o, pid_t *pid, int *leash, struct err *e);
