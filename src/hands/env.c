/* SPDX-License-Identifier: Apache-2.0 */
#include "hands/env.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/limits.h"
#include "hands/beneath.h"
#include "hands/stat_compat.h"

char *
env_sandbox_dir(const struct hands_env *v, const char *sandbox, char dst[HANDS_PATH])
{
	return hands_path(dst, "%s/sb/%s", v->cfg.run_dir, sandbox);
}

char *
env_session_dir(const struct hands_env *v, const char *session, char dst[HANDS_PATH])
{
	return hands_path(dst, "%s/sessions/%s", v->cfg.data_dir, session);
}

char *
env_pool_dir(const struct hands_env *v, const char *sandbox, char dst[HANDS_PATH])
{
	return hands_path(dst, "%s/pool/%s", v->cfg.data_dir, sandbox);
}

/* Replaces `to` by `content`: by rename, since running sandboxes have links to the former one. */
static int
put_file(const char *to, struct str content, struct err *e)
{
	char tmp[HANDS_PATH];
	AUTO(fd) int fd = -1;

	hands_path(tmp, "%s.new", to);
	unlink(tmp);
	fd = open(tmp, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	if (fd < 0)
		return err_os(e, "create %s", tmp);
	while (content.n > 0) {
		ssize_t n = write(fd, content.p, content.n);

		if (n < 0 && errno != EINTR)
			return err_os(e, "write %s", tmp);
		content = str_sub(content, n > 0 ? (size_t)n : 0, content.n);
	}
	if (fchmod(fd, 0555) < 0 || rename(tmp, to) < 0)
		return err_os(e, "put %s", to);
	return 0;
}

static int
put_guest(const struct hands_env *v, struct err *e)
{
	char to[HANDS_PATH];
	size_t n = 0;
	char *p = beneath_read(AT_FDCWD, v->cfg.guest_binary, 64 * MIB, &n, e);

	if (!p)
		return err_wrap(e, "guest binary");
	int r = put_file(hands_path(to, "%s/bin/guest", v->cfg.run_dir), str_n(p, n), e);
	free(p);
	return r;
}

int
env_prepare(const struct hands_env *v, struct err *e)
{
	static const char *const data[] = {"sessions", "pool", "templates"};
	static const char *const run[] = {"sb", "bin"};
	char path[HANDS_PATH];
	int r = 0;

	for (size_t i = 0; r == 0 && i < ARRAY_LEN(data); i++)
		r = beneath_make_dir(hands_path(path, "%s/%s", v->cfg.data_dir, data[i]), 0700, e);
	for (size_t i = 0; r == 0 && i < ARRAY_LEN(run); i++)
		r = beneath_make_dir(hands_path(path, "%s/%s", v->cfg.run_dir, run[i]), 0700, e);
	if (r == 0)
		r = put_guest(v, e);
	if (r == 0)
		r = put_file(hands_path(path, "%s/bin/compat.so", v->cfg.run_dir),
			str_n(stat_compat_so, sizeof(stat_compat_so)), e);
	return r;
}

static bool
is_dir(const char *path)
{
	struct stat st;

	return stat(path, &st) == 0 && S_ISDIR(st.st_mode);
}

/* An image directory made by image_build has the root filesystem in rootfs/; any other directory is one
 * itself. */
static int
root_of(const char *dir, char dst[HANDS_PATH], struct err *e)
{
	char usr[HANDS_PATH];

	if (strlen(dir) < HANDS_PATH - 8 && is_dir(hands_path(dst, "%s/rootfs", dir)))
		return 0;
	if (strlen(dir) < HANDS_PATH - 8 && is_dir(hands_path(usr, "%s/usr", dir))) {
		hands_path(dst, "%s", dir);
		return 0;
	}
	return err_set(
		e, ERR_NOT_FOUND, "no image at %s: run \"pinfold image build\" or set sandbox.image", dir);
}

int
env_image(const struct hands_env *v, const char *image, char dst[HANDS_PATH], struct err *e)
{
	char dir[HANDS_PATH];

	if (!image[0])
		return root_of(v->cfg.image_dir, dst, e);
	return root_of(hands_path(dir, "%s/%s", v->cfg.images_dir, image), dst, e);
}

int
env_layer(const struct hands_env *v, const char *layer, char dst[HANDS_PATH], bool *has, struct err *e)
{
	*has = layer[0] != '\0';
	if (!*has || is_dir(hands_path(dst, "%s/%s", v->cfg.layers_dir, layer)))
		return 0;
	return err_set(e, ERR_NOT_FOUND, "no environment layer %s", layer);
}

struct limits
env_limits(const struct hands_env *v, const struct limits *asked)
{
	struct limits l = *asked;

	l.memory = l.memory ? l.memory : v->cfg.limits.memory;
	l.pids = l.pids ? l.pids : v->cfg.limits.pids;
	l.disk = l.disk ? l.disk : v->cfg.limits.disk;
	l.cpu_milli = l.cpu_milli ? l.cpu_milli : v->cfg.limits.cpu_milli;
	return l;
}
