/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Bodies as clients send them: the first byte chooses agent, update, overrides, environment or event; JSON
 * follows. What is taken must be JSON, must stay as it is when updated with nothing, and must render.
 */
#include "fuzz.h"

#include "base/limits.h"
#include "model/agent.h"
#include "model/client_event.h"
#include "model/environment.h"

static const char config[] =
	"{\"name\":\"A\",\"description\":null,\"model\":{\"id\":\"m\",\"effort\":{\"type\":\"high\"},"
	"\"speed\":"
	"\"standard\"},\"system\":null,\"tools\":[],\"mcp_servers\":[],\"skills\":[],\"multiagent\":null,"
	"\"execution_identity\":{\"type\":\"service_account\"},\"metadata\":{}}";

static struct json_t *
parsed(const struct buf *b)
{
	struct json_t *v = NULL;
	ASSERT(json_parse(buf_str(b), &v, NULL) == 0);
	return v;
}

static void
check_agent(const struct buf *b)
{
	AUTO(json) struct json_t *v = parsed(b);
	AUTO(buf) struct buf out;
	struct json_t *empty = NULL;
	uint64_t version = 0;
	buf_init(&out, LIM_HTTP_BODY);
	ASSERT(json_parse(STR("{}"), &empty, NULL) == 0);
	struct json_at root = json_root(empty);
	ASSERT(agent_parse_update(NULL, &root, v, &out, &version, NULL) == 0);
	struct json_t *same = parsed(&out);
	ASSERT(json_equal(same, v));
	buf_clear(&out);
	struct agent_meta m = {.id = STR("agent_1"), .version = 1};
	struct json_w w = json_w(&out);
	agent_render(&m, v, &w);
	json_free(parsed(&out));
	buf_clear(&out);
	ASSERT(agent_snapshot(NULL, &m, v, NULL, &out, NULL) == 0);
	json_free(parsed(&out));
	json_free(same);
	json_free(empty);
}

static void
agent(const struct json_at *at, int how)
{
	AUTO(json) struct json_t *now = NULL;
	AUTO(buf) struct buf b;
	uint64_t version = 0;
	struct agent_meta m = {.id = STR("agent_1"), .version = 1};
	buf_init(&b, LIM_HTTP_BODY);
	ASSERT(json_parse(str_z(config), &now, NULL) == 0);
	if (how == 2) {
		if (agent_snapshot(NULL, &m, now, at, &b, NULL) == 0)
			json_free(parsed(&b));
		return;
	}
	int r = how == 0 ? agent_parse_create(NULL, at, &b, NULL)
			 : agent_parse_update(NULL, at, now, &b, &version, NULL);
	if (r == 0)
		check_agent(&b);
}

static void
environment(const struct json_at *at)
{
	AUTO(buf) struct buf b, again;
	buf_init(&b, LIM_HTTP_BODY);
	buf_init(&again, LIM_HTTP_BODY);
	if (environment_parse_create(NULL, at, &b, NULL) < 0)
		return;
	struct json_t *v = parsed(&b);
	struct json_at root = json_root(v);
	struct json_t *same = NULL;
	/* what was normalised is itself a body for an update of itself */
	ASSERT(environment_parse_update(NULL, &root, v, &again, NULL) == 0);
	same = parsed(&again);
	json_free(same);
	json_free(v);
}

static void
event(const struct json_at *at)
{
	struct arena *a = arena_new(LIM_REQ_ARENA);
	struct client_event c;
	for (int initial = 0; initial < 2; initial++) {
		AUTO(json) struct json_t *v = NULL;
		if (client_event_parse(a, at, initial == 1, 1700000000000000, &c, NULL) == 0)
			ASSERT(json_parse(c.body, &v, NULL) == 0);
	}
	arena_free(a);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	AUTO(json) struct json_t *v = NULL;
	if (size < 2 || json_parse(str_n(data + 1, size - 1), &v, NULL) < 0)
		return 0;
	struct json_at at = json_root(v);
	switch (data[0] % 5) {
	case 3:
		environment(&at);
		break;
	case 4:
		event(&at);
		break;
	default:
		agent(&at, data[0] % 5);
		break;
	}
	return 0;
}
