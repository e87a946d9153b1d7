/* SPDX-License-Identifier: Apache-2.0 */
/*
 * image build | list: the root filesystems of sandboxes. On this host, without a server.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/limits.h"
#include "cli/cmd.h"
#include "cli/serve.h"
#include "hands/beneath.h"
#include "hands/image.h"

#define PACKAGES_MAX 64
#define COLUMNS      100

struct image_cmd_opts {
	const char *config, *data, *dir, *name, *suite, *packages;
	bool force, json;
};

/* Progress on a terminal: one line that is written over; elsewhere a line for each. */
struct progress {
	bool tty, quiet;
	unsigned columns;
	uint64_t began_us;
};

static void
on_progress(void *arg, struct str line)
{
	struct progress *p = arg;
	unsigned spent = (unsigned)((clock_mono_us() - p->began_us) / 1000000);

	if (p->quiet || line.n == 0)
		return;
	if (p->tty)
		dprintf(STDERR_FILENO, "\r\033[K%4u s  %.*s", spent, STRF(str_sub(line, 0, p->columns - 9)));
	else
		dprintf(STDERR_FILENO, "%4u s  %.*s\n", spent, STRF(line));
}

static void
progress_init(struct progress *p, bool quiet)
{
	struct winsize w = {0};

	*p = (struct progress){.quiet = quiet, .columns = COLUMNS, .began_us = clock_mono_us()};
	p->tty = isatty(STDERR_FILENO) == 1;
	if (p->tty && ioctl(STDERR_FILENO, TIOCGWINSZ, &w) == 0 && w.ws_col >= 20)
		p->columns = w.ws_col;
}

static void
progress_done(const struct progress *p)
{
	if (p->tty && !p->quiet)
		dprintf(STDERR_FILENO, "\r\033[K");
}

/* ---- where ---- */

/* --dir, or where the server of this configuration looks. */
static int
find_dir(const struct image_cmd_opts *o, char dst[HANDS_PATH], struct err *e)
{
	AUTO(config) struct config *c = NULL;
	char cwd[HANDS_PATH];
	const char *dir = o->dir;

	if (!dir) {
		int rc = serve_config(o->config, &c, e);

		if (rc < 0)
			return rc;
		dir = o->data ? o->data : c->data;
	}
	if (dir[0] != '/' && !getcwd(cwd, sizeof(cwd)))
		return err_os(e, "the current directory");
	int n = snprintf(dst, HANDS_PATH, "%s%s%s%s", dir[0] == '/' ? "" : cwd, dir[0] == '/' ? "" : "/", dir,
		o->dir ? "" : "/hands/images");

	return n < HANDS_PATH ? 0 : err_set(e, ERR_INVALID, "the directory's path is too long");
}

/* ---- printing ---- */

static void
print_image(const struct image_cmd_opts *o, const struct image_info *i)
{
	AUTO(buf) struct buf b;

	buf_init(&b, 64 * KIB);
	if (!o->json) {
		printf("%-16s  %-10s  %8.0f MiB  %5llu packages  %s\n", i->name, i->suite[0] ? i->suite : "-",
			(double)i->bytes / (double)MIB, (unsigned long long)i->packages, i->rootfs);
		return;
	}
	struct json_w w = json_w(&b);

	jw_obj(&w);
	jw_kz(&w, "name", i->name);
	jw_kz(&w, "rootfs", i->rootfs);
	jw_kz(&w, "suite", i->suite[0] ? i->suite : NULL);
	jw_kz(&w, "packages_hash", i->hash[0] ? i->hash : NULL);
	jw_ktime(&w, "created_at", i->created_us);
	jw_kint(&w, "bytes", (int64_t)i->bytes);
	jw_kint(&w, "packages", (int64_t)i->packages);
	jw_obj_end(&w);
	printf("%.*s\n", STRF(buf_str(&b)));
}

/* ---- commands ---- */

/* --packages a,b,c. `text` holds the names. */
static int
split_packages(const char *list, struct buf *text, const char *out[PACKAGES_MAX + 1], struct err *e)
{
	struct str rest = str_z(list);
	size_t n = 0;

	/* No growing below: the pointers stay. */
	if (rest.n && !buf_reserve(text, rest.n + 1))
		return buf_check(text, e);
	while (rest.n > 0) {
		struct str one = str_trim(str_next(&rest, ','));

		if (one.n == 0)
			continue;
		if (n == PACKAGES_MAX)
			return err_set(e, ERR_INVALID, "--packages: at most %d", PACKAGES_MAX);
		out[n++] = text->p + text->n;
		buf_put_str(text, one);
		buf_put_c(text, '\0');
	}
	out[n] = NULL;
	return buf_check(text, e);
}

