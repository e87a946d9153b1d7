/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Who runs as whom. Three identities share the sandbox:
 *   guest    GUEST_UID, with the capabilities that the container was given; never root, so that files, pipes
 * and the socket directory of the guest belong to nobody a tool can become; helpers  HELPER_UID with
 * CAP_DAC_READ_SEARCH and nothing else: children that search for the guest; tools    root, but of a user
 * namespace that maps only 0..65535: bash and what it starts. They own the files of the sandbox as users
 * expect, and have no power over the guest's processes or files. Outside a sandbox (tests, or no privilege)
 * everything runs as the caller and only the limits apply.
 */
#pragma once

#include <sys/types.h>

#include "base/err.h"

#define GUEST_UID  100000
#define HELPER_UID 100001
#define TOOL_IDS   65536 /* ids that exist for tools: 0 .. TOOL_IDS-1 */

/* Per tool process; 0 means unlimited. */
struct spawn_limits {
	uint64_t procs;
	uint64_t memory_bytes;
	uint64_t file_bytes;
};

struct spawn {
	const char *path;
	const char *const *argv;
	const char *cwd;
	int in;  /* becomes 0; -1: /dev/null */
	int out; /* becomes 1 */
	int err; /* becomes 2; -1: the same as `out` */
	struct {
		int fd, as;
	} extra[2];      /* more descriptors; as 0: none */
	const char *env; /* one more variable, or NULL */
	bool isolate;    /* in a user namespace, filtered; needs the identity of the guest */
	struct spawn_limits limits;
};

/* Turns root into the guest's identity, for good: ids, capabilities, not dumpable, no core files. ERR_IO. */
int spawn_become_guest(struct err *e);

/* In a child of the guest, before it searches: the helper's identity and ceilings on memory and CPU time.
 * Exits when that fails. `lower` false: ceilings only. */
void spawn_become_helper(bool lower);

/* Starts a program in a session and process group of its own. The pid, or a negative errno. A failure of exec
 * shows as exit status 127 with a line on `out`. */
pid_t spawn_tool(const struct spawn *s);

/* A pipe for a tool's output, close-on-exec, which root's programs may also open by name (/dev/stderr). 0 or
 * -errno. */
int spawn_pipe(int fds[2], size_t size, bool isolate);
