/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the tests of the brain share: a real store in a fresh directory, the brain on it, and at the other end
 * of its two connections a gate and hands that do nothing by themselves. They note what they are told; the
 * test answers for them. kit_until runs the loop until something is so, and fails after ten seconds.
 */
#pragma once

#include "base/limits.h"
#include "brain/brain.h"
#include "io/rpc.h"
#include "unit.h"

#define KIT_CALLS 256

struct kit_exec {
	uint64_t call;
	char id[ID_MAX], tool[32], input[256];
};

struct kit {
	struct loop *loop;
	struct loop_timer *watchdog;
	struct store *store;
	struct brain *brain;
	char dir[64];
	struct id session;
	/* what was committed, in order: type names, "+name" for PROCESSED rows; one a line */
	struct buf log;
	enum event_type types[4096];
	/* the gate's side */
	struct rpc_peer *gate;
	uint64_t requests[KIT_CALLS]; /* calls, oldest first */
	size_t n_requests, n_cancelled;
	struct buf body; /* of the newest request */
	/* the hands' side */
	struct rpc_peer *hands;
	uint64_t claims[KIT_CALLS];
	size_t n_claims;
	struct kit_exec execs[KIT_CALLS], collects[KIT_CALLS];
	size_t n_execs, n_collects, n_cancels, n_acks, n_releases;
	size_t n_closed; /* connections whose end was seen */
	/* answers to the test's own calls */
	size_t n_answers;
	enum err_kind kind;
	struct err err;
};

/* cmocka's fixture: a kit with both connections and one session, or one without connections. */
#define BRAIN_TEST(f) cmocka_unit_test_setup_teardown(f, kit_setup, kit_teardown)
int kit_setup(void **state);
int kit_teardown(void **state);

/* The store and the brain end and begin again, as after a restart of the role. */
void kit_restart(struct kit *k);
/* A new connection of that role. */
void kit_connect_gate(struct kit *k);
void kit_connect_hands(struct kit *k);
/* The role dies. */
void kit_drop_gate(struct kit *k);
void kit_drop_hands(struct kit *k);

/* Runs the loop until `cond`. */
void kit_round(struct kit *k, const char *what);
#define kit_until(k, cond)                   \
	do {                                 \
		while (!(cond))              \
			kit_round(k, #cond); \
	} while (0)

/* ---- clients ---- */

struct id kit_create(struct kit *k);
/* The `events` array, as POST events does it: one plan that also starts. Counts n_answers. */
void kit_send(struct kit *k, struct id session, const char *events);
/* ... and waits; must succeed. */
void kit_say(struct kit *k, const char *text);
void kit_interrupt(struct kit *k);
/* The fold if it is in memory. */
const struct session_state *kit_state(struct kit *k);
/* True when the session is loaded and idle. */
bool kit_idle(struct kit *k);
/* How many rows of that type the log has. */
size_t kit_count(const struct kit *k, enum event_type type);

/* ---- the gate ---- */

/* The whole answer to request number `i`: records as in model_talk.h. */
void kit_answer(struct kit *k, size_t i, const char *const *records);
#define KIT_ANSWER(k, i, ...) kit_answer(k, i, (const char *const[]){REC_START, __VA_ARGS__, REC_STOP, NULL})
#define KIT_SAY(k, i)         KIT_ANSWER(k, i, REC_TEXT("0", "Hello."), REC_END("end_turn"))
/* An answer with a status and no event stream. */
void kit_refuse(struct kit *k, size_t i, int status, const char *body);
/* Head and the first `n` records, no end. */
void kit_begin(struct kit *k, size_t i, const char *const *records);

/* ---- hands ---- */

void kit_claimed(struct kit *k, size_t i, uint64_t generation);
void kit_claim_failed(struct kit *k, size_t i);
void kit_result(struct kit *k, const struct kit_exec *x, unsigned guest_status, const char *text);
void kit_exec_failed(struct kit *k, const struct kit_exec *x, enum err_kind kind);
void kit_gone(struct kit *k, struct id session, uint64_t generation);
