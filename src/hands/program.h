/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Runs another program and waits for it, with a time limit. Blocking: called from jobs and from the CLI's
 * image builder only. The environment is what the caller gives, else just a PATH. The program dies with its
 * parent.
 */
#pragma once

#include "base/err.h"
#include "base/str.h"

struct program {
	const char *const *argv; /* NULL-terminated; [0] is a path, or a name looked up in the system's PATH
				    directories */
	const char *const *env;  /* NULL: only PATH */
	int out, err;            /* its stdout and stderr; -1: /dev/null */
	const int *entries;      /* cgroup.procs descriptors it enters before it is executed */
	int n_entries;
	uint64_t timeout_ms; /* 0: none */
	/* In mount and PID namespaces of its own: whatever it mounts and starts is gone when it ends, or when
	 * its caller dies. */
	bool isolated;
	/* With `line`: stdout and stderr are read through a pipe and given line by line (out and err must be
	 * -1). */
	void (*line)(void *arg, struct str line);
	void *arg;
};

/* waitpid's status in *status. ERR_TIMEOUT after killing it, ERR_UNAVAILABLE when it cannot be executed or
 * cannot enter its cgroup, ERR_IO. */
int program_run(const struct program *p, int *status, struct err *e);

/* The same, and any status but 0 is ERR_UNAVAILABLE. */
int program_must(const struct program *p, struct err *e);
