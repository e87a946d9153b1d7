/* SPDX-License-Identifier: Apache-2.0 */
/* The configuration file, and what becomes of it in the roles' slices. */
#include "unit.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/json.h"
#include "base/limits.h"
#include "cli/config.h"
#include "cli/serve.h"

static void
test_defaults(void **state)
{
	AUTO(config) struct config *c = NULL;
	struct err e = {0};

	(void)state;
	assert_int_equal(config_load(NULL, &c, &e), 0);
	assert_string_equal(c->listen, "127.0.0.1:8400");
	assert_string_equal(c->data, "/var/lib/pinfold");
	assert_int_equal(c->uid_base, 64800);
	assert_true(c->puppet);
	assert_int_equal(c->n_providers, 1);
	assert_string_equal(c->providers[0].name, "anthropic");
	assert_string_equal(c->providers[0].url, "https://api.anthropic.com");
	assert_string_equal(c->providers[0].key_env, "ANTHROPIC_API_KEY");
	assert_int_equal(c->providers[0].auth, CONFIG_AUTH_X_API_KEY);
	assert_true(c->n_models > 1);
	assert_string_equal(c->models[0].id, "puppet");
	assert_int_equal(c->sandbox.memory_bytes, LIM_SANDBOX_MEMORY);
}

static void
test_all_keys(void **state)
{
	static const char text[] =
		"listen: \"[::1]:9000\"\ndata: /srv/p\nlog: debug\nuid_base: 70000\ndefault_model: m1\n"
		"puppet: {enabled: false}\n"
		"providers:\n  - name: local\n    url: http://127.0.0.1:8000/v/\n    auth: bearer\n"
		"    key_file: /etc/key\n    proxy: http://proxy:3128\n    idle: 90s\n    models: [\"m*\", "
		"x]\n"
		"models:\n  - {id: m1, display_name: M One, max_input_tokens: 1000, max_tokens: 10}\n  - id: "
		"m2\n"
		"sandbox:\n  platform: ptrace\n  runsc: /opt/runsc\n  image: /img\n  guest: /g\n  memory: "
		"512M\n  disk: 1TiB\n"
		"  cpu: 1.25\n  wall: 2h\n  idle: 90s\n  pids: 500\n  pool: 0\n";
	AUTO(config) struct config *c = NULL;
	struct err e = {0};

	(void)state;
	if (config_parse(str_z(text), "f", &c, &e) < 0)
		fail_msg("%s", e.msg);
	assert_string_equal(c->listen, "[::1]:9000");
	assert_string_equal(c->data, "/srv/p");
	assert_int_equal(c->level, LOG_DEBUG);
	assert_int_equal(c->uid_base, 70000);
	assert_string_equal(c->default_model, "m1");
	assert_false(c->puppet);
	assert_string_equal(c->providers[0].url, "http://127.0.0.1:8000/v");
	assert_int_equal(c->providers[0].auth, CONFIG_AUTH_BEARER);
	assert_null(c->providers[0].key_env);
	assert_int_equal(c->providers[0].idle_ms, 90000);
	assert_int_equal(c->providers[0].total_ms, LIM_MODEL_TOTAL_MS);
	assert_string_equal(c->providers[0].models[1], "x");
	assert_string_equal(c->models[0].display_name, "M One");
	assert_string_equal(c->models[1].display_name, "m2");
	assert_int_equal(c->models[0].max_input_tokens, 1000);
	assert_int_equal(c->sandbox.memory_bytes, 512 * MIB);
	assert_int_equal(c->sandbox.disk_bytes, 1024 * GIB);
	assert_int_equal(c->sandbox.cpu_milli, 1250);
	assert_int_equal(c->sandbox.wall_ms, 7200000);
	assert_int_equal(c->sandbox.idle_ms, 90000);
	assert_int_equal(c->sandbox.pids, 500);
	assert_int_equal(c->sandbox.pool, 0);
}

#define PROVIDER(rest) "providers:\n  - name: a\n    models: [x]\n" rest

