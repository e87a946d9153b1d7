/* SPDX-License-Identifier: Apache-2.0 */
/* Events may not depend on how the bytes arrive, and an event that is written again must be read as the same.
 */
#include "fuzz.h"

#include <stdlib.h>

#include "io/sse.h"

struct events {
	struct buf text; /* all events, written with sse_put */
	unsigned n;
};

static int
on_event(void *arg, const struct sse_event *ev, struct err *e)
{
	struct events *x = arg;

	(void)e;
	ASSERT(str_find(ev->data, '\r') == ev->data.n && str_find(ev->name, '\n') == ev->name.n);
	x->n++;
	sse_put(&x->text, STR_NULL, ev->name, ev->data);
	return 0;
}

static int
feed(struct str in, size_t step, struct events *x)
{
	struct sse_reader r;
	int rc = 0;

	*x = (struct events){0};
	buf_init(&x->text, 64u << 20);
	sse_init(&r, 4096);
	for (size_t at = 0; at < in.n && rc == 0; at += step)
		rc = sse_feed(&r, str_sub(in, at, step), on_event, x, NULL);
	sse_done(&r);
	return rc;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const size_t steps[] = {1, 3, 7};
	struct str in = str_n(data, size);
	struct events whole, other;
	int r = feed(in, size ? size : 1, &whole);

	for (size_t i = 0; i < ARRAY_LEN(steps); i++) {
		int k = feed(in, steps[i], &other);

		/* A line over the ceiling is found out earlier or later, but found out. */
		ASSERT(k == r && (r < 0 || str_eq(buf_str(&whole.text), buf_str(&other.text))));
		buf_done(&other.text);
	}
	if (r == 0 && feed(buf_str(&whole.text), whole.text.n ? whole.text.n : 1, &other) == 0)
		ASSERT(other.n == whole.n && str_eq(buf_str(&whole.text), buf_str(&other.text)));
	if (r == 0)
		buf_done(&other.text);
	buf_done(&whole.text);
	return 0;
}
