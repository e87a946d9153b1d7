/* SPDX-License-Identifier: Apache-2.0 */
#include "unit.h"

#include <stdio.h>

#include "base/frame.h"
#include "base/guest_call.h"
#include "base/limits.h"
#include "hands/execs.h"

static struct id overdue;

static void
on_overdue(void *owner, struct exec *x)
{
	overdue = x->id;
	loop_stop(owner);
}

static struct exec *
add(struct execs *x, const char *id, uint64_t call)
{
	struct exec_call c = {str_z(id), STR("bash"), STR("{}"), 1000, call};
	struct exec *e = NULL;
	struct err err = {0};

	assert_int_equal(execs_add(x, &c, &e, &err), 0);
	return e;
}

static void
finish(struct exec *x, const char *text)
{
	struct guest_result r = {.exec_id = id_str(&x->id), .text = str_z(text), .full_length = strlen(text)};
	struct err e = {0};

	assert_int_equal(exec_finish(x, &r, &e), 0);
}

static void
a_call_is_kept_until_it_is_acknowledged(void **state)
{
	struct loop *l = NULL;
	struct execs x;
	struct err e = {0};
	struct frame f;
	size_t used;

	(void)state;
	assert_int_equal(loop_new(&l, &e), 0);
	execs_init(&x, l, l, on_overdue);
	struct exec *c = add(&x, "sevt_1", 7);

	assert_ptr_equal(execs_find(&x, STR("sevt_1")), c);
	assert_null(execs_find(&x, STR("sevt_2")));
	assert_true(execs_running(&x));
	assert_int_equal(frame_parse(buf_str(&c->frame), LIM_FRAME_GUEST, &f, &used, &e), 1);
	assert_int_equal(f.type, GC_EXECUTE);
	finish(c, "done");
	assert_true(c->done);
	assert_false(execs_running(&x));
	assert_int_equal(c->frame.n, 0);
	struct frame_r r = frame_r(str_n(c->result.payload, c->result.n));

	assert_str(frame_get_str(&r), "sevt_1");
	assert_false(execs_was_acknowledged(&x, STR("sevt_1")));
	execs_acknowledge(&x, c);
	assert_null(execs_find(&x, STR("sevt_1")));
	assert_true(execs_was_acknowledged(&x, STR("sevt_1")));
	assert_false(execs_was_acknowledged(&x, STR("")));
	execs_done(&x);
	loop_free(l);
}

static void
results_make_room_running_calls_do_not(void **state)
{
	struct exec_call one_more = {STR("sevt_more"), STR("bash"), STR("{}"), 0, 1};
	struct loop *l = NULL;
	struct exec *c = NULL;
	struct execs x;
	struct err e = {0};
	char id[32];

	(void)state;
	assert_int_equal(loop_new(&l, &e), 0);
	execs_init(&x, l, l, on_overdue);
	for (int i = 0; i < LIM_GUEST_RESULTS; i++) {
		snprintf(id, sizeof(id), "sevt_%d", i);
		add(&x, id, 1);
	}
	assert_err(execs_add(&x, &one_more, &c, &e), e, ERR_RATE_LIMITED);
	finish(execs_find(&x, STR("sevt_5")), "a");
	finish(execs_find(&x, STR("sevt_3")), "b");
	assert_int_equal(execs_add(&x, &one_more, &c, &e), 0);
	assert_null(execs_find(&x, STR("sevt_3"))); /* the oldest result, not the first finished */
	assert_non_null(execs_find(&x, STR("sevt_5")));
	execs_done(&x);
	assert_int_equal(x.n, 0);
	loop_free(l);
}

static void
a_call_without_end_is_told(void **state)
{
	struct loop *l = NULL;
	struct execs x;
	struct err e = {0};

	(void)state;
	assert_int_equal(loop_new(&l, &e), 0);
	execs_init(&x, l, l, on_overdue);
	struct exec *slow = add(&x, "sevt_slow", 1), *fine = add(&x, "sevt_fine", 2);

	/* The timers themselves, without waiting for the grace. */
	loop_timer_start(slow->timer, 1, 0);
	loop_timer_start(fine->timer, 1, 0);
	finish(fine, "in time");
	loop_run(l);
	assert_string_equal(overdue.z, "sevt_slow");
	execs_done(&x);
	loop_free(l);
}

int
main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_call_is_kept_until_it_is_acknowledged),
		cmocka_unit_test(results_make_room_running_calls_do_not),
		cmocka_unit_test(a_call_without_end_is_told),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
