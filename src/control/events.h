/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Listing a session's events; shared by sessions and threads.
 */
#pragma once

#include "control/api.h"

/* Answers the call with a page of the session's events. `filters`: types[], order and created_at[…] are
 * allowed. The session exists. */
void events_page(struct call *k, struct str session_id, bool filters);
