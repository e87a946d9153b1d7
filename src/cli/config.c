/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/config.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/limits.h"
#include "cli/config_schema.h"
#include "supervise/supervise.h"

enum { FILE_MAX = 1024 * 1024, UID_MIN = 1000, UID_MAX = 2000000000 };

struct owned_config {
	struct config c; /* first: config_free gets a pointer to it */
	struct arena *arena;
};

/* Where a value stands, for messages. */
struct check {
	struct owned_config *o;
	const char *file;
	struct err *e;
};

static int bad(const struct check *k, const char *path, const char *fmt, ...) PRINTF_FMT(3, 4);

static int
bad(const struct check *k, const char *path, const char *fmt, ...)
{
	char text[160];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	return err_set(k->e, ERR_INVALID, "%.80s: %s: %s", k->file, path, text);
}

/* ---- values ---- */

struct unit {
	const char *name;
	uint64_t factor;
};

static bool
with_unit(struct str s, const struct unit units[], uint64_t *out)
{
	size_t digits = 0;
	uint64_t n;

	while (digits < s.n && s.p[digits] >= '0' && s.p[digits] <= '9')
		digits++;
	if (!str_to_u64(str_sub(s, 0, digits), &n))
		return false;
	for (const struct unit *u = units; u->name; u++)
		if (str_eqz(str_sub(s, digits, s.n), u->name))
			return !__builtin_mul_overflow(n, u->factor, out);
	return false;
}

bool
config_bytes(struct str s, uint64_t *out)
{
	static const struct unit units[] = {{"", 1}, {"K", KIB}, {"KiB", KIB}, {"M", MIB}, {"MiB", MIB},
		{"G", GIB}, {"GiB", GIB}, {"T", 1024 * GIB}, {"TiB", 1024 * GIB}, {NULL, 0}};

	return with_unit(s, units, out);
}

bool
config_millis(struct str s, uint64_t *out)
{
	static const struct unit units[] = {{"ms", 1}, {"s", 1000}, {"m", 60000}, {"h", 3600000}, {NULL, 0}};

	return with_unit(s, units, out);
}

bool
config_thousandths(struct str s, uint64_t *out)
{
	struct str rest = s;
	struct str whole = str_next(&rest, '.');
	uint64_t w, f = 0;

	if (!str_to_u64(whole, &w) || w > 100000)
		return false;
	if (rest.p && (rest.n > 3 || !str_to_u64(rest, &f)))
		return false;
	for (size_t i = rest.n; rest.p && i < 3; i++)
		f *= 10;
	*out = w * 1000 + f;
	return true;
}

/* A copy that lives as long as the configuration; NULL stays NULL. */
static const char *
keep(const struct check *k, const char *z)
{
	return z ? arena_dup_z(k->o->arena, str_z(z)) : NULL;
}

static const char *
keep_or(const struct check *k, const char *z, const char *otherwise)
{
	return keep(k, z ? z : otherwise);
}

