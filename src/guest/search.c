/* SPDX-License-Identifier: Apache-2.0 */
#include "guest/search.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "guest/glob_walk.h"
#include "guest/regex.h"
#include "guest/text.h"

#define CUT_MARK "[output truncated at 102400 bytes]"

/* ---- before the child ---- */

/* Where to search: the working directory as configured, or a path that was given, resolved. */
static int
find_root(const struct roots *roots, const struct json_t *in, struct search *s, struct reply *r)
{
	AUTO(place) struct place p;
	struct str given = json_get_str(in, "path");

	place_init(&p);
	if (given.n == 0) {
		if (!path_join("/", str_z(roots->workdir), s->shown, NULL))
			return reply_fail(r, "guest: the working directory's name is too long");
		path_canonical(s->shown, s->root);
		return 0;
	}
	if (place_find(roots, given, &p, r) < 0)
		return -1;
	memcpy(s->shown, p.real, strlen(p.real) + 1);
	memcpy(s->root, p.real, strlen(p.real) + 1);
	return 0;
}

/* A component is "..", whatever separates components, braces included. */
static bool
can_ascend(struct str pattern)
{
	size_t from = 0;

	for (size_t i = 0; i <= pattern.n; i++) {
		if (i < pattern.n && !strchr("\\/{},", pattern.p[i]))
			continue;
		if (str_eq(str_sub(pattern, from, i - from), STR("..")))
			return true;
		from = i + 1;
	}
	return false;
}

int
glob_check(const struct roots *roots, const struct json_t *in, struct search *s, struct reply *r)
{
	if (reply_want(r, in, "glob", "pattern", &s->pattern) < 0)
		return -1;
	if (s->pattern.p[0] == '/')
		return reply_fail(r, "glob: absolute pattern not permitted; pass a relative pattern (and "
				     "optionally path)");
	if (can_ascend(s->pattern))
		return reply_fail(r, "glob: \"..\" is not permitted in the pattern");
	return find_root(roots, in, s, r);
}

int
grep_check(const struct roots *roots, const struct json_t *in, struct search *s, struct reply *r)
{
	if (reply_want(r, in, "grep", "pattern", &s->pattern) < 0)
		return -1;
	return find_root(roots, in, s, r);
}

/* True when the file is where a tool might have put it. */
static bool
in_roots(const struct roots *roots, const char *real)
{
	char canon[LIM_PATH];

	path_canonical(roots->workdir, canon);
	if (path_within(canon, real))
		return true;
	for (size_t i = 0; roots->allowed[i]; i++) {
		path_canonical(roots->allowed[i], canon);
		if (path_within(canon, real))
			return true;
	}
	return false;
}

bool
grep_program(const struct roots *roots, char path[LIM_PATH])
{
	static const char *const dirs[] = {
		"/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin"};

	for (size_t i = 0; i < ARRAY_LEN(dirs); i++) {
		AUTO(place) struct place p;
		char name[64];

		place_init(&p);
		snprintf(name, sizeof(name), "%s/rg", dirs[i]);
		if (access(name, X_OK) < 0 || path_walk(name, &p) != 0)
			continue;
		if (!p.exists || !S_ISREG(p.st.st_mode) || in_roots(roots, p.real))
			continue;
		memcpy(path, p.real, strlen(p.real) + 1);
		return true;
	}
	return false;
}

/* ---- glob: the child ---- */

struct match {
	char *path; /* absolute; owned until the child ends */
	double mtime_ms;
	size_t order;
};

struct matches {
	const struct search *s;
	struct match *v;
	size_t n, cap;
	size_t left; /* entries that may still be reported */
};

static bool
keep_match(struct matches *m, const char *full, const struct stat *st)
{
	if (m->n == m->cap) {
		size_t cap = m->cap ? 2 * m->cap : 256;
		struct match *v = reallocarray(m->v, cap, sizeof(*v));
		if (!v)
			return false;
		m->v = v;
		m->cap = cap;
	}
	struct match *x = &m->v[m->n];
	x->path = strdup(full);
	x->mtime_ms = st ? (double)st->st_mtim.tv_sec * 1e3 + (double)st->st_mtim.tv_nsec / 1e6 : 0;
	x->order = m->n++;
	return x->path != NULL;
}

