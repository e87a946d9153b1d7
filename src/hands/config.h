/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The configuration of the role (members: hands.h), checked once, immutable afterwards. Directory names are
 * short enough that every path built below them fits HANDS_PATH; hands_path asserts that.
 */
#pragma once

#include "base/err.h"
#include "base/id.h"
#include "base/json.h"

#define HANDS_PATH     512 /* with NUL */
#define HANDS_DIR_MAX  200
#define HANDS_NAME_MAX 64 /* image and layer names, with NUL */

struct limits {
	uint64_t memory; /* bytes */
	uint64_t pids;
	uint64_t disk;      /* bytes */
	uint64_t cpu_milli; /* thousandths of a CPU; 0: no limit */
};

struct hands_config {
	char data_dir[HANDS_DIR_MAX + 1];
	char run_dir[HANDS_DIR_MAX + 1];
	char guest_binary[HANDS_PATH];
	char runsc[HANDS_PATH];
	char platform[32];
	char image_dir[HANDS_PATH];
	char images_dir[HANDS_DIR_MAX + 1];
	char layers_dir[HANDS_DIR_MAX + 1];
	char cgroup_parent[128];
	char pod_init_config[HANDS_PATH]; /* "": not passed */
	uint64_t pool_size;
	uint64_t idle_ms;
	uint64_t wall_ms;
	struct limits limits;
	bool require_limits;
};

/* ERR_INVALID names the member. */
int hands_config_parse(struct hands_config *out, const struct json_t *v, struct err *e);

/* Formats a path into `dst`; a path that does not fit is our own bug. Returns dst. */
char *hands_path(char dst[HANDS_PATH], const char *fmt, ...) PRINTF_FMT(2, 3);

/* True for a name that may stand in a path: 1..63 of [0-9A-Za-z_.-], not beginning with '.' or '-'. */
bool hands_name_ok(struct str s);
