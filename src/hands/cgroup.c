/* SPDX-License-Identifier: Apache-2.0 */
#include "hands/cgroup.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/buf.h"

#define CPU_PERIOD_US 100000

static const char *const ctl_names[CGROUP_CTLS] = {"memory", "pids", "cpu"};

static void
dir_close(DIR *d)
{
	closedir(d);
}
DEFINE_AUTO(dir, DIR *, dir_close, NULL);

/* ---- small files ---- */

static int
write_value(const char *dir, const char *file, struct str value, struct err *e)
{
	char path[HANDS_PATH];
	AUTO(fd) int fd = open(hands_path(path, "%s/%s", dir, file), O_WRONLY | O_CLOEXEC);

	if (fd < 0 || write(fd, value.p, value.n) != (ssize_t)value.n)
		return err_os(e, "%s", path);
	return 0;
}

static int
write_number(const char *dir, const char *file, uint64_t v, struct err *e)
{
	char text[24];
	int n = snprintf(text, sizeof(text), "%llu", (unsigned long long)v);

	return write_value(dir, file, str_n(text, (size_t)n), e);
}

/* At most `cap` bytes of a small file; empty when it cannot be read. */
static struct str
read_value(const char *dir, const char *file, char *text, size_t cap)
{
	char path[HANDS_PATH];
	AUTO(fd) int fd = open(hands_path(path, "%s/%s", dir, file), O_RDONLY | O_CLOEXEC);
	ssize_t n = fd < 0 ? -1 : read(fd, text, cap);

	return str_n(text, n > 0 ? (size_t)n : 0);
}

/* True when `word` is one of the words of `list`. */
static bool
has_word(struct str list, char sep, const char *word)
{
	while (list.n > 0)
		if (str_eqz(str_trim(str_next(&list, sep)), word))
			return true;
	return false;
}

/* ---- where the host has them ---- */

static void
parse_mount(struct str line, struct cgroup_mounts *out)
{
	struct str mount_point = STR_NULL;

	for (int i = 0; i < 5; i++)
		mount_point = str_next(&line, ' ');
	size_t dash = str_find_str(line, STR(" - "));

	if (dash == line.n || str_find(mount_point, '\\') < mount_point.n)
		return;
	line = str_sub(line, dash + 3, line.n);
	struct str type = str_next(&line, ' ');

	(void)str_next(&line, ' ');
	if (str_eqz(type, "cgroup2") && !out->v2[0])
		str_copy_z(mount_point, out->v2, sizeof(out->v2));
	if (!str_eqz(type, "cgroup"))
		return;
	for (int c = 0; c < CGROUP_CTLS; c++)
		if (!out->v1[c][0] && has_word(line, ',', ctl_names[c]))
			str_copy_z(mount_point, out->v1[c], sizeof(out->v1[c]));
}

void
cgroup_parse_mounts(struct str mountinfo, struct cgroup_mounts *out)
{
	*out = (struct cgroup_mounts){0};
	while (mountinfo.n > 0)
		parse_mount(str_next(&mountinfo, '\n'), out);
}

static int
read_mounts(struct cgroup_mounts *out)
{
	AUTO(fd) int fd = open("/proc/self/mountinfo", O_RDONLY | O_CLOEXEC);
	AUTO(buf) struct buf b;
	ssize_t n = 1;

	buf_init(&b, 4 << 20);
	while (fd >= 0 && n > 0) {
		char *p = buf_reserve(&b, 16384);

		n = p ? read(fd, p, 16384) : -1;
		if (n > 0)
			b.n += (size_t)n;
	}
	if (fd < 0 || n < 0)
		return -1;
	cgroup_parse_mounts(buf_str(&b), out);
	return 0;
}

static void
note(struct cgroup_host *h, const char *what, const char *why)
{
	size_t n = strlen(h->note);

	snprintf(h->note + n, sizeof(h->note) - n, "%s%s: %s", n ? "; " : "", what, why);
}

