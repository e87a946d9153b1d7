/* SPDX-License-Identifier: Apache-2.0 */
#include "unit.h"

#include "alloc_fail.h"
#include "base/frame.h"

static void
put_sample(struct buf *b)
{
	struct frame_w w = frame_begin(b, 0x1234, 0x1122334455667788u);

	frame_u64(&w, 7);
	frame_str(&w, STR("hi"));
	frame_str(&w, STR_NULL);
	frame_end(&w, FRAME_FD);
}

static void
test_wire_form(void **state)
{
	static const char want[] = "\x12\0\0\0\x34\x12\x01\0\x88\x77\x66\x55\x44\x33\x22\x11"
				   "\x07\0\0\0\0\0\0\0\x02\0\0\0hi\0\0\0\0";
	AUTO(buf) struct buf b;

	(void)state;
	buf_init(&b, 100);
	put_sample(&b);
	assert_int_equal(buf_check(&b, NULL), 0);
	assert_int_equal(b.n, sizeof(want) - 1);
	assert_memory_equal(b.p, want, b.n);
}

static void
test_parse_wants_all_bytes(void **state)
{
	AUTO(buf) struct buf b;
	struct frame f = {0};
	size_t used = 0;

	(void)state;
	buf_init(&b, 200);
	put_sample(&b);
	size_t whole = b.n;
	buf_put_z(&b, "next");
	for (size_t n = 0; n < whole; n++)
		assert_int_equal(frame_parse(str_n(b.p, n), 1000, &f, &used, NULL), 0);
	assert_int_equal(used, 0);
	assert_int_equal(frame_parse(buf_str(&b), 1000, &f, &used, NULL), 1);
	assert_int_equal(used, whole);
	assert_int_equal(f.type, 0x1234);
	assert_int_equal(f.flags, FRAME_FD);
	assert_true(f.call == 0x1122334455667788u);
	struct frame_r r = frame_r(f.payload);
	assert_int_equal(frame_get_u64(&r), 7);
	assert_str(frame_get_str(&r), "hi");
	assert_str(frame_get_str(&r), "");
	assert_int_equal(frame_done(&r, NULL), 0);
}

static void
test_parse_refuses(void **state)
{
	char head[FRAME_HEAD] = {18};
	struct frame f;
	size_t used;
	struct err e = {0};

	(void)state;
	/* The length is judged by the head alone: nobody waits for a gigabyte that is refused anyway. */
	assert_err(frame_parse(str_n(head, 16), 17, &f, &used, &e), e, ERR_TOO_LARGE);
	assert_int_equal(frame_parse(str_n(head, 16), 18, &f, &used, &e), 0);
	memset(head, 0xff, 4);
	assert_err(frame_parse(str_n(head, 16), 1 << 20, &f, &used, &e), e, ERR_TOO_LARGE);
	memset(head, 0, 4);
	head[6] = 2;
	assert_err(frame_parse(str_n(head, 16), 17, &f, &used, &e), e, ERR_CORRUPT);
	head[6] = 0;
	head[7] = (char)0x80;
	assert_err(frame_parse(str_n(head, 16), 17, &f, &used, &e), e, ERR_CORRUPT);
	head[7] = 0;
	assert_int_equal(frame_parse(str_n(head, 16), 0, &f, &used, &e), 1);
	assert_int_equal(f.payload.n, 0);
}

static void
test_reader_is_sticky(void **state)
{
	struct err e = {0};
	struct frame_r r = frame_r(STR("\x05\0\0\0abc"));

	(void)state;
	assert_str(frame_get_str(&r), "");
	assert_int_equal(frame_get_u64(&r), 0);
	assert_err(frame_done(&r, &e), e, ERR_CORRUPT);
	r = frame_r(STR("\x01\0\0\0\0\0\0"));
	assert_int_equal(frame_get_u64(&r), 0);
	assert_err(frame_done(&r, &e), e, ERR_CORRUPT);
	/* After a failure even fields that would fit are not read. */
	assert_str(frame_get_str(&r), "");
	r = frame_r(STR("\x03\0\0\0abc"));
	assert_str(frame_get_str_max(&r, 2), "");
	assert_err(frame_done(&r, &e), e, ERR_CORRUPT);
	r = frame_r(STR("\x03\0\0\0abc"));
	assert_str(frame_get_str_max(&r, 3), "abc");
	assert_int_equal(frame_done(&r, NULL), 0);
	r = frame_r(STR("x"));
	assert_err(frame_done(&r, &e), e, ERR_CORRUPT);
	r = frame_r(STR_NULL);
	assert_int_equal(frame_done(&r, NULL), 0);
	assert_str(frame_get_str(&r), "");
	assert_err(frame_done(&r, &e), e, ERR_CORRUPT);
	r = frame_r(STR("\xff\xff\xff\xff"));
	assert_str(frame_get_str(&r), "");
	assert_err(frame_done(&r, &e), e, ERR_CORRUPT);
}

/* A frame that does not fit leaves the frames before it whole. */
static void
test_failed_frame_is_taken_back(void **state)
{
	AUTO(buf) struct buf b;

	(void)state;
	for (size_t max = 34; max < 68; max++) {
		buf_init(&b, max);
		put_sample(&b);
		put_sample(&b);
		assert_int_equal(buf_check(&b, NULL), -ERR_TOO_LARGE);
		assert_int_equal(b.n, 34);
		buf_done(&b);
	}
	buf_init(&b, 68);
	put_sample(&b);
	put_sample(&b);
	assert_int_equal(buf_check(&b, NULL), 0);
}

static void
test_no_memory(void **state)
{
	AUTO(buf) struct buf b;

	(void)state;
	buf_init(&b, 1000);
	alloc_fail_at(1);
	put_sample(&b);
	assert_true(alloc_fail_stop());
	assert_int_equal(buf_check(&b, NULL), -ERR_NO_MEMORY);
	assert_int_equal(b.n, 0);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_wire_form),
		cmocka_unit_test(test_parse_wants_all_bytes),
		cmocka_unit_test(test_parse_refuses),
		cmocka_unit_test(test_reader_is_sticky),
		cmocka_unit_test(test_failed_frame_is_taken_back),
		cmocka_unit_test(test_no_memory),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
