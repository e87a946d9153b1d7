/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/serve.h"

#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/cmd.h"
#include "supervise/key.h"

#define CONFIG_DEFAULT "/etc/pinfold/pinfold.yaml"

struct serve_opts {
	const char *data;
	const char *listen;
	const char *config;
	const char *log;
};

static const struct cmd_opt serve_options[] = {
	{"data", "DIR", "data directory (/var/lib/pinfold)", offsetof(struct serve_opts, data)},
	{"listen", "HOST:PORT", "address of the API (127.0.0.1:8400); port 0 picks one",
		offsetof(struct serve_opts, listen)},
	{"config", "FILE", "configuration (" CONFIG_DEFAULT ", if there is one)",
		offsetof(struct serve_opts, config)},
	{"log", "text|json", "json: no lines for people, only the log on stderr",
		offsetof(struct serve_opts, log)},
	{NULL, NULL, NULL, 0},
};

/* ---- keys ---- */

/* A variable can be taken only once: the key of an earlier provider that names the same one, again. */
static int
take_env(const struct serve *s, const struct config_provider *p, int *fd, struct err *e)
{
	for (const struct config_provider *q = s->config->providers; q < p; q++) {
		const struct supervise_secret *x = serve_secret(s, q->name);

		if (!x || !q->key_env || !str_eqz(str_z(p->key_env), q->key_env))
			continue;
		*fd = fcntl(x->fd, F_DUPFD_CLOEXEC, 0);
		return *fd < 0 ? err_os(e, "%.100s", p->key_env) : 0;
	}
	return key_take_env(p->key_env, fd, e);
}

/* Takes the provider's key out of the environment or its file. *missing tells that its source holds none. */
static int
take_key(struct serve *s, const struct config_provider *p, bool *missing, struct err *e)
{
	struct supervise_secret *x = &s->secrets[s->n_secrets];
	int rc;

	*missing = false;
	if (!p->key_env && !p->key_file)
		return 0;
	rc = p->key_env ? take_env(s, p, &x->fd, e) : key_take_file(p->key_file, &x->fd, e);
	if (rc < 0)
		return err_wrap(e, "provider %s", p->name);
	*missing = x->fd < 0;
	if (*missing)
		return 0;
	if (!str_copy_z(str_z(p->name), x->name, sizeof(x->name)))
		return err_set(e, ERR_INVALID, "provider %.60s: the name is too long", p->name);
	s->n_secrets++;
	return 0;
}

/* One line a provider, for the operator. */
static void
describe(struct buf *b, const struct config_provider *p, bool missing)
{
	const char *from = p->key_env ? p->key_env : p->key_file;

	buf_printf(b, "%-12s %s %s", "provider", p->name, p->url);
	if (missing)
		buf_printf(b, ": no key, set %s and start again\n", from);
	else if (from)
		buf_printf(b, ", key from %s\n", from);
	else
		buf_put_z(b, ", without a key\n");
}

static int
take_keys(struct serve *s, struct buf *greeting, struct err *e)
{
	const struct config *c = s->config;
	bool any = false;

	for (unsigned i = 0; i < c->n_providers; i++) {
		bool missing;
		int rc = take_key(s, &c->providers[i], &missing, e);

		if (rc < 0)
			return rc;
		any = any || !missing;
		if (s->json)
			log_info("serve.provider", LOG_Z("name", c->providers[i].name),
				LOG_Z("url", c->providers[i].url),
				LOG_Z("key", missing ? "missing" : "ready"));
		describe(greeting, &c->providers[i], missing);
	}
	if (c->puppet)
		buf_printf(greeting, "%-12s puppet, built in, needs no key\n", "provider");
	if (!any && c->puppet)
		buf_put_z(greeting, "No provider has a key: only the scripted model puppet will answer.\n");
	return 0;
}

static void
drop_keys(struct serve *s)
{
	for (size_t i = 0; i < s->n_secrets; i++)
		fd_close(s->secrets[i].fd);
}

/* ---- the guest binary ---- */

/* Beside this program as installed, or where the build puts it. */
void
serve_find_guest(struct serve *s)
{
	static const char *const places[] = {"pinfold-guest", "../guest/pinfold-guest",
		"../libexec/pinfold/pinfold-guest", "../lib/pinfold/pinfold-guest",
		"src/guest/pinfold-guest"};
	char self[PATH_MAX], path[PATH_MAX + 64], real[PATH_MAX];
	ssize_t n = readlink("/proc/self/exe", self, sizeof(self) - 1);

	if (s->config->sandbox.guest) {
		snprintf(s->guest, sizeof(s->guest), "%s", s->config->sandbox.guest);
		return;
	}
	self[n > 0 ? n : 0] = 0;
	char *slash = strrchr(self, '/');

	if (slash)
		*slash = 0;
	for (size_t i = 0; i < ARRAY_LEN(places); i++) {
		snprintf(path, sizeof(path), "%s/%s", self, places[i]);
		if (realpath(path, real) && access(real, X_OK) == 0) {
			snprintf(s->guest, sizeof(s->guest), "%s", real);
			return;
		}
	}
	/* hands says that it is not there. */
	snprintf(s->guest, sizeof(s->guest), "/usr/libexec/pinfold/pinfold-guest");
}

