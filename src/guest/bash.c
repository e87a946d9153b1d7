/* SPDX-License-Identifier: Apache-2.0 */
/*
 * States of the shell process and of the call at the head of the queue:
 *
 *      none --start--> idle --command--> busy --marker--> idle
 *        ^                |                 |
 *        |                | died            | died, timeout, cancel: process group killed
 *        +--(next call    v                 v
 *            fails once) dead             none
 *
 * Invariants: 1. `head` is busy exactly when b->busy; all others wait. 2. While no call is busy, output is
 * read and thrown away. 3. The script file holds only what the shell has read, except between append and its
 * read.
 */
#include "guest/bash.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/id.h"
#include "base/limits.h"
#include "guest/tail.h"
#include "guest/text.h"

#define READ_AHEAD   8192 /* the shell reads its script in blocks of the size the file has at its start */
#define GATE_FD      199  /* in the shell: where it waits for the next command */
#define STARTUP_FD   198  /* in the shell, closed by the first thing it does */
#define SCRIPT_MAX   (4 * MIB) /* the script file is emptied beyond this */
#define PIPE_SIZE    (1 << 20)
#define READS_A_TURN 4
#define DRAIN_READS  64
#define PREVIEW_US   250000 /* output pieces: not before, and not more often */
#define PREVIEW_MAX  8192
#define MARK_EXTRA   55 /* what the reference's own marker line adds to the output it counts */

struct bash {
	struct reactor *r;
	const char *workdir;
	bool isolate;
	struct spawn_limits limits;
	int pid;   /* 0: no process */
	bool used; /* it ran a command */
	bool died; /* a used shell ended while idle: the next call says so */
	bool busy;
	int script; /* memory file */
	off_t end;  /* of the script */
	int gate;   /* write end */
	struct watch out;
	struct tail tail;
	char mark[TAIL_MARK + 1];
	struct timer deadline, preview;
	struct bash_call *head, **last;
};

/* ---- the process ---- */

static void
close_shell(struct bash *b)
{
	reactor_unwatch(b->r, &b->out);
	fd_close(b->out.fd);
	fd_close(b->script);
	fd_close(b->gate);
	b->out.fd = b->script = b->gate = -1;
	b->pid = 0;
	b->used = false;
}

/* Kills the process group and forgets the shell; it is reaped like any orphan. */
static void
kill_shell(struct bash *b)
{
	if (b->pid) {
		kill(-b->pid, SIGKILL);
		kill(b->pid, SIGKILL);
	}
	close_shell(b);
}

static bool
append(struct bash *b, struct str s)
{
	while (s.n) {
		ssize_t put = pwrite(b->script, s.p, s.n, b->end);
		if (put < 0 && errno == EINTR)
			continue;
		if (put <= 0)
			return false;
		b->end += put;
		s = str_sub(s, (size_t)put, s.n);
	}
	return true;
}

/* The file that $BASH_ENV names: the shell runs it before it opens its script, so it waits here for its first
 * command without having counted a line. -1 when it cannot be made. */
static int
make_startup(void)
{
	static const char text[] = "read -ru199 _;unset BASH_ENV;exec 198<&-\n"; /* GATE_FD, STARTUP_FD */
	AUTO(fd) int fd = memfd_create("startup", MFD_CLOEXEC);

	if (fd < 0 || write(fd, text, sizeof(text) - 1) < 0 || fchmod(fd, 0444) < 0)
		return -1;
	return MOVE_FD(fd);
}

/* The script begins with blanks, because the shell's block size is the size that the file has when it is
 * opened. */
static int
make_script(struct bash *b)
{
	char blanks[READ_AHEAD];

	memset(blanks, ' ', sizeof(blanks));
	b->end = 0;
	b->script = memfd_create("bash", MFD_CLOEXEC);
	if (b->script < 0 || fchmod(b->script, 0) < 0 || !append(b, (struct str){blanks, sizeof(blanks)}))
		return -1;
	return 0;
}

