/* SPDX-License-Identifier: Apache-2.0 */
/* The search of grep when the image has no ripgrep: line by line through every text file of a tree. Runs in a
 * child. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/clock.h"
#include "guest/regex.h"
#include "guest/search.h"
#include "guest/text.h"

#define PIECE      (64 * KIB) /* the reference reads files in such pieces, and stops behind one with a NUL */
#define LINE_MAX_U 2000       /* UTF-16 units; longer lines are not searched */
#define LINE_BYTES (3 * LINE_MAX_U + 4)
#define DEPTH_MAX  40
#define FLUSH_US   50000
#define CUT_MARK   "[output truncated at 102400 bytes]"

struct grep {
	struct job_out *out;
	struct regex *re;
	size_t budget;  /* UTF-16 units of output left */
	size_t entries; /* directory entries left */
	bool any, full;
	uint64_t flushed_us;
	struct buf valid; /* scratch */
};

/* One file on its way. */
struct scan {
	struct grep *g;
	const char *path;
	uint64_t line;
	struct buf part; /* of a line that the last piece did not end */
	bool skip;       /* that line is too long already */
	bool after_cr;   /* a line feed now belongs to the carriage return before */
};

static void
flush_hits(struct grep *g)
{
	job_flush(g->out);
	g->flushed_us = clock_mono_us();
}

/* Adds a hit to the output. False: the output is full. */
static bool
put_hit(struct grep *g, const char *path, uint64_t line, struct str text)
{
	char head[LIM_PATH + 32];
	int n = snprintf(head, sizeof(head), "%s:%llu:", path, (unsigned long long)line);
	struct buf valid;

	buf_init(&valid, 3 * sizeof(head));
	text_put_valid(&valid, (struct str){head, (size_t)n});
	size_t units = text_units(buf_str(&valid)) + text_units(text) + 1;
	if (g->any)
		job_put(g->out, STR("\n"));
	g->any = true;
	g->full = units > g->budget;
	if (g->full) {
		job_put(g->out, STR(CUT_MARK));
	} else {
		g->budget -= units;
		job_put(g->out, buf_str(&valid));
		job_put(g->out, text);
	}
	buf_done(&valid);
	if (clock_mono_us() - g->flushed_us > FLUSH_US)
		flush_hits(g);
	return !g->full;
}

/* A whole line. False: stop. */
static bool
end_line(struct scan *s, struct str raw)
{
	struct grep *g = s->g;

	s->line++;
	if (s->skip || raw.n > LINE_BYTES)
		return true;
	struct str line = raw;
	if (!str_is_utf8(raw)) {
		buf_clear(&g->valid);
		text_put_valid(&g->valid, raw);
		line = buf_str(&g->valid);
	}
	if (text_units(line) > LINE_MAX_U || !regex_test(g->re, line))
		return true;
	return put_hit(g, s->path, s->line, line);
}

/* Keeps the beginning of a line that goes on in the next piece. */
static void
keep_part(struct scan *s, struct str text)
{
	if (s->skip)
		return;
	if (s->part.n + text.n > LINE_BYTES) {
		s->skip = true;
		buf_clear(&s->part);
		return;
	}
	buf_put_str(&s->part, text);
}

/* Cuts a piece into lines. False: stop. */
static bool
scan_piece(struct scan *s, struct str piece)
{
	if (s->after_cr && piece.n && piece.p[0] == '\n')
		piece = str_sub(piece, 1, piece.n);
	s->after_cr = false;
	while (piece.n) {
		size_t lf = str_find(piece, '\n');
		size_t n = str_find(str_sub(piece, 0, lf), '\r');
		struct str head = str_sub(piece, 0, n);
		bool cr = n < lf;
		if (n == piece.n) {
			keep_part(s, head);
			return true;
		}
		bool joined = s->part.n > 0 || s->skip;
		if (joined)
			keep_part(s, head);
		bool go = end_line(s, joined ? buf_str(&s->part) : head);
		buf_clear(&s->part);
		s->skip = false;
		if (!go)
			return false;
		n++;
		if (cr && n == piece.n)
			s->after_cr = true;
		else if (cr && piece.p[n] == '\n')
			n++;
		piece = str_sub(piece, n, piece.n);
	}
	return true;
}

static bool
grep_fd(struct grep *g, int fd, const char *path)
{
	static char piece[PIECE];
	struct scan s = {.g = g, .path = path};
	bool go = true;

	buf_init(&s.part, LINE_BYTES + 1);
	while (go) {
		ssize_t got = read(fd, piece, sizeof(piece));
		if (got < 0 && errno == EINTR)
			continue;
		if (got <= 0) {
			if (got == 0 && (s.part.n || s.skip))
				go = end_line(&s, buf_str(&s.part));
			break;
		}
		go = scan_piece(&s, (struct str){piece, (size_t)got});
		if (memchr(piece, 0, (size_t)got))
			break; /* binary: no further than this */
	}
	buf_done(&s.part);
	if (g->out->b.n) /* what was found must survive the deadline */
		flush_hits(g);
	return go;
}

