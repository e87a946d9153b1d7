/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A walk carries, for each directory to visit, which components of which alternatives may match there
 * ("state": a set of indexes, as bits, and those of them that came through a link). Per directory the numbers
 * of the suffixes already tried are remembered, so that a directory is not searched twice for the same thing.
 */
#include "guest/glob_walk.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/limits.h"

#define BIT(i)     (UINT64_C(1) << (i))
#define ARENA_MAX  (768 * MIB)
#define HASH_SLOTS (1u << 16)

enum what { W_NONE, W_FILE, W_DIR, W_LINK, W_OTHER };

struct state {
	const struct glob_set *set;
	uint64_t indexes, links;
	struct state *next;
};

/* What is known of a path. */
struct spot {
	struct spot *chain; /* of the hash table */
	struct str path;
	enum what what;
	bool known; /* `what` is */
	bool reported;
	bool via_link;
	uint32_t *tried;
	size_t n_tried, cap_tried;
	struct state *queued, **last; /* states found while the current directory is searched */
	struct spot *next_found;
};

/* A visit to come. */
struct item {
	struct spot *spot;
	struct state *todo;
	struct item *below;
};

struct entry {
	const char *name;
	enum what what;
};

struct walk {
	struct arena *a;
	int root;
	struct spot *slots[HASH_SLOTS];
	struct item *stack;
	struct spot *found, **found_last;
	bool (*fn)(void *arg, const struct glob_hit *hit);
	void *arg;
	bool stop;
};

/* ---- paths ---- */

static size_t
slot_of(struct str s)
{
	uint64_t h = 14695981039346656037u;

	for (size_t i = 0; i < s.n; i++)
		h = (h ^ (unsigned char)s.p[i]) * 1099511628211u;
	return (size_t)(h ^ h >> 32) % HASH_SLOTS;
}

static struct spot *
spot_find(struct walk *w, struct str path)
{
	for (struct spot *s = w->slots[slot_of(path)]; s; s = s->chain)
		if (str_eq(s->path, path))
			return s;
	return NULL;
}

static struct spot *
spot_get(struct walk *w, struct str path)
{
	struct spot *s = spot_find(w, path);

	if (s)
		return s;
	s = arena_alloc(w->a, sizeof(*s));
	if (!s) {
		w->stop = true;
		return NULL;
	}
	s->path = arena_dup(w->a, path);
	s->last = &s->queued;
	s->chain = w->slots[slot_of(path)];
	w->slots[slot_of(path)] = s;
	return s;
}

/* "." and "x" give "x". The result is NUL-terminated, in `out`; an over-long one gives "". */
static struct str
join(struct str dir, struct str name, char out[LIM_PATH])
{
	size_t n = 0;

	if (!str_eq(dir, STR(".")) && dir.n + 1 < LIM_PATH) {
		memcpy(out, dir.p, dir.n);
		n = dir.n;
		if (name.n && !str_eq(name, STR(".")))
			out[n++] = '/';
	}
	if (n && str_eq(name, STR(".")))
		name.n = 0;
	if (n + name.n >= LIM_PATH)
		n = name.n = 0;
	if (name.n)
		memcpy(out + n, name.p, name.n);
	n += name.n;
	out[n] = 0;
	return (struct str){out, n};
}

static enum what
what_of_mode(mode_t mode)
{
	return S_ISREG(mode) ? W_FILE : S_ISDIR(mode) ? W_DIR : S_ISLNK(mode) ? W_LINK : W_OTHER;
}

static enum what
look(struct walk *w, const char *path)
{
	struct stat st;

	return fstatat(w->root, path, &st, AT_SYMLINK_NOFOLLOW) < 0 ? W_NONE : what_of_mode(st.st_mode);
}

static enum what
spot_what(struct walk *w, struct spot *s)
{
	if (!s->known) {
		s->what = look(w, s->path.p);
		s->known = true;
	}
	return s->what;
}

/* ---- results and states ---- */

static void
report(struct walk *w, struct str path, enum what what, bool via_link)
{
	struct spot *s = spot_get(w, path);

	if (!s || s->reported)
		return;
	s->reported = true;
	struct glob_hit hit = {.path = s->path, .file = what == W_FILE, .via_link = via_link};
	w->stop = w->stop || !w->fn(w->arg, &hit);
}

