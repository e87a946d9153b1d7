/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A stream of frames as a hostile peer sends it. The first byte steers how payload fields are read; the rest
 * is cut into frames until one is refused or incomplete. Each frame found must be reproduced, byte by byte,
 * by the writer.
 */
#include "fuzz.h"

#include "base/frame.h"

#define PAYLOAD_MAX 4096

/* Reads a payload as strings and numbers by turns; what was read is written again. */
static void
read_fields(const struct frame *f, unsigned script)
{
	AUTO(buf) struct buf copy;
	struct frame_r r = frame_r(f->payload);

	buf_init(&copy, FRAME_HEAD + PAYLOAD_MAX);
	struct frame_w w = frame_begin(&copy, f->type, f->call);
	while (!r.bad && r.rest.n) {
		if (script & 1) {
			uint64_t v = frame_get_u64(&r);
			if (!r.bad)
				frame_u64(&w, v);
		} else {
			struct str s = frame_get_str_max(&r, 256);
			ASSERT(s.n <= 256);
			if (!r.bad)
				frame_str(&w, s);
		}
		script = script >> 1 | (script & 1) << 7;
	}
	frame_end(&w, f->flags);
	ASSERT(buf_check(&copy, NULL) == 0);
	if (frame_done(&r, NULL) != 0)
		return;
	ASSERT(copy.n == FRAME_HEAD + f->payload.n);
	ASSERT(str_eq(buf_str(&copy), str_n(f->payload.p - FRAME_HEAD, copy.n)));
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (size == 0)
		return 0;
	struct str in = str_n(data + 1, size - 1);
	struct frame f;
	size_t used = 0;
	while (frame_parse(in, PAYLOAD_MAX, &f, &used, NULL) > 0) {
		ASSERT(used >= FRAME_HEAD && used <= in.n);
		ASSERT(f.payload.n <= PAYLOAD_MAX && (f.flags & ~FRAME_FD) == 0);
		read_fields(&f, data[0]);
		in = str_sub(in, used, in.n);
	}
	return 0;
}