static bool
is_name(struct str s)
{
	for (size_t i = 0; i < s.n; i++) {
		char c = s.p[i];

		if (!((c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' || c == '_'))
			return false;
	}
	return s.n > 0;
}

static bool
is_env_name(struct str s)
{
	for (size_t i = 0; i < s.n; i++) {
		char c = s.p[i];
		bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_';

		if (!letter && !(i > 0 && c >= '0' && c <= '9'))
			return false;
	}
	return s.n > 0;
}

/* Visible ASCII without quotes: what may stand in a URL, a pattern or a model's name. */
static bool
is_visible(struct str s)
{
	for (size_t i = 0; i < s.n; i++)
		if (s.p[i] <= ' ' || s.p[i] > '~' || s.p[i] == '"')
			return false;
	return s.n > 0;
}

static int
check_url(const struct check *k, const char *path, const char *url)
{
	struct str u = str_z(url);
	struct str rest = str_starts(u, STR("https://"))  ? str_sub(u, 8, u.n)
			  : str_starts(u, STR("http://")) ? str_sub(u, 7, u.n)
							  : STR_NULL;
	struct str host = str_sub(rest, 0, str_find(rest, '/'));

	if (!is_visible(u) || !host.n)
		return bad(k, path, "must be http://HOST[:PORT][/PATH] or https://…");
	if (str_find(host, '@') != host.n)
		return bad(k, path, "must not hold a user name or password: use key_env or key_file");
	if (str_find(u, '?') != u.n || str_find(u, '#') != u.n)
		return bad(k, path, "must have neither query nor fragment");
	return 0;
}

struct ranged {
	const char *path;
	const char *text; /* as written, or NULL */
	bool (*parse)(struct str s, uint64_t *out);
	uint64_t least, most;
	uint64_t *to;
	const char *example;
};

static int
load_ranged(const struct check *k, const struct ranged *r)
{
	uint64_t v;

	if (!r->text)
		return 0;
	if (!r->parse(str_z(r->text), &v))
		return bad(k, r->path, "\"%.40s\" is not understood, write it like %s", r->text, r->example);
	if (v < r->least || v > r->most)
		return bad(k, r->path, "%.40s is out of range", r->text);
	*r->to = v;
	return 0;
}

/* ---- providers and models ---- */

static int
load_patterns(
	const struct check *k, const char *path, const struct raw_provider *r, struct config_provider *p)
{
	p->models = arena_alloc_n(k->o->arena, r->models_count, sizeof(*p->models));
	for (unsigned i = 0; i < r->models_count && p->models; i++) {
		struct str m = str_z(r->models[i]);
		size_t star = str_find(m, '*');

		if (!is_visible(m) || (star != m.n && star + 1 != m.n))
			return bad(k, path, "\"%.60s\" is no model name: a '*' may stand only at the end",
				r->models[i]);
		p->models[p->n_models++] = keep(k, r->models[i]);
	}
	return 0;
}

static int
load_source(const struct check *k, const char *path, const struct raw_provider *r, struct config_provider *p)
{
	if (r->key_env && r->key_file)
		return bad(k, path, "has both key_env and key_file");
	if (r->key_env && !is_env_name(str_z(r->key_env)))
		return bad(k, path, "key_env must be the name of an environment variable");
	if (r->key_file && r->key_file[0] != '/')
		return bad(k, path, "key_file must be an absolute path");
	p->key_env = keep(k, r->key_env);
	p->key_file = keep(k, r->key_file);
	struct str auth = str_z(r->auth ? r->auth : "x-api-key");

	if (!str_eqz(auth, "x-api-key") && !str_eqz(auth, "bearer"))
		return bad(k, path, "auth must be x-api-key or bearer");
	p->auth = str_eqz(auth, "bearer") ? CONFIG_AUTH_BEARER : CONFIG_AUTH_X_API_KEY;
	return 0;
}

static int
load_times(const struct check *k, const char *path, const struct raw_provider *r, struct config_provider *p)
{
	char idle[80], total[80];
	const struct ranged values[] = {
		{idle, r->idle, config_millis, 100, 86400000, &p->idle_ms, "2m"},
		{total, r->total, config_millis, 100, 86400000, &p->total_ms, "2h"},
	};
	int rc = 0;

	snprintf(idle, sizeof(idle), "%s.idle", path);
	snprintf(total, sizeof(total), "%s.total", path);
	p->idle_ms = LIM_MODEL_IDLE_MS;
	p->total_ms = LIM_MODEL_TOTAL_MS;
	for (size_t i = 0; rc == 0 && i < ARRAY_LEN(values); i++)
		rc = load_ranged(k, &values[i]);
	return rc;
}

static int
load_provider(const struct check *k, unsigned i, const struct raw_provider *r)
{
	struct config *c = &k->o->c;
	struct config_provider *p = &c->providers[i];
	struct str url = str_z(r->url ? r->url : "https://api.anthropic.com");
	char path[64];

	snprintf(path, sizeof(path), "providers[%u]", i);
	if (!is_name(str_z(r->name)))
		return bad(k, path, "name must consist of a-z, 0-9, - and _");
	if (str_eqz(str_z(r->name), "puppet"))
		return bad(k, path, "the name puppet is taken by the built-in model");
	for (unsigned j = 0; j < i; j++)
		if (str_eqz(str_z(r->name), c->providers[j].name))
			return bad(k, path, "a second provider has the name %s", r->name);
	if (str_ends(url, STR("/")))
		url.n--;
	p->name = keep(k, r->name);
	p->url = arena_dup_z(k->o->arena, url);
	p->proxy = keep(k, r->proxy);
	int rc = p->url ? check_url(k, path, p->url) : 0;

	if (rc == 0 && p->proxy)
		rc = check_url(k, path, p->proxy);
	if (rc == 0)
		rc = load_source(k, path, r, p);
	if (rc == 0)
		rc = load_times(k, path, r, p);
	return rc < 0 ? rc : load_patterns(k, path, r, p);
}

static int
load_providers(const struct check *k, const struct raw_config *r)
{
	char name[] = "anthropic", env[] = "ANTHROPIC_API_KEY", all[] = "claude-*";
	char *models[] = {all};
	const struct raw_provider dflt = {.name = name, .key_env = env, .models = models, .models_count = 1};
	const struct raw_provider *from = r->providers ? r->providers : &dflt;
	unsigned n = r->providers ? r->providers_count : 1;
	int rc = 0;

	k->o->c.providers = arena_alloc_n(k->o->arena, n, sizeof(struct config_provider));
	for (unsigned i = 0; rc == 0 && i < n && k->o->c.providers; i++) {
		rc = load_provider(k, i, &from[i]);
		k->o->c.n_providers++;
	}
	return rc;
}

static const struct config_model default_models[] = {
	{"puppet", "Puppet (scripted)", 1000000, 64000},
	{"claude-opus-5-5", "Claude Opus 5.5", 200000, 64000},
	{"claude-sonnet-5-5", "Claude Sonnet 5.5", 200000, 64000},
	{"claude-haiku-5-5", "Claude Haiku 5.5", 200000, 64000},
};

static int
load_model(const struct check *k, unsigned i, const struct raw_model *r)
{
	struct config *c = &k->o->c;
	char path[64];

	snprintf(path, sizeof(path), "models[%u]", i);
	if (!is_visible(str_z(r->id)) || strlen(r->id) > LIM_ID)
		return bad(k, path, "id must be at most %d visible characters", LIM_ID);
	for (unsigned j = 0; j < i; j++)
		if (str_eqz(str_z(r->id), c->models[j].id))
			return bad(k, path, "a second model has the id %s", r->id);
	c->models[i] = (struct config_model){
		.id = keep(k, r->id),
		.display_name = keep_or(k, r->display_name, r->id),
		.max_input_tokens = r->max_input_tokens,
		.max_tokens = r->max_tokens,
	};
	if (c->models[i].max_input_tokens > INT64_MAX || c->models[i].max_tokens > INT64_MAX)
		return bad(k, path, "a number of tokens is out of range");
	return 0;
}

static int
load_models(const struct check *k, const struct raw_config *r)
{
	struct config *c = &k->o->c;
	unsigned n = r->models ? r->models_count : (unsigned)ARRAY_LEN(default_models);
	int rc = 0;

	c->models = arena_alloc_n(k->o->arena, n, sizeof(*c->models));
	for (unsigned i = 0; rc == 0 && i < n && c->models; i++) {
		if (r->models)
			rc = load_model(k, i, &r->models[i]);
		else
			c->models[i] = default_models[i];
		c->n_models++;
	}
	return rc;
}

/* ---- sandbox ---- */

static int
load_counts(const struct check *k, const struct raw_sandbox *r, struct config_sandbox *s)
{
	if (r->pids && (*r->pids < 64 || *r->pids > 65536))
		return bad(k, "sandbox.pids", "must be 64 to 65536");
	if (r->pool && *r->pool > 64)
		return bad(k, "sandbox.pool", "must be 0 to 64");
	s->pids = r->pids ? *r->pids : s->pids;
	s->pool = r->pool ? *r->pool : s->pool;
	return 0;
}

static int
load_sandbox(const struct check *k, const struct raw_sandbox *r)
{
	static const char *const platforms[] = {"auto", "systrap", "ptrace", "kvm", NULL};
	struct config_sandbox *s = &k->o->c.sandbox;
	const struct ranged values[] = {
		{"sandbox.memory", r->memory, config_bytes, 64 * MIB, 1024 * GIB, &s->memory_bytes, "2GiB"},
		{"sandbox.disk", r->disk, config_bytes, 16 * MIB, 64 * 1024 * GIB, &s->disk_bytes, "10GiB"},
		{"sandbox.cpu", r->cpu, config_thousandths, 10, 1000000, &s->cpu_milli, "1.5"},
		{"sandbox.wall", r->wall, config_millis, 1000, 365 * 86400000ull, &s->wall_ms, "24h"},
		{"sandbox.idle", r->idle, config_millis, 1000, 365 * 86400000ull, &s->idle_ms, "5m"},
	};
	int rc = 0;
	size_t p = 0;

	for (size_t i = 0; rc == 0 && i < ARRAY_LEN(values); i++)
		rc = load_ranged(k, &values[i]);
	if (rc == 0)
		rc = load_counts(k, r, s);
	while (r->platform && platforms[p] && !str_eqz(str_z(r->platform), platforms[p]))
		p++;
	if (rc == 0 && !platforms[p])
		return bad(k, "sandbox.platform", "must be auto, systrap, ptrace or kvm");
	if (rc == 0 && r->image && r->image[0] != '/')
		return bad(k, "sandbox.image", "must be an absolute path");
	if (rc == 0 && r->guest && r->guest[0] != '/')
		return bad(k, "sandbox.guest", "must be an absolute path");
	s->platform = keep_or(k, r->platform, "auto");
	s->runsc = keep_or(k, r->runsc, "runsc");
	s->image = keep(k, r->image);
	s->guest = keep(k, r->guest);
	return rc;
}

/* ---- the whole ---- */

static int
load_level(const struct check *k, const char *text)
{
	static const char *const names[] = {"debug", "info", "warn", "error"};

	for (size_t i = 0; i < ARRAY_LEN(names); i++)
		if (str_eqz(str_z(text ? text : "info"), names[i])) {
			k->o->c.level = (enum log_level)i;
			return 0;
		}
	return bad(k, "log", "must be debug, info, warn or error");
}

static int
load_top(const struct check *k, const struct raw_config *r)
{
	struct config *c = &k->o->c;
	struct err why;

	c->listen = keep_or(k, r->listen, "127.0.0.1:8400");
	c->data = keep_or(k, r->data, "/var/lib/pinfold");
	c->default_model = keep(k, r->default_model);
	c->puppet = !r->puppet || !r->puppet->enabled || *r->puppet->enabled;
	c->uid_base = 64800;
	c->sandbox = (struct config_sandbox){.memory_bytes = LIM_SANDBOX_MEMORY,
		.disk_bytes = LIM_SANDBOX_DISK,
		.pids = LIM_SANDBOX_PIDS,
		.wall_ms = LIM_SANDBOX_WALL_MS,
		.idle_ms = LIM_SANDBOX_IDLE_MS,
		.pool = 2};
	if (r->uid_base && (*r->uid_base < UID_MIN || *r->uid_base > UID_MAX))
		return bad(k, "uid_base", "must be %d to %d", UID_MIN, UID_MAX);
	if (r->uid_base)
		c->uid_base = (unsigned)*r->uid_base;
	if (supervise_check_listen(c->listen, &why) < 0)
		return bad(k, "listen", "%s", why.msg);
	return load_level(k, r->log);
}

static int
load_all(const struct check *k, const struct raw_config *r)
{
	static const struct raw_sandbox no_sandbox;
	int rc = load_top(k, r);

	if (rc == 0)
		rc = load_providers(k, r);
	if (rc == 0)
		rc = load_models(k, r);
	if (rc == 0)
		rc = load_sandbox(k, r->sandbox ? r->sandbox : &no_sandbox);
	return rc < 0 ? rc : arena_check(k->o->arena, k->e);
}

int
config_parse(struct str text, const char *name, struct config **out, struct err *e)
{
	static const struct raw_config nothing;
	AUTO(raw_config) struct raw_config *raw = NULL;
	int rc = raw_config_parse(text, name, &raw, e);

	if (rc < 0)
		return rc;
	struct owned_config *o = calloc(1, sizeof(*o));
	struct check k = {.o = o, .file = name, .e = e};

	if (!o || !(o->arena = arena_new(8 * MIB))) {
		free(o);
		return err_set(e, ERR_NO_MEMORY, "configuration");
	}
	rc = load_all(&k, raw ? raw : &nothing);
	if (rc < 0)
		config_free(&o->c);
	else
		*out = &o->c;
	return rc;
}

int
config_load(const char *path, struct config **out, struct err *e)
{
	if (!path)
		return config_parse(STR_NULL, "defaults", out, e);
	AUTO(fd) int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	AUTO(buf) struct buf b = {0};
	struct stat st;

	buf_init(&b, FILE_MAX);
	if (fd < 0 && errno == ENOENT)
		return err_set(e, ERR_NOT_FOUND, "there is no configuration file %.150s", path);
	if (fd < 0 || fstat(fd, &st) < 0)
		return err_os(e, "%.150s", path);
	if (!S_ISREG(st.st_mode))
		return err_set(e, ERR_INVALID, "%.150s is no regular file", path);
	for (ssize_t n = 1; n > 0;) {
		char *p = buf_reserve(&b, 16384);

		if (!p)
			return err_set(e, ERR_TOO_LARGE, "%.150s is over %d bytes", path, FILE_MAX);
		n = read(fd, p, 16384);
		if (n < 0)
			return err_os(e, "%.150s", path);
		b.n += (size_t)n;
	}
	return config_parse(buf_str(&b), path, out, e);
}

void
config_free(struct config *c)
{
	struct owned_config *o = (struct owned_config *)(void *)c;

	if (!o)
		return;
	arena_free(o->arena);
	free(o);
}