static bool
tried(const struct spot *s, uint32_t suffix)
{
	for (size_t i = 0; s && i < s->n_tried; i++)
		if (s->tried[i] == suffix)
			return true;
	return false;
}

static void
try_suffix(struct walk *w, struct spot *s, uint32_t suffix)
{
	if (s->n_tried == s->cap_tried) {
		size_t cap = s->cap_tried ? 2 * s->cap_tried : 2;
		uint32_t *v = arena_alloc_n(w->a, cap, sizeof(*v));
		if (!v) {
			w->stop = true;
			return;
		}
		if (s->n_tried)
			memcpy(v, s->tried, s->n_tried * sizeof(*v));
		s->tried = v;
		s->cap_tried = cap;
	}
	s->tried[s->n_tried++] = suffix;
}

/* Remembers what `st` is about to try at `s`. True when some of it was tried before. */
static bool
remember(struct walk *w, struct spot *s, const struct state *st)
{
	bool again = false;

	for (size_t i = 0; i < st->set->n; i++) {
		if (!(st->indexes & BIT(i)))
			continue;
		if (tried(s, st->set->parts[i].suffix))
			again = true;
		else
			try_suffix(w, s, st->set->parts[i].suffix);
	}
	return again;
}

static bool
pruned(struct str name)
{
	return str_eq(name, STR(".git")) || str_eq(name, STR("node_modules"));
}

/* Puts a state on the list of those to be searched at `path`. */
static void
add_state(struct walk *w, struct str path, const struct state *from, enum what what, bool via_link)
{
	size_t slash = path.n;

	while (slash && path.p[slash - 1] != '/')
		slash--;
	if (pruned(str_sub(path, slash, path.n)))
		return;
	struct spot *s = spot_get(w, path);
	struct state *st = s ? arena_alloc(w->a, sizeof(*st)) : NULL;
	if (!st) {
		w->stop = true;
		return;
	}
	*st = *from;
	st->next = NULL;
	if (!s->queued) {
		s->next_found = NULL;
		*w->found_last = s;
		w->found_last = &s->next_found;
	}
	if (what != W_NONE) {
		s->what = what;
		s->known = true;
	}
	s->via_link = s->via_link || via_link;
	*s->last = st;
	s->last = &st->next;
}

/* ---- one directory ---- */

static int
by_name(const void *a, const void *b)
{
	return strcmp(((const struct entry *)a)->name, ((const struct entry *)b)->name);
}

static enum what
what_of_dirent(struct walk *w, struct str dir, const struct dirent *d)
{
	char path[LIM_PATH];

	switch (d->d_type) {
	case DT_REG:
		return W_FILE;
	case DT_DIR:
		return W_DIR;
	case DT_LNK:
		return W_LINK;
	case DT_UNKNOWN:
		return look(w, join(dir, str_z(d->d_name), path).p);
	default:
		return W_OTHER;
	}
}

/* The entries of a directory by name; memory from malloc, freed by entries_free. */
static size_t
entries_read(struct walk *w, struct str dir, struct entry **out)
{
	int fd = openat(w->root, dir.p, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *d = fd < 0 ? NULL : fdopendir(fd);
	struct entry *v = NULL;
	size_t n = 0, cap = 0;

	for (struct dirent *e; d && (e = readdir(d));) {
		if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0)
			continue;
		if (n == cap) {
			cap = cap ? 2 * cap : 64;
			struct entry *more = reallocarray(v, cap, sizeof(*v));
			if (!more)
				break;
			v = more;
		}
		v[n].name = strdup(e->d_name);
		if (!v[n].name)
			break;
		v[n].what = what_of_dirent(w, dir, e);
		n++;
	}
	if (d)
		closedir(d);
	else
		fd_close(fd);
	if (n)
		qsort(v, n, sizeof(*v), by_name);
	*out = v;
	return n;
}

static void
entries_free(struct entry *v, size_t n)
{
	for (size_t i = 0; i < n; i++)
		free((char *)(uintptr_t)v[i].name);
	free(v);
}

/* What one entry means for one state; `next` collects the state below it. */
struct visit {
	struct walk *w;
	const struct state *st;
	const struct entry *e;
	struct str name, path;
	bool via_link, is_last;
	struct state next;
};

static bool
part_test(const struct glob_set *set, size_t i, struct str name)
{
	return i < set->n && glob_part_test(&set->parts[i], name);
}

