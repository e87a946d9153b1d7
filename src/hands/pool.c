/* SPDX-License-Identifier: Apache-2.0 */
#include "hands/pool.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/limits.h"
#include "base/log.h"
#include "hands/role.h"

#define FILL_MS      200      /* from a wish to the first look at the machine */
#define PATIENCE_US  10000000 /* a busy machine does not hold the pool off for longer */
#define RETRY_MIN_MS 1000
#define RETRY_MAX_MS 60000
#define MEMORY_SPARE (256 * MIB) /* left over for others */

struct pool {
	struct hands *h;
	struct sandbox_key key;
	struct sandbox *list;
	struct loop_timer *timer;
	uint64_t wanted_since_us; /* 0: nothing is missing */
	uint64_t retry_ms;
	bool stopping;
};

static bool
key_equal(const struct sandbox_key *a, const struct sandbox_key *b)
{
	return strcmp(a->image, b->image) == 0 && strcmp(a->layer, b->layer) == 0 &&
	       a->limits.memory == b->limits.memory && a->limits.pids == b->limits.pids &&
	       a->limits.disk == b->limits.disk && a->limits.cpu_milli == b->limits.cpu_milli;
}

static void
unlink_one(struct pool *p, struct sandbox *s)
{
	for (struct sandbox **at = &p->list; *at; at = &(*at)->next) {
		if (*at != s)
			continue;
		*at = s->next;
		s->next = NULL;
		return;
	}
}

/* ---- is the machine busy? ---- */

static struct str
read_proc(const char *path, char *text, size_t cap)
{
	AUTO(fd) int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t n = fd < 0 ? -1 : read(fd, text, cap);

	return str_n(text, n > 0 ? (size_t)n : 0);
}

/* "0.52 0.58 0.59 1/467 12345": the tasks that run at this moment, ourselves among them. */
static bool
cpu_is_free(void)
{
	char text[128];
	struct str s = read_proc("/proc/loadavg", text, sizeof(text));
	uint64_t running = 0;

	for (int i = 0; i < 3; i++)
		(void)str_next(&s, ' ');
	if (!str_to_u64(str_next(&s, '/'), &running))
		return true;
	return running <= (uint64_t)sysconf(_SC_NPROCESSORS_ONLN);
}

static bool
memory_is_free(void)
{
	char text[4096];
	struct str s = read_proc("/proc/meminfo", text, sizeof(text));
	uint64_t kib = 0;

	while (s.n > 0) {
		struct str line = str_next(&s, '\n');

		if (!str_starts(line, STR("MemAvailable:")))
			continue;
		line = str_trim(str_sub(line, 13, line.n));
		if (str_to_u64(str_next(&line, ' '), &kib))
			return kib * KIB > MEMORY_SPARE;
	}
	return true;
}

/* ---- filling ---- */

static size_t
count_current(const struct pool *p)
{
	size_t n = 0;

	for (const struct sandbox *s = p->list; s; s = s->next)
		n += s->phase != SANDBOX_STOPPING && key_equal(&s->key, &p->key);
	return n;
}

static bool
is_starting(const struct pool *p)
{
	for (const struct sandbox *s = p->list; s; s = s->next)
		if (s->phase == SANDBOX_STARTING)
			return true;
	return false;
}

/* Those of another key are of no use any more. */
static void
drop_outdated(struct pool *p)
{
	for (struct sandbox *s = p->list; s; s = s->next)
		if (!key_equal(&s->key, &p->key))
			sandbox_stop(s, "stopped");
}

static void
arm(struct pool *p, uint64_t ms)
{
	if (!p->wanted_since_us)
		p->wanted_since_us = clock_mono_us();
	loop_timer_start(p->timer, ms, 0);
}