static int
make_parent(const char *mount, const char *parent, char *dir, size_t cap, struct err *e)
{
	snprintf(dir, cap, "%s/%s", mount, parent);
	if (mkdir(dir, 0755) < 0 && errno != EEXIST)
		return err_os(e, "mkdir %s", dir);
	return 0;
}

static void
find_v1(struct cgroup_host *h, int c, const char *mount, const char *parent)
{
	struct err e = {0};

	if (make_parent(mount, parent, h->dir[c], sizeof(h->dir[c]), &e) == 0)
		return;
	h->dir[c][0] = '\0';
	note(h, ctl_names[c], e.msg);
}

static void
find_v2(struct cgroup_host *h, int c, const char *mount, const char *parent)
{
	struct err e = {0};
	char text[512], enable[16];
	int n = snprintf(enable, sizeof(enable), "+%s", ctl_names[c]);
	char *dir = h->dir[c];
	int r = 0;

	if (!has_word(
		    str_trim(read_value(mount, "cgroup.controllers", text, sizeof(text))), ' ', ctl_names[c]))
		r = err_set(&e, ERR_IO, "not offered by cgroup v2 here");
	if (r == 0)
		r = make_parent(mount, parent, dir, sizeof(h->dir[c]), &e);
	if (r == 0)
		r = write_value(mount, "cgroup.subtree_control", str_n(enable, (size_t)n), &e);
	if (r == 0)
		r = write_value(dir, "cgroup.subtree_control", str_n(enable, (size_t)n), &e);
	h->v2[c] = true;
	if (r == 0)
		return;
	dir[0] = '\0';
	note(h, ctl_names[c], e.msg);
}

