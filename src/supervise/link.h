/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Connections between roles. Every start of either end makes a fresh socket pair; the end of a role that is
 * not up yet is kept until it starts.
 */
#pragma once

#include "base/err.h"

#define LINKS 2

struct link_end {
	const char *role;
	int kept; /* waits for this role's start, or -1 */
};

struct link {
	struct link_end a, b;
	uint64_t number; /* of the current pair; grows */
};

/* The links of the house: control with gate, control with hands. */
void links_init(struct link links[LINKS]);
void links_done(struct link links[LINKS]);

/* The end opposite to `role`, or NULL when the link does not touch it; *own is the role's end. */
struct link_end *link_other(struct link *k, const char *role, struct link_end **own);

/* A role starts: *mine is its descriptor. *theirs is the new end for the other side, or -1 when the pair was
 * made by the other side while this role was away. Both are the caller's. ERR_IO. */
int link_start(struct link *k, struct link_end *own, int *mine, int *theirs, struct err *e);

/* The role died: what its start left for the other side is worthless. */
void link_drop(struct link_end *other);
