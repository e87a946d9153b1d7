/* SPDX-License-Identifier: Apache-2.0 */
#include "unit.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "alloc_fail.h"
#include "base/limits.h"
#include "base/secret.h"

static void
keep_slice(struct str bytes, void *arg)
{
	*(struct str *)arg = bytes;
}

/* Only the tests look at the bytes this way. */
static struct str
bytes_of(const struct secret *s)
{
	struct str bytes = STR_NULL;

	secret_use(s, keep_slice, &bytes);
	return bytes;
}

static void
test_holds_a_copy(void **state)
{
	char mine[] = "sk-12345";
	AUTO(secret) struct secret *s = secret_new(str_z(mine));

	(void)state;
	secret_wipe(mine, sizeof(mine));
	assert_memory_equal(mine, (char[sizeof(mine)]){0}, sizeof(mine));
	assert_int_equal(secret_len(s), 8);
	assert_str(bytes_of(s), "sk-12345");
	struct hash h = secret_hash(s), want = hash_of(STR("sk-12345"));
	assert_true(hash_equal(&h, &want));
	secret_free(NULL);
	secret_wipe(NULL, 0);
}

static void
test_sizes(void **state)
{
	static char big[LIM_SECRET + 1];

	(void)state;
	memset(big, 'k', sizeof(big));
	assert_null(secret_new(str_n(big, LIM_SECRET + 1)));
	for (size_t n = 0; n <= LIM_SECRET; n += 1024) {
		AUTO(secret) struct secret *s = secret_new(str_n(big, n));
		assert_non_null(s);
		assert_int_equal(bytes_of(s).n, n);
		assert_true(str_eq(bytes_of(s), str_n(big, n)));
	}
}

static void
test_equal(void **state)
{
	AUTO(secret) struct secret *a = secret_new(STR("one"));
	AUTO(secret) struct secret *b = secret_new(STR("one"));
	AUTO(secret) struct secret *c = secret_new(STR("onf"));
	AUTO(secret) struct secret *d = secret_new(STR("on"));

	(void)state;
	assert_true(secret_equal(a, b));
	assert_false(secret_equal(a, c));
	assert_false(secret_equal(a, d));
}

static void
test_random(void **state)
{
	AUTO(secret) struct secret *a = secret_random("pf-");
	AUTO(secret) struct secret *b = secret_random("pf-");

	(void)state;
	assert_int_equal(secret_len(a), 46);
	assert_true(str_starts(bytes_of(a), STR("pf-")));
	assert_false(secret_equal(a, b));
}

/* A child that touches `p` dies by SIGSEGV. */
static void
assert_faults(const char *p, bool write_it)
{
	int status;
	pid_t pid = fork();

	assert_true(pid >= 0);
	if (pid == 0) {
		/* Past a sanitizer's or cmocka's handler: the plain signal is what is looked for. */
		signal(SIGSEGV, SIG_DFL);
		volatile char *at = (volatile char *)(uintptr_t)p;
		if (write_it)
			*at = 1;
		else
			(void)*at;
		_exit(0);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFSIGNALED(status));
	assert_int_equal(WTERMSIG(status), SIGSEGV);
}

static void
test_guards(void **state)
{
	AUTO(secret) struct secret *s = secret_new(STR("guarded"));
	struct str bytes = bytes_of(s);
	uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE);
	uintptr_t start = (uintptr_t)bytes.p / page * page;

	(void)state;
	assert_faults(bytes.p + bytes.n, false);
	assert_faults((const char *)(start - 1), false);
	assert_faults(bytes.p, true);
}

static bool
flags_have(const char *line, const char *flag)
{
	struct str s = str_z(line);

	while (s.n) {
		struct str word = str_next(&s, ' ');
		if (str_eqz(word, flag))
			return true;
	}
	return false;
}

/* The kernel's word that the pages stay out of core dumps. */
static void
test_left_out_of_core_dumps(void **state)
{
	AUTO(secret) struct secret *s = secret_new(STR("undumped"));
	uintptr_t addr = (uintptr_t)bytes_of(s).p;
	FILE *f = fopen("/proc/self/smaps", "re");
	char line[512];
	bool here = false, seen = false;

	(void)state;
	assert_non_null(f);
	while (!seen && fgets(line, sizeof(line), f)) {
		struct str rest = str_z(line);
		uint64_t from, to;
		if (str_to_hex64(str_next(&rest, '-'), &from) && str_to_hex64(str_next(&rest, ' '), &to))
			here = from <= addr && addr < to;
		if (!here || !str_starts(str_z(line), STR("VmFlags:")))
			continue;
		seen = true;
		assert_true(flags_have(line, "dd"));
	}
	fclose(f);
	assert_true(seen);
}

static void
test_expose(void **state)
{
	AUTO(secret) struct secret *s = secret_new(STR("sk-1"));
	AUTO(secret) struct secret *empty = secret_new(STR_NULL);
	int fds[2];
	char text[32] = "";
	struct err e = {0};

	(void)state;
	assert_int_equal(pipe2(fds, O_CLOEXEC), 0);
	assert_int_equal(secret_expose_to(s, fds[1], &e), 0);
	assert_int_equal(secret_expose_to(empty, fds[1], &e), 0);
	assert_int_equal(read(fds[0], text, sizeof(text)), 6);
	assert_string_equal(text, "sk-1\n\n");
	close(fds[1]);
	assert_err(secret_expose_to(s, fds[1], &e), e, ERR_IO);
	assert_int_equal(e.os, EBADF);
	assert_null(strstr(e.msg, "sk-1"));
	close(fds[0]);
}

/* A pipe of one page takes a long secret in several writes. */
static void
test_expose_in_pieces(void **state)
{
	static char big[LIM_SECRET], got[LIM_SECRET + 1];
	int fds[2], status;
	size_t n = 0;

	(void)state;
	for (size_t i = 0; i < sizeof(big); i++)
		big[i] = (char)('a' + i % 23);
	AUTO(secret) struct secret *s = secret_new(str_n(big, sizeof(big)));
	assert_int_equal(pipe2(fds, O_CLOEXEC), 0);
	fcntl(fds[1], F_SETPIPE_SZ, 4096);
	pid_t pid = fork();
	assert_true(pid >= 0);
	if (pid == 0)
		_exit(secret_expose_to(s, fds[1], NULL) == 0 ? 0 : 1);
	close(fds[1]);
	for (ssize_t r = 1; r > 0 && n < sizeof(got); n += (size_t)r)
		r = read(fds[0], got + n, sizeof(got) - n);
	assert_int_equal(n, sizeof(got));
	assert_memory_equal(got, big, sizeof(big));
	assert_int_equal(got[sizeof(big)], '\n');
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
	close(fds[0]);
}

static void
test_no_memory(void **state)
{
	(void)state;
	alloc_fail_at(1);
	assert_null(secret_new(STR("x")));
	assert_true(alloc_fail_stop());
	alloc_fail_at(1);
	assert_null(secret_random("x"));
	assert_true(alloc_fail_stop());
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_holds_a_copy),
		cmocka_unit_test(test_sizes),
		cmocka_unit_test(test_equal),
		cmocka_unit_test(test_random),
		cmocka_unit_test(test_guards),
		cmocka_unit_test(test_left_out_of_core_dumps),
		cmocka_unit_test(test_expose),
		cmocka_unit_test(test_expose_in_pieces),
		cmocka_unit_test(test_no_memory),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
