/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the puppet reads out of a request of the Messages API: the script, how far it was played, the last
 * tool results. Pure.
 */
#pragma once

#include "base/arena.h"
#include "base/json.h"

#define CONVERSATION_RESULTS_MAX 256

/* Every text by which the puppet says that a script failed begins like this; such a script is over. */
#define PUPPET_FAILED "puppet: "

struct tool_result {
	struct str text;
	bool is_error;
};

struct conversation {
	/* from the caller, after conversation_read */
	uint64_t attempt;     /* of the same request, from 0 */
	size_t request_bytes; /* give the number of input tokens */
	/* from the request */
	struct str model;
	bool stream;
	bool has_script;
	struct str script;    /* what follows the line #puppet */
	size_t position;      /* assistant turns since the message it belongs to */
	bool failed;          /* one of them says that the script failed */
	struct str last_text; /* text of the newest user message that has any */
	bool text_is_script;  /* ... and that is where the script stands */
	struct tool_result results[CONVERSATION_RESULTS_MAX]; /* of the last message */
	size_t n_results;
};

/* Checks the request like the real server does (ERR_INVALID naming the path) and fills *c with slices into
 * `request` and the arena. ERR_TOO_LARGE, ERR_NO_MEMORY. */
int conversation_read(const struct json_t *request, struct arena *a, struct conversation *c, struct err *e);
