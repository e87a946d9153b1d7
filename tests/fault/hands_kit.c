/* SPDX-License-Identifier: Apache-2.0 */
#include "hands_kit.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/json.h"
#include "base/limits.h"
#include "base/log.h"
#include "hands/beneath.h"
#include "hands/hands.h"
#include "io/calls.h"
#include "io/confine.h"

#ifndef KIT_GUEST
#define KIT_GUEST "build/src/guest/pinfold-guest"
#endif

static struct kit *kit_running; /* for kit_fail: the namespace must not outlive the test */

void
kit_fail(const char *file, int line, const char *cond, const char *fmt, ...)
{
	va_list ap;
	fflush(stdout);
	fprintf(stderr, "%s:%d: %s: ", file, line, cond);
	va_start(ap, fmt);
	vfprintf(stderr, fmt, ap);
	va_end(ap);
	fputc('\n', stderr);
	if (kit_running && kit_running->init > 0) {
		/* Its namespaces end with it, and everything that was mounted or started in them. */
		kill(kit_running->init, SIGKILL);
		waitpid(kit_running->init, NULL, 0);
		for (int i = 0; i < 100 && beneath_remove(AT_FDCWD, kit_running->dir, NULL) < 0; i++)
			usleep(50000);
	}
	exit(1);
}

NORETURN static void
missing(const char *what, const char *path)
{
	printf("skipped: %s is missing (%s)\n", what, path);
	exit(77);
}

/* ---- the other side of the namespace ---- */

static void
on_stopped(void *arg)
{
	loop_stop(arg);
}

struct role {
	struct loop *loop;
	struct hands *hands;
};

static void
on_term(void *arg, int signum)
{
	struct role *r = arg;

	(void)signum;
	hands_stop(r->hands, on_stopped, r->loop);
}

NORETURN static void
run_hands(const char *config, int fd)
{
	struct confine_opts c = {.profile = CONFINE_HANDS, .empty_netns = true};
	struct json_t *v = NULL;
	struct role r = {0};
	struct err e = {0};

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	log_setup("hands", getenv("KIT_LOG") ? LOG_INFO : LOG_ERROR, 2);
	umask(077);
	int rc = getenv("KIT_NO_CONFINE") ? 0 : confine(&c, &e);

	if (rc == 0)
		rc = json_parse(str_z(config), &v, &e);
	if (rc == 0)
		rc = loop_new(&r.loop, &e);
	struct loop_signal *sig = rc == 0 ? loop_signal_new(r.loop, SIGTERM, on_term, &r) : NULL;

	if (rc == 0)
		rc = hands_new(&r.hands, r.loop, v, &e);
	json_free(v);
	if (rc == 0)
		rc = hands_set_control(r.hands, fd, &e);
	if (rc < 0) {
		fprintf(stderr, "hands: %s\n", e.msg);
		_exit(1);
	}
	loop_run(r.loop);
	hands_free(r.hands);
	loop_signal_free(sig);
	loop_free(r.loop);
	exit(0);
}

static int
recv_command(int sock, char *c)
{
	union {
		struct cmsghdr align;
		char space[CMSG_SPACE(sizeof(int))];
	} u = {0};
	struct iovec iov = {c, 1};
	struct msghdr m = {
		.msg_iov = &iov, .msg_iovlen = 1, .msg_control = &u, .msg_controllen = sizeof(u.space)};
	int fd = -1;

	if (recvmsg(sock, &m, MSG_CMSG_CLOEXEC) != 1)
		return -2;
	for (struct cmsghdr *h = CMSG_FIRSTHDR(&m); h; h = CMSG_NXTHDR(&m, h))
		memcpy(&fd, CMSG_DATA(h), sizeof(int));
	return fd;
}

