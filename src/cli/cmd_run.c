/* SPDX-License-Identifier: Apache-2.0 */
/*
 * `pinfold run`: one shot. Files up, agent, environment, session, stream, message; prints until the session
 * is idle, then a summary.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/limits.h"
#include "cli/api.h"
#include "cli/cmd.h"
#include "cli/document.h"
#include "cli/show.h"

#define OUTPUTS_PAUSE_MS 250
#define OUTPUTS_SAME     4 /* listings that are the same, one after the other */

struct run_opts {
	struct api_opts api;
	const char *model, *system, *agent, *environment, *file, *prompt_file, *outputs, *title;
};

struct run {
	struct run_opts o;
	struct api *api;
	struct show show;
	struct buf prompt;
	struct id agent, environment, session;
	struct id files[16];
	struct str mounts[16];
	size_t n_files;
	uint64_t sent_us, first_event_us, done_us;
};

static int
read_prompt(struct run *r, int argc, char **argv, struct err *e)
{
	buf_init(&r->prompt, LIM_EVENT_BODY / 2);
	if (r->o.prompt_file == NULL) {
		for (int i = 1; i < argc; i++)
			buf_printf(&r->prompt, "%s%s", i > 1 ? " " : "", argv[i]);
		return r->prompt.n > 0 ? buf_check(&r->prompt, e)
				       : err_set(e, ERR_INVALID, "run needs a prompt");
	}
	if (argc > 1)
		return err_set(e, ERR_INVALID, "a prompt and --prompt-file exclude each other");
	AUTO(fd) int fd = open(r->o.prompt_file, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return errno == ENOENT ? err_set(e, ERR_NOT_FOUND, "%s does not exist", r->o.prompt_file)
				       : err_os(e, "open %s", r->o.prompt_file);
	for (ssize_t n = 1; n > 0;) {
		char *p = buf_reserve(&r->prompt, LIM_CHUNK);
		n = p != NULL ? read(fd, p, LIM_CHUNK) : 0;
		if (n < 0)
			return err_os(e, "read %s", r->o.prompt_file);
		r->prompt.n += (size_t)n;
	}
	return buf_check(&r->prompt, e);
}

/* --file PATH[:MOUNT],… */
static int
upload_files(struct run *r, struct err *e)
{
	struct str list = str_z(r->o.file);
	while (list.p != NULL && list.n > 0) {
		struct str one = str_next(&list, ',');
		struct str path = str_next(&one, ':');
		char z[LIM_PATH];
		AUTO(json) struct json_t *v = NULL;
		if (r->n_files == ARRAY_LEN(r->files))
			return err_set(e, ERR_INVALID, "--file: at most %zu files", ARRAY_LEN(r->files));
		if (!str_copy_z(path, z, sizeof(z)))
			return err_set(e, ERR_INVALID, "--file: the path is too long");
		int rc = api_upload(r->api, z, &v, e);
		if (rc < 0)
			return rc;
		if (!r->show.json)
			printf("upload    %s (%lld bytes)\n", z, (long long)json_get_int(v, "size_bytes", 0));
		r->files[r->n_files] = id_from(json_get_str(v, "id"));
		r->mounts[r->n_files++] = one;
	}
	return 0;
}

/* Creates an object from the JSON in `b` and gives its id. */
static int
create(struct run *r, const char *path, const struct buf *b, struct id *out, struct err *e)
{
	AUTO(json) struct json_t *v = NULL;
	int rc = buf_check(b, e);
	rc = rc == 0 ? api_call(r->api, path, buf_str(b), &v, e) : rc;
	if (rc < 0)
		return err_wrap(e, "%s", path);
	*out = id_from(json_get_str(v, "id"));
	return 0;
}

static int
make_agent(struct run *r, struct err *e)
{
	if (r->o.agent != NULL) {
		r->agent = id_from(str_z(r->o.agent));
		return 0;
	}
	AUTO(buf) struct buf b;
	buf_init(&b, MIB);
	struct json_w w = json_w(&b);
	jw_obj(&w);
	jw_kz(&w, "name", "pinfold run");
	jw_kz(&w, "model", r->o.model);
	if (r->o.system != NULL)
		jw_kz(&w, "system", r->o.system);
	jw_kraw(&w, "tools", STR("[{\"type\":\"agent_toolset_20260401\"}]"));
	jw_obj_end(&w);
	return create(r, "POST /v1/agents", &b, &r->agent, e);
}

/* Looks for an environment of ours in one page of the list; *page becomes the next one, empty after the last.
 */
static int
find_environment(struct run *r, struct id *page, struct err *e)
{
	AUTO(json) struct json_t *v = NULL;
	char line[256];
	snprintf(line, sizeof(line), "GET /v1/environments?limit=100%s%s", page->z[0] != '\0' ? "&page=" : "",
		page->z);
	int rc = api_call(r->api, line, STR_NULL, &v, e);
	if (rc < 0)
		return rc;
	const struct json_t *data = json_get(v, "data");
	for (size_t i = 0; i < json_len(data); i++)
		if (str_eqz(json_get_str(json_at(data, i), "name"), "pinfold run"))
			r->environment = id_from(json_get_str(json_at(data, i), "id"));
	*page = id_from(json_get_str(v, "next_page"));
	return 0;
}

/* One environment named "pinfold run" serves all runs. */
static int
make_environment(struct run *r, struct err *e)
{
	struct id page = {{0}};
	if (r->o.environment != NULL) {
		r->environment = id_from(str_z(r->o.environment));
		return 0;
	}
	do {
		int rc = find_environment(r, &page, e);
		if (rc < 0)
			return rc;
	} while (page.z[0] != '\0' && r->environment.z[0] == '\0');
	if (r->environment.z[0] != '\0')
		return 0;
	AUTO(buf) struct buf b;
	buf_init(&b, KIB);
	buf_put_z(&b, "{\"name\":\"pinfold run\"}");
	return create(r, "POST /v1/environments", &b, &r->environment, e);
}

static int
make_session(struct run *r, struct err *e)
{
	AUTO(buf) struct buf b;
	buf_init(&b, MIB);
	struct json_w w = json_w(&b);
	jw_obj(&w);
	jw_kz(&w, "agent", r->agent.z);
	jw_kz(&w, "environment_id", r->environment.z);
	if (r->o.title != NULL)
		jw_kz(&w, "title", r->o.title);
	jw_key(&w, "resources");
	jw_arr(&w);
	for (size_t i = 0; i < r->n_files; i++) {
		jw_obj(&w);
		jw_kz(&w, "type", "file");
		jw_kz(&w, "file_id", r->files[i].z);
		if (r->mounts[i].n > 0)
			jw_kstr(&w, "mount_path", r->mounts[i]);
		jw_obj_end(&w);
	}
	jw_arr_end(&w);
	jw_obj_end(&w);
	return create(r, "POST /v1/sessions", &b, &r->session, e);
}

static int
send_prompt(struct run *r, struct err *e)
{
	char path[256];
	AUTO(buf) struct buf b;
	buf_init(&b, LIM_EVENT_BODY);
	struct json_w w = json_w(&b);
	jw_obj(&w);
	jw_key(&w, "events");
	jw_arr(&w);
	jw_obj(&w);
	jw_kz(&w, "type", "user.message");
	jw_key(&w, "content");
	jw_arr(&w);
	jw_obj(&w);
	jw_kz(&w, "type", "text");
	jw_kstr(&w, "text", buf_str(&r->prompt));
	jw_obj_end(&w);
	jw_arr_end(&w);
	jw_obj_end(&w);
	jw_arr_end(&w);
	jw_obj_end(&w);
	snprintf(path, sizeof(path), "POST /v1/sessions/%s/events", r->session.z);
	r->sent_us = clock_mono_us();
	return api_call(r->api, path, buf_str(&b), NULL, e);
}

static int
on_event(void *arg, const struct json_t *event, struct err *e)
{
	(void)e;
	struct run *r = arg;
	if (r->first_event_us == 0 && str_starts(json_get_str(event, "type"), STR("agent.")))
		r->first_event_us = clock_mono_us();
	show_event(&r->show, event);
	if (str_eqz(r->show.stop, "requires_action"))
		printf("          waiting for a confirmation: %s sessions send %s --allow ID\n",
			program_invocation_name, r->session.z);
	return show_finished(&r->show) ? 1 : 0;
}

static int
follow(struct run *r, struct err *e)
{
	char path[256];
	struct api_stream *s = NULL;
	snprintf(path, sizeof(path), "/v1/sessions/%s/events/stream", r->session.z);
	int rc = api_stream_open(r->api, path, &s, e);
	if (rc < 0)
		return rc;
	rc = send_prompt(r, e);
	if (rc == 0)
		rc = api_stream_read(s, on_event, r, e);
	api_stream_close(s);
	if (rc == 0)
		rc = err_set(e, ERR_UNAVAILABLE,
			"the stream ended before the session was idle; see: pinfold sessions events %s",
			r->session.z);
	r->done_us = clock_mono_us();
	return rc < 0 ? rc : 0;
}

/* ---- outputs ---- */

static int
fetch_output(struct run *r, int dir, const struct json_t *f, struct err *e)
{
	char name[LIM_FILE_NAME * 4 + 1], path[256];
	if (!str_copy_z(json_get_str(f, "filename"), name, sizeof(name)) || strchr(name, '/') != NULL)
		return err_set(e, ERR_INVALID, "an output file has no usable name");
	AUTO(fd) int fd = openat(dir, name, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0644);
	if (fd < 0)
		return err_os(e, "create %s", name);
	struct id id = id_from(json_get_str(f, "id"));
	snprintf(path, sizeof(path), "/v1/files/%s/content", id.z);
	int rc = api_download(r->api, path, fd, e);
	if (rc < 0 || r->show.json)
		return rc;
	printf("output    %lld bytes, %s/", (long long)json_get_int(f, "size_bytes", 0), r->o.outputs);
	show_text(str_z(name), "", 1);
	return 0;
}

/* What tells one listing of files from another. */
static uint64_t
listing_mark(const struct json_t *data)
{
	uint64_t mark = 1469598103934665603ull;
	for (size_t i = 0; i < json_len(data); i++) {
		struct str id = json_get_str(json_at(data, i), "id");
		for (size_t k = 0; k < id.n; k++)
			mark = (mark ^ (uint8_t)id.p[k]) * 1099511628211ull;
	}
	return mark;
}

/* Files turn up a moment after the tool that wrote them: the listing counts once it stays the same for a
 * while. */
static int
list_outputs(struct run *r, struct json_t **out, struct err *e)
{
	char line[256];
	uint64_t mark = 0;
	snprintf(line, sizeof(line), "GET /v1/files?limit=1000&scope_id=%s", r->session.z);
	for (int same = 0; same < OUTPUTS_SAME;) {
		AUTO(json) struct json_t *v = NULL;
		int rc = api_call(r->api, line, STR_NULL, &v, e);
		if (rc < 0)
			return rc;
		uint64_t now = listing_mark(json_get(v, "data"));
		same = now == mark ? same + 1 : 0;
		mark = now;
		if (same == OUTPUTS_SAME)
			*out = MOVE(v);
		else
			(void)poll(NULL, 0, OUTPUTS_PAUSE_MS);
	}
	return 0;
}

static int
fetch_outputs(struct run *r, struct err *e)
{
	AUTO(json) struct json_t *v = NULL;
	if (r->o.outputs == NULL)
		return 0;
	AUTO(fd) int dir = open(r->o.outputs, O_DIRECTORY | O_RDONLY | O_CLOEXEC);
	if (dir < 0)
		return err_os(e, "open %s", r->o.outputs);
	int rc = list_outputs(r, &v, e);
	const struct json_t *data = json_get(v, "data");
	for (size_t i = 0; rc == 0 && i < json_len(data); i++) {
		const struct json_t *f = json_at(data, i);
		if (json_bool(json_get(f, "downloadable"), false))
			rc = fetch_output(r, dir, f, e);
	}
	return rc;
}

/* ---- summary ---- */

static void
print_sandbox(struct run *r)
{
	char path[256];
	AUTO(json) struct json_t *v = NULL;
	snprintf(path, sizeof(path), "GET /v1/pinfold/sessions/%s/sandboxes", r->session.z);
	if (api_call(r->api, path, STR_NULL, &v, NULL) < 0)
		return;
	const struct json_t *first = json_at(json_get(v, "data"), 0);
	if (first != NULL)
		printf("  sandbox start   %.1f ms (%.*s)\n", (double)json_get_int(first, "start_us", 0) / 1e3,
			STRF(json_get_str(first, "what")));
}

/* Commands that work as they stand: this program as it was called, the data directory as it was named. */
static void
print_further(struct run *r)
{
	const char *data = r->o.api.data;
	const char *env = getenv("PINFOLD_API_KEY");
	printf("\nlook further\n  %s sessions events%s%s %s\n", program_invocation_name,
		data != NULL ? " --data " : "", data != NULL ? data : "", r->session.z);
	printf("  curl -N -H \"Authorization: Bearer ");
	if (r->o.api.key_file != NULL)
		printf("$(cat %s)", r->o.api.key_file);
	else if (data == NULL && env != NULL && *env != '\0')
		printf("$PINFOLD_API_KEY");
	else
		printf("$(cat %s/admin.key)", data != NULL ? data : API_DEFAULT_DATA);
	printf("\" -H 'anthropic-beta: managed-agents-2026-04-01' %.*s/v1/sessions/%s/events/stream\n",
		STRF(api_url(r->api)), r->session.z);
}

static void
print_summary(struct run *r)
{
	struct show *s = &r->show;
	double first = r->first_event_us > r->sent_us ? (double)(r->first_event_us - r->sent_us) / 1e3 : 0;
	if (s->json)
		return;
	printf("\nsummary\n");
	printf("  session         %s (%.*s)\n", r->session.z, STRF(s->stop));
	printf("  events          %llu\n", (unsigned long long)s->events);
	printf("  tool calls      %llu (%llu failed)\n", (unsigned long long)s->tool_calls,
		(unsigned long long)s->tool_errors);
	printf("  model requests  %llu\n", (unsigned long long)s->model_requests);
	printf("  tokens          %llu in, %llu out\n", (unsigned long long)s->input_tokens,
		(unsigned long long)s->output_tokens);
	printf("  first event     %.1f ms after the message was sent\n", first);
	print_sandbox(r);
	printf("  total           %.2f s\n", (double)(r->done_us - r->sent_us) / 1e6);
	print_further(r);
}

/* Before the job, which may take hours: its end is too late to say that the folder cannot be had. */
static int
make_outputs_dir(const struct run *r, struct err *e)
{
	if (r->o.outputs == NULL || mkdir(r->o.outputs, 0755) == 0 || errno == EEXIST)
		return 0;
	return err_os(e, "make %s", r->o.outputs);
}

static int
run_all(struct run *r, struct err *e)
{
	int rc = api_open(&r->o.api, &r->api, e);
	rc = rc == 0 ? make_outputs_dir(r, e) : rc;
	rc = rc == 0 ? upload_files(r, e) : rc;
	rc = rc == 0 ? make_agent(r, e) : rc;
	rc = rc == 0 ? make_environment(r, e) : rc;
	rc = rc == 0 ? make_session(r, e) : rc;
	if (rc == 0 && !r->show.json)
		printf("session   %s\n", r->session.z);
	rc = rc == 0 ? follow(r, e) : rc;
	rc = rc == 0 ? fetch_outputs(r, e) : rc;
	if (rc == 0)
		print_summary(r);
	if (rc == 0 && !str_eqz(r->show.stop, "end_turn"))
		rc = err_set(e, ERR_UNAVAILABLE, "the session ended with %.*s", STRF(r->show.stop));
	return rc;
}

static int
run_run(const struct cmd *c, int argc, char **argv)
{
	struct err e = {0};
	struct run r = {.o = {.model = "puppet"}};
	int rc = cmd_parse(c, &argc, argv, &r.o, &e);
	if (rc == CMD_DONE)
		return 0;
	show_init(&r.show, r.o.api.json);
	rc = rc == 0 ? read_prompt(&r, argc, argv, &e) : rc;
	rc = rc == 0 ? run_all(&r, &e) : rc;
	api_close(r.api);
	buf_done(&r.prompt);
	return rc < 0 ? cmd_fail(c, &e) : 0;
}

#define O(member) offsetof(struct run_opts, member)

static const struct cmd_opt run_options[] = {
	{"model", "NAME", "model of the agent (default: puppet, the scripted model)", O(model)},
	{"system", "TEXT", "system prompt", O(system)},
	{"agent", "ID", "use this agent instead of making one", O(agent)},
	{"environment", "ID", "use this environment", O(environment)},
	{"file", "PATH[:MOUNT],...", "upload files and mount them into the session", O(file)},
	{"prompt-file", "FILE", "read the prompt from a file", O(prompt_file)},
	{"outputs", "DIR", "fetch the session's output files into this folder", O(outputs)},
	{"title", "TEXT", "title of the session", O(title)},
	API_OPTS(struct run_opts),
	{NULL, NULL, NULL, 0},
};

const struct cmd cmds_run[] = {
	{.name = "run",
		.args = "[options] PROMPT",
		.summary = "Run one prompt in a new session and print what happens",
		.run = run_run,
		.opts = run_options,
		.help = "Exit code 0 when the session ended its turn, another when it failed.\n"},
	{.name = NULL},
};
