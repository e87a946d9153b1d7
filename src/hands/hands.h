/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The role `hands`: makes, warms, watches and removes sandboxes through an OCI runtime (runsc), and relays
 * tool calls between control (io/calls.h) and the guest of each sandbox (base/guest_call.h). Root, one
 * thread, no network, no store, no secret of anybody.
 *
 * Its configuration slice (LEASH_CONFIG) is one JSON object; unknown members are ignored, so that one slice
 * may serve several builds:
 *
 *   data_dir       directory of its own below the data directory: sessions/, pool/, templates/, images/,
 * layers/, platform.json. Required run_dir        directory of its own for what dies with supervise:
 * sb/<sandbox>/, bin/. Required. Both at most 200 bytes, absolute guest_binary   path of the static guest
 * binary. Required runsc          path of the OCI runtime ("/usr/bin/runsc") platform       "auto" (probe:
 * kvm, systrap, ptrace) or a runsc platform name ("auto") image_dir      unpacked root filesystem of the
 * default image, or an image directory made by image_build (<data_dir>/images/default) images_dir     where
 * other images are found by name (<data_dir>/images) layers_dir     where environment layers are found by
 * name (<data_dir>/layers) pool_size      warm sandboxes kept ready, 0..64 (1) idle_ms        an idle sandbox
 * is reaped after this time (LIM_SANDBOX_IDLE_MS) limits         object: memory, disk (bytes), pids,
 * cpu_milli, wall_ms (LIM_SANDBOX_*; cpu_milli 0: no limit). Defaults of a claim require_limits true: refuse
 * to start sandboxes when memory, pids or disk cannot be limited (false) cgroup_parent  cgroup below which
 * sandboxes get theirs ("" : "pinfold-<hash of run_dir>" at the top of each hierarchy) pod_init_config  path
 * given to runsc as --pod-init-config, for a runtime monitor ("" : not passed)
 *
 * Peers: "control" (any later connection of that name replaces the former).
 */
#pragma once

#include "base/json.h"
#include "io/loop.h"

/* The role's main: leash handshake, confinement, loop. Returns the exit code. */
int hands_main(void);

/* ---- the parts of hands_main, for drivers and tests that run the role on a socket pair ---- */

struct hands;

/* Reads the configuration, recovers what a former hands left, starts the probe and the pool. ERR_INVALID for
 * the configuration, ERR_IO. */
int hands_new(struct hands **out, struct loop *l, const struct json_t *config, struct err *e);
/* Talks to control over `fd` (taken) from now on. */
int hands_set_control(struct hands *h, int fd, struct err *e);
/* Stops every sandbox and removes its mounts; workspaces stay. Calls `done(arg)` once when nothing is left.
 */
void hands_stop(struct hands *h, void (*done)(void *arg), void *arg);
/* Frees the object. Sandboxes that still run are left as they are, for the next hands to find. NULL is fine.
 */
void hands_free(struct hands *h);
DEFINE_AUTO(hands, struct hands *, hands_free, NULL);
