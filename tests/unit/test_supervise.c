/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The supervisor with roles made for this test: the supervisor executes /proc/self/exe, which is this
 * program, and main() plays the role it is told to. Roles report to a FIFO that only they and the
 * supervisor hold open for writing: its end proves that none of them lives. Needs root.
 */
#include "unit.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/json.h"
#include "base/log.h"
#include "io/calls.h"
#include "io/leash.h"
#include "io/loop.h"
#include "supervise/key.h"
#include "supervise/link.h"
#include "supervise/supervise.h"

#define KEY "sk-supervise-0123456789"

extern char **environ;

/* ---- a role ---- */

struct actor {
	const char *name;
	int fifo;
	struct loop *l;
	struct leash *leash;
	struct leash_start s;
};

static void report(const struct actor *a, const char *fmt, ...) PRINTF_FMT(2, 3);

/* One line in one write, so that the roles' lines do not mix. */
static void
report(const struct actor *a, const char *fmt, ...)
{
	char line[512];
	va_list ap;
	int n = snprintf(line, sizeof(line), "%s ", a->name);

	va_start(ap, fmt);
	n += vsnprintf(line + n, sizeof(line) - (size_t)n - 1, fmt, ap);
	va_end(ap);
	line[n++] = '\n';
	(void)!write(a->fifo, line, (size_t)n);
}

/* "0,1,2,3" */
static void
list_fds(char *out, size_t cap)
{
	size_t n = 0;

	out[0] = 0;
	for (int fd = 0; fd < 256; fd++)
		if (fcntl(fd, F_GETFD) >= 0)
			n += (size_t)snprintf(out + n, cap - n, "%s%d", n ? "," : "", fd);
}

static void
on_peer(void *owner, const char *role, uint64_t number, int fd)
{
	struct actor *a = owner;
	char greeting[64];

	snprintf(greeting, sizeof(greeting), "%s", a->name);
	(void)!write(fd, greeting, strlen(greeting));
	ssize_t n = read(fd, greeting, sizeof(greeting) - 1);
	greeting[n > 0 ? n : 0] = 0;
	report(a, "peer %s %u says %s", role, (unsigned)number, greeting);
	close(fd);
}

static void
on_stop(void *owner)
{
	struct actor *a = owner;

	report(a, "stop");
	if (!json_bool(json_get(a->s.config, "stubborn"), false))
		loop_stop(a->l);
}

static void
report_start(const struct actor *a, const char *fds)
{
	int n_env = 0;

	for (char **p = environ; p && *p; p++)
		n_env++;
	report(a, "start pid %d parent %d fds %s env %d listens %zu peers %zu secrets %zu uid %d",
		(int)getpid(), (int)getppid(), fds, n_env, a->s.n_listens, a->s.n_peers, a->s.n_secrets,
		(int)json_get_int(a->s.config, "uid", -1));
	if (a->s.n_secrets) {
		struct secret *want = secret_new(STR(KEY));
		report(a, "secret %s %s", a->s.secrets[0].name,
			secret_equal(want, a->s.secrets[0].value) ? "right" : "wrong");
		secret_free(want);
	}
}

static int
actor_start(struct actor *a, struct err *e)
{
	const struct leash_ops lo = {.owner = a, .on_peer = on_peer, .on_stop = on_stop};
	char fds[256], path[256];
	int rc;

	list_fds(fds, sizeof(fds));
	rc = leash_start(&a->s, e);
	if (rc < 0)
		return rc;
	if (!str_copy_z(json_get_str(a->s.config, "fifo"), path, sizeof(path)))
		return err_set(e, ERR_INVALID, "no fifo");
	a->fifo = open(path, O_WRONLY | O_CLOEXEC);
	if (a->fifo < 0)
		return err_os(e, "%s", path);
	report_start(a, fds);
	if (json_bool(json_get(a->s.config, "fail"), false))
		return err_set(e, ERR_CONFLICT, "%s does not like it here", a->name);
	rc = loop_new(&a->l, e);
	return rc < 0 ? rc : leash_attach(&a->leash, a->l, &lo, e);
}

