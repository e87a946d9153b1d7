/* SPDX-License-Identifier: Apache-2.0 */
#include "hands/config.h"

#include <stdio.h>

#include "base/hash.h"
#include "base/limits.h"

char *
hands_path(char dst[HANDS_PATH], const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	int n = vsnprintf(dst, HANDS_PATH, fmt, ap);
	va_end(ap);
	ASSERT(n > 0 && n < HANDS_PATH);
	return dst;
}

bool
hands_name_ok(struct str s)
{
	if (s.n == 0 || s.n >= HANDS_NAME_MAX || s.p[0] == '.' || s.p[0] == '-')
		return false;
	for (size_t i = 0; i < s.n; i++) {
		char c = s.p[i];
		bool ok = (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
			  c == '_' || c == '.' || c == '-';

		if (!ok)
			return false;
	}
	return true;
}

/* Characters that would be understood as separators by overlay's option parser are refused with the rest. */
static bool
plain_path(struct str s)
{
	for (size_t i = 0; i < s.n; i++)
		if ((unsigned char)s.p[i] < ' ' || s.p[i] == ',' || s.p[i] == ':' || s.p[i] == '\\')
			return false;
	return s.n > 0 && s.p[0] == '/';
}

struct text_member {
	const char *key;
	size_t offset, cap;
	bool required, path;
};

#define TEXT(k, required, path)                                                                             \
	{                                                                                                   \
#k, offsetof(struct hands_config, k), sizeof(((struct hands_config *)0)->k), required, path \
	}

static const struct text_member texts[] = {
	TEXT(data_dir, true, true),
	TEXT(run_dir, true, true),
	TEXT(guest_binary, true, true),
	TEXT(runsc, false, true),
	TEXT(platform, false, false),
	TEXT(image_dir, false, true),
	TEXT(images_dir, false, true),
	TEXT(layers_dir, false, true),
	TEXT(cgroup_parent, false, false),
	TEXT(pod_init_config, false, true),
};

static int
read_text(struct hands_config *c, const struct json_at *root, const struct text_member *m, struct err *e)
{
	struct json_at at = json_member(root, m->key);
	struct str s = STR_NULL;

	if (m->required || json_set(&at)) {
		int r = json_want_str(&at, m->required ? 1 : 0, m->cap - 1, &s, e);

		if (r < 0)
			return r;
	}
	if (s.n == 0)
		return 0;
	if (m->path && !plain_path(s))
		return json_fail(&at, e, "must be an absolute path without ',', ':' and '\\'");
	if (!str_copy_z(s, (char *)c + m->offset, m->cap))
		return json_fail(&at, e, "longer than %zu bytes", m->cap - 1);
	return 0;
}

struct number_member {
	const char *key;
	uint64_t min, max, dflt;
	size_t offset;
};

static const struct number_member numbers[] = {
	{"pool_size", 0, 64, 1, offsetof(struct hands_config, pool_size)},
	{"idle_ms", 100, LIM_SANDBOX_WALL_MS, LIM_SANDBOX_IDLE_MS, offsetof(struct hands_config, idle_ms)},
};

static const struct number_member limit_numbers[] = {
	{"memory", 64 * MIB, 1024 * GIB, LIM_SANDBOX_MEMORY, offsetof(struct hands_config, limits.memory)},
	{"pids", 64, 1000000, LIM_SANDBOX_PIDS, offsetof(struct hands_config, limits.pids)},
	{"disk", 64 * MIB, 16 * 1024 * GIB, LIM_SANDBOX_DISK, offsetof(struct hands_config, limits.disk)},
	{"cpu_milli", 0, 1000000, 0, offsetof(struct hands_config, limits.cpu_milli)},
	{"wall_ms", 100, 30 * (uint64_t)LIM_SANDBOX_WALL_MS, LIM_SANDBOX_WALL_MS,
		offsetof(struct hands_config, wall_ms)},
};

static int
read_numbers(struct hands_config *c, const struct json_at *at, const struct number_member *m, size_t n,
	struct err *e)
{
	for (size_t i = 0; i < n; i++) {
		struct json_at x = json_member(at, m[i].key);
		int64_t v = (int64_t)m[i].dflt;

		if (json_set(&x)) {
			int r = json_want_int(&x, (int64_t)m[i].min, (int64_t)m[i].max, &v, e);

			if (r < 0)
				return r;
		}
		*(uint64_t *)(void *)((char *)c + m[i].offset) = (uint64_t)v;
	}
	return 0;
}

/* What a member that was not given follows from others. */
static void
fill_defaults(struct hands_config *c)
{
	char hex[HASH_HEX];

	if (!c->runsc[0])
		hands_path(c->runsc, "/usr/bin/runsc");
	if (!c->platform[0])
		snprintf(c->platform, sizeof(c->platform), "auto");
	if (!c->images_dir[0])
		snprintf(c->images_dir, sizeof(c->images_dir), "%.190s/images", c->data_dir);
	if (!c->layers_dir[0])
		snprintf(c->layers_dir, sizeof(c->layers_dir), "%.190s/layers", c->data_dir);
	if (!c->image_dir[0])
		hands_path(c->image_dir, "%s/default", c->images_dir);
	if (!c->cgroup_parent[0]) {
		struct hash h = hash_of(str_z(c->run_dir));

		snprintf(c->cgroup_parent, sizeof(c->cgroup_parent), "pinfold-%.12s", hash_hex(&h, hex));
	}
}

int
hands_config_parse(struct hands_config *out, const struct json_t *v, struct err *e)
{
	struct hands_config c = {0};
	struct json_at root = json_root(v);
	struct json_at limits = json_member(&root, "limits");
	struct json_at req = json_member(&root, "require_limits");
	int r = json_want_obj(&root, e);

	for (size_t i = 0; r == 0 && i < ARRAY_LEN(texts); i++)
		r = read_text(&c, &root, &texts[i], e);
	if (r == 0)
		r = read_numbers(&c, &root, numbers, ARRAY_LEN(numbers), e);
	if (r == 0)
		r = read_numbers(&c, &limits, limit_numbers, ARRAY_LEN(limit_numbers), e);
	if (r == 0 && json_set(&req))
		r = json_want_bool(&req, &c.require_limits, e);
	if (r < 0)
		return err_wrap(e, "hands configuration");
	fill_defaults(&c);
	if (!hands_name_ok(str_z(c.cgroup_parent)))
		return err_set(e, ERR_INVALID, "hands configuration: cgroup_parent: not a plain name");
	*out = c;
	return 0;
}
