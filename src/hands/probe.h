/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Finds out, by trying, what this host can do: which runsc platform starts a trivial sandbox within its time,
 * whether this runsc has the statx quirk, whether file systems in files can be mounted. The platform's answer
 * is kept in <data_dir>/platform.json until runsc, the kernel or the wish changes.
 */
#pragma once

#include "hands/env.h"

struct probe_result {
	char platform[32]; /* "" : none works */
	bool stat_quirk;
	bool disk_limited;
	char note[512]; /* "kvm: did not start within 5000 ms; systrap: ..." */
	char disk_note[200];
};

/* Blocking (a job, or the CLI's doctor): tries kvm, systrap and ptrace in this order, or only the configured
 * one. Never fails: the result says what does not work. `fresh`: do not believe the kept answer. */
void probe_run(const struct hands_env *env, bool fresh, struct probe_result *out);
