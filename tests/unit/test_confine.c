/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Each attempt runs in a child process of its own that was confined first: a filter cannot be taken off
 * again, and some attempts are answered by death. Needs root.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <netinet/in.h>

#include <cmocka.h>

#include <curl/curl.h>
#include <sqlite3.h>

#include "base/buf.h"
#include "io/confine.h"
#include "io/loop.h"

#include "confine_attempts.h"

#define UID_CONTROL 64001
#define KILLED      (-1) /* by SIGSYS */

/* ---- what must work ---- */

static void *
thread_main(void *arg)
{
	*(int *)arg = 7;
	return NULL;
}

static int
use_thread(void)
{
	pthread_t t;
	int v = 0;
	int r = pthread_create(&t, NULL, thread_main, &v);

	if (r)
		return r;
	pthread_join(t, NULL);
	return v == 7 ? 0 : EINVAL;
}

static int
use_sqlite(void)
{
	char path[128];
	sqlite3 *db = NULL;

	snprintf(path, sizeof(path), "%s/in/test.db", dir);
	int r = sqlite3_open_v2(path, &db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE, NULL);

	if (r == SQLITE_OK)
		r = sqlite3_exec(db,
			"PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL; CREATE TABLE IF NOT EXISTS t(x);"
			"INSERT INTO t VALUES(1); PRAGMA wal_checkpoint(TRUNCATE);",
			NULL, NULL, NULL);
	if (r != SQLITE_OK)
		fprintf(stderr, "sqlite: %s\n", sqlite3_errmsg(db));
	sqlite3_close(db);
	return r == SQLITE_OK ? 0 : EIO;
}

struct in_loop {
	struct loop *l;
	int count;
};

static void
on_timer(void *arg)
{
	struct in_loop *x = arg;

	x->count++;
	loop_stop(x->l);
}

static int
use_loop(void)
{
	struct in_loop x = {0};
	struct err e;

	if (loop_new(&x.l, &e) < 0)
		return EIO;
	struct loop_timer *t = loop_timer_new(x.l, on_timer, &x);
	struct loop_wake *w = loop_wake_new(x.l, on_timer, &x);

	loop_timer_start(t, 1, 0);
	loop_run(x.l);
	loop_wake_send(w);
	loop_run(x.l);
	loop_timer_free(t);
	loop_wake_free(w);
	loop_free(x.l);
	return x.count == 2 ? 0 : EINVAL;
}

static int
use_curl(void)
{
	char url[64];
	CURL *c = curl_easy_init();

	/* Nobody answers, so a timeout after the connection is the success. */
	snprintf(url, sizeof(url), "http://localhost:%d/", ntohs(listen_addr.sin_port));
	curl_easy_setopt(c, CURLOPT_URL, url);
	curl_easy_setopt(c, CURLOPT_TIMEOUT_MS, 300L);
	curl_easy_setopt(c, CURLOPT_NOSIGNAL, 1L);
	CURLcode r = curl_easy_perform(c);
	long connects = 0;

	curl_easy_getinfo(c, CURLINFO_NUM_CONNECTS, &connects);
	curl_easy_cleanup(c);
	return r == CURLE_OPERATION_TIMEDOUT && connects == 1 ? 0 : (int)r + 1000;
}

static int
check_ids(void)
{
	uid_t a, b, c;
	gid_t x, y, z;

	getresuid(&a, &b, &c);
	getresgid(&x, &y, &z);
	return a == UID_CONTROL && b == a && c == a && x == UID_CONTROL && y == x && z == x &&
			       getgroups(0, NULL) <= 0
		       ? 0
		       : EPERM;
}

/* Runs before the filter matters: reads what the kernel says of this process. */
static int
status_line(const char *key, char *value, size_t n)
{
	FILE *f = fopen("/proc/self/status", "re");
	char line[256];
	size_t k = strlen(key);

	value[0] = '\0';
	while (f && fgets(line, sizeof(line), f))
		if (strncmp(line, key, k) == 0 && line[k] == ':')
			snprintf(value, n, "%s", line + k + 1 + strspn(line + k + 1, "\t "));
	if (f)
		fclose(f);
	value[strcspn(value, "\n")] = '\0';
	return value[0] ? 0 : EIO;
}

