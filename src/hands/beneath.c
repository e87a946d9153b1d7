/* SPDX-License-Identifier: Apache-2.0 */
#include "hands/beneath.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { NAME_CAP = 256 };

static void
dir_close(DIR *d)
{
	closedir(d);
}
DEFINE_AUTO(dir, DIR *, dir_close, NULL);

static uint64_t
resolve_of(enum beneath_mode mode)
{
	if (mode == BENEATH_IN_ROOT)
		return RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS;
	return RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS | RESOLVE_NO_XDEV;
}

int
beneath_open(int dirfd, const char *path, int flags, enum beneath_mode mode, struct err *e)
{
	struct open_how how = {
		.flags = (uint64_t)(flags | O_CLOEXEC | ((flags & O_PATH) ? 0 : O_NOCTTY)),
		.mode = (flags & O_CREAT) ? 0644 : 0,
		.resolve = resolve_of(mode),
	};
	long fd;

	/* IN_ROOT answers EAGAIN when something was renamed meanwhile and the kernel cannot prove
	 * containment. */
	for (int i = 0; i < 64; i++) {
		fd = syscall(SYS_openat2, dirfd, path, &how, sizeof(how));
		if (fd >= 0 || (errno != EAGAIN && errno != EINTR))
			break;
	}
	if (fd >= 0)
		return (int)fd;
	if (errno == ENOENT)
		return err_set(e, ERR_NOT_FOUND, "%s does not exist", path);
	if (errno == ELOOP || errno == EXDEV)
		return err_set(e, ERR_FORBIDDEN, "%s meets a symbolic link or leaves its directory", path);
	return err_os(e, "open %s", path);
}

int
beneath_mkdirs(int dirfd, struct str path, enum beneath_mode mode, struct err *e)
{
	char name[NAME_CAP];
	int at = beneath_open(dirfd, ".", O_PATH | O_DIRECTORY, BENEATH_STRICT, e);

	while (at >= 0 && path.n > 0) {
		struct str part = str_next(&path, '/');
		AUTO(fd) int up = at;

		if (part.n == 0 || str_eqz(part, ".")) {
			MOVE_FD(up);
			continue;
		}
		if (str_eqz(part, ".."))
			return err_set(e, ERR_FORBIDDEN, "\"..\" in a path");
		if (!str_copy_z(part, name, sizeof(name)))
			return err_set(e, ERR_INVALID, "a file name is longer than %d bytes", NAME_CAP - 1);
		if (mkdirat(up, name, 0755) < 0 && errno != EEXIST)
			return err_os(e, "mkdir %s", name);
		at = beneath_open(up, name, O_PATH | O_DIRECTORY, mode, e);
	}
	return at;
}

/* ---- removal ---- */

/*
 * No recursion, constant descriptors: whatever directory is met below a child of the top is first renamed
 * into the top, under a name that is not taken, and dealt with there.
 */
struct removal {
	int top;
	unsigned long moved;
};

static bool
is_dots(const char *n)
{
	return n[0] == '.' && (n[1] == '\0' || (n[1] == '.' && n[2] == '\0'));
}

static int
hoist(struct removal *x, int from, const char *name, struct err *e)
{
	char to[64];

	for (int i = 0; i < 1000; i++) {
		snprintf(to, sizeof(to), ".gone.%lu", x->moved++);
		if (syscall(SYS_renameat2, from, name, x->top, to, 1u /* RENAME_NOREPLACE */) == 0)
			return 0;
		if (errno != EEXIST)
			break;
	}
	return err_os(e, "move %s away", name);
}

/* Empties the directory `name` of the top. */
static int
empty_child(struct removal *x, const char *name, struct err *e)
{
	int fd = beneath_open(x->top, name, O_RDONLY | O_DIRECTORY, BENEATH_STRICT, e);
	int r;

	if (fd < 0)
		return fd;
	AUTO(dir) DIR *d = fdopendir(fd);

	if (!d) {
		fd_close(fd);
		return err_os(e, "list %s", name);
	}
	for (struct dirent *de = readdir(d); de; de = readdir(d)) {
		if (is_dots(de->d_name) || unlinkat(dirfd(d), de->d_name, 0) == 0)
			continue;
		if (errno != EISDIR)
			return err_os(e, "remove %s", de->d_name);
		if (unlinkat(dirfd(d), de->d_name, AT_REMOVEDIR) < 0 &&
			(r = hoist(x, dirfd(d), de->d_name, e)) < 0)
			return r;
	}
	return 0;
}

