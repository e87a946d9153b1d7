/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A request to the puppet, or (when it does not begin with a brace) a script in the first message of one.
 * Whatever is answered must be a well-formed message and a well-formed stream of events.
 */
#include "fuzz.h"

#include "base/arena.h"
#include "base/json.h"
#include "base/limits.h"
#include "io/sse.h"
#include "puppet/answer.h"

static int
on_event(void *arg, const struct sse_event *ev, struct err *e)
{
	AUTO(json) struct json_t *v = NULL;
	size_t *n = arg;

	ASSERT(json_parse(ev->data, &v, e) == 0);
	ASSERT(str_eq(json_get_str(v, "type"), ev->name));
	++*n;
	return 0;
}

static void
check_answer(const struct answer *m)
{
	AUTO(events) struct events ev = {0};
	AUTO(buf) struct buf b = {0};
	AUTO(json) struct json_t *v = NULL;
	struct sse_reader r;
	struct err e = {0};
	size_t n = 0;

	events_init(&ev);
	if (answer_stream(m, &ev, &e) < 0)
		return;
	sse_init(&r, ANSWER_BYTES_MAX);
	ASSERT(sse_feed(&r, buf_str(&ev.bytes), on_event, &n, &e) == 0);
	sse_done(&r);
	ASSERT(n == ev.n);
	buf_init(&b, ANSWER_BYTES_MAX);
	answer_message(m, &b);
	ASSERT(b.fail || json_parse(buf_str(&b), &v, &e) == 0);
}

static void
play(struct str text, uint64_t attempt)
{
	AUTO(json) struct json_t *request = NULL;
	AUTO(arena) struct arena *a = arena_new(LIM_REQ_ARENA);
	struct conversation c;
	struct answer m;
	struct err e = {0};

	if (json_parse(text, &request, &e) < 0 || conversation_read(request, a, &c, &e) < 0)
		return;
	c.attempt = attempt;
	c.request_bytes = text.n;
	if (answer_make(&c, a, &m, &e) < 0)
		return;
	ASSERT(m.n <= ANSWER_BLOCKS_MAX && m.stop_reason.n);
	check_answer(&m);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct str text = str_n(data, size);
	AUTO(buf) struct buf b = {0};

	if (size && data[0] == '{') {
		play(text, size % 3);
		return 0;
	}
	buf_init(&b, 8 * MIB);
	buf_put_z(&b, "{\"model\":\"puppet\",\"max_tokens\":1,\"messages\":[{\"role\":\"user\",\"content\":");
	struct json_w w = json_w(&b);
	AUTO(buf) struct buf script = {0};
	buf_init(&script, 8 * MIB);
	buf_put_z(&script, "#puppet\n");
	buf_put_str(&script, text);
	jw_str(&w, buf_str(&script));
	buf_put_z(&b, "}]}");
	if (!b.fail)
		play(buf_str(&b), size % 3);
	return 0;
}
