/* SPDX-License-Identifier: Apache-2.0 */
#include "hands/image.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/json.h"
#include "base/limits.h"
#include "hands/beneath.h"
#include "hands/program.h"

#define DEFAULT_SUITE "bookworm"
#define BUILD_MS      (60 * 60 * 1000ull)
#define MANIFEST_MAX  (4 * MIB)
#define STATUS_MAX    (64 * MIB)
#define LAST_WORDS    160

/* What an agent expects on a machine: shells, compilers, archivers, Python, git. */
static const char packages[] = "bash,bsdextrautils,bzip2,ca-certificates,cmake,coreutils,curl,diffutils,file,"
			       "findutils,g++,gawk,gcc,git,grep,"
			       "jq,less,libc6-dev,make,patch,pkg-config,procps,python3,ripgrep,sed,tree,"
			       "unzip,vim-tiny,xz-utils,zip,zstd";

static void
dir_close(DIR *d)
{
	closedir(d);
}
DEFINE_AUTO(dir, DIR *, dir_close, NULL);

struct build {
	const struct image_opts *o;
	const char *suite;
	char dir[HANDS_PATH];    /* .build-<name> */
	char rootfs[HANDS_PATH]; /* in it */
	char sources[HANDS_PATH];
	char apt_config[HANDS_PATH];
	char last[LAST_WORDS];
	uint64_t created_us;
};

static void PRINTF_FMT(2, 3) say(const struct build *b, const char *fmt, ...)
{
	char line[256];
	va_list ap;

	va_start(ap, fmt);
	int n = vsnprintf(line, sizeof(line), fmt, ap);
	va_end(ap);
	if (b->o->progress && n > 0)
		b->o->progress(
			b->o->arg, str_n(line, (size_t)n < sizeof(line) ? (size_t)n : sizeof(line) - 1));
}

/* ---- what the host knows ---- */

static int
write_text(const char *path, struct str text, struct err *e)
{
	AUTO(fd) int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0644);

	if (fd < 0 || write(fd, text.p, text.n) != (ssize_t)text.n)
		return err_os(e, "write %s", path);
	return 0;
}

static size_t
add_file(const char *path, const char *suite, struct buf *out)
{
	struct str name = str_z(path);
	size_t n = 0, found = 0;
	char *text = beneath_read(AT_FDCWD, path, MIB, &n, NULL);

	if (text)
		found = image_pick_sources(str_n(text, n), str_ends(name, STR(".sources")), suite, out);
	free(text);
	return found;
}

static int
find_sources(const struct build *b, struct err *e)
{
	static const char parts[] = "/etc/apt/sources.list.d";
	AUTO(buf) struct buf out;
	AUTO(dir) DIR *d = opendir(parts);
	char path[HANDS_PATH];

	buf_init(&out, MIB);
	size_t n = add_file("/etc/apt/sources.list", b->suite, &out);

	for (struct dirent *de = d ? readdir(d) : NULL; de; de = readdir(d)) {
		struct str name = str_z(de->d_name);

		if ((str_ends(name, STR(".list")) || str_ends(name, STR(".sources"))) && name.n < 256)
			n += add_file(hands_path(path, "%s/%s", parts, de->d_name), b->suite, &out);
	}
	if (n == 0) {
		buf_printf(&out, "deb http://deb.debian.org/debian %s main\n", b->suite);
		buf_printf(&out, "deb http://deb.debian.org/debian-security %s-security main\n", b->suite);
	}
	say(b,
		n ? "%zu apt sources of this host fit %s"
		  : "no apt source of this host fits (%zu): the default mirror of %s",
		n, b->suite);
	int r = buf_check(&out, e);

	return r < 0 ? r : write_text(b->sources, buf_str(&out), e);
}

static void
keep_line(void *arg, struct str line)
{
	struct buf *b = arg;

	buf_put_str(b, line);
	buf_put_c(b, '\n');
}