static bool
start_shell(struct bash *b)
{
	static const char *const argv[] = {"/bin/bash", "--noprofile", "--norc", NULL};
	AUTO(fd) int startup = make_startup();
	AUTO(fd) int gate_r = -1;
	AUTO(fd) int out_w = -1;
	int gate[2], out[2];

	if (startup < 0 || make_script(b) < 0 || pipe2(gate, O_CLOEXEC) < 0)
		return false;
	b->gate = gate[1];
	gate_r = gate[0];
	if (spawn_pipe(out, PIPE_SIZE, b->isolate) < 0)
		return false;
	b->out.fd = out[0];
	out_w = out[1];
	fcntl(out[0], F_SETFL, O_NONBLOCK);
	struct spawn s = {
		.path = "/bin/bash",
		.argv = argv,
		.cwd = b->workdir,
		.in = b->script,
		.out = out_w,
		.err = -1,
		.extra = {{gate_r, GATE_FD}, {startup, STARTUP_FD}},
		.env = "BASH_ENV=/proc/self/fd/198", /* STARTUP_FD */
		.isolate = b->isolate,
		.limits = b->limits,
	};
	pid_t pid = spawn_tool(&s);
	if (pid < 0 || !reactor_watch(b->r, &b->out))
		return false;
	b->pid = pid;
	return true;
}

void
bash_warm(struct bash *b)
{
	if (b->pid == 0 && !start_shell(b))
		close_shell(b);
}

/* ---- a call ---- */

static void start_next(struct bash *b);

static struct bash_call *
pop(struct bash *b)
{
	struct bash_call *c = b->head;

	b->head = c->next;
	if (!b->head)
		b->last = &b->head;
	c->next = NULL;
	return c;
}

/* Ends the busy call with its reply and goes on with the next. */
static void
finish(struct bash *b, struct reply *r)
{
	struct bash_call *c = pop(b);

	b->busy = false;
	reactor_untimer(b->r, &b->deadline);
	reactor_untimer(b->r, &b->preview);
	c->done(c, r);
	tail_begin(&b->tail, "");
	random_base62(b->mark, TAIL_MARK); /* for the next call: now is when nobody waits */
	start_next(b);
}

/* Ends the busy call with an error of fixed text. */
static void
fail(struct bash *b, const char *text)
{
	AUTO(reply) struct reply r = {0};

	reply_init(&r);
	reply_fail(&r, "bash: %s", text);
	finish(b, &r);
}

/* The marker came: `at` bytes of output before it. */
static void
complete(struct bash *b, size_t at, int status)
{
	AUTO(reply) struct reply r = {0};
	size_t digits = status > 99 ? 3 : status > 9 ? 2 : 1;

	reply_init(&r);
	tail_text(&b->tail, at, MARK_EXTRA + digits, &r.text);
	r.is_error = status != 0;
	if (status != 0 && r.text.n == 0)
		buf_printf(&r.text, "exit %d", status);
	finish(b, &r);
}

/* Reads what is there, at most a bounded number of times. True when the busy call ended; its end is in *at
 * and *status. `last`: the shell is dead, so all it left must be seen. */
static bool
read_output(struct bash *b, bool last, size_t *at, int *status)
{
	for (unsigned reads = last ? DRAIN_READS : READS_A_TURN; reads && b->out.fd >= 0; reads--) {
		size_t room;
		char *to = tail_room(&b->tail, &room);
		ssize_t got = read(b->out.fd, to, room);
		if (got == 0) /* everybody closed it: only the shell's end or the deadline can follow */
			reactor_unwatch(b->r, &b->out);
		if (got <= 0)
			return false;
		if (tail_added(&b->tail, (size_t)got, at, status))
			return true;
		if (!last && (size_t)got < room)
			return false; /* that was all; saves a read */
	}
	return false;
}

static void
on_output(struct watch *w, short revents)
{
	struct bash *b = CONTAINER_OF(w, struct bash, out);
	size_t at;
	int status;

	(void)revents;
	if (read_output(b, false, &at, &status))
		complete(b, at, status);
}

static void
on_deadline(struct timer *t)
{
	struct bash *b = CONTAINER_OF(t, struct bash, deadline);
	char text[64];

	snprintf(text, sizeof(text), "bash command timed out after %lldms", (long long)b->head->timeout_ms);
	kill_shell(b);
	fail(b, text);
}

static void
on_preview(struct timer *t)
{
	struct bash *b = CONTAINER_OF(t, struct bash, preview);
	struct str piece = tail_news(&b->tail, PREVIEW_MAX);
	struct buf valid;

	if (piece.n) {
		buf_init(&valid, 3 * PREVIEW_MAX);
		text_put_valid(&valid, piece);
		b->head->output(b->head, buf_str(&valid));
		buf_done(&valid);
	}
	reactor_timer(b->r, t, clock_mono_us() + PREVIEW_US);
}

/* Hands the command to the shell. The marker is split so that a shell that echoes its input (set -v) does not
 * show it. */