/* 'S' with a descriptor: start hands on it. 'K': kill it. 'T': end it orderly and wait. */
NORETURN static void
run_init(const char *config, int sock)
{
	int child = -1;
	char c = 0;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 ||
		mount("proc", "/proc", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL) < 0)
		_exit(1);
	for (;;) {
		int fd = recv_command(sock, &c);

		if (fd == -2)
			_exit(0);
		if (child > 0 && (c == 'K' || c == 'T')) {
			kill(child, c == 'K' ? SIGKILL : SIGTERM);
			waitpid(child, NULL, 0);
			child = -1;
		}
		if (c == 'S' && (child = fork()) == 0) {
			close(sock);
			run_hands(config, fd);
		}
		fd_close(fd);
		while (waitpid(-1, NULL, WNOHANG) > 0)
			;
		if (write(sock, &c, 1) != 1)
			_exit(0);
	}
}

static void
command(struct kit *k, char c, int fd)
{
	union {
		struct cmsghdr align;
		char space[CMSG_SPACE(sizeof(int))];
	} u = {0};
	struct iovec iov = {&c, 1};
	struct msghdr m = {.msg_iov = &iov, .msg_iovlen = 1};

	if (fd >= 0) {
		m.msg_control = &u;
		m.msg_controllen = sizeof(u.space);
		*CMSG_FIRSTHDR(&m) = (struct cmsghdr){
			.cmsg_len = CMSG_LEN(sizeof(int)), .cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS};
		memcpy(CMSG_DATA(CMSG_FIRSTHDR(&m)), &fd, sizeof(int));
	}
	KIT_CHECK(sendmsg(k->command, &m, MSG_NOSIGNAL) == 1, "init is gone");
	KIT_CHECK(read(k->command, &c, 1) == 1, "init is gone");
}

static void
start_role(struct kit *k)
{
	int p[2];

	KIT_CHECK(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, p) == 0, "socketpair");
	command(k, 'S', p[1]);
	close(p[1]);
	k->fd = p[0];
}

static void
start_init(struct kit *k)
{
	int p[2];

	KIT_CHECK(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, p) == 0, "socketpair");
	/* Two forks: the PID namespace begins with the children of whoever unshared it. */
	int *shared = mmap(NULL, sizeof(int), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	KIT_CHECK(shared != MAP_FAILED, "mmap");
	k->init = fork();
	if (k->init == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		close(p[0]);
		if (unshare(CLONE_NEWPID | CLONE_NEWNS) < 0)
			_exit(1);
		int pid = fork();

		if (pid == 0)
			run_init(k->config, p[1]);
		close(p[1]);
		waitpid(pid, NULL, 0);
		_exit(0);
	}
	close(p[1]);
	k->command = p[0];
	munmap(shared, sizeof(int));
}

void
kit_start(struct kit *k, const char *name, const char *extra)
{
	const char *image = getenv("PINFOLD_IMAGE"), *guest = getenv("PINFOLD_GUEST");
	const char *runsc = getenv("PINFOLD_RUNSC"), *tmp = getenv("TMPDIR");

	image = image ? image : ".work/images/default";
	guest = guest ? guest : KIT_GUEST;
	runsc = runsc ? runsc : "/usr/bin/runsc";
	*k = (struct kit){.fd = -1, .command = -1};
	char *image_real = realpath(image, NULL), *guest_real = realpath(guest, NULL);

	if (geteuid() != 0)
		missing("root", "uid");
	if (!image_real)
		missing("the sandbox image", image);
	if (!guest_real)
		missing("the guest binary", guest);
	if (access(runsc, X_OK) < 0)
		missing("the OCI runtime", runsc);
	snprintf(k->dir, sizeof(k->dir), "%.150s/pinfold-%.40s-%d", tmp ? tmp : "/tmp", name, (int)getpid());
	KIT_CHECK(mkdir(k->dir, 0700) == 0, "mkdir %s: %s", k->dir, strerror(errno));
	int n = snprintf(k->config, sizeof(k->config),
		"{\"data_dir\":\"%s/data\",\"run_dir\":\"%s/"
		"run\",\"image_dir\":\"%s\",\"guest_binary\":\"%s\","
		"\"runsc\":\"%s\"%s}",
		k->dir, k->dir, image_real, guest_real, runsc, extra);

	KIT_CHECK(n > 0 && n < (int)sizeof(k->config), "config too long");
	free(image_real);
	free(guest_real);
	buf_init(&k->in, 4 * LIM_FRAME_ROLE);
	kit_running = k;
	start_init(k);
	start_role(k);
}