static int
find_apt_config(const struct build *b, struct err *e)
{
	AUTO(buf) struct buf dump;
	AUTO(buf) struct buf out;
	struct program p = {
		.argv = (const char *const[]){"apt-config", "dump", NULL},
		.out = -1,
		.err = -1,
		.timeout_ms = 30000,
		.line = keep_line,
		.arg = &dump,
	};

	buf_init(&dump, MIB);
	buf_init(&out, MIB);
	if (program_must(&p, NULL) == 0)
		image_pick_apt_config(buf_str(&dump), &out);
	buf_put_z(&out, "APT::Install-Recommends \"false\";\n");
	int r = buf_check(&out, e);

	return r < 0 ? r : write_text(b->apt_config, buf_str(&out), e);
}

/* ---- mmdebstrap ---- */

static void
on_line(void *arg, struct str line)
{
	struct build *b = arg;

	line = str_trim(line);
	if (line.n == 0)
		return;
	snprintf(b->last, sizeof(b->last), "%.*s", (int)(line.n > LAST_WORDS - 1 ? LAST_WORDS - 1 : line.n),
		line.p);
	if (b->o->progress)
		b->o->progress(b->o->arg, line);
}

/* The proxies of the caller go on to apt; nothing else of the environment does. */
static void
pick_env(const char *env[16])
{
	static const char *const names[] = {"http_proxy=", "https_proxy=", "ftp_proxy=", "no_proxy=",
		"HTTP_PROXY=", "HTTPS_PROXY=", "NO_PROXY=", "TMPDIR="};
	size_t n = 0;

	env[n++] = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
	env[n++] = "LC_ALL=C.UTF-8";
	for (size_t i = 0; i < ARRAY_LEN(names); i++)
		for (char **v = environ; *v; v++)
			if (strncmp(*v, names[i], strlen(names[i])) == 0 && n < 15)
				env[n++] = *v;
	env[n] = NULL;
}

static int
run_mmdebstrap(struct build *b, struct err *e)
{
	AUTO(buf) struct buf include;
	char aptopt[HANDS_PATH + 16];
	const char *env[16];

	buf_init(&include, 64 * KIB);
	buf_printf(&include, "--include=%s", packages);
	for (size_t i = 0; b->o->packages && b->o->packages[i]; i++)
		buf_printf(&include, ",%s", b->o->packages[i]);
	buf_put_c(&include, '\0');
	snprintf(aptopt, sizeof(aptopt), "--aptopt=%s", b->apt_config);
	pick_env(env);
	struct program p = {
		.argv = (const char *const[]){"mmdebstrap", "--mode=root", "--variant=minbase",
			"--format=directory", include.p, aptopt, "--dpkgopt=path-exclude=/usr/share/man/*",
			"--dpkgopt=path-exclude=/usr/share/doc/*",
			"--dpkgopt=path-include=/usr/share/doc/*/copyright",
			"--dpkgopt=path-exclude=/usr/share/locale/*",
			"--dpkgopt=path-exclude=/usr/share/info/*", "--skip=check/qemu", b->suite, b->rootfs,
			b->sources, NULL},
		.env = env,
		.out = -1,
		.err = -1,
		.timeout_ms = BUILD_MS,
		.isolated = true,
		.line = on_line,
		.arg = b,
	};
	int r = buf_check(&include, e);

	if (r == 0)
		r = program_must(&p, e);
	if (r < 0 && b->last[0])
		return err_wrap(e, "%s", b->last);
	return r;
}

/* ---- what is the host's goes, what a sandbox needs comes ---- */