static bool
on_hit(void *arg, const struct glob_hit *hit)
{
	struct matches *m = arg;
	char full[LIM_PATH], real[LIM_PATH];
	struct stat st;

	if (m->left-- == 0)
		return false;
	if (!hit->file || !path_join(m->s->shown, hit->path, full, NULL))
		return true;
	if (hit->via_link) { /* the way there may leave the root */
		AUTO(place) struct place p;
		place_init(&p);
		if (path_walk(full, &p) != 0 || !path_within(m->s->root, p.real))
			return true;
		memcpy(real, p.real, strlen(p.real) + 1);
		return keep_match(m, full, stat(real, &st) == 0 ? &st : NULL);
	}
	return keep_match(m, full, stat(full, &st) == 0 ? &st : NULL);
}

/* Newest first; equal times in the order found. */
static int
by_mtime(const void *a, const void *b)
{
	const struct match *x = a, *y = b;

	if (x->mtime_ms != y->mtime_ms)
		return x->mtime_ms < y->mtime_ms ? 1 : -1;
	return x->order < y->order ? -1 : 1;
}

void
glob_work(void *arg, struct job_out *out)
{
	const struct search *s = arg;
	struct matches m = {.s = s, .left = LIM_GLOB_WALK};
	AUTO(glob) struct glob *g = NULL;
	struct err e = {0};

	if (glob_new(s->pattern, &g, &e) < 0 || glob_walk(g, s->root, on_hit, &m, &e) < 0) {
		char text[ERR_MSG_MAX + 16];
		snprintf(text, sizeof(text), "glob: %s", e.msg);
		job_fail(out, str_z(text));
		return;
	}
	if (m.n)
		qsort(m.v, m.n, sizeof(*m.v), by_mtime);
	for (size_t i = 0; i < m.n && i < LIM_GLOB_RESULTS; i++) {
		if (i)
			job_put(out, STR("\n"));
		job_put(out, str_z(m.v[i].path));
	}
	if (m.n == 0)
		job_put(out, STR("no matches"));
}

/* ---- the ends ---- */

/* True when the end is told already. */
static bool
bad_end(const char *tool, const struct job_end *end, struct reply *r)
{
	if (end->is_error) {
		r->is_error = true;
		buf_put_str(&r->text, end->text);
	} else if (end->broken) {
		reply_fail(r, "%s: search failed: the search ended unexpectedly", tool);
	} else {
		return false;
	}
	return true;
}

static void
fail_late(const char *tool, const struct job_end *end, struct reply *r)
{
	reply_fail(r, "%s: timed out after %gs", tool, (double)end->limit_ms / 1000);
}

void
glob_end(const struct job_end *end, struct reply *r)
{
	if (end->timed_out)
		fail_late("glob", end, r);
	else if (!bad_end("glob", end, r))
		buf_put_str(&r->text, end->text);
}

void
grep_end(const struct job_end *end, struct reply *r)
{
	if (end->timed_out && end->text.n == 0) {
		fail_late("grep", end, r);
		return;
	}
	if (!end->timed_out && bad_end("grep", end, r))
		return;
	buf_put_str(&r->text, end->text);
	if (end->timed_out)
		buf_printf(&r->text, "\n[the search was cut short after %llu ms]",
			(unsigned long long)end->limit_ms);
}

void
grep_program_end(const struct job_end *end, struct reply *r)
{
	AUTO(buf) struct buf valid = {0};
	bool split;

	buf_init(&valid, REPLY_MAX);
	text_put_valid(&valid, end->text);
	struct str s = buf_str(&valid);
	if (end->timed_out) {
		fail_late("grep", end, r);
	} else if (end->cut || text_units(s) > LIM_GREP_OUTPUT) {
		buf_put(&r->text, s.p, text_at_unit(s, LIM_GREP_OUTPUT, &split));
		buf_put_z(&r->text, "\n" CUT_MARK);
	} else if (WIFEXITED(end->status) && WEXITSTATUS(end->status) == 0) {
		buf_put_str(&r->text, s);
	} else if (WIFEXITED(end->status) && WEXITSTATUS(end->status) == 1) {
		buf_put_z(&r->text, "no matches");
	} else if (end->err.n) {
		reply_fail(r, "grep: rg failed: %.*s", STRF(end->err));
	} else {
		reply_fail(r, "grep: rg failed: exit %d",
			WIFEXITED(end->status) ? WEXITSTATUS(end->status) : -1);
	}
}
