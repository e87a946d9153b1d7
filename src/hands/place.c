/* SPDX-License-Identifier: Apache-2.0 */
#include "hands/place.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/guest_call.h"
#include "base/limits.h"
#include "hands/beneath.h"

enum { NAME_CAP = 256 };

/* The rest of `path` below `dir`, or false. */
static bool
below(struct str path, const char *dir, struct str *rest)
{
	struct str d = str_z(dir);

	if (!str_starts(path, d) || path.n <= d.n + 1 || path.p[d.n] != '/')
		return false;
	*rest = str_sub(path, d.n + 1, path.n);
	return true;
}

/* Parts separated by single slashes, none of them empty, "." or "..", each short enough for a file name. */
static bool
clean(struct str s)
{
	if (s.n < 2 || s.n > LIM_PATH || s.p[0] != '/' || !str_is_utf8(s) || str_find(s, '\0') < s.n)
		return false;
	s = str_sub(s, 1, s.n);
	while (s.p) {
		struct str part = str_next(&s, '/');

		if (part.n == 0 || part.n >= NAME_CAP || str_eqz(part, ".") || str_eqz(part, ".."))
			return false;
	}
	return true;
}

int
place_route(struct str path, enum place_where *where, struct str *relative, struct err *e)
{
	/* Mounted over, or the kernel's: a file put there would not be seen. */
	static const char *const not_below[] = {
		GUEST_OUTPUTS, GUEST_OFFLOAD_DIR, "/run/pinfold", "/proc", "/sys", "/dev", "/mnt/session"};
	struct str rest;

	if (!clean(path))
		return err_set(e, ERR_INVALID, "mount path: not a clean absolute path of a file");
	if (below(path, GUEST_UPLOADS, relative)) {
		*where = PLACE_UPLOADS;
		return 0;
	}
	if (below(path, GUEST_WORKDIR, relative)) {
		*where = PLACE_WORK;
		return 0;
	}
	for (size_t i = 0; i < ARRAY_LEN(not_below); i++)
		if (below(path, not_below[i], &rest) || str_eqz(path, not_below[i]))
			return err_set(e, ERR_INVALID, "mount path: %s belongs to the sandbox", not_below[i]);
	if (str_eqz(path, GUEST_WORKDIR))
		return err_set(e, ERR_INVALID, "mount path: %s is a directory", GUEST_WORKDIR);
	*where = PLACE_ROOT;
	*relative = str_sub(path, 1, path.n);
	return 0;
}

static int
copy_bytes(int from, int to, uint64_t size, struct err *e)
{
	off_t at = 0;

	while ((uint64_t)at < size) {
		char piece[65536];
		size_t want = size - (uint64_t)at < (1u << 30) ? (size_t)(size - (uint64_t)at) : 1u << 30;
		ssize_t n = copy_file_range(from, &at, to, NULL, want, 0);

		if (n < 0 && (errno == EXDEV || errno == EINVAL || errno == EOPNOTSUPP || errno == ENOSYS)) {
			n = pread(from, piece, want < sizeof(piece) ? want : sizeof(piece), at);
			if (n > 0)
				n = write(to, piece, (size_t)n);
			at += n > 0 ? n : 0;
		}
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return err_os(e, "copy");
		if (n == 0)
			return err_set(e, ERR_INVALID, "the file ends after %lld of %llu bytes",
				(long long)at, (unsigned long long)size);
	}
	return 0;
}

static int
check_source(int fd, uint64_t size, struct err *e)
{
	struct stat st;

	if (fstat(fd, &st) < 0)
		return err_os(e, "stat");
	if (!S_ISREG(st.st_mode))
		return err_set(e, ERR_INVALID, "the descriptor is no regular file");
	if (size > LIM_FILE_BYTES)
		return err_set(e, ERR_TOO_LARGE, "over %llu bytes", (unsigned long long)LIM_FILE_BYTES);
	return 0;
}

/* Under a temporary name first: the file appears whole or not at all. */
static int
place_in(int dir, const char *name, const struct place_what *w, struct err *e)
{
	static const char tmp[] = ".pinfold-upload";

	unlinkat(dir, tmp, 0);
	AUTO(fd) int to = openat(dir, tmp, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);

	if (to < 0)
		return err_os(e, "create");
	int r = copy_bytes(w->fd, to, w->size, e);

	if (r == 0 && fchmod(to, w->where == PLACE_UPLOADS ? 0444 : 0644) < 0)
		r = err_os(e, "chmod");
	if (r == 0 && renameat(dir, tmp, dir, name) < 0)
		r = err_os(e, "rename");
	if (r < 0)
		unlinkat(dir, tmp, 0);
	return r;
}

int
place_file(int root, const struct place_what *w, struct err *e)
{
	enum beneath_mode mode = w->where == PLACE_ROOT ? BENEATH_IN_ROOT : BENEATH_STRICT;
	size_t slash = w->relative.n;
	char name[NAME_CAP];
	int r = check_source(w->fd, w->size, e);

	while (slash > 0 && w->relative.p[slash - 1] != '/')
		slash--;
	if (r == 0 && !str_copy_z(str_sub(w->relative, slash, w->relative.n), name, sizeof(name)))
		r = err_set(e, ERR_INVALID, "an over-long file name");
	if (r < 0)
		return r;
	/* A directory found through links may be anywhere below the root; from here on only its descriptor
	 * counts. */
	AUTO(fd) int dir = beneath_mkdirs(root, str_sub(w->relative, 0, slash ? slash - 1 : 0), mode, e);

	return dir < 0 ? dir : place_in(dir, name, w, e);
}
