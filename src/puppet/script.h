/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The puppet's scripts: parsing, and finding the steps of the n-th response. docs/puppet.md is the user's
 * view. Pure, over memory of an arena; script text comes from whoever talks to the model.
 */
#pragma once

#include "base/arena.h"
#include "base/err.h"
#include "base/str.h"

#define SCRIPT_TEXT_MAX  (256 * 1024)
#define SCRIPT_STEPS_MAX 10000
#define SCRIPT_LOOPS_MAX 8      /* nested */
#define SCRIPT_TIMES_MAX 100000 /* of one loop */
#define SCRIPT_WALK_MAX  200000 /* steps passed on the way to a response */

enum step_kind {
	STEP_SAY,          /* text */
	STEP_THINK,        /* text */
	STEP_CALL,         /* name, text: the input as JSON; joins the call before it when `joined` */
	STEP_BREAK,        /* the response ends here */
	STEP_EXPECT,       /* text; a: number of the result, 0 any */
	STEP_EXPECT_NOT,   /* text; a as above */
	STEP_EXPECT_ERROR, /* text, maybe empty; a as above */
	STEP_ERROR,        /* a: HTTP status, b: attempts */
	STEP_RETRY_AFTER,  /* a: ms, sent with the error */
	STEP_CUT,          /* a: events before it, b: attempts */
	STEP_FAIL,         /* name: error type sent as an event; a: events before it, b: attempts */
	STEP_GARBAGE,      /* b: attempts */
	STEP_DELAY,        /* a: ms before each delta */
	STEP_STALL,        /* a: ms after the first event, b: attempts */
	STEP_TOKENS,       /* a: input, b: output */
	STEP_STOP,         /* name: stop_reason */
	STEP_REPEAT,       /* a: times */
	STEP_END,
};

struct step {
	enum step_kind kind;
	bool joined;
	struct str name;
	struct str text;
	uint64_t a, b;
	size_t line; /* from 1, in the script */
	size_t mate; /* index of the END of a REPEAT and the other way round */
};

struct script {
	struct step *steps;
	size_t n;
};

/* Slices point into `text` or the arena. ERR_INVALID "line 3: …", ERR_TOO_LARGE, ERR_NO_MEMORY. */
int script_parse(struct str text, struct arena *a, struct script *out, struct err *e);

/* One step as played: inside loops with the count of the innermost one. */
struct played {
	const struct step *step;
	uint64_t i; /* from 1; 0 outside of loops */
};

struct response {
	struct played *steps;
	size_t n;
	bool over; /* the script has fewer responses */
};

/*
 * The steps of response number `position` (from 0). A response ends with its calls, at "---", or at the end
 * of the script. ERR_TOO_LARGE, ERR_NO_MEMORY.
 */
int script_response(
	const struct script *s, size_t position, struct arena *a, struct response *out, struct err *e);