/* ---- the runtime ---- */

/* hands executes it by its path only. */
void
serve_find_runsc(struct serve *s)
{
	const char *env = getenv("PATH");
	struct str dirs[] = {str_z(env), STR("/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin")};
	const char *name = s->config->sandbox.runsc;

	for (size_t i = 0; !strchr(name, '/') && i < ARRAY_LEN(dirs); i++) {
		while (dirs[i].p) {
			struct str dir = str_next(&dirs[i], ':');

			snprintf(s->runsc, sizeof(s->runsc), "%.*s/%s", STRF(dir), name);
			if (dir.n > 0 && dir.p[0] == '/' && access(s->runsc, X_OK) == 0)
				return;
		}
	}
	/* hands says that it is not there. */
	snprintf(s->runsc, sizeof(s->runsc), "%s%s", strchr(name, '/') ? "" : "/usr/bin/", name);
}

/* ---- serve ---- */

static int
parse_log(const char *text, bool *json, struct err *e)
{
	*json = text && strcmp(text, "json") == 0;
	if (text && !*json && strcmp(text, "text") != 0)
		return err_set(e, ERR_INVALID, "--log must be text or json");
	return 0;
}

int
serve_config(const char *path, struct config **out, struct err *e)
{
	if (!path && access(CONFIG_DEFAULT, F_OK) == 0)
		path = CONFIG_DEFAULT;
	return config_load(path, out, e);
}

/* Prefers what stands on the command line. */
static int
load(const struct serve_opts *o, struct config **out, struct err *e)
{
	int rc = serve_config(o->config, out, e);

	if (rc < 0)
		return rc;
	if (o->listen)
		(*out)->listen = o->listen;
	if (o->data)
		(*out)->data = o->data;
	return 0;
}

static int
serve(const struct serve_opts *o, int *exit_code, struct err *e)
{
	AUTO(config) struct config *c = NULL;
	AUTO(buf) struct buf greeting = {0};
	struct serve s = {0};

	buf_init(&greeting, 64 * 1024);
	int rc = parse_log(o->log, &s.json, e);

	if (rc == 0)
		rc = load(o, &c, e);
	if (rc < 0)
		return rc;
	s.config = c;
	serve_find_guest(&s);
	serve_find_runsc(&s);
	buf_printf(&greeting, "%-12s %s (first key: admin.key)\n", "data", c->data);
	rc = take_keys(&s, &greeting, e);
	buf_put_c(&greeting, 0);
	struct supervise_opts so = {
		.data_dir = c->data,
		.listen = c->listen,
		.uid_base = c->uid_base,
		.puppet = c->puppet,
		.json_log = s.json,
		.level = c->level,
		.greeting = greeting.fail ? "" : greeting.p,
		.secrets = s.secrets,
		.n_secrets = s.n_secrets,
		.arg = &s,
		.slice = serve_slice,
	};

	if (rc == 0)
		rc = supervise_run(&so, exit_code, e);
	drop_keys(&s);
	return rc;
}

static int
run_serve(const struct cmd *c, int argc, char **argv)
{
	struct serve_opts o = {0};
	struct err e = {0};
	int exit_code = 0;
	int rc = cmd_parse(c, &argc, argv, &o, &e);

	if (rc == CMD_DONE)
		return 0;
	if (rc == 0 && argc > 1)
		rc = err_set(&e, ERR_INVALID, "serve takes no argument \"%.80s\"", argv[1]);
	if (rc == 0)
		rc = serve(&o, &exit_code, &e);
	return rc < 0 ? cmd_fail(c, &e) : exit_code;
}

const struct cmd cmds_serve[] = {
	{
		.name = "serve",
		.args = "[--data DIR] [--listen HOST:PORT] [--config FILE] [--log text|json]",
		.summary = "Start the server",
		.run = run_serve,
		.opts = serve_options,
		.help = "Keys of model providers are taken from the environment (ANTHROPIC_API_KEY by "
			"default) or from files named in\n"
			"the configuration. SIGTERM stops within 10 seconds, a second one at once.\n",
	},
	{.name = NULL},
};
