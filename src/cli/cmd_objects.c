/* SPDX-License-Identifier: Apache-2.0 */
/*
 * agents, environments, sessions, files: list, get, create, delete (or archive). One implementation; the
 * resource is the command's first word.
 */
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/id.h"
#include "base/limits.h"
#include "cli/api.h"
#include "cli/cmd.h"
#include "cli/document.h"
#include "cli/show.h"

struct object_opts {
	struct api_opts api;
	const char *limit;
	bool archived;
	const char *out;
};

/* "agents" of "agents list". */
static struct str
resource_of(const struct cmd *c)
{
	struct str name = str_z(c->name);
	return str_next(&name, ' ');
}

static void
print_json(const struct json_t *v)
{
	AUTO(buf) struct buf b;
	buf_init(&b, LIM_EVENT_BODY * 2);
	json_dump(&b, v);
	printf("%.*s\n", STRF(buf_str(&b)));
}

static void
print_row(const struct json_t *v)
{
	static const char *const names[] = {"name", "title", "filename", NULL};
	struct str name = STR_NULL;
	for (size_t i = 0; names[i] != NULL && name.p == NULL; i++)
		name = json_get_str(v, names[i]);
	struct str extra = json_get_str(v, "status");
	struct str archived = json_get_str(v, "archived_at");
	printf("%-34.*s  %-12.*s  %-19.19s  ", STRF(json_get_str(v, "id")),
		STRF(archived.p != NULL ? STR("archived") : extra),
		json_get_str(v, "created_at").p != NULL ? json_get_str(v, "created_at").p : "");
	show_text(name.p != NULL ? str_sub(name, 0, 80) : STR(""), "", 1);
}

static int
list_page(struct api *a, const struct object_opts *o, struct str resource, struct id *page, struct err *e)
{
	char path[512];
	AUTO(json) struct json_t *v = NULL;
	int n = snprintf(path, sizeof(path), "GET /v1/%.*s?limit=%s%s%s%s", STRF(resource),
		o->limit != NULL ? o->limit : "100", o->archived ? "&include_archived=true" : "",
		page->z[0] != '\0' ? "&page=" : "", page->z);
	if (n < 0 || (size_t)n >= sizeof(path))
		return err_set(e, ERR_INVALID, "the request is too long");
	int rc = api_call(a, path, STR_NULL, &v, e);
	if (rc < 0)
		return rc;
	const struct json_t *data = json_get(v, "data");
	for (size_t i = 0; i < json_len(data); i++) {
		if (o->api.json)
			print_json(json_at(data, i));
		else
			print_row(json_at(data, i));
	}
	*page = id_from(json_get_str(v, "next_page"));
	return 0;
}

static int
do_list(struct api *a, const struct object_opts *o, const struct cmd *c, struct err *e)
{
	struct id page = {{0}};
	do {
		int rc = list_page(a, o, resource_of(c), &page, e);
		if (rc < 0)
			return rc;
	} while (page.z[0] != '\0' && o->limit == NULL);
	return 0;
}

struct object_call {
	const char *method, *tail;
};
static const struct object_call object_get = {"GET", ""};
static const struct object_call object_archive = {"POST", "/archive"};
static const struct object_call object_delete = {"DELETE", ""};

/* A call on one object: METHOD /v1/<resource>/<id><tail>. */
static int
on_object(struct api *a, const struct object_call *call, struct str resource, const char *id, struct err *e)
{
	char path[512];
	AUTO(json) struct json_t *v = NULL;
	int n = snprintf(
		path, sizeof(path), "%s /v1/%.*s/%s%s", call->method, STRF(resource), id, call->tail);
	if (n < 0 || (size_t)n >= sizeof(path) || strpbrk(id, "/?#%") != NULL)
		return err_set(e, ERR_INVALID, "not an id: %.100s", id);
	int rc = api_call(a, path, STR_NULL, &v, e);
	if (rc == 0)
		print_json(v);
	return rc;
}

static int
do_create(struct api *a, const struct object_opts *o, const struct cmd *c, const char *file, struct err *e)
{
	char path[128];
	AUTO(json) struct json_t *v = NULL;
	AUTO(buf) struct buf b;
	struct str resource = resource_of(c);
	buf_init(&b, LIM_HTTP_BODY);
	int rc;
	if (str_eqz(resource, "files")) {
		rc = api_upload(a, file, &v, e);
	} else {
		snprintf(path, sizeof(path), "POST /v1/%.*s", STRF(resource));
		rc = yaml_to_json(file, &b, e);
		rc = rc == 0 ? api_call(a, path, buf_str(&b), &v, e) : rc;
	}
	if (rc < 0)
		return rc;
	if (o->api.json)
		print_json(v);
	else
		printf("%.*s\n", STRF(json_get_str(v, "id")));
	return 0;
}

