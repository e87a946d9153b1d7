/* SPDX-License-Identifier: Apache-2.0 */
#include "guest/files.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#include "base/id.h"
#include "guest/text.h"

#define EDITED_MAX (64 * MIB) /* a file that replace_all makes larger is refused */
#define SLURP_MAX  (LIM_READ_BYTES + 64 * KIB)
#define TEMP_NAME  64

/* ---- reading ---- */

/* The whole file into `b`; a size of 0 may be a lie (/proc), so reading goes on to its end. 0 or an errno. */
static int
slurp(const struct place *p, struct buf *b)
{
	AUTO(fd) int fd = openat(p->dir, p->name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	size_t want = (size_t)p->st.st_size;

	if (fd < 0)
		return errno;
	while (b->n < want || want == 0) {
		size_t room = want ? want - b->n : 64 * KIB;
		char *to = buf_reserve(b, room);
		if (!to)
			return b->fail == ERR_TOO_LARGE ? EFBIG : ENOMEM;
		ssize_t got = read(fd, to, room);
		if (got < 0 && errno == EINTR)
			continue;
		if (got <= 0)
			return got < 0 ? errno : 0;
		b->n += (size_t)got;
		if (b->n > LIM_READ_BYTES)
			return EFBIG;
	}
	return 0;
}

/* JavaScript's idea of the range: from line `start` (0-based) up to, not including, line `end`. */
struct range {
	bool given;
	int64_t a, b; /* as the caller wrote them */
	uint64_t start, end;
};

static int64_t
whole(const struct json_t *v)
{
	double d = json_real(v, 0);

	return d > 1e15 ? (int64_t)1e15 : d < -1e15 ? (int64_t)-1e15 : (int64_t)d;
}

static int
range_of(const struct json_t *in, struct range *out, struct reply *r)
{
	const struct json_t *v = json_get(in, "view_range");
	size_t n = json_kind(v) == JSON_ARR ? json_len(v) : 0;

	*out = (struct range){.given = n > 0};
	if (n == 0)
		return 0;
	if (n != 2)
		return reply_fail(r, "read: view_range must be [start_line, end_line]");
	out->a = whole(json_at(v, 0));
	out->b = whole(json_at(v, 1));
	out->start = out->a > 1 ? (uint64_t)out->a - 1 : 0;
	out->end = out->b > 0 ? (uint64_t)out->b : UINT64_MAX;
	return 0;
}

/* The bytes of the lines in the range, without the line feed that ends the last of them. */
static struct str
lines_of(struct str s, const struct range *g)
{
	uint64_t line = 0;

	if (g->end <= g->start)
		return STR("");
	while (line < g->start) {
		size_t nl = str_find(s, '\n');
		if (nl == s.n)
			return STR("");
		s = str_sub(s, nl + 1, s.n);
		line++;
	}
	struct str rest = s;
	while (line < g->end) {
		size_t nl = str_find(rest, '\n');
		if (nl == rest.n)
			return s;
		rest = str_sub(rest, nl + 1, rest.n);
		line++;
	}
	return (struct str){s.p, s.n - rest.n - 1};
}

/* Finds the file, checks kind and size. 1: it is over the limit. */
static int
find_regular(const char *tool, struct str path, struct place *p, struct reply *r)
{
	char prefix[16];

	snprintf(prefix, sizeof(prefix), "%s: ", tool);
	if (!p->exists) /* a parent may be a file: the kernel knows which error that is */
		return reply_fail_fs(
			r, prefix, path, fstatat(p->dir, p->name, &p->st, 0) < 0 ? errno : ENOENT);
	if (!S_ISREG(p->st.st_mode))
		return reply_fail(r, "%s: %.*s is not a regular file", tool, STRF(path));
	return p->st.st_size > (off_t)LIM_READ_BYTES;
}

bool
read_tool(const struct files *f, const struct json_t *in, struct reply *r)
{
	AUTO(place) struct place p;
	AUTO(buf) struct buf raw = {0};
	struct range range;
	struct str path;

	place_init(&p);
	buf_init(&raw, SLURP_MAX);
	if (reply_want(r, in, "read", "file_path", &path) < 0 || place_find(f->roots, path, &p, r) < 0 ||
		range_of(in, &range, r) < 0)
		return false;
	int big = find_regular("read", path, &p, r);
	if (big < 0)
		return false;
	if (big && !range.given) {
		reply_fail(r,
			"read: %.*s is %lld bytes, exceeds %llu-byte limit. Use the view_range parameter to "
			"read "
			"specific line ranges, e.g. view_range: [1, 500].",
			STRF(path), (long long)p.st.st_size, (unsigned long long)LIM_READ_BYTES);
		return false;
	}
	if (big)
		return true;
	int os = slurp(&p, &raw);
	if (os)
		reply_fail_fs(r, "read: ", path, os);
	else
		text_put_valid(&r->text, range.given ? lines_of(buf_str(&raw), &range) : buf_str(&raw));
	return false;
}

/* ---- a range of a large file ---- */

struct collector {
	struct range range;
	uint64_t line;
	struct buf text; /* ceiling: the limit and one piece */
};

/* Takes the part of the piece that is in the range. False: enough, or too much. */
static bool
collect(struct collector *c, struct str piece)
{
	while (piece.n && c->line < c->range.end) {
		size_t nl = str_find(piece, '\n');
		bool ends = nl < piece.n;
		if (c->line >= c->range.start) {
			buf_put(&c->text, piece.p, nl);
			if (ends && c->line + 1 < c->range.end)
				buf_put_c(&c->text, '\n');
			if (c->text.n > LIM_READ_BYTES || c->text.fail)
				return false;
		}
		c->line += ends;
		piece = str_sub(piece, nl + ends, piece.n);
	}
	return c->line < c->range.end;
}

static int
collect_file(struct collector *c, int fd)
{
	char piece[64 * KIB];

	for (;;) {
		ssize_t got = read(fd, piece, sizeof(piece));
		if (got < 0 && errno == EINTR)
			continue;
		if (got <= 0)
			return got < 0 ? errno : 0;
		if (!collect(c, (struct str){piece, (size_t)got}))
			return 0;
	}
}

static void
range_too_large(const struct range *g, struct str path, struct reply *r)
{
	if (g->end - g->start == 1)
		reply_fail(r,
			"read: line %llu of %.*s alone exceeds %llu-byte limit. The read tool cannot return "
			"part of a "
			"line, so view_range cannot narrow this further.",
			(unsigned long long)g->start + 1, STRF(path), (unsigned long long)LIM_READ_BYTES);
	else
		reply_fail(r,
			"read: view_range [%lld, %lld] of %.*s exceeds %llu-byte limit. Narrow the "
			"view_range to read "
			"a smaller portion.",
			(long long)g->a, (long long)g->b, STRF(path), (unsigned long long)LIM_READ_BYTES);
}

static void
read_range(const struct files *f, const struct json_t *in, struct reply *r)
{
	AUTO(place) struct place p;
	AUTO(fd) int fd = -1;
	struct collector c = {0};
	struct str path;

	place_init(&p);
	buf_init(&c.text, LIM_READ_BYTES + 65 * KIB);
	if (reply_want(r, in, "read", "file_path", &path) < 0 || place_find(f->roots, path, &p, r) < 0 ||
		range_of(in, &c.range, r) < 0 || find_regular("read", path, &p, r) < 0)
		return;
	if (c.range.end <= c.range.start)
		return;
	fd = openat(p.dir, p.name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	int os = fd < 0 ? errno : collect_file(&c, fd);
	if (os)
		reply_fail_fs(r, "read: ", path, os);
	else if (c.text.n > LIM_READ_BYTES || c.text.fail)
		range_too_large(&c.range, path, r);
	else
		text_put_valid(&r->text, buf_str(&c.text));
	buf_done(&c.text);
}

void
files_read_range(const struct files *f, const struct json_t *in, struct job_out *out)
{
	AUTO(reply) struct reply r = {0};

	reply_init(&r);
	read_range(f, in, &r);
	if (r.is_error)
		job_fail(out, buf_str(&r.text));
	else
		job_put(out, buf_str(&r.text));
}

/* ---- writing ---- */

static int
write_all(int fd, struct str text)
{
	while (text.n) {
		ssize_t put = write(fd, text.p, text.n);
		if (put < 0 && errno == EINTR)
			continue;
		if (put < 0)
			return errno;
		text = str_sub(text, (size_t)put, text.n);
	}
	return 0;
}

/* Fills the temporary file and puts it in place. 0 or an errno. */
static int
fill_and_rename(int dir, int fd, const char *temp, const char *name, struct str text)
{
	int os = write_all(fd, text);

	if (os)
		return os;
	if (fsync(fd) < 0 && errno != EINVAL)
		return errno;
	return renameat(dir, temp, dir, name) < 0 ? errno : 0;
}

int
files_replace(int dir, const char *name, struct str text, const struct stat *old, bool give_away)
{
	char temp[TEMP_NAME];
	unsigned char salt[12];

	random_bytes(salt, sizeof(salt));
	int n = snprintf(temp, sizeof(temp), ".tmp-%d-", (int)getpid());
	for (size_t i = 0; i < sizeof(salt); i++)
		n += snprintf(temp + n, sizeof(temp) - (size_t)n, "%02x", salt[i]);
	AUTO(fd) int fd = openat(dir, temp, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (fd < 0)
		return errno;
	int os = give_away && fchown(fd, 0, 0) < 0 ? errno : 0;
	if (os == 0 && old && fchmod(fd, old->st_mode & 0777) < 0)
		os = errno;
	if (os == 0)
		os = fill_and_rename(dir, fd, temp, name, text);
	if (os)
		unlinkat(dir, temp, 0);
	return os;
}

/* Makes the parent directories that `p` lacks and moves `p` to the last of them. 0 or an errno. */
static int
make_parents(const struct files *f, struct place *p)
{
	const char *slash;

	while ((slash = strchr(p->name, '/'))) {
		char name[LIM_PATH];
		size_t n = (size_t)(slash - p->name);
		memcpy(name, p->name, n);
		name[n] = 0;
		bool made = mkdirat(p->dir, name, 0700) == 0;
		if (!made && errno != EEXIST)
			return errno;
		int fd = openat(p->dir, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
		if (fd < 0)
			return errno == ENOTDIR && !strchr(slash + 1, '/') ? EEXIST : errno;
		if (made && f->give_away && fchown(fd, 0, 0) < 0) {
			int os = errno;
			fd_close(fd);
			return os;
		}
		fd_close(p->dir);
		p->dir = fd;
		p->name = slash + 1;
	}
	return 0;
}

int
files_store(const struct files *f, const char *path, struct str text)
{
	AUTO(place) struct place p;

	place_init(&p);
	int os = path_walk(path, &p);
	if (os == 0)
		os = make_parents(f, &p);
	if (os == 0)
		os = p.name[0] ? files_replace(p.dir, p.name, text, p.exists ? &p.st : NULL, f->give_away)
			       : EISDIR;
	return os;
}

/* Resolves for writing: -1 with the error in `r` when it is outside or read-only. */
static int
find_writable(const struct files *f, const char *tool, struct str path, struct place *p, struct reply *r)
{
	if (place_find(f->roots, path, p, r) < 0)
		return -1;
	const char *ro = place_readonly(f->roots, p);
	if (ro)
		return reply_fail(r, "%s: %.*s is inside read-only directory %s", tool, STRF(path), ro);
	return 0;
}

void
write_tool(const struct files *f, const struct json_t *in, struct reply *r)
{
	AUTO(place) struct place p;
	struct str path, content = json_str(json_get(in, "content"), STR(""));

	place_init(&p);
	if (reply_want(r, in, "write", "file_path", &path) < 0 || find_writable(f, "write", path, &p, r) < 0)
		return;
	int os = make_parents(f, &p);
	if (os == 0)
		os = p.name[0] ? files_replace(p.dir, p.name, content, p.exists ? &p.st : NULL, f->give_away)
			       : EISDIR;
	if (os)
		reply_fail_fs(r, "write: ", path, os);
	else
		buf_printf(&r->text, "wrote %zu bytes to %.*s", content.n, STRF(path));
}

/* ---- editing ---- */

static size_t
count_of(struct str s, struct str needle)
{
	size_t n = 0, at;

	while ((at = str_find_str(s, needle)) < s.n) {
		s = str_sub(s, at + needle.n, s.n);
		n++;
	}
	return n;
}

/* `s` with the first `times` occurrences replaced. 0 or an errno. */
static int
replace(struct str s, struct str old, struct str new, size_t times, struct buf *out)
{
	while (times--) {
		size_t at = str_find_str(s, old);
		buf_put(out, s.p, at);
		buf_put_str(out, new);
		s = str_sub(s, at + old.n, s.n);
		if (out->fail)
			break;
	}
	buf_put_str(out, s);
	return out->fail == ERR_NONE ? 0 : out->fail == ERR_TOO_LARGE ? EFBIG : ENOMEM;
}

struct edit {
	struct str path, old, new;
	bool all;
};

static int
edit_input(const struct json_t *in, struct edit *e, struct reply *r)
{
	e->new = json_str(json_get(in, "new_string"), STR(""));
	e->all = json_bool(json_get(in, "replace_all"), false);
	if (reply_want(r, in, "edit", "file_path", &e->path) < 0)
		return -1;
	return reply_want(r, in, "edit", "old_string", &e->old);
}

/* Replaces in the file that `raw` holds and says so. */
static void
edit_apply(
	const struct files *f, const struct edit *e, const struct place *p, struct str raw, struct reply *r)
{
	AUTO(buf) struct buf updated = {0};
	size_t count = count_of(raw, e->old);

	buf_init(&updated, EDITED_MAX);
	if (count == 0) {
		reply_fail(r, "edit: old_string not found in %.*s", STRF(e->path));
		return;
	}
	if (count > 1 && !e->all) {
		reply_fail(r, "edit: old_string appears %zu times in %.*s (must be unique)", count,
			STRF(e->path));
		return;
	}
	int os = replace(raw, e->old, e->new, count, &updated);
	if (os == 0)
		os = files_replace(p->dir, p->name, buf_str(&updated), &p->st, f->give_away);
	if (os)
		reply_fail_fs(r, "edit: write: ", e->path, os);
	else
		buf_printf(&r->text, "edited %.*s (%zu replacement(s))", STRF(e->path), count);
}

void
edit_tool(const struct files *f, const struct json_t *in, struct reply *r)
{
	AUTO(place) struct place p;
	AUTO(buf) struct buf raw = {0};
	struct edit e;

	place_init(&p);
	buf_init(&raw, SLURP_MAX);
	if (edit_input(in, &e, r) < 0 || find_writable(f, "edit", e.path, &p, r) < 0)
		return;
	int big = find_regular("edit", e.path, &p, r);
	if (big > 0)
		reply_fail(r,
			"edit: %.*s is %lld bytes, exceeds %llu-byte limit. The edit tool loads the whole "
			"file and "
			"cannot modify a file this large.",
			STRF(e.path), (long long)p.st.st_size, (unsigned long long)LIM_READ_BYTES);
	if (big != 0)
		return;
	int os = slurp(&p, &raw);
	if (os)
		reply_fail_fs(r, "edit: ", e.path, os);
	else
		edit_apply(f, &e, &p, buf_str(&raw), r);
}