/* One pass over the top. *left: something remained and another pass is needed. */
static int
empty_top(struct removal *x, bool *left, struct err *e)
{
	int fd = beneath_open(x->top, ".", O_RDONLY | O_DIRECTORY, BENEATH_STRICT, e);
	int r;

	if (fd < 0)
		return fd;
	AUTO(dir) DIR *d = fdopendir(fd);

	if (!d) {
		fd_close(fd);
		return err_os(e, "list a directory");
	}
	*left = false;
	for (struct dirent *de = readdir(d); de; de = readdir(d)) {
		if (is_dots(de->d_name) || unlinkat(x->top, de->d_name, 0) == 0)
			continue;
		if (errno != EISDIR)
			return err_os(e, "remove %s", de->d_name);
		*left = true;
		if (unlinkat(x->top, de->d_name, AT_REMOVEDIR) == 0)
			continue;
		if ((r = empty_child(x, de->d_name, e)) < 0)
			return r;
	}
	return 0;
}

int
beneath_remove(int dirfd, const char *name, struct err *e)
{
	AUTO(fd) int top = -1;
	bool left = true;

	if (unlinkat(dirfd, name, 0) == 0 || errno == ENOENT)
		return 0;
	if (errno != EISDIR)
		return err_os(e, "remove %s", name);
	/* The way to `name` is the caller's own and may be absolute; only what is below it is not. */
	top = openat(dirfd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	int r = top < 0 ? err_os(e, "open %s", name) : 0;
	struct removal x = {.top = top};

	while (r == 0 && left)
		r = empty_top(&x, &left, e);
	if (r < 0)
		return r;
	if (unlinkat(dirfd, name, AT_REMOVEDIR) < 0 && errno != ENOENT)
		return err_os(e, "remove %s", name);
	return 0;
}

/* ---- whole files ---- */

int
beneath_write(int dirfd, const char *name, struct str content, struct err *e)
{
	char tmp[NAME_CAP];
	AUTO(fd) int fd = -1;
	size_t off = 0;

	snprintf(tmp, sizeof(tmp), ".%s.new", name);
	fd = openat(dirfd, tmp, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (fd < 0)
		return err_os(e, "create %s", tmp);
	while (off < content.n) {
		ssize_t n = write(fd, content.p + off, content.n - off);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return err_os(e, "write %s", name);
		off += (size_t)n;
	}
	if (renameat(dirfd, tmp, dirfd, name) < 0)
		return err_os(e, "rename %s", name);
	return 0;
}

/* Up to `cap` bytes. Returns how many, or -1. */
static ssize_t
read_all(int fd, char *p, size_t cap)
{
	size_t got = 0;

	while (got < cap) {
		ssize_t k = read(fd, p + got, cap - got);

		if (k < 0 && errno == EINTR)
			continue;
		if (k < 0)
			return -1;
		if (k == 0)
			break;
		got += (size_t)k;
	}
	return (ssize_t)got;
}

char *
beneath_read(int dirfd, const char *name, size_t max, size_t *n, struct err *e)
{
	AUTO(fd) int fd = openat(dirfd, name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
	char *p = fd >= 0 ? malloc(max + 2) : NULL;

	if (fd < 0 && errno == ENOENT) {
		err_set(e, ERR_NOT_FOUND, "%s does not exist", name);
		return NULL;
	}
	if (!p) {
		err_os(e, "open %s", name);
		return NULL;
	}
	ssize_t got = read_all(fd, p, max + 1);

	if (got >= 0 && (size_t)got <= max) {
		p[got] = '\0';
		*n = (size_t)got;
		return p;
	}
	if (got < 0)
		err_os(e, "read %s", name);
	else
		err_set(e, ERR_TOO_LARGE, "%s is over %zu bytes", name, max);
	free(p);
	return NULL;
}

int
beneath_make_dir(const char *path, mode_t mode, struct err *e)
{
	char z[4096];

	if (!str_copy_z(str_z(path), z, sizeof(z)))
		return err_set(e, ERR_TOO_LARGE, "over-long path");
	for (char *p = z + 1;; p++) {
		if (*p != '/' && *p != '\0')
			continue;
		char c = *p;

		*p = '\0';
		if (mkdir(z, mode) < 0 && errno != EEXIST)
			return err_os(e, "mkdir %s", z);
		*p = c;
		if (c == '\0')
			return 0;
	}
}
