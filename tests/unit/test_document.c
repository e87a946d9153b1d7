/* SPDX-License-Identifier: Apache-2.0 */
/* YAML and JSON documents as JSON. */
#include "unit.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/limits.h"
#include "cli/document.h"

/* Through a file in memory: documents are read by path. */
static int
convert(const char *text, struct buf *out, struct err *e)
{
	char path[64];
	AUTO(fd) int fd = memfd_create("document", MFD_CLOEXEC);
	assert_true(fd >= 0);
	assert_int_equal(write(fd, text, strlen(text)), strlen(text));
	assert_int_equal(lseek(fd, 0, SEEK_SET), 0);
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	buf_init(out, LIM_HTTP_BODY);
	return yaml_to_json(path, out, e);
}

static void
assert_json(const char *text, const char *want)
{
	struct buf out;
	struct err e = {0};
	if (convert(text, &out, &e) < 0)
		fail_msg("%s: %s", text, e.msg);
	assert_str(buf_str(&out), want);
	buf_done(&out);
}

static void
assert_refused(const char *text, const char *why)
{
	struct buf out;
	struct err e = {0};
	assert_err(convert(text, &out, &e), e, ERR_INVALID);
	if (str_find_str(str_z(e.msg), str_z(why)) == str_z(e.msg).n)
		fail_msg("got \"%s\", want \"%s\"", e.msg, why);
	buf_done(&out);
}

static void
scalars(void **state)
{
	(void)state;
	assert_json("a: 1\nb: -2.5e3\nc: 1.0\n", "{\"a\":1,\"b\":-2500.0,\"c\":1.0}");
	assert_json("[~, null, Null, true, False]", "[null,null,null,true,false]");
	assert_json("a:\nb:\n", "{\"a\":null,\"b\":null}");
	assert_json("- \"1\"\n- '~'\n- 'true'\n", "[\"1\",\"~\",\"true\"]");
	assert_json("- 01\n- 0x1f\n- 1_000\n- yes\n- .5\n- 2026-01-01\n",
		"[\"01\",\"0x1f\",\"1_000\",\"yes\",\".5\",\"2026-01-01\"]");
	assert_json("a: |\n  two\n  lines\nb: >\n  folded\n  text\n",
		"{\"a\":\"two\\nlines\\n\",\"b\":\"folded text\\n\"}");
	assert_json("\"x\"", "\"x\"");
}

static void
structures(void **state)
{
	(void)state;
	assert_json("name: a\ntools:\n  - type: bash\n    configs: [{x: 1}, []]\n  - {}\nlast: {a: {b: c}}\n",
		"{\"name\":\"a\",\"tools\":[{\"type\":\"bash\",\"configs\":[{\"x\":1},[]]},{}],\"last\":{"
		"\"a\":{"
		"\"b\":\"c\"}}}");
	assert_json("1: a\ntrue: b\n", "{\"1\":\"a\",\"true\":\"b\"}");
}

/* JSON is YAML: what a program wrote goes through unchanged. */
static void
json_as_it_is(void **state)
{
	(void)state;
	assert_json("{\"a\": \"1\", \"b\": [true, null, 12345678901], \"c\": \"\\u00e4\\n\"}",
		"{\"a\":\"1\",\"b\":[true,null,12345678901],\"c\":\"ä\\n\"}");
}

static void
refuses(void **state)
{
	(void)state;
	assert_refused("", "empty");
	assert_refused("# only a comment\n", "empty");
	assert_refused("a: [1, 2\n", "line");
	assert_refused("a: &x 1\nb: *x\n", "aliases");
	assert_refused("a: !!str 5\n", "tags");
	assert_refused("a: !mine {x: 1}\n", "tags");
	assert_refused("? [a]\n: b\n", "key");
	char deep[400] = {0};
	memset(deep, '[', 300);
	assert_refused(deep, "nested");
}

static void
needs_a_file(void **state)
{
	(void)state;
	struct buf out;
	struct err e = {0};
	buf_init(&out, KIB);
	assert_err(yaml_to_json("/nonexistent/file.yaml", &out, &e), e, ERR_NOT_FOUND);
	buf_done(&out);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(scalars),
		cmocka_unit_test(structures),
		cmocka_unit_test(json_as_it_is),
		cmocka_unit_test(refuses),
		cmocka_unit_test(needs_a_file),
	};
	return cmocka_run_group_tests_name("document", tests, NULL, NULL);
}
