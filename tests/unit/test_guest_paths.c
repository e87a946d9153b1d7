/* SPDX-License-Identifier: Apache-2.0 */
#include "unit.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "guest/files.h"

static char base[64];

static const char *
at(const char *name)
{
	static char path[4][512];
	static unsigned turn;
	char *p = path[turn++ % 4];

	snprintf(p, 512, "%s/%s", base, name);
	return p;
}

static int
setup(void **state)
{
	(void)state;
	snprintf(base, sizeof(base), "/tmp/guest-paths-XXXXXX");
	if (!mkdtemp(base))
		return -1;
	assert_int_equal(mkdir(at("w"), 0755), 0);
	assert_int_equal(mkdir(at("w/d"), 0755), 0);
	assert_int_equal(mkdir(at("a"), 0755), 0);
	assert_int_equal(mkdir(at("ro"), 0755), 0);
	assert_int_equal(mkdir(at("out"), 0755), 0);
	assert_int_equal(symlink("d", at("w/rel")), 0);
	assert_int_equal(symlink("../out", at("w/up")), 0);
	assert_int_equal(symlink("../../../../../..", at("w/root")), 0);
	assert_int_equal(symlink(at("a"), at("w/abs")), 0);
	assert_int_equal(symlink("me", at("w/me")), 0);
	assert_int_equal(symlink("missing/../x", at("w/lex")), 0);
	assert_int_equal(symlink("w", at("alias")), 0);
	assert_int_equal(mkfifo(at("w/fifo"), 0600), 0);
	for (int i = 0; i < 45; i++) {
		char from[32], to[32];
		snprintf(from, sizeof(from), "w/chain%d", i);
		snprintf(to, sizeof(to), i ? "chain%d" : "d", i - 1);
		assert_int_equal(symlink(to, at(from)), 0);
	}
	return 0;
}

/* rm -r, two levels deep is enough here. */
static void
remove_tree(int dir, const char *name)
{
	static const char *const names[] = {"w/d/new", "w/d", "w/rel", "w/up", "w/root", "w/abs", "w/me",
		"w/lex", "w/fifo", "w/f", "w/x/y/z", "w/x/y", "w/x", "a/f", "alias"};
	char path[64];

	(void)name;
	for (size_t i = 0; i < ARRAY_LEN(names); i++)
		if (unlinkat(dir, names[i], 0) < 0)
			unlinkat(dir, names[i], AT_REMOVEDIR);
	for (int i = 0; i < 45; i++) {
		snprintf(path, sizeof(path), "w/chain%d", i);
		unlinkat(dir, path, 0);
	}
}

static int
teardown(void **state)
{
	static const char *const dirs[] = {"w", "a", "ro", "out"};
	int dir = open(base, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	(void)state;
	remove_tree(dir, "");
	for (size_t i = 0; i < ARRAY_LEN(dirs); i++)
		assert_int_equal(unlinkat(dir, dirs[i], AT_REMOVEDIR), 0);
	close(dir);
	return rmdir(base);
}

static void
test_join(void **state)
{
	static const struct {
		const char *base, *p, *want;
		bool escaped;
	} rows[] = {
		{"/w", "a/b", "/w/a/b", false},
		{"/w", "", "/w", false},
		{"/w", "./a//b/.", "/w/a/b", false},
		{"/w", "a/..", "/w", false},
		{"/w", "..", "/", true},
		{"/w", "../../../x", "/x", true},
		{"/w", "/abs/../y", "/y", false},
		{"/", "a", "/a", false},
		{"/w/v", "../u", "/w/u", true},
	};
	char out[LIM_PATH];
	static char name[2 * LIM_PATH];

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		bool escaped = false;
		assert_true(path_join(rows[i].base, str_z(rows[i].p), out, &escaped));
		assert_string_equal(out, rows[i].want);
		if (rows[i].p[0] != '/')
			assert_int_equal(escaped, rows[i].escaped);
	}
	memset(name, 'n', sizeof(name) - 1);
	assert_false(path_join("/w", str_z(name), out, NULL));
	assert_true(path_within("/w", "/w"));
	assert_true(path_within("/w", "/w/x"));
	assert_false(path_within("/w", "/wx"));
	assert_true(path_within("/", "/x"));
}

static struct roots
roots(void)
{
	struct roots r = {.workdir = strdup(at("w")), .allowed = {strdup(at("a")), strdup(at("ro"))}};

	r.readonly[0] = r.allowed[1];
	return r;
}

static void
roots_free(struct roots *r)
{
	free((char *)(uintptr_t)r->workdir);
	free((char *)(uintptr_t)r->allowed[0]);
	free((char *)(uintptr_t)r->allowed[1]);
}

