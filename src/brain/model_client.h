/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Model requests through gate: one call a request, streamed. The response is parsed as it comes
 * (model/response); previews go to the hooks. The brain never sees a key: gate adds it.
 */
#pragma once

#include "io/loop.h"
#include "io/rpc.h"
#include "model/plan.h"
#include "model/response.h"

struct gate_client;
struct model_call;

struct model_call_opts {
	struct str provider;
	struct str body; /* whole request; copied to the socket before the function returns */
	uint64_t retry_count;
	struct response_hooks hooks;
	void *arg;
	/* Once. Exactly one of `r` and `f` is set, borrowed during the callback, after which the call is
	 * freed. The callee may take the response: copy the struct and zero *r. */
	void (*on_done)(void *arg, struct model_response *r, const struct plan_failure *f);
};

/* NULL when out of memory. */
struct gate_client *gate_client_new(struct loop *l);
void gate_client_free(struct gate_client *g);
/* Uses this connection from now on (takes fd); calls in flight on the former one fail as retryable. */
void gate_client_set_peer(struct gate_client *g, int fd);
bool gate_client_connected(const struct gate_client *g);

/* Starts a request. ERR_UNAVAILABLE without a connection, ERR_NO_MEMORY; then on_done is not called. */
int model_call_start(
	struct gate_client *g, const struct model_call_opts *o, struct model_call **out, struct err *e);
/* Ends it without on_done. NULL is fine. */
void model_call_cancel(struct model_call *c);
