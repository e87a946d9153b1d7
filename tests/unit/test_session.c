/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A session as a fold. Many random runs are recorded; then, for each prefix of each log: folding is
 * deterministic, a snapshot taken there and folded on gives the same state, the turn machine names the action
 * that the run took, planning it gives the same rows, and a brain that starts there with nothing in flight
 * comes to the same end.
 */
#include "model_talk.h"

#define RUNS      200
#define RUN_STEPS 100

/* ---- a seeded generator ---- */

struct rng {
	uint64_t s;
};

static uint32_t
rnd(struct rng *r, uint32_t n)
{
	r->s ^= r->s << 13;
	r->s ^= r->s >> 7;
	r->s ^= r->s << 17;
	return (uint32_t)((r->s >> 11) % n);
}

/* ---- a random model and a random client ---- */

static void
random_answer(struct sim *m, struct rng *r)
{
	static const char *const names[] = {"bash", "read", "write", "edit", "grep", "weather", "no_such"};
	static char rec[40][512];
	const char *all[42] = {REC_START};
	size_t n = 0, k = 1;
	unsigned blocks = rnd(r, 4), tools = 0;
	for (unsigned i = 0; i < blocks; i++) {
		unsigned what = rnd(r, 4);
		if (what == 0)
			snprintf(rec[n++], 512,
				"{\"type\":\"content_block_start\",\"index\":%u,\"content_block\":{\"type\":"
				"\"text\",\"text\":\"%s\"}}",
				i, rnd(r, 4) == 0 ? "" : "words");
		else if (what == 1)
			snprintf(rec[n++], 512,
				"{\"type\":\"content_block_start\",\"index\":%u,\"content_block\":{\"type\":"
				"\"thinking\",\"thinking\":"
				"\"hm\",\"signature\":\"s\"}}",
				i);
		else
			snprintf(rec[n++], 512,
				"{\"type\":\"content_block_start\",\"index\":%u,\"content_block\":{\"type\":"
				"\"tool_use\",\"id\":"
				"\"t%u\",\"name\":\"%s\",\"input\":{\"a\":%u}}}",
				i, i, names[rnd(r, ARRAY_LEN(names))], rnd(r, 9));
		tools += what >= 2;
		snprintf(rec[n++], 512, "{\"type\":\"content_block_stop\",\"index\":%u}", i);
	}
	snprintf(rec[n++], 512,
		"{\"type\":\"message_delta\",\"delta\":{\"stop_reason\":\"%s\"},\"usage\":{\"output_tokens\":"
		"%u}}",
		tools > 0 ? "tool_use"
			  : (const char *const[]){"end_turn", "end_turn", "max_tokens", "refusal"}[rnd(r, 4)],
		rnd(r, 100));
	for (size_t i = 0; i < n; i++)
		all[k++] = rec[i];
	all[k] = REC_STOP;
	sim_answer(m, all);
}

static void
random_client(struct sim *m, struct rng *r)
{
	char z[1024];
	const struct turn *t = &m->s.turn;
	const char *id = t->n_tools > 0 ? t->tools[rnd(r, t->n_tools)].id.z : "sevt_none";
	const char *message = "{\"type\":\"user.message\",\"content\":[{\"type\":\"text\",\"text\":\"go\"}]}";
	switch (rnd(r, 8)) {
	case 0:
	case 1:
		snprintf(z, sizeof(z), "[%s]", message);
		break;
	case 2:
		snprintf(z, sizeof(z), "[{\"type\":\"user.interrupt\"}%s%s]", rnd(r, 2) ? "," : "", "");
		if (z[strlen(z) - 2] == ',')
			snprintf(z, sizeof(z), "[{\"type\":\"user.interrupt\"},%s]", message);
		break;
	case 3:
		snprintf(z, sizeof(z),
			"[%s,{\"type\":\"system.message\",\"content\":[{\"type\":\"text\",\"text\":\"s\"}]}]",
			message);
		break;
	case 4:
		snprintf(z, sizeof(z),
			"[{\"type\":\"user.custom_tool_result\",\"custom_tool_use_id\":\"%s\"}]", id);
		break;
	case 5:
		snprintf(z, sizeof(z),
			"[{\"type\":\"user.tool_confirmation\",\"tool_use_id\":\"%s\",\"result\":\"deny\","
			"\"deny_message\":\"no\"}]",
			id);
		break;
	default:
		snprintf(z, sizeof(z),
			"[{\"type\":\"user.tool_confirmation\",\"tool_use_id\":\"%s\",\"result\":\"allow\"}]",
			id);
		break;
	}
	int rc = sim_send_at(m, z, rnd(r, 2) == 0);
	assert_true(rc == 0 || rc == -ERR_INVALID);
}

