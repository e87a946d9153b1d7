/* SPDX-License-Identifier: Apache-2.0 */
/* Shapes of the events that clients send (contract §9.2): what is taken, what is stored, and the path of each
 * refusal. */
#include "unit.h"

#include <stdio.h>

#include "base/limits.h"
#include "model/client_event.h"

static int
parse(struct arena *a, const char *json, bool initial, struct client_event *out, struct err *e)
{
	AUTO(json) struct json_t *v = NULL;
	if (json_parse(str_z(json), &v, e) < 0)
		fail_msg("%s: %s", json, e->msg);
	struct json_at root = json_root(v), events = json_member(&root, "events"),
		       at = json_element(&events, 0);
	*e = (struct err){0};
	return client_event_parse(a, &at, initial, 1700000000000000, out, e);
}

#define EV(x) "{\"events\":[" x "]}"

static void
taken(void **state)
{
	(void)state;
	static const char *const cases[] = {
		EV("{\"type\":\"user.message\",\"content\":[{\"type\":\"text\",\"text\":\"x\"}]}"),
		EV("{\"type\":\"user.message\",\"content\":[{\"type\":\"image\",\"source\":{\"type\":"
		   "\"base64\",\"media_type\":"
		   "\"image/png\",\"data\":\"QUJD\"}}]}"),
		EV("{\"type\":\"user.message\",\"content\":[{\"type\":\"document\",\"title\":null,"
		   "\"context\":\"c\",\"source\":{"
		   "\"type\":\"text\",\"media_type\":\"text/plain\",\"data\":\"d\"}}]}"),
		EV("{\"type\":\"user.message\",\"content\":[{\"type\":\"document\",\"source\":{\"type\":"
		   "\"url\",\"url\":"
		   "\"https://a.example/x.pdf\"}}]}"),
		EV("{\"type\":\"user.interrupt\"}"),
		EV("{\"type\":\"user.interrupt\",\"session_thread_id\":null}"),
		EV("{\"type\":\"user.tool_confirmation\",\"tool_use_id\":\"sevt_1\",\"result\":\"allow\","
		   "\"deny_message\":null}"),
		EV("{\"type\":\"user.custom_tool_result\",\"custom_tool_use_id\":\"sevt_1\"}"),
		EV("{\"type\":\"user.custom_tool_result\",\"custom_tool_use_id\":\"s\",\"is_error\":null,"
		   "\"content\":[{\"type\":"
		   "\"search_result\",\"source\":\"s\",\"title\":\"t\",\"content\":[{\"type\":\"text\","
		   "\"text\":\"x\"}],"
		   "\"citations\":{\"enabled\":true}}]}"),
		EV("{\"type\":\"user.tool_result\",\"tool_use_id\":\"s\",\"content\":[]}"),
		EV("{\"type\":\"user.define_outcome\",\"description\":\"d\",\"rubric\":{\"type\":\"file\","
		   "\"file_id\":\"f\"},"
		   "\"max_iterations\":20}"),
		EV("{\"type\":\"system.message\",\"content\":[{\"type\":\"text\",\"text\":\"x\"}]}"),
	};
	struct arena *a = arena_new(16 * MIB);
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct client_event c;
		struct err e;
		if (parse(a, cases[i], false, &c, &e) < 0)
			fail_msg("%s: %s", cases[i], e.msg);
		assert_true(id_valid(id_str(&c.id), "sevt"));
	}
	arena_free(a);
}

static const struct {
	const char *json, *message;
} refusals[] = {
	{"{\"events\":[7]}", "events.0: Input should be a valid object"},
	{EV("{}"), "events.0.type: Field required"},
	{EV("{\"type\":\"agent.message\"}"), "events.0.type: events of type 'agent.message' cannot be sent"},
	{EV("{\"type\":\"user.message\"}"), "events.0.content: Field required"},
	{EV("{\"type\":\"user.message\",\"content\":[]}"),
		"events.0.content: at least one content block is required"},
	{EV("{\"type\":\"user.message\",\"content\":[{\"type\":\"text\",\"text\":\"\"}]}"),
		"events.0.content.0.text: String should have at least 1 character"},
	{EV("{\"type\":\"user.message\",\"content\":[{\"type\":\"text\",\"text\":\"x\",\"cache\":1}]"
	    "}"),
		"events.0.content.0.cache: Extra inputs are not permitted"},
	{EV("{\"type\":\"user.message\",\"content\":[{\"type\":\"redacted\"}]}"),
		"events.0.content.0: redacted blocks cannot be sent"},
	{EV("{\"type\":\"user.message\",\"content\":[{\"type\":\"search_result\"}]}"),
		"events.0.content.0.type: blocks of this type are not allowed here"},
	{EV("{\"type\":\"user.message\",\"content\":[{\"type\":\"image\",\"source\":{\"type\":"
	    "\"text\",\"media_type\":"
	    "\"text/plain\",\"data\":\"x\"}}]}"),
		"events.0.content.0.source.type: Input should be 'base64', 'url' or 'file'"},
	{EV("{\"type\":\"user.message\",\"content\":[{\"type\":\"image\",\"source\":{\"type\":"
	    "\"base64\",\"media_type\":"
	    "\"image/png\",\"data\":\"a b\"}}]}"),
		"events.0.content.0.source.data: Input should be base64"},
	{EV("{\"type\":\"user.message\",\"content\":[{\"type\":\"image\",\"source\":{\"type\":"
	    "\"url\",\"url\":\"file:///x\"}}]}"),
		"events.0.content.0.source.url: Input should be an http or https URL"},
	{EV("{\"type\":\"user.message\",\"content\":[{\"type\":\"text\",\"text\":\"x\"}],\"id\":"
	    "\"sevt_1\"}"),
		"events.0.id: Extra inputs are not permitted"},
	{EV("{\"type\":\"user.tool_confirmation\",\"tool_use_id\":\"\",\"result\":\"allow\"}"),
		"events.0.tool_use_id: String should have at least 1 character"},
	{EV("{\"type\":\"user.tool_confirmation\",\"tool_use_id\":\"x\",\"result\":\"maybe\"}"),
		"events.0.result: Input should be 'allow' or 'deny'"},
	{EV("{\"type\":\"user.tool_confirmation\",\"tool_use_id\":\"x\",\"result\":\"allow\",\"deny_"
	    "message\":\"m\"}"),
		"events.0.deny_message: deny_message is only allowed when result is 'deny'"},
	{EV("{\"type\":\"user.custom_tool_result\",\"custom_tool_use_id\":\"x\",\"is_error\":1}"),
		"events.0.is_error: Input should be a valid boolean"},
	{EV("{\"type\":\"user.define_outcome\",\"description\":\"d\",\"rubric\":{\"type\":\"text\","
	    "\"content\":\"c\"},"
	    "\"max_iterations\":21}"),
		"events.0.max_iterations: Input should be less than or equal to 20"},
	{EV("{\"type\":\"system.message\",\"content\":[{\"type\":\"image\",\"source\":{}}]}"),
		"events.0.content.0.type: blocks of this type are not allowed here"},
};
static void
refused(void **state)
{
	(void)state;

	struct arena *a = arena_new(16 * MIB);
	for (size_t i = 0; i < ARRAY_LEN(refusals); i++) {
		struct client_event c;
		struct err e;
		assert_err(parse(a, refusals[i].json, false, &c, &e), e, ERR_INVALID);
		assert_string_equal(e.msg, refusals[i].message);
	}
	arena_free(a);
}

