/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the host knows about reaching a Debian mirror, reduced to what an image build needs.
 */
#include "base/buf.h"
#include "hands/image.h"

struct fields {
	struct str types, uris, suites, components, signed_by;
	bool disabled;
};

/* `suite`, or that with a pocket behind it. */
static bool
suite_fits(struct str s, const char *suite)
{
	struct str want = str_z(suite);

	if (!str_starts(s, want))
		return false;
	s = str_sub(s, want.n, s.n);
	return s.n == 0 || str_eqz(s, "-updates") || str_eqz(s, "-security") || str_eqz(s, "/updates");
}

static bool
has_word(struct str list, const char *word)
{
	while (list.n > 0)
		if (str_eqz(str_next(&list, ' '), word))
			return true;
	return false;
}

/* A value that can stand in a one-line entry. */
static bool
plain(struct str s)
{
	for (size_t i = 0; i < s.n; i++)
		if ((unsigned char)s.p[i] <= ' ' || s.p[i] == '[' || s.p[i] == ']')
			return false;
	return s.n > 0;
}

static size_t
put_entries(const struct fields *f, const char *suite, struct buf *out)
{
	struct str uris = f->uris;
	size_t n = 0;

	if (f->disabled || !has_word(f->types, "deb") || !has_word(f->components, "main"))
		return 0;
	while (uris.n > 0) {
		struct str uri = str_next(&uris, ' '), suites = f->suites;

		while (plain(uri) && suites.n > 0) {
			struct str s = str_next(&suites, ' ');

			if (!suite_fits(s, suite))
				continue;
			buf_put_z(out, "deb ");
			if (plain(f->signed_by))
				buf_printf(out, "[signed-by=%.*s] ", STRF(f->signed_by));
			buf_printf(out, "%.*s %.*s main\n", STRF(uri), STRF(s));
			n++;
		}
	}
	return n;
}

static void
take_field(struct fields *f, struct str line)
{
	static const struct {
		const char *name;
		size_t offset;
	} known[] = {
		{"types", offsetof(struct fields, types)},
		{"uris", offsetof(struct fields, uris)},
		{"suites", offsetof(struct fields, suites)},
		{"components", offsetof(struct fields, components)},
		{"signed-by", offsetof(struct fields, signed_by)},
	};
	struct str name = str_next(&line, ':');
	struct str value = str_trim(line);

	if (str_eq_nocase(name, STR("enabled")))
		f->disabled = str_eq_nocase(value, STR("no")) || str_eq_nocase(value, STR("false"));
	for (size_t i = 0; i < ARRAY_LEN(known); i++)
		if (str_eq_nocase(name, str_z(known[i].name)))
			*(struct str *)(void *)((char *)f + known[i].offset) = value;
}

static size_t
pick_deb822(struct str text, const char *suite, struct buf *out)
{
	struct fields f = {0};
	size_t n = 0;

	while (text.n > 0) {
		struct str line = str_next(&text, '\n');

		if (line.n > 0 && line.p[0] == '#')
			continue;
		if (str_trim(line).n == 0) {
			n += put_entries(&f, suite, out);
			f = (struct fields){0};
		} else if (line.p[0] != ' ' && line.p[0] != '\t') {
			take_field(&f, line);
		}
	}
	return n + put_entries(&f, suite, out);
}

/* "[signed-by=/x arch=amd64]": only who signed it matters here. */
static struct str
option_signed_by(struct str options)
{
	while (options.n > 0) {
		struct str o = str_next(&options, ' ');

		if (str_starts(o, STR("signed-by=")))
			return str_sub(o, 10, o.n);
	}
	return STR_NULL;
}

static size_t
pick_line(struct str line, const char *suite, struct buf *out)
{
	struct fields f = {0};

	line = str_trim(line);
	if (line.n == 0 || line.p[0] == '#')
		return 0;
	f.types = str_next(&line, ' ');
	line = str_trim(line);
	if (line.n > 0 && line.p[0] == '[') {
		f.signed_by = option_signed_by(str_sub(str_next(&line, ']'), 1, line.n + 4096));
		line = str_trim(line);
	}
	f.uris = str_next(&line, ' ');
	f.suites = str_next(&line, ' ');
	line = str_sub(line, 0, str_find(line, '#'));
	f.components = str_trim(line);
	return put_entries(&f, suite, out);
}

size_t
image_pick_sources(struct str text, bool deb822, const char *suite, struct buf *out)
{
	size_t n = 0;

	if (deb822)
		return pick_deb822(text, suite, out);
	while (text.n > 0)
		n += pick_line(str_next(&text, '\n'), suite, out);
	return n;
}

void
image_pick_apt_config(struct str dump, struct buf *out)
{
	static const char *const wanted[] = {
		"Acquire::http::",
		"Acquire::https::",
		"Acquire::Check-",
		"Acquire::Retries",
		"Acquire::ForceIPv",
		"Acquire::AllowInsecureRepositories",
		"Acquire::Max-FutureTime",
	};

	while (dump.n > 0) {
		struct str line = str_next(&dump, '\n');

		for (size_t i = 0; i < ARRAY_LEN(wanted); i++) {
			if (!str_starts(line, str_z(wanted[i])) || str_find_str(line, STR(" \"\";")) < line.n)
				continue;
			buf_put_str(out, line);
			buf_put_c(out, '\n');
			break;
		}
	}
}
