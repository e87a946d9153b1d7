/* SPDX-License-Identifier: Apache-2.0 */
/* Workspaces as real file systems: in a mount namespace of the test's own. Needs root. */
#include "unit.h"

#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/limits.h"
#include "hands/beneath.h"
#include "hands/workspace.h"

struct fixture {
	char top[40], templates[80], dir[80], at[80], rootfs[80], image[80];
	struct workspace_opts o;
	bool can_limit;
};

static char *
below(const struct fixture *f, const char *name, char path[HANDS_PATH])
{
	return hands_path(path, "%s/%s", f->top, name);
}

static int
set_up(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));
	char path[HANDS_PATH];
	struct err e = {0};

	if (geteuid() != 0 || unshare(CLONE_NEWNS) < 0 ||
		mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0) {
		printf("skipped: mounting needs root\n");
		free(f);
		return 0;
	}
	umask(022);
	snprintf(f->top, sizeof(f->top), "/tmp/pinfold-workspace-XXXXXX");
	assert_non_null(mkdtemp(f->top));
	snprintf(f->templates, sizeof(f->templates), "%s/templates", f->top);
	snprintf(f->dir, sizeof(f->dir), "%s/session", f->top);
	snprintf(f->at, sizeof(f->at), "%s/ws", f->top);
	snprintf(f->rootfs, sizeof(f->rootfs), "%s/rootfs", f->top);
	snprintf(f->image, sizeof(f->image), "%s/image", f->top);
	assert_int_equal(beneath_make_dir(below(f, "image/etc", path), 0755, &e), 0);
	f->o = (struct workspace_opts){
		.templates_dir = f->templates, .disk = 64 * MIB, .limited = true, .preload = true};
	f->can_limit = workspace_can_limit(f->templates, f->top, f->o.disk, &e);
	if (!f->can_limit)
		printf("no file systems in files here (%s): the plain kind is tested\n", e.msg);
	f->o.limited = f->can_limit;
	*state = f;
	return 0;
}

static int
tear_down(void **state)
{
	struct fixture *f = *state;
	struct err e = {0};

	if (!f)
		return 0;
	assert_int_equal(workspace_unmount(f->rootfs, &e), 0);
	assert_int_equal(workspace_unmount(f->at, &e), 0);
	if (beneath_remove(AT_FDCWD, f->top, &e) < 0)
		fail_msg("%s", e.msg);
	free(f);
	return 0;
}

static void
put(const struct fixture *f, const char *name, const char *text)
{
	char path[HANDS_PATH];
	int fd = open(below(f, name, path), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);

	assert_true(fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text));
	close(fd);
}

static bool
there(const struct fixture *f, const char *name)
{
	char path[HANDS_PATH];

	return access(below(f, name, path), F_OK) == 0;
}

static void
mount_it(struct fixture *f)
{
	struct err e = {0};

	if (workspace_mount(f->dir, f->at, &e) < 0 ||
		workspace_overlay(f->at, f->image, NULL, f->rootfs, &e) < 0)
		fail_msg("%s", e.msg);
}

static void
what_is_written_stays_and_the_image_does_not_change(void **state)
{
	struct fixture *f = *state;
	struct err e = {0};
	struct stat st;
	char path[HANDS_PATH];

	if (!f)
		skip();
	put(f, "image/etc/name", "image");
	assert_false(workspace_exists(f->dir));
	assert_int_equal(workspace_create(&f->o, f->dir, &e), 0);
	assert_true(workspace_exists(f->dir));
	mount_it(f);
	assert_true(there(f, "rootfs/etc/ld.so.preload"));
	assert_true(there(f, "rootfs/etc/name"));
	assert_true(there(f, "rootfs/workspace"));
	assert_true(there(f, "rootfs/mnt/session"));
	assert_int_equal(stat(below(f, "rootfs/tmp", path), &st), 0);
	assert_int_equal(st.st_mode & 07777, 01777);
	put(f, "rootfs/etc/name", "session");
	put(f, "ws/workspace/file", "x");
	assert_int_equal(workspace_unmount(f->rootfs, &e), 0);
	assert_int_equal(workspace_unmount(f->at, &e), 0);
	mount_it(f);
	assert_true(there(f, "ws/workspace/file"));
	assert_int_equal(stat(below(f, "image/etc/name", path), &st), 0);
	assert_int_equal(st.st_size, 5);
	assert_int_equal(stat(below(f, "rootfs/etc/name", path), &st), 0);
	assert_int_equal(st.st_size, 7);
}

