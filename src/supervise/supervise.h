/* SPDX-License-Identifier: Apache-2.0 */
/*
 * `pinfold serve`: two processes that no byte from outside reaches. The outer one prepares (data directory,
 * lock, listening sockets, keys), clones the inner one into a new PID and mount namespace, forwards signals
 * and waits. The inner one is PID 1 there: it starts the roles, restarts them, reaps orphans. The death of
 * either ends every role and every sandbox by the kernel's hand. Parsing the configuration is the caller's
 * business: the roles' slices come from a callback.
 */
#pragma once

#include "base/buf.h"
#include "base/err.h"
#include "base/log.h"

#define SUPERVISE_ROLES       4
#define SUPERVISE_SECRETS_MAX 64
#define SUPERVISE_NAME_MAX    64

/* Where the roles find things. The short paths exist in the mount namespace of the roles only. */
struct supervise_place {
	const char *data_dir;    /* real path; root only */
	const char *control_dir; /* <data>/control by a short path, owned by control's uid */
	const char *hands_dir;   /* <data>/hands by a short path; root only */
	const char *run_dir;     /* short path on a tmpfs that dies with the server, for sockets; root only */
	const char *listen_url;  /* "http://127.0.0.1:8400": the address bound */
	const char *puppet_url;  /* "http://127.0.0.1:PORT", or "" when the puppet is off */
	unsigned uid, gid;       /* the role's; 0: root */
};

/* A sealed memfd holding a secret, see supervise/key.h. */
struct supervise_secret {
	char name[SUPERVISE_NAME_MAX];
	int fd;
};

struct supervise_opts {
	const char *data_dir;
	const char
		*listen; /* "HOST:PORT"; HOST is an address or "localhost", an IPv6 one stands in brackets */
	unsigned uid_base; /* control, gate, puppet: +0, +1, +2 */
	bool puppet;
	bool json_log; /* no human lines on stdout, all through base/log */
	enum log_level level;
	const char *greeting; /* lines for the operator, printed once when the API listens; "" for none */
	const struct supervise_secret *secrets; /* for gate; the descriptors stay the caller's */
	size_t n_secrets;
	void *arg;
	/* Appends the configuration slice (JSON) of the role. Called in the inner process before each start
	 * of the role. */
	int (*slice)(void *arg, const char *role, const struct supervise_place *at, struct buf *out,
		struct err *e);
};

/*
 * Runs the server until it is stopped: SIGTERM or SIGINT ends it within the grace time, a second one at once.
 * Needs root (ERR_FORBIDDEN). *exit_code is the process's exit code when the server ran; failures before that
 * are returned: ERR_INVALID, ERR_IO, ERR_CONFLICT (the data directory is in use).
 */
int supervise_run(const struct supervise_opts *o, int *exit_code, struct err *e);

/* 0 when `listen` has the form that struct supervise_opts wants; ERR_INVALID. */
int supervise_check_listen(const char *listen, struct err *e);
