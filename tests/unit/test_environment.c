/* SPDX-License-Identifier: Apache-2.0 */
#include "unit.h"

#include "base/limits.h"
#include "model/environment.h"

static struct json_t *
tree(const char *json)
{
	struct json_t *v = NULL;
	struct err e = {0};
	if (json_parse(str_z(json), &v, &e) < 0)
		fail_msg("%s: %s", json, e.msg);
	return v;
}

/* `current` NULL: create. */
static int
parse(const struct json_t *current, const char *json, struct json_t **out, struct err *e)
{
	AUTO(json) struct json_t *v = tree(json);
	AUTO(buf) struct buf b;
	buf_init(&b, 1 * MIB);
	struct json_at root = json_root(v);
	*e = (struct err){0};
	int r = current == NULL ? environment_parse_create(NULL, &root, &b, e)
				: environment_parse_update(NULL, &root, current, &b, e);
	if (r == 0 && json_parse(buf_str(&b), out, e) < 0)
		fail_msg("%.*s", STRF(buf_str(&b)));
	return r;
}

static struct json_t *
good(const struct json_t *current, const char *json)
{
	struct json_t *v = NULL;
	struct err e;
	if (parse(current, json, &v, &e) < 0)
		fail_msg("%s: %s", json, e.msg);
	return v;
}

#define assert_json(v, want)                               \
	do {                                               \
		struct json_t *tree_ = tree(want);         \
		AUTO(buf) struct buf text_;                \
		buf_init(&text_, 1 * MIB);                 \
		json_dump(&text_, v);                      \
		if (!json_equal(v, tree_))                 \
			assert_str(buf_str(&text_), want); \
		json_free(tree_);                          \
	} while (0)

#define NO_PACKAGES \
	"{\"type\":\"packages\",\"apt\":[],\"cargo\":[],\"gem\":[],\"go\":[],\"npm\":[],\"pip\":[]}"

static void
creating(void **state)
{
	(void)state;
	struct json_t *v = good(NULL, "{\"name\":\"E\"}");
	assert_json(v, "{\"name\":\"E\",\"description\":null,\"config\":{\"type\":\"cloud\",\"networking\":{"
		       "\"type\":\"unrestricted\"},"
		       "\"packages\":" NO_PACKAGES "},\"metadata\":{}}");
	json_free(v);
	v = good(NULL, "{\"name\":\"E\",\"description\":\"\",\"config\":{\"type\":\"self_hosted\"},\"scope\":"
		       "\"organization\"}");
	assert_json(v, "{\"name\":\"E\",\"description\":\"\",\"config\":{\"type\":\"self_hosted\"},"
		       "\"metadata\":{},\"scope\":\"organization\"}");
	json_free(v);
	v = good(NULL, "{\"name\":\"E\",\"config\":{\"type\":\"cloud\",\"networking\":{\"type\":\"limited\","
		       "\"allowed_hosts\":[\"a.b\","
		       "\"*.c.d\"]},\"packages\":null}}");
	assert_json(json_get(json_get(v, "config"), "networking"),
		"{\"type\":\"limited\",\"allowed_hosts\":[\"a.b\",\"*.c.d\"],\"allow_mcp_servers\":false,"
		"\"allow_package_managers\":false}");
	json_free(v);
}

#define CLOUD(rest) "{\"name\":\"E\",\"config\":{\"type\":\"cloud\"," rest "}}"

static void
refused(void **state)
{
	(void)state;
	static const struct {
		const char *json, *message;
	} cases[] = {
		{"{}", "name: Field required"},
		{"{\"name\":\"E\",\"x\":1}", "x: Extra inputs are not permitted"},
		{"{\"name\":\"E\",\"config\":{}}", "config.type: Field required"},
		{"{\"name\":\"E\",\"config\":{\"type\":\"moon\"}}",
			"config.type: Input should be 'cloud' or 'self_hosted'"},
		{"{\"name\":\"E\",\"config\":{\"type\":\"self_hosted\",\"networking\":null}}",
			"config.networking: Extra inputs are not permitted"},
		{"{\"name\":\"E\",\"scope\":\"account\"}", "scope: the scope 'account' is not available"},
		{CLOUD("\"networking\":{\"type\":\"unrestricted\",\"allowed_hosts\":[]}"),
			"config.networking.allowed_hosts: Extra inputs are not permitted"},
		{CLOUD("\"networking\":{\"type\":\"limited\",\"allowed_hosts\":[\"https://a.b\"]}"),
			"config.networking.allowed_hosts.0: a scheme is not allowed; provide a plain "
			"hostname like \"example.com\""},
		{CLOUD("\"networking\":{\"type\":\"limited\",\"allowed_hosts\":[\"a.b/c\"]}"),
			"config.networking.allowed_hosts.0: a path is not allowed; provide a plain host"},
		{CLOUD("\"networking\":{\"type\":\"limited\",\"allowed_hosts\":[\"a.b:80\"]}"),
			"config.networking.allowed_hosts.0: a port is not allowed"},
		{CLOUD("\"networking\":{\"type\":\"limited\",\"allowed_hosts\":[\"*\"]}"),
			"config.networking.allowed_hosts.0: invalid character in host name"},
		{CLOUD("\"networking\":{\"type\":\"limited\"},\"packages\":{\"pip\":[\"x\"]}"),
			"config: packages under limited networking need networking.allow_package_managers"},
		{CLOUD("\"packages\":{\"apt\":[\"-o x\"]}"),
			"config.packages.apt.0: a package must not begin with a hyphen"},
		{CLOUD("\"packages\":{\"apt\":[\"a b\"]}"),
			"config.packages.apt.0: a package must not hold spaces or control characters"},
		{CLOUD("\"packages\":{\"brew\":[]}"), "config.packages.brew: Extra inputs are not permitted"},
	};
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct json_t *v;
		struct err e;
		assert_err(parse(NULL, cases[i].json, &v, &e), e, ERR_INVALID);
		assert_string_equal(e.msg, cases[i].message);
	}
}

