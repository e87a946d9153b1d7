/* SPDX-License-Identifier: Apache-2.0 */
#include "unit.h"

#include "model/event.h"

static void
names(void **state)
{
	(void)state;
	for (int i = EV_NONE + 1; i < EV_COUNT; i++) {
		enum event_type t = (enum event_type)i;
		assert_int_equal(event_type_of(str_z(event_name(t))), t);
		bool internal = str_starts(str_z(event_name(t)), STR("pinfold."));
		assert_int_equal(internal, !event_listed(t));
		assert_int_equal(internal, event_class(t) == EVENT_INTERNAL);
	}
	assert_int_equal(event_type_of(STR("user.messages")), EV_NONE);
	assert_int_equal(event_type_of(STR("")), EV_NONE);
	assert_string_equal(event_name(EV_NONE), "");
	assert_string_equal(event_name(EV_COUNT), "");
	assert_false(event_body_folds(EV_COUNT));
}

/* Only what waits in the queue has no time at birth (contract §9.3). */
static void
birth(void **state)
{
	(void)state;
	assert_false(event_processed_at_birth(EV_USER_MESSAGE));
	assert_false(event_processed_at_birth(EV_USER_INTERRUPT));
	assert_false(event_processed_at_birth(EV_USER_TOOL_CONFIRMATION));
	assert_false(event_processed_at_birth(EV_SYSTEM_MESSAGE));
	assert_true(event_processed_at_birth(EV_USER_CUSTOM_TOOL_RESULT));
	assert_true(event_processed_at_birth(EV_USER_TOOL_RESULT));
	assert_true(event_processed_at_birth(EV_USER_DEFINE_OUTCOME));
	assert_true(event_processed_at_birth(EV_AGENT_MESSAGE));
}

static void
facts_round_trip(void **state)
{
	(void)state;
	struct event_facts f = {.type = EV_SESSION_ERROR,
		.permission = PERM_DENY,
		.stop = STOP_REFUSAL,
		.end = MODEL_END_LOST,
		.retry = RETRY_TERMINAL,
		.is_error = 1,
		.ref = 0x01020304,
		.ref2 = 0xfffefdfc,
		.at_us = 0x0102030405060708,
		.until_us = UINT64_MAX,
		.input_tokens = 1,
		.output_tokens = UINT32_MAX,
		.cache_read_tokens = 3,
		.cache_creation_tokens = 4,
		.web_searches = 5};
	struct event_facts got;
	struct err e = {0};
	uint8_t b[EVENT_FACTS_BYTES];
	event_facts_encode(&f, b);
	assert_int_equal(b[8], 4); /* little endian */
	assert_int_equal(b[11], 1);
	assert_int_equal(event_facts_decode(str_n(b, sizeof(b)), &got, &e), 0);
	assert_memory_equal(&got, &f, sizeof(f));
}

static void
facts_damaged(void **state)
{
	(void)state;
	struct event_facts f = {.type = EV_AGENT_MESSAGE}, got;
	struct err e = {0};
	uint8_t good[EVENT_FACTS_BYTES];
	event_facts_encode(&f, good);
	assert_err(event_facts_decode(str_n(good, sizeof(good) - 1), &got, &e), e, ERR_CORRUPT);
	for (size_t i = 0; i < 7; i++) {
		uint8_t b[EVENT_FACTS_BYTES];
		memcpy(b, good, sizeof(b));
		b[i] = 0xff;
		assert_err(event_facts_decode(str_n(b, sizeof(b)), &got, &e), e, ERR_CORRUPT);
	}
	good[1] = EV_NONE;
	assert_err(event_facts_decode(str_n(good, sizeof(good)), &got, &e), e, ERR_CORRUPT);
}

static void
rendering(void **state)
{
	(void)state;
	AUTO(buf) struct buf b;
	buf_init(&b, 1024);
	event_render(&b, STR("{\"type\":\"t\",\"id\":\"i\"}"), 0);
	assert_str(buf_str(&b), "{\"type\":\"t\",\"id\":\"i\",\"processed_at\":null}");
	buf_clear(&b);
	event_render(&b, STR("{\"type\":\"t\",\"id\":\"i\"}"), 1700000000123456);
	assert_str(buf_str(&b),
		"{\"type\":\"t\",\"id\":\"i\",\"processed_at\":\"2023-11-14T22:13:20.123456Z\"}");
	buf_clear(&b);
	event_render(&b, STR("{}"), 0);
	assert_str(buf_str(&b), "{\"processed_at\":null}");
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(names),
		cmocka_unit_test(birth),
		cmocka_unit_test(facts_round_trip),
		cmocka_unit_test(facts_damaged),
		cmocka_unit_test(rendering),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
