/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/config_schema.h"

#include <cyaml/cyaml.h>
#include <stdarg.h>
#include <stdio.h>

#include "base/buf.h"

enum { TEXT_MAX = 4096, NAME_MAX_ = 64, LIST_MAX = 256 };

#define PTR (CYAML_FLAG_POINTER)
#define OPT (CYAML_FLAG_POINTER | CYAML_FLAG_OPTIONAL)

static const cyaml_schema_value_t text_value = {CYAML_VALUE_STRING(CYAML_FLAG_POINTER, char, 1, TEXT_MAX)};

static const cyaml_schema_field_t provider_fields[] = {
	CYAML_FIELD_STRING_PTR("name", PTR, struct raw_provider, name, 1, NAME_MAX_ - 1),
	CYAML_FIELD_STRING_PTR("url", OPT, struct raw_provider, url, 1, TEXT_MAX),
	CYAML_FIELD_STRING_PTR("auth", OPT, struct raw_provider, auth, 1, NAME_MAX_),
	CYAML_FIELD_STRING_PTR("key_env", OPT, struct raw_provider, key_env, 1, TEXT_MAX),
	CYAML_FIELD_STRING_PTR("key_file", OPT, struct raw_provider, key_file, 1, TEXT_MAX),
	CYAML_FIELD_STRING_PTR("proxy", OPT, struct raw_provider, proxy, 1, TEXT_MAX),
	CYAML_FIELD_STRING_PTR("idle", OPT, struct raw_provider, idle, 1, NAME_MAX_),
	CYAML_FIELD_STRING_PTR("total", OPT, struct raw_provider, total, 1, NAME_MAX_),
	CYAML_FIELD_SEQUENCE("models", PTR, struct raw_provider, models, &text_value, 1, LIST_MAX),
	CYAML_FIELD_END,
};
static const cyaml_schema_value_t provider_value = {
	CYAML_VALUE_MAPPING(CYAML_FLAG_DEFAULT, struct raw_provider, provider_fields)};

static const cyaml_schema_field_t model_fields[] = {
	CYAML_FIELD_STRING_PTR("id", PTR, struct raw_model, id, 1, TEXT_MAX),
	CYAML_FIELD_STRING_PTR("display_name", OPT, struct raw_model, display_name, 1, TEXT_MAX),
	CYAML_FIELD_UINT("max_input_tokens", CYAML_FLAG_OPTIONAL, struct raw_model, max_input_tokens),
	CYAML_FIELD_UINT("max_tokens", CYAML_FLAG_OPTIONAL, struct raw_model, max_tokens),
	CYAML_FIELD_END,
};
static const cyaml_schema_value_t model_value = {
	CYAML_VALUE_MAPPING(CYAML_FLAG_DEFAULT, struct raw_model, model_fields)};

static const cyaml_schema_field_t sandbox_fields[] = {
	CYAML_FIELD_STRING_PTR("platform", OPT, struct raw_sandbox, platform, 1, NAME_MAX_),
	CYAML_FIELD_STRING_PTR("runsc", OPT, struct raw_sandbox, runsc, 1, TEXT_MAX),
	CYAML_FIELD_STRING_PTR("image", OPT, struct raw_sandbox, image, 1, TEXT_MAX),
	CYAML_FIELD_STRING_PTR("guest", OPT, struct raw_sandbox, guest, 1, TEXT_MAX),
	CYAML_FIELD_STRING_PTR("memory", OPT, struct raw_sandbox, memory, 1, NAME_MAX_),
	CYAML_FIELD_STRING_PTR("disk", OPT, struct raw_sandbox, disk, 1, NAME_MAX_),
	CYAML_FIELD_STRING_PTR("cpu", OPT, struct raw_sandbox, cpu, 1, NAME_MAX_),
	CYAML_FIELD_STRING_PTR("wall", OPT, struct raw_sandbox, wall, 1, NAME_MAX_),
	CYAML_FIELD_STRING_PTR("idle", OPT, struct raw_sandbox, idle, 1, NAME_MAX_),
	CYAML_FIELD_UINT_PTR("pids", OPT, struct raw_sandbox, pids),
	CYAML_FIELD_UINT_PTR("pool", OPT, struct raw_sandbox, pool),
	CYAML_FIELD_END,
};

static const cyaml_schema_field_t puppet_fields[] = {
	CYAML_FIELD_BOOL_PTR("enabled", OPT, struct raw_puppet, enabled),
	CYAML_FIELD_END,
};

static const cyaml_schema_field_t config_fields[] = {
	CYAML_FIELD_STRING_PTR("listen", OPT, struct raw_config, listen, 1, NAME_MAX_),
	CYAML_FIELD_STRING_PTR("data", OPT, struct raw_config, data, 1, TEXT_MAX),
	CYAML_FIELD_STRING_PTR("default_model", OPT, struct raw_config, default_model, 1, TEXT_MAX),
	CYAML_FIELD_STRING_PTR("log", OPT, struct raw_config, log, 1, NAME_MAX_),
	CYAML_FIELD_UINT_PTR("uid_base", OPT, struct raw_config, uid_base),
	CYAML_FIELD_MAPPING_PTR("puppet", OPT, struct raw_config, puppet, puppet_fields),
	CYAML_FIELD_SEQUENCE(
		"providers", OPT, struct raw_config, providers, &provider_value, 0, NAME_MAX_ - 1),
	CYAML_FIELD_SEQUENCE("models", OPT, struct raw_config, models, &model_value, 0, LIST_MAX),
	CYAML_FIELD_MAPPING_PTR("sandbox", OPT, struct raw_config, sandbox, sandbox_fields),
	CYAML_FIELD_END,
};
static const cyaml_schema_value_t config_value = {
	CYAML_VALUE_MAPPING(CYAML_FLAG_POINTER, struct raw_config, config_fields)};

