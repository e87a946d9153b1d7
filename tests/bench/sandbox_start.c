/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Figures of hands with the real runtime, each against a reference taken in the same run:
 *
 *   sandbox-cold-start   from a claim of a new session to its guest being ready, against a bare `runsc run`
 * of the same image sandbox-warm-claim   from a claim of a new session to the answer, with a warm sandbox
 * waiting sandbox-rebuild      as cold, on the session's former workspace sandbox-tool-true    from EXECUTE
 * of bash running the builtin `true` to its result, as control sees it
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/json.h"
#include "base/limits.h"
#include "hands/env.h"
#include "hands/oci.h"
#include "hands/runsc.h"
#include "hands_kit.h"

enum { ROUNDS = 11, TOOL_ROUNDS = 300 };

static int
compare(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return x < y ? -1 : x > y;
}

static double
median_ms(uint64_t *us, size_t n)
{
	qsort(us, n, sizeof(*us), compare);
	return (double)us[n / 2] / 1000;
}

static void
report(const char *name, double value, double ref, double goal)
{
	double ratio = ref > 0 ? value / ref : value;

	printf("bench %s value=%.2fms ref=%.2fms ratio=%.3f goal=%.2f %s\n", name, value, ref, ratio, goal,
		ratio <= goal ? "ok" : "short");
	fflush(stdout);
}

/* ---- the bare runtime ---- */

static void
write_bundle(const char *dir, const char *image)
{
	char path[HANDS_PATH];
	struct stat st;
	struct buf b;

	hands_path(path, "%s/rootfs", image);
	struct oci_plan plan = {
		.rootfs = stat(path, &st) == 0 ? path : image,
		.rootfs_read_only = true,
		.hostname = "bare",
		.args = (const char *const[]){"/bin/true", NULL},
		.cwd = "/",
	};

	buf_init(&b, 65536);
	KIT_CHECK(oci_plan_check(&plan, NULL) == 0, "plan");
	oci_plan_write(&plan, &b);
	char file[HANDS_PATH];
	int fd =
		open(hands_path(file, "%s/config.json", dir), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

	KIT_CHECK(fd >= 0 && write(fd, b.p, b.n) == (ssize_t)b.n, "%s", file);
	close(fd);
	buf_done(&b);
}

/* In a child, because the measured process must not inherit what the test has open. */
static uint64_t
bare_run(const char *dir, const char *platform)
{
	char root[HANDS_PATH];
	struct runsc r = {"/usr/bin/runsc", platform, hands_path(root, "%s/runsc", dir), NULL, NULL};
	struct runsc_run run = {.bundle = dir, .id = "bare", .out = -1, .err = -1, .timeout_ms = 60000};
	const char *path = getenv("PINFOLD_RUNSC");
	struct err e = {0};
	int status = 0;

	r.path = path ? path : r.path;
	uint64_t t = clock_mono_us();

	KIT_CHECK(runsc_run(&r, &run, &status, &e) == 0 && status == 0, "bare run: %s (%d)", e.msg, status);
	return clock_mono_us() - t;
}

/* ---- figures ---- */

static void
claim(struct kit *k, const char *session, uint64_t how, uint64_t *us)
{
	struct kit_claim c;
	uint64_t t = clock_mono_us();

	kit_claim(k, session, NULL, &c);
	*us = clock_mono_us() - t;
	KIT_CHECK(c.failed == 0, "%s: %s", c.step, c.message);
	KIT_CHECK(
		c.how == how, "claim was %llu, not %llu", (unsigned long long)c.how, (unsigned long long)how);
}

static void
platform_of(struct kit *k, char *dst, size_t cap)
{
	struct json_t *v = NULL;
	struct buf b;

	buf_init(&b, 65536);
	kit_status(k, &b);
	KIT_CHECK(json_parse(buf_str(&b), &v, NULL) == 0, "status");
	snprintf(dst, cap, "%.*s", STRF(json_get_str(v, "platform")));
	json_free(v);
	buf_done(&b);
}

/* Interleaved, so that both sides see the same machine. */
static void
bench_cold(void)
{
	uint64_t bare[ROUNDS], cold[ROUNDS], rebuilt[ROUNDS];
	const char *image = getenv("PINFOLD_IMAGE");
	char name[32], platform[32];
	struct kit k;

	kit_start(&k, "bench-cold", ",\"pool_size\":0");
	platform_of(&k, platform, sizeof(platform));
	write_bundle(k.dir, image ? image : ".work/images/default");
	for (int i = 0; i < ROUNDS; i++) {
		snprintf(name, sizeof(name), "sesn_cold%d", i);
		bare[i] = bare_run(k.dir, platform);
		claim(&k, name, 2, &cold[i]);
		kit_release(&k, name, false);
		claim(&k, name, 3, &rebuilt[i]);
		kit_release(&k, name, true);
	}
	kit_stop(&k);
	double ref = median_ms(bare, ROUNDS);

	report("sandbox-cold-start", median_ms(cold, ROUNDS), ref, 1.25);
	report("sandbox-rebuild", median_ms(rebuilt, ROUNDS), ref, 1.25);
}

static void
bench_warm(void)
{
	uint64_t warm[ROUNDS], tool[TOOL_ROUNDS];
	struct kit_result r;
	char name[32];
	struct kit k;

	kit_start(&k, "bench-warm", ",\"pool_size\":1");
	for (int i = 0; i < ROUNDS; i++) {
		snprintf(name, sizeof(name), "sesn_warm%d", i);
		kit_wait_warm(&k);
		claim(&k, name, 1, &warm[i]);
		if (i < ROUNDS - 1)
			kit_release(&k, name, true);
	}
	report("sandbox-warm-claim", median_ms(warm, ROUNDS), 5.0, 1.0);
	for (int i = 0; i < TOOL_ROUNDS; i++) {
		uint64_t t = clock_mono_us();

		kit_bash(&k, name, 1, "true", &r);
		tool[i] = clock_mono_us() - t;
		KIT_CHECK(r.failed == 0, "%s %s", r.step, r.message);
		kit_result_done(&r);
	}
	report("sandbox-tool-true", median_ms(tool, TOOL_ROUNDS), 1.5, 1.0);
	kit_stop(&k);
}

int
main(void)
{
	bench_cold();
	bench_warm();
	return 0;
}
