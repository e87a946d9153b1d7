/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The YAML file as libcyaml delivers it: strings as written, zero and NULL for what is absent. config.c turns
 * it into struct config.
 */
#pragma once

#include "base/err.h"
#include "base/str.h"

struct raw_provider {
	char *name, *url, *auth, *key_env, *key_file, *proxy, *idle, *total;
	char **models;
	unsigned models_count;
};

struct raw_model {
	char *id, *display_name;
	uint64_t max_input_tokens, max_tokens;
};

struct raw_sandbox {
	char *platform, *runsc, *image, *guest, *memory, *disk, *cpu, *wall, *idle;
	uint64_t *pids, *pool;
};

struct raw_puppet {
	bool *enabled;
};

struct raw_config {
	char *listen, *data, *default_model, *log;
	uint64_t *uid_base;
	struct raw_puppet *puppet;
	struct raw_provider *providers;
	unsigned providers_count;
	struct raw_model *models;
	unsigned models_count;
	struct raw_sandbox *sandbox;
};

/* ERR_INVALID "NAME:LINE: path: message". An empty document gives *out = NULL. */
int raw_config_parse(struct str text, const char *name, struct raw_config **out, struct err *e);
void raw_config_free(struct raw_config *r);
DEFINE_AUTO(raw_config, struct raw_config *, raw_config_free, NULL);
