/* SPDX-License-Identifier: Apache-2.0 */
#include "control/control.h"

#include <malloc.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "control/api.h"
#include "control/auth.h"
#include "control/stream.h"
#include "io/confine.h"
#include "io/leash.h"

/* How often the connections to gate and hands are looked at, and how often they may be missing. A neighbour
 * that died is started again sooner, with a new connection. */
#define LINK_LOOK_MS 5000
#define LINK_MISSED  3

struct role {
	struct control c;
	struct leash_start start;
	struct leash *leash;
	struct loop_timer *links;
	unsigned missed;
	int listen_fd;
	int exit_code;
	bool leaving;
};

/* ---- configuration slice ---- */

static int
take_models(struct control *c, const struct json_t *list, struct err *e)
{
	size_t n = json_len(list);
	c->models = calloc(n + 1, sizeof(*c->models));
	if (c->models == NULL)
		return err_set(e, ERR_NO_MEMORY, "out of memory");
	for (size_t i = 0; i < n; i++) {
		const struct json_t *m = json_at(list, i);
		c->models[i] = (struct api_model){.id = json_get_str(m, "id"),
			.display_name = json_get_str(m, "display_name"),
			.max_input_tokens = json_get_int(m, "max_input_tokens", 0),
			.max_tokens = json_get_int(m, "max_tokens", 0)};
	}
	c->n_models = n;
	return 0;
}

static int
take_providers(struct control *c, const struct json_t *list, struct err *e)
{
	size_t n = 0;
	for (size_t i = 0; i < json_len(list); i++)
		n += json_len(json_get(json_at(list, i), "models"));
	c->patterns = calloc(n + 1, sizeof(*c->patterns));
	if (c->patterns == NULL)
		return err_set(e, ERR_NO_MEMORY, "out of memory");
	for (size_t i = 0; i < json_len(list); i++) {
		const struct json_t *p = json_at(list, i);
		const struct json_t *models = json_get(p, "models");
		for (size_t j = 0; j < json_len(models); j++)
			c->patterns[c->n_patterns++] =
				(struct brain_model){.pattern = json_str(json_at(models, j), STR("")),
					.provider = json_get_str(p, "name")};
	}
	return 0;
}

static int
take_config(struct role *r, struct err *e)
{
	struct control *c = &r->c;
	c->config = MOVE(r->start.config);
	c->data_dir = json_get_str(c->config, "data_dir");
	if (c->data_dir.n == 0)
		return err_set(e, ERR_INVALID, "control: no data_dir in the configuration slice");
	int rc = take_models(c, json_get(c->config, "models"), e);
	return rc < 0 ? rc : take_providers(c, json_get(c->config, "providers"), e);
}

/* ---- callbacks of the store; the brain exists before the first commit ---- */

static void
on_commit(void *owner, struct str session_id, const struct event_row *rows, size_t n)
{
	struct control *c = owner;
	brain_on_commit(c->brain, session_id, rows, n);
}

static void
on_deleted(void *owner, struct str session_id)
{
	struct control *c = owner;
	brain_on_deleted(c->brain, session_id);
}

/* What is on the disk can only be known by reading it again: supervise starts this role anew. */
static void
on_failed(void *owner, const struct err *err)
{
	struct control *c = owner;
	struct role *r = CONTAINER_OF(c, struct role, c);
	log_error("store.failed", LOG_ERR(err));
	r->exit_code = err_exit_code(err->kind);
	loop_stop(c->loop);
}

/* ---- building ---- */

static int
build_brain(struct control *c, struct err *e)
{
	const struct json_t *sb = json_get(c->config, "sandbox");
	struct brain_opts o = {.store = c->store,
		.models = c->patterns,
		.n_models = c->n_patterns,
		.max_tokens = (uint64_t)json_get_int(c->config, "max_tokens", 16384),
		.image = json_get_str(sb, "image"),
		.sandbox_memory = (uint64_t)json_get_int(sb, "memory", 0),
		.sandbox_pids = (uint64_t)json_get_int(sb, "pids", 0),
		.sandbox_disk = (uint64_t)json_get_int(sb, "disk", 0),
		.sandbox_cpu_milli = (uint64_t)json_get_int(sb, "cpu", 0),
		.owner = c,
		.on_output_file = files_register_output};
	return brain_new(&c->brain, c->loop, &o, e);
}

static int
build_server(struct role *r, struct err *e)
{
	static const struct server_limits lim = {.max_body = LIM_HTTP_BODY,
		.max_conns = LIM_HTTP_CONNS,
		.head_ms = LIM_HTTP_HEAD_MS,
		.body_ms = LIM_HTTP_BODY_MS,
		.idle_ms = LIM_HTTP_IDLE_MS,
		.write_ms = LIM_HTTP_WRITE_MS};
	struct server_ops ops = {.owner = &r->c,
		.on_head = routes_on_head,
		.on_request = routes_on_request,
		.error_body = routes_error_body};
	return server_new(&r->c.server, r->c.loop, MOVE_FD(r->listen_fd), &ops, &lim, e);
}

static void
on_peer(void *owner, const char *role, uint64_t number, int fd)
{
	(void)number;
	struct role *r = owner;
	/* A neighbour that cannot stay is no lost connection: starting anew would not help, and end all
	 * streams. */
	r->missed = 0;
	brain_set_peer(r->c.brain, role, fd);
}

