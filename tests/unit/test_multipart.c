/* SPDX-License-Identifier: Apache-2.0 */
/* Uploads: parts across every cut of the input, and what is refused. */
#include "unit.h"

#include <stdlib.h>

#include "control/multipart.h"

#define TYPE "multipart/form-data; boundary=XX"

/* What the parser told, as text. */
struct told {
	struct buf text;
	int fail_at; /* on_data number that fails; 0: none */
	int n_data;
};

static int
on_part(void *arg, const struct multipart_part *part, struct err *e)
{
	(void)e;
	struct told *t = arg;
	buf_printf(&t->text, "[%.*s", STRF(part->name));
	if (part->filename.p != NULL)
		buf_printf(&t->text, " file=%.*s", STRF(part->filename));
	if (part->content_type.n > 0)
		buf_printf(&t->text, " type=%.*s", STRF(part->content_type));
	buf_put_c(&t->text, ']');
	return 0;
}

static int
on_data(void *arg, struct str piece, struct err *e)
{
	struct told *t = arg;
	if (++t->n_data == t->fail_at)
		return err_set(e, ERR_IO, "no room");
	buf_put_str(&t->text, piece);
	return 0;
}

static int
on_end(void *arg, struct err *e)
{
	(void)e;
	struct told *t = arg;
	buf_put_c(&t->text, ';');
	return 0;
}

/* Feeds in pieces of `step` bytes. */
static int
parse(const char *type, struct str body, size_t step, struct told *t, struct err *e)
{
	struct multipart m;
	struct multipart_ops ops = {.arg = t, .on_part = on_part, .on_data = on_data, .on_end = on_end};
	buf_init(&t->text, 1 * MIB);
	int r = multipart_init(&m, str_z(type), &ops, e);
	while (r == 0 && body.n > 0) {
		r = multipart_feed(&m, str_sub(body, 0, step), e);
		body = str_sub(body, step, body.n);
	}
	r = r == 0 ? multipart_finish(&m, e) : r;
	multipart_done(&m);
	return r;
}

static void
assert_told(const char *type, const char *body, const char *want)
{
	for (size_t step = 1; step <= str_z(body).n; step++) {
		struct told t = {.fail_at = 0};
		struct err e = {0};
		if (parse(type, str_z(body), step, &t, &e) < 0)
			fail_msg("in pieces of %zu: %s", step, e.msg);
		assert_str(buf_str(&t.text), want);
		buf_done(&t.text);
	}
}

static void
assert_refused(const char *type, const char *body, const char *why)
{
	for (size_t step = 1; step <= str_z(body).n + 1; step++) {
		struct told t = {.fail_at = 0};
		struct err e = {0};
		assert_err(parse(type, str_z(body), step, &t, &e), e, ERR_INVALID);
		if (str_find_str(str_z(e.msg), str_z(why)) == str_z(e.msg).n)
			fail_msg("got \"%s\", want \"%s\"", e.msg, why);
		buf_done(&t.text);
	}
}

#define HEAD(n) "Content-Disposition: form-data; name=\"" n "\"\r\n"

static void
takes_parts(void **state)
{
	(void)state;
	assert_told(TYPE, "--XX\r\n" HEAD("a") "\r\nhello\r\n--XX--\r\n", "[a]hello;");
	assert_told(TYPE,
		"--XX\r\nContent-Disposition: form-data; name=\"file\"; filename=\"a b.txt\"\r\n"
		"Content-Type: text/plain\r\n\r\none\r\ntwo\r\n--X\r\n\r\n--XX\r\n" HEAD(
			"b") "\r\n\r\n--XX--",
		"[file file=a b.txt type=text/plain]one\r\ntwo\r\n--X\r\n;[b];");
	assert_told("Multipart/Form-Data; charset=utf-8; boundary=\"q r\"",
		"--q r\r\ncontent-disposition:form-data;name=a\r\n\r\n1\r\n--q r--", "[a]1;");
}

