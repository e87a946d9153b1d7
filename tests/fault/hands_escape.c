/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Runs escape/attempts.txt inside one sandbox and looks for damage outside. Prints one line an attempt and
 * fails when any succeeds, when hands lost its guest, or when something of the host came out through the
 * outputs.
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/limits.h"
#include "hands/beneath.h"
#include "hands_kit.h"
#include "io/calls.h"

#ifndef ATTEMPTS
#define ATTEMPTS "tests/fault/escape/attempts.txt"
#endif

#define CANARY_TEXT "canary-of-the-host"

struct attempt {
	struct str name, expect;
	struct buf command;
};

struct run {
	struct kit k;
	char canary[300];
	unsigned tried, failed;
};

/* Replaces @CANARY@, @DATA@ and @RUN@. */
static void
put_line(const struct run *r, struct str line, struct buf *out)
{
	static const char *const words[] = {"@CANARY@", "@DATA@", "@RUN@"};

	while (line.n > 0) {
		size_t best = line.n;
		int which = -1;

		for (int i = 0; i < 3; i++) {
			size_t at = str_find_str(line, str_z(words[i]));

			if (at < best) {
				best = at;
				which = i;
			}
		}
		buf_put(out, line.p, best);
		if (which == 0)
			buf_put_z(out, r->canary);
		else if (which > 0)
			buf_printf(out, "%s/%s", r->k.dir, which == 1 ? "data" : "run");
		line = str_sub(line, best + (which >= 0 ? strlen(words[which]) : 0), line.n);
	}
	buf_put_c(out, '\n');
}

static void
try_it(struct run *r, struct attempt *a)
{
	struct kit_result res;

	if (a->name.n == 0)
		return;
	buf_put_c(&a->command, '\0');
	kit_bash(&r->k, "sesn_escape", 1, a->command.p, &res);
	r->tried++;
	const char *bad = NULL;

	if (res.failed)
		bad = res.message;
	else if (strstr(res.text, "ESCAPED"))
		bad = "it succeeded";
	else if (str_find_str(str_z(res.text), a->expect) == strlen(res.text))
		bad = "it failed in another way than expected";
	printf("%s %.*s%s%s\n", bad ? "not ok" : "ok", STRF(a->name), bad ? ": " : "", bad ? bad : "");
	if (bad) {
		r->failed++;
		printf("#  %.600s\n", res.text ? res.text : "");
	}
	fflush(stdout);
	kit_result_done(&res);
}

static void
run_all(struct run *r)
{
	struct attempt a = {0};
	size_t n = 0;
	struct err e = {0};
	char *text = beneath_read(AT_FDCWD, ATTEMPTS, MIB, &n, &e);

	KIT_CHECK(text != NULL, "%s", e.msg);
	struct str s = str_n(text, n);

	buf_init(&a.command, 64 * KIB);
	while (s.n > 0) {
		struct str line = str_next(&s, '\n');

		if (str_starts(line, STR("== "))) {
			try_it(r, &a);
			a.name = str_sub(line, 3, line.n);
			a.expect = STR_NULL;
			buf_clear(&a.command);
		} else if (str_starts(line, STR("expect: ")) && a.expect.n == 0) {
			a.expect = str_sub(line, 8, line.n);
		} else if (!str_starts(line, STR("why: ")) && a.name.n && a.expect.n) {
			put_line(r, line, &a.command);
		}
	}
	try_it(r, &a);
	buf_done(&a.command);
	free(text);
}

static void
check(struct run *r, const char *name, bool good, const char *why)
{
	r->tried++;
	r->failed += good ? 0 : 1;
	printf("%s %s%s%s\n", good ? "ok" : "not ok", name, good ? "" : ": ", good ? "" : why);
}

/* Every file that hands passed on as an output: none may be of the host or of the image. */
static void
check_outputs(struct run *r)
{
	struct kit_msg *m;
	bool clean = true;
	char text[4096];

	while ((m = kit_wait_output(&r->k, 5000)) != NULL) {
		struct frame_r f = frame_r(m->payload);

		frame_get_str(&f);
		struct str path = frame_get_str(&f);
		ssize_t n = pread(m->fd, text, sizeof(text) - 1, 0);

		text[n > 0 ? n : 0] = '\0';
		if (strstr(text, "root:") || strstr(text, CANARY_TEXT) || str_starts(path, STR("/")) ||
			str_find_str(path, STR("../")) < path.n) {
			clean = false;
			printf("#  output %.*s: %.80s\n", STRF(path), text);
		}
		kit_msg_free(m);
	}
	check(r, "nothing of the host came out as an output", clean, "it did");
}

static void
check_placing(struct run *r)
{
	static const struct kit_file f[] = {{"file_evil", "/workspace/evil/pinfold-evil", "evil"}};
	struct kit_claim c;

	kit_claim(&r->k, "sesn_escape", &(struct kit_files){f, 1}, &c);
	check(r, "a file below a planted link is refused", c.failed && strcmp(c.step, "upload") == 0,
		c.message);
	check(r, "nothing was written on the host", access("/pinfold-evil", F_OK) < 0,
		"/pinfold-evil exists");
}

static void
check_alive(struct run *r)
{
	struct kit_claim c;
	struct kit_result res;

	kit_claim(&r->k, "sesn_escape", NULL, &c);
	check(r, "the guest and its sandbox are the same as before",
		!c.failed && c.how == 0 && c.generation == 1, c.message);
	kit_bash(&r->k, "sesn_escape", 1, "echo still here", &res);
	check(r, "tools still run", res.text && strstr(res.text, "still here"), res.message);
	kit_result_done(&res);
	kit_bash(&r->k, "sesn_other", 1, "cat /workspace/secret", &res);
	check(r, "the other session is unharmed", res.text && strstr(res.text, "secret-of-the-other"),
		res.message);
	kit_result_done(&res);
}

int
main(void)
{
	struct run r = {0};
	struct kit_claim c;
	struct kit_result res;

	kit_start(&r.k, "escape", ",\"pool_size\":0");
	snprintf(r.canary, sizeof(r.canary), "%s/HOST_CANARY", r.k.dir);
	int fd = open(r.canary, O_WRONLY | O_CREAT | O_CLOEXEC, 0644);

	KIT_CHECK(fd >= 0 && write(fd, CANARY_TEXT, strlen(CANARY_TEXT)) > 0, "canary");
	close(fd);
	kit_claim(&r.k, "sesn_other", NULL, &c);
	KIT_CHECK(c.failed == 0, "%s: %s", c.step, c.message);
	kit_bash(&r.k, "sesn_other", 1, "echo secret-of-the-other > /workspace/secret", &res);
	kit_result_done(&res);
	kit_claim(&r.k, "sesn_escape", NULL, &c);
	KIT_CHECK(c.failed == 0, "%s: %s", c.step, c.message);
	run_all(&r);
	check_outputs(&r);
	check_placing(&r);
	check_alive(&r);
	printf("escape attempts=%u succeeded_or_unexpected=%u\n", r.tried, r.failed);
	kit_stop(&r.k);
	return r.failed ? 1 : 0;
}