static void
forget(struct kit *k)
{
	while (k->queue) {
		struct kit_msg *m = k->queue;

		k->queue = m->next;
		kit_msg_free(m);
	}
	for (int i = 0; i < k->n_in_fds; i++)
		close(k->in_fds[i]);
	k->n_in_fds = 0;
	buf_clear(&k->in);
}

void
kit_restart(struct kit *k)
{
	command(k, 'K', -1);
	close(k->fd);
	forget(k);
	start_role(k);
}

void
kit_reboot(struct kit *k)
{
	/* The process in between takes the namespace with it. */
	kill(k->init, SIGKILL);
	waitpid(k->init, NULL, 0);
	close(k->command);
	close(k->fd);
	forget(k);
	start_init(k);
	start_role(k);
}

void
kit_stop(struct kit *k)
{
	command(k, 'T', -1);
	close(k->fd);
	close(k->command);
	waitpid(k->init, NULL, 0);
	kit_running = NULL;
	forget(k);
	buf_done(&k->in);
	beneath_remove(AT_FDCWD, k->dir, NULL);
}

/* ---- messages ---- */

void
kit_msg_free(struct kit_msg *m)
{
	if (!m)
		return;
	fd_close(m->fd);
	free((void *)(uintptr_t)m->payload.p);
	free(m);
}

static void
take_frames(struct kit *k)
{
	struct err e = {0};
	struct frame f;
	size_t used;
	int r;

	while ((r = frame_parse(buf_str(&k->in), LIM_FRAME_ROLE, &f, &used, &e)) > 0) {
		struct kit_msg *m = calloc(1, sizeof(*m)), **at = &k->queue;
		char *copy = malloc(f.payload.n + 1);

		memcpy(copy, f.payload.p, f.payload.n);
		*m = (struct kit_msg){NULL, f.type, f.call, str_n(copy, f.payload.n), -1};
		if (f.flags & FRAME_FD) {
			KIT_CHECK(k->n_in_fds > 0, "a descriptor is missing");
			m->fd = k->in_fds[0];
			memmove(k->in_fds, k->in_fds + 1, (size_t)--k->n_in_fds * sizeof(int));
		}
		while (*at)
			at = &(*at)->next;
		*at = m;
		buf_drop(&k->in, used);
	}
	KIT_CHECK(r == 0, "hands sent garbage: %s", e.msg);
}

static void
receive(struct kit *k)
{
	union {
		struct cmsghdr align;
		char space[CMSG_SPACE(8 * sizeof(int))];
	} u = {0};
	char *to = buf_reserve(&k->in, 65536);
	struct iovec iov = {to, 65536};
	struct msghdr m = {
		.msg_iov = &iov, .msg_iovlen = 1, .msg_control = &u, .msg_controllen = sizeof(u.space)};
	ssize_t n = recvmsg(k->fd, &m, MSG_CMSG_CLOEXEC);

	KIT_CHECK(n > 0, "hands closed the connection");
	for (struct cmsghdr *h = CMSG_FIRSTHDR(&m); h; h = CMSG_NXTHDR(&m, h)) {
		KIT_CHECK(k->n_in_fds < 64, "too many descriptors");
		memcpy(&k->in_fds[k->n_in_fds++], CMSG_DATA(h), sizeof(int));
	}
	k->in.n += (size_t)n;
	take_frames(k);
}

/* The first message with this call (0: any) that `wanted` wants. */
static struct kit_msg *
wait_that(struct kit *k, bool (*wanted)(const struct kit_msg *m), uint64_t call, int ms)
{
	uint64_t end = clock_mono_us() + (uint64_t)ms * 1000;

	for (;;) {
		for (struct kit_msg **at = &k->queue; *at; at = &(*at)->next) {
			struct kit_msg *m = *at;

			if (!wanted(m) || (call && m->call != call))
				continue;
			*at = m->next;
			return m;
		}
		uint64_t now = clock_mono_us();
		struct pollfd p = {.fd = k->fd, .events = POLLIN};

		if (now >= end || poll(&p, 1, (int)((end - now) / 1000) + 1) == 0)
			return NULL;
		receive(k);
	}
}

