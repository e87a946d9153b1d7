/* SPDX-License-Identifier: Apache-2.0 */
/*
 * `multiagent` (contract §20): shapes, defaults and merging. Stored references are
 * {"type":"agent","id",…,"version"}, version 0 while not pinned, and
 * {"type":"self"}; agent_render resolves the latter.
 */
#include "base/limits.h"
#include "model/agent.h"
#include "model/agent_parts.h"

#define ROSTER_MAX 20
#define MODEL_MAX  256

/* ---- rosters ---- */

enum entry_kind { ENTRY_AGENT, ENTRY_SELF, ENTRY_ADVISOR };

struct entry {
	enum entry_kind kind;
	struct str id; /* agent id, or the advisor's model */
	int64_t version;
};

static int
read_entry(const struct json_at *at, bool advisor, struct entry *out, struct err *e)
{
	static const char *const types[] = {"agent", "self", "advisor", NULL};
	static const char *const few[] = {"agent", "self", NULL};
	static const char *const members[][4] = {
		{"type", "id", "version", NULL}, {"type", NULL}, {"type", "model", NULL}};
	struct json_at type = json_member(at, "type"), id = json_member(at, "id"),
		       version = json_member(at, "version"), model = json_member(at, "model");
	int kind = 0, r;
	*out = (struct entry){0};
	if (json_kind(at->v) == JSON_STR)
		return json_want_str(at, 1, LIM_ID, &out->id, e);
	r = json_want_obj(at, e);
	if (r == 0)
		r = json_want_enum(&type, advisor ? types : few, &kind, e);
	if (r == 0)
		r = json_closed(at, members[kind], e);
	out->kind = (enum entry_kind)kind;
	if (r == 0 && kind == ENTRY_AGENT)
		r = json_want_str(&id, 1, LIM_ID, &out->id, e);
	if (r == 0 && kind == ENTRY_AGENT && json_set(&version))
		r = json_want_int(&version, 1, UINT32_MAX, &out->version, e);
	if (r == 0 && kind == ENTRY_ADVISOR)
		r = json_want_str(&model, 1, MODEL_MAX, &out->id, e);
	return r;
}

static void
write_entry(const struct entry *n, struct json_w *w)
{
	jw_obj(w);
	switch (n->kind) {
	case ENTRY_AGENT:
		jw_kz(w, "type", "agent");
		jw_kstr(w, "id", n->id);
		jw_kint(w, "version", n->version);
		break;
	case ENTRY_SELF:
		jw_kz(w, "type", "self");
		break;
	case ENTRY_ADVISOR:
		jw_kz(w, "type", "advisor");
		jw_kstr(w, "model", n->id);
		break;
	}
	jw_obj_end(w);
}

/* Two advisors, two selves or the same agent twice. */
static bool
clashes(const struct entry *a, const struct entry *b)
{
	return a->kind == b->kind && (a->kind != ENTRY_AGENT || str_eq(a->id, b->id));
}

static int
read_roster(const struct json_at *at, bool advisor, struct entry *all, size_t *n, struct err *e)
{
	int r = json_want_arr(at, ROSTER_MAX, n, e);
	for (size_t i = 0; r == 0 && i < *n; i++) {
		struct json_at entry = json_element(at, i);
		r = read_entry(&entry, advisor, &all[i], e);
		for (size_t k = 0; r == 0 && k < i; k++) {
			if (clashes(&all[k], &all[i]))
				r = json_fail(&entry, e, "the roster names this entry twice");
		}
	}
	return r;
}

/* The advisor is echoed last. */
static void
write_roster(const struct entry *all, size_t n, struct json_w *w)
{
	jw_arr(w);
	for (int last = 0; last < 2; last++) {
		for (size_t i = 0; i < n; i++) {
			if ((all[i].kind == ENTRY_ADVISOR) == (last == 1))
				write_entry(&all[i], w);
		}
	}
	jw_arr_end(w);
}

static int
write_coordinator(const struct json_at *at, struct json_w *w, struct err *e)
{
	static const char *const allowed[] = {"type", "agents", NULL};
	struct json_at agents = json_member(at, "agents");
	struct entry all[ROSTER_MAX];
	size_t n = 0;
	int r = json_closed(at, allowed, e);
	if (r == 0)
		r = read_roster(&agents, true, all, &n, e);
	if (r == 0 && n == 0)
		r = json_fail(&agents, e, "List should have at least 1 item");
	if (r < 0)
		return r;
	jw_obj(w);
	jw_kz(w, "type", "coordinator");
	jw_key(w, "agents");
	write_roster(all, n, w);
	jw_obj_end(w);
	return 0;
}

/* ---- multiagent_20261001: three switches, two of them with a roster ---- */

static const char *const switch_types[] = {"disabled", "enabled", NULL};

