/* SPDX-License-Identifier: Apache-2.0 */
#include "model/environment.h"

#include "base/limits.h"
#include "model/domain.h"
#include "model/metadata.h"

#define PACKAGE_MAX 256

static const char *const managers[] = {"apt", "cargo", "gem", "go", "npm", "pip"};

/* ---- networking ---- */

static int
want_flag(const struct json_at *up, const char *key, const struct json_t *keep, bool *out, struct err *e)
{
	struct json_at at = json_member(up, key);
	*out = json_bool(json_get(keep, key), false);
	if (at.present && !json_set(&at))
		*out = false;
	return json_set(&at) ? json_want_bool(&at, out, e) : 0;
}

static int
check_hosts(const struct json_at *at, struct err *e)
{
	size_t n = 0;
	int r = json_want_arr(at, LIM_ENV_HOSTS, &n, e);
	for (size_t i = 0; r == 0 && i < n; i++) {
		struct json_at host = json_element(at, i);
		struct str s;
		r = json_want_str(&host, 1, LIM_ENV_NAME, &s, e);
		const char *why = r == 0 ? domain_refusal(s, DOMAIN_HOST) : NULL;
		if (why != NULL)
			r = json_fail(&host, e, "%s", why);
	}
	return r;
}

static int
write_limited(const struct json_at *at, const struct json_t *keep, struct json_w *w, struct err *e)
{
	static const char *const allowed[] = {
		"type", "allowed_hosts", "allow_mcp_servers", "allow_package_managers", NULL};
	struct json_at hosts = json_member(at, "allowed_hosts");
	const struct json_t *kept = hosts.present ? NULL : json_get(keep, "allowed_hosts");
	bool mcp = false, packages = false;
	int r = json_closed(at, allowed, e);
	if (r == 0 && json_set(&hosts))
		r = check_hosts(&hosts, e);
	if (r == 0)
		r = want_flag(at, "allow_mcp_servers", keep, &mcp, e);
	if (r == 0)
		r = want_flag(at, "allow_package_managers", keep, &packages, e);
	if (r < 0)
		return r;
	jw_key(w, "networking");
	jw_obj(w);
	jw_kz(w, "type", "limited");
	jw_key(w, "allowed_hosts");
	if (json_set(&hosts))
		jw_value(w, hosts.v);
	else if (kept != NULL)
		jw_value(w, kept);
	else
		jw_raw(w, STR("[]"));
	jw_kbool(w, "allow_mcp_servers", mcp);
	jw_kbool(w, "allow_package_managers", packages);
	jw_obj_end(w);
	return 0;
}

static int
write_networking(const struct json_at *config, const struct json_t *keep, struct json_w *w, struct err *e)
{
	static const char *const types[] = {"unrestricted", "limited", NULL};
	static const char *const plain[] = {"type", NULL};
	struct json_at at = json_member(config, "networking"), type = json_member(&at, "type");
	int kind = 0, r = 0;
	if (!at.present && keep != NULL) {
		jw_kvalue(w, "networking", keep);
		return 0;
	}
	if (json_set(&at)) {
		r = json_want_obj(&at, e);
		if (r == 0)
			r = json_want_enum(&type, types, &kind, e);
	}
	if (r == 0 && kind == 1)
		return write_limited(&at, str_eqz(json_get_str(keep, "type"), "limited") ? keep : NULL, w, e);
	if (r == 0 && json_set(&at))
		r = json_closed(&at, plain, e);
	if (r == 0)
		jw_kraw(w, "networking", STR("{\"type\":\"unrestricted\"}"));
	return r;
}

/* ---- packages ---- */

/* Package names and version constraints become arguments of a package manager: no option, nothing that a line
 * or shell could take apart. */
static int
check_package(const struct json_at *at, struct err *e)
{
	struct str s;
	int r = json_want_str(at, 1, PACKAGE_MAX, &s, e);
	if (r == 0 && s.p[0] == '-')
		r = json_fail(at, e, "a package must not begin with a hyphen");
	for (size_t i = 0; r == 0 && i < s.n; i++) {
		if ((unsigned char)s.p[i] <= ' ' || s.p[i] == 0x7f)
			r = json_fail(at, e, "a package must not hold spaces or control characters");
	}
	return r;
}

static int
write_manager(const struct json_at *packages, const char *key, const struct json_t *keep, struct json_w *w,
	struct err *e)
{
	struct json_at at = json_member(packages, key);
	const struct json_t *kept = at.present ? NULL : json_get(keep, key);
	size_t n = 0;
	int r = json_set(&at) ? json_want_arr(&at, LIM_ENV_PACKAGES, &n, e) : 0;
	for (size_t i = 0; r == 0 && i < n; i++) {
		struct json_at item = json_element(&at, i);
		r = check_package(&item, e);
	}
	if (r < 0)
		return r;
	jw_key(w, key);
	if (json_set(&at))
		jw_value(w, at.v);
	else if (kept != NULL)
		jw_value(w, kept);
	else
		jw_raw(w, STR("[]"));
	return 0;
}