static int
settle_rootfs(const struct build *b, struct err *e)
{
	static const struct {
		const char *path;
		const char *text; /* NULL: removed */
	} files[] = {
		{"etc/apt/apt.conf.d/99mmdebstrap", NULL},
		{"etc/apt/sources.list.d/0000sources.list", NULL},
		{"etc/resolv.conf", NULL},
		{"etc/hostname", "sandbox\n"},
		{"etc/hosts", "127.0.0.1 localhost sandbox\n::1 localhost\n"},
		{"etc/machine-id", ""},
	};
	char path[HANDS_PATH], sources[512];
	int r = 0;

	for (size_t i = 0; r == 0 && i < ARRAY_LEN(files); i++) {
		hands_path(path, "%s/%s", b->rootfs, files[i].path);
		unlink(path);
		if (files[i].text)
			r = write_text(path, str_z(files[i].text), e);
	}
	snprintf(sources, sizeof(sources),
		"deb http://deb.debian.org/debian %s main\ndeb http://deb.debian.org/debian-security "
		"%s-security main\n",
		b->suite, b->suite);
	hands_path(path, "%s/etc/apt/sources.list", b->rootfs);
	return r < 0 ? r : write_text(path, str_z(sources), e);
}

/* ---- the manifest ---- */

struct package {
	struct str name, version, arch;
	bool installed;
};

static void
take_package_line(struct package *p, struct str line)
{
	struct str key = str_next(&line, ':');
	struct str value = str_trim(line);

	if (str_eqz(key, "Package"))
		p->name = value;
	else if (str_eqz(key, "Version"))
		p->version = value;
	else if (str_eqz(key, "Architecture"))
		p->arch = value;
	else if (str_eqz(key, "Status"))
		p->installed = str_ends(value, STR(" installed"));
}

static void
put_package(const struct package *p, struct json_w *w, struct hash_ctx *h, uint64_t *n)
{
	if (!p->installed || p->name.n == 0)
		return;
	jw_obj(w);
	jw_kstr(w, "name", p->name);
	jw_kstr(w, "version", p->version);
	jw_kstr(w, "arch", p->arch);
	jw_obj_end(w);
	hash_add_field(h, p->name);
	hash_add_field(h, p->version);
	hash_add_field(h, p->arch);
	++*n;
}

/* dpkg keeps its list sorted, so the hash of equal package sets is equal. */
static void
put_packages(struct str status, struct json_w *w, char hex[HASH_HEX], uint64_t *n)
{
	struct package p = {0};
	struct hash_ctx h;

	hash_init(&h, STR_NULL);
	while (status.n > 0) {
		struct str line = str_next(&status, '\n');

		if (line.n > 0 && line.p[0] != ' ') {
			take_package_line(&p, line);
		} else if (line.n == 0) {
			put_package(&p, w, &h, n);
			p = (struct package){0};
		}
	}
	put_package(&p, w, &h, n);
	struct hash end = hash_end(&h);

	hash_hex(&end, hex);
}

static void
add_number(void *arg, struct str line)
{
	str_to_u64(str_next(&line, '\t'), arg);
}

static uint64_t
disk_use(const char *dir)
{
	uint64_t n = 0;
	struct program p = {
		.argv = (const char *const[]){"du", "-sx", "--block-size=1", dir, NULL},
		.out = -1,
		.err = -1,
		.timeout_ms = 600000,
		.line = add_number,
		.arg = &n,
	};

	program_must(&p, NULL);
	return n;
}

static int
write_manifest(const struct build *b, struct err *e)
{
	AUTO(buf) struct buf out = {0};
	char path[HANDS_PATH], hex[HASH_HEX], when[TIME_TEXT_MAX];
	size_t n = 0;
	uint64_t count = 0;
	char *status = beneath_read(
		AT_FDCWD, hands_path(path, "%s/var/lib/dpkg/status", b->rootfs), STATUS_MAX, &n, e);

	if (!status)
		return err_wrap(e, "package list");
	buf_init(&out, MANIFEST_MAX);
	struct json_w w = json_w(&out);

	jw_obj(&w);
	jw_kz(&w, "name", b->o->name);
	jw_kz(&w, "suite", b->suite);
	jw_kz(&w, "created_at", time_format(b->created_us, when));
	jw_kint(&w, "created_us", (int64_t)b->created_us);
	jw_kint(&w, "bytes", (int64_t)disk_use(b->rootfs));
	jw_key(&w, "packages");
	jw_arr(&w);
	put_packages(str_n(status, n), &w, hex, &count);
	jw_arr_end(&w);
	jw_kint(&w, "package_count", (int64_t)count);
	jw_kz(&w, "hash", hex);
	jw_obj_end(&w);
	free(status);
	int r = buf_check(&out, e);

	return r < 0 ? r : write_text(hands_path(path, "%s/manifest.json", b->dir), buf_str(&out), e);
}