static bool
feed(struct bash *b, struct str command)
{
	AUTO(buf) struct buf s = {0};

	/* All of it was read: the shell waits at the end. What lies before the end is not needed any more. */
	if (b->end > (off_t)SCRIPT_MAX && ftruncate(b->script, 0) < 0)
		return false;
	buf_init(&s, LIM_TOOL_INPUT + 256);
	buf_printf(&s, "{ ");
	buf_put_str(&s, command);
	/* Standard error is the pipe already; it is set anew behind the marker, when nobody waits, in case
	 * the command changed it. */
	buf_printf(&s, "\n} </dev/null; printf '%.4s''%s%%d.' $?;exec 2>&1;read -ru%d _\n", b->mark,
		b->mark + 4, GATE_FD);
	if (s.fail || !append(b, buf_str(&s)))
		return false;
	tail_begin(&b->tail, b->mark);
	b->used = true;
	return write(b->gate, "\n", 1) == 1;
}

/* The head of the queue has its turn. NULL: it runs; else why it cannot. */
static const char *
begin(struct bash *b, struct bash_call *c)
{
	if (b->died) {
		b->died = false;
		return "bash session terminated";
	}
	bash_warm(b);
	if (b->pid == 0)
		return "the shell cannot be started";
	if (!feed(b, c->command)) {
		kill_shell(b);
		return "bash session terminated";
	}
	int64_t ms = c->timeout_ms > 0 ? c->timeout_ms : 1;
	reactor_timer(b->r, &b->deadline, c->started_us + (uint64_t)ms * 1000);
	if (c->output)
		reactor_timer(b->r, &b->preview, c->started_us + PREVIEW_US);
	return NULL;
}

static void
start_next(struct bash *b)
{
	AUTO(reply) struct reply r = {0};
	struct bash_call *c = b->head;

	if (!c || b->busy)
		return;
	b->busy = true;
	c->started_us = clock_mono_us();
	if (c->restart) {
		kill_shell(b);
		b->died = false;
	}
	if (c->command.n == 0 && c->restart) {
		reply_init(&r);
		buf_put_z(&r.text, "bash session restarted");
		finish(b, &r);
		return;
	}
	const char *why = c->command.n ? begin(b, c) : "command is required";
	if (why)
		fail(b, why);
}

/* ---- the rest of the interface ---- */

struct bash *
bash_new(const struct bash_opts *o)
{
	struct bash *b = calloc(1, sizeof(*b));

	if (!b || !tail_init(&b->tail)) {
		free(b);
		return NULL;
	}
	b->r = o->reactor;
	b->workdir = o->workdir;
	b->isolate = o->isolate;
	b->out = (struct watch){.fd = -1, .events = POLLIN, .fn = on_output};
	b->deadline.fn = on_deadline;
	b->preview.fn = on_preview;
	b->script = b->gate = -1;
	b->last = &b->head;
	random_base62(b->mark, TAIL_MARK);
	return b;
}

void
bash_free(struct bash *b)
{
	if (!b)
		return;
	kill_shell(b);
	reactor_untimer(b->r, &b->deadline);
	reactor_untimer(b->r, &b->preview);
	tail_done(&b->tail);
	free(b);
}

void
bash_limits(struct bash *b, const struct spawn_limits *limits)
{
	b->limits = *limits;
}

void
bash_run(struct bash *b, struct bash_call *c)
{
	c->next = NULL;
	c->started_us = 0;
	*b->last = c;
	b->last = &c->next;
	start_next(b);
}

void
bash_cancel(struct bash *b, struct bash_call *c)
{
	static const char aborted[] = "This operation was aborted";
	AUTO(reply) struct reply r = {0};

	if (c == b->head && b->busy) {
		kill_shell(b);
		fail(b, aborted);
		return;
	}
	for (struct bash_call **at = &b->head; *at; at = &(*at)->next) {
		if (*at != c)
			continue;
		*at = c->next;
		if (b->last == &c->next)
			b->last = at;
		reply_init(&r);
		reply_fail(&r, "bash: %s", aborted);
		c->done(c, &r);
		return;
	}
}

bool
bash_reaped(struct bash *b, int pid)
{
	size_t at = 0;
	int status = 0;

	if (pid != b->pid)
		return false;
	bool ended = b->busy && read_output(b, true, &at, &status);
	b->died = b->used && (ended || !b->busy);
	close_shell(b);
	if (ended)
		complete(b, at, status);
	else if (b->busy)
		fail(b, "bash session terminated");
	return true;
}
