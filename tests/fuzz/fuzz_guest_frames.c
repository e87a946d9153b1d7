/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Frames as the guest reads them. Whatever comes, the guest goes on; a frame is answered, or refused as a
 * breach of the protocol. The tools that would start processes or change files are left out: bytes must not
 * run as commands.
 */
#include "fuzz.h"

#include "base/guest_call.h"
#include "guest/calls.h"

static struct buf out;

static struct buf *
out_of(void *owner)
{
	(void)owner;
	return &out;
}

static void
flush(void *owner)
{
	(void)owner;
	buf_clear(&out);
}

/* Only reading, and tools that do not exist. */
static bool
harmless(const struct frame *f)
{
	struct frame_r r = frame_r(f->payload);

	if (f->type != GC_EXECUTE)
		return true;
	frame_get_str(&r);
	struct str tool = frame_get_str(&r);
	return !str_eqz(tool, "bash") && !str_eqz(tool, "write") && !str_eqz(tool, "edit") &&
	       !str_eqz(tool, "glob") && !str_eqz(tool, "grep");
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct roots roots = {.workdir = "/usr/include", .allowed = {"/etc"}};
	struct reactor *r = reactor_new();
	struct jobs *jobs = jobs_new(r, false);
	struct bash_opts b = {.reactor = r, .workdir = "/"};
	struct bash *bash = bash_new(&b);
	struct calls_opts o = {
		.files = {.roots = &roots},
		.bash = bash,
		.jobs = jobs,
		.results_dir = "/nonexistent",
		.offload_dir = "/nonexistent",
		.out = out_of,
		.flush = flush,
	};
	struct calls *calls = calls_new(&o);
	struct str in = str_n(data, size);
	struct frame f;
	size_t used;

	ASSERT(calls);
	buf_init(&out, 64 * MIB);
	while (frame_parse(in, LIM_FRAME_GUEST, &f, &used, NULL) > 0) {
		if (harmless(&f) && !calls_frame(calls, &f))
			break;
		in = str_sub(in, used, in.n);
	}
	calls_lost(calls);
	calls_free(calls);
	bash_free(bash);
	jobs_free(jobs);
	reactor_free(r);
	buf_done(&out);
	return 0;
}