static void
initial_events(void **state)
{
	(void)state;
	struct arena *a = arena_new(16 * MIB);
	struct client_event c;
	struct err e;
	assert_int_equal(
		parse(a, EV("{\"type\":\"user.message\",\"content\":[{\"type\":\"text\",\"text\":\"x\"}]}"),
			true, &c, &e),
		0);
	assert_err(parse(a, EV("{\"type\":\"user.interrupt\"}"), true, &c, &e), e, ERR_INVALID);
	assert_err(
		parse(a, EV("{\"type\":\"system.message\",\"content\":[{\"type\":\"text\",\"text\":\"x\"}]}"),
			true, &c, &e),
		e, ERR_INVALID);
	assert_err(parse(a,
			   EV("{\"type\":\"user.define_outcome\",\"description\":\"d\",\"rubric\":{\"type\":"
			      "\"text\",\"content\":\"c\"}}"),
			   true, &c, &e),
		e, ERR_INVALID);
	assert_non_null(strstr(e.msg, "not supported yet"));
	arena_free(a);
}

static void
stored(void **state)
{
	(void)state;
	struct arena *a = arena_new(16 * MIB);
	struct client_event c;
	struct err e;
	struct event_row row;
	assert_int_equal(
		parse(a,
			EV("{\"deny_message\":\"no\",\"result\":\"deny\",\"tool_use_id\":\"sevt_9\",\"type\":"
			   "\"user.tool_confirmation\"}"),
			false, &c, &e),
		0);
	assert_str(c.ref_id, "sevt_9");
	char want[256];
	snprintf(want, sizeof(want),
		"{\"type\":\"user.tool_confirmation\",\"id\":\"%s\",\"deny_message\":\"no\",\"result\":"
		"\"deny\",\"tool_use_id\":"
		"\"sevt_9\"}",
		c.id.z);
	assert_str(c.body, want);
	client_event_row(&c, 42, 5, &row);
	assert_int_equal(row.facts.type, EV_USER_TOOL_CONFIRMATION);
	assert_int_equal(row.facts.permission, PERM_DENY);
	assert_int_equal(row.facts.ref, 42);
	assert_int_equal(row.facts.at_us, 5);
	assert_int_equal(row.seq, 0);
	/* the thread is told apart from the body */
	assert_int_equal(
		parse(a, EV("{\"type\":\"user.interrupt\",\"session_thread_id\":\"sthr_1\"}"), false, &c, &e),
		0);
	assert_str(c.thread, "sthr_1");
	assert_true(str_find_str(c.body, STR("sthr_1")) == c.body.n);
	arena_free(a);
}

static void
files(void **state)
{
	(void)state;
	struct arena *a = arena_new(16 * MIB);
	struct client_event c;
	struct err e;
	AUTO(buf) struct buf json;
	buf_init(&json, 4096);
	buf_put_z(&json, "{\"events\":[{\"type\":\"user.message\",\"content\":[");
	for (int i = 0; i < 20; i++)
		buf_printf(&json,
			"%s{\"type\":\"%s\",\"source\":{\"type\":\"file\",\"file_id\":\"file_%d\"}}",
			i > 0 ? "," : "", i % 2 ? "image" : "document", i);
	buf_put_z(&json, "]}]}");
	buf_put_c(&json, 0);
	assert_int_equal(parse(a, json.p, false, &c, &e), 0);
	assert_int_equal(c.n_files, 20);
	assert_str(c.files[0], "file_0");
	assert_str(c.files[19], "file_19");
	arena_free(a);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(taken),
		cmocka_unit_test(refused),
		cmocka_unit_test(initial_events),
		cmocka_unit_test(stored),
		cmocka_unit_test(files),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
