/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A model's stream, one record a line. Previews must be a prefix of what is collected; what is collected
 * whole must become rows whose bodies are JSON, or be refused for its size.
 */
#include "fuzz.h"

#include "base/limits.h"
#include "model/plan.h"
#include "model/response.h"

#include <stdlib.h>

#define AGENT                                                                                                \
	"{\"type\":\"agent\",\"name\":\"A\",\"tools\":[{\"type\":\"agent_toolset_20260401\",\"default_"      \
	"config\":{\"enabled\":"                                                                             \
	"true,\"permission_policy\":{\"type\":\"always_ask\"}},\"configs\":[{\"name\":\"bash\",\"enabled\":" \
	"true,"                                                                                              \
	"\"permission_policy\":{\"type\":\"always_allow\"}}]},{\"type\":\"custom\",\"name\":\"weather\"}]}"

struct previews {
	struct id last;
	struct buf text; /* of the present message */
	unsigned index;
};

static void
on_start(void *arg, enum event_type type, const struct id *id)
{
	struct previews *p = arg;
	ASSERT(type == EV_AGENT_MESSAGE || type == EV_AGENT_THINKING);
	ASSERT(!str_eq(id_str(&p->last), id_str(id)));
	p->last = *id;
	p->index = 0;
	buf_clear(&p->text);
}

static void
on_text(void *arg, const struct id *id, unsigned index, struct str delta)
{
	struct previews *p = arg;
	ASSERT(str_eq(id_str(&p->last), id_str(id)));
	ASSERT(index == p->index || index == p->index + 1);
	p->index = index;
	buf_put_str(&p->text, delta);
}

/* Everything that was shown of the last message is in its blocks, in order. */
static void
check_previews(const struct model_response *r, const struct previews *p)
{
	AUTO(buf) struct buf all;
	buf_init(&all, LIM_MODEL_RESPONSE);
	for (size_t i = 0; i < r->n_blocks; i++) {
		if (r->blocks[i].kind == BLOCK_TEXT &&
			str_eq(id_str(&r->blocks[i].event_id), id_str(&p->last)))
			buf_put_str(&all, buf_str(&r->blocks[i].text));
	}
	if (all.n > 0)
		ASSERT(str_eq(buf_str(&all), buf_str(&p->text)));
}

static void
check_plan(const struct model_response *r)
{
	struct plan *p = calloc(1, sizeof(*p));
	struct session_state s;
	struct err e = {0};
	ASSERT(p != NULL);
	session_state_init(&s);
	s.agent = STR(AGENT);
	s.agent_name = STR("A");
	s.turn.status = TURN_RUNNING;
	s.turn.last_seq = s.turn.request_seq = 5;
	p->arena = arena_new(256 * MIB);
	int rc = plan_response(p, &s, r, 1700000000000000, &e);
	if (rc == 0)
		rc = plan_extend(p, &s, 1700000000000000, &e);
	ASSERT(rc == 0 || rc == -ERR_TOO_LARGE);
	for (size_t i = 0; i < p->n_rows; i++) {
		AUTO(json) struct json_t *v = NULL;
		ASSERT(p->rows[i].body.n == 0 || json_parse(p->rows[i].body, &v, &e) == 0 ||
			p->rows[i].body.n > MIB);
	}
	arena_free(p->arena);
	free(p);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct model_response r;
	struct previews p = {.index = 0};
	struct response_hooks h = {.arg = &p, .on_start = on_start, .on_text = on_text};
	ASSERT(response_init(&r, NULL) == 0);
	buf_init(&p.text, LIM_MODEL_RESPONSE);
	int rc = 0;
	for (struct str rest = str_n(data, size); rc == 0 && rest.p != NULL;) {
		struct str line = str_next(&rest, '\n');
		if (line.n > 0)
			rc = response_feed(&r, line, &h, NULL);
	}
	check_previews(&r, &p);
	ASSERT(r.n_blocks <= LIM_MODEL_BLOCKS && r.total <= LIM_MODEL_RESPONSE + size);
	if (rc == 0 && response_finish(&r, NULL) == 0)
		check_plan(&r);
	buf_done(&p.text);
	response_done(&r);
	return 0;
}
