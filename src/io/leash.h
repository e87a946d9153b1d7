/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A role's end of the leash (descriptor LEASH_FD): the start handshake, then later peers and the stop. Every
 * role's main is `int <role>_main(void)`: leash_start (blocking) -> confine -> build on the loop ->
 * leash_attach -> leash_ready -> loop_run. The end of the leash ends the process at once (exit 0 after
 * LEASH_STOP, else 75).
 */
#pragma once

#include "base/json.h"
#include "base/secret.h"
#include "io/loop.h"

#define LEASH_PEERS_MAX   8
#define LEASH_SECRETS_MAX 64
#define LEASH_NAME_MAX    64

struct leash_fd {
	char name[LEASH_NAME_MAX];
	uint64_t number;
	int fd; /* taken with MOVE_FD by the role */
};

struct leash_start {
	struct json_t *config; /* owned */
	struct leash_fd listens[LEASH_PEERS_MAX];
	size_t n_listens;
	struct leash_fd peers[LEASH_PEERS_MAX];
	size_t n_peers;
	struct leash_secret {
		char name[LEASH_NAME_MAX];
		struct secret *value; /* owned; taken with MOVE */
	} secrets[LEASH_SECRETS_MAX];
	size_t n_secrets;
};

/* Reads LEASH_FD (blocking) until LEASH_GO. ERR_CORRUPT, ERR_IO. */
int leash_start(struct leash_start *out, struct err *e);
/* Frees what was not taken. */
void leash_start_done(struct leash_start *s);

struct leash;
struct leash_ops {
	void *owner;
	/* A new connection to the role of that name; takes fd. */
	void (*on_peer)(void *owner, const char *role, uint64_t number, int fd);
	/* Finish; then call loop_stop. NULL: exit at once. */
	void (*on_stop)(void *owner);
};

/* Watches the leash on the loop. */
int leash_attach(struct leash **out, struct loop *l, const struct leash_ops *ops, struct err *e);
void leash_free(struct leash *l);
/* Tells supervise that the role serves; `note` is shown to the operator. */
void leash_ready(struct leash *l, struct str note);
/* Before leash_attach: tells supervise why the role cannot start (blocking write). Returns the exit code to
 * use. */
int leash_failed(const struct err *e);
