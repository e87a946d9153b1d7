/* SPDX-License-Identifier: Apache-2.0 */
/* Files in the model's context: what is shown, as what, and what is only named. */
#include "unit.h"

#include <stdlib.h>

#include "base/limits.h"
#include "model/attachment.h"

#define PNG "\x89PNG\r\n\x1a\n"
#define NAMED(type)                                        \
	"{\"type\":\"text\",\"text\":\"[An attached " type \
	", file_1, cannot be shown in this conversation.]\"}"

struct store {
	struct str bytes;
	enum err_kind fail;
	unsigned reads;
};

static int
read_bytes(void *arg, struct str file_id, struct buf *out, struct err *e)
{
	struct store *s = arg;
	assert_str(file_id, "file_1");
	s->reads++;
	if (s->fail != ERR_NONE)
		return err_set(e, s->fail, "no");
	buf_put_str(out, s->bytes);
	return buf_check(out, e);
}

/* before + marked block + after, expanded. */
static void
assert_expanded(const char *block, struct store *s, size_t max, const char *want)
{
	struct err e = {0};
	struct json_t *v = NULL;
	struct buf in, out;
	struct attachment_source src = {.arg = s, .read = s != NULL ? read_bytes : NULL};
	buf_init(&in, 1 * MIB);
	buf_init(&out, 1 * MIB);
	assert_int_equal(json_parse(str_z(block), &v, &e), 0);
	assert_true(attachment_is(v));
	buf_put_z(&in, "[1,");
	attachment_mark(&in, v);
	buf_put_z(&in, ",2]");
	assert_int_equal(attachment_expand(buf_str(&in), &src, max, &out, &e), 0);
	assert_str(str_sub(buf_str(&out), 0, 3), "[1,");
	assert_str(str_sub(buf_str(&out), out.n - 3, 3), ",2]");
	assert_str(str_sub(buf_str(&out), 3, out.n - 6), want);
	json_free(v);
	buf_done(&in);
	buf_done(&out);
}

#define IMAGE "{\"type\":\"image\",\"source\":{\"type\":\"file\",\"file_id\":\"file_1\"}}"
#define DOCUMENT \
	"{\"type\":\"document\",\"source\":{\"type\":\"file\",\"file_id\":\"file_1\"},\"title\":\"T\"}"

static void
shows_images(void **state)
{
	(void)state;
	struct store png = {.bytes = STR(PNG "x")}, jpeg = {.bytes = STR("\xff\xd8\xff\xe0")},
		     gif = {.bytes = STR("GIF89a")}, webp = {.bytes = STR("RIFF....WEBPVP8 ")};
	assert_expanded(IMAGE, &png, MIB,
		"{\"type\":\"image\",\"source\":{\"type\":\"base64\",\"media_type\":\"image/png\",\"data\":"
		"\"iVBORw0KGgp4\"}}");
	assert_expanded(IMAGE, &jpeg, MIB,
		"{\"type\":\"image\",\"source\":{\"type\":\"base64\",\"media_type\":\"image/jpeg\",\"data\":"
		"\"/9j/4A==\"}}");
	assert_expanded(IMAGE, &gif, MIB,
		"{\"type\":\"image\",\"source\":{\"type\":\"base64\",\"media_type\":\"image/gif\",\"data\":"
		"\"R0lGODlh\"}}");
	assert_expanded(IMAGE, &webp, MIB,
		"{\"type\":\"image\",\"source\":{\"type\":\"base64\",\"media_type\":\"image/webp\",\"data\":"
		"\"UklGRi4uLi5XRUJQVlA4IA==\"}}");
}

static void
shows_documents(void **state)
{
	(void)state;
	struct store pdf = {.bytes = STR("%PDF-1.7")}, text = {.bytes = STR("ä \"quoted\"\n")};
	assert_expanded(DOCUMENT, &pdf, MIB,
		"{\"type\":\"document\",\"source\":{\"type\":\"base64\",\"media_type\":\"application/"
		"pdf\",\"data\":"
		"\"JVBERi0xLjc=\"},\"title\":\"T\"}");
	assert_expanded(DOCUMENT, &text, MIB,
		"{\"type\":\"document\",\"source\":{\"type\":\"text\",\"media_type\":\"text/plain\",\"data\":"
		"\"ä \\\"quoted\\\"\\n\"},\"title\":\"T\"}");
}

