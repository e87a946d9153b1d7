/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Makes this process the reaper of everything that runsc leaves behind (a detached sandbox and its helpers
 * become children of the nearest sub-reaper), so that the exit status of a sandbox is known from waitpid, and
 * reaps what nobody waits for.
 */
#pragma once

#include "io/loop.h"

struct reaper;

/* ERR_NO_MEMORY, ERR_IO. */
int reaper_new(struct reaper **out, struct loop *l, struct err *e);
void reaper_free(struct reaper *r);
/* From now on somebody else waits for `pid` (with loop_child); reaper_drop when that is over. */
int reaper_keep(struct reaper *r, int pid, struct err *e);
void reaper_drop(struct reaper *r, int pid);
