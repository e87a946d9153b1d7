/* SPDX-License-Identifier: Apache-2.0 */
/* beneath, place and outputs: files in directories whose content somebody else controls. */
#include "unit.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/limits.h"
#include "hands/beneath.h"
#include "hands/outputs.h"
#include "hands/place.h"

static char top[64];
static int top_fd;

static int
set_up(void **state)
{
	(void)state;
	umask(022);
	snprintf(top, sizeof(top), "/tmp/pinfold-files-XXXXXX");
	assert_non_null(mkdtemp(top));
	top_fd = open(top, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return top_fd < 0;
}

static int
tear_down(void **state)
{
	struct err e = {0};

	(void)state;
	close(top_fd);
	assert_int_equal(beneath_remove(AT_FDCWD, top, &e), 0);
	assert_true(access(top, F_OK) < 0);
	return 0;
}

static void
put(const char *name, const char *text)
{
	int fd = openat(top_fd, name, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);

	assert_true(fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text));
	close(fd);
}

static void
strict_opens_refuse_links_and_ways_out(void **state)
{
	struct err e = {0};
	int fd = -1;

	(void)state;
	put("file", "x");
	assert_int_equal(mkdirat(top_fd, "dir", 0755), 0);
	assert_int_equal(symlinkat("/etc", top_fd, "abs"), 0);
	assert_int_equal(symlinkat("file", top_fd, "rel"), 0);
	fd = beneath_open(top_fd, "file", O_RDONLY, BENEATH_STRICT, &e);
	assert_true(fd >= 0);
	assert_true(fcntl(fd, F_GETFD) & FD_CLOEXEC);
	close(fd);
	assert_err(beneath_open(top_fd, "abs/passwd", O_RDONLY, BENEATH_STRICT, &e), e, ERR_FORBIDDEN);
	assert_err(beneath_open(top_fd, "rel", O_RDONLY, BENEATH_STRICT, &e), e, ERR_FORBIDDEN);
	assert_err(beneath_open(top_fd, "../x", O_RDONLY, BENEATH_STRICT, &e), e, ERR_FORBIDDEN);
	assert_err(beneath_open(top_fd, "/etc/passwd", O_RDONLY, BENEATH_STRICT, &e), e, ERR_FORBIDDEN);
	assert_err(beneath_open(top_fd, "none", O_RDONLY, BENEATH_STRICT, &e), e, ERR_NOT_FOUND);
}

static void
in_root_links_stay_below_the_root(void **state)
{
	struct err e = {0};
	struct stat a, b;
	int fd = -1;

	(void)state;
	assert_int_equal(mkdirat(top_fd, "etc", 0755), 0);
	put("etc/passwd", "ours");
	assert_int_equal(symlinkat("/etc", top_fd, "link"), 0);
	assert_int_equal(symlinkat("../../../../../etc", top_fd, "up"), 0);
	assert_int_equal(fstatat(top_fd, "etc/passwd", &a, 0), 0);
	fd = beneath_open(top_fd, "link/passwd", O_RDONLY, BENEATH_IN_ROOT, &e);
	assert_true(fd >= 0);
	assert_int_equal(fstat(fd, &b), 0);
	assert_int_equal(a.st_ino, b.st_ino);
	close(fd);
	fd = beneath_open(top_fd, "up/passwd", O_RDONLY, BENEATH_IN_ROOT, &e);
	assert_true(fd >= 0);
	close(fd);
	assert_true(beneath_open(top_fd, "proc/self/root/etc/passwd", O_RDONLY, BENEATH_IN_ROOT, &e) < 0);
}

static void
directories_are_made_one_by_one(void **state)
{
	struct err e = {0};
	int fd = -1;

	(void)state;
	fd = beneath_mkdirs(top_fd, STR("a//b/./c"), BENEATH_STRICT, &e);
	assert_true(fd >= 0);
	close(fd);
	assert_int_equal(faccessat(top_fd, "a/b/c", F_OK, 0), 0);
	fd = beneath_mkdirs(top_fd, STR(""), BENEATH_STRICT, &e);
	assert_true(fd >= 0);
	close(fd);
	assert_err(beneath_mkdirs(top_fd, STR("a/../../x"), BENEATH_STRICT, &e), e, ERR_FORBIDDEN);
	assert_int_equal(symlinkat("/tmp", top_fd, "l"), 0);
	assert_err(beneath_mkdirs(top_fd, STR("l/x"), BENEATH_STRICT, &e), e, ERR_FORBIDDEN);
}

