/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Writing session logs: the jobs behind store_session_create, store_append, store_session_delete and
 * store_lease. Inside src/store only.
 */
#pragma once

#include "store/job.h"

/* Removes some rows of a deleted session, inside a transaction. 1: there may be more, 0: nothing left, <0:
 * failed. */
int log_purge(struct db *db, struct err *e);

/* Loop: a session's log changed in this commit; loads that began before must read again (log_read.c). */
void log_moved(struct store *s, struct str session_id, uint64_t commit);