static int
build(struct image_cmd_opts *o, const char *dir, struct err *e)
{
	const char *packages[PACKAGES_MAX + 1] = {NULL};
	struct image_info info;
	struct progress p;
	AUTO(buf) struct buf text;

	buf_init(&text, 16 * KIB);
	int rc = split_packages(o->packages, &text, packages, e);

	if (rc < 0)
		return rc;
	if (!o->force && image_get(dir, o->name, &info, NULL) == 0) {
		if (!o->json)
			dprintf(STDERR_FILENO, "the image %s is there already (--force builds it anew)\n",
				o->name);
		print_image(o, &info);
		return 0;
	}
	if (geteuid() != 0)
		return err_set(
			e, ERR_FORBIDDEN, "an image can only be built by root: sudo pinfold image build");
	progress_init(&p, o->json);
	struct image_opts io = {.images_dir = dir,
		.name = o->name,
		.suite = o->suite,
		.packages = packages,
		.progress = on_progress,
		.arg = &p};

	rc = beneath_make_dir(dir, 0755, e);
	rc = rc == 0 ? image_build(&io, e) : rc;
	progress_done(&p);
	rc = rc == 0 ? image_get(dir, o->name, &info, e) : rc;
	if (rc == 0)
		print_image(o, &info);
	return rc;
}

struct listing {
	const struct image_cmd_opts *o;
	unsigned n;
};

static void
on_image(void *arg, const struct image_info *i)
{
	struct listing *l = arg;

	l->n++;
	print_image(l->o, i);
}

static int
list(const struct image_cmd_opts *o, const char *dir, struct err *e)
{
	struct listing l = {.o = o};
	int rc = image_list(dir, on_image, &l, e);

	if (rc == 0 && l.n == 0 && !o->json)
		dprintf(STDERR_FILENO, "no image in %s (pinfold image build makes one)\n", dir);
	return rc;
}

static int
run_image(const struct cmd *c, int argc, char **argv)
{
	struct err e = {0};
	struct image_cmd_opts o = {.name = "default"};
	char dir[HANDS_PATH];
	int rc = cmd_parse(c, &argc, argv, &o, &e);

	if (rc == CMD_DONE)
		return 0;
	if (rc == 0 && argc > 1)
		rc = err_set(&e, ERR_INVALID, "%s takes no argument \"%.80s\"", c->name, argv[1]);
	rc = rc == 0 ? find_dir(&o, dir, &e) : rc;
	if (rc == 0 && strcmp(c->name, "image build") == 0)
		rc = build(&o, dir, &e);
	else if (rc == 0)
		rc = list(&o, dir, &e);
	return rc < 0 ? cmd_fail(c, &e) : 0;
}

#define O(member) offsetof(struct image_cmd_opts, member)
#define WHERE                                                                                            \
	{"dir", "DIR", "where images are (default: where the server looks, DATA/hands/images)", O(dir)}, \
		{"data", "DIR", "data directory of the server (default: its configuration's)", O(data)}, \
		{"config", "FILE", "configuration of the server (default: as serve)", O(config)},        \
	{                                                                                                \
		"json", NULL, "print JSON", O(json)                                                      \
	}

static const struct cmd_opt list_options[] = {
	WHERE,
	{NULL, NULL, NULL, 0},
};
static const struct cmd_opt build_options[] = {
	{"name", "NAME", "name of the image (default: default, what sandboxes use)", O(name)},
	{"suite", "SUITE", "Debian suite (default: bookworm)", O(suite)},
	{"packages", "A,B,...", "more Debian packages", O(packages)},
	{"force", NULL, "build anew although it is there", O(force)},
	WHERE,
	{NULL, NULL, NULL, 0},
};

const struct cmd cmds_image[] = {
	{
		.name = "image build",
		.args = "[--name NAME] [--packages A,B] [--force]",
		.summary = "Build the root filesystem of sandboxes from Debian packages",
		.run = run_image,
		.opts = build_options,
		.help = "Uses mmdebstrap and the mirrors in this host's apt configuration. Takes some "
			"minutes, "
			"and nothing when the\nimage is there. A running server uses a new image for new "
			"sandboxes.\n",
	},
	{
		.name = "image list",
		.args = "[--json]",
		.summary = "List the images on this host",
		.run = run_image,
		.opts = list_options,
	},
	{.name = NULL},
};