static void
names_the_rest(void **state)
{
	(void)state;
	struct store text = {.bytes = STR("just text")}, png = {.bytes = STR(PNG)},
		     binary = {.bytes = STR("\xff\xfe")}, zero = {.bytes = str_n("a\0b", 3)},
		     empty = {.bytes = STR("")}, gone = {.fail = ERR_NOT_FOUND};
	assert_expanded(IMAGE, &text, MIB, NAMED("image"));
	assert_expanded(DOCUMENT, &png, MIB, NAMED("document"));
	assert_expanded(DOCUMENT, &binary, MIB, NAMED("document"));
	assert_expanded(DOCUMENT, &zero, MIB, NAMED("document"));
	assert_expanded(DOCUMENT, &empty, MIB, NAMED("document"));
	assert_expanded(IMAGE, &gone, MIB, NAMED("image"));
	assert_expanded(IMAGE, NULL, MIB, NAMED("image"));
}

/* One byte of text can become six of JSON. */
static void
keeps_the_ceiling(void **state)
{
	(void)state;
	struct buf big;
	buf_init(&big, 1 * MIB);
	for (int i = 0; i < 5000; i++)
		buf_put_c(&big, '\x01');
	struct store s = {.bytes = buf_str(&big)};
	assert_expanded(DOCUMENT, &s, 10000, NAMED("document"));
	assert_int_equal(s.reads, 1);
	s.bytes = str_sub(s.bytes, 0, 1000);
	assert_expanded(DOCUMENT, &s, 100, NAMED("document"));
	assert_expanded(DOCUMENT, &s, 0, NAMED("document"));
	buf_done(&big);
}

/* Members that were appended to the block as it stands. */
static void
takes_more_members(void **state)
{
	(void)state;
	struct err e = {0};
	struct json_t *v = NULL;
	struct buf in, out;
	struct store s = {.bytes = STR("%PDF-")};
	struct attachment_source src = {.arg = &s, .read = read_bytes};
	buf_init(&in, KIB);
	buf_init(&out, 4 * KIB);
	assert_int_equal(json_parse(STR(DOCUMENT), &v, &e), 0);
	attachment_mark(&in, v);
	in.n--;
	buf_put_z(&in, ",\"more\":{}}");
	assert_int_equal(attachment_expand(buf_str(&in), &src, KIB, &out, &e), 0);
	assert_str(buf_str(&out),
		"{\"type\":\"document\",\"source\":{\"type\":\"base64\",\"media_type\":\"application/"
		"pdf\",\"data\":"
		"\"JVBERi0=\"},\"title\":\"T\",\"more\":{}}");
	json_free(v);
	buf_done(&in);
	buf_done(&out);
}

static void
broken_marks(void **state)
{
	(void)state;
	static const char *const broken[] = {
		"\x01{}\x02}", "{\x01{}", "{\x02{}\x01}", "{\x01{}\x02", "{\x01[\x02}"};
	for (size_t i = 0; i < ARRAY_LEN(broken); i++) {
		struct buf out;
		struct err e = {0};
		struct attachment_source none = {.read = NULL};
		buf_init(&out, KIB);
		assert_true(attachment_expand(str_z(broken[i]), &none, KIB, &out, &e) < 0);
		buf_done(&out);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(shows_images),
		cmocka_unit_test(shows_documents),
		cmocka_unit_test(names_the_rest),
		cmocka_unit_test(keeps_the_ceiling),
		cmocka_unit_test(takes_more_members),
		cmocka_unit_test(broken_marks),
	};
	return cmocka_run_group_tests_name("attachment", tests, NULL, NULL);
}
