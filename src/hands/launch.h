/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Making and removing what a sandbox consists of on the host: workspace mounts, cgroup, bundle, the runsc
 * process. Blocking; runs in jobs. A sandbox's directory, <run_dir>/sb/<id>:
 *
 *   state.json            (sandbox.c)
 *   pinfold/              mounted read-only at /run/pinfold: hands.sock, guest, compat.so, results (mount
 * point) ws/                   the workspace, mounted rootfs/               the overlay config.json pid
 * runsc/ runsc.log
 */
#pragma once

#include "hands/env.h"
#include "hands/step.h"

struct launch_file {
	struct str path; /* as placed below the root; PLACE_ROOT only */
	uint64_t size;
	int fd;
};

struct launch {
	const struct hands_env *env;
	const char *id;
	const char *image, *layer;
	struct limits limits;
	const char *workspace; /* directory of the workspace; made when it holds none */
	const struct launch_file *files;
	size_t n_files;
	int words; /* descriptor for stdout and stderr; -1: none */
};

/* What a start gives; travels in job_reply.data. */
struct launch_result {
	int pid;
	uint64_t pid_start;
	uint32_t workspace_us, mount_us, runsc_us;
};

/* Starts the sandbox; its channel listens already. On failure *step names where; the caller removes the
 * remains with launch_stop. */
int launch_start(const struct launch *l, enum hands_step *step, struct launch_result *out, struct err *e);

struct launch_stop {
	const struct hands_env *env;
	const char *id;
	int pid; /* 0: unknown */
	uint64_t pid_start;
	const char *remove; /* a directory to delete afterwards (workspace of a pool sandbox or a destroyed
			       session), or NULL */
};

/* Limits that the sandbox met. */
struct launch_hits {
	bool memory; /* the kernel killed in it */
	bool pids;   /* the kernel refused it a process or thread */
};

/* Kills everything, unmounts, removes cgroup and directory. Errors are about what is left behind. */
int launch_stop(const struct launch_stop *s, struct launch_hits *hits, struct err *e);