static void
on_timer(void *arg)
{
	struct pool *p = arg;
	const struct hands_env *env = &p->h->env;
	struct sandbox_start o = {.env = env, .key = &p->key, .ops = pool_sandbox_ops(p)};
	struct sandbox *s = NULL;
	struct err e = {0};

	status_send(p->h, false);
	if (p->stopping || !env->platform[0] || is_starting(p))
		return;
	if (count_current(p) >= env->cfg.pool_size) {
		p->wanted_since_us = 0;
		drop_outdated(p);
		return;
	}
	bool patient = clock_mono_us() - p->wanted_since_us < PATIENCE_US;

	if ((patient && !cpu_is_free()) || !memory_is_free()) {
		arm(p, FILL_MS);
		return;
	}
	if (sandbox_start(&s, &o, &e) < 0) {
		log_warn("pool.start", LOG_ERR(&e));
		arm(p, RETRY_MAX_MS);
		return;
	}
	s->next = p->list;
	p->list = s;
}

static void
on_ready(void *owner, struct sandbox *s)
{
	struct pool *p = owner;

	log_info("pool.ready", LOG_Z("sandbox", s->id.z), LOG_INT("workspace_us", s->launch.workspace_us),
		LOG_INT("mount_us", s->launch.mount_us), LOG_INT("runsc_us", s->launch.runsc_us));
	p->retry_ms = RETRY_MIN_MS;
	pool_fill(p);
	status_send(p->h, false);
}

static void
on_end(void *owner, struct sandbox *s, const struct sandbox_end *end)
{
	struct pool *p = owner;
	struct hands *h = p->h;

	unlink_one(p, s);
	if (!end->started)
		log_warn("pool.failed", LOG_Z("step", hands_step_name(end->step)), LOG_ERR(&end->err));
	else
		log_info("pool.gone", LOG_Z("sandbox", s->id.z), LOG_Z("reason", end->reason));
	sandbox_free(s);
	if (!p->stopping) {
		arm(p, p->retry_ms);
		if (!end->started)
			p->retry_ms = p->retry_ms * 2 < RETRY_MAX_MS ? p->retry_ms * 2 : RETRY_MAX_MS;
	}
	hands_settle(h);
}

struct sandbox_ops
pool_sandbox_ops(struct pool *p)
{
	return (struct sandbox_ops){.owner = p, .on_ready = on_ready, .on_end = on_end};
}

/* ---- the pool ---- */

struct pool *
pool_new(struct hands *h)
{
	struct pool *p = calloc(1, sizeof(*p));
	struct limits none = {0};

	if (!p)
		return NULL;
	p->h = h;
	p->retry_ms = RETRY_MIN_MS;
	p->key.limits = env_limits(&h->env, &none);
	p->timer = loop_timer_new(h->env.loop, on_timer, p);
	if (p->timer)
		return p;
	free(p);
	return NULL;
}

void
pool_free(struct pool *p)
{
	if (!p)
		return;
	while (p->list) {
		struct sandbox *s = p->list;

		p->list = s->next;
		sandbox_free(s);
	}
	loop_timer_free(p->timer);
	free(p);
}

void
pool_fill(struct pool *p)
{
	if (!p->stopping)
		arm(p, FILL_MS);
}

struct sandbox *
pool_take(struct pool *p, const struct sandbox_key *key)
{
	struct sandbox *s = p->list;

	if (p->h->env.cfg.pool_size == 0)
		return NULL;
	while (s && !(sandbox_is_up(s) && key_equal(&s->key, key)))
		s = s->next;
	if (s)
		unlink_one(p, s);
	p->key = *key;
	pool_fill(p);
	return s;
}

void
pool_adopt(struct pool *p, struct sandbox *s)
{
	s->next = p->list;
	p->list = s;
}

void
pool_stop(struct pool *p)
{
	p->stopping = true;
	loop_timer_stop(p->timer);
	for (struct sandbox *s = p->list; s; s = s->next)
		sandbox_stop(s, "stopped");
}

bool
pool_empty(const struct pool *p)
{
	return p->list == NULL;
}

bool
pool_has(const struct pool *p, const char *sandbox)
{
	for (const struct sandbox *s = p->list; s; s = s->next)
		if (strcmp(s->id.z, sandbox) == 0)
			return true;
	return false;
}

unsigned
pool_ready(const struct pool *p)
{
	unsigned n = 0;

	for (const struct sandbox *s = p->list; s; s = s->next)
		n += sandbox_is_up(s) ? 1 : 0;
	return n;
}
