/* SPDX-License-Identifier: Apache-2.0 */
#include "hands/outputs.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/hash.h"
#include "base/json.h"
#include "base/limits.h"
#include "base/log.h"
#include "hands/beneath.h"
#include "hands/config.h"

#define DEPTH_MAX   16
#define VISITED_MAX 10000
#define SAVED_MAX   (1 * MIB)

static void
dir_close(DIR *d)
{
	closedir(d);
}
DEFINE_AUTO(dir, DIR *, dir_close, NULL);

struct look {
	uint64_t size, mtime_ns, ino;
};

struct entry {
	struct hash path;
	struct look reported; /* all zero: never */
	struct look last;     /* in the scan before */
	uint64_t scan;        /* number of the scan that saw it last */
};

struct outputs {
	char dir[HANDS_PATH];
	struct entry *list; /* at most LIM_OUTPUT_FILES */
	size_t n, cap;
	uint64_t bytes; /* sizes of all that was reported */
	uint64_t scan;
	size_t pace; /* files told in one scan at most; 0: all */
	bool changed;
	bool full; /* there were more files than the list holds, and that was logged */
};

/* One scan under way. */
struct scan {
	struct outputs *o;
	bool settled;
	size_t visited, told;
	bool more; /* files wait for the next scan */
	const struct outputs_sink *to;
	char path[LIM_PATH];
	size_t n;
};

/* ---- memory of what was reported ---- */

static struct entry *
entry_of(struct outputs *o, struct str path)
{
	struct hash h = hash_of(path);

	for (size_t i = 0; i < o->n; i++)
		if (memcmp(&o->list[i].path, &h, sizeof(h)) == 0)
			return &o->list[i];
	if (o->n == LIM_OUTPUT_FILES) {
		if (!o->full)
			log_warn("outputs.full", LOG_Z("dir", o->dir), LOG_INT("limit", LIM_OUTPUT_FILES));
		o->full = true;
		return NULL;
	}
	if (o->n == o->cap) {
		size_t cap = o->cap ? o->cap * 2 : 16;
		struct entry *p = realloc(o->list, cap * sizeof(*p));

		if (!p)
			return NULL;
		o->list = p;
		o->cap = cap;
	}
	o->list[o->n] = (struct entry){.path = h};
	return &o->list[o->n++];
}

static bool
hash_from_hex(struct str hex, struct hash *out)
{
	if (hex.n != 2 * sizeof(out->b))
		return false;
	for (size_t i = 0; i < sizeof(out->b); i++) {
		uint64_t v = 0;

		if (!str_to_hex64(str_sub(hex, 2 * i, 2), &v))
			return false;
		out->b[i] = (uint8_t)v;
	}
	return true;
}

