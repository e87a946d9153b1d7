/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The messages from hands to control (io/calls.h), one function each. Without a control they vanish: results
 * stay with the session until they are asked for again.
 */
#pragma once

#include "hands/outputs.h"
#include "hands/sandbox.h"
#include "io/rpc.h"

/* What a stored result is made of: the payload of HANDS_RESULT, ready to be sent under any call id. */
struct relay_result {
	char *payload; /* owned */
	size_t n;
};

/* Encodes; ERR_NO_MEMORY. */
int relay_result_make(struct relay_result *out, const struct guest_result *r, struct err *e);
void relay_result_done(struct relay_result *r);

/* One for each message; `p` may be NULL. The order of the arguments is that of the fields. */
void relay_want(struct rpc_peer *p, uint64_t call, const struct id *ids, size_t n);
void relay_claimed(struct rpc_peer *p, uint64_t call, uint64_t generation, unsigned how, uint64_t us);
void relay_failed(
	struct rpc_peer *p, uint64_t call, enum hands_step step, const struct err *why, uint64_t generation);
void relay_gone(struct rpc_peer *p, struct str session, uint64_t generation, const struct sandbox_end *end);
void relay_released(struct rpc_peer *p, uint64_t call);
void relay_status(struct rpc_peer *p, struct str json);

/* Dropped when control does not keep up: best effort, never the result. */
void relay_output(struct rpc_peer *p, uint64_t call, struct str exec_id, struct str piece);
/* HANDS_RESULT: a stored one, or "never heard of it". */
void relay_result(struct rpc_peer *p, uint64_t call, const struct relay_result *r);
void relay_unknown(struct rpc_peer *p, uint64_t call, struct str exec_id);
/* Takes fd. */
void relay_output_file(struct rpc_peer *p, struct str session, const struct outputs_file *f, int fd);
