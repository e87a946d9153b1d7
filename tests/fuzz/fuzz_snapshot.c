/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Snapshots as a damaged store would give them. One that decodes must encode to something that decodes to the
 * same; and it must be possible to ask it what comes next.
 */
#include "fuzz.h"

#include "base/limits.h"
#include "model/session.h"

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct session_state s, again;
	AUTO(buf) struct buf a, b;
	buf_init(&a, LIM_EVENT_BODY);
	buf_init(&b, LIM_EVENT_BODY);
	if (session_decode(str_n(data, size), &s, NULL) < 0)
		return 0;
	session_encode(&s, &a);
	ASSERT(buf_check(&a, NULL) == 0);
	ASSERT(session_decode(buf_str(&a), &again, NULL) == 0);
	session_encode(&again, &b);
	ASSERT(str_eq(buf_str(&a), buf_str(&b)));
	ASSERT(turn_next(&s.turn, 0).kind == turn_next(&again.turn, 0).kind);
	ASSERT(session_status(&s) == session_status(&again));
	buf_clear(&a);
	struct json_w w = json_w(&a);
	session_render(&s, s.updated_us, &w);
	session_state_done(&again);
	session_state_done(&s);
	return 0;
}
