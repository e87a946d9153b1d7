/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The providers that the gate may call, from its configuration slice and the secrets of its leash. Immutable
 * after the start.
 */
#pragma once

#include "base/json.h"
#include "base/secret.h"
#include "io/leash.h"

#define PROVIDERS_MAX    64
#define PROVIDER_URL_MAX 4200

enum provider_auth { PROVIDER_NO_AUTH, PROVIDER_X_API_KEY, PROVIDER_BEARER };

struct provider {
	char name[LEASH_NAME_MAX];
	char url[PROVIDER_URL_MAX];   /* of the request, "/v1/messages" included */
	char proxy[PROVIDER_URL_MAX]; /* "": direct */
	char key_from[256];           /* where a missing key should come from */
	enum provider_auth auth;
	uint64_t idle_ms, total_ms; /* 0: the uplink's own */
	struct secret *key;         /* owned; NULL: none */
};

struct providers {
	size_t n;
	struct provider *list;
};

/* Reads `config` and takes the secrets it names out of `s`. ERR_INVALID, ERR_NO_MEMORY. */
int providers_init(struct providers *p, struct leash_start *s, struct err *e);
void providers_done(struct providers *p);
const struct provider *providers_find(const struct providers *p, struct str name);

/* 0, or ERR_UNAVAILABLE: it needs a key that the operator has not given. */
int provider_ready(const struct provider *p, struct err *e);

/* Gives use(line, arg) the header line that carries the key, NUL-terminated, and wipes it afterwards. Nothing
 * is called for a provider without one. ERR_NO_MEMORY. */
int provider_with_key(
	const struct provider *p, void (*use)(const char *line, void *arg), void *arg, struct err *e);

/* Writes '*' over the key wherever it stands in the text. */
void provider_redact(const struct provider *p, char *text, size_t n);