/* Executes one step of what there is to do. `r` NULL: a model that says one thing and tools that work. */
static void
step(struct sim *m, struct rng *r)
{
	struct turn_action a = sim_advance(m);
	switch (a.kind) {
	case ACT_CONTINUE_REQUEST:
		if (r == NULL)
			SIM_SAY(m);
		else if (rnd(r, 6) > 0)
			random_answer(m, r);
		else
			sim_fail(m,
				(enum model_end[]){MODEL_END_ERROR, MODEL_END_ERROR, MODEL_END_ERROR,
					MODEL_END_FATAL, MODEL_END_LOST}[rnd(r, 5)],
				"model_overloaded_error", 0);
		break;
	case ACT_RUN_TOOLS:
		for (uint32_t i = 0; i < m->s.turn.n_tools; i++) {
			if (!turn_tool_runnable(&m->s.turn.tools[i]))
				continue;
			sim_result(m, i, "out", r != NULL && rnd(r, 3) == 0);
			break;
		}
		break;
	case ACT_WAIT_UNTIL:
		m->now = a.at_us;
		break;
	case ACT_INTERRUPT:
		sim_interrupt(m);
		break;
	case ACT_NONE:
	case ACT_START_TURN:
	case ACT_TAKE_QUEUED:
	case ACT_REQUEST_MODEL:
	case ACT_DENY_TOOLS:
	case ACT_RESUME:
	case ACT_GO_IDLE:
		break;
	}
}

static void
check_invariants(const struct turn *t)
{
	assert_true(t->n_tools == 0 || t->request_seq == 0);
	assert_true(t->n_tools == 0 || !t->wants_model);
	assert_true(t->request_seq == 0 || t->status == TURN_RUNNING);
}

static void
record(struct sim *m, struct rng *r)
{
	sim_init(m);
	for (int i = 0; i < RUN_STEPS; i++) {
		if (rnd(r, 3) == 0)
			random_client(m, r);
		else
			step(m, r);
		check_invariants(&m->s.turn);
	}
}

/* ---- comparing states ---- */

static struct str
encoded(const struct session_state *s, struct buf *b)
{
	buf_clear(b);
	session_encode(s, b);
	assert_int_equal(buf_check(b, NULL), 0);
	return buf_str(b);
}

static void
assert_same_state(const struct session_state *a, const struct session_state *b)
{
	AUTO(buf) struct buf x, y;
	buf_init(&x, 1 * MIB);
	buf_init(&y, 1 * MIB);
	assert_true(str_eq(encoded(a, &x), encoded(b, &y)));
}

static void
fold_range(struct session_state *s, const struct sim *m, size_t from, size_t to)
{
	struct err e = {0};
	for (size_t i = from; i < to; i++) {
		if (session_fold(s, &m->log[i], &e) < 0)
			fail_msg("row %zu: %s", i + 1, e.msg);
	}
}

static void
decode(struct session_state *out, const struct session_state *from)
{
	struct err e = {0};
	AUTO(buf) struct buf b;
	buf_init(&b, 1 * MIB);
	if (session_decode(encoded(from, &b), out, &e) < 0)
		fail_msg("%s", e.msg);
}

/* ---- the properties ---- */

/* A snapshot at any prefix, decoded and folded on, is the whole fold. */
static void
check_snapshots(const struct sim *m)
{
	struct session_state s;
	session_state_init(&s);
	for (size_t i = 0; i < m->n; i++) {
		struct session_state copy;
		fold_range(&s, m, i, i + 1);
		decode(&copy, &s);
		assert_same_state(&copy, &s);
		if (i % 7 == 0) {
			fold_range(&copy, m, i + 1, m->n);
			assert_same_state(&copy, &m->s);
		}
		session_state_done(&copy);
	}
	assert_same_state(&s, &m->s);
	session_state_done(&s);
}