/* Each mistake names the file, the line when the parser knows it, and the path. */
static void
test_mistakes(void **state)
{
	static const char *const rows[][2] = {
		{"listen: 127.0.0.1:0\nlisten_on: x\n", "f:2: there is no key \"listen_on\""},
		{PROVIDER("    urll: http://x\n"), "f:4: providers[0]: there is no key \"urll\""},
		{"sandbox:\n  memory: 1G\n  pols: 3\n", "f:3: sandbox: there is no key \"pols\""},
		{"uid_base: many\n", "f:1: uid_base: Invalid uint64_t value: 'many'"},
		{"providers: hello\n", "f:1: providers: Expecting SEQUENCE, got event: SCALAR"},
		{"listen: a\nlisten: b\n", "f:2: listen: Mapping field already seen: listen"},
		{"listen: 8400\n", "f: listen: \"8400\" is not HOST:PORT"},
		{"listen: example.com:80\n",
			"f: listen: \"example.com:80\" needs an IP address or localhost before the port"},
		{"listen: 127.0.0.1:70000\n", "f: listen: \"127.0.0.1:70000\" is not HOST:PORT"},
		{"uid_base: 5\n", "f: uid_base: must be 1000 to 2000000000"},
		{"log: loud\n", "f: log: must be debug, info, warn or error"},
		{PROVIDER("    url: ftp://x\n"),
			"f: providers[0]: must be http://HOST[:PORT][/PATH] or https://…"},
		{PROVIDER("    url: http://u:p@x\n"),
			"f: providers[0]: must not hold a user name or password: use key_env or key_file"},
		{PROVIDER("    url: http://x?y\n"), "f: providers[0]: must have neither query nor fragment"},
		{PROVIDER("    auth: basic\n"), "f: providers[0]: auth must be x-api-key or bearer"},
		{PROVIDER("    key_env: A\n    key_file: /b\n"),
			"f: providers[0]: has both key_env and key_file"},
		{PROVIDER("    key_env: A-B\n"),
			"f: providers[0]: key_env must be the name of an environment variable"},
		{PROVIDER("    key_file: b\n"), "f: providers[0]: key_file must be an absolute path"},
		{PROVIDER("    idle: 5\n"),
			"f: providers[0].idle: \"5\" is not understood, write it like 2m"},
		{PROVIDER("    total: 25h\n"), "f: providers[0].total: 25h is out of range"},
		{PROVIDER("  - name: a\n    models: [y]\n"),
			"f: providers[1]: a second provider has the name a"},
		{"providers:\n  - name: puppet\n    models: [x]\n",
			"f: providers[0]: the name puppet is taken by the built-in model"},
		{"providers:\n  - name: A b\n    models: [x]\n",
			"f: providers[0]: name must consist of a-z, 0-9, - and _"},
		{"providers:\n  - name: a\n    models: [\"x*y\"]\n",
			"f: providers[0]: \"x*y\" is no model name: a '*' may stand only at the end"},
		{"models: [{id: a}, {id: a}]\n", "f: models[1]: a second model has the id a"},
		{"sandbox: {memory: 1Q}\n",
			"f: sandbox.memory: \"1Q\" is not understood, write it like 2GiB"},
		{"sandbox: {memory: 1M}\n", "f: sandbox.memory: 1M is out of range"},
		{"sandbox: {idle: 5}\n", "f: sandbox.idle: \"5\" is not understood, write it like 5m"},
		{"sandbox: {cpu: 1.2345}\n",
			"f: sandbox.cpu: \"1.2345\" is not understood, write it like 1.5"},
		{"sandbox: {pids: 3}\n", "f: sandbox.pids: must be 64 to 65536"},
		{"sandbox: {pool: 65}\n", "f: sandbox.pool: must be 0 to 64"},
		{"sandbox: {platform: qemu}\n", "f: sandbox.platform: must be auto, systrap, ptrace or kvm"},
		{"sandbox: {image: img}\n", "f: sandbox.image: must be an absolute path"},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct config *c = NULL;
		struct err e = {0};
		assert_err(config_parse(str_z(rows[i][0]), "f", &c, &e), e, ERR_INVALID);
		assert_string_equal(e.msg, rows[i][1]);
		assert_null(c);
	}
}

static void
test_units(void **state)
{
	uint64_t v = 0;

	(void)state;
	assert_true(config_bytes(STR("4096"), &v) && v == 4096);
	assert_true(config_bytes(STR("1KiB"), &v) && v == 1024);
	assert_true(config_bytes(STR("3G"), &v) && v == 3 * GIB);
	assert_false(config_bytes(STR("18446744073709551615K"), &v));
	assert_false(config_bytes(STR("G"), &v));
	assert_false(config_bytes(STR("-1"), &v));
	assert_false(config_bytes(STR("1 G"), &v));
	assert_true(config_millis(STR("1500ms"), &v) && v == 1500);
	assert_true(config_millis(STR("24h"), &v) && v == 86400000);
	assert_false(config_millis(STR("5"), &v));
	assert_true(config_thousandths(STR("2"), &v) && v == 2000);
	assert_true(config_thousandths(STR("0.05"), &v) && v == 50);
	assert_false(config_thousandths(STR("1."), &v));
	assert_false(config_thousandths(STR(".5"), &v));
}

static void
test_files(void **state)
{
	char path[] = "/tmp/pinfold-config-XXXXXX";
	struct config *c = NULL;
	struct err e = {0};

	(void)state;
	assert_err(config_load("/nonexistent/x.yaml", &c, &e), e, ERR_NOT_FOUND);
	assert_err(config_load("/tmp", &c, &e), e, ERR_INVALID);
	AUTO(fd) int fd = mkostemp(path, O_CLOEXEC);
	assert_true(fd >= 0 && dprintf(fd, "# nothing\n") > 0);
	assert_int_equal(config_load(path, &c, &e), 0);
	config_free(c);
	c = NULL;
	assert_int_equal(ftruncate(fd, 2 * 1024 * 1024), 0);
	assert_err(config_load(path, &c, &e), e, ERR_TOO_LARGE);
	unlink(path);
}

