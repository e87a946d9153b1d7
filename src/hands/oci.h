/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The OCI bundle's config.json as a pure function: a plan (plain data) is checked, then written. The plan
 * says what differs from sandbox to sandbox; what must never differ (namespaces, capabilities, no_new_privs,
 * masked paths) is in oci.c.
 */
#pragma once

#include "base/buf.h"
#include "base/err.h"

#define OCI_MOUNTS_MAX 16

struct oci_mount {
	const char *source;      /* absolute host path; NULL: a memory file system of `bytes` */
	const char *destination; /* absolute path inside */
	bool read_only;
	uint64_t bytes;
};

struct oci_plan {
	const char *rootfs; /* absolute host path */
	bool rootfs_read_only;
	const char *hostname;
	const char *const *args; /* NULL-terminated, the first one absolute */
	const char *const *env;  /* NULL-terminated "NAME=value"; NULL: a small default */
	const char *cwd;
	struct oci_mount mounts[OCI_MOUNTS_MAX];
	size_t n_mounts;
	uint64_t open_files; /* RLIMIT_NOFILE; 0: 65536 */
};

/* ERR_INVALID names what is wrong: a relative or unclean path, two mounts on one place, no program, too many
 * mounts. */
int oci_plan_check(const struct oci_plan *p, struct err *e);

/* Appends the JSON of a plan that was checked. */
void oci_plan_write(const struct oci_plan *p, struct buf *out);