static bool
begins_with_dot(const struct glob_set *set)
{
	return set->parts[0].kind == GLOB_LITERAL && str_eq(set->parts[0].text, STR("."));
}

static void
hit(struct visit *v)
{
	report(v->w, v->path, v->e->what, v->via_link);
}

/* A dot must be matched by what follows the ** (and further **). */
static bool
hidden(const struct visit *v, size_t i)
{
	const struct glob_set *set = v->st->set;

	while (i < set->n && set->parts[i].kind == GLOB_STARSTAR)
		i++;
	return v->name.p[0] == '.' && !part_test(set, i, v->name);
}

/* ** may stand for this entry and what is below it; `next`: what follows it matches the entry too. */
static void
starstar_below(struct visit *v, size_t i, bool next)
{
	const struct glob_set *set = v->st->set;
	size_t last = set->n - 1;
	bool from_link = v->st->links & BIT(i), dir = v->e->what == W_DIR, link = v->e->what == W_LINK;

	if (dir && !from_link)
		v->next.indexes |= BIT(i);
	if (next && dir && i + 2 <= last)
		v->next.indexes |= BIT(i + 2);
	if (!from_link && (dir || link) && i < last && (next || begins_with_dot(set)))
		v->next.indexes |= BIT(i + 1);
	if (link)
		v->next.links |= BIT(i);
}

static void
visit_starstar(struct visit *v, size_t i)
{
	const struct glob_set *set = v->st->set;
	size_t last = set->n - 1;
	bool next = part_test(set, i + 1, v->name), dir = v->e->what == W_DIR;

	if (hidden(v, i) || pruned(v->name))
		return;
	if (i == last && !dir && !(v->st->links & BIT(i)))
		hit(v);
	if (next && i + 1 == last && !v->is_last)
		hit(v);
	starstar_below(v, i, next);
}

static void
visit_literal(struct visit *v, size_t i)
{
	const struct glob_set *set = v->st->set;
	size_t last = set->n - 1;

	if (part_test(set, i, v->name) && i != last) {
		v->next.indexes |= BIT(i + 1);
	} else if (str_eq(set->parts[i].text, STR(".")) && part_test(set, i + 1, v->name)) {
		if (i + 1 == last)
			hit(v);
		else
			v->next.indexes |= BIT(i + 2);
	}
}

static void
visit_match(struct visit *v, size_t i)
{
	if (!part_test(v->st->set, i, v->name))
		return;
	if (i == v->st->set->n - 1)
		hit(v);
	else if (v->e->what == W_DIR)
		v->next.indexes |= BIT(i + 1);
}

/* One entry of the directory. False: the rest of it was searched for the same before. */
static bool
visit(struct visit *v)
{
	const struct glob_set *set = v->st->set;
	const struct spot *s = spot_find(v->w, v->path);

	v->next = (struct state){.set = set};
	for (size_t i = 0; i < set->n; i++) {
		if (!(v->st->indexes & BIT(i)))
			continue;
		if (tried(s, set->parts[i].suffix) || (i + 1 < set->n && tried(s, set->parts[i + 1].suffix)))
			return false;
		if (set->parts[i].kind == GLOB_STARSTAR)
			visit_starstar(v, i);
		else if (set->parts[i].kind == GLOB_LITERAL)
			visit_literal(v, i);
		else
			visit_match(v, i);
	}
	if (v->next.indexes)
		add_state(v->w, v->path, &v->next, v->e->what, v->via_link);
	return true;
}

static void
visit_all(struct walk *w, const struct spot *at, const struct state *st, bool is_last, bool via_link)
{
	struct entry one, *v = NULL;
	char path[LIM_PATH], name[LIM_PATH];
	size_t n, first = (size_t)__builtin_ctzll(st->indexes);
	const struct glob_part *p = &st->set->parts[first];
	bool single = st->indexes == BIT(first) && p->kind == GLOB_LITERAL;

	if (single) { /* only one name can match: no need to list the directory */
		one = (struct entry){.what = look(w, join(at->path, p->text, path).p)};
		if (one.what == W_NONE || !str_copy_z(p->text, name, sizeof(name)))
			return;
		one.name = name;
		n = 1;
	} else {
		n = entries_read(w, at->path, &v);
	}
	for (size_t i = 0; i < n && !w->stop; i++) {
		const struct entry *e = single ? &one : &v[i];
		struct visit visit_one = {.w = w,
			.st = st,
			.e = e,
			.name = str_z(e->name),
			.is_last = is_last,
			.via_link = via_link};
		visit_one.path = join(at->path, visit_one.name, path);
		if (visit_one.path.n && !visit(&visit_one))
			break;
	}
	if (!single)
		entries_free(v, n);
}