static void
lock_parent(struct cgroup_host *h, int c)
{
	if (!h->dir[c][0])
		return;
	h->lock[c] = open(h->dir[c], O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (h->lock[c] >= 0)
		flock(h->lock[c], LOCK_SH | LOCK_NB);
}

/* Removes a parent that nobody holds, with the cgroups in it. rmdir spares what has processes. */
static void
remove_abandoned(int dir, const char *name)
{
	int fd = openat(dir, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	AUTO(dir) DIR *d = fd < 0 ? NULL : fdopendir(fd);

	if (!d || flock(fd, LOCK_EX | LOCK_NB) < 0)
		return;
	for (struct dirent *de = readdir(d); de; de = readdir(d))
		if (de->d_type == DT_DIR && de->d_name[0] != '.')
			unlinkat(fd, de->d_name, AT_REMOVEDIR);
	unlinkat(dir, name, AT_REMOVEDIR);
}

static void
tidy(const char *mount)
{
	AUTO(dir) DIR *d = mount[0] ? opendir(mount) : NULL;

	for (struct dirent *de = d ? readdir(d) : NULL; de; de = readdir(d))
		if (de->d_type == DT_DIR && strncmp(de->d_name, "pinfold-", 8) == 0)
			remove_abandoned(dirfd(d), de->d_name);
}

void
cgroup_host_find(struct cgroup_host *out, const char *parent)
{
	struct cgroup_mounts m;

	*out = (struct cgroup_host){.lock = {-1, -1, -1}};
	if (read_mounts(&m) < 0) {
		note(out, "cgroups", "/proc/self/mountinfo cannot be read");
		return;
	}
	for (int c = 0; c < CGROUP_CTLS; c++) {
		if (m.v1[c][0])
			find_v1(out, c, m.v1[c], parent);
		else if (m.v2[0])
			find_v2(out, c, m.v2, parent);
		else
			note(out, ctl_names[c], "no cgroup controller mounted");
		lock_parent(out, c);
	}
	for (int c = 0; c < CGROUP_CTLS; c++)
		tidy(m.v1[c]);
	tidy(m.v2);
}

void
cgroup_host_release(struct cgroup_host *h)
{
	for (int c = 0; c < CGROUP_CTLS; c++) {
		if (!h->dir[c][0])
			continue;
		rmdir(h->dir[c]);
		fd_close(MOVE_FD(h->lock[c]));
	}
}

/* ---- one sandbox's ---- */

/* The directory of controller c, or NULL when it has none or shares it with an earlier one (v2). */
static const char *
own_dir(const struct cgroup_host *h, int c, const char *name, char path[HANDS_PATH])
{
	if (!h->dir[c][0])
		return NULL;
	for (int k = 0; k < c; k++)
		if (strcmp(h->dir[k], h->dir[c]) == 0)
			return NULL;
	return hands_path(path, "%s/%s", h->dir[c], name);
}

static int
set_memory(const char *dir, bool v2, uint64_t bytes, struct err *e)
{
	int r = write_number(dir, v2 ? "memory.max" : "memory.limit_in_bytes", bytes, e);

	if (r < 0)
		return r;
	/* Without swap accounting these files are missing; then memory alone is limited. */
	if (v2) {
		write_number(dir, "memory.swap.max", 0, NULL);
		write_number(dir, "memory.oom.group", 1, NULL);
	} else {
		write_number(dir, "memory.memsw.limit_in_bytes", bytes, NULL);
	}
	return 0;
}

static int
set_cpu(const char *dir, bool v2, uint64_t milli, struct err *e)
{
	uint64_t quota = milli * CPU_PERIOD_US / 1000;
	char text[64];

	if (milli == 0)
		return 0;
	if (quota < 1000)
		quota = 1000; /* the kernel's minimum */
	if (!v2) {
		int r = write_number(dir, "cpu.cfs_period_us", CPU_PERIOD_US, e);

		return r < 0 ? r : write_number(dir, "cpu.cfs_quota_us", quota, e);
	}
	int n = snprintf(text, sizeof(text), "%llu %d", (unsigned long long)quota, CPU_PERIOD_US);

	return write_value(dir, "cpu.max", str_n(text, (size_t)n), e);
}

static int
set_limit(const struct cgroup_host *h, int c, const char *name, const struct limits *l, struct err *e)
{
	char dir[HANDS_PATH];

	if (!h->dir[c][0])
		return 0;
	hands_path(dir, "%s/%s", h->dir[c], name);
	switch ((enum cgroup_ctl)c) {
	case CGROUP_MEMORY:
		return set_memory(dir, h->v2[c], l->memory, e);
	case CGROUP_PIDS:
		return write_number(dir, "pids.max", l->pids, e);
	case CGROUP_CPU:
		return set_cpu(dir, h->v2[c], l->cpu_milli, e);
	case CGROUP_CTLS:
		break;
	}
	return 0;
}

/* The parent may have been removed by whoever tidies up. */
static void
remake_parent(const struct cgroup_host *h, const char *dir)
{
	char enable[16];

	mkdir(dir, 0755);
	for (int c = 0; c < CGROUP_CTLS; c++) {
		if (!h->v2[c] || strcmp(h->dir[c], dir) != 0)
			continue;
		int n = snprintf(enable, sizeof(enable), "+%s", ctl_names[c]);

		write_value(dir, "cgroup.subtree_control", str_n(enable, (size_t)n), NULL);
	}
}

int
cgroup_create(const struct cgroup_host *h, const char *name, const struct limits *l, struct err *e)
{
	char path[HANDS_PATH];
	int r = 0;

	for (int c = 0; c < CGROUP_CTLS; c++) {
		const char *dir = own_dir(h, c, name, path);

		if (dir && mkdir(dir, 0755) < 0 && errno == ENOENT)
			remake_parent(h, h->dir[c]);
		if (dir && mkdir(dir, 0755) < 0 && errno != EEXIST)
			return err_os(e, "mkdir %s", dir);
	}
	for (int c = 0; r == 0 && c < CGROUP_CTLS; c++)
		r = set_limit(h, c, name, l, e);
	return r;
}

int
cgroup_open_entries(const struct cgroup_host *h, const char *name, int fds[CGROUP_CTLS], struct err *e)
{
	char path[HANDS_PATH], file[HANDS_PATH];
	int n = 0;

	for (int c = 0; c < CGROUP_CTLS; c++) {
		const char *dir = own_dir(h, c, name, path);

		if (!dir)
			continue;
		fds[n] = open(hands_path(file, "%s/cgroup.procs", dir), O_WRONLY | O_CLOEXEC);
		if (fds[n] < 0) {
			int r = err_os(e, "open %s", file);

			while (n > 0)
				fd_close(fds[--n]);
			return r;
		}
		n++;
	}
	return n;
}

static int
kill_listed(const char *dir)
{
	char text[65536];
	struct str list = read_value(dir, "cgroup.procs", text, sizeof(text));
	int n = 0;

	while (list.n > 0) {
		uint64_t pid = 0;

		/* 0 stands for a process outside our PID namespace. */
		if (str_to_u64(str_next(&list, '\n'), &pid) && pid > 1 && kill((int)pid, SIGKILL) == 0)
			n++;
	}
	return n;
}

int
cgroup_kill(const struct cgroup_host *h, const char *name)
{
	char path[HANDS_PATH];
	int n = 0;

	for (int c = 0; c < CGROUP_CTLS; c++) {
		const char *dir = own_dir(h, c, name, path);

		if (!dir)
			continue;
		if (h->v2[c])
			write_value(dir, "cgroup.kill", STR("1"), NULL);
		n += kill_listed(dir);
	}
	return n;
}

/* The number behind `key` in a file of "key number" lines; 0 when there is none. */
static uint64_t
read_count(const struct cgroup_host *h, int c, const char *name, const char *file, const char *key)
{
	char path[HANDS_PATH], text[1024];
	uint64_t n = 0;

	if (!h->dir[c][0])
		return 0;
	hands_path(path, "%s/%s", h->dir[c], name);
	struct str t = read_value(path, file, text, sizeof(text));

	while (t.n > 0) {
		struct str line = str_next(&t, '\n');

		if (str_eqz(str_next(&line, ' '), key))
			str_to_u64(str_trim(line), &n);
	}
	return n;
}

uint64_t
cgroup_oom_kills(const struct cgroup_host *h, const char *name)
{
	const char *file = h->v2[CGROUP_MEMORY] ? "memory.events" : "memory.oom_control";

	return read_count(h, CGROUP_MEMORY, name, file, "oom_kill");
}

uint64_t
cgroup_refused_forks(const struct cgroup_host *h, const char *name)
{
	return read_count(h, CGROUP_PIDS, name, "pids.events", "max");
}

int
cgroup_remove(const struct cgroup_host *h, const char *name, struct err *e)
{
	char path[HANDS_PATH];

	for (int c = 0; c < CGROUP_CTLS; c++) {
		const char *dir = own_dir(h, c, name, path);

		if (dir && rmdir(dir) < 0 && errno != ENOENT)
			return err_os(e, "rmdir %s", dir);
	}
	return 0;
}

static void
sweep_one(const char *parent, const char *name)
{
	char path[HANDS_PATH];

	hands_path(path, "%s/%s", parent, name);
	for (int i = 0; i < 100 && rmdir(path) < 0 && errno == EBUSY; i++) {
		kill_listed(path);
		usleep(10000);
	}
}

void
cgroup_sweep(const struct cgroup_host *h, bool (*keep)(void *arg, const char *name), void *arg)
{
	for (int c = 0; c < CGROUP_CTLS; c++) {
		AUTO(dir) DIR *d = h->dir[c][0] ? opendir(h->dir[c]) : NULL;

		for (struct dirent *de = d ? readdir(d) : NULL; de; de = readdir(d))
			if (de->d_type == DT_DIR && de->d_name[0] != '.' && !keep(arg, de->d_name))
				sweep_one(h->dir[c], de->d_name);
	}
}