/* ---- errors: libcyaml tells them as lines of a log ---- */

struct trouble {
	char message[128]; /* of the first error line */
	char path[256];    /* from the backtrace, outermost first */
	uint64_t line;     /* of the innermost entry; 0: unknown */
};

static void
put_front(char *path, size_t cap, struct str part)
{
	char old[160];

	snprintf(old, sizeof(old), "%s", path);
	snprintf(path, cap, "%.*s%s%s", STRF(part), *old && *old != '[' ? "." : "", old);
}

/* "  in mapping field 'url' (line: 3, column: 10)" / "  in sequence entry '1' (...)" / "  in mapping (...)".
 */
static void
take_backtrace(struct trouble *t, struct str text)
{
	struct str quoted = str_sub(text, str_find(text, '\'') + 1, text.n);
	struct str where = str_sub(text, str_find_str(text, STR("(line: ")) + 7, text.n);
	char entry[32];
	uint64_t n;

	quoted = str_sub(quoted, 0, str_find(quoted, '\''));
	where = str_sub(where, 0, str_find(where, ','));
	if (t->line == 0 && str_to_u64(where, &n))
		t->line = n;
	if (str_starts(text, STR("  in mapping field '"))) {
		put_front(t->path, sizeof(t->path), quoted);
	} else if (str_starts(text, STR("  in sequence entry '")) && str_to_u64(quoted, &n)) {
		/* libcyaml counts entries from one. */
		snprintf(entry, sizeof(entry), "[%u]", (unsigned)(n ? n - 1 : 0));
		put_front(t->path, sizeof(t->path), str_z(entry));
	}
}

static void log_line(cyaml_log_t level, void *ctx, const char *fmt, va_list args) PRINTF_FMT(3, 0);

static void
log_line(cyaml_log_t level, void *ctx, const char *fmt, va_list args)
{
	struct trouble *t = ctx;
	char line[512];

	if (level < CYAML_LOG_ERROR)
		return;
	vsnprintf(line, sizeof(line), fmt, args);
	struct str text = str_z(line);

	if (str_starts(text, STR("Load: ")))
		text = str_sub(text, 6, text.n);
	if (str_ends(text, STR("\n")))
		text.n--;
	if (str_starts(text, STR("  in ")))
		take_backtrace(t, text);
	else if (!*t->message)
		snprintf(t->message, sizeof(t->message), "%.*s", STRF(text));
}

/* libcyaml knows only where the entry before an unknown key ended: looks for the key itself from there on. */
static uint64_t
line_of_key(struct str text, struct str key, uint64_t from)
{
	for (uint64_t n = 1; text.p; n++) {
		struct str line = str_trim(str_next(&text, '\n'));

		if (str_starts(line, STR("- ")))
			line = str_trim(str_sub(line, 2, line.n));
		if (n >= from && str_starts(line, key) && line.n > key.n && line.p[key.n] == ':')
			return n;
	}
	return from;
}

static int
report(struct trouble *t, struct str text, const char *name, const char *fallback, struct err *e)
{
	static const char unknown[] = "Unexpected key: ", twice[] = "Mapping field already seen: ";
	struct str m = str_z(*t->message ? t->message : fallback);
	char where[24] = "";

	if (str_starts(m, str_z(unknown))) {
		m = str_sub(m, sizeof(unknown) - 1, m.n);
		t->line = line_of_key(text, m, t->line);
		return err_set(e, ERR_INVALID, "%.80s:%u: %s%sthere is no key \"%.*s\"", name,
			(unsigned)t->line, t->path, *t->path ? ": " : "", STRF(m));
	}
	if (str_starts(m, str_z(twice)))
		t->line = line_of_key(text, str_sub(m, sizeof(twice) - 1, m.n), t->line + 1);
	if (t->line)
		snprintf(where, sizeof(where), ":%u", (unsigned)t->line);
	return err_set(
		e, ERR_INVALID, "%.80s%s: %s%s%.*s", name, where, t->path, *t->path ? ": " : "", STRF(m));
}

static const cyaml_config_t quiet = {.mem_fn = cyaml_mem};

int
raw_config_parse(struct str text, const char *name, struct raw_config **out, struct err *e)
{
	struct trouble t = {0};
	cyaml_config_t how = {.log_fn = log_line,
		.log_ctx = &t,
		.mem_fn = cyaml_mem,
		.log_level = CYAML_LOG_ERROR,
		.flags = CYAML_CFG_NO_ALIAS};
	void *got = NULL;
	cyaml_err_t rc = cyaml_load_data(
		(const uint8_t *)(text.n ? text.p : ""), text.n, &how, &config_value, &got, NULL);

	if (rc != CYAML_OK)
		return report(&t, text, name, cyaml_strerror(rc), e);
	*out = got;
	return 0;
}

void
raw_config_free(struct raw_config *r)
{
	cyaml_free(&quiet, &config_value, r, 0);
}
