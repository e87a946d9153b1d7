/* SPDX-License-Identifier: Apache-2.0 */
/*
 * sessions events | tail | send.
 */
#include <stdio.h>
#include <string.h>

#include "base/limits.h"
#include "cli/api.h"
#include "cli/cmd.h"
#include "cli/show.h"

struct event_opts {
	struct api_opts api;
	const char *allow, *deny, *message;
	bool interrupt, follow;
};

struct session_path {
	char z[512];
};

/* `method` with a blank behind it, or empty. */
static int
session_path(struct session_path *p, const char *method, const char *id, const char *tail, struct err *e)
{
	int n = snprintf(p->z, sizeof(p->z), "%s/v1/sessions/%s%s", method, id, tail);
	if (strpbrk(id, "/?#%") != NULL || n < 0 || (size_t)n >= sizeof(p->z))
		return err_set(e, ERR_INVALID, "not an id: %.100s", id);
	return 0;
}

static int
print_history(struct api *a, const char *id, struct show *s, struct err *e)
{
	struct id page = {{0}};
	do {
		struct session_path path;
		char tail[256];
		AUTO(json) struct json_t *v = NULL;
		snprintf(tail, sizeof(tail), "/events?limit=1000%s%s", page.z[0] != '\0' ? "&page=" : "",
			page.z);
		int rc = session_path(&path, "GET ", id, tail, e);
		rc = rc == 0 ? api_call(a, path.z, STR_NULL, &v, e) : rc;
		if (rc < 0)
			return rc;
		const struct json_t *data = json_get(v, "data");
		for (size_t i = 0; i < json_len(data); i++)
			show_event(s, json_at(data, i));
		page = id_from(json_get_str(v, "next_page"));
	} while (page.z[0] != '\0');
	return 0;
}

static int
on_tail(void *arg, const struct json_t *event, struct err *e)
{
	(void)e;
	show_event(arg, event);
	return 0;
}

static int
tail(struct api *a, const char *id, struct show *s, struct err *e)
{
	struct session_path path;
	struct api_stream *st = NULL;
	int rc = session_path(&path, "", id, "/events/stream", e);
	rc = rc == 0 ? api_stream_open(a, path.z, &st, e) : rc;
	rc = rc == 0 ? api_stream_read(st, on_tail, s, e) : rc;
	api_stream_close(st);
	return rc;
}

static void
event_json(struct json_w *w, const struct event_opts *o, struct str text)
{
	jw_obj(w);
	if (o->interrupt) {
		jw_kz(w, "type", "user.interrupt");
	} else if (o->allow != NULL || o->deny != NULL) {
		jw_kz(w, "type", "user.tool_confirmation");
		jw_kz(w, "tool_use_id", o->allow != NULL ? o->allow : o->deny);
		jw_kz(w, "result", o->allow != NULL ? "allow" : "deny");
		if (o->deny != NULL && o->message != NULL)
			jw_kz(w, "deny_message", o->message);
	} else {
		jw_kz(w, "type", "user.message");
		jw_key(w, "content");
		jw_arr(w);
		jw_obj(w);
		jw_kz(w, "type", "text");
		jw_kstr(w, "text", text);
		jw_obj_end(w);
		jw_arr_end(w);
	}
	jw_obj_end(w);
}

static int
send(struct api *a, const struct event_opts *o, int argc, char **argv, struct err *e)
{
	struct session_path path;
	AUTO(buf) struct buf text;
	AUTO(buf) struct buf b;
	AUTO(json) struct json_t *v = NULL;
	buf_init(&text, LIM_EVENT_BODY / 2);
	buf_init(&b, LIM_EVENT_BODY);
	for (int i = 2; i < argc; i++)
		buf_printf(&text, "%s%s", i > 2 ? " " : "", argv[i]);
	struct json_w w = json_w(&b);
	jw_obj(&w);
	jw_key(&w, "events");
	jw_arr(&w);
	event_json(&w, o, buf_str(&text));
	jw_arr_end(&w);
	jw_obj_end(&w);
	int rc = session_path(&path, "POST ", argv[1], "/events", e);
	rc = rc == 0 ? api_call(a, path.z, buf_str(&b), &v, e) : rc;
	const struct json_t *data = json_get(v, "data");
	for (size_t i = 0; rc == 0 && i < json_len(data); i++)
		printf("%.*s\n", STRF(json_get_str(json_at(data, i), "id")));
	return rc;
}

/* Is what stands on the command line enough to go on without asking a server? */
static int
check_args(const struct cmd *c, const struct event_opts *o, int argc, char **argv, struct err *e)
{
	if (strcmp(c->name, "sessions send") != 0)
		return cmd_arity(c, argc, argv, 1, e);
	if (argc < 2)
		return err_set(e, ERR_INVALID, "%s needs a session's id", c->name);
	int kinds = (argc > 2) + o->interrupt + (o->allow != NULL) + (o->deny != NULL);
	if (kinds != 1)
		return err_set(
			e, ERR_INVALID, "%s needs one of: a text, --allow, --deny, --interrupt", c->name);
	return 0;
}

static int
run_events(const struct cmd *c, int argc, char **argv)
{
	struct err e = {0};
	struct event_opts o = {.allow = NULL};
	struct show s;
	AUTO(api) struct api *a = NULL;
	int rc = cmd_parse(c, &argc, argv, &o, &e);
	if (rc == CMD_DONE)
		return 0;
	show_init(&s, o.api.json);
	rc = rc == 0 ? check_args(c, &o, argc, argv, &e) : rc;
	rc = rc == 0 ? api_open(&o.api, &a, &e) : rc;
	if (rc == 0 && strcmp(c->name, "sessions send") == 0)
		rc = send(a, &o, argc, argv, &e);
	else if (rc == 0 && strcmp(c->name, "sessions tail") == 0)
		rc = tail(a, argv[1], &s, &e);
	else if (rc == 0)
		rc = print_history(a, argv[1], &s, &e);
	return rc < 0 ? cmd_fail(c, &e) : 0;
}

static const struct cmd_opt plain[] = {
	API_OPTS(struct event_opts),
	{NULL, NULL, NULL, 0},
};
static const struct cmd_opt sending[] = {
	{"allow", "EVENT", "allow the tool call with this event id", offsetof(struct event_opts, allow)},
	{"deny", "EVENT", "deny the tool call with this event id", offsetof(struct event_opts, deny)},
	{"message", "TEXT", "what the agent is told with --deny", offsetof(struct event_opts, message)},
	{"interrupt", NULL, "stop what the agent is doing", offsetof(struct event_opts, interrupt)},
	API_OPTS(struct event_opts),
	{NULL, NULL, NULL, 0},
};

const struct cmd cmds_events[] = {
	{.name = "sessions events",
		.args = "ID",
		.summary = "Print a session's events",
		.run = run_events,
		.opts = plain},
	{.name = "sessions tail",
		.args = "ID",
		.summary = "Follow a session's events",
		.run = run_events,
		.opts = plain},
	{.name = "sessions send",
		.args = "ID [TEXT]",
		.summary = "Send a message, a confirmation or an interrupt",
		.run = run_events,
		.opts = sending},
	{.name = NULL},
};
