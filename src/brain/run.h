/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The run of one session: what it has in flight. It exists while turn_next names something to do. Shared by
 * turn_run.c and run_tools.c only.
 */
#pragma once

#include "brain/hands_client.h"
#include "brain/model_client.h"
#include "brain/state.h"

/* An open tool use that was handed to hands, or whose result waits to be appended. */
struct run_tool {
	struct run_tool *next;
	struct run *run;
	uint32_t seq;
	struct id id;
	struct hands_call *call; /* NULL once it is done */
	bool cancelling;
	bool done;
	bool appending; /* its result is in the latest append */
	bool replaced;  /* its result could not be a row: `text` says so */
	bool is_error;
	bool acknowledge; /* guest holds the result until we say that it is durable */
	struct str text;  /* owned */
};

struct run {
	struct live *live;
	bool busy; /* a lease, the context or an append is under way */
	bool dead; /* freed as soon as that returns */
	struct model_call *call;
	struct model_response response; /* waits to be appended; its arena is NULL when there is none */
	bool has_failure;
	struct plan_failure failure; /* waits to be appended */
	char failure_text[640];
	struct run_tool *tools;
	bool cancelling; /* an interrupt waits for the tools; the timer ends its patience */
	struct loop_timer *timer;
};

/* Starts every runnable open tool that is not in flight yet. */
void run_tools_start(struct run *r);
/* True when results wait to be appended. */
bool run_tools_ready(const struct run *r);
/* True when tools are still running. */
bool run_tools_in_flight(const struct run *r);
/* Asks all running tools to stop. Those that were not sent yet end at once, so the run may be driven before
 * this returns. */
void run_tools_cancel(struct run *r);
/* Gives up what is still running: its result will not be waited for. */
void run_tools_abandon(struct run *r);
/* Rows for the results that are ready. Notes which they are. */
int run_tools_rows(
	struct run *r, const struct session_state *s, struct plan *p, uint64_t now_us, struct err *e);
/* The rows of run_tools_rows are durable: acknowledges and forgets them. */
void run_tools_appended(struct run *r);
/* The rows of run_tools_rows were not appended. `why` NULL: the results stay ready. Else these rows cannot be
 * made: the reason takes the place of the results; false when it did so already, or when there are none. */
bool run_tools_failed(struct run *r, const char *why);
void run_tools_free(struct run *r);
