/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Sends a rendered stream with the pace and the faults that its answer asks for. Each player owns itself: it
 * goes away with its stream.
 */
#pragma once

#include "io/loop.h"
#include "io/server.h"
#include "puppet/answer.h"

/* Answers `r` with the events of `m`. Takes the content of `ev` when it needs time; the request is answered
 * in any case. */
void player_start(struct loop *l, struct server_req *r, const struct answer *m, struct events *ev);
