/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A document of the API's callers, a model or a sandbox. What parses must be written again as a text that
 * gives an equal tree and then stays the same; every position in it must give a readable error.
 */
#include "fuzz.h"

#include "base/json.h"
#include "base/limits.h"

#define OUT_MAX (64u << 20)

/* Names are the input's, so that messages are built from hostile text. */
static void
check_messages(const struct json_at *at, unsigned depth)
{
	static const char *const none[] = {NULL};
	struct err e = {0};

	ASSERT(depth <= LIM_JSON_DEPTH);
	ASSERT(json_fail(at, &e, "wrong") == -ERR_INVALID);
	ASSERT(str_is_utf8(str_z(e.msg)) && str_ends(str_z(e.msg), STR("wrong")));
	if (json_closed(at, none, &e) < 0)
		ASSERT(str_is_utf8(str_z(e.msg)));
	for (void *it = json_iter(at->v); it; it = json_next(at->v, it)) {
		struct json_at member = json_member(at, json_iter_key(it).p);
		ASSERT(member.present && member.v == json_iter_value(it));
		check_messages(&member, depth + 1);
	}
	for (size_t i = 0; json_kind(at->v) == JSON_ARR && i < json_len(at->v); i++) {
		struct json_at element = json_element(at, i);
		check_messages(&element, depth + 1);
	}
}

static void
check_round_trip(const struct json_t *v)
{
	AUTO(buf) struct buf once;
	AUTO(buf) struct buf twice;
	AUTO(json) struct json_t *again = NULL;

	buf_init(&once, OUT_MAX);
	buf_init(&twice, OUT_MAX);
	json_dump(&once, v);
	ASSERT(buf_check(&once, NULL) == 0);
	ASSERT(json_parse(buf_str(&once), &again, NULL) == 0);
	ASSERT(json_equal(v, again) && json_equal(again, v));
	json_dump(&twice, again);
	ASSERT(str_eq(buf_str(&once), buf_str(&twice)));
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	AUTO(json) struct json_t *v = NULL;
	struct err e = {0};

	if (json_parse(str_n(data, size), &v, &e) < 0) {
		ASSERT(e.kind == ERR_INVALID);
		return 0;
	}
	struct json_at root = json_root(v);
	check_messages(&root, 0);
	check_round_trip(v);
	return 0;
}
