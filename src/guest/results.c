/* SPDX-License-Identifier: Apache-2.0 */
#include "guest/results.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/frame.h"
#include "guest/text.h"

bool
result_id_ok(struct str id)
{
	if (id.n == 0 || id.n > LIM_ID)
		return false;
	for (size_t i = 0; i < id.n; i++) {
		char c = id.p[i];
		bool ok = (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') ||
			  c == '_' || c == '-';
		if (!ok)
			return false;
	}
	return true;
}

void
result_done(struct result *r)
{
	buf_done(&r->text);
}

/* Puts the beginning of `text` and where the rest is. */
static void
put_preview(struct result *r, struct str text, int os)
{
	struct buf *b = &r->text;

	buf_put(b, text.p, text_at_char(text, LIM_RESULT_PREVIEW));
	buf_printf(b, "\n\n[The output has %llu characters, of which the first %d are shown. ",
		(unsigned long long)r->chars, LIM_RESULT_PREVIEW);
	if (os == 0) {
		buf_printf(b, "The whole text is in %s]", r->path);
		return;
	}
	buf_put_z(b, "The whole text could not be stored: ");
	reply_put_errno(b, os);
	buf_put_c(b, ']');
}

int
result_set_text(struct result *r, struct str text, const struct files *f, const char *dir)
{
	buf_init(&r->text, 4 * LIM_RESULT_OFFLOAD + 8 * KIB); /* a character has at most 4 bytes */
	r->path[0] = 0;
	r->chars = str_utf8_len(text);
	if (r->chars <= LIM_RESULT_OFFLOAD) {
		buf_put_str(&r->text, text);
		return r->text.fail ? -1 : 0;
	}
	int n = snprintf(r->path, sizeof(r->path), "%s/%s.txt", dir, r->id);
	int os = n < (int)sizeof(r->path) ? files_store(f, r->path, text) : ENAMETOOLONG;
	put_preview(r, text, os);
	if (os)
		r->path[0] = 0;
	return r->text.fail ? -1 : 0;
}

void
result_set_trouble(struct result *r, const char *text)
{
	buf_done(&r->text);
	buf_init(&r->text, LIM_RESULT_OFFLOAD);
	buf_put_z(&r->text, text);
	r->is_error = true;
	r->path[0] = 0;
	r->chars = r->text.n;
}

void
result_encode(const struct result *r, uint64_t call, struct buf *out)
{
	struct frame_w w = frame_begin(out, GC_RESULT, call);

	frame_str(&w, str_z(r->id));
	frame_u64(&w, r->status);
	frame_u64(&w, r->is_error);
	frame_str(&w, buf_str(&r->text));
	frame_str(&w, str_z(r->path));
	frame_u64(&w, r->chars);
	frame_u64(&w, r->run_us);
	frame_end(&w, 0);
}

/* The reverse, for what the guest itself stored; outputs are set only on success. */
static bool
decode(struct str bytes, struct result *out)
{
	struct frame f;
	size_t used;

	if (frame_parse(bytes, LIM_FRAME_GUEST, &f, &used, NULL) <= 0)
		return false;
	struct frame_r r = frame_r(f.payload);
	struct str id = frame_get_str_max(&r, LIM_ID);
	uint64_t status = frame_get_u64(&r), is_error = frame_get_u64(&r);
	struct str text = frame_get_str(&r), path = frame_get_str(&r);
	uint64_t chars = frame_get_u64(&r), run_us = frame_get_u64(&r);
	if (frame_done(&r, NULL) < 0 || status > GUEST_CANCELLED ||
		!str_copy_z(id, out->id, sizeof(out->id)) || !str_copy_z(path, out->path, sizeof(out->path)))
		return false;
	out->status = (enum guest_status)status;
	out->is_error = is_error != 0;
	out->chars = chars;
	out->run_us = run_us;
	buf_init(&out->text, LIM_FRAME_GUEST);
	buf_put_str(&out->text, text);
	return !out->text.fail;
}

/* ---- the directory ---- */

struct spilled {
	struct spilled *next;
	char id[LIM_ID + 1];
	struct buf frame; /* empty when it is in the file */
};

struct spill {
	const char *path; /* borrowed */
	int dir;          /* -1 until the first use */
	size_t n, max;
	struct spilled *first, **last;
};

struct spill *
spill_new(const char *dir, size_t max)
{
	struct spill *s = calloc(1, sizeof(*s));

	if (!s)
		return NULL;
	s->path = dir;
	s->dir = -1;
	s->max = max;
	s->last = &s->first;
	return s;
}

static void
remove_at(struct spill *s, struct spilled **at)
{
	struct spilled *gone = *at;

	*at = gone->next;
	if (s->last == &gone->next)
		s->last = at;
	if (gone->frame.n == 0 && s->dir >= 0)
		unlinkat(s->dir, gone->id, 0);
	buf_done(&gone->frame);
	free(gone);
	s->n--;
}

void
spill_free(struct spill *s)
{
	if (!s)
		return;
	while (s->first)
		remove_at(s, &s->first);
	fd_close(s->dir);
	free(s);
}

/* Of a guest that died in the same workspace: its results went with it. */
static void
remove_leftovers(int dir)
{
	DIR *d = fdopendir(fcntl(dir, F_DUPFD_CLOEXEC, 3));

	for (struct dirent *e; d && (e = readdir(d));)
		if (e->d_name[0] != '.' || strncmp(e->d_name, ".tmp-", 5) == 0)
			unlinkat(dir, e->d_name, 0);
	if (d)
		closedir(d);
}

static bool
open_dir(struct spill *s)
{
	if (s->dir >= 0)
		return true;
	if (mkdir(s->path, 0700) < 0 && errno != EEXIST)
		return false;
	s->dir = open(s->path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (s->dir >= 0)
		remove_leftovers(s->dir);
	return s->dir >= 0;
}

void
spill_put(struct spill *s, const struct result *r)
{
	struct spilled *e = calloc(1, sizeof(*e));

	if (!e)
		return; /* out of memory twice over: the result is lost, hands hears GUEST_UNKNOWN */
	memcpy(e->id, r->id, sizeof(e->id));
	buf_init(&e->frame, LIM_FRAME_GUEST + FRAME_HEAD);
	result_encode(r, 0, &e->frame);
	if (open_dir(s) && files_replace(s->dir, e->id, buf_str(&e->frame), NULL, false) == 0)
		buf_done(&e->frame);
	*s->last = e;
	s->last = &e->next;
	if (++s->n > s->max)
		remove_at(s, &s->first);
}

static struct spilled **
spill_find(struct spill *s, struct str id)
{
	for (struct spilled **at = &s->first; *at; at = &(*at)->next)
		if (str_eqz(id, (*at)->id))
			return at;
	return NULL;
}

static bool
load(int dir, const char *name, struct buf *b)
{
	AUTO(fd) int fd = openat(dir, name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);

	while (fd >= 0) {
		char *to = buf_reserve(b, 64 * KIB);
		ssize_t got = to ? read(fd, to, 64 * KIB) : -1;
		if (got <= 0)
			return got == 0;
		b->n += (size_t)got;
	}
	return false;
}

bool
spill_get(struct spill *s, struct str id, struct result *out)
{
	AUTO(buf) struct buf file = {0};
	struct spilled **at = spill_find(s, id);

	buf_init(&file, LIM_FRAME_GUEST + 128 * KIB);
	if (!at)
		return false;
	if ((*at)->frame.n)
		return decode(buf_str(&(*at)->frame), out);
	return load(s->dir, (*at)->id, &file) && decode(buf_str(&file), out);
}

void
spill_drop(struct spill *s, struct str id)
{
	struct spilled **at = spill_find(s, id);

	if (at)
		remove_at(s, at);
}
