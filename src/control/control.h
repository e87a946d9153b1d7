/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The control role: HTTP API, event streams, the brain and the store in one process. Life: io/leash.h.
 * Configuration slice (JSON): data_dir (its own part of the data directory), models[] {id, display_name,
 * max_input_tokens, max_tokens}, providers[] {name, models[] patterns}, sandbox {image, memory, pids, disk,
 * cpu}, uid, gid. Inherits the listening socket "api" and peers "gate" and "hands".
 */
#pragma once

/* Runs the role until the leash ends; returns the process's exit code. */
int control_main(void);
