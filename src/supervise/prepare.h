/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What must exist before the first role starts: the data directory with its lock, the sockets, and (in the
 * inner process) the mounts.
 */
#pragma once

#include <limits.h>

#include "supervise/supervise.h"

#define PREPARE_RUN "/run/pinfold"

struct prepared {
	char data_dir[PATH_MAX]; /* absolute, no links */
	char listen_url[128];
	char puppet_url[64];
	int lock;   /* every role holds it as its descriptor 0, so that it is free only when the last one is
		       dead */
	int api;    /* listening */
	int puppet; /* listening, or -1 */
};

/* Fills `p` (zeroed by the callee). Errors as supervise_run. */
int prepare(const struct supervise_opts *o, struct prepared *p, struct err *e);
void prepare_done(struct prepared *p);

/* In the new namespaces: makes mounts private, mounts /proc, and PREPARE_RUN with "control" (bound) and
 * "run". ERR_IO. */
int prepare_mounts(const struct prepared *p, struct err *e);

/* Writes / removes <data>/listen, which tells other commands the address. */
int prepare_publish(const struct prepared *p, struct err *e);
void prepare_unpublish(const struct prepared *p);
