/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Paths that a model gives to the file tools, in a tree with links of all kinds. A path that is accepted lies
 * below a root, without a link on the way, and the descriptor and name that come out mean the same file as
 * the text.
 */
#include "fuzz.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "guest/paths.h"

static char base[64], work[80], allowed[80];

static void
link_to(const char *target, const char *name)
{
	char path[160];

	snprintf(path, sizeof(path), "%s/%s", work, name);
	ASSERT(symlink(target, path) == 0);
}

static void
remove_all(void)
{
	static const char *const names[] = {
		"w/d/e/f", "w/d/e", "w/d", "w/l", "w/u", "w/a", "w/m", "w/r", "w/x", "w", "a", "o/s", "o"};
	char path[160];

	for (size_t i = 0; i < ARRAY_LEN(names); i++) {
		snprintf(path, sizeof(path), "%s/%s", base, names[i]);
		remove(path);
	}
	rmdir(base);
}

static void
make_tree(void)
{
	char path[160];

	snprintf(base, sizeof(base), "/tmp/fuzz-guest-path-XXXXXX");
	ASSERT(mkdtemp(base));
	atexit(remove_all);
	snprintf(work, sizeof(work), "%s/w", base);
	snprintf(allowed, sizeof(allowed), "%s/a", base);
	snprintf(path, sizeof(path), "%s/o", base);
	ASSERT(mkdir(work, 0755) == 0 && mkdir(allowed, 0755) == 0 && mkdir(path, 0755) == 0);
	snprintf(path, sizeof(path), "%s/w/d", base);
	ASSERT(mkdir(path, 0755) == 0);
	snprintf(path, sizeof(path), "%s/w/d/e", base);
	ASSERT(mkdir(path, 0755) == 0);
	link_to("d/e", "l");
	link_to("../o", "u");
	link_to(allowed, "a");
	link_to("m", "m");
	link_to("/", "r");
	link_to("d/../nowhere/../l", "x");
}

/* The canonical text, opened component by component without following links, is the same file. */
static void
check_place(const struct place *p)
{
	struct stat st;
	char real[PATH_MAX];

	ASSERT(path_within(work, p->real) || path_within(allowed, p->real));
	ASSERT(p->name >= p->real && p->name <= p->real + strlen(p->real));
	if (!p->exists) {
		ASSERT(lstat(p->real, &st) < 0);
		return;
	}
	ASSERT(lstat(p->real, &st) == 0 && !S_ISLNK(st.st_mode));
	ASSERT(st.st_ino == p->st.st_ino && st.st_dev == p->st.st_dev);
	ASSERT(realpath(p->real, real) && strcmp(real, p->real) == 0);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	AUTO(place) struct place p;
	AUTO(reply) struct reply r = {0};
	struct str given = str_n(data, size);

	place_init(&p);
	if (!base[0])
		make_tree();
	/* JSON gives valid UTF-8 without NUL. */
	if (size > 2 * LIM_PATH || !str_is_utf8(given) || str_find(given, 0) < given.n)
		return 0;
	struct roots roots = {.workdir = work, .allowed = {allowed}};
	reply_init(&r);
	if (place_find(&roots, given, &p, &r) == 0)
		check_place(&p);
	else
		ASSERT(r.is_error && str_starts(buf_str(&r.text), STR("path \"")));
	return 0;
}
