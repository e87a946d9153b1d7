/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Event streams of sessions and threads; see stream.c.
 */
#pragma once

#include "control/api.h"

struct streams;

/* All streams of the role, with their one ping timer. */
int streams_new(struct streams **out, struct control *c, struct err *e);
/* After the server closed its connections. */
void streams_free(struct streams *all);

/* Answers the call with a stream of that session's events, from now on. Checks event_deltas[]. */
void stream_open(struct call *k, const struct session_state *s);
