/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the whole role shares: configuration, loop, and what was found out about this host. Written at the
 * start and by the probe, read by all others.
 */
#pragma once

#include "hands/cgroup.h"
#include "hands/config.h"
#include "hands/reaper.h"

struct hands_env {
	struct loop *loop;
	struct reaper *reaper;
	struct hands_config cfg;
	struct cgroup_host cg;
	char platform[32];    /* "" until the probe ended, or when no platform works */
	bool probed;          /* the probe ended */
	bool stat_quirk;      /* this runsc refuses statx(AT_NO_AUTOMOUNT), which ls and stat use */
	bool disk_limited;    /* workspaces are size-limited files */
	char probe_note[512]; /* what each candidate said */
	char disk_note[200];  /* why the disk is not limited */
};

/* Paths below the configured directories. */
char *env_sandbox_dir(const struct hands_env *v, const char *sandbox, char dst[HANDS_PATH]);
char *env_session_dir(const struct hands_env *v, const char *session, char dst[HANDS_PATH]);
char *env_pool_dir(const struct hands_env *v, const char *sandbox, char dst[HANDS_PATH]);

/* Makes the role's directories and puts the guest binary and the compatibility library into run_dir/bin. */
int env_prepare(const struct hands_env *v, struct err *e);

/* The root filesystem of an image ("" : the default one) and the directory of a layer ("" : *has false).
 * ERR_NOT_FOUND. */
int env_image(const struct hands_env *v, const char *image, char dst[HANDS_PATH], struct err *e);
int env_layer(const struct hands_env *v, const char *layer, char dst[HANDS_PATH], bool *has, struct err *e);

/* Replaces zeroes by the configured limits. */
struct limits env_limits(const struct hands_env *v, const struct limits *asked);
