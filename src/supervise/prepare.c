/* SPDX-License-Identifier: Apache-2.0 */
#include "supervise/prepare.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum {
	BACKLOG = 4096,
	LOCK_TRIES = 150, /* of LOCK_PAUSE_MS: a killed server's last processes are being ended */
	LOCK_PAUSE_MS = 20,
};

/* ---- directories ---- */

/* mkdir -p; the last component gets `mode`, those before it 0755. */
static int
make_path(const char *path, mode_t mode, struct err *e)
{
	char part[PATH_MAX];

	if (!str_copy_z(str_z(path), part, sizeof(part)) || !*path)
		return err_set(e, ERR_INVALID, "the data directory's path is empty or too long");
	for (char *p = part + 1; *p; p++) {
		if (*p != '/')
			continue;
		*p = 0;
		if (mkdir(part, 0755) < 0 && errno != EEXIST)
			return err_os(e, "make %.100s", part);
		*p = '/';
	}
	if (mkdir(part, mode) < 0 && errno != EEXIST)
		return err_os(e, "make %.100s", part);
	return 0;
}

/* A directory below the data directory with exactly this owner and mode. */
static int
make_part(int data, const char *name, unsigned uid, struct err *e)
{
	if (mkdirat(data, name, 0700) < 0 && errno != EEXIST)
		return err_os(e, "make %s in the data directory", name);
	AUTO(fd) int fd = openat(data, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);

	if (fd < 0)
		return err_os(e, "open %s in the data directory", name);
	if (fchown(fd, uid, uid) < 0 || fchmod(fd, 0700) < 0)
		return err_os(e, "own %s in the data directory", name);
	return 0;
}