/* ---- versions ---- */

/* The number behind ".<name>-", or false. */
static bool
version_of(struct str entry, const char *name, uint64_t *number)
{
	struct str n = str_z(name);

	if (entry.n < n.n + 3 || entry.p[0] != '.' || !str_eq(str_sub(entry, 1, n.n), n) ||
		entry.p[n.n + 1] != '-')
		return false;
	return str_to_u64(str_sub(entry, n.n + 2, entry.n), number);
}

/* Removes the versions of `name` older than `older_than`. */
static int
remove_versions(const char *images_dir, const char *name, uint64_t older_than, struct err *e)
{
	AUTO(dir) DIR *d = opendir(images_dir);
	int r = 0;

	for (struct dirent *de = d ? readdir(d) : NULL; r == 0 && de; de = readdir(d)) {
		uint64_t number = 0;

		if (version_of(str_z(de->d_name), name, &number) && number < older_than)
			r = beneath_remove(dirfd(d), de->d_name, e);
	}
	return r;
}

/* Makes the finished build the image's version; the one before stays. */
static int
publish(const struct build *b, struct err *e)
{
	const char *dir = b->o->images_dir, *name = b->o->name;
	char version[HANDS_PATH], target[HANDS_PATH], link_tmp[HANDS_PATH], link_path[HANDS_PATH],
		before[HANDS_PATH];
	uint64_t kept = 0;

	hands_path(target, ".%s-%llu", name, (unsigned long long)b->created_us);
	hands_path(version, "%s/%s", dir, target);
	hands_path(link_path, "%s/%s", dir, name);
	hands_path(link_tmp, "%s/.link-%s", dir, name);
	ssize_t n = readlink(link_path, before, sizeof(before) - 1);

	if (n > 0)
		version_of(str_n(before, (size_t)n), name, &kept);
	unlink(link_tmp);
	if (rename(b->dir, version) < 0 || symlink(target, link_tmp) < 0 || rename(link_tmp, link_path) < 0)
		return err_os(e, "publish %s", link_path);
	return remove_versions(dir, name, kept, e);
}

/* ---- build ---- */

static int
lock_build(const struct image_opts *o, int *out, struct err *e)
{
	char path[HANDS_PATH];
	AUTO(fd)
	int fd = open(
		hands_path(path, "%s/.lock-%s", o->images_dir, o->name), O_RDWR | O_CREAT | O_CLOEXEC, 0600);

	if (fd < 0)
		return err_os(e, "open %s", path);
	if (flock(fd, LOCK_EX | LOCK_NB) < 0)
		return err_set(e, ERR_CONFLICT, "another build of image %s is under way", o->name);
	*out = MOVE_FD(fd);
	return 0;
}

static int
build_in(struct build *b, struct err *e)
{
	int r;

	if (beneath_remove(AT_FDCWD, b->dir, e) < 0)
		return -(int)ERR_IO;
	r = beneath_make_dir(b->dir, 0755, e);
	if (r == 0)
		r = find_sources(b, e);
	if (r == 0)
		r = find_apt_config(b, e);
	if (r == 0)
		r = run_mmdebstrap(b, e);
	if (r == 0)
		r = settle_rootfs(b, e);
	unlink(b->sources);
	unlink(b->apt_config);
	if (r == 0)
		r = write_manifest(b, e);
	return r == 0 ? publish(b, e) : r;
}

