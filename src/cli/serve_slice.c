/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/serve.h"

#include <stdio.h>

#include "base/hash.h"
#include "base/json.h"

enum { HANDS_DIR_REAL_MAX = 180 };

const struct supervise_secret *
serve_secret(const struct serve *s, const char *provider)
{
	for (size_t i = 0; i < s->n_secrets; i++)
		if (str_eqz(str_z(s->secrets[i].name), provider))
			return &s->secrets[i];
	return NULL;
}

static void
put_ids(struct json_w *w, const struct supervise_place *at)
{
	jw_kint(w, "uid", at->uid);
	jw_kint(w, "gid", at->gid);
}

/* ---- control ---- */

static void
put_models(struct json_w *w, const struct config *c)
{
	jw_key(w, "models");
	jw_arr(w);
	for (unsigned i = 0; i < c->n_models; i++) {
		const struct config_model *m = &c->models[i];

		if (!c->puppet && str_eqz(str_z(m->id), "puppet"))
			continue;
		jw_obj(w);
		jw_kz(w, "id", m->id);
		jw_kz(w, "display_name", m->display_name);
		jw_kint(w, "max_input_tokens", (int64_t)m->max_input_tokens);
		jw_kint(w, "max_tokens", (int64_t)m->max_tokens);
		jw_obj_end(w);
	}
	jw_arr_end(w);
}

static void
put_patterns(struct json_w *w, const char *name, const char *const *models, unsigned n)
{
	jw_obj(w);
	jw_kz(w, "name", name);
	jw_key(w, "models");
	jw_arr(w);
	for (unsigned i = 0; i < n; i++)
		jw_z(w, models[i]);
	jw_arr_end(w);
	jw_obj_end(w);
}

/* The puppet stands first, so that its names can be caught by nobody else's pattern. */
static void
put_routes(struct json_w *w, const struct config *c)
{
	static const char *const puppet[] = {"puppet", "puppet-*"};

	jw_key(w, "providers");
	jw_arr(w);
	if (c->puppet)
		put_patterns(w, "puppet", puppet, (unsigned)ARRAY_LEN(puppet));
	for (unsigned i = 0; i < c->n_providers; i++)
		put_patterns(w, c->providers[i].name, c->providers[i].models, c->providers[i].n_models);
	jw_arr_end(w);
}

static void
put_control(struct json_w *w, const struct config *c, const struct supervise_place *at)
{
	const struct config_sandbox *x = &c->sandbox;

	jw_kz(w, "data_dir", at->control_dir);
	jw_kz(w, "listen", at->listen_url);
	jw_kbool(w, "puppet", c->puppet);
	if (c->default_model)
		jw_kz(w, "default_model", c->default_model);
	put_models(w, c);
	put_routes(w, c);
	jw_key(w, "sandbox");
	jw_obj(w);
	jw_kz(w, "image", "");
	jw_kint(w, "memory", (int64_t)x->memory_bytes);
	jw_kint(w, "pids", (int64_t)x->pids);
	jw_kint(w, "disk", (int64_t)x->disk_bytes);
	jw_kint(w, "cpu", (int64_t)x->cpu_milli);
	jw_obj_end(w);
}

/* ---- hands ---- */

static void
put_hands(struct json_w *w, const struct serve *s, const struct supervise_place *at)
{
	const struct config_sandbox *x = &s->config->sandbox;
	char real[HANDS_DIR_REAL_MAX], cgroup[64], hex[HASH_HEX];
	struct hash h = hash_of(str_z(at->data_dir));
	int n = snprintf(real, sizeof(real), "%s/hands", at->data_dir);

	/* Messages to the operator read better with the real path, when it is not too long for sockets and
	 * mounts. */
	jw_kz(w, "data_dir", n < HANDS_DIR_REAL_MAX ? real : at->hands_dir);
	jw_kz(w, "run_dir", at->run_dir);
	/* The short paths are the same in every server's namespace; cgroups have no such namespace. */
	snprintf(cgroup, sizeof(cgroup), "pinfold-%.12s", hash_hex(&h, hex));
	jw_kz(w, "cgroup_parent", cgroup);
	jw_kz(w, "guest_binary", s->guest);
	jw_kz(w, "runsc", *s->runsc ? s->runsc : x->runsc);
	jw_kz(w, "platform", x->platform);
	if (x->image)
		jw_kz(w, "image_dir", x->image);
	jw_kint(w, "pool_size", (int64_t)x->pool);
	jw_kint(w, "idle_ms", (int64_t)x->idle_ms);
	jw_key(w, "limits");
	jw_obj(w);
	jw_kint(w, "memory", (int64_t)x->memory_bytes);
	jw_kint(w, "pids", (int64_t)x->pids);
	jw_kint(w, "disk", (int64_t)x->disk_bytes);
	jw_kint(w, "cpu_milli", (int64_t)x->cpu_milli);
	jw_kint(w, "wall_ms", (int64_t)x->wall_ms);
	jw_obj_end(w);
}

/* ---- gate ---- */

static void
put_provider(struct json_w *w, const struct serve *s, const struct config_provider *p)
{
	bool keyless = !p->key_env && !p->key_file;
	bool has = serve_secret(s, p->name) != NULL;

	jw_obj(w);
	jw_kz(w, "name", p->name);
	jw_kz(w, "url", p->url);
	jw_kz(w, "auth", keyless ? "none" : p->auth == CONFIG_AUTH_BEARER ? "bearer" : "x-api-key");
	if (!keyless && has)
		jw_kz(w, "secret", p->name);
	if (!keyless && !has)
		jw_kz(w, "key_from", p->key_env ? p->key_env : p->key_file);
	if (p->proxy)
		jw_kz(w, "proxy", p->proxy);
	jw_kint(w, "idle_ms", (int64_t)p->idle_ms);
	jw_kint(w, "total_ms", (int64_t)p->total_ms);
	jw_obj_end(w);
}

static void
put_gate(struct json_w *w, const struct serve *s, const struct supervise_place *at)
{
	jw_key(w, "providers");
	jw_arr(w);
	if (*at->puppet_url) {
		jw_obj(w);
		jw_kz(w, "name", "puppet");
		jw_kz(w, "url", at->puppet_url);
		jw_kz(w, "auth", "none");
		jw_obj_end(w);
	}
	for (unsigned i = 0; i < s->config->n_providers; i++)
		put_provider(w, s, &s->config->providers[i]);
	jw_arr_end(w);
}

int
serve_slice(void *arg, const char *role, const struct supervise_place *at, struct buf *out, struct err *e)
{
	const struct serve *s = arg;
	struct json_w w = json_w(out);

	jw_obj(&w);
	put_ids(&w, at);
	if (str_eqz(str_z(role), "control"))
		put_control(&w, s->config, at);
	else if (str_eqz(str_z(role), "hands"))
		put_hands(&w, s, at);
	else if (str_eqz(str_z(role), "gate"))
		put_gate(&w, s, at);
	jw_obj_end(&w);
	return buf_check(out, e);
}