static void
on_stop(void *owner)
{
	struct role *r = owner;
	loop_stop(r->c.loop);
}

/* A connection that was dropped while both ends live is made anew for a role that starts: so this one does.
 */
static void
on_links(void *arg)
{
	struct role *r = arg;
	r->missed = brain_linked(r->c.brain) ? 0 : r->missed + 1;
	if (r->missed < LINK_MISSED)
		return;
	log_error("link.lost", LOG_Z("note", "no connection to gate or hands: starting anew"));
	r->exit_code = err_exit_code(ERR_UNAVAILABLE);
	loop_stop(r->c.loop);
}

/* Keys are known: open the door. */
static void
on_auth_ready(struct control *c, const struct err *err, bool first)
{
	struct role *r = CONTAINER_OF(c, struct role, c);
	struct err e = {0};
	if (r->leaving)
		return;
	if (err == NULL && build_server(r, &e) < 0)
		err = &e;
	if (err != NULL) {
		r->exit_code = leash_failed(err);
		loop_stop(c->loop);
		return;
	}
	loop_timer_start(r->links, LINK_LOOK_MS, LINK_LOOK_MS);
	brain_recover(c->brain);
	leash_ready(r->leash, first ? STR("a first admin key was made") : STR(""));
}

static int
build(struct role *r, struct err *e)
{
	struct control *c = &r->c;
	char dir[LIM_PATH];
	if (!str_copy_z(c->data_dir, dir, sizeof(dir)))
		return err_set(e, ERR_INVALID, "control: data_dir is too long");
	c->started_us = clock_wall_us();
	int rc = loop_new(&c->loop, e);
	struct store_opts so = {.dir = dir,
		.owner = c,
		.on_commit = on_commit,
		.on_deleted = on_deleted,
		.on_failed = on_failed};
	rc = rc == 0 ? store_open(&c->store, c->loop, &so, e) : rc;
	rc = rc == 0 ? build_brain(c, e) : rc;
	rc = rc == 0 ? streams_new(&c->streams, c, e) : rc;
	if (rc == 0 && (r->links = loop_timer_new(c->loop, on_links, r)) == NULL)
		rc = err_set(e, ERR_NO_MEMORY, "out of memory");
	struct leash_ops lo = {.owner = r, .on_peer = on_peer, .on_stop = on_stop};
	rc = rc == 0 ? leash_attach(&r->leash, c->loop, &lo, e) : rc;
	if (rc < 0)
		return rc;
	for (size_t i = 0; i < r->start.n_peers; i++)
		brain_set_peer(c->brain, r->start.peers[i].name, MOVE_FD(r->start.peers[i].fd));
	return auth_start(c, on_auth_ready, e);
}

static int
enter(struct role *r, struct err *e)
{
	r->listen_fd = -1;
	int rc = leash_start(&r->start, e);
	rc = rc == 0 ? take_config(r, e) : rc;
	if (rc < 0)
		return rc;
	for (size_t i = 0; i < r->start.n_listens; i++) {
		if (str_eqz(STR("api"), r->start.listens[i].name))
			r->listen_fd = MOVE_FD(r->start.listens[i].fd);
	}
	if (r->listen_fd < 0)
		return err_set(e, ERR_INVALID, "control: no listening socket");
	char dir[LIM_PATH];
	if (!str_copy_z(r->c.data_dir, dir, sizeof(dir)))
		return err_set(e, ERR_INVALID, "control: data_dir is too long");
	const char *rw[] = {dir, NULL};
	struct confine_opts o = {.profile = CONFINE_CONTROL,
		.uid = (unsigned)json_get_int(r->c.config, "uid", 0),
		.gid = (unsigned)json_get_int(r->c.config, "gid", 0),
		.empty_netns = true,
		.rw = rw};
	return confine(&o, e);
}

static void
leave(struct role *r)
{
	struct control *c = &r->c;
	loop_timer_free(r->links);
	r->leaving = true;
	/* Requests outlive the server until they are answered. Closing the store makes its last callbacks,
	 * which answer them and lead into the brain. */
	server_free(c->server);
	streams_free(c->streams);
	brain_stop(c->brain);
	store_close(c->store);
	brain_free(c->brain);
	auth_free(c->auth);
	leash_free(r->leash);
	leash_start_done(&r->start);
	free(c->models);
	free(c->patterns);
	json_free(c->config);
	loop_free(c->loop);
}

int
control_main(void)
{
	struct err e = {0};
	struct role *r = calloc(1, sizeof(*r));
	if (r == NULL)
		return err_exit_code(ERR_NO_MEMORY);
	log_setup("control", LOG_INFO, STDERR_FILENO);
	/* Few arenas and prompt return of memory: idle, this role is to be small. */
	(void)mallopt(M_ARENA_MAX, 2);
	(void)mallopt(M_TRIM_THRESHOLD, 1 << 20);
	int rc = enter(r, &e);
	rc = rc == 0 ? build(r, &e) : rc;
	if (rc < 0)
		r->exit_code = leash_failed(&e);
	else
		loop_run(r->c.loop);
	int code = r->exit_code;
	leave(r);
	free(r);
	return code;
}