static void
a_creation_that_was_cut_is_no_workspace(void **state)
{
	struct fixture *f = *state;
	struct err e = {0};
	char path[HANDS_PATH];

	if (!f)
		skip();
	assert_int_equal(beneath_make_dir(f->dir, 0700, &e), 0);
	put(f, "session/.new.disk.ext4", "half");
	assert_int_equal(beneath_make_dir(below(f, "session/.new.tree/upper", path), 0700, &e), 0);
	assert_false(workspace_exists(f->dir));
	assert_int_equal(workspace_create(&f->o, f->dir, &e), 0);
	mount_it(f);
}

static void
the_plain_kind_works_without_loop_devices(void **state)
{
	struct fixture *f = *state;
	struct err e = {0};

	if (!f)
		skip();
	f->o.limited = false;
	assert_int_equal(workspace_create(&f->o, f->dir, &e), 0);
	assert_true(there(f, "session/tree/upper"));
	if (!f->can_limit)
		return; /* the directory may lie on an overlay, which cannot be an upper */
	mount_it(f);
	put(f, "rootfs/file", "x");
	assert_true(there(f, "session/tree/upper/file"));
	put(f, "ws/workspace/w", "x");
	assert_true(there(f, "session/tree/workspace/w"));
}

static void
the_disk_ends_where_it_should(void **state)
{
	static char piece[1 << 20];
	struct fixture *f = *state;
	struct err e = {0};
	char path[HANDS_PATH];
	struct stat st;
	ssize_t n = 1;

	if (!f || !f->can_limit)
		skip();
	assert_int_equal(workspace_create(&f->o, f->dir, &e), 0);
	assert_int_equal(stat(below(f, "session/disk.ext4", path), &st), 0);
	assert_int_equal(st.st_size, 64 * MIB);
	assert_true(st.st_blocks * 512 < 4 * (off_t)MIB); /* sparse */
	mount_it(f);
	int fd = open(below(f, "rootfs/big", path), O_WRONLY | O_CREAT | O_CLOEXEC, 0600);

	memset(piece, 'x', sizeof(piece));
	for (int i = 0; i < 80 && n > 0; i++)
		n = write(fd, piece, sizeof(piece));
	assert_true(n < (ssize_t)sizeof(piece));
	close(fd);
}

/* A killed sandbox's namespace may hold the mount for a while. */
static void
a_workspace_is_never_mounted_twice(void **state)
{
	struct fixture *f = *state;
	struct err e = {0};
	int p[2];
	char c = 0;

	if (!f || !f->can_limit)
		skip();
	assert_int_equal(workspace_create(&f->o, f->dir, &e), 0);
	mount_it(f);
	assert_int_equal(pipe2(p, O_CLOEXEC), 0);
	int pid = fork();

	if (pid == 0) {
		if (unshare(CLONE_NEWNS) < 0 || write(p[1], "x", 1) != 1)
			_exit(1);
		usleep(500000);
		_exit(0);
	}
	assert_int_equal(read(p[0], &c, 1), 1);
	close(p[0]);
	close(p[1]);
	assert_int_equal(workspace_unmount(f->rootfs, &e), 0);
	assert_int_equal(workspace_unmount(f->at, &e), 0);
	uint64_t t = clock_mono_us();

	mount_it(f);
	assert_true(clock_mono_us() - t > 100000);
	assert_int_equal(waitpid(pid, NULL, 0), pid);
}

int
main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(
			what_is_written_stays_and_the_image_does_not_change, set_up, tear_down),
		cmocka_unit_test_setup_teardown(a_creation_that_was_cut_is_no_workspace, set_up, tear_down),
		cmocka_unit_test_setup_teardown(the_plain_kind_works_without_loop_devices, set_up, tear_down),
		cmocka_unit_test_setup_teardown(the_disk_ends_where_it_should, set_up, tear_down),
		cmocka_unit_test_setup_teardown(a_workspace_is_never_mounted_twice, set_up, tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