static int
check_root_role(void)
{
	char bound[64], nnp[64], seccomp[64];
	struct rlimit core;

	if (status_line("CapBnd", bound, sizeof(bound)) || status_line("NoNewPrivs", nnp, sizeof(nnp)) ||
		status_line("Seccomp", seccomp, sizeof(seccomp)))
		return EIO;
	uint64_t b = 0;

	if (!str_to_hex64(str_z(bound), &b))
		return EIO;

	getrlimit(RLIMIT_CORE, &core);
	if (b >> CAP_SYS_MODULE & 1 || b >> CAP_SYS_BOOT & 1 || b >> CAP_NET_RAW & 1 ||
		!(b >> CAP_SYS_ADMIN & 1))
		return EPERM;
	return strcmp(nnp, "1") == 0 && strcmp(seccomp, "2") == 0 && core.rlim_max == 0 &&
			       prctl(PR_GET_DUMPABLE, 0, 0, 0, 0) == 0
		       ? 0
		       : EINVAL;
}

/* Only loopback, and that is down. */
static int
check_empty_netns(void)
{
	FILE *f = fopen("/proc/self/net/dev", "re");
	char line[256];
	int devices = 0;

	while (f && fgets(line, sizeof(line), f))
		devices += strchr(line, ':') != NULL && strncmp(line + strspn(line, " "), "lo:", 3) != 0;
	if (f)
		fclose(f);
	return devices == 0 ? 0 : EINVAL;
}

/* ---- running an attempt ---- */

static struct confine_opts
opts_of(enum confine_profile p)
{
	static char in[64];
	static const char *rw[] = {in, NULL};
	static const char *const ro[] = {"/etc", "/usr/lib", "/usr/share", "/run", "/nonexistent", NULL};
	struct confine_opts o = {.profile = p, .uid = UID_CONTROL, .gid = UID_CONTROL};

	snprintf(in, sizeof(in), "%s/in", dir);
	switch (p) {
	case CONFINE_CONTROL:
		o.rw = rw;
		o.empty_netns = true;
		break;
	case CONFINE_GATE:
		o.ro = ro;
		break;
	case CONFINE_PUPPET:
		o.empty_netns = true;
		break;
	case CONFINE_HANDS:
		o.empty_netns = true;
		o.uid = o.gid = 0;
		break;
	case CONFINE_SUPERVISE:
		o.uid = o.gid = 0;
		break;
	}
	return o;
}

/* 0, an errno, KILLED, or something else when the child did not even get that far. */
static int
attempt(enum confine_profile p, int (*fn)(void))
{
	int pipefd[2];
	int result = -100;
	int status = 0;

	assert_int_equal(pipe2(pipefd, O_CLOEXEC), 0);
	pid_t pid = fork();

	assert_true(pid >= 0);
	if (pid == 0) {
		struct confine_opts o = opts_of(p);
		struct err e = {0};
		int r = -101;

		alarm(20);
		if (confine(&o, &e) < 0)
			fprintf(stderr, "confine: %s\n", e.msg);
		else
			r = fn();
		if (write(pipefd[1], &r, sizeof(r)) != sizeof(r))
			_exit(1);
		_exit(0);
	}
	close(pipefd[1]);
	if (read(pipefd[0], &result, sizeof(result)) != sizeof(result))
		result = -102;
	close(pipefd[0]);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	if (WIFSIGNALED(status))
		return WTERMSIG(status) == SIGSYS ? KILLED : -200 - WTERMSIG(status);
	return result;
}

struct case_ {
	const char *name;
	int (*fn)(void);
	int want;
};

static void
run(enum confine_profile p, const struct case_ *cases, size_t n)
{
	int bad = 0;

	if (geteuid() != 0) {
		print_message("skipped: giving up privileges can only be tested by root\n");
		skip();
	}
	for (size_t i = 0; i < n; i++) {
		int r = attempt(p, cases[i].fn);

		if (r == cases[i].want)
			continue;
		print_error("%s: %d, expected %d\n", cases[i].name, r, cases[i].want);
		bad++;
	}
	assert_int_equal(bad, 0);
}

