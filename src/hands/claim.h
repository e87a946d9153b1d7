/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A claim: making sure that a session has a sandbox with its files. One claim of a session is worked on at a
 * time:
 *
 *   NEW -> FILES -> PLACING -> answered
 *
 *   NEW      decides: the sandbox there is, a warm one, a cold start, a rebuild on the workspace; asks
 * control for the files that are missing FILES    waits for their descriptors and for the sandbox PLACING  a
 * job copies them in
 *
 * A sandbox that ends meanwhile puts the claim back to NEW, at most CLAIM_TRIES times.
 */
#pragma once

#include "hands/session.h"

enum claim_state { CLAIM_NEW, CLAIM_FILES, CLAIM_PLACING };

enum { CLAIM_EXISTING, CLAIM_WARM, CLAIM_COLD, CLAIM_REBUILT };

struct claim_file {
	struct id id;
	char *path; /* owned; absolute */
	uint64_t size;
	int fd;       /* -1 until control sent it */
	bool missing; /* not in the workspace yet */
	bool asked;
};

struct claim {
	struct claim *next;
	uint64_t call;
	uint64_t since_us;
	enum claim_state state;
	unsigned how;
	unsigned tries;
	struct sandbox_key key;
	struct claim_file *files;
	size_t n_files;
	struct launch_file *root_files; /* for a start: those that go into the root; owned */
	size_t n_root_files;
};

/* Reads HANDS_CLAIM behind the session id. ERR_CORRUPT for a malformed message; ERR_INVALID for a path or
 * name that is refused. */
int claim_parse(
	struct claim **out, struct frame_r *r, uint64_t call, const struct hands_env *env, struct err *e);
void claim_free(struct claim *c);

/* Moves the session's first claim on as far as it goes now. */
void claim_advance(struct session *s);
/* HANDS_FILE for this call: takes *fd when it is wanted. */
void claim_give_file(struct session *s, uint64_t call, struct str file_id, uint64_t size, int *fd);
/* The session's sandbox ended; `end` is of a failed start or of a lost sandbox. */
void claim_sandbox_ended(struct session *s, const struct sandbox_end *end);
/* Answers all claims with a failure. */
void claim_fail_all(struct session *s, enum hands_step step, const struct err *why);
