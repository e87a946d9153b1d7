/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The tools glob and grep: both look at many files, so their work is done in a child (job.h); here is what
 * stands before and after it.
 */
#pragma once

#include "guest/job.h"
#include "guest/paths.h"

/* What the child works with; filled by the checks below, in the guest. */
struct search {
	struct str pattern;   /* borrowed from the input */
	char shown[LIM_PATH]; /* the root as results name it */
	char root[LIM_PATH];  /* the same, canonical */
};

/* Check the input and find the root. -1 with the error in `r`: no child is needed. */
int glob_check(const struct roots *roots, const struct json_t *in, struct search *s, struct reply *r);
int grep_check(const struct roots *roots, const struct json_t *in, struct search *s, struct reply *r);

/* The work, in the child. `arg` is the struct search. */
void glob_work(void *arg, struct job_out *out);
void grep_work(void *arg, struct job_out *out);

/* True when the image has ripgrep outside the places that the file tools may write: its path. */
bool grep_program(const struct roots *roots, char path[LIM_PATH]);

/* The reply from how the child ended. */
void glob_end(const struct job_end *end, struct reply *r);
void grep_end(const struct job_end *end, struct reply *r);
void grep_program_end(const struct job_end *end, struct reply *r);

/* Most bytes that a child's output may have. */
#define SEARCH_OUT_MAX (4 * LIM_GREP_OUTPUT)
