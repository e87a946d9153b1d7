/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The inner process: starts the roles, hands them what they need over their leashes, restarts what dies, and
 * stops all in order. Runs on its own loop as PID 1 of the roles' namespace.
 */
#pragma once

#include "supervise/prepare.h"

/* Runs until stopped; returns the exit code. `outer` is a pipe whose end means that the outer process is
 * gone. */
int roster_run(const struct supervise_opts *o, const struct prepared *p, int outer);