/* Same kinds in the same order, naming the same rows. */
static void
assert_same_rows(const struct plan *p, const struct event_row *rows, size_t n)
{
	assert_int_equal(p->n_rows, n);
	for (size_t i = 0; i < n; i++) {
		assert_int_equal(p->rows[i].facts.type, rows[i].facts.type);
		assert_int_equal(p->rows[i].facts.ref, rows[i].facts.ref);
		assert_int_equal(p->rows[i].facts.stop, rows[i].facts.stop);
	}
}

/* At each batch the machine names the action that was taken; what plan_advance made it makes again. */
static void
check_actions(const struct sim *m)
{
	struct session_state s;
	struct err e = {0};
	size_t at = 0;
	session_state_init(&s);
	for (size_t i = 0; i < m->n_batches; i++) {
		const struct sim_batch *b = &m->batches[i];
		fold_range(&s, m, at, b->first);
		at = b->first;
		assert_int_equal(turn_next(&s.turn, b->now).kind, b->before);
		if (!b->advance)
			continue;
		struct plan *p = sim_plan_new();
		assert_int_equal(plan_advance(p, &s, b->now, &e), 0);
		assert_same_rows(p, &m->log[b->first], b->n);
		sim_plan_free(p);
	}
	session_state_done(&s);
}

/* A copy of the log's beginning as a run of its own. */
static void
fork_at(struct sim *to, const struct sim *m, size_t rows, uint64_t now)
{
	*to = (struct sim){.now = now};
	session_state_init(&to->s);
	to->arena = arena_new(256 * MIB);
	to->context = transcript_new();
	for (size_t i = 0; i < rows; i++)
		sim_row(to, &m->log[i]);
}

static void
run_to_rest(struct sim *m)
{
	for (int i = 0; sim_next(m) != ACT_NONE; i++) {
		assert_true(i < 2000);
		step(m, NULL);
	}
}

/* The brain dies after any batch: its successor finds a request that nobody makes, and goes on to the same
 * end. */
static void
check_crash(const struct sim *m, size_t rows, uint64_t now)
{
	struct sim lives, dies;
	fork_at(&lives, m, rows, now);
	fork_at(&dies, m, rows, now);
	if (sim_next(&dies) == ACT_CONTINUE_REQUEST)
		sim_fail(&dies, MODEL_END_LOST, NULL, 0);
	run_to_rest(&lives);
	run_to_rest(&dies);
	assert_int_equal(lives.s.turn.status, dies.s.turn.status);
	assert_int_equal(lives.s.turn.stop, dies.s.turn.stop);
	assert_int_equal(lives.s.turn.n_tools, dies.s.turn.n_tools);
	assert_int_equal(dies.s.turn.n_queued, 0);
	assert_false(turn_busy(&dies.s.turn));
	sim_done(&lives);
	sim_done(&dies);
}

/* The runs are worth something only when together they went everywhere. */
static void
check_coverage(const size_t types[EV_COUNT], const size_t actions[ACT_INTERRUPT + 1],
	const size_t ends[MODEL_END_LOST + 1])
{
	static const enum event_type wanted[] = {EV_USER_MESSAGE, EV_USER_INTERRUPT,
		EV_USER_TOOL_CONFIRMATION, EV_USER_CUSTOM_TOOL_RESULT, EV_SYSTEM_MESSAGE, EV_AGENT_MESSAGE,
		EV_AGENT_THINKING, EV_AGENT_TOOL_USE, EV_AGENT_TOOL_RESULT, EV_AGENT_CUSTOM_TOOL_USE,
		EV_SESSION_STATUS_RUNNING, EV_SESSION_STATUS_IDLE, EV_SESSION_STATUS_RESCHEDULED,
		EV_SESSION_ERROR, EV_PROCESSED};
	for (size_t i = 0; i < ARRAY_LEN(wanted); i++) {
		if (types[wanted[i]] < 20)
			fail_msg("only %zu of %s", types[wanted[i]], event_name(wanted[i]));
	}
	for (int a = ACT_START_TURN; a <= ACT_INTERRUPT; a++) {
		if (actions[a] < 20)
			fail_msg("action %d was taken %zu times", a, actions[a]);
	}
	for (int a = MODEL_END_TURN; a <= MODEL_END_LOST; a++) {
		if (ends[a] < 20)
			fail_msg("end %d came %zu times", a, ends[a]);
	}
}