static bool
is_status(const struct kit_msg *m)
{
	return m->type == HANDS_STATUS;
}

static bool
is_result(const struct kit_msg *m)
{
	return m->type == HANDS_RESULT || m->type == HANDS_FAILED;
}

static bool
is_gone(const struct kit_msg *m)
{
	return m->type == HANDS_GONE;
}

static bool
is_released(const struct kit_msg *m)
{
	return m->type == HANDS_RELEASED;
}

static bool
is_output_file(const struct kit_msg *m)
{
	return m->type == HANDS_OUTPUT_FILE;
}

struct kit_msg *
kit_wait_gone(struct kit *k, const char *session, int ms)
{
	for (;;) {
		struct kit_msg *m = wait_that(k, is_gone, 0, ms);

		if (!m)
			return NULL;
		struct frame_r r = frame_r(m->payload);

		if (str_eqz(frame_get_str(&r), session))
			return m;
		kit_msg_free(m);
	}
}

struct kit_msg *
kit_wait_output(struct kit *k, int ms)
{
	return wait_that(k, is_output_file, 0, ms);
}

static void
send_fd(struct kit *k, struct buf *b, int fd)
{
	union {
		struct cmsghdr align;
		char space[CMSG_SPACE(sizeof(int))];
	} u = {0};
	struct iovec iov = {b->p, b->n};
	struct msghdr m = {.msg_iov = &iov, .msg_iovlen = 1};

	if (fd >= 0) {
		m.msg_control = &u;
		m.msg_controllen = sizeof(u.space);
		*CMSG_FIRSTHDR(&m) = (struct cmsghdr){
			.cmsg_len = CMSG_LEN(sizeof(int)), .cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS};
		memcpy(CMSG_DATA(CMSG_FIRSTHDR(&m)), &fd, sizeof(int));
	}
	while (b->n > 0) {
		iov = (struct iovec){b->p, b->n};
		ssize_t n = sendmsg(k->fd, &m, MSG_NOSIGNAL);

		KIT_CHECK(n > 0, "hands closed the connection");
		buf_drop(b, (size_t)n);
		m.msg_control = NULL;
		m.msg_controllen = 0;
	}
}

/* ---- status ---- */

void
kit_status(struct kit *k, struct buf *b)
{
	for (;;) {
		struct kit_msg *m = wait_that(k, is_status, 0, KIT_MS);

		KIT_CHECK(m != NULL, "no status");
		struct frame_r r = frame_r(m->payload);
		struct str s = frame_get_str(&r);

		buf_clear(b);
		buf_put_str(b, s);
		kit_msg_free(m);
		if (str_find_str(buf_str(b), STR("\"probing\"")) == b->n)
			return;
	}
}

void
kit_wait_warm(struct kit *k)
{
	struct buf b;
	bool warm = false;

	buf_init(&b, 64 * KIB);
	while (!warm) {
		struct json_t *v = NULL;

		kit_status(k, &b);
		KIT_CHECK(json_parse(buf_str(&b), &v, NULL) == 0, "status is no JSON");
		warm = json_get_int(json_get(v, "pool"), "ready", 0) > 0;
		json_free(v);
	}
	buf_done(&b);
}

/* ---- claims ---- */

static void
copy_text(struct str s, char *dst, size_t cap)
{
	snprintf(dst, cap, "%.*s", STRF(s));
}

static void
send_claim(struct kit *k, uint64_t call, const char *session, const struct kit_files *f)
{
	struct buf b;

	buf_init(&b, LIM_FRAME_ROLE);
	struct frame_w w = frame_begin(&b, HANDS_CLAIM, call);

	frame_str(&w, str_z(session));
	frame_str(&w, STR(""));
	frame_str(&w, STR(""));
	frame_u64(&w, k->limits.memory);
	frame_u64(&w, k->limits.pids);
	frame_u64(&w, k->limits.disk);
	frame_u64(&w, k->limits.cpu_milli);
	frame_u64(&w, f->n);
	for (size_t i = 0; i < f->n; i++) {
		frame_str(&w, str_z(f->list[i].id));
		frame_str(&w, str_z(f->list[i].path));
		frame_u64(&w, strlen(f->list[i].content));
	}
	frame_end(&w, 0);
	send_fd(k, &b, -1);
	buf_done(&b);
}

