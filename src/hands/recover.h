/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The start of hands on a host where an earlier one ran. Live sandboxes are taken over (their guests dial
 * again); everything else of them is removed: directories, mounts, cgroups, processes, workspaces that no
 * session owns.
 */
#pragma once

#include "hands/role.h"

/* Takes over what lives. Call before anything is started. */
int recover_live(struct hands *h, struct err *e);

/* Removes what is left of the others. Blocking: a job, forked after recover_live. */
void recover_remains(const struct hands *h);
