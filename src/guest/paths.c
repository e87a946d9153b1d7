/* SPDX-License-Identifier: Apache-2.0 */
#include "guest/paths.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#define DIR_FLAGS (O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC)

void
place_init(struct place *p)
{
	p->dir = -1;
	p->real[0] = 0;
	p->name = p->real;
	p->exists = false;
}

void
place_done(struct place *p)
{
	fd_close(p->dir);
	p->dir = -1;
}

/* ---- text ---- */

/* out[0..n) without its last component and the slash before it. */
static size_t
parent_of(const char *out, size_t n)
{
	while (n && out[n - 1] != '/')
		n--;
	return n - (n > 0);
}

bool
path_join(const char *base, struct str p, char out[LIM_PATH], bool *escaped)
{
	size_t floor = p.n && p.p[0] == '/' ? 0 : strlen(base), n = floor;
	bool left = false;

	if (n >= LIM_PATH)
		return false;
	memcpy(out, base, n);
	n -= n && out[n - 1] == '/';
	while (p.p && p.n) {
		struct str c = str_next(&p, '/');
		if (c.n == 0 || str_eq(c, STR(".")))
			continue;
		if (str_eq(c, STR(".."))) {
			left = left || n <= floor;
			n = parent_of(out, n);
			continue;
		}
		if (n + 1 + c.n >= LIM_PATH)
			return false;
		out[n++] = '/';
		memcpy(out + n, c.p, c.n);
		n += c.n;
	}
	if (n == 0)
		out[n++] = '/';
	out[n] = 0;
	if (escaped)
		*escaped = left;
	return true;
}

bool
path_within(const char *root, const char *path)
{
	size_t n = strlen(root);

	if (n && root[n - 1] == '/')
		n--;
	return strncmp(root, path, n) == 0 && (path[n] == 0 || path[n] == '/');
}

/* ---- the walk ---- */

struct walk {
	int dir;
	size_t n; /* out->real[0..n) is the canonical path of `dir`, without a slash at its end */
	unsigned links;
	char todo[LIM_PATH]; /* what is still to be resolved, relative to `dir` */
	struct place *out;
};

/* Begins again at "/" with `path` (in the walk's own buffers or not) still to do. */
static int
restart(struct walk *w, const char *head, const char *tail)
{
	char joined[2 * LIM_PATH];
	size_t a = strlen(head), b = strlen(tail);

	if (a + 1 + b >= LIM_PATH)
		return ENAMETOOLONG;
	memcpy(joined, head, a);
	joined[a] = '/';
	memcpy(joined + a + 1, tail, b + 1);
	memcpy(w->todo, joined, a + b + 2);
	int fd = open("/", DIR_FLAGS);
	if (fd < 0)
		return errno;
	fd_close(w->dir);
	w->dir = fd;
	w->n = 0;
	return 0;
}

/* Replaces the link `name` in `dir` and what follows it by its target and what follows it. */
static int
expand(struct walk *w, const char *name, const char *rest)
{
	char target[LIM_PATH];
	ssize_t got = readlinkat(w->dir, name, target, sizeof(target));

	if (got < 0)
		return errno;
	if (++w->links > LIM_PATH_LINKS)
		return ELOOP;
	if (got == 0 || (size_t)got >= sizeof(target))
		return got ? ENAMETOOLONG : ENOENT;
	target[got] = 0;
	if (target[0] == '/')
		return restart(w, target, rest);
	size_t a = (size_t)got, b = strlen(rest);
	if (a + 1 + b >= LIM_PATH)
		return ENAMETOOLONG;
	memmove(w->todo + a + 1, rest, b + 1);
	memcpy(w->todo, target, a);
	w->todo[a] = '/';
	return 0;
}

static bool
has_dotdot(const char *path)
{
	struct str s = str_z(path);

	while (s.p && s.n)
		if (str_eq(str_next(&s, '/'), STR("..")))
			return true;
	return false;
}

/* The walk ends below `dir` with `rest` left over. When that holds ".." (from a link's target), the rest is
 * collapsed as text and the walk begins again. 0: ended; -1: go on; else an errno. */
static int
finish(struct walk *w, const char *rest)
{
	struct place *out = w->out;
	char full[LIM_PATH];

	out->real[w->n] = 0;
	if (!path_join(w->n ? out->real : "/", str_z(rest), full, NULL))
		return ENAMETOOLONG;
	if (has_dotdot(rest)) {
		if (++w->links > LIM_PATH_LINKS)
			return ELOOP;
		int os = restart(w, "", full);
		return os ? os : -1;
	}
	memcpy(out->real, full, strlen(full) + 1);
	out->name = out->real + w->n + (out->real[w->n] == '/');
	fd_close(out->dir);
	out->dir = MOVE_FD(w->dir);
	return 0;
}

/* Appends a component to the canonical path. */
static bool
descend(struct walk *w, int fd, const char *name, size_t n)
{
	if (w->n + 1 + n >= LIM_PATH) {
		fd_close(fd);
		return false;
	}
	w->out->real[w->n++] = '/';
	memcpy(w->out->real + w->n, name, n);
	w->n += n;
	fd_close(w->dir);
	w->dir = fd;
	return true;
}

