/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One cgroup per sandbox for memory, pids and CPU, on cgroup v2, v1 and hybrids (each controller is used
 * where the host mounts it). runsc is told to leave cgroups alone: a process enters the sandbox's cgroup
 * before it executes runsc, so nothing of the sandbox is ever outside.
 */
#pragma once

#include "hands/config.h"

enum cgroup_ctl { CGROUP_MEMORY, CGROUP_PIDS, CGROUP_CPU, CGROUP_CTLS };

/* Where the host mounts the controllers. Pure result of parsing. */
struct cgroup_mounts {
	char v1[CGROUP_CTLS][HANDS_DIR_MAX]; /* "" : not there */
	char v2[HANDS_DIR_MAX];
};

/* Which controllers are usable, and below which directory. */
struct cgroup_host {
	char dir[CGROUP_CTLS][HANDS_DIR_MAX + 128]; /* "" : this controller cannot be used */
	bool v2[CGROUP_CTLS];
	char note[160];        /* why something is missing; "" when nothing is */
	int lock[CGROUP_CTLS]; /* held on the parents: whoever tidies up sees that somebody is there */
};

/* Reads the text of /proc/self/mountinfo. Lines that make no sense are skipped. */
void cgroup_parse_mounts(struct str mountinfo, struct cgroup_mounts *out);

/* Finds the controllers and makes the parent cgroup in each hierarchy. Empty parents of instances that were
 * killed
 * ("pinfold-*", nobody holds their lock) are removed on the way. Never fails: what does not work is
 * missing and noted. */
void cgroup_host_find(struct cgroup_host *out, const char *parent);

/* Removes the parent cgroups, where they are empty, and gives up the locks. */
void cgroup_host_release(struct cgroup_host *h);

/* Makes the cgroup `name` and sets the limits that its controllers can hold. ERR_IO. */
int cgroup_create(const struct cgroup_host *h, const char *name, const struct limits *l, struct err *e);

/* Opens the files into which a process that is to enter writes "0". Returns how many, or -kind. The caller
 * closes them. */
int cgroup_open_entries(const struct cgroup_host *h, const char *name, int fds[CGROUP_CTLS], struct err *e);

/* Sends SIGKILL to every process in it. Returns how many were found alive. */
int cgroup_kill(const struct cgroup_host *h, const char *name);

/* How often the kernel killed for memory in it; 0 when unknown. */
uint64_t cgroup_oom_kills(const struct cgroup_host *h, const char *name);

/* How often the kernel refused a process or thread in it for the limit; 0 when unknown. */
uint64_t cgroup_refused_forks(const struct cgroup_host *h, const char *name);

/* Removes the (empty) cgroup. ERR_IO when it is still in use. */
int cgroup_remove(const struct cgroup_host *h, const char *name, struct err *e);

/* Removes every cgroup below the parent whose name `keep` does not want, killing what is in it. */
void cgroup_sweep(const struct cgroup_host *h, bool (*keep)(void *arg, const char *name), void *arg);