/* Bytes that look like the beginning of a delimiter are content. */
static void
keeps_false_delimiters(void **state)
{
	(void)state;
	assert_told(
		TYPE, "--XX\r\n" HEAD("a") "\r\n\r\n\r\n--\r\n--X\r\r\n--XX--", "[a]\r\n\r\n--\r\n--X\r;");
	assert_told(TYPE, "--XX\r\n" HEAD("a") "\r\n--XX\r\n--XX--", "[a]--XX;");
	assert_told(TYPE, "--XX\r\n" HEAD("a") "\r\n\r\n--XX--epilogue --XX\r\n", "[a];");
	assert_told(TYPE, "--XX--", "");
}

static void
refuses(void **state)
{
	(void)state;
	assert_refused("application/json", "{}", "must be multipart/form-data");
	assert_refused("multipart/form-data", "--XX--", "the boundary must have");
	assert_refused("multipart/form-data; boundary=", "--XX--", "the boundary must have");
	assert_refused("multipart/form-data; boundary=\"x", "--XX--", "unclosed quote");
	assert_refused("multipart/form-data; boundary="
		       "aaaaaaaaaabbbbbbbbbbccccccccccddddddddddeeeeeeeeeeffffffffffgggggggggg7",
		"--XX--", "1 to 70");
	assert_refused(TYPE, "junk--XX--", "does not begin with its boundary");
	assert_refused(TYPE, "--XX\r\n" HEAD("a") "\r\nhello", "ends before");
	assert_refused(TYPE, "--XX\r\n" HEAD("a") "\r\nhello\r\n--XX\r\n", "ends before");
	assert_refused(TYPE, "--XX\r\nnonsense\r\n\r\nx\r\n--XX--", "no colon");
	assert_refused(TYPE, "--XX\r\nContent-Type: text/plain\r\n\r\nx\r\n--XX--", "has no name");
	assert_refused(TYPE, "--XX\r\n" HEAD("a") "\r\nx\r\n--XXYY", "bytes after a delimiter");
}

static void
bounds_heads(void **state)
{
	(void)state;
	struct buf b;
	buf_init(&b, 1 * MIB);
	buf_put_z(&b, "--XX\r\nX-Long: ");
	for (size_t i = 0; i < LIM_MULTIPART_HEAD + 100; i++)
		buf_put_c(&b, 'x');
	struct told t = {.fail_at = 0};
	struct err e = {0};
	assert_err(parse(TYPE, buf_str(&b), 1000, &t, &e), e, ERR_INVALID);
	assert_string_equal(e.msg, "multipart: a part's head is too long");
	buf_done(&t.text);
	buf_done(&b);
}

/* What the receiver cannot take ends the parse with the receiver's error. */
static void
passes_errors_on(void **state)
{
	(void)state;
	struct told t = {.fail_at = 1};
	struct err e = {0};
	assert_err(parse(TYPE, STR("--XX\r\n" HEAD("a") "\r\nhello\r\n--XX--"), 3, &t, &e), e, ERR_IO);
	buf_done(&t.text);
}

/* Content that is larger than any buffer passes through in pieces. */
static void
passes_large_content(void **state)
{
	(void)state;
	struct buf b;
	const size_t n = 5 * MIB;
	buf_init(&b, 8 * MIB);
	buf_put_z(&b, "--XX\r\n" HEAD("a") "\r\n");
	for (size_t i = 0; i < n; i++)
		buf_put_c(&b, "\r\n--X"[i % 5]);
	buf_put_z(&b, "\r\n--XX--");
	struct told t = {.fail_at = 0};
	struct err e = {0};
	struct multipart m;
	struct multipart_ops ops = {.arg = &t, .on_part = on_part, .on_data = on_data, .on_end = on_end};
	buf_init(&t.text, 8 * MIB);
	assert_int_equal(multipart_init(&m, STR(TYPE), &ops, &e), 0);
	assert_int_equal(multipart_feed(&m, buf_str(&b), &e), 0);
	assert_int_equal(multipart_finish(&m, &e), 0);
	assert_int_equal(t.text.n, n + str_z("[a];").n);
	multipart_done(&m);
	buf_done(&t.text);
	buf_done(&b);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(takes_parts),
		cmocka_unit_test(keeps_false_delimiters),
		cmocka_unit_test(refuses),
		cmocka_unit_test(bounds_heads),
		cmocka_unit_test(passes_errors_on),
		cmocka_unit_test(passes_large_content),
	};
	return cmocka_run_group_tests_name("multipart", tests, NULL, NULL);
}