static int
write_packages(const struct json_at *config, const struct json_t *keep, struct json_w *w, struct err *e)
{
	static const char *const allowed[] = {"type", "apt", "cargo", "gem", "go", "npm", "pip", NULL};
	static const char *const types[] = {"packages", NULL};
	struct json_at at = json_member(config, "packages"), type = json_member(&at, "type");
	int kind, r = json_set(&at) ? json_closed(&at, allowed, e) : 0;
	if (r == 0 && json_set(&type))
		r = json_want_enum(&type, types, &kind, e);
	if (r < 0)
		return r;
	if (at.present && !json_set(&at))
		keep = NULL;
	jw_key(w, "packages");
	jw_obj(w);
	jw_kz(w, "type", "packages");
	for (size_t i = 0; i < ARRAY_LEN(managers); i++) {
		r = write_manager(&at, managers[i], keep, w, e);
		if (r < 0)
			return r;
	}
	jw_obj_end(w);
	return 0;
}

/* ---- config ---- */

static int
check_cloud(const struct json_at *at, struct str config, struct err *e)
{
	AUTO(json) struct json_t *v = NULL;
	int r = json_parse(config, &v, e);
	if (r < 0)
		return r;
	const struct json_t *net = json_get(v, "networking"), *packages = json_get(v, "packages");
	if (!str_eqz(json_get_str(net, "type"), "limited") ||
		json_bool(json_get(net, "allow_package_managers"), false))
		return 0;
	for (size_t i = 0; i < ARRAY_LEN(managers); i++) {
		if (json_len(json_get(packages, managers[i])) > 0)
			return json_fail(at, e,
				"packages under limited networking need networking.allow_package_managers");
	}
	return 0;
}

static int
write_cloud(const struct json_at *at, const struct json_t *keep, struct json_w *w, struct err *e)
{
	static const char *const allowed[] = {"type", "networking", "packages", NULL};
	AUTO(buf) struct buf b;
	buf_init(&b, LIM_EVENT_BODY);
	struct json_w cw = json_w(&b);
	int r = json_set(at) ? json_closed(at, allowed, e) : 0;
	if (r < 0)
		return r;
	jw_obj(&cw);
	jw_kz(&cw, "type", "cloud");
	r = write_networking(at, json_get(keep, "networking"), &cw, e);
	if (r == 0)
		r = write_packages(at, json_get(keep, "packages"), &cw, e);
	if (r < 0)
		return r;
	jw_obj_end(&cw);
	r = buf_check(&b, e);
	if (r == 0)
		r = check_cloud(at, buf_str(&b), e);
	if (r == 0)
		jw_raw(w, buf_str(&b));
	return r;
}

static int
write_config(const struct json_at *at, const struct json_t *keep, struct json_w *w, struct err *e)
{
	static const char *const types[] = {"cloud", "self_hosted", NULL};
	static const char *const plain[] = {"type", NULL};
	struct json_at type = json_member(at, "type");
	struct str now = json_get_str(keep, "type");
	int kind = 0, r = 0;
	if (json_set(at)) {
		r = json_want_obj(at, e);
		if (r == 0)
			r = json_want_enum(&type, types, &kind, e);
	}
	if (r < 0)
		return r;
	if (now.n > 0 && !str_eqz(now, types[kind]))
		return json_fail_code(&type, e, "invalid_config_type_change",
			"the type of an environment cannot be changed");
	if (kind == 0)
		return write_cloud(at, keep, w, e);
	r = json_closed(at, plain, e);
	if (r == 0)
		jw_raw(w, STR("{\"type\":\"self_hosted\"}"));
	return r;
}

/* ---- bodies ---- */

static int
write_name(const struct json_at *body, const struct json_t *current, struct json_w *w, struct err *e)
{
	struct json_at at = json_member(body, "name");
	struct str s = json_get_str(current, "name");
	int r = 0;
	if (current == NULL || json_set(&at))
		r = json_want_str(&at, 1, LIM_ENV_NAME, &s, e);
	jw_kstr(w, "name", s);
	return r;
}

/* null stays null, "" stays "". */
static int
write_description(const struct json_at *body, const struct json_t *current, struct json_w *w, struct err *e)
{
	struct json_at at = json_member(body, "description");
	struct str s = STR_NULL;
	int r = 0;
	if (json_set(&at))
		r = json_want_str(&at, 0, LIM_ENV_DESC, &s, e);
	else if (!at.present)
		s = json_get_str(current, "description");
	if (json_set(&at) && s.p == NULL)
		s = STR("");
	jw_kstr(w, "description", s);
	return r;
}