static int
do_download(struct api *a, const struct object_opts *o, const char *id, struct err *e)
{
	char path[512];
	AUTO(fd) int fd = -1;
	int n = snprintf(path, sizeof(path), "/v1/files/%s/content", id);
	if (n < 0 || (size_t)n >= sizeof(path) || strpbrk(id, "/?#%") != NULL)
		return err_set(e, ERR_INVALID, "not an id: %.100s", id);
	if (o->out == NULL)
		return api_download(a, path, STDOUT_FILENO, e);
	fd = open(o->out, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
	if (fd < 0)
		return err_os(e, "create %s", o->out);
	return api_download(a, path, fd, e);
}

static int
do_verb(struct api *a, const struct object_opts *o, const struct cmd *c, const char *arg, struct err *e)
{
	struct str verb = str_z(c->name);
	struct str resource = str_next(&verb, ' ');
	if (str_eqz(verb, "list"))
		return do_list(a, o, c, e);
	if (str_eqz(verb, "get"))
		return on_object(a, &object_get, resource, arg, e);
	if (str_eqz(verb, "create"))
		return do_create(a, o, c, arg, e);
	if (str_eqz(verb, "archive"))
		return on_object(a, &object_archive, resource, arg, e);
	if (str_eqz(verb, "download"))
		return do_download(a, o, arg, e);
	return on_object(a, &object_delete, resource, arg, e);
}

static int
run_object(const struct cmd *c, int argc, char **argv)
{
	struct err e = {0};
	struct object_opts o = {.limit = NULL};
	AUTO(api) struct api *a = NULL;
	int rc = cmd_parse(c, &argc, argv, &o, &e);
	if (rc == CMD_DONE)
		return 0;
	rc = rc == 0 ? cmd_arity(c, argc, argv, strcmp(strrchr(c->name, ' '), " list") == 0 ? 0 : 1, &e) : rc;
	rc = rc == 0 ? api_open(&o.api, &a, &e) : rc;
	rc = rc == 0 ? do_verb(a, &o, c, argv[1], &e) : rc;
	return rc < 0 ? cmd_fail(c, &e) : 0;
}

static const struct cmd_opt plain[] = {
	API_OPTS(struct object_opts),
	{NULL, NULL, NULL, 0},
};
static const struct cmd_opt listing[] = {
	{"limit", "N", "only the newest N, at most 100 (default: all)", offsetof(struct object_opts, limit)},
	{"include-archived", NULL, "archived ones too", offsetof(struct object_opts, archived)},
	API_OPTS(struct object_opts),
	{NULL, NULL, NULL, 0},
};
static const struct cmd_opt file_listing[] = {
	{"limit", "N", "only the newest N, at most 1000 (default: all)", offsetof(struct object_opts, limit)},
	API_OPTS(struct object_opts),
	{NULL, NULL, NULL, 0},
};
static const struct cmd_opt download[] = {
	{"out", "FILE", "where to put it (default: standard output)", offsetof(struct object_opts, out)},
	API_OPTS(struct object_opts),
	{NULL, NULL, NULL, 0},
};

#define OBJECT(n, a, s, o)                                                       \
	{                                                                        \
		.name = n, .args = a, .summary = s, .run = run_object, .opts = o \
	}

const struct cmd cmds_objects[] = {
	OBJECT("agents list", "[--json]", "List agents", listing),
	OBJECT("agents get", "ID", "Print an agent", plain),
	OBJECT("agents create", "FILE", "Create an agent from a YAML or JSON file (- for standard input)",
		plain),
	OBJECT("agents archive", "ID", "Archive an agent", plain),
	OBJECT("environments list", "[--json]", "List environments", listing),
	OBJECT("environments get", "ID", "Print an environment", plain),
	OBJECT("environments create", "FILE", "Create an environment from a YAML or JSON file", plain),
	OBJECT("environments archive", "ID", "Archive an environment", plain),
	OBJECT("environments delete", "ID", "Delete an environment that no session uses", plain),
	OBJECT("sessions list", "[--json]", "List sessions", listing),
	OBJECT("sessions get", "ID", "Print a session", plain),
	OBJECT("sessions create", "FILE", "Create a session from a YAML or JSON file", plain),
	OBJECT("sessions archive", "ID", "Archive a session", plain),
	OBJECT("sessions delete", "ID", "Delete a session, its log and its workspace", plain),
	OBJECT("files list", "[--json]", "List files", file_listing),
	OBJECT("files get", "ID", "Print a file's metadata", plain),
	OBJECT("files create", "FILE", "Upload a file", plain),
	OBJECT("files download", "ID", "Download a session's output file", download),
	OBJECT("files delete", "ID", "Delete a file", plain),
	{.name = NULL},
};