static int
make_data(const struct supervise_opts *o, struct prepared *p, struct err *e)
{
	int rc = make_path(o->data_dir, 0700, e);

	if (rc < 0)
		return rc;
	if (!realpath(o->data_dir, p->data_dir))
		return err_os(e, "data directory %.100s", o->data_dir);
	AUTO(fd) int data = open(p->data_dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (data < 0)
		return err_os(e, "data directory %.100s", p->data_dir);
	if (fchmod(data, 0700) < 0 || fchown(data, 0, 0) < 0)
		return err_os(e, "data directory %.100s", p->data_dir);
	rc = make_part(data, "control", o->uid_base, e);
	if (rc == 0)
		rc = make_part(data, "hands", 0, e);
	/* Where everybody looks for the first key. */
	if (rc == 0 && symlinkat("control/admin.key", data, "admin.key") < 0 && errno != EEXIST)
		rc = err_os(e, "link the admin key into the data directory");
	return rc;
}

/* ---- lock ---- */

/* The server that the lock file names, or 0. */
static int
lock_holder(int fd)
{
	char text[32];
	ssize_t n = pread(fd, text, sizeof(text), 0);
	struct str rest = str_n(text, n > 0 ? (size_t)n : 0);
	uint64_t pid = 0;

	if (!str_to_u64(str_next(&rest, '\n'), &pid) || pid == 0 || pid > INT_MAX)
		return 0;
	return (int)pid;
}

static int
write_pid(const char *path, struct err *e)
{
	AUTO(fd) int fd = open(path, O_WRONLY | O_TRUNC | O_CLOEXEC);

	if (fd < 0 || dprintf(fd, "%d\n", (int)getpid()) < 0)
		return err_os(e, "write %.100s", path);
	return 0;
}

static int
take_lock(struct prepared *p, struct err *e)
{
	char path[PATH_MAX + 8];

	snprintf(path, sizeof(path), "%s/lock", p->data_dir);
	p->lock = open(path, O_RDONLY | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (p->lock < 0)
		return err_os(e, "open %.100s", path);
	for (int i = 0; flock(p->lock, LOCK_EX | LOCK_NB) < 0; i++) {
		if (errno != EWOULDBLOCK && errno != EINTR)
			return err_os(e, "lock %.100s", path);
		int pid = lock_holder(p->lock);

		if (i == LOCK_TRIES || (pid && kill(pid, 0) == 0))
			return err_set(e, ERR_CONFLICT,
				"another pinfold serve (process %d) uses the data directory %.120s", pid,
				p->data_dir);
		nanosleep(&(struct timespec){.tv_nsec = LOCK_PAUSE_MS * 1000000L}, NULL);
	}
	return write_pid(path, e);
}

/* ---- sockets ---- */

union address {
	struct sockaddr sa;
	struct sockaddr_in in;
	struct sockaddr_in6 in6;
};

static int
parse_listen(const char *text, union address *a, struct err *e)
{
	struct str all = str_z(text);
	size_t colon = all.n;
	char host[64];
	uint64_t port;

	while (colon > 0 && all.p[colon - 1] != ':')
		colon--;
	if (colon == 0 || !str_to_u64(str_sub(all, colon, all.n), &port) || port > 65535)
		return err_set(e, ERR_INVALID, "\"%.80s\" is not HOST:PORT", text);
	struct str h = str_sub(all, 0, colon - 1);
	bool six = h.n > 2 && h.p[0] == '[' && h.p[h.n - 1] == ']';

	if (six)
		h = str_sub(h, 1, h.n - 2);
	if (str_eqz(h, "localhost"))
		h = STR("127.0.0.1");
	*a = (union address){0};
	a->in6.sin6_port = htons((uint16_t)port); /* the same place in both */
	a->sa.sa_family = six ? AF_INET6 : AF_INET;
	void *to = six ? (void *)&a->in6.sin6_addr : (void *)&a->in.sin_addr;

	if (!str_copy_z(h, host, sizeof(host)) || inet_pton(a->sa.sa_family, host, to) != 1)
		return err_set(
			e, ERR_INVALID, "\"%.80s\" needs an IP address or localhost before the port", text);
	return 0;
}

int
supervise_check_listen(const char *listen_at, struct err *e)
{
	union address a;

	return parse_listen(listen_at, &a, e);
}

static socklen_t
address_len(const union address *a)
{
	return a->sa.sa_family == AF_INET6 ? sizeof(a->in6) : sizeof(a->in);
}

/* "http://HOST:PORT" that a program on this machine can use: a wildcard address is shown as loopback. */
static void
address_url(const union address *a, char *url, size_t cap)
{
	char host[INET6_ADDRSTRLEN] = "";
	unsigned port = ntohs(a->in.sin_port);

	if (a->sa.sa_family == AF_INET6) {
		bool any = IN6_IS_ADDR_UNSPECIFIED(&a->in6.sin6_addr);
		inet_ntop(AF_INET6, any ? &in6addr_loopback : &a->in6.sin6_addr, host, sizeof(host));
		snprintf(url, cap, "http://[%s]:%u", host, port);
	} else {
		struct in_addr loop = {htonl(INADDR_LOOPBACK)};
		bool any = a->in.sin_addr.s_addr == htonl(INADDR_ANY);
		inet_ntop(AF_INET, any ? &loop : &a->in.sin_addr, host, sizeof(host));
		snprintf(url, cap, "http://%s:%u", host, port);
	}
}

static int
open_listener(const char *where, int *out, char *url, size_t url_cap, struct err *e)
{
	union address a;
	int rc = parse_listen(where, &a, e);

	if (rc < 0)
		return err_wrap(e, "listen");
	AUTO(fd) int fd = socket(a.sa.sa_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	int one = 1;
	socklen_t n = address_len(&a);

	if (fd < 0)
		return err_os(e, "listen on %.80s", where);
	if (setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one)) < 0 || bind(fd, &a.sa, n) < 0 ||
		listen(fd, BACKLOG) < 0 || getsockname(fd, &a.sa, &n) < 0)
		return err_os(e, "listen on %.80s", where);
	address_url(&a, url, url_cap);
	*out = MOVE_FD(fd);
	return 0;
}

/* ---- together ---- */

int
prepare(const struct supervise_opts *o, struct prepared *p, struct err *e)
{
	*p = (struct prepared){.lock = -1, .api = -1, .puppet = -1};
	int rc = make_data(o, p, e);

	if (rc == 0)
		rc = take_lock(p, e);
	if (rc == 0)
		rc = open_listener(o->listen, &p->api, p->listen_url, sizeof(p->listen_url), e);
	if (rc == 0 && o->puppet)
		rc = open_listener("127.0.0.1:0", &p->puppet, p->puppet_url, sizeof(p->puppet_url), e);
	if (rc < 0)
		prepare_done(p);
	else
		prepare_unpublish(p);
	return rc;
}

void
prepare_done(struct prepared *p)
{
	fd_close(MOVE_FD(p->puppet));
	fd_close(MOVE_FD(p->api));
	fd_close(MOVE_FD(p->lock));
}

/* Binds <data>/NAME to PREPARE_RUN/NAME: a short path that needs no right on the directories above the data.
 */
static int
bind_part(const struct prepared *p, const char *name, unsigned long flags, struct err *e)
{
	char from[PATH_MAX + 16], to[64];

	snprintf(from, sizeof(from), "%s/%s", p->data_dir, name);
	snprintf(to, sizeof(to), PREPARE_RUN "/%s", name);
	if (mkdir(to, 0700) < 0 || mount(from, to, NULL, MS_BIND, NULL) < 0)
		return err_os(e, "bind %.100s", from);
	/* Flags of a bind mount take effect only in a second step. */
	if (flags && mount(NULL, to, NULL, MS_BIND | MS_REMOUNT | flags, NULL) < 0)
		return err_os(e, "bind %.100s with its flags", from);
	return 0;
}

static int
mount_run(const struct prepared *p, struct err *e)
{
	if (mkdir(PREPARE_RUN, 0755) < 0 && errno != EEXIST)
		return err_os(e, "make " PREPARE_RUN);
	if (mount("tmpfs", PREPARE_RUN, "tmpfs", MS_NOSUID | MS_NODEV, "mode=0755,size=256m") < 0)
		return err_os(e, "mount a tmpfs on " PREPARE_RUN);
	if (mkdir(PREPARE_RUN "/run", 0700) < 0)
		return err_os(e, "make " PREPARE_RUN "/run");
	int rc = bind_part(p, "control", MS_NOSUID | MS_NODEV | MS_NOEXEC, e);

	return rc < 0 ? rc : bind_part(p, "hands", 0, e);
}

int
prepare_mounts(const struct prepared *p, struct err *e)
{
	if (mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0)
		return err_os(e, "make mounts private");
	if (mount("proc", "/proc", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL) < 0)
		return err_os(e, "mount /proc of the new process namespace");
	return mount_run(p, e);
}

int
prepare_publish(const struct prepared *p, struct err *e)
{
	char part[PATH_MAX + 16], path[PATH_MAX + 16];

	snprintf(part, sizeof(part), "%s/listen.new", p->data_dir);
	snprintf(path, sizeof(path), "%s/listen", p->data_dir);
	AUTO(fd) int fd = open(part, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0644);

	if (fd < 0 || dprintf(fd, "%s\n", p->listen_url) < 0 || rename(part, path) < 0)
		return err_os(e, "write %.100s", path);
	return 0;
}

void
prepare_unpublish(const struct prepared *p)
{
	char path[PATH_MAX + 16];

	snprintf(path, sizeof(path), "%s/listen", p->data_dir);
	unlink(path);
}
