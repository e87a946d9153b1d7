/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From the configuration to what each role is told.
 */
#pragma once

#include "base/buf.h"
#include "cli/config.h"
#include "supervise/supervise.h"

struct serve {
	const struct config *config;
	struct supervise_secret secrets[SUPERVISE_SECRETS_MAX];
	size_t n_secrets;
	bool json;        /* what the operator should know goes to the log */
	char guest[4096]; /* the guest binary */
	char runsc[4096]; /* the OCI runtime; "" : as configured */
};

/* The configuration of the file `path`; NULL: the usual place, else the defaults. Errors as config_load. */
int serve_config(const char *path, struct config **out, struct err *e);

/* Fills s->guest from s->config: where the guest binary is, or would be. */
void serve_find_guest(struct serve *s);
/* Fills s->runsc: the configured path, or where PATH has the name. */
void serve_find_runsc(struct serve *s);

/* The slice of `role` as JSON; `arg` is a struct serve. Form of supervise_opts.slice. */
int serve_slice(
	void *arg, const char *role, const struct supervise_place *at, struct buf *out, struct err *e);

/* The memfd of the provider's key, or NULL. */
const struct supervise_secret *serve_secret(const struct serve *s, const char *provider);