/* ---- slices ---- */

static const struct supervise_place place = {
	.data_dir = "/data",
	.control_dir = "/short/control",
	.hands_dir = "/short/hands",
	.run_dir = "/short/run",
	.listen_url = "http://127.0.0.1:8400",
	.puppet_url = "http://127.0.0.1:5555",
	.uid = 7,
	.gid = 7,
};

static struct json_t *
slice(const struct serve *s, const char *role, const struct supervise_place *at)
{
	AUTO(buf) struct buf b = {0};
	struct json_t *v = NULL;
	struct err e = {0};
	struct serve copy = *s;

	buf_init(&b, MIB);
	assert_int_equal(serve_slice(&copy, role, at, &b, &e), 0);
	assert_int_equal(json_parse(buf_str(&b), &v, &e), 0);
	return v;
}

static void
test_slices(void **state)
{
	AUTO(config) struct config *c = NULL;
	struct err e = {0};

	(void)state;
	assert_int_equal(
		config_parse(STR("providers:\n  - {name: a, models: [\"a*\"], key_env: K, auth: bearer}\n"
				 "  - {name: b, models: [b], url: \"http://x\"}\n"
				 "  - {name: c, models: [c], key_file: /k}\n"
				 "sandbox: {cpu: 0.5}\n"),
			"f", &c, &e),
		0);
	struct serve s = {.config = c, .secrets = {{"a", -1}}, .n_secrets = 1, .guest = "/g"};
	AUTO(json) struct json_t *control = slice(&s, "control", &place);
	AUTO(json) struct json_t *gate = slice(&s, "gate", &place);
	AUTO(json) struct json_t *hands = slice(&s, "hands", &place);
	AUTO(json) struct json_t *puppet = slice(&s, "puppet", &place);

	assert_str(json_get_str(control, "data_dir"), "/short/control");
	assert_int_equal(json_get_int(control, "uid", 0), 7);
	/* the puppet's names come first, so no pattern can take them */
	const struct json_t *first = json_at(json_get(control, "providers"), 0);
	assert_str(json_get_str(first, "name"), "puppet");
	assert_str(json_str(json_at(json_get(first, "models"), 1), STR_NULL), "puppet-*");
	assert_int_equal(json_len(json_get(control, "providers")), 4);
	assert_null(json_get(control, "secrets"));

	const struct json_t *list = json_get(gate, "providers");
	assert_str(json_get_str(json_at(list, 0), "url"), "http://127.0.0.1:5555");
	assert_str(json_get_str(json_at(list, 1), "auth"), "bearer");
	assert_str(json_get_str(json_at(list, 1), "secret"), "a");
	assert_str(json_get_str(json_at(list, 2), "auth"), "none");
	assert_str(json_get_str(json_at(list, 3), "key_from"), "/k");
	assert_null(json_get(json_at(list, 3), "secret"));

	assert_str(json_get_str(hands, "data_dir"), "/data/hands");
	assert_str(json_get_str(hands, "run_dir"), "/short/run");
	assert_str(json_get_str(hands, "guest_binary"), "/g");
	assert_int_equal(json_get_int(json_get(hands, "limits"), "cpu_milli", 0), 500);
	assert_int_equal(json_len(puppet), 2);
}

/* A data directory with a long path is reached by the short one; without the puppet nobody is told of it. */
static void
test_slices_of_other_places(void **state)
{
	AUTO(config) struct config *c = NULL;
	struct err e = {0};
	struct supervise_place at = place;
	char longest[300];

	(void)state;
	memset(longest, 'x', sizeof(longest));
	longest[0] = '/';
	longest[sizeof(longest) - 1] = 0;
	at.data_dir = longest;
	at.puppet_url = "";
	assert_int_equal(config_parse(STR("puppet: {enabled: false}\n"), "f", &c, &e), 0);
	struct serve s = {.config = c};
	AUTO(json) struct json_t *hands = slice(&s, "hands", &at);
	AUTO(json) struct json_t *gate = slice(&s, "gate", &at);
	AUTO(json) struct json_t *control = slice(&s, "control", &at);

	assert_str(json_get_str(hands, "data_dir"), "/short/hands");
	assert_int_equal(json_len(json_get(gate, "providers")), 1);
	assert_int_equal(json_len(json_get(control, "providers")), 1);
	for (size_t i = 0; i < json_len(json_get(control, "models")); i++)
		assert_false(str_eqz(json_get_str(json_at(json_get(control, "models"), i), "id"), "puppet"));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_defaults),
		cmocka_unit_test(test_all_keys),
		cmocka_unit_test(test_mistakes),
		cmocka_unit_test(test_units),
		cmocka_unit_test(test_files),
		cmocka_unit_test(test_slices),
		cmocka_unit_test(test_slices_of_other_places),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
