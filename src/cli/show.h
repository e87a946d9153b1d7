/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Events for people: one session's events as readable lines (or JSON lines), and a count of what passed. What
 * agents and tools say is escaped, so that it cannot drive the terminal.
 */
#pragma once

#include "base/id.h"
#include "base/json.h"

#define SHOW_TOOLS 64

struct show {
	bool json;    /* JSON lines instead */
	bool colour;  /* ANSI colours */
	bool quiet;   /* count only */
	size_t lines; /* of a tool's result that are printed */
	/* the tool calls that wait for their result */
	struct show_tool {
		struct id id;
		char name[24];
		uint64_t at_us;
	} tools[SHOW_TOOLS];
	size_t n_tools;
	/* counts */
	uint64_t events, tool_calls, tool_errors, messages, model_requests;
	uint64_t input_tokens, output_tokens;
	struct str stop; /* last stop reason, a static string; p == NULL: not idle */
};

/* Colours when stdout is a terminal and NO_COLOR is not set. */
void show_init(struct show *s, bool json);
/* Prints one event and counts it. */
void show_event(struct show *s, const struct json_t *event);
/* True when a session.status_idle with another reason than requires_action, or a termination, was the last
 * event. */
bool show_finished(const struct show *s);

/* Prints `text` with control characters made visible; at most `lines` lines, each behind `prefix`. */
void show_text(struct str text, const char *prefix, size_t lines);