int
image_build(const struct image_opts *o, struct err *e)
{
	struct build b = {
		.o = o, .suite = o->suite ? o->suite : DEFAULT_SUITE, .created_us = clock_wall_us()};
	AUTO(fd) int lock = -1;

	if (!hands_name_ok(str_z(o->name)) || !hands_name_ok(str_z(b.suite)) ||
		strlen(o->images_dir) >= HANDS_DIR_MAX)
		return err_set(e, ERR_INVALID, "not a plain image or suite name, or a path over %d bytes",
			HANDS_DIR_MAX);
	mode_t mask = umask(022);

	hands_path(b.dir, "%s/.build-%s", o->images_dir, o->name);
	hands_path(b.rootfs, "%s/rootfs", b.dir);
	hands_path(b.sources, "%s/sources.list", b.dir);
	hands_path(b.apt_config, "%s/apt.conf", b.dir);
	int r = beneath_make_dir(o->images_dir, 0755, e);

	if (r == 0)
		r = lock_build(o, &lock, e);
	if (r == 0) {
		r = build_in(&b, e);
		beneath_remove(AT_FDCWD, b.dir, NULL);
	}
	umask(mask);
	return r;
}

/* ---- looking ---- */

static void
read_manifest(const char *path, struct image_info *out)
{
	AUTO(json) struct json_t *v = NULL;
	size_t n = 0;
	char *text = beneath_read(AT_FDCWD, path, MANIFEST_MAX, &n, NULL);

	if (!text)
		return;
	int r = json_parse(str_n(text, n), &v, NULL);

	free(text);
	if (r < 0)
		return;
	str_copy_z(json_get_str(v, "suite"), out->suite, sizeof(out->suite));
	str_copy_z(json_get_str(v, "hash"), out->hash, sizeof(out->hash));
	out->created_us = (uint64_t)json_get_int(v, "created_us", 0);
	out->bytes = (uint64_t)json_get_int(v, "bytes", 0);
	out->packages = (uint64_t)json_get_int(v, "package_count", 0);
}

int
image_get(const char *images_dir, const char *name, struct image_info *out, struct err *e)
{
	struct image_info i = {0};
	char path[HANDS_PATH];
	struct stat st;

	if (!hands_name_ok(str_z(name)) || strlen(images_dir) >= HANDS_DIR_MAX)
		return err_set(e, ERR_NOT_FOUND, "no image of that name");
	snprintf(i.name, sizeof(i.name), "%s", name);
	hands_path(i.rootfs, "%s/%s/rootfs", images_dir, name);
	if (stat(i.rootfs, &st) < 0) {
		hands_path(i.rootfs, "%s/%s", images_dir, name);
		hands_path(path, "%s/usr", i.rootfs);
		if (stat(path, &st) < 0)
			return err_set(e, ERR_NOT_FOUND, "no image %s in %s", name, images_dir);
	}
	i.created_us = (uint64_t)st.st_mtim.tv_sec * 1000000;
	read_manifest(hands_path(path, "%s/%s/manifest.json", images_dir, name), &i);
	*out = i;
	return 0;
}

int
image_list(
	const char *images_dir, void (*each)(void *arg, const struct image_info *i), void *arg, struct err *e)
{
	AUTO(dir) DIR *d = opendir(images_dir);

	if (!d)
		return errno == ENOENT ? 0 : err_os(e, "list %s", images_dir);
	for (struct dirent *de = readdir(d); de; de = readdir(d)) {
		struct image_info i;

		if (hands_name_ok(str_z(de->d_name)) && image_get(images_dir, de->d_name, &i, NULL) == 0)
			each(arg, &i);
	}
	return 0;
}

int
image_remove(const char *images_dir, const char *name, struct err *e)
{
	char path[HANDS_PATH];
	int r;

	if (!hands_name_ok(str_z(name)) || strlen(images_dir) >= HANDS_DIR_MAX)
		return err_set(e, ERR_INVALID, "not a plain image name");
	r = beneath_remove(AT_FDCWD, hands_path(path, "%s/%s", images_dir, name), e);
	return r < 0 ? r : remove_versions(images_dir, name, UINT64_MAX, e);
}
