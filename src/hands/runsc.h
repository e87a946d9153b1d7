/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Drives the OCI runtime's command line. Blocking: called from jobs only. The environment of runsc is empty
 * but for PATH; its standard streams are what the caller gives.
 */
#pragma once

#include "hands/cgroup.h"

struct runsc {
	const char *path;
	const char *platform;
	const char *root;            /* runsc's state directory of this sandbox */
	const char *log;             /* its own log file, or NULL */
	const char *pod_init_config; /* slot for a trace configuration, or NULL */
};

struct runsc_run {
	const char *bundle;
	const char *id;
	const char *pid_file; /* detached: written before it returns; NULL: in the foreground */
	int out, err; /* descriptors for the sandbox's stdout and stderr; -1: /dev/null. runsc's own words go
			 there as well */
	const int *entries; /* cgroup entries (cgroup_open_entries) */
	int n_entries;
	uint64_t timeout_ms;
};

/* `runsc run`. Detached: 0 when the sandbox runs. In the foreground: 0 when it ended, its status (as waitpid
 * gives it) in *status. ERR_TIMEOUT after killing runsc; ERR_UNAVAILABLE when runsc cannot be executed or
 * says no. */
int runsc_run(const struct runsc *r, const struct runsc_run *run, int *status, struct err *e);

/* The start time of a process in clock ticks since boot (identity together with the pid), 0 when there is no
 * such process. */
uint64_t process_start_time(int pid);

/* Sends a signal to every process whose command line names this runsc root: how the processes of a sandbox
 * are found whose pids are unknown. Returns how many. */
int runsc_signal_leftovers(const char *root, int sig);