static void
random_runs(void **state)
{
	(void)state;
	size_t types[EV_COUNT] = {0}, actions[ACT_INTERRUPT + 1] = {0}, ends[MODEL_END_LOST + 1] = {0};
	for (uint64_t seed = 1; seed <= RUNS; seed++) {
		struct sim m;
		struct rng r = {seed * 0x9e3779b97f4a7c15ull};
		record(&m, &r);
		check_snapshots(&m);
		check_actions(&m);
		for (size_t i = 0; seed % 3 == 0 && i < m.n_batches; i += 3)
			check_crash(&m, m.batches[i].first, m.batches[i].now);
		struct session_state s;
		session_state_init(&s);
		for (size_t i = 0; i < m.n; i++) {
			fold_range(&s, &m, i, i + 1);
			types[m.log[i].facts.type]++;
			ends[m.log[i].facts.end]++;
			actions[turn_next(&s.turn, m.log[i].facts.at_us).kind]++;
			actions[turn_next(&s.turn, UINT64_MAX).kind]++;
		}
		session_state_done(&s);
		sim_done(&m);
	}
	check_coverage(types, actions, ends);
}

/* ---- damaged snapshots ---- */

static void
damaged_snapshots(void **state)
{
	(void)state;
	struct sim m;
	struct rng r = {77};
	struct err e = {0};
	AUTO(buf) struct buf b;
	buf_init(&b, 1 * MIB);
	record(&m, &r);
	encoded(&m.s, &b);
	for (size_t n = 0; n < b.n; n++) {
		struct session_state s;
		assert_err(session_decode(str_n(b.p, n), &s, &e), e, ERR_CORRUPT);
	}
	b.p[4] ^= 1; /* the version */
	struct session_state s;
	assert_err(session_decode(buf_str(&b), &s, &e), e, ERR_CORRUPT);
	sim_done(&m);
}

/* ---- rows with bodies ---- */

static void
append_row(struct sim *m, const struct event_row *row)
{
	sim_row(m, row);
	m->now += 1000;
}

static struct json_t *
rendered(const struct sim *m, bool thread)
{
	struct json_t *v = NULL;
	struct err e = {0};
	AUTO(buf) struct buf b;
	buf_init(&b, 1 * MIB);
	struct json_w w = json_w(&b);
	if (thread)
		session_render_thread(&m->s, m->now, &w);
	else
		session_render(&m->s, m->now, &w);
	if (json_parse(buf_str(&b), &v, &e) < 0)
		fail_msg("%s", e.msg);
	return v;
}

static void
assert_members(const struct json_t *v, const char *const names[])
{
	size_t n = 0;
	for (; names[n] != NULL; n++) {
		if (json_get(v, names[n]) == NULL)
			fail_msg("no member %s", names[n]);
	}
	assert_int_equal(json_len(v), n);
}

static void
updates(void **state)
{
	(void)state;
	struct sim m;
	struct event_row row;
	sim_init(&m);
	struct session_change c = {.has_title = true,
		.title = STR("New"),
		.has_metadata = true,
		.metadata = STR("{\"a\":\"b\"}")};
	session_updated_row(&c, m.arena, m.now, &row);
	append_row(&m, &row);
	assert_str(m.s.title, "New");
	assert_str(m.s.metadata, "{\"a\":\"b\"}");
	c = (struct session_change){
		.has_title = true, .title = STR_NULL, .has_metadata = true, .metadata = STR("{}")};
	session_updated_row(&c, m.arena, m.now, &row);
	assert_true(str_find_str(row.body, STR("metadata")) == row.body.n); /* the contract leaves it out */
	append_row(&m, &row);
	assert_null(m.s.title.p);
	assert_str(m.s.metadata, "{}");
	c = (struct session_change){.has_agent = true,
		.agent = STR("{\"type\":\"agent\",\"id\":\"agent_2\",\"version\":3,\"name\":\"N\",\"model\":{"
			     "\"id\":\"m-2\"}}")};
	session_updated_row(&c, m.arena, m.now, &row);
	append_row(&m, &row);
	assert_str(m.s.agent_name, "N");
	assert_str(m.s.agent_model, "m-2");
	assert_int_equal(m.s.agent_version, 3);
	sim_done(&m);
}

