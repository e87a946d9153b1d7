/* SPDX-License-Identifier: Apache-2.0 */
#include "guest/tail.h"

#include <stdlib.h>

#include "guest/text.h"

#define TAIL_SIZE  (2 * TAIL_KEEP + TAIL_READ)
#define STATUS_MAX 4 /* "255." */

bool
tail_init(struct tail *t)
{
	*t = (struct tail){.p = malloc(TAIL_SIZE)};
	return t->p != NULL;
}

void
tail_done(struct tail *t)
{
	free(t->p);
	t->p = NULL;
}

void
tail_begin(struct tail *t, const char *mark)
{
	size_t n = strnlen(mark, TAIL_MARK);

	memcpy(t->mark, mark, n);
	t->mark[n] = 0;
	t->n = t->seen = t->shown = 0;
	t->dropped = false;
}

char *
tail_room(struct tail *t, size_t *n)
{
	if (TAIL_SIZE - t->n < TAIL_READ) {
		size_t drop = t->n - TAIL_KEEP;
		memmove(t->p, t->p + drop, TAIL_KEEP);
		t->n = TAIL_KEEP;
		t->seen = t->seen > drop ? t->seen - drop : 0;
		t->shown = t->shown > drop ? t->shown - drop : 0;
		t->dropped = true;
	}
	*n = TAIL_SIZE - t->n;
	return t->p + t->n;
}

/* Reads "<digits>." behind a marker. 1: complete; 0: more bytes are needed; -1: something else stands there.
 */
static int
status_behind(struct str s, int *status)
{
	int v = 0;

	for (size_t i = 0; i < s.n && i < STATUS_MAX; i++) {
		if (s.p[i] == '.' && i) {
			*status = v;
			return 1;
		}
		if (s.p[i] < '0' || s.p[i] > '9')
			return -1;
		v = v * 10 + (s.p[i] - '0');
	}
	return s.n < STATUS_MAX ? 0 : -1;
}

/* A trace of the shell (set -x) shows the command that prints the marker: the line goes, so that the marker
 * stays secret. */
static void
cut_line(struct tail *t, size_t mark)
{
	size_t from = mark, to = mark + TAIL_MARK;

	while (from && t->p[from - 1] != '\n')
		from--;
	while (to < t->n && t->p[to] != '\n')
		to++;
	to += to < t->n;
	memmove(t->p + from, t->p + to, t->n - to);
	t->n -= to - from;
	t->seen = from;
	t->shown = t->shown < from ? t->shown : from;
}

bool
tail_added(struct tail *t, size_t n, size_t *at, int *status)
{
	t->n += n;
	if (!t->mark[0]) {
		t->n = t->seen = 0; /* nobody waits for it */
		return false;
	}
	for (;;) {
		struct str rest = {t->p + t->seen, t->n - t->seen};
		size_t i = str_find_str(rest, (struct str){t->mark, TAIL_MARK});
		if (i == rest.n) {
			t->seen = rest.n > TAIL_MARK ? t->n - TAIL_MARK : t->seen;
			return false;
		}
		size_t mark = t->seen + i, behind = mark + TAIL_MARK;
		int r = status_behind((struct str){t->p + behind, t->n - behind}, status);
		*at = mark;
		if (r > 0)
			return true;
		if (r == 0) {
			t->seen = mark;
			return false;
		}
		cut_line(t, mark);
	}
}

struct str
tail_news(struct tail *t, size_t max)
{
	size_t from = t->n - t->shown > max ? t->n - max : t->shown;
	struct str s = {t->p + from, t->n - from};

	t->shown = t->n;
	return s;
}

void
tail_text(const struct tail *t, size_t at, size_t over, struct buf *out)
{
	struct buf valid;
	bool split = false;

	buf_init(&valid, 3 * TAIL_SIZE);
	text_put_valid(&valid, (struct str){t->p, at});
	struct str s = buf_str(&valid);
	size_t units = text_units(s) + over;
	if (t->dropped || units > LIM_BASH_OUTPUT) {
		buf_put_str(out, STR("[output truncated]\n"));
		size_t skip = text_at_unit(s, units > LIM_BASH_OUTPUT ? units - LIM_BASH_OUTPUT : 0, &split);
		if (split)
			buf_put_z(out, "\xef\xbf\xbd");
		s = str_sub(s, skip, s.n);
	}
	size_t from = out->n;
	text_put_plain(out, s);
	while (out->n > from && out->p[out->n - 1] == '\n')
		out->n--;
	if (valid.fail && !out->fail)
		out->fail = valid.fail;
	buf_done(&valid);
}