/* In sanitizer builds the sanitizer's own needs stay open. */
#if defined(__SANITIZE_ADDRESS__)
#define SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define SANITIZED 1
#endif
#endif
#ifdef SANITIZED
#define UNLESS_SANITIZED(x) 0
#else
#define UNLESS_SANITIZED(x) (x)
#endif

#define NEVER                                                                                                \
	{"execve", try_execve, KILLED},                                                                      \
		{"clone with a user namespace", try_clone_userns, UNLESS_SANITIZED(KILLED)},                 \
		{"clone3", try_clone3, ENOSYS}, {"ptrace", try_ptrace, UNLESS_SANITIZED(KILLED)},            \
		{"mount", try_mount, KILLED}, {"unshare", try_unshare_user, KILLED},                         \
		{"setns", try_setns, KILLED}, {"bpf", try_bpf, KILLED}, {"io_uring", try_io_uring, KILLED},  \
		{"userfaultfd", try_userfaultfd, KILLED}, {"keyctl", try_keyctl, KILLED},                    \
		{"kexec", try_kexec, KILLED}, {"init_module", try_init_module, KILLED},                      \
		{"process_vm_readv", try_vm_readv, KILLED}, {"chroot", try_chroot, KILLED},                  \
		{"personality", try_personality, KILLED}, {"setuid", try_setuid, EPERM},                     \
		{"fork", try_fork, UNLESS_SANITIZED(ENOSYS)},                                                \
		{"clone", try_vfork, UNLESS_SANITIZED(ENOSYS)}, {"kill the parent", try_kill_parent, EPERM}, \
		{"packet socket", try_socket_packet, NO_SOCKET}, {"vsock", try_socket_vsock, NO_SOCKET},     \
		{"raw socket", try_raw_socket, EPERM},                                                       \
		{"dumpable again", try_dumpable, UNLESS_SANITIZED(ENOSYS)},                                  \
		{"unknown call", try_unknown_call, ENOSYS},                                                  \
		{"TIOCSTI", try_tiocsti, (UNLESS_SANITIZED(ENOSYS) ? ENOSYS : ENOTTY)},                      \
		{"/proc of the parent", try_proc_parent, NO_FILE}, {"fifo", try_fifo, KILLED},               \
		{"writable code", try_wx_memory, UNLESS_SANITIZED(EPERM)}, {"ids", check_ids, 0},            \
	{                                                                                                    \
		"loop", use_loop, 0                                                                          \
	}

static void
control_can_do_its_work_and_no_more(void **state)
{
#define NO_SOCKET EPERM
#define NO_FILE   EACCES
	static const struct case_ cases[] = {
		NEVER,
		{"internet socket", try_socket_inet, EPERM},
		{"internet 6 socket", try_socket_inet6, EPERM},
		{"unix socket", try_socket_unix, EPERM},
		{"netlink socket", try_socket_netlink, EPERM},
		{"connect", try_connect, EPERM},
		{"bind", try_bind, EPERM},
		{"listen", try_listen, EPERM},
		{"accept", try_accept, 0},
		{"open /etc/passwd", try_open_passwd, EACCES},
		{"read its own file", try_read_inside, 0},
		{"write its own file", try_write_inside, 0},
		{"create a file", try_create_inside, 0},
		{"read another's file", try_read_outside, EACCES},
		{"move a file out", try_rename_out, EACCES},
		{"executable memory", try_exec_memory, UNLESS_SANITIZED(EPERM)},
		{"threads", use_thread, 0},
		{"sqlite", use_sqlite, 0},
	};

	(void)state;
	run(CONFINE_CONTROL, cases, ARRAY_LEN(cases));
}

