/* SPDX-License-Identifier: Apache-2.0 */
/*
 * keys create | list | revoke. A new key is printed once and stored nowhere.
 */
#include <stdio.h>
#include <string.h>

#include "base/limits.h"
#include "cli/api.h"
#include "cli/cmd.h"

struct key_opts {
	struct api_opts api;
	bool admin;
};

static void
print_key(const struct json_t *v, bool as_json)
{
	AUTO(buf) struct buf b;
	buf_init(&b, 16 * KIB);
	if (as_json) {
		json_dump(&b, v);
		printf("%.*s\n", STRF(buf_str(&b)));
		return;
	}
	bool admin = json_bool(json_get(v, "admin"), false);
	printf("%-32.*s  %-6s  %.*s\n", STRF(json_get_str(v, "id")), admin ? "admin" : "",
		STRF(json_get_str(v, "name")));
}

static int
create(struct api *a, const struct key_opts *o, const char *name, struct err *e)
{
	AUTO(buf) struct buf b = {0};
	AUTO(json) struct json_t *v = NULL;
	buf_init(&b, 4 * KIB);
	struct json_w w = json_w(&b);
	jw_obj(&w);
	jw_kz(&w, "name", name);
	jw_kbool(&w, "admin", o->admin);
	jw_obj_end(&w);
	int rc = api_call(a, "POST /v1/pinfold/keys", buf_str(&b), &v, e);
	if (rc == 0 && o->api.json)
		print_key(v, true);
	else if (rc == 0)
		printf("%.*s\n", STRF(json_get_str(v, "key")));
	return rc;
}

static int
list(struct api *a, const struct key_opts *o, struct err *e)
{
	AUTO(json) struct json_t *v = NULL;
	int rc = api_call(a, "GET /v1/pinfold/keys?limit=1000", STR_NULL, &v, e);
	const struct json_t *data = json_get(v, "data");
	for (size_t i = 0; rc == 0 && i < json_len(data); i++)
		print_key(json_at(data, i), o->api.json);
	return rc;
}

static int
revoke(struct api *a, const char *id, struct err *e)
{
	char path[256];
	int n = snprintf(path, sizeof(path), "DELETE /v1/pinfold/keys/%s", id);
	if (strpbrk(id, "/?#%") != NULL || n < 0 || (size_t)n >= sizeof(path))
		return err_set(e, ERR_INVALID, "not an id: %.100s", id);
	return api_call(a, path, STR_NULL, NULL, e);
}

static int
run_keys(const struct cmd *c, int argc, char **argv)
{
	struct err e = {0};
	struct key_opts o = {.admin = false};
	AUTO(api) struct api *a = NULL;
	int rc = cmd_parse(c, &argc, argv, &o, &e);
	if (rc == CMD_DONE)
		return 0;
	rc = rc == 0 ? cmd_arity(c, argc, argv, strcmp(c->name, "keys list") == 0 ? 0 : 1, &e) : rc;
	rc = rc == 0 ? api_open(&o.api, &a, &e) : rc;
	if (rc == 0 && strcmp(c->name, "keys create") == 0)
		rc = create(a, &o, argv[1], &e);
	else if (rc == 0 && strcmp(c->name, "keys list") == 0)
		rc = list(a, &o, &e);
	else if (rc == 0)
		rc = revoke(a, argv[1], &e);
	return rc < 0 ? cmd_fail(c, &e) : 0;
}

static const struct cmd_opt plain[] = {
	API_OPTS(struct key_opts),
	{NULL, NULL, NULL, 0},
};
static const struct cmd_opt creating[] = {
	{"admin", NULL, "may manage keys and read the server's status", offsetof(struct key_opts, admin)},
	API_OPTS(struct key_opts),
	{NULL, NULL, NULL, 0},
};

const struct cmd cmds_keys[] = {
	{.name = "keys create",
		.args = "NAME",
		.summary = "Make an API key and print it once",
		.run = run_keys,
		.opts = creating},
	{.name = "keys list", .args = "", .summary = "List API keys", .run = run_keys, .opts = plain},
	{.name = "keys revoke", .args = "ID", .summary = "Revoke an API key", .run = run_keys, .opts = plain},
	{.name = NULL},
};