/* The last component: what is it? 0: ended; -1: go on; else an errno. */
static int
last_step(struct walk *w, const char *name)
{
	struct stat *st = &w->out->st;

	if (fstatat(w->dir, name, st, AT_SYMLINK_NOFOLLOW) < 0)
		return errno == ENOENT || errno == ENOTDIR ? finish(w, name) : errno;
	if (S_ISLNK(st->st_mode)) {
		int os = expand(w, name, "");
		return os ? os : -1;
	}
	w->out->exists = true;
	return finish(w, name);
}

/* ".." of a link's target: from the parent anew. */
static int
step_up(struct walk *w, const char *rest)
{
	w->n = parent_of(w->out->real, w->n);
	w->out->real[w->n] = 0;
	int os = restart(w, w->out->real, rest);
	return os ? os : -1;
}

/* A component with more behind it (w->todo). 0: ended; -1: go on; else an errno. */
static int
middle_step(struct walk *w, const char *name, size_t n)
{
	char rest[LIM_PATH];
	int fd = openat(w->dir, name, DIR_FLAGS);

	if (fd >= 0)
		return descend(w, fd, name, n) ? -1 : ENAMETOOLONG;
	if (errno != ENOTDIR && errno != ELOOP && errno != ENOENT)
		return errno;
	bool there = errno != ENOENT;
	size_t more = strlen(w->todo);
	memcpy(rest, w->todo, more + 1);
	int os = there ? expand(w, name, rest) : EINVAL;
	if (os != EINVAL) /* that is: no link */
		return os ? os : -1;
	if (n + 1 + more >= LIM_PATH)
		return ENAMETOOLONG;
	memcpy(rest, name, n);
	rest[n] = '/';
	memcpy(rest + n + 1, w->todo, more + 1);
	return finish(w, rest);
}

/* One component. 0: ended; -1: go on; else an errno. */
static int
step(struct walk *w)
{
	char name[LIM_PATH], *p = w->todo + strspn(w->todo, "/");
	size_t n = strcspn(p, "/");
	char *rest = p + n + strspn(p + n, "/");

	if (n == 0) {
		w->out->exists = fstat(w->dir, &w->out->st) == 0;
		return finish(w, "");
	}
	memcpy(name, p, n);
	name[n] = 0;
	if (strcmp(name, "..") == 0)
		return step_up(w, rest);
	memmove(w->todo, rest, strlen(rest) + 1);
	if (strcmp(name, ".") == 0)
		return -1;
	return w->todo[0] ? middle_step(w, name, n) : last_step(w, name);
}

int
path_walk(const char *abs, struct place *out)
{
	struct walk w = {.dir = -1, .out = out};
	int os = restart(&w, "", abs);

	out->exists = false;
	while (os == 0) {
		int r = step(&w);
		if (r == 0)
			break;
		os = r < 0 ? 0 : r;
	}
	fd_close(w.dir);
	return os;
}

void
path_canonical(const char *abs, char out[LIM_PATH])
{
	AUTO(place) struct place p;

	place_init(&p);
	const char *from = path_walk(abs, &p) == 0 ? p.real : abs;
	size_t n = strnlen(from, LIM_PATH - 1);
	memcpy(out, from, n);
	out[n] = 0;
}

/* ---- confinement ---- */

static const char *
containing(const char *const *roots, const char *real)
{
	char canon[LIM_PATH];

	for (size_t i = 0; roots[i]; i++) {
		path_canonical(roots[i], canon);
		if (path_within(canon, real))
			return roots[i];
	}
	return NULL;
}

/* path "<given>" and then what `fmt` says. Always -1. */
static int
refuse(struct reply *r, struct str given, const char *why)
{
	reply_fail(r, "path ");
	json_escape(&r->text, given);
	buf_put_z(&r->text, why);
	return -1;
}

static int
refuse_os(struct reply *r, struct str given, int os)
{
	refuse(r, given, ": ");
	reply_put_errno(&r->text, os);
	return -1;
}

int
place_find(const struct roots *roots, struct str given, struct place *out, struct reply *r)
{
	char abs[LIM_PATH], canon[LIM_PATH];
	bool escaped = false;
	bool fits = path_join(roots->workdir, given, abs, &escaped);

	if (fits && escaped) { /* ".." above the working directory counts from where that really is */
		path_canonical(roots->workdir, canon);
		fits = path_join(canon, given, abs, NULL);
	}
	if (!fits)
		return refuse_os(r, given, ENAMETOOLONG);
	int os = path_walk(abs, out);
	if (os)
		return refuse_os(r, given, os);
	/* Without links on the way the text already tells; else the root must be resolved too. */
	if (path_within(roots->workdir, out->real) && strcmp(abs, out->real) == 0)
		return 0;
	path_canonical(roots->workdir, canon);
	if (path_within(canon, out->real) || containing(roots->allowed, out->real))
		return 0;
	return refuse(r, given,
		roots->allowed[0]
			? " is outside the session's working directory and its other permitted directories"
			: " is outside the session's working directory");
}

const char *
place_readonly(const struct roots *roots, const struct place *p)
{
	return containing(roots->readonly, p->real);
}