static int
write_scope(const struct json_at *body, const struct json_t *current, struct json_w *w, struct err *e)
{
	static const char *const scopes[] = {"organization", "account", NULL};
	struct json_at at = json_member(body, "scope");
	int kind = 0, r = json_set(&at) ? json_want_enum(&at, scopes, &kind, e) : 0;
	if (r == 0 && kind == 1)
		r = json_fail(&at, e, "the scope 'account' is not available");
	if (r == 0 && (json_set(&at) || json_get(current, "scope") != NULL))
		jw_kz(w, "scope", "organization");
	return r;
}

static int
write_members(const struct json_at *body, const struct json_t *current, struct json_w *w, struct err *e)
{
	struct json_at config = json_member(body, "config"), metadata = json_member(body, "metadata");
	const struct json_t *keep = json_get(current, "config");
	int r = write_name(body, current, w, e);
	if (r == 0)
		r = write_description(body, current, w, e);
	if (r < 0)
		return r;
	jw_key(w, "config");
	if (keep != NULL && !json_set(&config))
		jw_value(w, keep);
	else
		r = write_config(&config, keep, w, e);
	if (r < 0)
		return r;
	jw_key(w, "metadata");
	r = current == NULL ? metadata_parse(&metadata, w, e)
			    : metadata_patch(&metadata, json_get(current, "metadata"), true, w, e);
	return r < 0 ? r : write_scope(body, current, w, e);
}

static int
write_environment(const struct json_at *body, const struct json_t *current, struct buf *out, struct err *e)
{
	static const char *const allowed[] = {"name", "description", "config", "metadata", "scope", NULL};
	struct json_w w = json_w(out);
	int r = json_closed(body, allowed, e);
	if (r < 0)
		return r;
	jw_obj(&w);
	r = write_members(body, current, &w, e);
	if (r < 0)
		return r;
	jw_obj_end(&w);
	return buf_check(out, e);
}

int
environment_parse_create(struct arena *a, const struct json_at *body, struct buf *out, struct err *e)
{
	(void)a;
	return write_environment(body, NULL, out, e);
}

int
environment_parse_update(struct arena *a, const struct json_at *body, const struct json_t *current,
	struct buf *out, struct err *e)
{
	(void)a;
	return write_environment(body, current, out, e);
}

void
environment_render(const struct environment_meta *m, const struct json_t *config, struct json_w *w)
{
	jw_obj(w);
	jw_kz(w, "type", "environment");
	jw_kstr(w, "id", m->id);
	for (void *it = json_iter(config); it != NULL; it = json_next(config, it)) {
		jw_key_str(w, json_iter_key(it));
		jw_value(w, json_iter_value(it));
	}
	jw_ktime(w, "created_at", m->created_us);
	jw_ktime(w, "updated_at", m->updated_us);
	jw_ktime(w, "archived_at", m->archived_us);
	jw_obj_end(w);
}

/* ---- environment and agent ---- */

static bool
covered(const struct json_t *hosts, struct str host)
{
	for (size_t i = 0; i < json_len(hosts); i++) {
		if (domain_covers(json_str(json_at(hosts, i), STR_NULL), host))
			return true;
	}
	return false;
}

static int
check_servers(const struct json_t *hosts, const struct json_t *servers, struct err *e)
{
	for (size_t i = 0; i < json_len(servers); i++) {
		struct str host = domain_host(json_get_str(json_at(servers, i), "url"));
		if (!covered(hosts, host))
			return err_set(e, ERR_INVALID,
				"The environment's networking does not allow the host %.*s of MCP server "
				"'%.*s'.",
				STRF(str_sub(host, 0, 64)),
				STRF(str_sub(json_get_str(json_at(servers, i), "name"), 0, 64)));
	}
	return 0;
}

static int
check_domains(const struct json_t *hosts, const struct json_t *config, struct err *e)
{
	const struct json_t *domains = json_get(config, "allowed_domains");
	for (size_t i = 0; json_bool(json_get(config, "enabled"), false) && i < json_len(domains); i++) {
		struct str host = domain_host(json_str(json_at(domains, i), STR_NULL));
		if (!covered(hosts, host))
			return err_set(e, ERR_INVALID,
				"The environment's networking does not allow %.*s, an allowed domain of "
				"%.*s.",
				STRF(str_sub(host, 0, 64)), STRF(json_get_str(config, "name")));
	}
	return 0;
}

int
environment_check_agent(const struct json_t *config, const struct json_t *snapshot, struct err *e)
{
	const struct json_t *net = json_get(config, "networking"), *tools = json_get(snapshot, "tools");
	const struct json_t *hosts = json_get(net, "allowed_hosts");
	if (!str_eqz(json_get_str(net, "type"), "limited"))
		return 0;
	int r = 0;
	if (!json_bool(json_get(net, "allow_mcp_servers"), false))
		r = check_servers(hosts, json_get(snapshot, "mcp_servers"), e);
	for (size_t i = 0; r == 0 && i < json_len(tools); i++) {
		const struct json_t *configs = json_get(json_at(tools, i), "configs");
		for (size_t k = 0; r == 0 && k < json_len(configs); k++)
			r = check_domains(hosts, json_at(configs, k), e);
	}
	return r;
}
