/* SPDX-License-Identifier: Apache-2.0 */
#include "hands/words.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/id.h"
#include "base/limits.h"
#include "base/log.h"

#define WORDS_LOGGED (64 * KIB)
#define WORDS_ROUND  16 /* reads per callback, so that a flood does not starve others */

struct words {
	struct loop_io *io;
	int fd;
	struct id name;
	size_t logged;
	size_t n;
	char line[256];
	char tail[160];
};

static void
end_line(struct words *w)
{
	if (!w->n)
		return;
	w->line[w->n] = '\0';
	snprintf(w->tail, sizeof(w->tail), "%.150s", w->line);
	if (w->logged < WORDS_LOGGED)
		log_info("sandbox.words", LOG_Z("sandbox", w->name.z), LOG_STR("text", str_n(w->line, w->n)));
	w->logged += w->n;
	w->n = 0;
}

static void
take(struct words *w, const char *p, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		if (p[i] == '\n' || w->n == sizeof(w->line) - 1)
			end_line(w);
		if (p[i] != '\n')
			w->line[w->n++] = (p[i] >= ' ' && p[i] < 127) ? p[i] : '?';
	}
}

/* False at the end of the stream. */
static bool
drain(struct words *w)
{
	char piece[4096];

	for (int i = 0; i < WORDS_ROUND; i++) {
		ssize_t n = read(w->fd, piece, sizeof(piece));

		if (n < 0)
			return errno == EAGAIN || errno == EINTR;
		if (n == 0)
			return false;
		take(w, piece, (size_t)n);
	}
	return true;
}

static void
on_readable(void *arg, unsigned events)
{
	struct words *w = arg;

	(void)events;
	if (!drain(w))
		loop_io_want(w->io, 0);
}

int
words_new(struct words **out, struct loop *l, const char *name, int *write_end, struct err *e)
{
	struct words *w = calloc(1, sizeof(*w));
	int p[2];

	if (!w)
		return err_set(e, ERR_NO_MEMORY, "words");
	if (pipe2(p, O_CLOEXEC) < 0) {
		free(w);
		return err_os(e, "pipe");
	}
	w->fd = p[0];
	w->name = id_from(str_z(name));
	fcntl(w->fd, F_SETFL, O_NONBLOCK);
	w->io = loop_io_new(l, w->fd, on_readable, w);
	if (!w->io) {
		fd_close(p[1]);
		words_free(w);
		return err_os(e, "watch a pipe");
	}
	loop_io_want(w->io, LOOP_READ);
	*write_end = p[1];
	*out = w;
	return 0;
}

void
words_free(struct words *w)
{
	if (!w)
		return;
	loop_io_free(w->io);
	fd_close(w->fd);
	free(w);
}

const char *
words_tail(struct words *w)
{
	drain(w);
	end_line(w);
	return w->tail;
}