static void
send_file(struct kit *k, uint64_t call, const struct kit_file *f)
{
	struct buf b;
	size_t n = strlen(f->content);
	int fd = memfd_create("file", MFD_CLOEXEC);

	KIT_CHECK(fd >= 0 && write(fd, f->content, n) == (ssize_t)n, "memfd");
	buf_init(&b, 4096);
	struct frame_w w = frame_begin(&b, HANDS_FILE, call);

	frame_str(&w, str_z(f->id));
	frame_u64(&w, n);
	frame_end(&w, FRAME_FD);
	send_fd(k, &b, fd);
	close(fd);
	buf_done(&b);
}

static void
answer_want(struct kit *k, const struct kit_msg *m, const struct kit_files *f)
{
	struct frame_r r = frame_r(m->payload);
	uint64_t wanted = frame_get_u64(&r);

	for (uint64_t i = 0; i < wanted; i++) {
		struct str id = frame_get_str(&r);

		for (size_t x = 0; x < f->n; x++)
			if (str_eqz(id, f->list[x].id))
				send_file(k, m->call, &f->list[x]);
	}
}

static void
read_claim(const struct kit_msg *m, struct kit_claim *out)
{
	struct frame_r r = frame_r(m->payload);

	if (m->type == HANDS_CLAIMED) {
		out->generation = frame_get_u64(&r);
		out->how = frame_get_u64(&r);
		out->us = frame_get_u64(&r);
	} else {
		out->failed = frame_get_u64(&r);
		copy_text(frame_get_str(&r), out->step, sizeof(out->step));
		copy_text(frame_get_str(&r), out->message, sizeof(out->message));
		out->generation = frame_get_u64(&r);
	}
	KIT_CHECK(frame_done(&r, NULL) == 0, "malformed answer");
}

static bool
answers_claim(const struct kit_msg *m)
{
	return m->type == HANDS_WANT || m->type == HANDS_CLAIMED || m->type == HANDS_FAILED;
}

void
kit_send_claim(struct kit *k, const char *session, const struct kit_files *files)
{
	const struct kit_files none = {NULL, 0};

	send_claim(k, ++k->next_call, session, files ? files : &none);
}

void
kit_claim(struct kit *k, const char *session, const struct kit_files *files, struct kit_claim *out)
{
	const struct kit_files none = {NULL, 0}, *f = files ? files : &none;
	uint64_t call = ++k->next_call;
	bool done = false;

	*out = (struct kit_claim){0};
	send_claim(k, call, session, f);
	while (!done) {
		struct kit_msg *m = wait_that(k, answers_claim, call, KIT_MS);

		KIT_CHECK(m != NULL, "no answer to a claim");
		done = m->type != HANDS_WANT;
		if (done)
			read_claim(m, out);
		else
			answer_want(k, m, f);
		kit_msg_free(m);
	}
}

/* ---- tools ---- */

uint64_t
kit_send_execute(struct kit *k, const struct kit_call *c)
{
	struct buf b;
	uint64_t call = ++k->next_call;

	buf_init(&b, LIM_FRAME_ROLE);
	struct frame_w w = frame_begin(&b, HANDS_EXECUTE, call);

	frame_str(&w, str_z(c->session));
	frame_u64(&w, c->generation);
	frame_str(&w, str_z(c->exec_id));
	frame_str(&w, str_z(c->tool));
	frame_str(&w, str_z(c->input));
	frame_u64(&w, c->timeout_ms);
	frame_end(&w, 0);
	send_fd(k, &b, -1);
	buf_done(&b);
	return call;
}

static bool
is_output(const struct kit_msg *m)
{
	return m->type == HANDS_OUTPUT;
}

