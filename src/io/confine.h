/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Giving up privileges, once, at the start of a role: uid and gid, capabilities, no_new_privs, no core dumps,
 * not dumpable, parent-death signal, network namespace, Landlock where the role allows it, and a seccomp
 * filter. Fails closed: a role that cannot be confined does not run. In the allow-list profiles (control,
 * gate, puppet) unknown system calls answer ENOSYS, refused ones EPERM, and those no such role ever makes
 * kill the process.
 */
#pragma once

#include "base/err.h"

enum confine_profile {
	CONFINE_CONTROL, /* store files, accept on inherited sockets; no socket(), connect(), exec, new user
			    namespaces */
	CONFINE_GATE,    /* TCP/UDP out, no exec, no files but CA certificates and resolver configuration */
	CONFINE_PUPPET,  /* accept on an inherited socket; no files, no connect, no exec */
	CONFINE_HANDS,   /* deny list only: it mounts, clones and executes runsc; no network namespace but an
			    empty one */
	CONFINE_SUPERVISE, /* deny list: it forks, execs and signals roles; no network use */
};

struct confine_opts {
	enum confine_profile profile;
	unsigned uid, gid; /* 0: stay root (hands, supervise) */
	bool empty_netns;  /* unshare the network before dropping */
	/* Landlock, for control, gate and puppet: NULL-terminated lists; NULL: none. A path of `rw` must
	 * exist, one of `ro` may be missing. Everything else in the file system is closed, as are TCP binds
	 * (and connects, but for gate). */
	const char *const *rw; /* readable and writable */
	const char *const *ro; /* readable only */
};

/* Applies everything to the calling process, which must be single threaded (checked). The process should exit
 * after a failure: some steps may have been taken. ERR_IO, ERR_FORBIDDEN, ERR_NO_MEMORY name the step. */
int confine(const struct confine_opts *o, struct err *e);

/* Only the cheap parts for helper processes and the CLI: no core dumps, not dumpable, umask 077, RLIMIT_CORE
 * 0. */
int confine_basic(struct err *e);