static void
removal_takes_any_depth_and_follows_nothing(void **state)
{
	struct err e = {0};
	int at, next;

	(void)state;
	assert_int_equal(mkdirat(top_fd, "victim", 0755), 0);
	put("victim/keep", "kept");
	assert_int_equal(mkdirat(top_fd, "deep", 0755), 0);
	assert_int_equal(symlinkat("../victim", openat(top_fd, "deep", O_PATH | O_CLOEXEC), "link"), 0);
	at = openat(top_fd, "deep", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	for (int i = 0; i < 3000; i++) {
		assert_int_equal(mkdirat(at, "d", 0755), 0);
		next = openat(at, "d", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		close(at);
		at = next;
		if (i % 100 == 0)
			close(openat(at, ".gone.1", O_CREAT | O_WRONLY | O_CLOEXEC, 0600));
	}
	close(at);
	assert_int_equal(beneath_remove(top_fd, "deep", &e), 0);
	assert_true(faccessat(top_fd, "deep", F_OK, AT_SYMLINK_NOFOLLOW) < 0);
	assert_int_equal(faccessat(top_fd, "victim/keep", F_OK, 0), 0);
	assert_int_equal(beneath_remove(top_fd, "never-was", &e), 0);
}

static void
whole_files_are_written_and_read(void **state)
{
	struct err e = {0};
	char *p = NULL;
	size_t n = 0;

	(void)state;
	assert_int_equal(beneath_write(top_fd, "f", STR("one"), &e), 0);
	assert_int_equal(beneath_write(top_fd, "f", STR("two"), &e), 0);
	p = beneath_read(top_fd, "f", 3, &n, &e);
	assert_non_null(p);
	assert_int_equal(n, 3);
	assert_string_equal(p, "two");
	free(p);
	assert_null(beneath_read(top_fd, "f", 2, &n, &e));
	assert_int_equal(e.kind, ERR_TOO_LARGE);
	assert_null(beneath_read(top_fd, "g", 2, &n, &e));
	assert_int_equal(e.kind, ERR_NOT_FOUND);
}

/* ---- place ---- */

static void
mount_paths_are_routed(void **state)
{
	static const struct {
		const char *path;
		int where; /* -1: refused */
		const char *relative;
	} cases[] = {
		{"/mnt/session/uploads/data.csv", PLACE_UPLOADS, "data.csv"},
		{"/mnt/session/uploads/a/b", PLACE_UPLOADS, "a/b"},
		{"/workspace/x", PLACE_WORK, "x"},
		{"/workspacex", PLACE_ROOT, "workspacex"},
		{"/etc/tool.conf", PLACE_ROOT, "etc/tool.conf"},
		{"/mnt/session/uploads", -1, ""},
		{"/mnt/session/outputs/x", -1, ""},
		{"/mnt/session/tool_results/x", -1, ""},
		{"/mnt/session", -1, ""},
		{"/workspace", -1, ""},
		{"/run/pinfold/hands.sock", -1, ""},
		{"/proc/1/mem", -1, ""},
		{"/dev/x", -1, ""},
		{"/sys/x", -1, ""},
		{"relative", -1, ""},
		{"", -1, ""},
		{"/", -1, ""},
		{"/workspace/", -1, ""},
		{"/workspace//x", -1, ""},
		{"/workspace/../etc/passwd", -1, ""},
		{"/workspace/./x", -1, ""},
		{"/workspace/\xff", -1, ""},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		enum place_where where = PLACE_ROOT;
		struct str rel = STR_NULL;
		struct err e = {0};
		int r = place_route(str_z(cases[i].path), &where, &rel, &e);

		if (cases[i].where < 0) {
			if (r != -ERR_INVALID)
				fail_msg("%s was accepted", cases[i].path);
			continue;
		}
		assert_int_equal(r, 0);
		assert_int_equal(where, cases[i].where);
		assert_str(rel, cases[i].relative);
	}
	assert_true(place_route(STR("/workspace/a\0b"), &(enum place_where){0}, &(struct str){0}, NULL) < 0);
}

static int
memory_file(const char *text)
{
	int fd = memfd_create("x", MFD_CLOEXEC);

	assert_true(fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text));
	return fd;
}

static int
place(enum place_where where, struct str relative, int fd, uint64_t size, struct err *e)
{
	struct place_what w = {where, relative, fd, size};

	return place_file(top_fd, &w, e);
}

static void
files_are_placed_whole(void **state)
{
	struct err e = {0};
	struct stat st;
	char *p = NULL;
	size_t n = 0;
	int fd = memory_file("hello");

	(void)state;
	assert_int_equal(place(PLACE_UPLOADS, STR("a/b/c.txt"), fd, 5, &e), 0);
	p = beneath_read(top_fd, "a/b/c.txt", 100, &n, &e);
	assert_non_null(p);
	assert_string_equal(p, "hello");
	free(p);
	assert_int_equal(fstatat(top_fd, "a/b/c.txt", &st, 0), 0);
	assert_int_equal(st.st_mode & 0777, 0444);
	/* A second time replaces it; the descriptor's position does not matter. */
	assert_int_equal(place(PLACE_WORK, STR("a/b/c.txt"), fd, 2, &e), 0);
	assert_int_equal(fstatat(top_fd, "a/b/c.txt", &st, 0), 0);
	assert_int_equal(st.st_size, 2);
	assert_err(place(PLACE_WORK, STR("short"), fd, 6, &e), e, ERR_INVALID);
	assert_true(faccessat(top_fd, "short", F_OK, 0) < 0);
	assert_true(faccessat(top_fd, ".pinfold-upload", F_OK, 0) < 0);
	close(fd);
	fd = open("/dev/zero", O_RDONLY | O_CLOEXEC);
	assert_err(place(PLACE_WORK, STR("zero"), fd, 6, &e), e, ERR_INVALID);
	close(fd);
}

static void
placing_does_not_follow_planted_links(void **state)
{
	struct err e = {0};
	int fd = memory_file("evil");

	(void)state;
	assert_int_equal(symlinkat("/tmp", top_fd, "out"), 0);
	assert_err(place(PLACE_WORK, STR("out/pinfold-evil"), fd, 4, &e), e, ERR_FORBIDDEN);
	assert_true(access("/tmp/pinfold-evil", F_OK) < 0);
	/* A link at the last place is replaced, not followed; so is one at the temporary name. */
	put("target", "old");
	assert_int_equal(symlinkat("target", top_fd, "file"), 0);
	assert_int_equal(symlinkat("target", top_fd, ".pinfold-upload"), 0);
	assert_int_equal(place(PLACE_WORK, STR("file"), fd, 4, &e), 0);
	struct stat st;

	assert_int_equal(fstatat(top_fd, "file", &st, AT_SYMLINK_NOFOLLOW), 0);
	assert_true(S_ISREG(st.st_mode));
	assert_int_equal(fstatat(top_fd, "target", &st, 0), 0);
	assert_int_equal(st.st_size, 3);
	/* In the root of an image, links are followed as a process inside would. */
	assert_int_equal(mkdirat(top_fd, "usr", 0755), 0);
	assert_int_equal(symlinkat("/usr", top_fd, "lib"), 0);
	assert_int_equal(place(PLACE_ROOT, STR("lib/x"), fd, 4, &e), 0);
	assert_int_equal(faccessat(top_fd, "usr/x", F_OK, 0), 0);
	close(fd);
}

/* ---- outputs ---- */

struct seen {
	char list[512];
	unsigned n;
};

static void
on_file(void *arg, const struct outputs_file *f, int fd)
{
	struct seen *s = arg;
	size_t at = strlen(s->list);

	snprintf(
		s->list + at, sizeof(s->list) - at, "%.*s:%llu ", STRF(f->path), (unsigned long long)f->size);
	assert_int_equal(fcntl(fd, F_GETFL) & O_ACCMODE, O_RDONLY);
	s->n++;
	close(fd);
}

static void
scan(struct outputs *o, const char *dir, bool settled, const char *want)
{
	struct seen s = {0};
	struct outputs_sink to = {on_file, &s};
	struct err e = {0};

	assert_int_equal(outputs_scan(o, dir, settled, &to, &e), 0);
	assert_string_equal(s.list, want);
}

static void
outputs_are_told_once_and_when_they_change(void **state)
{
	char dir[128];

	(void)state;
	snprintf(dir, sizeof(dir), "%s/outputs", top);
	assert_int_equal(mkdir(dir, 0755), 0);
	struct outputs *o = outputs_new(top);

	scan(o, dir, true, "");
	put("outputs/a", "1");
	assert_int_equal(mkdirat(top_fd, "outputs/d", 0755), 0);
	put("outputs/d/b", "22");
	scan(o, dir, false, "");
	struct seen s = {0};

	assert_int_equal(outputs_scan(o, dir, false, &(struct outputs_sink){on_file, &s}, NULL), 0);
	assert_int_equal(s.n, 2);
	scan(o, dir, true, "");
	put("outputs/a", "longer");
	scan(o, dir, false, "");
	scan(o, dir, false, "a:6 ");
	outputs_free(o);
	o = outputs_new(top);
	scan(o, dir, true, "");
	put("outputs/d/b", "333");
	scan(o, dir, true, "d/b:3 ");
	outputs_free(o);
}

static void
only_regular_files_are_outputs(void **state)
{
	char dir[128];

	(void)state;
	snprintf(dir, sizeof(dir), "%s/outputs", top);
	assert_int_equal(mkdir(dir, 0755), 0);
	assert_int_equal(symlinkat("/etc/passwd", top_fd, "outputs/link"), 0);
	assert_int_equal(symlinkat("/etc", top_fd, "outputs/dir"), 0);
	assert_int_equal(mkfifoat(top_fd, "outputs/pipe", 0644), 0);
	put("outputs/\xff\xfe", "not UTF-8");
	put("outputs/real", "r");
	struct outputs *o = outputs_new(top);

	scan(o, dir, true, "real:1 ");
	/* The directory itself replaced by a link. */
	assert_int_equal(renameat(top_fd, "outputs", top_fd, "was"), 0);
	assert_int_equal(symlinkat("/etc", top_fd, "outputs"), 0);
	struct seen s = {0};

	assert_true(outputs_scan(o, dir, true, &(struct outputs_sink){on_file, &s}, NULL) < 0);
	assert_int_equal(s.n, 0);
	assert_int_equal(unlinkat(top_fd, "outputs", 0), 0);
	struct err e = {0};

	assert_err(outputs_scan(o, dir, true, &(struct outputs_sink){on_file, &s}, &e), e, ERR_NOT_FOUND);
	outputs_free(o);
}

static void
outputs_are_bounded(void **state)
{
	char dir[128], name[64];
	struct seen s = {0};

	(void)state;
	snprintf(dir, sizeof(dir), "%s/outputs", top);
	assert_int_equal(mkdir(dir, 0755), 0);
	for (int i = 0; i < LIM_OUTPUT_FILES + 50; i++) {
		snprintf(name, sizeof(name), "outputs/f%d", i);
		put(name, "x");
	}
	struct outputs *o = outputs_new(top);

	assert_int_equal(outputs_scan(o, dir, true, &(struct outputs_sink){on_file, &s}, NULL), 0);
	assert_int_equal(s.n, LIM_OUTPUT_FILES);
	/* Removing some makes room for others. */
	for (int i = 0; i < LIM_OUTPUT_FILES + 50; i++) {
		snprintf(name, sizeof(name), "outputs/f%d", i);
		unlinkat(top_fd, name, 0);
	}
	put("outputs/new", "x");
	s = (struct seen){0};
	assert_int_equal(outputs_scan(o, dir, true, &(struct outputs_sink){on_file, &s}, NULL), 0);
	assert_int_equal(outputs_scan(o, dir, true, &(struct outputs_sink){on_file, &s}, NULL), 0);
	assert_int_equal(s.n, 1);
	outputs_free(o);
}

/* A file of holes costs the sandbox nothing, but whoever copies it. */
static void
the_bytes_of_outputs_are_bounded(void **state)
{
	char dir[128], name[64];
	struct seen s = {0};
	size_t fit = LIM_OUTPUT_BYTES / LIM_FILE_BYTES;

	(void)state;
	snprintf(dir, sizeof(dir), "%s/outputs", top);
	assert_int_equal(mkdir(dir, 0755), 0);
	for (size_t i = 0; i < fit + 5; i++) {
		snprintf(name, sizeof(name), "outputs/f%zu", i);
		put(name, "x");
		AUTO(fd) int fd = openat(top_fd, name, O_WRONLY | O_CLOEXEC);
		assert_int_equal(ftruncate(fd, (off_t)LIM_FILE_BYTES), 0);
	}
	struct outputs *o = outputs_new(top);

	assert_int_equal(outputs_scan(o, dir, true, &(struct outputs_sink){on_file, &s}, NULL), 0);
	assert_int_equal(s.n, fit);
	outputs_free(o);
}

int
main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(strict_opens_refuse_links_and_ways_out, set_up, tear_down),
		cmocka_unit_test_setup_teardown(in_root_links_stay_below_the_root, set_up, tear_down),
		cmocka_unit_test_setup_teardown(directories_are_made_one_by_one, set_up, tear_down),
		cmocka_unit_test_setup_teardown(
			removal_takes_any_depth_and_follows_nothing, set_up, tear_down),
		cmocka_unit_test_setup_teardown(whole_files_are_written_and_read, set_up, tear_down),
		cmocka_unit_test_setup_teardown(mount_paths_are_routed, set_up, tear_down),
		cmocka_unit_test_setup_teardown(files_are_placed_whole, set_up, tear_down),
		cmocka_unit_test_setup_teardown(placing_does_not_follow_planted_links, set_up, tear_down),
		cmocka_unit_test_setup_teardown(
			outputs_are_told_once_and_when_they_change, set_up, tear_down),
		cmocka_unit_test_setup_teardown(only_regular_files_are_outputs, set_up, tear_down),
		cmocka_unit_test_setup_teardown(outputs_are_bounded, set_up, tear_down),
		cmocka_unit_test_setup_teardown(the_bytes_of_outputs_are_bounded, set_up, tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