static void
gate_can_reach_the_network_and_no_more(void **state)
{
#undef NO_SOCKET
#define NO_SOCKET ENOSYS
	static const struct case_ cases[] = {
		NEVER,
		{"internet socket", try_socket_inet, 0},
		{"internet 6 socket", try_socket_inet6, 0},
		{"unix socket", try_socket_unix, ENOSYS},
		{"pair of streams", try_pair_stream, 0},
		{"pair of datagram sockets", try_pair_datagram, UNLESS_SANITIZED(ENOSYS)},
		{"routing socket", try_socket_netlink, 0},
		{"netfilter socket", try_socket_netfilter, ENOSYS},
		{"connect", try_gate_connect, 0},
		{"serve TCP", try_bind_tcp, EACCES},
		{"listen", try_listen, ENOSYS},
		{"accept", try_accept, ENOSYS},
		{"open /etc/passwd", try_open_passwd, 0},
		{"read a file", try_read_inside, EACCES},
		{"threads", use_thread, 0},
		{"curl", use_curl, 0},
	};

	(void)state;
	run(CONFINE_GATE, cases, ARRAY_LEN(cases));
}

static void
puppet_can_accept_and_no_more(void **state)
{
#undef NO_SOCKET
#undef NO_FILE
#define NO_SOCKET EPERM
#define NO_FILE   UNLESS_FILES
#ifdef SANITIZED
#define UNLESS_FILES EACCES
#else
#define UNLESS_FILES ENOSYS
#endif
	static const struct case_ cases[] = {
		NEVER,
		{"internet socket", try_socket_inet, EPERM},
		{"unix socket", try_socket_unix, EPERM},
		{"connect", try_connect, EPERM},
		{"bind", try_bind, EPERM},
		{"accept", try_accept, 0},
		{"open /etc/passwd", try_open_passwd, UNLESS_FILES},
		{"read a file", try_read_inside, UNLESS_FILES},
		{"executable memory", try_exec_memory, UNLESS_SANITIZED(EPERM)},
	};

	(void)state;
	run(CONFINE_PUPPET, cases, ARRAY_LEN(cases));
}

static void
hands_can_make_sandboxes_but_not_touch_the_kernel(void **state)
{
	static const struct case_ cases[] = {
		{"state", check_root_role, 0},
		{"no network", check_empty_netns, 0},
		{"fork", try_fork, 0},
		{"mount namespace", try_unshare_ns, 0},
		{"user namespace", try_unshare_user, 0},
		{"ptrace", try_ptrace, 0},
		{"kexec", try_kexec, KILLED},
		{"init_module", try_init_module, KILLED},
		{"bpf", try_bpf, EPERM},
		{"io_uring", try_io_uring, EPERM},
		{"userfaultfd", try_userfaultfd, EPERM},
		{"keyctl", try_keyctl, EPERM},
		{"raw socket", try_raw_socket, EPERM},
		{"loop", use_loop, 0},
	};

	(void)state;
	run(CONFINE_HANDS, cases, ARRAY_LEN(cases));
}

static void
supervise_can_start_roles(void **state)
{
	static const struct case_ cases[] = {
		{"state", check_root_role, 0},
		{"fork", try_fork, 0},
		{"kexec", try_kexec, KILLED},
		{"io_uring", try_io_uring, EPERM},
	};

	(void)state;
	run(CONFINE_SUPERVISE, cases, ARRAY_LEN(cases));
}

/* A role that execve'd is confined again: a second filter and rule set on top of supervise's. */
static int
confine_again(void)
{
	struct confine_opts o = opts_of(CONFINE_CONTROL);
	struct err e = {0};

	if (confine(&o, &e) < 0)
		fprintf(stderr, "%s\n", e.msg);
	return e.kind ? (int)e.kind + 1000 : try_socket_inet() == EPERM && check_ids() == 0 ? 0 : EINVAL;
}

static void
a_role_below_supervise_is_confined_too(void **state)
{
	static const struct case_ cases[] = {{"again", confine_again, 0}};

	(void)state;
	run(CONFINE_SUPERVISE, cases, ARRAY_LEN(cases));
}

static int
die_with_parent(void)
{
	int sig = 0;

	prctl(PR_GET_PDEATHSIG, &sig, 0, 0, 0);
	return sig == SIGKILL ? 0 : EINVAL;
}

static void
roles_die_with_their_parent(void **state)
{
	static const struct case_ cases[] = {{"signal", die_with_parent, 0}};

	(void)state;
	run(CONFINE_HANDS, cases, ARRAY_LEN(cases));
}

static void *
wait_for_ever(void *arg)
{
	(void)arg;
	for (;;)
		pause();
	return NULL;
}

