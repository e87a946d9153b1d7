/* SPDX-License-Identifier: Apache-2.0 */
#include "unit.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

static bool
is_open(int fd)
{
	return fcntl(fd, F_GETFD) >= 0;
}

static void
test_auto_closes_at_scope_end(void **state)
{
	int seen;

	(void)state;
	{
		AUTO(fd) int fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
		assert_true(fd >= 0);
		seen = fd;
	}
	assert_false(is_open(seen));
}

static void
test_move_disarms(void **state)
{
	int kept;

	(void)state;
	{
		AUTO(fd) int fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
		kept = MOVE_FD(fd);
		assert_int_equal(fd, -1);
	}
	assert_true(is_open(kept));
	close(kept);
	char *p = (char *)(uintptr_t) "x", *q = MOVE(p);
	assert_null(p);
	assert_non_null(q);
}

static void
test_fd_close_keeps_errno(void **state)
{
	(void)state;
	errno = ENOENT;
	fd_close(-1);
	assert_int_equal(errno, ENOENT);
	int fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
	close(fd);
	errno = EAGAIN;
	fd_close(fd); /* EBADF inside */
	assert_int_equal(errno, EAGAIN);
}

/* The child's failed assertion prints one line and ends it by SIGABRT. */
static void
test_assert_prints_and_aborts(void **state)
{
	int pipe_fds[2], status;
	char text[128] = "";

	(void)state;
	assert_int_equal(pipe2(pipe_fds, O_CLOEXEC), 0);
	pid_t pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		signal(SIGABRT, SIG_DFL);
		dup2(pipe_fds[1], STDERR_FILENO);
		assert_failed("1 < 0", "some/file.c", 4711);
	}
	close(pipe_fds[1]);
	assert_true(read(pipe_fds[0], text, sizeof(text) - 1) > 0);
	assert_string_equal(text, "some/file.c:4711: assertion failed: 1 < 0\n");
	close(pipe_fds[0]);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFSIGNALED(status));
	assert_int_equal(WTERMSIG(status), SIGABRT);
}

struct outer {
	int a;
	int b;
};

static void
test_container_of(void **state)
{
	struct outer o = {0};

	(void)state;
	assert_ptr_equal(CONTAINER_OF(&o.b, struct outer, b), &o);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_auto_closes_at_scope_end),
		cmocka_unit_test(test_move_disarms),
		cmocka_unit_test(test_fd_close_keeps_errno),
		cmocka_unit_test(test_assert_prints_and_aborts),
		cmocka_unit_test(test_container_of),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