static void
load(struct outputs *o)
{
	AUTO(json) struct json_t *v = NULL;
	AUTO(fd) int dir = open(o->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	char *text = NULL;
	size_t n = 0;

	if (dir >= 0)
		text = beneath_read(dir, "outputs.json", SAVED_MAX, &n, NULL);
	if (!text)
		return;
	json_parse(str_n(text, n), &v, NULL);
	free(text);
	for (size_t i = 0; i < json_len(v) && i < LIM_OUTPUT_FILES; i++) {
		const struct json_t *x = json_at(v, i);
		struct hash h;

		if (!hash_from_hex(json_str(json_at(x, 0), STR_NULL), &h))
			continue;
		struct entry *en = entry_of(o, STR_NULL);

		if (!en)
			break;
		en->path = h;
		en->reported = (struct look){(uint64_t)json_int(json_at(x, 1), 0),
			(uint64_t)json_int(json_at(x, 2), 0), (uint64_t)json_int(json_at(x, 3), 0)};
		o->bytes += en->reported.size;
	}
}

static void
save(const struct outputs *o)
{
	AUTO(buf) struct buf b;
	AUTO(fd) int dir = open(o->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	char hex[HASH_HEX];
	struct err e = {0};

	buf_init(&b, SAVED_MAX);
	struct json_w w = json_w(&b);

	jw_arr(&w);
	for (size_t i = 0; i < o->n; i++) {
		const struct entry *en = &o->list[i];

		if (!en->reported.ino)
			continue;
		jw_arr(&w);
		jw_z(&w, hash_hex(&en->path, hex));
		jw_int(&w, (int64_t)en->reported.size);
		jw_int(&w, (int64_t)en->reported.mtime_ns);
		jw_int(&w, (int64_t)en->reported.ino);
		jw_arr_end(&w);
	}
	jw_arr_end(&w);
	if (dir < 0 || buf_check(&b, &e) < 0 || beneath_write(dir, "outputs.json", buf_str(&b), &e) < 0)
		log_warn("outputs.save", LOG_Z("dir", o->dir), LOG_ERR(&e));
}

struct outputs *
outputs_new(const char *dir)
{
	struct outputs *o = calloc(1, sizeof(*o));

	if (!o)
		return NULL;
	hands_path(o->dir, "%s", dir);
	load(o);
	return o;
}

void
outputs_free(struct outputs *o)
{
	if (!o)
		return;
	free(o->list);
	free(o);
}

/* Entries that were not seen and never reported make room; reported ones are kept while there is room. */
static void
forget_missing(struct outputs *o)
{
	size_t kept = 0;

	for (size_t i = 0; i < o->n; i++) {
		bool gone = o->list[i].scan != o->scan;

		if (gone && (!o->list[i].reported.ino || o->n == LIM_OUTPUT_FILES)) {
			o->bytes -= o->list[i].reported.size;
			continue;
		}
		o->list[kept++] = o->list[i];
	}
	o->n = kept;
}

/* ---- scanning ---- */

static bool
same(const struct look *a, const struct look *b)
{
	return a->size == b->size && a->mtime_ns == b->mtime_ns && a->ino == b->ino;
}

static void
see_file(struct scan *s, int dir, const char *name, struct str path)
{
	/* Non-blocking, because it may have become a pipe since it was listed. */
	AUTO(fd) int fd = beneath_open(dir, name, O_RDONLY | O_NONBLOCK | O_NOFOLLOW, BENEATH_STRICT, NULL);
	struct stat st;

	if (fd < 0 || fstat(fd, &st) < 0 || !S_ISREG(st.st_mode) || !str_is_utf8(path))
		return;
	struct look now = {(uint64_t)st.st_size,
		(uint64_t)st.st_mtim.tv_sec * 1000000000ull + (uint64_t)st.st_mtim.tv_nsec, st.st_ino};
	struct entry *en = entry_of(s->o, path);

	if (!en)
		return;
	bool stable = s->settled || same(&en->last, &now);

	en->last = now;
	en->scan = s->o->scan;
	if (!stable || same(&en->reported, &now) || now.size > LIM_FILE_BYTES)
		return;
	if (s->o->pace && s->told == s->o->pace) {
		s->more = true;
		return;
	}
	/* A file of holes is large for whoever copies it, and costs the sandbox no disk. */
	uint64_t others = s->o->bytes - en->reported.size;

	if (others + now.size > LIM_OUTPUT_BYTES)
		return;
	s->told++;
	s->o->bytes = others + now.size;
	en->reported = now;
	s->o->changed = true;
	struct outputs_file f = {path, now.size, now.mtime_ns / 1000};

	s->to->on_file(s->to->arg, &f, MOVE_FD(fd));
}

static bool see_dir(struct scan *s, int parent, const char *name, unsigned depth);

/* What one directory entry is; returns false when the scan has seen enough. */
static bool
see_entry(struct scan *s, int dir, const struct dirent *de, unsigned depth)
{
	size_t n = s->n, k = strlen(de->d_name);
	unsigned char type = de->d_type;
	struct stat st;
	bool more = true;

	if (++s->visited > VISITED_MAX)
		return false;
	if (n + k + 1 >= sizeof(s->path))
		return true;
	if (type == DT_UNKNOWN && fstatat(dir, de->d_name, &st, AT_SYMLINK_NOFOLLOW) == 0)
		type = S_ISDIR(st.st_mode) ? DT_DIR : S_ISREG(st.st_mode) ? DT_REG : DT_LNK;
	memcpy(s->path + n, de->d_name, k);
	s->n = n + k;
	if (type == DT_REG)
		see_file(s, dir, de->d_name, str_n(s->path, s->n));
	if (type == DT_DIR && depth < DEPTH_MAX) {
		s->path[s->n++] = '/';
		more = see_dir(s, dir, de->d_name, depth + 1);
	}
	s->n = n;
	return more;
}

static bool
see_dir(struct scan *s, int parent, const char *name, unsigned depth)
{
	int fd = beneath_open(parent, name, O_RDONLY | O_DIRECTORY, BENEATH_STRICT, NULL);

	if (fd < 0)
		return true;
	AUTO(dir) DIR *d = fdopendir(fd);

	if (!d) {
		fd_close(fd);
		return true;
	}
	for (struct dirent *de = readdir(d); de; de = readdir(d)) {
		if (strcmp(de->d_name, ".") == 0 || strcmp(de->d_name, "..") == 0)
			continue;
		if (!see_entry(s, dirfd(d), de, depth))
			return false;
	}
	return true;
}

void
outputs_pace(struct outputs *o, size_t files)
{
	o->pace = files;
}

int
outputs_scan(struct outputs *o, const char *path, bool settled, const struct outputs_sink *to, struct err *e)
{
	AUTO(fd) int fd = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	struct scan s = {.o = o, .settled = settled, .to = to};

	if (fd < 0)
		return errno == ENOENT ? err_set(e, ERR_NOT_FOUND, "%s does not exist", path)
				       : err_os(e, "open %s", path);
	o->scan++;
	o->changed = false;
	see_dir(&s, fd, ".", 0);
	forget_missing(o);
	if (o->changed)
		save(o);
	return s.more;
}