static int
write_advisor(const struct json_at *at, const struct json_t *keep, struct json_w *w, struct err *e)
{
	static const char *const off[] = {"type", NULL};
	static const char *const on[] = {"type", "model", NULL};
	struct json_at type = json_member(at, "type"), model = json_member(at, "model");
	struct str s = STR_NULL;
	int kind = 0, r = 0;
	if (!at->present && keep != NULL) {
		jw_kvalue(w, "advisor", keep);
		return 0;
	}
	if (json_set(at)) {
		r = json_want_obj(at, e);
		if (r == 0)
			r = json_want_enum(&type, switch_types, &kind, e);
		if (r == 0)
			r = json_closed(at, kind == 1 ? on : off, e);
		if (r == 0 && kind == 1)
			r = json_want_str(&model, 1, MODEL_MAX, &s, e);
	}
	if (r < 0)
		return r;
	jw_key(w, "advisor");
	jw_obj(w);
	jw_kz(w, "type", switch_types[kind]);
	if (kind == 1)
		jw_kstr(w, "model", s);
	jw_obj_end(w);
	return 0;
}

/* Whether inline agents are on: as given, else as kept, else on. */
static int
read_inline(const struct json_at *at, const struct json_t *keep, bool *on, struct err *e)
{
	static const char *const allowed[] = {"type", NULL};
	struct json_at type = json_member(at, "type");
	int kind = 1, r = 0;
	if (json_set(at)) {
		r = json_closed(at, allowed, e);
		if (r == 0)
			r = json_want_enum(&type, switch_types, &kind, e);
	} else if (!at->present && keep != NULL) {
		kind = str_eqz(json_get_str(keep, "type"), "enabled");
	}
	*on = kind == 1;
	return r;
}

static int
write_enabled(const struct json_at *at, const struct json_t *keep, struct json_w *w, struct err *e)
{
	struct json_at inl = json_member(at, "inline_agents"), list = json_member(at, "predefined_agents");
	const struct json_t *kept = list.present ? NULL : json_get(keep, "predefined_agents");
	struct entry all[ROSTER_MAX];
	size_t n = 0;
	bool on = true;
	int r = read_inline(&inl, json_get(keep, "inline_agents"), &on, e);
	if (r == 0 && json_set(&list))
		r = read_roster(&list, false, all, &n, e);
	if (r == 0 && !on && n == 0 && json_len(kept) == 0)
		r = json_fail(at, e, "with inline agents disabled, predefined_agents must not be empty");
	if (r < 0)
		return r;
	jw_obj(w);
	jw_kz(w, "type", "enabled");
	jw_key(w, "inline_agents");
	jw_obj(w);
	jw_kz(w, "type", on ? "enabled" : "disabled");
	jw_obj_end(w);
	jw_key(w, "predefined_agents");
	if (kept != NULL)
		jw_value(w, kept);
	else
		write_roster(all, n, w);
	jw_obj_end(w);
	return 0;
}

static int
write_switch(
	const struct json_at *up, const char *key, const struct json_t *keep, struct json_w *w, struct err *e)
{
	static const char *const off[] = {"type", NULL};
	static const char *const on[] = {"type", "inline_agents", "predefined_agents", NULL};
	struct json_at at = json_member(up, key), type = json_member(&at, "type");
	int kind = 1, r = 0;
	if (!at.present && keep != NULL) {
		jw_kvalue(w, key, keep);
		return 0;
	}
	if (json_set(&at)) {
		r = json_want_obj(&at, e);
		if (r == 0)
			r = json_want_enum(&type, switch_types, &kind, e);
		if (r == 0)
			r = json_closed(&at, kind == 1 ? on : off, e);
	}
	if (r < 0)
		return r;
	jw_key(w, key);
	if (kind == 1)
		return write_enabled(&at, json_set(&at) ? keep : NULL, w, e);
	jw_obj(w);
	jw_kz(w, "type", "disabled");
	jw_obj_end(w);
	return 0;
}

static int
write_20261001(const struct json_at *at, const struct json_t *keep, struct json_w *w, struct err *e)
{
	static const char *const allowed[] = {"type", "advisor", "subagents", "workflows", NULL};
	struct json_at advisor = json_member(at, "advisor");
	int r = json_closed(at, allowed, e);
	if (r < 0)
		return r;
	jw_obj(w);
	jw_kz(w, "type", "multiagent_20261001");
	r = write_advisor(&advisor, json_get(keep, "advisor"), w, e);
	if (r == 0)
		r = write_switch(at, "subagents", json_get(keep, "subagents"), w, e);
	if (r == 0)
		r = write_switch(at, "workflows", json_get(keep, "workflows"), w, e);
	if (r == 0)
		jw_obj_end(w);
	return r;
}

int
agent_part_multiagent(const struct json_at *at, const struct json_t *keep, struct json_w *w, struct err *e)
{
	static const char *const types[] = {"coordinator", "multiagent_20261001", NULL};
	struct json_at type = json_member(at, "type");
	int kind, r;
	if (!json_set(at)) {
		jw_null(w);
		return 0;
	}
	r = json_want_obj(at, e);
	if (r == 0)
		r = json_want_enum(&type, types, &kind, e);
	if (r < 0)
		return r;
	if (kind == 0)
		return write_coordinator(at, w, e);
	bool same = str_eqz(json_get_str(keep, "type"), "multiagent_20261001");
	return write_20261001(at, same ? keep : NULL, w, e);
}