static void
resources(void **state)
{
	(void)state;
	struct sim m;
	struct event_row row;
	AUTO(buf) struct buf b;
	buf_init(&b, 4096);
	sim_init(&m);
	struct session_resource r = {.id = id_new("sesrsc", m.now),
		.file_id = id_new("file", m.now),
		.mount_path = STR("/mnt/session/uploads/a.csv"),
		.size = 7};
	struct json_w w = json_w(&b);
	session_resource_json(&r, m.now, &w);
	r.json = buf_str(&b);
	session_resource_added_row(&r, m.arena, m.now, &row);
	append_row(&m, &row);
	assert_int_equal(m.s.n_resources, 1);
	const struct session_resource *got = session_resource_by_id(&m.s, id_str(&r.id));
	assert_non_null(got);
	assert_int_equal(got->size, 7);
	assert_str(got->mount_path, "/mnt/session/uploads/a.csv");
	assert_str(id_str(&got->file_id), r.file_id.z);
	struct json_t *v = rendered(&m, false);
	static const char *const file[] = {
		"type", "id", "file_id", "mount_path", "created_at", "updated_at", NULL};
	assert_members(json_at(json_get(v, "resources"), 0), file);
	json_free(v);
	session_resource_removed_row(id_str(&r.id), m.arena, m.now, &row);
	append_row(&m, &row);
	assert_int_equal(m.s.n_resources, 0);
	assert_null(session_resource_by_id(&m.s, id_str(&r.id)));
	row.seq = (uint32_t)m.n + 1; /* it is gone: a second removal cannot be */
	assert_err(session_fold(&m.s, &row, &m.e), m.e, ERR_CORRUPT);
	sim_done(&m);
}

/* Exactly the members of the SDK's types. */
static void
objects(void **state)
{
	(void)state;
	static const char *const session[] = {"type", "id", "status", "title", "agent", "environment_id",
		"resources", "vault_ids", "budget", "metadata", "usage", "stats", "outcome_evaluations",
		"created_at", "updated_at", "archived_at", NULL};
	static const char *const thread[] = {"type", "id", "session_id", "parent_thread_id", "status",
		"agent", "workflow_run_id", "stats", "usage", "created_at", "updated_at", "archived_at",
		NULL};
	static const char *const thread_agent[] = {"type", "id", "version", "name", "description", "model",
		"system", "tools", "mcp_servers", "skills", "execution_identity", NULL};
	struct sim m;
	sim_init(&m);
	struct json_t *v = rendered(&m, false);
	assert_members(v, session);
	assert_str(json_get_str(v, "status"), "idle");
	assert_int_equal(json_kind(json_get(v, "archived_at")), JSON_NULL);
	json_free(v);
	v = rendered(&m, true);
	assert_members(v, thread);
	assert_members(json_get(v, "agent"), thread_agent);
	assert_int_equal(json_kind(json_get(v, "stats")), JSON_NULL);
	assert_int_equal(json_kind(json_get(v, "usage")), JSON_NULL);
	json_free(v);
	sim_ok(&m, "[{\"type\":\"user.message\",\"content\":[{\"type\":\"text\",\"text\":\"Hi\"}]}]");
	sim_advance(&m);
	m.now += 5000000;
	SIM_SAY(&m);
	sim_advance(&m);
	m.now += 1000000000;
	v = rendered(&m, true);
	assert_int_equal(json_get_int(json_get(v, "usage"), "input_tokens", 0), 10);
	assert_int_equal(json_get_int(json_get(v, "usage"), "output_tokens", 0), 5);
	double active = json_real(json_get(json_get(v, "stats"), "active_seconds"), -1);
	assert_true(active > 4.9 && active < 5.1); /* idle time does not count */
	assert_true(json_real(json_get(json_get(v, "stats"), "duration_seconds"), 0) > 1000);
	json_free(v);
	sim_done(&m);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(random_runs),
		cmocka_unit_test(damaged_snapshots),
		cmocka_unit_test(updates),
		cmocka_unit_test(resources),
		cmocka_unit_test(objects),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