void
kit_wait_printed(struct kit *k, uint64_t call)
{
	struct kit_msg *m = wait_that(k, is_output, call, KIT_MS);

	KIT_CHECK(m != NULL, "the tool printed nothing");
	kit_msg_free(m);
}

void
kit_get_result(struct kit *k, uint64_t call, int ms, struct kit_result *out)
{
	struct kit_msg *m = wait_that(k, is_result, call, ms);

	KIT_CHECK(m != NULL, "no result within %d ms", ms);
	*out = (struct kit_result){0};
	struct frame_r r = frame_r(m->payload);

	if (m->type == HANDS_FAILED) {
		out->failed = frame_get_u64(&r);
		copy_text(frame_get_str(&r), out->step, sizeof(out->step));
		copy_text(frame_get_str(&r), out->message, sizeof(out->message));
		frame_get_u64(&r);
	} else {
		frame_get_str(&r);
		out->status = frame_get_u64(&r);
		out->is_error = frame_get_u64(&r);
		struct str text = frame_get_str(&r);

		out->text = malloc(text.n + 1);
		memcpy(out->text, text.p, text.n);
		out->text[text.n] = '\0';
		frame_get_str(&r);
		out->full_length = frame_get_u64(&r);
		out->run_us = frame_get_u64(&r);
	}
	KIT_CHECK(frame_done(&r, NULL) == 0, "malformed result");
	kit_msg_free(m);
}

void
kit_result_done(struct kit_result *r)
{
	free(r->text);
	r->text = NULL;
}

void
kit_execute(struct kit *k, const struct kit_call *c, struct kit_result *out)
{
	kit_get_result(k, kit_send_execute(k, c), KIT_MS, out);
}

void
kit_bash(struct kit *k, const char *session, uint64_t generation, const char *text, struct kit_result *out)
{
	struct id id = id_new("sevt", clock_wall_us());
	struct buf b;

	buf_init(&b, LIM_TOOL_INPUT);
	struct json_w w = json_w(&b);

	jw_obj(&w);
	jw_kz(&w, "command", text);
	jw_obj_end(&w);
	buf_put_c(&b, '\0');
	kit_execute(k, &(struct kit_call){session, generation, id.z, "bash", b.p, 0}, out);
	kit_ack(k, session, id.z);
	buf_done(&b);
}

/* Messages of a session id, maybe a number, maybe an execution id. */
struct ids {
	uint16_t type;
	uint64_t call;
	const char *session;
	const uint64_t *number;
	const char *exec_id;
};

static void
send_ids(struct kit *k, const struct ids *m)
{
	struct buf b;

	buf_init(&b, 4096);
	struct frame_w w = frame_begin(&b, m->type, m->call);

	frame_str(&w, str_z(m->session));
	if (m->number)
		frame_u64(&w, *m->number);
	if (m->exec_id)
		frame_str(&w, str_z(m->exec_id));
	frame_end(&w, 0);
	send_fd(k, &b, -1);
	buf_done(&b);
}

void
kit_ack(struct kit *k, const char *session, const char *exec_id)
{
	send_ids(k, &(struct ids){HANDS_ACK, 0, session, NULL, exec_id});
}

uint64_t
kit_send_collect(struct kit *k, const char *session, const char *exec_id)
{
	send_ids(k, &(struct ids){HANDS_COLLECT, ++k->next_call, session, NULL, exec_id});
	return k->next_call;
}

void
kit_cancel(struct kit *k, const char *session, uint64_t generation, const char *exec_id)
{
	send_ids(k, &(struct ids){HANDS_CANCEL, 0, session, &generation, exec_id});
}

void
kit_release(struct kit *k, const char *session, bool destroy)
{
	uint64_t d = destroy, call = ++k->next_call;

	send_ids(k, &(struct ids){HANDS_RELEASE, call, session, &d, NULL});
	struct kit_msg *m = wait_that(k, is_released, call, KIT_MS);

	KIT_CHECK(m != NULL, "no answer to a release");
	kit_msg_free(m);
}
