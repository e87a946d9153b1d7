/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The object behind hands.h, for the files that make up its middle: session, claim, pool, control, probe,
 * status.
 */
#pragma once

#include "hands/env.h"
#include "hands/hands.h"
#include "hands/pool.h"
#include "hands/session.h"
#include "io/rpc.h"

struct hands {
	struct hands_env env;
	struct rpc_peer *control; /* NULL while there is none */
	struct session *sessions;
	struct pool *pool;
	struct job *probe;
	char *status; /* as last sent; owned */
	bool stopping;
	void (*on_stopped)(void *arg);
	void *on_stopped_arg;
};

/* Tells control what hands is able to do here, when that changed (or always). */
void status_send(struct hands *h, bool always);

/* The permit table of control's connection; the owner is the struct hands. */
extern const struct rpc_permit control_permits[];
extern const size_t control_n_permits;

/* Looks whether a stop is complete. */
void hands_settle(struct hands *h);