/* Whether the last component may match here: "**" before an empty one (a slash at the end) counts as the last
 * too. */
static bool
at_end(const struct state *st, bool dir)
{
	const struct glob_set *set = st->set;
	size_t last = set->n - 1;
	const struct glob_part *end = &set->parts[last];

	if (st->indexes & BIT(last))
		return true;
	return dir && last && end->kind == GLOB_LITERAL && end->text.n == 0 &&
	       (st->indexes & BIT(last - 1)) && set->parts[last - 1].kind == GLOB_STARSTAR;
}

/* What the last component says of the place itself. */
static void
report_here(struct walk *w, const struct spot *at, const struct state *st, bool dir, bool via_link)
{
	const struct glob_set *set = st->set;
	const struct glob_part *end = &set->parts[set->n - 1];
	char path[LIM_PATH];

	if (end->kind == GLOB_LITERAL) {
		struct str p = join(at->path, end->text, path);
		enum what there = p.n ? look(w, p.p) : W_NONE;
		if (there != W_NONE && (end->text.n || dir))
			report(w, p, there, via_link);
	} else if (end->kind == GLOB_STARSTAR &&
		   (!str_eq(at->path, STR(".")) || begins_with_dot(set) || set->n == 1)) {
		report(w, at->path, at->what, via_link);
	}
}

/* Searches one directory for one state. */
static void
search(struct walk *w, struct spot *at, const struct state *st)
{
	const struct glob_set *set = st->set;

	if (remember(w, at, st))
		return;
	if ((st->indexes & 1) && begins_with_dot(set)) {
		struct state below = {.set = set, .indexes = BIT(1)};
		if (set->n > 1)
			add_state(w, STR("."), &below, W_NONE, false);
		return;
	}
	enum what what = spot_what(w, at);
	bool via_link = at->via_link || what == W_LINK;
	bool dir = what == W_DIR || (what == W_LINK && (st->indexes & ~st->links));
	bool is_last = at_end(st, dir);
	if (is_last)
		report_here(w, at, st, dir, via_link);
	if (is_last && set->parts[set->n - 1].kind == GLOB_LITERAL && st->indexes == BIT(set->n - 1))
		return;
	if (dir)
		visit_all(w, at, st, is_last, via_link);
}

/* ---- the walk ---- */

/* What was found goes on the stack, the last on top. */
static void
stack_found(struct walk *w)
{
	for (struct spot *s = w->found; s; s = s->next_found) {
		struct item *it = arena_alloc(w->a, sizeof(*it));
		if (!it) {
			w->stop = true;
			break;
		}
		*it = (struct item){.spot = s, .todo = s->queued, .below = w->stack};
		w->stack = it;
		s->queued = NULL;
		s->last = &s->queued;
	}
	w->found = NULL;
	w->found_last = &w->found;
}

static void
walk_all(struct walk *w)
{
	while (w->stack && !w->stop) {
		struct item *it = w->stack;
		w->stack = it->below;
		for (const struct state *st = it->todo; st && !w->stop; st = st->next)
			search(w, it->spot, st);
		stack_found(w);
	}
}

int
glob_walk(const struct glob *g, const char *root, bool (*fn)(void *arg, const struct glob_hit *hit),
	void *arg, struct err *e)
{
	AUTO(arena) struct arena *a = arena_new(ARENA_MAX);
	struct walk *w = a ? arena_alloc(a, sizeof(*w)) : NULL;

	if (!w)
		return err_set(e, ERR_NO_MEMORY, "out of memory");
	AUTO(fd) int fd = open(root, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return 0; /* nothing there, nothing found */
	*w = (struct walk){.a = a, .root = fd, .fn = fn, .arg = arg};
	w->found_last = &w->found;
	for (size_t i = 0; i < g->n; i++) {
		struct state st = {.set = &g->sets[i], .indexes = 1};
		add_state(w, STR("."), &st, W_DIR, false);
	}
	stack_found(w);
	walk_all(w);
	return arena_check(a, e);
}