/* Where a path leads (relative to the base), or the refusal. */
static void
test_find(void **state)
{
	static const struct {
		const char *given, *real, *name, *refusal;
	} rows[] = {
		{"d", "w/d", "d", NULL},
		{"rel/new", "w/d/new", "new", NULL},
		{"no/such/file", "w/no/such/file", "no/such/file", NULL},
		{"abs/f", "a/f", "f", NULL},
		{"lex", "w/x", "x", NULL},
		{"fifo/x", "w/fifo/x", "fifo/x", NULL},
		{"chain39", "w/d", "d", NULL},
		{"up/secret", NULL, NULL,
			"is outside the session's working directory and its other permitted directories"},
		{"root/etc/passwd", NULL, NULL, "is outside"},
		{"../out", NULL, NULL, "is outside"},
		{"/", NULL, NULL, "is outside"},
		{"me", NULL, NULL, ": too many levels of symbolic links"},
		{"chain44", NULL, NULL, ": too many levels of symbolic links"},
	};
	struct roots r = roots();

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		AUTO(place) struct place p;
		AUTO(reply) struct reply reply;
		place_init(&p);
		reply_init(&reply);
		int found = place_find(&r, str_z(rows[i].given), &p, &reply);
		if (rows[i].refusal) {
			assert_int_equal(found, -1);
			assert_true(
				str_find_str(buf_str(&reply.text), str_z(rows[i].refusal)) < reply.text.n);
			continue;
		}
		assert_int_equal(found, 0);
		assert_string_equal(p.real, at(rows[i].real));
		assert_string_equal(p.name, rows[i].name);
	}
	roots_free(&r);
}

/* The working directory may itself be reached through a link. */
static void
test_linked_workdir(void **state)
{
	AUTO(place) struct place p;
	AUTO(place) struct place q;
	AUTO(reply) struct reply reply;
	struct roots r = {.workdir = at("alias")};

	(void)state;
	place_init(&p);
	place_init(&q);
	reply_init(&reply);
	assert_int_equal(place_find(&r, STR("d"), &p, &reply), 0);
	assert_string_equal(p.real, at("w/d"));
	assert_int_equal(place_find(&r, STR("../out"), &q, &reply), -1);
	assert_str(buf_str(&reply.text), "path \"../out\" is outside the session's working directory");
}

/* A link planted between the check and the use is not followed. */
static void
test_swapped_for_a_link(void **state)
{
	AUTO(place) struct place p;
	AUTO(reply) struct reply reply;
	struct roots r = roots();
	struct stat st;

	(void)state;
	place_init(&p);
	reply_init(&reply);
	assert_int_equal(place_find(&r, STR("f"), &p, &reply), 0);
	assert_int_equal(symlink(at("out/stolen"), at("w/f")), 0);
	assert_int_equal(files_replace(p.dir, p.name, STR("text"), NULL, false), 0);
	assert_int_equal(stat(at("out/stolen"), &st), -1);
	assert_int_equal(lstat(at("w/f"), &st), 0);
	assert_true(S_ISREG(st.st_mode));
	assert_int_equal(st.st_mode & 0777, 0600);
	roots_free(&r);
}

static void
run_tool(const char *json, struct reply *r,
	void (*tool)(const struct files *, const struct json_t *, struct reply *))
{
	AUTO(json) struct json_t *in = NULL;
	struct roots ro = roots();
	struct files f = {.roots = &ro};

	assert_int_equal(json_parse(str_z(json), &in, NULL), 0);
	tool(&f, in, r);
	roots_free(&ro);
}

static void
test_write(void **state)
{
	AUTO(reply) struct reply r;
	struct stat st;

	(void)state;
	reply_init(&r);
	run_tool("{\"file_path\":\"x/y/z\",\"content\":\"\\u00e9\\n\"}", &r, write_tool);
	assert_false(r.is_error);
	assert_str(buf_str(&r.text), "wrote 3 bytes to x/y/z");
	assert_int_equal(stat(at("w/x/y"), &st), 0);
	assert_int_equal(st.st_mode & 0777, 0700);
	reply_done(&r);
	reply_init(&r);
	run_tool("{\"file_path\":\"fifo\",\"old_string\":\"a\",\"new_string\":\"b\"}", &r, edit_tool);
	assert_str(buf_str(&r.text), "edit: fifo is not a regular file");
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_join),
		cmocka_unit_test(test_find),
		cmocka_unit_test(test_linked_workdir),
		cmocka_unit_test(test_swapped_for_a_link),
		cmocka_unit_test(test_write),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