static void
actor_done(struct actor *a)
{
	leash_free(a->leash);
	leash_start_done(&a->s);
	if (a->l)
		loop_free(a->l);
	fd_close(a->fifo);
}

static int
play_role(const char *name)
{
	struct actor a = {.name = name, .fifo = -1};
	struct err e = {0};

	signal(SIGPIPE, SIG_IGN);
	if (actor_start(&a, &e) < 0) {
		int code = leash_failed(&e);
		actor_done(&a);
		return code;
	}
	leash_ready(a.leash, STR("acting"));
	report(&a, "ready");
	for (size_t i = 0; i < a.s.n_peers; i++)
		on_peer(&a, a.s.peers[i].name, a.s.peers[i].number, MOVE_FD(a.s.peers[i].fd));
	loop_run(a.l);
	report(&a, "end");
	actor_done(&a);
	return 0;
}

/* ---- a server ---- */

struct stage {
	char dir[64];
	char fifo[96], data[96];
	const char *fail;     /* a role that fails to start */
	const char *stubborn; /* a role that ignores STOP */
	int in;               /* the FIFO, read side; -1: not open */
	pid_t test, outer;
	char text[65536]; /* what was reported */
	size_t n;
	bool ended; /* nobody holds the FIFO open any more */
};

static int
put_slice(void *arg, const char *role, const struct supervise_place *at, struct buf *out, struct err *e)
{
	const struct stage *s = arg;
	struct json_w w = json_w(out);

	jw_obj(&w);
	jw_kz(&w, "fifo", s->fifo);
	jw_kint(&w, "uid", at->uid);
	jw_kbool(&w, "fail", s->fail && strcmp(s->fail, role) == 0);
	jw_kbool(&w, "stubborn", s->stubborn && strcmp(s->stubborn, role) == 0);
	jw_kz(&w, "control_dir", at->control_dir);
	jw_obj_end(&w);
	return buf_check(out, e);
}

NORETURN static void
be_server(struct stage *s)
{
	struct supervise_secret secret = {.name = "anthropic"};
	struct err e = {0};
	int code = 0;

	/* A test that dies must leave nothing behind. */
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	/* Held by both processes of the supervisor too, so that the end cannot be seen between two roles. */
	if (getppid() != s->test || open(s->fifo, O_WRONLY | O_CLOEXEC) < 0)
		_exit(97);
	setenv("TEST_KEY", KEY, 1);
	if (key_take_env("TEST_KEY", &secret.fd, &e) < 0)
		_exit(98);
	struct supervise_opts o = {
		.data_dir = s->data,
		.listen = "127.0.0.1:0",
		.uid_base = 64900,
		.puppet = true,
		.json_log = true,
		.level = LOG_ERROR,
		.greeting = "",
		.secrets = &secret,
		.n_secrets = 1,
		.arg = s,
		.slice = put_slice,
	};

	if (supervise_run(&o, &code, &e) < 0) {
		dprintf(2, "%s\n", e.msg);
		code = err_exit_code(e.kind);
	}
	_exit(code);
}

static void
stage_open(struct stage *s)
{
	if (geteuid() != 0) {
		print_message("needs root: the supervisor makes namespaces and changes uids\n");
		skip();
	}
	snprintf(s->dir, sizeof(s->dir), "/tmp/pinfold-supervise-XXXXXX");
	assert_non_null(mkdtemp(s->dir));
	snprintf(s->fifo, sizeof(s->fifo), "%s/fifo", s->dir);
	snprintf(s->data, sizeof(s->data), "%s/some/data", s->dir);
	assert_int_equal(mkfifo(s->fifo, 0600), 0);
	s->in = -1;
	s->test = getpid();
}