/* Each of these must be refused. */
static int
confine_badly(int how)
{
	struct confine_opts o = opts_of(CONFINE_CONTROL);
	static const char *const missing[] = {"/nonexistent/dir", NULL};
	struct err e = {0};
	pthread_t t;

	if (how == 0)
		pthread_create(&t, NULL, wait_for_ever, NULL);
	if (how == 1)
		o.uid = 0;
	if (how == 2)
		o.rw = missing;
	return confine(&o, &e) < 0 && e.msg[0] ? 0 : 1;
}

static void
fails_closed(void **state)
{
	(void)state;
	if (geteuid() != 0) {
		print_message("skipped: giving up privileges can only be tested by root\n");
		skip();
	}
	for (int how = 0; how < 3; how++) {
		int status = -1;
		pid_t pid = fork();

		if (pid == 0)
			_exit(confine_badly(how));
		assert_int_equal(waitpid(pid, &status, 0), pid);
		assert_int_equal(status, 0);
	}
}

static void
basic_needs_no_privilege(void **state)
{
	int status = -1;
	pid_t pid = fork();

	(void)state;
	if (pid == 0) {
		struct rlimit core;
		struct err e;

		if (confine_basic(&e) < 0 || getrlimit(RLIMIT_CORE, &core) < 0)
			_exit(1);
		_exit(core.rlim_max != 0 || prctl(PR_GET_DUMPABLE, 0, 0, 0, 0) != 0 || umask(0) != 077);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
}

static void
make_file(char *path, size_t n, const char *sub)
{
	char d[64];

	snprintf(d, sizeof(d), "%s/%s", dir, sub);
	assert_int_equal(mkdir(d, 0777), 0);
	assert_int_equal(chmod(d, 0777), 0);
	snprintf(path, n, "%s/file", d);
	int fd = open(path, O_CREAT | O_RDWR | O_CLOEXEC, 0666);

	assert_true(fd >= 0);
	assert_int_equal(fchmod(fd, 0666), 0);
	close(fd);
}

static int
setup(void **state)
{
	socklen_t n = sizeof(listen_addr);

	(void)state;
	assert_non_null(mkdtemp(dir));
	assert_int_equal(chmod(dir, 0755), 0);
	make_file(inside, sizeof(inside), "in");
	make_file(outside, sizeof(outside), "out");
	listen_addr = (struct sockaddr_in){.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	listen_fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_int_equal(bind(listen_fd, (const struct sockaddr *)(const void *)&listen_addr, n), 0);
	assert_int_equal(listen(listen_fd, 16), 0);
	assert_int_equal(getsockname(listen_fd, (struct sockaddr *)(void *)&listen_addr, &n), 0);
	/* Two connections wait to be accepted: one for control, one for puppet. */
	for (int i = 0; i < 2; i++) {
		int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

		assert_int_equal(connect(fd, (const struct sockaddr *)(const void *)&listen_addr, n), 0);
	}
	curl_global_init(CURL_GLOBAL_DEFAULT);
	return 0;
}

static int
teardown(void **state)
{
	static const char *const names[] = {
		"in/file", "in/test.db", "in/test.db-wal", "in/test.db-shm", "in", "out/file", "out", ""};
	char path[128];

	(void)state;
	curl_global_cleanup();
	for (size_t i = 0; i < ARRAY_LEN(names); i++) {
		snprintf(path, sizeof(path), "%s/%s", dir, names[i]);
		if (remove(path) < 0 && errno != ENOENT)
			return -1;
	}
	return 0;
}

int
main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(control_can_do_its_work_and_no_more),
		cmocka_unit_test(gate_can_reach_the_network_and_no_more),
		cmocka_unit_test(puppet_can_accept_and_no_more),
		cmocka_unit_test(hands_can_make_sandboxes_but_not_touch_the_kernel),
		cmocka_unit_test(supervise_can_start_roles),
		cmocka_unit_test(a_role_below_supervise_is_confined_too),
		cmocka_unit_test(roles_die_with_their_parent),
		cmocka_unit_test(fails_closed),
		cmocka_unit_test(basic_needs_no_privilege),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