static void
updating(void **state)
{
	(void)state;
	struct err e;
	struct json_t *v = good(NULL, "{\"name\":\"E\",\"description\":\"d\",\"metadata\":{\"a\":\"1\"},"
				      "\"config\":{\"type\":\"cloud\",\"networking\":{"
				      "\"type\":\"limited\",\"allowed_hosts\":[\"a.b\"],\"allow_package_"
				      "managers\":true},\"packages\":{\"pip\":[\"x\"],"
				      "\"apt\":[\"y\"]}}}");
	struct json_t *u = good(v, "{}");
	assert_true(json_equal(u, v));
	json_free(u);
	u = good(v, "{\"name\":null,\"config\":null}");
	assert_true(json_equal(u, v));
	json_free(u);
	u = good(v, "{\"name\":\"F\",\"description\":null,\"metadata\":{\"a\":\"\"},\"config\":{\"type\":"
		    "\"cloud\",\"networking\":{\"type\":"
		    "\"limited\",\"allow_mcp_servers\":true},\"packages\":{\"apt\":[]}}}");
	assert_json(u, "{\"name\":\"F\",\"description\":null,\"metadata\":{},\"config\":{\"type\":\"cloud\","
		       "\"networking\":{\"type\":"
		       "\"limited\",\"allowed_hosts\":[\"a.b\"],\"allow_mcp_servers\":true,\"allow_package_"
		       "managers\":true},\"packages\":{"
		       "\"type\":\"packages\",\"apt\":[],\"cargo\":[],\"gem\":[],\"go\":[],\"npm\":[],"
		       "\"pip\":[\"x\"]}}}");
	json_free(u);
	assert_err(parse(v, "{\"config\":{\"type\":\"self_hosted\"}}", &u, &e), e, ERR_INVALID);
	assert_string_equal(e.code, "invalid_config_type_change");
	/* what is left out is kept, and still has to fit */
	assert_err(parse(v,
			   "{\"config\":{\"type\":\"cloud\",\"networking\":{\"type\":\"limited\",\"allow_"
			   "package_managers\":false}}}",
			   &u, &e),
		e, ERR_INVALID);
	json_free(v);
}

static void
rendering(void **state)
{
	(void)state;
	AUTO(buf) struct buf b;
	buf_init(&b, 1 * MIB);
	struct json_t *v = good(NULL, "{\"name\":\"E\",\"config\":{\"type\":\"self_hosted\"}}");
	struct environment_meta m = {.id = STR("env_1"), .created_us = 1000000, .updated_us = 2000000};
	struct json_w w = json_w(&b);
	environment_render(&m, v, &w);
	assert_str(buf_str(&b), "{\"type\":\"environment\",\"id\":\"env_1\",\"name\":\"E\",\"description\":"
				"null,\"config\":{\"type\":\"self_hosted\"},"
				"\"metadata\":{},\"created_at\":\"1970-01-01T00:00:01.000000Z\",\"updated_"
				"at\":\"1970-01-01T00:00:02.000000Z\","
				"\"archived_at\":null}");
	json_free(v);
}

/* An agent fits when limited networking lets it reach what it declares. */
static void
fitting(void **state)
{
	(void)state;
	static const struct {
		const char *config, *agent;
		bool fits;
	} cases[] = {
#define LIMITED(hosts, mcp)                                                                       \
	"{\"type\":\"cloud\",\"networking\":{\"type\":\"limited\",\"allowed_hosts\":[" hosts "]," \
	"\"allow_mcp_servers\":" mcp "}}"
#define SERVER "{\"mcp_servers\":[{\"name\":\"s\",\"url\":\"https://mcp.a.com/x\"}],\"tools\":[]}"
#define WEB(on)                                                              \
	"{\"tools\":[{\"configs\":[{\"name\":\"web_search\",\"enabled\":" on \
	",\"allowed_domains\":[\"b.com/docs\"]}]}]}"
		{"{\"type\":\"cloud\",\"networking\":{\"type\":\"unrestricted\"}}", SERVER, true},
		{"{\"type\":\"self_hosted\"}", SERVER, true},
		{LIMITED("", "false"), SERVER, false},
		{LIMITED("", "true"), SERVER, true},
		{LIMITED("\"mcp.a.com\"", "false"), SERVER, true},
		{LIMITED("\"*.a.com\"", "false"), SERVER, true},
		{LIMITED("\"a.com\"", "false"), SERVER, false},
		{LIMITED("\"a.com\"", "true"), WEB("true"), false},
		{LIMITED("\"a.com\"", "true"), WEB("false"), true},
		{LIMITED("\"b.com\"", "true"), WEB("true"), true},
	};
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		AUTO(json) struct json_t *config = tree(cases[i].config);
		AUTO(json) struct json_t *agent = tree(cases[i].agent);
		struct err e = {0};
		int r = environment_check_agent(config, agent, &e);
		if ((r == 0) != cases[i].fits)
			fail_msg("case %zu: %s", i, e.msg);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(creating),
		cmocka_unit_test(refused),
		cmocka_unit_test(updating),
		cmocka_unit_test(rendering),
		cmocka_unit_test(fitting),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