/* ---- the tree ---- */

struct entry {
	char *name;
	bool dir, file;
};

static int
by_name(const void *a, const void *b)
{
	return strcmp(((const struct entry *)a)->name, ((const struct entry *)b)->name);
}

static struct entry
entry_of(int dir, const struct dirent *d)
{
	struct entry e = {.dir = d->d_type == DT_DIR, .file = d->d_type == DT_REG};
	struct stat st;

	if (d->d_type == DT_UNKNOWN && fstatat(dir, d->d_name, &st, AT_SYMLINK_NOFOLLOW) == 0) {
		e.dir = S_ISDIR(st.st_mode);
		e.file = S_ISREG(st.st_mode);
	}
	e.name = strdup(d->d_name);
	return e;
}

static bool
skipped(const char *name)
{
	return strcmp(name, ".") == 0 || strcmp(name, "..") == 0 || strcmp(name, ".git") == 0 ||
	       strcmp(name, "node_modules") == 0;
}

/* The entries of an open directory, by name. */
static size_t
list_entries(int fd, struct entry **out)
{
	DIR *d = fdopendir(fcntl(fd, F_DUPFD_CLOEXEC, 3));
	struct entry *v = NULL;
	size_t n = 0, cap = 0;

	for (struct dirent *e; d && (e = readdir(d));) {
		if (skipped(e->d_name))
			continue;
		if (n == cap) {
			struct entry *more = reallocarray(v, cap = cap ? 2 * cap : 64, sizeof(*v));
			if (!more)
				break;
			v = more;
		}
		v[n] = entry_of(fd, e);
		if (!v[n].name)
			break;
		n++;
	}
	if (d)
		closedir(d);
	if (n)
		qsort(v, n, sizeof(*v), by_name);
	*out = v;
	return n;
}

static bool grep_dir(struct grep *g, int dir, const char *path, unsigned depth);

static bool
grep_entry(struct grep *g, int dir, const char *path, const struct entry *e, unsigned depth)
{
	char below[LIM_PATH];

	if (g->entries-- == 0)
		return false;
	if ((!e->dir && !e->file) || !path_join(path, str_z(e->name), below, NULL))
		return true;
	int flags = e->dir ? O_RDONLY | O_DIRECTORY : O_RDONLY | O_NONBLOCK;
	AUTO(fd) int fd = openat(dir, e->name, flags | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0)
		return true;
	return e->dir ? grep_dir(g, fd, below, depth + 1) : grep_fd(g, fd, below);
}

static bool
grep_dir(struct grep *g, int dir, const char *path, unsigned depth)
{
	struct entry *v = NULL;
	bool go = true;

	if (depth > DEPTH_MAX)
		return true;
	size_t n = list_entries(dir, &v);
	for (size_t i = 0; i < n && go; i++)
		go = grep_entry(g, dir, path, &v[i], depth);
	for (size_t i = 0; i < n; i++)
		free(v[i].name);
	free(v);
	return go;
}

static void
grep_root(struct grep *g, const struct search *s)
{
	AUTO(fd) int fd = open(s->root, O_RDONLY | O_NONBLOCK | O_NOFOLLOW | O_CLOEXEC);
	struct stat st;

	if (fd < 0 || fstat(fd, &st) < 0)
		return;
	if (S_ISREG(st.st_mode))
		grep_fd(g, fd, s->shown);
	else if (S_ISDIR(st.st_mode))
		grep_dir(g, fd, s->shown, 0);
}

void
grep_work(void *arg, struct job_out *out)
{
	const struct search *s = arg;
	struct grep g = {.out = out,
		.budget = LIM_GREP_OUTPUT,
		.entries = LIM_GLOB_WALK,
		.flushed_us = clock_mono_us()};
	const char *why;

	buf_init(&g.valid, 4 * LINE_BYTES);
	g.re = regex_new(s->pattern, &why);
	if (!g.re) {
		AUTO(reply) struct reply r = {0};
		reply_init(&r);
		reply_fail(&r, "grep: invalid regex: Invalid regular expression: /%.*s/: %s",
			STRF(s->pattern), why);
		job_fail(out, buf_str(&r.text));
		return;
	}
	grep_root(&g, s);
	if (!g.any)
		job_put(out, STR("no matches"));
	regex_free(g.re);
	buf_done(&g.valid);
}
