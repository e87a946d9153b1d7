/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The server's configuration: one YAML file, read once at the start; docs/internals/configuration.md lists
 * the keys. Unknown keys and bad values are errors that name file, line where the parser knows it, and path.
 * Immutable after loading. It holds names of keys' sources, never a key.
 */
#pragma once

#include "base/err.h"
#include "base/log.h"
#include "base/str.h"

enum config_auth { CONFIG_AUTH_X_API_KEY, CONFIG_AUTH_BEARER };

struct config_provider {
	const char *name;
	const char *url; /* without trailing slash */
	enum config_auth auth;
	const char *key_env;        /* NULL: none */
	const char *key_file;       /* NULL: none */
	const char *proxy;          /* NULL: direct */
	uint64_t idle_ms, total_ms; /* without a byte of the answer; for a whole answer */
	const char **models;        /* patterns: a name, or a prefix followed by '*' */
	unsigned n_models;
};

struct config_model {
	const char *id;
	const char *display_name;
	uint64_t max_input_tokens; /* 0: unknown */
	uint64_t max_tokens;       /* 0: unknown */
};

struct config_sandbox {
	const char *platform; /* "auto", or runsc's name of it */
	const char *runsc;    /* path or a name looked up in PATH */
	const char *image;    /* directory of images; NULL: <data>/image */
	const char *guest;    /* the guest binary; NULL: looked for beside this program */
	uint64_t memory_bytes, disk_bytes;
	uint64_t pids;
	uint64_t cpu_milli; /* 0: all */
	uint64_t wall_ms, idle_ms;
	uint64_t pool; /* warm sandboxes kept */
};

struct config {
	const char *listen;
	const char *data;
	const char *default_model; /* NULL: none */
	unsigned uid_base;
	enum log_level level;
	bool puppet;
	struct config_provider *providers;
	unsigned n_providers;
	struct config_model *models;
	unsigned n_models;
	struct config_sandbox sandbox;
};

/* Reads and checks the file; NULL gives the defaults. ERR_INVALID, ERR_NOT_FOUND, ERR_IO, ERR_TOO_LARGE.
 * Abort on lack of memory: this runs before any loop. */
int config_load(const char *path, struct config **out, struct err *e);
/* The same for text; `name` stands for the file in messages. */
int config_parse(struct str text, const char *name, struct config **out, struct err *e);
void config_free(struct config *c);
DEFINE_AUTO(config, struct config *, config_free, NULL);

/* "512M", "2GiB", "4096": bytes. "90s", "5m", "24h", "1500ms": milliseconds. "1.5", "2": thousandths. False
 * on anything else. */
bool config_bytes(struct str s, uint64_t *out);
bool config_millis(struct str s, uint64_t *out);
bool config_thousandths(struct str s, uint64_t *out);