static void
stage_serve(struct stage *s)
{
	/* A FIFO opened anew does not remember its former writers. */
	fd_close(s->in);
	s->in = open(s->fifo, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
	assert_true(s->in >= 0);
	s->ended = false;
	s->n = 0;
	s->text[0] = 0;
	s->outer = fork();
	assert_true(s->outer >= 0);
	if (s->outer == 0)
		be_server(s);
}

static int
remove_one(const char *path, const struct stat *st, int kind, struct FTW *at)
{
	(void)st, (void)kind, (void)at;
	return remove(path);
}

static void
remove_tree(const char *dir)
{
	assert_int_equal(nftw(dir, remove_one, 16, FTW_DEPTH | FTW_PHYS), 0);
}

static void
stage_close(struct stage *s)
{
	close(s->in);
	remove_tree(s->dir);
}

/* Reads what the roles report until it holds `what` `times` times, or (what == NULL) until the last of them
 * is gone. */
static void
wait_for(struct stage *s, const char *what, int times)
{
	for (;;) {
		int seen = 0;
		for (const char *p = s->text; what && (p = strstr(p, what)); p++)
			seen++;
		if (what && seen >= times)
			return;
		if (s->ended && what)
			fail_msg("no \"%s\" %d times in:\n%s", what, times, s->text);
		if (s->ended)
			return;
		struct pollfd p = {.fd = s->in, .events = POLLIN};
		assert_int_equal(poll(&p, 1, 20000), 1);
		ssize_t n = read(s->in, s->text + s->n, sizeof(s->text) - 1 - s->n);
		assert_true(n >= 0 || errno == EAGAIN);
		s->ended = n == 0;
		s->n += n > 0 ? (size_t)n : 0;
		s->text[s->n] = 0;
	}
}

static int
exit_code(struct stage *s)
{
	int status = -1;

	assert_int_equal(waitpid(s->outer, &status, 0), s->outer);
	return WIFEXITED(status) ? WEXITSTATUS(status) : 1000 + WTERMSIG(status);
}

/* Process ids as this test sees them: the children of `pid`. */
static size_t
children(pid_t pid, pid_t *out, size_t cap)
{
	char path[64], text[256] = "";
	size_t n = 0;

	snprintf(path, sizeof(path), "/proc/%d/task/%d/children", (int)pid, (int)pid);
	AUTO(fd) int fd = open(path, O_RDONLY | O_CLOEXEC);
	assert_true(fd >= 0 && read(fd, text, sizeof(text) - 1) >= 0);
	struct str rest = str_z(text);
	while (n < cap && rest.n) {
		uint64_t child;
		assert_true(str_to_u64(str_next(&rest, ' '), &child));
		out[n++] = (pid_t)child;
	}
	return n;
}

static pid_t
inner_of(const struct stage *s)
{
	pid_t inner;

	assert_int_equal(children(s->outer, &inner, 1), 1);
	return inner;
}

static pid_t
pid_of(const struct stage *s, const char *role)
{
	pid_t all[16];
	size_t n = children(inner_of(s), all, 16);

	for (size_t i = 0; i < n; i++) {
		char path[64], text[256] = "";
		snprintf(path, sizeof(path), "/proc/%d/cmdline", (int)all[i]);
		AUTO(fd) int fd = open(path, O_RDONLY | O_CLOEXEC);
		ssize_t len = fd >= 0 ? read(fd, text, sizeof(text) - 1) : 0;
		/* pinfold\0role\0NAME\0LEVEL\0 */
		if (len > 13 && strcmp(text + 13, role) == 0)
			return all[i];
	}
	fail_msg("no process of role %s", role);
	return 0;
}

static bool
file_holds(pid_t pid, const char *file, const char *what)
{
	char path[64];
	static char text[1 << 20];

	snprintf(path, sizeof(path), "/proc/%d/%s", (int)pid, file);
	AUTO(fd) int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t n = fd >= 0 ? read(fd, text, sizeof(text)) : -1;
	assert_true(n >= 0);
	return n > 0 && memmem(text, (size_t)n, what, strlen(what)) != NULL;
}

/* ---- tests ---- */

static void
assert_reported(const struct stage *s, const char *what)
{
	if (!strstr(s->text, what))
		fail_msg("no \"%s\" in:\n%s", what, s->text);
}

static void
test_start_and_stop(void **state)
{
	static struct stage s;
	static const char *const roles[] = {"hands", "gate", "puppet", "control"};
	char path[128];
	struct stat st;

	(void)state;
	stage_open(&s);
	stage_serve(&s);
	wait_for(&s, " ready\n", 4);
	wait_for(&s, " peer ", 4);
	assert_reported(
		&s, "parent 1 fds 0,1,2,3 env 0 listens 1 peers 2 secrets 0 uid 64900\n"); /* control */
	assert_reported(&s, "fds 0,1,2,3 env 0 listens 0 peers 1 secrets 1 uid 64901\n");  /* gate */
	assert_reported(&s, "fds 0,1,2,3 env 0 listens 1 peers 0 secrets 0 uid 64902\n");  /* puppet */
	assert_reported(&s, "fds 0,1,2,3 env 0 listens 0 peers 1 secrets 0 uid 0\n");      /* hands */
	assert_reported(&s, "gate secret anthropic right\n");
	assert_reported(&s, "control peer gate 1 says gate\n");
	assert_reported(&s, "gate peer control 1 says control\n");
	assert_reported(&s, "hands peer control 1 says control\n");
	for (size_t i = 0; i < ARRAY_LEN(roles); i++) {
		assert_false(file_holds(pid_of(&s, roles[i]), "environ", KEY));
		assert_false(file_holds(pid_of(&s, roles[i]), "cmdline", KEY));
	}
	assert_false(file_holds(s.outer, "environ", KEY));
	assert_false(file_holds(inner_of(&s), "environ", KEY));
	snprintf(path, sizeof(path), "%s/listen", s.data);
	assert_int_equal(stat(path, &st), 0);
	snprintf(path, sizeof(path), "%s/control", s.data);
	assert_true(stat(path, &st) == 0 && st.st_uid == 64900 && (st.st_mode & 07777) == 0700);
	assert_true(stat(s.data, &st) == 0 && st.st_uid == 0 && (st.st_mode & 07777) == 0700);

	kill(s.outer, SIGTERM);
	wait_for(&s, NULL, 0);
	assert_int_equal(exit_code(&s), 0);
	/* control went before anybody else was told */
	const char *end = strstr(s.text, "control end\n");
	assert_true(end && end < strstr(s.text, "gate stop\n") && end < strstr(s.text, "hands stop\n"));
	assert_reported(&s, "hands end\n");
	snprintf(path, sizeof(path), "%s/listen", s.data);
	assert_int_equal(stat(path, &st), -1);
	stage_close(&s);
}

static void
test_restart(void **state)
{
	static struct stage s;

	(void)state;
	stage_open(&s);
	stage_serve(&s);
	wait_for(&s, " ready\n", 4);
	wait_for(&s, " peer ", 4);
	kill(pid_of(&s, "gate"), SIGKILL);
	wait_for(&s, "gate ready\n", 2);
	wait_for(&s, "control peer gate 2 says gate\n", 1);
	wait_for(&s, "gate peer control 2 says control\n", 1);
	kill(pid_of(&s, "control"), SIGKILL);
	wait_for(&s, "control ready\n", 2);
	wait_for(&s, "gate peer control 3 says control\n", 1);
	wait_for(&s, "hands peer control 2 says control\n", 1);
	wait_for(&s, "control peer hands 2 says hands\n", 1);
	/* two at once: whoever comes back last finds the other's end */
	pid_t control = pid_of(&s, "control"), hands = pid_of(&s, "hands");
	kill(control, SIGKILL);
	kill(hands, SIGKILL);
	wait_for(&s, "control ready\n", 3);
	wait_for(&s, "hands ready\n", 2);
	wait_for(&s, "control peer hands", 3);
	/* others were not touched */
	wait_for(&s, "puppet ready\n", 1);
	assert_null(strstr(strstr(s.text, "puppet ready\n") + 1, "puppet ready\n"));
	kill(s.outer, SIGTERM);
	wait_for(&s, NULL, 0);
	assert_int_equal(exit_code(&s), 0);
	stage_close(&s);
}

/* The death of either process of the supervisor takes everything with it, and the next start finds the data
 * free. */
static void
test_death(void **state)
{
	static struct stage s;

	(void)state;
	stage_open(&s);
	for (int i = 0; i < 2; i++) {
		stage_serve(&s);
		wait_for(&s, " ready\n", 4);
		kill(i == 0 ? s.outer : inner_of(&s), SIGKILL);
		wait_for(&s, NULL, 0);
		assert_int_equal(exit_code(&s), i == 0 ? 1000 + SIGKILL : 128 + SIGKILL);
	}
	stage_serve(&s);
	wait_for(&s, " ready\n", 4);
	kill(s.outer, SIGINT);
	wait_for(&s, NULL, 0);
	assert_int_equal(exit_code(&s), 0);
	stage_close(&s);
}

static void
test_second_server(void **state)
{
	static struct stage s, other;

	(void)state;
	stage_open(&s);
	stage_serve(&s);
	wait_for(&s, " ready\n", 4);
	other = s;
	other.in = -1;
	stage_serve(&other);
	assert_int_equal(exit_code(&other), err_exit_code(ERR_CONFLICT));
	close(other.in);
	kill(s.outer, SIGTERM);
	wait_for(&s, NULL, 0);
	assert_int_equal(exit_code(&s), 0);
	stage_close(&s);
}

/* A second signal does not wait for the grace time. */
static void
test_stubborn(void **state)
{
	static struct stage s;

	(void)state;
	s.stubborn = "hands";
	stage_open(&s);
	stage_serve(&s);
	wait_for(&s, " ready\n", 4);
	kill(s.outer, SIGTERM);
	wait_for(&s, "hands stop\n", 1);
	wait_for(&s, "gate end\n", 1);
	kill(s.outer, SIGTERM);
	wait_for(&s, NULL, 0);
	assert_int_equal(exit_code(&s), 0);
	stage_close(&s);
}

static void
test_failing_roles(void **state)
{
	static struct stage s;

	(void)state;
	/* the server cannot do without control */
	s.fail = "control";
	stage_open(&s);
	stage_serve(&s);
	wait_for(&s, "control start", 1);
	wait_for(&s, NULL, 0);
	assert_int_equal(exit_code(&s), err_exit_code(ERR_CONFLICT));
	/* but without sandboxes it serves, and tries again */
	s.fail = "hands";
	stage_serve(&s);
	wait_for(&s, " ready\n", 3);
	wait_for(&s, "hands start", 3);
	kill(s.outer, SIGTERM);
	wait_for(&s, NULL, 0);
	assert_int_equal(exit_code(&s), 0);
	stage_close(&s);
}

static void
test_bad_places(void **state)
{
	struct supervise_opts o = {.data_dir = "/dev/null/x", .listen = "127.0.0.1:0", .greeting = ""};
	char dir[] = "/tmp/pinfold-supervise-XXXXXX";
	struct err e = {0};
	int code;

	(void)state;
	if (geteuid() != 0) {
		assert_err(supervise_run(&o, &code, &e), e, ERR_FORBIDDEN);
		return;
	}
	assert_err(supervise_run(&o, &code, &e), e, ERR_IO);
	assert_non_null(mkdtemp(dir));
	o.data_dir = dir;
	o.listen = "192.0.2.1:80"; /* nobody's address */
	assert_err(supervise_run(&o, &code, &e), e, ERR_IO);
	assert_non_null(strstr(e.msg, "listen on 192.0.2.1:80"));
	o.listen = "somewhere:80";
	assert_err(supervise_run(&o, &code, &e), e, ERR_INVALID);
	remove_tree(dir);
}

static void
test_keys(void **state)
{
	char path[] = "/tmp/pinfold-key-XXXXXX", got[64];
	struct err e = {0};
	int fd = -1;

	(void)state;
	assert_int_equal(key_take_env("NO_SUCH_VARIABLE", &fd, &e), 0);
	assert_int_equal(fd, -1);
	setenv("TEST_KEY", "two words", 1);
	assert_err(key_take_env("TEST_KEY", &fd, &e), e, ERR_INVALID);
	assert_null(strstr(e.msg, "two words"));
	assert_null(getenv("TEST_KEY"));
	setenv("TEST_KEY", "abc", 1);
	assert_int_equal(key_take_env("TEST_KEY", &fd, &e), 0);
	assert_int_equal(pread(fd, got, sizeof(got), 0), 3);
	assert_memory_equal(got, "abc", 3);
	assert_int_equal(write(fd, "x", 1), -1); /* sealed */
	close(fd);

	assert_err(key_take_file("/nonexistent/key", &fd, &e), e, ERR_NOT_FOUND);
	assert_err(key_take_file("/tmp", &fd, &e), e, ERR_INVALID);
	AUTO(fd) int file = mkostemp(path, O_CLOEXEC);
	assert_err(key_take_file(path, &fd, &e), e, ERR_INVALID); /* empty */
	assert_true(dprintf(file, "  k-1 \r\nmore\n") > 0);
	assert_int_equal(fchmod(file, 0644), 0);
	assert_err(key_take_file(path, &fd, &e), e, ERR_INVALID); /* everybody's */
	assert_int_equal(fchmod(file, 0640), 0);
	assert_int_equal(key_take_file(path, &fd, &e), 0);
	assert_int_equal(pread(fd, got, sizeof(got), 0), 3);
	assert_memory_equal(got, "k-1", 3);
	close(fd);
	unlink(path);
}

static void
test_links(void **state)
{
	struct link links[LINKS];
	struct link_end *own, *other;
	struct err e;
	int mine, theirs, again, none;

	(void)state;
	links_init(links);
	assert_null(link_other(&links[0], "puppet", &own));
	other = link_other(&links[0], "gate", &own);
	assert_string_equal(other->role, "control");
	assert_int_equal(link_start(&links[0], own, &mine, &theirs, &e), 0);
	assert_int_equal(links[0].number, 1);
	other->kept = theirs;
	/* control comes up and gets the end that waits, without a new pair */
	assert_int_equal(link_start(&links[0], other, &again, &none, &e), 0);
	assert_true(again == theirs && none == -1 && other->kept == -1 && links[0].number == 1);
	close(mine);
	close(again);
	/* the next start of either makes a new one */
	assert_int_equal(link_start(&links[0], other, &mine, &theirs, &e), 0);
	assert_int_equal(links[0].number, 2);
	own->kept = theirs;
	close(mine);
	links_done(links);
	assert_int_equal(own->kept, -1);
}

int
main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_keys),
		cmocka_unit_test(test_links),
		cmocka_unit_test(test_bad_places),
		cmocka_unit_test(test_start_and_stop),
		cmocka_unit_test(test_restart),
		cmocka_unit_test(test_death),
		cmocka_unit_test(test_second_server),
		cmocka_unit_test(test_stubborn),
		cmocka_unit_test(test_failing_roles),
	};

	if (argc > 2 && strcmp(argv[1], "role") == 0)
		return play_role(argv[2]);
	alarm(100);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
